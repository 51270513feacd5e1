//! What a service's owner does about an endpoint, and endpoints that belong to AWS services.

use std::collections::BTreeMap;

use vpce_testbed::aws::{Config, LastError, ServiceSpec, Simulator};

use crate::client::Client;
use crate::{ACCOUNT, REGION, SERVICE, simulator};

const KMS: &str = "com.amazonaws.us-west-2.kms";

fn asking() -> (Simulator, Client) {
    let (simulator, client) = simulator(Config {
        throttle: false,
        ..Config::default()
    });
    let spec = ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
    (simulator, client)
}

fn create(client: &Client, service: &str) -> String {
    let without_names = [("PrivateDnsEnabled", "false")];
    let made = client.create_endpoint(service, &without_names).succeeded();
    made.text("vpcEndpointId")
}

fn state(client: &Client, id: &str) -> String {
    let answer = client.ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", id)]);
    answer.succeeded().text("state")
}

fn error() -> LastError {
    LastError {
        code: "ServiceFailure".to_owned(),
        message: "no addresses left".to_owned(),
    }
}

#[test]
fn an_owner_accepts_rejects_and_changes_its_mind() {
    let (simulator, client) = asking();
    let id = create(&client, SERVICE);
    simulator.reject(ACCOUNT, REGION, &id).unwrap();
    assert_eq!(state(&client, &id), "rejected");
    simulator.reject(ACCOUNT, REGION, &id).unwrap_err();
    simulator.accept(ACCOUNT, REGION, &id).unwrap();
    simulator.advance(61.0);
    assert_eq!(state(&client, &id), "available");
    simulator.accept(ACCOUNT, REGION, &id).unwrap_err();
    simulator.reject(ACCOUNT, REGION, &id).unwrap();
    assert_eq!(state(&client, &id), "rejected");
    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    simulator.advance(61.0);
    assert_eq!(state(&client, &id), "deleted");
}

#[test]
fn a_connection_request_that_is_not_accepted_expires() {
    let (simulator, client) = asking();
    let id = create(&client, SERVICE);
    simulator.expire(ACCOUNT, REGION, &id).unwrap();
    assert_eq!(state(&client, &id), "expired");
    simulator.accept(ACCOUNT, REGION, &id).unwrap_err();
    let available = create(&client, KMS);
    simulator.advance(61.0);
    simulator.expire(ACCOUNT, REGION, &available).unwrap_err();
}

#[test]
fn an_endpoint_fails_or_works_in_part_and_says_why() {
    let (simulator, client) = asking();
    let id = create(&client, KMS);
    simulator.fail(ACCOUNT, REGION, &id, error()).unwrap();
    let answer = client.ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", &id)]);
    assert_eq!(
        (answer.text("state"), answer.text("code"), answer.text("message")),
        ("failed".to_owned(), error().code, error().message)
    );
    let id = create(&client, KMS);
    simulator.advance(61.0);
    simulator.fail_in_part(ACCOUNT, REGION, &id, error()).unwrap();
    assert_eq!(state(&client, &id), "partial");
    simulator.fail(ACCOUNT, REGION, "vpce-x", error()).unwrap_err();
}

#[test]
fn requester_managed_endpoints_are_not_changed() {
    let (simulator, client) = asking();
    let tags = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let id = simulator
        .add_requester_managed_endpoint(ACCOUNT, REGION, "vpc-1", KMS, tags)
        .unwrap();
    let there = client.ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", &id)]);
    assert_eq!(
        (there.text("requesterManaged").as_str(), there.text("state").as_str()),
        ("true", "available")
    );
    client
        .ec2("ModifyVpcEndpoint", &[("VpcEndpointId", &id), ("ResetPolicy", "true")])
        .refused("InvalidParameter");
    let mine = create(&client, KMS);
    let both = [("VpcEndpointId.1", id.as_str()), ("VpcEndpointId.2", mine.as_str())];
    let answer = client.ec2("DeleteVpcEndpoints", &both).succeeded();
    assert_eq!(answer.texts("resourceId"), [id.as_str()]);
    assert!(answer.text("message").contains("requester-managed"));
    assert_eq!(state(&client, &id), "available");
    assert_eq!(state(&client, &mine), "deleting");
}
