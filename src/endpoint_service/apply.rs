//! Carries out steps, each that can be, whatever becomes of the others.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::{Finding, Reason};
use vpce_core::endpoint_service::{Outcome, Step, UnfinishedStep};
use vpce_core::error::Class;
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::State;
use vpce_core::plan::UnfinishedReason;
use vpce_core::rate::Decision;
use vpce_core::tags::Owner;

use super::context::Context;
use crate::aws::Permitted;
use crate::aws::ec2::Ec2;
use crate::aws::error::CallError;
use crate::aws::region::AccountRegion;
use crate::aws::region::limiter::Caller;
use crate::bound::calls::Calls;
use crate::bound::explain::{about, explain};
use crate::bound::waits::{Tried, Wait};
use crate::k8s::caches::EndpointService;

/// A call that AWS throttled asks the rate limiter again after this, which then knows for how long
/// to wait.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What the steps are carried out with.
pub(super) struct Applier<'a> {
    /// Clients and caches.
    pub(super) ctx: &'a Context,
    /// The object.
    pub(super) object: &'a Arc<EndpointService>,
    /// Who owns what is made.
    pub(super) owner: &'a Owner,
    /// The AWSAccount's name.
    pub(super) account: &'a str,
    /// The role that is assumed.
    pub(super) role: &'a str,
    /// Where.
    pub(super) region: &'a Arc<AccountRegion>,
    /// Through which.
    pub(super) ec2: &'a Ec2,
    /// The ClientToken of CreateVpcEndpointServiceConfiguration.
    pub(super) client_token: &'a str,
    /// Whether AWS may still be written for the object: asked before each write.
    pub(super) permitted: &'a Permitted,
}

/// What became of the steps of a plan.
#[derive(Debug, Default)]
pub(super) struct Applied<'p> {
    /// What was done.
    pub(super) done: Vec<&'p Step>,
    /// What was not, and what is told of it.
    pub(super) unfinished: Vec<UnfinishedStep<'p>>,
    /// When the first of what was not done is tried again; none: when something requeues the
    /// object.
    pub(super) retry: Option<Duration>,
    /// Whether something was refused.
    pub(super) failed: bool,
    /// Whether AWS may not be written for the object any more.
    pub(super) forbidden: bool,
    /// Whether AWS answered with what was made by an earlier try, and is gone.
    pub(super) replayed: bool,
}

impl<'p> Applied<'p> {
    fn leave(&mut self, step: &'p Step, left: Left) {
        let Left { finding, retry, failed } = left;
        self.unfinished.push(UnfinishedStep { step, finding });
        self.retry = [self.retry, retry].into_iter().flatten().min();
        self.failed |= failed;
    }
}

/// What is told of a step that is not done, and when it is tried again.
struct Left {
    finding: Finding,
    retry: Option<Duration>,
    failed: bool,
}

/// How one step ended.
enum StepEnd {
    Done,
    Left(Left),
    /// AWS answered with what was made by an earlier try, and is gone.
    Replayed,
}

impl Applier<'_> {
    /// Carries out the steps. One that is refused, or waits, holds up only those that wait for it.
    pub(super) async fn apply<'p>(&self, steps: &'p [Step]) -> Applied<'p> {
        let mut applied = Applied::default();
        // Who gives no answer to one call takes half a minute for each: the others go in the next
        // reconciliation.
        let mut answers = true;
        for step in steps {
            let earlier = applied.unfinished.iter().find(|left| step.waits_for(left.step));
            if let Some(earlier) = earlier {
                let finding = Finding::bad(Reason::Updating, format!("{step}: waits for {}", earlier.step));
                applied.leave(step, waiting(finding, None));
                continue;
            }
            if !answers {
                let finding = Finding::bad(Reason::Updating, step.to_string());
                applied.leave(step, waiting(finding, Some(ASK_AGAIN)));
                continue;
            }
            let tried = Tried::step(step);
            let refusal = self.ctx.memories.refusal(self.object, tried);
            if let Some(refusal) = refusal.filter(|refusal| !refusal.left().is_zero())
                && let Some(finding) = refusal.finding.clone()
            {
                let (retry, failed) = (Some(refusal.left()), true);
                applied.leave(step, Left { finding, retry, failed });
                continue;
            }
            if !(self.permitted)() {
                applied.forbidden = true;
                break;
            }
            if let Some(left) = self.wait_for_token(step) {
                applied.leave(step, left);
                continue;
            }
            let end = match self.carry_out(step).await {
                Ok(end) => end,
                Err(error) => {
                    answers &= !error.is_unanswered();
                    self.failed(step, &error).await
                }
            };
            match end {
                StepEnd::Done => {
                    self.ctx.memories.accepted(self.object, tried);
                    applied.done.push(step);
                }
                StepEnd::Left(left) => applied.leave(step, left),
                StepEnd::Replayed => {
                    applied.replayed = true;
                    break;
                }
            }
        }
        applied
    }

    /// Takes a token for the step's call. While there is none: how long it waits, and what the
    /// condition says meanwhile.
    fn wait_for_token(&self, step: &Step) -> Option<Left> {
        let caller = Caller {
            id: &self.owner.uid,
            object: Some(ObjectKey::of(&**self.object)),
        };
        let action = step.action();
        let Decision::Wait(time) = self.region.acquire(action, &caller) else {
            return None;
        };
        let key = self.region.key.clone();
        self.ctx
            .memories
            .with(self.object, |memory| memory.reserved_in = Some(key));
        let expected = self.region.expected_wait(action, &self.owner.uid).unwrap_or(time);
        let message = format!(
            "waits in the queue of the operator's rate limiter for {}: AWS limits the rate of {action} calls in an \
             account and region",
            about(expected)
        );
        Some(waiting(Finding::bad(Reason::RateLimited, message), Some(time)))
    }

    async fn carry_out(&self, step: &Step) -> Result<StepEnd, CallError> {
        if let Step::Create { .. } = step {
            self.ctx
                .memories
                .with(self.object, |memory| memory.absence.create_tried());
        }
        let done = self.ec2.carry_out(step, self.client_token).await?;
        let created = match &done.value {
            Outcome::Created(service) => Some(service),
            Outcome::Done | Outcome::DoneBut(_) => None,
        };
        let id = created.map(|service| &service.id).or(step.id());
        let resource = id.map(ToString::to_string).unwrap_or_default();
        self.calls().changed(step.action(), &done.request_id, &resource);
        if created.is_some_and(|service| matches!(service.state, State::Deleting | State::Deleted)) {
            return Ok(StepEnd::Replayed);
        }
        if created.is_some() {
            self.ctx.memories.with(self.object, |memory| memory.absence.made_seen());
        }
        self.region.record_endpoint_service(step.effect(done.value));
        if let Some(id) = step.id().filter(|_| step.lets_fewer_in()) {
            // Until now AWS may have let in others than were read, who may have to be rejected.
            self.region.invalidate_connections(id);
        }
        Ok(StepEnd::Done)
    }

    /// AWS refused a step.
    async fn failed(&self, step: &Step, error: &CallError) -> StepEnd {
        self.calls().failed(error);
        if error.class == Class::Throttled {
            self.region.throttled(step.action());
            let finding = Finding::bad(Reason::RateLimited, format!("{step}: {error}"));
            return StepEnd::Left(waiting(finding, Some(ASK_AGAIN)));
        }
        let is_made = matches!(step, Step::Create { .. }) && error.code == "IdempotentParameterMismatch";
        if is_made && self.was_deleted_unseen() {
            return StepEnd::Replayed;
        }
        if is_made || error.outcome_unknown() || error.class == Class::NotFound {
            self.region.invalidate_endpoint_services();
        }
        if error.is_expired_session() {
            crate::account::forget_session(&self.ctx.shared, self.account, self.ec2).await;
        }
        if let Some(id) = step
            .id()
            .filter(|_| step.meets_other_connections(error.class, &error.code))
        {
            self.region.invalidate_connections(id);
            let finding = Finding::bad(Reason::Updating, format!("{step}: connections have changed: {error}"));
            let mut left = self.refused(step, finding);
            // What is read next says whether it is still to be done.
            left.failed = false;
            return StepEnd::Left(left);
        }
        if is_made {
            let message = format!("{}: an earlier call was carried out; reading its result", error.code);
            let mut left = self.refused(step, Finding::bad(Reason::Creating, message));
            left.retry = left.retry.max(Some(self.region.next_tick()));
            left.failed = false;
            return StepEnd::Left(left);
        }
        let usual = step.refusal(&error.code, &error.to_string());
        let finding = usual.unwrap_or_else(|| explain(error, self.role, &self.ec2.account_id, &self.ec2.region));
        let about = format!("{} {}", error.action, self.ec2.region);
        crate::account::record_event(&self.ctx.shared, self.account, &finding, &about);
        StepEnd::Left(self.refused(step, finding))
    }

    /// Waits before this very step is tried again, longer after each refusal.
    fn refused(&self, step: &Step, finding: Finding) -> Left {
        let resync = self.ctx.shared.settings.resync_interval;
        let (memories, reason) = (&self.ctx.memories, UnfinishedReason::Refused);
        let told = Some(finding.clone());
        let wait = memories.refused(self.object, Tried::step(step), reason, told, resync, Wait::Aws);
        Left {
            finding,
            retry: Some(wait),
            failed: true,
        }
    }

    /// Whether what an earlier create made must be gone by now.
    fn was_deleted_unseen(&self) -> bool {
        let settle = self.ctx.shared.settings.settle;
        let read = self.region.endpoint_services_read_at();
        let memories = &self.ctx.memories;
        memories.with(self.object, |memory| memory.absence.was_deleted_unseen(settle, read))
    }

    /// Those that are made for the object, for the log.
    fn calls(&self) -> Calls<'_> {
        Calls {
            owner: self.owner,
            account: self.account,
            ec2: self.ec2,
        }
    }
}

/// Not yet: tried again after this time, or when the object is requeued.
fn waiting(finding: Finding, retry: Option<Duration>) -> Left {
    Left {
        finding,
        retry,
        failed: false,
    }
}
