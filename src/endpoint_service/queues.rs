//! What is put into the queue of VPCEndpointServices, and what their watch tells.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use kube::runtime::watcher::Event;
use vpce_core::object_key::ObjectKey;

use super::consumers;
use super::context::Context;
use crate::bound::queues::{cancel_reservation, leave};
use crate::k8s::caches::EndpointService;
use crate::k8s::requeue::Request;

/// The objects that a request is for; their waits end.
pub(super) fn requested(ctx: &Context, request: Request) -> Vec<ObjectKey> {
    let caches = &ctx.shared.caches;
    let keys: BTreeSet<ObjectKey> = match request {
        Request::Requeue(key) => {
            ctx.memories.requeue(&key);
            return vec![key];
        }
        Request::Enqueue(key) => BTreeSet::from([key]),
        Request::AccountChanged(account) => {
            // Those bound to it, and of those that are bound to none the ones in namespaces that it
            // maps, or for which it was a candidate before.
            let mut affected = ctx.memories.candidate_for(&account);
            affected.extend(keys(&caches.endpoint_services_unbound_in(&account)));
            affected.extend(keys(&caches.endpoint_services_bound_to(&account)));
            affected
        }
        Request::NamespaceChanged(namespace) => keys(&caches.endpoint_services_in_namespace(&namespace)).collect(),
        Request::AcceptanceAwaited(service_name) => {
            let offering: BTreeSet<ObjectKey> = keys(&caches.offering(&service_name)).collect();
            for key in &offering {
                ctx.memories
                    .known(key, |memory| memory.own.waited_for = Some(Instant::now()));
                ctx.memories.requeue(key);
            }
            return offering.into_iter().collect();
        }
    };
    for key in &keys {
        ctx.memories.retry(key);
    }
    keys.into_iter().collect()
}

fn keys(services: &[Arc<EndpointService>]) -> impl Iterator<Item = ObjectKey> {
    services.iter().map(|service| ObjectKey::of(&**service))
}

/// A service that is bound, or gone, is counted by its account; one that is gone is forgotten.
pub(super) fn watched(ctx: &Context, event: &Event<EndpointService>) {
    let (Event::Apply(service) | Event::InitApply(service) | Event::Delete(service)) = event else {
        return;
    };
    // What a list has is not in the cache before the list is complete.
    if let Event::Apply(_) = event {
        ctx.memories.cached(service);
    }
    if let Some(account) = &service.status.account {
        ctx.shared.requeuer.account(&account.name);
    }
    if !matches!(event, Event::InitApply(_)) {
        consumers::enqueue_waiting(ctx, service);
    }
    if service.metadata.deletion_timestamp.is_some() {
        cancel_reservation(&ctx.shared, &ctx.memories, service, true);
    }
    if let Event::Delete(_) = event {
        leave(&ctx.shared, &ctx.memories, service);
        ctx.memories.forget(&ObjectKey::of(service));
        ctx.shared.writes.forget(service);
    }
}
