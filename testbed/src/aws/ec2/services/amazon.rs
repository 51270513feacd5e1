//! AWS's own endpoint services.

use std::collections::BTreeMap;

use super::{Service, ServiceSpec};
use crate::aws::ec2::endpoint::EndpointType;
use crate::aws::partition;

/// AWS's own services that every region has here.
pub(super) fn services(region: &str) -> BTreeMap<String, Service> {
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
    let all = interface.chain(gateway);
    all.map(|(name, spec)| (name, Service::from(spec))).collect()
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
pub(in crate::aws::ec2) fn is_amazons_prefix_list(region: &str, id: &str) -> bool {
    let mut ids = GATEWAY
        .iter()
        .map(|service| prefix_list_id(&gateway_name(region, service)));
    ids.any(|one| one == id)
}

/// What the names of services in China begin with.
pub(super) const CHINA: &str = "cn.";

/// `ecr.api` as it stands in DNS names: `api.ecr`.
pub(super) fn reversed(service: &str) -> String {
    let mut labels: Vec<&str> = service.split('.').collect();
    labels.reverse();
    labels.join(".")
}
