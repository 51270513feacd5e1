//! One AWS account in one region: its snapshot, its limiters, its deletes and whether creation is
//! paused, shared by all who work there.

pub(crate) mod cache;
pub(crate) mod delete_batch;
mod group_users;
pub(crate) mod limiter;
pub(crate) mod orphans;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex as AsyncMutex;
use vpce_core::error::Class;
use vpce_core::ids::{self, AccountId, EndpointId, GroupId, Partition};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup};
use vpce_core::ownership::Seen;
use vpce_core::plan::Effect;
use vpce_core::rate::Decision;
use vpce_core::rate::Limits;
use vpce_core::tags::{Clusters, Owner};

use self::cache::{MOST_UNCLAIMED, Resource, ResourceCache};
use self::delete_batch::{DeleteBatcher, Requester};
use self::limiter::{Caller, RateLimiters};
use self::orphans::{Counts, Present, Retained};
use super::ec2::{Ec2, Which};
use super::error::CallError;
use crate::aws::Permitted;
use crate::k8s::requeue::Enqueue;

/// EC2 takes at most 200 values in a filter.
const FILTER_VALUES: usize = 200;
/// More than this share of a region's endpoints vanishing in one read looks like a mistake, not
/// like deletions ...
const MASS_DELETION_SHARE: f64 = 0.2;
/// ... unless it is fewer than this many.
const MASS_DELETION_AT_LEAST: usize = 3;
/// So many regions that have never answered are remembered at most: any number can be named that do
/// not exist.
const MOST_UNANSWERED: usize = 100;
/// Whose place the snapshot's reads take in the limiters of the Describe actions.
const READER: &str = "snapshot";

/// Which account and region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AccountRegionKey {
    /// The partition of both.
    pub(crate) partition: Partition,
    /// The AWS account.
    pub(crate) account_id: AccountId,
    pub(crate) region: ids::Region,
}

/// The endpoints that bound objects have in a region, by their status.
pub(crate) type Known = Arc<dyn Fn(&AccountRegionKey) -> Vec<EndpointId> + Send + Sync>;

/// The objects that may claim what is found in an AWS account.
pub(crate) type Claims = Arc<dyn Fn(&AccountRegionKey) -> Present + Send + Sync>;

/// Told an action and how long a call of it waited for a token, in seconds.
pub(crate) type Waited = Arc<dyn Fn(&'static str, f64) + Send + Sync>;

/// What all regions share.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The cluster, and those that it takes over from.
    pub(crate) clusters: Clusters,
    /// Endpoints on which AWS is at work are read this often.
    pub(crate) poll: Duration,
    /// How long a difference does not count after a change.
    pub(crate) settle: Duration,
    /// Bursts and refills.
    pub(crate) limits: Arc<Limits>,
    /// Requeues an object whose token has come, by namespace and name. Its backoffs are kept.
    pub(crate) requeue: Enqueue,
    /// Enqueues an object of which AWS has returned something new, by namespace and name. Its
    /// backoffs are reset.
    pub(crate) enqueue: Enqueue,
    /// What the objects' statuses know.
    pub(crate) known: Known,
    /// Which objects there are.
    pub(crate) claims: Claims,
    /// Told how long a call waited for a token, in seconds.
    pub(crate) waited: Waited,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) enum RefreshError {
    /// AWS allows no more reads right now.
    Busy(Duration),
    /// a call to AWS failed.
    Failed(CallError),
}

/// Endpoints that vanished together, so that nothing is made until a person has looked.
#[derive(Debug, Default)]
struct Pause {
    id: Option<String>,
    /// The id that the log has told of.
    told: Option<String>,
    vanished: BTreeSet<EndpointId>,
    resumed: BTreeSet<EndpointId>,
}

struct Snapshot {
    endpoints: ResourceCache<ObservedEndpoint>,
    groups: ResourceCache<ObservedGroup>,
    read: Option<(Instant, SystemTime)>,
    failed: Option<(Instant, CallError)>,
    stale: bool,
    pause: Pause,
}

impl Snapshot {
    /// Whether an endpoint is there to stay. One that was deleted is described for a while yet.
    fn stays(&self, id: &EndpointId) -> bool {
        let fact = self.endpoints.get(id);
        fact.is_some_and(|fact| !fact.is_gone() && !fact.is_leaving())
    }

    /// Takes in a read of these ids. One that was to stay and is gone may be one of many, which the
    /// rest of the snapshot, being older, does not show: then the next read reads the whole, before
    /// it is believed gone.
    fn found_of(&mut self, ids: &[EndpointId], facts: Vec<ObservedEndpoint>, read: Instant) {
        let stayed: Vec<&EndpointId> = ids.iter().filter(|id| self.stays(id)).collect();
        self.endpoints.found_of(ids, facts, read);
        self.stale |= stayed.into_iter().any(|id| !self.stays(id));
    }

    /// Pauses creation if many of the endpoints that statuses know have vanished, until they are
    /// back or nobody misses them.
    fn detect_mass_deletion(&mut self, key: &AccountRegionKey, known: &[EndpointId]) {
        let is_missed = |id: &&EndpointId| !self.stays(id) && !self.pause.resumed.contains(*id);
        let missed: BTreeSet<EndpointId> = known.iter().filter(is_missed).cloned().collect();
        let is_mass =
            missed.len() >= MASS_DELETION_AT_LEAST && missed.len() as f64 > MASS_DELETION_SHARE * known.len() as f64;
        let is_news = self.pause.id.is_none() || !missed.is_subset(&self.pause.vanished);
        if is_mass && is_news {
            self.pause.id = Some(resume_id(key, &missed));
            self.pause.vanished = missed;
        } else if !is_mass && self.pause.vanished.is_disjoint(&missed) {
            self.pause.id = None;
            self.pause.vanished.clear();
        }
    }
}

/// How a region stands, for metrics.
#[derive(Debug, Clone)]
pub(crate) struct Gauges {
    /// When the snapshot was last read whole.
    pub(crate) snapshot_at: Option<SystemTime>,
    /// The id that resumes creation, where it is paused.
    pub(crate) paused: Option<String>,
    /// For each action: tokens, and how many wait.
    pub(crate) limiters: Vec<(&'static str, f64, usize)>,
}

/// What carries an owner's tags in a region, or is under an id that its status knows.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Endpoints.
    pub(crate) endpoints: Seen<ObservedEndpoint>,
    /// Groups.
    pub(crate) groups: Seen<ObservedGroup>,
    /// When what we wrote has settled and is to be read again: with all that those who poll read
    /// then.
    pub(crate) settles_at: Option<Instant>,
}

/// One account in one region.
pub(crate) struct AccountRegion {
    /// Which.
    pub(crate) key: AccountRegionKey,
    settings: Settings,
    snapshot: Mutex<Snapshot>,
    reading: AsyncMutex<()>,
    limiters: RateLimiters,
    /// Endpoints that wait to be deleted together.
    deletes: DeleteBatcher,
    retained: Mutex<Retained>,
    reading_retained: AsyncMutex<()>,
    /// How many there were at the last look, of those that are proven to be ours.
    orphaned_endpoints: AtomicUsize,
    /// How many orphans there were when they were looked for last.
    orphaned: Mutex<Option<Counts>>,
    /// When the operator started. All limiters begin then, with one token: nobody knows what was
    /// spent before, but since then only we spend.
    epoch: Instant,
}

impl AccountRegion {
    fn new(key: AccountRegionKey, settings: Settings, epoch: Instant) -> Self {
        let snapshot = Snapshot {
            endpoints: ResourceCache::new(settings.clusters.clone(), settings.settle),
            groups: ResourceCache::new(settings.clusters.clone(), settings.settle),
            read: None,
            failed: None,
            stale: false,
            pause: Pause::default(),
        };
        Self {
            key,
            limiters: RateLimiters::new(&settings, epoch),
            settings,
            snapshot: Mutex::new(snapshot),
            reading: AsyncMutex::new(()),
            deletes: DeleteBatcher::default(),
            retained: Mutex::default(),
            reading_retained: AsyncMutex::new(()),
            orphaned_endpoints: AtomicUsize::new(0),
            orphaned: Mutex::default(),
            epoch,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Snapshot) -> T) -> T {
        work(&mut self.snapshot.lock())
    }

    /// Takes a token of an action, or a reservation for one; see
    /// [`vpce_core::limiter::FairRateLimiter::acquire`].
    pub(crate) fn acquire(&self, action: &'static str, caller: &Caller<'_>) -> Decision {
        self.limiters.acquire(action, caller)
    }

    /// About how long one that waits for a token of an action still has to.
    pub(crate) fn expected_wait(&self, action: &'static str, uid: &str) -> Option<Duration> {
        self.limiters.expected_wait(action, uid)
    }

    /// Tells the limiter of an action that AWS refused a call for its rate.
    pub(crate) fn throttled(&self, action: &'static str) {
        self.limiters.throttled(action);
    }

    /// Gives up all places of an object.
    pub(crate) fn cancel(&self, uid: &str) {
        self.limiters.cancel(uid);
    }

    /// The last moment at which those who poll looked: all poll at the same moments, so that one
    /// read serves all.
    fn tick(&self, now: Instant) -> Instant {
        let poll = self.settings.poll.as_nanos().max(1);
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        let late = u64::try_from(since % poll).unwrap_or(0);
        now - Duration::from_nanos(late)
    }

    /// How long until those who poll read again.
    pub(crate) fn next_tick(&self) -> Duration {
        let now = Instant::now();
        (self.tick(now) + self.settings.poll).saturating_duration_since(now) + Duration::from_millis(1)
    }

    /// Makes sure that the snapshot is no older than `max_age`, and that what the owner has at work
    /// has been read since the last tick. Reads are shared: who comes while one is under way waits
    /// for it and takes its result.
    pub(crate) async fn refresh(
        &self,
        ec2: &Ec2,
        owner: &Owner,
        known: (Option<&EndpointId>, Option<&GroupId>),
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        if self.is_fresh(owner, known, max_age) {
            return Ok(());
        }
        let _reading = self.reading.lock().await;
        let now = Instant::now();
        let recently = self.with(|snapshot| snapshot.failed.clone());
        if let Some((at, error)) = recently
            && now.saturating_duration_since(at) < self.settings.poll
        {
            return Err(RefreshError::Failed(error));
        }
        let result = self.read(ec2, owner, known, max_age).await;
        self.with(|snapshot| {
            snapshot.failed = match &result {
                Err(RefreshError::Failed(error)) => Some((Instant::now(), error.clone())),
                Ok(()) | Err(RefreshError::Busy(_)) => None,
            }
        });
        result
    }

    async fn read(
        &self,
        ec2: &Ec2,
        owner: &Owner,
        known: (Option<&EndpointId>, Option<&GroupId>),
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        if self.is_old(max_age) {
            self.read_all(ec2).await?;
        }
        let (endpoints, groups) = self.to_read(owner, known);
        self.read_now(ec2, &endpoints).await?;
        for ids in groups.chunks(FILTER_VALUES) {
            let started = Instant::now();
            let facts = self.all_groups(ec2, Which::Ids(ids)).await?;
            self.with(|snapshot| snapshot.groups.found_of(ids, facts, started));
        }
        Ok(())
    }

    /// Makes sure that the snapshot is no older than this.
    pub(crate) async fn refresh_all(&self, ec2: &Ec2, max_age: Duration) -> Result<(), RefreshError> {
        if !self.is_old(max_age) {
            return Ok(());
        }
        let _reading = self.reading.lock().await;
        match self.is_old(max_age) {
            true => self.read_all(ec2).await,
            false => Ok(()),
        }
    }

    fn is_old(&self, max_age: Duration) -> bool {
        self.with(|snapshot| snapshot.stale || snapshot.read.is_none_or(|(at, _)| at.elapsed() >= max_age))
    }

    fn to_read(
        &self,
        owner: &Owner,
        known: (Option<&EndpointId>, Option<&GroupId>),
    ) -> (Vec<EndpointId>, Vec<GroupId>) {
        let tick = self.tick(Instant::now());
        self.with(|snapshot| {
            (
                snapshot.endpoints.to_read(owner, known.0, tick),
                snapshot.groups.to_read(owner, known.1, tick),
            )
        })
    }

    fn is_fresh(&self, owner: &Owner, known: (Option<&EndpointId>, Option<&GroupId>), max_age: Duration) -> bool {
        let (endpoints, groups) = self.to_read(owner, known);
        !self.is_old(max_age) && endpoints.is_empty() && groups.is_empty()
    }

    /// Reads these endpoints by the `vpc-endpoint-id` filter. Where AWS fails on that filter (moto
    /// does, with a 500), they are read with all of the cluster's, and what is not among those one
    /// by one.
    async fn read_endpoints(&self, ec2: &Ec2, ids: &[EndpointId]) -> Result<(), RefreshError> {
        let started = Instant::now();
        match self.all_endpoints(ec2, Which::Ids(ids)).await {
            Ok(facts) => {
                self.take_in(|snapshot| snapshot.found_of(ids, facts, started));
                self.confirm_pause(ec2).await
            }
            Err(RefreshError::Failed(error)) if error.class == Class::Transient && !error.is_expired_session() => {
                self.read_all(ec2).await?;
                for id in ids {
                    if self.with(|snapshot| snapshot.endpoints.contains(id)) {
                        continue;
                    }
                    let started = Instant::now();
                    let facts = self
                        .pages("DescribeVpcEndpoints", |_| ec2.describe_endpoint(id))
                        .await?;
                    self.take_in(|snapshot| snapshot.endpoints.found_of(std::slice::from_ref(id), facts, started));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads these endpoints now, whoever has them.
    pub(crate) async fn read_now(&self, ec2: &Ec2, ids: &[EndpointId]) -> Result<(), RefreshError> {
        for ids in ids.chunks(FILTER_VALUES) {
            self.read_endpoints(ec2, ids).await?;
        }
        Ok(())
    }

    /// Whether the last read did not find an endpoint, or as deleted.
    pub(crate) fn is_gone(&self, id: &EndpointId) -> bool {
        self.with(|snapshot| snapshot.endpoints.get(id).is_none_or(Resource::is_gone))
    }

    async fn read_all(&self, ec2: &Ec2) -> Result<(), RefreshError> {
        let clusters: Vec<&str> = self.settings.clusters.ids().collect();
        let started = Instant::now();
        let wall = SystemTime::now();
        let objects = (self.settings.claims)(&self.key);
        let which = Which::Clusters(&clusters);
        let mut endpoints = cache::Found::default();
        self.each_page(
            "DescribeVpcEndpoints",
            |page| ec2.describe_endpoints(&which, page),
            |facts| {
                self.with(|snapshot| snapshot.endpoints.found_page(facts, started, &objects, &mut endpoints));
            },
        )
        .await?;
        let which = Which::Clusters(&clusters);
        let mut groups = cache::Found::default();
        self.each_page(
            "DescribeSecurityGroups",
            |page| ec2.describe_groups(&which, page),
            |facts| {
                self.with(|snapshot| snapshot.groups.found_page(facts, started, &objects, &mut groups));
            },
        )
        .await?;
        let beyond = self.take_in(|snapshot| {
            snapshot.endpoints.found_all(&endpoints, started);
            snapshot.groups.found_all(&groups, started);
            snapshot.read = Some((started, wall));
            snapshot.stale = false;
            snapshot.endpoints.beyond() + snapshot.groups.beyond()
        });
        if beyond > 0 {
            tracing::warn!(
                account_id = self.key.account_id.as_str(),
                region = self.key.region.as_str(),
                kept = MOST_UNCLAIMED,
                beyond,
                "too many resources carry this cluster's tag and belong to no object: the rest is only counted"
            );
        }
        self.confirm_pause(ec2).await
    }

    /// Takes in what a read found. In the same moment, before anybody acts on it, creation is
    /// paused if many have vanished.
    fn take_in<T>(&self, take_in: impl FnOnce(&mut Snapshot) -> T) -> T {
        let known = (self.settings.known)(&self.key);
        self.with(|snapshot| {
            let result = take_in(snapshot);
            snapshot.detect_mass_deletion(&self.key, &known);
            result
        })
    }

    /// Asks once more for what a new pause is about: endpoints that only lost their tags have not
    /// vanished.
    async fn confirm_pause(&self, ec2: &Ec2) -> Result<(), RefreshError> {
        let unseen: Vec<EndpointId> = self.with(|snapshot| {
            let pause = &snapshot.pause;
            let news = pause.id != pause.told;
            let unseen = |id: &&EndpointId| news && !snapshot.endpoints.contains(id);
            pause.vanished.iter().filter(unseen).cloned().collect()
        });
        for ids in unseen.chunks(FILTER_VALUES) {
            let started = Instant::now();
            match self.all_endpoints(ec2, Which::Ids(ids)).await {
                Ok(facts) => self.take_in(|snapshot| snapshot.endpoints.found_of(ids, facts, started)),
                // Not known to be there: counted all the same.
                Err(RefreshError::Failed(_)) => {}
                Err(busy @ RefreshError::Busy(_)) => return Err(busy),
            }
        }
        self.with(|snapshot| {
            let pause = &mut snapshot.pause;
            if let Some(id) = pause.id.as_ref().filter(|id| pause.told.as_ref() != Some(id)) {
                tracing::error!(
                    account_id = self.key.account_id.as_str(),
                    region = self.key.region.as_str(),
                    resume_id = id,
                    vanished = pause.vanished.len(),
                    "many endpoints vanished at once: creation is paused here until a person resumes it"
                );
            }
            pause.told = pause.id.clone();
        });
        Ok(())
    }

    /// The id that resumes creation in this region, where it is paused and no person has resumed
    /// just that.
    pub(crate) fn paused(&self, is_resumed: impl Fn(&str) -> bool) -> Option<String> {
        self.with(|snapshot| {
            let pause = &mut snapshot.pause;
            let id = pause.id.clone()?;
            if is_resumed(&id) {
                tracing::warn!(
                    account_id = self.key.account_id.as_str(),
                    region = self.key.region.as_str(),
                    resume_id = id,
                    "creation was resumed"
                );
                pause.resumed.append(&mut pause.vanished);
                pause.id = None;
                return None;
            }
            Some(id)
        })
    }

    /// Reads all pages; each takes a token of its own.
    async fn pages<Fact, Answer>(
        &self,
        action: &'static str,
        mut read: impl FnMut(Option<String>) -> Answer,
    ) -> Result<Vec<Fact>, RefreshError>
    where
        Answer: Future<Output = Result<(Vec<Fact>, Option<String>), CallError>>,
    {
        let mut all = Vec::new();
        self.each_page(action, &mut read, |facts| all.extend(facts)).await?;
        Ok(all)
    }

    /// Reads all pages, and passes each on before it reads the next.
    async fn each_page<Fact, Answer>(
        &self,
        action: &'static str,
        mut read: impl FnMut(Option<String>) -> Answer,
        mut take: impl FnMut(Vec<Fact>),
    ) -> Result<(), RefreshError>
    where
        Answer: Future<Output = Result<(Vec<Fact>, Option<String>), CallError>>,
    {
        let mut token = None;
        loop {
            while let Decision::Wait(time) = self.acquire(action, &Caller::of_the_operator(READER)) {
                if token.is_none() {
                    return Err(RefreshError::Busy(time));
                }
                // To start again would cost the pages that were read already.
                tokio::time::sleep(time).await;
            }
            // Boxed, or the types of the futures above it grow too deep for the compiler.
            let (facts, next) = Box::pin(read(token)).await.map_err(|error| {
                if error.class == Class::Throttled {
                    self.throttled(action);
                }
                RefreshError::Failed(error)
            })?;
            take(facts);
            match next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn all_endpoints(
        &self,
        ec2: &Ec2,
        which: Which<'_, EndpointId>,
    ) -> Result<Vec<ObservedEndpoint>, RefreshError> {
        self.pages("DescribeVpcEndpoints", |page| ec2.describe_endpoints(&which, page))
            .await
    }

    async fn all_groups(&self, ec2: &Ec2, which: Which<'_, GroupId>) -> Result<Vec<ObservedGroup>, RefreshError> {
        self.pages("DescribeSecurityGroups", |page| ec2.describe_groups(&which, page))
            .await
    }

    /// Reads groups that may be anybody's; they do not become part of the snapshot.
    pub(crate) async fn read_groups(&self, ec2: &Ec2, ids: &[GroupId]) -> Result<Vec<ObservedGroup>, RefreshError> {
        let mut all = Vec::new();
        for ids in ids.chunks(FILTER_VALUES) {
            all.extend(self.all_groups(ec2, Which::Ids(ids)).await?);
        }
        Ok(all)
    }

    /// What the snapshot has for an owner.
    pub(crate) fn find(&self, owner: &Owner, known: (Option<&EndpointId>, Option<&GroupId>)) -> Found {
        self.with(|snapshot| {
            let settles = [snapshot.endpoints.settles_at(owner), snapshot.groups.settles_at(owner)];
            Found {
                endpoints: snapshot.endpoints.seen(owner, known.0),
                groups: snapshot.groups.seen(owner, known.1),
                settles_at: settles
                    .into_iter()
                    .flatten()
                    .max()
                    .map(|at| self.tick(at) + self.settings.poll),
            }
        })
    }

    /// Reads what the snapshot holds of endpoints.
    pub(super) fn endpoints<T>(&self, read: impl FnOnce(&ResourceCache<ObservedEndpoint>) -> T) -> T {
        self.with(|snapshot| read(&snapshot.endpoints))
    }

    /// Reads what the snapshot holds of groups.
    pub(super) fn groups<T>(&self, read: impl FnOnce(&ResourceCache<ObservedGroup>) -> T) -> T {
        self.with(|snapshot| read(&snapshot.groups))
    }

    /// Takes in what a step of ours has changed, until it is read.
    pub(crate) fn record(&self, effect: Effect<'_>) {
        let now = Instant::now();
        self.with(|snapshot| match effect {
            Effect::EndpointCreated(endpoint) => snapshot.endpoints.made(endpoint, now),
            Effect::EndpointChanged(id, change) => snapshot.endpoints.changed(id, now, change),
            Effect::GroupCreated(group) => snapshot.groups.made(group, now),
            Effect::GroupChanged(id, change) => snapshot.groups.changed(id, now, change),
            Effect::GroupDeleted(id) => snapshot.groups.gone(id, now),
            // Services are not AWS's.
            Effect::Unknown | Effect::ServicePublished(_) | Effect::ServiceDeleted(_) => {}
        });
    }

    /// Says that the snapshot may lack what we made: an answer was lost. The next look reads the
    /// whole.
    pub(crate) fn invalidate(&self) {
        self.with(|snapshot| snapshot.stale = true);
    }

    /// When the last read of the whole began.
    pub(crate) fn read_at(&self) -> Option<Instant> {
        self.with(|snapshot| snapshot.read.map(|(at, _)| at))
    }

    /// Lets an endpoint leave with the next DeleteVpcEndpoints, if that is permitted then. The one
    /// who asks is requeued after.
    pub(crate) fn delete_endpoint(
        self: &Arc<Self>,
        ec2: &Ec2,
        role: &str,
        id: &EndpointId,
        requester: Requester,
        permitted: Permitted,
    ) {
        DeleteBatcher::add(self, ec2, role, id, requester, permitted);
    }

    /// Why AWS did not delete this endpoint, if it was asked to and refused; told once.
    pub(crate) fn take_refusal(&self, id: &EndpointId) -> Option<CallError> {
        self.deletes.take_refusal(id)
    }

    /// How the region stands.
    pub(crate) fn gauges(&self) -> Gauges {
        let mut limiters = self.limiters.gauges();
        let waiting = self.deletes.len();
        for limiter in &mut limiters {
            if limiter.0 == delete_batch::ACTION {
                limiter.2 = waiting;
            }
        }
        self.with(|snapshot| Gauges {
            snapshot_at: snapshot.read.map(|(_, wall)| wall),
            paused: snapshot.pause.id.clone(),
            limiters,
        })
    }
}

fn resume_id(key: &AccountRegionKey, vanished: &BTreeSet<EndpointId>) -> String {
    let mut hash = Sha256::new();
    hash.update(key.account_id.as_str());
    hash.update(key.region.as_str());
    for id in vanished {
        hash.update(id.as_str());
    }
    hash.finalize()[..5].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All regions that anything was looked for in.
#[derive(Clone)]
pub(crate) struct AccountRegions {
    settings: Settings,
    epoch: Instant,
    regions: Arc<Mutex<HashMap<AccountRegionKey, Arc<AccountRegion>>>>,
}

impl AccountRegions {
    /// None yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            epoch: Instant::now(),
            regions: Arc::default(),
        }
    }

    /// The region, made if there is none yet.
    pub(crate) fn get(&self, key: AccountRegionKey) -> Arc<AccountRegion> {
        let mut regions = self.regions.lock();
        if !regions.contains_key(&key) {
            let is_idle = |region: &Arc<AccountRegion>| region.read_at().is_none() && Arc::strong_count(region) == 1;
            if regions.values().filter(|region| is_idle(region)).count() >= MOST_UNANSWERED {
                regions.retain(|_, region| !is_idle(region));
            }
        }
        regions
            .entry(key)
            .or_insert_with_key(|key| Arc::new(AccountRegion::new(key.clone(), self.settings.clone(), self.epoch)))
            .clone()
    }

    /// The endpoints in an AWS account that cost money and that no object stands for, in the
    /// regions that were observed.
    pub(crate) fn endpoints_without_object(&self, account_id: &AccountId) -> usize {
        let regions = self.regions.lock();
        let here = regions.iter().filter(|(key, _)| key.account_id == *account_id);
        here.map(|(_, region)| region.endpoints_without_object()).sum()
    }

    /// The region, if anything was looked for in it.
    pub(crate) fn find(&self, key: &AccountRegionKey) -> Option<Arc<AccountRegion>> {
        let regions = self.regions.lock();
        regions.get(key).cloned()
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<Arc<AccountRegion>> {
        let regions = self.regions.lock();
        let mut all: Vec<_> = regions.values().cloned().collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vpce_core::observed::State;

    use super::*;

    fn snapshot(settle: Duration) -> Snapshot {
        Snapshot {
            endpoints: ResourceCache::new("c".into(), settle),
            groups: ResourceCache::new("c".into(), settle),
            read: None,
            failed: None,
            stale: false,
            pause: Pause::default(),
        }
    }

    fn key() -> AccountRegionKey {
        AccountRegionKey {
            partition: Partition::Aws,
            account_id: "111111111111".parse().expect("an id"),
            region: "us-west-2".into(),
        }
    }

    fn ids(numbers: std::ops::Range<usize>) -> Vec<EndpointId> {
        numbers.map(|number| format!("vpce-{number}").as_str().into()).collect()
    }

    fn facts(ids: &[EndpointId], state: &State) -> Vec<ObservedEndpoint> {
        let fact = |id: &EndpointId| ObservedEndpoint {
            id: id.clone(),
            requester_managed: false,
            created: None,
            state: state.clone(),
            vpc: "vpc-1".into(),
            target: None,
            attachment: vpce_core::attachment::ObservedAttachment::Other("Interface".into()),
            tags: BTreeMap::new(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        };
        ids.iter().map(fact).collect()
    }

    /// What resumes creation once these have gone from a region of twenty.
    fn paused_without(gone: usize, lingering: Option<&State>) -> Option<String> {
        let mut snapshot = snapshot(Duration::ZERO);
        let known = ids(0..20);
        let mut there = facts(&known[gone..], &State::Available);
        there.extend(lingering.into_iter().flat_map(|state| facts(&known[..gone], state)));
        snapshot.endpoints.found(there, Instant::now());
        snapshot.detect_mass_deletion(&key(), &known);
        snapshot.pause.id
    }

    #[test]
    fn more_than_a_fifth_of_a_region_vanishing_pauses_creation_whether_or_not_it_is_still_described() {
        for lingering in [None, Some(&State::Deleting), Some(&State::Deleted)] {
            assert_eq!(paused_without(4, lingering), None, "{lingering:?}");
            assert!(paused_without(5, lingering).is_some(), "{lingering:?}");
        }
        assert_eq!(paused_without(20, Some(&State::Rejected)), None, "they are there");
    }

    #[test]
    fn one_that_goes_unasked_has_the_whole_region_read_and_one_that_stays_has_not() {
        let mut snapshot = snapshot(Duration::ZERO);
        let known = ids(0..2);
        let start = Instant::now();
        snapshot.endpoints.found(facts(&known, &State::Available), start);
        snapshot.found_of(&known[..1], facts(&known[..1], &State::Pending), start);
        assert!(!snapshot.stale);
        snapshot.found_of(&known[..1], Vec::new(), start);
        assert!(snapshot.stale);
        snapshot.stale = false;
        snapshot.found_of(&known[..1], Vec::new(), start);
        assert!(!snapshot.stale, "once is enough");
    }

    #[test]
    fn two_endpoints_are_too_few_to_pause_creation() {
        let mut snapshot = snapshot(Duration::ZERO);
        snapshot.detect_mass_deletion(&key(), &ids(0..2));
        assert_eq!(snapshot.pause.id, None);
        snapshot.detect_mass_deletion(&key(), &ids(0..3));
        assert!(snapshot.pause.id.is_some());
    }

    #[test]
    fn a_pause_keeps_its_id_until_more_vanish_and_ends_when_nothing_is_missing() {
        let mut snapshot = snapshot(Duration::ZERO);
        snapshot.detect_mass_deletion(&key(), &ids(0..5));
        let first = snapshot.pause.id.clone();
        assert!(first.is_some());
        // Objects of some of them are deleted meanwhile.
        snapshot.detect_mass_deletion(&key(), &ids(1..5));
        assert_eq!(snapshot.pause.id, first);
        snapshot.detect_mass_deletion(&key(), &ids(3..5));
        assert_eq!(snapshot.pause.id, first, "few are missed by now, and still paused");
        snapshot.detect_mass_deletion(&key(), &ids(1..7));
        assert!(snapshot.pause.id.is_some() && snapshot.pause.id != first, "two more");
        snapshot.detect_mass_deletion(&key(), &[]);
        assert_eq!(snapshot.pause.id, None);
    }
}
