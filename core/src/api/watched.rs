//! Objects as they are watched: a spec that does not parse costs its own object a condition, not
//! the others their watch.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::lean::Lean;
use super::{
    AWSAccount, AWSAccountSpec, AWSAccountStatus, DeletionPolicy, ManagementPolicy, VPCEndpoint, VPCEndpointService,
    VPCEndpointServiceSpec, VPCEndpointServiceStatus, VPCEndpointSpec, VPCEndpointStatus,
};

/// The two halves of one of our custom resources.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static {
    /// What users write.
    type Spec: DeserializeOwned + Serialize + Clone + Debug + Send + Sync + 'static;
    /// What the operator writes; reads leniently, field by field.
    type Status: DeserializeOwned + Serialize + Default + Clone + Debug + Send + Sync + 'static;
    /// Namespaced or cluster-scoped.
    type Scope;
}

impl Kind for VPCEndpoint {
    type Spec = VPCEndpointSpec;
    type Status = VPCEndpointStatus;
    type Scope = NamespaceResourceScope;
}

impl Kind for VPCEndpointService {
    type Spec = VPCEndpointServiceSpec;
    type Status = VPCEndpointServiceStatus;
    type Scope = NamespaceResourceScope;
}

impl Kind for AWSAccount {
    type Spec = AWSAccountSpec;
    type Status = AWSAccountStatus;
    type Scope = ClusterResourceScope;
}

/// So much is kept of why a spec does not parse, which may quote it.
const LONGEST_ERROR: usize = 500;

/// A spec that does not parse.
#[derive(Debug, Clone)]
pub struct Unparsed {
    /// Why.
    pub error: String,
    /// What it says of its deletion, which has to be heeded whatever else does not parse.
    deletion_policy: Option<DeletionPolicy>,
    management_policy: ManagementPolicy,
}

impl Unparsed {
    fn new(error: &serde_json::Error, spec: &Value) -> Self {
        fn field<T: DeserializeOwned>(spec: &Value, name: &str) -> Option<T> {
            spec.get(name).and_then(|value| T::deserialize(value).ok())
        }
        Self {
            error: error.to_string().chars().take(LONGEST_ERROR).collect(),
            deletion_policy: field(spec, "deletion_policy"),
            management_policy: field(spec, "management_policy").unwrap_or_default(),
        }
    }

    /// What it says that the operator does in AWS.
    pub fn management_policy(&self) -> ManagementPolicy {
        self.management_policy
    }

    /// What it says of its deletion.
    pub fn deletion_policy(&self) -> Option<DeletionPolicy> {
        self.deletion_policy
    }
}

/// A custom resource whose spec may not parse and whose status always does.
#[derive(Debug, Clone)]
pub struct Watched<K: Kind> {
    /// What the operator reads of it: `Lean`.
    pub metadata: ObjectMeta,
    /// The spec, or what is known of one that does not parse.
    pub spec: Result<K::Spec, Unparsed>,
    /// The status; what in it does not parse counts as absent.
    pub status: K::Status,
}

impl<'de, K: Kind> Deserialize<'de> for Watched<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            metadata: Lean,
            #[serde(default)]
            spec: Value,
            #[serde(default)]
            status: Value,
        }
        let Raw { metadata, spec, status } = Raw::deserialize(deserializer)?;
        Ok(Self {
            metadata: metadata.into(),
            spec: K::Spec::deserialize(&spec).map_err(|error| Unparsed::new(&error, &spec)),
            status: serde_json::from_value(status).unwrap_or_default(),
        })
    }
}

impl<K: Kind> Resource for Watched<K> {
    type DynamicType = ();
    type Scope = <K as Kind>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Reads a field of a status that something else may have written: what does not parse counts as
/// absent.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_spec_that_does_not_parse_keeps_metadata_and_status() {
        let object: Watched<VPCEndpoint> = serde_json::from_value(json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint",
            "metadata": {"name": "a", "namespace": "b", "uid": "u"},
            "spec": {"subnet_ids": 7},
            "status": {"vpc_endpoint_id": "vpce-1", "incarnation": "nonsense", "region": "us-west-2"},
        }))
        .expect("watched objects always parse");
        assert!(object.spec.is_err());
        assert_eq!(object.status.vpc_endpoint_id.as_deref(), Some("vpce-1"));
        assert_eq!(object.status.region.as_deref(), Some("us-west-2"));
        assert_eq!(object.status.incarnation, None);
    }
}
