//! The DNSEndpoint that publishes the names of an endpoint.

use std::collections::BTreeSet;

use super::Step;
use super::service::{Destination, waits, waits_for_dns};
use crate::api::DnsName;
use crate::conditions::{Finding, Reason};
use crate::names::{DesiredNames, DnsEndpointContent, ObservedDnsEndpoint, ObservedNames, Record, ZonalNames};
use crate::observed::State;
use crate::tags::Owner;

/// Plans the DNSEndpoint, which has the object's name.
pub(super) fn plan_names(
    owner: &Owner,
    wanted: &DesiredNames,
    destination: Option<&Destination>,
    observed: &ObservedNames,
    steps: &mut Vec<Step>,
) -> Finding {
    let own = observed.endpoints.iter().filter(|found| found.ours);
    let surplus = own.filter(|found| wanted.names.is_empty() || found.name != owner.name);
    steps.extend(surplus.map(|found| Step::DeleteDnsEndpoint(found.name.clone())));
    if wanted.names.is_empty() {
        return Finding::good(Reason::NotRequested, "spec.dns_names is empty");
    }
    if let Some(why) = &observed.unavailable {
        return why.clone();
    }
    let there = observed.endpoints.iter().find(|found| found.name == owner.name);
    if there.is_some_and(|found| !found.ours) {
        return dns_endpoint_conflict(owner);
    }
    let Some(destination) = destination.filter(|found| found.state == State::Available || there.is_some()) else {
        return waits();
    };
    let mut findings = Vec::new();
    let mut records = BTreeSet::new();
    let mut waits_for_target = false;
    for name in &wanted.names {
        if let Some(other) = observed.taken.get(&name.name) {
            findings.push(taken(&name.name, other));
            continue;
        }
        match target(name, destination) {
            Ok(target) => {
                records.insert(record(name, target));
            }
            Err(why) => {
                // What was published goes on leading where it led.
                let before = there.and_then(|found| found.records.as_ref()).into_iter().flatten();
                records.extend(before.filter(|before| before.name == name.name).cloned());
                waits_for_target = true;
                findings.push(why);
            }
        }
    }
    if !records.is_empty() || !waits_for_target {
        let content = DnsEndpointContent {
            records,
            metadata: wanted.metadata.clone(),
        };
        findings.extend(plan_dns_endpoint(owner, content, there, steps));
    }
    let names: Vec<&str> = wanted.names.iter().map(|name| name.name.as_str()).collect();
    findings.into_iter().next().unwrap_or_else(|| {
        Finding::good(
            Reason::Published,
            format!(
                "DNSEndpoint {}/{} publishes {}",
                owner.namespace,
                owner.name,
                names.join(", ")
            ),
        )
    })
}

fn record(name: &DnsName, target: String) -> Record {
    Record {
        name: name.name.clone(),
        target,
        ttl: name.ttl,
    }
}

/// The endpoint's name that a name leads to.
fn target(name: &DnsName, destination: &Destination) -> Result<String, Finding> {
    let Some(zone) = &name.zone_id else {
        return destination.dns_name.clone();
    };
    match &destination.zonal {
        ZonalNames::Unknown => Err(waits_for_dns()),
        ZonalNames::Unreadable(why) => Err(why.clone()),
        ZonalNames::Known(zonal) => zonal.get(zone).cloned().ok_or_else(|| {
            Finding::bad(
                Reason::NoUsableDNSName,
                format!(
                    "dns_names: {}: the endpoint has no name for the zone {zone}, in which it has no network interface: \
                     add a subnet there, or leave out zone_id",
                    name.name
                ),
            )
        }),
    }
}

/// Plans the DNSEndpoint; what is to be said where it is stored otherwise than it is written.
fn plan_dns_endpoint(
    owner: &Owner,
    content: DnsEndpointContent,
    there: Option<&ObservedDnsEndpoint>,
    steps: &mut Vec<Step>,
) -> Option<Finding> {
    match there {
        None if content.records.is_empty() => None,
        Some(found) if content.records.is_empty() => {
            steps.push(Step::DeleteDnsEndpoint(found.name.clone()));
            None
        }
        Some(found) if found.written_as.as_ref() == Some(&content) => Some(changed(owner, found, &content)),
        Some(found) if found.differences(&content).is_empty() => None,
        _ => {
            steps.push(Step::PublishDnsEndpoint {
                name: owner.name.clone(),
                content,
                exists: there.is_some(),
            });
            None
        }
    }
}

fn taken(name: &str, other: &str) -> Finding {
    Finding::bad(
        Reason::DNSNameConflict,
        format!("dns_names: {name} is published by VPCEndpoint {other}: use another name, or have it removed there"),
    )
}

/// What the condition says where a DNSEndpoint of that name is another's.
pub fn dns_endpoint_conflict(owner: &Owner) -> Finding {
    let Owner { namespace, name, .. } = owner;
    Finding::bad(
        Reason::DNSEndpointConflict,
        format!(
            "a DNSEndpoint {namespace}/{name} exists that this object does not own; it is not changed: delete it, or give \
             this object another name"
        ),
    )
}

/// What the condition says of a DNSEndpoint that the API server stores otherwise than it is
/// written.
fn changed(owner: &Owner, found: &ObservedDnsEndpoint, content: &DnsEndpointContent) -> Finding {
    Finding::bad(
        Reason::DNSEndpointChanged,
        format!(
            "something changes DNSEndpoint {}/{} when the operator writes it, or right after, so it is not as the spec says \
             ({}); the correction is retried with backoff. Ask your platform team: an admission controller, or another controller",
            owner.namespace,
            found.name,
            found.differences(content).join(", ")
        ),
    )
}
