//! Carries out steps, each that can be, whatever becomes of the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vpce_core::addresses::SubnetAddresses;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::error::Class;
use vpce_core::ids::{EndpointId, GroupId};
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::State;
use vpce_core::plan::{Outcome, Progress, Step, UnfinishedReason};
use vpce_core::rate::Decision;
use vpce_core::rules::RuleSet;
use vpce_core::tags::{self, Owner};

use super::context::Context;
use super::refused::Failed;
use crate::aws::Permitted;
use crate::aws::ec2::{Done, Ec2, NewEndpoint};
use crate::aws::error::CallError;
use crate::aws::region::AccountRegion;
use crate::aws::region::delete_batch::Requester;
use crate::aws::region::limiter::Caller;
use crate::bound::calls::Calls;
use crate::bound::explain::about;
use crate::bound::waits::Tried;
use crate::k8s::caches::Endpoint;

/// A call that AWS throttled asks the rate limiter again after this, which then knows for how long
/// to wait.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What AWS has accepted so often, one after the other, and does not show has no effect.
const ENOUGH_ACCEPTED: u32 = 3;

/// What the steps are carried out with.
pub(crate) struct Applier<'a> {
    /// Clients and caches.
    pub ctx: &'a Context,
    /// The object.
    pub object: &'a Arc<Endpoint>,
    /// Who owns what is made.
    pub owner: &'a Owner,
    /// The object's AWS account; none where it shares another's endpoint, and so has no steps in
    /// AWS.
    pub aws: Option<InAws<'a>>,
}

/// What the steps in AWS are carried out with.
pub(crate) struct InAws<'a> {
    /// The AWSAccount's name.
    pub account: &'a str,
    /// The role that is assumed.
    pub role: &'a str,
    /// Where.
    pub region: &'a Arc<AccountRegion>,
    /// Through which.
    pub ec2: &'a Ec2,
    /// The ClientToken of CreateVpcEndpoint; none while nothing is to be created.
    pub client_token: Option<&'a str>,
    /// Whether AWS may still be written for the object: asked before each write.
    pub permitted: &'a Permitted,
}

impl InAws<'_> {
    /// Those that are made for an owner, for the log.
    pub(super) fn calls<'c>(&'c self, owner: &'c Owner) -> Calls<'c> {
        Calls {
            owner,
            account: self.account,
            ec2: self.ec2,
        }
    }
}

/// What became of the steps of a plan.
#[derive(Debug, Default)]
pub(crate) struct Applied<'p> {
    /// What was done, in words.
    pub done: Vec<String>,
    /// What was not, and what is told of it.
    pub progress: Progress<'p>,
    /// When the first of what was not done is tried again; none: when something requeues the
    /// object.
    pub retry: Option<Duration>,
    /// The addresses of network interfaces that AWS has accepted.
    pub addresses: SubnetAddresses,
    /// Whether anything was refused, or failed: it is told, however soon it is tried again.
    pub failed: bool,
    /// Whether something was learned that makes for another plan.
    pub learned: bool,
    /// Whether AWS answered a create with an endpoint that is gone: it remembers the ClientToken.
    /// That confirms a deletion.
    pub replayed: bool,
    /// Whether AWS may not be written for the object any more.
    pub forbidden: bool,
}

impl<'p> Applied<'p> {
    fn leave(&mut self, step: &'p Step, left: Unfinished) {
        self.retry = self.retry.into_iter().chain(left.retry).min();
        self.failed |= left.failed;
        self.progress.add(step, left.reason, left.finding);
    }
}

/// A step that was not done.
pub(super) struct Unfinished {
    pub(super) reason: UnfinishedReason,
    pub(super) finding: Option<Finding>,
    pub(super) retry: Option<Duration>,
    pub(super) failed: bool,
}

impl Unfinished {
    /// Not yet: tried again after this time, or when the object is requeued.
    pub(super) fn waiting(retry: Option<Duration>, finding: Option<Finding>) -> Self {
        Self {
            reason: UnfinishedReason::Postponed,
            finding,
            retry,
            failed: false,
        }
    }
}

/// How one step ended.
pub(super) enum StepEnd {
    Done,
    /// It was so already, which nobody knew.
    Learned,
    Waiting(Option<Duration>, Option<Finding>),
    /// It would be in vain: it is planned otherwise now.
    LeftAlone,
    /// AWS answered with what was made by an earlier try, and is gone.
    Replayed,
}

/// Why one step did not end.
pub(super) enum StepError {
    Aws(CallError),
    Kubernetes(kube::Error),
    Finding(Finding),
}

impl From<CallError> for StepError {
    fn from(error: CallError) -> Self {
        Self::Aws(error)
    }
}

/// Carries out the steps. One that is refused, or waits, holds up only those that wait for it.
pub(crate) async fn apply<'p>(applier: &Applier<'_>, steps: &'p [Step]) -> Applied<'p> {
    let mut applied = Applied::default();
    // Who gives no answer to one call takes half a minute for each: the others go in the next
    // reconciliation.
    let mut answers = true;
    for step in steps {
        if let Some(reason) = applied.progress.waits(step) {
            applied.learned |= applier.learn(|fallbacks| fallbacks.learn_of_wait(step, reason));
            let waiting = Unfinished::waiting(None, None);
            applied.leave(step, Unfinished { reason, ..waiting });
            continue;
        }
        if step.is_in_aws() && !answers {
            applied.leave(step, Unfinished::waiting(Some(ASK_AGAIN), None));
            continue;
        }
        let tried = Tried::step(step);
        let refusal = applier.ctx.memories.refusal(applier.object, tried);
        if let Some(refusal) = refusal.as_ref().filter(|refusal| !refusal.left().is_zero()) {
            let left = Unfinished {
                reason: refusal.reason,
                finding: refusal.finding.clone(),
                retry: Some(refusal.left()),
                failed: true,
            };
            applied.leave(step, left);
            continue;
        }
        let Some(end) = applier.try_step(step).await else {
            applied.forbidden = true;
            break;
        };
        match end {
            Ok(StepEnd::Done) => {
                applier.ctx.memories.accepted(applier.object, tried);
                applied.done.push(step.to_string());
                if let Step::ModifyEndpoint { change, .. } = step {
                    applied.addresses.extend(change.options.addresses.clone());
                }
            }
            Ok(StepEnd::Learned) => {
                applier.ctx.memories.accepted(applier.object, tried);
                applied.learned = true;
            }
            Ok(StepEnd::LeftAlone) => {
                applied.learned = true;
                applied.leave(step, Unfinished::waiting(None, None));
            }
            Ok(StepEnd::Replayed) => {
                applied.replayed = true;
                break;
            }
            // Until it is answered again, what was said last holds.
            Ok(StepEnd::Waiting(time, finding)) => {
                let said = refusal.and_then(|refusal| refusal.finding);
                applied.leave(step, Unfinished::waiting(time, said.or(finding)));
            }
            Err(StepError::Finding(finding)) => {
                applied.leave(step, applier.refused(step, UnfinishedReason::Refused, Some(finding)));
            }
            Err(StepError::Kubernetes(error)) => applied.leave(step, applier.not_published(step, &error)),
            Err(StepError::Aws(error)) => {
                answers &= !error.is_unanswered();
                match applier.failed(step, steps, &error).await {
                    Failed::Left(left) => applied.leave(step, left),
                    Failed::Learned => {
                        applied.learned = true;
                        applied.leave(step, Unfinished::waiting(None, None));
                    }
                    Failed::Replayed => {
                        applied.replayed = true;
                        break;
                    }
                }
            }
        }
    }
    applied
}

fn private_dns_stays_off(id: &EndpointId, role: &str) -> Finding {
    Finding::bad(
        Reason::Denied,
        format!(
            "AWS accepts ModifyVpcEndpoint for private DNS of endpoint {id}, and it stays off. Ask your platform team \
             whether role {role} has route53:AssociateVPCWithHostedZone (docs/iam.md), without which AWS may give no \
             error; or whether something else turns it off"
        ),
    )
}

/// The EC2 action that a step takes a token for; none for those in Kubernetes, and for deletes,
/// which are batched.
pub(super) fn action(step: &Step) -> Option<&'static str> {
    let waits = step.is_in_aws() && !matches!(step, Step::DeleteEndpoint(_));
    waits.then(|| step.action())
}

impl Applier<'_> {
    /// Carries out a step; none where AWS may not be written for the object any more.
    async fn try_step(&self, step: &Step) -> Option<Result<StepEnd, StepError>> {
        match &self.aws {
            Some(aws) if step.is_in_aws() => {
                if !(aws.permitted)() {
                    return None;
                }
                Some(self.carry_out(aws, step).await)
            }
            _ => Some(self.publish(step).await),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    async fn carry_out(&self, aws: &InAws<'_>, step: &Step) -> Result<StepEnd, StepError> {
        if let Some(waiting) = self.wait_for_token(aws, step) {
            return Ok(waiting);
        }
        match step {
            Step::CreateGroup {
                name,
                description,
                vpc,
                tags,
            } => {
                self.ctx.memories.with(self.object, |memory| {
                    memory.absence.create_tried();
                    memory.own.group_found = false;
                });
                let made = aws.ec2.create_group(name, description, vpc, tags).await?;
                self.log_write(aws, step, &made.request_id, made.value.id.as_str());
                self.record(aws, step, Outcome::Group(made.value));
                Ok(StepEnd::Done)
            }
            Step::Authorize(id, direction, rules) => {
                let answer = aws.ec2.authorize(id, *direction, rules).await;
                let was_there = |error: &CallError| error.code == "InvalidPermission.Duplicate";
                self.rules_changed(aws, step, id, rules, answer, was_there)
            }
            Step::UpdateRuleDescriptions(id, direction, rules) => {
                let made = aws.ec2.update_rule_descriptions(id, *direction, rules).await?;
                Ok(self.changed(aws, step, &made.request_id, id.as_str()))
            }
            Step::Revoke(id, direction, rules) => {
                let answer = aws.ec2.revoke(id, *direction, rules).await;
                self.rules_changed(aws, step, id, rules, answer, is_no_rule)
            }
            Step::CreateEndpoint {
                vpc,
                target,
                attachment,
                options,
                tags,
            } => {
                let new = NewEndpoint {
                    vpc,
                    target,
                    attachment,
                    options,
                    tags,
                    client_token: aws.client_token.unwrap_or_default(),
                };
                self.create_endpoint(aws, step, &new).await
            }
            Step::ModifyEndpoint { id, change } => {
                let made = aws.ec2.modify_endpoint(id, change).await?;
                if change.private_dns == Some(true) && self.private_dns_stays_off() {
                    self.log_write(aws, step, &made.request_id, id.as_str());
                    aws.region.invalidate();
                    return Err(StepError::Finding(private_dns_stays_off(id, aws.role)));
                }
                Ok(self.changed(aws, step, &made.request_id, id.as_str()))
            }
            Step::Tag(id, tags) => {
                let made = aws.ec2.create_tags(id, tags).await?;
                Ok(self.changed(aws, step, &made.request_id, &id.to_string()))
            }
            Step::Untag(id, keys) => {
                let made = aws.ec2.delete_tags(id, keys).await?;
                // Users' tags are no owner's: without the cluster's it was retained.
                if keys.contains(tags::CLUSTER) {
                    aws.region.count_retained(id);
                }
                Ok(self.changed(aws, step, &made.request_id, &id.to_string()))
            }
            Step::DeleteEndpoint(id) => self.delete_endpoint(aws, id),
            Step::DeleteGroup(id) => {
                match aws.ec2.delete_group(id).await {
                    Ok(made) => self.log_write(aws, step, &made.request_id, id.as_str()),
                    Err(error) if error.class == Class::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
                self.record(aws, step, Outcome::Done);
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.own.in_use_since = None);
                Ok(StepEnd::Done)
            }
            // In Kubernetes.
            Step::PublishService { .. }
            | Step::DeleteService(_)
            | Step::PublishSlice { .. }
            | Step::DeleteSlice(_)
            | Step::PublishDnsEndpoint { .. }
            | Step::DeleteDnsEndpoint(_)
            | Step::PublishConfigMap { .. }
            | Step::DeleteConfigMap(_) => Ok(StepEnd::LeftAlone),
        }
    }

    /// Takes a token for the step's call. While there is none: how long it waits, and what the
    /// condition says meanwhile.
    fn wait_for_token(&self, aws: &InAws<'_>, step: &Step) -> Option<StepEnd> {
        let action = action(step)?;
        let Decision::Wait(time) = aws.region.acquire(action, &self.caller()) else {
            return None;
        };
        let key = aws.region.key.clone();
        self.ctx
            .memories
            .with(self.object, |memory| memory.reserved_in = Some(key));
        let finding = Finding::bad(
            Reason::RateLimited,
            format!(
                "waits in the queue of the operator's rate limiter for {}: AWS limits the rate of {action} calls \
                 in an account and region",
                about(aws.region.expected_wait(action, &self.owner.uid).unwrap_or(time))
            ),
        );
        Some(StepEnd::Waiting(Some(time), Some(finding)))
    }

    /// Whether AWS accepts again and again to turn private DNS on, and it is off when it is read.
    fn private_dns_stays_off(&self) -> bool {
        let soon = self.ctx.shared.resync_interval() * 3;
        self.ctx.memories.with(self.object, |memory| {
            let before = memory.own.private_dns_accepted.filter(|(_, at)| at.elapsed() < soon);
            let times = before.map_or(0, |(times, _)| times) + 1;
            memory.own.private_dns_accepted = Some((times, Instant::now()));
            times >= ENOUGH_ACCEPTED
        })
    }

    /// AWS has done what the step says.
    fn changed(&self, aws: &InAws<'_>, step: &Step, request_id: &str, resource: &str) -> StepEnd {
        self.log_write(aws, step, request_id, resource);
        self.record(aws, step, Outcome::Done);
        StepEnd::Done
    }

    /// AWS has changed rules, or refused because the only one `was_so` already.
    fn rules_changed<T>(
        &self,
        aws: &InAws<'_>,
        step: &Step,
        id: &GroupId,
        rules: &RuleSet,
        answer: Result<Done<T>, CallError>,
        was_so: impl Fn(&CallError) -> bool,
    ) -> Result<StepEnd, StepError> {
        match answer {
            Ok(made) => Ok(self.changed(aws, step, &made.request_id, id.as_str())),
            Err(error) if rules.len() == 1 && was_so(&error) => {
                self.record(aws, step, Outcome::Done);
                Ok(StepEnd::Learned)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn create_endpoint(&self, aws: &InAws<'_>, step: &Step, new: &NewEndpoint<'_>) -> Result<StepEnd, StepError> {
        self.ctx
            .memories
            .with(self.object, |memory| memory.absence.create_tried());
        let made = aws.ec2.create_endpoint(new).await?;
        let endpoint = made.value;
        self.log_write(aws, step, &made.request_id, endpoint.id.as_str());
        if matches!(endpoint.state, State::Deleting | State::Deleted) {
            return Ok(StepEnd::Replayed);
        }
        self.record(aws, step, Outcome::Endpoint(endpoint));
        self.ctx.memories.with(self.object, |memory| memory.absence.made_seen());
        Ok(StepEnd::Done)
    }

    /// Deletes in a batch with others; the object is requeued when AWS has answered.
    fn delete_endpoint(&self, aws: &InAws<'_>, id: &EndpointId) -> Result<StepEnd, StepError> {
        if let Some(refusal) = aws.region.take_refusal(id) {
            return Err(refusal.into());
        }
        let requester = Requester {
            object: ObjectKey::of(&**self.object),
            account: aws.account.to_owned(),
        };
        aws.region
            .delete_endpoint(aws.ec2, aws.role, id, requester, aws.permitted.clone());
        Ok(StepEnd::Waiting(None, None))
    }

    /// Who takes tokens.
    fn caller(&self) -> Caller<'_> {
        Caller {
            id: &self.owner.uid,
            object: Some(ObjectKey::of(&**self.object)),
        }
    }

    /// What AWS has answered is seen at once, before it is read.
    fn record(&self, aws: &InAws<'_>, step: &Step, outcome: Outcome) {
        aws.region.record(step.effect(outcome));
    }

    fn log_write(&self, aws: &InAws<'_>, step: &Step, request_id: &str, resource: &str) {
        aws.calls(self.owner).changed(step.action(), request_id, resource);
    }
}

/// Whether AWS says that there is no such rule to revoke; where IPv6 is not known at all, that it
/// is no value for one (Terraform's `aws_security_group` meets both).
fn is_no_rule(error: &CallError) -> bool {
    error.code == "InvalidPermission.NotFound"
        || (error.code == "InvalidParameterValue" && error.message.contains("remote-ipv6-range"))
}
