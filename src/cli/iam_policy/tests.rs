//! What the subcommand prints and refuses, from its command line on.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};

use crate::cli::{Cli, Command};

/// What the command line prints, with what it notes; or the whole of its error.
fn run_with<S: AsRef<str>>(arguments: &[S], input: &str) -> Result<(String, String), String> {
    let line = ["vpce-operator"].into_iter().chain(arguments.iter().map(AsRef::as_ref));
    let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
    let Command::IamPolicy(asked) = cli.command else {
        panic!("not iam-policy");
    };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    super::print(&asked, input.as_bytes(), &mut out, &mut notes)
        .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    Ok((String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap()))
}

fn run(line: &str, input: &str) -> Result<(String, String), String> {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    run_with(&[&["iam-policy"], arguments.as_slice()].concat(), input)
}

fn printed(line: &str, input: &str) -> Value {
    serde_json::from_str(&run(line, input).unwrap().0).unwrap()
}

fn refused(line: &str, input: &str) -> String {
    run(line, input).expect_err(line)
}

const TENANT: &str = "tenant --cluster-id c --base-role-arn arn:aws:iam::999999999999:role/base";
const IRSA: &str = "base --account-id 999999999999 --oidc-provider oidc.example.com/id/1";

const MANIFEST: &str = "
# Namespaces and whatever else may be in the file.
apiVersion: v1
kind: Namespace
metadata: {name: payments}
---
apiVersion: silvermullet.com/v1beta1
kind: AWSAccount
metadata: {name: payments}
spec:
  role_arn: arn:aws:iam::111122223333:role/teams/vpce
  external_id: id-of-payments
  session_duration_seconds: 7200
  namespaces: [payments]
  session_tags: {team: payments}
  allowed_regions: [eu-west-1, eu-central-1]
  allowed_vpc_ids: [vpc-0c4a7d9e2b6f81035]
  allowed_subnet_ids: [subnet-0d1e2f3a4b5c60718]
  allowed_security_group_ids: []
  allowed_services: ['com.amazonaws.vpce.*']
---
apiVersion: silvermullet.com/v1beta1
kind: AWSAccount
metadata: {name: plain}
spec:
  role_arn: arn:aws:iam::444455556666:role/vpce-operator
";

#[test]
fn the_examples_in_the_docs_are_what_is_printed() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(project.join(path)).unwrap();
    let documented = vpce_testbed::generate::documented(&read("docs/iam.md"));
    assert_eq!(
        documented.len(),
        std::fs::read_dir(project.join("docs/iam")).unwrap().count()
    );
    for (path, arguments) in documented {
        let (text, _) = run_with(&arguments, "").unwrap();
        assert!(
            text == read(&path),
            "{path} is stale: make generate writes it anew\n{text}"
        );
    }
}

#[test]
fn a_manifest_makes_the_role_as_narrow_as_its_guardrails() {
    let both = printed(&format!("{TENANT} --from - --name payments"), MANIFEST);
    let statements = both["permissions"]["Statement"].as_array().unwrap();
    let allowing = |statement: &&Value| statement["Effect"] == "Allow";
    for statement in statements.iter().filter(allowing) {
        assert_eq!(
            statement["Condition"]["StringEquals"]["aws:RequestedRegion"],
            json!(["eu-central-1", "eu-west-1"]),
            "{statement}"
        );
    }
    let of = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).unwrap();
    assert_eq!(
        of("CreateInVpc")["Resource"],
        "arn:aws:ec2:*:111122223333:vpc/vpc-0c4a7d9e2b6f81035"
    );
    assert_eq!(
        of("UseSubnetsAndGroups")["Resource"],
        "arn:aws:ec2:*:111122223333:subnet/subnet-0d1e2f3a4b5c60718"
    );
    assert_eq!(
        of("UseOwnGroups")["Condition"]["StringEquals"]["aws:ResourceTag/silvermullet.com/cluster"],
        "c"
    );
    assert_eq!(
        of("CreateVpcEndpointWithClusterTag")["Condition"]["StringLike"]["ec2:VpceServiceName"],
        "com.amazonaws.vpce.*"
    );
    let trust = both["trust"]["Statement"].as_array().unwrap();
    assert_eq!(
        trust[0]["Condition"]["StringEquals"]["sts:ExternalId"],
        "id-of-payments"
    );
    assert_eq!(trust[1]["Action"], "sts:TagSession");
    assert_eq!(trust[1]["Condition"]["StringEquals"]["aws:RequestTag/team"], "payments");
}

#[test]
fn flags_say_the_same_as_a_manifest() {
    let by_manifest = run(&format!("{TENANT} --from - --name payments"), MANIFEST).unwrap();
    let by_flags = run(
        &format!(
            "{TENANT} --role-arn arn:aws:iam::111122223333:role/teams/vpce --external-id id-of-payments \
             --session-tag team=payments --region eu-west-1,eu-central-1 --vpc-id vpc-0c4a7d9e2b6f81035 \
             --subnet-id subnet-0d1e2f3a4b5c60718 --security-group-id sg-0d1e2f3a4b5c60718 --service com.amazonaws.vpce.*"
        ),
        "",
    )
    .unwrap();
    let manifest = MANIFEST.replace("_group_ids: []", "_group_ids: [sg-0d1e2f3a4b5c60718]");
    assert_ne!(by_manifest, by_flags, "the groups differ");
    assert_eq!(
        run(&format!("{TENANT} --from - --name payments"), &manifest).unwrap(),
        by_flags
    );
}

#[test]
fn private_dns_is_granted_where_it_is_allowed() {
    let has_it = |line: &str, manifest: &str| run(line, manifest).unwrap().0.contains("route53:AssociateVPC");
    let manifest = |allowed: bool| format!("{MANIFEST}  allow_private_dns: {allowed}\n");
    let from = format!("{TENANT} --from - --name plain");
    let flags = format!("{TENANT} --account-id 111122223333");
    assert!(has_it(&from, &manifest(true)) && !has_it(&from, &manifest(false)) && !has_it(&from, MANIFEST));
    assert!(has_it(&format!("{flags} --allow-private-dns"), "") && !has_it(&flags, ""));
}

#[test]
fn a_source_identity_is_granted_at_both_ends_where_it_is_sent() {
    for line in [
        format!("{TENANT} --from - --name payments"),
        format!("{TENANT} --account-id 111122223333"),
        format!("{IRSA} --from -"),
        "base --only permissions --role-arn arn:aws:iam::*:role/x".to_owned(),
    ] {
        for (flag, has_it) in [("", false), (" --source-identity", true)] {
            let (text, _) = run(&format!("{line}{flag}"), MANIFEST).unwrap();
            assert_eq!(text.contains("sts:SetSourceIdentity"), has_it, "{text}");
        }
    }
}

#[test]
fn what_kubectl_lists_is_read_too() {
    let items: Vec<&str> = MANIFEST.split("---").skip(1).collect();
    let item = items[1].trim().replace('\n', "\n  ");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {item}\n");
    assert_eq!(
        run(&format!("{TENANT} --from -"), &list),
        run(&format!("{TENANT} --from - --name plain"), MANIFEST)
    );
}

#[test]
fn the_base_role_may_assume_the_roles_of_the_manifest() {
    let both = printed(&format!("{IRSA} --from -"), MANIFEST);
    let statement = &both["permissions"]["Statement"][0];
    assert_eq!(
        statement["Resource"],
        json!([
            "arn:aws:iam::111122223333:role/teams/vpce",
            "arn:aws:iam::444455556666:role/vpce-operator"
        ])
    );
    assert_eq!(
        statement["Action"],
        json!(["sts:AssumeRole", "sts:TagSession"]),
        "one has session tags"
    );
    let plain = printed(&format!("{IRSA} --from - --name plain"), MANIFEST);
    assert_eq!(plain["permissions"]["Statement"][0]["Action"], "sts:AssumeRole");
    let pods = printed(
        "base --role-arn arn:aws:iam::*:role/x --eks-cluster-arn arn:aws:eks:eu-west-1:999999999999:cluster/c",
        "",
    );
    assert_eq!(
        pods["permissions"]["Statement"][0]["Action"],
        json!(["sts:AssumeRole", "sts:TagSession"]),
        "EKS passes tags"
    );
}

#[test]
fn other_partitions_are_right_throughout() {
    for (partition, region) in [("aws-us-gov", "us-gov-west-1"), ("aws-cn", "cn-north-1")] {
        for line in [
            format!(
                "tenant --account-id 111122223333 --region {region} --cluster-id c --external-id id \
                 --base-role-arn arn:{partition}:iam::999999999999:role/base"
            ),
            format!("{IRSA} --role-arn arn:{partition}:iam::*:role/vpce-operator"),
            format!("{IRSA} --partition {partition} --role-arn arn:{partition}:iam::*:role/vpce-operator"),
        ] {
            let (text, _) = run(&line, "").unwrap();
            assert!(!text.contains("arn:aws:"), "{text}");
            assert!(text.contains(&format!("arn:{partition}:")), "{text}");
        }
    }
    let irsa = printed(&format!("{IRSA} --only trust --partition aws-cn"), "");
    let statement = &irsa["Statement"][0];
    assert_eq!(
        statement["Principal"]["Federated"],
        "arn:aws-cn:iam::999999999999:oidc-provider/oidc.example.com/id/1"
    );
    assert_eq!(
        statement["Condition"]["StringEquals"]["oidc.example.com/id/1:aud"],
        "sts.amazonaws.com"
    );
}

#[test]
fn cloudformation_and_terraform_hold_the_same_policies() {
    let line = format!("{TENANT} --from - --name payments");
    let both = printed(&line, MANIFEST);
    let (yaml, _) = run(&format!("{line} --format cloudformation"), MANIFEST).unwrap();
    let template: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(template["AWSTemplateFormatVersion"], "2010-09-09");
    let role = &template["Resources"]["VpceOperatorRole"];
    assert_eq!(role["Type"], "AWS::IAM::Role");
    let properties = &role["Properties"];
    assert_eq!(properties["RoleName"], "vpce");
    assert_eq!(properties["Path"], "/teams/");
    assert_eq!(properties["MaxSessionDuration"], 7200);
    assert_eq!(properties["AssumeRolePolicyDocument"], both["trust"]);
    assert_eq!(properties["Policies"][0]["PolicyDocument"], both["permissions"]);

    let (hcl, _) = run(&format!("{line} --format terraform"), MANIFEST).unwrap();
    let encoded: Vec<Value> = hcl
        .split("jsonencode(")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split_once(")\n}").unwrap().0).unwrap())
        .collect();
    assert_eq!(encoded, [both["trust"].clone(), both["permissions"].clone()]);
    for attribute in ["\"vpce\"", "\"/teams/\"", "= 7200\n"] {
        assert!(hcl.contains(attribute), "{hcl}");
    }
}

#[test]
fn text_that_yaml_would_read_as_something_else_stays_text() {
    for id in ["012345", "1e3", "no", "12:30", "2012-10-17", "=x"] {
        let line = format!("{TENANT} --account-id 111122223333 --external-id={id} --format cloudformation");
        let (yaml, _) = run(&line, "").unwrap();
        let template: Value = serde_saphyr::from_str(&yaml).unwrap();
        let trust = &template["Resources"]["VpceOperatorRole"]["Properties"]["AssumeRolePolicyDocument"];
        assert_eq!(
            trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"], id,
            "{yaml}"
        );
    }
}

#[test]
fn a_missing_external_id_is_said_beside_the_policy() {
    let (text, notes) = run(&format!("{TENANT} --account-id 111122223333"), "").unwrap();
    assert!(notes.contains("external id") && !text.contains("ExternalId"));
    let (_, notes) = run(&format!("{TENANT} --account-id 111122223333 --only permissions"), "").unwrap();
    assert_eq!(notes, "");
}

#[track_caller]
fn are_refused(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let error = refused(line, MANIFEST);
        assert!(error.contains(expected), "{line}\n{error}");
    }
}

#[test]
fn every_bad_flag_of_base_gets_a_clear_error() {
    are_refused(&[
        ("", "subcommand"),
        ("base", "--role-arn"),
        ("base --only permissions", "--role-arn"),
        ("base --role-arn x --only permissions", "is not the ARN of an IAM role"),
        (
            "base --role-arn arn:aws:iam::*:role/* --only permissions",
            "not made of them alone",
        ),
        (
            "base --role-arn arn:aws:iam::*:role/x",
            "--oidc-provider (IRSA) or --eks-cluster-arn",
        ),
        (
            "base --role-arn arn:aws:iam::*:role/x --oidc-provider a.b/c",
            "--account-id",
        ),
        (
            "base --role-arn arn:aws:iam::*:role/x --eks-cluster-arn arn:aws:eks:eu-west-1:1:cluster/c",
            "is not the ARN of an EKS cluster",
        ),
        (
            "base --role-arn arn:aws:iam::*:role/x --eks-cluster-arn arn:aws-cn:eks:cn-north-1:999999999999:cluster/c",
            "a session cannot cross",
        ),
        ("base --oidc-provider a.b --eks-cluster-arn c", "cannot be used with"),
        ("base --name x", "--from"),
        (
            &format!("{IRSA} --role-arn arn:aws:iam::*:role/x,arn:aws-cn:iam::*:role/x"),
            "a session cannot cross",
        ),
        (
            &format!("{IRSA} --role-arn arn:aws:iam::*:role/x --partition aws-cn"),
            "a session cannot cross",
        ),
        (
            &format!("{IRSA} --role-arn arn:aws:iam::*:role/x --namespace A"),
            "namespace \"A\" is not",
        ),
        (
            &format!("{IRSA} --role-arn arn:aws:iam::*:role/x --service-account a*"),
            "ServiceAccount \"a*\" is not",
        ),
        (
            &format!("{IRSA} --role-arn arn:aws:iam::*:role/x --only trust --format terraform"),
            "--only goes with --format json",
        ),
        (
            "base --role-arn arn:aws:iam::*:role/x --account-id 999999999999 --oidc-provider x",
            "OIDC provider \"x\" is not",
        ),
    ]);
}

#[test]
fn every_bad_flag_of_tenant_gets_a_clear_error() {
    let account = "--account-id 111122223333";
    are_refused(&[
        ("tenant", "--account-id or --role-arn"),
        ("tenant --account-id 1", "12 digits"),
        (
            "tenant --role-arn arn:aws:iam::111122223333:user/x",
            "is not the ARN of an IAM role",
        ),
        (&format!("tenant {account}"), "--cluster-id"),
        (&format!("tenant {account} --cluster-id c"), "--base-role-arn"),
        (
            &format!("tenant {account} --cluster-id a/b --only permissions"),
            "cluster id \"a/b\" is not",
        ),
        (
            &format!("tenant {account} --only trust --base-role-arn arn:aws:sts::999999999999:assumed-role/a/b"),
            "name the role behind it",
        ),
        (&format!("tenant {account} --partition aws-eu"), "possible values"),
        (
            &format!("{TENANT} {account} --partition aws-cn"),
            "a session cannot cross",
        ),
        (
            &format!("{TENANT} {account} --external-id x"),
            "external id \"x\" is not",
        ),
        (
            &format!("{TENANT} {account} --region europe"),
            "region \"europe\" is not",
        ),
        (
            &format!("{TENANT} {account} --region cn-north-1"),
            "cn-north-1 is not in the AWS partition aws",
        ),
        (&format!("{TENANT} {account} --vpc-id vpc-*"), "VPC \"vpc-*\" is not"),
        (
            &format!("{TENANT} {account} --subnet-id vpc-0c4a7d9e2b6f81035"),
            "subnet \"vpc-0c4a7d9e2b6f81035\" is not",
        ),
        (
            &format!("{TENANT} {account} --security-group-id sg-X"),
            "security group \"sg-X\" is not",
        ),
        (&format!("{TENANT} {account} --service a/b"), "service \"a/b\" is not"),
        (&format!("{TENANT} {account} --session-tag team"), "KEY=VALUE"),
        (
            &format!("{TENANT} {account} --session-tag aws:x=y"),
            "key of a session tag \"aws:x\" is not",
        ),
        (&format!("{TENANT} {account} --format yaml"), "possible values"),
        (
            &format!("{TENANT} {account} --only trust --format cloudformation"),
            "--only goes with --format json",
        ),
        (&format!("{TENANT} {account} --from -"), "cannot be used with"),
        (&format!("{TENANT} --from - --allow-private-dns"), "cannot be used with"),
        (&format!("{TENANT} --from - --region eu-west-1"), "cannot be used with"),
        (
            &format!("{TENANT} --from not-there.yaml"),
            "cannot read not-there.yaml: ",
        ),
    ]);
}

#[test]
fn every_bad_manifest_gets_a_clear_error() {
    let account = |spec: &str| {
        format!("apiVersion: silvermullet.com/v1beta1\nkind: AWSAccount\nmetadata: {{name: one}}\nspec: {spec}\n")
    };
    let role = "role_arn: 'arn:aws:iam::111122223333:role/x'";
    for (manifest, expected) in [
        (String::new(), "contains no AWSAccount"),
        ("kind: Namespace".to_owned(), "contains no AWSAccount"),
        ("a: [".to_owned(), "standard input cannot be read as YAML"),
        (MANIFEST.to_owned(), "say which with --name: payments, plain"),
        (account("{}"), "AWSAccount one: missing field `role_arn`"),
        (account("{role_arn: x}"), "AWSAccount one: role_arn: \"x\" is not"),
        (
            account(&format!("{{{role}, allowed_region: [eu-west-1]}}")),
            "there is no field spec.allowed_region",
        ),
        (
            account(&format!("{{{role}, external_id: 12}}")),
            "AWSAccount one: invalid type",
        ),
        (
            account(&format!("{{{role}, allowed_regions: []}}")),
            "the list of allowed regions is empty",
        ),
        (
            account(&format!("{{{role}, allowed_regions: [eu]}}")),
            "region \"eu\" is not",
        ),
    ] {
        let error = refused(&format!("{TENANT} --from -"), &manifest);
        assert!(error.contains(expected), "{manifest}\n{error}");
    }
    let error = refused(&format!("{TENANT} --from - --name other"), MANIFEST);
    assert!(
        error.contains("contains no AWSAccount other, but payments, plain"),
        "{error}"
    );
}

/// An AWSAccount of this name with these lines besides.
fn one_account(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: silvermullet.com/v1beta1\nkind: AWSAccount\nmetadata: {{name: {name}}}\n\
         spec:\n  role_arn: arn:aws:iam::111122223333:role/x\n{more}"
    )
}

#[test]
fn what_a_hostile_file_holds_is_refused_in_a_few_clear_words() {
    let bomb: String = ('a'..='i')
        .zip('b'..='j')
        .map(|(from, to)| format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(", ")))
        .collect();
    let twice = one_account("one", "") + &one_account("one", "  external_id: another\n");
    let hundreds: String = (0..300).map(|n| one_account(&format!("n{n}"), "")).collect();
    let vpcs: String = (0..50_000).map(|n| format!("  - vpc-{n:017x}\n")).collect();
    for (manifest, expected) in [
        (format!("a: &a [x]\n{bomb}"), "cannot be read as YAML: "),
        (format!("a: {}", "[".repeat(1_000_000)), "recursion limit"),
        (format!("{{{}}}", "a: {".repeat(100_000)), "recursion limit"),
        (
            one_account("one", "  external_id: abc\n  external_id: def\n"),
            "duplicate mapping key: external_id",
        ),
        (
            twice.clone(),
            "contains several AWSAccounts named one: keep only one of them",
        ),
        (hundreds.clone(), "n18, n19 and 280 more"),
        (
            one_account("one", &format!("  allowed_vpc_ids:\n{vpcs}")),
            "it names 50000 VPCs",
        ),
        (
            one_account("\"\\e[2J\"", "  \"a\\e[2J\": 1\n"),
            "AWSAccount \\u{1b}[2J: there is no field spec.a\\u{1b}[2J",
        ),
        (
            one_account("one", "  external_id: \"a\\e[2J\"\n"),
            "external id \"a\\u{1b}[2J\" is not",
        ),
        (
            one_account("one", "  allowed_services: ['*\"}]}']\n"),
            "service \"*\\\"}]}\" is not",
        ),
        (
            one_account("one", "").replace("v1beta1", "v2"),
            "contains no AWSAccount",
        ),
        (one_account("one", "").replace("spec:", "other:"), "AWSAccount one: "),
        (
            "kind: AWSAccountList\nitems: {a: 1}\n".to_owned(),
            "contains no AWSAccount",
        ),
        (
            " ".repeat(17 * 1024 * 1024),
            "standard input is longer than 16777216 bytes",
        ),
    ] {
        let error = refused(&format!("{TENANT} --from -"), &manifest);
        let start: String = manifest.chars().take(200).collect();
        assert!(error.contains(expected), "{start}\n{error}");
        assert!(error.len() < 2000 && !error.contains('\u{1b}'), "{start}\n{error}");
    }
    // Neither does a name say which, nor does the base role guess.
    for line in [format!("{TENANT} --from - --name one"), format!("{IRSA} --from -")] {
        assert!(
            refused(&line, &twice).contains("several AWSAccounts named one"),
            "{line}"
        );
    }
    let others = twice + &one_account("other", "");
    assert!(run(&format!("{TENANT} --from - --name other"), &others).is_ok());
    let error = refused(&format!("{TENANT} --from - --name \u{1b}"), &hundreds);
    assert!(
        error.contains("no AWSAccount \\u{1b}, but n0, n1") && error.contains("and 280 more"),
        "{error}"
    );
}

#[test]
fn what_iam_would_find_too_long_is_refused_with_what_to_narrow() {
    let subnets: Vec<String> = (0..200).map(|n| format!("subnet-{n:017x}")).collect();
    let error = refused(
        &format!("{TENANT} --account-id 111122223333 --subnet-id {}", subnets.join(",")),
        "",
    );
    for part in ["6144", "it names 200 subnets", "leave out the list of subnets"] {
        assert!(error.contains(part), "{error}");
    }
    let roles: Vec<String> = (0..200)
        .map(|n| format!("arn:aws:iam::{n:012}:role/vpce-operator"))
        .collect();
    let error = refused(&format!("base --only permissions --role-arn {}", roles.join(",")), "");
    assert!(
        error.contains("it names 200 roles") && error.contains("arn:aws:iam::*:role/"),
        "{error}"
    );
    let tags: Vec<String> = (0..40)
        .map(|n| format!("--session-tag key-{n}={}", "v".repeat(60)))
        .collect();
    let error = refused(&format!("{TENANT} --account-id 111122223333 {}", tags.join(" ")), "");
    assert!(
        error.contains("the trust policy") && error.contains("session tags"),
        "{error}"
    );
}

#[test]
fn a_tenants_role_may_do_what_the_operator_calls_and_no_more() {
    let calls = [
        include_str!("../../aws/ec2.rs"),
        include_str!("../../aws/region/group_users.rs"),
    ]
    .concat();
    let called: BTreeSet<String> = [".call(\"", "ACTION: &str = \""]
        .into_iter()
        .flat_map(|start| calls.split(start).skip(1))
        .filter_map(|rest| Some(format!("ec2:{}", rest.split_once('"')?.0)))
        .collect();
    let policy = printed(&format!("{TENANT} --account-id 111122223333 --only permissions"), "");
    let allowed: BTreeSet<String> = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        })
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(allowed, called);
}

/// What the parameters are to be.
const PARAMETERS: [(&str, &str, &str); 5] = [
    (
        "AWS::AccountId",
        "data.aws_caller_identity.current.account_id",
        "111122223333",
    ),
    ("AWS::Partition", "data.aws_partition.current.partition", "aws-us-gov"),
    (
        "BaseRoleArn",
        "var.base_role_arn",
        "arn:aws-us-gov:iam::999999999999:role/base",
    ),
    ("ClusterId", "var.cluster_id", "c"),
    ("ExternalId", "var.external_id", "an-id"),
];

/// What CloudFormation makes of `Fn::Sub`.
fn substituted(value: &Value) -> Value {
    let sub = value.get("Fn::Sub").and_then(Value::as_str);
    match (sub, value) {
        (Some(text), _) => {
            let text = PARAMETERS.iter().fold(text.to_owned(), |text, (name, _, value)| {
                text.replace(&format!("${{{name}}}"), value)
            });
            json!(text.replace("${!", "${"))
        }
        (None, Value::Array(items)) => items.iter().map(substituted).collect(),
        (None, Value::Object(fields)) => fields
            .iter()
            .map(|(key, value)| (key.clone(), substituted(value)))
            .collect(),
        _ => value.clone(),
    }
}

/// What Terraform encodes as JSON, in the order of the file.
fn encoded(module: &str) -> Vec<Value> {
    module
        .split("jsonencode(")
        .skip(1)
        .map(|rest| {
            let text = rest.split("})\n").next().unwrap();
            let text = PARAMETERS.iter().fold(format!("{text}}}"), |text, (_, name, value)| {
                text.replace(&format!("${{{name}}}"), value)
            });
            serde_json::from_str(&text).unwrap()
        })
        .collect()
}

#[test]
fn with_parameters_the_role_of_each_account_is_the_one_that_is_printed_for_it() {
    let base = "arn:aws-us-gov:iam::999999999999:role/base";
    for flags in [
        "",
        "--external-id an-id --tag-session --source-identity --session-tag team=payments",
        "--region us-gov-west-1 --service com.amazonaws.vpce.*,com.amazonaws.us-gov-west-1.s3 --allow-private-dns",
        "--partition aws-us-gov --vpc-endpoint-type Gateway,Resource,ServiceNetwork --service-region us-gov-east-1 --adopt --adopt-legacy",
        "--tag-key team,cost-* --security-group-id sg-0a1b2c3d4e5f60718",
    ] {
        let expected = printed(
            &format!("tenant --cluster-id c --base-role-arn {base} --account-id 111122223333 {flags}"),
            "",
        );
        let (template, notes) = run(&format!("tenant --with-parameters --format cloudformation {flags}"), "").unwrap();
        let template: Value = serde_saphyr::from_str(&template).unwrap();
        let role = &template["Resources"]["VpceOperatorRole"]["Properties"];
        let both = json!({
            "permissions": substituted(&role["Policies"][0]["PolicyDocument"]),
            "trust": substituted(&role["AssumeRolePolicyDocument"]),
        });
        assert_eq!(both, expected, "{flags}");
        let has_id = flags.contains("--external-id");
        assert_eq!(notes.contains("without an external id"), !has_id, "{flags}");
        let parameters: Vec<&String> = template["Parameters"].as_object().unwrap().keys().collect();
        let external_id = has_id.then_some("ExternalId");
        let names: Vec<&str> = ["BaseRoleArn", "ClusterId"]
            .into_iter()
            .chain(external_id)
            .chain(["RoleName"])
            .collect();
        assert_eq!(parameters, names, "{flags}");

        let (module, _) = run(&format!("tenant --with-parameters --format terraform {flags}"), "").unwrap();
        let [trust, permissions] = encoded(&module).try_into().unwrap();
        assert_eq!(json!({"permissions": permissions, "trust": trust}), expected, "{flags}");
    }
}

#[test]
fn what_is_given_is_the_default_of_its_parameter() {
    let given = "--cluster-id my-cluster --base-role-arn arn:aws:iam::999999999999:role/base --external-id an-id";
    let (template, _) = run(&format!("tenant --with-parameters --format cloudformation {given}"), "").unwrap();
    let template: Value = serde_saphyr::from_str(&template).unwrap();
    let default = |name: &str| template["Parameters"][name]["Default"].clone();
    assert_eq!(default("ClusterId"), "my-cluster");
    assert_eq!(default("BaseRoleArn"), "arn:aws:iam::999999999999:role/base");
    assert_eq!(default("ExternalId"), "an-id");
    let (module, _) = run(&format!("tenant --with-parameters --format terraform {given}"), "").unwrap();
    for default in ["\"my-cluster\"", "\"arn:aws:iam::999999999999:role/base\"", "\"an-id\""] {
        assert!(
            module.contains(&format!("default     = {default}\n")),
            "{default}: {module}"
        );
    }
    for other in ["--account-id 111122223333", "--from -", "--only trust"] {
        let error = refused(&format!("tenant --with-parameters --format cloudformation {other}"), "");
        assert!(error.contains("cannot be used with"), "{other}: {error}");
    }
    let error = refused("tenant --with-parameters", "");
    assert!(error.contains("--format cloudformation or terraform"), "{error}");
}

#[test]
fn the_role_of_each_aws_account_is_written_into_a_file_of_its_own() {
    let folder = std::env::temp_dir().join(format!("vpce-roles-{}", std::process::id()));
    let to = format!("--output-directory {}", folder.display());
    let (listed, notes) = run(&format!("{TENANT} --from - --format terraform {to}"), MANIFEST).unwrap();
    let files: Vec<String> = ["payments.tf", "plain.tf"]
        .map(|name| folder.join(name).display().to_string())
        .into();
    assert_eq!(listed.lines().collect::<Vec<_>>(), files);
    assert!(notes.contains("without an external id"), "{notes}");
    for (file, name) in files.iter().zip(["payments", "plain"]) {
        let (one, _) = run(&format!("{TENANT} --from - --format terraform --name {name}"), MANIFEST).unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), one, "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();

    // Nothing is written where one of them makes no role.
    for (from, into, says) in [
        (
            "name: plain",
            "name: ../plain",
            "metadata.name is not a Kubernetes name",
        ),
        ("444455556666", "4444", "role_arn"),
    ] {
        let error = refused(&format!("{TENANT} --from - {to}"), &MANIFEST.replace(from, into));
        assert!(error.contains(says), "{error}");
        assert!(!folder.exists());
    }
}
