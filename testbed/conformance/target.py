"""The AWS that the assertions are made against: its clients, its network, how long it may take, and what was made in it."""

import dataclasses
import time
import uuid
import xml.etree.ElementTree

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# Everything that a run makes carries this tag, its value being the run's own.
TAG = "vpce-operator-conformance"

SESSION = "conformance"

# Well formed, and of nobody.
MISSING_ENDPOINT = "vpce-0123456789abcdef0"
MISSING_GROUP = "sg-0123456789abcdef0"
MISSING_SERVICE = "vpce-svc-0123456789abcdef0"
MISSING_SUBNET = "subnet-0123456789abcdef0"
MISSING_VPC = "vpc-0123456789abcdef0"


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a target may take, and how often a call may be sent."""

    seconds: float
    interval: float
    attempts: int


PATIENCE = {
    # moto is never late, never throttles, and answers what it cannot do with a 500.
    "moto": Patience(seconds=0, interval=0.1, attempts=1),
    "simulator": Patience(seconds=60, interval=0.2, attempts=10),
    "aws": Patience(seconds=900, interval=5, attempts=10),
}


def refused(codes, call, **arguments):
    """Asserts that a call fails with this error code (or one of these), and returns the error."""
    codes = [codes] if isinstance(codes, str) else codes
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] in codes, error
        assert error.response["ResponseMetadata"]["RequestId"], "an error carries the request's id"
        return error
    raise AssertionError(f"not refused; {' or '.join(codes)} expected")


def filters(**values):
    """EC2's filters from `vpc_id="..."` or `tag="key=value"`; a list means any of its values."""
    wanted = []
    for name, value in values.items():
        name = name.replace("_", "-")
        many = value if isinstance(value, list) else [value]
        if name == "tag":
            key, _, value = value.partition("=")
            name, many = f"tag:{key}", [value]
        wanted.append({"Name": name, "Values": many})
    return wanted


def tags_of(resource):
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def described(ec2, endpoint_id):
    """One endpoint, or None: asked for by the tag that the run gives it, since moto knows no filter by id."""
    pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=[{"Name": "tag-key", "Values": [TAG]}])
    found = [each for page in pages for each in page["VpcEndpoints"] if each["VpcEndpointId"] == endpoint_id]
    return found[0] if found else None


class Target:
    """One of the three, with a VPC to work in."""

    def __init__(self, options):
        self.name = options.target
        self.region = options.region
        self.role_arn = options.role_arn
        self.external_id = options.external_id
        self.denied_role_arn = options.denied_role_arn
        self.acceptance_service = options.acceptance_service
        self.gateway_load_balancer_service = options.gateway_load_balancer_service
        self.network_load_balancer = options.network_load_balancer
        self.resource_configuration = options.resource_configuration
        self.service_network = options.service_network
        self.endpoint_url = options.endpoint_url
        self.patience = PATIENCE[self.name]
        self.service = options.service or f"com.amazonaws.{self.region}.sqs"
        self.gateway_service = f"com.amazonaws.{self.region}.s3"
        self.run = uuid.uuid4().hex[:12]
        self.credentials = self.assume() if self.role_arn else {}
        self.ec2 = self.client("ec2", **self.credentials)
        self.elb = self.client("elbv2", **self.credentials)
        self.vpc_id = options.vpc
        self.endpoints, self.groups, self.tables, self.services = [], [], [], []
        self.service_token = {"ClientToken": f"service-{self.run}", "PrivateDnsName": "conformance.example.com"}

    # Whom we speak to.

    def client(self, service, **credentials):
        """A client with these credentials, or with those that boto3 finds."""
        config = Config(retries={"mode": "standard", "total_max_attempts": self.patience.attempts})
        return boto3.client(
            service, region_name=self.region, endpoint_url=self.endpoint_url, config=config, **credentials
        )

    def assume(self, role_arn=None, **more):
        """The credentials of a session, as arguments of a client."""
        if self.external_id:
            more.setdefault("ExternalId", self.external_id)
        answer = self.client("sts").assume_role(
            RoleArn=role_arn or self.role_arn, RoleSessionName=SESSION, DurationSeconds=3600, **more
        )["Credentials"]
        return {
            "aws_access_key_id": answer["AccessKeyId"],
            "aws_secret_access_key": answer["SecretAccessKey"],
            "aws_session_token": answer["SessionToken"],
        }

    def account(self):
        """The account that the suite works in."""
        return self.client("sts", **self.credentials).get_caller_identity()["Account"]

    def on_the_wire(self, call, **arguments):
        """What a call is answered with before boto3 reads it: XML, its namespace taken off."""
        bodies = []

        def remember(response_dict, **_):
            bodies.append(response_dict["body"])

        events = self.ec2.meta.events
        events.register("before-parse.ec2", remember)
        try:
            call(**arguments)
        finally:
            events.unregister("before-parse.ec2", remember)
        document = xml.etree.ElementTree.fromstring(bodies[-1])
        for element in document.iter():
            element.tag = element.tag.rpartition("}")[2]
        return document

    # Waiting.

    def eventually(self, what, probe):
        """Waits until the probe says something true, and returns that."""
        deadline = time.monotonic() + self.patience.seconds
        while True:
            found = probe()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {self.patience.seconds} s: {what}"
            time.sleep(self.patience.interval)

    def in_state(self, endpoint_id, state):
        """Waits until the endpoint is in the state."""

        def probe():
            endpoint = described(self.ec2, endpoint_id)
            return endpoint if endpoint and endpoint["State"].lower() == state else None

        return self.eventually(f"{endpoint_id} is {state}", probe)

    def is_gone(self, endpoint_id):
        """Waits until the endpoint is deleted: described so, or not at all."""

        def probe():
            endpoint = described(self.ec2, endpoint_id)
            return endpoint is None or endpoint["State"].lower() == "deleted"

        self.eventually(f"{endpoint_id} is deleted", probe)

    def service_in_state(self, service_id, state):
        """Waits until the endpoint service is in the state, or for Deleted is not described any more."""

        def probe():
            pages = self.ec2.get_paginator("describe_vpc_endpoint_service_configurations").paginate()
            services = [each for page in pages for each in page["ServiceConfigurations"]]
            states = {each["ServiceId"]: each["ServiceState"] for each in services}
            return states.get(service_id, "Deleted") == state

        self.eventually(f"{service_id} is {state}", probe)

    # Making things.

    def specification(self, kind, **tags):
        """The tags of something new, the run's own among them."""
        tags = {TAG: self.run, **tags}
        return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]

    def prepare_network(self):
        """A VPC with both DNS attributes and subnets in two zones; on AWS the one that the user named."""
        if self.name != "aws":
            self.vpc_id = self.make_vpc(dns=True)
            for at, zone in enumerate("aba"):
                self.ec2.create_subnet(
                    VpcId=self.vpc_id, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=self.region + zone
                )
        found = self.ec2.describe_subnets(Filters=filters(vpc_id=self.vpc_id))["Subnets"]
        by_zone = {}
        for subnet in sorted(found, key=lambda subnet: subnet["CidrBlock"]):
            by_zone.setdefault(subnet["AvailabilityZone"], []).append(subnet["SubnetId"])
        assert len(by_zone) >= 2, f"{self.vpc_id} has no subnets in two zones"
        self.subnets = [ids[0] for _, ids in sorted(by_zone.items())][:2]
        twins = [ids[:2] for _, ids in sorted(by_zone.items()) if len(ids) > 1]
        self.twins = twins[0] if twins else None

    def make_vpc(self, dns, ipv6=False):
        """Where that costs nothing and is nobody's: not on AWS."""
        assert self.name != "aws"
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=ipv6)["Vpc"]
        vpc_id = vpc["VpcId"]
        if dns:
            self.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
        return vpc_id

    def has_ipv6(self, vpc_id):
        """Whether the VPC has an IPv6 block."""
        [vpc] = self.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
        blocks = vpc.get("Ipv6CidrBlockAssociationSet", [])
        return any(block["Ipv6CidrBlockState"]["State"] == "associated" for block in blocks)

    def make_group(self, name=None, vpc_id=None, **tags):
        """A security group; its id."""
        made = self.ec2.create_security_group(
            GroupName=name or f"conformance-{uuid.uuid4().hex[:12]}",
            Description="conformance",
            VpcId=vpc_id or self.vpc_id,
            TagSpecifications=self.specification("security-group", **tags),
        )["GroupId"]
        self.groups.append(made)
        self.eventually("the group is seen", lambda: self.groups_by(group_id=made))
        return made

    def make_route_table(self):
        """A route table that no subnet uses; its id."""
        tags = self.specification("route-table")
        made = self.ec2.create_route_table(VpcId=self.vpc_id, TagSpecifications=tags)["RouteTable"]["RouteTableId"]
        self.tables.append(made)
        return made

    def groups_by(self, **values):
        return self.ec2.describe_security_groups(Filters=filters(**values))["SecurityGroups"]

    def group(self, group_id):
        [found] = self.groups_by(group_id=group_id)
        return found

    def ask_for_endpoint(self, group_id, subnets=None, **more):
        """CreateVpcEndpoint for an interface endpoint, as the operator calls it; the whole answer."""
        tags = more.pop("tags", {})
        arguments = {
            "VpcEndpointType": "Interface",
            "VpcId": self.vpc_id,
            "ServiceName": self.service,
            "SubnetIds": self.subnets[:1] if subnets is None else subnets,
            "SecurityGroupIds": [group_id],
            "PrivateDnsEnabled": False,
            "TagSpecifications": self.specification("vpc-endpoint", **tags),
            **more,
        }
        return self.remembered(self.ec2.create_vpc_endpoint(**arguments))

    def ask_for_gateway(self, **more):
        """CreateVpcEndpoint for a gateway endpoint, which is free and leads nowhere without a route table."""
        tags = more.pop("tags", {})
        arguments = {
            "VpcEndpointType": "Gateway",
            "VpcId": self.vpc_id,
            "ServiceName": self.gateway_service,
            "TagSpecifications": self.specification("vpc-endpoint", **tags),
            **more,
        }
        return self.remembered(self.ec2.create_vpc_endpoint(**arguments))

    def ask_for_type(self, kind, **more):
        """CreateVpcEndpoint for an endpoint of another type, in the first subnet."""
        arguments = {
            "VpcEndpointType": kind,
            "VpcId": self.vpc_id,
            "SubnetIds": self.subnets[:1],
            "TagSpecifications": self.specification("vpc-endpoint"),
            **more,
        }
        return self.remembered(self.ec2.create_vpc_endpoint(**arguments))

    def prepare_load_balancer(self):
        """Whether there is a Network Load Balancer for an endpoint service; moto gets one."""
        if self.name == "moto" and not self.network_load_balancer:
            made = self.elb.create_load_balancer(Name="conformance", Subnets=self.subnets, Type="network")
            self.network_load_balancer = made["LoadBalancers"][0]["LoadBalancerArn"]
        return self.network_load_balancer is not None

    def ask_for_service(self, **more):
        """CreateVpcEndpointServiceConfiguration behind the load balancer; the whole answer."""
        arguments = {
            "NetworkLoadBalancerArns": [self.network_load_balancer],
            "AcceptanceRequired": True,
            "TagSpecifications": self.specification("vpc-endpoint-service"),
            **more,
        }
        answer = self.ec2.create_vpc_endpoint_service_configuration(**arguments)
        self.services.append(answer["ServiceConfiguration"]["ServiceId"])
        return answer

    def hosted_name(self, service_id):
        return f"com.amazonaws.vpce.{self.region}.{service_id}"

    def remembered(self, answer):
        self.endpoints.append(answer["VpcEndpoint"]["VpcEndpointId"])
        return answer

    # Cleaning up.

    def sweep(self, run=None):
        """Deletes what this run made, or any run left behind: endpoints, then the services, groups and tables that they
        used."""
        if self.name == "moto":
            # It cannot delete a gateway whose route is not there, and forgets all when it ends.
            return
        by_tag = filters(tag=f"{TAG}={run}") if run else [{"Name": "tag-key", "Values": [TAG]}]
        pages = self.ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=by_tag)
        found = {each["VpcEndpointId"] for page in pages for each in page["VpcEndpoints"] if is_there(each)}
        # What was made a moment ago a describe may not show yet.
        endpoints = sorted(found | set(self.endpoints))
        for at in range(0, len(endpoints), 25):
            self.ec2.delete_vpc_endpoints(VpcEndpointIds=endpoints[at : at + 25])
        for endpoint_id in endpoints:
            self.is_gone(endpoint_id)
        pages = self.ec2.get_paginator("describe_vpc_endpoint_service_configurations").paginate(Filters=by_tag)
        found = {each["ServiceId"] for page in pages for each in page["ServiceConfigurations"]}
        services = sorted(found | set(self.services))
        if services:
            self.ec2.delete_vpc_endpoint_service_configurations(ServiceIds=services)
        for service_id in services:
            self.service_in_state(service_id, "Deleted")
        pages = self.ec2.get_paginator("describe_route_tables").paginate(Filters=by_tag)
        found = {each["RouteTableId"] for page in pages for each in page["RouteTables"]}
        for table in found | set(self.tables):
            self.ec2.delete_route_table(RouteTableId=table)
        pages = self.ec2.get_paginator("describe_security_groups").paginate(Filters=by_tag)
        found = {each["GroupId"] for page in pages for each in page["SecurityGroups"]}
        groups = found | set(self.groups)
        # Rules may name each other's groups, and interfaces outlive their endpoints: what is
        # refused is tried again.
        self.eventually("the groups are deleted", lambda: not self.left_of(groups))

    def left_of(self, groups):
        """Deletes these groups; those that could not be."""
        left = set()
        for group_id in groups:
            try:
                self.ec2.delete_security_group(GroupId=group_id)
            except ClientError as error:
                if error.response["Error"]["Code"] == "InvalidGroup.NotFound":
                    continue
                left.add(group_id)
        return left


def is_there(endpoint):
    return endpoint["State"].lower() not in ("deleting", "deleted")
