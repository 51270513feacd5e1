//! The command line: `run`, and the other subcommands, each a file.

mod connection;
mod crds;
mod iam_policy;
mod migrate;
mod orphans;
mod plan;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use self::iam_policy::IamPolicy;
use self::migrate::Migrate;
use self::orphans::Orphans;
use self::plan::Preview;
use crate::operator;
use crate::settings::Settings;
use crate::telemetry::reference;

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
    /// Print the reference of all metrics, as Markdown: docs/metrics.md.
    Metrics,
    /// List orphans: AWS resources that carry this cluster's tag and belong to no object, and what
    /// proves that the operator created them. With --delete, delete those that are proven, after
    /// confirmation. Kubernetes, AWS and settings as for `run`.
    Orphans(Box<Orphans>),
    /// Dry run of the migration from the Python operator: show for each of its VPCEndpoints what
    /// would become of it, and why not. Kubernetes, AWS and settings as for `run`.
    Migrate(Box<Migrate>),
    /// Dry run of one VPCEndpoint: show the planned changes without making them. Kubernetes, AWS
    /// and settings as for `run`.
    Plan(Box<Preview>),
}

impl Command {
    /// Does what was asked for. What is told goes to `out`; questions are answered on standard
    /// input.
    ///
    /// # Errors
    /// It cannot be done, or not all of it.
    pub fn run(self, out: impl Write) -> anyhow::Result<()> {
        match self {
            Self::Run(settings) => operator::run(*settings),
            Self::Crds => crds::print(out),
            Self::Metrics => reference::print(out),
            Self::Orphans(asked) => orphans::run(&asked, io::stdin().lock(), out),
            Self::Migrate(asked) => migrate::run(*asked, out),
            Self::Plan(asked) => plan::run(*asked, out),
            Self::IamPolicy(asked) => Ok(iam_policy::print(&asked, io::stdin(), out, io::stderr())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

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
