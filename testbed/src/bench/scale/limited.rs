//! With EC2's documented limits: each account is as far as its token buckets let it be, however
//! many others there are.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;

use super::progress::{self, Progress};
use super::{DONE_WITHIN, PAUSE, PENDING_SECONDS, Size, quotas, settings, until_ready};
use crate::aws::{Call, Config, RoleSpec};
use crate::bench::bed::{Bed, Network};
use crate::bench::objects::{ACCOUNT, count_ready};
use crate::bench::report::Report;

const CREATE: &str = "CreateVpcEndpoint";
const BURST: f64 = 4.0;
const REFILL: f64 = 0.3;

pub(super) fn measure(binary: &Path, size: Size, report: &mut Report) -> Result<()> {
    let config = Config {
        pending_seconds: PENDING_SECONDS,
        quotas: quotas(),
        ..Config::default()
    };
    let bed = Bed::start(binary, config, settings(size, &[]))?;
    println!("registering {} accounts", size.accounts);
    let registered = bed.register(size.accounts, &RoleSpec::default(), &json!({}))?;
    bed.wait("all AWSAccounts are Ready", DONE_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ACCOUNT)?) == size.accounts)
    })?;
    progress::until_idle(&bed)?;
    bed.aws.clear_calls();

    let all = size.all();
    println!("applying {all} endpoints");
    let mut progress = Progress::begin(&bed.operator)?;
    let begun = bed.aws.now();
    bed.objects
        .create_endpoints(registered.endpoints(size.each, Network::generated))?;
    report.told("applied within", bed.aws.now() - begun, "s");
    until_ready(&bed, all, &mut progress)?;
    let calls = bed.aws.take_calls();
    report.told("all Ready after", progress.seconds(), "s");
    report.told("CPU from apply to all Ready", progress.cpu(), "s");
    report.told("... an endpoint", 1000.0 * progress.cpu() / all as f64, "ms");
    tell_creates(&calls, &registered.accounts, size, report)?;
    let refused = calls.iter().filter(|call| !call.ok() && !call.is_dry_run()).count();
    report.most("calls that AWS refused", refused as f64, 0.0, "");
    report.told("calls to AWS an endpoint", calls.len() as f64 / all as f64, "");
    bed.operator.terminate()?;
    Ok(())
}

fn tell_creates(calls: &[Call], accounts: &[String], size: Size, report: &mut Report) -> Result<()> {
    let mut times = std::collections::BTreeMap::<&str, Vec<f64>>::new();
    for call in calls.iter().filter(|call| call.action == CREATE && call.ok()) {
        times.entry(&call.account).or_default().push(call.time);
    }
    let mut taken = Vec::new();
    for account in accounts {
        let of = times.get(account.as_str()).map_or(&[][..], Vec::as_slice);
        ensure!(of.len() == size.each, "{account} has {} endpoints", of.len());
        taken.push(of[of.len() - 1] - of[0]);
    }
    let allowed = (size.each as f64 - BURST).max(0.0) / REFILL;
    let mean = taken.iter().sum::<f64>() / taken.len() as f64;
    let most = taken.iter().copied().fold(0.0, f64::max);
    report.told("first to last CreateVpcEndpoint: the buckets allow", allowed, "s");
    report.told("first to last CreateVpcEndpoint of an account: mean", mean, "s");
    report.most(
        "first to last CreateVpcEndpoint of an account: most",
        most,
        1.05 * allowed,
        "s",
    );
    Ok(())
}
