//! The load balancers that Services of type LoadBalancer have in a region, by their names: read for
//! all objects that offer one together.
//!
//! For one that is not there the whole call fails. So a call that failed is divided until it is
//! known which those are, and they are only read for their own object from then on, each by itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use vpce_core::endpoint_service::{LoadBalancerState, NETWORK, ObservedLoadBalancer};
use vpce_core::rate::LOAD_BALANCING_READS;

use super::addresses::Oldest;
use super::refresh::Part;
use super::{AccountRegion, RefreshError, turn_to_read};
use crate::aws::elb::{Elb, Tags};
use crate::aws::error::CallError;

/// Elastic Load Balancing takes so many names or ARNs in a call at most.
const MOST_NAMED: usize = 20;
/// What AWS answers where a load balancer is not there.
const NOT_FOUND: &str = "LoadBalancerNotFound";
/// What no reconcile has asked for in this time is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(3);

/// What was read by a name.
struct Known {
    /// None where there was no load balancer of this name.
    found: Option<ObservedLoadBalancer>,
    /// When the read began.
    read: Instant,
}

impl Known {
    /// Whether AWS is at work on it, or may be about to.
    fn is_changing(&self) -> bool {
        self.found.as_ref().is_none_or(|found| match found.state {
            LoadBalancerState::Provisioning | LoadBalancerState::Other(_) => true,
            LoadBalancerState::Active | LoadBalancerState::ActiveImpaired | LoadBalancerState::Failed => false,
        })
    }

    fn is_old(&self, oldest: Oldest) -> bool {
        oldest.resync.is_some_and(|resync| self.read <= resync)
    }

    fn is_due(&self, oldest: Oldest) -> bool {
        self.is_old(oldest) || (self.is_changing() && self.read < oldest.poll)
    }
}

/// What an object asks for.
struct Asked {
    names: BTreeSet<String>,
    /// When it last did.
    at: Instant,
    /// When a read last began in which there were names of it that were not known.
    read_unknown: Option<Instant>,
}

/// Which names are to be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// In as few calls as possible.
    together: Vec<String>,
    /// Each by itself: the last read did not find them.
    missing: Vec<String>,
}

/// The load balancers of a region; no clock, no calls.
#[derive(Default)]
struct Cache {
    /// By their names.
    known: HashMap<String, Known>,
    /// By the UIDs of the objects.
    asked: HashMap<String, Asked>,
    /// When the last read failed, and why.
    failed: Option<(Instant, CallError)>,
}

impl Cache {
    fn ask(&mut self, object: &str, names: &BTreeSet<String>, now: Instant) {
        let asked = self.asked.entry(object.to_owned()).or_insert_with(|| Asked {
            names: BTreeSet::new(),
            at: now,
            read_unknown: None,
        });
        asked.at = now;
        if asked.names != *names {
            asked.names.clone_from(names);
        }
    }

    fn is_due(&self, name: &str, oldest: Oldest) -> bool {
        self.known.get(name).is_none_or(|known| known.is_due(oldest))
    }

    fn are_due(&self, names: &BTreeSet<String>, oldest: Oldest) -> bool {
        names.iter().any(|name| self.is_due(name, oldest))
    }

    fn are_known(&self, names: &BTreeSet<String>) -> bool {
        names.iter().all(|name| self.known.contains_key(name))
    }

    /// Whether names that are not known wait for the next poll, since the object has had others
    /// read in this one: with the right to write the status of a Service, any number can be named.
    fn is_too_early(&self, object: &str, names: &BTreeSet<String>, oldest: Oldest) -> bool {
        let last = self.asked.get(object).and_then(|asked| asked.read_unknown);
        !self.are_known(names) && last.is_some_and(|last| last >= oldest.poll)
    }

    /// The names to read for an object, and those of others that are due, too. If one is old, all
    /// are read, so that they are due together from then on.
    fn due(&self, names: &BTreeSet<String>, oldest: Oldest, now: Instant) -> Due {
        let known = names.iter().filter_map(|name| self.known.get(name));
        let is_old = known.clone().any(|known| known.is_old(oldest));
        let of_others = Oldest {
            resync: is_old.then_some(now),
            ..oldest
        };
        let is_missing = |name: &str| self.known.get(name).is_some_and(|known| known.found.is_none());
        let own = names.iter().filter(|name| self.is_due(name, oldest));
        let (missing, own): (Vec<&String>, Vec<&String>) = own.partition(|name| is_missing(name));
        let others = self.asked.values().flat_map(|asked| &asked.names);
        let others = others.filter(|name| !names.contains(*name) || is_old);
        let others = others.filter(|name| !is_missing(name) && self.is_due(name, of_others));
        let together: BTreeSet<&String> = own.into_iter().chain(others).collect();
        Due {
            together: together.into_iter().cloned().collect(),
            missing: missing.into_iter().cloned().collect(),
        }
    }

    /// Takes in a read by these names.
    fn add(&mut self, names: &[String], found: &[ObservedLoadBalancer], read: Instant) {
        for name in names {
            let found = found
                .iter()
                .find(|found| found.name.eq_ignore_ascii_case(name))
                .cloned();
            self.known.insert(name.clone(), Known { found, read });
        }
    }

    /// Forgets objects that ask no more, and what no other asks for.
    fn forget(&mut self, now: Instant) {
        let is_recent = |asked: &Asked| now.saturating_duration_since(asked.at) < FORGOTTEN_AFTER;
        self.asked.retain(|_, asked| is_recent(asked));
        let wanted: HashSet<&String> = self.asked.values().flat_map(|asked| &asked.names).collect();
        self.known.retain(|name, _| wanted.contains(name));
    }
}

/// The load balancers of a region.
#[derive(Default)]
pub(super) struct LoadBalancers {
    cache: Mutex<Cache>,
    reading: AsyncMutex<()>,
}

impl AccountRegion {
    fn balancers<T>(&self, work: impl FnOnce(&mut Cache) -> T) -> T {
        work(&mut self.load_balancers.cache.lock())
    }

    /// The load balancers of these names, as they were last read.
    pub(crate) fn load_balancers(&self, names: &BTreeSet<String>) -> Vec<ObservedLoadBalancer> {
        self.balancers(|all| {
            let known = names.iter().filter_map(|name| all.known.get(name));
            known.filter_map(|known| known.found.clone()).collect()
        })
    }

    /// Makes sure that the load balancers that an object offers, by its UID, are known, and were
    /// read no longer ago than `max_age`; what AWS is at work on, or was not there, since the last
    /// tick. Reads are shared, as those of endpoints are.
    pub(crate) async fn refresh_load_balancers(
        &self,
        elb: &Elb,
        object: &str,
        names: &BTreeSet<String>,
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        self.balancers(|all| all.ask(object, names, Instant::now()));
        let are_due = || self.balancers(|all| all.are_due(names, self.oldest(max_age)));
        let Some(_reading) = turn_to_read(&self.load_balancers.reading, are_due).await else {
            return Ok(());
        };
        let failed = self.balancers(|all| all.failed.clone());
        if let Some((at, error)) = failed
            && at.elapsed() < self.settings.poll
        {
            return Err(RefreshError::Failed(error));
        }
        let oldest = self.oldest(max_age);
        if self.balancers(|all| all.is_too_early(object, names, oldest)) {
            return Err(RefreshError::Busy(self.next_tick()));
        }
        let result = self.read_load_balancers(elb, object, names, oldest).await;
        self.balancers(|all| {
            all.failed = match &result {
                Err(RefreshError::Failed(error)) => Some((Instant::now(), error.clone())),
                Ok(()) | Err(RefreshError::Busy(_)) => None,
            }
        });
        result
    }

    async fn read_load_balancers(
        &self,
        elb: &Elb,
        object: &str,
        names: &BTreeSet<String>,
        oldest: Oldest,
    ) -> Result<(), RefreshError> {
        let now = Instant::now();
        let (due, are_known) = self.balancers(|all| {
            all.forget(now);
            (all.due(names, oldest, now), all.are_known(names))
        });
        let Due { together, missing } = due;
        let mut left: Vec<Vec<String>> = missing.into_iter().map(|name| vec![name]).collect();
        left.extend(together.chunks(MOST_NAMED).map(<[String]>::to_vec));
        let mut part = Part::First;
        while let Some(mut names) = left.pop() {
            let started = Instant::now();
            match self.describe_load_balancers(elb, &names, part).await {
                Ok(found) => self.balancers(|all| all.add(&names, &found, started)),
                Err(RefreshError::Failed(error)) if error.code == NOT_FOUND && names.len() > 1 => {
                    let half = names.split_off(names.len() / 2);
                    left.extend([half, names]);
                }
                Err(RefreshError::Failed(error)) if error.code == NOT_FOUND => {
                    self.balancers(|all| all.add(&names, &[], started));
                }
                Err(error) => return Err(error),
            }
            if part == Part::First && !are_known {
                self.balancers(|all| {
                    if let Some(asked) = all.asked.get_mut(object) {
                        asked.read_unknown = Some(now);
                    }
                });
            }
            part = Part::Later;
        }
        Ok(())
    }

    /// Reads load balancers by their names, with the tags of those that can be offered.
    async fn describe_load_balancers(
        &self,
        elb: &Elb,
        names: &[String],
        part: Part,
    ) -> Result<Vec<ObservedLoadBalancer>, RefreshError> {
        let mut found: Vec<ObservedLoadBalancer> = Vec::new();
        self.each_page(
            LOAD_BALANCING_READS,
            part,
            |page| elb.describe_load_balancers(names, page),
            |page| found.extend(page),
        )
        .await?;
        let network = found.iter().filter(|one| one.type_ == NETWORK);
        let arns: Vec<String> = network.map(|one| one.arn.clone()).collect();
        let mut tags: HashMap<String, Tags> = HashMap::new();
        for arns in arns.chunks(MOST_NAMED) {
            self.each_page(
                LOAD_BALANCING_READS,
                Part::Later,
                |_| async { Ok((elb.describe_tags(arns).await?, None)) },
                |page| tags.extend(page),
            )
            .await?;
        }
        for one in &mut found {
            one.tags = tags.remove(&one.arn).unwrap_or_default();
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
