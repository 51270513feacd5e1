//! The difference between what should be and what is, as steps that can run now.

use std::collections::BTreeSet;

use super::connections::{plan_connections, waiting};
use super::desired::Desired;
use super::observed::{Observed, ObservedEndpointService, Verification};
use super::step::{ServiceChange, Step};
use crate::conditions::{Finding, Reason};
use crate::observed::{Lookup, State, UnprovenReason};
use crate::plan::creation_paused;
use crate::tags::{self, Claim, Owner};

/// What to do now, and how things stand before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In this order; each can run now, unless it [waits](Step::waits_for) for an earlier one that
    /// is not done.
    pub steps: Vec<Step>,
    /// How the load balancers stand. What is planned is not done: good only where no step is.
    pub load_balancers: Finding,
    /// How the endpoint service stands, likewise; but for its connections, which come and go.
    pub service: Finding,
    /// How its private DNS name stands.
    pub private_dns: Finding,
}

/// What planning needs beside what is desired and what is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanContext<'a> {
    /// The keys of the tags that we set for the user, from status.
    pub tag_keys: &'a [String],
    /// The accounts whose connections were accepted, from status.
    pub consumers: &'a [String],
    /// The id that resumes creation in this region, where it is paused.
    pub paused: Option<&'a str>,
    /// Whether AWS may be asked to look for the record of a private DNS name: rarely.
    pub may_verify: bool,
}

/// Plans towards what is desired.
pub fn plan(owner: &Owner, desired: &Desired, observed: &Observed, context: PlanContext<'_>) -> Plan {
    let mut steps = Vec::new();
    let service = match &observed.service {
        Lookup::Absent | Lookup::Deleted if let Some(id) = context.paused => creation_paused(id),
        Lookup::Absent => {
            steps.push(create(desired));
            Finding::bad(Reason::Creating, "the endpoint service is being created")
        }
        Lookup::Deleted => Finding::bad(
            Reason::DeletedInAWS,
            "the endpoint service was deleted in AWS; it is recreated under another name, and \
             consumers have to create their endpoints again",
        ),
        Lookup::Unconfirmed => Finding::bad(
            Reason::DeletedInAWS,
            "AWS does not return the endpoint service any more; reading again to confirm that it is gone",
        ),
        Lookup::Unowned(service) => ownership_lost(owner, service),
        Lookup::Unproven(service, reason) => unproven(service, *reason),
        Lookup::Owned(service) => match obstacle(service, desired) {
            Some(finding) => finding,
            None => plan_owned(desired, service, observed, context, &mut steps),
        },
    };
    Plan {
        steps,
        load_balancers: load_balancers(desired, observed),
        service,
        private_dns: private_dns(desired, observed),
    }
}

fn create(desired: &Desired) -> Step {
    Step::Create {
        load_balancer_type: desired.load_balancer_type,
        load_balancers: desired.load_balancers.clone(),
        acceptance_required: desired.acceptance_required,
        address_types: desired.address_types.clone(),
        private_dns_name: desired.private_dns_name.clone(),
        tags: desired.tags.clone(),
    }
}

/// Why nothing can be done for an endpoint service that is ours, where that is so.
fn obstacle(service: &ObservedEndpointService, desired: &Desired) -> Option<Finding> {
    let ObservedEndpointService { id, state, .. } = service;
    let (is, asked) = (service.load_balancer_type, desired.load_balancer_type);
    if is != asked {
        return Some(Finding::bad(
            Reason::BindingConflict,
            format!(
                "{id} has {is} Load Balancers, which AWS fixes at creation, and the spec names {asked} Load Balancers: \
                 name {}, or delete this object and apply it again",
                is.field()
            ),
        ));
    }
    let (reason, message) = match state {
        State::Deleting | State::Deleted => (
            Reason::DeletedInAWS,
            format!("{id} is being deleted in AWS; it is recreated under another name once it is gone"),
        ),
        State::Failed => (
            Reason::Failed,
            format!("AWS could not create {id}: delete this object and apply it again"),
        ),
        State::Available
        | State::Pending
        | State::PendingAcceptance
        | State::Rejected
        | State::Expired
        | State::Partial
        | State::Other(_) => return None,
    };
    Some(Finding::bad(reason, message))
}

/// Plans the changes of an endpoint service that is ours: what lets fewer in comes before what lets
/// more in.
fn plan_owned(
    desired: &Desired,
    service: &ObservedEndpointService,
    observed: &Observed,
    context: PlanContext<'_>,
    steps: &mut Vec<Step>,
) -> Finding {
    let id = &service.id;
    let (missing, surplus) = tags::difference(&desired.tags, &service.tags, context.tag_keys);
    // Remove first: EC2 allows 50 tags in all.
    steps.extend((!surplus.is_empty()).then(|| Step::Untag(id.clone(), surplus)));
    steps.extend((!missing.is_empty()).then(|| Step::Tag(id.clone(), missing)));
    let is_available = service.state == State::Available;
    let acceptance = (is_available && service.acceptance_required != desired.acceptance_required)
        .then_some(desired.acceptance_required);
    let modify = |change| Step::Modify(id.clone(), change);
    let acceptance_is = |required| acceptance.filter(|wanted| *wanted == required);
    steps.extend(acceptance_is(true).map(|required| modify(ServiceChange::AcceptanceRequired(required))));
    if let Some(there) = &observed.principals {
        let (add, remove) = changes(&desired.principals, there);
        if !add.is_empty() || !remove.is_empty() {
            let id = id.clone();
            steps.push(Step::ModifyPermissions { id, add, remove });
        }
    }
    steps.extend(acceptance_is(false).map(|required| modify(ServiceChange::AcceptanceRequired(required))));
    if is_available {
        steps.extend(changes_in_order(desired, service).map(modify));
        steps.extend(plan_private_dns(desired, service, context.may_verify));
    }
    let is_as_desired = !steps.iter().any(|step| step.part() == super::Part::Service);
    if let Some(connections) = &observed.connections {
        plan_connections(id, desired, connections, context.consumers, steps);
    }
    finding(desired, service, observed, is_as_desired)
}

/// The private DNS name, and the start of its verification.
fn plan_private_dns(desired: &Desired, service: &ObservedEndpointService, may_verify: bool) -> Option<Step> {
    let there = service.private_dns.as_ref();
    if there.map(|private| &private.name) != desired.private_dns_name.as_ref() {
        let change = ServiceChange::PrivateDnsName(desired.private_dns_name.clone());
        return Some(Step::Modify(service.id.clone(), change));
    }
    let is_unverified = there.is_some_and(|private| private.state != Verification::Verified);
    (is_unverified && may_verify).then(|| Step::VerifyPrivateDns(service.id.clone()))
}

/// How the private DNS name stands.
fn private_dns(desired: &Desired, observed: &Observed) -> Finding {
    let Some(name) = &desired.private_dns_name else {
        return Finding::good(Reason::NotRequested, "the spec asks for no private DNS name");
    };
    let there = observed
        .service
        .owned()
        .and_then(|service| service.private_dns.as_ref());
    let Some(private) = there.filter(|private| private.name == *name) else {
        return Finding::bad(Reason::Updating, format!("the private DNS name {name} is being set"));
    };
    let record = private.record_name().zip(private.record.as_ref());
    match (&private.state, record) {
        (Verification::Verified, _) => Finding::good(Reason::Available, format!("{name} is verified")),
        (state, Some((record, (type_, _, value)))) => Finding::bad(
            Reason::PrivateDNSNotVerified,
            format!(
                "AWS has not verified that the domain of {name} is yours ({state}): create the {type_} record {record} with \
                 the value {value} in its public DNS zone. Until then consumers cannot turn on private DNS"
            ),
        ),
        (state, None) => Finding::bad(
            Reason::PrivateDNSNotVerified,
            format!("AWS has not said yet which record verifies the domain of {name} ({state})"),
        ),
    }
}

/// Load balancers and address types: what is added comes first, and what is removed once that is
/// there, since at least one must remain.
fn changes_in_order(
    desired: &Desired,
    service: &ObservedEndpointService,
) -> impl Iterator<Item = ServiceChange> + use<> {
    let type_ = desired.load_balancer_type;
    let (add, remove) = changes(&desired.load_balancers, &service.load_balancers);
    let load_balancers = match (add.is_empty(), remove.is_empty()) {
        (false, _) => Some(ServiceChange::AddLoadBalancers(type_, add)),
        (true, false) => Some(ServiceChange::RemoveLoadBalancers(type_, remove)),
        (true, true) => None,
    };
    let (add, remove) = changes(&desired.address_types, &service.address_types);
    let address_types = match (add.is_empty(), remove.is_empty()) {
        (false, _) => Some(ServiceChange::AddAddressTypes(add)),
        (true, false) => Some(ServiceChange::RemoveAddressTypes(remove)),
        (true, true) => None,
    };
    load_balancers.into_iter().chain(address_types)
}

/// What to add to what is there, and what to remove from it.
fn changes<T: Ord + Clone>(wanted: &BTreeSet<T>, there: &BTreeSet<T>) -> (BTreeSet<T>, BTreeSet<T>) {
    (wanted - there, there - wanted)
}

/// How an endpoint service of ours stands.
fn finding(desired: &Desired, service: &ObservedEndpointService, observed: &Observed, is_as_desired: bool) -> Finding {
    let id = &service.id;
    if service.state != State::Available {
        return Finding::bad(Reason::Pending, format!("AWS is creating {id}"));
    }
    if !is_as_desired {
        return Finding::bad(
            Reason::Updating,
            "the endpoint service is being changed to what the spec says",
        );
    }
    if observed.principals.is_none() {
        return Finding::bad(
            Reason::Pending,
            format!("the allowed principals of {id} are being read"),
        );
    }
    let waiting = waiting(desired, observed.connections.as_deref().unwrap_or_default());
    let of_others = match waiting {
        0 => String::new(),
        1 => "; one connection that no consumer account vouches for waits to be accepted by hand".to_owned(),
        many => format!("; {many} connections that no consumer account vouches for wait to be accepted by hand"),
    };
    Finding::good(Reason::Available, format!("{} is available{of_others}", service.name))
}

/// How the load balancers stand.
fn load_balancers(desired: &Desired, observed: &Observed) -> Finding {
    let Some(service) = observed.service.owned() else {
        return Finding::bad(Reason::Pending, "there is no endpoint service yet that could have them");
    };
    let (missing, surplus) = changes(&desired.load_balancers, &service.load_balancers);
    match (missing.is_empty(), surplus.is_empty()) {
        (true, true) => Finding::good(
            Reason::Available,
            "the endpoint service has the load balancers that the spec names",
        ),
        (false, _) => Finding::bad(
            Reason::Updating,
            format!("being added: {}", crate::change::list(&missing)),
        ),
        (true, false) => Finding::bad(
            Reason::Updating,
            format!("being removed: {}", crate::change::list(&surplus)),
        ),
    }
}

/// What the condition says of what carries the object's tags and nothing else that proves it.
fn unproven(service: &ObservedEndpointService, reason: UnprovenReason) -> Finding {
    Finding::bad(
        Reason::OwnershipLost,
        format!(
            "endpoint service {} carries the tags of this object, but {reason}. Tags alone prove nothing: it is neither \
             changed nor deleted, and no replacement is created. Ask your platform team: if it does not belong to this \
             object, remove its tags {}*",
            service.id,
            tags::RESERVED_PREFIX
        ),
    )
}

fn ownership_lost(owner: &Owner, service: &ObservedEndpointService) -> Finding {
    let id = &service.id;
    let message = if owner.claim(&service.tags) == Claim::Another {
        format!(
            "endpoint service {id}, which the status names, belongs to another object by its tags; nothing is changed, \
             and no replacement is created: ask your platform team, or set deletion_policy to Retain and delete this \
             object"
        )
    } else {
        format!(
            "endpoint service {id} has lost its owner tags; nothing is changed, and no replacement is created. If it \
             belongs to this object, run: aws ec2 create-tags --resources {id} --tags {}; else delete this object",
            owner.as_arguments()
        )
    };
    Finding::bad(Reason::OwnershipLost, message)
}
