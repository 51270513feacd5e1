//! Feeds objects of one kind to their reconcile, whatever happens in it: deadlines, panics,
//! conflicts, and what each counts as.

use std::convert::Infallible;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use kube::api::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{Error, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tracing::{Instrument, Span};

use super::caches::{CacheWriter, Indexed};
use super::error::{is_conflict, is_not_found};
use super::pages;
use super::requeue::Request;
use super::watch::watch_kind;
use crate::telemetry::{Metrics, Outcome, traces};

/// When to reconcile an object again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// After this time; watch events may bring it forward.
    After(Duration),
    /// After this time, and not earlier whatever the watch says.
    NotBefore(Duration),
    /// When there is room in its AWS account: it is requeued then.
    WhenRoom,
    /// Never: it is gone.
    Gone,
}

impl Next {
    /// The same, or after this time if that is sooner. Who has something to try again is not
    /// requeued for less.
    pub(crate) fn not_after(self, time: Duration) -> Self {
        match self {
            Self::After(other) | Self::NotBefore(other) => Self::NotBefore(time.min(other)),
            Self::WhenRoom | Self::Gone => self,
        }
    }
}

/// How a reconcile ended that gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A write met an object that had changed.
    Conflict,
    /// The API server refused, or failed.
    Refused(kube::Error),
    /// A bug.
    Panic,
    /// It was cut off at its deadline.
    Timeout,
}

/// What reconciles the objects of a kind.
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// The kind, as it is watched.
    type Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static;

    /// The name of the controller in metrics: the kind in lower case.
    const CONTROLLER: &'static str;
    /// A reconcile that takes longer is cut off.
    const DEADLINE: Duration;

    /// Where reconciles are counted.
    fn metrics(&self) -> &Metrics;

    /// The objects that a request is for; their waits end.
    fn requested(&self, request: Request) -> Vec<ObjectRef<Self::Object>>;

    /// The object as it is now known, or how long it still has to wait, whatever woke it.
    fn begin(&self, object: Arc<Self::Object>) -> impl Future<Output = Result<Arc<Self::Object>, Duration>> + Send;

    /// The AWSAccount that a reconcile counts for; empty for none.
    fn account(&self, object: &Self::Object) -> String;

    /// The span of a reconcile, whose fields its log lines have.
    fn span(&self, object: &Self::Object) -> Span;

    /// Reconciles an object. An error is one of the API server.
    fn reconcile(&self, object: Arc<Self::Object>)
    -> impl Future<Output = Result<(Outcome, Next), kube::Error>> + Send;

    /// A reconcile failed: says so where it can, and when to try again.
    fn failed(&self, object: Arc<Self::Object>, failure: Failure) -> impl Future<Output = Next> + Send;

    /// A reconcile ended, however it did: what that means for the queue.
    fn ended(&self, object: &Self::Object, next: Next) -> Action;
}

/// The objects of a kind whose spec, annotations or finalizers change, as their watch sends them;
/// `observe` is called with each event once the cache has taken it in.
pub(crate) fn watched<K, F>(
    client: &Client,
    metrics: &Metrics,
    mut writer: CacheWriter<K>,
    mut observe: F,
) -> impl Stream<Item = Result<K, Error>> + Send + 'static + use<K, F>
where
    K: Indexed + DeserializeOwned + Debug + Send + Sync,
    K::Term: Send + Sync,
    F: FnMut(&Event<K>) + Send + 'static,
{
    watch_kind(metrics, Api::all(client.clone()), pages::of_watches())
        .inspect_ok(move |event| writer.apply(event))
        .inspect_ok(move |event| observe(event))
        .touched_objects()
        .predicate_filter(
            predicates::generation
                .combine(predicates::annotations)
                .combine(predicates::finalizers),
            PredicateConfig::default(),
        )
}

/// Runs until the streams end or `stop` does.
pub(crate) async fn run<R: Reconciler>(
    reconciler: Arc<R>,
    config: controller::Config,
    store: Store<R::Object>,
    objects: impl Stream<Item = Result<R::Object, Error>> + Send + 'static,
    requests: impl Stream<Item = Request> + Send + 'static,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let requested = {
        let reconciler = reconciler.clone();
        requests.flat_map(move |request| stream::iter(reconciler.requested(request)))
    };
    Controller::for_stream(objects, store)
        .with_config(config)
        .reconcile_on(requested)
        .graceful_shutdown_on(stop)
        .run(
            guarded,
            |_: Arc<R::Object>, error: &Infallible, _| match *error {},
            reconciler,
        )
        .for_each(|_| async {})
        .await;
}

/// One reconcile, whatever happens in it.
async fn guarded<R: Reconciler>(object: Arc<R::Object>, reconciler: Arc<R>) -> Result<Action, Infallible> {
    let object = match reconciler.begin(object).await {
        Ok(object) => object,
        Err(left) => return Ok(Action::requeue(left)),
    };
    let metrics = reconciler.metrics();
    let account = reconciler.account(&object);
    let span = reconciler.span(&object);
    let _in_flight = metrics.in_flight(R::CONTROLLER);
    let started = Instant::now();
    let reconcile = AssertUnwindSafe(reconciler.reconcile(object.clone())).catch_unwind();
    let answer = tokio::time::timeout(R::DEADLINE, reconcile.instrument(span.clone())).await;
    let (outcome, next) = match answer {
        Ok(Ok(Ok(done))) => done,
        Ok(Ok(Err(error))) if is_not_found(&error) => (Outcome::Ok, Next::Gone),
        Ok(Ok(Err(error))) if is_conflict(&error) => {
            let next = reconciler.failed(object.clone(), Failure::Conflict).await;
            (Outcome::Conflict, next)
        }
        Ok(Ok(Err(error))) => {
            let next = reconciler.failed(object.clone(), Failure::Refused(error)).await;
            (Outcome::Error, next)
        }
        Ok(Err(_)) => {
            let next = reconciler.failed(object.clone(), Failure::Panic).await;
            (Outcome::Panic, next)
        }
        Err(_) => {
            let next = reconciler.failed(object.clone(), Failure::Timeout).await;
            (Outcome::Timeout, next)
        }
    };
    traces::ended(&span, R::CONTROLLER, outcome);
    metrics.reconcile(R::CONTROLLER, &account, outcome, started.elapsed().as_secs_f64());
    Ok(reconciler.ended(&object, next))
}
