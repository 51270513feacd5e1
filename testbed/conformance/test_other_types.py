"""Gateway Load Balancer, Resource and ServiceNetwork endpoints."""

import pytest
from target import described, filters, refused


@pytest.fixture
def behind_load_balancer(target):
    """What CreateVpcEndpoint takes for a Gateway Load Balancer endpoint."""
    if not target.gateway_load_balancer_service:
        pytest.skip("no --gateway-load-balancer-service")
    return {"kind": "GatewayLoadBalancer", "ServiceName": target.gateway_load_balancer_service}


@pytest.fixture
def resource(target):
    if not target.resource_configuration:
        pytest.skip("no --resource-configuration")
    return {"kind": "Resource", "ResourceConfigurationArn": target.resource_configuration}


@pytest.fixture
def network(target):
    if not target.service_network:
        pytest.skip("no --service-network")
    return {"kind": "ServiceNetwork", "ServiceNetworkArn": target.service_network}


def associations(ec2, endpoint_id):
    wanted = filters(vpc_endpoint_id=endpoint_id)
    return ec2.describe_vpc_endpoint_associations(Filters=wanted)["VpcEndpointAssociations"]


def test_a_load_balancers_endpoint_has_one_subnet_and_no_names(target, behind_load_balancer):
    refused("InvalidParameter", target.ask_for_type, **behind_load_balancer, SubnetIds=target.subnets)
    made = target.ask_for_type(**behind_load_balancer)["VpcEndpoint"]
    assert (made["VpcEndpointType"], made["SubnetIds"]) == ("GatewayLoadBalancer", target.subnets[:1])
    endpoint = target.in_state(made["VpcEndpointId"], "available")
    assert endpoint["DnsEntries"] == [] and endpoint["Groups"] == []
    assert len(endpoint["NetworkInterfaceIds"]) == 1


@pytest.mark.parametrize("field", ["groups", "policy", "private_dns"])
def test_a_load_balancers_endpoint_has_nothing_else(target, behind_load_balancer, shared_group, field):
    statement = '{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}'
    more = {
        "groups": {"SecurityGroupIds": [shared_group]},
        "policy": {"PolicyDocument": statement},
        "private_dns": {"PrivateDnsEnabled": True},
    }[field]
    refused("InvalidParameter", target.ask_for_type, **behind_load_balancer, **more)


def test_a_resource_endpoint_leads_to_its_resource(target, ec2, resource, shared_group):
    made = target.ask_for_type(**resource, SecurityGroupIds=[shared_group])["VpcEndpoint"]
    assert made["ResourceConfigurationArn"] == target.resource_configuration
    assert "ServiceName" not in made
    endpoint = target.in_state(made["VpcEndpointId"], "available")
    found = associations(ec2, endpoint["VpcEndpointId"])
    assert found[0]["DnsEntry"]["DnsName"]
    assert found[0]["AssociatedResourceAccessibility"] == "AVAILABLE"


def test_a_service_networks_names_are_its_associations(target, ec2, network, shared_group):
    made = target.ask_for_type(**network, SecurityGroupIds=[shared_group])["VpcEndpoint"]
    assert made["ServiceNetworkArn"] == target.service_network
    endpoint = target.in_state(made["VpcEndpointId"], "available")
    assert endpoint["DnsEntries"] == []
    found = associations(ec2, endpoint["VpcEndpointId"])
    assert all(each["ServiceNetworkArn"] == target.service_network for each in found)
    assert found and all(each["DnsEntry"]["DnsName"] for each in found)


def test_private_dns_of_a_resource_is_chosen_once(target, ec2, resource, shared_group):
    made = target.ask_for_type(**resource, SecurityGroupIds=[shared_group], PrivateDnsEnabled=False)
    endpoint_id = made["VpcEndpoint"]["VpcEndpointId"]
    target.in_state(endpoint_id, "available")
    assert described(ec2, endpoint_id)["DnsOptions"]["PrivateDnsPreference"] == "ALL_DOMAINS"
    arguments = {"VpcEndpointId": endpoint_id, "PrivateDnsEnabled": False}
    refused("InvalidParameter", ec2.modify_vpc_endpoint, **arguments)


def test_a_resource_is_no_service(target, resource, shared_group):
    arguments = {**resource, "ServiceName": target.service, "SecurityGroupIds": [shared_group]}
    refused("InvalidParameter", target.ask_for_type, **arguments)
