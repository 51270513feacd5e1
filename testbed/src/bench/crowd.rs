//! Whether a tenant is kept waiting by others: one whose role is refused and who has 5,000 objects,
//! and one with 1,000 creates in the line of the same AWS account and region. Time runs as ours
//! does, and all of the operator's settings are as they come.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::json;

use super::bed::{Bed, MEBIBYTE, Network, REGION, assumed, distrustful, is_release, most_within, role, service};
use super::metrics::Scrape;
use super::objects::{ACCOUNT, count_ready};
use super::report::Report;
use crate::aws::{Call, Config, RoleSpec, ServiceSpec};

/// The account that two tenants share.
const SHARED: &str = "111111111111";
/// An account of one tenant's own.
const APART: &str = "333333333333";
/// The account of the tenant whose role is refused.
const REFUSED: &str = "222222222222";
const REFUSED_OBJECTS: usize = 5000;
const WAITING_OBJECTS: usize = 1000;
/// So many VPCs that the quota of 50 endpoints in each is not reached.
const VPCS: usize = 25;
/// How often the third tenant applies an endpoint.
const SAMPLES: usize = 5;
/// What AWS says every so often is what is looked at for so long.
const AT_REST: Duration = Duration::from_secs(90);
const DONE_WITHIN: Duration = Duration::from_secs(300);
const CREATE: &str = "CreateVpcEndpoint";

pub(super) fn run(binary: &Path) -> Result<Report> {
    let bed = Bed::start(binary, Config::default(), Vec::new())?;
    let (networks, alone) = seed(&bed)?;
    let rss_before = bed.operator.rss_bytes()?;

    println!("applying {REFUSED_OBJECTS} and {WAITING_OBJECTS} objects, and then at once those of two others");
    let begun = Instant::now();
    bed.objects.create_endpoints(crowd(&networks))?;
    let applied = begun.elapsed().as_secs_f64();
    let apart = Follow::apply(&bed, APART, "apart", "endpoint", &alone)?;
    let early = Follow::apply(&bed, SHARED, "early", "endpoint", &networks[0])?;
    let (apart, early) = thread::scope(|scope| {
        let apart = scope.spawn(|| apart.until_created());
        let early = early.until_created();
        (apart.join(), early)
    });
    bed.wait("all of them wait", DONE_WITHIN, Duration::from_secs(3), || {
        all_wait(&bed)
    })?;
    let settled = begun.elapsed().as_secs_f64();

    println!("they all wait; looking on for {AT_REST:?}");
    let (before, mark) = (Scrape::of(&bed.operator)?, Instant::now());
    thread::sleep(AT_REST);
    let after = Scrape::of(&bed.operator)?;
    let a_second = |name: &str| (after.sum(name, &[]) - before.sum(name, &[])) / mark.elapsed().as_secs_f64();
    let rest = Rest {
        reconciles: a_second("vpce_reconciles_total"),
        cpu: a_second("process_cpu_seconds_total"),
        rss_before,
        rss: bed.operator.rss_bytes()?,
    };

    println!("a third tenant applies an endpoint, {SAMPLES} times");
    let mut samples = Vec::new();
    for (number, network) in networks.iter().enumerate().take(SAMPLES) {
        // Just after a reservation of the others', so that the whole interval to the next is ahead.
        let so_far = turns(&bed, SHARED).len();
        bed.wait("others have a turn", DONE_WITHIN, Duration::from_millis(20), || {
            Ok(turns(&bed, SHARED).len() > so_far)
        })?;
        let one = Follow::apply(&bed, SHARED, "third", &format!("endpoint-{number}"), network)?;
        samples.push(one.until_created()?);
    }

    let mut report = Report::default();
    report.told("6,000 objects: applied within", applied, "s");
    report.told("6,000 objects: all refused, made or in line within", settled, "s");
    tell_third(&mut report, &samples);
    tell_with_crowd(&mut report, "in line with it", &early?);
    let apart = apart.map_err(|_| anyhow!("following an endpoint panicked"))??;
    tell_with_crowd(&mut report, "in an account apart", &apart);
    rest.tell(&mut report);
    tell_calls(&mut report, &bed.aws.calls());
    bed.operator.terminate()?;
    Ok(report)
}

/// Roles, networks, namespaces and AWSAccounts; gives the shared account's networks, and that of
/// the account apart.
fn seed(bed: &Bed) -> Result<(Vec<Network>, Network)> {
    bed.aws.add_service(REGION, &service(), ServiceSpec::default());
    bed.aws.add_role(&role(SHARED), RoleSpec::default())?;
    bed.aws.add_role(&role(APART), RoleSpec::default())?;
    bed.aws.add_role(&role(REFUSED), distrustful())?;
    let networks = (1..=VPCS).map(|number| bed.add_network(SHARED, number));
    let networks: Vec<Network> = networks.collect::<Result<_>>()?;
    let alone = bed.add_network(APART, VPCS + 1)?;
    bed.objects
        .create_namespaces(&["refused", "waiting", "early", "third", "apart"])?;
    let account = |name: &str, id: &str, namespaces: &[&str]| {
        (name.to_owned(), json!({"role_arn": role(id), "namespaces": namespaces}))
    };
    bed.objects.create_accounts([
        account("shared", SHARED, &["waiting", "early", "third"]),
        account("apart", APART, &["apart"]),
        account("refused", REFUSED, &["refused"]),
    ])?;
    let verified = || {
        let accounts = bed.objects.all(ACCOUNT)?;
        Ok(count_ready(&accounts) == 2)
    };
    bed.wait(
        "two AWSAccounts are Ready",
        DONE_WITHIN,
        Duration::from_secs(1),
        verified,
    )?;
    Ok((networks, alone))
}

/// Of a tenant that comes when all others wait.
fn tell_third(report: &mut Report, samples: &[Sample]) {
    let most = |figure: fn(&Sample) -> f64| samples.iter().map(figure).fold(f64::MIN, f64::max);
    let mean = |figure: fn(&Sample) -> f64| samples.iter().map(figure).sum::<f64>() / samples.len() as f64;
    let turns = most(|sample| sample.turns);
    report.most("third tenant: turns before its own, most", turns, 1.0, "turns");
    let before = mean(|sample| sample.reconciles_to_bound);
    report.told("third tenant: reconciles before its own, mean", before, "");
    let before = most(|sample| sample.reconciles_to_bound);
    report.told("third tenant: reconciles before its own, most", before, "");
    let before = mean(|sample| sample.reconciles);
    report.told("third tenant: reconciles before its create, mean", before, "");
    let bound = most(|sample| sample.bound);
    report.told("third tenant: bound after, most", bound, "s");
    let created = mean(|sample| sample.created);
    report.told("third tenant: CreateVpcEndpoint after, mean", created, "s");
    let created = most(|sample| sample.created);
    report.told("third tenant: CreateVpcEndpoint after, most", created, "s");
}

/// Of a tenant that applies its endpoint right behind 6,000 objects.
fn tell_with_crowd(report: &mut Report, whose: &str, sample: &Sample) {
    let what = |figure: &str| format!("right behind the crowd, {whose}: {figure}");
    report.most(&what("turns first"), sample.turns, 1.0, "turns");
    report.told(&what("reconciles first"), sample.reconciles_to_bound, "");
    report.told(&what("bound after"), sample.bound, "s");
    report.told(&what("create after"), sample.created, "s");
}

/// The operator while all wait.
struct Rest {
    /// A second.
    reconciles: f64,
    /// Of one core.
    cpu: f64,
    rss_before: u64,
    rss: u64,
}

impl Rest {
    fn tell(&self, report: &mut Report) {
        report.told("while all wait: reconciles a second", self.reconciles, "");
        report.told("while all wait: CPU of one core", 100.0 * self.cpu, "%");
        report.told("resident memory before", self.rss_before as f64 / MEBIBYTE, "MiB");
        let build = if is_release() { "" } else { ", debug build" };
        report.told(
            &format!("resident memory with 6,000 objects{build}"),
            self.rss as f64 / MEBIBYTE,
            "MiB",
        );
    }
}

fn tell_calls(report: &mut Report, calls: &[Call]) {
    let tries = assumed(calls, &role(REFUSED));
    report.most(
        "AssumeRole of the refused role within a minute, most",
        most_within(&tries, 60.0) as f64,
        4.0,
        "calls",
    );
    report.told("AssumeRole of the refused role, all", tries.len() as f64, "calls");
    let shared = assumed(calls, &role(SHARED)).len();
    report.told("AssumeRole of the shared role, all", shared as f64, "calls");
    let throttled = calls.iter().filter(|call| call.result == "RequestLimitExceeded");
    report.most(
        "calls that AWS refused for their rate",
        throttled.count() as f64,
        0.0,
        "calls",
    );
}

/// The objects of the first two tenants, one beside the other.
fn crowd(networks: &[Network]) -> Vec<(String, String, serde_json::Value)> {
    let each = REFUSED_OBJECTS / WAITING_OBJECTS;
    let of_number = |number: usize| {
        let spec = move || networks[number % networks.len()].spec();
        let refused =
            (0..each).map(move |at| ("refused".to_owned(), format!("endpoint-{}", number * each + at), spec()));
        refused.chain([("waiting".to_owned(), format!("endpoint-{number}"), spec())])
    };
    (0..WAITING_OBJECTS).flat_map(of_number).collect()
}

/// Whether all refused endpoints say so, and all others are created or queued.
fn all_wait(bed: &Bed) -> Result<bool> {
    let scrape = Scrape::of(&bed.operator)?;
    let in_line = scrape.sum(
        "vpce_aws_rate_limiter_queue_length",
        &[("account_id", SHARED), ("action", CREATE)],
    );
    if in_line + (bed.aws.endpoints(SHARED, REGION).len() as f64) < WAITING_OBJECTS as f64 {
        return Ok(false);
    }
    let labels = [
        ("namespace", "refused"),
        ("condition", "Ready"),
        ("reason", "AccountNotReady"),
        ("status", "False"),
    ];
    let told = scrape.sum("vpce_endpoint_status_condition", &labels);
    Ok(told >= REFUSED_OBJECTS as f64)
}

fn reconciles(scrape: &Scrape) -> f64 {
    scrape.sum("vpce_reconciles_total", &[("controller", "vpcendpoint")])
}

/// An endpoint that is followed from being applied to its create.
struct Follow<'a> {
    bed: &'a Bed,
    account: &'a str,
    namespace: &'a str,
    name: String,
    /// When it was applied, in simulated time, which runs as ours.
    applied: f64,
    /// All reconciles until then.
    reconciles: f64,
}

/// What came between applying one endpoint and its create.
#[derive(Default)]
struct Sample {
    /// Seconds until it was bound, so that its first reconcile was at work.
    bound: f64,
    /// Seconds until its CreateVpcEndpoint.
    created: f64,
    /// CreateVpcEndpoint calls for others in its account meanwhile.
    turns: f64,
    /// Reconciles, of all objects, until it was bound: a little more than those that came before
    /// its own.
    reconciles_to_bound: f64,
    /// Reconciles until its create.
    reconciles: f64,
}

impl<'a> Follow<'a> {
    fn apply(bed: &'a Bed, account: &'a str, namespace: &'a str, name: &str, network: &Network) -> Result<Self> {
        let reconciles = reconciles(&Scrape::of(&bed.operator)?);
        let applied = bed.aws.now();
        bed.objects
            .create_endpoints([(namespace.to_owned(), name.to_owned(), network.spec())])?;
        Ok(Self {
            bed,
            account,
            namespace,
            name: name.to_owned(),
            applied,
            reconciles,
        })
    }

    fn until_created(self) -> Result<Sample> {
        let bed = self.bed;
        bed.wait("it is bound", DONE_WITHIN, Duration::from_millis(5), || {
            Ok(bed.objects.endpoint(self.namespace, &self.name)?["status"]["account"].is_object())
        })?;
        let bound = bed.aws.now() - self.applied;
        let reconciles_to_bound = reconciles(&Scrape::of(&bed.operator)?) - self.reconciles;
        let tag = format!("{}-{}", self.name, self.namespace);
        let own = |call: &&Call| call.params.values().any(|value| *value == tag);
        let creates = || turns(bed, self.account);
        bed.wait("it is created", DONE_WITHIN, Duration::from_millis(20), || {
            Ok(creates().iter().any(|call| own(&call)))
        })?;
        let reconciles = reconciles(&Scrape::of(&bed.operator)?) - self.reconciles;
        let creates = creates();
        let created = creates.iter().find(own).map_or(f64::INFINITY, |call| call.time);
        let meanwhile = creates
            .iter()
            .filter(|call| (self.applied..created).contains(&call.time));
        Ok(Sample {
            bound,
            created: created - self.applied,
            turns: meanwhile.count() as f64,
            reconciles_to_bound,
            reconciles,
        })
    }
}

/// The tokens that an account has used.
fn turns(bed: &Bed, account: &str) -> Vec<Call> {
    let mut calls = bed.aws.calls();
    calls.retain(|call| call.action == CREATE && call.account == account);
    calls
}
