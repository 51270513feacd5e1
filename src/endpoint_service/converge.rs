//! Observes, plans and applies, again after each change, until there is nothing left to do now.

use std::time::{Duration, Instant};

use vpce_core::conditions::{Finding, Reason};
use vpce_core::endpoint_service::status::Acknowledged;
use vpce_core::endpoint_service::{
    self, Claimant, Desired, Observed, Part, Plan, PlanContext, Step, classify, client_token, plan_deletion, simulate,
};
use vpce_core::observed::Lookup;
use vpce_core::resolve::Writes;
use vpce_core::tags;

use super::apply::{Applied, Applier};
use super::consumers;
use super::prepare::Prepared;
use super::reconcile::{Reconciliation, Stop};
use crate::aws::Permitted;
use crate::aws::region::{AccountRegion, MaxAge};
use crate::bound::access::Access;
use crate::bound::announced::{self, PlannedChanges};
use crate::k8s::controller::Next;

/// An object that may not be written any more starts again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// AWS is asked to look for the record of a private DNS name so many times less often than it is
/// polled: a person has to create that.
const POLLS_A_VERIFICATION: u32 = 60;

/// What the rounds of one reconcile share.
pub(super) struct Rounds {
    begun: Instant,
    /// How old what is observed may be.
    age: Duration,
    /// Whether AWS may still be written.
    permitted: Permitted,
    /// What was changed of the endpoint service, in words.
    done: Vec<String>,
}

/// What was observed, and what follows from it beside a plan.
pub(super) struct Observation {
    pub(super) seen: Observed,
    /// The id under which creation is paused in the region, if it is.
    paused: Option<String>,
    /// How long until a further read confirms that nothing of the object is in AWS.
    unconfirmed: Option<Duration>,
}

impl Rounds {
    pub(super) fn begin(reconciliation: &Reconciliation<'_>, prepared: &Prepared, access: &Access) -> Self {
        let Reconciliation { ctx, object, .. } = reconciliation;
        let (age, cut_off) = ctx.memories.with(object, |memory| {
            if prepared.desired.is_some() {
                // What was not there before may be made from here on.
                memory.absence.desired();
            }
            // A read that has begun since will do.
            let asked = memory.waits.take_resync();
            let age = asked.map_or(ctx.shared.resync_interval(), |asked| asked.elapsed());
            (age, std::mem::take(&mut memory.cut_off))
        });
        if cut_off {
            access.region.invalidate_endpoint_services();
        }
        Self {
            begun: Instant::now(),
            age,
            permitted: reconciliation.permission(prepared.spec.as_ref(), &prepared.resolved),
            done: Vec::new(),
        }
    }
}

impl Observation {
    /// Nothing follows from what was observed.
    pub(super) fn of(seen: Observed) -> Self {
        Self {
            seen,
            paused: None,
            unconfirmed: None,
        }
    }
}

impl Reconciliation<'_> {
    /// Makes sure that what is known of the object's endpoint service is no older than this.
    pub(super) async fn refresh(&self, access: &Access, all: Duration) -> Result<(), Stop> {
        let Access { region, ec2, .. } = access;
        let awaited = self.ctx.memories.with(&self.object, |memory| memory.own.waited_for);
        let known = Acknowledged::of(&self.object.status).service;
        let age = MaxAge { all, awaited };
        let read = region.refresh_endpoint_services(ec2, || region.objects(), &self.owner, known.as_ref(), age);
        read.await.map_err(|error| access.unread(error))?;
        Ok(())
    }

    /// What is the object's own of what was read. One that is not bound yet would be bound to the
    /// load balancers that are desired.
    pub(super) fn found(&self, region: &AccountRegion, desired: Option<&Desired>) -> Observed {
        let mut acknowledged = Acknowledged::of(&self.object.status);
        if let (None, Some(desired)) = (self.binding(), desired) {
            acknowledged.load_balancers = Some((desired.load_balancer_type, desired.load_balancers.clone()));
        }
        let found = region.find_endpoint_service(&self.owner, acknowledged.service.as_ref());
        let load_balancers = acknowledged.load_balancers.as_ref();
        let claimant = Claimant {
            owner: &self.owner,
            service: acknowledged.service.as_ref(),
            load_balancers: load_balancers.map(|(type_, arns)| (*type_, arns)),
        };
        let service = classify(&claimant, found.candidates.by_id, found.candidates.by_tags);
        let consumers = service.owned().map(|service| region.consumers_of(&service.id));
        let consumers = consumers.unwrap_or_default();
        self.ctx.memories.with(&self.object, |memory| {
            let was_read = |awaited: &mut Instant| consumers.connections_read.is_some_and(|read| read > *awaited);
            memory.own.waited_for.take_if(was_read);
        });
        Observed {
            service,
            principals: consumers.principals,
            connections: consumers.connections,
        }
    }

    /// What AWS holds for the object. None: what was observed had to be written down first, or is
    /// too old to act on.
    pub(super) async fn observe(
        &mut self,
        prepared: &Prepared,
        access: &Access,
        rounds: &mut Rounds,
    ) -> Result<Option<Observation>, Stop> {
        let Prepared { resolved, desired, .. } = prepared;
        let region = &access.region;
        let age = std::mem::replace(&mut rounds.age, self.ctx.shared.resync_interval());
        self.refresh(access, age).await?;
        let mut observation = Observation::of(self.found(region, desired.as_ref()));
        if self.takes_over(&observation.seen) {
            // What was read of it may be outdated: another may own it by now, or have given it up.
            if let Some(consistent) = region.find_endpoint_service(&self.owner, None).settles_at {
                let left = consistent.saturating_duration_since(Instant::now());
                return Err(Stop::Requeue(Next::NotBefore(left)));
            }
            if region
                .endpoint_services_read_at()
                .is_none_or(|read| read < rounds.begun)
            {
                region.invalidate_endpoint_services();
                return Ok(None);
            }
            // What is to go when an object is bound again is never its own by its id: the schema
            // would hold the spec to it.
            if !self.moving {
                self.acknowledge(&observation.seen).await?;
                return Ok(None);
            }
        }
        observation.paused = region.paused(|id| self.ctx.shared.is_resumed(&resolved.binding.account_id, id));
        let recreates = desired.is_some() && resolved.writes == Writes::Allowed && observation.paused.is_none();
        if recreates && observation.seen.service == Lookup::Deleted {
            self.count_deletion(prepared).await?;
            return Ok(None);
        }
        if desired.is_none() && self.may_be_unseen(&observation.seen) {
            observation.unconfirmed = self.confirm_absence(region);
        }
        Ok(Some(observation))
    }

    /// What to do now. Where nothing may be changed: no steps, and findings that name them.
    pub(super) fn plan(&mut self, prepared: &Prepared, observation: &Observation) -> Plan {
        if let Some(finding) = self.unproven_before_rebinding(&observation.seen) {
            return Plan {
                steps: Vec::new(),
                load_balancers: Finding::good(Reason::NotRequested, "the object is bound again first"),
                service: finding,
                private_dns: Finding::good(Reason::NotRequested, "the object is bound again first"),
            };
        }
        if observation.unconfirmed.is_some() {
            return Plan {
                steps: Vec::new(),
                load_balancers: Finding::good(Reason::NotRequested, "the object is being deleted"),
                service: Finding::bad(
                    Reason::Deleting,
                    "nothing of the object is found in AWS; reading once more before its finalizer is removed, since EC2 \
                     is eventually consistent",
                ),
                private_dns: Finding::good(Reason::NotRequested, "the object is being deleted"),
            };
        }
        let may_verify = self.may_verify_in().is_zero();
        let mut plan = self.steps_from(prepared, observation, &observation.seen, may_verify);
        if let (Err(finding), Some(_)) = (&self.of_service, &prepared.desired) {
            plan.load_balancers = finding.clone();
        }
        if let Writes::Frozen(why) = &prepared.resolved.writes {
            let steps = self.all_steps(prepared, observation);
            let account = &prepared.resolved.binding.account;
            self.report_planned_changes(account, why, &steps, &mut plan);
        }
        plan
    }

    /// All steps, from first to last.
    pub(super) fn all_steps(&self, prepared: &Prepared, observation: &Observation) -> Vec<Step> {
        let simulated = simulate(&observation.seen, prepared.desired.is_none(), |seen| {
            self.steps_from(prepared, observation, seen, false)
        });
        simulated.steps
    }

    pub(super) fn steps_from(
        &self,
        prepared: &Prepared,
        observation: &Observation,
        seen: &Observed,
        may_verify: bool,
    ) -> Plan {
        let Some(desired) = &prepared.desired else {
            return plan_deletion(&self.owner, seen, prepared.deletion(), prepared.on_delete);
        };
        let context = PlanContext {
            tag_keys: &self.object.status.tag_keys,
            consumers: &self.object.status.consumer_account_ids,
            paused: observation.paused.as_deref(),
            may_verify,
        };
        endpoint_service::plan(&self.owner, desired, seen, context)
    }

    /// Carries out the steps. None: something has changed, so it is observed and planned again.
    pub(super) async fn apply<'p>(
        &mut self,
        prepared: &Prepared,
        access: &Access,
        plan: &'p Plan,
        rounds: &mut Rounds,
    ) -> Result<Option<Applied<'p>>, Stop> {
        let Prepared { resolved, desired, .. } = prepared;
        let incarnation = self.object.status.incarnation.unwrap_or(0);
        let applier = Applier {
            ctx: self.ctx,
            object: &self.object,
            owner: &self.owner,
            account: &resolved.binding.account,
            role: resolved.role.as_str(),
            region: &access.region,
            ec2: &access.ec2,
            client_token: &client_token(&self.owner, resolved, incarnation),
            permitted: &rounds.permitted,
        };
        let applied = applier.apply(&plan.steps).await;
        if applied
            .done
            .iter()
            .any(|step| matches!(step, Step::ModifyPermissions { .. }))
        {
            consumers::enqueue_waiting(self.ctx, &self.object);
        }
        for step in &applied.done {
            match step.part() {
                Part::Connections => self.tell_of_connections(step),
                Part::PrivateDns if matches!(step, Step::VerifyPrivateDns(_)) => self.note_verification(),
                Part::Service | Part::LoadBalancers | Part::PrivateDns => rounds.done.push(step.to_string()),
            }
        }
        if applied.replayed && desired.is_some() {
            self.count_deletion(prepared).await?;
            return Ok(None);
        }
        if applied.forbidden {
            self.record_repairs(&rounds.done);
            return Err(Stop::Requeue(Next::NotBefore(ASK_AGAIN)));
        }
        Ok(applied.done.is_empty().then_some(applied))
    }

    /// Nothing is left that can be done now: the object goes, or its status says how it stands.
    pub(super) async fn finish(
        &mut self,
        prepared: &Prepared,
        access: &Access,
        observation: &Observation,
        plan: &Plan,
        applied: Applied<'_>,
        rounds: &Rounds,
    ) -> Result<Next, kube::Error> {
        let Prepared { resolved, desired, .. } = prepared;
        let idle = plan.steps.is_empty();
        if idle && desired.is_none() && plan.service.ok {
            if self.moving {
                return self.unbind().await;
            }
            self.record_deletion(prepared.deletion());
            return self.remove_finalizer().await;
        }
        if idle && plan.service.ok && plan.load_balancers.ok && plan.private_dns.ok {
            self.ctx.memories.converged(&self.object);
        }
        self.record_repairs(&rounds.done);
        let soon = applied
            .retry
            .filter(|time| *time <= self.ctx.shared.settings.poll_interval);
        if let Some(time) = soon.filter(|_| !applied.failed) {
            // Not worth a write to the API server.
            return Ok(Next::NotBefore(time));
        }
        let rest = match observation.unconfirmed {
            Some(wait) => Next::After(wait),
            None => self.next(&access.region, &observation.seen, plan, resolved),
        };
        let next = applied.retry.map_or(rest, |retry| rest.not_after(retry));
        let mut told = plan.clone();
        told.report(&applied.unfinished);
        self.conclude(resolved, desired.as_ref(), &observation.seen, told, next)
            .await
    }

    /// Reports the steps as planned changes instead of carrying them out.
    fn report_planned_changes(&mut self, account: &str, why: &Finding, steps: &[Step], plan: &mut Plan) {
        plan.steps.clear();
        if steps.is_empty() {
            return;
        }
        self.planned_changes = Some(PlannedChanges {
            account: account.to_owned(),
            actions: steps.iter().map(Step::action).collect(),
        });
        plan.service = announced::planned(why, steps);
    }

    /// How long until AWS may be asked again to look for the record of the private DNS name.
    pub(super) fn may_verify_in(&self) -> Duration {
        let every = self.ctx.shared.settings.poll_interval * POLLS_A_VERIFICATION;
        let memories = &self.ctx.memories;
        let last = memories.with(&self.object, |memory| memory.own.verified);
        last.map_or(Duration::ZERO, |last| every.saturating_sub(last.elapsed()))
    }

    fn note_verification(&self) {
        let memories = &self.ctx.memories;
        memories.with(&self.object, |memory| memory.own.verified = Some(Instant::now()));
    }

    /// Whether something was made for another object of this name, and this one, once it is bound,
    /// finds it for the first time.
    fn takes_over(&self, seen: &Observed) -> bool {
        let found = seen.service.owned().filter(|_| self.binding().is_some());
        found.is_some_and(|service| {
            let is_known = self.object.status.service_id.as_deref() == Some(service.id.as_str());
            service.tags.get(tags::UID) != Some(&self.owner.uid) && !is_known
        })
    }

    /// What was proven to be the object's is from now on known by its id, before its tags are
    /// written again: they are a part of the proof.
    async fn acknowledge(&mut self, seen: &Observed) -> Result<(), kube::Error> {
        let mut status = self.object.status.clone();
        status.service_id = seen.service.owned().map(|service| service.id.to_string());
        self.object = self.ctx.writer().status(&self.object, status).await?;
        Ok(())
    }

    /// An object is not bound again while something may be its own where it is bound.
    fn unproven_before_rebinding(&self, seen: &Observed) -> Option<Finding> {
        let Lookup::Unproven(service, reason) = &seen.service else {
            return None;
        };
        let message = format!(
            "endpoint service {} carries this object's tags and may have been created before the edit, but {reason}: \
             delete it in AWS, or remove its tags",
            service.id
        );
        (self.moving && !reason.is_certain()).then(|| Finding::bad(Reason::OwnershipLost, message))
    }

    /// Whether something of the object may be in AWS that neither a read nor its status shows: an
    /// answer may have been lost, and EC2 is eventually consistent.
    fn may_be_unseen(&self, seen: &Observed) -> bool {
        let is_found = !matches!(seen.service, Lookup::Absent | Lookup::Unproven(..));
        let is_unknown = self.object.status.service_id.is_none() && !is_found;
        self.ctx.memories.with(&self.object, |memory| {
            // Of an object that is only bound again, another leader may have made something.
            is_unknown && (self.moving || !memory.absence.nothing_made())
        })
    }

    /// How long to wait until a further look has found nothing either; none when that has happened.
    fn confirm_absence(&self, region: &AccountRegion) -> Option<Duration> {
        let settle = self.ctx.shared.settings.settle;
        let read = region.endpoint_services_read_at();
        let memories = &self.ctx.memories;
        memories.with(&self.object, |memory| {
            let invalidate = || region.invalidate_endpoint_services();
            memory.absence.confirm(settle, read, invalidate)
        })
    }
}
