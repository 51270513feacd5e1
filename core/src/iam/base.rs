//! The base identity: it may assume the tenants' roles, and is assumed by the operator's
//! ServiceAccount.

use super::policy::{Policy, Statement};
use super::{Error, Policies, RolePattern, check, within_permissions, within_trust};
use crate::ids::{AccountId, Partition};

/// The base role.
#[derive(Debug, Clone)]
pub struct Base {
    /// The tenants' roles that it may assume.
    pub roles: Vec<RolePattern>,
    /// What comes along. With EKS Pod Identity tags do in any case.
    pub passed: Passed,
    /// Who may assume it.
    pub workload: Workload,
}

/// What the operator passes when it assumes a role; STS asks for a permission of its own for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Session tags: `sts:TagSession`.
    pub tags: bool,
    /// A source identity: `sts:SetSourceIdentity`.
    pub source_identity: bool,
}

/// How pods come by the base role.
#[derive(Debug, Clone)]
pub enum Workload {
    /// IAM roles for service accounts: by a token of the cluster's OIDC issuer.
    Irsa {
        /// The partition of the base role.
        partition: Partition,
        /// The account that the base role and the OIDC provider are in.
        account: AccountId,
        /// The issuer; a leading `https://` may be there.
        provider: String,
        /// The operator's.
        service_account: ServiceAccount,
    },
    /// EKS Pod Identity.
    PodIdentity {
        /// The ARN of the EKS cluster.
        cluster: String,
        /// The operator's.
        service_account: ServiceAccount,
    },
}

/// A Kubernetes ServiceAccount.
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    fn check(&self) -> Result<(), Error> {
        check::kubernetes_name("namespace", 63, &self.namespace)?;
        check::kubernetes_name("ServiceAccount", 253, &self.name)
    }
}

/// Both policies of the base role.
///
/// # Errors
/// When a value is not what it should be, or a policy would be longer than AWS takes.
pub fn base(base: &Base) -> Result<Policies, Error> {
    let trust = base_trust(&base.workload)?;
    let (what, partition) = match &base.workload {
        Workload::Irsa { partition, .. } => ("the base role", *partition),
        Workload::PodIdentity { cluster, .. } => (cluster.as_str(), check::eks_cluster(cluster)?),
    };
    if let Some(other) = base.roles.iter().find(|role| role.partition() != partition) {
        return Err(partitions(what, partition, other));
    }
    let passed = Passed {
        tags: base.passed.tags || matches!(base.workload, Workload::PodIdentity { .. }),
        ..base.passed
    };
    Ok(Policies {
        permissions: base_permissions(&base.roles, passed)?,
        trust,
    })
}

/// Who may assume the base role.
///
/// # Errors
/// When a value is not what it should be.
pub fn base_trust(workload: &Workload) -> Result<Policy, Error> {
    match workload {
        Workload::Irsa {
            partition,
            account,
            provider,
            service_account,
        } => irsa(*partition, account, provider, service_account),
        Workload::PodIdentity {
            cluster,
            service_account,
        } => pod_identity(cluster, service_account),
    }
}

/// What the base identity may do, however it comes to be: assume these roles, and pass something
/// along.
///
/// # Errors
/// When there are no roles, in several partitions, or so many that the policy would be longer than
/// AWS takes.
pub fn base_permissions(roles: &[RolePattern], passed: Passed) -> Result<Policy, Error> {
    let first = roles.first().ok_or(Error::NoRoles)?;
    if let Some(other) = roles.iter().find(|role| role.partition() != first.partition()) {
        return Err(partitions(&first.to_string(), first.partition(), other));
    }
    let Passed { tags, source_identity } = passed;
    let mut actions = vec!["sts:AssumeRole"];
    actions.extend(tags.then_some("sts:TagSession"));
    actions.extend(source_identity.then_some("sts:SetSourceIdentity"));
    let arns = roles.iter().map(ToString::to_string);
    let policy = Policy::new(vec![Statement::on("AssumeTenantRoles", &actions, arns)]);
    within_permissions(policy, || {
        format!(
            "it names {} roles; give the roles one name and use a pattern, such as arn:{}:iam::*:role/{}",
            roles.len(),
            first.partition(),
            super::TENANT_ROLE
        )
    })
}

fn irsa(
    partition: Partition,
    account: &AccountId,
    provider: &str,
    service_account: &ServiceAccount,
) -> Result<Policy, Error> {
    let provider = provider.strip_prefix("https://").unwrap_or(provider);
    let provider = provider.strip_suffix('/').unwrap_or(provider);
    check::oidc_provider(provider)?;
    service_account.check()?;
    let ServiceAccount { namespace, name } = service_account;
    // The audience is a name, not an endpoint: it is the same in aws-cn.
    let statement = Statement::by(
        "OperatorServiceAccount",
        &["sts:AssumeRoleWithWebIdentity"],
        "Federated",
        format!("arn:{partition}:iam::{account}:oidc-provider/{provider}"),
    )
    .when("StringEquals", format!("{provider}:aud"), ["sts.amazonaws.com"])
    .when(
        "StringEquals",
        format!("{provider}:sub"),
        [format!("system:serviceaccount:{namespace}:{name}")],
    );
    within_trust(Policy::new(vec![statement]), || "use shorter names".to_owned())
}

fn pod_identity(cluster: &str, service_account: &ServiceAccount) -> Result<Policy, Error> {
    check::eks_cluster(cluster)?;
    service_account.check()?;
    let ServiceAccount { namespace, name } = service_account;
    // The service principal has the same name in every partition.
    let statement = Statement::by(
        "OperatorServiceAccount",
        &["sts:AssumeRole", "sts:TagSession"],
        "Service",
        "pods.eks.amazonaws.com",
    )
    .when("StringEquals", "aws:RequestTag/eks-cluster-arn", [cluster])
    .when("StringEquals", "aws:RequestTag/kubernetes-namespace", [namespace])
    .when("StringEquals", "aws:RequestTag/kubernetes-service-account", [name]);
    within_trust(Policy::new(vec![statement]), || "use shorter names".to_owned())
}

fn partitions(one: &str, partition: Partition, other: &RolePattern) -> Error {
    Error::Partitions {
        one: one.to_owned(),
        one_partition: partition,
        other: other.to_string(),
        other_partition: other.partition(),
    }
}
