//! How an endpoint is attached to its VPC, and what goes with each EC2 `VpcEndpointType`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::api::EndpointType;
use crate::ids::{GroupId, RouteTableId, SubnetId};
use crate::target::Target;

/// How an endpoint is attached. Only what EC2 takes together can be written. AWS fixes the type at
/// creation, and the rest can be changed unless it says so.
///
/// `G` is how its security groups are known: by their ids, or as what is desired of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attachment<G = BTreeSet<GroupId>> {
    /// By network interfaces with security groups: the types Interface, Resource and
    /// ServiceNetwork, which what the endpoint connects to tells apart.
    Interface(Interface<G>),
    /// By routes in these route tables: the type Gateway.
    Gateway(BTreeSet<RouteTableId>),
    /// By a network interface in one subnet, which AWS fixes at creation: the type
    /// GatewayLoadBalancer.
    GatewayLoadBalancer(SubnetId),
}

impl<G> Attachment<G> {
    /// What stands for it in the ClientToken of CreateVpcEndpoint: nothing for the first that there
    /// was.
    pub(crate) fn token_parts(&self) -> Vec<&str> {
        match self {
            Self::Interface(_) => Vec::new(),
            Self::Gateway(_) => vec![EndpointType::Gateway.as_str()],
            Self::GatewayLoadBalancer(subnet) => vec![EndpointType::GatewayLoadBalancer.as_str(), subnet.as_str()],
        }
    }

    /// The type of an endpoint for a target that is attached so.
    pub fn endpoint_type(&self, target: &Target) -> EndpointType {
        match (self, target) {
            (Self::Interface(_), Target::Service { .. }) => EndpointType::Interface,
            (Self::Interface(_), Target::ResourceConfiguration { .. }) => EndpointType::Resource,
            (Self::Interface(_), Target::ServiceNetwork { .. }) => EndpointType::ServiceNetwork,
            (Self::Gateway(_), _) => EndpointType::Gateway,
            (Self::GatewayLoadBalancer(_), _) => EndpointType::GatewayLoadBalancer,
        }
    }

    /// The subnets of its network interfaces.
    pub fn subnets(&self) -> BTreeSet<&SubnetId> {
        match self {
            Self::Interface(interface) => interface.subnets.iter().collect(),
            Self::Gateway(_) => BTreeSet::new(),
            Self::GatewayLoadBalancer(subnet) => [subnet].into(),
        }
    }

    /// The route tables in which it has routes.
    pub fn route_tables(&self) -> Option<&BTreeSet<RouteTableId>> {
        match self {
            Self::Gateway(tables) => Some(tables),
            Self::Interface(_) | Self::GatewayLoadBalancer(_) => None,
        }
    }

    /// Its security groups, where it has any.
    pub fn groups(&self) -> Option<&G> {
        match self {
            Self::Interface(interface) => Some(&interface.groups),
            Self::Gateway(_) | Self::GatewayLoadBalancer(_) => None,
        }
    }

    /// Whether clients reach it by network interfaces.
    pub(crate) fn has_interfaces(&self) -> bool {
        !matches!(self, Self::Gateway(_))
    }

    /// The same with other groups.
    pub(crate) fn with_groups<H>(&self, groups: H) -> Attachment<H> {
        match self {
            Self::Interface(Interface {
                subnets, private_dns, ..
            }) => Attachment::Interface(Interface {
                subnets: subnets.clone(),
                groups,
                private_dns: *private_dns,
            }),
            Self::Gateway(tables) => Attachment::Gateway(tables.clone()),
            Self::GatewayLoadBalancer(subnet) => Attachment::GatewayLoadBalancer(subnet.clone()),
        }
    }
}

impl Attachment {
    /// Takes from an endpoint that is adopted what the spec does not say of it.
    pub(crate) fn keep(&mut self, kept: Kept, there: &Self) {
        if let (Self::Interface(desired), Self::Interface(there)) = (self, there) {
            if kept.subnets {
                desired.subnets.clone_from(&there.subnets);
            }
            if kept.private_dns {
                desired.private_dns = there.private_dns;
            }
        }
    }
}

/// What a spec does not say of an endpoint that is adopted, which is left as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its subnets.
    pub subnets: bool,
    /// Whether it has private DNS.
    pub private_dns: bool,
}

/// Network interfaces in subnets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interface<G = BTreeSet<GroupId>> {
    /// One network interface in each.
    pub subnets: BTreeSet<SubnetId>,
    /// The security groups of the network interfaces.
    pub groups: G,
    /// Whether the service's own DNS name leads to the endpoint in the whole VPC.
    pub private_dns: bool,
}

/// How an endpoint is attached that AWS describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObservedAttachment {
    /// In a way that the operator makes.
    Known(Attachment),
    /// In another way, by the type as EC2 spells it. Such an endpoint is never ours.
    Other(String),
}

impl ObservedAttachment {
    /// Reads what EC2 says.
    pub fn parse(type_: &str, interface: Interface, route_tables: BTreeSet<RouteTableId>) -> Self {
        let known = EndpointType::parse(type_);
        let subnet = interface.subnets.first().cloned();
        match (known, subnet) {
            (Some(EndpointType::Interface | EndpointType::Resource | EndpointType::ServiceNetwork), _) => {
                Self::Known(Attachment::Interface(interface))
            }
            (Some(EndpointType::Gateway), _) => Self::Known(Attachment::Gateway(route_tables)),
            (Some(EndpointType::GatewayLoadBalancer), Some(subnet)) => {
                Self::Known(Attachment::GatewayLoadBalancer(subnet))
            }
            (Some(EndpointType::GatewayLoadBalancer) | None, _) => Self::Other(type_.to_owned()),
        }
    }

    /// How it is attached, where that is known.
    pub fn known(&self) -> Option<&Attachment> {
        match self {
            Self::Known(attachment) => Some(attachment),
            Self::Other(_) => None,
        }
    }

    /// How it is attached, to be changed.
    pub(crate) fn known_mut(&mut self) -> Option<&mut Attachment> {
        match self {
            Self::Known(attachment) => Some(attachment),
            Self::Other(_) => None,
        }
    }

    /// Whether it is, in what AWS fixes at creation, as is desired.
    pub(crate) fn is_as_fixed(&self, desired: &Attachment<impl Sized>) -> bool {
        match (self, desired) {
            (Self::Known(Attachment::Interface(_)), Attachment::Interface(_))
            | (Self::Known(Attachment::Gateway(_)), Attachment::Gateway(_)) => true,
            (Self::Known(Attachment::GatewayLoadBalancer(there)), Attachment::GatewayLoadBalancer(desired)) => {
                there == desired
            }
            _ => false,
        }
    }
}

impl From<Attachment> for ObservedAttachment {
    fn from(attachment: Attachment) -> Self {
        Self::Known(attachment)
    }
}
