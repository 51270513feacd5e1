//! Laws of planning, held against a model of EC2: whatever is wanted, whatever is there, whoever
//! connects, whatever crashes when.

use proptest::prelude::*;
use serde_json::json;
use vpce_core::api::{ConnectionsOnDelete, DeletionPolicy};
use vpce_core::conditions::Reason;
use vpce_core::endpoint_service::{
    Connection, Desired, Observed, Plan, PlanContext, Step, client_token, plan, plan_deletion, simulate, status,
};
use vpce_core::ids::EndpointId;
use vpce_core::observed::{Lookup, State};

use crate::scenario::{any_connections, any_desired, owner, resolved};
use crate::world::{Refusal, World};

/// So many rounds of planning and applying are few.
const FEW: usize = 12;

/// The ClientToken of the endpoint service that is meant.
fn token(world: &World) -> String {
    let incarnation = world.status.incarnation.expect("it is bound");
    client_token(&owner(), &resolved(json!({})), incarnation)
}

/// Plans and applies until there is nothing left to do and EC2 is at rest; gives the last plan.
/// Each kill ends a round after so many steps, before the status says what they did.
fn converge(
    world: &mut World,
    desired: Option<&Desired>,
    kills: &[usize],
    planned: impl Fn(&World, &Observed) -> Plan,
) -> Plan {
    let mut was_ready = false;
    for round in 0..FEW + kills.len() {
        let seen = world.look();
        world.remember(&seen, desired, was_ready);
        if let Some(desired) = desired {
            status::announce(&mut world.status, desired, seen.connections.as_deref());
        }
        let plan = planned(world, &seen);
        was_ready = plan.service.ok;
        let limit = kills.get(round).copied().unwrap_or(usize::MAX);
        let mut refused = Vec::new();
        for step in plan.steps.iter().take(limit) {
            if refused.iter().any(|earlier: &&Step| step.waits_for(earlier)) {
                continue;
            }
            let token = token(world);
            if let Err(why) = world.apply(step, &token) {
                assert_eq!(why, Refusal::Connected, "{step}");
                refused.push(step);
            }
        }
        let moved = world.tick();
        let is_refused = plan.steps.len() == refused.len() && !plan.steps.is_empty();
        let is_recreated = desired.is_some() && seen.service == Lookup::Deleted;
        if (plan.steps.is_empty() || is_refused) && !moved && !is_recreated {
            return plan;
        }
    }
    panic!("still at it: {:?}", planned(world, &world.look()));
}

/// Converges towards what is desired, as the controller does: status first.
fn converge_to(world: &mut World, desired: &Desired, kills: &[usize]) -> Plan {
    bind(world, desired);
    converge(world, Some(desired), kills, |world, seen| {
        let context = PlanContext {
            tag_keys: &world.status.tag_keys,
            consumers: &world.status.consumer_account_ids,
            ..PlanContext::default()
        };
        let plan = plan(&owner(), desired, seen, context);
        check_steps(&plan, seen, desired, context);
        plan
    })
}

/// Binds, unless that is done.
fn bind(world: &mut World, desired: &Desired) {
    let binding = resolved(json!({})).binding;
    if status::binding(&world.status).is_none() {
        status::bind(&mut world.status, &binding, desired, Some(1));
        assert!(status::agrees(&world.status, &binding, desired));
    }
    assert_eq!(status::binding(&world.status), Some(binding));
}

/// What every single plan keeps to.
fn check_steps(plan: &Plan, seen: &Observed, desired: &Desired, context: PlanContext<'_>) {
    let of = |endpoint: &EndpointId| {
        let mut all = seen.connections.iter().flatten();
        all.find(|connection: &&Connection| connection.endpoint == *endpoint)
            .expect("it is known")
    };
    let is_consumer = |account: &str| desired.consumers.iter().any(|consumer| consumer.as_str() == account);
    for step in &plan.steps {
        match step {
            Step::Create { tags, .. } => {
                assert_eq!(seen.service, Lookup::Absent);
                assert_eq!(*tags, desired.tags);
            }
            Step::Accept(_, endpoints) => {
                for connection in endpoints.iter().map(of) {
                    assert!(is_consumer(&connection.owner), "nobody vouches for {connection:?}");
                    assert_eq!(connection.state, State::PendingAcceptance);
                }
            }
            Step::Reject(_, endpoints) => {
                for connection in endpoints.iter().map(of) {
                    assert!(!is_consumer(&connection.owner), "{connection:?} is a consumer's");
                    assert!(
                        context.consumers.contains(&connection.owner),
                        "it never was: {connection:?}"
                    );
                }
            }
            Step::Untag(_, keys) => {
                assert!(keys.iter().all(|key| !key.starts_with("silvermullet.com/")), "{step}");
            }
            Step::Modify(id, _)
            | Step::Tag(id, _)
            | Step::ModifyPermissions { id, .. }
            | Step::VerifyPrivateDns(id) => {
                assert!(seen.service.owned().is_some_and(|service| service.id == *id), "{step}");
            }
            Step::Delete(_) => panic!("nothing is deleted: {step}"),
        }
    }
}

/// The world after it has converged to what is desired.
fn check_reached(world: &World, desired: &Desired) {
    let seen = world.look();
    let service = seen.service.owned().expect("it is there");
    assert_eq!(service.state, State::Available);
    assert_eq!(service.acceptance_required, desired.acceptance_required);
    assert_eq!(service.address_types, desired.address_types);
    assert_eq!(seen.principals.as_ref(), Some(&desired.principals));
    assert_eq!(service.tags, desired.tags);
    let private = service.private_dns.as_ref().map(|private| &private.name);
    assert_eq!(private, desired.private_dns_name.as_ref());
    assert!(desired.load_balancers.is_subset(&service.load_balancers));
    for connection in seen.connections.iter().flatten() {
        let vouched = desired.vouches_for(&connection.owner);
        assert!(
            !(vouched && connection.state == State::PendingAcceptance),
            "{connection:?}"
        );
    }
}

proptest! {
    #[test]
    fn from_nothing_and_through_an_edit_it_converges_and_then_plans_nothing(
        first in any_desired(),
        second in any_desired(),
        connections in any_connections(),
        removable: bool,
        kills in prop::collection::vec(0usize..4, 0..4),
    ) {
        let mut world = World { removable, ..World::default() };
        let last = converge_to(&mut world, &first, &kills);
        prop_assert!(last.service.ok && last.load_balancers.ok && last.steps.is_empty(), "{last:?}");
        check_reached(&world, &first);
        world.own().connections.clone_from(&connections);

        let last = converge_to(&mut world, &second, &kills);
        check_reached(&world, &second);
        prop_assert_eq!(world.created, 1);
        let own = world.look();
        let service = own.service.owned().expect("it is there");
        let is_exact = service.load_balancers == second.load_balancers;
        prop_assert_eq!(last.load_balancers.ok, is_exact);
        prop_assert_eq!(is_exact, last.steps.is_empty());
        let is_connected = own.connections.iter().flatten().any(Connection::blocks_deletion);
        prop_assert!(is_exact || is_connected && !removable, "AWS refused nothing");
    }

    #[test]
    fn a_connection_is_decided_on_only_by_account_ids_and_left_alone_else(
        first in any_desired(),
        second in any_desired(),
        connections in any_connections(),
    ) {
        let mut world = World { removable: true, ..World::default() };
        converge_to(&mut world, &first, &[]);
        world.own().connections.clone_from(&connections);
        converge_to(&mut world, &second, &[]);
        let account = |owner: &str, of: &Desired| of.consumers.iter().any(|id| id.as_str() == owner);
        for (before, after) in connections.iter().zip(&world.own().connections) {
            let (was, is) = (account(&before.owner, &first), account(&before.owner, &second));
            let root = format!("arn:aws:iam::{}:", before.owner);
            let is_let_in = second.principals.iter().any(|principal| principal == "*" || principal.starts_with(&root));
            let is_revoked = was && !is && (second.acceptance_required || !is_let_in);
            prop_assert!(!(is_revoked && after.is_live()), "{after:?} still carries traffic");
            let waits = after.state == State::PendingAcceptance;
            let is_out = was && !is && !is_let_in;
            prop_assert!(!is_out || !waits, "{after:?} may never connect");
            match (&before.state, &after.state) {
                (State::PendingAcceptance, State::Available) => prop_assert!(is),
                (State::Pending | State::Available, State::Rejected) => prop_assert!(was && !is),
                (State::PendingAcceptance, State::Rejected) => prop_assert!(was && !is && !is_let_in),
                (State::Pending, State::Available) => {}
                (before, after) => prop_assert_eq!(before, after),
            }
        }
    }

    #[test]
    fn what_was_created_and_not_acknowledged_is_found_again_and_nothing_made_twice(
        first in any_desired(),
        second in any_desired(),
    ) {
        let mut world = World { removable: true, ..World::default() };
        bind(&mut world, &first);
        let step = plan(&owner(), &first, &world.look(), PlanContext::default()).steps.remove(0);
        let token = token(&world);
        world.apply(&step, &token).expect("created");
        // The answer is lost, EC2 does not list it yet, and the spec is edited.
        let again = plan(&owner(), &second, &Observed::nothing(), PlanContext::default()).steps.remove(0);
        let _ = world.apply(&again, &token);
        prop_assert_eq!(world.created, 1);
        // The status still says what it was bound to.
        let found = world.look();
        prop_assert!(found.service.owned().is_some(), "{:?}", found.service);
        world.remember(&found, Some(&second), false);
        converge_to(&mut world, &second, &[]);
        check_reached(&world, &second);
        prop_assert_eq!(world.created, 1);
    }

    #[test]
    fn what_is_deleted_out_of_band_is_created_again_once_and_as_another(
        first in any_desired(),
        second in any_desired(),
        kills in prop::collection::vec(0usize..3, 0..4),
    ) {
        let mut world = World { removable: true, ..World::default() };
        converge_to(&mut world, &first, &[]);
        let (before, former) = (token(&world), world.status.service_id.clone());
        world.services.clear();
        converge_to(&mut world, &second, &kills);
        check_reached(&world, &second);
        prop_assert_eq!(world.created, 2);
        prop_assert_ne!(token(&world), before);
        prop_assert_ne!(&world.status.service_id, &former);
    }

    #[test]
    fn a_deletion_waits_for_connections_or_rejects_them_and_then_leaves_nothing(
        desired in any_desired(),
        connections in any_connections(),
        kills in prop::collection::vec(0usize..2, 0..3),
        rejects: bool,
    ) {
        let mut world = World { removable: true, ..World::default() };
        converge_to(&mut world, &desired, &[]);
        world.own().connections.clone_from(&connections);
        let on_delete = if rejects { ConnectionsOnDelete::Reject } else { ConnectionsOnDelete::Wait };
        let delete = |_: &World, seen: &Observed| {
            let plan = plan_deletion(&owner(), seen, Ok(DeletionPolicy::Delete), on_delete);
            let rejected = plan.steps.iter().any(|step| matches!(step, Step::Reject(..)));
            assert!(rejects || !rejected, "{:?}", plan.steps);
            assert!(!plan.steps.iter().any(|step| matches!(step, Step::Accept(..))));
            plan
        };
        let last = converge(&mut world, None, &kills, delete);
        let is_connected = connections.iter().any(Connection::blocks_deletion);
        if is_connected && !rejects {
            prop_assert_eq!(last.service.reason, Reason::InUse);
            for connection in &mut world.own().connections {
                connection.state = State::Deleting;
            }
            let last = converge(&mut world, None, &[], delete);
            prop_assert!(last.service.ok);
        } else {
            prop_assert!(last.service.ok, "{:?}", last);
        }
        prop_assert!(world.services.is_empty());
    }

    #[test]
    fn what_is_retained_stays_whole_and_belongs_to_nobody(
        desired in any_desired(),
        connections in any_connections(),
        kills in prop::collection::vec(0usize..2, 0..3),
    ) {
        let mut world = World { removable: true, ..World::default() };
        converge_to(&mut world, &desired, &[]);
        world.own().connections.clone_from(&connections);
        let last = converge(&mut world, None, &kills, |_, seen| {
            plan_deletion(&owner(), seen, Ok(DeletionPolicy::Retain), ConnectionsOnDelete::Reject)
        });
        prop_assert!(last.service.ok);
        prop_assert_eq!(world.services.len(), 1);
        let service = world.services.values().next().expect("it is there");
        prop_assert_eq!(&service.described.tags["silvermullet.com/retained"], "c/ns/web");
        prop_assert!(!service.described.tags.contains_key("silvermullet.com/cluster"));
        let ended = |connection: &Connection| connection.state == State::Rejected;
        prop_assert_eq!(
            service.connections.iter().filter(|one| ended(one)).count(),
            connections.iter().filter(|one| ended(one)).count()
        );
    }

    #[test]
    fn a_simulation_shows_the_steps_that_are_then_made(desired in any_desired(), connections in any_connections()) {
        let mut world = World { removable: true, ..World::default() };
        bind(&mut world, &desired);
        let planned = |seen: &Observed| plan(&owner(), &desired, seen, PlanContext::default());
        let shown = simulate(&world.look(), false, planned);
        prop_assert_eq!(planned(&shown.reached).steps, []);
        let last = converge_to(&mut world, &desired, &[]);
        prop_assert_eq!(planned(&shown.reached).service.ok, last.service.ok);
        world.own().connections.clone_from(&connections);
        let shown = simulate(&world.look(), false, planned);
        converge_to(&mut world, &desired, &[]);
        prop_assert_eq!(shown.reached, world.look());
    }
}
