//! Whom policies name: who is trusted, and which roles may be assumed.

use std::fmt;
use std::str::FromStr;

use super::Error;
use crate::ids::{AccountId, Partition, RoleArn};

/// An identity that a tenant's role trusts: the base role or, outside of clusters, an IAM user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityArn {
    arn: String,
    partition: Partition,
}

impl FromStr for IdentityArn {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let (partition, account, resource) = iam_parts(value).unwrap_or((Partition::Aws, "", ""));
        let name = resource.strip_prefix("role/").or(resource.strip_prefix("user/"));
        if !is_account(account) || !name.is_some_and(|name| is_path(name, "")) {
            return Err(Error::Invalid {
                what: "base identity",
                value: value.to_owned(),
                expected: "the ARN of an IAM role or user (arn:<partition>:iam::<12 digits>:role/<name>); of a session, \
                           name the role behind it",
            });
        }
        Ok(Self {
            arn: value.to_owned(),
            partition,
        })
    }
}

impl From<&RoleArn> for IdentityArn {
    fn from(role: &RoleArn) -> Self {
        Self {
            arn: role.to_string(),
            partition: role.partition(),
        }
    }
}

impl fmt::Display for IdentityArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl IdentityArn {
    /// Whom to trust for a caller that GetCallerIdentity names: a user, or the role behind a
    /// session. Of a role with a path, a session's ARN does not say the path.
    pub fn behind(caller: &str) -> Option<Self> {
        let parts: Vec<&str> = caller.splitn(6, ':').collect();
        let ["arn", partition, "sts", "", account, resource] = parts.as_slice() else {
            return caller.parse().ok();
        };
        let (role, _session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
        format!("arn:{partition}:iam::{account}:role/{role}").parse().ok()
    }

    /// The partition that it is in.
    pub fn partition(&self) -> Partition {
        self.partition
    }
}

/// A role that the base identity may assume, or several: IAM's `*` and `?` may stand in account and
/// name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePattern {
    arn: String,
    partition: Partition,
}

impl FromStr for RolePattern {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let (partition, account, resource) = iam_parts(value).unwrap_or((Partition::Aws, "", ""));
        let account_fits = account == "*" || is_account(account);
        let name = resource.strip_prefix("role/").unwrap_or_default();
        // A pattern of nothing but wildcards would let the base identity into every role that
        // trusts it by mistake.
        let names_something = name.chars().any(|c| c.is_ascii_alphanumeric());
        if !account_fits || !is_path(name, "*?") || !names_something {
            return Err(Error::Invalid {
                what: "role",
                value: value.to_owned(),
                expected: "the ARN of an IAM role (arn:<partition>:iam::<12 digits>:role/<name>), where `*` may stand for \
                           the account, and `*` and `?` in a name that is not made of them alone",
            });
        }
        Ok(Self {
            arn: value.to_owned(),
            partition,
        })
    }
}

impl From<&RoleArn> for RolePattern {
    fn from(role: &RoleArn) -> Self {
        Self {
            arn: role.to_string(),
            partition: role.partition(),
        }
    }
}

impl fmt::Display for RolePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl RolePattern {
    /// The partition that it is in.
    pub fn partition(&self) -> Partition {
        self.partition
    }
}

/// Partition, account and resource of an ARN of IAM.
fn iam_parts(arn: &str) -> Option<(Partition, &str, &str)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
        return None;
    };
    Some((partition.parse().ok()?, account, resource))
}

fn is_account(text: &str) -> bool {
    text.parse::<AccountId>().is_ok()
}

/// `team/name`, in the characters of IAM's names and those given.
pub(super) fn is_path(text: &str, besides: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) || besides.contains(c);
    text.len() <= 512 && text.split('/').all(|part| !part.is_empty() && part.chars().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_services_are_no_identities_to_trust() {
        for good in [
            "arn:aws:iam::111122223333:role/a/b/c",
            "arn:aws-cn:iam::111122223333:user/x",
        ] {
            assert!(good.parse::<IdentityArn>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "111122223333",
            "arn:aws:sts::111122223333:assumed-role/x/y",
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::*:role/x",
            "arn:aws:iam::111122223333:role/*",
            "arn:aws:iam::111122223333:role/${aws:username}",
            "arn:aws:iam::111122223333:role//x",
            "arn:other:iam::111122223333:role/x",
        ] {
            assert!(bad.parse::<IdentityArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn behind_a_session_is_its_role() {
        let behind = |caller: &str| IdentityArn::behind(caller).map(|identity| identity.to_string());
        for (caller, expected) in [
            (
                "arn:aws-cn:sts::111122223333:assumed-role/base/a-session",
                Some("arn:aws-cn:iam::111122223333:role/base"),
            ),
            (
                "arn:aws:iam::111122223333:user/a/b",
                Some("arn:aws:iam::111122223333:user/a/b"),
            ),
            ("arn:aws:iam::111122223333:root", None),
            ("arn:aws:sts::111122223333:federated-user/x", None),
            ("", None),
        ] {
            assert_eq!(behind(caller).as_deref(), expected, "{caller}");
        }
    }

    #[test]
    fn patterns_say_which_roles() {
        for good in [
            "arn:aws:iam::*:role/vpce-operator",
            "arn:aws:iam::111122223333:role/team-?/vpce-*",
        ] {
            assert!(good.parse::<RolePattern>().is_ok(), "{good}");
        }
        for bad in [
            "*",
            "arn:aws:iam::*:role/*",
            "arn:aws:iam::*:*",
            "arn:*:iam::*:role/x",
            "arn:aws:iam::1111*:role/x",
            "arn:aws:iam::*:role/**/?",
        ] {
            assert!(bad.parse::<RolePattern>().is_err(), "{bad}");
        }
    }
}
