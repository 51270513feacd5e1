//! Feeds objects of one kind to their reconcile, whatever happens in it: deadlines, panics,
//! conflicts, and what each counts as.

use std::fmt::Debug;
use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt, stream};
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span};
use vpce_core::object_key::ObjectKey;

use super::caches::{CacheWriter, Indexed};
use super::error::{is_conflict, is_not_found};
use super::pages;
use super::queue::WorkQueue;
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
    type Object: Resource<DynamicType = ()> + Send + Sync + 'static;

    /// The name of the controller in metrics: the kind in lower case.
    const CONTROLLER: &'static str;
    /// A reconcile that takes longer is cut off.
    const DEADLINE: Duration;

    /// Where reconciles are counted.
    fn metrics(&self) -> &Metrics;

    /// The objects that a request is for; their waits end.
    fn requested(&self, request: Request) -> Vec<ObjectKey>;

    /// The object as the cache has it; none where it is gone.
    fn cached(&self, key: &ObjectKey) -> Option<Arc<Self::Object>>;

    /// The object as it is now known, or how long it still has to wait, whatever woke it.
    fn begin(&self, object: Arc<Self::Object>) -> Result<Arc<Self::Object>, Duration>;

    /// The AWSAccount that a reconcile counts for; empty for none.
    fn account(&self, object: &Self::Object) -> String;

    /// The span of a reconcile, whose fields its log lines have.
    fn span(&self, object: &Self::Object) -> Span;

    /// Reconciles an object. An error is one of the API server.
    fn reconcile(&self, object: Arc<Self::Object>)
    -> impl Future<Output = Result<(Outcome, Next), kube::Error>> + Send;

    /// A reconcile failed: says so where it can, and when to try again.
    fn failed(&self, object: Arc<Self::Object>, failure: Failure) -> impl Future<Output = Next> + Send;

    /// A reconcile ended, however it did: after which time the next is due; none while nothing
    /// changes.
    fn ended(&self, object: &Self::Object, next: Next) -> Option<Duration>;
}

/// The objects of a kind whose spec, annotations or finalizers change, as their watch sends them,
/// once the cache has them; `observe` is called with each event then.
pub(crate) fn watched<K, F>(
    client: &Client,
    metrics: &Metrics,
    writer: CacheWriter<K>,
    observe: F,
) -> impl Stream<Item = ObjectKey> + Send + 'static + use<K, F>
where
    K: Indexed + DeserializeOwned + Debug + Send + Sync,
    K::Term: Send + Sync,
    F: FnMut(&Event<K>) + Send + 'static,
{
    let events = watch_kind(metrics, Api::all(client.clone()), pages::of_watches());
    changes(events.filter_map(|event| ready(event.ok())), writer, observe)
}

fn changes<K, S, F>(
    events: S,
    mut writer: CacheWriter<K>,
    mut observe: F,
) -> impl Stream<Item = ObjectKey> + use<K, S, F>
where
    K: Indexed,
    S: Stream<Item = Event<K>>,
    F: FnMut(&Event<K>),
{
    // Of a list that is not complete, which the cache does not have yet.
    let mut listed = Vec::new();
    events.flat_map(move |event| {
        let changed = changed(&writer, &event);
        writer.apply(&event);
        observe(&event);
        let changed = match event {
            Event::Init => {
                listed = Vec::new();
                Vec::new()
            }
            Event::InitApply(_) => {
                listed.extend(changed);
                Vec::new()
            }
            Event::InitDone => std::mem::take(&mut listed),
            Event::Apply(_) | Event::Delete(_) => changed.into_iter().collect(),
        };
        stream::iter(changed)
    })
}

/// The object of an event, if it has another spec, annotations or finalizers than the cache knows.
fn changed<K: Indexed>(writer: &CacheWriter<K>, event: &Event<K>) -> Option<ObjectKey> {
    let (Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) = event else {
        return None;
    };
    let key = ObjectKey::of(object);
    let known = writer.known(&key);
    let is_same = known.is_some_and(|known| {
        let (known, now) = (known.meta(), object.meta());
        (&known.uid, known.generation, &known.annotations, &known.finalizers)
            == (&now.uid, now.generation, &now.annotations, &now.finalizers)
    });
    (!is_same).then_some(key)
}

/// How many objects are reconciled at once, and how their reconciles are debounced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    /// So many are reconciled at once.
    pub(crate) concurrency: u16,
    /// An object is reconciled so much later than it is asked for, to be reconciled once for all
    /// that is asked for meanwhile.
    pub(crate) debounce: Duration,
}

/// Reconciles from when the caches are `filled`, until `stop` ends and what is running has ended.
pub(crate) async fn run<R: Reconciler>(
    reconciler: Arc<R>,
    config: Config,
    filled: impl Future<Output = ()> + Send,
    objects: impl Stream<Item = ObjectKey> + Send,
    requests: impl Stream<Item = Request> + Send,
    stop: impl Future<Output = ()> + Send,
) {
    let mut queue = WorkQueue::new(config.debounce);
    let mut running = FuturesUnordered::new();
    let mut is_filled = false;
    let (objects, requests) = (objects.fuse(), requests.fuse());
    tokio::pin!(filled, objects, requests, stop);
    loop {
        while is_filled
            && running.len() < usize::from(config.concurrency)
            && let Some(key) = queue.next(Instant::now())
        {
            let reconciler = reconciler.clone();
            // Boxed: what waits for a connection may hold on to the task of one that has ended.
            running.push(Box::pin(async move {
                let next = guarded(&*reconciler, &key).await;
                (key, next)
            }));
        }
        // At the limit, one has to end first.
        let has_room = is_filled && running.len() < usize::from(config.concurrency);
        let due = queue.next_due().filter(|_| has_room);
        tokio::select! {
            () = &mut stop => break,
            () = &mut filled, if !is_filled => is_filled = true,
            Some((key, next)) = running.next() => {
                queue.ended(&key);
                if let Some(after) = next {
                    queue.schedule((*key).clone(), Instant::now(), after);
                }
            }
            Some(key) = objects.next() => queue.schedule(key, Instant::now(), Duration::ZERO),
            Some(request) = requests.next() => {
                for key in reconciler.requested(request) {
                    queue.schedule(key, Instant::now(), Duration::ZERO);
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
    while running.next().await.is_some() {}
}

/// One reconcile, whatever happens in it: after which time the next is due, if any.
async fn guarded<R: Reconciler>(reconciler: &R, key: &ObjectKey) -> Option<Duration> {
    let object = match reconciler.begin(reconciler.cached(key)?) {
        Ok(object) => object,
        Err(left) => return Some(left),
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
    reconciler.ended(&object, next)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::k8s::caches::{Caches, Endpoint};

    /// What is reconciled for these events; each time, the cache has the last of what it says.
    fn reconciled(events: Vec<Event<Endpoint>>) -> Vec<String> {
        let (caches, writers) = Caches::new();
        let changes = changes(stream::iter(events), writers.endpoints, |_| {});
        let said = changes.map(|key| match caches.endpoint(&key.namespace, &key.name) {
            Some(object) => format!("{}:{:?}", key.name, object.metadata.generation.unwrap_or_default()),
            None => key.name,
        });
        said.collect::<Vec<_>>().now_or_never().expect("nothing is waited for")
    }

    fn object(name: &str, generation: i64, more: Value) -> Endpoint {
        let mut object = json!({
            "metadata": {"namespace": "blue", "name": name, "uid": "u", "generation": generation},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            object["metadata"][key] = value.clone();
        }
        serde_json::from_value(object).expect("watched objects always parse")
    }

    #[test]
    fn an_object_is_reconciled_for_another_spec_annotations_finalizers_or_uid_and_not_for_its_status() {
        let plain = |generation| Event::Apply(object("a", generation, json!({"resourceVersion": "7"})));
        let with = |more| Event::Apply(object("a", 2, more));
        let events = vec![
            plain(1),
            plain(1),
            plain(2),
            with(json!({"resourceVersion": "8"})),
            with(json!({"annotations": {vpce_core::api::RECONCILE_AT: "now"}})),
            with(json!({"finalizers": [vpce_core::api::ENDPOINT_FINALIZER]})),
            with(json!({"uid": "v"})),
            Event::Delete(object("a", 2, json!({"uid": "v"}))),
            plain(2),
        ];
        assert_eq!(reconciled(events), ["a:1", "a:2", "a:2", "a:2", "a:2", "a:2"]);
    }

    #[test]
    fn what_a_list_has_is_reconciled_once_the_list_is_complete() {
        let listed = |name: &str, generation| Event::InitApply(object(name, generation, json!({})));
        let events = vec![
            Event::Init,
            listed("a", 1),
            listed("b", 1),
            Event::InitDone,
            Event::Init,
            listed("b", 2),
            // It was cut off, and begins once more.
            Event::Init,
            listed("a", 1),
            listed("b", 3),
            listed("c", 1),
            Event::InitDone,
        ];
        assert_eq!(reconciled(events), ["a:1", "b:1", "b:3", "c:1"]);
    }
}
