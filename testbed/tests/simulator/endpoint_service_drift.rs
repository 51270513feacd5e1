//! Changes of endpoint services and load balancers without API calls.

use std::collections::BTreeMap;

use vpce_testbed::aws::{LoadBalancerSpec, ServiceState};

use crate::hosting::{CONSUMER, CONSUMER_ROOT, DELETING, ENDPOINT_PENDING, hosting};
use crate::{ACCOUNT, REGION};

const MISSING: &str = "vpce-svc-00000000000000000";

#[test]
fn principals_acceptance_and_tags_change() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let simulator = &hosting.simulator;
    let other = "arn:aws:iam::333333333333:root";
    simulator
        .set_allowed_principals(ACCOUNT, REGION, &id, &[other])
        .unwrap();
    let permissions = [("ServiceId", id.as_str())];
    let permissions = hosting
        .provider
        .ec2("DescribeVpcEndpointServicePermissions", &permissions);
    assert_eq!(permissions.succeeded().texts("principal"), [other]);
    hosting.connect(&id, &[]).refused("InvalidServiceName");
    simulator.set_acceptance_required(ACCOUNT, REGION, &id, false).unwrap();
    assert_eq!(hosting.describe(&id).text("acceptanceRequired"), "false");
    simulator.set_tag(ACCOUNT, REGION, &id, "team", "blue").unwrap();
    assert_eq!(hosting.view().tags["team"], "blue");
    simulator.delete_tag(ACCOUNT, REGION, &id, "team").unwrap();
    assert!(hosting.view().tags.is_empty());
}

#[test]
fn a_failed_service_accepts_no_endpoints_and_can_be_deleted() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let fail = || {
        let state = ServiceState::Failed;
        hosting
            .simulator
            .set_endpoint_service_state(ACCOUNT, REGION, &id, state)
    };
    fail().unwrap();
    assert_eq!(hosting.describe(&id).text("serviceState"), "Failed");
    hosting.connect(&id, &[]).refused("InvalidServiceName");
    hosting.modify(&id, &[]).refused("IncorrectState");
    hosting.simulator.advance(1000.0);
    assert_eq!(hosting.describe(&id).text("serviceState"), "Failed");
    hosting.delete(&id).succeeded();
    hosting.simulator.advance(DELETING);
    assert_eq!(hosting.describe(&id).text("serviceState"), "Deleted");
    fail().unwrap_err();
}

#[test]
fn deleting_a_service_rejects_its_connections() {
    let hosting = hosting();
    let id = hosting.service(&[("AcceptanceRequired", "false")]);
    let endpoint = hosting.connected(&id);
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.state(&endpoint), "available");
    hosting
        .simulator
        .delete_endpoint_service_behind(ACCOUNT, REGION, &id)
        .unwrap();
    assert_eq!(hosting.view().state, "Deleting");
    assert_eq!(hosting.state(&endpoint), "rejected");
    hosting.simulator.advance(DELETING);
    assert!(hosting.simulator.endpoint_services(ACCOUNT, REGION).is_empty());
}

#[test]
fn acceptance_in_the_console_is_the_same() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    hosting.simulator.accept(CONSUMER, REGION, &endpoint).unwrap();
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "available".to_owned())]);
    hosting.simulator.reject(CONSUMER, REGION, &endpoint).unwrap();
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "rejected".to_owned())]);
    hosting.simulator.reject(CONSUMER, REGION, &endpoint).unwrap_err();
}

#[test]
fn a_load_balancer_is_deleted_unless_it_is_in_use() {
    let hosting = hosting();
    let arn = &hosting.load_balancer;
    let id = hosting.service(&[]);
    hosting.simulator.delete_load_balancer(arn).unwrap_err();
    hosting.delete(&id).succeeded();
    hosting.simulator.advance(DELETING);
    hosting.simulator.delete_load_balancer(arn).unwrap();
    hosting.simulator.delete_load_balancer(arn).unwrap_err();
    // One of the same name is another one.
    let spec = LoadBalancerSpec {
        subnet_ids: vec!["subnet-a".to_owned()],
        ..LoadBalancerSpec::default()
    };
    let again = hosting
        .simulator
        .add_load_balancer(ACCOUNT, REGION, "web", spec)
        .unwrap();
    assert_ne!(again, *arn);
}

#[test]
fn what_is_missing_or_invalid_is_an_error() {
    let hosting = hosting();
    let simulator = &hosting.simulator;
    simulator
        .set_allowed_principals(ACCOUNT, REGION, MISSING, &[CONSUMER_ROOT])
        .unwrap_err();
    simulator
        .set_acceptance_required(ACCOUNT, REGION, MISSING, true)
        .unwrap_err();
    simulator
        .delete_endpoint_service_behind(ACCOUNT, REGION, MISSING)
        .unwrap_err();
    simulator
        .recheck_private_dns_name(ACCOUNT, REGION, MISSING)
        .unwrap_err();
    simulator.remove_txt_record("db.example.com", "vpce:x").unwrap_err();
    let id = hosting.service(&[]);
    simulator.recheck_private_dns_name(ACCOUNT, REGION, &id).unwrap_err();

    let missing = hosting.load_balancer.replace("/web/", "/other/");
    simulator.set_load_balancer_tags(&missing, BTreeMap::new()).unwrap_err();
    simulator.add_load_balancer_subnet(&missing, "subnet-c").unwrap_err();
    simulator
        .add_load_balancer_subnet(&hosting.load_balancer, "subnet-a2")
        .unwrap_err();
    simulator
        .add_load_balancer_subnet(&hosting.load_balancer, "subnet-x")
        .unwrap_err();
    for (name, subnets) in [
        ("web", vec!["subnet-a"]),
        ("", vec!["subnet-a"]),
        ("a_b", vec!["subnet-a"]),
        ("new", vec![]),
        ("new", vec!["subnet-a", "subnet-a2"]),
        ("new", vec!["subnet-x"]),
    ] {
        let spec = LoadBalancerSpec {
            subnet_ids: subnets.into_iter().map(str::to_owned).collect(),
            ..LoadBalancerSpec::default()
        };
        simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap_err();
    }
}
