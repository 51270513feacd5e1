//! What is kept of a Service in memory. Whoever may write Services can give them our label, and any
//! number of labels, annotations and ports: so only what [`super::observed`] reads is kept, and of
//! that no more than a VPCEndpoint can ask for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::core::ObjectMeta;
use vpce_core::api::{APPLIED_METADATA, GROUP};
use vpce_core::metadata::Applied;

use super::MANAGED_BY;
use crate::k8s::caches::Endpoint;

/// One more than `spec.service.ports` may have, so that a list that was truncated is not what an
/// object wants.
const MOST_PORTS: usize = 65;
/// As many labels and annotations as `spec.service` may have.
const MOST_KEYS: usize = 32;
/// One character more than a value may have.
const LONGEST_VALUE: usize = 4097;
/// A name has at most 253 characters, a UID 36, and there is the version.
const LONGEST_OWNER: usize = 320;
/// The keys of all of them have room in this.
const LONGEST_APPLIED: usize = 32 * 1024;

/// Removes what is not read.
pub(crate) fn prune(service: &mut Service) {
    let mut meta = std::mem::take(&mut service.metadata);
    let owners = meta.owner_references.take().unwrap_or_default();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    let is_ours = owner.as_ref().is_some_and(|owner| {
        let is_endpoint = owner.kind == Endpoint::kind(&()) && owner.api_version.split('/').next() == Some(GROUP);
        is_endpoint && owner.name.len() + owner.uid.len() + owner.api_version.len() <= LONGEST_OWNER
    });
    let mut labels = meta.labels.take().unwrap_or_default();
    let mut annotations = meta.annotations.take().unwrap_or_default();
    let text = annotations.remove(APPLIED_METADATA);
    let text = text.filter(|text| is_ours && text.len() <= LONGEST_APPLIED);
    let set = Applied::parse(text.as_deref());
    let managed_by = labels.remove_entry(MANAGED_BY.0);
    let mut labels = kept(labels, &set.labels);
    labels.extend(managed_by.map(|(key, value)| (key, truncated(value))));
    let mut annotations = kept(annotations, &set.annotations);
    annotations.extend(text.map(|text| (APPLIED_METADATA.to_owned(), text)));
    service.metadata = ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        deletion_timestamp: meta.deletion_timestamp,
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: owner.map(|owner| vec![if is_ours { owner } else { other_controller() }]),
        ..ObjectMeta::default()
    };
    let spec = service.spec.take().unwrap_or_default();
    let ports = spec.ports.into_iter().flatten().take(MOST_PORTS);
    service.spec = Some(ServiceSpec {
        type_: spec.type_,
        external_name: spec.external_name,
        cluster_ip: spec.cluster_ip,
        selector: spec
            .selector
            .filter(|selector| !selector.is_empty())
            .map(|_| any_selector()),
        ports: Some(
            ports
                .map(|port| ServicePort {
                    name: port.name,
                    port: port.port,
                    protocol: port.protocol,
                    ..ServicePort::default()
                })
                .collect(),
        ),
        ..ServiceSpec::default()
    });
    service.status = None;
}

/// A controller that is none of our objects: that there is one is all that matters.
fn other_controller() -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        ..OwnerReference::default()
    }
}

/// That there is a selector is all that matters.
fn any_selector() -> BTreeMap<String, String> {
    BTreeMap::from([(String::new(), String::new())])
}

fn kept(all: BTreeMap<String, String>, keys: &BTreeSet<String>) -> BTreeMap<String, String> {
    let set = all.into_iter().filter(|(key, _)| keys.contains(key));
    set.take(MOST_KEYS)
        .map(|(key, value)| (key, truncated(value)))
        .collect()
}

/// Too long, it is no value that an object may ask for, however it goes on.
fn truncated(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(LONGEST_VALUE) {
        value.truncate(end);
        value.shrink_to_fit();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::service::observed;
    use serde_json::{Value, json};
    use vpce_core::metadata::Metadata;

    fn service(changes: Value) -> Service {
        let mut object = json!({
            "metadata": {
                "name": "a", "namespace": "b", "uid": "s", "resourceVersion": "7",
                "labels": {MANAGED_BY.0: MANAGED_BY.1, "team": "blue", "other": "x"},
                "annotations": {
                    APPLIED_METADATA: r#"{"labels":["team"],"annotations":["note"]}"#,
                    "note": "hello", "kubectl.kubernetes.io/last-applied-configuration": "{}",
                },
                "ownerReferences": [{
                    "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint", "name": "a", "uid": "u", "controller": true,
                }],
                "finalizers": ["example.com/other"],
                "managedFields": [{"manager": "x"}],
            },
            "spec": {
                "type": "ExternalName", "externalName": "vpce-1.example.com",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}],
            },
        });
        merge(&mut object, changes);
        serde_json::from_value(object).expect("a Service")
    }

    fn merge(into: &mut Value, changes: Value) {
        match (into, changes) {
            (Value::Object(into), Value::Object(changes)) => {
                for (key, change) in changes {
                    merge(into.entry(key).or_insert(Value::Null), change);
                }
            }
            (into, changes) => *into = changes,
        }
    }

    #[test]
    fn what_it_is_to_its_object_stays_the_same() {
        let whole = service(json!({}));
        let mut kept = whole.clone();
        prune(&mut kept);
        assert_eq!(observed(&kept, "u"), observed(&whole, "u"));
        assert!(observed(&kept, "u").ours);
        assert_eq!(kept.metadata.resource_version, whole.metadata.resource_version);
        let keys = |all: &Option<BTreeMap<String, String>>| all.as_ref().map_or(0, BTreeMap::len);
        assert_eq!((keys(&kept.metadata.labels), keys(&kept.metadata.annotations)), (2, 2));
        assert_eq!((kept.metadata.finalizers, kept.metadata.managed_fields), (None, None));
    }

    #[test]
    fn that_it_has_another_controller_or_none_stays_known() {
        let owner = |kind: &str, controller: bool| json!([{"apiVersion": "example.com/v1", "kind": kind, "name": "a", "uid": "other", "controller": controller}]);
        for (owners, is_unowned) in [
            (json!([]), true),
            (owner("ConfigMap", false), true),
            (owner("Gateway", true), false),
            (owner("VPCEndpoint", true), false),
        ] {
            let whole = service(json!({"metadata": {"ownerReferences": owners}}));
            let mut kept = whole.clone();
            prune(&mut kept);
            for service in [&whole, &kept] {
                let observed = observed(service, "u");
                assert_eq!((observed.unowned, observed.ours), (is_unowned, false), "{owners}");
            }
        }
    }

    #[test]
    fn however_large_a_service_is_little_is_kept() {
        let keys: BTreeSet<String> = (0..1000).map(|number| format!("example.com/{number}")).collect();
        let values: BTreeMap<String, String> = keys.iter().map(|key| (key.clone(), "x".repeat(200))).collect();
        let ports: Vec<Value> = (1..5000)
            .map(|port| json!({"name": format!("p{port}"), "port": port}))
            .collect();
        let set = |keys: &BTreeSet<String>| {
            let set = Applied {
                labels: keys.clone(),
                annotations: keys.clone(),
            };
            set.annotation().expect("not empty")
        };
        let few: BTreeSet<String> = keys.iter().take(200).cloned().collect();
        for (owners, applied) in [
            (json!([]), set(&few)),
            (
                json!([{"apiVersion": "example.com/v1", "kind": "VPCEndpoint", "name": "a", "uid": "u", "controller": true}]),
                set(&few),
            ),
            (
                service(json!({}))
                    .metadata
                    .owner_references
                    .map(|owners| json!(owners))
                    .expect("some"),
                set(&few),
            ),
            (
                service(json!({}))
                    .metadata
                    .owner_references
                    .map(|owners| json!(owners))
                    .expect("some"),
                set(&keys),
            ),
        ] {
            let mut annotations = values.clone();
            annotations.insert(APPLIED_METADATA.to_owned(), applied);
            annotations.insert("example.com/0".to_owned(), "y".repeat(500_000));
            let mut large = service(json!({
                "metadata": {"labels": values, "annotations": annotations, "ownerReferences": owners},
                "spec": {"ports": ports},
            }));
            prune(&mut large);
            let bytes = serde_json::to_string(&large).expect("JSON").len();
            assert!(bytes < 60_000, "{bytes}");
        }
    }

    #[test]
    fn what_was_cut_is_what_no_object_may_ask_for() {
        let mut long = service(json!({"metadata": {"annotations": {"note": "é".repeat(100_000)}}}));
        prune(&mut long);
        let found = observed(&long, "u").metadata;
        assert_eq!(found.annotations["note"].chars().count(), LONGEST_VALUE);
        assert_ne!(found, Metadata::default());
    }
}
