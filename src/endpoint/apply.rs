//! Carries out steps, each that can be, whatever becomes of the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vpce_core::conditions::{Finding, Reason};
use vpce_core::error::Class;
use vpce_core::ids::GroupId;
use vpce_core::line::Turn;
use vpce_core::observed::{GroupFact, State};
use vpce_core::plan::{self, Fallbacks, Progress, ResourceId, Step, Undone};
use vpce_core::tags::{self, Owner};

use super::explain::{about, explain, is_in_use};
use crate::aws::deletes::Asker;
use crate::aws::ec2::{Ec2, NewEndpoint};
use crate::aws::error::CallError;
use crate::aws::region::{LookError, Region};
use crate::context::{Context, Endpoint, Permitted};
use crate::service::{self, Publication, Published};

use super::memory::Tried;

/// A call that was refused for its rate asks its line again after this; the line then knows for how long.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What an earlier create made and was not found in this many times the time that a change takes to settle was deleted before
/// anybody saw it.
const UNSEEN_SETTLES: u32 = 30;

/// AWS takes away the network interfaces of an endpoint a while after the endpoint; so long its group may be in use.
const INTERFACES_LINGER: Duration = Duration::from_secs(120);

/// What the steps are carried out with.
pub struct Hands<'a> {
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
    /// Whether AWS answered a create with an endpoint that is gone: it remembers the ClientToken. That confirms a deletion.
    pub replayed: bool,
    /// Whether AWS may not be written for the object any more.
    pub forbidden: bool,
}

impl<'p> Applied<'p> {
    fn leave(&mut self, step: &'p Step, left: Unfinished) {
        self.retry = self.retry.into_iter().chain(left.retry).min();
        self.failed |= left.failed;
        self.progress.leave(step, left.undone, left.finding);
    }
}

/// A step that was not done.
struct Unfinished {
    undone: Undone,
    finding: Option<Finding>,
    retry: Option<Duration>,
    failed: bool,
}

impl Unfinished {
    /// Not yet: tried again after this time, or when the object is woken.
    fn waiting(retry: Option<Duration>, finding: Option<Finding>) -> Self {
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
pub async fn apply<'p>(hands: &Hands<'_>, steps: &'p [Step]) -> Applied<'p> {
    let mut applied = Applied::default();
    // Who gives no answer to one call takes half a minute for each: the others go in the next pass.
    let mut answers = true;
    for step in steps {
        if let Some(undone) = applied.progress.waits(step) {
            applied.learned |= hands.learn(|fallbacks| fallbacks.learn_of_wait(step, undone));
            let waiting = Unfinished::waiting(None, None);
            applied.leave(step, Unfinished { undone, ..waiting });
            continue;
        }
        if step.is_in_aws() && !answers {
            applied.leave(step, Unfinished::waiting(Some(ASK_AGAIN), None));
            continue;
        }
        let tried = Tried::step(step);
        let refusal = hands.ctx.memories.refusal(hands.object, tried);
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
        if step.is_in_aws() && !(hands.permitted)() {
            applied.forbidden = true;
            break;
        }
        match hands.carry_out(step).await {
            Ok(StepEnd::Done) => {
                hands.ctx.memories.accepted(hands.object, tried);
                applied.done.push(step.to_string());
            }
            Ok(StepEnd::Learned) => {
                hands.ctx.memories.accepted(hands.object, tried);
                applied.learned = true;
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
                applied.leave(step, hands.refused(step, Undone::Refused, Some(finding)));
            }
            Err(StepError::Kubernetes(error)) => applied.leave(step, hands.not_published(step, &error)),
            Err(StepError::Aws(error)) => {
                answers &= !error.is_unanswered();
                match hands.failed(step, steps, &error).await {
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

/// What follows from a step that AWS refused.
enum Failed {
    Left(Unfinished),
    /// There is another way.
    Learned,
    /// As [`StepEnd::Replayed`].
    Replayed,
}

/// The EC2 action whose line a step waits in; none for those in Kubernetes, and for deletes, which gather.
fn action(step: &Step) -> Option<&'static str> {
    let waits = step.is_in_aws() && !matches!(step, Step::DeleteEndpoint(_));
    waits.then(|| step.action())
}

impl Hands<'_> {
    async fn carry_out(&self, step: &Step) -> Result<StepEnd, StepError> {
        if let Some(action) = action(step)
            && let Turn::Wait(time) = self.region.turn(action, &self.owner.uid, &self.owner.namespace)
        {
            let finding = Finding::bad(
                Reason::WaitingInLine,
                format!(
                    "waits for its turn, which comes in {}: AWS allows only so many {action} calls in an account and region",
                    about(self.region.expected_wait(action, &self.owner.uid).unwrap_or(time))
                ),
            );
            return Ok(StepEnd::Waiting(Some(time), Some(finding)));
        }
        let now = Instant::now;
        match step {
            Step::CreateGroup {
                name,
                description,
                vpc,
                tags,
            } => {
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.nothing_made = false);
                let made = self.ec2.create_group(name, description, vpc, tags).await?;
                self.tell("CreateSecurityGroup", &made.request_id, made.value.id.as_str());
                self.region.groups(|shelf| shelf.made(made.value, now()));
            }
            Step::Authorize(id, direction, rules) => {
                let answer = self.ec2.authorize(id, *direction, rules).await;
                let was_there = match answer {
                    Ok(made) => {
                        self.tell(action(step).unwrap_or_default(), &made.request_id, id.as_str());
                        false
                    }
                    Err(error) if rules.len() == 1 && error.code == "InvalidPermission.Duplicate" => true,
                    Err(error) => return Err(error.into()),
                };
                self.change_group(id, |fact| fact.set_rules(*direction, rules));
                if was_there {
                    return Ok(StepEnd::Learned);
                }
            }
            Step::Describe(id, direction, rules) => {
                let made = self.ec2.describe_rules_anew(id, *direction, rules).await?;
                self.tell(action(step).unwrap_or_default(), &made.request_id, id.as_str());
                self.change_group(id, |fact| fact.set_rules(*direction, rules));
            }
            Step::Revoke(id, direction, rules) => {
                let answer = self.ec2.revoke(id, *direction, rules).await;
                let was_there = match answer {
                    Ok(made) => {
                        self.tell(action(step).unwrap_or_default(), &made.request_id, id.as_str());
                        true
                    }
                    Err(error) if rules.len() == 1 && is_no_rule(&error) => false,
                    Err(error) => return Err(error.into()),
                };
                self.change_group(id, |fact| fact.remove_rules(*direction, rules));
                if !was_there {
                    return Ok(StepEnd::Learned);
                }
            }
            Step::CreateEndpoint {
                vpc,
                service_name,
                subnets,
                groups,
                tags,
            } => {
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.nothing_made = false);
                let new = NewEndpoint {
                    vpc,
                    service_name,
                    subnets,
                    groups,
                    tags,
                    client_token: self.client_token.unwrap_or_default(),
                };
                let made = self.ec2.create_endpoint(&new).await?;
                let fact = made.value;
                self.tell("CreateVpcEndpoint", &made.request_id, fact.id.as_str());
                if matches!(fact.state, State::Deleting | State::Deleted) {
                    return Ok(StepEnd::Replayed);
                }
                self.region.endpoints(|shelf| shelf.made(fact, now()));
                self.ctx
                    .memories
                    .with(self.object, |memory| memory.made_unseen_since = None);
            }
            Step::ModifyEndpoint {
                id,
                add_subnets,
                remove_subnets,
                add_groups,
                remove_groups,
                private_dns,
            } => {
                let subnets = (add_subnets, remove_subnets);
                let made = self
                    .ec2
                    .modify_endpoint(id, subnets, (add_groups, remove_groups), *private_dns)
                    .await?;
                self.tell("ModifyVpcEndpoint", &made.request_id, id.as_str());
                self.region.endpoints(|shelf| {
                    shelf.changed(id, now(), |fact| {
                        fact.subnets.extend(add_subnets.iter().cloned());
                        fact.subnets.retain(|id| !remove_subnets.contains(id));
                        fact.groups.extend(add_groups.iter().cloned());
                        fact.groups.retain(|id| !remove_groups.contains(id));
                        fact.private_dns = private_dns.unwrap_or(fact.private_dns);
                        // While subnets change, AWS is at work: seen as such until a read says otherwise.
                        if !add_subnets.is_empty() || !remove_subnets.is_empty() {
                            fact.state = State::Pending;
                        }
                    });
                });
            }
            Step::Tag(id, tags) => {
                let made = self.ec2.create_tags(id, tags).await?;
                self.tell("CreateTags", &made.request_id, &id.to_string());
                self.change_tags(id, |there| there.extend(tags.clone()));
            }
            Step::Untag(id, keys) => {
                let made = self.ec2.delete_tags(id, keys).await?;
                self.tell("DeleteTags", &made.request_id, &id.to_string());
                // Users' tags are no owner's: without the cluster's it was retained.
                if keys.contains(tags::CLUSTER) {
                    self.region.count_retained(id);
                }
                self.change_tags(id, |there| there.retain(|key, _| !keys.contains(key)));
            }
            Step::DeleteEndpoint(id) => {
                if let Some(refusal) = self.region.take_refusal(id) {
                    return Err(refusal.into());
                }
                let asker = Asker {
                    namespace: self.owner.namespace.clone(),
                    name: self.owner.name.clone(),
                    account: self.account.to_owned(),
                };
                self.region
                    .delete_endpoint(self.ec2, self.role, id, asker, self.permitted.clone());
                return Ok(StepEnd::Waiting(None, None));
            }
            Step::DeleteGroup(id) => {
                match self.ec2.delete_group(id).await {
                    Ok(made) => self.tell("DeleteSecurityGroup", &made.request_id, id.as_str()),
                    Err(error) if error.class == Class::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
                self.region.groups(|shelf| shelf.gone(id, now()));
                self.ctx.memories.with(self.object, |memory| memory.in_use_since = None);
            }
            Step::PublishService {
                name,
                external_name,
                ports,
                metadata,
                exists: _,
            } => {
                let wanted = Publication {
                    name,
                    external_name,
                    ports,
                    metadata,
                };
                return self.publish(&wanted).await;
            }
            Step::DeleteService(name) => {
                let deleted = service::delete(&self.ctx.client, &self.ctx.caches, self.object, name).await;
                let version = deleted.map_err(StepError::Kubernetes)?;
                self.ctx.memories.with(self.object, |memory| {
                    memory.services.insert(name.clone(), (version, None));
                });
            }
        }
        Ok(StepEnd::Done)
    }

    async fn publish(&self, wanted: &Publication<'_>) -> Result<StepEnd, StepError> {
        let name = wanted.name;
        let published = service::publish(&self.ctx.client, self.object, wanted).await;
        match published {
            Ok(Published::Done(service)) => {
                let fact = service::fact(&service, &self.owner.uid);
                let version = service::version_of(&*service);
                self.ctx.memories.with(self.object, |memory| {
                    memory.services.insert(name.to_owned(), (version, Some(fact)));
                });
                Ok(StepEnd::Done)
            }
            Ok(Published::Vanished) => Ok(StepEnd::Waiting(Some(ASK_AGAIN), None)),
            // The caches do not show a stranger's Service, so the plan cannot know of it.
            Ok(Published::Foreign) => Err(StepError::Finding(plan::service_conflict(self.owner, name))),
            Err(error) => Err(StepError::Kubernetes(error)),
        }
    }

    /// The API server did not take a Service's change.
    fn not_published(&self, step: &Step, error: &kube::Error) -> Unfinished {
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            action = step.action(),
            %error,
            "the API server refused, or failed"
        );
        // It changed meanwhile.
        if service::is_status(error, 409) {
            return Unfinished::waiting(Some(ASK_AGAIN), None);
        }
        let message = format!("{step}: the API server refused: {}", service::words(error));
        self.refused(
            step,
            Undone::Refused,
            Some(Finding::bad(Reason::ServiceRefused, message)),
        )
    }

    /// Waits before this very step is tried again, longer after each refusal.
    fn refused(&self, step: &Step, undone: Undone, finding: Option<Finding>) -> Unfinished {
        let resync = self.ctx.settings.resync_interval;
        let memories = &self.ctx.memories;
        let retry = memories.refused(self.object, Tried::step(step), undone, finding.clone(), resync);
        Unfinished {
            undone,
            finding,
            retry: Some(retry),
            failed: true,
        }
    }

    fn learn(&self, learn: impl FnOnce(&mut Fallbacks) -> bool) -> bool {
        self.ctx
            .memories
            .with(self.object, |memory| learn(&mut memory.fallbacks))
    }

    fn change_group(&self, id: &GroupId, change: impl FnOnce(&mut GroupFact)) {
        self.region.groups(|shelf| shelf.changed(id, Instant::now(), change));
    }

    fn change_tags(&self, id: &ResourceId, change: impl FnOnce(&mut std::collections::BTreeMap<String, String>)) {
        let now = Instant::now();
        match id {
            ResourceId::Endpoint(id) => self
                .region
                .endpoints(|shelf| shelf.changed(id, now, |fact| change(&mut fact.tags))),
            ResourceId::Group(id) => self
                .region
                .groups(|shelf| shelf.changed(id, now, |fact| change(&mut fact.tags))),
        }
    }

    /// Whether what an earlier create made has been looked for so long, in whole reads of the region, that it must be gone.
    fn was_deleted_unseen(&self) -> bool {
        let since = self.ctx.memories.with(self.object, |memory| {
            *memory.made_unseen_since.get_or_insert_with(Instant::now)
        });
        let patience = self.ctx.settings.settle * UNSEEN_SETTLES;
        let is_gone = self.region.read_at().is_some_and(|read| read >= since + patience);
        if is_gone {
            self.ctx
                .memories
                .with(self.object, |memory| memory.made_unseen_since = None);
        }
        is_gone
    }

    /// Whether a group has been in use for so short a time that it need not worry anybody.
    fn has_patience(&self) -> bool {
        self.ctx.memories.with(self.object, |memory| {
            memory.in_use_since.get_or_insert_with(Instant::now).elapsed() < INTERFACES_LINGER
        })
    }

    /// One line for every write to AWS: object, account, action, request id.
    fn tell(&self, action: &str, request_id: &str, resource: &str) {
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = self.account,
            account_id = self.ec2.account_id,
            region = self.ec2.region,
            action,
            request_id,
            resource,
            "changed AWS"
        );
    }

    /// By whom a group is used that cannot be deleted.
    async fn in_use(&self, error: &CallError, id: &GroupId) -> String {
        let users = match self.region.users_of_group(self.ec2, id).await {
            Ok(users) if users.is_empty() => "nothing shows that uses it any more: tried again".to_owned(),
            Ok(users) => format!("still used by {}: detach it there", users.join(", ")),
            Err(LookError::Busy(_)) => "something still uses it: tried again".to_owned(),
            Err(LookError::Failed(unseen)) => {
                let unseen = explain(&unseen, self.role, &self.ec2.account_id, &self.ec2.region);
                format!("something still uses it; by whom cannot be seen: {}", unseen.message)
            }
        };
        format!("{error} ({users})")
    }

    async fn failed(&self, step: &Step, steps: &[Step], error: &CallError) -> Failed {
        if is_in_use(error) && self.has_patience() {
            return Failed::Left(Unfinished::waiting(Some(self.region.next_tick()), None));
        }
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = self.account,
            account_id = self.ec2.account_id,
            region = self.ec2.region,
            action = error.action,
            request_id = error.request_id,
            class = error.class.as_str(),
            code = error.code,
            error = error.message,
            "AWS refused, or failed"
        );
        if error.class == Class::Throttled {
            if let Some(action) = action(step) {
                self.region.throttled(action);
            }
            return Failed::Left(Unfinished::waiting(Some(ASK_AGAIN), None));
        }
        if error.outcome_unknown() {
            self.region.distrust();
        }
        if error.is_expired_session() {
            forget_session(self.ctx, self.account, self.ec2).await;
        }
        if matches!(step, Step::CreateEndpoint { .. })
            && error.code == "IdempotentParameterMismatch"
            && self.was_deleted_unseen()
        {
            return Failed::Replayed;
        }
        if self.learn(|fallbacks| fallbacks.learn(steps, step, &error.code, error.class)) {
            return Failed::Learned;
        }
        if let Some(left) = self.snapshot_is_behind(step, error) {
            return Failed::Left(left);
        }
        let mut finding = explain(error, self.role, &self.ec2.account_id, &self.ec2.region);
        if let (Step::DeleteGroup(id), true) = (step, is_in_use(error)) {
            finding.message = self.in_use(error, id).await;
        }
        let about = format!("{} {}", error.action, self.ec2.region);
        crate::account::tell(self.ctx, self.account, self.object, &finding, &about);
        let undone = match error.class {
            Class::Throttled | Class::Transient | Class::Conflict => Undone::Postponed,
            Class::Denied | Class::Invalid | Class::NotFound | Class::Quota | Class::Unknown => Undone::Refused,
        };
        Failed::Left(self.refused(step, undone, Some(finding)))
    }

    /// Where AWS's answer says that what we want is there already, or gone already.
    fn snapshot_is_behind(&self, step: &Step, error: &CallError) -> Option<Unfinished> {
        let is_behind = matches!(
            (step, error.code.as_str()),
            (Step::Authorize(..), "InvalidPermission.Duplicate")
                | (Step::Revoke(..) | Step::Describe(..), "InvalidPermission.NotFound")
                | (Step::CreateGroup { .. }, "InvalidGroup.Duplicate")
                | (Step::CreateEndpoint { .. }, "IdempotentParameterMismatch")
        );
        if !is_behind {
            return None;
        }
        self.region.distrust();
        let finding = matches!(step, Step::CreateGroup { .. } | Step::CreateEndpoint { .. }).then(|| {
            Finding::bad(
                Reason::Creating,
                format!(
                    "{}: an earlier try was carried out; looking for what it made",
                    error.code
                ),
            )
        });
        // What it made may be found at the next look; what is never found is not asked for at every poll.
        let mut left = self.refused(step, Undone::Postponed, finding);
        left.retry = left.retry.max(Some(self.region.next_tick()));
        left.failed = false;
        Some(left)
    }
}

/// Whether AWS says that there is no such rule to revoke; where IPv6 is not known at all, that it is no value for one
/// (Terraform's `aws_security_group` meets both).
fn is_no_rule(error: &CallError) -> bool {
    error.code == "InvalidPermission.NotFound"
        || (error.code == "InvalidParameterValue" && error.message.contains("remote-ipv6-range"))
}

/// Has the next reconcile open a new session.
pub async fn forget_session(ctx: &Context, account: &str, ec2: &Ec2) {
    tracing::warn!(
        account,
        account_id = ec2.account_id,
        "the session is no longer good; opening another"
    );
    if let Some(role) = crate::account::role_of(ctx, account) {
        ctx.sessions.forget(&role).await;
    }
}
