//! What may be in AWS and is not seen: an answer may have been lost, and EC2 is eventually
//! consistent.

use std::time::{Duration, Instant};

/// What an earlier create made and was not found in this many times the time that a change takes to
/// settle was deleted before it was seen.
const UNSEEN_SETTLES: u32 = 30;
/// A moment after the time at which something is due.
const A_MOMENT: Duration = Duration::from_millis(10);

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

    /// Whether what an earlier create made has been looked for so long, in whole reads of the
    /// region, the last of which began at `read`, that it must be gone.
    pub(crate) fn was_deleted_unseen(&mut self, settle: Duration, read: Option<Instant>) -> bool {
        let since = *self.made_unseen_since.get_or_insert_with(Instant::now);
        let is_gone = read.is_some_and(|read| read >= since + settle * UNSEEN_SETTLES);
        if is_gone {
            self.made_seen();
        }
        is_gone
    }

    /// How long to wait until a further look has found nothing either; none when that has happened.
    /// `read` is when the last read of the whole region began, and `invalidate` asks for another.
    pub(crate) fn confirm(
        &mut self,
        settle: Duration,
        read: Option<Instant>,
        invalidate: impl Fn(),
    ) -> Option<Duration> {
        let since = self.absent_since().unwrap_or_else(|| {
            invalidate();
            Instant::now()
        });
        if read.is_some_and(|read| read >= since + settle) {
            return None;
        }
        if since.elapsed() >= settle {
            invalidate();
            return Some(A_MOMENT);
        }
        Some(settle.saturating_sub(since.elapsed()) + A_MOMENT)
    }
}
