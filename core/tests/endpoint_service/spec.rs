//! What a spec asks for, whether it is allowed, and what the schema says of it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use vpce_core::api::{AddressType, VPCEndpointServiceSpec, crds};
use vpce_core::conditions::Reason;
use vpce_core::endpoint_service::{Discovered, authorize, desired};

use crate::scenario::{arn, completed, owner, resolved, spec};

#[test]
fn a_bare_spec_waits_for_acceptance_and_lets_nobody_in() {
    let found = completed(json!({})).expect("valid");
    assert!(found.acceptance_required && found.principals.is_empty() && found.consumers.is_empty());
    assert_eq!(found.address_types, [AddressType::Ipv4].into());
}

#[test]
fn load_balancers_of_another_account_region_or_type_are_no_call_to_aws() {
    let of = |arns: Value| json!({"load_balancer": {"network_load_balancer_arns": arns}});
    let elsewhere = arn("net", "web").replace("eu-west-1", "eu-west-2");
    let of_others = arn("net", "web").replace("111111111111", "222222222222");
    let in_china = arn("net", "web").replace("arn:aws:", "arn:aws-cn:");
    for (spec, said) in [
        (of(json!([elsewhere])), "region eu-west-2"),
        (of(json!([arn("net", "web"), of_others])), "account 222222222222"),
        (of(json!([in_china])), "bound to account 111111111111"),
        (of(json!([arn("gwy", "fw")])), "is a Gateway Load Balancer"),
        (of(json!([arn("app", "web")])), "is not the ARN of a Network or Gateway"),
        (of(json!(["*"])), "is not the ARN"),
        (of(json!([])), "exactly one of"),
        (
            json!({"load_balancer": {
                "network_load_balancer_arns": [arn("net", "web")],
                "gateway_load_balancer_arns": [arn("gwy", "fw")],
            }}),
            "exactly one of",
        ),
        (json!({"consumers": {"account_ids": ["1"]}}), "consumers.account_ids"),
        (json!({"supported_ip_address_types": []}), "at least one"),
        (json!({"tags": {"silvermullet.com/name": "x"}}), "reserved"),
    ] {
        let finding = completed(spec.clone()).expect_err(said);
        assert_eq!(finding.reason, Reason::InvalidSpec);
        assert!(finding.message.contains(said), "{spec}: {}", finding.message);
    }
}

#[test]
fn guardrails_are_closed_unless_the_account_opens_them() {
    let allowed = |account: Value, spec: &VPCEndpointServiceSpec| {
        let resolved = resolved(account);
        let desired = desired(spec, &owner(), &resolved, &Discovered::default()).expect("valid");
        authorize(spec, &desired, &resolved).map_err(|finding| {
            assert_eq!(finding.reason, Reason::NotAllowed);
            finding.message
        })
    };
    let bare = spec(json!({}));
    let open = spec(json!({"allowed_principals": ["*"]}));
    assert_eq!(allowed(json!({}), &bare), Ok(()));
    assert_eq!(allowed(json!({"allow_any_principal": true}), &open), Ok(()));
    let own = json!({"allowed_load_balancer_arns": ["arn:aws:elasticloadbalancing:*:loadbalancer/net/web/*"]});
    assert_eq!(allowed(own, &bare), Ok(()));
    for (account, spec, guardrail) in [
        (
            json!({"allow_endpoint_services": false}),
            &bare,
            "allow_endpoint_services",
        ),
        (
            json!({"allowed_load_balancer_arns": []}),
            &bare,
            "allowed_load_balancer_arns",
        ),
        (
            json!({"allowed_load_balancer_arns": ["*/net/other/*"]}),
            &bare,
            "use */net/other/*, or ask your platform team",
        ),
        (json!({"allowed_regions": ["eu-west-2"]}), &bare, "allowed_regions"),
        (json!({}), &open, "allow_any_principal"),
        (json!({}), &spec(json!({"deletion_policy": "Retain"})), "allow_retain"),
        (
            json!({}),
            &spec(json!({"tags": {"eks:cluster-name": "x"}})),
            "eks:cluster-name",
        ),
    ] {
        let message = allowed(account, spec).expect_err(guardrail);
        assert!(message.contains(guardrail), "{message}");
        assert!(message.contains("AWSAccount one"), "{message}");
    }
}

/// The part of the schema of the newest version at this path.
fn schema(path: &[&str]) -> Value {
    let is_it = |crd: &CustomResourceDefinition| crd.spec.names.kind == "VPCEndpointService";
    let crd = serde_json::to_value(crds().into_iter().find(is_it)).expect("JSON");
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    path.iter()
        .fold(root, |schema, name| &schema["properties"][*name])
        .clone()
}

#[test]
fn the_schema_binds_what_aws_fixes_and_bounds_every_list() {
    let rules = schema(&[])["x-kubernetes-validations"].clone();
    let fields: Vec<&str> = rules
        .as_array()
        .expect("rules")
        .iter()
        .filter_map(|rule| rule["fieldPath"].as_str())
        .collect();
    assert_eq!(fields, [".spec.account", ".spec.region", ".spec.load_balancer"]);
    for (path, items) in [
        (&["spec", "load_balancer", "network_load_balancer_arns"][..], true),
        (&["spec", "load_balancer", "gateway_load_balancer_arns"], true),
        (&["spec", "allowed_principals"], true),
        (&["spec", "consumers", "account_ids"], true),
        (&["spec", "supported_ip_address_types"], false),
    ] {
        let list = schema(path);
        assert_eq!(list["type"], "array", "{path:?}: {list}");
        assert!(list["maxItems"].is_u64(), "{path:?}: {list}");
        assert_eq!(list["items"]["maxLength"].is_u64(), items, "{path:?}: {list}");
    }
    assert_eq!(schema(&["spec", "acceptance_required"])["default"], true);
    assert_eq!(schema(&["status"])["default"]["observedGeneration"], -1);
}
