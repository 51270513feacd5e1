//! Plans what is done with connections: accepted where the spec vouches for them, rejected where it
//! no longer does. All others are left to people.

use std::collections::BTreeSet;

use super::desired::Desired;
use super::observed::Connection;
use super::step::Step;
use crate::ids::{EndpointId, EndpointServiceId};
use crate::observed::State;

/// So many connections are accepted or rejected in one call.
const MOST_AT_ONCE: usize = 100;

/// Accepts and rejects. `former` are the accounts whose connections were accepted, from status.
pub(super) fn plan_connections(
    id: &EndpointServiceId,
    desired: &Desired,
    connections: &[Connection],
    former: &[String],
    steps: &mut Vec<Step>,
) {
    let accepted = connections
        .iter()
        .filter(|connection| connection.state == State::PendingAcceptance && desired.accepts(connection));
    let rejected = connections
        .iter()
        .filter(|connection| is_revoked(desired, former, connection));
    let rejected = ids(rejected);
    steps.extend(in_calls(&rejected).map(|endpoints| Step::Reject(id.clone(), endpoints)));
    let accepted = ids(accepted);
    steps.extend(in_calls(&accepted).map(|endpoints| Step::Accept(id.clone(), endpoints)));
}

/// Whether an endpoint, or its account, was a consumer and is none any more, in whatever other way
/// it may connect.
fn is_revoked(desired: &Desired, former: &[String], connection: &Connection) -> bool {
    let was_consumer = former.contains(&connection.owner) || desired.revoked.contains(&connection.endpoint);
    was_consumer && !desired.accepts(connection) && is_unwanted(desired, connection)
}

/// Whether a connection of no consumer cannot stay: one that is there, unless AWS would let it in
/// again; and one that waits, unless its account is allowed in another way and may be accepted by
/// hand.
fn is_unwanted(desired: &Desired, connection: &Connection) -> bool {
    let account = &connection.owner;
    match connection.state {
        State::PendingAcceptance => !desired.allows(account),
        _ => connection.is_live() && !desired.lets_in_unasked(account),
    }
}

/// Rejects all that stands in the way of a deletion.
pub(super) fn reject_all(id: &EndpointServiceId, connections: &[Connection], steps: &mut Vec<Step>) {
    let all = ids(connections.iter().filter(|connection| connection.blocks_deletion()));
    steps.extend(in_calls(&all).map(|endpoints| Step::Reject(id.clone(), endpoints)));
}

/// The accounts that the status remembers from now on: the consumers, and those that were and are
/// still to be rejected.
pub(super) fn remembered_consumers(
    desired: &Desired,
    former: &[String],
    connections: Option<&[Connection]>,
) -> BTreeSet<String> {
    let is_connected = |account: &&String| match connections {
        Some(all) => all
            .iter()
            .any(|connection| connection.owner == **account && is_unwanted(desired, connection)),
        None => true,
    };
    let left = former.iter().filter(|account| !desired.vouches_for(account));
    let left = left.filter(is_connected).cloned();
    let consumers = desired.consumers.iter().map(ToString::to_string);
    consumers.chain(left).collect()
}

/// How many wait for a person, for the message of a condition.
pub(super) fn waiting(desired: &Desired, connections: &[Connection]) -> usize {
    connections
        .iter()
        .filter(|connection| connection.state == State::PendingAcceptance && !desired.accepts(connection))
        .count()
}

fn ids<'a>(connections: impl Iterator<Item = &'a Connection>) -> Vec<EndpointId> {
    let ids: BTreeSet<&EndpointId> = connections.map(|connection| &connection.endpoint).collect();
    ids.into_iter().cloned().collect()
}

fn in_calls(ids: &[EndpointId]) -> impl Iterator<Item = BTreeSet<EndpointId>> {
    ids.chunks(MOST_AT_ONCE).map(|ids| ids.iter().cloned().collect())
}
