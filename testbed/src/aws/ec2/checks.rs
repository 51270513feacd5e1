//! What EC2 checks of an endpoint's parts, alike when it is made and when it is modified.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::groups;
use super::region::Region;
use super::services::ServiceSpec;
use crate::aws::error::ApiError;
use crate::aws::query::Form;

/// Dual-stack endpoints and their DNS records are not simulated; saying "ipv4" changes nothing.
pub(super) fn check_address_options(form: &mut Form) -> Result<(), ApiError> {
    for name in ["IpAddressType", "DnsOptions.DnsRecordIpType"] {
        match form.take(name).as_deref() {
            None | Some("ipv4") => {}
            Some(other) => {
                return Err(ApiError::invalid(format!(
                    "The service does not support {name} {other}."
                )));
            }
        }
    }
    Ok(())
}

pub(super) fn take_policy(form: &mut Form) -> Result<Option<String>, ApiError> {
    let policy = form.take("PolicyDocument").filter(|text| !text.is_empty());
    if let Some(text) = &policy
        && serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text).is_err()
    {
        return Err(ApiError::new(
            "InvalidPolicyDocument",
            "The policy document is not valid JSON",
        ));
    }
    Ok(policy)
}

/// Checks the subnets to be added to those that an endpoint already has.
pub(super) fn check_subnets(
    region: &Region,
    service: &ServiceSpec,
    service_name: &str,
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
        if !service.supports(&subnet.zone) {
            return Err(ApiError::invalid(format!(
                "The VPC endpoint service {service_name} does not support the availability zone of the subnet: {id}."
            )));
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

pub(super) fn check_route_tables(region: &Region, vpc_id: &str, ids: &BTreeSet<String>) -> Result<(), ApiError> {
    for id in ids {
        let table = region
            .route_tables
            .get(id)
            .ok_or_else(|| not_found("InvalidRouteTableId.NotFound", "route table ID", id))?;
        if table.vpc_id != vpc_id {
            return Err(ApiError::invalid(format!(
                "Route table {id} does not belong to {vpc_id}"
            )));
        }
    }
    Ok(())
}

/// Whether private DNS can be turned on for an endpoint of the service, which may be one that is
/// there already.
///
/// The PrivateLink Guide has the conditions ("Access an AWS service using an interface VPC
/// endpoint", "Manage DNS names for VPC endpoint services"); that a service's owner has proven that
/// the name is theirs is taken for granted.
pub(super) fn check_private_dns(
    region: &Region,
    services: &BTreeMap<String, ServiceSpec>,
    service_name: &str,
    vpc_id: &str,
    endpoint_id: Option<&str>,
) -> Result<(), ApiError> {
    let name_of = |service: &str| services.get(service).and_then(|spec| spec.private_dns_name.as_deref());
    let Some(name) = name_of(service_name) else {
        return Err(ApiError::invalid(format!(
            "Private DNS can't be enabled because the service {service_name} does not provide a private DNS name."
        )));
    };
    let vpc = region.vpcs.get(vpc_id);
    if vpc.is_some_and(|vpc| !vpc.dns_support || !vpc.dns_hostnames) {
        return Err(ApiError::invalid(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for \
             {vpc_id}"
        )));
    }
    let conflict = region.endpoints.values().any(|other| {
        !other.is_deleted()
            && other.private_dns
            && other.vpc_id == vpc_id
            && name_of(&other.service_name) == Some(name)
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
