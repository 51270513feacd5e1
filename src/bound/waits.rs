//! When an object is reconciled again: its wait, its backoffs, and what a person asks for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use kube::{Resource, ResourceExt};
use vpce_core::api::RECONCILE_AT;
use vpce_core::conditions::Finding;
use vpce_core::plan::UnfinishedReason;

use crate::backoff::{doubled, jitter};
use crate::k8s::writes;

/// The first wait after a failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(2);
/// A write met an object that had changed: the watch brings the new one within a moment.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// Where the watch lags, or every write conflicts, the wait doubles up to this.
const LONGEST_AFTER_CONFLICT: Duration = Duration::from_secs(5);

/// When an object is reconciled again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    /// Watch events do not cut a wait short.
    not_before: Option<Instant>,
    /// What the last reconcile was for; a change of it ends the wait.
    asked: Option<Asked>,
    /// Failures in a row.
    failures: u32,
    /// Conflicts in a row.
    conflicts: u32,
    /// What was refused and is to be tried again, each after a wait of its own.
    refusals: HashMap<Tried, Refusal>,
    /// Since when a person has asked for a resync now.
    resync_asked: Option<Instant>,
    /// When such a resync last began, and when the next is due that was asked for since.
    resynced: Option<Instant>,
    resync_at: Option<Instant>,
    /// Whether it was requeued since its last reconcile began, so that it is not to wait for that.
    requeued: bool,
    /// Whether something has changed since then, so that what AWS refuses may be accepted now.
    changed: bool,
    /// Whether an edit or a person has ended all waits, so that what was learned of refusals is
    /// tried again.
    ended: bool,
}

/// What can be refused, by its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tried {
    /// This very step: after an edit it is another.
    Step(u64),
    /// What a part needs before it has a step.
    Part(u64),
}

impl Tried {
    pub(crate) fn step(step: &impl Hash) -> Self {
        Self::Step(fingerprint(step))
    }

    pub(crate) fn part(part: &impl Hash) -> Self {
        Self::Part(fingerprint(part))
    }
}

/// Stands for a value where only whether it is the same counts; it means nothing to another
/// process.
fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// How something was refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// What the condition says until it is answered otherwise.
    pub finding: Option<Finding>,
    /// Whether it would be refused again.
    pub reason: UnfinishedReason,
    /// In a row.
    failures: u32,
    kind: Wait,
    not_before: Instant,
}

/// Of which kind a wait after a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// AWS refused: what changes for the object may change that.
    Aws,
    /// The API server refused a write: tried again in its own time, whatever changes for the
    /// object.
    Kubernetes,
}

impl Refusal {
    /// How long it is not tried again.
    pub(crate) fn left(&self) -> Duration {
        self.not_before.saturating_duration_since(Instant::now())
    }
}

/// What a person can do to have an object resynced at now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    generation: Option<i64>,
    deleting: bool,
    reconcile_at: Option<String>,
}

impl Waits {
    /// Takes note of what a person asks for. The first value of the annotation that is seen asks
    /// for nothing.
    fn note(&mut self, asked: Asked, poll: Duration) {
        let Some(before) = self.asked.replace(asked) else {
            self.end();
            return;
        };
        let Some(asked) = &self.asked else { return };
        if asked.reconcile_at != before.reconcile_at {
            // However often it is asked for.
            self.resync_at = Some(self.resynced.map_or_else(Instant::now, |resynced| resynced + poll));
        }
        if (asked.generation, asked.deleting) != (before.generation, before.deleting) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.not_before = None;
        self.failures = 0;
        self.refusals = HashMap::new();
        self.requeued = true;
    }

    /// How long it still has to wait.
    fn wait(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let requeued = std::mem::take(&mut self.requeued);
        self.changed = false;
        let until_resync = self.resync_at.map(|at| at.saturating_duration_since(now));
        if until_resync.is_some_and(|left| left.is_zero()) {
            self.end();
            self.requeued = false;
            (self.resync_at, self.resynced, self.resync_asked) = (None, Some(now), Some(now));
            return None;
        }
        let left = self.not_before.map(|at| at.saturating_duration_since(now));
        match (left.filter(|left| !left.is_zero()), until_resync) {
            (Some(left), Some(resync)) => Some(left.min(resync)),
            (None, Some(resync)) if !requeued => Some(resync),
            (left, _) => left,
        }
    }
}

impl Waits {
    /// How long the object still has to wait, unless a person asks for a resync now: that ends the
    /// wait, once a `poll`.
    pub(crate) fn left(&mut self, object: &impl Resource, poll: Duration) -> Option<Duration> {
        let asked = Asked::of(object);
        if self.asked.as_ref() != Some(&asked) {
            self.note(asked, poll);
        }
        self.wait()
    }

    /// Whether all waits were ended since this was last asked.
    pub(crate) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Has watch events wait until then, unless one has requeued it since the reconcile began that
    /// is to be waited after: that may have read what was before.
    pub(crate) fn not_before(&mut self, wait: Duration) {
        if !self.requeued {
            self.not_before = Some(Instant::now() + wait);
        }
    }

    /// How long until a resync that a person has asked for is due.
    pub(crate) fn until_resync(&self) -> Option<Duration> {
        Some(self.resync_at?.saturating_duration_since(Instant::now()))
    }

    /// Since when a person has asked for a resync now, which begins.
    pub(crate) fn take_resync(&mut self) -> Option<Instant> {
        self.resync_asked.take()
    }

    /// Ends the wait. What was refused goes on waiting.
    pub(crate) fn requeue(&mut self) {
        self.not_before = None;
        self.requeued = true;
    }

    /// Ends all waits but those for the API server: something has changed.
    pub(crate) fn retry(&mut self) {
        self.requeue();
        self.changed = true;
        let now = Instant::now();
        self.refusals
            .values_mut()
            .filter(|refusal| refusal.kind == Wait::Aws)
            .for_each(|refusal| refusal.not_before = now);
    }

    /// Counts a refusal; how long to wait after it, `most` at the most, with jitter.
    pub(crate) fn refused(
        &mut self,
        tried: Tried,
        reason: UnfinishedReason,
        finding: Option<Finding>,
        most: Duration,
        kind: Wait,
    ) -> Duration {
        let now = Instant::now();
        // What was not tried again for so long is not planned any more.
        self.refusals.retain(|_, refusal| refusal.not_before + most > now);
        let failures = self.refusals.get(&tried).map_or(0, |refusal| refusal.failures);
        let failures = failures.saturating_add(1);
        let wait = match kind {
            Wait::Aws => jitter(doubled(FIRST_BACKOFF, failures).min(most)),
            Wait::Kubernetes => writes::wait(failures, most),
        };
        let may_be_accepted = kind == Wait::Aws && self.changed;
        let refusal = Refusal {
            kind,
            finding,
            reason,
            failures,
            not_before: if may_be_accepted { now } else { now + wait },
        };
        self.refusals.insert(tried, refusal);
        wait
    }

    /// How something was refused when it was last tried, if it was.
    pub(crate) fn refusal(&self, tried: Tried) -> Option<&Refusal> {
        self.refusals.get(&tried)
    }

    /// It was done.
    pub(crate) fn accepted(&mut self, tried: Tried) {
        self.refusals.remove(&tried);
    }

    /// All is as desired: what was refused on the way is old news.
    pub(crate) fn converged(&mut self) {
        self.refusals = HashMap::new();
    }

    /// Counts a failure; how long to wait after it, `most` at the most, with jitter.
    pub(crate) fn failed(&mut self, most: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        jitter(doubled(FIRST_BACKOFF, self.failures).min(most))
    }

    /// How many failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Ends the row of failures.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Counts a conflict; how long to wait after it, with jitter.
    pub(crate) fn conflicted(&mut self) -> Duration {
        self.conflicts = self.conflicts.saturating_add(1);
        jitter(doubled(AFTER_CONFLICT, self.conflicts).min(LONGEST_AFTER_CONFLICT))
    }

    /// Ends the row of conflicts.
    pub(crate) fn agreed(&mut self) {
        self.conflicts = 0;
    }
}

impl Asked {
    fn of(object: &impl Resource) -> Self {
        Self {
            generation: object.meta().generation,
            deleting: object.meta().deletion_timestamp.is_some(),
            reconcile_at: object.annotations().get(RECONCILE_AT).cloned(),
        }
    }
}
