//! Authorizes a request: denials set by tests, service control policies, then the identity policy.

use super::evaluate::Verdict;
use super::request::Request;
use crate::aws::identity::{Identities, Principal};

/// The error is the reason, in the words of AWS.
pub(crate) fn authorize(identities: &Identities, caller: &Principal, request: Request<'_>) -> Result<(), String> {
    let no_allow = || format!("because no identity-based policy allows the {} action", request.action);
    if identities.is_denied(&caller.role, request.action) {
        return Err(no_allow());
    }
    let scp = identities.scp_of(&caller.account);
    if scp.is_some_and(|scp| scp.judge(request) == Verdict::Denied) {
        return Err("with an explicit deny in a service control policy".to_owned());
    }
    let policy = identities.policy_of(caller);
    match policy.map_or(Verdict::Allowed, |policy| policy.judge(request)) {
        Verdict::Allowed => Ok(()),
        Verdict::Denied => Err("with an explicit deny in an identity-based policy".to_owned()),
        Verdict::NotAllowed => Err(no_allow()),
    }
}
