//! One AWS account in one region: its snapshot, its limiters, its deletes and whether creation is
//! paused, shared by all reconciles there.

mod addresses;
pub(crate) mod cache;
pub(crate) mod delete_batch;
mod endpoint_services;
mod group_users;
pub(crate) mod limiter;
mod load_balancers;
mod mass_deletion;
mod names;
mod networks;
pub(crate) mod orphans;
mod refresh;
mod snapshot;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use vpce_core::ids::{self, AccountId, EndpointId, GroupId, Partition, RoleArn};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup};
use vpce_core::ownership::Candidates;
use vpce_core::plan::Effect;
use vpce_core::rate::Decision;
use vpce_core::rate::Limits;
use vpce_core::tags::{Clusters, Owner};

use self::cache::ResourceCache;
use self::delete_batch::{DeleteBatcher, Requester};
use self::endpoint_services::EndpointServices;
pub(crate) use self::endpoint_services::MaxAge;
use self::limiter::{Caller, RateLimiters};
use self::load_balancers::LoadBalancers;
use self::names::Names;
use self::networks::Networks;
pub(crate) use self::networks::{LOOK_AGAIN, Seen, Wanted};
use self::orphans::{Counts, Present, Retained};
pub(crate) use self::refresh::RefreshError;
use self::snapshot::Snapshot;
use super::ec2::Ec2;
use super::error::CallError;
use crate::aws::Permitted;
use crate::k8s::requeue::Enqueue;
use crate::telemetry::RateLimiterGauges;

/// So many regions of an AWS account that have never answered are remembered at most: any number
/// can be named that do not exist.
const MOST_UNANSWERED: usize = 100;
/// Which account and region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AccountRegionKey {
    /// The partition of both.
    pub(crate) partition: Partition,
    /// The AWS account.
    pub(crate) account_id: AccountId,
    pub(crate) region: ids::Region,
}

impl AccountRegionKey {
    /// A region of the account that a role is in.
    pub(crate) fn of(role: &RoleArn, region: &ids::Region) -> Self {
        Self {
            partition: role.partition(),
            account_id: role.account().clone(),
            region: region.clone(),
        }
    }
}

/// The endpoints that bound objects have in a region, by their status.
pub(crate) type Known = Arc<dyn Fn(&AccountRegionKey) -> Vec<EndpointId> + Send + Sync>;

/// The objects that may claim what is found in an AWS account.
pub(crate) type Claims = Arc<dyn Fn(&AccountRegionKey) -> Present + Send + Sync>;

/// Observes an action and how long a call of it waited for a token, in seconds.
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
    /// Everything is read this often, where there are few enough regions.
    pub(crate) resync: Duration,
    /// At most so many regions are read as a whole in a minute.
    pub(crate) refreshes_per_minute: NonZeroU32,
    /// Bursts and refills.
    pub(crate) limits: Arc<Limits>,
    /// Requeues an object whose token has come, by namespace and name. Its backoffs are kept.
    pub(crate) requeue: Enqueue,
    /// Enqueues an object of which AWS has returned something new, by namespace and name. Its
    /// backoffs are reset.
    pub(crate) enqueue: Enqueue,
    /// What the objects' statuses know.
    pub(crate) known: Known,
    /// Of those the endpoints that have a headless Service.
    pub(crate) headless: Known,
    /// Which objects there are.
    pub(crate) claims: Claims,
    /// Observes how long a call waited for a token, in seconds.
    pub(crate) waited: Waited,
}

/// How a region stands, for metrics.
#[derive(Debug, Clone)]
pub(crate) struct Gauges {
    /// When the snapshot was last read whole.
    pub(crate) snapshot_at: Option<SystemTime>,
    /// The id that resumes creation, where it is paused.
    pub(crate) paused: Option<String>,
    /// For each action.
    pub(crate) limiters: Vec<RateLimiterGauges>,
}

/// What may be an object's in a region.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Endpoints.
    pub(crate) endpoints: Candidates<ObservedEndpoint>,
    /// Groups.
    pub(crate) groups: Candidates<ObservedGroup>,
    /// When what we wrote is consistent and is to be read again, with all that is polled then.
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
    /// What other actions than DescribeVpcEndpoints tell of endpoints.
    names: Names,
    networks: Networks,
    /// The provider's side.
    endpoint_services: EndpointServices,
    load_balancers: LoadBalancers,
    retained: Mutex<Retained>,
    reading_retained: AsyncMutex<()>,
    /// How many orphaned endpoints the last read found that are proven to be ours.
    orphaned_endpoints: AtomicUsize,
    /// How many orphans the last read found.
    orphaned: Mutex<Option<Counts>>,
    /// When the operator started. All limiters begin then, with one token: what was spent before is
    /// unknown.
    epoch: Instant,
    /// Since when the region is known.
    since: Instant,
}

impl AccountRegion {
    fn new(key: AccountRegionKey, settings: Settings, epoch: Instant) -> Self {
        let snapshot = Snapshot::new(&settings.clusters, settings.settle);
        let endpoint_services = EndpointServices::new(&settings.clusters, settings.settle);
        Self {
            key,
            limiters: RateLimiters::new(&settings, epoch),
            settings,
            snapshot: Mutex::new(snapshot),
            reading: AsyncMutex::new(()),
            deletes: DeleteBatcher::default(),
            names: Names::default(),
            networks: Networks::default(),
            endpoint_services,
            load_balancers: LoadBalancers::default(),
            retained: Mutex::default(),
            reading_retained: AsyncMutex::new(()),
            orphaned_endpoints: AtomicUsize::new(0),
            orphaned: Mutex::default(),
            epoch,
            since: Instant::now(),
        }
    }

    /// How long the region has been known.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Snapshot) -> T) -> T {
        work(&mut self.snapshot.lock())
    }

    /// Takes a token of an action, or a reservation for one; see
    /// [`vpce_core::rate::FairRateLimiter::acquire`].
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

    /// Cancels all reservations of an object.
    pub(crate) fn cancel(&self, uid: &str) {
        self.limiters.cancel(uid);
    }

    /// Whether the last read did not find an endpoint, or as deleted.
    pub(crate) fn is_gone(&self, id: &EndpointId) -> bool {
        self.with(|snapshot| snapshot.endpoints.is_gone(id))
    }

    /// What the snapshot has for an owner.
    pub(crate) fn find(&self, owner: &Owner, known: (Option<&EndpointId>, Option<&GroupId>)) -> Found {
        self.with(|snapshot| {
            let settles = [snapshot.endpoints.settles_at(owner), snapshot.groups.settles_at(owner)];
            Found {
                endpoints: snapshot.endpoints.candidates(owner, known.0),
                groups: snapshot.groups.candidates(owner, known.1),
                settles_at: settles.into_iter().flatten().max().map(|at| self.next_check(at)),
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
            Effect::EndpointCreated(endpoint) => snapshot.endpoints.created(endpoint, now),
            Effect::EndpointChanged(id, change) => snapshot.endpoints.changed(id, now, change),
            Effect::GroupCreated(group) => snapshot.groups.created(group, now),
            Effect::GroupChanged(id, change) => snapshot.groups.changed(id, now, change),
            Effect::GroupDeleted(id) => snapshot.groups.deleted(id, now),
            // What is in Kubernetes is not AWS's.
            Effect::Unknown
            | Effect::ServicePublished(_)
            | Effect::ServiceDeleted(_)
            | Effect::SlicePublished(_)
            | Effect::SliceDeleted(_)
            | Effect::DnsEndpointPublished(_)
            | Effect::DnsEndpointDeleted(_)
            | Effect::ConfigMapPublished(_)
            | Effect::ConfigMapDeleted => {}
        });
    }

    /// The snapshot may lack what we made, since a response was lost: the next refresh reads
    /// everything.
    pub(crate) fn invalidate(&self) {
        self.with(|snapshot| snapshot.stale = true);
    }

    /// The objects that may claim what is found here.
    pub(crate) fn objects(&self) -> Present {
        (self.settings.claims)(&self.key)
    }

    /// When the last read of the whole began.
    pub(crate) fn read_at(&self) -> Option<Instant> {
        self.with(|snapshot| snapshot.read.map(|(at, _)| at))
    }

    /// Deletes an endpoint with the next batch, if that is permitted then. The requester is
    /// requeued after.
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

    /// Why AWS did not delete this endpoint, if it refused to; returned once.
    pub(crate) fn take_refusal(&self, id: &EndpointId) -> Option<CallError> {
        self.deletes.take_refusal(id)
    }

    /// How the region stands.
    pub(crate) fn gauges(&self) -> Gauges {
        let mut limiters = self.limiters.gauges();
        let waiting = self.deletes.len();
        for limiter in &mut limiters {
            if limiter.action == delete_batch::ACTION {
                limiter.waiting = waiting;
            }
        }
        self.with(|snapshot| Gauges {
            snapshot_at: snapshot.read.map(|(_, wall)| wall),
            paused: snapshot.pause.id().map(str::to_owned),
            limiters,
        })
    }
}

/// Waits until nobody else reads, where something is due; none where it is not, or was read
/// meanwhile.
async fn turn_to_read(reading: &AsyncMutex<()>, is_due: impl Fn() -> bool) -> Option<AsyncMutexGuard<'_, ()>> {
    if !is_due() {
        return None;
    }
    let reading = reading.lock().await;
    is_due().then_some(reading)
}

/// All regions that were read or are to be read.
#[derive(Clone)]
pub(crate) struct AccountRegions {
    settings: Settings,
    epoch: Instant,
    /// By AWS account, in no order.
    regions: Arc<Mutex<BTreeMap<AccountId, Vec<Arc<AccountRegion>>>>>,
    /// How many there are: every reconcile asks.
    count: Arc<AtomicU32>,
}

impl AccountRegions {
    /// None yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            epoch: Instant::now(),
            regions: Arc::default(),
            count: Arc::default(),
        }
    }

    /// The region, made if there is none yet.
    pub(crate) fn get(&self, key: AccountRegionKey) -> Arc<AccountRegion> {
        let mut all = self.regions.lock();
        let regions = all.entry(key.account_id.clone()).or_default();
        if let Some(region) = regions.iter().find(|region| region.key == key) {
            return region.clone();
        }
        let is_idle = |region: &Arc<AccountRegion>| region.read_at().is_none() && Arc::strong_count(region) == 1;
        if regions.iter().filter(|region| is_idle(region)).count() >= MOST_UNANSWERED {
            let before = regions.len();
            regions.retain(|region| !is_idle(region));
            let gone = u32::try_from(before - regions.len()).unwrap_or(0);
            self.count.fetch_sub(gone, Ordering::Relaxed);
        }
        let region = Arc::new(AccountRegion::new(key, self.settings.clone(), self.epoch));
        regions.push(region.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        region
    }

    /// How often everything is compared with AWS: less often where there are more regions than may
    /// be read in the interval that is set.
    pub(crate) fn resync_interval(&self) -> Duration {
        let count = self.count.load(Ordering::Relaxed);
        let all = Duration::from_mins(1) * count / self.settings.refreshes_per_minute.get();
        all.max(self.settings.resync)
    }

    /// The endpoints in an AWS account that cost money and that no object stands for, in the
    /// regions that were observed.
    pub(crate) fn endpoints_without_object(&self, account_id: &AccountId) -> usize {
        let here = self.of(account_id);
        here.iter().map(|region| region.endpoints_without_object()).sum()
    }

    /// The region, if it was read or is to be read.
    pub(crate) fn find(&self, key: &AccountRegionKey) -> Option<Arc<AccountRegion>> {
        let all = self.regions.lock();
        let mut regions = all.get(&key.account_id)?.iter();
        regions.find(|region| region.key == *key).cloned()
    }

    /// Those of an AWS account, in order.
    pub(crate) fn of(&self, account_id: &AccountId) -> Vec<Arc<AccountRegion>> {
        let all = self.regions.lock();
        let mut regions = all.get(account_id).cloned().unwrap_or_default();
        regions.sort_by(|a, b| a.key.cmp(&b.key));
        regions
    }

    /// All of them, for what tells of each.
    pub(crate) fn all(&self) -> Vec<Arc<AccountRegion>> {
        let all = self.regions.lock();
        all.values().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resync_interval_grows_with_the_number_of_regions_beyond_what_may_be_read_in_it() {
        let regions = AccountRegions::new(Settings {
            clusters: "c".into(),
            poll: Duration::from_secs(5),
            settle: Duration::ZERO,
            resync: Duration::from_mins(5),
            refreshes_per_minute: NonZeroU32::new(20).expect("more than none"),
            limits: Arc::new(Limits::new([])),
            requeue: Arc::new(|_| ()),
            enqueue: Arc::new(|_| ()),
            known: Arc::new(|_| Vec::new()),
            headless: Arc::new(|_| Vec::new()),
            claims: Arc::new(|_| unreachable!("nothing is read")),
            waited: Arc::new(|_, _| ()),
        });
        let see = |numbers: std::ops::Range<u64>| {
            for number in numbers {
                regions.get(AccountRegionKey {
                    partition: Partition::Aws,
                    account_id: format!("{number:012}").parse().expect("an id"),
                    region: "eu-west-1".into(),
                });
            }
            regions.resync_interval()
        };
        assert_eq!(see(0..100), Duration::from_mins(5));
        assert_eq!(see(0..100), Duration::from_mins(5), "the same ones");
        assert_eq!(see(0..400), Duration::from_mins(20));
    }
}
