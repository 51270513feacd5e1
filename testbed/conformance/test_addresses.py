"""Addresses of endpoints: their types, and those that a request chooses."""

import ipaddress

import pytest
from target import filters, refused


@pytest.fixture(scope="module")
def block(target, ec2):
    """The IPv4 block of the first subnet."""
    [subnet] = ec2.describe_subnets(SubnetIds=target.subnets[:1])["Subnets"]
    return ipaddress.ip_network(subnet["CidrBlock"])


def configuration(target, address):
    return {"SubnetConfigurations": [{"SubnetId": target.subnets[0], "Ipv4": str(address)}]}


def test_an_endpoint_says_its_types(endpoint):
    assert (endpoint["IpAddressType"], endpoint["DnsOptions"]["DnsRecordIpType"]) == ("ipv4", "ipv4")


def test_subnets_have_to_support_the_type(target, shared_group):
    refused("InvalidParameter", target.ask_for_endpoint, group_id=shared_group, IpAddressType="ipv6")


def test_records_go_with_addresses(target, shared_group):
    options = {"DnsOptions": {"DnsRecordIpType": "dualstack"}}
    refused("InvalidParameter", target.ask_for_endpoint, group_id=shared_group, IpAddressType="ipv4", **options)


def test_an_address_is_chosen(target, ec2, shared_group, block):
    address = str(block[-9])
    made = target.ask_for_endpoint(shared_group, **configuration(target, address))["VpcEndpoint"]
    [interface] = made["NetworkInterfaceIds"]
    [found] = ec2.describe_network_interfaces(Filters=filters(network_interface_id=interface))["NetworkInterfaces"]
    assert found["PrivateIpAddress"] == address
    refused("InvalidIPAddress.InUse", target.ask_for_endpoint, group_id=shared_group, **configuration(target, address))


@pytest.mark.parametrize("place", ["outside", "reserved"])
def test_an_address_is_one_of_the_subnets_own(target, shared_group, block, place):
    address = {"outside": block[-1] + 1, "reserved": block[1]}[place]
    code = "InvalidParameterValue"
    refused(code, target.ask_for_endpoint, group_id=shared_group, **configuration(target, address))
