//! What is kept of an EndpointSlice in memory. Users who may write EndpointSlices can give them our
//! label, and thousands of addresses: so only what [`super::observed`] reads is kept, and of that
//! no more than an endpoint can have.

use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use kube::core::ObjectMeta;

use super::{MANAGED_BY, SERVICE_NAME, SLICE_MANAGED_BY, address};

/// More than an endpoint has: it is in 16 subnets at most. A list that was truncated is not what an
/// object wants.
const MOST_ADDRESSES: usize = 65;
/// One more than `spec.service.ports` may have.
const MOST_PORTS: usize = 65;

/// Removes what is not read.
pub(crate) fn prune(slice: &mut EndpointSlice) {
    let meta = std::mem::take(&mut slice.metadata);
    let mut labels = meta.labels.unwrap_or_default();
    labels.retain(|key, _| [MANAGED_BY.0, SLICE_MANAGED_BY.0, SERVICE_NAME].contains(&key.as_str()));
    let owners = meta.owner_references.unwrap_or_default();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    slice.metadata = ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        deletion_timestamp: meta.deletion_timestamp,
        labels: Some(labels),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    slice.endpoints.truncate(MOST_ADDRESSES);
    for endpoint in &mut slice.endpoints {
        if address(endpoint).is_none() {
            // Not as we write it: that is all that matters.
            *endpoint = SliceEndpoint::default();
        }
    }
    slice.endpoints.shrink_to_fit();
    if let Some(ports) = &mut slice.ports {
        ports.truncate(MOST_PORTS);
        ports.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn however_large_a_slice_is_little_is_kept() {
        let endpoint = json!({"addresses": vec!["10.0.0.1"; 100], "hostname": "x".repeat(60)});
        let labels: serde_json::Map<_, _> = (0..1000).map(|key| (key.to_string(), json!("x".repeat(60)))).collect();
        let mut slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": labels, "annotations": {"note": "x".repeat(200_000)}},
            "addressType": "IPv4",
            "endpoints": vec![endpoint; 1000],
            "ports": vec![json!({"port": 1}); 20_000],
        }))
        .expect("a slice");
        prune(&mut slice);
        let bytes = serde_json::to_string(&slice).expect("JSON").len();
        assert!(bytes < 5000, "{bytes}");
    }
}
