//! Which of all that was found are the object's endpoint and group.

use std::collections::BTreeSet;

use super::{Candidate, Claimant, Proof, prove};
use crate::ids::GroupId;
use crate::observed::{Lookup, ObservedEndpoint, ObservedGroup, State, UnprovenReason};
use crate::tags::{Claim, Owner};

/// What of one kind may be an object's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates<R> {
    /// What has the id that the status names.
    pub by_id: LookupById<R>,
    /// All that carries the owner's tags and is not deleted, that with the status's id included.
    pub by_tags: Vec<R>,
}

/// What has the id that the status names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupById<R> {
    /// The status names no id.
    NoId,
    /// It exists.
    Found(R),
    /// AWS does not know it, for now.
    Unconfirmed,
    /// It is deleted.
    Deleted,
}

/// What of all that was found is the object's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The endpoint.
    pub endpoint: Lookup<ObservedEndpoint>,
    /// Further endpoints that are proven to be its own.
    pub spare_endpoints: Vec<ObservedEndpoint>,
    /// The group.
    pub group: Lookup<ObservedGroup>,
}

/// Distinguishes what is the object's own from what only carries its tags.
pub fn classify(
    claimant: &Claimant<'_>,
    endpoints: Candidates<ObservedEndpoint>,
    groups: Candidates<ObservedGroup>,
) -> Ownership {
    let groups = with_adopted_group(claimant, groups);
    let (groups_proven, _) = prove_all(groups.by_tags, |resource| prove(claimant, Candidate::Group(resource)));
    let own_groups: BTreeSet<GroupId> = groups_proven.iter().map(|(_, resource)| resource.id.clone()).collect();
    let (mut group, further_groups) = lookup(claimant, groups.by_id, groups_proven);
    // The one that replaced one that is deleted.
    if let (Lookup::Deleted, Some((_, next))) = (&group, further_groups.into_iter().next()) {
        group = Lookup::Owned(next);
    }
    let endpoints = with_adopted(claimant, endpoints);
    let (mut proven, mut unproven) = prove_all(endpoints.by_tags, |resource| {
        prove(claimant, Candidate::Endpoint(resource, &own_groups))
    });
    let matching = proven.iter().filter(|(proof, _)| *proof == Proof::MatchesSpec).count();
    if proven.first().is_some_and(|(proof, _)| *proof == Proof::MatchesSpec) && matching > 1 {
        unproven.extend(
            proven
                .drain(..)
                .map(|(_, resource)| (UnprovenReason::Several, resource)),
        );
    }
    let is_acknowledged = endpoints.by_id != LookupById::NoId;
    let (mut endpoint, mut spare) = lookup(claimant, endpoints.by_id, proven);
    if let (Lookup::Unowned(resource), Some(adoption)) = (&endpoint, claimant.adoption)
        && adoption.leaves_behind(claimant.owner, resource)
    {
        endpoint = Lookup::Absent;
    }
    if endpoint == Lookup::Absent
        && let Some((reason, resource)) = unproven.into_iter().find(|(reason, _)| !reason.is_certain())
    {
        endpoint = Lookup::Unproven(resource, reason);
    }
    // Where another is acknowledged, the operator has made none for this spec beside it.
    let is_settled = is_acknowledged || endpoint.owned().is_some();
    spare.retain(|(proof, _)| !(is_settled && *proof == Proof::MatchesSpec));
    Ownership {
        endpoint,
        spare_endpoints: spare.into_iter().map(|(_, resource)| resource).collect(),
        group,
    }
}

/// What the spec asks to adopt carries no tags of the owner's yet.
fn with_adopted(claimant: &Claimant<'_>, mut endpoints: Candidates<ObservedEndpoint>) -> Candidates<ObservedEndpoint> {
    if let (LookupById::Found(resource), Some(adoption)) = (&endpoints.by_id, claimant.adoption)
        && resource.id == *adoption.id
        && !endpoints.by_tags.iter().any(|tagged| tagged.id == resource.id)
    {
        endpoints.by_tags.push(resource.clone());
    }
    endpoints
}

/// Nor does the group that comes with it.
fn with_adopted_group(claimant: &Claimant<'_>, mut groups: Candidates<ObservedGroup>) -> Candidates<ObservedGroup> {
    let adopted = claimant.adoption.and_then(|adoption| adoption.consent.group());
    if let (LookupById::Found(resource), Some(id)) = (&groups.by_id, adopted)
        && resource.id == *id
        && !groups.by_tags.iter().any(|tagged| tagged.id == resource.id)
    {
        groups.by_tags.push(resource.clone());
    }
    groups
}

/// What is proven, the best first, and what is not.
type Proven<R> = (Vec<(Proof, R)>, Vec<(UnprovenReason, R)>);

fn prove_all<R>(tagged: Vec<R>, prove: impl Fn(&R) -> Result<Proof, UnprovenReason>) -> Proven<R> {
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

/// What has the id that the status names comes first; else the best that is proven.
fn lookup<R: Claimed>(
    claimant: &Claimant<'_>,
    by_id: LookupById<R>,
    mut proven: Vec<(Proof, R)>,
) -> (Lookup<R>, Vec<(Proof, R)>) {
    let first = |proven: &mut Vec<(Proof, R)>| Lookup::Owned(proven.remove(0).1);
    let lookup = match by_id {
        LookupById::NoId if proven.is_empty() => Lookup::Absent,
        LookupById::NoId => first(&mut proven),
        LookupById::Deleted => Lookup::Deleted,
        LookupById::Unconfirmed => Lookup::Unconfirmed,
        LookupById::Found(resource) if resource.is_deleted() => Lookup::Deleted,
        LookupById::Found(resource) => match proven.iter().position(|(_, own)| own.is(&resource)) {
            Some(position) => Lookup::Owned(proven.remove(position).1),
            // Another's, by its tags: no status that we wrote names it while there is one of the
            // owner's.
            None if resource.claim(claimant.owner) == Claim::Another && !proven.is_empty() => first(&mut proven),
            None => Lookup::Unowned(resource),
        },
    };
    (lookup, proven)
}
