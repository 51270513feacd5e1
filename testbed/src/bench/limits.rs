//! A hundred endpoints of one AWS account and region, made together and then deleted together, with
//! EC2's documented token buckets.
//!
//! Simulated time runs five times as fast as ours, and the operator's limits and intervals with it.
//! All times are in simulated seconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::bed::{Bed, MEBIBYTE, REGION, is_release, role, scaled_settings, service};
use super::report::Report;
use crate::aws::{Call, Config, RoleSpec, ServiceSpec, Simulator};
use crate::operator::Operator;

const TIME_SCALE: f64 = 5.0;
/// All endpoints are in the first; the others are there to be registered.
const ACCOUNTS: [&str; 3] = ["111111111111", "222222222222", "333333333333"];
const NAMESPACES: [&str; 4] = ["team-a", "team-b", "team-c", "team-d"];
const VPCS: [&str; 2] = ["vpc-0000000000000000a", "vpc-0000000000000000b"];
/// Fifty in each VPC, which is the quota.
const ENDPOINTS: usize = 100;
/// AWS takes from one minute to some.
const PENDING_SECONDS: f64 = 60.0;
const DELETING_SECONDS: f64 = 30.0;
/// The operator's own default.
const POLL_SECONDS: f64 = 5.0;
/// How long after the poll that sees the endpoint Ready may come: the Service is written first, on
/// a machine that runs a control plane too, and each of our seconds counts five times.
const READY_SLACK_SECONDS: f64 = 2.5;
const DONE_WITHIN: Duration = Duration::from_secs(300);
/// Looking takes time from what is measured.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn run(binary: &Path) -> Result<Report> {
    let config = Config {
        time_scale: TIME_SCALE,
        pending_seconds: PENDING_SECONDS,
        deleting_seconds: DELETING_SECONDS,
        eni_release_seconds: 10.0,
        ..Config::default()
    };
    let mut settings = scaled_settings(TIME_SCALE);
    settings.push(("VPCE_LOG_FORMAT".to_owned(), "json".to_owned()));
    let bed = Bed::start(binary, config, settings)?;
    let Bed {
        operator, aws, plane, ..
    } = &bed;
    let clock = Clock::of(aws);
    seed(aws)?;
    plane.apply(&manifest(&tenancy()))?.success()?;
    plane
        .kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "awsaccounts", "--all"])?
        .success()?;
    let resident_before = operator.rss_bytes()?;
    let creation = create(&bed, clock)?;
    let resident = operator.rss_bytes()?;
    let deletion = delete(&bed)?;

    let mut report = Report::default();
    creation.report(&mut report);
    deletion.report(&mut report);
    report.told("resident memory before", resident_before as f64 / MEBIBYTE, "MiB");
    let resident = resident as f64 / MEBIBYTE;
    if is_release() {
        report.most("resident memory with all Ready", resident, 40.0, "MiB");
    } else {
        report.told("resident memory with all Ready, debug build", resident, "MiB");
    }
    operator.terminate()?;
    Ok(report)
}

/// Applies all endpoints, and waits until they are Ready.
fn create(bed: &Bed, clock: Clock) -> Result<Creation> {
    let Bed {
        operator, aws, plane, ..
    } = bed;
    println!(
        "applying {ENDPOINTS} endpoints, {} in each of {} namespaces",
        ENDPOINTS / NAMESPACES.len(),
        NAMESPACES.len()
    );
    let begin = aws.now();
    plane.apply(&manifest(&endpoints()))?.success()?;
    let applied = aws.now() - begin;
    bed.wait("every endpoint is Ready", DONE_WITHIN, PAUSE, || {
        Ok(ready_times(operator, clock).len() >= ENDPOINTS)
    })?;
    Creation::of(&aws.calls(), &ready_times(operator, clock), begin, applied)
}

/// Deletes all endpoints, and waits until their objects are gone.
fn delete(bed: &Bed) -> Result<Deletion> {
    let Bed { aws, plane, .. } = bed;
    println!("deleting them all");
    aws.clear_calls();
    let begin = aws.now();
    for namespace in NAMESPACES {
        plane
            .kubectl(&[
                "delete",
                "vpcendpoints",
                "--all",
                "--wait=false",
                "--namespace",
                namespace,
            ])?
            .success()?;
    }
    bed.wait("nothing is left", DONE_WITHIN, PAUSE, || {
        let left = plane.json(&["get", "vpcendpoints", "--all-namespaces"])?;
        Ok(left["items"].as_array().is_some_and(Vec::is_empty))
    })?;
    Ok(Deletion {
        all_gone: aws.now() - begin,
        calls: aws.calls(),
        left: aws.endpoints(ACCOUNTS[0], REGION).len() + aws.security_groups(ACCOUNTS[0], REGION).len(),
    })
}

fn seed(aws: &Simulator) -> Result<()> {
    for account in ACCOUNTS {
        aws.add_role(&role(account), RoleSpec::default())?;
    }
    for (at, vpc) in VPCS.iter().enumerate() {
        aws.add_vpc(ACCOUNTS[0], REGION, vpc, &format!("10.{at}.0.0/16"))?;
        for zone in ["a", "b"] {
            aws.add_subnet(ACCOUNTS[0], REGION, &subnet(vpc, zone), vpc, &format!("{REGION}{zone}"))?;
        }
    }
    aws.add_service(REGION, &service(), ServiceSpec::default());
    Ok(())
}

fn subnet(vpc: &str, zone: &str) -> String {
    vpc.replacen("vpc-0", &format!("subnet-{zone}"), 1)
}

/// The namespaces, and who may use which account.
fn tenancy() -> Vec<Value> {
    let namespaces = NAMESPACES
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    let accounts = ACCOUNTS.iter().enumerate().map(|(at, account)| {
        let names: &[&str] = if at == 0 { &NAMESPACES } else { &["nobody"] };
        json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": format!("account-{at}")},
            "spec": {"role_arn": role(account), "namespaces": names, "default_region": REGION},
        })
    });
    namespaces.chain(accounts).collect()
}

fn endpoints() -> Vec<Value> {
    let endpoint = |at: usize| {
        let vpc = VPCS[at % VPCS.len()];
        json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint",
            "metadata": {"name": format!("endpoint-{at}"), "namespace": NAMESPACES[at / VPCS.len() % NAMESPACES.len()]},
            "spec": {
                "region": REGION, "vpc_id": vpc, "subnet_ids": [subnet(vpc, "a"), subnet(vpc, "b")],
                "vpc_endpoint_service_id": service(), "security_group_type": "generated",
            },
        })
    };
    (0..ENDPOINTS).map(endpoint).collect()
}

/// kubectl reads JSON, too.
fn manifest(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// Translates our time into the simulator's.
#[derive(Debug, Clone, Copy)]
struct Clock {
    at: SystemTime,
    simulated: f64,
}

impl Clock {
    fn of(aws: &Simulator) -> Self {
        Self {
            at: SystemTime::now(),
            simulated: aws.now(),
        }
    }

    fn simulated(self, time: SystemTime) -> f64 {
        let since = time.duration_since(self.at).unwrap_or_default();
        self.simulated + since.as_secs_f64() * TIME_SCALE
    }
}

/// When each endpoint first became Ready, by namespace and name, from the operator's log.
fn ready_times(operator: &Operator, clock: Clock) -> BTreeMap<(String, String), f64> {
    let mut ready = BTreeMap::new();
    for line in operator.logs().lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        if line["ready"] != true || line["namespace"].is_null() {
            continue;
        }
        if let Ok(time) = text("time").parse::<jiff::Timestamp>() {
            let key = (text("namespace").to_owned(), text("name").to_owned());
            ready.entry(key).or_insert(clock.simulated(time.into()));
        }
    }
    ready
}

/// What the creation of all endpoints took.
struct Creation {
    applied: f64,
    throttled: usize,
    writes: usize,
    describes: usize,
    last_create: f64,
    all_ready: f64,
    mean_delay: f64,
    longest_delay: f64,
}

impl Creation {
    fn of(calls: &[Call], ready: &BTreeMap<(String, String), f64>, begin: f64, applied: f64) -> Result<Self> {
        let creates = calls
            .iter()
            .filter(|call| call.ok() && call.action == "CreateVpcEndpoint");
        let mut delays = Vec::new();
        let mut last_create = begin;
        for call in creates {
            last_create = last_create.max(call.time);
            let ready = ready.get(&owner(call)?).context("an endpoint is not Ready")?;
            let available = call.time + PENDING_SECONDS;
            delays.push(ready - available);
        }
        ensure!(
            delays.len() == ENDPOINTS,
            "{} endpoints were made, not {ENDPOINTS}",
            delays.len()
        );
        Ok(Self {
            applied,
            throttled: throttled(calls),
            writes: calls.iter().filter(|call| call.mutating()).count(),
            describes: describes(calls),
            last_create: last_create - begin,
            all_ready: ready.values().fold(begin, |last, time| last.max(*time)) - begin,
            mean_delay: delays.iter().sum::<f64>() / delays.len() as f64,
            longest_delay: delays.iter().fold(f64::MIN, |longest, delay| longest.max(*delay)),
        })
    }

    fn report(&self, report: &mut Report) {
        report.told("applied within", self.applied, "s");
        report.told("created: describes", self.describes as f64, "calls");
        report.most("created: refused for their rate", self.throttled as f64, 0.0, "calls");
        report.most(
            "created: mutating EC2 calls",
            self.writes as f64,
            3.0 * ENDPOINTS as f64,
            "calls",
        );
        report.most(
            "created: last CreateVpcEndpoint accepted after",
            self.last_create,
            336.0,
            "s",
        );
        report.told("created: all Ready after", self.all_ready, "s");
        report.told("created: Ready after available, mean", self.mean_delay, "s");
        report.most(
            "created: Ready after available, most",
            self.longest_delay,
            POLL_SECONDS + READY_SLACK_SECONDS,
            "s",
        );
    }
}

/// What the deletion of all endpoints took.
struct Deletion {
    calls: Vec<Call>,
    all_gone: f64,
    left: usize,
}

impl Deletion {
    fn report(&self, report: &mut Report) {
        report.most(
            "deleted: refused for their rate",
            throttled(&self.calls) as f64,
            0.0,
            "calls",
        );
        report.most(
            "deleted: DeleteVpcEndpoints",
            count(&self.calls, "DeleteVpcEndpoints") as f64,
            10.0,
            "calls",
        );
        report.told("deleted: describes", describes(&self.calls) as f64, "calls");
        report.told("deleted: all gone after", self.all_gone, "s");
        report.most("deleted: endpoints and groups left in AWS", self.left as f64, 0.0, "");
    }
}

/// Whose endpoint a CreateVpcEndpoint makes, by the tags in it.
fn owner(call: &Call) -> Result<(String, String)> {
    let tag = |wanted: &str| {
        let (key, _) = call
            .params
            .iter()
            .find(|(key, value)| key.ends_with(".Key") && *value == wanted)?;
        call.params.get(&key.replace(".Key", ".Value")).cloned()
    };
    tag("silvermullet.com/namespace")
        .zip(tag("silvermullet.com/name"))
        .context("an endpoint is made without its owner's tags")
}

fn throttled(calls: &[Call]) -> usize {
    let refused = calls
        .iter()
        .filter(|call| call.result == "RequestLimitExceeded" || call.result == "Throttling");
    refused.count()
}

fn count(calls: &[Call], action: &str) -> usize {
    calls.iter().filter(|call| call.action == action).count()
}

fn describes(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.action.starts_with("Describe")).count()
}
