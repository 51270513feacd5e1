//! external-dns' DNSEndpoint, as far as the operator writes and reads it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vpce_core::names::Record;

const GROUP: &str = "externaldns.k8s.io";
const VERSION: &str = "v1alpha1";
const KIND: &str = "DNSEndpoint";
/// The type of an alias.
const CNAME: &str = "CNAME";
/// More than an object publishes.
const MOST_RECORDS: usize = 64;

/// external-dns makes records of it (`--source=crd`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DNSEndpoint {
    #[serde(default = "api_version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    pub(crate) metadata: ObjectMeta,
    /// Read leniently: its schema is another project's.
    #[serde(default)]
    pub(crate) spec: Value,
}

fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

fn kind() -> String {
    KIND.to_owned()
}

impl DNSEndpoint {
    /// One that the operator writes.
    pub(crate) fn new(metadata: ObjectMeta, records: &BTreeSet<Record>) -> Self {
        Self {
            api_version: api_version(),
            kind: kind(),
            metadata,
            spec: spec(records),
        }
    }

    /// Its records; none where the operator would not write them so.
    pub(crate) fn records(&self) -> Option<BTreeSet<Record>> {
        let endpoints = self.spec.get("endpoints")?.as_array()?;
        let records: BTreeSet<Record> = endpoints.iter().take(MOST_RECORDS).map(record).collect::<Option<_>>()?;
        (spec(&records) == self.spec).then_some(records)
    }

    /// Removes of the spec what the operator would not write: that it is other is all that matters.
    pub(crate) fn prune_spec(&mut self) {
        if self.records().is_none() {
            self.spec = Value::Null;
        }
    }
}

/// What a DNSEndpoint says of records.
pub(crate) fn spec(records: &BTreeSet<Record>) -> Value {
    let endpoint = |record: &Record| {
        let mut endpoint = json!({"dnsName": record.name, "recordType": CNAME, "targets": [record.target]});
        if let Some(ttl) = record.ttl {
            endpoint["recordTTL"] = ttl.into();
        }
        endpoint
    };
    json!({"endpoints": records.iter().map(endpoint).collect::<Vec<_>>()})
}

fn record(endpoint: &Value) -> Option<Record> {
    let [target] = &endpoint.get("targets")?.as_array()?[..] else {
        return None;
    };
    Some(Record {
        name: endpoint.get("dnsName")?.as_str()?.to_owned(),
        target: target.as_str()?.to_owned(),
        ttl: endpoint.get("recordTTL").and_then(Value::as_i64),
    })
}

impl Resource for DNSEndpoint {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "dnsendpoints".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> BTreeSet<Record> {
        let record = |name: &str, ttl| Record {
            name: name.to_owned(),
            target: "vpce-1.example.com".to_owned(),
            ttl,
        };
        [record("db.example.com", None), record("*.example.com", Some(60))].into()
    }

    #[test]
    fn what_is_written_is_what_is_then_read() {
        let mut written = DNSEndpoint::new(ObjectMeta::default(), &records());
        assert_eq!(written.records(), Some(records()));
        written.prune_spec();
        assert_eq!(written.records(), Some(records()));
        let text = serde_json::to_value(&written).expect("JSON");
        assert_eq!(text["apiVersion"], "externaldns.k8s.io/v1alpha1");
        assert_eq!(text["kind"], "DNSEndpoint");
    }

    #[test]
    fn whatever_is_edited_of_it_differs_and_little_of_it_is_kept() {
        let edits: [fn(&mut Value); 7] = [
            |spec| spec["endpoints"][0]["recordType"] = json!("A"),
            |spec| spec["endpoints"][0]["targets"] = json!(["a", "b"]),
            |spec| spec["endpoints"][0]["setIdentifier"] = json!("x"),
            |spec| spec["endpoints"][0]["providerSpecific"] = json!([{"name": "a", "value": "b"}]),
            |spec| spec["endpoints"] = json!(null),
            |spec| spec["endpoints"] = json!(vec![json!({"dnsName": "x".repeat(1000)}); 1000]),
            |spec| *spec = json!("none"),
        ];
        for (number, edit) in edits.iter().enumerate() {
            let mut found = DNSEndpoint::new(ObjectMeta::default(), &records());
            edit(&mut found.spec);
            assert_eq!(found.records(), None, "edit {number}");
            found.prune_spec();
            assert_eq!(found.spec, Value::Null, "edit {number}");
        }
    }
}
