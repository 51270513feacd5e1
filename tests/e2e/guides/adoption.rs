//! The guide for endpoints that exist already.

use serde_json::json;

use vpce_testbed::aws::ServiceSpec;

use super::{Guide, team};
use crate::world::{World, id, text};

#[test]
fn an_endpoint_is_observed_adopted_and_given_back_without_a_change_to_its_traffic() {
    let world = World::shared();
    let mut guide = Guide::open(world, "adopt-an-endpoint");
    let mut tenant = team(world, "accounting", "accounting");
    "eu-west-1".clone_into(&mut tenant.region);
    let spec = guide.manifest("observe.yaml")["spec"].take();
    tenant.vpc = text(&spec["vpc_id"]);
    tenant.service = text(&spec["vpc_endpoint_service_id"]);
    let scope = vpce_core::iam::Scope {
        adoption: true,
        ..Default::default()
    };
    world.set_role(&tenant.role_arn, &scope);
    tenant.register(json!({"allow_retain": true}));
    let (aws, account, region) = (&world.aws, &tenant.account_id, &tenant.region);
    let (subnet, group) = (id("subnet"), id("sg"));
    aws.add_service(region, &tenant.service, ServiceSpec::default());
    aws.add_vpc(account, region, &tenant.vpc, "10.1.0.0/16").expect("a VPC");
    let zone = format!("{region}a");
    aws.add_subnet(account, region, &subnet, &tenant.vpc, &zone)
        .expect("a subnet");
    aws.add_security_group(account, region, &group, &tenant.vpc, "theirs")
        .expect("a group");
    let made = aws.add_endpoint_behind(account, region, &subnet, &tenant.service, &group);
    let named = made.expect("an endpoint");
    guide.replace(&text(&spec["vpc_endpoint_id"]), &named);
    let seen = || {
        let endpoints = tenant.world.aws.endpoints(account, region);
        let [endpoint] = &endpoints[..] else {
            panic!("one endpoint: {endpoints:#?}");
        };
        endpoint.clone()
    };
    let before = seen();

    let cluster_id = guide.follow("Before you begin");
    assert_eq!(cluster_id.lines().last(), Some(world.cluster_id()));
    let consent = format!("{}/accounting/ledger", world.cluster_id());
    aws.set_tag(account, region, &named, "silvermullet.com/adopt", &consent)
        .expect("it is there");
    let observed = seen();
    let printed = guide.follow("Observe it first");
    assert!(printed.contains("available") && printed.contains(&named), "{printed}");
    assert_eq!(seen(), observed);
    guide.skip("Take it from the tool that manages it");
    guide.follow("Adopt it");
    let adopted = seen();
    assert_eq!(adopted.tags["silvermullet.com/name"], "ledger");
    for (what, now, then) in [
        ("subnets", &adopted.subnet_ids, &before.subnet_ids),
        ("groups", &adopted.group_ids, &before.group_ids),
        ("DNS names", &adopted.dns_names, &before.dns_names),
        (
            "interfaces",
            &adopted.network_interface_ids,
            &before.network_interface_ids,
        ),
    ] {
        assert_eq!(now, then, "{what}");
    }
    guide.follow("Give it back");
    let given_back = seen();
    assert_eq!(given_back.state, "available");
    assert!(!given_back.tags.contains_key("silvermullet.com/cluster"));
    guide.end();
}
