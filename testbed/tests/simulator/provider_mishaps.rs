//! Throttling, faults and eventual consistency of the provider's calls.

use vpce_testbed::aws::{Config, Fault, FaultKind, LoadBalancerType};

use crate::hosting::{CONSUMER_ROOT, SERVICE_PENDING, add_load_balancer, hosting, hosting_with};
use crate::{ACCOUNT, REGION, unthrottled};

const DESCRIBE: &str = "DescribeVpcEndpointServiceConfigurations";

#[test]
fn configuration_calls_have_the_documented_rate() {
    // EC2 Developer Guide, "Request throttling for the Amazon EC2 API": 10 at once, 1 a second.
    let hosting = hosting_with(Config::default());
    let missing = [
        ("ServiceId.1", "vpce-svc-x"),
        ("ServiceId", "vpce-svc-x"),
        ("VpcEndpointId.1", "vpce-x"),
    ];
    let calls: [(&str, &[(&str, &str)]); 5] = [
        ("CreateVpcEndpointServiceConfiguration", &[]),
        ("ModifyVpcEndpointServiceConfiguration", &missing[1..2]),
        ("DeleteVpcEndpointServiceConfigurations", &missing[..1]),
        ("AcceptVpcEndpointConnections", &missing[1..]),
        ("RejectVpcEndpointConnections", &missing[1..]),
    ];
    for (action, params) in calls {
        let throttled = || hosting.provider.ec2(action, params).text("Code") == "RequestLimitExceeded";
        let refused = (0..12).filter(|_| throttled()).count();
        assert!((1..=2).contains(&refused), "{action}: {refused}");
        hosting.simulator.advance(1.5);
        assert!(!throttled(), "{action}");
    }
}

#[test]
fn a_lost_answer_leaves_a_service() {
    let hosting = hosting();
    let fault = |kind| {
        hosting
            .simulator
            .fault(Fault::once("CreateVpcEndpointServiceConfiguration", kind))
    };
    let params = [
        ("NetworkLoadBalancerArn.1", hosting.load_balancer.as_str()),
        ("ClientToken", "t"),
    ];
    let create = || {
        hosting
            .provider
            .try_ec2("CreateVpcEndpointServiceConfiguration", &params)
    };
    fault(FaultKind::WithoutEffect);
    create().unwrap().succeeded();
    assert!(hosting.simulator.endpoint_services(ACCOUNT, REGION).is_empty());
    fault(FaultKind::LoseAnswer);
    assert!(create().is_none());
    let call = hosting.simulator.calls().pop().unwrap();
    let made = hosting.view().id;
    assert_eq!((call.produced, call.answered), (vec![made.clone()], false));
    assert_eq!(create().unwrap().succeeded().text("serviceId"), made);

    hosting.simulator.fault(Fault::once(DESCRIBE, FaultKind::Empty));
    assert!(
        hosting
            .provider
            .ec2(DESCRIBE, &[])
            .succeeded()
            .texts("serviceId")
            .is_empty()
    );
    assert_eq!(
        hosting.provider.ec2(DESCRIBE, &[]).succeeded().texts("serviceId"),
        [made]
    );
}

#[test]
fn faults_apply_to_endpoints_of_other_accounts() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    hosting
        .simulator
        .fault(Fault::once("AcceptVpcEndpointConnections", FaultKind::WithoutEffect));
    hosting.accept(&id, &[&endpoint]).succeeded();
    assert_eq!(hosting.state(&endpoint), "pendingAcceptance");
    hosting
        .simulator
        .fault(Fault::once("DescribeVpcEndpointConnections", FaultKind::Empty));
    assert!(hosting.connections(&id).is_empty());
    assert_eq!(hosting.connections(&id).len(), 1);
}

#[test]
fn describe_calls_lag_on_both_sides() {
    const LAG: f64 = 20.0;
    let hosting = hosting_with(Config {
        consistency_seconds: LAG,
        ..unthrottled()
    });
    let id = hosting.create(&[]).succeeded().text("serviceId");
    hosting.allow(&id, CONSUMER_ROOT);
    let services = || hosting.provider.ec2(DESCRIBE, &[]).succeeded().texts("serviceId");
    assert!(services().is_empty());
    hosting.simulator.advance(SERVICE_PENDING + LAG);
    assert_eq!(services(), std::slice::from_ref(&id));

    let endpoint = hosting.connected(&id);
    assert!(hosting.connections(&id).is_empty());
    hosting.simulator.advance(LAG + 1.0);
    assert_eq!(
        hosting.connections(&id),
        [(endpoint.clone(), "pendingAcceptance".to_owned())]
    );
    hosting.accept(&id, &[&endpoint]).succeeded();
    assert_eq!(hosting.connections(&id)[0].1, "pendingAcceptance");
    let own = || {
        hosting
            .consumer
            .ec2("DescribeVpcEndpoints", &[])
            .succeeded()
            .text("state")
    };
    assert_eq!(own(), "pendingAcceptance");
    assert_eq!(hosting.state(&endpoint), "pending");
    hosting.simulator.advance(LAG + 1.0);
    assert_eq!(
        (hosting.connections(&id)[0].1.as_str(), own().as_str()),
        ("pending", "pending")
    );
}

#[test]
fn a_replica_may_not_know_a_new_service() {
    let hosting = hosting_with(Config {
        consistency_seconds: 100.0,
        consistency_seed: Some(3),
        ..unthrottled()
    });
    let id = hosting.create(&[]).succeeded().text("serviceId");
    let modify = || {
        hosting.simulator.advance(1.0);
        hosting.modify(&id, &[("AcceptanceRequired", "true")]).text("Code")
    };
    let answers: Vec<String> = (0..40).map(|_| modify()).collect();
    let unknown = "InvalidVpcEndpointServiceId.NotFound";
    assert!(answers.iter().any(|code| code == unknown), "{answers:?}");
    assert!(answers.iter().any(String::is_empty), "{answers:?}");
    let other = add_load_balancer(&hosting.simulator, "other", LoadBalancerType::Network);
    let params = [("NetworkLoadBalancerArn.1", other.as_str())];
    let made = hosting.provider.ec2("CreateVpcEndpointServiceConfiguration", &params);
    let deleted = hosting.delete(&made.succeeded().text("serviceId")).succeeded();
    assert_eq!(deleted.text("code"), "InvalidVpcEndpointService.NotFound");
    hosting.simulator.advance(101.0);
    assert_eq!(hosting.describe(&id).text("serviceId"), id);
}
