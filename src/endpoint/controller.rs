//! Feeds VPCEndpoints to the reconcile: deadlines, panics, backoff, and what each outcome means for the queue.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::{Controller, controller};
use tracing::Instrument;
use vpce_core::conditions::{Finding, Reason};

use super::acknowledged;
use super::context::Context;
use super::queues;
use super::reconcile::{Next, reconcile};
use super::status::{self, Findings, Standing};
use crate::k8s::caches::Endpoint;
use crate::k8s::error::{is_conflict, is_not_found};
use crate::k8s::patch::version_of;
use crate::k8s::requeue::Request;
use crate::k8s::writes::Refused;
use crate::telemetry::{Outcome, traces};

/// The name in metrics.
pub const CONTROLLER: &str = "vpcendpoint";
/// A reconcile that takes longer is cut off. The longest calls to AWS are given up after 34 s, and a reconciliation makes several.
const DEADLINE: Duration = Duration::from_secs(150);

/// Who waits for room in an account is woken; this is for what nobody has thought of.
const ASK_FOR_ROOM: Duration = Duration::from_secs(60);

/// Runs until the streams end or `stop` does.
pub async fn run(
    ctx: Arc<Context>,
    objects: impl Stream<Item = Result<Endpoint, kube::runtime::watcher::Error>> + Send + 'static,
    requests: impl Stream<Item = Request> + Send + 'static,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let config = controller::Config::default().concurrency(ctx.shared.settings.worker_concurrency);
    let objects_requested = {
        let ctx = ctx.clone();
        requests.flat_map(move |request| stream::iter(queues::requested(&ctx, request)))
    };
    Controller::for_stream(objects, ctx.shared.caches.endpoint_store())
        .with_config(config)
        .reconcile_on(objects_requested)
        .graceful_shutdown_on(stop)
        .run(guarded, |_: Arc<Endpoint>, error: &Infallible, _| match *error {}, ctx)
        .for_each(|_| async {})
        .await;
}

/// One reconcile, whatever happens in it.
async fn guarded(object: Arc<Endpoint>, ctx: Arc<Context>) -> Result<Action, Infallible> {
    let object = newest(&ctx, object);
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    if let Some(left) = ctx.memories.wait(&object, ctx.shared.settings.poll_interval) {
        // Who waits for something else waits for no room.
        ctx.semaphore.leave(&namespace, &name);
        return Ok(Action::requeue(left));
    }
    if object.status.account.is_none() {
        // Should it have been let through and not bound, another may have its place.
        ctx.capacity.release(&object.uid().unwrap_or_default());
    }
    let account = object.status.account.as_ref();
    let account = account.map(|account| account.name.clone()).unwrap_or_default();
    let span = tracing::info_span!("reconcile", namespace, name, account);
    let _in_flight = ctx.shared.metrics.in_flight(CONTROLLER);
    let started = Instant::now();
    let reconciliation = AssertUnwindSafe(reconcile(&ctx, object.clone()).boxed()).catch_unwind();
    let outcome = tokio::time::timeout(DEADLINE, reconciliation.instrument(span.clone())).await;
    let (outcome, next) = match outcome {
        Ok(Ok(Ok(next))) => {
            ctx.memories.agreed(&object);
            let refused = ctx
                .memories
                .with(&object, |memory| std::mem::take(&mut memory.status_refused));
            (if refused { Outcome::Error } else { Outcome::Ok }, next)
        }
        Ok(Ok(Err(error))) if is_conflict(&error) => {
            (Outcome::Conflict, Next::NotBefore(ctx.memories.conflicted(&object)))
        }
        Ok(Ok(Err(error))) if is_not_found(&error) => (Outcome::Ok, Next::Gone),
        Ok(Ok(Err(error))) if let Some(refused) = Refused::of(&error).cloned() => {
            let next = acknowledged::tell(&ctx, newest(&ctx, object.clone()), &refused).await;
            (Outcome::Error, next)
        }
        Ok(Ok(Err(error))) => {
            tracing::warn!(namespace, name, %error, "the API server refused, or failed");
            (
                Outcome::Error,
                Next::NotBefore(ctx.memories.failed(&object, ctx.shared.settings.resync_interval)),
            )
        }
        Ok(Err(_)) => {
            tracing::error!(namespace, name, "a reconcile panicked; this is a bug");
            say_internal_error(&ctx, &object).await;
            ctx.memories.with(&object, |memory| memory.cut_off = true);
            (
                Outcome::Panic,
                Next::NotBefore(ctx.memories.failed(&object, ctx.shared.settings.resync_interval)),
            )
        }
        Err(_) => {
            tracing::warn!(namespace, name, "a reconcile took too long and was cut off");
            ctx.memories.with(&object, |memory| memory.cut_off = true);
            (
                Outcome::Timeout,
                Next::NotBefore(ctx.memories.failed(&object, ctx.shared.settings.resync_interval)),
            )
        }
    };
    traces::ended(&span, CONTROLLER, outcome);
    ctx.shared.metrics.queue_depth(CONTROLLER, ctx.semaphore.waiting());
    ctx.shared
        .metrics
        .reconcile(CONTROLLER, &account, outcome, started.elapsed().as_secs_f64());
    if next != Next::WhenRoom {
        ctx.semaphore.leave(&namespace, &name);
    }
    let look = ctx.memories.until_look(&object).unwrap_or(Duration::MAX);
    Ok(match next {
        Next::After(time) => Action::requeue(time.min(look)),
        Next::NotBefore(time) => {
            ctx.memories.hold(&object, time);
            Action::requeue(time.min(look))
        }
        Next::WhenRoom => Action::requeue(ASK_FOR_ROOM),
        Next::Gone => {
            queues::leave(&ctx, &object);
            ctx.memories.forget(&namespace, &name);
            Action::await_change()
        }
    })
}

/// The object as the cache has it, or as our last write left it if that is newer.
fn newest(ctx: &Context, cached: Arc<Endpoint>) -> Arc<Endpoint> {
    ctx.memories.with(&cached, |memory| match memory.latest.take() {
        Some(latest) if version_of(&*latest) > version_of(&*cached) => {
            memory.latest = Some(latest.clone());
            latest
        }
        _ => cached.clone(),
    })
}

async fn say_internal_error(ctx: &Context, object: &Arc<Endpoint>) {
    let finding = Finding::bad(
        Reason::InternalError,
        "the operator failed in a way that it should not have; its log says more; tried again",
    );
    let mut status = object.status.clone();
    status::set_conditions(
        &mut status,
        &Findings::account(finding),
        Standing::default(),
        object.metadata.generation,
    );
    if let Err(error) = status::write(ctx, object, status).await {
        tracing::warn!(%error, "the status was not written");
    }
}
