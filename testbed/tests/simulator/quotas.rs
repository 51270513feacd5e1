//! Quotas: their errors, and that they can be raised.

use vpce_testbed::aws::{Config, Quotas};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator};

fn create(client: &Client, more: &[(&str, &str)]) -> Answer {
    client.create_endpoint(SERVICE, more)
}

#[test]
fn a_raised_quota_counts_at_once() {
    let (simulator, client) = simulator(Config {
        quotas: Quotas {
            interface_endpoints: 1,
            ..Quotas::default()
        },
        throttle: false,
        ..Config::default()
    });
    create(&client, &[]).succeeded();
    create(&client, &[]).refused("VpcEndpointLimitExceeded");
    simulator.configure(|config| config.quotas = Quotas::default());
    create(&client, &[]).succeeded();
}

#[test]
fn an_interface_has_five_groups_at_most() {
    let (simulator, client) = simulator(Config {
        throttle: false,
        ..Config::default()
    });
    let names: Vec<(String, String)> = (2..=6)
        .map(|n| (format!("SecurityGroupId.{n}"), format!("sg-{n}")))
        .collect();
    for (_, id) in &names {
        simulator.add_security_group(ACCOUNT, REGION, id, "vpc-1", id).unwrap();
    }
    let mut groups = vec![("SecurityGroupId.1", "sg-1")];
    groups.extend(names.iter().map(|(name, id)| (name.as_str(), id.as_str())));
    create(&client, &groups).refused("SecurityGroupsPerInterfaceLimitExceeded");
    let id = create(&client, &groups[..5]).succeeded().text("vpcEndpointId");
    simulator.advance(61.0);
    let modify =
        |more: &[(&str, &str)]| client.ec2("ModifyVpcEndpoint", &[&[("VpcEndpointId", id.as_str())], more].concat());
    let sixth = ("AddSecurityGroupId.1", "sg-6");
    modify(&[sixth]).refused("SecurityGroupsPerInterfaceLimitExceeded");
    modify(&[sixth, ("RemoveSecurityGroupId.1", "sg-1")]).succeeded();
}

#[test]
fn a_resource_has_at_most_fifty_tags() {
    let (_simulator, client) = simulator(Config::default());
    let names: Vec<(String, String)> = (1..=51).map(|n| (format!("Tag.{n}.Key"), format!("key-{n}"))).collect();
    let tag = |range: std::ops::Range<usize>| {
        let mut params = vec![("ResourceId.1", "sg-1")];
        params.extend(names[range].iter().map(|(name, key)| (name.as_str(), key.as_str())));
        client.ec2("CreateTags", &params)
    };
    tag(0..51).refused("TagLimitExceeded");
    tag(0..50).succeeded();
    tag(50..51).refused("TagLimitExceeded");
    tag(0..10).succeeded();
}

#[test]
fn a_region_has_so_many_groups() {
    let (simulator, client) = simulator(Config::default());
    simulator.configure(|config| config.quotas.groups = 2);
    let group = [("GroupName", "one"), ("GroupDescription", "a test"), ("VpcId", "vpc-1")];
    client
        .ec2("CreateSecurityGroup", &group)
        .refused("SecurityGroupLimitExceeded");
}
