//! What a region holds that no object stands for: orphans, and what was retained.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use vpce_core::orphans::{Kind, Objects, Orphan, orphans};

use super::ec2::{Ec2, Which};
use super::region::{LookError, Region};
use crate::context::Caches;

/// How many endpoints and groups were retained, and when that was read.
#[derive(Debug, Clone, Copy)]
pub struct Retained {
    at: Instant,
    /// Endpoints.
    pub endpoints: usize,
    /// Security groups.
    pub groups: usize,
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
    /// What was retained here, if that has been read.
    fn retained(&self) -> Option<Retained> {
        *self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orphans of the last read.
    pub fn orphans(&self, present: &Present) -> Vec<Orphan> {
        let endpoints = self.endpoints(|shelf| shelf.facts().cloned().collect::<Vec<_>>());
        let groups = self.groups(|shelf| shelf.facts().cloned().collect::<Vec<_>>());
        orphans(&self.settings.clusters.own, present, endpoints.iter(), groups.iter())
    }

    /// How many there are, by kind, and whether they were retained.
    pub fn leftovers(&self, present: &Present) -> Vec<(&'static str, bool, usize)> {
        let orphans = self.orphans(present);
        let of = |kind: Kind| orphans.iter().filter(|orphan| orphan.kind == kind).count();
        let mut found = Vec::new();
        if self.read_at().is_some() {
            found.extend([Kind::Endpoint, Kind::Group].map(|kind| (kind.as_str(), false, of(kind))));
        }
        if let Some(Retained { endpoints, groups, .. }) = self.retained() {
            found.push((Kind::Endpoint.as_str(), true, endpoints));
            found.push((Kind::Group.as_str(), true, groups));
        }
        found
    }

    /// Reads what was retained, unless that was done not long ago.
    pub async fn read_retained(&self, ec2: &Ec2, max_age: Duration) -> Result<(), LookError> {
        if self.retained().is_some_and(|retained| retained.at.elapsed() < max_age) {
            return Ok(());
        }
        let at = Instant::now();
        let cluster = self.settings.clusters.own.as_str();
        let endpoints = self.all_endpoints(ec2, Which::Retained(cluster)).await?.len();
        let groups = self.all_groups(ec2, Which::Retained(cluster)).await?.len();
        let retained = Retained { at, endpoints, groups };
        *self.retained.lock().unwrap_or_else(PoisonError::into_inner) = Some(retained);
        Ok(())
    }
}
