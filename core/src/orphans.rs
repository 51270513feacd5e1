//! What carries our cluster's tag in AWS and no object claims: kept as an id and a summary,
//! reported, and never deleted unasked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::Resource;

use crate::api::VPCEndpoint;
use crate::attachment::ObservedAttachment;
use crate::endpoint_service::ObservedEndpointService;
use crate::ids::GroupId;
use crate::object_key::ObjectKey;
use crate::observed::{ObservedEndpoint, ObservedGroup, State, UnprovenReason};
use crate::ownership::Proof;
use crate::tags::{self, Clusters, Owner};

/// An endpoint of the operator's making has one group; EC2 allows five on a network interface
/// unless AWS raised the quota.
const GROUPS_KEPT: usize = 5;

/// What an orphan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// An endpoint: deleted first, since it uses the group.
    Endpoint,
    /// A security group.
    Group,
    /// An endpoint service.
    EndpointService,
}

impl ResourceKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::Group, Self::EndpointService];

    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Group => "security_group",
            Self::EndpointService => "endpoint_service",
        }
    }
}

/// What is kept of a resource that carries our cluster's tag and that no object claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclaimed {
    /// Whether the tag is this cluster's, not that of one that it takes over from.
    own_cluster: bool,
    /// The object that its tags name, if they name one.
    object: Option<ObjectKey>,
    evidence: Evidence,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Evidence {
    /// Whether its name and description are those that the operator gives to a group of the object
    /// that the tags name.
    Group { named: bool },
    Endpoint {
        /// Its first few groups.
        groups: Vec<GroupId>,
        /// Whether the operator makes such endpoints at all.
        unproven: Option<UnprovenReason>,
        /// Whether AWS is deleting it.
        leaving: bool,
    },
    /// Only the load balancers that its object is bound to could prove it.
    EndpointService {
        /// Whether AWS is deleting it.
        leaving: bool,
    },
}

impl Unclaimed {
    /// Of a security group.
    pub fn group(clusters: &Clusters, group: &ObservedGroup) -> Self {
        let owner = named_owner(clusters, &group.tags);
        let named = owner.is_some_and(|owner| owner.named_group(&group.name, &group.description));
        Self::new(clusters, &group.tags, Evidence::Group { named })
    }

    /// Of an endpoint; none of one that is gone.
    pub fn endpoint(clusters: &Clusters, endpoint: &ObservedEndpoint) -> Option<Self> {
        if endpoint.state == State::Deleted {
            return None;
        }
        let (groups, unproven) = match &endpoint.attachment {
            ObservedAttachment::Known(attachment) => (attachment.groups(), None),
            ObservedAttachment::Other(_) => (None, Some(UnprovenReason::Type)),
        };
        let groups = groups.into_iter().flatten().take(GROUPS_KEPT).cloned().collect();
        let unproven = match endpoint.requester_managed {
            true => Some(UnprovenReason::RequesterManaged),
            false => unproven,
        };
        let leaving = endpoint.state == State::Deleting;
        let evidence = Evidence::Endpoint {
            groups,
            unproven,
            leaving,
        };
        Some(Self::new(clusters, &endpoint.tags, evidence))
    }

    /// Of an endpoint service; none of one that is gone.
    pub fn endpoint_service(clusters: &Clusters, service: &ObservedEndpointService) -> Option<Self> {
        let leaving = service.state == State::Deleting;
        let evidence = Evidence::EndpointService { leaving };
        (service.state != State::Deleted).then(|| Self::new(clusters, &service.tags, evidence))
    }

    fn new(clusters: &Clusters, tags: &BTreeMap<String, String>, evidence: Evidence) -> Self {
        Self {
            own_cluster: tags.get(tags::CLUSTER) == Some(&clusters.own),
            object: tags::object(tags),
            evidence,
        }
    }

    /// The object that its tags name, if they name one.
    pub fn object(&self) -> Option<&ObjectKey> {
        self.object.as_ref()
    }

    /// Whether it may be that object's own. Of a group that is certain.
    pub fn may_be_own(&self) -> bool {
        match &self.evidence {
            Evidence::Group { named } => *named,
            Evidence::Endpoint { unproven, .. } => unproven.is_none(),
            Evidence::EndpointService { .. } => true,
        }
    }

    fn kind(&self) -> ResourceKind {
        match self.evidence {
            Evidence::Group { .. } => ResourceKind::Group,
            Evidence::Endpoint { .. } => ResourceKind::Endpoint,
            Evidence::EndpointService { .. } => ResourceKind::EndpointService,
        }
    }
}

/// The owner that tags name, under no UID.
fn named_owner(clusters: &Clusters, tags: &BTreeMap<String, String>) -> Option<Owner> {
    let ObjectKey { kind, namespace, name } = tags::object(tags)?;
    Some(Owner {
        cluster: clusters.clone(),
        kind,
        namespace,
        name,
        uid: String::new(),
    })
}

/// Something that carries our cluster's tag and that no object claims.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// What it is.
    pub kind: ResourceKind,
    /// Its id.
    pub id: String,
    /// The object that its tags name, if they name one.
    pub object: Option<ObjectKey>,
    /// What proves that the operator made it; none where nothing but tags says so.
    pub proof: Option<Proof>,
}

impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            None => write!(f, "{} (its tags name no object)", self.id)?,
            Some(ObjectKey { kind, namespace, name }) => {
                write!(f, "{} (of ", self.id)?;
                if *kind != VPCEndpoint::kind(&()) {
                    write!(f, "{} ", Shown(kind))?;
                }
                write!(f, "{}/{})", Shown(namespace), Shown(name))?;
            }
        }
        match &self.proof {
            Some(proof) => write!(f, ", proven: {proof}"),
            None => f.write_str(", not proven: only its tags say that the operator created it"),
        }
    }
}

/// Text of unknown origin, fit for a terminal: what is neither ASCII nor printable is escaped.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_default())
    }
}

/// Which objects there are.
pub trait Objects {
    /// Whether there is this one, living or being deleted, and its status names nothing of this
    /// kind yet.
    fn lacks(&self, object: &ObjectKey, kind: ResourceKind) -> bool;
    /// Whether the status of one names this id.
    fn is_known(&self, id: &str) -> bool;
}

/// The orphans among what a region holds with our cluster's tag, by id.
pub fn orphans<'a>(objects: &impl Objects, found: impl Iterator<Item = (&'a str, &'a Unclaimed)>) -> Vec<Orphan> {
    let found: Vec<(&str, &Unclaimed)> = found.collect();
    let own_groups: BTreeMap<&str, Option<&ObjectKey>> = found
        .iter()
        .filter(|(_, resource)| resource.kind() == ResourceKind::Group && resource.may_be_own())
        .map(|(id, resource)| (*id, resource.object()))
        .collect();
    let proof = |resource: &Unclaimed| match &resource.evidence {
        Evidence::Group { named } => named.then_some(Proof::GroupName),
        Evidence::Endpoint { unproven: Some(_), .. } | Evidence::EndpointService { .. } => None,
        Evidence::Endpoint { groups, .. } => groups
            .iter()
            .find(|id| own_groups.get(id.as_str()) == Some(&resource.object()))
            .map(|id| Proof::OwnGroup(id.clone())),
    };
    let is_orphan = |id: &str, resource: &Unclaimed| {
        let awaited = resource
            .object()
            .is_some_and(|object| resource.may_be_own() && objects.lacks(object, resource.kind()));
        let leaves = matches!(
            resource.evidence,
            Evidence::Endpoint { leaving: true, .. } | Evidence::EndpointService { leaving: true }
        );
        resource.own_cluster && !leaves && !awaited && !objects.is_known(id)
    };
    let orphans: BTreeSet<Orphan> = found
        .iter()
        .filter(|(id, resource)| is_orphan(id, resource))
        .map(|(id, resource)| Orphan {
            kind: resource.kind(),
            id: (*id).to_owned(),
            object: resource.object.clone(),
            proof: proof(resource),
        })
        .collect();
    orphans.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::{Attachment, Interface};
    use crate::options::ObservedOptions;
    use crate::rules::RuleSet;

    struct One;

    impl Objects for One {
        fn lacks(&self, object: &ObjectKey, _: ResourceKind) -> bool {
            *object == ObjectKey::new::<VPCEndpoint>("ns", "made-just-now")
        }

        fn is_known(&self, id: &str) -> bool {
            id == "sg-known"
        }
    }

    fn owner(cluster: &str, name: &str) -> Owner {
        Owner {
            cluster: cluster.into(),
            kind: "VPCEndpoint".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: "u".into(),
        }
    }

    fn group(id: &str, cluster: &str, name: &str) -> ObservedGroup {
        let owner = owner(cluster, name);
        ObservedGroup {
            id: id.into(),
            name: owner.group_name(),
            description: owner.group_description(),
            vpc: "vpc-1".into(),
            tags: owner.tags(),
            ingress: RuleSet::new(),
            egress: RuleSet::new(),
            ipv6_egress_unknown: false,
        }
    }

    fn endpoint(id: &str, name: &str, group: &str) -> ObservedEndpoint {
        ObservedEndpoint {
            id: id.into(),
            requester_managed: false,
            created: None,
            state: State::Available,
            vpc: "vpc-1".into(),
            target: None,
            attachment: ObservedAttachment::Known(Attachment::Interface(Interface {
                subnets: BTreeSet::new(),
                groups: BTreeSet::from(["sg-a".into(), group.into()]),
                private_dns: false,
            })),
            options: ObservedOptions::default(),
            tags: owner("c", name).tags(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        }
    }

    #[test]
    fn what_no_object_claims_is_an_orphan_and_shows_what_proves_it() {
        let clusters = Clusters::from("c");
        let mut nameless = group("sg-nameless", "c", "gone");
        nameless.tags.remove(tags::NAME);
        let mut planted = group("sg-planted", "c", "gone");
        planted.name = "database".into();
        let mut beside = group("sg-beside", "c", "made-just-now");
        beside.description = "another".into();
        let mut evil = group("sg-evil", "c", "gone");
        evil.tags.insert(tags::NAME.into(), "a\nb\u{1b}[2J\u{202e}".into());
        let mut of_kind = group("sg-of-kind", "c", "made-just-now");
        of_kind.tags.insert(tags::KIND.into(), "VPCEndpointService".into());
        let groups = [
            of_kind,
            group("sg-new", "c", "made-just-now"),
            group("sg-known", "c", "gone"),
            group("sg-elsewhere", "another", "gone"),
            group("sg-orphan", "c", "gone"),
            nameless,
            planted,
            beside,
            evil,
        ];
        let mut gateway = endpoint("vpce-gateway", "gone", "sg-orphan");
        gateway.attachment = ObservedAttachment::Other("Gateway".into());
        let mut deleted = endpoint("vpce-deleted", "gone", "sg-orphan");
        deleted.state = State::Deleted;
        let mut deleting = endpoint("vpce-deleting", "gone", "sg-orphan");
        deleting.state = State::Deleting;
        let endpoints = [
            endpoint("vpce-orphan", "gone", "sg-orphan"),
            endpoint("vpce-other", "other", "sg-orphan"),
            endpoint("vpce-planted", "gone", "sg-planted"),
            gateway,
            deleted,
            deleting,
        ];
        let mut found: Vec<(&str, Unclaimed)> = groups
            .iter()
            .map(|group| (group.id.as_str(), Unclaimed::group(&clusters, group)))
            .collect();
        for endpoint in &endpoints {
            found.extend(Unclaimed::endpoint(&clusters, endpoint).map(|resource| (endpoint.id.as_str(), resource)));
        }
        let orphans = orphans(&One, found.iter().map(|(id, resource)| (*id, resource)));
        let words: Vec<String> = orphans.iter().map(ToString::to_string).collect();
        let unproven = "not proven: only its tags say that the operator created it";
        assert_eq!(
            words,
            [
                format!("vpce-gateway (of ns/gone), {unproven}"),
                "vpce-orphan (of ns/gone), proven: it has the operator's group sg-orphan".to_owned(),
                format!("vpce-other (of ns/other), {unproven}"),
                format!("vpce-planted (of ns/gone), {unproven}"),
                format!("sg-beside (of ns/made-just-now), {unproven}"),
                format!("sg-evil (of ns/a\\nb\\u{{1b}}[2J\\u{{202e}}), {unproven}"),
                format!("sg-nameless (its tags name no object), {unproven}"),
                format!("sg-of-kind (of VPCEndpointService ns/made-just-now), {unproven}"),
                "sg-orphan (of ns/gone), proven: its name and description, which AWS fixes at creation".to_owned(),
                format!("sg-planted (of ns/gone), {unproven}"),
            ]
        );
    }
}
