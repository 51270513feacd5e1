//! Networks: places for endpoints that the platform team names, so that app teams need to know
//! neither VPCs nor subnets.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::forms;

/// A place for endpoints: a VPC, and those of its subnets that endpoints may be put into.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.vpc_id) != has(self.vpc_tags)").message("a network has its VPC by vpc_id or by vpc_tags: give exactly one"),
    validation = Rule::new("!has(self.subnet_ids) || !has(self.subnet_tags)").message("a network has its subnets by subnet_ids or by subnet_tags, not by both; without either, all subnets of the VPC").field_path(".subnet_tags").reason(Reason::FieldValueForbidden)
)]
pub struct Network {
    /// The name by which endpoints choose it (`spec.network`), a DNS label.
    #[schemars(with = "forms::NetworkName")]
    pub name: String,

    /// The region of the VPC.
    #[schemars(with = "forms::Region")]
    pub region: String,

    /// The VPC, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::VpcId>")]
    pub vpc_id: Option<String>,

    /// The VPC, by tags that it has: exactly one VPC of the region must have them all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 10))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && size(self[k]) <= 256)").message("tag keys have 1 to 128 characters, and values at most 256")
    )]
    pub vpc_tags: BTreeMap<String, String>,

    /// Subnets of the VPC, by id. Of each availability zone, the one with the most free addresses
    /// is chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::SubnetId>", length(min = 1, max = 64))]
    pub subnet_ids: Vec<String>,

    /// Subnets of the VPC, by tags that they have. Without `subnet_ids` and `subnet_tags`: all of
    /// the VPC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 10))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && size(self[k]) <= 256)").message("tag keys have 1 to 128 characters, and values at most 256")
    )]
    pub subnet_tags: BTreeMap<String, String>,

    /// Only subnets in these availability zones, by zone id (`use1-az1`), which is the same in
    /// every AWS account. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::ZoneId>", length(min = 1, max = 16))]
    pub zone_ids: Vec<String>,
}

/// What a network of an AWSAccount consists of.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountNetworkStatus {
    /// The network's name.
    pub name: String,

    /// The VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,

    /// The subnets that endpoints may be put into; the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<NetworkSubnet>,

    /// What is wrong: endpoints cannot be put into the network until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A subnet of a network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSubnet {
    /// The subnet.
    pub subnet_id: String,
    /// The id of its availability zone.
    pub zone_id: String,
    /// How many IPv4 addresses are free; above 32, changes by less than a quarter are not shown.
    pub available_ip_address_count: i32,
}

/// The network that an object is bound to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkStatus {
    /// The AWSAccount's network that VPC and subnets were chosen from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The VPC.
    pub vpc_id: String,
    /// The subnets: as the spec says, or as they were chosen; they may change.
    #[serde(default)]
    pub subnet_ids: Vec<String>,
    /// The ids of the availability zones of chosen subnets, by subnet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zone_ids: BTreeMap<String, String>,
    /// A hash of the network in the AWSAccount when the subnets were chosen: an edit there chooses
    /// again, and nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_hash: Option<String>,
}
