//! The difference between what should be and what is, as steps that can run now, with ids that are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, DesiredService, Groups, MAX_TAGS, OwnGroup};
use crate::ids::{GroupId, SubnetId};
use crate::observed::{EndpointFact, GroupFact, Observed, ServiceFact, Sight, State};
use crate::rules::{Direction, RuleSet};
use crate::tags::{self, Claim, Owner};

mod foresee;
mod step;

pub use foresee::foresee;
pub use step::{ResourceId, Step};

/// What to do now, and how things stand before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In this order; each can run now.
    pub steps: Vec<Step>,
    /// How the endpoint stands.
    pub endpoint: Finding,
    /// How the Service stands.
    pub service: Finding,
}

/// What planning needs beside what is desired and what is there.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a> {
    /// The keys of the tags that we set for the user, from status.
    pub tag_keys: &'a [String],
    /// The id of the hold that forbids creates in this region, if one does.
    pub held: Option<&'a str>,
    /// Whether AWS refused to swap subnets of one zone in one call: then remove, wait, add.
    pub swap_subnets_apart: bool,
}

/// Plans towards what is desired.
pub fn plan(owner: &Owner, desired: &Desired, observed: &Observed, memory: Memory<'_>) -> Plan {
    let mut steps = Vec::new();
    let group = plan_group(owner, desired, &observed.group, &observed.endpoint, memory, &mut steps);
    let mut endpoint = match group {
        Ok(groups) => plan_endpoint(owner, desired, observed, groups, memory, &mut steps),
        Err(finding) => finding,
    };
    if let (Groups::Provided(provided), Some(group)) = (&desired.groups, observed.group.ours()) {
        let attached = match &observed.endpoint {
            Sight::Ours(fact) | Sight::Lost(fact) => fact.groups.contains(&group.id),
            Sight::Unconfirmed => true,
            Sight::Absent | Sight::Gone => false,
        };
        // A person may provide the very group that was generated before.
        if !attached && !provided.contains(&group.id) {
            steps.push(Step::DeleteGroup(group.id.clone()));
        }
    }
    let service = plan_service(owner, desired, observed, &mut steps);
    if endpoint.ok && steps.iter().any(Step::is_in_aws) {
        endpoint = Finding::bad(Reason::Updating, "the endpoint is being changed to what the spec says");
    }
    Plan {
        steps,
        endpoint,
        service,
    }
}

/// The groups that the endpoint should have, once they are known; none while our own is still to be made.
fn plan_group(
    owner: &Owner,
    desired: &Desired,
    group: &Sight<GroupFact>,
    endpoint: &Sight<EndpointFact>,
    memory: Memory<'_>,
    steps: &mut Vec<Step>,
) -> Result<Option<BTreeSet<GroupId>>, Finding> {
    let own = match &desired.groups {
        Groups::Provided(ids) => return Ok(Some(ids.clone())),
        Groups::Own(own) => own,
    };
    match group {
        Sight::Ours(fact) => {
            plan_rules(own, fact, steps);
            plan_tags(ResourceId::Group(fact.id.clone()), desired, &fact.tags, memory, steps);
            Ok(Some(BTreeSet::from([fact.id.clone()])))
        }
        Sight::Lost(fact) => Err(lost(owner, "security group", fact.id.as_str(), &fact.tags)),
        Sight::Unconfirmed => Ok(None),
        Sight::Absent | Sight::Gone => {
            // Nothing is made for an endpoint that will not be made or that is not ours to change.
            let wanted = match endpoint {
                Sight::Absent => true,
                Sight::Ours(fact) => fact.state == State::Available && is_for(fact, desired),
                Sight::Unconfirmed | Sight::Gone | Sight::Lost(_) => false,
            };
            if wanted && memory.held.is_none() {
                steps.push(Step::CreateGroup {
                    name: own.name.clone(),
                    description: own.description.clone(),
                    vpc: desired.vpc.clone(),
                    tags: desired.tags.clone(),
                });
            }
            Ok(None)
        }
    }
}

fn plan_rules(own: &OwnGroup, fact: &GroupFact, steps: &mut Vec<Step>) {
    let both = [
        (Direction::Ingress, &own.ingress, &fact.ingress),
        (Direction::Egress, &own.egress, &fact.egress),
    ];
    for (direction, wanted, there) in both {
        let without = |set: &RuleSet, other: &RuleSet| -> RuleSet {
            set.iter()
                .filter(|(rule, _)| !other.contains_key(rule))
                .map(|(rule, text)| (rule.clone(), text.clone()))
                .collect()
        };
        let described_otherwise: RuleSet = wanted
            .iter()
            .filter(|(rule, text)| there.get(rule).is_some_and(|found| found != *text))
            .map(|(rule, text)| (rule.clone(), text.clone()))
            .collect();
        let (missing, surplus) = (without(wanted, there), without(there, wanted));
        // Authorize first: what is allowed before and after stays allowed in between.
        for (rules, step) in [
            (missing, Step::Authorize as fn(GroupId, Direction, RuleSet) -> Step),
            (described_otherwise, Step::Describe),
            (surplus, Step::Revoke),
        ] {
            if !rules.is_empty() {
                steps.push(step(fact.id.clone(), direction, rules));
            }
        }
    }
}

fn plan_tags(
    id: ResourceId,
    desired: &Desired,
    there: &BTreeMap<String, String>,
    memory: Memory<'_>,
    steps: &mut Vec<Step>,
) {
    let missing: BTreeMap<String, String> = desired
        .tags
        .iter()
        .filter(|(key, value)| there.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let surplus: BTreeSet<String> = memory
        .tag_keys
        .iter()
        .filter(|key| there.contains_key(*key) && !desired.tags.contains_key(*key))
        .filter(|key| !key.starts_with(tags::RESERVED_PREFIX))
        .cloned()
        .collect();
    // Remove first: EC2 allows 50 tags in all.
    if !surplus.is_empty() {
        steps.push(Step::Untag(id.clone(), surplus));
    }
    if !missing.is_empty() {
        steps.push(Step::Tag(id, missing));
    }
}

fn plan_endpoint(
    owner: &Owner,
    desired: &Desired,
    observed: &Observed,
    groups: Option<BTreeSet<GroupId>>,
    memory: Memory<'_>,
    steps: &mut Vec<Step>,
) -> Finding {
    if let (Some(hold), Sight::Absent | Sight::Gone) = (memory.held, &observed.endpoint) {
        return held(hold);
    }
    let fact = match &observed.endpoint {
        Sight::Lost(fact) => return lost(owner, "endpoint", fact.id.as_str(), &fact.tags),
        Sight::Unconfirmed => {
            return Finding::bad(
                Reason::DeletedInAWS,
                "AWS does not know the endpoint any more; asking again before it is believed gone",
            );
        }
        Sight::Gone => {
            return Finding::bad(
                Reason::DeletedInAWS,
                "the endpoint was deleted in AWS; it is made again, and its DNS name changes",
            );
        }
        Sight::Absent => {
            if let Some(groups) = groups {
                steps.push(Step::CreateEndpoint {
                    vpc: desired.vpc.clone(),
                    service_name: desired.service_name.clone(),
                    subnets: desired.subnets.clone(),
                    groups,
                    private_dns: desired.private_dns && !may_need_acceptance(desired),
                    tags: desired.tags.clone(),
                });
            }
            return Finding::bad(Reason::Creating, "the endpoint is being made");
        }
        Sight::Ours(fact) => fact,
    };
    let said = || match &fact.last_error {
        Some(error) => format!(" AWS says: {error}."),
        None => String::new(),
    };
    if !is_for(fact, desired) {
        return Finding::bad(
            Reason::BindingConflict,
            format!(
                "endpoint {} is in {} for {}, which AWS fixes at creation, and the spec says otherwise: \
                 delete this object and apply it anew",
                fact.id, fact.vpc, fact.service_name
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
                "the owner of {} must accept endpoint {} of this AWS account",
                fact.service_name, fact.id
            ),
        ),
        State::Partial => Finding::bad(
            Reason::Partial,
            format!("AWS has made only part of endpoint {}.{}", fact.id, said()),
        ),
        State::Available => {
            let Some(groups) = groups else {
                return match (memory.held, &observed.group) {
                    (Some(hold), Sight::Absent | Sight::Gone) => held(hold),
                    _ => Finding::bad(Reason::Updating, "the endpoint's security group is being made"),
                };
            };
            if let Some(step) = plan_modify(fact, desired, &groups, memory) {
                steps.push(step);
            }
            Finding::good(Reason::Available, available(owner, desired, fact))
        }
        state => Finding::bad(
            Reason::Pending,
            format!("AWS is making endpoint {} (state {state})", fact.id),
        ),
    }
}

/// Whether an endpoint is, in what AWS fixes at creation, the one that is desired.
fn is_for(fact: &EndpointFact, desired: &Desired) -> bool {
    (&fact.vpc, &fact.service_name) == (&desired.vpc, &desired.service_name)
}

fn plan_modify(fact: &EndpointFact, desired: &Desired, groups: &BTreeSet<GroupId>, memory: Memory<'_>) -> Option<Step> {
    let mut add_subnets: BTreeSet<SubnetId> = desired.subnets.difference(&fact.subnets).cloned().collect();
    let remove_subnets: BTreeSet<SubnetId> = fact.subnets.difference(&desired.subnets).cloned().collect();
    if memory.swap_subnets_apart && !remove_subnets.is_empty() {
        add_subnets.clear();
    }
    let add_groups: BTreeSet<GroupId> = groups.difference(&fact.groups).cloned().collect();
    let remove_groups: BTreeSet<GroupId> = fact.groups.difference(groups).cloned().collect();
    let private_dns = (fact.private_dns != desired.private_dns).then_some(desired.private_dns);
    let nothing = add_subnets.is_empty()
        && remove_subnets.is_empty()
        && add_groups.is_empty()
        && remove_groups.is_empty()
        && private_dns.is_none();
    (!nothing).then(|| Step::ModifyEndpoint {
        id: fact.id.clone(),
        add_subnets,
        remove_subnets,
        add_groups,
        remove_groups,
        private_dns,
    })
}

/// Whether the service's owner may have to accept the endpoint, as that of an endpoint service may and AWS itself never
/// has to: until then private DNS cannot be on ("Manage DNS names for VPC endpoint services" in the AWS PrivateLink guide).
fn may_need_acceptance(desired: &Desired) -> bool {
    desired.service_name.contains(".vpce.")
}

/// How to connect, for the message of Ready.
fn available(owner: &Owner, desired: &Desired, fact: &EndpointFact) -> String {
    let dns = fact.publishable_dns_name();
    match (&desired.service, dns) {
        (Some(service), Some(dns)) => format!("connect to {}.{}.svc; TLS needs {dns}", service.name, owner.namespace),
        (_, Some(dns)) => format!("connect to {dns}"),
        (_, None) => "available".to_owned(),
    }
}

fn plan_service(owner: &Owner, desired: &Desired, observed: &Observed, steps: &mut Vec<Step>) -> Finding {
    let wanted = desired.service.as_ref();
    let finding = match wanted {
        Some(wanted) => plan_publication(owner, desired, wanted, observed, steps),
        None => Finding::good(Reason::NotRequested, "spec.service.type is None"),
    };
    // One of another name serves until the one that is wanted takes its place.
    for service in observed.services.iter().filter(|service| service.ours && finding.ok) {
        if wanted.is_none_or(|wanted| wanted.name != service.name) {
            steps.push(Step::DeleteService(service.name.clone()));
        }
    }
    finding
}

fn plan_publication(
    owner: &Owner,
    desired: &Desired,
    wanted: &DesiredService,
    observed: &Observed,
    steps: &mut Vec<Step>,
) -> Finding {
    let there = observed.services.iter().find(|service| service.name == wanted.name);
    if there.is_some_and(|service| !service.ours) {
        return Finding::bad(
            Reason::ServiceConflict,
            format!(
                "a Service {}/{} exists that this object does not own; it is left alone: \
                 delete it, or set spec.service.name to another name",
                owner.namespace, wanted.name
            ),
        );
    }
    let Some(fact) = observed.endpoint.ours().filter(|fact| is_for(fact, desired)) else {
        return Finding::bad(Reason::WaitingForEndpoint, "waits for the endpoint");
    };
    let Some(external_name) = fact.publishable_dns_name() else {
        return match (&fact.state, fact.regional_dns_name()) {
            (_, Some(wildcard)) => Finding::bad(
                Reason::NoUsableDNSName,
                format!(
                    "a Service cannot lead to {wildcard}: set spec.service.type None and use the names in status.dns_entries"
                ),
            ),
            (State::Available, None) => {
                Finding::bad(Reason::WaitingForDNS, "AWS has not named the endpoint's DNS name yet")
            }
            _ => Finding::bad(Reason::WaitingForEndpoint, "waits for the endpoint"),
        };
    };
    if fact.state != State::Available && there.is_none() {
        return Finding::bad(Reason::WaitingForEndpoint, "waits for the endpoint");
    }
    let fits = |service: &ServiceFact| {
        service.external_name.as_ref() == Some(&external_name)
            && service.ports == wanted.ports
            && service.labelled
            && service.metadata == wanted.metadata
    };
    if there.is_none_or(|service| !fits(service)) {
        steps.push(Step::PublishService {
            name: wanted.name.clone(),
            external_name: external_name.clone(),
            ports: wanted.ports.clone(),
            metadata: wanted.metadata.clone(),
            exists: there.is_some(),
        });
    }
    Finding::good(
        Reason::Published,
        format!("{}.{}.svc leads to {external_name}", wanted.name, owner.namespace),
    )
}

/// What becomes of the AWS resources of an object that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// They are deleted.
    Delete,
    /// They stay, marked as retained.
    Retain,
}

/// Plans towards nothing: the Service, then the endpoint, then the group. No steps and a finding that is `ok` mean
/// that nothing is left.
pub fn plan_absence(owner: &Owner, observed: &Observed, farewell: Farewell) -> Plan {
    let mut steps: Vec<Step> = observed
        .services
        .iter()
        .filter(|service| service.ours)
        .map(|service| Step::DeleteService(service.name.clone()))
        .collect();
    let service = if steps.is_empty() {
        Finding::good(Reason::NotRequested, "the object is being deleted")
    } else {
        Finding::bad(Reason::Deleting, "the Service is being deleted")
    };
    let endpoint = match farewell {
        Farewell::Retain => plan_release(observed, &mut steps),
        Farewell::Delete => plan_deletion(owner, observed, &mut steps),
    };
    Plan {
        steps,
        endpoint,
        service,
    }
}

fn plan_release(observed: &Observed, steps: &mut Vec<Step>) -> Finding {
    let endpoints = observed.endpoint.ours().into_iter().chain(&observed.spare_endpoints);
    let endpoints = endpoints.filter(|fact| fact.state != State::Deleted);
    let resources = endpoints
        .map(|fact| (ResourceId::Endpoint(fact.id.clone()), &fact.tags))
        .chain(
            observed
                .group
                .ours()
                .map(|fact| (ResourceId::Group(fact.id.clone()), &fact.tags)),
        );
    for (id, there) in resources {
        let value = |key: &str| there.get(key).map(String::as_str).unwrap_or_default();
        let former = format!(
            "{}/{}/{}",
            value(tags::CLUSTER),
            value(tags::NAMESPACE),
            value(tags::NAME)
        );
        if there.len() >= MAX_TAGS && !there.contains_key(tags::RETAINED) {
            // Room for the mark; the UID does not decide whose it is.
            steps.push(Step::Untag(id.clone(), [tags::UID.to_owned()].into()));
        }
        // The mark first: a crash in between leaves what is still ours.
        steps.push(Step::Tag(
            id.clone(),
            BTreeMap::from([(tags::RETAINED.to_owned(), tags::shorten(&former, 256))]),
        ));
        let owners = [tags::CLUSTER, tags::NAMESPACE, tags::NAME, tags::UID];
        steps.push(Step::Untag(id, owners.map(str::to_owned).into()));
    }
    if observed.endpoint == Sight::Unconfirmed || observed.group == Sight::Unconfirmed {
        return Finding::bad(
            Reason::Deleting,
            "AWS does not know all that is to be retained; asking again before it is let go",
        );
    }
    Finding::good(Reason::Deleting, "the AWS resources are retained")
}

fn plan_deletion(owner: &Owner, observed: &Observed, steps: &mut Vec<Step>) -> Finding {
    match &observed.endpoint {
        Sight::Lost(fact) => return lost_for_good(owner, "endpoint", fact.id.as_str(), &fact.tags),
        Sight::Unconfirmed => {
            return Finding::bad(
                Reason::Deleting,
                "AWS does not know the endpoint; asking again before it is believed gone",
            );
        }
        Sight::Ours(_) | Sight::Absent | Sight::Gone => {}
    }
    let left: Vec<&EndpointFact> = observed
        .endpoint
        .ours()
        .into_iter()
        .chain(&observed.spare_endpoints)
        .filter(|fact| fact.state != State::Deleted)
        .collect();
    for fact in &left {
        if fact.state != State::Deleting {
            steps.push(Step::DeleteEndpoint(fact.id.clone()));
        }
    }
    if let Some(fact) = left.first() {
        return Finding::bad(Reason::Deleting, format!("endpoint {} is being deleted", fact.id));
    }
    match &observed.group {
        Sight::Lost(fact) => lost_for_good(owner, "security group", fact.id.as_str(), &fact.tags),
        Sight::Unconfirmed => Finding::bad(
            Reason::Deleting,
            "AWS does not know the security group; asking again before it is believed gone",
        ),
        Sight::Ours(fact) => {
            steps.push(Step::DeleteGroup(fact.id.clone()));
            Finding::bad(Reason::Deleting, format!("security group {} is being deleted", fact.id))
        }
        Sight::Absent | Sight::Gone => Finding::good(Reason::Deleting, "nothing is left in AWS"),
    }
}

/// What the condition says while a hold forbids creates.
pub fn held(hold: &str) -> Finding {
    Finding::bad(
        Reason::MutationsHeld,
        format!(
            "many endpoints of this region vanished at once, so nothing is made until someone of the platform team has \
             looked, and releases hold {hold} on the AWSAccount (annotation {})",
            crate::api::RELEASE_HOLD
        ),
    )
}

fn lost(owner: &Owner, kind: &str, id: &str, there: &BTreeMap<String, String>) -> Finding {
    if owner.claim(there) == Claim::Another {
        return Finding::bad(
            Reason::OwnershipLost,
            format!(
                "{kind} {id}, which the status names, belongs to another VPCEndpoint by its tags; nothing is changed, and \
                 nothing made in its place: ask your platform team, or set deletion_policy to Retain and delete this object"
            ),
        );
    }
    Finding::bad(
        Reason::OwnershipLost,
        format!(
            "{kind} {id} has lost the tags that say it is ours ({}, {}, {}); nothing is changed, and nothing made in its \
             place: set the tags again, or delete this object",
            tags::CLUSTER,
            tags::NAMESPACE,
            tags::NAME
        ),
    )
}

fn lost_for_good(owner: &Owner, kind: &str, id: &str, there: &BTreeMap<String, String>) -> Finding {
    if owner.claim(there) == Claim::Another {
        return Finding::bad(
            Reason::OwnershipLost,
            format!(
                "{kind} {id}, which the status names, belongs to another VPCEndpoint by its tags, so it is not deleted: set \
                 deletion_policy to Retain to let this object go without it"
            ),
        );
    }
    let pairs: Vec<String> = owner
        .tags()
        .into_iter()
        .filter(|(key, _)| key.starts_with(tags::RESERVED_PREFIX))
        .map(|(key, value)| format!("Key={key},Value={value}"))
        .collect();
    Finding::bad(
        Reason::OwnershipLost,
        format!(
            "{kind} {id} has lost the tags that say it is ours, so it is not deleted. If it is ours, run: aws ec2 create-tags \
             --resources {id} --tags {}; if it is not, set deletion_policy to Retain",
            pairs.join(" ")
        ),
    )
}
