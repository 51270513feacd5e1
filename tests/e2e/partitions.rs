//! China and GovCloud: an AWSAccount there is as good as any, and none leads from one partition
//! into another.

use serde_json::json;
use vpce_testbed::aws::ServiceSpec;

use crate::world::{Setup, World, condition};

/// A whole life with the roles that are printed for that partition, private DNS included; and an
/// account of another one.
fn live_in(partition: &str, service_start: &str, domain: &str) {
    let world = World::own(Setup::fast().in_partition(partition));
    let mut tenant = world.unregistered_tenant("abroad");
    assert!(tenant.role_arn.starts_with(&format!("arn:{partition}:iam::")));
    tenant.service = tenant.add_service(ServiceSpec {
        private_dns_name: Some("api.example.com".to_owned()),
        ..ServiceSpec::default()
    });
    world.add_role_with_private_dns(&tenant.role_arn);
    tenant.register(json!({"allow_private_dns": true, "allowed_services": [format!("{service_start}.vpce.*")]}));

    // A bare id is completed to the name that services have there.
    let (start, id) = tenant.service.rsplit_once('.').expect("a full name");
    assert_eq!(start, format!("{service_start}.vpce.{}", tenant.region));
    let spec = |more| crate::world::merged(tenant.spec(json!({"vpc_endpoint_service_id": id})), more);
    tenant.apply("api", spec(json!({"private_dns_enabled": true})));
    let object = tenant.ready("api");
    assert_eq!(object["status"]["region"], tenant.region);
    assert_eq!(object["status"]["account"]["account_id"], tenant.account_id);
    let name = object["status"]["dns_name"].as_str().expect("a name");
    assert!(name.ends_with(domain), "{name}");
    let endpoint = &tenant.endpoints()[0];
    assert_eq!(endpoint.service_name, tenant.service);
    assert!(endpoint.private_dns_enabled);
    tenant.apply(
        "api",
        spec(json!({"subnet_ids": tenant.subnets, "tags": {"team": "blue"}})),
    );
    tenant.ready("api");
    assert!(world.aws.calls().iter().all(|call| call.region == tenant.region));

    let mut foreign = world.unregistered_tenant("foreign");
    foreign.role_arn = format!("arn:aws:iam::{}:role/vpce-operator", foreign.account_id);
    foreign.register(json!({}));
    let message = world.eventually("the foreign account is refused", || {
        let ready = condition(&world.aws_account(&foreign.account)?, "Ready")?;
        (!ready.status && ready.reason == "AssumeRoleDenied").then_some(ready.message)
    });
    for part in [
        format!("{} is in the AWS partition aws", foreign.role_arn),
        format!("{} in {partition}", world.aws.base_arn()),
    ] {
        assert!(message.contains(&part), "{part}: {message}");
    }

    tenant.delete("api");
    tenant.gone("api");
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());
}

#[test]
fn an_account_in_china_works_as_any_other() {
    live_in("aws-cn", "cn.com.amazonaws", ".vpce.amazonaws.com.cn");
}

#[test]
fn an_account_in_govcloud_works_as_any_other() {
    live_in("aws-us-gov", "com.amazonaws", ".vpce.amazonaws.com");
}
