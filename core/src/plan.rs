//! The difference between what should be and what is, as steps that can run now, with ids that are
//! known.

use std::collections::{BTreeMap, BTreeSet};

use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, Groups};
use crate::ids::RouteTableId;
use crate::metadata::Metadata;
use crate::names::DesiredNames;
use crate::observed::{Lookup, Observed, UnprovenReason};
use crate::tags::{self, Claim, Owner};

mod adoption;
mod config_map;
mod deletion;
mod effect;
mod endpoint;
mod group;
mod headless;
mod names;
mod progress;
mod reference;
mod service;
mod simulate;
mod step;

use adoption::plan_adoption;
use config_map::plan_config_map;
use endpoint::plan_endpoint;
use group::plan_group;
use names::plan_names;
use service::{Destination, plan_service};

pub use adoption::not_adoptable;
pub use config_map::config_map_conflict;
pub use deletion::plan_deletion;
pub use effect::{Change, Effect, Outcome};
pub use headless::slice_conflict;
pub use names::dns_endpoint_conflict;
pub use progress::{Fallbacks, Part, Progress, UnfinishedReason, UnfinishedStep};
pub use reference::plan_reference;
pub use service::service_conflict;
pub(crate) use simulate::to_the_end;
pub use simulate::{Simulation, simulate};
pub use step::{ResourceId, Step};

/// What to do now, and how things stand before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In this order; each can run now, unless it [waits](Step::waits_for) for an earlier one that
    /// is not done.
    pub steps: Vec<Step>,
    /// How the endpoint and its group stand. What is planned is not done: good only where no step
    /// is.
    pub endpoint: Finding,
    /// How the Service stands, likewise.
    pub service: Finding,
    /// How the DNS names stand, likewise.
    pub names: Finding,
    /// How the ConfigMap stands, likewise.
    pub config_map: Finding,
}

/// What planning needs beside what is desired and what is there.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The keys of the tags that we set for the user, from status.
    pub tag_keys: &'a [String],
    /// The route tables that we added, from status.
    pub route_tables: &'a BTreeSet<RouteTableId>,
    /// The optional fields of the spec that were applied, from status.
    pub applied_fields: &'a [String],
    /// The id that resumes creation in this region, where it is paused.
    pub paused: Option<&'a str>,
    /// What AWS refused in the usual way.
    pub fallbacks: Fallbacks,
    /// Labels and annotations of the DNSEndpoint.
    pub names_metadata: &'a Metadata,
}

/// Plans towards what is desired.
pub fn plan(owner: &Owner, desired: &Desired, observed: &Observed, context: PlanContext<'_>) -> Plan {
    let mut steps = Vec::new();
    let mut endpoint = plan_in_aws(owner, desired, observed, context, &mut steps);
    if desired.observes() {
        steps.clear();
    }
    let destination = Destination::of(desired, observed);
    let service = plan_service(
        owner,
        desired.service.as_ref(),
        destination.as_ref(),
        observed,
        &mut steps,
    );
    if endpoint.ok && steps.iter().any(Step::is_in_aws) {
        endpoint = Finding::bad(Reason::Updating, "the endpoint is being changed to what the spec says");
    }
    let wanted = DesiredNames {
        names: desired.names.clone(),
        metadata: context.names_metadata.clone(),
    };
    let names = plan_names(owner, &wanted, destination.as_ref(), &observed.names, &mut steps);
    let content = desired.config_map.then(|| {
        let endpoint = observed.endpoint.owned();
        endpoint.map(|endpoint| config_map::content(endpoint, desired, &observed.addresses))
    });
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

/// How Service, names and ConfigMap stand while these steps are planned.
fn unless_changing(findings: [Finding; 3], steps: &[Step]) -> [Finding; 3] {
    let [service, names, config_map] = findings;
    let changing = |finding: Finding, part: Part, what: &str| {
        if !finding.ok || !steps.iter().any(|step| step.part() == part) {
            return finding;
        }
        Finding::bad(
            Reason::Updating,
            format!("the {what} is being changed to what the spec says"),
        )
    };
    [
        changing(service, Part::Service, "Service"),
        changing(names, Part::Names, "DNSEndpoint"),
        changing(config_map, Part::ConfigMap, "ConfigMap"),
    ]
}

/// Plans the group and the endpoint.
fn plan_in_aws(
    owner: &Owner,
    desired: &Desired,
    observed: &Observed,
    context: PlanContext<'_>,
    steps: &mut Vec<Step>,
) -> Finding {
    if let Some(finding) = plan_adoption(owner, desired, observed, steps) {
        return finding;
    }
    let group = plan_group(owner, desired, &observed.group, &observed.endpoint, context, steps);
    let endpoint = match group {
        Ok(groups) => plan_endpoint(owner, desired, observed, groups, context, steps),
        Err(finding) => finding,
    };
    // The group of an endpoint that has none, or has others now.
    let provided = match desired.attachment.groups() {
        Some(Groups::Own(_) | Groups::Kept) => None,
        Some(Groups::Provided(ids)) => Some(ids.clone()),
        None => Some(BTreeSet::new()),
    };
    if let (Some(provided), Some(group)) = (provided, observed.group.owned()) {
        let attached = match &observed.endpoint {
            Lookup::Owned(endpoint) | Lookup::Unowned(endpoint) | Lookup::Unproven(endpoint, _) => {
                // One of a type that the operator does not make may have it.
                let known = endpoint.attachment.known();
                known.is_none_or(|known| known.groups().is_some_and(|groups| groups.contains(&group.id)))
            }
            Lookup::Unconfirmed => true,
            Lookup::Absent | Lookup::Deleted => false,
        };
        // A person may provide the very group that was generated before.
        if !attached && !provided.contains(&group.id) {
            steps.push(Step::DeleteGroup(group.id.clone()));
        }
    }
    endpoint
}

fn plan_tags(
    id: ResourceId,
    desired: &Desired,
    there: &BTreeMap<String, String>,
    context: PlanContext<'_>,
    steps: &mut Vec<Step>,
) {
    let (missing, surplus) = tags::difference(&desired.tags, there, context.tag_keys);
    // Remove first: EC2 allows 50 tags in all.
    if !surplus.is_empty() {
        steps.push(Step::Untag(id.clone(), surplus));
    }
    if !missing.is_empty() {
        steps.push(Step::Tag(id, missing));
    }
}

/// What the condition says while creation is paused.
pub(crate) fn creation_paused(id: &str) -> Finding {
    Finding::bad(
        Reason::CreationPaused,
        format!(
            "many endpoints of this region vanished at once, so creation is paused until the platform team has found the \
             cause and resumes it with the annotation {} of the AWSAccount: resume id {id}",
            crate::api::RESUME_CREATION
        ),
    )
}

/// What the condition says of what carries the object's tags and nothing else that proves it.
fn unproven(kind: &str, id: &str, reason: UnprovenReason) -> Finding {
    Finding::bad(
        Reason::OwnershipLost,
        format!(
            "{kind} {id} carries the tags of this object, but {reason}. Tags alone prove nothing: it is neither \
             changed nor deleted, and no replacement is created. Ask your platform team: if it does not belong to this object, remove its tags {}*",
            tags::RESERVED_PREFIX
        ),
    )
}

fn ownership_lost(owner: &Owner, kind: &str, id: &str, there: &BTreeMap<String, String>) -> Finding {
    if owner.claim(there) == Claim::Another {
        return Finding::bad(
            Reason::OwnershipLost,
            format!(
                "{kind} {id}, which the status names, belongs to another VPCEndpoint by its tags; nothing is changed, \
                 and no replacement is created: ask your platform team, or set deletion_policy to Retain and delete this object"
            ),
        );
    }
    Finding::bad(
        Reason::OwnershipLost,
        format!(
            "{kind} {id} has lost its owner tags ({}, {}, {}); nothing is changed, and no replacement is created: set \
             the tags again, or delete this object",
            tags::CLUSTER,
            tags::NAMESPACE,
            tags::NAME
        ),
    )
}
