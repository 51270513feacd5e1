//! Policy documents: read from JSON, and refused with a reason where IAM or the simulator would not
//! take them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::condition::Condition;
use super::pattern::{ArnPattern, wildcard};
use crate::aws::partition;

/// IAM's quota for the inline policies of a role, in characters that are no white space.
const MAX_IDENTITY: usize = 10_240;
/// IAM's quota for a trust policy, unless it was raised.
const MAX_TRUST: usize = 2_048;

/// What a policy is attached to the role as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the role may do.
    Identity,
    /// Who may assume it.
    Trust,
}

/// A policy that can be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    /// In lower case.
    pub(super) actions: Scope<String>,
    pub(super) resources: Scope<ArnPattern>,
    /// Empty in an identity policy.
    pub(super) principals: Vec<Trusted>,
    pub(super) conditions: Vec<Condition>,
}

/// What an element and its `Not` form say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope<T> {
    Only(Vec<T>),
    AllBut(Vec<T>),
}

/// Whom a trust policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trusted {
    Anyone,
    /// Whomever in the account its own policies allow it.
    Account(String),
    /// A role, a user or a role's session.
    Arn(String),
    /// A service or an identity provider, which never calls AssumeRole here.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawDocument {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawStatement {
    sid: Option<String>,
    effect: Effect,
    principal: Option<Value>,
    action: Option<OneOrMany>,
    not_action: Option<OneOrMany>,
    resource: Option<OneOrMany>,
    not_resource: Option<OneOrMany>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl OneOrMany {
    fn texts(self) -> Vec<String> {
        let text = |scalar| match scalar {
            Scalar::Text(text) => text,
            Scalar::Bool(value) => value.to_string(),
            Scalar::Number(value) => value.to_string(),
        };
        match self {
            Self::One(scalar) => vec![text(scalar)],
            Self::Many(scalars) => scalars.into_iter().map(text).collect(),
        }
    }
}

impl Policy {
    /// Reads the document of a principal in a partition: IAM takes no ARN of a resource or a
    /// principal in another.
    pub(crate) fn parse_in(partition: &str, kind: Kind, json: &str) -> anyhow::Result<Self> {
        let policy = Self::parse(kind, json)?;
        let document: Value = serde_json::from_str(json).context("the policy is malformed")?;
        for statement in document["Statement"]
            .as_array()
            .unwrap_or(&vec![document["Statement"].clone()])
        {
            let places = [
                &statement["Resource"],
                &statement["NotResource"],
                &statement["Principal"]["AWS"],
            ];
            for text in places
                .into_iter()
                .flat_map(texts)
                .filter(|text| text.starts_with("arn:"))
            {
                let named = partition::of_arn(text);
                ensure!(
                    wildcard(named, partition),
                    "partition {named:?} is not valid for {text:?}: this is {partition}"
                );
            }
        }
        Ok(policy)
    }

    /// Reads a document.
    pub(crate) fn parse(kind: Kind, json: &str) -> anyhow::Result<Self> {
        let size = json.chars().filter(|c| !c.is_whitespace()).count();
        let most = match kind {
            Kind::Identity => MAX_IDENTITY,
            Kind::Trust => MAX_TRUST,
        };
        ensure!(
            size <= most,
            "the policy has {size} characters; IAM takes {most} without white space"
        );
        let document: RawDocument = serde_json::from_str(json).context("the policy is malformed")?;
        if let Some(version) = document.version {
            let known = ["2012-10-17", "2008-10-17"].contains(&version.as_str());
            ensure!(known, "the policy's Version {version:?} is unknown");
        }
        let statements = match document.statement {
            Value::Array(statements) => statements,
            one => vec![one],
        };
        ensure!(!statements.is_empty(), "the policy has no statements");
        let mut sids = BTreeSet::new();
        let mut parsed = Vec::new();
        for (index, statement) in statements.into_iter().enumerate() {
            let raw: RawStatement =
                serde_json::from_value(statement).with_context(|| format!("statement {index} is malformed"))?;
            let name = match &raw.sid {
                Some(sid) => {
                    let good = !sid.is_empty() && sid.chars().all(|c| c.is_ascii_alphanumeric());
                    ensure!(good, "the Sid {sid:?} has other characters than letters and digits");
                    ensure!(sids.insert(sid.clone()), "there are two statements with the Sid {sid}");
                    sid.clone()
                }
                None => index.to_string(),
            };
            parsed.push(Statement::read(kind, raw).with_context(|| format!("in statement {name}"))?);
        }
        Ok(Self { statements: parsed })
    }
}

/// The text, or the texts in the list.
fn texts(value: &Value) -> Vec<&str> {
    let list = value
        .as_array()
        .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str).collect()
}

impl Statement {
    fn read(kind: Kind, raw: RawStatement) -> anyhow::Result<Self> {
        let actions = scope("Action", raw.action, raw.not_action, |text| {
            let good = match text.split_once(':') {
                Some((service, name)) => !service.is_empty() && !service.contains(['*', '?']) && !name.is_empty(),
                None => text == "*",
            };
            ensure!(good, "{text:?} is neither * nor of the form service:Action");
            Ok(text.to_lowercase())
        })?;
        let actions = actions.context("Action or NotAction is missing")?;
        let resources = scope("Resource", raw.resource, raw.not_resource, |text| {
            ensure!(!text.contains("${"), "the policy variable in {text:?} is not simulated");
            ArnPattern::parse(text)
        })?;
        let (resources, principals) = match (kind, resources, raw.principal) {
            (Kind::Identity, Some(resources), None) => (resources, Vec::new()),
            (Kind::Identity, None, None) => bail!("Resource or NotResource is missing"),
            (Kind::Identity, _, Some(_)) => bail!("an identity policy has no Principal"),
            (Kind::Trust, None, Some(principal)) => (Scope::Only(vec![ArnPattern::Any]), principals(principal)?),
            (Kind::Trust, None, None) => bail!("Principal is missing"),
            (Kind::Trust, Some(_), _) => bail!("a trust policy has no Resource: it is about the role"),
        };
        let mut conditions = Vec::new();
        for (operator, keys) in raw.condition {
            for (key, values) in keys {
                conditions.push(Condition::parse(&operator, &key, values.texts())?);
            }
        }
        Ok(Self {
            effect: raw.effect,
            actions,
            resources,
            principals,
            conditions,
        })
    }
}

fn scope<T>(
    element: &str,
    only: Option<OneOrMany>,
    all_but: Option<OneOrMany>,
    read: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Option<Scope<T>>> {
    let list = |given: OneOrMany| {
        let texts = given.texts();
        ensure!(!texts.is_empty(), "{element} is empty");
        texts.iter().map(|text| read(text)).collect::<anyhow::Result<Vec<T>>>()
    };
    Ok(match (only, all_but) {
        (Some(_), Some(_)) => bail!("there are both {element} and Not{element}"),
        (Some(only), None) => Some(Scope::Only(list(only)?)),
        (None, Some(all_but)) => Some(Scope::AllBut(list(all_but)?)),
        (None, None) => None,
    })
}

fn principals(principal: Value) -> anyhow::Result<Vec<Trusted>> {
    if principal == "*" {
        return Ok(vec![Trusted::Anyone]);
    }
    let named: BTreeMap<String, OneOrMany> =
        serde_json::from_value(principal).context("Principal is neither * nor names somebody")?;
    let mut trusted = Vec::new();
    for (kind, names) in named {
        for name in names.texts() {
            trusted.push(match kind.as_str() {
                "AWS" => aws_principal(&name)?,
                "Service" | "Federated" | "CanonicalUser" => Trusted::Other,
                _ => bail!("the kind of Principal {kind:?} is unknown"),
            });
        }
    }
    ensure!(!trusted.is_empty(), "Principal names nobody");
    Ok(trusted)
}

fn aws_principal(name: &str) -> anyhow::Result<Trusted> {
    let is_account = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    if name == "*" {
        return Ok(Trusted::Anyone);
    }
    if is_account(name) {
        return Ok(Trusted::Account(name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let good = match parts[..] {
        ["arn", _, "iam", "", account, "root"] if is_account(account) => {
            return Ok(Trusted::Account(account.to_owned()));
        }
        ["arn", _, "iam", "", account, who] => {
            is_account(account) && (who.starts_with("role/") || who.starts_with("user/"))
        }
        ["arn", _, "sts", "", account, who] => is_account(account) && who.starts_with("assumed-role/"),
        _ => false,
    };
    ensure!(
        good && !name.contains(['*', '?', '$']),
        "{name:?} is no principal: an account, or the ARN of a role, a user or a session, without wildcards"
    );
    Ok(Trusted::Arn(name.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ARN: &str = "arn:aws:ec2:*:*:vpc/*";

    #[test]
    fn valid_documents_are_accepted() {
        for (kind, statement) in [
            (
                Kind::Identity,
                r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#.to_owned(),
            ),
            (
                Kind::Identity,
                format!(r#"{{"Effect":"Deny","NotAction":["ec2:Describe*"],"NotResource":["{ARN}"]}}"#),
            ),
            (
                Kind::Trust,
                r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}"#.to_owned(),
            ),
            (
                Kind::Trust,
                r#"{"Effect":"Allow","Principal":{"AWS":["111111111111","arn:aws:iam::1:role/x"],
                    "Service":"pods.eks.amazonaws.com"},"Action":"sts:AssumeRole"}"#
                    .replace("iam::1:", "iam::111111111111:"),
            ),
        ] {
            for document in [&statement, &format!("[{statement}]")] {
                let json = format!(r#"{{"Version":"2012-10-17","Id":"x","Statement":{document}}}"#);
                Policy::parse(kind, &json).unwrap();
            }
        }
    }

    #[test]
    fn unsupported_policies_are_refused_with_the_position() {
        let cases = [
            (
                Kind::Identity,
                r#""Action":"ec2:X""#,
                "Resource or NotResource is missing",
            ),
            (Kind::Identity, r#""Resource":"*""#, "Action or NotAction is missing"),
            (Kind::Identity, r#""Action":[],"Resource":"*""#, "Action is empty"),
            (
                Kind::Identity,
                r#""Action":"CreateTags","Resource":"*""#,
                "service:Action",
            ),
            (
                Kind::Identity,
                r#""Action":"*:CreateTags","Resource":"*""#,
                "service:Action",
            ),
            (
                Kind::Identity,
                r#""Action":"ec2:X","NotAction":"ec2:Y","Resource":"*""#,
                "both Action and NotAction",
            ),
            (
                Kind::Identity,
                r#""Action":"ec2:X","Resource":"vpc-1""#,
                "neither * nor an ARN",
            ),
            (
                Kind::Identity,
                r#""Action":"ec2:X","Resource":"arn:aws:ec2:::${aws:x}""#,
                "policy variable",
            ),
            (
                Kind::Identity,
                r#""Action":"ec2:X","Resource":"*","Principal":"*""#,
                "no Principal",
            ),
            (
                Kind::Identity,
                r#""Action":"ec2:X","Resource":"*","Conditions":{}"#,
                "unknown field",
            ),
            (
                Kind::Identity,
                r#""Action":"ec2:X","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#,
                "\"IpAddress\" is not simulated",
            ),
            (Kind::Trust, r#""Action":"sts:AssumeRole""#, "Principal is missing"),
            (
                Kind::Trust,
                r#""Action":"sts:AssumeRole","Principal":"*","Resource":"*""#,
                "no Resource",
            ),
            (
                Kind::Trust,
                r#""Action":"sts:AssumeRole","NotPrincipal":"*""#,
                "unknown field",
            ),
            (
                Kind::Trust,
                r#""Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::*:role/x"}"#,
                "is no principal",
            ),
            (
                Kind::Trust,
                r#""Action":"sts:AssumeRole","Principal":{"Team":"x"}"#,
                "is unknown",
            ),
        ];
        for (kind, rest, expected) in cases {
            let json = format!(r#"{{"Statement":[{{"Sid":"Some","Effect":"Allow",{rest}}}]}}"#);
            let error = format!("{:#}", Policy::parse(kind, &json).unwrap_err());
            assert!(
                error.contains(expected) && error.contains("statement"),
                "{rest}: {error}"
            );
        }
    }

    #[test]
    fn a_document_as_a_whole_may_be_wrong() {
        let statement = |sid: &str| format!(r#"{{"Sid":"{sid}","Effect":"Allow","Action":"*","Resource":"*"}}"#);
        let long = format!(r#"{{"Statement":[{}]}}"#, vec![statement("A"); 200].join(","));
        for (json, expected) in [
            ("{".to_owned(), "malformed"),
            (r#"{"Statement":[]}"#.to_owned(), "no statements"),
            (
                format!(r#"{{"Version":"2020-01-01","Statement":{}}}"#, statement("A")),
                "Version",
            ),
            (
                format!(r#"{{"Statement":[{0},{0}]}}"#, statement("A")),
                "two statements with the Sid A",
            ),
            (format!(r#"{{"Statement":{}}}"#, statement("A-B")), "letters and digits"),
            (long, "IAM takes 10240"),
        ] {
            let error = format!("{:#}", Policy::parse(Kind::Identity, &json).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
