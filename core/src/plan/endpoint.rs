//! Plans the endpoint: created, modified, and how it stands.

use std::collections::BTreeSet;

use super::{PlanContext, ResourceId, Step, creation_paused, ownership_lost, plan_tags, unproven};
use crate::api::EndpointType;
use crate::attachment::{Attachment, Interface};
use crate::change::EndpointChange;
use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, Groups};
use crate::ids::{GroupId, SubnetId};
use crate::observed::{Lookup, Observed, ObservedEndpoint, ObservedGroup, State};
use crate::options::Options;
use crate::tags::Owner;

pub(super) fn plan_endpoint(
    owner: &Owner,
    desired: &Desired,
    observed: &Observed,
    groups: Option<BTreeSet<GroupId>>,
    context: PlanContext<'_>,
    steps: &mut Vec<Step>,
) -> Finding {
    match &observed.endpoint {
        Lookup::Absent | Lookup::Deleted if let Some(id) = context.paused => creation_paused(id),
        Lookup::Absent => {
            steps.extend(groups.map(|groups| create(desired, groups)));
            Finding::bad(Reason::Creating, "the endpoint is being created")
        }
        Lookup::Deleted => Finding::bad(
            Reason::DeletedInAWS,
            "the endpoint was deleted in AWS; it is recreated, and its DNS name changes",
        ),
        Lookup::Unconfirmed => Finding::bad(
            Reason::DeletedInAWS,
            "AWS does not return the endpoint any more; reading again to confirm that it is gone",
        ),
        Lookup::Unowned(endpoint) => ownership_lost(owner, "endpoint", endpoint.id.as_str(), &endpoint.tags),
        Lookup::Unproven(endpoint, reason) => unproven("endpoint", endpoint.id.as_str(), *reason),
        Lookup::Owned(endpoint) => match obstacle(endpoint, desired) {
            Some(finding) => finding,
            None => {
                let id = ResourceId::Endpoint(endpoint.id.clone());
                plan_tags(id, desired, &endpoint.tags, context, steps);
                plan_changes(owner, desired, endpoint, &observed.group, groups, context, steps)
            }
        },
    }
}

fn create(desired: &Desired, groups: BTreeSet<GroupId>) -> Step {
    Step::CreateEndpoint {
        vpc: desired.vpc.clone(),
        target: desired.target.clone(),
        attachment: created(desired, groups),
        options: Options {
            // It goes with private DNS, which is turned on later.
            inbound_resolver_only: None,
            ..desired.options.clone()
        },
        tags: desired.tags.clone(),
    }
}

/// As it is created: private DNS is turned on once the endpoint is available, unless AWS fixes it
/// at creation.
fn created(desired: &Desired, groups: BTreeSet<GroupId>) -> Attachment {
    let mut attachment = desired.attachment.with_groups(groups);
    if let Attachment::Interface(Interface { private_dns, .. }) = &mut attachment {
        *private_dns &= desired.target.fixes_private_dns();
    }
    attachment
}

/// Why nothing can be done for an endpoint that is ours, where that is so.
fn obstacle(endpoint: &ObservedEndpoint, desired: &Desired) -> Option<Finding> {
    let ObservedEndpoint { id, .. } = endpoint;
    if !is_for(endpoint, desired) {
        return Some(binding_conflict(endpoint, desired));
    }
    let last_error = last_error(endpoint);
    let (reason, message) = match &endpoint.state {
        State::Deleting | State::Deleted => (
            Reason::DeletedInAWS,
            format!("endpoint {id} is being deleted in AWS; it is recreated once it is gone"),
        ),
        State::Rejected => (
            Reason::Rejected,
            format!(
                "the owner of {} rejected endpoint {id}.{last_error}{} Ask them to accept it, or delete this object and apply \
                 it again",
                desired.target,
                billed(desired)
            ),
        ),
        State::Failed => (
            Reason::Failed,
            format!("AWS could not create endpoint {id}.{last_error} Delete this object and apply it again"),
        ),
        State::Expired => (
            Reason::Expired,
            format!(
                "the owner of {} did not accept endpoint {id} in time. Delete this object and apply it again",
                desired.target
            ),
        ),
        State::Available | State::Pending | State::PendingAcceptance | State::Partial | State::Other(_) => return None,
    };
    Some(Finding::bad(reason, message))
}

/// That an endpoint costs as long as it is there, after a sentence: AWS bills for each hour in each
/// zone, in any state (AWS PrivateLink pricing).
fn billed(desired: &Desired) -> &'static str {
    match desired.attachment.endpoint_type(&desired.target) {
        EndpointType::Interface | EndpointType::GatewayLoadBalancer => " AWS bills for it until it is deleted.",
        EndpointType::Gateway | EndpointType::Resource | EndpointType::ServiceNetwork => "",
    }
}

/// The endpoint's last error in AWS, after a sentence.
fn last_error(endpoint: &ObservedEndpoint) -> String {
    match &endpoint.last_error {
        Some(error) => format!(" AWS says: {error}."),
        None => String::new(),
    }
}

fn binding_conflict(endpoint: &ObservedEndpoint, desired: &Desired) -> Finding {
    let ObservedEndpoint { id, vpc, .. } = endpoint;
    let message = match &endpoint.target {
        Some(target) if (vpc, target) == (&desired.vpc, &desired.target) => format!(
            "endpoint {id} is of another type or in another subnet than the spec says, which AWS fixes at creation: undo the edit, or \
             apply another object and delete this one"
        ),
        Some(target) => format!(
            "endpoint {id} is in {vpc} for {target}, which AWS fixes at creation, and the spec says otherwise: set vpc_id to {vpc} and \
             {} to {target}; for others apply another object and delete this one",
            target.field()
        ),
        None => format!(
            "endpoint {id} is for something else, which AWS fixes at creation: apply another object and delete this one"
        ),
    };
    Finding::bad(Reason::BindingConflict, message)
}

/// What is changed in place, where the endpoint's state lets that be, and how the endpoint stands.
fn plan_changes(
    owner: &Owner,
    desired: &Desired,
    endpoint: &ObservedEndpoint,
    group: &Lookup<ObservedGroup>,
    groups: Option<BTreeSet<GroupId>>,
    context: PlanContext<'_>,
    steps: &mut Vec<Step>,
) -> Finding {
    let id = &endpoint.id;
    match &endpoint.state {
        State::PendingAcceptance => Finding::bad(
            Reason::PendingAcceptance,
            format!(
                "the owner of {} must accept endpoint {id} of AWS account {}: ask them to",
                desired.target, desired.account_id
            ),
        ),
        State::Partial => Finding::bad(
            Reason::Partial,
            format!("AWS has created only part of endpoint {id}.{}", last_error(endpoint)),
        ),
        State::Available => {
            let Some(groups) = groups else {
                // AWS does not make the group: what the endpoint needs besides does not wait for
                // it.
                if context.fallbacks.parts_apart {
                    steps.extend(plan_modify(endpoint, desired, None, context));
                }
                return match (context.paused, group) {
                    (Some(id), Lookup::Absent | Lookup::Deleted) => creation_paused(id),
                    _ => Finding::bad(Reason::Updating, "the endpoint's security group is being created"),
                };
            };
            steps.extend(plan_modify(endpoint, desired, Some(&groups), context));
            if desired.attachment.has_interfaces() && endpoint.interfaces.is_empty() {
                return Finding::bad(
                    Reason::Partial,
                    format!(
                        "endpoint {id} has no network interface, so nothing can connect: AWS creates one in each subnet"
                    ),
                );
            }
            let mut message = available(owner, desired, endpoint);
            if matches!(desired.attachment.groups(), Some(Groups::Own(own)) if own.allows_no_ingress()) {
                message.push_str("; its security group allows no traffic: add security_group_ingress");
            }
            Finding::good(Reason::Available, message)
        }
        state => Finding::bad(
            Reason::Pending,
            format!("AWS is working on endpoint {id} (state {state})"),
        ),
    }
}

/// Whether an endpoint is, in what AWS fixes at creation, the one that is desired.
pub(super) fn is_for(endpoint: &ObservedEndpoint, desired: &Desired) -> bool {
    (&endpoint.vpc, &endpoint.target.as_ref()) == (&desired.vpc, &Some(&desired.target))
        && endpoint.attachment.is_as_fixed(&desired.attachment)
}

/// One call with all changes; or one for each part, subnets last, since AWS takes its time for
/// them. Without groups those that are there stay.
fn plan_modify(
    endpoint: &ObservedEndpoint,
    desired: &Desired,
    groups: Option<&BTreeSet<GroupId>>,
    context: PlanContext<'_>,
) -> Vec<Step> {
    let Some(there) = endpoint.attachment.known() else {
        // Never ours to change.
        return Vec::new();
    };
    let groups = groups.or_else(|| there.groups()).cloned().unwrap_or_default();
    let mut wanted = desired.attachment.with_groups(groups);
    wanted.keep(desired.adopted.unwrap_or_default(), there);
    let mut change = EndpointChange::between(there, &wanted, context.route_tables);
    if context.fallbacks.swap_subnets_apart && !change.remove_subnets.is_empty() {
        change.add_subnets.clear();
    }
    if desired.target.fixes_private_dns() {
        change.private_dns = None;
    }
    let type_ = desired.attachment.endpoint_type(&desired.target);
    let options = desired.options.with_defaults(type_, context.applied_fields);
    change.options = endpoint.options.differences(type_, &options);
    // Where a subnet waits for another to go, so does its address.
    let EndpointChange {
        add_subnets,
        remove_subnets,
        options,
        ..
    } = &mut change;
    let stays = |subnet: &SubnetId| there.subnets().contains(subnet) && !remove_subnets.contains(subnet);
    options
        .addresses
        .retain(|subnet, _| stays(subnet) || add_subnets.contains(subnet));
    if change.private_dns == Some(true) {
        // What is left out here EC2 takes for true, whatever it said before.
        change.options.inbound_resolver_only = desired.options.inbound_resolver_only;
    }
    if change.is_empty() {
        return Vec::new();
    }
    let all = Step::ModifyEndpoint {
        id: endpoint.id.clone(),
        change,
    };
    let parts = all.parts();
    if context.fallbacks.parts_apart || parts.is_empty() {
        return parts;
    }
    vec![all]
}

/// How to connect, for the message of Ready.
fn available(owner: &Owner, desired: &Desired, endpoint: &ObservedEndpoint) -> String {
    let dns = endpoint.publishable_dns_name();
    let service = desired
        .service
        .as_ref()
        .filter(|service| service.headless || dns.is_some());
    let service = service.map(|service| format!("{}.{}.svc", service.name, owner.namespace));
    let published = desired.names.iter().map(|name| name.name.as_str());
    let names: Vec<&str> = endpoint
        .private_dns_names()
        .filter(|_| endpoint.interface().is_some_and(|interface| interface.private_dns))
        .chain(published)
        .chain(service.as_deref().or(dns.as_deref()))
        .collect();
    if names.is_empty() {
        return format!("endpoint {} is available", endpoint.id);
    }
    let connect = format!("connect to {}", names.join(" or "));
    if !desired.names.is_empty() {
        return connect;
    }
    match (service, dns) {
        // The certificates of AWS's own services have the names of their endpoints; those of others
        // seldom do.
        (Some(_), Some(dns)) if desired.target.is_of_aws() => format!("{connect}; for TLS use {dns} (docs/faq.md)"),
        (Some(_), _) => format!("{connect}; for TLS use a name that the service's certificate has (docs/faq.md)"),
        (None, _) => connect,
    }
}
