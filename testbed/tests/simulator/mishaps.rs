//! Throttling, faults, gates and drift.

use std::thread;
use std::time::Duration;

use vpce_testbed::aws::{Config, Direction, Fault, FaultKind, Hold, PausePoint, RuleView};

use crate::client::Client;
use crate::{ACCOUNT, REGION, simulator};

const LONG: Duration = Duration::from_secs(10);

fn create_group(client: &Client, name: &str) -> Option<crate::client::Answer> {
    let params = [("GroupName", name), ("GroupDescription", "a test"), ("VpcId", "vpc-1")];
    client.try_ec2("CreateSecurityGroup", &params)
}

#[test]
fn calls_beyond_the_documented_rate_are_refused() {
    let (simulator, client) = simulator(Config::default());
    let delete = || client.ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", "vpce-x")]);
    for _ in 0..4 {
        delete().succeeded();
    }
    let refused = delete();
    refused.refused("RequestLimitExceeded");
    assert_eq!(refused.status, 503);
    simulator.advance(3.4);
    delete().succeeded();
    client.ec2("DescribeVpcs", &[]).succeeded();
}

#[test]
fn others_in_the_account_use_the_same_rate() {
    let (simulator, client) = simulator(Config::default());
    let delete = || client.ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", "vpce-x")]);
    simulator.configure(|config| config.others_share = 0.5);
    for _ in 0..4 {
        delete().succeeded();
    }
    simulator.advance(3.4);
    delete().refused("RequestLimitExceeded");
    simulator.advance(3.4);
    delete().succeeded();
}

#[test]
fn a_gate_blocks_the_nth_mutating_call() {
    let (simulator, client) = simulator(Config::default());
    let gate = simulator.pause(Hold {
        action: None,
        account: Some(ACCOUNT.to_owned()),
        after: 1,
        point: PausePoint::After,
    });
    create_group(&client, "one").unwrap().succeeded();
    client.ec2("DescribeVpcs", &[]).succeeded();
    assert_eq!(gate.caught(), None);
    let caller = client.clone();
    let call = thread::spawn(move || create_group(&caller, "two").is_none());
    assert!(gate.wait_reached(LONG));
    assert_eq!(gate.caught().as_deref(), Some("CreateSecurityGroup"));
    gate.abandon();
    assert!(call.join().unwrap());
    assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), 3);
}

#[test]
fn a_refused_call_changes_nothing() {
    let (simulator, client) = simulator(Config::default());
    simulator.fault(Fault::once(
        "CreateSecurityGroup",
        FaultKind::refuse(500, "InternalError", "no"),
    ));
    create_group(&client, "one").unwrap().refused("InternalError");
    assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), 1);
    create_group(&client, "one").unwrap().succeeded();
}

#[test]
fn a_lost_answer_was_carried_out() {
    let (simulator, client) = simulator(Config::default());
    simulator.fault(Fault::once("CreateSecurityGroup", FaultKind::LoseAnswer));
    assert!(create_group(&client, "one").is_none());
    assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), 2);
    let call = simulator.calls().pop().unwrap();
    assert!(call.ok() && !call.answered && call.produced.len() == 1);
    create_group(&client, "one").unwrap().refused("InvalidGroup.Duplicate");
}

#[test]
fn a_gate_blocks_a_call_before_and_after() {
    let (simulator, client) = simulator(Config::default());
    for (point, name, groups) in [(PausePoint::Before, "one", 1), (PausePoint::After, "two", 3)] {
        let gate = simulator.pause_on("CreateSecurityGroup", point);
        assert!(!gate.wait_reached(Duration::from_millis(1)));
        let caller = client.clone();
        let call = thread::spawn(move || create_group(&caller, name));
        assert!(gate.wait_reached(LONG));
        assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), groups);
        gate.release();
        call.join().unwrap().unwrap().succeeded();
    }
}

#[test]
fn a_caller_that_has_gone_is_not_served() {
    let (simulator, client) = simulator(Config::default());
    simulator.clear_calls();
    let gate = simulator.pause_on("CreateSecurityGroup", PausePoint::Before);
    let params = [("GroupName", "one"), ("GroupDescription", "a test"), ("VpcId", "vpc-1")];
    let stream = client.ask_ec2("CreateSecurityGroup", &params);
    assert!(gate.wait_reached(LONG));
    drop(stream);
    // The simulator must notice before the gate opens.
    thread::sleep(Duration::from_millis(300));
    gate.release();
    client.ec2("DescribeVpcs", &[]).succeeded();
    assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), 1);
    assert_eq!(simulator.calls().len(), 1);
}

#[test]
fn an_abandoned_call_has_no_answer() {
    let (simulator, client) = simulator(Config::default());
    for (point, groups) in [(PausePoint::Before, 1), (PausePoint::After, 2)] {
        let gate = simulator.pause_on("CreateSecurityGroup", point);
        let caller = client.clone();
        let call = thread::spawn(move || create_group(&caller, "one").is_none());
        assert!(gate.wait_reached(LONG));
        gate.abandon();
        assert!(call.join().unwrap());
        assert_eq!(simulator.security_groups(ACCOUNT, REGION).len(), groups);
    }
}

#[test]
fn drift_is_simulated_without_a_call() {
    let (simulator, _client) = simulator(Config::default());
    simulator.clear_calls();
    let rule = RuleView::new("tcp", Some((22, 22)), "10.0.0.0/8");
    simulator
        .add_rule(ACCOUNT, REGION, "sg-1", Direction::Ingress, &rule)
        .unwrap();
    simulator.set_tag(ACCOUNT, REGION, "sg-1", "k", "v").unwrap();
    let group = simulator.security_groups(ACCOUNT, REGION).remove(0);
    assert_eq!((group.ingress, group.tags["k"].as_str()), (vec![rule.clone()], "v"));
    simulator
        .remove_rule(ACCOUNT, REGION, "sg-1", Direction::Ingress, &rule)
        .unwrap();
    simulator.delete_tag(ACCOUNT, REGION, "sg-1", "k").unwrap();
    simulator
        .remove_rule(ACCOUNT, REGION, "sg-1", Direction::Ingress, &rule)
        .unwrap_err();
    simulator.delete_group_behind(ACCOUNT, REGION, "sg-1").unwrap();
    assert!(simulator.security_groups(ACCOUNT, REGION).is_empty());
    assert!(simulator.calls().is_empty());
}
