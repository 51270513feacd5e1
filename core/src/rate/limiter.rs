//! The rate limiter of one EC2 action in one account and region: a token bucket, and a fair queue
//! of those who wait for a token.
//!
//! No caller sleeps for a token. One that has to wait keeps a reservation, under an id of its own,
//! and asks again after that wait, which finds the same reservation.
//!
//! There is no clock here: `now` is a time since any epoch, the same for all calls to a limiter.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::bucket::TokenBucket;
use super::limits::Limit;
use super::queue::FairQueue;

/// The longest wait that is returned: when those ahead cancel, the token comes sooner than
/// expected, and the caller should notice while it still matters.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A caller is requeued before its time if its token comes sooner by more than this.
const EARLY: Duration = Duration::from_millis(100);

/// Added to every wait, so that rounding never has a caller ask a moment before its token is there.
const ROUNDING: Duration = Duration::from_millis(1);

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Make the call: a token is spent on it, and the reservation is gone.
    Go,
    /// Ask again after this time.
    Wait(Duration),
}

/// A token bucket, and the reservations of those who wait for a token.
#[derive(Debug, Clone)]
pub struct FairRateLimiter {
    bucket: TokenBucket,
    queue: FairQueue,
}

impl FairRateLimiter {
    /// A limiter whose bucket holds one token: after a start it is unknown what was spent before.
    pub fn new(limit: Limit, now: Duration) -> Self {
        FairRateLimiter {
            bucket: TokenBucket::new(limit, now),
            queue: FairQueue::default(),
        }
    }

    /// Asks for a token for `id`, an object of `namespace`.
    ///
    /// With `Wait` comes a reservation, which is kept by asking again after that.
    pub fn acquire(&mut self, id: &str, namespace: &str, now: Duration) -> Decision {
        self.advance(now);
        let position = self.queue.find(id);
        let position = position.unwrap_or_else(|| self.queue.join(id, namespace, now));
        let needed = self.queue.ahead(position) + 1;
        if self.bucket.has(needed) {
            self.bucket.take();
            self.queue.serve(position);
            return Decision::Go;
        }
        let wait = self.bucket.time_until(needed).saturating_add(ROUNDING);
        let wait = wait.min(LONGEST_WAIT);
        self.queue.get_mut(position).expected = now + wait;
        Decision::Wait(wait)
    }

    /// How long `id` still has to wait for its token, if all ahead of it take theirs; none if it
    /// has no reservation.
    pub fn expected_wait(&mut self, id: &str, now: Duration) -> Option<Duration> {
        self.advance(now);
        let needed = self.queue.ahead(self.queue.find(id)?) + 1;
        Some(self.bucket.time_until(needed))
    }

    /// Gives up the reservation of `id`, if it has one.
    pub fn cancel(&mut self, id: &str) {
        self.queue.cancel(id);
    }

    /// The first in the queue, if its token is there sooner than expected: those ahead of it have
    /// cancelled, or did not come. It is expected at once then, so that it is to be requeued.
    /// `can_be_requeued` says of an id whether its owner can be.
    pub fn early(&mut self, now: Duration, can_be_requeued: impl Fn(&str) -> bool) -> Option<String> {
        self.advance(now);
        let due = self.bucket.time_until(1).min(LONGEST_WAIT);
        let first = self.queue.first_mut()?;
        let is_early = now + due + EARLY < first.expected && can_be_requeued(&first.id);
        is_early.then(|| {
            first.expected = now;
            first.id.clone()
        })
    }

    /// When the first reservation in the queue lapses, if its owner does not come.
    pub fn lapses_at(&mut self) -> Option<Duration> {
        Some(self.queue.first_mut()?.lapses_at())
    }

    /// AWS refused a call for its rate: the bucket is empty, whatever it held by our count, and
    /// another client takes from it.
    pub fn throttled(&mut self, now: Duration) {
        self.advance(now);
        self.bucket.throttled(now);
    }

    /// Tokens in the bucket.
    pub fn tokens(&self, now: Duration) -> f64 {
        let mut bucket = self.bucket;
        bucket.refill(now);
        bucket.tokens()
    }

    /// Whether the bucket is full.
    pub fn is_full(&self, now: Duration) -> bool {
        let mut bucket = self.bucket;
        bucket.refill(now);
        bucket.is_full()
    }

    /// Whether it is as one that was made at the same time and never used: nothing waits, and the
    /// bucket is full and refills at the full rate.
    pub fn is_unused(&mut self, now: Duration) -> bool {
        self.advance(now);
        self.queue.is_empty() && self.bucket.is_unused()
    }

    /// How many wait, those included who were expected and did not come.
    pub fn len(&self) -> usize {
        self.queue.iter().count()
    }

    /// The ids of those who wait.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.queue.iter().map(|reservation| reservation.id.as_str())
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Refills the bucket, and removes the reservations of those who did not come.
    fn advance(&mut self, now: Duration) {
        self.bucket.refill(now);
        self.queue.drop_lapsed(now);
    }
}
