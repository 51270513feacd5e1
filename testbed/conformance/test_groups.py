"""Security groups: create, describe, delete."""

import uuid

import pytest
from target import MISSING_GROUP, MISSING_VPC, TAG, filters, refused, tags_of


def test_a_group_is_described_as_it_was_made(target, ec2):
    name = f"conformance-{uuid.uuid4().hex[:12]}"
    group = target.make_group(name, colour="red & <green>")
    found = target.group(group)
    assert (found["GroupName"], found["Description"], found["VpcId"]) == (name, "conformance", target.vpc_id)
    assert tags_of(found) == {TAG: target.run, "colour": "red & <green>"}
    assert group.startswith("sg-") and found["OwnerId"].isdigit()


def test_a_new_group_lets_nothing_in_and_everything_out(target, group):
    found = target.group(group)
    assert found["IpPermissions"] == []
    [egress] = found["IpPermissionsEgress"]
    assert egress["IpProtocol"] == "-1" and "FromPort" not in egress and "ToPort" not in egress
    assert [block["CidrIp"] for block in egress["IpRanges"]] == ["0.0.0.0/0"]


def test_where_the_vpc_has_ipv6_a_new_group_lets_everything_out_by_it_too(target):
    vpc_id = target.vpc_id if target.name == "aws" else target.make_vpc(dns=False, ipv6=True)
    if not target.has_ipv6(vpc_id):
        pytest.skip("the VPC has no IPv6 block")
    found = target.group(target.make_group(vpc_id=vpc_id))
    egress = found["IpPermissionsEgress"]
    assert found["IpPermissions"] == [] and {rule["IpProtocol"] for rule in egress} == {"-1"}
    assert [block["CidrIp"] for rule in egress for block in rule["IpRanges"]] == ["0.0.0.0/0"]
    assert [block["CidrIpv6"] for rule in egress for block in rule["Ipv6Ranges"]] == ["::/0"]


def test_where_the_vpc_has_no_ipv6_there_is_no_such_rule_to_revoke(target, ec2, group):
    if target.has_ipv6(target.vpc_id):
        pytest.skip("the VPC has an IPv6 block")
    rule = {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    refused("InvalidPermission.NotFound", ec2.revoke_security_group_egress, GroupId=group, IpPermissions=[rule])


def test_a_name_is_taken_once_in_a_vpc(target, ec2, group):
    name = target.group(group)["GroupName"]
    arguments = {"GroupName": name, "Description": "again", "VpcId": target.vpc_id}
    arguments["TagSpecifications"] = target.specification("security-group")
    refused("InvalidGroup.Duplicate", ec2.create_security_group, **arguments)


def test_names_are_not_told_apart_by_case(target, ec2, group):
    name = target.group(group)["GroupName"].upper()
    arguments = {"GroupName": name, "Description": "again", "VpcId": target.vpc_id}
    arguments["TagSpecifications"] = target.specification("security-group")
    refused("InvalidGroup.Duplicate", ec2.create_security_group, **arguments)


def test_a_name_may_not_look_like_an_id(target, ec2):
    arguments = {"GroupName": "sg-conformance", "Description": "no", "VpcId": target.vpc_id}
    arguments["TagSpecifications"] = target.specification("security-group")
    refused("InvalidParameterValue", ec2.create_security_group, **arguments)


def test_a_name_of_256_characters_is_refused(target, ec2):
    arguments = {"GroupName": "n" * 256, "Description": "no", "VpcId": target.vpc_id}
    arguments["TagSpecifications"] = target.specification("security-group")
    refused("InvalidParameterValue", ec2.create_security_group, **arguments)


def test_a_description_of_other_characters_is_refused(target, ec2):
    arguments = {"GroupName": f"conformance-{uuid.uuid4().hex}", "Description": "naïve", "VpcId": target.vpc_id}
    arguments["TagSpecifications"] = target.specification("security-group")
    refused("InvalidParameterValue", ec2.create_security_group, **arguments)


def test_a_group_needs_a_vpc_that_is_there(ec2):
    arguments = {"GroupName": "conformance", "Description": "no", "VpcId": MISSING_VPC}
    refused(["InvalidVpcID.NotFound", "InvalidVpcId.NotFound"], ec2.create_security_group, **arguments)


def test_one_missing_id_fails_a_describe_of_groups(ec2, group):
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[group, MISSING_GROUP])


def test_the_group_id_filter_leaves_out_what_is_not_there(target, group):
    assert [each["GroupId"] for each in target.groups_by(group_id=[MISSING_GROUP, group])] == [group]
    assert target.groups_by(group_id=MISSING_GROUP) == []


def test_filters_of_groups_know_wildcards(target):
    word = uuid.uuid4().hex
    group = target.make_group(f"conformance-{word}", word=word)
    for value in [word, f"{word[:8]}*", f"?{word[1:]}", f"*{word[4:9]}*"]:
        assert [each["GroupId"] for each in target.groups_by(tag=f"word={value}")] == [group], value
    assert target.groups_by(tag=f"word={word[:8]}?") == []
    assert [each["GroupId"] for each in target.groups_by(group_name=f"*{word}")] == [group]


def test_values_of_filters_are_told_apart_by_case(target):
    word = f"w{uuid.uuid4().hex}"
    target.make_group(word=word)
    assert target.groups_by(tag=f"word={word.upper()}") == []


def test_an_unknown_filter_of_groups_is_refused(ec2):
    refused("InvalidParameterValue", ec2.describe_security_groups, Filters=filters(flavour="sweet"))


def test_pages_of_groups_add_up(target, ec2):
    word = uuid.uuid4().hex
    made = sorted(target.make_group(word=word) for _ in range(6))
    paginator = ec2.get_paginator("describe_security_groups")
    pages = list(paginator.paginate(Filters=filters(tag=f"word={word}"), PaginationConfig={"PageSize": 5}))
    assert [len(page["SecurityGroups"]) for page in pages] == [5, 1]
    assert sorted(each["GroupId"] for page in pages for each in page["SecurityGroups"]) == made


def test_a_group_that_is_deleted_is_gone(target, ec2, group):
    ec2.delete_security_group(GroupId=group)
    target.eventually("it is gone", lambda: target.groups_by(group_id=group) == [])
    refused("InvalidGroup.NotFound", ec2.delete_security_group, GroupId=group)


def test_a_group_that_another_groups_rule_names_cannot_be_deleted(target, ec2, group):
    other = target.make_group()
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[rule])
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=[rule])
    ec2.delete_security_group(GroupId=group)


@pytest.mark.parametrize(
    ("way", "by"), [("ingress", "ip-permission.group-id"), ("egress", "egress.ip-permission.group-id")]
)
def test_the_groups_whose_rules_name_a_group_are_found_by_a_filter(target, ec2, group, way, by):
    other = target.make_group()
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": group}]}
    getattr(ec2, f"authorize_security_group_{way}")(GroupId=other, IpPermissions=[rule])

    def naming():
        found = ec2.describe_security_groups(Filters=filters(**{by: group}))["SecurityGroups"]
        return [named["GroupId"] for named in found]

    target.eventually("the group that names it is found", lambda: naming() == [other])
    getattr(ec2, f"revoke_security_group_{way}")(GroupId=other, IpPermissions=[rule])
