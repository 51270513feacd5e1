//! What the cache believes, of reads and of our own writes.

use vpce_core::attachment::{Attachment, Interface, ObservedAttachment};
use vpce_core::ids::EndpointId;
use vpce_core::observed::{Lookup, ObservedEndpoint, State};
use vpce_core::options::ObservedOptions;
use vpce_core::orphans::ResourceKind;
use vpce_core::ownership::{self, Candidates, Claimant, LookupById};

use super::*;

const SETTLE: Duration = Duration::from_secs(10);

fn owner() -> Owner {
    Owner {
        cluster: "c".into(),
        kind: "VPCEndpoint".into(),
        namespace: "ns".into(),
        name: "db".into(),
        uid: "u".into(),
    }
}

/// One object, by its status or by its tags, and no other.
#[derive(Default)]
struct One {
    known: Option<&'static str>,
    lacks: bool,
}

impl Objects for One {
    fn lacks(&self, object: &ObjectKey, _: ResourceKind) -> bool {
        self.lacks && *object == owner().key()
    }

    fn is_known(&self, id: &str) -> bool {
        self.known == Some(id)
    }
}

const KNOWN: One = One {
    known: Some("vpce-1"),
    lacks: false,
};

/// Reads everything, in one page.
fn read_all(
    cache: &mut ResourceCache<ObservedEndpoint>,
    resources: Vec<ObservedEndpoint>,
    read: Instant,
    objects: &One,
) {
    let mut full_read = FullRead::default();
    cache.add_page(resources, read, objects, &mut full_read);
    cache.finish_full_read(&full_read, read);
}

/// What the cache says, as the operator takes it: all that carries the tags is the owner's
/// here.
fn lookup(cache: &ResourceCache<ObservedEndpoint>, known: Option<&EndpointId>) -> Lookup<ObservedEndpoint> {
    let candidates = cache.candidates(&owner(), known);
    let owner = owner();
    let claimant = Claimant {
        owner: &owner,
        endpoint: known.or(candidates.by_tags.first().map(|endpoint| &endpoint.id)),
        group: None,
        expected: None,
        adoption: None,
        object_since: None,
        cluster_since: None,
    };
    let groups = Candidates {
        by_id: LookupById::NoId,
        by_tags: Vec::new(),
    };
    ownership::classify(&claimant, candidates.clone(), groups).endpoint
}

fn endpoint(state: State) -> ObservedEndpoint {
    ObservedEndpoint {
        id: "vpce-1".into(),
        requester_managed: false,
        created: None,
        state,
        vpc: "vpc-1".into(),
        target: None,
        attachment: ObservedAttachment::Known(Attachment::Interface(Interface {
            subnets: BTreeSet::new(),
            groups: BTreeSet::new(),
            private_dns: false,
        })),
        options: ObservedOptions::default(),
        tags: owner().tags(),
        dns_names: Vec::new(),
        interfaces: Vec::new(),
        last_error: None,
    }
}

fn interface(resource: &mut ObservedEndpoint) -> &mut Interface {
    match &mut resource.attachment {
        ObservedAttachment::Known(Attachment::Interface(interface)) => interface,
        other => panic!("attached otherwise: {other:?}"),
    }
}

fn cache() -> (ResourceCache<ObservedEndpoint>, Instant) {
    (ResourceCache::new("c".into(), SETTLE), Instant::now())
}

#[test]
fn what_we_made_is_believed_until_it_settles() {
    let (mut cache, start) = cache();
    cache.created(endpoint(State::Pending), start);
    let id = EndpointId::from("vpce-1");
    read_all(&mut cache, Vec::new(), start + Duration::from_secs(1), &KNOWN);
    cache.add_read_of(std::slice::from_ref(&id), Vec::new(), start + Duration::from_secs(2));
    assert!(matches!(lookup(&cache, Some(&id)), Lookup::Owned(_)));
    read_all(&mut cache, Vec::new(), start + SETTLE, &KNOWN);
    assert_eq!(lookup(&cache, Some(&id)), Lookup::Unconfirmed);
    assert_eq!(lookup(&cache, None), Lookup::Absent);
}

#[test]
fn a_change_is_not_undone_by_a_read_from_before_it_settled() {
    let (mut cache, start) = cache();
    read_all(&mut cache, vec![endpoint(State::Available)], start, &KNOWN);
    let id = EndpointId::from("vpce-1");
    cache.changed(&id, start, |resource| {
        interface(resource).groups = BTreeSet::from(["sg-1".into()])
    });
    read_all(
        &mut cache,
        vec![endpoint(State::Pending)],
        start + Duration::from_secs(1),
        &KNOWN,
    );
    let groups = |resource: &ObservedEndpoint| resource.interface().expect("of this type").groups.len();
    let resource = cache.get(&id).expect("there");
    assert_eq!((groups(&resource), &resource.state), (1, &State::Pending));
    assert_eq!(
        cache.to_read(&owner(), None, both(start + SETTLE)).len(),
        1,
        "consistent: it is read again"
    );
    read_all(&mut cache, vec![endpoint(State::Available)], start + SETTLE, &KNOWN);
    assert_eq!(groups(&cache.get(&id).expect("there")), 0);
    assert!(cache.to_read(&owner(), None, both(start + SETTLE * 2)).is_empty());
}

#[test]
fn a_read_from_before_subnets_changed_does_not_say_that_aws_is_done_with_them() {
    let (mut cache, start) = cache();
    let id = EndpointId::from("vpce-1");
    let subnets = BTreeSet::from(["subnet-2".into()]);
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    cache.add(vec![endpoint(State::Available)], at(0));
    cache.changed(&id, at(0), |resource| {
        interface(resource).subnets = subnets.clone();
        resource.state = State::Pending;
    });
    cache.add(vec![endpoint(State::Available)], at(1));
    assert_eq!(cache.get(&id).expect("there").state, State::Pending);
    let mut done = endpoint(State::Available);
    interface(&mut done).subnets = subnets;
    cache.add(vec![done], at(2));
    assert_eq!(cache.get(&id).expect("there").state, State::Available);
}

/// When both were read last.
fn both(at: Instant) -> Ticks {
    Ticks { poll: at, check: at }
}

#[test]
fn what_settles_between_two_ticks_waits_for_the_second() {
    let (mut cache, start) = cache();
    cache.created(endpoint(State::Available), start);
    let consistent_at = start + SETTLE;
    let at = |check| Ticks {
        poll: consistent_at + SETTLE,
        check,
    };
    let too_early = at(consistent_at - Duration::from_millis(1));
    assert!(cache.to_read(&owner(), None, too_early).is_empty());
    assert_eq!(cache.to_read(&owner(), None, at(consistent_at)).len(), 1);
}

#[test]
fn gone_needs_two_reads_with_time_between() {
    let (mut cache, start) = cache();
    let id = EndpointId::from("vpce-1");
    let asked = std::slice::from_ref(&id);
    assert_eq!(cache.to_read(&owner(), Some(&id), both(start)), vec![id.clone()]);
    cache.add_read_of(asked, Vec::new(), start);
    cache.add_read_of(asked, Vec::new(), start + Duration::from_secs(1));
    assert_eq!(lookup(&cache, Some(&id)), Lookup::Unconfirmed);
    cache.add_read_of(asked, Vec::new(), start + SETTLE);
    assert_eq!(lookup(&cache, Some(&id)), Lookup::Deleted);
    cache.add(vec![endpoint(State::Available)], start + SETTLE * 2);
    assert!(matches!(lookup(&cache, Some(&id)), Lookup::Owned(_)));
}

#[test]
fn where_what_a_status_names_is_gone_or_anothers_the_owner_may_have_another() {
    let (mut cache, start) = cache();
    let id = EndpointId::from("vpce-1");
    let other = ObservedEndpoint {
        id: "vpce-2".into(),
        ..endpoint(State::Available)
    };
    let mut theirs = endpoint(State::Available);
    theirs.tags.clear();
    for (named, are_read) in [
        (endpoint(State::Available), false),
        (endpoint(State::Deleted), true),
        (theirs, true),
    ] {
        read_all(&mut cache, vec![named, other.clone()], start, &KNOWN);
        assert!(cache.contains(&id) && !cache.contains(&other.id));
        let read = cache.to_read(&owner(), Some(&id), both(start));
        assert_eq!(read.contains(&other.id), are_read, "{read:?}");
    }
}

#[test]
fn lost_tags_are_noticed_and_what_is_deleted_is_gone() {
    let (mut cache, start) = cache();
    let id = EndpointId::from("vpce-1");
    let mut bare = endpoint(State::Available);
    bare.tags.clear();
    cache.add(vec![bare], start);
    assert!(matches!(lookup(&cache, Some(&id)), Lookup::Unowned(_)));
    assert_eq!(lookup(&cache, None), Lookup::Absent);
    cache.add(vec![endpoint(State::Deleted)], start);
    assert_eq!(lookup(&cache, Some(&id)), Lookup::Deleted);
    assert_eq!(lookup(&cache, None), Lookup::Absent);
}

#[test]
fn what_no_object_claims_is_kept_as_a_summary_until_one_does() {
    let (mut cache, start) = cache();
    let id = EndpointId::from("vpce-1");
    let none = One::default();
    read_all(&mut cache, vec![endpoint(State::Available)], start, &none);
    assert!(!cache.contains(&id));
    assert_eq!(cache.unclaimed(&none).len(), 1);
    // An object of this name comes: it is read before anything is made for it.
    assert_eq!(cache.to_read(&owner(), None, both(start)), std::slice::from_ref(&id));
    cache.add_read_of(std::slice::from_ref(&id), vec![endpoint(State::Available)], start);
    assert!(matches!(lookup(&cache, None), Lookup::Owned(_)));
    assert!(cache.to_read(&owner(), None, both(start)).is_empty());
    // While its status names none, the next read keeps it, and once it does.
    for objects in [
        One {
            lacks: true,
            ..One::default()
        },
        KNOWN,
    ] {
        read_all(&mut cache, vec![endpoint(State::Available)], start, &objects);
        assert!(cache.contains(&id));
    }
    read_all(&mut cache, vec![endpoint(State::Available)], start, &none);
    assert!(!cache.contains(&id));
    read_all(&mut cache, Vec::new(), start, &none);
    assert!(cache.unclaimed(&none).is_empty());
}

#[test]
fn what_was_planted_for_an_object_is_not_kept_beside_its_own() {
    let (mut cache, start) = cache();
    let planted = |number: usize| ObservedEndpoint {
        id: format!("vpce-planted-{number}").into(),
        ..endpoint(State::Available)
    };
    let many: Vec<ObservedEndpoint> = (0..50).map(planted).chain([endpoint(State::Available)]).collect();
    read_all(&mut cache, many.clone(), start, &KNOWN);
    assert_eq!(cache.entries.len(), 1);
    assert_eq!(cache.unclaimed(&KNOWN).len(), 50);
    let lacking = One {
        lacks: true,
        ..One::default()
    };
    read_all(&mut cache, many, start, &lacking);
    assert_eq!(cache.entries.len(), MOST_CANDIDATES);
}

#[test]
fn of_more_than_are_kept_the_rest_is_counted() {
    let (mut cache, start) = cache();
    let none = One::default();
    let number = |number: usize| ObservedEndpoint {
        id: format!("vpce-{number}").into(),
        ..endpoint(State::Available)
    };
    for _ in 0..2 {
        let many: Vec<ObservedEndpoint> = (0..MOST_UNCLAIMED + 7).map(number).collect();
        read_all(&mut cache, many, start, &none);
        assert_eq!((cache.unclaimed(&none).len(), cache.omitted()), (MOST_UNCLAIMED, 7));
    }
    read_all(&mut cache, vec![endpoint(State::Available)], start, &none);
    assert_eq!((cache.unclaimed(&none).len(), cache.omitted()), (1, 0));
}

#[test]
fn all_that_is_at_work_is_read_together() {
    let (mut cache, start) = cache();
    let mut other = endpoint(State::Pending);
    other.id = "vpce-2".into();
    other.tags.insert(tags::NAME.into(), "other".into());
    cache.add(vec![endpoint(State::Pending), other], start);
    let tick = start + Duration::from_secs(5);
    assert_eq!(cache.to_read(&owner(), None, both(tick)).len(), 2);
    assert!(
        cache.to_read(&owner(), None, both(start)).is_empty(),
        "read since the tick"
    );
}
