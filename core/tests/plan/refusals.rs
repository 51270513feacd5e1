//! What AWS or the API server refuses blocks nothing that does not depend on it, and is never
//! reported as done.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;
use vpce_core::api::DeletionPolicy;
use vpce_core::conditions::{Finding, Reason, reason_of};
use vpce_core::desired::{Desired, Groups};
use vpce_core::error::{Class, classify};
use vpce_core::observed::{Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, State};
use vpce_core::plan::{
    Fallbacks, Part, Plan, PlanContext, Progress, ResourceId, Step, UnfinishedReason, plan, plan_deletion,
};
use vpce_core::rules::{self, Direction};
use vpce_core::tags::{self, Claim};

use crate::ec2::{Refusal, World, exceeds};
use crate::laws::{
    ChangePart, check_attached, check_fulfilled, check_leads, check_slices, check_steps, config, foreign_service,
    obstacles,
};
use crate::observations::{USUAL, asked, attached, owner, rules_of};
use crate::scenario::{Scenario, scenario};

/// Made, waited for, swapped, tried apart, detached, cleaned up, with something refused in between.
const ROUNDS: usize = 24;

/// What can be refused by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    MakeGroup,
    DropGroup,
    Open(Direction),
    Close(Direction),
    Describe(Direction),
    MakeEndpoint,
    Subnets,
    Groups,
    PrivateDNS,
    Routes,
    FormerRoutes,
    Policy,
    Addresses,
    DropEndpoint,
    Tag(Part),
    Untag(Part),
    Publish,
    Unpublish,
}

use Thing::{
    Addresses, Close, Describe, DropEndpoint, DropGroup, FormerRoutes, MakeEndpoint, MakeGroup, Open, Policy,
    PrivateDNS, Publish, Routes, Subnets, Tag, Unpublish, Untag,
};

const ALL: [Thing; 24] = [
    MakeGroup,
    DropGroup,
    Open(Direction::Ingress),
    Open(Direction::Egress),
    Close(Direction::Ingress),
    Close(Direction::Egress),
    Describe(Direction::Ingress),
    Describe(Direction::Egress),
    MakeEndpoint,
    Subnets,
    Thing::Groups,
    PrivateDNS,
    Routes,
    FormerRoutes,
    Policy,
    Addresses,
    DropEndpoint,
    Tag(Part::Endpoint),
    Tag(Part::Group),
    Untag(Part::Endpoint),
    Untag(Part::Group),
    Publish,
    Unpublish,
    // Often enough.
    Publish,
];

const CODES: [&str; 5] = [
    "UnauthorizedOperation",
    "InvalidParameter",
    "InvalidSubnetID.NotFound",
    "VpcEndpointLimitExceeded",
    "SomethingNew",
];

/// What a step is about.
fn things(step: &Step) -> Vec<Thing> {
    match step {
        Step::CreateGroup { .. } => vec![MakeGroup],
        Step::DeleteGroup(_) => vec![DropGroup],
        Step::Authorize(_, direction, _) => vec![Open(*direction)],
        Step::Revoke(_, direction, _) => vec![Close(*direction)],
        Step::UpdateRuleDescriptions(_, direction, _) => vec![Describe(*direction)],
        Step::CreateEndpoint { .. } => vec![MakeEndpoint],
        Step::ModifyEndpoint { change, .. } => [
            (change.changes_subnets(), Subnets),
            (change.changes_groups(), Thing::Groups),
            (
                change.private_dns.is_some() || change.options.inbound_resolver_only.is_some(),
                PrivateDNS,
            ),
            (!change.add_route_tables.is_empty(), Routes),
            (!change.remove_route_tables.is_empty(), FormerRoutes),
            (change.options.policy.is_some(), Policy),
            (
                change.options.ip_address_type.is_some() || change.options.dns_record_ip_type.is_some(),
                Addresses,
            ),
        ]
        .into_iter()
        .filter_map(|(is_in, thing)| is_in.then_some(thing))
        .collect(),
        Step::DeleteEndpoint(_) => vec![DropEndpoint],
        Step::Tag(ResourceId::Endpoint(_), _) => vec![Tag(Part::Endpoint)],
        Step::Tag(ResourceId::Group(_), _) => vec![Tag(Part::Group)],
        Step::Untag(ResourceId::Endpoint(_), _) => vec![Untag(Part::Endpoint)],
        Step::Untag(ResourceId::Group(_), _) => vec![Untag(Part::Group)],
        Step::PublishService { .. }
        | Step::PublishSlice { .. }
        | Step::PublishDnsEndpoint { .. }
        | Step::PublishConfigMap { .. } => vec![Publish],
        Step::DeleteService(_) | Step::DeleteSlice(_) | Step::DeleteDnsEndpoint(_) | Step::DeleteConfigMap(_) => {
            vec![Unpublish]
        }
    }
}

/// What is refused, and with which code.
type Refused = BTreeMap<Thing, &'static str>;

fn refused() -> impl Strategy<Value = Refused> {
    btree_map(select(ALL.to_vec()), select(CODES.to_vec()), 0..6)
}

/// Carries out what can be, as often as that changes anything; returns the last plan.
fn carry_out(world: &mut World, refused: &Refused, planned: impl Fn(&Observed, Fallbacks) -> Plan) -> Plan {
    let mut fallbacks = Fallbacks::default();
    for _ in 0..ROUNDS {
        let mut seen = world.look(&owner());
        if seen.endpoint == Lookup::Deleted {
            world.known_endpoint = None;
            seen = world.look(&owner());
        }
        world.remember(&seen);
        let plan = planned(&seen, fallbacks);
        let before = fallbacks;
        let mut progress = Progress::default();
        let mut done = 0;
        for step in &plan.steps {
            if let Some(reason) = progress.waits(step) {
                fallbacks.learn_of_wait(step, reason);
                progress.add(step, reason, None);
                continue;
            }
            let of_it = things(step).into_iter().find_map(|thing| refused.get(&thing).copied());
            let answer = match of_it {
                Some(code) => Err(code),
                None => world.apply(step).map_err(|refusal| match refusal {
                    Refusal::InUse => "DependencyViolation",
                    Refusal::SameZone => "DuplicateSubnetsInSameZone",
                    Refusal::State => "IncorrectState",
                    Refusal::RuleQuota => "RulesPerSecurityGroupLimitExceeded",
                }),
            };
            let Err(code) = answer else {
                done += 1;
                continue;
            };
            let class = classify(code, Some(400));
            if fallbacks.learn(&plan.steps, step, code, class) {
                progress.add(step, UnfinishedReason::Postponed, None);
            } else {
                let reason = match class {
                    Class::Conflict => UnfinishedReason::Postponed,
                    _ => UnfinishedReason::Refused,
                };
                let finding = Finding::bad(reason_of(class), format!("{code}: {step}"));
                progress.add(step, reason, Some(finding));
            }
        }
        let moved = world.tick();
        let sure = seen.endpoint != Lookup::Unconfirmed && seen.group != Lookup::Unconfirmed;
        if done == 0 && fallbacks == before && !moved && sure {
            let mut told = plan.clone();
            progress.report(&mut told);
            return told;
        }
    }
    panic!("still at it: {:?}", planned(&world.look(&owner()), fallbacks));
}

fn own_endpoint(world: &World) -> Option<&ObservedEndpoint> {
    let resource = world.known_endpoint.as_ref().and_then(|id| world.endpoints.get(id));
    resource.filter(|resource| owner().claim(&resource.tags) == Claim::Ours)
}

fn own_group(world: &World) -> Option<&ObservedGroup> {
    world
        .groups
        .values()
        .find(|resource| owner().claim(&resource.tags) == Claim::Ours)
}

/// The room that rules have: as little as what was there and what is wanted allow.
fn tight_quota(scenario: &Scenario) -> usize {
    let there = own_group(&scenario.world).map(|resource| resource.ingress.len().max(resource.egress.len()));
    let wanted = match &asked(&scenario.desired).groups {
        Groups::Own(own) => own.ingress.len().max(own.egress.len()),
        Groups::Provided(_) | Groups::Kept => 0,
    };
    // A new group has one rule.
    there.unwrap_or(1).max(wanted).max(1)
}

fn check_rules(group: &ObservedGroup, desired: &Desired, refused: &Refused, quota: usize) {
    let Groups::Own(own) = &asked(desired).groups else {
        return;
    };
    for (direction, wanted) in [(Direction::Ingress, &own.ingress), (Direction::Egress, &own.egress)] {
        let mut there = rules_of(&mut group.clone(), direction).clone();
        if own.open_egress && direction == Direction::Egress {
            there.remove(&rules::open_ipv6());
        }
        let missing = wanted.keys().filter(|rule| !there.contains_key(*rule)).count();
        let surplus = there.keys().filter(|rule| !wanted.contains_key(*rule)).count();
        let may = |thing| !refused.contains_key(&thing);
        if may(Close(direction)) {
            assert_eq!(surplus, 0, "{direction} that was taken away is still open: {there:?}");
        }
        if may(Open(direction)) {
            assert!(
                missing == 0
                    || (surplus > 0
                        && exceeds(
                            quota,
                            there
                                .keys()
                                .chain(wanted.keys().filter(|rule| !there.contains_key(*rule)))
                        )),
                "{direction} that has room is missing: {there:?}"
            );
        }
        if may(Describe(direction)) {
            for (rule, text) in wanted.iter().filter(|(rule, _)| there.contains_key(*rule)) {
                assert_eq!(there.get(rule), Some(text));
            }
        }
    }
}

fn check_tags(part: Part, there: &BTreeMap<String, String>, scenario: &Scenario, refused: &Refused) {
    if !refused.contains_key(&Tag(part)) {
        for (key, value) in &scenario.desired.tags {
            assert_eq!(there.get(key), Some(value), "{part:?} {key}");
        }
    }
    if !refused.contains_key(&Untag(part)) {
        let mut unwanted = scenario
            .tag_keys
            .iter()
            .filter(|key| !scenario.desired.tags.contains_key(*key));
        assert!(unwanted.all(|key| !there.contains_key(key)), "{part:?} {there:?}");
    }
}

/// All is done that does not depend on what is refused.
fn check_independent(world: &World, scenario: &Scenario, refused: &Refused, quota: usize) {
    let Scenario {
        desired, world: before, ..
    } = scenario;
    let may = |thing| !refused.contains_key(&thing);
    let group = own_group(world);
    let wants_group = matches!(asked(desired).groups, Groups::Own(_));
    let had_endpoint = own_endpoint(before).is_some_and(|resource| resource.state != State::Deleting);
    if wants_group && (own_group(before).is_some() || may(MakeGroup)) {
        assert!(group.is_some(), "the group is not made");
    }
    if let Some(group) = group.filter(|_| wants_group) {
        check_rules(group, desired, refused, quota);
        check_tags(Part::Group, &group.tags, scenario, refused);
    }
    let has_groups = !wants_group || group.is_some();
    let Some(endpoint) = own_endpoint(world) else {
        assert!(
            !(had_endpoint || has_groups && may(MakeEndpoint)),
            "the endpoint is not made"
        );
        return;
    };
    assert_eq!(endpoint.state, State::Available);
    check_tags(Part::Endpoint, &endpoint.tags, scenario, refused);
    if may(Subnets) {
        assert_eq!(attached(endpoint).subnets, asked(desired).subnets);
    }
    if may(PrivateDNS) {
        assert_eq!(attached(endpoint).private_dns, asked(desired).private_dns);
    }
    let parts = [
        (PrivateDNS, ChangePart::PrivateDNS),
        (Routes, ChangePart::Routes),
        (FormerRoutes, ChangePart::Routes),
        (Policy, ChangePart::Policy),
        (Addresses, ChangePart::Addresses),
    ];
    let parts = parts.into_iter().filter(|(thing, _)| !may(*thing));
    let parts: Vec<ChangePart> = parts.map(|(_, part)| part).collect();
    check_attached(world, scenario, &parts);
    let rules = [Direction::Ingress, Direction::Egress];
    let lets_in = !wants_group
        || rules
            .iter()
            .all(|direction| may(Open(*direction)) && may(Close(*direction)));
    if may(Thing::Groups) && has_groups && lets_in {
        let wanted = match &asked(desired).groups {
            Groups::Own(_) => group.into_iter().map(|group| group.id.clone()).collect(),
            Groups::Provided(ids) => ids.clone(),
            Groups::Kept => unreachable!("no scenario adopts"),
        };
        assert_eq!(attached(endpoint).groups, wanted);
        if let (Groups::Provided(ids), Some(group)) = (&asked(desired).groups, group) {
            assert!(ids.contains(&group.id) || !may(DropGroup), "the group is left over");
        }
    }
    check_services(world, scenario, refused);
}

fn check_services(world: &World, scenario: &Scenario, refused: &Refused) {
    let may = |thing| !refused.contains_key(&thing);
    let wanted = scenario.desired.service.as_ref();
    let ours = || world.services.values().filter(|service| service.ours);
    if let Some(wanted) = wanted {
        let there = world.services.get(&wanted.name);
        // A cluster IP, and the family of an EndpointSlice, cannot be changed.
        if may(Publish) && (may(Unpublish) || !wanted.headless) {
            let there = there.expect("the Service is not published");
            let endpoint = own_endpoint(world).expect("checked before");
            check_leads(there, wanted, endpoint);
            if may(Unpublish) {
                check_slices(world, &scenario.desired, endpoint);
            }
            assert_eq!((&there.ports, &there.metadata), (&wanted.ports, &wanted.metadata));
        }
        let published = may(Publish);
        let has_cluster_ip = |service: &ObservedService| service.external_name.is_none() && !service.headless;
        let recreated =
            |service: &ObservedService| wanted.headless && service.name == wanted.name && has_cluster_ip(service);
        let kept = scenario
            .world
            .services
            .values()
            .filter(|service| service.ours && !recreated(service));
        if !published && there.is_none() {
            assert!(
                kept.into_iter()
                    .all(|service| world.services.contains_key(&service.name)),
                "nothing serves"
            );
        }
    }
    if may(Unpublish) && (wanted.is_none() || may(Publish)) {
        assert!(ours().all(|service| wanted.is_some_and(|wanted| wanted.name == service.name)));
    }
}

/// What the plan reports is true.
fn check_told(told: &Plan, world: &World, scenario: &Scenario) {
    let desired = &scenario.desired;
    if told.endpoint.ok {
        let endpoint = own_endpoint(world).expect("told to be available");
        assert_eq!(endpoint.state, State::Available);
        assert_eq!(
            (&attached(endpoint).subnets, attached(endpoint).private_dns),
            (&asked(desired).subnets, asked(desired).private_dns)
        );
        if let Groups::Own(own) = &asked(desired).groups {
            let group = own_group(world).expect("told to be there");
            assert_eq!(attached(endpoint).groups, [group.id.clone()].into());
            check_rules(group, desired, &Refused::new(), usize::MAX);
            assert_eq!(group.ingress, own.ingress);
        }
        check_tags(Part::Endpoint, &endpoint.tags, scenario, &Refused::new());
    }
    if told.service.ok {
        check_services(world, scenario, &Refused::new());
    }
    if told.endpoint.ok && told.service.ok {
        check_fulfilled(world, scenario);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_refused_blocks_nothing_that_does_not_depend_on_it(scenario in scenario(), refused in refused()) {
        prop_assume!(obstacles(&scenario).is_empty() && !foreign_service(&scenario));
        let Scenario { desired, world: before, .. } = &scenario;
        let planned = |seen: &Observed, fallbacks| {
            let context = PlanContext { paused: None, fallbacks, ..scenario.context() };
            let found = plan(&owner(), desired, seen, context);
            check_steps(&found, seen, desired, context);
            found
        };
        let mut world = before.clone();
        let quota = tight_quota(&scenario);
        world.rule_quota = Some(quota);
        let told = carry_out(&mut world, &refused, planned);
        check_independent(&world, &scenario, &refused, quota);
        check_told(&told, &world, &scenario);

        let told = carry_out(&mut world, &Refused::new(), planned);
        prop_assert!(told.endpoint.ok && told.service.ok, "{:?}", told);
        check_fulfilled(&world, &scenario);
    }

    #[test]
    fn a_refused_step_of_a_deletion_blocks_nothing_else(
        scenario in scenario(),
        refused in refused(),
        retain in any::<bool>(),
    ) {
        prop_assume!(obstacles(&scenario).is_empty());
        let policy = if retain { Ok(DeletionPolicy::Retain) } else { Ok(DeletionPolicy::Delete) };
        let planned = |seen: &Observed, _| plan_deletion(&owner(), seen, policy);
        let mut world = scenario.world.clone();
        let told = carry_out(&mut world, &refused, planned);
        let ours = |tags: &BTreeMap<String, String>| owner().claim(tags) == Claim::Ours;
        let endpoints = |world: &World| world.endpoints.values().filter(|resource| ours(&resource.tags)).count();
        let may = |thing| !refused.contains_key(&thing);
        let services = world.services.values().filter(|service| service.ours).count();
        let services = services + world.slices.values().filter(|slice| slice.ours).count();
        prop_assert!(services == 0 || !may(Unpublish));
        if !retain && may(DropEndpoint) {
            prop_assert_eq!(endpoints(&world), 0);
            prop_assert!(own_group(&world).is_none() || !may(DropGroup));
        }
        if retain {
            // What has lost the owner's tags carries the mark.
            for resource in world.endpoints.values().filter(|resource| !ours(&resource.tags)) {
                let was_ours = scenario.world.endpoints.get(&resource.id).is_some_and(|resource| ours(&resource.tags));
                prop_assert!(!was_ours || resource.tags.contains_key(tags::RETAINED), "{:?}", resource);
            }
        }
        if told.endpoint.ok {
            prop_assert!(endpoints(&world) == 0 && own_group(&world).is_none());
        }
        prop_assert_eq!(told.service.ok, services == 0);

        let told = carry_out(&mut world, &Refused::new(), planned);
        // A group that was ours once, beside groups that the spec provides.
        let lost = told.endpoint.reason == Reason::OwnershipLost;
        prop_assert!((told.endpoint.ok || lost) && told.service.ok && told.steps.is_empty(), "{:?}", told);
    }
}

#[test]
fn a_refusal_has_the_messages_of_all_refused_steps_with_the_one_that_needs_a_person_first() {
    let id = || ResourceId::Endpoint("vpce-1".into());
    let steps = [
        Step::Untag(id(), ["a".to_owned()].into()),
        Step::Tag(id(), BTreeMap::new()),
        Step::DeleteService("db".into()),
    ];
    let mut progress = Progress::default();
    let said = |class, words: &str| Some(Finding::bad(reason_of(class), words));
    progress.add(
        &steps[0],
        UnfinishedReason::Postponed,
        said(Class::Conflict, "in the way"),
    );
    progress.add(&steps[1], UnfinishedReason::Refused, said(Class::Invalid, "wrong"));
    progress.add(&steps[2], UnfinishedReason::Postponed, None);
    let mut plan = plan_deletion(&owner(), &crate::observations::nothing(), Ok(DeletionPolicy::Delete));
    let service = plan.service.clone();
    progress.report(&mut plan);
    assert_eq!(
        plan.endpoint,
        Finding::bad(reason_of(Class::Invalid), "wrong; in the way")
    );
    assert_eq!(plan.service, service);
    assert_eq!(Fallbacks::default(), USUAL);
}
