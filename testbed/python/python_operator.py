"""An operator as the Python operator was: kopf handlers that create an endpoint, a security group and a Service for
each VPCEndpoint, and leave the same status. Run by `kopf run`; the environment says which cluster, which AWS, and by
ROLE_ARN and EXTERNAL_ID which account."""

import os
import subprocess

import boto3
import kopf

PLURAL = ("silvermullet.com", "v1beta1", "vpcendpoints")
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def ec2(region):
    sts = boto3.client("sts", region_name=os.environ["AWS_REGION"])
    assume = {"RoleArn": os.environ["ROLE_ARN"], "RoleSessionName": "python-operator"}
    if "EXTERNAL_ID" in os.environ:
        assume["ExternalId"] = os.environ["EXTERNAL_ID"]
    session = sts.assume_role(**assume)["Credentials"]
    return boto3.client(
        "ec2",
        region_name=region,
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )


def kubectl(*arguments):
    subprocess.run([os.environ["KUBECTL"], *arguments], check=True)


def create_group(client, name, vpc_id):
    group = client.create_security_group(GroupName=f"{name}-generic", Description="vpc endpoint", VpcId=vpc_id)
    ranges = [{"CidrIp": block} for block in PRIVATE_NETWORKS]
    rules = [{"IpProtocol": "-1", "IpRanges": ranges}]
    client.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)
    return group["GroupId"]


@kopf.on.create(*PLURAL)
def create_fn(spec, name, namespace, **_):
    client = ec2(spec["region"])
    status = {"svc_k8s_obj": "created", "vpce_aws_endpoint_status": "created"}
    if spec["security_group_type"] == "generated":
        groups = [create_group(client, name, spec["vpc_id"])]
        status["vpce_security_group"] = groups[0]
    else:
        groups = spec["security_group_ids"]
    endpoint = client.create_vpc_endpoint(
        VpcEndpointType="Interface",
        VpcId=spec["vpc_id"],
        ServiceName=spec["vpc_endpoint_service_id"],
        SubnetIds=spec["subnet_ids"],
        SecurityGroupIds=groups,
        PrivateDnsEnabled=False,
    )["VpcEndpoint"]
    endpoint_id = endpoint["VpcEndpointId"]
    client.create_tags(Resources=[endpoint_id], Tags=[{"Key": "Name", "Value": f"{name}-{namespace}"}])
    while endpoint["State"].lower() != "available" or not endpoint["DnsEntries"]:
        endpoint = client.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"][0]
    host = min((entry["DnsName"] for entry in endpoint["DnsEntries"]), key=len)
    kubectl("create", "service", "externalname", name, "--namespace", namespace, "--external-name", host)
    status["vpce_aws_resource_id"] = endpoint_id
    status["vpce_aws_vpce_dns"] = host
    return status


@kopf.on.delete(*PLURAL)
def delete_fn(spec, status, name, namespace, **_):
    created = status["create_fn"]
    client = ec2(spec["region"])
    client.delete_vpc_endpoints(VpcEndpointIds=[created["vpce_aws_resource_id"]])
    kubectl("delete", "service", name, "--namespace", namespace)
