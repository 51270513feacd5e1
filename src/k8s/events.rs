//! Publishes events on objects, without holding up a reconcile.
//!
//! kube's recorder joins what has the same reason into one event, which keeps the words of the
//! first. Here the words are what an event is for, so each thing that is said of an object has its
//! own: its name is made of them, which makes one of what is said again, by whichever replica and
//! after whichever restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use vpce_core::conditions::EventKind;

use crate::k8s::caches::Account;
use crate::k8s::error::{self, is_already_exists};

/// The `reportingController` of events.
const REPORTER: &str = "vpce-operator";
/// The API server refuses notes of more bytes.
const LONGEST_NOTE: usize = 1024;
/// Ends a note that was cut.
const CUT: &str = "...";
/// So much of an object's name is in the names of its events, which have at most 253 characters.
const LONGEST_NAME: usize = 200;
/// Events on cluster-scoped objects are kept here: the convention of Kubernetes.
const OF_CLUSTER_SCOPED: &str = "default";
/// What concerns many endpoints is recorded on their AWSAccount again after this, for as long as it
/// lasts. The API server keeps an event for an hour after it was last recorded.
const REMIND: Duration = Duration::from_secs(600);

/// Publishes events.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    instance: String,
    /// When an event was last recorded on an AWSAccount, by its name.
    reminded: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Events {
    /// Reports as the operator.
    pub(crate) fn new(client: Client) -> Self {
        let instance = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        Self {
            client,
            instance: instance.unwrap_or_else(|| REPORTER.to_owned()),
            reminded: Arc::default(),
        }
    }

    /// Publishes an event on an object. The same event again counts in the series of the first.
    pub(crate) fn publish<K>(&self, object: &K, kind: EventKind, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let reference = object.object_ref(&());
        let name = event_name(&reference, kind, reason, note);
        self.send(&reference, name, kind, (reason, action, note));
    }

    /// Publishes a Warning on an AWSAccount of what its endpoints meet: by the first that meets it,
    /// in whose words it is. `about` tells apart what has the same reason.
    pub(crate) fn publish_of_many(&self, account: &Account, reason: &str, about: &str, note: &str) {
        let reference = account.object_ref(&());
        let name = event_name(&reference, EventKind::Warning, reason, about);
        let now = Instant::now();
        {
            let mut reminded = self.reminded.lock();
            reminded.retain(|_, at| now.duration_since(*at) < REMIND);
            if reminded.contains_key(&name) {
                return;
            }
            reminded.insert(name.clone(), now);
        }
        self.send(&reference, name, EventKind::Warning, (reason, "Reconcile", note));
    }

    fn send(&self, about: &ObjectReference, name: String, kind: EventKind, words: (&str, &str, &str)) {
        let type_ = match kind {
            EventKind::None => return,
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        };
        let (reason, action, note) = words;
        let namespace = about.namespace.as_deref().unwrap_or(OF_CLUSTER_SCOPED);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(type_.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(fitting(note)),
            regarding: Some(about.clone()),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            event_time: Some(MicroTime(Timestamp::now())),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let (namespace, reason) = (namespace.to_owned(), reason.to_owned());
        tokio::spawn(async move {
            match write(&api, &name, &event).await {
                // Events of a namespace that is being deleted are not read.
                Err(error) if is_of_namespace_that_goes(&error) => {}
                Err(error) => {
                    let error = error::message(&error);
                    tracing::warn!(namespace, name, reason, error, "an event was not published");
                }
                Ok(()) => {}
            }
        });
    }
}

/// Whether the API server makes nothing new in the namespace, since that is being deleted.
fn is_of_namespace_that_goes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

/// Creates an event, or counts it in the series of the one that is there.
async fn write(api: &Api<Event>, name: &str, event: &Event) -> Result<(), kube::Error> {
    match api.create(&PostParams::default(), event).await {
        Err(error) if is_already_exists(&error) => {}
        created => return created.map(|_| ()),
    }
    let params = PatchParams::default();
    // A patch that changes nothing answers with what is there: the operator may not read events
    // otherwise.
    let recorded = api.patch(name, &params, &Patch::Merge(json!({}))).await?;
    let count = recorded.series.map_or(1, |series| series.count);
    let series = json!({"series": {"count": count.saturating_add(1), "lastObservedTime": MicroTime(Timestamp::now())}});
    api.patch(name, &params, &Patch::Merge(series)).await?;
    Ok(())
}

/// A note in as many bytes as the API server takes, cut between two characters where it is longer.
fn fitting(note: &str) -> String {
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let end = note.floor_char_boundary(LONGEST_NOTE - CUT.len());
    format!("{}{CUT}", &note[..end])
}

/// The same for what is the same.
fn event_name(regarding: &ObjectReference, kind: EventKind, reason: &str, about: &str) -> String {
    let uid = regarding.uid.as_deref().unwrap_or_default();
    let hash = Sha256::digest(json!([uid, format!("{kind:?}"), reason, about]).to_string());
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name: String = regarding
        .name
        .iter()
        .flat_map(|name| name.chars())
        .take(LONGEST_NAME)
        .collect();
    format!("{}.{hash}", name.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_has_the_same_name_and_what_differs_has_another() {
        let regarding = |name: &str, uid: &str| ObjectReference {
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let name = || event_name(&regarding("api", "1"), EventKind::Warning, "Denied", "no");
        assert_eq!(name(), name());
        assert!(name().starts_with("api."));
        for other in [
            event_name(&regarding("api", "2"), EventKind::Warning, "Denied", "no"),
            event_name(&regarding("api", "1"), EventKind::Normal, "Denied", "no"),
            event_name(&regarding("api", "1"), EventKind::Warning, "NotFound", "no"),
            event_name(&regarding("api", "1"), EventKind::Warning, "Denied", "never"),
        ] {
            assert_ne!(name(), other);
        }
    }

    #[test]
    fn a_note_is_cut_by_bytes_and_between_characters() {
        assert_eq!(fitting("short"), "short");
        assert_eq!(fitting(&"a".repeat(LONGEST_NOTE)).len(), LONGEST_NOTE);
        for long in ["a".repeat(2000), "ä".repeat(1000), "漢".repeat(1000), "😀".repeat(300)] {
            let note = fitting(&long);
            assert!(
                (LONGEST_NOTE - 3..=LONGEST_NOTE).contains(&note.len()),
                "{}",
                note.len()
            );
            assert!(note.ends_with(CUT), "{note}");
        }
    }

    #[test]
    fn the_longest_object_name_leaves_room_for_the_hash() {
        let object = format!("{}.{}", "a".repeat(LONGEST_NAME - 1), "b".repeat(253 - LONGEST_NAME));
        let regarding = ObjectReference {
            name: Some(object),
            ..ObjectReference::default()
        };
        let name = event_name(&regarding, EventKind::Normal, "Available", "");
        assert!(name.len() <= 253 && !name.contains(".."), "{name}");
    }
}
