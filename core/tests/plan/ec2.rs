//! A small model of EC2 and of the namespace's Services and EndpointSlices, as they answer to
//! steps. What EC2 would refuse for good, fails the test: a plan only has steps that can run now.

use std::collections::{BTreeMap, BTreeSet};

use vpce_core::api::{DnsRecordIpType, EndpointType, IpAddressType};
use vpce_core::attachment::{Attachment, Interface, ObservedAttachment};
use vpce_core::change::EndpointChange;
use vpce_core::config_map::ObservedConfigMap;
use vpce_core::ids::{EndpointId, GroupId, SubnetId, VpcId};
use vpce_core::names::{ObservedDnsEndpoint, ObservedNames};
use vpce_core::observed::{
    Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, ServiceContent, ServiceTarget, State,
};
use vpce_core::options::{ObservedOptions, Options};
use vpce_core::plan::{Outcome, ResourceId, Step};
use vpce_core::policy::PolicyDigest;
use vpce_core::rules::{self, Direction, Peer, Rule, RuleSet};
use vpce_core::slices::{KnownAddresses, ObservedSlice, SliceContent};
use vpce_core::tags::{Claim, Owner};
use vpce_core::target::Target;

use crate::observations::{addresses_of, attached, dns_names, rules_of};

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
    /// IncorrectState: AWS is at work on the endpoint.
    State,
}

/// All resources, of every owner, and the ids that status has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) endpoints: BTreeMap<EndpointId, ObservedEndpoint>,
    pub(crate) groups: BTreeMap<GroupId, ObservedGroup>,
    pub(crate) services: BTreeMap<String, ObservedService>,
    pub(crate) slices: BTreeMap<String, ObservedSlice>,
    pub(crate) dns_endpoint: Option<ObservedDnsEndpoint>,
    pub(crate) config_map: Option<ObservedConfigMap>,
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
        let is_there = |resource: &&ObservedEndpoint| resource.state == State::Available;
        let described = endpoint.owned().filter(is_there).map(addresses_of).unwrap_or_default();
        Observed {
            endpoint,
            spare_endpoints: endpoints,
            group,
            services: self.services.values().cloned().collect(),
            prefix_list_id: None,
            slices: self.slices.values().cloned().collect(),
            addresses: match described.is_empty() {
                true => KnownAddresses::Unknown,
                false => KnownAddresses::All(described),
            },
            names: ObservedNames {
                endpoints: self.dns_endpoint.clone().into_iter().collect(),
                ..ObservedNames::default()
            },
            config_map: self.config_map.clone(),
            config_map_unavailable: None,
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
            Step::PublishSlice { content, .. } => Outcome::Slice(self.slices[&content.name()].clone()),
            Step::PublishDnsEndpoint { .. } => Outcome::DnsEndpoint(self.dns_endpoint.clone().expect("published")),
            Step::PublishConfigMap { .. } => Outcome::ConfigMap(self.config_map.clone().expect("published")),
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
            resource.dns_names = dns_names(resource);
            let subnets = attached(resource).subnets;
            resource.interfaces = subnets.iter().map(|subnet| format!("eni-in-{subnet}")).collect();
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
                attachment,
                options,
                tags,
            } => self.create_endpoint(vpc, target, attachment, options, tags),
            Step::ModifyEndpoint { id, change } => self.modify_endpoint(id, change)?,
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
                target,
                ports,
                metadata,
                exists,
            } => {
                assert_eq!(self.services.contains_key(name), *exists, "AlreadyExists, or NotFound");
                let content = ServiceContent {
                    target: target.clone(),
                    ports: ports.clone(),
                    metadata: metadata.clone(),
                };
                self.publish_service(name, &content);
            }
            Step::DeleteService(name) => {
                self.services.remove(name).expect("NotFound");
            }
            Step::PublishSlice { content, exists } => self.publish_slice(content, *exists),
            Step::DeleteSlice(name) => {
                self.slices.remove(name).expect("NotFound");
            }
            Step::PublishDnsEndpoint { name, content, exists } => {
                assert_eq!(self.dns_endpoint.is_some(), *exists, "AlreadyExists, or NotFound");
                self.dns_endpoint = Some(ObservedDnsEndpoint::published(name, content.clone()));
            }
            Step::DeleteDnsEndpoint(_) => {
                self.dns_endpoint.take().expect("NotFound");
            }
            Step::PublishConfigMap { name, content, exists } => {
                assert_eq!(self.config_map.is_some(), *exists, "AlreadyExists, or NotFound");
                self.config_map = Some(ObservedConfigMap::published(name, content.clone()));
            }
            Step::DeleteConfigMap(_) => {
                self.config_map.take().expect("NotFound");
            }
        }
        Ok(())
    }

    fn publish_service(&mut self, name: &str, content: &ServiceContent) {
        let ServiceContent {
            target,
            ports,
            metadata,
        } = content;
        let has_cluster_ip = |there: &ObservedService| !there.headless && there.external_name.is_none();
        let is_headless = *target == ServiceTarget::Addresses;
        let is_refused = is_headless && self.services.get(name).is_some_and(has_cluster_ip);
        assert!(!is_refused, "spec.clusterIP is immutable");
        let service = ObservedService {
            name: name.to_owned(),
            ours: true,
            unowned: false,
            headless: is_headless,
            external_name: match target {
                ServiceTarget::Name(name) => Some(name.clone()),
                ServiceTarget::Addresses => None,
            },
            ports: ports.clone(),
            labelled: true,
            metadata: metadata.clone(),
            written_as: None,
        };
        self.services.insert(name.to_owned(), service);
    }

    fn publish_slice(&mut self, content: &SliceContent, exists: bool) {
        let service = self.services.get(&content.service);
        let is_ours = service.is_some_and(|service| service.ours && service.headless);
        assert!(is_ours, "another's Service gets the addresses");
        let there = self.slices.get(&content.name());
        assert_eq!(there.is_some(), exists, "AlreadyExists, or NotFound");
        let is_of_family = there.is_none_or(|there| there.family == Some(content.family));
        assert!(is_of_family, "addressType is immutable");
        let slice = ObservedSlice {
            name: content.name(),
            ours: true,
            labelled: true,
            service: Some(content.service.clone()),
            family: Some(content.family),
            addresses: Some(content.addresses.clone()),
            ports: content.ports.clone(),
            written_as: None,
        };
        self.slices.insert(slice.name.clone(), slice);
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

    fn create_endpoint(
        &mut self,
        vpc: &VpcId,
        target: &Target,
        attachment: &Attachment,
        options: &Options,
        tags: &BTreeMap<String, String>,
    ) {
        let type_ = attachment.endpoint_type(target);
        if let Attachment::Interface(asked) = attachment {
            assert!(one_a_zone(&asked.subnets), "DuplicateSubnetsInSameZone");
            for id in &asked.groups {
                assert_eq!(self.group(id).vpc, *vpc, "InvalidParameter");
            }
            let waits = type_ == EndpointType::Interface;
            assert!(
                !(asked.private_dns && waits),
                "a name leads to what does not answer yet"
            );
        }
        assert!(options.inbound_resolver_only.is_none(), "it goes with private DNS");
        check_options(type_, options);
        self.made += 1;
        let id = EndpointId::from(format!("vpce-made{}", self.made));
        let endpoint = ObservedEndpoint {
            id: id.clone(),
            requester_managed: false,
            created: None,
            state: State::Pending,
            vpc: vpc.clone(),
            target: Some(target.clone()),
            attachment: attachment.clone().into(),
            options: filled_in(type_, ObservedOptions::created(options)),
            tags: tags.clone(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        };
        self.endpoints.insert(id, endpoint);
    }

    fn modify_endpoint(&mut self, id: &EndpointId, change: &EndpointChange) -> Result<(), Refusal> {
        for id in &change.add_groups {
            self.group(id);
        }
        let endpoint = self.endpoint(id);
        if endpoint.state != State::Available {
            return Err(Refusal::State);
        }
        let type_ = endpoint.endpoint_type().expect("of a known type");
        check_options(type_, &change.options);
        let fixes_private_dns = type_ != EndpointType::Interface;
        assert!(
            change.private_dns.is_none() || !fixes_private_dns,
            "InvalidParameter: private DNS"
        );
        let ObservedAttachment::Known(attachment) = &mut endpoint.attachment else {
            panic!("of a known type");
        };
        match attachment {
            Attachment::Interface(there) => modify_interface(there, change)?,
            Attachment::Gateway(tables) => {
                assert!(
                    !change.changes_subnets() && !change.changes_groups(),
                    "InvalidParameter"
                );
                assert!(change.add_route_tables.is_disjoint(tables), "RouteAlreadyExists");
                assert!(
                    change.remove_route_tables.is_subset(tables),
                    "InvalidRouteTableId.NotFound"
                );
                tables.extend(change.add_route_tables.iter().cloned());
                tables.retain(|id| !change.remove_route_tables.contains(id));
            }
            Attachment::GatewayLoadBalancer(_) => {
                assert!(
                    !change.changes_subnets() && !change.changes_groups(),
                    "InvalidParameter"
                );
            }
        }
        let is_gateway = type_ == EndpointType::Gateway;
        let changes_routes = !(change.add_route_tables.is_empty() && change.remove_route_tables.is_empty());
        assert!(is_gateway || !changes_routes, "InvalidParameter: route tables");
        let subnets = attached(endpoint).subnets;
        let moved = change.add_subnets.union(&change.remove_subnets);
        for subnet in moved {
            endpoint.options.addresses.remove(subnet);
        }
        assert!(
            change.options.addresses.keys().all(|subnet| subnets.contains(subnet)),
            "InvalidParameter: not among the subnets"
        );
        modify_options(type_, &mut endpoint.options, &change.options);
        if change.changes_subnets() || change.options.ip_address_type.is_some() {
            endpoint.state = State::Pending;
        }
        self.lingering.extend(change.remove_groups.iter().cloned());
        Ok(())
    }

    fn delete_group(&mut self, id: &GroupId) -> Result<(), Refusal> {
        self.group(id);
        let mut attached = self.endpoints.values().flat_map(|endpoint| attached(endpoint).groups);
        if attached.any(|group| group == *id) || self.lingering.contains(id) {
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
            slices: self.slices.clone(),
            ..World::default()
        };
        others
            .endpoints
            .retain(|_, resource| owner.claim(&resource.tags) != Claim::Ours);
        others
            .groups
            .retain(|_, resource| owner.claim(&resource.tags) != Claim::Ours);
        others.services.retain(|_, resource| !resource.ours);
        others.slices.retain(|_, slice| !slice.ours);
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

fn modify_interface(there: &mut Interface, change: &EndpointChange) -> Result<(), Refusal> {
    // EC2 checks the zones before it removes.
    if !one_a_zone(&there.subnets.union(&change.add_subnets).cloned().collect()) {
        return Err(Refusal::SameZone);
    }
    assert!(
        change.remove_subnets.is_subset(&there.subnets),
        "InvalidSubnetId.NotFound"
    );
    assert!(change.remove_groups.is_subset(&there.groups), "InvalidGroup.NotFound");
    there.subnets.extend(change.add_subnets.iter().cloned());
    there.subnets.retain(|id| !change.remove_subnets.contains(id));
    there.groups.extend(change.add_groups.iter().cloned());
    there.groups.retain(|id| !change.remove_groups.contains(id));
    there.private_dns = change.private_dns.unwrap_or(there.private_dns);
    Ok(())
}

/// EC2 refuses an option that an endpoint of the type does not have, and two that do not fit.
fn check_options(type_: EndpointType, options: &Options) {
    assert!(
        options.policy.is_none() || type_.has_policy(),
        "InvalidParameter: policy"
    );
    let has_records = type_.has_dns_options();
    assert!(
        options.dns_record_ip_type.is_none() || has_records,
        "InvalidParameter: DNS"
    );
    let is_interface = type_ == EndpointType::Interface;
    assert!(
        options.inbound_resolver_only.is_none() || is_interface,
        "InvalidParameter: inbound"
    );
    fitting(options.ip_address_type, options.dns_record_ip_type);
}

/// EC2 refuses records that do not go with the addresses.
fn fitting(addresses: Option<IpAddressType>, records: Option<DnsRecordIpType>) {
    if let (Some(addresses), Some(records)) = (addresses, records) {
        assert!(
            records.goes_with(addresses),
            "InvalidParameter: {addresses} with {records}"
        );
    }
}

fn modify_options(type_: EndpointType, there: &mut ObservedOptions, change: &Options) {
    let changed = ObservedOptions::created(change);
    there.policy = changed.policy.or(there.policy);
    there.ip_address_type = changed.ip_address_type.or(there.ip_address_type);
    there.dns_record_ip_type = changed.dns_record_ip_type.or(there.dns_record_ip_type);
    there.inbound_resolver_only = changed.inbound_resolver_only.or(there.inbound_resolver_only);
    there.addresses.extend(changed.addresses);
    if type_.has_dns_options() {
        fitting(there.ip_address_type, there.dns_record_ip_type);
    }
}

/// What EC2 describes where nothing was asked for.
pub(crate) fn filled_in(type_: EndpointType, options: ObservedOptions) -> ObservedOptions {
    let addresses = options.ip_address_type.unwrap_or_default();
    ObservedOptions {
        policy: options.policy.or_else(|| Some(PolicyDigest::full_access())),
        ip_address_type: Some(addresses),
        dns_record_ip_type: options
            .dns_record_ip_type
            .or_else(|| Some(DnsRecordIpType::default_of(type_, addresses))),
        inbound_resolver_only: options.inbound_resolver_only,
        addresses: options.addresses,
    }
}
