//! What a region has that belongs to no object: orphans, and what was retained.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kube::Resource;
use vpce_core::ids::AccountId;
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::{ObservedEndpoint, State};
use vpce_core::orphans::{Objects, Orphan, ResourceKind, orphans};
use vpce_core::plan::ResourceId;

use super::refresh::Part;
use super::{AccountRegion, RefreshError, turn_to_read};
use crate::aws::ec2::{Ec2, Which};
use crate::k8s::caches::{Caches, Endpoint, EndpointService};

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
    since: Vec<(Instant, ResourceKind)>,
}

impl Retained {
    fn count(&self, kind: ResourceKind) -> usize {
        let read = match kind {
            ResourceKind::Endpoint => self.endpoints,
            ResourceKind::Group => self.groups,
            // They cost nothing by themselves, so that what was retained of them is not counted.
            ResourceKind::EndpointService => 0,
        };
        read + self.since.iter().filter(|(_, since)| *since == kind).count()
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= age)
    }
}

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Endpoints.
    pub(crate) endpoints: usize,
    /// Security groups.
    pub(crate) groups: usize,
    /// Endpoint services; none where they have not been read.
    pub(crate) endpoint_services: Option<usize>,
}

/// The objects of the cluster, and the ids that the statuses of those know that are bound to one
/// AWS account.
pub(crate) struct Present {
    caches: Caches,
    ids: HashSet<String>,
}

impl Present {
    /// Those of the caches, which must have been filled, for an AWS account.
    pub(crate) fn of(caches: &Caches, account_id: &AccountId) -> Self {
        let here = caches.bound_to_account_id(account_id.as_str());
        let services = caches.endpoint_services_bound_to_account_id(account_id.as_str());
        let services = services.iter().filter_map(|service| service.status.service_id.clone());
        let ids = here.iter().flat_map(|endpoint| {
            let status = &endpoint.status;
            let named = endpoint
                .spec
                .as_ref()
                .ok()
                .and_then(|spec| spec.vpc_endpoint_id.clone());
            [
                status.vpc_endpoint_id.clone().or(named),
                status.security_group_id.clone(),
            ]
        });
        Self {
            caches: caches.clone(),
            ids: ids.flatten().chain(services).collect(),
        }
    }
}

impl Objects for Present {
    fn lacks(&self, object: &ObjectKey, kind: ResourceKind) -> bool {
        let ObjectKey {
            kind: of,
            namespace,
            name,
        } = object;
        let (endpoint, service) = match kind {
            ResourceKind::Endpoint | ResourceKind::Group => (self.caches.endpoint(namespace, name), None),
            ResourceKind::EndpointService => (None, self.caches.endpoint_service(namespace, name)),
        };
        let endpoint = endpoint.filter(|_| *of == Endpoint::kind(&()));
        let service = service.filter(|_| *of == EndpointService::kind(&()));
        endpoint.is_some_and(|endpoint| match kind {
            ResourceKind::Group => endpoint.status.security_group_id.is_none(),
            ResourceKind::Endpoint | ResourceKind::EndpointService => endpoint.status.vpc_endpoint_id.is_none(),
        }) || service.is_some_and(|service| service.status.service_id.is_none())
    }

    fn is_known(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

impl AccountRegion {
    fn with_retained<T>(&self, work: impl FnOnce(&mut Retained) -> T) -> T {
        work(&mut self.retained.lock())
    }

    /// Counts what was retained just now, until all of it is read again.
    pub(crate) fn count_retained(&self, id: &ResourceId) {
        let kind = match id {
            ResourceId::Endpoint(_) => ResourceKind::Endpoint,
            ResourceId::Group(_) => ResourceKind::Group,
        };
        self.with_retained(|retained| retained.since.push((Instant::now(), kind)));
    }

    /// The endpoints that cost money and that no object stands for: those that were retained, and
    /// the orphans of the last read.
    pub(crate) fn endpoints_without_object(&self) -> usize {
        let retained = self.with_retained(|retained| retained.count(ResourceKind::Endpoint));
        retained + self.orphaned_endpoints.load(Ordering::Relaxed)
    }

    /// The orphans of the last read, of those that are kept; and how many there are in all.
    pub(crate) fn orphans(&self, present: &Present) -> (Vec<Orphan>, usize) {
        let (endpoints, further_endpoints) = self.endpoints(|cache| (cache.unclaimed(present), cache.omitted()));
        let (groups, further_groups) = self.groups(|cache| (cache.unclaimed(present), cache.omitted()));
        let (services, further_services) = self.unclaimed_endpoint_services(present);
        let found = endpoints
            .iter()
            .chain(&groups)
            .map(|(id, summary)| (id.as_str(), summary));
        let services = services.iter().map(|(id, summary)| (id.as_str(), summary));
        let orphans = orphans(present, found.chain(services));
        let of = |kind: ResourceKind| orphans.iter().filter(|orphan| orphan.kind == kind).count();
        let counts = Counts {
            endpoints: of(ResourceKind::Endpoint) + further_endpoints,
            groups: of(ResourceKind::Group) + further_groups,
            endpoint_services: self
                .endpoint_services_read_at()
                .map(|_| of(ResourceKind::EndpointService) + further_services),
        };
        // What is not proven could use up an AWSAccount's limit: any identity that may tag could
        // add it.
        let is_ours = |orphan: &&Orphan| orphan.kind == ResourceKind::Endpoint && orphan.proof.is_some();
        let proven = orphans.iter().filter(is_ours).count();
        self.orphaned_endpoints.store(proven, Ordering::Relaxed);
        if self.read_at().is_some() {
            *self.orphaned.lock() = Some(counts);
        }
        let count = counts.endpoints + counts.groups + counts.endpoint_services.unwrap_or_default();
        (orphans, count)
    }

    /// How many the last read found, by kind, and whether they were retained.
    pub(crate) fn orphan_counts(&self) -> Vec<(&'static str, bool, usize)> {
        let orphaned = *self.orphaned.lock();
        let mut found = Vec::new();
        if let Some(Counts {
            endpoints,
            groups,
            endpoint_services,
        }) = orphaned
        {
            found.push((ResourceKind::Endpoint.as_str(), false, endpoints));
            found.push((ResourceKind::Group.as_str(), false, groups));
            let services = endpoint_services.map(|count| (ResourceKind::EndpointService.as_str(), false, count));
            found.extend(services);
        }
        self.with_retained(|retained| {
            if retained.at.is_some() {
                found.extend(
                    [ResourceKind::Endpoint, ResourceKind::Group]
                        .map(|kind| (kind.as_str(), true, retained.count(kind))),
                );
            }
        });
        found
    }

    /// Reads what was retained, unless that was done not long ago.
    pub(crate) async fn read_retained(&self, ec2: &Ec2, max_age: Duration) -> Result<(), RefreshError> {
        let is_old = || self.with_retained(|retained| retained.is_older_than(max_age));
        let Some(_reading) = turn_to_read(&self.reading_retained, is_old).await else {
            return Ok(());
        };
        let at = Instant::now();
        let cluster = self.settings.clusters.own.as_str();
        let which = Which::Retained(cluster);
        let (mut endpoints, mut groups) = (0, 0);
        self.each_page(
            "DescribeVpcEndpoints",
            Part::First,
            |page| ec2.describe_endpoints(&which, page),
            |page| {
                // What was deleted is still described for a while, and costs nothing.
                let is_there =
                    |endpoint: &&ObservedEndpoint| !matches!(endpoint.state, State::Deleting | State::Deleted);
                endpoints += page.iter().filter(is_there).count();
            },
        )
        .await?;
        let which = Which::Retained(cluster);
        self.each_page(
            "DescribeSecurityGroups",
            Part::Later,
            |page| ec2.describe_groups(&which, page),
            |page| groups += page.len(),
        )
        .await?;
        self.with_retained(|retained| {
            retained.at = Some(at);
            retained.endpoints = endpoints;
            retained.groups = groups;
            retained.since.retain(|(since, _)| *since > at);
        });
        Ok(())
    }
}
