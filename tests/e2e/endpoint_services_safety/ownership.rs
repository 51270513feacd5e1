//! What an object's own endpoint service is: also in a cluster that is built again, and whatever
//! tags and ids are planted.

use serde_json::{Value, json};

use super::{RESERVED, created, set_adopting_role};
use crate::cluster::{self, ACCOUNTS, Run};
use crate::endpoint_services::{Offers, offering, root};
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// Applies in another cluster what a tenant has in this one, as its manifests say it, and waits
/// until it is Ready there.
#[track_caller]
fn apply_again(offers: &Offers<'_, '_>, name: &str, there: &World) -> Value {
    let tenant = offers.tenant;
    let namespace = &tenant.namespace;
    there.cluster.create_namespace(namespace, json!({"tenant": namespace}));
    let manifest = |object: Value, namespace: Option<&str>| {
        json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": {"name": object["metadata"]["name"], "namespace": namespace}, "spec": object["spec"],
        })
    };
    let account = tenant.world.aws_account(&tenant.account).expect("it is there");
    let object = offers.get(name).expect("it is there");
    let collection = cluster::endpoint_services(namespace);
    for (collection, manifest) in [
        (ACCOUNTS, manifest(account, None)),
        (&collection, manifest(object, Some(namespace))),
    ] {
        let created = there.cluster.create(collection, &manifest, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message));
    }
    there.eventually(&format!("{name} is Ready in the new cluster"), || {
        let object = there.cluster.get(&offers.path(name))?;
        condition(&object, "Ready").filter(|ready| ready.status)?;
        Some(object)
    })
}

/// Offers something with a tag and a consumer.
#[track_caller]
fn offer(offers: &Offers<'_, '_>) -> Value {
    let arns = [offers.active(), offers.active()];
    let changes = json!({"consumers": {"account_ids": ["222222222222"]}, "tags": {"team": "a"}});
    offers.apply("web", &offering(&[&arns[0], &arns[1]], changes));
    offers.ready("web")
}

/// The endpoint service is the one of before, and all that was written since is its tags.
#[track_caller]
fn is_taken_over(offers: &Offers<'_, '_>, object: &Value, id: &str, writes: usize) {
    let service = offers.only();
    assert_eq!(
        (service.id.as_str(), text(&object["status"]["service_id"]).as_str()),
        (id, id)
    );
    let uid = text(&object["metadata"]["uid"]);
    offers.tenant.world.eventually("its UID is in the tags", || {
        (offers.only().tags.get(&format!("{RESERVED}uid")) == Some(&uid)).then_some(())
    });
    let since = offers.tenant.writes().split_off(writes);
    assert!(since.iter().all(|action| action == "CreateTags"), "{since:?}");
}

#[test]
fn manifests_applied_again_under_the_same_cluster_id_find_what_was_theirs() {
    let setup = Setup::fast().value("settings.clusterId", "blue");
    let old = World::own(setup.clone());
    let tenant = old.tenant("rebuilt");
    let offers = Offers::of(&tenant);
    let id = text(&offer(&offers)["status"]["service_id"]);
    let writes = tenant.writes().len();
    old.operator.kill().expect("it was running");
    let new = World::beside(&old, setup);
    let object = apply_again(&offers, "web", &new);
    is_taken_over(&offers, &object, &id, writes);
    new.cluster.delete(&offers.path("web"));
    new.eventually("it is gone, and so is what it took over", || {
        offers.all().is_empty().then_some(())
    });
}

#[test]
fn a_new_cluster_takes_over_from_one_that_adopt_from_names_and_from_no_other() {
    let old = World::own(Setup::fast());
    let tenant = old.tenant("handed-over");
    let offers = Offers::of(&tenant);
    let id = text(&offer(&offers)["status"]["service_id"]);
    let writes = tenant.writes().len();
    old.operator.kill().expect("it was running");
    let new = World::beside(&old, Setup::fast().value("settings.adoptFrom[0]", old.cluster_id()));
    set_adopting_role(&new, &tenant.role_arn, &[old.cluster_id()]);
    let object = apply_again(&offers, "web", &new);
    is_taken_over(&offers, &object, &id, writes);
    assert_eq!(offers.only().tags[&format!("{RESERVED}cluster")], new.cluster_id());

    // A third one does not know the second, and the load balancers are taken.
    new.operator.kill().expect("it was running");
    let before = offers.only();
    let third = World::beside(&old, Setup::fast());
    set_adopting_role(&third, &tenant.role_arn, &[]);
    let mark = third.aws.now();
    let namespace = &tenant.namespace;
    third.cluster.create_namespace(namespace, json!({"tenant": namespace}));
    let account = tenant.world.aws_account(&tenant.account).expect("it is there");
    let account = json!({
        "apiVersion": account["apiVersion"], "kind": "AWSAccount", "metadata": {"name": tenant.account}, "spec": account["spec"],
    });
    third.cluster.create(ACCOUNTS, &account, Run::Real).expect("created");
    let object = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"name": "web"}, "spec": object["spec"],
    });
    let collection = cluster::endpoint_services(namespace);
    third.cluster.create(&collection, &object, Run::Real).expect("created");
    third.eventually("it says that they are taken", || {
        let object = third.cluster.get(&offers.path("web"))?;
        (condition(&object, "Ready")?.reason == "Conflict").then_some(())
    });
    offers.untouched(&id, mark);
    third.cluster.delete(&offers.path("web"));
    third.eventually("it is gone", || {
        third.cluster.get(&offers.path("web")).is_none().then_some(())
    });
    assert_eq!(offers.all(), [before]);
}

/// Deletes the object and leaves what it has in AWS, as a person does who removes its finalizer.
/// The AWSAccount is suspended from then on.
fn take_away(offers: &Offers<'_, '_>, name: &str) {
    offers.tenant.edit_account(json!({"suspended": true}));
    offers.reason(name, "AccountSuspended");
    offers.delete(name);
    offers.merge(name, &json!({"metadata": {"finalizers": null}}));
    offers.gone(name);
}

#[test]
fn a_restored_object_continues_with_the_endpoint_service_of_its_old_status() {
    let tenant = World::shared().tenant("restored");
    let offers = Offers::of(&tenant);
    let object = offer(&offers);
    let id = text(&object["status"]["service_id"]);
    let writes = tenant.writes().len();
    // As a backup is restored: another UID, and perhaps the status of before.
    for status in [true, false] {
        take_away(&offers, "web");
        offers.apply("web", &object["spec"]);
        if status {
            offers.merge_status("web", &object["status"]);
        }
        tenant.edit_account(json!({"suspended": null}));
        is_taken_over(&offers, &offers.ready("web"), &id, writes);
    }
    assert_eq!(created(&tenant), 1);
}

/// A backup may be older than the endpoint service.
#[test]
fn a_restored_object_whose_status_names_a_former_endpoint_service_finds_the_present_one() {
    let tenant = World::shared().tenant("older");
    let offers = Offers::of(&tenant);
    let object = offer(&offers);
    let former = text(&object["status"]["service_id"]);
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    aws.delete_endpoint_service_behind(account, region, &former)
        .expect("it is there");
    let present = offers.eventually("web", "another is there", || {
        let id = text(&offers.ready("web")["status"]["service_id"]);
        (id != former).then_some(id)
    });
    for deleted in [false, true] {
        take_away(&offers, "web");
        offers.apply("web", &object["spec"]);
        if deleted {
            // With its finalizer, and deleted before it is reconciled.
            offers.merge(
                "web",
                &json!({"metadata": {"finalizers": object["metadata"]["finalizers"]}}),
            );
        }
        offers.merge_status("web", &object["status"]);
        if deleted {
            offers.delete("web");
            tenant.edit_account(json!({"suspended": null}));
            offers.nothing_left("web", "after it was restored and deleted");
        } else {
            tenant.edit_account(json!({"suspended": null}));
            offers.eventually("web", "it has the present one", || {
                let status = offers.ready("web")["status"].take();
                (status["service_id"] == present.as_str()).then_some(())
            });
            assert_eq!(offers.only().id, present);
        }
    }
}

#[test]
fn an_endpoint_service_that_only_carries_the_tags_is_neither_changed_nor_deleted() {
    let tenant = World::shared().tenant("planted");
    let offers = Offers::of(&tenant);
    let (theirs, own) = (offers.active(), offers.active());
    let stranger = offers.strangers(&theirs);
    offers.plant(&stranger.id, "web");
    let planted = offers.by_id(&stranger.id).expect("it is there");
    offers.rest();
    let mark = tenant.world.aws.now();
    let wish = json!({"allowed_principals": [root("222222222222")], "tags": {"mine": "yes"}, "on_delete": "Reject"});
    offers.apply("web", &offering(&[&own], wish.clone()));
    let message = offers.not_ready("web", "OwnershipLost");
    assert!(message.contains(&stranger.id), "{message}");
    assert_eq!(
        offers.all(),
        std::slice::from_ref(&planted),
        "nothing is created in its place"
    );
    // The finalizer is removed all the same.
    offers.delete("web");
    offers.gone("web");
    assert_eq!(offers.all(), std::slice::from_ref(&planted));

    // Without the tags it is created. With them again, nothing is added to what it has.
    offers.apply("web", &offering(&[&own], wish));
    offers.not_ready("web", "OwnershipLost");
    unplant(&tenant, &stranger.id);
    let id = text(&offers.ready("web")["status"]["service_id"]);
    offers.plant(&stranger.id, "web");
    offers.rest();
    assert_eq!(text(&offers.ready("web")["status"]["service_id"]), id);
    // Its own is lost in AWS: another's is not taken for it.
    let aws = &tenant.world.aws;
    aws.delete_endpoint_service_behind(&tenant.account_id, &tenant.region, &id)
        .expect("it is there");
    offers.not_ready("web", "OwnershipLost");
    assert_eq!(offers.all(), std::slice::from_ref(&planted));
    offers.delete("web");
    offers.gone("web");
    assert_eq!(offers.all(), [planted]);
    offers.untouched(&stranger.id, mark);
}

fn unplant(tenant: &Tenant<'_>, id: &str) {
    for key in ["cluster", "namespace", "name", "kind", "uid"] {
        let key = format!("{RESERVED}{key}");
        let removed = tenant
            .world
            .aws
            .delete_tag(&tenant.account_id, &tenant.region, id, &key);
        removed.expect("it was planted");
    }
}

#[test]
fn an_id_that_is_written_into_a_status_gives_no_access_to_what_it_names() {
    let world = World::shared();
    let tenant = world.tenant("forged");
    let offers = Offers::of(&tenant);
    tenant.edit_account(json!({"allow_retain": true}));
    let arns = [offers.active(), offers.active(), offers.active()];
    let stranger = offers.strangers(&arns[0]).id;
    offers.apply("other", &offering(&[&arns[1]], json!({})));
    let others = text(&offers.ready("other")["status"]["service_id"]);
    let wish = json!({"allowed_principals": [root("222222222222")], "tags": {"mine": "yes"}, "on_delete": "Reject"});
    for (number, victim) in [&stranger, &others].into_iter().enumerate() {
        let before = offers.by_id(victim).expect("it is there");
        let mark = world.aws.now();
        // Where it has nothing of its own, nothing is made in its place either.
        let name = format!("none-{number}");
        tenant.edit_account(json!({"suspended": true}));
        offers.apply(&name, &offering(&[&arns[2]], wish.clone()));
        offers.not_ready(&name, "AccountSuspended");
        let account = json!({"name": tenant.account, "account_id": tenant.account_id});
        let forged = json!({
            "account": account, "region": tenant.region, "service_id": victim, "incarnation": 0,
            "load_balancer_type": "Network", "load_balancer_arns": [arns[2]],
        });
        offers.merge(
            &name,
            &json!({"metadata": {"finalizers": ["silvermullet.com/vpcesvc"]}}),
        );
        offers.merge_status(&name, &forged);
        tenant.edit_account(json!({"suspended": null}));
        let message = offers.not_ready(&name, "OwnershipLost");
        assert!(message.contains(victim), "{message}");
        offers.delete(&name);
        offers.eventually(&name, "it is not deleted", || {
            offers.says(&name)?.2.contains("not deleted").then_some(())
        });
        offers.merge(&name, &json!({"spec": {"deletion_policy": "Retain"}}));
        offers.gone(&name);
        // What it has of its own it keeps, and takes along when it is deleted.
        let name = format!("some-{number}");
        offers.apply(&name, &offering(&[&arns[2]], json!({})));
        let own = text(&offers.ready(&name)["status"]["service_id"]);
        offers.merge_status(&name, &json!({"service_id": victim}));
        offers.eventually(&name, "its status is corrected", || {
            (offers.get(&name)?["status"]["service_id"] == own.as_str()).then_some(())
        });
        offers.merge_status(&name, &json!({"service_id": victim}));
        offers.delete(&name);
        offers.gone(&name);
        assert_eq!(offers.by_id(&own), None, "its own is deleted");
        assert_eq!(offers.by_id(victim), Some(before));
        offers.untouched(victim, mark);
    }
}

#[test]
fn an_endpoint_service_that_lost_its_owner_tags_waits_until_they_are_back() {
    let tenant = World::shared().tenant("untagged");
    let offers = Offers::of(&tenant);
    let object = offer(&offers);
    let before = offers.only();
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    let lose_tags = || {
        for key in before.tags.keys().filter(|key| key.starts_with(RESERVED)) {
            aws.delete_tag(account, region, &before.id, key)
                .expect("it has this tag");
        }
    };
    let put_back = || {
        for (key, value) in before.tags.iter().filter(|(key, _)| key.starts_with(RESERVED)) {
            aws.set_tag(account, region, &before.id, key, value)
                .expect("it is there");
        }
    };
    lose_tags();
    let message = offers.not_ready("web", "OwnershipLost");
    for part in ["aws ec2 create-tags", &before.id] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let mark = aws.now();
    offers.merge(
        "web",
        &json!({"spec": {"tags": {"team": "b"}, "acceptance_required": false}}),
    );
    offers.not_ready("web", "OwnershipLost");
    offers.rest();
    offers.untouched(&before.id, mark);
    assert_eq!(offers.all().len(), 1, "nothing is created in its place");
    put_back();
    offers.ready("web");
    let now = offers.only();
    assert_eq!(
        (now.id.as_str(), now.tags["team"].as_str(), now.acceptance_required),
        (before.id.as_str(), "b", false)
    );

    // Its deletion waits for them, too.
    lose_tags();
    offers.not_ready("web", "OwnershipLost");
    offers.delete("web");
    offers.eventually("web", "it is not deleted", || {
        offers.says("web")?.2.contains("not deleted").then_some(())
    });
    assert_eq!(offers.all().len(), 1);
    put_back();
    offers.nothing_left("web", "once its tags are back");
    assert_eq!(object["status"]["service_id"], before.id.as_str());
    assert_eq!(created(&tenant), 1);
}
