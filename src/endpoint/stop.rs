//! What follows where a reconcile ends before its plan is carried out.

use vpce_core::conditions::{EventKind, Finding};

use super::findings::Findings;
use super::reconcile::{Next, Reconciliation};
use crate::bound::stop;

/// Why a reconcile ends early.
pub(super) type Stop = stop::Stop<Findings>;

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
            Stop::NoSession(no) => self.refused(&no).await,
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
