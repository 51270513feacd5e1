//! Admission webhooks that interfere: whatever they refuse of what the operator writes, with
//! whatever code, or change in it, is reported, costs few writes, and stops nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vpce_testbed::api_proxy::{ApiProxy, Seen};
use vpce_testbed::webhook::{Verdict, Webhooks};

use crate::api_server::proxied_by;
use crate::cluster::{self, ACCOUNTS, Run};
use crate::tenant::Tenant;
use crate::world::{Setup, WhileUsed, World, condition, text};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
/// Writes of one object in a minute, once it is known that one is refused or changed.
pub(crate) const MOST_A_MINUTE: usize = 3;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// What the tests share: nothing of it ends while one runs.
pub(crate) struct Bed {
    proxy: ApiProxy,
    pub(crate) world: World,
    webhooks: Webhooks,
}

/// Without the chart's own admission policies, which refuse some of what webhooks make of a
/// Service.
pub(crate) fn bed() -> Arc<Bed> {
    static BED: WhileUsed<Bed> = WhileUsed::new();
    BED.get(|| {
        let setup = Setup::fast()
            .value("admissionPolicy.enabled", "false")
            .value("settings.serviceLabels[0]", "team");
        let (proxy, world) = proxied_by(setup);
        let webhooks = Webhooks::start(&world.cluster.plane).expect("a server");
        Bed { proxy, world, webhooks }
    })
}

/// What a webhook does, and what of its message is reported.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    how: How,
    pub(crate) told: &'static str,
}

pub(crate) enum How {
    Denies(Option<u16>),
    IsDown,
    Changes(fn(&mut Value)),
}

/// Without a code the API server answers 400, and 500 where it cannot ask.
pub(crate) fn refusals() -> Vec<Case> {
    let denies = |name, code| Case {
        name,
        how: How::Denies(code),
        told: "not on a Saturday",
    };
    vec![
        denies("code-none", None),
        denies("code-403", Some(403)),
        denies("code-422", Some(422)),
        Case {
            name: "down",
            how: How::IsDown,
            told: "failed calling webhook",
        },
    ]
}

pub(crate) fn changes(name: &'static str, told: &'static str, change: fn(&mut Value)) -> Case {
    Case {
        name,
        how: How::Changes(change),
        told,
    }
}

/// Writes of some resource, in the words of a webhook's rule.
pub(crate) fn rule(group: &str, operations: &[&str], resource: &str) -> Value {
    json!([{"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [resource]}])
}

/// Webhooks that are in force until this is dropped.
pub(crate) struct InForce<'b> {
    bed: &'b Bed,
    paths: Vec<String>,
}

impl Drop for InForce<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            // A test that has failed drops it, too.
            let _ = self.bed.world.cluster.try_delete(path);
        }
    }
}

/// Puts a webhook before each namespace's writes of what the rules say, and waits until all are
/// asked.
pub(crate) fn put_in_force<'b>(bed: &'b Bed, name: &str, rules: &Value, cases: &[(&Case, &str)]) -> InForce<'b> {
    put_in_force_for(bed, name, rules, cases, None)
}

/// The same for one object of those that the rules name, where they have no namespace.
fn put_in_force_for<'b>(
    bed: &'b Bed,
    name: &str,
    rules: &Value,
    cases: &[(&Case, &str)],
    object: Option<&str>,
) -> InForce<'b> {
    let (mut validating, mut mutating) = (Vec::new(), Vec::new());
    for (case, namespace) in cases {
        let id = format!("{name}-{}", case.name);
        let (entries, mut entry) = match &case.how {
            How::IsDown => (&mut validating, Webhooks::entry_nobody_serves(&id, rules)),
            How::Denies(code) => {
                let verdict = Verdict::Deny {
                    code: *code,
                    message: format!("{name}: not on a Saturday"),
                };
                (&mut validating, bed.webhooks.entry(&id, rules, verdict))
            }
            How::Changes(change) => {
                let verdict = Verdict::Change(Box::new(*change));
                (&mut mutating, bed.webhooks.entry(&id, rules, verdict))
            }
        };
        entry["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        if let Some(object) = object {
            entry["matchConditions"] = json!([{"name": "object", "expression": format!("request.name == '{object}'")}]);
        }
        entries.push(entry);
    }
    let mut in_force = InForce { bed, paths: Vec::new() };
    for (kind, mut entries) in [("Validating", validating), ("Mutating", mutating)] {
        if entries.is_empty() {
            continue;
        }
        let refuses = kind == "Validating";
        let probed = rule("", &["CREATE"], "configmaps");
        let verdict = match refuses {
            true => Verdict::Deny {
                code: Some(418),
                message: "in force".to_owned(),
            },
            false => Verdict::Change(Box::new(|object| object["data"] = json!({"in": "force"}))),
        };
        // Each in a namespace of its own, where the other is not asked.
        let probed_in = if refuses { cases.first() } else { cases.last() };
        let (_, namespace) = probed_in.expect("there are cases");
        let mut probe = bed
            .webhooks
            .entry(&format!("{name}-probe-{}", kind.to_lowercase()), &probed, verdict);
        probe["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        entries.push(probe);
        let collection = format!("{GROUP}/{}webhookconfigurations", kind.to_lowercase());
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": name}, "webhooks": entries,
        });
        let created = bed.world.cluster.create(&collection, &configuration, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{name}: {}", refusal.message));
        in_force.paths.push(format!("{collection}/{name}"));
        bed.world
            .eventually(&format!("the {kind} webhooks of {name} are asked"), || {
                let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
                let path = format!("/api/v1/namespaces/{namespace}/configmaps");
                let answer = bed.world.cluster.create(&path, &probe, Run::Dry);
                match answer {
                    Ok(stored) => (!refuses && stored["data"]["in"] == "force").then_some(()),
                    Err(refusal) => (refuses && refusal.message.contains("in force")).then_some(()),
                }
            });
    }
    in_force
}

/// The operator's writes of a resource in a tenant's namespace.
pub(crate) fn writes(bed: &Bed, tenant: &Tenant<'_>, resource: &str) -> Vec<Seen> {
    let mut requests = bed.proxy.requests();
    requests.retain(|seen| {
        let is_write = matches!(seen.verb, "create" | "update" | "patch");
        is_write && seen.resource == resource && seen.namespace == tenant.namespace
    });
    requests
}

/// How many of some writes there were within any minute, the first `known_after` of them aside:
/// they are what shows how it is.
pub(crate) fn most_a_minute(writes: &[Seen], known_after: usize) -> usize {
    let times: Vec<Instant> = writes.iter().skip(known_after).map(|seen| seen.at).collect();
    let within = |from: &Instant| times.iter().filter(|at| *at >= from && **at < *from + MINUTE).count();
    times.iter().map(within).max().unwrap_or(0)
}

/// Waits until a minute has passed since then, so that there is one to count in.
pub(crate) fn a_minute_after(bed: &Bed, since: Instant) {
    bed.world
        .eventually("a minute has passed", || (since.elapsed() >= MINUTE).then_some(()));
}

/// A message is for people.
#[track_caller]
pub(crate) fn is_plain(message: &str) {
    for dump in ["ApiError", "Status {", "Some(", "metadata:", "ErrorResponse"] {
        assert!(!message.contains(dump), "{message}");
    }
}

#[track_caller]
fn part(tenant: &Tenant<'_>, name: &str, kind: &str) -> crate::world::Condition {
    let found = tenant.condition(name, kind);
    found.unwrap_or_else(|| panic!("{}/{name} has no condition {kind}", tenant.namespace))
}

fn service_path(tenant: &Tenant<'_>, name: &str) -> String {
    format!("{}/{name}", cluster::services(&tenant.namespace))
}

/// What webhooks do to Services, and what is then said to differ.
fn changed_services() -> Vec<Case> {
    vec![
        changes("ports", "spec.ports", |service| {
            service["spec"]["ports"] = json!([{"name": "added", "port": 80, "protocol": "TCP"}]);
        }),
        changes("other-ports-each-time", "spec.ports", |service| {
            static NUMBER: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(1);
            let port = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            service["spec"]["ports"] = json!([{"name": "added", "port": port, "protocol": "TCP"}]);
        }),
        changes("external-name", "spec.externalName", |service| {
            service["spec"]["externalName"] = json!("elsewhere.example.com");
        }),
        changes("type", "spec.type", |service| {
            service["spec"] = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
        }),
        changes("our-label", "app.kubernetes.io/managed-by", |service| {
            service["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("somebody");
        }),
        changes("labels", "app.kubernetes.io/managed-by", |service| {
            service["metadata"]["labels"] = json!({});
        }),
        changes("owner", "metadata.ownerReferences", |service| {
            service["metadata"]["ownerReferences"] = json!([]);
        }),
        changes("users-label", "spec.service", |service| {
            service["metadata"]["labels"]["team"] = json!("another");
        }),
        changes("our-annotation", "spec.service", |service| {
            service["metadata"]["annotations"] = json!({});
        }),
    ]
}

/// Each case with a tenant of its own.
pub(crate) fn with_tenants<'c>(bed: &'c Bed, name: &str, cases: &'c [Case]) -> Vec<(&'c Case, Tenant<'c>)> {
    let tenant = |case: &Case| bed.world.tenant(&format!("{name}-{}", case.name));
    cases.iter().map(|case| (case, tenant(case))).collect()
}

/// The cases with the namespaces that their webhooks are for.
pub(crate) fn namespaces<'c>(cases: impl IntoIterator<Item = &'c (&'c Case, Tenant<'c>)>) -> Vec<(&'c Case, &'c str)> {
    let cases = cases.into_iter();
    cases.map(|(case, tenant)| (*case, tenant.namespace.as_str())).collect()
}

/// The refusal is in `Ready` and in an event, and the endpoint is available all the same.
#[track_caller]
fn service_is_refused(case: &Case, tenant: &Tenant<'_>, name: &str) {
    let message = tenant.not_ready(name, "ServiceRefused");
    assert!(message.contains(case.told), "{}: {message}", case.name);
    is_plain(&message);
    let endpoint = part(tenant, name, "EndpointAvailable");
    assert!(endpoint.status, "{}: {endpoint:?}", case.name);
    let status = &tenant.get(name).expect("there")["status"];
    assert!(
        status["vpc_endpoint_id"].is_string() && status["dns_name"].is_string(),
        "{status}"
    );
    assert_eq!(status["service"], Value::Null, "{}", case.name);
    let event = tenant.event(name, "ServiceRefused");
    assert!(event.starts_with("Warning") && event.contains(case.told), "{event}");
}

/// The change is in `ServicePublished` and in an event. A Service that leads to the endpoint
/// serves; where it does not, `Ready` has the message.
#[track_caller]
fn service_is_changed(case: &Case, tenant: &Tenant<'_>) {
    let published = tenant.eventually("api", "it says that the Service is changed", || {
        tenant
            .condition("api", "ServicePublished")
            .filter(|found| found.reason == "ServiceChanged")
    });
    let leads = !matches!(case.name, "external-name" | "type");
    assert_eq!(published.status, leads, "{}: {}", case.name, published.message);
    let message = if leads {
        let object = tenant.ready("api");
        assert_eq!(text(&object["status"]["service"]["name"]), "api", "{}", case.name);
        published.message
    } else {
        tenant.not_ready("api", "ServiceChanged")
    };
    assert!(message.contains(case.told), "{}: {message}", case.name);
    is_plain(&message);
    assert!(
        tenant.event("api", "ServiceChanged").starts_with("Warning"),
        "{}",
        case.name
    );
}

/// Without webhooks the Service is published as it should be.
#[track_caller]
fn service_is_published(tenant: &Tenant<'_>) {
    tenant.eventually("api", "its Service is published as it should be", || {
        let found = tenant.condition("api", "ServicePublished")?;
        (found.status && found.reason == "Published").then_some(())
    });
    let service = tenant.kubernetes_service("api").expect("published");
    assert_eq!(service["spec"]["ports"], Value::Null);
    assert_eq!(
        text(&service["metadata"]["labels"]["app.kubernetes.io/managed-by"]),
        "vpce-operator"
    );
    assert_eq!(text(&service["metadata"]["labels"]["team"]), "payments");
    assert_eq!(text(&service["metadata"]["ownerReferences"][0]["name"]), "api");
    tenant.ready("api");
}

#[test]
fn a_service_that_is_refused_or_changed_is_reported_and_stops_nothing_else() {
    let bed = &*bed();
    let (refusals, changes) = (refusals(), changed_services());
    let spec = |tenant: &Tenant<'_>, tag: &str| {
        tenant.spec(json!({"service": {"labels": {"team": "payments"}}, "tags": {"Stage": tag}}))
    };
    let refused = with_tenants(bed, "service", &refusals);
    let changed = with_tenants(bed, "service", &changes);
    let both = || refused.iter().chain(&changed);
    for (_, tenant) in &refused {
        tenant.apply("ready", spec(tenant, "one"));
    }
    for (_, tenant) in &refused {
        tenant.ready("ready");
    }
    let rules = rule("", &["CREATE", "UPDATE"], "services");
    let in_force = put_in_force(bed, "services", &rules, &namespaces(both()));
    for (_, tenant) in both() {
        tenant.apply("api", spec(tenant, "one"));
    }
    for (_, tenant) in &refused {
        bed.world.cluster.delete(&service_path(tenant, "ready"));
    }

    for (case, tenant) in &refused {
        for name in ["api", "ready"] {
            service_is_refused(case, tenant, name);
        }
        // What is in AWS goes on following the spec.
        tenant.apply("api", spec(tenant, "two"));
    }
    for (case, tenant) in &changed {
        service_is_changed(case, tenant);
        let services = writes(bed, tenant, "services");
        let most = most_a_minute(&services, 2);
        assert!(most <= MOST_A_MINUTE, "{}: {most}: {services:?}", case.name);
        tenant.apply("api", spec(tenant, "two"));
    }
    for (_, tenant) in both() {
        tenant.eventually("api", "its tag is as the spec says", || {
            let endpoints = tenant.endpoints();
            let tagged = endpoints.iter().find(|endpoint| {
                endpoint
                    .tags
                    .get("silvermullet.com/name")
                    .is_some_and(|name| name == "api")
            });
            (tagged?.tags.get("Stage")? == "two").then_some(())
        });
    }
    // An edit of the spec is a reason to try at once, so only what came after those counts.
    for (_, tenant) in both() {
        tenant.eventually("api", "its edit is reported", || {
            let object = tenant.get("api")?;
            (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(())
        });
    }
    let edited = Instant::now();
    // Resyncs, and watch events of what is stored, come all the time: 12 of them a minute here.
    a_minute_after(bed, edited);
    let in_that_minute = |tenant: &Tenant<'_>| {
        let mut services = writes(bed, tenant, "services");
        services.retain(|seen| (edited..edited + MINUTE).contains(&seen.at));
        services
    };
    for (case, tenant) in &refused {
        let most = in_that_minute(tenant).len();
        println!("FIGURE {}: {most} writes of 2 Services a minute", case.name);
        assert!(most <= 2 * MOST_A_MINUTE, "{}: {most}", case.name);
    }
    for (case, tenant) in &changed {
        let services = in_that_minute(tenant);
        let most = services.len();
        println!("FIGURE {}: {most} writes of the Service a minute", case.name);
        assert!(most <= MOST_A_MINUTE, "{}: {most}: {services:?}", case.name);
    }

    drop(in_force);
    for (_, tenant) in both() {
        service_is_published(tenant);
    }
}

/// What webhooks do to the finalizers of an object, or beside them.
fn changed_finalizers() -> Vec<Case> {
    let stripped = changes("stripped", "stored without it", |object| {
        object["metadata"]["finalizers"] = json!([]);
    });
    // A webhook may put it back as well, which the API server does not take of an object that is
    // being deleted.
    let kept = changes("kept", "no new finalizers can be added", |object| {
        object["metadata"]["finalizers"] = json!(["silvermullet.com/vpcendpoint"]);
    });
    let stamped = changes("stamped", "", |object| {
        let now = format!("{:?}", Instant::now());
        object["metadata"]["annotations"] = json!({"silvermullet.com/reconcile-at": now, "stamp": now});
        object["metadata"]["labels"] = json!({"stamp": "yes"});
    });
    vec![stripped, kept, stamped]
}

/// What the objects of a case say: one that is new, and one that is being deleted.
#[track_caller]
fn finalizer_is_refused(case: &Case, tenant: &Tenant<'_>) {
    if case.name == "stamped" {
        tenant.ready("api");
        tenant.gone("leaving");
        return;
    }
    if case.name != "kept" {
        let message = tenant.not_ready("api", "FinalizerRefused");
        assert!(message.contains(case.told), "{}: {message}", case.name);
        is_plain(&message);
        let event = tenant.event("api", "FinalizerRefused");
        assert!(event.starts_with("Warning") && event.contains(case.told), "{event}");
        let object = tenant.get("api").expect("there");
        assert_eq!(object["status"]["account"], Value::Null, "{}", case.name);
    }
    if case.name != "stripped" {
        let message = tenant.not_ready("leaving", "FinalizerRefused");
        assert!(message.contains(case.told), "{}: {message}", case.name);
        is_plain(&message);
        assert!(tenant.event("leaving", "FinalizerRefused").starts_with("Warning"));
        assert_eq!(tenant.endpoints(), [], "what it had in AWS is gone");
    }
}

#[test]
fn a_finalizer_that_is_refused_or_changed_is_reported_and_nothing_is_made_without_it() {
    let bed = &*bed();
    let all: Vec<Case> = refusals().into_iter().chain(changed_finalizers()).collect();
    let cases = with_tenants(bed, "finalizer", &all);
    for (_, tenant) in &cases {
        tenant.apply("leaving", tenant.spec(json!({})));
    }
    for (_, tenant) in &cases {
        tenant.ready("leaving");
    }
    let rules = rule("silvermullet.com", &["UPDATE"], "vpcendpoints");
    let in_force = put_in_force(bed, "finalizers", &rules, &namespaces(&cases));
    for (case, tenant) in &cases {
        // Where it is only stripped, it goes.
        if case.name != "stripped" {
            tenant.delete("leaving");
        }
        if case.name != "kept" {
            tenant.apply("api", tenant.spec(json!({})));
        }
    }
    for (case, tenant) in &cases {
        finalizer_is_refused(case, tenant);
    }
    a_minute_after(bed, Instant::now());
    for (case, tenant) in &cases {
        for name in ["api", "leaving"] {
            let mut patches = writes(bed, tenant, "vpcendpoints");
            patches.retain(|seen| seen.name == name);
            // Before the webhooks, the first was taken.
            let known = if name == "leaving" { 2 } else { 1 };
            let most = most_a_minute(&patches, known);
            println!(
                "FIGURE {} {name}: {most} writes of the finalizer a minute, {} in all",
                case.name,
                patches.len()
            );
            assert!(most <= MOST_A_MINUTE, "{} {name}: {most}", case.name);
            let mut statuses = writes(bed, tenant, "vpcendpoints/status");
            statuses.retain(|seen| seen.name == name && seen.at.elapsed() < MINUTE);
            assert!(statuses.len() <= MOST_A_MINUTE, "{} {name}: {statuses:?}", case.name);
        }
        let expected = usize::from(matches!(case.name, "stripped" | "stamped"));
        assert_eq!(tenant.endpoints().len(), expected, "{}", case.name);
    }

    drop(in_force);
    for (case, tenant) in &cases {
        if case.name != "kept" {
            tenant.ready("api");
        }
        if case.name != "stripped" {
            tenant.gone("leaving");
        }
    }
}

/// What webhooks do to a status.
fn changed_statuses() -> Vec<Case> {
    vec![
        changes("messages", "conditions", |object| {
            for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition["message"] = json!("all is well");
            }
        }),
        changes("no-conditions", "conditions", |object| {
            object["status"]["conditions"] = json!([]);
        }),
        changes("no-id", "vpc_endpoint_id", |object| {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("vpc_endpoint_id");
            }
        }),
        changes("state", "state", |object| {
            object["status"]["state"] = json!("melting");
        }),
        changes("service", "service", |object| {
            object["status"]["service"] = json!({"name": "elsewhere", "host": "elsewhere.example.com"});
        }),
        changes("tag-keys", "tag_keys", |object| {
            object["status"]["tag_keys"] = json!(["Stage", "theirs"]);
        }),
        changes("generation", "observedGeneration", |object| {
            object["status"]["observedGeneration"] = json!(77);
        }),
    ]
}

/// What webhooks do to what an object is bound to.
fn changed_bindings() -> Vec<Case> {
    vec![
        changes("account", "account", |object| {
            if !object["status"]["account"].is_null() {
                object["status"]["account"] = json!({"name": "another", "account_id": "999999999999"});
            }
        }),
        changes("unbound", "account", |object| {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("account");
            }
        }),
        changes("region", "region", |object| {
            if !object["status"]["region"].is_null() {
                object["status"]["region"] = json!("eu-west-1");
            }
        }),
        changes("incarnation", "incarnation", |object| {
            if !object["status"]["incarnation"].is_null() {
                object["status"]["incarnation"] = json!(77);
            }
        }),
    ]
}

/// How many writes of the status and of events a case costs in a minute, and what is in AWS.
#[track_caller]
fn status_costs_few_writes(bed: &Bed, case: &Case, tenant: &Tenant<'_>, is_changed: bool, endpoints: usize) {
    let mut statuses = writes(bed, tenant, "vpcendpoints/status");
    statuses.retain(|seen| seen.name == "api");
    if is_changed {
        // On the way to Ready each says something else.
        statuses.retain(|seen| seen.at.elapsed() < MINUTE);
    }
    let most = most_a_minute(&statuses, usize::from(!is_changed));
    println!(
        "FIGURE {}: {most} writes of the status a minute, {} in all",
        case.name,
        statuses.len()
    );
    assert!(most <= MOST_A_MINUTE, "{}: {most}", case.name);
    let mut events = writes(bed, tenant, "events");
    events.retain(|seen| seen.at.elapsed() < MINUTE);
    // To record the same event once more is three requests.
    assert!(events.len() <= 3 * MOST_A_MINUTE, "{}: {events:?}", case.name);
    assert_eq!(tenant.endpoints().len(), endpoints, "{}", case.name);
}

#[test]
fn a_status_that_is_refused_or_changed_is_reported_by_an_event_and_costs_few_writes() {
    let bed = &*bed();
    let (refusals, changes, rebindings) = (refusals(), changed_statuses(), changed_bindings());
    let spec = |tenant: &Tenant<'_>, tag: &str| tenant.spec(json!({"tags": {"Stage": tag}}));
    let refused = with_tenants(bed, "status", &refusals);
    let changed = with_tenants(bed, "status", &changes);
    let rebound = with_tenants(bed, "status", &rebindings);
    let all = || refused.iter().chain(&changed).chain(&rebound);
    for (_, tenant) in &refused {
        tenant.apply("bound", spec(tenant, "one"));
    }
    for (_, tenant) in &refused {
        tenant.ready("bound");
    }
    let rules = rule("silvermullet.com", &["UPDATE"], "vpcendpoints/status");
    let in_force = put_in_force(bed, "statuses", &rules, &namespaces(all()));
    for (_, tenant) in all() {
        tenant.apply("api", spec(tenant, "one"));
    }
    for (_, tenant) in &refused {
        tenant.apply("bound", spec(tenant, "two"));
    }
    let event = |case: &Case, tenant: &Tenant<'_>, reason: &str| {
        let event = tenant.event("api", reason);
        assert!(event.starts_with("Warning") && event.contains(case.told), "{event}");
        event
    };
    for (case, tenant) in &refused {
        is_plain(&event(case, tenant, "StatusRefused"));
        // What is bound follows its spec in AWS.
        tenant.eventually("bound", "its tag is as the spec says", || {
            (tenant.endpoints().first()?.tags.get("Stage")? == "two").then_some(())
        });
    }
    for (case, tenant) in &changed {
        event(case, tenant, "StatusChanged");
        tenant.eventually("api", "its Service is there", || tenant.kubernetes_service("api"));
    }
    for (case, tenant) in &rebound {
        event(case, tenant, "StatusRefused");
    }
    a_minute_after(bed, Instant::now());
    // Nothing is created for what is not bound, and nothing twice.
    for (case, tenant) in &refused {
        status_costs_few_writes(bed, case, tenant, false, 1);
    }
    for (case, tenant) in &changed {
        status_costs_few_writes(bed, case, tenant, true, 1);
    }
    for (case, tenant) in &rebound {
        // Of a number only that it was stored matters.
        let endpoints = usize::from(case.name == "incarnation");
        status_costs_few_writes(bed, case, tenant, false, endpoints);
    }

    drop(in_force);
    // What was bound elsewhere stays there.
    for (_, tenant) in all().filter(|(case, _)| !matches!(case.name, "account" | "region")) {
        tenant.ready("api");
        tenant.eventually("api", "its status says what it has", || {
            let object = tenant.get("api")?;
            let ids: Vec<String> = tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect();
            let id = text(&object["status"]["vpc_endpoint_id"]);
            (ids.contains(&id) && condition(&object, "Ready")?.status).then_some(())
        });
    }
}

#[test]
fn events_that_are_refused_or_changed_stop_nothing_else() {
    let bed = &*bed();
    let mut all = refusals();
    all.push(changes("note", "", |event| {
        event["note"] = json!("nothing happened");
    }));
    let cases = with_tenants(bed, "event", &all);
    let rules = rule("events.k8s.io", &["CREATE", "UPDATE"], "events");
    let _in_force = put_in_force(bed, "events", &rules, &namespaces(&cases));
    for (_, tenant) in &cases {
        tenant.apply("api", tenant.spec(json!({})));
    }
    for (case, tenant) in &cases {
        tenant.ready("api");
        tenant.eventually("api", "an event was tried", || {
            (!writes(bed, tenant, "events").is_empty()).then_some(())
        });
        if !matches!(case.how, How::Changes(_)) {
            tenant.eventually("api", "the log says that it was not published", || {
                let logs = bed.world.operator.logs();
                let said = logs
                    .lines()
                    .find(|line| line.contains("an event was not published") && line.contains(&tenant.namespace));
                said.filter(|line| line.contains(case.told)).map(drop)
            });
        }
        tenant.delete("api");
    }
    for (case, tenant) in &cases {
        tenant.gone("api");
        let written = writes(bed, tenant, "events").len();
        println!("FIGURE {}: {written} writes of events in all", case.name);
        assert!(written <= 10, "{}: {written}", case.name);
    }
    assert!(bed.world.operator.exited().expect("it was running").is_none());
}

#[test]
fn an_aws_account_whose_writes_are_refused_says_so_where_it_can() {
    let bed = &*bed();
    let put = |name: &str, resource: &str, tenant: &Tenant<'_>, how: How| {
        let case = Case {
            name: "account",
            how,
            told: "",
        };
        let rules = rule("silvermullet.com", &["UPDATE"], resource);
        put_in_force_for(bed, name, &rules, &[(&case, &tenant.namespace)], Some(&tenant.account))
    };
    // An AWSAccount that no VPCEndpoint could be bound to.
    let tenant = bed.world.unregistered_tenant("account-finalizer");
    let in_force = put("account-finalizers", "awsaccounts", &tenant, How::Denies(None));
    tenant.register(json!({}));
    tenant.apply("api", tenant.spec(json!({})));
    let ready = bed
        .world
        .eventually("the AWSAccount says that its finalizer is refused", || {
            condition(&bed.world.aws_account(&tenant.account)?, "Ready")
                .filter(|ready| ready.reason == "FinalizerRefused")
        });
    assert!(
        !ready.status && ready.message.contains("not on a Saturday"),
        "{ready:?}"
    );
    is_plain(&ready.message);
    let message = tenant.not_ready("api", "FinalizerRefused");
    assert!(
        message.contains("not on a Saturday") && message.contains(&tenant.account),
        "{message}"
    );
    let since = Instant::now();
    a_minute_after(bed, since);
    let mut patches = bed.proxy.requests();
    patches.retain(|seen| seen.verb == "patch" && seen.resource == "awsaccounts" && seen.name == tenant.account);
    let most = most_a_minute(&patches, 1);
    println!("FIGURE account-finalizer: {most} writes of the finalizer a minute");
    assert!(most <= MOST_A_MINUTE, "{most}");
    drop(in_force);
    tenant.ready("api");

    // Its status.
    let tenant = bed.world.tenant("account-status");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let in_force = put(
        "account-statuses",
        "awsaccounts/status",
        &tenant,
        How::Denies(Some(403)),
    );
    tenant.edit_account(json!({"external_id": "another"}));
    tenant
        .world
        .eventually("the log says that the AWSAccount's status is refused", || {
            let logs = bed.world.operator.logs();
            let said = logs
                .lines()
                .find(|line| line.contains(&tenant.account) && line.contains("the status was not written"));
            said.filter(|line| line.contains("not on a Saturday")).map(drop)
        });
    a_minute_after(bed, Instant::now());
    let mut patches = bed.proxy.requests();
    patches.retain(|seen| seen.verb == "patch" && seen.resource == "awsaccounts/status" && seen.name == tenant.account);
    patches.retain(|seen| seen.code == Some(403));
    let most = most_a_minute(&patches, 1);
    println!("FIGURE account-status: {most} writes of the status a minute");
    assert!(most <= MOST_A_MINUTE, "{most}");
    drop(in_force);
    tenant.edit_account(json!({"external_id": null}));
    let path = format!("{ACCOUNTS}/{}", tenant.account);
    tenant.world.eventually("the AWSAccount speaks of its generation", || {
        let account = bed.world.cluster.get(&path)?;
        condition(&account, "Ready").filter(|ready| ready.status)
    });
}

#[test]
fn a_lease_that_is_refused_or_changed_ends_the_process_by_its_own_rules_and_not_sooner() {
    // Ten seconds without a renewal end the process; the chart's default.
    let duration = Duration::from_secs(15);
    let (proxy, world) = proxied_by(Setup::fast().value("admissionPolicy.enabled", "false"));
    let webhooks = Webhooks::start(&world.cluster.plane).expect("a server");
    let bed = Bed { proxy, world, webhooks };
    let renewed = || {
        let mut renewals = bed.proxy.requests();
        renewals.retain(|seen| seen.verb == "update" && seen.resource == "leases" && seen.code == Some(200));
        renewals
    };
    let rules = rule("coordination.k8s.io", &["CREATE", "UPDATE"], "leases");
    let says = |what: &'static str| {
        let logs = bed.world.operator.logs();
        logs.lines()
            .any(|line| line.contains("the Lease was not renewed") && line.contains(what))
    };
    // For a moment: it goes on.
    for case in refusals() {
        let before = renewed().len();
        let in_force = put_in_force(&bed, &format!("lease-{}", case.name), &rules, &[(&case, "vpce-system")]);
        bed.world
            .eventually("a renewal is refused", || says(case.told).then_some(()));
        drop(in_force);
        bed.world
            .eventually("it is renewed again", || (renewed().len() > before + 2).then_some(()));
        assert!(
            bed.world.operator.exited().expect("it was running").is_none(),
            "{}",
            case.name
        );
    }
    // What only others read is nothing to it.
    let harmless = changes("time", "", |lease| {
        lease["spec"]["renewTime"] = json!("2020-01-01T00:00:00.000000Z");
        lease["metadata"]["labels"] = json!({"stamped": "yes"});
    });
    let in_force = put_in_force(&bed, "lease-harmless", &rules, &[(&harmless, "vpce-system")]);
    let before = Instant::now();
    bed.world
        .eventually("it goes on leading for longer than a Lease lasts", || {
            (before.elapsed() > duration).then_some(())
        });
    assert!(bed.world.operator.exited().expect("it was running").is_none());
    drop(in_force);
    // The holder leads. It is not this process then, which must not go on as leader.
    let taken = changes("holder", "", |lease| {
        lease["spec"]["holderIdentity"] = json!("somebody");
    });
    let last = renewed().last().expect("renewed").at;
    let in_force = put_in_force(&bed, "lease-holder", &rules, &[(&taken, "vpce-system")]);
    let status = bed.world.eventually("it ends, since it cannot know that it leads", || {
        bed.world.operator.exited().expect("it was running")
    });
    assert!(!status.success(), "{status}");
    // The time counts from when a renewal is sent, which is a moment before it is answered.
    let sent = last - Duration::from_millis(500);
    assert!(sent.elapsed() >= duration * 2 / 3, "{:?}", last.elapsed());
    assert!(says("somebody"), "the log says why");
    drop(in_force);
    bed.world.operator.kill().expect("it has ended");
    bed.world.operator.start().expect("it starts again");
}
