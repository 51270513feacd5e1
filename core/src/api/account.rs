//! AWSAccount: maps namespaces to an IAM role.
#![allow(clippy::duplicated_attributes)] // Every printcolumn has a type_; the lint takes them for one attribute.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::watched::lenient;

/// Which namespaces may create VPC endpoints in an AWS account, through which IAM role.
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
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role_arn"),
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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("!has(oldSelf.role_arn) || (has(self.role_arn) && self.role_arn.startsWith(oldSelf.role_arn.find('^arn:[^:]+:iam::[0-9]{12}:')))")
        .message("the partition and the account of role_arn cannot change: what was made there belongs to that account; register the other account as an AWSAccount of its own")
        .field_path(".role_arn")
)]
pub struct AWSAccountSpec {
    /// The IAM role that the operator assumes in the account: `arn:<partition>:iam::<account id>:role/<name>`.
    /// Another role of the same account may be named later; partition and account are fixed.
    #[schemars(
        length(max = 600),
        regex(
            pattern = r"^arn:(aws|aws-cn|aws-us-gov|aws-iso|aws-iso-b|aws-iso-e|aws-iso-f|aws-eusc):iam::[0-9]{12}:role/([\w+=,.@-]+/)*[\w+=,.@-]+$"
        )
    )]
    pub role_arn: String,

    /// Sent with AssumeRole, for a trust policy with the condition `sts:ExternalId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,

    /// How long a session of the role lasts, in seconds. Sessions are renewed before they expire.
    /// STS caps sessions that were made from another role's session (IRSA and EKS Pod Identity always are) at 3600.
    #[serde(default = "default_session_duration")]
    #[schemars(range(min = 900, max = 43200))]
    pub session_duration_seconds: i32,

    /// The namespaces, by name, that may use the account. A namespace that neither this list nor the selector names may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4096),
        inner(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub namespaces: Vec<String>,

    /// The namespaces, by their labels, that may use the account. An empty selector selects none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// The region of endpoints that name none. Does not move endpoints that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^[a-z]{2,4}(-[a-z]+)+-[0-9]+$"))]
    pub default_region: Option<String>,

    /// Tags for every endpoint and security group made in the account; an endpoint's own `tags` win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.startsWith('aws:') && !k.startsWith('silvermullet.com/'))")
            .message("tag keys have 1 to 128 characters and start neither with \"aws:\" nor with \"silvermullet.com/\", which are reserved"),
        validation = Rule::new("self.all(k, size(self[k]) <= 256)").message("tag values have at most 256 characters")
    )]
    pub default_tags: BTreeMap<String, String>,
}

/// STS's own default for AssumeRole, in seconds.
fn default_session_duration() -> i32 {
    3600
}

/// What the operator found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct AWSAccountStatus {
    /// The account that GetCallerIdentity named in a session of the role.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub account_id: Option<String>,

    /// How many VPCEndpoints are bound to this account.
    #[serde(default, deserialize_with = "lenient")]
    pub endpoints: Option<i64>,

    /// The generation of the spec that this status speaks of.
    #[serde(
        rename = "observedGeneration",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub observed_generation: Option<i64>,

    /// `Ready`; `MutationsHeld` while a mass change waits for a person; `Stalled` while only an edit can help.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
