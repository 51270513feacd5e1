//! What the VPCEndpoint controller works with.

use std::sync::Arc;

use super::capacity::CapacityReservations;
use super::memory::Memories;
use super::semaphore::AccountSemaphore;
use super::service::names::NameWaiters;
use crate::k8s::caches::Endpoint;
use crate::k8s::object_key::ObjectKey;
use crate::shared::Shared;

/// What the VPCEndpoint controller works with.
pub struct Context {
    /// What all controllers share.
    pub shared: Arc<Shared>,
    /// What is remembered of each object between reconciles.
    pub memories: Memories,
    /// How many work in each account.
    pub semaphore: AccountSemaphore,
    /// Who may be bound to an account that allows only so many.
    pub capacity: CapacityReservations,
    /// Who waits for the name of a Service.
    pub names: NameWaiters,
}

impl Context {
    /// With nothing remembered.
    pub fn new(shared: Arc<Shared>) -> Self {
        let requeuer = shared.requeuer.clone();
        let requeue = move |namespace: &str, name: &str| requeuer.requeue(ObjectKey::new::<Endpoint>(namespace, name));
        Self {
            memories: Memories::default(),
            semaphore: AccountSemaphore::new(shared.settings.account_concurrency, Arc::new(requeue)),
            capacity: CapacityReservations::default(),
            names: NameWaiters::default(),
            shared,
        }
    }
}
