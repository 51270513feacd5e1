//! Few reconciles of one AWS account talk to AWS at once; who finds it full is woken when there is room. Turns go round by
//! namespace, so that a crowd in one delays another by one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Wake;

/// A place is kept so long for the one that was woken; it may be gone, or every worker busy.
const KEPT: Duration = Duration::from_secs(10);

/// An object, by namespace and name.
type Key = (String, String);

/// Those who wait: namespaces in the order of their turns, and the objects of each in order of asking.
#[derive(Default)]
struct Waiting {
    namespaces: VecDeque<(String, VecDeque<String>)>,
    queued: HashSet<Key>,
}

impl Waiting {
    /// Queues an object behind the others of its namespace; the first of a namespace comes behind one turn of each other.
    fn push(&mut self, (namespace, name): Key) {
        if !self.queued.insert((namespace.clone(), name.clone())) {
            return;
        }
        match self.namespaces.iter_mut().find(|(known, _)| *known == namespace) {
            Some((_, names)) => names.push_back(name),
            None => self.namespaces.push_back((namespace, VecDeque::from([name]))),
        }
    }

    /// The next in turn; its namespace goes behind the others.
    fn pop(&mut self) -> Option<Key> {
        let (namespace, mut names) = self.namespaces.pop_front()?;
        let name = names.pop_front()?;
        if !names.is_empty() {
            self.namespaces.push_back((namespace.clone(), names));
        }
        let key = (namespace, name);
        self.queued.remove(&key);
        Some(key)
    }
}

#[derive(Default)]
struct Gate {
    inside: usize,
    /// Places of those who were woken and are on their way.
    kept: HashMap<Key, Instant>,
    waiting: Waiting,
}

impl Gate {
    fn has_room(&mut self, limit: usize) -> bool {
        self.kept.retain(|_, since| since.elapsed() < KEPT);
        self.inside + self.kept.len() < limit
    }
}

/// The gates of all accounts.
#[derive(Clone)]
pub struct Gates {
    limit: usize,
    gates: Arc<Mutex<HashMap<String, Gate>>>,
}

/// A place inside; leaving it wakes the next.
pub struct Inside {
    gates: Gates,
    account_id: String,
    wake: Wake,
}

impl Gates {
    /// So many fit through each.
    pub fn new(limit: u16) -> Self {
        Self {
            limit: usize::from(limit),
            gates: Arc::default(),
        }
    }

    /// How many objects wait for room, in all accounts.
    pub fn waiting(&self) -> usize {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.values().map(|gate| gate.waiting.queued.len()).sum()
    }

    /// A place inside, or none: then the object is woken, in its turn, when there is room, and the place is kept for it.
    pub fn enter(&self, account_id: &str, namespace: &str, name: &str, wake: Wake) -> Option<Inside> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(account_id.to_owned()).or_default();
        let key = (namespace.to_owned(), name.to_owned());
        let is_awaited = gate.kept.remove(&key).is_some();
        if !is_awaited && !gate.has_room(self.limit) {
            gate.waiting.push(key);
            return None;
        }
        gate.inside += 1;
        Some(Inside {
            gates: self.clone(),
            account_id: account_id.to_owned(),
            wake,
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut woken = Vec::new();
        {
            let mut gates = self.gates.gates.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(gate) = gates.get_mut(&self.account_id) else {
                return;
            };
            gate.inside = gate.inside.saturating_sub(1);
            // More than one where a kept place was not taken.
            while gate.has_room(self.gates.limit) {
                let Some(next) = gate.waiting.pop() else { break };
                gate.kept.insert(next.clone(), Instant::now());
                woken.push(next);
            }
            if gate.inside == 0 && gate.kept.is_empty() && gate.waiting.queued.is_empty() {
                gates.remove(&self.account_id);
            }
        }
        for (namespace, name) in woken {
            (self.wake)(&namespace, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_wakes_the_next_in_order_and_once() {
        let woken: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = woken.clone();
        let wake: Wake = Arc::new(move |_, name| log.lock().expect("not poisoned").push(name.to_owned()));
        let gates = Gates::new(1);
        let enter = |name: &str| gates.enter("1", "ns", name, wake.clone());
        let inside = enter("a").expect("room");
        for name in ["b", "c", "b"] {
            assert!(enter(name).is_none());
        }
        assert!(
            gates.enter("2", "ns", "x", wake.clone()).is_some(),
            "another account has a gate of its own"
        );
        drop(inside);
        drop(enter("b").expect("room"));
        drop(enter("c").expect("room"));
        assert_eq!(*woken.lock().expect("not poisoned"), ["b", "c"]);
    }

    #[test]
    fn a_crowd_of_one_namespace_delays_another_by_one() {
        let woken: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = woken.clone();
        let wake: Wake = Arc::new(move |namespace, name| {
            log.lock().expect("not poisoned").push(format!("{namespace}/{name}"));
        });
        let gates = Gates::new(1);
        let enter = |namespace: &str, name: &str| gates.enter("1", namespace, name, wake.clone());
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
        assert_eq!(*woken.lock().expect("not poisoned"), ["crowd/1", "third/a", "crowd/2"]);
    }
}
