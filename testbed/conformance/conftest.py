"""How the suite is told what to speak to, and what every test may use."""

import os

import moto_differences
import pytest
from target import Target

AWS_SWITCH = "VPCE_CONFORMANCE_AWS"


def pytest_addoption(parser):
    group = parser.getgroup("conformance")
    group.addoption("--target", choices=["simulator", "moto", "aws"], required=False)
    group.addoption("--endpoint-url", help="where the simulator or moto listens")
    group.addoption("--region", default="us-west-2")
    group.addoption("--vpc", help="AWS only: the VPC to work in, with subnets in two zones")
    group.addoption("--role-arn", help="a role to assume; without it, boto3's own credentials are used")
    group.addoption("--external-id", help="what the role's trust policy asks for")
    group.addoption("--denied-role-arn", help="a role that may do nothing in EC2")
    group.addoption("--service", help="an interface service; default: SQS's of the region")
    group.addoption("--acceptance-service", help="an interface service whose owner accepts endpoints by hand")
    group.addoption("--gateway-load-balancer-service", help="a service behind a Gateway Load Balancer")
    group.addoption("--network-load-balancer", help="the ARN of one that no endpoint service has; moto gets one")
    group.addoption("--resource-configuration", help="the ARN of a resource configuration")
    group.addoption("--service-network", help="the ARN of a service network")
    group.addoption("--sweep", action="store_true", help="run no test: delete what earlier runs left behind")


def pytest_configure(config):
    options = config.option
    if options.target is None:
        raise pytest.UsageError("--target says what to speak to: simulator, moto or aws")
    if options.target == "aws":
        if os.environ.get(AWS_SWITCH) != "1":
            raise pytest.UsageError(f"real AWS costs money: set {AWS_SWITCH}=1 if you mean it (docs/conformance.md)")
        if options.endpoint_url or not options.vpc:
            raise pytest.UsageError("--target aws takes --region and --vpc, and no --endpoint-url")
    elif not options.endpoint_url or not options.role_arn:
        raise pytest.UsageError(f"--target {options.target} takes --endpoint-url and --role-arn")


def pytest_cmdline_main(config):
    if config.option.sweep:
        Target(config.option).sweep()
        return 0
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Marks where moto differs; strictly, so that a difference that is gone is noticed."""
    if config.option.target != "moto":
        return
    unused = set(moto_differences.OF_TEST)
    for item in items:
        name = item.name if item.name in moto_differences.OF_TEST else item.originalname
        if name in moto_differences.OF_TEST:
            reason = moto_differences.OF_TEST[name].moto
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
            unused.discard(name)
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    if everything and unused:
        raise pytest.UsageError(f"moto_differences.py names tests that are not there: {sorted(unused)}")


@pytest.fixture(scope="session")
def target(request):
    target = Target(request.config.option)
    try:
        target.prepare_network()
        yield target
    finally:
        target.sweep(target.run)


@pytest.fixture(scope="session")
def ec2(target):
    return target.ec2


@pytest.fixture(scope="session")
def elb(target):
    return target.elb


@pytest.fixture(scope="session")
def hosting(target):
    """What CreateVpcEndpointServiceConfiguration answered when the shared endpoint service was made."""
    if not target.prepare_load_balancer():
        pytest.skip("no --network-load-balancer")
    return target.ask_for_service(**target.service_token)


@pytest.fixture(scope="session")
def hosted(target, hosting):
    """The shared endpoint service's id, once it is available."""
    service_id = hosting["ServiceConfiguration"]["ServiceId"]
    target.service_in_state(service_id, "Available")
    return service_id


@pytest.fixture
def group(target):
    """A new group's id."""
    return target.make_group()


@pytest.fixture(scope="session")
def shared_group(target):
    """The group of the shared endpoint."""
    return target.make_group(purpose="shared")


@pytest.fixture(scope="session")
def creation(target, shared_group):
    """What CreateVpcEndpoint answered when the shared endpoint was made: what costs money is made once."""
    return target.ask_for_endpoint(shared_group, ClientToken=f"shared-{target.run}", tags={"colour": "red & <green>"})


@pytest.fixture(scope="session")
def endpoint(target, creation):
    """The shared endpoint as it is described once it is available."""
    return target.in_state(creation["VpcEndpoint"]["VpcEndpointId"], "available")


@pytest.fixture
def subnets_of_one_zone(target):
    if not target.twins:
        pytest.skip("the VPC has no two subnets in one zone")
    return target.twins
