//! Few reconciles of one AWS account talk to AWS at once; who finds it full is woken when there is room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::context::Wake;

#[derive(Default)]
struct Gate {
    inside: usize,
    waiting: VecDeque<(String, String)>,
    queued: HashSet<(String, String)>,
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
        gates.values().map(|gate| gate.waiting.len()).sum()
    }

    /// A place inside, or none: then the object is woken, in order of asking, when there is room.
    pub fn enter(&self, account_id: &str, namespace: &str, name: &str, wake: Wake) -> Option<Inside> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(account_id.to_owned()).or_default();
        if gate.inside >= self.limit {
            let key = (namespace.to_owned(), name.to_owned());
            if gate.queued.insert(key.clone()) {
                gate.waiting.push_back(key);
            }
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
        let next = {
            let mut gates = self.gates.gates.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(gate) = gates.get_mut(&self.account_id) else {
                return;
            };
            gate.inside = gate.inside.saturating_sub(1);
            let next = gate.waiting.pop_front();
            if let Some(key) = &next {
                gate.queued.remove(key);
            }
            if gate.inside == 0 && gate.waiting.is_empty() {
                gates.remove(&self.account_id);
            }
            next
        };
        if let Some((namespace, name)) = next {
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
}
