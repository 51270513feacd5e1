//! A request as IAM sees it: an action on a resource, and the keys that conditions may ask about.

use std::collections::BTreeMap;

use crate::aws::ec2::tags::Tags;
use crate::aws::identity::Principal;

/// The context of a request. Names of keys are compared without regard to case, tag keys in them
/// included, as IAM does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(BTreeMap<String, Vec<String>>);

impl Keys {
    /// What every request of this caller carries.
    pub(crate) fn of(caller: &Principal, region: &str) -> Self {
        let keys = Self::default();
        let keys = match &caller.source_identity {
            Some(identity) => keys.with("aws:SourceIdentity", identity),
            None => keys,
        };
        keys.with("aws:PrincipalArn", &caller.role)
            .with("aws:PrincipalAccount", &caller.account)
            .with("aws:RequestedRegion", region)
            // The simulator stands for AWS's endpoints, which speak TLS.
            .with("aws:SecureTransport", "true")
            .with_tags("aws:PrincipalTag", &caller.tags)
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.to_lowercase(), vec![value.into()]);
        self
    }

    /// A key with any number of values; with none it is absent.
    pub(crate) fn with_all<'a>(mut self, key: &str, values: impl IntoIterator<Item = &'a String>) -> Self {
        let values: Vec<String> = values.into_iter().cloned().collect();
        if !values.is_empty() {
            self.0.insert(key.to_lowercase(), values);
        }
        self
    }

    /// `prefix/KEY` for each tag.
    pub(crate) fn with_tags(self, prefix: &str, tags: &Tags) -> Self {
        tags.iter()
            .fold(self, |keys, (key, value)| keys.with(&format!("{prefix}/{key}"), value))
    }

    /// The tags that a request is to set.
    pub(crate) fn requesting(self, tags: &Tags) -> Self {
        self.with_tags("aws:RequestTag", tags)
            .with_all("aws:TagKeys", tags.keys())
    }

    /// The tags that a resource has.
    pub(crate) fn tagged(self, tags: &Tags) -> Self {
        self.with_tags("aws:ResourceTag", tags)
            .with_tags("ec2:ResourceTag", tags)
    }

    /// These, and the others.
    pub(crate) fn and(mut self, others: &Self) -> Self {
        self.0.extend(others.0.clone());
        self
    }

    /// The values of a key, whose name is given in lower case.
    pub(super) fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(key).map(Vec::as_slice)
    }
}

/// What IAM is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// `ec2:CreateTags`
    pub(crate) action: &'a str,
    /// An ARN, or `*` where the action has no resources.
    pub(crate) resource: &'a str,
    pub(crate) keys: &'a Keys,
}
