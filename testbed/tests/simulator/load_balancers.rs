//! Elastic Load Balancing: describe and delete.

use std::collections::BTreeMap;

use vpce_testbed::aws::{Config, LoadBalancerSpec, LoadBalancerState, LoadBalancerType, RoleSpec, Simulator};

use crate::client::Client;
use crate::{ACCOUNT, REGION, simulator, unthrottled};

/// How long it takes until a load balancer is active.
const SETUP: f64 = 150.0;

fn spec(subnets: &[&str]) -> LoadBalancerSpec {
    LoadBalancerSpec {
        subnet_ids: subnets.iter().map(|id| (*id).to_owned()).collect(),
        ..LoadBalancerSpec::default()
    }
}

pub(crate) fn add(simulator: &Simulator, name: &str) -> String {
    let spec = spec(&["subnet-a", "subnet-b"]);
    simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap()
}

pub(crate) fn slow() -> (Simulator, Client) {
    simulator(Config {
        load_balancer_seconds: SETUP,
        ..unthrottled()
    })
}

#[test]
fn a_load_balancer_is_provisioning_and_then_active() {
    // API reference, "LoadBalancerState": the initial state is provisioning, then active.
    let (simulator, client) = slow();
    let arn = add(&simulator, "k8s-team-web-0a1b2c3d4e");
    let describe = || {
        let name = [("Names.member.1", "k8s-team-web-0a1b2c3d4e")];
        client.elb("DescribeLoadBalancers", &name).succeeded()
    };
    let found = describe();
    assert_eq!(found.text("LoadBalancerArn"), arn);
    assert_eq!(found.text("Type"), "network");
    assert_eq!(
        (found.text("Scheme"), found.text("VpcId")),
        ("internal".into(), "vpc-1".into())
    );
    assert_eq!(found.texts("ZoneName"), ["us-west-2a", "us-west-2b"]);
    assert_eq!(found.texts("SubnetId"), ["subnet-a", "subnet-b"]);
    let id = arn.rsplit('/').next().unwrap();
    assert_eq!(
        found.text("DNSName"),
        format!("k8s-team-web-0a1b2c3d4e-{id}.elb.us-west-2.amazonaws.com")
    );
    assert_eq!(found.text("Code"), "provisioning");
    simulator.advance(SETUP - 1.0);
    assert_eq!(describe().text("Code"), "provisioning");
    simulator.advance(1.0);
    assert_eq!(describe().text("Code"), "active");
    for state in [LoadBalancerState::Failed, LoadBalancerState::ActiveImpaired] {
        simulator.set_load_balancer_state(&arn, state).unwrap();
        assert_eq!(describe().text("Code"), state.wire());
    }
}

#[test]
fn the_types_are_told_apart() {
    let (simulator, client) = slow();
    let kinds = [
        (LoadBalancerType::Network, "network", "loadbalancer/net/"),
        (LoadBalancerType::Gateway, "gateway", "loadbalancer/gwy/"),
        (LoadBalancerType::Application, "application", "loadbalancer/app/"),
    ];
    for (kind, wire, path) in kinds {
        let spec = LoadBalancerSpec {
            kind,
            ..spec(&["subnet-a"])
        };
        let arn = simulator.add_load_balancer(ACCOUNT, REGION, wire, spec).unwrap();
        assert!(arn.contains(path), "{arn}");
        let found = client.elb("DescribeLoadBalancers", &[("LoadBalancerArns.member.1", &arn)]);
        assert_eq!(found.succeeded().text("Type"), wire);
    }
    let groups = LoadBalancerSpec {
        security_group_ids: vec!["sg-1".to_owned()],
        ..spec(&["subnet-a"])
    };
    let skips = LoadBalancerSpec {
        private_link_skips_security_groups: true,
        ..groups.clone()
    };
    for (name, spec, expected) in [("on", groups, "on"), ("off", skips, "off")] {
        simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap();
        let found = client
            .elb("DescribeLoadBalancers", &[("Names.member.1", name)])
            .succeeded();
        let enforced = found.text("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic");
        assert_eq!(enforced, expected);
    }
}

#[test]
fn one_missing_name_fails_the_whole_call() {
    let (simulator, client) = slow();
    let arn = add(&simulator, "there");
    let names = [("Names.member.1", "there"), ("Names.member.2", "elsewhere")];
    client
        .elb("DescribeLoadBalancers", &names)
        .refused("LoadBalancerNotFound");
    let gone = format!("{}0", &arn[..arn.len() - 1]);
    let gone = if gone == arn {
        format!("{}1", &arn[..arn.len() - 1])
    } else {
        gone
    };
    for action in ["DescribeLoadBalancers", "DescribeTags"] {
        let list = if action == "DescribeTags" {
            "ResourceArns"
        } else {
            "LoadBalancerArns"
        };
        let (first, second) = (format!("{list}.member.1"), format!("{list}.member.2"));
        client
            .elb(action, &[(&first, &arn), (&second, &gone)])
            .refused("LoadBalancerNotFound");
        client.elb(action, &[(&first, "there")]).refused("ValidationError");
    }
}

#[test]
fn a_call_names_at_most_twenty() {
    // API reference, "DescribeLoadBalancers" and "DescribeTags": up to 20 in a single call.
    let (simulator, client) = slow();
    let arns: Vec<String> = (0..21).map(|n| add(&simulator, &format!("lb-{n}"))).collect();
    for (action, list, element) in [
        ("DescribeLoadBalancers", "LoadBalancerArns", "LoadBalancerArn"),
        ("DescribeTags", "ResourceArns", "ResourceArn"),
    ] {
        let names: Vec<String> = (1..=21).map(|n| format!("{list}.member.{n}")).collect();
        let all: Vec<(&str, &str)> = names
            .iter()
            .map(String::as_str)
            .zip(arns.iter().map(String::as_str))
            .collect();
        client.elb(action, &all).refused("ValidationError");
        assert_eq!(client.elb(action, &all[..20]).succeeded().texts(element).len(), 20);
    }
    client.elb("DescribeTags", &[]).refused("ValidationError");
}

#[test]
fn pages_add_up() {
    let (simulator, client) = slow();
    let mut arns: Vec<String> = (0..5).map(|n| add(&simulator, &format!("lb-{n}"))).collect();
    arns.sort();
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let mut params = vec![("PageSize", "2")];
        if !marker.is_empty() {
            params.push(("Marker", &marker));
        }
        let page = client.elb("DescribeLoadBalancers", &params).succeeded();
        assert!(page.texts("LoadBalancerArn").len() <= 2);
        seen.extend(page.texts("LoadBalancerArn"));
        marker = page.text("NextMarker");
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(seen, arns);
    for size in ["0", "401", "many"] {
        client
            .elb("DescribeLoadBalancers", &[("PageSize", size)])
            .refused("ValidationError");
    }
    client
        .elb("DescribeLoadBalancers", &[("Marker", "zz")])
        .refused("ValidationError");
}

#[test]
fn tags_are_described() {
    let (simulator, client) = slow();
    let tags = BTreeMap::from([
        ("elbv2.k8s.aws/cluster".to_owned(), "west".to_owned()),
        ("service.k8s.aws/stack".to_owned(), "team/web".to_owned()),
    ]);
    let arn = add(&simulator, "web");
    simulator.set_load_balancer_tags(&arn, tags).unwrap();
    let found = client
        .elb("DescribeTags", &[("ResourceArns.member.1", &arn)])
        .succeeded();
    assert_eq!(found.text("ResourceArn"), arn);
    assert_eq!(found.texts("Key"), ["elbv2.k8s.aws/cluster", "service.k8s.aws/stack"]);
    assert_eq!(found.texts("Value"), ["west", "team/web"]);
}

#[test]
fn deleting_a_missing_load_balancer_succeeds() {
    // API reference, "DeleteLoadBalancer": if it does not exist, the call succeeds.
    let (simulator, client) = slow();
    let arn = add(&simulator, "web");
    let other = client.in_region("eu-west-1");
    let delete = [("LoadBalancerArn", arn.as_str())];
    other.elb("DeleteLoadBalancer", &delete).succeeded();
    assert_eq!(simulator.load_balancers(ACCOUNT, REGION).len(), 1);
    client.elb("DeleteLoadBalancer", &delete).succeeded();
    assert!(simulator.load_balancers(ACCOUNT, REGION).is_empty());
    client.elb("DeleteLoadBalancer", &delete).succeeded();
    client.elb("DeleteLoadBalancer", &[]).refused("ValidationError");
}

#[test]
fn another_account_sees_nothing() {
    let (simulator, client) = slow();
    let arn = add(&simulator, "web");
    let role = "arn:aws:iam::222222222222:role/other";
    simulator.add_role(role, RoleSpec::default()).unwrap();
    let other = Client::base(&simulator, REGION).assume(role);
    assert_eq!(
        other
            .elb("DescribeLoadBalancers", &[])
            .succeeded()
            .text("LoadBalancerArn"),
        ""
    );
    for (action, name) in [
        ("DescribeLoadBalancers", "LoadBalancerArns.member.1"),
        ("DescribeTags", "ResourceArns.member.1"),
    ] {
        other.elb(action, &[(name, &arn)]).refused("LoadBalancerNotFound");
    }
    other
        .elb("DeleteLoadBalancer", &[("LoadBalancerArn", &arn)])
        .succeeded();
    client
        .elb("DescribeLoadBalancers", &[("LoadBalancerArns.member.1", &arn)])
        .succeeded();
}
