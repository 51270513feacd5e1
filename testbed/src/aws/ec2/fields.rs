//! Which parameters endpoints of each type have.

use super::endpoint::EndpointType;
use crate::aws::error::ApiError;

/// A parameter that endpoints of some types do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Policy,
    RouteTables,
    Subnets,
    Groups,
    SubnetConfigurations,
    ServiceRegion,
    PrivateDns,
    DnsRecordIpType,
    InboundOnly,
    PrivateDomains,
    ResourceConfiguration,
    ServiceNetwork,
    ServiceName,
}

impl Field {
    fn belongs_to(self, kind: EndpointType) -> bool {
        use EndpointType::{Gateway, GatewayLoadBalancer, Interface, Resource, ServiceNetwork};
        match self {
            Self::Policy => matches!(kind, Interface | Gateway),
            Self::RouteTables => kind == Gateway,
            Self::Subnets => kind != Gateway,
            Self::DnsRecordIpType => kind != GatewayLoadBalancer,
            Self::Groups | Self::PrivateDns => matches!(kind, Interface | Resource | ServiceNetwork),
            Self::SubnetConfigurations | Self::ServiceRegion | Self::InboundOnly => kind == Interface,
            Self::PrivateDomains => kind.is_lattice(),
            Self::ResourceConfiguration => kind == Resource,
            Self::ServiceNetwork => kind == ServiceNetwork,
            Self::ServiceName => !kind.is_lattice(),
        }
    }

    /// EC2's words where they are known, others like them where they are not.
    fn refusal(self, kind: EndpointType) -> String {
        let name = match self {
            Self::RouteTables => return "Route table IDs are only supported for Gateway type VPC Endpoint.".to_owned(),
            Self::PrivateDns => return "Private DNS is only supported for Interface type VPC Endpoint.".to_owned(),
            Self::InboundOnly => {
                return "DnsOptions PrivateDnsOnlyForInboundResolverEndpoint is applicable only to Interface VPC \
                        Endpoints."
                    .to_owned();
            }
            Self::Policy => "PolicyDocument",
            Self::Subnets => {
                return "Subnet IDs are only supported for Interface and GatewayLoadBalancer type VPC Endpoints."
                    .to_owned();
            }
            Self::Groups => "SecurityGroupIds",
            Self::SubnetConfigurations => "SubnetConfigurations",
            Self::ServiceRegion => "ServiceRegion",
            Self::DnsRecordIpType => "DnsRecordIpType",
            Self::PrivateDomains => "PrivateDnsPreference and PrivateDnsSpecifiedDomains",
            Self::ResourceConfiguration => "ResourceConfigurationArn",
            Self::ServiceNetwork => "ServiceNetworkArn",
            Self::ServiceName => "ServiceName",
        };
        format!("{name} is not supported for {} type VPC Endpoint.", kind.wire())
    }
}

/// Refuses what is given and does not belong to endpoints of this type.
pub(super) fn check(kind: EndpointType, fields: &[(Field, bool)]) -> Result<(), ApiError> {
    let stranger = fields.iter().find(|(field, given)| *given && !field.belongs_to(kind));
    match stranger {
        Some((field, _)) => Err(ApiError::invalid(field.refusal(kind))),
        None => Ok(()),
    }
}
