//! A scripted hour of an operator: mostly healthy, with one problem after another.
//! Dashboards are drawn from it, and what it costs is measured.
//!
//! Simulated time runs faster than ours, and the operator's limits and intervals with it.

mod estate;
mod script;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::bed::{Bed, MEBIBYTE, is_release, scaled_settings};
use super::metrics::Scrape;
use super::objects::{ENDPOINT, ready};
use super::report::Report;
use crate::api_proxy::ApiProxy;
use crate::aws::{Config, Simulator};
use crate::dashboards::Span;
use crate::operator::{Operator, project};
use crate::prometheus::{Prometheus, Settings};
use estate::Estate;

/// How often Prometheus scrapes.
const SCRAPE: Duration = Duration::from_secs(2);
/// How many times as fast as ours time runs by default: the hour then takes six
/// minutes.
const TIME_SCALE: f64 = 10.0;
/// So long the operator is looked at, in our time, when nothing happens.
const AT_REST: Duration = Duration::from_secs(60);
/// Of our time, for whatever is waited for: reached only where something is wrong.
const WITHIN: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(200);
const BOUND_MEBIBYTES: f64 = 64.0;

/// The stage of the hour: a control plane, a simulated AWS and the operator, with what six teams
/// have in as many AWS accounts.
pub struct Hour {
    // Dropped in this order: the operator ends while what it talks to is still there.
    bed: Bed,
    /// Between the operator and the API server.
    proxy: ApiProxy,
    estate: Estate,
    scale: f64,
}

impl Hour {
    /// Starts everything, with an AWS that is so many times as fast as the real one. Nothing is
    /// applied yet.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(binary: &Path, scale: f64) -> Result<Self> {
        let config = Config {
            time_scale: scale,
            pending_seconds: 90.0,
            modify_seconds: 45.0,
            deleting_seconds: 240.0,
            eni_release_seconds: 20.0,
            ..Config::default()
        };
        let mut bed = Bed::start(binary, config, settings(scale))?;
        let proxy = ApiProxy::start(&bed.plane)?;
        bed.operator.go_through(&proxy)?;
        bed.operator.terminate()?;
        bed.operator.start()?;
        let estate = Estate::build(&bed)?;
        Ok(Self {
            bed,
            proxy,
            estate,
            scale,
        })
    }

    /// The operator.
    pub fn operator(&self) -> &Operator {
        &self.bed.operator
    }

    /// The simulated AWS.
    pub fn aws(&self) -> &Simulator {
        &self.bed.aws
    }

    /// Waits for so much simulated time to pass.
    fn pass(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds / self.scale));
    }

    /// Waits until a VPCEndpoint is as it should be: Ready, or not Ready for this reason.
    fn until_reason(&self, namespace: &str, name: &str, reason: &str) -> Result<()> {
        self.until_reason_of(ENDPOINT, namespace, name, reason)
    }

    fn until_reason_of(&self, kind: &str, namespace: &str, name: &str, reason: &str) -> Result<()> {
        self.bed
            .wait(&format!("{kind} {namespace}/{name} is {reason}"), WITHIN, PAUSE, || {
                let object = self.bed.objects.namespaced(kind, namespace, name)?;
                Ok(ready(&object).is_some_and(|(_, found)| found == reason))
            })
    }

    /// Waits until all VPCEndpoints of a namespace are Ready.
    fn until_ready(&self, namespace: &str) -> Result<()> {
        self.bed
            .wait(&format!("all of {namespace} are Ready"), WITHIN, PAUSE, || {
                let all = self.of_namespace(namespace)?;
                Ok(all.iter().all(|object| ready(object).is_some_and(|(ready, _)| ready)))
            })
    }

    fn of_namespace(&self, namespace: &str) -> Result<Vec<Value>> {
        let mut all = self.bed.objects.all(ENDPOINT)?;
        all.retain(|object| object["metadata"]["namespace"] == namespace);
        Ok(all)
    }

    /// The id in AWS of a VPCEndpoint.
    fn endpoint_id(&self, namespace: &str, name: &str) -> Result<String> {
        let object = self.bed.objects.endpoint(namespace, name)?;
        let id = object["status"]["vpc_endpoint_id"].as_str();
        Ok(id
            .with_context(|| format!("{namespace}/{name} has no endpoint"))?
            .to_owned())
    }

    /// Waits until a series of the operator's metrics has at least this sum.
    fn until_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) -> Result<()> {
        self.bed
            .wait(&format!("{name} {labels:?} is {least}"), WITHIN, PAUSE, || {
                Ok(Scrape::of(&self.bed.operator)?.sum(name, labels) >= least)
            })
    }
}

/// The hour, as a Prometheus has seen it that scraped the operator from its start. What is there at
/// its end is still there.
pub struct Watched {
    /// What scraped.
    pub prometheus: Prometheus,
    /// From the operator's start to the end of the hour.
    pub span: Span,
    /// When the hour began.
    pub begun: SystemTime,
    /// Where it happened.
    pub hour: Hour,
}

impl Watched {
    /// Starts everything, and plays the hour so many times as fast as it would be.
    ///
    /// # Errors
    /// When something does not start, or happen as the script has it.
    pub fn play(binary: &Path, scale: f64) -> Result<Self> {
        let hour = Hour::start(binary, scale)?;
        let settings = Settings {
            interval: SCRAPE,
            rules: vec![project("prometheus/alerts.yaml")],
            token: Some(hour.operator().metrics_token().to_owned()),
            ..Settings::default()
        };
        let prometheus = Prometheus::start(&settings, &[hour.operator().metrics_address()?])?;
        let start = SystemTime::now();
        hour.settle()?;
        let begun = SystemTime::now();
        hour.play()?;
        // A scrape that takes too long, as on a busy machine, ends all series for the moment.
        hour.bed.wait("Prometheus has scraped", WITHIN, PAUSE, || {
            Ok(!prometheus.query("vpce_leader == 1")?.is_empty())
        })?;
        let (end, scrape) = (SystemTime::now(), SCRAPE);
        let span = Span { start, end, scrape };
        Ok(Self {
            prometheus,
            span,
            begun,
            hour,
        })
    }
}

/// The operator's limits and intervals, as much faster than its defaults as time is.
fn settings(scale: f64) -> Vec<(String, String)> {
    let seconds = |default: f64| (default / scale).to_string();
    let more = [
        ("VPCE_ACCOUNT_PROBE_INTERVAL_SECONDS", seconds(3600.0)),
        ("VPCE_REFUSED_RETRY_SECONDS", seconds(30.0)),
        // The hour has no failover in it: an API server that a busy machine keeps from answering is
        // none.
        ("VPCE_LEASE_DURATION_SECONDS", "120".to_owned()),
    ];
    let more = more.map(|(name, value)| (name.to_owned(), value));
    scaled_settings(scale).into_iter().chain(more).collect()
}

/// The scenario of the benchmark: what the operator costs at rest, and in the hour.
pub(super) fn run(binary: &Path) -> Result<Report> {
    let hour = Hour::start(binary, TIME_SCALE)?;
    hour.settle()?;
    println!("at rest; looking on for {AT_REST:?}");
    let rest = Cost::during(&hour, || {
        thread::sleep(AT_REST);
        Ok(())
    })?;
    let trouble = Cost::during(&hour, || hour.play())?;

    let mut report = Report::default();
    report.told("at rest: VPCEndpoints", hour.estate.settled() as f64, "");
    rest.tell(&mut report, "at rest");
    trouble.tell(&mut report, "in the hour");
    report.told("in the hour: VPCEndpoints, most", hour.estate.most() as f64, "");
    report.told("in the hour: our time", trouble.seconds, "s");
    report.told("in the hour: calls to AWS", hour.bed.aws.calls().len() as f64, "calls");
    if is_release() {
        let most = "in the hour: resident memory at its end, of a release build";
        report.most(most, trouble.bytes / MEBIBYTE, BOUND_MEBIBYTES, "MiB");
    }
    hour.bed.operator.terminate()?;
    Ok(report)
}

/// What the operator takes of its node.
struct Cost {
    seconds: f64,
    cpu_seconds: f64,
    bytes: f64,
    reconciles: f64,
}

impl Cost {
    fn during(hour: &Hour, act: impl FnOnce() -> Result<()>) -> Result<Self> {
        let operator = &hour.bed.operator;
        let reconciles = || anyhow::Ok(Scrape::of(operator)?.sum("vpce_reconciles_total", &[]));
        let (begun, cpu, before) = (Instant::now(), operator.cpu_seconds()?, reconciles()?);
        act()?;
        Ok(Self {
            seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: operator.cpu_seconds()? - cpu,
            bytes: operator.rss_bytes()? as f64,
            reconciles: reconciles()? - before,
        })
    }

    /// Per simulated time: an hour's work is the same however fast the hour goes by.
    fn tell(&self, report: &mut Report, when: &str) {
        let hours = self.seconds * TIME_SCALE / 3600.0;
        report.told(&format!("{when}: resident memory"), self.bytes / MEBIBYTE, "MiB");
        report.told(&format!("{when}: CPU in an hour"), self.cpu_seconds / hours, "s");
        report.told(&format!("{when}: reconciles in an hour"), self.reconciles / hours, "");
        let share = 100.0 * self.cpu_seconds / self.seconds;
        report.told(&format!("{when}: CPU of one core, at this speed"), share, "%");
    }
}
