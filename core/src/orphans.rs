//! What carries our cluster's tag in AWS and belongs to no object: reported, and never deleted unasked.

use std::collections::BTreeMap;
use std::fmt;

use crate::observed::{EndpointFact, GroupFact, State};
use crate::tags;

/// What an orphan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An endpoint: deleted first, since it uses the group.
    Endpoint,
    /// A security group.
    Group,
}

impl Kind {
    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Group => "security_group",
        }
    }
}

/// Something of ours whose object is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// The namespace that its tags name; empty if they name none.
    pub namespace: String,
    /// The object that its tags name; empty if they name none.
    pub name: String,
}

impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", _) | (_, "") => write!(f, "{} (its tags name no object)", self.id),
            (namespace, name) => write!(f, "{} (of {namespace}/{name})", self.id),
        }
    }
}

/// Which objects there are.
pub trait Objects {
    /// Whether there is one of this namespace and name, living or being deleted.
    fn is_there(&self, namespace: &str, name: &str) -> bool;
    /// Whether the status of one names this id.
    fn is_known(&self, id: &str) -> bool;
}

/// The orphans among what a region holds with our cluster's tag.
pub fn orphans<'a>(
    cluster: &str,
    objects: &impl Objects,
    endpoints: impl Iterator<Item = &'a EndpointFact>,
    groups: impl Iterator<Item = &'a GroupFact>,
) -> Vec<Orphan> {
    let endpoints = endpoints
        .filter(|fact| !matches!(fact.state, State::Deleting | State::Deleted))
        .map(|fact| (Kind::Endpoint, fact.id.as_str(), &fact.tags));
    let groups = groups.map(|fact| (Kind::Group, fact.id.as_str(), &fact.tags));
    let mut found: Vec<Orphan> = endpoints
        .chain(groups)
        .filter_map(|(kind, id, there)| orphan(cluster, objects, kind, id, there))
        .collect();
    found.sort();
    found
}

fn orphan(
    cluster: &str,
    objects: &impl Objects,
    kind: Kind,
    id: &str,
    there: &BTreeMap<String, String>,
) -> Option<Orphan> {
    let value = |key: &str| there.get(key).cloned().unwrap_or_default();
    let (namespace, name) = (value(tags::NAMESPACE), value(tags::NAME));
    let ours = value(tags::CLUSTER) == cluster;
    (ours && !objects.is_there(&namespace, &name) && !objects.is_known(id)).then(|| Orphan {
        kind,
        id: id.to_owned(),
        namespace,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSet;
    use crate::tags::Owner;

    struct One;

    impl Objects for One {
        fn is_there(&self, namespace: &str, name: &str) -> bool {
            (namespace, name) == ("ns", "there")
        }

        fn is_known(&self, id: &str) -> bool {
            id == "sg-known"
        }
    }

    fn group(id: &str, cluster: &str, name: &str) -> GroupFact {
        let owner = Owner {
            cluster: cluster.into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: "u".into(),
        };
        GroupFact {
            id: id.into(),
            name: id.into(),
            vpc: "vpc-1".into(),
            tags: owner.tags(),
            ingress: RuleSet::new(),
            egress: RuleSet::new(),
            ipv6_egress_unknown: false,
        }
    }

    #[test]
    fn only_what_is_ours_and_belongs_to_no_object_is_an_orphan() {
        let mut nameless = group("sg-nameless", "c", "gone");
        nameless.tags.remove(tags::NAME);
        let groups = [
            group("sg-there", "c", "there"),
            group("sg-known", "c", "gone"),
            group("sg-elsewhere", "another", "gone"),
            group("sg-orphan", "c", "gone"),
            nameless,
        ];
        let found = orphans("c", &One, std::iter::empty(), groups.iter());
        let words: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            ["sg-nameless (its tags name no object)", "sg-orphan (of ns/gone)"]
        );
    }
}
