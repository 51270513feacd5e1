//! Endpoints that exist already, which a spec asks to adopt or to observe.

use super::Expected;
use crate::ids::EndpointId;
use crate::observed::{ObservedEndpoint, UnprovenReason};
use crate::tags::{ADOPT, Claim, Owner};

/// What a spec asks to adopt or to observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adoption<'a> {
    /// The endpoint.
    pub id: &'a EndpointId,
    /// Whether it is only observed.
    pub observes: bool,
    /// Whether the object leaves it: what was never tagged as its own is not its own then.
    pub leaves: bool,
}

impl Adoption<'_> {
    /// Whether an endpoint stays as it is when its object goes: it was only observed, or was to be
    /// adopted and never was.
    pub(super) fn leaves_behind(self, owner: &Owner, endpoint: &ObservedEndpoint) -> bool {
        let is_owned = owner.claim(&endpoint.tags) != Claim::Unowned;
        self.leaves && *self.id == endpoint.id && !is_owned && (self.observes || consents(owner, endpoint))
    }
}

/// Whether the object may have an endpoint that its spec names.
///
/// # Errors
/// Why not.
pub fn check_adoption(owner: &Owner, expected: &Expected, endpoint: &ObservedEndpoint) -> Result<(), UnprovenReason> {
    if owner.claim(&endpoint.tags) == Claim::Another {
        return Err(UnprovenReason::Tags);
    }
    if endpoint.requester_managed {
        return Err(UnprovenReason::RequesterManaged);
    }
    // Nothing is told of what the object may not have.
    if !consents(owner, endpoint) {
        return Err(UnprovenReason::Consent);
    }
    if endpoint.endpoint_type() != Some(expected.endpoint_type) {
        return Err(UnprovenReason::Type);
    }
    if endpoint.vpc != expected.vpc {
        return Err(UnprovenReason::Vpc);
    }
    if endpoint.target.as_ref() != Some(&expected.target) {
        return Err(UnprovenReason::Service);
    }
    Ok(())
}

/// Whether the administrators of the AWS account let the owner have it.
fn consents(owner: &Owner, endpoint: &ObservedEndpoint) -> bool {
    endpoint.tags.get(ADOPT) == Some(&owner.consent())
}
