//! The lines of a region, one for each EC2 action: a call asks for its token here. What is gone leaves; and when the first in
//! turn leaves or does not come, the next is woken.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use vpce_core::limits::Limits;
use vpce_core::line::{Line, Turn};

use super::region::{Settings, Waited};
use crate::context::Wake;

/// Who asks for a token.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The UID of the object, or a name of the operator's own.
    pub id: &'a str,
    /// Turns go round by namespace.
    pub namespace: &'a str,
    /// The name of the VPCEndpoint; none of others, which are not woken.
    pub name: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// One that is no VPCEndpoint.
    pub fn of_the_operator(id: &'a str) -> Self {
        Self {
            id,
            namespace: "",
            name: None,
        }
    }
}

/// One that waits.
struct Waiter {
    since: Instant,
    /// Whom to wake, by namespace and name.
    object: Option<(String, String)>,
}

#[derive(Default)]
struct Queue {
    line: Option<Line>,
    /// By id.
    waiters: HashMap<String, Waiter>,
    /// Until when a task waits for the first place to lapse.
    watched: Option<Duration>,
}

struct Inner {
    limits: Arc<Limits>,
    look: Wake,
    waited: Waited,
    epoch: Instant,
    queues: Mutex<HashMap<&'static str, Queue>>,
}

/// All lines of one region.
#[derive(Clone)]
pub(super) struct Lines(Arc<Inner>);

impl Lines {
    /// With full lines since `epoch`.
    pub(super) fn new(settings: &Settings, epoch: Instant) -> Self {
        Self(Arc::new(Inner {
            limits: settings.limits.clone(),
            look: settings.look.clone(),
            waited: settings.waited.clone(),
            epoch,
            queues: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Queue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.0.epoch.elapsed()
    }

    pub(super) fn ask(&self, action: &'static str, caller: &Caller<'_>) -> Turn {
        let limit = self.0.limits.of(action);
        let (turn, waited) = {
            let mut queues = self.lock();
            let queue = queues.entry(action).or_default();
            let line = queue.line.get_or_insert_with(|| Line::new(limit, Duration::ZERO));
            let turn = line.ask(caller.id, caller.namespace, self.now());
            match turn {
                Turn::Go => {
                    let waiter = queue.waiters.remove(caller.id);
                    (
                        turn,
                        Some(waiter.map_or(Duration::ZERO, |waiter| waiter.since.elapsed())),
                    )
                }
                Turn::Wait(_) => {
                    let object = caller.name.map(|name| (caller.namespace.to_owned(), name.to_owned()));
                    let since = Instant::now();
                    queue
                        .waiters
                        .entry(caller.id.to_owned())
                        .or_insert_with(|| Waiter { since, object });
                    (turn, None)
                }
            }
        };
        if let Some(waited) = waited {
            (self.0.waited)(action, waited.as_secs_f64());
        }
        self.go_on(action);
        turn
    }

    /// About how long one that waits for a token of an action still has to.
    pub(super) fn expected_wait(&self, action: &'static str, id: &str) -> Option<Duration> {
        self.lock()
            .get_mut(action)?
            .line
            .as_mut()?
            .expected_wait(id, self.now())
    }

    pub(super) fn throttled(&self, action: &'static str) {
        let now = self.now();
        if let Some(line) = self.lock().get_mut(action).and_then(|queue| queue.line.as_mut()) {
            line.throttled(now);
        }
    }

    pub(super) fn leave(&self, id: &str) {
        let left: Vec<&'static str> = {
            let mut queues = self.lock();
            let left = queues.iter_mut().filter_map(|(action, queue)| {
                queue.waiters.remove(id)?;
                queue.line.as_mut()?.leave(id);
                Some(*action)
            });
            left.collect()
        };
        for action in left {
            self.go_on(action);
        }
    }

    /// Of each action: tokens, and how many wait.
    pub(super) fn gauges(&self) -> Vec<(&'static str, f64, usize)> {
        let now = self.now();
        let queues = self.lock();
        let lines = queues
            .iter()
            .filter_map(|(action, queue)| Some((action, queue.line.as_ref()?)));
        lines
            .map(|(action, line)| (*action, line.tokens(now), line.len()))
            .collect()
    }

    /// Wakes the first in turn, if its turn comes sooner than it knows, and sees to it that a place whose owner does not come
    /// is given to the next.
    fn go_on(&self, action: &'static str) {
        let (object, lapses) = {
            let mut queues = self.lock();
            let Some(Queue {
                line: Some(line),
                waiters,
                watched,
            }) = queues.get_mut(action)
            else {
                return;
            };
            let can_be_woken = |id: &str| waiters.get(id).is_some_and(|waiter| waiter.object.is_some());
            let early = line.early(self.now(), can_be_woken);
            let object = early.and_then(|id| waiters.get(&id)?.object.clone());
            if waiters.len() > 2 * line.len() + 8 {
                // Places of some have lapsed.
                let ids: HashSet<&str> = line.ids().collect();
                waiters.retain(|id, _| ids.contains(id.as_str()));
            }
            let lapses = line.lapses_at();
            let lapses = lapses.filter(|lapses| watched.is_none_or(|watched| *lapses < watched));
            *watched = lapses.or(*watched);
            (object, lapses)
        };
        if let Some((namespace, name)) = object {
            (self.0.look)(&namespace, &name);
        }
        // Without a runtime the process is ending.
        if let (Some(lapses), Ok(runtime)) = (lapses, Handle::try_current()) {
            let lines = self.clone();
            runtime.spawn(async move {
                let left = lapses.saturating_sub(lines.now()) + Duration::from_millis(1);
                tokio::time::sleep(left).await;
                if let Some(queue) = lines.lock().get_mut(action) {
                    queue.watched = queue.watched.filter(|watched| *watched != lapses);
                }
                lines.go_on(action);
            });
        }
    }
}
