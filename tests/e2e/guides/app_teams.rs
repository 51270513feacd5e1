//! The page for app teams, whose commands have the rights of an app team.

use serde_json::json;
use vpce_testbed::aws::ServiceSpec;

use super::{Guide, team};
use crate::privileges::somebody;
use crate::world::{Setup, World};

#[test]
fn an_app_team_connects_to_aws_and_to_a_provider_with_no_rights_but_edit() {
    let world = World::own(Setup::fast());
    let mut guide = Guide::at(&world, "app-teams");
    let tenant = team(&world, "payments", "payments");
    let network = json!({"name": "main", "region": tenant.region, "vpc_id": tenant.vpc});
    tenant.register_with_its_role(json!({"networks": [network], "allow_private_dns": true}));
    guide.replace("kubectl ", &format!("kubectl --as {} ", somebody(&tenant, "edit").user));
    let id = guide.manifest("card-processor.yaml")["spec"]["vpc_endpoint_service_id"].clone();
    let name = format!("com.amazonaws.vpce.{}.{}", tenant.region, id.as_str().expect("text"));
    let offer = |allowed: &str| {
        let spec = ServiceSpec {
            acceptance_required: true,
            allowed_accounts: vec![allowed.to_owned()],
            ..ServiceSpec::default()
        };
        world.aws.add_service(&tenant.region, &name, spec);
    };
    offer("999999999999");

    guide.follow("Connect to a service of AWS");
    guide.follow("Connect to a provider");
    tenant.not_ready("card-processor", "NotFound");
    offer(&tenant.account_id);
    guide.follow("The service is not found");
    tenant.not_ready("card-processor", "PendingAcceptance");
    let printed = guide.follow("The provider has to accept");
    let endpoint = printed.trim().rsplit(' ').next().expect("an id").to_owned();
    assert_eq!(
        printed.trim(),
        format!("account {}, endpoint {endpoint}", tenant.account_id)
    );
    world
        .aws
        .accept(&tenant.account_id, &tenant.region, &endpoint)
        .expect("it waits");
    let printed = guide.follow("Use the connection");
    assert!(printed.contains(&endpoint), "the Service leads to it: {printed}");
    let printed = guide.follow("When it is not Ready");
    assert!(printed.contains("connect to card-processor.payments.svc"), "{printed}");
    guide.follow("Change and delete");
    assert_eq!(tenant.endpoints().len(), 1, "that of the service of AWS");
    guide.end();
}
