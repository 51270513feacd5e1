//! Objects as they are watched: a spec that does not parse costs its own object a condition, not the others their watch.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{
    AWSAccount, AWSAccountSpec, AWSAccountStatus, DeletionPolicy, VPCEndpoint, VPCEndpointSpec, VPCEndpointStatus,
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

impl Kind for AWSAccount {
    type Spec = AWSAccountSpec;
    type Status = AWSAccountStatus;
    type Scope = ClusterResourceScope;
}

/// A spec that does not parse.
#[derive(Debug, Clone)]
pub struct Unparsed {
    /// Why.
    pub error: String,
    /// As it stands in the API server.
    pub raw: Value,
}

impl Unparsed {
    /// What it says of its deletion, which has to be heeded whatever else does not parse.
    pub fn deletion_policy(&self) -> Option<DeletionPolicy> {
        DeletionPolicy::deserialize(self.raw.get("deletion_policy")?).ok()
    }
}

/// A custom resource whose spec may not parse and whose status always does.
#[derive(Debug, Clone)]
pub struct Watched<K: Kind> {
    /// As the API server has it, without `managedFields` and the last applied configuration.
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
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Value,
            #[serde(default)]
            status: Value,
        }
        let Raw {
            mut metadata,
            spec,
            status,
        } = Raw::deserialize(deserializer)?;
        metadata.managed_fields = None;
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        Ok(Self {
            metadata,
            spec: K::Spec::deserialize(&spec).map_err(|error| Unparsed {
                error: error.to_string(),
                raw: spec,
            }),
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

/// Reads a field of a status that something else may have written: what does not parse counts as absent.
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
