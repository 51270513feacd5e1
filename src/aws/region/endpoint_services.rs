//! The endpoint services of a region, with who may connect to them and who is connected: read for
//! all objects together, and kept with our own writes on top until they are read again.
//!
//! In a resync interval a region at rest costs one describe of all services, one of the connections
//! of all of them, and for each service one of its principals: EC2 has no such call for several.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use vpce_core::endpoint_service::{Connection, Effect, ObservedEndpointService};
use vpce_core::ids::EndpointServiceId;
use vpce_core::observed::State;
use vpce_core::orphans::{Objects, Unclaimed};
use vpce_core::ownership::Candidates;
use vpce_core::tags::{Clusters, Owner};

use super::cache::{FullRead, ResourceCache};
use super::refresh::{FILTER_VALUES, Part};
use super::{AccountRegion, RefreshError, turn_to_read};
use crate::aws::ec2::{Ec2, Which};
use crate::aws::error::CallError;

const SERVICES: &str = "DescribeVpcEndpointServiceConfigurations";
const PRINCIPALS: &str = "DescribeVpcEndpointServicePermissions";
const CONNECTIONS: &str = "DescribeVpcEndpointConnections";

/// What another action than that of the services tells of one.
#[derive(Debug)]
struct Detail<T> {
    value: T,
    /// When the read began that it comes from, or when we wrote it.
    read: Instant,
    /// Reads that began before this do not undo what we wrote.
    consistent_at: Option<Instant>,
}

impl<T> Detail<T> {
    /// Whether it is worth a read now.
    fn is_due(&self, now: Instant, max_age: Duration) -> bool {
        let settled = self.consistent_at.is_some_and(|at| at <= now && self.read < at);
        settled || now.saturating_duration_since(self.read) >= max_age
    }
}

/// One such detail of every service of which it was read.
type Details<T> = HashMap<EndpointServiceId, Detail<T>>;

/// Takes in what a read found, unless what we wrote is not consistent yet.
fn add<T>(details: &mut Details<T>, id: EndpointServiceId, value: T, read: Instant) {
    let is_inconsistent = |known: &Detail<T>| known.consistent_at.is_some_and(|at| at > read);
    if !details.get(&id).is_some_and(is_inconsistent) {
        let consistent_at = None;
        details.insert(
            id,
            Detail {
                value,
                read,
                consistent_at,
            },
        );
    }
}

/// What is known of the endpoint services of a region.
struct Known {
    services: ResourceCache<ObservedEndpointService>,
    principals: Details<BTreeSet<String>>,
    connections: Details<Vec<Connection>>,
    /// When the last read of all services began.
    read: Option<Instant>,
    /// When the last read failed, and why.
    failed: Option<(Instant, CallError)>,
    /// Whether the next read has to read everything, however young the last is.
    stale: bool,
    settle: Duration,
}

impl Known {
    /// Whether the connections of a service are to be read: AWS is at work on some, or all are old.
    /// Or an endpoint has come to wait for acceptance since.
    fn connections_are_due(&self, id: &EndpointServiceId, now: Instant, poll: Instant, max_age: MaxAge) -> bool {
        self.connections.get(id).is_none_or(|known| {
            let at_work = known.value.iter().any(|one| one.state == State::Pending);
            let awaited = max_age.awaited.is_some_and(|awaited| known.read <= awaited);
            ((at_work || awaited) && known.read < poll) || known.is_due(now, max_age.all)
        })
    }

    fn is_old(&self, max_age: Duration) -> bool {
        self.stale || self.read.is_none_or(|at| at.elapsed() >= max_age)
    }

    fn record(&mut self, effect: Effect<'_>, now: Instant) {
        let consistent_at = Some(now + self.settle);
        match effect {
            Effect::Unknown => {}
            Effect::Created(service) => {
                let id = service.id.clone();
                self.services.created(service, now);
                let (principals, connections) = (BTreeSet::new(), Vec::new());
                let new = Detail {
                    value: principals,
                    read: now,
                    consistent_at,
                };
                self.principals.insert(id.clone(), new);
                let new = Detail {
                    value: connections,
                    read: now,
                    consistent_at: None,
                };
                self.connections.insert(id, new);
            }
            Effect::Changed(id, change) => self.services.changed(id, now, change),
            Effect::PrincipalsChanged(id, change) => {
                if let Some(known) = self.principals.get_mut(id) {
                    change(&mut known.value);
                    (known.read, known.consistent_at) = (now, consistent_at);
                }
            }
            Effect::ConnectionsChanged(id, change) => {
                if let Some(known) = self.connections.get_mut(id) {
                    change(&mut known.value);
                    (known.read, known.consistent_at) = (now, consistent_at);
                }
            }
        }
    }

    /// Forgets the details of services that are gone.
    fn forget_gone(&mut self) {
        let services = &self.services;
        self.principals.retain(|id, _| services.contains(id));
        self.connections.retain(|id, _| services.contains(id));
    }
}

/// The endpoint services of a region.
pub(super) struct EndpointServices {
    known: Mutex<Known>,
    reading: AsyncMutex<()>,
}

impl EndpointServices {
    /// Nothing was read yet.
    pub(super) fn new(clusters: &Clusters, settle: Duration) -> Self {
        let known = Known {
            services: ResourceCache::new(clusters.clone(), settle),
            principals: HashMap::new(),
            connections: HashMap::new(),
            read: None,
            failed: None,
            stale: false,
            settle,
        };
        Self {
            known: Mutex::new(known),
            reading: AsyncMutex::default(),
        }
    }
}

/// What may be an object's among the endpoint services of a region.
#[derive(Debug)]
pub(crate) struct FoundService {
    /// The services.
    pub(crate) candidates: Candidates<ObservedEndpointService>,
    /// When what we wrote is consistent and is to be read again.
    pub(crate) settles_at: Option<Instant>,
}

/// Who may connect to a service, and who is connected; none of what was not read.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    /// The principals that are allowed.
    pub(crate) principals: Option<BTreeSet<String>>,
    /// The connections.
    pub(crate) connections: Option<Vec<Connection>>,
    /// When the read of the connections began.
    pub(crate) connections_read: Option<Instant>,
}

/// How old what is known may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxAge {
    /// Of everything.
    pub(crate) all: Duration,
    /// Since when an endpoint is known to wait for acceptance: connections that were read before
    /// are read again, at most once a poll.
    pub(crate) awaited: Option<Instant>,
}

impl AccountRegion {
    fn services<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.endpoint_services.known.lock())
    }

    /// What is known for an owner.
    pub(crate) fn find_endpoint_service(&self, owner: &Owner, known: Option<&EndpointServiceId>) -> FoundService {
        self.services(|all| FoundService {
            candidates: all.services.candidates(owner, known),
            settles_at: all.services.settles_at(owner).map(|at| self.next_check(at)),
        })
    }

    /// Who may connect to a service, and who is connected.
    pub(crate) fn consumers_of(&self, id: &EndpointServiceId) -> Consumers {
        self.services(|all| {
            let connections = all.connections.get(id);
            Consumers {
                principals: all.principals.get(id).map(|known| known.value.clone()),
                connections: connections.map(|known| known.value.clone()),
                connections_read: connections.map(|known| known.read),
            }
        })
    }

    /// Takes in what a step of ours has changed, until it is read.
    pub(crate) fn record_endpoint_service(&self, effect: Effect<'_>) {
        self.services(|all| all.record(effect, Instant::now()));
    }

    /// The next refresh reads all services: what we made may be missing, since a response was lost.
    pub(crate) fn invalidate_endpoint_services(&self) {
        self.services(|all| all.stale = true);
    }

    /// The next refresh reads the connections of a service: what is known of them is out of date.
    pub(crate) fn invalidate_connections(&self, id: &EndpointServiceId) {
        self.services(|all| all.connections.remove(id));
    }

    /// What no object claims of the last read, of what is kept; and how many there were beside.
    pub(super) fn unclaimed_endpoint_services(&self, objects: &impl Objects) -> (Vec<(String, Unclaimed)>, usize) {
        self.services(|all| (all.services.unclaimed(objects), all.services.omitted()))
    }

    /// Makes sure that all endpoint services were read no longer ago than this.
    pub(crate) async fn refresh_all_endpoint_services(&self, ec2: &Ec2, max_age: Duration) -> Result<(), RefreshError> {
        let is_old = || self.services(|all| all.is_old(max_age));
        match turn_to_read(&self.endpoint_services.reading, is_old).await {
            Some(_reading) => self.read_all_services(ec2, &self.objects()).await,
            None => Ok(()),
        }
    }

    /// When the last read of all services began.
    pub(crate) fn endpoint_services_read_at(&self) -> Option<Instant> {
        self.services(|all| all.read)
    }

    /// Makes sure that what is known of the endpoint services is no older than `max_age`, and that
    /// what the owner has at work has been read since the last tick. Reads are shared, as those of
    /// endpoints are.
    pub(crate) async fn refresh_endpoint_services<O: Objects>(
        &self,
        ec2: &Ec2,
        objects: impl Fn() -> O,
        owner: &Owner,
        known: Option<&EndpointServiceId>,
        max_age: MaxAge,
    ) -> Result<(), RefreshError> {
        let _reading = self.endpoint_services.reading.lock().await;
        let failed = self.services(|all| all.failed.clone());
        if let Some((at, error)) = failed
            && at.elapsed() < self.settings.poll
        {
            return Err(RefreshError::Failed(error));
        }
        let result = self.read_services(ec2, objects, owner, known, max_age).await;
        self.services(|all| {
            all.failed = match &result {
                Err(RefreshError::Failed(error)) => Some((Instant::now(), error.clone())),
                Ok(()) | Err(RefreshError::Busy(_)) => None,
            }
        });
        result
    }

    async fn read_services<O: Objects>(
        &self,
        ec2: &Ec2,
        objects: impl Fn() -> O,
        owner: &Owner,
        known: Option<&EndpointServiceId>,
        max_age: MaxAge,
    ) -> Result<(), RefreshError> {
        if self.services(|all| all.is_old(max_age.all)) {
            self.read_all_services(ec2, &objects()).await?;
        }
        let ticks = self.ticks(Instant::now());
        let due = self.services(|all| all.services.to_read(owner, known, ticks));
        for ids in due.chunks(FILTER_VALUES) {
            let started = Instant::now();
            let which = Which::Ids(ids);
            let found = self
                .pages(SERVICES, |page| ec2.describe_endpoint_services(&which, page))
                .await?;
            self.services(|all| all.services.add_read_of(ids, found, started));
        }
        let found = self.find_endpoint_service(owner, known).candidates;
        let by_id = known.filter(|id| self.services(|all| all.services.stays(id)));
        let own = by_id.into_iter().chain(found.by_tags.iter().map(|service| &service.id));
        let own: BTreeSet<EndpointServiceId> = own.cloned().collect();
        self.read_connections(ec2, &own, max_age).await?;
        for id in &own {
            self.read_principals(ec2, id, max_age.all).await?;
        }
        Ok(())
    }

    async fn read_all_services(&self, ec2: &Ec2, objects: &impl Objects) -> Result<(), RefreshError> {
        let clusters: Vec<&str> = self.settings.clusters.ids().collect();
        let started = Instant::now();
        let which = Which::Clusters(&clusters);
        let mut full_read = FullRead::default();
        self.each_page(
            SERVICES,
            Part::First,
            |page| ec2.describe_endpoint_services(&which, page),
            |page| self.services(|all| all.services.add_page(page, started, objects, &mut full_read)),
        )
        .await?;
        self.services(|all| {
            all.services.finish_full_read(&full_read, started);
            all.forget_gone();
            (all.read, all.stale) = (Some(started), false);
        });
        Ok(())
    }

    /// Reads the connections of these services, if they are due; those of all others are read with
    /// them, so that they are due together from then on.
    async fn read_connections(
        &self,
        ec2: &Ec2,
        own: &BTreeSet<EndpointServiceId>,
        max_age: MaxAge,
    ) -> Result<(), RefreshError> {
        let now = Instant::now();
        let poll = self.last_poll(now);
        let ids: Vec<EndpointServiceId> = self.services(|all| {
            let mut own = own.iter();
            if !own.any(|id| all.connections_are_due(id, now, poll, max_age)) {
                return Vec::new();
            }
            all.services.staying().cloned().collect()
        });
        for ids in ids.chunks(FILTER_VALUES) {
            let started = Instant::now();
            let found = self
                .pages(CONNECTIONS, |page| ec2.describe_connections(ids, page))
                .await?;
            let mut by_service: HashMap<EndpointServiceId, Vec<Connection>> =
                ids.iter().map(|id| (id.clone(), Vec::new())).collect();
            for (id, connection) in found {
                by_service.entry(id).or_default().push(connection);
            }
            self.services(|all| {
                for (id, connections) in by_service {
                    add(&mut all.connections, id, connections, started);
                }
            });
        }
        Ok(())
    }

    async fn read_principals(&self, ec2: &Ec2, id: &EndpointServiceId, max_age: Duration) -> Result<(), RefreshError> {
        let now = Instant::now();
        let is_due = self.services(|all| {
            let known = all.principals.get(id);
            known.is_none_or(|known| known.is_due(now, max_age))
        });
        if !is_due {
            return Ok(());
        }
        let found = self.pages(PRINCIPALS, |page| ec2.describe_principals(id, page)).await?;
        let principals = found.into_iter().collect();
        self.services(|all| add(&mut all.principals, id.clone(), principals, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
