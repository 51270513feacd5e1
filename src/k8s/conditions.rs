//! Conditions, as Kubernetes' API conventions have them: the time of the last transition stays
//! until the status changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The condition of a type, if it is there.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Makes the conditions that an object has from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions<'a> {
    /// Those that it had.
    pub(crate) before: &'a [Condition],
    /// The generation that they speak of.
    pub(crate) generation: Option<i64>,
}

impl Conditions<'_> {
    /// A condition of this type, with `True`, `False` or `Unknown` as its status.
    pub(crate) fn condition(
        &self,
        type_: impl Into<String>,
        status: impl Into<String>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Condition {
        let (type_, status) = (type_.into(), status.into());
        let same = find(self.before, &type_).filter(|before| before.status == status);
        Condition {
            last_transition_time: same.map_or_else(now, |before| before.last_transition_time.clone()),
            type_,
            status,
            reason: reason.into(),
            message: message.into(),
            observed_generation: self.generation,
        }
    }
}

/// The status that says whether something is so.
pub(crate) fn status(is_so: bool) -> &'static str {
    if is_so { "True" } else { "False" }
}

/// To the second, as Kubernetes keeps times.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use vpce_core::conditions::{READY, STALLED};

    use super::*;

    fn at(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).expect("a time"))
    }

    #[test]
    fn a_transition_is_a_change_of_status_and_nothing_else() {
        let long_ago = at(1_000_000_000);
        let before = [Condition {
            last_transition_time: long_ago.clone(),
            message: "as it was".to_owned(),
            observed_generation: Some(1),
            reason: "Available".to_owned(),
            status: "True".to_owned(),
            type_: READY.to_owned(),
        }];
        let conditions = Conditions {
            before: &before,
            generation: Some(2),
        };
        let same = conditions.condition(READY, "True", "Changing", "other words");
        assert_eq!(same.last_transition_time, long_ago);
        assert_eq!(
            (same.reason.as_str(), same.message.as_str()),
            ("Changing", "other words")
        );
        assert_eq!(same.observed_generation, Some(2));
        for (type_, status) in [(READY, "False"), (READY, "Unknown"), (STALLED, "True")] {
            let other = conditions.condition(type_, status, "Changing", "other words");
            assert_ne!(other.last_transition_time, long_ago, "{type_}={status}");
            assert_eq!(other.last_transition_time.0.subsec_nanosecond(), 0);
        }
    }
}
