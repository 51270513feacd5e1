//! All that would be done, not only what can be done now: for who looks before anything may be changed.

use crate::desired::Desired;
use crate::ids::{EndpointId, GroupId};
use crate::observed::{EndpointType, Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, State};
use crate::plan::{Plan, ResourceId, Step};
use crate::rules::{self, RuleSet};
use crate::tags;

/// What stands for the id of a group that AWS has not made yet.
const NEW_GROUP: &str = "sg-new";
/// What stands for the id of an endpoint that AWS has not made yet.
const NEW_ENDPOINT: &str = "vpce-new";
/// So many rounds end every plan: made, waited for, changed, cleaned up, with room to spare.
const ROUNDS: usize = 16;

/// The steps from what is there to where planning has nothing left to do, if AWS does as it is told and nobody else
/// changes anything. What AWS has not made yet is called `sg-new` and `vpce-new`.
pub fn simulate(observed: &Observed, desired: Option<&Desired>, plan: impl Fn(&Observed) -> Plan) -> Vec<Step> {
    let mut seen = observed.clone();
    let mut steps = Vec::new();
    if desired.is_some() && seen.endpoint == Lookup::Deleted {
        seen.endpoint = Lookup::Absent;
    }
    for _ in 0..ROUNDS {
        let next = plan(&seen).steps;
        let waits = next.is_empty();
        for step in &next {
            carry_out(step, &mut seen);
        }
        steps.extend(next);
        if waits && !end_of_wait(&mut seen) {
            break;
        }
    }
    steps
}

/// AWS ends what it is at; says whether it was at anything.
fn end_of_wait(seen: &mut Observed) -> bool {
    let Lookup::Owned(fact) = &mut seen.endpoint else {
        return false;
    };
    match fact.state {
        State::Pending => {
            fact.state = State::Available;
            if fact.interfaces.is_empty() {
                fact.interfaces = fact
                    .subnets
                    .iter()
                    .map(|subnet| format!("eni-new-in-{subnet}"))
                    .collect();
            }
            if fact.dns_names.is_empty() {
                fact.dns_names = vec![format!("{}-dns.{}", fact.id, fact.service_name)];
            }
            true
        }
        State::Deleting => {
            seen.endpoint = Lookup::Absent;
            true
        }
        _ => false,
    }
}

/// What is seen after a step.
fn carry_out(step: &Step, seen: &mut Observed) {
    match step {
        Step::CreateGroup {
            name,
            description,
            vpc,
            tags,
        } => {
            seen.group = Lookup::Owned(ObservedGroup {
                id: NEW_GROUP.into(),
                name: name.clone(),
                description: description.clone(),
                vpc: vpc.clone(),
                tags: tags.clone(),
                ingress: RuleSet::new(),
                egress: rules::open(),
                ipv6_egress_unknown: true,
            });
        }
        Step::Authorize(id, direction, rules) | Step::UpdateRuleDescriptions(id, direction, rules) => {
            if let Some(fact) = group(seen, id) {
                fact.set_rules(*direction, rules);
            }
        }
        Step::Revoke(id, direction, rules) => {
            if let Some(fact) = group(seen, id) {
                fact.remove_rules(*direction, rules);
            }
        }
        Step::CreateEndpoint {
            vpc,
            service_name,
            subnets,
            groups,
            tags,
        } => {
            seen.endpoint = Lookup::Owned(ObservedEndpoint {
                id: NEW_ENDPOINT.into(),
                type_: EndpointType::Interface,
                requester_managed: false,
                created: None,
                state: State::Pending,
                vpc: vpc.clone(),
                service_name: service_name.clone(),
                subnets: subnets.clone(),
                groups: groups.clone(),
                private_dns: false,
                tags: tags.clone(),
                dns_names: Vec::new(),
                interfaces: Vec::new(),
                last_error: None,
            });
        }
        Step::ModifyEndpoint {
            id,
            add_subnets,
            remove_subnets,
            add_groups,
            remove_groups,
            private_dns,
        } => {
            if let Some(fact) = endpoint(seen, id) {
                fact.subnets.extend(add_subnets.iter().cloned());
                fact.subnets.retain(|id| !remove_subnets.contains(id));
                fact.groups.extend(add_groups.iter().cloned());
                fact.groups.retain(|id| !remove_groups.contains(id));
                fact.private_dns = private_dns.unwrap_or(fact.private_dns);
            }
        }
        Step::Tag(ResourceId::Endpoint(id), tags) => {
            if let Some(fact) = endpoint(seen, id) {
                fact.tags.extend(tags.clone());
            }
        }
        Step::Tag(ResourceId::Group(id), tags) => {
            if let Some(fact) = group(seen, id) {
                fact.tags.extend(tags.clone());
            }
        }
        // Without the owner's tags it is nobody's.
        Step::Untag(ResourceId::Endpoint(id), keys) if keys.contains(tags::CLUSTER) => lose_endpoint(seen, id),
        Step::Untag(ResourceId::Group(id), keys) if keys.contains(tags::CLUSTER) => lose_group(seen, id),
        Step::Untag(ResourceId::Endpoint(id), keys) => {
            if let Some(fact) = endpoint(seen, id) {
                fact.tags.retain(|key, _| !keys.contains(key));
            }
        }
        Step::Untag(ResourceId::Group(id), keys) => {
            if let Some(fact) = group(seen, id) {
                fact.tags.retain(|key, _| !keys.contains(key));
            }
        }
        Step::DeleteEndpoint(id) => lose_endpoint(seen, id),
        Step::DeleteGroup(id) => lose_group(seen, id),
        Step::PublishService {
            name,
            external_name,
            ports,
            metadata,
            ..
        } => {
            seen.services.retain(|service| service.name != *name);
            seen.services.push(ObservedService {
                name: name.clone(),
                ours: true,
                unowned: false,
                external_name: Some(external_name.clone()),
                ports: ports.clone(),
                labelled: true,
                metadata: metadata.clone(),
                written_as: None,
            });
        }
        Step::DeleteService(name) => seen.services.retain(|service| service.name != *name),
    }
}

fn endpoint<'a>(seen: &'a mut Observed, id: &EndpointId) -> Option<&'a mut ObservedEndpoint> {
    match &mut seen.endpoint {
        Lookup::Owned(fact) if fact.id == *id => Some(fact),
        _ => seen.spare_endpoints.iter_mut().find(|fact| fact.id == *id),
    }
}

fn group<'a>(seen: &'a mut Observed, id: &GroupId) -> Option<&'a mut ObservedGroup> {
    match &mut seen.group {
        Lookup::Owned(fact) if fact.id == *id => Some(fact),
        _ => None,
    }
}

fn lose_endpoint(seen: &mut Observed, id: &EndpointId) {
    seen.spare_endpoints.retain(|fact| fact.id != *id);
    if seen.endpoint.owned().is_some_and(|fact| fact.id == *id) {
        seen.endpoint = Lookup::Absent;
    }
}

fn lose_group(seen: &mut Observed, id: &GroupId) {
    if seen.group.owned().is_some_and(|fact| fact.id == *id) {
        seen.group = Lookup::Absent;
    }
}
