//! Each event is recorded once, in the words of the conditions, on the object that it is about;
//! and of what is the account's on the AWSAccount.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// Longer than a fast world's resync interval.
const A_WHILE: Duration = Duration::from_secs(8);

/// The events of an AWSAccount.
pub(crate) fn of_account(tenant: &Tenant<'_>) -> Vec<Value> {
    // Where Kubernetes keeps those of cluster-scoped objects.
    regarding(tenant, "default", "AWSAccount", &tenant.account)
}

fn of_endpoint(tenant: &Tenant<'_>, name: &str) -> Vec<Value> {
    regarding(tenant, &tenant.namespace, "VPCEndpoint", name)
}

fn regarding(tenant: &Tenant<'_>, namespace: &str, kind: &str, name: &str) -> Vec<Value> {
    let mut events = tenant.world.cluster.list(&cluster::events(namespace));
    events.retain(|event| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name);
    events
}

/// Those of this reason, which are Warnings.
fn warnings(events: Vec<Value>, reason: &str) -> Vec<Value> {
    let warnings: Vec<Value> = events.into_iter().filter(|event| event["reason"] == reason).collect();
    assert!(warnings.iter().all(|event| event["type"] == "Warning"), "{warnings:?}");
    warnings
}

/// Waits for the only Warning of this reason on the AWSAccount, and returns its note.
#[track_caller]
fn told_once_on_account(tenant: &Tenant<'_>, reason: &str) -> String {
    let find = || warnings(of_account(tenant), reason);
    tenant
        .world
        .eventually(&format!("the AWSAccount tells of {reason}"), || find().pop());
    std::thread::sleep(A_WHILE);
    let told = find();
    assert_eq!(told.len(), 1, "{told:#?}");
    text(&told[0]["note"])
}

/// How often an event was recorded.
fn count(event: &Value) -> i64 {
    event["series"]["count"].as_i64().unwrap_or(1)
}

#[test]
fn a_repeated_event_counts_in_the_series_of_the_first_even_after_a_restart() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("again");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let suspend_and_resume = |times: i64| {
        tenant.edit_account(json!({"suspended": true}));
        let message = tenant.paused("api", "AccountSuspended");
        let told = || warnings(of_endpoint(&tenant, "api"), "AccountSuspended");
        tenant.eventually("api", &format!("it is told {times} times"), || {
            (told().first().map(count) == Some(times)).then_some(())
        });
        let told = told();
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(text(&told[0]["note"]), message);
        tenant.edit_account(json!({"suspended": false}));
        tenant.ready("api");
    };
    suspend_and_resume(1);
    suspend_and_resume(2);
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.start().expect("it starts");
    suspend_and_resume(3);
    let described = world.kubectl(&["describe", "vpce", "api", "--namespace", &tenant.namespace]);
    assert!(described.contains("(x3 over"), "{described}");
}

#[test]
fn a_lasting_failure_is_one_event_and_another_of_the_same_reason_has_its_own() {
    let world = World::shared();
    let tenant = world.tenant("words");
    let says = |action: &str| {
        tenant.eventually("api", &format!("it says that {action} is denied"), || {
            let ready = tenant.condition("api", "Ready")?;
            (ready.reason == "Denied" && ready.message.contains(action)).then_some(ready.message)
        })
    };
    world.aws.deny(&tenant.role_arn, "ec2:CreateSecurityGroup");
    tenant.apply("api", tenant.spec(json!({})));
    let first = says("CreateSecurityGroup");
    std::thread::sleep(A_WHILE);
    world.aws.deny(&tenant.role_arn, "ec2:CreateVpcEndpoint");
    world.aws.allow(&tenant.role_arn, "ec2:CreateSecurityGroup");
    let second = says("CreateVpcEndpoint");
    std::thread::sleep(A_WHILE);
    let mut told: Vec<(String, i64)> = warnings(of_endpoint(&tenant, "api"), "Denied")
        .iter()
        .map(|event| (text(&event["note"]), count(event)))
        .collect();
    told.sort_by_key(|(note, _)| *note != first);
    assert_eq!(told, [(first, 1), (second, 1)]);
}

#[test]
fn what_a_role_is_denied_is_reported_on_each_endpoint_and_once_on_the_account() {
    let world = World::shared();
    let tenant = world.tenant("denied-many");
    world.aws.deny(&tenant.role_arn, "ec2:CreateVpcEndpoint");
    let names: Vec<String> = (0..10).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in &names {
        tenant.not_ready(name, "Denied");
    }
    let note = told_once_on_account(&tenant, "Denied");
    for part in ["CreateVpcEndpoint", &tenant.role_arn] {
        assert!(note.contains(part), "{part} is not in {note}");
    }
    // Who reads `default` need not know them. (The AWSAccount is called as the namespace is.)
    assert!(!note.contains("api-"), "{note}");
    for name in &names {
        let message = tenant.condition(name, "Ready").expect("Ready").message;
        let told = warnings(of_endpoint(&tenant, name), "Denied");
        assert_eq!((told.len(), text(&told[0]["note"])), (1, message), "{name}");
    }
}

#[test]
fn a_hundred_endpoints_of_a_refused_role_get_one_event_each_and_the_account_one() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("refused-many");
    world.set_trust(&tenant.role_arn, false);
    tenant.register(json!({}));
    let names: Vec<String> = (0..100).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in &names {
        tenant.not_ready(name, "AccountNotReady");
    }
    // Looked at again, they find the same.
    for name in &names[..10] {
        tenant.merge(
            name,
            json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
        );
    }
    let note = told_once_on_account(&tenant, "AssumeRoleDenied");
    let account = world.aws_account(&tenant.account).expect("there");
    assert_eq!(note, condition(&account, "Ready").expect("Ready").message);
    let told = world.cluster.list(&cluster::events(&tenant.namespace));
    let told = warnings(told, "AccountNotReady");
    let times: Vec<i64> = told.iter().map(count).collect();
    assert_eq!(times, vec![1; names.len()], "one event each, told once");
    for name in &names {
        let mut of_it = told.iter().filter(|event| event["regarding"]["name"] == **name);
        let note = of_it.next().map(|event| text(&event["note"])).unwrap_or_default();
        assert!(note.contains(&tenant.role_arn), "{name}: {note}");
    }
}

#[test]
fn limits_and_mappings_that_stop_many_endpoints_are_reported_on_the_account() {
    let tenant = World::shared().unregistered_tenant("limits");
    tenant.register(json!({"max_endpoints": 1}));
    let names = ["one", "two", "three"];
    for name in names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    let full = |name: &&&str| tenant.reason(name) == "AccountFull";
    tenant.world.eventually("two wait for room", || {
        (names.iter().filter(full).count() == 2).then_some(())
    });
    assert!(told_once_on_account(&tenant, "AccountFull").contains("max_endpoints"));

    tenant.edit_account(json!({"max_endpoints": 3}));
    for name in names {
        tenant.ready(name);
    }
    tenant.edit_account(json!({"namespaces": ["somewhere-else"]}));
    for name in names {
        tenant.paused(name, "MappingRevoked");
    }
    assert!(told_once_on_account(&tenant, "MappingRevoked").contains(&tenant.namespace));
}
