//! Feeds VPCEndpoints to their reconcile: how long they wait, and what each outcome means for the
//! queue.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use vpce_core::conditions::Finding;
use vpce_core::object_key::ObjectKey;

use super::acknowledged;
use super::context::Context;
use super::dns_endpoint;
use super::findings::Findings;
use super::reconcile::reconcile;
use super::status;
use super::{queues, watches};
use crate::bound::controller::Controller;
use crate::bound::findings::{Parts as _, Standing};
use crate::bound::memories::Memories;
use crate::k8s::caches::{CacheWriter, Endpoint};
use crate::k8s::controller::{self, Config, Next};
use crate::k8s::dns_endpoint::DNSEndpoint;
use crate::k8s::requeue::Request;
use crate::k8s::writes::Refused;
use crate::shared::Shared;

/// Reconciles VPCEndpoints until `stop` ends.
pub(crate) async fn run(
    ctx: Arc<Context>,
    writer: CacheWriter<Endpoint>,
    (services, slices, dns_endpoints): (
        CacheWriter<Service>,
        CacheWriter<EndpointSlice>,
        CacheWriter<DNSEndpoint>,
    ),
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    tokio::spawn(watches::services(ctx.clone(), services));
    tokio::spawn(watches::slices(ctx.clone(), slices));
    tokio::spawn(watches::names(ctx.clone()));
    tokio::spawn(dns_endpoint::follow(ctx.clone(), dns_endpoints));
    let shared = ctx.shared.clone();
    let requests = shared.requeuer.queue::<Endpoint>();
    let observed = ctx.clone();
    let observe = move |event: &_| watches::endpoint(&observed, event);
    let objects = controller::watched(&shared.client, &shared.metrics, writer, observe);
    // Nothing is decided before all that decisions are made from is known.
    tokio::select! {
        ((), ()) = futures::future::join(shared.caches.others_filled::<Endpoint>(), ctx.dns_endpoints.known()) => {}
        () = stop.clone() => {}
    };
    let config = Config {
        concurrency: shared.settings.worker_concurrency,
        debounce: Duration::ZERO,
    };
    controller::run(ctx, config, shared.caches.filled(), objects, requests, stop).await;
}

impl Controller for Context {
    type Object = Endpoint;

    const NAME: &'static str = "vpcendpoint";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn memories(&self) -> &Memories<Endpoint> {
        &self.memories
    }

    fn requested(&self, request: Request) -> Vec<ObjectKey> {
        queues::requested(self, request)
    }

    fn begins(&self, object: &Endpoint) {
        if object.status.account.is_none() {
            // Should it have been let through and not bound, another may have its place.
            self.capacity.release(&object.uid().unwrap_or_default());
        }
    }

    async fn reconcile(&self, object: Arc<Endpoint>) -> Result<Next, kube::Error> {
        reconcile(self, object).await
    }

    async fn tell_of_refusal(&self, object: Arc<Endpoint>, refused: &Refused) -> Next {
        acknowledged::tell(self, object, refused).await
    }

    async fn say(&self, object: &Arc<Endpoint>, finding: Finding) -> Result<(), kube::Error> {
        let (mut status, findings) = (object.status.clone(), Findings::of_account(finding));
        status::set_conditions(&mut status, &findings, Standing::default(), object.metadata.generation);
        self.writer().status(object, status).await.map(drop)
    }

    fn leave(&self, object: &Endpoint) {
        queues::leave(self, object);
    }
}
