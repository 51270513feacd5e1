//! Tables of cases of the DNSEndpoint and of the ConfigMap of an endpoint.

use std::collections::BTreeSet;

use vpce_core::api::DnsName;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::config_map::{ConfigMapContent, ObservedConfigMap};
use vpce_core::desired::Desired;
use vpce_core::metadata::Metadata;
use vpce_core::names::{DnsEndpointContent, ObservedDnsEndpoint, Record, ZonalNames};
use vpce_core::observed::{Lookup, Observed, State};
use vpce_core::plan::{Outcome, Plan, Step};

use crate::observations::*;

const ZONE: &str = "euw1-az1";

fn name(name: &str, zone: Option<&str>) -> DnsName {
    DnsName {
        name: name.to_owned(),
        zone_id: zone.map(str::to_owned),
        ttl: None,
    }
}

fn zonal_name() -> String {
    dns_name(&ENDPOINT.into()).replacen('.', "-eu-west-1a.", 1)
}

/// With a name, a zonal one and a ConfigMap, all of them published.
fn settled_names() -> (Desired, Observed) {
    let mut desired = desired(generated());
    desired.names = vec![name("db.example.com", None), name("a.example.com", Some(ZONE))];
    desired.config_map = true;
    let mut observed = settled(&desired);
    observed.names.zonal = ZonalNames::Known([(ZONE.to_owned(), zonal_name())].into());
    for step in planned(&desired, &observed).steps {
        let outcome = match &step {
            Step::PublishDnsEndpoint { name, content, .. } => {
                Outcome::DnsEndpoint(ObservedDnsEndpoint::published(name, content.clone()))
            }
            Step::PublishConfigMap { name, content, .. } => {
                Outcome::ConfigMap(ObservedConfigMap::published(name, content.clone()))
            }
            other => panic!("{other}"),
        };
        let effect = step.effect(outcome);
        observed.record(effect);
    }
    (desired, observed)
}

fn spoiled_names(spoil: impl FnOnce(&mut Desired, &mut Observed)) -> Plan {
    let (mut desired, mut observed) = settled_names();
    spoil(&mut desired, &mut observed);
    planned(&desired, &observed)
}

fn published(observed: &mut Observed) -> &mut ObservedDnsEndpoint {
    &mut observed.names.endpoints[0]
}

fn records(plan: &Plan) -> Option<BTreeSet<(String, String)>> {
    plan.steps.iter().find_map(|step| match step {
        Step::PublishDnsEndpoint { content, .. } => {
            let records = content.records.iter();
            Some(
                records
                    .map(|record| (record.name.clone(), record.target.clone()))
                    .collect(),
            )
        }
        _ => None,
    })
}

#[test]
fn what_is_published_leads_to_the_endpoint_and_to_its_zone_and_stays() {
    let (desired, observed) = settled_names();
    let found = planned(&desired, &observed);
    assert_eq!(words(&found), [""; 0]);
    assert_eq!((found.names.reason, found.names.ok), (Reason::Published, true));
    assert_eq!(
        (found.config_map.reason, found.config_map.ok),
        (Reason::Published, true)
    );
    let records: Vec<Record> = observed.names.endpoints[0]
        .records
        .clone()
        .expect("ours")
        .into_iter()
        .collect();
    let targets: Vec<&str> = records.iter().map(|record| record.target.as_str()).collect();
    assert_eq!(targets, [zonal_name(), dns_name(&ENDPOINT.into())]);
}

#[test]
fn each_drift_of_it_is_corrected() {
    type Spoil = fn(&mut Desired, &mut Observed);
    let cases: [(&str, Spoil, &[&str], Reason); 7] = [
        (
            "deleted",
            |_, observed| observed.names.endpoints.clear(),
            &["publish DNSEndpoint db with a.example.com, db.example.com"],
            Reason::Updating,
        ),
        (
            "another's records",
            |_, observed| published(observed).records = None,
            &["publish DNSEndpoint db with a.example.com, db.example.com"],
            Reason::Updating,
        ),
        (
            "without our label",
            |_, observed| published(observed).labelled = false,
            &["publish DNSEndpoint db with a.example.com, db.example.com"],
            Reason::Updating,
        ),
        (
            "of another name",
            |_, observed| published(observed).name = "former".into(),
            &[
                "delete DNSEndpoint former",
                "publish DNSEndpoint db with a.example.com, db.example.com",
            ],
            Reason::Updating,
        ),
        (
            "no longer wanted",
            |desired, _| desired.names.clear(),
            &["delete DNSEndpoint db"],
            Reason::Updating,
        ),
        (
            "another's",
            |_, observed| published(observed).ours = false,
            &[],
            Reason::DNSEndpointConflict,
        ),
        (
            "no such kind",
            |_, observed| {
                observed.names.endpoints.clear();
                let why = Finding::bad(Reason::DNSEndpointsUnavailable, "no such kind");
                observed.names.unavailable = Some(why);
            },
            &[],
            Reason::DNSEndpointsUnavailable,
        ),
    ];
    for (case, spoil, expected, reason) in cases {
        let found = spoiled_names(spoil);
        assert_eq!(words(&found), *expected, "{case}");
        assert_eq!((found.names.reason, found.names.ok), (reason, false), "{case}");
        assert!(found.endpoint.ok && found.service.ok, "{case}: {found:?}");
    }
}

#[test]
fn a_name_that_cannot_be_published_holds_up_no_other() {
    let regional = ("db.example.com".to_owned(), dns_name(&ENDPOINT.into()));
    let found = spoiled_names(|_, observed| {
        observed.names.taken.insert("a.example.com".into(), "other/db".into());
    });
    assert_eq!(records(&found), Some([regional.clone()].into()));
    assert_eq!(found.names.reason, Reason::DNSNameConflict);
    assert!(found.names.message.contains("other/db"), "{}", found.names.message);

    // All are taken: nothing is left to publish.
    let found = spoiled_names(|_, observed| {
        for name in ["a.example.com", "db.example.com"] {
            observed.names.taken.insert(name.into(), "other/db".into());
        }
    });
    assert_eq!(words(&found), ["delete DNSEndpoint db"]);

    let found = spoiled_names(|desired, observed| {
        desired.names[1].zone_id = Some("euw1-az9".into());
        observed.names.endpoints.clear();
    });
    assert_eq!(records(&found), Some([regional].into()));
    assert_eq!(found.names.reason, Reason::NoUsableDNSName);
}

#[test]
fn what_was_published_stays_while_nothing_better_is_known() {
    for spoil in [
        (|_, observed| observed.names.zonal = ZonalNames::Unknown) as fn(&mut Desired, &mut Observed),
        |_, observed| {
            let why = Finding::bad(Reason::Denied, "may not");
            observed.names.zonal = ZonalNames::Unreadable(why);
        },
        |_, observed| observed.endpoint = Lookup::Unconfirmed,
        |_, observed| endpoint(observed).dns_names.clear(),
    ] {
        let found = spoiled_names(spoil);
        let names = words(&found).into_iter().filter(|step| step.contains("DNSEndpoint"));
        assert_eq!(names.collect::<Vec<_>>(), [""; 0], "{:?}", found.names);
        assert!(!found.names.ok);
    }
    // While AWS changes the endpoint, its names lead where they led.
    let found = spoiled_names(|_, observed| endpoint(observed).state = State::Pending);
    assert!(found.names.ok && records(&found).is_none());
}

#[test]
fn what_is_stored_otherwise_than_it_is_written_is_left_and_reported() {
    let (desired, mut observed) = settled_names();
    let content = DnsEndpointContent {
        records: published(&mut observed).records.clone().expect("ours"),
        metadata: Metadata::default(),
    };
    published(&mut observed).records = None;
    published(&mut observed).written_as = Some(content);
    let map = observed.config_map.as_mut().expect("published");
    let data = map.data.take().expect("ours");
    map.written_as = Some(ConfigMapContent { data });
    let found = planned(&desired, &observed);
    assert_eq!(words(&found), [""; 0]);
    assert_eq!(found.names.reason, Reason::DNSEndpointChanged);
    assert_eq!(found.config_map.reason, Reason::ConfigMapChanged);
    assert!(
        found.names.message.contains("spec.endpoints"),
        "{}",
        found.names.message
    );
}

#[test]
fn a_config_map_has_what_the_endpoint_has_and_goes_when_it_is_not_wanted() {
    let (_, observed) = settled_names();
    let data = observed.config_map.expect("published").data.expect("ours");
    assert_eq!(data["vpc_endpoint_id"], ENDPOINT);
    assert_eq!(data["account_id"], "222222222222");
    assert_eq!(data["region"], "eu-west-1");
    assert_eq!(data["dns_name"], dns_name(&ENDPOINT.into()));
    assert!(!data.contains_key("addresses"), "they are not known");
    let found = spoiled_names(|desired, _| desired.config_map = false);
    assert_eq!(words(&found), ["delete ConfigMap db"]);
    let found = spoiled_names(|_, observed| observed.config_map.as_mut().expect("there").ours = false);
    assert_eq!(words(&found), [""; 0]);
    assert_eq!(found.config_map.reason, Reason::ConfigMapConflict);
}
