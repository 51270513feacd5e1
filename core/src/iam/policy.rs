//! An IAM policy document, in the order in which people read one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A policy document. Its `Display` is its JSON, indented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

impl Policy {
    pub(super) fn new(statement: Vec<Statement>) -> Self {
        Self {
            version: "2012-10-17",
            statement,
        }
    }

    /// The document as a JSON value.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("strings and maps with string keys are JSON")
    }

    /// How many characters IAM counts: all but white space.
    pub fn size(&self) -> usize {
        let text = self.to_json().to_string();
        text.chars().filter(|c| !c.is_whitespace()).count()
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self).expect("strings and maps with string keys are JSON");
        f.write_str(&text)
    }
}

/// What one statement allows or, in a service control policy, denies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    sid: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<BTreeMap<&'static str, String>>,
    action: Strings,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Strings>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<String, Strings>>,
}

impl Statement {
    /// Of a permission policy.
    pub(super) fn on<T: Into<String>>(
        sid: &'static str,
        actions: &[&str],
        resources: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            sid,
            effect: "Allow",
            principal: None,
            action: actions.iter().copied().collect(),
            resource: Some(resources.into_iter().collect()),
            condition: BTreeMap::new(),
        }
    }

    /// Of a service control policy, which only takes away.
    pub(super) fn deny<T: Into<String>>(
        sid: &'static str,
        actions: &[&str],
        resources: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            effect: "Deny",
            ..Self::on(sid, actions, resources)
        }
    }

    /// Of a trust policy.
    pub(super) fn by(sid: &'static str, actions: &[&str], kind: &'static str, principal: impl Into<String>) -> Self {
        Self {
            sid,
            effect: "Allow",
            principal: Some(BTreeMap::from([(kind, principal.into())])),
            action: actions.iter().copied().collect(),
            resource: None,
            condition: BTreeMap::new(),
        }
    }

    /// Only where the key has one of the values.
    pub(super) fn when<T: Into<String>>(
        mut self,
        operator: &'static str,
        key: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = values.into_iter().collect();
        self.condition.entry(operator).or_default().insert(key.into(), values);
        self
    }
}

/// One string or several, which IAM spells as a string or a list; their order means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Strings(BTreeSet<String>);

impl<T: Into<String>> FromIterator<T> for Strings {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Strings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(only) if self.0.len() == 1 => only.serialize(serializer),
            _ => self.0.serialize(serializer),
        }
    }
}
