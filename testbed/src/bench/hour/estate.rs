//! Who is there in the hour: teams, their namespaces and their AWS accounts.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::bed::{Bed, role};
use super::super::objects::{ACCOUNT, count_ready};
use super::{PAUSE, WITHIN};
use crate::aws::{LoadBalancerSpec, LoadBalancerType, RoleSpec, ServiceSpec};

/// One team: an AWS account with a VPC of two subnets in one region, and the AWSAccount that maps
/// its namespace.
pub(super) struct Team {
    /// The namespace's and the AWSAccount's name.
    pub(super) name: &'static str,
    pub(super) account: &'static str,
    pub(super) region: &'static str,
    /// So many endpoints it has before anything happens.
    settled: usize,
    /// So many it may have.
    limit: Option<usize>,
    /// Whether the owner of the service that it uses has to accept endpoints.
    acceptance: bool,
    /// Whether it may offer endpoint services.
    offers: bool,
}

const fn team(name: &'static str, account: &'static str, region: &'static str, settled: usize) -> Team {
    Team {
        name,
        account,
        region,
        settled,
        limit: None,
        acceptance: false,
        offers: false,
    }
}

/// Nothing bad happens to it but one failed endpoint, and it offers endpoint services.
pub(super) const PAYMENTS: Team = Team {
    limit: Some(20),
    offers: true,
    ..team("payments", "111111111111", "us-west-2", 12)
};
/// Comes with many endpoints at once.
pub(super) const ANALYTICS: Team = Team {
    limit: Some(60),
    ..team("analytics", "222222222222", "us-west-2", 2)
};
/// Waits for the owner of a service.
pub(super) const PARTNERS: Team = Team {
    acceptance: true,
    ..team("partners", "333333333333", "us-west-2", 0)
};
/// Its role lacks permissions, and later its trust policy.
pub(super) const BILLING: Team = team("billing", "444444444444", "us-west-2", 4);
/// Is suspended.
pub(super) const SANDBOX: Team = team("sandbox", "555555555555", "us-west-2", 4);
/// Loses endpoints behind the operator's back.
pub(super) const WAREHOUSE: Team = team("warehouse", "666666666666", "eu-central-1", 10);

const TEAMS: [Team; 6] = [PAYMENTS, ANALYTICS, PARTNERS, BILLING, SANDBOX, WAREHOUSE];

/// What analytics applies at once.
pub(super) const CROWD: usize = 40;
/// What partners applies.
pub(super) const PARTNERSHIPS: usize = 5;
/// What billing applies in vain.
pub(super) const IN_VAIN: usize = 2;
/// The teams that apply an endpoint for what payments offers.
pub(super) const CONSUMERS: [&Team; 2] = [&PARTNERS, &SANDBOX];

impl Team {
    /// The spec of an endpoint with a group of its own.
    pub(super) fn spec(&self) -> Value {
        let (vpc, subnets) = self.network();
        json!({
            "region": self.region, "vpc_id": vpc, "subnet_ids": subnets,
            "vpc_endpoint_service_id": self.service(), "security_group_type": "generated",
        })
    }

    fn network(&self) -> (String, [String; 2]) {
        let id = |kind: &str, number: usize| format!("{kind}-{}0000{number}", self.account);
        (id("vpc", 1), [id("subnet", 1), id("subnet", 2)])
    }

    fn service(&self) -> String {
        format!("com.amazonaws.vpce.{}.vpce-svc-{}00001", self.region, self.account)
    }
}

/// All teams with all they have.
pub(super) struct Estate;

impl Estate {
    /// Makes it, but for the endpoints.
    pub(super) fn build(bed: &Bed) -> Result<Self> {
        for team in &TEAMS {
            bed.aws.add_role(&role(team.account), RoleSpec::default())?;
            let service = ServiceSpec {
                acceptance_required: team.acceptance,
                ..ServiceSpec::default()
            };
            bed.aws.add_service(team.region, &team.service(), service);
            let (vpc, subnets) = team.network();
            bed.aws.add_vpc(team.account, team.region, &vpc, "10.0.0.0/16")?;
            for (subnet, zone) in subnets.iter().zip(["a", "b"]) {
                let zone = format!("{}{zone}", team.region);
                bed.aws.add_subnet(team.account, team.region, subnet, &vpc, &zone)?;
            }
        }
        bed.objects.create_namespaces(&TEAMS.map(|team| team.name))?;
        let accounts = TEAMS.map(|team| {
            let mut spec = json!({
                "role_arn": role(team.account), "namespaces": [team.name], "default_region": team.region,
                "session_duration_seconds": 900,
            });
            if let Some(limit) = team.limit {
                spec["max_endpoints"] = json!(limit);
            }
            if team.offers {
                spec["allow_endpoint_services"] = json!(true);
                spec["allowed_load_balancer_arns"] = json!(["*"]);
            }
            (team.name.to_owned(), spec)
        });
        bed.objects.create_accounts(accounts)?;
        bed.wait("all AWSAccounts are Ready", WITHIN, PAUSE, || {
            Ok(count_ready(&bed.objects.all(ACCOUNT)?) == TEAMS.len())
        })?;
        Ok(Self)
    }

    /// Creates a Network Load Balancer of a team, and gives its ARN.
    pub(super) fn load_balancer(bed: &Bed, team: &Team, name: &str) -> Result<String> {
        let (_, subnets) = team.network();
        let spec = LoadBalancerSpec {
            kind: LoadBalancerType::Network,
            subnet_ids: subnets.to_vec(),
            ..LoadBalancerSpec::default()
        };
        bed.aws.add_load_balancer(team.account, team.region, name, spec)
    }

    /// The endpoints that are there before anything happens.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (String, String, Value)> {
        TEAMS.iter().flat_map(|team| endpoints(team, "api", team.settled))
    }

    /// How many those are.
    pub(super) fn settled(&self) -> usize {
        TEAMS.iter().map(|team| team.settled).sum()
    }

    /// How many there are at the most.
    pub(super) fn most(&self) -> usize {
        self.settled() + CROWD + PARTNERSHIPS + IN_VAIN + CONSUMERS.len()
    }
}

/// So many endpoints of a team, `prefix-0` and so on.
pub(super) fn endpoints(team: &Team, prefix: &str, count: usize) -> impl Iterator<Item = (String, String, Value)> {
    let (namespace, spec) = (team.name.to_owned(), team.spec());
    let prefix = prefix.to_owned();
    (0..count).map(move |number| (namespace.clone(), format!("{prefix}-{number}"), spec.clone()))
}
