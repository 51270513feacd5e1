"""Gateway endpoints: routes, prefix lists, and what they have not."""

import pytest
from target import described, refused


@pytest.fixture
def table(target):
    """A new route table's id."""
    return target.make_route_table()


def routes(ec2, table):
    [found] = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    return {route["GatewayId"]: route.get("DestinationPrefixListId") for route in found["Routes"]}


def prefix_list(target, ec2):
    name = {"Name": "prefix-list-name", "Values": [target.gateway_service]}
    [found] = ec2.describe_prefix_lists(Filters=[name])["PrefixLists"]
    return found["PrefixListId"]


def test_a_gateway_is_a_route_to_its_prefix_list(target, ec2, table):
    made = target.ask_for_gateway(RouteTableIds=[table])["VpcEndpoint"]
    assert (made["VpcEndpointType"], made["RouteTableIds"]) == ("Gateway", [table])
    assert made["DnsEntries"] == [] and made["NetworkInterfaceIds"] == []
    assert routes(ec2, table)[made["VpcEndpointId"]] == prefix_list(target, ec2)


def test_a_table_is_added_and_removed(target, ec2, table):
    gateway = target.ask_for_gateway()["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, gateway))
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, AddRouteTableIds=[table])
    target.eventually("it has the table", lambda: described(ec2, gateway)["RouteTableIds"] == [table])
    assert gateway in routes(ec2, table)
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, RemoveRouteTableIds=[table])
    target.eventually("it has none", lambda: described(ec2, gateway)["RouteTableIds"] == [])
    assert gateway not in routes(ec2, table)


def test_a_deleted_gateway_leaves_no_route(target, ec2, table):
    gateway = target.ask_for_gateway(RouteTableIds=[table])["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, gateway))
    ec2.delete_vpc_endpoints(VpcEndpointIds=[gateway])
    target.is_gone(gateway)
    assert gateway not in routes(ec2, table)


def test_a_table_has_one_route_for_a_service(target, table):
    target.ask_for_gateway(RouteTableIds=[table])
    refused("RouteAlreadyExists", target.ask_for_gateway, RouteTableIds=[table])


def test_only_a_table_that_is_there_can_be_removed(target, ec2):
    gateway = target.ask_for_gateway()["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, gateway))
    codes = ["InvalidRouteTableId.NotFound", "InvalidRouteTableID.NotFound"]
    arguments = {"VpcEndpointId": gateway, "RemoveRouteTableIds": ["rtb-0123456789abcdef0"]}
    refused(codes, ec2.modify_vpc_endpoint, **arguments)


@pytest.mark.parametrize("field", ["subnets", "groups", "private_dns", "inbound_only"])
def test_a_gateway_has_nothing_of_an_interface_endpoint(target, shared_group, field):
    more = {
        "subnets": {"SubnetIds": target.subnets[:1]},
        "groups": {"SecurityGroupIds": [shared_group]},
        "private_dns": {"PrivateDnsEnabled": True},
        "inbound_only": {"DnsOptions": {"PrivateDnsOnlyForInboundResolverEndpoint": False}},
    }[field]
    refused("InvalidParameter", target.ask_for_gateway, **more)


def test_an_interface_endpoint_has_no_route_tables(target, shared_group, table):
    refused("InvalidParameter", target.ask_for_endpoint, group_id=shared_group, RouteTableIds=[table])


def test_ipv4_becomes_dualstack_but_never_ipv6(target, ec2):
    gateway = target.ask_for_gateway()["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, gateway))
    refused("InvalidParameter", ec2.modify_vpc_endpoint, VpcEndpointId=gateway, IpAddressType="ipv6")
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, IpAddressType="dualstack")
    target.eventually("it is dualstack", lambda: described(ec2, gateway)["IpAddressType"] == "dualstack")


def test_s3_leaves_the_vpcs_traffic_to_a_gateway_that_has_to_be_there(target, ec2, shared_group):
    if target.name == "aws":
        pytest.skip("private DNS changes where everybody in the VPC is led")
    vpc_id = target.make_vpc(dns=True)
    [default] = target.groups_by(vpc_id=vpc_id, group_name="default")
    more = {"VpcId": vpc_id, "ServiceName": target.gateway_service, "PrivateDnsEnabled": True}
    ask = {"group_id": default["GroupId"], "subnets": [], **more}
    refused("InvalidParameter", target.ask_for_endpoint, **ask)
    gateway = target.ask_for_gateway(VpcId=vpc_id)["VpcEndpoint"]["VpcEndpointId"]
    made = target.ask_for_endpoint(**ask)["VpcEndpoint"]
    assert made["DnsOptions"]["PrivateDnsOnlyForInboundResolverEndpoint"] is True
    [failed] = ec2.delete_vpc_endpoints(VpcEndpointIds=[gateway])["Unsuccessful"]
    assert failed["Error"]["Code"] == "InvalidParameter"
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    target.is_gone(made["VpcEndpointId"])
