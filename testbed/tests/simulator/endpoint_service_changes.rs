//! ModifyVpcEndpointServiceConfiguration.

use vpce_testbed::aws::{Config, LoadBalancerSpec, LoadBalancerState, LoadBalancerType};

use crate::hosting::{
    CONSUMER_ROOT, ENDPOINT_PENDING, SERVICE_PENDING, add_load_balancer, hosting, hosting_with, name,
};
use crate::{ACCOUNT, REGION, unthrottled};

#[test]
fn acceptance_is_turned_off_and_on() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let waiting = hosting.connected(&id);
    let changed = hosting.modify(&id, &[("AcceptanceRequired", "false")]).succeeded();
    assert_eq!(changed.text("return"), "true");
    assert!(!hosting.view().acceptance_required);
    let endpoint = hosting.connected(&id);
    assert_eq!(
        (hosting.state(&waiting), hosting.state(&endpoint)),
        ("pendingAcceptance".into(), "pending".into())
    );
    hosting.modify(&id, &[("AcceptanceRequired", "true")]).succeeded();
    assert!(hosting.view().acceptance_required);
}

#[test]
fn load_balancers_are_added_and_removed_but_one_must_remain() {
    // PrivateLink Guide, "Configure an endpoint service", "Manage load balancers".
    let hosting = hosting();
    let id = hosting.service(&[]);
    let (first, second) = (
        &hosting.load_balancer,
        &add_load_balancer(&hosting.simulator, "new", LoadBalancerType::Network),
    );
    hosting
        .modify(&id, &[("RemoveNetworkLoadBalancerArn.1", first)])
        .refused("InvalidParameter");
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", second)])
        .succeeded();
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(hosting.view().load_balancer_arns, both);
    hosting
        .modify(&id, &[("RemoveNetworkLoadBalancerArn.1", first)])
        .succeeded();
    assert_eq!(hosting.view().load_balancer_arns, std::slice::from_ref(second));
    hosting
        .modify(&id, &[("RemoveNetworkLoadBalancerArn.1", first)])
        .refused("InvalidParameter");
    let swap = [
        ("AddNetworkLoadBalancerArn.1", first.as_str()),
        ("RemoveNetworkLoadBalancerArn.1", second),
    ];
    hosting.modify(&id, &swap).succeeded();
    assert_eq!(hosting.view().load_balancer_arns, std::slice::from_ref(first));
    let same = [
        ("AddNetworkLoadBalancerArn.1", second.as_str()),
        ("RemoveNetworkLoadBalancerArn.1", second),
    ];
    hosting.modify(&id, &same).refused("InvalidParameter");
}

#[test]
fn added_load_balancers_are_validated() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let simulator = &hosting.simulator;
    let gateway = add_load_balancer(simulator, "inspection", LoadBalancerType::Gateway);
    hosting
        .modify(&id, &[("AddGatewayLoadBalancerArn.1", &gateway)])
        .refused("InvalidParameter");
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &gateway)])
        .refused("InvalidParameter");
    let missing = hosting.load_balancer.replace("/web/", "/other/");
    let missing = hosting.modify(&id, &[("AddNetworkLoadBalancerArn.1", &missing)]);
    missing.refused("InvalidNetworkLoadBalancerArn.NotFound");
    let slow = add_load_balancer(simulator, "slow", LoadBalancerType::Network);
    simulator
        .set_load_balancer_state(&slow, LoadBalancerState::Provisioning)
        .unwrap();
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &slow)])
        .refused("InvalidParameter");
    simulator
        .set_load_balancer_state(&slow, LoadBalancerState::Active)
        .unwrap();
    let taken = [("NetworkLoadBalancerArn.1", slow.as_str())];
    hosting
        .provider
        .ec2("CreateVpcEndpointServiceConfiguration", &taken)
        .succeeded();
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &slow)])
        .refused("InvalidParameter");
}

#[test]
fn load_balancers_cannot_be_removed_while_endpoints_are_connected() {
    // "Error codes for the Amazon EC2 API", ExistingVpcEndpointConnections; AWS's blog has it
    // otherwise, which is a setting.
    let hosting = hosting();
    let id = hosting.service(&[]);
    let second = add_load_balancer(&hosting.simulator, "new", LoadBalancerType::Network);
    let endpoint = hosting.connected(&id);
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &second)])
        .succeeded();
    let remove = [("RemoveNetworkLoadBalancerArn.1", second.as_str())];
    hosting.modify(&id, &remove).refused("ExistingVpcEndpointConnections");
    assert_eq!(hosting.view().load_balancer_arns.len(), 2);
    hosting.reject(&id, &[&endpoint]).succeeded();
    hosting.modify(&id, &remove).succeeded();

    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &second)])
        .succeeded();
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    hosting.modify(&id, &remove).refused("ExistingVpcEndpointConnections");
    hosting
        .simulator
        .configure(|config| config.connected_load_balancers_removable = true);
    hosting.modify(&id, &remove).succeeded();
}

#[test]
fn a_modify_adds_new_zones_of_the_load_balancer() {
    // PrivateLink Guide, "Configure an endpoint service": a request with nothing but the id.
    const READY: f64 = 120.0;
    let hosting = hosting();
    let id = hosting.service(&[]);
    hosting
        .simulator
        .configure(|config| config.load_balancer_seconds = READY);
    hosting
        .simulator
        .add_load_balancer_subnet(&hosting.load_balancer, "subnet-c")
        .unwrap();
    let described = hosting.provider.elb("DescribeLoadBalancers", &[]).succeeded();
    assert_eq!(described.texts("ZoneName").len(), 3);
    hosting
        .connect(&id, &[("SubnetId.1", "subnet-c")])
        .refused("InvalidParameter");
    hosting.modify(&id, &[]).succeeded();
    assert_eq!(hosting.view().zones, ["us-west-2a", "us-west-2b"], "it is not ready");
    hosting.simulator.advance(READY);
    assert_eq!(hosting.view().zones.len(), 2);
    hosting.modify(&id, &[]).succeeded();
    assert_eq!(hosting.view().zones, ["us-west-2a", "us-west-2b", "us-west-2c"]);
    hosting.connect(&id, &[("SubnetId.1", "subnet-c")]).succeeded();
}

#[test]
fn added_load_balancers_add_their_zones() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let spec = LoadBalancerSpec {
        subnet_ids: vec!["subnet-c".to_owned()],
        ..LoadBalancerSpec::default()
    };
    let third = hosting
        .simulator
        .add_load_balancer(ACCOUNT, REGION, "third", spec)
        .unwrap();
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &third)])
        .succeeded();
    assert_eq!(hosting.view().zones.len(), 3);
    hosting
        .modify(&id, &[("RemoveNetworkLoadBalancerArn.1", &third)])
        .succeeded();
    assert_eq!(hosting.view().zones.len(), 2);
}

#[test]
fn address_types_are_added_and_removed() {
    // PrivateLink Guide, "Configure an endpoint service", "Modify the supported IP address types".
    let hosting = hosting();
    let id = hosting.service(&[]);
    let ipv6 = [("AddSupportedIpAddressType.1", "ipv6")];
    hosting.modify(&id, &ipv6).refused("InvalidParameter");
    hosting
        .simulator
        .set_load_balancer_dualstack(&hosting.load_balancer, true)
        .unwrap();
    hosting.modify(&id, &ipv6).succeeded();
    assert_eq!(hosting.view().ip_address_types, ["ipv4", "ipv6"]);
    let plain = add_load_balancer(&hosting.simulator, "plain", LoadBalancerType::Network);
    hosting
        .modify(&id, &[("AddNetworkLoadBalancerArn.1", &plain)])
        .refused("InvalidParameter");
    let endpoint = hosting.connected(&id);
    let ipv4 = [("RemoveSupportedIpAddressType.1", "ipv4")];
    hosting.modify(&id, &ipv4).refused("InvalidParameter");
    hosting.reject(&id, &[&endpoint]).succeeded();
    hosting.modify(&id, &ipv4).succeeded();
    assert_eq!(hosting.view().ip_address_types, ["ipv6"]);
    hosting
        .connect(&id, &[("SubnetId.1", "subnet-a")])
        .refused("InvalidParameter");
    hosting
        .modify(&id, &[("RemoveSupportedIpAddressType.1", "ipv6")])
        .refused("InvalidParameter");
}

#[test]
fn regions_are_added_and_removed_except_the_host_region() {
    // PrivateLink Guide, "Share your services through AWS PrivateLink", "Cross-Region access".
    let hosting = hosting();
    let id = hosting.service(&[]);
    let states = |region: &str| {
        let body = hosting.describe(&id).body;
        let after = body.split_once(&format!("<region>{region}</region><serviceState>"));
        after.map(|(_, rest)| rest.split('<').next().unwrap_or_default().to_owned())
    };
    assert_eq!(states(REGION).as_deref(), Some("Available"));
    hosting
        .modify(&id, &[("AddSupportedRegion.1", "eu-west-1")])
        .succeeded();
    assert_eq!(states("eu-west-1").as_deref(), Some("Pending"));
    assert_eq!(hosting.describe(&id).text("remoteAccessEnabled"), "true");
    hosting.simulator.advance(SERVICE_PENDING);
    assert_eq!(states("eu-west-1").as_deref(), Some("Available"));
    let find = || {
        let params = [("ServiceRegion.1", REGION), ("ServiceName.1", &name(&id))];
        hosting
            .consumer
            .in_region("eu-west-1")
            .ec2("DescribeVpcEndpointServices", &params)
    };
    assert_eq!(find().succeeded().text("serviceRegion"), REGION);
    hosting
        .modify(&id, &[("RemoveSupportedRegion.1", "eu-west-1")])
        .succeeded();
    assert_eq!(states("eu-west-1").as_deref(), Some("Deleting"));
    find().refused("InvalidServiceName");
    let (add, remove) = (
        [("AddSupportedRegion.1", "eu-west-1")],
        [("RemoveSupportedRegion.1", "eu-west-1")],
    );
    hosting.modify(&id, &remove).refused("InvalidParameter");
    hosting.modify(&id, &add).succeeded();
    assert_eq!(states("eu-west-1").as_deref(), Some("Pending"));
    hosting.modify(&id, &remove).succeeded();
    hosting.simulator.advance(61.0);
    assert_eq!(states("eu-west-1"), None);

    hosting
        .modify(&id, &[("RemoveSupportedRegion.1", REGION)])
        .refused("InvalidParameter");
    hosting
        .modify(&id, &[("RemoveSupportedRegion.1", "eu-west-2")])
        .refused("InvalidParameter");
    for stranger in ["eu-west-9", "cn-north-1"] {
        hosting
            .modify(&id, &[("AddSupportedRegion.1", stranger)])
            .refused("InvalidParameter");
    }
    hosting.simulator.set_region_enabled(ACCOUNT, "eu-west-2", false);
    hosting
        .modify(&id, &[("AddSupportedRegion.1", "eu-west-2")])
        .refused("OptInRequired");
}

#[test]
fn removing_a_region_keeps_its_endpoints() {
    // PrivateLink Guide, "Share your services through AWS PrivateLink", "Cross-Region access".
    let hosting = hosting();
    crate::hosting::add_network(&hosting.simulator, "eu-west-1");
    let id = hosting.service(&[("SupportedRegion.1", "eu-west-1"), ("AcceptanceRequired", "false")]);
    let far = hosting.consumer.in_region("eu-west-1");
    far.create_endpoint(&name(&id), &[("ServiceRegion", REGION)])
        .succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    hosting
        .modify(&id, &[("RemoveSupportedRegion.1", "eu-west-1")])
        .succeeded();
    hosting.simulator.advance(1000.0);
    assert_eq!(
        hosting.simulator.endpoints("222222222222", "eu-west-1")[0].state,
        "available"
    );
    assert_eq!(hosting.connections(&id).len(), 1);
}

#[test]
fn a_refused_modification_changes_nothing() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let before = hosting.view();
    let mixed = [("AcceptanceRequired", "false"), ("AddSupportedIpAddressType.1", "ipv6")];
    hosting.modify(&id, &mixed).refused("InvalidParameter");
    hosting
        .modify(&id, &[("AcceptanceRequired", "false"), ("DryRun", "true")])
        .refused("DryRunOperation");
    assert_eq!(hosting.view(), before);
    let missing = hosting.modify("vpce-svc-00000000000000000", &[]);
    missing.refused("InvalidVpcEndpointServiceId.NotFound");
}

#[test]
fn an_available_service_may_answer_503_for_a_while() {
    // aws-sdk#805: a 503 for a while.
    let hosting = hosting_with(Config {
        service_unavailable_seconds: 45.0,
        ..unthrottled()
    });
    let id = hosting.create(&[]).succeeded().text("serviceId");
    hosting.allow(&id, CONSUMER_ROOT);
    hosting.connect(&id, &[]).refused("InvalidServiceName");
    hosting.simulator.advance(SERVICE_PENDING);
    assert_eq!(hosting.describe(&id).text("serviceState"), "Available");
    let early = hosting.connect(&id, &[]);
    early.refused("Unavailable");
    assert_eq!(early.status, 503);
    hosting.simulator.advance(45.0);
    hosting.connect(&id, &[]).succeeded();
}
