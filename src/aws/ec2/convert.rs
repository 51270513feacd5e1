//! Between our own types and the SDK's.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    DnsOptionsSpecification, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroup,
    SubnetConfiguration, Tag, TagSpecification, UserIdGroupPair, VpcEndpoint,
};
use vpce_core::addresses::{Addresses, SubnetAddresses};
use vpce_core::api::{DnsRecordIpType, IpAddressType};
use vpce_core::attachment::{Interface, ObservedAttachment};
use vpce_core::ids::{Region, SubnetId};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup, State};
use vpce_core::options::{ObservedOptions, Options};
use vpce_core::policy::PolicyDigest;
use vpce_core::rules::{self, Peer, Rule, RuleSet};
use vpce_core::target::Target;

pub(super) fn sdk_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter().map(tag).collect()
}

pub(in crate::aws) fn tag_specification(resource: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(resource)
        .set_tags(Some(sdk_tags(tags)))
        .build()
}

/// One `IpPermission` for each protocol and range of ports.
pub(super) fn permissions(rules: &RuleSet) -> Vec<IpPermission> {
    type Ports<'a> = (&'a str, Option<(i32, i32)>);
    let mut by_ports: BTreeMap<Ports<'_>, Vec<(&Rule, &Option<String>)>> = BTreeMap::new();
    for (rule, description) in rules {
        by_ports
            .entry((rule.protocol.as_str(), rule.ports))
            .or_default()
            .push((rule, description));
    }
    by_ports
        .into_iter()
        .map(|((protocol, ports), rules)| {
            let mut permission = IpPermission::builder()
                .ip_protocol(protocol)
                .set_from_port(ports.map(|(from, _)| from))
                .set_to_port(ports.map(|(_, to)| to));
            for (rule, description) in rules {
                let text = description.clone();
                permission = match &rule.peer {
                    Peer::Cidr(net) if rules::is_ipv6(net) => permission.ipv6_ranges(
                        Ipv6Range::builder()
                            .cidr_ipv6(net.to_string())
                            .set_description(text)
                            .build(),
                    ),
                    Peer::Cidr(net) => permission.ip_ranges(
                        IpRange::builder()
                            .cidr_ip(net.to_string())
                            .set_description(text)
                            .build(),
                    ),
                    Peer::PrefixList(id) => permission
                        .prefix_list_ids(PrefixListId::builder().prefix_list_id(id).set_description(text).build()),
                    Peer::Group(id) => permission.user_id_group_pairs(
                        UserIdGroupPair::builder()
                            .group_id(id.as_str())
                            .set_description(text)
                            .build(),
                    ),
                };
            }
            permission.build()
        })
        .collect()
}

fn rule_set(permissions: &[IpPermission]) -> RuleSet {
    let mut set = RuleSet::new();
    for permission in permissions {
        let Ok(protocol) = rules::protocol(permission.ip_protocol().unwrap_or("-1")) else {
            continue;
        };
        let ports = rules::ports(&protocol, permission.from_port(), permission.to_port());
        let mut add = |peer: Option<Peer>, description: Option<&str>| {
            if let Some(peer) = peer {
                let rule = Rule {
                    protocol: protocol.clone(),
                    ports,
                    peer,
                };
                let description = description.filter(|text| !text.is_empty()).map(str::to_owned);
                set.insert(rule, description);
            }
        };
        for range in permission.ip_ranges() {
            add(
                range.cidr_ip().and_then(|net| rules::cidr(net).ok()),
                range.description(),
            );
        }
        for range in permission.ipv6_ranges() {
            add(
                range.cidr_ipv6().and_then(|net| rules::cidr(net).ok()),
                range.description(),
            );
        }
        for list in permission.prefix_list_ids() {
            add(
                list.prefix_list_id().map(|id| Peer::PrefixList(id.to_owned())),
                list.description(),
            );
        }
        for pair in permission.user_id_group_pairs() {
            add(pair.group_id().map(|id| Peer::Group(id.into())), pair.description());
        }
    }
    set
}

pub(in crate::aws) fn tag_map(tags: Option<Vec<Tag>>) -> BTreeMap<String, String> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    tags.unwrap_or_default().into_iter().filter_map(pair).collect()
}

/// The addresses that the user chose; none where AWS chooses all of them.
pub(super) fn subnet_configurations(addresses: &SubnetAddresses) -> Option<Vec<SubnetConfiguration>> {
    let configuration = |(subnet, addresses): (&SubnetId, &Addresses)| {
        SubnetConfiguration::builder()
            .subnet_id(subnet.as_str())
            .set_ipv4(addresses.ipv4.map(|address| address.to_string()))
            .set_ipv6(addresses.ipv6.map(|address| address.to_string()))
            .build()
    };
    (!addresses.is_empty()).then(|| addresses.iter().map(configuration).collect())
}

/// None where there is nothing to say of DNS: for many services EC2 refuses each of its options.
pub(super) fn dns_options(options: &Options) -> Option<DnsOptionsSpecification> {
    let Options {
        policy: _,
        ip_address_type: _,
        dns_record_ip_type,
        inbound_resolver_only,
        private_domains,
        addresses: _,
    } = options;
    let is_given = dns_record_ip_type.is_some() || inbound_resolver_only.is_some() || private_domains.is_some();
    let (preference, domains) = private_domains
        .as_ref()
        .map(|domains| (domains.preference.as_str(), &domains.specified))
        .unzip();
    let domains = domains.filter(|domains| !domains.is_empty()).cloned();
    is_given.then(|| {
        DnsOptionsSpecification::builder()
            .set_dns_record_ip_type(dns_record_ip_type.map(|type_| type_.as_str().into()))
            .set_private_dns_only_for_inbound_resolver_endpoint(*inbound_resolver_only)
            .set_private_dns_preference(preference.map(str::to_owned))
            .set_private_dns_specified_domains(domains)
            .build()
    })
}

fn observed_options(endpoint: &VpcEndpoint) -> ObservedOptions {
    let dns = endpoint.dns_options();
    let record = dns.and_then(|dns| dns.dns_record_ip_type());
    ObservedOptions {
        policy: endpoint.policy_document().map(PolicyDigest::read),
        ip_address_type: endpoint
            .ip_address_type()
            .and_then(|type_| IpAddressType::parse(type_.as_str())),
        dns_record_ip_type: record.and_then(|type_| DnsRecordIpType::parse(type_.as_str())),
        inbound_resolver_only: dns.and_then(|dns| dns.private_dns_only_for_inbound_resolver_endpoint()),
        addresses: SubnetAddresses::new(),
    }
}

/// What EC2 says that it connects to.
fn observed_target(endpoint: &VpcEndpoint, region: &Region) -> Option<Target> {
    let service = || {
        let elsewhere = endpoint.service_region().filter(|other| *other != region.as_str());
        Some(Target::Service {
            name: endpoint.service_name()?.to_owned(),
            region: elsewhere.map(Into::into),
        })
    };
    let resource = || {
        let arn = endpoint.resource_configuration_arn()?.to_owned();
        Some(Target::ResourceConfiguration { arn })
    };
    let network = || {
        let arn = endpoint.service_network_arn()?.to_owned();
        Some(Target::ServiceNetwork { arn })
    };
    resource().or_else(network).or_else(service)
}

/// An endpoint of this region. None for one without an id, which EC2 does not give.
pub(super) fn observed_endpoint(endpoint: VpcEndpoint, region: &Region) -> Option<ObservedEndpoint> {
    let (options, target) = (observed_options(&endpoint), observed_target(&endpoint, region));
    let last_error = endpoint.last_error.and_then(|error| match (error.code, error.message) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message),
    });
    let interface = Interface {
        subnets: endpoint
            .subnet_ids
            .unwrap_or_default()
            .into_iter()
            .map(Into::into)
            .collect(),
        groups: endpoint
            .groups
            .unwrap_or_default()
            .into_iter()
            .filter_map(|group| group.group_id.map(Into::into))
            .collect(),
        private_dns: endpoint.private_dns_enabled.unwrap_or(false),
    };
    let route_tables = endpoint.route_table_ids.unwrap_or_default();
    let route_tables = route_tables.into_iter().map(Into::into).collect();
    let type_ = endpoint.vpc_endpoint_type.as_ref().map_or("", |type_| type_.as_str());
    Some(ObservedEndpoint {
        id: endpoint.vpc_endpoint_id?.into(),
        requester_managed: endpoint.requester_managed.unwrap_or(false),
        created: endpoint.creation_timestamp.map(|time| time.secs()),
        state: State::parse(endpoint.state.as_ref().map_or("", |state| state.as_str())),
        vpc: endpoint.vpc_id.unwrap_or_default().into(),
        target,
        attachment: ObservedAttachment::parse(type_, interface, route_tables),
        options,
        tags: tag_map(endpoint.tags),
        dns_names: endpoint
            .dns_entries
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| entry.dns_name)
            .collect(),
        interfaces: endpoint.network_interface_ids.unwrap_or_default(),
        last_error: last_error.or(endpoint.failure_reason),
    })
}

/// None for a group without an id, which EC2 does not give.
pub(super) fn observed_group(group: SecurityGroup) -> Option<ObservedGroup> {
    Some(ObservedGroup {
        id: group.group_id?.into(),
        name: group.group_name.unwrap_or_default(),
        description: group.description.unwrap_or_default(),
        vpc: group.vpc_id.unwrap_or_default().into(),
        tags: tag_map(group.tags),
        ingress: rule_set(&group.ip_permissions.unwrap_or_default()),
        egress: rule_set(&group.ip_permissions_egress.unwrap_or_default()),
        ipv6_egress_unknown: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_the_way_to_ec2_and_back() {
        let peers = [
            rules::cidr("10.0.0.0/8").expect("a block"),
            rules::cidr("2001:db8::/32").expect("a block"),
            Peer::PrefixList("pl-1".into()),
            Peer::Group("sg-1".into()),
        ];
        let set: RuleSet = peers
            .into_iter()
            .flat_map(|peer| {
                [("tcp", Some((443, 443))), ("-1", None)].map(|(protocol, ports)| {
                    let rule = Rule {
                        protocol: protocol.to_owned(),
                        ports,
                        peer: peer.clone(),
                    };
                    (rule, Some("why".to_owned()))
                })
            })
            .collect();
        let sent = permissions(&set);
        assert_eq!(sent.len(), 2, "one permission for each protocol and range of ports");
        assert_eq!(rule_set(&sent), set);
    }
}
