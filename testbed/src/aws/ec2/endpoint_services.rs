//! Endpoint services that accounts host: what they are, and how they change by themselves.

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
    /// Being made.
    Pending,
    /// Endpoints can be made for it.
    Available,
    /// Being deleted.
    Deleting,
    /// Gone; still described for a while.
    Deleted,
    /// Could not be made.
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

/// A region besides its own in which a service is offered.
#[derive(Debug, Clone)]
pub(crate) struct SupportedRegion {
    pub(crate) state: ServiceState,
    /// When `Pending` or `Deleting` is over.
    due: Option<Seconds>,
}

impl SupportedRegion {
    /// One that is being added.
    pub(super) fn pending(due: Seconds) -> Self {
        Self {
            state: ServiceState::Pending,
            due: Some(due),
        }
    }

    /// One that is being taken away.
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
    /// The type of its endpoints: Interface, or GatewayLoadBalancer.
    pub(crate) kind: EndpointType,
    pub(crate) state: ServiceState,
    /// When `Pending` or `Deleting` is over.
    pub(crate) due: Option<Seconds>,
    /// Until when a deleted one is still described.
    pub(crate) described_until: Option<Seconds>,
    /// Until then no endpoint can be made for it, though it is available.
    unavailable_until: Seconds,
    pub(crate) acceptance_required: bool,
    /// ARNs.
    pub(crate) load_balancers: BTreeSet<String>,
    /// The names of the zones that its load balancers had when it was made or last modified.
    pub(crate) zones: BTreeSet<String>,
    pub(crate) private_name: Option<PrivateName>,
    /// `ipv4`, `ipv6`
    pub(crate) ip_address_types: BTreeSet<String>,
    /// Its own is not among them.
    pub(crate) regions: BTreeMap<String, SupportedRegion>,
    /// Whom it lets in (ARNs, or `*`), with the ids of the permissions.
    pub(crate) principals: BTreeMap<String, String>,
    pub(crate) tags: Tags,
}

impl EndpointService {
    pub(crate) fn is_deleted(&self) -> bool {
        self.state == ServiceState::Deleted
    }

    /// Whether it has to do with other regions than its own.
    pub(super) fn is_multi_region(&self) -> bool {
        !self.regions.is_empty()
    }

    /// Brings it to what it is at `now`, but for its private name.
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

    /// What consumers find of it, if it is available.
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

    /// An endpoint service that is there.
    pub(super) fn endpoint_service(&self, id: &str) -> Result<&EndpointService, ApiError> {
        let service = self.endpoint_services.get(id).filter(|service| !service.is_deleted());
        service.ok_or_else(|| not_found(id))
    }

    /// The services that consumers find here, by their full names.
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
