//! What tests see of the simulated AWS without a call.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::Simulator;
use super::ec2::endpoints::dns_entries;
use super::ec2::region::{Group, Interface};
use super::ec2::rules::{Direction, Rule};

/// A VPC endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointView {
    /// `vpce-...`
    pub id: String,
    /// Its VPC.
    pub vpc_id: String,
    /// The full name of its service; empty where it leads to something of VPC Lattice.
    pub service_name: String,
    /// The resource configuration or the service network that it leads to instead.
    pub lattice_arn: Option<String>,
    /// `Interface`, `Gateway` or another of the types.
    pub vpc_endpoint_type: String,
    /// As on the wire: `available`, `pendingAcceptance`.
    pub state: String,
    /// Its subnets, sorted.
    pub subnet_ids: Vec<String>,
    /// Its security groups, sorted.
    pub group_ids: Vec<String>,
    /// Its route tables, sorted.
    pub route_table_ids: Vec<String>,
    /// Its network interfaces.
    pub network_interface_ids: Vec<String>,
    /// Its DNS names, in no order.
    pub dns_names: Vec<String>,
    /// Whether private DNS is on.
    pub private_dns_enabled: bool,
    /// The region of its service.
    pub service_region: String,
    /// `ipv4`, `dualstack` or `ipv6`.
    pub ip_address_type: String,
    /// As on the wire: `ipv4`, `service-defined`.
    pub dns_record_ip_type: String,
    /// Whether private DNS is for inbound resolver endpoints only; `None`: its service has no such
    /// choice, or private DNS is off.
    pub private_dns_only_for_inbound_resolver_endpoint: Option<bool>,
    /// Its policy, as it was given.
    pub policy_document: String,
    /// The addresses of its interfaces, by subnet.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// `sg-...`
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its VPC.
    pub vpc_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its rules towards the inside.
    pub ingress: Vec<RuleView>,
    /// Its rules towards the outside.
    pub egress: Vec<RuleView>,
}

/// A rule of a security group, in EC2's normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RuleView {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `-1` or a number.
    pub protocol: String,
    /// First port, or ICMP type; absent where the protocol has none.
    pub from_port: Option<i64>,
    /// Last port, or ICMP code.
    pub to_port: Option<i64>,
    /// A CIDR block, `sg-...` or `pl-...`.
    pub peer: String,
    /// Its description.
    pub description: Option<String>,
}

impl RuleView {
    /// A rule without a description; ports as (first, last).
    pub fn new(protocol: &str, ports: Option<(i64, i64)>, peer: &str) -> Self {
        Self {
            protocol: protocol.to_owned(),
            from_port: ports.map(|(from, _)| from),
            to_port: ports.map(|(_, to)| to),
            peer: peer.to_owned(),
            description: None,
        }
    }

    fn of(rule: &Rule) -> Self {
        Self {
            description: rule.description.clone(),
            ..Self::new(&rule.traffic.protocol, rule.traffic.ports, &rule.traffic.peer.text())
        }
    }
}

impl GroupView {
    fn of(group: &Group) -> Self {
        let rules = |direction: Direction| {
            let rules = group.rules.iter().filter(|rule| rule.direction == direction);
            let mut views: Vec<RuleView> = rules.map(RuleView::of).collect();
            views.sort();
            views
        };
        Self {
            id: group.id.clone(),
            name: group.name.clone(),
            description: group.description.clone(),
            vpc_id: group.vpc_id.clone(),
            tags: group.tags.clone(),
            ingress: rules(Direction::Ingress),
            egress: rules(Direction::Egress),
        }
    }
}

fn addresses(interface: &Interface) -> Vec<IpAddr> {
    let ipv4 = interface.ipv4.map(IpAddr::V4);
    ipv4.into_iter().chain(interface.ipv6.map(IpAddr::V6)).collect()
}

impl Simulator {
    /// The account's endpoints in the region, deleted ones left out, sorted by id.
    pub fn endpoints(&self, account: &str, region: &str) -> Vec<EndpointView> {
        let mut world = self.world();
        world.settle_services();
        let (services, lattice) = (world.services.clone(), world.lattice.clone());
        let now = world.clock.now();
        let state = world.region(account, region);
        let sorted = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect();
        state
            .endpoints
            .values()
            .filter(|endpoint| !endpoint.is_deleted())
            .map(|endpoint| EndpointView {
                id: endpoint.id.clone(),
                vpc_id: endpoint.vpc_id.clone(),
                service_name: endpoint.service_name.clone(),
                lattice_arn: endpoint.lattice_arn.clone(),
                vpc_endpoint_type: endpoint.kind.wire().to_owned(),
                state: endpoint.state.wire().to_owned(),
                subnet_ids: sorted(&endpoint.subnet_ids),
                group_ids: sorted(&endpoint.group_ids),
                route_table_ids: sorted(&endpoint.route_table_ids),
                network_interface_ids: state.interfaces_of(&endpoint.id).map(|i| i.id.clone()).collect(),
                dns_names: dns_entries(endpoint, state, &services, &lattice, now)
                    .into_iter()
                    .map(|(name, _)| name)
                    .collect(),
                private_dns_enabled: endpoint.private_dns,
                service_region: endpoint.service_region.clone(),
                ip_address_type: endpoint.ip_address_type.wire().to_owned(),
                dns_record_ip_type: endpoint.dns_options.record.wire().to_owned(),
                private_dns_only_for_inbound_resolver_endpoint: endpoint.dns_options.inbound_only,
                policy_document: endpoint.policy.clone(),
                addresses: state
                    .interfaces_of(&endpoint.id)
                    .map(|i| (i.subnet_id.clone(), addresses(i)))
                    .collect(),
                tags: endpoint.tags.clone(),
            })
            .collect()
    }

    /// The account's security groups in the region, sorted by id; the VPCs' own default groups are
    /// left out.
    pub fn security_groups(&self, account: &str, region: &str) -> Vec<GroupView> {
        let mut world = self.world();
        let groups = world.region(account, region).groups.values();
        groups
            .filter(|group| group.name != "default")
            .map(GroupView::of)
            .collect()
    }
}
