//! A role's two policies as JSON, as Terraform and as CloudFormation.

use serde::Serialize;
use vpce_core::iam::{Policies, Policy};
use vpce_core::ids::RoleArn;

/// The least and the most that IAM allows as a role's longest session, in seconds.
pub(super) const SHORTEST_SESSION: i32 = 3600;
const LONGEST_SESSION: i32 = 43_200;

/// The role that is to have the policies.
pub(super) struct Role<'a> {
    /// With `/` at both ends.
    path: String,
    name: &'a str,
    max_session_seconds: i32,
}

impl<'a> Role<'a> {
    pub(super) fn new(arn: Option<&'a RoleArn>, default_name: &'a str, session_seconds: i32) -> Self {
        let full = arn.and_then(|arn| arn.as_str().split_once(":role/"));
        let (path, name) = full.map_or((None, default_name), |(_, full)| match full.rsplit_once('/') {
            Some((path, name)) => (Some(path), name),
            None => (None, full),
        });
        Self {
            path: path.map_or_else(|| "/".to_owned(), |path| format!("/{path}/")),
            name,
            max_session_seconds: session_seconds.clamp(SHORTEST_SESSION, LONGEST_SESSION),
        }
    }
}

/// An object with both policies.
pub(super) fn json(policies: &Policies) -> String {
    #[derive(Serialize)]
    struct Both<'a> {
        permissions: &'a Policy,
        trust: &'a Policy,
    }
    let Policies { permissions, trust } = policies;
    serde_json::to_string_pretty(&Both { permissions, trust }).expect("policies are JSON")
}

/// A policy as HCL, whose objects may be spelt as JSON's.
pub(super) fn hcl(policy: &Policy) -> String {
    let text = policy.to_string().replace('\n', "\n  ");
    // The values of policies have no such characters, but then HCL would read them as templates.
    text.replace("${", "$${").replace("%{", "%%{")
}

/// The role as a Terraform resource.
pub(super) fn terraform(role: &Role<'_>, policies: &Policies) -> String {
    format!(
        r#"resource "aws_iam_role" "vpce_operator" {{
  name                 = "{name}"
  path                 = "{path}"
  max_session_duration = {seconds}

  assume_role_policy = jsonencode({trust})
}}

resource "aws_iam_role_policy" "vpce_operator" {{
  name = "{name}"
  role = aws_iam_role.vpce_operator.id

  policy = jsonencode({permissions})
}}
"#,
        name = role.name,
        path = role.path,
        seconds = role.max_session_seconds,
        trust = hcl(&policies.trust),
        permissions = hcl(&policies.permissions),
    )
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Template<'a> {
    #[serde(rename = "AWSTemplateFormatVersion")]
    version: &'a str,
    resources: Resources<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resources<'a> {
    vpce_operator_role: Resource<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resource<'a> {
    r#type: &'a str,
    properties: Properties<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Properties<'a> {
    role_name: &'a str,
    path: &'a str,
    max_session_duration: i32,
    assume_role_policy_document: &'a Policy,
    policies: [Inline<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inline<'a> {
    policy_name: &'a str,
    policy_document: &'a Policy,
}

/// A template in YAML.
pub(super) fn cloudformation(role: &Role<'_>, policies: &Policies) -> String {
    let template = Template {
        version: "2010-09-09",
        resources: Resources {
            vpce_operator_role: Resource {
                r#type: "AWS::IAM::Role",
                properties: Properties {
                    role_name: role.name,
                    path: &role.path,
                    max_session_duration: role.max_session_seconds,
                    assume_role_policy_document: &policies.trust,
                    policies: [Inline {
                        policy_name: role.name,
                        policy_document: &policies.permissions,
                    }],
                },
            },
        },
    };
    serde_saphyr::to_string(&template).expect("strings, numbers and maps are YAML")
}
