//! Why a reconcile ends before its plan is carried out. `?` carries it out of any stage.

use vpce_core::conditions::{Finding, Reason};
use vpce_core::resolve::Binding;

use super::access::{Closed, NoSession, Unread};
use super::findings::{Parts, Standing, account_resolved};
use crate::k8s::controller::Next;

/// Why a reconcile ends early. `F` says how the parts of an object of its kind stand.
pub(crate) enum Stop<F> {
    /// There is nothing to do and nothing to say before then.
    Requeue(Next),
    /// What the object says, or what it is bound to, has to change first.
    Findings(Box<F>),
    /// It is being deleted, and was never bound, for this reason: nothing can have been made for
    /// it.
    NeverBound(Finding),
    /// The AWS account is closed: what was made there is left to it.
    Decommissioned(Finding),
    /// The account's role cannot be assumed.
    NoSession(Box<NoSession>),
    /// AWS could not be read.
    Unread(Box<Unread>),
    /// The API server refused, or failed.
    Kubernetes(Box<kube::Error>),
}

impl<F> From<kube::Error> for Stop<F> {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

impl<F> From<Box<Unread>> for Stop<F> {
    fn from(unread: Box<Unread>) -> Self {
        Self::Unread(unread)
    }
}

impl<F> From<Closed> for Stop<F> {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::NoSession(no) => Self::NoSession(no),
            Closed::NoRoom => Self::Requeue(Next::WhenRoom),
        }
    }
}

impl<F: Parts> From<F> for Stop<F> {
    fn from(findings: F) -> Self {
        Self::Findings(Box::new(findings))
    }
}

impl<F: Parts> Stop<F> {
    /// The spec asks for what cannot be, or is not allowed, in the account that it was resolved to.
    pub(crate) fn bad_spec(binding: &Binding, finding: Finding) -> Self {
        F::of_resource(Some(account_resolved(binding)), finding).into()
    }

    /// In one finding, for a preview, which writes no status.
    pub(crate) fn finding(self) -> Finding {
        match self {
            Self::Findings(findings) => findings.summary(Standing::default()),
            Self::NeverBound(finding) | Self::Decommissioned(finding) => finding,
            Self::NoSession(no) => no.finding(),
            Self::Unread(unread) => unread.finding(),
            Self::Requeue(_) => Finding::bad(Reason::Deleting, "nothing is left to be done for it"),
            Self::Kubernetes(error) => Finding::bad(Reason::InternalError, error.to_string()),
        }
    }
}
