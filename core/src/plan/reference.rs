//! Plans what an object publishes that shares the endpoint of another.

use std::collections::BTreeSet;

use super::config_map::content_of_status;
use super::service::{Destination, plan_service, waits_for_dns};
use super::{Plan, plan_config_map, plan_deletion, plan_names, unless_changing};
use crate::api::{DeletionPolicy, EndpointAddress, VPCEndpointStatus};
use crate::conditions::{Finding, Reason};
use crate::desired::DesiredService;
use crate::names::{DesiredNames, ZonalNames};
use crate::observed::{Observed, State};
use crate::sharing::{Publication, Reference};
use crate::slices::{InterfaceAddress, KnownAddresses};
use crate::tags::Owner;

/// Plans Service and names for the endpoint that another object's status describes. What is not
/// wanted rightly is an error, as the condition says it.
pub fn plan_reference(
    owner: &Owner,
    reference: &Reference,
    service: Result<Option<&DesiredService>, &Finding>,
    names: Result<&DesiredNames, &Finding>,
    config_map: bool,
    shared: Option<&VPCEndpointStatus>,
    observed: &Observed,
) -> Plan {
    let endpoint = reference.finding.clone();
    match reference.publication {
        Publication::Stays => {
            let stays = Finding::good(Reason::NotRequested, "what was published stays as it is");
            return Plan {
                steps: Vec::new(),
                endpoint,
                service: stays.clone(),
                names: stays.clone(),
                config_map: stays,
            };
        }
        Publication::Goes => {
            return Plan {
                endpoint,
                ..plan_deletion(owner, observed, Ok(DeletionPolicy::Delete))
            };
        }
        Publication::Follows => {}
    }
    let mut steps = Vec::new();
    let destination = shared.and_then(destination);
    let service = match service {
        Ok(wanted) => plan_service(owner, wanted, destination.as_ref(), observed, &mut steps),
        Err(why) => why.clone(),
    };
    let names = match names {
        Ok(wanted) => plan_names(owner, wanted, destination.as_ref(), &observed.names, &mut steps),
        Err(why) => why.clone(),
    };
    let content = config_map.then(|| shared.and_then(content_of_status));
    let config_map = plan_config_map(
        owner,
        content,
        observed.config_map.as_ref(),
        observed.config_map_unavailable.as_ref(),
        &mut steps,
    );
    let [service, names, config_map] = unless_changing([service, names, config_map], &steps);
    Plan {
        steps,
        endpoint,
        service,
        names,
        config_map,
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
        zonal: match shared.zonal_dns_names.is_empty() {
            true => ZonalNames::Unknown,
            false => ZonalNames::Known(shared.zonal_dns_names.clone()),
        },
    })
}
