"""Rules of security groups: authorize, revoke, describe again, and EC2's normal form of them. Both directions alike."""

import pytest
from target import MISSING_GROUP, refused


class Rules:
    """A group's rules in one direction."""

    def __init__(self, target, group, way):
        self.target, self.group, self.way = target, group, way
        ec2 = target.ec2
        self.authorize = getattr(ec2, f"authorize_security_group_{way}")
        self.revoke = getattr(ec2, f"revoke_security_group_{way}")
        self.describe_anew = getattr(ec2, f"update_security_group_rule_descriptions_{way}")

    def add(self, *permissions):
        return self.authorize(GroupId=self.group, IpPermissions=list(permissions))["SecurityGroupRules"]

    def now(self):
        found = self.target.group(self.group)
        return found["IpPermissions" if self.way == "ingress" else "IpPermissionsEgress"]


@pytest.fixture(params=["ingress", "egress"])
def rules(request, target, group):
    rules = Rules(target, group, request.param)
    if request.param == "egress":
        rules.revoke(GroupId=group, IpPermissions=rules.now())
    return rules


def https(cidr, description=None, protocol="tcp"):
    block = {"CidrIp": cidr, **({"Description": description} if description else {})}
    return {"IpProtocol": protocol, "FromPort": 443, "ToPort": 443, "IpRanges": [block]}


def test_a_block_loses_the_bits_of_its_hosts(rules):
    rules.add(https("10.1.2.3/16"))
    assert [block["CidrIp"] for block in rules.now()[0]["IpRanges"]] == ["10.1.0.0/16"]


def test_an_ipv6_block_loses_the_bits_of_its_hosts(rules):
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Ipv6Ranges": [{"CidrIpv6": "2001:DB8::1/32"}]}
    rules.add(permission)
    assert [block["CidrIpv6"] for block in rules.now()[0]["Ipv6Ranges"]] == ["2001:db8::/32"]


@pytest.mark.parametrize(("number", "name"), [("6", "tcp"), ("17", "udp"), ("1", "icmp"), ("50", "50")])
def test_numbers_of_protocols_become_names(rules, number, name):
    rules.add(https("10.0.0.0/8", protocol=number) if number != "1" else {**https("10.0.0.0/8"), **ALL_ICMP})
    assert rules.now()[0]["IpProtocol"] == name


ALL_ICMP = {"IpProtocol": "1", "FromPort": -1, "ToPort": -1}


def test_all_protocols_mean_all_ports(rules):
    rules.add(https("10.0.0.0/8", protocol="-1"))
    [rule] = rules.now()
    assert rule["IpProtocol"] == "-1" and "FromPort" not in rule and "ToPort" not in rule


def test_new_rules_are_answered_with_their_ids(rules):
    [rule] = rules.add(https("10.1.0.0/16", "here"))
    assert rule["SecurityGroupRuleId"].startswith("sgr-")
    assert (rule["GroupId"], rule["IsEgress"]) == (rules.group, rules.way == "egress")
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)
    assert (rule["CidrIpv4"], rule["Description"]) == ("10.1.0.0/16", "here")


def test_blocks_of_the_same_ports_are_described_together(rules):
    rules.add(https("10.0.0.0/16", "one"))
    rules.add(https("10.1.0.0/16", "two"))
    [rule] = rules.now()
    blocks = {block["CidrIp"]: block["Description"] for block in rule["IpRanges"]}
    assert blocks == {"10.0.0.0/16": "one", "10.1.0.0/16": "two"}


def test_a_rule_is_taken_once(rules):
    rules.add(https("10.1.0.0/16"))
    again = [https("10.1.0.0/16")]
    refused("InvalidPermission.Duplicate", rules.authorize, GroupId=rules.group, IpPermissions=again)


def test_a_rule_is_the_same_however_it_is_spelled(rules):
    rules.add(https("10.1.0.0/16"))
    again = [https("10.1.2.3/16", protocol="6")]
    refused("InvalidPermission.Duplicate", rules.authorize, GroupId=rules.group, IpPermissions=again)


def test_a_rule_is_the_same_whatever_its_description(rules):
    rules.add(https("10.1.0.0/16", "here"))
    again = [https("10.1.0.0/16", "there")]
    refused("InvalidPermission.Duplicate", rules.authorize, GroupId=rules.group, IpPermissions=again)


def test_a_rule_is_revoked_without_its_description(rules):
    rules.add(https("10.1.0.0/16", "here"))
    answer = rules.revoke(GroupId=rules.group, IpPermissions=[https("10.1.0.0/16")])
    assert answer["Return"] is True
    assert rules.now() == []


def test_what_is_not_there_cannot_be_revoked(rules):
    absent = [https("10.9.0.0/16")]
    refused("InvalidPermission.NotFound", rules.revoke, GroupId=rules.group, IpPermissions=absent)


def test_a_description_is_changed_in_place(rules):
    [before] = rules.add(https("10.1.0.0/16", "here"))
    rules.describe_anew(GroupId=rules.group, IpPermissions=[https("10.1.0.0/16", "there")])
    assert rules.now()[0]["IpRanges"] == [{"CidrIp": "10.1.0.0/16", "Description": "there"}]
    by_group = [{"Name": "group-id", "Values": [rules.group]}]
    found = rules.target.ec2.describe_security_group_rules(Filters=by_group)["SecurityGroupRules"]
    assert before["SecurityGroupRuleId"] in [rule["SecurityGroupRuleId"] for rule in found]


def test_a_description_is_taken_away_by_giving_none(rules):
    rules.add(https("10.1.0.0/16", "here"))
    rules.describe_anew(GroupId=rules.group, IpPermissions=[https("10.1.0.0/16")])
    assert rules.now()[0]["IpRanges"] == [{"CidrIp": "10.1.0.0/16"}]


def test_what_is_not_there_cannot_be_described_anew(rules):
    absent = [https("10.9.0.0/16", "where")]
    refused("InvalidPermission.NotFound", rules.describe_anew, GroupId=rules.group, IpPermissions=absent)


def test_a_rule_may_name_a_group(rules):
    other = rules.target.make_group()
    rules.add({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other, "Description": "friends"}]})
    [pair] = rules.now()[0]["UserIdGroupPairs"]
    assert (pair["GroupId"], pair["Description"]) == (other, "friends")
    assert pair["UserId"] == rules.target.group(other)["OwnerId"]


def test_a_rule_that_names_a_group_is_revoked_without_its_description(rules):
    other = rules.target.make_group()
    rules.add({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other, "Description": "friends"}]})
    rules.revoke(
        GroupId=rules.group, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}]
    )
    assert rules.now() == []


def test_a_rule_cannot_name_a_group_that_is_not_there(rules):
    friends = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": MISSING_GROUP}]}]
    refused("InvalidGroup.NotFound", rules.authorize, GroupId=rules.group, IpPermissions=friends)


def test_tcp_takes_ports(rules):
    portless = [{"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
    refused("InvalidParameterValue", rules.authorize, GroupId=rules.group, IpPermissions=portless)


def test_a_malformed_block_is_refused(rules):
    codes = ["InvalidParameterValue", "InvalidPermission.Malformed"]
    refused(codes, rules.authorize, GroupId=rules.group, IpPermissions=[https("10.0.0.0.0/8")])


def test_a_group_takes_60_rules_in_one_direction(rules):
    if rules.target.name == "aws":
        pytest.skip("an account's quota may have been raised")
    blocks = [{"CidrIp": f"10.{n}.0.0/16"} for n in range(60)]
    rules.add({"IpProtocol": "-1", "IpRanges": blocks})
    one_more = [https("10.60.0.0/16")]
    refused("RulesPerSecurityGroupLimitExceeded", rules.authorize, GroupId=rules.group, IpPermissions=one_more)


@pytest.mark.parametrize("way", ["ingress", "egress"])
@pytest.mark.parametrize("verb", ["authorize", "revoke", "describe_anew"])
def test_rules_belong_to_a_group_that_is_there(target, way, verb):
    call = getattr(Rules(target, MISSING_GROUP, way), verb)
    refused("InvalidGroup.NotFound", call, GroupId=MISSING_GROUP, IpPermissions=[https("10.0.0.0/8")])
