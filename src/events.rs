//! Publishes events on objects, without holding up a reconcile.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use vpce_core::conditions::EventKind;

/// The API server refuses longer notes.
const LONGEST_NOTE: usize = 1000;

/// Publishes events; the recorder joins repeated ones into a series.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Reports as the operator.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: "vpce-operator".to_owned(),
            instance: std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Publishes an event on an object.
    pub fn publish<K>(&self, object: &K, kind: EventKind, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let type_ = match kind {
            EventKind::None => return,
            EventKind::Normal => EventType::Normal,
            EventKind::Warning => EventType::Warning,
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(LONGEST_NOTE).collect()),
            action: action.to_owned(),
            secondary: None,
        };
        let recorder = self.recorder.clone();
        let reference = object.object_ref(&());
        let name = object.name_any();
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::warn!(name, reason = event.reason, %error, "an event was not published");
            }
        });
    }
}
