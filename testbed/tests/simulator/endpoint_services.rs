//! Endpoint services: create and describe.

use vpce_testbed::aws::{LoadBalancerState, LoadBalancerType};

use crate::hosting::{DELETING, Hosting, SERVICE_PENDING, add_load_balancer, hosting};
use crate::{ACCOUNT, REGION};

const DESCRIBE: &str = "DescribeVpcEndpointServiceConfigurations";
const CREATE: &str = "CreateVpcEndpointServiceConfiguration";

fn filtered(hosting: &Hosting, name: &str, value: &str) -> Vec<String> {
    let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
    hosting.provider.ec2(DESCRIBE, &filter).succeeded().texts("serviceId")
}

#[test]
fn a_service_is_pending_and_then_available() {
    // PrivateLink Guide, "AWS PrivateLink concepts", "Service states".
    let hosting = hosting();
    let made = hosting.create(&[("AcceptanceRequired", "false")]).succeeded();
    let id = made.text("serviceId");
    assert!(id.starts_with("vpce-svc-"), "{id}");
    assert_eq!(made.text("serviceName"), format!("com.amazonaws.vpce.us-west-2.{id}"));
    assert_eq!(made.text("serviceState"), "Pending");
    assert_eq!(made.texts("serviceType").len(), 1);
    assert!(
        made.body.contains("<serviceType>Interface</serviceType>"),
        "{}",
        made.body
    );
    assert_eq!(made.text("acceptanceRequired"), "false");
    assert!(made.body.contains(&hosting.load_balancer), "{}", made.body);
    for part in ["us-west-2a", "us-west-2b", "usw2-az1", "usw2-az2", "<item>ipv4</item>"] {
        assert!(made.body.contains(part), "{part}: {}", made.body);
    }
    assert!(!made.body.contains("us-west-2c"), "{}", made.body);
    let base = format!("{id}.us-west-2.vpce.amazonaws.com");
    assert!(made.body.contains(&base), "{}", made.body);
    assert_eq!(made.text("remoteAccessEnabled"), "false");
    hosting.simulator.advance(SERVICE_PENDING - 1.0);
    assert_eq!(hosting.describe(&id).text("serviceState"), "Pending");
    hosting.simulator.advance(1.0);
    assert_eq!(hosting.describe(&id).text("serviceState"), "Available");
}

#[test]
fn zone_ids_are_those_of_the_owners_account() {
    let hosting = hosting();
    let ids = [("us-west-2a", "usw2-az3"), ("us-west-2b", "usw2-az1")];
    hosting.simulator.set_zone_ids(ACCOUNT, REGION, &ids);
    let made = hosting.create(&[]).succeeded();
    for id in ["usw2-az3", "usw2-az1"] {
        assert!(made.body.contains(id), "{id}: {}", made.body);
    }
    assert!(!made.body.contains("usw2-az2"), "{}", made.body);
}

#[test]
fn acceptance_is_required_by_default() {
    let hosting = hosting();
    assert_eq!(hosting.create(&[]).succeeded().text("acceptanceRequired"), "true");
}

#[test]
fn a_token_makes_one_service() {
    // EC2 Developer Guide, "Ensuring idempotency in Amazon EC2 API requests".
    let hosting = hosting();
    let token = ("ClientToken", "token-1");
    let first = hosting.create(&[token]).succeeded();
    assert_eq!(first.text("clientToken"), "token-1");
    let again = hosting.create(&[token]).succeeded();
    assert_eq!(first.text("serviceId"), again.text("serviceId"));
    assert_eq!(hosting.simulator.endpoint_services(ACCOUNT, REGION).len(), 1);
    let other = hosting.create(&[token, ("AcceptanceRequired", "false")]);
    other.refused("IdempotentParameterMismatch");
    let long = "x".repeat(65);
    hosting
        .create(&[("ClientToken", &long)])
        .refused("InvalidParameterValue");
    // The same token is another one in another action.
    let group = [
        ("VpcEndpointType", "Interface"),
        ("VpcId", "vpc-1"),
        ("ServiceName", crate::SERVICE),
        token,
    ];
    hosting.provider.ec2("CreateVpcEndpoint", &group).succeeded();
}

#[test]
fn a_dry_run_makes_nothing() {
    let hosting = hosting();
    hosting.create(&[("DryRun", "true")]).refused("DryRunOperation");
    assert!(hosting.simulator.endpoint_services(ACCOUNT, REGION).is_empty());
}

#[test]
fn exactly_one_kind_of_load_balancer_is_given() {
    // The words are those of EC2 (aws-load-balancer-controller#1859).
    let hosting = hosting();
    let gateway = add_load_balancer(&hosting.simulator, "inspection", LoadBalancerType::Gateway);
    let none = hosting.provider.ec2(CREATE, &[]);
    none.refused("InvalidParameter");
    assert!(
        none.text("Message")
            .starts_with("exactly one of network_load_balancer_arn")
    );
    hosting
        .create(&[("GatewayLoadBalancerArn.1", &gateway)])
        .refused("InvalidParameter");
    let made = hosting
        .provider
        .ec2(CREATE, &[("GatewayLoadBalancerArn.1", &gateway)])
        .succeeded();
    let kind = "<serviceType>GatewayLoadBalancer</serviceType>";
    assert!(
        made.body.contains(kind) && made.text("baseEndpointDnsNameSet").is_empty(),
        "{}",
        made.body
    );
}

#[test]
fn a_load_balancer_must_exist_be_active_and_unused() {
    // "Error codes for the Amazon EC2 API"; PrivateLink Guide, "Create an endpoint service".
    let hosting = hosting();
    let simulator = &hosting.simulator;
    let create = |arn: &str| hosting.provider.ec2(CREATE, &[("NetworkLoadBalancerArn.1", arn)]);
    create("web").refused("InvalidNetworkLoadBalancerArn.Malformed");
    let arn = &hosting.load_balancer;
    let elsewhere = arn.replace(REGION, "eu-west-1");
    create(&elsewhere).refused("InvalidNetworkLoadBalancerArn.NotFound");
    let anothers = arn.replace(ACCOUNT, "333333333333");
    create(&anothers).refused("InvalidNetworkLoadBalancerArn.NotFound");
    for kind in [LoadBalancerType::Application, LoadBalancerType::Gateway] {
        let other = add_load_balancer(simulator, kind.wire(), kind);
        create(&other).refused("InvalidParameter");
    }
    for state in [LoadBalancerState::Provisioning, LoadBalancerState::Failed] {
        simulator.set_load_balancer_state(arn, state).unwrap();
        let refused = create(arn);
        refused.refused("InvalidParameter");
        assert!(refused.text("Message").contains(state.wire()), "{}", refused.body);
    }
    simulator
        .set_load_balancer_state(arn, LoadBalancerState::Active)
        .unwrap();
    let id = create(arn).succeeded().text("serviceId");
    create(arn).refused("InvalidParameter");
    hosting.delete(&id).succeeded();
    create(arn).refused("InvalidParameter");
    simulator.advance(DELETING);
    create(arn).succeeded();
}

#[test]
fn ipv6_requires_dualstack_load_balancers() {
    // PrivateLink Guide, "Create an endpoint service".
    let hosting = hosting();
    let both = [
        ("SupportedIpAddressType.1", "ipv4"),
        ("SupportedIpAddressType.2", "ipv6"),
    ];
    hosting.create(&both).refused("InvalidParameter");
    hosting
        .create(&[("SupportedIpAddressType.1", "ipv5")])
        .refused("InvalidParameterValue");
    let simulator = &hosting.simulator;
    simulator
        .set_load_balancer_dualstack(&hosting.load_balancer, true)
        .unwrap();
    hosting.create(&both).succeeded();
    assert_eq!(hosting.view().ip_address_types, ["ipv4", "ipv6"]);
}

#[test]
fn filters_ids_and_pages() {
    let hosting = hosting();
    let mut ids = Vec::new();
    for n in 0..7 {
        let arn = add_load_balancer(&hosting.simulator, &format!("lb-{n}"), LoadBalancerType::Network);
        let number = n.to_string();
        let params = [
            ("NetworkLoadBalancerArn.1", arn.as_str()),
            ("TagSpecification.1.ResourceType", "vpc-endpoint-service"),
            ("TagSpecification.1.Tag.1.Key", "number"),
            ("TagSpecification.1.Tag.1.Value", &number),
        ];
        ids.push(hosting.provider.ec2(CREATE, &params).succeeded().text("serviceId"));
    }
    assert_eq!(filtered(&hosting, "tag:number", "3"), [ids[3].clone()]);
    assert_eq!(filtered(&hosting, "tag-key", "number").len(), 7);
    assert_eq!(filtered(&hosting, "service-id", &ids[2]), [ids[2].clone()]);
    let name = format!("com.amazonaws.vpce.us-west-2.{}", ids[1]);
    assert_eq!(filtered(&hosting, "service-name", &name), [ids[1].clone()]);
    assert_eq!(filtered(&hosting, "service-state", "Pending").len(), 7);
    assert!(filtered(&hosting, "service-state", "Available").is_empty());
    assert!(filtered(&hosting, "supported-ip-address-types", "ipv6").is_empty());
    let unknown = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", "vpc-1")];
    hosting
        .provider
        .ec2(DESCRIBE, &unknown)
        .refused("InvalidParameterValue");

    ids.sort();
    let first = hosting.provider.ec2(DESCRIBE, &[("MaxResults", "5")]).succeeded();
    let more = [("MaxResults", "5"), ("NextToken", &first.text("nextToken"))];
    let second = hosting.provider.ec2(DESCRIBE, &more).succeeded();
    assert_eq!([first.texts("serviceId"), second.texts("serviceId")].concat(), ids);
    assert_eq!(second.text("nextToken"), "");
    // API reference: between 5 and 1,000.
    hosting
        .provider
        .ec2(DESCRIBE, &[("MaxResults", "4")])
        .refused("InvalidParameterValue");
    let missing = [
        ("ServiceId.1", ids[0].as_str()),
        ("ServiceId.2", "vpce-svc-00000000000000000"),
    ];
    hosting
        .provider
        .ec2(DESCRIBE, &missing)
        .refused("InvalidVpcEndpointServiceId.NotFound");
    let malformed = hosting.provider.ec2(DESCRIBE, &[("ServiceId.1", "svc-1")]);
    malformed.refused("InvalidVpcEndpointServiceIdId.Malformed");
}

#[test]
fn other_accounts_and_regions_see_no_services() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    for other in [&hosting.consumer, &hosting.provider.in_region("eu-west-1")] {
        assert!(other.ec2(DESCRIBE, &[]).succeeded().texts("serviceId").is_empty());
        let one = [("ServiceId.1", id.as_str())];
        other
            .ec2(DESCRIBE, &one)
            .refused("InvalidVpcEndpointServiceId.NotFound");
        let deleted = other.ec2("DeleteVpcEndpointServiceConfigurations", &one).succeeded();
        assert_eq!(deleted.text("code"), "InvalidVpcEndpointService.NotFound");
    }
    let modify = [("ServiceId", id.as_str()), ("AcceptanceRequired", "false")];
    let modified = hosting.consumer.ec2("ModifyVpcEndpointServiceConfiguration", &modify);
    modified.refused("InvalidVpcEndpointServiceId.NotFound");
    assert!(hosting.view().acceptance_required);
}

#[test]
fn tags_are_added_and_removed() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let tag = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "team"),
        ("Tag.1.Value", "blue"),
    ];
    hosting.provider.ec2("CreateTags", &tag).succeeded();
    assert_eq!(filtered(&hosting, "tag:team", "blue"), std::slice::from_ref(&id));
    hosting.provider.ec2("DeleteTags", &tag[..2]).succeeded();
    assert!(hosting.view().tags.is_empty());
    let unknown = [("ResourceId.1", "vpce-svc-00000000000000000"), tag[1], tag[2]];
    hosting
        .provider
        .ec2("CreateTags", &unknown)
        .refused("InvalidVpcEndpointServiceId.NotFound");
    let wrong = [
        ("TagSpecification.1.ResourceType", "vpc-endpoint"),
        ("TagSpecification.1.Tag.1.Key", "a"),
    ];
    hosting.create(&wrong).refused("InvalidParameterValue");
}

#[test]
fn what_it_does_not_know_is_refused() {
    let hosting = hosting();
    hosting.create(&[("Colour", "red")]).refused("UnknownParameter");
    let id = hosting.service(&[]);
    hosting.modify(&id, &[("Colour", "red")]).refused("UnknownParameter");
    let payer = [("ServiceId", id.as_str()), ("PayerResponsibility", "ServiceOwner")];
    let answer = hosting
        .provider
        .ec2("ModifyVpcEndpointServicePayerResponsibility", &payer);
    answer.refused("InvalidAction");
}
