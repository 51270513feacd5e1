//! The finalizer of an object, which the API server has to acknowledge; and how it is told which
//! write it did not take.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::Patch;
use serde_json::{Map, Value, json};
use vpce_core::api::{ENDPOINT_FINALIZER, KOPF_ANNOTATION_PREFIX, KOPF_FINALIZER};

use super::context::Context;
use super::reconcile::{Next, Reconciliation};
use crate::bound::findings::finalizer_refused;
use crate::k8s::caches::Endpoint;
use crate::k8s::error::is_conflict;
use crate::k8s::pages;
use crate::k8s::patch;
use crate::k8s::writes::{Refused, Write};

/// Says that the API server did not take a finalizer. (What it says of a status that it did not
/// take is told where that is written.)
pub(super) async fn tell(ctx: &Context, object: Arc<Endpoint>, refused: &Refused) -> Next {
    if refused.write == Write::Finalizer {
        let mut reconciliation = Reconciliation::new(ctx, object);
        let findings = finalizer_refused(reconciliation.deleting, refused);
        match reconciliation.report(findings).await {
            Ok(_) => {}
            // It has changed since; the watch brings what it is now.
            Err(error) if is_conflict(&error) => {
                return Next::NotBefore(ctx.memories.conflicted(&reconciliation.object));
            }
            Err(error) => tracing::warn!(%error, "the status was not written"),
        }
    }
    Next::NotBefore(refused.left)
}

/// Removes our finalizer; and that of the Python operator, of an object that was migrated.
pub(super) async fn remove_finalizer(ctx: &Context, object: &Arc<Endpoint>) -> Result<(), kube::Error> {
    let both = [ENDPOINT_FINALIZER, KOPF_FINALIZER];
    ctx.writer().remove_finalizers(object, &both).await.map(drop)
}

/// Removes the finalizer of the Python operator; gives the object without it.
pub(super) async fn remove_kopf_finalizer(ctx: &Context, object: &Arc<Endpoint>) -> Result<Arc<Endpoint>, kube::Error> {
    let removed = ctx.writer().remove_finalizers(object, &[KOPF_FINALIZER]).await?;
    Ok(ctx.writer().remember(removed))
}

/// Removes the annotations of the Python operator; gives the object without them.
pub(super) async fn remove_kopf_annotations(
    ctx: &Context,
    object: &Arc<Endpoint>,
) -> Result<Arc<Endpoint>, kube::Error> {
    let api = ctx.writer().api(object);
    // Only that there are some is in memory.
    let found = pages::metadata(&api, &object.name_any()).await?;
    let keys = found
        .and_then(|found| found.annotations)
        .unwrap_or_default()
        .into_keys();
    let keys = keys.filter(|key| key.starts_with(KOPF_ANNOTATION_PREFIX));
    let annotations: Map<String, Value> = keys.map(|key| (key, Value::Null)).collect();
    let patch = json!({"metadata": {"uid": object.uid(), "annotations": annotations}});
    let patched = api
        .patch(&object.name_any(), &patch::params(), &Patch::Merge(patch))
        .await?;
    Ok(ctx.writer().remember(patched))
}
