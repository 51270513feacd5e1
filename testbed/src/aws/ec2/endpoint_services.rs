//! Endpoint services hosted by accounts: the resource and its state transitions.

pub(super) mod checks;
pub(crate) mod connections;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod describe;
pub(super) mod modify;
pub(super) mod permissions;
mod verification;

use std::collections::{BTreeMap, BTreeSet};

use super::endpoint::EndpointType;
use super::region::Region;
use super::services::{Provider, Service, ServiceSpec, service_name};
use super::tags::Tags;
use crate::aws::Config;
use crate::aws::clock::Seconds;
use crate::aws::error::ApiError;

pub use verification::NameState;
pub(super) use verification::start as start_verification;
pub(crate) use verification::{PrivateName, TxtRecords};

/// The error for an id that is not there; Delete has one of its own.
pub(super) const MISSING: &str = "InvalidVpcEndpointServiceId.NotFound";

/// `ServiceState`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Being created.
    Pending,
    /// Endpoints can be created for it.
    Available,
    /// Being deleted.
    Deleting,
    /// Deleted; described for a while longer.
    Deleted,
    /// Creation failed.
    Failed,
}

impl ServiceState {
    /// As it stands on the wire: PascalCase, unlike an endpoint's.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Deleting => "Deleting",
            Self::Deleted => "Deleted",
            Self::Failed => "Failed",
        }
    }
}

/// A supported region other than the host region.
#[derive(Debug, Clone)]
pub(crate) struct SupportedRegion {
    pub(crate) state: ServiceState,
    /// When `Pending` or `Deleting` is over.
    due: Option<Seconds>,
}

impl SupportedRegion {
    /// A region that is being added.
    pub(super) fn pending(due: Seconds) -> Self {
        Self {
            state: ServiceState::Pending,
            due: Some(due),
        }
    }

    /// A region that is being removed.
    pub(super) fn deleting(due: Seconds) -> Self {
        Self {
            state: ServiceState::Deleting,
            due: Some(due),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct EndpointService {
    pub(crate) id: String,
    /// Its service type: Interface or GatewayLoadBalancer.
    pub(crate) kind: EndpointType,
    pub(crate) state: ServiceState,
    /// When `Pending` or `Deleting` is over.
    pub(crate) due: Option<Seconds>,
    /// Until when a deleted one is still described.
    pub(crate) described_until: Option<Seconds>,
    /// Until then creating an endpoint is answered with a 503, although the service is available.
    unavailable_until: Seconds,
    pub(crate) acceptance_required: bool,
    /// Load balancer ARNs.
    pub(crate) load_balancers: BTreeSet<String>,
    /// The zones of its load balancers at the time of the last create or modify.
    pub(crate) zones: BTreeSet<String>,
    pub(crate) private_name: Option<PrivateName>,
    /// `ipv4` and `ipv6`.
    pub(crate) ip_address_types: BTreeSet<String>,
    /// Supported regions, without the host region.
    pub(crate) regions: BTreeMap<String, SupportedRegion>,
    /// Allowed principals (ARNs or `*`) and the ids of their permissions.
    pub(crate) principals: BTreeMap<String, String>,
    pub(crate) tags: Tags,
}

impl EndpointService {
    pub(crate) fn is_deleted(&self) -> bool {
        self.state == ServiceState::Deleted
    }

    /// Whether it supports other regions than its own.
    pub(super) fn is_multi_region(&self) -> bool {
        !self.regions.is_empty()
    }

    /// Applies the state transitions that are due at `now`, except for the private DNS name.
    pub(super) fn settle(&mut self, now: Seconds, config: &Config) {
        if let Some(due) = self.due.filter(|due| *due <= now) {
            self.due = None;
            match self.state {
                ServiceState::Pending => {
                    self.state = ServiceState::Available;
                    self.unavailable_until = due + config.service_unavailable_seconds;
                }
                ServiceState::Deleting => {
                    self.state = ServiceState::Deleted;
                    self.described_until = Some(due + config.deleted_linger_seconds);
                }
                _ => {}
            }
        }
        for region in self.regions.values_mut() {
            if region.state == ServiceState::Pending && region.due.is_some_and(|due| due <= now) {
                region.state = ServiceState::Available;
                region.due = None;
            }
        }
        self.regions
            .retain(|_, region| region.state == ServiceState::Available || region.due.is_some_and(|due| due > now));
    }

    /// Starts its deletion.
    pub(crate) fn start_deleting(&mut self, now: Seconds, config: &Config) {
        if !matches!(self.state, ServiceState::Deleting | ServiceState::Deleted) {
            self.state = ServiceState::Deleting;
            self.due = Some(now + config.deleting_seconds);
        }
    }

    /// The service as consumers see it, if it is available.
    pub(crate) fn offer(&self, region: &Region) -> Option<Service> {
        let available = |(_, region): &(&String, &SupportedRegion)| region.state == ServiceState::Available;
        let name = self.private_name.as_ref();
        let spec = ServiceSpec {
            acceptance_required: self.acceptance_required,
            types: vec![self.kind],
            private_dns_name: name.map(|name| name.name.clone()),
            ip_address_types: self.ip_address_types.iter().cloned().collect(),
            regions: self
                .regions
                .iter()
                .filter(available)
                .map(|(name, _)| name.clone())
                .collect(),
            unavailable_until: self.unavailable_until,
            ..ServiceSpec::default()
        };
        let provider = Provider {
            account: region.account.clone(),
            zone_ids: self.zones.iter().map(|zone| region.zone_id(zone)).collect(),
            principals: self.principals.keys().cloned().collect(),
            name_state: name.map(|name| name.state),
            lost_name: name.is_some_and(PrivateName::is_lost),
            tags: self.tags.clone(),
        };
        (self.state == ServiceState::Available).then_some(Service {
            spec,
            provider: Some(provider),
        })
    }
}

impl Region {
    /// The endpoint services that a describe shows at `now`.
    pub(crate) fn described_services(&self, now: Seconds) -> impl Iterator<Item = &EndpointService> {
        let services = self.endpoint_services.values();
        services.filter(move |service| service.described_until.is_none_or(|until| until > now))
    }

    /// Returns an endpoint service that is not deleted.
    pub(super) fn endpoint_service(&self, id: &str) -> Result<&EndpointService, ApiError> {
        let service = self.endpoint_services.get(id).filter(|service| !service.is_deleted());
        service.ok_or_else(|| not_found(id))
    }

    /// The services that consumers can find here, by full name.
    pub(crate) fn offers(&self) -> impl Iterator<Item = (String, Service)> {
        let services = self.endpoint_services.values();
        services.filter_map(|service| Some((service_name(&self.name, &service.id), service.offer(self)?)))
    }

    /// Whether an endpoint service uses a load balancer.
    pub(crate) fn uses_load_balancer(&self, arn: &str) -> bool {
        let mut services = self.endpoint_services.values();
        services.any(|service| !service.is_deleted() && service.load_balancers.contains(arn))
    }
}

pub(super) fn not_found(id: &str) -> ApiError {
    ApiError::new(MISSING, format!("The VpcEndpointService Id '{id}' does not exist"))
}
