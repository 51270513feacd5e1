//! An endpoint's life: from apply to Ready to deleted.

use serde_json::{Value, json};
use vpce_testbed::aws::{Direction, EndpointView, Fault, FaultKind, Hold, PausePoint, RuleView};
use vpce_testbed::scenario;

use crate::cluster::{self, Run};
use crate::world::{Setup, WITHIN, World, condition, endpoint, text};

const ACCOUNT: &str = "111111111111";
const REGION: &str = "us-west-2";
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
/// Namespace and name of what the seed manifests make.
const SEED: [(&str, &str); 3] = [
    ("external", "external-service-endpoint"),
    ("default", "external-service-endpoint-provided-sgs"),
    ("external", "external-service-endpoint-sg-custom-generated"),
];

/// The name that an ExternalName Service leads to.
fn external_name(service: &Value) -> String {
    assert_eq!(service["spec"]["type"], "ExternalName");
    text(&service["spec"]["externalName"])
}

#[test]
fn the_original_manifests_work_unchanged() {
    let world = World::own(Setup::fast());
    scenario::seed(&world.aws).expect("seeded");
    for manifest in ["demo/namespaces.yaml", "demo/awsaccounts.yaml", "seed"] {
        world.kubectl(&[
            "apply",
            "--validate=strict",
            "--filename",
            &format!("{EXAMPLES}/{manifest}"),
        ]);
    }
    for (namespace, name) in SEED {
        world.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "--namespace",
            namespace,
            &format!("vpce/{name}"),
        ]);
    }

    let endpoints = world.aws.endpoints(ACCOUNT, REGION);
    assert_eq!(endpoints.len(), 3);
    for (namespace, name) in SEED {
        let service = world
            .cluster
            .get(&format!("{}/{name}", cluster::services(namespace)))
            .expect("a Service");
        let tagged = |endpoint: &&EndpointView| {
            endpoint.tags["silvermullet.com/name"] == name && endpoint.tags["silvermullet.com/namespace"] == namespace
        };
        let endpoint = endpoints.iter().find(tagged).expect("an endpoint");
        assert_eq!(endpoint.state, "available");
        assert_eq!(endpoint.tags["Name"], format!("{name}-{namespace}"));
        assert!(external_name(&service).starts_with(&format!("{}-", endpoint.id)));
        assert_eq!(endpoint.subnet_ids.len(), 3);
    }
    let groups = world.aws.security_groups(ACCOUNT, REGION);
    assert_eq!(groups.len(), 3, "generated, custom, and the one that is provided");
    let list = world.kubectl(&["get", "vpce", "--all-namespaces"]);
    assert_eq!(list.matches("available").count(), 3, "{list}");
    let accounts = world.kubectl(&["get", "awsaccounts", "platform-default"]);
    assert!(accounts.contains(ACCOUNT) && accounts.contains("True"), "{accounts}");

    world.aws.clear_calls();
    world.kubectl(&[
        "delete",
        "--wait",
        "--timeout=60s",
        "--filename",
        &format!("{EXAMPLES}/seed"),
    ]);
    assert!(world.aws.endpoints(ACCOUNT, REGION).is_empty());
    let left = world.aws.security_groups(ACCOUNT, REGION);
    assert_eq!(
        left.iter().map(|group| group.id.as_str()).collect::<Vec<_>>(),
        ["sg-0142d2a79ee273c19"]
    );
    for (namespace, name) in SEED {
        assert!(
            world
                .cluster
                .get(&format!("{}/{name}", cluster::services(namespace)))
                .is_none()
        );
    }
    assert!(world.operator.terminate().expect("it was running").success());
}

#[test]
fn deleting_removes_the_service_then_the_endpoint_then_the_group() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("order");
    tenant.apply("api", tenant.spec(json!({})));
    let status = tenant.ready("api")["status"].take();
    assert!(tenant.kubernetes_service("api").is_some());

    let endpoint = world.aws.pause_on("DeleteVpcEndpoints", PausePoint::Before);
    let group = world.aws.pause_on("DeleteSecurityGroup", PausePoint::Before);
    tenant.delete("api");
    assert!(endpoint.wait_reached(WITHIN), "the endpoint is never deleted");
    assert!(
        tenant.kubernetes_service("api").is_none(),
        "nobody is led to an endpoint that goes"
    );
    endpoint.release();
    assert!(group.wait_reached(WITHIN), "the group is never deleted");
    assert!(tenant.endpoints().is_empty(), "AWS says deleted before the group goes");
    assert!(tenant.get("api").is_some(), "the finalizer waits for the group");
    group.release();
    tenant.gone("api");
    assert!(tenant.groups().is_empty());
    // The event is there, though the object is gone.
    let told = tenant.event("api", "Deleted");
    for part in [
        &text(&status["vpc_endpoint_id"]),
        &text(&status["security_group_id"]),
        &tenant.account_id,
        &tenant.region,
    ] {
        assert!(
            told.starts_with("Normal") && told.contains(part.as_str()),
            "{part}: {told}"
        );
    }
}

#[test]
fn a_delete_that_aws_has_not_answered_is_not_sent_again() {
    let tenant = World::shared().tenant("in-flight");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let gate = tenant.world.aws.pause(Hold {
        account: Some(tenant.account_id.clone()),
        ..Hold::next("DeleteVpcEndpoints", PausePoint::Before)
    });
    tenant.delete("api");
    assert!(gate.wait_reached(WITHIN), "the endpoint is never deleted");
    // It is reconciled while the call is on its way, and still there for all that is known.
    tenant.apply("api", tenant.spec(json!({"tags": {"team": "orders"}})));
    tenant.eventually("api", "it is reconciled", || {
        tenant.condition("api", "Ready").map(|_| ())
    });
    gate.release();
    tenant.gone("api");
    let writes = tenant.writes();
    let deletes = writes.iter().filter(|action| *action == "DeleteVpcEndpoints");
    assert_eq!(deletes.count(), 1, "{writes:?}");
}

#[test]
fn a_generated_group_lets_private_networks_in_and_everything_out() {
    let tenant = World::shared().tenant("generated");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let (endpoints, groups) = (tenant.endpoints(), tenant.groups());
    assert_eq!((endpoints.len(), groups.len()), (1, 1));
    assert_eq!(endpoints[0].group_ids, [groups[0].id.clone()]);
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    assert_eq!(groups[0].ingress, private.map(|block| RuleView::new("-1", None, block)));
    assert_eq!(groups[0].egress, [RuleView::new("-1", None, "0.0.0.0/0")]);
    assert_eq!(
        tenant.writes(),
        [
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "CreateVpcEndpoint"
        ]
    );
}

#[test]
fn the_service_is_an_alias_of_the_endpoints_regional_name() {
    let tenant = World::shared().tenant("alias");
    tenant.apply(
        "api",
        tenant.spec(json!({"service": {"name": "orders", "ports": [{"port": 443}]}})),
    );
    let object = tenant.ready("api");
    let endpoint = tenant.endpoints().remove(0);
    let service = tenant.kubernetes_service("orders").expect("the Service");
    let target = external_name(&service);
    assert!(
        endpoint.dns_names.contains(&target),
        "{target} {:?}",
        endpoint.dns_names
    );
    let zonal = |name: &String| {
        ["a", "b", "c"]
            .iter()
            .any(|zone| name.contains(&format!("-{}{zone}.", tenant.region)))
    };
    assert!(!zonal(&target), "{target} leads to one zone only");
    assert_eq!(object["status"]["dns_name"], target);
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    assert_eq!(
        service["metadata"]["ownerReferences"][0]["uid"],
        object["metadata"]["uid"]
    );
    assert_eq!(
        service["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "vpce-operator"
    );

    let host = format!("orders.{}.svc", tenant.namespace);
    assert_eq!(object["status"]["service"], json!({"name": "orders", "host": host}));
    let message = condition(&object, "Ready").expect("a condition").message;
    assert_eq!(
        message,
        format!("connect to {host}; for TLS use a name that the service's certificate has (docs/faq.md)")
    );
    let available = condition(&object, "EndpointAvailable").expect("a condition").message;
    assert_eq!(available, "see Ready", "the same is not said twice");
    assert!(tenant.kubernetes_service("api").is_none());
    let event = tenant.event("api", "Available");
    assert!(event.starts_with("Normal") && event.contains(&host), "{event}");
}

#[test]
fn a_provided_group_is_neither_changed_nor_deleted() {
    let tenant = World::shared().tenant("provided");
    let provided = || {
        let groups = tenant.world.aws.security_groups(&tenant.account_id, &tenant.region);
        groups
            .into_iter()
            .find(|group| group.id == tenant.group)
            .expect("it is there")
    };
    let before = provided();
    tenant.apply(
        "api",
        tenant.spec(json!({"security_group_type": "provided", "security_group_ids": [tenant.group]})),
    );
    tenant.ready("api");
    assert_eq!(tenant.endpoints()[0].group_ids, std::slice::from_ref(&tenant.group));
    assert_eq!(tenant.writes(), ["CreateVpcEndpoint"]);
    tenant.delete("api");
    tenant.gone("api");
    assert!(tenant.endpoints().is_empty());
    assert_eq!(provided(), before);
    assert_eq!(tenant.writes(), ["CreateVpcEndpoint", "DeleteVpcEndpoints"]);
}

#[test]
fn an_endpoint_waits_for_its_account_and_reports_it() {
    let tenant = World::shared().unregistered_tenant("early");
    tenant.apply("api", tenant.spec(json!({})));
    let message = tenant.not_ready("api", "NoAccount");
    assert!(message.contains(&tenant.namespace), "{message}");
    assert_eq!(tenant.condition("api", "Stalled"), None, "somebody may yet map it");
    assert!(tenant.calls().is_empty());
    tenant.register(json!({}));
    tenant.ready("api");
    assert_eq!(tenant.reason("api"), "Available");
}

#[test]
fn an_annotation_asks_for_a_resync_now() {
    let world = World::own(Setup::fast().value("settings.resyncIntervalSeconds", "3600"));
    let tenant = world.tenant("now");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let group = tenant.groups().remove(0);
    let rule = RuleView::new("-1", None, "10.0.0.0/8");
    world
        .aws
        .remove_rule(&tenant.account_id, &tenant.region, &group.id, Direction::Ingress, &rule)
        .expect("it had the rule");
    tenant.merge(
        "api",
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
    );
    tenant.eventually("api", "the rule is back", || {
        (tenant.groups()[0].ingress == group.ingress).then_some(())
    });
}

#[test]
fn a_delete_whose_session_expires_continues_with_another() {
    let world = World::shared();
    let tenant = world.tenant("ended");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    world.aws.fault(Fault {
        account: Some(tenant.account_id.clone()),
        ..Fault::once("DeleteVpcEndpoints", FaultKind::ExpireCredentials)
    });
    tenant.delete("api");
    tenant.gone("api");
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (0, 0));
}

/// Of a long list of finalizers the operator keeps only the first few in memory.
#[test]
fn finalizers_of_others_stay_however_many_there_are() {
    let tenant = World::shared().tenant("held");
    let others: Vec<String> = (0..20).map(|number| format!("example.com/holder-{number}")).collect();
    let mut object = endpoint(&tenant.namespace, "api", &tenant.spec(json!({})));
    object["metadata"]["finalizers"] = json!(others);
    let path = cluster::endpoints(&tenant.namespace);
    if let Err(refusal) = tenant.world.cluster.create(&path, &object, Run::Real) {
        panic!("it is refused: {}", refusal.message);
    }
    let of = |object: &Value| {
        serde_json::from_value::<Vec<String>>(object["metadata"]["finalizers"].clone()).expect("a list")
    };
    let ready = tenant.ready("api");
    assert_eq!(ready["status"]["state"], "available");
    let all = of(&tenant.get("api").expect("it is there"));
    assert!(others.iter().all(|name| all.contains(name)), "{all:?}");
    assert_eq!(all.len(), others.len() + 1, "and the operator's own: {all:?}");

    tenant.delete("api");
    tenant.eventually("api", "the operator's own finalizer goes alone", || {
        (of(&tenant.get("api")?) == others).then_some(())
    });
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (0, 0));
    tenant.merge("api", json!({"metadata": {"finalizers": null}}));
    tenant.gone("api");
}
