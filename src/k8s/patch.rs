//! How a status is written: by a merge patch that replaces it. A server-side apply would fail for
//! an object whose spec does not fit the schema, which is one that has to say so.

use kube::Resource;
use kube::api::PatchParams;
use serde::Serialize;
use serde_json::{Value, json};
use vpce_core::api::FIELD_MANAGER;

/// What makes `new` of `old` in a merge patch: what is there no more is null.
pub(crate) fn replacing<S: Serialize>(old: &S, new: &S) -> Value {
    let mut patch = json!(new);
    take_away_missing(json!(old), &mut patch);
    patch
}

fn take_away_missing(old: Value, new: &mut Value) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        for (name, old) in old {
            match new.get_mut(&name) {
                Some(new) => take_away_missing(old, new),
                None => _ = new.insert(name, Value::Null),
            }
        }
    }
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
    use vpce_core::api::{NetworkStatus, VPCEndpointStatus};

    use super::*;

    #[test]
    fn what_is_there_no_more_is_taken_away() {
        let old = VPCEndpointStatus {
            state: Some("available".to_owned()),
            incarnation: Some(0),
            network: Some(NetworkStatus {
                name: Some("main".to_owned()),
                ..NetworkStatus::default()
            }),
            ..VPCEndpointStatus::default()
        };
        let new = VPCEndpointStatus {
            incarnation: Some(1),
            region: Some("us-west-2".to_owned()),
            network: Some(NetworkStatus::default()),
            ..VPCEndpointStatus::default()
        };
        let patch = replacing(&old, &new);
        let network = json!({"name": null, "vpc_id": "", "subnet_ids": []});
        assert_eq!(
            patch,
            json!({"state": null, "incarnation": 1, "region": "us-west-2", "network": network})
        );
    }
}
