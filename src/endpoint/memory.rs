//! What is remembered of an object between reconciles, and may be lost: a restart only makes the
//! operator more careful.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use parking_lot::Mutex;
use vpce_core::conditions::Finding;
use vpce_core::config_map::ObservedConfigMap;
use vpce_core::names::ObservedDnsEndpoint;
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::ObservedService;
use vpce_core::plan::{Fallbacks, UnfinishedReason};
use vpce_core::slices::ObservedSlice;

use crate::aws::region::AccountRegionKey;
use crate::endpoint::corrections::Corrections;
use crate::endpoint::written::Written;
use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::patch::version_of;

mod absence;
mod announced;
mod waits;

pub(crate) use absence::Absence;
pub(crate) use announced::{Announced, PlannedChanges};
pub(crate) use waits::{Refusal, Tried, Wait, Waits};

/// What is remembered of one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// When it is reconciled again.
    pub waits: Waits,
    /// What may be in AWS and is not seen.
    pub absence: Absence,
    /// What was said of it.
    pub announced: Announced,
    /// Our own writes, which the cache may not have yet.
    pub writes: OwnWrites,
    /// Whether the groups of others that the spec names may be used.
    pub groups: GroupsCheck,
    /// What AWS refused in the usual way.
    pub fallbacks: Fallbacks,
    /// Whether a reconcile was cut off, so that an answer may be lost.
    pub cut_off: bool,
    /// Since when a group that is to be deleted has been in use.
    pub in_use_since: Option<Instant>,
    /// Whether the finalizer of the Python operator was removed.
    pub kopf_finalizer_removed: bool,
    /// Whether it came back, and that was told.
    pub kopf_is_alive: bool,
    /// How often in a row AWS has accepted to turn private DNS on, and when it last did.
    pub private_dns_accepted: Option<(u32, Instant)>,
    /// Since when AWS has been at work on the endpoint.
    pub pending_since: Option<Instant>,
    /// The AWSAccounts among which its own was chosen when it was last reconciled, while it is
    /// bound to none.
    candidates: Vec<String>,
    /// The object whose endpoint it shares; boxed, since most share none.
    pub refers_to: Option<Box<ObjectKey>>,
    /// The region in whose rate limiter it has a reservation.
    pub reserved_in: Option<AccountRegionKey>,
    /// Whether its deletion was taken note of.
    is_leaving: bool,
}

/// Our own writes, which the cache may not have yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnWrites {
    /// The object as our last write left it.
    pub latest: Option<Arc<Endpoint>>,
    /// Of Services: the resource version, and what was written, or none for a deletion.
    pub services: HashMap<String, (u64, Option<ObservedService>)>,
    /// How the corrections of its Service went.
    pub corrections: Corrections<ObservedService>,
    /// Of EndpointSlices.
    pub slices: Written<ObservedSlice>,
    /// Of DNSEndpoints; boxed, since most objects have none.
    pub dns_endpoints: Option<Box<Written<ObservedDnsEndpoint>>>,
    /// Of ConfigMaps, likewise.
    pub config_maps: Option<Box<Written<ObservedConfigMap>>>,
    /// Whether the API server refused the status that this reconcile wrote.
    pub status_refused: bool,
}

impl OwnWrites {
    /// What the cache has by now is not remembered.
    pub(crate) fn forget_cached_services(&mut self, caches: &Caches, object: &Endpoint) {
        if self.services.is_empty() {
            return;
        }
        let namespace = object.namespace().unwrap_or_default();
        self.services.retain(|name, (version, _)| {
            let cached = caches.service(&namespace, name);
            cached.is_none_or(|cached| version_of(&*cached) < *version)
        });
        self.services.shrink_to_fit();
    }
}

/// Whether the groups of others that the spec names may be used: asked once for a generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupsCheck {
    /// When AWS was last asked.
    pub asked: Option<Instant>,
    /// The generation whose groups were found to be usable.
    pub checked: Option<i64>,
}

/// What is remembered, and of which UID: of another one nothing is.
#[derive(Default)]
struct Entry {
    uid: String,
    memory: Memory,
}

/// The memories of all objects, by namespace and name.
#[derive(Clone, Default)]
pub(crate) struct Memories {
    /// Boxed, or a table that grows would take several times what is in it.
    all: Arc<Mutex<HashMap<ObjectKey, Box<Entry>>>>,
    /// The objects for which an AWSAccount is a candidate.
    candidate_for: Arc<Mutex<HashMap<String, BTreeSet<ObjectKey>>>>,
}

impl Memories {
    /// Reads or changes what is remembered of an object.
    pub(crate) fn with<T>(&self, object: &Endpoint, work: impl FnOnce(&mut Memory) -> T) -> T {
        let key = ObjectKey::of(object);
        let uid = object.uid().unwrap_or_default();
        let mut all = self.all.lock();
        let entry = all.entry(key).or_default();
        if entry.uid != uid {
            **entry = Entry {
                uid,
                memory: Memory::default(),
            };
        }
        work(&mut entry.memory)
    }

    fn known(&self, key: &ObjectKey, work: impl FnOnce(&mut Memory)) {
        let mut all = self.all.lock();
        if let Some(entry) = all.get_mut(key) {
            work(&mut entry.memory);
        }
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
    pub(crate) fn set_candidates(&self, object: &Endpoint, candidates: Vec<String>) {
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
    pub(crate) fn cached(&self, object: &Endpoint) {
        self.known(&ObjectKey::of(object), |memory| {
            let latest = &mut memory.writes.latest;
            latest.take_if(|latest| version_of(&**latest) <= version_of(object));
        });
    }

    /// A Service that an object may have is gone.
    pub(crate) fn service_gone(&self, key: &ObjectKey, service: &str) {
        self.known(key, |memory| memory.writes.corrections.deleted(service));
    }

    /// The cache has an EndpointSlice of an object in this version, or knows that it is gone.
    pub(crate) fn slice_cached(&self, key: &ObjectKey, name: &str, version: u64) {
        self.known(key, |memory| memory.writes.slices.cached(name, version));
    }

    /// The cache has a DNSEndpoint of an object in this version, or knows that it is gone.
    pub(crate) fn dns_endpoint_cached(&self, key: &ObjectKey, name: &str, version: u64) {
        self.known(key, |memory| {
            if let Some(written) = &mut memory.writes.dns_endpoints {
                written.cached(name, version);
            }
        });
    }

    /// The region in whose rate limiter an object has a reservation, to be cancelled: when that is
    /// asked for, or once its deletion is seen.
    pub(crate) fn take_reservation(&self, object: &Endpoint, deleted: bool) -> Option<AccountRegionKey> {
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
            memory.writes.services = HashMap::new();
        });
    }

    /// Ends the waits of an object, those for what AWS refused too: something has changed.
    pub(crate) fn retry(&self, key: &ObjectKey) {
        self.known(key, |memory| {
            memory.waits.retry();
            memory.writes.services = HashMap::new();
            memory.writes.slices.believe_cache();
            if let Some(written) = &mut memory.writes.dns_endpoints {
                written.believe_cache();
            }
        });
    }

    /// How long an object still has to wait, unless a person asks for a resync now: that ends the
    /// wait, once a `poll`.
    pub(crate) fn wait(&self, object: &Endpoint, poll: Duration) -> Option<Duration> {
        self.with(object, |memory| {
            let left = memory.waits.left(object, poll);
            if memory.waits.take_ended() {
                memory.fallbacks = Fallbacks::default();
            }
            left
        })
    }

    /// How long until a resync that a person has asked for is due.
    pub(crate) fn until_resync(&self, object: &Endpoint) -> Option<Duration> {
        self.with(object, |memory| memory.waits.until_resync())
    }

    /// Has watch events wait until then.
    pub(crate) fn not_before(&self, object: &Endpoint, wait: Duration) {
        self.with(object, |memory| memory.waits.not_before(wait));
    }

    /// Counts a refusal; how long to wait after it, `most` at the most, with jitter.
    pub(crate) fn refused(
        &self,
        object: &Endpoint,
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
    pub(crate) fn refusal(&self, object: &Endpoint, tried: Tried) -> Option<Refusal> {
        self.with(object, |memory| memory.waits.refusal(tried).cloned())
    }

    /// It was done.
    pub(crate) fn accepted(&self, object: &Endpoint, tried: Tried) {
        self.with(object, |memory| memory.waits.accepted(tried));
    }

    /// Counts a failure; how long to wait after it, `most` at the most, with jitter.
    pub(crate) fn failed(&self, object: &Endpoint, most: Duration) -> Duration {
        self.with(object, |memory| memory.waits.failed(most))
    }

    /// Counts a conflict; how long to wait after it, with jitter.
    pub(crate) fn conflicted(&self, object: &Endpoint) -> Duration {
        self.with(object, |memory| memory.waits.conflicted())
    }

    /// How many failures in a row.
    pub(crate) fn failures(&self, object: &Endpoint) -> u32 {
        self.with(object, |memory| memory.waits.failures())
    }

    /// All is as desired: what was refused on the way is old news.
    pub(crate) fn converged(&self, object: &Endpoint) {
        self.with(object, |memory| {
            memory.fallbacks = Fallbacks::default();
            memory.waits.converged();
        });
    }

    /// Ends the row of failures.
    pub(crate) fn succeeded(&self, object: &Endpoint) {
        self.with(object, |memory| memory.waits.succeeded());
    }

    /// Ends the row of conflicts.
    pub(crate) fn agreed(&self, object: &Endpoint) {
        self.with(object, |memory| memory.waits.agreed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use vpce_core::api::RECONCILE_AT;

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
    fn resyncs(memories: &Memories, object: &Endpoint) -> bool {
        memories.with(object, |memory| memory.waits.take_resync()).is_some()
    }

    #[test]
    fn an_object_is_found_by_the_accounts_among_which_its_own_was_chosen_last() {
        let memories = Memories::default();
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
        let memories = Memories::default();
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
        let memories = Memories::default();
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
        let memories = Memories::default();
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
        let memories = Memories::default();
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
