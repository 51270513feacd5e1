//! CreateVpcEndpointServiceConfiguration.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::{check_ip_address_types, check_load_balancers, check_private_name, check_regions, zones};
use super::describe::write;
use super::{EndpointService, PrivateName, ServiceState, SupportedRegion};
use crate::aws::ec2::Context;
use crate::aws::ec2::checks::check_client_token;
use crate::aws::ec2::endpoint::EndpointType;
use crate::aws::ec2::permission::Need;
use crate::aws::ec2::region::new_id;
use crate::aws::ec2::tags::{self, Tags};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const ACTION: &str = "ec2:CreateVpcEndpointServiceConfiguration";
const KIND: &str = "vpc-endpoint-service";

/// The parameters of the request.
#[derive(Debug)]
struct Creation {
    /// The API reference documents no default; the console requires acceptance by default.
    acceptance_required: bool,
    private_name: Option<String>,
    network: BTreeSet<String>,
    gateway: BTreeSet<String>,
    ip_address_types: BTreeSet<String>,
    /// Without the host region.
    regions: BTreeSet<String>,
    tags: Tags,
}

impl Creation {
    fn take(form: &mut Form, own_region: &str) -> Result<Self, ApiError> {
        let mut set = |name: &str| -> BTreeSet<String> { form.list(name).into_iter().collect() };
        let (network, gateway) = (set("NetworkLoadBalancerArn"), set("GatewayLoadBalancerArn"));
        let mut ip_address_types = set("SupportedIpAddressType");
        if ip_address_types.is_empty() {
            ip_address_types.insert("ipv4".to_owned());
        }
        let mut regions = set("SupportedRegion");
        regions.remove(own_region);
        Ok(Self {
            acceptance_required: form.flag("AcceptanceRequired")?.unwrap_or(true),
            private_name: form.take("PrivateDnsName"),
            network,
            gateway,
            ip_address_types,
            regions,
            tags: tags::take_specification(form, KIND)?,
        })
    }

    /// The permissions that IAM checks. None of them is about the load balancers.
    fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        let multi_region = !self.regions.is_empty();
        let service = context
            .need_new(ACTION, KIND, &self.tags)
            .with_all("ec2:VpceServicePrivateDnsName", &self.private_name)
            .with_all("ec2:VpceSupportedRegion", &self.regions)
            .with("ec2:VpceServiceRegion", &context.region.name)
            .with("ec2:VpceMultiRegion", if multi_region { "true" } else { "false" });
        let mut needs = vec![service];
        needs.extend(multi_region.then(|| Need::anywhere("vpce:AllowMultiRegion")));
        needs.extend(context.need_tagging(ACTION, KIND, &self.tags));
        needs
    }

    /// Validates the request and returns the new service.
    fn check(&self, context: &Context<'_>) -> Result<EndpointService, ApiError> {
        let (kind, load_balancers) = match (self.network.is_empty(), self.gateway.is_empty()) {
            (false, true) => (EndpointType::Interface, &self.network),
            (true, false) => (EndpointType::GatewayLoadBalancer, &self.gateway),
            _ => {
                return Err(ApiError::invalid(
                    "exactly one of network_load_balancer_arn or gateway_load_balancer_arn is a required member",
                ));
            }
        };
        check_load_balancers(context, kind, load_balancers, None)?;
        check_ip_address_types(context, &self.ip_address_types, load_balancers)?;
        check_regions(context, kind, &self.regions)?;
        if let Some(name) = &self.private_name {
            check_private_name(kind, name)?;
        }
        let due = context.now + context.config.service_pending_seconds;
        let regions = self.regions.iter();
        Ok(EndpointService {
            id: new_id("vpce-svc"),
            kind,
            state: ServiceState::Pending,
            due: Some(due),
            described_until: None,
            unavailable_until: 0.0,
            acceptance_required: self.acceptance_required,
            load_balancers: load_balancers.clone(),
            zones: zones(context, load_balancers),
            private_name: self.private_name.clone().map(PrivateName::new),
            ip_address_types: self.ip_address_types.clone(),
            regions: regions
                .map(|name| (name.clone(), SupportedRegion::pending(due)))
                .collect(),
            principals: BTreeMap::new(),
            tags: self.tags.clone(),
        })
    }
}

pub(in crate::aws::ec2) fn create(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let client_token = form.take("ClientToken");
    let creation = Creation::take(form, &context.region.name)?;
    context.permit(form, &creation.needs(context))?;
    check_client_token(client_token.as_ref())?;

    let parameters = format!("{creation:?}");
    let earlier = context.region.made_before(ACTION, client_token.as_ref(), &parameters)?;
    let id = match earlier {
        Some(id) => id,
        None => {
            let service = creation.check(context)?;
            let id = service.id.clone();
            let region = &mut *context.region;
            region.endpoint_services.insert(id.clone(), service);
            region.remember_token(ACTION, client_token.as_ref(), parameters, &id);
            region.settle(context.now, context.config);
            context.produced.push(id.clone());
            id
        }
    };
    let mut xml = Xml::new();
    if let Some(service) = context.region.endpoint_services.get(&id) {
        xml.element("serviceConfiguration", |xml| write(xml, service, context.region));
    }
    xml.optional("clientToken", client_token);
    Ok(xml)
}
