//! VPC endpoints: create, describe, modify, delete.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::describe::{Question, Shape};
use super::region::{Endpoint, EndpointKind, EndpointState, Region, TokenUse, new_id};
use super::services::{self, ServiceSpec};
use super::tags::{self, Tags};
use crate::aws::clock::Clock;
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// Quota: interface endpoints in a VPC.
const MAX_INTERFACE_PER_VPC: usize = 50;
/// Quota: gateway endpoints in a region.
const MAX_GATEWAY_PER_REGION: usize = 20;
/// Quota: groups of an interface.
const MAX_GROUPS: usize = 5;
const MAX_CLIENT_TOKEN: usize = 64;

/// The policy of an endpoint that was given none.
const FULL_ACCESS: &str = r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

const SHAPE: Shape = Shape {
    action: "ec2:DescribeVpcEndpoints",
    ids: "VpcEndpointId",
    filters: &[
        "service-name",
        "vpc-endpoint-id",
        "vpc-endpoint-state",
        "vpc-endpoint-type",
        "vpc-id",
    ],
    least: 1,
    ids_or_pages: false,
    missing: "InvalidVpcEndpointId.NotFound",
};

/// A CreateVpcEndpoint, read.
#[derive(Debug)]
struct Creation {
    kind: EndpointKind,
    vpc_id: String,
    service_name: String,
    subnet_ids: BTreeSet<String>,
    group_ids: BTreeSet<String>,
    route_table_ids: BTreeSet<String>,
    private_dns: Option<bool>,
    policy: Option<String>,
    tags: Tags,
}

impl Creation {
    fn take(form: &mut Form) -> Result<Self, ApiError> {
        let kind = match form.take("VpcEndpointType").as_deref() {
            Some("Interface") => EndpointKind::Interface,
            Some("Gateway") | None => EndpointKind::Gateway,
            Some(other) => {
                return Err(ApiError::invalid_value(format!(
                    "Value ({other}) for parameter VpcEndpointType is invalid."
                )));
            }
        };
        check_address_options(form)?;
        Ok(Self {
            kind,
            vpc_id: form.require("VpcId")?,
            service_name: form.require("ServiceName")?,
            subnet_ids: form.list("SubnetId").into_iter().collect(),
            group_ids: form.list("SecurityGroupId").into_iter().collect(),
            route_table_ids: form.list("RouteTableId").into_iter().collect(),
            private_dns: form.flag("PrivateDnsEnabled")?,
            policy: take_policy(form)?,
            tags: tags::take_specification(form, "vpc-endpoint")?,
        })
    }

    /// Checks it against the region, and fills in the groups that were not given.
    fn check(&mut self, context: &Context<'_>) -> Result<(), ApiError> {
        let region = &*context.region;
        let vpc = region
            .vpcs
            .get(&self.vpc_id)
            .ok_or_else(|| not_found("InvalidVpcID.NotFound", "vpc ID", &self.vpc_id))?;
        let service = context
            .services
            .get(&self.service_name)
            .ok_or_else(|| services::not_found(&self.service_name))?;
        if service.kind() != self.kind {
            return Err(ApiError::invalid(format!(
                "Endpoint type ({}) does not match available service types ([{}]).",
                self.kind.wire(),
                service.kind().wire()
            )));
        }
        match self.kind {
            EndpointKind::Interface => {
                if !self.route_table_ids.is_empty() {
                    return Err(ApiError::invalid(
                        "Route table IDs are only supported for Gateway type VPC Endpoint.",
                    ));
                }
                check_subnets(
                    region,
                    service,
                    &self.service_name,
                    &self.vpc_id,
                    &BTreeSet::new(),
                    &self.subnet_ids,
                )?;
                check_groups(region, &self.vpc_id, &self.group_ids)?;
                if self.group_ids.is_empty() {
                    let default = region.default_group(&self.vpc_id);
                    self.group_ids.extend(default.map(|group| group.id.clone()));
                }
                // Left out, private DNS is turned on where the service offers it.
                let wanted = self.private_dns.unwrap_or(service.private_dns_name.is_some());
                self.private_dns = Some(wanted);
                if wanted {
                    check_private_dns(region, service, &self.service_name, &vpc.id, None)?;
                }
            }
            EndpointKind::Gateway => {
                if !self.subnet_ids.is_empty() || !self.group_ids.is_empty() {
                    return Err(ApiError::invalid(
                        "Subnet IDs and security group IDs are only supported for Interface type VPC Endpoint.",
                    ));
                }
                if self.private_dns == Some(true) {
                    return Err(ApiError::invalid(
                        "Private DNS is only supported for Interface type VPC Endpoint.",
                    ));
                }
                check_route_tables(region, &self.vpc_id, &self.route_table_ids)?;
            }
        }
        self.check_quota(region)
    }

    fn check_quota(&self, region: &Region) -> Result<(), ApiError> {
        let present = region
            .endpoints
            .values()
            .filter(|e| !e.is_deleted() && e.kind == self.kind);
        let (used, quota) = match self.kind {
            EndpointKind::Interface => (
                present.filter(|e| e.vpc_id == self.vpc_id).count(),
                MAX_INTERFACE_PER_VPC,
            ),
            EndpointKind::Gateway => (present.count(), MAX_GATEWAY_PER_REGION),
        };
        if used >= quota {
            return Err(ApiError::new(
                "VpcEndpointLimitExceeded",
                format!("The maximum number of VPC endpoints has been reached. ({quota})"),
            ));
        }
        Ok(())
    }
}

pub(super) fn create(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let client_token = form.take("ClientToken");
    let mut creation = Creation::take(form)?;
    if let Some(token) = &client_token
        && (token.is_empty() || token.len() > MAX_CLIENT_TOKEN || !token.is_ascii())
    {
        return Err(ApiError::invalid_value(format!(
            "Invalid ClientToken: it must be 1 to {MAX_CLIENT_TOKEN} ASCII characters"
        )));
    }
    let mut actions = vec!["ec2:CreateVpcEndpoint"];
    if !creation.tags.is_empty() {
        actions.push("ec2:CreateTags");
    }
    context.permit(form, &actions)?;

    let parameters = format!("{creation:?}");
    if let Some(token) = &client_token
        && let Some(earlier) = context.region.tokens.get(token)
    {
        if earlier.parameters != parameters {
            return Err(ApiError::new(
                "IdempotentParameterMismatch",
                format!("The client token {token} was used before with different parameters"),
            ));
        }
        let id = earlier.endpoint_id.clone();
        return Ok(created(context, &id, Some(token)));
    }
    creation.check(context)?;

    let id = insert(creation, context);
    if let Some(token) = &client_token {
        let token_use = TokenUse {
            parameters,
            endpoint_id: id.clone(),
        };
        context.region.tokens.insert(token.clone(), token_use);
    }
    context.produced.push(id.clone());
    Ok(created(context, &id, client_token.as_ref()))
}

fn insert(creation: Creation, context: &mut Context<'_>) -> String {
    let acceptance = context
        .services
        .get(&creation.service_name)
        .is_some_and(|service| service.acceptance_required);
    let (state, due) = match creation.kind {
        EndpointKind::Gateway => (EndpointState::Available, None),
        EndpointKind::Interface if acceptance => (EndpointState::PendingAcceptance, None),
        EndpointKind::Interface => (
            EndpointState::Pending,
            Some(context.now + context.config.pending_seconds),
        ),
    };
    let id = new_id("vpce");
    let endpoint = Endpoint {
        id: id.clone(),
        kind: creation.kind,
        vpc_id: creation.vpc_id,
        service_name: creation.service_name,
        state,
        due,
        described_until: None,
        connected: false,
        subnet_ids: creation.subnet_ids.clone(),
        group_ids: creation.group_ids,
        route_table_ids: creation.route_table_ids,
        private_dns: creation.private_dns.unwrap_or(false),
        policy: creation.policy.unwrap_or_else(|| FULL_ACCESS.to_owned()),
        tags: creation.tags,
        created: context.now,
        last_error: None,
        dns_label: (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect(),
    };
    context.region.endpoints.insert(id.clone(), endpoint);
    for subnet_id in &creation.subnet_ids {
        context.region.attach_interface(&id, subnet_id);
    }
    id
}

fn created(context: &Context<'_>, id: &str, client_token: Option<&String>) -> Xml {
    let mut xml = Xml::new();
    if let Some(endpoint) = context.region.endpoints.get(id) {
        xml.element("vpcEndpoint", |xml| write(xml, context, endpoint));
    }
    xml.optional("clientToken", client_token);
    xml
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
                "service-name" => endpoint.service_name.clone(),
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
    context.permit(form, &["ec2:DeleteVpcEndpoints"])?;

    let (present, missing): (Vec<String>, Vec<String>) = ids.into_iter().partition(|id| {
        let endpoint = context.region.endpoints.get(id);
        endpoint.is_some_and(|endpoint| !endpoint.is_deleted())
    });
    for id in present {
        context.region.start_deleting(&id, context.now, context.config);
    }
    let mut xml = Xml::new();
    xml.items("unsuccessful", missing, |xml, id| {
        xml.element("error", |xml| {
            xml.text("code", "InvalidVpcEndpoint.NotFound");
            xml.text("message", format!("The VPC endpoint {id} does not exist"));
        });
        xml.text("resourceId", id);
    });
    Ok(xml)
}

/// What a ModifyVpcEndpoint adds to and takes from one of an endpoint's sets.
struct Change {
    add: BTreeSet<String>,
    remove: BTreeSet<String>,
}

impl Change {
    fn take(form: &mut Form, what: &str) -> Result<Self, ApiError> {
        let add: BTreeSet<String> = form.list(&format!("Add{what}")).into_iter().collect();
        let remove: BTreeSet<String> = form.list(&format!("Remove{what}")).into_iter().collect();
        if let Some(both) = add.intersection(&remove).next() {
            return Err(ApiError::invalid(format!(
                "{both} cannot be added and removed in one request"
            )));
        }
        Ok(Self { add, remove })
    }

    fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// The set afterwards. Only what is there can be removed; adding what is there changes nothing.
    fn apply(&self, present: &BTreeSet<String>) -> Result<BTreeSet<String>, ApiError> {
        if let Some(stranger) = self.remove.difference(present).next() {
            return Err(ApiError::invalid(format!(
                "{stranger} is not associated with the VPC endpoint"
            )));
        }
        let kept = present.difference(&self.remove);
        Ok(kept.chain(&self.add).cloned().collect())
    }
}

pub(super) fn modify(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let id = form.require("VpcEndpointId")?;
    let subnets = Change::take(form, "SubnetId")?;
    let groups = Change::take(form, "SecurityGroupId")?;
    let route_tables = Change::take(form, "RouteTableId")?;
    let private_dns = form.flag("PrivateDnsEnabled")?;
    let reset_policy = form.flag("ResetPolicy")?.unwrap_or(false);
    let policy = take_policy(form)?;
    check_address_options(form)?;
    context.permit(form, &["ec2:ModifyVpcEndpoint"])?;

    let region = &*context.region;
    let endpoint = region
        .endpoints
        .get(&id)
        .filter(|endpoint| !endpoint.is_deleted())
        .ok_or_else(|| not_found(SHAPE.missing, "Vpc Endpoint Id", &id))?;
    if endpoint.state != EndpointState::Available {
        return Err(ApiError::new(
            "IncorrectState",
            format!(
                "The VPC endpoint {id} is in the {} state and cannot be modified",
                endpoint.state.wire()
            ),
        ));
    }
    let interface = endpoint.kind == EndpointKind::Interface;
    if interface && !route_tables.is_empty() {
        return Err(ApiError::invalid(
            "Route table IDs are only supported for Gateway type VPC Endpoint.",
        ));
    }
    if !interface && (!subnets.is_empty() || !groups.is_empty() || private_dns == Some(true)) {
        return Err(ApiError::invalid(
            "Subnets, security groups and private DNS are only supported for Interface type VPC Endpoint.",
        ));
    }
    let subnet_ids = subnets.apply(&endpoint.subnet_ids)?;
    let group_ids = groups.apply(&endpoint.group_ids)?;
    let route_table_ids = route_tables.apply(&endpoint.route_table_ids)?;
    if let Some(service) = context.services.get(&endpoint.service_name) {
        let name = &endpoint.service_name;
        // A zone is free again only when an earlier call has removed its subnet.
        let added = &subnets.add - &endpoint.subnet_ids;
        check_subnets(region, service, name, &endpoint.vpc_id, &endpoint.subnet_ids, &added)?;
        if private_dns == Some(true) && !endpoint.private_dns {
            check_private_dns(region, service, name, &endpoint.vpc_id, Some(&id))?;
        }
    }
    check_groups(region, &endpoint.vpc_id, &groups.add)?;
    if group_ids.len() > MAX_GROUPS {
        return Err(too_many_groups());
    }
    if interface && group_ids.is_empty() {
        return Err(ApiError::invalid(
            "An Interface type VPC Endpoint must have at least one security group.",
        ));
    }
    check_route_tables(region, &endpoint.vpc_id, &route_tables.add)?;

    let gone: Vec<String> = endpoint.subnet_ids.difference(&subnet_ids).cloned().collect();
    let new: Vec<String> = subnet_ids.difference(&endpoint.subnet_ids).cloned().collect();
    let (now, config) = (context.now, context.config);
    let region = &mut *context.region;
    if let Some(endpoint) = region.endpoints.get_mut(&id) {
        if endpoint.subnet_ids != subnet_ids {
            endpoint.state = EndpointState::Pending;
            endpoint.due = Some(now + config.modify_seconds);
        }
        endpoint.subnet_ids = subnet_ids;
        endpoint.route_table_ids = route_table_ids;
        endpoint.private_dns = private_dns.unwrap_or(endpoint.private_dns);
        if reset_policy {
            endpoint.policy = FULL_ACCESS.to_owned();
        } else if let Some(policy) = policy {
            endpoint.policy = policy;
        }
    }
    region.set_groups(&id, group_ids);
    for subnet_id in gone {
        region.detach_interface(&id, &subnet_id, now + config.eni_release_seconds);
    }
    for subnet_id in new {
        region.attach_interface(&id, &subnet_id);
    }
    region.settle(now, config);
    Ok(super::returned())
}

/// Dual-stack endpoints and their DNS records are not simulated; saying "ipv4" changes nothing.
fn check_address_options(form: &mut Form) -> Result<(), ApiError> {
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

fn take_policy(form: &mut Form) -> Result<Option<String>, ApiError> {
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
fn check_subnets(
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
                format!("Found another VPC endpoint subnet in the availability zone of {id}"),
            ));
        }
    }
    Ok(())
}

fn check_groups(region: &Region, vpc_id: &str, ids: &BTreeSet<String>) -> Result<(), ApiError> {
    for id in ids {
        let group = region.groups.get(id).ok_or_else(|| super::groups::not_found(id))?;
        if group.vpc_id != vpc_id {
            return Err(ApiError::invalid(format!(
                "Security group {id} and VPC {vpc_id} belong to different networks."
            )));
        }
    }
    if ids.len() > MAX_GROUPS {
        return Err(too_many_groups());
    }
    Ok(())
}

fn check_route_tables(region: &Region, vpc_id: &str, ids: &BTreeSet<String>) -> Result<(), ApiError> {
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

fn check_private_dns(
    region: &Region,
    service: &ServiceSpec,
    service_name: &str,
    vpc_id: &str,
    endpoint_id: Option<&str>,
) -> Result<(), ApiError> {
    let Some(name) = &service.private_dns_name else {
        return Err(ApiError::invalid(format!(
            "Private DNS can't be enabled because the service {service_name} does not provide a private DNS name."
        )));
    };
    if region.vpcs.get(vpc_id).is_some_and(|vpc| !vpc.dns) {
        return Err(ApiError::invalid(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for \
             {vpc_id}"
        )));
    }
    let conflict = region.endpoints.values().any(|other| {
        !other.is_deleted()
            && other.private_dns
            && other.vpc_id == vpc_id
            && other.service_name == service_name
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

fn too_many_groups() -> ApiError {
    ApiError::new(
        "SecurityGroupsPerInterfaceLimitExceeded",
        format!("You have exceeded the number of security groups allowed per interface ({MAX_GROUPS})"),
    )
}

fn not_found(code: &str, what: &str, id: &str) -> ApiError {
    ApiError::new(code, format!("The {what} '{id}' does not exist"))
}

/// The endpoint's DNS names with their hosted zones: the regional one, one for each zone, the private one.
pub(crate) fn dns_entries(
    endpoint: &Endpoint,
    region: &Region,
    services: &BTreeMap<String, ServiceSpec>,
) -> Vec<(String, &'static str)> {
    const PUBLIC_ZONE: &str = "Z1YSA3EXCYUU9Z";
    const PRIVATE_ZONE: &str = "Z04223561RKEGUQNHFYYS";
    if !endpoint.connected || endpoint.kind == EndpointKind::Gateway {
        return Vec::new();
    }
    let suffix = services::dns_suffix(&endpoint.service_name, &region.name);
    let label = format!("{}-{}", endpoint.id, endpoint.dns_label);
    let mut entries = vec![(format!("{label}.{suffix}"), PUBLIC_ZONE)];
    for subnet in endpoint.subnet_ids.iter().filter_map(|id| region.subnets.get(id)) {
        entries.push((format!("{label}-{}.{suffix}", subnet.zone), PUBLIC_ZONE));
    }
    let private = services
        .get(&endpoint.service_name)
        .and_then(|service| service.private_dns_name.clone());
    if let Some(private) = private.filter(|_| endpoint.private_dns) {
        entries.push((private, PRIVATE_ZONE));
    }
    // AWS promises no order; an id's last digit turns it.
    let turn = usize::from(*endpoint.id.as_bytes().last().unwrap_or(&0)) % entries.len();
    entries.rotate_left(turn);
    entries
}

fn write(xml: &mut Xml, context: &Context<'_>, endpoint: &Endpoint) {
    let region = &*context.region;
    let clock: &Clock = context.clock;
    xml.text("vpcEndpointId", &endpoint.id);
    xml.text("vpcEndpointType", endpoint.kind.wire());
    xml.text("vpcId", &endpoint.vpc_id);
    xml.text("serviceName", &endpoint.service_name);
    xml.text("state", endpoint.state.wire());
    xml.text("policyDocument", &endpoint.policy);
    xml.values("routeTableIdSet", &endpoint.route_table_ids);
    xml.values("subnetIdSet", &endpoint.subnet_ids);
    xml.items("groupSet", &endpoint.group_ids, |xml, id| {
        xml.text("groupId", id);
        xml.optional("groupName", region.groups.get(id).map(|group| &group.name));
    });
    xml.text("ipAddressType", "ipv4");
    xml.element("dnsOptions", |xml| xml.text("dnsRecordIpType", "ipv4"));
    xml.text("privateDnsEnabled", endpoint.private_dns);
    xml.text("requesterManaged", false);
    let interfaces: Vec<&str> = region.interfaces_of(&endpoint.id).map(|i| i.id.as_str()).collect();
    xml.values("networkInterfaceIdSet", interfaces);
    let entries = dns_entries(endpoint, region, context.services);
    xml.items("dnsEntrySet", entries, |xml, (name, zone)| {
        xml.text("dnsName", name);
        xml.text("hostedZoneId", zone);
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
    xml.text("serviceRegion", &region.name);
}
