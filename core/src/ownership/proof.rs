//! Whether one resource is proven to be the claimant's.

use std::collections::BTreeSet;
use std::fmt;

use super::{Claimant, Expected, check_adoption, check_legacy_group};
use crate::ids::GroupId;
use crate::observed::{ObservedEndpoint, ObservedGroup, UnprovenReason};
use crate::tags::{self, Claim};

/// How far the clocks of AWS and of the API server may be apart, in seconds. Kubernetes cuts off
/// fractions of a second, so that of two that agree the API server's is behind.
const CLOCKS_DIFFER: i64 = 2;

/// Something in AWS that may be the claimant's.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    /// An endpoint, and the groups that are proven to be the claimant's.
    Endpoint(&'a ObservedEndpoint, &'a BTreeSet<GroupId>),
    /// A security group.
    Group(&'a ObservedGroup),
}

/// What proves that something is the claimant's; the strongest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// The status acknowledged its id.
    Acknowledged,
    /// The spec names it, and the administrators of the AWS account agree.
    Consent,
    /// Its name and its description.
    GroupName,
    /// It has this group, which is the claimant's.
    OwnGroup(GroupId),
    /// VPC, service and groups are those of the spec, and its age fits its tags.
    MatchesSpec,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged => f.write_str("the status of its object names it"),
            Self::Consent => f.write_str("its tag silvermullet.com/adopt"),
            Self::GroupName => f.write_str("its name and description, which AWS fixes at creation"),
            Self::OwnGroup(id) => write!(f, "it has the operator's group {id}"),
            Self::MatchesSpec => f.write_str("its VPC, service and security groups are those of the spec"),
        }
    }
}

/// Whether something is proven to be the claimant's: the one place that decides it.
///
/// # Errors
/// Why it is not proven.
pub fn prove(claimant: &Claimant<'_>, candidate: Candidate<'_>) -> Result<Proof, UnprovenReason> {
    let owner = claimant.owner;
    if is_adopted(claimant, candidate) {
        return Ok(Proof::Consent);
    }
    let tags = match candidate {
        Candidate::Endpoint(resource, _) => &resource.tags,
        Candidate::Group(resource) => &resource.tags,
    };
    if owner.claim(tags) != Claim::Ours {
        return Err(UnprovenReason::Tags);
    }
    let (resource, own_groups) = match candidate {
        Candidate::Group(resource) if claimant.group == Some(&resource.id) => return Ok(Proof::Acknowledged),
        Candidate::Group(resource) if owner.named_group(&resource.name, &resource.description) => {
            return Ok(Proof::GroupName);
        }
        Candidate::Group(_) => return Err(UnprovenReason::Name),
        Candidate::Endpoint(resource, own_groups) => (resource, own_groups),
    };
    if resource.requester_managed {
        return Err(UnprovenReason::RequesterManaged);
    }
    let Some(attachment) = resource.attachment.known() else {
        return Err(UnprovenReason::Type);
    };
    let groups = attachment.groups().cloned().unwrap_or_default();
    if claimant.endpoint == Some(&resource.id) {
        return Ok(Proof::Acknowledged);
    }
    if let (Some(type_), Some(expected)) = (resource.endpoint_type(), claimant.expected)
        && type_ != expected.endpoint_type
    {
        return Err(UnprovenReason::Type);
    }
    if let Some(id) = groups.iter().find(|id| own_groups.contains(id)) {
        return Ok(Proof::OwnGroup(id.clone()));
    }
    let Some(Expected {
        vpc,
        target,
        endpoint_type: _,
        provided: Some(provided),
    }) = claimant.expected
    else {
        return Err(UnprovenReason::NoOwnGroup);
    };
    if resource.vpc != *vpc {
        return Err(UnprovenReason::Vpc);
    }
    if resource.target.as_ref() != Some(target) {
        return Err(UnprovenReason::Service);
    }
    let is_of_own_uid = resource.tags.get(tags::UID) == Some(&owner.uid);
    // Those of an endpoint whose answer was lost may be what the spec said before an edit.
    if groups != *provided && !is_of_own_uid {
        return Err(UnprovenReason::Groups);
    }
    // A former cluster is one that the platform team has named.
    let is_of_own_cluster = resource.tags.get(tags::CLUSTER) == Some(&owner.cluster.own);
    let is_of_age = if !is_of_own_cluster {
        true
    } else if is_of_own_uid {
        let both = resource.created.zip(claimant.object_since);
        both.is_some_and(|(created, since)| created >= since - CLOCKS_DIFFER)
    } else {
        let both = resource.created.zip(claimant.cluster_since);
        both.is_some_and(|(created, since)| created < since)
    };
    if is_of_age {
        Ok(Proof::MatchesSpec)
    } else {
        Err(UnprovenReason::Age)
    }
}

/// Whether the claimant may have it though it was not created for it.
fn is_adopted(claimant: &Claimant<'_>, candidate: Candidate<'_>) -> bool {
    let (Some(adoption), Some(expected)) = (claimant.adoption.filter(|adoption| !adoption.leaves), claimant.expected)
    else {
        return false;
    };
    match candidate {
        Candidate::Endpoint(resource, _) => {
            *adoption.id == resource.id && check_adoption(claimant.owner, expected, adoption.consent, resource).is_ok()
        }
        Candidate::Group(resource) => {
            adoption.consent.group() == Some(&resource.id)
                && check_legacy_group(claimant.owner, expected, resource).is_ok()
        }
    }
}
