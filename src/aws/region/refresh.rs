//! Reads a region's snapshot from AWS: everything, or what is due. Reconciles that come while a
//! read is under way wait for it and share its result.

use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt as _;
use vpce_core::error::Class;
use vpce_core::ids::{EndpointId, GroupId};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup};
use vpce_core::rate::Decision;
use vpce_core::tags::Owner;

use super::cache::{self, MOST_UNCLAIMED, Ticks};
use super::limiter::Caller;
use super::orphans::Present;
use super::snapshot::Snapshot;
use super::{AccountRegion, turn_to_read};
use crate::aws::ec2::{Ec2, Which};
use crate::aws::error::CallError;

/// EC2 takes at most 200 values in a filter.
pub(super) const FILTER_VALUES: usize = 200;
/// Nobody waits for the check of what was written: it is made so many times less often than polls
/// are, so that more of it is read together.
const POLLS_A_CHECK: u32 = 6;
/// Under this name the snapshot's reads wait in the limiters of the Describe actions.
const READER: &str = "snapshot";

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) enum RefreshError {
    /// AWS allows no more reads right now.
    Busy(Duration),
    /// A call to AWS failed.
    Failed(CallError),
}

/// Which call of a read this is the first page of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its first: without a token, the read is put off.
    First,
    /// A later one, which waits for its token.
    Later,
}

impl AccountRegion {
    /// The last multiple of an interval.
    fn tick(&self, now: Instant, every: Duration) -> Instant {
        let every = every.as_nanos().max(1);
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        let late = u64::try_from(since % every).unwrap_or(0);
        now - Duration::from_nanos(late)
    }

    pub(super) fn ticks(&self, now: Instant) -> Ticks {
        Ticks {
            poll: self.tick(now, self.settings.poll),
            check: self.tick(now, self.settings.poll * POLLS_A_CHECK),
        }
    }

    /// The last time to poll.
    pub(super) fn last_poll(&self, now: Instant) -> Instant {
        self.tick(now, self.settings.poll)
    }

    /// When what is consistent at a time is read again, to see whether it is as it was written.
    pub(super) fn next_check(&self, consistent_at: Instant) -> Instant {
        let every = self.settings.poll * POLLS_A_CHECK;
        self.tick(consistent_at, every) + every
    }

    /// How long until the next time to poll.
    pub(crate) fn next_tick(&self) -> Duration {
        let now = Instant::now();
        (self.tick(now, self.settings.poll) + self.settings.poll).saturating_duration_since(now)
            + Duration::from_millis(1)
    }

    /// Makes sure that the snapshot is no older than `max_age`, and that what the owner has at work
    /// has been read since the last tick. Reads are shared: a reconcile that comes while one is
    /// under way waits for it and takes its result.
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
            let found = self.all_groups(ec2, Which::Ids(ids)).await?;
            self.with(|snapshot| snapshot.groups.add_read_of(ids, found, started));
        }
        Ok(())
    }

    /// Makes sure that the snapshot is no older than this.
    pub(crate) async fn refresh_all(&self, ec2: &Ec2, max_age: Duration) -> Result<(), RefreshError> {
        match turn_to_read(&self.reading, || self.is_old(max_age)).await {
            Some(_reading) => self.read_all(ec2).await,
            None => Ok(()),
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
        let ticks = self.ticks(Instant::now());
        self.with(|snapshot| {
            (
                snapshot.endpoints.to_read(owner, known.0, ticks),
                snapshot.groups.to_read(owner, known.1, ticks),
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
            Ok(found) => {
                self.take_in(|snapshot| snapshot.add_read_of(ids, found, started));
                self.confirm_pause(ec2).await
            }
            Err(RefreshError::Failed(error)) if error.class == Class::Transient && !error.is_expired_session() => {
                self.read_all(ec2).await?;
                for id in ids {
                    if self.with(|snapshot| snapshot.endpoints.contains(id)) {
                        continue;
                    }
                    let started = Instant::now();
                    let found = self
                        .pages("DescribeVpcEndpoints", |_| ec2.describe_endpoint(id))
                        .await?;
                    self.take_in(|snapshot| snapshot.endpoints.add_read_of(std::slice::from_ref(id), found, started));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads these endpoints now, whoever owns them.
    pub(crate) async fn read_now(&self, ec2: &Ec2, ids: &[EndpointId]) -> Result<(), RefreshError> {
        for ids in ids.chunks(FILTER_VALUES) {
            self.read_endpoints(ec2, ids).await?;
        }
        Ok(())
    }

    async fn read_all(&self, ec2: &Ec2) -> Result<(), RefreshError> {
        let clusters: Vec<&str> = self.settings.clusters.ids().collect();
        let started = Instant::now();
        let wall = SystemTime::now();
        let objects = self.objects();
        let which = Which::Clusters(&clusters);
        let mut endpoints = cache::FullRead::default();
        self.each_page(
            "DescribeVpcEndpoints",
            Part::First,
            |page| ec2.describe_endpoints(&which, page),
            |page| {
                self.with(|snapshot| snapshot.endpoints.add_page(page, started, &objects, &mut endpoints));
            },
        )
        .await?;
        // Boxed, or the types of the futures above it grow too deep for the compiler.
        self.read_untagged(ec2, started, &objects, &mut endpoints)
            .boxed()
            .await?;
        let which = Which::Clusters(&clusters);
        let mut groups = cache::FullRead::default();
        self.each_page(
            "DescribeSecurityGroups",
            Part::Later,
            |page| ec2.describe_groups(&which, page),
            |page| {
                self.with(|snapshot| snapshot.groups.add_page(page, started, &objects, &mut groups));
            },
        )
        .await?;
        let omitted = self.take_in(|snapshot| {
            snapshot.endpoints.finish_full_read(&endpoints, started);
            snapshot.groups.finish_full_read(&groups, started);
            snapshot.read = Some((started, wall));
            snapshot.stale = false;
            snapshot.endpoints.omitted() + snapshot.groups.omitted()
        });
        if omitted > 0 {
            tracing::warn!(
                account_id = self.key.account_id.as_str(),
                region = self.key.region.as_str(),
                kept = MOST_UNCLAIMED,
                omitted,
                "too many resources carry this cluster's tag and belong to no object: the rest is only counted"
            );
        }
        self.confirm_pause(ec2).await
    }

    /// Reads the endpoints that objects observe, or have not tagged yet, as a part of a read of
    /// everything.
    async fn read_untagged(
        &self,
        ec2: &Ec2,
        started: Instant,
        objects: &Present,
        full_read: &mut cache::FullRead<EndpointId>,
    ) -> Result<(), RefreshError> {
        let untagged = self.with(|snapshot| snapshot.endpoints.untagged(objects, full_read));
        for ids in untagged.chunks(FILTER_VALUES) {
            let which = Which::Ids(ids);
            self.each_page(
                "DescribeVpcEndpoints",
                Part::Later,
                |page| ec2.describe_endpoints(&which, page),
                |page| {
                    self.with(|snapshot| snapshot.endpoints.add_page(page, started, objects, full_read));
                },
            )
            .await?;
        }
        Ok(())
    }

    /// Takes in what a read found. In the same moment, before a reconcile acts on it, creation is
    /// paused if many have vanished.
    pub(super) fn take_in<T>(&self, take_in: impl FnOnce(&mut Snapshot) -> T) -> T {
        let known = (self.settings.known)(&self.key);
        self.with(|snapshot| {
            let result = take_in(snapshot);
            snapshot.detect_mass_deletion(&self.key, &known);
            result
        })
    }

    /// Reads all pages; each takes a token of its own.
    pub(super) async fn pages<Item, Response>(
        &self,
        action: &'static str,
        mut read: impl FnMut(Option<String>) -> Response,
    ) -> Result<Vec<Item>, RefreshError>
    where
        Response: Future<Output = Result<(Vec<Item>, Option<String>), CallError>>,
    {
        let mut all = Vec::new();
        self.each_page(action, Part::First, &mut read, |page| all.extend(page))
            .await?;
        Ok(all)
    }

    /// Reads all pages, and passes each on before it reads the next.
    pub(super) async fn each_page<Item, Response>(
        &self,
        action: &'static str,
        part: Part,
        mut read: impl FnMut(Option<String>) -> Response,
        mut take: impl FnMut(Vec<Item>),
    ) -> Result<(), RefreshError>
    where
        Response: Future<Output = Result<(Vec<Item>, Option<String>), CallError>>,
    {
        let mut token = None;
        loop {
            while let Decision::Wait(time) = self.acquire(action, &Caller::of_the_operator(READER)) {
                if token.is_none() && part == Part::First {
                    return Err(RefreshError::Busy(time));
                }
                // To start again would cost what was read already, and wait for a token here again.
                tokio::time::sleep(time).await;
            }
            // Boxed, or the types of the futures above it grow too deep for the compiler.
            let (page, next) = Box::pin(read(token)).await.map_err(|error| {
                if error.class == Class::Throttled {
                    self.throttled(action);
                }
                RefreshError::Failed(error)
            })?;
            take(page);
            match next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    pub(super) async fn all_endpoints(
        &self,
        ec2: &Ec2,
        which: Which<'_, EndpointId>,
    ) -> Result<Vec<ObservedEndpoint>, RefreshError> {
        self.pages("DescribeVpcEndpoints", |page| ec2.describe_endpoints(&which, page))
            .await
    }

    /// Reads endpoints of a name, of any owner; they do not become part of the snapshot.
    pub(crate) async fn named(&self, ec2: &Ec2, name: &str) -> Result<Vec<ObservedEndpoint>, RefreshError> {
        self.all_endpoints(ec2, Which::Named(name)).await
    }

    async fn all_groups(&self, ec2: &Ec2, which: Which<'_, GroupId>) -> Result<Vec<ObservedGroup>, RefreshError> {
        self.pages("DescribeSecurityGroups", |page| ec2.describe_groups(&which, page))
            .await
    }

    /// Reads groups of any owner; they do not become part of the snapshot.
    pub(crate) async fn read_groups(&self, ec2: &Ec2, ids: &[GroupId]) -> Result<Vec<ObservedGroup>, RefreshError> {
        let mut all = Vec::new();
        for ids in ids.chunks(FILTER_VALUES) {
            all.extend(self.all_groups(ec2, Which::Ids(ids)).await?);
        }
        Ok(all)
    }
}
