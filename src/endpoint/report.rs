//! What a reconciliation says when it ends: conditions, events, and when to requeue.

use std::time::{Duration, Instant};

use kube::{Resource, ResourceExt};
use vpce_core::api::{EndpointType, VPCEndpointStatus};
use vpce_core::conditions::{EventKind, Finding, Reason, Retry};
use vpce_core::desired::Desired;
use vpce_core::error::Class;
use vpce_core::observed::{Lookup, Observed, State};
use vpce_core::plan::{Part, Plan, Step, UnfinishedReason};
use vpce_core::resolve::{Resolved, Writes};

use super::dns_endpoint;
use super::findings::Findings;
use super::reconcile::{Next, Reconciliation};
use super::status;
use super::take_over;
use crate::aws::region::{AccountRegion, RefreshError};
use crate::aws::sessions::Refusal;
use crate::backoff::jitter;
use crate::bound::access::{NoSession, Unread};
use crate::bound::explain::explain;
use crate::bound::findings::{self, Parts as _, Standing};
use crate::bound::queues::cancel_reservation;
use crate::bound::waits::{Tried, Wait};
use crate::k8s::writes::Refused;

/// A passing failure to read does not make a Ready object unready before it has lasted so many
/// tries.
const PATIENCE: u32 = 3;
/// AWS says within minutes whether an endpoint comes up; what takes longer waits for a person, and
/// is polled less often.
const POLL_OFTEN_FOR: Duration = Duration::from_secs(600);
/// How many times less often.
const POLL_SELDOM: u32 = 12;

impl Reconciliation<'_> {
    /// The role cannot be assumed: what exists stays as it was last seen, and what was Ready says
    /// that changes are paused.
    pub(super) async fn refused(&mut self, no: &NoSession) -> Result<Next, kube::Error> {
        let NoSession { account, refusal } = no;
        // The AWSAccount asks STS again, and requeues all who wait once it is let in.
        if crate::account::is_ready(&self.ctx.shared, account) {
            self.ctx.shared.requeuer.account(account);
        }
        let resync = self.ctx.shared.resync_interval();
        let wait = refusal.retry_after() + jitter(resync);
        // That STS does not answer for a moment concerns nobody who has what they want: the
        // AWSAccount tells of it.
        let passes = matches!(refusal, Refusal::Unavailable { .. }) && self.was_ready && !self.deleting;
        if passes {
            let longest = self.ctx.shared.settings.resync_interval;
            self.ctx.memories.failed(&self.object, longest);
        }
        if !passes || self.ctx.memories.failures(&self.object) >= PATIENCE {
            self.report(Findings::of_account(no.finding())).await?;
        }
        Ok(Next::NotBefore(wait))
    }

    /// The snapshot could not be read.
    pub(super) async fn not_seen(&mut self, unread: Unread) -> Result<Next, kube::Error> {
        let Unread {
            error,
            binding,
            role,
            ec2,
        } = unread;
        let error = match error {
            RefreshError::Busy(time) => return Ok(Next::NotBefore(time)),
            RefreshError::Failed(error) => error,
        };
        if error.is_expired_session() {
            crate::account::forget_session(&self.ctx.shared, &binding.account, &ec2).await;
        }
        let passing = matches!(error.class, Class::Throttled | Class::Transient);
        let finding = explain(&error, &role, &ec2.account_id, &ec2.region);
        crate::account::record_event(&self.ctx.shared, &binding.account, &finding, error.action);
        let next = self.backoff(&finding);
        if !(passing && self.was_ready && self.ctx.memories.failures(&self.object) < PATIENCE) {
            // Nothing is known that speaks against what was Ready.
            let findings = if self.was_ready && !self.deleting && finding.reason.only_pauses() {
                Findings::of_account(finding)
            } else {
                Findings {
                    account: Some(findings::account_resolved(&binding)),
                    endpoint: Some(finding),
                    ..Findings::default()
                }
            };
            self.report(findings).await?;
        }
        Ok(next)
    }

    pub(super) fn backoff(&self, finding: &Finding) -> Next {
        let longest = self.ctx.shared.settings.resync_interval;
        match finding.reason.policy().retry {
            Retry::Resync => Next::NotBefore(jitter(self.ctx.shared.resync_interval())),
            Retry::Poll | Retry::RateLimit | Retry::Backoff => {
                Next::NotBefore(self.ctx.memories.failed(&self.object, longest))
            }
        }
    }

    /// When to requeue an object for which there is nothing to do now.
    pub(super) fn next(&self, region: &AccountRegion, seen: &Observed, plan: &Plan, resolved: &Resolved) -> Next {
        let resync = self.ctx.shared.resync_interval();
        let rest = resync + resync.mul_f64(0.1 * fastrand::f64());
        let now = Instant::now();
        let found = region.find(&self.owner, (None, None));
        let settles = found
            .settles_at
            .map(|at| at.saturating_duration_since(now) + Duration::from_millis(10));
        let at_work = match &seen.endpoint {
            Lookup::Owned(resource) => resource.state.is_transitional(),
            Lookup::Unconfirmed | Lookup::Deleted => true,
            Lookup::Absent | Lookup::Unowned(_) | Lookup::Unproven(..) => false,
        };
        let pending_since = self.ctx.memories.with(&self.object, |memory| {
            memory.own.pending_since = at_work.then(|| memory.own.pending_since.unwrap_or(now));
            memory.own.pending_since
        });
        let frozen = matches!(resolved.writes, Writes::Frozen(_));
        let mut wait = settles.map_or(rest, |settles| settles.min(rest));
        // Of a part that has steps left, those say when they are tried again.
        let parts = [
            (Part::Endpoint, &plan.endpoint),
            (Part::Service, &plan.service),
            (Part::Names, &plan.names),
            (Part::ConfigMap, &plan.config_map),
        ];
        let idle = parts.map(|(part, finding)| {
            let is_of_part = |step: &Step| match part {
                Part::Endpoint | Part::Group => step.is_in_aws(),
                Part::Service | Part::Names | Part::ConfigMap => step.part() == part,
            };
            let has_steps = plan.steps.iter().any(is_of_part);
            (part, finding, finding.reason.policy().retry, finding.ok || has_steps)
        });
        let polls = idle.iter().any(|(_, _, retry, quiet)| !quiet && *retry == Retry::Poll);
        if (at_work || polls || seen.group == Lookup::Unconfirmed) && !frozen {
            let seldom = pending_since.is_some_and(|since| since.elapsed() > POLL_OFTEN_FOR);
            let extra = if seldom {
                self.ctx.shared.settings.poll_interval * (POLL_SELDOM - 1)
            } else {
                Duration::ZERO
            };
            wait = wait.min(region.next_tick() + extra);
        }
        for (part, finding, retry, quiet) in idle {
            if !quiet && retry == Retry::Backoff {
                return Next::NotBefore(self.part_backoff(part, finding).min(wait));
            }
        }
        Next::After(wait)
    }

    /// How long to wait for a part that stands badly without a step of its own, longer each time.
    pub(super) fn part_backoff(&self, part: Part, finding: &Finding) -> Duration {
        let (memories, tried) = (&self.ctx.memories, Tried::part(&part));
        let left = memories.refusal(&self.object, tried).map(|refusal| refusal.left());
        left.filter(|left| !left.is_zero()).unwrap_or_else(|| {
            let longest = self.ctx.shared.settings.resync_interval;
            memories.refused(
                &self.object,
                tried,
                UnfinishedReason::Refused,
                Some(finding.clone()),
                longest,
                Wait::Aws,
            )
        })
    }

    pub(super) fn record_repairs(&self, repaired: &[String]) {
        let generation = self.object.metadata.generation;
        let has_been_ready = self.ctx.memories.with(&self.object, |memory| {
            memory.announced.has_been_ready(self.was_ready, generation)
        });
        if has_been_ready && !repaired.is_empty() && !self.deleting {
            let note = format!(
                "AWS or Kubernetes was not as specified; corrected: {}",
                repaired.join("; ")
            );
            self.ctx
                .shared
                .events
                .publish(&*self.object, EventKind::Normal, "DriftRepaired", "Repair", &note);
        }
    }

    /// Says how things stand after looking.
    pub(super) async fn conclude(
        &mut self,
        resolved: &Resolved,
        desired: Option<&Desired>,
        seen: &Observed,
        plan: Plan,
        next: Next,
    ) -> Result<Next, kube::Error> {
        let findings = Findings {
            account: Some(match &resolved.writes {
                // That the operator is read-only is not the account's doing: what is as specified
                // stays Ready.
                Writes::Frozen(finding) if finding.reason != Reason::ReadOnly => finding.clone(),
                Writes::Frozen(_) | Writes::Allowed => findings::account_resolved(&resolved.binding),
            }),
            endpoint: Some(plan.endpoint),
            service: Some(plan.service),
            names: Some(plan.names),
            config_map: Some(plan.config_map),
        };
        if status::binding(&self.object.status).is_none() && !self.deleting {
            // Frozen before it was bound: what was found is not its own yet.
            self.report(findings).await?;
            return Ok(next);
        }
        let has_it = |finding: &Finding| matches!(finding.reason, Reason::Published | Reason::NotRequested);
        if findings.service.as_ref().is_some_and(has_it) {
            self.ctx.names.end(&self.owner.key());
        }
        let mut status = self.object.status.clone();
        let mut seen = seen.clone();
        if self.moving.is_some() {
            // It is to go, and was never the object's to keep.
            seen.endpoint = Lookup::Absent;
        }
        if !self.publishes_addresses(desired) {
            status.addresses.clear();
        }
        if !self.publishes_zonal_names(desired) {
            status.zonal_dns_names.clear();
        }
        take_over::endpoint(
            &mut status,
            &seen,
            desired,
            &self.owner.namespace,
            &findings,
            self.was_ready,
        );
        self.warn(desired);
        if let Lookup::Owned(endpoint) = &seen.endpoint
            && let (State::PendingAcceptance, Some(target)) = (&endpoint.state, &endpoint.target)
        {
            self.ctx.shared.requeuer.acceptance_awaited(&target.to_string());
        }
        self.serves = matches!(&seen.endpoint, Lookup::Owned(resource) if resource.state == State::Available);
        self.write(status, &findings).await?;
        self.ctx.memories.succeeded(&self.object);
        Ok(next)
    }

    /// Says how things stand without having read from AWS.
    pub(super) async fn report(&mut self, findings: Findings) -> Result<Next, kube::Error> {
        let status: VPCEndpointStatus = self.object.status.clone();
        let summary = findings.summary(Standing::default());
        self.write(status, &findings).await?;
        Ok(match summary.reason.policy().retry {
            Retry::Backoff => Next::NotBefore(
                self.ctx
                    .memories
                    .failed(&self.object, self.ctx.shared.settings.resync_interval),
            ),
            Retry::Resync | Retry::Poll | Retry::RateLimit => Next::After(jitter(self.ctx.shared.resync_interval())),
        })
    }

    pub(super) async fn write(
        &mut self,
        mut status: VPCEndpointStatus,
        findings: &Findings,
    ) -> Result<(), kube::Error> {
        let planned_changes = self.planned_changes.take();
        self.ctx.memories.with(&self.object, |memory| {
            memory.announced.planned_changes = planned_changes
        });
        if self.agrees {
            status.bound_generation = self.object.metadata.generation;
        }
        let findings = &self.told(findings);
        let standing = Standing {
            was_ready: self.was_ready,
            serves: self.serves,
            deleting: self.deleting,
        };
        let changed = status::set_conditions(&mut status, findings, standing, self.object.metadata.generation);
        let version = self.object.resource_version();
        let published = self.object.status.dns_names.iter();
        let given_up: Vec<String> = published
            .filter(|name| !status.dns_names.contains(name))
            .cloned()
            .collect();
        let changed_service = self.changed_service(findings);
        match self.ctx.writer().status(&self.object, status).await {
            Ok(written) => self.object = written,
            // It is told; what is in AWS goes on without.
            Err(error) if let Some(is_tried) = Refused::of(&error).map(|refused| refused.is_tried) => {
                self.ctx
                    .memories
                    .with(&self.object, |memory| memory.status_refused |= is_tried);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        // What was not stored is not told either.
        let is_stored = self.object.resource_version() != version;
        for name in given_up.iter().filter(|_| is_stored) {
            dns_endpoint::enqueue_others(self.ctx, &self.object, name);
        }
        if let Some(service) = changed_service.filter(|_| is_stored) {
            let reason = service.reason.as_str();
            self.ctx
                .shared
                .events
                .publish(&*self.object, EventKind::Warning, reason, "Reconcile", &service.message);
        }
        let changed = changed && is_stored;
        let summary = findings.summary(standing);
        if matches!(summary.reason.policy().retry, Retry::Resync | Retry::Poll) {
            cancel_reservation(&self.ctx.shared, &self.ctx.memories, &*self.object, false);
        }
        let account = self.object.status.account.as_ref();
        let account = account.map(|account| account.name.clone()).unwrap_or_default();
        // What AWS refused, and who found no room, was told where that came out.
        if matches!(summary.reason, Reason::MappingRevoked | Reason::AccountReplaced) {
            let paused = Finding::bad(summary.reason, summary.message.clone());
            crate::account::record_event(&self.ctx.shared, &account, &paused, &self.owner.namespace);
        }
        if changed {
            self.announce(&account, &summary);
        }
        Ok(())
    }

    /// Says in the log and by an event how the object stands now; and how long it took to be Ready
    /// for the first time.
    fn announce(&self, account: &str, summary: &Finding) {
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            ready = summary.ok,
            reason = summary.reason.as_str(),
            condition_message = summary.message,
            "now"
        );
        self.ctx.shared.events.publish(
            &*self.object,
            summary.reason.policy().event,
            summary.reason.as_str(),
            "Reconcile",
            &summary.message,
        );
        let first = summary.ok
            && self
                .ctx
                .memories
                .with(&self.object, |memory| memory.announced.take_first_ready());
        if first {
            let created = self.object.meta().creation_timestamp.as_ref().map(|time| time.0);
            let now = k8s_openapi::jiff::Timestamp::now();
            let spec = self.object.spec.as_ref();
            let type_ = spec.map_or_else(|_| EndpointType::default(), |spec| spec.vpc_endpoint_type);
            let seconds = created.map_or(0.0, |created| now.duration_since(created).as_secs_f64());
            self.ctx.shared.metrics.time_to_ready(type_.as_str(), seconds);
        }
    }

    /// What is to be told of a Service that serves, though it is not as it was written, if that is
    /// news: what is summed up does not tell.
    fn changed_service(&self, findings: &Findings) -> Option<Finding> {
        let found = findings.service.as_ref()?;
        let is_known =
            self.object.status.conditions.iter().any(|condition| {
                condition.reason == Reason::ServiceChanged.as_str() && condition.message == found.message
            });
        (found.ok && found.reason == Reason::ServiceChanged && !is_known).then(|| found.clone())
    }

    /// Tells once a generation of what is carried out but rarely meant.
    pub(super) fn warn(&self, desired: Option<&Desired>) {
        let generation = self.object.metadata.generation;
        let Some(desired) = desired.filter(|desired| !desired.warnings.is_empty()) else {
            return;
        };
        let first = self
            .ctx
            .memories
            .with(&self.object, |memory| memory.announced.warns(generation));
        // After a restart the object is Ready for this generation already, and was told.
        if first && !self.was_ready {
            for warning in &desired.warnings {
                self.ctx.shared.events.publish(
                    &*self.object,
                    EventKind::Warning,
                    "SuspiciousRule",
                    "Reconcile",
                    warning,
                );
            }
        }
    }
}
