//! Security groups, their rules, and who keeps them in use.

use vpce_testbed::aws::{Config, Direction, RuleView};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator};

fn create(client: &Client, name: &str) -> Answer {
    let params = [("GroupName", name), ("GroupDescription", "a test"), ("VpcId", "vpc-1")];
    client.ec2("CreateSecurityGroup", &params)
}

fn rule(client: &Client, action: &str, group: &str, more: &[(&str, &str)]) -> Answer {
    let base = [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
    ];
    client.ec2(action, &[&base, more].concat())
}

const INGRESS: &str = "AuthorizeSecurityGroupIngress";
const CIDR: &str = "IpPermissions.1.IpRanges.1.CidrIp";
const PEER_GROUP: &str = "IpPermissions.1.Groups.1.GroupId";

#[test]
fn a_new_group_is_open_outwards_and_its_name_is_taken() {
    let (simulator, client) = simulator(Config::default());
    let id = create(&client, "mine").succeeded().text("groupId");
    create(&client, "mine").refused("InvalidGroup.Duplicate");
    create(&client, "sg-mine").refused("InvalidParameterValue");
    let groups = simulator.security_groups(ACCOUNT, REGION);
    let mine = groups.iter().find(|group| group.id == id).unwrap();
    assert_eq!(mine.egress, [RuleView::new("-1", None, "0.0.0.0/0")]);
    assert!(mine.ingress.is_empty());
}

#[test]
fn a_new_group_of_a_vpc_with_ipv6_is_open_outwards_for_both_families() {
    let (simulator, client) = simulator(Config::default());
    simulator
        .add_vpc_with_ipv6(ACCOUNT, REGION, "vpc-6", "10.6.0.0/16", "2001:db8:6::/56")
        .unwrap();
    let made = [("CidrBlock", "10.7.0.0/16"), ("AmazonProvidedIpv6CidrBlock", "true")];
    let made = client.ec2("CreateVpc", &made).succeeded();
    assert!(made.text("ipv6CidrBlock").ends_with("::/56"));
    for vpc in ["vpc-6", &made.text("vpcId")] {
        let params = [("GroupName", "mine"), ("GroupDescription", "a test"), ("VpcId", vpc)];
        let id = client.ec2("CreateSecurityGroup", &params).succeeded().text("groupId");
        let groups = simulator.security_groups(ACCOUNT, REGION);
        let mine = groups.iter().find(|group| group.id == id).unwrap();
        assert!(mine.ingress.is_empty());
        assert_eq!(
            mine.egress,
            ["0.0.0.0/0", "::/0"].map(|peer| RuleView::new("-1", None, peer))
        );
    }
}

#[test]
fn rules_are_compared_in_normal_form() {
    let (simulator, client) = simulator(Config::default());
    rule(&client, INGRESS, "sg-1", &[(CIDR, "10.1.2.3/16")]).succeeded();
    rule(&client, INGRESS, "sg-1", &[(CIDR, "10.1.0.0/16")]).refused("InvalidPermission.Duplicate");
    let https = RuleView::new("tcp", Some((443, 443)), "10.1.0.0/16");
    assert_eq!(simulator.security_groups(ACCOUNT, REGION)[0].ingress, [https]);
    let revoke = "RevokeSecurityGroupIngress";
    rule(&client, revoke, "sg-1", &[(CIDR, "10.2.0.0/16")]).refused("InvalidPermission.NotFound");
    rule(&client, revoke, "sg-1", &[(CIDR, "10.1.9.9/16")]).succeeded();
    assert!(simulator.security_groups(ACCOUNT, REGION)[0].ingress.is_empty());
}

#[test]
fn a_refused_call_adds_none_of_its_rules() {
    let (simulator, client) = simulator(Config::default());
    rule(&client, INGRESS, "sg-1", &[(CIDR, "10.1.0.0/16")]).succeeded();
    let both = [
        (CIDR, "10.2.0.0/16"),
        ("IpPermissions.1.IpRanges.2.CidrIp", "10.1.0.0/16"),
    ];
    rule(&client, INGRESS, "sg-1", &both).refused("InvalidPermission.Duplicate");
    assert_eq!(simulator.security_groups(ACCOUNT, REGION)[0].ingress.len(), 1);
    rule(&client, INGRESS, "sg-x", &both).refused("InvalidGroup.NotFound");
    rule(&client, INGRESS, "sg-1", &[(CIDR, "10.0.0.0/33")]).refused("InvalidParameterValue");
    rule(&client, INGRESS, "sg-1", &[(PEER_GROUP, "sg-x")]).refused("InvalidGroup.NotFound");
}

#[test]
fn a_group_holds_sixty_rules_a_direction() {
    let (_simulator, client) = simulator(Config::default());
    let ranges: Vec<(String, String)> = (1..=61)
        .map(|n| (format!("IpPermissions.1.IpRanges.{n}.CidrIp"), format!("10.{n}.0.0/16")))
        .collect();
    let ranges: Vec<(&str, &str)> = ranges.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    rule(&client, INGRESS, "sg-1", &ranges).refused("RulesPerSecurityGroupLimitExceeded");
    rule(&client, INGRESS, "sg-1", &ranges[..60]).succeeded();
}

#[test]
fn a_description_changes_without_the_rule() {
    let (simulator, client) = simulator(Config::default());
    let there = [
        (CIDR, "10.1.0.0/16"),
        ("IpPermissions.1.IpRanges.1.Description", "there"),
    ];
    rule(&client, INGRESS, "sg-1", &there[..1]).succeeded();
    rule(&client, "UpdateSecurityGroupRuleDescriptionsIngress", "sg-1", &there).succeeded();
    let ingress = simulator.security_groups(ACCOUNT, REGION).remove(0).ingress;
    assert_eq!(ingress[0].description.as_deref(), Some("there"));
}

#[test]
fn a_group_stays_while_an_interface_or_a_rule_uses_it() {
    let (simulator, client) = simulator(Config::default());
    let delete = || client.ec2("DeleteSecurityGroup", &[("GroupId", "sg-1")]);
    let placed = [("SubnetId.1", "subnet-a"), ("SecurityGroupId.1", "sg-1")];
    let id = client
        .create_endpoint(SERVICE, &placed)
        .succeeded()
        .text("vpcEndpointId");
    delete().refused("DependencyViolation");
    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    simulator.advance(61.0);
    assert!(simulator.endpoints(ACCOUNT, REGION).is_empty());
    delete().refused("DependencyViolation");
    simulator.advance(61.0);

    simulator
        .add_security_group(ACCOUNT, REGION, "sg-2", "vpc-1", "second")
        .unwrap();
    rule(&client, INGRESS, "sg-2", &[(PEER_GROUP, "sg-1")]).succeeded();
    delete().refused("DependencyViolation");
    let peer = RuleView::new("tcp", Some((443, 443)), "sg-1");
    simulator
        .remove_rule(ACCOUNT, REGION, "sg-2", Direction::Ingress, &peer)
        .unwrap();
    delete().succeeded();
    delete().refused("InvalidGroup.NotFound");
}
