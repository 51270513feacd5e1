//! What very many endpoints in very many AWS accounts cost, and whether the cost grows with the
//! work alone: while they are created, at rest, over a restart, and when one thing changes. In real
//! time; AWS's limits and the operator's are off, so that nothing but work takes time.
//!
//! `SCALE_ACCOUNTS` and `SCALE_ENDPOINTS` are how many AWSAccounts there are, and VPCEndpoints in
//! each; `SCALE_RESYNC_SECONDS` is the resync interval. With `SCALE_LIMITS=aws` EC2's documented
//! limits are on, and only creation is measured.

mod changes;
mod limited;
mod mass;
mod progress;

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use self::progress::{Log, Progress};
use super::bed::{Bed, MEBIBYTE, Network, Registered};
use super::metrics::Scrape;
use super::objects::{ENDPOINT, count_ready};
use super::report::Report;
use crate::aws::{Call, Config, Quotas, RoleSpec};

const PENDING_SECONDS: f64 = 5.0;
const DONE_WITHIN: Duration = Duration::from_secs(7200);
const PAUSE: Duration = Duration::from_secs(1);
/// What was changed last has settled by then, and its AWSAccount has counted it.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
const SCRAPES: usize = 5;
/// Scrapes within a second share one response.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(1100);
/// A day: nothing but what changes is reconciled.
const NO_RESYNC: &str = "86400";

/// How much there is.
#[derive(Clone, Copy)]
struct Size {
    accounts: usize,
    each: usize,
    resync: Duration,
}

impl Size {
    fn from_environment() -> Result<Self> {
        let size = Self {
            accounts: variable("SCALE_ACCOUNTS", 1000)?,
            each: variable("SCALE_ENDPOINTS", 10)?,
            resync: Duration::from_secs(variable("SCALE_RESYNC_SECONDS", 300)?),
        };
        ensure!(
            size.accounts >= 4 && size.each >= 2,
            "scale takes 4 accounts with 2 endpoints each, or more"
        );
        Ok(size)
    }

    fn all(self) -> usize {
        self.accounts * self.each
    }
}

fn variable<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str, default: T) -> Result<T> {
    let text = std::env::var(name).ok();
    text.map_or(Ok(default), |text| text.parse())
        .with_context(|| name.to_owned())
}

pub(super) fn run(binary: &Path) -> Result<Report> {
    let size = Size::from_environment()?;
    let mut report = Report::default();
    let measured = match std::env::var("SCALE_LIMITS").as_deref() {
        Ok("aws") => limited::measure(binary, size, &mut report),
        Err(_) => measure(binary, size, &mut report),
        Ok(other) => bail!("SCALE_LIMITS is aws, or not set: {other}"),
    };
    if measured.is_err() {
        // What was measured until then took long.
        report.print();
    }
    measured.map(|()| report)
}

fn measure(binary: &Path, size: Size, report: &mut Report) -> Result<()> {
    let config = Config {
        pending_seconds: PENDING_SECONDS,
        throttle: false,
        quotas: quotas(),
        ..Config::default()
    };
    let mut bed = Bed::start(
        binary,
        config,
        settings(size, &[("VPCE_AWS_LIMITS", "*=100000/100000")]),
    )?;
    let registered = create(&bed, size, report)?;
    rest(&bed, size, report)?;
    scrape(&bed, report)?;
    restart(&mut bed, size, report)?;
    changes::measure(&bed, size, &registered, report)?;
    mass::measure(&bed, size, &registered, report)?;
    bed.operator.terminate()?;
    Ok(())
}

/// An account may have as many as there are to be.
fn quotas() -> Quotas {
    Quotas {
        interface_endpoints: 100_000,
        groups: 100_000,
        ..Quotas::default()
    }
}

fn settings(size: Size, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let resync = size.resync.as_secs().to_string();
    let common = [
        ("VPCE_RESYNC_INTERVAL_SECONDS", resync.as_str()),
        ("VPCE_LOG_FORMAT", "json"),
        // The API server shares the machine, and may be late with all that it is asked.
        ("VPCE_LEASE_DURATION_SECONDS", "60"),
    ];
    let all = common.iter().chain(more);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// From nothing to all Ready.
fn create(bed: &Bed, size: Size, report: &mut Report) -> Result<Registered> {
    let all = size.all();
    println!("applying {all} endpoints in {} accounts", size.accounts);
    let mut progress = Progress::begin(&bed.operator)?;
    let registered = bed.register(size.accounts, &RoleSpec::default(), &json!({}))?;
    bed.objects
        .create_endpoints(registered.endpoints(size.each, Network::generated))?;
    report.told("applied within", progress.seconds(), "s");
    until_ready(bed, all, &mut progress)?;
    let calls = bed.aws.take_calls();
    print_calls(&calls);
    report.told("all Ready after", progress.seconds(), "s");
    report.most(
        "CPU from apply to all Ready",
        progress.cpu(),
        6.0 * all as f64 / 1000.0,
        "s",
    );
    report.most("... an endpoint", 1000.0 * progress.cpu() / all as f64, 6.0, "ms");
    for (fifth, from) in [("first", 0.0), ("third", 0.4), ("last", 0.8)] {
        let each = 1000.0 * progress.cpu_of(all, from, from + 0.2);
        report.told(
            &format!("... an endpoint, of the {fifth} fifth to be Ready"),
            each,
            "ms",
        );
    }
    let (dry_runs, others): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| call.is_dry_run());
    report.most("calls to AWS an endpoint", others.len() as f64 / all as f64, 5.0, "");
    let verified = dry_runs.len() as f64 / size.accounts as f64;
    report.told("dry runs that verify permissions, an account", verified, "");
    let refused = calls.iter().filter(|call| !call.ok() && !call.is_dry_run()).count();
    report.most("calls that AWS refused", refused as f64, 0.0, "");
    Ok(registered)
}

/// Waits until so many are Ready: first by the operator's log, since listing them takes time from
/// what is measured.
fn until_ready(bed: &Bed, all: usize, progress: &mut Progress) -> Result<()> {
    bed.wait("the log says that all are Ready", DONE_WITHIN, PAUSE, || {
        Ok(progress.look(&bed.operator)? >= all)
    })?;
    bed.wait("all are Ready", DONE_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ENDPOINT)?) == all)
    })
}

fn print_calls(calls: &[Call]) {
    let mut counts = std::collections::BTreeMap::<(&str, bool), usize>::new();
    for call in calls {
        *counts.entry((&call.action, call.is_dry_run())).or_default() += 1;
    }
    for ((action, is_dry_run), count) in counts {
        let dry_run = if is_dry_run { " (dry run)" } else { "" };
        println!("  {count:7} {action}{dry_run}");
    }
}

/// One resync interval in which nothing changes.
fn rest(bed: &Bed, size: Size, report: &mut Report) -> Result<()> {
    let resync = Duration::from_secs_f64(Scrape::of(&bed.operator)?.sum("vpce_resync_interval_seconds", &[]));
    // What was retained is counted a resync interval after the first read, and then once an hour.
    let settled = SETTLED_AFTER + resync.mul_f64(1.1);
    println!("at rest for {resync:?} after {settled:?}");
    std::thread::sleep(settled);
    let before = Scrape::of(&bed.operator)?;
    bed.aws.clear_calls();
    let (cpu, begun) = (bed.operator.cpu_seconds()?, Instant::now());
    std::thread::sleep(resync);
    let cpu = bed.operator.cpu_seconds()? - cpu;
    let seconds = begun.elapsed().as_secs_f64();
    let calls = bed.aws.take_calls();
    let (resident, _) = bed.operator.memory_bytes()?;
    let after = Scrape::of(&bed.operator)?;
    let reconciles = reconciles(&after, &[]) - reconciles(&before, &[]);
    report.told("at rest: resync interval", resync.as_secs_f64(), "s");
    report.most("at rest: CPU of one core", 100.0 * cpu / seconds, 1.0, "%");
    report.told("at rest: reconciles in the resync interval", reconciles, "");
    let each = 1000.0 * cpu / reconciles.max(1.0);
    report.told("at rest: CPU a reconcile", each, "ms");
    report.most("at rest: resident memory", resident as f64 / MEBIBYTE, 110.0, "MiB");
    let describes = calls.iter().filter(|call| call.action.starts_with("Describe")).count();
    // The intervals have jitter: some regions are read twice in one.
    let a_resync = describes as f64 / size.accounts as f64;
    report.most("at rest: describes an account and resync", a_resync, 2.1, "");
    let others = (calls.len() - describes) as f64 / size.accounts as f64;
    report.told("at rest: other calls to AWS an account and resync", others, "");
    let written = writes(&after) - writes(&before);
    report.most("at rest: writes to the API server", written, 0.0, "");
    Ok(())
}

fn scrape(bed: &Bed, report: &mut Report) -> Result<()> {
    let (mut bytes, mut seconds) = (0, 0.0);
    let cpu = bed.operator.cpu_seconds()?;
    for _ in 0..SCRAPES {
        std::thread::sleep(BETWEEN_SCRAPES);
        let begun = Instant::now();
        bytes = bed.operator.metrics()?.len();
        seconds += begun.elapsed().as_secs_f64();
    }
    let cpu = bed.operator.cpu_seconds()? - cpu;
    report.most("a scrape: size", bytes as f64 / 1e6, 3.0, "MB");
    report.told("a scrape: answered within, mean", seconds / SCRAPES as f64, "s");
    report.most("a scrape: CPU, mean", cpu / SCRAPES as f64, 0.1, "s");
    let (_, peak) = bed.operator.memory_bytes()?;
    report.told("resident memory, most until then", peak as f64 / MEBIBYTE, "MiB");
    Ok(())
}

/// Kills the operator and starts it over what is there. From then on there is no resync, so that
/// what is reconciled later is reconciled because of a change.
fn restart(bed: &mut Bed, size: Size, report: &mut Report) -> Result<()> {
    println!("killing the operator and starting it again");
    let mut log = Log::at_its_end(&bed.operator)?;
    bed.operator.kill()?;
    for interval in ["VPCE_RESYNC_INTERVAL_SECONDS", "VPCE_ACCOUNT_PROBE_INTERVAL_SECONDS"] {
        bed.operator.set_environment(interval, NO_RESYNC);
    }
    bed.aws.clear_calls();
    bed.operator.start()?;
    bed.wait("it leads", DONE_WITHIN, Duration::from_millis(20), || {
        Ok(log.lines()?.iter().any(|line| line["message"] == "leading"))
    })?;
    let leads = Instant::now();
    let done = progress::until_idle(bed)?;
    let cpu = bed.operator.cpu_seconds()?;
    let calls = bed.aws.take_calls();
    print_calls(&calls);
    let scrape = Scrape::of(&bed.operator)?;
    let all = reconciles(&scrape, &[("controller", "vpcendpoint")]);
    ensure!(
        all >= size.all() as f64,
        "only {all} reconciles after the restart, and nothing is left to do"
    );
    let looked_at = done.duration_since(leads).as_secs_f64();
    report.most("restart: all reconciled after (from leading)", looked_at, 15.0, "s");
    report.told("restart: reconciles", all, "");
    report.most("restart: CPU", cpu, 10.0, "s");
    let calls = calls.len() as f64 / size.accounts as f64;
    report.most("restart: calls to AWS an account", calls, 4.0, "");
    report.most("restart: writes to the API server", writes(&scrape), 0.0, "");
    let (resident, peak) = bed.operator.memory_bytes()?;
    report.told("restart: resident memory", resident as f64 / MEBIBYTE, "MiB");
    report.told("restart: resident memory, most", peak as f64 / MEBIBYTE, "MiB");
    Ok(())
}

fn reconciles(scrape: &Scrape, labels: &[(&str, &str)]) -> f64 {
    scrape.sum("vpce_reconciles_total", labels)
}

/// Writes to the API server since the operator's start, events included; the Lease is renewed
/// whatever else there is to do, and reviews of who scrapes store nothing.
fn writes(scrape: &Scrape) -> f64 {
    let sum = |verb: &str, resource: &str| {
        let resource = Some(("resource", resource)).filter(|(_, name)| !name.is_empty());
        let labels: Vec<_> = [("verb", verb)].into_iter().chain(resource).collect();
        scrape.sum("vpce_kubernetes_requests_total", &labels)
    };
    let not_counted = ["leases", "tokenreviews", "subjectaccessreviews"];
    let verbs = ["create", "update", "patch", "delete"].iter();
    verbs
        .map(|verb| sum(verb, "") - not_counted.iter().map(|resource| sum(verb, resource)).sum::<f64>())
        .sum()
}
