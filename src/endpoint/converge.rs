//! Observes, plans and applies, again after each change, until there is nothing left to do now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::desired;
use vpce_core::observed::{Lookup, Observed};
use vpce_core::plan::{self, Part, Plan, PlanContext, Step, simulate};
use vpce_core::resolve::Writes;
use vpce_core::tags;

use super::apply::{ASK_AGAIN, Applied, Applier, InAws, apply};
use super::dns_endpoint;
use super::observe::{self, Age, observe};
use super::prepare::Prepared;
use super::reconcile::{Next, Reconciliation};
use super::status;
use super::stop::Stop;
use crate::aws::Permitted;
use crate::aws::region::AccountRegion;
use crate::bound::access::Access;
use crate::bound::announced::{self, PlannedChanges};
use crate::bound::memories::Memory;
use crate::k8s::caches::Endpoint;

/// What the rounds of one reconcile share.
pub(super) struct Rounds {
    begun: Instant,
    /// How old what is observed may be.
    age: Duration,
    /// Whether AWS may still be written.
    permitted: Permitted,
    /// What was done, in words.
    done: Vec<String>,
}

/// What was observed, and what follows from it beside a plan.
pub(super) struct Observation {
    pub(super) seen: Observed,
    /// Why the object is not bound again: an endpoint may be its own, which is not proven.
    unproven: Option<Finding>,
    /// The id under which creation is paused in the region, if it is.
    paused: Option<String>,
    /// How long until a further read confirms that nothing of the object is in AWS.
    unconfirmed: Option<Duration>,
}

impl Observation {
    pub(super) fn of(seen: Observed) -> Self {
        Self {
            seen,
            unproven: None,
            paused: None,
            unconfirmed: None,
        }
    }
}

impl Rounds {
    pub(super) fn begin(reconciliation: &Reconciliation<'_>, prepared: &Prepared, access: &Access) -> Self {
        let Reconciliation { ctx, object, owner, .. } = reconciliation;
        let desired = prepared.desired.as_ref();
        let (age, cut_off) = ctx.memories.with(object, |memory| {
            if desired.is_some() {
                // What was not there before may be made from here on.
                memory.absence.desired();
            }
            // A read that has begun since will do.
            let asked = memory.waits.take_resync();
            let age = asked.map_or(ctx.shared.resync_interval(), |asked| asked.elapsed());
            (age, std::mem::take(&mut memory.cut_off))
        });
        if cut_off {
            access.region.invalidate();
        }
        if let Some(service) = desired.and_then(|desired| desired.service.as_ref()) {
            ctx.names.wait(owner.key(), &service.name);
        }
        Self {
            begun: Instant::now(),
            age,
            permitted: reconciliation.permission(prepared.spec.as_ref(), &prepared.resolved),
            done: Vec::new(),
        }
    }
}

impl Reconciliation<'_> {
    /// What AWS and Kubernetes hold for the object. None: what was observed had to be written down
    /// first, or is too old to act on.
    pub(super) async fn observe(
        &mut self,
        prepared: &Prepared,
        access: &Access,
        rounds: &mut Rounds,
    ) -> Result<Option<Observation>, Stop> {
        let Prepared { resolved, desired, .. } = prepared;
        let region = &access.region;
        let status = self.object.status.clone();
        let wanted = desired.as_ref();
        let read = observe(
            self.ctx,
            region,
            &access.ec2,
            &self.owner,
            &status,
            wanted,
            Age(rounds.age),
        )
        .await;
        read.map_err(|error| access.unread(error))?;
        let age = std::mem::replace(&mut rounds.age, self.ctx.shared.resync_interval());
        let mut seen = observe::found(self.ctx, region, &self.owner, &self.object, &status, wanted);
        if wanted.is_some() {
            // Boxed, or the types of the futures above it grow too deep for the compiler.
            let completed = observe::complete(self.ctx, region, &access.ec2, &mut seen)
                .boxed()
                .await;
            completed.map_err(|error| access.unread(error))?;
        }
        if self.takes_over(&seen) {
            // What the snapshot says of it may be outdated: another may own it by now, or have
            // given it up.
            if let Some(consistent) = region.find(&self.owner, (None, None)).settles_at {
                let left = consistent.saturating_duration_since(Instant::now());
                return Err(Stop::Requeue(Next::NotBefore(left)));
            }
            if region.read_at().is_none_or(|read| read < rounds.begun) {
                region.invalidate();
                return Ok(None);
            }
            // What is to go when an object is bound again is never its own by its id: the schema
            // would hold the spec to it.
            if self.moving.is_none() {
                self.acknowledge(&seen).await?;
                return Ok(None);
            }
        }
        let mut observation = Observation::of(seen);
        observation.unproven = self.unproven_before_rebinding(&observation.seen);
        if observation.unproven.is_some() {
            return Ok(Some(observation));
        }
        observation.paused = region.paused(|id| self.ctx.shared.is_resumed(&resolved.binding.account_id, id));
        if observation.paused.is_some() {
            self.ctx.shared.requeuer.account(&resolved.binding.account);
        }
        if desired.as_ref().is_some_and(|desired| desired.existing.is_none())
            && observation.seen.endpoint == Lookup::Deleted
            && observation.paused.is_none()
            && resolved.writes == Writes::Allowed
        {
            let was_adopted = self.object.status.adopted;
            self.count_deletion().await?;
            // What takes its place is created, for which more has to be given.
            return match was_adopted {
                true => Err(Stop::Requeue(Next::After(Duration::ZERO))),
                false => Ok(None),
            };
        }
        if observation.seen.group == Lookup::Deleted {
            // Nothing remembers it; another is made where one is wanted.
            observation.seen.group = Lookup::Absent;
        }
        if desired.is_none() {
            self.note_group(&observation.seen);
            if self.may_be_unseen(&observation.seen) {
                observation.unconfirmed = self.confirm_absence(region);
            }
        }
        // Boxed, or the types of the futures above it grow too deep for the compiler.
        self.add_addresses(prepared, access, age, &mut observation.seen)
            .boxed()
            .await?;
        self.add_zonal_names(prepared, access, &mut observation.seen)
            .boxed()
            .await?;
        let has_config_map = desired.as_ref().is_some_and(|desired| desired.config_map);
        let adding = self.add_config_map(has_config_map, &mut observation.seen);
        adding.boxed().await?;
        Ok(Some(observation))
    }

    /// What to do now. Where nothing may be changed: no steps, and findings that name them.
    pub(super) fn plan(&mut self, prepared: &Prepared, observation: &Observation) -> Plan {
        if let Some(finding) = &observation.unproven {
            return nothing_yet(finding);
        }
        if observation.unconfirmed.is_some() {
            return absence_unconfirmed();
        }
        let is_wanted = prepared.desired.is_some() && prepared.resolved.writes == Writes::Allowed;
        let waits = || self.waits_to_be_allowed(&prepared.resolved, &observation.seen);
        if let Some(finding) = is_wanted.then(waits).flatten() {
            return nothing_yet(&finding);
        }
        let mut plan = self.steps_from(prepared, observation, &observation.seen);
        if let Writes::Frozen(why) = &prepared.resolved.writes {
            let steps = self.all_steps(prepared, observation);
            let account = &prepared.resolved.binding.account;
            self.report_planned_changes(account, why, &steps, &mut plan);
        }
        plan
    }

    /// All steps to where nothing is left to be done, if AWS does as it is told.
    pub(super) fn all_steps(&self, prepared: &Prepared, observation: &Observation) -> Vec<Step> {
        let simulated = simulate(&observation.seen, prepared.desired.as_ref(), |seen| {
            self.steps_from(prepared, observation, seen)
        });
        simulated.steps
    }

    pub(super) fn steps_from(&self, prepared: &Prepared, observation: &Observation, seen: &Observed) -> Plan {
        let Some(desired) = &prepared.desired else {
            return plan::plan_deletion(&self.owner, seen, prepared.deletion());
        };
        let tables = self.object.status.route_table_ids.iter();
        let route_tables = tables.map(|id| id.as_str().into()).collect();
        let names_metadata = dns_endpoint::metadata(self.ctx);
        let context = PlanContext {
            tag_keys: &self.object.status.tag_keys,
            route_tables: &route_tables,
            applied_fields: &self.object.status.applied_fields,
            paused: observation.paused.as_deref(),
            names_metadata: &names_metadata,
            fallbacks: self.ctx.memories.with(&self.object, |memory| memory.own.fallbacks),
        };
        plan::plan(&self.owner, desired, seen, context)
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
        // That it is Ready for this generation is only what its status says; nothing is done on the
        // strength of that.
        if plan.steps.iter().any(Step::is_in_aws) {
            self.check_groups(access, desired.as_ref()).await?;
        }
        let token = desired.as_ref().map(|desired| {
            let incarnation = self.object.status.incarnation.unwrap_or(0);
            desired::client_token(&self.owner, desired, resolved, incarnation)
        });
        let applier = Applier {
            ctx: self.ctx,
            object: &self.object,
            owner: &self.owner,
            aws: Some(InAws {
                account: &resolved.binding.account,
                role: resolved.role.as_str(),
                region: &access.region,
                ec2: &access.ec2,
                client_token: token.as_deref(),
                permitted: &rounds.permitted,
            }),
        };
        let applied = apply(&applier, &plan.steps).await;
        rounds.done.extend(applied.done.iter().cloned());
        if !applied.addresses.is_empty() {
            let mut status = self.object.status.clone();
            status::accept_addresses(&mut status, applied.addresses.clone());
            self.object = self.ctx.writer().status(&self.object, status).await?;
        }
        if applied.replayed {
            self.count_deletion().await?;
            return Ok(None);
        }
        if applied.forbidden {
            self.record_repairs(&rounds.done);
            return Err(Stop::Requeue(Next::NotBefore(ASK_AGAIN)));
        }
        let changed = applied.learned || !applied.done.is_empty();
        Ok((!changed).then_some(applied))
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
        if idle && desired.is_none() && plan.endpoint.ok && plan.service.ok {
            if self.moving.is_some() {
                return self.unbind().await;
            }
            self.record_deletion(prepared.deletion(), &observation.seen);
            return self.remove_finalizer().await;
        }
        if idle && plan.endpoint.ok {
            self.ctx.memories.converged(&self.object);
            if resolved.writes == Writes::Allowed {
                self.settle(&resolved.account).boxed().await?;
            }
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
        applied.progress.report(&mut told);
        self.conclude(resolved, desired.as_ref(), &observation.seen, told, next)
            .await
    }

    /// Reports the steps as planned changes instead of carrying them out.
    pub(super) fn report_planned_changes(&mut self, account: &str, why: &Finding, steps: &[Step], plan: &mut Plan) {
        plan.steps.clear();
        if steps.is_empty() {
            return;
        }
        self.planned_changes = Some(PlannedChanges {
            account: account.to_owned(),
            actions: steps.iter().map(Step::action).collect(),
        });
        let of_part = |is: &dyn Fn(&Step) -> bool| steps.iter().filter(|step| is(step)).collect::<Vec<_>>();
        for (steps, finding) in [
            (of_part(&Step::is_in_aws), &mut plan.endpoint),
            (of_part(&|step| step.part() == Part::Service), &mut plan.service),
            (of_part(&|step| step.part() == Part::Names), &mut plan.names),
            (of_part(&|step| step.part() == Part::ConfigMap), &mut plan.config_map),
        ] {
            if !steps.is_empty() {
                *finding = announced::planned(why, steps);
            }
        }
    }

    /// Whether something was made for another object of this name, and this one finds it for the
    /// first time.
    fn takes_over(&self, seen: &Observed) -> bool {
        let status = &self.object.status;
        let is_found = |id: &str, known: &Option<String>, tags: &BTreeMap<String, String>| {
            tags.get(tags::UID) != Some(&self.owner.uid) && known.as_deref() != Some(id)
        };
        let endpoint = seen.endpoint.owned();
        let group = seen.group.owned();
        endpoint.is_some_and(|resource| is_found(resource.id.as_str(), &status.vpc_endpoint_id, &resource.tags))
            || group.is_some_and(|resource| is_found(resource.id.as_str(), &status.security_group_id, &resource.tags))
    }

    /// An object is not bound again while something may be its own where it is bound.
    fn unproven_before_rebinding(&self, seen: &Observed) -> Option<Finding> {
        self.moving.as_ref()?;
        let Lookup::Unproven(endpoint, reason) = &seen.endpoint else {
            return None;
        };
        let message = format!(
            "endpoint {} carries this object's tags and may have been created before the edit, but {reason}: delete it \
             in AWS, or remove its tags",
            endpoint.id
        );
        (!reason.is_certain()).then(|| Finding::bad(Reason::OwnershipLost, message))
    }

    /// What was proven to be the object's is from now on known by its id, before its tags are
    /// written again: they are a part of the proof.
    async fn acknowledge(&mut self, seen: &Observed) -> Result<(), kube::Error> {
        let mut status = self.object.status.clone();
        if let Some(resource) = seen.endpoint.owned() {
            status.vpc_endpoint_id = Some(resource.id.to_string());
        }
        if let Some(resource) = seen.group.owned() {
            status.security_group_id = Some(resource.id.to_string());
        }
        self.object = self.ctx.writer().status(&self.object, status).await?;
        Ok(())
    }

    /// AWS has confirmed that the endpoint is gone: the next has another incarnation, persisted
    /// before it is used.
    async fn count_deletion(&mut self) -> Result<(), kube::Error> {
        let mut status = self.object.status.clone();
        let gone = status.vpc_endpoint_id.clone();
        status::next_incarnation(&mut status);
        self.object = self.ctx.writer().status(&self.object, status).await?;
        if let Some(id) = gone {
            let note =
                format!("endpoint {id} was deleted in AWS, not by the operator; it is recreated with another DNS name");
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

    /// Remembers of an object that is deleted that its group was found, or since when it was not:
    /// the endpoint goes first, and takes its time.
    fn note_group(&self, seen: &Observed) {
        self.ctx.memories.with(&self.object, |memory| {
            if seen.group.owned().is_some() {
                memory.own.group_found = true;
            } else if endpoint_is_there(seen) && lacks_group(seen, memory) {
                memory.absence.absent_since();
            }
        });
    }

    /// Whether something of the object may be in AWS that neither a read nor its status shows: an
    /// answer may have been lost, and EC2 is eventually consistent.
    fn may_be_unseen(&self, seen: &Observed) -> bool {
        let endpoint_is_found = !matches!(seen.endpoint, Lookup::Absent | Lookup::Unproven(..));
        let endpoint_is_unknown = self.object.status.vpc_endpoint_id.is_none() && !endpoint_is_found;
        self.ctx.memories.with(&self.object, |memory| {
            // Of an object that is only bound again, another leader may have made something.
            let endpoint_may_be = endpoint_is_unknown && (self.moving.is_some() || !memory.absence.nothing_made());
            endpoint_may_be || (!endpoint_is_there(seen) && lacks_group(seen, memory))
        })
    }

    /// How long to wait until a further look has found nothing either; none when that has happened.
    fn confirm_absence(&self, region: &AccountRegion) -> Option<Duration> {
        let (settle, read) = (self.ctx.shared.settings.settle, region.read_at());
        let memories = &self.ctx.memories;
        memories.with(&self.object, |memory| {
            memory.absence.confirm(settle, read, || region.invalidate())
        })
    }
}

fn endpoint_is_there(seen: &Observed) -> bool {
    matches!(seen.endpoint, Lookup::Owned(_) | Lookup::Unconfirmed)
}

/// Whether there may be a group that was not found: an edit may have asked for one beside an
/// endpoint that is long known.
fn lacks_group(seen: &Observed, memory: &Memory<Endpoint>) -> bool {
    seen.group == Lookup::Absent && !memory.absence.nothing_made() && !memory.own.group_found
}

/// Nothing is done, since the endpoint is not to be.
fn nothing_yet(why: &Finding) -> Plan {
    Plan {
        steps: Vec::new(),
        endpoint: why.clone(),
        service: Finding::good(Reason::NotRequested, "it is published with the endpoint"),
        names: Finding::good(Reason::NotRequested, "they are published with the endpoint"),
        config_map: Finding::good(Reason::NotRequested, "it is published with the endpoint"),
    }
}

fn absence_unconfirmed() -> Plan {
    Plan {
        steps: Vec::new(),
        endpoint: Finding::bad(
            Reason::Deleting,
            "nothing of the object is found in AWS; reading once more before its finalizer is removed, since EC2 is \
             eventually consistent",
        ),
        service: Finding::good(Reason::NotRequested, "the object is being deleted"),
        names: Finding::good(Reason::NotRequested, "the object is being deleted"),
        config_map: Finding::good(Reason::NotRequested, "the object is being deleted"),
    }
}
