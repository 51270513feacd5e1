//! Who may assume a tenant's role.

use std::collections::BTreeMap;

use super::super::policy::{Policy, Statement};
use super::super::{Error, IdentityArn, check, within_trust};
use super::check_role;
use crate::ids::RoleArn;

/// The source identities that the operator sends: `vpce-operator@<AWSAccount>@<cluster id>`, of
/// which what is too long for STS is cut off at the end.
const SOURCE_IDENTITIES: &str = "vpce-operator@*";

/// Who may assume a tenant's role.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The operator's base identity.
    pub base: IdentityArn,
    /// What it has to know. Without it, whoever can write AWSAccounts can point one at the role.
    pub external_id: Option<String>,
    /// The session tags of the AWSAccount: these values, and no others, may be passed.
    pub session_tags: BTreeMap<String, String>,
    /// Whether the base identity's own session has tags that come along, as EKS Pod Identity's do.
    pub base_is_tagged: bool,
    /// Whether the operator sends a source identity. Without one it is allowed, too.
    pub source_identity: bool,
}

/// Who may assume a tenant's role.
///
/// # Errors
/// When a value is not what it should be, or the policy would be longer than AWS takes.
pub fn tenant_trust(role: &RoleArn, trust: &Trust) -> Result<Policy, Error> {
    let Trust {
        base,
        external_id,
        session_tags,
        base_is_tagged,
        source_identity,
    } = trust;
    check_role(role)?;
    if base.partition() != role.partition() {
        return Err(Error::Partitions {
            one: role.to_string(),
            one_partition: role.partition(),
            other: base.to_string(),
            other_partition: base.partition(),
        });
    }
    let mut assume = Statement::by("VpceOperator", &["sts:AssumeRole"], "AWS", base.to_string());
    if let Some(id) = external_id {
        check::external_id(id)?;
        assume = assume.when("StringEquals", "sts:ExternalId", [id]);
    }
    check::session_tags(session_tags)?;
    let mut statements = vec![assume];
    if *base_is_tagged || !session_tags.is_empty() {
        let mut tag = Statement::by("VpceOperatorSessionTags", &["sts:TagSession"], "AWS", base.to_string());
        for (key, value) in session_tags {
            tag = tag.when("StringEquals", format!("aws:RequestTag/{key}"), [value]);
        }
        statements.push(tag);
    }
    if *source_identity {
        statements.push(
            Statement::by(
                "VpceOperatorSourceIdentity",
                &["sts:SetSourceIdentity"],
                "AWS",
                base.to_string(),
            )
            .when("StringLike", "sts:SourceIdentity", [SOURCE_IDENTITIES]),
        );
    }
    within_trust(Policy::new(statements), || {
        format!("pass fewer session tags than {}, or shorter ones", session_tags.len())
    })
}
