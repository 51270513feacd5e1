//! Endpoint services: what endpoints can be made for.

use std::collections::BTreeMap;

use super::Context;
use super::endpoint::{Endpoint, EndpointType};
use super::options::IpAddressType;
use super::permission::Need;
use super::region::{Region, zone_id};
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::partition;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// An endpoint service, by its full name in a region.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceSpec {
    /// Whether its owner must accept endpoints.
    pub acceptance_required: bool,
    /// The zones that it is in (`us-west-2a`), as its owner names them; empty: all.
    pub azs: Vec<String>,
    /// The types of its endpoints; empty: Interface.
    pub types: Vec<EndpointType>,
    /// The name that private DNS leads to an endpoint, if the service has one; that it is verified
    /// is taken for granted.
    pub private_dns_name: Option<String>,
    /// What it accepts, `ipv4` and `ipv6`; empty: IPv4.
    pub ip_address_types: Vec<String>,
    /// The accounts that may use it; empty: all. For others it is not there.
    pub allowed_accounts: Vec<String>,
    /// The regions that it is offered in besides its own.
    pub regions: Vec<String>,
    /// Until then, in simulated time, no endpoint can be created for it, as for one that its owner
    /// has just created: the answer is a 503.
    pub unavailable_until: f64,
}

impl ServiceSpec {
    pub(super) fn types(&self) -> &[EndpointType] {
        match self.types.as_slice() {
            [] => &[EndpointType::Interface],
            types => types,
        }
    }

    /// Whether it has both gateway and interface endpoints.
    pub(super) fn has_gateway_and_interface(&self) -> bool {
        let has = |kind| self.types().contains(&kind);
        has(EndpointType::Gateway) && has(EndpointType::Interface)
    }

    /// Whether it is in a zone, by the zone's id.
    pub(super) fn supports_zone(&self, id: &str) -> bool {
        self.azs.is_empty() || self.azs.iter().any(|az| zone_id(az) == id)
    }

    pub(super) fn ip_address_types(&self) -> Vec<&str> {
        match self.ip_address_types.as_slice() {
            [] => vec!["ipv4"],
            types => types.iter().map(String::as_str).collect(),
        }
    }

    pub(super) fn supports(&self, ip: IpAddressType) -> bool {
        let accepted = self.ip_address_types();
        (!ip.has_ipv4() || accepted.contains(&"ipv4")) && (!ip.has_ipv6() || accepted.contains(&"ipv6"))
    }
}

/// The services of all regions, by region and full name.
#[derive(Debug, Clone)]
pub(crate) struct Services(BTreeMap<String, BTreeMap<String, ServiceSpec>>);

impl Services {
    /// AWS's own in these regions.
    pub(crate) fn new(regions: &[String]) -> Self {
        let of = |region: &String| (region.clone(), amazon(region));
        Self(regions.iter().map(of).collect())
    }

    /// Adds one, and its region if that is new.
    pub(crate) fn add(&mut self, region: &str, name: &str, spec: ServiceSpec) {
        let services = self.0.entry(region.to_owned()).or_insert_with(|| amazon(region));
        services.insert(name.to_owned(), spec);
    }

    pub(crate) fn has_region(&self, region: &str) -> bool {
        self.0.contains_key(region)
    }

    pub(super) fn get(&self, region: &str, name: &str) -> Option<&ServiceSpec> {
        self.0.get(region)?.get(name)
    }

    /// An endpoint's service.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<&ServiceSpec> {
        self.get(&endpoint.service_region, &endpoint.service_name)
    }

    /// A service as it is offered to an account in a region, which may be another than its own.
    pub(super) fn offered(
        &self,
        service_region: &str,
        name: &str,
        account: &str,
        region: &str,
    ) -> Option<&ServiceSpec> {
        let lists = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted);
        self.get(service_region, name).filter(|spec| {
            (service_region == region || lists(&spec.regions, region))
                && (spec.allowed_accounts.is_empty() || lists(&spec.allowed_accounts, account))
        })
    }

    pub(super) fn in_region(&self, region: &str) -> impl Iterator<Item = (&String, &ServiceSpec)> {
        self.0.get(region).into_iter().flatten()
    }
}

/// AWS's own services that every region has here.
fn amazon(region: &str) -> BTreeMap<String, ServiceSpec> {
    let domain = partition::domain(region);
    // In China most names begin with `cn.`, those of the gateways do not.
    let china = if domain.ends_with(".cn") { CHINA } else { "" };
    let others = partition::regions(partition::of_region(region)).iter();
    let others: Vec<String> = others.filter(|r| **r != region).map(|r| (*r).to_owned()).collect();
    let name_of = |service: &str| Some(format!("{}.{region}.{domain}", reversed(service)));
    let interface = INTERFACE.into_iter().map(|service| {
        let spec = ServiceSpec {
            private_dns_name: name_of(service),
            regions: if CROSS_REGION.contains(&service) {
                others.clone()
            } else {
                Vec::new()
            },
            ..ServiceSpec::default()
        };
        (format!("{china}com.amazonaws.{region}.{service}"), spec)
    });
    let gateway = GATEWAY.into_iter().map(|service| {
        let spec = match service {
            "s3" => ServiceSpec {
                types: vec![EndpointType::Gateway, EndpointType::Interface],
                private_dns_name: name_of(service),
                ip_address_types: both_families(),
                regions: others.clone(),
                ..ServiceSpec::default()
            },
            "dynamodb" => ServiceSpec {
                types: vec![EndpointType::Gateway],
                ip_address_types: both_families(),
                ..ServiceSpec::default()
            },
            _ => ServiceSpec {
                types: vec![EndpointType::Gateway],
                ..ServiceSpec::default()
            },
        };
        (gateway_name(region, service), spec)
    });
    interface.chain(gateway).collect()
}

const INTERFACE: [&str; 10] = [
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

/// Those of them that the PrivateLink Guide lists as offered across regions.
const CROSS_REGION: [&str; 3] = ["ecr.api", "ecr.dkr", "kms"];

const GATEWAY: [&str; 3] = ["dynamodb", "s3", "s3express"];

fn gateway_name(region: &str, service: &str) -> String {
    format!("com.amazonaws.{region}.{service}")
}

fn both_families() -> Vec<String> {
    ["ipv4", "ipv6"].map(str::to_owned).to_vec()
}

/// The id of the prefix list with the addresses of a gateway service.
pub(crate) fn prefix_list_id(service_name: &str) -> String {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("pl-{:08x}", service_name.bytes().fold(0x811c_9dc5, mix))
}

/// Whether it is the id of one of AWS's own prefix lists in the region.
pub(super) fn is_amazons_prefix_list(region: &str, id: &str) -> bool {
    let mut ids = GATEWAY
        .iter()
        .map(|service| prefix_list_id(&gateway_name(region, service)));
    ids.any(|one| one == id)
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

/// One item of the answer: a service with one of its types.
struct Offer<'a> {
    /// What items are sorted by.
    key: String,
    region: &'a str,
    name: &'a str,
    spec: &'a ServiceSpec,
    kind: EndpointType,
}

fn offers<'a>(context: &'a Context<'_>, service_regions: &'a [String], names: &[String]) -> Vec<Offer<'a>> {
    let mut offers = Vec::new();
    for service_region in service_regions {
        for (name, _) in context.services.in_region(service_region) {
            let Region {
                account, name: here, ..
            } = &*context.region;
            let offered = context.services.offered(service_region, name, account, here);
            let Some(spec) = offered.filter(|_| names.is_empty() || names.contains(name)) else {
                continue;
            };
            offers.extend(spec.types().iter().map(|kind| Offer {
                key: format!("{name} {service_region} {}", kind.wire()),
                region: service_region,
                name,
                spec,
                kind: *kind,
            }));
        }
    }
    offers.sort_by(|a, b| a.key.cmp(&b.key));
    offers
}

pub(super) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
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
        filters.pass(&BTreeMap::new(), |filter| match filter {
            "owner" => vec![owner(offer.name).to_owned()],
            "service-name" => vec![offer.name.to_owned()],
            "service-region" => vec![offer.region.to_owned()],
            "service-type" => vec![offer.kind.wire().to_owned()],
            _ => offer.spec.ip_address_types().into_iter().map(str::to_owned).collect(),
        })
    });
    let (page, token) = paging.cut(&all, |offer| &offer.key);
    let mut found: Vec<&str> = page.iter().map(|offer| offer.name).collect();
    found.dedup();
    let mut xml = Xml::new();
    xml.values("serviceNameSet", found);
    xml.items("serviceDetailSet", page, |xml, offer| write(xml, offer, context.region));
    xml.optional("nextToken", token);
    Ok(xml)
}

fn write(xml: &mut Xml, offer: &Offer<'_>, here: &Region) {
    let Offer { region, name, spec, .. } = offer;
    xml.text("serviceName", name);
    xml.text("serviceId", name.rsplit('.').next().unwrap_or_default());
    xml.items("serviceType", [offer.kind], |xml, kind| {
        xml.text("serviceType", kind.wire());
    });
    xml.text("serviceRegion", region);
    let zones = ["a", "b", "c"].map(|letter| format!("{region}{letter}"));
    let azs = if spec.azs.is_empty() { &zones[..] } else { &spec.azs[..] };
    let ids: Vec<String> = azs.iter().map(|az| zone_id(az)).collect();
    // By the names that the caller's account has for them.
    let own = zones.iter().filter(|zone| ids.contains(&here.zone_id(zone)));
    let own: Vec<&String> = if *region == here.name {
        own.collect()
    } else {
        azs.iter().collect()
    };
    xml.values("availabilityZoneIdSet", &ids);
    xml.values("availabilityZoneSet", own);
    xml.text("owner", owner(name));
    if offer.kind == EndpointType::Interface {
        xml.values("baseEndpointDnsNameSet", [dns_suffix(name, region)]);
        if let Some(private) = &spec.private_dns_name {
            xml.text("privateDnsName", private);
            xml.items("privateDnsNameSet", [private], |xml, name| {
                xml.text("privateDnsName", name)
            });
            xml.text("privateDnsNameVerificationState", "verified");
        }
    }
    xml.text("vpcEndpointPolicySupported", takes_policies(name));
    xml.text("acceptanceRequired", spec.acceptance_required);
    xml.text("managesVpcEndpoints", false);
    xml.values("supportedIpAddressTypeSet", spec.ip_address_types());
}

/// Who offers a service: an account, or `amazon`.
pub(super) fn owner(service_name: &str) -> &'static str {
    if is_customers(service_name) {
        "888888888888"
    } else {
        "amazon"
    }
}

/// Whether the service's endpoints take policies: AWS's own do here, customers' do not.
pub(super) fn takes_policies(service_name: &str) -> bool {
    !is_customers(service_name)
}

fn is_customers(service_name: &str) -> bool {
    let last = service_name.rsplit('.').next();
    last.is_some_and(|last| last.starts_with("vpce-svc-"))
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
