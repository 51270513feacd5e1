//! The Services and EndpointSlices that our objects control: how they are created and deleted, and
//! whose they are.

use std::fmt::Debug;

use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use serde::de::DeserializeOwned;
use vpce_core::api::FIELD_MANAGER;
use vpce_core::object_key::ObjectKey;

use super::caches::Endpoint;
use super::error::{is_conflict, is_not_found};
use super::patch::version_of;

/// The field manager.
pub(crate) fn post() -> PostParams {
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
