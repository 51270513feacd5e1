//! A hundred endpoints made and deleted together while AWS refuses every fifth call that changes
//! something and loses every tenth answer.
//!
//! Then an outage, in which it refuses them all, and how long it takes until all is well after its
//! end. Simulated time runs five times as fast as ours, and the operator's limits and intervals
//! with it. All times are in simulated seconds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::bed::{Bed, REGION, scaled_settings};
use super::one_account::{AWS_ACCOUNT, create, delete, one_account};
use super::report::Report;
use crate::aws::{Call, Config, Weather};

const TIME_SCALE: f64 = 5.0;
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
const CHANGES: [&str; 5] = ["Authorize*", "Create*", "Delete*", "Modify*", "Revoke*"];

pub(super) fn run(binary: &Path) -> Result<Report> {
    let config = Config {
        time_scale: TIME_SCALE,
        pending_seconds: PENDING_SECONDS,
        deleting_seconds: 30.0,
        eni_release_seconds: 10.0,
        ..Config::default()
    };
    let bed = Bed::start(binary, config, scaled_settings(TIME_SCALE))?;
    let specs = one_account(&bed, VPCS)?;
    let aws = &bed.aws;
    let others = aws.security_groups(AWS_ACCOUNT, REGION).len();
    aws.clear_calls();

    println!("applying {ENDPOINTS} endpoints in bad weather");
    aws.set_weather([Weather {
        seed: 1,
        actions: CHANGES.map(str::to_owned).into(),
        refuse: 0.2,
        lose_answer: 0.1,
        ..Weather::default()
    }]);
    let created_after = create(&bed, &specs, ENDPOINTS, DONE_WITHIN, || ())?;
    let created = Calls::of(&aws.calls());
    println!("deleting them all, in the same weather");
    let deleted_after = delete(&bed, DONE_WITHIN)?;
    let all = Calls::of(&aws.calls());
    let left = aws.endpoints(AWS_ACCOUNT, REGION).len() + aws.security_groups(AWS_ACCOUNT, REGION).len() - others;

    println!("applying {ENDPOINTS_IN_OUTAGE} endpoints in an outage of {OUTAGE_SECONDS} s");
    aws.set_weather([Weather {
        actions: CHANGES.map(str::to_owned).into(),
        refuse: 1.0,
        ..Weather::default()
    }]);
    let begin = aws.now();
    let recovered_after = create(&bed, &specs, ENDPOINTS_IN_OUTAGE, DONE_WITHIN, || {
        std::thread::sleep(Duration::from_secs_f64(OUTAGE_SECONDS / TIME_SCALE));
        aws.clear_faults();
    })? - OUTAGE_SECONDS;
    let in_outage = aws
        .calls()
        .iter()
        .filter(|call| call.time > begin && call.fault.is_some())
        .count();
    delete(&bed, DONE_WITHIN)?;

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
