//! Whether what a VPCEndpointService asks for is allowed by the guardrails of its AWSAccount.
//!
//! No key of IAM names the load balancer of an endpoint service, and no right to it is asked for: a
//! role that may create endpoint services may offer any load balancer of its account. So
//! `allowed_load_balancer_arns` is the only lock.

use super::desired::{Desired, EVERYONE};
use crate::allow_list::matches;
use crate::api::{DeletionPolicy, VPCEndpointServiceSpec};
use crate::conditions::Finding;
use crate::guardrails::{check_deletion_policy, refused};
use crate::names;
use crate::resolve::Resolved;
use crate::user_tags;

/// Checks what a spec asks for, and what became of it by completing it.
///
/// # Errors
/// What the condition says of the first that is not allowed.
pub fn authorize(spec: &VPCEndpointServiceSpec, desired: &Desired, resolved: &Resolved) -> Result<(), Finding> {
    let (name, account) = (&resolved.binding.account, &resolved.account);
    let region = resolved.binding.region.as_str();
    if !account.allow_endpoint_services {
        return Err(refused(name, "a VPCEndpointService", "allow_endpoint_services", &[]));
    }
    if let Some(allowed) = &account.allowed_regions
        && !allowed.iter().any(|one| one == region)
    {
        return Err(refused(name, &format!("region {region}"), "allowed_regions", allowed));
    }
    // Those of a Service are proven to be of the namespace.
    let is_named = spec.load_balancer.service.is_none();
    let patterns = &account.allowed_load_balancer_arns;
    let is_allowed = |arn: &&String| patterns.iter().any(|pattern| matches(pattern, arn));
    if let Some(arn) = desired.load_balancers.iter().find(|arn| is_named && !is_allowed(arn)) {
        let asked = format!("{}: {arn}", desired.load_balancer_type.field());
        return Err(refused(name, &asked, "allowed_load_balancer_arns", patterns));
    }
    if desired.principals.contains(EVERYONE) && !account.allow_any_principal {
        return Err(refused(name, "allowed_principals: *", "allow_any_principal", &[]));
    }
    if let Some(private) = &desired.private_dns_name
        && !names::is_allowed(private, &account.allowed_dns_names)
    {
        let (asked, allowed) = (format!("private_dns_name: {private}"), &account.allowed_dns_names);
        return Err(refused(name, &asked, "allowed_dns_names", allowed));
    }
    user_tags::check(name, account, &resolved.forced_tags, &spec.tags)?;
    check_deletion_policy(name, account, DeletionPolicy::of(spec.deletion_policy, account))
}
