//! What may be said to the chart: every value is described, checked and documented, and a wrong one
//! is refused with its path.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::{chart, helm, refused};

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).expect("the schema")).expect("JSON")
}

fn defaults() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(chart().join("values.yaml")).expect("the values")).expect("YAML")
}

/// All schemas below one, with their paths.
fn schemas(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    found.push((path.to_owned(), schema.clone()));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        schemas(&format!("{path}.{name}"), property, found);
    }
    for (_, values) in schema["patternProperties"].as_object().into_iter().flatten() {
        schemas(&format!("{path}[]"), values, found);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            schemas(&format!("{path}[]"), &schema[key], found);
        }
    }
}

#[test]
fn every_value_has_a_description_and_every_object_of_ours_refuses_what_it_does_not_know() {
    let mut found = Vec::new();
    schemas("", &schema(), &mut found);
    assert!(found.len() > 130, "{}", found.len());
    let mut wrong = Vec::new();
    // What other charts, and Kubernetes, have more fields for.
    let open = [
        ".global",
        ".initContainers[]",
        ".extraContainers[]",
        ".extraVolumes[]",
        ".extraObjects[]",
    ];
    for (path, schema) in &found {
        let referred = schema["$ref"].is_string();
        if !path.is_empty() && !referred && schema["description"].as_str().unwrap_or_default().is_empty() {
            wrong.push(format!("{path} has no description"));
        }
        if schema["properties"].is_object()
            && schema["additionalProperties"] != json!(false)
            && !open.contains(&path.as_str())
        {
            wrong.push(format!("{path} takes any field"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths of all values, down to what is no object of ours.
fn paths(path: &str, value: &Value, schema: &Value, found: &mut BTreeSet<String>) {
    match (value, schema["properties"].as_object()) {
        (Value::Object(fields), Some(properties)) => {
            for (name, field) in fields {
                let inner = properties.get(name).unwrap_or(&Value::Null);
                paths(&format!("{path}.{name}"), field, inner, found);
            }
        }
        _ => _ = found.insert(path.to_owned()),
    }
}

#[test]
fn every_value_of_the_schema_has_a_default_and_every_default_a_schema() {
    let (schema, defaults) = (schema(), defaults());
    let compare = |path: &str, schema: &Value, defaults: &Value| {
        let names = |value: &Value| -> BTreeSet<String> {
            value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect()
        };
        let (known, given) = (names(&schema["properties"]), names(defaults));
        assert_eq!(known, given, "{path}");
    };
    compare("", &schema, &defaults);
    for section in [
        "global",
        "image",
        "crds",
        "rbac",
        "admissionPolicy",
        "protect",
        "serviceAccount",
        "settings",
        "proxy",
        "networkPolicy",
        "livenessProbe",
        "readinessProbe",
        "podDisruptionBudget",
        "metrics",
        "serviceMonitor",
        "podMonitor",
        "prometheusRule",
    ] {
        compare(section, &schema["properties"][section], &defaults[section]);
    }
    compare(
        "metrics.service",
        &schema["properties"]["metrics"]["properties"]["service"],
        &defaults["metrics"]["service"],
    );
    let (schema, defaults) = (
        &schema["properties"]["grafanaDashboards"],
        &defaults["grafanaDashboards"],
    );
    for section in ["configMaps", "grafanaOperator"] {
        compare(section, &schema["properties"][section], &defaults[section]);
    }
}

#[test]
fn every_value_is_in_the_readme_and_in_a_unit_test() {
    let readme = fs::read_to_string(chart().join("README.md")).expect("the README");
    let tests: String = fs::read_dir(chart().join("tests"))
        .expect("the unit tests")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("readable"))
        .collect();
    let mut all = BTreeSet::new();
    paths("", &defaults(), &schema(), &mut all);
    assert!(all.len() > 80, "{all:?}");
    let missing: Vec<&str> = all
        .iter()
        .map(|path| path.trim_start_matches('.'))
        .filter(|path| {
            let told = readme.contains(&format!("| {path} |"))
                || path.starts_with("resources.")
                || path.starts_with("strategy.")
                || path.starts_with("grafanaDashboards.grafanaOperator.instanceSelector");
            let name = path.rsplit('.').next().expect("a name");
            !told || !tests.contains(&format!("{name}:"))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Expects of each wrong value that helm refuses it and names its path.
#[track_caller]
fn refused_with_their_paths(cases: &[(Value, &str)]) {
    for (wrong, path) in cases {
        let mut template = helm();
        template.args(["template", "x", "--set-json", &wrong.to_string()]);
        let complaint = refused(template.arg(chart()));
        let named = complaint.contains(&format!("'{path}'"))
            || complaint.contains(&format!("'{}'", path.trim_start_matches('/')));
        assert!(
            complaint.contains("values don't meet the specifications of the schema") && named,
            "{wrong}: {complaint}"
        );
    }
}

#[test]
fn a_wrong_value_of_the_deployment_is_refused_with_its_path() {
    refused_with_their_paths(&[
        (json!({"replica": 2}), "replica"),
        (json!({"replicas": "two"}), "/replicas"),
        (json!({"replicas": 11}), "/replicas"),
        (json!({"namespace": "Not_A_Name"}), "/namespace"),
        (json!({"commonLabels": {"a": "b c"}}), "/commonLabels/a"),
        (json!({"commonAnnotations": {"a": 1}}), "/commonAnnotations/a"),
        (json!({"image": {"digest": "sha256:short"}}), "/image/digest"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "/image/pullPolicy"),
        (json!({"image": {"registry": "https://x y"}}), "/image/registry"),
        (json!({"imagePullSecrets": ["key"]}), "/imagePullSecrets/0"),
        (
            json!({"global": {"imagePullSecrets": ["key"]}}),
            "/global/imagePullSecrets/0",
        ),
        (json!({"envFrom": {"name": "a"}}), "/envFrom"),
        (json!({"initContainers": [{"image": "a"}]}), "/initContainers/0"),
        (json!({"extraContainers": [{"image": "a"}]}), "/extraContainers/0"),
        (json!({"strategy": {"type": "OnDelete"}}), "/strategy/type"),
        (json!({"revisionHistoryLimit": -1}), "/revisionHistoryLimit"),
        (
            json!({"terminationGracePeriodSeconds": "1m"}),
            "/terminationGracePeriodSeconds",
        ),
        (json!({"podSecurityContext": true}), "/podSecurityContext"),
        (json!({"dnsPolicy": "cluster"}), "/dnsPolicy"),
        (json!({"dnsConfig": {"nameserver": []}}), "/dnsConfig"),
        (json!({"deploymentLabels": {"a": "b c"}}), "/deploymentLabels/a"),
        (json!({"extraArgs": "--x"}), "/extraArgs"),
        (json!({"extraEnv": [{"value": "x"}]}), "/extraEnv/0"),
        (json!({"extraVolumes": [{"emptyDir": {}}]}), "/extraVolumes/0"),
        (
            json!({"extraVolumeMounts": [{"name": "a", "path": "/a"}]}),
            "/extraVolumeMounts/0",
        ),
        (
            json!({"serviceAccount": {"annotations": {"a": true}}}),
            "/serviceAccount/annotations/a",
        ),
        (json!({"proxy": {"https": "proxy:3128"}}), "/proxy/https"),
        (json!({"proxy": {"noProxy": ["a,b"]}}), "/proxy/noProxy/0"),
        (
            json!({"networkPolicy": {"apiServerPorts": [0]}}),
            "/networkPolicy/apiServerPorts/0",
        ),
        (json!({"resources": {"request": {}}}), "/resources"),
        (
            json!({"livenessProbe": {"periodSeconds": 0}}),
            "/livenessProbe/periodSeconds",
        ),
        (json!({"readinessProbe": {"httpGet": {}}}), "/readinessProbe"),
        (json!({"tolerations": {"key": "a"}}), "/tolerations"),
        (json!({"affinity": {"podAfinity": {}}}), "/affinity"),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1}]}),
            "/topologySpreadConstraints/0",
        ),
        (
            json!({"podDisruptionBudget": {"maxUnavailable": "half"}}),
            "/podDisruptionBudget/maxUnavailable",
        ),
        (
            json!({"podDisruptionBudget": {"minAvailable": "half"}}),
            "/podDisruptionBudget/minAvailable",
        ),
    ]);
}

#[test]
fn a_wrong_value_of_what_the_operator_may_do_is_refused_with_its_path() {
    refused_with_their_paths(&[
        (json!({"mode": "readonly"}), "/mode"),
        (json!({"crds": {"create": true}}), "/crds"),
        (json!({"crds": {"keep": "yes"}}), "/crds/keep"),
        (json!({"extraObjects": [{"kind": "ConfigMap"}]}), "/extraObjects/0"),
        (json!({"rbac": {"namespaces": ["a", "a"]}}), "/rbac/namespaces"),
        (
            json!({"admissionPolicy": {"enabled": "yes"}}),
            "/admissionPolicy/enabled",
        ),
        (
            json!({"admissionPolicy": {"dnsSuffixes": ["it's"]}}),
            "/admissionPolicy/dnsSuffixes/0",
        ),
        (
            json!({"admissionPolicy": {"addressRanges": ["10.0.0.0"]}}),
            "/admissionPolicy/addressRanges/0",
        ),
        (json!({"protect": {"enabled": 1}}), "/protect/enabled"),
        (json!({"awsAccounts": {"payments": {}}}), "/awsAccounts/payments"),
        (
            json!({"awsAccounts": {"payments": {"role_arn": "arn:aws:iam::1:role/x"}}}),
            "/awsAccounts/payments/role_arn",
        ),
        (
            json!({"awsAccounts": {"payments": {"role_arn": "arn:aws:iam::111122223333:role/x", "namespace": "a"}}}),
            "/awsAccounts/payments",
        ),
        (
            json!({"awsAccounts": {"Payments": {"role_arn": "arn:aws:iam::111122223333:role/x"}}}),
            "/awsAccounts",
        ),
        (json!({"settings": {"logFormat": "xml"}}), "/settings/logFormat"),
        (
            json!({"settings": {"useFipsEndpoints": "maybe"}}),
            "/settings/useFipsEndpoints",
        ),
        (
            json!({"settings": {"otlpEndpoint": "collector:4318"}}),
            "/settings/otlpEndpoint",
        ),
        (
            json!({"settings": {"resyncIntervalSeconds": 0}}),
            "/settings/resyncIntervalSeconds",
        ),
        (
            json!({"settings": {"awsLimits": {"CreateVpcEndpoint": "fast"}}}),
            "/settings/awsLimits/CreateVpcEndpoint",
        ),
    ]);
}

#[test]
fn a_wrong_value_of_the_monitoring_is_refused_with_its_path() {
    refused_with_their_paths(&[
        (json!({"metrics": {"auth": "no"}}), "/metrics/auth"),
        (
            json!({"metrics": {"readers": [{"name": "prometheus"}]}}),
            "/metrics/readers/0",
        ),
        (
            json!({"metrics": {"tls": {"secretName": "A B"}}}),
            "/metrics/tls/secretName",
        ),
        (
            json!({"metrics": {"service": {"ipFamilies": ["IPv5"]}}}),
            "/metrics/service/ipFamilies/0",
        ),
        (json!({"serviceMonitor": {"kind": "PodMonitor"}}), "/serviceMonitor"),
        (
            json!({"serviceMonitor": {"honorLabels": "no"}}),
            "/serviceMonitor/honorLabels",
        ),
        (
            json!({"podMonitor": {"tokenSecret": {"key": ""}}}),
            "/podMonitor/tokenSecret/key",
        ),
        (json!({"podMonitor": {"interval": "often"}}), "/podMonitor/interval"),
        (
            json!({"prometheusRule": {"runbookBaseUrl": "docs"}}),
            "/prometheusRule/runbookBaseUrl",
        ),
        (
            json!({"prometheusRule": {"alertLabels": {"a-b": "c"}}}),
            "/prometheusRule/alertLabels",
        ),
        (json!({"grafanaDashboards": {"enabled": true}}), "/grafanaDashboards"),
        (
            json!({"grafanaDashboards": {"configMaps": {"labels": {"a": 1}}}}),
            "/grafanaDashboards/configMaps/labels/a",
        ),
        (
            json!({"grafanaDashboards": {"grafanaOperator": {"instanceSelector": {"a": "b"}}}}),
            "/grafanaDashboards/grafanaOperator/instanceSelector",
        ),
    ]);
}
