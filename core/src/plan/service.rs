//! The Service that leads to the endpoint.

use std::collections::BTreeSet;

use super::Step;
use super::endpoint::is_for;
use super::headless::plan_headless;
use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, DesiredService};
use crate::names::ZonalNames;
use crate::observed::{Observed, ObservedEndpoint, ObservedService, ServiceContent, ServiceTarget, State};
use crate::slices::{KnownAddresses, ObservedSlice};
use crate::tags::Owner;

/// The endpoint that a Service leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// Its state.
    pub(super) state: State,
    /// The name that an ExternalName Service can lead to, or why there is none.
    pub(super) dns_name: Result<String, Finding>,
    /// The addresses of its network interfaces.
    pub(super) addresses: KnownAddresses,
    /// Its names for single zones.
    pub(super) zonal: ZonalNames,
}

impl Destination {
    /// The endpoint that is desired, once it is there.
    pub(super) fn of(desired: &Desired, observed: &Observed) -> Option<Self> {
        let endpoint = observed.endpoint.owned().filter(|endpoint| is_for(endpoint, desired))?;
        Some(Self {
            state: endpoint.state.clone(),
            dns_name: dns_name(endpoint),
            addresses: observed.addresses.clone(),
            zonal: observed.names.zonal.clone(),
        })
    }
}

fn dns_name(endpoint: &ObservedEndpoint) -> Result<String, Finding> {
    endpoint
        .publishable_dns_name()
        .ok_or_else(|| match (&endpoint.state, endpoint.regional_dns_name()) {
            (_, Some(wildcard)) => Finding::bad(
                Reason::NoUsableDNSName,
                format!(
                    "a Service cannot point to {wildcard}: set spec.service.type None and use the names in \
                     status.dns_entries"
                ),
            ),
            (State::Available, None) if endpoint.has_several_dns_names() => Finding::bad(
                Reason::NoUsableDNSName,
                "the endpoint has a DNS name for each resource of a group, and a Service cannot point to several: set \
                 spec.service.type None and use the names in status.dns_entries",
            ),
            (State::Available, None) => waits_for_dns(),
            _ => waits(),
        })
}

/// What the condition says before there is an endpoint.
pub(super) fn waits() -> Finding {
    Finding::bad(Reason::WaitingForEndpoint, "waits for the endpoint")
}

/// What the condition says while an endpoint has no names.
pub(super) fn waits_for_dns() -> Finding {
    Finding::bad(
        Reason::WaitingForDNS,
        "AWS has not reported the endpoint's DNS name yet",
    )
}

/// Plans the Service that is wanted, and that what is not wanted any more goes.
pub(super) fn plan_service(
    owner: &Owner,
    wanted: Option<&DesiredService>,
    destination: Option<&Destination>,
    observed: &Observed,
    steps: &mut Vec<Step>,
) -> Finding {
    let is_served = |slice: &ObservedSlice| {
        let mut services = observed.services.iter();
        services.any(|service| service.ours && slice.service.as_ref() == Some(&service.name))
    };
    // Another's Service of that name would get the addresses.
    let (served, unserved): (Vec<_>, Vec<_>) = observed
        .slices
        .iter()
        .partition(|slice| !slice.ours || is_served(slice));
    steps.extend(unserved.iter().map(|slice| Step::DeleteSlice(slice.name.clone())));
    let mut slices = BTreeSet::new();
    let (finding, replaces) = match wanted {
        Some(wanted) if wanted.headless => {
            let headless = plan_headless(owner, wanted, destination, observed, &served, steps);
            slices = headless.slices;
            (headless.finding, headless.replaces)
        }
        Some(wanted) => (plan_publication(owner, wanted, destination, observed, steps), true),
        None => (Finding::good(Reason::NotRequested, "spec.service.type is None"), true),
    };
    if !finding.ok || !replaces {
        return finding;
    }
    // One of another name is used until the one that is wanted replaces it.
    for service in observed.services.iter().filter(|service| service.ours) {
        if wanted.is_none_or(|wanted| wanted.name != service.name) {
            steps.push(Step::DeleteService(service.name.clone()));
        }
    }
    for slice in served
        .iter()
        .filter(|slice| slice.ours && !slices.contains(&slice.name))
    {
        steps.push(Step::DeleteSlice(slice.name.clone()));
    }
    finding
}

fn plan_publication(
    owner: &Owner,
    wanted: &DesiredService,
    destination: Option<&Destination>,
    observed: &Observed,
    steps: &mut Vec<Step>,
) -> Finding {
    let there = observed.services.iter().find(|service| service.name == wanted.name);
    if there.is_some_and(|service| !service.ours && !service.may_be_restored()) {
        return service_conflict(owner, &wanted.name);
    }
    let Some(destination) = destination else {
        return waits();
    };
    let external_name = match &destination.dns_name {
        Ok(name) => name.clone(),
        Err(why) => return why.clone(),
    };
    if destination.state != State::Available && there.is_none() {
        return waits();
    }
    let target = ServiceTarget::Name(external_name.clone());
    let content = ServiceContent {
        target: target.clone(),
        ports: wanted.ports.clone(),
        metadata: wanted.metadata.clone(),
    };
    if let Some(service) = there {
        if service.written_as.as_ref() == Some(&content) {
            return changed(owner, wanted, service, &content);
        }
        // A Service that points to this endpoint is taken over.
        let leads_here = service.external_name.as_ref() == Some(&external_name);
        if !service.ours && !leads_here {
            return restored_conflict(owner, wanted, service);
        }
    }
    if there.is_none_or(|service| !service.differences(&content).is_empty()) {
        steps.push(Step::PublishService {
            name: wanted.name.clone(),
            target,
            ports: wanted.ports.clone(),
            metadata: wanted.metadata.clone(),
            exists: there.is_some(),
        });
    }
    Finding::good(
        Reason::Published,
        format!("{}.{}.svc points to {external_name}", wanted.name, owner.namespace),
    )
}

/// What the condition says where a Service of that name is another's.
pub fn service_conflict(owner: &Owner, name: &str) -> Finding {
    Finding::bad(
        Reason::ServiceConflict,
        format!(
            "a Service {}/{name} exists that this object does not own; it is not changed: set spec.service.name to \
             another \
             name, or delete that Service",
            owner.namespace
        ),
    )
}

/// What the condition says of a Service that the API server stores otherwise than it is written. If
/// it leads to the endpoint it serves.
pub(super) fn changed(
    owner: &Owner,
    wanted: &DesiredService,
    found: &ObservedService,
    content: &ServiceContent,
) -> Finding {
    let Owner { namespace, .. } = owner;
    let name = &wanted.name;
    let differs = found.differences(content).join(", ");
    let target = &content.target;
    let leads = found.leads_to_target(target);
    let how = match &found.external_name {
        _ if leads => format!("{name}.{namespace}.svc points to {target}"),
        Some(elsewhere) => format!("{name}.{namespace}.svc points to {elsewhere}, not to {target}"),
        None => format!("{name}.{namespace}.svc does not point to {target}"),
    };
    let message = format!(
        "{how}. Something changes Service {namespace}/{name} when the operator writes it, or right after, so it is not as the spec says \
         ({differs}); the correction is retried with backoff. Ask your platform team: an admission controller, or another controller"
    );
    Finding {
        ok: leads,
        reason: Reason::ServiceChanged,
        message,
    }
}

/// What the condition says of a Service with our label and without an owner that leads elsewhere.
fn restored_conflict(owner: &Owner, wanted: &DesiredService, found: &ObservedService) -> Finding {
    let Owner { namespace, .. } = owner;
    let name = &wanted.name;
    let elsewhere = found.external_name.as_deref().unwrap_or_default();
    Finding::bad(
        Reason::ServiceConflict,
        format!(
            "Service {namespace}/{name} has the operator's label and no owner, like one restored from a backup, and \
             points to {elsewhere}, not to this endpoint; it is not changed: set spec.service.name to another name, \
             or delete that Service (kubectl delete service \
             {name} --namespace {namespace}), and it is created again"
        ),
    )
}
