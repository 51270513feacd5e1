//! The testbed's command line.

use std::process::ExitCode;

use vpce_testbed::tools;

const USAGE: &str = "\
usage: testbed COMMAND

  tools   build (or find) the programs of the control plane, and print where they are
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["tools"] => print_tools(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_tools() -> anyhow::Result<()> {
    for (tool, path) in tools::build_all()? {
        println!("{:24} {}", tool.name(), path.display());
    }
    Ok(())
}
