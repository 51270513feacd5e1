//! The EC2 calls that the operator makes, in our own types: each is one attempt, counted, and fails
//! with a class.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, Tag, TagSpecification, UserIdGroupPair,
    VpcEndpointType,
};
use aws_types::request_id::RequestId;
use vpce_core::attachment::{Attachment, AttachmentChange, Interface, ObservedAttachment};
use vpce_core::ids::{AccountId, EndpointId, GroupId, Region, VpcId};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup, State};
use vpce_core::plan::ResourceId;
use vpce_core::rules::{self, Direction, Peer, Rule, RuleSet};
use vpce_core::target::Target;

use super::error::CallError;
use super::observer::{Call, Observer, observed};

/// EC2 gives at most so many endpoints or groups in one page.
const PAGE_SIZE: i32 = 1000;
/// What carries a tag may be anybody's, with up to 50 tags and hundreds of rules each, and most of
/// it is dropped once it is read: so much of it is in memory at once.
const TAGGED_PAGE_SIZE: i32 = 100;

/// A client for one account and region.
#[derive(Clone)]
pub(crate) struct Ec2 {
    /// Signs with the current credentials of the account's session.
    pub(crate) client: aws_sdk_ec2::Client,
    /// The AWS account.
    pub(crate) account_id: AccountId,
    pub(crate) region: Region,
    /// Told about every call.
    pub(crate) observer: Observer,
}

/// The answer to a change, with the id under which AWS's support and CloudTrail know the call.
#[derive(Debug)]
pub(crate) struct Done<T> {
    /// What AWS answered.
    pub(crate) value: T,
    /// AWS's request id.
    pub(crate) request_id: String,
}

impl<T> Done<T> {
    fn new(answer: &impl RequestId, value: T) -> Self {
        Self {
            value,
            request_id: answer.request_id().unwrap_or_default().to_owned(),
        }
    }
}

/// Which endpoints or groups to describe.
#[derive(Debug, Clone)]
pub(crate) enum Which<'a, Id> {
    /// All of these clusters', by their tag.
    Clusters(&'a [&'a str]),
    /// All that was the cluster's once and was retained, by the tag that says so.
    Retained(&'a str),
    /// These, by a filter: unlike a list of ids, it leaves out what is not there instead of
    /// failing.
    Ids(&'a [Id]),
}

impl<Id: ToString> Which<'_, Id> {
    fn page_size(&self) -> i32 {
        match self {
            Which::Clusters(_) | Which::Retained(_) => TAGGED_PAGE_SIZE,
            Which::Ids(_) => PAGE_SIZE,
        }
    }

    fn filter(&self, id_filter: &str) -> Filter {
        match self {
            Which::Clusters(ids) => Filter::builder()
                .name(format!("tag:{}", vpce_core::tags::CLUSTER))
                .set_values(Some(ids.iter().map(ToString::to_string).collect())),
            Which::Retained(cluster) => Filter::builder()
                .name(format!("tag:{}", vpce_core::tags::RETAINED))
                .values(format!("{cluster}/*")),
            Which::Ids(ids) => Filter::builder()
                .name(id_filter)
                .set_values(Some(ids.iter().map(ToString::to_string).collect())),
        }
        .build()
    }
}

impl Ec2 {
    pub(super) fn call(&self, action: &'static str) -> Call<'_> {
        Call {
            account_id: self.account_id.as_str(),
            region: self.region.as_str(),
            service: "ec2",
            action,
        }
    }

    /// EC2 DescribeVpcEndpoints, one page.
    pub(crate) async fn describe_endpoints(
        &self,
        which: &Which<'_, EndpointId>,
        page: Option<String>,
    ) -> Result<(Vec<ObservedEndpoint>, Option<String>), CallError> {
        let request = self
            .client
            .describe_vpc_endpoints()
            .filters(which.filter("vpc-endpoint-id"))
            .max_results(which.page_size())
            .set_next_token(page);
        let answer = observed(&self.observer, self.call("DescribeVpcEndpoints"), request.send()).await?;
        let next = answer.next_token.filter(|token| !token.is_empty());
        let facts = answer.vpc_endpoints.unwrap_or_default();
        Ok((facts.into_iter().filter_map(endpoint_fact).collect(), next))
    }

    /// EC2 DescribeVpcEndpoints by `VpcEndpointIds`, for simulators that do not know the filter: an
    /// empty page if it is not there.
    pub(crate) async fn describe_endpoint(
        &self,
        id: &EndpointId,
    ) -> Result<(Vec<ObservedEndpoint>, Option<String>), CallError> {
        let request = self.client.describe_vpc_endpoints().vpc_endpoint_ids(id.as_str());
        match observed(&self.observer, self.call("DescribeVpcEndpoints"), request.send()).await {
            Ok(answer) => {
                let endpoints = answer.vpc_endpoints.unwrap_or_default();
                Ok((endpoints.into_iter().filter_map(endpoint_fact).collect(), None))
            }
            Err(error) if error.code == "InvalidVpcEndpointId.NotFound" => Ok((Vec::new(), None)),
            Err(error) => Err(error),
        }
    }

    /// EC2 DescribeSecurityGroups, one page, with the rules.
    pub(crate) async fn describe_groups(
        &self,
        which: &Which<'_, GroupId>,
        page: Option<String>,
    ) -> Result<(Vec<ObservedGroup>, Option<String>), CallError> {
        let request = self
            .client
            .describe_security_groups()
            .filters(which.filter("group-id"))
            .max_results(which.page_size())
            .set_next_token(page);
        let answer = observed(&self.observer, self.call("DescribeSecurityGroups"), request.send()).await?;
        let next = answer.next_token.filter(|token| !token.is_empty());
        let groups = answer.security_groups.unwrap_or_default();
        Ok((groups.into_iter().filter_map(group_fact).collect(), next))
    }

    /// EC2 CreateSecurityGroup.
    pub(crate) async fn create_group(
        &self,
        name: &str,
        description: &str,
        vpc: &VpcId,
        tags: &BTreeMap<String, String>,
    ) -> Result<Done<ObservedGroup>, CallError> {
        let request = self
            .client
            .create_security_group()
            .group_name(name)
            .description(description)
            .vpc_id(vpc.as_str())
            .tag_specifications(tag_specification(ResourceType::SecurityGroup, tags));
        let answer = observed(&self.observer, self.call("CreateSecurityGroup"), request.send()).await?;
        let id = answer.group_id.clone().unwrap_or_default().into();
        let fact = ObservedGroup::created(id, name, description, vpc, tags);
        Ok(Done::new(&answer, fact))
    }

    /// EC2 DeleteSecurityGroup.
    pub(crate) async fn delete_group(&self, id: &GroupId) -> Result<Done<()>, CallError> {
        let request = self.client.delete_security_group().group_id(id.as_str());
        let answer = observed(&self.observer, self.call("DeleteSecurityGroup"), request.send()).await?;
        Ok(Done::new(&answer, ()))
    }

    /// EC2 AuthorizeSecurityGroupIngress or Egress.
    pub(crate) async fn authorize(
        &self,
        id: &GroupId,
        direction: Direction,
        rules: &RuleSet,
    ) -> Result<Done<()>, CallError> {
        let permissions = Some(permissions(rules));
        let client = &self.client;
        match direction {
            Direction::Ingress => {
                let request = client.authorize_security_group_ingress().group_id(id.as_str());
                let request = request.set_ip_permissions(permissions).send();
                let answer = observed(&self.observer, self.call("AuthorizeSecurityGroupIngress"), request).await?;
                Ok(Done::new(&answer, ()))
            }
            Direction::Egress => {
                let request = client.authorize_security_group_egress().group_id(id.as_str());
                let request = request.set_ip_permissions(permissions).send();
                let answer = observed(&self.observer, self.call("AuthorizeSecurityGroupEgress"), request).await?;
                Ok(Done::new(&answer, ()))
            }
        }
    }

    /// EC2 RevokeSecurityGroupIngress or Egress.
    pub(crate) async fn revoke(
        &self,
        id: &GroupId,
        direction: Direction,
        rules: &RuleSet,
    ) -> Result<Done<()>, CallError> {
        // Without descriptions: they are not part of a rule's identity, and one that differs would
        // not be found.
        let bare: RuleSet = rules.keys().map(|rule| (rule.clone(), None)).collect();
        let permissions = Some(permissions(&bare));
        let client = &self.client;
        match direction {
            Direction::Ingress => {
                let request = client.revoke_security_group_ingress().group_id(id.as_str());
                let request = request.set_ip_permissions(permissions).send();
                let answer = observed(&self.observer, self.call("RevokeSecurityGroupIngress"), request).await?;
                Ok(Done::new(&answer, ()))
            }
            Direction::Egress => {
                let request = client.revoke_security_group_egress().group_id(id.as_str());
                let request = request.set_ip_permissions(permissions).send();
                let answer = observed(&self.observer, self.call("RevokeSecurityGroupEgress"), request).await?;
                Ok(Done::new(&answer, ()))
            }
        }
    }

    /// EC2 UpdateSecurityGroupRuleDescriptionsIngress or Egress.
    pub(crate) async fn update_rule_descriptions(
        &self,
        id: &GroupId,
        direction: Direction,
        rules: &RuleSet,
    ) -> Result<Done<()>, CallError> {
        let permissions = Some(permissions(rules));
        let client = &self.client;
        match direction {
            Direction::Ingress => {
                let request = client.update_security_group_rule_descriptions_ingress();
                let request = request.group_id(id.as_str()).set_ip_permissions(permissions).send();
                let call = self.call("UpdateSecurityGroupRuleDescriptionsIngress");
                let answer = observed(&self.observer, call, request).await?;
                Ok(Done::new(&answer, ()))
            }
            Direction::Egress => {
                let request = client.update_security_group_rule_descriptions_egress();
                let request = request.group_id(id.as_str()).set_ip_permissions(permissions).send();
                let call = self.call("UpdateSecurityGroupRuleDescriptionsEgress");
                let answer = observed(&self.observer, call, request).await?;
                Ok(Done::new(&answer, ()))
            }
        }
    }

    /// EC2 CreateVpcEndpoint. Whether private DNS is on is sent even where it is off, since leaving
    /// it out turns it on for services of AWS.
    pub(crate) async fn create_endpoint(&self, new: &NewEndpoint<'_>) -> Result<Done<ObservedEndpoint>, CallError> {
        let NewEndpoint {
            vpc,
            target,
            attachment,
            tags,
            client_token,
        } = new;
        let request = self.client.create_vpc_endpoint().vpc_id(vpc.as_str());
        let request = match target {
            Target::Service { name } => request.service_name(name),
        };
        let request = match attachment {
            Attachment::Interface(Interface {
                subnets,
                groups,
                private_dns,
            }) => request
                .vpc_endpoint_type(VpcEndpointType::Interface)
                .set_subnet_ids(Some(strings(subnets.iter())))
                .set_security_group_ids(Some(strings(groups.iter())))
                .private_dns_enabled(*private_dns),
        };
        let request = request
            .client_token(*client_token)
            .tag_specifications(tag_specification(ResourceType::VpcEndpoint, tags));
        let answer = observed(&self.observer, self.call("CreateVpcEndpoint"), request.send()).await?;
        let made = answer.vpc_endpoint.clone().and_then(endpoint_fact);
        let made = made.ok_or_else(|| {
            CallError::of_item("CreateVpcEndpoint", "UnreadableAnswer", "the answer names no endpoint")
        })?;
        Ok(Done::new(&answer, made))
    }

    /// EC2 ModifyVpcEndpoint, with all changes in one call.
    pub(crate) async fn modify_endpoint(
        &self,
        id: &EndpointId,
        change: &AttachmentChange,
    ) -> Result<Done<()>, CallError> {
        fn some<'a, T: ToString + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Option<Vec<String>> {
            Some(strings(ids)).filter(|ids| !ids.is_empty())
        }
        let request = self.client.modify_vpc_endpoint().vpc_endpoint_id(id.as_str());
        let request = match change {
            AttachmentChange::Interface(change) => request
                .set_add_subnet_ids(some(&change.add_subnets))
                .set_remove_subnet_ids(some(&change.remove_subnets))
                .set_add_security_group_ids(some(&change.add_groups))
                .set_remove_security_group_ids(some(&change.remove_groups))
                .set_private_dns_enabled(change.private_dns),
        };
        let answer = observed(&self.observer, self.call("ModifyVpcEndpoint"), request.send()).await?;
        Ok(Done::new(&answer, ()))
    }

    /// EC2 DeleteVpcEndpoints. What AWS did not delete comes back with its reason.
    pub(crate) async fn delete_endpoints(
        &self,
        ids: &[EndpointId],
    ) -> Result<Done<BTreeMap<EndpointId, CallError>>, CallError> {
        const ACTION: &str = "DeleteVpcEndpoints";
        let request = self
            .client
            .delete_vpc_endpoints()
            .set_vpc_endpoint_ids(Some(strings(ids)));
        let answer = observed(&self.observer, self.call(ACTION), request.send()).await?;
        let refused = answer.unsuccessful().iter().filter_map(|item| {
            let error = item.error();
            let code = error.and_then(|error| error.code()).unwrap_or("Unknown");
            let message = error.and_then(|error| error.message()).unwrap_or_default();
            let mut refusal = CallError::of_item(ACTION, code, message);
            refusal.request_id = answer.request_id().map(str::to_owned);
            Some((item.resource_id()?.into(), refusal))
        });
        let refused = refused.collect();
        Ok(Done::new(&answer, refused))
    }

    /// EC2 CreateTags.
    pub(crate) async fn create_tags(
        &self,
        id: &ResourceId,
        tags: &BTreeMap<String, String>,
    ) -> Result<Done<()>, CallError> {
        let request = self
            .client
            .create_tags()
            .resources(id.to_string())
            .set_tags(Some(sdk_tags(tags)));
        let answer = observed(&self.observer, self.call("CreateTags"), request.send()).await?;
        Ok(Done::new(&answer, ()))
    }

    /// EC2 DeleteTags, whatever the values are.
    pub(crate) async fn delete_tags(&self, id: &ResourceId, keys: &BTreeSet<String>) -> Result<Done<()>, CallError> {
        let tags = keys.iter().map(|key| Tag::builder().key(key).build()).collect();
        let request = self.client.delete_tags().resources(id.to_string()).set_tags(Some(tags));
        let answer = observed(&self.observer, self.call("DeleteTags"), request.send()).await?;
        Ok(Done::new(&answer, ()))
    }
}

/// What CreateVpcEndpoint is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEndpoint<'a> {
    pub(crate) vpc: &'a VpcId,
    /// What it connects to.
    pub(crate) target: &'a Target,
    /// How it is attached.
    pub(crate) attachment: &'a Attachment,
    pub(crate) tags: &'a BTreeMap<String, String>,
    /// The same for as long as the same endpoint is meant.
    pub(crate) client_token: &'a str,
}

fn strings<'a, T: ToString + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    ids.into_iter().map(ToString::to_string).collect()
}

fn sdk_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter().map(tag).collect()
}

pub(super) fn tag_specification(resource: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(resource)
        .set_tags(Some(sdk_tags(tags)))
        .build()
}

/// One `IpPermission` for each protocol and range of ports.
fn permissions(rules: &RuleSet) -> Vec<IpPermission> {
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

fn tag_map(tags: Option<Vec<Tag>>) -> BTreeMap<String, String> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    tags.unwrap_or_default().into_iter().filter_map(pair).collect()
}

/// None for an endpoint without an id, which EC2 does not give.
fn endpoint_fact(endpoint: aws_sdk_ec2::types::VpcEndpoint) -> Option<ObservedEndpoint> {
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
    let type_ = endpoint.vpc_endpoint_type.as_ref().map_or("", |type_| type_.as_str());
    Some(ObservedEndpoint {
        id: endpoint.vpc_endpoint_id?.into(),
        requester_managed: endpoint.requester_managed.unwrap_or(false),
        created: endpoint.creation_timestamp.map(|time| time.secs()),
        state: State::parse(endpoint.state.as_ref().map_or("", |state| state.as_str())),
        vpc: endpoint.vpc_id.unwrap_or_default().into(),
        target: endpoint.service_name.map(|name| Target::Service { name }),
        attachment: ObservedAttachment::parse(type_, interface),
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
fn group_fact(group: aws_sdk_ec2::types::SecurityGroup) -> Option<ObservedGroup> {
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
