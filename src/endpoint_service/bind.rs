//! Binds an object to an account and a region, and unbinds it; and tells of a finalizer that the
//! API server did not take.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::api::{ENDPOINT_SERVICE_FINALIZER, VPCEndpointServiceSpec};
use vpce_core::conditions::{Finding, Reason};
use vpce_core::endpoint_service::{Desired, status as remembered};
use vpce_core::resolve::Resolved;

use super::context::Context;
use super::findings::Findings;
use super::prepare::Prepared;
use super::reconcile::Reconciliation;
use super::status;
use crate::bound::findings::{Parts as _, Standing, account_resolved, finalizer_refused};
use crate::k8s::caches::EndpointService;
use crate::k8s::controller::Next;
use crate::k8s::error::is_conflict;
use crate::k8s::finalizer;
use crate::k8s::writes::{Refused, Write};

impl Reconciliation<'_> {
    /// Before the first call that changes AWS: the finalizer, the AWSAccount's too, then account,
    /// region, load balancers and incarnation, each acknowledged; and before tags are set and
    /// connections accepted, their keys and accounts. False: what was resolved does not hold any
    /// more.
    pub(super) async fn bind(
        &mut self,
        spec: Option<&VPCEndpointServiceSpec>,
        resolved: &Resolved,
        desired: &Desired,
    ) -> Result<bool, kube::Error> {
        if !finalizer::has(&*self.object, ENDPOINT_SERVICE_FINALIZER) {
            self.object = self.ctx.writer().add_finalizer(&self.object).await?;
        }
        let mut status = self.object.status.clone();
        if self.binding().is_some() {
            if remembered::announce(&mut status, desired, None) {
                self.object = self.ctx.writer().status(&self.object, status).await?;
            }
            return Ok(true);
        }
        // Reading AWS took its time: meanwhile the AWSAccount may have been deleted, suspended, or
        // mapped to others.
        let _no_account_goes = self.ctx.shared.protection.while_binding().await;
        let still = self.resolves_to(spec, resolved);
        let account = self.ctx.shared.caches.account(&resolved.binding.account);
        let Some(account) = account.filter(|_| still) else {
            return Ok(false);
        };
        self.ctx.shared.protection.add_finalizer(&account).await?;
        let generation = self.object.metadata.generation;
        remembered::bind(&mut status, &resolved.binding, desired, generation);
        let creating = Finding::bad(Reason::Creating, "the endpoint service is being created");
        let findings = Findings::of_resource(Some(account_resolved(&resolved.binding)), creating);
        status::set_conditions(&mut status, &findings, Standing::default(), generation);
        self.object = self.ctx.writer().status(&self.object, status).await?;
        self.ctx.memories.with(&self.object, |memory| {
            memory.absence.bound();
            memory.announced.bound();
        });
        self.ctx.shared.requeuer.account(&resolved.binding.account);
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account = resolved.binding.account,
            account_id = resolved.binding.account_id.as_str(),
            region = resolved.binding.region.as_str(),
            "bound"
        );
        Ok(true)
    }

    /// Nothing is left where the object is bound: the next reconcile finds it unbound, and binds it
    /// as its spec says now.
    pub(super) async fn unbind(&mut self) -> Result<Next, kube::Error> {
        let mut status = self.object.status.clone();
        let account = status.account.as_ref().map(|account| account.name.clone());
        remembered::unbind(&mut status);
        let moved = Finding::bad(
            Reason::Updating,
            "the spec was edited before there was an endpoint service, and nothing is left of what was created before: \
             it is bound again",
        );
        self.moving = false;
        let findings = Findings::of_resource(Some(moved.clone()), moved);
        self.write(status, &findings).await?;
        if let Some(refused) = self.ctx.shared.writes.refused(&*self.object, Write::Status) {
            return Ok(Next::NotBefore(refused.left));
        }
        self.ctx.memories.with(&self.object, |memory| memory.absence.unbound());
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            incarnation = self.object.status.incarnation,
            "unbound, to be bound again as the spec says now"
        );
        if let Some(account) = account {
            self.ctx.shared.requeuer.account(&account);
        }
        Ok(Next::After(Duration::ZERO))
    }

    /// AWS has confirmed that the endpoint service is gone: the next has another incarnation,
    /// persisted before it is used.
    pub(super) async fn count_deletion(&mut self, prepared: &Prepared) -> Result<(), kube::Error> {
        let Some(desired) = &prepared.desired else {
            return Ok(());
        };
        let mut status = self.object.status.clone();
        let gone = status.service_id.clone();
        remembered::next_incarnation(&mut status, desired);
        self.object = self.ctx.writer().status(&self.object, status).await?;
        if let Some(id) = gone {
            let note = format!(
                "endpoint service {id} was deleted in AWS, not by the operator; it is recreated under another name, and \
                 consumers have to create their endpoints again"
            );
            self.warn(Reason::DeletedInAWS.as_str(), "Recreate", &note);
        }
        Ok(())
    }
}

/// Says that the API server did not take a finalizer. (What it says of a status that it did not
/// take is told where that is written.)
pub(super) async fn tell_of_refusal(ctx: &Context, object: Arc<EndpointService>, refused: &Refused) -> Next {
    if refused.write == Write::Finalizer {
        let mut reconciliation = Reconciliation::new(ctx, object);
        let findings = finalizer_refused(reconciliation.deleting, refused);
        match reconciliation.report(findings).await {
            Ok(_) => {}
            // It has changed since; the watch brings what it is now.
            Err(error) if is_conflict(&error) => {
                return Next::NotBefore(ctx.memories.conflicted(&reconciliation.object));
            }
            Err(error) => tracing::warn!(%error, "the status was not written"),
        }
    }
    Next::NotBefore(refused.left)
}
