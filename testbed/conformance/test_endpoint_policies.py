"""Policies of endpoints."""

import json

import pytest
from target import described, refused


def policy(action):
    statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def gateway(target, ec2):
    """A gateway endpoint with a policy: its id."""
    made = target.ask_for_gateway(PolicyDocument=policy("s3:GetObject"))["VpcEndpoint"]["VpcEndpointId"]
    target.eventually("it is seen", lambda: described(ec2, made))
    return made


def of(ec2, endpoint_id):
    return json.loads(described(ec2, endpoint_id)["PolicyDocument"])


def test_an_endpoint_has_the_policy_that_it_was_given(ec2, gateway):
    assert of(ec2, gateway) == json.loads(policy("s3:GetObject"))


def test_a_policy_is_replaced_and_reset(target, ec2, gateway):
    wanted = json.loads(policy("s3:*"))
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, PolicyDocument=json.dumps(wanted))
    target.eventually("it is the new one", lambda: of(ec2, gateway) == wanted)
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, ResetPolicy=True)
    target.eventually("it allows all", lambda: of(ec2, gateway)["Statement"][0]["Action"] == "*")


@pytest.mark.parametrize("document", ["no JSON", "{}"])
def test_what_is_no_policy_is_refused(target, document):
    refused("InvalidPolicyDocument", target.ask_for_gateway, PolicyDocument=document)


def test_a_customers_service_takes_no_policy(target, shared_group):
    if not target.acceptance_service:
        pytest.skip("no --acceptance-service")
    more = {"ServiceName": target.acceptance_service, "PolicyDocument": policy("*")}
    refused("InvalidParameter", target.ask_for_endpoint, group_id=shared_group, **more)
