//! A cluster that is lost and built again takes over what it had in AWS: nothing is made twice,
//! nothing is deleted.

use serde_json::{Value, json};

use crate::cluster::{self, ACCOUNTS, Run};
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

const CLUSTER_TAG: &str = "silvermullet.com/cluster";
const UID_TAG: &str = "silvermullet.com/uid";

/// Applies in another cluster what a tenant has in this one, as its manifests say it: without
/// status and UIDs.
fn apply_again(tenant: &Tenant<'_>, names: &[&str], there: &World) {
    there
        .cluster
        .create_namespace(&tenant.namespace, json!({"tenant": tenant.namespace}));
    let manifest = |object: Value, namespace: Option<&str>| {
        json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": {"name": object["metadata"]["name"], "namespace": namespace}, "spec": object["spec"],
        })
    };
    let account = tenant.world.aws_account(&tenant.account).expect("there");
    let create = |collection: &str, object: &Value| {
        let created = there.cluster.create(collection, object, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message));
    };
    create(ACCOUNTS, &manifest(account, None));
    for name in names {
        let object = tenant.get(name).expect("there");
        create(
            &cluster::endpoints(&tenant.namespace),
            &manifest(object, Some(&tenant.namespace)),
        );
    }
}

/// Waits until an object of this tenant is Ready in that cluster.
#[track_caller]
fn ready_in(there: &World, tenant: &Tenant<'_>, name: &str) -> Value {
    let path = format!("{}/{name}", cluster::endpoints(&tenant.namespace));
    there.eventually(&format!("{name} is Ready in the new cluster"), || {
        let object = there.cluster.get(&path)?;
        condition(&object, "Ready").filter(|ready| ready.status)?;
        Some(object)
    })
}

fn ids(tenant: &Tenant<'_>) -> (Vec<String>, Vec<String>) {
    let mut endpoints: Vec<String> = tenant.endpoints().into_iter().map(|found| found.id).collect();
    let mut groups: Vec<String> = tenant.groups().into_iter().map(|found| found.id).collect();
    endpoints.sort();
    groups.sort();
    (endpoints, groups)
}

/// All that was written to AWS since is tags.
#[track_caller]
fn only_tags_since(tenant: &Tenant<'_>, before: usize) {
    let writes = tenant.writes().split_off(before);
    assert!(
        !writes.is_empty() && writes.iter().all(|action| action == "CreateTags"),
        "{writes:?}"
    );
}

fn two_endpoints(tenant: &Tenant<'_>) {
    tenant.apply("generated", tenant.spec(json!({"tags": {"team": "a"}})));
    tenant.apply(
        "provided",
        tenant.spec(json!({"security_group_type": "provided", "security_group_ids": [tenant.group]})),
    );
    tenant.ready("generated");
    tenant.ready("provided");
}

#[test]
fn manifests_applied_again_under_the_same_cluster_id_find_what_was_theirs() {
    let setup = Setup::fast().value("settings.clusterId", "blue");
    let old = World::own(setup.clone());
    let tenant = old.tenant("rebuilt");
    two_endpoints(&tenant);
    let (before, writes) = (ids(&tenant), tenant.writes().len());
    old.operator.kill().expect("it was running");

    let new = World::beside(&old, setup);
    apply_again(&tenant, &["generated", "provided"], &new);
    for name in ["generated", "provided"] {
        let object = ready_in(&new, &tenant, name);
        let endpoints = tenant.endpoints();
        let own = endpoints
            .iter()
            .find(|found| object["status"]["vpc_endpoint_id"] == found.id.as_str());
        let own = own.expect("one of those that were there");
        assert_eq!(own.tags[UID_TAG], text(&object["metadata"]["uid"]));
    }
    assert_eq!(ids(&tenant), before);
    only_tags_since(&tenant, writes);
}

#[test]
fn a_new_cluster_takes_over_from_one_that_adopt_from_names() {
    let old = World::own(Setup::fast());
    let tenant = old.tenant("handed-over");
    two_endpoints(&tenant);
    let (before, writes) = (ids(&tenant), tenant.writes().len());
    old.operator.kill().expect("it was running");

    let new = World::beside(&old, Setup::fast().value("settings.adoptFrom[0]", old.cluster_id()));
    let role = new.role_that_adopts(&tenant.role_arn, old.cluster_id());
    new.aws.set_role(&tenant.role_arn, role).expect("a role");
    apply_again(&tenant, &["generated", "provided"], &new);
    for name in ["generated", "provided"] {
        ready_in(&new, &tenant, name);
    }
    assert_eq!(ids(&tenant), before);
    only_tags_since(&tenant, writes);
    let tags = tenant.endpoints().into_iter().map(|found| found.tags);
    let tags = tags.chain(tenant.groups().into_iter().map(|found| found.tags));
    for tags in tags {
        assert_eq!(tags[CLUSTER_TAG], new.cluster_id());
    }
    // They are the new cluster's now: with the role that is printed for it alone, they are deleted.
    new.add_role(&tenant.role_arn);
    for name in ["generated", "provided"] {
        let path = format!("{}/{name}", cluster::endpoints(&tenant.namespace));
        new.cluster.delete(&path);
        new.eventually("it is gone", || new.cluster.get(&path).is_none().then_some(()));
    }
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}

#[test]
fn a_restored_object_continues_with_the_resources_of_its_old_status() {
    let tenant = World::shared().tenant("restored");
    tenant.apply("api", tenant.spec(json!({})));
    let object = tenant.ready("api");
    let (before, writes) = (ids(&tenant), tenant.writes().len());
    // As a backup is restored: another UID, and perhaps the status of before.
    for status in [true, false] {
        tenant.take_away("api");
        tenant.apply("api", object["spec"].clone());
        if status {
            tenant.merge_status("api", object["status"].clone());
        }
        tenant.edit_account(json!({"suspended": null}));
        let restored = tenant.ready("api");
        assert_eq!(
            restored["status"]["vpc_endpoint_id"],
            object["status"]["vpc_endpoint_id"]
        );
        // The status that was restored says Ready from the first.
        let uid = text(&restored["metadata"]["uid"]);
        tenant.eventually("api", "its UID is in the tags", || {
            (tenant.endpoints()[0].tags[UID_TAG] == uid && tenant.groups()[0].tags[UID_TAG] == uid).then_some(())
        });
    }
    assert_eq!(ids(&tenant), before);
    only_tags_since(&tenant, writes);
}

#[test]
fn after_a_long_outage_everything_converges() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("outage");
    let names: Vec<String> = (0..6).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in &names {
        tenant.ready(name);
    }
    world.operator.kill().expect("it was running");
    let status = |name: &str| tenant.get(name).expect("there")["status"].clone();
    let endpoint = |name: &str| text(&status(name)["vpc_endpoint_id"]);
    let (edited, deleted, lost, drifted) = ("api-0", "api-1", "api-2", "api-3");
    tenant.apply(
        edited,
        tenant.spec(json!({"subnet_ids": [tenant.subnets[2]], "tags": {"team": "a"}})),
    );
    let old = endpoint(lost);
    tenant.delete(deleted);
    let (account, region) = (&tenant.account_id, &tenant.region);
    world.aws.delete_endpoint_behind(account, region, &old).expect("there");
    let group = text(&status(drifted)["security_group_id"]);
    let rules = tenant
        .groups()
        .into_iter()
        .find(|found| found.id == group)
        .expect("there")
        .ingress;
    world.aws.delete_tag(account, region, &group, UID_TAG).expect("there");
    tenant.apply("new", tenant.spec(json!({})));
    // Sessions run out meanwhile, and simulated time passes.
    world.aws.expire_sessions();
    world.aws.advance(100_000.0);
    world.operator.start().expect("it starts");
    tenant.ready(edited);
    tenant.gone(deleted);
    tenant.ready("new");
    tenant.eventually(lost, "it is made again", || {
        (endpoint(lost) != old && !endpoint(lost).is_empty()).then_some(())
    });
    tenant.ready(lost);
    tenant.eventually(drifted, "its tag is back", || {
        let found = tenant.groups().into_iter().find(|found| found.id == group)?;
        (found.tags.contains_key(UID_TAG) && found.ingress == rules).then_some(())
    });
    for name in ["api-4", "api-5"] {
        tenant.ready(name);
    }
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (6, 6));
    let mine = tenant
        .endpoints()
        .into_iter()
        .find(|found| found.id == endpoint(edited))
        .expect("there");
    assert_eq!(mine.subnet_ids, [tenant.subnets[2].clone()]);
}
