//! Looks: what the region's snapshot and the Service cache hold for an object.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use vpce_core::addresses;
use vpce_core::api::{EndpointType, ManagementPolicy, VPCEndpointStatus};
use vpce_core::desired::{Desired, DesiredService};
use vpce_core::ids::{EndpointId, GroupId};
use vpce_core::observed::{Lookup, Observed, ObservedService, State};
use vpce_core::ownership::{self, Adoption, Claimant, Consent, Expected};
use vpce_core::slices::{KnownAddresses, ObservedSlice};
use vpce_core::tags::Owner;

use super::context::Context;
use super::dns_endpoint;
use crate::aws::ec2::Ec2;
use crate::aws::region::{AccountRegion, RefreshError};
use crate::endpoint::{service, slices};
use crate::k8s::caches::Endpoint;

/// How old an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age(pub Duration);

/// Looks, reading from AWS only what is too old or at work.
pub(crate) async fn observe(
    ctx: &Context,
    region: &AccountRegion,
    ec2: &Ec2,
    owner: &Owner,
    status: &VPCEndpointStatus,
    desired: Option<&Desired>,
    age: Age,
) -> Result<(), RefreshError> {
    let (endpoint, group) = known(status, desired);
    region
        .refresh(
            ec2,
            owner,
            (endpoint.as_ref(), group.as_ref()),
            age.0.min(ctx.shared.resync_interval()),
        )
        .await
}

/// Adds what DescribeVpcEndpoints does not say of an endpoint that is available.
pub(crate) async fn complete(
    ctx: &Context,
    region: &AccountRegion,
    ec2: &Ec2,
    seen: &mut Observed,
) -> Result<(), RefreshError> {
    let Lookup::Owned(endpoint) = &mut seen.endpoint else {
        return Ok(());
    };
    let max_age = ctx.shared.resync_interval();
    match (endpoint.endpoint_type(), &endpoint.target) {
        _ if endpoint.state != State::Available => {}
        (Some(EndpointType::ServiceNetwork), _) => {
            region.refresh_network_names(ec2, &endpoint.id, max_age).await?;
            endpoint.dns_names = region.network_names(&endpoint.id);
        }
        (Some(EndpointType::Gateway), Some(target)) => {
            let service = target.to_string();
            region.refresh_prefix_list(ec2, &service, max_age).await?;
            seen.prefix_list_id = region.prefix_list(&service);
        }
        _ => {}
    }
    Ok(())
}

/// What was found and is the object's own, without reading anything; addresses are added to it
/// where they are asked for.
pub(crate) fn found(
    ctx: &Context,
    region: &AccountRegion,
    owner: &Owner,
    object: &Arc<Endpoint>,
    status: &VPCEndpointStatus,
    desired: Option<&Desired>,
) -> Observed {
    let (endpoint, group) = known(status, desired);
    let found = region.find(owner, (endpoint.as_ref(), group.as_ref()));
    let expected = object.spec.as_ref().ok();
    let expected =
        expected.and_then(|spec| Expected::of(spec, status, region.key.partition, region.key.region.as_str()));
    let acknowledged = status.vpc_endpoint_id.as_deref().map(Into::into);
    let acknowledged_group = status.security_group_id.as_deref().map(Into::into);
    let claimant = Claimant {
        owner,
        endpoint: acknowledged.as_ref(),
        group: acknowledged_group.as_ref(),
        expected: expected.as_ref(),
        adoption: adoption(object, endpoint.as_ref(), desired),
        object_since: object.creation_timestamp().map(|time| time.0.as_second()),
        cluster_since: ctx.shared.cluster_since,
    };
    let wanted = desired.and_then(|desired| desired.service.as_ref());
    let mut own = ownership::classify(&claimant, found.endpoints, found.groups);
    if let Lookup::Owned(endpoint) = &mut own.endpoint {
        endpoint.options.addresses = addresses::of_status(&status.subnet_configurations);
    }
    Observed {
        endpoint: own.endpoint,
        spare_endpoints: own.spare_endpoints,
        group: own.group,
        services: services(ctx, object, status, wanted),
        prefix_list_id: None,
        slices: slices(ctx, object, wanted),
        addresses: KnownAddresses::Unknown,
        names: dns_endpoint::observe(ctx, object, desired.map_or(&[], |desired| &desired.names)),
        config_map: None,
        config_map_unavailable: None,
    }
}

/// The EndpointSlices that may be the object's.
pub(crate) fn slices(ctx: &Context, object: &Endpoint, wanted: Option<&DesiredService>) -> Vec<ObservedSlice> {
    let service = wanted
        .filter(|service| service.headless)
        .map(|service| service.name.as_str());
    let written = ctx.memories.with(object, |memory| memory.own.writes.slices.clone());
    slices::observe(&ctx.shared.caches, object, &written, service)
}

/// The ids that the status acknowledged; and before that the endpoint that the spec names.
fn known(status: &VPCEndpointStatus, desired: Option<&Desired>) -> (Option<EndpointId>, Option<GroupId>) {
    let existing = desired.and_then(|desired| desired.existing.as_ref());
    let acknowledged = status.vpc_endpoint_id.as_deref().map(EndpointId::from);
    (
        acknowledged.or_else(|| existing.map(|existing| existing.id.clone())),
        status
            .security_group_id
            .as_deref()
            .map(GroupId::from)
            .or_else(|| existing.and_then(|existing| existing.consent.group().cloned())),
    )
}

/// What the object asks to adopt or to observe; of one that leaves its endpoint, what it has asked
/// for.
fn adoption<'a>(
    object: &Endpoint,
    endpoint: Option<&'a EndpointId>,
    desired: Option<&'a Desired>,
) -> Option<Adoption<'a>> {
    match desired {
        Some(desired) => desired.existing.as_ref().map(|existing| Adoption {
            id: &existing.id,
            consent: &existing.consent,
            observes: existing.observes,
            leaves: false,
        }),
        None => endpoint.filter(|_| object.status.adopted).map(|id| Adoption {
            id,
            consent: &Consent::Tag,
            observes: match &object.spec {
                Ok(spec) => spec.management_policy,
                Err(unparsed) => unparsed.management_policy(),
            } == ManagementPolicy::Observe,
            leaves: true,
        }),
    }
}

/// The Services that may be the object's: of the name that it wants, that status knows, that it has
/// by default.
pub(crate) fn services(
    ctx: &Context,
    object: &Arc<Endpoint>,
    status: &VPCEndpointStatus,
    wanted: Option<&DesiredService>,
) -> Vec<ObservedService> {
    let names = [
        wanted.map(|service| service.name.as_str()),
        status.service.as_ref().map(|service| service.name.as_str()),
        object.metadata.name.as_deref(),
    ];
    let caches = &ctx.shared.caches;
    let (written, changed) = ctx.memories.with(object, |memory| {
        memory.own.writes.forget_cached_services(caches, object);
        (
            memory.own.writes.services.clone(),
            memory.own.writes.corrections.changed.clone(),
        )
    });
    let names = names.into_iter().flatten();
    service::observe(caches, object, &written, changed.as_deref(), names)
}
