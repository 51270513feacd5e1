//! Security group rules: authorize, revoke, describe, new descriptions, and EC2's normal form of
//! them.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Context;
use super::describe::{Question, Shape};
use super::groups::{check_text, not_found};
use super::region::{Group, Region, new_id};
use super::services::is_amazons_prefix_list;
use super::tags::{self, Tags};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const SHAPE: Shape = Shape {
    action: "ec2:DescribeSecurityGroupRules",
    ids: "SecurityGroupRuleId",
    filters: &["group-id", "security-group-rule-id"],
    least: 5,
    ids_or_pages: true,
    missing: "InvalidSecurityGroupRuleId.NotFound",
};

/// Which way a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Towards the group's interfaces.
    Ingress,
    /// From them.
    Egress,
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    Ipv4(Ipv4Net),
    Ipv6(Ipv6Net),
    Group(String),
    PrefixList(String),
}

impl Peer {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Ipv4(net) => net.to_string(),
            Self::Ipv6(net) => net.to_string(),
            Self::Group(id) | Self::PrefixList(id) => id.clone(),
        }
    }

    /// Reads a CIDR block or an id, in normal form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.starts_with("sg-") {
            return Some(Self::Group(text.to_owned()));
        }
        if text.starts_with("pl-") {
            return Some(Self::PrefixList(text.to_owned()));
        }
        let v4 = text.parse::<Ipv4Net>().map(|net| Self::Ipv4(net.trunc()));
        let v6 = || text.parse::<Ipv6Net>().map(|net| Self::Ipv6(net.trunc()));
        v4.or_else(|_| v6()).ok()
    }
}

/// What a rule lets through: two rules of a group that agree in this are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) protocol: String,
    /// Ports, or ICMP type and code; `None` where the protocol has none.
    pub(crate) ports: Option<(i64, i64)>,
    pub(crate) peer: Peer,
}

impl Traffic {
    /// EC2's normal form of protocol and ports.
    pub(crate) fn normal(protocol: &str, from: Option<i64>, to: Option<i64>, peer: Peer) -> Result<Self, ApiError> {
        let bad_ports = |message: &str| ApiError::invalid_value(format!("Invalid value '{message}' for portRange."));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "-1" | "all" => "-1".to_owned(),
            "6" | "tcp" => "tcp".to_owned(),
            "17" | "udp" => "udp".to_owned(),
            "1" | "icmp" => "icmp".to_owned(),
            "58" | "icmpv6" => "icmpv6".to_owned(),
            number if number.parse::<u8>().is_ok() => number.to_owned(),
            _ => {
                return Err(ApiError::invalid_value(format!(
                    "Invalid value '{protocol}' for IP protocol. Unknown protocol."
                )));
            }
        };
        let ports = match (protocol.as_str(), from, to) {
            ("tcp" | "udp", Some(from), Some(to)) => {
                if !(0..=65_535).contains(&from) || !(0..=65_535).contains(&to) {
                    return Err(bad_ports(&format!("{from}-{to}")));
                }
                if from > to {
                    return Err(ApiError::invalid_value(format!(
                        "Invalid TCP/UDP port range ({from}:{to})"
                    )));
                }
                Some((from, to))
            }
            ("tcp" | "udp", ..) => {
                return Err(bad_ports("Must specify both from and to ports with TCP/UDP."));
            }
            ("icmp" | "icmpv6", from, to) => {
                let (kind, code) = (from.unwrap_or(-1), to.unwrap_or(-1));
                if !(-1..=255).contains(&kind) || !(-1..=255).contains(&code) || (kind == -1 && code != -1) {
                    return Err(ApiError::invalid_value(format!(
                        "ICMP type ({kind}) or code ({code}) is invalid"
                    )));
                }
                Some((kind, code))
            }
            _ => None,
        };
        Ok(Self { protocol, ports, peer })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) direction: Direction,
    pub(crate) traffic: Traffic,
    /// Not part of what makes a rule the same as another.
    pub(crate) description: Option<String>,
    pub(crate) tags: Tags,
}

impl Rule {
    pub(crate) fn new(direction: Direction, traffic: Traffic, description: Option<String>) -> Self {
        Self {
            id: new_id("sgr"),
            direction,
            traffic,
            description,
            tags: Tags::new(),
        }
    }

    /// Everything may leave for this peer.
    pub(crate) fn open_egress(peer: Peer) -> Self {
        let traffic = Traffic {
            protocol: "-1".to_owned(),
            ports: None,
            peer,
        };
        Self::new(Direction::Egress, traffic, None)
    }

    pub(crate) fn names_group(&self, group_id: &str) -> bool {
        matches!(&self.traffic.peer, Peer::Group(id) if id == group_id)
    }
}

/// A rule as a request asks for it.
struct Asked {
    traffic: Traffic,
    description: Option<String>,
}

/// Takes `IpPermissions.N`, one rule for each range, group and prefix list in it.
fn take_permissions(form: &mut Form, account: &str) -> Result<Vec<Asked>, ApiError> {
    let mut asked: Vec<Asked> = Vec::new();
    for mut permission in form.structures("IpPermissions") {
        let protocol = permission.require("IpProtocol")?;
        let from = permission.number("FromPort")?;
        let to = permission.number("ToPort")?;
        let mut peers = Vec::new();
        for mut range in permission.structures("IpRanges") {
            let cidr = range.require("CidrIp")?;
            let net = cidr.parse::<Ipv4Net>().map_err(|_| bad_cidr(&cidr))?;
            peers.push((Peer::Ipv4(net.trunc()), take_description(&mut range)?));
        }
        for mut range in permission.structures("Ipv6Ranges") {
            let cidr = range.require("CidrIpv6")?;
            let net = cidr.parse::<Ipv6Net>().map_err(|_| bad_cidr(&cidr))?;
            peers.push((Peer::Ipv6(net.trunc()), take_description(&mut range)?));
        }
        for mut group in permission.structures("Groups") {
            let id = group.require("GroupId")?;
            if group.take("UserId").is_some_and(|user| user != account) {
                // Groups of other accounts take VPC peering, which is not simulated.
                return Err(not_found(&id));
            }
            peers.push((Peer::Group(id), take_description(&mut group)?));
        }
        for mut list in permission.structures("PrefixListIds") {
            let id = list.require("PrefixListId")?;
            peers.push((Peer::PrefixList(id), take_description(&mut list)?));
        }
        if peers.is_empty() {
            return Err(permission.missing("IpRanges"));
        }
        permission.finish()?;
        for (peer, description) in peers {
            let traffic = Traffic::normal(&protocol, from, to, peer)?;
            if asked.iter().any(|other| other.traffic == traffic) {
                return Err(ApiError::invalid_value(
                    "The same permission must not appear multiple times",
                ));
            }
            asked.push(Asked { traffic, description });
        }
    }
    Ok(asked)
}

fn take_description(form: &mut Form) -> Result<Option<String>, ApiError> {
    let description = form.take("Description");
    form.finish()?;
    if let Some(text) = &description {
        check_text("rule description", text)?;
    }
    Ok(description.filter(|text| !text.is_empty()))
}

fn bad_cidr(cidr: &str) -> ApiError {
    ApiError::invalid_value(format!("CIDR block {cidr} is malformed"))
}

pub(super) fn authorize(direction: Direction, form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let group_id = form.require("GroupId")?;
    let asked = take_permissions(form, &context.region.account)?;
    let tags = tags::take_specification(form, "security-group-rule")?;
    if asked.is_empty() {
        return Err(form.missing("IpPermissions"));
    }
    let action = match direction {
        Direction::Ingress => "ec2:AuthorizeSecurityGroupIngress",
        Direction::Egress => "ec2:AuthorizeSecurityGroupEgress",
    };
    const RULE: &str = "security-group-rule";
    let mut needs = vec![context.need(action, &group_id)];
    if let Some(tagging) = context.need_tagging(action, RULE, &tags) {
        needs.extend([context.need_new(action, RULE, &tags), tagging]);
    }
    context.permit(form, &needs)?;

    let group = group_of(context.region, &group_id)?;
    for Asked { traffic, .. } in &asked {
        check_peer(context.region, group, &traffic.peer)?;
        let same = |rule: &&Rule| rule.direction == direction && rule.traffic == *traffic;
        if group.rules.iter().find(same).is_some() {
            return Err(duplicate(traffic));
        }
    }
    check_quota(group, direction, &asked, context.config.quotas.rules)?;

    let rules: Vec<Rule> = asked
        .into_iter()
        .map(|asked| Rule {
            tags: tags.clone(),
            ..Rule::new(direction, asked.traffic, asked.description)
        })
        .collect();
    context.produced.extend(rules.iter().map(|rule| rule.id.clone()));
    let mut xml = Xml::new();
    xml.text("return", true);
    xml.items("securityGroupRuleSet", &rules, |xml, rule| {
        write_rule(xml, rule, &group_id, context.region);
    });
    if let Some(group) = context.region.groups.get_mut(&group_id) {
        group.rules.extend(rules);
    }
    Ok(xml)
}

pub(super) fn revoke(direction: Direction, form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let group_id = form.require("GroupId")?;
    let asked = take_permissions(form, &context.region.account)?;
    let ids = form.list("SecurityGroupRuleId");
    if asked.is_empty() == ids.is_empty() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Exactly one of IpPermissions and SecurityGroupRuleIds must be given",
        ));
    }
    let action = match direction {
        Direction::Ingress => "ec2:RevokeSecurityGroupIngress",
        Direction::Egress => "ec2:RevokeSecurityGroupEgress",
    };
    context.permit(form, &[context.need(action, &group_id)])?;

    let group = group_of(context.region, &group_id)?;
    let mut doomed: Vec<String> = Vec::new();
    for id in ids {
        let rule = group.rules.iter().find(|r| r.id == id && r.direction == direction);
        doomed.push(rule.ok_or_else(|| rule_not_found(&id))?.id.clone());
    }
    for Asked { traffic, .. } in &asked {
        let rule = group
            .rules
            .iter()
            .find(|r| r.direction == direction && r.traffic == *traffic);
        doomed.push(rule.ok_or_else(permission_not_found)?.id.clone());
    }

    let mut xml = Xml::new();
    xml.text("return", true);
    xml.items("unknownIpPermissionSet", Vec::<()>::new(), |_, ()| {});
    let gone = group.rules.iter().filter(|rule| doomed.contains(&rule.id));
    xml.items("revokedSecurityGroupRuleSet", gone, |xml, rule| {
        write_rule(xml, rule, &group_id, context.region);
    });
    if let Some(group) = context.region.groups.get_mut(&group_id) {
        group.rules.retain(|rule| !doomed.contains(&rule.id));
    }
    Ok(xml)
}

/// UpdateSecurityGroupRuleDescriptions*: by permission or by rule id.
pub(super) fn update_descriptions(
    direction: Direction,
    form: &mut Form,
    context: &mut Context<'_>,
) -> Result<Xml, ApiError> {
    let group_id = form.require("GroupId")?;
    let asked = take_permissions(form, &context.region.account)?;
    let mut by_id: Vec<(String, Option<String>)> = Vec::new();
    for mut given in form.structures("SecurityGroupRuleDescription") {
        let id = given.require("SecurityGroupRuleId")?;
        by_id.push((id, take_description(&mut given)?));
    }
    if asked.is_empty() == by_id.is_empty() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Exactly one of IpPermissions and SecurityGroupRuleDescriptions must be given",
        ));
    }
    let action = match direction {
        Direction::Ingress => "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
        Direction::Egress => "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
    };
    context.permit(form, &[context.need(action, &group_id)])?;

    let group = group_of(context.region, &group_id)?;
    let mut texts: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (id, text) in by_id {
        let rule = group.rules.iter().find(|r| r.id == id && r.direction == direction);
        texts.insert(rule.ok_or_else(|| rule_not_found(&id))?.id.clone(), text);
    }
    for Asked { traffic, description } in asked {
        let rule = group
            .rules
            .iter()
            .find(|r| r.direction == direction && r.traffic == traffic);
        texts.insert(rule.ok_or_else(permission_not_found)?.id.clone(), description);
    }
    if let Some(group) = context.region.groups.get_mut(&group_id) {
        for rule in &mut group.rules {
            if let Some(text) = texts.remove(&rule.id) {
                rule.description = text;
            }
        }
    }
    Ok(super::returned())
}

pub(super) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &SHAPE)?;
    let region = &*context.region;
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all: BTreeMap<&str, &Rule> = BTreeMap::new();
    for group in region.groups.values() {
        for rule in &group.rules {
            owners.insert(&rule.id, &group.id);
            all.insert(&rule.id, rule);
        }
    }
    let owner = |rule: &Rule| owners.get(rule.id.as_str()).copied().unwrap_or_default();
    let (page, token) = question.answer(
        &SHAPE,
        all.into_values(),
        |rule| &rule.id,
        |rule| &rule.tags,
        |rule, filter| {
            vec![match filter {
                "group-id" => owner(rule).to_owned(),
                _ => rule.id.clone(),
            }]
        },
    )?;
    let mut xml = Xml::new();
    xml.items("securityGroupRuleSet", page, |xml, rule| {
        write_rule(xml, rule, owner(rule), region);
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

fn group_of<'a>(region: &'a Region, id: &str) -> Result<&'a Group, ApiError> {
    region.groups.get(id).ok_or_else(|| not_found(id))
}

fn check_peer(region: &Region, group: &Group, peer: &Peer) -> Result<(), ApiError> {
    match peer {
        Peer::Ipv4(_) | Peer::Ipv6(_) => Ok(()),
        Peer::Group(id) if group_of(region, id)?.vpc_id != group.vpc_id => Err(ApiError::new(
            "InvalidGroup.NotFound",
            "You have specified two resources that belong to different networks.",
        )),
        Peer::Group(_) => Ok(()),
        Peer::PrefixList(id) if region.prefix_lists.contains(id) || is_amazons_prefix_list(&region.name, id) => Ok(()),
        Peer::PrefixList(id) => Err(ApiError::new(
            "InvalidPrefixListID.NotFound",
            format!("The prefix list ID '{id}' does not exist"),
        )),
    }
}

/// A rule that names a group or a prefix list counts for IPv4 and for IPv6.
fn check_quota(group: &Group, direction: Direction, asked: &[Asked], most: usize) -> Result<(), ApiError> {
    let count = |family: fn(&Peer) -> bool| {
        let present = group
            .rules
            .iter()
            .filter(|rule| rule.direction == direction && family(&rule.traffic.peer));
        let new = asked.iter().filter(|asked| family(&asked.traffic.peer));
        present.count() + new.count()
    };
    let v4 = count(|peer| !matches!(peer, Peer::Ipv6(_)));
    let v6 = count(|peer| !matches!(peer, Peer::Ipv4(_)));
    if v4 > most || v6 > most {
        return Err(ApiError::new(
            "RulesPerSecurityGroupLimitExceeded",
            "The maximum number of rules per security group has been reached.",
        ));
    }
    Ok(())
}

fn duplicate(traffic: &Traffic) -> ApiError {
    let protocol = match traffic.protocol.as_str() {
        "-1" => "ALL".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let ports = traffic
        .ports
        .map_or_else(String::new, |(from, to)| format!(", from port: {from}, to port: {to}"));
    ApiError::new(
        "InvalidPermission.Duplicate",
        format!(
            "the specified rule \"peer: {}, {protocol}{ports}, ALLOW\" already exists",
            traffic.peer.text()
        ),
    )
}

fn permission_not_found() -> ApiError {
    ApiError::new(
        "InvalidPermission.NotFound",
        "The specified rule does not exist in this security group.",
    )
}

fn rule_not_found(id: &str) -> ApiError {
    ApiError::new(
        SHAPE.missing,
        format!("The security group rule ID '{id}' does not exist"),
    )
}

fn write_rule(xml: &mut Xml, rule: &Rule, group_id: &str, region: &Region) {
    let traffic = &rule.traffic;
    xml.text("securityGroupRuleId", &rule.id);
    xml.text("groupId", group_id);
    xml.text("groupOwnerId", &region.account);
    xml.text("isEgress", rule.direction == Direction::Egress);
    xml.text("ipProtocol", &traffic.protocol);
    let (from, to) = traffic.ports.unwrap_or((-1, -1));
    xml.text("fromPort", from);
    xml.text("toPort", to);
    match &traffic.peer {
        Peer::Ipv4(net) => xml.text("cidrIpv4", net),
        Peer::Ipv6(net) => xml.text("cidrIpv6", net),
        Peer::PrefixList(id) => xml.text("prefixListId", id),
        Peer::Group(id) => xml.element("referencedGroupInfo", |xml| {
            xml.text("groupId", id);
            xml.text("userId", &region.account);
        }),
    }
    xml.optional("description", rule.description.as_ref());
    tags::write(xml, &rule.tags);
}

/// A group's rules of one direction, gathered by protocol and ports, as DescribeSecurityGroups
/// shows them.
pub(super) fn write_permissions(xml: &mut Xml, name: &str, group: &Group, direction: Direction, account: &str) {
    let mut permissions: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
    for rule in group.rules.iter().filter(|rule| rule.direction == direction) {
        let key = (rule.traffic.protocol.as_str(), rule.traffic.ports);
        permissions.entry(key).or_default().push(rule);
    }
    xml.items(name, permissions, |xml, ((protocol, ports), rules)| {
        xml.text("ipProtocol", protocol);
        xml.optional("fromPort", ports.map(|(from, _)| from));
        xml.optional("toPort", ports.map(|(_, to)| to));
        let lists = [
            ("groups", "groupId"),
            ("ipRanges", "cidrIp"),
            ("ipv6Ranges", "cidrIpv6"),
            ("prefixListIds", "prefixListId"),
        ];
        for (list, field) in lists {
            let members = rules.iter().filter(|rule| field == field_of(&rule.traffic.peer));
            xml.items(list, members, |xml, rule| {
                if field == "groupId" {
                    xml.text("userId", account);
                }
                xml.text(field, rule.traffic.peer.text());
                xml.optional("description", rule.description.as_ref());
            });
        }
    });
}

fn field_of(peer: &Peer) -> &'static str {
    match peer {
        Peer::Group(_) => "groupId",
        Peer::Ipv4(_) => "cidrIp",
        Peer::Ipv6(_) => "cidrIpv6",
        Peer::PrefixList(_) => "prefixListId",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn traffic(protocol: &str, from: Option<i64>, to: Option<i64>, peer: &str) -> Result<Traffic, ApiError> {
        Traffic::normal(protocol, from, to, Peer::parse(peer).unwrap())
    }

    #[test]
    fn rules_take_their_normal_form() {
        let tcp = traffic("6", Some(443), Some(443), "10.1.2.3/16").unwrap();
        assert_eq!(tcp, traffic("tcp", Some(443), Some(443), "10.1.0.0/16").unwrap());
        let all = traffic("-1", Some(0), Some(0), "0.0.0.0/0").unwrap();
        assert_eq!(all.ports, None);
        let icmp = traffic("icmp", None, None, "2001:db8::1/32").unwrap();
        assert_eq!(icmp.ports, Some((-1, -1)));
        assert_eq!(icmp.peer.text(), "2001:db8::/32");
        assert_eq!(traffic("50", Some(1), Some(2), "sg-1").unwrap().ports, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (protocol, from, to) in [
            ("tcp", None, None),
            ("tcp", Some(2), Some(1)),
            ("udp", Some(0), Some(65_536)),
            ("tcp", Some(-1), Some(-1)),
            ("icmp", Some(-1), Some(3)),
            ("esp", None, None),
            ("256", None, None),
        ] {
            let error = traffic(protocol, from, to, "10.0.0.0/8").unwrap_err();
            assert_eq!(error.code, "InvalidParameterValue", "{protocol} {from:?} {to:?}");
        }
    }
}
