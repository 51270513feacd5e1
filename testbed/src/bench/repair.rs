//! How long an account takes to be in use once its role lets the operator in, with all of the
//! operator's settings as they come.
//!
//! A refused role is tried again after half a minute, then every minute. So the roles are repaired
//! just after the last of them was refused for the third time, when the wait is longest.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::bed::{Bed, Registered, assumed, distrustful, most_within, role};
use super::objects::{ACCOUNT, ENDPOINT, count_ready, ready};
use super::report::Report;
use crate::aws::{Config, RoleSpec};

const ACCOUNTS: usize = 10;
/// As many as CreateVpcEndpoint lets pass at once.
const ENDPOINTS_EACH: usize = 4;
const REFUSALS: usize = 3;
/// How long AWS takes to make an endpoint available.
const PENDING_SECONDS: f64 = 2.0;
/// The operator's own default.
const POLL_SECONDS: f64 = 5.0;
const BOUND_SECONDS: f64 = 60.0;
const REFUSED_WITHIN: Duration = Duration::from_secs(200);
const DONE_WITHIN: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(binary: &Path) -> Result<Report> {
    let config = Config {
        pending_seconds: PENDING_SECONDS,
        ..Config::default()
    };
    let bed = Bed::start(binary, config, Vec::new())?;
    let Registered { accounts, teams, .. } = bed.populate(ACCOUNTS, ENDPOINTS_EACH, &distrustful(), &json!({}))?;
    println!("waiting until each of {ACCOUNTS} roles was refused {REFUSALS} times");
    bed.wait("all roles were refused so often", REFUSED_WITHIN, PAUSE, || {
        let calls = bed.aws.calls();
        Ok(accounts
            .iter()
            .all(|account| assumed(&calls, &role(account)).len() >= REFUSALS))
    })?;
    let refused = bed.aws.calls();
    for account in &accounts {
        bed.aws.set_role(&role(account), RoleSpec::default())?;
    }
    let repaired = bed.aws.now();
    println!("repaired; waiting until all endpoints are Ready");
    let mut ready_after = vec![None; ACCOUNTS];
    bed.wait("all endpoints are Ready", DONE_WITHIN, PAUSE, || {
        let all = bed.objects.all(ACCOUNT)?;
        for account in all
            .iter()
            .filter(|account| ready(account).is_some_and(|(ready, _)| ready))
        {
            let at = teams
                .iter()
                .position(|team| account["metadata"]["name"] == team.as_str());
            let at = at.context("an AWSAccount that nobody created")?;
            ready_after[at].get_or_insert(bed.aws.now() - repaired);
        }
        Ok(ready_after.iter().all(Option::is_some)
            && count_ready(&bed.objects.all(ENDPOINT)?) == ACCOUNTS * ENDPOINTS_EACH)
    })?;
    let endpoints_ready = bed.aws.now() - repaired;
    let ready_after: Vec<f64> = ready_after.into_iter().flatten().collect();
    let calls = bed.aws.calls();
    let created: Vec<f64> = calls
        .iter()
        .filter(|call| call.ok() && call.action == "CreateVpcEndpoint")
        .map(|call| call.time - repaired)
        .collect();
    let tries = accounts
        .iter()
        .map(|account| most_within(&assumed(&refused, &role(account)), 60.0));

    let mut report = Report::default();
    report.told("AWSAccount Ready after the repair, mean", mean(&ready_after), "s");
    report.most(
        "AWSAccount Ready after the repair, most",
        most(&ready_after),
        BOUND_SECONDS,
        "s",
    );
    report.most(
        "CreateVpcEndpoint after the repair, most",
        most(&created),
        BOUND_SECONDS,
        "s",
    );
    report.most(
        "endpoints Ready after the repair, most: AWS takes 2 s of it, a poll 5 s",
        endpoints_ready,
        BOUND_SECONDS + PENDING_SECONDS + POLL_SECONDS,
        "s",
    );
    report.most(
        "AssumeRole of a refused role within a minute, most",
        tries.max().unwrap_or(0) as f64,
        4.0,
        "calls",
    );
    bed.operator.terminate()?;
    Ok(report)
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len() as f64
}

fn most(times: &[f64]) -> f64 {
    times.iter().fold(f64::MIN, |most, time| most.max(*time))
}
