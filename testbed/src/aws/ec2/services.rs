//! Endpoint services: what endpoints can be made for.

use std::collections::BTreeMap;

use super::Context;
use super::permission::Need;
use super::region::EndpointKind;
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::partition;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// An endpoint service, by its full name in a region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceSpec {
    /// Whether its owner must accept endpoints.
    pub acceptance_required: bool,
    /// The zones that it is in (`us-west-2a`); empty: all.
    pub azs: Vec<String>,
    /// Whether its endpoints are of type Gateway, not Interface.
    pub gateway: bool,
    /// The name that private DNS leads to an endpoint, if the service has one; that it is verified
    /// is taken for granted.
    pub private_dns_name: Option<String>,
}

impl ServiceSpec {
    pub(super) fn kind(&self) -> EndpointKind {
        if self.gateway {
            EndpointKind::Gateway
        } else {
            EndpointKind::Interface
        }
    }

    pub(super) fn supports(&self, zone: &str) -> bool {
        self.azs.is_empty() || self.azs.iter().any(|az| az == zone)
    }
}

/// AWS's own services that every region has here.
pub(crate) fn amazon(region: &str) -> BTreeMap<String, ServiceSpec> {
    let interface = [
        "ec2",
        "ecr.api",
        "ecr.dkr",
        "kms",
        "logs",
        "secretsmanager",
        "sns",
        "sqs",
        "ssm",
        "sts",
    ];
    let domain = partition::domain(region);
    // In China most names begin with `cn.`, those of the gateways do not.
    let china = if domain.ends_with(".cn") { CHINA } else { "" };
    let interface = interface.into_iter().map(|service| {
        let spec = ServiceSpec {
            private_dns_name: Some(format!("{}.{region}.{domain}", reversed(service))),
            ..ServiceSpec::default()
        };
        (format!("{china}com.amazonaws.{region}.{service}"), spec)
    });
    let gateway = ["dynamodb", "s3"].into_iter().map(|service| {
        let spec = ServiceSpec {
            gateway: true,
            ..ServiceSpec::default()
        };
        (format!("com.amazonaws.{region}.{service}"), spec)
    });
    interface.chain(gateway).collect()
}

/// What the names of services in China begin with.
const CHINA: &str = "cn.";

/// `ecr.api` as it stands in DNS names: `api.ecr`.
fn reversed(service: &str) -> String {
    let mut labels: Vec<&str> = service.split('.').collect();
    labels.reverse();
    labels.join(".")
}

/// The domain of an interface endpoint's DNS names, without the endpoint's own label.
pub(super) fn dns_suffix(service_name: &str, region: &str) -> String {
    let domain = partition::domain(region);
    let last = service_name.rsplit('.').next().unwrap_or_default();
    if last.starts_with("vpce-svc-") {
        return format!("{last}.{region}.vpce.{domain}");
    }
    let name = service_name.strip_prefix(CHINA).unwrap_or(service_name);
    let service = name.splitn(4, '.').last().unwrap_or_default();
    format!("{}.{region}.vpce.{domain}", reversed(service))
}

pub(super) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let names = form.list("ServiceName");
    let filters = Filters::take(form, &["service-name", "service-type"])?;
    let paging = Paging::take(form, 1, context.config.page_size_cap)?;
    context.permit(form, &[Need::anywhere("ec2:DescribeVpcEndpointServices")])?;

    if let Some(missing) = names.iter().find(|n| !context.services.contains_key(*n)) {
        return Err(not_found(missing));
    }
    let all: Vec<(&String, &ServiceSpec)> = context
        .services
        .iter()
        .filter(|(name, _)| names.is_empty() || names.contains(name))
        .filter(|(name, spec)| {
            filters.pass(&BTreeMap::new(), |filter| match filter {
                "service-name" => vec![(*name).clone()],
                _ => vec![spec.kind().wire().to_owned()],
            })
        })
        .collect();
    let (page, token) = paging.cut(&all, |(name, _)| name);
    let zones = ["a", "b", "c"].map(|letter| format!("{}{letter}", context.region.name));
    let mut xml = Xml::new();
    xml.values("serviceNameSet", page.iter().map(|(name, _)| name.as_str()));
    xml.items("serviceDetailSet", page, |xml, (name, spec)| {
        xml.text("serviceName", name);
        let last = name.rsplit('.').next().unwrap_or_default();
        xml.text("serviceId", last);
        xml.items("serviceType", [spec.kind()], |xml, kind| {
            xml.text("serviceType", kind.wire());
        });
        xml.text("serviceRegion", &context.region.name);
        let azs = if spec.azs.is_empty() { &zones[..] } else { &spec.azs[..] };
        xml.values("availabilityZoneSet", azs);
        xml.text("owner", owner(name));
        if !spec.gateway {
            xml.values("baseEndpointDnsNameSet", [dns_suffix(name, &context.region.name)]);
        }
        xml.optional("privateDnsName", spec.private_dns_name.as_ref());
        xml.text("vpcEndpointPolicySupported", !last.starts_with("vpce-svc-"));
        xml.text("acceptanceRequired", spec.acceptance_required);
        xml.text("managesVpcEndpoints", false);
        xml.values("supportedIpAddressTypeSet", ["ipv4"]);
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

/// Who offers a service: an account, or `amazon`.
pub(super) fn owner(service_name: &str) -> &'static str {
    let private = service_name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with("vpce-svc-"));
    if private { "888888888888" } else { "amazon" }
}

pub(super) fn not_found(name: &str) -> ApiError {
    ApiError::new(
        "InvalidServiceName",
        format!("The Vpc Endpoint Service '{name}' does not exist"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_private_and_of_amazons_services() {
        assert_eq!(
            dns_suffix("com.amazonaws.vpce.us-west-2.vpce-svc-01a9", "us-west-2"),
            "vpce-svc-01a9.us-west-2.vpce.amazonaws.com"
        );
        assert_eq!(
            dns_suffix("com.amazonaws.us-west-2.ecr.api", "us-west-2"),
            "api.ecr.us-west-2.vpce.amazonaws.com"
        );
        assert_eq!(
            dns_suffix("cn.com.amazonaws.cn-north-1.ecr.api", "cn-north-1"),
            "api.ecr.cn-north-1.vpce.amazonaws.com.cn"
        );
    }
}
