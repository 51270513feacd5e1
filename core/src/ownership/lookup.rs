//! Which of all that was found are the object's endpoint and group.

use std::collections::BTreeSet;

use super::{Claimant, Found, Proof, prove};
use crate::ids::GroupId;
use crate::observed::{Lookup, ObservedEndpoint, ObservedGroup, State, UnprovenReason};
use crate::tags::{Claim, Owner};

/// What was observed of one kind for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<R> {
    /// What is under the id that the status names.
    pub named: Named<R>,
    /// All that carries the owner's tags and is not deleted, that under the named id included.
    pub tagged: Vec<R>,
}

/// What is under the id that the status names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<R> {
    /// The status names none.
    None,
    /// It is there.
    There(R),
    /// AWS does not know it, for now.
    Unconfirmed,
    /// It is gone.
    Gone,
}

/// What of all that was found is the object's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The endpoint.
    pub endpoint: Lookup<ObservedEndpoint>,
    /// Further endpoints that are proven to be its own.
    pub spare_endpoints: Vec<ObservedEndpoint>,
    /// The group.
    pub group: Lookup<ObservedGroup>,
}

/// Tells what is the object's own from what only carries its tags.
pub fn own(claimant: &Claimant<'_>, endpoints: Seen<ObservedEndpoint>, groups: Seen<ObservedGroup>) -> Own {
    let (groups_proven, _) = sorted(groups.tagged, |resource| prove(claimant, Found::Group(resource)));
    let own_groups: BTreeSet<GroupId> = groups_proven.iter().map(|(_, resource)| resource.id.clone()).collect();
    let (mut group, further_groups) = lookup(claimant, groups.named, groups_proven);
    // The one that took the place of one that is gone.
    if let (Lookup::Deleted, Some((_, next))) = (&group, further_groups.into_iter().next()) {
        group = Lookup::Owned(next);
    }
    let (mut proven, mut unproven) = sorted(endpoints.tagged, |resource| {
        prove(claimant, Found::Endpoint(resource, &own_groups))
    });
    let fitting = proven.iter().filter(|(proof, _)| *proof == Proof::Fits).count();
    if proven.first().is_some_and(|(proof, _)| *proof == Proof::Fits) && fitting > 1 {
        unproven.extend(
            proven
                .drain(..)
                .map(|(_, resource)| (UnprovenReason::Several, resource)),
        );
    }
    let is_named = endpoints.named != Named::None;
    let (mut endpoint, mut spare) = lookup(claimant, endpoints.named, proven);
    if endpoint == Lookup::Absent
        && let Some((reason, resource)) = unproven.into_iter().find(|(reason, _)| !reason.is_certain())
    {
        endpoint = Lookup::Unproven(resource, reason);
    }
    // Where another is acknowledged, the operator has made none for this spec beside it.
    let is_settled = is_named || endpoint.owned().is_some();
    spare.retain(|(proof, _)| !(is_settled && *proof == Proof::Fits));
    Own {
        endpoint,
        spare_endpoints: spare.into_iter().map(|(_, resource)| resource).collect(),
        group,
    }
}

/// What is proven, the best first, and what is not.
type Sorted<R> = (Vec<(Proof, R)>, Vec<(UnprovenReason, R)>);

fn sorted<R>(tagged: Vec<R>, prove: impl Fn(&R) -> Result<Proof, UnprovenReason>) -> Sorted<R> {
    let (mut proven, mut unproven) = (Vec::new(), Vec::new());
    for resource in tagged {
        match prove(&resource) {
            Ok(proof) => proven.push((proof, resource)),
            Err(reason) => unproven.push((reason, resource)),
        }
    }
    proven.sort_by(|(a, _), (b, _)| a.cmp(b));
    (proven, unproven)
}

/// What can be an object's.
trait Claimed {
    /// Whether it is what the status named.
    fn is(&self, other: &Self) -> bool;
    /// Whose its tags say it is.
    fn claim(&self, owner: &Owner) -> Claim;
    /// Whether EC2 still shows it, and says that it is deleted.
    fn is_deleted(&self) -> bool;
}

impl Claimed for ObservedEndpoint {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    fn claim(&self, owner: &Owner) -> Claim {
        owner.claim(&self.tags)
    }

    fn is_deleted(&self) -> bool {
        self.state == State::Deleted
    }
}

impl Claimed for ObservedGroup {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    fn claim(&self, owner: &Owner) -> Claim {
        owner.claim(&self.tags)
    }

    fn is_deleted(&self) -> bool {
        false
    }
}

/// What is under the id that the status names comes first; else the best that is proven.
fn lookup<R: Claimed>(
    claimant: &Claimant<'_>,
    named: Named<R>,
    mut proven: Vec<(Proof, R)>,
) -> (Lookup<R>, Vec<(Proof, R)>) {
    let first = |proven: &mut Vec<(Proof, R)>| Lookup::Owned(proven.remove(0).1);
    let lookup = match named {
        Named::None if proven.is_empty() => Lookup::Absent,
        Named::None => first(&mut proven),
        Named::Gone => Lookup::Deleted,
        Named::Unconfirmed => Lookup::Unconfirmed,
        Named::There(resource) if resource.is_deleted() => Lookup::Deleted,
        Named::There(resource) => match proven.iter().position(|(_, own)| own.is(&resource)) {
            Some(place) => Lookup::Owned(proven.remove(place).1),
            // Another's, by its tags: no status that we wrote names it while there is one of the
            // owner's.
            None if resource.claim(claimant.owner) == Claim::Another && !proven.is_empty() => first(&mut proven),
            None => Lookup::Unowned(resource),
        },
    };
    (lookup, proven)
}
