//! What sessions cost: a thousand endpoints in fifty AWS accounts, over two lifetimes of the
//! shortest session that STS gives.
//!
//! Simulated time runs twenty times as fast as ours. The operator's intervals do, too; when a
//! session expires it learns in our time, so that its renewals need no setting. Nobody is
//! throttled, in AWS or by the operator: making endpoints is not what is measured.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::bed::{Bed, MEBIBYTE, Registered, assumed, most_within, role};
use super::objects::{ENDPOINT, count_ready};
use super::report::Report;
use crate::aws::{Call, Config, RoleSpec};

const TIME_SCALE: f64 = 20.0;
const ACCOUNTS: usize = 50;
const ENDPOINTS_EACH: usize = 20;
/// The shortest that STS gives.
const LIFETIME_SECONDS: f64 = 900.0;
const LIFETIMES: f64 = 2.0;
const DONE_WITHIN: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn run(binary: &Path) -> Result<Report> {
    let config = Config {
        time_scale: TIME_SCALE,
        pending_seconds: 60.0,
        throttle: false,
        ..Config::default()
    };
    let bed = Bed::start(binary, config, settings())?;
    let lifetime = json!({"session_duration_seconds": LIFETIME_SECONDS as u32});
    let Registered { accounts, .. } = bed.populate(ACCOUNTS, ENDPOINTS_EACH, &RoleSpec::default(), &lifetime)?;
    let all = ACCOUNTS * ENDPOINTS_EACH;
    println!("waiting until {all} endpoints in {ACCOUNTS} accounts are Ready");
    bed.wait("every endpoint is Ready", DONE_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ENDPOINT)?) == all)
    })?;
    println!("waiting for two lifetimes of all sessions to end");
    let starts = accounts.iter().map(|account| {
        let calls = bed.aws.calls();
        assumed(&calls, &role(account))
            .first()
            .copied()
            .unwrap_or(f64::INFINITY)
    });
    let last = starts.fold(0.0, f64::max);
    let until = last + LIFETIMES * LIFETIME_SECONDS;
    bed.wait("two lifetimes are over", DONE_WITHIN, PAUSE, || {
        Ok(bed.aws.now() >= until)
    })?;

    let calls = bed.aws.calls();
    let lives: Vec<Life> = accounts.iter().map(|account| Life::of(&calls, account)).collect();
    let most = |count: fn(&Life) -> usize| lives.iter().map(count).max().unwrap_or(0) as f64;
    let sum = |count: fn(&Life) -> usize| lives.iter().map(count).sum::<usize>() as f64;
    let ready = count_ready(&bed.objects.all(ENDPOINT)?);
    let refused = calls.iter().filter(|call| !call.ok()).count();
    let mut report = Report::default();
    report.most(
        "AssumeRole in any lifetime, most of an account",
        most(|life| life.densest),
        2.0,
        "calls",
    );
    report.most(
        "AssumeRole in two lifetimes, most of an account",
        most(|life| life.assumed),
        4.0,
        "calls",
    );
    report.told(
        "AssumeRole in two lifetimes, all accounts",
        sum(|life| life.assumed),
        "calls",
    );
    report.most(
        "GetCallerIdentity in two lifetimes, most of an account",
        most(|life| life.identified),
        4.0,
        "calls",
    );
    report.told(
        "GetCallerIdentity in two lifetimes, all accounts",
        sum(|life| life.identified),
        "calls",
    );
    report.most("calls that AWS refused, of any kind", refused as f64, 0.0, "calls");
    report.most("endpoints that are not Ready at the end", (all - ready) as f64, 0.0, "");
    report.told("resident memory", bed.operator.rss_bytes()? as f64 / MEBIBYTE, "MiB");
    bed.operator.terminate()?;
    Ok(report)
}

/// The calls to STS for one account, in two lifetimes from its first.
struct Life {
    assumed: usize,
    /// Of these, the most within any one lifetime.
    densest: usize,
    identified: usize,
}

impl Life {
    fn of(calls: &[Call], account: &str) -> Self {
        let role = role(account);
        let mut times = assumed(calls, &role);
        let begin = times.first().copied().unwrap_or(0.0);
        let end = begin + LIFETIMES * LIFETIME_SECONDS;
        times.retain(|time| *time < end);
        let identified = calls
            .iter()
            .filter(|call| call.action == "GetCallerIdentity" && call.role == role && call.time < end);
        Self {
            assumed: times.len(),
            densest: most_within(&times, LIFETIME_SECONDS),
            identified: identified.count(),
        }
    }
}

/// The operator's intervals twenty times as short as its defaults, and no limits to speak of.
fn settings() -> Vec<(String, String)> {
    let seconds = |default: f64| (default / TIME_SCALE).to_string();
    [
        ("VPCE_AWS_LIMITS", "*=1000/1000".to_owned()),
        ("VPCE_RESYNC_INTERVAL_SECONDS", seconds(300.0)),
        ("VPCE_POLL_INTERVAL_SECONDS", seconds(5.0)),
        ("VPCE_SETTLE_SECONDS", seconds(10.0)),
        ("VPCE_ACCOUNT_PROBE_INTERVAL_SECONDS", seconds(3600.0)),
        ("VPCE_REFUSED_RETRY_SECONDS", seconds(30.0)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
