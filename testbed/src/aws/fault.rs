//! What goes wrong on demand: refused calls, lost answers, delays, and gates that hold a call.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::error::ApiError;

/// Something that shall go wrong with the calls it matches.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Only calls of this action; `None`: of any.
    pub action: Option<String>,
    /// Only calls of this account, which for AssumeRole is the caller's; `None`: of any.
    pub account: Option<String>,
    /// What happens to them.
    pub kind: FaultKind,
    /// How many calls it happens to.
    pub times: usize,
    /// How many matching calls pass unharmed first.
    pub after: usize,
}

impl Fault {
    /// The next call of `action` meets `kind`.
    pub fn once(action: &str, kind: FaultKind) -> Self {
        Self {
            action: Some(action.to_owned()),
            account: None,
            kind,
            times: 1,
            after: 0,
        }
    }
}

/// The way in which a call goes wrong.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// Answered with this error; nothing is carried out, no token is spent.
    Refuse {
        /// HTTP status.
        status: u16,
        /// AWS error code.
        code: String,
        /// AWS error message.
        message: String,
    },
    /// Carried out, but the connection is closed before a byte of the answer.
    LoseAnswer,
    /// Carried out this much (real) time later.
    Delay(Duration),
}

impl FaultKind {
    /// [`FaultKind::Refuse`] from plain strings.
    pub fn refuse(status: u16, code: &str, message: &str) -> Self {
        Self::Refuse {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Which side of carrying out a call a [`Gate`] stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausePoint {
    /// The call has arrived and nothing has happened yet. If the caller goes away now, nothing will.
    Before,
    /// The call is carried out and its answer not yet sent.
    After,
}

/// Holds the next call of an action until released or dropped.
#[derive(Debug)]
pub struct Gate {
    bar: Arc<Bar>,
}

impl Gate {
    /// Waits until a call stands at the gate; false if none came within `timeout`.
    #[must_use]
    pub fn wait_reached(&self, timeout: Duration) -> bool {
        let state = self.bar.lock();
        let (state, _) = self
            .bar
            .changed
            .wait_timeout_while(state, timeout, |state| !state.reached)
            .unwrap_or_else(PoisonError::into_inner);
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

/// What is in the way of one call.
#[derive(Debug, Default)]
pub(crate) struct Obstacles {
    pub(crate) before: Option<Arc<Bar>>,
    pub(crate) after: Option<Arc<Bar>>,
    pub(crate) delay: Option<Duration>,
    pub(crate) refuse: Option<ApiError>,
    pub(crate) lose_answer: bool,
}

/// All faults and gates that wait for a call.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
    gates: Vec<(String, PausePoint, Arc<Bar>)>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    pub(crate) fn gate(&mut self, action: &str, point: PausePoint) -> Gate {
        let bar = Arc::new(Bar::default());
        self.gates.push((action.to_owned(), point, bar.clone()));
        Gate { bar }
    }

    /// Takes what awaits this call. Of several faults that match, the oldest one strikes.
    pub(crate) fn strike(&mut self, action: &str, account: &str) -> Obstacles {
        self.gates.retain(|(_, _, bar)| !bar.is_released());
        let mut obstacles = Obstacles {
            before: self.take_gate(action, PausePoint::Before),
            after: self.take_gate(action, PausePoint::After),
            ..Obstacles::default()
        };
        let mut struck = None;
        for fault in &mut self.faults {
            let matches = fault.action.as_deref().is_none_or(|a| a == action)
                && fault.account.as_deref().is_none_or(|a| a == account);
            if !matches {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 && struck.is_none() {
                fault.times -= 1;
                struck = Some(fault.kind.clone());
            }
        }
        self.faults.retain(|fault| fault.times > 0);
        match struck {
            None => {}
            Some(FaultKind::LoseAnswer) => obstacles.lose_answer = true,
            Some(FaultKind::Delay(delay)) => obstacles.delay = Some(delay),
            Some(FaultKind::Refuse { status, code, message }) => {
                obstacles.refuse = Some(ApiError::new(code, message).with_status(status))
            }
        }
        obstacles
    }

    fn take_gate(&mut self, action: &str, point: PausePoint) -> Option<Arc<Bar>> {
        let place = self.gates.iter().position(|(a, p, _)| a == action && *p == point)?;
        Some(self.gates.remove(place).2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_waits_its_turn_and_wears_off() {
        let mut faults = Faults::default();
        faults.add(Fault {
            times: 2,
            after: 1,
            ..Fault::once("CreateTags", FaultKind::LoseAnswer)
        });
        let struck: Vec<bool> = (0..5).map(|_| faults.strike("CreateTags", "1").lose_answer).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert!(!faults.strike("DeleteTags", "1").lose_answer);
    }

    #[test]
    fn a_fault_of_one_account_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(Fault {
            action: None,
            account: Some("111111111111".to_owned()),
            kind: FaultKind::refuse(500, "InternalError", "no"),
            times: 1,
            after: 0,
        });
        assert!(faults.strike("CreateTags", "2").refuse.is_none());
        let error = faults.strike("CreateTags", "111111111111").refuse;
        assert_eq!(error.map(|e| e.status), Some(500));
    }

    #[test]
    fn a_dropped_gate_holds_nobody() {
        let mut faults = Faults::default();
        drop(faults.gate("CreateTags", PausePoint::Before));
        assert!(faults.strike("CreateTags", "1").before.is_none());
    }
}
