//! Connections of endpoint services. A connection is the consumer's endpoint as the provider sees
//! it; there is no other copy of its state.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::clock::Seconds;
use crate::aws::ec2::endpoint::{Endpoint, EndpointState, EndpointType};
use crate::aws::ec2::endpoints::dns_entries;
use crate::aws::ec2::permission::Need;
use crate::aws::ec2::region::Region;
use crate::aws::ec2::services::service_name;
use crate::aws::ec2::{Context, unsuccessful};
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::query::Form;
use crate::aws::xml::Xml;

/// The API reference also lists `vpc-endpoint-id`, but EC2 refuses it
/// (terraform-provider-aws#48442).
const FILTERS: [&str; 5] = [
    "ip-address-type",
    "service-id",
    "vpc-endpoint-owner",
    "vpc-endpoint-region",
    "vpc-endpoint-state",
];

/// An endpoint and the service that it connects to.
pub(super) struct Connection {
    pub(super) service_id: String,
    pub(super) endpoint: Endpoint,
    owner: String,
    region: String,
    dns_names: Vec<(String, &'static str)>,
}

impl Connection {
    /// Whether it blocks the deletion of the service: it is pending acceptance or available
    /// ("Delete an endpoint service"). An endpoint that is being modified counts as available.
    pub(super) fn exists(&self, service_id: &str) -> bool {
        let Endpoint { state, modifying, .. } = self.endpoint;
        let live = matches!(state, EndpointState::PendingAcceptance | EndpointState::Available);
        self.service_id == service_id && (live || modifying)
    }
}

/// Whether any connection blocks the deletion of the service.
pub(super) fn has_existing(connections: &[Connection], service_id: &str) -> bool {
    connections.iter().any(|connection| connection.exists(service_id))
}

/// All connections of the services in the region. A rejected connection is listed as long as its
/// endpoint exists, even after the service is deleted (rebuy-de/aws-nuke#1258).
pub(super) fn connections(context: &mut Context<'_>) -> Vec<Connection> {
    let here = context.region.name.clone();
    let services = context.region.endpoint_services.keys();
    let names: BTreeMap<String, String> = services.map(|id| (service_name(&here, id), id.clone())).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let now = context.now;
    let elsewhere = context.elsewhere.regions(now, context.config);
    let mut all = Vec::new();
    for region in elsewhere.into_iter().chain([&*context.region]) {
        for endpoint in region.described(now).filter(|endpoint| endpoint.service_region == here) {
            let Some(service_id) = names.get(&endpoint.service_name) else {
                continue;
            };
            all.push(Connection {
                service_id: service_id.clone(),
                endpoint: endpoint.clone(),
                owner: region.account.clone(),
                region: region.name.clone(),
                dns_names: dns_entries(endpoint, region, context.services, context.lattice, now),
            });
        }
    }
    all.sort_by(|a, b| a.endpoint.id.cmp(&b.endpoint.id));
    all
}

impl Context<'_> {
    /// Changes the endpoint of a connection, in whatever account and region it is.
    pub(super) fn change_endpoint(&mut self, connection: &Connection, change: impl FnOnce(&mut Endpoint)) {
        let Connection { owner, region, .. } = connection;
        let id = &connection.endpoint.id;
        let own = *owner == self.region.account && *region == self.region.name;
        if !own {
            self.elsewhere.change(owner, region, id, self.now, self.config, change);
        } else if let Some(endpoint) = self.region.endpoints.get_mut(id) {
            change(endpoint);
        }
    }
}

pub(in crate::aws::ec2) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let filters = Filters::take_untagged(form, &FILTERS)?;
    let paging = Paging::take(form, 5, context.config.page_size_cap)?;
    context.permit(form, &[Need::anywhere("ec2:DescribeVpcEndpointConnections")])?;

    let mut all = connections(context);
    let here: &Region = context.region;
    all.retain(|connection| filters.pass(&BTreeMap::new(), |filter| values(connection, filter, here)));
    let (page, token) = paging.cut(&all, |connection| &connection.endpoint.id);
    let mut xml = Xml::new();
    xml.items("vpcEndpointConnectionSet", page, |xml, connection| {
        write(xml, connection, context)
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

fn values(connection: &Connection, filter: &str, here: &Region) -> Vec<String> {
    let endpoint = &connection.endpoint;
    match filter {
        "ip-address-type" => vec![endpoint.ip_address_type.wire().to_owned()],
        "service-id" => vec![connection.service_id.clone()],
        "vpc-endpoint-owner" => vec![connection.owner.clone()],
        "vpc-endpoint-region" => {
            let remote = (connection.region != here.name).then(|| "cross-region".to_owned());
            remote.into_iter().chain([connection.region.clone()]).collect()
        }
        _ => vec![endpoint.state.wire().to_owned()],
    }
}

fn write(xml: &mut Xml, connection: &Connection, context: &Context<'_>) {
    let Connection {
        endpoint, service_id, ..
    } = connection;
    xml.text("serviceId", service_id);
    xml.text("vpcEndpointId", &endpoint.id);
    xml.text("vpcEndpointOwner", &connection.owner);
    xml.text("vpcEndpointState", endpoint.state.wire());
    xml.text("creationTimestamp", context.clock.timestamp(endpoint.created));
    xml.items("dnsEntrySet", &connection.dns_names, |xml, (name, zone)| {
        xml.text("dnsName", name);
        xml.text("hostedZoneId", zone);
    });
    let service = context.region.endpoint_services.get(service_id);
    let load_balancers = service.map(|service| &service.load_balancers);
    let set = match endpoint.kind {
        EndpointType::GatewayLoadBalancer => "gatewayLoadBalancerArnSet",
        _ => "networkLoadBalancerArnSet",
    };
    xml.values(set, load_balancers.into_iter().flatten());
    xml.text("ipAddressType", endpoint.ip_address_type.wire());
    let id = endpoint.id.strip_prefix("vpce-").unwrap_or(&endpoint.id);
    xml.text("vpcEndpointConnectionId", format!("vpce-con-{id}"));
    xml.text("vpcEndpointRegion", &connection.region);
}

pub(in crate::aws::ec2) fn accept(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    decide(form, context, "ec2:AcceptVpcEndpointConnections", Endpoint::accept)
}

pub(in crate::aws::ec2) fn reject(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    decide(form, context, "ec2:RejectVpcEndpointConnections", |endpoint, _| {
        endpoint.reject()
    })
}

/// Accepts or rejects connections one by one. `decision` returns false if the state does not allow
/// it.
fn decide(
    form: &mut Form,
    context: &mut Context<'_>,
    action: &str,
    decision: fn(&mut Endpoint, Seconds) -> bool,
) -> Result<Xml, ApiError> {
    let service_id = form.require("ServiceId")?;
    let ids: BTreeSet<String> = form.require_list("VpcEndpointId")?.into_iter().collect();
    let ids: Vec<String> = ids.into_iter().collect();
    context.permit(form, &[context.need(action, &service_id)])?;
    context.region.endpoint_service(&service_id)?;

    let due = context.now + context.config.pending_seconds;
    let connections = connections(context);
    let mut failed = context.take_unsuccessful(&ids);
    for id in ids
        .into_iter()
        .filter(|id| !failed.contains_key(id))
        .collect::<Vec<_>>()
    {
        let connection = connections.iter().find(|connection| {
            connection.endpoint.id == id && connection.service_id == service_id && !connection.endpoint.is_deleted()
        });
        let Some(connection) = connection else {
            let message = format!("The VPC endpoint {id} does not exist");
            failed.insert(id, ApiError::new("InvalidVpcEndpoint.NotFound", message));
            continue;
        };
        if decision(&mut connection.endpoint.clone(), due) {
            context.change_endpoint(connection, |endpoint| {
                decision(endpoint, due);
            });
        } else {
            let state = connection.endpoint.state.wire();
            let message = format!("The connection of the VPC endpoint {id} is in the {state} state.");
            failed.insert(id, ApiError::new("InvalidState", message));
        }
    }
    Ok(unsuccessful(failed))
}
