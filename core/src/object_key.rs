//! What names an object among all kinds.

use std::borrow::Cow;

use kube::{Resource, ResourceExt};

/// An object of a kind that is reconciled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The kind, as in `VPCEndpoint`.
    pub kind: Cow<'static, str>,
    /// The namespace; empty for kinds that are in none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new::<K>(&object.namespace().unwrap_or_default(), &object.name_any())
    }

    /// The key of an object of this kind.
    pub fn new<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Self {
        Self {
            kind: K::kind(&()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}
