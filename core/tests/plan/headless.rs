//! Tables of cases of a headless Service and its EndpointSlices.

use vpce_core::conditions::{Finding, Reason};
use vpce_core::desired::Desired;
use vpce_core::observed::{Observed, State};
use vpce_core::plan::{Plan, plan_deletion};
use vpce_core::slices::{AddressFamily, InterfaceAddress, KnownAddresses, ObservedSlice};

use crate::observations::*;

const SERVICE: &str = "publish Service db for the addresses of the endpoint";
const SLICE: &str = "publish EndpointSlice db-ipv4 with 10.0.97.49, 10.0.98.49";

/// Starts from a headless Service as specified.
fn spoiled_headless(spoil: impl FnOnce(&mut Desired, &mut Observed)) -> Plan {
    let mut wanted = desired(generated());
    let mut observed = settled_headless(&mut wanted);
    spoil(&mut wanted, &mut observed);
    planned(&wanted, &observed)
}

#[track_caller]
fn check(cases: &[(&str, Spoil, &[&str], Reason)]) {
    for (name, spoil, expected, reason) in cases {
        let found = spoiled_headless(spoil);
        assert_eq!(words(&found), *expected, "{name}");
        assert_eq!(found.service.reason, *reason, "{name}");
        assert_eq!(found.service.ok, *reason == Reason::Published, "{name}");
    }
}

fn slice(observed: &mut Observed) -> &mut ObservedSlice {
    &mut observed.slices[0]
}

fn address(text: &str) -> InterfaceAddress {
    InterfaceAddress::parse(text, None).expect("an address")
}

#[test]
fn the_service_and_its_slices_follow_what_is_desired() {
    check(&[
        ("as specified", |_, _| {}, &[], Reason::Published),
        (
            "a Service deleted: what its slices have is written again, after it",
            |_, observed| observed.services.clear(),
            &["delete EndpointSlice db-ipv4", SERVICE, SLICE],
            Reason::Updating,
        ),
        (
            "a slice deleted",
            |_, observed| observed.slices.clear(),
            &[SLICE],
            Reason::Updating,
        ),
        (
            "an address edited",
            |_, observed| slice(observed).addresses = Some([address("192.0.2.1")].into()),
            &[SLICE],
            Reason::Updating,
        ),
        (
            "an address that is not ready",
            |_, observed| slice(observed).addresses = None,
            &[SLICE],
            Reason::Updating,
        ),
        (
            "ports edited",
            |_, observed| slice(observed).ports.clear(),
            &[SLICE],
            Reason::Updating,
        ),
        (
            "labels edited",
            |_, observed| slice(observed).labelled = false,
            &[SLICE],
            Reason::Updating,
        ),
        (
            "a slice that was created again with another family",
            |_, observed| slice(observed).family = Some(AddressFamily::Ipv6),
            &["delete EndpointSlice db-ipv4", SLICE],
            Reason::Updating,
        ),
    ]);
}

#[test]
fn what_was_published_otherwise_is_replaced() {
    check(&[
        (
            "an ExternalName Service before",
            |_, observed| {
                observed.services = vec![service_fact("db", true)];
                observed.slices.clear();
            },
            &[SERVICE, SLICE],
            Reason::Updating,
        ),
        (
            "a cluster IP, which cannot be taken away",
            |_, observed| observed.services[0].headless = false,
            &["delete Service db"],
            Reason::Updating,
        ),
        (
            "a renamed Service: the old one serves until the new one does",
            |desired, _| desired.service.as_mut().expect("a Service").name = "new".into(),
            &[
                "publish Service new for the addresses of the endpoint",
                "publish EndpointSlice new-ipv4 with 10.0.97.49, 10.0.98.49",
                "delete Service db",
                "delete EndpointSlice db-ipv4",
            ],
            Reason::Updating,
        ),
        (
            "another interface in place of one",
            |_, observed| {
                observed.addresses = KnownAddresses::All([address("10.0.97.49"), address("10.0.99.49")].into())
            },
            &["publish EndpointSlice db-ipv4 with 10.0.97.49, 10.0.99.49"],
            Reason::Updating,
        ),
        (
            "IPv6 in place of IPv4",
            |_, observed| observed.addresses = KnownAddresses::All([address("fd00::1")].into()),
            &[
                "publish EndpointSlice db-ipv6 with fd00::1",
                "delete EndpointSlice db-ipv4",
            ],
            Reason::Updating,
        ),
    ]);
}

#[test]
fn without_a_headless_service_no_slice_stays() {
    let found = spoiled_headless(|desired, _| desired.service.as_mut().expect("a Service").headless = false);
    let publish = format!("publish Service db for {}", dns_name(&ENDPOINT.into()));
    assert_eq!(words(&found), [publish.as_str(), "delete EndpointSlice db-ipv4"]);
    let found = spoiled_headless(|desired, _| desired.service = None);
    assert_eq!(words(&found), ["delete Service db", "delete EndpointSlice db-ipv4"]);

    let observed = settled_headless(&mut desired(generated()));
    let found = plan_deletion(&owner(), &observed, Ok(vpce_core::api::DeletionPolicy::Delete));
    let first = [
        "delete Service db",
        "delete EndpointSlice db-ipv4",
        "delete endpoint vpce-1",
    ];
    assert_eq!(words(&found), first);
}

#[test]
fn services_and_slices_of_other_owners_stay_and_get_no_addresses() {
    check(&[
        (
            "another's Service of that name",
            |_, observed| observed.services = vec![service_fact("db", false)],
            &["delete EndpointSlice db-ipv4"],
            Reason::ServiceConflict,
        ),
        (
            "another's slice of that name",
            |_, observed| slice(observed).ours = false,
            &[],
            Reason::ServiceConflict,
        ),
    ]);
}

#[test]
fn addresses_are_published_when_all_are_known_and_taken_away_when_they_are_gone() {
    let one = || KnownAddresses::Some([address("10.0.97.49")].into());
    let denied = || KnownAddresses::Unreadable(Finding::bad(Reason::Denied, "no"));
    let not_published = |observed: &mut Observed| {
        observed.services.clear();
        observed.slices.clear();
    };
    for (addresses, reason) in [
        (KnownAddresses::Unknown, Reason::WaitingForAddresses),
        (one(), Reason::WaitingForAddresses),
        (denied(), Reason::Denied),
    ] {
        let found = spoiled_headless(|_, observed| {
            not_published(observed);
            observed.addresses = addresses.clone();
        });
        assert_eq!((words(&found), found.service.reason), (Vec::new(), reason));
        assert!(!found.service.ok && found.endpoint.ok);
        // An ExternalName Service goes on serving.
        let found = spoiled_headless(|_, observed| {
            not_published(observed);
            observed.services.push(service_fact("db", true));
            observed.addresses = addresses.clone();
        });
        assert_eq!((words(&found), found.service.reason), (Vec::new(), reason));
    }
    let left = "publish EndpointSlice db-ipv4 with 10.0.97.49";
    for (state, addresses, expected, reason) in [
        (
            State::Available,
            KnownAddresses::Unknown,
            None,
            Reason::WaitingForAddresses,
        ),
        (State::Available, denied(), None, Reason::Denied),
        (State::Available, one(), Some(left), Reason::WaitingForAddresses),
        (
            State::Pending,
            KnownAddresses::Unknown,
            None,
            Reason::WaitingForEndpoint,
        ),
        (State::Pending, one(), Some(left), Reason::Updating),
    ] {
        let found = spoiled_headless(|_, observed| {
            endpoint(observed).state = state.clone();
            observed.addresses = addresses.clone();
        });
        assert_eq!(
            words(&found),
            expected.into_iter().collect::<Vec<_>>(),
            "{state} {addresses:?}"
        );
        let stands = (found.service.ok, found.service.reason);
        assert_eq!(stands, (false, reason), "{state} {addresses:?}");
    }
}

#[test]
fn a_slice_that_is_stored_otherwise_than_it_is_written_is_left_and_reported() {
    let stored = |spoil: fn(&mut ObservedSlice)| {
        spoiled_headless(|desired, observed| {
            let resource = endpoint(observed).clone();
            let content = slices_of(desired.service.as_ref().expect("a Service"), &resource).remove(0);
            let slice = slice(observed);
            slice.written_as = Some(content);
            spoil(slice);
        })
    };
    for (spoil, ok, says) in [
        ((|slice| slice.ports.clear()) as fn(&mut ObservedSlice), true, "(ports)"),
        (|slice| slice.addresses = None, false, "(endpoints)"),
    ] {
        let found = stored(spoil);
        assert_eq!((found.service.ok, found.service.reason), (ok, Reason::ServiceChanged));
        assert!(found.service.message.contains(says), "{}", found.service.message);
        assert_eq!(words(&found), [""; 0]);
    }
}
