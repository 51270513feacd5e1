//! Reads the command line and does what it says.

// The futures of a call to AWS nest deep.
#![recursion_limit = "256"]

use std::io::{self, Write};
use std::process::ExitCode;

use vpce_operator::cli::Cli;

fn main() -> ExitCode {
    let result = Cli::from_command_line().command.run(Printer::new());
    match result {
        Ok(code) => code,
        // Whoever reads has seen enough, as `head` has after its first lines.
        Err(error) if error.chain().any(Printer::has_no_reader) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vpce-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Standard output, whose errors can be told from those of connections.
struct Printer(io::Stdout);

/// Standard output is closed.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct NoReader;

impl Printer {
    fn new() -> Self {
        Self(io::stdout())
    }

    fn has_no_reader(error: &(dyn std::error::Error + 'static)) -> bool {
        let error = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error.is_some_and(|inner| inner.is::<NoReader>())
    }
}

fn marked(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, NoReader),
        _ => error,
    }
}

impl Write for Printer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text).map_err(marked)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(marked)
    }
}
