//! The endpoint's own security group: the group, its rules and its tags.

use std::collections::BTreeSet;

use super::endpoint::is_for;
use super::{PlanContext, ResourceId, Step, ownership_lost, plan_tags, unproven};
use crate::conditions::Finding;
use crate::desired::{Desired, Groups, OwnGroup};
use crate::ids::GroupId;
use crate::observed::{Lookup, ObservedEndpoint, ObservedGroup, State};
use crate::rules::{self, Direction, RuleSet};
use crate::tags::Owner;

/// The groups that the endpoint should have, once they are known; none while our own is still to be
/// made.
pub(super) fn plan_group(
    owner: &Owner,
    desired: &Desired,
    group: &Lookup<ObservedGroup>,
    endpoint: &Lookup<ObservedEndpoint>,
    context: PlanContext<'_>,
    steps: &mut Vec<Step>,
) -> Result<Option<BTreeSet<GroupId>>, Finding> {
    let own = match desired.attachment.groups() {
        None => return Ok(Some(BTreeSet::new())),
        Some(Groups::Provided(ids)) => return Ok(Some(ids.clone())),
        Some(Groups::Kept) => {
            let there = endpoint.owned().and_then(|endpoint| endpoint.attachment.known());
            return Ok(there.and_then(|there| there.groups()).cloned());
        }
        Some(Groups::Own(own)) => own,
    };
    match group {
        Lookup::Owned(group) => {
            plan_rules(own, group, context, steps);
            plan_tags(
                ResourceId::Group(group.id.clone()),
                desired,
                &group.tags,
                context,
                steps,
            );
            Ok(Some(BTreeSet::from([group.id.clone()])))
        }
        Lookup::Unowned(group) => Err(ownership_lost(owner, "security group", group.id.as_str(), &group.tags)),
        Lookup::Unproven(group, reason) => Err(unproven("security group", group.id.as_str(), *reason)),
        Lookup::Unconfirmed => Ok(None),
        Lookup::Absent | Lookup::Deleted => {
            // Nothing is made for an endpoint that will not be made or that is not ours to change.
            let wanted = match endpoint {
                Lookup::Absent => true,
                Lookup::Owned(endpoint) => endpoint.state == State::Available && is_for(endpoint, desired),
                Lookup::Unconfirmed | Lookup::Deleted | Lookup::Unowned(_) | Lookup::Unproven(..) => false,
            };
            if wanted && context.paused.is_none() {
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

fn plan_rules(own: &OwnGroup, group: &ObservedGroup, context: PlanContext<'_>, steps: &mut Vec<Step>) {
    let both = [
        (Direction::Ingress, &own.ingress, &group.ingress),
        (Direction::Egress, &own.egress, &group.egress),
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
        let (mut missing, mut surplus) = (without(wanted, there), without(there, wanted));
        let id = || group.id.clone();
        let mut authorize = Vec::new();
        let mut revoke = Vec::new();
        if direction == Direction::Egress {
            let open_ipv6 = rules::open_ipv6();
            if own.open_egress {
                surplus.remove(&open_ipv6);
            } else if group.ipv6_egress_unknown {
                // By itself: AWS may answer that it is there already, or not there, and would do
                // nothing else then.
                let alone = |text| RuleSet::from([(open_ipv6.clone(), text)]);
                match missing.remove(&open_ipv6) {
                    Some(text) => authorize.push(Step::Authorize(id(), direction, alone(text))),
                    None => revoke.push(Step::Revoke(id(), direction, alone(None))),
                }
            }
        }
        let all = Step::Authorize(id(), direction, missing);
        authorize.extend(match context.fallbacks.parts_apart {
            true => all.parts(),
            false => vec![all],
        });
        revoke.push(Step::Revoke(id(), direction, surplus));
        let mut describe = vec![Step::UpdateRuleDescriptions(id(), direction, described_otherwise)];
        // Authorize first: what is allowed before and after stays allowed in between.
        let in_order = match context.fallbacks.revoke_first {
            false => [&mut authorize, &mut describe, &mut revoke],
            true => [&mut revoke, &mut describe, &mut authorize],
        };
        for planned in in_order {
            steps.extend(planned.drain(..).filter(Step::changes_rules));
        }
    }
}
