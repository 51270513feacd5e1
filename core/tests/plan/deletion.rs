//! Tables of cases of planning towards nothing.

use vpce_core::api::DeletionPolicy;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::observed::{Lookup, Observed, State};
use vpce_core::plan::{Plan, plan_deletion};
use vpce_core::tags;

use crate::observations::*;

fn delete(observed: &Observed) -> Plan {
    plan_deletion(&owner(), observed, Ok(DeletionPolicy::Delete))
}

fn retain(observed: &Observed) -> Plan {
    plan_deletion(&owner(), observed, Ok(DeletionPolicy::Retain))
}

#[test]
fn the_service_goes_first_then_the_endpoint_then_the_group() {
    let mut observed = settled(&desired(generated()));
    let found = delete(&observed);
    assert_eq!(words(&found), ["delete Service db", "delete endpoint vpce-1"]);
    assert!(!found.endpoint.ok && !found.service.ok);

    observed.services.clear();
    endpoint(&mut observed).state = State::Deleting;
    let found = delete(&observed);
    assert_eq!(words(&found), [""; 0], "until AWS says deleted");
    assert!(!found.endpoint.ok && found.service.ok);

    let deleted = {
        endpoint(&mut observed).state = State::Deleted;
        observed.endpoint.clone()
    };
    for gone in [deleted, Lookup::Deleted, Lookup::Absent] {
        observed.endpoint = gone;
        let found = delete(&observed);
        assert_eq!(words(&found), ["delete security group sg-own"]);
        assert!(!found.endpoint.ok);
    }
    for gone in [Lookup::Deleted, Lookup::Absent] {
        observed.group = gone;
        let found = delete(&observed);
        assert_eq!(words(&found), [""; 0]);
        assert!(found.endpoint.ok && found.service.ok);
    }
}

#[test]
fn an_endpoint_is_deleted_in_whatever_state_it_is() {
    for state in [
        "available",
        "pending",
        "pendingAcceptance",
        "partial",
        "rejected",
        "failed",
        "expired",
        "melting",
    ] {
        let mut observed = settled(&desired(provided(&["sg-p1"])));
        endpoint(&mut observed).state = State::parse(state);
        observed.services.clear();
        assert_eq!(words(&delete(&observed)), ["delete endpoint vpce-1"], "{state}");
    }
}

#[test]
fn a_further_endpoint_with_our_tags_goes_before_the_group() {
    let mut observed = settled(&desired(generated()));
    observed.services.clear();
    let mut spare = endpoint(&mut observed).clone();
    spare.id = "vpce-spare".into();
    observed.spare_endpoints.push(spare);
    assert_eq!(
        words(&delete(&observed)),
        ["delete endpoint vpce-1", "delete endpoint vpce-spare"]
    );
    observed.endpoint = Lookup::Deleted;
    assert_eq!(words(&delete(&observed)), ["delete endpoint vpce-spare"]);
    observed.spare_endpoints[0].state = State::Deleting;
    assert_eq!(words(&delete(&observed)), [""; 0]);
}

#[test]
fn what_may_not_be_retained_stays_as_it_is_until_nothing_is_left() {
    let why = Finding::bad(Reason::NotAllowed, "ask your platform team");
    let refused = |observed: &Observed| plan_deletion(&owner(), observed, Err(&why));
    let mut observed = settled(&desired(generated()));
    let found = refused(&observed);
    assert_eq!(
        (words(&found), &found.endpoint),
        (vec![], &why),
        "the Service stays, too"
    );
    for left in [Lookup::Unconfirmed, Lookup::Deleted, Lookup::Absent] {
        observed.endpoint = left;
        let found = refused(&observed);
        assert_eq!((words(&found), &found.endpoint), (vec![], &why), "the group is left");
    }
    observed.group = Lookup::Deleted;
    assert_eq!(words(&refused(&observed)), ["delete Service db"]);
    observed.services.clear();
    let found = refused(&observed);
    assert_eq!(words(&found), [""; 0]);
    assert!(
        found.endpoint.ok && found.service.ok,
        "nothing is left that could be retained"
    );
}

#[test]
fn another_owners_service_stays() {
    for policy in [Ok(DeletionPolicy::Delete), Ok(DeletionPolicy::Retain)] {
        let mut observed = nothing();
        observed.services = vec![service_fact("db", false), service_fact("old", true)];
        let found = plan_deletion(&owner(), &observed, policy);
        assert_eq!(words(&found), ["delete Service old"]);
    }
}

#[test]
fn what_is_not_seen_is_waited_for_under_either_policy() {
    let cases: [fn(&mut Observed); 2] = [
        |observed| observed.endpoint = Lookup::Unconfirmed,
        |observed| {
            observed.endpoint = Lookup::Deleted;
            observed.group = Lookup::Unconfirmed;
        },
    ];
    for (place, spoil) in cases.into_iter().enumerate() {
        let mut observed = settled(&desired(generated()));
        observed.services.clear();
        spoil(&mut observed);
        let found = delete(&observed);
        assert_eq!(words(&found), [""; 0], "{place}");
        assert!(!found.endpoint.ok, "{place}");
        assert!(!retain(&observed).endpoint.ok, "{place}");
    }
}

#[test]
fn deletion_of_what_lost_its_owner_tags_waits_and_prints_the_command_that_fixes_it() {
    for lost in ["vpce-1", OWN_GROUP] {
        let mut observed = settled(&desired(generated()));
        observed.services.clear();
        if lost == OWN_GROUP {
            let mut resource = group(&mut observed).clone();
            resource.tags.clear();
            observed.group = Lookup::Unowned(resource);
            observed.endpoint = Lookup::Deleted;
        } else {
            let mut resource = endpoint(&mut observed).clone();
            resource.tags.clear();
            observed.endpoint = Lookup::Unowned(resource);
        }
        let found = delete(&observed);
        assert_eq!(words(&found), [""; 0], "{lost}");
        assert_eq!(
            (found.endpoint.ok, found.endpoint.reason),
            (false, Reason::OwnershipLost)
        );
        let command = format!("aws ec2 create-tags --resources {lost} --tags ");
        assert!(found.endpoint.message.contains(&command), "{}", found.endpoint.message);
        for (key, value) in [
            (tags::CLUSTER, "c"),
            (tags::NAMESPACE, "blue"),
            (tags::NAME, "db"),
            (tags::UID, "55ea9f5f-45a4"),
        ] {
            let pair = format!("Key={key},Value={value}");
            assert!(found.endpoint.message.contains(&pair), "{}", found.endpoint.message);
        }
    }
}

#[test]
fn retained_resources_are_marked_before_their_finalizer_is_removed() {
    let mut observed = settled(&desired(generated()));
    let owners = "silvermullet.com/cluster, silvermullet.com/name, silvermullet.com/namespace, silvermullet.com/uid";
    let found = retain(&observed);
    assert_eq!(
        words(&found),
        [
            "delete Service db",
            "set tags of vpce-1: silvermullet.com/retained",
            &format!("remove tags of vpce-1: {owners}"),
            "set tags of sg-own: silvermullet.com/retained",
            &format!("remove tags of sg-own: {owners}"),
        ]
    );
    let marks: Vec<_> = found
        .steps
        .iter()
        .filter_map(|step| match step {
            vpce_core::plan::Step::Tag(_, tags) => tags.get(tags::RETAINED).map(String::as_str),
            _ => None,
        })
        .collect();
    assert_eq!(marks, ["c/blue/db", "c/blue/db"]);

    // Without its owner tags it is seen as lost, and nothing holds the object any more.
    observed.services.clear();
    observed.endpoint = Lookup::Unowned(endpoint(&mut observed).clone());
    observed.group = Lookup::Unowned(group(&mut observed).clone());
    let found = retain(&observed);
    assert_eq!(words(&found), [""; 0]);
    assert!(found.endpoint.ok && found.service.ok);
}

#[test]
fn a_resource_full_of_tags_can_be_retained() {
    let mut observed = settled(&desired(provided(&["sg-p1"])));
    let tags = &mut endpoint(&mut observed).tags;
    let free = 50 - tags.len();
    tags.extend((0..free).map(|number| (format!("k{number}"), String::new())));
    observed.services.clear();
    let owners = "silvermullet.com/cluster, silvermullet.com/name, silvermullet.com/namespace, silvermullet.com/uid";
    assert_eq!(
        words(&retain(&observed)),
        [
            "remove tags of vpce-1: silvermullet.com/uid",
            "set tags of vpce-1: silvermullet.com/retained",
            &format!("remove tags of vpce-1: {owners}"),
        ]
    );
}

#[test]
fn nothing_is_written_on_an_endpoint_that_is_gone() {
    let mut observed = settled(&desired(provided(&["sg-p1"])));
    observed.services.clear();
    endpoint(&mut observed).state = State::Deleted;
    let found = retain(&observed);
    assert_eq!(words(&found), [""; 0]);
    assert!(found.endpoint.ok);
}
