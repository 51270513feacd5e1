//! No endpoint is retained without leave: `deletion_policy: Retain` has to be allowed, not while
//! the mapping is gone, and what was retained counts.

use serde_json::{Value, json};

use crate::cluster::ACCOUNTS;
use crate::tenant::Tenant;
use crate::world::{Setup, World, text};

/// The ids of the tenant's endpoints that AWS has not deleted, and whether each says that it was
/// retained.
fn left(tenant: &Tenant<'_>) -> Vec<(String, bool)> {
    let endpoints = tenant.endpoints().into_iter();
    endpoints
        .map(|endpoint| (endpoint.id, endpoint.tags.contains_key("silvermullet.com/retained")))
        .collect()
}

/// Deletes an object and waits until the operator has looked at that and does not do it, for this
/// reason.
fn deletion_waits(tenant: &Tenant<'_>, name: &str, reason: &str) -> String {
    tenant.delete(name);
    tenant.eventually(name, &format!("its deletion waits: {reason}"), || {
        let object = tenant.get(name)?;
        let conditions = object["status"]["conditions"].as_array()?.clone();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready")?;
        let is_deleted = object["metadata"]["deletionTimestamp"].is_string();
        let is_current = ready["observedGeneration"] == object["metadata"]["generation"];
        (is_deleted && is_current && ready["reason"] == reason).then(|| text(&ready["message"]))
    })
}

fn policy(policy: &str) -> Value {
    json!({"spec": {"deletion_policy": policy}})
}

#[test]
fn retaining_has_to_be_allowed_and_a_deletion_that_may_not_retain_waits_and_says_so() {
    let tenant = World::shared().unregistered_tenant("retain-refused");
    tenant.register(json!({"allow_retain": false}));
    tenant.apply("new", tenant.spec(json!({"deletion_policy": "Retain"})));
    let message = tenant.not_ready("new", "NotAllowed");
    assert!(
        message.contains("allow_retain") && message.contains(&tenant.account),
        "{message}"
    );
    assert_eq!(tenant.writes(), Vec::<String>::new());
    tenant.delete("new");
    tenant.gone("new");

    for name in ["allowed", "deleted"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.ready(name);
        tenant.merge(name, policy("Retain"));
        tenant.not_ready(name, "NotAllowed");
        let message = deletion_waits(&tenant, name, "NotAllowed");
        assert!(
            message.contains("set it to Delete") && message.contains("ask your platform team"),
            "{message}"
        );
    }
    let made = left(&tenant);
    assert!(
        made.len() == 2 && made.iter().all(|(_, retained)| !retained),
        "{made:?}"
    );
    // Each has a way out: by the app team, and by the platform team.
    let deleted = text(&tenant.get("deleted").expect("it waits")["status"]["vpc_endpoint_id"]);
    tenant.merge("deleted", policy("Delete"));
    tenant.gone("deleted");
    tenant.edit_account(json!({"allow_retain": true}));
    tenant.gone("allowed");
    let kept: Vec<(String, bool)> = made.into_iter().filter(|(id, _)| *id != deleted).collect();
    assert_eq!(left(&tenant), [(kept[0].0.clone(), true)]);
}

#[test]
fn nothing_is_retained_while_the_mapping_is_gone() {
    let tenant = World::shared().unregistered_tenant("retain-revoked");
    tenant.register(json!({"allow_retain": true}));
    for name in ["before", "after", "deleted"] {
        let policy = if name == "before" { "Retain" } else { "Delete" };
        tenant.apply(name, tenant.spec(json!({"deletion_policy": policy})));
        tenant.ready(name);
    }
    tenant.edit_account(json!({"namespaces": []}));
    for name in ["before", "after", "deleted"] {
        tenant.paused(name, "MappingRevoked");
    }
    tenant.merge("after", policy("Retain"));
    for name in ["before", "after"] {
        let message = deletion_waits(&tenant, name, "MappingRevoked");
        assert!(message.contains("nothing is retained meanwhile"), "{message}");
    }
    tenant.delete("deleted");
    tenant.gone("deleted");
    let made = left(&tenant);
    assert!(
        made.len() == 2 && made.iter().all(|(_, retained)| !retained),
        "{made:?}"
    );

    tenant.merge("after", policy("Delete"));
    tenant.gone("after");
    tenant.edit_account(json!({"namespaces": [tenant.namespace]}));
    tenant.gone("before");
    let left = left(&tenant);
    assert!(left.len() == 1 && left[0].1, "{left:?}");
}

#[test]
fn retained_endpoints_count_against_the_limit_until_they_are_gone() {
    let world = World::own(Setup::fast().value("settings.accountProbeIntervalSeconds", "5"));
    let tenant = world.unregistered_tenant("retain-counted");
    tenant.register(json!({"allow_retain": true, "max_endpoints": 1}));
    let retain = json!({"deletion_policy": "Retain"});
    tenant.apply("first", tenant.spec(retain.clone()));
    let id = text(&tenant.ready("first")["status"]["vpc_endpoint_id"]);
    tenant.delete("first");
    tenant.gone("first");
    tenant.apply("second", tenant.spec(retain));
    tenant.eventually("second", "it is full, and what was retained counts", || {
        let ready = tenant.condition("second", "Ready")?;
        (!ready.status && ready.reason == "AccountFull" && ready.message.contains("1 of them")).then_some(())
    });
    let series = format!(
        "vpce_retained{{account_id=\"{}\",region=\"{}\"}} 1",
        tenant.account_id, tenant.region
    );
    world.eventually("what was retained is measured", || {
        let metrics = world.operator.metrics().expect("it answers");
        metrics.lines().any(|line| line == series).then_some(())
    });
    // A process that starts again knows of it, too.
    world.operator.kill().expect("it ran");
    world.operator.start().expect("it starts");
    tenant.apply("third", tenant.spec(json!({})));
    tenant.not_ready("third", "AccountFull");
    assert_eq!(left(&tenant), [(id.clone(), true)]);

    let deleted = world
        .aws
        .delete_endpoint_behind(&tenant.account_id, &tenant.region, &id);
    deleted.expect("it is there");
    // Which is the older may be undecided: they were made within a moment.
    let ready = tenant.eventually("second", "one of the two has its place", || {
        let is_ready = |name: &&str| tenant.condition(name, "Ready").is_some_and(|ready| ready.status);
        ["second", "third"].into_iter().find(is_ready)
    });
    let other = if ready == "second" { "third" } else { "second" };
    tenant.eventually(other, "it is full, and nothing that was retained counts", || {
        let ready = tenant.condition(other, "Ready")?;
        (!ready.status && ready.reason == "AccountFull" && !ready.message.contains("of them")).then_some(())
    });
}

#[test]
fn an_account_that_retains_by_default_has_to_allow_it() {
    let tenant = World::shared().tenant("retain-by-default");
    let refused = tenant.world.cluster.merge(
        &format!("{ACCOUNTS}/{}", tenant.account),
        &json!({"spec": {"default_deletion_policy": "Retain"}}),
    );
    let message = refused.expect_err("it is refused").message;
    assert!(message.contains("needs allow_retain: true"), "{message}");
    tenant.edit_account(json!({"default_deletion_policy": "Retain", "allow_retain": true}));
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    // A namespace that goes keeps what its account says.
    tenant.world.cluster.delete(&tenant.namespace_path());
    tenant.namespace_gone();
    let left = left(&tenant);
    assert!(left.len() == 1 && left[0].1, "{left:?}");
}
