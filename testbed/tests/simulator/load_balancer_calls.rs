//! Elastic Load Balancing: IAM, throttling and faults.

use std::collections::BTreeMap;

use vpce_testbed::aws::{Config, Fault, FaultKind, RoleSpec, Weather};

use crate::load_balancers::{add, slow};
use crate::{ACCOUNT, REGION, ROLE, simulator};

#[test]
fn permissions_are_asked_for() {
    // Service Authorization Reference, "Elastic Load Balancing V2": describes know no resources.
    let (simulator, client) = slow();
    let arn = add(&simulator, "web");
    let tags = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    simulator.set_load_balancer_tags(&arn, tags).unwrap();
    let restrict = |statement: &str| {
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let spec = RoleSpec {
            policy: Some(policy),
            ..RoleSpec::default()
        };
        simulator.set_role(ROLE, spec).unwrap();
    };
    restrict(r#"{"Effect":"Allow","Action":"elasticloadbalancing:DescribeTags","Resource":"*"}"#);
    let refused = client.elb("DescribeLoadBalancers", &[]);
    refused.refused("AccessDenied");
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .text("Message")
            .contains("elasticloadbalancing:DescribeLoadBalancers")
    );
    client
        .elb("DescribeTags", &[("ResourceArns.member.1", &arn)])
        .succeeded();
    for (team, allowed) in [("red", false), ("blue", true)] {
        restrict(&format!(
            r#"{{"Effect":"Allow","Action":"elasticloadbalancing:DeleteLoadBalancer",
                "Resource":"arn:aws:elasticloadbalancing:*:*:loadbalancer/net/*",
                "Condition":{{"StringEquals":{{"elasticloadbalancing:ResourceTag/team":"{team}"}}}}}}"#
        ));
        let answer = client.elb("DeleteLoadBalancer", &[("LoadBalancerArn", &arn)]);
        if allowed {
            answer.succeeded();
        } else {
            answer.refused("AccessDenied");
        }
    }
    simulator.set_role(ROLE, RoleSpec::default()).unwrap();
    simulator.deny(ROLE, "elasticloadbalancing:*");
    client
        .elb("DescribeTags", &[("ResourceArns.member.1", &arn)])
        .refused("AccessDenied");
}

#[test]
fn describes_share_one_rate() {
    // Elastic Load Balancing API reference, "Request throttling": 40 at once, and 10 a second.
    let (simulator, client) = simulator(Config::default());
    let arn = add(&simulator, "web");
    for _ in 0..20 {
        client.elb("DescribeLoadBalancers", &[]).succeeded();
        client
            .elb("DescribeTags", &[("ResourceArns.member.1", &arn)])
            .succeeded();
    }
    let mut throttled = 0;
    for _ in 0..40 {
        let answer = client.elb("DescribeLoadBalancers", &[]);
        throttled += usize::from(answer.text("Code") == "ThrottlingException" && answer.status == 400);
    }
    assert!(throttled > 20, "{throttled}");
    client
        .in_region("eu-west-1")
        .elb("DescribeLoadBalancers", &[])
        .succeeded();
    simulator.advance(1.0);
    client.elb("DescribeLoadBalancers", &[]).succeeded();
}

#[test]
fn faults_and_weather_apply() {
    let (simulator, client) = slow();
    let arn = add(&simulator, "web");
    let delete = [("LoadBalancerArn", arn.as_str())];
    simulator.fault(Fault::once("DescribeLoadBalancers", FaultKind::Empty));
    assert_eq!(
        client
            .elb("DescribeLoadBalancers", &[])
            .succeeded()
            .text("LoadBalancerArn"),
        ""
    );
    simulator.fault(Fault::once("DeleteLoadBalancer", FaultKind::WithoutEffect));
    client.elb("DeleteLoadBalancer", &delete).succeeded();
    assert_eq!(client.elb("DescribeLoadBalancers", &[]).text("LoadBalancerArn"), arn);
    simulator.fault(Fault::once("DeleteLoadBalancer", FaultKind::LoseAnswer));
    assert!(client.try_elb("DeleteLoadBalancer", &delete).is_none());
    assert!(simulator.load_balancers(ACCOUNT, REGION).is_empty());
    simulator.set_weather([Weather {
        refuse: 1.0,
        actions: vec!["DescribeTags".to_owned()],
        ..Weather::default()
    }]);
    let codes = ["ThrottlingException", "InternalFailure", "ServiceUnavailable"];
    let code = client
        .elb("DescribeTags", &[("ResourceArns.member.1", &arn)])
        .text("Code");
    assert!(codes.contains(&code.as_str()), "{code}");
    client.elb("DescribeLoadBalancers", &[]).succeeded();
}

#[test]
fn what_it_does_not_know_is_refused() {
    let (simulator, client) = slow();
    client.elb("DescribeListeners", &[]).refused("InvalidAction");
    client
        .elb("DescribeLoadBalancers", &[("Colour", "red")])
        .refused("UnknownParameter");
    simulator.expire_sessions();
    client.elb("DescribeLoadBalancers", &[]).refused("ExpiredToken");
    let nobody = client.with_key("ASIAXXXXXXXXXXXXXXXX", None);
    nobody.elb("DescribeLoadBalancers", &[]).refused("InvalidClientTokenId");
    let calls = simulator.calls();
    let last = calls.last().unwrap();
    assert_eq!(
        (last.service.as_str(), last.action.as_str()),
        ("elasticloadbalancing", "DescribeLoadBalancers")
    );
}
