//! Laws of planning, held against a model of EC2: whatever is wanted, whatever is there, whatever
//! crashes when.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use vpce_core::api::{DeletionPolicy, DnsRecordIpType};
use vpce_core::attachment::Attachment;
use vpce_core::conditions::Reason;
use vpce_core::desired::{Desired, DesiredService, Groups};
use vpce_core::ids::GroupId;
use vpce_core::names::Record;
use vpce_core::observed::{Lookup, Observed, ObservedEndpoint, ObservedService, State};
use vpce_core::options::ObservedOptions;
use vpce_core::plan::{Fallbacks, Plan, PlanContext, ResourceId, Step, plan, plan_deletion, simulate};
use vpce_core::rules;
use vpce_core::slices::{AddressFamily, InterfaceAddress, KnownAddresses, ObservedSlice, SliceContent};
use vpce_core::tags::{self, Claim};

use crate::ec2::{Refusal, World, filled_in};
use crate::observations::*;
use crate::scenario::{Scenario, scenario};

/// So many rounds of planning and applying are few: recreated, waited for, swapped, detached,
/// cleaned up.
const FEW: usize = 12;

/// Plans and applies until there is nothing left to do and EC2 is at rest; gives the last plan.
fn converge(
    world: &mut World,
    kills: &[usize],
    mut planned: impl FnMut(&Observed, Fallbacks) -> Plan,
    may_recreate: bool,
) -> Plan {
    let mut fallbacks = Fallbacks::default();
    for round in 0..FEW + kills.len() {
        let mut seen = world.look(&owner());
        if may_recreate && seen.endpoint == Lookup::Deleted {
            world.known_endpoint = None;
            seen = world.look(&owner());
        }
        world.remember(&seen);
        let plan = planned(&seen, fallbacks);
        let limit = kills.get(round).copied().unwrap_or(usize::MAX);
        for step in plan.steps.iter().take(limit) {
            match world.apply(step) {
                Ok(()) => {}
                Err(Refusal::SameZone) => {
                    fallbacks.swap_subnets_apart = true;
                    break;
                }
                Err(Refusal::InUse | Refusal::RuleQuota | Refusal::State) => break,
            }
        }
        let moved = world.tick();
        let sure = seen.endpoint != Lookup::Unconfirmed && seen.group != Lookup::Unconfirmed;
        if plan.steps.is_empty() && !moved && sure {
            return plan;
        }
    }
    panic!("still at it: {:?}", planned(&world.look(&owner()), fallbacks));
}

/// What every single plan keeps to, towards what is desired.
pub(crate) fn check_steps(plan: &Plan, seen: &Observed, desired: &Desired, context: PlanContext<'_>) {
    let endpoint = seen.endpoint.owned();
    let group = seen.group.owned();
    let is_ours = |id: &ResourceId| match id {
        ResourceId::Endpoint(id) => endpoint.is_some_and(|resource| resource.id == *id),
        ResourceId::Group(id) => group.is_some_and(|resource| resource.id == *id),
    };
    let own_group = |id: &GroupId| is_ours(&ResourceId::Group(id.clone()));
    let may_attach = |id: &GroupId| match &asked(desired).groups {
        Groups::Own(_) => own_group(id),
        Groups::Provided(ids) => ids.contains(id),
        Groups::Kept => false,
    };
    for step in &plan.steps {
        match step {
            Step::CreateGroup { name, tags, .. } => {
                assert!(matches!(&asked(desired).groups, Groups::Own(own) if own.name == *name));
                assert!(group.is_none() && context.paused.is_none());
                assert_eq!(*tags, desired.tags);
            }
            Step::Authorize(id, ..) | Step::Revoke(id, ..) | Step::UpdateRuleDescriptions(id, ..) => {
                assert!(
                    own_group(id) && matches!(asked(desired).groups, Groups::Own(_)),
                    "{step}"
                );
            }
            Step::CreateEndpoint {
                target,
                attachment,
                tags,
                ..
            } => {
                assert!(seen.endpoint == Lookup::Absent && context.paused.is_none());
                let groups = attachment.groups();
                assert!(groups.into_iter().flatten().all(may_attach), "{groups:?}");
                assert_eq!(attachment.endpoint_type(target), type_of(desired));
                assert_eq!(*tags, desired.tags);
            }
            Step::ModifyEndpoint { id, change } => {
                let resource = endpoint.filter(|resource| resource.id == *id).expect("ours");
                assert_eq!(resource.state, State::Available);
                assert!(change.add_groups.iter().all(may_attach), "{change:?}");
                assert!(change.remove_groups.is_subset(&attached(resource).groups));
                assert!(
                    change.remove_route_tables.is_subset(context.route_tables),
                    "another's: {change:?}"
                );
                assert!(change.add_route_tables.is_disjoint(&change.remove_route_tables));
            }
            Step::Tag(id, tags) => {
                assert!(is_ours(id), "{step}");
                for (key, value) in tags {
                    assert_eq!(desired.tags.get(key), Some(value));
                }
            }
            Step::Untag(id, keys) => {
                assert!(is_ours(id), "{step}");
                for key in keys {
                    assert!(context.tag_keys.contains(key), "{key} is not ours to remove");
                    assert!(!desired.tags.contains_key(key) && !key.starts_with(tags::RESERVED_PREFIX));
                }
            }
            Step::DeleteEndpoint(id) => panic!("a living object's endpoint {id} is deleted"),
            Step::DeleteGroup(id) => {
                assert!(own_group(id), "{step}");
                assert!(matches!(&asked(desired).groups, Groups::Provided(ids) if !ids.contains(id)));
            }
            _ => check_published(step, seen, desired),
        }
    }
}

/// What a plan of what is published keeps to.
fn check_published(step: &Step, seen: &Observed, desired: &Desired) {
    match step {
        Step::PublishService { name, exists, .. } => {
            let there = seen.services.iter().find(|service| service.name == *name);
            assert!(there.is_none_or(|service| service.ours), "{step}");
            assert_eq!(there.is_some(), *exists);
        }
        Step::DeleteService(name) => {
            let there = seen.services.iter().find(|service| service.name == *name);
            let there = there.filter(|service| service.ours).expect("ours");
            // A cluster IP cannot be taken away.
            let has_cluster_ip = there.external_name.is_none() && !there.headless;
            let is_wanted = |wanted: &DesiredService| wanted.name == *name && !(wanted.headless && has_cluster_ip);
            assert!(!desired.service.as_ref().is_some_and(is_wanted), "{step}");
        }
        Step::PublishSlice { content, .. } => {
            let there = seen.slices.iter().find(|slice| slice.name == content.name());
            assert!(there.is_none_or(|slice| slice.ours), "{step}");
            let wanted = desired.service.as_ref().expect("a Service");
            assert!(wanted.headless && wanted.name == content.service, "{step}");
        }
        Step::PublishDnsEndpoint { exists, .. } => {
            let there = seen.names.endpoints.first();
            assert!(
                !desired.names.is_empty() && there.is_none_or(|found| found.ours),
                "{step}"
            );
            assert_eq!(there.is_some(), *exists);
        }
        Step::DeleteDnsEndpoint(_) => {
            let there = seen.names.endpoints.first().expect("there");
            assert!(desired.names.is_empty() && there.ours, "{step}");
        }
        Step::PublishConfigMap { exists, .. } => {
            let there = seen.config_map.as_ref();
            assert!(desired.config_map && there.is_none_or(|found| found.ours), "{step}");
            assert_eq!(there.is_some(), *exists);
        }
        Step::DeleteConfigMap(_) => {
            let there = seen.config_map.as_ref().expect("there");
            assert!(!desired.config_map && there.ours, "{step}");
        }
        Step::DeleteSlice(name) => {
            let there = seen.slices.iter().find(|slice| slice.name == *name);
            assert!(there.is_some_and(|slice| slice.ours), "{step}");
        }
        _ => {}
    }
}

/// Everything as desired, read off the world itself.
pub(crate) fn check_fulfilled(world: &World, scenario: &Scenario) {
    let Scenario {
        desired,
        world: before,
        tag_keys,
        ..
    } = scenario;
    check_attached(world, scenario, &[]);
    let id = world.known_endpoint.as_ref().expect("a known endpoint");
    let endpoint = &world.endpoints[id];
    assert_eq!(endpoint.state, State::Available);
    assert_eq!(attached(endpoint).subnets, asked(desired).subnets);
    for (subnet, addresses) in &desired.options.addresses {
        assert_eq!(endpoint.options.addresses.get(subnet), Some(addresses), "{subnet}");
    }
    let own: Vec<_> = world
        .groups
        .values()
        .filter(|resource| owner().claim(&resource.tags) == Claim::Ours)
        .collect();
    let mut tagged = vec![(&endpoint.tags, before.endpoints.get(id).map(|resource| &resource.tags))];
    match &asked(desired).groups {
        Groups::Own(wanted) => {
            let [group] = own[..] else {
                panic!("one group: {own:?}");
            };
            assert_eq!(attached(endpoint).groups, [group.id.clone()].into());
            assert_eq!(group.ingress, wanted.ingress);
            let mut egress = group.egress.clone();
            if wanted.open_egress {
                egress.remove(&rules::open_ipv6());
            }
            assert_eq!(egress, wanted.egress);
            tagged.push((&group.tags, before.groups.get(&group.id).map(|resource| &resource.tags)));
        }
        Groups::Provided(wanted) => {
            assert_eq!(attached(endpoint).groups, *wanted);
            assert!(own.iter().all(|group| wanted.contains(&group.id)), "{own:?}");
        }
        Groups::Kept => unreachable!("no scenario adopts"),
    }
    for (found, before) in tagged {
        for (key, value) in &desired.tags {
            assert_eq!(found.get(key), Some(value));
        }
        for (key, value) in before
            .into_iter()
            .flatten()
            .filter(|(key, _)| !desired.tags.contains_key(*key))
        {
            let kept = !tag_keys.contains(key);
            assert_eq!(found.get(key), kept.then_some(value), "{key}");
        }
    }
    let ours: BTreeSet<_> = world
        .services
        .values()
        .filter(|service| service.ours)
        .map(|service| &service.name)
        .collect();
    let wanted: BTreeSet<_> = desired.service.iter().map(|service| &service.name).collect();
    assert_eq!(ours, wanted);
    if let Some(wanted) = &desired.service {
        let service = &world.services[&wanted.name];
        check_leads(service, wanted, endpoint);
        assert_eq!(service.ports, wanted.ports);
        assert!(service.labelled);
    }
    check_slices(world, desired, endpoint);
}

/// The Service leads to the endpoint in the way that is wanted.
pub(crate) fn check_leads(service: &ObservedService, wanted: &DesiredService, endpoint: &ObservedEndpoint) {
    let name = (!wanted.headless).then(|| endpoint.publishable_dns_name()).flatten();
    assert_eq!((&service.external_name, service.headless), (&name, wanted.headless));
}

/// Our EndpointSlices are those of the headless Service, if one is wanted.
pub(crate) fn check_slices(world: &World, desired: &Desired, endpoint: &ObservedEndpoint) {
    let wanted = desired.service.as_ref().filter(|wanted| wanted.headless);
    let contents = wanted.into_iter().flat_map(|wanted| slices_of(wanted, endpoint));
    let wanted: Vec<ObservedSlice> = contents.map(ObservedSlice::published).collect();
    let ours: Vec<ObservedSlice> = world.slices.values().filter(|slice| slice.ours).cloned().collect();
    assert_eq!(ours, wanted);
}

/// A part of a change of an endpoint that AWS may refuse without another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangePart {
    Routes,
    Policy,
    PrivateDNS,
    Addresses,
}

/// Route tables and options: unless it is refused, what is desired is there, what was applied
/// once and is not desired any more is taken back, and the rest is as it was.
pub(crate) fn check_attached(world: &World, scenario: &Scenario, refused: &[ChangePart]) {
    let Scenario {
        desired,
        world: before,
        applied,
        ..
    } = scenario;
    let id = world.known_endpoint.as_ref().expect("a known endpoint");
    let endpoint = &world.endpoints[id];
    let former = before.endpoints.get(id);
    assert_eq!(endpoint.endpoint_type(), Some(type_of(desired)));
    let tables_of = |resource: &ObservedEndpoint| {
        let attachment = resource.attachment.known();
        attachment
            .and_then(|attachment| attachment.route_tables())
            .cloned()
            .unwrap_or_default()
    };
    let others = former.map(tables_of).unwrap_or_default();
    let others = others.difference(&applied.tables).cloned();
    let wanted = desired.attachment.route_tables().cloned().unwrap_or_default();
    let may = |part| !refused.contains(&part);
    if may(ChangePart::Routes) {
        assert_eq!(tables_of(endpoint), wanted.into_iter().chain(others).collect());
    }
    let type_ = type_of(desired);
    let wanted = ObservedOptions::created(&desired.options.with_defaults(type_, &applied.fields));
    let there = &endpoint.options;
    let former = former.map(|resource| resource.options.clone());
    let former = former.unwrap_or_else(|| filled_in(type_, ObservedOptions::created(&desired.options)));
    if may(ChangePart::Policy) {
        assert_eq!(there.policy, wanted.policy.or(former.policy));
    }
    let inbound = wanted.inbound_resolver_only.filter(|_| may(ChangePart::PrivateDNS));
    assert!(inbound.is_none_or(|wanted| there.inbound_resolver_only.unwrap_or(false) == wanted));
    if !may(ChangePart::Addresses) {
        return;
    }
    assert_eq!(there.ip_address_type, wanted.ip_address_type.or(former.ip_address_type));
    let addresses = there.ip_address_type.expect("EC2 has one");
    let is_kept = |records: &DnsRecordIpType| records.goes_with(addresses) || !type_.has_dns_options();
    let kept = former.dns_record_ip_type.filter(is_kept);
    let records = wanted.dns_record_ip_type.or(kept);
    let default = DnsRecordIpType::default_of(type_, addresses);
    assert_eq!(there.dns_record_ip_type, Some(records.unwrap_or(default)));
}

/// Why this world cannot be made as desired without a person, if that is so.
pub(crate) fn obstacles(scenario: &Scenario) -> BTreeSet<Reason> {
    let Scenario {
        desired, world, paused, ..
    } = scenario;
    let mut reasons = BTreeSet::new();
    let endpoint = world.known_endpoint.as_ref().and_then(|id| world.endpoints.get(id));
    let ours = |tags| owner().claim(tags) == Claim::Ours;
    let endpoint = endpoint.or_else(|| world.endpoints.values().find(|resource| ours(&resource.tags)));
    let group = world.known_group.as_ref().and_then(|id| world.groups.get(id));
    let lost_group =
        matches!(asked(desired).groups, Groups::Own(_)) && group.is_some_and(|resource| !ours(&resource.tags));
    if lost_group || endpoint.is_some_and(|resource| !ours(&resource.tags)) {
        reasons.insert(Reason::OwnershipLost);
    }
    if *paused {
        reasons.insert(Reason::CreationPaused);
        // Held, it is not made again.
        reasons.insert(Reason::DeletedInAWS);
    }
    if let Some(resource) = endpoint {
        let subnet_is_fixed = matches!(desired.attachment, Attachment::GatewayLoadBalancer(_));
        let is_elsewhere = subnet_is_fixed && attached(resource).subnets != asked(desired).subnets;
        if resource.target.as_ref() != Some(&desired.target) || is_elsewhere {
            reasons.insert(Reason::BindingConflict);
        }
        match resource.state {
            State::Rejected => _ = reasons.insert(Reason::Rejected),
            State::Failed => _ = reasons.insert(Reason::Failed),
            State::Expired => _ = reasons.insert(Reason::Expired),
            State::PendingAcceptance => _ = reasons.insert(Reason::PendingAcceptance),
            State::Partial => _ = reasons.insert(Reason::Partial),
            State::Other(_) => _ = reasons.insert(Reason::Pending),
            State::Available | State::Pending | State::Deleting | State::Deleted => {}
        }
    }
    reasons
}

/// Whether another has a Service or an EndpointSlice of a name that is wanted.
pub(crate) fn foreign_service(scenario: &Scenario) -> bool {
    let Some(wanted) = &scenario.desired.service else {
        return false;
    };
    let service = scenario.world.services.get(&wanted.name);
    let names = AddressFamily::ALL.map(|family| SliceContent::name_of(&wanted.name, family));
    let mut slices = names.iter().filter_map(|name| scenario.world.slices.get(name));
    service.is_some_and(|service| !service.ours) || (wanted.headless && slices.any(|slice| !slice.ours))
}

pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn planning_and_applying_ends_in_what_is_desired_and_touches_nothing_else(scenario in scenario()) {
        let Scenario { desired, world: before, paused, kills, .. } = &scenario;
        let mut world = before.clone();
        let paused = paused.then_some("h-1");
        let mut step_towards = |seen: &Observed, fallbacks| {
            let context = PlanContext { paused, fallbacks, ..scenario.context() };
            let found = plan(&owner(), desired, seen, context);
            check_steps(&found, seen, desired, context);
            found
        };
        let last = converge(&mut world, kills, &mut step_towards, paused.is_none());

        prop_assert_eq!(world.others(&owner()), left_alone(before).others(&owner()));
        let spare = |world: &World| world.endpoints.get(&"vpce-spare".into()).cloned();
        let spared = world.known_endpoint != Some("vpce-spare".into());
        prop_assert!(!spared || spare(&world) == spare(before));
        let hers = |world: &World| world.endpoints.values().filter(|resource| owner().claim(&resource.tags) == Claim::Ours).count();
        prop_assert!(hers(&world) <= hers(before).max(1), "made twice");

        let obstacles = obstacles(&scenario);
        if last.endpoint.ok {
            prop_assert_eq!(last.endpoint.reason, Reason::Available);
        } else {
            prop_assert!(obstacles.contains(&last.endpoint.reason), "{:?}", last.endpoint);
        }
        prop_assert!(last.service.ok || foreign_service(&scenario) || !last.endpoint.ok, "{:?}", last.service);
        if last.endpoint.ok && last.service.ok {
            check_fulfilled(&world, &scenario);
        }
        // What is settled stays settled.
        let again = converge(&mut world.clone(), &[], &mut step_towards, paused.is_none());
        prop_assert_eq!(again, last);
    }

    #[test]
    fn a_deleted_object_leaves_nothing_behind_and_touches_nothing_else(scenario in scenario(), retain in any::<bool>()) {
        let Scenario { world: before, kills, .. } = &scenario;
        let mut world = before.clone();
        let policy = if retain { Ok(DeletionPolicy::Retain) } else { Ok(DeletionPolicy::Delete) };
        let mut step_away = |seen: &Observed, _| plan_deletion(&owner(), seen, policy);
        let last = converge(&mut world, kills, &mut step_away, false);

        let ours = |tags| owner().claim(tags) == Claim::Ours;
        if retain {
            prop_assert!(last.endpoint.ok);
            check_released(&world, before);
        } else {
            let rest = left_alone(before);
            prop_assert_eq!(world.others(&owner()), rest.others(&owner()));
            let endpoint = rest.known_endpoint.as_ref().and_then(|id| rest.endpoints.get(id));
            let group = rest.known_group.as_ref().and_then(|id| rest.groups.get(id));
            let lost_endpoint = endpoint.is_some_and(|resource| !ours(&resource.tags));
            let lost_group = group.is_some_and(|resource| !ours(&resource.tags));
            prop_assert_eq!(last.endpoint.ok, !lost_endpoint && !lost_group, "{:?}", last.endpoint);
            prop_assert!(last.endpoint.ok || last.endpoint.reason == Reason::OwnershipLost);
            let endpoints = world.endpoints.values().filter(|resource| ours(&resource.tags)).count();
            prop_assert!(endpoints == 0 || lost_endpoint);
            let groups = world.groups.values().filter(|resource| ours(&resource.tags)).count();
            // The group of an endpoint that is lost waits with it.
            prop_assert!(groups == 0 || lost_endpoint);
        }
        prop_assert!(last.service.ok);
        prop_assert!(world.services.values().all(|service| !service.ours));
        prop_assert!(world.slices.values().all(|slice| !slice.ours));
    }
}

/// What was carried out until nothing was left to do, as actions, and what was then seen; none
/// where EC2 refused something for a while, or where something had to be looked for again.
fn carried_out(world: &World, planned: impl Fn(&Observed) -> Plan) -> Option<(Vec<&'static str>, Observed)> {
    let mut world = world.clone();
    let mut done = Vec::new();
    for _ in 0..2 * FEW {
        let seen = world.look(&owner());
        if seen.endpoint == Lookup::Unconfirmed || seen.group == Lookup::Unconfirmed || !seen.spare_endpoints.is_empty()
        {
            return None;
        }
        let steps = planned(&seen).steps;
        for step in &steps {
            world.apply(step).ok()?;
            done.push(step.action());
        }
        if !world.tick() && steps.is_empty() {
            return Some((done, seen));
        }
    }
    panic!("still at it")
}

/// Addresses, by their number.
fn counted(addresses: &mut BTreeSet<InterfaceAddress>) {
    let counted = |(number, address): (usize, InterfaceAddress)| InterfaceAddress {
        address: number.to_string(),
        ..address
    };
    *addresses = std::mem::take(addresses).into_iter().enumerate().map(counted).collect();
}

/// What was seen, without what only AWS can know: the ids, DNS names, interfaces and addresses of
/// what is new.
fn without_names(observed: &Observed) -> Observed {
    let mut observed = observed.clone();
    let group = GroupId::from("sg-new");
    if let Some(id) = observed
        .group
        .owned()
        .map(|resource| resource.id.clone())
        .filter(|id| *id != OWN_GROUP.into())
    {
        self::group(&mut observed).id = group.clone();
        if let Lookup::Owned(resource) = &mut observed.endpoint
            && attached(resource).groups.contains(&id)
        {
            let groups = &mut attached_mut(resource).groups;
            groups.remove(&id);
            groups.insert(group);
        }
    }
    if let Lookup::Owned(resource) = &mut observed.endpoint {
        resource.interfaces = vec![resource.interfaces.len().to_string()];
        let type_ = resource.endpoint_type().expect("of a known type");
        resource.options = filled_in(type_, std::mem::take(&mut resource.options));
        if resource.id != ENDPOINT.into() {
            let name = resource.publishable_dns_name();
            resource.id = "vpce-new".into();
            resource.dns_names = vec![resource.dns_names.len().to_string()];
            for service in observed
                .services
                .iter_mut()
                .filter(|service| service.external_name == name)
            {
                service.external_name = None;
            }
        }
    }
    if let KnownAddresses::All(addresses) = &mut observed.addresses {
        counted(addresses);
    }
    for found in observed.names.endpoints.iter_mut().filter(|found| found.ours) {
        let records = found.records.iter_mut();
        records.for_each(|records| {
            *records = records
                .iter()
                .map(|record| Record {
                    target: String::new(),
                    ..record.clone()
                })
                .collect()
        });
    }
    if let Some(found) = observed.config_map.as_mut().filter(|found| found.ours) {
        found.data = found.data.take().map(|_| BTreeMap::new());
    }
    let slices = observed.slices.iter_mut().filter(|slice| slice.ours);
    slices.filter_map(|slice| slice.addresses.as_mut()).for_each(counted);
    // What is no longer ours is found only while status knows it.
    if matches!(observed.endpoint, Lookup::Unowned(_)) {
        observed.endpoint = Lookup::Absent;
    }
    if matches!(observed.group, Lookup::Unowned(_)) {
        observed.group = Lookup::Absent;
    }
    in_order(observed)
}

/// The order of Services means nothing, nor whether status still knows what is gone, nor the
/// addresses of what is not ours.
fn in_order(mut observed: Observed) -> Observed {
    observed.services.sort_by(|a, b| a.name.cmp(&b.name));
    observed.slices.sort_by(|a, b| a.name.cmp(&b.name));
    if observed.endpoint.owned().is_none() {
        observed.addresses = KnownAddresses::Unknown;
    }
    if observed.endpoint == Lookup::Deleted {
        observed.endpoint = Lookup::Absent;
    }
    if observed.group == Lookup::Deleted {
        observed.group = Lookup::Absent;
    }
    observed
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_simulated_is_what_is_then_done(scenario in scenario(), policy in any::<Option<bool>>()) {
        let Scenario { desired, world, .. } = &scenario;
        let context = PlanContext { paused: None, ..scenario.context() };
        let policy = policy.map(|retain| if retain { Ok(DeletionPolicy::Retain) } else { Ok(DeletionPolicy::Delete) });
        let planned = |seen: &Observed| match policy {
            None => plan(&owner(), desired, seen, context),
            Some(policy) => plan_deletion(&owner(), seen, policy),
        };
        let seen = world.clone().look(&owner());
        let simulated = simulate(&seen, policy.is_none().then_some(desired), planned);
        if let Some((done, reached)) = carried_out(world, planned) {
            // Whether an interface that AWS is at work on keeps its address is seen only then, and
            // what it is says a ConfigMap, too.
            let foreseen = |action: &&str| !["PublishEndpointSlice", "PublishConfigMap"].contains(action);
            let steps = simulated.steps.iter().map(Step::action);
            let done = done.into_iter().filter(foreseen);
            prop_assert_eq!(steps.filter(foreseen).collect::<Vec<_>>(), done.collect::<Vec<_>>());
            prop_assert_eq!(without_names(&simulated.reached), without_names(&reached));
        }
    }

    #[test]
    fn what_is_recorded_of_a_step_is_what_ec2_then_shows(scenario in scenario(), policy in any::<Option<bool>>()) {
        let Scenario { desired, world, .. } = &scenario;
        let context = PlanContext { paused: None, ..scenario.context() };
        let policy = policy.map(|retain| if retain { Ok(DeletionPolicy::Retain) } else { Ok(DeletionPolicy::Delete) });
        let mut world = world.clone();
        for _ in 0..FEW {
            let mut seen = world.look_twice(&owner());
            if policy.is_none() && seen.endpoint == Lookup::Deleted {
                world.known_endpoint = None;
                seen = world.look_twice(&owner());
            }
            world.remember(&seen);
            let plan = match policy {
                None => plan(&owner(), desired, &seen, context),
                Some(policy) => plan_deletion(&owner(), &seen, policy),
            };
            for step in &plan.steps {
                if world.apply(step).is_err() {
                    break;
                }
                seen.record(step.effect(world.answer(step)));
                prop_assert_eq!(in_order(seen.clone()), in_order(world.look_twice(&owner())), "{}", step);
            }
            world.tick();
        }
    }
}

/// The world as it becomes by itself.
fn left_alone(before: &World) -> World {
    let mut world = before.clone();
    world.tick();
    world
}

/// Nothing was deleted, nothing of another owner changed, and what was ours carries the mark in
/// place of our tags.
fn check_released(world: &World, before: &World) {
    let owners = [tags::CLUSTER, tags::NAMESPACE, tags::NAME, tags::UID];
    let mut expected = before.clone();
    let endpoints = expected
        .endpoints
        .values_mut()
        .filter(|resource| resource.state != State::Deleting)
        .map(|resource| &mut resource.tags);
    for tags in endpoints.chain(expected.groups.values_mut().map(|resource| &mut resource.tags)) {
        if owner().claim(tags) == Claim::Ours {
            tags.retain(|key, _| !owners.contains(&key.as_str()));
            tags.insert(tags::RETAINED.into(), "c/blue/db".into());
        }
    }
    expected.tick();
    assert_eq!(world.endpoints, expected.endpoints);
    assert_eq!(world.groups, expected.groups);
}
