//! Memory is bounded by what the operator keeps, and not by what others send. It runs here with the
//! chart's memory limit, and ends where it takes more. With the same limit it runs where security
//! groups are planted ([`crate::planted`]) and where its port is attacked ([`crate::scrapes`]).

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};

use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{Setup, World, endpoint};

/// Large objects in a namespace.
const LARGE: usize = 105;
/// Objects are created from so many threads.
const THREADS: usize = 4;
const MEBIBYTE: f64 = 1_048_576.0;

/// A world whose operator ends when it takes more memory than its Deployment allows, and a tenant
/// in it.
pub(crate) fn limited() -> World {
    let mut world = World::own(Setup::fast());
    world.operator.limit_memory().expect("the Deployment has a limit");
    restart(&world);
    world
}

fn restart(world: &World) {
    world.operator.kill().expect("it ran");
    world.operator.start().expect("it starts again");
}

/// What it takes now and has taken at most.
fn tell(world: &World, when: &str) {
    let (now, most) = world.operator.memory_bytes().expect("it runs");
    println!(
        "{when}: {:.0} MiB, at most {:.0} MiB",
        now as f64 / MEBIBYTE,
        most as f64 / MEBIBYTE
    );
}

/// It is up, and works for others.
pub(crate) fn serves(tenant: &Tenant<'_>, name: &str) {
    tenant.apply(name, tenant.spec(json!({})));
    tenant.ready(name);
    let ended = tenant.world.operator.exited().expect("it was started");
    assert_eq!(ended, None, "it ended:\n{}", tenant.world.operator.logs());
}

/// Creates objects of a collection, some at once.
fn create(world: &World, collection: &str, objects: &[Value]) {
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for object in objects.iter().skip(first).step_by(THREADS) {
                    let created = world.cluster.create(collection, object, Run::Real);
                    created.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message));
                }
            });
        }
    });
}

/// Metadata of 0.6 MB: the API server takes 256 KiB of annotations, and as many labels as an object
/// has room for.
fn large(metadata: Value) -> Value {
    let labels: BTreeMap<String, String> = (0..900)
        .map(|number| {
            (
                format!("{}.example.com/label-{number:04}", "x".repeat(240)),
                "y".repeat(63),
            )
        })
        .collect();
    let mut all = json!({
        "annotations": {"example.com/note": "z".repeat(250_000)},
        "labels": labels,
    });
    for (key, value) in metadata.as_object().expect("an object") {
        match (&mut all[key], value) {
            (Value::Object(there), Value::Object(more)) => there.extend(more.clone()),
            (there, value) => *there = value.clone(),
        }
    }
    all
}

/// How many objects of a namespace say that no AWSAccount maps it.
fn told(world: &World, namespace: &str) -> usize {
    let metrics = world.operator.metrics().expect("it runs");
    let is_told = |line: &&str| {
        line.starts_with("vpce_endpoint_status_condition{")
            && line.contains(&format!("namespace=\"{namespace}\""))
            && line.contains("condition=\"Ready\"")
            && line.contains("reason=\"NoAccount\"")
            && line.contains("status=\"False\"")
    };
    let counts = metrics.lines().filter(is_told);
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum::<f64>() as usize
}

#[test]
fn large_objects_in_an_unmapped_namespace_do_not_exhaust_its_memory() {
    let world = limited();
    let neighbour = world.tenant("neighbour");
    serves(&neighbour, "before");
    tell(&world, "at rest");
    let namespace = "unmapped";
    world.cluster.create_namespace(namespace, json!({}));
    let numbers = 0..LARGE;
    let endpoints: Vec<Value> = numbers
        .clone()
        .map(|number| {
            let mut object = endpoint(namespace, &format!("large-{number}"), &neighbour.spec(json!({})));
            object["metadata"] = large(object["metadata"].take());
            object
        })
        .collect();
    create(&world, &cluster::endpoints(namespace), &endpoints);
    world.eventually("all are told that no AWSAccount maps them", || {
        (told(&world, namespace) == LARGE).then_some(())
    });
    tell(&world, "105 VPCEndpoints of 0.6 MB");
    serves(&neighbour, "beside-endpoints");

    let services: Vec<Value> = numbers
        .map(|number| {
            let ours = json!({
                "name": format!("large-{number}"), "namespace": namespace,
                "labels": {"app.kubernetes.io/managed-by": "vpce-operator"},
            });
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": large(ours),
                "spec": {"type": "ExternalName", "externalName": "example.com"},
            })
        })
        .collect();
    create(&world, &cluster::services(namespace), &services);
    serves(&neighbour, "beside-services");
    tell(&world, "and 105 Services of 0.6 MB with its label");

    // Whatever it kept, it lists them all when it starts.
    restart(&world);
    world.eventually("it knows them all again", || {
        (told(&world, namespace) == LARGE).then_some(())
    });
    tell(&world, "started over them");
    serves(&neighbour, "after-a-start");
    tell(&world, "and at work");
}
