//! An endpoint that exists already and that the spec names.

use std::collections::BTreeMap;

use super::endpoint::is_for;
use super::{ResourceId, Step};
use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, Existing};
use crate::observed::{Lookup, ObservedEndpoint, UnprovenReason};
use crate::ownership::{Expected, check_adoption};
use crate::tags::{ADOPT, Claim, Owner};

/// Before anything else of it is changed an endpoint that is adopted gets the owner's tags: IAM
/// lets the operator change only what has them. None: there is nothing to adopt, or it is done.
pub(super) fn plan_adoption(
    owner: &Owner,
    desired: &Desired,
    endpoint: &Lookup<ObservedEndpoint>,
    steps: &mut Vec<Step>,
) -> Option<Finding> {
    let Existing { id, observes } = desired.existing.as_ref()?;
    match endpoint {
        Lookup::Absent | Lookup::Deleted | Lookup::Unconfirmed => Some(Finding::bad(
            Reason::NotFound,
            format!(
                "endpoint {id}, which vpc_endpoint_id names, does not exist in AWS account {} in this region: correct \
                 vpc_endpoint_id, or leave it out to have an endpoint created",
                desired.account_id
            ),
        )),
        Lookup::Owned(found) if found.id != *id => Some(Finding::bad(
            Reason::NotAdoptable,
            format!(
                "vpc_endpoint_id names {id}, but this object has endpoint {} already: leave vpc_endpoint_id out, or apply \
                 another object for {id}",
                found.id
            ),
        )),
        Lookup::Unowned(found) | Lookup::Unproven(found, _) => Some(not_adoptable(owner, desired, found)),
        Lookup::Owned(found) => {
            let is_claimed = owner.claim(&found.tags) == Claim::Ours;
            if *observes || is_claimed || !is_for(found, desired) {
                return None;
            }
            let tags: BTreeMap<String, String> = owner
                .keys()
                .into_iter()
                .filter_map(|key| desired.tags.get_key_value(&key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            steps.push(Step::Tag(ResourceId::Endpoint(found.id.clone()), tags));
            Some(Finding::bad(
                Reason::Updating,
                format!("endpoint {id} is being adopted: it gets the tags of this object"),
            ))
        }
    }
}

/// Why the object may not have what the spec names, and what to do.
fn not_adoptable(owner: &Owner, desired: &Desired, endpoint: &ObservedEndpoint) -> Finding {
    let expected = Expected {
        vpc: desired.vpc.clone(),
        target: desired.target.clone(),
        endpoint_type: desired.attachment.endpoint_type(&desired.target),
        provided: None,
    };
    let ObservedEndpoint { id, vpc, target, .. } = endpoint;
    let why = match check_adoption(owner, &expected, endpoint) {
        Err(UnprovenReason::Tags) => "its tags name another VPCEndpoint".to_owned(),
        Err(UnprovenReason::RequesterManaged) => "an AWS service manages it".to_owned(),
        Err(UnprovenReason::Type) => match endpoint.endpoint_type() {
            Some(type_) => format!("it is of type {type_}: set vpc_endpoint_type to {type_}"),
            None => "it is of a type that the operator does not know".to_owned(),
        },
        Err(UnprovenReason::Vpc) => format!("it is in {vpc}: set vpc_id to {vpc}"),
        Err(UnprovenReason::Service) => match target {
            Some(target) => format!("it is for {target}: set {} to {target}", target.field()),
            None => "it is for something that the operator does not know".to_owned(),
        },
        Err(reason) => format!(
            "{reason}. An administrator of AWS account {} lets this object have it by: aws ec2 create-tags --resources {id} --tags \
             Key={ADOPT},Value={}",
            desired.account_id,
            owner.consent()
        ),
        Ok(()) => "it is being read again".to_owned(),
    };
    Finding::bad(
        Reason::NotAdoptable,
        format!("endpoint {id}, which vpc_endpoint_id names, cannot be adopted or observed: {why}"),
    )
}
