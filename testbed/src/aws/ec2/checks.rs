//! What EC2 checks of an endpoint's parts, alike when it is made and when it is modified.

use std::collections::BTreeSet;

use super::Context;
use super::endpoint::{EndpointState, EndpointType};
use super::endpoint_services::NameState;
use super::groups;
use super::options::IpAddressType;
use super::region::{Region, RouteTable};
use super::services::{Service, prefix_list_id};
use crate::aws::error::ApiError;

/// Checks the subnets to be added to those that an endpoint already has, and the service's zones
/// where they have to be the same.
pub(super) fn check_subnets(
    region: &Region,
    zones_of: Option<(&str, &Service)>,
    vpc_id: &str,
    present: &BTreeSet<String>,
    added: &BTreeSet<String>,
) -> Result<(), ApiError> {
    let mut zones: BTreeSet<&str> = present
        .iter()
        .filter_map(|id| region.subnets.get(id))
        .map(|subnet| subnet.zone.as_str())
        .collect();
    for id in added {
        let subnet = region
            .subnets
            .get(id)
            .ok_or_else(|| not_found("InvalidSubnetID.NotFound", "subnet ID", id))?;
        if subnet.vpc_id != vpc_id {
            return Err(ApiError::invalid(format!(
                "The subnet {id} does not belong to {vpc_id}"
            )));
        }
        if let Some((service_name, service)) = zones_of
            && !service.supports_zone(&region.zone_id(&subnet.zone))
        {
            return Err(ApiError::invalid(format!(
                "The VPC endpoint service {service_name} does not support the availability zone of the subnet: {id}."
            )));
        }
        if subnet.full {
            return Err(ApiError::new(
                "InsufficientFreeAddressesInSubnet",
                format!("The specified subnet does not have enough free addresses to satisfy the request: {id}."),
            ));
        }
        if !zones.insert(&subnet.zone) {
            return Err(ApiError::new(
                "DuplicateSubnetsInSameZone",
                format!(
                    "Found another VPC endpoint subnet in the availability zone of {id}. VPC endpoint subnets should be \
                     in different availability zones supported by the VPC endpoint service."
                ),
            ));
        }
    }
    Ok(())
}

pub(super) fn check_groups(context: &Context<'_>, vpc_id: &str, ids: &BTreeSet<String>) -> Result<(), ApiError> {
    for id in ids {
        let group = context.region.groups.get(id).ok_or_else(|| groups::not_found(id))?;
        if group.vpc_id != vpc_id {
            return Err(ApiError::invalid(format!(
                "Security group {id} and VPC {vpc_id} belong to different networks."
            )));
        }
    }
    check_group_count(context, ids.len())
}

/// Checks that each subnet has addresses of the type: for IPv6, no others.
pub(super) fn check_families(
    region: &Region,
    ip: IpAddressType,
    subnet_ids: &BTreeSet<String>,
) -> Result<(), ApiError> {
    for subnet in subnet_ids.iter().filter_map(|id| region.subnets.get(id)) {
        let (has_ipv4, has_ipv6) = (subnet.cidr.is_some(), subnet.ipv6.is_some());
        let fits = match ip {
            IpAddressType::Ipv4 => has_ipv4,
            IpAddressType::Dualstack => has_ipv4 && has_ipv6,
            IpAddressType::Ipv6 => has_ipv6 && !has_ipv4,
        };
        if !fits {
            return Err(ApiError::invalid(format!(
                "The subnet {} does not support the IP address type {}.",
                subnet.id,
                ip.wire()
            )));
        }
    }
    Ok(())
}

/// Whether the service accepts what comes from addresses of the type.
pub(super) fn check_ip_address_type(service: &Service, ip: IpAddressType) -> Result<(), ApiError> {
    if service.supports(ip) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "The service does not support IpAddressType {}.",
        ip.wire()
    )))
}

/// Checks the route tables to be added to a gateway endpoint, which may be one that is there
/// already: a table has one route for a prefix list.
pub(super) fn check_route_tables(
    region: &Region,
    service_name: &str,
    vpc_id: &str,
    endpoint_id: Option<&str>,
    ids: &BTreeSet<String>,
) -> Result<(), ApiError> {
    for id in ids {
        let table = find_route_table(region, id)?;
        if table.vpc_id != vpc_id {
            return Err(ApiError::invalid(format!(
                "Route table {id} does not belong to {vpc_id}"
            )));
        }
        let taken = region.endpoints.values().any(|other| {
            !other.is_deleted()
                && other.service_name == service_name
                && Some(other.id.as_str()) != endpoint_id
                && other.route_table_ids.contains(id)
        });
        if taken {
            let list = prefix_list_id(service_name);
            return Err(ApiError::new(
                "RouteAlreadyExists",
                format!("route table {id} already has a route with destination-prefix-list-id {list}"),
            ));
        }
    }
    Ok(())
}

pub(super) fn find_route_table<'a>(region: &'a Region, id: &str) -> Result<&'a RouteTable, ApiError> {
    let table = region.route_tables.get(id);
    table.ok_or_else(|| not_found("InvalidRouteTableId.NotFound", "route table ID", id))
}

/// Whether private DNS can be turned on for an endpoint of the service, which may be one that is
/// there already.
///
/// The PrivateLink Guide has the conditions ("Access an AWS service using an interface VPC
/// endpoint", "Manage DNS names for VPC endpoint services").
pub(super) fn check_private_dns(
    context: &Context<'_>,
    service: &Service,
    service_name: &str,
    vpc_id: &str,
    endpoint_id: Option<&str>,
) -> Result<(), ApiError> {
    let Some(name) = &service.spec.private_dns_name else {
        return Err(ApiError::invalid(format!(
            "Private DNS can't be enabled because the service {service_name} does not provide a private DNS name."
        )));
    };
    if service.name_state() != Some(NameState::Verified) {
        return Err(ApiError::invalid(format!(
            "Private DNS can't be enabled because the service {service_name} has not verified its private DNS name."
        )));
    }
    check_dns_attributes(context.region, vpc_id)?;
    let conflict = context.region.endpoints.values().any(|other| {
        let others_name = context
            .services
            .of(other)
            .and_then(|service| service.spec.private_dns_name.as_ref());
        !other.is_deleted()
            && other.private_dns
            && other.vpc_id == vpc_id
            && others_name == Some(name)
            && Some(other.id.as_str()) != endpoint_id
    });
    if conflict {
        return Err(ApiError::invalid(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {name} in the VPC \
             {vpc_id}"
        )));
    }
    Ok(())
}

pub(super) fn check_dns_attributes(region: &Region, vpc_id: &str) -> Result<(), ApiError> {
    let vpc = region.vpcs.get(vpc_id);
    if vpc.is_some_and(|vpc| !vpc.dns_support || !vpc.dns_hostnames) {
        return Err(ApiError::invalid(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for \
             {vpc_id}"
        )));
    }
    Ok(())
}

/// What an interface endpoint's private DNS is and was, and what a request asks of it.
pub(super) struct PrivateDns {
    pub(super) on: bool,
    pub(super) turned_on: bool,
    pub(super) inbound_only: Option<bool>,
    pub(super) asked: Option<bool>,
}

/// Whether private DNS is for inbound resolver endpoints only, after a request. Only services that
/// have gateway endpoints too offer this, and for them it is the default whenever private DNS is
/// turned on.
pub(super) fn check_inbound_only(
    region: &Region,
    service: &Service,
    service_name: &str,
    vpc_id: &str,
    dns: &PrivateDns,
) -> Result<Option<bool>, ApiError> {
    if !service.has_gateway_and_interface() {
        return match dns.asked {
            None => Ok(None),
            Some(_) => Err(ApiError::invalid(format!(
                "PrivateDnsOnlyForInboundResolverEndpoint is not supported for the service {service_name}."
            ))),
        };
    }
    if !dns.on {
        return match dns.asked {
            Some(true) => Err(ApiError::invalid(
                "To set PrivateDnsOnlyForInboundResolverEndpoint to true, private DNS must be enabled.",
            )),
            asked => Ok(asked),
        };
    }
    let inbound_only = if dns.turned_on {
        dns.asked.or(Some(true))
    } else {
        dns.asked.or(dns.inbound_only)
    };
    let changed = dns.turned_on || dns.asked.is_some();
    let gateway = region.endpoints.values().any(|other| {
        other.kind == EndpointType::Gateway
            && other.state == EndpointState::Available
            && other.vpc_id == vpc_id
            && other.service_name == service_name
    });
    if changed && inbound_only == Some(true) && !gateway {
        return Err(ApiError::invalid(format!(
            "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC {vpc_id} must have a Gateway endpoint for \
             the service."
        )));
    }
    Ok(inbound_only)
}

/// Checks a ClientToken's form ("Ensuring idempotency in Amazon EC2 API requests").
pub(super) fn check_client_token(token: Option<&String>) -> Result<(), ApiError> {
    const MOST: usize = 64;
    match token {
        Some(token) if token.is_empty() || token.len() > MOST || !token.is_ascii() => Err(ApiError::invalid_value(
            format!("Invalid ClientToken: it must be 1 to {MOST} ASCII characters"),
        )),
        _ => Ok(()),
    }
}

/// Whether an interface may have so many groups.
pub(super) fn check_group_count(context: &Context<'_>, count: usize) -> Result<(), ApiError> {
    let most = context.config.quotas.groups_per_interface;
    if count <= most {
        return Ok(());
    }
    Err(ApiError::new(
        "SecurityGroupsPerInterfaceLimitExceeded",
        format!("You have exceeded the number of security groups allowed per interface ({most})"),
    ))
}

pub(super) fn not_found(code: &str, what: &str, id: &str) -> ApiError {
    ApiError::new(code, format!("The {what} '{id}' does not exist"))
}
