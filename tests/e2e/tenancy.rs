//! A namespace reaches the AWS account that names it, and no other; what is bound does not move.

use std::time::Duration;

use serde_json::{Value, json};
use vpce_testbed::aws::Call;

use crate::cluster::{ACCOUNTS, Run};
use crate::tenant::Tenant;
use crate::world::{World, condition};

/// More than a fast world's resync interval.
const A_WHILE: Duration = Duration::from_secs(7);

/// Maps the tenant's namespace with another AWSAccount, to an AWS account in which nothing of the
/// spec exists.
fn map_again(tenant: &Tenant<'_>, name: &str, account_id: &str) {
    let role_arn = format!("arn:aws:iam::{account_id}:role/vpce-operator");
    tenant.world.add_role(&role_arn);
    create_account(
        tenant,
        name,
        json!({"role_arn": role_arn, "namespaces": [tenant.namespace], "default_region": tenant.region}),
    );
}

fn create_account(tenant: &Tenant<'_>, name: &str, spec: Value) {
    let account = json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": name}, "spec": spec,
    });
    let created = tenant.world.cluster.create(ACCOUNTS, &account, Run::Real);
    created.unwrap_or_else(|refusal| panic!("AWSAccount {name}: {}", refusal.message));
}

fn delete_account(tenant: &Tenant<'_>, name: &str) {
    tenant.world.cluster.delete(&format!("{ACCOUNTS}/{name}"));
}

/// Sets a label of the tenant's namespace; null takes it away.
fn label(tenant: &Tenant<'_>, key: &str, value: Value) {
    let path = tenant.namespace_path();
    tenant
        .world
        .cluster
        .merge(&path, &json!({"metadata": {"labels": {key: value}}}))
        .expect("labelled");
}

fn assert_not_stalled(tenant: &Tenant<'_>, name: &str) {
    assert_eq!(tenant.condition(name, "Stalled"), None);
}

/// Checks that nothing changes in AWS for a while.
fn assert_at_rest(tenant: &Tenant<'_>) {
    let (writes, endpoints, groups) = (tenant.writes(), tenant.endpoints(), tenant.groups());
    std::thread::sleep(A_WHILE);
    assert_eq!(tenant.writes(), writes);
    assert_eq!((tenant.endpoints(), tenant.groups()), (endpoints, groups));
}

#[test]
fn an_unmapped_namespace_reaches_nothing() {
    let tenant = World::shared().unregistered_tenant("unmapped");
    // Neither another's name, nor an empty selector, nor a wrong label is a mapping.
    tenant.register(json!({"namespaces": ["somebody-else"], "namespace_selector": {}}));
    tenant.apply("api", tenant.spec(json!({})));
    let message = tenant.not_ready("api", "NoAccount");
    assert!(message.contains(&tenant.namespace), "{message}");
    tenant.edit_account(json!({"namespace_selector": {"matchLabels": {"tenant": "another"}}}));
    tenant.apply("named", tenant.spec(json!({"account": tenant.account})));
    let message = tenant.not_ready("named", "AccountNotMapped");
    assert!(
        message.contains(&tenant.account) && message.contains(&tenant.namespace),
        "{message}"
    );
    for name in ["api", "named"] {
        assert_not_stalled(&tenant, name);
    }
    std::thread::sleep(A_WHILE);
    assert_eq!(tenant.reason("api"), "NoAccount");
    assert_eq!(tenant.writes(), Vec::<String>::new());
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
    // Nothing was made, so nothing is in the way.
    for name in ["api", "named"] {
        tenant.delete(name);
        tenant.gone(name);
    }
}

#[test]
fn of_two_accounts_that_map_a_namespace_one_is_chosen() {
    let tenant = World::shared().tenant("ambiguous");
    let second = format!("{}-second", tenant.account);
    map_again(&tenant, &second, "300000000001");
    tenant.apply("api", tenant.spec(json!({})));
    let message = tenant.not_ready("api", "AmbiguousAccount");
    assert!(
        message.contains("spec.account") && message.contains(&format!("{}, {second}", tenant.account)),
        "{message}"
    );
    assert_not_stalled(&tenant, "api");
    assert_eq!(tenant.writes(), Vec::<String>::new());
    tenant.apply("api", tenant.spec(json!({"account": tenant.account})));
    let object = tenant.ready("api");
    assert_eq!(
        object["status"]["account"],
        json!({"name": tenant.account, "account_id": tenant.account_id})
    );
    assert_eq!(tenant.endpoints().len(), 1);
    assert!(tenant.world.aws.endpoints("300000000001", &tenant.region).is_empty());
    // Once only one is left, there is no choice to make.
    tenant.apply("later", tenant.spec(json!({})));
    tenant.not_ready("later", "AmbiguousAccount");
    delete_account(&tenant, &second);
    tenant.ready("later");
}

#[test]
fn a_label_maps_a_namespace_and_its_loss_revokes() {
    let tenant = World::shared().unregistered_tenant("selected");
    let selector = json!({"matchExpressions": [{"key": "vpce", "operator": "In", "values": [tenant.namespace]}]});
    tenant.register(json!({"namespaces": [], "namespace_selector": selector}));
    tenant.apply("api", tenant.spec(json!({})));
    tenant.not_ready("api", "NoAccount");
    label(&tenant, "vpce", json!(tenant.namespace));
    let id = tenant.ready("api")["status"]["vpc_endpoint_id"].take();
    label(&tenant, "vpce", json!("otherwise"));
    tenant.paused("api", "MappingRevoked");
    label(&tenant, "vpce", json!(tenant.namespace));
    assert_eq!(tenant.ready("api")["status"]["vpc_endpoint_id"], id);
    label(&tenant, "vpce", Value::Null);
    tenant.paused("api", "MappingRevoked");
    assert_eq!(tenant.writes().len(), 3);
}

#[test]
fn a_revoked_mapping_pauses_changes_and_does_not_prevent_deletion() {
    let tenant = World::shared().tenant("revoked");
    for name in ["api", "doomed"] {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in ["api", "doomed"] {
        tenant.ready(name);
    }
    let service = tenant.kubernetes_service("api");
    tenant.edit_account(json!({"namespaces": []}));
    let message = tenant.paused("api", "MappingRevoked");
    assert!(
        message.contains(&tenant.account) && message.contains(&tenant.namespace),
        "{message}"
    );
    assert_not_stalled(&tenant, "api");
    assert!(tenant.event("api", "MappingRevoked").starts_with("Warning"));
    let resolved = tenant.condition("api", "AccountResolved").expect("a condition");
    assert!(!resolved.status, "{resolved:?}");

    // Neither edits nor drift are answered, and what is there serves on.
    let group = tenant.groups().remove(0);
    tenant
        .world
        .aws
        .set_tag(&tenant.account_id, &tenant.region, &group.id, "Name", "drifted")
        .expect("it is there");
    tenant.apply(
        "api",
        tenant.spec(json!({"tags": {"edited": "yes"}, "subnet_ids": [tenant.subnets[2]]})),
    );
    tenant.serves_without_the_edit("api", "MappingRevoked");
    assert_at_rest(&tenant);
    assert_eq!(tenant.kubernetes_service("api"), service);
    // A new one gets nothing.
    tenant.apply("new", tenant.spec(json!({})));
    tenant.not_ready("new", "NoAccount");

    tenant.delete("doomed");
    tenant.gone("doomed");
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (1, 1));
    assert!(tenant.kubernetes_service("doomed").is_none());

    tenant.edit_account(json!({"namespaces": [tenant.namespace]}));
    for name in ["api", "new"] {
        tenant.ready(name);
    }
    let edited = tenant
        .endpoints()
        .into_iter()
        .find(|found| found.tags.contains_key("edited"));
    assert_eq!(
        edited.expect("the edit is carried out now").subnet_ids,
        [tenant.subnets[2].clone()]
    );
}

#[test]
fn what_is_bound_does_not_move() {
    let tenant = World::shared().tenant("bound");
    let by_default = tenant.spec(json!({"region": null}));
    tenant.apply("api", by_default.clone());
    let before = tenant.ready("api");
    assert_eq!(before["status"]["region"], tenant.region);
    tenant.edit_account(json!({"default_region": "eu-central-1"}));
    let second = format!("{}-second", tenant.account);
    map_again(&tenant, &second, "300000000002");
    assert_at_rest(&tenant);
    // Edits are still carried out, where it is.
    tenant.apply(
        "api",
        crate::world::merged(by_default, json!({"tags": {"edited": "yes"}})),
    );
    let object = tenant.ready("api");
    for field in ["account", "region", "vpc_endpoint_id", "incarnation"] {
        assert_eq!(object["status"][field], before["status"][field], "{field}");
    }
    assert_eq!(tenant.endpoints()[0].tags["edited"], "yes");
    for (account, region) in [(&*tenant.account_id, "eu-central-1"), ("300000000002", &*tenant.region)] {
        assert!(
            tenant.world.aws.endpoints(account, region).is_empty(),
            "{account} {region}"
        );
    }
    // Naming another account or region afterwards is refused, and what it is bound to is taken.
    for changes in [
        json!({"region": "eu-central-1"}),
        json!({"region": null, "account": second}),
    ] {
        let refusal = tenant.try_apply("api", tenant.spec(changes)).expect_err("it is bound");
        assert!(refusal.message.contains(" stays "), "{}", refusal.message);
    }
    tenant.apply("api", tenant.spec(json!({"account": tenant.account})));
    tenant.ready("api");
    assert_at_rest(&tenant);
    tenant.delete("api");
    tenant.gone("api");
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
    delete_account(&tenant, &second);
}

#[test]
fn a_bound_object_does_not_follow_an_account_that_names_another_aws_account() {
    let tenant = World::shared().tenant("replaced");
    tenant.apply("api", tenant.spec(json!({})));
    let before = tenant.ready("api");
    // It is deleted by force, which the finalizer is there to prevent.
    let forced_away = || {
        delete_account(&tenant, &tenant.account);
        tenant.merge_account(json!({"metadata": {"finalizers": null}}));
    };
    forced_away();
    let message = tenant.paused("api", "AccountMissing");
    assert!(
        message.contains(&tenant.account) && message.contains(&tenant.account_id),
        "{message}"
    );
    assert_not_stalled(&tenant, "api");

    map_again(&tenant, &tenant.account, "300000000003");
    let message = tenant.paused("api", "AccountReplaced");
    assert!(
        message.contains(&tenant.account_id) && message.contains("300000000003"),
        "{message}"
    );
    assert!(tenant.event("api", "AccountReplaced").starts_with("Warning"));
    assert_at_rest(&tenant);
    let there = tenant.world.aws.calls();
    let mut there = there.iter().filter(|call| call.account == "300000000003");
    assert!(
        there.all(|call| !call.mutating()),
        "the role is tried, and nothing else"
    );
    // Not even to delete it.
    tenant.delete("api");
    std::thread::sleep(A_WHILE);
    assert_eq!(tenant.endpoints().len(), 1);

    forced_away();
    tenant.register(json!({}));
    tenant.gone("api");
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty(), "{before}");
}

#[test]
fn the_deletion_of_an_account_in_use_waits_and_names_what_uses_it() {
    let world = World::shared();
    let tenant = world.tenant("in-use");
    for name in ["one", "two"] {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in ["one", "two"] {
        tenant.ready(name);
    }
    world.eventually("the AWSAccount counts them", || {
        let account = world.aws_account(&tenant.account)?;
        (account["status"]["endpoints"] == 2).then_some(())
    });
    delete_account(&tenant, &tenant.account);
    let says = |expected: &[&str]| {
        world.eventually(&format!("the AWSAccount waits for {expected:?}"), || {
            let account = world.aws_account(&tenant.account)?;
            let ready = condition(&account, "Ready").filter(|ready| ready.reason == "InUse")?;
            let names = |name: &&str| ready.message.contains(&format!("{}/{name}", tenant.namespace));
            let all = ["one", "two"];
            all.iter()
                .all(|name| names(name) == expected.contains(name))
                .then_some(())
        });
    };
    says(&["one", "two"]);
    // It accepts no new VPCEndpoint, and serves those it has.
    tenant.apply("new", tenant.spec(json!({})));
    tenant.not_ready("new", "NoAccount");
    tenant.apply("one", tenant.spec(json!({"tags": {"edited": "yes"}})));
    tenant.ready("one");
    tenant.delete("one");
    tenant.gone("one");
    says(&["two"]);
    tenant.delete("two");
    tenant.gone("two");
    world.eventually("the AWSAccount is gone", || {
        world.aws_account(&tenant.account).is_none().then_some(())
    });
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}

#[test]
fn the_operators_own_identity_is_used_for_nothing_but_to_assume_roles() {
    let world = World::shared();
    let tenant = world.tenant("own-identity");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let calls = world.aws.calls();
    let by_base = calls
        .iter()
        .filter(|call| call.account == vpce_testbed::aws::BASE_ACCOUNT);
    let beyond: Vec<&str> = by_base
        // Who it is itself, it asks to say whom a trust policy has to name.
        .filter(|call| call.service == "ec2" || !["AssumeRole", "GetCallerIdentity"].contains(&call.action.as_str()))
        .map(|call| call.action.as_str())
        .collect();
    assert_eq!(beyond, Vec::<&str>::new());
    assert!(tenant.calls().iter().all(|call| call.role == tenant.role_arn));
}

#[test]
fn another_role_of_the_same_account_takes_over_without_a_write_and_a_refused_one_pauses_changes() {
    let world = World::shared();
    let tenant = world.tenant("rotate");
    let names = ["one", "two", "three"];
    for name in names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in names {
        tenant.ready(name);
    }
    // It is the operator's own identity that assumes a role.
    let assumed = || -> Vec<Call> {
        let mut calls = world.aws.calls();
        let account = format!(":{}:", tenant.account_id);
        calls.retain(|call| call.action == "AssumeRole" && call.params["RoleArn"].contains(&account));
        calls
    };
    let (writes, sessions) = (tenant.writes(), assumed().len());
    let account_is = |ready: bool, reason: &str| {
        world.eventually(&format!("the AWSAccount says {reason}"), || {
            let account = world.aws_account(&tenant.account)?;
            let condition = condition(&account, "Ready")?;
            (condition.status == ready && condition.reason == reason).then_some(())
        });
    };
    // The new role does not exist yet.
    let role = format!("arn:aws:iam::{}:role/vpce-operator-second", tenant.account_id);
    tenant.edit_account(json!({"role_arn": role}));
    account_is(false, "AssumeRoleDenied");
    for name in names {
        let message = tenant.paused(name, "AccountNotReady");
        assert!(message.contains("ask your platform team"), "{message}");
    }
    tenant.apply("one", tenant.spec(json!({"tags": {"new": "tag"}})));
    tenant.serves_without_the_edit("one", "AccountNotReady");
    assert_eq!(tenant.writes(), writes, "nothing is written under the old role");
    tenant.apply("one", tenant.spec(json!({})));

    world.add_role(&role);
    account_is(true, "Verified");
    for name in names {
        tenant.merge(
            name,
            json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
        );
        tenant.ready(name);
    }
    assert_eq!(tenant.writes(), writes);
    let opened = assumed().iter().filter(|call| call.ok()).count();
    assert_eq!(sessions, 1, "one session served all");
    assert!(opened - sessions <= 2, "{} sessions", opened - sessions);
}
