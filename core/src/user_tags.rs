//! Which keys the users of an AWSAccount may give to tags: other controllers act on some, and
//! policies on others.

use std::collections::BTreeMap;

use crate::allow_list::{advice, matches};
use crate::api::AWSAccountSpec;
use crate::conditions::{Finding, Reason};

/// Keys on which other controllers act: Kubernetes' own and those of its projects, Karpenter, the
/// AWS Load Balancer Controller, EKS. A tag of a security group may make it one that a load
/// balancer or a node uses.
pub const OTHERS: [&str; 5] = [
    "*kubernetes.io/*",
    "*k8s.io/*",
    "*k8s.aws/*",
    "*karpenter.sh/*",
    "eks:*",
];

/// Whether another controller may act on tags with this key, or with keys that such an entry of
/// `allowed_tag_keys` stands for. IAM ignores case in keys, and so does this.
pub fn is_of_others(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    OTHERS.iter().any(|pattern| matches(pattern, &key))
}

/// Checks a user's tags against the AWSAccount. What it requires, and what it takes from the
/// namespace's labels, is `forced`.
pub(crate) fn check(
    account: &str,
    spec: &AWSAccountSpec,
    forced: &BTreeMap<String, String>,
    tags: &BTreeMap<String, String>,
) -> Result<(), Finding> {
    let refused = |key: &str, why: &str, allowed: &[String]| {
        Finding::bad(
            Reason::NotAllowed,
            format!(
                "the tag key {} is not allowed by the guardrails of AWSAccount {account} ({why}): {}",
                key.escape_default(),
                advice(allowed)
            ),
        )
    };
    for key in tags.keys() {
        let alike = |other: &&String| *other != key && other.eq_ignore_ascii_case(key);
        if let Some(required) = forced.keys().find(alike) {
            return Err(refused(
                key,
                "it differs from a required tag by case only",
                std::slice::from_ref(required),
            ));
        }
        let entries = spec.allowed_tag_keys.as_deref();
        let is_of_others = is_of_others(key);
        // A wildcard alone does not stand for what other controllers act on: that has to be named.
        let allows = |entry: &String| matches(entry, key) && (!is_of_others || self::is_of_others(entry));
        match entries {
            Some(entries) if !entries.iter().any(allows) => {
                let why = if is_of_others && entries.iter().any(|entry| matches(entry, key)) {
                    "other controllers act on it, so that allowed_tag_keys must list its prefix"
                } else {
                    "allowed_tag_keys"
                };
                return Err(refused(key, why, entries));
            }
            None if is_of_others => {
                let all_but = format!("any key but those that begin with {}", prefixes());
                let why = "other controllers act on it, and allowed_tag_keys does not list it";
                return Err(refused(key, why, &[all_but]));
            }
            _ => {}
        }
    }
    Ok(())
}

fn prefixes() -> String {
    OTHERS.map(|pattern| pattern.trim_matches('*')).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(allowed: Option<&[&str]>, key: &str) -> Result<(), String> {
        let spec = json!({"role_arn": "arn:aws:iam::111111111111:role/x", "allowed_tag_keys": allowed});
        let spec = serde_json::from_value(spec).expect("an account");
        let forced = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let tags = BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        check("one", &spec, &forced, &tags).map_err(|finding| {
            assert_eq!(finding.reason, Reason::NotAllowed);
            finding.message
        })
    }

    #[test]
    fn keys_are_allowed_as_the_account_says_and_those_of_other_controllers_only_by_name() {
        let cases: [(Option<&[&str]>, &str, bool); 24] = [
            (None, "cost", true),
            (None, "Name", true),
            (None, "team", true),
            (None, "Team", false),
            (None, "TEAM", false),
            (None, "kubernetes.io/cluster/x", false),
            (None, "Kubernetes.io/Cluster/x", false),
            (None, "node.kubernetes.io/role", false),
            (None, "k8s.io/cluster-autoscaler/enabled", false),
            (None, "sigs.k8s.io/cluster-api-provider-aws/role", false),
            (None, "karpenter.sh/discovery", false),
            (None, "karpenter.k8s.aws/ec2nodeclass", false),
            (None, "elbv2.k8s.aws/cluster", false),
            (None, "eks:cluster-name", false),
            (None, "my-kubernetes.io/x", false),
            (None, "kubernetes.io", true),
            (Some(&[]), "cost", false),
            (Some(&["cost", "app-*"]), "app-name", true),
            (Some(&["cost", "app-*"]), "App-name", false),
            (Some(&["*"]), "cost", true),
            (Some(&["*"]), "karpenter.sh/discovery", false),
            (Some(&["karpenter.sh/*"]), "karpenter.sh/discovery", true),
            (Some(&["karpenter.sh/*"]), "kubernetes.io/cluster/x", false),
            (Some(&["*"]), "Team", false),
        ];
        for (allowed, key, expected) in cases {
            assert_eq!(checked(allowed, key).is_ok(), expected, "{key} with {allowed:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let message = checked(Some(&["cost", "app-*"]), "karpenter.sh/discovery").expect_err("not listed");
        assert!(
            message.contains("karpenter.sh/discovery") && message.contains("use one of cost, app-*"),
            "{message}"
        );
        let message = checked(None, "Team").expect_err("alike");
        assert!(message.contains("use team, or"), "{message}");
        let message = checked(None, "eks:x").expect_err("another's");
        assert!(
            message.contains("any key but those that begin with kubernetes.io/"),
            "{message}"
        );
        let message = checked(None, "k8s.io/\u{1b}").expect_err("another's");
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}
