//! A rule of a security group, as people write it.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::forms;

/// One rule of a security group. Each of its sources (or destinations) becomes a rule in
/// EC2.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.from_port) == has(self.to_port)").message("from_port and to_port go together; both absent: all ports"),
    validation = Rule::new("!has(self.from_port) || !has(self.to_port) || self.from_port <= self.to_port || !has(self.protocol) || (type(self.protocol) == int ? self.protocol in [1, 58] : self.protocol in ['icmp', 'icmpv6', '1', '58'])").message("from_port must not be greater than to_port"),
    validation = Rule::new("!has(self.protocol) || (type(self.protocol) == int ? (self.protocol >= -1 && self.protocol <= 255) : self.protocol.matches('^(tcp|udp|icmp|icmpv6|-1|[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$'))").message("protocol is tcp, udp, icmp, icmpv6, a protocol number from 0 to 255, or -1 for all").field_path(".protocol"),
    validation = Rule::new("self.cidr_blocks.all(c, isCIDR(c) && cidr(c).ip().family() == 4)").message("each of cidr_blocks is an IPv4 CIDR block such as 10.0.0.0/16").field_path(".cidr_blocks"),
    validation = Rule::new("self.ipv6_cidr_blocks.all(c, isCIDR(c) && cidr(c).ip().family() == 6)").message("each of ipv6_cidr_blocks is an IPv6 CIDR block such as 2001:db8::/32").field_path(".ipv6_cidr_blocks"),
    validation = Rule::new("size(self.cidr_blocks) + size(self.ipv6_cidr_blocks) + size(self.prefix_list_ids) + size(self.security_group_ids) > 0 || (has(self.vpc_cidr_blocks) && self.vpc_cidr_blocks)").message("a rule names at least one of cidr_blocks, ipv6_cidr_blocks, prefix_list_ids, security_group_ids, or sets vpc_cidr_blocks: true")
)]
pub struct CustomRule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a protocol number from 0 to 255, or `-1` for all; as a
    /// string or as a number.
    #[schemars(extend("maxLength" = 8))]
    pub protocol: IntOrString,

    /// The first port (for ICMP the type; -1 is any). `from_port` and `to_port` go together; both
    /// absent: all ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 65535))]
    pub from_port: Option<i32>,

    /// The last port (for ICMP the code; -1 is any). `from_port` and `to_port` go together; both
    /// absent: all ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 65535))]
    pub to_port: Option<i32>,

    /// Sources (or destinations) as IPv4 CIDR blocks, such as `10.0.0.0/16`.
    #[serde(default)]
    #[schemars(length(max = 60), inner(length(max = 18)))]
    pub cidr_blocks: Vec<String>,

    /// Sources (or destinations) as IPv6 CIDR blocks, such as `2001:db8::/32`.
    #[serde(default)]
    #[schemars(length(max = 60), inner(length(max = 43)))]
    pub ipv6_cidr_blocks: Vec<String>,

    /// Sources (or destinations) as prefix lists of EC2, `pl-...`.
    #[serde(default)]
    #[schemars(with = "Vec<forms::PrefixListId>", length(max = 60))]
    pub prefix_list_ids: Vec<String>,

    /// Sources (or destinations) as security groups, `sg-...`.
    #[serde(default)]
    #[schemars(with = "Vec<forms::GroupId>", length(max = 60))]
    pub security_group_ids: Vec<String>,

    /// Whether the VPC's own IPv4 and IPv6 CIDR blocks, whatever they are, are sources (or
    /// destinations) too. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vpc_cidr_blocks: bool,

    /// Shown in EC2 beside the rule. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::RuleDescription>")]
    pub description: Option<String>,
}
