//! Observes, plans and applies until there is nothing left to do now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vpce_core::api::{DeletionPolicy, VPCEndpointSpec};
use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::desired::{self, Desired};
use vpce_core::observed::{Lookup, Observed};
use vpce_core::plan::{self, Plan, PlanContext, Step, simulate};
use vpce_core::resolve::{Resolved, Writes};
use vpce_core::tags::{self, Owner};

use super::apply::{ASK_AGAIN, Applier, apply};
use super::memory::PlannedChanges;
use super::observe::{self, Age, observe};
use super::reconcile::{Next, Reconciliation};
use super::status;
use crate::aws::ec2::Ec2;
use crate::aws::region::Region;

/// A reconciliation plans anew after each change; one that still changes things after so many rounds goes on in the next.
const MOST_ROUNDS: usize = 8;
/// A message that lists steps ends after so many characters: rules may be many.
const LONGEST_LIST: usize = 2000;

impl Reconciliation<'_> {
    /// Observes, plans and applies until there is nothing left to do now, then says how things stand.
    pub(super) async fn converge(
        &mut self,
        spec: Option<&VPCEndpointSpec>,
        resolved: &Resolved,
        desired: Option<&Desired>,
        policy: Result<DeletionPolicy, &Finding>,
        region: &Arc<Region>,
        ec2: &Ec2,
    ) -> Result<Next, kube::Error> {
        let (mut age, cut_off) = self.ctx.memories.with(&self.object, |memory| {
            if desired.is_some() {
                // What was not there before may be made from here on.
                memory.absent_since = None;
            }
            // A read that has begun since will do.
            let asked = memory.look_now.take();
            let age = asked.map_or(self.ctx.shared.settings.resync_interval, |asked| asked.elapsed());
            (age, std::mem::take(&mut memory.cut_off))
        });
        if cut_off {
            region.invalidate();
        }
        if let Some(service) = desired.and_then(|desired| desired.service.as_ref()) {
            let Owner { namespace, name, .. } = &self.owner;
            self.ctx.names.wait(namespace, name, &service.name);
        }
        let begun = Instant::now();
        let permitted = self.permission(spec, resolved);
        let mut repaired = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let status = self.object.status.clone();
            if let Err(error) = observe(self.ctx, region, ec2, &self.owner, &status, Age(age)).await {
                return self.not_seen(resolved, ec2, error).await;
            }
            age = self.ctx.shared.settings.resync_interval;
            let mut seen = observe::found(self.ctx, region, &self.owner, &self.object, &status, desired);
            if self.takes_over(&seen) {
                // What the snapshot says of it may be old news: another may own it by now, or have let go of it.
                if let Some(settled) = region.find(&self.owner, (None, None)).settles_at {
                    return Ok(Next::NotBefore(settled.saturating_duration_since(Instant::now())));
                }
                if region.read_at().is_none_or(|read| read < begun) {
                    region.invalidate();
                    continue;
                }
                // What is to go when an object is bound again is never its own by its id: the schema would hold the spec to it.
                if self.moving.is_none() {
                    self.acknowledge(&seen).await?;
                    continue;
                }
            }
            if let Some(plan) = self.unproven_on_the_way(&seen) {
                let next = self.next(region, &seen, &plan, resolved);
                return self.conclude(resolved, desired, &seen, plan, next).await;
            }
            let held = region.held(|hold| self.ctx.shared.is_released(&resolved.binding.account_id, hold));
            if desired.is_some()
                && seen.endpoint == Lookup::Deleted
                && held.is_none()
                && resolved.writes == Writes::Allowed
            {
                self.count_deletion().await?;
                continue;
            }
            if seen.group == Lookup::Deleted {
                // Nothing remembers it; another is made where one is wanted.
                seen.group = Lookup::Absent;
            }
            if desired.is_none()
                && self.may_be_unseen(&seen)
                && let Some(wait) = self.confirm_absence(region)
            {
                return self
                    .conclude(resolved, desired, &seen, absence_unconfirmed(), Next::After(wait))
                    .await;
            }
            let mut plan = self.plan(desired, policy, &seen, held.as_deref());
            if let Writes::Frozen(finding) = &resolved.writes {
                let simulated = simulate(&seen, desired, |seen| self.plan(desired, policy, seen, held.as_deref()));
                self.hold_back(resolved, finding, &simulated.steps, &mut plan);
            }
            if held.is_some() {
                self.ctx.shared.requeuer.account(&resolved.binding.account);
            }
            // That it is Ready for this generation is only what its status says; nothing is done on the strength of that.
            if plan.steps.iter().any(Step::is_in_aws) {
                match self.check_groups(region, ec2, desired).await {
                    Ok(Ok(())) => {}
                    Ok(Err(finding)) => return self.report_bad_spec(resolved, finding).await,
                    Err(error) => return self.not_seen(resolved, ec2, error).await,
                }
            }
            let token = desired.map(|desired| {
                let incarnation = status.incarnation.unwrap_or(0);
                desired::client_token(&self.owner, desired, resolved, incarnation)
            });
            let applier = Applier {
                ctx: self.ctx,
                object: &self.object,
                owner: &self.owner,
                account: &resolved.binding.account,
                role: resolved.role.as_str(),
                region,
                ec2,
                client_token: token.as_deref(),
                permitted: &permitted,
            };
            let applied = apply(&applier, &plan.steps).await;
            repaired.extend(applied.done.iter().cloned());
            if applied.replayed {
                self.count_deletion().await?;
                continue;
            }
            if applied.forbidden {
                self.record_repairs(&repaired);
                return Ok(Next::NotBefore(ASK_AGAIN));
            }
            if applied.learned || !applied.done.is_empty() {
                continue;
            }
            let nothing_to_do = plan.steps.is_empty();
            if nothing_to_do && desired.is_none() && plan.endpoint.ok && plan.service.ok {
                if self.moving.is_some() {
                    return self.unbind().await;
                }
                self.record_deletion(policy, &seen);
                return self.remove_finalizer().await;
            }
            if nothing_to_do && plan.endpoint.ok {
                self.ctx.memories.converged(&self.object);
            }
            self.record_repairs(&repaired);
            let soon = applied
                .retry
                .filter(|time| *time <= self.ctx.shared.settings.poll_interval);
            if let Some(time) = soon.filter(|_| !applied.failed) {
                // Not worth a write to the API server.
                return Ok(Next::NotBefore(time));
            }
            let rest = self.next(region, &seen, &plan, resolved);
            let next = applied.retry.map_or(rest, |retry| rest.not_after(retry));
            let (progress, mut told) = (applied.progress, plan.clone());
            progress.tell(&mut told);
            return self.conclude(resolved, desired, &seen, told, next).await;
        }
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            "still changing things; going on in a moment"
        );
        Ok(Next::NotBefore(region.next_tick()))
    }

    /// Says in place of doing.
    fn hold_back(&mut self, resolved: &Resolved, why: &Finding, steps: &[Step], plan: &mut Plan) {
        plan.steps.clear();
        if steps.is_empty() {
            return;
        }
        self.planned_changes = Some(PlannedChanges {
            account: resolved.binding.account.clone(),
            actions: steps.iter().map(Step::action).collect(),
        });
        let (in_aws, of_services): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.is_in_aws());
        for (steps, finding) in [(in_aws, &mut plan.endpoint), (of_services, &mut plan.service)] {
            if !steps.is_empty() {
                let steps: Vec<String> = steps.into_iter().map(ToString::to_string).collect();
                let mut message = format!("{}; held back: {}", why.message, steps.join("; "));
                if let Some((end, _)) = message.char_indices().nth(LONGEST_LIST) {
                    message.truncate(end);
                    message.push_str("...");
                }
                *finding = Finding::bad(why.reason, message);
            }
        }
    }

    pub(super) fn plan(
        &self,
        desired: Option<&Desired>,
        policy: Result<DeletionPolicy, &Finding>,
        seen: &Observed,
        held: Option<&str>,
    ) -> Plan {
        let Some(desired) = desired else {
            return plan::plan_deletion(&self.owner, seen, policy);
        };
        let context = PlanContext {
            tag_keys: &self.object.status.tag_keys,
            paused: held,
            fallbacks: self.ctx.memories.with(&self.object, |memory| memory.fallbacks),
        };
        plan::plan(&self.owner, desired, seen, context)
    }

    /// Whether something was made for another object of this name, and this one finds it for the first time.
    fn takes_over(&self, seen: &Observed) -> bool {
        let status = &self.object.status;
        let is_found = |id: &str, known: &Option<String>, tags: &BTreeMap<String, String>| {
            tags.get(tags::UID) != Some(&self.owner.uid) && known.as_deref() != Some(id)
        };
        let endpoint = seen.endpoint.owned();
        let group = seen.group.owned();
        endpoint.is_some_and(|fact| is_found(fact.id.as_str(), &status.vpc_endpoint_id, &fact.tags))
            || group.is_some_and(|fact| is_found(fact.id.as_str(), &status.security_group_id, &fact.tags))
    }

    /// An object is not bound again while something may be its own where it is bound.
    fn unproven_on_the_way(&self, seen: &Observed) -> Option<Plan> {
        self.moving.as_ref()?;
        let Lookup::Unproven(fact, doubt) = &seen.endpoint else {
            return None;
        };
        let message = format!(
            "endpoint {} carries this object's tags and may have been made before the edit, but {doubt}: delete it in AWS, or take its tags off",
            fact.id
        );
        (!doubt.is_certain()).then(|| Plan {
            steps: Vec::new(),
            endpoint: Finding::bad(Reason::OwnershipLost, message),
            service: Finding::good(Reason::NotRequested, "it comes with the endpoint"),
        })
    }

    /// What was proven to be the object's is from now on known by its id, before its tags are written anew: they are a part of the proof.
    async fn acknowledge(&mut self, seen: &Observed) -> Result<(), kube::Error> {
        let mut status = self.object.status.clone();
        if let Some(fact) = seen.endpoint.owned() {
            status.vpc_endpoint_id = Some(fact.id.to_string());
        }
        if let Some(fact) = seen.group.owned() {
            status.security_group_id = Some(fact.id.to_string());
        }
        self.object = status::write(self.ctx, &self.object, status).await?;
        Ok(())
    }

    /// AWS has confirmed that the endpoint is gone: the next has another incarnation, persisted before it is used.
    async fn count_deletion(&mut self) -> Result<(), kube::Error> {
        let mut status = self.object.status.clone();
        let gone = status.vpc_endpoint_id.clone();
        status::next_incarnation(&mut status);
        self.object = status::write(self.ctx, &self.object, status).await?;
        if let Some(id) = gone {
            let note = format!(
                "endpoint {id} was deleted in AWS behind the operator's back; it is made again, under another DNS name"
            );
            self.ctx.shared.events.publish(
                &*self.object,
                EventKind::Warning,
                Reason::DeletedInAWS.as_str(),
                "Recreate",
                &note,
            );
        }
        Ok(())
    }

    /// Whether something of the object may be in AWS that neither a look nor its status shows: an answer may have been
    /// lost, and EC2 is eventually consistent.
    fn may_be_unseen(&self, seen: &Observed) -> bool {
        let status = &self.object.status;
        let is_found = !matches!(seen.endpoint, Lookup::Absent | Lookup::Unproven(..));
        let unknown = status.vpc_endpoint_id.is_none() && !is_found;
        // Of an object that is only bound again, another leader may have made something.
        unknown && (self.moving.is_some() || !self.ctx.memories.with(&self.object, |memory| memory.nothing_made))
    }

    /// How long to wait until a further look has found nothing either; none when that has happened.
    fn confirm_absence(&self, region: &Region) -> Option<Duration> {
        let settle = self.ctx.shared.settings.settle;
        let read = region.read_at();
        self.ctx.memories.with(&self.object, |memory| {
            let since = *memory.absent_since.get_or_insert_with(|| {
                region.invalidate();
                Instant::now()
            });
            if read.is_some_and(|read| read >= since + settle) {
                return None;
            }
            if since.elapsed() >= settle {
                region.invalidate();
                return Some(Duration::from_millis(10));
            }
            Some(settle.saturating_sub(since.elapsed()) + Duration::from_millis(10))
        })
    }
}

fn absence_unconfirmed() -> Plan {
    Plan {
        steps: Vec::new(),
        endpoint: Finding::bad(
            Reason::Deleting,
            "nothing of the object is found in AWS; looking once more before it is let go, since AWS shows new things late",
        ),
        service: Finding::good(Reason::NotRequested, "the object is being deleted"),
    }
}
