//! What is proven to be an object's, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::api::EndpointType;
use crate::attachment::{Attachment, Interface, ObservedAttachment};
use crate::observed::{Lookup, ObservedEndpoint, ObservedGroup, State, UnprovenReason};
use crate::options::ObservedOptions;
use crate::rules::RuleSet;
use crate::tags::{self, Clusters};
use crate::target::Target;

const OBJECT: i64 = 1000;
const CLUSTER: i64 = 500;

fn owner() -> Owner {
    Owner {
        cluster: Clusters {
            own: "c".into(),
            former: vec!["old".into()],
        },
        kind: "VPCEndpoint".into(),
        namespace: "ns".into(),
        name: "db".into(),
        uid: "0a1b2c3d-uid".into(),
    }
}

fn service(name: &str) -> Target {
    Target::Service {
        name: name.to_owned(),
        region: None,
    }
}

fn interface(resource: &mut ObservedEndpoint) -> &mut Interface {
    match &mut resource.attachment {
        ObservedAttachment::Known(Attachment::Interface(interface)) => interface,
        other => panic!("attached otherwise: {other:?}"),
    }
}

fn spec(provided: Option<&[&str]>) -> Expected {
    Expected {
        vpc: "vpc-1".into(),
        target: service("sts"),
        endpoint_type: EndpointType::Interface,
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
        attachment: ObservedAttachment::Known(Attachment::Interface(Interface {
            subnets: BTreeSet::new(),
            groups: BTreeSet::from(["sg-given".into()]),
            private_dns: false,
        })),
        options: ObservedOptions::default(),
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
        adoption: None,
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
        ("as it was made", false, |_| {}, Ok(Proof::GroupName)),
        ("acknowledged", true, |_| {}, Ok(Proof::Acknowledged)),
        (
            "acknowledged, made before names were so",
            true,
            |resource| resource.description = "VPC endpoint ns/db".into(),
            Ok(Proof::Acknowledged),
        ),
        (
            "acknowledged, and its tags name another",
            true,
            |resource| resource.tags = tagged(tags::NAME, "other"),
            Err(UnprovenReason::Tags),
        ),
        (
            "acknowledged, and its tags are lost",
            true,
            |resource| resource.tags.clear(),
            Err(UnprovenReason::Tags),
        ),
        (
            "restored: under another UID",
            false,
            |resource| resource.name = "vpce-ns-db-99999999".into(),
            Ok(Proof::GroupName),
        ),
        (
            "of a cluster that is taken over",
            false,
            |resource| {
                resource.tags = tagged(tags::CLUSTER, "old");
                resource.description = "VPC endpoint ns/db of cluster old".into();
            },
            Ok(Proof::GroupName),
        ),
        (
            "of another cluster, and tagged as this one's",
            false,
            |resource| resource.description = "VPC endpoint ns/db of cluster other".into(),
            Err(UnprovenReason::Name),
        ),
        (
            "a stranger's, with planted tags",
            false,
            |resource| (resource.name, resource.description) = ("database".into(), "payments".into()),
            Err(UnprovenReason::Name),
        ),
    ];
    let (owner, spec) = (owner(), spec(None));
    for (what, acknowledged, spoil, expected) in cases {
        let mut resource = group();
        spoil(&mut resource);
        let id = resource.id.clone();
        let claimant = Claimant {
            group: acknowledged.then_some(&id),
            ..claimant(&owner, Some(&spec))
        };
        assert_eq!(prove(&claimant, Candidate::Group(&resource)), expected, "{what}");
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

/// A case, what there is beside the endpoint, what is different in it, and the proof.
type EndpointCase = (
    &'static str,
    Beside,
    fn(&mut ObservedEndpoint),
    Result<Proof, UnprovenReason>,
);

#[track_caller]
fn check_endpoints<const N: usize>(cases: [EndpointCase; N]) {
    let owner = owner();
    for (what, beside, spoil, expected) in cases {
        let mut resource = endpoint();
        spoil(&mut resource);
        let mut own_groups = BTreeSet::new();
        if let Beside::OwnGroup = beside {
            interface(&mut resource).groups.insert("sg-own".into());
            own_groups.insert(GroupId::from("sg-own"));
        }
        let spec = match beside {
            Beside::Provided(ids) => Some(spec(Some(ids))),
            Beside::Generated | Beside::OwnGroup | Beside::Status => Some(spec(None)),
            Beside::Nothing => None,
        };
        let id = resource.id.clone();
        let claimant = Claimant {
            endpoint: matches!(beside, Beside::Status).then_some(&id),
            ..claimant(&owner, spec.as_ref())
        };
        assert_eq!(
            prove(&claimant, Candidate::Endpoint(&resource, &own_groups)),
            expected,
            "{what}"
        );
    }
}

#[test]
fn an_endpoint_is_proven_by_status() {
    use Beside::Status;
    check_endpoints([
        ("acknowledged", Status, |_| {}, Ok(Proof::Acknowledged)),
        (
            "acknowledged, and its tags name another",
            Status,
            |resource| resource.tags = tagged(tags::NAMESPACE, "other"),
            Err(UnprovenReason::Tags),
        ),
        (
            "acknowledged, and its tags are lost",
            Status,
            |resource| resource.tags.clear(),
            Err(UnprovenReason::Tags),
        ),
        (
            "acknowledged by a forged status",
            Status,
            |resource| resource.attachment = ObservedAttachment::Other("Gateway".into()),
            Err(UnprovenReason::Type),
        ),
    ]);
}

#[test]
fn an_endpoint_is_proven_by_its_owners_group() {
    use Beside::{Generated, Nothing, OwnGroup};
    check_endpoints([
        (
            "with the owner's group",
            OwnGroup,
            |_| {},
            Ok(Proof::OwnGroup("sg-own".into())),
        ),
        (
            "with the owner's group, restored",
            OwnGroup,
            |resource| resource.tags = tagged(tags::UID, "another"),
            Ok(Proof::OwnGroup("sg-own".into())),
        ),
        (
            "with the owner's group, where the spec asks for another VPC by now",
            OwnGroup,
            |resource| resource.vpc = "vpc-2".into(),
            Ok(Proof::OwnGroup("sg-own".into())),
        ),
        (
            "with the owner's group, of a service of AWS",
            OwnGroup,
            |resource| resource.requester_managed = true,
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
            |resource| resource.attachment = ObservedAttachment::Other("Gateway".into()),
            Err(UnprovenReason::Type),
        ),
    ]);
}

/// A spec that provides this group.
const GIVEN: Beside = Beside::Provided(&["sg-given"]);

#[test]
fn an_endpoint_is_proven_by_a_spec_that_fits() {
    use Beside::Provided;
    check_endpoints([
        (
            "one whose type is unknown",
            GIVEN,
            |resource| resource.attachment = ObservedAttachment::Other(String::new()),
            Err(UnprovenReason::Type),
        ),
        (
            "one that a service of AWS made for itself",
            GIVEN,
            |resource| resource.requester_managed = true,
            Err(UnprovenReason::RequesterManaged),
        ),
        (
            "made by the object, and its answer was lost",
            GIVEN,
            |_| {},
            Ok(Proof::MatchesSpec),
        ),
        (
            "in another VPC",
            GIVEN,
            |resource| resource.vpc = "vpc-2".into(),
            Err(UnprovenReason::Vpc),
        ),
        (
            "of another service",
            GIVEN,
            |resource| resource.target = Some(service("s3")),
            Err(UnprovenReason::Service),
        ),
        (
            "made by the object before its groups were edited",
            Provided(&["sg-given", "sg-2"]),
            |_| {},
            Ok(Proof::MatchesSpec),
        ),
        (
            "rebuilt, with other groups",
            Provided(&["sg-given", "sg-2"]),
            |resource| (resource.tags, resource.created) = (tagged(tags::UID, "another"), Some(CLUSTER - 1)),
            Err(UnprovenReason::Groups),
        ),
    ]);
}

#[test]
fn an_endpoint_is_proven_by_a_spec_only_if_it_was_created_at_the_right_time() {
    check_endpoints([
        (
            "the same, with clocks that differ a little",
            GIVEN,
            |resource| resource.created = Some(OBJECT - 1),
            Ok(Proof::MatchesSpec),
        ),
        (
            "older than the object, with its UID planted",
            GIVEN,
            |resource| resource.created = Some(OBJECT - 3),
            Err(UnprovenReason::Age),
        ),
        (
            "of no age, with its UID planted",
            GIVEN,
            |resource| resource.created = None,
            Err(UnprovenReason::Age),
        ),
        (
            "rebuilt: under another UID, older than the cluster",
            GIVEN,
            |resource| (resource.tags, resource.created) = (tagged(tags::UID, "another"), Some(CLUSTER - 1)),
            Ok(Proof::MatchesSpec),
        ),
        (
            "under another UID, younger than the cluster",
            GIVEN,
            |resource| resource.tags = tagged(tags::UID, "another"),
            Err(UnprovenReason::Age),
        ),
        (
            "under no UID, younger than the cluster",
            GIVEN,
            |resource| _ = resource.tags.remove(tags::UID),
            Err(UnprovenReason::Age),
        ),
        (
            "of a cluster that is taken over",
            GIVEN,
            |resource| resource.tags = tagged(tags::CLUSTER, "old"),
            Ok(Proof::MatchesSpec),
        ),
    ]);
}

fn candidates<R>(by_id: LookupById<R>, by_tags: Vec<R>) -> Candidates<R> {
    Candidates { by_id, by_tags }
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
    let groups = || candidates(LookupById::NoId, vec![planted_group.clone(), group()]);
    let unnamed = claimant(&owner, Some(&spec));
    let found = classify(
        &unnamed,
        candidates(LookupById::NoId, vec![other("vpce-0"), own_endpoint.clone()]),
        groups(),
    );
    assert_eq!(found.endpoint, Lookup::Owned(own_endpoint.clone()));
    assert_eq!(
        (found.spare_endpoints.len(), &found.group),
        (0, &Lookup::Owned(group()))
    );

    let found = classify(&unnamed, candidates(LookupById::NoId, vec![other("vpce-0")]), groups());
    assert_eq!(
        found.endpoint,
        Lookup::Unproven(other("vpce-0"), UnprovenReason::NoOwnGroup)
    );

    let planted = || candidates(LookupById::NoId, vec![planted_group.clone()]);
    let found = classify(&unnamed, candidates(LookupById::NoId, Vec::new()), planted());
    assert_eq!((found.endpoint, found.group), (Lookup::Absent, Lookup::Absent));

    // What certainly is not its own does not even keep it waiting.
    let gateway = ObservedEndpoint {
        attachment: ObservedAttachment::Other("Gateway".into()),
        ..endpoint()
    };
    let found = classify(&unnamed, candidates(LookupById::NoId, vec![gateway]), planted());
    assert_eq!(found.endpoint, Lookup::Absent);
}

#[test]
fn of_several_that_fit_a_spec_none_is_taken_and_none_beside_one_that_is_acknowledged() {
    let (owner, spec) = (owner(), spec(Some(&["sg-given"])));
    let both = || vec![other("vpce-0"), other("vpce-1")];
    let nothing = || candidates(LookupById::NoId, Vec::new());
    let unnamed = claimant(&owner, Some(&spec));
    let found = classify(&unnamed, candidates(LookupById::NoId, both()), nothing());
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
        (LookupById::Found(other("vpce-1")), Lookup::Owned(other("vpce-1"))),
        (LookupById::Deleted, Lookup::Deleted),
        (LookupById::Unconfirmed, Lookup::Unconfirmed),
    ] {
        let tagged = if expected.owned().is_some() {
            both()
        } else {
            vec![other("vpce-0")]
        };
        let found = classify(&named, candidates(named_one, tagged), nothing());
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
    let named = || LookupById::Found(anothers.clone());
    let groups = || candidates(LookupById::NoId, vec![group()]);
    let found = classify(&claimant, candidates(named(), Vec::new()), groups());
    assert_eq!(found.endpoint, Lookup::Unowned(anothers.clone()));
    let found = classify(&claimant, candidates(named(), vec![own_endpoint.clone()]), groups());
    assert_eq!(found.endpoint, Lookup::Owned(own_endpoint));
    assert!(found.spare_endpoints.is_empty());
}

#[test]
fn an_endpoint_without_groups_is_proven_by_type_vpc_target_and_age() {
    type Case = (&'static str, fn(&mut ObservedEndpoint), Result<Proof, UnprovenReason>);
    let cases: [Case; 5] = [
        ("as it was made", |_| {}, Ok(Proof::MatchesSpec)),
        (
            "of another type",
            |resource| resource.attachment = endpoint().attachment,
            Err(UnprovenReason::Type),
        ),
        (
            "in another VPC",
            |resource| resource.vpc = "vpc-2".into(),
            Err(UnprovenReason::Vpc),
        ),
        (
            "for another service",
            |resource| resource.target = Some(service("dynamodb")),
            Err(UnprovenReason::Service),
        ),
        (
            "older than the object",
            |resource| resource.created = Some(OBJECT - 1000),
            Err(UnprovenReason::Age),
        ),
    ];
    let owner = owner();
    let spec = Expected {
        endpoint_type: EndpointType::Gateway,
        ..spec(Some(&[]))
    };
    for (what, spoil, expected) in cases {
        let mut resource = ObservedEndpoint {
            attachment: Attachment::Gateway(BTreeSet::new()).into(),
            ..endpoint()
        };
        spoil(&mut resource);
        let candidate = Candidate::Endpoint(&resource, &BTreeSet::new());
        assert_eq!(prove(&claimant(&owner, Some(&spec)), candidate), expected, "{what}");
    }
}

/// An endpoint that another tool made, to be adopted.
fn foreign(consent: Option<&str>) -> ObservedEndpoint {
    let consent = consent.map(|consent| (tags::ADOPT.to_owned(), consent.to_owned()));
    ObservedEndpoint {
        tags: consent.into_iter().collect(),
        ..endpoint()
    }
}

fn found_by_id(claimant: &Claimant<'_>, endpoint: ObservedEndpoint) -> Lookup<ObservedEndpoint> {
    let by_tags = match claimant.owner.claim(&endpoint.tags) {
        tags::Claim::Ours => vec![endpoint.clone()],
        tags::Claim::Another | tags::Claim::Unowned => Vec::new(),
    };
    let endpoints = Candidates {
        by_id: LookupById::Found(endpoint),
        by_tags,
    };
    let groups = Candidates {
        by_id: LookupById::NoId,
        by_tags: Vec::new(),
    };
    classify(claimant, endpoints, groups).endpoint
}

#[test]
fn what_a_spec_names_is_the_objects_where_the_account_agrees_and_it_is_what_the_spec_says() {
    type Spoiled = fn(&mut ObservedEndpoint);
    let id = "vpce-1".into();
    let (owner, spec) = (owner(), spec(None));
    let consent = owner.consent();
    let adopting = |observes| Claimant {
        adoption: Some(Adoption {
            id: &id,
            consent: &Consent::Tag,
            observes,
            leaves: false,
        }),
        ..claimant(&owner, Some(&spec))
    };
    let cases: [(&str, Spoiled, Result<(), UnprovenReason>); 10] = [
        ("as it should be", |_| {}, Ok(())),
        (
            "with the owner's tags already",
            |endpoint| {
                let consent = endpoint.tags.clone();
                endpoint.tags = self::owner().tags();
                endpoint.tags.extend(consent);
            },
            Ok(()),
        ),
        (
            "without the tag",
            |endpoint| endpoint.tags.clear(),
            Err(UnprovenReason::Consent),
        ),
        (
            "with the tag for another object",
            |endpoint| drop(endpoint.tags.insert(tags::ADOPT.into(), "c/ns/other".into())),
            Err(UnprovenReason::Consent),
        ),
        (
            "with the tag for another cluster",
            |endpoint| drop(endpoint.tags.insert(tags::ADOPT.into(), "d/ns/db".into())),
            Err(UnprovenReason::Consent),
        ),
        (
            "another object's",
            |endpoint| endpoint.tags.extend(tagged(tags::NAME, "other")),
            Err(UnprovenReason::Tags),
        ),
        (
            "made by an AWS service",
            |endpoint| endpoint.requester_managed = true,
            Err(UnprovenReason::RequesterManaged),
        ),
        (
            "in another VPC",
            |endpoint| endpoint.vpc = "vpc-2".into(),
            Err(UnprovenReason::Vpc),
        ),
        (
            "for another service",
            |endpoint| endpoint.target = Some(service("sqs")),
            Err(UnprovenReason::Service),
        ),
        (
            "of another type",
            |endpoint| endpoint.attachment = ObservedAttachment::Known(Attachment::Gateway(BTreeSet::new())),
            Err(UnprovenReason::Type),
        ),
    ];
    for (what, spoil, expected) in cases {
        let mut endpoint = foreign(Some(&consent));
        spoil(&mut endpoint);
        assert_eq!(
            check_adoption(&owner, &spec, &Consent::Tag, &endpoint),
            expected,
            "{what}"
        );
        for observes in [false, true] {
            let is_own = found_by_id(&adopting(observes), endpoint.clone()).owned().is_some();
            assert_eq!(is_own, expected.is_ok(), "{what}, observes: {observes}");
        }
    }
    let not_asked_for = found_by_id(&claimant(&owner, Some(&spec)), foreign(Some(&consent)));
    assert!(matches!(not_asked_for, Lookup::Unowned(_)), "{not_asked_for:?}");
}

#[test]
fn what_was_observed_or_never_tagged_is_left_behind_and_what_was_adopted_is_not() {
    let id: EndpointId = "vpce-1".into();
    let owner = owner();
    let consent = owner.consent();
    let leaves = |observes, endpoint: ObservedEndpoint| {
        let claimant = Claimant {
            endpoint: Some(&id),
            adoption: Some(Adoption {
                id: &id,
                consent: &Consent::Tag,
                observes,
                leaves: true,
            }),
            ..claimant(&owner, None)
        };
        found_by_id(&claimant, endpoint)
    };
    assert_eq!(leaves(true, foreign(None)), Lookup::Absent);
    assert_eq!(leaves(false, foreign(Some(&consent))), Lookup::Absent);
    // It was tagged as the object's, and has lost its tags.
    assert!(matches!(leaves(false, foreign(None)), Lookup::Unowned(_)));
    for observes in [false, true] {
        assert!(
            matches!(leaves(observes, endpoint()), Lookup::Owned(_)),
            "it is the object's own"
        );
        let mut others = endpoint();
        others.tags.insert(tags::NAME.into(), "other".into());
        assert!(matches!(leaves(observes, others), Lookup::Unowned(_)));
    }
}
