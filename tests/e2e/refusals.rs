//! What AWS or the API server refuses holds up nothing that does not depend on it, and nothing is
//! said to be there that is not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vpce_testbed::api_proxy::{self, ApiProxy};
use vpce_testbed::aws::{Direction, Fault, FaultKind, Hold, PausePoint, ServiceSpec};

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, id};

/// The quota of rules of a group, in each direction.
const QUOTA: usize = 60;

fn block(number: usize) -> String {
    format!("10.{}.{}.0/24", number / 256, number % 256)
}

/// A spec that lets in these blocks.
fn letting_in(tenant: &Tenant<'_>, blocks: impl IntoIterator<Item = usize>) -> Value {
    let blocks: Vec<String> = blocks.into_iter().map(block).collect();
    let rule = |blocks: &[String]| json!({"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": blocks});
    let rules: Vec<Value> = blocks.chunks(QUOTA / 2).map(rule).collect();
    tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": rules}))
}

/// Who is let in.
fn let_in(tenant: &Tenant<'_>) -> BTreeSet<String> {
    let groups = tenant.groups();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups[0].ingress.iter().map(|rule| rule.peer.clone()).collect()
}

fn blocks(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(block).collect()
}

/// Applies a spec and waits until the object is Ready for it; the writes to AWS, and the reasons
/// that it gave meanwhile.
fn converge(tenant: &Tenant<'_>, spec: Value) -> (Vec<String>, BTreeSet<String>, Duration) {
    let before = tenant.writes().len();
    let begun = Instant::now();
    let generation = tenant.apply("api", spec)["metadata"]["generation"].take();
    let mut reasons = BTreeSet::new();
    tenant.eventually("api", "it is Ready for what was applied", || {
        let object = tenant.get("api")?;
        let ready = tenant.condition("api", "Ready")?;
        let current = object["status"]["observedGeneration"] == generation;
        if current {
            reasons.insert(ready.reason);
        }
        (current && ready.status).then_some(())
    });
    (tenant.writes().split_off(before), reasons, begun.elapsed())
}

#[test]
fn rules_at_the_quota_are_exchanged_and_only_what_does_not_fit_is_refused() {
    let tenant = World::shared().tenant("rule-quota");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    for (what, wanted) in [("generated to custom", 0..QUOTA), ("one of many", 1..QUOTA + 1)] {
        let (writes, reasons, time) = converge(&tenant, letting_in(&tenant, wanted.clone()));
        assert_eq!(let_in(&tenant), blocks(wanted));
        assert_eq!(
            writes,
            [
                "AuthorizeSecurityGroupIngress",
                "RevokeSecurityGroupIngress",
                "AuthorizeSecurityGroupIngress"
            ],
            "{what}"
        );
        assert!(!reasons.contains("QuotaExceeded"), "{what}: {reasons:?}");
        eprintln!("{what}: {} calls, {:.1} s", writes.len(), time.as_secs_f64());
    }
    // What does not fit is reported; what the spec removes is closed all the same.
    let too_many: BTreeSet<usize> = (10..QUOTA + 11).collect();
    tenant.apply("api", letting_in(&tenant, too_many.clone()));
    let message = tenant.not_ready("api", "QuotaExceeded");
    assert!(message.contains("RulesPerSecurityGroupLimitExceeded"), "{message}");
    tenant.eventually("api", "what the spec takes away is closed", || {
        let_in(&tenant).is_subset(&blocks(too_many.clone())).then_some(())
    });
    let (_, _, time) = converge(&tenant, letting_in(&tenant, 10..QUOTA + 10));
    assert_eq!(let_in(&tenant), blocks(10..QUOTA + 10));
    eprintln!("back from too many: {:.1} s", time.as_secs_f64());
}

#[test]
fn while_a_quota_lasts_service_tags_and_egress_are_corrected() {
    let world = World::shared();
    let tenant = world.tenant("quota-lasts");
    tenant.apply("api", letting_in(&tenant, 0..QUOTA));
    tenant.ready("api");
    tenant.apply("api", letting_in(&tenant, 0..QUOTA + 1));
    tenant.not_ready("api", "QuotaExceeded");

    let (aws, account, region) = (&world.aws, &tenant.account_id, &tenant.region);
    let (endpoint, group) = (tenant.endpoints().remove(0), tenant.groups().remove(0));
    aws.remove_rule(account, region, &group.id, Direction::Egress, &group.egress[0])
        .expect("it was there");
    aws.delete_tag(account, region, &endpoint.id, "Name")
        .expect("it was there");
    let service = format!("{}/api", cluster::services(&tenant.namespace));
    world.cluster.delete(&service);
    tenant.eventually("api", "Service, egress and tags are back", || {
        let back = tenant.kubernetes_service("api").is_some()
            && tenant.groups()[0].egress == group.egress
            && tenant.endpoints()[0].tags.contains_key("Name");
        back.then_some(())
    });
    assert_eq!(tenant.reason("api"), "QuotaExceeded");
    assert!(
        tenant
            .condition("api", "ServicePublished")
            .is_some_and(|published| published.status)
    );
}

#[test]
fn one_refused_part_of_a_change_blocks_no_other() {
    let tenant = World::shared().tenant("bad-part");
    let second = tenant.add_group("second");
    let provided = |group: &str, subnets: Value| {
        tenant.spec(json!({
            "security_group_type": "provided", "security_group_ids": [group], "subnet_ids": subnets,
        }))
    };
    tenant.apply("api", provided(&tenant.group, json!([tenant.subnets[0]])));
    tenant.ready("api");
    let nowhere = id("subnet");
    tenant.apply("api", provided(&second, json!([tenant.subnets[0], nowhere])));
    let message = tenant.not_ready("api", "NotFound");
    assert!(message.contains("InvalidSubnetID.NotFound"), "{message}");
    tenant.eventually("api", "the group is exchanged", || {
        (tenant.endpoints()[0].group_ids == std::slice::from_ref(&second)).then_some(())
    });
    let missing = id("sg");
    tenant.apply("api", provided(&missing, json!([tenant.subnets[0], tenant.subnets[1]])));
    tenant.eventually("api", "the subnet is added", || {
        (tenant.endpoints()[0].subnet_ids.len() == 2).then_some(())
    });
    tenant.not_ready("api", "NotFound");
    assert_eq!(tenant.endpoints()[0].group_ids, std::slice::from_ref(&second));
    tenant.apply("api", provided(&tenant.group, json!([tenant.subnets[1]])));
    tenant.ready("api");
}

#[test]
fn a_service_is_published_while_private_dns_is_refused_and_is_there_when_that_is_said() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("no-private-name");
    tenant.register(json!({"allow_private_dns": true}));
    world.add_role_with_private_dns(&tenant.role_arn);
    let service = tenant.add_service(ServiceSpec::default());
    tenant.apply(
        "api",
        tenant.spec(json!({"vpc_endpoint_service_id": service, "private_dns_enabled": true})),
    );
    let object = tenant.eventually("api", "the Service is said to be published", || {
        let published = tenant.condition("api", "ServicePublished")?;
        // Whenever it is said, it is so.
        let there = tenant.kubernetes_service("api").is_some();
        assert!(there || !published.status, "said to be published, and is not there");
        published.status.then(|| tenant.get("api"))?
    });
    let host = format!("api.{}.svc", tenant.namespace);
    assert_eq!(object["status"]["service"]["host"], json!(host));
    let message = tenant.not_ready("api", "Invalid");
    assert!(message.contains("ModifyVpcEndpoint"), "{message}");
}

#[test]
fn a_refused_service_has_its_own_backoff_and_the_api_servers_message() {
    // So long that what waits for the resync never comes.
    let setup = Setup::fast().value("settings.resyncIntervalSeconds", "600");
    let mut world = World::own(setup);
    let proxy = ApiProxy::start(&world.cluster.plane).expect("a proxy");
    assert!(world.operator.terminate().expect("it was running").success());
    world.operator.go_through(&proxy).expect("a kubeconfig");
    world.operator.start().expect("it starts");
    let tenant = world.tenant("refused");
    proxy.fault(api_proxy::Fault {
        namespace: Some(tenant.namespace.clone()),
        times: 2,
        ..api_proxy::Fault::once("create", "services", api_proxy::FaultKind::refuse(500))
    });
    tenant.apply("api", tenant.spec(json!({})));
    let begun = Instant::now();
    let message = tenant.not_ready("api", "ServiceRefused");
    assert!(message.contains("an error on the server has prevented"), "{message}");
    assert!(
        !message.contains("Status {") && !message.contains("ApiError"),
        "{message}"
    );
    let object = tenant.get("api").expect("it is there");
    assert!(object["status"]["service"].is_null(), "{}", object["status"]);
    assert!(
        tenant
            .condition("api", "EndpointAvailable")
            .is_some_and(|available| available.status)
    );
    tenant.ready("api");
    // After 2 and 20 seconds: at most three writes a minute.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(tenant.kubernetes_service("api").is_some());
}

#[test]
fn transient_errors_are_retried_in_seconds_and_an_unknown_code_is_reported_in_aws_words() {
    let world = World::shared();
    let tenant = world.tenant("passing");
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [tenant.subnets[0]]})));
    tenant.ready("api");
    let refuse = |action: &str, code: &str, message: &str, times: usize| {
        world.aws.fault(Fault {
            account: Some(tenant.account_id.clone()),
            times,
            ..Fault::once(action, FaultKind::refuse(400, code, message))
        });
    };
    refuse(
        "ModifyVpcEndpoint",
        "OperationInProgress",
        "VpcEndpoint modify operation in progress",
        1,
    );
    let (_, reasons, time) = converge(&tenant, tenant.spec(json!({"subnet_ids": [tenant.subnets[1]]})));
    assert!(
        !reasons.contains("Invalid") && !reasons.contains("AWSRefused"),
        "{reasons:?}"
    );
    assert!(time < Duration::from_secs(30), "{time:?}");
    assert!(tenant.condition("api", "Stalled").is_none());

    refuse("ModifyVpcEndpoint", "EndpointIsMoody", "Come back later.", 2);
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [tenant.subnets[0]]})));
    let message = tenant.not_ready("api", "AWSRefused");
    assert!(
        message.contains("EndpointIsMoody") && message.contains("Come back later"),
        "{message}"
    );
    assert!(tenant.condition("api", "Stalled").is_none());
    tenant.ready("api");

    world.aws.fault(Fault {
        account: Some(tenant.account_id.clone()),
        ..Fault::once(
            "DeleteVpcEndpoints",
            FaultKind::Unsuccessful {
                code: "OperationInProgress".to_owned(),
                message: "VpcEndpoint modify operation in progress".to_owned(),
            },
        )
    });
    tenant.delete("api");
    let mut reasons = BTreeSet::new();
    tenant.eventually("api", "it is gone", || {
        if let Some(ready) = tenant.condition("api", "Ready") {
            reasons.insert(ready.reason);
        }
        tenant.get("api").is_none().then_some(())
    });
    assert!(!reasons.contains("Invalid"), "{reasons:?}");
}

#[test]
fn a_revoked_permission_stops_a_reconcile_between_two_writes() {
    let world = World::shared();
    for (name, revoke, allow) in [
        ("suspended", json!({"suspended": true}), json!({"suspended": false})),
        ("unmapped", json!({"namespaces": ["nobody"]}), Value::Null),
    ] {
        let tenant = world.tenant(name);
        let gate = world.aws.pause(Hold {
            account: Some(tenant.account_id.clone()),
            ..Hold::next("CreateSecurityGroup", PausePoint::After)
        });
        tenant.apply("api", tenant.spec(json!({})));
        assert!(gate.wait_reached(Duration::from_secs(60)), "no group is made");
        tenant.edit_account(revoke);
        world.eventually("the operator knows of it", || {
            let account = world.aws_account(&tenant.account)?;
            (account["status"]["observedGeneration"] == account["metadata"]["generation"]).then_some(())
        });
        gate.release();
        tenant.eventually("api", "it says why nothing is done", || {
            let reason = tenant.reason("api");
            ["AccountSuspended", "MappingRevoked"].contains(&&*reason).then_some(())
        });
        assert_eq!(tenant.writes(), ["CreateSecurityGroup"], "{name}");
        let allow = match allow {
            Value::Null => json!({"namespaces": [tenant.namespace]}),
            other => other,
        };
        tenant.edit_account(allow);
        tenant.ready("api");
    }
}

#[test]
fn a_create_that_is_refused_for_good_keeps_saying_why() {
    let world = World::own(Setup::fast().value("settings.awsLimits.CreateVpcEndpoint", "1/0.5"));
    let tenant = world.tenant("bad-service");
    let nowhere = format!("com.amazonaws.vpce.{}.{}", tenant.region, id("vpce-svc"));
    tenant.apply("bad", tenant.spec(json!({"vpc_endpoint_service_id": nowhere})));
    tenant.not_ready("bad", "NotFound");
    let names: Vec<String> = (0..6).map(|at| format!("good-{at}")).collect();
    for name in &names {
        tenant.apply(name, tenant.spec(json!({})));
    }
    let mut said = BTreeSet::new();
    let mut waits = BTreeSet::new();
    world.eventually("the others are Ready, and the bad one is tried again", || {
        said.insert(tenant.reason("bad"));
        for name in &names {
            let waiting = tenant
                .condition(name, "Ready")
                .filter(|ready| ready.reason == "RateLimited");
            waits.extend(waiting.map(|ready| ready.message));
        }
        let ready = |name: &String| tenant.condition(name, "Ready").is_some_and(|ready| ready.status);
        let tries = tenant
            .calls()
            .into_iter()
            .filter(|call| call.action == "CreateVpcEndpoint" && !call.ok());
        (names.iter().all(ready) && tries.count() >= 4).then_some(())
    });
    assert_eq!(said, BTreeSet::from(["NotFound".to_owned()]));
    assert!(!waits.is_empty(), "nobody waited");
    assert!(waits.iter().all(|message| message.contains("about")), "{waits:?}");
}

#[test]
fn a_delete_that_waits_for_a_token_is_not_sent_after_the_account_is_suspended() {
    let world = World::own(Setup::fast().value("settings.awsLimits.DeleteVpcEndpoints", "1/0.2"));
    let tenant = world.tenant("waiting-delete");
    for name in ["first", "second"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.ready(name);
    }
    let deletes = || {
        tenant
            .writes()
            .iter()
            .filter(|action| *action == "DeleteVpcEndpoints")
            .count()
    };
    tenant.delete("first");
    tenant.eventually("first", "its endpoint is deleted", || (deletes() == 1).then_some(()));
    // The next token is there in five seconds.
    tenant.delete("second");
    tenant.not_ready("second", "Deleting");
    tenant.edit_account(json!({"suspended": true}));
    tenant.not_ready("second", "AccountSuspended");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(deletes(), 1);
    tenant.edit_account(json!({"suspended": false}));
    tenant.gone("second");
    assert_eq!(deletes(), 2);
}
