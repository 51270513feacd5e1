//! Which endpoint service is the object's own.
//!
//! EC2 says of no endpoint service when it was made, so what cannot be planted is its load
//! balancers: each belongs to at most one endpoint service, so that one with exactly those of the
//! object is the only one that it can have.

use std::collections::BTreeSet;

use super::observed::ObservedEndpointService;
use crate::api::LoadBalancerType;
use crate::ids::EndpointServiceId;
use crate::observed::{Lookup, State, UnprovenReason};
use crate::ownership::LookupById;
use crate::tags::{Claim, Owner};

/// Who claims what is found, and what is known of it beside the tags.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The object.
    pub owner: &'a Owner,
    /// The endpoint service that its status acknowledged.
    pub service: Option<&'a EndpointServiceId>,
    /// The type and the load balancers that its status acknowledged before anything was created.
    pub load_balancers: Option<(LoadBalancerType, &'a BTreeSet<String>)>,
}

/// Whether an endpoint service is proven to be the claimant's: the one place that decides it.
///
/// # Errors
/// Why it is not proven.
pub fn prove(claimant: &Claimant<'_>, service: &ObservedEndpointService) -> Result<(), UnprovenReason> {
    if claimant.owner.claim(&service.tags) != Claim::Ours {
        return Err(UnprovenReason::Tags);
    }
    if claimant.service == Some(&service.id) {
        return Ok(());
    }
    match claimant.load_balancers {
        Some((type_, _)) if type_ != service.load_balancer_type => Err(UnprovenReason::Type),
        Some((_, arns)) if *arns == service.load_balancers => Ok(()),
        Some(_) | None => Err(UnprovenReason::LoadBalancers),
    }
}

/// Distinguishes what is the object's own from what only carries its tags. `by_tags` is all that
/// carries the owner's tags. What has the id that the status names comes first; where that is gone
/// or another's, the status may be older than what is proven otherwise: a backup was restored.
pub fn classify(
    claimant: &Claimant<'_>,
    by_id: LookupById<ObservedEndpointService>,
    by_tags: Vec<ObservedEndpointService>,
) -> Lookup<ObservedEndpointService> {
    let (mut proven, mut unproven) = (None, None);
    let there = by_tags.into_iter().filter(|service| service.state != State::Deleted);
    for service in there {
        match prove(claimant, &service) {
            Ok(()) => proven = proven.or(Some(Lookup::Owned(service))),
            // Of another kind, or of another type than any that was asked for.
            Err(reason) if reason.is_certain() => {}
            Err(reason) => unproven = Some(Lookup::Unproven(service, reason)),
        }
    }
    match by_id {
        LookupById::Found(service) if service.state == State::Deleted => proven.unwrap_or(Lookup::Deleted),
        LookupById::Deleted => proven.unwrap_or(Lookup::Deleted),
        LookupById::Found(service) => match claimant.owner.claim(&service.tags) {
            Claim::Ours => Lookup::Owned(service),
            Claim::Another | Claim::Unowned => proven.unwrap_or(Lookup::Unowned(service)),
        },
        LookupById::Unconfirmed => Lookup::Unconfirmed,
        LookupById::NoId => proven.or(unproven).unwrap_or(Lookup::Absent),
    }
}
