//! What the VPCEndpoint controller works with.

use std::sync::Arc;

use super::capacity::CapacityReservations;
use super::dns_endpoint::DnsEndpoints;
use super::service::names::NameWaiters;
use crate::bound::memories::Memories;
use crate::bound::write::Writer;
use crate::k8s::caches::Endpoint;
use crate::shared::Shared;

/// What the VPCEndpoint controller works with.
pub(crate) struct Context {
    /// What all controllers share.
    pub shared: Arc<Shared>,
    /// What is remembered of each object between reconciles.
    pub memories: Memories<Endpoint>,
    /// Who may be bound to an account that allows only so many.
    pub capacity: CapacityReservations,
    /// Who waits for the name of a Service.
    pub names: NameWaiters,
    /// Whether DNS names can be published.
    pub dns_endpoints: DnsEndpoints,
}

impl Context {
    /// Writes VPCEndpoints.
    pub(crate) fn writer(&self) -> Writer<'_, Endpoint> {
        Writer {
            shared: &self.shared,
            memories: &self.memories,
        }
    }

    /// With nothing remembered.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            memories: Memories::default(),
            capacity: CapacityReservations::default(),
            names: NameWaiters::default(),
            dns_endpoints: DnsEndpoints::new(shared.settings.dns_endpoints),
            shared,
        }
    }
}
