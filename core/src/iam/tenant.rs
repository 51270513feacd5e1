//! A tenant's role: what endpoints and their security groups need, within the guardrails, for one
//! cluster, by one base identity.

mod permissions;
mod scope;
#[cfg(test)]
mod tests;
mod trust;

pub use permissions::tenant_permissions;
pub use scope::{Scope, TagKeys};
pub use trust::{Trust, tenant_trust};

use super::{Error, IdentityArn, Policies};
use crate::ids::RoleArn;
use crate::tags::Clusters;

/// A tenant's role.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The role. Its account and partition are those of everything that it may touch.
    pub role: RoleArn,
    /// The operator's cluster, and those that it takes over from: the role changes only what
    /// carries one of their ids as the tag `silvermullet.com/cluster`, and makes only what carries
    /// the first.
    pub cluster: Clusters,
    /// Where, and with what, endpoints may be made.
    pub scope: Scope,
    /// Who may assume it.
    pub trust: Trust,
}

/// Both policies of a tenant's role.
///
/// # Errors
/// When a value is not what it should be, or a policy would be longer than AWS takes.
pub fn tenant(tenant: &Tenant) -> Result<Policies, Error> {
    let Tenant {
        role,
        cluster,
        scope,
        trust,
    } = tenant;
    Ok(Policies {
        permissions: tenant_permissions(role, cluster, scope)?,
        trust: tenant_trust(role, trust)?,
    })
}

/// A `RoleArn` may still hold what IAM would read as a pattern.
fn check_role(role: &RoleArn) -> Result<(), Error> {
    role.as_str().parse::<IdentityArn>().map(drop)
}
