//! One tenant's crowd is not in another's way: turns of the line, tries of a refused role, and
//! objects that wait.

use std::thread;

use serde_json::{Value, json};
use vpce_testbed::aws::Call;

use crate::cluster::{self, Run};
use crate::events;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, endpoint, merged, text};

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
        line.starts_with("vpce_aws_rate_limiter_queue_length{")
            && line.contains(&tenant.account_id)
            && line.contains(CREATE)
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

/// Objects that are created and deleted at once.
const PASSING: usize = 300;
/// A place that is kept for an object that is gone is kept for so many seconds, several times in a
/// row.
const KEPT: f64 = 10.0;

/// Asks for the deletion of so many VPCEndpoints in a namespace.
fn delete(world: &World, namespace: &str, count: usize) {
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for number in (first..count).step_by(THREADS) {
                    let path = format!("{}/{}", cluster::endpoints(namespace), name(number));
                    // This version, or else the API server may at once remove what got a finalizer
                    // just now.
                    while let Some(object) = world.cluster.get(&path) {
                        let version = text(&object["metadata"]["resourceVersion"]);
                        match world.cluster.try_delete_version(&path, &version) {
                            Ok(_) => break,
                            Err(refusal) if [404, 409].contains(&refusal.code) => {}
                            Err(refusal) => panic!("{path}: {}", refusal.message),
                        }
                    }
                }
            });
        }
    });
}

/// Waits until a namespace has no VPCEndpoints any more.
fn all_gone(world: &World, namespace: &str) {
    world.eventually("all are gone", || {
        world
            .cluster
            .list(&cluster::endpoints(namespace))
            .is_empty()
            .then_some(())
    });
}

/// A crowd and a neighbour: two namespaces of one AWS account.
fn crowd_and_neighbour(world: &World) -> (Tenant<'_>, Tenant<'_>) {
    let crowd = world.unregistered_tenant("crowd");
    let neighbour = Tenant {
        namespace: format!("{}-neighbour", crowd.namespace),
        account: crowd.account.clone(),
        account_id: crowd.account_id.clone(),
        role_arn: crowd.role_arn.clone(),
        vpc: crowd.vpc.clone(),
        subnets: crowd.subnets.clone(),
        group: crowd.group.clone(),
        service: crowd.service.clone(),
        ..world.unregistered_tenant("neighbour")
    };
    world.cluster.create_namespace(&neighbour.namespace, json!({}));
    crowd.register(json!({"namespaces": [crowd.namespace, neighbour.namespace]}));
    (crowd, neighbour)
}

#[test]
fn what_is_deleted_or_may_not_go_on_leaves_the_queue_at_once() {
    let rate = format!("1/{}", 1.0 / TURN);
    let world = World::own(Setup::fast().value("settings.awsLimits.CreateVpcEndpoint", &rate));
    let (crowd, neighbour) = crowd_and_neighbour(&world);
    let all_wait = || {
        world.eventually("all creates are in line", || {
            (in_line(&crowd) + turns(&crowd).len() >= WAITING).then_some(())
        });
    };
    let none_waits = |why: &str| {
        let begun = world.aws.now();
        // The AWSAccount's own dry run may wait there, too.
        world.eventually("nobody is left in line", || (in_line(&crowd) <= 1).then_some(()));
        let seconds = world.aws.now() - begun;
        println!("{why}: the last of them left the line after {seconds:.1} s");
        assert!(seconds < KEPT / 2.0, "{why}: {seconds:.1} s");
    };
    create(&world, &crowd.namespace, &plain(&crowd), WAITING);
    all_wait();
    crowd.edit_account(json!({"suspended": true}));
    for number in 0..WAITING {
        // One that had its turn serves on, and says so too.
        let name = name(number);
        crowd.eventually(&name, "it knows that it may not go on", || {
            (crowd.reason(&name) == "AccountSuspended").then_some(())
        });
    }
    none_waits("suspended");
    crowd.edit_account(json!({"suspended": false}));
    all_wait();
    delete(&world, &crowd.namespace, WAITING);
    all_gone(&world, &crowd.namespace);
    none_waits("deleted");

    let before = turns(&crowd).len();
    neighbour.apply("api", plain(&crowd));
    neighbour.ready("api");
    let all = turns(&crowd);
    assert_eq!(all.len(), before + 1, "the turn was the neighbour's");
    assert!(is_of(&all[before], &neighbour.namespace));
}

#[test]
fn beside_many_that_are_created_and_deleted_at_once_a_neighbour_is_ready_as_soon_as_alone() {
    let world = World::own(Setup::fast());
    let (crowd, neighbour) = crowd_and_neighbour(&world);
    let spec = crowd.spec(json!({}));
    let until_ready = |name: &str| {
        let applied = world.aws.now();
        neighbour.apply(name, spec.clone());
        neighbour.ready(name);
        world.aws.now() - applied
    };
    until_ready("warm-up");
    let alone = until_ready("alone");
    create(&world, &crowd.namespace, &spec, PASSING);
    delete(&world, &crowd.namespace, PASSING);
    let beside = until_ready("beside");
    println!("alone {alone:.1} s, beside {PASSING} objects {beside:.1} s");
    assert!(beside < alone + KEPT, "alone {alone:.1} s, beside them {beside:.1} s");
    all_gone(&world, &crowd.namespace);
    let left = (crowd.groups(), crowd.endpoints());
    assert_eq!((left.0.len(), left.1.len()), (3, 3), "the neighbour's: {left:#?}");
}

/// Regions that a user can make up.
const MADE_UP: usize = 40;

#[test]
fn objects_of_regions_that_do_not_exist_hold_no_place_of_the_account_and_are_not_named_in_its_events() {
    let world = World::own(Setup::fast());
    let (crowd, neighbour) = crowd_and_neighbour(&world);
    crowd.edit_account(json!({"max_endpoints": 2}));
    for number in 0..MADE_UP {
        let spec = merged(plain(&crowd), json!({"region": format!("xx-nowhere-{number}")}));
        crowd.apply(&name(number), spec);
    }
    world.eventually("all of them are told", || {
        let objects = world.cluster.list(&cluster::endpoints(&crowd.namespace));
        let told = objects.iter().filter_map(|object| condition(object, "Ready"));
        (told.filter(|ready| !ready.status).count() == MADE_UP).then_some(())
    });
    for name in ["one", "two"] {
        neighbour.apply(name, plain(&crowd));
        neighbour.ready(name);
    }
    let told = events::of_account(&crowd);
    println!("{} events", told.len());
    assert!(told.len() <= 3, "however many regions are made up: {told:#?}");
    for event in told {
        let note = event["note"].as_str().expect("a note");
        assert!(!note.contains(&crowd.namespace) && !note.contains("api-"), "{note}");
    }
}

/// How often AWS is asked, at most, about an object that is not at work.
const POLL: f64 = 3.0;

#[test]
fn an_annotation_that_is_changed_in_a_loop_costs_one_read_a_poll_interval() {
    let mut setup = Setup::fast().value("settings.resyncIntervalSeconds", "3600");
    setup
        .env
        .push(("VPCE_POLL_INTERVAL_SECONDS".to_owned(), POLL.to_string()));
    let world = World::own(setup);
    let tenant = world.tenant("loop");
    tenant.apply("api", plain(&tenant));
    tenant.ready("api");
    let reads = |since: f64| {
        let mut calls = tenant.calls();
        calls.retain(|call| call.action == "DescribeVpcEndpoints" && call.time > since);
        calls.len()
    };
    let ask = |value: usize| {
        let annotations = json!({"silvermullet.com/reconcile-at": value.to_string()});
        tenant.merge("api", json!({"metadata": {"annotations": annotations}}));
    };
    // One that comes alone is heard at once.
    let begun = world.aws.now();
    ask(0);
    world.eventually("a read", || (reads(begun) > 0).then_some(()));
    let mut changes = 0;
    while world.aws.now() < begun + 3.0 * POLL {
        changes += 1;
        ask(changes);
    }
    let last = world.aws.now();
    world.eventually("a read after the last change", || (reads(last) > 0).then_some(()));
    let seconds = world.aws.now() - begun;
    println!("{changes} changes in {:.1} s: {} reads", last - begun, reads(begun));
    assert!(changes > 30, "{changes} changes");
    let most = (seconds / POLL).ceil() as usize + 1;
    assert!(reads(begun) <= most, "{} reads in {seconds:.1} s", reads(begun));
}
