//! Eventual consistency: describes are answered by replicas that lag behind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ids::prefix;
use super::region::Region;
use super::tags;
use crate::aws::Config;
use crate::aws::clock::Seconds;
use crate::aws::error::ApiError;
use crate::aws::weather::random;
use crate::aws::world::Request;

/// A region as it is, and as it was before each of its latest changes.
pub(crate) struct Replicated {
    current: Region,
    /// When a change came, and what was there before it; oldest first.
    before: VecDeque<(Seconds, Region)>,
    /// What the latest describe was answered from, if each object lags by itself.
    mixed: Region,
    /// How many calls have looked.
    looks: u64,
    /// Which object is the how manieth, since ids differ from run to run.
    numbers: BTreeMap<String, usize>,
}

impl Replicated {
    pub(crate) fn new(region: Region) -> Self {
        Self {
            mixed: region.clone(),
            current: region,
            before: VecDeque::new(),
            looks: 0,
            numbers: BTreeMap::new(),
        }
    }

    /// Whether there are endpoint services.
    pub(crate) fn hosts_services(&self) -> bool {
        !self.current.endpoint_services.is_empty()
    }

    /// The region as it is at `now`.
    pub(crate) fn current(&mut self, now: Seconds, config: &Config) -> &mut Region {
        self.current.settle(now, config);
        &mut self.current
    }

    /// Remembers what is there, because it is about to change.
    pub(crate) fn remember(&mut self, now: Seconds, config: &Config) {
        self.forget(now, config);
        if config.consistency_seconds > 0.0 {
            self.before.push_back((now, self.current.clone()));
        }
    }

    /// What a describe sees at `now`. Without a seed: nothing of the changes that are younger than
    /// the lag. With one: each object as it was some time ago, which is another time at each look.
    pub(crate) fn seen(&mut self, now: Seconds, config: &Config) -> &mut Region {
        self.forget(now, config);
        self.current.settle(now, config);
        self.looks += 1;
        if self.before.is_empty() {
            return &mut self.current;
        }
        if let Some(seed) = config.consistency_seed {
            self.number();
            self.mixed = self.mix(now, config.consistency_seconds, seed);
            self.mixed.settle(now, config);
            return &mut self.mixed;
        }
        match self.before.front_mut() {
            Some((_, before)) => before,
            None => &mut self.current,
        }
    }

    /// Refuses a call, or the part of a batch, that names something which the replica it comes to
    /// has not heard of yet. The EC2 Developer Guide ("Ensuring idempotency in Amazon EC2 API
    /// requests", "Eventual consistency") warns of it. Only with a seed.
    pub(crate) fn meet_strangers(
        &mut self,
        request: &Request,
        now: Seconds,
        config: &Config,
        unsuccessful: &mut BTreeMap<String, ApiError>,
    ) -> Result<(), ApiError> {
        self.forget(now, config);
        let Some(seed) = config.consistency_seed else {
            return Ok(());
        };
        self.looks += 1;
        self.number();
        for id in request.params.values() {
            let known: fn(&Region, &str) -> bool = match prefix(id) {
                "vpce-svc" => |region, id| region.endpoint_services.contains_key(id),
                "vpce" => |region, id| region.endpoints.contains_key(id),
                "sg" => |region, id| region.groups.contains_key(id),
                _ => continue,
            };
            let replica = self.as_of(id, now, config.consistency_seconds, seed);
            if !known(&self.current, id) || known(replica, id) {
                continue;
            }
            let (code, what) = match request.action.as_str() {
                "DeleteVpcEndpoints" => ("InvalidVpcEndpoint.NotFound", "VPC endpoint"),
                "DeleteVpcEndpointServiceConfigurations" => {
                    ("InvalidVpcEndpointService.NotFound", "VpcEndpointService Id")
                }
                _ => return Err(tags::missing(id)),
            };
            let message = format!("The {what} {id} does not exist");
            unsuccessful.insert(id.clone(), ApiError::new(code, message));
        }
        Ok(())
    }

    /// Numbers what is new.
    fn number(&mut self) {
        let Region {
            endpoints,
            endpoint_services,
            groups,
            interfaces,
            ..
        } = &self.current;
        let ids = endpoints.keys().chain(endpoint_services.keys());
        for id in ids.chain(groups.keys()).chain(interfaces.keys()) {
            if !self.numbers.contains_key(id) {
                self.numbers.insert(id.clone(), self.numbers.len());
            }
        }
    }

    fn forget(&mut self, now: Seconds, config: &Config) {
        let horizon = now - config.consistency_seconds;
        self.before.retain(|(changed, _)| *changed > horizon);
    }

    /// The region at the time from which this look sees the object: each object has its own longest
    /// lag, and each look one that is no longer than that.
    fn as_of(&self, id: &str, now: Seconds, seconds: Seconds, seed: u64) -> &Region {
        let number = self.numbers.get(id);
        let longest = seconds * random(&(seed, number)).f64();
        let horizon = now - longest * random(&(seed, number, self.looks)).f64();
        let mut later = self.before.iter().filter(|(changed, _)| *changed > horizon);
        later.next().map_or(&self.current, |(_, before)| before)
    }

    /// Endpoints, endpoint services, groups and interfaces as this look sees them; the rest as it
    /// is.
    fn mix(&self, now: Seconds, seconds: Seconds, seed: u64) -> Region {
        let as_of = |id: &str| self.as_of(id, now, seconds, seed);
        Region {
            endpoints: self.pick(|region| &region.endpoints, as_of),
            endpoint_services: self.pick(|region| &region.endpoint_services, as_of),
            groups: self.pick(|region| &region.groups, as_of),
            interfaces: self.pick(|region| &region.interfaces, as_of),
            ..self.current.clone()
        }
    }

    fn pick<'a, T: Clone + 'a>(
        &'a self,
        objects: fn(&Region) -> &BTreeMap<String, T>,
        as_of: impl Fn(&str) -> &'a Region,
    ) -> BTreeMap<String, T> {
        let regions = self.before.iter().map(|(_, region)| region).chain([&self.current]);
        let ids: BTreeSet<&String> = regions.flat_map(|region| objects(region).keys()).collect();
        let picked = ids.into_iter().filter_map(|id| {
            let object = objects(as_of(id)).get(id)?;
            Some((id.clone(), object.clone()))
        });
        picked.collect()
    }
}
