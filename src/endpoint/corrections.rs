//! What the operator publishes in Kubernetes, where it does not hold what is written to it: an
//! admission controller changes it on the way, or another controller right after.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use vpce_core::config_map::{ConfigMapContent, ObservedConfigMap};
use vpce_core::names::{DnsEndpointContent, ObservedDnsEndpoint};
use vpce_core::observed::{ObservedService, ServiceContent};
use vpce_core::slices::{ObservedSlice, SliceContent};

use crate::k8s::writes::wait;

/// Corrections of one of them, for the same, in [`WINDOW`]; more of them only fight another
/// controller.
const MOST_CORRECTIONS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// Something that the operator publishes, as it is observed.
pub(crate) trait Correctable: Clone + Debug + PartialEq {
    /// What it is to hold.
    type Content: Clone + Debug + PartialEq;
    /// Its name.
    fn name(&self) -> &str;
    /// Whether it carries our label, without which the cache does not have it.
    fn is_labelled(&self) -> bool;
    /// Whether it holds that.
    fn holds(&self, content: &Self::Content) -> bool;
    /// The same, with what the API server stores as this.
    fn written_as(self, content: Option<Self::Content>) -> Self;
}

impl Correctable for ObservedService {
    type Content = ServiceContent;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_labelled(&self) -> bool {
        self.labelled
    }

    fn holds(&self, content: &ServiceContent) -> bool {
        self.differences(content).is_empty()
    }

    fn written_as(self, written_as: Option<ServiceContent>) -> Self {
        Self { written_as, ..self }
    }
}

impl Correctable for ObservedSlice {
    type Content = SliceContent;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_labelled(&self) -> bool {
        self.labelled
    }

    fn holds(&self, content: &SliceContent) -> bool {
        self.differences(content).is_empty()
    }

    fn written_as(self, written_as: Option<SliceContent>) -> Self {
        Self { written_as, ..self }
    }
}

impl Correctable for ObservedDnsEndpoint {
    type Content = DnsEndpointContent;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_labelled(&self) -> bool {
        self.labelled
    }

    fn holds(&self, content: &DnsEndpointContent) -> bool {
        self.differences(content).is_empty()
    }

    fn written_as(self, written_as: Option<DnsEndpointContent>) -> Self {
        Self { written_as, ..self }
    }
}

impl Correctable for ObservedConfigMap {
    type Content = ConfigMapContent;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_labelled(&self) -> bool {
        // None is found by its label.
        true
    }

    fn holds(&self, content: &ConfigMapContent) -> bool {
        self.differences(content).is_empty()
    }

    fn written_as(self, written_as: Option<ConfigMapContent>) -> Self {
        Self { written_as, ..self }
    }
}

/// What the API server has made of one of them.
#[derive(Debug, Clone)]
pub(crate) struct Changed<R: Correctable> {
    /// As it is found.
    pub found: R,
    written: R::Content,
    /// It is corrected again then.
    until: Instant,
}

impl<R: Correctable> Changed<R> {
    /// How it is observed: as the cache has it, with what was written while that is left as it is.
    /// The cache has none that lost our label.
    pub(super) fn observed(&self, cached: Option<R>) -> Option<R> {
        let holds = Instant::now() < self.until;
        match cached {
            None if holds && !self.found.is_labelled() => Some(self.with_written()),
            Some(cached) if holds && cached == self.found => Some(self.with_written()),
            cached => cached,
        }
    }

    fn with_written(&self) -> R {
        self.found.clone().written_as(Some(self.written.clone()))
    }
}

/// How the corrections of one of them went.
#[derive(Debug, Clone)]
pub(crate) struct Corrections<R: Correctable> {
    /// Of what it does not hold. Boxed, as below: of most there is nothing to remember.
    written: Option<Box<R::Content>>,
    /// Writes after which it did not hold that, in a row.
    failures: u32,
    /// When it was corrected lately.
    lately: Vec<Instant>,
    /// What is left as it is for now.
    pub changed: Option<Box<Changed<R>>>,
}

impl<R: Correctable> Default for Corrections<R> {
    fn default() -> Self {
        Self {
            written: None,
            failures: 0,
            lately: Vec::new(),
            changed: None,
        }
    }
}

impl<R: Correctable> Corrections<R> {
    fn start(&mut self, written: &R::Content) {
        if self.written.as_deref() != Some(written) {
            *self = Self {
                written: Some(Box::new(written.clone())),
                ..Self::default()
            };
        }
    }

    /// Whether one that is there may be corrected; otherwise it is left as it is found for a while.
    pub(crate) fn may_correct(&mut self, written: &R::Content, found: Option<R>) -> bool {
        self.start(written);
        self.lately.retain(|at| at.elapsed() < WINDOW);
        match (self.lately.first(), found) {
            (Some(first), Some(found)) if self.lately.len() >= MOST_CORRECTIONS => {
                let until = *first + WINDOW;
                self.leave_unchanged(found, until);
                false
            }
            _ => {
                self.lately.push(Instant::now());
                true
            }
        }
    }

    /// Takes note of what a write was stored as. The first time that it does not hold it is
    /// corrected, then it is left as it is for a while, which grows up to `most`.
    pub(crate) fn stored(&mut self, written: &R::Content, found: R, most: Duration) {
        self.start(written);
        if found.holds(written) {
            self.failures = 0;
            self.changed = None;
            self.lately.retain(|at| at.elapsed() < WINDOW);
            if self.lately.is_empty() {
                *self = Self::default();
            }
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures > 1 {
            // The wait after a first refusal is too short for what is known to be changed.
            let until = Instant::now() + wait(self.failures, most);
            self.leave_unchanged(found, until);
        }
    }

    /// Whether one of this name was left as it is found, and is not gone since.
    pub(crate) fn is_left(&self, name: &str) -> bool {
        self.changed
            .as_ref()
            .is_some_and(|changed| changed.found.name() == name)
    }

    /// One of this name was deleted.
    pub(crate) fn deleted(&mut self, name: &str) {
        if self.is_left(name) {
            self.changed = None;
        }
    }

    fn leave_unchanged(&mut self, found: R, until: Instant) {
        if let Some(written) = self.written.clone() {
            let (found, written) = (found.written_as(None), *written);
            self.changed = Some(Box::new(Changed { found, written, until }));
        }
    }
}

#[cfg(test)]
mod tests {
    use vpce_core::metadata::Metadata;
    use vpce_core::observed::ServiceTarget;

    use super::*;

    const MOST: Duration = Duration::from_secs(300);

    fn content(target: &str) -> ServiceContent {
        ServiceContent {
            target: ServiceTarget::Name(target.to_owned()),
            ports: Vec::new(),
            metadata: Metadata::default(),
        }
    }

    fn found(target: &str) -> ObservedService {
        ObservedService {
            name: "db".to_owned(),
            ours: true,
            unowned: false,
            external_name: Some(target.to_owned()),
            headless: false,
            ports: Vec::new(),
            labelled: true,
            metadata: Metadata::default(),
            written_as: None,
        }
    }

    fn left(corrections: &Corrections<ObservedService>, cached: Option<ObservedService>) -> bool {
        let seen = corrections
            .changed
            .as_ref()
            .and_then(|changed| changed.observed(cached));
        seen.is_some_and(|seen| seen.written_as.is_some())
    }

    #[test]
    fn what_is_changed_is_corrected_once_and_then_left_until_something_else_is_written_or_found() {
        let mut corrections = Corrections::default();
        corrections.stored(&content("a"), found("b"), MOST);
        assert!(!left(&corrections, Some(found("b"))), "it is corrected first");
        corrections.stored(&content("a"), found("b"), MOST);
        assert!(left(&corrections, Some(found("b"))));
        assert!(!left(&corrections, Some(found("c"))), "it was changed again");
        assert!(!left(&corrections, None), "it was deleted");
        corrections.stored(&content("c"), found("b"), MOST);
        assert!(!left(&corrections, Some(found("b"))), "another is written");
        corrections.stored(&content("c"), found("c"), MOST);
        assert!(corrections.changed.is_none());
    }

    #[test]
    fn one_that_the_cache_does_not_show_is_left_until_it_is_gone() {
        let mut corrections = Corrections::default();
        let unlabelled = ObservedService {
            labelled: false,
            ..found("a")
        };
        for _ in 0..2 {
            corrections.stored(&content("a"), unlabelled.clone(), MOST);
        }
        assert!(left(&corrections, None));
        corrections.deleted("other");
        assert!(left(&corrections, None));
        corrections.deleted("db");
        assert!(!left(&corrections, None));
    }

    #[test]
    fn who_changes_it_back_each_time_is_fought_three_times_a_minute() {
        let mut corrections = Corrections::default();
        for _ in 0..MOST_CORRECTIONS {
            assert!(corrections.may_correct(&content("a"), Some(found("b"))));
            corrections.stored(&content("a"), found("a"), MOST);
        }
        assert!(!corrections.may_correct(&content("a"), Some(found("b"))));
        assert!(left(&corrections, Some(found("b"))));
        // An edit is carried out.
        assert!(corrections.may_correct(&content("c"), Some(found("b"))));
    }
}
