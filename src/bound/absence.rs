//! What may be in AWS and is not seen: an answer may have been lost, and EC2 is eventually
//! consistent.

use std::time::Instant;

/// What may be in AWS and is not seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Absence {
    /// Whether the object was bound by this process and no create was tried since: then nothing can
    /// have been made unseen.
    nothing_made: bool,
    /// Since when something that may be in AWS was not found for an object that is deleted.
    absent_since: Option<Instant>,
    /// Since when AWS has said that it was made by an earlier try, which is not found.
    made_unseen_since: Option<Instant>,
}

impl Absence {
    /// The object was bound: nothing was made for it yet.
    pub(crate) fn bound(&mut self) {
        self.nothing_made = true;
    }

    /// Nothing is left of what was made for it.
    pub(crate) fn unbound(&mut self) {
        self.absent_since = None;
        self.made_unseen_since = None;
    }

    /// Something is desired: what was not there before may be made from here on.
    pub(crate) fn desired(&mut self) {
        self.absent_since = None;
    }

    /// A create is tried, whose answer may be lost.
    pub(crate) fn create_tried(&mut self) {
        self.nothing_made = false;
    }

    /// AWS answered a create with what it made.
    pub(crate) fn made_seen(&mut self) {
        self.made_unseen_since = None;
    }

    /// Whether nothing can have been made unseen.
    pub(crate) fn nothing_made(&self) -> bool {
        self.nothing_made
    }

    /// Since when what may be there is not found; `None` the first time, from when on it counts.
    pub(crate) fn absent_since(&mut self) -> Option<Instant> {
        let before = self.absent_since;
        self.absent_since.get_or_insert_with(Instant::now);
        before
    }

    /// Since when what an earlier create made is not found.
    pub(crate) fn unseen_since(&mut self) -> Instant {
        *self.made_unseen_since.get_or_insert_with(Instant::now)
    }
}
