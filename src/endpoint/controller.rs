//! Feeds VPCEndpoints to their reconcile: how long they wait, and what each outcome means for the
//! queue.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use tracing::Span;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::object_key::ObjectKey;

use super::acknowledged;
use super::context::Context;
use super::dns_endpoint;
use super::findings::Findings;
use super::reconcile::reconcile;
use super::status;
use super::{queues, watches};
use crate::bound::findings::{Parts as _, Standing};
use crate::k8s::caches::{CacheWriter, Endpoint};
use crate::k8s::controller::{self, Config, Failure, Next, Reconciler};
use crate::k8s::dns_endpoint::DNSEndpoint;
use crate::k8s::requeue::Request;
use crate::k8s::writes::Refused;
use crate::telemetry::{Metrics, Outcome};

/// Who waits for room in an account is requeued; this is for what nobody has thought of.
const ASK_FOR_ROOM: Duration = Duration::from_secs(60);

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

impl Reconciler for Context {
    type Object = Endpoint;

    const CONTROLLER: &'static str = "vpcendpoint";
    /// The longest calls to AWS are given up after 34 s, and a reconcile makes several.
    const DEADLINE: Duration = Duration::from_secs(150);

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    fn requested(&self, request: Request) -> Vec<ObjectKey> {
        queues::requested(self, request)
    }

    fn cached(&self, key: &ObjectKey) -> Option<Arc<Endpoint>> {
        self.shared.caches.endpoint(&key.namespace, &key.name)
    }

    fn begin(&self, object: Arc<Endpoint>) -> Result<Arc<Endpoint>, Duration> {
        let object = self.memories.newest(object);
        if let Some(left) = self.memories.wait(&object, self.shared.settings.poll_interval) {
            // Who waits for something else waits for no room.
            self.cancel_permit(&object);
            return Err(left);
        }
        if object.status.account.is_none() {
            // Should it have been let through and not bound, another may have its place.
            self.capacity.release(&object.uid().unwrap_or_default());
        }
        Ok(object)
    }

    fn account(&self, object: &Endpoint) -> String {
        let account = object.status.account.as_ref();
        account.map(|account| account.name.clone()).unwrap_or_default()
    }

    fn span(&self, object: &Endpoint) -> Span {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        tracing::info_span!("reconcile", namespace, name, account = self.account(object))
    }

    async fn reconcile(&self, object: Arc<Endpoint>) -> Result<(Outcome, Next), kube::Error> {
        // Boxed, or its type grows too deep for the compiler.
        let next = Box::pin(reconcile(self, object.clone())).await?;
        self.memories.agreed(&object);
        let refused = self
            .memories
            .with(&object, |memory| std::mem::take(&mut memory.status_refused));
        Ok((if refused { Outcome::Error } else { Outcome::Ok }, next))
    }

    async fn failed(&self, object: Arc<Endpoint>, failure: Failure) -> Next {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        match failure {
            Failure::Conflict => return Next::NotBefore(self.memories.conflicted(&object)),
            Failure::Refused(error) if let Some(refused) = Refused::of(&error).cloned() => {
                return acknowledged::tell(self, self.memories.newest(object), &refused).await;
            }
            Failure::Refused(error) => {
                tracing::warn!(namespace, name, %error, "a request to the API server failed");
            }
            Failure::Panic => {
                tracing::error!(namespace, name, "a reconcile panicked; this is a bug");
                say_internal_error(self, &object).await;
                self.memories.with(&object, |memory| memory.cut_off = true);
            }
            Failure::Timeout => {
                tracing::warn!(namespace, name, "a reconcile timed out");
                self.memories.with(&object, |memory| memory.cut_off = true);
            }
        }
        Next::NotBefore(self.memories.failed(&object, self.shared.settings.resync_interval))
    }

    fn ended(&self, object: &Endpoint, next: Next) -> Option<Duration> {
        let depth = self.shared.semaphore.waiting::<Endpoint>();
        self.shared.metrics.queue_depth(Self::CONTROLLER, depth);
        if next != Next::WhenRoom {
            self.cancel_permit(object);
        }
        let resync = self.memories.until_resync(object).unwrap_or(Duration::MAX);
        match next {
            Next::After(time) => Some(time.min(resync)),
            Next::NotBefore(time) => {
                self.memories.not_before(object, time);
                Some(time.min(resync))
            }
            Next::WhenRoom => Some(ASK_FOR_ROOM),
            Next::Gone => {
                queues::leave(self, object);
                self.memories.forget(&ObjectKey::of(object));
                None
            }
        }
    }
}

impl Context {
    fn cancel_permit(&self, object: &Endpoint) {
        self.shared.semaphore.cancel(&ObjectKey::of(object));
    }
}

async fn say_internal_error(ctx: &Context, object: &Arc<Endpoint>) {
    let finding = Finding::bad(
        Reason::InternalError,
        "internal error of the operator; see its log; the reconcile is retried",
    );
    let mut status = object.status.clone();
    status::set_conditions(
        &mut status,
        &Findings::of_account(finding),
        Standing::default(),
        object.metadata.generation,
    );
    if let Err(error) = ctx.writer().status(object, status).await {
        tracing::warn!(%error, "the status was not written");
    }
}
