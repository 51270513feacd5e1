//! What a reconciliation says when it ends: conditions, events, and when to requeue.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use vpce_core::api::{DeletionPolicy, VPCEndpointServiceStatus};
use vpce_core::conditions::{EventKind, Finding, Reason, Retry};
use vpce_core::endpoint_service::{Desired, Observed, Plan, Step, status as remembered};
use vpce_core::error::Class;
use vpce_core::observed::{Lookup, State};
use vpce_core::plan::UnfinishedReason;
use vpce_core::resolve::{Resolved, Writes};

use super::findings::Findings;
use super::reconcile::{Reconciliation, Stop};
use super::status;
use crate::aws::region::{AccountRegion, RefreshError};
use crate::aws::sessions::Refusal;
use crate::backoff::jitter;
use crate::bound::access::{NoSession, Unread};
use crate::bound::explain::explain;
use crate::bound::findings::{Parts as _, Standing, account_resolved};
use crate::bound::queues::cancel_reservation;
use crate::bound::waits::{Tried, Wait};
use crate::k8s::controller::Next;
use crate::k8s::writes::Refused;

/// A passing failure to read does not make a Ready object unready before it has lasted so many
/// tries.
const PATIENCE: u32 = 3;

impl Reconciliation<'_> {
    /// Ends the reconcile.
    pub(super) async fn stopped(&mut self, stop: Stop) -> Result<Next, kube::Error> {
        match stop {
            Stop::Requeue(next) => Ok(next),
            Stop::Findings(findings) => self.report(*findings).await,
            Stop::NeverBound(_) => self.remove_finalizer().await,
            Stop::Decommissioned(finding) => {
                let id = self.object.status.service_id.clone().unwrap_or_default();
                self.warn("Abandoned", "Abandon", &format!("{}; abandoned: {id}", finding.message));
                match self.moving {
                    true => self.unbind().await,
                    false => self.remove_finalizer().await,
                }
            }
            Stop::NoSession(no) => self.refused(&no).await,
            Stop::Unread(unread) => self.not_seen(*unread).await,
            Stop::Kubernetes(error) => Err(*error),
        }
    }

    /// The role cannot be assumed: what exists stays as it was last seen, and what was Ready says
    /// that changes are paused.
    async fn refused(&mut self, no: &NoSession) -> Result<Next, kube::Error> {
        let NoSession { account, refusal } = no;
        // The AWSAccount asks STS again, and requeues all who wait once it is let in.
        if crate::account::is_ready(&self.ctx.shared, account) {
            self.ctx.shared.requeuer.account(account);
        }
        let wait = refusal.retry_after() + jitter(self.ctx.shared.resync_interval());
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

    /// AWS could not be read.
    async fn not_seen(&mut self, unread: Unread) -> Result<Next, kube::Error> {
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
            let only_pauses = self.was_ready && !self.deleting && finding.reason.only_pauses();
            self.report(match only_pauses {
                true => Findings::of_account(finding),
                false => Findings::of_resource(Some(account_resolved(&binding)), finding),
            })
            .await?;
        }
        Ok(next)
    }

    fn backoff(&self, finding: &Finding) -> Next {
        let longest = self.ctx.shared.settings.resync_interval;
        Next::NotBefore(match finding.reason.policy().retry {
            Retry::Resync => jitter(self.ctx.shared.resync_interval()),
            Retry::Poll | Retry::RateLimit | Retry::Backoff => self.ctx.memories.failed(&self.object, longest),
        })
    }

    /// When to requeue an object for which there is nothing to do now.
    pub(super) fn next(&self, region: &AccountRegion, seen: &Observed, plan: &Plan, resolved: &Resolved) -> Next {
        let resync = self.ctx.shared.resync_interval();
        let rest = resync + resync.mul_f64(0.1 * fastrand::f64());
        let found = region.find_endpoint_service(&self.owner, None);
        let until = |at: Instant| at.saturating_duration_since(Instant::now()) + Duration::from_millis(10);
        let mut wait = found.settles_at.map_or(rest, |settles| until(settles).min(rest));
        if let Writes::Frozen(_) = resolved.writes {
            return Next::After(wait);
        }
        let at_work = match &seen.service {
            Lookup::Owned(service) => service.state.is_transitional(),
            Lookup::Unconfirmed | Lookup::Deleted => true,
            Lookup::Absent | Lookup::Unowned(_) | Lookup::Unproven(..) => false,
        };
        let mut connections = seen.connections.iter().flatten();
        let connects = connections.any(|connection| connection.state == State::Pending);
        let awaited = self
            .ctx
            .memories
            .with(&self.object, |memory| memory.own.waited_for.is_some());
        let polls = |finding: &Finding| !finding.ok && finding.reason.policy().retry == Retry::Poll;
        if at_work || connects || awaited || polls(&plan.service) || polls(&plan.load_balancers) {
            wait = wait.min(region.next_tick());
        }
        if plan.private_dns.reason == Reason::PrivateDNSNotVerified {
            wait = wait.min(self.may_verify_in() + Duration::from_millis(10));
        }
        let waits = plan.steps.is_empty() && !plan.service.ok && plan.service.reason.policy().retry == Retry::Backoff;
        match waits {
            // A service that is in use is read again more and more seldom.
            true => Next::NotBefore(self.part_backoff(&plan.service).min(wait)),
            false => Next::After(wait),
        }
    }

    /// How long to wait for an endpoint service that stands badly without a step of its own, longer
    /// each time.
    fn part_backoff(&self, finding: &Finding) -> Duration {
        let (memories, tried) = (&self.ctx.memories, Tried::part(&finding.reason));
        let left = memories.refusal(&self.object, tried).map(|refusal| refusal.left());
        left.filter(|left| !left.is_zero()).unwrap_or_else(|| {
            let longest = self.ctx.shared.settings.resync_interval;
            let (reason, told) = (UnfinishedReason::Refused, Some(finding.clone()));
            memories.refused(&self.object, tried, reason, told, longest, Wait::Aws)
        })
    }

    pub(super) fn record_repairs(&self, repaired: &[String]) {
        let generation = self.object.metadata.generation;
        let has_been_ready = self.ctx.memories.with(&self.object, |memory| {
            memory.announced.has_been_ready(self.was_ready, generation)
        });
        if has_been_ready && !repaired.is_empty() && !self.deleting {
            let note = format!("AWS was not as specified; corrected: {}", repaired.join("; "));
            let events = &self.ctx.shared.events;
            events.publish(&*self.object, EventKind::Normal, "DriftRepaired", "Repair", &note);
        }
    }

    /// Tells of connections that were accepted or rejected.
    pub(super) fn tell_of_connections(&self, step: &Step) {
        let (reason, action) = match step {
            Step::Reject(..) => ("ConnectionsRejected", "Reject"),
            _ => ("ConnectionsAccepted", "Accept"),
        };
        let events = &self.ctx.shared.events;
        events.publish(&*self.object, EventKind::Normal, reason, action, &step.to_string());
    }

    /// Tells what became of the endpoint service of an object that goes.
    pub(super) fn record_deletion(&self, policy: Result<DeletionPolicy, &Finding>) {
        let Some(id) = &self.object.status.service_id else {
            return;
        };
        let (reason, note) = match policy {
            Ok(DeletionPolicy::Retain) => ("Retained", format!("endpoint service {id} was retained in AWS")),
            _ => ("Deleted", format!("endpoint service {id} was deleted in AWS")),
        };
        let events = &self.ctx.shared.events;
        events.publish(&*self.object, EventKind::Normal, reason, "Delete", &note);
    }

    /// Publishes a Warning.
    pub(super) fn warn(&self, reason: &str, action: &str, note: &str) {
        let events = &self.ctx.shared.events;
        events.publish(&*self.object, EventKind::Warning, reason, action, note);
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
                Writes::Frozen(_) | Writes::Allowed => account_resolved(&resolved.binding),
            }),
            load_balancers: Some(plan.load_balancers),
            service: Some(plan.service),
            private_dns: Some(plan.private_dns),
        };
        if self.binding().is_none() && !self.deleting {
            // Frozen before it was bound: what was found is not its own yet.
            self.report(findings).await?;
            return Ok(next);
        }
        let mut status = self.object.status.clone();
        // What is to go before the object is bound again was never its own to keep.
        if !self.moving {
            remembered::take_over(&mut status, seen, desired, self.was_ready);
        }
        self.tell_warnings(desired);
        self.serves = matches!(&seen.service, Lookup::Owned(service) if service.state == State::Available);
        self.write(status, &findings).await?;
        self.ctx.memories.succeeded(&self.object);
        Ok(next)
    }

    /// Says how things stand without having read from AWS.
    pub(super) async fn report(&mut self, findings: Findings) -> Result<Next, kube::Error> {
        let summary = findings.summary(Standing::default());
        self.write(self.object.status.clone(), &findings).await?;
        Ok(match summary.reason.policy().retry {
            Retry::Backoff => self.backoff(&summary),
            Retry::Poll => Next::After(self.look_again()),
            Retry::Resync | Retry::RateLimit => Next::After(jitter(self.ctx.shared.resync_interval())),
        })
    }

    pub(super) async fn write(
        &mut self,
        mut status: VPCEndpointServiceStatus,
        findings: &Findings,
    ) -> Result<(), kube::Error> {
        let planned_changes = self.planned_changes.take();
        self.ctx.memories.with(&self.object, |memory| {
            memory.announced.planned_changes = planned_changes;
        });
        let generation = self.object.metadata.generation;
        if self.agrees {
            status.bound_generation = generation;
        }
        let standing = Standing {
            was_ready: self.was_ready,
            serves: self.serves,
            deleting: self.deleting,
        };
        let changed = status::set_conditions(&mut status, findings, standing, generation);
        let version = self.object.resource_version();
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
        let summary = findings.summary(standing);
        if matches!(summary.reason.policy().retry, Retry::Resync | Retry::Poll) {
            cancel_reservation(&self.ctx.shared, &self.ctx.memories, &*self.object, false);
        }
        let account = self.object.status.account.as_ref();
        let account = account.map(|account| account.name.clone()).unwrap_or_default();
        if matches!(summary.reason, Reason::MappingRevoked | Reason::AccountReplaced) {
            let paused = Finding::bad(summary.reason, summary.message.clone());
            crate::account::record_event(&self.ctx.shared, &account, &paused, &self.owner.namespace);
        }
        // What was not stored is not told either.
        if changed && self.object.resource_version() != version {
            self.announce(&account, &summary);
        }
        Ok(())
    }

    /// Says in the log and by an event how the object stands now.
    fn announce(&self, account: &str, summary: &Finding) {
        let reason = summary.reason.as_str();
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            ready = summary.ok,
            reason,
            condition_message = summary.message,
            "now"
        );
        let kind = summary.reason.policy().event;
        let events = &self.ctx.shared.events;
        events.publish(&*self.object, kind, reason, "Reconcile", &summary.message);
    }

    /// Tells once a generation of what is carried out but rarely meant.
    fn tell_warnings(&self, desired: Option<&Desired>) {
        let generation = self.object.metadata.generation;
        let warnings = desired.map(|desired| &desired.warnings[..]).unwrap_or_default();
        if warnings.is_empty() {
            return;
        }
        let first = self
            .ctx
            .memories
            .with(&self.object, |memory| memory.announced.warns(generation));
        // After a restart the object is Ready for this generation already, and was told.
        for warning in warnings.iter().filter(|_| first && !self.was_ready) {
            self.warn("OpenToEveryone", "Reconcile", warning);
        }
    }
}
