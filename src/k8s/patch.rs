//! How a status is written: by a merge patch that replaces it. A server-side apply would fail for
//! an object whose spec does not fit the schema, which is one that has to say so.

use kube::Resource;
use kube::api::PatchParams;
use serde::Serialize;
use serde_json::{Value, json};
use vpce_core::api::FIELD_MANAGER;

/// What makes `new` of `old` in a merge patch: what is there no more is null.
pub(crate) fn replacing<S: Serialize>(old: &S, new: &S) -> Value {
    let (old, mut new) = (json!(old), json!(new));
    if let (Value::Object(old), Value::Object(new)) = (old, &mut new) {
        for name in old.into_iter().map(|(name, _)| name) {
            new.entry(name).or_insert(Value::Null);
        }
    }
    new
}

/// The field manager.
pub(crate) fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// The resource version as a number, which Kubernetes allows to compare; 0 if it is none.
pub(crate) fn version_of(object: &impl Resource) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use vpce_core::api::VPCEndpointStatus;

    use super::*;

    #[test]
    fn what_is_there_no_more_is_taken_away() {
        let old = VPCEndpointStatus {
            state: Some("available".to_owned()),
            incarnation: Some(0),
            ..VPCEndpointStatus::default()
        };
        let new = VPCEndpointStatus {
            incarnation: Some(1),
            region: Some("us-west-2".to_owned()),
            ..VPCEndpointStatus::default()
        };
        let patch = replacing(&old, &new);
        assert_eq!(patch, json!({"state": null, "incarnation": 1, "region": "us-west-2"}));
    }
}
