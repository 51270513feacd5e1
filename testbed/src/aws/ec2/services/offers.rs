//! DescribeVpcEndpointServices: what an account finds.

use super::{Provider, Service, dns_suffix, not_found, takes_policies};
use crate::aws::ec2::Context;
use crate::aws::ec2::endpoint::EndpointType;
use crate::aws::ec2::permission::Need;
use crate::aws::ec2::region::{Region, zone_id};
use crate::aws::ec2::tags::{self, Tags};
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// One item of the answer: a service with one of its types.
struct Offer<'a> {
    /// What items are sorted by.
    key: String,
    region: &'a str,
    name: &'a str,
    service: &'a Service,
    kind: EndpointType,
}

fn offers<'a>(context: &'a Context<'_>, service_regions: &'a [String], names: &[String]) -> Vec<Offer<'a>> {
    let mut offers = Vec::new();
    for service_region in service_regions {
        for (name, _) in context.services.in_region(service_region) {
            let here = &context.region.name;
            let offered = context.services.offered(service_region, name, context.caller, here);
            let Some(service) = offered.filter(|_| names.is_empty() || names.contains(name)) else {
                continue;
            };
            offers.extend(service.types().iter().map(|kind| Offer {
                key: format!("{name} {service_region} {}", kind.wire()),
                region: service_region,
                name,
                service,
                kind: *kind,
            }));
        }
    }
    offers.sort_by(|a, b| a.key.cmp(&b.key));
    offers
}

pub(in crate::aws::ec2) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    const FILTERS: [&str; 5] = [
        "owner",
        "service-name",
        "service-region",
        "service-type",
        "supported-ip-address-types",
    ];
    let names = form.list("ServiceName");
    let mut service_regions = form.list("ServiceRegion");
    if service_regions.is_empty() {
        service_regions.push(context.region.name.clone());
    }
    let filters = Filters::take(form, &FILTERS)?;
    let paging = Paging::take(form, 1, context.config.page_size_cap)?;
    context.permit(form, &[Need::anywhere("ec2:DescribeVpcEndpointServices")])?;

    let mut all = offers(context, &service_regions, &names);
    if let Some(missing) = names.iter().find(|name| all.iter().all(|offer| offer.name != *name)) {
        return Err(not_found(missing));
    }
    all.retain(|offer| {
        let tags = own(offer.service, context).map(|provider| &provider.tags);
        filters.pass(tags.unwrap_or(&Tags::new()), |filter| match filter {
            "owner" => vec![context.services.owner(offer.region, offer.name).to_owned()],
            "service-name" => vec![offer.name.to_owned()],
            "service-region" => vec![offer.region.to_owned()],
            "service-type" => vec![offer.kind.wire().to_owned()],
            _ => offer
                .service
                .ip_address_types()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        })
    });
    let (page, token) = paging.cut(&all, |offer| &offer.key);
    let mut found: Vec<&str> = page.iter().map(|offer| offer.name).collect();
    found.dedup();
    let mut xml = Xml::new();
    xml.values("serviceNameSet", found);
    xml.items("serviceDetailSet", page, |xml, offer| write(xml, offer, context));
    xml.optional("nextToken", token);
    Ok(xml)
}

/// What the caller's account has configured of its own service: others do not see its tags.
fn own<'a>(service: &'a Service, context: &Context<'_>) -> Option<&'a Provider> {
    let provider = service.provider.as_ref();
    provider.filter(|provider| provider.account == context.caller.account)
}

fn write(xml: &mut Xml, offer: &Offer<'_>, context: &Context<'_>) {
    let Offer {
        region, name, service, ..
    } = offer;
    let here: &Region = context.region;
    xml.text("serviceName", name);
    xml.text("serviceId", name.rsplit('.').next().unwrap_or_default());
    xml.items("serviceType", [offer.kind], |xml, kind| {
        xml.text("serviceType", kind.wire());
    });
    xml.text("serviceRegion", region);
    let ids = service.zone_ids(region);
    xml.values("availabilityZoneIdSet", &ids);
    // By the names that the caller's account has for them.
    let zones = ["a", "b", "c", "d", "e", "f"].map(|letter| format!("{region}{letter}"));
    let named = zones.iter().filter(|zone| {
        let id = if *region == here.name {
            here.zone_id(zone)
        } else {
            zone_id(zone)
        };
        ids.contains(&id)
    });
    xml.values("availabilityZoneSet", named);
    xml.text("owner", context.services.owner(region, name));
    if offer.kind == EndpointType::Interface {
        xml.values("baseEndpointDnsNameSet", [dns_suffix(name, region)]);
        if let (Some(private), Some(state)) = (&service.spec.private_dns_name, service.name_state()) {
            xml.text("privateDnsName", private);
            xml.items("privateDnsNameSet", [private], |xml, name| {
                xml.text("privateDnsName", name)
            });
            xml.text("privateDnsNameVerificationState", state.wire());
        }
    }
    xml.text("vpcEndpointPolicySupported", takes_policies(name));
    xml.text("acceptanceRequired", service.spec.acceptance_required);
    xml.text("managesVpcEndpoints", false);
    xml.values("supportedIpAddressTypeSet", service.ip_address_types());
    if let Some(provider) = own(service, context) {
        tags::write(xml, &provider.tags);
    }
}
