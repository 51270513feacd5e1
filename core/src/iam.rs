//! The IAM policies that the operator needs, and no more: of its base identity and of a tenant's
//! role.
//!
//! [`tenant()`] and [`base()`] build them from a typed description. What IAM knows of each action
//! (resources, condition keys) is that of AWS's Service Authorization Reference.

mod arn;
mod base;
mod check;
mod policy;
mod scp;
mod tenant;

use crate::ids::Partition;

pub use arn::{IdentityArn, RolePattern};
pub use base::{Base, Passed, ServiceAccount, Workload, base, base_permissions, base_trust};
pub use policy::Policy;
pub use scp::scp;
pub use tenant::{Scope, TagKeys, Tenant, Trust, tenant, tenant_permissions, tenant_trust};

/// The name of a tenant's role where no other is given.
pub const TENANT_ROLE: &str = "vpce-operator";
/// The name of the base role where no other is given.
pub const BASE_ROLE: &str = "vpce-operator-base";

/// The most characters, white space aside, of an IAM managed policy.
const PERMISSIONS_MAX: usize = 6144;
/// The most characters of a role's trust policy, unless AWS raised the quota ("Role trust policy
/// length").
const TRUST_MAX: usize = 2048;

/// The most characters of a service control policy.
const SCP_MAX: usize = 5120;

/// What a role may do, and who may assume it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// The permission policy.
    pub permissions: Policy,
    /// The trust policy.
    pub trust: Policy,
}

/// Why there is no such policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is not what its name says.
    #[error("{what} {value:?} is not {expected}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Roles are assumed within one partition of AWS only.
    #[error(
        "{one} is in the AWS partition {one_partition}, {other} in {other_partition}: a session cannot cross partitions"
    )]
    Partitions {
        /// An ARN, or the name of a setting.
        one: String,
        /// Its partition.
        one_partition: Partition,
        /// Another ARN.
        other: String,
        /// Its partition.
        other_partition: Partition,
    },
    /// The region belongs to another partition.
    #[error("the region {region} is not in the AWS partition {partition}")]
    ForeignRegion {
        /// The region.
        region: String,
        /// The partition of the role.
        partition: Partition,
    },
    /// A list that is there and empty allows nothing.
    #[error("the list of allowed {0} is empty: no endpoint can be created, so there is no policy to print")]
    NothingAllowed(&'static str),
    /// A policy that names roles, and was given none.
    #[error("no role was given")]
    NoRoles,
    /// IAM would refuse the policy.
    #[error("the {policy} policy would have {size} characters, and AWS takes {limit} (white space aside): {narrow}")]
    TooLong {
        /// Which policy.
        policy: &'static str,
        /// Its characters.
        size: usize,
        /// What AWS takes.
        limit: usize,
        /// What makes it shorter.
        narrow: String,
    },
}

/// Passes a permission policy that AWS takes.
fn within_permissions(policy: Policy, narrow: impl FnOnce() -> String) -> Result<Policy, Error> {
    within("permission", PERMISSIONS_MAX, policy, narrow)
}

/// Passes a trust policy that AWS takes.
fn within_trust(policy: Policy, narrow: impl FnOnce() -> String) -> Result<Policy, Error> {
    within("trust", TRUST_MAX, policy, narrow)
}

/// Passes a service control policy that AWS takes.
fn within_scp(policy: Policy, narrow: impl FnOnce() -> String) -> Result<Policy, Error> {
    within("service control", SCP_MAX, policy, narrow)
}

fn within(name: &'static str, limit: usize, policy: Policy, narrow: impl FnOnce() -> String) -> Result<Policy, Error> {
    let size = policy.size();
    if size <= limit {
        return Ok(policy);
    }
    Err(Error::TooLong {
        policy: name,
        size,
        limit,
        narrow: narrow(),
    })
}
