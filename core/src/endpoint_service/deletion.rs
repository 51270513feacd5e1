//! Plans the deletion of what an object owns.

use super::connections::reject_all;
use super::observed::{Connection, Observed, ObservedEndpointService};
use super::plan::Plan;
use super::step::Step;
use crate::api::{ConnectionsOnDelete, DeletionPolicy};
use crate::conditions::{Finding, Reason};
use crate::desired::MAX_TAGS;
use crate::observed::{Lookup, State};
use crate::tags::{self, Claim, Owner};

/// So many connections are named in a condition.
const MOST_NAMED: usize = 5;

/// Plans towards nothing. No steps and a finding that is `ok` mean that nothing is left. While the
/// deletion policy is not allowed, what there is stays as it is, and so does the object, which says
/// why.
pub fn plan_deletion(
    owner: &Owner,
    observed: &Observed,
    policy: Result<DeletionPolicy, &Finding>,
    on_delete: ConnectionsOnDelete,
) -> Plan {
    let mut steps = Vec::new();
    let service = match (&observed.service, policy) {
        // What only carries the tags is an orphan, and stays.
        (Lookup::Absent | Lookup::Deleted | Lookup::Unproven(..), _) => {
            Finding::good(Reason::Deleting, "nothing is left in AWS")
        }
        (Lookup::Owned(service), _) if service.state == State::Deleted => {
            Finding::good(Reason::Deleting, "nothing is left in AWS")
        }
        (Lookup::Owned(_) | Lookup::Unowned(_) | Lookup::Unconfirmed, Err(why)) => why.clone(),
        (Lookup::Unconfirmed, Ok(_)) => Finding::bad(
            Reason::Deleting,
            "AWS does not return the endpoint service; reading again to confirm that it is gone",
        ),
        (Lookup::Unowned(_), Ok(DeletionPolicy::Retain)) => {
            Finding::good(Reason::Deleting, "the endpoint service is retained")
        }
        (Lookup::Unowned(service), Ok(DeletionPolicy::Delete)) => ownership_lost(owner, service),
        (Lookup::Owned(service), Ok(DeletionPolicy::Retain)) => plan_retain(owner, service, &mut steps),
        (Lookup::Owned(service), Ok(DeletionPolicy::Delete)) => {
            plan_delete(service, observed.connections.as_deref(), on_delete, &mut steps)
        }
    };
    let load_balancers = Finding::good(Reason::NotRequested, "the object is being deleted");
    Plan {
        steps,
        load_balancers,
        service,
        private_dns: Finding::good(Reason::NotRequested, "the object is being deleted"),
    }
}

fn plan_delete(
    service: &ObservedEndpointService,
    connections: Option<&[Connection]>,
    on_delete: ConnectionsOnDelete,
    steps: &mut Vec<Step>,
) -> Finding {
    let id = &service.id;
    if service.state == State::Deleting {
        return Finding::bad(Reason::Deleting, format!("{id} is being deleted"));
    }
    let Some(connections) = connections else {
        return Finding::bad(Reason::Deleting, format!("the connections of {id} are being read"));
    };
    let in_the_way: Vec<&Connection> = connections.iter().filter(|one| one.blocks_deletion()).collect();
    match (in_the_way.as_slice(), on_delete) {
        ([], _) => {
            steps.push(Step::Delete(id.clone()));
            Finding::bad(Reason::Deleting, format!("{id} is being deleted"))
        }
        (some, ConnectionsOnDelete::Reject) => {
            reject_all(id, connections, steps);
            let count = some.len();
            Finding::bad(
                Reason::Deleting,
                format!("{count} connections of {id} are being rejected, so that it can be deleted"),
            )
        }
        (some, ConnectionsOnDelete::Wait) => Finding::bad(
            Reason::InUse,
            format!(
                "{id} is deleted once no endpoint is connected, or wants to be; now {}: {}. Their owners have to delete \
                 them, or set on_delete to Reject",
                some.len(),
                named(some)
            ),
        ),
    }
}

/// The first of them, each with the account of its owner.
fn named(connections: &[&Connection]) -> String {
    let first = connections.iter().take(MOST_NAMED);
    let names = first.map(|connection| format!("{} of account {}", connection.endpoint, connection.owner));
    let mut names: Vec<String> = names.collect();
    if connections.len() > MOST_NAMED {
        names.push("...".to_owned());
    }
    names.join(", ")
}

fn plan_retain(owner: &Owner, service: &ObservedEndpointService, steps: &mut Vec<Step>) -> Finding {
    let ObservedEndpointService { id, tags: there, .. } = service;
    if there.len() >= MAX_TAGS && !there.contains_key(tags::RETAINED) {
        // Room for the mark; the UID does not decide whose it is.
        steps.push(Step::Untag(id.clone(), [tags::UID.to_owned()].into()));
    }
    // The mark first: a crash in between leaves what is still ours.
    let mark = tags::retained_mark(there);
    if there.get(tags::RETAINED) != Some(&mark) {
        steps.push(Step::Tag(id.clone(), [(tags::RETAINED.to_owned(), mark)].into()));
    }
    steps.push(Step::Untag(id.clone(), owner.keys()));
    Finding::bad(Reason::Deleting, format!("{id} is being marked as retained"))
}

fn ownership_lost(owner: &Owner, service: &ObservedEndpointService) -> Finding {
    let id = &service.id;
    let message = if owner.claim(&service.tags) == Claim::Another {
        format!(
            "endpoint service {id}, which the status names, belongs to another object by its tags, so it is not deleted: \
             set deletion_policy to Retain to delete this object without it"
        )
    } else {
        format!(
            "endpoint service {id} has lost its owner tags, so it is not deleted. If it belongs to this object, run: aws \
             ec2 create-tags --resources {id} --tags {}; if it does not, set deletion_policy to Retain",
            owner.as_arguments()
        )
    };
    Finding::bad(Reason::OwnershipLost, message)
}
