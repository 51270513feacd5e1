//! DescribeVpcEndpointServiceConfigurations.

use super::{EndpointService, MISSING};
use crate::aws::ec2::Context;
use crate::aws::ec2::describe::{Question, Shape};
use crate::aws::ec2::endpoint::EndpointType;
use crate::aws::ec2::region::Region;
use crate::aws::ec2::services::{dns_suffix, service_name};
use crate::aws::ec2::tags;
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const SHAPE: Shape = Shape {
    action: "ec2:DescribeVpcEndpointServiceConfigurations",
    ids: "ServiceId",
    filters: &[
        "service-id",
        "service-name",
        "service-state",
        "supported-ip-address-types",
    ],
    least: 5,
    ids_or_pages: false,
    missing: MISSING,
};

pub(in crate::aws::ec2) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &SHAPE)?;
    let region = &*context.region;
    let (page, token) = question.answer(
        &SHAPE,
        region.described_services(context.now),
        |service| &service.id,
        |service| &service.tags,
        |service, filter| match filter {
            "service-id" => vec![service.id.clone()],
            "service-name" => vec![service_name(&region.name, &service.id)],
            "service-state" => vec![service.state.wire().to_owned()],
            _ => service.ip_address_types.iter().cloned().collect(),
        },
    )?;
    let mut xml = Xml::new();
    xml.items("serviceConfigurationSet", page, |xml, service| {
        write(xml, service, region)
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

/// `ServiceConfiguration`
pub(super) fn write(xml: &mut Xml, service: &EndpointService, region: &Region) {
    let name = service_name(&region.name, &service.id);
    xml.items("serviceType", [service.kind], |xml, kind| {
        xml.text("serviceType", kind.wire());
    });
    xml.text("serviceId", &service.id);
    xml.text("serviceName", &name);
    xml.text("serviceState", service.state.wire());
    let ids: Vec<String> = service.zones.iter().map(|zone| region.zone_id(zone)).collect();
    xml.values("availabilityZoneIdSet", ids);
    xml.values("availabilityZoneSet", &service.zones);
    xml.text("acceptanceRequired", service.acceptance_required);
    xml.text("managesVpcEndpoints", false);
    let set = match service.kind {
        EndpointType::GatewayLoadBalancer => "gatewayLoadBalancerArnSet",
        _ => "networkLoadBalancerArnSet",
    };
    xml.values(set, &service.load_balancers);
    xml.values("supportedIpAddressTypeSet", &service.ip_address_types);
    if service.kind == EndpointType::Interface {
        xml.values("baseEndpointDnsNameSet", [dns_suffix(&name, &region.name)]);
    }
    if let Some(private) = &service.private_name {
        xml.text("privateDnsName", &private.name);
        xml.element("privateDnsNameConfiguration", |xml| {
            xml.text("state", private.state.wire());
            xml.text("type", "TXT");
            xml.text("value", &private.record_value);
            xml.text("name", &private.record_name);
        });
    }
    // The host region is always listed.
    xml.element("supportedRegionSet", |xml| {
        let own = [(&region.name, service.state)].into_iter();
        let others = service.regions.iter().map(|(name, region)| (name, region.state));
        for (name, state) in own.chain(others) {
            xml.element("item", |xml| {
                xml.text("region", name);
                xml.text("serviceState", state.wire());
            });
        }
    });
    xml.text("remoteAccessEnabled", service.is_multi_region());
    tags::write(xml, &service.tags);
}
