//! What the watches of VPCEndpoints, Services and EndpointSlices tell.

use std::future::ready;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::Event;
use vpce_core::object_key::ObjectKey;

use super::context::Context;
use super::dns_endpoint;
use super::queues;
use super::reference;
use super::service::{self, MANAGED_BY, names};
use super::service_reference;
use super::slices;
use crate::bound::queues::cancel_reservation;
use crate::k8s::caches::{CacheWriter, Endpoint};
use crate::k8s::owned;
use crate::k8s::pages;
use crate::k8s::patch::version_of;
use crate::k8s::watch::watch_kind;

/// An endpoint that is bound, or gone, is counted by its account; one that is gone is forgotten.
pub(crate) fn endpoint(ctx: &Context, event: &Event<Endpoint>) {
    let (Event::Apply(endpoint) | Event::InitApply(endpoint) | Event::Delete(endpoint)) = event else {
        return;
    };
    // What a list has is not in the cache before the list is complete.
    if let Event::Apply(_) = event {
        ctx.memories.cached(endpoint);
    }
    if let Some(account) = &endpoint.status.account {
        ctx.shared.requeuer.account(&account.name);
    }
    if !matches!(event, Event::InitApply(_)) {
        reference::changed(ctx, endpoint);
        if let Some(service) = service_reference::named(endpoint) {
            ctx.shared.requeuer.requeue(service);
        }
        for name in &endpoint.status.dns_names {
            dns_endpoint::enqueue_others(ctx, endpoint, name);
        }
    }
    if endpoint.metadata.deletion_timestamp.is_some() {
        cancel_reservation(&ctx.shared, &ctx.memories, endpoint, true);
    }
    if let Event::Delete(_) = event {
        let key = ObjectKey::of(endpoint);
        queues::leave(ctx, endpoint);
        ctx.memories.forget(&key);
        ctx.names.end(&key);
        ctx.shared.writes.forget(endpoint);
        queues::enqueue_waiting_for_room(ctx, endpoint);
    }
}

/// A Service of ours that changed has its VPCEndpoint reconciled.
pub(crate) async fn services(ctx: Arc<Context>, mut writer: CacheWriter<Service>) {
    let api: Api<Service> = Api::all(ctx.shared.client.clone());
    let config = pages::of_watches().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    watch_kind(&ctx.shared.metrics, api, config)
        .modify(service::prune)
        .inspect_ok(move |event| writer.apply(event))
        .touched_objects()
        .filter_map(|service| ready(service.ok()))
        .for_each(|service| {
            let namespace = service.namespace().unwrap_or_default();
            for key in owned::controllers(&service) {
                ctx.shared.requeuer.requeue(key);
            }
            names::enqueue_waiting(&ctx, &namespace, &service.name_any());
            ready(())
        })
        .await;
}

/// An EndpointSlice of ours that changed has its VPCEndpoint reconciled.
pub(crate) async fn slices(ctx: Arc<Context>, mut writer: CacheWriter<EndpointSlice>) {
    let api: Api<EndpointSlice> = Api::all(ctx.shared.client.clone());
    let config = pages::of_watches().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    watch_kind(&ctx.shared.metrics, api, config)
        .modify(slices::prune)
        .inspect_ok(move |event| writer.apply(event))
        .touched_objects()
        .filter_map(|slice| ready(slice.ok()))
        .for_each(|slice| {
            for key in owned::controllers(&slice) {
                ctx.memories.slice_cached(&key, &slice.name_any(), version_of(&slice));
                ctx.shared.requeuer.requeue(key);
            }
            ready(())
        })
        .await;
}

/// Services of others, of which nothing is kept: only who waits for the name of one is interested.
pub(crate) async fn names(ctx: Arc<Context>) {
    let api: Api<PartialObjectMeta<Service>> = Api::all(ctx.shared.client.clone());
    let config = pages::of_watches().labels(&format!("{}!={}", MANAGED_BY.0, MANAGED_BY.1));
    names::follow(&ctx, watch_kind(&ctx.shared.metrics, api, config)).await;
}
