//! Who calls: accounts, roles, the credentials that were handed out, and what a role may not do.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::Seconds;
use super::filter::glob;

/// The account of the operator's base identity.
pub const BASE_ACCOUNT: &str = "999999999999";

/// An IAM role, as far as AssumeRole looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSpec {
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// Whether its trust policy names the operator's base identity.
    pub trust: bool,
    /// Its maximum session duration; IAM's default is an hour.
    pub max_session_seconds: u64,
}

impl Default for RoleSpec {
    fn default() -> Self {
        Self {
            external_id: None,
            trust: true,
            max_session_seconds: 3600,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) spec: RoleSpec,
    pub(crate) id: String,
}

/// Whom a key belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) account: String,
    /// What GetCallerIdentity and error messages call it.
    pub(crate) arn: String,
    pub(crate) user_id: String,
    /// The role behind a session; for the base identity the same as `arn`.
    pub(crate) role: String,
    /// Whether it is a role's session, so that assuming another role chains.
    pub(crate) session: bool,
}

#[derive(Debug)]
struct Key {
    principal: Principal,
    token: Option<String>,
    expires: Option<Seconds>,
}

/// Why credentials are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyProblem {
    Unknown,
    Expired,
}

/// Credentials as AssumeRole hands them out.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) expires: Seconds,
}

pub(crate) struct Identities {
    accounts: BTreeSet<String>,
    roles: BTreeMap<String, Role>,
    keys: BTreeMap<String, Key>,
    /// Role ARN to patterns of denied actions.
    denied: BTreeMap<String, BTreeSet<String>>,
    base: (String, String),
    /// Secret keys and session tokens, of those included that have ended.
    secrets: Vec<String>,
}

impl Identities {
    /// Knows nothing but the base identity: an IAM user, or a role's session if `base_is_session`.
    pub(crate) fn new(base_is_session: bool) -> Self {
        let key_id = random_id("AKIA", 16, ID_CHARS);
        let secret = random_id("", 40, SECRET_CHARS);
        let principal = if base_is_session {
            Principal {
                account: BASE_ACCOUNT.to_owned(),
                arn: format!("arn:aws:sts::{BASE_ACCOUNT}:assumed-role/vpce-operator/base"),
                user_id: format!("{}:base", random_id("AROA", 17, ID_CHARS)),
                role: format!("arn:aws:iam::{BASE_ACCOUNT}:role/vpce-operator"),
                session: true,
            }
        } else {
            let arn = format!("arn:aws:iam::{BASE_ACCOUNT}:user/vpce-operator");
            Principal {
                account: BASE_ACCOUNT.to_owned(),
                arn: arn.clone(),
                user_id: random_id("AIDA", 17, ID_CHARS),
                role: arn,
                session: false,
            }
        };
        let key = Key {
            principal,
            token: None,
            expires: None,
        };
        Self {
            accounts: BTreeSet::from([BASE_ACCOUNT.to_owned()]),
            roles: BTreeMap::new(),
            keys: BTreeMap::from([(key_id.clone(), key)]),
            denied: BTreeMap::new(),
            secrets: vec![secret.clone()],
            base: (key_id, secret),
        }
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    pub(crate) fn base_credentials(&self) -> (String, String) {
        self.base.clone()
    }

    pub(crate) fn add_account(&mut self, account: &str) {
        self.accounts.insert(account.to_owned());
    }

    /// Adds the role, and its account with it, or changes the one that is there.
    pub(crate) fn set_role(&mut self, arn: &str, spec: RoleSpec) {
        if let Some(account) = account_of(arn) {
            self.add_account(account);
        }
        match self.roles.get_mut(arn) {
            Some(role) => role.spec = spec,
            None => {
                let id = random_id("AROA", 17, ID_CHARS);
                self.roles.insert(arn.to_owned(), Role { spec, id });
            }
        }
    }

    /// Removes the role and ends its sessions' life.
    pub(crate) fn remove_role(&mut self, arn: &str) {
        self.roles.remove(arn);
        self.keys.retain(|_, key| key.principal.role != arn);
    }

    pub(crate) fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.get(arn)
    }

    pub(crate) fn deny(&mut self, role: &str, action: &str) {
        self.denied
            .entry(role.to_owned())
            .or_default()
            .insert(action.to_owned());
    }

    pub(crate) fn allow(&mut self, role: &str, action: &str) {
        if let Some(denied) = self.denied.get_mut(role) {
            denied.remove(action);
        }
    }

    /// Whether the role may not do `action` (`ec2:CreateTags`); denied are also patterns such as `ec2:*`.
    pub(crate) fn is_denied(&self, role: &str, action: &str) -> bool {
        self.denied
            .get(role)
            .is_some_and(|denied| denied.iter().any(|pattern| glob(pattern, action)))
    }

    pub(crate) fn authenticate(
        &self,
        key_id: &str,
        token: Option<&str>,
        now: Seconds,
    ) -> Result<&Principal, KeyProblem> {
        let key = self.keys.get(key_id).ok_or(KeyProblem::Unknown)?;
        if key.token.as_deref() != token {
            return Err(KeyProblem::Unknown);
        }
        match key.expires {
            Some(expires) if expires <= now => Err(KeyProblem::Expired),
            _ => Ok(&key.principal),
        }
    }

    /// Hands out a session of a role that exists.
    pub(crate) fn hand_out(&mut self, principal: Principal, expires: Seconds) -> Credentials {
        let credentials = Credentials {
            key_id: random_id("ASIA", 16, ID_CHARS),
            secret: random_id("", 40, SECRET_CHARS),
            token: random_id("", 200, SECRET_CHARS),
            expires,
        };
        let key = Key {
            principal,
            token: Some(credentials.token.clone()),
            expires: Some(expires),
        };
        self.keys.insert(credentials.key_id.clone(), key);
        self.secrets
            .extend([credentials.secret.clone(), credentials.token.clone()]);
        credentials
    }

    /// Ends every session at once.
    pub(crate) fn expire_sessions(&mut self, now: Seconds) {
        for key in self.keys.values_mut() {
            if key.expires.is_some() {
                key.expires = Some(now);
            }
        }
    }
}

/// The account id in an ARN.
pub(crate) fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

const ID_CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn random_id(prefix: &str, length: usize, chars: &[u8]) -> String {
    let mut id = prefix.to_owned();
    id.extend((0..length).map(|_| char::from(chars[fastrand::usize(..chars.len())])));
    id
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_needs_its_token_and_ends() {
        let mut identities = Identities::new(false);
        let (base, _) = identities.base_credentials();
        let principal = identities.authenticate(&base, None, 0.0).unwrap().clone();
        assert_eq!(principal.account, BASE_ACCOUNT);
        let session = identities.hand_out(principal, 900.0);
        let at = |token: Option<&str>, now| identities.authenticate(&session.key_id, token, now).map(|_| ());
        assert_eq!(at(Some(&session.token), 899.0), Ok(()));
        assert_eq!(at(Some(&session.token), 900.0), Err(KeyProblem::Expired));
        assert_eq!(at(None, 0.0), Err(KeyProblem::Unknown));
        assert_eq!(at(Some("other"), 0.0), Err(KeyProblem::Unknown));
    }

    #[test]
    fn denials_may_be_patterns() {
        let mut identities = Identities::new(false);
        identities.deny("arn:aws:iam::1:role/r", "ec2:Create*");
        assert!(identities.is_denied("arn:aws:iam::1:role/r", "ec2:CreateTags"));
        assert!(!identities.is_denied("arn:aws:iam::1:role/r", "ec2:DeleteTags"));
        assert!(!identities.is_denied("arn:aws:iam::1:role/other", "ec2:CreateTags"));
        identities.allow("arn:aws:iam::1:role/r", "ec2:Create*");
        assert!(!identities.is_denied("arn:aws:iam::1:role/r", "ec2:CreateTags"));
    }
}
