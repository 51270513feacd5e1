//! Who calls: accounts, roles, the credentials that were handed out, and what a role may not do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::clock::Seconds;
use super::ec2::tags::Tags;
use super::filter::glob;
use super::iam::{Kind, Policy};
use super::partition;

/// The account of the operator's base identity.
pub const BASE_ACCOUNT: &str = "999999999999";

/// An IAM role, as far as AssumeRole looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSpec {
    /// The external id that it asks for, where it has no `trust_policy`.
    pub external_id: Option<String>,
    /// Whether it trusts every caller with the external id, where it has no `trust_policy`.
    pub trust: bool,
    /// Its identity policy, as JSON; without one it may do everything.
    pub policy: Option<String>,
    /// Its trust policy, as JSON, which then decides alone who may assume it.
    pub trust_policy: Option<String>,
    /// Its maximum session duration; IAM's default is an hour.
    pub max_session_seconds: u64,
}

impl Default for RoleSpec {
    fn default() -> Self {
        Self {
            external_id: None,
            trust: true,
            policy: None,
            trust_policy: None,
            max_session_seconds: 3600,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) spec: RoleSpec,
    pub(crate) id: String,
    pub(crate) policy: Option<Policy>,
    pub(crate) trust_policy: Option<Policy>,
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
    /// The session's tags.
    pub(crate) tags: Tags,
    /// Keys of those that come along when it assumes another role.
    pub(crate) transitive: BTreeSet<String>,
    /// Its source identity, which every session has that it opens.
    pub(crate) source_identity: Option<String>,
}

impl Principal {
    /// A user of an account.
    fn user(partition: &str, account: &str, name: &str) -> Self {
        let arn = format!("arn:{partition}:iam::{account}:user/{name}");
        Self {
            account: account.to_owned(),
            arn: arn.clone(),
            user_id: random_id("AIDA", 17, ID_CHARS),
            role: arn,
            session: false,
            tags: Tags::new(),
            transitive: BTreeSet::new(),
            source_identity: None,
        }
    }

    /// The name that its session was given; empty if it is none.
    pub(crate) fn session_name(&self) -> &str {
        let name = self.arn.rsplit('/').next().unwrap_or_default();
        if self.session { name } else { "" }
    }

    /// The tags that a session inherits that this one opens.
    pub(crate) fn inherited(&self) -> Tags {
        let tags = self.tags.iter().filter(|(key, _)| self.transitive.contains(*key));
        tags.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
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
    base_policy: Option<Policy>,
    /// Service control policies, by account.
    scps: BTreeMap<String, Policy>,
    /// Secret keys and session tokens, of those included that have ended.
    secrets: Vec<String>,
}

impl Identities {
    /// Knows nothing but the base identity: an IAM user, or a role's session if `base_is_session`.
    pub(crate) fn new(partition: &str, base_is_session: bool) -> Self {
        let key_id = random_id("AKIA", 16, ID_CHARS);
        let secret = random_id("", 40, SECRET_CHARS);
        let principal = if base_is_session {
            Principal {
                account: BASE_ACCOUNT.to_owned(),
                arn: format!("arn:{partition}:sts::{BASE_ACCOUNT}:assumed-role/vpce-operator-base/base"),
                user_id: format!("{}:base", random_id("AROA", 17, ID_CHARS)),
                role: format!("arn:{partition}:iam::{BASE_ACCOUNT}:role/vpce-operator-base"),
                session: true,
                tags: Tags::new(),
                transitive: BTreeSet::new(),
                source_identity: None,
            }
        } else {
            Principal::user(partition, BASE_ACCOUNT, "vpce-operator")
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
            base_policy: None,
            scps: BTreeMap::new(),
        }
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    pub(crate) fn base_credentials(&self) -> (String, String) {
        self.base.clone()
    }

    /// The base identity's ARN: of the user, or of the role behind the session.
    pub(crate) fn base_arn(&self) -> String {
        self.base_key()
            .map(|key| key.principal.role.clone())
            .unwrap_or_default()
    }

    /// Restricts the base identity, or frees it again.
    pub(crate) fn set_base_policy(&mut self, policy: Option<&str>) -> anyhow::Result<()> {
        self.base_policy = read_policy(&self.base_arn(), Kind::Identity, policy)?;
        Ok(())
    }

    /// Gives the base session transitive tags.
    pub(crate) fn set_base_session_tags(&mut self, tags: Tags) {
        if let Some(key) = self.keys.get_mut(&self.base.0) {
            key.principal.transitive = tags.keys().cloned().collect();
            key.principal.tags = tags;
        }
    }

    fn base_key(&self) -> Option<&Key> {
        self.keys.get(&self.base.0)
    }

    /// What restricts this caller, if anything does.
    pub(crate) fn policy_of(&self, caller: &Principal) -> Option<&Policy> {
        match self.roles.get(&caller.role) {
            Some(role) => role.policy.as_ref(),
            None if caller.role == self.base_arn() => self.base_policy.as_ref(),
            None => None,
        }
    }

    /// Adds a user who may do everything in the account, and returns the key id and secret.
    pub(crate) fn add_administrator(&mut self, partition: &str, account: &str) -> (String, String) {
        self.add_account(account);
        let key_id = random_id("AKIA", 16, ID_CHARS);
        let secret = random_id("", 40, SECRET_CHARS);
        let key = Key {
            principal: Principal::user(partition, account, "administrator"),
            token: None,
            expires: None,
        };
        self.keys.insert(key_id.clone(), key);
        self.secrets.push(secret.clone());
        (key_id, secret)
    }

    /// Attaches a service control policy to an account, or takes it away.
    pub(crate) fn set_scp(&mut self, account: &str, policy: Option<&str>) -> anyhow::Result<()> {
        match policy {
            Some(json) => {
                let policy = Policy::parse(Kind::Identity, json).context("the service control policy is refused")?;
                self.scps.insert(account.to_owned(), policy);
            }
            None => _ = self.scps.remove(account),
        }
        Ok(())
    }

    /// The service control policies of an account, beside `FullAWSAccess`.
    pub(crate) fn scp_of(&self, account: &str) -> Option<&Policy> {
        self.scps.get(account)
    }

    pub(crate) fn add_account(&mut self, account: &str) {
        self.accounts.insert(account.to_owned());
    }

    /// Adds the role, and its account with it, or changes the one that is there.
    pub(crate) fn set_role(&mut self, arn: &str, spec: RoleSpec) -> anyhow::Result<()> {
        let policy = read_policy(arn, Kind::Identity, spec.policy.as_deref())
            .with_context(|| format!("the identity policy of {arn} is refused"))?;
        let trust_policy = read_policy(arn, Kind::Trust, spec.trust_policy.as_deref())
            .with_context(|| format!("the trust policy of {arn} is refused"))?;
        if let Some(account) = account_of(arn) {
            self.add_account(account);
        }
        let id = match self.roles.get(arn) {
            Some(role) => role.id.clone(),
            None => random_id("AROA", 17, ID_CHARS),
        };
        let role = Role {
            spec,
            id,
            policy,
            trust_policy,
        };
        self.roles.insert(arn.to_owned(), role);
        Ok(())
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

    /// Whether the role may not do `action` (`ec2:CreateTags`); denied are also patterns such as
    /// `ec2:*`.
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

    /// Ends the session that this key is of.
    pub(crate) fn expire_session(&mut self, key_id: &str, now: Seconds) {
        if let Some(key) = self.keys.get_mut(key_id).filter(|key| key.expires.is_some()) {
            key.expires = Some(now);
        }
    }

    /// Ends every session at once, or those of one role.
    pub(crate) fn expire_sessions(&mut self, role_arn: Option<&str>, now: Seconds) {
        for key in self.keys.values_mut().filter(|key| key.expires.is_some()) {
            if role_arn.is_none_or(|role| key.principal.role == role) {
                key.expires = Some(now);
            }
        }
    }
}

/// Reads the policy of the role or user with this ARN.
fn read_policy(arn: &str, kind: Kind, json: Option<&str>) -> anyhow::Result<Option<Policy>> {
    let read = |json| Policy::parse_in(partition::of_arn(arn), kind, json);
    json.map(read).transpose()
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
        let mut identities = Identities::new("aws", false);
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
        let mut identities = Identities::new("aws", false);
        identities.deny("arn:aws:iam::1:role/r", "ec2:Create*");
        assert!(identities.is_denied("arn:aws:iam::1:role/r", "ec2:CreateTags"));
        assert!(!identities.is_denied("arn:aws:iam::1:role/r", "ec2:DeleteTags"));
        assert!(!identities.is_denied("arn:aws:iam::1:role/other", "ec2:CreateTags"));
        identities.allow("arn:aws:iam::1:role/r", "ec2:Create*");
        assert!(!identities.is_denied("arn:aws:iam::1:role/r", "ec2:CreateTags"));
    }
}
