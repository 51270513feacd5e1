//! Which objects wait for the name of a Service: found by that name when another's Service of that
//! name is deleted.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Error, Event};
use parking_lot::Mutex;
use vpce_core::object_key::ObjectKey;

use crate::endpoint::context::Context;
use crate::k8s::caches::Endpoint;

/// A namespace, and a name in it.
type Key = (String, String);

#[derive(Default)]
struct Waiting {
    by_object: HashMap<Key, String>,
    by_service: HashMap<Key, BTreeSet<String>>,
}

impl Waiting {
    fn end(&mut self, namespace: &str, object: &str) {
        let Some(service) = self.by_object.remove(&(namespace.to_owned(), object.to_owned())) else {
            return;
        };
        let key = (namespace.to_owned(), service);
        if let Some(objects) = self.by_service.get_mut(&key) {
            objects.remove(object);
            if objects.is_empty() {
                self.by_service.remove(&key);
            }
        }
    }
}

/// The objects whose Service is not published, by the name that it is to have.
#[derive(Clone, Default)]
pub(crate) struct NameWaiters(Arc<Mutex<Waiting>>);

impl NameWaiters {
    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.0.lock())
    }

    /// An object is about to read whether the name is free. Noted before it reads, so that no
    /// change after that is missed.
    pub(crate) fn wait(&self, namespace: &str, object: &str, service: &str) {
        self.with(|waiting| {
            waiting.end(namespace, object);
            let key = (namespace.to_owned(), service.to_owned());
            waiting.by_service.entry(key).or_default().insert(object.to_owned());
            let key = (namespace.to_owned(), object.to_owned());
            waiting.by_object.insert(key, service.to_owned());
        });
    }

    /// An object has its Service, wants none, or is gone.
    pub(crate) fn end(&self, namespace: &str, object: &str) {
        self.with(|waiting| waiting.end(namespace, object));
    }

    /// The objects that wait for a name.
    pub(crate) fn of(&self, namespace: &str, service: &str) -> Vec<String> {
        let key = (namespace.to_owned(), service.to_owned());
        self.with(|waiting| waiting.by_service.get(&key).into_iter().flatten().cloned().collect())
    }

    /// All objects that wait for one, as namespace and name.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        self.with(|waiting| waiting.by_object.keys().cloned().collect())
    }
}

/// Enqueues the objects that wait for a name.
pub(crate) fn enqueue_waiting(ctx: &Context, namespace: &str, service: &str) {
    for object in ctx.names.of(namespace, service) {
        ctx.shared
            .requeuer
            .enqueue(ObjectKey::new::<Endpoint>(namespace, &object));
    }
}

/// Enqueues the objects that wait for the name of a Service that is deleted, for as long as there
/// are events.
pub(crate) async fn follow(
    ctx: &Context,
    events: impl Stream<Item = Result<Event<PartialObjectMeta<Service>>, Error>>,
) {
    events
        .filter_map(|event| ready(event.ok()))
        .for_each(|event| {
            match event {
                Event::Delete(service) => {
                    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
                    for object in ctx.names.of(&namespace, &name) {
                        let key = ObjectKey::new::<Endpoint>(&namespace, &object);
                        ctx.memories.service_gone(&key, &name);
                    }
                    enqueue_waiting(ctx, &namespace, &name);
                }
                // There is no event of what was deleted while there was no watch.
                Event::InitDone => {
                    for (namespace, object) in ctx.names.all() {
                        ctx.shared
                            .requeuer
                            .enqueue(ObjectKey::new::<Endpoint>(&namespace, &object));
                    }
                }
                Event::Init | Event::InitApply(_) | Event::Apply(_) => {}
            }
            ready(())
        })
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_name_is_found_by_it_until_the_wait_ends() {
        let names = NameWaiters::default();
        names.wait("blue", "one", "db");
        names.wait("blue", "two", "db");
        names.wait("red", "one", "db");
        assert_eq!(names.of("blue", "db"), ["one", "two"]);
        assert_eq!(names.of("red", "db"), ["one"]);
        assert_eq!(names.of("blue", "one"), [""; 0]);
        // An object wants one name at a time.
        names.wait("blue", "one", "cache");
        assert_eq!(names.of("blue", "db"), ["two"]);
        assert_eq!(names.of("blue", "cache"), ["one"]);
        assert_eq!(names.all().len(), 3);
        for object in ["one", "two", "unknown"] {
            names.end("blue", object);
        }
        assert_eq!(names.all(), [("red".to_owned(), "one".to_owned())]);
        names.end("red", "one");
        names.with(|waiting| assert!(waiting.by_object.is_empty() && waiting.by_service.is_empty()));
    }
}
