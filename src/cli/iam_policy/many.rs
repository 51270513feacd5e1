//! The tenant role of many AWS accounts: its policies once, with parameters for what differs, as a
//! CloudFormation template for StackSets and as a Terraform module.

use serde_json::{Map, Value, json};
use vpce_core::api::AWSAccountSpec;
use vpce_core::iam::{self, IdentityArn, Policies, Policy, Tenant, Trust};
use vpce_core::ids::{Partition, RoleArn};
use vpce_core::tags::Clusters;

use super::{Answer, Error, Format, TenantFlags, manifest, missing_external_id, render, scope, trust_in};

/// What differs between accounts, clusters and organizations.
#[derive(Clone, Copy)]
enum Parameter {
    BaseRoleArn,
    ClusterId,
    ExternalId,
    AccountId,
    Partition,
}

impl Parameter {
    /// In the order in which they are replaced: the ARN has an account and a partition in it.
    const ALL: [Self; 5] = [
        Self::BaseRoleArn,
        Self::ClusterId,
        Self::ExternalId,
        Self::AccountId,
        Self::Partition,
    ];

    /// What the policies are made with, until the parameter takes its place.
    fn placeholder(self, partition: Partition) -> String {
        match self {
            Self::BaseRoleArn => format!("arn:{partition}:iam::000000000000:role/placeholder-base-role-arn"),
            Self::ClusterId => "placeholder-cluster-id".to_owned(),
            Self::ExternalId => "placeholder-external-id".to_owned(),
            Self::AccountId => "000000000000".to_owned(),
            Self::Partition => format!("arn:{partition}:"),
        }
    }

    const fn in_cloudformation(self) -> &'static str {
        match self {
            Self::BaseRoleArn => "${BaseRoleArn}",
            Self::ClusterId => "${ClusterId}",
            Self::ExternalId => "${ExternalId}",
            Self::AccountId => "${AWS::AccountId}",
            Self::Partition => "arn:${AWS::Partition}:",
        }
    }

    const fn in_terraform(self) -> &'static str {
        match self {
            Self::BaseRoleArn => "${var.base_role_arn}",
            Self::ClusterId => "${var.cluster_id}",
            Self::ExternalId => "${var.external_id}",
            Self::AccountId => "${data.aws_caller_identity.current.account_id}",
            Self::Partition => "arn:${data.aws_partition.current.partition}:",
        }
    }
}

/// One that is set when the template is deployed.
struct Input {
    parameter: Parameter,
    description: &'static str,
    /// An expression that the value has to match, without what ends a string.
    pattern: &'static str,
    default: Option<String>,
}

impl Input {
    fn in_cloudformation(&self) -> (String, Value) {
        let name = self.parameter.in_cloudformation();
        let mut described = json!({
            "Type": "String",
            "Description": self.description,
            "AllowedPattern": self.pattern,
        });
        if let Some(default) = &self.default {
            described["Default"] = json!(default);
        }
        (name.trim_matches(['$', '{', '}']).to_owned(), described)
    }

    fn in_terraform(&self) -> String {
        let name = self.parameter.in_terraform().trim_matches(['$', '{', '}']);
        let name = name.trim_start_matches("var.");
        let default = self
            .default
            .as_ref()
            .map(|default| format!("  default     = {}\n", json!(default)))
            .unwrap_or_default();
        let Self {
            description, pattern, ..
        } = self;
        format!(
            r#"variable "{name}" {{
  description = "{description}"
  type        = string
{default}
  validation {{
    condition     = can(regex("^{pattern}$", var.{name}))
    error_message = "It has to match {pattern}"
  }}
}}

"#
        )
    }
}

/// The role as a template with parameters.
pub(super) fn print(flags: &TenantFlags) -> Result<Answer, Error> {
    let spec = manifest::spec_of_flags(flags);
    let inputs = inputs(flags);
    // The regions and services that are named have to be of one partition.
    let base = flags.base_role_arn.as_ref().map(IdentityArn::partition);
    let region = || flags.regions.first().map(|region| Partition::of_region(region));
    let partition = flags.partition.or(base).or_else(region).unwrap_or(Partition::Aws);
    let policies = policies(flags, &spec, partition)?;
    let text = match flags.output.format {
        Format::Cloudformation => cloudformation(&inputs, &policies, partition),
        Format::Terraform => terraform(&inputs, &policies, partition),
        Format::Json => {
            return Err(Error::Flags(
                "--with-parameters goes with --format cloudformation or terraform: JSON has no parameters".to_owned(),
            ));
        }
    };
    Ok(Answer {
        text,
        notes: missing_external_id(&spec, None).into_iter().collect(),
    })
}

fn inputs(flags: &TenantFlags) -> Vec<Input> {
    let base = Input {
        parameter: Parameter::BaseRoleArn,
        description: "The ARN of the operator's base role, which may assume this one",
        pattern: "arn:[a-z-]+:iam::[0-9]{12}:(role|user)/.+",
        default: flags.base_role_arn.as_ref().map(ToString::to_string),
    };
    let cluster = Input {
        parameter: Parameter::ClusterId,
        description: "The operator's cluster id: its setting, or the UID of the namespace kube-system",
        pattern: "[A-Za-z0-9._-]{1,64}",
        default: flags.cluster_id.clone(),
    };
    let external_id = flags.external_id.clone().map(|id| Input {
        parameter: Parameter::ExternalId,
        description: "external_id of the AWSAccounts",
        pattern: "[A-Za-z0-9+=,.@:/_-]{2,1224}",
        default: Some(id),
    });
    [base, cluster].into_iter().chain(external_id).collect()
}

/// What they are with placeholders.
fn policies(flags: &TenantFlags, spec: &AWSAccountSpec, partition: Partition) -> Result<Policies, Error> {
    let account = Parameter::AccountId.placeholder(partition);
    let role: RoleArn = format!("arn:{partition}:iam::{account}:role/{}", iam::TENANT_ROLE).parse()?;
    Ok(iam::tenant(&Tenant {
        role,
        cluster: Clusters::from(Parameter::ClusterId.placeholder(partition).as_str()),
        scope: scope(flags, spec),
        trust: Trust {
            external_id: spec
                .external_id
                .as_ref()
                .map(|_| Parameter::ExternalId.placeholder(partition)),
            ..trust_in(Parameter::BaseRoleArn.placeholder(partition).parse()?, flags, spec)
        },
    })?)
}

fn cloudformation(inputs: &[Input], policies: &Policies, partition: Partition) -> String {
    let mut parameters: Map<String, Value> = inputs.iter().map(Input::in_cloudformation).collect();
    parameters.insert(
        "RoleName".to_owned(),
        json!({"Type": "String", "Description": "The name of the role in every account", "Default": iam::TENANT_ROLE}),
    );
    let name = json!({"Ref": "RoleName"});
    let template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The role that vpce-operator assumes in this account to manage VPC endpoints",
        "Parameters": parameters,
        "Resources": {"VpceOperatorRole": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": name,
                "MaxSessionDuration": render::SHORTEST_SESSION,
                "AssumeRolePolicyDocument": substituted(policies.trust.to_json(), partition),
                "Policies": [{"PolicyName": name, "PolicyDocument": substituted(policies.permissions.to_json(), partition)}],
            },
        }},
        "Outputs": {"RoleArn": {
            "Description": "role_arn of the AWSAccount",
            "Value": {"Fn::GetAtt": ["VpceOperatorRole", "Arn"]},
        }},
    });
    serde_saphyr::to_string(&template).expect("strings, numbers and maps are YAML")
}

/// With `Fn::Sub` for each string that has a parameter in it.
fn substituted(value: Value, partition: Partition) -> Value {
    match value {
        Value::String(text) => {
            // `${!` is how Fn::Sub spells what it is not to replace.
            let replaced = replaced(&text.replace("${", "${!"), partition, Parameter::in_cloudformation);
            match replaced.contains("${") {
                true => json!({"Fn::Sub": replaced}),
                false => Value::String(text),
            }
        }
        Value::Array(items) => items.into_iter().map(|item| substituted(item, partition)).collect(),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(key, value)| (key, substituted(value, partition)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

fn terraform(inputs: &[Input], policies: &Policies, partition: Partition) -> String {
    let encoded = |policy: &Policy| replaced(&render::hcl(policy), partition, Parameter::in_terraform);
    let variables: String = inputs.iter().map(Input::in_terraform).collect();
    format!(
        r#"{variables}variable "role_name" {{
  description = "The name of the role in every account"
  type        = string
  default     = "{name}"
}}

data "aws_caller_identity" "current" {{}}

data "aws_partition" "current" {{}}

resource "aws_iam_role" "vpce_operator" {{
  name                 = var.role_name
  max_session_duration = {seconds}

  assume_role_policy = jsonencode({trust})
}}

resource "aws_iam_role_policy" "vpce_operator" {{
  name = var.role_name
  role = aws_iam_role.vpce_operator.id

  policy = jsonencode({permissions})
}}

output "role_arn" {{
  description = "role_arn of the AWSAccount"
  value       = aws_iam_role.vpce_operator.arn
}}
"#,
        name = iam::TENANT_ROLE,
        seconds = render::SHORTEST_SESSION,
        trust = encoded(&policies.trust),
        permissions = encoded(&policies.permissions),
    )
}

fn replaced(text: &str, partition: Partition, with: fn(Parameter) -> &'static str) -> String {
    let mut text = text.to_owned();
    for parameter in Parameter::ALL {
        text = text.replace(&parameter.placeholder(partition), with(parameter));
    }
    text
}
