//! What the operator says of a VPCEndpointService.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::endpoint_service::LoadBalancerType;
use super::status::AccountBinding;
use super::watched::lenient;

/// The observed state.
// Shown before the operator has looked: see VPCEndpointStatus.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct VPCEndpointServiceStatus {
    /// The account that the object is bound to. Written before anything is created in AWS, and
    /// immutable once there is an endpoint service.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub account: Option<AccountBinding>,

    /// The region that the object is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub region: Option<String>,

    /// The generation of the spec that `account`, `region` and `load_balancer_arns` were last found
    /// to agree with. Until there is an endpoint service, a later one binds the object again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub bound_generation: Option<i64>,

    /// Counter of the endpoint services that this object has had, one after the other; it increases
    /// only after the previous one is confirmed to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub incarnation: Option<i64>,

    /// The endpoint service's id, `vpce-svc-...`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub service_id: Option<String>,

    /// The name by which endpoints connect to it:
    /// `com.amazonaws.vpce.<region>.vpce-svc-...`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub service_name: Option<String>,

    /// The endpoint service's state as EC2 spells it: `Pending`, `Available`, `Deleting`,
    /// `Deleted`, `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub state: Option<String>,

    /// The availability zones that endpoints can be in, by their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub zone_ids: Vec<String>,

    /// What the DNS names of endpoints end with.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub dns_names: Vec<String>,

    /// The private DNS name, and how its verification stands.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub private_dns: Option<PrivateDnsStatus>,

    /// The type of its load balancers, which AWS fixes when it creates an endpoint service.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub load_balancer_type: Option<LoadBalancerType>,

    /// The load balancers of the endpoint service, or those that it is about to be created with.
    /// Written before it is created, so that one whose creation was not acknowledged is recognized
    /// after an edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub load_balancer_arns: Vec<String>,

    /// The AWS accounts of `consumers` whose connections were, or are about to be, accepted. The
    /// connections of one that the spec no longer names are rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub consumer_account_ids: Vec<String>,

    /// The keys of the tags that the operator set for the user; only these are removed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub tag_keys: Vec<String>,

    /// The endpoints that are connected, or want to be.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub connections: Option<ConnectionsStatus>,

    /// The generation of the spec that this status describes.
    #[serde(
        rename = "observedGeneration",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub observed_generation: Option<i64>,

    /// `Ready` sums up `AccountResolved`, `LoadBalancerReady`, `ServiceAvailable` and, where a
    /// private DNS name is asked for, `PrivateDNSVerified`, and stays true while changes are only
    /// paused; `Stalled` is true only while an edit is needed to make progress.
    /// docs/troubleshooting.md has every reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The private DNS name of an endpoint service, and the record that verifies its domain.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateDnsStatus {
    /// The name.
    pub name: String,
    /// The state of its verification as EC2 spells it: `pendingVerification`, `verified`, `failed`.
    pub state: String,
    /// The type of the record: `TXT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
    /// The name of the record, in the public DNS zone of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_name: Option<String>,
    /// The value of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_value: Option<String>,
}

/// The connections of an endpoint service: how many are in each state, and the first 20.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionsStatus {
    /// Number of those that carry traffic.
    pub available: i64,
    /// Number of those that wait to be accepted.
    pub pending_acceptance: i64,
    /// Number of those that AWS is making.
    pub pending: i64,
    /// Number of those that were rejected.
    pub rejected: i64,
    /// Number of those in another state.
    pub other: i64,
    /// The first 20: those that wait for acceptance first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<ConnectionStatus>,
}

/// A connection of an endpoint service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// The endpoint's id, `vpce-...`, in the account of its owner.
    pub vpc_endpoint_id: String,
    /// The AWS account of the endpoint, by its id.
    pub owner: String,
    /// The state as EC2 spells it: `pendingAcceptance`, `pending`, `available`, `rejected`,
    /// `failed`, `expired`, `deleting`.
    pub state: String,
}
