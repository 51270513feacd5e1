//! AWSAccount: maps namespaces to an IAM role.
#![allow(clippy::duplicated_attributes)] // Every printcolumn has a type_; the lint takes them for one attribute.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::forms;
use super::network::{AccountNetworkStatus, Network};
use super::rule::CustomRule;
use super::watched::lenient;
use super::{DeletionPolicy, EndpointType, PolicyDocument};

/// Which namespaces may create VPC endpoints in an AWS account, through which IAM role, and within
/// which guardrails.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "silvermullet.com",
    version = "v1beta1",
    kind = "AWSAccount",
    plural = "awsaccounts",
    shortname = "awsacct",
    status = "AWSAccountStatus",
    derive = "PartialEq",
    doc = "An AWS account that VPC endpoints can be created in: which namespaces may, through which IAM role.",
    printcolumn(
        name = "Account",
        type_ = "string",
        json_path = ".status.account_id",
        description = "The account that AWS confirmed"
    ),
    printcolumn(
        name = "Endpoints",
        type_ = "integer",
        json_path = ".status.endpoints",
        description = "How many VPCEndpoints are bound to it"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Role", type_ = "string", priority = 1, json_path = ".spec.role_arn"),
    // Ready stands first among the conditions: its message, where it is false.
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.status=="False")].message"#,
        description = "What stands in the way"
    )
)]
#[x_kube(
    validation = Rule::new("!has(oldSelf.role_arn) || (has(self.role_arn) && self.role_arn.startsWith(oldSelf.role_arn.find('^arn:[^:]+:iam::[0-9]{12}:')))")
        .message("the partition and the account of role_arn cannot change: what was made there belongs to that account; register the other account as an AWSAccount of its own")
        .field_path(".role_arn"),
    validation = Rule::new("!has(self.default_deletion_policy) || self.default_deletion_policy != 'Retain' || (has(self.allow_retain) && self.allow_retain)")
        .message("default_deletion_policy Retain needs allow_retain: true")
        .field_path(".default_deletion_policy"),
    validation = Rule::new("!has(self.default_network) || (has(self.networks) && self.networks.exists(n, has(n.name) && n.name == self.default_network))")
        .message("default_network is the name of one of networks")
        .field_path(".default_network")
)]
pub struct AWSAccountSpec {
    /// The IAM role that the operator assumes in the account: `arn:<partition>:iam::<account
    /// id>:role/<name>`. Another role of the same account may be named later; partition and account
    /// are fixed.
    #[schemars(with = "forms::RoleArn")]
    pub role_arn: String,

    /// Sent with AssumeRole, for a trust policy with the condition `sts:ExternalId`. Default: none.
    /// Agree on a different value with the owner of each account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::ExternalId>")]
    pub external_id: Option<String>,

    /// Duration of a session of the role, in seconds (default: 3600). Sessions are renewed before
    /// they expire. The role's own maximum must allow it. STS limits sessions that are assumed from
    /// another role's session (with IRSA and EKS Pod Identity, all are) to 3600; the condition
    /// `Ready` then says so.
    #[serde(default = "default_session_duration")]
    #[schemars(range(min = 900, max = 43200))]
    pub session_duration_seconds: i32,

    /// The namespaces, by name, that may use the account. A namespace that neither this list nor
    /// the selector names may not. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::Namespace>", length(max = 4096))]
    pub namespaces: Vec<String>,

    /// The namespaces, by their labels, that may use the account, in addition to `namespaces`.
    /// Absent or empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// The region of objects without `region`, such as `eu-west-1`. Without it, they must set
    /// `region`. An edit does not move what exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Region>")]
    pub default_region: Option<String>,

    /// Networks that endpoints can be put into by name, without naming VPC and subnets. An edit is
    /// carried out for the endpoints that are there, within AWS's rate limits; a tag that changes
    /// in AWS moves none. Default: none, so that endpoints name VPC and subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub networks: Vec<Network>,

    /// The network of endpoints that name neither `network` nor `vpc_id`. Absent: the only one,
    /// where there is only one. An edit does not move existing endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::NetworkName>")]
    pub default_network: Option<String>,

    /// Who may connect to endpoints with `security_group_type: generated`: the ingress rules of
    /// their security groups. Absent: everything from private networks (`10.0.0.0/8`,
    /// `172.16.0.0/12`, `192.168.0.0/16`); an empty list: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60))]
    pub generated_ingress: Option<Vec<CustomRule>>,

    /// Tags for everything that is created in the account: endpoints, security groups, endpoint
    /// services. An object's own `tags` win. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.lowerAscii().startsWith('aws:') && !k.lowerAscii().startsWith('silvermullet.com/'))")
            .message("tag keys have 1 to 128 characters and start neither with \"aws:\" nor with \"silvermullet.com/\", which are reserved"),
        validation = Rule::new("self.all(k, size(self[k]) <= 256)").message("tag values have at most 256 characters")
    )]
    pub default_tags: BTreeMap<String, String>,

    /// Tags for everything that is created in the account, which win over an object's own `tags`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.lowerAscii().startsWith('aws:') && !k.lowerAscii().startsWith('silvermullet.com/'))")
            .message("tag keys have 1 to 128 characters and start neither with \"aws:\" nor with \"silvermullet.com/\", which are reserved"),
        validation = Rule::new("self.all(k, size(self[k]) <= 256)").message("tag values have at most 256 characters")
    )]
    pub required_tags: BTreeMap<String, String>,

    /// Keys of labels of the namespace that become tags; they win over an object's own `tags`,
    /// and `required_tags` win over them. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 128)))]
    #[x_kube(
        validation = Rule::new("self.all(k, !k.lowerAscii().startsWith('aws:') && !k.lowerAscii().startsWith('silvermullet.com/'))")
            .message("keys that start with \"aws:\" or \"silvermullet.com/\" are reserved")
    )]
    pub tags_from_namespace_labels: Vec<String>,

    /// Tags of the session, passed to STS with AssumeRole, for policies that check them; resources
    /// do not get them. The base role and the role's trust policy must allow `sts:TagSession`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.lowerAscii().startsWith('aws:'))")
            .message("session tag keys have 1 to 128 characters and do not start with \"aws:\", which is reserved"),
        validation = Rule::new("self.all(k, size(self[k]) <= 256)").message("session tag values have at most 256 characters")
    )]
    pub session_tags: BTreeMap<String, String>,

    /// Regions that endpoints and endpoint services may be in. Absent: all; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::Region>>", length(max = 64))]
    pub allowed_regions: Option<Vec<String>>,

    /// VPCs that endpoints may be in. Absent: all; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::VpcId>>", length(max = 1000))]
    pub allowed_vpc_ids: Option<Vec<String>>,

    /// Subnets that endpoints may use. Absent: all; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::SubnetId>>", length(max = 1000))]
    pub allowed_subnet_ids: Option<Vec<String>>,

    /// Types of endpoints that are allowed, as EC2 spells them: `Interface`, `Gateway`,
    /// `GatewayLoadBalancer`, `Resource`, `ServiceNetwork`. Absent: all; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub allowed_vpc_endpoint_types: Option<Vec<EndpointType>>,

    /// Route tables that endpoints of type `Gateway` may add routes to. Absent: all; an empty list:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::RouteTableId>>", length(max = 1000))]
    pub allowed_route_table_ids: Option<Vec<String>>,

    /// Resource configurations and service networks of VPC Lattice that endpoints of the types
    /// `Resource` and `ServiceNetwork` may connect to, by patterns for their ARNs, in which `*`
    /// matches any number of characters and `?` matches one; case-sensitive. IAM cannot tell them
    /// apart. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::ArnPattern>", length(max = 1000))]
    pub allowed_resource_arns: Vec<String>,

    /// DNS names that may be published for endpoints (`dns_names`), by patterns in which `*`
    /// matches any number of characters and `?` matches one. Only a pattern that begins with `*`
    /// allows wildcards. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::DnsNamePattern>", length(max = 256))]
    pub allowed_dns_names: Vec<String>,

    /// Security groups that endpoints may use: as `provided`, and as sources and destinations of
    /// rules. Absent: all; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::GroupId>>", length(max = 1000))]
    pub allowed_security_group_ids: Option<Vec<String>>,

    /// Services that endpoints may connect to, by patterns for their full names, in which `*`
    /// matches any number of characters and `?` matches one; case-sensitive. Absent: all; an empty
    /// list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::ServicePattern>>", length(max = 1000))]
    pub allowed_services: Option<Vec<String>>,

    /// Regions of services that endpoints may connect to across regions (`service_region`).
    /// Services in the endpoint's own region need no entry. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::Region>", length(max = 64))]
    pub allowed_service_regions: Vec<String>,

    /// The endpoint policy of endpoints without `policy_document`, as an object or as a string of
    /// JSON. It applies to endpoints of the types `Interface` and `Gateway` for services of AWS:
    /// services that AWS accounts offer take no policy. Endpoints that were adopted keep theirs.
    /// Default: none, so that AWS's own applies, which allows everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_document: Option<PolicyDocument>,

    /// Whether every endpoint that can have an endpoint policy (the types `Interface` and
    /// `Gateway`, for services of AWS) needs one: its own `policy_document`, or that of the
    /// AWSAccount. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_policy: bool,

    /// Keys of tags that objects may set with `tags`, by patterns in which `*` matches any number
    /// of characters and `?` matches one; case-sensitive. Keys on which other controllers act (with
    /// `kubernetes.io/`, `k8s.io/`, `k8s.aws/` or `karpenter.sh/`, and `eks:`) need a pattern that
    /// begins with such a prefix. Absent: all but these; an empty list: none. Keys that start with
    /// `silvermullet.com/` or `aws:`, and keys that differ from a required tag by case only, are
    /// never allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    pub allowed_tag_keys: Option<Vec<String>>,

    /// Whether endpoints may turn on private DNS (`private_dns_enabled`), which redirects all calls
    /// to the service in the VPC to the endpoint. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private_dns: bool,

    /// Whether an object that is deleted may retain its endpoint or endpoint service in AWS
    /// (`deletion_policy: Retain`), where it keeps serving and costing. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_retain: bool,

    /// Whether VPCEndpointServices may offer load balancers of the account to others. Default:
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_endpoint_services: bool,

    /// Load balancers that VPCEndpointServices may offer, by patterns for their ARNs, in which `*`
    /// matches any number of characters and `?` matches one; case-sensitive. IAM cannot tell them
    /// apart: a role that may create endpoint services may offer any load balancer of its account.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    pub allowed_load_balancer_arns: Vec<String>,

    /// Whether VPCEndpointServices may let everyone in (`*` of `allowed_principals`). Default:
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_any_principal: bool,

    /// Maximum number of endpoints that are bound to this AWSAccount. Bound endpoints stay bound;
    /// of the others the oldest come first, and the rest wait with the reason `AccountFull`.
    /// Endpoints in the AWS account that were retained, or are orphans, count too. Absent: no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_endpoints: Option<i32>,

    /// Deletion policy of objects without `deletion_policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_deletion_policy: Option<DeletionPolicy>,

    /// While true, endpoints and security groups that the Python operator created for VPCEndpoints
    /// of these namespaces are claimed, after checks, without a change to traffic. Take it away
    /// when the migration is finished. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt_legacy: bool,

    /// While true, nothing is changed in AWS: reads continue, edits and deletions wait with the
    /// reason `AccountSuspended`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,

    /// The AWS account is closed: no calls are made there any more. The finalizers of deleted
    /// objects are removed without calling AWS, with an event that names what is abandoned.
    /// Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decommissioned: bool,
}

impl DeletionPolicy {
    /// The one that holds for a VPCEndpoint that says this, in an account.
    pub fn of(given: Option<Self>, account: &AWSAccountSpec) -> Self {
        given.or(account.default_deletion_policy).unwrap_or(Self::Delete)
    }
}

/// STS's own default for AssumeRole, in seconds.
fn default_session_duration() -> i32 {
    3600
}

/// The observed state.
// Shown before the operator has looked: see VPCEndpointStatus.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct AWSAccountStatus {
    /// The AWS account's id, as GetCallerIdentity returned it in a session of the role.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub account_id: Option<String>,

    /// Number of VPCEndpoints that are bound to this AWSAccount.
    #[serde(default, deserialize_with = "lenient")]
    pub endpoints: Option<i64>,

    /// Number of VPCEndpointServices that are bound to this AWSAccount.
    #[serde(default, deserialize_with = "lenient")]
    pub endpoint_services: Option<i64>,

    /// What each of `spec.networks` consists of, as it was last read; or what is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub networks: Vec<AccountNetworkStatus>,

    /// What carries this cluster's tag in the AWS account and belongs to no object.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub orphans: Option<OrphansStatus>,

    /// The generation of the spec that this status describes.
    #[serde(
        rename = "observedGeneration",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub observed_generation: Option<i64>,

    /// `Ready`: whether the role can be assumed; `PermissionsVerified`: whether EC2 allows the role
    /// what endpoints need; `CreationPaused`: True while creation is paused after a mass deletion;
    /// `Stalled`: True while an edit is needed to make progress.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// AWS resources that carry this cluster's tag and belong to no object. They are deleted only on
/// request: `vpce-operator orphans` lists them, and deletes them with `--delete`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphansStatus {
    /// Number of orphaned endpoints and security groups.
    pub count: i64,
    /// The ids of the first 20.
    #[serde(default)]
    pub ids: Vec<String>,
}
