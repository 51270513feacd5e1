//! What only AWS knows, and what stands in the way in Kubernetes, becomes a condition by the table
//! of reasons: with AWS's code, with what to do, and without a storm of retries.

use std::time::Duration;

use serde_json::{Value, json};
use vpce_testbed::aws::{Call, EndpointState, Fault, FaultKind, LastError, ServiceSpec};

use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{World, condition, id};

/// Longer than a fast world's resync interval.
const A_WHILE: Duration = Duration::from_secs(8);
/// With backoff from two seconds to the resync interval of five, and one from before.
const FEW: usize = 4;

#[track_caller]
fn assert_stalled(tenant: &Tenant<'_>, name: &str, expected: bool) {
    let stalled = tenant.condition(name, "Stalled").is_some_and(|stalled| stalled.status);
    assert_eq!(stalled, expected, "whether {name} is Stalled");
}

/// How many calls of an action the tenant's account sees in a while.
fn calls_in_a_while(tenant: &Tenant<'_>, action: &str) -> usize {
    let before = tenant.calls().len();
    std::thread::sleep(A_WHILE);
    let calls = tenant.calls().split_off(before);
    calls.iter().filter(|call| call.action == action).count()
}

#[track_caller]
fn assert_contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn what_aws_does_not_find_is_reported_and_retried_until_it_exists() {
    let world = World::shared();
    let tenant = world.tenant("missing");
    let (account, region) = (&tenant.account_id, &tenant.region);
    let (subnet, vpc, subnet_of_vpc) = (id("subnet"), id("vpc"), id("subnet"));
    let service = format!("com.amazonaws.vpce.{region}.{}", id("vpce-svc"));
    let group = id("sg");
    let provided = json!({"security_group_type": "provided", "security_group_ids": [group]});
    let cases = [
        ("subnet", json!({"subnet_ids": [subnet]}), "InvalidSubnetID.NotFound"),
        (
            "vpc",
            json!({"vpc_id": vpc, "subnet_ids": [subnet_of_vpc]}),
            "InvalidVpcID.NotFound",
        ),
        (
            "service",
            json!({"vpc_endpoint_service_id": service}),
            "InvalidServiceName",
        ),
        ("group", provided, "InvalidGroup.NotFound"),
    ];
    for (name, changes, _) in &cases {
        tenant.apply(name, tenant.spec(changes.clone()));
    }
    for (name, _, code) in &cases {
        let message = tenant.not_ready(name, "NotFound");
        let advice = if *name == "service" {
            format!("its provider has not allowed AWS account {account} yet")
        } else {
            "check the ids".to_owned()
        };
        assert_contains(&message, &[code, &advice, account, region]);
        assert_stalled(&tenant, name, false);
        assert!(tenant.event(name, "NotFound").starts_with("Warning"));
    }
    let before = tenant.calls().len();
    std::thread::sleep(A_WHILE);
    let calls = tenant.calls().split_off(before);
    let failed = calls.iter().filter(|call| call.mutating() && !call.ok()).count();
    assert!(failed <= FEW * cases.len(), "a storm of {failed} calls");
    assert!(failed > 0, "it is not tried again");
    let groups = tenant.groups().len();
    assert!(groups <= 2, "a try again makes no further group: {groups}");

    let aws = &world.aws;
    let vpc_of_tenant = &tenant.vpc;
    aws.add_subnet(account, region, &subnet, vpc_of_tenant, &format!("{region}a"))
        .expect("a subnet");
    aws.add_vpc(account, region, &vpc, "10.1.0.0/16").expect("a VPC");
    aws.add_subnet(account, region, &subnet_of_vpc, &vpc, &format!("{region}a"))
        .expect("a subnet");
    aws.add_service(region, &service, ServiceSpec::default());
    aws.add_security_group(account, region, &group, vpc_of_tenant, "late")
        .expect("a group");
    for (name, ..) in cases {
        tenant.ready(name);
    }
}

#[test]
fn two_subnets_in_one_zone_are_invalid_until_the_spec_is_corrected() {
    let tenant = World::shared().tenant("same-zone");
    let another = tenant.add_subnet("a");
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [tenant.subnets[0], another]})));
    let message = tenant.not_ready("api", "Invalid");
    assert_contains(&message, &["DuplicateSubnetsInSameZone", "correct the spec"]);
    assert_stalled(&tenant, "api", true);
    let tries = calls_in_a_while(&tenant, "CreateVpcEndpoint");
    assert!(tries <= FEW, "{tries} tries");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    assert_stalled(&tenant, "api", false);
    // The same in an edit, after which the endpoint serves on.
    let before = tenant.endpoints().remove(0);
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [tenant.subnets[0], another]})));
    let message = tenant.serves_without_the_edit("api", "Invalid");
    assert_contains(&message, &["DuplicateSubnetsInSameZone", "the spec is corrected"]);
    let tries = calls_in_a_while(&tenant, "ModifyVpcEndpoint");
    assert!(tries <= FEW, "{tries} tries");
    assert_eq!(tenant.endpoints()[0].id, before.id);
    assert!(!tenant.endpoints()[0].subnet_ids.is_empty(), "it still serves");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    assert_eq!(tenant.endpoints()[0].subnet_ids, before.subnet_ids);
}

#[test]
fn an_unknown_region_affects_only_the_objects_that_name_it() {
    let tenant = World::shared().tenant("no-region");
    tenant.apply("far", tenant.spec(json!({"region": "us-nowhere-1"})));
    tenant.apply("near", tenant.spec(json!({})));
    tenant.ready("near");
    let message = tenant.eventually("far", "it is not Ready, and says of the region", || {
        let ready = tenant.condition("far", "Ready").filter(|ready| !ready.status)?;
        ready.message.contains("us-nowhere-1").then_some(ready)
    });
    assert!(
        ["Denied", "NotFound", "AWSUnavailable"].contains(&&*message.reason),
        "{message:?}"
    );
    assert_stalled(&tenant, "far", false);
    let before = tenant.world.aws.calls().len();
    std::thread::sleep(A_WHILE);
    let calls = tenant.world.aws.calls().split_off(before);
    let there = calls.iter().filter(|call| call.region == "us-nowhere-1").count();
    assert!(there <= FEW, "{there} calls");
    tenant.delete("far");
    tenant.gone("far");
    tenant.ready("near");
}

#[test]
fn a_denied_action_is_reported_with_role_and_account() {
    let world = World::shared();
    let tenant = world.tenant("denied");
    let denied = |action: &str| world.aws.deny(&tenant.role_arn, &format!("ec2:{action}"));
    let allowed = |action: &str| world.aws.allow(&tenant.role_arn, &format!("ec2:{action}"));
    let names = |action: &str| {
        let message = tenant.eventually("api", &format!("it says that {action} is denied"), || {
            let ready = tenant.condition("api", "Ready")?;
            (ready.reason == "Denied" && ready.message.contains(action)).then_some(ready.message)
        });
        assert_contains(
            &message,
            &["UnauthorizedOperation", action, &tenant.role_arn, &tenant.account_id],
        );
        assert_stalled(&tenant, "api", false);
        let tries = calls_in_a_while(&tenant, action);
        assert!((1..=FEW).contains(&tries), "{tries} tries of {action}");
    };

    denied("CreateSecurityGroup");
    tenant.apply("api", tenant.spec(json!({})));
    names("CreateSecurityGroup");
    denied("CreateVpcEndpoint");
    allowed("CreateSecurityGroup");
    names("CreateVpcEndpoint");
    assert_eq!(tenant.groups().len(), 1);
    allowed("CreateVpcEndpoint");
    tenant.ready("api");
    assert!(tenant.event("api", "Denied").starts_with("Warning"));

    denied("DescribeVpcEndpoints");
    names("DescribeVpcEndpoints");
    allowed("DescribeVpcEndpoints");
    tenant.ready("api");

    denied("DeleteVpcEndpoints");
    tenant.delete("api");
    names("DeleteVpcEndpoints");
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (1, 1));
    denied("DeleteSecurityGroup");
    allowed("DeleteVpcEndpoints");
    names("DeleteSecurityGroup");
    assert!(tenant.endpoints().is_empty());
    allowed("DeleteSecurityGroup");
    tenant.gone("api");
    assert!(tenant.groups().is_empty());
}

#[test]
fn a_create_without_permission_to_tag_names_that_action_and_no_other() {
    let world = World::shared();
    let tenant = world.tenant("untagged");
    world.aws.deny(&tenant.role_arn, "ec2:CreateTags");
    tenant.apply(
        "api",
        tenant.spec(json!({"security_group_type": "provided", "security_group_ids": [tenant.group]})),
    );
    let message = tenant.not_ready("api", "Denied");
    let (said, advice) = message.rsplit_once(" (").expect("advice");
    assert!(
        said.starts_with("CreateVpcEndpoint: UnauthorizedOperation"),
        "{message}"
    );
    assert_contains(
        advice,
        &[
            "ask your platform team to allow ec2:CreateTags to role",
            &tenant.role_arn,
        ],
    );
    assert!(!advice.contains("CreateVpcEndpoint"), "{message}");
    world.aws.allow(&tenant.role_arn, "ec2:CreateTags");
    tenant.ready("api");
}

#[test]
fn session_tags_that_do_not_fit_are_no_matter_of_the_trust_policy() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("packed");
    world.aws.fault(Fault {
        action: Some("AssumeRole".to_owned()),
        account: None,
        id: Some(tenant.role_arn.clone()),
        kind: FaultKind::refuse(
            400,
            "PackedPolicyTooLarge",
            "Packed size of session tags consumes 113% of allotted space",
        ),
        times: 2,
        after: 0,
    });
    tenant.apply("api", tenant.spec(json!({})));
    tenant.register(json!({}));
    let (_, message) = account_says(&tenant, "AssumeRoleDenied");
    assert_contains(&message, &["113%", "spec.session_tags", "--disable-session-tags"]);
    assert!(!message.contains("trust policy"), "{message}");
    tenant.ready("api");
}

#[test]
fn an_exhausted_quota_is_reported_and_waited_for() {
    let world = World::shared();
    let tenant = world.tenant("quota");
    account_says(&tenant, "Verified");
    world.aws.fault(Fault {
        action: Some("CreateVpcEndpoint".to_owned()),
        account: Some(tenant.account_id.clone()),
        id: None,
        kind: FaultKind::refuse(
            400,
            "VpcEndpointLimitExceeded",
            "The maximum number of VPC endpoints has been reached.",
        ),
        times: 3,
        after: 0,
    });
    tenant.apply("api", tenant.spec(json!({})));
    let message = tenant.not_ready("api", "QuotaExceeded");
    assert_contains(&message, &["VpcEndpointLimitExceeded", "quota", &tenant.account_id]);
    assert_stalled(&tenant, "api", false);
    tenant.ready("api");
    let creates: Vec<Call> = tenant
        .calls()
        .into_iter()
        .filter(|call| call.action == "CreateVpcEndpoint")
        .collect();
    assert_eq!(creates.len(), 4);
    let first = creates[1].time - creates[0].time;
    assert!(first > 1.0, "tried again after {first} s");
    assert!(tenant.event("api", "QuotaExceeded").starts_with("Warning"));
}

#[test]
fn an_endpoint_waits_for_acceptance_and_is_ready_once_accepted() {
    let world = World::shared();
    let tenant = world.tenant("acceptance");
    let service = tenant.add_service(ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    });
    tenant.apply("api", tenant.spec(json!({"vpc_endpoint_service_id": service})));
    let message = tenant.not_ready("api", "PendingAcceptance");
    let endpoint = tenant.endpoints().remove(0);
    assert_contains(&message, &[&service, &endpoint.id, "accept"]);
    assert_stalled(&tenant, "api", false);
    assert!(tenant.event("api", "PendingAcceptance").starts_with("Normal"));
    assert!(tenant.kubernetes_service("api").is_none(), "it would lead nowhere");
    let accept = || {
        let (account, region) = (&tenant.account_id, &tenant.region);
        world.aws.accept(account, region, &endpoint.id).expect("it waits");
    };

    world
        .aws
        .reject(&tenant.account_id, &tenant.region, &endpoint.id)
        .expect("it is there");
    let message = tenant.not_ready("api", "Rejected");
    assert_contains(&message, &[&service, &endpoint.id, "rejected"]);
    assert_stalled(&tenant, "api", true);
    // The provider relents.
    accept();
    let object = tenant.ready("api");
    assert_stalled(&tenant, "api", false);
    assert_eq!(object["status"]["vpc_endpoint_id"], endpoint.id);
    assert!(tenant.kubernetes_service("api").is_some());
    assert_eq!(
        tenant
            .writes()
            .iter()
            .filter(|action| *action == "CreateVpcEndpoint")
            .count(),
        1
    );
}

#[test]
fn what_failed_or_expired_is_stalled_and_not_replaced() {
    let world = World::shared();
    let tenant = world.tenant("failed");
    let error = LastError {
        code: "InternalFailure".to_owned(),
        message: "an interface could not be made".to_owned(),
    };
    let cases = [
        (
            "failed",
            EndpointState::Failed,
            Some(error),
            "an interface could not be made",
        ),
        ("expired", EndpointState::Expired, None, "in time"),
    ];
    for (name, state, error, said) in &cases {
        tenant.apply(name, tenant.spec(json!({})));
        let object = tenant.ready(name);
        let id = object["status"]["vpc_endpoint_id"].as_str().expect("an id");
        world
            .aws
            .set_endpoint_state(&tenant.account_id, &tenant.region, id, *state, error.clone())
            .expect("it is there");
        let reason = format!("{state:?}");
        let message = tenant.not_ready(name, &reason);
        assert_contains(&message, &[id, said, "Delete this object and apply it again"]);
        assert_stalled(&tenant, name, true);
        assert!(tenant.event(name, &reason).starts_with("Warning"));
    }
    assert_eq!(calls_in_a_while(&tenant, "CreateVpcEndpoint"), 0);
    for (name, ..) in &cases {
        tenant.delete(name);
        tenant.gone(name);
    }
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}

#[test]
fn a_service_of_another_owner_is_left_alone() {
    let world = World::shared();
    let tenant = world.tenant("foreign");
    let services = cluster::services(&tenant.namespace);
    let labelled = json!({"app.kubernetes.io/managed-by": "vpce-operator"});
    for (name, labels) in [("plain", json!({})), ("labelled", labelled)] {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
            "spec": {"type": "ExternalName", "externalName": "theirs.example.com"},
        });
        world.cluster.create(&services, &service, Run::Real).expect("a Service");
    }
    for name in ["plain", "labelled"] {
        let theirs = tenant.kubernetes_service(name);
        tenant.apply(name, tenant.spec(json!({})));
        let message = tenant.not_ready(name, "ServiceConflict");
        assert_contains(
            &message,
            &[&format!("{}/{name}", tenant.namespace), "spec.service.name"],
        );
        assert_stalled(&tenant, name, false);
        assert!(tenant.event(name, "ServiceConflict").starts_with("Warning"));
        tenant.eventually(name, "the endpoint itself is available", || {
            tenant
                .condition(name, "EndpointAvailable")
                .filter(|available| available.status)
        });
        assert_eq!(tenant.kubernetes_service(name), theirs);
        // Another name helps; theirs stays even when the object goes.
        tenant.apply(name, tenant.spec(json!({"service": {"name": format!("{name}-vpce")}})));
        tenant.ready(name);
        tenant.delete(name);
        tenant.gone(name);
        assert_eq!(tenant.kubernetes_service(name), theirs);
    }
    // When theirs goes, the name is free.
    tenant.apply("plain", tenant.spec(json!({})));
    tenant.not_ready("plain", "ServiceConflict");
    world.cluster.delete(&format!("{services}/plain"));
    tenant.ready("plain");
}

/// The AWSAccount's Ready condition, once it has this reason.
fn account_says(tenant: &Tenant<'_>, reason: &str) -> (Value, String) {
    let (world, name) = (tenant.world, &tenant.account);
    world.eventually(&format!("AWSAccount {name} says {reason}"), || {
        let account = world.aws_account(name)?;
        let ready = condition(&account, "Ready").filter(|ready| ready.reason == reason)?;
        Some((account, ready.message))
    })
}

fn assume_role_calls(tenant: &Tenant<'_>) -> usize {
    let of_role = |call: &&Call| call.action == "AssumeRole" && call.params["RoleArn"] == tenant.role_arn;
    tenant.world.aws.calls().iter().filter(of_role).count()
}

#[test]
fn a_refused_role_costs_few_calls_however_many_wait_and_is_used_once_it_is_corrected() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("refused");
    world.set_trust(&tenant.role_arn, false);
    let names: Vec<String> = (0..20).map(|number| format!("api-{number}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    tenant.register(json!({}));
    for name in &names {
        let message = tenant.not_ready(name, "AccountNotReady");
        assert_contains(&message, &["AccessDenied", &tenant.role_arn, "trust policy"]);
        assert!(
            message.starts_with(&format!("ask your platform team: AWSAccount {}", tenant.account)),
            "{message}"
        );
        assert_stalled(&tenant, name, false);
    }
    let (account, message) = account_says(&tenant, "AssumeRoleDenied");
    assert_contains(&message, &["AccessDenied", &tenant.role_arn, "external_id"]);
    assert!(
        account["status"]["account_id"].is_null(),
        "nobody confirmed it: {account}"
    );
    std::thread::sleep(A_WHILE);
    let tries = assume_role_calls(&tenant);
    // Remembered for two seconds at first, then for twice as long each time.
    assert!((2..=8).contains(&tries), "{tries} tries");
    assert!(tenant.calls().is_empty());

    world.set_trust(&tenant.role_arn, true);
    let (account, _) = account_says(&tenant, "Verified");
    assert_eq!(account["status"]["account_id"], tenant.account_id);
    for name in &names {
        tenant.ready(name);
    }
    let after = assume_role_calls(&tenant);
    assert!(after <= tries + 2, "one session serves all: {after} calls");
}

/// What the AWSAccount says after it was tried again.
fn account_stays(tenant: &Tenant<'_>) -> String {
    let tries = assume_role_calls(tenant);
    tenant.world.eventually("it is tried twice more", || {
        (assume_role_calls(tenant) >= tries + 2).then_some(())
    });
    account_says(tenant, "AssumeRoleDenied").1
}

#[test]
fn a_wrong_external_id_is_refused_until_it_is_corrected() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("external-id");
    let role = world.role(&tenant.role_arn, Some("agreed-upon"));
    world.aws.set_role(&tenant.role_arn, role).expect("a role");
    tenant.register(json!({"external_id": "guessed"}));
    let (_, message) = account_says(&tenant, "AssumeRoleDenied");
    let principal = format!("\"Principal\":{{\"AWS\":\"{}\"}}", world.aws.base_arn());
    let condition = "{\"sts:ExternalId\":\"spec.external_id\"}";
    assert_contains(&message, &["external_id", "\"sts:AssumeRole\"", &principal, condition]);
    assert_eq!(account_stays(&tenant), message, "it says the same all the time");
    assert!(!message.contains("guessed"), "{message}");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.not_ready("api", "AccountNotReady");
    tenant.edit_account(json!({"external_id": "agreed-upon"}));
    account_says(&tenant, "Verified");
    tenant.ready("api");
    assert_eq!(tenant.writes().len(), 3);
    for _ in 0..3 {
        assert!(
            !world.operator.logs().contains("agreed-upon"),
            "external ids are not logged"
        );
    }
}
