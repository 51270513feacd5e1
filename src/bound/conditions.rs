//! Findings become the conditions of an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use vpce_core::conditions::{ConditionType, EventKind, Finding, READY, Reason, STALLED};

use crate::k8s::conditions::{self, Conditions};

/// What a part says whose words are in Ready, so that they are read once.
const SEE_READY: &str = "see Ready";

/// How a part of an object stands.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// So.
    Is(Finding),
    /// It was not observed, and keeps what it said before.
    Unobserved,
    /// It is not asked for: it has no condition.
    Dropped,
}

impl From<Option<Finding>> for Part {
    fn from(finding: Option<Finding>) -> Self {
        finding.map_or(Self::Unobserved, Self::Is)
    }
}

impl Part {
    /// Of what may not be asked for.
    pub(crate) fn optional(finding: Option<Finding>) -> Self {
        match finding {
            Some(finding) if finding.reason == Reason::NotRequested => Self::Dropped,
            finding => finding.into(),
        }
    }
}

/// The conditions of these parts in place of those `before`, Ready first. Says whether Ready says
/// something else than before: another reason, or of what a person should know other words.
pub(crate) fn of_parts<const N: usize>(
    before: &[Condition],
    summary: &Finding,
    parts: &[(ConditionType, Part); N],
    generation: Option<i64>,
) -> (Vec<Condition>, bool) {
    let conditions = Conditions { before, generation };
    let put = |type_: &str, finding: &Finding, message: &str, is_so: bool| {
        conditions.condition(type_, conditions::status(is_so), finding.reason.as_str(), message)
    };
    let ready = conditions::find(before, READY);
    let mut all = vec![put(READY, summary, &summary.message, summary.ok)];
    for (type_, part) in parts {
        match part {
            Part::Is(finding) => {
                let is_in_ready = finding.reason == summary.reason && summary.message.contains(&finding.message);
                let message = if is_in_ready { SEE_READY } else { &finding.message };
                all.push(put(&type_.to_string(), finding, message, finding.ok));
            }
            Part::Unobserved => {
                let kept = conditions::find(before, &type_.to_string()).cloned();
                all.extend(kept.map(|mut kept| {
                    // Ready says something else now.
                    let ready = ready.filter(|ready| kept.message == SEE_READY && ready.message != summary.message);
                    if let Some(ready) = ready {
                        kept.message.clone_from(&ready.message);
                    }
                    kept
                }));
            }
            Part::Dropped => {}
        }
    }
    if !summary.ok && summary.reason.policy().stalled {
        // kstatus, and so Flux, show the words of this one.
        all.push(put(STALLED, summary, &summary.message, true));
    }
    // Ready first: for people, and for the column that shows what stands in the way.
    all.sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
    let is_told = summary.reason.policy().event != EventKind::None;
    let is_news = ready
        .is_none_or(|ready| ready.reason != summary.reason.as_str() || (is_told && ready.message != summary.message));
    (all, is_news)
}
