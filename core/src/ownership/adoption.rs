//! Endpoints that exist already, which a spec asks to adopt or to observe.

use super::Expected;
use crate::ids::{EndpointId, GroupId};
use crate::observed::{ObservedEndpoint, ObservedGroup, UnprovenReason};
use crate::tags::{ADOPT, Claim, DISPLAY_NAME, Owner};

/// What shows that the object may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// The tag [`ADOPT`].
    Tag,
    /// The Python operator created it for the object, as the object's status says, and the
    /// AWSAccount has `adopt_legacy`; and this security group, where it created one.
    Legacy(Option<GroupId>),
}

impl Consent {
    /// The group that comes with the endpoint.
    pub fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Tag => None,
            Self::Legacy(group) => group.as_ref(),
        }
    }
}

/// What a spec asks to adopt or to observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adoption<'a> {
    /// The endpoint.
    pub id: &'a EndpointId,
    /// What shows that the object may have it.
    pub consent: &'a Consent,
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
        let is_asked_for = *self.id == endpoint.id && !is_owned;
        self.leaves && is_asked_for && (self.observes || consents(owner, self.consent, endpoint))
    }
}

/// Whether the object may have an endpoint that its spec names.
///
/// # Errors
/// Why not.
pub fn check_adoption(
    owner: &Owner,
    expected: &Expected,
    consent: &Consent,
    endpoint: &ObservedEndpoint,
) -> Result<(), UnprovenReason> {
    if owner.claim(&endpoint.tags) == Claim::Another {
        return Err(UnprovenReason::Tags);
    }
    if endpoint.requester_managed {
        return Err(UnprovenReason::RequesterManaged);
    }
    // Nothing is told of what the object may not have.
    if !consents(owner, consent, endpoint) {
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

/// Whether the owner may have the group that the Python operator created with its endpoint. Nothing
/// but the name that it gave shows that.
///
/// # Errors
/// Why not.
pub fn check_legacy_group(owner: &Owner, expected: &Expected, group: &ObservedGroup) -> Result<(), UnprovenReason> {
    if owner.claim(&group.tags) == Claim::Another {
        return Err(UnprovenReason::Tags);
    }
    if group.name != format!("{}-generic", owner.name) {
        return Err(UnprovenReason::Name);
    }
    if group.vpc == expected.vpc {
        Ok(())
    } else {
        Err(UnprovenReason::Vpc)
    }
}

/// Whether the AWS account's administrators let the owner have it.
fn consents(owner: &Owner, consent: &Consent, endpoint: &ObservedEndpoint) -> bool {
    match consent {
        Consent::Tag => endpoint.tags.get(ADOPT) == Some(&owner.consent()),
        Consent::Legacy(_) => endpoint.tags.get(DISPLAY_NAME) == owner.tags().get(DISPLAY_NAME),
    }
}
