//! Eventual consistency at random: who sees what when.

use vpce_testbed::aws::{Config, Simulator};

use crate::client::Client;
use crate::{SERVICE, simulator};

const LAG: f64 = 100.0;

fn lagging(seed: u64) -> (Simulator, Client) {
    simulator(Config {
        throttle: false,
        consistency_seconds: LAG,
        consistency_seed: Some(seed),
        ..Config::default()
    })
}

fn create(client: &Client) -> String {
    client.create_endpoint(SERVICE, &[]).succeeded().text("vpcEndpointId")
}

/// Deletes the endpoints, and gives those that the call did not know.
fn delete(client: &Client, ids: &[String]) -> Vec<String> {
    let names: Vec<String> = (1..=ids.len()).map(|n| format!("VpcEndpointId.{n}")).collect();
    let params: Vec<(&str, &str)> = names
        .iter()
        .map(String::as_str)
        .zip(ids.iter().map(String::as_str))
        .collect();
    let answer = client.ec2("DeleteVpcEndpoints", &params).succeeded();
    answer.texts("resourceId")
}

fn described(client: &Client) -> Vec<String> {
    let answer = client.ec2("DescribeVpcEndpoints", &[]).succeeded();
    answer.texts("vpcEndpointId")
}

#[test]
fn a_new_object_is_visible_at_times_and_finally_always() {
    let (simulator, client) = lagging(1);
    for _ in 0..20 {
        create(&client);
    }
    let looks: Vec<Vec<String>> = (0..30)
        .map(|_| {
            simulator.advance(1.0);
            described(&client)
        })
        .collect();
    let back_in_time = |pair: &[Vec<String>]| pair[0].iter().any(|id| !pair[1].contains(id));
    assert!(looks.windows(2).any(back_in_time));
    assert!(looks[0].len() < 20);
    simulator.advance(LAG);
    for _ in 0..10 {
        assert_eq!(described(&client).len(), 20);
    }
}

#[test]
fn changes_and_deletions_become_visible_at_random_too() {
    let (simulator, client) = lagging(2);
    let ids: Vec<String> = (0..20).map(|_| create(&client)).collect();
    simulator.advance(LAG + 1.0);
    for id in &ids {
        let tag = [
            ("ResourceId.1", id.as_str()),
            ("Tag.1.Key", "k"),
            ("Tag.1.Value", "new"),
        ];
        client.ec2("CreateTags", &tag).succeeded();
    }
    simulator.advance(5.0);
    let tagged = || client.ec2("DescribeVpcEndpoints", &[]).succeeded().texts("key").len();
    let counts: Vec<usize> = (0..20).map(|_| tagged()).collect();
    assert!(
        counts.iter().any(|count| *count < 20) && counts.iter().any(|count| *count > 0),
        "{counts:?}"
    );
    assert!(counts.windows(2).any(|pair| pair[1] < pair[0]), "{counts:?}");
    simulator.advance(LAG);
    assert_eq!(tagged(), 20);

    for id in &ids {
        client.ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", id)]).succeeded();
    }
    let states = client.ec2("DescribeVpcEndpoints", &[]).succeeded().texts("state");
    let gone = states.iter().filter(|state| *state != "available").count();
    assert!(gone < 20, "{states:?}");
}

#[test]
fn a_call_may_reach_a_replica_that_does_not_know_a_resource_yet() {
    let (simulator, client) = lagging(3);
    let groups: Vec<String> = (0..20)
        .map(|n| {
            let name = format!("group-{n}");
            let params = [
                ("GroupName", name.as_str()),
                ("GroupDescription", "a test"),
                ("VpcId", "vpc-1"),
            ];
            client.ec2("CreateSecurityGroup", &params).succeeded().text("groupId")
        })
        .collect();
    let authorize = |id: &String| {
        let rule = [
            ("GroupId", id.as_str()),
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
        ];
        client.ec2("AuthorizeSecurityGroupIngress", &rule).text("Code")
    };
    simulator.advance(20.0);
    let codes: Vec<String> = groups.iter().map(authorize).collect();
    assert!(codes.contains(&"InvalidGroup.NotFound".to_owned()), "{codes:?}");
    assert!(codes.contains(&String::new()), "{codes:?}");

    let ids: Vec<String> = (0..20).map(|_| create(&client)).collect();
    simulator.advance(20.0);
    let unknown = delete(&client, &ids);
    assert!((1..20).contains(&unknown.len()), "{unknown:?}");
    simulator.advance(LAG);
    let unknown = delete(&client, &unknown);
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn it_can_be_switched_while_it_runs() {
    let (simulator, client) = simulator(Config {
        throttle: false,
        ..Config::default()
    });
    simulator.set_consistency(LAG, None);
    create(&client);
    assert!(described(&client).is_empty());
    simulator.set_consistency(0.0, None);
    assert_eq!(described(&client).len(), 1);
}
