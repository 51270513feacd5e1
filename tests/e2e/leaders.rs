//! Of several replicas one works, and another takes over when it is gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vpce_testbed::operator::Operator;

use crate::world::{Setup, World, text};

pub(crate) const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/vpce-system/leases/vpce-operator";

fn leads(operator: &Operator) -> bool {
    operator
        .metrics()
        .is_ok_and(|metrics| metrics.contains("\nvpce_leader 1\n"))
}

fn holder(world: &World) -> String {
    let lease = world.cluster.get(LEASE).expect("there");
    text(&lease["spec"]["holderIdentity"])
}

#[test]
fn a_standby_takes_over_when_the_leader_is_killed() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("failover");
    world.eventually("the first leads", || leads(&world.operator).then_some(()));
    let second = world
        .operator
        .replica("second", &[])
        .expect("a replica that waits is ready");
    assert!(!leads(&second) && second.logs().contains("another replica is the leader"));
    tenant.apply("api", tenant.spec(json!({})));
    let id = tenant.ready("api")["status"]["vpc_endpoint_id"].take();
    assert!(!second.logs().contains("opened a session"), "who waits does nothing");

    world.operator.kill().expect("it was running");
    let died = Instant::now();
    tenant.apply("later", tenant.spec(json!({})));
    world.eventually("the second leads", || leads(&second).then_some(()));
    // Not before the Lease has run out.
    assert!(died.elapsed() > Duration::from_secs(5), "{:?}", died.elapsed());
    tenant.ready("later");
    assert_eq!(tenant.ready("api")["status"]["vpc_endpoint_id"], id);
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (2, 2));

    // The first comes back as one who waits, and is handed the Lease when the second is asked to
    // stop.
    let first = world.operator.replica("first-again", &[]).expect("it starts");
    assert!(!leads(&first));
    let status = second.terminate().expect("it was running");
    assert!(status.success(), "{status}");
    assert!(second.logs().contains("no longer leading"), "{}", second.logs());
    world.eventually("the first leads", || leads(&first).then_some(()));
    tenant.delete("api");
    tenant.gone("api");
}

#[test]
fn a_process_that_loses_the_lease_ends_at_once() {
    let world = World::own(Setup::fast());
    world.eventually("it leads", || leads(&world.operator).then_some(()));
    let mine = holder(&world);
    assert!(mine.starts_with("vpce-operator-0_"), "{mine}");
    let theft = json!({"spec": {"holderIdentity": "somebody_else"}});
    world.cluster.merge(LEASE, &theft).expect("an administrator may");
    let status = world.eventually("it has ended", || world.operator.exited().expect("it was running"));
    assert!(!status.success(), "{status}");
    let logs = world.operator.logs();
    assert!(!logs.contains("stopped"), "it was not asked to: {logs}");
    assert_eq!(holder(&world), "somebody_else");
}

#[test]
fn a_container_that_starts_again_in_its_pod_goes_on_at_once() {
    // Long enough that waiting for it would fail the test.
    let world = World::own(Setup::fast().value("settings.leaseDurationSeconds", "3600"));
    world.eventually("it leads", || leads(&world.operator).then_some(()));
    let before = holder(&world);
    world.operator.kill().expect("it was running");
    world.operator.start().expect("it starts");
    world.eventually("it leads again", || leads(&world.operator).then_some(()));
    let lease: Value = world.cluster.get(LEASE).expect("there");
    assert_ne!(
        text(&lease["spec"]["holderIdentity"]),
        before,
        "another process of the pod"
    );
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

#[test]
fn even_with_two_leaders_nothing_is_created_twice() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("two-leaders");
    let second = world.operator.replica("second", &[("VPCE_LEASE_NAMESPACE", "")]);
    let second = second.expect("without an election it works");
    world.eventually("both lead", || (leads(&world.operator) && leads(&second)).then_some(()));
    let names: Vec<String> = (0..12).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in &names {
        tenant.ready(name);
    }
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (12, 12));
    for name in &names {
        tenant.delete(name);
    }
    for name in &names {
        tenant.gone(name);
    }
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}
