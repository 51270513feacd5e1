//! How far a plan gets when some of its steps are refused: which others wait for them, what else is
//! worth a try, and what the condition of each part says.

use std::collections::BTreeMap;

use super::{Plan, ResourceId, Step};
use crate::conditions::{Finding, Reason};
use crate::error::Class;
use crate::rules::{Peer, RuleSet};

/// What a step belongs to. Each part has a finding of its own; that of the group stands in the
/// endpoint's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The endpoint.
    Endpoint,
    /// The security group of the endpoint's own.
    Group,
    /// The Service.
    Service,
    /// The DNS names.
    Names,
    /// The ConfigMap.
    ConfigMap,
}

/// Why a step of a plan is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfinishedReason {
    /// It was refused, and would be refused again.
    Refused,
    /// It will be done in a moment: it waits for a token, or failed in passing.
    Postponed,
}

/// A step that is not done.
#[derive(Debug, Clone)]
pub struct UnfinishedStep<'p> {
    /// Which.
    pub step: &'p Step,
    /// Why.
    pub reason: UnfinishedReason,
    /// What the condition of its part says meanwhile, where it differs from what was planned.
    pub finding: Option<Finding>,
}

/// The steps of a plan that are not done, in the plan's order.
#[derive(Debug, Clone, Default)]
pub struct Progress<'p> {
    /// Which.
    pub unfinished: Vec<UnfinishedStep<'p>>,
}

impl<'p> Progress<'p> {
    /// Why a step has to wait for an earlier one that is not done; none: it can be carried out.
    pub fn waits(&self, step: &Step) -> Option<UnfinishedReason> {
        let blocks = |other: &&UnfinishedStep<'_>| step.waits_for(other.step, other.reason);
        self.unfinished.iter().find(blocks).map(|other| other.reason)
    }

    /// Notes a step that is not done.
    pub fn add(&mut self, step: &'p Step, reason: UnfinishedReason, finding: Option<Finding>) {
        self.unfinished.push(UnfinishedStep { step, reason, finding });
    }

    /// Reports what is unfinished, in place of what was planned. What is refused comes before what
    /// waits, and what waits for a person comes first.
    pub fn report(&self, plan: &mut Plan) {
        for (parts, finding) in [
            (&[Part::Endpoint, Part::Group][..], &mut plan.endpoint),
            (&[Part::Service][..], &mut plan.service),
            (&[Part::Names][..], &mut plan.names),
            (&[Part::ConfigMap][..], &mut plan.config_map),
        ] {
            let of_part = |unfinished: &&UnfinishedStep<'_>| parts.contains(&unfinished.step.part());
            let mut findings: Vec<(UnfinishedReason, &Finding)> = self
                .unfinished
                .iter()
                .filter(of_part)
                .filter_map(|step| Some((step.reason, step.finding.as_ref()?)))
                .collect();
            findings.sort_by_key(|(reason, finding)| {
                (!finding.reason.policy().stalled, *reason == UnfinishedReason::Postponed)
            });
            if let Some((_, first)) = findings.first() {
                let mut messages: Vec<&str> = Vec::new();
                // What only waits for a token is no news beside what was refused.
                let news = |(_, finding): &&(UnfinishedReason, &Finding)| {
                    finding.reason != Reason::RateLimited || first.reason == Reason::RateLimited
                };
                for (_, finding) in findings.iter().filter(news) {
                    if !messages.contains(&finding.message.as_str()) {
                        messages.push(&finding.message);
                    }
                }
                *finding = Finding::bad(first.reason, messages.join("; "));
            }
        }
    }
}

impl Step {
    /// What it belongs to.
    pub fn part(&self) -> Part {
        match self {
            Step::CreateEndpoint { .. }
            | Step::ModifyEndpoint { .. }
            | Step::DeleteEndpoint(_)
            | Step::Tag(ResourceId::Endpoint(_), _)
            | Step::Untag(ResourceId::Endpoint(_), _) => Part::Endpoint,
            Step::CreateGroup { .. }
            | Step::Authorize(..)
            | Step::Revoke(..)
            | Step::UpdateRuleDescriptions(..)
            | Step::DeleteGroup(_)
            | Step::Tag(ResourceId::Group(_), _)
            | Step::Untag(ResourceId::Group(_), _) => Part::Group,
            Step::PublishService { .. } | Step::DeleteService(_) | Step::PublishSlice { .. } | Step::DeleteSlice(_) => {
                Part::Service
            }
            Step::PublishDnsEndpoint { .. } | Step::DeleteDnsEndpoint(_) => Part::Names,
            Step::PublishConfigMap { .. } | Step::DeleteConfigMap(_) => Part::ConfigMap,
        }
    }

    /// Whether it must not be carried out while an earlier step of its plan is not done.
    pub fn waits_for(&self, earlier: &Step, reason: UnfinishedReason) -> bool {
        match (self, earlier) {
            // What is allowed before and after stays allowed in between; but a rule that AWS
            // refuses is no reason to keep one that is to be revoked.
            (Step::Revoke(id, direction, _), Step::Authorize(other, way, _)) => {
                reason == UnfinishedReason::Postponed && (id, direction) == (other, way)
            }
            // Where the quota has no room for both.
            (Step::Authorize(id, direction, _), Step::Revoke(other, way, _)) => (id, direction) == (other, way),
            // The group that replaces others allows what they allow.
            (Step::ModifyEndpoint { change, .. }, Step::Authorize(group, ..)) => {
                change.add_groups.contains(group) && !change.remove_groups.is_empty()
            }
            // AWS changes one thing of an endpoint at a time.
            (Step::ModifyEndpoint { id, .. }, Step::ModifyEndpoint { id: other, .. }) => {
                reason == UnfinishedReason::Postponed && id == other
            }
            // The mark first: what carries neither mark nor owner is lost.
            (Step::Untag(id, _), Step::Tag(other, _)) => id == other,
            // One of another name is used until the one that is wanted replaces it.
            (
                Step::DeleteService(_) | Step::DeleteSlice(_),
                Step::PublishService { .. } | Step::PublishSlice { .. },
            ) => true,
            // Another's Service of that name would get the addresses.
            (Step::PublishSlice { .. }, Step::PublishService { exists, .. }) => !exists,
            // The family of a slice cannot change.
            (Step::PublishSlice { content, .. }, Step::DeleteSlice(name)) => content.name() == *name,
            _ => false,
        }
    }

    /// Whether AWS could refuse it for one part of it, and the rest be done in calls of their own.
    pub(crate) fn has_parts(&self) -> bool {
        self.parts().len() > 1
    }

    /// The same in calls that AWS may refuse one without another. Of rules: address blocks, and
    /// each group and prefix list.
    pub(super) fn parts(&self) -> Vec<Step> {
        match self {
            Step::ModifyEndpoint { id, change } => {
                let step = |change| Step::ModifyEndpoint { id: id.clone(), change };
                change.parts().into_iter().map(step).collect()
            }
            Step::Authorize(id, direction, rules) => {
                let mut portions: BTreeMap<Option<&Peer>, RuleSet> = BTreeMap::new();
                for (rule, text) in rules {
                    let peer = (!matches!(rule.peer, Peer::Cidr(_))).then_some(&rule.peer);
                    portions.entry(peer).or_default().insert(rule.clone(), text.clone());
                }
                let step = |rules| Step::Authorize(id.clone(), *direction, rules);
                portions.into_values().map(step).collect()
            }
            other => vec![other.clone()],
        }
    }
}

/// What AWS refused in the usual way, and is done in another until all is as desired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// Subnets of one zone are swapped in two calls: remove, wait, add.
    pub swap_subnets_apart: bool,
    /// Surplus rules are revoked before others are authorized, since the quota has no room for
    /// both.
    pub revoke_first: bool,
    /// What AWS refused together goes in a call for each part, so that one part does not hold the
    /// others.
    pub parts_apart: bool,
}

impl Fallbacks {
    /// Learns from what AWS answered to a step of a plan. True: planned again, there is another way
    /// to try at once.
    pub fn learn(&mut self, steps: &[Step], refused: &Step, code: &str, class: Class) -> bool {
        let before = *self;
        match refused {
            Step::ModifyEndpoint { change, .. }
                if code == "DuplicateSubnetsInSameZone"
                    && !self.swap_subnets_apart
                    && !change.add_subnets.is_empty()
                    && !change.remove_subnets.is_empty() =>
            {
                self.swap_subnets_apart = true;
            }
            Step::ModifyEndpoint { .. } => {
                let of_a_part = matches!(
                    class,
                    Class::Denied | Class::Invalid | Class::NotFound | Class::Quota | Class::Unknown
                );
                self.parts_apart |= of_a_part && refused.has_parts();
            }
            Step::Authorize(id, direction, _) if code == "RulesPerSecurityGroupLimitExceeded" => {
                let makes_room = |step: &Step| matches!(step, Step::Revoke(of, way, _) if (of, way) == (id, direction));
                self.revoke_first |= steps.iter().any(makes_room);
            }
            Step::Authorize(..) => {
                let of_a_rule = matches!(class, Class::Invalid | Class::NotFound | Class::Unknown);
                self.parts_apart |= of_a_rule && refused.has_parts();
            }
            Step::CreateGroup { .. } => {
                self.parts_apart = true;
                // It would be refused again at once.
                return false;
            }
            _ => {}
        }
        *self != before
    }

    /// Learns that a step waits for one that was refused. True: planned again, the rest of it can
    /// be done.
    pub fn learn_of_wait(&mut self, waiting: &Step, reason: UnfinishedReason) -> bool {
        let before = *self;
        self.parts_apart |= reason == UnfinishedReason::Refused && waiting.has_parts();
        *self != before
    }
}
