//! Reads the command line and does what it says.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use vpce_operator::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(settings) => vpce_operator::operator::run(*settings),
        Command::Crds => vpce_operator::crds::print(io::stdout()),
        Command::Metrics => vpce_operator::telemetry::reference::print(io::stdout()),
        Command::Orphans(asked) => vpce_operator::orphans::run(&asked, io::stdin().lock(), io::stdout()),
        Command::Plan(asked) => vpce_operator::preview::run(*asked, io::stdout()),
        Command::IamPolicy(asked) => {
            vpce_operator::iam_policy::print(&asked, io::stdin(), io::stdout(), io::stderr()).map_err(Into::into)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vpce-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
