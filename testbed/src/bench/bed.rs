//! What a scenario runs on: a control plane, a simulated AWS and the operator between them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::objects::Objects;
use crate::aws::{Call, Config, RoleSpec, ServiceSpec, Simulator};
use crate::child::last_lines;
use crate::control_plane::ControlPlane;
use crate::operator::{Aws, Operator, Options};

/// The region of all scenarios.
pub(super) const REGION: &str = "us-west-2";
pub(super) const MEBIBYTE: f64 = 1_048_576.0;

/// Whether the operator is built as it is shipped: a debug build is larger in memory, too. Who
/// names a binary names one that is worth measuring.
pub(super) fn is_release() -> bool {
    std::env::var_os("VPCE_OPERATOR_BIN").is_some() || !cfg!(debug_assertions)
}

/// Everything started.
pub(super) struct Bed {
    // Dropped in this order: the operator ends while what it talks to is still there.
    pub(super) operator: Operator,
    pub(super) aws: Simulator,
    pub(super) objects: Objects,
    pub(super) plane: ControlPlane,
}

impl Bed {
    /// Starts it all; `env` is the operator's.
    pub(super) fn start(binary: &Path, config: Config, env: Vec<(String, String)>) -> Result<Self> {
        println!(
            "starting a control plane, an AWS simulator ({} times as fast as real time) and the operator",
            config.time_scale
        );
        let plane = ControlPlane::start()?;
        let objects = Objects::connect(&plane)?;
        let aws = Simulator::start(config)?;
        let options = Options {
            binary: binary.to_owned(),
            env,
            ..Options::default()
        };
        let operator = Operator::install(&plane, &Aws::from(&aws), options)?;
        Ok(Self {
            operator,
            aws,
            objects,
            plane,
        })
    }

    /// Looks every `pause` until it holds, since looking takes time from what is measured.
    pub(super) fn wait(
        &self,
        what: &str,
        within: Duration,
        pause: Duration,
        mut holds: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let begun = Instant::now();
        while !holds()? {
            if let Ok(Some(status)) = self.operator.exited() {
                bail!(
                    "the operator ended by itself ({status}); the end of its log:\n{}",
                    last_lines(&self.operator.logs())
                );
            }
            ensure!(
                begun.elapsed() < within,
                "waited {within:?} in vain until {what}; the end of the operator's log:\n{}",
                last_lines(&self.operator.logs())
            );
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Registers so many accounts, with an endpoint service, and applies so many VPCEndpoints in
    /// each.
    pub(super) fn populate(&self, accounts: usize, each: usize, spec: &RoleSpec, more: &Value) -> Result<Registered> {
        let registered = self.register(accounts, spec, more)?;
        self.objects
            .create_endpoints(registered.endpoints(each, Network::spec))?;
        Ok(registered)
    }

    /// Makes so many accounts with an endpoint service, a role, a network, a namespace and an
    /// AWSAccount (with more in its spec) each. The namespaces and AWSAccounts are called as the
    /// teams.
    pub(super) fn register(&self, accounts: usize, spec: &RoleSpec, more: &Value) -> Result<Registered> {
        self.aws.add_service(REGION, &service(), ServiceSpec::default());
        let accounts: Vec<String> = (1..=accounts).map(|number| format!("1{number:011}")).collect();
        let teams: Vec<String> = (1..=accounts.len()).map(|number| format!("team-{number}")).collect();
        self.objects.create_namespaces(&teams)?;
        let mut specs = Vec::new();
        let mut networks = Vec::new();
        for (number, (account, team)) in accounts.iter().zip(&teams).enumerate() {
            self.aws.add_role(&role(account), spec.clone())?;
            let mut mapping = more.clone();
            mapping["role_arn"] = json!(role(account));
            mapping["namespaces"] = json!([team]);
            specs.push((team.clone(), mapping));
            networks.push(self.add_network(account, number + 1)?);
        }
        self.objects.create_accounts(specs)?;
        Ok(Registered {
            accounts,
            teams,
            networks,
        })
    }

    /// A network in an account: a VPC of this number with a subnet and a security group, and the
    /// service to connect to.
    pub(super) fn add_network(&self, account: &str, number: usize) -> Result<Network> {
        let network = Network {
            vpc: format!("vpc-{number:017x}"),
            subnet: format!("subnet-{number:017x}"),
            group: format!("sg-{number:017x}"),
        };
        self.aws.add_vpc(account, REGION, &network.vpc, "10.0.0.0/16")?;
        self.aws
            .add_subnet(account, REGION, &network.subnet, &network.vpc, &format!("{REGION}a"))?;
        self.aws
            .add_security_group(account, REGION, &network.group, &network.vpc, "clients")?;
        Ok(network)
    }
}

/// What [`Bed::register`] has made, in the same order.
pub(super) struct Registered {
    /// The AWS accounts' ids.
    pub(super) accounts: Vec<String>,
    pub(super) teams: Vec<String>,
    networks: Vec<Network>,
}

impl Registered {
    /// So many VPCEndpoints of each team: namespace, name and spec.
    pub(super) fn endpoints(&self, each: usize, spec: fn(&Network) -> Value) -> Vec<(String, String, Value)> {
        let of = |(team, network): (&String, &Network)| {
            let (team, spec) = (team.clone(), spec(network));
            (0..each).map(move |at| (team.clone(), format!("endpoint-{at}"), spec.clone()))
        };
        self.teams.iter().zip(&self.networks).flat_map(of).collect()
    }
}

/// What an endpoint with a security group of its owner's needs.
pub(super) struct Network {
    pub(super) vpc: String,
    pub(super) subnet: String,
    pub(super) group: String,
}

impl Network {
    /// The spec of such an endpoint, which takes one changing call to make.
    pub(super) fn spec(&self) -> Value {
        json!({
            "region": REGION, "vpc_id": self.vpc, "subnet_ids": [self.subnet],
            "vpc_endpoint_service_id": service(), "security_group_type": "provided", "security_group_ids": [self.group],
        })
    }

    /// The spec of an endpoint with a group of the operator's, which takes three changing calls.
    pub(super) fn generated(&self) -> Value {
        json!({
            "region": REGION, "vpc_id": self.vpc, "subnet_ids": [self.subnet],
            "vpc_endpoint_service_id": service(), "security_group_type": "generated",
        })
    }
}

/// The operator's limits and intervals, so many times as fast as its defaults.
pub(super) fn scaled_settings(time_scale: f64) -> Vec<(String, String)> {
    let seconds = |default: f64| (default / time_scale).to_string();
    let limits = [
        ("CreateVpcEndpoint", 4.0, 0.3),
        ("ModifyVpcEndpoint", 4.0, 0.3),
        ("DeleteVpcEndpoints", 4.0, 0.3),
        ("CreateTags", 100.0, 10.0),
        ("DeleteTags", 100.0, 10.0),
        ("Describe*", 100.0, 20.0),
        ("*", 50.0, 5.0),
    ]
    .map(|(action, burst, refill)| format!("{action}={burst}/{}", refill * time_scale));
    [
        ("VPCE_AWS_LIMITS", limits.join(",")),
        ("VPCE_RESYNC_INTERVAL_SECONDS", seconds(300.0)),
        ("VPCE_POLL_INTERVAL_SECONDS", seconds(5.0)),
        ("VPCE_SETTLE_SECONDS", seconds(10.0)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The service that all endpoints connect to.
pub(super) fn service() -> String {
    format!("com.amazonaws.vpce.{REGION}.vpce-svc-00000000000000001")
}

/// The role that the operator assumes in an account.
pub(super) fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/vpce-operator")
}

/// A role without a trusted principal.
pub(super) fn distrustful() -> RoleSpec {
    RoleSpec {
        trust: false,
        ..RoleSpec::default()
    }
}

/// When the AssumeRole calls of a role were made.
pub(super) fn assumed(calls: &[Call], role: &str) -> Vec<f64> {
    let these = calls
        .iter()
        .filter(|call| call.action == "AssumeRole" && call.params.get("RoleArn").is_some_and(|arn| arn == role));
    these.map(|call| call.time).collect()
}

/// The most of these times that lie within any span of this length, its end excluded.
pub(super) fn most_within(times: &[f64], span: f64) -> usize {
    let within = |from: &f64| times.iter().filter(|time| (*from..from + span).contains(*time)).count();
    times.iter().map(within).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_window_counts() {
        assert_eq!(most_within(&[0.0, 5.0, 9.0, 10.0, 30.0], 10.0), 3);
        assert_eq!(most_within(&[], 10.0), 0);
    }
}
