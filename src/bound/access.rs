//! The way into an AWS account: a session, a permit, the region.

use std::sync::Arc;

use vpce_core::conditions::{Finding, Reason};
use vpce_core::object_key::ObjectKey;
use vpce_core::resolve::{Binding, Resolved};

use super::explain::explain;
use crate::aws::ec2::Ec2;
use crate::aws::elb::Elb;
use crate::aws::region::{AccountRegion, RefreshError};
use crate::aws::semaphore::Permit;
use crate::aws::sessions::{Refusal, Session, SessionKey};
use crate::shared::Shared;

/// An AWS account in a region, opened with the session of the account's role.
pub(crate) struct Access {
    session: Arc<Session>,
    pub(crate) region: Arc<AccountRegion>,
    pub(crate) ec2: Ec2,
    binding: Binding,
    role: String,
}

/// Why there is no way into an account for now.
pub(crate) enum Closed {
    /// Its role cannot be assumed.
    NoSession(Box<NoSession>),
    /// Enough others are at work there; the object is requeued when there is room.
    NoRoom,
}

/// A role that cannot be assumed.
pub(crate) struct NoSession {
    /// The AWSAccount's name.
    pub(crate) account: String,
    /// What STS answered.
    pub(crate) refusal: Refusal,
}

/// A read of AWS that failed.
pub(crate) struct Unread {
    pub(crate) error: RefreshError,
    pub(crate) binding: Binding,
    pub(crate) role: String,
    pub(crate) ec2: Ec2,
}

impl Access {
    /// What it was opened for.
    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Elastic Load Balancing there.
    pub(crate) fn elb(&self) -> Elb {
        Elb::of(&self.session, &self.binding.region, &self.ec2.observer)
    }

    /// AWS could not be read.
    pub(crate) fn unread(&self, error: RefreshError) -> Box<Unread> {
        Box::new(Unread {
            error,
            binding: self.binding.clone(),
            role: self.role.clone(),
            ec2: self.ec2.clone(),
        })
    }
}

impl Closed {
    fn no_session(resolved: &Resolved, refusal: Refusal) -> Self {
        Self::NoSession(Box::new(NoSession {
            account: resolved.binding.account.clone(),
            refusal,
        }))
    }
}

impl NoSession {
    /// What an object says of it.
    pub(crate) fn finding(&self) -> Finding {
        let Self { account, refusal } = self;
        Finding::bad(
            Reason::AccountNotReady,
            format!("ask your platform team: AWSAccount {account} is not ready: {refusal}"),
        )
    }
}

impl Unread {
    /// What a preview says of it, which is not tried again.
    pub(crate) fn finding(&self) -> Finding {
        match &self.error {
            RefreshError::Failed(error) => explain(error, &self.role, &self.ec2.account_id, &self.ec2.region),
            RefreshError::Busy(time) => Finding::bad(
                Reason::RateLimited,
                format!(
                    "the operator's rate limit for AWS allows no read for {} s: try again then",
                    time.as_secs()
                ),
            ),
        }
    }
}

/// One of the few permits to work in an AWS account at once. Who is refused a session takes none
/// from the others.
pub(crate) async fn enter(shared: &Shared, object: &ObjectKey, resolved: &Resolved) -> Result<Permit, Closed> {
    if let Some(refusal) = shared.sessions.refusal(&session_key(shared, resolved)).await {
        return Err(Closed::no_session(resolved, refusal));
    }
    let account_id = resolved.binding.account_id.as_str();
    shared.semaphore.acquire(account_id, object).ok_or(Closed::NoRoom)
}

/// The session of the account's role, and the region.
pub(crate) async fn open(shared: &Shared, resolved: &Resolved) -> Result<Access, Closed> {
    let session = shared.sessions.get(&session_key(shared, resolved)).await;
    let session = session.map_err(|refusal| Closed::no_session(resolved, refusal))?;
    let binding = &resolved.binding;
    let (region, ec2) = shared.in_region(&session, &binding.region);
    Ok(Access {
        session,
        region,
        ec2,
        binding: binding.clone(),
        role: resolved.role.as_str().to_owned(),
    })
}

fn session_key(shared: &Shared, resolved: &Resolved) -> SessionKey {
    shared.session_key(&resolved.binding.account, &resolved.role, &resolved.account)
}
