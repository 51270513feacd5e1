//! What a platform team allows: refused before any call to AWS, frozen when it is tightened, and an
//! end for every account.

use serde_json::{Value, json};

use crate::tenant::Tenant;
use crate::world::{World, condition, text};

/// The EC2 calls about the tenant's account; sessions are STS's.
fn ec2_calls(tenant: &Tenant<'_>) -> usize {
    tenant.calls().iter().filter(|call| call.service == "ec2").count()
}

fn tags(tenant: &Tenant<'_>) -> std::collections::BTreeMap<String, String> {
    tenant.endpoints()[0].tags.clone()
}

#[test]
fn guardrails_refuse_before_any_call_and_allow_once_they_are_widened() {
    let world = World::shared();
    for (guardrail, value) in [
        ("allowed_regions", json!(["eu-central-1"])),
        ("allowed_vpc_ids", json!([])),
        ("allowed_subnet_ids", json!(["subnet-00000000"])),
        ("allowed_services", json!(["com.amazonaws.us-west-2.*"])),
    ] {
        let tenant = world.unregistered_tenant("guardrails");
        tenant.register(json!({guardrail: value}));
        tenant.apply("refused", tenant.spec(json!({})));
        let message = tenant.not_ready("refused", "NotAllowed");
        assert!(message.contains(guardrail), "{message}");
        assert_eq!(ec2_calls(&tenant), 0, "{guardrail}");
        let object = tenant.get("refused").expect("it is there");
        assert!(
            object["metadata"]["finalizers"].is_null(),
            "nothing is made, so nothing holds it"
        );
        tenant.edit_account(json!({guardrail: null}));
        tenant.ready("refused");
    }
}

#[test]
fn groups_of_others_are_refused_as_provided_and_in_rules() {
    let tenant = World::shared().unregistered_tenant("guardrails-groups");
    tenant.register(json!({"allowed_security_group_ids": ["sg-0123456789abcdef0"]}));
    let provided = json!({"security_group_type": "provided", "security_group_ids": [tenant.group]});
    tenant.apply("provided", tenant.spec(provided));
    let rule = json!({"protocol": "tcp", "from_port": 443, "to_port": 443, "security_group_ids": [tenant.group]});
    tenant.apply(
        "rule",
        tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": [rule]})),
    );
    for name in ["provided", "rule"] {
        let message = tenant.not_ready(name, "NotAllowed");
        assert!(
            message.contains(&tenant.group) && message.contains("allowed_security_group_ids"),
            "{message}"
        );
    }
    assert_eq!(ec2_calls(&tenant), 0);
}

#[test]
fn a_group_of_another_endpoint_is_not_used() {
    let tenant = World::shared().tenant("borrowed");
    tenant.apply("owner", tenant.spec(json!({})));
    let group = text(&tenant.ready("owner")["status"]["security_group_id"]);
    let provided = json!({"security_group_type": "provided", "security_group_ids": [tenant.group, group]});
    tenant.apply("provided", tenant.spec(provided));
    let rule = json!({"protocol": "tcp", "from_port": 443, "to_port": 443, "security_group_ids": [group]});
    tenant.apply(
        "rule",
        tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": [rule]})),
    );
    for name in ["provided", "rule"] {
        let message = tenant.not_ready(name, "NotAllowed");
        assert!(message.contains(&group), "{message}");
    }
    assert_eq!(tenant.endpoints().len(), 1);
    // One's own is fine: the group that was generated before.
    let own = json!({"security_group_type": "provided", "security_group_ids": [group]});
    tenant.apply("owner", tenant.spec(own));
    tenant.ready("owner");
}

#[test]
fn a_tightened_guardrail_pauses_changes_and_allows_deletion() {
    let tenant = World::shared().tenant("guardrails-tight");
    tenant.apply("there", tenant.spec(json!({})));
    let id = tenant.ready("there")["status"]["vpc_endpoint_id"].clone();
    tenant.edit_account(json!({"allowed_vpc_ids": []}));
    let message = tenant.paused("there", "NotAllowed");
    assert!(message.contains("the spec is within the guardrails"), "{message}");
    let writes = tenant.writes();
    tenant.apply("there", tenant.spec(json!({"tags": {"new": "tag"}})));
    let message = tenant.serves_without_the_edit("there", "NotAllowed");
    assert!(message.contains("planned changes: set tags"), "{message}");
    assert_eq!(tenant.writes(), writes);
    assert_eq!(tenant.get("there").expect("it stays")["status"]["vpc_endpoint_id"], id);
    tenant.delete("there");
    tenant.gone("there");
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (0, 0));
}

#[test]
fn a_suspended_account_changes_nothing_until_it_is_resumed() {
    let tenant = World::shared().tenant("suspended");
    for name in ["edited", "deleted"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.ready(name);
    }
    tenant.edit_account(json!({"suspended": true}));
    for name in ["edited", "deleted"] {
        let message = tenant.paused(name, "AccountSuspended");
        assert!(message.contains("your platform team resumes"), "{message}");
    }
    let writes = tenant.writes();
    tenant.apply("edited", tenant.spec(json!({"tags": {"new": "tag"}})));
    tenant.delete("deleted");
    tenant.apply("late", tenant.spec(json!({})));
    tenant.serves_without_the_edit("edited", "AccountSuspended");
    for name in ["deleted", "late"] {
        let message = tenant.not_ready(name, "AccountSuspended");
        assert!(!message.contains("serving"), "{message}");
    }
    assert_eq!(tenant.writes(), writes);
    tenant.edit_account(json!({"suspended": false}));
    tenant.ready("edited");
    tenant.ready("late");
    tenant.gone("deleted");
}

#[test]
fn finalizers_of_a_decommissioned_account_are_removed_without_calling_aws() {
    let tenant = World::shared().tenant("closed");
    tenant.apply("left", tenant.spec(json!({})));
    let id = text(&tenant.ready("left")["status"]["vpc_endpoint_id"]);
    tenant.edit_account(json!({"decommissioned": true}));
    tenant.not_ready("left", "AccountDecommissioned");
    let calls = ec2_calls(&tenant);
    tenant.delete("left");
    tenant.gone("left");
    assert_eq!(ec2_calls(&tenant), calls);
    assert_eq!(tenant.endpoints()[0].id, id, "it is left to the closed account");
    assert!(tenant.event("left", "Abandoned").contains(&id));
    tenant.world.eventually("the AWSAccount says so", || {
        let account = tenant.world.aws_account(&tenant.account)?;
        let ready = condition(&account, "Ready")?;
        (!ready.status && ready.reason == "Decommissioned").then_some(())
    });
}

#[test]
fn an_account_takes_as_many_endpoints_as_it_allows_and_the_oldest_next() {
    let tenant = World::shared().unregistered_tenant("limit");
    tenant.register(json!({"max_endpoints": 3}));
    let names: Vec<String> = (0..8).map(|number| format!("ep-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    let reasons =
        || -> Vec<(String, String)> { names.iter().map(|name| (name.clone(), tenant.reason(name))).collect() };
    let with = |reason: &str| -> Vec<String> {
        let all = reasons();
        all.into_iter()
            .filter(|(_, found)| found == reason)
            .map(|(name, _)| name)
            .collect()
    };
    let settled = |ready: usize, full: usize| {
        tenant.world.eventually("all places are taken and the rest wait", || {
            (with("Available").len() == ready && with("AccountFull").len() == full).then_some(())
        });
    };
    settled(3, 5);
    assert_eq!(tenant.endpoints().len(), 3);
    let first = with("Available");
    let oldest_waiting = with("AccountFull")
        .into_iter()
        .min_by_key(|name| {
            let metadata = tenant.get(name).expect("it is there")["metadata"].take();
            (text(&metadata["creationTimestamp"]), text(&metadata["uid"]))
        })
        .expect("some wait");
    tenant.delete(&first[0]);
    tenant.gone(&first[0]);
    tenant.ready(&oldest_waiting);
    tenant.edit_account(json!({"max_endpoints": 5}));
    settled(5, 2);
    assert_eq!(tenant.endpoints().len(), 5, "never one more");
}

#[test]
fn a_limit_is_per_awsaccount_and_shared_by_the_namespaces_that_it_maps() {
    let world = World::shared();
    let one = world.unregistered_tenant("share-one");
    let mut other = world.unregistered_tenant("share-other");
    other.account_id.clone_from(&one.account_id);
    other.role_arn.clone_from(&one.role_arn);
    other.vpc.clone_from(&one.vpc);
    other.subnets.clone_from(&one.subnets);
    let greedy = |tenant: &Tenant<'_>| {
        for number in 0..4 {
            tenant.apply(&format!("ep-{number}"), tenant.spec(json!({})));
        }
        let reasons = || {
            (0..4)
                .map(|number| tenant.reason(&format!("ep-{number}")))
                .collect::<Vec<_>>()
        };
        world.eventually("it has all that its AWSAccount allows", || {
            let with = |reason: &str| reasons().iter().filter(|found| *found == reason).count();
            (with("Available") == 2 && with("AccountFull") == 2).then_some(())
        });
    };

    // The same AWS account and role, an AWSAccount each: what one has takes nothing from the other.
    one.register(json!({"max_endpoints": 2}));
    other.register(json!({"max_endpoints": 1}));
    greedy(&one);
    other.apply("api", other.spec(json!({})));
    other.ready("api");
    other.apply("more", other.spec(json!({})));
    other.not_ready("more", "AccountFull");

    // One AWSAccount for both: the first takes all of the limit.
    let third = world.unregistered_tenant("share-third");
    let late = world.unregistered_tenant("share-late");
    third.register(json!({"max_endpoints": 2, "namespaces": [third.namespace, late.namespace]}));
    greedy(&third);
    late.apply("api", third.spec(json!({})));
    late.not_ready("api", "AccountFull");
}

#[test]
fn tags_that_the_account_requires_win_and_follow_the_namespace() {
    let tenant = World::shared().unregistered_tenant("required");
    tenant.register(json!({
        "default_tags": {"stage": "default"},
        "required_tags": {"cost": "platform"},
        "tags_from_namespace_labels": ["tenant", "absent"],
    }));
    tenant.apply(
        "tagged",
        tenant.spec(json!({"tags": {"stage": "mine", "cost": "mine", "tenant": "mine"}})),
    );
    tenant.ready("tagged");
    let found = tags(&tenant);
    assert_eq!((found["stage"].as_str(), found["cost"].as_str()), ("mine", "platform"));
    assert_eq!(found["tenant"], tenant.namespace);
    let namespace = tenant.namespace_path();
    let relabelled = tenant
        .world
        .cluster
        .merge(&namespace, &json!({"metadata": {"labels": {"tenant": "other"}}}));
    relabelled.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    tenant.eventually("tagged", "the tag follows the label", || {
        (tags(&tenant)["tenant"] == "other").then_some(())
    });
}

#[test]
fn an_account_may_retain_by_default_and_an_endpoint_may_say_otherwise() {
    let tenant = World::shared().unregistered_tenant("retain-default");
    tenant.register(json!({"default_deletion_policy": "Retain", "allow_retain": true}));
    tenant.apply("silent", tenant.spec(json!({})));
    tenant.apply("delete", tenant.spec(json!({"deletion_policy": "Delete"})));
    let kept = text(&tenant.ready("silent")["status"]["vpc_endpoint_id"]);
    tenant.ready("delete");
    for name in ["silent", "delete"] {
        tenant.delete(name);
        tenant.gone(name);
    }
    let left: Vec<String> = tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(left, [kept]);
    assert!(tags(&tenant).contains_key("silvermullet.com/retained"));
}

#[test]
fn guardrails_that_make_no_sense_are_refused_at_apply() {
    let tenant = World::shared().unregistered_tenant("bad-guardrails");
    tenant.register(json!({}));
    let refused = |change: Value| {
        let path = format!("{}/{}", crate::cluster::ACCOUNTS, tenant.account);
        let result = tenant.world.cluster.merge(&path, &json!({"spec": change}));
        result.expect_err("it is refused").message
    };
    for (field, value) in [
        ("allowed_regions", json!(["everywhere"])),
        ("allowed_services", json!(["com. amazonaws"])),
        ("allowed_vpc_ids", json!(["*"])),
        ("max_endpoints", json!(-1)),
        ("required_tags", json!({"silvermullet.com/name": "x"})),
        ("tags_from_namespace_labels", json!(["silvermullet.com/name"])),
        ("session_tags", json!({"aws:x": "y"})),
        ("default_deletion_policy", json!("Maybe")),
        ("default_deletion_policy", json!("Retain")),
        ("suspended", json!("yes")),
    ] {
        let message = refused(json!({field: value}));
        assert!(message.contains(field), "{field}: {message}");
    }
}

#[test]
fn tags_on_which_other_controllers_act_are_refused_unless_the_account_names_them() {
    let tenant = World::shared().tenant("guardrails-tags");
    tenant.edit_account(json!({"required_tags": {"team": "blue"}}));
    for (name, key) in [
        ("karpenter", "karpenter.sh/discovery"),
        ("cluster", "kubernetes.io/cluster/x"),
        ("load-balancer", "elbv2.k8s.aws/cluster"),
        ("eks", "EKS:cluster-name"),
        ("case", "Team"),
    ] {
        tenant.apply(name, tenant.spec(json!({"tags": {key: "x"}})));
        let message = tenant.not_ready(name, "NotAllowed");
        assert!(message.contains(key), "{message}");
    }
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
    // Named, it is allowed, and the role that is printed for the AWSAccount lets it through; then
    // nothing else is.
    let path = format!("{}/{}", crate::cluster::ACCOUNTS, tenant.account);
    tenant.edit_account(json!({"allowed_tag_keys": ["karpenter.sh/*", "app-?"]}));
    let account = tenant.world.cluster.get(&path).expect("it is there");
    let spec = serde_json::from_value(account["spec"].clone()).expect("an AWSAccount");
    tenant
        .world
        .set_role(&tenant.role_arn, &vpce_core::iam::Scope::of(&spec));
    tenant.ready("karpenter");
    assert_eq!(tenant.groups()[0].tags["karpenter.sh/discovery"], "x");
    tenant.apply("karpenter", tenant.spec(json!({"tags": {"app-1": "x"}})));
    tenant.ready("karpenter");
    tenant.apply("other", tenant.spec(json!({"tags": {"app-12": "x"}})));
    let message = tenant.not_ready("other", "NotAllowed");
    assert!(message.contains("use one of karpenter.sh/*, app-?"), "{message}");
}
