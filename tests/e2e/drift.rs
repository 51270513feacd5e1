//! Out-of-band changes are corrected at the next resync, and an event says so;
//! but what may be a mistake of ours, or of a user with wide rights, is not answered with
//! creates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use vpce_testbed::aws::{Call, Direction, EndpointView, GroupView, RuleView};

use crate::cluster;
use crate::events;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// More than two of a fast world's resync intervals.
const TWO_LOOKS: Duration = Duration::from_secs(12);
const OWNER_TAGS: [&str; 4] = [
    "silvermullet.com/cluster",
    "silvermullet.com/namespace",
    "silvermullet.com/name",
    "silvermullet.com/uid",
];

/// A tenant of the shared world with one endpoint that is Ready, and what it has in AWS.
fn settled(name: &str, spec: Value) -> (Tenant<'static>, EndpointView, GroupView) {
    let tenant = World::shared().unregistered_tenant(name);
    tenant.register(json!({"allow_retain": true}));
    tenant.apply("api", tenant.spec(spec));
    tenant.ready("api");
    let (endpoint, group) = (tenant.endpoints().remove(0), tenant.groups().remove(0));
    (tenant, endpoint, group)
}

/// Waits until the tenant's resources are as they were, and the object is Ready.
#[track_caller]
fn put_right(tenant: &Tenant<'_>, endpoint: &EndpointView, group: &GroupView) {
    tenant.eventually("api", "AWS holds what it held before", || {
        let same =
            tenant.endpoints() == std::slice::from_ref(endpoint) && tenant.groups() == std::slice::from_ref(group);
        same.then_some(())
    });
    tenant.ready("api");
}

/// Waits for an event about this correction.
#[track_caller]
fn repair_told(tenant: &Tenant<'_>, what: &str) {
    tenant.eventually("api", &format!("an event tells of the repair: {what}"), || {
        let events = tenant.events("api");
        let told = |event: &String| event.starts_with("Normal DriftRepaired: ") && event.contains(what);
        events.iter().any(told).then_some(())
    });
}

fn stalled(tenant: &Tenant<'_>, name: &str) -> bool {
    tenant.condition(name, "Stalled").is_some_and(|stalled| stalled.status)
}

fn count(tenant: &Tenant<'_>, action: &str) -> usize {
    tenant.writes().iter().filter(|done| *done == action).count()
}

fn target(service: &Value) -> String {
    text(&service["spec"]["externalName"])
}

#[test]
fn a_rule_that_was_removed_comes_back() {
    let (tenant, endpoint, group) = settled("drift-rule", json!({}));
    let rule = RuleView::new("-1", None, "10.0.0.0/8");
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    aws.remove_rule(account, region, &group.id, Direction::Ingress, &rule)
        .expect("it had the rule");
    put_right(&tenant, &endpoint, &group);
    repair_told(&tenant, "10.0.0.0/8");
}

#[test]
fn a_rule_that_was_added_goes() {
    let (tenant, endpoint, group) = settled("drift-added", json!({}));
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    let rule = RuleView::new("tcp", Some((22, 22)), "0.0.0.0/0");
    for direction in [Direction::Ingress, Direction::Egress] {
        aws.add_rule(account, region, &group.id, direction, &rule)
            .expect("a rule");
    }
    put_right(&tenant, &endpoint, &group);
    repair_told(&tenant, "tcp 22 0.0.0.0/0");
}

#[test]
fn a_group_that_was_detached_is_attached_again() {
    let (tenant, endpoint, group) = settled("drift-detached", json!({}));
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    aws.attach_group(account, region, &endpoint.id, &tenant.group)
        .expect("attached");
    aws.detach_group(account, region, &endpoint.id, &group.id)
        .expect("detached");
    put_right(&tenant, &endpoint, &group);
    repair_told(&tenant, &group.id);
}

#[test]
fn tags_that_were_lost_or_changed_are_set_again() {
    let (tenant, endpoint, group) = settled("drift-tags", json!({"tags": {"team": "blue", "stage": "dev"}}));
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    for id in [&endpoint.id, &group.id] {
        aws.delete_tag(account, region, id, "team").expect("it had it");
        aws.set_tag(account, region, id, "stage", "prod").expect("it is there");
        aws.delete_tag(account, region, id, "silvermullet.com/uid")
            .expect("it had it; it does not say whose it is");
    }
    put_right(&tenant, &endpoint, &group);
    repair_told(&tenant, "team");
}

#[test]
fn a_group_that_was_deleted_is_recreated() {
    let (tenant, endpoint, group) = settled("drift-group", json!({}));
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    aws.delete_group_behind(account, region, &group.id)
        .expect("it was there");
    let again = tenant.eventually("api", "the endpoint has a group again", || {
        let groups = tenant.groups();
        let ids: Vec<_> = groups.iter().map(|group| group.id.clone()).collect();
        (ids.len() == 1 && tenant.endpoints()[0].group_ids == ids).then(|| groups[0].clone())
    });
    tenant.ready("api");
    assert_ne!(again.id, group.id);
    assert_eq!((again.ingress, again.egress), (group.ingress, group.egress));
    assert_eq!(tenant.endpoints()[0].id, endpoint.id);
    tenant.eventually("api", "status names the new group", || {
        let object = tenant.get("api")?;
        (object["status"]["security_group_id"] == again.id).then_some(())
    });
    repair_told(&tenant, "create security group");
    assert_eq!(count(&tenant, "CreateSecurityGroup"), 2);
}

#[test]
fn a_service_that_was_edited_deleted_or_unlabelled_is_corrected() {
    let (tenant, ..) = settled("drift-service", json!({"service": {"ports": [{"port": 443}]}}));
    let path = format!("{}/api", cluster::services(&tenant.namespace));
    let right = tenant.kubernetes_service("api").expect("a Service");
    let cluster = &tenant.world.cluster;
    let put_right = |what: &str| {
        tenant.eventually("api", what, || {
            let service = tenant.kubernetes_service("api")?;
            let same = service["spec"] == right["spec"] && service["metadata"]["labels"] == right["metadata"]["labels"];
            let owned = service["metadata"]["ownerReferences"] == right["metadata"]["ownerReferences"];
            (same && owned).then_some(())
        });
        tenant.ready("api");
    };

    cluster
        .merge(&path, &json!({"spec": {"externalName": "elsewhere.example.com"}}))
        .expect("edited");
    put_right("it leads to the endpoint again");
    repair_told(&tenant, "publish Service api");
    cluster
        .merge(&path, &json!({"spec": {"ports": [{"port": 8443}]}}))
        .expect("edited");
    put_right("its ports are back");
    let other_type = json!({"spec": {"type": "ClusterIP", "externalName": null, "selector": {"app": "mine"}}});
    cluster.merge(&path, &other_type).expect("edited");
    put_right("it is an ExternalName again");
    let no_label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    cluster.merge(&path, &no_label).expect("edited");
    put_right("its label is back");
    cluster.delete(&path);
    put_right("it is there again");
    assert_eq!(tenant.writes().len(), 3, "AWS has no part in it");
}

#[test]
fn an_endpoint_that_was_deleted_is_recreated_once_as_another_incarnation() {
    let (tenant, endpoint, group) = settled("drift-deleted", json!({}));
    let old_target = target(&tenant.kubernetes_service("api").expect("a Service"));
    assert_eq!(tenant.get("api").expect("there")["status"]["incarnation"], 0);
    tenant
        .world
        .aws
        .delete_endpoint_behind(&tenant.account_id, &tenant.region, &endpoint.id)
        .expect("it was there");
    let again = tenant.eventually("api", "another endpoint is available", || {
        tenant
            .endpoints()
            .into_iter()
            .find(|found| found.id != endpoint.id && found.state == "available")
    });
    let object = tenant.eventually("api", "it is Ready with the new one", || {
        let object = tenant.get("api")?;
        condition(&object, "Ready").filter(|ready| ready.status)?;
        (object["status"]["vpc_endpoint_id"] == again.id).then_some(object)
    });
    assert_eq!(object["status"]["incarnation"], 1);
    let service = tenant.kubernetes_service("api").expect("a Service");
    assert_ne!(target(&service), old_target);
    assert!(again.dns_names.contains(&target(&service)));
    let told = |event: &String| event.starts_with("Warning DeletedInAWS: ") && event.contains(&endpoint.id);
    tenant.eventually("api", "a Warning tells of it", || {
        tenant.events("api").iter().any(told).then_some(())
    });
    std::thread::sleep(TWO_LOOKS);
    assert_eq!(count(&tenant, "CreateVpcEndpoint"), 2);
    assert_eq!(tenant.endpoints(), [again]);
    assert_eq!(tenant.groups(), [group], "its group serves the new one");
}

/// Takes owner tags away, and returns them.
fn take_tags(tenant: &Tenant<'_>, id: &str, keys: &[&str]) -> BTreeMap<String, String> {
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    let endpoints = tenant.endpoints().into_iter().map(|found| (found.id, found.tags));
    let groups = tenant.groups().into_iter().map(|found| (found.id, found.tags));
    let (_, mut tags) = endpoints.chain(groups).find(|(found, _)| found == id).expect("there");
    for key in keys {
        aws.delete_tag(account, region, id, key).expect("it had the tag");
    }
    tags.retain(|key, _| keys.contains(&key.as_str()));
    tags
}

fn set_tags(tenant: &Tenant<'_>, id: &str, tags: &BTreeMap<String, String>) {
    for (key, value) in tags {
        tenant
            .world
            .aws
            .set_tag(&tenant.account_id, &tenant.region, id, key, value)
            .expect("it is there");
    }
}

#[test]
fn what_lost_its_owner_tags_is_neither_changed_nor_replaced_until_they_are_back() {
    let check = |keys: &[&str]| {
        let (tenant, endpoint, group) = settled("lost", json!({}));
        let service = tenant.kubernetes_service("api");
        for id in [&endpoint.id, &group.id] {
            let before = tenant.calls().len();
            let taken = take_tags(&tenant, id, keys);
            let message = tenant.not_ready("api", "OwnershipLost");
            assert!(message.contains(id.as_str()), "{message}");
            assert!(stalled(&tenant, "api"));
            // An edit is not carried out either.
            tenant.apply("api", tenant.spec(json!({"tags": {"edited": "yes"}})));
            tenant.not_ready("api", "OwnershipLost");
            std::thread::sleep(Duration::from_secs(6));
            tenant.not_ready("api", "OwnershipLost");
            let writes = tenant.calls().split_off(before).into_iter().filter(Call::mutating);
            let touched: Vec<Call> = writes
                .filter(|call| call.action.starts_with("CreateSec") || call.params.values().any(|value| value == id))
                .collect();
            assert!(touched.is_empty(), "{keys:?} of {id}: {touched:?}");
            assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (1, 1));
            tenant.apply("api", tenant.spec(json!({})));
            set_tags(&tenant, id, &taken);
            tenant.ready("api");
            assert!(!stalled(&tenant, "api"));
        }
        assert_eq!(tenant.kubernetes_service("api"), service);
        put_right(&tenant, &endpoint, &group);
        assert!(tenant.event("api", "OwnershipLost").starts_with("Warning"));
    };
    std::thread::scope(|scope| {
        for keys in [&OWNER_TAGS[..], &OWNER_TAGS[..1], &OWNER_TAGS[2..3]] {
            scope.spawn(move || check(keys));
        }
    });
}

#[test]
fn a_tag_removed_from_the_spec_while_the_owner_tags_were_lost_goes_when_they_are_back() {
    let (tenant, endpoint, group) = settled("lost-edited", json!({"tags": {"team": "blue"}}));
    for id in [&endpoint.id, &group.id] {
        let taken = take_tags(&tenant, id, &OWNER_TAGS[..1]);
        tenant.not_ready("api", "OwnershipLost");
        tenant.apply("api", tenant.spec(json!({})));
        tenant.not_ready("api", "OwnershipLost");
        set_tags(&tenant, id, &taken);
        tenant.ready("api");
        let tags = [tenant.endpoints().remove(0).tags, tenant.groups().remove(0).tags];
        assert!(tags.iter().all(|tags| !tags.contains_key("team")), "{id}: {tags:?}");
        tenant.apply("api", tenant.spec(json!({"tags": {"team": "blue"}})));
        tenant.ready("api");
    }
}

#[test]
fn deleting_what_lost_its_tags_waits_and_prints_the_command_that_fixes_it() {
    let (tenant, endpoint, group) = settled("lost-deleted", json!({}));
    for id in [&group.id, &endpoint.id] {
        take_tags(&tenant, id, &OWNER_TAGS);
    }
    tenant.not_ready("api", "OwnershipLost");
    let before = tenant.writes();
    tenant.delete("api");
    // The endpoint first, then its group: each waits for a person.
    for id in [&endpoint.id, &group.id] {
        let command = tenant.eventually("api", &format!("it says how to mend {id}"), || {
            let message = tenant.condition("api", "Ready")?.message;
            let (_, command) = message.split_once("aws ec2 create-tags --resources ")?;
            let (resource, rest) = command.split_once(" --tags ")?;
            (resource == id).then(|| rest.to_owned())
        });
        std::thread::sleep(Duration::from_secs(2));
        if id == &endpoint.id {
            assert_eq!(tenant.writes(), before);
        }
        assert!(tenant.groups().iter().any(|found| found.id == group.id));
        let mut tags = BTreeMap::new();
        let arguments = command.split_whitespace().map(|word| word.trim_end_matches(';'));
        for pair in arguments.map_while(|word| word.strip_prefix("Key=")) {
            let (key, value) = pair.split_once(",Value=").expect("Key=...,Value=...");
            tags.insert(key.to_owned(), value.to_owned());
        }
        assert_eq!(tags.len(), OWNER_TAGS.len(), "{command}");
        set_tags(&tenant, id, &tags);
    }
    tenant.gone("api");
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}

/// The tags that are not the owner's, and the mark of what was retained.
fn retained(tags: &BTreeMap<String, String>) -> (Option<&String>, bool) {
    let owned = OWNER_TAGS.iter().any(|key| tags.contains_key(*key));
    (tags.get("silvermullet.com/retained"), owned)
}

#[test]
fn retain_abandons_the_endpoint_and_marks_it() {
    let (tenant, endpoint, group) = settled("retain", json!({"deletion_policy": "Retain", "tags": {"team": "blue"}}));
    let mark = format!("{}/{}/api", endpoint.tags["silvermullet.com/cluster"], tenant.namespace);
    tenant.delete("api");
    tenant.gone("api");
    let (left, left_group) = (tenant.endpoints().remove(0), tenant.groups().remove(0));
    for tags in [&left.tags, &left_group.tags] {
        assert_eq!(retained(tags), (Some(&mark), false));
        assert_eq!(tags["team"], "blue");
    }
    assert_eq!((left.id, left.state), (endpoint.id.clone(), endpoint.state));
    assert_eq!((&left_group.id, &left_group.ingress), (&group.id, &group.ingress));
    let told = tenant.event("api", "Retained");
    assert!(told.contains(&endpoint.id) && told.contains(&group.id), "{told}");
    tenant.eventually("api", "the Service is gone", || {
        tenant.kubernetes_service("api").is_none().then_some(())
    });

    // One that is applied again gets an endpoint of its own.
    tenant.apply("api", tenant.spec(json!({})));
    let object = tenant.ready("api");
    assert_ne!(object["status"]["vpc_endpoint_id"], endpoint.id);
    assert_eq!(tenant.endpoints().len(), 2);
}

#[test]
fn retain_abandons_what_lost_its_tags_without_changing_it() {
    let (tenant, endpoint, group) = settled("retain-lost", json!({}));
    take_tags(&tenant, &endpoint.id, &OWNER_TAGS);
    tenant.not_ready("api", "OwnershipLost");
    tenant.delete("api");
    tenant.eventually("api", "it waits", || {
        let message = tenant.condition("api", "Ready")?.message;
        message.contains("deletion_policy").then_some(())
    });
    tenant.merge("api", json!({"spec": {"deletion_policy": "Retain"}}));
    tenant.gone("api");
    let (left, left_group) = (tenant.endpoints().remove(0), tenant.groups().remove(0));
    assert_eq!((&left.id, retained(&left.tags)), (&endpoint.id, (None, false)));
    assert_eq!(left_group.id, group.id);
    assert!(matches!(retained(&left_group.tags), (Some(_), false)), "{left_group:?}");
}

/// Deletes endpoints in AWS, as another client would.
fn delete_behind(tenant: &Tenant<'_>, ids: &[String]) {
    for id in ids {
        tenant
            .world
            .aws
            .delete_endpoint_behind(&tenant.account_id, &tenant.region, id)
            .expect("it was there");
    }
}

/// Waits until the AWSAccount and its endpoints say that creation is paused; returns the resume id.
fn creation_is_paused(tenant: &Tenant<'_>, names: &[&str]) -> String {
    let world = tenant.world;
    world.eventually("the AWSAccount and its endpoints say that creation is paused", || {
        let account = world.aws_account(&tenant.account)?;
        let paused = condition(&account, "CreationPaused").filter(|paused| paused.status)?;
        let (_, id) = paused.message.split_once("resume id ")?;
        let id = id.split_whitespace().next()?.to_owned();
        let says = |name: &&str| {
            let ready = tenant.condition(name, "Ready")?;
            (ready.reason == "CreationPaused" && ready.message.contains(&id)).then_some(())
        };
        names.iter().all(|name| says(name).is_some()).then_some(id)
    })
}

#[test]
fn after_a_mass_deletion_nothing_is_created_until_a_person_resumes_creation() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("mass");
    let names = ["one", "two", "three", "four", "five"];
    for name in names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in names {
        tenant.ready(name);
    }
    let before = tenant.writes().len();
    let old: Vec<String> = tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect();
    delete_behind(&tenant, &old);

    // Creation is paused once for all, when all are known to be gone.
    let resume_id = creation_is_paused(&tenant, &names);
    assert!(tenant.event("one", "CreationPaused").starts_with("Warning"));
    world.eventually("an event of the AWSAccount has the resume id", || {
        let has_it = |event: &Value| event["reason"] == "CreationPaused" && text(&event["note"]).contains(&resume_id);
        events::of_account(&tenant).iter().any(has_it).then_some(())
    });

    // A new one waits too; neither another id nor time changes that, nor a restart.
    tenant.apply("new", tenant.spec(json!({})));
    let resume =
        |id: &str| tenant.merge_account(json!({"metadata": {"annotations": {"silvermullet.com/resume-creation": id}}}));
    resume("0123456789");
    tenant.not_ready("new", "CreationPaused");
    std::thread::sleep(TWO_LOOKS);
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.start().expect("it starts");
    std::thread::sleep(TWO_LOOKS);
    for name in names.into_iter().chain(["new"]) {
        assert_eq!(tenant.reason(name), "CreationPaused", "{name}");
    }
    assert_eq!(tenant.writes().len(), before);
    assert!(tenant.endpoints().is_empty());

    resume(&resume_id);
    for name in names.into_iter().chain(["new"]) {
        tenant.ready(name);
    }
    let now: Vec<String> = tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(now.len(), 6);
    assert!(old.iter().all(|id| !now.contains(id)));
    for name in names {
        assert_eq!(tenant.get(name).expect("there")["status"]["incarnation"], 1, "{name}");
    }
    world.eventually("creation is no longer paused", || {
        let account = world.aws_account(&tenant.account)?;
        condition(&account, "CreationPaused")
            .is_none_or(|paused| !paused.status)
            .then_some(())
    });

    // A later mass deletion pauses creation again, with another id.
    delete_behind(&tenant, &now);
    for name in names {
        assert!(
            !tenant.not_ready(name, "CreationPaused").contains(&resume_id),
            "another id"
        );
    }
}
