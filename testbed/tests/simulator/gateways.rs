//! Gateway endpoints: route tables, what they have not, and S3's interface endpoints beside them.

use vpce_testbed::aws::{Config, Quotas, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, simulator, unthrottled};

const S3: &str = "com.amazonaws.us-west-2.s3";
const DYNAMODB: &str = "com.amazonaws.us-west-2.dynamodb";
const S3_EXPRESS: &str = "com.amazonaws.us-west-2.s3express";
const PRIVATE: (&str, &str) = ("PrivateDnsEnabled", "true");
const INBOUND_ONLY: &str = "DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint";
const NEEDS_GATEWAY: &str = "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC vpc-1 must have a Gateway \
                             endpoint for the service.";

fn create(client: &Client, service: &str, more: &[(&str, &str)]) -> Answer {
    let base = [
        ("VpcEndpointType", "Gateway"),
        ("VpcId", "vpc-1"),
        ("ServiceName", service),
    ];
    client.ec2("CreateVpcEndpoint", &[&base, more].concat())
}

fn created(client: &Client, service: &str, more: &[(&str, &str)]) -> String {
    create(client, service, more).succeeded().text("vpcEndpointId")
}

fn modify(client: &Client, id: &str, more: &[(&str, &str)]) -> Answer {
    client.ec2("ModifyVpcEndpoint", &[&[("VpcEndpointId", id)], more].concat())
}

fn delete(client: &Client, id: &str) -> Answer {
    client.ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", id)]).succeeded()
}

fn tables(simulator: &Simulator) {
    for id in ["rtb-1", "rtb-2"] {
        simulator.add_route_table(ACCOUNT, REGION, id, "vpc-1").unwrap();
    }
}

#[test]
fn it_routes_its_prefix_list_to_itself() {
    let (simulator, client) = simulator(unthrottled());
    tables(&simulator);
    let id = created(&client, S3, &[("RouteTableId.1", "rtb-1")]);
    let wanted = [("Filter.1.Name", "prefix-list-name"), ("Filter.1.Value.1", S3)];
    let list = client.ec2("DescribePrefixLists", &wanted).succeeded();
    let list_id = list.text("prefixListId");
    assert!(
        list_id.starts_with("pl-") && list.texts("prefixListId").len() == 1,
        "{}",
        list.body
    );
    let routes = |table: &str| {
        client
            .ec2("DescribeRouteTables", &[("RouteTableId.1", table)])
            .succeeded()
    };
    assert_eq!(routes("rtb-1").texts("destinationPrefixListId"), [list_id.as_str()]);
    assert_eq!(routes("rtb-1").texts("gatewayId"), ["local", id.as_str()]);
    assert!(routes("rtb-2").texts("destinationPrefixListId").is_empty());
    let described = client
        .ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    assert!(described.text("dnsName").is_empty() && described.text("networkInterfaceIdSet").is_empty());

    let all = client.ec2("DescribePrefixLists", &[]).succeeded();
    assert_eq!(all.texts("prefixListName").len(), 3);
    client
        .ec2("DescribePrefixLists", &[("PrefixListId.1", "pl-none")])
        .refused("InvalidPrefixListId.NotFound");
    let rule = [
        ("GroupId", "sg-1"),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.PrefixListIds.1.PrefixListId", list_id.as_str()),
    ];
    client.ec2("AuthorizeSecurityGroupEgress", &rule).succeeded();
}

#[test]
fn a_table_has_one_route_for_a_service() {
    let (simulator, client) = simulator(unthrottled());
    tables(&simulator);
    let table = [("RouteTableId.1", "rtb-1")];
    let first = created(&client, S3, &table);
    create(&client, S3, &table).refused("RouteAlreadyExists");
    created(&client, DYNAMODB, &table);
    let second = created(&client, S3, &[]);
    let add = [("AddRouteTableId.1", "rtb-1")];
    modify(&client, &second, &add).refused("RouteAlreadyExists");
    modify(&client, &first, &add).succeeded();
    delete(&client, &first);
    modify(&client, &second, &add).succeeded();
}

#[test]
fn only_tables_of_the_vpc_are_added_and_only_its_own_removed() {
    let (simulator, client) = simulator(unthrottled());
    tables(&simulator);
    simulator.add_vpc(ACCOUNT, REGION, "vpc-2", "10.1.0.0/16").unwrap();
    simulator.add_route_table(ACCOUNT, REGION, "rtb-3", "vpc-2").unwrap();
    create(&client, S3, &[("RouteTableId.1", "rtb-none")]).refused("InvalidRouteTableId.NotFound");
    create(&client, S3, &[("RouteTableId.1", "rtb-3")]).refused("InvalidParameter");
    let id = created(&client, S3, &[("RouteTableId.1", "rtb-1")]);
    modify(&client, &id, &[("RemoveRouteTableId.1", "rtb-2")]).refused("InvalidParameter");

    simulator.delete_route_table_behind(ACCOUNT, REGION, "rtb-1").unwrap();
    assert!(simulator.endpoints(ACCOUNT, REGION)[0].route_table_ids.is_empty());
    modify(&client, &id, &[("RemoveRouteTableId.1", "rtb-1")]).refused("InvalidRouteTableId.NotFound");
    simulator
        .delete_route_table_behind(ACCOUNT, REGION, "rtb-1")
        .unwrap_err();
}

#[test]
fn tables_are_created_and_deleted_by_calls_too() {
    let (simulator, client) = simulator(unthrottled());
    let make = |vpc: &str| client.ec2("CreateRouteTable", &[("VpcId", vpc)]);
    make("vpc-none").refused("InvalidVpcID.NotFound");
    let table = make("vpc-1").succeeded().text("routeTableId");
    let again = |vpc: &str| client.ec2("CreateRouteTable", &[("VpcId", vpc), ("ClientToken", "t-1")]);
    let second = again("vpc-1").succeeded().text("routeTableId");
    assert_eq!(again("vpc-1").succeeded().text("routeTableId"), second);
    simulator.add_vpc(ACCOUNT, REGION, "vpc-2", "10.1.0.0/16").unwrap();
    again("vpc-2").refused("IdempotentParameterMismatch");
    let id = created(&client, S3, &[("RouteTableId.1", &table)]);
    let remove = |table: &str| client.ec2("DeleteRouteTable", &[("RouteTableId", table)]);
    remove(&table).succeeded();
    remove(&table).refused("InvalidRouteTableID.NotFound");
    let view = simulator.endpoints(ACCOUNT, REGION).remove(0);
    assert!(view.id == id && view.route_table_ids.is_empty());
    let main = [("Filter.1.Name", "association.main"), ("Filter.1.Value.1", "true")];
    let main = client
        .ec2("DescribeRouteTables", &main)
        .succeeded()
        .text("routeTableId");
    remove(&main).refused("DependencyViolation");
}

#[test]
fn it_has_nothing_of_an_interface_endpoint() {
    let (_simulator, client) = simulator(unthrottled());
    let id = created(&client, S3, &[("PrivateDnsEnabled", "false")]);
    for parameter in [
        ("SubnetId.1", "subnet-a"),
        ("SecurityGroupId.1", "sg-1"),
        PRIVATE,
        (INBOUND_ONLY, "false"),
        ("SubnetConfiguration.1.SubnetId", "subnet-a"),
        ("ServiceRegion", REGION),
        ("DnsOptions.PrivateDnsPreference", "ALL_DOMAINS"),
    ] {
        create(&client, S3, &[parameter]).refused("InvalidParameter");
    }
    for parameter in [
        ("AddSubnetId.1", "subnet-a"),
        ("AddSecurityGroupId.1", "sg-1"),
        PRIVATE,
        (INBOUND_ONLY, "false"),
        ("SubnetConfiguration.1.SubnetId", "subnet-a"),
        ("DnsOptions.PrivateDnsSpecifiedDomain.1", "example.com"),
    ] {
        modify(&client, &id, &[parameter]).refused("InvalidParameter");
    }
    modify(&client, &id, &[("ServiceRegion", REGION)]).refused("UnknownParameter");
    create(&client, "com.amazonaws.us-west-2.sqs", &[]).refused("InvalidParameter");
}

#[test]
fn its_ip_address_type_never_becomes_nor_leaves_ipv6() {
    let (simulator, client) = simulator(unthrottled());
    let id = created(&client, S3, &[]);
    let view = |id: &str| {
        simulator
            .endpoints(ACCOUNT, REGION)
            .into_iter()
            .find(|e| e.id == id)
            .unwrap()
    };
    let kinds = |id: &str| (view(id).ip_address_type, view(id).dns_record_ip_type);
    let pair = |ip: &str, record: &str| (ip.to_owned(), record.to_owned());
    assert_eq!(kinds(&id), pair("ipv4", "ipv4"));
    modify(&client, &id, &[("IpAddressType", "ipv6")]).refused("InvalidParameter");
    let dualstack = [
        ("IpAddressType", "dualstack"),
        ("DnsOptions.DnsRecordIpType", "service-defined"),
    ];
    modify(&client, &id, &dualstack).succeeded();
    assert_eq!(
        (kinds(&id), view(&id).state.as_str()),
        (pair("dualstack", "service-defined"), "available")
    );
    modify(&client, &id, &[("IpAddressType", "ipv4")]).refused("InvalidParameter");
    modify(
        &client,
        &id,
        &[("IpAddressType", "ipv4"), ("DnsOptions.DnsRecordIpType", "ipv4")],
    )
    .succeeded();

    let only = created(&client, DYNAMODB, &[("IpAddressType", "ipv6")]);
    assert_eq!(kinds(&only), pair("ipv6", "ipv6"));
    modify(&client, &only, &[("IpAddressType", "dualstack")]).refused("InvalidParameter");
    let both = created(&client, DYNAMODB, &[("IpAddressType", "dualstack")]);
    assert_eq!(kinds(&both), pair("dualstack", "service-defined"));
    create(&client, S3_EXPRESS, &[("IpAddressType", "dualstack")]).refused("InvalidParameter");
    create(&client, S3, &[("IpAddressType", "ipv5")]).refused("InvalidParameterValue");
}

#[test]
fn private_dns_of_s3_is_for_inbound_resolvers_only_unless_told_otherwise() {
    let (simulator, client) = simulator(unthrottled());
    let interface = |more: &[(&str, &str)]| client.create_endpoint(S3, &[&[("SubnetId.1", "subnet-a")], more].concat());
    for parameters in [vec![], vec![PRIVATE], vec![PRIVATE, (INBOUND_ONLY, "true")]] {
        let answer = interface(&parameters);
        answer.refused("InvalidParameter");
        assert_eq!(answer.text("Message"), NEEDS_GATEWAY);
    }
    interface(&[("PrivateDnsEnabled", "false"), (INBOUND_ONLY, "true")]).refused("InvalidParameter");
    let id = interface(&[PRIVATE, (INBOUND_ONLY, "false")])
        .succeeded()
        .text("vpcEndpointId");
    simulator.advance(61.0);
    modify(&client, &id, &[(INBOUND_ONLY, "true")]).refused("InvalidParameter");
    modify(&client, &id, &[("PrivateDnsEnabled", "false")]).succeeded();
    modify(&client, &id, &[PRIVATE]).refused("InvalidParameter");
    modify(&client, &id, &[PRIVATE, (INBOUND_ONLY, "false")]).succeeded();
    let sqs = "com.amazonaws.us-west-2.sqs";
    client
        .create_endpoint(sqs, &[(INBOUND_ONLY, "false")])
        .refused("InvalidParameter");
}

#[test]
fn it_stays_while_an_interface_endpoint_leaves_the_vpcs_traffic_to_it() {
    let (simulator, client) = simulator(unthrottled());
    let gateway = created(&client, S3, &[]);
    let interface = client
        .create_endpoint(S3, &[("SubnetId.1", "subnet-a"), PRIVATE])
        .succeeded();
    assert_eq!(interface.text("privateDnsOnlyForInboundResolverEndpoint"), "true");
    let interface = interface.text("vpcEndpointId");
    simulator.advance(61.0);
    let refused = delete(&client, &gateway);
    assert_eq!(
        (refused.text("code").as_str(), refused.text("resourceId")),
        ("InvalidParameter", gateway.clone())
    );
    modify(&client, &interface, &[(INBOUND_ONLY, "false")]).succeeded();
    assert!(delete(&client, &gateway).text("code").is_empty());
    assert_eq!(simulator.endpoints(ACCOUNT, REGION).len(), 1);
}

#[test]
fn a_vpc_has_fewer_gateways_than_a_raised_quota_of_the_region() {
    let (_simulator, client) = simulator(Config {
        quotas: Quotas {
            gateway_endpoints: 3,
            gateway_endpoints_per_vpc: 2,
            ..Quotas::default()
        },
        ..unthrottled()
    });
    create(&client, S3, &[]).succeeded();
    create(&client, DYNAMODB, &[]).succeeded();
    create(&client, S3, &[]).refused("VpcEndpointLimitExceeded");
}

#[test]
fn it_is_no_connection_that_is_accepted_or_rejected() {
    let (simulator, client) = simulator(unthrottled());
    let id = created(&client, S3, &[]);
    simulator.accept(ACCOUNT, REGION, &id).unwrap_err();
    simulator.reject(ACCOUNT, REGION, &id).unwrap_err();
    simulator.expire(ACCOUNT, REGION, &id).unwrap_err();
    assert_eq!(simulator.endpoints(ACCOUNT, REGION)[0].state, "available");
}

#[test]
fn a_region_has_twenty_gateways() {
    let (_simulator, client) = simulator(unthrottled());
    for _ in 0..20 {
        create(&client, S3, &[]).succeeded();
    }
    create(&client, S3, &[]).refused("VpcEndpointLimitExceeded");
}
