//! What a region holds that no object stands for: orphans, and what was retained.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vpce_core::observed::State;
use vpce_core::orphans::{Kind, Objects, Orphan, orphans};
use vpce_core::plan::ResourceId;

use super::ec2::{Ec2, Which};
use super::region::{LookError, Region};
use crate::context::Caches;

/// How many endpoints and groups were retained.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// When they were read; none before the first time.
    at: Option<Instant>,
    /// Endpoints that were read.
    endpoints: usize,
    /// Security groups that were read.
    groups: usize,
    /// What was retained since they were read, and when.
    since: Vec<(Instant, Kind)>,
}

impl Retained {
    fn count(&self, kind: Kind) -> usize {
        let read = match kind {
            Kind::Endpoint => self.endpoints,
            Kind::Group => self.groups,
        };
        read + self.since.iter().filter(|(_, since)| *since == kind).count()
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= age)
    }
}

/// The objects of the cluster, as the caches have them at one moment.
pub struct Present {
    names: HashSet<(String, String)>,
    ids: HashSet<String>,
}

impl Present {
    /// Those of the caches, which must have been filled.
    pub fn of(caches: &Caches) -> Self {
        let endpoints = caches.endpoints.state();
        let name = |meta: &kube::core::ObjectMeta| {
            let namespace = meta.namespace.clone().unwrap_or_default();
            (namespace, meta.name.clone().unwrap_or_default())
        };
        let ids = endpoints.iter().flat_map(|endpoint| {
            let status = &endpoint.status;
            [status.vpc_endpoint_id.clone(), status.security_group_id.clone()]
        });
        Self {
            names: endpoints.iter().map(|endpoint| name(&endpoint.metadata)).collect(),
            ids: ids.flatten().collect(),
        }
    }
}

impl Objects for Present {
    fn is_there(&self, namespace: &str, name: &str) -> bool {
        self.names.contains(&(namespace.to_owned(), name.to_owned()))
    }

    fn is_known(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

impl Region {
    fn with_retained<T>(&self, work: impl FnOnce(&mut Retained) -> T) -> T {
        work(&mut self.retained.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what was retained just now, until all of it is read again.
    pub fn count_retained(&self, id: &ResourceId) {
        let kind = match id {
            ResourceId::Endpoint(_) => Kind::Endpoint,
            ResourceId::Group(_) => Kind::Group,
        };
        self.with_retained(|retained| retained.since.push((Instant::now(), kind)));
    }

    /// The endpoints that cost money and that no object stands for: those that were retained, and the orphans of the last look.
    pub fn endpoints_without_object(&self) -> usize {
        let retained = self.with_retained(|retained| retained.count(Kind::Endpoint));
        retained + self.orphaned_endpoints.load(Ordering::Relaxed)
    }

    /// The orphans of the last read.
    pub fn orphans(&self, present: &Present) -> Vec<Orphan> {
        let endpoints = self.endpoints(|shelf| shelf.facts().cloned().collect::<Vec<_>>());
        let groups = self.groups(|shelf| shelf.facts().cloned().collect::<Vec<_>>());
        let found = orphans(&self.settings.clusters.own, present, endpoints.iter(), groups.iter());
        let endpoints = found.iter().filter(|orphan| orphan.kind == Kind::Endpoint).count();
        self.orphaned_endpoints.store(endpoints, Ordering::Relaxed);
        found
    }

    /// How many there are, by kind, and whether they were retained.
    pub fn leftovers(&self, present: &Present) -> Vec<(&'static str, bool, usize)> {
        let orphans = self.orphans(present);
        let of = |kind: Kind| orphans.iter().filter(|orphan| orphan.kind == kind).count();
        let mut found = Vec::new();
        if self.read_at().is_some() {
            found.extend([Kind::Endpoint, Kind::Group].map(|kind| (kind.as_str(), false, of(kind))));
        }
        self.with_retained(|retained| {
            if retained.at.is_some() {
                found.extend([Kind::Endpoint, Kind::Group].map(|kind| (kind.as_str(), true, retained.count(kind))));
            }
        });
        found
    }

    /// Reads what was retained, unless that was done not long ago.
    pub async fn read_retained(&self, ec2: &Ec2, max_age: Duration) -> Result<(), LookError> {
        let is_old = || self.with_retained(|retained| retained.is_older_than(max_age));
        if !is_old() {
            return Ok(());
        }
        let _nobody_else_reads = self.reading_retained.lock().await;
        if !is_old() {
            return Ok(());
        }
        let at = Instant::now();
        let cluster = self.settings.clusters.own.as_str();
        let mut endpoints = self.all_endpoints(ec2, Which::Retained(cluster)).await?;
        // What was deleted lingers in answers, and costs nothing.
        endpoints.retain(|fact| !matches!(fact.state, State::Deleting | State::Deleted));
        let endpoints = endpoints.len();
        let groups = self.all_groups(ec2, Which::Retained(cluster)).await?.len();
        self.with_retained(|retained| {
            retained.at = Some(at);
            retained.endpoints = endpoints;
            retained.groups = groups;
            retained.since.retain(|(since, _)| *since > at);
        });
        Ok(())
    }
}
