//! Endpoints for services of another region.

use serde_json::{Value, json};
use vpce_testbed::aws::ServiceSpec;

use crate::tenant::Tenant;
use crate::world::{World, condition, id, merged};

const ELSEWHERE: &str = "eu-central-1";

/// A tenant that may connect to services of another region, with a role that may do what the
/// guardrails print; and such a service.
fn tenant<'w>(world: &'w World, name: &str) -> (Tenant<'w>, String) {
    let tenant = world.unregistered_tenant(name);
    let service = format!("com.amazonaws.vpce.{ELSEWHERE}.{}", id("vpce-svc"));
    let offered = ServiceSpec {
        regions: vec![tenant.region.clone()],
        ..ServiceSpec::default()
    };
    world.aws.add_service(ELSEWHERE, &service, offered);
    tenant.register_with_its_role(json!({"allowed_service_regions": [ELSEWHERE]}));
    (tenant, service)
}

fn spec(tenant: &Tenant<'_>, service: &str, changes: Value) -> Value {
    let elsewhere = json!({"vpc_endpoint_service_id": service, "service_region": ELSEWHERE});
    tenant.spec(merged(elsewhere, changes))
}

#[test]
fn an_endpoint_connects_to_a_service_of_another_region() {
    let (tenant, service) = tenant(World::shared(), "across");
    // An id alone is completed with the service's region.
    let bare = service.rsplit('.').next().expect("an id");
    tenant.apply("api", spec(&tenant, bare, json!({})));
    let object = tenant.ready("api");
    let [endpoint] = &tenant.endpoints()[..] else {
        panic!("one endpoint: {:#?}", tenant.endpoints());
    };
    assert_eq!(
        (endpoint.service_region.as_str(), &endpoint.service_name),
        (ELSEWHERE, &service)
    );
    let status = &object["status"];
    assert_eq!(status["region"], json!(tenant.region), "it is where its VPC is");
    assert_eq!(status["service_region"], ELSEWHERE);
    assert_eq!(status["vpc_endpoint_service_id"], json!(service));
    let name = status["dns_name"].as_str().expect("a name");
    assert!(
        name.starts_with(&format!("{}-", endpoint.id)) && name.contains(ELSEWHERE),
        "{name}"
    );
    let published = tenant.kubernetes_service("api").expect("a Service");
    assert_eq!(published["spec"]["externalName"], json!(name));

    // It is one of what AWS fixes.
    for (change, says) in [
        (json!(null), "service_region cannot be left out"),
        (json!("eu-west-1"), "service_region stays eu-central-1"),
    ] {
        let edit = spec(&tenant, &service, json!({"service_region": change}));
        let refusal = tenant.try_apply("api", edit).expect_err("it is refused");
        assert!(refusal.message.contains(says), "{}", refusal.message);
    }
    let unchanged = tenant.writes().len();
    tenant.apply("api", spec(&tenant, &service, json!({})));
    tenant.ready("api");
    assert_eq!(tenant.writes().len(), unchanged, "the whole name says the same");
    tenant.delete("api");
    tenant.gone("api");
    assert_eq!((tenant.endpoints(), tenant.groups()), (Vec::new(), Vec::new()));
}

#[test]
fn its_own_region_is_no_other() {
    let (tenant, _) = tenant(World::shared(), "across-own");
    let own = json!({"vpc_endpoint_service_id": tenant.service, "service_region": tenant.region});
    tenant.apply("api", tenant.spec(own));
    let object = tenant.ready("api");
    assert!(object["status"]["service_region"].is_null());
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    assert_eq!(tenant.endpoints().len(), 1);
}

#[test]
fn a_region_that_is_not_allowed_not_offered_or_not_enabled_is_told() {
    let (tenant, service) = tenant(World::shared(), "across-refused");
    tenant.apply("other", spec(&tenant, &service, json!({"service_region": "eu-west-1"})));
    let message = tenant.not_ready("other", "NotAllowed");
    assert!(
        message.contains("allowed_service_regions") && message.contains("use eu-central-1"),
        "{message}"
    );
    assert_eq!(tenant.writes(), [""; 0]);
    tenant.delete("other");
    tenant.gone("other");

    let here_only = format!("com.amazonaws.vpce.{ELSEWHERE}.{}", id("vpce-svc"));
    tenant
        .world
        .aws
        .add_service(ELSEWHERE, &here_only, ServiceSpec::default());
    tenant.apply("not-offered", spec(&tenant, &here_only, json!({})));
    let message = tenant.not_ready("not-offered", "NotFound");
    assert!(message.contains("spec.service_region"), "{message}");

    tenant
        .world
        .aws
        .set_region_enabled(&tenant.account_id, ELSEWHERE, false);
    tenant.apply("not-enabled", spec(&tenant, &service, json!({})));
    tenant.eventually("not-enabled", "it says that the region is not enabled", || {
        let ready = condition(&tenant.get("not-enabled")?, "Ready")?;
        (!ready.status && ready.message.contains("OptInRequired") && ready.message.contains(ELSEWHERE)).then_some(())
    });
    assert_eq!(tenant.endpoints(), []);
    for name in ["not-offered", "not-enabled"] {
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!(tenant.groups(), []);
}

/// IAM holds to the same list, whoever uses the role.
#[test]
fn the_role_reaches_no_other_region() {
    let (tenant, _) = tenant(World::shared(), "across-iam");
    let elsewhere = "eu-north-1";
    let service = format!("com.amazonaws.vpce.{elsewhere}.{}", id("vpce-svc"));
    let offered = ServiceSpec {
        regions: vec![tenant.region.clone()],
        ..ServiceSpec::default()
    };
    tenant.world.aws.add_service(elsewhere, &service, offered);
    // The AWSAccount is edited, and the role's policy is not.
    tenant.edit_account(json!({"allowed_service_regions": [ELSEWHERE, elsewhere]}));
    tenant.apply("api", spec(&tenant, &service, json!({"service_region": elsewhere})));
    let message = tenant.not_ready("api", "Denied");
    assert!(message.contains("ec2:CreateVpcEndpoint"), "{message}");
    assert_eq!(tenant.endpoints(), []);
}
