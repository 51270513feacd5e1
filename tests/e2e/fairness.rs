//! Many objects of one tenant do not delay another's: the rate limiter's queue, retries of a
//! refused role, and objects that wait.

use std::thread;

use serde_json::{Value, json};
use vpce_testbed::aws::Call;

use crate::cluster::{self, Run};
use crate::events;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, endpoint, merged, text};

/// Objects of the tenant whose role is refused.
const REFUSED: usize = 300;
/// Creates that wait in the rate limiter's queue.
const WAITING: usize = 60;
/// Seconds between two tokens: many times as long as it takes to enter the queue.
const TOKEN_SECONDS: f64 = 10.0;
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

/// The CreateVpcEndpoint calls of an account, one for each token.
fn creates(tenant: &Tenant<'_>) -> Vec<Call> {
    let mut calls = tenant.calls();
    calls.retain(|call| call.action == CREATE);
    calls
}

fn is_of(call: &Call, namespace: &str) -> bool {
    call.params.values().any(|value| value == namespace)
}

/// How many calls are queued, by the metrics.
fn queued(tenant: &Tenant<'_>) -> usize {
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
fn a_new_object_waits_for_one_token_of_each_queued_namespace() {
    let rate = format!("1/{}", 1.0 / TOKEN_SECONDS);
    let setup = Setup::fast()
        .value("settings.refusedRetrySeconds", "30")
        .value("settings.awsLimits.CreateVpcEndpoint", &rate);
    let world = World::own(setup);
    let refused = world.unregistered_tenant("refused");
    world.set_trust(&refused.role_arn, false);
    refused.register(json!({}));
    let busy = world.unregistered_tenant("busy");
    let third = Tenant {
        namespace: format!("{}-third", busy.namespace),
        ..world.unregistered_tenant("third")
    };
    world.cluster.create_namespace(&third.namespace, json!({}));
    busy.register(json!({"namespaces": [busy.namespace, third.namespace]}));
    create(&world, &refused.namespace, &plain(&refused), REFUSED);
    create(&world, &busy.namespace, &plain(&busy), WAITING);
    world.eventually("all creates are queued", || {
        (queued(&busy) + creates(&busy).len() >= WAITING).then_some(())
    });
    world.eventually("all of the refused are events so", || {
        let objects = world.cluster.list(&cluster::endpoints(&refused.namespace));
        let events =
            |object: &&Value| condition(object, "Ready").is_some_and(|ready| ready.reason == "AccountNotReady");
        (objects.iter().filter(events).count() == REFUSED).then_some(())
    });

    // Just after a token, so that the whole interval to the next is ahead.
    let before = creates(&busy).len();
    world.eventually("a create", || (creates(&busy).len() > before).then_some(()));
    let before = creates(&busy).len();
    let object = endpoint(&third.namespace, "api", &plain(&busy));
    let created = world
        .cluster
        .create(&cluster::endpoints(&third.namespace), &object, Run::Real);
    created.expect("created");
    third.ready("api");

    let all = creates(&busy);
    let own = all.iter().position(|call| is_of(call, &third.namespace));
    let own = own.expect("it was made");
    println!("creates of others before its own: {}", own - before);
    assert!(own - before <= 1, "{} creates of others came first", own - before);
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

/// A tenant with many objects and a neighbour: two namespaces of one AWS account.
fn busy_and_neighbour(world: &World) -> (Tenant<'_>, Tenant<'_>) {
    let busy = world.unregistered_tenant("busy");
    let neighbour = Tenant {
        namespace: format!("{}-neighbour", busy.namespace),
        account: busy.account.clone(),
        account_id: busy.account_id.clone(),
        role_arn: busy.role_arn.clone(),
        vpc: busy.vpc.clone(),
        subnets: busy.subnets.clone(),
        group: busy.group.clone(),
        service: busy.service.clone(),
        ..world.unregistered_tenant("neighbour")
    };
    world.cluster.create_namespace(&neighbour.namespace, json!({}));
    busy.register(json!({"namespaces": [busy.namespace, neighbour.namespace]}));
    (busy, neighbour)
}

#[test]
fn what_is_deleted_or_may_not_go_on_leaves_the_queue_at_once() {
    let rate = format!("1/{}", 1.0 / TOKEN_SECONDS);
    let world = World::own(Setup::fast().value("settings.awsLimits.CreateVpcEndpoint", &rate));
    let (busy, neighbour) = busy_and_neighbour(&world);
    let all_wait = || {
        world.eventually("all creates are queued", || {
            (queued(&busy) + creates(&busy).len() >= WAITING).then_some(())
        });
    };
    let none_waits = |why: &str| {
        let begun = world.aws.now();
        // The AWSAccount's own dry run may wait there, too.
        world.eventually("the queue is empty but for one", || (queued(&busy) <= 1).then_some(()));
        let seconds = world.aws.now() - begun;
        println!("{why}: the last of them left the queue after {seconds:.1} s");
        assert!(seconds < KEPT / 2.0, "{why}: {seconds:.1} s");
    };
    create(&world, &busy.namespace, &plain(&busy), WAITING);
    all_wait();
    busy.edit_account(json!({"suspended": true}));
    for number in 0..WAITING {
        // One that was created before serves on, and says so too.
        let name = name(number);
        busy.eventually(&name, "it knows that it may not go on", || {
            (busy.reason(&name) == "AccountSuspended").then_some(())
        });
    }
    none_waits("suspended");
    busy.edit_account(json!({"suspended": false}));
    all_wait();
    delete(&world, &busy.namespace, WAITING);
    all_gone(&world, &busy.namespace);
    none_waits("deleted");

    let before = creates(&busy).len();
    neighbour.apply("api", plain(&busy));
    neighbour.ready("api");
    let all = creates(&busy);
    assert_eq!(all.len(), before + 1, "the token was the neighbour's");
    assert!(is_of(&all[before], &neighbour.namespace));
}

#[test]
fn beside_many_creations_and_deletions_a_neighbour_is_ready_as_soon_as_alone() {
    let world = World::own(Setup::fast());
    let (busy, neighbour) = busy_and_neighbour(&world);
    let spec = busy.spec(json!({}));
    let until_ready = |name: &str| {
        let applied = world.aws.now();
        neighbour.apply(name, spec.clone());
        neighbour.ready(name);
        world.aws.now() - applied
    };
    until_ready("warm-up");
    let alone = until_ready("alone");
    create(&world, &busy.namespace, &spec, PASSING);
    delete(&world, &busy.namespace, PASSING);
    let beside = until_ready("beside");
    println!("alone {alone:.1} s, beside {PASSING} objects {beside:.1} s");
    assert!(beside < alone + KEPT, "alone {alone:.1} s, beside them {beside:.1} s");
    all_gone(&world, &busy.namespace);
    let left = (busy.groups(), busy.endpoints());
    assert_eq!((left.0.len(), left.1.len()), (3, 3), "the neighbour's: {left:#?}");
}

/// Regions that a user can make up.
const MADE_UP: usize = 40;

#[test]
fn objects_of_unknown_regions_do_not_count_against_the_account_nor_appear_in_its_events() {
    let world = World::own(Setup::fast());
    let (busy, neighbour) = busy_and_neighbour(&world);
    busy.edit_account(json!({"max_endpoints": 2}));
    for number in 0..MADE_UP {
        let spec = merged(plain(&busy), json!({"region": format!("xx-nowhere-{number}")}));
        busy.apply(&name(number), spec);
    }
    world.eventually("all of them are events", || {
        let objects = world.cluster.list(&cluster::endpoints(&busy.namespace));
        let events = objects.iter().filter_map(|object| condition(object, "Ready"));
        (events.filter(|ready| !ready.status).count() == MADE_UP).then_some(())
    });
    for name in ["one", "two"] {
        neighbour.apply(name, plain(&busy));
        neighbour.ready(name);
    }
    let events = events::of_account(&busy);
    println!("{} events", events.len());
    assert!(events.len() <= 3, "however many regions are made up: {events:#?}");
    for event in events {
        let note = event["note"].as_str().expect("a note");
        assert!(!note.contains(&busy.namespace) && !note.contains("api-"), "{note}");
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
