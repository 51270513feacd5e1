//! VPCEndpointService: an endpoint service that a namespace's AWS account offers to others.
#![allow(clippy::duplicated_attributes)] // Every printcolumn has a type_; the lint takes them for one attribute.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeletionPolicy;
use super::endpoint_service_status::VPCEndpointServiceStatus;
use super::forms;

/// Which load balancers are offered as an endpoint service, and to whom.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "silvermullet.com",
    version = "v1beta1",
    kind = "VPCEndpointService",
    plural = "vpcendpointservices",
    shortname = "vpcesvc",
    namespaced,
    status = "VPCEndpointServiceStatus",
    derive = "PartialEq",
    doc = "An endpoint service in the AWS account of its namespace: load balancers that endpoints of other accounts can connect to.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "The state of the endpoint service in AWS"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Service", type_ = "string", json_path = ".status.service_name", description = "What endpoints name to connect to it"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.connections.pending_acceptance", description = "Connections that wait for acceptance"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.account.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Region", type_ = "string", priority = 1, json_path = ".status.region"),
    // Ready stands first among the conditions: its message, where it is false.
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.status=="False")].message"#, description = "What stands in the way"),
    selectable = ".status.account.name",
    selectable = ".status.state"
)]
pub struct VPCEndpointServiceSpec {
    /// The name of the AWSAccount to use; required only if several map this namespace. Default: the
    /// only one that does. Until there is an endpoint service (`status.service_id`) it can be
    /// edited; after that it is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub account: Option<String>,

    /// The AWS region, such as `eu-west-1`. Without it, the AWSAccount's `default_region`. Until
    /// there is an endpoint service (`status.service_id`) it can be edited; after that it is
    /// immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Region>")]
    pub region: Option<String>,

    /// The load balancers that are offered.
    pub load_balancer: LoadBalancer,

    /// Whether a connection waits until it is accepted (default: true). With false every endpoint
    /// whose principal is allowed is connected at once.
    #[serde(default = "yes")]
    pub acceptance_required: bool,

    /// The principals that can find the service and connect to it, by their ARNs: the root of an
    /// AWS account, a role or a user, without a path. `*` allows everyone, and needs
    /// `allow_any_principal` of the AWSAccount. The accounts of `consumers` are allowed in
    /// addition. Default: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<forms::Principal>", length(max = 500))]
    pub allowed_principals: BTreeSet<String>,

    /// Who may connect, and is accepted automatically. Connections of others wait to be accepted by
    /// hand. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,

    /// The families of addresses that endpoints may have. `ipv6` needs load balancers that are
    /// `dualstack`. Default: `ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub supported_ip_address_types: Option<BTreeSet<AddressType>>,

    /// A DNS name, or a wildcard, by which clients in VPCs of consumers reach the service, where
    /// these turn on private DNS. AWS verifies that its domain is yours by a TXT record, which
    /// `status.private_dns` has. Not with Gateway Load Balancers. The AWSAccount must allow it
    /// (`allowed_dns_names`). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::DnsName>")]
    pub private_dns_name: Option<String>,

    /// Tags for the endpoint service. A tag `Name` here wins over the operator's, which is
    /// `<name>-<namespace>`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.lowerAscii().startsWith('aws:') && !k.lowerAscii().startsWith('silvermullet.com/'))")
            .message("tag keys have 1 to 128 characters and start neither with \"aws:\" nor with \"silvermullet.com/\", which are reserved"),
        validation = Rule::new("self.all(k, size(self[k]) <= 256)").message("tag values have at most 256 characters")
    )]
    pub tags: BTreeMap<String, String>,

    /// Wins over the AWSAccount's `default_deletion_policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// What happens when this object is deleted while endpoints are connected. `Wait` (the
    /// default): the endpoint service stays until none is, and the condition counts them.
    /// `Reject`: their connections are rejected, and it is deleted.
    #[serde(default, skip_serializing_if = "ConnectionsOnDelete::is_default")]
    pub on_delete: ConnectionsOnDelete,
}

/// The load balancers that are offered: exactly one of these fields. Once there is an endpoint
/// service (`status.service_id`) they can be edited, but their type stays. What is added is added
/// first; what is taken away is removed once AWS allows it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.service), has(self.network_load_balancer_arns), has(self.gateway_load_balancer_arns)].filter(given, given).size() == 1").message("exactly one of service, network_load_balancer_arns and gateway_load_balancer_arns: a service has load balancers of one type")
)]
pub struct LoadBalancer {
    /// A Service of type LoadBalancer in the same namespace, whose Network Load Balancer is
    /// offered. The AWS Load Balancer Controller, EKS Auto Mode or the in-tree cloud provider has
    /// to have created it, whose tags prove that it is this Service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,

    /// The ARNs of Network Load Balancers, in the account and region of the service, within
    /// `allowed_load_balancer_arns` of the AWSAccount.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Option<Vec<forms::NetworkLoadBalancerArn>>", length(min = 1, max = 20))]
    pub network_load_balancer_arns: BTreeSet<String>,

    /// The ARNs of Gateway Load Balancers, likewise.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Option<Vec<forms::GatewayLoadBalancerArn>>", length(min = 1, max = 20))]
    pub gateway_load_balancer_arns: BTreeSet<String>,
}

/// A Service in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReference {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The type of the load balancers of an endpoint service, which AWS fixes when it creates one:
/// `Network`, for endpoints of type `Interface`, or `Gateway`, for endpoints of type
/// `GatewayLoadBalancer`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LoadBalancerType {
    /// Network Load Balancers, for endpoints of type `Interface`.
    Network,
    /// Gateway Load Balancers, for endpoints of type `GatewayLoadBalancer`.
    Gateway,
}

impl LoadBalancerType {
    /// As ARNs spell it.
    pub fn in_arn(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Gateway => "gwy",
        }
    }

    /// The field of the spec that names such load balancers.
    pub fn field(self) -> &'static str {
        match self {
            Self::Network => "network_load_balancer_arns",
            Self::Gateway => "gateway_load_balancer_arns",
        }
    }
}

impl std::fmt::Display for LoadBalancerType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Who may connect, and is accepted automatically. VPCEndpoints in the object's own namespace
/// always are, where they name it (`vpc_endpoint_service_ref`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Consumers {
    /// AWS accounts, by their ids: all principals of them may connect, and their connections are
    /// accepted. The connections of one that is taken away are rejected. Default: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<forms::AccountId>", length(max = 500))]
    pub account_ids: BTreeSet<String>,

    /// Namespaces of this cluster, by name, whose VPCEndpoints may name this object
    /// (`vpc_endpoint_service_ref`): their AWS accounts may connect, and of these accounts their
    /// endpoints are accepted and no others. The connections of one that is taken away are
    /// rejected. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::Namespace>", length(max = 1024))]
    pub namespaces: Vec<String>,

    /// The namespaces, by their labels, in addition to `namespaces`. Absent or empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// A family of addresses that endpoints of a service may have.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum AddressType {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Reads what EC2 says.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}

impl std::fmt::Display for AddressType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens when a VPCEndpointService is deleted while endpoints are connected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionsOnDelete {
    /// It stays until no endpoint is connected.
    #[default]
    Wait,
    /// The connections are rejected.
    Reject,
}

impl ConnectionsOnDelete {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn yes() -> bool {
    true
}
