//! Carries out steps, each that can be, whatever becomes of the others.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::{Finding, Reason};
use vpce_core::error::Class;
use vpce_core::observed::{ServiceContent, State};
use vpce_core::plan::{self, Outcome, Progress, Step, Undone};
use vpce_core::rate::Decision;
use vpce_core::tags::{self, Owner};

use super::context::Context;
use super::explain::about;
use super::memory::Tried;
use super::observe;
use super::refused::Failed;
use crate::aws::Permitted;
use crate::aws::ec2::{Ec2, NewEndpoint};
use crate::aws::error::CallError;
use crate::aws::region::Region;
use crate::aws::region::delete_batch::Requester;
use crate::aws::region::limiter::Caller;
use crate::endpoint::service::{self, Publication, Published};
use crate::k8s::caches::Endpoint;
use crate::k8s::object_key::ObjectKey;
use crate::k8s::patch::version_of;

/// A call that was refused for its rate asks its line again after this; the line then knows for how
/// long.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What the steps are carried out with.
pub struct Applier<'a> {
    /// Clients and caches.
    pub ctx: &'a Context,
    /// The object.
    pub object: &'a Arc<Endpoint>,
    /// Whose everything is.
    pub owner: &'a Owner,
    /// The AWSAccount's name.
    pub account: &'a str,
    /// The role that is assumed.
    pub role: &'a str,
    /// Where.
    pub region: &'a Arc<Region>,
    /// Through which.
    pub ec2: &'a Ec2,
    /// The ClientToken of CreateVpcEndpoint; none while nothing is to be created.
    pub client_token: Option<&'a str>,
    /// Whether AWS may still be written for the object: asked before each write.
    pub permitted: &'a Permitted,
}

/// What became of the steps of a plan.
#[derive(Debug, Default)]
pub struct Applied<'p> {
    /// What was done, in words.
    pub done: Vec<String>,
    /// What was not, and what is told of it.
    pub progress: Progress<'p>,
    /// When the first of what was not done is tried again; none: when something wakes the object.
    pub retry: Option<Duration>,
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
        self.progress.add(step, left.undone, left.finding);
    }
}

/// A step that was not done.
pub(super) struct Unfinished {
    pub(super) undone: Undone,
    pub(super) finding: Option<Finding>,
    pub(super) retry: Option<Duration>,
    pub(super) failed: bool,
}

impl Unfinished {
    /// Not yet: tried again after this time, or when the object is woken.
    pub(super) fn waiting(retry: Option<Duration>, finding: Option<Finding>) -> Self {
        Self {
            undone: Undone::Postponed,
            finding,
            retry,
            failed: false,
        }
    }
}

/// How one step ended.
enum StepEnd {
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
enum StepError {
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
pub async fn apply<'p>(applier: &Applier<'_>, steps: &'p [Step]) -> Applied<'p> {
    let mut applied = Applied::default();
    // Who gives no answer to one call takes half a minute for each: the others go in the next
    // reconciliation.
    let mut answers = true;
    for step in steps {
        if let Some(undone) = applied.progress.waits(step) {
            applied.learned |= applier.learn(|fallbacks| fallbacks.learn_of_wait(step, undone));
            let waiting = Unfinished::waiting(None, None);
            applied.leave(step, Unfinished { undone, ..waiting });
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
                undone: refusal.undone,
                finding: refusal.finding.clone(),
                retry: Some(refusal.left()),
                failed: true,
            };
            applied.leave(step, left);
            continue;
        }
        if step.is_in_aws() && !(applier.permitted)() {
            applied.forbidden = true;
            break;
        }
        match applier.carry_out(step).await {
            Ok(StepEnd::Done) => {
                applier.ctx.memories.accepted(applier.object, tried);
                applied.done.push(step.to_string());
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
            // Until it is answered anew, what was said last holds.
            Ok(StepEnd::Waiting(time, finding)) => {
                let said = refusal.and_then(|refusal| refusal.finding);
                applied.leave(step, Unfinished::waiting(time, said.or(finding)));
            }
            Err(StepError::Finding(finding)) => {
                applied.leave(step, applier.refused(step, Undone::Refused, Some(finding)));
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

/// The EC2 action whose line a step waits in; none for those in Kubernetes, and for deletes, which
/// gather.
pub(super) fn action(step: &Step) -> Option<&'static str> {
    let waits = step.is_in_aws() && !matches!(step, Step::DeleteEndpoint(_));
    waits.then(|| step.action())
}

impl Applier<'_> {
    async fn carry_out(&self, step: &Step) -> Result<StepEnd, StepError> {
        if let Some(action) = action(step)
            && let Decision::Wait(time) = self.region.acquire(action, &self.caller())
        {
            let key = self.region.key.clone();
            self.ctx
                .memories
                .with(self.object, |memory| memory.reserved_in = Some(key));
            let finding = Finding::bad(
                Reason::RateLimited,
                format!(
                    "waits in the queue of the operator's rate limiter for {}: AWS limits the rate of {action} calls \
                     in an account and region",
                    about(self.region.expected_wait(action, &self.owner.uid).unwrap_or(time))
                ),
            );
            return Ok(StepEnd::Waiting(Some(time), Some(finding)));
        }
        match step {
            Step::CreateGroup {
                name,
                description,
                vpc,
                tags,
            } => {
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.absence.create_tried());
                let made = self.ec2.create_group(name, description, vpc, tags).await?;
                self.log_write("CreateSecurityGroup", &made.request_id, made.value.id.as_str());
                self.record(step, Outcome::Group(made.value));
            }
            Step::Authorize(id, direction, rules) => {
                let answer = self.ec2.authorize(id, *direction, rules).await;
                let was_there = match answer {
                    Ok(made) => {
                        self.log_write(action(step).unwrap_or_default(), &made.request_id, id.as_str());
                        false
                    }
                    Err(error) if rules.len() == 1 && error.code == "InvalidPermission.Duplicate" => true,
                    Err(error) => return Err(error.into()),
                };
                self.record(step, Outcome::Done);
                if was_there {
                    return Ok(StepEnd::Learned);
                }
            }
            Step::UpdateRuleDescriptions(id, direction, rules) => {
                let made = self.ec2.update_rule_descriptions(id, *direction, rules).await?;
                self.log_write(action(step).unwrap_or_default(), &made.request_id, id.as_str());
                self.record(step, Outcome::Done);
            }
            Step::Revoke(id, direction, rules) => {
                let answer = self.ec2.revoke(id, *direction, rules).await;
                let was_there = match answer {
                    Ok(made) => {
                        self.log_write(action(step).unwrap_or_default(), &made.request_id, id.as_str());
                        true
                    }
                    Err(error) if rules.len() == 1 && is_no_rule(&error) => false,
                    Err(error) => return Err(error.into()),
                };
                self.record(step, Outcome::Done);
                if !was_there {
                    return Ok(StepEnd::Learned);
                }
            }
            Step::CreateEndpoint {
                vpc,
                target,
                attachment,
                tags,
            } => {
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.absence.create_tried());
                let new = NewEndpoint {
                    vpc,
                    target,
                    attachment,
                    tags,
                    client_token: self.client_token.unwrap_or_default(),
                };
                let made = self.ec2.create_endpoint(&new).await?;
                let fact = made.value;
                self.log_write("CreateVpcEndpoint", &made.request_id, fact.id.as_str());
                if matches!(fact.state, State::Deleting | State::Deleted) {
                    return Ok(StepEnd::Replayed);
                }
                self.record(step, Outcome::Endpoint(fact));
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.absence.endpoint_seen());
            }
            Step::ModifyEndpoint { id, change } => {
                let made = self.ec2.modify_endpoint(id, change).await?;
                self.log_write("ModifyVpcEndpoint", &made.request_id, id.as_str());
                self.record(step, Outcome::Done);
            }
            Step::Tag(id, tags) => {
                let made = self.ec2.create_tags(id, tags).await?;
                self.log_write("CreateTags", &made.request_id, &id.to_string());
                self.record(step, Outcome::Done);
            }
            Step::Untag(id, keys) => {
                let made = self.ec2.delete_tags(id, keys).await?;
                self.log_write("DeleteTags", &made.request_id, &id.to_string());
                // Users' tags are no owner's: without the cluster's it was retained.
                if keys.contains(tags::CLUSTER) {
                    self.region.count_retained(id);
                }
                self.record(step, Outcome::Done);
            }
            Step::DeleteEndpoint(id) => {
                if let Some(refusal) = self.region.take_refusal(id) {
                    return Err(refusal.into());
                }
                let requester = Requester {
                    object: ObjectKey::of(&**self.object),
                    account: self.account.to_owned(),
                };
                self.region
                    .delete_endpoint(self.ec2, self.role, id, requester, self.permitted.clone());
                return Ok(StepEnd::Waiting(None, None));
            }
            Step::DeleteGroup(id) => {
                match self.ec2.delete_group(id).await {
                    Ok(made) => self.log_write("DeleteSecurityGroup", &made.request_id, id.as_str()),
                    Err(error) if error.class == Class::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
                self.record(step, Outcome::Done);
                self.ctx.memories.with(self.object, |memory| memory.in_use_since = None);
            }
            Step::PublishService {
                name,
                external_name,
                ports,
                metadata,
                exists,
            } => {
                let wanted = Publication {
                    name,
                    external_name,
                    ports,
                    metadata,
                };
                return self.publish(&wanted, *exists).await;
            }
            Step::DeleteService(name) => {
                let deleted =
                    service::delete(&self.ctx.shared.client, &self.ctx.shared.caches, self.object, name).await;
                let version = deleted.map_err(StepError::Kubernetes)?;
                self.ctx.memories.with(self.object, |memory| {
                    memory.writes.services.insert(name.clone(), (version, None));
                });
            }
        }
        Ok(StepEnd::Done)
    }

    /// As whom it asks for its turn.
    fn caller(&self) -> Caller<'_> {
        Caller {
            id: &self.owner.uid,
            object: Some(ObjectKey::of(&**self.object)),
        }
    }

    async fn publish(&self, wanted: &Publication<'_>, exists: bool) -> Result<StepEnd, StepError> {
        let name = wanted.name;
        let content = wanted.content();
        if exists && !self.may_correct(name, &content) {
            return Ok(StepEnd::LeftAlone);
        }
        // What has lost our label the cache does not show: that it was stored is remembered, so
        // that no create is refused each time.
        let exists = exists
            || self
                .ctx
                .memories
                .with(self.object, |memory| memory.writes.corrections.left(name));
        let published = service::publish(&self.ctx.shared.client, self.object, wanted, exists).await;
        match published {
            Ok(Published::Done(service)) => {
                let fact = service::fact(&service, &self.owner.uid);
                let version = version_of(&*service);
                let most = self.ctx.shared.settings.resync_interval;
                self.ctx.memories.with(self.object, |memory| {
                    memory.writes.corrections.stored(&content, fact.clone(), most);
                    memory.writes.services.insert(name.to_owned(), (version, Some(fact)));
                });
                Ok(StepEnd::Done)
            }
            Ok(Published::Vanished) => Ok(StepEnd::Waiting(Some(ASK_AGAIN), None)),
            // The caches do not show a stranger's Service, so the plan cannot know of it.
            Ok(Published::Foreign) => Err(StepError::Finding(plan::service_conflict(self.owner, name))),
            Err(error) => Err(StepError::Kubernetes(error)),
        }
    }

    /// Whether a Service that is there may be corrected: not where somebody changes it back each
    /// time.
    fn may_correct(&self, name: &str, content: &ServiceContent) -> bool {
        let mut facts = observe::services(self.ctx, self.object, &self.object.status, None);
        facts.retain(|fact| fact.name == name);
        self.ctx.memories.with(self.object, |memory| {
            memory.writes.corrections.may_correct(content, facts.pop())
        })
    }

    /// What AWS has answered is seen at once, before it is read.
    fn record(&self, step: &Step, outcome: Outcome) {
        self.region.record(step.effect(outcome));
    }

    /// One line for every write to AWS: object, account, action, request id.
    fn log_write(&self, action: &str, request_id: &str, resource: &str) {
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = self.account,
            account_id = self.ec2.account_id.as_str(),
            region = self.ec2.region.as_str(),
            action,
            request_id,
            resource,
            "changed AWS"
        );
    }
}

/// Whether AWS says that there is no such rule to revoke; where IPv6 is not known at all, that it
/// is no value for one (Terraform's `aws_security_group` meets both).
fn is_no_rule(error: &CallError) -> bool {
    error.code == "InvalidPermission.NotFound"
        || (error.code == "InvalidParameterValue" && error.message.contains("remote-ipv6-range"))
}
