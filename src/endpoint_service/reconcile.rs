//! The data path, on one screen: resolve, desired, authorize, observe, plan, apply, status.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::{Resource, ResourceExt};
use vpce_core::api::ENDPOINT_SERVICE_FINALIZER;
use vpce_core::conditions::Finding;
use vpce_core::tags::Owner;

use super::context::Context;
use super::converge::Rounds;
use super::findings::Findings;
use super::status;
use crate::bound;
use crate::bound::announced::PlannedChanges;
use crate::bound::queues::leave;
use crate::bound::stop;
use crate::k8s::caches::EndpointService;
use crate::k8s::controller::Next;

/// A reconciliation plans again after each change; one that still changes things after so many
/// rounds goes on in the next.
const MOST_ROUNDS: usize = 8;

/// Why a reconcile ends early.
pub(super) type Stop = stop::Stop<Findings>;

/// The reconciliation of one object.
pub(super) struct Reconciliation<'a> {
    pub(super) ctx: &'a Context,
    pub(super) object: Arc<EndpointService>,
    pub(super) owner: Owner,
    pub(super) deleting: bool,
    /// The spec was edited before there was an endpoint service: nothing is desired where the
    /// object is bound.
    pub(super) moving: bool,
    /// Whether the spec, in this generation, agrees with what the object is bound to.
    pub(super) agrees: bool,
    /// Ready, for this generation, when the reconciliation began.
    pub(super) was_ready: bool,
    /// Whether the endpoint service was available when it was last seen.
    pub(super) serves: bool,
    /// The load balancers of the Service that the spec names, if it names one; or why there are
    /// none to offer.
    pub(super) of_service: Result<BTreeSet<String>, Finding>,
    /// That Service, where it is being deleted.
    pub(super) service_leaves: Option<Box<Service>>,
    /// What would be done if anything might be changed.
    pub(super) planned_changes: Option<PlannedChanges>,
}

/// Reconciles an object.
pub(super) async fn reconcile(ctx: &Context, object: Arc<EndpointService>) -> Result<Next, kube::Error> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    match reconciliation.run().await {
        Ok(next) => Ok(next),
        Err(stop) => reconciliation.stopped(stop).await,
    }
}

impl<'a> Reconciliation<'a> {
    async fn run(&mut self) -> Result<Next, Stop> {
        self.discover().await?;
        self.tell_service();
        let prepared = self.prepare()?;
        let _permit = self.enter(&prepared.resolved).await?;
        let access = self.open(&prepared.resolved).await?;
        self.admit(&prepared, &access).await?;
        let mut rounds = Rounds::begin(self, &prepared, &access);
        for _ in 0..MOST_ROUNDS {
            let Some(observation) = self.observe(&prepared, &access, &mut rounds).await? else {
                continue;
            };
            let plan = self.plan(&prepared, &observation);
            let Some(applied) = self.apply(&prepared, &access, &plan, &mut rounds).await? else {
                continue;
            };
            return Ok(self
                .finish(&prepared, &access, &observation, &plan, applied, &rounds)
                .await?);
        }
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            "changes are in progress; continuing in a moment"
        );
        Ok(Next::NotBefore(access.region.next_tick()))
    }

    pub(super) fn new(ctx: &'a Context, object: Arc<EndpointService>) -> Self {
        Self {
            ctx,
            owner: Owner {
                cluster: ctx.shared.clusters.clone(),
                kind: EndpointService::kind(&()),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            },
            deleting: object.metadata.deletion_timestamp.is_some(),
            moving: false,
            agrees: false,
            was_ready: bound::was_ready(&*object),
            serves: status::was_serving(&object.status),
            of_service: Ok(BTreeSet::new()),
            service_leaves: None,
            planned_changes: None,
            object,
        }
    }

    /// Whether nothing is desired where the object is bound.
    pub(super) fn leaves(&self) -> bool {
        self.deleting || self.moving
    }

    /// Nothing is left, or nothing was made: the object may go.
    pub(super) async fn remove_finalizer(&mut self) -> Result<Next, kube::Error> {
        let account = self.object.status.account.as_ref().map(|account| account.name.clone());
        let ours = [ENDPOINT_SERVICE_FINALIZER];
        match self.ctx.writer().remove_finalizers(&self.object, &ours).await {
            Ok(_) => {}
            Err(error) if crate::k8s::error::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            "finalizer removed: nothing of it is left"
        );
        leave(&self.ctx.shared, &self.ctx.memories, &*self.object);
        if let Some(account) = account {
            self.ctx.shared.requeuer.account(&account);
        }
        Ok(Next::Gone)
    }
}
