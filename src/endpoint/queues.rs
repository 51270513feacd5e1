//! What is put into the queue of VPCEndpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use vpce_core::object_key::ObjectKey;

use super::context::Context;
use crate::bound;
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
        Request::AcceptanceAwaited(_) => BTreeSet::new(),
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
    ctx.capacity.release(&object.uid().unwrap_or_default());
    bound::queues::leave(&ctx.shared, &ctx.memories, object);
}
