//! Private DNS: only where the AWSAccount allows it, and not before the endpoint is there to
//! answer.

use serde_json::json;
use vpce_testbed::aws::{Fault, FaultKind, ServiceSpec};

use crate::tenant::Tenant;
use crate::world::World;

/// A service with a name of its own, whose owner has to accept endpoints or not.
fn named_service(tenant: &Tenant<'_>, acceptance_required: bool) -> String {
    tenant.add_service(ServiceSpec {
        acceptance_required,
        private_dns_name: Some(format!("api.{}.example.com", tenant.namespace)),
        ..ServiceSpec::default()
    })
}

fn is_on(tenant: &Tenant<'_>) -> bool {
    let endpoints = tenant.endpoints();
    assert_eq!(endpoints.len(), 1);
    endpoints[0].private_dns_enabled
}

#[test]
fn it_is_off_unless_asked_for_and_refused_before_any_call_unless_allowed() {
    let tenant = World::shared().tenant("dns-denied");
    tenant.apply(
        "plain",
        tenant.spec(json!({"vpc_endpoint_service_id": "com.amazonaws.us-west-2.sqs"})),
    );
    tenant.ready("plain");
    assert!(!is_on(&tenant), "left out of the spec, it would be on by AWS's default");
    let writes = tenant.writes();
    tenant.apply("api", tenant.spec(json!({"private_dns_enabled": true})));
    let message = tenant.not_ready("api", "NotAllowed");
    assert!(
        message.contains("private_dns_enabled") && message.contains("allow_private_dns"),
        "{message}"
    );
    assert_eq!(tenant.writes(), writes);
}

#[test]
fn no_name_leads_to_an_endpoint_of_aws_own_services_before_it_is_available() {
    let tenant = World::shared().unregistered_tenant("dns-late");
    tenant.register(json!({"allow_private_dns": true}));
    tenant.world.add_role_with_private_dns(&tenant.role_arn);
    tenant.apply(
        "queue",
        tenant.spec(json!({"vpc_endpoint_service_id": "com.amazonaws.us-west-2.sqs", "private_dns_enabled": true})),
    );
    tenant.ready("queue");
    assert!(is_on(&tenant), "it is Ready only with it");
    let switched: Vec<_> = tenant
        .calls()
        .into_iter()
        .filter_map(|call| Some((call.action, call.params.get("PrivateDnsEnabled")?.clone(), call.result)))
        .collect();
    // AWS takes a Modify only once the endpoint is available.
    let switched: Vec<_> = switched
        .iter()
        .map(|(action, on, result)| [action.as_str(), on, result])
        .collect();
    assert_eq!(
        switched,
        [
            ["CreateVpcEndpoint", "false", "ok"],
            ["ModifyVpcEndpoint", "true", "ok"]
        ]
    );
}

#[test]
fn of_aws_own_services_it_follows_the_spec() {
    let tenant = World::shared().unregistered_tenant("dns-aws");
    tenant.register(json!({"allow_private_dns": true}));
    tenant.world.add_role_with_private_dns(&tenant.role_arn);
    let spec = |on: bool| {
        tenant.spec(json!({"vpc_endpoint_service_id": "com.amazonaws.us-west-2.sqs", "private_dns_enabled": on}))
    };
    tenant.apply("queue", spec(true));
    let object = tenant.ready("queue");
    assert!(is_on(&tenant));
    assert_eq!(
        tenant.writes(),
        [
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "CreateVpcEndpoint",
            "ModifyVpcEndpoint"
        ]
    );
    // The alias leads to the endpoint's own name, whatever other names it has.
    let id = object["status"]["vpc_endpoint_id"].as_str().expect("an id");
    assert!(
        object["status"]["dns_name"]
            .as_str()
            .is_some_and(|name| name.starts_with(id))
    );
    tenant.eventually(
        "queue",
        "its status shows the service's own name once EC2 is read again",
        || {
            let object = tenant.get("queue")?;
            let names = object["status"]["dns_entries"].as_array()?;
            names
                .iter()
                .any(|name| name == "sqs.us-west-2.amazonaws.com")
                .then_some(())
        },
    );
    tenant.apply("queue", spec(false));
    tenant.ready("queue");
    assert!(!is_on(&tenant));
    // Taken away from the AWSAccount, it cannot be turned on again.
    tenant.edit_account(json!({"allow_private_dns": null}));
    tenant.apply("queue", spec(true));
    tenant.not_ready("queue", "NotAllowed");
    assert!(!is_on(&tenant));
}

#[test]
fn of_an_endpoint_service_it_waits_for_acceptance() {
    let tenant = World::shared().unregistered_tenant("dns-accepted");
    tenant.register(json!({"allow_private_dns": true}));
    tenant.world.add_role_with_private_dns(&tenant.role_arn);
    let service = named_service(&tenant, true);
    tenant.apply(
        "api",
        tenant.spec(json!({"vpc_endpoint_service_id": service, "private_dns_enabled": true})),
    );
    tenant.not_ready("api", "PendingAcceptance");
    tenant.accept();
    tenant.ready("api");
    assert!(is_on(&tenant));
}

/// Without the right in Route 53 EC2 may accept the call, and nothing comes of it (boto3#2554).
#[test]
fn where_aws_accepts_it_and_it_stays_off_the_condition_says_why_that_may_be() {
    let tenant = World::shared().unregistered_tenant("dns-ineffective");
    tenant.register(json!({"allow_private_dns": true}));
    tenant.world.add_role_with_private_dns(&tenant.role_arn);
    tenant.world.aws.fault(Fault {
        account: Some(tenant.account_id.clone()),
        times: 4,
        ..Fault::once("ModifyVpcEndpoint", FaultKind::WithoutEffect)
    });
    let spec = json!({"vpc_endpoint_service_id": "com.amazonaws.us-west-2.sqs", "private_dns_enabled": true});
    tenant.apply("queue", tenant.spec(spec));
    tenant.eventually("queue", "it says what may be missing", || {
        let ready = tenant.condition("queue", "Ready")?;
        let says = ["route53:AssociateVPCWithHostedZone", &tenant.role_arn];
        (ready.reason == "Denied" && says.iter().all(|part| ready.message.contains(part))).then_some(())
    });
    // Once it has an effect, it is Ready.
    tenant.eventually("queue", "it is on", || is_on(&tenant).then_some(()));
    tenant.ready("queue");
}

#[test]
fn aws_reasons_against_it_are_shown() {
    let tenant = World::shared().unregistered_tenant("dns-refused");
    tenant.register(json!({"allow_private_dns": true}));
    tenant.world.add_role_with_private_dns(&tenant.role_arn);
    let (account, region) = (&tenant.account_id, &tenant.region);
    tenant
        .world
        .aws
        .set_vpc_dns(account, region, &tenant.vpc, true, false)
        .expect("there");
    let spec = json!({"vpc_endpoint_service_id": "com.amazonaws.us-west-2.sqs", "private_dns_enabled": true});
    tenant.apply("queue", tenant.spec(spec));
    let message = tenant.eventually("queue", "it says what AWS says", || {
        let ready = tenant.condition("queue", "Ready")?;
        (!ready.status && ready.message.contains("enableDnsHostnames")).then_some(ready.message)
    });
    assert!(message.contains("ModifyVpcEndpoint"), "{message}");
    tenant.delete("queue");
    tenant.gone("queue");
    assert!(tenant.groups().is_empty());
}
