//! The command line: `run`, and the other subcommands, each a file.

mod accounts;
mod connection;
mod crds;
mod iam_policy;
mod kind;
mod migrate;
mod orphans;
mod plan;
mod status;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use self::accounts::Accounts;
use self::iam_policy::IamPolicy;
use self::migrate::Migrate;
use self::orphans::Orphans;
use self::plan::Preview;
use self::status::Status;
use crate::operator;
use crate::settings::Settings;
use crate::telemetry::reference;

/// The name by which kubectl finds the binary.
const PLUGIN: &str = "kubectl-vpce";

/// Manages AWS VPC endpoints as VPCEndpoint objects, in the AWS accounts that AWSAccount objects
/// map.
#[derive(Debug, Parser)]
#[command(name = "vpce-operator", version = operator::version())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator. Kubernetes: KUBECONFIG or the pod's ServiceAccount; AWS: its usual
    /// environment variables.
    Run(Box<Settings>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Print the permission and the trust policy of the operator's base role, or of a tenant's
    /// role; or the service control policy that reserves the operator's tags.
    #[command(subcommand)]
    IamPolicy(IamPolicy),
    /// Print AWSAccounts for the accounts of an organization (AWS Organizations), from a template.
    Accounts(Accounts),
    /// Print the reference of all metrics, as Markdown: docs/metrics.md.
    Metrics,
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages, one for each subcommand, into a directory.
    Man {
        /// The directory, such as `/usr/local/share/man/man1`.
        directory: PathBuf,
    },
    /// List orphans: AWS resources that carry this cluster's tag and belong to no object, and what
    /// proves that the operator created them. With --delete, delete those that are proven, after
    /// confirmation. Kubernetes, AWS and settings as for `run`.
    Orphans(Box<Orphans>),
    /// Dry run of the migration from the Python operator: show for each of its VPCEndpoints what
    /// would become of it, and why not. Kubernetes, AWS and settings as for `run`.
    Migrate(Box<Migrate>),
    /// Show all that there is to say of a VPCEndpoint on one screen: conditions, endpoint, Service
    /// and events; or of a VPCEndpointService, with its connections. Kubernetes: the user's
    /// kubeconfig.
    Status(Status),
    /// Dry run of VPCEndpoints and VPCEndpointServices: show the planned changes without making
    /// them. Exit code: 0 where nothing would change, 2 where something would, 1 on an error.
    /// Kubernetes, AWS and settings as for `run`.
    Plan(Box<Preview>),
}

impl Command {
    /// Does what was asked for. What is told goes to `out`; questions are answered on standard
    /// input.
    ///
    /// # Errors
    /// It cannot be done, or not all of it.
    pub fn run(self, mut out: impl Write) -> anyhow::Result<ExitCode> {
        let done = match self {
            Self::Run(settings) => operator::run(*settings),
            Self::Crds => crds::print(out),
            Self::Metrics => reference::print(out),
            Self::Completion { shell } => Ok(out.write_all(&completion(shell))?),
            Self::Man { directory } => clap_mangen::generate_to(command(), &directory)
                .with_context(|| format!("cannot write manual pages to {}", directory.display())),
            Self::Orphans(asked) => orphans::run(&asked, io::stdin().lock(), out),
            Self::Migrate(asked) => migrate::run(*asked, out),
            Self::Status(asked) => status::run(asked, out),
            Self::Plan(asked) => return plan::run(*asked, out),
            Self::Accounts(asked) => accounts::print(&asked, io::stdin(), out, io::stderr()),
            Self::IamPolicy(asked) => Ok(iam_policy::print(&asked, io::stdin(), out, io::stderr())?),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

impl Cli {
    /// Reads the command line of this process; ends it where that says nothing to do, with 1 where
    /// it is wrong: 2 is an answer of `plan`.
    #[must_use]
    pub fn from_command_line() -> Self {
        let read = command()
            .try_get_matches()
            .and_then(|matches| Self::from_arg_matches(&matches));
        read.unwrap_or_else(|error| {
            // There is nowhere else to say it.
            let _ = error.print();
            std::process::exit(i32::from(error.use_stderr()))
        })
    }
}

/// The command line, by the name that the binary was called by: kubectl runs `kubectl-vpce` as
/// `kubectl vpce`.
fn command() -> clap::Command {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.as_deref().and_then(Path::file_stem).and_then(OsStr::to_str);
    match name {
        Some(PLUGIN) => Cli::command().name(PLUGIN).bin_name("kubectl vpce"),
        _ => Cli::command(),
    }
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut command = command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_version_names_the_release_and_the_commit() {
        let version = Cli::command().render_version();
        let build = version.trim().strip_prefix("vpce-operator ").expect("the name first");
        let (release, commit) = build.split_once(" (").expect("the commit after it");
        assert_eq!(release, env!("CARGO_PKG_VERSION"));
        assert_eq!(
            commit.strip_suffix(')'),
            Some(option_env!("VPCE_REVISION").unwrap_or("development"))
        );
    }

    #[test]
    fn completion_and_manual_pages_have_every_subcommand() {
        let folder = std::env::temp_dir().join(format!("vpce-manual-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let man = Command::Man {
            directory: folder.clone(),
        };
        man.run(Vec::new()).expect("written");
        let names: Vec<String> = Cli::command()
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        assert!(names.len() > 8, "{names:?}");
        let root = Cli::command().get_name().to_owned();
        for name in &names {
            let page = std::fs::read_dir(&folder).expect("a folder").find_map(|entry| {
                let file = entry.expect("an entry").file_name().into_string().expect("text");
                file.ends_with(&format!("-{name}.1")).then_some(file)
            });
            assert!(page.is_some(), "{root} {name} has no manual page");
        }
        std::fs::remove_dir_all(&folder).expect("there");
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = String::from_utf8(completion(shell)).expect("text");
            for name in &names {
                assert!(script.contains(name.as_str()), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            ["--poll-interval-seconds", "0"],
            ["--poll-interval-seconds", "soon"],
            ["--resync-interval-seconds", "1e99"],
            ["--aws-limit", "CreateVpcEndpoint"],
            ["--cluster-id", "a b"],
            ["--lease-namespace", "without-a-pod"],
            ["--service-label", "a b"],
            ["--source-identity", "maybe"],
            ["--account-concurrency", "0"],
            ["--mode", "readonly-ish"],
            ["--health-address", "8080"],
            ["--metrics-address", "8443"],
            ["--metrics-auth", "maybe"],
            ["--admin-address", "8081"],
        ] {
            assert!(
                Cli::try_parse_from(["vpce-operator", "run", bad[0], bad[1]]).is_err(),
                "{bad:?}"
            );
        }
    }
}
