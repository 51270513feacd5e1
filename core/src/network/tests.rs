use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const REGION: &str = "eu-west-1";

fn network(changes: Value) -> Network {
    let mut network = json!({"name": "main", "region": REGION, "vpc_tags": {"use": "endpoints"}});
    network
        .as_object_mut()
        .expect("an object")
        .extend(changes.as_object().expect("an object").clone());
    if network["vpc_id"].is_string() {
        network.as_object_mut().expect("an object").remove("vpc_tags");
    }
    serde_json::from_value(network).expect("a network")
}

fn account(changes: Value) -> AWSAccountSpec {
    let mut account = json!({"role_arn": "arn:aws:iam::111111111111:role/x"});
    account
        .as_object_mut()
        .expect("an object")
        .extend(changes.as_object().expect("an object").clone());
    serde_json::from_value(account).expect("an account")
}

fn vpc(id: &str, tags: &[(&str, &str)]) -> Vpc {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Vpc::new(id.into(), ["10.0.0.0/16".to_owned()], tags)
}

fn subnet(id: &str, zone: u8, free: i32) -> Subnet {
    Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        zone_id: format!("euw1-az{zone}"),
        // Names of zones differ between accounts, and must not matter.
        zone_name: format!("{REGION}{}", char::from(b'f' - zone)),
        available_ip_address_count: free,
        has_ipv4: true,
        has_ipv6: false,
        tags: BTreeMap::new(),
    }
}

fn zones(numbers: &[u8]) -> ServiceZones {
    ServiceZones {
        ids: numbers.iter().map(|number| format!("euw1-az{number}")).collect(),
        names: BTreeSet::new(),
    }
}

/// What is chosen from, with as many defaults as there are.
struct Given {
    network: Network,
    vpcs: Vec<Vpc>,
    subnets: Vec<Subnet>,
    zones: Option<ServiceZones>,
    allowed: Option<Vec<String>>,
    count: SubnetCount,
    family: Option<IpAddressType>,
    bound: Option<NetworkStatus>,
    exists: bool,
}

impl Given {
    fn new(subnets: Vec<Subnet>) -> Self {
        Self {
            network: network(json!({})),
            vpcs: vec![vpc("vpc-1", &[("use", "endpoints")]), vpc("vpc-2", &[])],
            subnets,
            zones: None,
            allowed: None,
            count: SubnetCount::OneInEachZone,
            family: None,
            bound: None,
            exists: false,
        }
    }

    fn choosing(&self, seen: Result<(&[Vpc], &[Subnet]), &str>) -> Choosing {
        let choice = Choice {
            account: "one",
            network: &self.network,
            region: &REGION.into(),
            seen,
            target: "com.amazonaws.eu-west-1.ecr.api",
            zones: self.zones.as_ref(),
            allowed_subnet_ids: self.allowed.as_deref(),
            subnets: self.count,
            ip_address_type: self.family,
            bound: self.bound.as_ref(),
            exists: self.exists,
        };
        choice.choose()
    }

    fn choose(&self) -> Choosing {
        self.choosing(Ok((&self.vpcs, &self.subnets)))
    }

    /// The subnets that are chosen, nothing standing in the way.
    fn chosen(&self) -> Vec<String> {
        let (chosen, left) = self.choose().expect("something is chosen");
        assert_eq!(left, None);
        chosen.subnets.keys().map(ToString::to_string).collect()
    }

    fn refused(&self) -> Finding {
        self.choose().expect_err("nothing can be chosen")
    }

    /// Binds what is chosen, and has the endpoint exist.
    fn bind(&mut self) -> Vec<String> {
        let (chosen, _) = self.choose().expect("something is chosen");
        self.bound = Some(chosen.to_status());
        self.exists = true;
        self.chosen()
    }
}

#[test]
fn of_each_zone_of_the_service_the_subnet_with_the_most_free_addresses() {
    let mut given = Given::new(vec![
        subnet("subnet-a1", 1, 10),
        subnet("subnet-a2", 1, 20),
        subnet("subnet-b1", 2, 5),
        subnet("subnet-b2", 2, 5),
        subnet("subnet-c1", 3, 100),
    ]);
    assert_eq!(given.chosen(), ["subnet-a2", "subnet-b1", "subnet-c1"]);
    given.zones = Some(zones(&[1, 3, 4]));
    assert_eq!(given.chosen(), ["subnet-a2", "subnet-c1"]);
    given.network = network(json!({"zone_ids": ["euw1-az1", "euw1-az2"]}));
    assert_eq!(given.chosen(), ["subnet-a2"]);
    given.zones = None;
    given.allowed = Some(vec!["subnet-a1".into(), "subnet-b2".into()]);
    assert_eq!(given.chosen(), ["subnet-a1", "subnet-b2"]);
    given.zones = Some(ServiceZones {
        ids: BTreeSet::new(),
        names: [format!("{REGION}d")].into(),
    });
    assert_eq!(given.chosen(), ["subnet-b2"], "by name, where EC2 gives no ids");
}

#[test]
fn what_is_wrong_with_a_network_is_said() {
    let subnets = vec![subnet("subnet-a1", 1, 10), subnet("subnet-b1", 2, 0)];
    let refused = |change: &dyn Fn(&mut Given)| {
        let mut given = Given::new(subnets.clone());
        change(&mut given);
        given.refused()
    };
    let says = |reason, words: &[&str], change: &dyn Fn(&mut Given)| {
        let finding = refused(change);
        assert_eq!(finding.reason, reason, "{}", finding.message);
        for word in words {
            assert!(finding.message.contains(word), "{word}: {}", finding.message);
        }
    };
    let unready = Reason::NetworkNotReady;
    says(unready, &["no VPC in eu-west-1 has the tags use=endpoints"], &|given| {
        given.vpcs.clear();
    });
    says(unready, &["several VPCs", "vpc-1, vpc-3"], &|given| {
        given.vpcs.push(vpc("vpc-3", &[("use", "endpoints")]));
    });
    says(unready, &["there is no VPC vpc-9 in eu-west-1"], &|given| {
        given.network = network(json!({"vpc_id": "vpc-9"}));
    });
    says(unready, &["vpc-1 has no subnet with the tags tier=private"], &|given| {
        given.network = network(json!({"subnet_tags": {"tier": "private"}}));
    });
    says(unready, &["subnet-x not in vpc-1"], &|given| {
        given.network = network(json!({"subnet_ids": ["subnet-a1", "subnet-x"]}));
    });
    says(unready, &["euw1-az2 (subnet-b1) have no free address"], &|_| {});
    says(
        unready,
        &["subnets in euw1-az1, euw1-az2", "ecr.api is in euw1-az3 only"],
        &|given| given.zones = Some(zones(&[3])),
    );
    says(unready, &["ip_address_type"], &|given| {
        given.family = Some(IpAddressType::Dualstack);
    });
    says(
        Reason::NotAllowed,
        &["guardrails of AWSAccount one", "allowed_subnet_ids"],
        &|given| given.allowed = Some(vec!["subnet-a1".into()]),
    );
    says(
        Reason::NetworkNotFound,
        &["network main", "is in us-east-1, and the endpoint in eu-west-1"],
        &|given| given.network = network(json!({"region": "us-east-1"})),
    );
    says(
        Reason::InvalidSpec,
        &["exactly one subnet", "euw1-az1, euw1-az2"],
        &|given| {
            given.count = SubnetCount::One;
            given.subnets[1].available_ip_address_count = 1;
        },
    );
}

#[test]
fn an_endpoint_without_subnets_needs_the_vpc_alone() {
    let mut given = Given::new(Vec::new());
    given.count = SubnetCount::None;
    assert_eq!(given.bind(), Vec::<String>::new());
    given.vpcs.clear();
    assert_eq!(given.chosen(), Vec::<String>::new(), "a tag that is gone moves nothing");
}

#[test]
fn an_edit_of_the_network_is_carried_out_and_keeps_what_it_can() {
    let mut given = Given::new(vec![
        subnet("subnet-a1", 1, 10),
        subnet("subnet-a2", 1, 20),
        subnet("subnet-b1", 2, 5),
    ]);
    given.network = network(json!({"zone_ids": ["euw1-az1"]}));
    assert_eq!(given.bind(), ["subnet-a2"]);
    given.subnets[0].available_ip_address_count = 200;
    given.network = network(json!({}));
    assert_eq!(given.bind(), ["subnet-a2", "subnet-b1"], "a zone more");
    given.network = network(json!({"zone_ids": ["euw1-az2"]}));
    assert_eq!(given.bind(), ["subnet-b1"], "a zone less");
    given.network = network(json!({"subnet_ids": ["subnet-a1", "subnet-b1"]}));
    assert_eq!(given.bind(), ["subnet-a1", "subnet-b1"]);

    // Where it cannot be, the endpoint is left as it is.
    for (edit, reason) in [
        (json!({"vpc_id": "vpc-2"}), Reason::BindingConflict),
        (json!({"region": "us-east-1"}), Reason::NetworkNotFound),
        (json!({"zone_ids": ["euw1-az9"]}), Reason::NetworkNotReady),
    ] {
        given.network = network(edit.clone());
        let (chosen, left) = given.choose().expect("it is there");
        assert_eq!(left.expect("it is left").reason, reason, "{edit}");
        assert_eq!(Some(chosen.to_status()), given.bound, "{edit}");
    }
}

#[test]
fn a_name_alone_tells_no_network_from_another() {
    let mut given = Given::new(vec![subnet("subnet-a1", 1, 10), subnet("subnet-a2", 1, 20)]);
    given.bind();
    given.subnets[0].available_ip_address_count = 200;
    given.network.name = "renamed".into();
    let (chosen, left) = given.choose().expect("it is there");
    assert_eq!((chosen.name.as_deref(), left), (Some("renamed"), None));
    let subnets: Vec<&str> = chosen.subnets.keys().map(SubnetId::as_str).collect();
    assert_eq!(subnets, ["subnet-a2"], "what is bound is kept");
}

#[test]
fn what_cannot_be_read_is_not_gone() {
    let mut given = Given::new(vec![subnet("subnet-a1", 1, 10)]);
    given.bind();
    let (chosen, left) = given.choosing(Err("access denied")).expect("it is there");
    assert_eq!((Some(chosen.to_status()), left), (given.bound.clone(), None));
    // Subnets of another VPC were.
    let mut other = subnet("subnet-o", 1, 10);
    other.vpc = "vpc-2".into();
    let (chosen, left) = given.choosing(Ok((&given.vpcs, &[other]))).expect("it is there");
    assert_eq!((Some(chosen.to_status()), left), (given.bound.clone(), None));
    given.exists = false;
    let found = given.choosing(Err("access denied")).expect_err("it is not there");
    assert!(found.message.contains("access denied"), "{}", found.message);
}

#[test]
fn free_addresses_are_told_where_they_change_much_or_are_few() {
    let status = |free: i32| {
        let given = Given::new(vec![subnet("subnet-a1", 1, free)]);
        describe(&given.network, &given.vpcs, &given.subnets)
    };
    for (before, now, told) in [
        (200, 180, 200),
        (200, 220, 200),
        (200, 150, 150),
        (200, 250, 250),
        (40, 31, 31),
        (3, 2, 2),
        (0, 100, 100),
        (40, 0, 0),
    ] {
        let next = steadied(&[status(before)], status(now));
        assert_eq!(next, status(told), "{before} {now}");
    }
    assert_eq!(steadied(&[], status(7)), status(7));
}

#[test]
fn a_network_is_asked_for_by_name_by_default_or_because_it_is_the_only_one() {
    let two = |changes: Value| {
        let mut spec = json!({"networks": [network(json!({})), network(json!({"name": "other"}))]});
        spec.as_object_mut()
            .expect("an object")
            .extend(changes.as_object().expect("an object").clone());
        account(spec)
    };
    let bound = |name: &str| NetworkStatus {
        name: Some(name.to_owned()),
        ..NetworkStatus::default()
    };
    let named = |place, account: &AWSAccountSpec, bound: Option<&NetworkStatus>| {
        let network = asked(place, account, "one", bound);
        network.map(|network| network.map(|network| network.name.clone()))
    };
    let default = Place::DefaultNetwork;
    let plain = two(json!({}));
    assert_eq!(named(Place::Vpc, &plain, None), Ok(None));
    assert_eq!(named(Place::Network("other"), &plain, None), Ok(Some("other".into())));
    let finding = named(default, &plain, None).expect_err("there are two");
    assert!(finding.message.contains("to one of main, other"), "{}", finding.message);
    let other = two(json!({"default_network": "other"}));
    assert_eq!(named(default, &other, None), Ok(Some("other".into())));
    let main = bound("main");
    assert_eq!(named(default, &other, Some(&main)), Ok(Some("main".into())), "it stays");
    let gone = bound("gone");
    assert_eq!(named(default, &other, Some(&gone)), Ok(Some("other".into())));
    let only = account(json!({"networks": [network(json!({}))]}));
    assert_eq!(named(default, &only, None), Ok(Some("main".into())));
    let finding = named(Place::Network("else"), &only, None).expect_err("no such network");
    assert_eq!(finding.reason, Reason::NetworkNotFound);
    assert!(finding.message.contains("(it has main)"), "{}", finding.message);
    let finding = named(default, &account(json!({})), None).expect_err("no networks");
    assert!(finding.message.contains("set spec.vpc_id"), "{}", finding.message);
}

prop_compose! {
    fn some_subnet(number: usize)(
        zone in 1_u8..5,
        free in prop_oneof![3 => 1_i32..250, 1 => Just(0)],
        tagged in any::<bool>(),
        ipv6 in any::<bool>(),
        elsewhere in prop::bool::weighted(0.1),
    ) -> Subnet {
        let mut subnet = subnet(&format!("subnet-{number}"), zone, free);
        subnet.has_ipv6 = ipv6;
        if tagged {
            subnet.tags.insert("tier".into(), "private".into());
        }
        if elsewhere {
            subnet.vpc = "vpc-2".into();
        }
        subnet
    }
}

fn some_subnets() -> impl Strategy<Value = Vec<Subnet>> {
    (0_usize..12).prop_flat_map(|count| (0..count).map(some_subnet).collect::<Vec<_>>())
}

prop_compose! {
    fn some_choice()(
        subnets in some_subnets(),
        by_tags in any::<bool>(),
        network_zones in prop::option::of(prop::collection::vec(1_u8..5, 1..4)),
        service in prop::option::of(prop::collection::vec(1_u8..5, 1..4)),
        allowed in prop::option::weighted(0.3, prop::collection::vec(0_usize..12, 0..10)),
        family in prop_oneof![Just(None), Just(Some(IpAddressType::Dualstack))],
    ) -> Given {
        let mut given = Given::new(subnets);
        let ids = network_zones.iter().flatten().map(|zone| format!("euw1-az{zone}"));
        given.network.zone_ids = ids.collect();
        if by_tags {
            given.network.subnet_tags.insert("tier".into(), "private".into());
        }
        given.zones = service.map(|service| zones(&service));
        given.allowed = allowed.map(|allowed| allowed.iter().map(|number| format!("subnet-{number}")).collect());
        given.family = family;
        given
    }
}

/// One that something is chosen from.
fn good_choice() -> impl Strategy<Value = Given> {
    some_choice().prop_map(|mut given| {
        given.allowed = None;
        given.family = None;
        given.subnets.push(subnet("subnet-z", 1, 7));
        for subnet in &mut given.subnets {
            subnet.available_ip_address_count = subnet.available_ip_address_count.max(1);
        }
        if given.best().is_none() {
            given.zones = None;
            given.network.subnet_tags.clear();
            given.network.zone_ids.clear();
        }
        given
    })
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?} {:?}",
            self.network, self.subnets, self.zones, self.allowed
        )
    }
}

impl Given {
    /// The oracle: of each zone that counts, how many addresses the best subnet has free; none
    /// where a zone has no subnet that may be used, or nothing counts.
    fn best(&self) -> Option<BTreeMap<String, i32>> {
        let counts = |subnet: &&Subnet| {
            subnet.vpc.as_str() == "vpc-1"
                && (self.network.subnet_tags.is_empty() || subnet.tags.contains_key("tier"))
                && (self.network.zone_ids.is_empty() || self.network.zone_ids.contains(&subnet.zone_id))
                && self
                    .zones
                    .as_ref()
                    .is_none_or(|zones| zones.ids.contains(&subnet.zone_id))
        };
        let may = |subnet: &Subnet| {
            subnet.available_ip_address_count > 0
                && (self.family.is_none() || subnet.has_ipv6)
                && self
                    .allowed
                    .as_ref()
                    .is_none_or(|allowed| allowed.contains(&subnet.id.to_string()))
        };
        let mut best: BTreeMap<String, i32> = BTreeMap::new();
        for subnet in self.subnets.iter().filter(counts) {
            let most = best.entry(subnet.zone_id.clone()).or_insert(0);
            if may(subnet) {
                *most = subnet.available_ip_address_count.max(*most);
            }
        }
        (!best.is_empty() && best.values().all(|most| *most > 0)).then_some(best)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn one_subnet_of_each_zone_is_chosen_within_the_guardrails(given in some_choice()) {
        let chosen = given.choose();
        let Some(best) = given.best() else {
            prop_assert!(chosen.is_err(), "{chosen:?}");
            return Ok(());
        };
        let (chosen, left) = chosen.expect("there is a choice");
        prop_assert_eq!(left, None);
        let free = |id: &SubnetId| {
            let subnet = given.subnets.iter().find(|subnet| subnet.id == *id).expect("it is there");
            (subnet.zone_id.clone(), subnet.available_ip_address_count)
        };
        let found: BTreeMap<String, i32> = chosen.subnets.keys().map(free).collect();
        prop_assert_eq!(chosen.subnets.len(), best.len());
        prop_assert_eq!(found, best);
        if let Some(allowed) = &given.allowed {
            prop_assert!(chosen.subnets.keys().all(|id| allowed.contains(&id.to_string())));
        }
    }

    #[test]
    fn no_change_of_what_was_not_chosen_moves_an_endpoint(
        mut given in good_choice(),
        others in some_subnets(),
        service in prop::option::of(prop::collection::vec(1_u8..5, 1..4)),
        zone in 1_u8..5,
    ) {
        let before = given.bind();
        // All else is other than before: tags, free addresses, subnets that come and go, zones of
        // the service, and tags of the VPC.
        let is_chosen = |subnet: &Subnet| before.contains(&subnet.id.to_string());
        given.subnets.retain(is_chosen);
        for subnet in &mut given.subnets {
            subnet.tags.clear();
            subnet.available_ip_address_count = 0;
        }
        given.subnets.extend(others.into_iter().filter(|subnet| !is_chosen(subnet)));
        given.zones = service.map(|service| zones(&service));
        given.vpcs[0].tags.clear();
        prop_assert_eq!(given.chosen(), before.clone());

        // One that is gone is replaced in its zone, or by none.
        let gone = format!("euw1-az{zone}");
        let is_gone = |subnet: &Subnet| is_chosen(subnet) && subnet.zone_id == gone;
        if before.len() == 1 || !given.subnets.iter().any(is_gone) {
            return Ok(());
        }
        let others: BTreeSet<String> = given.subnets.iter().filter(|subnet| is_chosen(subnet) && !is_gone(subnet))
            .map(|subnet| subnet.id.to_string()).collect();
        given.subnets.retain(|subnet| !is_gone(subnet));
        let after: BTreeSet<String> = given.chosen().into_iter().collect();
        prop_assert!(others.is_subset(&after));
        for id in after.difference(&others) {
            let subnet = given.subnets.iter().find(|subnet| subnet.id.to_string() == *id).expect("it is there");
            prop_assert_eq!(&subnet.zone_id, &gone);
        }
        prop_assert!(after.len() <= before.len());
    }
}
