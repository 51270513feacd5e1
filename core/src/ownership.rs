//! What proves that something in AWS was created for an object. Tags alone do not: whoever may tag
//! in the AWS account can plant them.
//!
//! | found | proves it | can be planted by whoever may tag |
//! |---|---|---|
//! | under the id that the object's status acknowledged, with the owner's tags | the status, which only the operator writes | no |
//! | a group, by the owner's tags | name and description, which AWS fixes when it is made, name the owner and its cluster | no |
//! | an endpoint, by the owner's tags | it has such a group | no |
//! | an endpoint that the spec names, by the tag `silvermullet.com/adopt` | the administrators of the AWS account let the object have it; VPC, service and type are those of the spec | by whoever may tag, for what they may tag |
//! | an endpoint to `provided` groups, by the owner's tags | the spec has such groups, or had when the object was bound; VPC, service and groups are those of the spec, and its age fits the tags | no, but who may also apply the object can choose the spec |
//!
//! The last is all that there is to go by where the operator made no group: see
//! [`UnprovenReason::Age`](crate::observed::UnprovenReason::Age).

mod adoption;
mod classify;
mod expected;
mod proof;
#[cfg(test)]
mod tests;

use crate::ids::{EndpointId, GroupId};
use crate::tags::Owner;

pub use adoption::{Adoption, Consent, check_adoption, check_legacy_group};
pub use classify::{Candidates, LookupById, Ownership, classify};
pub use expected::Expected;
pub use proof::{Candidate, Proof, prove};

/// Who claims what is found, and what is known of it beside the tags.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The object, or what tags say of one that is no more.
    pub owner: &'a Owner,
    /// The endpoint that its status acknowledged.
    pub endpoint: Option<&'a EndpointId>,
    /// The group that its status acknowledged.
    pub group: Option<&'a GroupId>,
    /// What its spec asks for; none where there is no object, or its spec does not parse.
    pub expected: Option<&'a Expected>,
    /// The endpoint that its spec asks to adopt or to observe.
    pub adoption: Option<Adoption<'a>>,
    /// When the object was made, in seconds since 1970.
    pub object_since: Option<i64>,
    /// When the cluster was made.
    pub cluster_since: Option<i64>,
}
