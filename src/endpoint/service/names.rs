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

/// The objects that wait, and the Services that they wait for.
#[derive(Default)]
struct Waiting {
    by_object: HashMap<ObjectKey, ObjectKey>,
    by_service: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Waiting {
    fn end(&mut self, object: &ObjectKey) {
        let Some(service) = self.by_object.remove(object) else {
            return;
        };
        if let Some(objects) = self.by_service.get_mut(&service) {
            objects.remove(object);
            if objects.is_empty() {
                self.by_service.remove(&service);
            }
        }
        if self.by_object.is_empty() {
            // While very many are created at once, very many wait.
            *self = Self::default();
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
    pub(crate) fn wait(&self, object: ObjectKey, service: &str) {
        let service = ObjectKey::new::<Service>(&object.namespace, service);
        self.with(|waiting| {
            waiting.end(&object);
            let objects = waiting.by_service.entry(service.clone()).or_default();
            objects.insert(object.clone());
            waiting.by_object.insert(object, service);
        });
    }

    /// An object has its Service, wants none, or is gone.
    pub(crate) fn end(&self, object: &ObjectKey) {
        self.with(|waiting| waiting.end(object));
    }

    /// The objects that wait for a name.
    pub(crate) fn of(&self, namespace: &str, service: &str) -> Vec<ObjectKey> {
        let key = ObjectKey::new::<Service>(namespace, service);
        self.with(|waiting| waiting.by_service.get(&key).into_iter().flatten().cloned().collect())
    }

    /// All objects that wait for one.
    pub(crate) fn all(&self) -> Vec<ObjectKey> {
        self.with(|waiting| waiting.by_object.keys().cloned().collect())
    }
}

/// Enqueues the objects that wait for a name.
pub(crate) fn enqueue_waiting(ctx: &Context, namespace: &str, service: &str) {
    for object in ctx.names.of(namespace, service) {
        ctx.shared.requeuer.enqueue(object);
    }
}

/// Enqueues the objects that wait for the name of a Service that is deleted, and those that offer
/// the load balancer of one that has changed, for as long as there are events.
pub(crate) async fn follow(
    ctx: &Context,
    events: impl Stream<Item = Result<Event<PartialObjectMeta<Service>>, Error>>,
) {
    events
        .filter_map(|event| ready(event.ok()))
        .for_each(|event| {
            if let Event::Apply(service) | Event::InitApply(service) | Event::Delete(service) = &event {
                let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
                for offering in ctx.shared.caches.offering_load_balancer_of(&namespace, &name) {
                    ctx.shared.requeuer.enqueue(ObjectKey::of(&*offering));
                }
            }
            match event {
                Event::Delete(service) => {
                    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
                    for object in ctx.names.of(&namespace, &name) {
                        ctx.memories.service_gone(&object, &name);
                    }
                    enqueue_waiting(ctx, &namespace, &name);
                }
                // There is no event of what was deleted while there was no watch.
                Event::InitDone => {
                    for object in ctx.names.all() {
                        ctx.shared.requeuer.enqueue(object);
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
    use crate::k8s::caches::Endpoint;

    #[test]
    fn who_waits_for_a_name_is_found_by_it_until_the_wait_ends() {
        let names = NameWaiters::default();
        let blue = |name: &str| ObjectKey::new::<Endpoint>("blue", name);
        let red = || ObjectKey::new::<Endpoint>("red", "one");
        names.wait(blue("one"), "db");
        names.wait(blue("two"), "db");
        names.wait(red(), "db");
        assert_eq!(names.of("blue", "db"), [blue("one"), blue("two")]);
        assert_eq!(names.of("red", "db"), [red()]);
        assert_eq!(names.of("blue", "one"), []);
        // An object wants one name at a time.
        names.wait(blue("one"), "cache");
        assert_eq!(names.of("blue", "db"), [blue("two")]);
        assert_eq!(names.of("blue", "cache"), [blue("one")]);
        assert_eq!(names.all().len(), 3);
        for object in ["one", "two", "unknown"] {
            names.end(&blue(object));
        }
        assert_eq!(names.all(), [red()]);
        names.end(&red());
        names.with(|waiting| assert!(waiting.by_object.is_empty() && waiting.by_service.is_empty()));
    }
}
