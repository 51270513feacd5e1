//! Few reconciles of one AWS account talk to AWS at once; an object for which there is no room is
//! woken when there is. Turns go round by namespace, so that a crowd in one delays another by one.
//! An object that is gone, or has nothing to do in AWS any more, leaves, and a place that nobody
//! takes goes to the next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::k8s::object_key::ObjectKey;
use crate::k8s::requeue::Enqueue;

/// A place is kept so long for the object that was requeued: every worker may be busy.
const KEPT: Duration = Duration::from_secs(10);

/// The objects of one namespace, in order of asking.
#[derive(Default)]
struct Names {
    by_turn: BTreeMap<u64, ObjectKey>,
    turns: HashMap<ObjectKey, u64>,
}

/// The objects that wait: namespaces in the order of their turns, and the objects of each in order
/// of asking.
#[derive(Default)]
struct Waiting {
    /// Each namespace that has objects waiting, once.
    order: VecDeque<String>,
    namespaces: HashMap<String, Names>,
    asked: u64,
    len: usize,
}

impl Waiting {
    /// Queues an object behind the others of its namespace; the first of a namespace comes behind
    /// one turn of each other.
    fn push(&mut self, key: ObjectKey) {
        if !self.namespaces.contains_key(&key.namespace) {
            self.order.push_back(key.namespace.clone());
        }
        let names = self.namespaces.entry(key.namespace.clone()).or_default();
        if names.turns.contains_key(&key) {
            return;
        }
        self.asked += 1;
        self.len += 1;
        names.turns.insert(key.clone(), self.asked);
        names.by_turn.insert(self.asked, key);
    }

    /// The next in turn; its namespace goes behind the others.
    fn pop(&mut self) -> Option<ObjectKey> {
        let namespace = self.order.pop_front()?;
        let names = self.namespaces.get_mut(&namespace)?;
        let (_, key) = names.by_turn.pop_first()?;
        names.turns.remove(&key);
        self.len -= 1;
        if names.turns.is_empty() {
            self.namespaces.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        Some(key)
    }

    /// Takes an object out.
    fn remove(&mut self, key: &ObjectKey) {
        let namespace = &key.namespace;
        let Some(names) = self.namespaces.get_mut(namespace) else {
            return;
        };
        if let Some(turn) = names.turns.remove(key) {
            names.by_turn.remove(&turn);
            self.len -= 1;
        }
        if names.turns.is_empty() {
            self.namespaces.remove(namespace);
            self.order.retain(|other| other != namespace);
        }
    }
}

#[derive(Default)]
struct Slots {
    inside: usize,
    /// Places of objects that were requeued and are on their way, and until when they are kept.
    kept: HashMap<ObjectKey, Instant>,
    waiting: Waiting,
    /// Whether a task waits for the first of the kept places to lapse.
    is_watched: bool,
}

impl Slots {
    fn has_room(&self, limit: usize) -> bool {
        self.inside + self.kept.len() < limit
    }

    /// Gives the places that are free to the next in turn, which are to be requeued.
    fn let_in(&mut self, limit: usize, kept: Duration) -> Vec<ObjectKey> {
        let until = Instant::now() + kept;
        let mut next = Vec::new();
        while self.has_room(limit) {
            let Some(key) = self.waiting.pop() else { break };
            self.kept.insert(key.clone(), until);
            next.push(key);
        }
        next
    }

    fn is_empty(&self) -> bool {
        self.inside == 0 && self.kept.is_empty() && self.waiting.len == 0
    }
}

/// The semaphore of all accounts, and in which of them each object waits or has a place kept.
#[derive(Default)]
struct All {
    semaphore: HashMap<String, Slots>,
    objects: HashMap<ObjectKey, String>,
}

/// The semaphore of all accounts.
#[derive(Clone)]
pub(crate) struct AccountSemaphore {
    limit: usize,
    /// How long a place is kept.
    kept: Duration,
    enqueue: Enqueue,
    all: Arc<Mutex<All>>,
}

/// A place inside; leaving it requeues the next.
pub(crate) struct Permit {
    semaphore: AccountSemaphore,
    account_id: String,
}

impl AccountSemaphore {
    /// So many fit through each; `enqueue` requeues an object.
    pub(crate) fn new(limit: u16, enqueue: Enqueue) -> Self {
        Self {
            limit: usize::from(limit),
            kept: KEPT,
            enqueue,
            all: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock()
    }

    /// How many objects wait for room, in all accounts.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().semaphore.values().map(|gate| gate.waiting.len).sum()
    }

    /// A place inside, or none: then the object is requeued, in its turn, when there is room, and the
    /// place is kept for it.
    pub(crate) fn enter(&self, account_id: &str, key: &ObjectKey) -> Option<Permit> {
        let elsewhere = self.lock().objects.get(key).is_some_and(|known| known != account_id);
        if elsewhere {
            self.leave(key);
        }
        let mut all = self.lock();
        let gate = all.semaphore.entry(account_id.to_owned()).or_default();
        let is_awaited = gate.kept.remove(key).is_some();
        // Where there is room nobody waits.
        if !is_awaited && !gate.has_room(self.limit) {
            gate.waiting.push(key.clone());
            all.objects.insert(key.clone(), account_id.to_owned());
            return None;
        }
        gate.inside += 1;
        all.objects.remove(key);
        Some(Permit {
            semaphore: self.clone(),
            account_id: account_id.to_owned(),
        })
    }

    /// Takes an object out of the gate that it waits at, if it waits: it is gone, or has no
    /// business in AWS now.
    pub(crate) fn leave(&self, key: &ObjectKey) {
        let account_id = {
            let mut all = self.lock();
            let Some(account_id) = all.objects.remove(key) else {
                return;
            };
            if let Some(gate) = all.semaphore.get_mut(&account_id) {
                gate.waiting.remove(key);
                gate.kept.remove(key);
            }
            account_id
        };
        self.go_on(&account_id);
    }

    /// Wakes the objects for which there is room at an account's gate, and sees to it that a place
    /// that is not taken does not stay so.
    fn go_on(&self, account_id: &str) {
        let (next, lapses) = {
            let mut all = self.lock();
            let Some(gate) = all.semaphore.get_mut(account_id) else {
                return;
            };
            let next = gate.let_in(self.limit, self.kept);
            let first = gate.kept.values().min().copied();
            let lapses = first.filter(|_| !std::mem::replace(&mut gate.is_watched, first.is_some()));
            if gate.is_empty() && !gate.is_watched {
                all.semaphore.remove(account_id);
            }
            for key in &next {
                all.objects.insert(key.clone(), account_id.to_owned());
            }
            (next, lapses)
        };
        for key in next {
            (self.enqueue)(key);
        }
        // Without a runtime the process is ending.
        if let (Some(lapses), Ok(runtime)) = (lapses, Handle::try_current()) {
            let (semaphore, account_id) = (self.clone(), account_id.to_owned());
            runtime.spawn(async move {
                tokio::time::sleep_until(lapses).await;
                semaphore.lapsed(&account_id);
            });
        }
    }

    /// The time of a kept place may be over.
    fn lapsed(&self, account_id: &str) {
        {
            let mut all = self.lock();
            let All { semaphore, objects } = &mut *all;
            let Some(gate) = semaphore.get_mut(account_id) else {
                return;
            };
            gate.is_watched = false;
            let now = Instant::now();
            for (key, _) in gate.kept.extract_if(|_, until| *until <= now) {
                objects.remove(&key);
            }
        }
        self.go_on(account_id);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut all = self.semaphore.lock();
            let Some(gate) = all.semaphore.get_mut(&self.account_id) else {
                return;
            };
            gate.inside = gate.inside.saturating_sub(1);
        }
        self.semaphore.go_on(&self.account_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::caches::Endpoint;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new::<Endpoint>(namespace, name)
    }

    /// The permits, and what they have requeued.
    fn semaphore(limit: u16) -> (AccountSemaphore, Arc<Mutex<Vec<String>>>) {
        let woken: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = woken.clone();
        let enqueue: Enqueue = Arc::new(move |key: ObjectKey| {
            log.lock().push(format!("{}/{}", key.namespace, key.name));
        });
        (AccountSemaphore::new(limit, enqueue), woken)
    }

    /// Waits until something is so.
    async fn until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "it is never so");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn of(woken: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
        woken.lock().clone()
    }

    #[tokio::test]
    async fn leaving_requeues_the_next_in_order_and_once() {
        let (semaphore, woken) = semaphore(1);
        let enter = |name: &str| semaphore.enter("1", &key("ns", name));
        let inside = enter("a").expect("room");
        for name in ["b", "c", "b"] {
            assert!(enter(name).is_none());
        }
        assert!(
            semaphore.enter("2", &key("ns", "x")).is_some(),
            "another account has a gate of its own"
        );
        drop(inside);
        drop(enter("b").expect("room"));
        drop(enter("c").expect("room"));
        assert_eq!(of(&woken), ["ns/b", "ns/c"]);
        assert_eq!(semaphore.waiting(), 0);
    }

    #[tokio::test]
    async fn a_crowd_of_one_namespace_delays_another_by_one() {
        let (semaphore, woken) = semaphore(1);
        let enter = |namespace: &str, name: &str| semaphore.enter("1", &key(namespace, name));
        let inside = enter("crowd", "0").expect("room");
        for name in 1..1000 {
            assert!(enter("crowd", &name.to_string()).is_none());
        }
        assert!(enter("third", "a").is_none());
        drop(inside);
        assert!(
            enter("crowd", "7").is_none(),
            "the place is kept for the one that was woken"
        );
        drop(enter("crowd", "1").expect("its place"));
        drop(enter("third", "a").expect("its place"));
        assert_eq!(of(&woken), ["crowd/1", "third/a", "crowd/2"]);
    }

    #[tokio::test]
    async fn objects_that_are_gone_reserve_nothing() {
        let (semaphore, woken) = semaphore(8);
        let enter = |namespace: &str, name: &str| semaphore.enter("1", &key(namespace, name));
        let inside: Vec<Permit> = (0..8)
            .map(|name| enter("crowd", &name.to_string()).expect("room"))
            .collect();
        for name in 8..300 {
            assert!(enter("crowd", &name.to_string()).is_none());
        }
        assert!(enter("neighbour", "a").is_none());
        // Eight were requeued, and then all of the crowd are deleted.
        drop(inside);
        for name in 0..300 {
            semaphore.leave(&key("crowd", &name.to_string()));
        }
        assert!(enter("neighbour", "a").is_some(), "its turn has come: {:?}", of(&woken));
        assert_eq!(semaphore.waiting(), 0);
        assert!(semaphore.lock().objects.is_empty());
    }

    #[tokio::test]
    async fn a_permit_that_is_not_taken_goes_to_the_next_by_itself() {
        let (mut semaphore, woken) = semaphore(1);
        semaphore.kept = Duration::from_millis(50);
        let inside = semaphore.enter("1", &key("ns", "a")).expect("room");
        for name in ["lost", "b"] {
            assert!(semaphore.enter("1", &key("ns", name)).is_none());
        }
        drop(inside);
        assert_eq!(of(&woken), ["ns/lost"]);
        until(|| of(&woken) == ["ns/lost", "ns/b"]).await;
        // Nobody takes that either, and then all is free again.
        until(|| semaphore.lock().semaphore.is_empty()).await;
        assert!(semaphore.lock().objects.is_empty());
        assert!(semaphore.enter("1", &key("ns", "lost")).is_some(), "it may come again");
    }

    #[tokio::test]
    async fn an_object_that_moves_to_another_account_waits_there_alone() {
        let (semaphore, woken) = semaphore(1);
        let one = semaphore.enter("1", &key("ns", "a")).expect("room");
        let two = semaphore.enter("2", &key("ns", "b")).expect("room");
        assert!(semaphore.enter("1", &key("ns", "c")).is_none());
        assert!(semaphore.enter("2", &key("ns", "c")).is_none());
        assert_eq!(semaphore.waiting(), 1);
        drop(one);
        assert!(of(&woken).is_empty());
        drop(two);
        assert_eq!(of(&woken), ["ns/c"]);
    }
}
