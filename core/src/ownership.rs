//! What proves that something in AWS is of an object's making. Tags alone do not: whoever may tag
//! in the AWS account can plant them.
//!
//! | found | proves it | can be planted by whoever may tag |
//! |---|---|---|
//! | under the id that the object's status acknowledged, with the owner's tags | the status, which only the operator writes | no |
//! | a group, by the owner's tags | name and description, which AWS fixes when it is made, name the owner and its cluster | no |
//! | an endpoint, by the owner's tags | it has such a group | no |
//! | an endpoint to `provided` groups, by the owner's tags | VPC, service and groups are those of the spec, and its age fits the tags | no, but who may also apply the object can choose the spec |
//!
//! The last is all that there is to go by where the operator made no group: see
//! [`UnprovenReason::Age`].

use std::collections::BTreeSet;
use std::fmt;

use crate::api::{SecurityGroupType, VPCEndpointSpec, VPCEndpointStatus};
use crate::attachment::ObservedAttachment;
use crate::ids::{EndpointId, GroupId, Partition, VpcId};
use crate::observed::{Lookup, ObservedEndpoint, ObservedGroup, UnprovenReason};
use crate::tags::{self, Claim, Owner};
use crate::target::Target;

/// How far the clocks of AWS and of the API server may be apart, in seconds. Kubernetes cuts off
/// fractions of a second, so that of two that agree the API server's is behind.
const CLOCKS_DIFFER: i64 = 2;

/// Who claims what is found, and what is known of it beside the tags.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The object, or what tags say of one that is no more.
    pub owner: &'a Owner,
    /// The endpoint that its status acknowledged.
    pub endpoint: Option<&'a EndpointId>,
    /// The group that its status acknowledged.
    pub group: Option<&'a GroupId>,
    /// What its spec asks for; none where there is no object, or its spec does not parse.
    pub expected: Option<&'a Expected>,
    /// When the object was made, in seconds since 1970.
    pub object_since: Option<i64>,
    /// When the cluster was made.
    pub cluster_since: Option<i64>,
}

/// What a spec says of what AWS fixes, or changes only by a call that the right to tag does not
/// allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The VPC.
    pub vpc: VpcId,
    /// What it connects to.
    pub target: Target,
    /// The groups that are `provided`; none where the operator makes one.
    pub provided: Option<BTreeSet<GroupId>>,
}

impl Expected {
    /// Of an object that is bound in this region: what its status acknowledged before anything was
    /// made, else what its spec says.
    pub fn of(spec: &VPCEndpointSpec, status: &VPCEndpointStatus, partition: Partition, region: &str) -> Self {
        let provided = spec.security_group_type == SecurityGroupType::Provided;
        let ids = || spec.security_group_ids.iter().map(|id| id.as_str().into());
        let vpc = status.network.as_ref().map_or(&spec.vpc_id, |network| &network.vpc_id);
        let service = status.vpc_endpoint_service_id.clone();
        Self {
            vpc: vpc.as_str().into(),
            target: match service {
                Some(name) => Target::Service { name },
                None => Target::service(&spec.vpc_endpoint_service_id, partition, region),
            },
            provided: provided.then(|| ids().collect()),
        }
    }
}

/// Something that was found in AWS.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// An endpoint, and the groups that are proven to be the claimant's.
    Endpoint(&'a ObservedEndpoint, &'a BTreeSet<GroupId>),
    /// A security group.
    Group(&'a ObservedGroup),
}

/// What proves that something is the claimant's; the strongest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// The status acknowledged its id.
    Acknowledged,
    /// Its name and its description.
    Named,
    /// It has this group, which is the claimant's.
    OwnGroup(GroupId),
    /// VPC, service and groups are those of the spec, and its age fits its tags.
    Fits,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged => f.write_str("the status of its object names it"),
            Self::Named => f.write_str("its name and description, which AWS fixes at creation"),
            Self::OwnGroup(id) => write!(f, "it has the operator's group {id}"),
            Self::Fits => f.write_str("its VPC, service and security groups are those of the spec"),
        }
    }
}

/// Whether something is proven to be the claimant's: the one place that decides it.
///
/// # Errors
/// Why it is not proven.
pub fn prove(claimant: &Claimant<'_>, found: Found<'_>) -> Result<Proof, UnprovenReason> {
    let owner = claimant.owner;
    let tags = match found {
        Found::Endpoint(resource, _) => &resource.tags,
        Found::Group(resource) => &resource.tags,
    };
    if owner.claim(tags) != Claim::Ours {
        return Err(UnprovenReason::Tags);
    }
    let (resource, own_groups) = match found {
        Found::Group(resource) if claimant.group == Some(&resource.id) => return Ok(Proof::Acknowledged),
        Found::Group(resource) if owner.named_group(&resource.name, &resource.description) => return Ok(Proof::Named),
        Found::Group(_) => return Err(UnprovenReason::Name),
        Found::Endpoint(resource, own_groups) => (resource, own_groups),
    };
    if resource.requester_managed {
        return Err(UnprovenReason::RequesterManaged);
    }
    let groups = match &resource.attachment {
        ObservedAttachment::Interface(interface) => &interface.groups,
        ObservedAttachment::Other(_) => return Err(UnprovenReason::Type),
    };
    if claimant.endpoint == Some(&resource.id) {
        return Ok(Proof::Acknowledged);
    }
    if let Some(id) = groups.iter().find(|id| own_groups.contains(id)) {
        return Ok(Proof::OwnGroup(id.clone()));
    }
    let Some(Expected {
        vpc,
        target,
        provided: Some(provided),
    }) = claimant.expected
    else {
        return Err(UnprovenReason::NoOwnGroup);
    };
    if resource.vpc != *vpc {
        return Err(UnprovenReason::Vpc);
    }
    if resource.target.as_ref() != Some(target) {
        return Err(UnprovenReason::Service);
    }
    let is_of_own_uid = resource.tags.get(tags::UID) == Some(&owner.uid);
    // Those of an endpoint whose answer was lost may be what the spec said before an edit.
    if groups != provided && !is_of_own_uid {
        return Err(UnprovenReason::Groups);
    }
    // A former cluster is one that the platform team has named.
    let is_of_own_cluster = resource.tags.get(tags::CLUSTER) == Some(&owner.cluster.own);
    let is_of_age = if !is_of_own_cluster {
        true
    } else if is_of_own_uid {
        let both = resource.created.zip(claimant.object_since);
        both.is_some_and(|(created, since)| created >= since - CLOCKS_DIFFER)
    } else {
        let both = resource.created.zip(claimant.cluster_since);
        both.is_some_and(|(created, since)| created < since)
    };
    if is_of_age {
        Ok(Proof::Fits)
    } else {
        Err(UnprovenReason::Age)
    }
}

/// What was observed of one kind for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<R> {
    /// What is under the id that the status names.
    pub named: Named<R>,
    /// All that carries the owner's tags and is not deleted, that under the named id included.
    pub tagged: Vec<R>,
}

/// What is under the id that the status names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<R> {
    /// The status names none.
    None,
    /// It is there.
    There(R),
    /// AWS does not know it, for now.
    Unconfirmed,
    /// It is gone.
    Gone,
}

/// What of all that was found is the object's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The endpoint.
    pub endpoint: Lookup<ObservedEndpoint>,
    /// Further endpoints that are proven to be its own.
    pub spare_endpoints: Vec<ObservedEndpoint>,
    /// The group.
    pub group: Lookup<ObservedGroup>,
}

/// Tells what is the object's own from what only carries its tags.
pub fn own(claimant: &Claimant<'_>, endpoints: Seen<ObservedEndpoint>, groups: Seen<ObservedGroup>) -> Own {
    let (groups_proven, _) = sorted(groups.tagged, |resource| prove(claimant, Found::Group(resource)));
    let own_groups: BTreeSet<GroupId> = groups_proven.iter().map(|(_, resource)| resource.id.clone()).collect();
    let (mut group, further_groups) = lookup(claimant, groups.named, groups_proven);
    // The one that took the place of one that is gone.
    if let (Lookup::Deleted, Some((_, next))) = (&group, further_groups.into_iter().next()) {
        group = Lookup::Owned(next);
    }
    let (mut proven, mut unproven) = sorted(endpoints.tagged, |resource| {
        prove(claimant, Found::Endpoint(resource, &own_groups))
    });
    let fitting = proven.iter().filter(|(proof, _)| *proof == Proof::Fits).count();
    if proven.first().is_some_and(|(proof, _)| *proof == Proof::Fits) && fitting > 1 {
        unproven.extend(
            proven
                .drain(..)
                .map(|(_, resource)| (UnprovenReason::Several, resource)),
        );
    }
    let is_named = endpoints.named != Named::None;
    let (mut endpoint, mut spare) = lookup(claimant, endpoints.named, proven);
    if endpoint == Lookup::Absent
        && let Some((reason, resource)) = unproven.into_iter().find(|(reason, _)| !reason.is_certain())
    {
        endpoint = Lookup::Unproven(resource, reason);
    }
    // Where another is acknowledged, the operator has made none for this spec beside it.
    let is_settled = is_named || endpoint.owned().is_some();
    spare.retain(|(proof, _)| !(is_settled && *proof == Proof::Fits));
    Own {
        endpoint,
        spare_endpoints: spare.into_iter().map(|(_, resource)| resource).collect(),
        group,
    }
}

/// What is proven, the best first, and what is not.
type Sorted<R> = (Vec<(Proof, R)>, Vec<(UnprovenReason, R)>);

fn sorted<R>(tagged: Vec<R>, prove: impl Fn(&R) -> Result<Proof, UnprovenReason>) -> Sorted<R> {
    let (mut proven, mut unproven) = (Vec::new(), Vec::new());
    for resource in tagged {
        match prove(&resource) {
            Ok(proof) => proven.push((proof, resource)),
            Err(reason) => unproven.push((reason, resource)),
        }
    }
    proven.sort_by(|(a, _), (b, _)| a.cmp(b));
    (proven, unproven)
}

/// What can be an object's.
trait Claimed {
    /// Whether it is what the status named.
    fn is(&self, other: &Self) -> bool;
    /// Whose its tags say it is.
    fn claim(&self, owner: &Owner) -> Claim;
    /// Whether EC2 still shows it, and says that it is deleted.
    fn is_deleted(&self) -> bool;
}

impl Claimed for ObservedEndpoint {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    fn claim(&self, owner: &Owner) -> Claim {
        owner.claim(&self.tags)
    }

    fn is_deleted(&self) -> bool {
        self.state == crate::observed::State::Deleted
    }
}

impl Claimed for ObservedGroup {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    fn claim(&self, owner: &Owner) -> Claim {
        owner.claim(&self.tags)
    }

    fn is_deleted(&self) -> bool {
        false
    }
}

/// What is under the id that the status names comes first; else the best that is proven.
fn lookup<R: Claimed>(
    claimant: &Claimant<'_>,
    named: Named<R>,
    mut proven: Vec<(Proof, R)>,
) -> (Lookup<R>, Vec<(Proof, R)>) {
    let first = |proven: &mut Vec<(Proof, R)>| Lookup::Owned(proven.remove(0).1);
    let lookup = match named {
        Named::None if proven.is_empty() => Lookup::Absent,
        Named::None => first(&mut proven),
        Named::Gone => Lookup::Deleted,
        Named::Unconfirmed => Lookup::Unconfirmed,
        Named::There(resource) if resource.is_deleted() => Lookup::Deleted,
        Named::There(resource) => match proven.iter().position(|(_, own)| own.is(&resource)) {
            Some(place) => Lookup::Owned(proven.remove(place).1),
            // Another's, by its tags: no status that we wrote names it while there is one of the
            // owner's.
            None if resource.claim(claimant.owner) == Claim::Another && !proven.is_empty() => first(&mut proven),
            None => Lookup::Unowned(resource),
        },
    };
    (lookup, proven)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::attachment::Interface;
    use crate::observed::State;
    use crate::rules::RuleSet;
    use crate::tags::Clusters;

    const OBJECT: i64 = 1000;
    const CLUSTER: i64 = 500;

    fn owner() -> Owner {
        Owner {
            cluster: Clusters {
                own: "c".into(),
                former: vec!["old".into()],
            },
            namespace: "ns".into(),
            name: "db".into(),
            uid: "0a1b2c3d-uid".into(),
        }
    }

    fn service(name: &str) -> Target {
        Target::Service { name: name.to_owned() }
    }

    fn interface(fact: &mut ObservedEndpoint) -> &mut Interface {
        match &mut fact.attachment {
            ObservedAttachment::Interface(interface) => interface,
            ObservedAttachment::Other(type_) => panic!("of type {type_}"),
        }
    }

    fn spec(provided: Option<&[&str]>) -> Expected {
        Expected {
            vpc: "vpc-1".into(),
            target: service("sts"),
            provided: provided.map(|ids| ids.iter().map(|id| GroupId::from(*id)).collect()),
        }
    }

    fn endpoint() -> ObservedEndpoint {
        ObservedEndpoint {
            id: "vpce-1".into(),
            requester_managed: false,
            created: Some(OBJECT + 1),
            state: State::Available,
            vpc: "vpc-1".into(),
            target: Some(service("sts")),
            attachment: ObservedAttachment::Interface(Interface {
                subnets: BTreeSet::new(),
                groups: BTreeSet::from(["sg-given".into()]),
                private_dns: false,
            }),
            tags: owner().tags(),
            dns_names: Vec::new(),
            interfaces: Vec::new(),
            last_error: None,
        }
    }

    fn group() -> ObservedGroup {
        ObservedGroup {
            id: "sg-own".into(),
            name: owner().group_name(),
            description: owner().group_description(),
            vpc: "vpc-1".into(),
            tags: owner().tags(),
            ingress: RuleSet::new(),
            egress: RuleSet::new(),
            ipv6_egress_unknown: false,
        }
    }

    fn tagged(key: &str, value: &str) -> BTreeMap<String, String> {
        let mut tags = owner().tags();
        tags.insert(key.into(), value.into());
        tags
    }

    fn claimant<'a>(owner: &'a Owner, spec: Option<&'a Expected>) -> Claimant<'a> {
        Claimant {
            owner,
            endpoint: None,
            group: None,
            expected: spec,
            object_since: Some(OBJECT),
            cluster_since: Some(CLUSTER),
        }
    }

    #[test]
    fn a_group_is_proven_by_status_or_by_what_aws_fixes() {
        type Case = (
            &'static str,
            bool,
            fn(&mut ObservedGroup),
            Result<Proof, UnprovenReason>,
        );
        let cases: [Case; 9] = [
            ("as it was made", false, |_| {}, Ok(Proof::Named)),
            ("acknowledged", true, |_| {}, Ok(Proof::Acknowledged)),
            (
                "acknowledged, made before names were so",
                true,
                |fact| fact.description = "VPC endpoint ns/db".into(),
                Ok(Proof::Acknowledged),
            ),
            (
                "acknowledged, and its tags name another",
                true,
                |fact| fact.tags = tagged(tags::NAME, "other"),
                Err(UnprovenReason::Tags),
            ),
            (
                "acknowledged, and its tags are lost",
                true,
                |fact| fact.tags.clear(),
                Err(UnprovenReason::Tags),
            ),
            (
                "restored: under another UID",
                false,
                |fact| fact.name = "vpce-ns-db-99999999".into(),
                Ok(Proof::Named),
            ),
            (
                "of a cluster that is taken over",
                false,
                |fact| {
                    fact.tags = tagged(tags::CLUSTER, "old");
                    fact.description = "VPC endpoint ns/db of cluster old".into();
                },
                Ok(Proof::Named),
            ),
            (
                "of another cluster, and tagged as this one's",
                false,
                |fact| fact.description = "VPC endpoint ns/db of cluster other".into(),
                Err(UnprovenReason::Name),
            ),
            (
                "a stranger's, with planted tags",
                false,
                |fact| (fact.name, fact.description) = ("database".into(), "payments".into()),
                Err(UnprovenReason::Name),
            ),
        ];
        let (owner, spec) = (owner(), spec(None));
        for (what, acknowledged, spoil, expected) in cases {
            let mut fact = group();
            spoil(&mut fact);
            let id = fact.id.clone();
            let claimant = Claimant {
                group: acknowledged.then_some(&id),
                ..claimant(&owner, Some(&spec))
            };
            assert_eq!(prove(&claimant, Found::Group(&fact)), expected, "{what}");
        }
    }

    /// What there is beside the endpoint itself.
    #[derive(Clone, Copy)]
    enum Beside {
        /// The status names it.
        Status,
        /// It has a group that is proven.
        OwnGroup,
        /// The spec provides groups.
        Provided(&'static [&'static str]),
        /// The spec asks for a group of the operator's making.
        Generated,
        /// There is no spec.
        Nothing,
    }

    #[test]
    fn an_endpoint_is_proven_by_status_by_its_group_or_by_a_spec_that_fits_at_the_right_time() {
        use Beside::{Generated, Nothing, OwnGroup, Provided, Status};
        const GIVEN: Beside = Provided(&["sg-given"]);
        type Case = (
            &'static str,
            Beside,
            fn(&mut ObservedEndpoint),
            Result<Proof, UnprovenReason>,
        );
        let with_group = || Ok(Proof::OwnGroup("sg-own".into()));
        let cases: [Case; 25] = [
            ("acknowledged", Status, |_| {}, Ok(Proof::Acknowledged)),
            (
                "acknowledged, and its tags name another",
                Status,
                |fact| fact.tags = tagged(tags::NAMESPACE, "other"),
                Err(UnprovenReason::Tags),
            ),
            (
                "acknowledged, and its tags are lost",
                Status,
                |fact| fact.tags.clear(),
                Err(UnprovenReason::Tags),
            ),
            (
                "acknowledged by a status that somebody forged",
                Status,
                |fact| fact.attachment = ObservedAttachment::Other("Gateway".into()),
                Err(UnprovenReason::Type),
            ),
            ("with the owner's group", OwnGroup, |_| {}, with_group()),
            (
                "with the owner's group, restored",
                OwnGroup,
                |fact| fact.tags = tagged(tags::UID, "another"),
                with_group(),
            ),
            (
                "with the owner's group, where the spec asks for another VPC by now",
                OwnGroup,
                |fact| fact.vpc = "vpc-2".into(),
                with_group(),
            ),
            (
                "with the owner's group, of a service of AWS",
                OwnGroup,
                |fact| fact.requester_managed = true,
                Err(UnprovenReason::RequesterManaged),
            ),
            (
                "a stranger's, with planted tags",
                Generated,
                |_| {},
                Err(UnprovenReason::NoOwnGroup),
            ),
            (
                "a stranger's, for no spec",
                Nothing,
                |_| {},
                Err(UnprovenReason::NoOwnGroup),
            ),
            (
                "a stranger's gateway endpoint",
                Generated,
                |fact| fact.attachment = ObservedAttachment::Other("Gateway".into()),
                Err(UnprovenReason::Type),
            ),
            (
                "one whose type is not told",
                GIVEN,
                |fact| fact.attachment = ObservedAttachment::Other(String::new()),
                Err(UnprovenReason::Type),
            ),
            (
                "one that a service of AWS made for itself",
                GIVEN,
                |fact| fact.requester_managed = true,
                Err(UnprovenReason::RequesterManaged),
            ),
            (
                "made by the object, and its answer was lost",
                GIVEN,
                |_| {},
                Ok(Proof::Fits),
            ),
            (
                "the same, with clocks that differ a little",
                GIVEN,
                |fact| fact.created = Some(OBJECT - 1),
                Ok(Proof::Fits),
            ),
            (
                "older than the object, with its UID planted",
                GIVEN,
                |fact| fact.created = Some(OBJECT - 3),
                Err(UnprovenReason::Age),
            ),
            (
                "of no age, with its UID planted",
                GIVEN,
                |fact| fact.created = None,
                Err(UnprovenReason::Age),
            ),
            (
                "rebuilt: under another UID, older than the cluster",
                GIVEN,
                |fact| (fact.tags, fact.created) = (tagged(tags::UID, "another"), Some(CLUSTER - 1)),
                Ok(Proof::Fits),
            ),
            (
                "under another UID, younger than the cluster",
                GIVEN,
                |fact| fact.tags = tagged(tags::UID, "another"),
                Err(UnprovenReason::Age),
            ),
            (
                "under no UID, younger than the cluster",
                GIVEN,
                |fact| _ = fact.tags.remove(tags::UID),
                Err(UnprovenReason::Age),
            ),
            (
                "of a cluster that is taken over",
                GIVEN,
                |fact| fact.tags = tagged(tags::CLUSTER, "old"),
                Ok(Proof::Fits),
            ),
            (
                "in another VPC",
                GIVEN,
                |fact| fact.vpc = "vpc-2".into(),
                Err(UnprovenReason::Vpc),
            ),
            (
                "of another service",
                GIVEN,
                |fact| fact.target = Some(service("s3")),
                Err(UnprovenReason::Service),
            ),
            (
                "rebuilt, with other groups",
                Provided(&["sg-given", "sg-2"]),
                |fact| (fact.tags, fact.created) = (tagged(tags::UID, "another"), Some(CLUSTER - 1)),
                Err(UnprovenReason::Groups),
            ),
            (
                "made by the object before its groups were edited",
                Provided(&["sg-given", "sg-2"]),
                |_| {},
                Ok(Proof::Fits),
            ),
        ];
        let owner = owner();
        for (what, beside, spoil, expected) in cases {
            let mut fact = endpoint();
            spoil(&mut fact);
            let mut own_groups = BTreeSet::new();
            if let OwnGroup = beside {
                interface(&mut fact).groups.insert("sg-own".into());
                own_groups.insert(GroupId::from("sg-own"));
            }
            let spec = match beside {
                Provided(ids) => Some(spec(Some(ids))),
                Generated | OwnGroup | Status => Some(spec(None)),
                Nothing => None,
            };
            let id = fact.id.clone();
            let claimant = Claimant {
                endpoint: matches!(beside, Status).then_some(&id),
                ..claimant(&owner, spec.as_ref())
            };
            assert_eq!(
                prove(&claimant, Found::Endpoint(&fact, &own_groups)),
                expected,
                "{what}"
            );
        }
    }

    fn seen<R>(named: Named<R>, tagged: Vec<R>) -> Seen<R> {
        Seen { named, tagged }
    }

    fn other(id: &str) -> ObservedEndpoint {
        ObservedEndpoint {
            id: id.into(),
            ..endpoint()
        }
    }

    #[test]
    fn what_is_proven_comes_first_and_what_is_not_stays_where_it_is() {
        let (owner, spec) = (owner(), spec(None));
        let mut own_endpoint = other("vpce-own");
        interface(&mut own_endpoint).groups.insert("sg-own".into());
        let planted_group = ObservedGroup {
            id: "sg-0".into(),
            name: "database".into(),
            ..group()
        };
        let groups = || seen(Named::None, vec![planted_group.clone(), group()]);
        let unnamed = claimant(&owner, Some(&spec));
        let found = own(
            &unnamed,
            seen(Named::None, vec![other("vpce-0"), own_endpoint.clone()]),
            groups(),
        );
        assert_eq!(found.endpoint, Lookup::Owned(own_endpoint.clone()));
        assert_eq!(
            (found.spare_endpoints.len(), &found.group),
            (0, &Lookup::Owned(group()))
        );

        let found = own(&unnamed, seen(Named::None, vec![other("vpce-0")]), groups());
        assert_eq!(
            found.endpoint,
            Lookup::Unproven(other("vpce-0"), UnprovenReason::NoOwnGroup)
        );

        let planted = || seen(Named::None, vec![planted_group.clone()]);
        let found = own(&unnamed, seen(Named::None, Vec::new()), planted());
        assert_eq!((found.endpoint, found.group), (Lookup::Absent, Lookup::Absent));

        // What certainly is not its own does not even keep it waiting.
        let gateway = ObservedEndpoint {
            attachment: ObservedAttachment::Other("Gateway".into()),
            ..endpoint()
        };
        let found = own(&unnamed, seen(Named::None, vec![gateway]), planted());
        assert_eq!(found.endpoint, Lookup::Absent);
    }

    #[test]
    fn of_several_that_fit_a_spec_none_is_taken_and_none_beside_one_that_is_acknowledged() {
        let (owner, spec) = (owner(), spec(Some(&["sg-given"])));
        let both = || vec![other("vpce-0"), other("vpce-1")];
        let nothing = || seen(Named::None, Vec::new());
        let unnamed = claimant(&owner, Some(&spec));
        let found = own(&unnamed, seen(Named::None, both()), nothing());
        assert_eq!(
            found.endpoint,
            Lookup::Unproven(other("vpce-0"), UnprovenReason::Several)
        );
        let id = EndpointId::from("vpce-1");
        let named = Claimant {
            endpoint: Some(&id),
            ..unnamed
        };
        for (named_one, expected) in [
            (Named::There(other("vpce-1")), Lookup::Owned(other("vpce-1"))),
            (Named::Gone, Lookup::Deleted),
            (Named::Unconfirmed, Lookup::Unconfirmed),
        ] {
            let tagged = if expected.owned().is_some() {
                both()
            } else {
                vec![other("vpce-0")]
            };
            let found = own(&named, seen(named_one, tagged), nothing());
            assert_eq!((found.endpoint, found.spare_endpoints), (expected, Vec::new()));
        }
    }

    #[test]
    fn a_status_that_names_anothers_does_not_hide_the_owners_own() {
        let (owner, spec) = (owner(), spec(None));
        let forged = EndpointId::from("vpce-9");
        let anothers = ObservedEndpoint {
            tags: tagged(tags::NAME, "other"),
            ..other("vpce-9")
        };
        let mut own_endpoint = endpoint();
        interface(&mut own_endpoint).groups.insert("sg-own".into());
        let claimant = Claimant {
            endpoint: Some(&forged),
            ..claimant(&owner, Some(&spec))
        };
        let named = || Named::There(anothers.clone());
        let groups = || seen(Named::None, vec![group()]);
        let found = own(&claimant, seen(named(), Vec::new()), groups());
        assert_eq!(found.endpoint, Lookup::Unowned(anothers.clone()));
        let found = own(&claimant, seen(named(), vec![own_endpoint.clone()]), groups());
        assert_eq!(found.endpoint, Lookup::Owned(own_endpoint));
        assert!(found.spare_endpoints.is_empty());
    }
}
