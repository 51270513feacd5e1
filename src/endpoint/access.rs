//! The way into an AWS account; and for an object that is not bound yet, whether there is room.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use vpce_core::conditions::Finding;
use vpce_core::desired::Desired;
use vpce_core::guardrails;
use vpce_core::ids::GroupId;
use vpce_core::object_key::ObjectKey;
use vpce_core::resolve::{Resolved, Writes};

use super::findings::Findings;
use super::observe::{Age, observe};
use super::prepare::Prepared;
use super::reconcile::{Next, Reconciliation};
use super::status;
use super::stop::Stop;
use crate::aws::region::RefreshError;
use crate::aws::semaphore::Permit;
use crate::bound::access::{self, Access};
use crate::bound::findings::Parts as _;

impl Reconciliation<'_> {
    /// One of the few permits to work in this AWS account at once.
    pub(super) async fn enter(&self, resolved: &Resolved) -> Result<Permit, Stop> {
        Ok(access::enter(&self.ctx.shared, &ObjectKey::of(&*self.object), resolved).await?)
    }

    /// The session of the account's role, and the region.
    pub(super) async fn open(&self, resolved: &Resolved) -> Result<Access, Stop> {
        Ok(access::open(&self.ctx.shared, resolved).await?)
    }

    /// Admits what is desired: its account has room, its groups may be used, its region can be
    /// read; then it is bound.
    pub(super) async fn admit(&mut self, prepared: &Prepared, access: &Access) -> Result<(), Stop> {
        let Prepared { resolved, .. } = prepared;
        let Some(desired) = &prepared.desired else {
            return Ok(());
        };
        let is_bound = status::binding(&self.object.status).is_some();
        let may_write = resolved.writes == Writes::Allowed;
        if !is_bound && resolved.account.max_endpoints.is_some() {
            let age = self.ctx.shared.settings.account_probe_interval;
            let read = access.region.read_retained(&access.ec2, age).await;
            read.map_err(|error| access.unread(error))?;
        }
        self.check_capacity(resolved, false).map_err(|full| {
            crate::account::record_event(&self.ctx.shared, &resolved.binding.account, &full, "");
            Findings::of_account(full)
        })?;
        if !self.was_ready && may_write {
            self.check_groups(access, Some(desired)).await?;
        }
        if !is_bound {
            // A binding is for good: not to a region that cannot be read, where nothing could be
            // made, nor the object deleted.
            let age = Age(self.ctx.shared.resync_interval());
            let read = observe(
                self.ctx,
                &access.region,
                &access.ec2,
                &self.owner,
                &self.object.status,
                Some(desired),
                age,
            )
            .await;
            read.map_err(|error| access.unread(error))?;
            // Boxed, or the types of the futures above it grow too deep for the compiler.
            self.check_claim(resolved, access, desired).boxed().await?;
        }
        // Capacity is reserved last: what cannot be bound takes none.
        self.check_capacity(resolved, may_write).map_err(Findings::of_account)?;
        if is_bound || may_write {
            let bound = self.bind(prepared.spec.as_ref(), resolved, desired).await?;
            if !bound {
                self.ctx.capacity.release(&self.owner.uid);
                return Err(Stop::Requeue(Next::After(Duration::ZERO)));
            }
        }
        Ok(())
    }

    /// Whether the account has room for an object that is not bound yet; `reserve`: it is bound
    /// next.
    pub(super) fn check_capacity(&self, resolved: &Resolved, reserve: bool) -> Result<(), Finding> {
        match resolved.account.max_endpoints {
            Some(most) if status::binding(&self.object.status).is_none() => {
                let account = &resolved.binding.account;
                let account_id = &resolved.binding.account_id;
                let without_object = self.ctx.shared.regions.endpoints_without_object(account_id);
                self.ctx.capacity.admit(
                    &self.ctx.shared.caches,
                    &self.object,
                    account,
                    most,
                    without_object,
                    reserve,
                )
            }
            _ => Ok(()),
        }
    }

    /// Whether the groups of others that the spec names may be used: asked once for a generation,
    /// and never at rest.
    pub(super) async fn check_groups(&self, access: &Access, desired: Option<&Desired>) -> Result<(), Stop> {
        let ids: Vec<GroupId> = desired
            .map(|desired| guardrails::named_groups(desired).into_iter().cloned().collect())
            .unwrap_or_default();
        let generation = self.object.metadata.generation;
        let memories = &self.ctx.memories;
        let checked = memories.with(&self.object, |memory| memory.own.groups.checked);
        if ids.is_empty() || checked == generation {
            return Ok(());
        }
        // However often a spec is edited, AWS is asked once a poll interval for it.
        let now = Instant::now();
        let poll = self.ctx.shared.settings.poll_interval;
        let asked = memories.with(&self.object, |memory| memory.own.groups.asked);
        if let Some(left) = asked.and_then(|asked| (asked + poll).checked_duration_since(now)) {
            return Err(access.unread(RefreshError::Busy(left)).into());
        }
        memories.with(&self.object, |memory| memory.own.groups.asked = Some(now));
        let groups = access.region.read_groups(&access.ec2, &ids).await;
        let groups = groups.map_err(|error| access.unread(error))?;
        guardrails::check_groups(&self.owner, &groups).map_err(|finding| Stop::bad_spec(access.binding(), finding))?;
        memories.with(&self.object, |memory| memory.own.groups.checked = generation);
        Ok(())
    }
}
