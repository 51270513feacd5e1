"""Where moto differs from AWS, as far as this suite asks, and what AWS's documentation says, in our words.

Each is a strict xfail against moto: one that is gone fails the suite. Run, this prints the table of docs/conformance.md.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Difference:
    """Tests that moto fails: a test's name stands for all its parameters, unless it has some in brackets."""

    moto: str
    aws: str
    page: str
    tests: tuple


API = "API reference, {}".format
CODES = "Error codes for the Amazon EC2 API"
STATES = "AWS PrivateLink concepts"
CONSUMER = "Access an AWS service using an interface VPC endpoint"
GATEWAYS = "Gateway endpoints"
TAGGING = "Tag your Amazon EC2 resources"

DRY_ANYHOW = ("describe_vpc_endpoints", "describe_security_groups", "create_vpc_endpoint", "modify_vpc_endpoint")
DRY_ANYHOW += ("delete_vpc_endpoints", "update_security_group_rule_descriptions_ingress")
DRY_ANYHOW += ("update_security_group_rule_descriptions_egress",)

DIFFERENCES = [
    Difference(
        "DryRun is ignored by the calls about endpoints, by describes and by new descriptions: they are carried out",
        "A dry run changes nothing; it is answered with DryRunOperation where it would be allowed",
        API("DescribeVpcEndpoints (DryRun, as in every action)"),
        tuple(f"test_what_is_allowed_would_have_succeeded[{call}]" for call in DRY_ANYHOW),
    ),
    Difference(
        "Every session may do everything",
        "Without the permission a dry run is answered with UnauthorizedOperation",
        API("DescribeVpcEndpoints (DryRun, as in every action)"),
        ("test_what_is_denied_says_so",),
    ),
    Difference(
        "The external id is not checked",
        "A trust policy's condition on sts:ExternalId has to be met, or the role is not assumed",
        "Access to AWS accounts owned by third parties",
        ("test_a_wrong_external_id_is_refused", "test_no_external_id_is_refused"),
    ),
    Difference(
        "A role that does not exist can be assumed",
        "The role's trust policy has to name the caller, so that a role must be there",
        "STS API reference, AssumeRole",
        ("test_a_role_that_is_not_there_is_refused",),
    ),
    Difference(
        "A session may be of any length",
        "DurationSeconds goes from 900 to the role's maximum, which is 12 hours at most",
        "STS API reference, AssumeRole",
        ("test_a_session_of_more_than_twelve_hours_is_refused",),
    ),
    Difference(
        "Any key will do",
        "Credentials that cannot be validated: AuthFailure in EC2, InvalidClientTokenId in STS",
        f"{CODES}; STS API reference, Common Errors",
        ("test_ec2_refuses_a_key_that_nobody_has", "test_sts_refuses_a_key_that_nobody_has"),
    ),
    Difference(
        "An endpoint is available from the start, and while its subnets change",
        "It begins as pending where requests are accepted automatically, and is pending again while it is modified",
        STATES,
        ("test_a_new_endpoint_is_pending", "test_an_endpoint_is_pending_while_its_subnets_change"),
    ),
    Difference(
        "No endpoint waits for acceptance",
        "It begins as pendingAcceptance where the service's owner accepts requests by hand",
        STATES,
        ("test_endpoints_of_a_service_may_wait_for_its_owner",),
    ),
    Difference(
        "ClientToken is ignored, not repeated in the answer, and may be of any length",
        "A retry with the same token (64 ASCII characters at most) is answered with what the first made; with other"
        " parameters it is refused with IdempotentParameterMismatch",
        "Ensuring idempotency in Amazon EC2 API requests",
        (
            "test_a_client_token_that_comes_again_makes_nothing_new",
            "test_the_answer_repeats_the_client_token",
            "test_a_client_token_with_other_parameters_is_refused",
            "test_a_client_token_has_64_characters_at_most",
        ),
    ),
    Difference(
        "CreateVpcEndpoint does not say whether a service manages the endpoint",
        "A VpcEndpoint has requesterManaged and ownerId",
        API("VpcEndpoint"),
        ("test_an_endpoint_says_who_owns_and_who_manages_it",),
    ),
    Difference(
        "An endpoint has one DNS name, and interfaces for its first subnets only",
        "It has a regional name and one for each zone; each subnet gets an interface",
        CONSUMER,
        ("test_an_available_endpoint_has_names_and_interfaces", "test_a_subnet_is_added_and_removed"),
    ),
    Difference(
        "An endpoint without groups has none",
        "Where no group is given, the VPC's default group is used",
        API("CreateVpcEndpoint (SecurityGroupId.N)"),
        ("test_the_default_group_is_used_where_none_is_named",),
    ),
    Difference(
        "Any service name will do, with either type",
        "A service that is not there: InvalidServiceName; a type that the service has not: InvalidParameter",
        CODES,
        ("test_an_unknown_service_is_refused", "test_the_type_must_be_the_services"),
    ),
    Difference(
        "An endpoint takes groups, and when it is modified also subnets, that are not there",
        "Ids that are not there are refused with a NotFound code of their kind",
        CODES,
        ("test_an_endpoint_is_made_of_what_is_there[group]", "test_only_what_is_there_can_be_added"),
    ),
    Difference(
        "Two subnets of one zone are taken",
        "One subnet is chosen for each zone; a second one is refused with DuplicateSubnetsInSameZone",
        f"{CONSUMER}; {CODES}",
        ("test_an_endpoint_has_one_subnet_a_zone", "test_a_subnet_of_a_zone_that_has_one_cannot_be_added"),
    ),
    Difference(
        "The filter vpc-endpoint-id is answered with a 500",
        "It is among the filters of DescribeVpcEndpoints",
        API("DescribeVpcEndpoints (Filter.N)"),
        ("test_the_endpoint_id_filter_leaves_out_what_is_not_there",),
    ),
    Difference(
        "A filter that is not known is answered with a 500",
        "A value that is not valid for a parameter is refused with InvalidParameterValue",
        CODES,
        ("test_an_unknown_filter_of_endpoints_is_refused", "test_an_unknown_filter_of_groups_is_refused"),
    ),
    Difference(
        "Describes of endpoints and groups have one page, whatever was asked for",
        "MaxResults bounds a page; nextToken asks for the next",
        API("DescribeVpcEndpoints, DescribeSecurityGroups (MaxResults)"),
        ("test_pages_of_endpoints_add_up", "test_pages_of_groups_add_up"),
    ),
    Difference(
        "DeleteVpcEndpoints finds every id",
        "The answer lists what was not deleted, with the reason: InvalidVpcEndpoint.NotFound for what is not there",
        f"{API('DeleteVpcEndpoints (unsuccessful)')}; {CODES}",
        (
            "test_what_cannot_be_deleted_comes_back_with_its_reason",
            "test_a_missing_id_does_not_keep_the_others_of_a_batch",
        ),
    ),
    Difference(
        "A deleted endpoint stays for ever and can be modified",
        "An endpoint that is not there is refused with InvalidVpcEndpointId.NotFound",
        CODES,
        ("test_a_deleted_endpoint_cannot_be_modified",),
    ),
    Difference(
        "A group that endpoints or rules use can be deleted",
        "While an interface has it or another group's rule names it: DependencyViolation",
        API("DeleteSecurityGroup"),
        (
            "test_a_group_that_an_endpoint_uses_cannot_be_deleted",
            "test_a_deleted_endpoint_frees_its_group_last",
            "test_a_group_that_another_groups_rule_names_cannot_be_deleted",
        ),
    ),
    Difference(
        "Names and descriptions of groups may be anything, and names that differ in case alone are two",
        "At most 255 characters of a documented set, no name that begins with sg-, no two that differ in case alone",
        API("CreateSecurityGroup (GroupName, GroupDescription)"),
        (
            "test_names_are_not_told_apart_by_case",
            "test_a_name_may_not_look_like_an_id",
            "test_a_name_of_256_characters_is_refused",
            "test_a_description_of_other_characters_is_refused",
        ),
    ),
    Difference(
        "A group is made in a VPC that is not there",
        "A VPC that is not there: InvalidVpcID.NotFound",
        CODES,
        ("test_a_group_needs_a_vpc_that_is_there",),
    ),
    Difference(
        "Blocks stay as they were given, so that one rule can be made twice",
        "Blocks are brought into canonical form: bits of hosts are dropped, and another spelling is the same rule",
        API("IpRange, Ipv6Range"),
        (
            "test_a_block_loses_the_bits_of_its_hosts",
            "test_an_ipv6_block_loses_the_bits_of_its_hosts",
            "test_a_rule_is_the_same_however_it_is_spelled",
        ),
    ),
    Difference(
        "A description stays when none is given; of a rule that is not there nothing is said",
        "Giving none removes it; a rule that is not there is InvalidPermission.NotFound",
        f"{API('UpdateSecurityGroupRuleDescriptionsIngress')}; {CODES}",
        ("test_a_description_is_taken_away_by_giving_none", "test_what_is_not_there_cannot_be_described_anew"),
    ),
    Difference(
        "A rule that names a group is found by its description",
        "A rule is given by protocol, ports and source; the description is not among them",
        API("RevokeSecurityGroupIngress"),
        ("test_a_rule_that_names_a_group_is_revoked_without_its_description",),
    ),
    Difference(
        "In a VPC without IPv6 blocks, IPv6 ranges of an egress rule are ignored when it is revoked",
        "A rule that is not there is InvalidPermission.NotFound, whatever the VPC",
        f"{API('RevokeSecurityGroupEgress')}; {CODES}",
        ("test_where_the_vpc_has_no_ipv6_there_is_no_such_rule_to_revoke",),
    ),
    Difference(
        "tcp without ports is answered with a 500",
        "tcp and udp need a range of ports; what is not valid is refused with InvalidParameterValue",
        f"{API('IpPermission')}; {CODES}",
        ("test_tcp_takes_ports",),
    ),
    Difference(
        "Private DNS has no effect on names, cannot be changed, and has no conditions",
        "It takes both DNS attributes of the VPC, one endpoint for a name in a VPC, and an accepted connection; then the"
        " service's own name leads to the endpoint",
        f"{CONSUMER}; Manage DNS names for VPC endpoint services",
        (
            "test_private_dns_gives_the_services_own_name",
            "test_a_name_leads_to_one_endpoint_of_a_vpc",
            "test_private_dns_is_turned_off_and_on",
            "test_private_dns_takes_both_dns_attributes_of_the_vpc",
            "test_private_dns_waits_for_acceptance",
        ),
    ),
    Difference(
        "ModifyVpcEndpoint writes no routes, and removes tables that are not there",
        "Each route table of a gateway endpoint has a route to it; ids that are not there are refused with a NotFound"
        " code of their kind",
        f"{GATEWAYS}; {CODES}",
        ("test_a_table_is_added_and_removed", "test_only_a_table_that_is_there_can_be_removed"),
    ),
    Difference(
        "A route table takes any number of gateway endpoints for one service",
        "A table has one route for a destination; another is refused with RouteAlreadyExists",
        f"{GATEWAYS}; {CODES}",
        ("test_a_table_has_one_route_for_a_service",),
    ),
    Difference(
        "Every type but Interface is made as a gateway endpoint, and takes the fields of all types",
        "CreateVpcEndpoint says for each field which types have it; what does not go together is refused with"
        " InvalidParameter",
        f"{API('CreateVpcEndpoint')}; {CODES}",
        (
            "test_a_gateway_has_nothing_of_an_interface_endpoint",
            "test_an_interface_endpoint_has_no_route_tables",
            "test_a_load_balancers_endpoint_has_one_subnet_and_no_names",
            "test_a_load_balancers_endpoint_has_nothing_else",
            "test_a_resource_is_no_service",
        ),
    ),
    Difference(
        "Resource configurations and service networks are not known",
        "Endpoints of the types Resource and ServiceNetwork name one, and DescribeVpcEndpointAssociations says what"
        " they lead to",
        f"{API('VpcEndpoint')}; {API('DescribeVpcEndpointAssociations')}",
        (
            "test_a_resource_endpoint_leads_to_its_resource",
            "test_a_service_networks_names_are_its_associations",
            "test_private_dns_of_a_resource_is_chosen_once",
        ),
    ),
    Difference(
        "IpAddressType, DnsOptions, SubnetConfigurations and ServiceRegion are ignored",
        "They decide on addresses, records and the region of the service; what does not go together is refused",
        f"{API('CreateVpcEndpoint, ModifyVpcEndpoint, SubnetConfiguration')}; {CONSUMER}",
        (
            "test_ipv4_becomes_dualstack_but_never_ipv6",
            "test_s3_leaves_the_vpcs_traffic_to_a_gateway_that_has_to_be_there",
            "test_an_endpoint_says_its_types",
            "test_subnets_have_to_support_the_type",
            "test_records_go_with_addresses",
            "test_an_address_is_chosen",
            "test_an_address_is_one_of_the_subnets_own",
            "test_a_service_of_another_region_is_not_of_this_one",
        ),
    ),
    Difference(
        "Any text is a policy, for any service, and ResetPolicy is ignored",
        "A policy document has to be a valid JSON policy (InvalidPolicyDocument) and the service has to take one;"
        " ResetPolicy brings the default back",
        f"{API('ModifyVpcEndpoint (PolicyDocument, ResetPolicy)')}; {CODES}",
        (
            "test_a_policy_is_replaced_and_reset",
            "test_what_is_no_policy_is_refused",
            "test_a_customers_service_takes_no_policy",
        ),
    ),
    Difference(
        "Services do not say which types of addresses they take",
        "A ServiceDetail has supportedIpAddressTypeSet",
        API("ServiceDetail"),
        ("test_a_service_says_what_it_takes",),
    ),
    Difference(
        "An endpoint service is available from the start",
        "It begins as Pending and becomes Available",
        STATES,
        ("test_a_new_service_is_pending",),
    ),
    Difference(
        "SupportedIpAddressTypes and ClientToken of an endpoint service are ignored, and a load balancer may have any"
        " number of services",
        "A service says which types of addresses it takes; a retry with the same token makes nothing new; a load"
        " balancer is associated with one service",
        f"{API('ServiceConfiguration')}; Ensuring idempotency in Amazon EC2 API requests; Create an endpoint service",
        (
            "test_a_service_says_which_addresses_it_takes",
            "test_a_token_of_a_service_that_comes_again_makes_nothing_new",
            "test_a_load_balancer_is_of_one_service",
        ),
    ),
    Difference(
        "Filters of endpoint services are ignored",
        "They leave out the services that do not have the value",
        API("DescribeVpcEndpointServiceConfigurations (Filter.N)"),
        ("test_services_are_found_by_tag",),
    ),
    Difference(
        "A permission has no type, may be for anything, and is not needed",
        "An allowed principal has a type and is an ARN of IAM (InvalidPrincipal); without one, no account finds the"
        " service",
        f"{API('AllowedPrincipal')}; Configure an endpoint service",
        (
            "test_a_principal_says_its_type",
            "test_a_principal_is_an_arn_of_iam",
            "test_a_service_without_principals_is_not_found",
        ),
    ),
    Difference(
        "Endpoint services of accounts take endpoint policies, and do not say whether their private names are verified",
        "They support the full-access policy only; a ServiceDetail has privateDnsNameVerificationState",
        API("ServiceDetail"),
        ("test_an_allowed_principal_finds_the_service",),
    ),
    Difference(
        "A private DNS name is verified from the start, cannot be taken away, and its verification not be started",
        "It begins as pendingVerification, until the TXT record that it says is found",
        "Manage DNS names for VPC endpoint services; API reference, StartVpcEndpointServicePrivateDnsVerification",
        (
            "test_a_private_name_waits_for_its_record",
            "test_a_verification_is_started",
            "test_a_private_name_is_taken_away",
        ),
    ),
    Difference(
        "No connection is described, accepted or rejected, or keeps its service from being deleted",
        "DescribeVpcEndpointConnections shows the endpoints that wait for their acceptance and those that have it; they"
        " keep the service (ExistingVpcEndpointConnections)",
        "Configure an endpoint service; Delete an endpoint service",
        ("test_a_connection_is_accepted_keeps_the_service_and_is_rejected",),
    ),
    Difference(
        "A Network Load Balancer's name has the form of an Application Load Balancer's",
        "It is NAME-ID.elb.REGION.amazonaws.com",
        "Network Load Balancers (User Guide), DNS name",
        ("test_the_name_of_a_load_balancer_says_its_region",),
    ),
    Difference(
        "Load balancers that are not there are left out where one is, and any number is taken",
        "LoadBalancerNotFound; up to 20 in a call",
        "Elastic Load Balancing API reference, DescribeLoadBalancers, DescribeTags",
        ("test_one_missing_name_fails_the_whole_call", "test_the_tags_of_twenty_are_described_and_no_more"),
    ),
    Difference(
        "A load balancer that an endpoint service has can be deleted",
        "It is refused with ResourceInUse",
        "Elastic Load Balancing API reference, DeleteLoadBalancer",
        ("test_a_load_balancer_that_a_service_has_is_kept",),
    ),
    Difference(
        "Keys may begin with aws:",
        "The prefix is reserved",
        TAGGING,
        ("test_keys_of_aws_are_reserved", "test_something_new_cannot_have_reserved_keys"),
    ),
    Difference(
        "Keys and values may be of any length",
        "A key has 128 characters at most, a value 256",
        TAGGING,
        ("test_a_key_has_128_characters_at_most", "test_a_value_has_256_characters_at_most"),
    ),
    Difference(
        "Tags for another type of resource are ignored",
        "A tag specification is for the type of what is made",
        API("CreateSecurityGroup (TagSpecification.N)"),
        ("test_tags_of_something_new_are_for_what_is_made",),
    ),
    Difference(
        "Endpoints that are not there are tagged, and groups untagged",
        "Ids that are not there are refused with a NotFound code of their kind",
        CODES,
        (
            "test_only_what_is_there_has_tags[endpoint-create_tags]",
            "test_only_what_is_there_has_tags[endpoint-delete_tags]",
            "test_only_what_is_there_has_tags[group-delete_tags]",
        ),
    ),
]

OF_TEST = {test: difference for difference in DIFFERENCES for test in difference.tests}


def table():
    """The differences in Markdown."""
    rows = ["| moto | AWS | the page of AWS's documentation that decides | tests |", "|---|---|---|---|"]
    for each in DIFFERENCES:
        tests = "<br>".join(f"`{test.removeprefix('test_')}`" for test in each.tests)
        rows.append(f"| {each.moto} | {each.aws} | {each.page} | {tests} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
