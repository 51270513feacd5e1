"""DryRun: every call of the operator's that can be asked for permission alone."""

import uuid

import pytest
from target import refused

TAGS = {"Tags": [{"Key": "colour", "Value": "red"}]}
RULES = {"IpPermissions": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "dry"}]}]}
# What else a call needs is added below: it names what is there, since EC2 does not say whether a
# dry run looks for ids.
CALLS = {
    "describe_vpc_endpoints": {},
    "describe_security_groups": {},
    "create_vpc_endpoint": {"PrivateDnsEnabled": False, "VpcEndpointType": "Interface"},
    "modify_vpc_endpoint": {},
    "delete_vpc_endpoints": {},
    "create_tags": TAGS,
    "delete_tags": TAGS,
    "create_security_group": {"Description": "dry"},
    "delete_security_group": {},
    "authorize_security_group_ingress": RULES,
    "authorize_security_group_egress": RULES,
    "revoke_security_group_ingress": RULES,
    "revoke_security_group_egress": RULES,
    "update_security_group_rule_descriptions_ingress": RULES,
    "update_security_group_rule_descriptions_egress": RULES,
}


@pytest.fixture
def arguments(target, group, gateway, call):
    arguments = dict(CALLS[call])
    if call.startswith("create") and call != "create_tags":
        arguments["VpcId"] = target.vpc_id
    if call == "create_vpc_endpoint":
        arguments["ServiceName"] = target.service
    elif call == "create_security_group":
        arguments["GroupName"] = f"conformance-{uuid.uuid4().hex[:12]}"
    elif call == "modify_vpc_endpoint":
        arguments["VpcEndpointId"] = gateway
    elif call == "delete_vpc_endpoints":
        arguments["VpcEndpointIds"] = [gateway]
    elif call.endswith("_tags"):
        arguments["Resources"] = [group]
    elif not call.startswith("describe"):
        arguments["GroupId"] = group
    return arguments


@pytest.fixture(scope="module")
def gateway(target):
    """An endpoint that nobody misses, should a dry run delete it."""
    return target.ask_for_gateway()["VpcEndpoint"]["VpcEndpointId"]


@pytest.mark.parametrize("call", CALLS)
def test_what_is_allowed_would_have_succeeded(target, ec2, group, call, arguments):
    before = target.group(group)
    error = refused("DryRunOperation", getattr(ec2, call), **arguments, DryRun=True)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert target.group(group) == before, "nothing is changed"
    if call == "create_security_group":
        assert target.groups_by(group_name=arguments["GroupName"]) == []


@pytest.mark.parametrize("call", CALLS)
def test_what_is_denied_says_so(target, call, arguments):
    if not target.denied_role_arn:
        pytest.skip("no --denied-role-arn")
    denied = target.client("ec2", **target.assume(target.denied_role_arn))
    error = refused("UnauthorizedOperation", getattr(denied, call), **arguments, DryRun=True)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
