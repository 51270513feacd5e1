//! The endpoint: made, changed in place, told of.

use std::collections::BTreeSet;

use super::{Memory, ResourceId, Step, held, lost, plan_tags, unproven};
use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, Groups};
use crate::ids::{GroupId, SubnetId};
use crate::observed::{Lookup, Observed, ObservedEndpoint, State};
use crate::tags::Owner;

pub(super) fn plan_endpoint(
    owner: &Owner,
    desired: &Desired,
    observed: &Observed,
    groups: Option<BTreeSet<GroupId>>,
    memory: Memory<'_>,
    steps: &mut Vec<Step>,
) -> Finding {
    if let (Some(hold), Lookup::Absent | Lookup::Deleted) = (memory.held, &observed.endpoint) {
        return held(hold);
    }
    let fact = match &observed.endpoint {
        Lookup::Unowned(fact) => return lost(owner, "endpoint", fact.id.as_str(), &fact.tags),
        Lookup::Unproven(fact, doubt) => return unproven("endpoint", fact.id.as_str(), *doubt),
        Lookup::Unconfirmed => {
            return Finding::bad(
                Reason::DeletedInAWS,
                "AWS does not know the endpoint any more; asking again before it is believed gone",
            );
        }
        Lookup::Deleted => {
            return Finding::bad(
                Reason::DeletedInAWS,
                "the endpoint was deleted in AWS; it is made again, and its DNS name changes",
            );
        }
        Lookup::Absent => {
            if let Some(groups) = groups {
                steps.push(Step::CreateEndpoint {
                    vpc: desired.vpc.clone(),
                    service_name: desired.service_name.clone(),
                    subnets: desired.subnets.clone(),
                    groups,
                    tags: desired.tags.clone(),
                });
            }
            return Finding::bad(Reason::Creating, "the endpoint is being made");
        }
        Lookup::Owned(fact) => fact,
    };
    let said = || match &fact.last_error {
        Some(error) => format!(" AWS says: {error}."),
        None => String::new(),
    };
    if !is_for(fact, desired) {
        return Finding::bad(
            Reason::BindingConflict,
            format!(
                "endpoint {} is in {} for {}, which AWS fixes at creation, and the spec says otherwise: set vpc_id to {} and \
                 vpc_endpoint_service_id to {}; for others apply another object and delete this one",
                fact.id, fact.vpc, fact.service_name, fact.vpc, fact.service_name
            ),
        );
    }
    match &fact.state {
        State::Deleting | State::Deleted => {
            return Finding::bad(
                Reason::DeletedInAWS,
                format!(
                    "endpoint {} is being deleted in AWS; it is made again once it is gone",
                    fact.id
                ),
            );
        }
        State::Rejected => {
            return Finding::bad(
                Reason::Rejected,
                format!(
                    "the owner of {} rejected endpoint {}.{} Ask them to accept it, or delete this object and apply it anew",
                    fact.service_name,
                    fact.id,
                    said()
                ),
            );
        }
        State::Failed => {
            return Finding::bad(
                Reason::Failed,
                format!(
                    "AWS could not make endpoint {}.{} Delete this object and apply it anew",
                    fact.id,
                    said()
                ),
            );
        }
        State::Expired => {
            return Finding::bad(
                Reason::Expired,
                format!(
                    "the owner of {} did not accept endpoint {} in time. Delete this object and apply it anew",
                    fact.service_name, fact.id
                ),
            );
        }
        State::Available | State::Pending | State::PendingAcceptance | State::Partial | State::Other(_) => {}
    }
    plan_tags(
        ResourceId::Endpoint(fact.id.clone()),
        desired,
        &fact.tags,
        memory,
        steps,
    );
    match &fact.state {
        State::PendingAcceptance => Finding::bad(
            Reason::PendingAcceptance,
            format!(
                "the owner of {} must accept endpoint {} of AWS account {}: ask them to",
                fact.service_name, fact.id, desired.account_id
            ),
        ),
        State::Partial => Finding::bad(
            Reason::Partial,
            format!("AWS has made only part of endpoint {}.{}", fact.id, said()),
        ),
        State::Available => {
            let Some(groups) = groups else {
                // AWS does not make the group: what the endpoint needs besides does not wait for it.
                if memory.fallbacks.parts_apart {
                    steps.extend(plan_modify(fact, desired, &fact.groups, memory));
                }
                return match (memory.held, &observed.group) {
                    (Some(hold), Lookup::Absent | Lookup::Deleted) => held(hold),
                    _ => Finding::bad(Reason::Updating, "the endpoint's security group is being made"),
                };
            };
            steps.extend(plan_modify(fact, desired, &groups, memory));
            if fact.interfaces.is_empty() {
                return Finding::bad(
                    Reason::Partial,
                    format!(
                        "endpoint {} has no network interface, so nothing can connect: AWS makes one in each subnet",
                        fact.id
                    ),
                );
            }
            let mut message = available(owner, desired, fact);
            if matches!(&desired.groups, Groups::Own(own) if own.lets_nobody_in()) {
                message.push_str("; its security group lets nobody in: give it security_group_ingress");
            }
            Finding::good(Reason::Available, message)
        }
        state => Finding::bad(
            Reason::Pending,
            format!("AWS is making endpoint {} (state {state})", fact.id),
        ),
    }
}

/// Whether an endpoint is, in what AWS fixes at creation, the one that is desired.
pub(super) fn is_for(fact: &ObservedEndpoint, desired: &Desired) -> bool {
    (&fact.vpc, &fact.service_name) == (&desired.vpc, &desired.service_name)
}

/// One call with all changes; or one for each part, subnets last, since AWS takes its time for them.
fn plan_modify(
    fact: &ObservedEndpoint,
    desired: &Desired,
    groups: &BTreeSet<GroupId>,
    memory: Memory<'_>,
) -> Vec<Step> {
    let mut add_subnets: BTreeSet<SubnetId> = desired.subnets.difference(&fact.subnets).cloned().collect();
    let remove_subnets: BTreeSet<SubnetId> = fact.subnets.difference(&desired.subnets).cloned().collect();
    if memory.fallbacks.swap_subnets_apart && !remove_subnets.is_empty() {
        add_subnets.clear();
    }
    let add_groups: BTreeSet<GroupId> = groups.difference(&fact.groups).cloned().collect();
    let remove_groups: BTreeSet<GroupId> = fact.groups.difference(groups).cloned().collect();
    let private_dns = (fact.private_dns != desired.private_dns).then_some(desired.private_dns);
    let all = Step::ModifyEndpoint {
        id: fact.id.clone(),
        add_subnets,
        remove_subnets,
        add_groups,
        remove_groups,
        private_dns,
    };
    let parts = all.parts();
    if memory.fallbacks.parts_apart || parts.is_empty() {
        return parts;
    }
    vec![all]
}

/// How to connect, for the message of Ready.
fn available(owner: &Owner, desired: &Desired, fact: &ObservedEndpoint) -> String {
    let dns = fact.publishable_dns_name();
    let service = desired.service.as_ref().filter(|_| dns.is_some());
    let service = service.map(|service| format!("{}.{}.svc", service.name, owner.namespace));
    let names: Vec<&str> = fact
        .private_dns_names()
        .filter(|_| fact.private_dns)
        .chain(service.as_deref().or(dns.as_deref()))
        .collect();
    if names.is_empty() {
        return format!("endpoint {} is available", fact.id);
    }
    let connect = format!("connect to {}", names.join(" or "));
    match (service, dns) {
        // The certificates of AWS's own services have the names of their endpoints; those of others seldom do.
        (Some(_), Some(dns)) if is_of_aws(desired) => format!("{connect}; for TLS use {dns} (docs/faq.md)"),
        (Some(_), _) => format!("{connect}; for TLS use a name that the service's certificate has (docs/faq.md)"),
        (None, _) => connect,
    }
}

/// Whether AWS itself offers the service, and not an AWS account as an endpoint service.
fn is_of_aws(desired: &Desired) -> bool {
    !desired.service_name.contains(".vpce.")
}
