//! The endpoint's own security group: the group, its rules and its tags.

use std::collections::BTreeSet;

use super::endpoint::is_for;
use super::{Memory, ResourceId, Step, lost, plan_tags};
use crate::conditions::Finding;
use crate::desired::{Desired, Groups, OwnGroup};
use crate::ids::GroupId;
use crate::observed::{EndpointFact, GroupFact, Sight, State};
use crate::rules::{self, Direction, RuleSet};
use crate::tags::Owner;

/// The groups that the endpoint should have, once they are known; none while our own is still to be made.
pub(super) fn plan_group(
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
        let (mut missing, mut surplus) = (without(wanted, there), without(there, wanted));
        if direction == Direction::Egress {
            let open_ipv6 = rules::open_ipv6();
            if own.open_egress {
                surplus.remove(&open_ipv6);
            } else if fact.ipv6_egress_unknown {
                // By itself: AWS may answer that it is there already, or not there, and would do nothing else then.
                let alone = |text| RuleSet::from([(open_ipv6.clone(), text)]);
                steps.push(match missing.remove(&open_ipv6) {
                    Some(text) => Step::Authorize(fact.id.clone(), direction, alone(text)),
                    None => Step::Revoke(fact.id.clone(), direction, alone(None)),
                });
            }
        }
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
