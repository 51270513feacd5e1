//! What the status of an object takes over of what was observed.

use std::collections::BTreeSet;

use vpce_core::addresses;
use vpce_core::api::{DnsName, EndpointAddress, NetworkStatus, PublishedService, VPCEndpointStatus};
use vpce_core::desired::{Desired, DesiredService, Groups};
use vpce_core::names::ZonalNames;
use vpce_core::observed::{Lookup, Observed};
use vpce_core::slices::{InterfaceAddress, KnownAddresses};
use vpce_core::tags::{DISPLAY_NAME, RESERVED_PREFIX};

use super::findings::Findings;
use super::status::{Applied, has_provided_groups, network, set_target};

/// Takes over what was observed; `was_ready` says whether the object was Ready, for this
/// generation, before.
pub(crate) fn endpoint(
    status: &mut VPCEndpointStatus,
    observed: &Observed,
    desired: Option<&Desired>,
    namespace: &str,
    findings: &Findings,
    was_ready: bool,
) {
    // The status has nothing of what is not the object's own: another may have written the id into
    // it.
    if let Lookup::Owned(resource) = &observed.endpoint {
        let mut names = resource.dns_names.clone();
        names.sort();
        let mut interfaces = resource.interfaces.clone();
        interfaces.sort();
        status.vpc_endpoint_id = Some(resource.id.to_string());
        status.state = Some(resource.state.to_string());
        status.dns_name = resource.publishable_dns_name();
        status.dns_entries = names;
        status.prefix_list_id.clone_from(&observed.prefix_list_id);
        status.network_interface_ids = interfaces;
        // An interface keeps its addresses for as long as it is there.
        if let KnownAddresses::All(all) = &observed.addresses {
            let address = |known: &InterfaceAddress| EndpointAddress {
                address: known.address.clone(),
                zone: known.zone.clone(),
            };
            status.addresses = all.iter().map(address).collect();
        }
        // What AWS has fixed is what the schema holds the spec to from now on.
        let subnets_there = || {
            let attachment = resource.attachment.known().into_iter();
            let subnets = attachment.flat_map(|attachment| attachment.subnets());
            subnets.map(ToString::to_string).collect()
        };
        let network = match desired {
            Some(desired) if !desired.adopted.is_some_and(|kept| kept.subnets) => network(desired),
            _ => NetworkStatus {
                subnet_ids: subnets_there(),
                ..desired
                    .map(network)
                    .or_else(|| status.network.take())
                    .unwrap_or_default()
            },
        };
        status.network = Some(NetworkStatus {
            vpc_id: resource.vpc.to_string(),
            ..network
        });
        if let Some(target) = &resource.target {
            set_target(status, target);
        }
        status.vpc_endpoint_type = resource.endpoint_type().or(status.vpc_endpoint_type);
    }
    match &observed.group {
        Lookup::Owned(resource) => status.security_group_id = Some(resource.id.to_string()),
        Lookup::Absent | Lookup::Deleted => status.security_group_id = None,
        Lookup::Unowned(_) | Lookup::Unproven(..) | Lookup::Unconfirmed => {}
    }
    let Some(desired) = desired else {
        return;
    };
    // What is not desired any more is forgotten: should it be desired again, it is sent again.
    let mut accepted = addresses::of_status(&status.subnet_configurations);
    accepted.retain(|subnet, addresses| desired.options.addresses.get(subnet) == Some(addresses));
    status.subnet_configurations = addresses::to_status(&accepted);
    if observed.endpoint.owned().is_some() {
        // From here on its id is the proof.
        status.provided_security_groups = has_provided_groups(desired);
    }
    // A key that is no longer wanted is forgotten when no tag has it any more: taking it away may
    // have failed, or waits. What is not in sight may have it, and what was tagged just now may be
    // shown without.
    let own_group = matches!(desired.attachment.groups(), Some(Groups::Own(_)));
    let in_sight = observed.endpoint.owned().is_some() && (observed.group.owned().is_some() || !own_group);
    let mut keys = tag_keys(desired);
    let is_left = |key: &&String| {
        if !was_ready || !in_sight {
            return true;
        }
        let endpoint = matches!(&observed.endpoint, Lookup::Owned(resource) if resource.tags.contains_key(*key));
        endpoint || matches!(&observed.group, Lookup::Owned(resource) if resource.tags.contains_key(*key))
    };
    keys.extend(status.tag_keys.iter().filter(is_left).cloned());
    status.tag_keys = keys.into_iter().collect();
    let mut applied = Applied::of(desired);
    let is_done = was_ready && findings.endpoint.as_ref().is_some_and(|finding| finding.ok);
    if !is_done {
        // What is not desired any more may not have been taken back yet.
        applied = applied.and(Applied::known(status));
    }
    applied.write(status);
    service(status, observed, desired.service.as_ref(), namespace, findings);
    names(status, observed, &desired.names);
    config_map(status, observed);
}

/// Takes over the DNS names that are published. Where that cannot be seen, those stay that are
/// still wanted: they are not given up.
pub(crate) fn names(status: &mut VPCEndpointStatus, observed: &Observed, wanted: &[DnsName]) {
    if let ZonalNames::Known(zonal) = &observed.names.zonal {
        status.zonal_dns_names.clone_from(zonal);
    }
    if observed.names.unavailable.is_some() {
        let is_wanted = |name: &String| wanted.iter().any(|wanted| wanted.name == *name);
        status.dns_names.retain(is_wanted);
        return;
    }
    let own = observed.names.endpoints.iter().filter(|found| found.ours);
    let records = own.filter_map(|found| found.records.as_ref()).flatten();
    let names: BTreeSet<&String> = records.map(|record| &record.name).collect();
    status.dns_names = names.into_iter().cloned().collect();
}

/// Takes over the ConfigMap that is published.
pub(crate) fn config_map(status: &mut VPCEndpointStatus, observed: &Observed) {
    let own = observed.config_map.as_ref().filter(|found| found.ours);
    if own.is_some() || observed.config_map_unavailable.is_none() {
        status.config_map = own.map(|found| found.name.clone());
    }
}

/// Takes over the Service that was observed.
pub(crate) fn service(
    status: &mut VPCEndpointStatus,
    observed: &Observed,
    desired: Option<&DesiredService>,
    namespace: &str,
    findings: &Findings,
) {
    let published = findings.service.as_ref().is_some_and(|finding| finding.ok);
    status.service = match desired {
        Some(service) if published => Some(PublishedService {
            name: service.name.clone(),
            host: format!("{}.{namespace}.svc", service.name),
        }),
        // Kept until its Service is deleted: it may have another name than the one that is wanted
        // now.
        _ if observed.services.iter().any(|service| service.ours) => status.service.take(),
        _ => None,
    };
}

/// Takes over what another object's status says of the endpoint that the object shares; none:
/// there is none.
pub(crate) fn shared_endpoint(status: &mut VPCEndpointStatus, shared: Option<&VPCEndpointStatus>) {
    let none = VPCEndpointStatus::default();
    let shared = shared
        .filter(|shared| shared.vpc_endpoint_id.is_some())
        .unwrap_or(&none);
    status.region.clone_from(&shared.region);
    status.vpc_endpoint_type = shared.vpc_endpoint_type;
    status
        .vpc_endpoint_service_id
        .clone_from(&shared.vpc_endpoint_service_id);
    status.service_region.clone_from(&shared.service_region);
    status.vpc_endpoint_id.clone_from(&shared.vpc_endpoint_id);
    status.state.clone_from(&shared.state);
    status.dns_name.clone_from(&shared.dns_name);
    status.dns_entries.clone_from(&shared.dns_entries);
}

/// The keys of the tags that we set for the user.
pub(crate) fn tag_keys(desired: &Desired) -> BTreeSet<String> {
    let users = |key: &&String| !key.starts_with(RESERVED_PREFIX) && key.as_str() != DISPLAY_NAME;
    let set = desired.tags.keys().filter(|_| !desired.observes());
    set.filter(users).cloned().collect()
}
