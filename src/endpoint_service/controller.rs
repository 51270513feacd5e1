//! Feeds VPCEndpointServices to their reconcile.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tracing::Span;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::object_key::ObjectKey;

use super::bind;
use super::context::Context;
use super::findings::Findings;
use super::queues;
use super::reconcile::reconcile;
use super::status;
use crate::bound::findings::{Parts as _, Standing};
use crate::bound::queues::leave;
use crate::k8s::caches::{CacheWriter, EndpointService};
use crate::k8s::controller::{self, Config, Failure, Next, Reconciler};
use crate::k8s::requeue::Request;
use crate::k8s::writes::Refused;
use crate::telemetry::{Metrics, Outcome};

/// Who waits for room in an account is requeued; this is for what nobody has thought of.
const ASK_FOR_ROOM: Duration = Duration::from_secs(60);

/// Reconciles VPCEndpointServices until `stop` ends.
pub(crate) async fn run(
    ctx: Arc<Context>,
    writer: CacheWriter<EndpointService>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let shared = ctx.shared.clone();
    let requests = shared.requeuer.queue::<EndpointService>();
    let observed = ctx.clone();
    let observe = move |event: &_| queues::watched(&observed, event);
    let objects = controller::watched(&shared.client, &shared.metrics, writer, observe);
    let config = Config {
        concurrency: shared.settings.worker_concurrency,
        debounce: Duration::ZERO,
    };
    // Nothing is decided before all that decisions are made from is known.
    controller::run(ctx, config, shared.caches.filled(), objects, requests, stop).await;
}

impl Reconciler for Context {
    type Object = EndpointService;

    const CONTROLLER: &'static str = "vpcendpointservice";
    /// The longest calls to AWS are given up after 34 s, and a reconcile makes several.
    const DEADLINE: Duration = Duration::from_secs(150);

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    fn requested(&self, request: Request) -> Vec<ObjectKey> {
        queues::requested(self, request)
    }

    fn cached(&self, key: &ObjectKey) -> Option<Arc<EndpointService>> {
        self.shared.caches.endpoint_service(&key.namespace, &key.name)
    }

    fn begin(&self, object: Arc<EndpointService>) -> Result<Arc<EndpointService>, Duration> {
        let object = self.memories.newest(object);
        match self.memories.wait(&object, self.shared.settings.poll_interval) {
            Some(left) => {
                self.shared.semaphore.cancel(&ObjectKey::of(&*object));
                Err(left)
            }
            None => Ok(object),
        }
    }

    fn account(&self, object: &EndpointService) -> String {
        let account = object.status.account.as_ref();
        account.map(|account| account.name.clone()).unwrap_or_default()
    }

    fn span(&self, object: &EndpointService) -> Span {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        tracing::info_span!("reconcile", namespace, name, account = self.account(object))
    }

    async fn reconcile(&self, object: Arc<EndpointService>) -> Result<(Outcome, Next), kube::Error> {
        // Boxed, or its type grows too deep for the compiler.
        let next = Box::pin(reconcile(self, object.clone())).await?;
        self.memories.agreed(&object);
        let refused = self
            .memories
            .with(&object, |memory| std::mem::take(&mut memory.status_refused));
        Ok((if refused { Outcome::Error } else { Outcome::Ok }, next))
    }

    async fn failed(&self, object: Arc<EndpointService>, failure: Failure) -> Next {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        match failure {
            Failure::Conflict => return Next::NotBefore(self.memories.conflicted(&object)),
            Failure::Refused(error) if let Some(refused) = Refused::of(&error).cloned() => {
                return bind::tell_of_refusal(self, self.memories.newest(object), &refused).await;
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

    fn ended(&self, object: &EndpointService, next: Next) -> Option<Duration> {
        let depth = self.shared.semaphore.waiting::<EndpointService>();
        self.shared.metrics.queue_depth(Self::CONTROLLER, depth);
        if next != Next::WhenRoom {
            self.shared.semaphore.cancel(&ObjectKey::of(object));
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
                leave(&self.shared, &self.memories, object);
                self.memories.forget(&ObjectKey::of(object));
                None
            }
        }
    }
}

async fn say_internal_error(ctx: &Context, object: &Arc<EndpointService>) {
    let finding = Finding::bad(
        Reason::InternalError,
        "internal error of the operator; see its log; the reconcile is retried",
    );
    let mut status = object.status.clone();
    let findings = Findings::of_account(finding);
    status::set_conditions(&mut status, &findings, Standing::default(), object.metadata.generation);
    if let Err(error) = ctx.writer().status(object, status).await {
        tracing::warn!(%error, "the status was not written");
    }
}
