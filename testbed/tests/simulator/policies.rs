//! Policies over the wire: what is refused, with which message, and what a dry run answers.

use serde_json::{Value, json};
use vpce_testbed::aws::{BASE_ACCOUNT, Config, RoleSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, ROLE, SERVICE, simulator, unthrottled};

const OTHER_ACCOUNT: &str = "222222222222";

fn document(statements: Value) -> Option<String> {
    Some(json!({"Version": "2012-10-17", "Statement": statements}).to_string())
}

fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

fn restrict(simulator: &Simulator, statements: Value) {
    let spec = RoleSpec {
        policy: document(statements),
        ..RoleSpec::default()
    };
    simulator.set_role(ROLE, spec).unwrap();
}

fn trust(simulator: &Simulator, role: &str, statements: Value) {
    let spec = RoleSpec {
        trust_policy: document(statements),
        ..RoleSpec::default()
    };
    simulator.set_role(role, spec).unwrap();
}

fn assume(client: &Client, role: &str, more: &[(&str, &str)]) -> Answer {
    let params = [&[("RoleArn", role), ("RoleSessionName", "test")], more].concat();
    client.sts("AssumeRole", &params)
}

#[track_caller]
fn says(answer: &Answer, expected: &str) {
    answer.refused("UnauthorizedOperation");
    assert_eq!(answer.status, 403);
    let message = answer.text("Message");
    let readable = message
        .split(" Encoded authorization failure message: ")
        .next()
        .unwrap();
    assert_eq!(
        readable,
        format!(
            "You are not authorized to perform this operation. User: arn:aws:sts::{ACCOUNT}:assumed-role/team/test is not \
             authorized to perform: {expected}"
        )
    );
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_refused_and_changes_nothing() {
    let (simulator, client) = simulator(unthrottled());
    let odd = json!({"Effect": "Allow", "Action": "*", "Resource": "*",
                     "Condition": {"NumericLessThan": {"ec2:VolumeSize": 1}}});
    let spec = RoleSpec {
        policy: document(odd.clone()),
        ..RoleSpec::default()
    };
    let error = simulator.set_role(ROLE, spec).unwrap_err();
    assert!(format!("{error:#}").contains("NumericLessThan"), "{error:#}");
    simulator.set_base_policy(document(odd)).unwrap_err();
    let spec = RoleSpec {
        trust_policy: document(allow("sts:AssumeRole", "*")),
        ..RoleSpec::default()
    };
    simulator.set_role(ROLE, spec).unwrap_err();
    client.ec2("DescribeVpcs", &[]).succeeded();
}

#[test]
fn a_refusal_names_who_what_and_why() {
    let (simulator, client) = simulator(unthrottled());
    restrict(&simulator, json!([allow("ec2:CreateSubnet", "*")]));
    says(
        &client.ec2("DescribeVpcs", &[]),
        "ec2:DescribeVpcs because no identity-based policy allows the ec2:DescribeVpcs action",
    );
    let delete = || client.ec2("DeleteSecurityGroup", &[("GroupId", "sg-1")]);
    let (first, second) = (delete(), delete());
    let group = "arn:aws:ec2:us-west-2:111111111111:security-group/sg-1";
    says(
        &first,
        &format!(
            "ec2:DeleteSecurityGroup on resource: {group} because no identity-based policy allows the \
             ec2:DeleteSecurityGroup action."
        ),
    );
    assert_ne!(
        first.text("Message"),
        second.text("Message"),
        "the encoded part is another each time"
    );
    let deny = json!({"Effect": "Deny", "Action": "ec2:Delete*", "Resource": "*"});
    restrict(&simulator, json!([allow("*", "*"), deny]));
    says(
        &delete(),
        &format!("ec2:DeleteSecurityGroup on resource: {group} with an explicit deny in an identity-based policy."),
    );
    client.ec2("DescribeVpcs", &[]).succeeded();
    assert!(
        simulator
            .security_groups(ACCOUNT, REGION)
            .iter()
            .any(|group| group.id == "sg-1")
    );
}

#[test]
fn a_dry_run_checks_permissions_before_anything_else() {
    let (simulator, client) = simulator(unthrottled());
    let dry = ("DryRun", "true");
    let calls: [(&str, &[(&str, &str)]); 4] = [
        ("DescribeVpcs", &[dry]),
        ("DeleteSecurityGroup", &[dry, ("GroupId", "sg-none")]),
        ("DeleteVpcEndpoints", &[dry, ("VpcEndpointId.1", "vpce-none")]),
        (
            "CreateSecurityGroup",
            &[
                dry,
                ("GroupName", "default"),
                ("GroupDescription", "x"),
                ("VpcId", "vpc-none"),
            ],
        ),
    ];
    for (statements, expected) in [
        (allow("ec2:*", "*"), "DryRunOperation"),
        (allow("sts:*", "*"), "UnauthorizedOperation"),
    ] {
        restrict(&simulator, statements);
        for (action, params) in calls {
            client.ec2(action, params).refused(expected);
        }
    }
    assert!(simulator.endpoints(ACCOUNT, REGION).is_empty());
}

#[test]
fn an_endpoint_is_checked_with_all_that_it_is_put_into() {
    let (simulator, client) = simulator(unthrottled());
    let only = |kind: &str, condition: Value| {
        let resource = format!("arn:aws:ec2:*:*:{kind}/*");
        json!({"Effect": "Allow", "Action": "ec2:CreateVpcEndpoint", "Resource": resource, "Condition": condition})
    };
    let in_vpc = json!({"ArnEquals": {"ec2:Vpc": format!("arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-1")}});
    let statements = [
        only(
            "vpc-endpoint",
            json!({"StringEquals": {"ec2:VpceServiceName": SERVICE},
            "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}, "Null": {"aws:RequestTag/team": "false"}}),
        ),
        only(
            "vpc",
            json!({"StringEquals": {"aws:RequestedRegion": REGION, "ec2:Region": REGION}}),
        ),
        only("subnet", in_vpc.clone()),
        only("security-group", in_vpc),
        json!({"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:*:*:vpc-endpoint/*",
               "Condition": {"StringEquals": {"ec2:CreateAction": "CreateVpcEndpoint"}}}),
    ];
    let create = |service: &str, tags: &[(&str, &str)]| {
        let base = [("SubnetId.1", "subnet-a"), ("SecurityGroupId.1", "sg-1")];
        client.create_endpoint(service, &[&base, tags].concat())
    };
    let tags = [
        ("TagSpecification.1.ResourceType", "vpc-endpoint"),
        ("TagSpecification.1.Tag.1.Key", "team"),
        ("TagSpecification.1.Tag.1.Value", "blue"),
        ("TagSpecification.1.Tag.2.Key", "stage"),
    ];
    restrict(&simulator, json!(statements));
    let id = create(SERVICE, &tags[..3]).succeeded().text("vpcEndpointId");
    create(SERVICE, &tags).refused("UnauthorizedOperation");
    create(SERVICE, &[]).refused("UnauthorizedOperation");
    create("com.amazonaws.us-west-2.sqs", &tags[..3]).refused("UnauthorizedOperation");
    let direct = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "team"),
        ("Tag.1.Value", "red"),
    ];
    client.ec2("CreateTags", &direct).refused("UnauthorizedOperation");

    let kinds = [
        "vpc-endpoint/*",
        "vpc/vpc-1",
        "subnet/subnet-a",
        "security-group/sg-1",
        "vpc-endpoint/*",
    ];
    for (missing, kind) in kinds.into_iter().enumerate() {
        let mut less = statements.to_vec();
        less.remove(missing);
        restrict(&simulator, json!(less));
        let refused = create(SERVICE, &tags[..3]);
        let action = if missing == 4 {
            "CreateTags"
        } else {
            "CreateVpcEndpoint"
        };
        let expected = format!("ec2:{action} on resource: arn:aws:ec2:{REGION}:{ACCOUNT}:{kind} because");
        assert!(refused.text("Message").contains(&expected), "{}", refused.body);
    }
    assert_eq!(simulator.endpoints(ACCOUNT, REGION).len(), 1);
}

#[test]
fn endpoints_are_deleted_one_by_one() {
    let (simulator, client) = simulator(unthrottled());
    let create = || client.create_endpoint(SERVICE, &[]).succeeded().text("vpcEndpointId");
    let (mine, other) = (create(), create());
    simulator.set_tag(ACCOUNT, REGION, &mine, "team", "blue").unwrap();
    for key in ["aws:ResourceTag/team", "ec2:ResourceTag/team"] {
        let condition = json!({"StringEquals": {key: "blue"}});
        restrict(
            &simulator,
            json!({"Effect": "Allow", "Action": "ec2:DeleteVpcEndpoints", "Resource": "*", "Condition": condition}),
        );
        let params = [
            ("VpcEndpointId.1", mine.as_str()),
            ("VpcEndpointId.2", other.as_str()),
            ("VpcEndpointId.3", "vpce-none"),
        ];
        let dry = client.ec2("DeleteVpcEndpoints", &[&params[..], &[("DryRun", "true")]].concat());
        dry.refused("UnauthorizedOperation");
        let answer = client.ec2("DeleteVpcEndpoints", &params).succeeded();
        assert_eq!(answer.texts("code"), ["UnauthorizedOperation"; 2]);
        let refused = answer.texts("resourceId");
        assert!(
            refused.contains(&other) && refused.contains(&"vpce-none".to_owned()),
            "{refused:?}"
        );
    }
    let states = simulator.endpoints(ACCOUNT, REGION);
    let state = |id: &str| states.iter().find(|view| view.id == id).unwrap().state.clone();
    assert_eq!((state(&mine).as_str(), state(&other).as_str()), ("deleting", "pending"));
}

#[test]
fn a_deletion_tells_the_service() {
    let (simulator, client) = simulator(unthrottled());
    let sqs = "com.amazonaws.us-west-2.sqs";
    let create = |service: &str| client.create_endpoint(service, &[]).succeeded().text("vpcEndpointId");
    let (ours, other) = (create(SERVICE), create(sqs));
    let condition = json!({"StringEquals": {"ec2:VpceServiceName": SERVICE}});
    restrict(
        &simulator,
        json!({"Effect": "Allow", "Action": "ec2:DeleteVpcEndpoints", "Resource": "*", "Condition": condition}),
    );
    let both = [("VpcEndpointId.1", ours.as_str()), ("VpcEndpointId.2", other.as_str())];
    let answer = client.ec2("DeleteVpcEndpoints", &both).succeeded();
    assert_eq!(answer.texts("code"), ["UnauthorizedOperation"]);
    assert_eq!(answer.texts("resourceId"), [other]);
}

#[test]
fn a_modification_needs_what_it_adds_and_what_it_removes() {
    let (simulator, client) = simulator(unthrottled());
    let placed = [
        ("SubnetId.1", "subnet-a"),
        ("SubnetId.2", "subnet-b"),
        ("SecurityGroupId.1", "sg-1"),
    ];
    let id = client
        .create_endpoint(SERVICE, &placed)
        .succeeded()
        .text("vpcEndpointId");
    simulator.advance(61.0);
    let on = |resource: &str| allow("ec2:ModifyVpcEndpoint", &format!("arn:aws:ec2:*:*:{resource}"));
    restrict(&simulator, json!([on("vpc-endpoint/*"), on("subnet/subnet-c")]));
    let modify = |more: (&str, &str)| client.ec2("ModifyVpcEndpoint", &[("VpcEndpointId", id.as_str()), more]);
    modify(("AddSecurityGroupId.1", "sg-1")).refused("UnauthorizedOperation");
    modify(("RemoveSubnetId.1", "subnet-b")).refused("UnauthorizedOperation");
    modify(("AddSubnetId.1", "subnet-c")).succeeded();
}

#[test]
fn a_trust_policy_decides_who_assumes_and_with_what() {
    let (simulator, team) = simulator(Config {
        base_is_session: true,
        ..unthrottled()
    });
    let base = Client::base(&simulator, REGION);
    let other = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/other");
    let base_role = simulator.base_arn();
    let base_session = format!("arn:aws:sts::{BASE_ACCOUNT}:assumed-role/vpce-operator-base/base");
    let statement = |who: &str, actions: Value, condition: Value| json!({"Effect": "Allow", "Principal": {"AWS": who}, "Action": actions, "Condition": condition});
    let actions = json!("sts:AssumeRole");
    for who in [
        "*",
        BASE_ACCOUNT,
        &format!("arn:aws:iam::{BASE_ACCOUNT}:root"),
        &base_role,
        &base_session,
    ] {
        trust(&simulator, &other, statement(who, actions.clone(), json!({})));
        assume(&base, &other, &[]).succeeded();
    }
    assume(&team, &other, &[]).refused("AccessDenied");

    let condition = json!({"StringEquals": {"sts:ExternalId": "x-1"}, "StringLike": {"sts:RoleSessionName": "te?t"},
                           "ArnEquals": {"aws:PrincipalArn": base_role}});
    let conditional = statement("*", actions.clone(), condition.clone());
    trust(&simulator, &other, conditional.clone());
    assume(&base, &other, &[("ExternalId", "x-1")]).succeeded();
    assume(&base, &other, &[("ExternalId", "x-2")]).refused("AccessDenied");
    assume(&team, &other, &[("ExternalId", "x-1")]).refused("AccessDenied");

    // A source identity and tags are permissions of their own, without the external id.
    let tagged = [
        ("ExternalId", "x-1"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "blue"),
        ("SourceIdentity", "cluster-1"),
    ];
    let refused = assume(&base, &other, &tagged);
    refused.refused("AccessDenied");
    assert!(refused.text("Message").contains("sts:TagSession"), "{}", refused.body);
    let both = json!(["sts:TagSession", "sts:SetSourceIdentity"]);
    trust(
        &simulator,
        &other,
        json!([conditional, statement("*", both.clone(), condition)]),
    );
    assume(&base, &other, &tagged).refused("AccessDenied");
    let tags = json!({"StringEquals": {"aws:RequestTag/team": "blue", "sts:SourceIdentity": "cluster-1"}});
    trust(&simulator, &other, json!([conditional, statement("*", both, tags)]));
    assume(&base, &other, &tagged).succeeded();
    let refused = assume(&base, &other, &tagged[..3]);
    assert!(refused.text("Message").contains("sts:TagSession"), "{}", refused.body);
    let params = simulator.calls().pop().unwrap().params;
    assert_eq!(
        (
            params["Tags.member.1.Key"].as_str(),
            params["Tags.member.1.Value"].as_str()
        ),
        ("team", "blue")
    );

    let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*"});
    trust(&simulator, &other, json!([statement("*", actions, json!({})), deny]));
    assume(&base, &other, &[]).refused("AccessDenied");
}

#[test]
fn the_callers_own_policy_has_a_say_too() {
    let (simulator, _) = simulator(unthrottled());
    let base = Client::base(&simulator, REGION);
    let (far, near) = (
        format!("arn:aws:iam::{OTHER_ACCOUNT}:role/far"),
        format!("arn:aws:iam::{BASE_ACCOUNT}:role/near"),
    );
    let named = json!({"Effect": "Allow", "Principal": {"AWS": simulator.base_arn()}, "Action": "sts:*"});
    let account = json!({"Effect": "Allow", "Principal": {"AWS": BASE_ACCOUNT}, "Action": "sts:*"});
    let deny = json!([allow("*", "*"), {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*"}]);
    for (policy, trusted, far_allowed, near_allowed) in [
        (allow("sts:AssumeRole", "*"), &named, true, true),
        (allow("sts:AssumeRole", "*"), &account, true, true),
        // Within one account, being named is enough; the account's trust is not.
        (allow("ec2:*", "*"), &named, false, true),
        (allow("ec2:*", "*"), &account, false, false),
        (deny, &named, false, false),
        (allow("sts:AssumeRole", &far), &account, true, false),
    ] {
        simulator.set_base_policy(document(policy.clone())).unwrap();
        for (role, allowed) in [(&far, far_allowed), (&near, near_allowed)] {
            trust(&simulator, role, trusted.clone());
            let answer = assume(&base, role, &[]);
            assert_eq!(answer.status == 200, allowed, "{policy} {trusted} {role}");
        }
    }
    simulator.set_base_policy(None).unwrap();
    assume(&base, &far, &[]).succeeded();
    base.sts("GetCallerIdentity", &[]).succeeded();
}

#[test]
fn a_sessions_tags_are_its_principals() {
    let (simulator, _) = simulator(unthrottled());
    restrict(
        &simulator,
        json!({"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*",
               "Condition": {"StringEquals": {"aws:PrincipalTag/team": "blue"}}}),
    );
    let base = Client::base(&simulator, REGION);
    let tag = |value| [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", value)];
    for (value, allowed) in [("blue", true), ("red", false)] {
        let session = assume(&base, ROLE, &tag(value)).succeeded();
        let client = base.with_key(&session.text("AccessKeyId"), Some(&session.text("SessionToken")));
        assert_eq!(client.ec2("DescribeVpcs", &[]).status == 200, allowed, "{value}");
    }
}

#[test]
fn a_gateway_endpoint_is_checked_with_its_route_tables() {
    let (simulator, client) = simulator(unthrottled());
    for id in ["rtb-1", "rtb-2"] {
        simulator.add_route_table(ACCOUNT, REGION, id, "vpc-1").unwrap();
    }
    let on = |action: &str, kind: &str, condition: Value| {
        let resource = format!("arn:aws:ec2:*:*:{kind}/*");
        json!({"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition})
    };
    let table = json!({"StringEquals": {"ec2:RouteTableID": "rtb-1"}});
    restrict(
        &simulator,
        json!([
            on("ec2:*VpcEndpoint", "vpc-endpoint", json!({})),
            on("ec2:*VpcEndpoint", "vpc", json!({})),
            on("ec2:*VpcEndpoint", "route-table", table),
        ]),
    );
    let create = |table: &str| {
        let service = ("ServiceName", "com.amazonaws.us-west-2.s3");
        client.ec2(
            "CreateVpcEndpoint",
            &[("VpcId", "vpc-1"), service, ("RouteTableId.1", table)],
        )
    };
    let refused = create("rtb-2");
    refused.refused("UnauthorizedOperation");
    assert!(
        refused.text("Message").contains("route-table/rtb-2"),
        "{}",
        refused.body
    );
    let id = create("rtb-1").succeeded().text("vpcEndpointId");
    let modify = |change: (&str, &str)| client.ec2("ModifyVpcEndpoint", &[("VpcEndpointId", id.as_str()), change]);
    modify(("AddRouteTableId.1", "rtb-2")).refused("UnauthorizedOperation");
    modify(("RemoveRouteTableId.1", "rtb-1")).succeeded();
    client.ec2("DescribePrefixLists", &[]).refused("UnauthorizedOperation");
}

#[test]
fn a_modification_tells_which_attributes_it_sets() {
    let (simulator, client) = simulator(unthrottled());
    let sqs = "com.amazonaws.us-west-2.sqs";
    let off = [("PrivateDnsEnabled", "false")];
    let id = client.create_endpoint(sqs, &off).succeeded().text("vpcEndpointId");
    simulator.advance(61.0);
    let modify = |changes: &[(&str, &str)]| {
        client.ec2(
            "ModifyVpcEndpoint",
            &[&[("VpcEndpointId", id.as_str())], changes].concat(),
        )
    };
    let reset = ("ResetPolicy", "true");
    let only = |condition: Value| {
        let modify = json!({"Effect": "Allow", "Action": "ec2:ModifyVpcEndpoint", "Resource": "*",
                            "Condition": condition});
        restrict(&simulator, json!([modify]));
    };
    only(json!({"ForAllValues:StringEquals": {"ec2:Attribute": ["PrivateDnsEnabled"]}}));
    modify(&off).succeeded();
    modify(&[reset]).refused("UnauthorizedOperation");
    modify(&[off[0], reset]).refused("UnauthorizedOperation");
    only(json!({"StringEquals": {"ec2:Attribute/PrivateDnsEnabled": "true"}}));
    modify(&off).refused("UnauthorizedOperation");
    only(
        json!({"StringEquals": {"ec2:Attribute/PrivateDnsEnabled": "false", "ec2:VpceServiceRegion": REGION},
                "Bool": {"ec2:VpceMultiRegion": "false"}}),
    );
    modify(&off).succeeded();
}
