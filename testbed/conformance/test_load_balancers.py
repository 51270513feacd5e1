"""Load balancers, as far as endpoint services need them."""

import pytest
from target import refused


@pytest.fixture
def load_balancer(target, elb, hosted):
    """The one behind the shared endpoint service."""
    [found] = elb.describe_load_balancers(LoadBalancerArns=[target.network_load_balancer])["LoadBalancers"]
    return found


def test_a_load_balancer_says_what_it_is(target, elb, load_balancer):
    assert load_balancer["Type"] == "network" and load_balancer["State"]["Code"] == "active"
    assert load_balancer["VpcId"] and load_balancer["AvailabilityZones"]
    [same] = elb.describe_load_balancers(Names=[load_balancer["LoadBalancerName"]])["LoadBalancers"]
    assert same["LoadBalancerArn"] == target.network_load_balancer


def test_the_name_of_a_load_balancer_says_its_region(target, load_balancer):
    name, _, rest = load_balancer["DNSName"].partition(".")
    assert name.rpartition("-")[0] == load_balancer["LoadBalancerName"]
    assert rest == f"elb.{target.region}.amazonaws.com"


def test_one_missing_name_fails_the_whole_call(elb, load_balancer):
    names = [load_balancer["LoadBalancerName"], "conformance-nobody"]
    refused("LoadBalancerNotFound", elb.describe_load_balancers, Names=names)


def test_tags_are_described_by_arn(target, elb, load_balancer):
    [found] = elb.describe_tags(ResourceArns=[target.network_load_balancer])["TagDescriptions"]
    assert found["ResourceArn"] == target.network_load_balancer and isinstance(found["Tags"], list)


def test_the_tags_of_twenty_are_described_and_no_more(target, elb, load_balancer):
    arn = target.network_load_balancer
    others = [f"{arn[:-2]}{number:02}" for number in range(21)]
    refused("ValidationError", elb.describe_tags, ResourceArns=others)


def test_a_load_balancer_that_a_service_has_is_kept(target, elb, load_balancer):
    if target.name == "aws":
        # What should be refused would delete it.
        pytest.skip("the load balancer is somebody's")
    refused("ResourceInUse", elb.delete_load_balancer, LoadBalancerArn=target.network_load_balancer)
