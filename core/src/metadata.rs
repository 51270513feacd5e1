//! Labels and annotations that a user puts on a Service: which keys may be used, and which ones we
//! set.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::allow_list::advice;
use crate::conditions::{Finding, Reason};

/// Labels and annotations of a Service that stand there for its user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The keys that we set on a Service for its user; only these do we take away again. Kept in the
/// annotation [`crate::api::APPLIED_METADATA`] of the Service, so that it changes in the same write
/// as what it describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Of labels.
    pub labels: BTreeSet<String>,
    /// Of annotations.
    pub annotations: BTreeSet<String>,
}

impl Applied {
    /// Reads the annotation. What does not parse is none.
    pub fn parse(annotation: Option<&str>) -> Self {
        annotation
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The annotation; none where nothing was set.
    pub fn annotation(&self) -> Option<String> {
        let text = || serde_json::to_string(self).expect("sets of strings are JSON");
        (*self != Self::default()).then(text)
    }

    /// What of this a Service has: of all its labels and annotations those that we set.
    pub fn found(&self, labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Metadata {
        let of = |all: &BTreeMap<String, String>, keys: &BTreeSet<String>| {
            let ours = all.iter().filter(|(key, _)| keys.contains(*key));
            ours.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Metadata {
            labels: of(labels, &self.labels),
            annotations: of(annotations, &self.annotations),
        }
    }
}

impl From<&Metadata> for Applied {
    fn from(metadata: &Metadata) -> Self {
        Self {
            labels: metadata.labels.keys().cloned().collect(),
            annotations: metadata.annotations.keys().cloned().collect(),
        }
    }
}

/// Keys that may be used: one, or with a `*` at the end all that begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern(String);

impl KeyPattern {
    fn matches(&self, key: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == self.0,
        }
    }
}

impl std::str::FromStr for KeyPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text.strip_suffix('*').unwrap_or(text);
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if text.is_empty() || text.len() > 317 || !key.chars().all(fits) {
            return Err("a key of labels or annotations, or a prefix of keys with a trailing *".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// Which keys the operator's settings allow users to put on Services.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// Of labels.
    pub labels: &'a [KeyPattern],
    /// Of annotations.
    pub annotations: &'a [KeyPattern],
}

impl Allowed<'_> {
    /// Refuses keys that the settings do not name: a Service must not be a way to drive what
    /// watches Services.
    pub fn check(&self, metadata: &Metadata) -> Result<(), Finding> {
        let both = [
            ("label", &metadata.labels, self.labels),
            ("annotation", &metadata.annotations, self.annotations),
        ];
        for (kind, keys, allowed) in both {
            let is_allowed = |key: &&String| allowed.iter().any(|pattern| pattern.matches(key));
            if let Some(key) = keys.keys().find(|key| !is_allowed(key)) {
                let patterns: Vec<&str> = allowed.iter().map(|pattern| pattern.0.as_str()).collect();
                return Err(Finding::bad(
                    Reason::NotAllowed,
                    format!(
                        "service.{kind}s: the operator's settings do not allow the {kind} {key:?} on Services: {}",
                        advice(&patterns)
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: &[&str]) -> BTreeMap<String, String> {
        keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect()
    }

    fn patterns(patterns: &[&str]) -> Vec<KeyPattern> {
        patterns
            .iter()
            .map(|pattern| pattern.parse().expect("a pattern"))
            .collect()
    }

    #[test]
    fn only_the_keys_of_the_settings_are_allowed() {
        let (labels, annotations) = (patterns(&["team", "app.kubernetes.io/*"]), patterns(&["note"]));
        let allowed = Allowed {
            labels: &labels,
            annotations: &annotations,
        };
        let check = |labels: &[&str], annotations: &[&str]| {
            let metadata = Metadata {
                labels: map(labels),
                annotations: map(annotations),
            };
            allowed.check(&metadata).map_err(|finding| finding.message)
        };
        assert_eq!(check(&["team", "app.kubernetes.io/name"], &["note"]), Ok(()));
        for (labels, annotations, named) in [
            (&["teams"][..], &[][..], "teams"),
            (&["Team"], &[], "Team"),
            (&["note"], &[], "note"),
            (&["app.kubernetes.io"], &[], "app.kubernetes.io"),
            (&[], &["team"], "team"),
            (&[], &["external-dns.alpha.kubernetes.io/hostname"], "external-dns"),
        ] {
            let message = check(labels, annotations).expect_err(named);
            assert!(message.contains(named), "{message}");
            let allowed = if labels.is_empty() {
                "use note"
            } else {
                "use one of team, app.kubernetes.io/*"
            };
            assert!(message.contains(allowed), "{message}");
        }
    }

    #[test]
    fn nothing_is_allowed_by_default_and_all_by_a_star() {
        let metadata = Metadata {
            labels: map(&["a"]),
            annotations: BTreeMap::new(),
        };
        let check = |labels: &[KeyPattern]| {
            let allowed = Allowed {
                labels,
                annotations: &[],
            };
            allowed.check(&metadata).is_ok()
        };
        assert!(!check(&[]));
        assert!(check(&patterns(&["*"])));
        for bad in ["", "a b", "a*b", "**", "ключ"] {
            assert!(bad.parse::<KeyPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_set_is_read_back() {
        let metadata = Metadata {
            labels: map(&["a", "b"]),
            annotations: map(&["c"]),
        };
        let annotation = Applied::from(&metadata).annotation();
        let applied = Applied::parse(annotation.as_deref());
        assert_eq!(
            applied.found(&map(&["a", "b", "stranger's"]), &map(&["c", "d"])),
            metadata
        );
        assert_eq!(Applied::from(&Metadata::default()).annotation(), None);
        assert_eq!(Applied::parse(Some("[nonsense")), Applied::default());
    }
}
