//! Tables of cases of planning towards what is desired.

use std::collections::BTreeMap;

use vpce_core::api::DeletionPolicy;
use vpce_core::attachment::{Attachment, Interface};
use vpce_core::conditions::Reason;
use vpce_core::desired::{Desired, Groups};
use vpce_core::observed::{Lookup, Observed, State};
use vpce_core::plan::{Fallbacks, PlanContext, Step, plan, plan_deletion};
use vpce_core::{rules, tags};

use crate::observations::*;

#[test]
fn nothing_is_planned_where_all_is_as_specified() {
    for groups in [generated(), provided(&["sg-p1"]), own(tcp(&[]), tcp(&[]))] {
        let desired = desired(groups);
        let found = planned(&desired, &settled(&desired));
        assert_eq!(words(&found), [""; 0]);
        assert_eq!((found.endpoint.ok, found.endpoint.reason), (true, Reason::Available));
        assert_eq!((found.service.ok, found.service.reason), (true, Reason::Published));
    }
}

#[test]
fn a_group_is_made_before_its_rules_and_its_rules_before_its_endpoint() {
    let (desired, mut observed) = spoiled(|_, observed| *observed = nothing());
    let found = planned(&desired, &observed);
    assert_eq!(words(&found), ["create security group vpce-blue-db-55ea9f5f"]);
    assert_eq!(found.endpoint.reason, Reason::Creating);

    observed.group = Lookup::Owned(group_fact(&desired.tags, tcp(&[]), rules::open()));
    assert_eq!(
        words(&planned(&desired, &observed)),
        [
            "add ingress rules to sg-own: tcp 443 10.0.0.0/8",
            &format!("create an endpoint for {SERVICE}"),
        ]
    );
}

#[test]
fn what_is_made_carries_the_owner_tags_from_the_first() {
    let (desired, mut observed) = spoiled(|_, observed| *observed = nothing());
    let Some(Step::CreateGroup { tags, .. }) = planned(&desired, &observed).steps.pop() else {
        panic!("no group");
    };
    assert_eq!(tags, desired.tags);
    observed.group = settled(&desired).group;
    let Some(Step::CreateEndpoint {
        tags,
        attachment: Attachment::Interface(Interface { groups, .. }),
        ..
    }) = planned(&desired, &observed).steps.pop()
    else {
        panic!("no endpoint");
    };
    assert_eq!(tags, desired.tags);
    assert_eq!(groups, [OWN_GROUP.into()].into());
}

/// Expects of each drift that it is corrected by these steps.
#[track_caller]
fn check(cases: &[Drift<'_>]) {
    for (name, spoil, expected) in cases {
        let (desired, observed) = spoiled(spoil);
        let found = planned(&desired, &observed);
        assert_eq!(words(&found), *expected, "{name}");
        let at_rest = expected.is_empty() && observed.group != Lookup::Unconfirmed;
        assert_eq!(found.endpoint.ok, at_rest, "{name}");
        let reason = if at_rest { Reason::Available } else { Reason::Updating };
        assert_eq!(found.endpoint.reason, reason, "{name}");
    }
}

#[test]
fn drift_of_rules_is_corrected_by_no_more_than_the_difference() {
    check(&[
        (
            "a rule removed",
            |_, observed| group(observed).ingress.clear(),
            &["add ingress rules to sg-own: tcp 443 10.0.0.0/8"],
        ),
        (
            "a rule added",
            |_, observed| group(observed).ingress.extend(tcp(&[(22, None)])),
            &["remove ingress rules from sg-own: tcp 22 10.0.0.0/8"],
        ),
        (
            "a rule replaced: what stays allowed is allowed throughout",
            |_, observed| group(observed).ingress = tcp(&[(22, None)]),
            &[
                "add ingress rules to sg-own: tcp 443 10.0.0.0/8",
                "remove ingress rules from sg-own: tcp 22 10.0.0.0/8",
            ],
        ),
        (
            "an egress rule removed",
            |_, observed| group(observed).egress.clear(),
            &["add egress rules to sg-own: all 0.0.0.0/0"],
        ),
        (
            "a description changed",
            |_, observed| group(observed).ingress = tcp(&[(443, Some("else"))]),
            &["update descriptions of ingress rules of sg-own: tcp 443 10.0.0.0/8"],
        ),
        (
            "a description taken away in the spec",
            |desired, _| asked_mut(desired).groups = own(tcp(&[(443, None)]), rules::open()),
            &["update descriptions of ingress rules of sg-own: tcp 443 10.0.0.0/8"],
        ),
    ]);
}

#[test]
fn drift_of_groups_and_subnets_is_corrected_by_no_more_than_the_difference() {
    check(&[
        (
            "our group detached",
            |_, observed| attached_mut(endpoint(observed)).groups.clear(),
            &["change vpce-1: attach sg-own"],
        ),
        (
            "another group attached",
            |_, observed| _ = attached_mut(endpoint(observed)).groups.insert("sg-else".into()),
            &["change vpce-1: detach sg-else"],
        ),
        (
            "subnets changed, in one call",
            |desired, _| asked_mut(desired).subnets = ["subnet-b1".into(), "subnet-c1".into()].into(),
            &["change vpce-1: add subnet-c1, remove subnet-a1"],
        ),
        (
            "our group gone",
            |_, observed| observed.group = Lookup::Deleted,
            &["create security group vpce-blue-db-55ea9f5f"],
        ),
        (
            "our group not seen, which proves nothing yet",
            |_, observed| observed.group = Lookup::Unconfirmed,
            &[],
        ),
    ]);
}

#[test]
fn drift_of_tags_is_corrected_by_no_more_than_the_difference() {
    check(&[
        (
            "tags lost from the endpoint",
            |_, observed| {
                endpoint(observed)
                    .tags
                    .retain(|key, _| key != "cost" && key != tags::UID)
            },
            &["set tags of vpce-1: cost, silvermullet.com/uid"],
        ),
        (
            "a tag's value changed on the group",
            |_, observed| _ = group(observed).tags.insert("cost".into(), "2".into()),
            &["set tags of sg-own: cost"],
        ),
        (
            "a tag of another owner added",
            |_, observed| _ = endpoint(observed).tags.insert("theirs".into(), "x".into()),
            &[],
        ),
        (
            "the UID of a restored object",
            |desired, _| _ = desired.tags.insert(tags::UID.into(), "new".into()),
            &[
                "set tags of sg-own: silvermullet.com/uid",
                "set tags of vpce-1: silvermullet.com/uid",
            ],
        ),
    ]);
}

#[test]
fn a_tag_taken_out_of_the_spec_is_removed_if_we_set_it() {
    let (desired, mut observed) = spoiled(|_, _| ());
    let drifted: fn(&mut BTreeMap<String, String>) = |tags| {
        tags.extend([("old".into(), "x".into()), ("theirs".into(), "x".into())]);
        tags.remove("cost");
    };
    drifted(&mut endpoint(&mut observed).tags);
    drifted(&mut group(&mut observed).tags);
    let keys = ["old", "cost", tags::UID, tags::NAME].map(str::to_owned);
    let context = PlanContext {
        tag_keys: &keys,
        ..NOTHING
    };
    assert_eq!(
        words(&plan(&owner(), &desired, &observed, context)),
        [
            "remove tags of sg-own: old",
            "set tags of sg-own: cost",
            "remove tags of vpce-1: old",
            "set tags of vpce-1: cost",
        ]
    );
}

#[test]
fn owner_tags_are_never_removed_by_a_plan() {
    let (mut desired, observed) = spoiled(|_, _| ());
    desired.tags.remove(tags::UID);
    let keys = [tags::UID.to_owned()];
    let context = PlanContext {
        tag_keys: &keys,
        ..NOTHING
    };
    assert_eq!(words(&plan(&owner(), &desired, &observed, context)), [""; 0]);
}

#[test]
fn each_state_of_an_endpoint_has_its_reason_and_only_an_available_one_is_modified() {
    let tag = "set tags of vpce-1: cost";
    let modify = "change vpce-1: attach sg-own";
    let cases: &[(&str, &[&str], Reason)] = &[
        ("available", &[tag, modify], Reason::Updating),
        ("pending", &[tag], Reason::Pending),
        ("pendingAcceptance", &[tag], Reason::PendingAcceptance),
        ("partial", &[tag], Reason::Partial),
        ("melting", &[tag], Reason::Pending),
        ("deleting", &[], Reason::DeletedInAWS),
        ("deleted", &[], Reason::DeletedInAWS),
        ("rejected", &[], Reason::Rejected),
        ("failed", &[], Reason::Failed),
        ("expired", &[], Reason::Expired),
    ];
    for (state, expected, reason) in cases {
        let (desired, observed) = spoiled(|_, observed| {
            let resource = endpoint(observed);
            resource.state = State::parse(state);
            resource.last_error = Some("no capacity".into());
            resource.tags.remove("cost");
            attached_mut(resource).groups.clear();
        });
        let found = planned(&desired, &observed);
        assert_eq!(words(&found), *expected, "{state}");
        assert_eq!((found.endpoint.ok, found.endpoint.reason), (false, *reason), "{state}");
        if matches!(reason, Reason::Failed | Reason::Rejected | Reason::Partial) {
            assert!(
                found.endpoint.message.contains("no capacity"),
                "{state}: {}",
                found.endpoint.message
            );
        }
        // It costs on, which its owner may not know.
        let says_that_it_costs = found.endpoint.message.contains("AWS bills for it");
        assert_eq!(says_that_it_costs, *reason == Reason::Rejected, "{state}");
    }
}

#[test]
fn no_group_is_made_for_an_endpoint_that_cannot_take_it() {
    for state in [
        "pending",
        "pendingAcceptance",
        "partial",
        "deleting",
        "rejected",
        "failed",
        "expired",
    ] {
        let (desired, observed) = spoiled(|_, observed| {
            observed.group = Lookup::Absent;
            endpoint(observed).state = State::parse(state);
        });
        assert_eq!(words(&planned(&desired, &observed)), [""; 0], "{state}");
    }
}

#[test]
fn what_is_not_seen_is_not_replaced_before_it_is_confirmed_gone() {
    for lookup in [Lookup::Unconfirmed, Lookup::Deleted] {
        for groups in [generated(), provided(&["sg-p1"])] {
            let desired = desired(groups);
            let mut observed = settled(&desired);
            observed.endpoint = lookup.clone();
            let found = planned(&desired, &observed);
            assert_eq!(words(&found), [""; 0], "{lookup:?}");
            assert_eq!(found.endpoint.reason, Reason::DeletedInAWS);
            // The Service stays: the endpoint may be found again.
            assert_eq!(found.service.reason, Reason::WaitingForEndpoint);
        }
    }
}

#[test]
fn what_lost_its_owner_tags_is_neither_changed_nor_replaced() {
    let (desired, mut observed) = spoiled(|_, observed| {
        let mut resource = endpoint(observed).clone();
        resource.tags.remove(tags::CLUSTER);
        attached_mut(&mut resource).groups.clear();
        observed.endpoint = Lookup::Unowned(resource);
    });
    let found = planned(&desired, &observed);
    assert_eq!(words(&found), [""; 0]);
    assert_eq!(found.endpoint.reason, Reason::OwnershipLost);
    assert!(found.endpoint.message.contains("vpce-1"), "{}", found.endpoint.message);

    observed = settled(&desired);
    let mut resource = group(&mut observed).clone();
    resource.tags.clear();
    resource.ingress.clear();
    observed.group = Lookup::Unowned(resource);
    for endpoint in [observed.endpoint.clone(), Lookup::Absent] {
        observed.endpoint = endpoint;
        let found = planned(&desired, &observed);
        assert_eq!(
            found.steps.iter().filter(|step| step.is_in_aws()).count(),
            0,
            "{:?}",
            found.steps
        );
        assert_eq!(found.endpoint.reason, Reason::OwnershipLost);
        assert!(found.endpoint.message.contains("sg-own"), "{}", found.endpoint.message);
    }
}

#[test]
fn without_a_network_interface_an_endpoint_is_not_called_available() {
    let wanted = desired(generated());
    let mut observed = settled(&wanted);
    endpoint(&mut observed).interfaces.clear();
    let found = planned(&wanted, &observed);
    assert_eq!((found.endpoint.ok, found.endpoint.reason), (false, Reason::Partial));
    assert!(
        found.endpoint.message.contains("network interface"),
        "{}",
        found.endpoint.message
    );
}

#[test]
fn an_endpoint_of_another_vpc_or_service_is_left_as_it_is() {
    let cases: [fn(&mut Desired); 2] = [
        |desired| desired.vpc = "vpc-2".into(),
        |desired| desired.target = service("com.amazonaws.eu-west-1.s3"),
    ];
    for edit in cases {
        for group in [Lookup::Absent, settled(&desired(generated())).group] {
            let mut wanted = desired(generated());
            let mut observed = settled(&wanted);
            edit(&mut wanted);
            observed.group = group;
            // Nor does a Service that promises the one lead to the other.
            observed.services.clear();
            endpoint(&mut observed).tags.remove("cost");
            let found = planned(&wanted, &observed);
            assert_eq!(words(&found), [""; 0]);
            assert_eq!(found.endpoint.reason, Reason::BindingConflict);
        }
    }
}

#[test]
fn between_generated_and_custom_the_rules_change_in_place() {
    let (custom, open) = (tcp(&[(443, None)]), rules::open());
    let private = "all 10.0.0.0/8, all 172.16.0.0/12, all 192.168.0.0/16";
    let mut wanted = desired(own(custom, open));
    let observed = settled(&desired(generated()));
    assert_eq!(
        words(&planned(&wanted, &observed)),
        [
            "add ingress rules to sg-own: tcp 443 10.0.0.0/8",
            &format!("remove ingress rules from sg-own: {private}"),
        ]
    );
    let observed = settled(&wanted);
    asked_mut(&mut wanted).groups = generated();
    assert_eq!(
        words(&planned(&wanted, &observed)),
        [
            &format!("add ingress rules to sg-own: {private}"),
            "remove ingress rules from sg-own: tcp 443 10.0.0.0/8",
        ]
    );
}

#[test]
fn to_provided_groups_in_one_modify_and_only_then_the_old_group_goes() {
    let wanted = desired(provided(&["sg-p1", "sg-p2"]));
    let mut observed = settled(&desired(generated()));
    // Its rules no longer matter.
    group(&mut observed).ingress.clear();
    let found = planned(&wanted, &observed);
    assert_eq!(words(&found), ["change vpce-1: attach sg-p1, sg-p2, detach sg-own"]);

    endpoint(&mut observed).state = State::Pending;
    assert_eq!(words(&planned(&wanted, &observed)), [""; 0]);

    endpoint(&mut observed).state = State::Available;
    attached_mut(endpoint(&mut observed)).groups = ["sg-p1".into(), "sg-p2".into()].into();
    let found = planned(&wanted, &observed);
    assert_eq!(words(&found), ["delete security group sg-own"]);
    assert_eq!(found.endpoint.reason, Reason::Updating);
}

#[test]
fn from_provided_groups_the_new_group_is_complete_before_it_is_attached() {
    let wanted = desired(own(tcp(&[(443, None)]), tcp(&[])));
    let mut observed = settled(&desired(provided(&["sg-p1"])));
    let found = planned(&wanted, &observed);
    assert_eq!(words(&found), ["create security group vpce-blue-db-55ea9f5f"]);
    assert_eq!(found.endpoint.reason, Reason::Updating);

    observed.group = Lookup::Owned(group_fact(&wanted.tags, tcp(&[]), rules::open()));
    assert_eq!(
        words(&planned(&wanted, &observed)),
        [
            "add ingress rules to sg-own: tcp 443 10.0.0.0/8",
            "remove egress rules from sg-own: all 0.0.0.0/0",
            "change vpce-1: attach sg-own, detach sg-p1",
        ]
    );
}

#[test]
fn our_group_is_not_deleted_while_it_may_be_in_use() {
    let wanted = desired(provided(&["sg-p1"]));
    let before = settled(&desired(generated()));
    let lost = Lookup::Unowned(endpoint_fact(&desired(generated())));
    for endpoint in [before.endpoint.clone(), lost, Lookup::Unconfirmed] {
        let observed = Observed {
            endpoint,
            ..before.clone()
        };
        let found = planned(&wanted, &observed);
        let deletes = found.steps.iter().any(|step| matches!(step, Step::DeleteGroup(_)));
        assert!(!deletes, "{:?}: {:?}", observed.endpoint, found.steps);
    }
}

#[test]
fn a_generated_group_that_is_provided_afterwards_is_kept() {
    let wanted = desired(provided(&[OWN_GROUP]));
    let mut observed = settled(&desired(generated()));
    assert_eq!(words(&planned(&wanted, &observed)), [""; 0]);
    observed.endpoint = Lookup::Absent;
    assert_eq!(
        words(&planned(&wanted, &observed)),
        [format!("create an endpoint for {SERVICE}")]
    );
}

#[test]
fn paused_creation_forbids_creates_and_nothing_else() {
    let context = PlanContext {
        paused: Some("h-1"),
        ..NOTHING
    };
    let paused = |spoil: Spoil| {
        let (desired, observed) = spoiled(spoil);
        plan(&owner(), &desired, &observed, context)
    };
    let creates: [(&str, Spoil); 5] = [
        ("nothing there", |_, observed| *observed = nothing()),
        ("the group there", |_, observed| observed.endpoint = Lookup::Absent),
        ("the endpoint confirmed gone", |_, observed| {
            observed.endpoint = Lookup::Deleted;
        }),
        ("the group gone", |_, observed| observed.group = Lookup::Deleted),
        ("provided groups no longer wanted", |desired, observed| {
            let wanted = std::mem::replace(&mut asked_mut(desired).groups, provided(&["sg-p1"]));
            *observed = settled(desired);
            asked_mut(desired).groups = wanted;
        }),
    ];
    for (name, spoil) in creates {
        let found = paused(spoil);
        assert_eq!(words(&found), [""; 0], "{name}");
        assert_eq!(found.endpoint.reason, Reason::CreationPaused, "{name}");
        assert!(
            found.endpoint.message.contains("resume id h-1"),
            "{name}: {}",
            found.endpoint.message
        );
    }
    let changed = paused(|_, observed| attached_mut(endpoint(observed)).groups.clear());
    assert_eq!(words(&changed), ["change vpce-1: attach sg-own"]);
    let unseen = paused(|_, observed| observed.endpoint = Lookup::Unconfirmed);
    assert_eq!(unseen.endpoint.reason, Reason::DeletedInAWS);
}

#[test]
fn a_swap_of_subnets_in_one_zone_removes_first_and_adds_afterwards() {
    let (desired, mut observed) = spoiled(|desired, observed| {
        asked_mut(desired).subnets = ["subnet-a2".into(), "subnet-b1".into()].into();
        attached_mut(endpoint(observed)).groups.clear();
    });
    let context = PlanContext {
        fallbacks: Fallbacks {
            swap_subnets_apart: true,
            ..USUAL
        },
        ..NOTHING
    };
    assert_eq!(
        words(&plan(&owner(), &desired, &observed, context)),
        ["change vpce-1: attach sg-own, remove subnet-a1"]
    );
    attached_mut(endpoint(&mut observed)).groups = [OWN_GROUP.into()].into();
    attached_mut(endpoint(&mut observed)).subnets = ["subnet-b1".into()].into();
    assert_eq!(
        words(&plan(&owner(), &desired, &observed, context)),
        ["change vpce-1: add subnet-a2"]
    );
}

#[test]
fn a_further_endpoint_with_our_tags_is_left_alone_while_the_object_lives() {
    let (desired, observed) = spoiled(|desired, observed| {
        let mut spare = endpoint_fact(desired);
        spare.id = "vpce-spare".into();
        attached_mut(&mut spare).groups.clear();
        observed.spare_endpoints.push(spare);
    });
    assert_eq!(words(&planned(&desired, &observed)), [""; 0]);
}

#[test]
fn provided_groups_are_attached_and_nothing_else_happens_to_them() {
    let wanted = desired(provided(&["sg-p1"]));
    let mut observed = settled(&wanted);
    let Groups::Provided(ids) = &asked(&wanted).groups else {
        panic!("provided");
    };
    attached_mut(endpoint(&mut observed)).groups = ["sg-p2".into()].into();
    let steps = planned(&wanted, &observed).steps;
    let [Step::ModifyEndpoint { change, .. }] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(change.add_groups, *ids);
    assert_eq!(change.remove_groups, ["sg-p2".into()].into());
}

#[test]
fn private_dns_waits_until_the_endpoint_is_available() {
    for service in [SERVICE, "com.amazonaws.eu-west-1.sqs"] {
        let mut wanted = desired(provided(&["sg-p1"]));
        asked_mut(&mut wanted).private_dns = true;
        wanted.target = self::service(service);
        let mut observed = settled(&wanted);
        assert_eq!(words(&planned(&wanted, &observed)), [""; 0]);
        attached_mut(endpoint(&mut observed)).private_dns = false;
        assert_eq!(
            words(&planned(&wanted, &observed)),
            ["change vpce-1: turn private DNS on"]
        );
        for state in [State::PendingAcceptance, State::Pending] {
            endpoint(&mut observed).state = state;
            assert_eq!(words(&planned(&wanted, &observed)), [""; 0]);
        }
    }
}

#[test]
fn open_egress_is_open_for_ipv6_where_the_vpc_is_and_closed_egress_is_closed_for_both() {
    let mut both = rules::open();
    both.insert(rules::open_ipv6(), None);
    let with = |egress: &rules::RuleSet| own(tcp(&[(443, None)]), egress.clone());
    let (closed, ipv4, both_given) = (with(&tcp(&[])), with(&rules::open()), with(&both));
    let open = with_open_egress(ipv4.clone());
    let remove = |rules: &str| format!("remove egress rules from sg-own: {rules}");
    let add = "add egress rules to sg-own: all ::/0".to_owned();
    // What is wanted, what is planned where a read has shown both rules, and what where the group
    // is new.
    let cases = [
        (
            closed,
            vec![remove("all 0.0.0.0/0, all ::/0")],
            vec![remove("all ::/0"), remove("all 0.0.0.0/0")],
        ),
        (ipv4, vec![remove("all ::/0")], vec![remove("all ::/0")]),
        (both_given, vec![], vec![add]),
        (open, vec![], vec![]),
    ];
    for (groups, of_known, of_new) in cases {
        let wanted = desired(groups);
        for (egress, unknown, expected) in [(&both, false, of_known), (&rules::open(), true, of_new)] {
            let mut observed = settled(&wanted);
            let resource = group(&mut observed);
            (resource.egress, resource.ipv6_egress_unknown) = (egress.clone(), unknown);
            let found = planned(&wanted, &observed);
            assert_eq!(words(&found), expected);
            assert_eq!(found.endpoint.ok, expected.is_empty());
        }
    }
}

#[test]
fn what_has_another_owners_tags_cannot_be_adopted() {
    let (desired, mut observed) = spoiled(|_, _| ());
    let mut resource = endpoint(&mut observed).clone();
    resource.tags.insert(tags::NAME.into(), "another".into());
    observed.endpoint = Lookup::Unowned(resource);
    let living = planned(&desired, &observed);
    let leaving = plan_deletion(&owner(), &observed, Ok(DeletionPolicy::Delete));
    for found in [living, leaving] {
        assert_eq!(found.endpoint.reason, Reason::OwnershipLost);
        let message = found.endpoint.message;
        assert!(
            message.contains("another VPCEndpoint") && !message.contains("create-tags"),
            "{message}"
        );
        assert!(!found.steps.iter().any(Step::is_in_aws));
    }
}
