//! What would be done from first to last, without doing it.

use super::effect::Outcome;
use super::observed::{Observed, ObservedEndpointService};
use super::plan::Plan;
use super::step::Step;
use crate::observed::{Lookup, State};
use crate::plan::to_the_end;

/// What stands for the id of an endpoint service that AWS has not made yet.
const NEW_SERVICE: &str = "vpce-svc-new";

/// What a simulation has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    /// All steps, in this order.
    pub steps: Vec<Step>,
    /// What would be observed after them.
    pub reached: Observed,
}

/// The steps from what is there to where planning has nothing left to do, if AWS carries out each
/// and nothing else changes. What AWS has not made yet is called `vpce-svc-new`.
pub fn simulate(observed: &Observed, deleting: bool, plan: impl Fn(&Observed) -> Plan) -> Simulation {
    let mut seen = observed.clone();
    if !deleting && seen.service == Lookup::Deleted {
        seen.service = Lookup::Absent;
    }
    let steps = to_the_end(
        &mut seen,
        |seen| plan(seen).steps,
        |seen, step: &Step| seen.record(step.effect(expected_outcome(step))),
        end_of_wait,
    );
    Simulation { steps, reached: seen }
}

/// What is answered to a step where all goes well.
fn expected_outcome(step: &Step) -> Outcome {
    match step {
        Step::Create {
            load_balancer_type,
            load_balancers,
            acceptance_required,
            address_types,
            private_dns_name,
            tags,
        } => Outcome::Created(ObservedEndpointService::created(
            NEW_SERVICE.into(),
            *load_balancer_type,
            load_balancers,
            *acceptance_required,
            address_types,
            private_dns_name.as_deref(),
            tags,
        )),
        Step::Modify(..)
        | Step::ModifyPermissions { .. }
        | Step::Accept(..)
        | Step::Reject(..)
        | Step::Tag(..)
        | Step::Untag(..)
        | Step::VerifyPrivateDns(_)
        | Step::Delete(_) => Outcome::Done,
    }
}

/// AWS ends what it is at; says whether it was at anything.
fn end_of_wait(seen: &mut Observed) -> bool {
    let mut moved = false;
    for connection in seen.connections.iter_mut().flatten() {
        if connection.state == State::Pending {
            connection.state = State::Available;
            moved = true;
        }
    }
    let Lookup::Owned(service) = &mut seen.service else {
        return moved;
    };
    match service.state {
        State::Pending => service.state = State::Available,
        State::Deleting => seen.service = Lookup::Absent,
        _ => return moved,
    }
    true
}
