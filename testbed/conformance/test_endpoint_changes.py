"""Endpoints: modify and delete. They share one endpoint of their own and take it from one test to the next."""

import pytest
from target import MISSING_ENDPOINT, MISSING_GROUP, MISSING_SUBNET, described, filters, refused


@pytest.fixture(scope="module")
def first(target):
    return target.make_group()


@pytest.fixture(scope="module")
def changing(target, first):
    """The id of an endpoint that is available when a test begins."""
    return target.ask_for_endpoint(first)["VpcEndpoint"]["VpcEndpointId"]


@pytest.fixture
def available(target, changing):
    target.in_state(changing, "available")
    return changing


def groups_of(endpoint):
    return {group["GroupId"] for group in endpoint["Groups"]}


def test_groups_are_added_and_removed_in_one_call(target, ec2, available, first, group):
    arguments = {"VpcEndpointId": available, "AddSecurityGroupIds": [group], "RemoveSecurityGroupIds": [first]}
    assert ec2.modify_vpc_endpoint(**arguments)["Return"] is True
    target.eventually("it has the new group", lambda: groups_of(described(ec2, available)) == {group})
    target.in_state(available, "available")
    ec2.modify_vpc_endpoint(
        VpcEndpointId=available, AddSecurityGroupIds=[first], RemoveSecurityGroupIds=[group]
    )
    target.eventually("it has the old one", lambda: groups_of(described(ec2, available)) == {first})


def test_a_subnet_is_added_and_removed(target, ec2, available):
    one, two = target.subnets
    ec2.modify_vpc_endpoint(VpcEndpointId=available, AddSubnetIds=[two])
    target.eventually("it has both", lambda: set(described(ec2, available)["SubnetIds"]) == {one, two})
    endpoint = target.in_state(available, "available")
    assert len(endpoint["NetworkInterfaceIds"]) == 2
    ec2.modify_vpc_endpoint(VpcEndpointId=available, RemoveSubnetIds=[two])
    target.eventually("it has one", lambda: described(ec2, available)["SubnetIds"] == [one])


def test_an_endpoint_is_pending_while_its_subnets_change(target, ec2, available):
    one, two = target.subnets
    ec2.modify_vpc_endpoint(VpcEndpointId=available, AddSubnetIds=[two])
    target.eventually("it is pending", lambda: described(ec2, available)["State"] == "pending")
    target.in_state(available, "available")
    ec2.modify_vpc_endpoint(VpcEndpointId=available, RemoveSubnetIds=[two])


def test_a_subnet_of_a_zone_that_has_one_cannot_be_added(target, ec2, available, subnets_of_one_zone):
    present = described(ec2, available)["SubnetIds"]
    other = [subnet for subnet in subnets_of_one_zone if subnet not in present]
    if len(other) != 1:
        pytest.skip("the endpoint is in another zone")
    arguments = {"VpcEndpointId": available, "AddSubnetIds": other}
    refused("DuplicateSubnetsInSameZone", ec2.modify_vpc_endpoint, **arguments)


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ({"AddSubnetIds": [MISSING_SUBNET]}, ["InvalidSubnetID.NotFound", "InvalidSubnetId.NotFound"]),
        ({"AddSecurityGroupIds": [MISSING_GROUP]}, ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound"]),
    ],
    ids=["subnet", "group"],
)
def test_only_what_is_there_can_be_added(ec2, available, more, codes):
    refused(codes, ec2.modify_vpc_endpoint, VpcEndpointId=available, **more)


def test_an_endpoint_that_is_not_there_cannot_be_modified(ec2, group):
    arguments = {"VpcEndpointId": MISSING_ENDPOINT, "AddSecurityGroupIds": [group]}
    refused("InvalidVpcEndpointId.NotFound", ec2.modify_vpc_endpoint, **arguments)


def test_what_cannot_be_deleted_comes_back_with_its_reason(ec2):
    failed = ec2.delete_vpc_endpoints(VpcEndpointIds=[MISSING_ENDPOINT])["Unsuccessful"]
    assert [each["ResourceId"] for each in failed] == [MISSING_ENDPOINT]
    assert failed[0]["Error"]["Code"] == "InvalidVpcEndpoint.NotFound"
    assert failed[0]["Error"]["Message"]


def test_a_missing_id_does_not_keep_the_others_of_a_batch(target, ec2):
    endpoint_id = target.ask_for_gateway()["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, endpoint_id))
    failed = ec2.delete_vpc_endpoints(VpcEndpointIds=[MISSING_ENDPOINT, endpoint_id])["Unsuccessful"]
    assert [each["ResourceId"] for each in failed] == [MISSING_ENDPOINT]
    target.is_gone(endpoint_id)


def test_a_group_that_an_endpoint_uses_cannot_be_deleted(target, ec2, group):
    target.ask_for_endpoint(group)
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)


def test_a_deleted_endpoint_frees_its_group_last(target, ec2):
    group = target.make_group()
    endpoint_id = target.ask_for_endpoint(group)["VpcEndpoint"]["VpcEndpointId"]
    target.in_state(endpoint_id, "available")
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    target.is_gone(endpoint_id)
    used = filters(group_id=group)
    target.eventually(
        "its interfaces are gone", lambda: not ec2.describe_network_interfaces(Filters=used)["NetworkInterfaces"]
    )
    ec2.delete_security_group(GroupId=group)


def test_a_deleted_endpoint_cannot_be_modified(target, ec2):
    endpoint_id = target.ask_for_gateway()["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, endpoint_id))
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])["Unsuccessful"] == []
    target.is_gone(endpoint_id)
    refused("InvalidVpcEndpointId.NotFound", ec2.modify_vpc_endpoint, VpcEndpointId=endpoint_id, ResetPolicy=True)
