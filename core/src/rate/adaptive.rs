//! The share of a bucket's refill that other clients leave, learned from throttled calls.
//!
//! A throttled call shows that another client takes from the same bucket, and not how much. Right
//! after it the rate is reduced, so that the bucket recovers, and then set a little below where it
//! was throttled. It stays there for a while before a higher rate is tried; when that is throttled
//! too, for twice as long. So throttled calls become rare where others take their share for good,
//! and the full rate returns where they stop.

use std::time::Duration;

/// However often calls are throttled, an eighth of the rate remains, so that calls go on and show
/// when the other client has stopped.
const SLOWEST: f64 = 0.125;
/// The share right after a throttled call, of that after it.
const EASED: f64 = 0.7;
/// The share after that, of the one that was throttled.
const BELOW: f64 = 0.9;
/// How long the rate stays reduced, and how long each step up is tried before the next.
const EASE: Duration = Duration::from_secs(30);
/// What a step up adds.
const STEP: f64 = 0.125;
/// How long no higher rate is tried at first: longer than most bursts of others last, and short
/// enough that one throttled call does not slow down a working day.
const FIRST_HOLD: Duration = Duration::from_secs(600);
/// And at the longest: one throttled call an hour costs little.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// Calls that were in flight together are throttled together, which says no more than one does.
const TOGETHER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No other client is known.
    Full,
    /// The bucket recovers from a throttled call.
    Eased,
    /// At a share that was not throttled.
    Held,
    /// A higher share is tried.
    Trying,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct AdaptiveRate {
    phase: Phase,
    share: f64,
    /// The share to hold.
    good: f64,
    /// When the phase, or the share that is tried, changes next.
    next: Duration,
    hold: Duration,
    /// When a call was last throttled.
    throttled: Option<Duration>,
}

impl AdaptiveRate {
    /// The full rate.
    pub(super) fn full() -> Self {
        Self {
            phase: Phase::Full,
            share: 1.0,
            good: 1.0,
            next: Duration::MAX,
            hold: FIRST_HOLD,
            throttled: None,
        }
    }

    /// The share of the refill.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// Whether no other client is known.
    pub(super) fn is_full(&self) -> bool {
        self.phase == Phase::Full
    }

    /// When the share changes next.
    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// The time for the next change has come.
    pub(super) fn change(&mut self) {
        if self.phase == Phase::Eased {
            self.phase = Phase::Held;
            self.share = self.good;
            self.next += self.hold;
            return;
        }
        self.phase = Phase::Trying;
        self.share += STEP;
        self.next += EASE;
        if self.share >= 1.0 {
            *self = Self {
                throttled: self.throttled,
                ..Self::full()
            };
        }
    }

    /// AWS refused a call for its rate.
    pub(super) fn throttled(&mut self, now: Duration) {
        if self.throttled.is_some_and(|before| now < before + TOGETHER) {
            return;
        }
        self.throttled = Some(now);
        if self.phase == Phase::Trying {
            self.hold = (self.hold * 2).min(LONGEST_HOLD);
        } else {
            self.good = (self.good * BELOW).max(SLOWEST);
        }
        self.phase = Phase::Eased;
        self.share = (self.good * EASED).max(SLOWEST);
        self.next = now + EASE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// As it is at a time.
    fn at(mut rate: AdaptiveRate, now: Duration) -> AdaptiveRate {
        while rate.next() <= now {
            rate.change();
        }
        rate
    }

    #[test]
    fn one_throttled_call_costs_a_tenth_for_ten_minutes() {
        let mut rate = AdaptiveRate::full();
        rate.throttled(seconds(100));
        let share = |now: u64| at(rate, seconds(now)).share();
        assert!(share(100) < 0.7 && share(129) < 0.7);
        assert_eq!([share(130), share(729)], [0.9, 0.9]);
        assert_eq!(share(730), 1.0);
    }

    #[test]
    fn calls_that_were_under_way_together_count_as_one() {
        let mut rate = AdaptiveRate::full();
        for tenth in 0..10 {
            rate.throttled(Duration::from_millis(100 * tenth));
        }
        assert_eq!(at(rate, seconds(31)).share(), 0.9);
    }

    #[test]
    fn something_always_moves_and_all_of_it_again_in_the_end() {
        let mut rate = AdaptiveRate::full();
        for minute in 0..100 {
            rate = at(rate, seconds(60 * minute));
            rate.throttled(seconds(60 * minute));
        }
        assert_eq!(at(rate, seconds(6000)).share(), SLOWEST);
        assert_eq!(at(rate, seconds(6000) + FIRST_HOLD + EASE * 8).phase, Phase::Full);
    }

    #[test]
    fn what_is_tried_in_vain_is_tried_later_next_time_and_costs_one_throttled_call() {
        let mut rate = AdaptiveRate::full();
        for minute in 0..5 {
            rate = at(rate, seconds(60 * minute));
            rate.throttled(seconds(60 * minute));
        }
        let good = rate.good;
        let mut now = seconds(240);
        for hold in [600, 1200, 2400, 3600, 3600] {
            let tried = now + EASE + seconds(hold);
            let before = at(rate, tried - seconds(1));
            assert_eq!((before.phase, before.share()), (Phase::Held, good), "{hold}");
            rate = at(rate, tried);
            assert_eq!(rate.phase, Phase::Trying, "{hold}");
            rate.throttled(tried);
            now = tried;
        }
    }
}
