//! Limits how many reconciles of one AWS account call AWS at once. An object that gets no permit is
//! requeued when there is one, round-robin by namespace, so that a thousand objects of one
//! namespace delay another by one. An object that is deleted, or has nothing to do in AWS any more,
//! cancels its request, and a permit that is not taken goes to the next.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::time::Instant;
use vpce_core::object_key::ObjectKey;

use crate::k8s::requeue::Enqueue;

/// A permit is reserved so long for the object that was requeued: every worker may be busy.
const RESERVED_FOR: Duration = Duration::from_secs(10);

/// The objects of one namespace, in the order of their requests.
#[derive(Default)]
struct NamespaceQueue {
    by_number: BTreeMap<u64, ObjectKey>,
    numbers: HashMap<ObjectKey, u64>,
}

/// The objects that wait: namespaces round-robin, and the objects of each in the order of their
/// requests.
#[derive(Default)]
struct Waiting {
    /// Each namespace that has objects waiting, once.
    order: VecDeque<String>,
    namespaces: HashMap<String, NamespaceQueue>,
    requests: u64,
    /// How many of each kind there are.
    kinds: HashMap<Cow<'static, str>, usize>,
}

impl Waiting {
    /// Queues an object behind the others of its namespace; the first of a namespace comes behind
    /// one of each other.
    fn push(&mut self, key: ObjectKey) {
        if !self.namespaces.contains_key(&key.namespace) {
            self.order.push_back(key.namespace.clone());
        }
        let queue = self.namespaces.entry(key.namespace.clone()).or_default();
        if queue.numbers.contains_key(&key) {
            return;
        }
        self.requests += 1;
        *self.kinds.entry(key.kind.clone()).or_default() += 1;
        queue.numbers.insert(key.clone(), self.requests);
        queue.by_number.insert(self.requests, key);
    }

    /// The next object; its namespace goes behind the others.
    fn pop(&mut self) -> Option<ObjectKey> {
        let namespace = self.order.pop_front()?;
        let queue = self.namespaces.get_mut(&namespace)?;
        let (_, key) = queue.by_number.pop_first()?;
        queue.numbers.remove(&key);
        Self::one_less(&mut self.kinds, &key);
        if queue.numbers.is_empty() {
            self.namespaces.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        Some(key)
    }

    /// Removes an object.
    fn remove(&mut self, key: &ObjectKey) {
        let namespace = &key.namespace;
        let Some(queue) = self.namespaces.get_mut(namespace) else {
            return;
        };
        if let Some(number) = queue.numbers.remove(key) {
            queue.by_number.remove(&number);
            Self::one_less(&mut self.kinds, key);
        }
        if queue.numbers.is_empty() {
            self.namespaces.remove(namespace);
            self.order.retain(|other| other != namespace);
        }
    }

    fn one_less(kinds: &mut HashMap<Cow<'static, str>, usize>, key: &ObjectKey) {
        if let Some(count) = kinds.get_mut(&key.kind) {
            *count -= 1;
        }
    }
}

/// The permits of one account.
#[derive(Default)]
struct Permits {
    held: usize,
    /// Those reserved for objects that were requeued, and until when.
    reserved: HashMap<ObjectKey, Instant>,
    waiting: Waiting,
    /// Whether a task waits for the first of the reservations to lapse.
    is_watched: bool,
}

impl Permits {
    fn is_available(&self, limit: usize) -> bool {
        self.held + self.reserved.len() < limit
    }

    /// Reserves what is available for the next objects, which are to be requeued.
    fn reserve(&mut self, limit: usize, reserved_for: Duration) -> Vec<ObjectKey> {
        let until = Instant::now() + reserved_for;
        let mut next = Vec::new();
        while self.is_available(limit) {
            let Some(key) = self.waiting.pop() else { break };
            self.reserved.insert(key.clone(), until);
            next.push(key);
        }
        next
    }

    fn is_empty(&self) -> bool {
        self.held == 0 && self.reserved.is_empty() && self.waiting.namespaces.is_empty()
    }
}

#[derive(Default)]
struct State {
    /// By account id.
    accounts: HashMap<String, Permits>,
    /// The account in which each object waits or has a reservation.
    objects: HashMap<ObjectKey, String>,
}

/// A semaphore for each AWS account.
#[derive(Clone)]
pub(crate) struct AccountSemaphore {
    limit: usize,
    reserved_for: Duration,
    enqueue: Enqueue,
    state: Arc<Mutex<State>>,
}

/// Allows a reconcile to call AWS; dropping it requeues the next object.
pub(crate) struct Permit {
    semaphore: AccountSemaphore,
    account_id: String,
}

impl AccountSemaphore {
    /// With so many permits for each account; `enqueue` requeues an object.
    pub(crate) fn new(limit: u16, enqueue: Enqueue) -> Self {
        Self {
            limit: usize::from(limit),
            reserved_for: RESERVED_FOR,
            enqueue,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// How many objects of a kind wait for a permit, in all accounts.
    pub(crate) fn waiting<K: Resource<DynamicType = ()>>(&self) -> usize {
        let kind = K::kind(&());
        let state = self.lock();
        let permits = state.accounts.values();
        permits.filter_map(|permits| permits.waiting.kinds.get(&kind)).sum()
    }

    /// A permit, or none: then the object is requeued when it is the next for one, which is
    /// reserved for it.
    pub(crate) fn acquire(&self, account_id: &str, key: &ObjectKey) -> Option<Permit> {
        let elsewhere = self.lock().objects.get(key).is_some_and(|known| known != account_id);
        if elsewhere {
            self.cancel(key);
        }
        let mut state = self.lock();
        let permits = state.accounts.entry(account_id.to_owned()).or_default();
        let is_reserved = permits.reserved.remove(key).is_some();
        // Where a permit is available, none waits.
        if !is_reserved && !permits.is_available(self.limit) {
            permits.waiting.push(key.clone());
            state.objects.insert(key.clone(), account_id.to_owned());
            return None;
        }
        permits.held += 1;
        state.objects.remove(key);
        Some(Permit {
            semaphore: self.clone(),
            account_id: account_id.to_owned(),
        })
    }

    /// Gives up the request or the reservation of an object, if it has one: it is deleted, or has
    /// nothing to do in AWS now.
    pub(crate) fn cancel(&self, key: &ObjectKey) {
        let account_id = {
            let mut state = self.lock();
            let Some(account_id) = state.objects.remove(key) else {
                return;
            };
            if let Some(permits) = state.accounts.get_mut(&account_id) {
                permits.waiting.remove(key);
                permits.reserved.remove(key);
            }
            account_id
        };
        self.requeue_next(&account_id);
    }

    /// Requeues the next objects, if permits of an account are available, and has reservations
    /// lapse that are not used.
    fn requeue_next(&self, account_id: &str) {
        let (next, lapses) = {
            let mut state = self.lock();
            let Some(permits) = state.accounts.get_mut(account_id) else {
                return;
            };
            let next = permits.reserve(self.limit, self.reserved_for);
            let first = permits.reserved.values().min().copied();
            let lapses = first.filter(|_| !std::mem::replace(&mut permits.is_watched, first.is_some()));
            if permits.is_empty() && !permits.is_watched {
                state.accounts.remove(account_id);
            }
            for key in &next {
                state.objects.insert(key.clone(), account_id.to_owned());
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

    /// The time of a reservation may be over.
    fn lapsed(&self, account_id: &str) {
        {
            let mut state = self.lock();
            let State { accounts, objects } = &mut *state;
            let Some(permits) = accounts.get_mut(account_id) else {
                return;
            };
            permits.is_watched = false;
            let now = Instant::now();
            for (key, _) in permits.reserved.extract_if(|_, until| *until <= now) {
                objects.remove(&key);
            }
        }
        self.requeue_next(account_id);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.semaphore.lock();
            let Some(permits) = state.accounts.get_mut(&self.account_id) else {
                return;
            };
            permits.held = permits.held.saturating_sub(1);
        }
        self.semaphore.requeue_next(&self.account_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::caches::{Account, Endpoint};

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new::<Endpoint>(namespace, name)
    }

    /// A semaphore, and what it has requeued.
    fn semaphore(limit: u16) -> (AccountSemaphore, Arc<Mutex<Vec<String>>>) {
        let requeued: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = requeued.clone();
        let enqueue: Enqueue = Arc::new(move |key: ObjectKey| {
            log.lock().push(format!("{}/{}", key.namespace, key.name));
        });
        (AccountSemaphore::new(limit, enqueue), requeued)
    }

    /// Waits until something is so.
    async fn until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "it is never so");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn of(requeued: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
        requeued.lock().clone()
    }

    #[tokio::test]
    async fn dropping_a_permit_requeues_the_next_in_order_and_once() {
        let (semaphore, requeued) = semaphore(1);
        let acquire = |name: &str| semaphore.acquire("1", &key("ns", name));
        let held = acquire("a").expect("a permit");
        for name in ["b", "c", "b"] {
            assert!(acquire(name).is_none());
        }
        assert!(
            semaphore.acquire("2", &key("ns", "x")).is_some(),
            "another account has permits of its own"
        );
        drop(held);
        drop(acquire("b").expect("a permit"));
        drop(acquire("c").expect("a permit"));
        assert_eq!(of(&requeued), ["ns/b", "ns/c"]);
        assert_eq!(semaphore.waiting::<Endpoint>(), 0);
    }

    #[tokio::test]
    async fn a_crowd_of_one_namespace_delays_another_by_one() {
        let (semaphore, requeued) = semaphore(1);
        let acquire = |namespace: &str, name: &str| semaphore.acquire("1", &key(namespace, name));
        let held = acquire("crowd", "0").expect("a permit");
        for name in 1..1000 {
            assert!(acquire("crowd", &name.to_string()).is_none());
        }
        assert!(acquire("third", "a").is_none());
        drop(held);
        assert!(
            acquire("crowd", "7").is_none(),
            "the permit is reserved for the one that was requeued"
        );
        drop(acquire("crowd", "1").expect("its permit"));
        drop(acquire("third", "a").expect("its permit"));
        assert_eq!(of(&requeued), ["crowd/1", "third/a", "crowd/2"]);
    }

    #[tokio::test]
    async fn objects_that_are_gone_reserve_nothing() {
        let (semaphore, requeued) = semaphore(8);
        let acquire = |namespace: &str, name: &str| semaphore.acquire("1", &key(namespace, name));
        let held: Vec<Permit> = (0..8)
            .map(|name| acquire("crowd", &name.to_string()).expect("a permit"))
            .collect();
        for name in 8..300 {
            assert!(acquire("crowd", &name.to_string()).is_none());
        }
        assert!(acquire("neighbour", "a").is_none());
        // Eight were requeued, and then all of the crowd are deleted.
        drop(held);
        for name in 0..300 {
            semaphore.cancel(&key("crowd", &name.to_string()));
        }
        assert!(
            acquire("neighbour", "a").is_some(),
            "it is the next: {:?}",
            of(&requeued)
        );
        assert_eq!(semaphore.waiting::<Endpoint>(), 0);
        assert!(semaphore.lock().objects.is_empty());
    }

    #[tokio::test]
    async fn a_permit_that_is_not_taken_goes_to_the_next_by_itself() {
        let (mut semaphore, requeued) = semaphore(1);
        semaphore.reserved_for = Duration::from_millis(50);
        let held = semaphore.acquire("1", &key("ns", "a")).expect("a permit");
        for name in ["lost", "b"] {
            assert!(semaphore.acquire("1", &key("ns", name)).is_none());
        }
        drop(held);
        assert_eq!(of(&requeued), ["ns/lost"]);
        until(|| of(&requeued) == ["ns/lost", "ns/b"]).await;
        // That is not taken either, and then all are free again.
        until(|| semaphore.lock().accounts.is_empty()).await;
        assert!(semaphore.lock().objects.is_empty());
        assert!(
            semaphore.acquire("1", &key("ns", "lost")).is_some(),
            "it may come again"
        );
    }

    #[tokio::test]
    async fn each_kind_is_counted_by_itself() {
        let (semaphore, _) = semaphore(1);
        let held = semaphore.acquire("1", &key("ns", "a")).expect("a permit");
        for name in ["b", "c"] {
            assert!(semaphore.acquire("1", &key("ns", name)).is_none());
        }
        let other = ObjectKey::new::<Account>("ns", "b");
        assert!(semaphore.acquire("1", &other).is_none());
        let waiting = || (semaphore.waiting::<Endpoint>(), semaphore.waiting::<Account>());
        assert_eq!(waiting(), (2, 1));
        semaphore.cancel(&key("ns", "b"));
        assert_eq!(waiting(), (1, 1));
        drop(held);
        assert_eq!(waiting(), (0, 1));
        semaphore.cancel(&key("ns", "c"));
        assert_eq!(waiting(), (0, 0));
    }

    #[tokio::test]
    async fn an_object_that_moves_to_another_account_waits_there_alone() {
        let (semaphore, requeued) = semaphore(1);
        let one = semaphore.acquire("1", &key("ns", "a")).expect("a permit");
        let two = semaphore.acquire("2", &key("ns", "b")).expect("a permit");
        assert!(semaphore.acquire("1", &key("ns", "c")).is_none());
        assert!(semaphore.acquire("2", &key("ns", "c")).is_none());
        assert_eq!(semaphore.waiting::<Endpoint>(), 1);
        drop(one);
        assert!(of(&requeued).is_empty());
        drop(two);
        assert_eq!(of(&requeued), ["ns/c"]);
    }
}
