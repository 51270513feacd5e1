//! An API server at its worst: what it refuses, delays, loses or reports late costs time, and
//! neither doubles nor leaks anything.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use vpce_testbed::api_proxy::{ApiProxy, Ending, Fault, FaultKind, Seen};
use vpce_testbed::aws::PausePoint;

use crate::cluster::{self, ACCOUNTS};
use crate::leaders::LEASE;
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, World, condition, text};

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vpcendpoints.silvermullet.com";
/// Far above what a test takes; a retry storm would pass it within seconds.
const MOST_REQUESTS: usize = 60;

/// A world whose operator reaches the API server through a proxy.
fn proxied() -> (ApiProxy, World) {
    proxied_by(Setup::fast())
}

/// The same with settings of a test's own.
pub(crate) fn proxied_by(setup: Setup) -> (ApiProxy, World) {
    let mut world = World::own(setup);
    let proxy = ApiProxy::start(&world.cluster.plane).expect("a proxy");
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.go_through(&proxy).expect("a kubeconfig");
    world.operator.start().expect("it starts");
    (proxy, world)
}

/// The namespace's object has one endpoint and one group, as they should be.
#[track_caller]
fn exactly_one(tenant: &Tenant<'_>, what: &str) -> Value {
    let object = tenant.ready("api");
    let (endpoints, groups) = (tenant.endpoints(), tenant.groups());
    assert_eq!((endpoints.len(), groups.len()), (1, 1), "{what}");
    assert_eq!(endpoints[0].group_ids, std::slice::from_ref(&groups[0].id), "{what}");
    assert_eq!((groups[0].ingress.len(), groups[0].egress.len()), (3, 1), "{what}");
    assert_eq!(object["status"]["vpc_endpoint_id"], json!(endpoints[0].id), "{what}");
    object
}

#[track_caller]
fn nothing_left(tenant: &Tenant<'_>, what: &str) {
    tenant.gone("api");
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (0, 0), "{what}");
    // A Service whose delete was answered 409 is collected by the controller manager.
    tenant.eventually("api", "the Service is gone", || {
        tenant.kubernetes_service("api").is_none().then_some(())
    });
}

/// The requests of the operator within the tenant's namespace.
fn requests(proxy: &ApiProxy, tenant: &Tenant<'_>) -> Vec<Seen> {
    let mut requests = proxy.requests();
    requests.retain(|seen| seen.namespace == tenant.namespace);
    requests
}

/// How many requests of a verb for a resource there have been.
fn count(proxy: &ApiProxy, verb: &str, resource: &str) -> usize {
    let requests = proxy.requests();
    let these = requests
        .iter()
        .filter(|seen| seen.verb == verb && seen.resource == resource);
    these.count()
}

fn restart(world: &World) {
    world.operator.start().expect("it starts again");
}

/// Faults a tenant's writes: each with how often it comes where all are carried out. What is
/// refused is refused twice.
fn fault_writes(
    proxy: &ApiProxy,
    tenant: &Tenant<'_>,
    kind: &FaultKind,
    writes: &[(&'static str, &'static str, usize)],
) {
    let refused = matches!(kind, FaultKind::Refuse { .. });
    for &(verb, resource, times) in writes {
        proxy.fault(Fault {
            namespace: Some(tenant.namespace.clone()),
            times: if refused { 2 } else { times },
            ..Fault::once(verb, resource, kind.clone())
        });
    }
}

#[test]
fn writes_that_are_refused_delayed_or_lost_end_in_one_endpoint_or_none() {
    let (proxy, world) = proxied();
    let kinds = [
        ("conflict", FaultKind::refuse(409)),
        (
            "too-many",
            FaultKind::Refuse {
                code: 429,
                retry_after: Some(1),
            },
        ),
        ("error", FaultKind::refuse(500)),
        ("unavailable", FaultKind::refuse(503)),
        ("slow", FaultKind::Delay(Duration::from_secs(3))),
        ("lost", FaultKind::LoseAnswer),
    ];
    let tenants = kinds.map(|(name, kind)| (world.tenant(name), name, kind));
    let fault = |writes: &[(&'static str, &'static str, usize)]| {
        for (tenant, _, kind) in &tenants {
            fault_writes(&proxy, tenant, kind, writes);
        }
    };
    let all_struck = |phase: &str| {
        world.eventually(&format!("all faults have struck: {phase}"), || {
            proxy.faults_left().is_empty().then_some(())
        });
    };

    // The status is written before the endpoint is made, and after.
    fault(&[
        ("patch", "vpcendpoints", 1),
        ("patch", "vpcendpoints/status", 2),
        ("create", "services", 1),
    ]);
    for (tenant, _, kind) in &tenants {
        // Once: the operator does not try again to publish an event.
        proxy.fault(Fault {
            namespace: Some(tenant.namespace.clone()),
            ..Fault::once("create", "events", kind.clone())
        });
    }
    for (tenant, ..) in &tenants {
        tenant.apply("api", tenant.spec(json!({})));
    }
    for (tenant, name, _) in &tenants {
        exactly_one(tenant, name);
    }
    all_struck("create");

    fault(&[("patch", "vpcendpoints/status", 1), ("patch", "services", 1)]);
    let edited = json!({"service": {"ports": [{"port": 443}]}, "tags": {"edited": "yes"}});
    for (tenant, ..) in &tenants {
        tenant.apply("api", tenant.spec(edited.clone()));
    }
    for (tenant, name, _) in &tenants {
        exactly_one(tenant, name);
        assert!(tenant.endpoints()[0].tags.contains_key("edited"), "{name}");
        let service = tenant.kubernetes_service("api").expect("a Service");
        assert_eq!(service["spec"]["ports"][0]["port"], 443, "{name}");
    }
    all_struck("update");

    fault(&[("patch", "vpcendpoints", 1), ("patch", "vpcendpoints/status", 1)]);
    for (tenant, _, kind) in &tenants {
        // More than one were one too many: the first is believed where it says that the Service is
        // not there, or another.
        proxy.fault(Fault {
            namespace: Some(tenant.namespace.clone()),
            ..Fault::once("delete", "services", kind.clone())
        });
    }
    for (tenant, ..) in &tenants {
        tenant.delete("api");
    }
    for (tenant, name, _) in &tenants {
        nothing_left(tenant, name);
        let requests = requests(&proxy, tenant);
        println!("{name}: {} requests", requests.len());
        assert!(requests.len() < MOST_REQUESTS, "{name}: {requests:#?}");
    }
}

#[test]
fn renewals_that_fail_in_passing_lose_no_lease() {
    let (proxy, world) = proxied();
    let tenant = world.tenant("lease");
    for kind in [
        FaultKind::refuse(409),
        FaultKind::refuse(429),
        FaultKind::refuse(500),
        FaultKind::refuse(503),
        FaultKind::Delay(Duration::from_secs(3)),
        FaultKind::LoseAnswer,
    ] {
        proxy.fault(Fault {
            times: 2,
            ..Fault::once("update", "leases", kind.clone())
        });
        let renewals = count(&proxy, "update", "leases");
        world.eventually(&format!("it renews in spite of {kind:?}"), || {
            let more = count(&proxy, "update", "leases") > renewals + 3;
            (more && proxy.faults_left().is_empty()).then_some(())
        });
    }
    tenant.apply("api", tenant.spec(json!({})));
    exactly_one(&tenant, "under the same leader");
    assert_eq!(world.operator.exited().expect("it was running"), None);
    assert!(count(&proxy, "update", "leases") < MOST_REQUESTS);
}

/// Does something that only a watch of the resource can show, and waits until the operator has
/// answered.
fn told_by_watch(tenant: &Tenant<'_>, resource: &str) {
    let world = tenant.world;
    let label = |value: Value| {
        let namespace = tenant.namespace_path();
        let labels = json!({"metadata": {"labels": {"tenant": value}}});
        world.cluster.merge(&namespace, &labels).expect("labelled");
    };
    match resource {
        "vpcendpoints" => {
            tenant.apply("more", tenant.spec(json!({})));
            tenant.ready("more");
            tenant.delete("more");
            tenant.gone("more");
        }
        "awsaccounts" => {
            tenant.edit_account(json!({"suspended": true}));
            tenant.paused("api", "AccountSuspended");
            tenant.edit_account(json!({"suspended": null}));
        }
        "namespaces" => {
            label(json!("another"));
            tenant.paused("api", "MappingRevoked");
            label(json!(tenant.namespace));
        }
        _ => {
            let path = format!("{}/api", cluster::services(&tenant.namespace));
            let elsewhere = json!({"spec": {"externalName": "elsewhere.example.com"}});
            world.cluster.merge(&path, &elsewhere).expect("edited");
            tenant.eventually("api", "its Service leads to the endpoint again", || {
                let service = tenant.kubernetes_service("api")?;
                (service["spec"]["externalName"] != "elsewhere.example.com").then_some(())
            });
        }
    }
    exactly_one(tenant, resource);
}

#[test]
fn a_watch_that_ends_breaks_or_expires_goes_on() {
    // A resync does not help: it reads what the watches have cached.
    let (proxy, world) = proxied();
    let tenant = world.unregistered_tenant("watch");
    let selector = json!({"matchLabels": {"tenant": tenant.namespace}});
    tenant.register(json!({"namespaces": null, "namespace_selector": selector}));
    tenant.apply("api", tenant.spec(json!({})));
    let id = exactly_one(&tenant, "at first")["status"]["vpc_endpoint_id"].take();
    for ending in [Ending::Closed, Ending::Cut, Ending::Expired, Ending::Compacted] {
        for resource in ["vpcendpoints", "awsaccounts", "namespaces", "services"] {
            let begun = count(&proxy, "watch", resource);
            proxy.end_watches(resource, ending);
            world.eventually(&format!("a watch of {resource} begins after {ending:?}"), || {
                let requests = proxy.requests();
                let watches = requests
                    .iter()
                    .filter(|seen| seen.verb == "watch" && seen.resource == resource);
                watches.skip(begun).any(|seen| seen.code == Some(200)).then_some(())
            });
            told_by_watch(&tenant, resource);
        }
    }
    let object = exactly_one(&tenant, "in the end");
    assert_eq!(object["status"]["vpc_endpoint_id"], id);
    for resource in ["vpcendpoints", "awsaccounts", "namespaces", "services"] {
        let asked = count(&proxy, "watch", resource) + count(&proxy, "list", resource);
        assert!(asked < MOST_REQUESTS, "{asked} lists and watches of {resource}");
    }
}

#[test]
fn what_was_written_before_a_restart_is_not_made_again_when_the_api_server_shows_it_late() {
    let (proxy, world) = proxied();
    let tenant = world.tenant("late");
    let refused = |resource: &str| -> Vec<Seen> {
        let mut requests = requests(&proxy, &tenant);
        requests.retain(|seen| seen.resource == resource && seen.code == Some(409));
        requests
    };
    // As it was when nothing had been done for it.
    assert!(world.operator.terminate().expect("it was running").success());
    tenant.apply("api", tenant.spec(json!({})));
    let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
    restart(&world);
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    let bare = proxy.last_list("vpcendpoints").expect("it has listed");
    assert!(
        !String::from_utf8_lossy(&bare).contains("finalizers"),
        "no finalizer yet"
    );
    world.operator.kill().expect("it was running");
    gate.abandon();
    let lag = proxy.hold_back("vpcendpoints");
    proxy.answer_lists_with("vpcendpoints", Some(bare));
    let before = requests(&proxy, &tenant).len();
    restart(&world);
    tenant.eventually(
        "api",
        "it writes what is refused, since it knows an old version",
        || (refused("vpcendpoints").len() >= 6).then_some(()),
    );
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (1, 1));
    let refusals = refused("vpcendpoints");
    let wait = refusals[5].at - refusals[4].at;
    assert!(wait > Duration::from_secs(1), "it tries less and less often: {wait:?}");
    drop(lag);
    exactly_one(&tenant, "it has caught up");
    let tried = requests(&proxy, &tenant).len() - before;
    assert!(tried < MOST_REQUESTS, "{tried} requests");

    // As it was before it was deleted; its endpoint is gone by now.
    proxy.answer_lists_with("vpcendpoints", None);
    assert!(world.operator.terminate().expect("it was running").success());
    restart(&world);
    exactly_one(&tenant, "after a restart");
    let alive = proxy.last_list("vpcendpoints").expect("it has listed");
    let gate = world.aws.pause_on("DeleteSecurityGroup", PausePoint::Before);
    tenant.delete("api");
    assert!(gate.wait_reached(WITHIN), "it does not come to the group");
    assert_eq!(tenant.endpoints(), []);
    world.operator.kill().expect("it was running");
    gate.abandon();
    let lag = proxy.hold_back("vpcendpoints");
    proxy.answer_lists_with("vpcendpoints", Some(alive));
    let (before, writes) = (refused("vpcendpoints/status").len(), tenant.writes());
    restart(&world);
    tenant.eventually(
        "api",
        "it writes what is refused, since it knows an old version",
        || (refused("vpcendpoints/status").len() >= before + 3).then_some(()),
    );
    assert_eq!(
        tenant.writes(),
        writes,
        "no endpoint is made for an object that is being deleted"
    );
    drop(lag);
    nothing_left(&tenant, "it has caught up");

    // The API server shows what is most recent to whoever asks for that, and old things to whoever
    // does not mind.
    let requests = proxy.requests();
    let lists: Vec<&str> = requests
        .iter()
        .filter(|seen| seen.verb == "list")
        .map(|seen| seen.query.as_str())
        .collect();
    assert!(!lists.is_empty());
    assert!(
        !lists.iter().any(|query| query.contains("resourceVersion")),
        "{lists:?}"
    );
}

#[test]
fn nothing_is_bound_to_an_account_that_could_go() {
    let (proxy, world) = proxied();
    // It has no finalizer, and gets none for a while.
    let tenant = world.unregistered_tenant("unprotected");
    let refused = || count(&proxy, "patch", "awsaccounts");
    proxy.fault(Fault {
        times: usize::MAX,
        ..Fault::once("patch", "awsaccounts", FaultKind::refuse(500))
    });
    tenant.register(json!({}));
    tenant.apply("api", tenant.spec(json!({})));
    tenant.eventually("api", "it has the object's finalizer", || {
        let object = tenant.get("api")?;
        (!object["metadata"]["finalizers"].is_null()).then_some(())
    });
    let before = refused();
    tenant.eventually("api", "the AWSAccount's finalizer is refused time and again", || {
        (refused() >= before + 3).then_some(())
    });
    assert_eq!(tenant.get("api").expect("there")["status"]["account"], Value::Null);
    assert!(tenant.writes().is_empty());
    proxy.clear_faults();
    exactly_one(&tenant, "the AWSAccount has its finalizer");
    let account = world.aws_account(&tenant.account).expect("there");
    assert_eq!(
        account["metadata"]["finalizers"],
        json!(["silvermullet.com/awsaccount"])
    );
    tenant.delete("api");
    nothing_left(&tenant, "deleted");

    // It goes while an object is about to be bound to it.
    let tenant = world.tenant("leaving");
    world.eventually("nobody uses the AWSAccount", || {
        let account = world.aws_account(&tenant.account)?;
        (account["status"]["endpoints"] == 0).then_some(())
    });
    proxy.fault(Fault {
        namespace: Some(tenant.namespace.clone()),
        ..Fault::once("patch", "vpcendpoints", FaultKind::Delay(Duration::from_secs(3)))
    });
    tenant.apply("api", tenant.spec(json!({})));
    world.eventually("the object's finalizer is on its way", || {
        proxy.faults_left().is_empty().then_some(())
    });
    world.cluster.delete(&format!("{ACCOUNTS}/{}", tenant.account));
    // In either order: an object that is bound has its AWSAccount.
    let bound = tenant.eventually("api", "it is bound, or there is no AWSAccount for it", || {
        let object = tenant.get("api")?;
        let bound = !object["status"]["account"].is_null();
        let reason = condition(&object, "AccountResolved")?.reason;
        (bound || reason == "NoAccount").then_some(bound)
    });
    if bound {
        exactly_one(&tenant, "the AWSAccount waits");
        assert!(world.aws_account(&tenant.account).is_some());
    } else {
        world.eventually("the AWSAccount is gone", || {
            world.aws_account(&tenant.account).is_none().then_some(())
        });
        assert!(tenant.writes().is_empty());
        assert_eq!(tenant.get("api").expect("there")["status"]["account"], Value::Null);
    }
}

#[test]
fn etcd_and_the_api_server_may_die_at_any_time() {
    let world = World::own(Setup::fast());
    let plane = &world.cluster.plane;
    let tenant = world.tenant("etcd");

    // For a moment, in the middle of a create: the operator lives through it.
    let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
    tenant.apply("api", tenant.spec(json!({})));
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    plane.kill_etcd().expect("it was running");
    gate.release();
    plane.start_etcd().expect("it starts again");
    goes_on(&world);
    let id = exactly_one(&tenant, "etcd was killed")["status"]["vpc_endpoint_id"].take();
    plane.kill_api_server().expect("it was running");
    plane.start_api_server().expect("it starts again");
    goes_on(&world);
    tenant.apply("api", tenant.spec(json!({"tags": {"edited": "yes"}})));
    assert_eq!(
        exactly_one(&tenant, "the API server was killed")["status"]["vpc_endpoint_id"],
        id
    );

    // For longer than the Lease may go without a renewal, in the middle of a deletion.
    let gate = world.aws.pause_on("DeleteVpcEndpoints", PausePoint::After);
    tenant.delete("api");
    assert!(gate.wait_reached(WITHIN), "no endpoint is deleted");
    plane.kill_etcd().expect("it was running");
    gate.release();
    let status = world.eventually("it ends, since it leads no more", || {
        world.operator.exited().expect("it was running")
    });
    assert!(!status.success(), "{status}");
    plane.start_etcd().expect("it starts again");
    goes_on(&world);
    nothing_left(&tenant, "etcd was gone for long");
}

/// Starts the operator again whenever it has ended, as a kubelet does, until it has renewed its
/// Lease since the API server is back.
fn goes_on(world: &World) {
    let back = Timestamp::now();
    world.eventually("it leads", || {
        if world.operator.exited().expect("it was running").is_some() {
            world.operator.kill().expect("it has ended");
            restart(world);
        }
        let renewed = text(&world.cluster.get(LEASE)?["spec"]["renewTime"]);
        let renewed: Timestamp = renewed.parse().ok()?;
        (renewed > back).then_some(())
    });
}

#[test]
fn a_crd_update_at_run_time_disturbs_nothing() {
    let (proxy, world) = proxied();
    let tenant = world.tenant("crd");
    let columns = |number: usize| {
        let mut definition = world.cluster.get(DEFINITION).expect("a definition");
        let versions = definition["spec"]["versions"].take();
        let mut versions = versions.as_array().expect("versions").clone();
        let columns = versions[0]["additionalPrinterColumns"].as_array_mut().expect("columns");
        columns.push(json!({"name": format!("Tags {number}"), "type": "string", "jsonPath": ".spec.tags"}));
        let change = json!({"metadata": {"labels": {"edited": number.to_string()}}, "spec": {"versions": versions}});
        world.cluster.merge(DEFINITION, &change).expect("a definition");
    };
    let watched = |begun: usize| {
        world.eventually("it watches again", || {
            (count(&proxy, "watch", "vpcendpoints") > begun).then_some(())
        });
    };
    let begun = count(&proxy, "watch", "vpcendpoints");
    let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
    tenant.apply("api", tenant.spec(json!({})));
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    columns(1);
    watched(begun);
    gate.release();
    let id = exactly_one(&tenant, "created")["status"]["vpc_endpoint_id"].take();

    let begun = count(&proxy, "watch", "vpcendpoints");
    let gate = world.aws.pause_on("CreateTags", PausePoint::Before);
    tenant.apply("api", tenant.spec(json!({"tags": {"edited": "yes"}})));
    assert!(gate.wait_reached(WITHIN), "no tag is set");
    columns(2);
    watched(begun);
    gate.release();
    assert_eq!(exactly_one(&tenant, "updated")["status"]["vpc_endpoint_id"], id);

    let gate = world.aws.pause_on("DeleteVpcEndpoints", PausePoint::After);
    let begun = count(&proxy, "watch", "vpcendpoints");
    tenant.delete("api");
    assert!(gate.wait_reached(WITHIN), "no endpoint is deleted");
    columns(3);
    watched(begun);
    gate.release();
    nothing_left(&tenant, "deleted");
    let object = tenant.apply("again", tenant.spec(json!({})));
    assert_eq!(condition(&object, "Ready"), None);
    tenant.ready("again");
}
