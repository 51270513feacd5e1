//! DNS names that clients use: published as DNSEndpoints for external-dns, and what an endpoint has
//! as ConfigMaps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};
use vpce_core::iam::Scope;
use vpce_testbed::schemas::dns_endpoint_crd;

use crate::cluster::Run;
use crate::figures::api_writes;
use crate::privileges::operator;
use crate::tenant::Tenant;
use crate::world::{Setup, WhileUsed, World, merged, text};

const ALLOWED: [&str; 2] = ["*.example.com", "db.example.org"];

/// With DNSEndpoints and ConfigMaps.
fn setup() -> Setup {
    Setup::fast()
        .value("dnsEndpoints.enabled", "true")
        .value("dnsEndpoints.labels.zone", "private")
        .value("dnsEndpoints.annotations.example\\.com/owner", "platform")
        .value("configMaps.enabled", "true")
}

/// Installs external-dns' CRD.
pub(crate) fn install_crd(world: &World) {
    let crd = dns_endpoint_crd().expect("external-dns' CRD");
    let crd = std::fs::read_to_string(crd).expect("a file");
    let applied = world.cluster.plane.apply(&crd).expect("kubectl runs");
    applied.success().expect("the CRD is accepted");
}

/// One that these tests share; external-dns' CRD comes after the operator has started.
fn world() -> Arc<World> {
    static WORLD: WhileUsed<World> = WhileUsed::new();
    WORLD.get(|| {
        let world = World::own(setup());
        install_crd(&world);
        world
    })
}

fn dns_endpoints(namespace: &str) -> String {
    format!("/apis/externaldns.k8s.io/v1alpha1/namespaces/{namespace}/dnsendpoints")
}

fn config_maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn tenant<'w>(world: &'w World, name: &str) -> Tenant<'w> {
    let tenant = world.unregistered_tenant(name);
    tenant.register(json!({"allowed_dns_names": ALLOWED}));
    tenant
}

impl Tenant<'_> {
    /// A DNS name of its own: names are the cluster's.
    fn dns_name(&self, label: &str) -> String {
        format!("{label}.{}.example.com", self.namespace)
    }

    /// Waits until this condition is True.
    #[track_caller]
    fn is_so(&self, name: &str, kind: &str) {
        self.eventually(name, &format!("{kind} is True"), || {
            self.condition(name, kind).filter(|found| found.status).map(|_| ())
        });
    }

    fn named(&self, names: Value) -> Value {
        self.spec(json!({"dns_names": names}))
    }

    fn dns_endpoint(&self, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", dns_endpoints(&self.namespace));
        self.world.cluster.get(&path)
    }

    pub(crate) fn config_map(&self, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", config_maps(&self.namespace));
        self.world.cluster.get(&path)
    }

    /// Waits until its DNSEndpoint has exactly these records.
    #[track_caller]
    fn publishes(&self, name: &str, records: &Value) {
        self.eventually(name, &format!("the DNSEndpoint has {records}"), || {
            (self.dns_endpoint(name)?["spec"]["endpoints"] == *records).then_some(())
        });
    }

    /// What says of the names that they are not published, for this reason.
    #[track_caller]
    fn no_names(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("NamesPublished is False: {reason}"), || {
            let names = self.condition(name, "NamesPublished")?;
            let ready = self.condition(name, "Ready")?;
            let message = if names.message == "see Ready" {
                ready.message
            } else {
                names.message
            };
            (!names.status && !ready.status && names.reason == reason).then_some(message)
        })
    }
}

fn record(name: impl AsRef<str>, target: &Value) -> Value {
    let name = name.as_ref();
    json!({"dnsName": name, "recordType": "CNAME", "targets": [target]})
}

#[test]
fn names_are_published_as_external_dns_reads_them_and_kept_so() {
    let world = world();
    let tenant = tenant(&world, "names");
    let (name, wildcard) = (tenant.dns_name("db"), tenant.dns_name("*"));
    let names = json!([{"name": name, "ttl": 60}, {"name": wildcard}]);
    tenant.apply("db", tenant.named(names));
    let object = tenant.ready("db");
    let target = &object["status"]["dns_name"];
    let published = tenant.dns_endpoint("db").expect("a DNSEndpoint");
    let timed = merged(record(&name, target), json!({"recordTTL": 60}));
    let both = json!([record(&wildcard, target), timed]);
    assert_eq!(published["spec"], json!({"endpoints": both}));
    assert!(!text(target).ends_with('.'), "external-dns takes no dot at the end");
    let owner = &published["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["controller"]),
        (&json!("VPCEndpoint"), &json!(true))
    );
    let labels = &published["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "vpce-operator");
    assert_eq!(labels["zone"], "private");
    assert_eq!(published["metadata"]["annotations"]["example.com/owner"], "platform");
    assert_eq!(object["status"]["dns_names"], json!([wildcard, name]));

    // What others change is corrected.
    let path = format!("{}/db", dns_endpoints(&tenant.namespace));
    let edit = json!({"spec": {"endpoints": [record(&name, &json!("elsewhere.example.com"))]}});
    world.cluster.merge(&path, &edit).expect("an edit");
    tenant.publishes("db", &both);
    world.cluster.delete(&path);
    tenant.publishes("db", &both);
    let unlabelled = json!({"metadata": {"labels": {"zone": "public"}}});
    world.cluster.merge(&path, &unlabelled).expect("an edit");
    tenant.eventually("db", "the label is as the settings say", || {
        (tenant.dns_endpoint("db")?["metadata"]["labels"]["zone"] == "private").then_some(())
    });

    let other = tenant.dns_name("other");
    tenant.apply("db", tenant.named(json!([{"name": other}])));
    tenant.publishes("db", &json!([record(&other, target)]));
    tenant.apply("db", tenant.spec(json!({})));
    tenant.eventually("db", "the DNSEndpoint goes, and so does the condition", || {
        let object = tenant.get("db")?;
        let has_condition = tenant.condition("db", "NamesPublished").is_some();
        (tenant.dns_endpoint("db").is_none() && !has_condition && object["status"]["dns_names"].is_null()).then_some(())
    });
    tenant.apply("db", tenant.named(json!([{"name": other}])));
    tenant.publishes("db", &json!([record(&other, target)]));
    tenant.delete("db");
    tenant.gone("db");
    assert_eq!(tenant.dns_endpoint("db"), None);
}

#[test]
fn a_zonal_name_leads_to_the_zone_of_that_id() {
    let world = world();
    let tenant = world.unregistered_tenant("names-zones");
    // In this account the names stand for other zones than elsewhere.
    let zone = |letter: char| format!("{}{letter}", tenant.region);
    let ids = [
        (zone('a'), "usw2-az3"),
        (zone('b'), "usw2-az1"),
        (zone('c'), "usw2-az2"),
    ];
    let ids: Vec<(&str, &str)> = ids.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    world.aws.set_zone_ids(&tenant.account_id, &tenant.region, &ids);
    let network = json!({"name": "main", "region": tenant.region, "vpc_id": tenant.vpc});
    tenant.register_with_its_role(json!({"allowed_dns_names": ALLOWED, "networks": [network]}));
    let [a, b, c] = ["*.a", "*.b", "*.c"].map(|label| tenant.dns_name(label));
    let names = json!([{"name": a, "zone_id": "usw2-az3"}, {"name": b, "zone_id": "usw2-az1"}]);
    tenant.apply("db", tenant.named(names));
    let object = tenant.ready("db");
    let zonal = &object["status"]["zonal_dns_names"];
    for (id, letter) in [("usw2-az3", 'a'), ("usw2-az1", 'b')] {
        let label = text(&zonal[id])
            .split('.')
            .next()
            .map(str::to_owned)
            .unwrap_or_default();
        assert!(label.ends_with(&format!("-{}", zone(letter))), "{id}: {zonal}");
    }
    let both = json!([record(&a, &zonal["usw2-az3"]), record(&b, &zonal["usw2-az1"]),]);
    tenant.publishes("db", &both);

    let elsewhere = json!([{"name": a, "zone_id": "usw2-az3"}, {"name": c, "zone_id": "usw2-az2"}]);
    tenant.apply("db", tenant.named(elsewhere));
    let message = tenant.no_names("db", "NoUsableDNSName");
    assert!(message.contains("no network interface"), "{message}");
    // What can be published is.
    tenant.publishes("db", &json!([record(&a, &zonal["usw2-az3"])]));
}

#[test]
fn a_role_that_may_not_read_subnets_costs_zonal_names_and_nothing_else() {
    let world = world();
    let tenant = tenant(&world, "names-denied");
    let (name, zonal) = (tenant.dns_name("db"), tenant.dns_name("a"));
    let names = json!([{"name": name}, {"name": zonal, "zone_id": "usw2-az1"}]);
    tenant.apply("db", tenant.named(names));
    let message = tenant.no_names("db", "Denied");
    assert!(message.contains("ec2:DescribeSubnets"), "{message}");
    tenant.is_so("db", "EndpointAvailable");
    let target = &tenant.get("db").expect("it is there")["status"]["dns_name"].take();
    tenant.publishes("db", &json!([record(&name, target)]));
    tenant.is_so("db", "EndpointAvailable");
    tenant.is_so("db", "ServicePublished");
}

#[test]
fn only_names_within_the_guardrails_are_published() {
    let world = world();
    let tenant = world.tenant("names-guarded");
    let name = tenant.dns_name("db");
    tenant.apply("db", tenant.named(json!([{"name": name}])));
    let message = tenant.not_ready("db", "NotAllowed");
    assert!(
        message.contains("allowed_dns_names") && message.contains("platform team"),
        "{message}"
    );
    assert_eq!(tenant.endpoints(), Vec::new(), "nothing is created");
    tenant.edit_account(json!({"allowed_dns_names": ["*.example.com"]}));
    let object = tenant.ready("db");
    let target = &object["status"]["dns_name"];
    tenant.publishes("db", &json!([record(&name, target)]));
    // One that is tightened takes nothing away.
    tenant.edit_account(json!({"allowed_dns_names": ["*.example.org"]}));
    tenant.paused("db", "NotAllowed");
    tenant.publishes("db", &json!([record(&name, target)]));

    let refused = [
        ("DB.example.com", "use lower case"),
        ("db.example.com.", "leave out the dot at the end"),
        ("https://db.example.com", "leave out the scheme"),
        ("localhost", "must be a DNS name"),
        ("db", "must be a DNS name"),
        ("a.*.example.com", "must be a DNS name"),
        ("db.svc.cluster.local", "resolved within a host or a cluster"),
        ("db.blue.svc", "resolved within a host or a cluster"),
        ("-db.example.com", "must be a DNS name"),
        ("", "at least 1 chars long"),
    ];
    for (name, words) in refused {
        let spec = tenant.named(json!([{"name": name}]));
        let refusal = tenant.try_apply("bad", spec).expect_err(name);
        assert!(refusal.message.contains(words), "{name}: {}", refusal.message);
    }
    let long = format!("{}.example.com", vec!["a".repeat(60); 4].join("."));
    for (names, words) in [
        (
            json!([{"name": "db.example.com"}, {"name": "db.example.com", "ttl": 5}]),
            "Duplicate value",
        ),
        (json!([{"name": long}]), "may not be more than 253"),
        (
            json!([{"name": "db.example.com", "ttl": 0}]),
            "greater than or equal to 1",
        ),
        (
            json!([{"name": "db.example.com", "zone_id": "us-west-2a"}]),
            "is a zone's name",
        ),
        (json!([{"ttl": 5}]), "Required value"),
        (json!("db.example.com"), "must be of type array"),
    ] {
        let refusal = tenant.try_apply("bad", tenant.named(names)).expect_err(words);
        assert!(refusal.message.contains(words), "{words}: {}", refusal.message);
    }
    let gateway = json!({"vpc_id": tenant.vpc, "vpc_endpoint_type": "Gateway", "vpc_endpoint_service_id": "s3",
        "dns_names": [{"name": "s3.example.com"}]});
    let refusal = tenant.try_apply("bad", gateway).expect_err("it has no name");
    assert!(
        refusal
            .message
            .contains("have no DNS name that dns_names could lead to"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_name_that_another_publishes_is_a_conflict_until_that_one_gives_it_up() {
    let world = world();
    let (first, second) = (tenant(&world, "names-first"), tenant(&world, "names-second"));
    let shared = first.dns_name("shared");
    let own_name = second.dns_name("own");
    let names = json!([{"name": shared}]);
    first.apply("db", first.named(names.clone()));
    first.ready("db");
    let own = json!([{"name": own_name}, {"name": shared}]);
    second.apply("db", second.named(own.clone()));
    let message = second.no_names("db", "DNSNameConflict");
    assert!(
        message.contains(&format!("VPCEndpoint {}/db", first.namespace)),
        "{message}"
    );
    second.event("db", "DNSNameConflict");
    second.is_so("db", "EndpointAvailable");
    let target = second.get("db").expect("it is there")["status"]["dns_name"].take();
    second.publishes("db", &json!([record(&own_name, &target)]));

    // One that only asks for it takes nothing away.
    let unregistered = world.unregistered_tenant("names-third");
    unregistered.apply("db", unregistered.named(names));
    unregistered.not_ready("db", "NoAccount");
    first.ready("db");

    first.apply("db", first.named(json!([{"name": first.dns_name("other")}])));
    let both = json!([record(&own_name, &target), record(&shared, &target)]);
    second.publishes("db", &both);
    second.ready("db");
    first.apply("db", first.named(json!([{"name": shared}])));
    first.no_names("db", "DNSNameConflict");
    second.delete("db");
    second.gone("db");
    first.ready("db");
}

#[test]
fn a_dns_endpoint_and_a_config_map_of_others_are_not_touched() {
    let world = world();
    let tenant = tenant(&world, "names-foreign");
    let foreign = json!({"apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint", "metadata": {"name": "db"},
        "spec": {"endpoints": [record("other.example.com", &json!("192-0-2-1.example.com"))]}});
    let path = dns_endpoints(&tenant.namespace);
    world.eventually("the kind is served", || {
        world.cluster.create(&path, &foreign, Run::Real).ok()
    });
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db"}, "data": {"key": "theirs"}});
    let maps = config_maps(&tenant.namespace);
    world.cluster.create(&maps, &map, Run::Real).expect("created");
    let asked = json!({"dns_names": [{"name": tenant.dns_name("db")}], "publish_config_map": true});
    tenant.apply("db", tenant.spec(asked));
    tenant.no_names("db", "DNSEndpointConflict");
    tenant.eventually("db", "the ConfigMap is another's", || {
        let condition = tenant.condition("db", "ConfigMapPublished")?;
        (!condition.status && condition.reason == "ConfigMapConflict").then_some(())
    });
    assert_eq!(tenant.dns_endpoint("db").expect("it stays")["spec"], foreign["spec"]);
    assert_eq!(tenant.config_map("db").expect("it stays")["data"], map["data"]);
    world.cluster.delete(&format!("{path}/db"));
    world.cluster.delete(&format!("{maps}/db"));
    tenant.ready("db");
    tenant.delete("db");
    tenant.gone("db");
    assert_eq!((tenant.dns_endpoint("db"), tenant.config_map("db")), (None, None));
}

#[test]
fn an_object_that_shares_an_endpoint_has_names_of_its_own() {
    let world = world();
    let (owner, other) = (tenant(&world, "names-owner"), world.unregistered_tenant("names-shares"));
    owner.apply("db", owner.spec(json!({"share": {"namespaces": [other.namespace]}})));
    owner.ready("db");
    let to = json!({"namespace": owner.namespace, "name": "db"});
    let shares = |names: Value| json!({"vpc_endpoint_ref": to, "dns_names": names, "publish_config_map": true});
    other.apply("db", shares(json!([{"name": other.dns_name("db")}])));
    let object = other.ready("db");
    let target = &object["status"]["dns_name"];
    other.publishes("db", &json!([record(other.dns_name("db"), target)]));
    other.eventually("db", "its ConfigMap has the addresses", || {
        let data = other.config_map("db")?["data"].take();
        let has_addresses = text(&data["addresses"]).split(',').count() == 2;
        (has_addresses && data["account_id"] == json!(owner.account_id)).then_some(())
    });
    // The guardrails are those of the account that the endpoint is in.
    other.apply("db", shares(json!([{"name": "db.example.net"}])));
    let message = other.no_names("db", "NotAllowed");
    assert!(message.contains(&format!("AWSAccount {}", owner.account)), "{message}");
    // Of zones, too.
    let scope = Scope {
        networks: true,
        ..Scope::default()
    };
    world.set_role(&owner.role_arn, &scope);
    other.apply(
        "db",
        shares(json!([{"name": other.dns_name("a"), "zone_id": "usw2-az1"}])),
    );
    other.ready("db");
    let zonal = owner.get("db").expect("it is there")["status"]["zonal_dns_names"].take();
    other.publishes("db", &json!([record(other.dns_name("a"), &zonal["usw2-az1"])]));
}

#[test]
fn external_dns_may_come_and_go_and_no_other_thing_waits_for_it() {
    let world = World::own(setup());
    let tenant = tenant(&world, "names-late");
    tenant.apply("db", tenant.named(json!([{"name": "db.example.com"}])));
    let message = tenant.no_names("db", "DNSEndpointsUnavailable");
    assert!(message.contains("no kind DNSEndpoint"), "{message}");
    for part in ["AccountResolved", "EndpointAvailable", "ServicePublished"] {
        tenant.is_so("db", part);
    }
    install_crd(&world);
    let object = tenant.ready("db");
    tenant.publishes("db", &json!([record("db.example.com", &object["status"]["dns_name"])]));

    // At rest nothing is written, nor after a restart.
    let resyncs = || {
        let calls = tenant.calls();
        calls
            .iter()
            .filter(|call| call.action == "DescribeVpcEndpoints")
            .count()
    };
    let pass = |count: usize| {
        let begun = resyncs();
        world.eventually("resyncs have passed", || (resyncs() >= begun + count).then_some(()));
    };
    // Events are written a moment later.
    pass(2);
    let writes = api_writes(&world);
    pass(3);
    assert_eq!(api_writes(&world), writes);
    let before = tenant.get("db").expect("it is there")["metadata"]["resourceVersion"].take();
    let published = tenant.dns_endpoint("db");
    world.operator.kill().expect("it ran");
    world.operator.start().expect("it starts again");
    pass(2);
    assert_eq!(
        tenant.get("db").expect("it is there")["metadata"]["resourceVersion"],
        before
    );
    assert_eq!(tenant.dns_endpoint("db"), published);

    world
        .cluster
        .delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dnsendpoints.externaldns.k8s.io");
    tenant.merge(
        "db",
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "1"}}}),
    );
    tenant.no_names("db", "DNSEndpointsUnavailable");
    tenant.delete("db");
    tenant.gone("db");
}

#[test]
fn a_config_map_says_what_the_endpoint_has() {
    let world = world();
    let tenant = tenant(&world, "config-map");
    tenant.apply("db", tenant.spec(json!({"publish_config_map": true})));
    let object = tenant.ready("db");
    let endpoint = tenant.only();
    let expected = |endpoint: &vpce_testbed::aws::EndpointView, status: &Value| {
        let addresses: BTreeSet<_> = endpoint.addresses.values().flatten().collect();
        let addresses: Vec<String> = addresses.into_iter().map(ToString::to_string).collect();
        let entries: Vec<String> = status["dns_entries"]
            .as_array()
            .expect("names")
            .iter()
            .map(text)
            .collect();
        json!({
            "vpc_endpoint_id": endpoint.id, "account_id": tenant.account_id, "region": tenant.region,
            "vpc_endpoint_service_id": tenant.service, "dns_name": status["dns_name"],
            "dns_entries": entries.join(","), "addresses": addresses.join(","),
        })
    };
    let whole = expected(&endpoint, &object["status"]);
    tenant.eventually("db", "the ConfigMap has all of it", || {
        (tenant.config_map("db")?["data"] == whole).then_some(())
    });
    assert_eq!(tenant.ready("db")["status"]["config_map"], "db");
    let path = format!("{}/db", config_maps(&tenant.namespace));
    let edit = json!({"data": {"vpc_endpoint_id": "vpce-0", "more": "x"}});
    world.cluster.merge(&path, &edit).expect("an edit");
    tenant.eventually("db", "the edit is corrected at the next resync", || {
        (tenant.config_map("db")?["data"] == whole).then_some(())
    });
    tenant.apply("db", tenant.spec(json!({})));
    tenant.eventually("db", "the ConfigMap goes", || {
        tenant.config_map("db").is_none().then_some(())
    });
    tenant.eventually("db", "the condition goes, too", || {
        let condition = tenant.condition("db", "ConfigMapPublished");
        condition.is_none().then_some(())
    });
}

#[test]
fn what_the_chart_does_not_turn_on_is_told() {
    let tenant = World::shared().unregistered_tenant("names-off");
    tenant.register(json!({"allowed_dns_names": ALLOWED}));
    let asked = json!({"dns_names": [{"name": "db.example.com"}], "publish_config_map": true});
    tenant.apply("db", tenant.spec(asked));
    let message = tenant.no_names("db", "DNSEndpointsUnavailable");
    assert!(message.contains("dnsEndpoints.enabled"), "{message}");
    let condition = tenant.condition("db", "ConfigMapPublished").expect("it is told");
    assert_eq!(
        (condition.status, condition.reason.as_str()),
        (false, "ConfigMapsUnavailable")
    );
    tenant.is_so("db", "EndpointAvailable");
}

#[test]
fn the_operators_token_writes_aliases_of_endpoints_and_nothing_else() {
    let world = world();
    let tenant = tenant(&world, "names-token");
    tenant.apply("db", tenant.named(json!([{"name": tenant.dns_name("db")}])));
    let object = tenant.ready("db");
    let target = &object["status"]["dns_name"];
    let token = operator(&world);
    let owner = json!([{"apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint", "name": "db", "uid": "u-1", "controller": true}]);
    let metadata =
        json!({"name": "x", "ownerReferences": owner, "labels": {"app.kubernetes.io/managed-by": "vpce-operator"}});
    let dns_endpoint = |metadata: &Value, record: Value| json!({"apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint", "metadata": metadata, "spec": {"endpoints": [record]}});
    let path = dns_endpoints(&tenant.namespace);
    let good = record(tenant.dns_name("db"), target);
    token.may(Method::POST, &path, &dns_endpoint(&metadata, good.clone()));
    for (changes, says) in [
        (
            json!({"targets": ["elsewhere.example.com"]}),
            "aliases of VPC endpoints",
        ),
        (
            json!({"targets": ["10.0.0.1"], "recordType": "A"}),
            "aliases of VPC endpoints",
        ),
        (
            json!({"targets": [target, "elsewhere.example.com"]}),
            "aliases of VPC endpoints",
        ),
        (
            json!({"providerSpecific": [{"name": "a", "value": "b"}]}),
            "aliases of VPC endpoints",
        ),
    ] {
        let record = merged(good.clone(), changes);
        token.may_not(Method::POST, &path, &dns_endpoint(&metadata, record), says);
    }
    let unowned = merged(metadata.clone(), json!({"ownerReferences": []}));
    token.may_not(
        Method::POST,
        &path,
        &dns_endpoint(&unowned, good),
        "that a VPCEndpoint controls",
    );
    let map = |metadata: &Value, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    let maps = config_maps(&tenant.namespace);
    token.may(
        Method::POST,
        &maps,
        &map(&metadata, json!({"vpc_endpoint_id": "vpce-1"})),
    );
    token.may_not(
        Method::POST,
        &maps,
        &map(&metadata, json!({"Corefile": "."})),
        "what an endpoint has",
    );
    token.may_not(
        Method::POST,
        &maps,
        &map(&unowned, json!({})),
        "that a VPCEndpoint controls",
    );
    token.may_not(Method::GET, &maps, &Value::Null, "cannot list");
}

/// What two objects ask for: an owner with an endpoint, and one that shares it.
#[derive(Debug)]
struct Asked {
    names: Vec<String>,
    config_map: bool,
    shares: bool,
    names_of_other: Vec<String>,
}

impl Asked {
    fn draw(random: &mut Rng, owner: &Tenant<'_>, other: &Tenant<'_>) -> Self {
        let mut some = |tenant: &Tenant<'_>| -> Vec<String> {
            // One of them both would like to have.
            let names = [tenant.dns_name("a"), tenant.dns_name("*"), owner.dns_name("both")];
            names.into_iter().filter(|_| random.bool()).collect()
        };
        let (names, names_of_other) = (some(owner), some(other));
        Self {
            names,
            names_of_other,
            config_map: random.bool(),
            shares: random.bool(),
        }
    }
}

/// The names that a DNSEndpoint has.
fn names_of(tenant: &Tenant<'_>) -> BTreeSet<String> {
    let found = tenant.dns_endpoint("db").unwrap_or_default();
    let records = found["spec"]["endpoints"].as_array().cloned().unwrap_or_default();
    records.iter().map(|record| text(&record["dnsName"])).collect()
}

impl Asked {
    fn apply(&self, owner: &Tenant<'_>, other: &Tenant<'_>) {
        let named = |names: &[String]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let share = if self.shares {
            json!([other.namespace])
        } else {
            json!([])
        };
        let wanted = json!({
            "dns_names": named(&self.names), "publish_config_map": self.config_map, "share": {"namespaces": share},
        });
        owner.apply("db", owner.spec(wanted));
        let to = json!({"namespace": owner.namespace, "name": "db"});
        other.apply(
            "db",
            json!({"vpc_endpoint_ref": to, "dns_names": named(&self.names_of_other)}),
        );
    }

    /// Whether all is published as it is asked for. Who is not let in keeps what was published when
    /// it was, and gets nothing new.
    fn is_so(&self, owner: &Tenant<'_>, other: &Tenant<'_>) -> Option<bool> {
        let id = text(&owner.get("db")?["status"]["vpc_endpoint_id"]);
        let is_available = owner.condition("db", "EndpointAvailable")?.status;
        let has_map = owner
            .config_map("db")
            .is_some_and(|map| map["data"]["vpc_endpoint_id"] == json!(id));
        let (mut own, mut others) = (names_of(owner), names_of(other));
        let mut wanted: BTreeSet<String> = self.names.iter().cloned().collect();
        let mut wanted_by_other: BTreeSet<String> = self.names_of_other.iter().cloned().collect();
        if !self.shares {
            return Some(is_available && has_map == self.config_map && own.is_subset(&wanted));
        }
        let both = owner.dns_name("both");
        let mut one_has_it = true;
        if wanted.contains(&both) && wanted_by_other.contains(&both) {
            one_has_it = own.contains(&both) != others.contains(&both);
            for names in [&mut own, &mut others, &mut wanted, &mut wanted_by_other] {
                names.remove(&both);
            }
        }
        let service = other.kubernetes_service("db");
        let leads = service.is_some_and(|service| text(&service["spec"]["externalName"]).starts_with(&id));
        let is_published = own == wanted && others == wanted_by_other && one_has_it && leads;
        Some(is_available && has_map == self.config_map && is_published)
    }
}

#[test]
fn whenever_it_is_killed_what_is_published_becomes_what_the_specs_say() {
    const ROUNDS: usize = 6;
    const EDITS: usize = 4;
    let world = World::own(setup());
    install_crd(&world);
    let (owner, other) = (
        tenant(&world, "names-killed"),
        world.unregistered_tenant("names-beside"),
    );
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    for round in 0..ROUNDS {
        let mut asked = None;
        for _ in 0..EDITS {
            let now = Asked::draw(&mut random, &owner, &other);
            now.apply(&owner, &other);
            std::thread::sleep(Duration::from_millis(random.u64(0..900)));
            world.operator.kill().expect("it ran");
            world.operator.start().expect("it starts again");
            asked = Some(now);
        }
        let asked = asked.expect("edits");
        let what = format!("round {round}: all is as {asked:?}");
        owner.eventually("db", &what, || asked.is_so(&owner, &other)?.then_some(()));
    }
    assert_eq!(owner.endpoints().len(), 1, "one endpoint, however often it was killed");
    owner.apply("db", owner.spec(json!({})));
    other.delete("db");
    owner.eventually("db", "nothing is left of it", || {
        let names = world.cluster.list(&dns_endpoints(&owner.namespace)).len();
        (names == 0 && owner.config_map("db").is_none()).then_some(())
    });
    other.gone("db");
    other.eventually("db", "what it published goes with it", || {
        let (names, service) = (other.dns_endpoint("db"), other.kubernetes_service("db"));
        (names.is_none() && service.is_none()).then_some(())
    });
}
