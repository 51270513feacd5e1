use futures::FutureExt;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn parsed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("watched objects always parse")
}

/// A VPCEndpoint, bound to an AWSAccount of the AWS account 1.
fn endpoint(namespace: &str, name: &str, account: Option<&str>) -> Endpoint {
    let binding = account.map(|account| json!({"name": account, "account_id": "111111111111"}));
    parsed(json!({"metadata": {"namespace": namespace, "name": name}, "status": {"account": binding}}))
}

fn names<K: ResourceExt>(objects: &[Arc<K>]) -> Vec<String> {
    let name = |object: &Arc<K>| match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    };
    objects.iter().map(name).collect()
}

/// Namespaces, and an AWSAccount that maps all of them by name.
fn mapped(writers: &mut CacheWriters, account: &str, namespaces: &[&str]) {
    writers.accounts.apply(&Event::Apply(parsed(json!({
        "metadata": {"name": account},
        "spec": {"role_arn": "arn:aws:iam::111111111111:role/vpce", "namespaces": namespaces},
    }))));
    for name in namespaces {
        writers
            .namespaces
            .apply(&Event::Apply(parsed(json!({"metadata": {"name": name}}))));
    }
}

#[test]
fn an_object_is_found_by_what_it_was_last_and_no_more_by_what_it_was_before() {
    let (caches, mut writers) = Caches::new();
    mapped(&mut writers, "one", &["blue"]);
    let mut apply = |event| writers.endpoints.apply(&event);
    apply(Event::Apply(endpoint("green", "b", None)));
    apply(Event::Apply(endpoint("blue", "b", None)));
    apply(Event::Apply(endpoint("blue", "a", Some("one"))));
    apply(Event::Apply(endpoint("red", "a", Some("one"))));
    assert_eq!(names(&caches.in_namespace("blue")), ["blue/a", "blue/b"]);
    assert_eq!(names(&caches.bound_to("one")), ["blue/a", "red/a"]);
    assert_eq!(names(&caches.unbound_in("one")), ["blue/b"]);

    apply(Event::Apply(endpoint("blue", "b", Some("two"))));
    assert_eq!(names(&caches.unbound_in("one")), [""; 0]);
    assert_eq!(names(&caches.bound_to("two")), ["blue/b"]);
    assert_eq!(
        names(&caches.bound_to_account_id("111111111111")),
        ["blue/a", "blue/b", "red/a"]
    );

    apply(Event::Delete(endpoint("blue", "a", Some("one"))));
    // There was no event of it.
    apply(Event::Delete(endpoint("blue", "c", Some("one"))));
    assert_eq!(names(&caches.bound_to("one")), ["red/a"]);
    assert_eq!((caches.count_bound_to("one"), caches.count_bound_to("three")), (1, 0));
    assert!(caches.endpoint("blue", "a").is_none() && caches.endpoint("red", "a").is_some());
}

#[test]
fn a_relist_replaces_all_when_it_is_complete_and_not_before() {
    let (caches, mut writers) = Caches::new();
    writers
        .endpoints
        .fill([endpoint("blue", "a", Some("one")), endpoint("blue", "b", None)]);
    let before = |caches: &Caches| {
        assert_eq!(names(&caches.in_namespace("blue")), ["blue/a", "blue/b"]);
        assert_eq!(names(&caches.bound_to("one")), ["blue/a"]);
    };
    before(&caches);
    let mut apply = |event| writers.endpoints.apply(&event);
    apply(Event::Init);
    before(&caches);
    apply(Event::InitApply(endpoint("blue", "b", Some("one"))));
    before(&caches);
    // The list was cut off, and begins once more.
    apply(Event::Init);
    apply(Event::InitApply(endpoint("blue", "c", Some("two"))));
    before(&caches);
    apply(Event::InitDone);
    assert_eq!(names(&caches.in_namespace("blue")), ["blue/c"]);
    assert_eq!(caches.count_bound_to("one"), 0);
    assert_eq!(names(&caches.bound_to("two")), ["blue/c"]);
    assert_eq!(names(&caches.endpoints()), ["blue/c"]);
    assert!(caches.endpoint("blue", "b").is_none());
}

#[test]
fn what_an_index_finds_is_what_is_found_by_name() {
    let (caches, mut writers) = Caches::new();
    mapped(&mut writers, "one", &["blue"]);
    let reader = caches.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reads = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for endpoint in reader.bound_to("one") {
                    assert_eq!(
                        endpoint.status.account.as_ref().map(|account| account.name.as_str()),
                        Some("one")
                    );
                }
                for endpoint in reader.unbound_in("one") {
                    assert!(endpoint.status.account.is_none());
                }
            }
        }
    });
    for round in 0..500 {
        let account = (round % 2 == 0).then_some("one");
        writers.endpoints.apply(&Event::Apply(endpoint("blue", "a", account)));
        if round % 10 == 0 {
            writers
                .endpoints
                .fill([endpoint("blue", "a", account), endpoint("blue", "b", Some("one"))]);
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    reads.join().expect("no reader has seen what is not so");
}

#[test]
fn who_waits_for_room_is_found_as_long_as_a_condition_says_so() {
    let (caches, mut writers) = Caches::new();
    mapped(&mut writers, "one", &["blue"]);
    mapped(&mut writers, "two", &["green"]);
    let with = |reason: &str| -> Endpoint {
        let condition = json!({
            "type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        parsed(json!({"metadata": {"namespace": "blue", "name": "a"}, "status": {"conditions": [condition]}}))
    };
    writers.endpoints.apply(&Event::Apply(with("AccountFull")));
    assert_eq!(names(&caches.waiting_for_room_in("one")), ["blue/a"]);
    assert_eq!(names(&caches.waiting_for_room_in("two")), [""; 0]);
    writers.endpoints.apply(&Event::Apply(with("Creating")));
    assert_eq!(names(&caches.waiting_for_room_in("one")), [""; 0]);
}

#[test]
fn a_service_is_found_by_the_object_that_controls_it() {
    let (caches, mut writers) = Caches::new();
    let service = |name: &str, uid: &str, controller: bool| -> Service {
        parsed(
            json!({"metadata": {"namespace": "blue", "name": name, "ownerReferences": [
                {"apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint", "name": "a", "uid": uid, "controller": controller},
            ]}}),
        )
    };
    for found in [
        service("one", "u", true),
        service("two", "u", false),
        service("three", "v", true),
    ] {
        writers.services.apply(&Event::Apply(found));
    }
    assert_eq!(names(&caches.services_owned_by("u")), ["blue/one"]);
    writers.services.apply(&Event::Apply(service("one", "v", true)));
    assert_eq!(names(&caches.services_owned_by("u")), [""; 0]);
    assert_eq!(names(&caches.services_owned_by("v")), ["blue/one", "blue/three"]);
}

#[test]
fn the_accounts_of_a_namespace_are_those_that_map_it_whatever_their_selectors_look_like() {
    let (caches, mut writers) = Caches::new();
    let of = |name: &str, namespaces: Value, selector: Value| -> Account {
        parsed(json!({"metadata": {"name": name}, "spec": {
            "role_arn": "arn:aws:iam::111111111111:role/vpce", "namespaces": namespaces, "namespace_selector": selector,
        }}))
    };
    let expression =
        |operator: &str| json!({"matchExpressions": [{"key": "team", "operator": operator, "values": ["blue"]}]});
    writers.accounts.fill([
        of("named", json!(["blue", "green"]), json!(null)),
        of("labelled", json!([]), json!({"matchLabels": {"team": "blue"}})),
        of("both", json!(["blue"]), json!({"matchLabels": {"team": "blue"}})),
        of(
            "two-labels",
            json!([]),
            json!({"matchLabels": {"env": "prod", "team": "blue"}}),
        ),
        of("in", json!([]), expression("In")),
        of("not-in", json!([]), expression("NotIn")),
        of("empty", json!([]), json!({})),
        of("none", json!([]), json!(null)),
        parsed(json!({"metadata": {"name": "unparsed"}, "spec": {"namespaces": "blue"}})),
    ]);
    let namespace =
        |name: &str, labels: Value| -> NamespaceMeta { parsed(json!({"metadata": {"name": name, "labels": labels}})) };
    writers.namespaces.fill([
        namespace("blue", json!({"team": "blue"})),
        namespace("prod", json!({"team": "blue", "env": "prod"})),
        namespace("green", json!({})),
        namespace("other", json!({"team": "other"})),
    ]);
    for (namespace, expected) in [
        ("blue", vec!["both", "in", "labelled", "named"]),
        ("prod", vec!["both", "in", "labelled", "two-labels"]),
        ("green", vec!["named", "not-in"]),
        ("other", vec!["not-in"]),
        ("unknown", vec![]),
    ] {
        let found = names(&caches.accounts_mapping(namespace));
        assert_eq!(found, expected, "{namespace}");
        let mut each: Vec<String> = names(&caches.accounts());
        each.retain(|account| caches.maps(account, namespace));
        each.sort();
        assert_eq!(found, each, "{namespace}: as if each was asked");
    }
    let known = ["blue", "prod", "green", "other"];
    for account in names(&caches.accounts()) {
        let mapped: Vec<String> = caches.namespaces_of(&account).into_iter().collect();
        let mut each = known.map(str::to_owned).to_vec();
        each.retain(|namespace| caches.maps(&account, namespace));
        each.sort();
        assert_eq!(mapped, each, "{account}: as if each namespace was asked");
    }
    // Its labels change.
    writers
        .namespaces
        .apply(&Event::Apply(namespace("blue", json!({"team": "other"}))));
    assert_eq!(names(&caches.accounts_mapping("blue")), ["both", "named", "not-in"]);
    assert_eq!(names(&caches.accounts_of("111111111111")).len(), 8);
}

#[test]
fn the_caches_are_filled_when_every_kind_has_been_listed_once() {
    let (caches, mut writers) = Caches::new();
    let filled = |caches: &Caches| {
        let (all, others) = (caches.filled(), caches.others_filled::<Endpoint>());
        (all.now_or_never().is_some(), others.now_or_never().is_some())
    };
    writers.accounts.fill([]);
    writers.namespaces.fill([]);
    writers.slices.fill([]);
    writers.endpoint_services.fill([]);
    assert_eq!(filled(&caches), (false, false));
    // Its list is not complete.
    writers.services.apply(&Event::Init);
    assert_eq!(filled(&caches), (false, false));
    writers.services.apply(&Event::InitDone);
    assert_eq!(filled(&caches), (false, true));
    writers.endpoints.fill([]);
    assert_eq!(filled(&caches), (true, true));
    // A list that begins again takes nothing back.
    writers.accounts.apply(&Event::Init);
    assert_eq!(filled(&caches), (true, true));
}
