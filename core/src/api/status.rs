//! What the operator says of a VPCEndpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::EndpointType;
use super::network::NetworkStatus;
use super::service::PublishedService;
use super::watched::lenient;
use crate::ids::{EndpointId, GroupId};

/// The observed state.
// Before the operator has looked, the API server shows a generation that is never reached: an
// object without a status would pass for one that is as it should be, by the rules of kstatus.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct VPCEndpointStatus {
    /// The account that the object is bound to. Written before anything is created in AWS, and
    /// immutable once there is an endpoint. An object that shares another's endpoint
    /// (`vpc_endpoint_ref`) is bound to none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub account: Option<AccountBinding>,

    /// The region that the object is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub region: Option<String>,

    /// The network that the object is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub network: Option<NetworkStatus>,

    /// The type of the endpoint that the object is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub vpc_endpoint_type: Option<EndpointType>,

    /// What the object is bound to: the full name of the service, or the ARN of the resource
    /// configuration or of the service network.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub vpc_endpoint_service_id: Option<String>,

    /// The region of the service, where it is another than `region`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub service_region: Option<String>,

    /// The generation of the spec that `account`, `region`, `network` and `vpc_endpoint_service_id`
    /// were last found to agree with. Until there is an endpoint, a later one binds the object
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub bound_generation: Option<i64>,

    /// Counter of the endpoints that this object has had, one after the other; it increases only
    /// after the previous one is confirmed to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub incarnation: Option<i64>,

    /// The endpoint's id, `vpce-...`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub vpc_endpoint_id: Option<String>,

    /// The endpoint's state as EC2 spells it: `pendingAcceptance`, `pending`, `available`,
    /// `deleting`, `rejected`, `failed`, `expired`, `partial`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub state: Option<String>,

    /// The endpoint's regional DNS name, which the Service points to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub dns_name: Option<String>,

    /// All of the endpoint's DNS names: the regional one, those of single zones, and private ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub dns_entries: Vec<String>,

    /// The endpoint's network interfaces, `eni-...`, one for each subnet.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub network_interface_ids: Vec<String>,

    /// The private addresses of the endpoint's network interfaces, where a Service asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub addresses: Vec<EndpointAddress>,

    /// The endpoint's DNS names for single availability zones, by the zone's id, where `dns_names`
    /// ask for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient")]
    pub zonal_dns_names: BTreeMap<String, String>,

    /// The names of `dns_names` that are published.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub dns_names: Vec<String>,

    /// The generated or custom security group, `sg-...`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub security_group_id: Option<String>,

    /// Whether the endpoint has, or may have been created with, groups of `security_group_ids`.
    /// Written before it is created, so that one whose creation was not acknowledged is recognized
    /// after an edit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "lenient")]
    pub provided_security_groups: bool,

    /// Whether the endpoint existed before and is adopted or observed: what the spec never said of
    /// it is left as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "lenient")]
    pub adopted: bool,

    /// The route tables that the operator added, or is about to add; only these are removed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub route_table_ids: Vec<String>,

    /// The addresses of network interfaces that AWS last accepted, or that the endpoint is about to
    /// be created with. Only others are sent, since AWS replaces the network interface then.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub subnet_configurations: Vec<AcceptedAddresses>,

    /// The id of the prefix list of the service, `pl-...`, which rules of security groups and
    /// routes can name. Only of endpoints of type `Gateway`, where the role may read it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub prefix_list_id: Option<String>,

    /// The optional fields of the spec that were applied to the endpoint, or are about to be. One
    /// that is taken away returns to its default; one that was never given is left as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub applied_fields: Vec<String>,

    /// The keys of the tags that the operator set for the user; only these are removed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub tag_keys: Vec<String>,

    /// The Service that points to the endpoint, once it is published.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub service: Option<PublishedService>,

    /// The ConfigMap that says what the endpoint has, once it is published.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub config_map: Option<String>,

    /// The generation of the spec that this status describes.
    #[serde(
        rename = "observedGeneration",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub observed_generation: Option<i64>,

    /// `Ready` sums up `AccountResolved`, `EndpointAvailable`, `ServicePublished`, `NamesPublished`
    /// and `ConfigMapPublished`, and stays true while changes are only paused; `Stalled` is true
    /// only while an edit is needed to make progress. docs/troubleshooting.md has every reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Written by the Python operator; read, never written.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub create_fn: Option<LegacyStatus>,
}

/// What the Python operator left in a status: an object of any shape.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct LegacyStatus(pub serde_json::Value);

impl LegacyStatus {
    /// The endpoint that the Python operator created.
    pub fn endpoint(&self) -> Option<EndpointId> {
        self.id("vpce_aws_resource_id", "vpce-").map(Into::into)
    }

    /// The security group that the Python operator created.
    pub fn group(&self) -> Option<GroupId> {
        self.id("vpce_security_group", "sg-").map(Into::into)
    }

    fn id(&self, field: &str, prefix: &str) -> Option<&str> {
        self.0.get(field)?.as_str().filter(|id| id.starts_with(prefix))
    }
}

impl JsonSchema for LegacyStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LegacyStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// A private address of a network interface.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointAddress {
    /// The address, of IPv4 or of IPv6.
    pub address: String,
    /// The availability zone of the network interface, by its name in the endpoint's AWS account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// The addresses of the network interface in a subnet, as AWS accepted them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedAddresses {
    /// The subnet.
    pub subnet_id: String,
    /// The IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    /// The IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
}

/// The account that an object is bound to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountBinding {
    /// The AWSAccount's name.
    pub name: String,
    /// The AWS account's id.
    pub account_id: String,
}
