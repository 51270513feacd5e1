//! The guide for names that TLS accepts.

use serde_json::{Value, json};
use vpce_testbed::aws::ServiceSpec;

use super::{Guide, team};
use crate::world::{Setup, World};

#[test]
fn annotations_for_external_dns_are_on_the_service() {
    // As the page says.
    let world = World::own(
        Setup::fast()
            .value("settings.serviceAnnotations[0]", "external-dns.kubernetes.io/*")
            .value("settings.serviceAnnotations[1]", "external-dns.alpha.kubernetes.io/*"),
    );
    let mut guide = Guide::open(&world, "names-for-tls");
    let tenant = team(&world, "payments", "payments");
    let network = json!({"name": "main", "region": tenant.region, "vpc_id": tenant.vpc});
    tenant.register_with_its_role(json!({"networks": [network]}));
    let wanted = guide.manifest("endpoint.yaml");
    let id = wanted["spec"]["vpc_endpoint_service_id"].as_str().expect("an id");
    let name = format!("com.amazonaws.vpce.{}.{id}", tenant.region);
    world.aws.add_service(&tenant.region, &name, ServiceSpec::default());

    let printed = guide.follow("Publish names with external-dns");
    let at = printed.find("apiVersion:").expect("the Service is shown");
    let service: Value = serde_saphyr::from_str(&printed[at..]).expect("YAML");
    let annotations = &service["metadata"]["annotations"];
    for (key, value) in wanted["spec"]["service"]["annotations"].as_object().expect("some") {
        assert_eq!(annotations[key], *value, "{key}");
    }
    let object = tenant.ready("snowflake");
    assert_eq!(service["spec"]["externalName"], object["status"]["dns_name"]);
    guide.end();
}
