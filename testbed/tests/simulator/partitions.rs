//! China and GovCloud are worlds of their own.

use serde_json::json;
use vpce_testbed::aws::{BASE_ACCOUNT, Config, LoadBalancerSpec, RoleSpec, Simulator};

use crate::ACCOUNT;
use crate::client::Client;

const WORLDS: [(&str, &str); 3] = [
    ("aws", "us-west-2"),
    ("aws-cn", "cn-north-1"),
    ("aws-us-gov", "us-gov-west-1"),
];

fn role(partition: &str) -> String {
    format!("arn:{partition}:iam::{ACCOUNT}:role/team")
}

#[test]
fn arns_carry_their_partition() {
    for (partition, region) in WORLDS {
        let simulator = Simulator::start(Config::of_partition(partition)).unwrap();
        assert_eq!(
            simulator.base_arn(),
            format!("arn:{partition}:iam::{BASE_ACCOUNT}:user/vpce-operator")
        );
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "ec2:CreateVpc", "Resource": "*"},
            {"Effect": "Allow", "Action": "ec2:CreateSecurityGroup", "Resource": format!("arn:{partition}:ec2:{region}:{ACCOUNT}:*")},
            {"Effect": "Allow", "Action": "ec2:DescribeSecurityGroups", "Resource": "*"},
        ]});
        let spec = RoleSpec {
            policy: Some(policy.to_string()),
            ..RoleSpec::default()
        };
        simulator.add_role(&role(partition), spec).unwrap();
        simulator.add_vpc(ACCOUNT, region, "vpc-1", "10.0.0.0/16").unwrap();

        let client = Client::base(&simulator, region).assume(&role(partition));
        let caller = client.sts("GetCallerIdentity", &[]).succeeded();
        assert_eq!(
            caller.text("Arn"),
            format!("arn:{partition}:sts::{ACCOUNT}:assumed-role/team/test")
        );
        let group = [("GroupName", "one"), ("GroupDescription", "a test"), ("VpcId", "vpc-1")];
        let made = client.ec2("CreateSecurityGroup", &group).succeeded();
        let id = made.text("groupId");
        let arn = format!("arn:{partition}:ec2:{region}:{ACCOUNT}:security-group/{id}");
        assert_eq!(made.text("securityGroupArn"), arn);
        let refused = client.ec2("DeleteSecurityGroup", &[("GroupId", &id)]);
        refused.refused("UnauthorizedOperation");
        assert!(refused.text("Message").contains(&arn));
    }
}

#[test]
fn no_tenant_reaches_another() {
    let mut config = Config::of_partition("aws-us-gov");
    config.regions.extend(["us-west-2".to_owned(), "cn-north-1".to_owned()]);
    let simulator = Simulator::start(config).unwrap();
    for (partition, _) in WORLDS {
        simulator.add_role(&role(partition), RoleSpec::default()).unwrap();
    }
    let base = Client::base(&simulator, "us-gov-west-1");
    for partition in ["aws", "aws-cn"] {
        let params = [("RoleArn", role(partition)), ("RoleSessionName", "test".to_owned())];
        let params = params.each_ref().map(|(name, value)| (*name, value.as_str()));
        base.sts("AssumeRole", &params).refused("ValidationError");
    }
    let session = base.assume(&role("aws-us-gov"));
    session.ec2("DescribeVpcs", &[]).succeeded();
    session.in_region("us-gov-east-1").ec2("DescribeVpcs", &[]).succeeded();
    for region in ["us-west-2", "cn-north-1"] {
        let abroad = session.in_region(region);
        abroad.ec2("DescribeVpcs", &[]).refused("AuthFailure");
        abroad.sts("GetCallerIdentity", &[]).refused("InvalidClientTokenId");
    }
}

#[test]
fn a_policy_names_nothing_of_another_partition() {
    let simulator = Simulator::start(Config::of_partition("aws-us-gov")).unwrap();
    let role = role("aws-us-gov");
    let policy =
        |statement: serde_json::Value| Some(json!({"Version": "2012-10-17", "Statement": statement}).to_string());
    for (partition, taken) in [("aws-us-gov", true), ("*", true), ("aws", false), ("aws-cn", false)] {
        let resources = json!(["*", format!("arn:{partition}:ec2:*:*:vpc/*")]);
        let identity = policy(json!([{"Effect": "Allow", "Action": "ec2:*", "Resource": resources}]));
        let spec = RoleSpec {
            policy: identity.clone(),
            ..RoleSpec::default()
        };
        assert_eq!(simulator.set_role(&role, spec).is_ok(), taken, "{partition}");
        assert_eq!(simulator.set_base_policy(identity).is_ok(), taken, "{partition}");
    }
    for (partition, taken) in [("aws-us-gov", true), ("aws", false)] {
        let principal = json!({"AWS": format!("arn:{partition}:iam::{BASE_ACCOUNT}:root")});
        let spec = RoleSpec {
            trust_policy: policy(json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal})),
            ..RoleSpec::default()
        };
        let result = simulator.set_role(&role, spec);
        assert_eq!(result.is_ok(), taken, "{partition}");
        if let Err(error) = result {
            assert!(
                format!("{error:#}").contains("partition \"aws\" is not valid"),
                "{error:#}"
            );
        }
    }
}

#[test]
fn names_in_china_are_chinas() {
    let region = "cn-north-1";
    let simulator = Simulator::start(Config {
        throttle: false,
        ..Config::of_partition("aws-cn")
    })
    .unwrap();
    simulator.add_role(&role("aws-cn"), RoleSpec::default()).unwrap();
    simulator.add_vpc(ACCOUNT, region, "vpc-1", "10.0.0.0/16").unwrap();
    let client = Client::base(&simulator, region).assume(&role("aws-cn"));
    let params = [
        ("VpcEndpointType", "Interface"),
        ("VpcId", "vpc-1"),
        ("ServiceName", "cn.com.amazonaws.cn-north-1.kms"),
    ];
    client.ec2("CreateVpcEndpoint", &params).succeeded();
    simulator.advance(3.0);
    let names = &simulator.endpoints(ACCOUNT, region)[0].dns_names;
    assert!(
        names.contains(&"kms.cn-north-1.amazonaws.com.cn".to_owned()),
        "{names:?}"
    );
    assert!(
        names
            .iter()
            .any(|name| name.ends_with(".kms.cn-north-1.vpce.amazonaws.com.cn")),
        "{names:?}"
    );
}

#[test]
fn hosted_services_and_load_balancers_are_named_by_their_partition() {
    // In China, names of services begin with `cn.`, as their providers publish them.
    for ((partition, region), (prefix, domain)) in WORLDS.iter().zip([
        ("", "amazonaws.com"),
        ("cn.", "amazonaws.com.cn"),
        ("", "amazonaws.com"),
    ]) {
        let simulator = Simulator::start(Config {
            load_balancer_seconds: 0.0,
            ..Config::of_partition(partition)
        })
        .unwrap();
        simulator.add_role(&role(partition), RoleSpec::default()).unwrap();
        simulator.add_vpc(ACCOUNT, region, "vpc-1", "10.0.0.0/16").unwrap();
        let zone = format!("{region}a");
        simulator
            .add_subnet(ACCOUNT, region, "subnet-a", "vpc-1", &zone)
            .unwrap();
        let spec = LoadBalancerSpec {
            subnet_ids: vec!["subnet-a".to_owned()],
            ..LoadBalancerSpec::default()
        };
        let arn = simulator.add_load_balancer(ACCOUNT, region, "web", spec).unwrap();
        assert!(arn.starts_with(&format!("arn:{partition}:elasticloadbalancing:{region}:{ACCOUNT}:")));
        let name = simulator.load_balancers(ACCOUNT, region)[0].dns_name.clone();
        assert!(name.unwrap().ends_with(&format!(".elb.{region}.{domain}")));

        let client = Client::base(&simulator, region).assume(&role(partition));
        let create = [("NetworkLoadBalancerArn.1", arn.as_str())];
        let made = client.ec2("CreateVpcEndpointServiceConfiguration", &create).succeeded();
        let id = made.text("serviceId");
        assert_eq!(
            made.text("serviceName"),
            format!("{prefix}com.amazonaws.vpce.{region}.{id}")
        );
        assert!(
            made.body.contains(&format!("{id}.{region}.vpce.{domain}")),
            "{}",
            made.body
        );
        let root = |partition: &str| format!("arn:{partition}:iam::{ACCOUNT}:root");
        for other in ["aws", "aws-cn", "aws-us-gov"] {
            let allow = [("ServiceId", id.as_str()), ("AddAllowedPrincipals.1", &root(other))];
            let answer = client.ec2("ModifyVpcEndpointServicePermissions", &allow);
            if other == *partition {
                answer.succeeded();
            } else {
                answer.refused("InvalidPrincipal");
            }
        }
    }
}
