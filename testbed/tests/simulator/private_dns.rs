//! Private DNS: when it can be on, what it takes, and what it shows.

use serde_json::json;
use vpce_testbed::aws::{RoleSpec, ServiceSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, ROLE, SERVICE, simulator, unthrottled};

const KMS: &str = "com.amazonaws.us-west-2.kms";
const KMS_NAME: &str = "kms.us-west-2.amazonaws.com";
const ON: (&str, &str) = ("PrivateDnsEnabled", "true");
const OFF: (&str, &str) = ("PrivateDnsEnabled", "false");

fn create(client: &Client, service: &str, more: &[(&str, &str)]) -> Answer {
    let base = [("SubnetId.1", "subnet-a"), ("SecurityGroupId.1", "sg-1")];
    client.create_endpoint(service, &[&base, more].concat())
}

fn created(client: &Client, service: &str, more: &[(&str, &str)]) -> String {
    create(client, service, more).succeeded().text("vpcEndpointId")
}

fn modify(client: &Client, id: &str, change: (&str, &str)) -> Answer {
    client.ec2("ModifyVpcEndpoint", &[("VpcEndpointId", id), change])
}

fn describe(client: &Client, id: &str) -> Answer {
    let filter = [("Filter.1.Name", "vpc-endpoint-id"), ("Filter.1.Value.1", id)];
    client.ec2("DescribeVpcEndpoints", &filter).succeeded()
}

#[track_caller]
fn says(answer: &Answer, message: &str) {
    answer.refused("InvalidParameter");
    assert_eq!(answer.text("Message"), message);
}

fn shared(simulator: &Simulator, acceptance_required: bool) {
    let spec = ServiceSpec {
        acceptance_required,
        private_dns_name: Some("db.example.com".to_owned()),
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
}

#[test]
fn it_is_turned_on_and_off_in_place() {
    let (simulator, client) = simulator(unthrottled());
    let id = created(&client, KMS, &[OFF]);
    modify(&client, &id, ON).refused("IncorrectState");
    simulator.advance(61.0);
    for (change, expected) in [(OFF, "false"), (ON, "true"), (ON, "true"), (OFF, "false")] {
        modify(&client, &id, change).succeeded();
        let there = describe(&client, &id);
        assert_eq!(there.text("privateDnsEnabled"), expected);
        let names = there.texts("dnsName");
        assert_eq!(names.contains(&KMS_NAME.to_owned()), expected == "true", "{names:?}");
        assert_eq!(names.len(), if expected == "true" { 3 } else { 2 });
    }
}

#[test]
fn left_out_at_creation_it_is_on_where_the_service_has_a_name() {
    let (simulator, client) = simulator(unthrottled());
    let made = create(&client, KMS, &[]).succeeded();
    assert_eq!(made.text("privateDnsEnabled"), "true");
    let made = create(&client, SERVICE, &[]).succeeded();
    assert_eq!(made.text("privateDnsEnabled"), "false");
    shared(&simulator, true);
    let made = create(&client, SERVICE, &[]).succeeded();
    assert_eq!(made.text("privateDnsEnabled"), "false");
}

#[test]
fn a_service_without_a_private_name_cannot_have_it() {
    let (simulator, client) = simulator(unthrottled());
    let nameless =
        format!("Private DNS can't be enabled because the service {SERVICE} does not provide a private DNS name.");
    says(&create(&client, SERVICE, &[ON]), &nameless);
    let id = created(&client, SERVICE, &[OFF]);
    simulator.advance(61.0);
    says(&modify(&client, &id, ON), &nameless);
}

#[test]
fn both_dns_attributes_of_the_vpc_have_to_be_on() {
    let (simulator, client) = simulator(unthrottled());
    let id = created(&client, KMS, &[OFF]);
    simulator.advance(61.0);
    for (support, hostnames) in [(false, true), (true, false), (false, false)] {
        simulator
            .set_vpc_dns(ACCOUNT, REGION, "vpc-1", support, hostnames)
            .unwrap();
        let message = "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to \
                       true for vpc-1";
        says(&create(&client, KMS, &[ON]), message);
        says(&modify(&client, &id, ON), message);
        modify(&client, &id, OFF).succeeded();
    }
    simulator.set_vpc_dns(ACCOUNT, REGION, "vpc-1", true, true).unwrap();
    modify(&client, &id, ON).succeeded();
    simulator.set_vpc_dns(ACCOUNT, REGION, "vpc-x", true, true).unwrap_err();
}

#[test]
fn one_name_leads_to_one_endpoint_of_a_vpc() {
    let (simulator, client) = simulator(unthrottled());
    simulator.add_vpc(ACCOUNT, REGION, "vpc-2", "10.1.0.0/16").unwrap();
    let first = created(&client, KMS, &[ON]);
    let second = created(&client, KMS, &[OFF]);
    simulator.advance(61.0);
    let conflict = format!(
        "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {KMS_NAME} in the VPC \
         vpc-1"
    );
    says(&create(&client, KMS, &[ON]), &conflict);
    says(&modify(&client, &second, ON), &conflict);
    let elsewhere = [
        ("VpcEndpointType", "Interface"),
        ("VpcId", "vpc-2"),
        ("ServiceName", KMS),
        ON,
    ];
    client.ec2("CreateVpcEndpoint", &elsewhere).succeeded();

    modify(&client, &first, OFF).succeeded();
    modify(&client, &second, ON).succeeded();
    says(&modify(&client, &first, ON), &conflict);
    client
        .ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &second)])
        .succeeded();
    says(&modify(&client, &first, ON), &conflict);
    simulator.advance(61.0);
    modify(&client, &first, ON).succeeded();
}

#[test]
fn it_waits_for_acceptance() {
    let (simulator, client) = simulator(unthrottled());
    shared(&simulator, true);
    says(
        &create(&client, SERVICE, &[ON]),
        &format!(
            "Private DNS can only be enabled after the endpoint connection is accepted by the owner of {SERVICE}."
        ),
    );
    let id = created(&client, SERVICE, &[OFF]);
    modify(&client, &id, ON).refused("IncorrectState");
    simulator.accept(ACCOUNT, REGION, &id).unwrap();
    simulator.advance(61.0);
    modify(&client, &id, ON).succeeded();
    assert!(
        describe(&client, &id)
            .texts("dnsName")
            .contains(&"db.example.com".to_owned())
    );
}

#[test]
fn private_dns_needs_permission_to_associate_the_vpc_with_the_hosted_zone() {
    let (simulator, client) = simulator(unthrottled());
    let restrict = |more: serde_json::Value| {
        let ec2 = json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [ec2, more]});
        let spec = RoleSpec {
            policy: Some(policy.to_string()),
            ..RoleSpec::default()
        };
        simulator.set_role(ROLE, spec).unwrap();
    };
    let join = |condition: serde_json::Value| {
        json!({"Effect": "Allow", "Action": "route53:AssociateVPCWithHostedZone",
               "Resource": "arn:aws:route53:::hostedzone/*", "Condition": condition})
    };
    restrict(json!({"Effect": "Allow", "Action": "sts:*", "Resource": "*"}));
    let id = created(&client, KMS, &[OFF]);
    simulator.advance(61.0);
    modify(&client, &id, OFF).succeeded();
    for refused in [
        create(&client, KMS, &[ON]),
        create(&client, KMS, &[]),
        modify(&client, &id, ON),
    ] {
        refused.refused("UnauthorizedOperation");
        assert!(refused.text("Message").contains("route53:AssociateVPCWithHostedZone"));
    }
    // Route 53 has its home in one region, whatever region the VPC is in.
    restrict(join(json!({"StringEquals": {"aws:RequestedRegion": REGION}})));
    modify(&client, &id, ON).refused("UnauthorizedOperation");
    let vpc =
        |id: &str| json!({"ForAllValues:StringEquals": {"route53:VPCs": format!("VPCId={id},VPCRegion={REGION}")}});
    restrict(join(vpc("vpc-2")));
    modify(&client, &id, ON).refused("UnauthorizedOperation");
    restrict(join(vpc("vpc-1")));
    modify(&client, &id, ON).succeeded();
    let probe = [("VpcEndpointId", "vpce-x"), ON, ("DryRun", "true")];
    client.ec2("ModifyVpcEndpoint", &probe).refused("DryRunOperation");
}
