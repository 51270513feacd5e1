//! Why a reconcile ends before its plan is carried out. `?` carries it out of any stage; here it
//! becomes findings and a requeue.

use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::resolve::Binding;

use super::explain::explain;
use super::findings::{self, Findings, Standing};
use super::reconcile::{Next, Reconciliation};
use crate::aws::ec2::Ec2;
use crate::aws::region::RefreshError;
use crate::aws::sessions::Refusal;

/// Why a reconcile ends early.
pub(super) enum Stop {
    /// There is nothing to do and nothing to say before then.
    Requeue(Next),
    /// What the object says, or what it is bound to, has to change first.
    Findings(Box<Findings>),
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

/// A role that cannot be assumed.
pub(super) struct NoSession {
    /// The AWSAccount's name.
    pub(super) account: String,
    /// What STS answered.
    pub(super) refusal: Refusal,
}

/// A read of AWS that failed.
pub(super) struct Unread {
    pub(super) error: RefreshError,
    pub(super) binding: Binding,
    pub(super) role: String,
    pub(super) ec2: Ec2,
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

impl From<Findings> for Stop {
    fn from(findings: Findings) -> Self {
        Self::Findings(Box::new(findings))
    }
}

impl Stop {
    /// The account's role cannot be assumed.
    pub(super) fn no_session(account: &str, refusal: Refusal) -> Self {
        Self::NoSession(Box::new(NoSession {
            account: account.to_owned(),
            refusal,
        }))
    }

    /// The spec asks for what cannot be, or is not allowed, in the account that it was resolved to.
    pub(super) fn bad_spec(binding: &Binding, finding: Finding) -> Self {
        let findings = Findings {
            account: Some(findings::account_resolved(binding)),
            endpoint: Some(finding),
            ..Findings::default()
        };
        findings.into()
    }

    /// In one finding, for a preview, which writes no status.
    pub(super) fn finding(self) -> Finding {
        match self {
            Self::Findings(findings) => findings.summary(Standing::default()),
            Self::NeverBound(finding) | Self::Decommissioned(finding) => finding,
            Self::NoSession(no) => not_ready(&no.account, &no.refusal),
            Self::Unread(unread) => unread.finding(),
            Self::Requeue(_) => Finding::bad(Reason::Deleting, "nothing is left to be done for it"),
            Self::Kubernetes(error) => Finding::bad(Reason::InternalError, error.to_string()),
        }
    }
}

impl Unread {
    fn finding(&self) -> Finding {
        match &self.error {
            RefreshError::Failed(error) => explain(error, &self.role, &self.ec2.account_id, &self.ec2.region),
            RefreshError::Busy(time) => Finding::bad(
                Reason::RateLimited,
                format!(
                    "the operator's rate limit for AWS allows no read for {} s: try again then",
                    time.as_secs()
                ),
            ),
        }
    }
}

impl Reconciliation<'_> {
    /// Ends the reconcile.
    pub(super) async fn stopped(&mut self, stop: Stop) -> Result<Next, kube::Error> {
        match stop {
            Stop::Requeue(next) => Ok(next),
            Stop::Findings(findings) => self.report(*findings).await,
            Stop::NeverBound(_) => self.remove_finalizer().await,
            Stop::Decommissioned(finding) => {
                self.record_abandoned(&finding);
                if self.moving.is_some() {
                    self.unbind().await
                } else {
                    self.remove_finalizer().await
                }
            }
            Stop::NoSession(no) => self.refused(&no.account, &no.refusal).await,
            Stop::Unread(unread) => self.not_seen(*unread).await,
            Stop::Kubernetes(error) => Err(*error),
        }
    }

    /// Tells what is left to an AWS account that is closed.
    fn record_abandoned(&self, finding: &Finding) {
        let status = &self.object.status;
        let ids: Vec<&str> = [&status.vpc_endpoint_id, &status.security_group_id]
            .into_iter()
            .filter_map(|id| id.as_deref())
            .collect();
        let note = format!("{}; abandoned: {}", finding.message, ids.join(", "));
        self.ctx
            .shared
            .events
            .publish(&*self.object, EventKind::Warning, "Abandoned", "Abandon", &note);
    }
}

/// What an endpoint says of a role that has no session.
pub(super) fn not_ready(account: &str, refusal: &Refusal) -> Finding {
    Finding::bad(
        Reason::AccountNotReady,
        format!("ask your platform team: AWSAccount {account} is not ready: {refusal}"),
    )
}
