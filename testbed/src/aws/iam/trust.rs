//! AssumeRole: the role's trust policy and the caller's own policy, which both have a say.

use std::collections::BTreeSet;

use super::evaluate::Verdict;
use super::policy::{Effect, Policy, Trusted};
use super::request::{Keys, Request};
use crate::aws::ec2::tags::Tags;
use crate::aws::identity::{Identities, Principal, Role, account_of};

/// An AssumeRole, as far as policies look at it.
pub(crate) struct Attempt<'a> {
    pub(crate) caller: &'a Principal,
    pub(crate) region: &'a str,
    pub(crate) role_arn: &'a str,
    pub(crate) session_name: &'a str,
    pub(crate) external_id: Option<&'a str>,
    /// The source identity that the request names.
    pub(crate) source_identity: Option<&'a str>,
    /// The session's tags, those included that come along from the caller's session.
    pub(crate) tags: &'a Tags,
    pub(crate) transitive: &'a BTreeSet<String>,
}

/// What a trust policy says of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    No,
    /// The caller's account is trusted: its own policies decide.
    InAccount,
    /// The caller itself is named, which is enough within one account.
    Named,
}

/// Whether the caller may assume the role; else the action that is refused.
pub(crate) fn may_assume(identities: &Identities, role: &Role, attempt: &Attempt<'_>) -> Result<(), &'static str> {
    let caller = attempt.caller;
    let own = identities.policy_of(caller);
    // Once set, it stays what it is for all sessions of the chain (IAM User Guide, "Monitor and
    // control actions taken with assumed roles").
    if let (Some(present), Some(wanted)) = (&caller.source_identity, attempt.source_identity)
        && present != wanted
    {
        return Err("sts:SetSourceIdentity");
    }
    let same_account = account_of(attempt.role_arn) == Some(caller.account.as_str());
    for action in attempt.actions() {
        if identities.is_denied(&caller.role, action) || identities.is_denied(attempt.role_arn, action) {
            return Err(action);
        }
        let keys = attempt.keys(action);
        let request = Request {
            action,
            resource: attempt.role_arn,
            keys: &keys,
        };
        let trust = match &role.trust_policy {
            Some(policy) => policy.trusts(caller, request),
            None if role.spec.trust
                && role
                    .spec
                    .external_id
                    .as_deref()
                    .is_none_or(|id| Some(id) == attempt.external_id) =>
            {
                Trust::InAccount
            }
            None => Trust::No,
        };
        let verdict = own.map_or(Verdict::Allowed, |policy| policy.judge(request));
        let allowed = match (trust, verdict) {
            (Trust::No, _) | (_, Verdict::Denied) => false,
            (_, Verdict::Allowed) => true,
            (trust, Verdict::NotAllowed) => same_account && trust == Trust::Named,
        };
        if !allowed {
            return Err(action);
        }
    }
    Ok(())
}

impl Attempt<'_> {
    /// What it takes: tags and a source identity are permissions of their own.
    fn actions(&self) -> Vec<&'static str> {
        let mut actions = vec!["sts:AssumeRole"];
        if !self.tags.is_empty() {
            actions.push("sts:TagSession");
        }
        // One that the caller's session has is set in the new one too.
        if self.source_identity.is_some() || self.caller.source_identity.is_some() {
            actions.push("sts:SetSourceIdentity");
        }
        actions
    }

    /// The Service Authorization Reference lists external id and session name for AssumeRole alone:
    /// a statement that asks TagSession for an external id allows nothing.
    fn keys(&self, action: &str) -> Keys {
        let mut keys = Keys::of(self.caller, self.region)
            .requesting(self.tags)
            .with_all("sts:TransitiveTagKeys", self.transitive);
        if let Some(identity) = self.source_identity {
            keys = keys.with("sts:SourceIdentity", identity);
        }
        if action == "sts:AssumeRole" {
            keys = keys.with("sts:RoleSessionName", self.session_name);
            if let Some(external_id) = self.external_id {
                keys = keys.with("sts:ExternalId", external_id);
            }
        }
        keys
    }
}

impl Policy {
    fn trusts(&self, caller: &Principal, request: Request<'_>) -> Trust {
        let mut trust = Trust::No;
        for statement in self.statements.iter().filter(|statement| statement.is_about(request)) {
            let named = statement.principals.iter().map(|trusted| trusted.names(caller)).max();
            match (statement.effect, named.unwrap_or(Trust::No)) {
                (_, Trust::No) => {}
                (Effect::Deny, _) => return Trust::No,
                (Effect::Allow, named) => trust = trust.max(named),
            }
        }
        trust
    }
}

impl Trusted {
    fn names(&self, caller: &Principal) -> Trust {
        match self {
            Self::Anyone => Trust::Named,
            Self::Account(account) if *account == caller.account => Trust::InAccount,
            Self::Arn(arn) if *arn == caller.role || *arn == caller.arn => Trust::Named,
            _ => Trust::No,
        }
    }
}
