//! Adds and removes our finalizers. kube's own helper drops a finalizer on any `Ok` from a clean-up; ours goes only when
//! nothing is left.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use vpce_core::api::FIELD_MANAGER;

/// Whether an object carries a finalizer.
pub fn has(object: &impl Resource, finalizer: &str) -> bool {
    object.finalizers().iter().any(|name| name == finalizer)
}

/// Adds a finalizer, if the object is still as we know it.
pub async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<K, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut names = object.finalizers().to_vec();
    names.push(finalizer.to_owned());
    set(api, object, names).await
}

/// Removes a finalizer, if the object is still as we know it.
pub async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<K, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut names = object.finalizers().to_vec();
    names.retain(|name| name != finalizer);
    set(api, object, names).await
}

async fn set<K>(api: &Api<K>, object: &K, names: Vec<String>) -> Result<K, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let patch = json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "finalizers": names,
    }});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(&object.name_any(), &params, &Patch::Merge(patch)).await
}
