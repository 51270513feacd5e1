//! The life of a VPC endpoint.

use vpce_testbed::aws::{Config, EndpointState, LastError, ServiceSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator, unthrottled};

fn create(client: &Client, more: &[(&str, &str)]) -> Answer {
    client.create_endpoint(SERVICE, more)
}

fn modify(client: &Client, id: &str, more: &[(&str, &str)]) -> Answer {
    client.ec2("ModifyVpcEndpoint", &[&[("VpcEndpointId", id)], more].concat())
}

fn describe(client: &Client, id: &str) -> Answer {
    let filter = [("Filter.1.Name", "vpc-endpoint-id"), ("Filter.1.Value.1", id)];
    client.ec2("DescribeVpcEndpoints", &filter).succeeded()
}

/// An endpoint that is available, in `subnet-a` with `sg-1`.
fn available(simulator: &Simulator, client: &Client) -> String {
    let params = [("SubnetId.1", "subnet-a"), ("SecurityGroupId.1", "sg-1")];
    let id = create(client, &params).succeeded().text("vpcEndpointId");
    simulator.advance(61.0);
    id
}

#[test]
fn an_endpoint_takes_time_to_be_created_and_deleted() {
    let (simulator, client) = simulator(unthrottled());
    let made = create(&client, &[("SubnetId.1", "subnet-a"), ("SubnetId.2", "subnet-b")]).succeeded();
    let id = made.text("vpcEndpointId");
    assert_eq!(
        (made.text("state").as_str(), made.text("dnsName").as_str()),
        ("pending", "")
    );
    assert_eq!(simulator.calls().last().unwrap().produced, std::slice::from_ref(&id));
    modify(&client, &id, &[("AddSubnetId.1", "subnet-c")]).refused("IncorrectState");

    simulator.advance(61.0);
    let there = describe(&client, &id);
    assert_eq!(there.text("state"), "available");
    let names = there.texts("dnsName");
    assert_eq!(names.len(), 3, "the region's and one for each zone: {names:?}");
    let suffix = ".vpce-svc-0abc437c186123456.us-west-2.vpce.amazonaws.com";
    let regional: Vec<&String> = names.iter().filter(|name| !name.contains("us-west-2a.")).collect();
    assert!(
        regional
            .iter()
            .all(|name| name.starts_with(&id) && name.ends_with(suffix)),
        "{names:?}"
    );

    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    assert_eq!(describe(&client, &id).text("state"), "deleting");
    simulator.advance(61.0);
    assert_eq!(describe(&client, &id).text("state"), "deleted");
    assert!(simulator.endpoints(ACCOUNT, REGION).is_empty());
    simulator.advance(601.0);
    assert_eq!(describe(&client, &id).text("state"), "");
}

#[test]
fn names_may_come_later_than_the_endpoint() {
    let (simulator, client) = simulator(Config {
        dns_seconds: 30.0,
        ..unthrottled()
    });
    let id = available(&simulator, &client);
    let there = describe(&client, &id);
    assert_eq!(
        (there.text("state").as_str(), there.text("dnsName").as_str()),
        ("available", "")
    );
    simulator.advance(31.0);
    assert_eq!(describe(&client, &id).texts("dnsName").len(), 2);
}

#[test]
fn an_id_of_the_wrong_kind_is_malformed() {
    let (_simulator, client) = simulator(unthrottled());
    for (params, code) in [
        (("SubnetId.1", "sg-1"), "InvalidSubnetID.Malformed"),
        (("SecurityGroupId.1", "subnet-a"), "InvalidGroupId.Malformed"),
        (("RouteTableId.1", "vpc-1"), "InvalidRouteTableId.Malformed"),
        (("VpcId", "eni-1"), "InvalidVpcID.Malformed"),
    ] {
        create(&client, &[params]).refused(code);
    }
    modify(&client, "vpc-1", &[]).refused("InvalidVpcEndpointId.Malformed");
    modify(&client, "vpce-1", &[("RemoveSubnetId.1", "sg-1")]).refused("InvalidSubnetID.Malformed");
    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", "endpoint")])
        .refused("InvalidVpcEndpointId.Malformed");
    let rule = [
        ("GroupId", "sg-1"),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.Groups.1.GroupId", "pl-1"),
    ];
    client
        .ec2("AuthorizeSecurityGroupIngress", &rule)
        .refused("InvalidGroupId.Malformed");
}

#[test]
fn without_groups_an_endpoint_gets_the_default_one() {
    let (_simulator, client) = simulator(unthrottled());
    let made = create(&client, &[]).succeeded();
    assert_eq!(made.text("groupName"), "default");
}

#[test]
fn a_client_token_makes_one_endpoint_only() {
    let (simulator, client) = simulator(unthrottled());
    let params = [
        ("ClientToken", "t-1"),
        ("SubnetId.1", "subnet-a"),
        ("SubnetId.2", "subnet-b"),
    ];
    let id = create(&client, &params).succeeded().text("vpcEndpointId");
    let reordered = [
        ("ClientToken", "t-1"),
        ("SubnetId.1", "subnet-b"),
        ("SubnetId.2", "subnet-a"),
    ];
    assert_eq!(create(&client, &reordered).succeeded().text("vpcEndpointId"), id);
    create(&client, &params[..2]).refused("IdempotentParameterMismatch");

    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    simulator.advance(10_000.0);
    let client = Client::base(&simulator, REGION).assume(crate::ROLE);
    let replay = create(&client, &params).succeeded();
    assert_eq!(
        (replay.text("vpcEndpointId"), replay.text("state").as_str()),
        (id, "deleted")
    );
    assert!(simulator.endpoints(ACCOUNT, REGION).is_empty());
}

#[test]
fn what_does_not_fit_makes_nothing() {
    let (simulator, client) = simulator(unthrottled());
    simulator.add_vpc(ACCOUNT, REGION, "vpc-2", "10.1.0.0/16").unwrap();
    simulator
        .add_subnet(ACCOUNT, REGION, "subnet-2", "vpc-2", "us-west-2a")
        .unwrap();
    simulator
        .add_security_group(ACCOUNT, REGION, "sg-2", "vpc-2", "other")
        .unwrap();
    let narrow = "com.amazonaws.vpce.us-west-2.vpce-svc-0narrow";
    let spec = ServiceSpec {
        azs: vec!["us-west-2b".to_owned()],
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, narrow, spec);
    simulator.clear_calls();
    for (params, code) in [
        (vec![("SubnetId.1", "subnet-x")], "InvalidSubnetID.NotFound"),
        (vec![("SecurityGroupId.1", "sg-x")], "InvalidGroup.NotFound"),
        (vec![("SubnetId.1", "subnet-2")], "InvalidParameter"),
        (vec![("SecurityGroupId.1", "sg-2")], "InvalidParameter"),
        (
            vec![("SubnetId.1", "subnet-a"), ("SubnetId.2", "subnet-a2")],
            "DuplicateSubnetsInSameZone",
        ),
        (vec![("RouteTableId.1", "rtb-1")], "InvalidParameter"),
        (vec![("PrivateDnsEnabled", "true")], "InvalidParameter"),
        (vec![("ClientToken", "ü")], "InvalidParameterValue"),
        (vec![("PolicyDocument", "{")], "InvalidPolicyDocument"),
        (vec![("VpcEndpointType", "Tunnel")], "InvalidParameterValue"),
        (vec![("ServiceRegion", "eu-west-1")], "InvalidServiceName"),
    ] {
        create(&client, &params).refused(code);
    }
    let with = |vpc: &str, service: &str, subnet: &str| {
        let params = [("VpcId", vpc), ("ServiceName", service), ("SubnetId.1", subnet)];
        client.ec2(
            "CreateVpcEndpoint",
            &[&[("VpcEndpointType", "Interface")], &params[..]].concat(),
        )
    };
    with("vpc-x", SERVICE, "subnet-a").refused("InvalidVpcID.NotFound");
    with("vpc-1", "com.amazonaws.us-west-2.nothing", "subnet-a").refused("InvalidServiceName");
    with("vpc-1", narrow, "subnet-a").refused("InvalidParameter");
    with("vpc-1", "com.amazonaws.us-west-2.dynamodb", "subnet-a").refused("InvalidParameter");
    assert!(simulator.endpoints(ACCOUNT, REGION).is_empty());
    assert!(simulator.calls().iter().all(|call| call.produced.is_empty()));
}

#[test]
fn a_vpc_holds_fifty_endpoints() {
    let (simulator, client) = simulator(unthrottled());
    for _ in 0..50 {
        create(&client, &[]).succeeded();
    }
    create(&client, &[]).refused("VpcEndpointLimitExceeded");
    let id = simulator.endpoints(ACCOUNT, REGION)[0].id.clone();
    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    simulator.advance(61.0);
    create(&client, &[]).succeeded();
}

#[test]
fn a_subnet_is_swapped_in_two_steps() {
    let (simulator, client) = simulator(unthrottled());
    let id = available(&simulator, &client);
    let swap = [("RemoveSubnetId.1", "subnet-a"), ("AddSubnetId.1", "subnet-a2")];
    modify(&client, &id, &swap).refused("DuplicateSubnetsInSameZone");
    modify(&client, &id, &swap[..1]).succeeded();
    modify(&client, &id, &swap[1..]).refused("OperationInProgress");
    simulator.advance(31.0);
    modify(&client, &id, &swap[1..]).succeeded();
    simulator.advance(31.0);
    let view = simulator.endpoints(ACCOUNT, REGION).remove(0);
    assert_eq!(view.subnet_ids, ["subnet-a2"]);
    assert_eq!(view.network_interface_ids.len(), 1);
    modify(&client, &id, &swap[..1]).refused("InvalidParameter");
}

#[test]
fn groups_are_swapped_in_one_step() {
    let (simulator, client) = simulator(unthrottled());
    simulator
        .add_security_group(ACCOUNT, REGION, "sg-2", "vpc-1", "second")
        .unwrap();
    let id = available(&simulator, &client);
    let swap = [("AddSecurityGroupId.1", "sg-2"), ("RemoveSecurityGroupId.1", "sg-1")];
    modify(&client, &id, &swap).succeeded();
    assert_eq!(simulator.endpoints(ACCOUNT, REGION)[0].group_ids, ["sg-2"]);
    modify(&client, &id, &[("RemoveSecurityGroupId.1", "sg-2")]).refused("InvalidParameter");
    client.ec2("DeleteSecurityGroup", &[("GroupId", "sg-1")]).succeeded();
}

#[test]
fn missing_endpoints_are_reported_as_each_action_documents() {
    let (simulator, client) = simulator(unthrottled());
    let id = available(&simulator, &client);
    let answer = client.ec2(
        "DeleteVpcEndpoints",
        &[("VpcEndpointId.1", "vpce-x"), ("VpcEndpointId.2", &id)],
    );
    let answer = answer.succeeded();
    assert_eq!(answer.texts("code"), ["InvalidVpcEndpoint.NotFound"]);
    assert_eq!(answer.texts("resourceId"), ["vpce-x"]);
    assert_eq!(describe(&client, &id).text("state"), "deleting");
    modify(&client, "vpce-x", &[]).refused("InvalidVpcEndpointId.NotFound");
    let both = [("VpcEndpointId.1", "vpce-x"), ("VpcEndpointId.2", id.as_str())];
    client
        .ec2("DescribeVpcEndpoints", &both)
        .refused("InvalidVpcEndpointId.NotFound");
    assert_eq!(describe(&client, "vpce-x").text("vpcEndpointId"), "");
}

#[test]
fn acceptance_waits_for_the_services_owner() {
    let (simulator, client) = simulator(unthrottled());
    let spec = ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
    let id = create(&client, &[("SubnetId.1", "subnet-a")])
        .succeeded()
        .text("vpcEndpointId");
    simulator.advance(1000.0);
    assert_eq!(describe(&client, &id).text("state"), "pendingAcceptance");
    simulator.reject(ACCOUNT, REGION, &id).unwrap();
    assert_eq!(describe(&client, &id).text("state"), "rejected");
    simulator.accept(ACCOUNT, REGION, &id).unwrap();
    assert_eq!(describe(&client, &id).text("state"), "pending");
    simulator.advance(61.0);
    assert_eq!(describe(&client, &id).text("state"), "available");
    let error = LastError {
        code: "Broken".to_owned(),
        message: "out of luck".to_owned(),
    };
    simulator
        .set_endpoint_state(ACCOUNT, REGION, &id, EndpointState::Failed, Some(error))
        .unwrap();
    let failed = describe(&client, &id);
    assert_eq!(
        (failed.text("state").as_str(), failed.text("message").as_str()),
        ("failed", "out of luck")
    );
}

#[test]
fn a_gateway_endpoint_is_available_at_once() {
    let (simulator, client) = simulator(unthrottled());
    simulator.add_route_table(ACCOUNT, REGION, "rtb-1", "vpc-1").unwrap();
    let params = [
        ("VpcId", "vpc-1"),
        ("ServiceName", "com.amazonaws.us-west-2.s3"),
        ("RouteTableId.1", "rtb-1"),
    ];
    let made = client.ec2("CreateVpcEndpoint", &params).succeeded();
    assert_eq!(made.text("state"), "available");
    let id = made.text("vpcEndpointId");
    modify(&client, &id, &[("RemoveRouteTableId.1", "rtb-1")]).succeeded();
    assert!(simulator.endpoints(ACCOUNT, REGION)[0].route_table_ids.is_empty());
}

#[test]
fn describes_are_eventually_consistent_where_configured() {
    let (simulator, client) = simulator(Config {
        consistency_seconds: 30.0,
        ..unthrottled()
    });
    let id = create(&client, &[]).succeeded().text("vpcEndpointId");
    assert_eq!(describe(&client, &id).text("vpcEndpointId"), "");
    simulator.advance(31.0);
    assert_eq!(describe(&client, &id).text("vpcEndpointId"), id);
    let tag = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "k"), ("Tag.1.Value", "v")];
    client.ec2("CreateTags", &tag).succeeded();
    assert_eq!(describe(&client, &id).text("key"), "");
    simulator.advance(31.0);
    assert_eq!(describe(&client, &id).text("key"), "k");
}

#[test]
fn pages_are_no_larger_than_the_cap() {
    let (_simulator, client) = simulator(Config {
        page_size_cap: Some(2),
        ..unthrottled()
    });
    for _ in 0..3 {
        create(&client, &[]).succeeded();
    }
    let first = client.ec2("DescribeVpcEndpoints", &[]).succeeded();
    assert_eq!(first.texts("vpcEndpointId").len(), 2);
    let token = first.text("nextToken");
    let second = client.ec2("DescribeVpcEndpoints", &[("NextToken", &token)]).succeeded();
    assert_eq!(second.texts("vpcEndpointId").len(), 1);
    assert_eq!(second.text("nextToken"), "");
}
