//! The counters, gauges and histograms that the parts of the operator write to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use kube::runtime::reflector::Store;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use vpce_core::api::{AWSAccount, Watched};

use super::objects::{self, ObjectSeries, Sources};

/// Upper edges for one AWS call, in seconds. EC2 answers a describe in some 50 ms and a create in a second or two; beyond
/// ten seconds a call is about to run into its timeout.
const AWS_REQUEST_SECONDS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper edges for the wait for a token, in seconds. A call that finds a token does not wait; a hundred creates at 0.3 a
/// second take 320 s; an alert asks for ten minutes, so that is an edge.
const QUEUE_WAIT_SECONDS: &[f64] = &[0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];

/// Upper edges for one reconcile, in seconds: a millisecond where the caches answer, seconds where AWS is called.
const RECONCILE_SECONDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper edges for the way from applied to Ready, in seconds. AWS takes one to five minutes; half an hour is where an
/// alert asks; a day is where a provider has been waiting to accept for too long.
const TIME_TO_READY_SECONDS: &[f64] = &[
    5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 14400.0, 86400.0,
];

/// The kinds that the operator watches: their errors are counted from zero, since a counter that appears with its first
/// error hides that error from `increase()`.
const WATCHED_KINDS: &[&str] = &["VPCEndpoint", "AWSAccount", "Namespace", "Service"];

/// What is decided before the first metric is written.
#[derive(Debug, Clone)]
pub struct MetricsOptions {
    /// Whether every VPCEndpoint has series of its own.
    pub per_object: bool,
    /// The operator's version.
    pub version: &'static str,
    /// The revision of the sources that it was built from.
    pub revision: &'static str,
}

/// All metrics of the process. Clones are handles to the same ones.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    per_object: bool,
    accounts: OnceLock<Store<Watched<AWSAccount>>>,
    aws_requests: IntCounterVec,
    aws_request_duration: HistogramVec,
    aws_queue_wait: HistogramVec,
    reconciles: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconciles_in_flight: IntGaugeVec,
    queue_depth: IntGaugeVec,
    kubernetes_requests: IntCounterVec,
    watch_errors: IntCounterVec,
    time_to_ready: HistogramVec,
    leader: IntGauge,
}

impl Metrics {
    /// Makes the metrics, all at zero.
    pub fn new(options: MetricsOptions) -> Self {
        let registry = Registry::new();
        let inner = Inner {
            per_object: options.per_object,
            accounts: OnceLock::new(),
            aws_requests: counter(
                &registry,
                "vpce_aws_requests_total",
                "Calls to AWS. The result is ok or the class of the error.",
                &["account_id", "region", "service", "action", "result"],
            ),
            aws_request_duration: histogram(
                &registry,
                "vpce_aws_request_duration_seconds",
                "How long calls to AWS take.",
                &["service", "action"],
                AWS_REQUEST_SECONDS,
            ),
            aws_queue_wait: histogram(
                &registry,
                "vpce_aws_queue_wait_seconds",
                "How long calls wait in line for a token of their action's bucket.",
                &["action"],
                QUEUE_WAIT_SECONDS,
            ),
            reconciles: counter(
                &registry,
                "vpce_reconciles_total",
                "Reconciles, by how they ended.",
                &["controller", "account", "result"],
            ),
            reconcile_duration: histogram(
                &registry,
                "vpce_reconcile_duration_seconds",
                "How long reconciles take.",
                &["controller"],
                RECONCILE_SECONDS,
            ),
            reconciles_in_flight: gauge(
                &registry,
                "vpce_reconciles_in_flight",
                "Reconciles that are running.",
                &["controller"],
            ),
            queue_depth: gauge(
                &registry,
                "vpce_queue_depth",
                "Objects that wait for room among the reconciles of their AWS account.",
                &["controller"],
            ),
            kubernetes_requests: counter(
                &registry,
                "vpce_kubernetes_requests_total",
                "Requests to the Kubernetes API server. The code is the HTTP status, or error where no answer came.",
                &["verb", "resource", "code"],
            ),
            watch_errors: counter(
                &registry,
                "vpce_watch_errors_total",
                "Errors of the watches of the Kubernetes API server.",
                &["kind"],
            ),
            time_to_ready: histogram(
                &registry,
                "vpce_time_to_ready_seconds",
                "How long endpoints take from being applied to being Ready for the first time.",
                &["account", "type"],
                TIME_TO_READY_SECONDS,
            ),
            leader: registered(
                &registry,
                IntGauge::new("vpce_leader", "Whether this process is the one that acts."),
            ),
            registry,
        };
        for kind in WATCHED_KINDS {
            inner.watch_errors.with_label_values(&[kind]).inc_by(0);
        }
        let build_info = registered(
            &inner.registry,
            Gauge::with_opts(
                Opts::new("vpce_build_info", "The build that runs; always 1.")
                    .const_label("version", options.version)
                    .const_label("revision", options.revision),
            ),
        );
        build_info.set(1.0);
        inner
            .registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("the names of the process metrics are not ours");
        Self { inner: Arc::new(inner) }
    }

    /// Adds what is read from the caches at every scrape. Called once; the series appear while this process is the
    /// leader.
    pub fn attach(&self, sources: Sources) {
        self.inner
            .accounts
            .set(sources.accounts.clone())
            .unwrap_or_else(|_| panic!("the sources are attached once"));
        let series = ObjectSeries::new(sources, self.inner.per_object, self.inner.leader.clone());
        self.inner
            .registry
            .register(Box::new(series))
            .expect("the names are valid, and no other metric has them");
    }

    /// Counts a finished call to AWS. `service` is `ec2` or `sts`; `result` is `ok` or the class of the error.
    pub fn aws_request(&self, account_id: &str, region: &str, service: &str, action: &str, result: &str, seconds: f64) {
        self.inner
            .aws_requests
            .with_label_values(&[account_id, region, service, action, result])
            .inc();
        self.inner
            .aws_request_duration
            .with_label_values(&[service, action])
            .observe(seconds);
    }

    /// Notes how long a call waited for its token; zero where one was there.
    pub fn aws_queue_wait(&self, action: &str, seconds: f64) {
        self.inner.aws_queue_wait.with_label_values(&[action]).observe(seconds);
    }

    /// Counts a finished reconcile. `account` is the AWSAccount's name, or empty where none is known.
    pub fn reconcile(&self, controller: &'static str, account: &str, result: &str, seconds: f64) {
        self.inner
            .reconciles
            .with_label_values(&[controller, account, result])
            .inc();
        self.inner
            .reconcile_duration
            .with_label_values(&[controller])
            .observe(seconds);
    }

    /// Counts a reconcile as running until what it returns is dropped.
    pub fn in_flight(&self, controller: &'static str) -> InFlight {
        let gauge = self.inner.reconciles_in_flight.with_label_values(&[controller]);
        gauge.inc();
        InFlight { gauge }
    }

    /// Notes how many objects wait for a reconcile.
    pub fn queue_depth(&self, controller: &'static str, waiting: usize) {
        self.inner
            .queue_depth
            .with_label_values(&[controller])
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Counts a request to the API server. `code` is the HTTP status, or `error` where no answer came.
    pub fn kubernetes_request(&self, verb: &str, resource: &str, code: &str) {
        self.inner
            .kubernetes_requests
            .with_label_values(&[verb, resource, code])
            .inc();
    }

    /// Counts an error of the watch of a kind.
    pub fn watch_error(&self, kind: &str) {
        self.inner.watch_errors.with_label_values(&[kind]).inc();
    }

    /// Notes how long an endpoint took to become Ready for the first time. `type_` is its endpoint type.
    pub fn time_to_ready(&self, account: &str, type_: &str, seconds: f64) {
        self.inner
            .time_to_ready
            .with_label_values(&[account, type_])
            .observe(seconds);
    }

    /// Says whether this process is the one that acts, and so the one that exports the series of objects.
    pub fn leader(&self, leads: bool) {
        self.inner.leader.set(i64::from(leads));
    }

    /// Drops the series of an AWSAccount that is gone, and those of AWS accounts that no other AWSAccount leads to.
    pub fn forget_account(&self, name: &str) {
        let inner = &self.inner;
        drop_series(&inner.reconciles, "account", |account| account == name);
        drop_series(&inner.time_to_ready, "account", |account| account == name);
        if let Some(accounts) = inner.accounts.get() {
            let left: BTreeSet<String> = accounts
                .state()
                .iter()
                .filter(|account| account.metadata.name.as_deref() != Some(name))
                .filter_map(|account| objects::account_id(account))
                .collect();
            drop_series(&inner.aws_requests, "account_id", |id| !left.contains(id));
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.inner.registry.gather())
            .expect("every family has a name and samples, and a String takes any text")
    }
}

/// A reconcile that counts as running until this is dropped.
#[must_use = "the reconcile counts as running only while this is held"]
pub struct InFlight {
    gauge: IntGauge,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Drops the series whose label has a value that `gone` names.
fn drop_series<B: MetricVecBuilder>(series: &MetricVec<B>, label: &str, gone: impl Fn(&str) -> bool) {
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> = metric
                .get_label()
                .iter()
                .map(|pair| (pair.name(), pair.value()))
                .collect();
            if labels.get(label).is_some_and(|value| gone(value)) {
                // Someone else may have dropped it meanwhile; then it is gone as well.
                let _ = series.remove(&labels);
            }
        }
    }
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str, labels: &[&str], edges: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(edges.to_vec());
    registered(registry, HistogramVec::new(options, labels))
}

/// Puts a metric into the registry.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("names and labels of metrics are valid");
    registry
        .register(Box::new(metric.clone()))
        .expect("no other metric has this name");
    metric
}
