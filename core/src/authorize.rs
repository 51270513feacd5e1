//! Whether what an object asks for is allowed: by the guardrails of its AWSAccount, and by the
//! operator's settings.
//!
//! [`authorize`] needs no call to AWS. One question of the same stage does: whether the security
//! groups of others that an endpoint names belong to another object.
//! [`named_groups`](crate::guardrails::named_groups) says which to read, and
//! [`check_groups`](crate::guardrails::check_groups) decides.

use crate::api::{DeletionPolicy, VPCEndpointSpec};
use crate::conditions::{Finding, Reason};
use crate::desired::Desired;
use crate::metadata::Allowed;
use crate::resolve::Resolved;
use crate::{guardrails, names, user_tags};

/// What the operator's settings allow.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Keys of labels and annotations of Services.
    pub service_keys: Allowed<'a>,
    /// The cluster's own DNS domain, in which no name is published.
    pub cluster_domain: &'a str,
}

/// Checks what a spec asks for, and what became of it by completing it.
///
/// # Errors
/// What the condition says of the first that is not allowed.
pub fn authorize(
    spec: &VPCEndpointSpec,
    desired: &Desired,
    resolved: &Resolved,
    settings: Settings<'_>,
) -> Result<(), Finding> {
    let (name, account) = (&resolved.binding.account, &resolved.account);
    user_tags::check(name, account, &resolved.forced_tags, &spec.tags)?;
    guardrails::check(name, account, &resolved.binding.region, desired)?;
    let policy = DeletionPolicy::of(spec.deletion_policy, account);
    guardrails::check_deletion_policy(name, account, policy)?;
    names::check(
        &desired.names,
        name,
        &account.allowed_dns_names,
        settings.cluster_domain,
    )?;
    desired
        .service
        .as_ref()
        .map_or(Ok(()), |service| settings.service_keys.check(&service.metadata))
}

/// What becomes of the AWS resources of an object that is deleted. Retaining them has to be
/// allowed, and is refused while the mapping is revoked.
///
/// # Errors
/// Why it is not done as the object, or its AWSAccount, asks for.
pub fn authorize_deletion(
    policy: Option<DeletionPolicy>,
    resolved: &Resolved,
    namespace: &str,
) -> Result<DeletionPolicy, Finding> {
    let name = &resolved.binding.account;
    let policy = DeletionPolicy::of(policy, &resolved.account);
    guardrails::check_deletion_policy(name, &resolved.account, policy)?;
    match policy {
        DeletionPolicy::Retain if !resolved.mapped => Err(Finding::bad(
            Reason::MappingRevoked,
            format!(
                "AWSAccount {name} no longer maps the namespace {namespace}, and nothing is retained meanwhile: set \
                 deletion_policy to Delete, or ask your platform team to map it again; what is in AWS stays until then"
            ),
        )),
        DeletionPolicy::Retain | DeletionPolicy::Delete => Ok(policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Origin, desired};
    use crate::network::Placement;
    use crate::resolve::{Binding, Writes};
    use crate::tags::Owner;
    use serde_json::{Value, json};

    fn authorized(extra: Value) -> Result<(), String> {
        let owner = Owner {
            cluster: "c".into(),
            kind: "VPCEndpoint".into(),
            namespace: "ns".into(),
            name: "db".into(),
            uid: "u".into(),
        };
        let account = json!({"role_arn": "arn:aws:iam::111111111111:role/x", "allowed_vpc_ids": ["vpc-1"]});
        let resolved = Resolved {
            binding: Binding {
                account: "one".into(),
                account_id: "111111111111".parse().expect("an id"),
                region: "eu-west-1".into(),
            },
            role: "arn:aws:iam::111111111111:role/x".parse().expect("a role"),
            account: serde_json::from_value(account).expect("an account"),
            forced_tags: [("team".to_owned(), "blue".to_owned())].into(),
            mapped: true,
            writes: Writes::Allowed,
        };
        let mut spec = json!({"vpc_id": "vpc-1", "subnet_ids": ["subnet-1"], "vpc_endpoint_service_id": "vpce-svc-1",
            "security_group_type": "generated"});
        let extra = extra.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(extra);
        let spec: VPCEndpointSpec = serde_json::from_value(spec).expect("a spec");
        let desired =
            desired(&spec, &owner, &resolved, &Placement::default(), Origin::Created).expect("a spec that makes sense");
        let settings = Settings {
            service_keys: Allowed {
                labels: &[],
                annotations: &[],
            },
            cluster_domain: "cluster.local",
        };
        authorize(&spec, &desired, &resolved, settings).map_err(|finding| {
            assert_eq!(finding.reason, Reason::NotAllowed);
            finding.message
        })
    }

    #[test]
    fn tags_values_deletion_policy_and_service_keys_are_all_asked_for() {
        assert_eq!(authorized(json!({"tags": {"cost": "1"}})), Ok(()));
        for (spec, named) in [
            (
                json!({"tags": {"karpenter.sh/discovery": "x"}}),
                "karpenter.sh/discovery",
            ),
            (json!({"tags": {"Team": "x"}}), "Team"),
            (json!({"vpc_id": "vpc-2"}), "allowed_vpc_ids"),
            (json!({"deletion_policy": "Retain"}), "allow_retain"),
            (json!({"service": {"labels": {"a": "b"}}}), "service.labels"),
            (json!({"dns_names": [{"name": "db.example.com"}]}), "allowed_dns_names"),
        ] {
            let message = authorized(spec.clone()).expect_err(named);
            assert!(message.contains(named), "{spec}: {message}");
        }
    }
}
