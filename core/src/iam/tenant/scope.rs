//! Where, and with what, endpoints may be made.

use super::super::policy::Statement;
use super::super::{Error, check};
use crate::allow_list::matches;
use crate::api::{AWSAccountSpec, EndpointType};
use crate::ids::RoleArn;
use crate::network::reads_networks;
use crate::tags;
use crate::user_tags;

/// Where, and with what, endpoints may be made: the guardrails of an AWSAccount. `None`: all, as
/// far as IAM is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Regions.
    pub regions: Option<Vec<String>>,
    /// VPCs, by id.
    pub vpcs: Option<Vec<String>>,
    /// Subnets, by id.
    pub subnets: Option<Vec<String>>,
    /// Security groups of others, by id; those of the cluster may be used besides them.
    pub groups: Option<Vec<String>>,
    /// Other regions, whose services endpoints may connect to.
    pub service_regions: Vec<String>,
    /// Patterns over the full names of endpoint services; `*` and `?` mean the same to IAM as in an
    /// AWSAccount.
    pub services: Option<Vec<String>>,
    /// Types of endpoints that need more than those of type Interface.
    pub types: Vec<EndpointType>,
    /// Route tables, by id.
    pub route_tables: Option<Vec<String>>,
    /// Whether networks are read: VPCs, subnets, and the zones of services.
    pub networks: bool,
    /// Whether endpoints may turn on private DNS.
    pub private_dns: bool,
    /// Whether endpoints that exist already may be adopted.
    pub adoption: bool,
    /// Whether what the Python operator created may be claimed: `adopt_legacy`.
    pub legacy: bool,
    /// Whether load balancers may be offered as endpoint services: `allow_endpoint_services`.
    pub endpoint_services: bool,
    /// Keys of tags.
    pub tag_keys: TagKeys,
}

/// Which keys tags may have beside the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagKeys {
    /// All but these patterns.
    AllBut(Vec<String>),
    /// These patterns.
    Only(Vec<String>),
}

impl Default for TagKeys {
    fn default() -> Self {
        Self::AllBut(user_tags::OTHERS.map(str::to_owned).into())
    }
}

impl TagKeys {
    /// As an AWSAccount says; the keys that it sets itself are among them.
    fn of(spec: &AWSAccountSpec) -> Self {
        let own = spec.default_tags.keys().chain(spec.required_tags.keys());
        let own: Vec<&String> = own.chain(&spec.tags_from_namespace_labels).collect();
        match &spec.allowed_tag_keys {
            None => {
                let is_used = |pattern: &&str| own.iter().any(|key| matches(pattern, key));
                let denied = user_tags::OTHERS.iter().copied().filter(|pattern| !is_used(pattern));
                Self::AllBut(denied.map(str::to_owned).collect())
            }
            Some(allowed) => Self::Only(allowed.iter().chain(own).cloned().collect()),
        }
    }

    /// Denies tags with other keys: said once, for all that is tagged.
    pub(super) fn deny_others(&self) -> Option<Statement> {
        let deny = || Statement::deny("NoOtherTagKeys", &["ec2:CreateTags"], ["*"]);
        match self {
            Self::AllBut(patterns) if patterns.is_empty() => None,
            Self::AllBut(patterns) => Some(deny().when("ForAnyValue:StringLike", "aws:TagKeys", patterns)),
            Self::Only(patterns) => {
                let own = [format!("{}*", tags::RESERVED_PREFIX), tags::DISPLAY_NAME.to_owned()];
                let patterns = patterns.iter().cloned().chain(own);
                Some(deny().when("ForAnyValue:StringNotLike", "aws:TagKeys", patterns))
            }
        }
    }
}

impl Scope {
    /// The guardrails of an AWSAccount, as far as IAM can hold to them.
    pub fn of(spec: &AWSAccountSpec) -> Self {
        Self {
            regions: spec.allowed_regions.clone(),
            vpcs: spec.allowed_vpc_ids.clone(),
            subnets: spec.allowed_subnet_ids.clone(),
            groups: spec.allowed_security_group_ids.clone(),
            service_regions: spec.allowed_service_regions.clone(),
            services: spec.allowed_services.clone(),
            // What needs more is printed where it is asked for by name.
            types: spec.allowed_vpc_endpoint_types.clone().unwrap_or_default(),
            route_tables: spec.allowed_route_table_ids.clone(),
            networks: reads_networks(spec),
            private_dns: spec.allow_private_dns,
            // No guardrail asks for it: a tag on each endpoint does.
            adoption: false,
            legacy: spec.adopt_legacy,
            endpoint_services: spec.allow_endpoint_services,
            tag_keys: TagKeys::of(spec),
        }
    }

    /// Checks that each value is one that AWS could have given, and that nothing is empty.
    ///
    /// # Errors
    /// The first that is not.
    pub(super) fn check(&self, role: &RoleArn) -> Result<(), Error> {
        let Self {
            regions,
            vpcs,
            subnets,
            groups,
            service_regions,
            services,
            types: _,
            route_tables,
            networks: _,
            private_dns: _,
            adoption: _,
            legacy: _,
            endpoint_services: _,
            tag_keys,
        } = self;
        let nothing = |name, list: &Option<Vec<String>>| match list {
            Some(entries) if entries.is_empty() => Err(Error::NothingAllowed(name)),
            _ => Ok(()),
        };
        nothing("regions", regions)?;
        nothing("VPCs", vpcs)?;
        nothing("subnets", subnets)?;
        nothing("services", services)?;
        for region in regions.iter().flatten().chain(service_regions) {
            check::region(region, role.partition())?;
        }
        for id in vpcs.iter().flatten() {
            check::ec2_id("VPC", "vpc-", "the id of a VPC (vpc-...)", id)?;
        }
        for id in subnets.iter().flatten() {
            check::ec2_id("subnet", "subnet-", "the id of a subnet (subnet-...)", id)?;
        }
        for id in groups.iter().flatten() {
            check::ec2_id("security group", "sg-", "the id of a security group (sg-...)", id)?;
        }
        for id in route_tables.iter().flatten() {
            check::ec2_id("route table", "rtb-", "the id of a route table (rtb-...)", id)?;
        }
        for pattern in services.iter().flatten() {
            check::service(pattern)?;
        }
        let (TagKeys::AllBut(patterns) | TagKeys::Only(patterns)) = tag_keys;
        for pattern in patterns {
            check::tag_key(pattern)?;
        }
        Ok(())
    }

    /// What makes the policy shorter: the longest lists first, each with its own way out.
    pub(super) fn narrow(&self) -> String {
        let Self {
            regions,
            vpcs,
            subnets,
            groups,
            service_regions: _,
            services,
            types: _,
            route_tables,
            networks: _,
            private_dns: _,
            adoption: _,
            legacy: _,
            endpoint_services: _,
            tag_keys: _,
        } = self;
        let mut lists = [
            (regions, "regions"),
            (vpcs, "VPCs"),
            (subnets, "subnets"),
            (groups, "security groups"),
            (services, "services"),
            (route_tables, "route tables"),
        ]
        .map(|(list, name)| (list.iter().flatten().map(String::len).sum::<usize>(), list, name));
        lists.sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
        let counts: Vec<String> = lists
            .iter()
            .filter_map(|(_, list, name)| Some(format!("{} {name}", list.as_ref()?.len())))
            .collect();
        format!(
            "it names {}; name fewer, split the account into several AWSAccounts with a role each, or leave out the list of \
             subnets, security groups, route tables or services, which the operator itself enforces anyway",
            counts.join(", ")
        )
    }
}
