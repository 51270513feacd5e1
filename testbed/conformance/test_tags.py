"""Tags: in the call that makes something, by CreateTags and by DeleteTags."""

import pytest
from target import MISSING_ENDPOINT, MISSING_GROUP, TAG, refused, tags_of


@pytest.fixture
def tags(target, ec2, group):
    """The tags of a new group, but the run's own."""

    class Tags:
        id = group

        def set(self, **tags):
            ec2.create_tags(Resources=[group], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])

        def now(self):
            return {key: value for key, value in tags_of(target.group(group)).items() if key != TAG}

    return Tags()


def test_a_tag_is_set_and_set_anew(tags):
    tags.set(colour="red", size="s")
    tags.set(colour="green")
    assert tags.now() == {"colour": "green", "size": "s"}


def test_an_endpoint_is_tagged_like_a_group(target, ec2, endpoint):
    resources = [endpoint["VpcEndpointId"]]
    ec2.create_tags(Resources=resources, Tags=[{"Key": "size", "Value": "m"}])
    assert tags_of(target.in_state(resources[0], "available"))["size"] == "m"
    ec2.delete_tags(Resources=resources, Tags=[{"Key": "size"}])
    assert "size" not in tags_of(target.in_state(resources[0], "available"))


def test_a_tag_goes_by_its_key_whatever_its_value(tags, ec2):
    tags.set(colour="red")
    ec2.delete_tags(Resources=[tags.id], Tags=[{"Key": "colour"}])
    assert tags.now() == {}


def test_a_tag_stays_where_another_value_was_meant(tags, ec2):
    tags.set(colour="red")
    ec2.delete_tags(Resources=[tags.id], Tags=[{"Key": "colour", "Value": "green"}])
    assert tags.now() == {"colour": "red"}


def test_deleting_a_tag_that_is_not_there_succeeds(tags, ec2):
    ec2.delete_tags(Resources=[tags.id], Tags=[{"Key": "colour"}])


def test_keys_of_aws_are_reserved(tags, ec2):
    reserved = [{"Key": "aws:colour", "Value": "red"}]
    refused("InvalidParameterValue", ec2.create_tags, Resources=[tags.id], Tags=reserved)
    assert tags.now() == {}


def test_something_new_cannot_have_reserved_keys(target, ec2):
    specification = target.specification("security-group", **{"aws:colour": "red"})
    arguments = {"GroupName": "conformance-reserved", "Description": "no", "VpcId": target.vpc_id}
    refused("InvalidParameterValue", ec2.create_security_group, **arguments, TagSpecifications=specification)


def test_there_is_room_for_50_tags(tags, ec2):
    # One is the run's own.
    tags.set(**{f"k{n}": "v" for n in range(49)})
    one_more = [{"Key": "one", "Value": "more"}]
    refused("TagLimitExceeded", ec2.create_tags, Resources=[tags.id], Tags=one_more)
    tags.set(k0="a tag that is there already takes no room")


def test_a_key_has_128_characters_at_most(tags, ec2):
    # The API reference says 127, the user guide 128.
    tags.set(**{"k" * 127: "v"})
    longer = [{"Key": "k" * 129, "Value": "v"}]
    refused("InvalidParameterValue", ec2.create_tags, Resources=[tags.id], Tags=longer)


def test_a_value_has_256_characters_at_most(tags, ec2):
    tags.set(key="v" * 256)
    longer = [{"Key": "key", "Value": "v" * 257}]
    refused("InvalidParameterValue", ec2.create_tags, Resources=[tags.id], Tags=longer)


def test_tags_of_something_new_are_for_what_is_made(target, ec2):
    arguments = {"GroupName": "conformance-other-kind", "Description": "no", "VpcId": target.vpc_id}
    other = target.specification("security-group") + target.specification("vpc-endpoint")
    refused("InvalidParameterValue", ec2.create_security_group, **arguments, TagSpecifications=other)


@pytest.mark.parametrize("verb", ["create_tags", "delete_tags"])
@pytest.mark.parametrize("kind", ["endpoint", "group"])
def test_only_what_is_there_has_tags(ec2, verb, kind):
    missing, codes = {
        "endpoint": (MISSING_ENDPOINT, ["InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointID.NotFound"]),
        "group": (MISSING_GROUP, ["InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound"]),
    }[kind]
    refused(codes, getattr(ec2, verb), Resources=[missing], Tags=[{"Key": "colour", "Value": "red"}])
