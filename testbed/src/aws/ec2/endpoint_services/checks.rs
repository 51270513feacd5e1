//! Validation shared by create and modify.

use std::collections::BTreeSet;

use crate::aws::ec2::Context;
use crate::aws::ec2::endpoint::EndpointType;
use crate::aws::elb::load_balancer::{LoadBalancer, LoadBalancerType};
use crate::aws::error::ApiError;
use crate::aws::partition;

/// Checks that the load balancers exist, have the right type, are active, and are not associated
/// with another service.
///
/// Conditions: PrivateLink Guide, "Create an endpoint service" and "Create a Gateway Load Balancer
/// endpoint service". Error codes: "Error codes for the Amazon EC2 API", where it lists any.
pub(super) fn check_load_balancers(
    context: &Context<'_>,
    kind: EndpointType,
    arns: &BTreeSet<String>,
    service_id: Option<&str>,
) -> Result<(), ApiError> {
    let (what, wanted) = match kind {
        EndpointType::GatewayLoadBalancer => ("Gateway", LoadBalancerType::Gateway),
        _ => ("Network", LoadBalancerType::Network),
    };
    for arn in arns {
        let well_formed = arn.starts_with("arn:") && arn.contains(":elasticloadbalancing:");
        if !well_formed || !arn.contains(":loadbalancer/") {
            let code = format!("Invalid{what}LoadBalancerArn.Malformed");
            return Err(ApiError::new(
                code,
                format!("The load balancer ARN '{arn}' is malformed"),
            ));
        }
        let Some(load_balancer) = context.region.load_balancers.get(arn) else {
            let code = format!("Invalid{what}LoadBalancerArn.NotFound");
            return Err(ApiError::new(code, format!("The load balancer '{arn}' does not exist")));
        };
        if load_balancer.kind != wanted {
            return Err(ApiError::invalid(format!(
                "The load balancer {arn} is not a {what} Load Balancer."
            )));
        }
        if !load_balancer.is_active() {
            return Err(ApiError::invalid(format!(
                "The load balancer {arn} is in the {} state; it must be active.",
                load_balancer.state.wire()
            )));
        }
        let mut services = context.region.endpoint_services.values();
        let taken = services.any(|service| {
            !service.is_deleted() && Some(service.id.as_str()) != service_id && service.load_balancers.contains(arn)
        });
        if taken {
            return Err(ApiError::invalid(format!(
                "The load balancer {arn} is already associated with another VPC endpoint service."
            )));
        }
    }
    Ok(())
}

/// Looks the load balancers up.
fn load_balancers<'a>(context: &'a Context<'_>, arns: &BTreeSet<String>) -> impl Iterator<Item = &'a LoadBalancer> {
    arns.iter().filter_map(|arn| context.region.load_balancers.get(arn))
}

/// The zones of these load balancers that are ready.
pub(super) fn zones(context: &Context<'_>, arns: &BTreeSet<String>) -> BTreeSet<String> {
    let subnets = load_balancers(context, arns).flat_map(|one| one.subnets(context.region, Some(context.now)));
    subnets.map(|subnet| subnet.zone.clone()).collect()
}

/// Checks the supported IP address types: IPv6 requires that all load balancers are dualstack
/// ("Create an endpoint service").
pub(super) fn check_ip_address_types(
    context: &Context<'_>,
    types: &BTreeSet<String>,
    arns: &BTreeSet<String>,
) -> Result<(), ApiError> {
    if let Some(stranger) = types.iter().find(|kind| !matches!(kind.as_str(), "ipv4" | "ipv6")) {
        return Err(ApiError::invalid_value(format!(
            "Value ({stranger}) for parameter SupportedIpAddressTypes is invalid."
        )));
    }
    let single = load_balancers(context, arns).find(|load_balancer| !load_balancer.dualstack);
    match single {
        Some(single) if types.contains("ipv6") => Err(ApiError::invalid(format!(
            "To support ipv6, the load balancer {} must have the IP address type dualstack.",
            single.arn
        ))),
        _ => Ok(()),
    }
}

/// Checks the supported regions, which do not include the host region.
pub(super) fn check_regions(
    context: &Context<'_>,
    kind: EndpointType,
    regions: &BTreeSet<String>,
) -> Result<(), ApiError> {
    let own = &context.region.name;
    for region in regions {
        if !context.services.has_region(region) || partition::of_region(region) != partition::of_region(own) {
            return Err(ApiError::invalid(format!("The Region {region} is not valid.")));
        }
        if context
            .disabled
            .contains(&(context.region.account.clone(), region.clone()))
        {
            let message = format!("The Region {region} is not enabled for your account.");
            return Err(ApiError::new("OptInRequired", message));
        }
    }
    if kind == EndpointType::GatewayLoadBalancer && !regions.is_empty() {
        return Err(ApiError::invalid(
            "SupportedRegions is not supported for services of type GatewayLoadBalancer.",
        ));
    }
    Ok(())
}

/// Private DNS names are lower case, may start with a wildcard, and exist for Interface endpoints
/// only ("Manage DNS names for VPC endpoint services").
pub(super) fn check_private_name(kind: EndpointType, name: &str) -> Result<(), ApiError> {
    if kind == EndpointType::GatewayLoadBalancer {
        return Err(ApiError::invalid(
            "PrivateDnsName is not supported for services of type GatewayLoadBalancer.",
        ));
    }
    let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
    let good = |label: &&str| {
        let chars = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(chars)
    };
    if name.len() <= 255 && labels.len() > 1 && labels.iter().all(good) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("The private DNS name {name} is not valid.")))
}
