//! Endpoints in networks that the platform team names: app teams know neither VPCs nor subnets.

use serde_json::{Value, json};
use vpce_testbed::aws::{RuleView, ServiceSpec};

use crate::cluster::Refusal;
use crate::tenant::Tenant;
use crate::world::{Setup, World, id, merged, text};

/// The tag that a network has its VPC by.
const TAG: (&str, &str) = ("use", "endpoints");

/// A tenant whose AWSAccount has the network `main`, by tags of the VPC, with more fields in the
/// network; and a role that may read it.
fn tenant<'w>(world: &'w World, name: &str, network: Value, account: Value) -> Tenant<'w> {
    let tenant = world.unregistered_tenant(name);
    tenant.tag_vpc();
    tenant.register_with_its_role(merged(
        json!({"default_region": null, "networks": [tenant.network(network)]}),
        account,
    ));
    tenant
}

impl Tenant<'_> {
    fn tag_vpc(&self) {
        self.tag(&self.vpc, TAG);
    }

    fn tag(&self, resource: &str, (key, value): (&str, &str)) {
        let aws = &self.world.aws;
        aws.set_tag(&self.account_id, &self.region, resource, key, value)
            .expect("a tag");
    }

    fn network(&self, changes: Value) -> Value {
        let network = json!({"name": "main", "region": self.region, "vpc_tags": {TAG.0: TAG.1}});
        merged(network, changes)
    }

    fn set_network(&self, changes: Value) {
        self.edit_account(json!({"networks": [self.network(changes)]}));
    }

    /// Another VPC, with nothing in it.
    fn add_vpc(&self) -> String {
        let vpc = id("vpc");
        let added = self
            .world
            .aws
            .add_vpc(&self.account_id, &self.region, &vpc, "10.1.0.0/16");
        added.expect("a VPC");
        vpc
    }

    /// The id of the zone of this letter.
    fn zone(&self, letter: char) -> String {
        let number = u32::from(letter) - u32::from('a') + 1;
        format!("usw2-az{number}")
    }

    /// Waits until the only endpoint is in these subnets.
    #[track_caller]
    fn is_in(&self, name: &str, subnets: &[&String]) {
        let mut wanted: Vec<String> = subnets.iter().map(|id| (*id).clone()).collect();
        wanted.sort();
        self.eventually(name, &format!("it is in {wanted:?}"), || {
            let endpoints = self.endpoints();
            endpoints
                .iter()
                .any(|endpoint| endpoint.subnet_ids == wanted)
                .then_some(())
        });
        let object = self.ready(name);
        assert_eq!(object["status"]["network"]["subnet_ids"], json!(wanted));
    }

    /// Waits until all of its endpoints are in these subnets.
    #[track_caller]
    fn all_are_in(&self, witness: &str, subnets: &[String]) {
        self.eventually(witness, &format!("all are in {subnets:?}"), || {
            let endpoints = self.endpoints();
            let all = endpoints.iter().all(|endpoint| endpoint.subnet_ids == subnets);
            all.then_some(())
        });
    }

    /// Waits for what the AWSAccount says of its network.
    #[track_caller]
    fn network_says(&self, words: &str) {
        self.world.eventually(&format!("the network says {words}"), || {
            let account = self.world.aws_account(&self.account)?;
            let message = text(&account["status"]["networks"][0]["message"]);
            message.contains(words).then_some(())
        });
    }

    /// How often an action was called.
    fn count(&self, action: &str) -> usize {
        self.calls().iter().filter(|call| call.action == action).count()
    }
}

#[test]
fn one_line_is_enough() {
    let tenant = tenant(World::shared(), "network", json!({}), json!({}));
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api"}));
    let object = tenant.ready("api");
    let endpoint = tenant.only();
    let name = format!("com.amazonaws.{}.ecr.api", tenant.region);
    assert_eq!((&endpoint.vpc_id, &endpoint.service_name), (&tenant.vpc, &name));
    assert_eq!(endpoint.subnet_ids, tenant.subnets, "one in each zone");
    let status = &object["status"];
    assert_eq!(status["region"], json!(tenant.region), "the network's");
    assert_eq!(status["network"]["name"], "main");
    assert_eq!(status["network"]["vpc_id"], json!(tenant.vpc));
    assert_eq!(status["network"]["subnet_ids"], json!(tenant.subnets));
    assert_eq!(status["vpc_endpoint_service_id"], json!(name));
    let published = tenant.kubernetes_service("api").expect("a Service");
    assert_eq!(published["spec"]["externalName"], status["dns_name"]);
    let account = tenant.world.aws_account(&tenant.account).expect("it is there");
    let network = &account["status"]["networks"][0];
    assert_eq!(network["vpc_id"], json!(tenant.vpc));
    assert_eq!(network["subnets"][0]["subnet_id"], json!(tenant.subnets[0]));
    assert_eq!(network["subnets"][0]["zone_id"], json!(tenant.zone('a')));
    assert!(
        network["subnets"][0]["available_ip_address_count"].as_i64() > Some(200),
        "{network}"
    );

    // What is fixed can be said by its full name, too.
    let writes = tenant.writes().len();
    tenant.apply(
        "api",
        json!({"vpc_endpoint_service_id": name, "vpc_id": tenant.vpc, "subnet_ids": tenant.subnets}),
    );
    tenant.eventually("api", "the spec names its place", || {
        tenant.get("api")?["status"]["network"]["name"].is_null().then_some(())
    });
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api", "network": "main"}));
    tenant.eventually("api", "it is in the network again", || {
        (tenant.get("api")?["status"]["network"]["name"] == "main").then_some(())
    });
    assert_eq!(tenant.writes().len(), writes, "nothing is other than before");
    let refusal = tenant
        .try_apply("api", json!({"vpc_endpoint_service_id": "ecr.dkr"}))
        .expect_err("AWS fixes it");
    assert!(refusal.message.contains("stays com.amazonaws"), "{}", refusal.message);
    tenant.delete("api");
    tenant.gone("api");
    assert_eq!((tenant.endpoints(), tenant.groups()), (Vec::new(), Vec::new()));
}

#[test]
fn subnets_are_in_the_zones_of_the_service_by_zone_id() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("network-zones");
    tenant.tag_vpc();
    // In this account the names stand for other zones than in the one of the service's owner.
    let zone = |letter: char| format!("{}{letter}", tenant.region);
    let ids = [('a', 'c'), ('b', 'a'), ('c', 'b')].map(|(name, id)| (zone(name), tenant.zone(id)));
    let ids: Vec<(&str, &str)> = ids.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    world.aws.set_zone_ids(&tenant.account_id, &tenant.region, &ids);
    let offered = ServiceSpec {
        azs: vec![zone('a'), zone('b')],
        ..ServiceSpec::default()
    };
    let service = tenant.add_service(offered);
    tenant.register_with_its_role(json!({"networks": [tenant.network(json!({}))]}));
    tenant.apply("db", json!({"vpc_endpoint_service_id": service}));
    tenant.is_in("db", &[&tenant.subnets[1], &tenant.subnets[2]]);

    let elsewhere = ServiceSpec {
        azs: vec![zone('d')],
        ..ServiceSpec::default()
    };
    let service = tenant.add_service(elsewhere);
    tenant.apply("far", json!({"vpc_endpoint_service_id": service}));
    let message = tenant.not_ready("far", "NetworkNotReady");
    assert!(
        message.contains(&format!("is in {} only", tenant.zone('d'))),
        "{message}"
    );
    assert_eq!(tenant.endpoints().len(), 1, "nothing is created for it");
}

#[test]
fn what_is_wrong_with_a_network_is_told_and_found_when_it_is_right() {
    let tenant = World::shared().unregistered_tenant("network-wrong");
    tenant.register_with_its_role(json!({"networks": [tenant.network(json!({}))]}));
    tenant.network_says(&format!("no VPC in {} has the tags use=endpoints", tenant.region));
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api"}));
    let message = tenant.not_ready("api", "NetworkNotReady");
    assert!(
        message.contains("no VPC") && message.contains("platform team"),
        "{message}"
    );
    tenant.tag_vpc();
    tenant.ready("api");

    let second = tenant.add_vpc();
    tenant.tag(&second, TAG);
    tenant.network_says("several VPCs");
    tenant.apply("dkr", json!({"vpc_endpoint_service_id": "ecr.dkr"}));
    tenant.not_ready("dkr", "NetworkNotReady");
    assert_eq!(tenant.reason("api"), "Available", "tags move nothing that is there");
    tenant.set_network(json!({"vpc_tags": null, "vpc_id": tenant.vpc, "subnet_tags": {"tier": "private"}}));
    tenant.network_says("has no subnet with the tags tier=private");
    tenant.tag(&tenant.subnets[2], ("tier", "private"));
    tenant.ready("dkr");
    let endpoints = tenant.endpoints();
    assert!(
        endpoints
            .iter()
            .all(|endpoint| endpoint.subnet_ids == tenant.subnets[2..]),
        "{endpoints:#?}"
    );
}

#[test]
fn edits_of_the_network_are_carried_out_and_tags_move_nothing() {
    let zones = |letters: &str| json!({"zone_ids": letters.chars().map(|letter| format!("usw2-az{}", u32::from(letter) - 96)).collect::<Vec<_>>()});
    let tenant = tenant(World::shared(), "network-edit", zones("ab"), json!({}));
    let [a, b, c] = &tenant.subnets[..] else {
        panic!("three subnets");
    };
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api"}));
    tenant.is_in("api", &[a, b]);
    tenant.set_network(zones("abc"));
    tenant.is_in("api", &[a, b, c]);
    let event = tenant.event("api", "SubnetsChanged");
    assert!(event.contains(&format!("added {c}")), "{event}");
    tenant.set_network(zones("bc"));
    tenant.is_in("api", &[b, c]);

    // Neither a subnet with more free addresses nor a tag that goes moves it.
    let larger = tenant.add_subnet("b");
    let aws = &tenant.world.aws;
    aws.delete_tag(&tenant.account_id, &tenant.region, &tenant.vpc, TAG.0)
        .expect("it has the tag");
    tenant.network_says("no VPC");
    tenant.merge("api", json!({"spec": {"tags": {"cost": "1"}}}));
    tenant.is_in("api", &[b, c]);

    // One that is gone is replaced in its zone.
    aws.delete_subnet(&tenant.account_id, &tenant.region, b)
        .expect("it is there");
    tenant.is_in("api", &[&larger, c]);
    tenant.delete("api");
    tenant.gone("api");
}

#[test]
fn a_network_that_is_taken_away_or_moved_leaves_its_endpoints_where_they_are() {
    let tenant = tenant(World::shared(), "network-moved", json!({}), json!({}));
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api", "network": "main"}));
    tenant.apply("dkr", json!({"vpc_endpoint_service_id": "ecr.dkr"}));
    tenant.ready("api");
    tenant.ready("dkr");
    let before = tenant.writes().len();
    let other = tenant.add_vpc();

    // Renamed: what names none goes with it, and what names it says so.
    tenant.set_network(json!({"name": "renamed"}));
    let message = tenant.paused("api", "NetworkNotFound");
    assert!(message.contains("has no network main (it has renamed)"), "{message}");
    tenant.eventually("dkr", "it is in the network of the new name", || {
        let object = tenant.get("dkr")?;
        (object["status"]["network"]["name"] == "renamed").then_some(())
    });
    tenant.apply(
        "api",
        json!({"vpc_endpoint_service_id": "ecr.api", "network": "renamed"}),
    );
    tenant.ready("api");

    // Moved to another VPC.
    tenant.set_network(json!({"name": "renamed", "vpc_tags": null, "vpc_id": other}));
    for name in ["api", "dkr"] {
        let message = tenant.serves_without_the_edit(name, "BindingConflict");
        assert!(message.contains(&other) && message.contains(&tenant.vpc), "{message}");
    }
    // Taken away.
    tenant.edit_account(json!({"networks": null}));
    tenant.paused("api", "NetworkNotFound");
    tenant.paused("dkr", "NetworkNotFound");
    assert_eq!(tenant.writes().len(), before, "nothing is changed in AWS");
    for name in ["api", "dkr"] {
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!((tenant.endpoints(), tenant.groups()), (Vec::new(), Vec::new()));
}

#[test]
fn a_role_that_may_not_read_networks_is_told_which_actions_it_lacks() {
    let tenant = World::shared().unregistered_tenant("network-denied");
    tenant.tag_vpc();
    tenant.register(json!({"networks": [tenant.network(json!({}))]}));
    tenant.network_says("DescribeVpcs");
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api"}));
    let message = tenant.not_ready("api", "NetworkNotReady");
    for action in [
        "ec2:DescribeVpcs",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcEndpointServices",
    ] {
        assert!(message.contains(action), "{action}: {message}");
    }
    tenant.world.eventually("PermissionsVerified names the actions", || {
        let account = tenant.world.aws_account(&tenant.account)?;
        let conditions = account["status"]["conditions"].as_array()?.clone();
        let verified = conditions.iter().find(|one| one["type"] == "PermissionsVerified")?;
        let message = text(&verified["message"]);
        (verified["status"] == "False" && message.contains("DescribeSubnets")).then_some(())
    });
    // Where only the zones of services cannot be read, all zones of the network are taken.
    let spec = json!({"role_arn": tenant.role_arn, "networks": [tenant.network(json!({}))]});
    let spec = serde_json::from_value(spec).expect("a spec");
    tenant
        .world
        .set_role(&tenant.role_arn, &vpce_core::iam::Scope::of(&spec));
    tenant
        .world
        .aws
        .deny(&tenant.role_arn, "ec2:DescribeVpcEndpointServices");
    tenant.ready("api");
    assert_eq!(tenant.only().subnet_ids, tenant.subnets);
}

#[test]
fn full_subnets_and_guardrails_are_told() {
    let tenant = tenant(World::shared(), "network-full", json!({}), json!({}));
    let aws = &tenant.world.aws;
    let full = |full| {
        aws.set_full(&tenant.account_id, &tenant.region, &tenant.subnets[1], full)
            .expect("a subnet");
    };
    full(true);
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api"}));
    let message = tenant.not_ready("api", "NetworkNotReady");
    assert!(
        message.contains("no free address") && message.contains(&tenant.subnets[1]),
        "{message}"
    );
    full(false);
    tenant.ready("api");

    tenant.edit_account(json!({"allowed_subnet_ids": [tenant.subnets[0], tenant.subnets[2]]}));
    tenant.apply("dkr", json!({"vpc_endpoint_service_id": "ecr.dkr"}));
    let message = tenant.not_ready("dkr", "NotAllowed");
    assert!(message.contains("allowed_subnet_ids"), "{message}");
    tenant.set_network(json!({"zone_ids": [tenant.zone('a'), tenant.zone('c')]}));
    tenant.ready("dkr");
    tenant.all_are_in("dkr", &[tenant.subnets[0].clone(), tenant.subnets[2].clone()]);
}

#[test]
fn generated_groups_open_what_the_account_says() {
    let rule = json!({"protocol": "tcp", "from_port": 443, "to_port": 443, "vpc_cidr_blocks": true});
    let tenant = tenant(
        World::shared(),
        "network-ingress",
        json!({}),
        json!({"generated_ingress": [rule]}),
    );
    tenant.apply("api", json!({"vpc_endpoint_service_id": "ecr.api"}));
    tenant.ready("api");
    let https = |block: &str| RuleView::new("tcp", Some((443, 443)), block);
    let ingress = || tenant.groups().first().map(|group| group.ingress.clone());
    assert_eq!(ingress(), Some(vec![https("10.0.0.0/16")]));
    // A block that the VPC gets later is let in, and one that is named by its id is no other.
    let aws = &tenant.world.aws;
    aws.add_cidr_block(&tenant.account_id, &tenant.region, &tenant.vpc, "100.64.0.0/16")
        .expect("a block");
    tenant.eventually("api", "the new block is let in", || {
        (ingress()? == [https("10.0.0.0/16"), https("100.64.0.0/16")]).then_some(())
    });
    tenant.edit_account(json!({"networks": null, "generated_ingress": []}));
    tenant.apply("db", tenant.spec(json!({"security_group_type": null})));
    tenant.ready("db");
    let groups = tenant.groups();
    assert!(groups.iter().any(|group| group.ingress.is_empty()), "{groups:#?}");
    tenant.apply(
        "own",
        tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": [rule]})),
    );
    tenant.ready("own");
    let groups = tenant.groups();
    let both = [https("10.0.0.0/16"), https("100.64.0.0/16")];
    assert!(groups.iter().any(|group| group.ingress == both), "{groups:#?}");
}

#[test]
fn gateways_take_the_vpc_of_the_network() {
    let tenant = tenant(
        World::shared(),
        "network-gateway",
        json!({}),
        json!({"allowed_vpc_endpoint_types": ["Interface", "Gateway", "GatewayLoadBalancer"]}),
    );
    tenant.apply(
        "s3",
        json!({"vpc_endpoint_service_id": "s3", "vpc_endpoint_type": "Gateway"}),
    );
    tenant.ready("s3");
    let endpoint = tenant.only();
    assert_eq!(endpoint.vpc_id, tenant.vpc);
    assert_eq!(endpoint.service_name, format!("com.amazonaws.{}.s3", tenant.region));
    // One subnet cannot be chosen of three zones.
    tenant.apply(
        "inspection",
        json!({"vpc_endpoint_service_id": "vpce-svc-0d1e2f3a4b5c60718", "vpc_endpoint_type": "GatewayLoadBalancer"}),
    );
    let message = tenant.not_ready("inspection", "InvalidSpec");
    assert!(message.contains("exactly one subnet"), "{message}");
}

#[test]
fn what_is_read_does_not_grow_with_the_number_of_endpoints() {
    let tenant = tenant(World::shared(), "network-calls", json!({}), json!({}));
    let names: Vec<String> = (0..20).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, json!({"vpc_endpoint_service_id": "ecr.api"}));
    }
    for name in &names {
        tenant.ready(name);
    }
    let calls = tenant.calls();
    let seconds = calls.last().map_or(0.0, |call| call.time) - calls.first().map_or(0.0, |call| call.time);
    // The resync interval is 5 s here, and what was found wrong at first is read once more.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few minutes")]
    let most = (seconds / 5.0).ceil() as usize + 2;
    for action in ["DescribeVpcs", "DescribeSubnets"] {
        let count = tenant.count(action);
        assert!(count <= most, "{action}: {count} times in {seconds} s");
    }
    assert_eq!(tenant.count("DescribeVpcEndpointServices"), 1);
}

#[test]
fn a_restart_over_several_networks_moves_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.unregistered_tenant("networks");
    let aws = &world.aws;
    let mut networks = vec![tenant.network(json!({"vpc_tags": null, "vpc_id": tenant.vpc}))];
    for number in 1..4 {
        let vpc = tenant.add_vpc();
        for zone in ["a", "b"] {
            let zone = format!("{}{zone}", tenant.region);
            aws.add_subnet(&tenant.account_id, &tenant.region, &id("subnet"), &vpc, &zone)
                .expect("a subnet");
        }
        networks.push(json!({"name": format!("net-{number}"), "region": tenant.region, "vpc_id": vpc}));
    }
    tenant.register_with_its_role(json!({"networks": networks, "default_network": "main"}));
    let names: Vec<String> = networks.iter().map(|network| text(&network["name"])).collect();
    for name in &names {
        tenant.apply(name, json!({"vpc_endpoint_service_id": "ecr.api", "network": name}));
    }
    let places = || -> Vec<Value> {
        let place = |name: &String| tenant.ready(name)["status"]["network"].take();
        names.iter().map(place).collect()
    };
    let before = places();
    let writes = tenant.writes().len();
    let reads = tenant.count("DescribeSubnets");
    world.operator.kill().expect("it was running");
    world.operator.start().expect("it starts again");
    world.eventually("subnets were read three times", || {
        (tenant.count("DescribeSubnets") >= reads + 3).then_some(())
    });
    assert_eq!(places(), before);
    assert_eq!(tenant.writes().len(), writes, "{:#?}", tenant.writes());
}

#[test]
fn bad_input_is_refused_in_words() {
    let tenant = tenant(World::shared(), "network-bad", json!({}), json!({}));
    let refused = |result: Result<Value, Refusal>, says: &str| {
        let refusal = result.expect_err("it is refused");
        assert!(refusal.message.contains(says), "{}", refusal.message);
    };
    let spec = |changes: Value| merged(json!({"vpc_endpoint_service_id": "ecr.api"}), changes);
    for (changes, says) in [
        (
            json!({"network": "main", "vpc_id": tenant.vpc, "subnet_ids": tenant.subnets}),
            "network stands in place of vpc_id",
        ),
        (json!({"vpc_id": tenant.vpc}), "spec.subnet_ids: Required value"),
        (json!({"network": "Main"}), "must be the name of a network"),
        (
            json!({"vpc_endpoint_service_id": "db.example.com"}),
            "is a host name: ask who offers the service",
        ),
        (
            json!({"vpc_endpoint_service_id": "vpce-svc-zzz"}),
            "must be the short name",
        ),
        (json!({"vpc_endpoint_service_id": tenant.vpc}), "must be the short name"),
    ] {
        refused(tenant.try_apply("api", spec(changes)), says);
    }
    let account = |changes: Value| {
        let network = tenant.network(changes);
        let path = format!("{}/{}", crate::cluster::ACCOUNTS, tenant.account);
        tenant
            .world
            .cluster
            .merge(&path, &json!({"spec": {"networks": [network]}}))
    };
    for (changes, says) in [
        (
            json!({"vpc_id": tenant.vpc}),
            "by vpc_id or by vpc_tags: give exactly one",
        ),
        (json!({"vpc_tags": null}), "by vpc_id or by vpc_tags: give exactly one"),
        (
            json!({"subnet_ids": tenant.subnets, "subnet_tags": {"a": "b"}}),
            "by subnet_ids or by subnet_tags",
        ),
        (json!({"zone_ids": ["us-west-2a"]}), "is a zone's name"),
    ] {
        refused(account(changes), says);
    }
    let path = format!("{}/{}", crate::cluster::ACCOUNTS, tenant.account);
    let merged = tenant
        .world
        .cluster
        .merge(&path, &json!({"spec": {"default_network": "other"}}));
    refused(merged, "default_network is the name of one of networks");

    // What only the account can tell.
    for (name, changes, reason, says) in [
        (
            "subnets",
            json!({"subnet_ids": tenant.subnets}),
            "InvalidSpec",
            "subnet_ids go with vpc_id",
        ),
        ("else", json!({"network": "else"}), "NetworkNotFound", "(it has main)"),
        (
            "region",
            json!({"region": "us-east-1"}),
            "NetworkNotFound",
            "is in us-west-2",
        ),
        (
            "none",
            json!({"vpc_endpoint_service_id": "no-such-service"}),
            "NotFound",
            "no-such-service",
        ),
    ] {
        tenant.apply(name, spec(changes));
        let message = tenant.not_ready(name, reason);
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(tenant.endpoints(), Vec::new());
}
