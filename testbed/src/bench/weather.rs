//! A hundred endpoints made and deleted together while AWS refuses every fifth call that changes something and loses every tenth answer.
//!
//! Then an outage, in which it refuses them all, and how long it takes until all is well after its end. Simulated time runs five times as fast as
//! ours, and the operator's limits and intervals with it. All times are told in simulated seconds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::bed::{Bed, REGION, role, service};
use super::objects::{ACCOUNT, ENDPOINT, count_ready};
use super::report::Report;
use crate::aws::{Call, Config, RoleSpec, ServiceSpec, Weather};

const TIME_SCALE: f64 = 5.0;
const AWS_ACCOUNT: &str = "111111111111";
const NAMESPACE: &str = "team";
/// Fifty in each VPC, which is the quota.
const VPCS: usize = 2;
const ENDPOINTS: usize = 100;
/// Their waits are of one length then: what AWS lets be made in a minute is not what is measured.
const ENDPOINTS_IN_OUTAGE: usize = 10;
const OUTAGE_SECONDS: f64 = 300.0;
const PENDING_SECONDS: f64 = 60.0;
/// A group, its rules, the endpoint; the group's deletion. Endpoints are deleted 25 in a call.
const FEWEST_CALLS: f64 = 4.0 * ENDPOINTS as f64 + ENDPOINTS as f64 / 25.0;
const MOST_CALLS_PERCENT: f64 = 160.0;
const DONE_WITHIN: Duration = Duration::from_secs(600);
/// Looking takes time from what is measured.
const PAUSE: Duration = Duration::from_secs(1);
const CHANGES: [&str; 5] = ["Authorize*", "Create*", "Delete*", "Modify*", "Revoke*"];

pub(super) fn run(binary: &Path) -> Result<Report> {
    let config = Config {
        time_scale: TIME_SCALE,
        pending_seconds: PENDING_SECONDS,
        deleting_seconds: 30.0,
        eni_release_seconds: 10.0,
        ..Config::default()
    };
    let bed = Bed::start(binary, config, settings())?;
    let aws = &bed.aws;
    aws.add_role(&role(AWS_ACCOUNT), RoleSpec::default())?;
    aws.add_service(REGION, &service(), ServiceSpec::default());
    let mut specs = Vec::new();
    for vpc in 1..=VPCS {
        let mut spec = bed.add_network(AWS_ACCOUNT, vpc)?.spec();
        spec["security_group_type"] = json!("generated");
        spec["security_group_ids"] = json!([]);
        specs.push(spec);
    }
    let others = aws.security_groups(AWS_ACCOUNT, REGION).len();
    bed.objects.create_namespaces(&[NAMESPACE])?;
    let account = json!({"role_arn": role(AWS_ACCOUNT), "namespaces": [NAMESPACE], "default_region": REGION});
    bed.objects.create_accounts([("team".to_owned(), account)])?;
    bed.wait("the account is Ready", DONE_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ACCOUNT)?) == 1)
    })?;
    aws.clear_calls();

    println!("applying {ENDPOINTS} endpoints in bad weather");
    aws.set_weather([Weather {
        seed: 1,
        actions: CHANGES.map(str::to_owned).into(),
        refuse: 0.2,
        lose_answer: 0.1,
        ..Weather::default()
    }]);
    let created_after = create(&bed, &specs, ENDPOINTS, || ())?;
    let created = Calls::of(&aws.calls());
    println!("deleting them all, in the same weather");
    let deleted_after = delete(&bed)?;
    let all = Calls::of(&aws.calls());
    let left = aws.endpoints(AWS_ACCOUNT, REGION).len() + aws.security_groups(AWS_ACCOUNT, REGION).len() - others;

    println!("applying {ENDPOINTS_IN_OUTAGE} endpoints in an outage of {OUTAGE_SECONDS} s");
    aws.set_weather([Weather {
        actions: CHANGES.map(str::to_owned).into(),
        refuse: 1.0,
        ..Weather::default()
    }]);
    let begin = aws.now();
    let recovered_after = create(&bed, &specs, ENDPOINTS_IN_OUTAGE, || {
        std::thread::sleep(Duration::from_secs_f64(OUTAGE_SECONDS / TIME_SCALE));
        aws.clear_faults();
    })? - OUTAGE_SECONDS;
    let in_outage = aws
        .calls()
        .iter()
        .filter(|call| call.time > begin && call.fault.is_some())
        .count();
    delete(&bed)?;

    let mut report = Report::default();
    report.told("bad weather: calls refused", all.refused as f64, "calls");
    report.told("bad weather: answers lost", all.lost as f64, "calls");
    report.told("created: all Ready after", created_after, "s");
    report.told("created: mutating EC2 calls", created.mutating as f64, "calls");
    report.most(
        "created: endpoints made",
        created.endpoints as f64,
        ENDPOINTS as f64,
        "",
    );
    report.most("created: groups made", created.groups as f64, ENDPOINTS as f64, "");
    report.told("deleted: all gone after", deleted_after, "s");
    report.most("deleted: endpoints and groups left in AWS", left as f64, 0.0, "");
    let share = 100.0 * all.mutating as f64 / FEWEST_CALLS;
    report.most(
        "mutating EC2 calls, of the fewest there can be",
        share,
        MOST_CALLS_PERCENT,
        "%",
    );
    report.told("outage: calls refused", in_outage as f64, "calls");
    report.told("outage: all Ready after its end", recovered_after, "s");
    bed.operator.terminate()?;
    Ok(report)
}

/// Applies so many and waits until all are Ready; how long that took.
fn create(bed: &Bed, specs: &[Value], count: usize, meanwhile: impl FnOnce()) -> Result<f64> {
    let begin = bed.aws.now();
    let endpoint = |at: usize| (NAMESPACE.to_owned(), format!("endpoint-{at}"), specs[at % VPCS].clone());
    bed.objects.create_endpoints((0..count).map(endpoint))?;
    meanwhile();
    bed.wait("every endpoint is Ready", DONE_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ENDPOINT)?) == count)
    })?;
    Ok(bed.aws.now() - begin)
}

/// Deletes them all and waits until they are gone; how long that took.
fn delete(bed: &Bed) -> Result<f64> {
    let begin = bed.aws.now();
    bed.plane
        .kubectl(&[
            "delete",
            "vpcendpoints",
            "--all",
            "--wait=false",
            "--namespace",
            NAMESPACE,
        ])?
        .success()?;
    bed.wait("nothing is left", DONE_WITHIN, PAUSE, || {
        Ok(bed.objects.all(ENDPOINT)?.is_empty())
    })?;
    Ok(bed.aws.now() - begin)
}

/// The operator's limits and intervals, as much faster than its defaults as time is.
fn settings() -> Vec<(String, String)> {
    let seconds = |default: f64| (default / TIME_SCALE).to_string();
    let limits = [
        ("CreateVpcEndpoint", 4.0, 0.3),
        ("ModifyVpcEndpoint", 4.0, 0.3),
        ("DeleteVpcEndpoints", 4.0, 0.3),
        ("CreateTags", 100.0, 10.0),
        ("DeleteTags", 100.0, 10.0),
        ("Describe*", 100.0, 20.0),
        ("*", 50.0, 5.0),
    ]
    .map(|(action, burst, refill)| format!("{action}={burst}/{}", refill * TIME_SCALE));
    [
        ("VPCE_AWS_LIMITS", limits.join(",")),
        ("VPCE_RESYNC_INTERVAL_SECONDS", seconds(300.0)),
        ("VPCE_POLL_INTERVAL_SECONDS", seconds(5.0)),
        ("VPCE_SETTLE_SECONDS", seconds(10.0)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What the calls so far came to.
struct Calls {
    mutating: usize,
    refused: usize,
    lost: usize,
    endpoints: usize,
    groups: usize,
}

impl Calls {
    fn of(calls: &[Call]) -> Self {
        let mutating: Vec<&Call> = calls.iter().filter(|call| call.mutating()).collect();
        let met = |fault: &str| mutating.iter().filter(|call| call.fault == Some(fault)).count();
        let made = |kind: &str| {
            let ids = mutating.iter().flat_map(|call| &call.produced);
            let ids: std::collections::BTreeSet<_> = ids.filter(|id| id.starts_with(kind)).collect();
            ids.len()
        };
        Self {
            mutating: mutating.len(),
            refused: met("refused"),
            lost: met("lost"),
            endpoints: made("vpce-"),
            groups: made("sg-"),
        }
    }
}
