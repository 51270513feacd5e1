//! The counters, gauges and histograms that the parts of the operator write to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use vpce_core::api::{AWSAccount, Watched};
use vpce_core::error::Class;

use super::objects::{self, Sources};

/// Upper edges for one AWS call, in seconds. EC2 answers a describe in some 50 ms and a create in a
/// second or two; beyond ten seconds a call is about to run into its timeout.
const AWS_REQUEST_SECONDS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper edges for the wait for a token, in seconds. A call that finds a token does not wait; a
/// hundred creates at 0.3 a second take 320 s; an alert asks for ten minutes, so that is an edge.
const QUEUE_WAIT_SECONDS: &[f64] = &[0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];

/// Upper edges for one reconcile, in seconds: a millisecond where the caches answer, seconds where
/// AWS is called.
const RECONCILE_SECONDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper edges for the way from applied to Ready, in seconds. AWS takes one to five minutes; half
/// an hour is where an alert asks; a day is where a provider has been waiting to accept for too
/// long.
const TIME_TO_READY_SECONDS: &[f64] = &[
    5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 14400.0, 86400.0,
];

/// So many regions of one AWS account are told apart. AWS has fewer, but whoever may write
/// VPCEndpoints may name regions that do not exist.
pub(super) const MOST_REGIONS: usize = 64;

/// The region of calls in further ones.
pub(super) const OTHER_REGION: &str = "other";

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what could be done now, which may have been to say what is wrong.
    Ok,
    /// The object had changed meanwhile.
    Conflict,
    /// The API server refused, or failed.
    Error,
    /// It panicked.
    Panic,
    /// It took too long and was cut off.
    Timeout,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Ok, Self::Conflict, Self::Error, Self::Panic, Self::Timeout];

    /// As metrics label it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
        }
    }
}

/// What a metric is, for those who read of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// `gauge`, `counter`, `histogram`.
    pub(crate) type_: &'static str,
    /// What it tells.
    pub(crate) help: String,
    /// The names of its labels.
    pub(crate) labels: Vec<String>,
    /// A histogram's upper edges.
    pub(crate) buckets: &'static [f64],
}

impl Described {
    fn new(type_: MetricType, desc: &Desc, buckets: &'static [f64]) -> Self {
        let fixed = desc.const_label_pairs.iter().map(|pair| pair.name().to_owned());
        Self {
            name: desc.fq_name.clone(),
            type_: match type_ {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                MetricType::SUMMARY => "summary",
                MetricType::UNTYPED => "untyped",
            },
            help: desc.help.clone(),
            labels: fixed.chain(desc.variable_labels.iter().cloned()).collect(),
            buckets,
        }
    }
}

/// What is decided before the first metric is written.
#[derive(Debug, Clone)]
pub(crate) struct MetricsOptions {
    /// Whether every VPCEndpoint has series of its own.
    pub(crate) per_object: bool,
    /// The operator's version.
    pub(crate) version: &'static str,
    /// The revision of the sources that it was built from.
    pub(crate) revision: &'static str,
}

/// All metrics of the process. Clones are handles to the same ones.
#[derive(Clone)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    described: Vec<Described>,
    per_object: bool,
    /// The regions that calls were counted in, by AWS account.
    regions: Mutex<HashMap<String, BTreeSet<String>>>,
    sources: OnceLock<Sources>,
    aws_requests: IntCounterVec,
    aws_request_errors: IntCounterVec,
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
    #[expect(clippy::too_many_lines, reason = "a table: one entry for each metric")]
    pub(crate) fn new(options: MetricsOptions) -> Self {
        let mut known = Known::default();
        let mut inner = Inner {
            per_object: options.per_object,
            regions: Mutex::default(),
            sources: OnceLock::new(),
            aws_requests: known.counter(
                "vpce_aws_requests_total",
                "Total number of calls to AWS. vpce_aws_request_duration_seconds counts them by action.",
                &["account_id", "region", "service"],
            ),
            aws_request_errors: known.counter(
                "vpce_aws_request_errors_total",
                "Total number of calls to AWS that failed, by the class of the error.",
                &["account_id", "region", "service", "action", "class"],
            ),
            aws_request_duration: known.histogram(
                "vpce_aws_request_duration_seconds",
                "Duration of calls to AWS in seconds.",
                &["service", "action"],
                AWS_REQUEST_SECONDS,
            ),
            aws_queue_wait: known.histogram(
                "vpce_aws_rate_limiter_wait_seconds",
                "Time that calls wait in the rate limiter's queue in seconds.",
                &["action"],
                QUEUE_WAIT_SECONDS,
            ),
            reconciles: known.counter(
                "vpce_reconciles_total",
                "Total number of reconciles, by result.",
                &["controller", "account", "result"],
            ),
            reconcile_duration: known.histogram(
                "vpce_reconcile_duration_seconds",
                "Duration of reconciles in seconds.",
                &["controller"],
                RECONCILE_SECONDS,
            ),
            reconciles_in_flight: known.gauge(
                "vpce_reconciles_in_flight",
                "Number of running reconciles.",
                &["controller"],
            ),
            queue_depth: known.gauge(
                "vpce_queue_depth",
                "Number of objects that wait because their AWS account has reached its maximum concurrent reconciles.",
                &["controller"],
            ),
            kubernetes_requests: known.counter(
                "vpce_kubernetes_requests_total",
                "Total number of requests to the Kubernetes API server. The code is the HTTP status, or error where there was no response.",
                &["verb", "resource", "code"],
            ),
            watch_errors: known.counter(
                "vpce_watch_errors_total",
                "Total number of errors of watches of the Kubernetes API server.",
                &["kind"],
            ),
            time_to_ready: known.histogram(
                "vpce_time_to_ready_seconds",
                "Time from the creation of a VPCEndpoint until it is Ready for the first time in seconds.",
                &["type"],
                TIME_TO_READY_SECONDS,
            ),
            leader: known.put(
                MetricType::GAUGE,
                &[],
                IntGauge::new("vpce_leader", "Whether this process is the one that acts."),
            ),
            described: Vec::new(),
            registry: Registry::new(),
        };
        let build_info = known.put(
            MetricType::GAUGE,
            &[],
            Gauge::with_opts(
                Opts::new("vpce_build_info", "The build that runs; always 1.")
                    .const_label("version", options.version)
                    .const_label("revision", options.revision),
            ),
        );
        build_info.set(1.0);
        known.process();
        inner.registry = known.registry;
        inner.described = known.described;
        Self { inner: Arc::new(inner) }
    }

    /// Adds what is read from the caches at every scrape. Called once; the series appear while this
    /// process is the leader.
    pub(crate) fn attach(&self, sources: Sources) {
        self.inner
            .sources
            .set(sources)
            .unwrap_or_else(|_| panic!("the sources are attached once"));
    }

    /// What every metric is, those of objects included.
    pub(crate) fn described(&self) -> Vec<Described> {
        let mut all = self.inner.described.clone();
        all.extend(objects::described(self.inner.per_object));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Counts a finished call to AWS. `service` is `ec2` or `sts`; `error` is the class of the
    /// error with which it failed.
    pub(crate) fn aws_request(
        &self,
        account_id: &str,
        region: &str,
        service: &'static str,
        action: &'static str,
        error: Option<Class>,
        seconds: f64,
    ) {
        let region = self.bounded_region(account_id, region);
        self.inner
            .aws_requests
            .with_label_values(&[account_id, region, service])
            .inc();
        if let Some(class) = error {
            self.inner
                .aws_request_errors
                .with_label_values(&[account_id, region, service, action, class.as_str()])
                .inc();
        }
        self.inner
            .aws_request_duration
            .with_label_values(&[service, action])
            .observe(seconds);
    }

    /// Notes how long a call waited for its token; zero where one was there.
    pub(crate) fn aws_queue_wait(&self, action: &'static str, seconds: f64) {
        self.inner.aws_queue_wait.with_label_values(&[action]).observe(seconds);
    }

    /// Counts a finished reconcile. `account` is the AWSAccount's name, or empty where none is
    /// known.
    pub(crate) fn reconcile(&self, controller: &'static str, account: &str, outcome: Outcome, seconds: f64) {
        self.inner
            .reconciles
            .with_label_values(&[controller, account, outcome.as_str()])
            .inc();
        self.inner
            .reconcile_duration
            .with_label_values(&[controller])
            .observe(seconds);
    }

    /// Counts a reconcile as running until what it returns is dropped.
    pub(crate) fn in_flight(&self, controller: &'static str) -> InFlight {
        let gauge = self.inner.reconciles_in_flight.with_label_values(&[controller]);
        gauge.inc();
        InFlight { gauge }
    }

    /// Notes how many objects wait for a reconcile.
    pub(crate) fn queue_depth(&self, controller: &'static str, waiting: usize) {
        self.inner
            .queue_depth
            .with_label_values(&[controller])
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Counts a request to the API server. `code` is the HTTP status, or `error` where no answer
    /// came.
    pub(crate) fn kubernetes_request(&self, verb: &'static str, resource: &str, code: &str) {
        self.inner
            .kubernetes_requests
            .with_label_values(&[verb, resource, code])
            .inc();
    }

    /// Counts the errors of the watch of a kind from zero: a counter that appears with its first
    /// error hides that error from `increase()`.
    pub(crate) fn watch_started(&self, kind: &str) {
        self.inner.watch_errors.with_label_values(&[kind]).inc_by(0);
    }

    /// Counts an error of the watch of a kind.
    pub(crate) fn watch_error(&self, kind: &str) {
        self.inner.watch_errors.with_label_values(&[kind]).inc();
    }

    /// Notes how long an endpoint took to become Ready for the first time. `type_` is its endpoint
    /// type.
    pub(crate) fn time_to_ready(&self, type_: &'static str, seconds: f64) {
        self.inner.time_to_ready.with_label_values(&[type_]).observe(seconds);
    }

    /// Says whether this process is the one that acts, and so the one that exports the series of
    /// objects.
    pub(crate) fn leader(&self, leads: bool) {
        self.inner.leader.set(i64::from(leads));
    }

    /// Drops the series of AWSAccounts that are gone, and of AWS accounts that no AWSAccount leads
    /// to. A reconcile that ends after its AWSAccount is gone is counted all the same, so this is
    /// done at every scrape.
    fn sweep(&self, families: &mut Vec<MetricFamily>, accounts: &[Arc<Watched<AWSAccount>>]) {
        let inner = &self.inner;
        let names = objects::names(accounts);
        let ids: HashSet<String> = accounts
            .iter()
            .filter_map(|account| objects::account_id(account))
            .collect();
        let no_such_account = |name: &str| !name.is_empty() && !names.contains(name);
        let no_such_id = |id: &str| !ids.contains(id);
        drop_series(families, &inner.reconciles, "account", no_such_account);
        drop_series(families, &inner.aws_requests, "account_id", no_such_id);
        drop_series(families, &inner.aws_request_errors, "account_id", no_such_id);
        // The encoder refuses a family without samples.
        families.retain(|family| !family.get_metric().is_empty());
        let mut regions = inner.regions.lock();
        regions.retain(|id, _| ids.contains(id));
    }

    /// The region, or what stands for it where an AWS account has too many.
    fn bounded_region<'a>(&self, account_id: &str, region: &'a str) -> &'a str {
        let mut regions = self.inner.regions.lock();
        let known = regions.entry(account_id.to_owned()).or_default();
        if known.contains(region) {
            return region;
        }
        if known.len() >= MOST_REGIONS {
            return OTHER_REGION;
        }
        known.insert(region.to_owned());
        region
    }

    /// All metrics in Prometheus' text format. The series of objects are the leader's only: two
    /// processes that both export an object would count it twice.
    pub(crate) fn render(&self) -> String {
        let inner = &self.inner;
        let mut families = inner.registry.gather();
        let attached = inner.sources.get().map(|sources| (sources, (sources.accounts)()));
        if let Some((_, accounts)) = &attached {
            self.sweep(&mut families, accounts);
        }
        let mut text = TextEncoder::new()
            .encode_to_string(&families)
            .expect("every family has a name and samples, and a String takes any text");
        if let Some((sources, accounts)) = attached
            && inner.leader.get() == 1
        {
            objects::write(&mut text, sources, &accounts, inner.per_object);
        }
        text
    }
}

/// A reconcile that counts as running until this is dropped.
#[must_use = "the reconcile counts as running only while this is held"]
pub(crate) struct InFlight {
    gauge: IntGauge,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Drops the series whose label has a value that `gone` names, from what was gathered too.
fn drop_series<B: MetricVecBuilder>(
    families: &mut [MetricFamily],
    series: &MetricVec<B>,
    label: &str,
    gone: impl Fn(&str) -> bool,
) {
    let is_of = |family: &&mut MetricFamily| series.desc().iter().any(|desc| desc.fq_name == family.name());
    let Some(family) = families.iter_mut().find(is_of) else {
        return;
    };
    family.mut_metric().retain(|metric| {
        let mut pairs = metric.get_label().iter();
        if !pairs.any(|pair| pair.name() == label && gone(pair.value())) {
            return true;
        }
        let pairs = metric.get_label().iter();
        let labels: HashMap<&str, &str> = pairs.map(|pair| (pair.name(), pair.value())).collect();
        // Another scrape may have dropped it meanwhile; then it is gone as well.
        let _ = series.remove(&labels);
        false
    });
}

/// A registry that can tell what is in it: of a metric without samples Prometheus' own shows
/// nothing.
#[derive(Default)]
struct Known {
    registry: Registry,
    described: Vec<Described>,
}

impl Known {
    fn counter(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.put(
            MetricType::COUNTER,
            &[],
            IntCounterVec::new(Opts::new(name, help), labels),
        )
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.put(MetricType::GAUGE, &[], IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&mut self, name: &str, help: &str, labels: &[&str], edges: &'static [f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(edges.to_vec());
        self.put(MetricType::HISTOGRAM, edges, HistogramVec::new(options, labels))
    }

    fn put<C: Collector + Clone + 'static>(
        &mut self,
        type_: MetricType,
        buckets: &'static [f64],
        metric: prometheus::Result<C>,
    ) -> C {
        let metric = metric.expect("names and labels of metrics are valid");
        let descs = metric.desc().into_iter();
        self.described
            .extend(descs.map(|desc| Described::new(type_, desc, buckets)));
        self.registry
            .register(Box::new(metric.clone()))
            .expect("no other metric has this name");
        metric
    }

    /// What the client library tells of the process.
    fn process(&mut self) {
        let process = ProcessCollector::for_self();
        let families = process.collect();
        let types: HashMap<&str, MetricType> = families
            .iter()
            .map(|family| (family.name(), family.get_field_type()))
            .collect();
        // What this system does not tell has no type, and is not exported.
        let told = |desc: &&Desc| types.contains_key(desc.fq_name.as_str());
        let descs = process.desc();
        let described = descs
            .into_iter()
            .filter(told)
            .map(|desc| Described::new(types[desc.fq_name.as_str()], desc, &[]));
        self.described.extend(described);
        self.registry
            .register(Box::new(process))
            .expect("the names of the process metrics are not ours");
    }
}
