//! Tables of cases of the Service that leads to an endpoint.

use std::collections::BTreeMap;

use vpce_core::conditions::Reason;
use vpce_core::desired::DesiredService;
use vpce_core::metadata::Metadata;
use vpce_core::observed::{ObservedService, ServiceContent, ServiceTarget, State};
use vpce_core::plan::Step;

use crate::observations::*;

/// Expects of each drift the steps, and the reason of `ServicePublished`.
#[track_caller]
fn check(cases: &[(Drift<'_>, Reason)]) {
    for ((name, spoil, expected), reason) in cases {
        let (desired, observed) = spoiled(spoil);
        let found = planned(&desired, &observed);
        assert_eq!(words(&found), *expected, "{name}");
        assert_eq!(found.service.reason, *reason, "{name}");
        let good = matches!(reason, Reason::Published | Reason::NotRequested);
        assert_eq!(found.service.ok, good, "{name}");
        // A problem of the Service is none of the endpoint's.
        assert_eq!(found.endpoint.ok, !name.contains("pending"), "{name}");
    }
}

#[test]
fn the_service_follows_what_is_desired() {
    let publish = format!("publish Service db for {}", dns_name(&ENDPOINT.into()));
    let publish = [publish.as_str()];
    check(&[
        (
            ("a Service deleted", |_, observed| observed.services.clear(), &publish),
            Reason::Updating,
        ),
        (
            (
                "a Service that leads elsewhere",
                |_, observed| observed.services[0].external_name = Some("elsewhere.example.com".into()),
                &publish,
            ),
            Reason::Updating,
        ),
        (
            (
                "a Service made into another type",
                |_, observed| observed.services[0].external_name = None,
                &publish,
            ),
            Reason::Updating,
        ),
        (
            (
                "a Service without our label",
                |_, observed| observed.services[0].labelled = false,
                &publish,
            ),
            Reason::Updating,
        ),
        (
            (
                "ports named in the spec",
                |desired, _| {
                    let port = serde_json::json!({"port": 443});
                    let ports = &mut desired.service.as_mut().expect("a Service").ports;
                    ports.push(serde_json::from_value(port).expect("a port"));
                },
                &publish,
            ),
            Reason::Updating,
        ),
        (
            (
                "a renamed Service: the old one serves until the new one does",
                |_, observed| observed.services[0].name = "old".into(),
                &[publish[0], "delete Service old"],
            ),
            Reason::Updating,
        ),
        (
            (
                "no Service wanted any more",
                |desired, _| desired.service = None,
                &["delete Service db"],
            ),
            Reason::Updating,
        ),
    ]);
}

#[test]
fn services_of_other_owners_stay_as_they_are() {
    check(&[
        (
            (
                "a stranger's Service of that name",
                |_, observed| observed.services = vec![service_fact("db", false)],
                &[],
            ),
            Reason::ServiceConflict,
        ),
        (
            (
                "renamed to a stranger's: the old one goes on serving",
                |_, observed| observed.services = vec![service_fact("old", true), service_fact("db", false)],
                &[],
            ),
            Reason::ServiceConflict,
        ),
        (
            (
                "a stranger's Service of another name",
                |_, observed| observed.services.push(service_fact("else", false)),
                &[],
            ),
            Reason::Published,
        ),
    ]);
}

#[test]
fn the_service_waits_for_a_name_of_an_available_endpoint() {
    check(&[
        (
            (
                "a pending endpoint without a Service",
                |_, observed| {
                    endpoint(observed).state = State::Pending;
                    observed.services.clear();
                },
                &[],
            ),
            Reason::WaitingForEndpoint,
        ),
        (
            (
                "an available endpoint without names",
                |_, observed| {
                    endpoint(observed).dns_names.clear();
                    observed.services.clear();
                },
                &[],
            ),
            Reason::WaitingForDNS,
        ),
        (
            (
                "an endpoint with a wildcard for a name",
                |_, observed| {
                    endpoint(observed).dns_names = vec!["*.vpce-1-x1y2.example.com".into()];
                    observed.services.clear();
                },
                &[],
            ),
            Reason::NoUsableDNSName,
        ),
    ]);
}

#[test]
fn a_service_is_corrected_where_it_exists_and_created_where_it_does_not() {
    for there in [true, false] {
        let (desired, observed) = spoiled(|_, observed| match there {
            true => observed.services[0].labelled = false,
            false => observed.services.clear(),
        });
        let steps = planned(&desired, &observed).steps;
        assert!(
            matches!(&steps[..], [Step::PublishService { exists, .. }] if *exists == there),
            "{steps:?}"
        );
    }
}

#[test]
fn a_recreated_endpoint_takes_its_service_along() {
    let (desired, observed) = spoiled(|_, observed| {
        let resource = endpoint(observed);
        resource.id = "vpce-2".into();
        resource.dns_names = vec![dns_name(&"vpce-2".into())];
    });
    assert_eq!(
        words(&planned(&desired, &observed)),
        [format!("publish Service db for {}", dns_name(&"vpce-2".into()))]
    );
}

#[test]
fn without_a_service_the_endpoint_says_its_own_name() {
    let mut wanted = desired(generated());
    wanted.service = None::<DesiredService>;
    let found = planned(&wanted, &settled(&wanted));
    assert_eq!(
        found.endpoint.message,
        format!("connect to {}", dns_name(&ENDPOINT.into()))
    );
}

#[test]
fn labels_and_annotations_that_differ_are_set_again() {
    let user = |value: &str| Metadata {
        labels: [("team".to_owned(), value.to_owned())].into(),
        annotations: BTreeMap::new(),
    };
    for found in [Metadata::default(), user("other")] {
        let (desired, observed) = spoiled(|desired, observed| {
            desired.service.as_mut().expect("asked for").metadata = user("mine");
            observed.services[0].metadata = found;
        });
        let steps = planned(&desired, &observed).steps;
        assert!(
            matches!(&steps[..], [Step::PublishService { metadata, .. }] if *metadata == user("mine")),
            "{steps:?}"
        );
    }
}

#[test]
fn a_service_with_our_label_and_without_an_owner_is_taken_over_where_it_leads_to_the_endpoint() {
    let restored = |target: &str, labelled: bool, unowned: bool| ObservedService {
        external_name: Some(target.to_owned()),
        labelled,
        unowned,
        ..service_fact("db", false)
    };
    let dns = dns_name(&ENDPOINT.into());
    for (found, reason, words) in [
        (restored(&dns, true, true), None, ""),
        (
            restored("elsewhere", true, true),
            Some(Reason::ServiceConflict),
            "kubectl delete service db",
        ),
        (
            restored(&dns, false, true),
            Some(Reason::ServiceConflict),
            "does not own",
        ),
        (
            restored(&dns, true, false),
            Some(Reason::ServiceConflict),
            "does not own",
        ),
    ] {
        let (desired, observed) = spoiled(|_, observed| observed.services = vec![found.clone()]);
        let plan = planned(&desired, &observed);
        match reason {
            None => assert!(
                matches!(&plan.steps[..], [Step::PublishService { exists: true, .. }]),
                "{found:?}: {plan:?}"
            ),
            Some(reason) => {
                assert_eq!((plan.service.ok, plan.service.reason), (false, reason), "{found:?}");
                assert!(plan.service.message.contains(words), "{}", plan.service.message);
                assert!(plan.steps.is_empty(), "{plan:?}");
            }
        }
    }
}

#[test]
fn a_service_that_is_stored_otherwise_than_it_is_written_is_left_and_reported() {
    let dns = dns_name(&ENDPOINT.into());
    let written = ServiceContent {
        target: ServiceTarget::Name(dns.clone()),
        ports: Vec::new(),
        metadata: Metadata::default(),
    };
    let port = serde_json::from_value(serde_json::json!({"port": 80})).expect("a port");
    let stored = ObservedService {
        ports: vec![port],
        written_as: Some(written.clone()),
        ..service_fact("db", true)
    };
    let elsewhere = ObservedService {
        external_name: Some("elsewhere".to_owned()),
        ..stored.clone()
    };
    let another_type = ObservedService {
        external_name: None,
        ..stored.clone()
    };
    let disowned = ObservedService {
        ours: false,
        unowned: true,
        ..stored.clone()
    };
    for (found, leads, words) in [
        (&stored, true, "spec.ports"),
        (&elsewhere, false, "spec.externalName"),
        (&another_type, false, "spec.type"),
        (&disowned, true, "metadata.ownerReferences"),
    ] {
        let (desired, observed) = spoiled(|_, observed| observed.services = vec![found.clone()]);
        let plan = planned(&desired, &observed);
        assert_eq!((plan.service.ok, plan.service.reason), (leads, Reason::ServiceChanged));
        assert!(plan.service.message.contains(words), "{}", plan.service.message);
        assert!(plan.steps.is_empty(), "{plan:?}");
    }
    // What is wanted now was not written yet.
    let (desired, observed) = spoiled(|_, observed| {
        let written = ServiceContent {
            target: ServiceTarget::Name("before".to_owned()),
            ..written.clone()
        };
        observed.services = vec![ObservedService {
            written_as: Some(written),
            ..stored.clone()
        }];
    });
    assert!(matches!(
        &planned(&desired, &observed).steps[..],
        [Step::PublishService { .. }]
    ));
}
