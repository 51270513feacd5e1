//! Adds and removes our finalizers. kube's own helper drops a finalizer on any `Ok` from a
//! clean-up; ours goes only when nothing is left.

use std::fmt::Debug;

use kube::api::{Api, Patch};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use vpce_core::api::MOST_FINALIZERS;

use super::pages;
use super::patch::params;

/// Whether an object carries a finalizer.
pub(crate) fn has(object: &impl Resource, finalizer: &str) -> bool {
    object.finalizers().iter().any(|name| name == finalizer)
}

/// Adds a finalizer, if the object is still as we know it.
pub(crate) async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<K, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut names = all(api, object).await?;
    names.push(finalizer.to_owned());
    set(api, object, names).await
}

/// Removes finalizers, if the object is still as we know it.
pub(crate) async fn remove<K>(api: &Api<K>, object: &K, finalizers: &[&str]) -> Result<K, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut names = all(api, object).await?;
    names.retain(|name| !finalizers.contains(&name.as_str()));
    set(api, object, names).await
}

/// All finalizers of an object: those of others stay in the list. Of a long one not all are kept in
/// memory, so it is asked for; should it have changed meanwhile, the write that follows is a
/// conflict.
async fn all<K>(api: &Api<K>, object: &K) -> Result<Vec<String>, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let kept = object.finalizers();
    if kept.len() < MOST_FINALIZERS {
        return Ok(kept.to_vec());
    }
    let there = pages::metadata(api, &object.name_any()).await?;
    Ok(there.and_then(|there| there.finalizers).unwrap_or_default())
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
    api.patch(&object.name_any(), &params(), &Patch::Merge(patch)).await
}
