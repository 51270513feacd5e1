"""Private DNS of endpoints. Not on AWS: it would lead everybody in the user's VPC elsewhere."""

import pytest
from target import described, refused


@pytest.fixture(autouse=True)
def not_on_aws(target):
    if target.name == "aws":
        pytest.skip("private DNS changes where everybody in the VPC is led")


@pytest.fixture(scope="module")
def private(target, shared_group):
    """An endpoint with private DNS, available."""
    answer = target.ask_for_endpoint(shared_group, ServiceName=kms(target), PrivateDnsEnabled=True)
    return target.in_state(answer["VpcEndpoint"]["VpcEndpointId"], "available")


def kms(target):
    return f"com.amazonaws.{target.region}.kms"


def test_private_dns_gives_the_services_own_name(target, private):
    assert private["PrivateDnsEnabled"] is True
    names = [entry["DnsName"] for entry in private["DnsEntries"]]
    assert f"kms.{target.region}.amazonaws.com" in names, names


def test_a_name_leads_to_one_endpoint_of_a_vpc(target, private, shared_group):
    more = {"ServiceName": kms(target), "PrivateDnsEnabled": True}
    refused("InvalidParameter", target.ask_for_endpoint, group_id=shared_group, **more)


def test_private_dns_is_turned_off_and_on(target, ec2, private):
    endpoint_id = private["VpcEndpointId"]
    for value in [False, True]:
        target.in_state(endpoint_id, "available")
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PrivateDnsEnabled=value)
        target.eventually(f"it is {value}", lambda: described(ec2, endpoint_id)["PrivateDnsEnabled"] is value)


def test_private_dns_takes_both_dns_attributes_of_the_vpc(target, ec2):
    vpc_id = target.make_vpc(dns=False)
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/24", AvailabilityZone=f"{target.region}a")
    arguments = {
        "VpcEndpointType": "Interface",
        "VpcId": vpc_id,
        "ServiceName": kms(target),
        "SubnetIds": [subnet["Subnet"]["SubnetId"]],
        "TagSpecifications": target.specification("vpc-endpoint"),
    }
    refused("InvalidParameter", ec2.create_vpc_endpoint, **arguments, PrivateDnsEnabled=True)
    target.remembered(ec2.create_vpc_endpoint(**arguments, PrivateDnsEnabled=False))


def test_private_dns_waits_for_acceptance(target, shared_group):
    if not target.acceptance_service:
        pytest.skip("no --acceptance-service")
    more = {"ServiceName": target.acceptance_service, "PrivateDnsEnabled": True}
    refused("InvalidParameter", target.ask_for_endpoint, group_id=shared_group, **more)
