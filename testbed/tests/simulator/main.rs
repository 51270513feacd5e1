//! The AWS simulator keeps the promises that the operator's tests rest on.

#![allow(clippy::unwrap_used)]

mod client;
mod clocks;
mod connections;
mod consistency;
mod documented_policies;
mod endpoint_policies;
mod endpoint_service_changes;
mod endpoint_service_deletion;
mod endpoint_service_drift;
mod endpoint_services;
mod endpoints;
mod gateway_load_balancers;
mod gateways;
mod groups;
mod hosting;
mod ip_addresses;
mod lattice;
mod load_balancer_calls;
mod load_balancers;
mod mishaps;
mod partitions;
mod policies;
mod private_dns;
mod private_names;
mod provider_mishaps;
mod provider_permissions;
mod providers;
mod quotas;
mod scp;
mod service_permissions;
mod service_regions;
mod sessions;
mod source_identity;
mod weather;
mod zones;

use std::process::Command;

use client::Client;
use vpce_testbed::aws::{Config, RoleSpec, ServiceSpec, Simulator};
use vpce_testbed::python;

const ACCOUNT: &str = "111111111111";
const REGION: &str = "us-west-2";
const ROLE: &str = "arn:aws:iam::111111111111:role/team";
const SERVICE: &str = "com.amazonaws.vpce.us-west-2.vpce-svc-0abc437c186123456";

/// A simulator whose time is pushed by the test, with a VPC `vpc-1` that has subnets in three zones
/// (`subnet-a`, `subnet-b`, `subnet-c`, and `subnet-a2` beside the first) and a group `sg-1`.
fn simulator(config: Config) -> (Simulator, Client) {
    let simulator = Simulator::start(Config {
        pending_seconds: 60.0,
        modify_seconds: 30.0,
        deleting_seconds: 60.0,
        eni_release_seconds: 60.0,
        deleted_linger_seconds: 600.0,
        ..config
    })
    .unwrap();
    simulator.add_role(ROLE, RoleSpec::default()).unwrap();
    simulator.add_vpc(ACCOUNT, REGION, "vpc-1", "10.0.0.0/16").unwrap();
    for (subnet, zone) in [
        ("subnet-a", "a"),
        ("subnet-a2", "a"),
        ("subnet-b", "b"),
        ("subnet-c", "c"),
    ] {
        let zone = format!("{REGION}{zone}");
        simulator.add_subnet(ACCOUNT, REGION, subnet, "vpc-1", &zone).unwrap();
    }
    simulator
        .add_security_group(ACCOUNT, REGION, "sg-1", "vpc-1", "provided")
        .unwrap();
    simulator.add_service(REGION, SERVICE, ServiceSpec::default());
    let client = Client::base(&simulator, REGION).assume(ROLE);
    (simulator, client)
}

/// A simulator without throttling.
fn unthrottled() -> Config {
    Config {
        throttle: false,
        ..Config::default()
    }
}

#[test]
fn boto3_parses_the_answers() {
    let simulator = Simulator::start(Config {
        time_scale: 20.0,
        pending_seconds: 10.0,
        modify_seconds: 20.0,
        deleting_seconds: 10.0,
        eni_release_seconds: 20.0,
        ..Config::default()
    })
    .unwrap();
    let spec = RoleSpec {
        external_id: Some("smoke".to_owned()),
        ..RoleSpec::default()
    };
    simulator.add_role(ROLE, spec).unwrap();
    let (key_id, secret) = simulator.base_credentials();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/smoke_boto3.py");
    let output = Command::new(python::interpreter().unwrap())
        .env_clear()
        .args([script, &simulator.url(), &key_id, &secret, ROLE, "smoke"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_ends_with_its_last_handle() {
    let (simulator, client) = simulator(Config::default());
    let other = simulator.clone();
    drop(simulator);
    client.ec2("DescribeVpcs", &[]).succeeded();
    let address = other.url().trim_start_matches("http://").to_owned();
    drop(other);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn what_it_does_not_know_is_refused() {
    let (_simulator, client) = simulator(Config::default());
    client.ec2("RunInstances", &[]).refused("InvalidAction");
    client
        .ec2("DescribeVpcs", &[("Colour", "red")])
        .refused("UnknownParameter");
    client
        .ec2(
            "DescribeVpcs",
            &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")],
        )
        .refused("InvalidParameterValue");
    client.sts("GetSessionToken", &[]).refused("InvalidAction");
}

#[test]
fn the_log_has_every_call() {
    let (simulator, client) = simulator(Config::default());
    simulator.clear_calls();
    client.ec2("DescribeVpcs", &[("VpcId.1", "vpc-1")]).succeeded();
    let answer = client.ec2("DescribeVpcs", &[("VpcId.1", "vpc-2")]);
    answer.refused("InvalidVpcID.NotFound");
    let calls = simulator.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].result.as_str(), calls[1].result.as_str()),
        ("ok", "InvalidVpcID.NotFound")
    );
    assert_eq!(calls[0].seq + 1, calls[1].seq);
    assert_eq!((calls[1].account.as_str(), calls[1].role.as_str()), (ACCOUNT, ROLE));
    assert_eq!(calls[1].params["VpcId.1"], "vpc-2");
    assert!(calls[1].region == REGION && !calls[1].mutating() && !calls[1].ok());
    assert_eq!(answer.text("RequestID"), calls[1].request_id);
    assert!(
        answer
            .head
            .to_lowercase()
            .contains(&format!("x-amzn-requestid: {}", calls[1].request_id))
    );
}
