//! What a region held when it was last read, with our own writes on top; no clock, no calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use vpce_core::ids::{EndpointId, GroupId};
use vpce_core::observed::{EndpointFact, GroupFact, Sight, State};
use vpce_core::tags::{CLUSTER, Claim, Clusters, NAME, NAMESPACE, Owner};

/// What is known to be gone is forgotten after this long: a status that names it still has AWS asked again.
const FORGET_GONE_AFTER: Duration = Duration::from_secs(600);

/// Something that EC2 describes, with an id and tags.
pub trait Resource: Clone {
    /// Its id.
    type Id: Clone + Eq + Hash + Ord;
    /// Its id.
    fn id(&self) -> Self::Id;
    /// Its tags.
    fn tags(&self) -> &BTreeMap<String, String>;
    /// Whether EC2 still shows it, but says that it is gone.
    fn is_gone(&self) -> bool;
    /// Whether AWS is at work on it, so that it is worth reading again soon.
    fn is_transitional(&self) -> bool;
    /// Whether AWS has agreed to delete it, so that a read that does not find it may be believed sooner.
    fn is_leaving(&self) -> bool;
    /// Takes over what a read may say while our own write has not settled: EC2 is eventually consistent, so a read
    /// may show what was there before it.
    fn merge_unsettled(&mut self, read: Self);
}

impl Resource for EndpointFact {
    type Id = EndpointId;

    fn id(&self) -> EndpointId {
        self.id.clone()
    }

    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    fn is_gone(&self) -> bool {
        self.state == State::Deleted
    }

    fn is_transitional(&self) -> bool {
        self.state.is_transitional()
    }

    fn is_leaving(&self) -> bool {
        self.state == State::Deleting
    }

    fn merge_unsettled(&mut self, read: Self) {
        // While AWS adds or removes subnets, the endpoint is pending: a read without our change may call it available.
        let knows_our_change = self.state != State::Deleting && self.subnets == read.subnets;
        if knows_our_change || matches!(read.state, State::Deleting | State::Deleted) {
            self.state = read.state;
        }
        self.dns_names = read.dns_names;
        self.interfaces = read.interfaces;
        self.last_error = read.last_error;
    }
}

impl Resource for GroupFact {
    type Id = GroupId;

    fn id(&self) -> GroupId {
        self.id.clone()
    }

    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn is_transitional(&self) -> bool {
        false
    }

    fn is_leaving(&self) -> bool {
        false
    }

    fn merge_unsettled(&mut self, _: Self) {}
}

#[derive(Debug, Clone)]
struct Entry<R> {
    fact: R,
    /// When the read began that it comes from, or when we wrote it.
    read: Instant,
    /// Reads that began before this do not undo what we wrote.
    settled: Option<Instant>,
}

/// An id that a read did not find.
#[derive(Debug, Clone, Copy)]
struct Missing {
    first: Instant,
    last: Instant,
    confirmed: bool,
}

/// All endpoints, or all groups, that are known in a region.
#[derive(Debug, Clone)]
pub struct Shelf<R: Resource> {
    clusters: Clusters,
    settle: Duration,
    entries: HashMap<R::Id, Entry<R>>,
    by_owner: HashMap<(String, String), BTreeSet<R::Id>>,
    missing: HashMap<R::Id, Missing>,
}

impl<R: Resource> Shelf<R> {
    /// An empty shelf. What we write settles for `settle`, and what is missing is believed gone when two reads so far
    /// apart did not find it.
    pub fn new(clusters: Clusters, settle: Duration) -> Self {
        Self {
            clusters,
            settle,
            entries: HashMap::new(),
            by_owner: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    fn owner_key(&self, fact: &R) -> Option<(String, String)> {
        let tags = fact.tags();
        self.clusters.has(tags.get(CLUSTER)?).then_some(())?;
        Some((tags.get(NAMESPACE)?.clone(), tags.get(NAME)?.clone()))
    }

    fn put(&mut self, fact: R, read: Instant, settled: Option<Instant>) {
        let id = fact.id();
        self.remove(&id);
        self.missing.remove(&id);
        if let Some(key) = self.owner_key(&fact) {
            self.by_owner.entry(key).or_default().insert(id.clone());
        }
        self.entries.insert(id, Entry { fact, read, settled });
    }

    fn remove(&mut self, id: &R::Id) -> Option<Entry<R>> {
        let entry = self.entries.remove(id)?;
        if let Some(key) = self.owner_key(&entry.fact)
            && let Some(ids) = self.by_owner.get_mut(&key)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_owner.remove(&key);
            }
        }
        Some(entry)
    }

    fn is_unsettled(&self, id: &R::Id, read: Instant) -> bool {
        self.entries
            .get(id)
            .is_some_and(|entry| !entry.fact.is_leaving() && entry.settled.is_some_and(|settled| settled > read))
    }

    /// Takes in what a read that began at `read` found.
    pub fn found(&mut self, facts: Vec<R>, read: Instant) {
        for fact in facts {
            let id = fact.id();
            match self.entries.get_mut(&id) {
                Some(entry) if entry.settled.is_some_and(|settled| settled > read) => {
                    entry.fact.merge_unsettled(fact);
                    entry.read = read;
                }
                _ => self.put(fact, read, None),
            }
        }
    }

    /// Takes in a read of everything: what it did not find leaves the shelf, unless we wrote it just now.
    pub fn found_all(&mut self, facts: Vec<R>, read: Instant) {
        let found: BTreeSet<R::Id> = facts.iter().map(Resource::id).collect();
        self.found(facts, read);
        let left: Vec<R::Id> = self.entries.keys().filter(|id| !found.contains(id)).cloned().collect();
        for id in left {
            if !self.is_unsettled(&id, read) {
                self.remove(&id);
            }
        }
        self.missing
            .retain(|_, missing| read.saturating_duration_since(missing.last) < FORGET_GONE_AFTER);
    }

    /// Takes in a read of these ids: those that it did not find are missing.
    pub fn found_of(&mut self, asked: &[R::Id], facts: Vec<R>, read: Instant) {
        let found: BTreeSet<R::Id> = facts.iter().map(Resource::id).collect();
        self.found(facts, read);
        for id in asked.iter().filter(|id| !found.contains(id)) {
            if self.is_unsettled(id, read) {
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
    pub fn made(&mut self, fact: R, now: Instant) {
        let settled = Some(now + self.settle);
        self.put(fact, now, settled);
    }

    /// Changes what we changed.
    pub fn changed(&mut self, id: &R::Id, now: Instant, change: impl FnOnce(&mut R)) {
        if let Some(mut entry) = self.remove(id) {
            change(&mut entry.fact);
            let settled = Some(now + self.settle);
            self.put(entry.fact, now, settled);
        }
    }

    /// Says that AWS has confirmed that it is gone.
    pub fn gone(&mut self, id: &R::Id, now: Instant) {
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

    /// Whether it is there.
    pub fn contains(&self, id: &R::Id) -> bool {
        self.entries.contains_key(id)
    }

    /// All that is there.
    pub fn facts(&self) -> impl Iterator<Item = &R> {
        self.entries.values().map(|entry| &entry.fact)
    }

    /// What is there under this id.
    pub fn get(&self, id: &R::Id) -> Option<&R> {
        self.entries.get(id).map(|entry| &entry.fact)
    }

    /// What an owner has, the one that status knows first; and further ones that carry its tags.
    pub fn sight(&self, owner: &Owner, known: Option<&R::Id>) -> (Sight<R>, Vec<R>) {
        let key = (owner.namespace.clone(), owner.name.clone());
        let mut ours: Vec<R> = self
            .by_owner
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|id| self.get(id))
            .filter(|fact| owner.claim(fact.tags()) == Claim::Ours && !fact.is_gone())
            .cloned()
            .collect();
        let Some(known) = known else {
            return match ours.is_empty() {
                true => (Sight::Absent, ours),
                false => (Sight::Ours(ours.remove(0)), ours),
            };
        };
        if let Some(place) = ours.iter().position(|fact| fact.id() == *known) {
            let fact = ours.remove(place);
            return (Sight::Ours(fact), ours);
        }
        let sight = match (self.get(known), self.missing.get(known)) {
            (Some(fact), _) if fact.is_gone() => Sight::Gone,
            // Another's, by its tags: no status that we wrote names it while there is one of the owner's.
            (Some(fact), _) if owner.claim(fact.tags()) == Claim::Another && !ours.is_empty() => {
                return (Sight::Ours(ours.remove(0)), ours);
            }
            (Some(fact), _) => return (Sight::Lost(fact.clone()), ours),
            (None, Some(missing)) if missing.confirmed => Sight::Gone,
            (None, _) => Sight::Unconfirmed,
        };
        (sight, ours)
    }

    /// Whether this id has to be asked for, to know whether it is there or gone.
    fn is_unknown(&self, id: &R::Id, tick: Instant) -> bool {
        !self.contains(id)
            && self
                .missing
                .get(id)
                .is_none_or(|missing| !missing.confirmed && missing.last < tick)
    }

    /// Ids that are worth a read now: at work and not read since the tick, settled before the tick and not yet read
    /// since, or missing and not confirmed gone. What settles between two ticks is so read together.
    fn due(&self, tick: Instant) -> impl Iterator<Item = &R::Id> {
        let at_work = self.entries.iter().filter(move |(_, entry)| {
            let settled = entry
                .settled
                .is_some_and(|settled| settled <= tick && entry.read < settled);
            settled || (entry.fact.is_transitional() && entry.read < tick)
        });
        let missing = self
            .missing
            .iter()
            .filter(move |(_, missing)| !missing.confirmed && missing.last < tick);
        at_work.map(|(id, _)| id).chain(missing.map(|(id, _)| id))
    }

    /// The ids to read now, if `known` or anything that the owner has is due; all that are due then are read together.
    pub fn to_read(&self, owner: &Owner, known: Option<&R::Id>, tick: Instant) -> Vec<R::Id> {
        let key = (owner.namespace.clone(), owner.name.clone());
        let own = self.by_owner.get(&key);
        let mut due: BTreeSet<R::Id> = self.due(tick).cloned().collect();
        let unknown = known.filter(|id| self.is_unknown(id, tick));
        let concerns_owner = |id: &R::Id| Some(id) == known || own.is_some_and(|ids| ids.contains(id));
        if unknown.is_none() && !due.iter().any(concerns_owner) {
            return Vec::new();
        }
        due.extend(unknown.cloned());
        due.into_iter().collect()
    }

    /// When what we wrote for this owner settles, so that it is worth reading again; none if nothing has to.
    pub fn settles_at(&self, owner: &Owner) -> Option<Instant> {
        let key = (owner.namespace.clone(), owner.name.clone());
        self.by_owner
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|id| self.entries.get(id))
            .filter_map(|entry| entry.settled.filter(|settled| entry.read < *settled))
            .max()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    fn owner() -> Owner {
        Owner {
            cluster: "c".into(),
            namespace: "ns".into(),
            name: "db".into(),
            uid: "u".into(),
        }
    }

    fn endpoint(state: State) -> EndpointFact {
        EndpointFact {
            id: "vpce-1".into(),
            state,
            vpc: "vpc-1".into(),
            service_name: "s".into(),
            subnets: BTreeSet::new(),
            groups: BTreeSet::new(),
            private_dns: false,
            tags: owner().tags(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        }
    }

    fn shelf() -> (Shelf<EndpointFact>, Instant) {
        (Shelf::new("c".into(), SETTLE), Instant::now())
    }

    #[test]
    fn what_we_made_is_believed_until_it_settles() {
        let (mut shelf, start) = shelf();
        shelf.made(endpoint(State::Pending), start);
        let id = EndpointId::from("vpce-1");
        shelf.found_all(Vec::new(), start + Duration::from_secs(1));
        shelf.found_of(std::slice::from_ref(&id), Vec::new(), start + Duration::from_secs(2));
        assert!(matches!(shelf.sight(&owner(), Some(&id)).0, Sight::Ours(_)));
        shelf.found_all(Vec::new(), start + SETTLE);
        assert_eq!(shelf.sight(&owner(), Some(&id)).0, Sight::Unconfirmed);
        assert_eq!(shelf.sight(&owner(), None).0, Sight::Absent);
    }

    #[test]
    fn a_change_is_not_undone_by_a_read_from_before_it_settled() {
        let (mut shelf, start) = shelf();
        shelf.found_all(vec![endpoint(State::Available)], start);
        let id = EndpointId::from("vpce-1");
        shelf.changed(&id, start, |fact| fact.groups = BTreeSet::from(["sg-1".into()]));
        shelf.found_all(vec![endpoint(State::Pending)], start + Duration::from_secs(1));
        let fact = shelf.get(&id).expect("there");
        assert_eq!((fact.groups.len(), &fact.state), (1, &State::Pending));
        assert_eq!(
            shelf.to_read(&owner(), None, start + SETTLE).len(),
            1,
            "settled: look again"
        );
        shelf.found_all(vec![endpoint(State::Available)], start + SETTLE);
        assert_eq!(shelf.get(&id).expect("there").groups.len(), 0);
        assert!(shelf.to_read(&owner(), None, start + SETTLE * 2).is_empty());
    }

    #[test]
    fn a_read_from_before_subnets_changed_does_not_say_that_aws_is_done_with_them() {
        let (mut shelf, start) = shelf();
        let id = EndpointId::from("vpce-1");
        let subnets = BTreeSet::from(["subnet-2".into()]);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        shelf.found(vec![endpoint(State::Available)], at(0));
        shelf.changed(&id, at(0), |fact| {
            fact.subnets = subnets.clone();
            fact.state = State::Pending;
        });
        shelf.found(vec![endpoint(State::Available)], at(1));
        assert_eq!(shelf.get(&id).expect("there").state, State::Pending);
        let mut done = endpoint(State::Available);
        done.subnets = subnets;
        shelf.found(vec![done], at(2));
        assert_eq!(shelf.get(&id).expect("there").state, State::Available);
    }

    #[test]
    fn what_settles_between_two_ticks_waits_for_the_second() {
        let (mut shelf, start) = shelf();
        shelf.made(endpoint(State::Available), start);
        let settled = start + SETTLE;
        assert!(
            shelf
                .to_read(&owner(), None, settled - Duration::from_millis(1))
                .is_empty()
        );
        assert_eq!(shelf.to_read(&owner(), None, settled).len(), 1);
    }

    #[test]
    fn gone_needs_two_reads_with_time_between() {
        let (mut shelf, start) = shelf();
        let id = EndpointId::from("vpce-1");
        let asked = std::slice::from_ref(&id);
        assert_eq!(shelf.to_read(&owner(), Some(&id), start), vec![id.clone()]);
        shelf.found_of(asked, Vec::new(), start);
        shelf.found_of(asked, Vec::new(), start + Duration::from_secs(1));
        assert_eq!(shelf.sight(&owner(), Some(&id)).0, Sight::Unconfirmed);
        shelf.found_of(asked, Vec::new(), start + SETTLE);
        assert_eq!(shelf.sight(&owner(), Some(&id)).0, Sight::Gone);
        shelf.found(vec![endpoint(State::Available)], start + SETTLE * 2);
        assert!(matches!(shelf.sight(&owner(), Some(&id)).0, Sight::Ours(_)));
    }

    #[test]
    fn lost_tags_are_seen_and_deleted_is_gone() {
        let (mut shelf, start) = shelf();
        let id = EndpointId::from("vpce-1");
        let mut bare = endpoint(State::Available);
        bare.tags.clear();
        shelf.found(vec![bare], start);
        assert!(matches!(shelf.sight(&owner(), Some(&id)).0, Sight::Lost(_)));
        assert_eq!(shelf.sight(&owner(), None).0, Sight::Absent);
        shelf.found(vec![endpoint(State::Deleted)], start);
        assert_eq!(shelf.sight(&owner(), Some(&id)).0, Sight::Gone);
        assert_eq!(shelf.sight(&owner(), None).0, Sight::Absent);
    }

    #[test]
    fn a_status_that_names_anothers_does_not_hide_the_owners_own() {
        let (mut shelf, start) = shelf();
        let forged = EndpointId::from("vpce-2");
        let mut anothers = endpoint(State::Available);
        anothers.id = forged.clone();
        anothers.tags.insert(NAME.into(), "other".into());
        shelf.found(vec![anothers], start);
        assert!(matches!(shelf.sight(&owner(), Some(&forged)).0, Sight::Lost(_)));
        shelf.found(vec![endpoint(State::Available)], start);
        let (sight, spare) = shelf.sight(&owner(), Some(&forged));
        assert!(matches!(sight, Sight::Ours(fact) if fact.id == "vpce-1".into()));
        assert!(spare.is_empty());
    }

    #[test]
    fn all_that_is_at_work_is_read_together() {
        let (mut shelf, start) = shelf();
        let mut other = endpoint(State::Pending);
        other.id = "vpce-2".into();
        other.tags.insert(NAME.into(), "other".into());
        shelf.found(vec![endpoint(State::Pending), other], start);
        let tick = start + Duration::from_secs(5);
        assert_eq!(shelf.to_read(&owner(), None, tick).len(), 2);
        assert!(shelf.to_read(&owner(), None, start).is_empty(), "read since the tick");
    }
}
