//! Security group rules in the one form that EC2 gives them back in, so that they can be compared.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};

use crate::api::CustomRule;
use crate::ids::GroupId;

/// Which way the traffic of a rule goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

/// The other end of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// Addresses, with no host bits set.
    Cidr(IpNet),
    /// A prefix list: `pl-...`.
    PrefixList(String),
    /// The members of another group.
    Group(GroupId),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Cidr(net) => net.fmt(f),
            Peer::PrefixList(id) => f.write_str(id),
            Peer::Group(id) => id.fmt(f),
        }
    }
}

/// One rule: one protocol, one range of ports, one peer. The description is not part of its
/// identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1`.
    pub protocol: String,
    /// First and last port (ICMP: type and code); none where the protocol has none.
    pub ports: Option<(i32, i32)>,
    /// The other end.
    pub peer: Peer,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol.as_str(), self.ports) {
            ("-1", _) => f.write_str("all")?,
            (protocol, None) => f.write_str(protocol)?,
            (protocol, Some((from, to))) if from == to => write!(f, "{protocol} {from}")?,
            (protocol, Some((from, to))) => write!(f, "{protocol} {from}-{to}")?,
        }
        write!(f, " {}", self.peer)
    }
}

/// Rules with their descriptions.
pub type RuleSet = BTreeMap<Rule, Option<String>>;

/// A value in a rule that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Not an address block.
    #[error("{0:?} is not a CIDR block such as 10.0.0.0/16")]
    Cidr(String),
    /// Not a protocol.
    #[error("{0:?} is not a protocol: tcp, udp, icmp, icmpv6, a number from 0 to 255, or -1 for all")]
    Protocol(String),
    /// The VPC's own address blocks, which are not known.
    #[error("vpc_cidr_blocks: the CIDR blocks of the VPC are not known")]
    VpcUnknown,
}

/// A protocol as EC2 spells it in its answers: names for the four it has names for, numbers for the
/// rest.
pub fn protocol(value: &str) -> Result<String, InvalidRule> {
    let value = value.trim().to_ascii_lowercase();
    Ok(match value.as_str() {
        "-1" | "all" => "-1".to_owned(),
        "6" | "tcp" => "tcp".to_owned(),
        "17" | "udp" => "udp".to_owned(),
        "1" | "icmp" => "icmp".to_owned(),
        "58" | "icmpv6" => "icmpv6".to_owned(),
        other => match other.parse::<u8>() {
            Ok(number) => number.to_string(),
            Err(_) => return Err(InvalidRule::Protocol(value)),
        },
    })
}

/// The ports as EC2 keeps them: only the four named protocols have any, and for them absent means
/// all.
pub fn ports(protocol: &str, from: Option<i32>, to: Option<i32>) -> Option<(i32, i32)> {
    match protocol {
        "tcp" | "udp" => Some((from.unwrap_or(0), to.unwrap_or(65535))),
        "icmp" | "icmpv6" => Some((from.unwrap_or(-1), to.unwrap_or(-1))),
        _ => None,
    }
}

/// An address block without host bits, as EC2 keeps it.
pub fn cidr(value: &str) -> Result<Peer, InvalidRule> {
    value
        .parse::<IpNet>()
        .map(|net| Peer::Cidr(net.trunc()))
        .map_err(|_| InvalidRule::Cidr(value.to_owned()))
}

/// The rules of a spec, one for each peer, in a VPC with these address blocks.
pub fn custom(rules: &[CustomRule], vpc: Option<&[IpNet]>) -> Result<RuleSet, InvalidRule> {
    let mut set = RuleSet::new();
    for rule in rules {
        let CustomRule {
            protocol: given,
            from_port,
            to_port,
            cidr_blocks,
            ipv6_cidr_blocks,
            prefix_list_ids,
            security_group_ids,
            vpc_cidr_blocks,
            description,
        } = rule;
        let protocol = protocol(&match given {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name.clone(),
        })?;
        let ports = ports(&protocol, *from_port, *to_port);
        let mut peers = Vec::new();
        for block in cidr_blocks.iter().chain(ipv6_cidr_blocks) {
            peers.push(cidr(block)?);
        }
        if *vpc_cidr_blocks {
            let blocks = vpc.ok_or(InvalidRule::VpcUnknown)?;
            peers.extend(blocks.iter().map(|block| Peer::Cidr(block.trunc())));
        }
        peers.extend(prefix_list_ids.iter().cloned().map(Peer::PrefixList));
        peers.extend(security_group_ids.iter().map(|id| Peer::Group(id.as_str().into())));
        for peer in peers {
            let rule = Rule {
                protocol: protocol.clone(),
                ports,
                peer,
            };
            set.insert(rule, description.clone().filter(|text| !text.is_empty()));
        }
    }
    Ok(set)
}

/// The rules of a `generated` group: everything from private networks (RFC 1918).
pub fn private_networks() -> RuleSet {
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
        .into_iter()
        .map(|block| (all_protocols(block), None))
        .collect()
}

/// Open egress: everything to everywhere.
pub fn open() -> RuleSet {
    RuleSet::from([(all_protocols("0.0.0.0/0"), None)])
}

/// The same for IPv6: EC2 gives it to a new group beside the other where the VPC has an IPv6 block,
/// and CreateSecurityGroup does not say so.
pub fn open_ipv6() -> Rule {
    all_protocols("::/0")
}

fn all_protocols(block: &'static str) -> Rule {
    Rule {
        protocol: "-1".to_owned(),
        ports: None,
        peer: cidr(block).expect("a literal block"),
    }
}

/// Whether a rule lets through tcp or udp port 0 alone, which is rarely meant.
pub(crate) fn is_port_zero(rule: &Rule) -> bool {
    matches!(rule.protocol.as_str(), "tcp" | "udp") && rule.ports == Some((0, 0))
}

/// The family of an address block: EC2 takes the two in different lists.
pub fn is_ipv6(net: &IpNet) -> bool {
    matches!(net.addr(), IpAddr::V6(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: serde_json::Value) -> Vec<String> {
        let rules: Vec<CustomRule> = serde_json::from_value(value).expect("rules");
        custom(&rules, None)
            .expect("valid")
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn rules_are_normalised_as_ec2_does() {
        let cases = [
            (
                json!([{"protocol": "6", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.1.2.3/16"]}]),
                vec!["tcp 443 10.1.0.0/16"],
            ),
            (
                json!([{"protocol": -1, "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}]),
                vec!["all 0.0.0.0/0"],
            ),
            (
                json!([{"protocol": "tcp", "cidr_blocks": ["10.0.0.0/8"]}]),
                vec!["tcp 0-65535 10.0.0.0/8"],
            ),
            (
                json!([{"protocol": "icmp", "cidr_blocks": ["10.0.0.0/8"]}]),
                vec!["icmp -1 10.0.0.0/8"],
            ),
            (
                json!([{"protocol": 50, "from_port": 1, "to_port": 2, "cidr_blocks": ["10.0.0.0/8"]}]),
                vec!["50 10.0.0.0/8"],
            ),
            (
                json!([{"protocol": "tcp", "from_port": 1, "to_port": 2, "ipv6_cidr_blocks": ["2001:db8::1/32"], "security_group_ids": ["sg-1"], "prefix_list_ids": ["pl-1"]}]),
                vec!["tcp 1-2 2001:db8::/32", "tcp 1-2 pl-1", "tcp 1-2 sg-1"],
            ),
        ];
        for (case, expected) in cases {
            assert_eq!(parse(case.clone()), expected, "{case}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let rule = |value| serde_json::from_value::<CustomRule>(value).expect("a rule");
        assert!(custom(&[rule(json!({"protocol": "tpc", "cidr_blocks": ["10.0.0.0/8"]}))], None).is_err());
        assert!(custom(&[rule(json!({"protocol": 256, "cidr_blocks": ["10.0.0.0/8"]}))], None).is_err());
        assert!(custom(&[rule(json!({"protocol": "tcp", "cidr_blocks": ["10.0.0.0"]}))], None).is_err());
    }
}
