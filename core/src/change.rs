//! What can be changed of an endpoint that exists: EC2's ModifyVpcEndpoint.

use std::collections::BTreeSet;
use std::fmt;

use crate::attachment::{Attachment, Interface};
use crate::ids::{GroupId, RouteTableId, SubnetId};
use crate::observed::ObservedEndpoint;
use crate::options::{Options, PolicyChoice};

/// What is to be changed of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct EndpointChange {
    /// Subnets to add.
    pub add_subnets: BTreeSet<SubnetId>,
    /// Subnets to remove.
    pub remove_subnets: BTreeSet<SubnetId>,
    /// Groups to attach.
    pub add_groups: BTreeSet<GroupId>,
    /// Groups to detach.
    pub remove_groups: BTreeSet<GroupId>,
    /// Route tables to add.
    pub add_route_tables: BTreeSet<RouteTableId>,
    /// Route tables to remove.
    pub remove_route_tables: BTreeSet<RouteTableId>,
    /// Private DNS turned on or off.
    pub private_dns: Option<bool>,
    /// What is set beside.
    pub options: Options,
}

/// For people, with commas between.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

fn without<T: Ord + Clone>(set: &BTreeSet<T>, other: &BTreeSet<T>) -> BTreeSet<T> {
    set.difference(other).cloned().collect()
}

impl EndpointChange {
    /// From how an endpoint is attached to how it is desired to be. Of route tables only those are
    /// removed that were applied once: another may manage the rest.
    pub(crate) fn between(there: &Attachment, desired: &Attachment, applied: &BTreeSet<RouteTableId>) -> Self {
        match (there, desired) {
            (Attachment::Interface(there), Attachment::Interface(desired)) => Self {
                add_subnets: without(&desired.subnets, &there.subnets),
                remove_subnets: without(&there.subnets, &desired.subnets),
                add_groups: without(&desired.groups, &there.groups),
                remove_groups: without(&there.groups, &desired.groups),
                private_dns: (there.private_dns != desired.private_dns).then_some(desired.private_dns),
                ..Self::default()
            },
            (Attachment::Gateway(there), Attachment::Gateway(desired)) => {
                let surplus = without(there, desired);
                Self {
                    add_route_tables: without(desired, there),
                    remove_route_tables: surplus.intersection(applied).cloned().collect(),
                    ..Self::default()
                }
            }
            // AWS fixes all of it.
            _ => Self::default(),
        }
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is about any subnet, or the address in one.
    pub fn changes_subnets(&self) -> bool {
        !self.add_subnets.is_empty() || !self.remove_subnets.is_empty() || !self.options.addresses.is_empty()
    }

    /// Whether it is about any group.
    pub fn changes_groups(&self) -> bool {
        !self.add_groups.is_empty() || !self.remove_groups.is_empty()
    }

    /// Whether AWS is at work for a while after it, and takes no other change meanwhile.
    pub(crate) fn takes_time(&self) -> bool {
        self.changes_subnets() || self.options.ip_address_type.is_some()
    }

    /// The same in changes that AWS may refuse one without another: groups, private DNS with the
    /// option that EC2 wants in the same call, the policy, route tables, address types, and
    /// subnets, last since AWS takes its time for them.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let Self {
            add_subnets,
            remove_subnets,
            add_groups,
            remove_groups,
            add_route_tables,
            remove_route_tables,
            private_dns,
            options,
        } = self.clone();
        let none = Self::default;
        let groups = Self {
            add_groups,
            remove_groups,
            ..none()
        };
        let private_dns = Self {
            private_dns,
            options: Options {
                inbound_resolver_only: options.inbound_resolver_only,
                ..Options::default()
            },
            ..none()
        };
        let policy = Self {
            options: Options {
                policy: options.policy,
                ..Options::default()
            },
            ..none()
        };
        let routes = Self {
            add_route_tables,
            ..none()
        };
        let former_routes = Self {
            remove_route_tables,
            ..none()
        };
        let address_types = Self {
            options: Options {
                ip_address_type: options.ip_address_type,
                dns_record_ip_type: options.dns_record_ip_type,
                ..Options::default()
            },
            ..none()
        };
        let subnets = Self {
            add_subnets,
            remove_subnets,
            options: Options {
                addresses: options.addresses,
                ..Options::default()
            },
            ..none()
        };
        let parts = [
            groups,
            private_dns,
            policy,
            routes,
            former_routes,
            address_types,
            subnets,
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect()
    }

    /// Takes it over in what was observed, once AWS has accepted it.
    pub(crate) fn apply(&self, endpoint: &mut ObservedEndpoint) {
        match endpoint.attachment.known_mut() {
            Some(Attachment::Interface(Interface {
                subnets,
                groups,
                private_dns,
            })) => {
                subnets.extend(self.add_subnets.iter().cloned());
                subnets.retain(|id| !self.remove_subnets.contains(id));
                groups.extend(self.add_groups.iter().cloned());
                groups.retain(|id| !self.remove_groups.contains(id));
                *private_dns = self.private_dns.unwrap_or(*private_dns);
            }
            Some(Attachment::Gateway(tables)) => {
                tables.extend(self.add_route_tables.iter().cloned());
                tables.retain(|id| !self.remove_route_tables.contains(id));
            }
            Some(Attachment::GatewayLoadBalancer(_)) | None => {}
        }
        // Of a subnet that comes back AWS chooses the address anew.
        let anew = |subnet: &SubnetId| self.add_subnets.contains(subnet) || self.remove_subnets.contains(subnet);
        endpoint.options.addresses.retain(|subnet, _| !anew(subnet));
        endpoint.options.apply(&self.options);
    }
}

impl fmt::Display for EndpointChange {
    /// For events and logs, in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: bool| if on { "on" } else { "off" };
        let policy = self.options.policy.as_ref().map(|policy| match policy {
            PolicyChoice::Document(_) => "the one of the spec",
            PolicyChoice::FullAccess => "full access",
        });
        let addresses = self.options.addresses.iter();
        let addresses = addresses.map(|(subnet, addresses)| format!("{subnet} to {addresses}"));
        let parts = [
            ("attach ", list(&self.add_groups)),
            ("detach ", list(&self.remove_groups)),
            ("add ", list(&self.add_subnets)),
            ("remove ", list(&self.remove_subnets)),
            ("add ", list(&self.add_route_tables)),
            ("remove ", list(&self.remove_route_tables)),
            ("set the addresses in ", list(addresses)),
            ("turn private DNS ", list(self.private_dns.map(switch))),
            (
                "turn private DNS for inbound resolver endpoints only ",
                list(self.options.inbound_resolver_only.map(switch)),
            ),
            ("set the policy to ", list(policy)),
            ("set the IP address type to ", list(self.options.ip_address_type)),
            ("set the DNS record IP type to ", list(self.options.dns_record_ip_type)),
        ];
        let parts = parts.iter().filter(|(_, what)| !what.is_empty());
        f.write_str(&list(parts.map(|(verb, what)| format!("{verb}{what}"))))
    }
}
