//! Objects that copy another's name or UID, or read like another.

use http::Method;
use serde_json::json;

use super::{Belongings, neighbour, neighbours, open_role, rest};
use crate::cluster::{self, Run};
use crate::privileges::somebody;
use crate::world::{World, endpoint, text};

#[test]
fn a_copied_name_or_uid_gives_no_access_to_another_owners_resources() {
    let (victim, attacker) = neighbours("copied");
    let theirs = victim.ready("api");
    let before = Belongings::of(&victim);
    // What `kubectl get --output yaml` prints of theirs, applied as it is under another namespace.
    let mut copy = theirs.clone();
    copy["metadata"] = json!({
        "name": "api", "namespace": attacker.namespace, "uid": theirs["metadata"]["uid"],
        "finalizers": theirs["metadata"]["finalizers"], "annotations": {"silvermullet.com/reconcile-at": "now"},
    });
    let team = somebody(&attacker, "edit");
    let collection = format!("{}?fieldValidation=Strict", cluster::endpoints(&attacker.namespace));
    let cluster = &attacker.world.cluster;
    let created = cluster.send_as(&team.user, Method::POST, &collection, "application/json", &copy);
    let created = created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    assert_ne!(
        created["metadata"]["uid"], theirs["metadata"]["uid"],
        "the API server gives its own"
    );
    let nothing_seen = json!({"observedGeneration": -1});
    assert_eq!(
        created["status"], nothing_seen,
        "a status is no part of what is created"
    );
    let status = attacker.ready("api")["status"].take();
    for field in ["vpc_endpoint_id", "security_group_id", "dns_name"] {
        assert_ne!(status[field], theirs["status"][field], "{field}");
    }
    rest(&victim);
    assert_eq!(Belongings::of(&victim), before);
    attacker.delete("api");
    attacker.gone("api");
    assert_eq!(Belongings::of(&attacker).in_aws(), (0, 0));
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn owner_references_to_anothers_objects_change_and_delete_nothing_of_theirs() {
    let (victim, attacker) = neighbours("referring");
    let theirs = victim.ready("api");
    let service = victim.kubernetes_service("api").expect("it is published");
    let before = Belongings::of(&victim);
    let owners = json!([
        {"apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint", "name": "api",
            "uid": theirs["metadata"]["uid"], "controller": true},
        {"apiVersion": "v1", "kind": "Service", "name": "api", "uid": service["metadata"]["uid"]},
    ]);
    let mut object = endpoint(&attacker.namespace, "api", &attacker.spec(json!({})));
    object["metadata"]["ownerReferences"] = owners.clone();
    // A Service, too, that calls itself theirs.
    let posing = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "posing", "ownerReferences": [owners[0]], "labels": {"app.kubernetes.io/managed-by": "vpce-operator"}},
        "spec": {"type": "ExternalName", "externalName": "theirs.example.com"},
    });
    let cluster = &attacker.world.cluster;
    for (collection, object) in [
        (cluster::endpoints(&attacker.namespace), &object),
        (cluster::services(&attacker.namespace), &posing),
    ] {
        let created = cluster.create(&collection, object, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message));
    }
    // An owner in another namespace is none: the garbage collector takes such an object away.
    attacker.gone("api");
    rest(&victim);
    assert_eq!(Belongings::of(&attacker).in_aws(), (0, 0));
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn names_that_look_alike_are_distinct() {
    let world = World::shared();
    let one = world.unregistered_tenant("alike");
    open_role(&one);
    one.register(json!({}));
    // `a-b`/`c` and `a`/`b-c`: tag Name and the groups' names come out the same but for the UID.
    let mut two = neighbour(&one, "alike");
    two.namespace = format!("x-{}", one.namespace);
    world.cluster.create_namespace(&two.namespace, json!({}));
    open_role(&two);
    two.register(json!({}));
    let (first, second) = ("api-x", "api");
    one.apply(first, one.spec(json!({})));
    let before = one.ready(first);
    two.apply(second, two.spec(json!({})));
    two.ready(second);
    let (of_one, of_two) = (Belongings::of(&one), Belongings::of(&two));
    assert_eq!(of_one.endpoints[0].tags["Name"], of_two.endpoints[0].tags["Name"]);
    assert_eq!((of_one.in_aws(), of_two.in_aws()), ((1, 1), (1, 1)));
    two.delete(second);
    two.gone(second);
    rest(&one);
    assert_eq!(Belongings::of(&one).in_aws(), (1, 1));
    let after = one.ready(first);
    assert_eq!(
        text(&after["metadata"]["resourceVersion"]),
        text(&before["metadata"]["resourceVersion"])
    );
}
