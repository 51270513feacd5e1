//! What one account holds in one region, and how it changes by itself as time goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::addresses;
use super::endpoint::{Endpoint, EndpointState, EndpointType, LastError};
use super::endpoint_services::EndpointService;
use super::options::IpAddressType;
use super::rules::Rule;
use super::tags::Tags;
use crate::aws::Config;
use crate::aws::clock::Seconds;
use crate::aws::elb::load_balancer::{LoadBalancer, LoadBalancerState};
use crate::aws::error::ApiError;

#[derive(Debug, Clone)]
pub(crate) struct Vpc {
    pub(crate) id: String,
    pub(crate) cidr: Ipv4Net,
    /// IPv4 blocks that were associated with it later.
    pub(crate) more: Vec<Ipv4Net>,
    /// Its IPv6 block, if it has one.
    pub(crate) ipv6: Option<Ipv6Net>,
    pub(crate) tags: Tags,
    /// `enableDnsSupport`
    pub(crate) dns_support: bool,
    /// `enableDnsHostnames`
    pub(crate) dns_hostnames: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) vpc_id: String,
    /// Its IPv4 block; an IPv6-only subnet has none.
    pub(crate) cidr: Option<Ipv4Net>,
    /// Its IPv6 block, if it has one.
    pub(crate) ipv6: Option<Ipv6Net>,
    pub(crate) zone: String,
    /// Whether others have taken all of its addresses.
    pub(crate) full: bool,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct RouteTable {
    pub(crate) id: String,
    pub(crate) vpc_id: String,
    pub(crate) main: bool,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) vpc_id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) tags: Tags,
    pub(crate) rules: Vec<Rule>,
}

/// An interface that an endpoint has in a subnet.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) id: String,
    pub(crate) endpoint_id: String,
    pub(crate) subnet_id: String,
    pub(crate) vpc_id: String,
    pub(crate) zone: String,
    pub(crate) group_ids: Vec<String>,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// The block that it holds for a service network.
    pub(crate) prefix: Option<Ipv4Net>,
    pub(crate) tags: Tags,
    /// When AWS deletes it, once it is detached from the endpoint.
    pub(crate) released_at: Option<Seconds>,
}

/// The addresses that an interface is to have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addresses {
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
}

/// What a ClientToken was used for.
#[derive(Debug, Clone)]
pub(crate) struct TokenUse {
    pub(crate) parameters: String,
    pub(crate) resource_id: String,
}

/// One account's resources in one region.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) account: String,
    pub(crate) name: String,
    /// The ids of zones by their names, where they are other than the letters suggest: each account
    /// has its own.
    pub(crate) zone_ids: BTreeMap<String, String>,
    pub(crate) vpcs: BTreeMap<String, Vpc>,
    pub(crate) subnets: BTreeMap<String, Subnet>,
    pub(crate) route_tables: BTreeMap<String, RouteTable>,
    pub(crate) prefix_lists: BTreeSet<String>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// Deleted ones too: a ClientToken leads to them for ever.
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// Deleted ones too: a ClientToken leads to them for ever.
    pub(crate) endpoint_services: BTreeMap<String, EndpointService>,
    /// By ARN.
    pub(crate) load_balancers: BTreeMap<String, LoadBalancer>,
    /// By action and token.
    pub(crate) tokens: BTreeMap<(&'static str, String), TokenUse>,
}

impl Region {
    pub(crate) fn new(account: &str, name: &str) -> Self {
        Self {
            account: account.to_owned(),
            name: name.to_owned(),
            zone_ids: BTreeMap::new(),
            vpcs: BTreeMap::new(),
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            prefix_lists: BTreeSet::new(),
            groups: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            endpoint_services: BTreeMap::new(),
            load_balancers: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// The id of a zone that the account knows by this name.
    pub(crate) fn zone_id(&self, zone: &str) -> String {
        let own = self.zone_ids.get(zone).cloned();
        own.unwrap_or_else(|| zone_id(zone))
    }

    /// How many addresses of a subnet are free.
    pub(crate) fn free_addresses(&self, subnet: &Subnet) -> u32 {
        let Some(block) = subnet.cidr.filter(|_| !subnet.full) else {
            return 0;
        };
        let interfaces = self.interfaces.values().filter(|i| i.subnet_id == subnet.id);
        let taken: u32 = interfaces.map(|i| if i.prefix.is_some() { 17 } else { 1 }).sum();
        let all = 1_u32 << (32 - block.prefix_len());
        all.saturating_sub(addresses::RESERVED_IN_ALL + taken)
    }

    /// What an earlier call of the action with this ClientToken has made; it must have had the same
    /// parameters.
    pub(crate) fn made_before(
        &self,
        action: &'static str,
        token: Option<&String>,
        parameters: &str,
    ) -> Result<Option<String>, ApiError> {
        let Some(token) = token else {
            return Ok(None);
        };
        let Some(earlier) = self.tokens.get(&(action, token.clone())) else {
            return Ok(None);
        };
        if earlier.parameters == parameters {
            return Ok(Some(earlier.resource_id.clone()));
        }
        Err(ApiError::new(
            "IdempotentParameterMismatch",
            format!("The client token {token} was used before with different parameters"),
        ))
    }

    /// Remembers what a call of the action with this ClientToken has made.
    pub(crate) fn remember_token(
        &mut self,
        action: &'static str,
        token: Option<&String>,
        parameters: String,
        resource_id: &str,
    ) {
        if let Some(token) = token {
            let resource_id = resource_id.to_owned();
            self.tokens.insert(
                (action, token.clone()),
                TokenUse {
                    parameters,
                    resource_id,
                },
            );
        }
    }

    /// Brings everything to what it is at `now`.
    pub(crate) fn settle(&mut self, now: Seconds, config: &Config) {
        for endpoint in self.endpoints.values_mut() {
            let Some(due) = endpoint.due.filter(|due| *due <= now) else {
                continue;
            };
            endpoint.due = None;
            endpoint.modifying = false;
            match endpoint.state {
                EndpointState::Pending => {
                    if let Some(error) = endpoint.fails_with.take() {
                        endpoint.state = EndpointState::Failed;
                        endpoint.last_error = Some(error);
                        continue;
                    }
                    endpoint.state = EndpointState::Available;
                    endpoint.named_at.get_or_insert(due + config.dns_seconds);
                }
                EndpointState::Deleting => {
                    endpoint.state = EndpointState::Deleted;
                    endpoint.described_until = Some(due + config.deleted_linger_seconds);
                    let interfaces = self.interfaces.values_mut();
                    for interface in interfaces.filter(|i| i.endpoint_id == endpoint.id) {
                        interface.released_at.get_or_insert(due + config.eni_release_seconds);
                    }
                }
                _ => {}
            }
        }
        self.interfaces
            .retain(|_, interface| interface.released_at.is_none_or(|at| at > now));
        self.settle_load_balancers(now);
        for service in self.endpoint_services.values_mut() {
            service.settle(now, config);
        }
    }

    pub(crate) fn settle_load_balancers(&mut self, now: Seconds) {
        for load_balancer in self.load_balancers.values_mut() {
            if load_balancer.due.is_some_and(|due| due <= now) {
                load_balancer.due = None;
                load_balancer.state = LoadBalancerState::Active;
            }
        }
    }

    /// The endpoints that a describe shows at `now`.
    pub(crate) fn described(&self, now: Seconds) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .values()
            .filter(move |endpoint| endpoint.described_until.is_none_or(|until| until > now))
    }

    /// The interfaces that an endpoint still counts as its own.
    pub(crate) fn interfaces_of(&self, endpoint_id: &str) -> impl Iterator<Item = &Interface> {
        self.interfaces
            .values()
            .filter(move |i| i.endpoint_id == endpoint_id && i.released_at.is_none())
    }

    /// Starts an endpoint's deletion.
    pub(crate) fn start_deleting(&mut self, endpoint_id: &str, now: Seconds, config: &Config) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint_id)
            && !matches!(endpoint.state, EndpointState::Deleting | EndpointState::Deleted)
        {
            endpoint.state = EndpointState::Deleting;
            endpoint.due = Some(match endpoint.kind {
                EndpointType::Gateway => now,
                _ => now + config.deleting_seconds,
            });
        }
        self.settle(now, config);
    }

    /// Puts an interface of the endpoint into the subnet, with the addresses that were asked for
    /// or else with free ones.
    pub(crate) fn attach_interface(&mut self, endpoint_id: &str, subnet_id: &str, wanted: Addresses) {
        let (Some(endpoint), Some(subnet)) = (self.endpoints.get(endpoint_id), self.subnets.get(subnet_id)) else {
            return;
        };
        let mut interface = Interface {
            id: new_id("eni"),
            endpoint_id: endpoint.id.clone(),
            subnet_id: subnet.id.clone(),
            vpc_id: subnet.vpc_id.clone(),
            zone: subnet.zone.clone(),
            group_ids: endpoint.group_ids.iter().cloned().collect(),
            ipv4: wanted.ipv4,
            ipv6: wanted.ipv6,
            prefix: None,
            tags: Tags::new(),
            released_at: None,
        };
        addresses::fill(self, subnet, endpoint.ip_address_type, &mut interface);
        let mut fails_with = None;
        if endpoint.kind == EndpointType::ServiceNetwork && subnet.cidr.is_some() {
            interface.prefix = addresses::free_prefix(self, subnet);
            fails_with = interface.prefix.is_none().then(|| LastError {
                code: "InsufficientFreeAddressesInSubnet".to_owned(),
                message: format!("The subnet {subnet_id} has no free contiguous block of 16 addresses."),
            });
        }
        if let Some(endpoint) = self.endpoints.get_mut(endpoint_id).filter(|_| fails_with.is_some()) {
            endpoint.fails_with = fails_with;
        }
        self.interfaces.insert(interface.id.clone(), interface);
    }

    /// Gives an endpoint another IP address type, and its interfaces the addresses for it.
    pub(crate) fn set_ip_address_type(&mut self, endpoint_id: &str, ip: IpAddressType) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint_id) {
            endpoint.ip_address_type = ip;
        }
        let ids: Vec<String> = self.interfaces_of(endpoint_id).map(|i| i.id.clone()).collect();
        for id in ids {
            let Some(mut interface) = self.interfaces.remove(&id) else {
                continue;
            };
            if let Some(subnet) = self.subnets.get(&interface.subnet_id) {
                addresses::fill(self, subnet, ip, &mut interface);
            }
            self.interfaces.insert(id, interface);
        }
    }

    /// Removes a route table, from the endpoints that had it too.
    pub(crate) fn remove_route_table(&mut self, route_table_id: &str) -> Option<RouteTable> {
        for endpoint in self.endpoints.values_mut() {
            endpoint.route_table_ids.remove(route_table_id);
        }
        self.route_tables.remove(route_table_id)
    }

    /// Lets the endpoint's interface in the subnet go.
    pub(crate) fn detach_interface(&mut self, endpoint_id: &str, subnet_id: &str, released_at: Seconds) {
        for interface in self.interfaces.values_mut() {
            if interface.endpoint_id == endpoint_id && interface.subnet_id == subnet_id {
                interface.released_at.get_or_insert(released_at);
            }
        }
    }

    /// Replaces an endpoint's groups, on its interfaces too.
    pub(crate) fn set_groups(&mut self, endpoint_id: &str, group_ids: BTreeSet<String>) {
        for interface in self.interfaces.values_mut() {
            if interface.endpoint_id == endpoint_id && interface.released_at.is_none() {
                interface.group_ids = group_ids.iter().cloned().collect();
            }
        }
        if let Some(endpoint) = self.endpoints.get_mut(endpoint_id) {
            endpoint.group_ids = group_ids;
        }
    }

    /// What hinders a group's deletion.
    pub(crate) fn uses_group(&self, group_id: &str) -> bool {
        let interface = self
            .interfaces
            .values()
            .any(|i| i.group_ids.iter().any(|id| id == group_id));
        let endpoint = self
            .endpoints
            .values()
            .any(|e| !e.is_deleted() && e.group_ids.contains(group_id));
        let rule = self
            .groups
            .values()
            .filter(|group| group.id != group_id)
            .flat_map(|group| &group.rules)
            .any(|rule| rule.names_group(group_id));
        interface || endpoint || rule
    }

    /// The VPC's default group.
    pub(crate) fn default_group(&self, vpc_id: &str) -> Option<&Group> {
        self.groups
            .values()
            .find(|group| group.vpc_id == vpc_id && group.name == "default")
    }
}

/// The id of a zone where accounts have no names of their own: `usw2-az1` of `us-west-2a`.
pub(crate) fn zone_id(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    let number = letter.bytes().next().map_or(0, |letter| letter.wrapping_sub(b'a') + 1);
    let mut short = String::new();
    for (place, part) in region.split('-').enumerate() {
        match part {
            part if place == 0 => short.push_str(part),
            "northeast" => short.push_str("ne"),
            "northwest" => short.push_str("nw"),
            "southeast" => short.push_str("se"),
            "southwest" => short.push_str("sw"),
            part => short.extend(part.chars().next()),
        }
    }
    format!("{short}-az{number}")
}

/// A new id as EC2 makes them: 17 hexadecimal digits, the first a zero.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}-0{:016x}", fastrand::u64(..))
}
