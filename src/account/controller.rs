//! Feeds AWSAccounts to their reconcile.

use std::convert::Infallible;
use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller};
use tracing::Instrument;

use super::context::Context;
use super::reconcile::reconcile;
use crate::k8s::caches::{Account, CacheSync};
use crate::k8s::error::{is_conflict, is_not_found};
use crate::k8s::requeue::Request;
use crate::telemetry::{Outcome, traces};

/// The name in metrics.
pub const CONTROLLER: &str = "awsaccount";
/// So many AWSAccounts are looked at at once.
const CONCURRENCY: u16 = 16;
/// Endpoints that come and go together are counted together.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// After a write that the API server refused, or that met an object that had changed.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Runs until the streams end or `stop` does.
pub async fn run(
    ctx: Arc<Context>,
    objects: impl Stream<Item = Result<Account, kube::runtime::watcher::Error>> + Send + 'static,
    requests: impl Stream<Item = Request> + Send + 'static,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let config = controller::Config::default()
        .concurrency(CONCURRENCY)
        .debounce(DEBOUNCE);
    Controller::for_stream(objects, ctx.shared.caches.account_store())
        .with_config(config)
        .reconcile_on(requests.filter_map(|request| ready(requested(request))))
        .graceful_shutdown_on(stop)
        .run(guarded, |_: Arc<Account>, error: &Infallible, _| match *error {}, ctx)
        .for_each(|_| async {})
        .await;
}

/// The AWSAccount that a request is for.
fn requested(request: Request) -> Option<ObjectRef<Account>> {
    match request {
        Request::Requeue(key) | Request::Enqueue(key) => Some(ObjectRef::new(&key.name)),
        Request::AccountChanged(_) | Request::NamespaceChanged(_) => None,
    }
}

async fn guarded(account: Arc<Account>, ctx: Arc<Context>) -> Result<Action, Infallible> {
    let name = account.name_any();
    // Who uses an account is not known before.
    ctx.shared.filled.with(CacheSync::ALL).await;
    let _in_flight = ctx.shared.metrics.in_flight(CONTROLLER);
    let started = Instant::now();
    let span = tracing::info_span!("reconcile", account = name);
    let outcome = AssertUnwindSafe(reconcile(&ctx, account).boxed())
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let (outcome, action) = match outcome {
        Ok(Ok(Some(next))) => (Outcome::Ok, Action::requeue(next)),
        Ok(Ok(None)) => (Outcome::Ok, Action::await_change()),
        Ok(Err(error)) if is_not_found(&error) => (Outcome::Ok, Action::await_change()),
        Ok(Err(error)) if is_conflict(&error) => (Outcome::Conflict, Action::requeue(AFTER_ERROR)),
        Ok(Err(error)) => {
            tracing::warn!(account = name, %error, "the API server refused, or failed");
            (Outcome::Error, Action::requeue(AFTER_ERROR))
        }
        Err(_) => {
            tracing::error!(account = name, "a reconcile panicked; this is a bug");
            (Outcome::Panic, Action::requeue(ctx.shared.settings.resync_interval))
        }
    };
    traces::ended(&span, CONTROLLER, outcome);
    ctx.shared
        .metrics
        .reconcile(CONTROLLER, &name, outcome, started.elapsed().as_secs_f64());
    Ok(action)
}
