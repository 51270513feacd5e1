//! Edits of what AWS fixes at creation, between every two writes of a create, with and without a
//! crash: in the end there is one endpoint, which is as the last spec says.

use serde_json::{Value, json};
use vpce_testbed::aws::{Fault, FaultKind, Gate, Hold, PausePoint};

use super::{CREATING, POINTS, Withheld, kill, late, start};
use crate::binding::Places;
use crate::world::{Setup, WITHIN, World};

/// One for each field that is edited: they live side by side.
fn all<'w>(world: &'w World, name: &str) -> Vec<Places<'w>> {
    (0..4)
        .map(|number| Places::new(world, &format!("{name}-{number}")))
        .collect()
}

/// Holds the next call of an action in the account of each.
fn hold_each(all: &[Places<'_>], action: &str, point: PausePoint) -> Vec<Gate> {
    let hold = |places: &Places<'_>| Hold {
        account: Some(places.tenant.account_id.clone()),
        ..Hold::next(action, point)
    };
    all.iter()
        .map(|places| places.tenant.world.aws.pause(hold(places)))
        .collect()
}

#[track_caller]
fn wait_reached(gates: &[Gate], what: &str) {
    for gate in gates {
        assert!(gate.wait_reached(WITHIN), "it never comes to {what}");
    }
}

fn apply_first(all: &[Places<'_>]) {
    for places in all {
        places.tenant.apply("api", places.spec(&json!({})));
    }
}

/// What the edit of the place of this number says; `round` is how many edits have been before.
fn edited(places: &Places<'_>, number: usize, round: usize) -> (String, Value) {
    let (what, fields) = &places.edits[(number + round) % places.edits.len()];
    ((*what).to_owned(), places.spec(fields))
}

/// Edits all, which is accepted: there is no endpoint that a status names.
#[track_caller]
fn edit(all: &[Places<'_>], round: usize) {
    for (number, places) in all.iter().enumerate() {
        places.tenant.apply("api", edited(places, number, round).1);
    }
}

/// Each has what the last edit says, and nothing else; then it is deleted.
#[track_caller]
fn each_is_there_alone(all: &[Places<'_>], round: usize, what: &str) {
    for (number, places) in all.iter().enumerate() {
        let (field, spec) = edited(places, number, round);
        places.is_there_alone("api", &spec, &format!("the {field}, edited {what}"));
    }
    all_leave_nothing(all, what);
}

#[track_caller]
fn all_leave_nothing(all: &[Places<'_>], what: &str) {
    for places in all {
        places.tenant.delete("api");
    }
    for places in all {
        places.leaves_nothing("api", what);
    }
}

/// Has what stands at the gates go on, or the operator die there, once all are edited.
fn edit_at(world: &World, all: &[Places<'_>], gates: Vec<Gate>, crash: bool, round: usize) {
    if crash {
        kill(world);
        gates.into_iter().for_each(Gate::abandon);
        edit(all, round);
        start(world);
    } else {
        edit(all, round);
        gates.into_iter().for_each(Gate::release);
    }
}

/// Edits all while a right is withheld; the operator may be killed first, and starts again with
/// that right.
fn edit_without(world: &World, all: &[Places<'_>], withheld: Withheld<'_>, crash: bool, round: usize) {
    if crash {
        kill(world);
    }
    edit(all, round);
    drop(withheld);
    if crash {
        start(world);
    }
}

#[test]
fn an_edit_between_any_two_writes_of_a_create_ends_in_what_it_says() {
    let world = World::own(Setup::fast());
    let all = all(&world, "edited");
    for action in CREATING {
        for point in POINTS {
            for crash in [false, true] {
                let what = format!("{point:?} {action}, crash: {crash}");
                let gates = hold_each(&all, action, point);
                apply_first(&all);
                wait_reached(&gates, &what);
                edit_at(&world, &all, gates, crash, 0);
                each_is_there_alone(&all, 0, &what);
            }
        }
    }
    for crash in [false, true] {
        // The finalizer; then what it is bound to.
        for resource in ["vpcendpoints", "vpcendpoints/status"] {
            let what = format!("before it can patch {resource}, crash: {crash}");
            let withheld = Withheld::new(&world, "patch", resource);
            apply_first(&all);
            withheld.wait_reached();
            edit_without(&world, &all, withheld, crash, 0);
            each_is_there_alone(&all, 0, &what);
        }
        // The status that first names the endpoint: only AWS knows it yet.
        let what = format!("before a status names the endpoint, crash: {crash}");
        let gates = hold_each(&all, "CreateVpcEndpoint", PausePoint::After);
        apply_first(&all);
        wait_reached(&gates, &what);
        let withheld = Withheld::new(&world, "patch", "vpcendpoints/status");
        gates.into_iter().for_each(Gate::release);
        withheld.wait_reached();
        edit_without(&world, &all, withheld, crash, 0);
        each_is_there_alone(&all, 0, &what);
    }
}

#[test]
fn an_edit_between_any_two_writes_of_a_move_ends_in_what_it_says() {
    let world = World::own(Setup::fast());
    let all = all(&world, "moving");
    for action in ["DeleteVpcEndpoints", "DeleteSecurityGroup"] {
        for point in POINTS {
            for crash in [false, true] {
                let what = format!("{point:?} {action}, crash: {crash}");
                let made = hold_each(&all, "CreateVpcEndpoint", PausePoint::After);
                apply_first(&all);
                wait_reached(&made, &what);
                let gates = hold_each(&all, action, point);
                edit_at(&world, &all, made, false, 0);
                wait_reached(&gates, &what);
                edit_at(&world, &all, gates, crash, 1);
                each_is_there_alone(&all, 1, &what);
            }
        }
    }
    for crash in [false, true] {
        // The status that says that it is bound to nothing.
        let what = format!("before it is unbound, crash: {crash}");
        let made = hold_each(&all, "CreateSecurityGroup", PausePoint::After);
        apply_first(&all);
        wait_reached(&made, &what);
        let gates = hold_each(&all, "DeleteSecurityGroup", PausePoint::After);
        edit_at(&world, &all, made, false, 0);
        wait_reached(&gates, &what);
        let withheld = Withheld::new(&world, "patch", "vpcendpoints/status");
        gates.into_iter().for_each(Gate::release);
        withheld.wait_reached();
        edit_without(&world, &all, withheld, crash, 1);
        each_is_there_alone(&all, 1, &what);
    }
    // Back to what it was.
    let what = "and undone";
    let made = hold_each(&all, "CreateVpcEndpoint", PausePoint::After);
    apply_first(&all);
    wait_reached(&made, what);
    let gates = hold_each(&all, "DeleteVpcEndpoints", PausePoint::Before);
    edit_at(&world, &all, made, false, 0);
    wait_reached(&gates, what);
    apply_first(&all);
    gates.into_iter().for_each(Gate::release);
    for places in &all {
        places.is_there_alone("api", &places.spec(&json!({})), what);
        places.leaves_nothing("api", what);
    }
}

#[test]
fn an_edit_after_a_lost_answer_finds_what_was_created() {
    let world = late();
    let world = world.lock();
    for action in CREATING {
        let all = all(&world, "lost-edited");
        for places in &all {
            world.aws.fault(Fault {
                account: Some(places.tenant.account_id.clone()),
                ..Fault::once(action, FaultKind::LoseAnswer)
            });
        }
        let gates = hold_each(&all, action, PausePoint::Before);
        apply_first(&all);
        wait_reached(&gates, &format!("{action}, whose answer is lost"));
        // No status names what is made before it is edited, however long that takes.
        let withheld = Withheld::new(&world, "patch", "vpcendpoints/status");
        gates.into_iter().for_each(Gate::release);
        for places in &all {
            places
                .tenant
                .eventually("api", &format!("the answer to {action} is lost"), || {
                    let mut calls = places.tenant.calls().into_iter();
                    calls.any(|call| call.action == action && !call.answered).then_some(())
                });
        }
        edit(&all, 0);
        drop(withheld);
        each_is_there_alone(&all, 0, &format!("after the answer to {action} was lost"));
    }
}

#[test]
fn an_edit_with_two_leaders_creates_nothing_twice() {
    let world = World::own(Setup::fast());
    let all = all(&world, "two-edited");
    let second = world.operator.replica("second", &[("VPCE_LEASE_NAMESPACE", "")]);
    let _second = second.expect("without an election it works");
    for action in CREATING {
        for point in POINTS {
            let what = format!("{point:?} {action}, with two leaders");
            let gates = hold_each(&all, action, point);
            apply_first(&all);
            wait_reached(&gates, &what);
            // The other goes on meanwhile: what it has created and put into status is bound.
            let specs: Vec<Value> = all
                .iter()
                .enumerate()
                .map(|(number, places)| {
                    let (_, spec) = edited(places, number, 0);
                    match places.tenant.try_apply("api", spec.clone()) {
                        Ok(_) => spec,
                        Err(refusal) => {
                            assert!(refusal.message.contains(" stays "), "{}", refusal.message);
                            places.spec(&json!({}))
                        }
                    }
                })
                .collect();
            gates.into_iter().for_each(Gate::release);
            for (places, spec) in all.iter().zip(&specs) {
                places.is_there_alone("api", spec, &what);
            }
            all_leave_nothing(&all, &what);
        }
    }
}
