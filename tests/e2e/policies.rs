//! The policies that `vpce-operator iam-policy` prints hold nothing that could be left out: what is
//! missing is said, with its name.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vpce_core::api::AWSAccountSpec;
use vpce_core::iam::{self, Passed, Scope, Trust};
use vpce_testbed::aws::{RoleSpec, ServiceSpec};

use crate::targets::{TYPES, Targets};
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, id, merged};

/// One action of one statement of a policy.
#[derive(Clone)]
struct Part {
    sid: String,
    action: String,
}

fn parse(policy: &str) -> Value {
    serde_json::from_str(policy).expect("a policy is JSON")
}

fn statements(policy: &mut Value) -> &mut Vec<Value> {
    policy["Statement"].as_array_mut().expect("statements")
}

/// A statement's actions, of which IAM spells one as a string and several as a list.
fn actions(statement: &Value) -> Vec<String> {
    match &statement["Action"] {
        Value::String(one) => vec![one.clone()],
        several => serde_json::from_value(several.clone()).expect("actions are strings"),
    }
}

/// Everything that a policy allows.
fn parts(policy: &str) -> Vec<Part> {
    let mut policy = parse(policy);
    let of = |statement: &Value| {
        let sid = statement["Sid"].as_str().expect("statements have a Sid").to_owned();
        let part = move |action| Part {
            sid: sid.clone(),
            action,
        };
        actions(statement).into_iter().map(part).collect::<Vec<_>>()
    };
    let allowing = |statement: &&Value| statement["Effect"] == "Allow";
    statements(&mut policy).iter().filter(allowing).flat_map(of).collect()
}

/// The policy with one action of one statement taken away.
fn without(policy: &str, part: &Part) -> String {
    let mut policy = parse(policy);
    statements(&mut policy).retain_mut(|statement| {
        if statement["Sid"] != part.sid.as_str() {
            return true;
        }
        let mut left = actions(statement);
        left.retain(|action| *action != part.action);
        statement["Action"] = json!(left);
        !left.is_empty()
    });
    policy.to_string()
}

/// Waits until the object is as a step of its life wants it, and gives the missing action back
/// where the operator misses it.
fn live_through(tenant: &Tenant<'_>, whole: &RoleSpec, part: &Part, is_there: impl Fn() -> bool) -> bool {
    let (sid, action) = (&part.sid, &part.action);
    let (_, name) = action.split_once(':').expect("an action has the prefix of its service");
    let denied = tenant.eventually("api", &format!("it goes on, or misses {sid} {action}"), || {
        if is_there() {
            return Some(None);
        }
        let ready = tenant.condition("api", "Ready")?;
        (!ready.status && ready.reason == "Denied").then_some(Some(ready.message))
    });
    let Some(message) = denied else {
        return false;
    };
    for expected in [name, &tenant.role_arn, &tenant.account_id] {
        assert!(
            message.contains(expected),
            "{sid} {action}: {expected} is not in: {message}"
        );
    }
    let world = tenant.world;
    world.aws.set_role(&tenant.role_arn, whole.clone()).expect("a role");
    let look = json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "given back"}}});
    tenant.merge("api", look);
    tenant.eventually("api", &format!("it goes on with {sid} {action}"), || {
        is_there().then_some(())
    });
    true
}

/// All that can be printed for a tenant's role.
fn whole_role(world: &World, arn: &str) -> RoleSpec {
    let scope = Scope {
        private_dns: true,
        ..Scope::default()
    };
    world.role_within(arn, &world.cluster_id().into(), &scope)
}

/// The tenant with a service that has a private DNS name.
fn with_private_dns(mut tenant: Tenant<'_>) -> Tenant<'_> {
    tenant.service = tenant.add_service(ServiceSpec {
        private_dns_name: Some(format!("api.{}.example.com", tenant.namespace)),
        ..ServiceSpec::default()
    });
    tenant
}

/// An endpoint is made, changed in every way and deleted; `step` waits for each.
fn live(tenant: &Tenant<'_>, mut step: impl FnMut(&dyn Fn() -> bool)) {
    let rule = |port: u16, description: &str| {
        json!({"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"],
               "description": description})
    };
    let spec = |rules: &[Value], rest: Value| {
        let rules = json!({"security_group_type": "custom", "security_group_ingress": rules,
                           "security_group_egress": rules});
        tenant.spec(merged(rules, rest))
    };
    let is_ready = || tenant.condition("api", "Ready").is_some_and(|ready| ready.status);
    let is_gone = || tenant.get("api").is_none();

    let made = spec(
        &[rule(443, "web"), rule(8443, "admin")],
        json!({"tags": {"team": "payments"}, "private_dns_enabled": true}),
    );
    tenant.apply("api", made);
    step(&is_ready);
    let changed = spec(
        &[rule(443, "the web"), rule(9443, "admin")],
        json!({"tags": {"cost": "42"}, "subnet_ids": tenant.subnets}),
    );
    tenant.apply("api", changed);
    step(&is_ready);
    tenant.delete("api");
    step(&is_gone);
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}

/// The life of an endpoint by a role that lacks a part of its policy until that is missed.
fn live_without(tenant: &Tenant<'_>, part: &Part) {
    let whole = whole_role(tenant.world, &tenant.role_arn);
    let policy = whole.policy.as_deref().expect("a policy");
    let lacking = RoleSpec {
        policy: Some(without(policy, part)),
        ..whole.clone()
    };
    tenant.world.aws.set_role(&tenant.role_arn, lacking).expect("a role");
    let mut missed = 0;
    live(tenant, |is_there| {
        missed += usize::from(live_through(tenant, &whole, part, is_there));
    });
    assert_eq!(missed, 1, "{} {} was missed so often", part.sid, part.action);
}

#[test]
fn an_endpoint_misses_every_action_that_its_role_is_not_given() {
    let world = World::shared();
    let whole = whole_role(world, "arn:aws:iam::111122223333:role/vpce-operator");
    let mut parts = parts(whole.policy.as_deref().expect("a policy"));
    // Only a message misses it:
    // estate::what_cannot_be_deleted_names_what_uses_it_and_blocks_no_other_deletion.
    parts.retain(|part| part.action != "ec2:DescribeNetworkInterfaces");
    assert!(parts.len() > 15, "{} actions", parts.len());
    std::thread::scope(|scope| {
        for part in &parts {
            scope.spawn(|| {
                let tenant = with_private_dns(world.unregistered_tenant("missing"));
                tenant.register(json!({"allow_private_dns": true}));
                live_without(&tenant, part);
            });
        }
    });
}

#[test]
fn endpoints_of_each_type_miss_what_only_they_need() {
    const ELSEWHERE: &str = "eu-central-1";
    let world = World::shared();
    let tenant = world.unregistered_tenant("missing-types");
    let guardrails = json!({"allowed_services": ["*"], "allowed_service_regions": [ELSEWHERE]});
    tenant.register_for_all_types(guardrails.clone());
    let all = json!({"role_arn": tenant.role_arn, "allowed_vpc_endpoint_types": TYPES});
    let spec: AWSAccountSpec = serde_json::from_value(merged(all, guardrails)).expect("a spec");
    let whole = world.role_within(&tenant.role_arn, &world.cluster_id().into(), &Scope::of(&spec));
    let policy = whole.policy.as_deref().expect("a policy");
    let targets = Targets::new(&tenant);
    let service = format!("com.amazonaws.vpce.{ELSEWHERE}.{}", id("vpce-svc"));
    let offered = ServiceSpec {
        regions: vec![tenant.region.clone()],
        ..ServiceSpec::default()
    };
    world.aws.add_service(ELSEWHERE, &service, offered);
    let across = json!({"vpc_endpoint_service_id": service, "service_region": ELSEWHERE});
    for (type_, sid, action, changes) in [
        (
            "Gateway",
            "UseSubnetsAndGroups",
            "ec2:CreateVpcEndpoint",
            json!({"route_table_ids": targets.tables}),
        ),
        (
            "Resource",
            "CreateVpcEndpointForNoService",
            "ec2:CreateVpcEndpoint",
            json!({}),
        ),
        (
            "ServiceNetwork",
            "AssociateServiceNetwork",
            "vpc-lattice:CreateServiceNetworkVpcEndpointAssociation",
            json!({}),
        ),
        ("Interface", "ConnectAcrossRegions", "vpce:AllowMultiRegion", across),
    ] {
        let mut lacking = parse(policy);
        statements(&mut lacking).retain(|statement| statement["Sid"] != sid);
        let lacking = RoleSpec {
            policy: Some(lacking.to_string()),
            ..whole.clone()
        };
        assert_ne!(lacking.policy, whole.policy, "{sid}");
        world.aws.set_role(&tenant.role_arn, lacking).expect("a role");
        let name = type_.to_lowercase();
        tenant.apply(&name, targets.spec(&tenant, type_, changes));
        let message = tenant.not_ready(&name, "Denied");
        assert!(message.contains(action), "{sid}: {message}");
        world.aws.set_role(&tenant.role_arn, whole.clone()).expect("a role");
        tenant.ready(&name);
        tenant.delete(&name);
        tenant.gone(&name);
    }
    assert_eq!((tenant.endpoints(), tenant.groups()), (Vec::new(), Vec::new()));
}

#[test]
fn a_role_as_narrow_as_the_guardrails_is_enough() {
    let world = World::shared();
    let tenant = with_private_dns(world.unregistered_tenant("narrow"));
    let guardrails = json!({
        "allowed_regions": [tenant.region], "allowed_vpc_ids": [tenant.vpc], "allowed_subnet_ids": tenant.subnets,
        "allowed_security_group_ids": [tenant.group], "allowed_services": [tenant.service],
        "allow_private_dns": true,
    });
    tenant.register_with_its_role(guardrails);
    live(&tenant, |is_there| {
        tenant.eventually("api", "its narrow role is enough", || is_there().then_some(()));
    });
    let provided = json!({"security_group_type": "provided", "security_group_ids": [tenant.group]});
    tenant.apply("borrowing", tenant.spec(provided));
    tenant.ready("borrowing");
}

/// Waits until the AWSAccount is Ready or not for this reason, and returns the message.
fn account_says(world: &World, tenant: &Tenant<'_>, reason: &str) -> String {
    world.eventually(&format!("{} says {reason}", tenant.account), || {
        let account = world.aws_account(&tenant.account)?;
        let ready = condition(&account, "Ready")?;
        (ready.reason == reason).then_some(ready.message)
    })
}

#[test]
fn the_operators_own_identity_misses_every_action_that_it_is_not_given() {
    let world = World::own(Setup::fast().with_source_identity());
    let roles = ["arn:aws:iam::*:role/vpce-operator".parse().expect("a pattern")];
    let whole = iam::base_permissions(
        &roles,
        Passed {
            tags: true,
            source_identity: true,
        },
    )
    .expect("a policy")
    .to_string();
    let tags = BTreeMap::from([("team".to_owned(), "payments".to_owned())]);
    for part in parts(&whole) {
        world
            .aws
            .set_base_policy(Some(without(&whole, &part)))
            .expect("a policy");
        let tenant = world.unregistered_tenant("base");
        let role = world.role_for(&tenant.role_arn, None, &tags);
        world.aws.set_role(&tenant.role_arn, role).expect("a role");
        tenant.register(json!({"session_tags": tags}));
        let message = account_says(&world, &tenant, "AssumeRoleDenied");
        assert!(message.contains(&part.action), "{}: {message}", part.action);
        world.aws.set_base_policy(Some(whole.clone())).expect("a policy");
        account_says(&world, &tenant, "Verified");
    }
}

#[test]
fn a_source_identity_says_to_cloudtrail_which_cluster_and_which_account() {
    let world = World::own(Setup::fast().with_source_identity());
    let tenant = world.unregistered_tenant("traced");
    let without = iam::tenant_trust(
        &tenant.role_arn.parse().expect("the ARN of a role"),
        &Trust {
            base: world.aws.base_arn().parse().expect("an identity"),
            external_id: None,
            session_tags: BTreeMap::new(),
            base_is_tagged: false,
            source_identity: false,
        },
    );
    let whole = world.role(&tenant.role_arn, None);
    let lacking = RoleSpec {
        trust_policy: Some(without.expect("a policy").to_string()),
        ..whole.clone()
    };
    world.aws.set_role(&tenant.role_arn, lacking).expect("a role");
    tenant.register(json!({}));
    let message = account_says(&world, &tenant, "AssumeRoleDenied");
    assert!(
        message.contains("\"sts:SetSourceIdentity\"") && message.contains("\"vpce-operator@*\""),
        "{message}"
    );
    world.aws.set_role(&tenant.role_arn, whole).expect("a role");
    account_says(&world, &tenant, "Verified");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let calls = tenant.calls();
    assert!(calls.iter().any(|call| call.action == "CreateVpcEndpoint"));
    let start = format!("vpce-operator@{}@", tenant.account);
    for call in calls {
        assert!(call.session_name.starts_with(&start), "{call:?}");
        assert_eq!(
            call.source_identity.as_deref(),
            Some(call.session_name.as_str()),
            "{call:?}"
        );
    }
}
