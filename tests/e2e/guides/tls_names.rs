//! The guides for names that TLS accepts.

use serde_json::{Value, json};
use vpce_testbed::aws::ServiceSpec;

use super::{Guide, team};
use crate::names::install_crd;
use crate::tenant::Tenant;
use crate::world::{Setup, World, text};

/// As the page says.
fn world() -> World {
    let setup = Setup::fast()
        .value("dnsEndpoints.enabled", "true")
        .value("dnsEndpoints.labels.zone", "private")
        .value("configMaps.enabled", "true");
    let world = World::own(setup);
    install_crd(&world);
    world
}

/// Has the endpoint service that a manifest names; one of AWS's own is there.
fn offer(tenant: &Tenant<'_>, manifest: &Value, spec: ServiceSpec) {
    let id = text(&manifest["spec"]["vpc_endpoint_service_id"]);
    if id.starts_with("vpce-svc-") {
        let name = format!("com.amazonaws.vpce.{}.{id}", tenant.region);
        tenant.world.aws.add_service(&tenant.region, &name, spec);
    }
}

#[test]
fn names_are_published_for_external_dns() {
    let world = world();
    let mut guide = Guide::open(&world, "names-for-tls");
    let tenant = team(&world, "payments", "payments");
    let network = json!({"name": "main", "region": tenant.region, "vpc_id": tenant.vpc});
    tenant.register_with_its_role(json!({"networks": [network], "allowed_dns_names": ["*.privatelink.example.com"]}));
    let wanted = guide.manifest("endpoint.yaml");
    offer(&tenant, &wanted, ServiceSpec::default());

    let printed = guide.follow("Publish names");
    let at = printed.find("apiVersion:").expect("the DNSEndpoint is shown");
    let shown: Value = serde_saphyr::from_str(&printed[at..]).expect("YAML");
    let object = tenant.ready("snowflake");
    let records = shown["spec"]["endpoints"].as_array().expect("records");
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!(record["targets"], json!([object["status"]["dns_name"]]));
    }
    assert_eq!(shown["metadata"]["labels"]["zone"], "private");
    guide.end();
}

#[test]
fn the_manifest_of_each_provider_becomes_ready() {
    let world = world();
    let mut guide = Guide::open(&world, "providers");
    let tenant = team(&world, "payments", "payments");
    // The tenant is in another region than the page.
    guide.replace("euw1-az", "usw2-az");
    let network = json!({"name": "main", "region": tenant.region, "vpc_id": tenant.vpc});
    tenant.register_with_its_role(json!({
        "networks": [network], "allow_private_dns": true, "allowed_dns_names": ["*"],
    }));
    let files = [
        "snowflake",
        "atlas",
        "confluent",
        "databricks",
        "datadog",
        "elastic",
        "secretsmanager",
        "hub",
    ];
    let manifests = files.map(|file| guide.manifest(&format!("{file}.yaml")));
    assert_eq!(guide.files().len(), files.len(), "every manifest of the page is tried");
    for manifest in &manifests {
        let spec = ServiceSpec {
            // Atlas accepts who has told it the id of the endpoint.
            acceptance_required: manifest["metadata"]["name"] == "atlas",
            private_dns_name: (manifest["spec"]["private_dns_enabled"] == true)
                .then(|| "metrics.agent.datadoghq.example".to_owned()),
            ..ServiceSpec::default()
        };
        offer(&tenant, manifest, spec);
        tenant.apply(&text(&manifest["metadata"]["name"]), manifest["spec"].clone());
    }
    let id = tenant.eventually(
        "atlas",
        "the ConfigMap has the id before the connection is accepted",
        || {
            let data = tenant.config_map("atlas")?["data"].take();
            data["vpc_endpoint_id"].as_str().map(str::to_owned)
        },
    );
    tenant.not_ready("atlas", "PendingAcceptance");
    world
        .aws
        .accept(&tenant.account_id, &tenant.region, &id)
        .expect("it waits");
    for manifest in &manifests {
        let name = text(&manifest["metadata"]["name"]);
        let object = tenant.ready(&name);
        let wanted = manifest["spec"]["dns_names"].as_array().map_or(0, Vec::len);
        let published = object["status"]["dns_names"].as_array().map_or(0, Vec::len);
        assert_eq!(published, wanted, "{name}");
    }
    guide.end();
}
