//! An object in an account, and whatever specs and connections it may meet.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use vpce_core::api::VPCEndpointServiceSpec;
use vpce_core::conditions::Finding;
use vpce_core::endpoint_service::{Connection, Desired, Discovered, desired};
use vpce_core::observed::State;
use vpce_core::resolve::{Binding, Resolved, Writes};
use vpce_core::tags::Owner;

/// Accounts that may be consumers.
pub const ACCOUNTS: [&str; 3] = ["222222222222", "333333333333", "444444444444"];

pub fn owner() -> Owner {
    Owner {
        cluster: "c".into(),
        kind: "VPCEndpointService".into(),
        namespace: "ns".into(),
        name: "web".into(),
        uid: "55ea9f5f-45a4".into(),
    }
}

/// The object's account, with these fields of its AWSAccount.
pub fn resolved(extra: Value) -> Resolved {
    let mut account = json!({
        "role_arn": "arn:aws:iam::111111111111:role/x",
        "allow_endpoint_services": true,
        "allowed_load_balancer_arns": ["*"],
    });
    let extra = extra.as_object().expect("an object").clone();
    account.as_object_mut().expect("an object").extend(extra);
    Resolved {
        binding: Binding {
            account: "one".into(),
            account_id: "111111111111".parse().expect("an id"),
            region: "eu-west-1".into(),
        },
        role: "arn:aws:iam::111111111111:role/x".parse().expect("a role"),
        account: serde_json::from_value(account).expect("an account"),
        forced_tags: [("team".to_owned(), "blue".to_owned())].into(),
        mapped: true,
        writes: Writes::Allowed,
    }
}

/// The ARN of a load balancer of the object's account and region.
pub fn arn(type_: &str, name: &str) -> String {
    format!("arn:aws:elasticloadbalancing:eu-west-1:111111111111:loadbalancer/{type_}/{name}/50dc6c495c0c9188")
}

/// A spec for a Network Load Balancer `web`, with these fields.
pub fn spec(extra: Value) -> VPCEndpointServiceSpec {
    let mut spec = json!({"load_balancer": {"network_load_balancer_arns": [arn("net", "web")]}});
    let extra = extra.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(extra);
    serde_json::from_value(spec).expect("a spec")
}

pub fn completed(extra: Value) -> Result<Desired, Finding> {
    desired(&spec(extra), &owner(), &resolved(json!({})), &Discovered::default())
}

/// A spec that makes sense, of the Network Load Balancers `a`, `b`, `c`.
pub fn any_desired() -> impl Strategy<Value = Desired> {
    let names = prop::sample::subsequence(vec!["a", "b", "c"], 1..=3);
    let accounts = prop::sample::subsequence(ACCOUNTS.to_vec(), 0..=3);
    let principals = prop::sample::subsequence(
        vec![
            "*".to_owned(),
            format!("arn:aws:iam::{}:root", ACCOUNTS[0]),
            format!("arn:aws:iam::{}:role/x", ACCOUNTS[1]),
            "arn:aws:iam::555555555555:user/y".to_owned(),
        ],
        0..=4,
    );
    let types = prop::option::of(prop::sample::subsequence(vec!["ipv4", "ipv6"], 1..=2));
    let tags = prop::sample::subsequence(vec!["cost", "stage", "Name"], 0..=3);
    let private = prop::option::of(prop::sample::select(vec!["a.example.com", "*.example.com"]));
    (names, any::<bool>(), accounts, principals, types, tags, private).prop_map(
        |(names, acceptance_required, accounts, principals, types, tags, private)| {
            let arns: BTreeSet<String> = names.into_iter().map(|name| arn("net", name)).collect();
            let tags: serde_json::Map<String, Value> = tags
                .into_iter()
                .map(|key| (key.to_owned(), format!("of {acceptance_required}").into()))
                .collect();
            completed(json!({
                "load_balancer": {"network_load_balancer_arns": arns},
                "acceptance_required": acceptance_required,
                "allowed_principals": principals,
                "consumers": {"account_ids": accounts},
                "supported_ip_address_types": types,
                "private_dns_name": private,
                "tags": tags,
            }))
            .expect("it makes sense")
        },
    )
}

/// Endpoints of consumers and of strangers, in whatever state.
pub fn any_connections() -> impl Strategy<Value = Vec<Connection>> {
    let owners = prop::sample::select([&ACCOUNTS[..], &["555555555555"]].concat());
    let states = prop::sample::select(vec![
        State::PendingAcceptance,
        State::Pending,
        State::Available,
        State::Rejected,
        State::Failed,
        State::Expired,
        State::Deleting,
    ]);
    prop::collection::vec((owners, states), 0..6).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        numbered
            .map(|(number, (owner, state))| Connection {
                endpoint: format!("vpce-{number}").as_str().into(),
                owner: owner.to_owned(),
                state,
            })
            .collect()
    })
}
