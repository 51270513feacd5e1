"""Endpoints: create, describe, and their wire format."""

import uuid

import pytest
from target import (
    MISSING_ENDPOINT,
    MISSING_GROUP,
    MISSING_SUBNET,
    MISSING_VPC,
    TAG,
    described,
    filters,
    refused,
    tags_of,
)


def test_an_endpoint_is_made_as_it_was_asked_for(target, creation, shared_group):
    made = creation["VpcEndpoint"]
    assert made["VpcEndpointId"].startswith("vpce-")
    assert (made["VpcEndpointType"], made["VpcId"]) == ("Interface", target.vpc_id)
    assert (made["ServiceName"], made["SubnetIds"]) == (target.service, target.subnets[:1])
    assert [group["GroupId"] for group in made["Groups"]] == [shared_group]
    assert made["PrivateDnsEnabled"] is False
    assert tags_of(made) == {TAG: target.run, "colour": "red & <green>"}


def test_an_endpoint_says_who_owns_and_who_manages_it(creation, target, shared_group):
    assert creation["VpcEndpoint"]["RequesterManaged"] is False
    assert creation["VpcEndpoint"]["OwnerId"] == target.group(shared_group)["OwnerId"]


def test_a_new_endpoint_is_pending(creation):
    assert creation["VpcEndpoint"]["State"] == "pending"


def test_states_begin_with_a_small_letter_on_the_wire(target, ec2, endpoint):
    document = target.on_the_wire(ec2.describe_vpc_endpoints, VpcEndpointIds=[endpoint["VpcEndpointId"]])
    assert document.tag == "DescribeVpcEndpointsResponse" and document.findtext("requestId")
    assert [state.text for state in document.findall("vpcEndpointSet/item/state")] == ["available"]


def test_an_available_endpoint_has_names_and_interfaces(target, endpoint):
    names = [entry["DnsName"] for entry in endpoint["DnsEntries"]]
    own = [name for name in names if name.removeprefix("*.").startswith(f"{endpoint['VpcEndpointId']}-")]
    # The regional one, and one for its only zone.
    assert len(own) == 2, names
    assert all(entry["HostedZoneId"] for entry in endpoint["DnsEntries"])
    assert len(endpoint["NetworkInterfaceIds"]) == 1


def test_an_endpoint_without_a_policy_has_the_one_that_allows_all(endpoint):
    assert '"Allow"' in endpoint["PolicyDocument"]


def test_the_default_group_is_used_where_none_is_named(target, ec2):
    answer = target.remembered(
        ec2.create_vpc_endpoint(
            VpcEndpointType="Interface",
            VpcId=target.vpc_id,
            ServiceName=target.service,
            SubnetIds=target.subnets[:1],
            PrivateDnsEnabled=False,
            TagSpecifications=target.specification("vpc-endpoint"),
        )
    )
    [default] = target.groups_by(vpc_id=target.vpc_id, group_name="default")
    assert [group["GroupId"] for group in answer["VpcEndpoint"]["Groups"]] == [default["GroupId"]]


def test_a_client_token_that_comes_again_makes_nothing_new(target, creation, shared_group):
    again = target.ask_for_endpoint(
        shared_group, ClientToken=f"shared-{target.run}", tags={"colour": "red & <green>"}
    )
    assert again["VpcEndpoint"]["VpcEndpointId"] == creation["VpcEndpoint"]["VpcEndpointId"]


def test_the_answer_repeats_the_client_token(target, creation):
    assert creation["ClientToken"] == f"shared-{target.run}"


def test_a_client_token_with_other_parameters_is_refused(target, creation, shared_group):
    def other():
        target.ask_for_endpoint(shared_group, subnets=target.subnets[1:], ClientToken=f"shared-{target.run}")

    refused("IdempotentParameterMismatch", other)


def test_a_client_token_has_64_characters_at_most(target, ec2):
    refused(["InvalidParameterValue", "InvalidParameter"], target.ask_for_gateway, ClientToken="t" * 65)


def test_an_unknown_service_is_refused(target, shared_group):
    name = f"com.amazonaws.vpce.{target.region}.vpce-svc-0123456789abcdef0"
    refused("InvalidServiceName", target.ask_for_endpoint, group_id=shared_group, ServiceName=name)


def test_the_type_must_be_the_services(target):
    refused("InvalidParameter", target.ask_for_gateway, ServiceName=target.service)


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ({"VpcId": MISSING_VPC}, ["InvalidVpcID.NotFound", "InvalidVpcId.NotFound"]),
        ({"SubnetIds": [MISSING_SUBNET]}, ["InvalidSubnetID.NotFound", "InvalidSubnetId.NotFound"]),
        ({"SecurityGroupIds": [MISSING_GROUP]}, ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound"]),
    ],
    ids=["vpc", "subnet", "group"],
)
def test_an_endpoint_is_made_of_what_is_there(target, shared_group, more, codes):
    refused(codes, target.ask_for_endpoint, group_id=shared_group, **more)


def test_an_endpoint_has_one_subnet_a_zone(target, shared_group, subnets_of_one_zone):
    code = "DuplicateSubnetsInSameZone"
    refused(code, target.ask_for_endpoint, group_id=shared_group, subnets=subnets_of_one_zone)


def test_one_missing_id_fails_a_describe_of_endpoints(ec2, endpoint):
    ids = [endpoint["VpcEndpointId"], MISSING_ENDPOINT]
    refused("InvalidVpcEndpointId.NotFound", ec2.describe_vpc_endpoints, VpcEndpointIds=ids)


def test_the_endpoint_id_filter_leaves_out_what_is_not_there(ec2, endpoint):
    wanted = filters(vpc_endpoint_id=[MISSING_ENDPOINT, endpoint["VpcEndpointId"]])
    found = ec2.describe_vpc_endpoints(Filters=wanted)["VpcEndpoints"]
    assert [each["VpcEndpointId"] for each in found] == [endpoint["VpcEndpointId"]]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("vpc-id", "VpcId"),
        ("service-name", "ServiceName"),
        ("vpc-endpoint-state", "State"),
        ("vpc-endpoint-type", "VpcEndpointType"),
    ],
)
def test_endpoints_are_found_by_what_they_are(ec2, endpoint, name, field):
    wanted = [{"Name": name, "Values": [endpoint[field]]}]
    found = [each["VpcEndpointId"] for each in ec2.describe_vpc_endpoints(Filters=wanted)["VpcEndpoints"]]
    assert endpoint["VpcEndpointId"] in found
    wanted = [{"Name": name, "Values": ["nothing-is-called-so"]}]
    assert ec2.describe_vpc_endpoints(Filters=wanted)["VpcEndpoints"] == []


def test_filters_of_endpoints_know_wildcards(ec2, endpoint, target):
    for value in [target.run, f"{target.run[:6]}*", f"?{target.run[1:]}"]:
        wanted = filters(tag=f"{TAG}={value}")
        found = [each["VpcEndpointId"] for each in ec2.describe_vpc_endpoints(Filters=wanted)["VpcEndpoints"]]
        assert endpoint["VpcEndpointId"] in found, value


def test_values_are_alternatives_and_filters_are_conditions(ec2, endpoint, target):
    def ids(*wanted):
        found = ec2.describe_vpc_endpoints(Filters=list(wanted))["VpcEndpoints"]
        return [each["VpcEndpointId"] for each in found]

    either = {"Name": "tag:colour", "Values": ["blue", tags_of(endpoint)["colour"]]}
    ours = {"Name": f"tag:{TAG}", "Values": [target.run]}
    others = {"Name": f"tag:{TAG}", "Values": ["another run"]}
    assert endpoint["VpcEndpointId"] in ids(either, ours)
    assert ids(either, others) == []
    assert ids({"Name": "tag:colour", "Values": ["blue", "yellow"]}, ours) == []


def test_an_unknown_filter_of_endpoints_is_refused(ec2):
    refused("InvalidParameterValue", ec2.describe_vpc_endpoints, Filters=filters(flavour="sweet"))


def test_pages_of_endpoints_add_up(target, ec2):
    word = uuid.uuid4().hex
    made = sorted(target.ask_for_gateway(tags={"word": word})["VpcEndpoint"]["VpcEndpointId"] for _ in range(3))
    for endpoint_id in made:
        target.eventually("it is seen", lambda: described(ec2, endpoint_id))
    pages = ec2.get_paginator("describe_vpc_endpoints").paginate(
        Filters=filters(tag=f"word={word}"), PaginationConfig={"PageSize": 2}
    )
    pages = list(pages)
    assert [len(page["VpcEndpoints"]) for page in pages] == [2, 1]
    assert sorted(each["VpcEndpointId"] for page in pages for each in page["VpcEndpoints"]) == made


def test_endpoints_of_a_service_may_wait_for_its_owner(target, shared_group):
    if not target.acceptance_service:
        pytest.skip("no --acceptance-service")
    made = target.ask_for_endpoint(shared_group, ServiceName=target.acceptance_service)["VpcEndpoint"]
    assert made["State"] == "pendingAcceptance"
