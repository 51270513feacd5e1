//! What our objects control in Kubernetes: how it is created, corrected and deleted, and whose it
//! is.

use std::fmt::Debug;

use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PostParams, Preconditions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vpce_core::api::FIELD_MANAGER;
use vpce_core::object_key::ObjectKey;

use super::caches::Endpoint;
use super::error::{is_already_exists, is_conflict, is_not_found};
use super::patch::{params, version_of};

/// The field manager.
fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// The VPCEndpoints that control an object in their namespace.
pub(crate) fn controllers(object: &impl Resource) -> impl Iterator<Item = ObjectKey> {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let owners = object.meta().owner_references.iter().flatten();
    owners
        .filter(|owner| owner.kind == Endpoint::kind(&()) && owner.controller == Some(true))
        .map(move |owner| ObjectKey::new::<Endpoint>(namespace, &owner.name))
}

/// Whether the object with this UID controls another.
pub(crate) fn is_controlled_by(object: &impl Resource, uid: &str) -> bool {
    let mut owners = object.meta().owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// The result of publishing an object.
#[derive(Debug)]
pub(crate) enum Published<K> {
    /// It is there now, as this.
    Done(Box<K>),
    /// It was deleted while it was being corrected; it is created again after the next observation.
    Vanished,
    /// One of that name exists that may not be corrected; it was not changed.
    NotOwned,
}

/// Creates an object by POST where there is one to create; one that exists is corrected by a merge
/// patch, if it may be, and else not changed. (A forced server-side apply would take it over.)
pub(crate) async fn publish<K>(
    api: &Api<K>,
    new: Option<&K>,
    name: &str,
    may_correct: impl FnOnce(&K) -> bool,
    patch: impl FnOnce(&K) -> Value,
) -> Result<Published<K>, kube::Error>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    if let Some(new) = new {
        match api.create(&post(), new).await {
            Ok(made) => return Ok(Published::Done(Box::new(made))),
            Err(error) if is_already_exists(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let Some(there) = api.get_opt(name).await? else {
        return Ok(Published::Vanished);
    };
    if !may_correct(&there) {
        return Ok(Published::NotOwned);
    }
    let corrected = api.patch(name, &params(), &Patch::Merge(patch(&there))).await?;
    Ok(Published::Done(Box::new(corrected)))
}

/// Deletes the object of this name, if it is still the one that the cache knows; gives the version
/// that was deleted.
pub(crate) async fn delete<K>(api: &Api<K>, name: &str, known: Option<&K>) -> Result<u64, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let version = known.map_or(0, version_of);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: known.and_then(|known| known.meta().uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(version),
        // Gone, or another of the same name: not ours.
        Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(version),
        Err(error) => Err(error),
    }
}
