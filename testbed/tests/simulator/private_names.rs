//! Private DNS names of endpoint services: verification and use.

use vpce_testbed::aws::{Config, LoadBalancerType};

use crate::client::Answer;
use crate::hosting::{ENDPOINT_PENDING, Hosting, add_load_balancer, hosting_with, name};
use crate::{ACCOUNT, REGION, unthrottled};

const NAME: (&str, &str) = ("PrivateDnsName", "db.example.com");
/// From the start of the verification until the record is looked for.
const LOOKUP: f64 = 90.0;
const ON: (&str, &str) = ("PrivateDnsEnabled", "true");
const OFF: (&str, &str) = ("PrivateDnsEnabled", "false");

fn slow() -> Hosting {
    hosting_with(Config {
        verification_seconds: LOOKUP,
        ..unthrottled()
    })
}

fn start(hosting: &Hosting, id: &str) -> Answer {
    let params = [("ServiceId", id)];
    hosting
        .provider
        .ec2("StartVpcEndpointServicePrivateDnsVerification", &params)
}

/// The record's name and value, and the state.
fn record(hosting: &Hosting, id: &str) -> (String, String, String) {
    let described = hosting.describe(id);
    let configuration = described.text("privateDnsNameConfiguration");
    let part = |name: &str| {
        let (_, rest) = configuration.split_once(&format!("<{name}>")).unwrap();
        rest.split_once("</").unwrap().0.to_owned()
    };
    assert_eq!(part("type"), "TXT");
    (part("name"), part("value"), part("state"))
}

/// A service whose name is verified, without acceptance.
fn verified(hosting: &Hosting) -> String {
    let id = hosting.service(&[NAME, ("AcceptanceRequired", "false")]);
    let (name, value, _) = record(hosting, &id);
    hosting
        .simulator
        .publish_txt_record(&format!("{name}.db.example.com"), &value);
    start(hosting, &id).succeeded();
    hosting.simulator.advance(LOOKUP);
    id
}

#[test]
fn a_name_is_verified_by_its_txt_record() {
    // PrivateLink Guide, "Manage DNS names for VPC endpoint services", "Domain ownership
    // verification".
    let hosting = slow();
    let id = hosting.service(&[NAME]);
    assert_eq!(hosting.describe(&id).text("privateDnsName"), "db.example.com");
    let (name, value, state) = record(&hosting, &id);
    assert!(name.starts_with('_') && !name.contains('.'), "{name}");
    assert!(value.starts_with("vpce:"), "{value}");
    assert_eq!(state, "pendingVerification");
    hosting
        .simulator
        .publish_txt_record(&format!("{}.DB.example.com", name.to_uppercase()), &value);
    hosting.simulator.advance(1000.0);
    assert_eq!(record(&hosting, &id).2, "pendingVerification", "it has to be started");
    assert_eq!(start(&hosting, &id).succeeded().text("return"), "true");
    hosting.simulator.advance(LOOKUP - 1.0);
    assert_eq!(record(&hosting, &id).2, "pendingVerification");
    hosting.simulator.advance(1.0);
    assert_eq!(record(&hosting, &id), (name, value, "verified".to_owned()));
    let service = ("ServiceName.1", crate::hosting::name(&id));
    let found = hosting
        .consumer
        .ec2("DescribeVpcEndpointServices", &[(service.0, &service.1)])
        .succeeded();
    assert_eq!(found.text("privateDnsNameVerificationState"), "verified");
    assert_eq!(found.texts("privateDnsName").len(), 2, "{}", found.body);
}

#[test]
fn a_failed_verification_can_be_started_again() {
    let hosting = slow();
    let id = hosting.service(&[NAME]);
    let (name, value, _) = record(&hosting, &id);
    hosting
        .simulator
        .publish_txt_record(&format!("{name}.db.example.com"), &value.to_uppercase());
    hosting
        .simulator
        .publish_txt_record(&format!("{name}.other.example.com"), &value);
    hosting.simulator.publish_txt_record(&name, &value);
    start(&hosting, &id).succeeded();
    hosting.simulator.advance(LOOKUP);
    assert_eq!(record(&hosting, &id).2, "failed", "values are compared with case");
    hosting
        .simulator
        .publish_txt_record(&format!("{name}.db.example.com"), &value);
    start(&hosting, &id).succeeded();
    assert_eq!(record(&hosting, &id).2, "pendingVerification");
    hosting.simulator.advance(LOOKUP);
    assert_eq!(record(&hosting, &id).2, "verified");
}

#[test]
fn the_record_may_be_at_a_parent_domain() {
    // "Manage DNS names": the domain of a subdomain can be verified; without underscores, the
    // record is at the domain itself.
    for (private, at, expected) in [
        ("a.b.example.com", "{}.example.com", "verified"),
        ("a.b.example.com", "{}.b.example.com", "verified"),
        ("*.b.example.com", "{}.b.example.com", "verified"),
        ("a.b.example.com", "b.example.com", "verified"),
        ("a.b.example.com", "{}.com", "failed"),
        ("a.b.example.com", "{}.c.example.com", "failed"),
    ] {
        let hosting = slow();
        let id = hosting.service(&[("PrivateDnsName", private)]);
        let (name, value, _) = record(&hosting, &id);
        hosting.simulator.publish_txt_record(&at.replace("{}", &name), &value);
        start(&hosting, &id).succeeded();
        hosting.simulator.advance(LOOKUP);
        assert_eq!(record(&hosting, &id).2, expected, "{private} {at}");
    }
}

#[test]
fn consumers_can_use_only_verified_names() {
    // API reference, "PrivateDnsNameConfiguration" (State).
    let hosting = slow();
    let id = hosting.service(&[NAME, ("AcceptanceRequired", "false")]);
    let refused = hosting.connect(&id, &[ON]);
    refused.refused("InvalidParameter");
    assert!(refused.text("Message").contains("verified"), "{}", refused.body);
    let endpoint = hosting.connect(&id, &[("SubnetId.1", "subnet-a")]).succeeded();
    assert_eq!(endpoint.text("privateDnsEnabled"), "false");
    let endpoint = endpoint.text("vpcEndpointId");
    hosting.simulator.advance(ENDPOINT_PENDING);
    let turn_on = [("VpcEndpointId", endpoint.as_str()), ON];
    hosting
        .consumer
        .ec2("ModifyVpcEndpoint", &turn_on)
        .refused("InvalidParameter");

    let (name, value, _) = record(&hosting, &id);
    hosting
        .simulator
        .publish_txt_record(&format!("{name}.db.example.com"), &value);
    start(&hosting, &id).succeeded();
    hosting.simulator.advance(LOOKUP);
    hosting.consumer.ec2("ModifyVpcEndpoint", &turn_on).succeeded();
    let own = [("VpcEndpointId.1", endpoint.as_str())];
    let own = hosting.consumer.ec2("DescribeVpcEndpoints", &own).succeeded();
    assert!(
        own.texts("dnsName").contains(&"db.example.com".to_owned()),
        "{}",
        own.body
    );
    // Left out, it is on where it can be.
    let turn_off = [("VpcEndpointId", endpoint.as_str()), OFF];
    hosting.consumer.ec2("ModifyVpcEndpoint", &turn_off).succeeded();
    assert_eq!(hosting.connect(&id, &[]).succeeded().text("privateDnsEnabled"), "true");
}

#[test]
fn losing_verification_denies_new_connections_only() {
    // "Private DNS names for endpoint services", "Domain name verification considerations".
    let hosting = slow();
    let id = verified(&hosting);
    let endpoint = hosting
        .connect(&id, &[ON, ("SubnetId.1", "subnet-a")])
        .succeeded()
        .text("vpcEndpointId");
    hosting.simulator.advance(ENDPOINT_PENDING);
    let (name, value, _) = record(&hosting, &id);
    let recheck = || {
        hosting
            .simulator
            .recheck_private_dns_name(ACCOUNT, REGION, &id)
            .unwrap()
    };
    recheck();
    assert_eq!(record(&hosting, &id).2, "verified");
    let txt = format!("{name}.db.example.com");
    hosting.simulator.remove_txt_record(&txt, &value).unwrap();
    recheck();
    assert_eq!(record(&hosting, &id).2, "failed");
    hosting.connect(&id, &[OFF]).refused("InvalidState");
    assert_eq!(hosting.state(&endpoint), "available");
    hosting.simulator.publish_txt_record(&txt, &value);
    start(&hosting, &id).succeeded();
    hosting.simulator.advance(LOOKUP);
    hosting.connect(&id, &[OFF]).succeeded();
}

#[test]
fn a_name_is_changed_and_removed() {
    let hosting = slow();
    let id = verified(&hosting);
    let first = record(&hosting, &id);
    hosting.modify(&id, &[NAME]).succeeded();
    assert_eq!(record(&hosting, &id), first, "the same name again");
    hosting.modify(&id, &[("PrivateDnsName", "db.example.org")]).succeeded();
    let second = record(&hosting, &id);
    assert_eq!(second.2, "pendingVerification");
    assert!(second.0 != first.0 && second.1 != first.1);
    // A name that was never verified denies nobody.
    hosting.connect(&id, &[OFF]).succeeded();
    let both = [("PrivateDnsName", "db.example.net"), ("RemovePrivateDnsName", "true")];
    hosting.modify(&id, &both).refused("InvalidParameterCombination");
    hosting.modify(&id, &[("RemovePrivateDnsName", "true")]).succeeded();
    assert_eq!(hosting.describe(&id).text("privateDnsNameConfiguration"), "");
    start(&hosting, &id).refused("InvalidParameter");
    hosting.connect(&id, &[ON]).refused("InvalidParameter");
}

#[test]
fn each_service_has_its_own_record() {
    // "Domain name verification considerations": a separate check for each service.
    let hosting = slow();
    let first = verified(&hosting);
    let other = add_load_balancer(&hosting.simulator, "other", LoadBalancerType::Network);
    let params = [("NetworkLoadBalancerArn.1", other.as_str()), NAME];
    let made = hosting.provider.ec2("CreateVpcEndpointServiceConfiguration", &params);
    let second = made.succeeded().text("serviceId");
    start(&hosting, &second).succeeded();
    hosting.simulator.advance(LOOKUP);
    assert_eq!(record(&hosting, &second).2, "failed");
    assert_eq!(record(&hosting, &first).2, "verified");
}

#[test]
fn invalid_names_are_refused() {
    // "Manage DNS names": 63 characters a label, 255 in all; not for Gateway Load Balancers.
    let hosting = slow();
    let (label, name) = (
        "x".repeat(64),
        format!("{}.com", ["x".repeat(63).as_str(); 4].join(".")),
    );
    let long = format!("{label}.example.com");
    for bad in [
        "DB.example.com",
        "localhost",
        "a..com",
        "a.*.com",
        "*",
        "a_b.example.com",
        &long,
        &name,
    ] {
        hosting.create(&[("PrivateDnsName", bad)]).refused("InvalidParameter");
    }
    let gateway = add_load_balancer(&hosting.simulator, "inspection", LoadBalancerType::Gateway);
    let params = [("GatewayLoadBalancerArn.1", gateway.as_str()), NAME];
    let refused = hosting.provider.ec2("CreateVpcEndpointServiceConfiguration", &params);
    refused.refused("InvalidParameter");
    hosting.create(&[("PrivateDnsName", "*.example.com")]).succeeded();
    start(&hosting, "vpce-svc-00000000000000000").refused("InvalidVpcEndpointServiceId.NotFound");
}

#[test]
fn private_dns_is_enabled_after_acceptance() {
    let hosting = slow();
    let id = verified(&hosting);
    hosting.modify(&id, &[("AcceptanceRequired", "true")]).succeeded();
    hosting
        .consumer
        .create_endpoint(&name(&id), &[ON])
        .refused("InvalidParameter");
    let endpoint = hosting.connected(&id);
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    let turn_on = [("VpcEndpointId", endpoint.as_str()), ON];
    hosting.consumer.ec2("ModifyVpcEndpoint", &turn_on).succeeded();
}
