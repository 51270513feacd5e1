//! The conformance suite in `testbed/conformance` passes against the simulator and against moto, as
//! `docs/conformance.md` says, and that page lists every known difference of moto.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vpce_testbed::aws::{
    Config, EndpointType, LoadBalancerSpec, ResourceConfigurationSpec, RoleSpec, ServiceSpec, Simulator,
};
use vpce_testbed::python::{self, Moto};

const REGION: &str = "us-west-2";
const ROLE: &str = "arn:aws:iam::111111111111:role/conformance";
const DENIED_ROLE: &str = "arn:aws:iam::111111111111:role/denied";
const EXTERNAL_ID: &str = "conformance";
const ACCEPTANCE_SERVICE: &str = "com.amazonaws.vpce.us-west-2.vpce-svc-0abc437c186123456";
const GATEWAY_LOAD_BALANCER_SERVICE: &str = "com.amazonaws.vpce.us-west-2.vpce-svc-0abc437c186123457";
const ACCOUNT: &str = "111111111111";
const RESOURCE_CONFIGURATION: &str =
    "arn:aws:vpc-lattice:us-west-2:111111111111:resourceconfiguration/rcfg-0123456789abcdef0";
const SERVICE_NETWORK: &str = "arn:aws:vpc-lattice:us-west-2:111111111111:servicenetwork/sn-0123456789abcdef0";

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Python in the suite's folder, as an AWS user whose keys boto3 finds in the environment.
fn python(arguments: &[&str], (key_id, secret): (&str, &str)) -> Command {
    let mut command = Command::new(python::interpreter().expect("Python"));
    command
        .env_clear()
        // Or Python would write its bytecode into the project.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AWS_ACCESS_KEY_ID", key_id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(suite())
        .args(arguments);
    command
}

/// Runs the whole suite; pytest says what failed.
#[track_caller]
fn passes(target: &str, url: &str, keys: (&str, &str), more: &[&str]) {
    let options = [
        "-m",
        "pytest",
        "--quiet",
        "--tb=short",
        "-rfEs",
        "--target",
        target,
        "--endpoint-url",
        url,
        "--region",
        REGION,
        "--role-arn",
        ROLE,
        "--external-id",
        EXTERNAL_ID,
        "--denied-role-arn",
        DENIED_ROLE,
        "--acceptance-service",
        ACCEPTANCE_SERVICE,
        "--gateway-load-balancer-service",
        GATEWAY_LOAD_BALANCER_SERVICE,
        "--resource-configuration",
        RESOURCE_CONFIGURATION,
        "--service-network",
        SERVICE_NETWORK,
    ];
    let output = python(&[&options, more].concat(), keys).output().expect("pytest runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !said.contains("skipped"),
        "a target of ours has all that the suite asks for:\n{said}"
    );
    println!("{said}");
}

/// A load balancer in two zones, in a VPC of its own.
fn load_balancer(simulator: &Simulator) -> String {
    let vpc = "vpc-0hosting";
    simulator
        .add_vpc(ACCOUNT, REGION, vpc, "10.9.0.0/16")
        .expect("a CIDR block");
    let subnets = ["a", "b"].map(|letter| {
        let (subnet, zone) = (format!("subnet-0hosting{letter}"), format!("{REGION}{letter}"));
        simulator
            .add_subnet(ACCOUNT, REGION, &subnet, vpc, &zone)
            .expect("there is room");
        subnet
    });
    let spec = LoadBalancerSpec {
        subnet_ids: subnets.to_vec(),
        ..LoadBalancerSpec::default()
    };
    simulator
        .add_load_balancer(ACCOUNT, REGION, "conformance", spec)
        .expect("a free name")
}

#[test]
fn the_simulator_conforms() {
    let simulator = Simulator::start(Config {
        time_scale: 30.0,
        pending_seconds: 15.0,
        modify_seconds: 15.0,
        deleting_seconds: 10.0,
        eni_release_seconds: 15.0,
        ..Config::default()
    })
    .expect("it starts");
    let spec = || RoleSpec {
        external_id: Some(EXTERNAL_ID.to_owned()),
        ..RoleSpec::default()
    };
    simulator.add_role(ROLE, spec()).expect("it is valid");
    simulator.add_role(DENIED_ROLE, spec()).expect("it is valid");
    simulator.deny(DENIED_ROLE, "ec2:*");
    let accepted_by_hand = ServiceSpec {
        acceptance_required: true,
        private_dns_name: Some("api.example.com".to_owned()),
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, ACCEPTANCE_SERVICE, accepted_by_hand);
    let inspection = ServiceSpec {
        types: vec![EndpointType::GatewayLoadBalancer],
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, GATEWAY_LOAD_BALANCER_SERVICE, inspection);
    let id = |arn: &'static str| arn.rsplit('/').next().expect("an ARN");
    let resource = ResourceConfigurationSpec::default();
    let resource = simulator.add_resource_configuration(ACCOUNT, REGION, id(RESOURCE_CONFIGURATION), resource);
    let network = simulator.add_service_network(ACCOUNT, REGION, id(SERVICE_NETWORK));
    simulator
        .set_service_network_resources(&network, &[&resource])
        .expect("both are there");
    let (key_id, secret) = simulator.base_credentials();
    let load_balancer = load_balancer(&simulator);
    let more = ["--network-load-balancer", &load_balancer];
    passes("simulator", &simulator.url(), (&key_id, &secret), &more);
}

#[test]
fn moto_conforms_but_for_the_differences_that_are_listed() {
    let moto = Moto::start().expect("it starts");
    passes("moto", moto.url(), ("base", "base"), &[]);
}

#[test]
fn the_page_lists_the_differences_of_moto() {
    let output = python(&["moto_differences.py"], ("", ""))
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let page = fs::read_to_string(page).expect("the page");
    assert!(
        table.lines().count() > 2 && page.contains(&table),
        "docs/conformance.md has another table than `python moto_differences.py` prints:\n{table}"
    );
}
