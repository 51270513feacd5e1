//! Gates, which hold a call before or after it is carried out.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use super::world::{Request, Service};

/// Which side of carrying out a call a [`Gate`] stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausePoint {
    /// The call has arrived and nothing has happened yet. If the caller goes away now, nothing
    /// will.
    Before,
    /// The call is carried out and its answer not yet sent.
    After,
}

/// Which call a [`Gate`] holds.
#[derive(Debug, Clone)]
pub struct Hold {
    /// A call of this action; `None`: of any that changes EC2.
    pub action: Option<String>,
    /// A call of this account, which for AssumeRole is the caller's; `None`: of any.
    pub account: Option<String>,
    /// How many matching calls pass first.
    pub after: usize,
    /// On which side of carrying it out.
    pub point: PausePoint,
}

impl Hold {
    /// The next call of an action.
    pub fn next(action: &str, point: PausePoint) -> Self {
        Self {
            action: Some(action.to_owned()),
            account: None,
            after: 0,
            point,
        }
    }

    fn matches(&self, request: &Request, account: &str) -> bool {
        let named = match &self.action {
            Some(action) => *action == request.action,
            None => request.service == Service::Ec2 && !request.action.starts_with("Describe"),
        };
        named && self.account.as_deref().is_none_or(|only| only == account)
    }
}

/// Holds one call until released or dropped.
#[derive(Debug)]
pub struct Gate {
    bar: Arc<Bar>,
}

impl Gate {
    /// The action of the call that stands, or stood, at the gate.
    pub fn caught(&self) -> Option<String> {
        self.bar.lock().caught.clone()
    }

    /// Waits until a call stands at the gate; false if none came within `timeout`.
    #[must_use]
    pub fn wait_reached(&self, timeout: Duration) -> bool {
        let mut state = self.bar.lock();
        self.bar
            .changed
            .wait_while_for(&mut state, |state| !state.reached, timeout);
        state.reached
    }

    /// Lets the call through.
    pub fn release(self) {}

    /// Closes the call's connection: before, it is never carried out; after, never answered.
    pub fn abandon(self) {
        self.bar.lock().abandoned = true;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.bar.lock().released = true;
        self.bar.released.notify_one();
    }
}

#[derive(Debug, Default)]
struct BarState {
    caught: Option<String>,
    reached: bool,
    released: bool,
    abandoned: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Bar {
    state: Mutex<BarState>,
    changed: Condvar,
    released: Notify,
}

impl Bar {
    fn lock(&self) -> MutexGuard<'_, BarState> {
        self.state.lock()
    }

    /// Says that a call is here, and waits until it may go on; false if it may not.
    pub(crate) async fn pass(&self) -> bool {
        self.lock().reached = true;
        self.changed.notify_all();
        self.released.notified().await;
        !self.lock().abandoned
    }

    fn is_released(&self) -> bool {
        self.lock().released
    }
}

/// The gates that wait for a call.
#[derive(Debug, Default)]
pub(crate) struct Gates(Vec<(Hold, Arc<Bar>)>);

impl Gates {
    pub(crate) fn add(&mut self, hold: Hold) -> Gate {
        let bar = Arc::new(Bar::default());
        self.0.push((hold, bar.clone()));
        Gate { bar }
    }

    /// Takes the gate that holds this call; the others that match let it pass and count it.
    pub(crate) fn take(&mut self, request: &Request, account: &str, point: PausePoint) -> Option<Arc<Bar>> {
        self.0.retain(|(_, bar)| !bar.is_released());
        let mut taken = None;
        for (place, (hold, _)) in self.0.iter_mut().enumerate() {
            if hold.point != point || !hold.matches(request, account) {
                continue;
            }
            if hold.after > 0 {
                hold.after -= 1;
            } else {
                taken = taken.or(Some(place));
            }
        }
        let (_, bar) = self.0.remove(taken?);
        bar.lock().caught = Some(request.action.clone());
        Some(bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(hold: Hold, calls: &[(&str, &str)]) -> Option<usize> {
        let mut gates = Gates::default();
        let _gate = gates.add(hold);
        let mut held = calls.iter().map(|(action, account)| {
            let request = Request::example(action, &[]);
            gates.take(&request, account, PausePoint::Before).is_some()
        });
        held.position(|held| held)
    }

    #[test]
    fn a_dropped_gate_blocks_no_call() {
        let mut gates = Gates::default();
        drop(gates.add(Hold::next("CreateTags", PausePoint::Before)));
        let request = Request::example("CreateTags", &[]);
        assert!(gates.take(&request, "1", PausePoint::Before).is_none());
    }

    #[test]
    fn a_gate_blocks_the_call_that_it_names() {
        let calls = [
            ("AssumeRole", "1"),
            ("DescribeVpcs", "1"),
            ("CreateTags", "2"),
            ("DeleteTags", "1"),
            ("CreateTags", "1"),
        ];
        let any = Hold {
            action: None,
            ..Hold::next("", PausePoint::Before)
        };
        let of_one = Hold {
            account: Some("1".to_owned()),
            ..any.clone()
        };
        let later = Hold {
            after: 1,
            ..of_one.clone()
        };
        assert_eq!(holding(Hold::next("DeleteTags", PausePoint::Before), &calls), Some(3));
        assert_eq!(holding(any, &calls), Some(2));
        assert_eq!(holding(of_one, &calls), Some(3));
        assert_eq!(holding(later, &calls), Some(4));
    }
}
