"""Drives the AWS simulator with boto3, which knows EC2's and STS's wire formats from Amazon's own models.

Usage: smoke_boto3.py ENDPOINT_URL ACCESS_KEY_ID SECRET_ACCESS_KEY ROLE_ARN [EXTERNAL_ID]
The role must exist and trust the key; everything else is made, and deleted, here.
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "us-west-2"
# The simulator throttles as EC2 does; boto3 waits and asks again.
PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


def client(service, url, key, secret, token=None):
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=PATIENT,
    )


def refused(code, call, **arguments):
    """Asserts that a call fails with this error code."""
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["RequestId"], error
        return
    raise AssertionError(f"{code} expected")


def eventually(what, probe, seconds=60):
    """Waits until the probe says something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def session(url, key, secret, role_arn, external_id):
    sts = client("sts", url, key, secret)
    account = role_arn.split(":")[4]
    assert sts.get_caller_identity()["Account"] != account
    refused("AccessDenied", sts.assume_role, RoleArn=role_arn + "x", RoleSessionName="smoke")
    arguments = {"RoleArn": role_arn, "RoleSessionName": "smoke", "DurationSeconds": 900}
    if external_id:
        refused("AccessDenied", sts.assume_role, **arguments, ExternalId="not-this-one")
        arguments["ExternalId"] = external_id
    credentials = sts.assume_role(**arguments)["Credentials"]
    keys = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    assert client("sts", url, *keys).get_caller_identity()["Account"] == account
    stranger = client("ec2", url, "AKIAUNKNOWN", "secret")
    refused("AuthFailure", stranger.describe_vpcs)
    return client("ec2", url, *keys)


def network(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=REGION + zone)["Subnet"]["SubnetId"]
        for n, zone in enumerate("abb")
    ]
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"] == "10.0.0.0/16"
    in_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    assert len(ec2.describe_subnets(Filters=in_vpc)["Subnets"]) == 3
    assert ec2.describe_route_tables(Filters=in_vpc)["RouteTables"][0]["Associations"][0]["Main"]
    return vpc, subnets


def group(ec2, vpc):
    tags = [{"Key": "owner", "Value": "smoke & <test>"}]
    arguments = {"GroupName": "smoke", "Description": "smoke test", "VpcId": vpc}
    specification = [{"ResourceType": "security-group", "Tags": tags}]
    group_id = ec2.create_security_group(**arguments, TagSpecifications=specification)["GroupId"]
    refused("InvalidGroup.Duplicate", ec2.create_security_group, **arguments)

    https = {"IpProtocol": "6", "FromPort": 443, "ToPort": 443}
    wanted = [{**https, "IpRanges": [{"CidrIp": "10.1.2.3/16", "Description": "here"}]}]
    rules = ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=wanted)["SecurityGroupRules"]
    assert (rules[0]["IpProtocol"], rules[0]["CidrIpv4"]) == ("tcp", "10.1.0.0/16"), rules
    refused(
        "InvalidPermission.Duplicate",
        ec2.authorize_security_group_ingress,
        GroupId=group_id,
        IpPermissions=wanted,
    )
    by_tag = [{"Name": "tag:owner", "Values": ["smoke*"]}]
    found = ec2.describe_security_groups(Filters=by_tag)["SecurityGroups"]
    assert [g["GroupId"] for g in found] == [group_id]
    assert found[0]["Tags"] == tags
    assert found[0]["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "10.1.0.0/16", "Description": "here"}]
    assert found[0]["IpPermissionsEgress"][0]["IpProtocol"] == "-1"

    wanted[0]["IpRanges"][0]["Description"] = "there"
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group_id, IpPermissions=wanted)
    of_group = [{"Name": "group-id", "Values": [group_id]}]
    described = ec2.describe_security_group_rules(Filters=of_group)["SecurityGroupRules"]
    assert sorted(r.get("Description", "") for r in described) == ["", "there"], described
    ec2.revoke_security_group_egress(GroupId=group_id, IpPermissions=found[0]["IpPermissionsEgress"])
    assert ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissionsEgress"] == []
    return group_id


def endpoints(ec2, vpc, subnets, group_id):
    def create(number, **more):
        tags = [{"Key": "Name", "Value": f"smoke-{number}"}, {"Key": "owner", "Value": "smoke"}]
        return ec2.create_vpc_endpoint(
            VpcEndpointType="Interface",
            VpcId=vpc,
            ServiceName=f"com.amazonaws.{REGION}.sqs",
            SecurityGroupIds=[group_id],
            PrivateDnsEnabled=False,
            ClientToken=f"smoke-{number}",
            TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": tags}],
            **more,
        )["VpcEndpoint"]

    first = create(1, SubnetIds=subnets[:1])
    assert first["State"] == "pending" and not first["DnsEntries"], first
    assert create(1, SubnetIds=subnets[:1])["VpcEndpointId"] == first["VpcEndpointId"]
    refused("IdempotentParameterMismatch", create, number=1, SubnetIds=subnets[1:2])
    refused("DuplicateSubnetsInSameZone", create, number=2, SubnetIds=subnets[1:])
    refused("InvalidSubnetID.NotFound", create, number=2, SubnetIds=["subnet-0"])
    second = create(2, SubnetIds=subnets[:2])
    third = create(3, SubnetIds=subnets[:1])
    ids = sorted(e["VpcEndpointId"] for e in (first, second, third))

    ours = [{"Name": "tag:owner", "Values": ["smoke"]}]
    pages = list(ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=ours, PaginationConfig={"PageSize": 2}))
    assert [len(page["VpcEndpoints"]) for page in pages] == [2, 1]
    assert [e["VpcEndpointId"] for page in pages for e in page["VpcEndpoints"]] == ids

    def all_in(state):
        by_id = [{"Name": "vpc-endpoint-id", "Values": ids}, {"Name": "vpc-endpoint-state", "Values": [state]}]
        found = ec2.describe_vpc_endpoints(Filters=by_id)["VpcEndpoints"]
        return found if len(found) == len(ids) else None

    available = eventually("available", lambda: all_in("available"))
    by_id = {e["VpcEndpointId"]: e for e in available}
    names = [entry["DnsName"] for entry in by_id[second["VpcEndpointId"]]["DnsEntries"]]
    assert len(names) == 3 and all(name.startswith(second["VpcEndpointId"]) for name in names), names

    ec2.modify_vpc_endpoint(VpcEndpointId=first["VpcEndpointId"], AddSubnetIds=subnets[1:2])
    refused(
        "OperationInProgress",
        ec2.modify_vpc_endpoint,
        VpcEndpointId=first["VpcEndpointId"],
        RemoveSubnetIds=subnets[:1],
    )
    modified = {e["VpcEndpointId"]: e for e in eventually("modified", lambda: all_in("available"))}
    assert modified[first["VpcEndpointId"]]["SubnetIds"] == sorted(subnets[:2])
    ec2.create_tags(Resources=[ids[0]], Tags=[{"Key": "colour", "Value": "red"}])
    ec2.delete_tags(Resources=[ids[0]], Tags=[{"Key": "colour"}])
    return ids


def cleanup(ec2, ids, group_id):
    missing = "vpce-00000000000000000"
    failed = ec2.delete_vpc_endpoints(VpcEndpointIds=[*ids, missing])["Unsuccessful"]
    assert [(f["ResourceId"], f["Error"]["Code"]) for f in failed] == [(missing, "InvalidVpcEndpoint.NotFound")]
    refused("InvalidVpcEndpointId.NotFound", ec2.describe_vpc_endpoints, VpcEndpointIds=[missing])
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group_id)

    used = [{"Name": "group-id", "Values": [group_id]}]
    assert ec2.describe_network_interfaces(Filters=used)["NetworkInterfaces"]
    eventually("released", lambda: not ec2.describe_network_interfaces(Filters=used)["NetworkInterfaces"])
    ec2.delete_security_group(GroupId=group_id)
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[group_id])


def refusals(ec2):
    refused("InvalidAction", ec2.describe_instances)
    refused("InvalidParameterValue", ec2.describe_vpcs, Filters=[{"Name": "colour", "Values": ["red"]}])
    refused("UnknownParameter", ec2.create_vpc, CidrBlock="10.0.0.0/16", InstanceTenancy="dedicated")
    refused("DryRunOperation", ec2.create_vpc, CidrBlock="10.0.0.0/16", DryRun=True)
    services = ec2.describe_vpc_endpoint_services(ServiceNames=[f"com.amazonaws.{REGION}.sqs"])
    assert services["ServiceDetails"][0]["ServiceType"] == [{"ServiceType": "Interface"}]


def main(url, key, secret, role_arn, external_id=None):
    ec2 = session(url, key, secret, role_arn, external_id)
    refusals(ec2)
    vpc, subnets = network(ec2)
    group_id = group(ec2, vpc)
    ids = endpoints(ec2, vpc, subnets, group_id)
    cleanup(ec2, ids, group_id)
    print("boto3 and the simulator understand each other")


if __name__ == "__main__":
    main(*sys.argv[1:])
