//! The data path, on one screen: resolve, desired, authorize, observe, plan, apply, status.

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use vpce_core::tags::Owner;

use super::acknowledged::remove_finalizer;
use super::bind::Move;
use super::context::Context;
use super::converge::Rounds;
use super::queues;
use super::status;
use super::stop::Stop;
use crate::bound;
use crate::bound::announced::PlannedChanges;
use crate::k8s::caches::Endpoint;
pub(crate) use crate::k8s::controller::Next;

/// A reconciliation plans again after each change; one that still changes things after so many
/// rounds goes on in the next.
pub(super) const MOST_ROUNDS: usize = 8;

/// The reconciliation of one object.
pub(super) struct Reconciliation<'a> {
    pub(super) ctx: &'a Context,
    pub(super) object: Arc<Endpoint>,
    pub(super) owner: Owner,
    pub(super) deleting: bool,
    /// Ready, for this generation, when the reconciliation began.
    pub(super) was_ready: bool,
    /// Whether the endpoint was available when it was last seen.
    pub(super) serves: bool,
    /// What would be done if anything might be changed.
    pub(super) planned_changes: Option<PlannedChanges>,
    /// The spec was edited before there was an endpoint: nothing is desired where the object is
    /// bound.
    pub(super) moving: Option<Move>,
    /// Whether the spec, in this generation, agrees with what the object is bound to.
    pub(super) agrees: bool,
}

/// Reconciles an object.
pub(crate) async fn reconcile(ctx: &Context, object: Arc<Endpoint>) -> Result<Next, kube::Error> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    match reconciliation.run().await {
        Ok(next) => Ok(next),
        Err(stop) => reconciliation.stopped(stop).await,
    }
}

impl<'a> Reconciliation<'a> {
    async fn run(&mut self) -> Result<Next, Stop> {
        if let Some(following) = self.following() {
            // Boxed, or the types of the futures above it grow too deep for the compiler.
            return Box::pin(self.follow(&following)).await;
        }
        self.discover().await?;
        let prepared = self.prepare()?;
        let _permit = self.enter(&prepared.resolved).await?;
        let access = self.open(&prepared.resolved).await?;
        self.admit(&prepared, &access).await?;
        let mut rounds = Rounds::begin(self, &prepared, &access);
        for _ in 0..MOST_ROUNDS {
            let Some(observed) = self.observe(&prepared, &access, &mut rounds).await? else {
                continue;
            };
            let plan = self.plan(&prepared, &observed);
            let Some(applied) = self.apply(&prepared, &access, &plan, &mut rounds).await? else {
                continue;
            };
            return Ok(self
                .finish(&prepared, &access, &observed, &plan, applied, &rounds)
                .await?);
        }
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            "changes are in progress; continuing in a moment"
        );
        Ok(Next::NotBefore(access.region.next_tick()))
    }

    pub(super) fn new(ctx: &'a Context, object: Arc<Endpoint>) -> Self {
        Self {
            ctx,
            owner: Owner {
                cluster: ctx.shared.clusters.clone(),
                kind: Endpoint::kind(&()),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            },
            deleting: object.metadata.deletion_timestamp.is_some(),
            was_ready: bound::was_ready(&*object),
            serves: status::was_serving(&object.status),
            planned_changes: None,
            moving: None,
            agrees: false,
            object,
        }
    }

    /// Whether nothing is desired where the object is bound.
    pub(super) fn leaves(&self) -> bool {
        self.deleting || self.moving.is_some()
    }

    /// Nothing is left, or nothing was made: the object may go.
    pub(super) async fn remove_finalizer(&mut self) -> Result<Next, kube::Error> {
        let account = self.object.status.account.as_ref().map(|account| account.name.clone());
        match remove_finalizer(self.ctx, &self.object).await {
            Ok(()) => {}
            Err(error) if crate::k8s::error::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            "finalizer removed: nothing of it is left"
        );
        queues::leave(self.ctx, &self.object);
        if let Some(account) = account {
            self.ctx.shared.requeuer.account(&account);
        }
        Ok(Next::Gone)
    }
}
