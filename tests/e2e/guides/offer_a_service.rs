//! The guide for a team that offers a service, and for those that connect to it.

use std::fs;

use serde_json::json;
use vpce_testbed::aws::{EndpointServiceView, LoadBalancerSpec, RoleSpec};

use super::{Guide, in_aws, team};
use crate::tenant::Tenant;
use crate::world::{Setup, World, text};

/// The last part of the load balancer's ARN, as the page shows it.
const LOAD_BALANCER: &str = "50dc6c495c0c9188";
/// The id of the endpoint service, as the page shows it.
const SERVICE: &str = "vpce-svc-0f3a4b5c6d7e82930";

/// Adds the load balancer that the page takes for granted, in two zones; returns the last part of
/// its ARN.
fn load_balancer(provider: &Tenant<'_>) -> String {
    let spec = LoadBalancerSpec {
        subnet_ids: provider.subnets[..2].to_vec(),
        ..LoadBalancerSpec::default()
    };
    let aws = &provider.world.aws;
    let added = aws.add_load_balancer(&provider.account_id, &provider.region, "ledger", spec);
    let arn = added.expect("a load balancer");
    arn.rsplit('/').next().expect("an ARN").to_owned()
}

/// The endpoint services of the provider in AWS.
fn offered(provider: &Tenant<'_>) -> Vec<EndpointServiceView> {
    let Tenant {
        world,
        account_id,
        region,
        ..
    } = provider;
    world.aws.endpoint_services(account_id, region)
}

/// Has a role be what the page has printed for it.
fn set_printed_role(guide: &Guide<'_>, provider: &Tenant<'_>) {
    let external_id = text(&guide.manifest("account.yaml")["spec"]["external_id"]);
    let printed = fs::read_to_string(guide.folder.join("permissions.json")).expect("printed");
    let role = RoleSpec {
        policy: Some(printed),
        ..provider.world.role(&provider.role_arn, Some(&external_id))
    };
    provider.world.aws.set_role(&provider.role_arn, role).expect("a role");
}

#[test]
fn a_service_is_offered_to_two_accounts_taken_from_one_and_deleted() {
    let world = World::own(Setup::fast());
    let mut guide = Guide::open(&world, "offer-a-service");
    let provider = team(&world, "payments", "payments");
    let consumer = team(&world, "reporting", "reporting");
    let network = json!({"name": "main", "region": consumer.region, "vpc_id": consumer.vpc});
    consumer.register_with_its_role(json!({"networks": [network]}));
    // The page does not see how this account makes its endpoint.
    let elsewhere = world.tenant("elsewhere");
    let load_balancer = load_balancer(&provider);
    for (shown, own) in [
        ("eu-west-1", &provider.region),
        ("111122223333", &provider.account_id),
        ("444455556666", &consumer.account_id),
        ("777788889999", &elsewhere.account_id),
        (LOAD_BALANCER, &load_balancer),
    ] {
        guide.replace(shown, own);
    }

    guide.follow("Allow endpoint services");
    guide.follow("Update the role");
    set_printed_role(&guide, &provider);
    guide.follow("Apply the AWSAccount");
    guide.follow("Offer the load balancer");
    let service = match &offered(&provider)[..] {
        [only] => only.clone(),
        all => panic!("one endpoint service: {all:#?}"),
    };
    let printed = guide.follow("What consumers need");
    assert!(
        printed.contains(&service.name) && printed.contains(&provider.region),
        "{printed}"
    );
    guide.replace(SERVICE, &service.id);

    guide.follow("Connect from the same cluster");
    let near = in_aws(&consumer);
    guide.follow("Allow the account");
    guide.skip("Create the endpoint there");
    elsewhere.apply(
        "ledger",
        elsewhere.spec(json!({"vpc_endpoint_service_id": service.name})),
    );
    elsewhere.eventually("ledger", "its endpoint is there", || {
        (!elsewhere.endpoints().is_empty()).then_some(())
    });
    let printed = guide.follow("Accept it");
    for (id, tenant) in [(&near[0], &consumer), (&in_aws(&elsewhere)[0], &elsewhere)] {
        let line = format!("{id} {} available", tenant.account_id);
        assert!(printed.contains(&line), "{line}: {printed}");
    }

    guide.follow("Take a consumer away");
    elsewhere.not_ready("ledger", "Rejected");
    consumer.ready("ledger");
    let printed = guide.follow("Wait for the consumers");
    assert!(printed.contains(&near[0]), "{printed}");
    assert_eq!(offered(&provider).len(), 1, "nothing is cut off");
    consumer.ready("ledger");
    guide.follow("Reject the consumers");
    assert_eq!(offered(&provider), []);
    consumer.not_ready("ledger", "Rejected");
    guide.follow("Clean up the consumers");
    assert!(in_aws(&consumer).is_empty());
    guide.end();
}
