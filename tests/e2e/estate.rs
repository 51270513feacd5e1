//! Many endpoints at once: what is converged stays so under every leader, a deletion does not wait
//! for another, and what cannot go says why.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vpce_testbed::api_proxy::{ApiProxy, Seen};
use vpce_testbed::aws::{Call, RoleSpec};

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, id, text};

/// A VPC has room for so many.
const A_VPC: usize = 50;
const OF_ESTATE: usize = 200;
const OF_NAMESPACE: usize = 100;

/// Applies so many endpoints, and waits until all are Ready.
fn settle(tenant: &Tenant<'_>, many: usize) -> Vec<String> {
    let names: Vec<String> = (0..many).map(|number| format!("api-{number}")).collect();
    for names in names.chunks(A_VPC) {
        let (vpc, subnet) = (id("vpc"), id("subnet"));
        let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
        aws.add_vpc(account, region, &vpc, "10.0.0.0/16").expect("a VPC");
        aws.add_subnet(account, region, &subnet, &vpc, &format!("{region}a"))
            .expect("a subnet");
        for name in names {
            tenant.apply(name, tenant.spec(json!({"vpc_id": vpc, "subnet_ids": [subnet]})));
        }
    }
    tenant.world.eventually("all are Ready", || {
        let objects = tenant.world.cluster.list(&cluster::endpoints(&tenant.namespace));
        let is_ready = |object: &Value| condition(object, "Ready").is_some_and(|ready| ready.status);
        objects.iter().all(is_ready).then_some(())
    });
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (many, many));
    names
}

/// Waits until the operator has looked at everything in AWS twice more.
fn rest(tenant: &Tenant<'_>) {
    let mark = tenant.world.aws.now();
    tenant.world.eventually("it looks at all twice", || {
        let calls = tenant.calls();
        let looks = calls
            .iter()
            .filter(|call| call.time > mark && call.action == "DescribeVpcEndpoints");
        (looks.count() >= 2).then_some(())
    });
}

fn versions(tenant: &Tenant<'_>) -> BTreeMap<String, String> {
    let objects = tenant.world.cluster.list(&cluster::endpoints(&tenant.namespace));
    let version = |object: &Value| {
        let metadata = &object["metadata"];
        (text(&metadata["name"]), text(&metadata["resourceVersion"]))
    };
    objects.iter().map(version).collect()
}

fn leads(operator: &vpce_testbed::operator::Operator) -> bool {
    operator
        .metrics()
        .is_ok_and(|metrics| metrics.contains("\nvpce_leader 1\n"))
}

#[test]
fn a_restart_an_upgrade_and_a_new_leader_write_nothing_over_a_converged_estate() {
    let mut world = World::own(Setup::fast());
    let proxy = ApiProxy::start(&world.cluster.plane).expect("a proxy");
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.go_through(&proxy).expect("a kubeconfig");
    world.operator.start().expect("it starts");
    let tenant = world.tenant("estate");
    settle(&tenant, OF_ESTATE);
    world.eventually("all is said of its AWSAccount", || {
        let account = world.aws_account(&tenant.account)?;
        let verified = condition(&account, "PermissionsVerified")?;
        let counts_all = account["status"]["endpoints"] == OF_ESTATE;
        (counts_all && verified.status && account["status"]["orphans"]["count"] == 0).then_some(())
    });
    rest(&tenant);

    let (versions_before, calls_before) = (versions(&tenant), tenant.writes().len());
    let requests_before = proxy.requests().len();
    let untouched = |what: &str| {
        rest(&tenant);
        let mut writes: Vec<Seen> = proxy.requests().split_off(requests_before);
        // The reviews of who scrapes store nothing.
        let is_ours =
            |seen: &Seen| !["leases", "tokenreviews", "subjectaccessreviews"].contains(&seen.resource.as_str());
        writes.retain(|seen| seen.writes() && is_ours(seen));
        assert!(writes.is_empty(), "{what}: {writes:#?}");
        let calls: Vec<Call> = tenant.calls().into_iter().filter(Call::mutating).collect();
        assert_eq!(calls.len(), calls_before, "{what}: {:#?}", &calls[calls_before..]);
        assert_eq!(versions(&tenant), versions_before, "{what}");
    };
    untouched("at rest");

    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.start().expect("it starts");
    untouched("a restart");
    world.operator.kill().expect("it was running");
    world.operator.start().expect("it starts");
    untouched("a crash");

    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/vpce-operator");
    let upgrade = [
        "upgrade",
        "vpce-operator",
        chart,
        "--namespace",
        "vpce-system",
        "--reuse-values",
    ];
    let upgraded = world.cluster.plane.helm(&upgrade).expect("helm runs");
    upgraded.success().expect("upgraded");
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.start().expect("it starts");
    untouched("an upgrade");

    let second = world
        .operator
        .replica("second", &[])
        .expect("a replica that waits is ready");
    assert!(!leads(&second));
    world.operator.kill().expect("it was running");
    world.eventually("the second leads", || leads(&second).then_some(()));
    untouched("a new leader");
}

#[test]
fn a_namespace_with_a_hundred_endpoints_is_deleted_and_leaves_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("crowded");
    settle(&tenant, OF_NAMESPACE);
    world.kubectl(&["delete", "namespace", &tenant.namespace, "--wait=false"]);
    tenant.namespace_gone();
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (0, 0));
    let deletes = tenant
        .writes()
        .into_iter()
        .filter(|action| action == "DeleteVpcEndpoints");
    println!("{OF_NAMESPACE} endpoints: {} DeleteVpcEndpoints", deletes.count());
    world.eventually("nobody is bound to the AWSAccount", || {
        let account = world.aws_account(&tenant.account)?;
        (account["status"]["endpoints"] == 0).then_some(())
    });
}

#[test]
fn what_cannot_be_deleted_names_what_uses_it_and_blocks_no_other_deletion() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("held");
    let names = settle(&tenant, 12);
    let (aws, account, region) = (&world.aws, &tenant.account_id, &tenant.region);
    let group_of = |name: &str| text(&tenant.get(name).expect("there")["status"]["security_group_id"]);

    // Another owner's endpoint uses one's group, and another owner's group names another's.
    let used = group_of(&names[0]);
    let stranger = aws
        .add_endpoint_behind(account, region, &tenant.subnets[0], &tenant.service, &used)
        .expect("an endpoint");
    let named = group_of(&names[1]);
    let rule = vpce_testbed::aws::RuleView::new("tcp", Some((443, 443)), &named);
    let ingress = vpce_testbed::aws::Direction::Ingress;
    aws.add_rule(account, region, &tenant.group, ingress, &rule)
        .expect("a rule");
    for name in &names {
        tenant.delete(name);
    }
    for name in &names[2..] {
        tenant.gone(name);
    }
    // AWS takes away the network interfaces of an endpoint late: so long nothing is to be said.
    world.eventually("the groups have been refused for a minute", || {
        let mut calls = tenant.calls();
        calls.retain(|call| call.result == "DependencyViolation");
        let (first, last) = (calls.first()?, calls.last()?);
        (last.time - first.time > 60.0).then_some(())
    });
    for (name, group, user) in [(&names[0], &used, &stranger), (&names[1], &named, &tenant.group)] {
        let message = tenant.not_ready(name, "InUse");
        assert!(
            message.contains(group.as_str()) && message.contains(user.as_str()),
            "{message}"
        );
    }
    // By a role that may not look, the message says what it lacks.
    let whole = world.role(&tenant.role_arn, None);
    let policy = whole.policy.as_deref().expect("a policy");
    let blind = RoleSpec {
        policy: Some(policy.replace("ec2:DescribeNetworkInterfaces", "ec2:DescribeTags")),
        ..whole.clone()
    };
    aws.set_role(&tenant.role_arn, blind).expect("a role");
    tenant.merge(
        &names[0],
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "blind"}}}),
    );
    world.eventually("the message says which action is missing", || {
        let message = tenant.condition(&names[0], "Ready")?.message;
        (message.contains("allow ec2:DescribeNetworkInterfaces") && message.contains(&tenant.role_arn)).then_some(())
    });
    aws.set_role(&tenant.role_arn, whole).expect("a role");
    let ids: Vec<String> = tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(ids, std::slice::from_ref(&stranger), "their endpoints are gone");
    assert_eq!(tenant.groups().len(), 2);

    // It goes once it can, and not before.
    aws.remove_rule(account, region, &tenant.group, ingress, &rule)
        .expect("it had the rule");
    tenant.gone(&names[1]);
    assert!(tenant.get(&names[0]).is_some());
    aws.delete_endpoint_behind(account, region, &stranger)
        .expect("it was there");
    tenant.gone(&names[0]);
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (0, 0));
}
