//! Endpoint policies: what the spec gives, as EC2 takes it, and whether two mean the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// EC2 takes so many characters, white space included.
pub const LONGEST: usize = 20_480;

/// A policy for an endpoint.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    text: String,
    digest: PolicyDigest,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Policy {
    /// Reads what a spec gives: a JSON object, or a string that has one.
    ///
    /// # Errors
    /// Why EC2 would not take it.
    pub fn parse(document: &Value) -> Result<Self, String> {
        let parsed;
        let document = match document {
            Value::String(text) => {
                parsed = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
                &parsed
            }
            document => document,
        };
        let Value::Object(policy) = document else {
            return Err("must be a JSON object with a Statement".to_owned());
        };
        if !policy.contains_key("Statement") {
            return Err("has no Statement".to_owned());
        }
        let text = document.to_string();
        let length = text.chars().count();
        if length > LONGEST {
            return Err(format!(
                "has {length} characters without white space; AWS allows {LONGEST}"
            ));
        }
        let digest = PolicyDigest::of(document);
        Ok(Self { text, digest })
    }

    /// As EC2 takes it, without white space.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it means.
    pub fn digest(&self) -> PolicyDigest {
        self.digest
    }
}

/// Stands for the meaning of a policy: the same for two that differ only in the order of keys and
/// of lists, in a string for a list of one, or in an account's id for the ARN of its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyDigest([u8; 16]);

impl PolicyDigest {
    /// Of a policy as EC2 describes it. One that is no JSON is only like itself.
    pub fn read(text: &str) -> Self {
        match serde_json::from_str::<Value>(text) {
            Ok(document) => Self::of(&document),
            Err(_) => Self::hash(text),
        }
    }

    /// Of the policy that EC2 gives an endpoint that is created without one.
    pub fn full_access() -> Self {
        Self::read(r#"{"Statement": [{"Action": "*", "Effect": "Allow", "Principal": "*", "Resource": "*"}]}"#)
    }

    fn of(document: &Value) -> Self {
        Self::hash(&normalized(document).to_string())
    }

    fn hash(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        Self(digest)
    }
}

/// A policy in the form in which those that mean the same are the same.
fn normalized(document: &Value) -> Value {
    let Value::Object(policy) = document else {
        return document.clone();
    };
    let statements = policy.get("Statement").map(|statements| match statements {
        Value::Array(all) => Value::Array(all.iter().map(statement).collect()),
        one => Value::Array(vec![statement(one)]),
    });
    // The version decides whether variables are replaced; EC2 gives 2008-10-17 where there is none.
    let version = policy.get("Version").cloned().unwrap_or_else(|| "2008-10-17".into());
    let has_variables = statements.as_ref().is_some_and(|all| all.to_string().contains("${"));
    let version = has_variables.then(|| ("Version".to_owned(), version));
    let statements = ("Statement".to_owned(), statements.unwrap_or_default());
    object([statements].into_iter().chain(version))
}

fn statement(statement: &Value) -> Value {
    let Value::Object(parts) = statement else {
        return statement.clone();
    };
    let normal = parts.iter().filter(|(key, _)| *key != "Sid").map(|(key, value)| {
        let value = match key.as_str() {
            "Action" | "NotAction" => sorted(value, |action| action.to_ascii_lowercase()),
            "Resource" | "NotResource" => sorted(value, str::to_owned),
            "Principal" | "NotPrincipal" => principals(value),
            "Condition" => conditions(value),
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    object(normal)
}

/// An object with its keys in order.
fn object(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    let in_order: BTreeMap<String, Value> = fields.into_iter().collect();
    Value::Object(in_order.into_iter().collect())
}

/// A list, or a string that stands for one, in order and each once.
fn sorted(value: &Value, normal: impl Fn(&str) -> String) -> Value {
    let items: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let mut texts: Vec<String> = items
        .into_iter()
        .map(|item| match item {
            Value::String(text) => normal(text),
            other => other.to_string(),
        })
        .collect();
    texts.sort();
    texts.dedup();
    texts.into()
}

/// `"*"` is `{"AWS": "*"}`, and an account's id the ARN of its root.
fn principals(value: &Value) -> Value {
    let Value::Object(by_kind) = value else {
        return serde_json::json!({"AWS": sorted(value, account_root)});
    };
    let normal = by_kind.iter().map(|(kind, value)| match kind.as_str() {
        "AWS" => (kind.clone(), sorted(value, account_root)),
        _ => (kind.clone(), sorted(value, str::to_owned)),
    });
    object(normal)
}

fn account_root(principal: &str) -> String {
    match principal.strip_suffix(":root").and_then(|arn| arn.rsplit(':').next()) {
        Some(account) if principal.starts_with("arn:") => account.to_owned(),
        _ => principal.to_owned(),
    }
}

/// Operators over keys over values.
fn conditions(value: &Value) -> Value {
    let Value::Object(operators) = value else {
        return value.clone();
    };
    let normal = operators.iter().map(|(operator, keys)| {
        let keys = match keys {
            Value::Object(keys) => {
                let keys = keys
                    .iter()
                    .map(|(key, value)| (key.to_ascii_lowercase(), sorted(value, str::to_owned)));
                object(keys)
            }
            other => other.clone(),
        };
        (operator.clone(), keys)
    });
    object(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(document: Value) -> PolicyDigest {
        Policy::parse(&document).expect("a policy").digest()
    }

    #[test]
    fn policies_are_compared_by_what_they_mean() {
        let one = digest(json!({"Version": "2012-10-17", "Statement": {
            "Sid": "one", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject",
            "Resource": ["b", "a"], "Condition": {"StringEquals": {"aws:SourceVpc": ["vpc-1"]}},
        }}));
        let two = digest(json!({"Statement": [{
            "Resource": ["a", "b"], "Action": ["S3:getobject"], "Effect": "Allow",
            "Condition": {"StringEquals": {"aws:sourceVpc": "vpc-1"}},
            "Principal": {"AWS": ["arn:aws:iam::111122223333:root"]},
        }]}));
        assert_eq!(one, two);
        for other in [
            json!({"Statement": [{"Resource": ["a", "b"], "Action": "s3:GetObject", "Effect": "Deny", "Principal": "*"}]}),
            json!({"Statement": []}),
        ] {
            assert_ne!(digest(other), one);
        }
    }

    #[test]
    fn the_version_counts_where_variables_are() {
        let policy = |version: &str, resource: &str| {
            digest(json!({"Version": version, "Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": resource}]}))
        };
        assert_ne!(
            policy("2012-10-17", "${aws:username}"),
            policy("2008-10-17", "${aws:username}")
        );
        assert_eq!(policy("2012-10-17", "*"), policy("2008-10-17", "*"));
        assert_eq!(policy("2012-10-17", "*"), PolicyDigest::full_access());
    }

    #[test]
    fn a_string_is_read_and_white_space_does_not_count() {
        let text = "{\n  \"Statement\" : [ ] }";
        let policy = Policy::parse(&json!(text)).expect("a policy");
        assert_eq!(policy.as_str(), r#"{"Statement":[]}"#);
        let spaces = format!("{{\"Statement\":{}[]}}", " ".repeat(LONGEST));
        assert!(Policy::parse(&json!(spaces)).is_ok());
    }

    #[test]
    fn what_ec2_would_refuse_is_told() {
        let refused = |document: Value| Policy::parse(&document).expect_err("no policy");
        assert!(refused(json!("{")).contains("is no JSON"));
        assert!(refused(json!([])).contains("JSON object"));
        assert!(refused(json!("3")).contains("JSON object"));
        assert!(refused(json!({"Version": "2012-10-17"})).contains("no Statement"));
        let long = refused(json!({"Statement": ["x".repeat(LONGEST)]}));
        assert!(long.contains("AWS allows 20480"), "{long}");
    }
}
