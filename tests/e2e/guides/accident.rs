//! The guide for what was deleted by accident.

use serde_json::json;

use super::{Guide, build_network, in_aws, team};
use crate::world::{World, text};

#[test]
fn what_was_deleted_is_named_recreated_and_adopted_where_it_was_retained() {
    let world = World::shared();
    let mut guide = Guide::open(world, "deleted-by-accident");
    let mut tenant = team(world, "deposits", "deposits");
    "eu-west-1".clone_into(&mut tenant.region);
    let manifest = guide.manifest("endpoint.yaml");
    build_network(&mut tenant, &manifest);
    tenant.register(json!({"allow_retain": true}));
    let make = || {
        tenant.apply("cards", manifest["spec"].clone());
        text(&tenant.ready("cards")["status"]["vpc_endpoint_id"])
    };
    let delete = |reason: &str| {
        tenant.delete("cards");
        tenant.gone("cards");
        tenant.event("cards", reason)
    };

    let first = make();
    let told = delete("Deleted");
    assert!(told.contains(&first), "{told}");
    assert!(in_aws(&tenant).is_empty() && tenant.groups().is_empty());
    let printed = guide.follow("Find what was deleted");
    assert!(printed.contains(&first), "{printed}");

    guide.follow("Recreate it");
    let object = tenant.ready("cards");
    let (second, dns_name) = (
        text(&object["status"]["vpc_endpoint_id"]),
        text(&object["status"]["dns_name"]),
    );
    assert_ne!(first, second);
    guide.follow("Prevent accidental deletion");

    tenant.merge("cards", json!({"spec": {"deletion_policy": "Retain"}}));
    tenant.ready("cards");
    let told = delete("Retained");
    let group = tenant.groups().remove(0);
    for id in [&second, &group.id] {
        assert!(told.contains(id.as_str()), "{id}: {told}");
    }
    // As the page says with the AWS CLI.
    let mark = &group.tags["silvermullet.com/retained"];
    let [cluster, namespace, name] = mark.split('/').collect::<Vec<_>>()[..] else {
        panic!("{mark}");
    };
    let (account, region) = (&tenant.account_id, &tenant.region);
    for id in [&second, &group.id] {
        for (key, value) in [("cluster", cluster), ("namespace", namespace), ("name", name)] {
            let set = world
                .aws
                .set_tag(account, region, id, &format!("silvermullet.com/{key}"), value);
            set.expect("it is there");
        }
        let taken = world.aws.delete_tag(account, region, id, "silvermullet.com/retained");
        taken.expect("it is there");
    }
    guide.follow("Recover retained resources");
    let object = tenant.ready("cards");
    let again = text(&object["status"]["vpc_endpoint_id"]);
    assert_eq!((again, text(&object["status"]["dns_name"])), (second.clone(), dns_name));
    assert_eq!(object["status"]["security_group_id"], group.id);
    assert_eq!(in_aws(&tenant), [second]);
    guide.end();
}
