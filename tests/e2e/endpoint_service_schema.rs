//! The definition of VPCEndpointService on a real API server, which alone checks what its rules
//! cost: bad input is refused with a message that says what is right.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Refusal, Run, endpoint_services};
use crate::world::{World, id, merged};

const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/web/50dc6c495c0c9188";
const GATEWAY_ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/gwy/fw/50dc6c495c0c9188";

/// A namespace that no AWSAccount maps.
fn namespace() -> (&'static Cluster, &'static str) {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    let cluster = &World::shared().cluster;
    let namespace = NAMESPACE.get_or_init(|| {
        let name = id("services");
        cluster.create_namespace(&name, json!({}));
        name
    });
    (cluster, namespace)
}

/// A spec that is accepted, with more fields or others; null takes one away.
fn spec(changes: Value) -> Value {
    merged(json!({"load_balancer": {"network_load_balancer_arns": [ARN]}}), changes)
}

fn object(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "silvermullet.com/v1beta1",
        "kind": "VPCEndpointService",
        "metadata": {"name": name},
        "spec": spec,
    })
}

fn check(spec: &Value) -> Result<Value, Refusal> {
    let (cluster, namespace) = namespace();
    cluster.create(&endpoint_services(namespace), &object("web", spec), Run::Dry)
}

#[track_caller]
fn refused(result: Result<Value, Refusal>, says: &str) {
    let refusal = result
        .err()
        .unwrap_or_else(|| panic!("accepted, which should say {says:?}"));
    assert!(refusal.message.contains(says), "{says:?}: {}", refusal.message);
}

#[test]
fn what_makes_sense_is_accepted_and_completed() {
    let whole = spec(json!({
        "account": "provider",
        "region": "eu-west-1",
        "acceptance_required": false,
        "allowed_principals": ["*", "arn:aws:iam::222222222222:root", "arn:aws-cn:iam::222222222222:role/x"],
        "consumers": {"account_ids": ["222222222222"]},
        "supported_ip_address_types": ["ipv4", "ipv6"],
        "tags": {"cost": "1"},
        "deletion_policy": "Retain",
        "on_delete": "Reject",
    }));
    let gateway = json!({"load_balancer": {"gateway_load_balancer_arns": [GATEWAY_ARN]}});
    for spec in [&whole, &gateway] {
        check(spec).unwrap_or_else(|refusal| panic!("{spec}: {}", refusal.message));
    }
    let stored = check(&spec(json!({}))).unwrap_or_else(|refusal| panic!("{}", refusal.message));
    assert_eq!(stored["spec"]["acceptance_required"], true);
    assert_eq!(stored["status"]["observedGeneration"], -1, "nobody has looked yet");
}

#[test]
fn what_makes_none_is_refused_by_its_field_with_what_is_right() {
    let load_balancer = |fields: Value| json!({"load_balancer": fields});
    let network = |arn: &str| load_balancer(json!({"network_load_balancer_arns": [arn]}));
    let principal = |principal: &str| spec(json!({"allowed_principals": [principal]}));
    for (spec, says) in [
        (json!({}), "load_balancer"),
        (load_balancer(json!({})), "exactly one of"),
        (
            load_balancer(json!({"network_load_balancer_arns": []})),
            "at least 1 items",
        ),
        (
            load_balancer(json!({"network_load_balancer_arns": [ARN], "gateway_load_balancer_arns": [GATEWAY_ARN]})),
            "exactly one of",
        ),
        (network("web"), "must be the ARN of a Network Load Balancer such as"),
        (network(GATEWAY_ARN), "is a load balancer of another type"),
        (network(&ARN.replace("/net/", "/app/")), "no endpoint service can have"),
        (principal("222222222222"), "use consumers.account_ids"),
        (principal("arn:aws:iam::222222222222:role/team/x"), "EC2 takes no path"),
        (principal("arn:aws:iam::222222222222:group/x"), "must be * or the ARN"),
        (spec(json!({"consumers": {"account_ids": ["12"]}})), "12 digits"),
        (
            spec(json!({"consumers": {"account_ids": [222_222_222_222_i64]}})),
            "must be of type string",
        ),
        (spec(json!({"supported_ip_address_types": []})), "at least 1 items"),
        (
            spec(json!({"supported_ip_address_types": ["dualstack"]})),
            "supported values",
        ),
        (spec(json!({"on_delete": "Delete"})), "supported values"),
        (
            spec(json!({"tags": {"silvermullet.com/name": "x"}})),
            "which are reserved",
        ),
        (spec(json!({"region": "eu-west-1a"})), "must be a region such as"),
        (spec(json!({"private_dns_name": "X.example.com"})), "private_dns_name"),
        (spec(json!({"supported_regions": ["eu-west-1"]})), "unknown field"),
    ] {
        refused(check(&spec), says);
    }
}

#[test]
fn account_region_and_type_are_bound_once_there_is_a_service_and_what_is_bound_always_passes() {
    let (cluster, namespace) = namespace();
    let name = id("bound");
    let first = spec(json!({"account": "one", "region": "eu-west-1"}));
    let created = cluster.create(&endpoint_services(namespace), &object(&name, &first), Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let path = format!("{}/{name}", endpoint_services(namespace));
    let write_status = |status: Value| {
        let written = cluster.merge(&format!("{path}/status"), &json!({"status": status}));
        written.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    };
    let edit = |changes: Value| cluster.set_spec(&path, &merged(first.clone(), changes), Run::Dry);
    let gateway =
        json!({"load_balancer": {"network_load_balancer_arns": null, "gateway_load_balancer_arns": [GATEWAY_ARN]}});
    let fixed = [
        (json!({"account": "two"}), "keep what status.account.name says"),
        (json!({"region": "eu-west-2"}), "keep what status.region says"),
        (gateway.clone(), "keep to the one that status.load_balancer_type says"),
    ];
    write_status(json!({
        "account": {"name": "one", "account_id": "111122223333"},
        "region": "eu-west-1",
        "load_balancer_type": "Network",
    }));
    for (changes, _) in &fixed {
        let edited = edit(changes.clone());
        edited.unwrap_or_else(|refusal| panic!("nothing is made yet: {}", refusal.message));
    }
    write_status(json!({"service_id": "vpce-svc-0d1e2f3a4b5c60718"}));
    for (changes, says) in fixed {
        refused(edit(changes), says);
    }
    let other = ARN.replace("/web/", "/other/");
    for changes in [
        json!({"account": null}),
        json!({"region": null}),
        json!({"load_balancer": {"network_load_balancer_arns": [other]}}),
        json!({"acceptance_required": false}),
    ] {
        edit(changes).unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }
    // An edit that came while the service was being made is taken back, and never stays in the way.
    write_status(json!({"account": {"name": "two"}, "region": "eu-west-2", "load_balancer_type": "Gateway"}));
    let back = json!({"account": "two", "region": "eu-west-2"});
    edit(merged(back, gateway)).unwrap_or_else(|refusal| panic!("{}", refusal.message));
    edit(json!({})).unwrap_or_else(|refusal| panic!("{}", refusal.message));
}
