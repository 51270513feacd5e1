//! The work queue of a controller: which objects are to be reconciled, and when. An object is in it
//! once, and is not reconciled twice at the same time. Of what is due, namespaces take turns, so
//! that a thousand objects of one delay another's by one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vpce_core::object_key::ObjectKey;

/// Later than this is as good as never.
const LATEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// When an object is due, and how many were scheduled before it.
type Due = (Instant, u64);

/// The objects of a kind that are to be reconciled.
pub(super) struct WorkQueue {
    /// An object becomes due so much later than it is asked for, and if it is asked for again
    /// meanwhile, so much later than that.
    debounce: Duration,
    scheduled: HashMap<Arc<ObjectKey>, Due>,
    by_time: BTreeMap<Due, Arc<ObjectKey>>,
    count: u64,
    ready: Ready,
    running: HashSet<Arc<ObjectKey>>,
    /// What became due while it was running.
    again: HashSet<Arc<ObjectKey>>,
}

impl WorkQueue {
    pub(super) fn new(debounce: Duration) -> Self {
        Self {
            debounce,
            scheduled: HashMap::new(),
            by_time: BTreeMap::new(),
            count: 0,
            ready: Ready::default(),
            running: HashSet::new(),
            again: HashSet::new(),
        }
    }

    /// Has an object reconciled after a time, unless it is due before.
    pub(super) fn schedule(&mut self, key: ObjectKey, now: Instant, after: Duration) {
        if self.ready.contains(&key) || self.again.contains(&key) {
            return;
        }
        let asked = now + after.min(LATEST);
        let key = match self.scheduled.get_key_value(&key) {
            Some((_, (due, _))) if *due < asked => return,
            Some((known, due)) => {
                self.by_time.remove(due);
                known.clone()
            }
            None => Arc::new(key),
        };
        self.count += 1;
        let due = (asked + self.debounce, self.count);
        self.scheduled.insert(key.clone(), due);
        self.by_time.insert(due, key);
    }

    /// The next object to reconcile, which runs until [`WorkQueue::ended`]; none while none is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Arc<ObjectKey>> {
        while let Some(first) = self.by_time.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            self.scheduled.remove(&key);
            if self.running.contains(&key) {
                self.again.insert(key);
            } else {
                self.ready.push(key);
            }
        }
        let key = self.ready.pop()?;
        self.running.insert(key.clone());
        Some(key)
    }

    /// When the first of those that are scheduled is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((due, _), _)| *due)
    }

    /// An object is not running any more.
    pub(super) fn ended(&mut self, key: &Arc<ObjectKey>) {
        self.running.remove(key);
        if let Some(key) = self.again.take(key) {
            self.ready.push(key);
        }
    }
}

/// The objects that are due, by namespace.
#[derive(Default)]
struct Ready {
    /// Each namespace that has some, once.
    order: VecDeque<String>,
    namespaces: HashMap<String, VecDeque<Arc<ObjectKey>>>,
    all: HashSet<Arc<ObjectKey>>,
}

impl Ready {
    fn contains(&self, key: &ObjectKey) -> bool {
        self.all.contains(key)
    }

    fn push(&mut self, key: Arc<ObjectKey>) {
        if let Some(objects) = self.namespaces.get_mut(&key.namespace) {
            objects.push_back(key.clone());
        } else {
            self.order.push_back(key.namespace.clone());
            let objects = VecDeque::from([key.clone()]);
            self.namespaces.insert(key.namespace.clone(), objects);
        }
        self.all.insert(key);
    }

    /// The next object; its namespace goes behind the others.
    fn pop(&mut self) -> Option<Arc<ObjectKey>> {
        let namespace = self.order.pop_front()?;
        let objects = self.namespaces.get_mut(&namespace)?;
        let key = objects.pop_front()?;
        if objects.is_empty() {
            self.namespaces.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        self.all.remove(&key);
        if self.all.is_empty() {
            // After a start all objects are due at once.
            *self = Self::default();
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::caches::Endpoint;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new::<Endpoint>(namespace, name)
    }

    /// Runs all that are due one after the other: their names.
    fn run(queue: &mut WorkQueue, now: Instant) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(key) = queue.next(now) {
            names.push(key.name.clone());
            queue.ended(&key);
        }
        names
    }

    #[test]
    fn an_object_is_reconciled_when_it_is_first_due_and_once() {
        let mut queue = WorkQueue::new(Duration::ZERO);
        let now = Instant::now();
        queue.schedule(key("blue", "a"), now, 9 * SECOND);
        queue.schedule(key("blue", "b"), now, 2 * SECOND);
        queue.schedule(key("blue", "a"), now, SECOND);
        queue.schedule(key("blue", "a"), now, 5 * SECOND);
        assert_eq!(queue.next(now), None);
        assert_eq!(queue.next_due(), Some(now + SECOND));
        assert_eq!(run(&mut queue, now + SECOND), ["a"]);
        assert_eq!(queue.next_due(), Some(now + 2 * SECOND));
        assert_eq!(run(&mut queue, now + 9 * SECOND), ["b"]);
        assert_eq!(queue.next_due(), None);
        queue.schedule(key("blue", "a"), now, Duration::MAX);
        assert_eq!(queue.next(now + 9 * SECOND), None);
    }

    #[test]
    fn what_is_asked_for_while_it_runs_is_reconciled_again_when_it_has_ended() {
        let mut queue = WorkQueue::new(Duration::ZERO);
        let now = Instant::now();
        queue.schedule(key("blue", "a"), now, Duration::ZERO);
        let running = queue.next(now).expect("it is due");
        for _ in 0..3 {
            queue.schedule(key("blue", "a"), now, Duration::ZERO);
            assert_eq!(queue.next(now), None, "it is running");
        }
        queue.schedule(key("blue", "b"), now, Duration::ZERO);
        assert_eq!(run(&mut queue, now), ["b"]);
        queue.ended(&running);
        assert_eq!(run(&mut queue, now), ["a"]);
    }

    #[test]
    fn what_is_asked_for_again_and_again_is_debounced() {
        let mut queue = WorkQueue::new(SECOND);
        let now = Instant::now();
        queue.schedule(key("", "a"), now, Duration::ZERO);
        queue.schedule(key("", "a"), now + SECOND / 2, Duration::ZERO);
        assert_eq!(queue.next(now + SECOND), None);
        assert_eq!(run(&mut queue, now + 2 * SECOND), ["a"]);
    }

    #[test]
    fn a_thousand_objects_of_one_namespace_delay_another_by_one() {
        let mut queue = WorkQueue::new(Duration::ZERO);
        let now = Instant::now();
        for number in 0..1000 {
            queue.schedule(key("blue", &number.to_string()), now, Duration::ZERO);
        }
        assert_eq!(queue.next(now).map(|key| key.name.clone()), Some("0".to_owned()));
        queue.schedule(key("green", "a"), now, Duration::ZERO);
        queue.schedule(key("green", "b"), now, Duration::ZERO);
        let order = run(&mut queue, now);
        assert_eq!(order[..5], ["1", "a", "2", "b", "3"]);
        assert_eq!(order.len(), 1001);
        assert!(queue.ready.all.is_empty() && queue.ready.namespaces.is_empty() && queue.scheduled.is_empty());
    }
}
