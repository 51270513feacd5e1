//! Bad weather on the wire: what the caller sees of it, what was done, and what the log says.

use std::time::{Duration, Instant};

use vpce_testbed::aws::{Fault, FaultKind, Weather};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, ROLE, SERVICE, simulator, unthrottled};

fn group(client: &Client, name: &str) -> Option<Answer> {
    let params = [("GroupName", name), ("GroupDescription", "a test"), ("VpcId", "vpc-1")];
    client.try_ec2("CreateSecurityGroup", &params)
}

fn endpoint(client: &Client) -> String {
    client.create_endpoint(SERVICE, &[]).succeeded().text("vpcEndpointId")
}

fn delete(client: &Client, ids: &[&str]) -> Answer {
    let params: Vec<(String, &str)> = (1..)
        .zip(ids)
        .map(|(n, id)| (format!("VpcEndpointId.{n}"), *id))
        .collect();
    let params: Vec<(&str, &str)> = params.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    client.ec2("DeleteVpcEndpoints", &params)
}

#[test]
fn the_same_seed_brings_the_same_weather_to_the_same_calls() {
    let storm = Weather {
        seed: 11,
        refuse: 0.3,
        lose_answer: 0.2,
        cut_answer: 0.2,
        ..Weather::default()
    };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (simulator, client) = simulator(unthrottled());
        simulator.set_weather(Some(storm.clone()));
        simulator.clear_calls();
        for n in 0..40 {
            let answer = group(&client, &format!("group-{n}"));
            let call = simulator.calls().pop().unwrap();
            match call.fault {
                None => assert!(answer.unwrap().is_whole() && call.answered && call.ok()),
                Some("lost") => assert!(answer.is_none() && !call.answered && call.ok()),
                Some("cut") => {
                    let answer = answer.unwrap();
                    assert!(answer.status == 200 && !answer.body.is_empty() && !answer.is_whole());
                    assert!(!call.answered && call.ok());
                }
                Some("refused") => {
                    let answer = answer.unwrap();
                    assert!([500, 503].contains(&answer.status) && call.produced.is_empty());
                }
                other => panic!("{other:?}"),
            }
        }
        let fates: Vec<Option<&str>> = simulator.calls().iter().map(|call| call.fault).collect();
        for fate in [None, Some("lost"), Some("cut"), Some("refused")] {
            assert!(fates.contains(&fate), "{fate:?}");
        }
        let made = simulator.security_groups(ACCOUNT, REGION).len() - 1;
        assert_eq!(made, fates.iter().filter(|fate| **fate != Some("refused")).count());
        runs.push(fates);

        simulator.set_weather(None);
        assert!(group(&client, "calm").unwrap().is_whole());
        client.sts("GetCallerIdentity", &[]).succeeded();
    }
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn a_describe_may_come_back_empty() {
    let (simulator, client) = simulator(unthrottled());
    let id = endpoint(&client);
    simulator.set_weather([Weather {
        actions: vec!["Describe*".to_owned()],
        empty_describe: 1.0,
        ..Weather::default()
    }]);
    let answer = client.ec2("DescribeVpcEndpoints", &[]).succeeded();
    assert_eq!(answer.text("vpcEndpointId"), "");
    assert_eq!(simulator.calls().pop().unwrap().fault, Some("empty"));
    client
        .ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .refused("InvalidVpcEndpointId.NotFound");
    simulator.clear_faults();
    assert_eq!(client.ec2("DescribeVpcEndpoints", &[]).text("vpcEndpointId"), id);
    simulator.fault(Fault::once("DescribeVpcEndpoints", FaultKind::Empty));
    assert_eq!(client.ec2("DescribeVpcEndpoints", &[]).text("vpcEndpointId"), "");
    assert_eq!(client.ec2("DescribeVpcEndpoints", &[]).text("vpcEndpointId"), id);
}

#[test]
fn a_batch_may_succeed_in_part() {
    let (simulator, client) = simulator(unthrottled());
    let (one, two) = (endpoint(&client), endpoint(&client));
    let denied = FaultKind::Unsuccessful {
        code: "UnauthorizedOperation".to_owned(),
        message: "You are not authorized to perform this operation.".to_owned(),
    };
    simulator.fault(Fault {
        id: Some(two.clone()),
        ..Fault::once("DeleteVpcEndpoints", denied)
    });
    let answer = delete(&client, &[&one, &two]).succeeded();
    assert_eq!(answer.texts("resourceId"), [two.as_str()]);
    assert_eq!(answer.texts("code"), ["UnauthorizedOperation"]);
    let states: Vec<String> = simulator
        .endpoints(ACCOUNT, REGION)
        .into_iter()
        .map(|e| e.state)
        .collect();
    assert!(
        states.contains(&"deleting".to_owned()) && states.contains(&"pending".to_owned()),
        "{states:?}"
    );

    simulator.set_weather([Weather {
        unsuccessful: 1.0,
        ..Weather::default()
    }]);
    let answer = delete(&client, &[&two]).succeeded();
    assert_eq!(answer.texts("code"), ["InternalError"]);
    simulator.set_weather(None);
    assert_eq!(delete(&client, &[&two]).succeeded().text("code"), "");
}

#[test]
fn one_id_in_a_batch_may_be_denied_and_refuse_the_whole() {
    let (simulator, client) = simulator(unthrottled());
    let (one, two) = (endpoint(&client), endpoint(&client));
    let denied = FaultKind::refuse(
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation.",
    );
    simulator.fault(Fault {
        id: Some(two.clone()),
        times: usize::MAX,
        ..Fault::once("DeleteVpcEndpoints", denied)
    });
    delete(&client, &[&one, &two]).refused("UnauthorizedOperation");
    delete(&client, &[&two]).refused("UnauthorizedOperation");
    assert!(
        simulator
            .endpoints(ACCOUNT, REGION)
            .iter()
            .all(|e| e.state == "pending")
    );
    delete(&client, &[&one]).succeeded();
}

#[test]
fn a_session_may_end_in_the_middle() {
    let (simulator, client) = simulator(unthrottled());
    simulator.fault(Fault::once("DescribeVpcs", FaultKind::ExpireCredentials));
    client.ec2("DescribeSubnets", &[]).succeeded();
    client.ec2("DescribeVpcs", &[]).refused("RequestExpired");
    client.ec2("DescribeSubnets", &[]).refused("RequestExpired");
    client.sts("GetCallerIdentity", &[]).refused("ExpiredToken");
    let renewed = Client::base(&simulator, REGION).assume(ROLE);
    renewed.ec2("DescribeVpcs", &[]).succeeded();
}

#[test]
fn what_never_arrives_is_not_carried_out() {
    let (simulator, client) = simulator(unthrottled());
    simulator.clear_calls();
    simulator.fault(Fault::once("CreateSecurityGroup", FaultKind::Unreachable));
    assert!(group(&client, "one").is_none());
    assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), 1);
    assert!(simulator.calls().is_empty());
}

#[test]
fn calls_may_be_slow() {
    let (simulator, client) = simulator(unthrottled());
    simulator.set_weather([Weather {
        slow: 1.0,
        slow_by: Duration::from_millis(200),
        ..Weather::default()
    }]);
    let started = Instant::now();
    for _ in 0..10 {
        client.ec2("DescribeVpcs", &[]).succeeded();
    }
    assert!(
        started.elapsed() >= Duration::from_millis(300),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(simulator.calls().pop().unwrap().fault, Some("slow"));
}

#[test]
fn sts_may_be_down_while_ec2_goes_on() {
    let (simulator, client) = simulator(unthrottled());
    simulator.set_sts_down(true);
    let down = client.sts("GetCallerIdentity", &[]);
    down.refused("ServiceUnavailable");
    assert_eq!(down.status, 503);
    client.ec2("DescribeVpcs", &[]).succeeded();
    simulator.set_sts_down(false);
    client.sts("GetCallerIdentity", &[]).succeeded();
}

#[test]
fn a_region_may_be_disabled_in_one_account() {
    let (simulator, client) = simulator(unthrottled());
    let other_role = "arn:aws:iam::222222222222:role/team";
    simulator.add_role(other_role, Default::default()).unwrap();
    let base = Client::base(&simulator, REGION);
    let other = base.assume(other_role);
    simulator.set_region_enabled(ACCOUNT, REGION, false);
    client.ec2("DescribeVpcs", &[]).refused("AuthFailure");
    assert_eq!(simulator.calls().pop().unwrap().account, ACCOUNT);
    client.sts("GetCallerIdentity", &[]).refused("InvalidClientTokenId");
    let refused = base.sts("AssumeRole", &[("RoleArn", ROLE), ("RoleSessionName", "test")]);
    refused.refused("RegionDisabledException");
    assert_eq!(refused.status, 403);
    client.in_region("us-east-1").ec2("DescribeVpcs", &[]).succeeded();
    other.ec2("DescribeVpcs", &[]).succeeded();
    simulator.set_region_enabled(ACCOUNT, REGION, true);
    assert_eq!(client.ec2("DescribeVpcs", &[]).succeeded().text("vpcId"), "vpc-1");
}
