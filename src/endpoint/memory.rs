//! What is remembered of an object between reconciles, and may be lost: a restart only makes the operator more careful.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use parking_lot::Mutex;
use vpce_core::api::RECONCILE_AT;
use vpce_core::conditions::Finding;
use vpce_core::observed::ObservedService;
use vpce_core::plan::{Fallbacks, Part, Step, Undone};

use crate::aws::region::AccountRegionKey;
use crate::backoff::{doubled, jitter};
use crate::endpoint::service::Corrections;
use crate::k8s::caches::Endpoint;
use crate::k8s::object_key::ObjectKey;
use crate::k8s::writes;

/// The first wait after a failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(2);
/// A write met an object that had changed: the watch brings the new one within a moment.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// Where the watch lags, or every write conflicts, the wait doubles up to this.
const LONGEST_AFTER_CONFLICT: Duration = Duration::from_secs(5);

/// What would be done for an object if anything might be changed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChanges {
    /// The AWSAccount's name.
    pub account: String,
    /// What each step does: [`vpce_core::plan::Step::action`].
    pub actions: Vec<&'static str>,
}

/// What is remembered of one object.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Watch events do not cut a wait short.
    not_before: Option<Instant>,
    /// What the last reconcile was for; a change of it ends the wait.
    asked: Option<Asked>,
    /// Failures in a row.
    failures: u32,
    /// Conflicts in a row.
    conflicts: u32,
    /// The object as our last write left it, which the cache may not have yet.
    pub latest: Option<Arc<Endpoint>>,
    /// Whether it was bound by this process and no create was tried since: then nothing can have been made unseen.
    pub nothing_made: bool,
    /// Whether it was bound by this process and has not been Ready since.
    pub awaits_first_ready: bool,
    /// The generation that it was last Ready for: what is changed for it since repairs drift, however many passes that takes.
    pub ready_for: Option<i64>,
    /// Since when a look has found nothing of an object that is deleted and whose status names nothing.
    pub absent_since: Option<Instant>,
    /// Since when AWS has said that the endpoint was made by an earlier try, which is not found.
    pub made_unseen_since: Option<Instant>,
    /// What AWS refused in the usual way.
    pub fallbacks: Fallbacks,
    /// What was refused and is to be tried again, each after a wait of its own.
    refusals: HashMap<Tried, Refusal>,
    /// Our last writes of Services, which the cache may not have yet: the resource version, and what was written, or
    /// none for a deletion.
    pub services: HashMap<String, (u64, Option<ObservedService>)>,
    /// How the corrections of its Service went.
    pub corrections: Corrections,
    /// Since when a person has asked for a look now.
    pub look_now: Option<Instant>,
    /// When such a look was last begun, and when the next is due that was asked for since.
    looked: Option<Instant>,
    look_at: Option<Instant>,
    /// Whether it was woken, so that it is not to wait for that.
    woken: bool,
    /// When the groups of others that the spec names were last asked for.
    pub groups_asked: Option<Instant>,
    /// The region in whose lines it has a place.
    pub in_line: Option<AccountRegionKey>,
    /// Whether its deletion was taken note of.
    is_leaving: bool,
    /// The generation whose groups of others were found to be usable.
    pub groups_checked: Option<i64>,
    /// Whether the warnings of this generation were told.
    pub warned: Option<i64>,
    /// Whether a reconcile was cut off, so that an answer may be lost.
    pub cut_off: bool,
    /// Since when a group that is to be deleted has been in use.
    pub in_use_since: Option<Instant>,
    /// Whether the API server refused the status that this reconcile wrote.
    pub status_refused: bool,
    /// Since when AWS has been at work on the endpoint.
    pub pending_since: Option<Instant>,
    /// The AWSAccount that it was resolved to when it was last reconciled; none where there was no single one, or nothing is known.
    pub resolved_to: Option<String>,
    /// What is held back.
    pub planned_changes: Option<PlannedChanges>,
}

/// What can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tried {
    /// This very step, by its fingerprint: after an edit it is another.
    Step(u64),
    /// What a part needs before it has a step.
    Part(Part),
}

impl Tried {
    /// A step.
    pub fn step(step: &Step) -> Self {
        Self::Step(step.fingerprint())
    }
}

/// How something was refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What the condition says until it is answered otherwise.
    pub finding: Option<Finding>,
    /// Whether it would be refused again.
    pub undone: Undone,
    /// In a row.
    failures: u32,
    kind: Wait,
    not_before: Instant,
}

/// Of which kind a wait after a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// AWS refused: what changes for the object may change that.
    Aws,
    /// The API server refused a write: tried again in its own time, whatever changes for the object.
    Kubernetes,
}

impl Refusal {
    /// How long it is not tried again.
    pub fn left(&self) -> Duration {
        self.not_before.saturating_duration_since(Instant::now())
    }
}

/// What a person can do to have an object looked at now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    generation: Option<i64>,
    deleting: bool,
    reconcile_at: Option<String>,
}

impl Memory {
    /// Takes note of what a person asks for. The first value of the annotation that is seen asks for nothing.
    fn note(&mut self, asked: Asked, poll: Duration) {
        let Some(before) = self.asked.replace(asked) else {
            self.end_wait();
            return;
        };
        let Some(asked) = &self.asked else { return };
        if asked.reconcile_at != before.reconcile_at {
            // However often it is asked for.
            self.look_at = Some(self.looked.map_or_else(Instant::now, |looked| looked + poll));
        }
        if (asked.generation, asked.deleting) != (before.generation, before.deleting) {
            self.end_wait();
        }
    }

    fn end_wait(&mut self) {
        self.not_before = None;
        self.failures = 0;
        self.fallbacks = Fallbacks::default();
        self.refusals.clear();
        self.woken = true;
    }

    /// How long it still has to wait.
    fn wait(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let woken = std::mem::take(&mut self.woken);
        let until_look = self.look_at.map(|at| at.saturating_duration_since(now));
        if until_look.is_some_and(|left| left.is_zero()) {
            self.end_wait();
            self.woken = false;
            (self.look_at, self.looked, self.look_now) = (None, Some(now), Some(now));
            return None;
        }
        let left = self.not_before.map(|at| at.saturating_duration_since(now));
        match (left.filter(|left| !left.is_zero()), until_look) {
            (Some(left), Some(look)) => Some(left.min(look)),
            (None, Some(look)) if !woken => Some(look),
            (left, _) => left,
        }
    }
}

impl Asked {
    fn of(object: &Endpoint) -> Self {
        Self {
            generation: object.metadata.generation,
            deleting: object.metadata.deletion_timestamp.is_some(),
            reconcile_at: object.annotations().get(RECONCILE_AT).cloned(),
        }
    }
}

/// The memories of all objects, by namespace and name; of another UID nothing is remembered.
#[derive(Clone, Default)]
pub struct Memories {
    all: Arc<Mutex<HashMap<ObjectKey, (String, Memory)>>>,
}

impl Memories {
    /// Reads or changes what is remembered of an object.
    pub fn with<T>(&self, object: &Endpoint, work: impl FnOnce(&mut Memory) -> T) -> T {
        let key = ObjectKey::of(object);
        let uid = object.uid().unwrap_or_default();
        let mut all = self.all.lock();
        let (remembered, memory) = all.entry(key).or_default();
        if *remembered != uid {
            *remembered = uid;
            *memory = Memory::default();
        }
        work(memory)
    }

    /// All that is held back.
    pub fn planned_changes(&self) -> Vec<PlannedChanges> {
        let all = self.all.lock();
        all.values()
            .filter_map(|(_, memory)| memory.planned_changes.clone())
            .collect()
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.all.lock().remove(key);
    }

    /// A Service that an object may have is gone.
    pub fn service_gone(&self, key: &ObjectKey, service: &str) {
        self.known(key, |memory| memory.corrections.gone(service));
    }

    /// The region in whose lines an object has a place, which it gives up: when that is asked for, or once its deletion is seen.
    pub fn leave_lines(&self, object: &Endpoint, deleted: bool) -> Option<AccountRegionKey> {
        self.with(object, |memory| {
            if deleted && std::mem::replace(&mut memory.is_leaving, true) {
                return None;
            }
            memory.in_line.take()
        })
    }

    /// How long until a look that a person has asked for is due.
    pub fn until_look(&self, object: &Endpoint) -> Option<Duration> {
        self.with(object, |memory| {
            Some(memory.look_at?.saturating_duration_since(Instant::now()))
        })
    }

    /// Ends the wait of an object, and has it believe the caches again. What was refused goes on waiting.
    pub fn forget_wait(&self, key: &ObjectKey) {
        self.known(key, |memory| {
            memory.not_before = None;
            memory.woken = true;
            memory.services.clear();
        });
    }

    /// Ends the waits of an object, those for what was refused too: something has changed.
    pub fn forget_waits(&self, key: &ObjectKey) {
        self.known(key, |memory| {
            memory.not_before = None;
            memory.woken = true;
            memory.services.clear();
            let now = Instant::now();
            memory
                .refusals
                .values_mut()
                .filter(|refusal| refusal.kind == Wait::Aws)
                .for_each(|refusal| refusal.not_before = now);
        });
    }

    fn known(&self, key: &ObjectKey, work: impl FnOnce(&mut Memory)) {
        let mut all = self.all.lock();
        if let Some((_, memory)) = all.get_mut(key) {
            work(memory);
        }
    }

    /// Counts a refusal; how long to wait after it, `most` at the most, with jitter.
    pub fn refused(
        &self,
        object: &Endpoint,
        tried: Tried,
        undone: Undone,
        finding: Option<Finding>,
        most: Duration,
    ) -> Duration {
        self.refused_for(object, tried, undone, finding, most, Wait::Aws)
    }

    /// The same with a wait of this kind.
    pub fn refused_for(
        &self,
        object: &Endpoint,
        tried: Tried,
        undone: Undone,
        finding: Option<Finding>,
        most: Duration,
        kind: Wait,
    ) -> Duration {
        self.with(object, |memory| {
            let now = Instant::now();
            // What was not tried again for so long is not planned any more.
            memory.refusals.retain(|_, refusal| refusal.not_before + most > now);
            let failures = memory.refusals.get(&tried).map_or(0, |refusal| refusal.failures);
            let failures = failures.saturating_add(1);
            let wait = match kind {
                Wait::Aws => jitter(doubled(FIRST_BACKOFF, failures).min(most)),
                Wait::Kubernetes => writes::wait(failures, most),
            };
            let refusal = Refusal {
                kind,
                finding,
                undone,
                failures,
                not_before: now + wait,
            };
            memory.refusals.insert(tried, refusal);
            wait
        })
    }

    /// How something was refused when it was last tried, if it was.
    pub fn refusal(&self, object: &Endpoint, tried: Tried) -> Option<Refusal> {
        self.with(object, |memory| memory.refusals.get(&tried).cloned())
    }

    /// It was done.
    pub fn accepted(&self, object: &Endpoint, tried: Tried) {
        self.with(object, |memory| memory.refusals.remove(&tried));
    }

    /// How long an object still has to wait, unless a person asks for a look now: that ends the wait, once a `poll`.
    pub fn wait(&self, object: &Endpoint, poll: Duration) -> Option<Duration> {
        let asked = Asked::of(object);
        self.with(object, |memory| {
            if memory.asked.as_ref() != Some(&asked) {
                memory.note(asked, poll);
            }
            memory.wait()
        })
    }

    /// Has watch events wait until then.
    pub fn hold(&self, object: &Endpoint, wait: Duration) {
        self.with(object, |memory| memory.not_before = Some(Instant::now() + wait));
    }

    /// Counts a failure; how long to wait after it, `most` at the most, with jitter.
    pub fn failed(&self, object: &Endpoint, most: Duration) -> Duration {
        self.with(object, |memory| {
            memory.failures = memory.failures.saturating_add(1);
            jitter(doubled(FIRST_BACKOFF, memory.failures).min(most))
        })
    }

    /// Counts a conflict; how long to wait after it, with jitter.
    pub fn conflicted(&self, object: &Endpoint) -> Duration {
        self.with(object, |memory| {
            memory.conflicts = memory.conflicts.saturating_add(1);
            jitter(doubled(AFTER_CONFLICT, memory.conflicts).min(LONGEST_AFTER_CONFLICT))
        })
    }

    /// How many failures in a row.
    pub fn failures(&self, object: &Endpoint) -> u32 {
        self.with(object, |memory| memory.failures)
    }

    /// All is as desired: what was refused on the way is old news.
    pub fn converged(&self, object: &Endpoint) {
        self.with(object, |memory| {
            memory.fallbacks = Fallbacks::default();
            memory.refusals.clear();
        });
    }

    /// Ends the row of failures.
    pub fn succeeded(&self, object: &Endpoint) {
        self.with(object, |memory| memory.failures = 0);
    }

    /// Ends the row of conflicts.
    pub fn agreed(&self, object: &Endpoint) {
        self.with(object, |memory| memory.conflicts = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    /// Whether a look was asked for, which is carried out then.
    fn looks(memories: &Memories, object: &Endpoint) -> bool {
        memories.with(object, |memory| memory.look_now.take()).is_some()
    }

    #[test]
    fn an_annotation_that_changes_in_a_loop_asks_for_one_look_a_poll_interval() {
        let memories = Memories::default();
        assert_eq!(memories.wait(&object(1, "0"), POLL), None);
        assert!(
            !looks(&memories, &object(1, "0")),
            "what stood there before asks for nothing"
        );
        memories.hold(&object(1, "0"), Duration::from_secs(600));
        assert_eq!(memories.wait(&object(1, "1"), POLL), None);
        assert!(looks(&memories, &object(1, "1")));
        for change in 2..100 {
            let left = memories.wait(&object(1, &change.to_string()), POLL).expect("it waits");
            assert!(left <= POLL && left > Duration::from_secs(4), "{left:?}");
        }
        assert!(!looks(&memories, &object(1, "99")));
        assert!(memories.until_look(&object(1, "99")).is_some(), "it is not forgotten");
    }

    #[test]
    fn a_look_that_waits_holds_up_neither_an_edit_nor_one_that_is_woken() {
        let memories = Memories::default();
        for change in ["0", "1"] {
            assert_eq!(memories.wait(&object(1, change), POLL), None);
        }
        assert!(looks(&memories, &object(1, "1")));
        assert!(memories.wait(&object(1, "2"), POLL).is_some());
        assert_eq!(memories.wait(&object(2, "2"), POLL), None, "an edit");
        assert!(memories.wait(&object(2, "2"), POLL).is_some());
        memories.forget_wait(&ObjectKey::new::<Endpoint>("b", "a"));
        assert_eq!(memories.wait(&object(2, "2"), POLL), None, "woken");
        assert!(!looks(&memories, &object(2, "2")));
    }

    #[test]
    fn a_look_is_begun_when_its_time_has_come() {
        let memories = Memories::default();
        for change in ["0", "1"] {
            assert_eq!(memories.wait(&object(1, change), Duration::ZERO), None);
        }
        memories.hold(&object(1, "1"), Duration::from_secs(600));
        assert_eq!(
            memories.wait(&object(1, "2"), Duration::ZERO),
            None,
            "whatever it waited for"
        );
        assert!(looks(&memories, &object(1, "2")));
    }
}
