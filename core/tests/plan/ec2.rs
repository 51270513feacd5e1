//! A small model of EC2 and of the namespace's Services, as they answer to steps. What EC2 would
//! refuse for good, fails the test: a plan only has steps that can run now.

use std::collections::{BTreeMap, BTreeSet};

use vpce_core::attachment::{Attachment, AttachmentChange, Interface, InterfaceChange, ObservedAttachment};
use vpce_core::ids::{EndpointId, GroupId, SubnetId, VpcId};
use vpce_core::observed::{Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, State};
use vpce_core::plan::{Outcome, ResourceId, Step};
use vpce_core::rules::{self, Direction, Peer, Rule, RuleSet};
use vpce_core::tags::{Claim, Owner};
use vpce_core::target::Target;

use crate::observations::{attached, attached_mut, dns_name, rules_of};

/// EC2 allows so many tags on a resource.
const MAX_TAGS: usize = 50;

/// What EC2 refuses for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// DependencyViolation: interfaces use the group.
    InUse,
    /// DuplicateSubnetsInSameZone.
    SameZone,
    /// RulesPerSecurityGroupLimitExceeded.
    RuleQuota,
}

/// All resources, of every owner, and the ids that status has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) endpoints: BTreeMap<EndpointId, ObservedEndpoint>,
    pub(crate) groups: BTreeMap<GroupId, ObservedGroup>,
    pub(crate) services: BTreeMap<String, ObservedService>,
    pub(crate) known_endpoint: Option<EndpointId>,
    pub(crate) known_group: Option<GroupId>,
    /// A group has so many rules in a direction at most, where that counts.
    pub(crate) rule_quota: Option<usize>,
    /// Groups whose interfaces outlive a detachment or an endpoint, until the next tick.
    lingering: BTreeSet<GroupId>,
    /// Ids that were not found once.
    missed: BTreeSet<String>,
    made: usize,
}

impl World {
    /// Looks as the operator does: what status knows first, then by the owner's tags. What was
    /// missed twice is gone.
    pub(crate) fn look(&mut self, owner: &Owner) -> Observed {
        let ours = |tags: &BTreeMap<String, String>| owner.claim(tags) == Claim::Ours;
        let mut endpoints: Vec<_> = self
            .endpoints
            .values()
            .filter(|resource| ours(&resource.tags))
            .cloned()
            .collect();
        let mut groups: Vec<_> = self
            .groups
            .values()
            .filter(|resource| ours(&resource.tags))
            .cloned()
            .collect();
        let endpoint = lookup(
            self.known_endpoint.as_ref().and_then(|id| self.endpoints.get(id)),
            self.known_endpoint.as_ref().map(EndpointId::as_str),
            &mut self.missed,
            &mut endpoints,
        );
        let group = lookup(
            self.known_group.as_ref().and_then(|id| self.groups.get(id)),
            self.known_group.as_ref().map(GroupId::as_str),
            &mut self.missed,
            &mut groups,
        );
        Observed {
            endpoint,
            spare_endpoints: endpoints,
            group,
            services: self.services.values().cloned().collect(),
        }
    }

    /// Looks again where something was not found, so that it is known to be gone.
    pub(crate) fn look_twice(&mut self, owner: &Owner) -> Observed {
        self.look(owner);
        self.look(owner)
    }

    /// What was answered to the step that was carried out last.
    pub(crate) fn answer(&self, step: &Step) -> Outcome {
        match step {
            Step::CreateGroup { .. } => {
                let id = GroupId::from(format!("sg-made-{}", self.made));
                Outcome::Group(self.groups[&id].clone())
            }
            Step::CreateEndpoint { .. } => {
                let id = EndpointId::from(format!("vpce-made{}", self.made));
                Outcome::Endpoint(self.endpoints[&id].clone())
            }
            Step::PublishService { name, .. } => Outcome::Service(self.services[name].clone()),
            _ => Outcome::Done,
        }
    }

    /// Status takes over what was seen.
    pub(crate) fn remember(&mut self, seen: &Observed) {
        match &seen.endpoint {
            Lookup::Owned(resource) | Lookup::Unowned(resource) => self.known_endpoint = Some(resource.id.clone()),
            Lookup::Deleted | Lookup::Absent | Lookup::Unproven(..) | Lookup::Unconfirmed => {}
        }
        match &seen.group {
            Lookup::Owned(resource) | Lookup::Unowned(resource) => self.known_group = Some(resource.id.clone()),
            Lookup::Deleted => self.known_group = None,
            Lookup::Absent | Lookup::Unproven(..) | Lookup::Unconfirmed => {}
        }
    }

    /// Time passes: EC2 ends what it is at. Says whether that changed anything.
    pub(crate) fn tick(&mut self) -> bool {
        let before = self.clone();
        self.lingering.clear();
        for resource in self
            .endpoints
            .values_mut()
            .filter(|resource| resource.state == State::Pending)
        {
            resource.state = State::Available;
            resource.dns_names = vec![dns_name(&resource.id)];
            let subnets = attached(resource).subnets.iter();
            resource.interfaces = subnets.map(|subnet| format!("eni-in-{subnet}")).collect();
        }
        let (gone, rest) = std::mem::take(&mut self.endpoints)
            .into_iter()
            .partition(|(_, resource)| resource.state == State::Deleting);
        self.endpoints = rest;
        self.lingering.extend(
            gone.into_values()
                .flat_map(|resource| attached(&resource).groups.clone()),
        );
        *self != before
    }

    /// Carries out a step.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::CreateGroup {
                name,
                description,
                vpc,
                tags,
            } => self.create_group(name, description, vpc, tags),
            Step::Authorize(id, direction, rules) => self.authorize(id, *direction, rules)?,
            Step::Revoke(id, direction, rules) => self.revoke(id, *direction, rules),
            Step::UpdateRuleDescriptions(id, direction, rules) => {
                let there = rules_of(self.group(id), *direction);
                for (rule, text) in rules {
                    *there.get_mut(rule).expect("InvalidPermission.NotFound") = text.clone();
                }
            }
            Step::CreateEndpoint {
                vpc,
                target,
                attachment: Attachment::Interface(asked),
                tags,
            } => self.create_endpoint(vpc, target, asked, tags),
            Step::ModifyEndpoint {
                id,
                change: AttachmentChange::Interface(change),
            } => self.modify_endpoint(id, change)?,
            Step::Tag(id, tags) => {
                let there = self.tags(id);
                there.extend(tags.clone());
                assert!(there.len() <= MAX_TAGS, "TagLimitExceeded");
            }
            Step::Untag(id, keys) => self.tags(id).retain(|key, _| !keys.contains(key)),
            Step::DeleteEndpoint(id) => self.endpoint(id).state = State::Deleting,
            Step::DeleteGroup(id) => self.delete_group(id)?,
            Step::PublishService {
                name,
                external_name,
                ports,
                metadata,
                exists,
            } => {
                assert_eq!(self.services.contains_key(name), *exists, "AlreadyExists, or NotFound");
                let service = ObservedService {
                    name: name.clone(),
                    ours: true,
                    unowned: false,
                    external_name: Some(external_name.clone()),
                    ports: ports.clone(),
                    labelled: true,
                    metadata: metadata.clone(),
                    written_as: None,
                };
                self.services.insert(name.clone(), service);
            }
            Step::DeleteService(name) => {
                self.services.remove(name).expect("NotFound");
            }
        }
        Ok(())
    }

    fn create_group(&mut self, name: &str, description: &str, vpc: &VpcId, tags: &BTreeMap<String, String>) {
        let mut groups = self.groups.values();
        let taken = groups.any(|group| group.name == name && group.vpc == *vpc);
        assert!(!taken, "InvalidGroup.Duplicate");
        self.made += 1;
        let id = GroupId::from(format!("sg-made-{}", self.made));
        let group = ObservedGroup {
            id: id.clone(),
            name: name.to_owned(),
            description: description.to_owned(),
            vpc: vpc.clone(),
            tags: tags.clone(),
            ingress: RuleSet::new(),
            egress: rules::open(),
            ipv6_egress_unknown: true,
        };
        self.groups.insert(id, group);
    }

    fn authorize(&mut self, id: &GroupId, direction: Direction, rules: &RuleSet) -> Result<(), Refusal> {
        let quota = self.rule_quota;
        let group = self.group(id);
        if !settles_ipv6(group, direction, rules) {
            let there = rules_of(group, direction);
            assert!(
                !rules.keys().any(|rule| there.contains_key(rule)),
                "InvalidPermission.Duplicate"
            );
            if quota.is_some_and(|quota| exceeds(quota, there.keys().chain(rules.keys()))) {
                return Err(Refusal::RuleQuota);
            }
        }
        group.set_rules(direction, rules);
        Ok(())
    }

    fn revoke(&mut self, id: &GroupId, direction: Direction, rules: &RuleSet) {
        let group = self.group(id);
        if !settles_ipv6(group, direction, rules) {
            let there = rules_of(group, direction);
            assert!(
                rules.keys().all(|rule| there.contains_key(rule)),
                "InvalidPermission.NotFound"
            );
        }
        group.remove_rules(direction, rules);
    }

    fn create_endpoint(&mut self, vpc: &VpcId, target: &Target, asked: &Interface, tags: &BTreeMap<String, String>) {
        assert!(one_a_zone(&asked.subnets), "DuplicateSubnetsInSameZone");
        for id in &asked.groups {
            assert_eq!(self.group(id).vpc, *vpc, "InvalidParameter");
        }
        assert!(!asked.private_dns, "a name leads to what does not answer yet");
        self.made += 1;
        let id = EndpointId::from(format!("vpce-made{}", self.made));
        let endpoint = ObservedEndpoint {
            id: id.clone(),
            requester_managed: false,
            created: None,
            state: State::Pending,
            vpc: vpc.clone(),
            target: Some(target.clone()),
            attachment: ObservedAttachment::Interface(asked.clone()),
            tags: tags.clone(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        };
        self.endpoints.insert(id, endpoint);
    }

    fn modify_endpoint(&mut self, id: &EndpointId, change: &InterfaceChange) -> Result<(), Refusal> {
        for id in &change.add_groups {
            self.group(id);
        }
        let endpoint = self.endpoint(id);
        assert_eq!(endpoint.state, State::Available, "IncorrectState");
        let there = attached_mut(endpoint);
        // EC2 checks the zones before it removes.
        if !one_a_zone(&there.subnets.union(&change.add_subnets).cloned().collect()) {
            return Err(Refusal::SameZone);
        }
        assert!(
            change.remove_subnets.is_subset(&there.subnets),
            "InvalidSubnetId.NotFound"
        );
        assert!(change.remove_groups.is_subset(&there.groups), "InvalidGroup.NotFound");
        there.subnets = there.subnets.union(&change.add_subnets).cloned().collect();
        there.subnets.retain(|id| !change.remove_subnets.contains(id));
        there.groups = there.groups.union(&change.add_groups).cloned().collect();
        there.groups.retain(|id| !change.remove_groups.contains(id));
        there.private_dns = change.private_dns.unwrap_or(there.private_dns);
        if !change.add_subnets.is_empty() || !change.remove_subnets.is_empty() {
            endpoint.state = State::Pending;
        }
        self.lingering.extend(change.remove_groups.iter().cloned());
        Ok(())
    }

    fn delete_group(&mut self, id: &GroupId) -> Result<(), Refusal> {
        self.group(id);
        let mut attached = self.endpoints.values().flat_map(|endpoint| &attached(endpoint).groups);
        if attached.any(|group| group == id) || self.lingering.contains(id) {
            return Err(Refusal::InUse);
        }
        self.groups.remove(id);
        Ok(())
    }

    fn endpoint(&mut self, id: &EndpointId) -> &mut ObservedEndpoint {
        self.endpoints.get_mut(id).expect("InvalidVpcEndpointId.NotFound")
    }

    fn group(&mut self, id: &GroupId) -> &mut ObservedGroup {
        self.groups.get_mut(id).expect("InvalidGroup.NotFound")
    }

    fn tags(&mut self, id: &ResourceId) -> &mut BTreeMap<String, String> {
        match id {
            ResourceId::Endpoint(id) => &mut self.endpoint(id).tags,
            ResourceId::Group(id) => &mut self.group(id).tags,
        }
    }

    /// All resources of other owners, or not known to be ours.
    pub(crate) fn others(&self, owner: &Owner) -> World {
        let mut others = World {
            endpoints: self.endpoints.clone(),
            groups: self.groups.clone(),
            services: self.services.clone(),
            ..World::default()
        };
        others
            .endpoints
            .retain(|_, resource| owner.claim(&resource.tags) != Claim::Ours);
        others
            .groups
            .retain(|_, resource| owner.claim(&resource.tags) != Claim::Ours);
        others.services.retain(|_, resource| !resource.ours);
        others
    }
}

/// Whether rules are too many for a group: EC2 counts those for IPv4 and for IPv6 apart.
pub(crate) fn exceeds<'r>(quota: usize, rules: impl Iterator<Item = &'r Rule> + Clone) -> bool {
    let is = |rule: &Rule, v6: bool| matches!(&rule.peer, Peer::Cidr(net) if net.addr().is_ipv6() == v6);
    let count = |other: bool| rules.clone().filter(|rule| !is(rule, other)).count();
    count(true) > quota || count(false) > quota
}

/// Whether this is the one rule that a new group may have or not, so that AWS may answer either
/// way; then it is alone.
fn settles_ipv6(resource: &ObservedGroup, direction: Direction, asked: &RuleSet) -> bool {
    let concerned =
        resource.ipv6_egress_unknown && direction == Direction::Egress && asked.contains_key(&rules::open_ipv6());
    assert!(!concerned || asked.len() == 1, "one answer for several rules");
    concerned
}

/// What one look finds of the resources of a kind that are ours, and of the one that status knows.
fn lookup<F: Named + Clone>(
    known: Option<&F>,
    id: Option<&str>,
    missed: &mut BTreeSet<String>,
    ours: &mut Vec<F>,
) -> Lookup<F> {
    let Some(id) = id else {
        return match ours.is_empty() {
            true => Lookup::Absent,
            false => Lookup::Owned(ours.remove(0)),
        };
    };
    if let Some(place) = ours.iter().position(|resource| resource.id() == id) {
        return Lookup::Owned(ours.remove(place));
    }
    match known {
        Some(resource) => Lookup::Unowned(resource.clone()),
        None if missed.insert(id.to_owned()) => Lookup::Unconfirmed,
        None => Lookup::Deleted,
    }
}

/// What has an id.
trait Named {
    fn id(&self) -> &str;
}

impl Named for ObservedEndpoint {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Named for ObservedGroup {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// The zone of `subnet-a1` is `a`.
fn one_a_zone(subnets: &BTreeSet<SubnetId>) -> bool {
    let zones: BTreeSet<_> = subnets.iter().map(|id| id.as_str().as_bytes()[7]).collect();
    zones.len() == subnets.len()
}
