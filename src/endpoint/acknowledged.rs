//! The finalizer of an object, which the API server has to acknowledge; and how it is told which
//! write it did not take.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::{Map, Value, json};
use vpce_core::api::{ENDPOINT_FINALIZER, KOPF_ANNOTATION_PREFIX, KOPF_FINALIZER};
use vpce_core::conditions::{Finding, Reason};

use super::context::Context;
use super::findings::Findings;
use super::reconcile::{Next, Reconciliation};
use super::status;
use crate::k8s::caches::Endpoint;
use crate::k8s::error::is_conflict;
use crate::k8s::finalizer;
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

fn finalizer_refused(deleting: bool, refused: &Refused) -> Findings {
    let message = &refused.message;
    let finding = |what: String| {
        let advice =
            "Ask your platform team: an admission controller rejects the operator's writes (docs/troubleshooting.md)";
        Some(Finding::bad(
            Reason::FinalizerRefused,
            format!("{what}: {message}. {advice}"),
        ))
    };
    match &refused.account {
        Some(account) => Findings {
            account: finding(format!(
                "nothing is created before AWSAccount {account} has the operator's finalizer, which cannot be added"
            )),
            ..Findings::default()
        },
        None if deleting => Findings {
            endpoint: finding("nothing of it is left in AWS, but its finalizer cannot be removed".to_owned()),
            ..Findings::default()
        },
        None => Findings {
            endpoint: finding(
                "nothing is created before it has the operator's finalizer, which cannot be added".to_owned(),
            ),
            ..Findings::default()
        },
    }
}

/// Adds our finalizer; gives the object with it.
pub(super) async fn add_finalizer(ctx: &Context, object: &Arc<Endpoint>) -> Result<Arc<Endpoint>, kube::Error> {
    let api = api(ctx, object);
    let add = finalizer::add(&api, &**object, ENDPOINT_FINALIZER);
    let mismatch = |stored: &Endpoint| {
        (!finalizer::has(stored, ENDPOINT_FINALIZER)).then(|| {
            status::remember(ctx, stored.clone());
            "without it".to_owned()
        })
    };
    let most = ctx.shared.settings.resync_interval;
    let written = ctx
        .shared
        .writes
        .acknowledged(&**object, Write::Finalizer, most, add, mismatch)
        .await?;
    Ok(status::remember(ctx, written))
}

/// Removes our finalizer; and that of the Python operator, of an object that was migrated.
pub(super) async fn remove_finalizer(ctx: &Context, object: &Arc<Endpoint>) -> Result<(), kube::Error> {
    remove(ctx, object, &[ENDPOINT_FINALIZER, KOPF_FINALIZER])
        .await
        .map(drop)
}

/// Removes the finalizer of the Python operator; gives the object without it.
pub(super) async fn remove_kopf_finalizer(ctx: &Context, object: &Arc<Endpoint>) -> Result<Arc<Endpoint>, kube::Error> {
    let removed = remove(ctx, object, &[KOPF_FINALIZER]).await?;
    Ok(status::remember(ctx, removed))
}

async fn remove(ctx: &Context, object: &Arc<Endpoint>, names: &[&str]) -> Result<Endpoint, kube::Error> {
    let api = api(ctx, object);
    let remove = finalizer::remove(&api, &**object, names);
    let mismatch = |stored: &Endpoint| {
        names.iter().any(|name| finalizer::has(stored, name)).then(|| {
            status::remember(ctx, stored.clone());
            "with it".to_owned()
        })
    };
    let most = ctx.shared.settings.resync_interval;
    let writes = &ctx.shared.writes;
    writes
        .acknowledged(&**object, Write::Finalizer, most, remove, mismatch)
        .await
}

/// Removes the annotations of the Python operator; gives the object without them.
pub(super) async fn remove_kopf_annotations(
    ctx: &Context,
    object: &Arc<Endpoint>,
) -> Result<Arc<Endpoint>, kube::Error> {
    let api = api(ctx, object);
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
    Ok(status::remember(ctx, patched))
}

fn api(ctx: &Context, object: &Endpoint) -> Api<Endpoint> {
    Api::namespaced(ctx.shared.client.clone(), &object.namespace().unwrap_or_default())
}
