//! Our own writes of what an object publishes, which the cache may not have yet, and how their
//! corrections went.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::corrections::{Correctable, Corrections};

/// The cache has what we wrote by then; what it does not show any more was deleted since.
const CACHED_WITHIN: Duration = Duration::from_secs(10);

/// A write of ours.
#[derive(Debug, Clone)]
struct Write<R> {
    version: u64,
    /// What was written; none for a deletion.
    found: Option<R>,
    at: Instant,
}

/// What is remembered of the objects of one kind that a VPCEndpoint publishes, by their names.
#[derive(Debug, Clone)]
pub(crate) struct Written<R: Correctable> {
    /// Writes that the cache may not have yet.
    writes: HashMap<String, Write<R>>,
    /// How their corrections went.
    corrections: HashMap<String, Corrections<R>>,
}

impl<R: Correctable> Default for Written<R> {
    fn default() -> Self {
        Self {
            writes: HashMap::new(),
            corrections: HashMap::new(),
        }
    }
}

impl<R: Correctable> Written<R> {
    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.corrections.is_empty()
    }

    /// The names of those that were written.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.writes.keys().cloned()
    }

    /// The cache has one of this name in this version, or knows that it is gone.
    pub(crate) fn cached(&mut self, name: &str, version: u64) {
        if self.writes.get(name).is_some_and(|write| write.version <= version) {
            self.writes.remove(name);
        }
    }

    /// Believes the cache again.
    pub(crate) fn believe_cache(&mut self) {
        self.writes.clear();
    }

    /// Takes note of what was stored.
    pub(crate) fn published(&mut self, content: &R::Content, found: R, version: u64, most: Duration) {
        let name = found.name().to_owned();
        let corrections = self.corrections.entry(name.clone()).or_default();
        corrections.stored(content, found.clone(), most);
        self.wrote(version, &name, Some(found));
    }

    /// Takes note of a deletion.
    pub(crate) fn deleted(&mut self, name: &str, version: u64) {
        self.corrections.remove(name);
        self.wrote(version, name, None);
    }

    fn wrote(&mut self, version: u64, name: &str, found: Option<R>) {
        let at = Instant::now();
        self.writes.insert(name.to_owned(), Write { version, found, at });
    }

    /// Whether one that exists may be corrected: not where another controller changes it back each
    /// time.
    pub(crate) fn may_correct(&mut self, name: &str, content: &R::Content, found: Option<R>) -> bool {
        let corrections = self.corrections.entry(name.to_owned()).or_default();
        corrections.may_correct(content, found)
    }

    /// Whether one of this name was left as it is found, though the cache may not have it.
    pub(crate) fn is_left(&self, name: &str) -> bool {
        self.corrections
            .get(name)
            .is_some_and(|corrections| corrections.is_left(name))
    }

    /// What was found of a name, where it was read and not cached.
    pub(crate) fn as_found(&self, name: &str, found: Option<R>) -> Option<R> {
        let corrections = self.corrections.get(name);
        match corrections.and_then(|corrections| corrections.changed.as_deref()) {
            Some(changed) => changed.observed(found),
            None => found,
        }
    }

    /// What there is of a name, by the cache, which has this version of it, unless we wrote later
    /// than it knows.
    pub(crate) fn look_up(&self, name: &str, version: Option<u64>, cached: Option<R>) -> Option<R> {
        let is_newer = |write: &&Write<R>| version.is_none_or(|version| version <= write.version);
        let write = self.writes.get(name).filter(is_newer);
        let found = match write.filter(|write| write.at.elapsed() < CACHED_WITHIN) {
            Some(write) => write.found.clone(),
            None => cached,
        };
        self.as_found(name, found)
    }
}
