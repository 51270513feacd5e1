//! CreateVpcEndpoint.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::addresses;
use super::checks::{
    PrivateDns, check_client_token, check_dns_attributes, check_families, check_groups, check_inbound_only,
    check_ip_address_type, check_private_dns, check_route_tables, check_subnets, not_found,
};
use super::endpoint::{Endpoint, EndpointState, EndpointType};
use super::endpoint_services::NameState;
use super::endpoints::{new_endpoint, write};
use super::fields::{self, Field};
use super::options::{DnsOptions, DnsOptionsRequest, DnsRecordIpType, IpAddressType};
use super::permission::Need;
use super::policy::{self, FULL_ACCESS};
use super::region::Addresses;
use super::services::{self, Service};
use super::tags::{self, Tags};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const ACTION: &str = "ec2:CreateVpcEndpoint";

/// A CreateVpcEndpoint, read.
#[derive(Debug)]
struct Creation {
    kind: EndpointType,
    vpc_id: String,
    service_name: String,
    service_region: Option<String>,
    resource_configuration_arn: Option<String>,
    service_network_arn: Option<String>,
    subnet_ids: BTreeSet<String>,
    configurations: BTreeMap<String, Addresses>,
    group_ids: BTreeSet<String>,
    route_table_ids: BTreeSet<String>,
    private_dns: Option<bool>,
    ip: Option<IpAddressType>,
    dns: DnsOptionsRequest,
    policy: Option<String>,
    tags: Tags,
}

impl Creation {
    fn take(form: &mut Form) -> Result<Self, ApiError> {
        let kind = match form.take("VpcEndpointType").as_deref() {
            Some("Interface") => EndpointType::Interface,
            Some("Gateway") | None => EndpointType::Gateway,
            Some("GatewayLoadBalancer") => EndpointType::GatewayLoadBalancer,
            Some("Resource") => EndpointType::Resource,
            Some("ServiceNetwork") => EndpointType::ServiceNetwork,
            Some(other) => {
                return Err(ApiError::invalid_value(format!(
                    "Value ({other}) for parameter VpcEndpointType is invalid."
                )));
            }
        };
        Ok(Self {
            kind,
            ip: IpAddressType::take(form)?,
            dns: DnsOptionsRequest::take(form)?,
            vpc_id: form.require("VpcId")?,
            service_name: if kind.is_lattice() {
                form.take("ServiceName").unwrap_or_default()
            } else {
                form.require("ServiceName")?
            },
            service_region: form.take("ServiceRegion"),
            resource_configuration_arn: take_target(form, "ResourceConfigurationArn", kind == EndpointType::Resource)?,
            service_network_arn: take_target(form, "ServiceNetworkArn", kind == EndpointType::ServiceNetwork)?,
            subnet_ids: form.list("SubnetId").into_iter().collect(),
            configurations: addresses::take(form)?,
            group_ids: form.list("SecurityGroupId").into_iter().collect(),
            route_table_ids: form.list("RouteTableId").into_iter().collect(),
            private_dns: form.flag("PrivateDnsEnabled")?,
            policy: policy::take(form)?,
            tags: tags::take_specification(form, "vpc-endpoint")?,
        })
    }

    fn service_region<'a>(&'a self, context: &'a Context<'_>) -> &'a str {
        self.service_region.as_deref().unwrap_or(&context.region.name)
    }

    fn ip(&self) -> IpAddressType {
        self.ip.unwrap_or(IpAddressType::Ipv4)
    }

    /// The API reference gives `PrivateDnsEnabled` the default true: left out, it is on where it
    /// can be from the start, that is for a service that has a private name and needs no acceptance
    /// before it connects.
    fn default_private_dns(&mut self, context: &Context<'_>) {
        if self.kind == EndpointType::Interface && self.private_dns.is_none() {
            let service = context.services.get(self.service_region(context), &self.service_name);
            self.private_dns = service
                .map(|service| service.name_state() == Some(NameState::Verified) && !service.spec.acceptance_required);
        }
    }

    /// The endpoint with its tags, and everything that it is put into.
    fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        const KIND: &str = "vpc-endpoint";
        let service_region = self.service_region(context);
        let multi_region = service_region != context.region.name;
        let endpoint = context.need_new(ACTION, KIND, &self.tags);
        let endpoint = if self.kind.is_lattice() {
            endpoint
                .with_all("ec2:VpcePrivateDnsPreference", &self.dns.preference)
                .with_all("ec2:VpcePrivateDnsSpecifiedDomains", &self.dns.domains)
        } else {
            endpoint
                .with("ec2:VpceServiceName", &self.service_name)
                .with(
                    "ec2:VpceServiceOwner",
                    context.services.owner(service_region, &self.service_name),
                )
                .with("ec2:VpceServiceRegion", service_region)
                .with("ec2:VpceMultiRegion", if multi_region { "true" } else { "false" })
        };
        let mut needs = vec![endpoint, context.need(ACTION, &self.vpc_id)];
        for ids in [&self.subnet_ids, &self.group_ids, &self.route_table_ids] {
            needs.extend(context.needs(ACTION, ids));
        }
        if multi_region {
            needs.push(Need::anywhere("vpce:AllowMultiRegion"));
        }
        if let Some(arn) = &self.service_network_arn {
            let action = "vpc-lattice:CreateServiceNetworkVpcEndpointAssociation";
            needs.push(Need::on(action, arn));
        }
        if self.private_dns == Some(true) {
            needs.push(context.need_hosted_zone(Some(&self.vpc_id)));
        }
        needs.extend(context.need_tagging(ACTION, KIND, &self.tags));
        needs
    }

    /// Refuses what endpoints of this type do not have.
    fn check_fields(&self) -> Result<(), ApiError> {
        let domains = self.dns.preference.is_some() || !self.dns.domains.is_empty();
        fields::check(
            self.kind,
            &[
                (Field::RouteTables, !self.route_table_ids.is_empty()),
                (Field::Subnets, !self.subnet_ids.is_empty()),
                (Field::Groups, !self.group_ids.is_empty()),
                (Field::SubnetConfigurations, !self.configurations.is_empty()),
                (Field::ServiceRegion, self.service_region.is_some()),
                (Field::PrivateDns, self.private_dns == Some(true)),
                (Field::DnsRecordIpType, self.dns.record.is_some()),
                (Field::InboundOnly, self.dns.inbound_only.is_some()),
                (Field::PrivateDomains, domains),
                (Field::Policy, self.policy.is_some()),
                (Field::ServiceName, !self.service_name.is_empty()),
                (Field::ResourceConfiguration, self.resource_configuration_arn.is_some()),
                (Field::ServiceNetwork, self.service_network_arn.is_some()),
            ],
        )
    }

    /// Checks it against the region, and fills in the groups that were not given. Gives the
    /// endpoint that comes of it.
    fn check(&mut self, context: &Context<'_>) -> Result<Endpoint, ApiError> {
        let region = &*context.region;
        if !region.vpcs.contains_key(&self.vpc_id) {
            return Err(not_found("InvalidVpcID.NotFound", "vpc ID", &self.vpc_id));
        }
        if self.kind.is_lattice() {
            return self.check_lattice(context);
        }
        let service = self.service(context)?;
        self.check_fields()?;
        check_ip_address_type(service, self.ip())?;
        let record = self.record()?;
        if self.policy.is_some() && !services::takes_policies(&self.service_name) {
            return Err(policy::unsupported(&self.service_name));
        }
        let mut inbound_only = None;
        match self.kind {
            EndpointType::Interface => inbound_only = self.check_interface(context, service)?,
            EndpointType::GatewayLoadBalancer => self.check_gateway_load_balancer(context, service)?,
            _ => check_route_tables(region, &self.service_name, &self.vpc_id, None, &self.route_table_ids)?,
        }
        self.check_quota(context)?;
        let dns_options = DnsOptions {
            record,
            inbound_only,
            private: None,
        };
        Ok(self.endpoint(context, service.spec.acceptance_required, dns_options))
    }

    fn record(&self) -> Result<DnsRecordIpType, ApiError> {
        let default = DnsRecordIpType::default_of(self.kind, self.ip());
        let record = self.dns.record.unwrap_or(default);
        record.check(self.ip())?;
        Ok(record)
    }

    /// Checks an endpoint that leads to something of VPC Lattice.
    fn check_lattice(&mut self, context: &Context<'_>) -> Result<Endpoint, ApiError> {
        let (region, lattice) = (&*context.region, context.lattice);
        self.check_fields()?;
        if let Some(arn) = &self.resource_configuration_arn {
            lattice.check_configuration(arn, &region.name, &region.account, &self.vpc_id)?;
        }
        if let Some(arn) = &self.service_network_arn {
            lattice.check_network(arn, &region.name, &region.account)?;
        }
        if self.subnet_ids.is_empty() {
            return Err(ApiError::invalid(format!(
                "A {} type VPC Endpoint must have at least one subnet.",
                self.kind.wire()
            )));
        }
        let record = self.record()?;
        check_subnets(region, None, &self.vpc_id, &BTreeSet::new(), &self.subnet_ids)?;
        check_families(region, self.ip(), &self.subnet_ids)?;
        self.check_groups(context)?;
        if self.private_dns == Some(true) {
            check_dns_attributes(region, &self.vpc_id)?;
            self.dns.check_domains()?;
        } else if self.dns.preference.is_some() || !self.dns.domains.is_empty() {
            return Err(ApiError::invalid(
                "PrivateDnsPreference and PrivateDnsSpecifiedDomains require private DNS to be enabled.",
            ));
        }
        self.check_quota(context)?;
        let dns_options = DnsOptions {
            record,
            inbound_only: None,
            private: Some(self.dns.private_domains()),
        };
        Ok(self.endpoint(context, false, dns_options))
    }

    /// Checks the groups, and fills in the VPC's default group where none is given.
    fn check_groups(&mut self, context: &Context<'_>) -> Result<(), ApiError> {
        check_groups(context, &self.vpc_id, &self.group_ids)?;
        if self.group_ids.is_empty() {
            let default = context.region.default_group(&self.vpc_id);
            self.group_ids.extend(default.map(|group| group.id.clone()));
        }
        Ok(())
    }

    /// The service, if it is there and endpoints of this type can be made for it now.
    fn service<'a>(&self, context: &'a Context<'_>) -> Result<&'a Service, ApiError> {
        let (region, service_region) = (&context.region.name, self.service_region(context));
        let opted_in = (context.region.account.clone(), service_region.to_owned());
        if context.disabled.contains(&opted_in) {
            return Err(ApiError::new(
                "OptInRequired",
                format!("The Region {service_region} is not enabled for your account."),
            ));
        }
        let service = context
            .services
            .offered(service_region, &self.service_name, context.caller, region)
            .ok_or_else(|| services::not_found(&self.service_name))?;
        if !service.types().contains(&self.kind) {
            let types: Vec<&str> = service.types().iter().map(|kind| kind.wire()).collect();
            return Err(ApiError::invalid(format!(
                "Endpoint type ({}) does not match available service types ([{}]).",
                self.kind.wire(),
                types.join(", ")
            )));
        }
        if service.provider.as_ref().is_some_and(|provider| provider.lost_name) {
            return Err(ApiError::new(
                "InvalidState",
                format!(
                    "The private DNS name of the Vpc Endpoint Service '{}' is not verified any more.",
                    self.service_name
                ),
            ));
        }
        if service.spec.unavailable_until > context.now {
            return Err(ApiError::new("Unavailable", "The service is unavailable.").with_status(503));
        }
        Ok(service)
    }

    /// Checks an interface endpoint. Gives whether its private DNS is for inbound resolver
    /// endpoints only.
    fn check_interface(&mut self, context: &Context<'_>, service: &Service) -> Result<Option<bool>, ApiError> {
        let region = &*context.region;
        // Across regions it is the provider's network that finds a zone.
        let zones_of = (self.service_region(context) == region.name).then_some((self.service_name.as_str(), service));
        check_subnets(region, zones_of, &self.vpc_id, &BTreeSet::new(), &self.subnet_ids)?;
        check_families(region, self.ip(), &self.subnet_ids)?;
        addresses::check(region, None, &self.subnet_ids, self.ip(), &self.configurations)?;
        self.check_groups(context)?;
        let private_dns = self.private_dns == Some(true);
        if private_dns {
            // The guide names no such condition; the words are those in which EC2 refuses.
            if service.spec.acceptance_required {
                return Err(ApiError::invalid(format!(
                    "Private DNS can only be enabled after the endpoint connection is accepted by the owner of {}.",
                    self.service_name
                )));
            }
            check_private_dns(context, service, &self.service_name, &self.vpc_id, None)?;
        }
        let dns = PrivateDns {
            on: private_dns,
            turned_on: private_dns,
            inbound_only: None,
            asked: self.dns.inbound_only,
        };
        check_inbound_only(region, service, &self.service_name, &self.vpc_id, &dns)
    }

    fn check_gateway_load_balancer(&self, context: &Context<'_>, service: &Service) -> Result<(), ApiError> {
        if self.subnet_ids.len() != 1 {
            return Err(ApiError::invalid(
                "A GatewayLoadBalancer type VPC Endpoint must have exactly one subnet.",
            ));
        }
        let zones_of = Some((self.service_name.as_str(), service));
        check_subnets(
            context.region,
            zones_of,
            &self.vpc_id,
            &BTreeSet::new(),
            &self.subnet_ids,
        )?;
        check_families(context.region, self.ip(), &self.subnet_ids)
    }

    fn check_quota(&self, context: &Context<'_>) -> Result<(), ApiError> {
        let quotas = &context.config.quotas;
        let present = context.region.endpoints.values().filter(|e| !e.is_deleted());
        let of = |kinds: &[EndpointType], vpc_id: Option<&str>| {
            let here = |e: &&Endpoint| kinds.contains(&e.kind) && vpc_id.is_none_or(|id| e.vpc_id == id);
            present.clone().filter(here).count()
        };
        let vpc_id = Some(self.vpc_id.as_str());
        let limits: &[(usize, usize)] = match self.kind {
            EndpointType::Gateway => &[
                (of(&[EndpointType::Gateway], None), quotas.gateway_endpoints),
                (of(&[EndpointType::Gateway], vpc_id), quotas.gateway_endpoints_per_vpc),
            ],
            EndpointType::Interface | EndpointType::GatewayLoadBalancer => &[(
                of(&[EndpointType::Interface, EndpointType::GatewayLoadBalancer], vpc_id),
                quotas.interface_endpoints,
            )],
            EndpointType::Resource => &[(of(&[EndpointType::Resource], vpc_id), quotas.resource_endpoints)],
            EndpointType::ServiceNetwork => &[(
                of(&[EndpointType::ServiceNetwork], vpc_id),
                quotas.service_network_endpoints,
            )],
        };
        match limits.iter().find(|(used, quota)| used >= quota) {
            Some((_, quota)) => Err(ApiError::new(
                "VpcEndpointLimitExceeded",
                format!("The maximum number of VPC endpoints has been reached. ({quota})"),
            )),
            None => Ok(()),
        }
    }

    /// The endpoint that is made.
    fn endpoint(&self, context: &Context<'_>, acceptance_required: bool, dns_options: DnsOptions) -> Endpoint {
        let (state, due) = match self.kind {
            EndpointType::Gateway => (EndpointState::Available, None),
            _ if acceptance_required => (EndpointState::PendingAcceptance, None),
            _ => (
                EndpointState::Pending,
                Some(context.now + context.config.pending_seconds),
            ),
        };
        let (region, service_region) = (&context.region.name, self.service_region(context).to_owned());
        let lattice_arn = self
            .resource_configuration_arn
            .as_ref()
            .or(self.service_network_arn.as_ref());
        Endpoint {
            state,
            due,
            service_region,
            lattice_arn: lattice_arn.cloned(),
            subnet_ids: self.subnet_ids.clone(),
            group_ids: self.group_ids.clone(),
            route_table_ids: self.route_table_ids.clone(),
            private_dns: self.private_dns.unwrap_or(false),
            ip_address_type: self.ip(),
            dns_options,
            policy: self.policy.clone().unwrap_or_else(|| FULL_ACCESS.to_owned()),
            tags: self.tags.clone(),
            ..new_endpoint(self.kind, region, &self.vpc_id, &self.service_name, context.now)
        }
    }
}

/// Takes the ARN of what an endpoint leads to, which one of that type cannot do without.
fn take_target(form: &mut Form, name: &str, needed: bool) -> Result<Option<String>, ApiError> {
    if needed {
        form.require(name).map(Some)
    } else {
        Ok(form.take(name))
    }
}

pub(super) fn create(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let client_token = form.take("ClientToken");
    let mut creation = Creation::take(form)?;
    creation.default_private_dns(context);
    context.permit(form, &creation.needs(context))?;
    check_client_token(client_token.as_ref())?;

    let parameters = format!("{creation:?}");
    if let Some(id) = context.region.made_before(ACTION, client_token.as_ref(), &parameters)? {
        return Ok(created(context, &id, client_token.as_ref()));
    }
    let endpoint = creation.check(context)?;

    let id = endpoint.id.clone();
    context.region.endpoints.insert(id.clone(), endpoint);
    for subnet_id in &creation.subnet_ids {
        let wanted = creation.configurations.get(subnet_id).copied().unwrap_or_default();
        context.region.attach_interface(&id, subnet_id, wanted);
    }
    context
        .region
        .remember_token(ACTION, client_token.as_ref(), parameters, &id);
    context.produced.push(id.clone());
    Ok(created(context, &id, client_token.as_ref()))
}

fn created(context: &Context<'_>, id: &str, client_token: Option<&String>) -> Xml {
    let mut xml = Xml::new();
    if let Some(endpoint) = context.region.endpoints.get(id) {
        xml.element("vpcEndpoint", |xml| write(xml, context, endpoint));
    }
    xml.optional("clientToken", client_token);
    xml
}
