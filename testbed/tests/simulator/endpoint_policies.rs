//! Policies of endpoints.

use serde_json::json;

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator, unthrottled};

const SQS: &str = "com.amazonaws.us-west-2.sqs";
const S3: &str = "com.amazonaws.us-west-2.s3";
const OFF: (&str, &str) = ("PrivateDnsEnabled", "false");
const FULL_ACCESS: &str = r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

fn policy(action: &str) -> String {
    json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*"}}).to_string()
}

fn modify(client: &Client, id: &str, more: &[(&str, &str)]) -> Answer {
    client.ec2("ModifyVpcEndpoint", &[&[("VpcEndpointId", id)], more].concat())
}

#[test]
fn a_policy_is_set_replaced_and_reset() {
    let (simulator, client) = simulator(unthrottled());
    let (first, second) = (policy("sqs:SendMessage"), policy("sqs:*"));
    let gateway = [
        ("VpcId", "vpc-1"),
        ("ServiceName", S3),
        ("PolicyDocument", first.as_str()),
    ];
    client.ec2("CreateVpcEndpoint", &gateway).succeeded();
    let interface = client
        .create_endpoint(SQS, &[OFF, ("PolicyDocument", &first)])
        .succeeded();
    simulator.advance(61.0);
    let policies = || {
        simulator
            .endpoints(ACCOUNT, REGION)
            .into_iter()
            .map(|view| view.policy_document)
    };
    assert!(policies().all(|document| document == first));
    for view in simulator.endpoints(ACCOUNT, REGION) {
        modify(&client, &view.id, &[("PolicyDocument", &second)]).succeeded();
    }
    assert!(policies().all(|document| document == second));
    let id = interface.text("vpcEndpointId");
    let both = [("PolicyDocument", second.as_str()), ("ResetPolicy", "true")];
    modify(&client, &id, &both).refused("InvalidParameterCombination");
    for view in simulator.endpoints(ACCOUNT, REGION) {
        modify(&client, &view.id, &[("ResetPolicy", "true")]).succeeded();
    }
    assert!(policies().all(|document| document == FULL_ACCESS));
}

#[test]
fn a_document_has_to_be_a_policy_of_no_more_than_20480_characters() {
    let (simulator, client) = simulator(unthrottled());
    let statement = |statement: serde_json::Value| json!({"Statement": [statement]}).to_string();
    let padded = |length: usize| format!("{FULL_ACCESS}{}", " ".repeat(length - FULL_ACCESS.len()));
    let id = client
        .create_endpoint(SQS, &[OFF, ("PolicyDocument", &padded(20_480))])
        .succeeded()
        .text("vpcEndpointId");
    simulator.advance(61.0);
    for document in [
        "no JSON".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        json!({"Statement": []}).to_string(),
        statement(json!({"Effect": "Perhaps", "Principal": "*", "Action": "*", "Resource": "*"})),
        statement(json!({"Effect": "Allow", "Action": "*", "Resource": "*"})),
        statement(json!({"Effect": "Allow", "Principal": "*", "Resource": "*"})),
        statement(json!({"Effect": "Allow", "Principal": "*", "Action": "*"})),
        padded(20_481),
    ] {
        let given = ("PolicyDocument", document.as_str());
        client
            .create_endpoint(SQS, &[OFF, given])
            .refused("InvalidPolicyDocument");
        modify(&client, &id, &[given]).refused("InvalidPolicyDocument");
    }
}

#[test]
fn a_customers_service_takes_no_policy_not_even_the_default() {
    let (simulator, client) = simulator(unthrottled());
    let given = ("PolicyDocument", FULL_ACCESS);
    let refused = client.create_endpoint(SERVICE, &[given]);
    refused.refused("InvalidParameter");
    assert!(
        refused
            .text("Message")
            .contains("only supports the full-access endpoint policy")
    );
    let id = client.create_endpoint(SERVICE, &[]).succeeded().text("vpcEndpointId");
    simulator.advance(61.0);
    modify(&client, &id, &[given]).refused("InvalidParameter");
    modify(&client, &id, &[("ResetPolicy", "true")]).succeeded();
}
