//! What follows from a step that AWS or the API server refused: another way, a wait, and what is
//! told meanwhile.

use std::time::{Duration, Instant};

use vpce_core::conditions::{Finding, Reason};
use vpce_core::error::Class;
use vpce_core::ids::GroupId;
use vpce_core::plan::{Fallbacks, Part, Step, UnfinishedReason};

use super::apply::{ASK_AGAIN, Applier, InAws, Unfinished, action};
use crate::aws::error::CallError;
use crate::aws::region::RefreshError;
use crate::bound::explain::{explain, is_in_use};
use crate::bound::waits::{Tried, Wait};
use crate::k8s::error::{is_conflict, message};

/// AWS takes away the network interfaces of an endpoint a while after the endpoint; so long its
/// group may be in use.
const INTERFACES_LINGER: Duration = Duration::from_secs(120);

/// What follows from a step that AWS refused.
pub(super) enum Failed {
    Left(Unfinished),
    /// There is another way.
    Learned,
    /// As `StepEnd::Replayed`.
    Replayed,
}

impl Applier<'_> {
    /// The API server did not take a change of what is published.
    pub(super) fn not_published(&self, step: &Step, error: &kube::Error) -> Unfinished {
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            action = step.action(),
            error = message(error),
            "a request to the API server failed"
        );
        // It changed meanwhile.
        if is_conflict(error) {
            return Unfinished::waiting(Some(ASK_AGAIN), None);
        }
        let message = format!("{step}: the API server refused: {}", message(error));
        let reason = match step.part() {
            Part::Names => Reason::DNSEndpointRefused,
            Part::ConfigMap => Reason::ConfigMapRefused,
            Part::Service | Part::Endpoint | Part::Group => Reason::ServiceRefused,
        };
        let finding = Finding::bad(reason, message);
        self.refused_for(step, UnfinishedReason::Refused, Some(finding), Wait::Kubernetes)
    }

    /// Waits before this very step is tried again, longer after each refusal.
    pub(super) fn refused(&self, step: &Step, reason: UnfinishedReason, finding: Option<Finding>) -> Unfinished {
        self.refused_for(step, reason, finding, Wait::Aws)
    }

    fn refused_for(&self, step: &Step, reason: UnfinishedReason, finding: Option<Finding>, wait: Wait) -> Unfinished {
        let resync = self.ctx.shared.settings.resync_interval;
        let memories = &self.ctx.memories;
        let tried = Tried::step(step);
        let retry = memories.refused(self.object, tried, reason, finding.clone(), resync, wait);
        Unfinished {
            reason,
            finding,
            retry: Some(retry),
            failed: true,
        }
    }

    pub(super) fn learn(&self, learn: impl FnOnce(&mut Fallbacks) -> bool) -> bool {
        self.ctx
            .memories
            .with(self.object, |memory| learn(&mut memory.own.fallbacks))
    }

    /// Whether what an earlier create made must be gone by now.
    fn was_deleted_unseen(&self, aws: &InAws<'_>) -> bool {
        let (settle, read) = (self.ctx.shared.settings.settle, aws.region.read_at());
        let memories = &self.ctx.memories;
        memories.with(self.object, |memory| memory.absence.was_deleted_unseen(settle, read))
    }

    /// Whether a group has been in use for so short a time that it need not worry anybody.
    fn has_patience(&self) -> bool {
        self.ctx.memories.with(self.object, |memory| {
            memory.own.in_use_since.get_or_insert_with(Instant::now).elapsed() < INTERFACES_LINGER
        })
    }

    /// By whom a group is used that cannot be deleted.
    async fn in_use(&self, aws: &InAws<'_>, error: &CallError, id: &GroupId) -> String {
        let users = match aws.region.users_of_group(aws.ec2, id).await {
            Ok(users) if users.is_empty() => "nothing uses it any more: the deletion is retried".to_owned(),
            Ok(users) => format!("still used by {}: detach it there", users.join(", ")),
            Err(RefreshError::Busy(_)) => "something still uses it: the deletion is retried".to_owned(),
            Err(RefreshError::Failed(unseen)) => {
                let unseen = explain(&unseen, aws.role, &aws.ec2.account_id, &aws.ec2.region);
                format!("something still uses it, which cannot be read: {}", unseen.message)
            }
        };
        format!("{error} ({users})")
    }

    /// AWS refused a step.
    pub(super) async fn failed(&self, step: &Step, steps: &[Step], error: &CallError) -> Failed {
        let Some(aws) = &self.aws else {
            // Nothing was called.
            return Failed::Left(Unfinished::waiting(None, None));
        };
        if is_in_use(error) && self.has_patience() {
            return Failed::Left(Unfinished::waiting(Some(aws.region.next_tick()), None));
        }
        aws.calls(self.owner).failed(error);
        if error.class == Class::Throttled {
            if let Some(action) = action(step) {
                aws.region.throttled(action);
            }
            return Failed::Left(Unfinished::waiting(Some(ASK_AGAIN), None));
        }
        if error.outcome_unknown() {
            aws.region.invalidate();
        }
        if error.is_expired_session() {
            crate::account::forget_session(&self.ctx.shared, aws.account, aws.ec2).await;
        }
        if matches!(step, Step::CreateEndpoint { .. })
            && error.code == "IdempotentParameterMismatch"
            && self.was_deleted_unseen(aws)
        {
            return Failed::Replayed;
        }
        if self.learn(|fallbacks| fallbacks.learn(steps, step, &error.code, error.class)) {
            return Failed::Learned;
        }
        if let Some(left) = self.snapshot_is_behind(aws, step, error) {
            return Failed::Left(left);
        }
        let mut finding = explain(error, aws.role, &aws.ec2.account_id, &aws.ec2.region);
        if let (Step::DeleteGroup(id), true) = (step, is_in_use(error)) {
            finding.message = self.in_use(aws, error, id).await;
        }
        let about = format!("{} {}", error.action, aws.ec2.region);
        crate::account::record_event(&self.ctx.shared, aws.account, &finding, &about);
        let reason = match error.class {
            Class::Throttled | Class::Transient | Class::Conflict => UnfinishedReason::Postponed,
            Class::Denied | Class::Invalid | Class::NotFound | Class::Quota | Class::Unknown => {
                UnfinishedReason::Refused
            }
        };
        Failed::Left(self.refused(step, reason, Some(finding)))
    }

    /// Where AWS's answer says that what we want is there already, or gone already.
    fn snapshot_is_behind(&self, aws: &InAws<'_>, step: &Step, error: &CallError) -> Option<Unfinished> {
        let is_behind = matches!(
            (step, error.code.as_str()),
            (Step::Authorize(..), "InvalidPermission.Duplicate")
                | (
                    Step::Revoke(..) | Step::UpdateRuleDescriptions(..),
                    "InvalidPermission.NotFound"
                )
                | (Step::CreateGroup { .. }, "InvalidGroup.Duplicate")
                | (Step::CreateEndpoint { .. }, "IdempotentParameterMismatch")
        );
        if !is_behind {
            return None;
        }
        aws.region.invalidate();
        let finding = matches!(step, Step::CreateGroup { .. } | Step::CreateEndpoint { .. }).then(|| {
            Finding::bad(
                Reason::Creating,
                format!("{}: an earlier call was carried out; reading its result", error.code),
            )
        });
        // What it made may be found at the next read; what is never found is not asked for at every
        // poll.
        let mut left = self.refused(step, UnfinishedReason::Postponed, finding);
        left.retry = left.retry.max(Some(aws.region.next_tick()));
        left.failed = false;
        Some(left)
    }
}
