//! Mass-deletion protection: when many of a region's endpoints vanish in one read, it is more
//! likely that the read is wrong than that they are gone, so creation is paused until a person
//! resumes it.

use std::collections::BTreeSet;
use std::time::Instant;

use sha2::{Digest, Sha256};
use vpce_core::ids::EndpointId;

use super::refresh::{FILTER_VALUES, RefreshError};
use super::{AccountRegion, AccountRegionKey};
use crate::aws::ec2::{Ec2, Which};

/// More than this share of a region's endpoints vanishing in one read looks like a mistake, not
/// like deletions ...
const SHARE: f64 = 0.2;
/// ... unless it is fewer than this many.
const AT_LEAST: usize = 3;

/// Whether creation is paused, and for which endpoints.
#[derive(Debug, Default)]
pub(super) struct CreationPause {
    /// The id that resumes it.
    id: Option<String>,
    /// The id that was logged.
    logged: Option<String>,
    vanished: BTreeSet<EndpointId>,
    /// What vanished before creation was resumed, and does not pause it again.
    resumed: BTreeSet<EndpointId>,
}

impl CreationPause {
    /// The id that resumes creation, where it is paused.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Pauses creation if of so many endpoints that statuses know these, many, are missing, until
    /// they are back or no status names them any more.
    pub(super) fn update(&mut self, key: &AccountRegionKey, known: usize, mut missing: BTreeSet<EndpointId>) {
        missing.retain(|id| !self.resumed.contains(id));
        let is_mass = missing.len() >= AT_LEAST && missing.len() as f64 > SHARE * known as f64;
        let is_news = self.id.is_none() || !missing.is_subset(&self.vanished);
        if is_mass && is_news {
            self.id = Some(resume_id(key, &missing));
            self.vanished = missing;
        } else if !is_mass && self.vanished.is_disjoint(&missing) {
            self.id = None;
            self.vanished.clear();
        }
    }
}

impl AccountRegion {
    /// Asks once more for what a new pause is about: endpoints that only lost their tags have not
    /// vanished.
    pub(super) async fn confirm_pause(&self, ec2: &Ec2) -> Result<(), RefreshError> {
        let unseen: Vec<EndpointId> = self.with(|snapshot| {
            let pause = &snapshot.pause;
            let news = pause.id != pause.logged;
            let unseen = |id: &&EndpointId| news && !snapshot.endpoints.contains(id);
            pause.vanished.iter().filter(unseen).cloned().collect()
        });
        for ids in unseen.chunks(FILTER_VALUES) {
            let started = Instant::now();
            match self.all_endpoints(ec2, Which::Ids(ids)).await {
                Ok(found) => self.take_in(|snapshot| snapshot.endpoints.add_read_of(ids, found, started)),
                // Not known to be there: counted all the same.
                Err(RefreshError::Failed(_)) => {}
                Err(busy @ RefreshError::Busy(_)) => return Err(busy),
            }
        }
        self.with(|snapshot| {
            let pause = &mut snapshot.pause;
            if let Some(id) = pause.id.as_ref().filter(|id| pause.logged.as_ref() != Some(id)) {
                tracing::error!(
                    account_id = self.key.account_id.as_str(),
                    region = self.key.region.as_str(),
                    resume_id = id,
                    vanished = pause.vanished.len(),
                    "many endpoints vanished at once: creation is paused here until a person resumes it"
                );
            }
            pause.logged = pause.id.clone();
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use vpce_core::ids::Partition;

    use super::*;

    /// The id once all of these are missing, of a region that has no others.
    fn id_without(pause: &mut CreationPause, missing: Range<usize>) -> Option<String> {
        let key = AccountRegionKey {
            partition: Partition::Aws,
            account_id: "111111111111".parse().expect("an id"),
            region: "us-west-2".into(),
        };
        let ids = missing.map(|number| format!("vpce-{number}").as_str().into());
        let ids: BTreeSet<EndpointId> = ids.collect();
        pause.update(&key, ids.len(), ids);
        pause.id().map(str::to_owned)
    }

    #[test]
    fn two_endpoints_are_too_few_to_pause_creation() {
        let mut pause = CreationPause::default();
        assert_eq!(id_without(&mut pause, 0..2), None);
        assert!(id_without(&mut pause, 0..3).is_some());
    }

    #[test]
    fn a_pause_keeps_its_id_until_more_vanish_and_ends_when_nothing_is_missing() {
        let mut pause = CreationPause::default();
        let first = id_without(&mut pause, 0..5);
        assert!(first.is_some());
        // Objects of some of them are deleted meanwhile.
        assert_eq!(id_without(&mut pause, 1..5), first);
        let few = id_without(&mut pause, 3..5);
        assert_eq!(few, first, "few are missing by now, and still paused");
        let more = id_without(&mut pause, 1..7);
        assert!(more.is_some() && more != first, "two more");
        assert_eq!(id_without(&mut pause, 0..0), None);
    }
}
