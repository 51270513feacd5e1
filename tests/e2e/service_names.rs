//! The name of a Service that another owner has: reported, and taken when it becomes free.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api_server::proxied_by;
use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{Setup, World, text};

/// After so many tries the operator waits 24 s at least.
const TRIES: usize = 5;
/// "Within seconds", on a machine that is busy: its own next try would come later than this.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

fn create(tenant: &Tenant<'_>, name: &str, labels: Value, target: &str) -> Value {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
        "spec": {"type": "ExternalName", "externalName": target},
    });
    let services = cluster::services(&tenant.namespace);
    let created = tenant.world.cluster.create(&services, &service, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{name}: {}", refusal.message))
}

#[test]
fn a_name_that_becomes_free_is_used_within_seconds() {
    // Nothing but the Service's deletion has it tried again soon.
    let (proxy, world) = proxied_by(Setup::fast().value("settings.resyncIntervalSeconds", "300"));
    let strangers = [
        ("plain", json!({})),
        // As a restored one carries it, and as that of another VPCEndpoint does.
        ("labelled", json!({"app.kubernetes.io/managed-by": "vpce-operator"})),
    ];
    let tenants = strangers.map(|(name, labels)| {
        let tenant = world.tenant(name);
        create(&tenant, "api", labels, "elsewhere.example.com");
        tenant.apply("api", tenant.spec(json!({})));
        tenant
    });
    let renamed = world.tenant("renamed");
    renamed.apply("first", renamed.spec(json!({"service": {"name": "api"}})));
    renamed.ready("first");
    renamed.apply("api", renamed.spec(json!({})));
    for tenant in tenants.iter().chain([&renamed]) {
        let message = tenant.not_ready("api", "ServiceConflict");
        let (another, delete) = (message.find("spec.service.name"), message.find("delete"));
        assert!(another.is_some() && another < delete, "{message}");
    }
    // It waits longer after each try.
    world.eventually("it has tried for a while", || {
        let requests = proxy.requests();
        let of_plain = requests.iter().filter(|seen| seen.namespace == tenants[0].namespace);
        let tries = of_plain.filter(|seen| (seen.verb, seen.resource.as_str()) == ("create", "services"));
        (tries.count() >= TRIES).then_some(())
    });
    for tenant in &tenants {
        world
            .cluster
            .delete(&format!("{}/api", cluster::services(&tenant.namespace)));
    }
    renamed.apply("first", renamed.spec(json!({"service": {"type": "None"}})));
    let freed = Instant::now();
    for tenant in tenants.iter().chain([&renamed]) {
        tenant.ready("api");
        assert!(
            freed.elapsed() < TAKEN_WITHIN,
            "{}: {:?}",
            tenant.namespace,
            freed.elapsed()
        );
    }
}

#[test]
fn a_service_restored_without_its_owner_is_taken_over_where_it_points_to_the_endpoint() {
    let tenant = World::shared().tenant("restored");
    let ours = || json!({"app.kubernetes.io/managed-by": "vpce-operator"});
    tenant.apply("api", tenant.spec(json!({})));
    let before = tenant.ready("api");
    let dns = text(&before["status"]["dns_name"]);
    tenant.take_away("api");
    tenant.eventually("api", "its Service is collected", || {
        tenant.kubernetes_service("api").is_none().then_some(())
    });
    let restored = create(&tenant, "api", ours(), &dns);
    create(&tenant, "elsewhere", ours(), "elsewhere.example.com");
    // Who has a Service that leads to the endpoint keeps it, where it has not our label.
    create(&tenant, "theirs", json!({}), &dns);
    tenant.edit_account(json!({"suspended": null}));
    tenant.apply("api", tenant.spec(json!({})));
    let after = tenant.ready("api");
    assert_eq!(after["status"]["vpc_endpoint_id"], before["status"]["vpc_endpoint_id"]);
    let service = tenant.kubernetes_service("api").expect("taken over");
    assert_eq!(service["metadata"]["uid"], restored["metadata"]["uid"]);
    assert_eq!(
        service["metadata"]["ownerReferences"][0]["uid"],
        after["metadata"]["uid"]
    );
    tenant.apply("api", tenant.spec(json!({"service": {"name": "theirs"}})));
    tenant.not_ready("api", "ServiceConflict");
    tenant.apply("api", tenant.spec(json!({"service": {"name": "elsewhere"}})));
    let message = tenant.eventually("api", "it says what to do", || {
        let message = tenant.not_ready("api", "ServiceConflict");
        message.contains("kubectl delete service elsewhere").then_some(message)
    });
    assert!(
        message.contains("backup") && message.contains("elsewhere.example.com"),
        "{message}"
    );
    let path = format!("{}/elsewhere", cluster::services(&tenant.namespace));
    tenant.world.cluster.delete(&path);
    tenant.ready("api");
    tenant.delete("api");
    tenant.gone("api");
}
