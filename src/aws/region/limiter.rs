//! The rate limiters of a region, one for each EC2 action. A call acquires its token here; what is
//! deleted cancels its reservation, and when the next in a queue cancels or does not come, the one
//! after it is requeued.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use vpce_core::object_key::ObjectKey;
use vpce_core::rate::{Decision, FairRateLimiter, Limits};

use super::{Settings, Waited};
use crate::k8s::requeue::Enqueue;
use crate::telemetry::RateLimiterGauges;

/// What needs a token.
#[derive(Debug, Clone)]
pub(crate) struct Caller<'a> {
    /// The UID of the object, or a name of the operator's own.
    pub(crate) id: &'a str,
    /// The object, whose namespace the queue is fair by; none of others, which are not requeued.
    pub(crate) object: Option<ObjectKey>,
}

impl<'a> Caller<'a> {
    /// One that is no VPCEndpoint.
    pub(crate) fn of_the_operator(id: &'a str) -> Self {
        Self { id, object: None }
    }
}

/// One that waits.
struct Waiter {
    since: Instant,
    /// What to requeue.
    object: Option<ObjectKey>,
}

#[derive(Default)]
struct Queue {
    limiter: Option<FairRateLimiter>,
    /// By id.
    waiters: HashMap<String, Waiter>,
    /// Until when a task waits for the first reservation to lapse.
    watched: Option<Duration>,
}

struct Inner {
    limits: Arc<Limits>,
    requeue: Enqueue,
    waited: Waited,
    epoch: Instant,
    /// Of the actions that were called lately. Boxed, or the table would take several times what is
    /// in it.
    queues: Mutex<Queues>,
}

type Queues = HashMap<&'static str, Box<Queue>>;

/// All rate limiters of one region.
#[derive(Clone)]
pub(super) struct RateLimiters(Arc<Inner>);

impl RateLimiters {
    /// With full buckets since `epoch`.
    pub(super) fn new(settings: &Settings, epoch: Instant) -> Self {
        Self(Arc::new(Inner {
            limits: settings.limits.clone(),
            requeue: settings.requeue.clone(),
            waited: settings.waited.clone(),
            epoch,
            queues: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.queues.lock()
    }

    fn now(&self) -> Duration {
        self.0.epoch.elapsed()
    }

    pub(super) fn acquire(&self, action: &'static str, caller: &Caller<'_>) -> Decision {
        let limit = self.0.limits.of(action);
        let (decision, waited) = {
            let mut queues = self.lock();
            drop_unused(&mut queues, self.now());
            let queue = queues.entry(action).or_default();
            let limiter = queue
                .limiter
                .get_or_insert_with(|| FairRateLimiter::new(limit, Duration::ZERO));
            let namespace = caller.object.as_ref().map_or("", |object| object.namespace.as_str());
            let decision = limiter.acquire(caller.id, namespace, self.now());
            match decision {
                Decision::Go => {
                    let waiter = queue.waiters.remove(caller.id);
                    (
                        decision,
                        Some(waiter.map_or(Duration::ZERO, |waiter| waiter.since.elapsed())),
                    )
                }
                Decision::Wait(_) => {
                    let object = caller.object.clone();
                    let since = Instant::now();
                    queue
                        .waiters
                        .entry(caller.id.to_owned())
                        .or_insert_with(|| Waiter { since, object });
                    (decision, None)
                }
            }
        };
        if let Some(waited) = waited {
            (self.0.waited)(action, waited.as_secs_f64());
        }
        self.requeue_next(action);
        decision
    }

    /// About how long one that waits for a token of an action still has to.
    pub(super) fn expected_wait(&self, action: &'static str, id: &str) -> Option<Duration> {
        self.lock()
            .get_mut(action)?
            .limiter
            .as_mut()?
            .expected_wait(id, self.now())
    }

    pub(super) fn throttled(&self, action: &'static str) {
        let now = self.now();
        if let Some(limiter) = self.lock().get_mut(action).and_then(|queue| queue.limiter.as_mut()) {
            limiter.throttled(now);
        }
    }

    pub(super) fn cancel(&self, id: &str) {
        let left: Vec<&'static str> = {
            let mut queues = self.lock();
            let left = queues.iter_mut().filter_map(|(action, queue)| {
                queue.waiters.remove(id)?;
                queue.limiter.as_mut()?.cancel(id);
                Some(*action)
            });
            left.collect()
        };
        for action in left {
            self.requeue_next(action);
        }
    }

    /// Of each action.
    pub(super) fn gauges(&self) -> Vec<RateLimiterGauges> {
        let now = self.now();
        let queues = self.lock();
        let limiters = queues
            .iter()
            .filter_map(|(action, queue)| Some((action, queue.limiter.as_ref()?)));
        limiters
            .map(|(action, limiter)| RateLimiterGauges {
                action,
                tokens: limiter.tokens(now),
                waiting: limiter.len(),
                full: limiter.is_full(now),
            })
            .collect()
    }

    /// Requeues the next, if its token comes sooner than expected, and gives the reservation of one
    /// that does not come to the one after it.
    fn requeue_next(&self, action: &'static str) {
        let (object, lapses) = {
            let mut queues = self.lock();
            let Some(Queue {
                limiter: Some(limiter),
                waiters,
                watched,
            }) = queues.get_mut(action).map(|queue| &mut **queue)
            else {
                return;
            };
            let can_be_requeued = |id: &str| waiters.get(id).is_some_and(|waiter| waiter.object.is_some());
            let early = limiter.early(self.now(), can_be_requeued);
            let object = early.and_then(|id| waiters.get(&id)?.object.clone());
            if waiters.len() > 2 * limiter.len() + 8 {
                // The reservations of some have lapsed.
                let ids: HashSet<&str> = limiter.ids().collect();
                waiters.retain(|id, _| ids.contains(id.as_str()));
            }
            let lapses = limiter.lapses_at();
            let lapses = lapses.filter(|lapses| watched.is_none_or(|watched| *lapses < watched));
            *watched = lapses.or(*watched);
            (object, lapses)
        };
        if let Some(object) = object {
            (self.0.requeue)(object);
        }
        // Without a runtime the process is ending.
        if let (Some(lapses), Ok(runtime)) = (lapses, Handle::try_current()) {
            let limiters = self.clone();
            runtime.spawn(async move {
                let left = lapses.saturating_sub(limiters.now()) + Duration::from_millis(1);
                tokio::time::sleep(left).await;
                if let Some(queue) = limiters.lock().get_mut(action) {
                    queue.watched = queue.watched.filter(|watched| *watched != lapses);
                }
                limiters.requeue_next(action);
            });
        }
    }
}

/// Drops the limiters that are as a new one would be: an account and region at rest calls two of
/// the twenty actions that it once called. None is dropped whose caller waits, or a task for it.
fn drop_unused(queues: &mut Queues, now: Duration) {
    let before = queues.len();
    queues.retain(|_, queue| {
        let limiter = queue.limiter.as_mut();
        queue.watched.is_some() || limiter.is_some_and(|limiter| !limiter.is_unused(now))
    });
    if queues.len() < before {
        queues.shrink_to_fit();
    }
}
