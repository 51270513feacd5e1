//! An endpoint that exists already and that the spec names, or that the Python operator created.

use super::endpoint::is_for;
use super::{ResourceId, Step};
use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, Existing};
use crate::observed::{Lookup, Observed, ObservedEndpoint, UnprovenReason};
use crate::ownership::{Consent, Expected, check_adoption, check_legacy_group};
use crate::tags::{ADOPT, Claim, Owner};

/// Before anything else of it is changed what is adopted gets the owner's tags: IAM lets the
/// operator change only what has them. None: there is nothing to adopt, or it is done.
pub(super) fn plan_adoption(
    owner: &Owner,
    desired: &Desired,
    observed: &Observed,
    steps: &mut Vec<Step>,
) -> Option<Finding> {
    let Existing { id, observes, .. } = desired.existing.as_ref()?;
    if let Some(finding) = not_adoptable(owner, desired, observed) {
        return Some(finding);
    }
    let endpoint = observed.endpoint.owned().filter(|found| is_for(found, desired))?;
    let group = observed.group.owned();
    let endpoint = (ResourceId::Endpoint(endpoint.id.clone()), &endpoint.tags);
    let group = group.map(|group| (ResourceId::Group(group.id.clone()), &group.tags));
    let untagged = [Some(endpoint), group].into_iter().flatten();
    let untagged = untagged.filter(|(_, tags)| !observes && owner.claim(tags) != Claim::Ours);
    let before = steps.len();
    steps.extend(untagged.map(|(resource, _)| Step::Tag(resource, owner.identity())));
    (steps.len() > before).then(|| {
        Finding::bad(
            Reason::Updating,
            format!("endpoint {id} is being adopted: it gets the tags of this object"),
        )
    })
}

/// Why the object may not have what exists already, where that is so, and what to do.
pub fn not_adoptable(owner: &Owner, desired: &Desired, observed: &Observed) -> Option<Finding> {
    let Existing { id, consent, .. } = desired.existing.as_ref()?;
    let expected = Expected {
        vpc: desired.vpc.clone(),
        target: desired.target.clone(),
        endpoint_type: desired.attachment.endpoint_type(&desired.target),
        provided: None,
    };
    let why = match &observed.endpoint {
        Lookup::Absent | Lookup::Deleted | Lookup::Unconfirmed => {
            let message = format!(
                "endpoint {id}, which {}, does not exist in AWS account {} in this region: {}",
                named_by(consent),
                desired.account_id,
                match consent {
                    Consent::Tag => "correct vpc_endpoint_id, or leave it out to have an endpoint created",
                    Consent::Legacy(_) => "set vpc_endpoint_id to the endpoint that this object is to have",
                }
            );
            return Some(Finding::bad(Reason::NotFound, message));
        }
        Lookup::Owned(found) if found.id != *id => format!(
            "this object has endpoint {} already: leave vpc_endpoint_id out, or apply another object for {id}",
            found.id
        ),
        Lookup::Unowned(found) | Lookup::Unproven(found, _) => why_not(owner, desired, &expected, consent, found),
        Lookup::Owned(_) => match (consent.group(), &observed.group) {
            (None, _) | (Some(_), Lookup::Owned(_)) => return None,
            (Some(group), Lookup::Unowned(found) | Lookup::Unproven(found, _)) => {
                let why = check_legacy_group(owner, &expected, found);
                let why = why.map_or_else(|reason| reason.to_string(), |()| "it is being read again".to_owned());
                format!("its security group {group} is not the one that the Python operator created: {why}")
            }
            (Some(group), Lookup::Absent | Lookup::Deleted | Lookup::Unconfirmed) => {
                format!("its security group {group}, which the Python operator created, does not exist")
            }
        },
    };
    Some(Finding::bad(
        Reason::NotAdoptable,
        format!("endpoint {id}, which {}, cannot be adopted: {why}", named_by(consent)),
    ))
}

fn named_by(consent: &Consent) -> &'static str {
    match consent {
        Consent::Tag => "vpc_endpoint_id names",
        Consent::Legacy(_) => "the Python operator created",
    }
}

fn why_not(
    owner: &Owner,
    desired: &Desired,
    expected: &Expected,
    consent: &Consent,
    endpoint: &ObservedEndpoint,
) -> String {
    let ObservedEndpoint { id, vpc, target, .. } = endpoint;
    match (check_adoption(owner, expected, consent, endpoint), consent) {
        (Err(UnprovenReason::Tags), _) => "its tags name another VPCEndpoint".to_owned(),
        (Err(UnprovenReason::RequesterManaged), _) => "an AWS service manages it".to_owned(),
        (Err(UnprovenReason::Type), _) => match endpoint.endpoint_type() {
            Some(type_) => format!("it is of type {type_}: set vpc_endpoint_type to {type_}"),
            None => "it is of a type that the operator does not know".to_owned(),
        },
        (Err(UnprovenReason::Vpc), _) => format!("it is in {vpc}: set vpc_id to {vpc}"),
        (Err(UnprovenReason::Service), _) => match target {
            Some(target) => format!("it is for {target}: set {} to {target}", target.field()),
            None => "it is for something that the operator does not know".to_owned(),
        },
        (Err(_), Consent::Legacy(_)) => format!(
            "its tag Name is not {}-{}, which the Python operator sets",
            owner.name, owner.namespace
        ),
        (Err(reason), Consent::Tag) => format!(
            "{reason}. An administrator of AWS account {} lets this object have it by: aws ec2 create-tags --resources {id} \
             --tags Key={ADOPT},Value={}",
            desired.account_id,
            owner.consent()
        ),
        (Ok(()), _) => "it is being read again".to_owned(),
    }
}
