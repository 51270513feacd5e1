"""Endpoint services: what DescribeVpcEndpointServices says of them, and services of other regions."""

from target import refused


def details(ec2, **arguments):
    return ec2.describe_vpc_endpoint_services(**arguments)["ServiceDetails"]


def test_a_service_says_what_it_takes(target, ec2):
    [found] = details(ec2, ServiceNames=[target.service])
    assert found["ServiceType"] == [{"ServiceType": "Interface"}]
    assert found["Owner"] == "amazon" and found["AcceptanceRequired"] is False
    assert found["VpcEndpointPolicySupported"] is True
    assert "ipv4" in found["SupportedIpAddressTypes"]
    assert found["ServiceRegion"] == target.region


def test_s3_has_both_types(target, ec2):
    found = details(ec2, ServiceNames=[target.gateway_service])
    types = {kind["ServiceType"] for each in found for kind in each["ServiceType"]}
    assert types == {"Gateway", "Interface"}


def test_a_service_that_is_not_there_is_refused(target, ec2):
    name = f"com.amazonaws.vpce.{target.region}.vpce-svc-0123456789abcdef0"
    refused("InvalidServiceName", ec2.describe_vpc_endpoint_services, ServiceNames=[name])


def test_a_service_of_another_region_is_not_of_this_one(target, shared_group):
    far = "us-east-1" if target.region != "us-east-1" else "eu-west-1"
    more = {"ServiceName": f"com.amazonaws.{far}.kms"}
    refused("InvalidServiceName", target.ask_for_endpoint, group_id=shared_group, **more)
    refused("InvalidServiceName", target.ask_for_endpoint, group_id=shared_group, ServiceRegion=far)
    if target.name != "aws":
        made = target.ask_for_endpoint(shared_group, ServiceRegion=far, **more)["VpcEndpoint"]
        assert made["ServiceRegion"] == far
