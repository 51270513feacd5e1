//! What is kept of an object's metadata. Users put annotations, labels, finalizers and owners of
//! any number and size on their objects, and the operator keeps all objects in memory: so only what
//! it reads gets there.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::{
    ACCOUNT_FINALIZER, ENDPOINT_FINALIZER, ENDPOINT_SERVICE_FINALIZER, KOPF_ANNOTATION_PREFIX, KOPF_FINALIZER,
    RECONCILE_AT, RESUME_CREATION,
};

/// The annotations that are read.
const ANNOTATIONS: [&str; 2] = [RECONCILE_AT, RESUME_CREATION];
/// The finalizers that are read.
const FINALIZERS: [&str; 4] = [
    ENDPOINT_FINALIZER,
    ENDPOINT_SERVICE_FINALIZER,
    ACCOUNT_FINALIZER,
    KOPF_FINALIZER,
];
/// A longer value of an annotation is kept as its hash: whether it is another one still shows.
const LONGEST_VALUE: usize = 128;
/// So many finalizers are kept, and behind them only those that are read. Of an object that has as
/// many, the list may not be complete.
pub const MOST_FINALIZERS: usize = 16;

/// Metadata as the API server sends it, without what is not read.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Lean {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<Annotations>,
    finalizers: Option<Finalizers>,
}

impl From<Lean> for ObjectMeta {
    fn from(lean: Lean) -> Self {
        Self {
            name: lean.name,
            namespace: lean.namespace,
            uid: lean.uid,
            resource_version: lean.resource_version,
            generation: lean.generation,
            creation_timestamp: lean.creation_timestamp,
            deletion_timestamp: lean.deletion_timestamp,
            annotations: lean.annotations.map(|annotations| annotations.0),
            finalizers: lean.finalizers.map(|finalizers| finalizers.0),
            ..Self::default()
        }
    }
}

/// Those that are read; and one that shows that kopf left some.
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Annotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut kept = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if ANNOTATIONS.contains(&key.as_str()) {
                        kept.insert(key, short(map.next_value()?));
                        continue;
                    }
                    map.next_value::<IgnoredAny>()?;
                    if key.starts_with(KOPF_ANNOTATION_PREFIX) {
                        kept.insert(KOPF_ANNOTATION_PREFIX.to_owned(), String::new());
                    }
                }
                Ok(Annotations(kept))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

fn short(value: String) -> String {
    if value.len() <= LONGEST_VALUE {
        return value;
    }
    let hash = Sha256::digest(value);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first of them, and those that are read.
struct Finalizers(Vec<String>);

impl<'de> Deserialize<'de> for Finalizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Finalizers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("finalizers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Finalizers, A::Error> {
                let mut kept = Vec::new();
                while let Some(name) = seq.next_element::<String>()? {
                    if kept.len() < MOST_FINALIZERS || FINALIZERS.contains(&name.as_str()) {
                        kept.push(name);
                    }
                }
                Ok(Finalizers(kept))
            }
        }

        deserializer.deserialize_seq(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept(metadata: serde_json::Value) -> ObjectMeta {
        serde_json::from_value::<Lean>(metadata).expect("metadata").into()
    }

    #[test]
    fn only_what_is_read_is_kept() {
        let huge = "x".repeat(200_000);
        let meta = kept(json!({
            "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"team": huge},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": huge,
                "kopf.zalando.org/last-handled-configuration": huge,
                "kopf.zalando.org/touch-dummy": huge,
                "silvermullet.com/other": huge,
                RECONCILE_AT: "now",
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": huge, "uid": "1"}],
            "managedFields": [{"manager": huge}],
            "finalizers": [ENDPOINT_FINALIZER, "example.com/other"],
        }));
        assert_eq!(
            meta.annotations,
            Some(BTreeMap::from([
                (KOPF_ANNOTATION_PREFIX.to_owned(), String::new()),
                (RECONCILE_AT.to_owned(), "now".to_owned()),
            ]))
        );
        assert_eq!(meta.finalizers.as_deref().map(<[String]>::len), Some(2));
        assert_eq!(
            (meta.generation, meta.resource_version.as_deref()),
            (Some(3), Some("7"))
        );
        assert!(meta.creation_timestamp.is_some());
        assert_eq!(
            (meta.labels, meta.owner_references, meta.managed_fields),
            (None, None, None)
        );
    }

    #[test]
    fn a_long_value_still_shows_that_it_changed() {
        let of = |value: String| {
            let meta = kept(json!({"annotations": {RECONCILE_AT: value}}));
            meta.annotations.expect("some").remove(RECONCILE_AT).expect("kept")
        };
        let (one, two) = (of("1".repeat(100_000)), of("2".repeat(100_000)));
        assert!(one.len() <= LONGEST_VALUE && one != two);
        assert_eq!(of("1".to_owned()), "1");
    }

    #[test]
    fn ours_is_found_behind_any_number_of_finalizers() {
        let mut names: Vec<String> = (0..10_000).map(|number| format!("example.com/{number}")).collect();
        names.push(ENDPOINT_FINALIZER.to_owned());
        let kept = kept(json!({"finalizers": names})).finalizers.expect("some");
        assert_eq!(kept.len(), MOST_FINALIZERS + 1);
        assert!(kept.iter().any(|name| name == ENDPOINT_FINALIZER));
    }
}
