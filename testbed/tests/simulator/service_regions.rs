//! Services of other regions, what DescribeVpcEndpointServices says, and services that are new.

use serde_json::json;
use vpce_testbed::aws::{RoleSpec, ServiceSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, ROLE, SERVICE, simulator, unthrottled};

const FAR: &str = "eu-west-1";
const FAR_SERVICE: &str = "com.amazonaws.vpce.eu-west-1.vpce-svc-0far";

fn far() -> (Simulator, Client) {
    let (simulator, client) = simulator(unthrottled());
    let spec = ServiceSpec {
        azs: vec!["eu-west-1a".to_owned()],
        regions: vec![REGION.to_owned()],
        ..ServiceSpec::default()
    };
    simulator.add_service(FAR, FAR_SERVICE, spec);
    (simulator, client)
}

fn create(client: &Client, service: &str) -> Answer {
    client.create_endpoint(service, &[("SubnetId.1", "subnet-b"), ("ServiceRegion", FAR)])
}

#[test]
fn a_service_of_another_region_has_that_regions_names() {
    let (simulator, client) = far();
    client.create_endpoint(FAR_SERVICE, &[]).refused("InvalidServiceName");
    let made = create(&client, FAR_SERVICE).succeeded();
    assert_eq!(made.text("serviceRegion"), FAR);
    simulator.advance(61.0);
    let view = simulator.endpoints(ACCOUNT, REGION).remove(0);
    assert_eq!((view.service_region.as_str(), view.dns_names.len()), (FAR, 2));
    let suffix = ".vpce-svc-0far.eu-west-1.vpce.amazonaws.com";
    assert!(
        view.dns_names.iter().all(|name| name.ends_with(suffix)),
        "{:?}",
        view.dns_names
    );
    assert!(
        view.dns_names.iter().any(|name| name.contains("us-west-2b")),
        "{:?}",
        view.dns_names
    );
    for (region, expected) in [(FAR, 1), (REGION, 0)] {
        let filter = [("Filter.1.Name", "service-region"), ("Filter.1.Value.1", region)];
        let found = client.ec2("DescribeVpcEndpoints", &filter).succeeded();
        assert_eq!(found.texts("vpcEndpointId").len(), expected);
    }
    let change = [("VpcEndpointId", view.id.as_str()), ("AddSubnetId.1", "subnet-c")];
    client.ec2("ModifyVpcEndpoint", &change).succeeded();
}

#[test]
fn it_has_to_be_offered_here_and_the_region_enabled() {
    let (simulator, client) = far();
    let hidden = "com.amazonaws.vpce.eu-west-1.vpce-svc-0hidden";
    simulator.add_service(FAR, hidden, ServiceSpec::default());
    create(&client, hidden).refused("InvalidServiceName");
    create(&client, "com.amazonaws.eu-west-1.sqs").refused("InvalidServiceName");
    create(&client, "com.amazonaws.eu-west-1.kms").succeeded();
    simulator.set_region_enabled(ACCOUNT, FAR, false);
    create(&client, FAR_SERVICE).refused("OptInRequired");
}

#[test]
fn it_takes_a_permission_of_its_own() {
    let (simulator, client) = far();
    let restrict = |condition: serde_json::Value, more: serde_json::Value| {
        let create = json!({"Effect": "Allow", "Action": "ec2:CreateVpcEndpoint",
                            "Resource": "arn:aws:ec2:*:*:vpc-endpoint/*", "Condition": condition});
        let place = json!({"Effect": "Allow", "Action": "ec2:CreateVpcEndpoint",
                           "Resource": ["arn:aws:ec2:*:*:vpc/*", "arn:aws:ec2:*:*:subnet/*"]});
        let policy = json!({"Version": "2012-10-17", "Statement": [create, place, more]});
        let spec = RoleSpec {
            policy: Some(policy.to_string()),
            ..RoleSpec::default()
        };
        simulator.set_role(ROLE, spec).unwrap();
    };
    let describe = json!({"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"});
    let multi = json!({"Effect": "Allow", "Action": "vpce:AllowMultiRegion", "Resource": "*"});
    let region = |region: &str| json!({"StringEquals": {"ec2:VpceServiceRegion": region}});
    restrict(region(FAR), describe);
    let refused = create(&client, FAR_SERVICE);
    refused.refused("UnauthorizedOperation");
    assert!(
        refused.text("Message").contains("vpce:AllowMultiRegion"),
        "{}",
        refused.body
    );
    restrict(region(REGION), multi.clone());
    create(&client, FAR_SERVICE).refused("UnauthorizedOperation");
    restrict(json!({"Bool": {"ec2:VpceMultiRegion": "false"}}), multi.clone());
    create(&client, FAR_SERVICE).refused("UnauthorizedOperation");
    client.create_endpoint(SERVICE, &[]).succeeded();
    restrict(region(FAR), multi);
    create(&client, FAR_SERVICE).succeeded();
}

#[test]
fn services_are_described_with_what_they_take() {
    let (_simulator, client) = far();
    let describe = |params: &[(&str, &str)]| client.ec2("DescribeVpcEndpointServices", params);
    describe(&[("ServiceName.1", FAR_SERVICE)]).refused("InvalidServiceName");
    let found = describe(&[("ServiceName.1", FAR_SERVICE), ("ServiceRegion.1", FAR)]).succeeded();
    assert_eq!(found.text("serviceRegion"), FAR);
    assert_eq!(found.text("vpcEndpointPolicySupported"), "false");
    let s3 = describe(&[("ServiceName.1", "com.amazonaws.us-west-2.s3")]).succeeded();
    assert!(s3.body.contains("<serviceType>Gateway</serviceType>"), "{}", s3.body);
    assert!(s3.body.contains("<serviceType>Interface</serviceType>"), "{}", s3.body);
    assert_eq!(s3.text("privateDnsNameVerificationState"), "verified");
    let six = [
        ("Filter.1.Name", "supported-ip-address-types"),
        ("Filter.1.Value.1", "ipv6"),
    ];
    assert_eq!(describe(&six).succeeded().texts("serviceId").len(), 3);
    for (name, value, expected) in [("owner", "888888888888", 1), ("service-region", FAR, 0)] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(
            describe(&filter).succeeded().texts("serviceId").len(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_service_is_not_there_for_those_who_may_not_use_it() {
    let (simulator, client) = simulator(unthrottled());
    let allow = |account: &str| {
        let spec = ServiceSpec {
            allowed_accounts: vec![account.to_owned()],
            ..ServiceSpec::default()
        };
        simulator.add_service(REGION, SERVICE, spec);
    };
    let describe = || client.ec2("DescribeVpcEndpointServices", &[("ServiceName.1", SERVICE)]);
    allow("222222222222");
    describe().refused("InvalidServiceName");
    client.create_endpoint(SERVICE, &[]).refused("InvalidServiceName");
    allow(ACCOUNT);
    describe().succeeded();
    client.create_endpoint(SERVICE, &[]).succeeded();
}

#[test]
fn a_service_that_is_new_is_unavailable_for_a_while() {
    let (simulator, client) = simulator(unthrottled());
    let spec = ServiceSpec {
        unavailable_until: simulator.now() + 30.0,
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
    let answer = client.create_endpoint(SERVICE, &[]);
    answer.refused("Unavailable");
    assert_eq!(answer.status, 503);
    simulator.advance(31.0);
    client.create_endpoint(SERVICE, &[]).succeeded();
}
