//! Crashes while an endpoint is adopted: it is the object's in the end, and no other is made.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use vpce_testbed::aws::PausePoint;

use super::{POINTS, Withheld, crash_at, crash_without, kill, start};
use crate::adoption::tenant;
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, World};

/// The endpoint is the object's, nothing was made beside it, and it goes with the object.
#[track_caller]
fn adopted(tenant: &Tenant<'_>, id: &str, writes: usize, what: &str) {
    tenant.ready("db");
    let endpoints = tenant.endpoints();
    assert_eq!(endpoints.len(), 1, "after a crash {what}");
    assert_eq!(endpoints[0].id, id, "after a crash {what}");
    assert_eq!(endpoints[0].tags["silvermullet.com/name"], "db", "after a crash {what}");
    let made = tenant.writes().split_off(writes);
    assert!(
        made.iter().all(|action| action == "CreateTags"),
        "after a crash {what}: {made:?}"
    );
    tenant.delete("db");
    tenant.gone("db");
    assert!(tenant.endpoints().is_empty(), "after a crash {what}");
}

#[test]
fn a_crash_while_an_endpoint_is_adopted_makes_no_other_and_leaves_none() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "crash-adopted", json!({}));
    let new = || {
        let endpoint = tenant.foreign_endpoint();
        tenant.consent(&endpoint.id, "db");
        (endpoint.id, tenant.writes().len())
    };
    for point in POINTS {
        let (id, writes) = new();
        let what = format!("{point:?} CreateTags");
        let gate = world.aws.pause_on("CreateTags", point);
        tenant.apply("db", tenant.adopts(&id, json!({})));
        crash_at(&world, gate, &what);
        adopted(&tenant, &id, writes, &what);
    }
    for (verb, resource) in [
        ("patch", "vpcendpoints"),
        ("patch", "vpcendpoints/status"),
        ("create", "services"),
    ] {
        let (id, writes) = new();
        let what = format!("before it can {verb} {resource}");
        let withheld = Withheld::new(&world, verb, resource);
        tenant.apply("db", tenant.adopts(&id, json!({})));
        withheld.wait_reached();
        crash_without(&world, withheld);
        adopted(&tenant, &id, writes, &what);
    }
}

#[test]
fn an_object_that_is_deleted_before_its_endpoint_has_its_tags_leaves_it() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "crash-unadopted", json!({}));
    let endpoint = tenant.foreign_endpoint();
    tenant.consent(&endpoint.id, "db");
    let before = tenant.endpoint(&endpoint.id);
    let gate = world.aws.pause_on("CreateTags", PausePoint::Before);
    tenant.apply("db", tenant.adopts(&endpoint.id, json!({})));
    assert!(gate.wait_reached(WITHIN), "it is not adopted");
    kill(&world);
    gate.abandon();
    assert_eq!(
        tenant.get("db").expect("it is there")["status"]["vpc_endpoint_id"],
        json!(endpoint.id)
    );
    tenant.delete("db");
    start(&world);
    tenant.gone("db");
    assert_eq!(tenant.endpoint(&endpoint.id), before);
}

/// What is adopted is neither created again nor lost, whenever the operator is killed.
#[test]
fn kills_at_any_time_while_endpoints_are_adopted_make_no_other_and_leave_none() {
    const ROUNDS: usize = 4;
    const NAMES: [&str; 3] = ["api", "db", "queue"];
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "killed-adopted", json!({}));
    let seed = fastrand::u64(..1_000_000_000);
    let mut random = Rng::with_seed(seed);
    let mut killed_until = |what: &str, is_done: &dyn Fn(&str) -> bool| {
        let kills = random.usize(1..=3);
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(random.u64(..900)));
            kill(&world);
            start(&world);
        }
        world.eventually(&format!("{what} after {kills} kills, seed {seed}"), || {
            NAMES.iter().all(|name| is_done(name)).then_some(())
        });
        kills
    };
    let mut kills = 0;
    for _ in 0..ROUNDS {
        let there = NAMES.map(|name| {
            let endpoint = tenant.foreign_endpoint();
            tenant.consent(&endpoint.id, name);
            endpoint
        });
        let writes = tenant.writes().len();
        for (name, endpoint) in NAMES.iter().zip(&there) {
            tenant.apply(name, tenant.adopts(&endpoint.id, json!({})));
        }
        kills += killed_until("all are Ready", &|name| {
            tenant.condition(name, "Ready").is_some_and(|ready| ready.status)
        });
        assert_eq!(tenant.endpoints().len(), NAMES.len(), "seed {seed}");
        for (name, was) in NAMES.iter().zip(&there) {
            let is = tenant.endpoint(&was.id);
            assert_eq!(is.tags["silvermullet.com/name"], *name, "seed {seed}");
            assert_eq!(
                (is.subnet_ids, is.group_ids),
                (was.subnet_ids.clone(), was.group_ids.clone())
            );
        }
        let made = tenant.writes().split_off(writes);
        assert!(
            made.iter().all(|action| action == "CreateTags"),
            "seed {seed}: {made:?}"
        );
        for name in NAMES {
            tenant.delete(name);
        }
        kills += killed_until("all are gone", &|name| tenant.get(name).is_none());
        assert!(tenant.endpoints().is_empty(), "seed {seed}");
    }
    println!("{kills} kills, {} adoptions", ROUNDS * NAMES.len());
}
