//! Zones, whose names differ between accounts and whose ids do not, and the addresses of subnets.

use vpce_testbed::aws::{ServiceSpec, Simulator};

use crate::client::Client;
use crate::{ACCOUNT, REGION, SERVICE, simulator, unthrottled};

/// An account that knows the zones by other names than the owner of the service, which is in two.
fn shuffled() -> (Simulator, Client) {
    let (simulator, client) = simulator(unthrottled());
    let ids = [
        ("us-west-2a", "usw2-az3"),
        ("us-west-2b", "usw2-az1"),
        ("us-west-2c", "usw2-az2"),
    ];
    simulator.set_zone_ids(ACCOUNT, REGION, &ids);
    let spec = ServiceSpec {
        azs: vec!["us-west-2a".to_owned(), "us-west-2b".to_owned()],
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
    (simulator, client)
}

#[test]
fn a_service_is_in_the_zones_of_the_same_ids() {
    let (_simulator, client) = shuffled();
    let service = client
        .ec2("DescribeVpcEndpointServices", &[("ServiceName.1", SERVICE)])
        .succeeded();
    for there in ["usw2-az1", "usw2-az2", "us-west-2b", "us-west-2c"] {
        assert!(service.body.contains(there), "{there}: {}", service.body);
    }
    assert!(!service.body.contains("us-west-2a<"), "{}", service.body);
    let create = |subnet: &str| client.create_endpoint(SERVICE, &[("SubnetId.1", subnet)]);
    let refusal = create("subnet-a");
    refusal.refused("InvalidParameter");
    assert!(refusal.body.contains("availability zone"), "{}", refusal.body);
    create("subnet-b").succeeded();
}

#[test]
fn subnets_tell_their_zone_and_how_many_addresses_are_free() {
    let (simulator, client) = shuffled();
    let describe = |subnet: &str| client.ec2("DescribeSubnets", &[("SubnetId.1", subnet)]).succeeded();
    let free = |subnet: &str| describe(subnet).text("availableIpAddressCount");
    assert_eq!(describe("subnet-a").text("availabilityZoneId"), "usw2-az3");
    assert_eq!(free("subnet-b"), "251", "five of a /24 are reserved");
    let create = || client.create_endpoint(SERVICE, &[("SubnetId.1", "subnet-b")]);
    create().succeeded();
    assert_eq!(free("subnet-b"), "250");
    simulator.set_full(ACCOUNT, REGION, "subnet-b", true).unwrap();
    assert_eq!(free("subnet-b"), "0");
    create().refused("InsufficientFreeAddressesInSubnet");
}

#[test]
fn vpcs_tell_all_of_their_address_blocks() {
    let (simulator, client) = shuffled();
    simulator
        .add_cidr_block(ACCOUNT, REGION, "vpc-1", "100.64.0.0/16")
        .unwrap();
    let vpc = client.ec2("DescribeVpcs", &[("VpcId.1", "vpc-1")]).succeeded();
    for block in ["10.0.0.0/16", "100.64.0.0/16"] {
        assert!(vpc.body.contains(block), "{block}: {}", vpc.body);
    }
}
