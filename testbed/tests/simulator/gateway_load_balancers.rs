//! Gateway Load Balancer endpoints.

use vpce_testbed::aws::{EndpointType, ServiceSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator, unthrottled};

fn inspection(acceptance_required: bool) -> (Simulator, Client) {
    let (simulator, client) = simulator(unthrottled());
    let spec = ServiceSpec {
        acceptance_required,
        types: vec![EndpointType::GatewayLoadBalancer],
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
    (simulator, client)
}

fn create(client: &Client, more: &[(&str, &str)]) -> Answer {
    let kind = ("VpcEndpointType", "GatewayLoadBalancer");
    let base = [kind, ("VpcId", "vpc-1"), ("ServiceName", SERVICE)];
    client.ec2("CreateVpcEndpoint", &[&base, more].concat())
}

const SUBNET: (&str, &str) = ("SubnetId.1", "subnet-a");

#[test]
fn it_is_in_one_subnet_for_good() {
    let (simulator, client) = inspection(false);
    create(&client, &[]).refused("InvalidParameter");
    create(&client, &[SUBNET, ("SubnetId.2", "subnet-b")]).refused("InvalidParameter");
    let made = create(&client, &[SUBNET]).succeeded();
    assert_eq!(
        (made.text("state").as_str(), made.text("policyDocument").as_str()),
        ("pending", "")
    );
    let id = made.text("vpcEndpointId");
    simulator.advance(61.0);
    let view = simulator.endpoints(ACCOUNT, REGION).remove(0);
    assert_eq!(
        (view.state.as_str(), view.vpc_endpoint_type.as_str()),
        ("available", "GatewayLoadBalancer")
    );
    assert!(view.dns_names.is_empty() && view.group_ids.is_empty());
    let kind = [
        ("Filter.1.Name", "interface-type"),
        ("Filter.1.Value.1", "gateway_load_balancer_endpoint"),
    ];
    let interfaces = client.ec2("DescribeNetworkInterfaces", &kind).succeeded();
    assert_eq!(interfaces.texts("networkInterfaceId"), view.network_interface_ids);
    for change in [("AddSubnetId.1", "subnet-b"), ("RemoveSubnetId.1", "subnet-a")] {
        let answer = client.ec2("ModifyVpcEndpoint", &[("VpcEndpointId", &id), change]);
        answer.refused("InvalidParameter");
    }
}

#[test]
fn it_has_nothing_but_its_subnet() {
    let (_simulator, client) = inspection(false);
    let policy = r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;
    for parameter in [
        ("SecurityGroupId.1", "sg-1"),
        ("RouteTableId.1", "rtb-1"),
        ("PrivateDnsEnabled", "true"),
        ("PolicyDocument", policy),
        ("DnsOptions.DnsRecordIpType", "ipv4"),
        ("SubnetConfiguration.1.SubnetId", "subnet-a"),
        ("ServiceRegion", REGION),
    ] {
        create(&client, &[SUBNET, parameter]).refused("InvalidParameter");
    }
    let interface = client.create_endpoint(SERVICE, &[SUBNET]);
    interface.refused("InvalidParameter");
}

#[test]
fn it_waits_for_acceptance_and_counts_with_interface_endpoints() {
    let (simulator, client) = inspection(true);
    let made = create(&client, &[SUBNET]).succeeded();
    assert_eq!(made.text("state"), "pendingAcceptance");
    let id = made.text("vpcEndpointId");
    simulator.reject(ACCOUNT, REGION, &id).unwrap();
    assert_eq!(simulator.endpoints(ACCOUNT, REGION)[0].state, "rejected");
    simulator.accept(ACCOUNT, REGION, &id).unwrap();
    simulator.advance(61.0);
    assert_eq!(simulator.endpoints(ACCOUNT, REGION)[0].state, "available");
    let expiring = create(&client, &[SUBNET]).succeeded().text("vpcEndpointId");
    simulator.expire(ACCOUNT, REGION, &expiring).unwrap();
    simulator.configure(|config| config.quotas.interface_endpoints = 1);
    let sqs = client.create_endpoint("com.amazonaws.us-west-2.sqs", &[]);
    sqs.refused("VpcEndpointLimitExceeded");
    create(&client, &[SUBNET]).refused("VpcEndpointLimitExceeded");
}
