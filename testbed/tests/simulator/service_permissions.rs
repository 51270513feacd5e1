//! Allowed principals of endpoint services, and who finds a service.

use vpce_testbed::aws::RoleSpec;

use crate::client::{Answer, Client};
use crate::hosting::{CONSUMER_ROLE, CONSUMER_ROOT, ENDPOINT_PENDING, Hosting, SERVICE_PENDING, hosting, name};
use crate::{REGION, SERVICE};

const MODIFY: &str = "ModifyVpcEndpointServicePermissions";
const DESCRIBE: &str = "DescribeVpcEndpointServicePermissions";

fn change(hosting: &Hosting, id: &str, change: &[(&str, &str)]) -> Answer {
    hosting.provider.ec2(MODIFY, &[&[("ServiceId", id)], change].concat())
}

fn described(hosting: &Hosting, id: &str, more: &[(&str, &str)]) -> Answer {
    hosting
        .provider
        .ec2(DESCRIBE, &[&[("ServiceId", id)], more].concat())
        .succeeded()
}

/// An available service without allowed principals.
fn closed() -> (Hosting, String) {
    let hosting = hosting();
    let id = hosting.create(&[]).succeeded().text("serviceId");
    hosting.simulator.advance(SERVICE_PENDING);
    (hosting, id)
}

#[test]
fn a_new_service_has_no_allowed_principals() {
    // PrivateLink Guide, "Configure an endpoint service", "Manage permissions".
    let (hosting, id) = closed();
    let tag = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "team"),
        ("Tag.1.Value", "blue"),
    ];
    hosting.provider.ec2("CreateTags", &tag).succeeded();
    assert!(described(&hosting, &id, &[]).texts("principal").is_empty());
    hosting.connect(&id, &[]).refused("InvalidServiceName");
    let find = [("ServiceName.1", name(&id))];
    let find = [(find[0].0, find[0].1.as_str())];
    hosting
        .consumer
        .ec2("DescribeVpcEndpointServices", &find)
        .refused("InvalidServiceName");

    let added = change(&hosting, &id, &[("AddAllowedPrincipals.1", CONSUMER_ROOT)]).succeeded();
    assert_eq!(added.text("return"), "true");
    assert_eq!(
        (added.text("principal"), added.text("principalType")),
        (CONSUMER_ROOT.into(), "Account".into())
    );
    let found = hosting.consumer.ec2("DescribeVpcEndpointServices", &find).succeeded();
    assert_eq!(found.text("owner"), "111111111111");
    assert_eq!(found.text("serviceId"), id);
    assert_eq!(found.text("acceptanceRequired"), "true");
    assert_eq!(found.text("vpcEndpointPolicySupported"), "false");
    assert!(found.texts("key").is_empty(), "its tags are the owner's");
    for part in ["usw2-az1", "usw2-az2", "us-west-2a", "us-west-2b"] {
        assert!(found.body.contains(part), "{part}: {}", found.body);
    }
    assert!(!found.body.contains("usw2-az3"), "{}", found.body);
    let all = hosting.consumer.ec2("DescribeVpcEndpointServices", &[]).succeeded();
    assert!(all.body.contains(&name(&id)) && all.body.contains(SERVICE));
    hosting.connect(&id, &[]).succeeded();
}

#[test]
fn zones_have_the_names_of_the_consumers_account() {
    let (hosting, id) = closed();
    hosting.allow(&id, "*");
    let ids = [
        ("us-west-2a", "usw2-az3"),
        ("us-west-2b", "usw2-az1"),
        ("us-west-2c", "usw2-az2"),
    ];
    hosting.simulator.set_zone_ids("222222222222", REGION, &ids);
    let found = hosting
        .consumer
        .ec2("DescribeVpcEndpointServices", &[("ServiceName.1", &name(&id))]);
    let found = found.succeeded();
    assert!(
        found.body.contains("us-west-2b") && found.body.contains("us-west-2c"),
        "{}",
        found.body
    );
    assert!(!found.body.contains("us-west-2a"), "{}", found.body);
    hosting
        .connect(&id, &[("SubnetId.1", "subnet-a")])
        .refused("InvalidParameter");
    hosting.connect(&id, &[("SubnetId.1", "subnet-c")]).succeeded();
}

#[test]
fn principals_are_all_accounts_roles_and_users() {
    // API reference, "AllowedPrincipal" (PrincipalType).
    let (hosting, id) = closed();
    let role = "arn:aws:iam::222222222222:role/consumer";
    let user = "arn:aws:iam::222222222222:user/ann";
    for (principal, kind) in [("*", "All"), (CONSUMER_ROOT, "Account"), (role, "Role"), (user, "User")] {
        hosting.allow(&id, principal);
        let filter = [("Filter.1.Name", "principal"), ("Filter.1.Value.1", principal)];
        let kinds = [("Filter.1.Name", "principal-type"), ("Filter.1.Value.1", kind)];
        let found = described(&hosting, &id, &kinds);
        assert_eq!(
            (found.text("principal"), found.text("principalType")),
            (principal.into(), kind.into())
        );
        assert!(found.text("servicePermissionId").starts_with("vpce-svc-perm-"));
        // A star would be a wildcard of the filter.
        if principal != "*" {
            assert_eq!(described(&hosting, &id, &filter).text("principalType"), kind);
        }
    }
    // terraform-provider-aws#16657 has code and words.
    for stranger in [
        "arn:aws:iam::222222222222:role/path/consumer",
        "arn:aws:sts::222222222222:assumed-role/consumer/session",
        "arn:aws-cn:iam::222222222222:root",
        "arn:aws:iam::2222:root",
        "222222222222",
        "**",
    ] {
        let refused = change(&hosting, &id, &[("AddAllowedPrincipals.1", stranger)]);
        refused.refused("InvalidPrincipal");
        assert_eq!(refused.text("Message"), format!("Invalid Principal: '{stranger}'"));
    }
    assert_eq!(hosting.view().principals.len(), 4);
}

#[test]
fn a_role_is_allowed_by_its_arn_without_the_path() {
    let (hosting, id) = closed();
    let role = "arn:aws:iam::333333333333:role/teams/blue/web";
    let other = "arn:aws:iam::333333333333:role/other";
    for arn in [role, other] {
        hosting.simulator.add_role(arn, RoleSpec::default()).unwrap();
    }
    hosting
        .simulator
        .add_vpc("333333333333", REGION, "vpc-1", "10.0.0.0/16")
        .unwrap();
    hosting.allow(&id, "arn:aws:iam::333333333333:role/web");
    let as_role = |arn| Client::base(&hosting.simulator, REGION).assume(arn);
    as_role(other)
        .create_endpoint(&name(&id), &[])
        .refused("InvalidServiceName");
    as_role(role).create_endpoint(&name(&id), &[]).succeeded();
    let (key_id, _) = hosting.simulator.add_administrator("333333333333");
    let user = Client::base(&hosting.simulator, REGION).with_key(&key_id, None);
    user.create_endpoint(&name(&id), &[]).refused("InvalidServiceName");
    hosting.allow(&id, "arn:aws:iam::333333333333:user/administrator");
    user.create_endpoint(&name(&id), &[]).succeeded();
}

#[test]
fn removing_a_principal_keeps_its_connections() {
    // PrivateLink Guide, "Configure an endpoint service", "Manage permissions".
    let (hosting, id) = closed();
    change(&hosting, &id, &[("AddAllowedPrincipals.1", CONSUMER_ROLE)]).succeeded();
    let endpoint = hosting.connected(&id);
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    let swap = [
        ("RemoveAllowedPrincipals.1", CONSUMER_ROLE),
        ("AddAllowedPrincipals.1", "arn:aws:iam::333333333333:root"),
    ];
    change(&hosting, &id, &swap).succeeded();
    assert_eq!(hosting.view().principals, ["arn:aws:iam::333333333333:root"]);
    assert_eq!(hosting.state(&endpoint), "available");
    hosting.connect(&id, &[]).refused("InvalidServiceName");
}

#[test]
fn repeated_changes_have_no_effect() {
    let (hosting, id) = closed();
    let add = [("AddAllowedPrincipals.1", CONSUMER_ROOT)];
    let first = change(&hosting, &id, &add).succeeded();
    let again = change(&hosting, &id, &add).succeeded();
    assert!(again.texts("principal").is_empty());
    let permission = described(&hosting, &id, &[]).texts("servicePermissionId");
    assert_eq!(permission, first.texts("servicePermissionId"));
    for _ in 0..2 {
        change(&hosting, &id, &[("RemoveAllowedPrincipals.1", CONSUMER_ROOT)]).succeeded();
        assert!(hosting.view().principals.is_empty());
    }
}

#[test]
fn permissions_come_in_pages() {
    let (hosting, id) = closed();
    let all: Vec<String> = (0..7).map(|n| format!("arn:aws:iam::22222222222{n}:root")).collect();
    all.iter().for_each(|principal| hosting.allow(&id, principal));
    let first = described(&hosting, &id, &[("MaxResults", "5")]);
    let second = described(
        &hosting,
        &id,
        &[("MaxResults", "5"), ("NextToken", &first.text("nextToken"))],
    );
    assert_eq!([first.texts("principal"), second.texts("principal")].concat(), all);
    let few = [("ServiceId", id.as_str()), ("MaxResults", "4")];
    hosting.provider.ec2(DESCRIBE, &few).refused("InvalidParameterValue");
}

#[test]
fn missing_services_and_unsupported_parameters_are_refused() {
    let (hosting, id) = closed();
    let missing = "vpce-svc-00000000000000000";
    let add = [("AddAllowedPrincipals.1", CONSUMER_ROOT)];
    change(&hosting, missing, &add).refused("InvalidVpcEndpointServiceId.NotFound");
    let describe = hosting.provider.ec2(DESCRIBE, &[("ServiceId", missing)]);
    describe.refused("InvalidVpcEndpointServiceId.NotFound");
    change(&hosting, &id, &[]).refused("MissingParameter");
    let transit = [add[0], ("PermissionType", "transit-gateway-attachment")];
    change(&hosting, &id, &transit).refused("InvalidParameterValue");
    change(&hosting, &id, &[add[0], ("DryRun", "true")]).refused("DryRunOperation");
    assert!(hosting.view().principals.is_empty());
    let filter = [
        ("ServiceId", id.as_str()),
        ("Filter.1.Name", "tag:a"),
        ("Filter.1.Value.1", "b"),
    ];
    hosting.provider.ec2(DESCRIBE, &filter).refused("InvalidParameterValue");
}
