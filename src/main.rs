//! Reads the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;
use vpce_operator::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(settings) => vpce_operator::operator::run(*settings),
        Command::Crds => vpce_operator::crds::print(std::io::stdout()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vpce-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
