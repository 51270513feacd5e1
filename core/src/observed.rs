//! What AWS and Kubernetes hold for an object, in lean types of our own.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::EndpointType;
use crate::api::ServicePort;
use crate::attachment::{Attachment, Interface, ObservedAttachment};
use crate::conditions::Finding;
use crate::config_map::ObservedConfigMap;
use crate::ids::{EndpointId, GroupId, VpcId};
use crate::metadata::Metadata;
use crate::names::ObservedNames;
use crate::options::{ObservedOptions, Options};
use crate::rules::{self, Direction, RuleSet};
use crate::slices::{KnownAddresses, ObservedSlice};
use crate::target::Target;

/// The state of an endpoint. EC2's wire spells it in lower camel case (`pendingAcceptance`), its
/// reference in Pascal case: compared ignoring case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The service's owner must accept.
    PendingAcceptance,
    /// Being made or changed.
    Pending,
    /// Exists.
    Available,
    /// Being deleted.
    Deleting,
    /// Gone; lingers in answers for a while.
    Deleted,
    /// The service's owner said no.
    Rejected,
    /// AWS could not make it.
    Failed,
    /// Not accepted in time.
    Expired,
    /// Made in part.
    Partial,
    /// A state that EC2's reference did not list when this was written.
    Other(String),
}

impl State {
    /// Reads what EC2 says.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "pendingacceptance" => Self::PendingAcceptance,
            "pending" => Self::Pending,
            "available" => Self::Available,
            "deleting" => Self::Deleting,
            "deleted" => Self::Deleted,
            "rejected" => Self::Rejected,
            "failed" => Self::Failed,
            "expired" => Self::Expired,
            "partial" => Self::Partial,
            _ => Self::Other(text.to_owned()),
        }
    }

    /// Whether AWS is at work, so that looking again soon is worth a call.
    pub fn is_transitional(&self) -> bool {
        matches!(
            self,
            Self::PendingAcceptance | Self::Pending | Self::Deleting | Self::Partial | Self::Other(_)
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PendingAcceptance => "pendingAcceptance",
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Partial => "partial",
            Self::Other(text) => text,
        })
    }
}

/// A VPC endpoint as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whether an AWS service made it for itself.
    pub requester_managed: bool,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Its state.
    pub state: State,
    /// Its VPC.
    pub vpc: VpcId,
    /// What it connects to; none where that is nothing that the operator knows.
    pub target: Option<Target>,
    /// How it is attached to the VPC.
    pub attachment: ObservedAttachment,
    /// What is set beside.
    pub options: ObservedOptions,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its DNS names; their order means nothing.
    pub dns_names: Vec<String>,
    /// Its network interfaces.
    pub interfaces: Vec<String>,
    /// What AWS says went wrong.
    pub last_error: Option<String>,
}

impl ObservedEndpoint {
    /// What CreateVpcEndpoint makes of what it is asked for, before AWS has done any of it.
    pub fn created(
        id: EndpointId,
        vpc: &VpcId,
        target: &Target,
        attachment: &Attachment,
        options: &Options,
        tags: &BTreeMap<String, String>,
    ) -> Self {
        Self {
            id,
            requester_managed: false,
            created: None,
            state: State::Pending,
            vpc: vpc.clone(),
            target: Some(target.clone()),
            attachment: attachment.clone().into(),
            options: ObservedOptions::created(options),
            tags: tags.clone(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        }
    }

    /// Its network interfaces' subnets, groups and private DNS, where it has any.
    pub fn interface(&self) -> Option<&Interface> {
        match self.attachment.known()? {
            Attachment::Interface(interface) => Some(interface),
            Attachment::Gateway(_) | Attachment::GatewayLoadBalancer(_) => None,
        }
    }

    /// Its type, where it is one that the operator makes.
    pub fn endpoint_type(&self) -> Option<EndpointType> {
        Some(self.attachment.known()?.endpoint_type(self.target.as_ref()?))
    }

    /// The regional DNS name: its first label is the id and one more part, where a zonal name has
    /// the zone too. Of a resource configuration it is the only one; one of a group has a name for
    /// each resource.
    pub(crate) fn regional_dns_name(&self) -> Option<&str> {
        let mut names = self.regional_dns_names();
        let first = names.next()?;
        let mut is_alone = || names.next().is_none();
        let is_service = matches!(self.target, Some(Target::Service { .. }) | None);
        (is_service || is_alone()).then_some(first)
    }

    /// Whether it has no regional DNS name since it has several.
    pub(crate) fn has_several_dns_names(&self) -> bool {
        self.regional_dns_name().is_none() && self.regional_dns_names().next().is_some()
    }

    fn regional_dns_names(&self) -> impl Iterator<Item = &str> {
        self.dns_names.iter().map(String::as_str).filter(|name| {
            let plain = name.strip_prefix("*.").unwrap_or(name);
            let label = plain.split('.').next().unwrap_or_default();
            label
                .strip_prefix(self.id.as_str())
                .and_then(|rest| rest.strip_prefix('-'))
                .map(|suffix| suffix.strip_prefix("snra-").unwrap_or(suffix))
                .is_some_and(|suffix| !suffix.is_empty() && !suffix.contains('-'))
        })
    }

    /// The service's own names, which lead to the endpoint where private DNS is on.
    pub(crate) fn private_dns_names(&self) -> impl Iterator<Item = &str> {
        let names = self.dns_names.iter().map(String::as_str);
        names.filter(|name| !name.strip_prefix("*.").unwrap_or(name).starts_with(self.id.as_str()))
    }

    /// The name that an ExternalName Service can lead to. S3 names its endpoints with a wildcard,
    /// which none can be; its documented `bucket.` label stands for it.
    pub fn publishable_dns_name(&self) -> Option<String> {
        let name = self.regional_dns_name()?;
        match name.strip_prefix("*.") {
            None => Some(name.to_owned()),
            Some(rest) => {
                let label = self.target.as_ref()?.wildcard_label()?;
                Some(format!("{label}.{rest}"))
            }
        }
    }
}

/// A security group with its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedGroup {
    /// Its id.
    pub id: GroupId,
    /// Its name, which AWS fixes when it is made.
    pub name: String,
    /// Its description, which AWS fixes too.
    pub description: String,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Who may connect.
    pub ingress: RuleSet,
    /// Where to.
    pub egress: RuleSet,
    /// Whether it is new and has not been read: only AWS knows then whether its egress is open for
    /// IPv6 ([`rules::open_ipv6`]).
    pub ipv6_egress_unknown: bool,
}

impl ObservedGroup {
    /// What CreateSecurityGroup makes: egress is open, for IPv6 too where the VPC has an IPv6
    /// block.
    pub fn created(id: GroupId, name: &str, description: &str, vpc: &VpcId, tags: &BTreeMap<String, String>) -> Self {
        Self {
            id,
            name: name.to_owned(),
            description: description.to_owned(),
            vpc: vpc.clone(),
            tags: tags.clone(),
            ingress: RuleSet::new(),
            egress: rules::open(),
            ipv6_egress_unknown: true,
        }
    }

    /// AWS says that it has these rules.
    pub fn set_rules(&mut self, direction: Direction, rules: &RuleSet) {
        self.learn(direction, rules);
        self.rules_mut(direction).extend(rules.clone());
    }

    /// AWS says that it does not have these rules.
    pub fn remove_rules(&mut self, direction: Direction, rules: &RuleSet) {
        self.learn(direction, rules);
        self.rules_mut(direction).retain(|rule, _| !rules.contains_key(rule));
    }

    fn learn(&mut self, direction: Direction, rules: &RuleSet) {
        if direction == Direction::Egress && rules.contains_key(&rules::open_ipv6()) {
            self.ipv6_egress_unknown = false;
        }
    }

    fn rules_mut(&mut self, direction: Direction) -> &mut RuleSet {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }
}

/// What looking for something of an object's gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// Nothing carries the owner's tags, and status names nothing.
    Absent,
    /// Status names it and AWS does not know it, for now: EC2 is eventually consistent, so it is
    /// asked again.
    Unconfirmed,
    /// Status names it, and AWS has said twice, with time between, that it is gone; or said
    /// `deleted`.
    Deleted,
    /// There, with the owner's tags.
    Owned(T),
    /// There, under the id that status names, without the owner's tags.
    Unowned(T),
    /// There, with the owner's tags, and nothing else shows that it is the owner's.
    Unproven(T, UnprovenReason),
}

impl<T> Lookup<T> {
    /// What is there and ours.
    pub fn owned(&self) -> Option<&T> {
        match self {
            Lookup::Owned(resource) => Some(resource),
            _ => None,
        }
    }
}

/// Why something is not proven to be the claimant's, whatever its tags say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnprovenReason {
    /// Its tags do not name the claimant.
    Tags,
    /// An AWS service made it for itself.
    RequesterManaged,
    /// The operator makes no endpoints of this type, or none for the claimant.
    Type,
    /// A group whose name or description is not one that the operator gives.
    Name,
    /// It has no group of the claimant's, and there is no spec that asks for others.
    NoOwnGroup,
    /// The spec asks for another VPC.
    Vpc,
    /// The spec asks for another service.
    Service,
    /// The spec asks for other groups.
    Groups,
    /// With the claimant's own UID, it is older than the claimant; with another, it is younger than
    /// the cluster, in which no such object made it.
    Age,
    /// Several endpoints fit the spec, and the operator makes one.
    Several,
    /// An endpoint service with other load balancers than the claimant's.
    LoadBalancers,
    /// It is to be adopted, and does not carry the tag that allows it.
    Consent,
}

impl UnprovenReason {
    /// Whether it certainly is not the claimant's. An endpoint whose groups were changed may be.
    pub fn is_certain(self) -> bool {
        match self {
            Self::Tags | Self::RequesterManaged | Self::Type | Self::Name | Self::Consent => true,
            Self::NoOwnGroup
            | Self::Vpc
            | Self::Service
            | Self::Groups
            | Self::Age
            | Self::Several
            | Self::LoadBalancers => false,
        }
    }
}

impl fmt::Display for UnprovenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tags => "its tags do not name the object",
            Self::RequesterManaged => "an AWS service manages it",
            Self::Type => "its type is not one that the operator creates for it",
            Self::Name => "its name and description are not those that the operator gives",
            Self::NoOwnGroup => "it has no security group that the operator created for the object",
            Self::Vpc => "it is in another VPC than that of the spec",
            Self::Service => "it is for another service than that of the spec",
            Self::Groups => "it has other security groups than the spec provides",
            Self::Age => "by its age the operator did not create it for the object",
            Self::Several => "several endpoints match the spec",
            Self::LoadBalancers => "it has other load balancers than the object's",
            Self::Consent => "it does not carry the tag silvermullet.com/adopt for the object",
        })
    }
}

/// A Service in the object's namespace that matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedService {
    /// Its name.
    pub name: String,
    /// Whether our object is its controller.
    pub ours: bool,
    /// Whether nothing is its controller.
    pub unowned: bool,
    /// Where it leads; none where it is not an ExternalName.
    pub external_name: Option<String>,
    /// Whether it is headless and selects no pods, so that it leads to what EndpointSlices say.
    pub headless: bool,
    /// The ports that it names.
    pub ports: Vec<ServicePort>,
    /// Whether it carries the managed-by label.
    pub labelled: bool,
    /// The labels and annotations that we set for the user.
    pub metadata: Metadata,
    /// What the API server stores as this, also when it is corrected.
    pub written_as: Option<ServiceContent>,
}

/// Where a Service leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServiceTarget {
    /// To a DNS name, as an ExternalName.
    Name(String),
    /// To the addresses of its EndpointSlices, as a headless Service.
    Addresses,
}

impl fmt::Display for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Addresses => f.write_str("the addresses of the endpoint"),
        }
    }
}

/// What a Service is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceContent {
    /// Where it leads.
    pub target: ServiceTarget,
    /// The ports that it names.
    pub ports: Vec<ServicePort>,
    /// The labels and annotations that we set for the user.
    pub metadata: Metadata,
}

impl ObservedService {
    /// What the API server stores where nothing changes it.
    pub fn published(name: &str, content: ServiceContent) -> Self {
        let ServiceContent {
            target,
            ports,
            metadata,
        } = content;
        Self {
            name: name.to_owned(),
            ours: true,
            unowned: false,
            headless: target == ServiceTarget::Addresses,
            external_name: match target {
                ServiceTarget::Name(name) => Some(name),
                ServiceTarget::Addresses => None,
            },
            ports,
            labelled: true,
            metadata,
            written_as: None,
        }
    }

    /// What differs from what it is to hold, in the words of its manifest.
    pub fn differences(&self, wanted: &ServiceContent) -> Vec<&'static str> {
        let (is_of_type, leads_elsewhere) = match &wanted.target {
            ServiceTarget::Name(wanted) => (
                self.external_name.is_some(),
                self.external_name.as_ref().is_some_and(|name| name != wanted),
            ),
            ServiceTarget::Addresses => (self.headless, false),
        };
        [
            (!is_of_type, "spec.type"),
            (leads_elsewhere, "spec.externalName"),
            (self.ports != wanted.ports, "spec.ports"),
            (!self.labelled, "the label app.kubernetes.io/managed-by"),
            (!self.ours, "metadata.ownerReferences"),
            (
                self.metadata != wanted.metadata,
                "the labels and annotations of spec.service",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }

    /// Whether it leads where it is to lead.
    pub fn leads_to_target(&self, target: &ServiceTarget) -> bool {
        match target {
            ServiceTarget::Name(wanted) => self.external_name.as_ref() == Some(wanted),
            ServiceTarget::Addresses => self.headless,
        }
    }

    /// Whether it leads to one of the names of an endpoint, which start with its id.
    pub fn leads_to(&self, id: &EndpointId) -> bool {
        let name = self.external_name.as_deref().unwrap_or_default();
        let rest = name.strip_prefix("bucket.").unwrap_or(name).strip_prefix(id.as_str());
        rest.is_some_and(|rest| rest.starts_with('-'))
    }

    /// Whether it may be one of ours that a backup restored without its owner: with our label, and
    /// no controller.
    pub fn may_be_restored(&self) -> bool {
        !self.ours && self.unowned && self.labelled && self.external_name.is_some()
    }
}

/// All that was found for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The endpoint.
    pub endpoint: Lookup<ObservedEndpoint>,
    /// Further endpoints that are the owner's, as is proven; there are none unless a person copied
    /// tags.
    pub spare_endpoints: Vec<ObservedEndpoint>,
    /// The generated or custom group.
    pub group: Lookup<ObservedGroup>,
    /// The object's own Services, and the one that has the name it wants.
    pub services: Vec<ObservedService>,
    /// The prefix list of the service, of a gateway endpoint.
    pub prefix_list_id: Option<String>,
    /// The object's own EndpointSlices, and those that have the names it wants.
    pub slices: Vec<ObservedSlice>,
    /// The addresses of the endpoint's network interfaces, where a Service asks for them.
    pub addresses: KnownAddresses,
    /// What was found for the names that the object publishes.
    pub names: ObservedNames,
    /// The ConfigMap of the object's name, where one is asked for, or was.
    pub config_map: Option<ObservedConfigMap>,
    /// Why no ConfigMap can be written, where that is so.
    pub config_map_unavailable: Option<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(service: &str, names: &[&str]) -> ObservedEndpoint {
        ObservedEndpoint {
            id: "vpce-0ab".into(),
            requester_managed: false,
            created: None,
            state: State::Available,
            vpc: "vpc-1".into(),
            target: Some(Target::Service {
                name: service.into(),
                region: None,
            }),
            attachment: ObservedAttachment::Other("Interface".into()),
            options: ObservedOptions::default(),
            tags: BTreeMap::new(),
            dns_names: names.iter().map(ToString::to_string).collect(),
            interfaces: Vec::new(),
            last_error: None,
        }
    }

    #[test]
    fn the_regional_name_is_found_in_any_order() {
        let zonal = "vpce-0ab-x1y2-us-west-2a.vpce-svc-1.us-west-2.vpce.amazonaws.com";
        let regional = "vpce-0ab-x1y2.vpce-svc-1.us-west-2.vpce.amazonaws.com";
        for names in [[zonal, regional], [regional, zonal]] {
            assert_eq!(endpoint("s", &names).publishable_dns_name().as_deref(), Some(regional));
        }
        assert_eq!(
            endpoint("s", &["private.example.com", zonal]).publishable_dns_name(),
            None
        );
        assert_eq!(endpoint("s", &[]).publishable_dns_name(), None);
    }

    #[test]
    fn a_resource_has_a_regional_name_where_it_has_one_name() {
        let name = |id: &str| format!("vpce-0ab-snra-{id}.rcfg-1.4232ccc.vpc-lattice-rsc.us-west-2.on.aws");
        let (one, two) = (name("1"), name("2"));
        let mut resource = endpoint("s", &[&one, "db.example.com"]);
        resource.target = Some(Target::ResourceConfiguration { arn: "arn".into() });
        assert_eq!(resource.publishable_dns_name(), Some(one.clone()));
        assert!(!resource.has_several_dns_names());
        resource.dns_names = vec![one, two];
        assert_eq!(resource.publishable_dns_name(), None);
        assert!(resource.has_several_dns_names());
    }

    #[test]
    fn wildcards_are_published_only_where_a_label_is_documented() {
        let name = ["*.vpce-0ab-x1y2.s3.us-west-2.vpce.amazonaws.com"];
        let s3 = endpoint("com.amazonaws.us-west-2.s3", &name);
        assert_eq!(
            s3.publishable_dns_name().as_deref(),
            Some("bucket.vpce-0ab-x1y2.s3.us-west-2.vpce.amazonaws.com")
        );
        assert_eq!(
            endpoint("com.amazonaws.us-west-2.other", &name).publishable_dns_name(),
            None
        );
    }

    #[test]
    fn states_are_read_in_either_spelling() {
        for text in ["pendingAcceptance", "PendingAcceptance"] {
            assert_eq!(State::parse(text), State::PendingAcceptance);
        }
        assert_eq!(State::parse("melting"), State::Other("melting".into()));
    }
}
