"""STS: AssumeRole and GetCallerIdentity."""

import datetime

import pytest
from target import SESSION, refused


@pytest.fixture
def role(target):
    if not target.role_arn:
        pytest.skip("no --role-arn")
    return target.role_arn


@pytest.fixture
def sts(target):
    return target.client("sts")


def test_a_session_is_of_the_roles_account(target, role):
    identity = target.client("sts", **target.credentials).get_caller_identity()
    _, partition, _, _, account, resource = role.split(":")
    name = resource.rsplit("/")[-1]
    assert identity["Account"] == account
    assert identity["Arn"] == f"arn:{partition}:sts::{account}:assumed-role/{name}/{SESSION}"
    assert identity["UserId"].endswith(f":{SESSION}")


def test_a_session_ends_when_it_was_asked_to(target, role, sts):
    more = {"ExternalId": target.external_id} if target.external_id else {}
    answer = sts.assume_role(RoleArn=role, RoleSessionName=SESSION, DurationSeconds=900, **more)
    session = answer["Credentials"]
    assert session["AccessKeyId"].startswith("ASIA")
    left = session["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta() < left <= datetime.timedelta(seconds=960)
    assert answer["AssumedRoleUser"]["Arn"].endswith(f"/{SESSION}")


def test_what_a_session_makes_belongs_to_the_roles_account(target, role, shared_group):
    assert target.group(shared_group)["OwnerId"] == role.split(":")[4]


def test_a_wrong_external_id_is_refused(target, role, sts):
    if not target.external_id:
        pytest.skip("no --external-id")
    refused("AccessDenied", sts.assume_role, RoleArn=role, RoleSessionName=SESSION, ExternalId="not-this-one")


def test_no_external_id_is_refused(target, role, sts):
    if not target.external_id:
        pytest.skip("no --external-id")
    refused("AccessDenied", sts.assume_role, RoleArn=role, RoleSessionName=SESSION)


def test_a_role_that_is_not_there_is_refused(target, role, sts):
    refused("AccessDenied", sts.assume_role, RoleArn=f"{role}-is-not-there", RoleSessionName=SESSION)


def test_a_session_of_more_than_twelve_hours_is_refused(target, role, sts):
    more = {"ExternalId": target.external_id} if target.external_id else {}
    arguments = {"RoleArn": role, "RoleSessionName": SESSION, "DurationSeconds": 43201}
    refused("ValidationError", sts.assume_role, **arguments, **more)


def test_ec2_refuses_a_key_that_nobody_has(target):
    stranger = target.client("ec2", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="nobody's")
    error = refused("AuthFailure", stranger.describe_security_groups)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 401


def test_sts_refuses_a_key_that_nobody_has(target):
    stranger = target.client("sts", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="nobody's")
    error = refused("InvalidClientTokenId", stranger.get_caller_identity)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
