//! The EC2 calls that the operator makes, in our own types: each is one attempt, counted, and fails
//! with a class.

mod convert;
mod endpoint_services;
#[cfg(test)]
pub(in crate::aws) mod simulated;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, VpcEndpoint, VpcEndpointType};
use aws_types::request_id::RequestId;
use vpce_core::attachment::{Attachment, Interface};
use vpce_core::change::EndpointChange;
use vpce_core::ids::{AccountId, EndpointId, GroupId, Region, VpcId};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup};
use vpce_core::options::{Options, PolicyChoice};
use vpce_core::rules::{Direction, RuleSet};
use vpce_core::target::Target;

use self::convert::{dns_options, observed_endpoint, observed_group, permissions, sdk_tags, subnet_configurations};
pub(super) use self::convert::{tag_map, tag_specification};
use self::endpoint_services::refused;
use super::error::CallError;
use super::observer::{Call, Observer, observed};

/// EC2 gives at most so many endpoints or groups in one page.
const PAGE_SIZE: i32 = 1000;
/// What carries a tag may be another's, with up to 50 tags and hundreds of rules each, and most of
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
    /// Observes every call.
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

    /// The same answer, read otherwise.
    fn map<U>(self, read: impl FnOnce(T) -> U) -> Done<U> {
        Done {
            value: read(self.value),
            request_id: self.request_id,
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
    /// Those of a name, by the tag that the EC2 console shows it from.
    Named(&'a str),
    /// These, by a filter: unlike a list of ids, it leaves out what is not there instead of
    /// failing.
    Ids(&'a [Id]),
}

impl<Id: ToString> Which<'_, Id> {
    fn page_size(&self) -> i32 {
        match self {
            Which::Clusters(_) | Which::Retained(_) | Which::Named(_) => TAGGED_PAGE_SIZE,
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
            Which::Named(name) => Filter::builder()
                .name(format!("tag:{}", vpce_core::tags::DISPLAY_NAME))
                .values(*name),
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

    fn observed_endpoints(&self, described: Vec<VpcEndpoint>) -> Vec<ObservedEndpoint> {
        let described = described.into_iter();
        described
            .filter_map(|endpoint| observed_endpoint(endpoint, &self.region))
            .collect()
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
        let endpoints = answer.vpc_endpoints.unwrap_or_default();
        Ok((self.observed_endpoints(endpoints), next))
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
                Ok((self.observed_endpoints(endpoints), None))
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
        Ok((groups.into_iter().filter_map(observed_group).collect(), next))
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
        let group = ObservedGroup::created(id, name, description, vpc, tags);
        Ok(Done::new(&answer, group))
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
            options,
            tags,
            client_token,
        } = new;
        let type_ = attachment.endpoint_type(target).as_str();
        let request = self.client.create_vpc_endpoint().vpc_id(vpc.as_str());
        let request = request.vpc_endpoint_type(VpcEndpointType::from(type_));
        let request = match target {
            Target::Service { name, region } => request
                .service_name(name)
                .set_service_region(region.as_ref().map(ToString::to_string)),
            Target::ResourceConfiguration { arn } => request.resource_configuration_arn(arn),
            Target::ServiceNetwork { arn } => request.service_network_arn(arn),
        };
        let request = match attachment {
            Attachment::Interface(Interface {
                subnets,
                groups,
                private_dns,
            }) => request
                .set_subnet_ids(Some(strings(subnets)))
                .set_security_group_ids(Some(strings(groups)))
                .private_dns_enabled(*private_dns),
            Attachment::Gateway(tables) => request.set_route_table_ids(some(tables)),
            Attachment::GatewayLoadBalancer(subnet) => request.subnet_ids(subnet.as_str()),
        };
        let policy = options.policy.as_ref().and_then(|policy| match policy {
            PolicyChoice::Document(policy) => Some(policy.as_str().to_owned()),
            PolicyChoice::FullAccess => None,
        });
        let request = request
            .set_policy_document(policy)
            .set_ip_address_type(options.ip_address_type.map(|type_| type_.as_str().into()))
            .set_dns_options(dns_options(options))
            .set_subnet_configurations(subnet_configurations(&options.addresses))
            .client_token(*client_token)
            .tag_specifications(tag_specification(ResourceType::VpcEndpoint, tags));
        let answer = observed(&self.observer, self.call("CreateVpcEndpoint"), request.send()).await?;
        let made = answer.vpc_endpoint.clone();
        let made = made.and_then(|made| observed_endpoint(made, &self.region));
        let made = made.ok_or_else(|| {
            CallError::of_item("CreateVpcEndpoint", "UnreadableAnswer", "the answer names no endpoint")
        })?;
        Ok(Done::new(&answer, made))
    }

    /// EC2 ModifyVpcEndpoint, with all changes in one call.
    pub(crate) async fn modify_endpoint(
        &self,
        id: &EndpointId,
        change: &EndpointChange,
    ) -> Result<Done<()>, CallError> {
        let EndpointChange {
            add_subnets,
            remove_subnets,
            add_groups,
            remove_groups,
            add_route_tables,
            remove_route_tables,
            private_dns,
            options,
        } = change;
        let (policy, reset) = match &options.policy {
            Some(PolicyChoice::Document(policy)) => (Some(policy.as_str().to_owned()), None),
            Some(PolicyChoice::FullAccess) => (None, Some(true)),
            None => (None, None),
        };
        let request = self
            .client
            .modify_vpc_endpoint()
            .vpc_endpoint_id(id.as_str())
            .set_add_subnet_ids(some(add_subnets))
            .set_remove_subnet_ids(some(remove_subnets))
            .set_add_security_group_ids(some(add_groups))
            .set_remove_security_group_ids(some(remove_groups))
            .set_add_route_table_ids(some(add_route_tables))
            .set_remove_route_table_ids(some(remove_route_tables))
            .set_private_dns_enabled(*private_dns)
            .set_policy_document(policy)
            .set_reset_policy(reset)
            .set_ip_address_type(options.ip_address_type.map(|type_| type_.as_str().into()))
            .set_dns_options(dns_options(options))
            .set_subnet_configurations(subnet_configurations(&options.addresses));
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
        let refused = refused(ACTION, answer.unsuccessful(), answer.request_id());
        Ok(Done::new(&answer, refused))
    }

    /// EC2 CreateTags, on a resource by its id.
    pub(crate) async fn create_tags(
        &self,
        id: &impl fmt::Display,
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
    pub(crate) async fn delete_tags(
        &self,
        id: &impl fmt::Display,
        keys: &BTreeSet<String>,
    ) -> Result<Done<()>, CallError> {
        let tags = keys.iter().map(|key| Tag::builder().key(key).build()).collect();
        let request = self.client.delete_tags().resources(id.to_string()).set_tags(Some(tags));
        let answer = observed(&self.observer, self.call("DeleteTags"), request.send()).await?;
        Ok(Done::new(&answer, ()))
    }
}

/// The input of CreateVpcEndpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEndpoint<'a> {
    pub(crate) vpc: &'a VpcId,
    /// What it connects to.
    pub(crate) target: &'a Target,
    /// How it is attached.
    pub(crate) attachment: &'a Attachment,
    /// What is set beside.
    pub(crate) options: &'a Options,
    pub(crate) tags: &'a BTreeMap<String, String>,
    /// The same for as long as the same endpoint is meant.
    pub(crate) client_token: &'a str,
}

fn some<'a, T: ToString + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Option<Vec<String>> {
    Some(strings(ids)).filter(|ids| !ids.is_empty())
}

fn strings<'a, T: ToString + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    ids.into_iter().map(ToString::to_string).collect()
}
