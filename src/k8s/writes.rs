//! Writes to the API server that it refused, or took and changed: an admission controller is in the
//! way. They are reported, and tried again more and more slowly, whatever requeues the object
//! meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::{Resource, ResourceExt};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde_json::{Value, json};
use vpce_core::api::RECONCILE_AT;

use crate::backoff::doubled;
use crate::k8s::error;

/// The wait after the first refusal: what refuses may only have been starting.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Without a refusal for so long, the next is a first one.
const OVER_AFTER: Duration = Duration::from_secs(120);
/// What was stored otherwise may have to be undone before it is tried again: waits are so many
/// times as long.
const STORED_OTHERWISE: u32 = 3;
/// From then on: at most three tries of one write a minute.
const SHORTEST_WAIT: Duration = Duration::from_secs(20);

/// What is written of an object of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    /// Its finalizer is added or removed.
    Finalizer,
    Status,
}

/// A write that the API server refused, and that is not tried again yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    /// Which.
    pub(crate) write: Write,
    /// The AWSAccount's name, if it is of one.
    pub(crate) account: Option<String>,
    /// What it said.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) left: Duration,
    /// Whether it was tried just now.
    pub(crate) is_tried: bool,
    /// Whether it said something else before.
    pub(crate) is_news: bool,
}

impl From<Refused> for kube::Error {
    fn from(refused: Refused) -> Self {
        Self::Service(Box::new(refused))
    }
}

impl Refused {
    /// Whether an error is such a refusal.
    pub(crate) fn of(error: &kube::Error) -> Option<&Self> {
        match error {
            kube::Error::Service(source) => source.downcast_ref(),
            _ => None,
        }
    }
}

/// The name of what is in no namespace: of the kinds that we write, only AWSAccounts are.
fn named(object: &impl Resource) -> Option<String> {
    object.namespace().is_none().then(|| object.name_any())
}

/// What a person has asked for last; a change of it ends a wait, but for the shortest.
type Asked = (Option<i64>, bool, Option<String>);

fn asked(object: &impl Resource) -> Asked {
    let meta = object.meta();
    let reconcile_at = object.annotations().get(RECONCILE_AT).cloned();
    (meta.generation, meta.deletion_timestamp.is_some(), reconcile_at)
}

struct Backoff {
    message: String,
    failures: u32,
    at: Instant,
    wait: Duration,
    asked: Asked,
}

/// A status that the API server changed: as it was to be, and as it was stored, both without times.
struct Changed {
    wanted: Value,
    stored: Value,
    /// How often in a row, and until when it is left so.
    times: u32,
    until: Instant,
}

#[derive(Default)]
struct State {
    backoff: HashMap<(String, Write), Backoff>,
    changed: HashMap<String, Changed>,
}

/// What is known of the writes of all objects, by UID; only of those that were refused or changed.
#[derive(Clone, Default)]
pub(crate) struct Writes(Arc<Mutex<State>>);

impl Writes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Whether a write has to wait since it was refused lately.
    pub(crate) fn refused(&self, object: &impl Resource, write: Write) -> Option<Refused> {
        let state = self.lock();
        let backoff = state.backoff.get(&(object.uid().unwrap_or_default(), write))?;
        let wait = match backoff.asked == asked(object) {
            true => backoff.wait,
            false => backoff.wait.min(SHORTEST_WAIT),
        };
        let left = wait.saturating_sub(backoff.at.elapsed());
        (!left.is_zero()).then(|| Refused {
            write,
            account: named(object),
            message: backoff.message.clone(),
            left,
            is_tried: false,
            is_news: false,
        })
    }

    /// Takes note of how a write ended: gives an error where it was refused. `most` is the longest
    /// wait.
    fn note<T>(
        &self,
        object: &impl Resource,
        write: Write,
        most: Duration,
        ended: Result<T, kube::Error>,
    ) -> Result<T, kube::Error> {
        match ended {
            Ok(written) => {
                let mut state = self.lock();
                let key = (object.uid().unwrap_or_default(), write);
                // One that is accepted between two that are refused does not end the backoff.
                if let Some(backoff) = state.backoff.get_mut(&key) {
                    backoff.wait = Duration::ZERO;
                    if backoff.at.elapsed() > OVER_AFTER {
                        state.backoff.remove(&key);
                    }
                }
                Ok(written)
            }
            Err(error) => Err(match refusal_message(&error) {
                Some(message) => self.refuse(object, write, most, message, 1).into(),
                None => error,
            }),
        }
    }

    /// Makes a write, unless it has to wait: an error where it was refused, or where `mismatch`
    /// says that it is stored otherwise than it was written.
    pub(crate) async fn acknowledged<T>(
        &self,
        object: &impl Resource,
        write: Write,
        most: Duration,
        making: impl Future<Output = Result<T, kube::Error>>,
        mismatch: impl FnOnce(&T) -> Option<String>,
    ) -> Result<T, kube::Error> {
        if let Some(refused) = self.refused(object, write) {
            return Err(refused.into());
        }
        let ended = making.await;
        match ended.as_ref().ok().and_then(mismatch) {
            Some(mismatch) => {
                let message = format!("it was accepted, and stored {mismatch}: something changes it on the way");
                Err(self.refuse(object, write, most, message, STORED_OTHERWISE).into())
            }
            None => self.note(object, write, most, ended),
        }
    }

    /// A write was refused, with this message, or stored as something else.
    fn refuse(&self, object: &impl Resource, write: Write, most: Duration, message: String, times: u32) -> Refused {
        let mut state = self.lock();
        let key = (object.uid().unwrap_or_default(), write);
        let before = state.backoff.get(&key);
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let is_news = before.is_none_or(|before| before.message != message);
        let wait = wait(failures, most) * times;
        let backoff = Backoff {
            message: message.clone(),
            failures,
            at: Instant::now(),
            wait,
            asked: asked(object),
        };
        state.backoff.insert(key, backoff);
        Refused {
            write,
            account: named(object),
            message,
            left: wait,
            is_tried: true,
            is_news,
        }
    }

    /// Whether a status would only be changed again as it was before: it is stored as the API
    /// server made it of the same.
    pub(crate) fn would_be_changed_again(
        &self,
        object: &impl Resource,
        stored: &impl Serialize,
        wanted: &impl Serialize,
    ) -> bool {
        let state = self.lock();
        let changed = state.changed.get(&object.uid().unwrap_or_default());
        changed.is_some_and(|changed| {
            let is_same = changed.stored == without_times(stored) && changed.wanted == without_times(wanted);
            is_same && Instant::now() < changed.until
        })
    }

    /// Compares a status with what was stored of it. The names of the fields that differ, where
    /// that is news.
    pub(crate) fn compare(
        &self,
        object: &impl Resource,
        wanted: &impl Serialize,
        stored: &impl Serialize,
        most: Duration,
    ) -> Option<Vec<String>> {
        let (wanted, stored) = (without_times(wanted), without_times(stored));
        let uid = object.uid().unwrap_or_default();
        let mut state = self.lock();
        if wanted == stored {
            state.changed.remove(&uid);
            return None;
        }
        let differing = differing(&wanted, &stored);
        let times = state
            .changed
            .get(&uid)
            .map_or(0, |before| before.times)
            .saturating_add(1);
        let changed = Changed {
            wanted,
            stored,
            times,
            // The wait after a first refusal is too short for what is known to be changed.
            until: Instant::now() + wait(times.saturating_add(1), most),
        };
        let before = state.changed.insert(uid, changed);
        let is_news = before.is_none_or(|before| self::differing(&before.wanted, &before.stored) != differing);
        is_news.then_some(differing)
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, object: &impl Resource) {
        let uid = object.uid().unwrap_or_default();
        let mut state = self.lock();
        state.changed.remove(&uid);
        for write in [Write::Finalizer, Write::Status] {
            state.backoff.remove(&(uid.clone(), write));
        }
    }
}

/// What the API server said where it refused a write, whatever the code; none where it did not: the
/// object has changed or is gone, or there was no answer.
fn refusal_message(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => None,
        kube::Error::Api(_) => Some(error::message(error)),
        _ => None,
    }
}

/// How long to wait after so many refusals in a row; `most` at the most, where that is not too
/// short.
pub(crate) fn wait(failures: u32, most: Duration) -> Duration {
    if failures <= 1 {
        return FIRST_WAIT;
    }
    let wait = doubled(SHORTEST_WAIT, failures - 1).min(most.max(SHORTEST_WAIT));
    // What was refused together does not come back together.
    wait.mul_f64(1.0 + 0.25 * fastrand::f64())
}

fn without_times(status: &impl Serialize) -> Value {
    let mut status = json!(status);
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter_map(Value::as_object_mut) {
        condition.remove("lastTransitionTime");
    }
    status
}

fn differing(wanted: &Value, stored: &Value) -> Vec<String> {
    let names = [wanted, stored]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys());
    let mut names: Vec<String> = names
        .filter(|name| wanted.get(name) != stored.get(name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    const MOST: Duration = Duration::from_secs(300);

    fn object(generation: i64) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "a", "uid": "1", "generation": generation}}))
            .expect("an object")
    }

    fn refusal(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status::failure(message, "Any").with_code(code)))
    }

    #[test]
    fn any_code_is_a_refusal_but_those_of_an_object_that_changed_or_is_gone() {
        for code in [400, 401, 403, 413, 422, 429, 500, 503, 504] {
            assert_eq!(refusal_message(&refusal(code, "no")).as_deref(), Some("no"), "{code}");
        }
        assert_eq!(refusal_message(&refusal(500, "")).as_deref(), Some("HTTP 500"));
        for code in [404, 409] {
            assert_eq!(refusal_message(&refusal(code, "no")), None, "{code}");
        }
    }

    #[test]
    fn a_refused_write_is_tried_three_times_a_minute_at_the_most() {
        for most in [Duration::from_secs(1), MOST] {
            let mut tries = vec![Duration::ZERO];
            for failures in 1..30 {
                tries.push(*tries.last().expect("one") + wait(failures, most));
            }
            let minute = Duration::from_secs(60);
            // The first is what shows that it is refused.
            let most_in_one = (1..tries.len()).map(|from| {
                let end = tries[from] + minute;
                tries[from..].iter().filter(|at| **at < end).count()
            });
            assert!(most_in_one.max() <= Some(3), "{tries:?}");
            let longest = wait(30, most);
            assert!(longest <= most.max(SHORTEST_WAIT).mul_f64(1.25), "{longest:?}");
        }
    }

    #[test]
    fn a_refusal_holds_until_its_time_or_a_success_and_is_news_once() {
        let writes = Writes::default();
        let refuse = |message: &str| {
            let ended: Result<(), _> = Err(refusal(400, message));
            writes
                .note(&object(1), Write::Status, MOST, ended)
                .expect_err("refused")
        };
        assert_eq!(writes.refused(&object(1), Write::Status), None);
        for message in ["no", "no", "no"] {
            assert_eq!(refuse(message).to_string(), refuse(message).to_string());
        }
        let refused = writes.refused(&object(1), Write::Status).expect("refused");
        assert_eq!(refused.message, "no");
        assert!(refused.left > SHORTEST_WAIT, "{:?}", refused.left);
        assert!(
            !writes
                .refuse(&object(1), Write::Status, MOST, "no".to_owned(), 1)
                .is_news
        );
        assert!(
            writes
                .refuse(&object(1), Write::Status, MOST, "never".to_owned(), 1)
                .is_news
        );
        assert_eq!(writes.refused(&object(1), Write::Finalizer), None);
        // Whoever edits it need not wait so long.
        let edited = writes.refused(&object(2), Write::Status).expect("refused");
        assert!(edited.left <= SHORTEST_WAIT, "{:?}", edited.left);
        writes.note(&object(1), Write::Status, MOST, Ok(())).expect("written");
        assert_eq!(writes.refused(&object(1), Write::Status), None);
    }

    #[test]
    fn a_status_that_was_changed_is_not_written_again_for_the_same() {
        let writes = Writes::default();
        let status = |reason: &str, time: &str| json!({"state": "x", "conditions": [{"reason": reason, "lastTransitionTime": time}]});
        let (wanted, stored) = (status("Available", "1"), status("Mine", "1"));
        assert!(!writes.would_be_changed_again(&object(1), &stored, &wanted));
        assert_eq!(
            writes.compare(&object(1), &wanted, &stored, MOST),
            Some(vec!["conditions".to_owned()])
        );
        assert!(writes.would_be_changed_again(&object(1), &stored, &status("Available", "2")));
        assert!(!writes.would_be_changed_again(&object(1), &stored, &status("Pending", "2")));
        assert!(!writes.would_be_changed_again(&object(1), &wanted, &wanted));
        assert_eq!(
            writes.compare(&object(1), &status("Pending", "2"), &stored, MOST),
            None,
            "no news"
        );
        assert_eq!(
            writes.compare(&object(1), &wanted, &status("Available", "3"), MOST),
            None
        );
        assert!(
            !writes.would_be_changed_again(&object(1), &stored, &wanted),
            "it holds now"
        );
    }
}
