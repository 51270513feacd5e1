//! Services that a team would take over by a name, and labels and annotations by which a Service
//! does more than lead to an endpoint.

use serde_json::{Value, json};

use crate::cluster::{self, ACCOUNTS, Run};
use crate::tenant::Tenant;
use crate::world::{World, text};

fn create_service(tenant: &Tenant<'_>, name: &str, spec: Value) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
    let created = tenant
        .world
        .cluster
        .create(&cluster::services(&tenant.namespace), &service, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{name}: {}", refusal.message));
}

#[test]
fn a_name_takes_over_no_service_of_another() {
    let tenant = World::shared().tenant("service-names");
    create_service(
        &tenant,
        "ordinary",
        json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}),
    );
    create_service(
        &tenant,
        "headless",
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
    );
    tenant.apply("other", tenant.spec(json!({})));
    tenant.ready("other");
    let names = ["ordinary", "headless", "other"];
    let before = names.map(|name| tenant.kubernetes_service(name));
    tenant.apply("first", tenant.spec(json!({"service": {"name": "ordinary"}})));
    tenant.not_ready("first", "ServiceConflict");
    // A published one renamed: its own stays until it has the name.
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let own = tenant.kubernetes_service("api");
    for name in names {
        tenant.apply("api", tenant.spec(json!({"service": {"name": name}})));
        let message = tenant.not_ready("api", "ServiceConflict");
        assert!(message.contains(&format!("{}/{name}", tenant.namespace)), "{message}");
        assert_eq!(tenant.kubernetes_service("api"), own);
    }
    tenant.apply("api", tenant.spec(json!({"service": {"name": "renamed"}})));
    tenant.ready("api");
    for name in ["first", "api"] {
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!(names.map(|name| tenant.kubernetes_service(name)), before);
    assert!(tenant.kubernetes_service("renamed").is_none());
}

#[test]
fn a_service_that_replaced_ours_is_left_alone() {
    let tenant = World::shared().tenant("service-after");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let path = format!("{}/api", cluster::services(&tenant.namespace));
    // The operator makes its own again as fast as it can: until the other is there first.
    let theirs = tenant.eventually("api", "another Service has its name", || {
        let deleted = tenant.world.cluster.try_delete(&path);
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
            "spec": {"type": "ExternalName", "externalName": "theirs.example.com"},
        });
        let services = cluster::services(&tenant.namespace);
        deleted.ok()?;
        tenant.world.cluster.create(&services, &service, Run::Real).ok()
    });
    tenant.not_ready("api", "ServiceConflict");
    tenant.apply("api", tenant.spec(json!({"service": {"type": "None"}})));
    tenant.ready("api");
    tenant.delete("api");
    tenant.gone("api");
    let left = tenant.kubernetes_service("api").expect("it is left");
    assert_eq!(left["metadata"]["uid"], theirs["metadata"]["uid"]);
    assert_eq!(text(&left["spec"]["externalName"]), "theirs.example.com");
}

#[test]
fn the_api_servers_own_service_cannot_be_taken_over() {
    let world = World::shared();
    let mut tenant = world.unregistered_tenant("in-default");
    tenant.namespace = "default".to_owned();
    tenant.register(json!({}));
    let before = world.eventually("the API server has its Service", || {
        tenant.kubernetes_service("kubernetes")
    });
    // By the object's own name, by one that it gives, and by one that it is given later.
    tenant.apply("kubernetes", tenant.spec(json!({})));
    tenant.apply("named", tenant.spec(json!({"service": {"name": "kubernetes"}})));
    tenant.apply("renamed", tenant.spec(json!({"service": {"name": "in-default"}})));
    tenant.ready("renamed");
    tenant.apply("renamed", tenant.spec(json!({"service": {"name": "kubernetes"}})));
    for name in ["kubernetes", "named", "renamed"] {
        tenant.not_ready(name, "ServiceConflict");
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!(tenant.kubernetes_service("kubernetes"), Some(before));
    world.cluster.delete(&format!("{ACCOUNTS}/{}", tenant.account));
}

#[test]
fn labels_and_annotations_that_drive_other_controllers_are_refused_by_default() {
    let tenant = World::shared().tenant("service-metadata");
    tenant.apply("there", tenant.spec(json!({})));
    let before = tenant.ready("there");
    let service = tenant.kubernetes_service("there");
    let calls = tenant.calls().len();
    let annotations = [
        ("external-dns.alpha.kubernetes.io/hostname", "login.example.com"),
        ("service.beta.kubernetes.io/aws-load-balancer-type", "external"),
        ("argocd.argoproj.io/tracking-id", "other:/Service:other/other"),
        ("argocd.argoproj.io/sync-options", "Prune=false"),
        ("cert-manager.io/cluster-issuer", "anyone"),
        ("meta.helm.sh/release-name", "other"),
        ("prometheus.io/scrape", "true"),
        ("EXTERNAL-DNS.alpha.kubernetes.io/hostname", "login.example.com"),
        ("plain", "text"),
    ];
    let labels = [
        ("argocd.argoproj.io/instance", "other"),
        ("app.kubernetes.io/instance", "other"),
        ("kustomize.toolkit.fluxcd.io/name", "other"),
        ("service.kubernetes.io/headless", ""),
        ("app", "web"),
    ];
    let annotations = annotations.map(|(key, value)| (json!({"annotations": {key: value}}), key));
    let labels = labels.map(|(key, value)| (json!({"labels": {key: value}}), key));
    for (number, (wish, key)) in annotations.into_iter().chain(labels).enumerate() {
        for name in ["there", &format!("new-{number}")] {
            match tenant.try_apply(name, tenant.spec(json!({"service": wish}))) {
                Err(refusal) => assert_eq!(refusal.code, 422, "{}", refusal.message),
                Ok(_) => {
                    let message = tenant.not_ready(name, "NotAllowed");
                    assert!(message.contains(key), "{message}");
                }
            }
        }
    }
    assert_eq!(
        tenant.kubernetes_service("there"),
        service,
        "what is published stays as it is"
    );
    let called = tenant.calls().split_off(calls);
    assert!(!called.iter().any(vpce_testbed::aws::Call::mutating), "{called:?}");
    tenant.apply("there", tenant.spec(json!({})));
    let after = tenant.ready("there");
    assert_eq!(after["status"]["vpc_endpoint_id"], before["status"]["vpc_endpoint_id"]);
}
