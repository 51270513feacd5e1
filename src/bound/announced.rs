//! What was said of an object, so that it is said once.

use vpce_core::conditions::Finding;

/// A message that lists steps ends after so many characters: rules may be many.
const LONGEST_LIST: usize = 2000;

/// Changes that are planned for an object and not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedChanges {
    /// The AWSAccount's name.
    pub account: String,
    /// What each step does: as metrics name it.
    pub actions: Vec<&'static str>,
}

/// What is said of changes that are not carried out for this reason.
pub(crate) fn planned(why: &Finding, steps: impl IntoIterator<Item = impl ToString>) -> Finding {
    let steps: Vec<String> = steps.into_iter().map(|step| step.to_string()).collect();
    let mut message = format!("{}; planned changes: {}", why.message, steps.join("; "));
    if let Some((end, _)) = message.char_indices().nth(LONGEST_LIST) {
        message.truncate(end);
        message.push_str("...");
    }
    Finding::bad(why.reason, message)
}

/// What was said of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announced {
    /// Whether it was bound by this process and has not been Ready since.
    awaits_first_ready: bool,
    /// The generation that it was last Ready for.
    ready_for: Option<i64>,
    /// The generation whose warnings were told.
    warned: Option<i64>,
    /// Changes that are planned and not carried out.
    pub planned_changes: Option<PlannedChanges>,
}

impl Announced {
    /// The object was bound: how long it takes to be Ready is measured.
    pub(crate) fn bound(&mut self) {
        self.awaits_first_ready = true;
    }

    /// Whether it is Ready for the first time since it was bound.
    pub(crate) fn take_first_ready(&mut self) -> bool {
        std::mem::take(&mut self.awaits_first_ready)
    }

    /// Whether the object has been Ready for this generation: what is changed for it since repairs
    /// drift, however many rounds that takes.
    pub(crate) fn has_been_ready(&mut self, is_ready: bool, generation: Option<i64>) -> bool {
        if is_ready {
            self.ready_for = generation;
        }
        self.ready_for == generation
    }

    /// Whether the warnings of this generation are told for the first time.
    pub(crate) fn warns(&mut self, generation: Option<i64>) -> bool {
        std::mem::replace(&mut self.warned, generation) != generation
    }
}
