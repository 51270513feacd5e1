//! One endpoint for many namespaces: who may refer to it, and how another object does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms;

/// Which namespaces may share the endpoint (`vpc_endpoint_ref`). Its own namespace always may.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// The namespaces, by name. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::Namespace>", length(max = 1024))]
    pub namespaces: Vec<String>,

    /// The namespaces, by their labels, in addition to `namespaces`. Absent or empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// What happens when this object is deleted while others share its endpoint. `Wait` (the
    /// default): the endpoint stays until none does, and the condition names them. `Delete`: it is
    /// deleted all the same.
    #[serde(default, skip_serializing_if = "OnDelete::is_default")]
    pub on_delete: OnDelete,
}

/// What happens to an endpoint that others share when its object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// It stays until nothing refers to it.
    #[default]
    Wait,
    /// It is deleted.
    Delete,
}

impl OnDelete {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The VPCEndpointService to connect to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointServiceRef {
    /// Its namespace. Default: this object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Namespace>")]
    pub namespace: Option<String>,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The VPCEndpoint whose endpoint is shared.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointRef {
    /// Its namespace. Default: this object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Namespace>")]
    pub namespace: Option<String>,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
