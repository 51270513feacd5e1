//! ModifyVpcEndpointServiceConfiguration.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::{check_ip_address_types, check_load_balancers, check_private_name, check_regions, zones};
use super::connections::{Connection, connections, has_existing};
use super::{EndpointService, PrivateName, ServiceState, SupportedRegion};
use crate::aws::ec2::change::{Change, attributes};
use crate::aws::ec2::endpoint::EndpointType;
use crate::aws::ec2::permission::Need;
use crate::aws::ec2::{Context, returned};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const ACTION: &str = "ec2:ModifyVpcEndpointServiceConfiguration";
const RESOURCE: &str = "VPC endpoint service";

/// The parameters of the request.
struct Modification {
    id: String,
    /// The parameters by name, for `ec2:Attribute`.
    attributes: BTreeMap<String, Vec<String>>,
    acceptance_required: Option<bool>,
    private_name: Option<String>,
    remove_private_name: bool,
    network: Change,
    gateway: Change,
    ip_address_types: Change,
    regions: Change,
}

/// What the service consists of after the modification.
struct Modified {
    load_balancers: BTreeSet<String>,
    ip_address_types: BTreeSet<String>,
    regions: BTreeMap<String, SupportedRegion>,
}

impl Modification {
    fn take(form: &mut Form) -> Result<Self, ApiError> {
        let modification = Self {
            id: form.require("ServiceId")?,
            attributes: attributes(form),
            acceptance_required: form.flag("AcceptanceRequired")?,
            private_name: form.take("PrivateDnsName"),
            remove_private_name: form.flag("RemovePrivateDnsName")?.unwrap_or(false),
            network: Change::take(form, "NetworkLoadBalancerArn")?,
            gateway: Change::take(form, "GatewayLoadBalancerArn")?,
            ip_address_types: Change::take(form, "SupportedIpAddressType")?,
            regions: Change::take(form, "SupportedRegion")?,
        };
        if modification.remove_private_name && modification.private_name.is_some() {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                "PrivateDnsName and RemovePrivateDnsName cannot be given in one request",
            ));
        }
        Ok(modification)
    }

    /// The permissions that IAM checks. A service with other supported regions needs
    /// `vpce:AllowMultiRegion` for any modification (aws-cdk#36216).
    fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        let mut service = context
            .need(ACTION, &self.id)
            .with_all("ec2:VpceServicePrivateDnsName", &self.private_name)
            .with_all("ec2:Attribute", self.attributes.keys());
        for (name, values) in &self.attributes {
            service = service.with_all(&format!("ec2:Attribute/{name}"), values);
        }
        let present = context.region.endpoint_services.get(&self.id);
        let others = self.regions.add.iter().any(|region| *region != context.region.name);
        let multi_region = others || present.is_some_and(EndpointService::is_multi_region);
        let mut needs = vec![service];
        needs.extend(multi_region.then(|| Need::anywhere("vpce:AllowMultiRegion")));
        needs
    }

    /// Validates the whole modification without changing anything.
    fn check(&self, context: &Context<'_>, connections: &[Connection]) -> Result<Modified, ApiError> {
        let service = context.region.endpoint_service(&self.id)?;
        if !matches!(service.state, ServiceState::Available | ServiceState::Pending) {
            return Err(ApiError::new(
                "IncorrectState",
                format!(
                    "The VPC endpoint service {} is in the {} state and cannot be modified",
                    self.id,
                    service.state.wire()
                ),
            ));
        }
        let load_balancers = self.load_balancers(service)?;
        let added = &load_balancers - &service.load_balancers;
        check_load_balancers(context, service.kind, &added, Some(&self.id))?;
        let removes = !service.load_balancers.is_subset(&load_balancers);
        if removes && !context.config.connected_load_balancers_removable && has_existing(connections, &self.id) {
            // "Error codes for the Amazon EC2 API". The blog post "How to migrate your VPC endpoint
            // service backend targets" says otherwise.
            return Err(ApiError::new(
                "ExistingVpcEndpointConnections",
                format!(
                    "The load balancers of {} cannot be removed while endpoints are connected.",
                    self.id
                ),
            ));
        }
        let ip_address_types = self.ip_address_types.apply(&service.ip_address_types, RESOURCE)?;
        self.check_ip_address_types(connections, &ip_address_types)?;
        check_ip_address_types(context, &ip_address_types, &load_balancers)?;
        let regions = self.regions(context, service)?;
        if let Some(name) = &self.private_name {
            check_private_name(service.kind, name)?;
        }
        Ok(Modified {
            load_balancers,
            ip_address_types,
            regions,
        })
    }

    /// The load balancers after the modification. At least one must remain ("Configure an endpoint
    /// service").
    fn load_balancers(&self, service: &EndpointService) -> Result<BTreeSet<String>, ApiError> {
        let (own, other, what) = match service.kind {
            EndpointType::GatewayLoadBalancer => (&self.gateway, &self.network, "Network"),
            _ => (&self.network, &self.gateway, "Gateway"),
        };
        if !other.is_empty() {
            return Err(ApiError::invalid(format!(
                "{what} Load Balancers are not supported for services of type {}.",
                service.kind.wire()
            )));
        }
        let load_balancers = own.apply(&service.load_balancers, RESOURCE)?;
        if load_balancers.is_empty() {
            return Err(ApiError::invalid(
                "At least one load balancer must be associated with the VPC endpoint service.",
            ));
        }
        Ok(load_balancers)
    }

    fn check_ip_address_types(&self, connections: &[Connection], types: &BTreeSet<String>) -> Result<(), ApiError> {
        if types.is_empty() {
            return Err(ApiError::invalid("At least one IP address type must be supported."));
        }
        let mut existing = connections.iter().filter(|connection| connection.exists(&self.id));
        let in_use = existing.any(|connection| {
            let ip = connection.endpoint.ip_address_type;
            let removes = |kind: &str| self.ip_address_types.remove.contains(kind);
            (removes("ipv4") && ip.has_ipv4()) || (removes("ipv6") && ip.has_ipv6())
        });
        if in_use {
            return Err(ApiError::invalid(
                "An IP address type cannot be removed while endpoints that have it are connected.",
            ));
        }
        Ok(())
    }

    /// The supported regions after the modification. The host region cannot be removed ("Share your
    /// services through AWS PrivateLink").
    fn regions(
        &self,
        context: &Context<'_>,
        service: &EndpointService,
    ) -> Result<BTreeMap<String, SupportedRegion>, ApiError> {
        let own = &context.region.name;
        if self.regions.remove.contains(own) {
            return Err(ApiError::invalid(format!(
                "The Region {own}, which hosts the service, cannot be removed."
            )));
        }
        let mut regions = service.regions.clone();
        let present = regions
            .iter()
            .filter(|(_, region)| region.state != ServiceState::Deleting);
        let present: BTreeSet<String> = present.map(|(name, _)| name.clone()).collect();
        let mut after = self.regions.apply(&present, RESOURCE)?;
        after.remove(own);
        let added = &after - &present;
        check_regions(context, service.kind, &added)?;
        let (now, config) = (context.now, context.config);
        for name in &present - &after {
            regions.insert(name, SupportedRegion::deleting(now + config.deleting_seconds));
        }
        for name in added {
            regions.insert(name, SupportedRegion::pending(now + config.service_pending_seconds));
        }
        Ok(regions)
    }
}

/// Any request, even one with nothing but the id, adds the zones that the load balancers have
/// gained ("Configure an endpoint service").
pub(in crate::aws::ec2) fn modify(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let modification = Modification::take(form)?;
    context.permit(form, &modification.needs(context))?;
    let connections = connections(context);
    let modified = modification.check(context, &connections)?;

    let zones = zones(context, &modified.load_balancers);
    if let Some(service) = context.region.endpoint_services.get_mut(&modification.id) {
        service.acceptance_required = modification.acceptance_required.unwrap_or(service.acceptance_required);
        service.load_balancers = modified.load_balancers;
        service.zones = zones;
        service.ip_address_types = modified.ip_address_types;
        service.regions = modified.regions;
        if modification.remove_private_name {
            service.private_name = None;
        }
        let present = service.private_name.as_ref().map(|private| &private.name);
        if let Some(name) = modification.private_name.filter(|name| Some(name) != present) {
            service.private_name = Some(PrivateName::new(name));
        }
    }
    context.region.settle(context.now, context.config);
    Ok(returned())
}
