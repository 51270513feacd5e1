//! What is remembered of an object between reconciles, and may be lost: a restart only makes the
//! operator more careful.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use parking_lot::Mutex;
use vpce_core::conditions::Finding;
use vpce_core::object_key::ObjectKey;
use vpce_core::plan::UnfinishedReason;

use super::Bound;
use super::absence::Absence;
use super::announced::{Announced, PlannedChanges};
use super::waits::{Refusal, Tried, Wait, Waits};
use crate::aws::region::AccountRegionKey;
use crate::k8s::patch::version_of;

/// What a controller remembers of an object of its kind beside what all do.
pub(crate) trait Remembered: Default + Send + 'static {
    /// The object is to be reconciled now: what the caches say is believed again.
    fn requeued(&mut self) {}

    /// Something has changed for it, too.
    fn retried(&mut self) {
        self.requeued();
    }

    /// All is as desired, or a person has edited the object: what was learned of refusals is tried
    /// again.
    fn unlearn(&mut self) {}
}

/// What is remembered of one object.
#[derive(Debug)]
pub(crate) struct Memory<O: Bound> {
    /// When it is reconciled again.
    pub waits: Waits,
    /// What may be in AWS and is not seen.
    pub absence: Absence,
    /// What was said of it.
    pub announced: Announced,
    /// The object as our last write left it, which the cache may not have yet.
    pub latest: Option<Arc<O>>,
    /// Whether the API server refused the status that this reconcile wrote.
    pub status_refused: bool,
    /// Whether a reconcile was cut off, so that an answer may be lost.
    pub cut_off: bool,
    /// The region in whose rate limiter it has a reservation.
    pub reserved_in: Option<AccountRegionKey>,
    /// What only its kind has.
    pub own: O::Own,
    /// The AWSAccounts among which its own was chosen when it was last reconciled, while it is
    /// bound to none.
    candidates: Vec<String>,
    /// Whether its deletion was taken note of.
    is_leaving: bool,
}

impl<O: Bound> Default for Memory<O> {
    fn default() -> Self {
        Self {
            waits: Waits::default(),
            absence: Absence::default(),
            announced: Announced::default(),
            latest: None,
            status_refused: false,
            cut_off: false,
            reserved_in: None,
            own: O::Own::default(),
            candidates: Vec::new(),
            is_leaving: false,
        }
    }
}

/// What is remembered, and of which UID: of another one nothing is.
struct Entry<O: Bound> {
    uid: String,
    memory: Memory<O>,
}

/// The memories of all objects of a kind, by namespace and name.
pub(crate) struct Memories<O: Bound> {
    /// Boxed, or a table that grows would take several times what is in it.
    all: Arc<Mutex<HashMap<ObjectKey, Box<Entry<O>>>>>,
    /// The objects for which an AWSAccount is a candidate.
    candidate_for: Arc<Mutex<HashMap<String, BTreeSet<ObjectKey>>>>,
}

impl<O: Bound> Default for Memories<O> {
    fn default() -> Self {
        Self {
            all: Arc::default(),
            candidate_for: Arc::default(),
        }
    }
}

impl<O: Bound> Clone for Memories<O> {
    fn clone(&self) -> Self {
        Self {
            all: self.all.clone(),
            candidate_for: self.candidate_for.clone(),
        }
    }
}

impl<O: Bound> Memories<O> {
    /// Reads or changes what is remembered of an object.
    pub(crate) fn with<T>(&self, object: &O, work: impl FnOnce(&mut Memory<O>) -> T) -> T {
        let key = ObjectKey::of(object);
        let uid = object.uid().unwrap_or_default();
        let mut all = self.all.lock();
        let new = |uid| {
            Box::new(Entry {
                uid,
                memory: Memory::default(),
            })
        };
        let entry = all.entry(key).or_insert_with(|| new(String::new()));
        if entry.uid != uid {
            *entry = new(uid);
        }
        work(&mut entry.memory)
    }

    /// Changes what is remembered of an object, if anything is.
    pub(crate) fn known(&self, key: &ObjectKey, work: impl FnOnce(&mut Memory<O>)) {
        let mut all = self.all.lock();
        if let Some(entry) = all.get_mut(key) {
            work(&mut entry.memory);
        }
    }

    /// The object as the cache has it, or as our last write left it if that is newer.
    pub(crate) fn newest(&self, cached: Arc<O>) -> Arc<O> {
        self.with(&cached, |memory| match memory.latest.take() {
            Some(latest) if version_of(&*latest) > version_of(&*cached) => {
                memory.latest = Some(latest.clone());
                latest
            }
            _ => cached.clone(),
        })
    }

    /// All planned changes that are not carried out.
    pub(crate) fn planned_changes(&self) -> Vec<PlannedChanges> {
        let all = self.all.lock();
        all.values()
            .filter_map(|entry| entry.memory.announced.planned_changes.clone())
            .collect()
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        let forgotten = self.all.lock().remove(key);
        if let Some(entry) = forgotten {
            self.replace_candidates(key, &entry.memory.candidates, &[]);
        }
    }

    /// Remembers among which AWSAccounts an object's own was chosen; none for one that is bound.
    pub(crate) fn set_candidates(&self, object: &O, candidates: Vec<String>) {
        let before = self.with(object, |memory| {
            std::mem::replace(&mut memory.candidates, candidates.clone())
        });
        if before != candidates {
            self.replace_candidates(&ObjectKey::of(object), &before, &candidates);
        }
    }

    fn replace_candidates(&self, key: &ObjectKey, before: &[String], candidates: &[String]) {
        let mut index = self.candidate_for.lock();
        for account in before {
            if let Some(keys) = index.get_mut(account) {
                keys.remove(key);
                if keys.is_empty() {
                    index.remove(account);
                }
            }
        }
        for account in candidates {
            index.entry(account.clone()).or_default().insert(key.clone());
        }
    }

    /// The objects that are bound to no AWSAccount and for which this one was a candidate.
    pub(crate) fn candidate_for(&self, account: &str) -> BTreeSet<ObjectKey> {
        self.candidate_for.lock().get(account).cloned().unwrap_or_default()
    }

    /// The cache has an object: our own write of it is kept only while it is newer.
    pub(crate) fn cached(&self, object: &O) {
        self.known(&ObjectKey::of(object), |memory| {
            let latest = &mut memory.latest;
            latest.take_if(|latest| version_of(&**latest) <= version_of(object));
        });
    }

    /// The region in whose rate limiter an object has a reservation, to be cancelled: when that is
    /// asked for, or once its deletion is seen.
    pub(crate) fn take_reservation(&self, object: &O, deleted: bool) -> Option<AccountRegionKey> {
        self.with(object, |memory| {
            if deleted && std::mem::replace(&mut memory.is_leaving, true) {
                return None;
            }
            memory.reserved_in.take()
        })
    }

    /// Ends the wait of an object, and has it believe the caches again. What was refused goes on
    /// waiting.
    pub(crate) fn requeue(&self, key: &ObjectKey) {
        self.known(key, |memory| {
            memory.waits.requeue();
            memory.own.requeued();
        });
    }

    /// Ends the waits of an object, those for what AWS refused too: something has changed.
    pub(crate) fn retry(&self, key: &ObjectKey) {
        self.known(key, |memory| {
            memory.waits.retry();
            memory.own.retried();
        });
    }

    /// How long an object still has to wait, unless a person asks for a resync now: that ends the
    /// wait, once a `poll`.
    pub(crate) fn wait(&self, object: &O, poll: Duration) -> Option<Duration> {
        self.with(object, |memory| {
            let left = memory.waits.left(object, poll);
            if memory.waits.take_ended() {
                memory.own.unlearn();
            }
            left
        })
    }

    /// How long until a resync that a person has asked for is due.
    pub(crate) fn until_resync(&self, object: &O) -> Option<Duration> {
        self.with(object, |memory| memory.waits.until_resync())
    }

    /// Has watch events wait until then.
    pub(crate) fn not_before(&self, object: &O, wait: Duration) {
        self.with(object, |memory| memory.waits.not_before(wait));
    }

    /// Counts a refusal; how long to wait after it, `most` at the most, with jitter.
    pub(crate) fn refused(
        &self,
        object: &O,
        tried: Tried,
        reason: UnfinishedReason,
        finding: Option<Finding>,
        most: Duration,
        kind: Wait,
    ) -> Duration {
        self.with(object, |memory| {
            memory.waits.refused(tried, reason, finding, most, kind)
        })
    }

    /// How something was refused when it was last tried, if it was.
    pub(crate) fn refusal(&self, object: &O, tried: Tried) -> Option<Refusal> {
        self.with(object, |memory| memory.waits.refusal(tried).cloned())
    }

    /// It was done.
    pub(crate) fn accepted(&self, object: &O, tried: Tried) {
        self.with(object, |memory| memory.waits.accepted(tried));
    }

    /// Counts a failure; how long to wait after it, `most` at the most, with jitter.
    pub(crate) fn failed(&self, object: &O, most: Duration) -> Duration {
        self.with(object, |memory| memory.waits.failed(most))
    }

    /// Counts a conflict; how long to wait after it, with jitter.
    pub(crate) fn conflicted(&self, object: &O) -> Duration {
        self.with(object, |memory| memory.waits.conflicted())
    }

    /// How many failures in a row.
    pub(crate) fn failures(&self, object: &O) -> u32 {
        self.with(object, |memory| memory.waits.failures())
    }

    /// All is as desired: what was refused on the way is old news.
    pub(crate) fn converged(&self, object: &O) {
        self.with(object, |memory| {
            memory.own.unlearn();
            memory.waits.converged();
        });
    }

    /// Ends the row of failures.
    pub(crate) fn succeeded(&self, object: &O) {
        self.with(object, |memory| memory.waits.succeeded());
    }

    /// Ends the row of conflicts.
    pub(crate) fn agreed(&self, object: &O) {
        self.with(object, |memory| memory.waits.agreed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use vpce_core::api::RECONCILE_AT;

    use crate::k8s::caches::Endpoint;

    const POLL: Duration = Duration::from_secs(5);

    fn object(generation: i64, reconcile_at: &str) -> Endpoint {
        serde_json::from_value(json!({
            "metadata": {
                "name": "a", "namespace": "b", "uid": "u", "generation": generation,
                "annotations": {RECONCILE_AT: reconcile_at},
            },
        }))
        .expect("watched objects always parse")
    }

    /// Whether a resync was asked for, which is carried out then.
    fn resyncs(memories: &Memories<Endpoint>, object: &Endpoint) -> bool {
        memories.with(object, |memory| memory.waits.take_resync()).is_some()
    }

    #[test]
    fn an_object_is_found_by_the_accounts_among_which_its_own_was_chosen_last() {
        let memories = Memories::<Endpoint>::default();
        let object = object(1, "0");
        let keys = BTreeSet::from([ObjectKey::of(&object)]);
        let candidates = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        memories.set_candidates(&object, candidates(&["one", "two"]));
        assert_eq!(memories.candidate_for("one"), keys);
        assert_eq!(memories.candidate_for("three"), BTreeSet::new());
        memories.set_candidates(&object, candidates(&["two", "three"]));
        assert_eq!(memories.candidate_for("one"), BTreeSet::new());
        assert_eq!(memories.candidate_for("three"), keys);
        memories.set_candidates(&object, candidates(&[]));
        assert_eq!(memories.candidate_for("two"), BTreeSet::new());
        memories.set_candidates(&object, candidates(&["one"]));
        memories.forget(&ObjectKey::of(&object));
        assert_eq!(memories.candidate_for("one"), BTreeSet::new());
        assert!(memories.candidate_for.lock().is_empty());
    }

    #[test]
    fn an_annotation_that_changes_in_a_loop_asks_for_one_resync_a_poll_interval() {
        let memories = Memories::<Endpoint>::default();
        assert_eq!(memories.wait(&object(1, "0"), POLL), None);
        assert!(
            !resyncs(&memories, &object(1, "0")),
            "what stood there before asks for nothing"
        );
        memories.not_before(&object(1, "0"), Duration::from_secs(600));
        assert_eq!(memories.wait(&object(1, "1"), POLL), None);
        assert!(resyncs(&memories, &object(1, "1")));
        for change in 2..100 {
            let left = memories.wait(&object(1, &change.to_string()), POLL).expect("it waits");
            assert!(left <= POLL && left > Duration::from_secs(4), "{left:?}");
        }
        assert!(!resyncs(&memories, &object(1, "99")));
        assert!(memories.until_resync(&object(1, "99")).is_some(), "it is not forgotten");
    }

    #[test]
    fn a_resync_that_waits_holds_up_neither_an_edit_nor_a_requeue() {
        let memories = Memories::<Endpoint>::default();
        for change in ["0", "1"] {
            assert_eq!(memories.wait(&object(1, change), POLL), None);
        }
        assert!(resyncs(&memories, &object(1, "1")));
        assert!(memories.wait(&object(1, "2"), POLL).is_some());
        assert_eq!(memories.wait(&object(2, "2"), POLL), None, "an edit");
        assert!(memories.wait(&object(2, "2"), POLL).is_some());
        memories.requeue(&ObjectKey::new::<Endpoint>("b", "a"));
        assert_eq!(memories.wait(&object(2, "2"), POLL), None, "requeued");
        assert!(!resyncs(&memories, &object(2, "2")));
    }

    #[test]
    fn what_changes_during_a_reconcile_is_not_waited_after() {
        let memories = Memories::<Endpoint>::default();
        let (object, key) = (object(1, "0"), ObjectKey::new::<Endpoint>("b", "a"));
        let (long, tried) = (Duration::from_secs(600), Tried::Step(1));
        let refused = || {
            let reason = UnfinishedReason::Refused;
            memories.refused(&object, tried, reason, None, long, Wait::Aws);
            memories.refusal(&object, tried).expect("refused").left()
        };
        // Before it begins: it reads what is there now.
        assert_eq!(memories.wait(&object, POLL), None);
        memories.retry(&key);
        assert_eq!(memories.wait(&object, POLL), None);
        assert!(!refused().is_zero());
        memories.not_before(&object, long);
        assert!(memories.wait(&object, POLL).is_some());

        // While it runs: it may have read what was there before.
        memories.retry(&key);
        assert_eq!(memories.wait(&object, POLL), None);
        memories.retry(&key);
        assert!(refused().is_zero());
        memories.not_before(&object, long);
        assert_eq!(memories.wait(&object, POLL), None);
        assert!(!refused().is_zero(), "once");
    }

    #[test]
    fn a_resync_begins_when_its_time_has_come() {
        let memories = Memories::<Endpoint>::default();
        for change in ["0", "1"] {
            assert_eq!(memories.wait(&object(1, change), Duration::ZERO), None);
        }
        memories.not_before(&object(1, "1"), Duration::from_secs(600));
        assert_eq!(
            memories.wait(&object(1, "2"), Duration::ZERO),
            None,
            "whatever it waited for"
        );
        assert!(resyncs(&memories, &object(1, "2")));
    }
}
