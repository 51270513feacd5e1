//! What a neighbour notices when another namespace of its AWS account creates and deletes very many
//! objects at once. Time runs as ours does, and all of the operator's settings are as they come.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::bed::{Bed, MEBIBYTE, REGION, role, service};
use super::metrics::Scrape;
use super::objects::{ACCOUNT, count_ready, ready};
use super::report::Report;
use crate::aws::{Config, RoleSpec, ServiceSpec};

const ID: &str = "111111111111";
const CROWD: &str = "crowd";
const NEIGHBOUR: &str = "neighbour";
/// So many objects are created and deleted, one number after the other.
const CROWDS: [usize; 2] = [300, 5000];
/// So many VPCs that the quota of 50 endpoints in each is not reached.
const VPCS: usize = 25;
const DONE_WITHIN: Duration = Duration::from_secs(900);
/// A token of the rate limiter for CreateVpcEndpoint, at the rate that AWS documents, and a poll:
/// Ready is seen at one.
const TURN_AND_POLL: f64 = 1.0 / 0.297 + 5.0;
/// All buckets are full again.
const REFILL: Duration = Duration::from_secs(20);

pub(super) fn run(binary: &Path) -> Result<Report> {
    let bed = Bed::start(binary, Config::default(), Vec::new())?;
    bed.aws.add_service(REGION, &service(), ServiceSpec::default());
    bed.aws.add_role(&role(ID), RoleSpec::default())?;
    let specs: Vec<Value> = (1..=VPCS)
        .map(|number| Ok(bed.add_network(ID, number)?.generated()))
        .collect::<Result<_>>()?;
    bed.objects.create_namespaces(&[CROWD, NEIGHBOUR])?;
    bed.objects.create_accounts([(
        "shared".to_owned(),
        json!({"role_arn": role(ID), "namespaces": [CROWD, NEIGHBOUR]}),
    )])?;
    bed.wait("the AWSAccount is Ready", DONE_WITHIN, Duration::from_secs(1), || {
        Ok(count_ready(&bed.objects.all(ACCOUNT)?) == 1)
    })?;

    let mut report = Report::default();
    until_ready(&bed, "warm-up", &specs[0])?;
    std::thread::sleep(REFILL);
    let alone = until_ready(&bed, "alone", &specs[0])?;
    report.told("alone: Ready after", alone.ready, "s");
    for count in CROWDS {
        std::thread::sleep(REFILL);
        println!("creating {count} objects and deleting them at once");
        let names: Vec<String> = (0..count).map(|number| format!("endpoint-{count}-{number}")).collect();
        let objects = names.iter().zip(specs.iter().cycle());
        let begun = bed.aws.now();
        bed.objects
            .create_endpoints(objects.map(|(name, spec)| (CROWD.to_owned(), name.clone(), spec.clone())))?;
        let names = names.into_iter().map(|name| (CROWD.to_owned(), name));
        bed.objects.delete_endpoints(names)?;
        report.told(
            &format!("{count} objects: created and deleted within"),
            bed.aws.now() - begun,
            "s",
        );
        let beside = until_ready(&bed, &format!("beside-{count}"), &specs[0])?;
        report.most(
            &format!("beside {count}: Ready after"),
            beside.ready,
            alone.ready + TURN_AND_POLL,
            "s",
        );
        report.most(
            &format!("beside {count}: turns of the others before its CreateVpcEndpoint"),
            beside.turns as f64,
            1.0,
            "turns",
        );
        bed.wait("they are gone", DONE_WITHIN, Duration::from_millis(200), || {
            bed.objects.is_empty(CROWD)
        })?;
        let gone = bed.aws.now();
        report.told(&format!("{count} objects: all gone after"), gone - begun, "s");
        bed.wait("nobody waits", DONE_WITHIN, Duration::from_millis(200), || {
            let scrape = Scrape::of(&bed.operator)?;
            Ok(scrape.sum("vpce_aws_rate_limiter_queue_length", &[("account_id", ID)]) == 0.0)
        })?;
        report.most(
            &format!("{count} objects: the last left the lines after they were gone"),
            bed.aws.now() - gone,
            2.0,
            "s",
        );
        report.told(
            &format!("{count} objects: resident memory after"),
            bed.operator.rss_bytes()? as f64 / MEBIBYTE,
            "MiB",
        );
    }
    bed.operator.terminate()?;
    Ok(report)
}

struct Sample {
    /// Seconds until it was Ready.
    ready: f64,
    /// CreateVpcEndpoint calls for others meanwhile.
    turns: usize,
}

/// The neighbour applies an endpoint.
fn until_ready(bed: &Bed, name: &str, spec: &Value) -> Result<Sample> {
    let applied = bed.aws.now();
    bed.objects
        .create_endpoints([(NEIGHBOUR.to_owned(), name.to_owned(), spec.clone())])?;
    bed.wait("the neighbour is Ready", DONE_WITHIN, Duration::from_millis(50), || {
        Ok(ready(&bed.objects.endpoint(NEIGHBOUR, name)?).is_some_and(|(ready, _)| ready))
    })?;
    let ready = bed.aws.now() - applied;
    let tag = format!("{name}-{NEIGHBOUR}");
    let creates = bed.aws.calls().into_iter();
    let creates = creates.filter(|call| call.action == "CreateVpcEndpoint" && call.time > applied);
    let turns = creates
        .take_while(|call| !call.params.values().any(|value| *value == tag))
        .count();
    println!("{name}: Ready after {ready:.1} s, {turns} turns of others before its own");
    Ok(Sample { ready, turns })
}
