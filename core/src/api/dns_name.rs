//! The DNS names that clients use for an endpoint.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::forms;

/// A DNS name that leads to the endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DnsName {
    /// The name, such as `db.example.com`, or `*.example.com` for all names below it.
    #[schemars(with = "forms::DnsName")]
    pub name: String,

    /// The id of an availability zone (`use1-az1`): the name then leads to the endpoint's network
    /// interface in that zone. Default: to all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::ZoneId>")]
    pub zone_id: Option<String>,

    /// How long resolvers may cache the record, in seconds. Default: as external-dns decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub ttl: Option<i64>,
}
