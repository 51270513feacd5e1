//! VPC endpoints: create, describe, delete.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::checks::{
    check_address_options, check_groups, check_private_dns, check_route_tables, check_subnets, not_found, take_policy,
};
use super::describe::{Question, Shape};
use super::permission::{Need, PRIVATE_DNS_ZONE};
use super::region::{Endpoint, EndpointKind, EndpointState, Region, TokenUse, new_id};
use super::services::{self, ServiceSpec};
use super::tags::{self, Tags};
use crate::aws::clock::{Clock, Seconds};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const MAX_CLIENT_TOKEN: usize = 64;

/// The policy of an endpoint that was given none.
pub(super) const FULL_ACCESS: &str =
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

/// The error of Describe and Modify for an id that is not there; Delete has one of its own.
pub(super) const MISSING: &str = "InvalidVpcEndpointId.NotFound";

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
    missing: MISSING,
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

    /// The API reference gives `PrivateDnsEnabled` the default true: left out, it is on where it
    /// can be from the start, that is for a service that has a private name and needs no acceptance
    /// before it connects.
    fn default_private_dns(&mut self, services: &BTreeMap<String, ServiceSpec>) {
        if self.kind == EndpointKind::Interface && self.private_dns.is_none() {
            let service = services.get(&self.service_name);
            self.private_dns = service.map(|spec| spec.private_dns_name.is_some() && !spec.acceptance_required);
        }
    }

    /// The endpoint with its tags, and everything that it is put into.
    fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        const ACTION: &str = "ec2:CreateVpcEndpoint";
        const KIND: &str = "vpc-endpoint";
        let endpoint = context
            .need_new(ACTION, KIND, &self.tags)
            .with("ec2:VpceServiceName", &self.service_name)
            .with("ec2:VpceServiceOwner", services::owner(&self.service_name));
        let mut needs = vec![endpoint, context.need(ACTION, &self.vpc_id)];
        for ids in [&self.subnet_ids, &self.group_ids, &self.route_table_ids] {
            needs.extend(context.needs(ACTION, ids));
        }
        if self.private_dns == Some(true) {
            needs.push(context.need_hosted_zone(Some(&self.vpc_id)));
        }
        needs.extend(context.need_tagging(ACTION, KIND, &self.tags));
        needs
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
                check_groups(context, &self.vpc_id, &self.group_ids)?;
                if self.group_ids.is_empty() {
                    let default = region.default_group(&self.vpc_id);
                    self.group_ids.extend(default.map(|group| group.id.clone()));
                }
                if self.private_dns == Some(true) {
                    // The guide names no such condition; the words are those in which EC2 refuses.
                    if service.acceptance_required {
                        return Err(ApiError::invalid(format!(
                            "Private DNS can only be enabled after the endpoint connection is accepted by the owner of {}.",
                            self.service_name
                        )));
                    }
                    check_private_dns(region, context.services, &self.service_name, &vpc.id, None)?;
                }
            }
            EndpointKind::Gateway => {
                if !self.subnet_ids.is_empty() || !self.group_ids.is_empty() {
                    return Err(ApiError::invalid(
                        "Subnet IDs and security group IDs are only supported for Interface type VPC Endpoints.",
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
        self.check_quota(context)
    }

    fn check_quota(&self, context: &Context<'_>) -> Result<(), ApiError> {
        let quotas = &context.config.quotas;
        let present = context
            .region
            .endpoints
            .values()
            .filter(|e| !e.is_deleted() && e.kind == self.kind);
        let (used, quota) = match self.kind {
            EndpointKind::Interface => (
                present.filter(|e| e.vpc_id == self.vpc_id).count(),
                quotas.interface_endpoints,
            ),
            EndpointKind::Gateway => (present.count(), quotas.gateway_endpoints),
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
    creation.default_private_dns(context.services);
    context.permit(form, &creation.needs(context))?;
    if let Some(token) = &client_token
        && (token.is_empty() || token.len() > MAX_CLIENT_TOKEN || !token.is_ascii())
    {
        return Err(ApiError::invalid_value(format!(
            "Invalid ClientToken: it must be 1 to {MAX_CLIENT_TOKEN} ASCII characters"
        )));
    }

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

/// An endpoint that has just been made.
pub(crate) fn new_endpoint(kind: EndpointKind, vpc_id: &str, service_name: &str, now: Seconds) -> Endpoint {
    Endpoint {
        id: new_id("vpce"),
        kind,
        vpc_id: vpc_id.to_owned(),
        service_name: service_name.to_owned(),
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
        policy: FULL_ACCESS.to_owned(),
        tags: Tags::new(),
        created: now,
        last_error: None,
        dns_label: (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect(),
    }
}

/// What EC2 says to those who would change an endpoint that belongs to an AWS service.
pub(super) fn requester_managed(service_name: &str) -> ApiError {
    ApiError::invalid(format!(
        "Operation is not allowed for requester-managed VPC endpoints for the service {service_name}"
    ))
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
    let endpoint = Endpoint {
        state,
        due,
        subnet_ids: creation.subnet_ids.clone(),
        group_ids: creation.group_ids,
        route_table_ids: creation.route_table_ids,
        private_dns: creation.private_dns.unwrap_or(false),
        policy: creation.policy.unwrap_or_else(|| FULL_ACCESS.to_owned()),
        tags: creation.tags,
        ..new_endpoint(creation.kind, &creation.vpc_id, &creation.service_name, context.now)
    };
    let id = endpoint.id.clone();
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
    let ids: Vec<String> = ids.into_iter().collect();
    let mut unsuccessful = context.permit_each(form, "ec2:DeleteVpcEndpoints", &ids)?;
    let failed = std::mem::take(&mut context.unsuccessful).into_iter();
    unsuccessful.extend(failed.filter(|(id, _)| ids.contains(id)));

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
            Some(_) => context.region.start_deleting(&id, context.now, context.config),
            None => {
                let message = format!("The VPC endpoint {id} does not exist");
                unsuccessful.insert(id, ApiError::new("InvalidVpcEndpoint.NotFound", message));
            }
        }
    }
    let mut xml = Xml::new();
    xml.items("unsuccessful", unsuccessful, |xml, (id, error)| {
        xml.element("error", |xml| {
            xml.text("code", error.code);
            xml.text("message", error.message);
        });
        xml.text("resourceId", id);
    });
    Ok(xml)
}

/// The endpoint's DNS names with their hosted zones: the regional one, one for each zone, the
/// private one.
pub(crate) fn dns_entries(
    endpoint: &Endpoint,
    region: &Region,
    services: &BTreeMap<String, ServiceSpec>,
    now: Seconds,
) -> Vec<(String, &'static str)> {
    const PUBLIC_ZONE: &str = "Z1YSA3EXCYUU9Z";
    if endpoint.named_at.is_none_or(|at| at > now) || endpoint.kind == EndpointKind::Gateway {
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
        entries.push((private, PRIVATE_DNS_ZONE));
    }
    // AWS promises no order: sort by the last digit of the id.
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
    xml.text("requesterManaged", endpoint.requester_managed);
    let interfaces: Vec<&str> = region.interfaces_of(&endpoint.id).map(|i| i.id.as_str()).collect();
    xml.values("networkInterfaceIdSet", interfaces);
    let entries = dns_entries(endpoint, region, context.services, context.now);
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
