//! How an object is written: its status and its finalizer, which the API server has to acknowledge.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::json;
use vpce_core::conditions::{EventKind, READY};

use super::Bound;
use super::memories::Memories;
use crate::k8s::conditions;
use crate::k8s::finalizer;
use crate::k8s::patch::{params, replacing, version_of};
use crate::k8s::writes::{Refused, Write};
use crate::shared::Shared;

/// Writes the objects of a kind.
pub(crate) struct Writer<'a, O: Bound> {
    /// Clients and caches.
    pub(crate) shared: &'a Shared,
    /// Where an object is remembered as a write left it, until the cache has it too.
    pub(crate) memories: &'a Memories<O>,
}

impl<O: Bound> Writer<'_, O> {
    /// Writes a status if it differs. Only if the object is still as we know it: a status that was
    /// made from an older one must not undo a newer one. Where the API server refuses it, or would
    /// only change it again, an event tells: the status cannot.
    pub(crate) async fn status(&self, object: &Arc<O>, status: O::Status) -> Result<Arc<O>, kube::Error> {
        let (writes, before) = (&self.shared.writes, object.status());
        if status == *before || writes.would_be_changed_again(&**object, before, &status) {
            return Ok(object.clone());
        }
        let name = object.name_any();
        let api = self.api(object);
        let patch = json!({
            "metadata": {"uid": object.uid(), "resourceVersion": object.resource_version()},
            "status": replacing(&O::written(before), &O::written(&status)),
        });
        let (params, patch) = (params(), Patch::Merge(patch));
        let write = api.patch_status(&name, &params, &patch);
        // What an object is bound to has to be stored before anything is done on the strength of
        // it.
        let mismatch = |stored: &O| {
            let fields = O::differing(&status, stored.status());
            (!fields.is_empty()).then(|| {
                self.remember(stored.clone());
                format!("with another {}", fields.join(", "))
            })
        };
        let most = self.shared.settings.resync_interval;
        let acknowledged = writes.acknowledged(&**object, Write::Status, most, write, mismatch);
        match acknowledged.await {
            Ok(stored) => {
                if let Some(fields) = writes.compare(&**object, &status, stored.status(), most) {
                    self.tell_of_change(object, &fields);
                }
                Ok(self.remember(stored))
            }
            Err(error) => {
                if let Some(refused) = Refused::of(&error).filter(|refused| refused.is_tried) {
                    self.tell_of_refusal(object, &status, refused);
                }
                Err(error)
            }
        }
    }

    /// Adds our finalizer; gives the object with it.
    pub(crate) async fn add_finalizer(&self, object: &Arc<O>) -> Result<Arc<O>, kube::Error> {
        let api = self.api(object);
        let add = finalizer::add(&api, &**object, O::FINALIZER);
        let mismatch = |stored: &O| {
            (!finalizer::has(stored, O::FINALIZER)).then(|| {
                self.remember(stored.clone());
                "without it".to_owned()
            })
        };
        let most = self.shared.settings.resync_interval;
        let writes = &self.shared.writes;
        let written = writes.acknowledged(&**object, Write::Finalizer, most, add, mismatch);
        Ok(self.remember(written.await?))
    }

    /// Removes finalizers; gives the object without them.
    pub(crate) async fn remove_finalizers(&self, object: &Arc<O>, names: &[&str]) -> Result<O, kube::Error> {
        let api = self.api(object);
        let remove = finalizer::remove(&api, &**object, names);
        let mismatch = |stored: &O| {
            names.iter().any(|name| finalizer::has(stored, name)).then(|| {
                self.remember(stored.clone());
                "with it".to_owned()
            })
        };
        let most = self.shared.settings.resync_interval;
        let writes = &self.shared.writes;
        let written = writes.acknowledged(&**object, Write::Finalizer, most, remove, mismatch);
        written.await
    }

    /// Remembers an object as our write left it, until the cache has it too.
    pub(crate) fn remember(&self, object: O) -> Arc<O> {
        let object = Arc::new(object);
        let namespace = object.namespace().unwrap_or_default();
        self.memories.with(&object, |memory| {
            let cached = O::cached(&self.shared.caches, &namespace, &object.name_any());
            // The watch may be faster than the answer.
            let is_newer = cached.is_none_or(|cached| version_of(&*cached) < version_of(&*object));
            memory.latest = is_newer.then(|| object.clone());
        });
        object
    }

    /// The objects of the namespace of this one.
    pub(crate) fn api(&self, object: &O) -> Api<O> {
        Api::namespaced(self.shared.client.clone(), &object.namespace().unwrap_or_default())
    }

    fn tell_of_change(&self, object: &O, fields: &[String]) {
        let fields = fields.join(", ");
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        tracing::warn!(
            namespace,
            name,
            fields,
            "the status was stored differently from what was written"
        );
        let note = format!(
            "the API server stored a different status than the operator wrote, so it may be wrong ({fields}): an \
             admission controller changes it"
        );
        self.shared
            .events
            .publish(object, EventKind::Warning, "StatusChanged", "Reconcile", &note);
    }

    fn tell_of_refusal(&self, object: &O, status: &O::Status, refused: &Refused) {
        let ready = conditions::find(O::conditions(status), READY);
        let (reason, message) = ready.map_or(("", ""), |ready| (ready.reason.as_str(), ready.message.as_str()));
        tracing::warn!(
            namespace = object.namespace().unwrap_or_default(),
            name = object.name_any(),
            error = refused.message,
            reason,
            condition_message = message,
            "the status was not written"
        );
        if refused.is_news {
            let note = format!(
                "the status cannot be written ({}), so it is out of date: {reason}: {message}",
                refused.message
            );
            self.shared
                .events
                .publish(object, EventKind::Warning, "StatusRefused", "Reconcile", &note);
        }
    }
}
