//! The ConfigMap that says what an endpoint has. None is listed or watched, since others keep
//! secrets in theirs: that of an object is read when the object is reconciled.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::{Resource, ResourceExt};
use serde_json::json;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::config_map::{ConfigMapContent, ObservedConfigMap};
use vpce_core::observed::Observed;

use super::context::Context;
use super::reconcile::Reconciliation;
use super::service::MANAGED_BY;
use crate::k8s::caches::Endpoint;
use crate::k8s::owned::{self, Published};

fn api(ctx: &Context, object: &Endpoint) -> Api<ConfigMap> {
    let namespace = object.namespace().unwrap_or_default();
    Api::namespaced(ctx.shared.client.clone(), &namespace)
}

/// A ConfigMap as it concerns an object with this UID.
pub(crate) fn observed(found: &ConfigMap, uid: &str) -> ObservedConfigMap {
    let label = found.labels().get(MANAGED_BY.0);
    let has_more = found.binary_data.is_some() || found.immutable == Some(true);
    ObservedConfigMap {
        name: found.name_any(),
        ours: owned::is_controlled_by(found, uid),
        labelled: label.is_some_and(|value| value == MANAGED_BY.1),
        data: found.data.clone().filter(|_| !has_more),
        written_as: None,
    }
}

impl Reconciliation<'_> {
    /// Adds the ConfigMap to what was seen, where one is asked for, or was.
    pub(super) async fn add_config_map(&self, wanted: bool, seen: &mut Observed) -> Result<(), kube::Error> {
        let status = &self.object.status.config_map;
        let is_known = status.is_some()
            || self
                .ctx
                .memories
                .with(&self.object, |memory| memory.own.writes.config_maps.is_some());
        if !wanted && !is_known {
            return Ok(());
        }
        if !self.ctx.shared.settings.config_maps {
            seen.config_map_unavailable = Some(Finding::bad(
                Reason::ConfigMapsUnavailable,
                "publish_config_map: the operator is installed without ConfigMaps: ask your platform team to set \
                 configMaps.enabled of its chart",
            ));
            return Ok(());
        }
        let name = &self.owner.name;
        let found = api(self.ctx, &self.object).get_opt(name).await?;
        let found = found.filter(|found| found.metadata.deletion_timestamp.is_none());
        let found = found.map(|found| observed(&found, &self.owner.uid));
        seen.config_map = self
            .ctx
            .memories
            .with(&self.object, |memory| match &memory.own.writes.config_maps {
                Some(written) => written.as_found(name, found),
                None => found,
            });
        Ok(())
    }
}

/// Creates the ConfigMap by POST unless it `exists`; one that exists is corrected if the object
/// controls it, and else not changed.
pub(crate) async fn publish(
    ctx: &Context,
    object: &Endpoint,
    name: &str,
    content: &ConfigMapContent,
    exists: bool,
) -> Result<Published<ConfigMap>, kube::Error> {
    let uid = object.uid().unwrap_or_default();
    let labels = json!({MANAGED_BY.0: MANAGED_BY.1});
    let new = json!({
        "metadata": {
            "name": name,
            "namespace": object.namespace(),
            "labels": labels,
            "ownerReferences": object.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "data": content.data,
    });
    let new: ConfigMap = serde_json::from_value(new).map_err(kube::Error::SerdeError)?;
    let patch = |there: &ConfigMap| {
        let mut data = json!(content.data);
        for key in there.data.iter().flatten().map(|(key, _)| key) {
            if !content.data.contains_key(key) {
                data[key] = json!(null);
            }
        }
        json!({
            "metadata": {"resourceVersion": there.resource_version(), "labels": labels},
            "data": data,
            "binaryData": null,
        })
    };
    let is_ours = |there: &ConfigMap| owned::is_controlled_by(there, &uid);
    owned::publish(&api(ctx, object), (!exists).then_some(&new), name, is_ours, patch).await
}

/// Deletes the ConfigMap, if it is the object's.
pub(crate) async fn delete(ctx: &Context, object: &Endpoint, name: &str) -> Result<u64, kube::Error> {
    let api = api(ctx, object);
    let uid = object.uid().unwrap_or_default();
    let known = api.get_opt(name).await?;
    match known.filter(|known| owned::is_controlled_by(known, &uid)) {
        Some(known) => owned::delete(&api, name, Some(&known)).await,
        None => Ok(0),
    }
}
