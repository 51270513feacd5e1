//! The AWSAccount controller: says whether the role can be assumed and what it lacks, who uses the
//! account, what is left over there, and where creation is paused.

pub(crate) mod context;
pub(crate) mod controller;
mod networks;
pub(crate) mod orphans;
pub(crate) mod permissions;
pub(crate) mod reconcile;
mod trust;

use vpce_core::conditions::{Finding, READY};
use vpce_core::ids::RoleArn;

use crate::aws::ec2::Ec2;
use crate::aws::sessions::SessionKey;
use crate::k8s::caches::Account;
use crate::k8s::conditions;
use crate::shared::Shared;

/// The session that an AWSAccount asks for, if it is there and its spec parses.
pub(crate) fn role_of(shared: &Shared, name: &str) -> Option<SessionKey> {
    let account = shared.caches.account(name)?;
    role(shared, &account)
}

/// Whether an AWSAccount says that its role can be assumed.
pub(crate) fn is_ready(shared: &Shared, name: &str) -> bool {
    let account = shared.caches.account(name);
    account.is_some_and(|account| {
        conditions::find(&account.status.conditions, READY).is_some_and(|ready| ready.status == "True")
    })
}

/// Tells on the AWSAccount what one of its endpoints met, where its cause is the account: once for
/// all of them. `about` tells apart what has the same reason, such as the action that is denied; it
/// is nothing of which users can make up any number. Which endpoint it was, its own events and
/// conditions say: the AWSAccount's are in the namespace `default`, whose readers need not know the
/// objects of other namespaces.
pub(crate) fn record_event(shared: &Shared, name: &str, finding: &Finding, about: &str) {
    if finding.ok || !finding.reason.concerns_account() {
        return;
    }
    if let Some(account) = shared.caches.account(name) {
        let note = format!("a VPCEndpoint that uses this AWSAccount: {}", finding.message);
        shared
            .events
            .publish_of_many(&account, finding.reason.as_str(), about, &note);
    }
}

/// Has the next reconcile open a new session.
pub(crate) async fn forget_session(shared: &Shared, account: &str, ec2: &Ec2) {
    tracing::warn!(
        account,
        account_id = ec2.account_id.as_str(),
        "the session is no longer valid; opening another"
    );
    if let Some(role) = role_of(shared, account) {
        shared.sessions.forget(&role).await;
    }
}

/// The session that an AWSAccount asks for, if its spec parses.
pub(crate) fn role(shared: &Shared, account: &Account) -> Option<SessionKey> {
    let spec = account.spec.as_ref().ok()?;
    let arn: RoleArn = spec.role_arn.parse().ok()?;
    let name = account.metadata.name.as_deref()?;
    Some(shared.session_key(name, &arn, spec))
}
