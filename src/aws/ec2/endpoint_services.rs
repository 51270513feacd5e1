//! The calls for endpoint services: the provider's side of a connection.

mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{
    Filter, PrivateDnsNameConfiguration, ResourceType, ServiceConfiguration, UnsuccessfulItem, VpcEndpointConnection,
};
use aws_types::request_id::RequestId;
use vpce_core::api::{AddressType, LoadBalancerType};
use vpce_core::endpoint_service::{Connection, ObservedEndpointService, PrivateDns, ServiceChange, Verification};
use vpce_core::ids::{EndpointId, EndpointServiceId};
use vpce_core::observed::State;

use super::{Done, Ec2, PAGE_SIZE, Which, some, strings, tag_map, tag_specification};
use crate::aws::error::CallError;
use crate::aws::observer::observed;

/// What AWS did not do of a call for several, by id.
type Refused<Id> = BTreeMap<Id, CallError>;

/// The input of CreateVpcEndpointServiceConfiguration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEndpointService<'a> {
    pub(crate) load_balancer_type: LoadBalancerType,
    /// The ARNs.
    pub(crate) load_balancers: &'a BTreeSet<String>,
    pub(crate) acceptance_required: bool,
    pub(crate) address_types: &'a BTreeSet<AddressType>,
    pub(crate) private_dns_name: Option<&'a str>,
    pub(crate) tags: &'a BTreeMap<String, String>,
    /// The same for as long as the same endpoint service is meant.
    pub(crate) client_token: &'a str,
}

impl Ec2 {
    /// EC2 DescribeVpcEndpointServiceConfigurations, one page.
    pub(crate) async fn describe_endpoint_services(
        &self,
        which: &Which<'_, EndpointServiceId>,
        page: Option<String>,
    ) -> Result<(Vec<ObservedEndpointService>, Option<String>), CallError> {
        let request = self
            .client
            .describe_vpc_endpoint_service_configurations()
            .filters(which.filter("service-id"))
            .max_results(which.page_size())
            .set_next_token(page);
        let call = self.call("DescribeVpcEndpointServiceConfigurations");
        let answer = observed(&self.observer, call, request.send()).await?;
        let next = answer.next_token.filter(|token| !token.is_empty());
        let services = answer.service_configurations.unwrap_or_default().into_iter();
        Ok((services.filter_map(observed_service).collect(), next))
    }

    /// EC2 DescribeVpcEndpointServicePermissions, one page: who is allowed to connect. There is no
    /// such call for several services.
    pub(crate) async fn describe_principals(
        &self,
        id: &EndpointServiceId,
        page: Option<String>,
    ) -> Result<(Vec<String>, Option<String>), CallError> {
        let request = self
            .client
            .describe_vpc_endpoint_service_permissions()
            .service_id(id.as_str())
            .max_results(PAGE_SIZE)
            .set_next_token(page);
        let call = self.call("DescribeVpcEndpointServicePermissions");
        let answer = observed(&self.observer, call, request.send()).await?;
        let next = answer.next_token.filter(|token| !token.is_empty());
        let principals = answer.allowed_principals.unwrap_or_default().into_iter();
        Ok((principals.filter_map(|allowed| allowed.principal).collect(), next))
    }

    /// EC2 DescribeVpcEndpointConnections, one page: the connections of these services.
    pub(crate) async fn describe_connections(
        &self,
        ids: &[EndpointServiceId],
        page: Option<String>,
    ) -> Result<(Vec<(EndpointServiceId, Connection)>, Option<String>), CallError> {
        let of_services = Filter::builder().name("service-id").set_values(Some(strings(ids)));
        let request = self
            .client
            .describe_vpc_endpoint_connections()
            .filters(of_services.build())
            .max_results(PAGE_SIZE)
            .set_next_token(page);
        let call = self.call("DescribeVpcEndpointConnections");
        let answer = observed(&self.observer, call, request.send()).await?;
        let next = answer.next_token.filter(|token| !token.is_empty());
        let connections = answer.vpc_endpoint_connections.unwrap_or_default().into_iter();
        Ok((connections.filter_map(observed_connection).collect(), next))
    }

    /// EC2 CreateVpcEndpointServiceConfiguration.
    pub(crate) async fn create_endpoint_service(
        &self,
        new: &NewEndpointService<'_>,
    ) -> Result<Done<ObservedEndpointService>, CallError> {
        const ACTION: &str = "CreateVpcEndpointServiceConfiguration";
        let NewEndpointService {
            load_balancer_type,
            load_balancers,
            acceptance_required,
            address_types,
            private_dns_name,
            tags,
            client_token,
        } = new;
        let arns = Some(strings(*load_balancers));
        let request = self.client.create_vpc_endpoint_service_configuration();
        let request = match load_balancer_type {
            LoadBalancerType::Network => request.set_network_load_balancer_arns(arns),
            LoadBalancerType::Gateway => request.set_gateway_load_balancer_arns(arns),
        };
        let request = request
            .acceptance_required(*acceptance_required)
            .set_supported_ip_address_types(Some(strings(*address_types)))
            .set_private_dns_name(private_dns_name.map(str::to_owned))
            .client_token(*client_token)
            .tag_specifications(tag_specification(ResourceType::VpcEndpointService, tags));
        let answer = observed(&self.observer, self.call(ACTION), request.send()).await?;
        let made = answer.service_configuration.clone().and_then(observed_service);
        let made =
            made.ok_or_else(|| CallError::of_item(ACTION, "UnreadableAnswer", "the answer names no endpoint service"))?;
        Ok(Done::new(&answer, made))
    }

    /// EC2 ModifyVpcEndpointServiceConfiguration, with one change.
    pub(crate) async fn modify_endpoint_service(
        &self,
        id: &EndpointServiceId,
        change: &ServiceChange,
    ) -> Result<Done<()>, CallError> {
        use LoadBalancerType::{Gateway, Network};
        let request = self.client.modify_vpc_endpoint_service_configuration();
        let request = request.service_id(id.as_str());
        let request = match change {
            ServiceChange::AddLoadBalancers(Network, arns) => request.set_add_network_load_balancer_arns(some(arns)),
            ServiceChange::AddLoadBalancers(Gateway, arns) => request.set_add_gateway_load_balancer_arns(some(arns)),
            ServiceChange::RemoveLoadBalancers(Network, arns) => {
                request.set_remove_network_load_balancer_arns(some(arns))
            }
            ServiceChange::RemoveLoadBalancers(Gateway, arns) => {
                request.set_remove_gateway_load_balancer_arns(some(arns))
            }
            ServiceChange::AcceptanceRequired(required) => request.acceptance_required(*required),
            ServiceChange::AddAddressTypes(types) => request.set_add_supported_ip_address_types(some(types)),
            ServiceChange::RemoveAddressTypes(types) => request.set_remove_supported_ip_address_types(some(types)),
            ServiceChange::PrivateDnsName(Some(name)) => request.private_dns_name(name),
            ServiceChange::PrivateDnsName(None) => request.remove_private_dns_name(true),
        };
        let call = self.call("ModifyVpcEndpointServiceConfiguration");
        let answer = observed(&self.observer, call, request.send()).await?;
        Ok(Done::new(&answer, ()))
    }

    /// EC2 ModifyVpcEndpointServicePermissions.
    pub(crate) async fn modify_principals(
        &self,
        id: &EndpointServiceId,
        add: &BTreeSet<String>,
        remove: &BTreeSet<String>,
    ) -> Result<Done<()>, CallError> {
        let request = self
            .client
            .modify_vpc_endpoint_service_permissions()
            .service_id(id.as_str())
            .set_add_allowed_principals(some(add))
            .set_remove_allowed_principals(some(remove));
        let call = self.call("ModifyVpcEndpointServicePermissions");
        let answer = observed(&self.observer, call, request.send()).await?;
        Ok(Done::new(&answer, ()))
    }

    /// EC2 StartVpcEndpointServicePrivateDnsVerification.
    pub(crate) async fn verify_private_dns(&self, id: &EndpointServiceId) -> Result<Done<()>, CallError> {
        let request = self.client.start_vpc_endpoint_service_private_dns_verification();
        let request = request.service_id(id.as_str());
        let call = self.call("StartVpcEndpointServicePrivateDnsVerification");
        let answer = observed(&self.observer, call, request.send()).await?;
        Ok(Done::new(&answer, ()))
    }

    /// EC2 AcceptVpcEndpointConnections. What AWS did not accept comes back with its reason.
    pub(crate) async fn accept_connections(
        &self,
        id: &EndpointServiceId,
        endpoints: &BTreeSet<EndpointId>,
    ) -> Result<Done<Refused<EndpointId>>, CallError> {
        const ACTION: &str = "AcceptVpcEndpointConnections";
        let request = self.client.accept_vpc_endpoint_connections();
        let request = request
            .service_id(id.as_str())
            .set_vpc_endpoint_ids(Some(strings(endpoints)));
        let answer = observed(&self.observer, self.call(ACTION), request.send()).await?;
        let refused = refused(ACTION, answer.unsuccessful(), answer.request_id());
        Ok(Done::new(&answer, refused))
    }

    /// EC2 RejectVpcEndpointConnections. What AWS did not reject comes back with its reason.
    pub(crate) async fn reject_connections(
        &self,
        id: &EndpointServiceId,
        endpoints: &BTreeSet<EndpointId>,
    ) -> Result<Done<Refused<EndpointId>>, CallError> {
        const ACTION: &str = "RejectVpcEndpointConnections";
        let request = self.client.reject_vpc_endpoint_connections();
        let request = request
            .service_id(id.as_str())
            .set_vpc_endpoint_ids(Some(strings(endpoints)));
        let answer = observed(&self.observer, self.call(ACTION), request.send()).await?;
        let refused = refused(ACTION, answer.unsuccessful(), answer.request_id());
        Ok(Done::new(&answer, refused))
    }

    /// EC2 DeleteVpcEndpointServiceConfigurations. What AWS did not delete comes back with its
    /// reason.
    pub(crate) async fn delete_endpoint_services(
        &self,
        ids: &[EndpointServiceId],
    ) -> Result<Done<Refused<EndpointServiceId>>, CallError> {
        const ACTION: &str = "DeleteVpcEndpointServiceConfigurations";
        let request = self.client.delete_vpc_endpoint_service_configurations();
        let request = request.set_service_ids(Some(strings(ids)));
        let answer = observed(&self.observer, self.call(ACTION), request.send()).await?;
        let refused = refused(ACTION, answer.unsuccessful(), answer.request_id());
        Ok(Done::new(&answer, refused))
    }
}

/// What AWS did not do of a call that itself went well.
pub(super) fn refused<Id: Ord + for<'a> From<&'a str>>(
    action: &'static str,
    items: &[UnsuccessfulItem],
    request_id: Option<&str>,
) -> Refused<Id> {
    let refused = items.iter().filter_map(|item| {
        let error = item.error();
        let code = error.and_then(|error| error.code()).unwrap_or("Unknown");
        let message = error.and_then(|error| error.message()).unwrap_or_default();
        let mut refusal = CallError::of_item(action, code, message);
        refusal.request_id = request_id.map(str::to_owned);
        Some((item.resource_id()?.into(), refusal))
    });
    refused.collect()
}

/// As EC2 describes it; none where it lacks what every endpoint service has, or has load balancers
/// of no type that is known.
fn observed_service(service: ServiceConfiguration) -> Option<ObservedEndpointService> {
    let network = service.network_load_balancer_arns.unwrap_or_default();
    let gateway = service.gateway_load_balancer_arns.unwrap_or_default();
    let (load_balancer_type, arns) = match (network.is_empty(), gateway.is_empty()) {
        (_, true) => (LoadBalancerType::Network, network),
        (true, false) => (LoadBalancerType::Gateway, gateway),
        (false, false) => return None,
    };
    let types = service.supported_ip_address_types.unwrap_or_default();
    Some(ObservedEndpointService {
        id: service.service_id?.into(),
        name: service.service_name.unwrap_or_default(),
        state: State::parse(service.service_state?.as_str()),
        load_balancer_type,
        load_balancers: arns.into_iter().collect(),
        acceptance_required: service.acceptance_required.unwrap_or(true),
        address_types: types
            .iter()
            .filter_map(|type_| AddressType::parse(type_.as_str()))
            .collect(),
        zone_ids: service.availability_zone_ids.unwrap_or_default(),
        dns_names: service.base_endpoint_dns_names.unwrap_or_default(),
        private_dns: private_dns(service.private_dns_name, service.private_dns_name_configuration).map(Box::new),
        tags: tag_map(service.tags),
    })
}

/// Its private DNS name, where it has one.
fn private_dns(name: Option<String>, configuration: Option<PrivateDnsNameConfiguration>) -> Option<PrivateDns> {
    let name = name.filter(|name| !name.is_empty())?;
    let state = configuration.as_ref().and_then(|found| found.state.as_ref());
    let state = state.map_or(Verification::Pending, |state| Verification::parse(state.as_str()));
    let record = configuration.and_then(|found| Some((found.r#type?, found.name?, found.value?)));
    Some(PrivateDns { name, state, record })
}

/// As EC2 describes it; none of what is no endpoint's.
fn observed_connection(connection: VpcEndpointConnection) -> Option<(EndpointServiceId, Connection)> {
    let described = Connection {
        endpoint: connection.vpc_endpoint_id?.into(),
        owner: connection.vpc_endpoint_owner.unwrap_or_default(),
        state: State::parse(connection.vpc_endpoint_state?.as_str()),
    };
    Some((connection.service_id?.into(), described))
}
