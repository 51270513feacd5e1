//! A step: one change in AWS, with all that it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::progress::Part;
use crate::api::{AddressType, LoadBalancerType};
use crate::change::list;
use crate::ids::{EndpointId, EndpointServiceId};

/// One change in AWS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// EC2 CreateVpcEndpointServiceConfiguration.
    Create {
        /// The type of the load balancers.
        load_balancer_type: LoadBalancerType,
        /// Their ARNs.
        load_balancers: BTreeSet<String>,
        /// Whether connections wait until they are accepted. Always sent: EC2 documents no default.
        acceptance_required: bool,
        /// The families of addresses.
        address_types: BTreeSet<AddressType>,
        /// The private DNS name, if there is to be one.
        private_dns_name: Option<String>,
        /// The tags.
        tags: BTreeMap<String, String>,
    },
    /// EC2 ModifyVpcEndpointServiceConfiguration.
    Modify(EndpointServiceId, ServiceChange),
    /// EC2 ModifyVpcEndpointServicePermissions.
    ModifyPermissions {
        /// The endpoint service.
        id: EndpointServiceId,
        /// The principals to allow.
        add: BTreeSet<String>,
        /// The principals to allow no longer.
        remove: BTreeSet<String>,
    },
    /// EC2 AcceptVpcEndpointConnections.
    Accept(EndpointServiceId, BTreeSet<EndpointId>),
    /// EC2 RejectVpcEndpointConnections.
    Reject(EndpointServiceId, BTreeSet<EndpointId>),
    /// EC2 CreateTags.
    Tag(EndpointServiceId, BTreeMap<String, String>),
    /// EC2 DeleteTags.
    Untag(EndpointServiceId, BTreeSet<String>),
    /// EC2 StartVpcEndpointServicePrivateDnsVerification.
    VerifyPrivateDns(EndpointServiceId),
    /// EC2 DeleteVpcEndpointServiceConfigurations.
    Delete(EndpointServiceId),
}

/// One change of an endpoint service. Each is a call of its own, so that one that AWS refuses does
/// not hold the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServiceChange {
    /// Load balancers that it is to have.
    AddLoadBalancers(LoadBalancerType, BTreeSet<String>),
    /// Load balancers that it is to have no longer.
    RemoveLoadBalancers(LoadBalancerType, BTreeSet<String>),
    /// Whether connections wait until they are accepted.
    AcceptanceRequired(bool),
    /// Families of addresses that endpoints may have.
    AddAddressTypes(BTreeSet<AddressType>),
    /// Families of addresses that endpoints may have no longer.
    RemoveAddressTypes(BTreeSet<AddressType>),
    /// Another private DNS name, or none.
    PrivateDnsName(Option<String>),
}

impl Step {
    /// What it does, as metrics name it: the EC2 action.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CreateVpcEndpointServiceConfiguration",
            Self::Modify(..) => "ModifyVpcEndpointServiceConfiguration",
            Self::ModifyPermissions { .. } => "ModifyVpcEndpointServicePermissions",
            Self::Accept(..) => "AcceptVpcEndpointConnections",
            Self::Reject(..) => "RejectVpcEndpointConnections",
            Self::Tag(..) => "CreateTags",
            Self::Untag(..) => "DeleteTags",
            Self::VerifyPrivateDns(_) => "StartVpcEndpointServicePrivateDnsVerification",
            Self::Delete(_) => "DeleteVpcEndpointServiceConfigurations",
        }
    }

    /// The endpoint service that it changes; none of one that is to be created.
    pub fn id(&self) -> Option<&EndpointServiceId> {
        match self {
            Self::Create { .. } => None,
            Self::Modify(id, _)
            | Self::ModifyPermissions { id, .. }
            | Self::Accept(id, _)
            | Self::Reject(id, _)
            | Self::Tag(id, _)
            | Self::Untag(id, _)
            | Self::VerifyPrivateDns(id)
            | Self::Delete(id) => Some(id),
        }
    }

    /// What it belongs to.
    pub fn part(&self) -> Part {
        use ServiceChange::{AddLoadBalancers, PrivateDnsName, RemoveLoadBalancers};
        match self {
            Self::Modify(_, PrivateDnsName(_)) | Self::VerifyPrivateDns(_) => Part::PrivateDns,
            Self::Modify(_, AddLoadBalancers(..) | RemoveLoadBalancers(..)) => Part::LoadBalancers,
            Self::Accept(..) | Self::Reject(..) => Part::Connections,
            Self::Create { .. }
            | Self::Modify(..)
            | Self::ModifyPermissions { .. }
            | Self::Tag(..)
            | Self::Untag(..)
            | Self::Delete(_) => Part::Service,
        }
    }

    /// Whether AWS lets in fewer endpoints from then on.
    pub fn lets_fewer_in(&self) -> bool {
        match self {
            Self::Modify(_, ServiceChange::AcceptanceRequired(required)) => *required,
            Self::ModifyPermissions { remove, .. } => !remove.is_empty(),
            _ => false,
        }
    }

    /// Whether it must not be carried out while an earlier step of its plan is not done: what lets
    /// more endpoints in waits for what lets fewer in.
    pub fn waits_for(&self, earlier: &Self) -> bool {
        use ServiceChange::AcceptanceRequired;
        match (self, earlier) {
            (Self::ModifyPermissions { add, .. }, Self::Modify(_, AcceptanceRequired(true))) => !add.is_empty(),
            (Self::Modify(_, AcceptanceRequired(false)), Self::ModifyPermissions { remove, .. }) => !remove.is_empty(),
            // The mark first: what carries neither mark nor owner is lost.
            (Self::Untag(id, _), Self::Tag(other, _)) => id == other,
            _ => false,
        }
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLoadBalancers(_, arns) => write!(f, "add load balancers {}", list(arns)),
            Self::RemoveLoadBalancers(_, arns) => write!(f, "remove load balancers {}", list(arns)),
            Self::AcceptanceRequired(required) => write!(f, "set acceptance_required to {required}"),
            Self::AddAddressTypes(types) => write!(f, "add IP address types {}", list(types)),
            Self::RemoveAddressTypes(types) => write!(f, "remove IP address types {}", list(types)),
            Self::PrivateDnsName(Some(name)) => write!(f, "set the private DNS name {name}"),
            Self::PrivateDnsName(None) => f.write_str("remove the private DNS name"),
        }
    }
}

impl fmt::Display for Step {
    /// For events and logs: what is done, in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { load_balancers, .. } => {
                write!(f, "create an endpoint service for {}", list(load_balancers))
            }
            Self::Modify(id, change) => write!(f, "change {id}: {change}"),
            Self::ModifyPermissions { id, add, remove } => {
                write!(f, "change allowed principals of {id}:")?;
                let (adds, removes) = (!add.is_empty(), !remove.is_empty());
                if adds {
                    write!(f, " add {}", list(add))?;
                }
                if adds && removes {
                    f.write_str(",")?;
                }
                if removes {
                    write!(f, " remove {}", list(remove))?;
                }
                Ok(())
            }
            Self::Accept(id, endpoints) => write!(f, "accept connections of {id}: {}", list(endpoints)),
            Self::Reject(id, endpoints) => write!(f, "reject connections of {id}: {}", list(endpoints)),
            Self::Tag(id, tags) => write!(f, "set tags of {id}: {}", list(tags.keys())),
            Self::Untag(id, keys) => write!(f, "remove tags of {id}: {}", list(keys)),
            Self::VerifyPrivateDns(id) => write!(f, "verify the private DNS name of {id}"),
            Self::Delete(id) => write!(f, "delete endpoint service {id}"),
        }
    }
}
