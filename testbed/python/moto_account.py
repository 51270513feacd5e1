"""Prepares an AWS account in moto, and shows what is in it.

Usage: moto_account.py seed|show ENDPOINT_URL ROLE_ARN REGION
Prints JSON.
"""

import json
import sys

import boto3


def ec2(url, role_arn, region):
    """EC2 of the role's account: moto goes by the session that AssumeRole hands out."""
    sts = boto3.client(
        "sts", region_name=region, endpoint_url=url, aws_access_key_id="base", aws_secret_access_key="base"
    )
    session = sts.assume_role(RoleArn=role_arn, RoleSessionName="seed")["Credentials"]
    return boto3.client(
        "ec2",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )


def seed(client, region):
    vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        client.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=f"{region}{zone}")
        for at, zone in enumerate("ab")
    ]
    group = client.create_security_group(GroupName="clients", Description="not the operator's", VpcId=vpc)
    return {"vpc": vpc, "subnets": [subnet["Subnet"]["SubnetId"] for subnet in subnets], "group": group["GroupId"]}


def show(client):
    def tags(resource):
        return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}

    def rules(permissions):
        return sorted(
            f"{rule['IpProtocol']} {rule.get('FromPort', '')} {block['CidrIp']}"
            for rule in permissions
            for block in rule["IpRanges"]
        )

    # moto keeps what is deleted for ever.
    endpoints = [each for each in client.describe_vpc_endpoints()["VpcEndpoints"] if each["State"] != "deleted"]
    groups = client.describe_security_groups()["SecurityGroups"]
    return {
        "endpoints": [
            {
                "id": each["VpcEndpointId"],
                "subnets": sorted(each["SubnetIds"]),
                "groups": sorted(group["GroupId"] for group in each["Groups"]),
                "tags": tags(each),
            }
            for each in endpoints
        ],
        "groups": [
            {
                "id": each["GroupId"],
                "ingress": rules(each["IpPermissions"]),
                "egress": rules(each["IpPermissionsEgress"]),
                "tags": tags(each),
            }
            for each in groups
        ],
    }


def main():
    command, url, role_arn, region = sys.argv[1:]
    client = ec2(url, role_arn, region)
    print(json.dumps(seed(client, region) if command == "seed" else show(client)))


if __name__ == "__main__":
    main()
