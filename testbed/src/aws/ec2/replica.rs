//! Eventual consistency: describes are answered by a replica that lags behind.

use std::collections::VecDeque;

use super::region::Region;
use crate::aws::Config;
use crate::aws::clock::Seconds;

/// A region as it is, and as it was before each of its latest changes.
pub(crate) struct Replicated {
    current: Region,
    /// When a change came, and what was there before it; oldest first.
    before: VecDeque<(Seconds, Region)>,
}

impl Replicated {
    pub(crate) fn new(region: Region) -> Self {
        Self {
            current: region,
            before: VecDeque::new(),
        }
    }

    /// The region as it is at `now`.
    pub(crate) fn current(&mut self, now: Seconds, config: &Config) -> &mut Region {
        self.current.settle(now, config);
        &mut self.current
    }

    /// Remembers what is there, because it is about to change.
    pub(crate) fn remember(&mut self, now: Seconds, config: &Config) {
        let horizon = now - config.consistency_seconds;
        self.before.retain(|(changed, _)| *changed > horizon);
        if config.consistency_seconds > 0.0 {
            self.before.push_back((now, self.current.clone()));
        }
    }

    /// What a describe sees at `now`: nothing of the changes that are younger than the lag.
    pub(crate) fn seen(&mut self, now: Seconds, config: &Config) -> &mut Region {
        let horizon = now - config.consistency_seconds;
        self.before.retain(|(changed, _)| *changed > horizon);
        self.current.settle(now, config);
        match self.before.front_mut() {
            Some((_, before)) => before,
            None => &mut self.current,
        }
    }
}
