//! What a region held when it was last read, with our own writes on top; no clock, no calls.
//!
//! Only what an object claims is kept whole. Of the rest that carries the cluster's tag an id and a
//! few words are kept, of so many at most: whoever may tag in the AWS account decides how many
//! there are, and how large.

mod resource;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use vpce_core::object_key::ObjectKey;
use vpce_core::orphans::{Objects, Unclaimed};
use vpce_core::ownership::{Candidates, LookupById};
use vpce_core::tags::{self, Claim, Clusters, Owner};

use self::resource::AsStr;
pub(crate) use self::resource::Resource;

/// What is known to be gone is forgotten after this long: a status that names it still has AWS
/// asked again.
const FORGET_GONE_AFTER: Duration = Duration::from_secs(600);

/// So many things that no object claims are kept of each kind in a region; more are only counted.
/// An estate that lost all its objects at once stays far below it (AWS's quotas: 50 interface
/// endpoints in a VPC, 2,500 security groups in a region); 5,000 take a few MiB.
pub(crate) const MOST_UNCLAIMED: usize = 5000;
/// So many things that may be an object's own are kept whole, or read at once, for an object whose
/// status names none. It has one, unless somebody copied tags.
const MOST_CANDIDATES: usize = 4;

#[derive(Debug, Clone)]
struct Entry<R> {
    fact: R,
    /// When the read began that it comes from, or when we wrote it.
    read: Instant,
    /// Reads that began before this do not undo what we wrote.
    consistent_at: Option<Instant>,
}

/// An id that a read did not find.
#[derive(Debug, Clone, Copy)]
struct Missing {
    first: Instant,
    last: Instant,
    confirmed: bool,
}

/// What a read of everything has found so far.
#[derive(Debug)]
pub(crate) struct Found<Id> {
    ids: BTreeSet<Id>,
    beyond: usize,
}

impl<Id> Default for Found<Id> {
    fn default() -> Self {
        Self {
            ids: BTreeSet::new(),
            beyond: 0,
        }
    }
}

/// All endpoints, or all groups, that are known in a region.
#[derive(Debug, Clone)]
pub(crate) struct ResourceCache<R: Resource> {
    clusters: Clusters,
    settle: Duration,
    entries: HashMap<R::Id, Entry<R>>,
    /// What no object claims.
    unclaimed: HashMap<R::Id, Unclaimed>,
    /// How many more there were of them in the last read of everything.
    beyond: usize,
    /// Of both.
    by_owner: HashMap<ObjectKey, BTreeSet<R::Id>>,
    missing: HashMap<R::Id, Missing>,
}

impl<R: Resource> ResourceCache<R> {
    /// An empty cache. What we write settles for `settle`, and what is missing is believed gone
    /// when two reads so far apart did not find it.
    pub(crate) fn new(clusters: Clusters, settle: Duration) -> Self {
        Self {
            clusters,
            settle,
            entries: HashMap::new(),
            unclaimed: HashMap::new(),
            beyond: 0,
            by_owner: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    fn owner_key(&self, fact: &R) -> Option<ObjectKey> {
        let tags = fact.tags();
        self.clusters.has(tags.get(tags::CLUSTER)?).then_some(())?;
        tags::object(tags)
    }

    fn put(&mut self, fact: R, read: Instant, consistent_at: Option<Instant>) {
        let id = fact.id();
        self.remove(&id);
        self.missing.remove(&id);
        if let Some(key) = self.owner_key(&fact) {
            self.by_owner.entry(key).or_default().insert(id.clone());
        }
        self.entries.insert(
            id,
            Entry {
                fact,
                read,
                consistent_at,
            },
        );
    }

    /// Keeps an id and a few words.
    fn put_unclaimed(&mut self, id: R::Id, words: Unclaimed) {
        self.remove(&id);
        self.missing.remove(&id);
        if self.unclaimed.len() >= MOST_UNCLAIMED {
            return;
        }
        if let Some(key) = words.object() {
            self.by_owner.entry(key.clone()).or_default().insert(id.clone());
        }
        self.unclaimed.insert(id, words);
    }

    fn remove(&mut self, id: &R::Id) -> Option<Entry<R>> {
        if let Some(words) = self.unclaimed.remove(id)
            && let Some(key) = words.object()
        {
            self.disown(key, id);
        }
        let entry = self.entries.remove(id)?;
        if let Some(key) = self.owner_key(&entry.fact) {
            self.disown(&key, id);
        }
        Some(entry)
    }

    fn disown(&mut self, key: &ObjectKey, id: &R::Id) {
        if let Some(ids) = self.by_owner.get_mut(key) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_owner.remove(key);
            }
        }
    }

    /// How many things of an owner's are kept whole.
    fn whole_of(&self, owner: &ObjectKey) -> usize {
        let ids = self.by_owner.get(owner).into_iter().flatten();
        ids.filter(|id| self.entries.contains_key(id)).count()
    }

    /// Whether an object claims it: by its status, or while its status names none, by the tags of
    /// what may be its own.
    fn is_claimed(&self, id: &R::Id, words: &Unclaimed, objects: &impl Objects) -> bool {
        let awaited = |object| objects.lacks(object, R::KIND) && self.whole_of(object) < MOST_CANDIDATES;
        objects.is_known(id.as_str()) || (words.may_be_own() && words.object().is_some_and(awaited))
    }

    fn is_inconsistent(&self, id: &R::Id, read: Instant) -> bool {
        self.entries.get(id).is_some_and(|entry| {
            !entry.fact.is_leaving() && entry.consistent_at.is_some_and(|consistent_at| consistent_at > read)
        })
    }

    /// Takes in what a read that began at `read` found.
    pub(crate) fn found(&mut self, facts: Vec<R>, read: Instant) {
        for fact in facts {
            let id = fact.id();
            match self.entries.get_mut(&id) {
                Some(entry) if entry.consistent_at.is_some_and(|consistent_at| consistent_at > read) => {
                    entry.fact.merge_inconsistent(fact);
                    entry.read = read;
                }
                _ => self.put(fact, read, None),
            }
        }
    }

    /// Takes in a page of a read of everything that began at `read`.
    pub(crate) fn found_page(
        &mut self,
        facts: Vec<R>,
        read: Instant,
        objects: &impl Objects,
        found: &mut Found<R::Id>,
    ) {
        for fact in facts {
            let id = fact.id();
            let entry = self.entries.get(&id);
            if entry.is_some_and(|entry| entry.consistent_at.is_some_and(|consistent_at| consistent_at > read)) {
                found.ids.insert(id);
                self.found(vec![fact], read);
                continue;
            }
            // Its place is free for the moment, whether it was kept whole or not.
            self.remove(&id);
            match fact.few_words(&self.clusters) {
                Some(words) if !self.is_claimed(&id, &words, objects) => {
                    let kept = self.unclaimed.len();
                    self.put_unclaimed(id.clone(), words);
                    if self.unclaimed.len() > kept {
                        found.ids.insert(id);
                    } else {
                        found.beyond += 1;
                    }
                }
                Some(_) => {
                    found.ids.insert(id);
                    self.put(fact, read, None);
                }
                // What EC2 still shows, and says is gone, matters to who knows it.
                None if objects.is_known(id.as_str()) => {
                    found.ids.insert(id);
                    self.put(fact, read, None);
                }
                None => {}
            }
        }
    }

    /// Ends a read of everything: what it did not find leaves the cache, unless we wrote it just
    /// now.
    pub(crate) fn found_all(&mut self, found: &Found<R::Id>, read: Instant) {
        let kept = self.entries.keys().chain(self.unclaimed.keys());
        let left: Vec<R::Id> = kept.filter(|id| !found.ids.contains(id)).cloned().collect();
        for id in left {
            if !self.is_inconsistent(&id, read) {
                self.remove(&id);
            }
        }
        self.beyond = found.beyond;
        self.missing
            .retain(|_, missing| read.saturating_duration_since(missing.last) < FORGET_GONE_AFTER);
    }

    /// Takes in a read of these ids: those that it did not find are missing.
    pub(crate) fn found_of(&mut self, asked: &[R::Id], facts: Vec<R>, read: Instant) {
        let found: BTreeSet<R::Id> = facts.iter().map(Resource::id).collect();
        self.found(facts, read);
        for id in asked.iter().filter(|id| !found.contains(id)) {
            if self.is_inconsistent(id, read) {
                continue;
            }
            self.remove(id);
            let settle = self.settle;
            let missing = self.missing.entry(id.clone()).or_insert(Missing {
                first: read,
                last: read,
                confirmed: false,
            });
            missing.last = read;
            missing.confirmed |= read.saturating_duration_since(missing.first) >= settle;
        }
    }

    /// Puts what we made.
    pub(crate) fn made(&mut self, fact: R, now: Instant) {
        let consistent_at = Some(now + self.settle);
        self.put(fact, now, consistent_at);
    }

    /// Changes what we changed.
    pub(crate) fn changed(&mut self, id: &R::Id, now: Instant, change: impl FnOnce(&mut R)) {
        if let Some(mut entry) = self.remove(id) {
            change(&mut entry.fact);
            let consistent_at = Some(now + self.settle);
            self.put(entry.fact, now, consistent_at);
        }
    }

    /// Says that AWS has confirmed that it is gone.
    pub(crate) fn gone(&mut self, id: &R::Id, now: Instant) {
        self.remove(id);
        self.missing.insert(
            id.clone(),
            Missing {
                first: now,
                last: now,
                confirmed: true,
            },
        );
    }

    /// Whether it is there, and kept whole.
    pub(crate) fn contains(&self, id: &R::Id) -> bool {
        self.entries.contains_key(id)
    }

    /// What no object claims: what was kept of it, and what of the rest these objects do not know.
    pub(crate) fn unclaimed(&self, objects: &impl Objects) -> Vec<(String, Unclaimed)> {
        let unknown = self.entries.iter().filter(|(id, _)| !objects.is_known(id.as_str()));
        let whole = unknown.filter_map(|(id, entry)| Some((id, entry.fact.few_words(&self.clusters)?)));
        let kept = self.unclaimed.iter().map(|(id, words)| (id, words.clone()));
        let named = whole.chain(kept).map(|(id, words)| (id.as_str().to_owned(), words));
        named.collect()
    }

    /// How many more there were that no object claims.
    pub(crate) fn beyond(&self) -> usize {
        self.beyond
    }

    /// What is there under this id.
    pub(crate) fn get(&self, id: &R::Id) -> Option<&R> {
        self.entries.get(id).map(|entry| &entry.fact)
    }

    /// What has the id that the status names, and all that carries the owner's tags.
    pub(crate) fn candidates(&self, owner: &Owner, known: Option<&R::Id>) -> Candidates<R> {
        let ids = self.by_owner.get(&owner.key()).into_iter().flatten();
        let by_tags = ids
            .filter_map(|id| self.get(id))
            .filter(|fact| owner.claim(fact.tags()) == Claim::Ours && !fact.is_gone())
            .cloned()
            .collect();
        let by_id = match known {
            None => LookupById::NoId,
            Some(id) => match (self.get(id), self.missing.get(id)) {
                (Some(fact), _) => LookupById::Found(fact.clone()),
                (None, Some(missing)) if missing.confirmed => LookupById::Deleted,
                (None, _) => LookupById::Unconfirmed,
            },
        };
        Candidates { by_id, by_tags }
    }

    /// Whether this id has to be asked for, to know whether it is there or gone.
    fn is_unknown(&self, id: &R::Id, tick: Instant) -> bool {
        !self.contains(id)
            && self
                .missing
                .get(id)
                .is_none_or(|missing| !missing.confirmed && missing.last < tick)
    }

    /// Ids that are worth a read now: at work and not read since the tick, consistent_at before the
    /// tick and not yet read since, or missing and not confirmed gone. What settles between two
    /// ticks is so read together.
    fn due(&self, tick: Instant) -> impl Iterator<Item = &R::Id> {
        let at_work = self.entries.iter().filter(move |(_, entry)| {
            let consistent_at = entry
                .consistent_at
                .is_some_and(|consistent_at| consistent_at <= tick && entry.read < consistent_at);
            consistent_at || (entry.fact.is_transitional() && entry.read < tick)
        });
        let missing = self
            .missing
            .iter()
            .filter(move |(_, missing)| !missing.confirmed && missing.last < tick);
        at_work.map(|(id, _)| id).chain(missing.map(|(id, _)| id))
    }

    /// The ids to read now, if `known` or anything that the owner has is due; all that are due then
    /// are read together.
    pub(crate) fn to_read(&self, owner: &Owner, known: Option<&R::Id>, tick: Instant) -> Vec<R::Id> {
        let own = self.by_owner.get(&owner.key());
        let mut due: BTreeSet<R::Id> = self.due(tick).cloned().collect();
        let unknown = known.filter(|id| self.is_unknown(id, tick));
        let candidates: Vec<&R::Id> = match known {
            Some(id) if self.contains(id) => Vec::new(),
            // What it names may be gone: another may have taken its place.
            _ => self.unread_candidates(own),
        };
        let concerns_owner = |id: &R::Id| Some(id) == known || own.is_some_and(|ids| ids.contains(id));
        if unknown.is_none() && candidates.is_empty() && !due.iter().any(concerns_owner) {
            return Vec::new();
        }
        due.extend(unknown.into_iter().chain(candidates).cloned());
        due.into_iter().collect()
    }

    /// What may be an owner's own and is not kept whole: its object was not there, or had another,
    /// when everything was read.
    fn unread_candidates<'a>(&'a self, own: Option<&'a BTreeSet<R::Id>>) -> Vec<&'a R::Id> {
        let ids: Vec<&R::Id> = own.into_iter().flatten().collect();
        let whole = ids.iter().filter(|id| self.entries.contains_key(**id)).count();
        let may_be_own = |id: &&R::Id| self.unclaimed.get(*id).is_some_and(Unclaimed::may_be_own);
        let room = MOST_CANDIDATES.saturating_sub(whole);
        ids.into_iter().filter(may_be_own).take(room).collect()
    }

    /// When what we wrote for this owner settles, so that it is worth reading again; none if
    /// nothing has to.
    pub(crate) fn settles_at(&self, owner: &Owner) -> Option<Instant> {
        self.by_owner
            .get(&owner.key())
            .into_iter()
            .flatten()
            .filter_map(|id| self.entries.get(id))
            .filter_map(|entry| entry.consistent_at.filter(|consistent_at| entry.read < *consistent_at))
            .max()
    }
}

#[cfg(test)]
mod tests;
