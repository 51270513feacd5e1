//! The guide for a cluster that is built again.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use vpce_testbed::aws::RoleSpec;
use vpce_testbed::operator::{Aws, Operator};

use super::{Guide, in_aws, make, team};
use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, endpoint, text};

/// The same team, seen from another cluster.
fn seen_from<'n>(tenant: &Tenant<'_>, world: &'n World) -> Tenant<'n> {
    Tenant {
        world,
        namespace: tenant.namespace.clone(),
        account: tenant.account.clone(),
        account_id: tenant.account_id.clone(),
        region: tenant.region.clone(),
        role_arn: tenant.role_arn.clone(),
        vpc: tenant.vpc.clone(),
        subnets: tenant.subnets.clone(),
        group: tenant.group.clone(),
        service: tenant.service.clone(),
        over: None,
    }
}

/// Keeps what Git has of a team: its namespace, its AWSAccount, and of its VPCEndpoints these.
fn keep_manifests(guide: &Guide<'_>, tenant: &Tenant<'_>, names: &[&str]) {
    let folder = guide.folder.join("manifests");
    fs::create_dir_all(&folder).expect("a folder");
    let account = tenant.world.aws_account(&tenant.account).expect("there");
    let account = json!({
        "apiVersion": account["apiVersion"], "kind": account["kind"],
        "metadata": {"name": tenant.account}, "spec": account["spec"],
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant.namespace}});
    let spec = |name: &str| tenant.get(name).expect("there")["spec"].take();
    let endpoints = names
        .iter()
        .map(|name| endpoint(&tenant.namespace, name, &spec(name)).to_string());
    let all: Vec<String> = std::iter::once(namespace.to_string()).chain(endpoints).collect();
    fs::write(folder.join("awsaccounts.yaml"), account.to_string()).expect("written");
    fs::write(folder.join("orders.yaml"), all.join("\n---\n")).expect("written");
}

/// Starts the operator as the chart was installed by hand, as the kubelet of a real cluster does.
fn roll_out(world: &mut World) {
    let arguments = [
        "get",
        "values",
        "vpce-operator",
        "--namespace",
        "vpce-system",
        "--output",
        "json",
    ];
    let values = world.cluster.plane.helm(&arguments).and_then(|output| output.success());
    let values: Value = serde_json::from_str(&values.expect("helm knows them")).expect("JSON");
    let mut setup = Setup::fast();
    if let Some(id) = values["settings"]["clusterId"].as_str() {
        setup = setup.value("settings.clusterId", id);
    }
    for former in values["settings"]["adoptFrom"].as_array().into_iter().flatten() {
        setup = setup.value("settings.adoptFrom[0]", &text(former));
    }
    // Stopped where it ran.
    let _ = world.operator.terminate();
    let operator = Operator::install(&world.cluster.plane, &Aws::from(&world.aws), setup.options());
    world.operator = operator.expect("it starts");
}

/// Gives the role what the guide has printed.
fn apply_policy(guide: &Guide<'_>, tenant: &Tenant<'_>) {
    let policy = fs::read_to_string(guide.folder.join("permissions.json")).expect("printed");
    let role = RoleSpec {
        policy: Some(policy),
        ..tenant.world.role(&tenant.role_arn, None)
    };
    tenant.world.aws.set_role(&tenant.role_arn, role).expect("a role");
}

/// The ids of its endpoints and groups in AWS.
fn ids(tenant: &Tenant<'_>) -> (Vec<String>, Vec<String>) {
    let mut groups: Vec<String> = tenant.groups().into_iter().map(|group| group.id).collect();
    let mut endpoints = in_aws(tenant);
    endpoints.sort();
    groups.sort();
    (endpoints, groups)
}

/// The cluster that each endpoint belongs to.
fn clusters(tenant: &Tenant<'_>) -> BTreeMap<String, String> {
    let endpoints = tenant.endpoints().into_iter();
    let tag = "silvermullet.com/cluster";
    endpoints
        .map(|mut found| (found.id, found.tags.remove(tag).unwrap_or_default()))
        .collect()
}

/// Takes an object away without its endpoint, and applies it again with the status of before, as a
/// backup is restored.
fn restore(tenant: &Tenant<'_>, name: &str) {
    let before = tenant.get(name).expect("there");
    tenant.take_away(name);
    tenant.apply(name, before["spec"].clone());
    tenant.merge_status(name, before["status"].clone());
    tenant.edit_account(json!({"suspended": null}));
}

#[test]
fn a_lost_cluster_is_rebuilt_under_its_id_or_another_and_nothing_is_created_twice() {
    let old = World::own(Setup::fast());
    let mut guide = Guide::open(&old, "rebuild-a-cluster");
    let tenant = team(&old, "orders", "orders");
    tenant.register(json!({}));
    let status = |tenant: &Tenant<'_>, name: &str| tenant.ready(name)["status"]["vpc_endpoint_id"].take();
    make(&tenant, "catalog");
    let (checkout, forgotten) = (make(&tenant, "checkout"), make(&tenant, "forgotten"));
    keep_manifests(&guide, &tenant, &["catalog", "checkout"]);
    let (before, writes) = (ids(&tenant), tenant.writes().len());
    let only_tags = |tenant: &Tenant<'_>| {
        let writes = tenant.writes().split_off(writes);
        assert!(writes.iter().all(|action| action == "CreateTags"), "{writes:?}");
        assert_eq!(ids(tenant), before);
    };
    guide.follow("Prepare");
    old.operator.kill().expect("it was running");

    // Under the same id.
    let mut rebuilt = World::beside(&old, Setup::fast());
    guide.follow_in(&rebuilt, "Install the operator with the old id", "");
    roll_out(&mut rebuilt);
    let printed = guide.follow_in(&rebuilt, "Apply the manifests", "");
    assert!(printed.contains(&checkout), "{printed}");
    let here = seen_from(&tenant, &rebuilt);
    only_tags(&here);
    rebuilt.eventually("what has no manifest is counted", || {
        let count = rebuilt.aws_account("orders")?["status"]["orphans"]["count"].as_i64();
        (count == Some(2)).then_some(())
    });
    let printed = guide.follow_in(&rebuilt, "Find resources without a manifest", "");
    assert!(printed.lines().any(|line| line.ends_with(" 2")), "{printed}");

    restore(&here, "checkout");
    guide.follow_in(&rebuilt, "Restore from a backup", "");
    assert_eq!(status(&here, "checkout"), checkout);
    only_tags(&here);

    // Beside it, with an id of its own, what is restored is not touched.
    let mut moved = World::beside(&old, Setup::fast());
    let there = seen_from(&tenant, &moved);
    moved.cluster.create_namespace("orders", json!({}));
    there.register(json!({"allow_retain": true}));
    there.apply("checkout", tenant.spec(json!({})));
    there.merge_status("checkout", here.get("checkout").expect("there")["status"].take());
    there.not_ready("checkout", "OwnershipLost");
    there.merge("checkout", json!({"spec": {"deletion_policy": "Retain"}}));
    there.delete("checkout");
    there.gone("checkout");
    only_tags(&there);
    assert!(clusters(&there).values().all(|id| id == old.cluster_id()));

    // Taking over.
    guide.follow_in(&rebuilt, "Stop the old operator", "");
    rebuilt.operator.terminate().expect("it was running");
    guide.follow_in(&moved, "Update the tenant roles", "");
    apply_policy(&guide, &there);
    guide.follow_in(&moved, "Install the new operator", "");
    roll_out(&mut moved);
    let there = seen_from(&tenant, &moved);
    guide.follow_in(&moved, "Apply the objects", "");
    assert_eq!(status(&there, "checkout"), checkout);
    only_tags(&there);
    let printed = guide.follow_in(&moved, "Find what was not adopted", "");
    assert!(
        printed.contains(&forgotten) && !printed.contains(&checkout),
        "{printed}"
    );
    for (id, cluster) in clusters(&there) {
        let expected = if id == forgotten {
            old.cluster_id()
        } else {
            moved.cluster_id()
        };
        assert_eq!(cluster, expected, "{id}");
    }
    guide.follow_in(&moved, "Finish the adoption", "");
    apply_policy(&guide, &there);
    roll_out(&mut moved);
    let there = seen_from(&tenant, &moved);
    let path = format!("{}/checkout", cluster::endpoints("orders"));
    moved.cluster.delete(&path);
    there.gone("checkout");
    assert!(!in_aws(&there).contains(&checkout), "it is the new cluster's own");
    guide.end();
}
