//! What a refused AWSAccount says about its role's trust policy: the statements that would let the
//! operator in.

use std::mem;

use vpce_core::iam::{Error, IdentityArn, Trust, tenant_trust};

use crate::aws::sessions::SessionKey;

/// Stands for the external id, which is agreed upon by two and not told to everyone who may read
/// conditions, events and logs.
const EXTERNAL_ID: &str = "spec.external_id";

/// To be added to what STS said: the statements, or why no trust policy could let the operator in.
///
/// `own` is what GetCallerIdentity calls the operator, `said` what STS said to it.
pub(super) fn hint(own: Option<&str>, role: &SessionKey, said: &str) -> String {
    let own = own.and_then(IdentityArn::behind);
    let statements = match statements(own.as_ref(), role, said.contains("sts:TagSession")) {
        Ok(statements) => statements,
        Err(error @ Error::Partitions { .. }) => return format!(". {error}"),
        Err(_) => return String::new(),
    };
    let mut hint = format!(". The trust policy must contain: {statements}");
    if own.is_none() {
        hint.push_str(", with the operator's identity as the Principal (docs/iam.md)");
    }
    if role.external_id.is_some() {
        hint.push_str(&format!(", with the value of {EXTERNAL_ID} in its place"));
    }
    hint
}

/// To be added to what STS said of the request itself: that the role is in another partition than
/// the operator, where it is.
pub(super) fn crossing(own: Option<&str>, role: &SessionKey) -> String {
    let Some(own) = own.and_then(IdentityArn::behind) else {
        return String::new();
    };
    match statements(Some(&own), role, false) {
        Err(error @ Error::Partitions { .. }) => format!(". {error}"),
        Err(_) | Ok(_) => String::new(),
    }
}

fn statements(own: Option<&IdentityArn>, role: &SessionKey, base_is_tagged: bool) -> Result<String, Error> {
    let trust = Trust {
        // Only for what has to stand there: it is taken out again.
        base: own.cloned().unwrap_or_else(|| IdentityArn::from(&role.role_arn)),
        external_id: role.external_id.as_ref().map(|_| EXTERNAL_ID.to_owned()),
        session_tags: role.tags.clone(),
        base_is_tagged,
        source_identity: role.source_identity.is_some(),
    };
    let mut policy = tenant_trust(&role.role_arn, &trust)?.to_json();
    let statements = policy["Statement"].as_array_mut().map(mem::take).unwrap_or_default();
    let shown = statements.into_iter().map(|mut statement| {
        if let (None, Some(fields)) = (own, statement.as_object_mut()) {
            fields.remove("Principal");
        }
        statement.to_string()
    });
    Ok(shown.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "arn:aws:sts::999999999999:assumed-role/base/1234";
    const SAID: &str = "User: x is not authorized to perform: sts:AssumeRole on resource: y";

    fn role(external_id: Option<&str>, tags: &[(&str, &str)]) -> SessionKey {
        SessionKey {
            role_arn: "arn:aws:iam::111122223333:role/vpce-operator".parse().expect("a role"),
            external_id: external_id.map(str::to_owned),
            duration_seconds: 3600,
            session_name: "name".to_owned(),
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            source_identity: None,
        }
    }

    #[test]
    fn the_statement_names_the_role_behind_the_session_and_not_the_external_id() {
        assert_eq!(
            hint(Some(OWN), &role(Some("agreed"), &[]), SAID),
            ". The trust policy must contain: {\"Action\":\"sts:AssumeRole\",\
             \"Condition\":{\"StringEquals\":{\"sts:ExternalId\":\"spec.external_id\"}},\"Effect\":\"Allow\",\
             \"Principal\":{\"AWS\":\"arn:aws:iam::999999999999:role/base\"},\"Sid\":\"VpceOperator\"}\
             , with the value of spec.external_id in its place"
        );
    }

    #[test]
    fn who_does_not_know_itself_leaves_the_principal_to_the_reader() {
        let hint = hint(None, &role(None, &[]), SAID);
        assert!(
            !hint.contains("\"Principal\"") && hint.ends_with("as the Principal (docs/iam.md)"),
            "{hint}"
        );
        assert!(hint.contains("\"sts:AssumeRole\""), "{hint}");
    }

    #[test]
    fn tags_have_a_statement_where_they_pass() {
        let tagged = "User: x is not authorized to perform: sts:TagSession on resource: y";
        for (tags, said, has) in [
            (&[][..], SAID, false),
            (&[][..], tagged, true),
            (&[("team", "a")][..], SAID, true),
        ] {
            let hint = hint(Some(OWN), &role(None, tags), said);
            assert_eq!(hint.contains("\"sts:TagSession\""), has, "{hint}");
        }
    }

    #[test]
    fn a_source_identity_has_one_where_it_is_sent() {
        let sending = SessionKey {
            source_identity: Some("vpce-operator@payments@cluster".to_owned()),
            ..role(None, &[])
        };
        assert!(hint(Some(OWN), &sending, SAID).contains("\"sts:SetSourceIdentity\""));
        assert!(!hint(Some(OWN), &role(None, &[]), SAID).contains("sts:SetSourceIdentity"));
    }

    #[test]
    fn no_statement_crosses_partitions_and_that_is_said() {
        let own = "arn:aws-cn:sts::999999999999:assumed-role/base/1234";
        assert_eq!(crossing(Some(OWN), &role(None, &[])), "");
        assert_eq!(
            crossing(Some(own), &role(None, &[])),
            hint(Some(own), &role(None, &[]), SAID)
        );
        assert_eq!(
            hint(Some(own), &role(None, &[]), "Request ARN is invalid"),
            ". arn:aws:iam::111122223333:role/vpce-operator is in the AWS partition aws, \
             arn:aws-cn:iam::999999999999:role/base in aws-cn: a session cannot cross partitions"
        );
    }
}
