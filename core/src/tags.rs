//! The tags and names that say whose an AWS resource is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use kube::Resource;
use sha2::{Digest, Sha256};

use crate::api::VPCEndpoint;
use crate::object_key::ObjectKey;

/// Which cluster, by default the UID of its kube-system namespace.
pub const CLUSTER: &str = "silvermullet.com/cluster";
/// The kind of the owner; absent where it is a VPCEndpoint, which was the only one at first.
pub const KIND: &str = "silvermullet.com/kind";
/// The namespace of the owner.
pub const NAMESPACE: &str = "silvermullet.com/namespace";
/// The name of the owner.
pub const NAME: &str = "silvermullet.com/name";
/// The UID of the owner; it tells a restored object.
pub const UID: &str = "silvermullet.com/uid";
/// What replaces the owner tags when the owner gave it up (`deletion_policy: Retain`).
pub const RETAINED: &str = "silvermullet.com/retained";
/// The administrators of an AWS account let an object adopt or observe an endpoint by this tag; its
/// value is [`Owner::consent`].
pub const ADOPT: &str = "silvermullet.com/adopt";
/// The start of every key that is ours.
pub const RESERVED_PREFIX: &str = "silvermullet.com/";
/// What the EC2 console shows as the name.
pub const DISPLAY_NAME: &str = "Name";

/// The longest tag value of EC2, in characters.
const TAG_VALUE_MAX: usize = 256;
/// The longest name and the longest description of a security group in EC2, in characters.
const GROUP_NAME_MAX: usize = 255;
/// So much of the UID is in a group's name.
const UID_IN_NAME: usize = 8;

/// This cluster, and those whose resources it takes over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clusters {
    /// This cluster's id.
    pub own: String,
    /// The ids of clusters that are gone: what they own is taken over by the object of the same
    /// namespace and name.
    pub former: Vec<String>,
}

impl Clusters {
    /// All ids, this cluster's first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.own).chain(&self.former).map(String::as_str)
    }

    /// Whether what carries this id is ours to work with.
    pub fn has(&self, id: &str) -> bool {
        self.ids().any(|own| own == id)
    }
}

impl From<&str> for Clusters {
    fn from(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            former: Vec::new(),
        }
    }
}

/// The object that an AWS resource belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its cluster, and those that it takes over from.
    pub cluster: Clusters,
    /// The kind, as in `VPCEndpoint`.
    pub kind: Cow<'static, str>,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
}

/// How a set of tags stands to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// They name this owner.
    Ours,
    /// They name another.
    Another,
    /// They name no owner, or only a part of one.
    Unowned,
}

impl Owner {
    /// The owner among all objects of its cluster.
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    fn is_endpoint(&self) -> bool {
        self.kind == VPCEndpoint::kind(&())
    }

    /// The owner tags, as they are set when a resource is made.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.identity();
        let name = shorten(&format!("{}-{}", self.name, self.namespace), TAG_VALUE_MAX);
        tags.insert(DISPLAY_NAME.to_owned(), name);
        tags
    }

    /// The owner tags that say who the owner is; `Name` is for people.
    pub fn identity(&self) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::from([
            (CLUSTER.to_owned(), self.cluster.own.clone()),
            (NAMESPACE.to_owned(), self.namespace.clone()),
            (NAME.to_owned(), self.name.clone()),
            (UID.to_owned(), self.uid.clone()),
        ]);
        if !self.is_endpoint() {
            tags.insert(KIND.to_owned(), self.kind.clone().into_owned());
        }
        tags
    }

    /// The tags of the identity, as arguments of the AWS CLI's `create-tags`.
    pub fn as_arguments(&self) -> String {
        let pairs = self.identity();
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("Key={key},Value={value}"))
            .collect();
        pairs.join(" ")
    }

    /// The value of the tag [`ADOPT`] that lets this owner have an endpoint.
    pub fn consent(&self) -> String {
        let Self { namespace, name, .. } = self;
        shorten(&format!("{}/{namespace}/{name}", self.cluster.own), TAG_VALUE_MAX)
    }

    /// The keys of the identity.
    pub fn keys(&self) -> BTreeSet<String> {
        self.identity().into_keys().collect()
    }

    /// Whose a resource with these tags is: cluster, kind, namespace and name decide, the UID does
    /// not.
    pub fn claim(&self, tags: &BTreeMap<String, String>) -> Claim {
        let found = [
            tags.get(CLUSTER).map(|id| self.cluster.has(id)),
            tags.get(NAMESPACE).map(|namespace| *namespace == self.namespace),
            tags.get(NAME).map(|name| *name == self.name),
        ];
        if found.contains(&Some(false)) {
            Claim::Another
        } else if found.contains(&None) {
            Claim::Unowned
        } else if kind(tags) == self.kind {
            Claim::Ours
        } else {
            Claim::Another
        }
    }

    /// The name of the owner's security group.
    pub fn group_name(&self) -> String {
        let uid: String = self.uid.chars().take(UID_IN_NAME).collect();
        // EC2 refuses group names that start with "sg-"; ours never do.
        shorten(&format!("{}{uid}", self.group_name_start()), GROUP_NAME_MAX)
    }

    fn group_name_start(&self) -> String {
        format!("vpce-{}-{}-", self.namespace, self.name)
    }

    /// The description of the owner's security group. It names the cluster: the tag that does could
    /// be planted.
    pub fn group_description(&self) -> String {
        self.group_description_in(&self.cluster.own)
    }

    fn group_description_in(&self, cluster: &str) -> String {
        let text = format!("VPC endpoint {}/{} of cluster {cluster}", self.namespace, self.name);
        shorten(&text, GROUP_NAME_MAX)
    }

    /// Whether a group of this name and description was made for this owner, under whatever UID, in
    /// this cluster or in one that it takes over from. AWS fixes both when a group is made. Only
    /// VPCEndpoints have groups.
    pub(crate) fn named_group(&self, name: &str, description: &str) -> bool {
        let is_described = self
            .cluster
            .ids()
            .any(|cluster| description == self.group_description_in(cluster));
        let start = self.group_name_start();
        let room = GROUP_NAME_MAX.saturating_sub(start.chars().count());
        let is_named = if room >= UID_IN_NAME {
            let uid = name.strip_prefix(&start);
            uid.is_some_and(|uid| (1..=UID_IN_NAME).contains(&uid.len()))
        } else {
            // The UID is in the hash, and the rest of what is cut off in the description's.
            let kept: String = start.chars().take(GROUP_NAME_MAX - HASH - 1).collect();
            let hash = name.strip_prefix(&kept).and_then(|rest| rest.strip_prefix('-'));
            hash.is_some_and(|hash| hash.len() == HASH)
        };
        self.is_endpoint() && is_described && is_named
    }
}

/// The object that tags name, if they name one.
pub fn object(tags: &BTreeMap<String, String>) -> Option<ObjectKey> {
    let value = |key: &str| tags.get(key).filter(|value| !value.is_empty()).cloned();
    Some(ObjectKey {
        kind: kind(tags),
        namespace: value(NAMESPACE)?,
        name: value(NAME)?,
    })
}

/// How the tags of a resource differ from what is desired: those to set, and the keys to remove. Of
/// what is there more, only what was set for the user (`set_keys`) is removed.
pub(crate) fn difference(
    desired: &BTreeMap<String, String>,
    there: &BTreeMap<String, String>,
    set_keys: &[String],
) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let missing = desired.iter().filter(|(key, value)| there.get(*key) != Some(value));
    let surplus = set_keys
        .iter()
        .filter(|key| there.contains_key(*key) && !desired.contains_key(*key))
        .filter(|key| !key.starts_with(RESERVED_PREFIX));
    (
        missing.map(|(key, value)| (key.clone(), value.clone())).collect(),
        surplus.cloned().collect(),
    )
}

/// What the tag [`RETAINED`] says of a resource with these tags: whose it was.
pub(crate) fn retained_mark(there: &BTreeMap<String, String>) -> String {
    let value = |key: &str| there.get(key).map(String::as_str).unwrap_or_default();
    let former = format!("{}/{}/{}", value(CLUSTER), value(NAMESPACE), value(NAME));
    shorten(&former, TAG_VALUE_MAX)
}

fn kind(tags: &BTreeMap<String, String>) -> Cow<'static, str> {
    match tags.get(KIND) {
        Some(kind) => Cow::Owned(kind.clone()),
        None => VPCEndpoint::kind(&()),
    }
}

/// How long the hash is at the end of what was shortened.
const HASH: usize = 12;

/// Shortens to at most `max` characters, with a hash at the end so that what differs stays
/// different.
pub fn shorten(value: &str, max: usize) -> String {
    if value.chars().count() <= max {
        return value.to_owned();
    }
    let hash = hex(&Sha256::digest(value.as_bytes())[..HASH / 2]);
    let kept: String = value.chars().take(max - HASH - 1).collect();
    format!("{kept}-{hash}")
}

/// Whether a text may be a cluster's id: it becomes a tag's value, a part of the names of sessions
/// and of IAM policies.
pub fn is_cluster_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            cluster: "c".into(),
            kind: "VPCEndpoint".into(),
            namespace: "ns".into(),
            name: "db".into(),
            uid: "55ea9f5f-45a4-4bfc".into(),
        }
    }

    #[test]
    fn the_uid_does_not_decide_whose_a_resource_is() {
        let mut tags = owner().tags();
        tags.insert(UID.into(), "another".into());
        assert_eq!(owner().claim(&tags), Claim::Ours);
    }

    #[test]
    fn lost_tags_name_no_owner_and_other_values_another() {
        let mut tags = owner().tags();
        tags.remove(NAME);
        assert_eq!(owner().claim(&tags), Claim::Unowned);
        tags.insert(NAMESPACE.into(), "other".into());
        assert_eq!(owner().claim(&tags), Claim::Another);
        assert_eq!(owner().claim(&BTreeMap::new()), Claim::Unowned);
    }

    #[test]
    fn without_a_kind_tags_name_a_vpc_endpoint_and_with_one_an_object_of_that_kind() {
        let endpoint = owner();
        let service = Owner {
            kind: "VPCEndpointService".into(),
            ..owner()
        };
        assert!(!endpoint.tags().contains_key(KIND), "what exists has none");
        assert_eq!(service.tags()[KIND], "VPCEndpointService");
        for (of, other) in [(&endpoint, &service), (&service, &endpoint)] {
            assert_eq!(of.claim(&of.tags()), Claim::Ours);
            assert_eq!(of.claim(&other.tags()), Claim::Another);
            assert_eq!(object(&of.tags()), Some(of.key()));
            assert!(of.keys().iter().all(|key| key.starts_with(RESERVED_PREFIX)));
        }
        let mut said = endpoint.tags();
        said.insert(KIND.into(), "VPCEndpoint".into());
        assert_eq!(endpoint.claim(&said), Claim::Ours);
        assert_eq!(object(&said), Some(endpoint.key()));
        let (name, description) = (endpoint.group_name(), endpoint.group_description());
        assert!(endpoint.named_group(&name, &description));
        assert!(
            !service.named_group(&name, &description),
            "its name says nothing of a service"
        );
    }

    #[test]
    fn tags_that_lack_a_part_name_no_object() {
        for key in [NAMESPACE, NAME] {
            let mut tags = owner().tags();
            tags.insert(key.into(), String::new());
            assert_eq!(object(&tags), None);
            tags.remove(key);
            assert_eq!(object(&tags), None);
        }
    }

    #[test]
    fn a_group_is_known_by_what_aws_fixes_whatever_the_uid() {
        let mut long = owner();
        long.namespace = "n".repeat(63);
        long.name = "x".repeat(253);
        for owner in [owner(), long] {
            let again = Owner {
                uid: "0f0f0f0f-another".into(),
                ..owner.clone()
            };
            assert!(again.named_group(&owner.group_name(), &owner.group_description()));
            let mut other = owner.clone();
            other.name.replace_range(1.., "z");
            let elsewhere = Owner {
                cluster: "d".into(),
                ..owner.clone()
            };
            let heir = Owner {
                cluster: Clusters {
                    own: "d".into(),
                    former: vec!["c".into()],
                },
                ..owner.clone()
            };
            assert!(heir.named_group(&owner.group_name(), &owner.group_description()));
            for (name, description) in [
                (other.group_name(), owner.group_description()),
                (owner.group_name(), other.group_description()),
                (owner.group_name(), elsewhere.group_description()),
                (owner.group_name(), String::new()),
                ("database".into(), owner.group_description()),
                (format!("{}0", owner.group_name()), owner.group_description()),
            ] {
                assert!(!owner.named_group(&name, &description), "{name}: {description}");
            }
        }
        // Names that run together are told apart by the descriptions.
        let (mut a, mut b) = (owner(), owner());
        (a.namespace, a.name) = ("ns-db".into(), "x".into());
        (b.namespace, b.name) = ("ns".into(), "db-x".into());
        assert_eq!(a.group_name(), b.group_name());
        assert!(!a.named_group(&b.group_name(), &b.group_description()));
    }

    #[test]
    fn long_names_are_shortened_and_stay_different() {
        let mut a = owner();
        a.name = "x".repeat(250);
        let mut b = a.clone();
        b.name.push('y');
        assert!(a.group_name().len() <= 255);
        assert_ne!(a.group_name(), b.group_name());
        assert_eq!(a.tags()[DISPLAY_NAME].len(), 253);
    }
}
