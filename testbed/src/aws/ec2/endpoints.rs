//! VPC endpoints: what they are, describe, delete.

use std::collections::BTreeSet;

use super::Context;
use super::describe::{Question, Shape};
use super::endpoint::{Endpoint, EndpointState, EndpointType};
use super::lattice::{Association, Lattice};
use super::options::{DnsOptions, IpAddressType};
use super::permission::PRIVATE_DNS_ZONE;
use super::policy::FULL_ACCESS;
use super::region::{Region, new_id};
use super::services::{self, Services};
use super::tags::{self, Tags};
use crate::aws::clock::{Clock, Seconds};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// The error of Describe and Modify for an id that is not there; Delete has one of its own.
pub(super) const MISSING: &str = "InvalidVpcEndpointId.NotFound";

const SHAPE: Shape = Shape {
    action: "ec2:DescribeVpcEndpoints",
    ids: "VpcEndpointId",
    filters: &[
        "ip-address-type",
        "service-name",
        "service-region",
        "vpc-endpoint-id",
        "vpc-endpoint-state",
        "vpc-endpoint-type",
        "vpc-id",
    ],
    least: 1,
    ids_or_pages: false,
    missing: MISSING,
};

/// An endpoint that has just been made.
pub(crate) fn new_endpoint(
    kind: EndpointType,
    region: &str,
    vpc_id: &str,
    service_name: &str,
    now: Seconds,
) -> Endpoint {
    Endpoint {
        id: new_id("vpce"),
        kind,
        vpc_id: vpc_id.to_owned(),
        service_name: service_name.to_owned(),
        lattice_arn: None,
        service_region: region.to_owned(),
        state: EndpointState::Available,
        due: None,
        modifying: false,
        described_until: None,
        named_at: None,
        requester_managed: false,
        subnet_ids: BTreeSet::new(),
        group_ids: BTreeSet::new(),
        route_table_ids: BTreeSet::new(),
        private_dns: false,
        ip_address_type: IpAddressType::Ipv4,
        dns_options: DnsOptions::default_of(kind, IpAddressType::Ipv4),
        policy: FULL_ACCESS.to_owned(),
        tags: Tags::new(),
        created: now,
        last_error: None,
        fails_with: None,
        dns_label: (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect(),
    }
}

/// What EC2 says to those who would change an endpoint that belongs to an AWS service.
pub(super) fn requester_managed(service_name: &str) -> ApiError {
    ApiError::invalid(format!(
        "Operation is not allowed for requester-managed VPC endpoints for the service {service_name}"
    ))
}

pub(super) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &SHAPE)?;
    let (page, token) = question.answer(
        &SHAPE,
        context.region.described(context.now),
        |endpoint| &endpoint.id,
        |endpoint| &endpoint.tags,
        |endpoint, filter| {
            vec![match filter {
                "ip-address-type" => endpoint.ip_address_type.wire().to_owned(),
                "service-name" => endpoint.service_name.clone(),
                "service-region" => endpoint.service_region.clone(),
                "vpc-endpoint-id" => endpoint.id.clone(),
                "vpc-endpoint-state" => endpoint.state.wire().to_owned(),
                "vpc-endpoint-type" => endpoint.kind.wire().to_owned(),
                _ => endpoint.vpc_id.clone(),
            }]
        },
    )?;
    let mut xml = Xml::new();
    xml.items("vpcEndpointSet", page, |xml, endpoint| write(xml, context, endpoint));
    xml.optional("nextToken", token);
    Ok(xml)
}

pub(super) fn delete(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let ids: BTreeSet<String> = form.require_list("VpcEndpointId")?.into_iter().collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let mut unsuccessful = context.permit_each(form, "ec2:DeleteVpcEndpoints", &ids)?;
    unsuccessful.extend(context.take_unsuccessful(&ids));

    let permitted: Vec<String> = ids.into_iter().filter(|id| !unsuccessful.contains_key(id)).collect();
    for id in permitted {
        let endpoint = context
            .region
            .endpoints
            .get(&id)
            .filter(|endpoint| !endpoint.is_deleted());
        match endpoint {
            Some(endpoint) if endpoint.requester_managed => {
                let error = requester_managed(&endpoint.service_name);
                unsuccessful.insert(id, error);
            }
            Some(endpoint) if carries_private_dns(context.region, endpoint) => {
                let message = format!(
                    "The VPC endpoint {id} cannot be deleted while an Interface endpoint with private DNS only for \
                     inbound Resolver endpoints depends on it."
                );
                unsuccessful.insert(id, ApiError::invalid(message));
            }
            Some(_) => context.region.start_deleting(&id, context.now, context.config),
            None => {
                let message = format!("The VPC endpoint {id} does not exist");
                unsuccessful.insert(id, ApiError::new("InvalidVpcEndpoint.NotFound", message));
            }
        }
    }
    Ok(super::unsuccessful(unsuccessful))
}

/// Whether it is a gateway endpoint to which an interface endpoint of its service leaves the VPC's
/// own traffic.
fn carries_private_dns(region: &Region, endpoint: &Endpoint) -> bool {
    endpoint.kind == EndpointType::Gateway
        && region.endpoints.values().any(|other| {
            other.kind == EndpointType::Interface
                && !other.is_deleted()
                && other.vpc_id == endpoint.vpc_id
                && other.service_name == endpoint.service_name
                && other.dns_options.inbound_only == Some(true)
        })
}

/// The endpoint's DNS names with their hosted zones: the regional one, one for each zone, the
/// private one.
pub(crate) fn dns_entries(
    endpoint: &Endpoint,
    region: &Region,
    services: &Services,
    lattice: &Lattice,
    now: Seconds,
) -> Vec<(String, &'static str)> {
    const PUBLIC_ZONE: &str = "Z1YSA3EXCYUU9Z";
    if endpoint.named_at.is_none_or(|at| at > now) {
        return Vec::new();
    }
    if endpoint.kind == EndpointType::Resource {
        let associations = lattice.associations(endpoint, &region.account);
        let names = |a: Association| {
            [
                Some((a.dns_name, PUBLIC_ZONE)),
                a.private_dns_name.map(|n| (n, PRIVATE_DNS_ZONE)),
            ]
        };
        return associations.into_iter().flat_map(names).flatten().collect();
    }
    if endpoint.kind != EndpointType::Interface {
        return Vec::new();
    }
    let suffix = services::dns_suffix(&endpoint.service_name, &endpoint.service_region);
    let label = format!("{}-{}", endpoint.id, endpoint.dns_label);
    let mut entries = vec![(format!("{label}.{suffix}"), PUBLIC_ZONE)];
    for subnet in endpoint.subnet_ids.iter().filter_map(|id| region.subnets.get(id)) {
        entries.push((format!("{label}-{}.{suffix}", subnet.zone), PUBLIC_ZONE));
    }
    let private = services
        .of(endpoint)
        .and_then(|service| service.spec.private_dns_name.clone());
    if let Some(private) = private.filter(|_| endpoint.private_dns) {
        entries.push((private, PRIVATE_DNS_ZONE));
    }
    // AWS promises no order: sort by the last digit of the id.
    let turn = usize::from(*endpoint.id.as_bytes().last().unwrap_or(&0)) % entries.len();
    entries.rotate_left(turn);
    entries
}

pub(super) fn write(xml: &mut Xml, context: &Context<'_>, endpoint: &Endpoint) {
    let region = &*context.region;
    let clock: &Clock = context.clock;
    xml.text("vpcEndpointId", &endpoint.id);
    xml.text("vpcEndpointType", endpoint.kind.wire());
    xml.text("vpcId", &endpoint.vpc_id);
    let arn = |kind| endpoint.lattice_arn.as_ref().filter(|_| endpoint.kind == kind);
    if !endpoint.kind.is_lattice() {
        xml.text("serviceName", &endpoint.service_name);
    }
    xml.optional("resourceConfigurationArn", arn(EndpointType::Resource));
    xml.optional("serviceNetworkArn", arn(EndpointType::ServiceNetwork));
    xml.text("state", endpoint.state.wire());
    if matches!(endpoint.kind, EndpointType::Interface | EndpointType::Gateway) {
        xml.text("policyDocument", &endpoint.policy);
    }
    xml.values("routeTableIdSet", &endpoint.route_table_ids);
    xml.values("subnetIdSet", &endpoint.subnet_ids);
    xml.items("groupSet", &endpoint.group_ids, |xml, id| {
        xml.text("groupId", id);
        xml.optional("groupName", region.groups.get(id).map(|group| &group.name));
    });
    xml.text("ipAddressType", endpoint.ip_address_type.wire());
    endpoint.dns_options.write(xml);
    xml.text("privateDnsEnabled", endpoint.private_dns);
    xml.text("requesterManaged", endpoint.requester_managed);
    let interfaces: Vec<&str> = region.interfaces_of(&endpoint.id).map(|i| i.id.as_str()).collect();
    xml.values("networkInterfaceIdSet", interfaces);
    let entries = dns_entries(endpoint, region, context.services, context.lattice, context.now);
    xml.items("dnsEntrySet", entries, |xml, (name, zone)| {
        xml.text("dnsName", name);
        xml.text("hostedZoneId", zone);
    });
    let prefixes = region
        .interfaces_of(&endpoint.id)
        .filter_map(|i| Some((&i.subnet_id, i.prefix?)));
    xml.items("ipv4PrefixSet", prefixes, |xml, (subnet_id, prefix)| {
        xml.text("subnetId", subnet_id);
        xml.values("ipPrefixSet", [prefix.to_string()]);
    });
    xml.text("creationTimestamp", clock.timestamp(endpoint.created));
    tags::write(xml, &endpoint.tags);
    xml.text("ownerId", &region.account);
    if let Some(error) = &endpoint.last_error {
        xml.element("lastError", |xml| {
            xml.text("message", &error.message);
            xml.text("code", &error.code);
        });
    }
    xml.text("serviceRegion", &endpoint.service_region);
}
