//! A step: one change in AWS or Kubernetes, with all that it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Part;
use crate::api::ServicePort;
use crate::attachment::Attachment;
use crate::change::{EndpointChange, list};
use crate::config_map::ConfigMapContent;
use crate::ids::{EndpointId, GroupId, VpcId};
use crate::metadata::Metadata;
use crate::names::DnsEndpointContent;
use crate::observed::ServiceTarget;
use crate::options::Options;
use crate::rules::{Direction, RuleSet};
use crate::slices::SliceContent;
use crate::target::Target;

/// One change in AWS or Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// EC2 CreateSecurityGroup. The new group comes with open egress, for IPv6 too where its VPC
    /// has an IPv6 block.
    CreateGroup {
        /// Its name.
        name: String,
        /// Its description.
        description: String,
        /// Its VPC.
        vpc: VpcId,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// EC2 AuthorizeSecurityGroupIngress or Egress.
    Authorize(GroupId, Direction, RuleSet),
    /// EC2 RevokeSecurityGroupIngress or Egress.
    Revoke(GroupId, Direction, RuleSet),
    /// EC2 UpdateSecurityGroupRuleDescriptionsIngress or Egress.
    UpdateRuleDescriptions(GroupId, Direction, RuleSet),
    /// EC2 CreateVpcEndpoint, with private DNS off unless AWS fixes it at creation: no name leads
    /// to an endpoint that does not answer yet. A Modify turns it on once the endpoint is
    /// available.
    CreateEndpoint {
        /// The VPC.
        vpc: VpcId,
        /// What it connects to.
        target: Target,
        /// How it is attached.
        attachment: Attachment,
        /// What is set beside.
        options: Options,
        /// The tags.
        tags: BTreeMap<String, String>,
    },
    /// EC2 ModifyVpcEndpoint, with all changes.
    ModifyEndpoint {
        /// The endpoint.
        id: EndpointId,
        /// What changes.
        change: EndpointChange,
    },
    /// EC2 CreateTags.
    Tag(ResourceId, BTreeMap<String, String>),
    /// EC2 DeleteTags.
    Untag(ResourceId, BTreeSet<String>),
    /// EC2 DeleteVpcEndpoints.
    DeleteEndpoint(EndpointId),
    /// EC2 DeleteSecurityGroup.
    DeleteGroup(GroupId),
    /// Creates the Service or corrects it.
    PublishService {
        /// Its name.
        name: String,
        /// Where it leads.
        target: ServiceTarget,
        /// Ports that it names.
        ports: Vec<ServicePort>,
        /// Its labels and annotations, beside the operator's own.
        metadata: Metadata,
        /// Whether it is there and ours.
        exists: bool,
    },
    /// Deletes a Service of ours.
    DeleteService(String),
    /// Creates an EndpointSlice of the Service or corrects it.
    PublishSlice {
        /// What it is to hold.
        content: SliceContent,
        /// Whether it is there and ours.
        exists: bool,
    },
    /// Deletes an EndpointSlice of ours.
    DeleteSlice(String),
    /// Creates the DNSEndpoint or corrects it.
    PublishDnsEndpoint {
        /// Its name.
        name: String,
        /// What it is to hold.
        content: DnsEndpointContent,
        /// Whether it is there and ours.
        exists: bool,
    },
    /// Deletes a DNSEndpoint of ours.
    DeleteDnsEndpoint(String),
    /// Creates the ConfigMap or corrects it.
    PublishConfigMap {
        /// Its name.
        name: String,
        /// What it is to hold.
        content: ConfigMapContent,
        /// Whether it is there and ours.
        exists: bool,
    },
    /// Deletes a ConfigMap of ours.
    DeleteConfigMap(String),
}

impl Step {
    /// What it does, as metrics name it: the EC2 action, or what happens to what is published in
    /// Kubernetes.
    pub fn action(&self) -> &'static str {
        match self {
            Step::CreateGroup { .. } => "CreateSecurityGroup",
            Step::Authorize(_, Direction::Ingress, _) => "AuthorizeSecurityGroupIngress",
            Step::Authorize(_, Direction::Egress, _) => "AuthorizeSecurityGroupEgress",
            Step::Revoke(_, Direction::Ingress, _) => "RevokeSecurityGroupIngress",
            Step::Revoke(_, Direction::Egress, _) => "RevokeSecurityGroupEgress",
            Step::UpdateRuleDescriptions(_, Direction::Ingress, _) => "UpdateSecurityGroupRuleDescriptionsIngress",
            Step::UpdateRuleDescriptions(_, Direction::Egress, _) => "UpdateSecurityGroupRuleDescriptionsEgress",
            Step::CreateEndpoint { .. } => "CreateVpcEndpoint",
            Step::ModifyEndpoint { .. } => "ModifyVpcEndpoint",
            Step::Tag(..) => "CreateTags",
            Step::Untag(..) => "DeleteTags",
            Step::DeleteEndpoint(_) => "DeleteVpcEndpoints",
            Step::DeleteGroup(_) => "DeleteSecurityGroup",
            Step::PublishService { .. } => "PublishService",
            Step::DeleteService(_) => "DeleteService",
            Step::PublishSlice { .. } => "PublishEndpointSlice",
            Step::DeleteSlice(_) => "DeleteEndpointSlice",
            Step::PublishDnsEndpoint { .. } => "PublishDNSEndpoint",
            Step::DeleteDnsEndpoint(_) => "DeleteDNSEndpoint",
            Step::PublishConfigMap { .. } => "PublishConfigMap",
            Step::DeleteConfigMap(_) => "DeleteConfigMap",
        }
    }

    /// Whether it is about any rule.
    pub(super) fn changes_rules(&self) -> bool {
        matches!(self, Step::Authorize(_, _, rules) | Step::Revoke(_, _, rules) | Step::UpdateRuleDescriptions(_, _, rules) if !rules.is_empty())
    }

    /// Whether it changes AWS, not Kubernetes.
    pub fn is_in_aws(&self) -> bool {
        !matches!(self.part(), Part::Service | Part::Names | Part::ConfigMap)
    }
}

/// Something that can carry tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResourceId {
    /// An endpoint.
    Endpoint(EndpointId),
    /// A security group.
    Group(GroupId),
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourceId::Endpoint(id) => id.fmt(f),
            ResourceId::Group(id) => id.fmt(f),
        }
    }
}

impl fmt::Display for Step {
    /// For events and logs: what is done, in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateGroup { name, .. } => write!(f, "create security group {name}"),
            Step::Authorize(id, direction, rules) => write!(f, "add {direction} rules to {id}: {}", list(rules.keys())),
            Step::Revoke(id, direction, rules) => {
                write!(f, "remove {direction} rules from {id}: {}", list(rules.keys()))
            }
            Step::UpdateRuleDescriptions(id, direction, rules) => {
                write!(
                    f,
                    "update descriptions of {direction} rules of {id}: {}",
                    list(rules.keys())
                )
            }
            Step::CreateEndpoint { target, .. } => write!(f, "create an endpoint for {target}"),
            Step::ModifyEndpoint { id, change } => write!(f, "change {id}: {change}"),
            Step::Tag(id, tags) => write!(f, "set tags of {id}: {}", list(tags.keys())),
            Step::Untag(id, keys) => write!(f, "remove tags of {id}: {}", list(keys)),
            Step::DeleteEndpoint(id) => write!(f, "delete endpoint {id}"),
            Step::DeleteGroup(id) => write!(f, "delete security group {id}"),
            Step::PublishService { name, target, .. } => write!(f, "publish Service {name} for {target}"),
            Step::DeleteService(name) => write!(f, "delete Service {name}"),
            Step::PublishSlice { content, .. } => {
                let addresses = content.addresses.iter().map(|address| &address.address);
                write!(f, "publish EndpointSlice {} with {}", content.name(), list(addresses))
            }
            Step::DeleteSlice(name) => write!(f, "delete EndpointSlice {name}"),
            Step::PublishDnsEndpoint { name, content, .. } => {
                let records = content.records.iter().map(|record| &record.name);
                write!(f, "publish DNSEndpoint {name} with {}", list(records))
            }
            Step::DeleteDnsEndpoint(name) => write!(f, "delete DNSEndpoint {name}"),
            Step::PublishConfigMap { name, .. } => write!(f, "publish ConfigMap {name}"),
            Step::DeleteConfigMap(name) => write!(f, "delete ConfigMap {name}"),
        }
    }
}
