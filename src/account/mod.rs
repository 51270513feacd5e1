//! The AWSAccount controller: says whether the role can be assumed and what it lacks, who uses the account, what is left over there, and what is held.

pub mod controller;
mod orphans;
pub mod permissions;
pub mod reconcile;
mod trust;

use kube::runtime::reflector::ObjectRef;
use vpce_core::ids::RoleArn;

use crate::aws::sessions::Role;
use crate::context::{Account, Context};

/// The session that an AWSAccount asks for, if it is there and its spec parses.
pub fn role_of(ctx: &Context, name: &str) -> Option<Role> {
    let account = ctx.caches.accounts.get(&ObjectRef::new(name))?;
    role(ctx, &account)
}

/// Whether an AWSAccount says that its role can be assumed.
pub fn is_ready(ctx: &Context, name: &str) -> bool {
    let account = ctx.caches.accounts.get(&ObjectRef::new(name));
    account.is_some_and(|account| {
        let mut conditions = account.status.conditions.iter();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// The session that an AWSAccount asks for, if its spec parses.
pub fn role(ctx: &Context, account: &Account) -> Option<Role> {
    let spec = account.spec.as_ref().ok()?;
    let arn: RoleArn = spec.role_arn.parse().ok()?;
    let name = account.metadata.name.as_deref()?;
    Some(ctx.role(name, &arn, spec))
}
