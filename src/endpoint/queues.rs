//! What is put into the queue of VPCEndpoints. What is gone, or has nothing to do in AWS any more,
//! leaves every queue at once: its reservations go to others.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use vpce_core::object_key::ObjectKey;

use super::context::Context;
use crate::k8s::caches::Endpoint;
use crate::k8s::requeue::Request;

/// The objects that a request is for; their waits end.
pub(crate) fn requested(ctx: &Context, request: Request) -> Vec<ObjectKey> {
    let keys = match request {
        Request::Requeue(key) => {
            ctx.memories.requeue(&key);
            return vec![key];
        }
        Request::Enqueue(key) => BTreeSet::from([key]),
        Request::AccountChanged(account) => affected(ctx, &account),
        Request::NamespaceChanged(namespace) => keys(&ctx.shared.caches.in_namespace(&namespace)).collect(),
    };
    for key in &keys {
        ctx.memories.retry(key);
    }
    keys.into_iter().collect()
}

/// The objects that an AWSAccount matters to: those bound to it, and of those that are bound to
/// none the ones in namespaces that it maps, or for which it was a candidate before.
fn affected(ctx: &Context, account: &str) -> BTreeSet<ObjectKey> {
    let caches = &ctx.shared.caches;
    let mut affected = ctx.memories.candidate_for(account);
    affected.extend(keys(&caches.unbound_in(account)));
    affected.extend(keys(&caches.bound_to(account)));
    affected
}

fn keys(endpoints: &[Arc<Endpoint>]) -> impl Iterator<Item = ObjectKey> {
    endpoints.iter().map(|endpoint| ObjectKey::of(&**endpoint))
}

/// The object is gone, and may have taken room in its AWSAccount, or been the next to get some:
/// those that wait there are enqueued.
pub(crate) fn enqueue_waiting_for_room(ctx: &Context, object: &Endpoint) {
    let caches = &ctx.shared.caches;
    let accounts = match &object.status.account {
        Some(account) => vec![account.name.clone()],
        None => {
            let mapping = caches.accounts_mapping(&object.namespace().unwrap_or_default());
            mapping.iter().map(|account| account.name_any()).collect()
        }
    };
    for account in accounts {
        for waiting in caches.waiting_for_room_in(&account) {
            ctx.shared.requeuer.enqueue(ObjectKey::of(&*waiting));
        }
    }
}

/// The object is gone: it leaves the semaphore of its AWS account and the rate limiter's queues.
pub(crate) fn leave(ctx: &Context, object: &Endpoint) {
    ctx.shared.semaphore.cancel(&ObjectKey::of(object));
    ctx.capacity.release(&object.uid().unwrap_or_default());
    cancel_reservation(ctx, object, false);
}

/// It wants nothing in AWS that it had a reservation for.
pub(crate) fn has_settled(ctx: &Context, object: &Endpoint) {
    cancel_reservation(ctx, object, false);
}

/// Its deletion was asked for: what it waited to create it does not want any more. (What is deleted
/// of it then has its own reservations.)
pub(crate) fn is_being_deleted(ctx: &Context, object: &Endpoint) {
    cancel_reservation(ctx, object, true);
}

fn cancel_reservation(ctx: &Context, object: &Endpoint, deleted: bool) {
    let key = ctx.memories.take_reservation(object, deleted);
    if let Some(region) = key.and_then(|key| ctx.shared.regions.find(&key)) {
        region.cancel(&object.uid().unwrap_or_default());
    }
}
