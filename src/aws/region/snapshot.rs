//! What is known of a region: endpoints and groups, when they were read, and whether creation is
//! paused.

use std::time::{Duration, Instant, SystemTime};

use vpce_core::ids::EndpointId;
use vpce_core::observed::{ObservedEndpoint, ObservedGroup};
use vpce_core::tags::Clusters;

use super::AccountRegionKey;
use super::addresses::AddressCache;
use super::cache::ResourceCache;
use super::mass_deletion::CreationPause;
use crate::aws::error::CallError;

/// What is known of a region.
pub(super) struct Snapshot {
    pub(super) endpoints: ResourceCache<ObservedEndpoint>,
    pub(super) groups: ResourceCache<ObservedGroup>,
    /// Of the endpoints that have a headless Service.
    pub(super) addresses: AddressCache,
    /// When the last read of everything began.
    pub(super) read: Option<(Instant, SystemTime)>,
    /// When the last read failed, and why.
    pub(super) failed: Option<(Instant, CallError)>,
    /// Whether the next read has to read everything, however young the last is.
    pub(super) stale: bool,
    pub(super) pause: CreationPause,
}

impl Snapshot {
    pub(super) fn new(clusters: &Clusters, settle: Duration) -> Self {
        Self {
            endpoints: ResourceCache::new(clusters.clone(), settle),
            groups: ResourceCache::new(clusters.clone(), settle),
            addresses: AddressCache::default(),
            read: None,
            failed: None,
            stale: false,
            pause: CreationPause::default(),
        }
    }

    /// Takes in a read of these ids. One that was to stay and is gone may be one of many, which the
    /// rest of the snapshot, being older, does not show: then the next read reads the whole, before
    /// it is believed gone.
    pub(super) fn add_read_of(&mut self, ids: &[EndpointId], found: Vec<ObservedEndpoint>, read: Instant) {
        let stayed: Vec<&EndpointId> = ids.iter().filter(|id| self.endpoints.stays(id)).collect();
        self.endpoints.add_read_of(ids, found, read);
        self.stale |= stayed.into_iter().any(|id| !self.endpoints.stays(id));
    }

    /// Pauses creation if many of the endpoints that statuses know have vanished.
    pub(super) fn detect_mass_deletion(&mut self, key: &AccountRegionKey, known: &[EndpointId]) {
        let missing = known.iter().filter(|id| !self.endpoints.stays(id)).cloned().collect();
        self.pause.update(key, known.len(), missing);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vpce_core::attachment::ObservedAttachment;
    use vpce_core::ids::Partition;
    use vpce_core::observed::State;
    use vpce_core::options::ObservedOptions;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot::new(&"c".into(), Duration::ZERO)
    }

    fn ids(numbers: std::ops::Range<usize>) -> Vec<EndpointId> {
        numbers.map(|number| format!("vpce-{number}").as_str().into()).collect()
    }

    fn endpoints(ids: &[EndpointId], state: &State) -> Vec<ObservedEndpoint> {
        let endpoint = |id: &EndpointId| ObservedEndpoint {
            id: id.clone(),
            requester_managed: false,
            created: None,
            state: state.clone(),
            vpc: "vpc-1".into(),
            target: None,
            attachment: ObservedAttachment::Other("Interface".into()),
            options: ObservedOptions::default(),
            tags: BTreeMap::new(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        };
        ids.iter().map(endpoint).collect()
    }

    /// What resumes creation once these have gone from a region of twenty.
    fn paused_without(gone: usize, lingering: Option<&State>) -> Option<String> {
        let mut snapshot = snapshot();
        let key = AccountRegionKey {
            partition: Partition::Aws,
            account_id: "111111111111".parse().expect("an id"),
            region: "us-west-2".into(),
        };
        let known = ids(0..20);
        let mut there = endpoints(&known[gone..], &State::Available);
        there.extend(lingering.into_iter().flat_map(|state| endpoints(&known[..gone], state)));
        snapshot.endpoints.add(there, Instant::now());
        snapshot.detect_mass_deletion(&key, &known);
        snapshot.pause.id().map(str::to_owned)
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
        let mut snapshot = snapshot();
        let known = ids(0..2);
        let start = Instant::now();
        snapshot.endpoints.add(endpoints(&known, &State::Available), start);
        snapshot.add_read_of(&known[..1], endpoints(&known[..1], &State::Pending), start);
        assert!(!snapshot.stale);
        snapshot.add_read_of(&known[..1], Vec::new(), start);
        assert!(snapshot.stale);
        snapshot.stale = false;
        snapshot.add_read_of(&known[..1], Vec::new(), start);
        assert!(!snapshot.stale, "once is enough");
    }
}
