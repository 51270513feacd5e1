//! Which accounts a namespace may use: what an AWSAccount names, by name or by label, and nothing
//! else. Which endpoints of others it may share, likewise.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::{AWSAccountSpec, Consumers, Share};

/// Whether the account's spec maps the namespace: its list names it, or its selector selects its
/// labels. `labels` as in `includes`.
pub fn maps(spec: &AWSAccountSpec, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    includes(&spec.namespaces, spec.namespace_selector.as_ref(), namespace, labels)
}

/// Whether an object of another namespace may share an endpoint. `labels` as in `includes`.
pub fn shares(share: &Share, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    includes(&share.namespaces, share.namespace_selector.as_ref(), namespace, labels)
}

/// Whether a VPCEndpoint of another namespace may connect to an endpoint service by naming its
/// object. `labels` as in `includes`.
pub fn consumes(consumers: &Consumers, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let selector = consumers.namespace_selector.as_ref();
    includes(&consumers.namespaces, selector, namespace, labels)
}

/// Whether these names or this selector include the namespace.
///
/// `labels` are `None` where the operator does not know the Namespace. Such a one is included by
/// nothing: `NotIn` and `DoesNotExist` would take it for one without labels.
fn includes(
    names: &[String],
    selector: Option<&LabelSelector>,
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let Some(labels) = labels else {
        return false;
    };
    names.iter().any(|name| name == namespace) || selector.is_some_and(|selector| selects(selector, labels))
}

/// Whether the account's spec can map no namespace, whatever namespaces there are.
pub fn maps_no_namespace(spec: &AWSAccountSpec) -> bool {
    spec.namespaces.is_empty() && spec.namespace_selector.as_ref().is_none_or(is_empty)
}

fn is_empty(selector: &LabelSelector) -> bool {
    let labels = selector.match_labels.as_ref();
    labels.is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Kubernetes' meaning of a label selector, but that an empty one selects nothing, and that an
/// operator that is not known selects nothing: deny by default.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.match_labels.as_ref();
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    if is_empty(selector) {
        return false;
    }
    wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
        && expressions.iter().all(|expression| holds(expression, labels))
}

fn holds(expression: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let label = labels.get(&expression.key);
    let listed = |value: &String| expression.values.iter().flatten().any(|v| v == value);
    match expression.operator.as_str() {
        "In" => label.is_some_and(listed),
        "NotIn" => expression.values.as_ref().is_some_and(|v| !v.is_empty()) && !label.is_some_and(listed),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(value: serde_json::Value) -> AWSAccountSpec {
        let mut object = json!({"role_arn": "arn:aws:iam::111122223333:role/x"});
        object
            .as_object_mut()
            .expect("an object")
            .extend(value.as_object().expect("an object").clone());
        serde_json::from_value(object).expect("a spec")
    }

    #[test]
    fn who_maps_no_namespace_is_known_without_any_namespace() {
        for (given, none) in [
            (json!({}), true),
            (json!({"namespaces": [], "namespace_selector": {}}), true),
            (
                json!({"namespace_selector": {"matchLabels": {}, "matchExpressions": []}}),
                true,
            ),
            (json!({"namespaces": ["blue"]}), false),
            (json!({"namespace_selector": {"matchLabels": {"a": "b"}}}), false),
        ] {
            assert_eq!(maps_no_namespace(&spec(given.clone())), none, "{given}");
        }
    }

    #[test]
    fn only_what_is_named_is_mapped() {
        let labels = BTreeMap::from([
            ("team".to_owned(), "blue".to_owned()),
            ("env".to_owned(), "prod".to_owned()),
        ]);
        let cases = [
            (json!({}), false),
            (json!({"namespaces": []}), false),
            (json!({"namespaces": ["other"]}), false),
            (json!({"namespaces": ["other", "blue"]}), true),
            (json!({"namespace_selector": {}}), false),
            (json!({"namespace_selector": {"matchLabels": {}}}), false),
            (json!({"namespace_selector": {"matchLabels": {"team": "blue"}}}), true),
            (
                json!({"namespace_selector": {"matchLabels": {"team": "blue", "env": "dev"}}}),
                false,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["red", "blue"]}]}}),
                true,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "team", "operator": "In"}]}}),
                false,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["blue"]}]}}),
                false,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "team", "operator": "NotIn"}]}}),
                false,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "gone", "operator": "Exists"}]}}),
                false,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}}),
                true,
            ),
            (
                json!({"namespace_selector": {"matchExpressions": [{"key": "team", "operator": "Resembles", "values": ["blue"]}]}}),
                false,
            ),
            (
                json!({"namespaces": ["x"], "namespace_selector": {"matchLabels": {"team": "blue"}}}),
                true,
            ),
        ];
        for (case, expected) in cases {
            assert_eq!(maps(&spec(case.clone()), "blue", Some(&labels)), expected, "{case}");
        }
    }

    #[test]
    fn an_unknown_namespace_is_mapped_by_nothing() {
        let selector = |operator: &str, values: serde_json::Value| {
            let mut expression = json!({"key": "team", "operator": operator});
            if !values.is_null() {
                expression["values"] = values;
            }
            json!({"namespace_selector": {"matchExpressions": [expression]}})
        };
        let cases = [
            json!({"namespaces": ["blue"]}),
            json!({"namespace_selector": {"matchLabels": {"team": "blue"}}}),
            selector("In", json!(["blue"])),
            selector("NotIn", json!(["red"])),
            selector("Exists", json!(null)),
            selector("DoesNotExist", json!(null)),
        ];
        let unlabelled = BTreeMap::new();
        let maps_unlabelled: Vec<bool> = cases
            .iter()
            .map(|case| maps(&spec(case.clone()), "blue", Some(&unlabelled)))
            .collect();
        assert_eq!(maps_unlabelled, [true, false, false, true, false, true]);
        for case in cases {
            assert!(!maps(&spec(case.clone()), "blue", None), "{case}");
        }
    }
}
