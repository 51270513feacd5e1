//! The way into an AWS account, and what is checked there before anything is made.

use vpce_core::object_key::ObjectKey;
use vpce_core::resolve::{Resolved, Writes};

use super::prepare::Prepared;
use super::reconcile::{Reconciliation, Stop};
use crate::aws::semaphore::Permit;
use crate::bound::access::{self, Access};
use crate::k8s::controller::Next;

impl Reconciliation<'_> {
    /// One of the few permits to work in this AWS account at once.
    pub(super) async fn enter(&self, resolved: &Resolved) -> Result<Permit, Stop> {
        Ok(access::enter(&self.ctx.shared, &ObjectKey::of(&*self.object), resolved).await?)
    }

    /// The session of the account's role, and the region.
    pub(super) async fn open(&self, resolved: &Resolved) -> Result<Access, Stop> {
        Ok(access::open(&self.ctx.shared, resolved).await?)
    }

    /// Admits what is desired: its region can be read; then it is bound.
    pub(super) async fn admit(&mut self, prepared: &Prepared, access: &Access) -> Result<(), Stop> {
        let Prepared { resolved, .. } = prepared;
        let (Some(desired), Writes::Allowed) = (&prepared.desired, &resolved.writes) else {
            return Ok(());
        };
        if self.binding().is_none() {
            // A binding is for good: not to a region that cannot be read, where nothing could be
            // made, nor the object deleted.
            let age = self.ctx.shared.resync_interval();
            self.refresh(access, age).await?;
        }
        if self.bind(prepared.spec.as_ref(), resolved, desired).await? {
            return Ok(());
        }
        Err(Stop::Requeue(Next::After(std::time::Duration::ZERO)))
    }
}
