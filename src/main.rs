//! Reads the command line and does what it says.

// The futures of a call to AWS nest deep.
#![recursion_limit = "256"]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use vpce_operator::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(settings) => vpce_operator::operator::run(*settings),
        Command::Crds => vpce_operator::cli::crds::print(Printer::new()),
        Command::Metrics => vpce_operator::telemetry::reference::print(Printer::new()),
        Command::Orphans(asked) => vpce_operator::cli::orphans::run(&asked, io::stdin().lock(), Printer::new()),
        Command::Plan(asked) => vpce_operator::cli::plan::run(*asked, Printer::new()),
        Command::IamPolicy(asked) => {
            vpce_operator::cli::iam_policy::print(&asked, io::stdin(), Printer::new(), io::stderr()).map_err(Into::into)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
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

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
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
