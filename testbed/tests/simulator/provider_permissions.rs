//! IAM permissions for endpoint services.

use vpce_testbed::aws::{RoleSpec, Simulator};

use crate::hosting::{CONSUMER_ROOT, hosting};
use crate::{ACCOUNT, ROLE};

const DESCRIBE: &str = "DescribeVpcEndpointServiceConfigurations";

/// Lets the provider's role do what the statements say.
fn restrict(simulator: &Simulator, statements: &[serde_json::Value]) {
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": statements});
    let spec = RoleSpec {
        policy: Some(policy.to_string()),
        ..RoleSpec::default()
    };
    simulator.set_role(ROLE, spec).unwrap();
}

/// Allows an action under a condition.
fn allow(action: &str, condition: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition})
}

fn anything(action: &str) -> serde_json::Value {
    allow(action, serde_json::json!({}))
}

const SERVICES: &str = "arn:aws:ec2:us-west-2:111111111111:vpc-endpoint-service/*";
const TEAM: [(&str, &str); 3] = [
    ("TagSpecification.1.ResourceType", "vpc-endpoint-service"),
    ("TagSpecification.1.Tag.1.Key", "team"),
    ("TagSpecification.1.Tag.1.Value", "blue"),
];

#[test]
fn create_is_authorized_by_tags_names_and_regions() {
    // Service Authorization Reference, "Amazon EC2", CreateVpcEndpointServiceConfiguration.
    let hosting = hosting();
    let simulator = &hosting.simulator;
    let create = "ec2:CreateVpcEndpointServiceConfiguration";
    let by_tag = serde_json::json!({"StringEquals": {"aws:RequestTag/team": "blue"}});
    let tagging = serde_json::json!({"StringEquals": {"ec2:CreateAction": "CreateVpcEndpointServiceConfiguration"}});
    restrict(simulator, &[allow(create, by_tag.clone())]);
    hosting.create(&[]).refused("UnauthorizedOperation");
    let refused = hosting.create(&TEAM);
    refused.refused("UnauthorizedOperation");
    assert!(refused.text("Message").contains("ec2:CreateTags"), "{}", refused.body);
    restrict(simulator, &[allow(create, by_tag), allow("ec2:CreateTags", tagging)]);
    hosting
        .create(&[&TEAM[..], &[("DryRun", "true")]].concat())
        .refused("DryRunOperation");

    let name = serde_json::json!({"StringLike": {"ec2:VpceServicePrivateDnsName": "*.example.com"}});
    restrict(simulator, &[allow(create, name)]);
    hosting
        .create(&[("PrivateDnsName", "db.example.org")])
        .refused("UnauthorizedOperation");
    let good = [("PrivateDnsName", "db.example.com"), ("DryRun", "true")];
    hosting.create(&good).refused("DryRunOperation");

    let region = serde_json::json!({"ForAllValues:StringEquals": {"ec2:VpceSupportedRegion": "eu-west-1"}});
    restrict(simulator, &[allow(create, region.clone())]);
    let abroad = [("SupportedRegion.1", "eu-west-1"), ("DryRun", "true")];
    let refused = hosting.create(&abroad);
    refused.refused("UnauthorizedOperation");
    assert!(
        refused.text("Message").contains("vpce:AllowMultiRegion"),
        "{}",
        refused.body
    );
    restrict(simulator, &[allow(create, region), anything("vpce:AllowMultiRegion")]);
    hosting.create(&abroad).refused("DryRunOperation");
    let farther = [("SupportedRegion.1", "eu-west-2"), ("DryRun", "true")];
    hosting.create(&farther).refused("UnauthorizedOperation");
}

#[test]
fn existing_services_are_authorized_by_their_tags() {
    // Service Authorization Reference, "Amazon EC2": these know vpc-endpoint-service.
    let hosting = hosting();
    let id = hosting.service(&TEAM);
    let endpoint = hosting.connected(&id);
    let calls: [(&str, Vec<(&str, &str)>); 6] = [
        (
            "ModifyVpcEndpointServiceConfiguration",
            vec![("AcceptanceRequired", "true")],
        ),
        (
            "ModifyVpcEndpointServicePermissions",
            vec![("AddAllowedPrincipals.1", CONSUMER_ROOT)],
        ),
        ("DescribeVpcEndpointServicePermissions", vec![]),
        ("AcceptVpcEndpointConnections", vec![("VpcEndpointId.1", &endpoint)]),
        ("RejectVpcEndpointConnections", vec![("VpcEndpointId.1", &endpoint)]),
        ("StartVpcEndpointServicePrivateDnsVerification", vec![]),
    ];
    for (action, more) in &calls {
        let params = [&[("ServiceId", id.as_str()), ("DryRun", "true")], &more[..]].concat();
        for (team, code) in [("red", "UnauthorizedOperation"), ("blue", "DryRunOperation")] {
            let statement = serde_json::json!({
                "Effect": "Allow", "Action": format!("ec2:{action}"), "Resource": SERVICES,
                "Condition": {"StringEquals": {"aws:ResourceTag/team": team}},
            });
            restrict(&hosting.simulator, &[statement]);
            hosting.provider.ec2(action, &params).refused(code);
        }
    }
    for (team, code) in [
        ("red", "UnauthorizedOperation"),
        ("blue", "ExistingVpcEndpointConnections"),
    ] {
        let condition = serde_json::json!({"StringEquals": {"ec2:ResourceTag/team": team}});
        restrict(
            &hosting.simulator,
            &[allow("ec2:DeleteVpcEndpointServiceConfigurations", condition)],
        );
        assert_eq!(hosting.delete(&id).succeeded().text("code"), code);
    }
}

#[test]
fn modify_is_authorized_by_attributes_and_regions() {
    let hosting = hosting();
    let id = hosting.service(&[("SupportedRegion.1", "eu-west-1")]);
    let modify = "ec2:ModifyVpcEndpointServiceConfiguration";
    let attribute = serde_json::json!({"ForAllValues:StringEquals": {"ec2:Attribute": "AcceptanceRequired"}});
    restrict(&hosting.simulator, &[allow(modify, attribute.clone())]);
    let accept = [("AcceptanceRequired", "true")];
    // aws-cdk#36216: whatever is modified of a service of several regions.
    let refused = hosting.modify(&id, &accept);
    refused.refused("UnauthorizedOperation");
    assert!(
        refused.text("Message").contains("vpce:AllowMultiRegion"),
        "{}",
        refused.body
    );
    restrict(
        &hosting.simulator,
        &[allow(modify, attribute), anything("vpce:AllowMultiRegion")],
    );
    hosting.modify(&id, &accept).succeeded();
    hosting
        .modify(&id, &[("PrivateDnsName", "db.example.com")])
        .refused("UnauthorizedOperation");
    for (region, allowed) in [("eu-west-2", false), ("eu-west-1", true)] {
        let regions = serde_json::json!({"ForAnyValue:StringEquals": {"ec2:VpceSupportedRegion": region}});
        restrict(
            &hosting.simulator,
            &[allow(modify, regions), anything("vpce:AllowMultiRegion")],
        );
        let answer = hosting.modify(&id, &accept);
        if allowed {
            answer.succeeded();
        } else {
            answer.refused("UnauthorizedOperation");
        }
    }
}

#[test]
fn describe_calls_have_no_resources() {
    let hosting = hosting();
    let one = serde_json::json!({"Effect": "Allow", "Action": "ec2:Describe*", "Resource": SERVICES});
    for action in [DESCRIBE, "DescribeVpcEndpointConnections"] {
        restrict(&hosting.simulator, std::slice::from_ref(&one));
        hosting.provider.ec2(action, &[]).refused("UnauthorizedOperation");
        restrict(&hosting.simulator, &[anything(&format!("ec2:{action}"))]);
        hosting.provider.ec2(action, &[]).succeeded();
    }
}

#[test]
fn the_service_owner_is_the_providers_account() {
    // Service Authorization Reference: ec2:VpceServiceOwner is an account id.
    let hosting = hosting();
    let id = hosting.service(&[]);
    for (owner, allowed) in [("888888888888", false), (ACCOUNT, true)] {
        let create = serde_json::json!({
            "Effect": "Allow", "Action": "ec2:CreateVpcEndpoint",
            "Resource": "arn:aws:ec2:*:*:vpc-endpoint/*",
            "Condition": {"StringEquals": {"ec2:VpceServiceOwner": owner}},
        });
        let others = serde_json::json!({
            "Effect": "Allow", "Action": "ec2:CreateVpcEndpoint", "Resource": "arn:aws:ec2:*:*:vpc/*",
        });
        let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [create, others]});
        let spec = RoleSpec {
            policy: Some(policy.to_string()),
            ..RoleSpec::default()
        };
        hosting.simulator.set_role(crate::hosting::CONSUMER_ROLE, spec).unwrap();
        let answer = hosting.connect(&id, &[]);
        if allowed {
            answer.succeeded();
        } else {
            answer.refused("UnauthorizedOperation");
        }
    }
}
