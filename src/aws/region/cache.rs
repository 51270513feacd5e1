//! What a region held when it was last read, with our own writes on top; no clock, no calls.
//!
//! Only what an object claims is kept whole. Of the rest that carries the cluster's tag an id and a
//! summary are kept, of so many at most: any identity that may tag in the AWS account decides how
//! many there are, and how large.

mod packed;
mod resource;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use vpce_core::object_key::ObjectKey;
use vpce_core::orphans::{Objects, Unclaimed};
use vpce_core::ownership::{Candidates, LookupById};
use vpce_core::tags::{self, Claim, Clusters, Owner};

use self::packed::Packed;
use self::resource::AsStr;
pub(crate) use self::resource::Resource;

/// What is known to be gone is forgotten after this long: a status that names it still has AWS
/// asked again.
const FORGET_GONE_AFTER: Duration = Duration::from_secs(600);

/// So many resources that no object claims are kept of each kind in a region; more are only
/// counted. An estate that lost all its objects at once stays far below it (AWS's quotas: 50
/// interface endpoints in a VPC, 2,500 security groups in a region); 5,000 take a few MiB.
pub(crate) const MOST_UNCLAIMED: usize = 5000;
/// So many resources that may be an object's own are kept in full, or read at once, for an object
/// whose status names none. It has one, unless tags were copied.
const MOST_CANDIDATES: usize = 4;

#[derive(Debug, Clone)]
struct Entry<R> {
    resource: Packed<R>,
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

/// What a read of everything has returned so far.
#[derive(Debug)]
pub(crate) struct FullRead<Id> {
    ids: BTreeSet<Id>,
    omitted: usize,
}

impl<Id> Default for FullRead<Id> {
    fn default() -> Self {
        Self {
            ids: BTreeSet::new(),
            omitted: 0,
        }
    }
}

/// The last times to read again: all read at the same times, so that one read serves all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    /// What AWS is at work on.
    pub(crate) poll: Instant,
    /// What was written and has settled.
    pub(crate) check: Instant,
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
    omitted: usize,
    /// Of both.
    by_owner: HashMap<ObjectKey, Vec<R::Id>>,
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
            omitted: 0,
            by_owner: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    fn owner_key(&self, resource: &R) -> Option<ObjectKey> {
        let tags = resource.tags();
        self.clusters.has(tags.get(tags::CLUSTER)?).then_some(())?;
        tags::object(tags)
    }

    fn put(&mut self, resource: R, read: Instant, consistent_at: Option<Instant>) {
        let id = resource.id();
        self.remove(&id);
        self.missing.remove(&id);
        if let Some(key) = self.owner_key(&resource) {
            self.own(key, &id);
        }
        self.entries.insert(
            id,
            Entry {
                resource: Packed::pack(&resource),
                read,
                consistent_at,
            },
        );
    }

    /// Keeps an id and a summary.
    fn put_unclaimed(&mut self, id: R::Id, summary: Unclaimed) {
        self.remove(&id);
        self.missing.remove(&id);
        if self.unclaimed.len() >= MOST_UNCLAIMED {
            return;
        }
        if let Some(key) = summary.object() {
            self.own(key.clone(), &id);
        }
        self.unclaimed.insert(id, summary);
    }

    /// Takes it out; what it was, unpacked.
    fn remove(&mut self, id: &R::Id) -> Option<R> {
        if let Some(summary) = self.unclaimed.remove(id)
            && let Some(key) = summary.object()
        {
            self.disown(key, id);
        }
        let resource = self.entries.remove(id)?.resource.unpack();
        if let Some(key) = self.owner_key(&resource) {
            self.disown(&key, id);
        }
        Some(resource)
    }

    /// In order: an owner has one as a rule, and never many.
    fn own(&mut self, key: ObjectKey, id: &R::Id) {
        let ids = self.by_owner.entry(key).or_default();
        if let Err(place) = ids.binary_search(id) {
            ids.reserve_exact(1);
            ids.insert(place, id.clone());
        }
    }

    fn disown(&mut self, key: &ObjectKey, id: &R::Id) {
        if let Some(ids) = self.by_owner.get_mut(key) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_owner.remove(key);
            }
        }
    }

    /// How many resources of an owner are kept in full.
    fn count_full(&self, owner: &ObjectKey) -> usize {
        let ids = self.by_owner.get(owner).into_iter().flatten();
        ids.filter(|id| self.entries.contains_key(id)).count()
    }

    /// Whether an object claims it: by its status, or while its status names none, by the tags of
    /// what may be its own.
    fn is_claimed(&self, id: &R::Id, summary: &Unclaimed, objects: &impl Objects) -> bool {
        let awaited = |object| objects.lacks(object, R::KIND) && self.count_full(object) < MOST_CANDIDATES;
        objects.is_known(id.as_str()) || (summary.may_be_own() && summary.object().is_some_and(awaited))
    }

    fn is_inconsistent(&self, id: &R::Id, read: Instant) -> bool {
        self.entries.get(id).is_some_and(|entry| {
            !entry.resource.is_leaving && entry.consistent_at.is_some_and(|consistent_at| consistent_at > read)
        })
    }

    /// Adds what a read that began at `read` returned.
    pub(crate) fn add(&mut self, resources: Vec<R>, read: Instant) {
        for resource in resources {
            let id = resource.id();
            match self.entries.get_mut(&id) {
                Some(entry) if entry.consistent_at.is_some_and(|consistent_at| consistent_at > read) => {
                    let mut merged = entry.resource.unpack();
                    merged.merge_inconsistent(resource);
                    entry.resource = Packed::pack(&merged);
                    entry.read = read;
                }
                _ => self.put(resource, read, None),
            }
        }
    }

    /// Adds a page of a read of everything that began at `read`.
    pub(crate) fn add_page(
        &mut self,
        resources: Vec<R>,
        read: Instant,
        objects: &impl Objects,
        full_read: &mut FullRead<R::Id>,
    ) {
        for resource in resources {
            let id = resource.id();
            let entry = self.entries.get(&id);
            if entry.is_some_and(|entry| entry.consistent_at.is_some_and(|consistent_at| consistent_at > read)) {
                full_read.ids.insert(id);
                self.add(vec![resource], read);
                continue;
            }
            // For the moment it is not counted, whether it was kept in full or not.
            self.remove(&id);
            match resource.summary(&self.clusters) {
                Some(summary) if !self.is_claimed(&id, &summary, objects) => {
                    let kept = self.unclaimed.len();
                    self.put_unclaimed(id.clone(), summary);
                    if self.unclaimed.len() > kept {
                        full_read.ids.insert(id);
                    } else {
                        full_read.omitted += 1;
                    }
                }
                Some(_) => {
                    full_read.ids.insert(id);
                    self.put(resource, read, None);
                }
                // What EC2 still describes as deleted matters to an object whose status names it.
                None if objects.is_known(id.as_str()) => {
                    full_read.ids.insert(id);
                    self.put(resource, read, None);
                }
                None => {}
            }
        }
    }

    /// What objects know and a read of everything by the cluster's tag does not return, since it
    /// does not carry it: it is read by its id.
    pub(crate) fn untagged(&self, objects: &impl Objects, full_read: &FullRead<R::Id>) -> Vec<R::Id> {
        let is_untagged = |entry: &Entry<R>| self.owner_key(&entry.resource.unpack()).is_none();
        let unread = self.entries.iter().filter(|(id, _)| !full_read.ids.contains(*id));
        let untagged = unread.filter(|(id, entry)| objects.is_known(id.as_str()) && is_untagged(entry));
        untagged.map(|(id, _)| id.clone()).collect()
    }

    /// Ends a read of everything: what it did not return is removed, unless we wrote it just now.
    pub(crate) fn finish_full_read(&mut self, full_read: &FullRead<R::Id>, read: Instant) {
        let kept = self.entries.keys().chain(self.unclaimed.keys());
        let left: Vec<R::Id> = kept.filter(|id| !full_read.ids.contains(id)).cloned().collect();
        for id in left {
            if !self.is_inconsistent(&id, read) {
                self.remove(&id);
            }
        }
        self.omitted = full_read.omitted;
        self.missing
            .retain(|_, missing| read.saturating_duration_since(missing.last) < FORGET_GONE_AFTER);
    }

    /// Adds a read of these ids: those that it did not return are missing.
    pub(crate) fn add_read_of(&mut self, asked: &[R::Id], resources: Vec<R>, read: Instant) {
        let found: BTreeSet<R::Id> = resources.iter().map(Resource::id).collect();
        self.add(resources, read);
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

    /// Adds what we created.
    pub(crate) fn created(&mut self, resource: R, now: Instant) {
        let consistent_at = Some(now + self.settle);
        self.put(resource, now, consistent_at);
    }

    /// Applies a change of ours.
    pub(crate) fn changed(&mut self, id: &R::Id, now: Instant, change: impl FnOnce(&mut R)) {
        if let Some(mut resource) = self.remove(id) {
            change(&mut resource);
            let consistent_at = Some(now + self.settle);
            self.put(resource, now, consistent_at);
        }
    }

    /// Removes what AWS has confirmed to be deleted.
    pub(crate) fn deleted(&mut self, id: &R::Id, now: Instant) {
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

    /// The ids of what is kept in full and is there to stay.
    pub(crate) fn staying(&self) -> impl Iterator<Item = &R::Id> {
        self.entries.keys().filter(|id| self.stays(id))
    }

    /// Whether it exists, and is kept in full.
    pub(crate) fn contains(&self, id: &R::Id) -> bool {
        self.entries.contains_key(id)
    }

    /// What no object claims: what was kept of it, and what of the rest these objects do not know.
    pub(crate) fn unclaimed(&self, objects: &impl Objects) -> Vec<(String, Unclaimed)> {
        let unknown = self.entries.iter().filter(|(id, _)| !objects.is_known(id.as_str()));
        let whole = unknown.filter_map(|(id, entry)| Some((id, entry.resource.unpack().summary(&self.clusters)?)));
        let kept = self.unclaimed.iter().map(|(id, summary)| (id, summary.clone()));
        let named = whole.chain(kept).map(|(id, summary)| (id.as_str().to_owned(), summary));
        named.collect()
    }

    /// How many more there were that no object claims.
    pub(crate) fn omitted(&self) -> usize {
        self.omitted
    }

    /// The resource with this id, if it exists and is kept in full.
    pub(crate) fn get(&self, id: &R::Id) -> Option<R> {
        self.entries.get(id).map(|entry| entry.resource.unpack())
    }

    /// Whether the last read did not find it, or as deleted.
    pub(crate) fn is_gone(&self, id: &R::Id) -> bool {
        self.entries.get(id).is_none_or(|entry| entry.resource.is_gone)
    }

    /// Whether it is known to be deleted or being deleted.
    pub(crate) fn is_leaving(&self, id: &R::Id) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| entry.resource.is_gone || entry.resource.is_leaving)
    }

    /// Whether it is there to stay. One that was deleted is described for a while yet.
    pub(crate) fn stays(&self, id: &R::Id) -> bool {
        self.contains(id) && !self.is_leaving(id)
    }

    /// What has the id that the status names, and all that carries the owner's tags.
    pub(crate) fn candidates(&self, owner: &Owner, known: Option<&R::Id>) -> Candidates<R> {
        let ids = self.by_owner.get(&owner.key()).into_iter().flatten();
        let by_tags = ids
            .filter(|id| !self.is_gone(id))
            .filter_map(|id| self.get(id))
            .filter(|resource| owner.claim(resource.tags()) == Claim::Ours)
            .collect();
        let by_id = match known {
            None => LookupById::NoId,
            Some(id) => match (self.get(id), self.missing.get(id)) {
                (Some(resource), _) => LookupById::Found(resource),
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

    /// Ids that are worth a read now: at work or missing and not read since the last time to poll,
    /// or consistent before the last time to check what was written and not read since. What
    /// settles between two such times is so read together.
    fn due(&self, ticks: Ticks) -> impl Iterator<Item = &R::Id> {
        let at_work = self.entries.iter().filter(move |(_, entry)| {
            let consistent_at = entry
                .consistent_at
                .is_some_and(|consistent_at| consistent_at <= ticks.check && entry.read < consistent_at);
            consistent_at || (entry.resource.is_transitional && entry.read < ticks.poll)
        });
        let missing = self
            .missing
            .iter()
            .filter(move |(_, missing)| !missing.confirmed && missing.last < ticks.poll);
        at_work.map(|(id, _)| id).chain(missing.map(|(id, _)| id))
    }

    /// The ids to read now, if `known` or anything that the owner has is due; all that are due then
    /// are read together.
    pub(crate) fn to_read(&self, owner: &Owner, known: Option<&R::Id>, ticks: Ticks) -> Vec<R::Id> {
        let own = self.by_owner.get(&owner.key());
        let mut due: BTreeSet<R::Id> = self.due(ticks).cloned().collect();
        let unknown = known.filter(|id| self.is_unknown(id, ticks.poll));
        let candidates: Vec<&R::Id> = match known {
            Some(id) if self.is_owned(id, owner) => Vec::new(),
            // What it names may be deleted or another's, and the owner have another.
            _ => self.unread_candidates(own),
        };
        let concerns_owner = |id: &R::Id| Some(id) == known || own.is_some_and(|ids| ids.contains(id));
        if unknown.is_none() && candidates.is_empty() && !due.iter().any(concerns_owner) {
            return Vec::new();
        }
        due.extend(unknown.into_iter().chain(candidates).cloned());
        due.into_iter().collect()
    }

    /// Whether it is there, and carries the owner's tags.
    fn is_owned(&self, id: &R::Id, owner: &Owner) -> bool {
        let there = self.get(id).filter(|_| !self.is_gone(id));
        there.is_some_and(|resource| owner.claim(resource.tags()) == Claim::Ours)
    }

    /// What may be an owner's own and is not kept in full: its object did not exist, or had
    /// another, when everything was read.
    fn unread_candidates<'a>(&'a self, own: Option<&'a Vec<R::Id>>) -> Vec<&'a R::Id> {
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
