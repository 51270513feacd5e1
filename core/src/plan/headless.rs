//! The headless Service of an endpoint and its EndpointSlices.

use std::collections::BTreeSet;

use super::Step;
use super::service::{Destination, changed, service_conflict, waits};
use crate::conditions::{Finding, Reason};
use crate::desired::DesiredService;
use crate::observed::{Observed, ObservedService, ServiceContent, ServiceTarget, State};
use crate::slices::{AddressFamily, InterfaceAddress, KnownAddresses, ObservedSlice, SliceContent};
use crate::tags::Owner;

/// How a headless Service stands.
pub(super) struct Headless {
    pub(super) finding: Finding,
    /// The EndpointSlices that are wanted, by their names.
    pub(super) slices: BTreeSet<String>,
    /// Whether it takes the place of what was published before.
    pub(super) replaces: bool,
}

impl Headless {
    /// What was published before goes on serving.
    fn unchanged(finding: Finding) -> Self {
        Self {
            finding,
            slices: BTreeSet::new(),
            replaces: false,
        }
    }
}

/// What is to be published of an endpoint's addresses, and how the Service stands then.
struct Wanted {
    addresses: BTreeSet<InterfaceAddress>,
    /// Whether these are all addresses of an available endpoint.
    is_complete: bool,
    finding: Finding,
}

/// Plans the Service, then its EndpointSlices: had another owner a Service of that name, it would
/// get the addresses. `slices` are those of other owners and those whose Service is there.
pub(super) fn plan_headless(
    owner: &Owner,
    service: &DesiredService,
    destination: Option<&Destination>,
    observed: &Observed,
    slices: &[&ObservedSlice],
    steps: &mut Vec<Step>,
) -> Headless {
    let there = observed.services.iter().find(|found| found.name == service.name);
    if there.is_some_and(|found| !found.ours) {
        return Headless::unchanged(service_conflict(owner, &service.name));
    }
    let Some(destination) = destination else {
        return Headless::unchanged(waits());
    };
    let own: Vec<&ObservedSlice> = slices.iter().copied().filter(|slice| is_of(slice, service)).collect();
    let wanted = match wanted(owner, service, &destination.state, &destination.addresses, &own) {
        Ok(wanted) => wanted,
        Err(finding) => return Headless::unchanged(finding),
    };
    if !wanted.is_complete && !there.is_some_and(|found| found.headless) {
        return Headless::unchanged(wanted.finding);
    }
    // The API server takes no cluster IP away, and one with a selector has EndpointSlices of its
    // pods: the Service is created again.
    if there.is_some_and(|found| !found.headless && found.external_name.is_none()) {
        steps.push(Step::DeleteService(service.name.clone()));
        let finding = Finding::bad(
            Reason::Updating,
            "the Service is created again as a headless one without a selector",
        );
        return Headless::unchanged(finding);
    }
    let mut findings: Vec<Finding> = plan_headless_service(owner, service, there, steps)
        .into_iter()
        .collect();
    let contents = contents(service, &wanted, &own);
    let names = contents.iter().map(SliceContent::name).collect();
    for content in contents {
        let found = slices.iter().copied().find(|slice| slice.name == content.name());
        findings.extend(plan_slice(owner, content, found, steps));
    }
    // A conflict before what only differs.
    findings.sort_by_key(|finding| finding.ok);
    Headless {
        finding: findings.into_iter().next().unwrap_or(wanted.finding),
        slices: names,
        replaces: wanted.is_complete,
    }
}

fn is_of(slice: &ObservedSlice, service: &DesiredService) -> bool {
    slice.ours && slice.service.as_ref() == Some(&service.name)
}

/// New addresses are published once the endpoint is available and all of them are known. Until
/// then, only those that the endpoint no longer has are taken away. An error: nothing is known.
fn wanted(
    owner: &Owner,
    service: &DesiredService,
    state: &State,
    addresses: &KnownAddresses,
    own: &[&ObservedSlice],
) -> Result<Wanted, Finding> {
    let is_available = *state == State::Available;
    let waits_for_addresses = || {
        let message = "AWS has not reported the addresses of all network interfaces of the endpoint yet";
        Finding::bad(Reason::WaitingForAddresses, message)
    };
    let known = match addresses {
        KnownAddresses::All(all) if is_available && !all.is_empty() => {
            return Ok(Wanted {
                addresses: all.clone(),
                is_complete: true,
                finding: published(owner, service, all),
            });
        }
        KnownAddresses::Some(known) | KnownAddresses::All(known) => known,
        KnownAddresses::Unreadable(why) => return Err(why.clone()),
        KnownAddresses::Unknown if is_available => return Err(waits_for_addresses()),
        KnownAddresses::Unknown => return Err(waits()),
    };
    let is_there = own.iter().flat_map(|slice| slice.addresses.iter().flatten());
    let left: BTreeSet<InterfaceAddress> = is_there.filter(|address| known.contains(*address)).cloned().collect();
    let finding = match left.is_empty() {
        _ if is_available => waits_for_addresses(),
        true => waits(),
        false => published(owner, service, &left),
    };
    Ok(Wanted {
        addresses: left,
        is_complete: false,
        finding,
    })
}

/// A slice for each family that has addresses, or until they are complete, has a slice.
fn contents(service: &DesiredService, wanted: &Wanted, own: &[&ObservedSlice]) -> Vec<SliceContent> {
    let content = |family| SliceContent {
        service: service.name.clone(),
        family,
        addresses: wanted
            .addresses
            .iter()
            .filter(|address| address.family == family)
            .cloned()
            .collect(),
        ports: service.ports.clone(),
    };
    let has_slice = |family| own.iter().any(|slice| slice.family == Some(family));
    let contents = AddressFamily::ALL.map(content).into_iter();
    contents
        .filter(|content| !content.addresses.is_empty() || (!wanted.is_complete && has_slice(content.family)))
        .collect()
}

fn published(owner: &Owner, service: &DesiredService, addresses: &BTreeSet<InterfaceAddress>) -> Finding {
    let texts: Vec<&str> = addresses.iter().map(|address| address.address.as_str()).collect();
    Finding::good(
        Reason::Published,
        format!(
            "{}.{}.svc has the addresses {}",
            service.name,
            owner.namespace,
            texts.join(", ")
        ),
    )
}

/// Plans the Service; what is to be said where it is stored otherwise than it is written.
fn plan_headless_service(
    owner: &Owner,
    service: &DesiredService,
    there: Option<&ObservedService>,
    steps: &mut Vec<Step>,
) -> Option<Finding> {
    let content = ServiceContent {
        target: ServiceTarget::Addresses,
        ports: service.ports.clone(),
        metadata: service.metadata.clone(),
    };
    let publish = |exists| Step::PublishService {
        name: service.name.clone(),
        target: ServiceTarget::Addresses,
        ports: service.ports.clone(),
        metadata: service.metadata.clone(),
        exists,
    };
    match there {
        None => steps.push(publish(false)),
        Some(found) if found.written_as.as_ref() == Some(&content) => {
            return Some(changed(owner, service, found, &content));
        }
        Some(found) if found.differences(&content).is_empty() => {}
        Some(_) => steps.push(publish(true)),
    }
    None
}

/// Plans one EndpointSlice; what is to be said where it is not as it should be and stays so.
fn plan_slice(
    owner: &Owner,
    content: SliceContent,
    found: Option<&ObservedSlice>,
    steps: &mut Vec<Step>,
) -> Option<Finding> {
    match found {
        Some(found) if !found.ours => return Some(slice_conflict(owner, &found.name)),
        Some(found) if found.written_as.as_ref() == Some(&content) => {
            return Some(changed_slice(owner, found, &content));
        }
        Some(found) if found.differences(&content).is_empty() => {}
        // The family of a slice cannot change.
        Some(found) if found.family != Some(content.family) => {
            steps.push(Step::DeleteSlice(found.name.clone()));
            steps.push(Step::PublishSlice { content, exists: false });
        }
        found => steps.push(Step::PublishSlice {
            content,
            exists: found.is_some(),
        }),
    }
    None
}

/// What the condition says where an EndpointSlice of that name is another's.
pub fn slice_conflict(owner: &Owner, name: &str) -> Finding {
    Finding::bad(
        Reason::ServiceConflict,
        format!(
            "an EndpointSlice {}/{name} exists that this object does not own; it is not changed: set spec.service.name \
             to another name, or delete that EndpointSlice",
            owner.namespace
        ),
    )
}

/// What the condition says of an EndpointSlice that the API server stores otherwise than it is
/// written.
fn changed_slice(owner: &Owner, found: &ObservedSlice, content: &SliceContent) -> Finding {
    let (namespace, name) = (&owner.namespace, &found.name);
    let differs = found.differences(content).join(", ");
    let has_addresses = found.addresses.as_ref() == Some(&content.addresses);
    Finding {
        ok: has_addresses && found.service.as_ref() == Some(&content.service),
        reason: Reason::ServiceChanged,
        message: format!(
            "something changes EndpointSlice {namespace}/{name} when the operator writes it, or right after, so it is not as the \
             endpoint has it ({differs}); the correction is retried with backoff. Ask your platform team: an admission controller, \
             or another controller"
        ),
    }
}
