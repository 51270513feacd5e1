//! What the operator costs, counted and not timed: calls to AWS, writes to the API server,
//! sessions; and its own metrics.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use vpce_testbed::aws::{Call, PausePoint};
use vpce_testbed::tools::Tool;

use crate::cluster;
use crate::subcommand::{type_into, words};
use crate::targets::{TYPES, Targets};
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, WhileUsed, World, condition, text};

const RESYNC: Duration = Duration::from_secs(5);
/// A fifth of the default: a minute then takes twelve seconds.
const REFUSED_RETRY: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(500);

/// A world in which only one test at a time does anything: some counts are of the whole process.
fn counted() -> Arc<Mutex<World>> {
    static WORLD: WhileUsed<Mutex<World>> = WhileUsed::new();
    WORLD.get(|| {
        let setup = Setup::fast()
            .value("settings.resyncIntervalSeconds", &RESYNC.as_secs().to_string())
            .value("settings.refusedRetrySeconds", &REFUSED_RETRY.as_secs().to_string())
            .value("settings.accountProbeIntervalSeconds", "3600");
        Mutex::new(World::own(setup))
    })
}

/// How many calls of an action that was carried out there are.
fn count(calls: &[Call], action: &str) -> usize {
    calls.iter().filter(|call| call.action == action).count()
}

fn describes(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.action.starts_with("Describe")).count()
}

/// The writes to the API server that the running operator has counted, by verb and resource.
pub(crate) fn api_writes(world: &World) -> BTreeMap<String, u64> {
    let mut writes = BTreeMap::new();
    for line in world.operator.metrics().expect("it runs").lines() {
        let Some(series) = line.strip_prefix("vpce_kubernetes_requests_total{") else {
            continue;
        };
        let label = |name: &str| {
            let begin = series.find(&format!("{name}=\"")).expect("the label") + name.len() + 2;
            series[begin..].split('"').next().expect("a value").to_owned()
        };
        let (verb, resource) = (label("verb"), label("resource"));
        let count: f64 = series.rsplit(' ').next().expect("a value").parse().expect("a number");
        // The Lease is renewed for ever, whatever else there is to do; and a review of who scrapes
        // stores nothing.
        let is_ours = !["leases", "tokenreviews", "subjectaccessreviews"].contains(&resource.as_str());
        if is_ours && ["create", "update", "patch", "delete"].contains(&verb.as_str()) {
            *writes.entry(format!("{verb} {resource}")).or_default() += count as u64;
        }
    }
    writes
}

/// What was written since `before`, events aside.
fn written_since(world: &World, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut writes = api_writes(world);
    for (what, count) in &mut writes {
        *count -= before.get(what).copied().unwrap_or(0);
    }
    writes.retain(|what, count| *count > 0 && !what.ends_with(" events"));
    writes
}

/// Waits until a tenant has been looked at twice with nothing between: all of it is at rest.
fn at_rest(tenant: &Tenant<'_>) {
    let writes = tenant.writes();
    let mark = tenant.world.aws.now();
    tenant.world.eventually("two looks at all there is", || {
        let calls = tenant.calls();
        // The second of the two actions of a read: what is counted from then on has whole reads.
        let looks = calls
            .iter()
            .filter(|call| call.time > mark && call.action == "DescribeSecurityGroups");
        (looks.count() >= 2).then_some(())
    });
    assert_eq!(tenant.writes(), writes, "it is at rest");
}

/// The resource versions of all that the operator may write.
fn versions(world: &World) -> BTreeMap<String, String> {
    let all = |path: &str| world.cluster.list(path);
    let objects = [
        "/apis/silvermullet.com/v1beta1/vpcendpoints",
        cluster::ACCOUNTS,
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
    ];
    let versions = objects.into_iter().flat_map(|path| {
        let of = move |object: Value| {
            let metadata = &object["metadata"];
            let name = format!("{path}/{}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
            (name, text(&metadata["resourceVersion"]))
        };
        all(path).into_iter().map(of)
    });
    versions.collect()
}

#[test]
fn many_endpoints_need_no_more_reads_than_one() {
    let world = counted();
    let world = world.lock();
    let looks = |count: usize| {
        let tenant = world.tenant("looks");
        at_rest_of_nothing(&tenant);
        for number in 0..count {
            tenant.apply(&format!("api-{number}"), tenant.spec(json!({})));
        }
        for number in 0..count {
            tenant.ready(&format!("api-{number}"));
        }
        let calls = tenant.calls();
        assert_eq!(calls.iter().filter(|call| call.mutating()).count(), 3 * count);
        let from = calls.first().expect("calls").time;
        let to = calls.last().expect("calls").time;
        // While something is pending or settles there is a look each poll, at endpoints and at
        // groups.
        let looks = (to - from) / POLL.as_secs_f64() + 1.0;
        (describes(&calls) as f64, 2.0 * looks)
    };
    let (one, _) = looks(1);
    let (twenty, polls) = looks(20);
    println!("describes: {one} for one endpoint, {twenty} for twenty, with {polls:.1} polls");
    assert!(
        twenty <= one + polls,
        "{twenty} describes, one endpoint takes {one}, and there were {polls} polls"
    );
}

/// What tells of endpoints of single types is read once for all of them, and not at each poll.
#[test]
fn endpoints_of_all_types_need_no_more_reads_than_one() {
    let world = counted();
    let world = world.lock();
    let tenant = world.unregistered_tenant("mixed");
    tenant.register_for_all_types(json!({}));
    let targets = Targets::new(&tenant);
    at_rest_of_nothing(&tenant);
    let before = tenant.calls().len();
    let names: Vec<(String, &str)> = (0..20)
        .map(|number| (format!("api-{number}"), TYPES[number % TYPES.len()]))
        .collect();
    for (name, type_) in &names {
        tenant.apply(name, targets.spec(&tenant, type_, json!({})));
    }
    for (name, _) in &names {
        tenant.ready(name);
    }
    let calls = tenant.calls().split_off(before);
    // A gateway and a GatewayLoadBalancer endpoint are one call, those with a group three.
    assert_eq!(calls.iter().filter(|call| call.mutating()).count(), 8 + 3 * 12);
    let polls = (calls[calls.len() - 1].time - calls[0].time) / POLL.as_secs_f64() + 1.0;
    let of = |action: &str| count(&calls, action);
    let by_action = ["DescribeVpcEndpoints", "DescribeSecurityGroups"].map(of);
    println!("describes: {by_action:?} for twenty of all types, with {polls:.1} polls");
    for describes in by_action {
        assert!(
            describes as f64 <= 4.0 + polls,
            "{describes} describes in {polls:.1} polls"
        );
    }
    assert_eq!(of("DescribePrefixLists"), 1);
    // Those that become available in one poll are read together.
    assert!((1..=4).contains(&of("DescribeVpcEndpointAssociations")));

    at_rest(&tenant);
    let mark = world.aws.now();
    at_rest(&tenant);
    let resyncs = (world.aws.now() - mark) / RESYNC.as_secs_f64() + 1.0;
    let calls = tenant.calls();
    let of = |action: &str| {
        let these = calls.iter().filter(|call| call.action == action && call.time > mark);
        these.count() as f64
    };
    for action in [
        "DescribeVpcEndpoints",
        "DescribeSecurityGroups",
        "DescribeVpcEndpointAssociations",
    ] {
        assert!(
            of(action) <= resyncs,
            "{action}: {} in {resyncs:.1} resyncs",
            of(action)
        );
    }
    assert_eq!(of("DescribePrefixLists"), 0.0);
}

/// Waits until all is written that is to be said of the tenant's account, so that what follows is
/// the endpoints' alone.
fn at_rest_of_nothing(tenant: &Tenant<'_>) {
    tenant
        .world
        .eventually("the AWSAccount is Ready, protected and checked", || {
            let account = tenant.world.aws_account(&tenant.account)?;
            let is_protected = account["metadata"]["finalizers"].is_array();
            let is_checked =
                condition(&account, "PermissionsVerified").is_some() && account["status"]["orphans"].is_object();
            condition(&account, "Ready").filter(|ready| ready.status && is_protected && is_checked)
        });
}

#[test]
fn an_endpoint_takes_at_most_six_writes_to_the_api_server() {
    // Of its own: objects of other tests are written, too.
    let world = World::own(Setup::fast());
    let tenant = world.tenant("six");
    // With the first one the account's permissions are verified.
    tenant.apply("first", tenant.spec(json!({})));
    tenant.ready("first");
    world.eventually("all is said of the AWSAccount", || {
        let account = world.aws_account(&tenant.account)?;
        let is_verified = condition(&account, "PermissionsVerified")?.status;
        (is_verified && account["status"]["endpoints"] == 1).then_some(())
    });
    at_rest(&tenant);
    let before = api_writes(&world);
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    at_rest(&tenant);
    let writes = written_since(&world, &before);
    println!("writes: {writes:?}");
    assert!(writes.values().sum::<u64>() <= 6, "{writes:?}");
}

#[test]
fn at_rest_a_region_is_read_once_a_resync_interval_and_nothing_is_written() {
    let world = counted();
    let world = world.lock();
    let tenant = world.tenant("rest");
    let names: Vec<String> = (0..5).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({"tags": {"team": "rest"}})));
    }
    for name in &names {
        tenant.ready(name);
    }
    at_rest(&tenant);
    let (mark, writes, before) = (world.aws.now(), api_writes(&world), versions(&world));
    let looks = |action: &str| {
        let calls = tenant.calls();
        let these = calls.iter().filter(|call| call.action == action && call.time > mark);
        these.map(|call| call.time).collect::<Vec<f64>>()
    };
    world.eventually("three looks", || {
        (looks("DescribeVpcEndpoints").len() >= 3).then_some(())
    });
    for action in ["DescribeVpcEndpoints", "DescribeSecurityGroups"] {
        let times = looks(action);
        for pair in times.windows(2) {
            let between = pair[1] - pair[0];
            assert!(between >= 0.99 * RESYNC.as_secs_f64(), "{action} at {times:?}");
        }
    }
    let others = tenant.calls();
    let others = others
        .iter()
        .filter(|call| call.time > mark && !call.action.starts_with("DescribeVpcEndpoints"));
    assert!(
        others.clone().all(|call| call.action == "DescribeSecurityGroups"),
        "{:?}",
        others.collect::<Vec<_>>()
    );
    assert_eq!(versions(&world), before, "something was written");
    assert_eq!(api_writes(&world), writes, "something was written");

    let assumed = world.aws.calls();
    let assumed = assumed
        .iter()
        .filter(|call| call.action == "AssumeRole" && call.params["RoleArn"] == tenant.role_arn);
    assert_eq!(assumed.count(), 1, "one session serves all endpoints of an account");
}

#[test]
fn a_refused_role_is_tried_at_most_four_times_a_minute() {
    let world = counted();
    let world = world.lock();
    let tenant = world.unregistered_tenant("refused");
    world.set_trust(&tenant.role_arn, false);
    tenant.register(json!({}));
    let names: Vec<String> = (0..20).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in &names {
        tenant.not_ready(name, "AccountNotReady");
    }
    world.eventually("the AWSAccount says so, too", || {
        let account = world.aws_account(&tenant.account)?;
        condition(&account, "Ready").filter(|ready| ready.reason == "AssumeRoleDenied")
    });
    let calls = |from: f64| {
        let mut calls = world.aws.calls();
        calls.retain(|call| {
            call.action == "AssumeRole" && call.params["RoleArn"] == tenant.role_arn && call.time >= from
        });
        calls.iter().map(|call| call.time).collect::<Vec<f64>>()
    };
    let first = calls(0.0)[0];
    let before = versions(&world);
    let minute = 2.0 * REFUSED_RETRY.as_secs_f64();
    world.eventually("a minute has passed", || {
        (world.aws.now() > first + minute).then_some(())
    });
    let tries = calls(first);
    println!("AssumeRole at {tries:?}");
    assert!((2..=4).contains(&tries.len()), "within a minute: {tries:?}");
    let mut written = versions(&world);
    written.retain(|object, version| before.get(object) != Some(version));
    assert!(written.is_empty(), "what is known is written again: {written:?}");
    assert!(tenant.calls().is_empty());
}

#[test]
fn it_has_every_write_once_and_never_a_secret() {
    let world = counted();
    let world = world.lock();
    let tenant = world.tenant("told");
    let rule =
        |port: u16| json!([{"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]}]);
    tenant.apply(
        "api",
        tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": rule(443)})),
    );
    tenant.apply("other", tenant.spec(json!({})));
    tenant.ready("api");
    tenant.ready("other");
    let change = json!({
        "security_group_type": "custom", "security_group_ingress": rule(8443), "tags": {"team": "a"}, "subnet_ids": tenant.subnets,
    });
    tenant.apply("api", tenant.spec(change));
    tenant.ready("api");

    let metrics = world.operator.metrics().expect("it runs");
    promtool_has_nothing_to_say(&metrics);

    // A refused call, of which AWS's words are passed on.
    world.aws.deny(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.delete("api");
    tenant.not_ready("api", "Denied");
    let objects = [
        world.cluster.list("/apis/silvermullet.com/v1beta1/vpcendpoints"),
        world.cluster.list(cluster::ACCOUNTS),
        world.cluster.list("/apis/events.k8s.io/v1/events"),
        world.cluster.list("/api/v1/services"),
    ];
    let metrics = world.operator.metrics().expect("it runs");
    world.aws.allow(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.merge(
        "api",
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
    );
    tenant.delete("other");
    tenant.gone("api");
    tenant.gone("other");

    let logs = world.operator.logs();
    let secrets = world.aws.secrets();
    assert!(secrets.len() >= 3, "its own, and a session's key and token");
    let objects = serde_json::to_string(&objects).expect("JSON");
    for (place, content) in [("logs", &logs), ("metrics", &metrics), ("objects", &objects)] {
        assert!(
            secrets.iter().all(|secret| !content.contains(secret.as_str())),
            "a secret is in the {place}"
        );
    }

    let told: Vec<&str> = logs
        .lines()
        .filter(|line| line.contains("changed AWS") && line.contains(&tenant.account_id))
        .collect();
    let mut expected = 0;
    for call in tenant.calls().iter().filter(|call| call.mutating() && call.ok()) {
        let ids = call
            .params
            .keys()
            .filter(|key| key.starts_with("VpcEndpointId."))
            .count();
        let objects = if call.action == "DeleteVpcEndpoints" { ids } else { 1 };
        expected += objects;
        let lines: Vec<&&str> = told.iter().filter(|line| line.contains(&call.request_id)).collect();
        assert_eq!(lines.len(), objects, "{} {}: {lines:?}", call.action, call.request_id);
        for line in lines {
            assert!(
                line.contains(&call.action) && line.contains(&tenant.namespace),
                "{line}"
            );
            assert!(line.contains(&format!("account=\"{}\"", tenant.account)), "{line}");
        }
    }
    assert_eq!(told.len(), expected, "{told:#?}");
}

#[test]
fn a_restart_over_what_is_converged_writes_nothing() {
    let world = counted();
    let world = world.lock();
    let tenant = world.tenant("again");
    tenant.apply("generated", tenant.spec(json!({"tags": {"team": "a"}})));
    tenant.apply(
        "provided",
        tenant.spec(json!({"security_group_type": "provided", "security_group_ids": [tenant.group], "service": {"name": "alias"}})),
    );
    tenant.ready("generated");
    tenant.ready("provided");
    at_rest(&tenant);
    let (before, mark) = (versions(&world), world.aws.now());
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.start().expect("it starts again");
    at_rest(&tenant);
    let calls = tenant.calls();
    let wrote: Vec<&Call> = calls
        .iter()
        .filter(|call| call.mutating() && call.time > mark)
        .collect();
    assert!(wrote.is_empty(), "{wrote:?}");
    assert_eq!(versions(&world), before);
    // Counted from its start, events included.
    let writes: BTreeMap<String, u64> = api_writes(&world).into_iter().filter(|(_, count)| *count > 0).collect();
    assert!(writes.is_empty(), "{writes:?}");
}

#[test]
fn a_termination_ends_readiness_at_once_and_the_process_well() {
    let world = counted();
    let world = world.lock();
    let tenant = world.tenant("end");
    let address = world.operator.health_address().expect("it runs");
    assert_eq!(status_of(address, "/readyz"), Some(200));
    // A call that is under way holds the end up.
    let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::Before);
    tenant.apply("api", tenant.spec(json!({})));
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    let ended = std::thread::scope(|scope| {
        let ended = scope.spawn(|| world.operator.terminate());
        let deadline = Instant::now() + WITHIN;
        while status_of(address, "/readyz") == Some(200) {
            assert!(Instant::now() < deadline, "it is ready for ever");
            std::thread::sleep(Duration::from_millis(20));
        }
        gate.release();
        ended.join().expect("joined")
    });
    let ended = ended.expect("within the grace period");
    assert_eq!(ended.code(), Some(0));
    world.operator.start().expect("it starts again");
    tenant.ready("api");
    assert_eq!(
        count(&tenant.calls(), "CreateVpcEndpoint"),
        1,
        "what was under way was finished, and known of"
    );
}

/// Has Prometheus' own linter look at a scrape.
fn promtool_has_nothing_to_say(metrics: &str) {
    let mut command = Command::new(Tool::Promtool.path().expect("promtool"));
    let output = type_into(command.args(["check", "metrics"]), metrics);
    let said = words(&output);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// The HTTP status of a probe; none where there is no answer.
fn status_of(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
