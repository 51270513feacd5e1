//! Access to the endpoints of other accounts and regions, for the provider's calls.

use std::collections::BTreeMap;

use super::endpoint::Endpoint;
use super::region::Region;
use super::replica::Replicated;
use crate::aws::Config;
use crate::aws::clock::Seconds;

/// The regions of all accounts, except the one that the call works in.
pub(crate) struct Elsewhere<'a> {
    pub(crate) regions: &'a mut BTreeMap<(String, String), Replicated>,
    pub(crate) access: Access,
}

/// How a call sees other regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Not at all: a fault empties the answer.
    Nothing,
    /// As a describe does: possibly outdated.
    Seen,
    /// Current, with write access.
    Current,
    /// Current, but changes are dropped.
    WithoutEffect,
}

impl Elsewhere<'_> {
    pub(super) fn regions(&mut self, now: Seconds, config: &Config) -> Vec<&Region> {
        let access = self.access;
        let all = self.regions.values_mut().filter(|_| access != Access::Nothing);
        let seen = all.map(|replicated| match access {
            Access::Seen => &*replicated.seen(now, config),
            _ => &*replicated.current(now, config),
        });
        seen.collect()
    }

    /// Changes an endpoint.
    pub(super) fn change(
        &mut self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        now: Seconds,
        config: &Config,
        change: impl FnOnce(&mut Endpoint),
    ) {
        let place = (account.to_owned(), region.to_owned());
        let Some(replicated) = self.regions.get_mut(&place).filter(|_| self.access == Access::Current) else {
            return;
        };
        replicated.remember(now, config);
        let region = replicated.current(now, config);
        if let Some(endpoint) = region.endpoints.get_mut(endpoint_id) {
            change(endpoint);
        }
        region.settle(now, config);
    }
}
