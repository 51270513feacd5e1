//! The ConfigMap that says what an endpoint has, for controllers that register it with a provider.

use std::collections::BTreeMap;

/// What a ConfigMap is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigMapContent {
    /// Its data.
    pub data: BTreeMap<String, String>,
}

/// A ConfigMap in the object's namespace that matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedConfigMap {
    /// Its name.
    pub name: String,
    /// Whether our object is its controller.
    pub ours: bool,
    /// Whether it carries the managed-by label.
    pub labelled: bool,
    /// Its data; none where the operator would not write it so.
    pub data: Option<BTreeMap<String, String>>,
    /// What the API server stores as this, also when it is corrected.
    pub written_as: Option<ConfigMapContent>,
}

impl ObservedConfigMap {
    /// What the API server stores where nothing changes it.
    pub fn published(name: &str, content: ConfigMapContent) -> Self {
        Self {
            name: name.to_owned(),
            ours: true,
            labelled: true,
            data: Some(content.data),
            written_as: None,
        }
    }

    /// What differs from what it is to hold, in the words of its manifest.
    pub fn differences(&self, wanted: &ConfigMapContent) -> Vec<&'static str> {
        [
            (self.data.as_ref() != Some(&wanted.data), "data"),
            (!self.labelled, "the label app.kubernetes.io/managed-by"),
            (!self.ours, "metadata.ownerReferences"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

impl ConfigMapContent {
    /// With these values, of which those that are empty are left out.
    pub(crate) fn new(values: [(&str, &str); 7]) -> Self {
        let given = values.into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            data: given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }
}
