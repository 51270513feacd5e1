//! The Kubernetes Service of a VPCEndpoint.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms;

/// The Kubernetes Service that points to the endpoint. Default: an `ExternalName` Service with the
/// object's name, where the endpoint has one DNS name: endpoints of type `Gateway`,
/// `GatewayLoadBalancer` and `ServiceNetwork` have none.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("self.type != 'Headless' || (has(self.ports) && size(self.ports) > 0)").message("type Headless needs at least one port: that of the service that the endpoint connects to").field_path(".ports").reason(Reason::FieldValueRequired)
)]
pub struct ServiceSpec {
    /// The Service's name, a DNS label. Without it, the object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::ServiceName>")]
    pub name: Option<String>,

    /// `ExternalName` (the default): a DNS alias (CNAME) of the endpoint's regional name.
    /// `Headless`: a headless Service without a selector, whose EndpointSlices have the private
    /// addresses of the endpoint's network interfaces; for the types `Interface` and `Resource`.
    /// `None`: no Service. It can be changed in place.
    #[serde(rename = "type", default)]
    pub type_: ServiceType,

    /// Ports of the Service. With `Headless` at least one is required, and SRV records and what
    /// reads EndpointSlices go by them; with `ExternalName` they are for documentation only, since
    /// a DNS alias passes every port. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = Rule::new("size(self) < 2 || self.all(p, has(p.name))").message("with more than one port each needs a name"),
        validation = Rule::new("self.all(p, self.exists_one(q, p.port == q.port && p.protocol == q.protocol))").message("each combination of port and protocol must be unique")
    )]
    pub ports: Vec<ServicePort>,

    /// Labels of the Service. Only keys that the operator's settings allow
    /// (`settings.serviceLabels` of the chart; by default none). Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(
        validation = Rule::new("!('app.kubernetes.io/managed-by' in self)").message("the label app.kubernetes.io/managed-by is the operator's"),
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 317 && size(self[k]) <= 63)").message("label keys have 1 to 317 characters, and values at most 63")
    )]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the Service. Only keys that the operator's settings allow
    /// (`settings.serviceAnnotations` of the chart; by default none). Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(
        validation = Rule::new("self.all(k, !k.lowerAscii().startsWith('silvermullet.com/'))").message("annotations that start with \"silvermullet.com/\" are the operator's"),
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 317 && size(self[k]) <= 4096)").message("annotation keys have 1 to 317 characters, and values at most 4096")
    )]
    pub annotations: BTreeMap<String, String>,
}

/// The type of the Service that points to the endpoint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// A DNS alias of the endpoint's regional name.
    #[default]
    ExternalName,
    /// The addresses of the endpoint's network interfaces.
    Headless,
    /// No Service.
    None,
}

/// A port of the Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// The port's name, a DNS label; required if there are several ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::PortName>")]
    pub name: Option<String>,

    /// The port's number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// The transport protocol, `TCP` (the default) or `UDP`.
    #[serde(default)]
    pub protocol: ServiceProtocol,
}

/// The transport protocol of a Service's port.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceProtocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
}

/// The Service as it was published.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedService {
    /// The Service's name.
    pub name: String,
    /// What clients in the cluster connect to: `<name>.<namespace>.svc`.
    pub host: String,
}
