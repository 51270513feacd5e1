//! One tenant's crowd is not in another's way: turns of the line, tries of a refused role, and objects that wait.

use std::thread;

use serde_json::{Value, json};
use vpce_testbed::aws::Call;

use crate::cluster::{self, Run};
use crate::world::{Setup, Tenant, World, condition, endpoint};

/// Objects of the tenant whose role is refused.
const REFUSED: usize = 300;
/// Creates that wait in the line.
const WAITING: usize = 60;
/// Seconds between two turns of the line: many times as long as it takes to join it.
const TURN: f64 = 10.0;
const CREATE: &str = "CreateVpcEndpoint";
/// Objects are created from so many threads.
const THREADS: usize = 8;

fn name(number: usize) -> String {
    format!("api-{number}")
}

/// Creates so many VPCEndpoints in a namespace.
fn create(world: &World, namespace: &str, spec: &Value, count: usize) {
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for number in (first..count).step_by(THREADS) {
                    let object = endpoint(namespace, &name(number), spec);
                    let created = world.cluster.create(&cluster::endpoints(namespace), &object, Run::Real);
                    created.unwrap_or_else(|refusal| panic!("{}: {}", name(number), refusal.message));
                }
            });
        }
    });
}

/// A spec that takes one changing call to carry out.
fn plain(tenant: &Tenant<'_>) -> Value {
    tenant.spec(json!({"security_group_type": "provided", "security_group_ids": [tenant.group]}))
}

/// The turns that an account has had.
fn turns(tenant: &Tenant<'_>) -> Vec<Call> {
    let mut calls = tenant.calls();
    calls.retain(|call| call.action == CREATE);
    calls
}

fn is_of(call: &Call, namespace: &str) -> bool {
    call.params.values().any(|value| value == namespace)
}

/// How many wait in line, as the metrics say.
fn in_line(tenant: &Tenant<'_>) -> usize {
    let metrics = tenant.world.operator.metrics().expect("it runs");
    let series = metrics.lines().find(|line| {
        line.starts_with("vpce_aws_queue_length{") && line.contains(&tenant.account_id) && line.contains(CREATE)
    });
    let length = series.and_then(|line| line.rsplit(' ').next());
    length.map_or(0, |length| length.parse().expect("a number"))
}

#[test]
fn one_that_comes_to_a_crowd_waits_for_one_turn_of_each_namespace_in_line() {
    let rate = format!("1/{}", 1.0 / TURN);
    let setup = Setup::fast()
        .value("settings.refusedRetrySeconds", "30")
        .value("settings.awsLimits.CreateVpcEndpoint", &rate);
    let world = World::own(setup);
    let refused = world.unregistered_tenant("refused");
    world.set_trust(&refused.role_arn, false);
    refused.register(json!({}));
    let crowd = world.unregistered_tenant("crowd");
    let third = Tenant {
        namespace: format!("{}-third", crowd.namespace),
        ..world.unregistered_tenant("third")
    };
    world.cluster.create_namespace(&third.namespace, json!({}));
    crowd.register(json!({"namespaces": [crowd.namespace, third.namespace]}));
    create(&world, &refused.namespace, &plain(&refused), REFUSED);
    create(&world, &crowd.namespace, &plain(&crowd), WAITING);
    world.eventually("all creates are in line", || {
        (in_line(&crowd) + turns(&crowd).len() >= WAITING).then_some(())
    });
    world.eventually("all of the refused are told so", || {
        let objects = world.cluster.list(&cluster::endpoints(&refused.namespace));
        let told = |object: &&Value| condition(object, "Ready").is_some_and(|ready| ready.reason == "AccountNotReady");
        (objects.iter().filter(told).count() == REFUSED).then_some(())
    });

    // Just after a turn, so that the whole of the next is ahead.
    let before = turns(&crowd).len();
    world.eventually("a turn", || (turns(&crowd).len() > before).then_some(()));
    let before = turns(&crowd).len();
    let object = endpoint(&third.namespace, "api", &plain(&crowd));
    let created = world
        .cluster
        .create(&cluster::endpoints(&third.namespace), &object, Run::Real);
    created.expect("created");
    third.ready("api");

    let all = turns(&crowd);
    let own = all.iter().position(|call| is_of(call, &third.namespace));
    let own = own.expect("it was made");
    println!("turns of others before its own: {}", own - before);
    assert!(own - before <= 1, "{} turns of others came first", own - before);
    assert!(all.iter().all(Call::ok), "{all:?}");

    let tries = world.aws.calls().into_iter();
    let tries: Vec<f64> = tries
        .filter(|call| call.action == "AssumeRole" && call.params["RoleArn"] == refused.role_arn)
        .map(|call| call.time)
        .collect();
    let within_a_minute = |from: &f64| {
        tries
            .iter()
            .filter(|time| (*from..*from + 60.0).contains(*time))
            .count()
    };
    let most = tries.iter().map(within_a_minute).max().unwrap_or(0);
    println!("AssumeRole of the refused role at {tries:?}");
    assert!((1..=4).contains(&most), "{most} tries within a minute, at {tries:?}");
    assert!(refused.calls().is_empty());
}
