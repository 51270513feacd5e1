//! Who may call: roles, external ids, sessions that end, accounts and regions apart.

use vpce_testbed::aws::{BASE_ACCOUNT, Config, RoleSpec, Simulator};

use crate::client::Client;
use crate::{ACCOUNT, REGION, ROLE, simulator};

fn assume(client: &Client, more: &[(&str, &str)]) -> crate::client::Answer {
    let params = [&[("RoleArn", ROLE), ("RoleSessionName", "test")], more].concat();
    client.sts("AssumeRole", &params)
}

#[test]
fn a_role_is_assumed_only_with_trust_and_its_external_id() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = Client::base(&simulator, REGION);
    assume(&client, &[]).refused("AccessDenied");

    let mut spec = RoleSpec {
        external_id: Some("ext-1".to_owned()),
        ..RoleSpec::default()
    };
    simulator.add_role(ROLE, spec.clone()).unwrap();
    let refused = assume(&client, &[("ExternalId", "ext-2")]);
    refused.refused("AccessDenied");
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.text("Message"),
        format!(
            "User: arn:aws:iam::{BASE_ACCOUNT}:user/vpce-operator is not authorized to perform: sts:AssumeRole on \
             resource: {ROLE}"
        )
    );
    assume(&client, &[]).refused("AccessDenied");
    assume(&client, &[("ExternalId", "ext-1")]).succeeded();

    spec.trust = false;
    simulator.set_role(ROLE, spec).unwrap();
    assume(&client, &[("ExternalId", "ext-1")]).refused("AccessDenied");
}

#[test]
fn a_chained_session_lasts_an_hour_at_most() {
    let simulator = Simulator::start(Config {
        base_is_session: true,
        ..Config::default()
    })
    .unwrap();
    let spec = RoleSpec {
        max_session_seconds: 43_200,
        ..RoleSpec::default()
    };
    simulator.add_role(ROLE, spec).unwrap();
    let client = Client::base(&simulator, REGION);
    assume(&client, &[("DurationSeconds", "3600")]).succeeded();
    assume(&client, &[("DurationSeconds", "3601")]).refused("ValidationError");
    assume(&client, &[("DurationSeconds", "899")]).refused("ValidationError");
}

#[test]
fn a_session_lasts_as_long_as_its_role_allows() {
    let (simulator, _) = simulator(Config::default());
    let client = Client::base(&simulator, REGION);
    assume(&client, &[("DurationSeconds", "3601")]).refused("ValidationError");
}

#[test]
fn a_session_ends() {
    let (simulator, client) = simulator(Config::default());
    let caller = client.sts("GetCallerIdentity", &[]).succeeded();
    assert_eq!(caller.text("Account"), ACCOUNT);
    assert_eq!(
        caller.text("Arn"),
        format!("arn:aws:sts::{ACCOUNT}:assumed-role/team/test")
    );
    simulator.advance(3601.0);
    client.ec2("DescribeVpcs", &[]).refused("RequestExpired");
    client.sts("GetCallerIdentity", &[]).refused("ExpiredToken");
}

#[test]
fn unknown_keys_and_regions_are_refused() {
    let (simulator, client) = simulator(Config::default());
    let stranger = client.with_key("AKIASTRANGER", None);
    let refused = stranger.ec2("DescribeVpcs", &[]);
    refused.refused("AuthFailure");
    assert_eq!(refused.status, 401);
    stranger.sts("GetCallerIdentity", &[]).refused("InvalidClientTokenId");
    let nowhere = Client::base(&simulator, "moon-north-1");
    nowhere.ec2("DescribeVpcs", &[]).refused("AuthFailure");
}

#[test]
fn accounts_and_regions_are_apart() {
    let (simulator, client) = simulator(Config::default());
    let other_role = "arn:aws:iam::222222222222:role/team";
    simulator.add_role(other_role, RoleSpec::default()).unwrap();
    let other_account = Client::base(&simulator, REGION).assume(other_role);
    let other_region = Client::base(&simulator, "eu-west-1").assume(ROLE);
    let ids = |client: &Client| client.ec2("DescribeVpcs", &[]).succeeded().texts("vpcId");
    assert_eq!(ids(&client), ["vpc-1"]);
    assert!(ids(&other_account).is_empty());
    assert!(ids(&other_region).is_empty());
}

#[test]
fn a_denied_action_names_who_and_what() {
    let (simulator, client) = simulator(Config::default());
    simulator.deny(ROLE, "ec2:CreateTags");
    let group = [
        ("GroupName", "g"),
        ("GroupDescription", "d"),
        ("VpcId", "vpc-1"),
        ("TagSpecification.1.ResourceType", "security-group"),
        ("TagSpecification.1.Tag.1.Key", "k"),
    ];
    let refused = client.ec2("CreateSecurityGroup", &group);
    refused.refused("UnauthorizedOperation");
    assert_eq!(refused.status, 403);
    let message = refused.text("Message");
    assert!(
        message.contains("ec2:CreateTags") && message.contains("assumed-role/team/test"),
        "{message}"
    );
    client.ec2("CreateSecurityGroup", &group[..3]).succeeded();
    simulator.allow(ROLE, "ec2:CreateTags");
    let params = [("ResourceId.1", "vpc-1"), ("Tag.1.Key", "k"), ("Tag.1.Value", "v")];
    client.ec2("CreateTags", &params).succeeded();
}
