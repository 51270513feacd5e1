//! VPC Lattice, as far as endpoints lead to it: resource configurations and service networks, with
//! the accounts that they are shared with.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::endpoint::{Endpoint, EndpointType};
use crate::aws::error::ApiError;
use crate::aws::filter::glob;

/// What a resource configuration stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResourceConfigurationType {
    /// One resource.
    #[default]
    Single,
    /// Several, each of them a child.
    Group,
    /// One of a group.
    Child,
    /// A resource of an AWS service.
    Arn,
}

/// A resource configuration.
#[derive(Debug, Clone, Default)]
pub struct ResourceConfigurationSpec {
    /// What it stands for.
    pub kind: ResourceConfigurationType,
    /// The ARN of the group that a child belongs to.
    pub group: Option<String>,
    /// The VPC of its resource gateway, in which no endpoint can lead to it.
    pub gateway_vpc_id: Option<String>,
    /// Its custom domain name, to which private DNS gives an endpoint's addresses.
    pub domain_name: Option<String>,
    /// Whether its owner has proven that the domain is theirs.
    pub domain_verified: bool,
}

/// Whether a resource answers, as DescribeVpcEndpointAssociations has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accessibility {
    /// It does.
    Available,
    /// Not yet.
    Pending,
    /// It does not: a code and the reason.
    Failed(String, String),
}

impl Accessibility {
    pub(super) fn wire(&self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Pending => "PENDING",
            Self::Failed(..) => "FAILED",
        }
    }
}

#[derive(Debug, Clone)]
struct ResourceConfiguration {
    spec: ResourceConfigurationSpec,
    accessibility: Accessibility,
}

/// The resource configurations and service networks of all accounts, by ARN.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lattice {
    configurations: BTreeMap<String, ResourceConfiguration>,
    /// With the ARNs of their resource configurations.
    networks: BTreeMap<String, BTreeSet<String>>,
    /// ARNs and the accounts that they are shared with.
    shares: BTreeSet<(String, String)>,
}

/// What an endpoint leads to: one resource.
#[derive(Debug)]
pub(super) struct Association {
    pub(super) id: String,
    pub(super) endpoint_id: String,
    pub(super) resource_arn: String,
    pub(super) group_arn: Option<String>,
    pub(super) network_arn: Option<String>,
    pub(super) accessibility: Accessibility,
    pub(super) dns_name: String,
    pub(super) private_dns_name: Option<String>,
}

impl Association {
    /// `rcfg-...`, or the name of the service network.
    pub(super) fn last_part(arn: &str) -> &str {
        arn.rsplit('/').next().unwrap_or_default()
    }
}

impl Lattice {
    pub(crate) fn add_configuration(&mut self, arn: &str, spec: ResourceConfigurationSpec) {
        let configuration = ResourceConfiguration {
            spec,
            accessibility: Accessibility::Available,
        };
        self.configurations.insert(arn.to_owned(), configuration);
    }

    pub(crate) fn set_members(&mut self, network_arn: &str, configurations: BTreeSet<String>) {
        self.networks.insert(network_arn.to_owned(), configurations);
    }

    /// Whether there is a resource configuration or service network of this ARN.
    pub(crate) fn knows(&self, arn: &str) -> bool {
        self.configurations.contains_key(arn) || self.networks.contains_key(arn)
    }

    pub(crate) fn share(&mut self, arn: &str, account: &str) {
        self.shares.insert((arn.to_owned(), account.to_owned()));
    }

    /// Whether it was shared.
    pub(crate) fn unshare(&mut self, arn: &str, account: &str) -> bool {
        self.shares.remove(&(arn.to_owned(), account.to_owned()))
    }

    /// Whether there is such a resource configuration.
    pub(crate) fn set_accessibility(&mut self, arn: &str, accessibility: Accessibility) -> bool {
        let configuration = self.configurations.get_mut(arn);
        configuration.map(|found| found.accessibility = accessibility).is_some()
    }

    /// Whether an account may use it: its owner, and those that it is shared with.
    fn is_visible(&self, arn: &str, account: &str) -> bool {
        let owner = arn.split(':').nth(4);
        owner == Some(account) || self.shares.contains(&(arn.to_owned(), account.to_owned()))
    }

    /// Checks that a Resource endpoint of the account can lead to it from the VPC.
    pub(super) fn check_configuration(
        &self,
        arn: &str,
        region: &str,
        account: &str,
        vpc: &str,
    ) -> Result<(), ApiError> {
        let configuration = self.configurations.get(arn);
        let configuration = configuration.filter(|_| self.is_visible(arn, account) && region_of(arn) == region);
        let spec = &configuration
            .ok_or_else(|| not_found("resource configuration", arn))?
            .spec;
        if spec.kind == ResourceConfigurationType::Child {
            return Err(ApiError::invalid(format!(
                "The resource configuration {arn} is of type CHILD. Use the resource configuration of its group."
            )));
        }
        if spec.gateway_vpc_id.as_deref() == Some(vpc) {
            return Err(ApiError::invalid(format!(
                "The VPC {vpc} has the resource gateway of the resource configuration {arn}."
            )));
        }
        Ok(())
    }

    pub(super) fn check_network(&self, arn: &str, region: &str, account: &str) -> Result<(), ApiError> {
        if self.networks.contains_key(arn) && self.is_visible(arn, account) && region_of(arn) == region {
            return Ok(());
        }
        Err(not_found("service network", arn))
    }

    /// What the endpoint of an account leads to, in the order of the associations' ids.
    pub(super) fn associations(&self, endpoint: &Endpoint, account: &str) -> Vec<Association> {
        let (roots, network): (Vec<&String>, Option<&String>) = match endpoint.kind {
            EndpointType::Resource => (endpoint.lattice_arn.iter().collect(), None),
            EndpointType::ServiceNetwork => {
                let network = endpoint.lattice_arn.as_ref();
                let members = network.and_then(|arn| self.networks.get(arn));
                (members.into_iter().flatten().collect(), network)
            }
            _ => (Vec::new(), None),
        };
        let mut found = Vec::new();
        for root in roots {
            let shared = network.unwrap_or(root);
            let visible = self.is_visible(shared, account);
            let of_root = self.configurations.iter().filter(|(arn, configuration)| {
                let ResourceConfigurationSpec { kind, group, .. } = &configuration.spec;
                group.as_ref() == Some(root) || (*arn == root && *kind != ResourceConfigurationType::Group)
            });
            found.extend(of_root.map(|(arn, configuration)| {
                let mut association = associate(endpoint, arn, configuration, network.cloned());
                if !visible {
                    let reason = format!("{shared} is not shared with {account}");
                    association.accessibility = Accessibility::Failed("NOT_SHARED".to_owned(), reason);
                }
                association
            }));
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }
}

fn associate(
    endpoint: &Endpoint,
    arn: &str,
    configuration: &ResourceConfiguration,
    network_arn: Option<String>,
) -> Association {
    let digest = Sha256::digest(format!("{} {arn}", endpoint.id));
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (id, label) = (&hash[..17], &hash[17..25]);
    let region = region_of(arn);
    let spec = &configuration.spec;
    let rcfg = Association::last_part(arn);
    Association {
        id: format!("vpce-rsc-asc-{id}"),
        endpoint_id: endpoint.id.clone(),
        resource_arn: arn.to_owned(),
        group_arn: spec.group.clone(),
        network_arn,
        accessibility: configuration.accessibility.clone(),
        dns_name: format!(
            "{}-snra-{id}.{rcfg}.{label}.vpc-lattice-rsc.{region}.on.aws",
            endpoint.id
        ),
        private_dns_name: spec
            .domain_name
            .clone()
            .filter(|name| admits(endpoint, name, spec.domain_verified)),
    }
}

/// Whether the endpoint's private DNS takes in a domain.
fn admits(endpoint: &Endpoint, name: &str, verified: bool) -> bool {
    let Some(wanted) = endpoint.dns_options.private.as_ref().filter(|_| endpoint.private_dns) else {
        return false;
    };
    let specified = wanted.specified.iter().any(|pattern| glob(pattern, name));
    match wanted.preference.as_str() {
        "VERIFIED_DOMAINS_ONLY" => verified,
        "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS" => verified || specified,
        "SPECIFIED_DOMAINS_ONLY" => specified,
        _ => true,
    }
}

fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// What is not shared with the caller looks the same.
fn not_found(what: &str, arn: &str) -> ApiError {
    ApiError::invalid(format!("The {what} {arn} does not exist."))
}
