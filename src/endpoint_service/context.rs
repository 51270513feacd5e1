//! What the VPCEndpointService controller works with.

use std::sync::Arc;
use std::time::Instant;

use crate::bound::memories::{Memories, Remembered};
use crate::bound::write::Writer;
use crate::k8s::caches::EndpointService;
use crate::shared::Shared;

/// What is remembered of a VPCEndpointService beside what is of all kinds.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// When an endpoint of this cluster was last seen to wait for acceptance: connections that were
    /// read before are out of date.
    pub(crate) waited_for: Option<Instant>,
    /// When the verification of its private DNS name was last started.
    pub(crate) verified: Option<Instant>,
}

impl Remembered for Own {}

/// What the VPCEndpointService controller works with.
pub(crate) struct Context {
    /// What all controllers share.
    pub(crate) shared: Arc<Shared>,
    /// What is remembered of each object between reconciles.
    pub(crate) memories: Memories<EndpointService>,
}

impl Context {
    /// With nothing remembered.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            memories: Memories::default(),
        }
    }

    /// Writes VPCEndpointServices.
    pub(crate) fn writer(&self) -> Writer<'_, EndpointService> {
        Writer {
            shared: &self.shared,
            memories: &self.memories,
        }
    }
}
