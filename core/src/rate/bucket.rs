//! A token bucket that refills as fast as AWS allows and other clients of the account leave.

use std::time::Duration;

use super::adaptive::AdaptiveRate;
use super::limits::Limit;

/// Refill runs a little slower than AWS documents it: our clock and theirs need not agree, and what
/// is a hair too fast ends in a throttled call.
const REFILL_SHARE: f64 = 0.99;

/// The tokens of one EC2 action in one account and region.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenBucket {
    limit: Limit,
    tokens: f64,
    /// Up to when `tokens` has been refilled.
    refilled: Duration,
    adaptive: AdaptiveRate,
}

impl TokenBucket {
    /// A bucket with one token: after a start it is unknown what was spent before.
    pub(super) fn new(limit: Limit, now: Duration) -> Self {
        Self {
            limit,
            tokens: 1.0,
            refilled: now,
            adaptive: AdaptiveRate::full(),
        }
    }

    /// Adds the tokens that have come since the last refill.
    pub(super) fn refill(&mut self, now: Duration) {
        while self.adaptive.next() <= now {
            self.fill_until(self.adaptive.next());
            self.adaptive.change();
        }
        self.fill_until(now);
    }

    fn fill_until(&mut self, time: Duration) {
        let elapsed = time.saturating_sub(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate()).min(self.limit.burst);
        self.refilled = self.refilled.max(time);
    }

    /// Tokens a second at present.
    fn rate(&self) -> f64 {
        self.limit.refill_per_second * REFILL_SHARE * self.adaptive.share()
    }

    /// Tokens in the bucket since it was last refilled.
    pub(super) fn tokens(&self) -> f64 {
        self.tokens
    }

    /// Whether no more tokens fit into the bucket.
    pub(super) fn is_full(&self) -> bool {
        self.tokens >= self.limit.burst
    }

    /// Whether it is full, and refills at the full rate.
    pub(super) fn is_unused(&self) -> bool {
        self.is_full() && self.adaptive.is_full()
    }

    /// Whether so many tokens are in the bucket.
    pub(super) fn has(&self, tokens: usize) -> bool {
        self.tokens >= tokens as f64
    }

    /// How long until so many tokens are in the bucket, if none is taken.
    pub(super) fn time_until(&self, tokens: usize) -> Duration {
        let missing = (tokens as f64 - self.tokens).max(0.0);
        Duration::try_from_secs_f64(missing / self.rate()).unwrap_or(Duration::MAX)
    }

    /// Takes a token for a call.
    pub(super) fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// AWS throttled a call: its bucket is empty, whatever ours held, and another client takes from
    /// it.
    pub(super) fn throttled(&mut self, now: Duration) {
        self.refill(now);
        self.tokens = 0.0;
        self.adaptive.throttled(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Limit = Limit {
        burst: 4.0,
        refill_per_second: 10.0,
    };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn being_throttled_empties_the_bucket_and_slows_the_refill_until_it_recovers() {
        let mut bucket = TokenBucket::new(QUICK, Duration::ZERO);
        let now = seconds(100.0);
        bucket.throttled(now);
        assert!(bucket.tokens().abs() < 1e-9);
        let at = |time: Duration| {
            let mut bucket = bucket;
            bucket.refill(time);
            bucket
        };
        let tenth = at(now + seconds(0.1)).tokens();
        assert!((tenth - 0.99 * 0.9 * 0.7).abs() < 1e-9, "{tenth}");
        let full_rate = QUICK.refill_per_second * REFILL_SHARE;
        assert!(at(now + seconds(629.0)).rate() < full_rate);
        assert_eq!(at(now + seconds(631.0)).rate(), full_rate);
        assert_eq!(at(now + seconds(631.0)).tokens(), QUICK.burst);
    }
}
