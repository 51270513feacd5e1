//! Plans what an object publishes that shares the endpoint of another.

use std::collections::BTreeSet;

use super::service::{Destination, plan_service, waits_for_dns};
use super::{Plan, plan_deletion, unless_changing};
use crate::api::{DeletionPolicy, EndpointAddress, VPCEndpointStatus};
use crate::conditions::{Finding, Reason};
use crate::desired::DesiredService;
use crate::observed::{Observed, State};
use crate::sharing::{Publication, Reference};
use crate::slices::{InterfaceAddress, KnownAddresses};
use crate::tags::Owner;

/// Plans the Service for the endpoint that another object's status describes.
pub fn plan_reference(
    owner: &Owner,
    reference: &Reference,
    service: Result<Option<&DesiredService>, &Finding>,
    shared: Option<&VPCEndpointStatus>,
    observed: &Observed,
) -> Plan {
    let endpoint = reference.finding.clone();
    let mut steps = Vec::new();
    let service = match (reference.publication, service) {
        (Publication::Stays, _) => Finding::good(Reason::NotRequested, "what was published stays as it is"),
        (Publication::Goes, _) => {
            let deletion = plan_deletion(owner, observed, Ok(DeletionPolicy::Delete));
            steps = deletion.steps;
            Finding::bad(Reason::WaitingForEndpoint, "there is no endpoint to publish")
        }
        (Publication::Follows, Err(why)) => why.clone(),
        (Publication::Follows, Ok(wanted)) => {
            let destination = shared.and_then(destination);
            let finding = plan_service(owner, wanted, destination.as_ref(), observed, &mut steps);
            unless_changing(finding, &steps)
        }
    };
    Plan {
        steps,
        endpoint,
        service,
    }
}

/// The endpoint of another object, by its status.
fn destination(shared: &VPCEndpointStatus) -> Option<Destination> {
    shared.vpc_endpoint_id.as_ref()?;
    let state = shared.state.as_deref().map(State::parse)?;
    let dns_name = shared.dns_name.clone().ok_or_else(|| {
        if shared.dns_entries.is_empty() {
            return waits_for_dns();
        }
        Finding::bad(
            Reason::NoUsableDNSName,
            "the endpoint has no DNS name that a Service can point to: set spec.service.type None and use the names in \
             status.dns_entries",
        )
    });
    let address = |known: &EndpointAddress| InterfaceAddress::parse(&known.address, known.zone.as_deref());
    let addresses: BTreeSet<InterfaceAddress> = shared.addresses.iter().filter_map(address).collect();
    Some(Destination {
        state,
        dns_name,
        addresses: match addresses.is_empty() {
            true => KnownAddresses::Unknown,
            false => KnownAddresses::All(addresses),
        },
    })
}
