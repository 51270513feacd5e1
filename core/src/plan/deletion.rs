//! Plans the deletion of what an object owns.

use std::collections::BTreeMap;

use super::{Part, Plan, ResourceId, Step};
use crate::api::DeletionPolicy;
use crate::conditions::{Finding, Reason};
use crate::desired::MAX_TAGS;
use crate::observed::{Lookup, Observed, ObservedEndpoint, State};
use crate::tags::{self, Claim, Owner};

/// Plans towards nothing: what is published first, then the endpoint, then the group. No
/// steps and a finding that is `ok` mean that nothing is left. While the deletion policy is not
/// allowed, what there is stays as it is, and so does the object, which says why.
pub fn plan_deletion(owner: &Owner, observed: &Observed, policy: Result<DeletionPolicy, &Finding>) -> Plan {
    if let Err(why) = policy
        && is_anything_left(observed)
    {
        return Plan {
            steps: Vec::new(),
            endpoint: why.clone(),
            service: Finding::good(Reason::NotRequested, "the object is being deleted"),
            names: Finding::good(Reason::NotRequested, "the object is being deleted"),
            config_map: Finding::good(Reason::NotRequested, "the object is being deleted"),
        };
    }
    let mut steps: Vec<Step> = observed
        .services
        .iter()
        .filter(|service| service.ours)
        .map(|service| Step::DeleteService(service.name.clone()))
        .collect();
    let slices = observed.slices.iter().filter(|slice| slice.ours);
    steps.extend(slices.map(|slice| Step::DeleteSlice(slice.name.clone())));
    let dns_endpoints = observed.names.endpoints.iter().filter(|found| found.ours);
    steps.extend(dns_endpoints.map(|found| Step::DeleteDnsEndpoint(found.name.clone())));
    let config_map = observed.config_map.iter().filter(|found| found.ours);
    steps.extend(config_map.map(|found| Step::DeleteConfigMap(found.name.clone())));
    let standing = |part, what: &str| match steps.iter().any(|step| step.part() == part) {
        false => Finding::good(Reason::NotRequested, "the object is being deleted"),
        true => Finding::bad(Reason::Deleting, format!("{what} is being deleted")),
    };
    let service = standing(Part::Service, "the Service");
    let names = standing(Part::Names, "the DNSEndpoint");
    let config_map = standing(Part::ConfigMap, "the ConfigMap");
    let endpoint = match policy {
        Ok(DeletionPolicy::Retain) => plan_retain(owner, observed, &mut steps),
        Ok(DeletionPolicy::Delete) | Err(_) => plan_delete(owner, observed, &mut steps),
    };
    Plan {
        steps,
        endpoint,
        service,
        names,
        config_map,
    }
}

/// Whether AWS has something of the object, or may have.
fn is_anything_left(observed: &Observed) -> bool {
    let is_there = |endpoint: &ObservedEndpoint| endpoint.state != State::Deleted;
    let endpoint = match &observed.endpoint {
        Lookup::Owned(endpoint) | Lookup::Unowned(endpoint) => is_there(endpoint),
        Lookup::Unconfirmed => true,
        Lookup::Absent | Lookup::Deleted | Lookup::Unproven(..) => false,
    };
    let group = !matches!(observed.group, Lookup::Absent | Lookup::Deleted | Lookup::Unproven(..));
    endpoint || group || observed.spare_endpoints.iter().any(is_there)
}

fn plan_retain(owner: &Owner, observed: &Observed, steps: &mut Vec<Step>) -> Finding {
    let endpoints = observed.endpoint.owned().into_iter().chain(&observed.spare_endpoints);
    let endpoints = endpoints.filter(|endpoint| endpoint.state != State::Deleted);
    let resources = endpoints
        .map(|endpoint| (ResourceId::Endpoint(endpoint.id.clone()), &endpoint.tags))
        .chain(
            observed
                .group
                .owned()
                .map(|group| (ResourceId::Group(group.id.clone()), &group.tags)),
        );
    for (id, there) in resources {
        if there.len() >= MAX_TAGS && !there.contains_key(tags::RETAINED) {
            // Room for the mark; the UID does not decide whose it is.
            steps.push(Step::Untag(id.clone(), [tags::UID.to_owned()].into()));
        }
        // The mark first: a crash in between leaves what is still ours.
        let mark = tags::retained_mark(there);
        if there.get(tags::RETAINED) != Some(&mark) {
            steps.push(Step::Tag(
                id.clone(),
                BTreeMap::from([(tags::RETAINED.to_owned(), mark)]),
            ));
        }
        steps.push(Step::Untag(id, owner.keys()));
    }
    if observed.endpoint == Lookup::Unconfirmed || observed.group == Lookup::Unconfirmed {
        return Finding::bad(
            Reason::Deleting,
            "AWS does not return all that is to be retained; reading again before the finalizer is removed",
        );
    }
    if steps.iter().any(Step::is_in_aws) {
        return Finding::bad(Reason::Deleting, "the AWS resources are being marked as retained");
    }
    Finding::good(Reason::Deleting, "the AWS resources are retained")
}

fn plan_delete(owner: &Owner, observed: &Observed, steps: &mut Vec<Step>) -> Finding {
    match &observed.endpoint {
        Lookup::Unowned(endpoint) => {
            return ownership_lost_on_deletion(owner, "endpoint", endpoint.id.as_str(), &endpoint.tags);
        }
        Lookup::Unconfirmed => {
            return Finding::bad(
                Reason::Deleting,
                "AWS does not return the endpoint; reading again to confirm that it is gone",
            );
        }
        // What only carries the tags is an orphan, and stays.
        Lookup::Owned(_) | Lookup::Absent | Lookup::Deleted | Lookup::Unproven(..) => {}
    }
    let left: Vec<&ObservedEndpoint> = observed
        .endpoint
        .owned()
        .into_iter()
        .chain(&observed.spare_endpoints)
        .filter(|endpoint| endpoint.state != State::Deleted)
        .collect();
    for endpoint in &left {
        if endpoint.state != State::Deleting {
            steps.push(Step::DeleteEndpoint(endpoint.id.clone()));
        }
    }
    if let Some(endpoint) = left.first() {
        return Finding::bad(Reason::Deleting, format!("endpoint {} is being deleted", endpoint.id));
    }
    match &observed.group {
        Lookup::Unowned(group) => ownership_lost_on_deletion(owner, "security group", group.id.as_str(), &group.tags),
        Lookup::Unconfirmed => Finding::bad(
            Reason::Deleting,
            "AWS does not return the security group; reading again to confirm that it is gone",
        ),
        Lookup::Owned(group) => {
            steps.push(Step::DeleteGroup(group.id.clone()));
            Finding::bad(
                Reason::Deleting,
                format!("security group {} is being deleted", group.id),
            )
        }
        Lookup::Absent | Lookup::Deleted | Lookup::Unproven(..) => {
            Finding::good(Reason::Deleting, "nothing is left in AWS")
        }
    }
}

fn ownership_lost_on_deletion(owner: &Owner, kind: &str, id: &str, there: &BTreeMap<String, String>) -> Finding {
    if owner.claim(there) == Claim::Another {
        return Finding::bad(
            Reason::OwnershipLost,
            format!(
                "{kind} {id}, which the status names, belongs to another VPCEndpoint by its tags, so it is not deleted: set \
                 deletion_policy to Retain to delete this object without it"
            ),
        );
    }
    Finding::bad(
        Reason::OwnershipLost,
        format!(
            "{kind} {id} has lost its owner tags, so it is not deleted. If it belongs to this object, run: aws ec2 \
             create-tags \
             --resources {id} --tags {}; if it does not, set deletion_policy to Retain",
            owner.as_arguments()
        ),
    )
}
