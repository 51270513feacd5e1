//! PermissionsVerified: what a role lacks is known before an app team meets it.

use serde_json::{Value, json};
use vpce_core::api::EndpointType;
use vpce_testbed::aws::{Call, RoleSpec};

use crate::tenant::Tenant;
use crate::world::{Condition, Setup, World, condition};

const PERMISSIONS: &str = "PermissionsVerified";

/// What the AWSAccount says of its role's permissions; the status is `True`, `False` or `Unknown`.
fn permissions(tenant: &Tenant<'_>) -> Option<(String, Condition)> {
    let account = tenant.world.aws_account(&tenant.account)?;
    let all = account["status"]["conditions"].as_array()?;
    let status = all.iter().find(|found| found["type"] == PERMISSIONS)?["status"].clone();
    Some((status.as_str()?.to_owned(), condition(&account, PERMISSIONS)?))
}

#[track_caller]
fn says(tenant: &Tenant<'_>, status: &str) -> String {
    tenant.world.eventually(&format!("{PERMISSIONS} is {status}"), || {
        let (found, condition) = permissions(tenant)?;
        (found == status).then_some(condition.message)
    })
}

fn dry_runs(tenant: &Tenant<'_>) -> Vec<Call> {
    let calls = tenant.world.aws.calls().into_iter();
    calls
        .filter(|call| call.account == tenant.account_id && call.is_dry_run())
        .collect()
}

/// Takes an action out of the role's policy.
fn without(tenant: &Tenant<'_>, actions: &[&str]) {
    let role = tenant.world.role(&tenant.role_arn, None);
    let mut policy: Value = serde_json::from_str(role.policy.as_deref().expect("a policy")).expect("JSON");
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        if let Some(allowed) = statement["Action"].as_array_mut() {
            allowed.retain(|action| !actions.iter().any(|gone| action == gone));
        }
    }
    policy["Statement"]
        .as_array_mut()
        .expect("statements")
        .retain(|statement| statement["Action"].as_array().is_none_or(|actions| !actions.is_empty()));
    let role = RoleSpec {
        policy: Some(policy.to_string()),
        ..role
    };
    tenant.world.aws.set_role(&tenant.role_arn, role).expect("a role");
}

#[test]
fn missing_actions_are_listed_before_there_is_an_endpoint_and_nothing_is_created() {
    let tenant = World::shared().unregistered_tenant("lacking");
    without(&tenant, &["ec2:CreateSecurityGroup", "ec2:DescribeSecurityGroups"]);
    tenant.register(json!({"allowed_vpc_ids": [tenant.vpc]}));
    let message = says(&tenant, "False");
    for part in [
        "DescribeSecurityGroups, CreateSecurityGroup",
        &tenant.role_arn,
        "iam-policy tenant",
        "us-west-2",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let denied = message.split("; not verified:").next().expect("the first part");
    assert!(!denied.contains("CreateVpcEndpoint"), "{message}");
    // The account is Ready all the same: its role was assumed.
    let account = tenant.world.aws_account(&tenant.account).expect("there");
    assert!(condition(&account, "Ready").is_some_and(|ready| ready.status));
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
    assert!(tenant.calls().iter().all(|call| !call.mutating()));
    // Once it is fixed, the operator finds out by itself.
    tenant.world.add_role(&tenant.role_arn);
    let message = says(&tenant, "Unknown");
    assert!(
        message.contains("CreateVpcEndpoint") && message.contains("not verified: ModifyVpcEndpoint"),
        "{message}"
    );
}

#[test]
fn what_a_guardrail_turns_on_is_verified_too() {
    let tenant = World::shared().tenant("turned-on");
    says(&tenant, "Unknown");
    let before = dry_runs(&tenant).len();
    tenant.edit_account(json!({"allowed_vpc_endpoint_types": ["Gateway", "ServiceNetwork"]}));
    let message = says(&tenant, "False");
    for part in [
        "is denied DescribePrefixLists, DescribeVpcEndpointAssociations in",
        &tenant.role_arn,
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let asked: Vec<String> = dry_runs(&tenant)
        .into_iter()
        .skip(before)
        .map(|call| call.action)
        .collect();
    assert_eq!(asked, ["DescribePrefixLists", "DescribeVpcEndpointAssociations"]);

    // A role that may read, and neither attach this route table nor connect across regions.
    let narrow = format!("{}-narrow", tenant.role_arn);
    let read_only = vpce_core::iam::Scope {
        types: vec![EndpointType::Gateway, EndpointType::ServiceNetwork],
        route_tables: Some(vec!["rtb-00000000000000000".to_owned()]),
        ..vpce_core::iam::Scope::default()
    };
    tenant.world.set_role(&narrow, &read_only);
    tenant.edit_account(json!({
        "role_arn": narrow, "allowed_vpc_ids": [tenant.vpc], "allowed_service_regions": ["eu-central-1"],
        "allowed_route_table_ids": ["rtb-0123456789abcdef0"],
    }));
    tenant.world.eventually("what it lacks is listed", || {
        let (_, condition) = permissions(&tenant)?;
        let lacks = "denied CreateVpcEndpoint (Gateway), CreateVpcEndpoint (service_region) in";
        condition.message.contains(lacks).then_some(())
    });
}

#[test]
fn with_an_endpoint_every_permission_is_verified_once() {
    let tenant = World::shared().tenant("probed");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let (endpoints, groups) = (tenant.endpoints(), tenant.groups());
    // A change of role is what makes it ask.
    let second = format!("{}-second", tenant.role_arn);
    tenant.world.add_role(&second);
    tenant.edit_account(json!({"role_arn": second}));
    let message = says(&tenant, "True");
    assert!(message.contains("us-west-2"), "{message}");
    let of_second = || dry_runs(&tenant).into_iter().filter(|call| call.role == second);
    let asked: Vec<Call> = of_second().collect();
    assert_eq!(
        asked.len(),
        16,
        "{:?}",
        asked.iter().map(|call| &call.action).collect::<Vec<_>>()
    );
    assert!(asked.iter().all(|call| call.result == "DryRunOperation"));
    assert_eq!((tenant.endpoints(), tenant.groups()), (endpoints, groups));
    // Neither another edit of the AWSAccount nor a new operator asks again.
    tenant.edit_account(json!({"default_tags": {"cost": "1"}}));
    tenant.ready("api");
    says(&tenant, "True");
    assert_eq!(of_second().count(), 16);
}

#[test]
fn what_needs_an_endpoint_is_verified_as_soon_as_there_is_one() {
    let world = World::own(Setup::fast().value("settings.accountProbeIntervalSeconds", "3600"));
    let tenant = world.tenant("first");
    let message = says(&tenant, "Unknown");
    assert!(message.contains("not verified: CreateVpcEndpoint"), "{message}");
    tenant.apply("api", tenant.spec(json!({})));
    says(&tenant, "True");
    let mut asked: Vec<String> = dry_runs(&tenant).into_iter().map(|call| call.action).collect();
    assert_eq!(asked.len(), 16, "{asked:?}");
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 16, "each once");
}

#[test]
fn an_action_that_is_missing_for_changes_is_named_by_a_change_of_role() {
    let tenant = World::shared().tenant("narrowed");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let second = format!("{}-narrow", tenant.role_arn);
    // Made for another cluster's tag, it may read and nothing else.
    let role = tenant.world.role(&second, None);
    let policy = role.policy.as_deref().expect("a policy");
    let policy = policy.replace(tenant.world.cluster_id(), "another-cluster");
    let role = RoleSpec {
        policy: Some(policy),
        ..role
    };
    tenant.world.aws.add_role(&second, role).expect("a role");
    tenant.edit_account(json!({"role_arn": second}));
    let message = says(&tenant, "False");
    for action in [
        "CreateVpcEndpoint",
        "DeleteVpcEndpoints",
        "RevokeSecurityGroupEgress",
        "DeleteTags",
    ] {
        assert!(message.contains(action), "{action}: {message}");
    }
    assert!(!message.contains("DescribeVpcEndpoints"), "{message}");
    assert_eq!(tenant.endpoints().len(), 1);
    tenant.ready("api");
}

#[test]
fn a_new_operator_does_not_verify_permissions_again() {
    let world = World::own(Setup::fast());
    let (name, before) = {
        let tenant = world.tenant("restarted");
        tenant.apply("api", tenant.spec(json!({})));
        tenant.ready("api");
        let second = format!("{}-second", tenant.role_arn);
        tenant.world.add_role(&second);
        tenant.edit_account(json!({"role_arn": second}));
        says(&tenant, "True");
        (tenant.namespace.clone(), dry_runs(&tenant).len())
    };
    world.operator.kill().expect("killed");
    world.operator.start().expect("started");
    world.eventually("the new operator has looked", || {
        world.operator.logs().matches("opened a session").nth(2).map(drop)
    });
    world.eventually("it has looked at its endpoint", || {
        let calls = world.aws.calls();
        let since: Vec<&Call> = calls
            .iter()
            .rev()
            .take_while(|call| call.action != "AssumeRole")
            .collect();
        since
            .iter()
            .any(|call| call.action == "DescribeSecurityGroups")
            .then_some(())
    });
    let after = world.aws.calls().into_iter().filter(Call::is_dry_run).count();
    assert_eq!(after, before, "{name}");
}
