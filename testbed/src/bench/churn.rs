//! Whether anything grows: endpoints come, change and go for half an hour of real time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::bed::REGION;
use super::bed::{Bed, MEBIBYTE, Network, role, service};
use super::objects::{ENDPOINT, count_ready};
use super::report::Report;
use crate::aws::{Config, RoleSpec, ServiceSpec};

const ACCOUNTS: [&str; 3] = ["111111111111", "222222222222", "333333333333"];
const EACH: usize = 10;
/// How long, unless `VPCE_CHURN_MINUTES` says otherwise.
const MINUTES: f64 = 30.0;
const DONE_WITHIN: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
/// What the allocator and the caches of a process move by from one round to the next.
const NOISE_MEBIBYTES: f64 = 3.0;
const NOISE_DESCRIPTORS: f64 = 8.0;

/// What the operator holds at one moment.
#[derive(Clone, Copy)]
struct Held {
    mebibytes: f64,
    descriptors: f64,
    threads: f64,
}

pub(super) fn run(binary: &Path) -> Result<Report> {
    let minutes = std::env::var("VPCE_CHURN_MINUTES").ok();
    let minutes = minutes
        .map_or(Ok(MINUTES), |text| text.parse())
        .context("VPCE_CHURN_MINUTES")?;
    let config = Config {
        pending_seconds: 1.0,
        deleting_seconds: 1.0,
        throttle: false,
        ..Config::default()
    };
    let env = [
        ("VPCE_AWS_LIMITS", "*=1000/1000"),
        ("VPCE_POLL_INTERVAL_SECONDS", "1"),
        ("VPCE_SETTLE_SECONDS", "1"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let bed = Bed::start(binary, config, env.to_vec())?;
    let networks = seed(&bed)?;
    let until = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut held = Vec::new();
    while Instant::now() < until {
        round(&bed, &networks, held.len())?;
        held.push(measure(&bed)?);
        // What AWS was asked is not of interest here, and would fill memory of ours.
        bed.aws.clear_calls();
    }
    let (second, third) = (&held[held.len() / 3..held.len() * 2 / 3], &held[held.len() * 2 / 3..]);
    let grown = |of: fn(&Held) -> f64| mean(third, of) - mean(second, of);
    let mut report = Report::default();
    report.told("minutes", minutes, "");
    report.told(
        "rounds, each of 30 endpoints made, changed and deleted",
        held.len() as f64,
        "",
    );
    report.told("resident memory, last third", mean(third, |held| held.mebibytes), "MiB");
    report.most(
        "... more than in the second third",
        grown(|held| held.mebibytes),
        NOISE_MEBIBYTES,
        "MiB",
    );
    report.told("open descriptors, last third", mean(third, |held| held.descriptors), "");
    report.most(
        "... more than in the second third",
        grown(|held| held.descriptors),
        NOISE_DESCRIPTORS,
        "",
    );
    report.told("threads, last third", mean(third, |held| held.threads), "");
    report.most("... more than in the second third", grown(|held| held.threads), 1.0, "");
    Ok(report)
}

fn seed(bed: &Bed) -> Result<Vec<Network>> {
    bed.aws.add_service(REGION, &service(), ServiceSpec::default());
    let teams: Vec<String> = ACCOUNTS
        .iter()
        .map(|account| format!("team-{}", &account[..1]))
        .collect();
    bed.objects.create_namespaces(&teams)?;
    let mut networks = Vec::new();
    let mut specs = Vec::new();
    for (number, (account, team)) in ACCOUNTS.iter().zip(&teams).enumerate() {
        bed.aws.add_role(&role(account), RoleSpec::default())?;
        networks.push(bed.add_network(account, number + 1)?);
        specs.push((
            team.clone(),
            json!({"role_arn": role(account), "namespaces": [team], "default_region": REGION}),
        ));
    }
    bed.objects.create_accounts(specs)?;
    Ok(networks)
}

/// Endpoints are made, get their own security group or other rules, and go.
fn round(bed: &Bed, networks: &[Network], number: usize) -> Result<()> {
    let spec = |network: &Network, at: usize| -> Value {
        let mut spec = network.spec();
        if at.is_multiple_of(2) {
            spec["security_group_type"] = json!("generated");
        }
        spec
    };
    let team = |at: usize| format!("team-{}", at + 1);
    let mut all = Vec::new();
    for (at, network) in networks.iter().enumerate() {
        all.extend((0..EACH).map(|each| (team(at), format!("endpoint-{number}-{each}"), spec(network, each))));
    }
    bed.objects.create_endpoints(all)?;
    bed.wait("all are Ready", DONE_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ENDPOINT)?) == EACH * networks.len())
    })?;
    for at in 0..networks.len() {
        let patch = json!({"spec": {"tags": {"round": number.to_string()}}}).to_string();
        let name = format!("vpce/endpoint-{number}-{at}");
        let arguments = [
            "patch",
            &name,
            "--namespace",
            &team(at),
            "--type",
            "merge",
            "--patch",
            &patch,
        ];
        bed.plane.kubectl(&arguments)?.success()?;
    }
    for at in 0..networks.len() {
        let arguments = ["delete", "vpce", "--all", "--wait=false", "--namespace", &team(at)];
        bed.plane.kubectl(&arguments)?.success()?;
    }
    bed.wait("all are gone", DONE_WITHIN, PAUSE, || {
        Ok(bed.objects.all(ENDPOINT)?.is_empty())
    })
}

fn measure(bed: &Bed) -> Result<Held> {
    let process = format!("/proc/{}", bed.operator.pid()?);
    let entries = |folder: &str| -> Result<f64> {
        let path = format!("{process}/{folder}");
        Ok(std::fs::read_dir(&path).with_context(|| path.clone())?.count() as f64)
    };
    Ok(Held {
        mebibytes: bed.operator.rss_bytes()? as f64 / MEBIBYTE,
        descriptors: entries("fd")?,
        threads: entries("task")?,
    })
}

fn mean(held: &[Held], of: fn(&Held) -> f64) -> f64 {
    held.iter().map(of).sum::<f64>() / held.len().max(1) as f64
}
