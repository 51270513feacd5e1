//! What is exported is what was promised: names, labels, types, and the values of a small estate.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use vpce_core::api::{Kind, VPCEndpointService, Watched};
use vpce_core::error::Class;

use super::objects::Objects;
use super::*;

/// Whether a series is of one object, and left out without `per_object`.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    All,
    Object,
}

/// The table of what is watched: name, type, labels.
#[rustfmt::skip]
const PROMISED: &[(&str, &str, &[&str], Of)] = &[
    ("vpce_endpoints", "gauge", &["account", "region", "type", "state"], Of::All),
    ("vpce_endpoints_not_ready", "gauge", &["account", "region", "reason"], Of::All),
    ("vpce_endpoint_info", "gauge", &["namespace", "name", "account", "region", "vpc_endpoint_id"], Of::Object),
    ("vpce_endpoint_status_condition", "gauge", &["namespace", "name", "account", "condition", "status", "reason"], Of::Object),
    ("vpce_endpoint_not_ready_timestamp_seconds", "gauge", &["namespace", "name", "account"], Of::Object),
    ("vpce_endpoint_deletion_timestamp_seconds", "gauge", &["namespace", "name", "account"], Of::Object),
    ("vpce_endpoint_network_interfaces", "gauge", &["account", "namespace", "type"], Of::All),
    ("vpce_endpoint_services", "gauge", &["account", "region", "state"], Of::All),
    ("vpce_endpoint_services_not_ready", "gauge", &["account", "region", "reason"], Of::All),
    ("vpce_endpoint_service_info", "gauge", &["namespace", "name", "account", "region", "service_id"], Of::Object),
    ("vpce_endpoint_service_status_condition", "gauge", &["namespace", "name", "account", "condition", "status", "reason"], Of::Object),
    ("vpce_endpoint_service_not_ready_timestamp_seconds", "gauge", &["namespace", "name", "account"], Of::Object),
    ("vpce_endpoint_service_deletion_timestamp_seconds", "gauge", &["namespace", "name", "account"], Of::Object),
    ("vpce_endpoint_service_connections", "gauge", &["namespace", "name", "account", "state"], Of::Object),
    ("vpce_time_to_ready_seconds", "histogram", &["type"], Of::All),
    ("vpce_planned_changes", "gauge", &["account", "action"], Of::All),
    ("vpce_account_info", "gauge", &["account", "account_id"], Of::All),
    ("vpce_account_status_condition", "gauge", &["account", "condition", "status", "reason"], Of::All),
    ("vpce_account_endpoints", "gauge", &["account"], Of::All),
    ("vpce_account_endpoint_services", "gauge", &["account"], Of::All),
    ("vpce_account_endpoints_limit", "gauge", &["account"], Of::All),
    ("vpce_account_suspended", "gauge", &["account"], Of::All),
    ("vpce_account_session_expiration_timestamp_seconds", "gauge", &["account"], Of::All),
    ("vpce_orphans", "gauge", &["account_id", "region", "kind", "retained"], Of::All),
    ("vpce_retained", "gauge", &["account_id", "region"], Of::All),
    ("vpce_creation_paused", "gauge", &["account_id", "region"], Of::All),
    ("vpce_snapshot_timestamp_seconds", "gauge", &["account_id", "region"], Of::All),
    ("vpce_resync_interval_seconds", "gauge", &[], Of::All),
    ("vpce_aws_requests_total", "counter", &["account_id", "region", "service"], Of::All),
    ("vpce_aws_request_errors_total", "counter", &["account_id", "region", "service", "action", "class"], Of::All),
    ("vpce_aws_request_duration_seconds", "histogram", &["service", "action"], Of::All),
    ("vpce_aws_rate_limiter_tokens", "gauge", &["account_id", "region", "action"], Of::All),
    ("vpce_aws_rate_limiter_queue_length", "gauge", &["account_id", "region", "action"], Of::All),
    ("vpce_aws_rate_limiter_wait_seconds", "histogram", &["action"], Of::All),
    ("vpce_reconciles_total", "counter", &["controller", "account", "result"], Of::All),
    ("vpce_reconcile_duration_seconds", "histogram", &["controller"], Of::All),
    ("vpce_reconciles_in_flight", "gauge", &["controller"], Of::All),
    ("vpce_queue_depth", "gauge", &["controller"], Of::All),
    ("vpce_kubernetes_requests_total", "counter", &["verb", "resource", "code"], Of::All),
    ("vpce_watch_errors_total", "counter", &["kind"], Of::All),
    ("vpce_unparseable_objects", "gauge", &["kind"], Of::All),
    ("vpce_leader", "gauge", &[], Of::All),
    ("vpce_build_info", "gauge", &["version", "revision"], Of::All),
];

fn caches<K: Kind>(objects: &[Value]) -> Objects<K>
where
    Watched<K>: Send + Sync + 'static,
{
    let parsed = |object: &Value| Arc::new(serde_json::from_value(object.clone()).unwrap());
    let objects: Vec<Arc<Watched<K>>> = objects.iter().map(parsed).collect();
    Arc::new(move || objects.clone())
}

fn condition(type_: &str, status: &str, reason: &str, seconds: u32) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": "",
        "lastTransitionTime": format!("1970-01-01T00:00:{seconds:02}Z"),
    })
}

/// Two accounts, one of them not confirmed; three endpoints and three endpoint services: available,
/// about to be deleted, and one that does not parse.
pub(super) fn sources() -> Sources {
    let spec = json!({
        "vpc_id": "vpc-1", "vpc_endpoint_service_id": "vpce-svc-1", "security_group_type": "generated",
        "account": "tenant-a", "region": "eu-central-1",
    });
    let bound = json!({"name": "tenant-a", "account_id": "111111111111"});
    Sources {
        resync_interval: Arc::new(|| Duration::from_mins(5)),
        planned_changes: Arc::new(|| {
            let step = |account: &str| (account.to_owned(), "CreateVpcEndpoint");
            vec![step("tenant-a"), step("tenant-a"), step("tenant-b")]
        }),
        endpoints: caches(&[
            json!({
                "metadata": {"namespace": "team", "name": "ready"}, "spec": spec,
                "status": {
                    "account": bound, "region": "eu-central-1", "vpc_endpoint_id": "vpce-1", "state": "available",
                    "network_interface_ids": ["eni-1", "eni-2"],
                    "conditions": [condition("Ready", "True", "Available", 7)],
                },
            }),
            json!({
                "metadata": {"namespace": "team", "name": "leaving", "deletionTimestamp": "1970-01-01T00:01:40Z"},
                "spec": spec,
                "status": {
                    "account": bound, "region": "eu-central-1", "state": "deleting", "network_interface_ids": ["eni-3"],
                    "conditions": [condition("Ready", "False", "Deleting", 9)],
                },
            }),
            json!({"metadata": {"namespace": "other", "name": "broken"}, "spec": {"vpc_id": 7}}),
        ]),
        endpoint_services: endpoint_services(&bound),
        accounts: caches(&[
            json!({
                "metadata": {"name": "tenant-a"},
                "spec": {"role_arn": "arn:aws:iam::111111111111:role/vpce", "max_endpoints": 20, "suspended": true},
                "status": {"account_id": "111111111111", "conditions": [condition("Ready", "True", "Ready", 1)]},
            }),
            json!({
                "metadata": {"name": "tenant-b"}, "spec": {"role_arn": "arn:aws:iam::222222222222:role/vpce"},
                "status": {"conditions": [condition("Ready", "False", "RoleDenied", 1)]},
            }),
        ]),
        regions: Arc::new(|| {
            vec![RegionGauges {
                account_id: "111111111111".into(),
                region: "eu-central-1".into(),
                snapshot_at: Some(UNIX_EPOCH + Duration::from_secs(1_000)),
                paused: true,
                orphans: vec![
                    ("endpoint", false, 2),
                    ("endpoint", true, 4),
                    ("security_group", true, 9),
                    ("security_group", false, 0),
                ],
                limiters: vec![
                    RateLimiterGauges {
                        action: "CreateVpcEndpoint",
                        tokens: 2.5,
                        waiting: 3,
                        full: false,
                    },
                    RateLimiterGauges {
                        action: "DescribeVpcEndpoints",
                        tokens: 100.0,
                        waiting: 0,
                        full: true,
                    },
                ],
            }]
        }),
        sessions: Arc::new(|| vec![("tenant-a".into(), UNIX_EPOCH + Duration::from_secs(5_000))]),
    }
}

fn endpoint_services(bound: &Value) -> Objects<VPCEndpointService> {
    let spec = json!({"load_balancer": {"network_load_balancer_arns": ["arn"]}, "region": "eu-west-1"});
    caches(&[
        json!({
            "metadata": {"namespace": "team", "name": "offered"}, "spec": spec,
            "status": {
                "account": bound, "region": "eu-west-1", "service_id": "vpce-svc-1", "state": "Available",
                "connections": {"available": 3, "pending_acceptance": 2, "pending": 0, "rejected": 0, "other": -1},
                "conditions": [
                    condition("Ready", "True", "Available", 7), condition("LoadBalancerReady", "True", "Available", 7),
                ],
            },
        }),
        json!({
            "metadata": {"namespace": "team", "name": "leaving", "deletionTimestamp": "1970-01-01T00:01:40Z"},
            "spec": spec,
            "status": {
                "account": bound, "region": "eu-west-1", "state": "Available",
                "connections": {"available": 1, "pending_acceptance": 0, "pending": 0, "rejected": 4, "other": 0},
                "conditions": [
                    condition("Ready", "False", "InUse", 9), condition("ServiceAvailable", "False", "InUse", 9),
                    condition("LoadBalancerReady", "False", "NotFound", 9),
                ],
            },
        }),
        json!({"metadata": {"namespace": "other", "name": "broken"}, "spec": {"load_balancer": 7}}),
    ])
}

/// Metrics that every part of the operator has written to.
fn filled(per_object: bool) -> Metrics {
    let metrics = Metrics::new(MetricsOptions {
        per_object,
        version: "1.2.3",
        revision: "abc",
    });
    metrics.attach(sources());
    metrics.leader(true);
    metrics.aws_request("111111111111", "eu-central-1", "ec2", "CreateVpcEndpoint", None, 0.7);
    metrics.aws_request(
        "222222222222",
        "eu-central-1",
        "sts",
        "AssumeRole",
        Some(Class::Denied),
        0.1,
    );
    metrics.aws_queue_wait("CreateVpcEndpoint", 3.0);
    metrics.reconcile("endpoint", "tenant-a", Outcome::Ok, 0.02);
    metrics.reconcile("endpoint", "tenant-b", Outcome::Error, 0.02);
    drop(metrics.in_flight("endpoint"));
    metrics.queue_depth("endpoint", 4);
    metrics.kubernetes_request("list", "vpcendpoints", "200");
    metrics.watch_started("Service");
    metrics.watch_error("VPCEndpoint");
    metrics.time_to_ready("Interface", 90.0);
    metrics
}

/// Name to (type, help, labels), read back from the text.
fn exported(text: &str) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut families: BTreeMap<String, (String, String, BTreeSet<String>)> = BTreeMap::new();
    let mut helps = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name.to_owned(), help.to_owned());
        } else if let Some((name, type_)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let help = helps.get(name).cloned().unwrap_or_default();
            families.insert(name.to_owned(), (type_.to_owned(), help, BTreeSet::new()));
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["", "_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| families.get_key_value(name.strip_suffix(suffix)?))
                .map(|(family, _)| family.clone())
                .unwrap_or_else(|| panic!("{name} has no TYPE"));
            let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            let labels = inside.map(|(labels, _)| labels).unwrap_or_default();
            let names = labels
                .split(',')
                .filter_map(|pair| pair.split_once('=').map(|(name, _)| name));
            let kept = names.filter(|name| *name != "le").map(str::to_owned);
            families.get_mut(&family).unwrap().2.extend(kept);
        }
    }
    families
}

#[test]
fn every_metric_has_the_name_type_and_labels_that_were_promised() {
    for per_object in [true, false] {
        let mut exported = exported(&filled(per_object).render());
        exported.retain(|name, _| !name.starts_with("process_"));
        for (name, type_, labels, of) in PROMISED {
            let found = exported.remove(*name);
            if *of == Of::Object && !per_object {
                assert!(found.is_none(), "{name} is left out");
                continue;
            }
            let (found_type, _, found_labels) = found.unwrap_or_else(|| panic!("{name} is not exported"));
            assert_eq!(found_type, *type_, "{name}");
            let labels: BTreeSet<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(found_labels, labels, "{name}");
        }
        assert!(exported.is_empty(), "nobody promised {:?}", exported.keys());
    }
}

/// The rules of Prometheus' linter that names can break.
#[test]
fn names_follow_the_guidelines() {
    for (name, (type_, help, labels)) in exported(&filled(true).render()) {
        assert_eq!(name.ends_with("_total"), type_ == "counter", "{name} is a {type_}");
        assert!(!help.is_empty(), "{name} has no help");
        for part in name.split('_') {
            let bad = [
                "ms",
                "milliseconds",
                "minutes",
                "hours",
                "kb",
                "mb",
                "percent",
                "gauge",
                "counter",
                "histogram",
            ];
            assert!(!bad.contains(&part), "{name}: {part}");
        }
        for suffix in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(suffix), "{name}: {suffix} belongs to histograms' parts");
        }
        for label in labels.iter().chain([&name]) {
            assert!(
                label.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}: {label}"
            );
        }
    }
}

#[test]
fn a_scrape_tells_how_the_estate_stands() {
    let text = filled(true).render();
    for sample in [
        r#"vpce_endpoints{account="tenant-a",region="eu-central-1",type="Interface",state="available"} 1"#,
        r#"vpce_endpoints{account="tenant-a",region="eu-central-1",type="Interface",state="deleting"} 1"#,
        r#"vpce_endpoints{account="",region="",type="Interface",state="none"} 1"#,
        r#"vpce_endpoints_not_ready{account="tenant-a",region="eu-central-1",reason="Deleting"} 1"#,
        r#"vpce_endpoints_not_ready{account="",region="",reason="NotReconciled"} 1"#,
        r#"vpce_endpoint_info{namespace="team",name="ready",account="tenant-a",region="eu-central-1",vpc_endpoint_id="vpce-1"} 1"#,
        r#"vpce_endpoint_status_condition{namespace="team",name="leaving",account="tenant-a",condition="Ready",status="False",reason="Deleting"} 1"#,
        r#"vpce_endpoint_status_condition{namespace="other",name="broken",account="",condition="Ready",status="Unknown",reason="NotReconciled"} 1"#,
        r#"vpce_endpoint_not_ready_timestamp_seconds{namespace="team",name="leaving",account="tenant-a"} 9"#,
        r#"vpce_endpoint_deletion_timestamp_seconds{namespace="team",name="leaving",account="tenant-a"} 100"#,
        r#"vpce_endpoint_network_interfaces{account="tenant-a",namespace="team",type="Interface"} 3"#,
        r#"vpce_endpoint_services{account="tenant-a",region="eu-west-1",state="Available"} 2"#,
        r#"vpce_endpoint_services{account="",region="",state="none"} 1"#,
        r#"vpce_endpoint_services_not_ready{account="tenant-a",region="eu-west-1",reason="InUse"} 1"#,
        r#"vpce_endpoint_services_not_ready{account="",region="",reason="NotReconciled"} 1"#,
        r#"vpce_endpoint_service_info{namespace="team",name="offered",account="tenant-a",region="eu-west-1",service_id="vpce-svc-1"} 1"#,
        r#"vpce_endpoint_service_info{namespace="other",name="broken",account="",region="",service_id=""} 1"#,
        r#"vpce_endpoint_service_status_condition{namespace="team",name="leaving",account="tenant-a",condition="Ready",status="False",reason="InUse"} 1"#,
        r#"vpce_endpoint_service_status_condition{namespace="team",name="leaving",account="tenant-a",condition="LoadBalancerReady",status="False",reason="NotFound"} 1"#,
        r#"vpce_endpoint_service_status_condition{namespace="team",name="leaving",account="tenant-a",condition="ServiceAvailable",status="False",reason="InUse"} 1"#,
        r#"vpce_endpoint_service_not_ready_timestamp_seconds{namespace="team",name="leaving",account="tenant-a"} 9"#,
        r#"vpce_endpoint_service_deletion_timestamp_seconds{namespace="team",name="leaving",account="tenant-a"} 100"#,
        r#"vpce_endpoint_service_connections{namespace="team",name="offered",account="tenant-a",state="available"} 3"#,
        r#"vpce_endpoint_service_connections{namespace="team",name="offered",account="tenant-a",state="pending_acceptance"} 2"#,
        r#"vpce_endpoint_service_connections{namespace="team",name="leaving",account="tenant-a",state="rejected"} 4"#,
        r#"vpce_account_endpoint_services{account="tenant-a"} 2"#,
        r#"vpce_account_endpoint_services{account="tenant-b"} 0"#,
        r#"vpce_unparseable_objects{kind="VPCEndpointService"} 1"#,
        r#"vpce_planned_changes{account="tenant-a",action="CreateVpcEndpoint"} 2"#,
        r#"vpce_account_info{account="tenant-a",account_id="111111111111"} 1"#,
        r#"vpce_account_info{account="tenant-b",account_id="222222222222"} 1"#,
        r#"vpce_account_endpoints{account="tenant-a"} 2"#,
        r#"vpce_account_endpoints{account="tenant-b"} 0"#,
        r#"vpce_account_endpoints_limit{account="tenant-a"} 20"#,
        r#"vpce_account_suspended{account="tenant-a"} 1"#,
        r#"vpce_account_suspended{account="tenant-b"} 0"#,
        r#"vpce_account_status_condition{account="tenant-b",condition="Ready",status="False",reason="RoleDenied"} 1"#,
        r#"vpce_account_session_expiration_timestamp_seconds{account="tenant-a"} 5000"#,
        r#"vpce_orphans{account_id="111111111111",region="eu-central-1",kind="endpoint",retained="false"} 2"#,
        r#"vpce_retained{account_id="111111111111",region="eu-central-1"} 4"#,
        r#"vpce_creation_paused{account_id="111111111111",region="eu-central-1"} 1"#,
        r#"vpce_snapshot_timestamp_seconds{account_id="111111111111",region="eu-central-1"} 1000"#,
        "vpce_resync_interval_seconds 300",
        r#"vpce_aws_rate_limiter_tokens{account_id="111111111111",region="eu-central-1",action="CreateVpcEndpoint"} 2.5"#,
        r#"vpce_aws_rate_limiter_queue_length{account_id="111111111111",region="eu-central-1",action="CreateVpcEndpoint"} 3"#,
        r#"vpce_unparseable_objects{kind="VPCEndpoint"} 1"#,
        r#"vpce_unparseable_objects{kind="AWSAccount"} 0"#,
        r#"vpce_watch_errors_total{kind="Service"} 0"#,
        r#"vpce_reconciles_in_flight{controller="endpoint"} 0"#,
        r#"vpce_queue_depth{controller="endpoint"} 4"#,
        "vpce_leader 1",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}\nin\n{text}");
    }
}

/// The lines of a scrape that speak of this.
fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn an_endpoint_tells_of_what_is_not_as_it_should_be_and_of_nothing_else() {
    let told = |conditions: Vec<Value>| {
        let metrics = Metrics::new(MetricsOptions {
            per_object: true,
            version: "",
            revision: "",
        });
        metrics.attach(Sources {
            endpoints: caches(&[json!({
                "metadata": {"namespace": "team", "name": "api"}, "spec": {}, "status": {"conditions": conditions},
            })]),
            ..sources()
        });
        metrics.leader(true);
        let text = metrics.render();
        let of_object = lines_with(&text, r#"{namespace="team",name="api""#).into_iter();
        let labels = of_object.filter_map(|line| line.split_once("condition=\"")?.1.split_once("} "));
        let conditions: Vec<String> = labels.map(|(labels, _)| labels.replace('"', "")).collect();
        let since = lines_with(&text, "vpce_endpoint_not_ready_timestamp_seconds{").len();
        (conditions, since)
    };
    let part = |status: &str, reason: &str| condition("EndpointAvailable", status, reason, 1);
    let resolved = || condition("AccountResolved", "False", "AccountNotReady", 1);
    let ready = |status: &str, reason: &str| condition("Ready", status, reason, 1);
    let stalled = |status: &str| condition("Stalled", status, "Failed", 1);
    for (conditions, expected, since) in [
        (vec![], vec!["Ready,status=Unknown,reason=NotReconciled"], 0),
        (
            vec![ready("True", "Available"), part("True", "Available"), stalled("False")],
            vec![],
            0,
        ),
        (
            vec![ready("True", "AccountSuspended")],
            vec!["Ready,status=True,reason=AccountSuspended"],
            0,
        ),
        (
            vec![ready("False", "AccountNotReady"), resolved()],
            vec!["Ready,status=False,reason=AccountNotReady"],
            1,
        ),
        (
            vec![ready("False", "Failed"), part("False", "Failed"), stalled("True")],
            vec![
                "Ready,status=False,reason=Failed",
                "Stalled,status=True,reason=Failed",
                "EndpointAvailable,status=False,reason=Failed",
            ],
            1,
        ),
        (
            vec![ready("Unknown", "Pending"), part("Unknown", "Pending")],
            vec![
                "Ready,status=Unknown,reason=Pending",
                "EndpointAvailable,status=Unknown,reason=Pending",
            ],
            1,
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(told(conditions.clone()), (expected, since), "{conditions:?}");
    }
}

#[test]
fn an_account_tells_whether_it_is_ready_and_what_else_needs_attention() {
    let metrics = Metrics::new(MetricsOptions {
        per_object: false,
        version: "",
        revision: "",
    });
    let account = |name: &str, conditions: Vec<Value>| {
        json!({
            "metadata": {"name": name}, "spec": {"role_arn": "arn:aws:iam::111111111111:role/vpce"},
            "status": {"conditions": conditions},
        })
    };
    metrics.attach(Sources {
        accounts: caches(&[
            account(
                "good",
                vec![
                    condition("Ready", "True", "Verified", 1),
                    condition("PermissionsVerified", "True", "AllAllowed", 1),
                    condition("CreationPaused", "False", "MassDeletionDetected", 1),
                    condition("Stalled", "False", "Verified", 1),
                ],
            ),
            account(
                "bad",
                vec![
                    condition("Ready", "False", "InvalidSpec", 1),
                    condition("PermissionsVerified", "Unknown", "Asking", 1),
                    condition("CreationPaused", "True", "MassDeletionDetected", 1),
                    condition("Stalled", "True", "InvalidSpec", 1),
                ],
            ),
        ]),
        ..sources()
    });
    metrics.leader(true);
    let text = metrics.render();
    let told = |name: &str| lines_with(&text, &format!("vpce_account_status_condition{{account=\"{name}\"")).len();
    assert_eq!((told("good"), told("bad")), (1, 4), "{text}");
}

#[test]
fn an_endpoint_service_that_is_ready_has_no_series_but_those_of_what_it_is_and_its_connections() {
    let text = filled(true).render();
    let offered = lines_with(&text, r#"name="offered""#);
    let names = offered.iter().filter_map(|line| Some(line.split_once('{')?.0));
    let expected = [
        "vpce_endpoint_service_info",
        "vpce_endpoint_service_connections",
        "vpce_endpoint_service_connections",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn a_rate_limiter_at_rest_and_a_count_of_none_have_no_series() {
    let text = filled(true).render();
    let none: [&str; 0] = [];
    assert_eq!(lines_with(&text, r#"action="DescribeVpcEndpoints""#), none);
    assert_eq!(lines_with(&text, r#"kind="security_group",retained="false""#), none);
}

#[test]
fn what_others_write_into_a_status_cannot_end_a_label() {
    let metrics = Metrics::new(MetricsOptions {
        per_object: true,
        version: "",
        revision: "",
    });
    metrics.attach(Sources {
        endpoints: caches(&[json!({
            "metadata": {"namespace": "team", "name": "api"}, "spec": {}, "status": {"vpc_endpoint_id": "a\"} 1\n\\b"},
        })]),
        ..sources()
    });
    metrics.leader(true);
    let text = metrics.render();
    let escaped =
        r#"vpce_endpoint_info{namespace="team",name="api",account="",region="",vpc_endpoint_id="a\"} 1\n\\b"} 1"#;
    assert!(text.lines().any(|line| line == escaped), "{text}");
}

#[test]
fn who_is_not_the_leader_exports_no_objects() {
    let metrics = filled(true);
    metrics.leader(false);
    let text = metrics.render();
    assert!(!text.contains("vpce_endpoints{"), "{text}");
    assert!(!text.contains("vpce_endpoint_services{"), "{text}");
    assert!(!text.contains("vpce_account_info{"), "{text}");
    assert!(text.contains("vpce_leader 0"), "{text}");
}

#[test]
fn an_account_that_is_gone_leaves_no_series_behind() {
    let metrics = filled(true);
    // A reconcile that ends after its AWSAccount is gone, and a call for it.
    metrics.reconcile("account", "tenant-c", Outcome::Ok, 0.1);
    metrics.aws_request(
        "333333333333",
        "eu-central-1",
        "ec2",
        "CreateVpcEndpoint",
        Some(Class::Quota),
        0.1,
    );
    let text = metrics.render();
    assert!(!text.contains("tenant-c") && !text.contains("333333333333"), "{text}");
    for left in [
        r#"vpce_reconciles_total{account="tenant-a""#,
        r#"vpce_reconciles_total{account="tenant-b""#,
        r#"vpce_aws_requests_total{account_id="111111111111""#,
        r#"vpce_aws_requests_total{account_id="222222222222""#,
        r#"vpce_aws_request_errors_total{account_id="222222222222""#,
    ] {
        assert!(text.contains(left), "{left} in {text}");
    }
}

#[test]
fn names_that_people_make_up_do_not_become_labels() {
    let metrics = Metrics::new(MetricsOptions {
        per_object: false,
        version: "",
        revision: "",
    });
    let endpoint = |number: usize| {
        let spec = json!({
            "vpc_id": "vpc-1", "vpc_endpoint_service_id": "vpce-svc-1", "security_group_type": "generated",
            "account": format!("made-up-{number}"), "region": format!("xx-made-up-{number}"),
        });
        json!({"metadata": {"namespace": "team", "name": format!("a-{number}")}, "spec": spec})
    };
    let region = |number: usize| RegionGauges {
        account_id: "111111111111".into(),
        region: format!("xx-made-up-{number}"),
        snapshot_at: None,
        paused: false,
        orphans: vec![],
        limiters: vec![RateLimiterGauges {
            action: "DescribeVpcEndpoints",
            tokens: 1.0,
            waiting: 0,
            full: false,
        }],
    };
    let many = 500;
    metrics.attach(Sources {
        endpoints: caches(&(0..many).map(endpoint).collect::<Vec<_>>()),
        regions: Arc::new(move || (0..many).map(region).collect()),
        ..sources()
    });
    metrics.leader(true);
    for number in 0..many {
        let region = format!("xx-made-up-{number}");
        metrics.aws_request(
            "111111111111",
            &region,
            "ec2",
            "DescribeVpcEndpoints",
            Some(Class::Transient),
            0.1,
        );
    }
    let text = metrics.render();
    let of = |metric: &str| {
        text.lines()
            .filter(|line| line.starts_with(&format!("{metric}{{")))
            .count()
    };
    assert_eq!(of("vpce_endpoints"), 1, "{text}");
    assert_eq!(of("vpce_endpoint_network_interfaces"), 1, "{text}");
    assert_eq!(of("vpce_aws_rate_limiter_tokens"), 0, "{text}");
    for counter in ["vpce_aws_requests_total", "vpce_aws_request_errors_total"] {
        assert_eq!(of(counter), 65, "{text}");
        let is_of_others =
            |line: &&str| line.starts_with(counter) && line.ends_with(r#"region="other",service="ec2"} 436"#);
        assert_eq!(text.lines().filter(is_of_others).count(), 1, "{text}");
    }
}

#[test]
fn what_is_described_is_what_is_exported() {
    for per_object in [true, false] {
        let metrics = filled(per_object);
        let exported = exported(&metrics.render());
        let described: BTreeMap<String, (String, String, BTreeSet<String>)> = metrics
            .described()
            .into_iter()
            .map(|metric| {
                (
                    metric.name,
                    (
                        metric.type_.to_owned(),
                        metric.help,
                        metric.labels.into_iter().collect(),
                    ),
                )
            })
            .collect();
        assert_eq!(exported, described);
    }
}

#[test]
fn a_reconcile_is_in_flight_until_it_ends_even_by_a_panic() {
    let metrics = filled(true);
    let sample = |n: u8| format!("vpce_reconciles_in_flight{{controller=\"endpoint\"}} {n}\n");
    let first = metrics.in_flight("endpoint");
    assert!(metrics.render().contains(&sample(1)));
    let during = metrics.clone();
    let panicked = std::thread::spawn(move || {
        let _running = during.in_flight("endpoint");
        panic!("a reconcile fails");
    });
    assert!(panicked.join().is_err());
    assert!(metrics.render().contains(&sample(1)));
    drop(first);
    assert!(metrics.render().contains(&sample(0)));
}

/// What the role of an account may do, and so what is counted of it: each has been asked for in a
/// dry run.
const ACTIONS: &[&str] = &[
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateSecurityGroup",
    "CreateTags",
    "CreateVpcEndpoint",
    "DeleteSecurityGroup",
    "DeleteTags",
    "DeleteVpcEndpoints",
    "DescribeSecurityGroupRules",
    "DescribeSecurityGroups",
    "DescribeVpcEndpoints",
    "ModifyVpcEndpoint",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "UpdateSecurityGroupRuleDescriptionsIngress",
];

fn account_name(account: usize) -> String {
    format!("payments-{account:04}")
}

fn account_id(account: usize) -> String {
    format!("{:012}", 111_111_000_000 + account)
}

/// An endpoint of an account: created, and at rest since, or one that could not be created.
fn endpoint_of(account: usize, number: usize, ready: bool) -> Value {
    let at_rest = ["True", "False"];
    let [good, status] = if ready { ["True", "True"] } else { at_rest };
    let reason = |reason: &'static str| if ready { reason } else { "Invalid" };
    let mut conditions = vec![
        condition("Ready", status, reason("Available"), 7),
        condition("AccountResolved", good, "Resolved", 7),
        condition("EndpointAvailable", status, reason("Available"), 7),
        condition(
            "ServicePublished",
            status,
            if ready { "Published" } else { "WaitingForEndpoint" },
            7,
        ),
    ];
    if !ready {
        conditions.push(condition("Stalled", "True", "Invalid", 7));
    }
    json!({
        "metadata": {"namespace": account_name(account), "name": format!("card-processor-{number:02}")},
        "spec": {
            "vpc_id": "vpc-1", "vpc_endpoint_service_id": "vpce-svc-1", "security_group_type": "generated",
            "region": "eu-central-1",
        },
        "status": {
            "account": {"name": account_name(account), "account_id": account_id(account)}, "region": "eu-central-1",
            "vpc_endpoint_id": format!("vpce-0123456789ab{account:03x}{number:02x}"), "state": "available",
            "network_interface_ids": ["eni-1", "eni-2", "eni-3"], "conditions": conditions,
        },
    })
}

/// So many AWSAccounts, each of a namespace with as many endpoints: made, and at rest since. Those
/// that are not `ready` could not be made.
fn estate(accounts: usize, endpoints: usize, ready: bool) -> Metrics {
    let all = (0..accounts).flat_map(|account| (0..endpoints).map(move |number| (account, number)));
    let all: Vec<Value> = all
        .map(|(account, number)| endpoint_of(account, number, ready))
        .collect();
    let account = |account: usize| {
        json!({
            "metadata": {"name": account_name(account)},
            "spec": {"role_arn": format!("arn:aws:iam::{}:role/vpce", account_id(account)), "max_endpoints": 20},
            "status": {"account_id": account_id(account), "conditions": [
                condition("Ready", "True", "Verified", 1), condition("PermissionsVerified", "True", "AllAllowed", 1),
            ]},
        })
    };
    let region = move |account: usize| RegionGauges {
        account_id: account_id(account),
        region: "eu-central-1".into(),
        snapshot_at: Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        paused: false,
        orphans: vec![
            ("endpoint", false, 0),
            ("security_group", false, 0),
            ("endpoint", true, 0),
            ("security_group", true, 0),
        ],
        limiters: ACTIONS
            .iter()
            .map(|action| RateLimiterGauges {
                action,
                tokens: 100.0,
                waiting: 0,
                full: true,
            })
            .collect(),
    };
    let metrics = Metrics::new(MetricsOptions {
        per_object: true,
        version: "1.2.3",
        revision: "abc",
    });
    metrics.attach(Sources {
        resync_interval: Arc::new(|| Duration::from_mins(5)),
        endpoints: caches(&all),
        endpoint_services: caches(&[]),
        accounts: caches(&(0..accounts).map(account).collect::<Vec<_>>()),
        regions: Arc::new(move || (0..accounts).map(region).collect()),
        planned_changes: Arc::new(Vec::new),
        sessions: Arc::new(move || {
            let expires = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            (0..accounts).map(|account| (account_name(account), expires)).collect()
        }),
    });
    metrics.leader(true);
    for account in 0..accounts {
        for action in ACTIONS {
            metrics.aws_request(&account_id(account), "eu-central-1", "ec2", action, None, 0.1);
        }
        for action in ["AssumeRole", "GetCallerIdentity"] {
            metrics.aws_request(&account_id(account), "eu-central-1", "sts", action, None, 0.1);
        }
        metrics.reconcile("awsaccount", &account_name(account), Outcome::Ok, 0.1);
        for _ in 0..endpoints {
            metrics.reconcile("vpcendpoint", &account_name(account), Outcome::Ok, 0.1);
            metrics.time_to_ready("Interface", 90.0);
        }
    }
    metrics
}

/// How many bytes each takes that is there more than once.
#[test]
fn a_scrape_takes_a_bounded_number_of_bytes_for_each_account_and_endpoint() {
    let bytes = |accounts, endpoints, ready| estate(accounts, endpoints, ready).render().len();
    let small = bytes(10, 10, true);
    let endpoint = (bytes(10, 20, true) - small) / (10 * 10);
    let account = (bytes(20, 10, true) - small) / 10 - 10 * endpoint;
    let not_ready = (bytes(10, 20, false) - bytes(10, 10, false)) / (10 * 10);
    assert!(endpoint <= 170, "{endpoint} bytes for an endpoint that is Ready");
    assert!(not_ready <= 850, "{not_ready} bytes for an endpoint that is not");
    assert!(account <= 1_250, "{account} bytes for an account");
    let large = small + 9_900 * endpoint + 990 * account;
    assert!(
        large <= 3_000_000,
        "{large} bytes for 10,000 endpoints in 1,000 accounts"
    );
}
