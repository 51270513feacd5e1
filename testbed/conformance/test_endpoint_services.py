"""Endpoint services that an account hosts: configurations, permissions, connections, private DNS names."""

import pytest
from target import MISSING_ENDPOINT, MISSING_SERVICE, TAG, filters, refused, tags_of


@pytest.fixture
def account(target):
    """The principal that stands for the account."""
    return f"arn:aws:iam::{target.account()}:root"


@pytest.fixture
def permitted(ec2, hosted, account):
    """The same, an allowed principal of the service while the test runs."""
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=hosted, AddAllowedPrincipals=[account])
    yield account
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=hosted, RemoveAllowedPrincipals=[account])


def configuration(ec2, service_id):
    [found] = ec2.describe_vpc_endpoint_service_configurations(ServiceIds=[service_id])["ServiceConfigurations"]
    return found


def principals(ec2, service_id):
    return ec2.describe_vpc_endpoint_service_permissions(ServiceId=service_id)["AllowedPrincipals"]


def connections(ec2, service_id):
    found = ec2.describe_vpc_endpoint_connections(Filters=filters(service_id=service_id))["VpcEndpointConnections"]
    return {each["VpcEndpointId"]: each for each in found}


def test_a_new_service_is_pending(hosting):
    assert hosting["ServiceConfiguration"]["ServiceState"] == "Pending"


def test_a_service_says_what_it_is(target, ec2, hosted):
    found = configuration(ec2, hosted)
    assert found["ServiceType"] == [{"ServiceType": "Interface"}]
    assert found["ServiceName"] == f"com.amazonaws.vpce.{target.region}.{hosted}"
    assert found["NetworkLoadBalancerArns"] == [target.network_load_balancer]
    assert found["BaseEndpointDnsNames"] == [f"{hosted}.{target.region}.vpce.amazonaws.com"]
    assert found["AvailabilityZones"] and found["AcceptanceRequired"] is True
    assert found["ManagesVpcEndpoints"] is False
    assert tags_of(found)[TAG] == target.run


def test_a_service_says_which_addresses_it_takes(ec2, hosted):
    assert configuration(ec2, hosted)["SupportedIpAddressTypes"] == ["ipv4"]


def test_a_token_of_a_service_that_comes_again_makes_nothing_new(target, hosting):
    again = target.ask_for_service(**target.service_token)
    assert again["ServiceConfiguration"]["ServiceId"] == hosting["ServiceConfiguration"]["ServiceId"]
    assert again["ClientToken"] == target.service_token["ClientToken"]
    other = {**target.service_token, "AcceptanceRequired": False}
    refused("IdempotentParameterMismatch", target.ask_for_service, **other)


def test_a_load_balancer_is_of_one_service(target, hosted):
    refused("InvalidParameter", target.ask_for_service)


def test_a_service_needs_a_load_balancer(ec2):
    refused("InvalidParameter", ec2.create_vpc_endpoint_service_configuration, AcceptanceRequired=True)


def test_services_are_found_by_tag(target, ec2, hosted):
    def found(**values):
        answer = ec2.describe_vpc_endpoint_service_configurations(Filters=filters(**values))
        return [each["ServiceId"] for each in answer["ServiceConfigurations"]]

    assert found(tag=f"{TAG}={target.run}") == [hosted]
    assert found(tag=f"{TAG}=nobody") == []


@pytest.mark.parametrize("call", ["describe", "modify"])
def test_a_service_that_is_not_hosted_is_refused(ec2, call):
    if call == "describe":
        arguments = {"ServiceIds": [MISSING_SERVICE]}
        operation = ec2.describe_vpc_endpoint_service_configurations
    else:
        arguments = {"ServiceId": MISSING_SERVICE, "AcceptanceRequired": True}
        operation = ec2.modify_vpc_endpoint_service_configuration
    refused("InvalidVpcEndpointServiceId.NotFound", operation, **arguments)


def test_a_service_that_is_not_hosted_comes_back_from_its_deletion(ec2):
    [failed] = ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[MISSING_SERVICE])["Unsuccessful"]
    assert failed["ResourceId"] == MISSING_SERVICE
    assert failed["Error"]["Code"] == "InvalidVpcEndpointService.NotFound"


def test_acceptance_is_turned_off_and_on(ec2, hosted):
    for required in (False, True):
        changed = ec2.modify_vpc_endpoint_service_configuration(ServiceId=hosted, AcceptanceRequired=required)
        assert changed["Return"] is True
        assert configuration(ec2, hosted)["AcceptanceRequired"] is required


def test_a_principal_is_added_and_removed(ec2, hosted, account):
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=hosted, AddAllowedPrincipals=[account])
    assert [each["Principal"] for each in principals(ec2, hosted)] == [account]
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=hosted, RemoveAllowedPrincipals=[account])
    assert principals(ec2, hosted) == []


def test_a_principal_says_its_type(ec2, hosted, permitted):
    [found] = principals(ec2, hosted)
    assert found["PrincipalType"] == "Account" and found["ServiceId"] == hosted
    assert found["ServicePermissionId"]


def test_a_principal_is_an_arn_of_iam(target, ec2, hosted):
    session = f"arn:aws:sts::{target.account()}:assumed-role/conformance/session"
    call = ec2.modify_vpc_endpoint_service_permissions
    refused("InvalidPrincipal", call, ServiceId=hosted, AddAllowedPrincipals=[session])


def test_a_service_without_principals_is_not_found(target, hosted, shared_group):
    name = target.hosted_name(hosted)
    refused("InvalidServiceName", target.ask_for_endpoint, group_id=shared_group, ServiceName=name)


def test_an_allowed_principal_finds_the_service(target, ec2, hosted, permitted):
    name = target.hosted_name(hosted)
    [found] = ec2.describe_vpc_endpoint_services(ServiceNames=[name])["ServiceDetails"]
    assert found["ServiceId"] == hosted and found["Owner"] == target.account()
    assert found["AcceptanceRequired"] is True and found["VpcEndpointPolicySupported"] is False
    assert found["PrivateDnsNameVerificationState"] == "pendingVerification"


def test_a_private_name_waits_for_its_record(ec2, hosted):
    found = configuration(ec2, hosted)["PrivateDnsNameConfiguration"]
    assert (found["State"], found["Type"]) == ("pendingVerification", "TXT")
    assert found["Name"].startswith("_") and found["Value"].startswith("vpce:")


def test_a_connection_is_accepted_keeps_the_service_and_is_rejected(target, ec2, hosted, permitted, shared_group):
    name = target.hosted_name(hosted)
    made = target.ask_for_endpoint(shared_group, ServiceName=name)["VpcEndpoint"]
    endpoint_id = made["VpcEndpointId"]
    assert made["State"] == "pendingAcceptance"
    waiting = target.eventually("the connection is seen", lambda: connections(ec2, hosted).get(endpoint_id))
    assert waiting["VpcEndpointState"] == "pendingAcceptance"
    assert waiting["VpcEndpointOwner"] == target.account() and waiting["ServiceId"] == hosted

    accepted = ec2.accept_vpc_endpoint_connections(ServiceId=hosted, VpcEndpointIds=[endpoint_id, MISSING_ENDPOINT])
    assert [each["ResourceId"] for each in accepted["Unsuccessful"]] == [MISSING_ENDPOINT]
    target.in_state(endpoint_id, "available")
    [kept] = ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[hosted])["Unsuccessful"]
    assert (kept["ResourceId"], kept["Error"]["Code"]) == (hosted, "ExistingVpcEndpointConnections")
    assert ec2.reject_vpc_endpoint_connections(ServiceId=hosted, VpcEndpointIds=[endpoint_id])["Unsuccessful"] == []
    target.in_state(endpoint_id, "rejected")


def test_a_verification_is_started(ec2, hosted):
    assert ec2.start_vpc_endpoint_service_private_dns_verification(ServiceId=hosted)["ReturnValue"] is True


def test_a_private_name_is_taken_away(ec2, hosted):
    ec2.modify_vpc_endpoint_service_configuration(ServiceId=hosted, RemovePrivateDnsName=True)
    assert "PrivateDnsName" not in configuration(ec2, hosted)
