//! Prints the IAM policies of the operator's base role and of a tenant's role, and the service
//! control policy that reserves the operator's tags, from flags or from an AWSAccount manifest.

pub(super) mod manifest;
mod many;
mod render;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use vpce_core::api::{AWSAccountSpec, EndpointType};
use vpce_core::iam::{
    self, Base, IdentityArn, Passed, Policies, RolePattern, Scope, ServiceAccount, Tenant, Trust, Workload,
};
use vpce_core::ids::{AccountId, InvalidId, Partition, RoleArn};
use vpce_core::tags::Clusters;

use manifest::Account;
use render::Role;

/// Of which role.
#[derive(Debug, Subcommand)]
pub enum IamPolicy {
    /// The operator's own role: it may only assume the tenants' roles.
    Base(Box<BaseFlags>),
    /// A tenant's role, in the AWS account that an AWSAccount names: what endpoints and their
    /// security groups need.
    Tenant(Box<TenantFlags>),
    /// A service control policy (AWS Organizations): only the operator's roles may set or remove
    /// tags under `silvermullet.com/`.
    Scp(Box<ScpFlags>),
}

/// What the service control policy is made from.
#[derive(Debug, Args)]
pub struct ScpFlags {
    /// A tenant's role, or a role that may fix tags; may be given several times. `*` may stand for
    /// the account, and in the name.
    #[arg(long = "role-arn", value_name = "ARN", value_delimiter = ',')]
    pub role_arns: Vec<String>,

    /// Use the roles of the AWSAccounts in this YAML file, in addition to --role-arn; `-`: standard
    /// input.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// How, and which of the two.
#[derive(Debug, Args)]
pub struct OutputFlags {
    /// Output format: JSON, or a role with both policies for Terraform or CloudFormation.
    #[arg(long, value_enum, default_value = "json")]
    pub format: Format,

    /// Print only one policy, as JSON that the AWS CLI accepts as a file.
    #[arg(long, value_enum)]
    pub only: Option<Part>,
}

/// The output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An object with `permissions` and `trust`; with `--only` the one policy.
    Json,
    /// HCL.
    Terraform,
    /// A template in YAML.
    Cloudformation,
}

/// One of a role's two policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What the role may do.
    Permissions,
    /// Who may assume it.
    Trust,
}

/// What the base role's policies are made from.
#[derive(Debug, Args)]
pub struct BaseFlags {
    /// A tenant's role that may be assumed; may be given several times. `*` may stand for the
    /// account, and in the name.
    #[arg(
        long = "role-arn",
        value_name = "ARN",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub role_arns: Vec<String>,

    /// Use the roles, and whether session tags are passed, of the AWSAccounts in this YAML file;
    /// `-`: standard input.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// Use only this AWSAccount of the file.
    #[arg(long, requires = "from")]
    pub name: Option<String>,

    /// AWSAccounts have `session_tags`. With EKS Pod Identity tags are passed in any case.
    #[arg(long, conflicts_with = "from")]
    pub tag_session: bool,

    /// The operator runs with --source-identity.
    #[arg(long)]
    pub source_identity: bool,

    /// AWS account of the base role, which is then named vpce-operator-base.
    #[arg(long)]
    pub account_id: Option<AccountId>,

    /// The ARN of the base role, if it has another name.
    #[arg(long, conflicts_with = "account_id")]
    pub base_role_arn: Option<RoleArn>,

    /// AWS partition of the base role. Default: that of the ARNs.
    #[arg(long, value_parser = partition())]
    pub partition: Option<Partition>,

    /// IRSA: the URL of the cluster's OIDC issuer.
    #[arg(long, conflicts_with = "eks_cluster_arn")]
    pub oidc_provider: Option<String>,

    /// EKS Pod Identity: the ARN of the EKS cluster.
    #[arg(long)]
    pub eks_cluster_arn: Option<String>,

    /// The operator's namespace.
    #[arg(long, default_value = "vpce-system")]
    pub namespace: String,

    /// The operator's ServiceAccount.
    #[arg(long, default_value = "vpce-operator")]
    pub service_account: String,

    /// Output options.
    #[command(flatten)]
    pub output: OutputFlags,
}

/// What the policies of a tenant's role are made from.
#[derive(Debug, Args)]
pub struct TenantFlags {
    /// AWS account of the role, which is then named vpce-operator.
    #[arg(long, conflicts_with_all = ["role_arn", "from"])]
    pub account_id: Option<AccountId>,

    /// The ARN of the role, if it has another name.
    #[arg(long, conflicts_with = "from")]
    pub role_arn: Option<RoleArn>,

    /// Use role, external id, session tags and guardrails of the AWSAccount in this YAML file; `-`:
    /// standard input.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// Use this AWSAccount of the file.
    #[arg(long, requires = "from")]
    pub name: Option<String>,

    /// AWS partition of the role. Default: that of the ARNs.
    #[arg(long, value_parser = partition())]
    pub partition: Option<Partition>,

    /// The operator's cluster id: its setting, or the UID of the namespace kube-system.
    #[arg(long)]
    pub cluster_id: Option<String>,

    /// A former cluster whose endpoints are adopted: the operator's setting --adopt-from; may be
    /// given several times.
    #[arg(long, value_name = "CLUSTER_ID", value_delimiter = ',', requires = "cluster_id")]
    pub adopt_from: Vec<String>,

    /// The base role; outside of clusters, an IAM user is possible too.
    #[arg(long)]
    pub base_role_arn: Option<IdentityArn>,

    /// The base identity's session has transitive tags, as with EKS Pod Identity.
    #[arg(long)]
    pub tag_session: bool,

    /// `external_id` of the AWSAccount.
    #[arg(long, conflicts_with = "from")]
    pub external_id: Option<String>,

    /// One of the AWSAccount's `session_tags`, as KEY=VALUE; may be given several times.
    #[arg(long = "session-tag", value_name = "KEY=VALUE", value_parser = tag, conflicts_with = "from")]
    pub session_tags: Vec<(String, String)>,

    /// The operator runs with --source-identity.
    #[arg(long)]
    pub source_identity: bool,

    /// Only in this region; may be given several times.
    #[arg(
        long = "region",
        value_name = "REGION",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub regions: Vec<String>,

    /// Endpoints only in this VPC; may be given several times.
    #[arg(
        long = "vpc-id",
        value_name = "VPC_ID",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub vpc_ids: Vec<String>,

    /// Endpoints only in this subnet; may be given several times.
    #[arg(
        long = "subnet-id",
        value_name = "SUBNET_ID",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub subnet_ids: Vec<String>,

    /// Only this security group, besides the operator's own; may be given several times.
    #[arg(
        long = "security-group-id",
        value_name = "GROUP_ID",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub security_group_ids: Vec<String>,

    /// Endpoints only for services whose full name matches this pattern; may be given several
    /// times.
    #[arg(
        long = "service",
        value_name = "PATTERN",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub services: Vec<String>,

    /// Endpoints of this type as well, where it needs more: Gateway, Resource or ServiceNetwork;
    /// may be given several times.
    #[arg(
        long = "vpc-endpoint-type",
        value_name = "TYPE",
        value_delimiter = ',',
        value_parser = endpoint_type(),
        conflicts_with = "from"
    )]
    pub types: Vec<EndpointType>,

    /// Endpoints may connect to services of this other region (`allowed_service_regions`); may be
    /// given several times.
    #[arg(
        long = "service-region",
        value_name = "REGION",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub service_regions: Vec<String>,

    /// Gateway endpoints only in this route table; may be given several times.
    #[arg(
        long = "route-table-id",
        value_name = "ROUTE_TABLE_ID",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub route_table_ids: Vec<String>,

    /// Endpoints that exist already may be adopted, where they carry the tag
    /// silvermullet.com/adopt for an object of the cluster.
    #[arg(long)]
    pub adopt: bool,

    /// What the Python operator created may be claimed: `adopt_legacy` of the AWSAccount.
    #[arg(long, conflicts_with = "from")]
    pub adopt_legacy: bool,

    /// Endpoints may have only tags whose key matches this pattern, besides the AWSAccount's and
    /// the operator's own; may be given several times.
    #[arg(
        long = "tag-key",
        value_name = "PATTERN",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    pub tag_keys: Vec<String>,

    /// Endpoints may turn on private DNS: `allow_private_dns` of the AWSAccount.
    #[arg(long, conflicts_with = "from")]
    pub allow_private_dns: bool,

    /// The AWSAccount has `networks`: the role may read VPCs, subnets and endpoint services.
    #[arg(long, conflicts_with = "from")]
    pub read_networks: bool,

    /// One role for many accounts: what differs between them is a parameter of the template
    /// (CloudFormation StackSets) or a variable of the module (Terraform). The cluster id, the base
    /// role and the external id that are given become its default.
    #[arg(long, conflicts_with_all = ["account_id", "role_arn", "from", "adopt_from", "only"])]
    pub with_parameters: bool,

    /// Write the role of each AWSAccount of the file into a file of its own in this directory,
    /// named after the AWSAccount.
    #[arg(long, value_name = "DIRECTORY", requires = "from")]
    pub output_directory: Option<PathBuf>,

    /// Output options.
    #[command(flatten)]
    pub output: OutputFlags,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE, such as team=payments")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Why no policy is printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Flags that are needed, or do not go together.
    #[error("{0}")]
    Flags(String),
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than any that is meant.
    #[error("{file} is longer than {limit} bytes")]
    TooLong {
        /// Which.
        file: String,
        /// What is read.
        limit: u64,
    },
    /// The file is no YAML, or more of it than anybody writes.
    #[error("{file} cannot be read as YAML: {why}")]
    Yaml {
        /// Which.
        file: String,
        /// Where, and what.
        why: String,
    },
    /// The file does not say which AWSAccount.
    #[error("{file} {problem}")]
    Which {
        /// Which file.
        file: String,
        /// What is in it.
        problem: String,
    },
    /// An AWSAccount that the API server would refuse.
    #[error("AWSAccount {account}: {problem}")]
    Account {
        /// Its name.
        account: String,
        /// What is wrong.
        problem: String,
    },
    /// An ARN or id is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// There is no such policy.
    #[error(transparent)]
    Policy(#[from] iam::Error),
    /// A file cannot be written.
    #[error("cannot write {file}")]
    WriteFile {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It cannot be printed.
    #[error("cannot print the policy")]
    Write(#[source] io::Error),
}

/// Prints what is asked for to `out`, and what to know of it to `notes`. `input` is read where a
/// flag says `-`.
///
/// # Errors
/// Where flags or manifest make no policy that AWS would take.
pub(super) fn print(
    asked: &IamPolicy,
    input: impl Read,
    mut out: impl Write,
    mut notes: impl Write,
) -> Result<(), Error> {
    let answer = match asked {
        IamPolicy::Base(flags) => fits(&flags.output).and_then(|()| base(flags, input))?,
        IamPolicy::Tenant(flags) => fits(&flags.output).and_then(|()| tenant(flags, input))?,
        IamPolicy::Scp(flags) => scp(flags, input)?,
    };
    for note in answer.notes {
        writeln!(notes, "vpce-operator: {note}").map_err(Error::Write)?;
    }
    writeln!(out, "{}", answer.text.trim_end()).map_err(Error::Write)
}

struct Answer {
    text: String,
    notes: Vec<&'static str>,
}

fn base(flags: &BaseFlags, input: impl Read) -> Result<Answer, Error> {
    let (roles, tags) = match &flags.from {
        Some(file) => {
            let accounts = manifest::all(file, flags.name.as_deref(), input)?;
            let tags = accounts.iter().any(|account| !account.spec.session_tags.is_empty());
            let roles = accounts.iter().map(|account| RolePattern::from(&account.role));
            (roles.collect(), tags)
        }
        None => {
            let roles: Result<Vec<_>, _> = flags.role_arns.iter().map(|arn| arn.parse()).collect();
            (roles?, flags.tag_session)
        }
    };
    let passed = Passed {
        tags,
        source_identity: flags.source_identity,
    };
    if roles.is_empty() && flags.output.only != Some(Part::Trust) {
        return Err(missing("--role-arn, a tenant's role that may be assumed, or --from"));
    }
    let own = own_role(flags, &roles)?;
    let service_account = ServiceAccount {
        namespace: flags.namespace.clone(),
        name: flags.service_account.clone(),
    };
    let workload = match (&flags.oidc_provider, &flags.eks_cluster_arn) {
        (Some(provider), _) => {
            let role = own
                .as_ref()
                .ok_or_else(|| missing("--account-id of the base role, since the OIDC provider is in that account"))?;
            Some(Workload::Irsa {
                partition: role.partition(),
                account: role.account().clone(),
                provider: provider.clone(),
                service_account,
            })
        }
        (None, Some(cluster)) => Some(Workload::PodIdentity {
            cluster: cluster.clone(),
            service_account,
        }),
        (None, None) => None,
    };
    let text = match (workload, flags.output.only) {
        (None, Some(Part::Permissions)) => iam::base_permissions(&roles, passed)?.to_string(),
        (None, _) => {
            return Err(missing(
                "--oidc-provider (IRSA) or --eks-cluster-arn (EKS Pod Identity), which say who may assume the base role; \
                 --only permissions does without",
            ));
        }
        (Some(workload), Some(Part::Trust)) => iam::base_trust(&workload)?.to_string(),
        (Some(workload), only) => {
            let policies = iam::base(&Base {
                roles,
                passed,
                workload,
            })?;
            let role = Role::new(own.as_ref(), iam::BASE_ROLE, render::SHORTEST_SESSION);
            printed(role, &policies, flags.output.format, only)?
        }
    };
    Ok(Answer {
        text,
        notes: Vec::new(),
    })
}

/// The base role itself, where flags tell its account.
fn own_role(flags: &BaseFlags, roles: &[RolePattern]) -> Result<Option<RoleArn>, Error> {
    let role = match (&flags.base_role_arn, &flags.account_id) {
        (Some(role), _) => role.clone(),
        (None, Some(account)) => {
            let beside = roles.first().map_or(Partition::Aws, RolePattern::partition);
            let partition = flags.partition.unwrap_or(beside);
            format!("arn:{partition}:iam::{account}:role/{}", iam::BASE_ROLE).parse()?
        }
        (None, None) => {
            if let (Some(partition), Some(role)) = (flags.partition, roles.first()) {
                same_partition(partition, role.partition(), &role.to_string())?;
            }
            return Ok(None);
        }
    };
    if let Some(partition) = flags.partition {
        same_partition(partition, role.partition(), role.as_str())?;
    }
    Ok(Some(role))
}

fn tenant(flags: &TenantFlags, input: impl Read) -> Result<Answer, Error> {
    if flags.with_parameters {
        return many::print(flags);
    }
    let account = match &flags.from {
        Some(file) => match &flags.output_directory {
            Some(directory) => {
                let accounts = manifest::all(file, flags.name.as_deref(), input)?;
                return write_each(flags, &accounts, directory);
            }
            None => manifest::one(file, flags.name.as_deref(), input)?,
        },
        None => Account::of_flags(flags)?,
    };
    Ok(Answer {
        text: tenant_role(flags, &account)?,
        notes: missing_external_id(&account.spec, flags.output.only)
            .into_iter()
            .collect(),
    })
}

/// Writes a file for each AWSAccount, and lists them.
fn write_each(flags: &TenantFlags, accounts: &[Account], directory: &Path) -> Result<Answer, Error> {
    let extension = match flags.output.format {
        Format::Json => "json",
        Format::Terraform => "tf",
        Format::Cloudformation => "yaml",
    };
    let failed = |file: &Path, source| Error::WriteFile {
        file: file.display().to_string(),
        source,
    };
    // All of them are made before the first is written.
    let roles: Vec<(PathBuf, String)> = accounts
        .iter()
        .map(|account| {
            let file = format!("{}.{extension}", file_name(account)?);
            Ok((directory.join(file), tenant_role(flags, account)?))
        })
        .collect::<Result<_, Error>>()?;
    fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
    for (file, text) in &roles {
        fs::write(file, format!("{}\n", text.trim_end())).map_err(|source| failed(file, source))?;
    }
    let files: Vec<String> = roles.iter().map(|(file, _)| file.display().to_string()).collect();
    let notes = accounts
        .iter()
        .find_map(|account| missing_external_id(&account.spec, flags.output.only));
    Ok(Answer {
        text: files.join("\n"),
        notes: notes.into_iter().collect(),
    })
}

/// The name of an AWSAccount, which becomes the name of a file.
fn file_name(account: &Account) -> Result<&str, Error> {
    let name = account.name.as_str();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.chars().all(fits) {
        return Err(Error::Account {
            account: name.to_owned(),
            problem: "metadata.name is not a Kubernetes name (lower-case letters, digits, - and .)".to_owned(),
        });
    }
    Ok(name)
}

/// The role of an AWSAccount, or one of its policies.
fn tenant_role(flags: &TenantFlags, account: &Account) -> Result<String, Error> {
    let Account { role, spec, .. } = account;
    if let Some(partition) = flags.partition {
        same_partition(partition, role.partition(), role.as_str())?;
    }
    let scope = scope(flags, spec);
    let cluster = flags
        .cluster_id
        .clone()
        .map(|own| Clusters {
            own,
            former: flags.adopt_from.clone(),
        })
        .ok_or_else(|| missing("--cluster-id, the operator's setting or the UID of the namespace kube-system"));
    let trust = flags
        .base_role_arn
        .clone()
        .map(|base| trust_in(base, flags, spec))
        .ok_or_else(|| missing("--base-role-arn, which the role is to trust"));
    Ok(match flags.output.only {
        Some(Part::Permissions) => iam::tenant_permissions(role, &cluster?, &scope)?.to_string(),
        Some(Part::Trust) => iam::tenant_trust(role, &trust?)?.to_string(),
        None => {
            let described = Role::new(Some(role), iam::TENANT_ROLE, spec.session_duration_seconds);
            let policies = iam::tenant(&Tenant {
                role: role.clone(),
                cluster: cluster?,
                scope,
                trust: trust?,
            })?;
            printed(described, &policies, flags.output.format, None)?
        }
    })
}

fn scope(flags: &TenantFlags, spec: &AWSAccountSpec) -> Scope {
    let scope = Scope::of(spec);
    Scope {
        adoption: flags.adopt,
        networks: flags.read_networks || scope.networks,
        ..scope
    }
}

fn trust_in(base: IdentityArn, flags: &TenantFlags, spec: &AWSAccountSpec) -> Trust {
    Trust {
        base,
        external_id: spec.external_id.clone(),
        session_tags: spec.session_tags.clone(),
        base_is_tagged: flags.tag_session,
        source_identity: flags.source_identity,
    }
}

/// What to know of a role that anybody's AWSAccount can name.
fn missing_external_id(spec: &AWSAccountSpec, only: Option<Part>) -> Option<&'static str> {
    (spec.external_id.is_none() && only != Some(Part::Permissions))
        .then_some("without an external id, any AWSAccount can name this role; agree on one")
}

fn scp(flags: &ScpFlags, input: impl Read) -> Result<Answer, Error> {
    let mut roles: Vec<RolePattern> = flags
        .role_arns
        .iter()
        .map(|arn| arn.parse())
        .collect::<Result<_, _>>()?;
    if let Some(file) = &flags.from {
        let accounts = manifest::all(file, None, input)?;
        roles.extend(accounts.iter().map(|account| RolePattern::from(&account.role)));
    }
    if roles.is_empty() {
        return Err(missing(
            "--role-arn, a role that may set the operator's tags, or --from",
        ));
    }
    Ok(Answer {
        text: iam::scp(&roles)?.to_string(),
        notes: Vec::new(),
    })
}

fn printed(role: Role<'_>, policies: &Policies, format: Format, only: Option<Part>) -> Result<String, Error> {
    Ok(match (only, format) {
        (Some(Part::Permissions), _) => policies.permissions.to_string(),
        (Some(Part::Trust), _) => policies.trust.to_string(),
        (None, Format::Json) => render::json(policies),
        (None, Format::Terraform) => render::terraform(&role, policies),
        (None, Format::Cloudformation) => render::cloudformation(&role, policies),
    })
}

/// One policy alone is no role, so that only JSON can say it.
fn fits(output: &OutputFlags) -> Result<(), Error> {
    if output.only.is_some() && output.format != Format::Json {
        return Err(Error::Flags(
            "--only goes with --format json: the other formats print a role, which needs both policies".to_owned(),
        ));
    }
    Ok(())
}

/// Parses a type of endpoints, and lists them all in the help.
fn endpoint_type() -> impl TypedValueParser<Value = EndpointType> {
    PossibleValuesParser::new(EndpointType::ALL.map(EndpointType::as_str))
        .try_map(|text| EndpointType::parse(&text).ok_or("a type of endpoints"))
}

/// Parses a partition, and lists them all in the help.
fn partition() -> impl TypedValueParser<Value = Partition> {
    PossibleValuesParser::new(Partition::ALL.map(Partition::as_str)).try_map(|text| text.parse())
}

fn same_partition(flag: Partition, partition: Partition, arn: &str) -> Result<(), Error> {
    if flag == partition {
        return Ok(());
    }
    Err(iam::Error::Partitions {
        one: "--partition".to_owned(),
        one_partition: flag,
        other: arn.to_owned(),
        other_partition: partition,
    }
    .into())
}

fn missing(what: &str) -> Error {
    Error::Flags(format!("missing: {what}"))
}
