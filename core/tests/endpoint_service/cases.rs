//! Cases: whose a service is, what stands in the way, and what conditions say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use vpce_core::api::{ConnectionsOnDelete, DeletionPolicy, LoadBalancerType};
use vpce_core::conditions::{Finding, Reason};
use vpce_core::endpoint_service::{
    Claimant, Connection, Desired, Observed, ObservedEndpointService, PlanContext, ServiceChange, Step, UnfinishedStep,
    classify, client_token, plan, plan_deletion,
};
use vpce_core::ids::{EndpointId, EndpointServiceId};
use vpce_core::observed::{Lookup, State, UnprovenReason};
use vpce_core::ownership::LookupById;
use vpce_core::tags::Owner;

use crate::scenario::{ACCOUNTS, arn, completed, owner, resolved};

/// As EC2 describes it once all is as desired.
fn service(desired: &Desired) -> ObservedEndpointService {
    let mut service = ObservedEndpointService::created(
        "vpce-svc-1".into(),
        desired.load_balancer_type,
        &desired.load_balancers,
        desired.acceptance_required,
        &desired.address_types,
        desired.private_dns_name.as_deref(),
        &desired.tags,
    );
    service.state = State::Available;
    service.name = "com.amazonaws.vpce.eu-west-1.vpce-svc-1".to_owned();
    service
}

fn observed(desired: &Desired) -> Observed {
    Observed {
        service: Lookup::Owned(service(desired)),
        principals: Some(desired.principals.clone()),
        connections: Some(Vec::new()),
    }
}

fn connection(endpoint: &str, owner: &str, state: State) -> Connection {
    Connection {
        endpoint: endpoint.into(),
        owner: owner.to_owned(),
        state,
    }
}

fn planned(desired: &Desired, observed: &Observed) -> (Vec<Step>, Finding) {
    let plan = plan(&owner(), desired, observed, PlanContext::default());
    (plan.steps, plan.service)
}

#[test]
fn it_is_created_with_all_that_aws_takes_at_creation_and_the_owners_tags() {
    let desired = completed(json!({"tags": {"cost": "1"}})).expect("valid");
    let (steps, finding) = planned(&desired, &Observed::nothing());
    assert_eq!(finding.reason, Reason::Creating);
    let [
        Step::Create {
            tags,
            acceptance_required,
            ..
        },
    ] = steps.as_slice()
    else {
        panic!("{steps:?}");
    };
    assert!(acceptance_required);
    for (key, value) in [
        ("silvermullet.com/kind", "VPCEndpointService"),
        ("silvermullet.com/name", "web"),
        ("Name", "web-ns"),
        ("team", "blue"),
        ("cost", "1"),
    ] {
        assert_eq!(tags[key], value);
    }
}

#[test]
fn while_creation_is_paused_nothing_is_created() {
    let desired = completed(json!({})).expect("valid");
    let context = PlanContext {
        paused: Some("abc"),
        ..PlanContext::default()
    };
    for lookup in [Lookup::Absent, Lookup::Deleted] {
        let observed = Observed {
            service: lookup,
            ..Observed::nothing()
        };
        let plan = plan(&owner(), &desired, &observed, context);
        assert_eq!((plan.steps, plan.service.reason), (vec![], Reason::CreationPaused));
    }
}

#[test]
fn tags_alone_prove_nothing_and_the_load_balancers_do() {
    let desired = completed(json!({})).expect("valid");
    let of_owner = owner();
    let arns = desired.load_balancers.clone();
    let others: BTreeSet<String> = [arn("net", "theirs")].into();
    let look = |bound, found: &ObservedEndpointService| {
        let claimant = Claimant {
            owner: &of_owner,
            service: None,
            load_balancers: bound,
        };
        classify(&claimant, LookupById::NoId, vec![found.clone()])
    };
    let found = service(&desired);
    let network = |arns| Some((LoadBalancerType::Network, arns));
    assert!(matches!(look(network(&arns), &found), Lookup::Owned(_)));
    for bound in [network(&others), None] {
        let Lookup::Unproven(_, reason) = look(bound, &found) else {
            panic!("planted tags");
        };
        assert_eq!(reason, UnprovenReason::LoadBalancers);
    }
    assert_eq!(look(Some((LoadBalancerType::Gateway, &arns)), &found), Lookup::Absent);
    // Of the same name, but another kind.
    let endpoint = Owner {
        kind: "VPCEndpoint".into(),
        ..owner()
    };
    let tagged = ObservedEndpointService {
        tags: endpoint.tags(),
        ..found.clone()
    };
    assert_eq!(look(network(&arns), &tagged), Lookup::Absent);
    let unproven = Observed {
        service: look(network(&others), &found),
        ..Observed::nothing()
    };
    let (steps, finding) = planned(&desired, &unproven);
    assert_eq!((steps, finding.reason), (vec![], Reason::OwnershipLost));
    let deletion = plan_deletion(
        &owner(),
        &unproven,
        Ok(DeletionPolicy::Delete),
        ConnectionsOnDelete::Reject,
    );
    assert!(
        deletion.steps.is_empty() && deletion.service.ok,
        "what is an orphan stays"
    );
}

#[test]
fn where_what_the_status_names_is_gone_or_anothers_what_is_proven_by_tags_is_its_own() {
    let desired = completed(json!({})).expect("valid");
    let (of_owner, arns) = (owner(), desired.load_balancers.clone());
    let named = |id: &str, tags: BTreeMap<String, String>| ObservedEndpointService {
        id: id.into(),
        tags,
        ..service(&desired)
    };
    let own = named("vpce-svc-2", desired.tags.clone());
    let look = |by_id, by_tags: &[ObservedEndpointService]| {
        let claimant = Claimant {
            owner: &of_owner,
            service: Some(&"vpce-svc-1".into()),
            load_balancers: Some((LoadBalancerType::Network, &arns)),
        };
        classify(&claimant, by_id, by_tags.to_vec())
    };
    let theirs = named("vpce-svc-1", BTreeMap::new());
    let gone = ObservedEndpointService {
        state: State::Deleted,
        ..theirs.clone()
    };
    for by_id in [
        LookupById::Deleted,
        LookupById::Found(gone.clone()),
        LookupById::Found(theirs.clone()),
    ] {
        assert_eq!(look(by_id, std::slice::from_ref(&own)), Lookup::Owned(own.clone()));
    }
    // Nothing is decided before that is certain, and what is only planted is none.
    assert_eq!(
        look(LookupById::Unconfirmed, std::slice::from_ref(&own)),
        Lookup::Unconfirmed
    );
    let planted = ObservedEndpointService {
        load_balancers: [arn("net", "theirs")].into(),
        ..own
    };
    let planted = std::slice::from_ref(&planted);
    assert_eq!(look(LookupById::Deleted, planted), Lookup::Deleted);
    assert_eq!(
        look(LookupById::Found(theirs.clone()), planted),
        Lookup::Unowned(theirs)
    );
    // What is its own under its id comes first.
    let first = named("vpce-svc-1", desired.tags.clone());
    assert_eq!(look(LookupById::Found(first.clone()), planted), Lookup::Owned(first));
}

#[test]
fn what_has_lost_its_tags_is_neither_changed_nor_deleted_and_may_be_left_behind() {
    let desired = completed(json!({})).expect("valid");
    let mut lost = observed(&desired);
    let service = ObservedEndpointService {
        tags: [("silvermullet.com/name".to_owned(), "web".to_owned())].into(),
        ..service(&desired)
    };
    lost.service = Lookup::Unowned(service);
    let (steps, finding) = planned(&desired, &lost);
    assert_eq!((steps, finding.reason), (vec![], Reason::OwnershipLost));
    assert!(
        finding.message.contains("aws ec2 create-tags --resources vpce-svc-1"),
        "{}",
        finding.message
    );
    let delete = |policy| plan_deletion(&owner(), &lost, policy, ConnectionsOnDelete::Reject);
    let plan = delete(Ok(DeletionPolicy::Delete));
    assert_eq!((plan.steps, plan.service.ok), (vec![], false));
    let plan = delete(Ok(DeletionPolicy::Retain));
    assert_eq!((plan.steps, plan.service.ok), (vec![], true));
    let refused = Finding::bad(Reason::NotAllowed, "not allowed");
    assert_eq!(delete(Err(&refused)).service, refused);
}

#[test]
fn another_type_of_load_balancer_is_a_conflict_and_no_change() {
    let desired = completed(json!({})).expect("valid");
    let gateway = json!({"load_balancer": {"gateway_load_balancer_arns": [arn("gwy", "fw")]}});
    let (steps, finding) = planned(&completed(gateway).expect("valid"), &observed(&desired));
    assert_eq!((steps, finding.reason), (vec![], Reason::BindingConflict));
}

#[test]
fn what_lets_fewer_in_comes_before_what_lets_more_in() {
    let strict = json!({"allowed_principals": [format!("arn:aws:iam::{}:root", ACCOUNTS[0])]});
    let open = json!({"allowed_principals": ["*"], "acceptance_required": false});
    let [strict, open] = [strict, open].map(|spec| completed(spec).expect("valid"));
    let id: EndpointServiceId = "vpce-svc-1".into();
    let acceptance = |required| Step::Modify(id.clone(), ServiceChange::AcceptanceRequired(required));
    let (steps, _) = planned(&strict, &observed(&open));
    assert_eq!(steps[0], acceptance(true));
    assert!(steps[1].waits_for(&steps[0]));
    let (steps, _) = planned(&open, &observed(&strict));
    assert_eq!(steps[1], acceptance(false));
    assert!(steps[1].waits_for(&steps[0]));
    assert_eq!(open.warnings.len(), 1);
    assert!(strict.warnings.is_empty());
}

#[test]
fn a_load_balancer_is_replaced_by_adding_first_and_both_stay_where_aws_refuses() {
    let desired = completed(json!({})).expect("valid");
    let mut found = observed(&desired);
    let Lookup::Owned(service) = &mut found.service else {
        panic!("it is there");
    };
    service.load_balancers = [arn("net", "old")].into();
    let change = |steps: &[Step]| match steps {
        [Step::Modify(_, change)] => change.clone(),
        other => panic!("{other:?}"),
    };
    let (steps, _) = planned(&desired, &found);
    let added = desired.load_balancers.clone();
    assert_eq!(
        change(&steps),
        ServiceChange::AddLoadBalancers(LoadBalancerType::Network, added)
    );
    found.record(steps[0].effect(vpce_core::endpoint_service::Outcome::Done));
    let mut plan = plan(&owner(), &desired, &found, PlanContext::default());
    let removed = [arn("net", "old")].into();
    assert_eq!(
        change(&plan.steps),
        ServiceChange::RemoveLoadBalancers(LoadBalancerType::Network, removed)
    );
    let step = plan.steps[0].clone();
    let code = "ExistingVpcEndpointConnections";
    let finding = step.refusal(code, "").expect("it is usual");
    plan.report(&[UnfinishedStep { step: &step, finding }]);
    assert!(plan.service.ok, "the service itself is as it should be: {plan:?}");
    assert_eq!(plan.load_balancers.reason, Reason::InUse);
    assert!(plan.load_balancers.message.contains("no connection is rejected"));
}

#[test]
fn that_a_load_balancer_cannot_be_had_is_said_of_it() {
    let desired = completed(json!({})).expect("valid");
    let planned = || plan(&owner(), &desired, &Observed::nothing(), PlanContext::default());
    let step = planned().steps.remove(0);
    let unusable = step.refusal("InvalidParameter", "it must be active").expect("usual");
    assert_eq!(unusable.reason, Reason::Conflict, "it may pass");
    let absent = Finding::bad(Reason::NotFound, "it does not exist");
    assert_eq!(step.refusal("TagPolicyViolation", ""), None, "that is not about them");
    let denied = Finding::bad(Reason::Denied, "denied");
    for (code, finding, is_of_load_balancers) in [
        ("InvalidNetworkLoadBalancerArn.NotFound", absent, true),
        ("InvalidParameter", unusable, true),
        ("UnauthorizedOperation", denied, false),
    ] {
        let mut plan = planned();
        let before = plan.clone();
        plan.report(&[UnfinishedStep {
            step: &step,
            finding: finding.clone(),
        }]);
        let of_load_balancers = match is_of_load_balancers {
            true => &finding,
            false => &before.load_balancers,
        };
        assert_eq!(
            (&plan.load_balancers, &plan.service),
            (of_load_balancers, &finding),
            "{code}"
        );
    }
}

#[test]
fn consumers_are_accepted_by_account_and_others_are_told_of() {
    let desired = completed(json!({"consumers": {"account_ids": [ACCOUNTS[0]]}})).expect("valid");
    assert_eq!(
        desired.principals,
        [format!("arn:aws:iam::{}:root", ACCOUNTS[0])].into()
    );
    let mut found = observed(&desired);
    found.connections = Some(vec![
        connection("vpce-1", ACCOUNTS[0], State::PendingAcceptance),
        connection("vpce-2", ACCOUNTS[1], State::PendingAcceptance),
        connection("vpce-3", ACCOUNTS[0], State::Rejected),
        connection("vpce-4", ACCOUNTS[0], State::PendingAcceptance),
    ]);
    let (steps, finding) = planned(&desired, &found);
    let accepted = ["vpce-1".into(), "vpce-4".into()].into();
    assert_eq!(steps, [Step::Accept("vpce-svc-1".into(), accepted)]);
    assert!(finding.ok, "consumers that come do not make it less available");
    assert!(
        finding.message.contains("one connection that no consumer account"),
        "{}",
        finding.message
    );
}

#[test]
fn one_that_nobody_vouches_for_any_more_is_rejected_unless_aws_lets_it_in_unasked() {
    let former = [ACCOUNTS[0].to_owned()];
    let context = PlanContext {
        consumers: &former,
        ..PlanContext::default()
    };
    let connections = vec![
        connection("vpce-1", ACCOUNTS[0], State::Available),
        connection("vpce-2", ACCOUNTS[1], State::Available),
        connection("vpce-3", ACCOUNTS[0], State::PendingAcceptance),
    ];
    let root = format!("arn:aws:iam::{}:root", ACCOUNTS[0]);
    // One that waits and is still allowed may be accepted by hand.
    for (spec, rejects) in [
        (json!({}), &["vpce-1", "vpce-3"][..]),
        (json!({"acceptance_required": false}), &["vpce-1", "vpce-3"]),
        (json!({"allowed_principals": [root]}), &["vpce-1"]),
        (json!({"allowed_principals": [root], "acceptance_required": false}), &[]),
        (
            json!({"consumers": {"account_ids": [ACCOUNTS[0]]}, "acceptance_required": false}),
            &[],
        ),
    ] {
        let desired = completed(spec.clone()).expect("valid");
        let found = Observed {
            connections: Some(connections.clone()),
            ..observed(&desired)
        };
        let steps = plan(&owner(), &desired, &found, context).steps;
        let rejected = steps.iter().find_map(|step| match step {
            Step::Reject(_, endpoints) => Some(endpoints.clone()),
            _ => None,
        });
        let rejects = rejects.iter().map(|id| EndpointId::from(*id)).collect();
        assert_eq!(rejected.unwrap_or_default(), rejects, "{spec}");
    }
}

#[test]
fn what_was_not_read_is_not_decided_on() {
    let desired = completed(json!({"consumers": {"account_ids": [ACCOUNTS[0]]}})).expect("valid");
    let unread = Observed {
        principals: None,
        connections: None,
        ..observed(&desired)
    };
    let (steps, finding) = planned(&desired, &unread);
    assert_eq!((steps, finding.ok), (vec![], false));
    for on_delete in [ConnectionsOnDelete::Wait, ConnectionsOnDelete::Reject] {
        let plan = plan_deletion(&owner(), &unread, Ok(DeletionPolicy::Delete), on_delete);
        assert_eq!((plan.steps, plan.service.ok), (vec![], false));
    }
}

#[test]
fn a_deletion_that_waits_names_who_is_connected() {
    let desired = completed(json!({})).expect("valid");
    let mut found = observed(&desired);
    let many = (0..7).map(|number| connection(&format!("vpce-{number}"), ACCOUNTS[0], State::Available));
    found.connections = Some(many.collect());
    let plan = plan_deletion(&owner(), &found, Ok(DeletionPolicy::Delete), ConnectionsOnDelete::Wait);
    assert_eq!((plan.steps, plan.service.reason), (vec![], Reason::InUse));
    let message = plan.service.message;
    assert!(message.contains("now 7: vpce-0 of account 222222222222"), "{message}");
    assert!(message.contains(", .... Their owners"), "{message}");
}

#[test]
fn the_token_stays_while_the_same_service_is_meant_and_is_another_for_each() {
    let token = |change: fn(&mut Owner), incarnation| {
        let mut owner = owner();
        change(&mut owner);
        client_token(&owner, &resolved(json!({})), incarnation)
    };
    let first = token(|_| {}, 0);
    assert_eq!(first.len(), 64);
    assert_eq!(first, token(|_| {}, 0));
    let others = [
        token(|_| {}, 1),
        token(|owner| owner.uid = "another".into(), 0),
        token(|owner| owner.cluster = "d".into(), 0),
        token(|owner| owner.kind = "VPCEndpoint".into(), 0),
    ];
    assert!(others.iter().all(|other| *other != first));
}
