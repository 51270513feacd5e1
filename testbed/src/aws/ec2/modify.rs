//! ModifyVpcEndpoint: subnets, groups, route tables, addresses, DNS and policy of an endpoint that
//! is there.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::addresses;
use super::change::{Change, attributes};
use super::checks::{
    PrivateDns, check_families, check_group_count, check_groups, check_inbound_only, check_ip_address_type,
    check_private_dns, check_route_tables, check_subnets, find_route_table, not_found,
};
use super::endpoint::{Endpoint, EndpointState, EndpointType};
use super::endpoints::{MISSING, requester_managed};
use super::fields::{self, Field};
use super::options::{DnsOptions, DnsOptionsRequest, IpAddressType};
use super::permission::Need;
use super::policy::{self, FULL_ACCESS};
use super::region::{Addresses, Region};
use super::services::{self, Service};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const ACTION: &str = "ec2:ModifyVpcEndpoint";

/// The parameters of a ModifyVpcEndpoint.
struct Modification {
    id: String,
    /// The parameters with their values: what is to be changed.
    attributes: BTreeMap<String, Vec<String>>,
    subnets: Change,
    groups: Change,
    route_tables: Change,
    configurations: BTreeMap<String, Addresses>,
    private_dns: Option<bool>,
    ip: Option<IpAddressType>,
    dns: DnsOptionsRequest,
    reset_policy: bool,
    policy: Option<String>,
}

/// What an endpoint is after a modification.
struct Modified {
    subnets: BTreeSet<String>,
    groups: BTreeSet<String>,
    route_tables: BTreeSet<String>,
    ip: IpAddressType,
    dns_options: DnsOptions,
}

impl Modification {
    fn take(form: &mut Form) -> Result<Self, ApiError> {
        let id = form.require("VpcEndpointId")?;
        let modification = Self {
            id,
            attributes: attributes(form),
            subnets: Change::take(form, "SubnetId")?,
            groups: Change::take(form, "SecurityGroupId")?,
            route_tables: Change::take(form, "RouteTableId")?,
            configurations: addresses::take(form)?,
            private_dns: form.flag("PrivateDnsEnabled")?,
            ip: IpAddressType::take(form)?,
            dns: DnsOptionsRequest::take(form)?,
            reset_policy: form.flag("ResetPolicy")?.unwrap_or(false),
            policy: policy::take(form)?,
        };
        if modification.reset_policy && modification.policy.is_some() {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                "PolicyDocument and ResetPolicy cannot be given in one request",
            ));
        }
        Ok(modification)
    }

    /// The permissions that IAM asks of the caller.
    fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        let mut endpoint = context
            .need(ACTION, &self.id)
            .with_all("ec2:Attribute", self.attributes.keys());
        for (name, values) in &self.attributes {
            endpoint = endpoint.with_all(&format!("ec2:Attribute/{name}"), values);
        }
        if let Some(present) = context.region.endpoints.get(&self.id).filter(|e| !e.kind.is_lattice()) {
            let multi_region = present.service_region != context.region.name;
            endpoint = endpoint
                .with("ec2:VpceServiceRegion", &present.service_region)
                .with("ec2:VpceMultiRegion", if multi_region { "true" } else { "false" });
        }
        let mut needs = vec![endpoint];
        for change in [&self.subnets, &self.groups, &self.route_tables] {
            needs.extend(context.needs(ACTION, change.add.union(&change.remove)));
        }
        if self.private_dns == Some(true) {
            let endpoint = context.region.endpoints.get(&self.id);
            needs.push(context.need_hosted_zone(endpoint.map(|endpoint| endpoint.vpc_id.as_str())));
        }
        needs
    }

    /// The endpoint, if it is in a state to be modified.
    fn endpoint<'e>(&self, region: &'e Region) -> Result<&'e Endpoint, ApiError> {
        let id = &self.id;
        let endpoint = region
            .endpoints
            .get(id)
            .filter(|endpoint| !endpoint.is_deleted())
            .ok_or_else(|| not_found(MISSING, "Vpc Endpoint Id", id))?;
        if endpoint.requester_managed {
            return Err(requester_managed(&endpoint.service_name));
        }
        if endpoint.modifying {
            return Err(ApiError::new(
                "OperationInProgress",
                "VpcEndpoint modify operation in progress",
            ));
        }
        if endpoint.state != EndpointState::Available {
            return Err(ApiError::new(
                "IncorrectState",
                format!(
                    "The VPC endpoint {id} is in the {} state and cannot be modified",
                    endpoint.state.wire()
                ),
            ));
        }
        Ok(endpoint)
    }

    /// Checks that endpoints of this type have what is to be changed.
    fn check_fields(&self, kind: EndpointType) -> Result<(), ApiError> {
        let domains = self.dns.preference.is_some() || !self.dns.domains.is_empty();
        fields::check(
            kind,
            &[
                (Field::RouteTables, !self.route_tables.is_empty()),
                (Field::Subnets, !self.subnets.is_empty()),
                (Field::Groups, !self.groups.is_empty()),
                (Field::SubnetConfigurations, !self.configurations.is_empty()),
                (Field::PrivateDns, self.private_dns == Some(true)),
                (Field::DnsRecordIpType, self.dns.record.is_some()),
                (Field::InboundOnly, self.dns.inbound_only.is_some()),
                (Field::PrivateDomains, domains),
                (Field::Policy, self.policy.is_some()),
            ],
        )?;
        if kind == EndpointType::GatewayLoadBalancer && !self.subnets.is_empty() {
            return Err(ApiError::invalid(
                "The subnet of a GatewayLoadBalancer type VPC Endpoint cannot be changed.",
            ));
        }
        if kind.is_lattice() && (self.private_dns.is_some() || domains) {
            return Err(ApiError::invalid(format!(
                "Private DNS of a {} type VPC Endpoint cannot be changed.",
                kind.wire()
            )));
        }
        Ok(())
    }

    /// Checks the whole modification, and changes nothing.
    fn check(&self, context: &Context<'_>) -> Result<Modified, ApiError> {
        let region = &*context.region;
        let endpoint = self.endpoint(region)?;
        self.check_fields(endpoint.kind)?;
        for id in &self.route_tables.remove {
            find_route_table(region, id)?;
        }
        let mut modified = Modified {
            subnets: self.subnets.apply(&endpoint.subnet_ids, "VPC endpoint")?,
            groups: self.groups.apply(&endpoint.group_ids, "VPC endpoint")?,
            route_tables: self.route_tables.apply(&endpoint.route_table_ids, "VPC endpoint")?,
            ip: self.ip.unwrap_or(endpoint.ip_address_type),
            dns_options: endpoint.dns_options.clone(),
        };
        let service = context.services.of(endpoint);
        self.check_ip_address_type(region, endpoint, service, &modified)?;
        // A zone is free again only when an earlier call has removed its subnet.
        let added = &self.subnets.add - &endpoint.subnet_ids;
        let zones_of = service.filter(|_| endpoint.service_region == region.name);
        let zones_of = zones_of.map(|service| (endpoint.service_name.as_str(), service));
        check_subnets(region, zones_of, &endpoint.vpc_id, &endpoint.subnet_ids, &added)?;
        check_families(region, modified.ip, &added)?;
        addresses::check(
            region,
            Some(&self.id),
            &modified.subnets,
            modified.ip,
            &self.configurations,
        )?;
        self.check_dns_options(context, endpoint, service, &mut modified)?;
        if self.policy.is_some() && !services::takes_policies(&endpoint.service_name) {
            return Err(policy::unsupported(&endpoint.service_name));
        }
        check_groups(context, &endpoint.vpc_id, &self.groups.add)?;
        check_group_count(context, modified.groups.len())?;
        let has_groups = endpoint.kind == EndpointType::Interface || endpoint.kind.is_lattice();
        if has_groups && modified.groups.is_empty() {
            return Err(ApiError::invalid(format!(
                "The {} type VPC Endpoint must have at least one security group.",
                endpoint.kind.wire()
            )));
        }
        if endpoint.kind.is_lattice() && modified.subnets.is_empty() {
            return Err(ApiError::invalid(format!(
                "A {} type VPC Endpoint must have at least one subnet.",
                endpoint.kind.wire()
            )));
        }
        let (name, vpc_id) = (&endpoint.service_name, &endpoint.vpc_id);
        check_route_tables(region, name, vpc_id, Some(&self.id), &self.route_tables.add)?;
        Ok(modified)
    }

    fn check_ip_address_type(
        &self,
        region: &Region,
        endpoint: &Endpoint,
        service: Option<&Service>,
        modified: &Modified,
    ) -> Result<(), ApiError> {
        let (from, to) = (endpoint.ip_address_type, modified.ip);
        if from == to {
            return Ok(());
        }
        if endpoint.kind == EndpointType::Gateway && !(from.has_ipv4() && to.has_ipv4()) {
            return Err(ApiError::invalid(format!(
                "The IP address type of a Gateway type VPC Endpoint cannot be changed from {} to {}.",
                from.wire(),
                to.wire()
            )));
        }
        if let Some(service) = service {
            check_ip_address_type(service, to)?;
        }
        check_families(region, to, &modified.subnets)
    }

    fn check_dns_options(
        &self,
        context: &Context<'_>,
        endpoint: &Endpoint,
        service: Option<&Service>,
        modified: &mut Modified,
    ) -> Result<(), ApiError> {
        let options = &mut modified.dns_options;
        options.record = self.dns.record.unwrap_or(options.record);
        if self.dns.record.is_some() || self.ip.is_some() {
            options.record.check(modified.ip)?;
        }
        let Some(service) = service.filter(|_| endpoint.kind == EndpointType::Interface) else {
            return Ok(());
        };
        let dns = PrivateDns {
            on: self.private_dns.unwrap_or(endpoint.private_dns),
            turned_on: self.private_dns == Some(true) && !endpoint.private_dns,
            inbound_only: options.inbound_only,
            asked: self.dns.inbound_only,
        };
        let (name, vpc_id) = (&endpoint.service_name, &endpoint.vpc_id);
        if dns.turned_on {
            check_private_dns(context, service, name, vpc_id, Some(&self.id))?;
        }
        options.inbound_only = check_inbound_only(context.region, service, name, vpc_id, &dns)?;
        Ok(())
    }
}

pub(super) fn modify(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let modification = Modification::take(form)?;
    context.permit(form, &modification.needs(context))?;
    let modified = modification.check(context)?;

    let id = &modification.id;
    let (now, config) = (context.now, context.config);
    let region = &mut *context.region;
    let endpoint = region.endpoints.get_mut(id).expect("Modification::check has found it");
    let mut removed: BTreeSet<String> = &endpoint.subnet_ids - &modified.subnets;
    let mut added: BTreeSet<String> = &modified.subnets - &endpoint.subnet_ids;
    // An interface that is to have another address is replaced.
    for subnet_id in modification.configurations.keys() {
        if added.insert(subnet_id.clone()) {
            removed.insert(subnet_id.clone());
        }
    }
    let readdressed = endpoint.ip_address_type != modified.ip;
    if !removed.is_empty() || !added.is_empty() || (readdressed && endpoint.kind != EndpointType::Gateway) {
        endpoint.state = EndpointState::Pending;
        endpoint.modifying = true;
        endpoint.due = Some(now + config.modify_seconds);
    }
    endpoint.subnet_ids = modified.subnets;
    endpoint.route_table_ids = modified.route_tables;
    endpoint.private_dns = modification.private_dns.unwrap_or(endpoint.private_dns);
    endpoint.dns_options = modified.dns_options;
    if modification.reset_policy {
        endpoint.policy = FULL_ACCESS.to_owned();
    } else if let Some(policy) = modification.policy {
        endpoint.policy = policy;
    }
    region.set_groups(id, modified.groups);
    for subnet_id in removed {
        region.detach_interface(id, &subnet_id, now + config.eni_release_seconds);
    }
    if readdressed {
        region.set_ip_address_type(id, modified.ip);
    }
    for subnet_id in added {
        let wanted = modification.configurations.get(&subnet_id).copied().unwrap_or_default();
        region.attach_interface(id, &subnet_id, wanted);
    }
    region.settle(now, config);
    Ok(super::returned())
}
