//! Connections: the consumer's endpoint and the provider's view of it.

use vpce_testbed::aws::{LoadBalancerType, RoleSpec};

use crate::client::Client;
use crate::hosting::{
    CONSUMER, CONSUMER_ROOT, ENDPOINT_PENDING, Hosting, SERVICE_PENDING, add_load_balancer, add_network, hosting, name,
};
use crate::{ACCOUNT, REGION};

const DESCRIBE: &str = "DescribeVpcEndpointConnections";

fn filtered(hosting: &Hosting, filter: &str, value: &str) -> Vec<String> {
    let params = [("Filter.1.Name", filter), ("Filter.1.Value.1", value)];
    hosting
        .provider
        .ec2(DESCRIBE, &params)
        .succeeded()
        .texts("vpcEndpointId")
}

#[test]
fn an_endpoint_waits_is_accepted_and_becomes_available() {
    // PrivateLink Guide, "AWS PrivateLink concepts": pendingAcceptance, pending, available.
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    assert_eq!(hosting.state(&endpoint), "pendingAcceptance");
    assert_eq!(
        hosting.connections(&id),
        [(endpoint.clone(), "pendingAcceptance".to_owned())]
    );
    hosting.simulator.advance(1000.0);
    assert_eq!(hosting.state(&endpoint), "pendingAcceptance");

    let accepted = hosting.accept(&id, &[&endpoint]).succeeded();
    assert!(accepted.texts("resourceId").is_empty(), "{}", accepted.body);
    assert_eq!(hosting.state(&endpoint), "pending");
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "pending".to_owned())]);
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.state(&endpoint), "available");
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "available".to_owned())]);
    let own = hosting
        .consumer
        .ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", &endpoint)]);
    let own = own.succeeded();
    assert_eq!(own.text("serviceName"), name(&id));
    let suffix = format!("{id}.us-west-2.vpce.amazonaws.com");
    assert!(
        own.texts("dnsName").iter().all(|name| name.ends_with(&suffix)),
        "{}",
        own.body
    );
}

#[test]
fn a_connection_names_owner_region_and_load_balancers() {
    let hosting = hosting();
    let id = hosting.service(&[("AcceptanceRequired", "false")]);
    let endpoint = hosting.connected(&id);
    hosting.simulator.advance(ENDPOINT_PENDING);
    let seen = hosting.provider.ec2(DESCRIBE, &[]).succeeded();
    assert_eq!(seen.text("serviceId"), id);
    assert_eq!(seen.text("vpcEndpointId"), endpoint);
    assert_eq!(seen.text("vpcEndpointOwner"), CONSUMER);
    assert_eq!(seen.text("vpcEndpointRegion"), REGION);
    assert_eq!(seen.text("ipAddressType"), "ipv4");
    assert!(seen.body.contains(&hosting.load_balancer), "{}", seen.body);
    let own = hosting.consumer.ec2("DescribeVpcEndpoints", &[]).succeeded();
    assert_eq!(seen.texts("dnsName"), own.texts("dnsName"));
    assert!(!seen.texts("dnsName").is_empty());
    // The consumer sees no connections, and neither does another region.
    for other in [&hosting.consumer, &hosting.provider.in_region("eu-west-1")] {
        assert!(other.ec2(DESCRIBE, &[]).succeeded().texts("vpcEndpointId").is_empty());
    }
}

#[test]
fn without_acceptance_an_endpoint_starts_as_pending() {
    let hosting = hosting();
    let id = hosting.service(&[("AcceptanceRequired", "false")]);
    let endpoint = hosting.connected(&id);
    assert_eq!(hosting.state(&endpoint), "pending");
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.state(&endpoint), "available");
}

#[test]
fn a_connection_can_be_rejected_in_use_and_accepted_again() {
    // PrivateLink Guide, "AWS PrivateLink concepts": a connection can be rejected after it is
    // available.
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    hosting.reject(&id, &[&endpoint]).succeeded();
    assert_eq!(hosting.state(&endpoint), "rejected");
    hosting.simulator.advance(1000.0);
    assert_eq!(hosting.state(&endpoint), "rejected");
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.state(&endpoint), "available");
    hosting.reject(&id, &[&endpoint]).succeeded();
    assert_eq!(hosting.state(&endpoint), "rejected");
    assert_eq!(hosting.connections(&id), [(endpoint, "rejected".to_owned())]);
}

#[test]
fn failed_items_are_returned_with_a_reason() {
    // API reference, "AcceptVpcEndpointConnections" (Unsuccessful).
    let hosting = hosting();
    let id = hosting.service(&[]);
    let other_balancer = add_load_balancer(&hosting.simulator, "other", LoadBalancerType::Network);
    let other = [("NetworkLoadBalancerArn.1", other_balancer.as_str())];
    let action = "CreateVpcEndpointServiceConfiguration";
    let other = hosting.provider.ec2(action, &other).succeeded().text("serviceId");
    let (waiting, available, rejected) = (hosting.connected(&id), hosting.connected(&id), hosting.connected(&id));
    hosting.accept(&id, &[&available]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    hosting.reject(&id, &[&rejected]).succeeded();

    let answer = hosting.accept(&id, &[&available, "vpce-00000000000000000", &waiting]);
    let answer = answer.succeeded();
    let failed: Vec<(String, String)> = answer
        .texts("resourceId")
        .into_iter()
        .zip(answer.texts("code"))
        .collect();
    let mut expected = vec![
        (available.clone(), "InvalidState".to_owned()),
        (
            "vpce-00000000000000000".to_owned(),
            "InvalidVpcEndpoint.NotFound".to_owned(),
        ),
    ];
    expected.sort();
    assert_eq!(failed, expected);
    assert_eq!(hosting.state(&waiting), "pending", "the others are not kept from it");
    assert_eq!(
        hosting.reject(&id, &[&rejected]).succeeded().text("code"),
        "InvalidState"
    );

    let of_other = hosting.accept(&other, &[&rejected]).succeeded();
    assert_eq!(of_other.text("code"), "InvalidVpcEndpoint.NotFound");
    let missing = hosting.accept("vpce-svc-00000000000000000", &[&rejected]);
    missing.refused("InvalidVpcEndpointServiceId.NotFound");
    let none = hosting
        .provider
        .ec2("AcceptVpcEndpointConnections", &[("ServiceId", &id)]);
    none.refused("MissingParameter");
    let dry = [
        ("ServiceId", id.as_str()),
        ("VpcEndpointId.1", &rejected),
        ("DryRun", "true"),
    ];
    hosting
        .provider
        .ec2("AcceptVpcEndpointConnections", &dry)
        .refused("DryRunOperation");
    assert_eq!(hosting.state(&rejected), "rejected");
}

#[test]
fn only_the_provider_can_accept_or_reject() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    let params = [("ServiceId", id.as_str()), ("VpcEndpointId.1", endpoint.as_str())];
    for action in ["AcceptVpcEndpointConnections", "RejectVpcEndpointConnections"] {
        let refused = hosting.consumer.ec2(action, &params);
        refused.refused("InvalidVpcEndpointServiceId.NotFound");
    }
    assert_eq!(hosting.state(&endpoint), "pendingAcceptance");
}

#[test]
fn many_are_accepted_in_one_call() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoints: Vec<String> = (0..20).map(|_| hosting.connected(&id)).collect();
    let ids: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    hosting.accept(&id, &ids).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert!(hosting.connections(&id).iter().all(|(_, state)| state == "available"));
}

#[test]
fn filters_and_pages() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let other_role = "arn:aws:iam::333333333333:role/other";
    hosting.simulator.add_role(other_role, RoleSpec::default()).unwrap();
    hosting.allow(&id, other_role);
    hosting
        .simulator
        .add_vpc("333333333333", REGION, "vpc-1", "10.0.0.0/16")
        .unwrap();
    let other = Client::base(&hosting.simulator, REGION).assume(other_role);
    let theirs = other.create_endpoint(&name(&id), &[]).succeeded().text("vpcEndpointId");
    let mut all: Vec<String> = (0..6).map(|_| hosting.connected(&id)).collect();
    hosting.reject(&id, &[&all[0]]).succeeded();

    assert_eq!(filtered(&hosting, "vpc-endpoint-state", "rejected"), [all[0].clone()]);
    assert_eq!(
        filtered(&hosting, "vpc-endpoint-owner", "333333333333"),
        std::slice::from_ref(&theirs)
    );
    assert_eq!(filtered(&hosting, "vpc-endpoint-region", REGION).len(), 7);
    assert!(filtered(&hosting, "vpc-endpoint-region", "cross-region").is_empty());
    assert!(filtered(&hosting, "ip-address-type", "ipv6").is_empty());
    assert!(filtered(&hosting, "service-id", "vpce-svc-00000000000000000").is_empty());
    // Listed in the API reference, and refused (terraform-provider-aws#48442).
    for unknown in ["vpc-endpoint-id", "transit-gateway-attachment-id", "tag:team"] {
        let params = [("Filter.1.Name", unknown), ("Filter.1.Value.1", "x")];
        hosting.provider.ec2(DESCRIBE, &params).refused("InvalidParameterValue");
    }

    all.push(theirs);
    all.sort();
    let first = hosting.provider.ec2(DESCRIBE, &[("MaxResults", "5")]).succeeded();
    let more = [("MaxResults", "5"), ("NextToken", &first.text("nextToken"))];
    let second = hosting.provider.ec2(DESCRIBE, &more).succeeded();
    assert_eq!(
        [first.texts("vpcEndpointId"), second.texts("vpcEndpointId")].concat(),
        all
    );
    assert_eq!(second.text("nextToken"), "");
    hosting
        .provider
        .ec2(DESCRIBE, &[("MaxResults", "4")])
        .refused("InvalidParameterValue");
}

#[test]
fn an_account_needs_permission_for_its_own_service_too() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let create = || hosting.provider.create_endpoint(&name(&id), &[]);
    create().refused("InvalidServiceName");
    hosting.allow(&id, "arn:aws:iam::111111111111:root");
    let endpoint = create().succeeded().text("vpcEndpointId");
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.simulator.endpoints(ACCOUNT, REGION)[0].state, "available");
    assert_eq!(hosting.connections(&id), [(endpoint, "available".to_owned())]);
}

#[test]
fn a_deleted_endpoint_can_no_longer_be_accepted() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    let delete = [("VpcEndpointId.1", endpoint.as_str())];
    hosting.consumer.ec2("DeleteVpcEndpoints", &delete).succeeded();
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "deleting".to_owned())]);
    assert_eq!(
        hosting.accept(&id, &[&endpoint]).succeeded().text("code"),
        "InvalidState"
    );
    hosting.simulator.advance(61.0);
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "deleted".to_owned())]);
    let gone = hosting.accept(&id, &[&endpoint]).succeeded();
    assert_eq!(gone.text("code"), "InvalidVpcEndpoint.NotFound");
    hosting.simulator.advance(601.0);
    assert!(hosting.connections(&id).is_empty());
}

#[test]
fn endpoints_connect_from_supported_regions() {
    // PrivateLink Guide, "Share your services through AWS PrivateLink", "Cross-Region access".
    let hosting = hosting();
    add_network(&hosting.simulator, "eu-west-1");
    let id = hosting
        .create(&[("SupportedRegion.1", "eu-west-1")])
        .succeeded()
        .text("serviceId");
    hosting.allow(&id, CONSUMER_ROOT);
    let far = hosting.consumer.in_region("eu-west-1");
    let more = [("ServiceRegion", REGION), ("SubnetId.1", "subnet-c")];
    far.create_endpoint(&name(&id), &more).refused("InvalidServiceName");
    hosting.simulator.advance(SERVICE_PENDING);
    let made = far.create_endpoint(&name(&id), &more).succeeded();
    let endpoint = made.text("vpcEndpointId");
    assert_eq!(
        (made.text("state"), made.text("serviceRegion")),
        ("pendingAcceptance".into(), REGION.into())
    );
    assert_eq!(
        filtered(&hosting, "vpc-endpoint-region", "cross-region"),
        std::slice::from_ref(&endpoint)
    );
    assert_eq!(
        filtered(&hosting, "vpc-endpoint-region", "eu-west-1"),
        std::slice::from_ref(&endpoint)
    );
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.simulator.endpoints(CONSUMER, "eu-west-1")[0].state, "available");
    let unlisted = hosting.consumer.in_region("eu-west-2");
    add_network(&hosting.simulator, "eu-west-2");
    unlisted
        .create_endpoint(&name(&id), &more)
        .refused("InvalidServiceName");
}

#[test]
fn gateway_load_balancer_endpoints_are_connections() {
    let hosting = hosting();
    let arn = add_load_balancer(&hosting.simulator, "inspection", LoadBalancerType::Gateway);
    let create = [("GatewayLoadBalancerArn.1", arn.as_str())];
    let made = hosting.provider.ec2("CreateVpcEndpointServiceConfiguration", &create);
    let id = made.succeeded().text("serviceId");
    hosting.allow(&id, CONSUMER_ROOT);
    hosting.simulator.advance(SERVICE_PENDING);
    hosting.connect(&id, &[]).refused("InvalidParameter");
    let params = [
        ("VpcEndpointType", "GatewayLoadBalancer"),
        ("VpcId", "vpc-1"),
        ("ServiceName", &name(&id)),
        ("SubnetId.1", "subnet-b"),
    ];
    let endpoint = hosting
        .consumer
        .ec2("CreateVpcEndpoint", &params)
        .succeeded()
        .text("vpcEndpointId");
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.connections(&id), [(endpoint, "available".to_owned())]);
    let seen = hosting.provider.ec2(DESCRIBE, &[]).succeeded();
    assert!(seen.text("gatewayLoadBalancerArnSet").contains(&arn), "{}", seen.body);
}
