//! What an endpoint connects to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::{EndpointType, VPCEndpointSpec};
use crate::ids::{Partition, Region};

/// The fields of a spec that name it.
const SERVICE: &str = "vpc_endpoint_service_id";
const RESOURCE_CONFIGURATION: &str = "resource_configuration_arn";
const SERVICE_NETWORK: &str = "service_network_arn";

/// What an endpoint connects to, of which EC2's CreateVpcEndpoint takes exactly one. AWS fixes it
/// at creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A service of AWS's, or an endpoint service of an AWS account's: EC2's `ServiceName`.
    Service {
        /// The full name.
        name: String,
        /// The service's region, where it is another than the endpoint's: EC2's `ServiceRegion`.
        region: Option<Region>,
    },
    /// A resource configuration of VPC Lattice: EC2's `ResourceConfigurationArn`.
    ResourceConfiguration {
        /// Its ARN.
        arn: String,
    },
    /// A service network of VPC Lattice: EC2's `ServiceNetworkArn`.
    ServiceNetwork {
        /// Its ARN.
        arn: String,
    },
}

impl Target {
    /// The service of this name, or of this id, for an endpoint in a region; the service may be in
    /// another.
    ///
    /// # Errors
    /// When a short name cannot be completed.
    pub fn service(
        given: &str,
        partition: Partition,
        region: &str,
        service_region: Option<&str>,
    ) -> Result<Self, String> {
        let elsewhere = service_region.filter(|service_region| *service_region != region);
        Ok(Self::Service {
            name: full_service_name(given, partition, elsewhere.unwrap_or(region))?,
            region: elsewhere.map(Into::into),
        })
    }

    /// What a spec names, in a region.
    ///
    /// # Errors
    /// Which field is missing, or cannot be completed.
    pub fn of_spec(spec: &VPCEndpointSpec, partition: Partition, region: &str) -> Result<Self, String> {
        let type_ = spec.vpc_endpoint_type;
        let (field, named) = match type_ {
            EndpointType::Interface | EndpointType::Gateway | EndpointType::GatewayLoadBalancer => {
                let name = spec.vpc_endpoint_service_id.as_deref();
                let service_region = spec.service_region.as_deref();
                let service = |name| Self::service(name, partition, region, service_region);
                (SERVICE, name.map(service).transpose()?)
            }
            EndpointType::Resource => {
                let arn = spec.resource_configuration_arn.clone();
                (
                    RESOURCE_CONFIGURATION,
                    arn.map(|arn| Self::ResourceConfiguration { arn }),
                )
            }
            EndpointType::ServiceNetwork => {
                let arn = spec.service_network_arn.clone();
                (SERVICE_NETWORK, arn.map(|arn| Self::ServiceNetwork { arn }))
            }
        };
        named.ok_or_else(|| format!("{field} is missing, which says what an endpoint of type {type_} connects to"))
    }

    /// What stands for it in the ClientToken of CreateVpcEndpoint. For a service it is the name and
    /// nothing else, as it has been from the first; what stands for another kind must not be able
    /// to be a service's name.
    pub(crate) fn token_part(&self) -> &str {
        match self {
            Self::Service { name, .. } => name,
            Self::ResourceConfiguration { arn } | Self::ServiceNetwork { arn } => arn,
        }
    }

    /// The name of a service in the endpoint's own region.
    pub fn service_here(&self) -> Option<&str> {
        match self {
            Self::Service { name, region: None } => Some(name),
            Self::Service { .. } | Self::ResourceConfiguration { .. } | Self::ServiceNetwork { .. } => None,
        }
    }

    /// The service's region, where it is another than the endpoint's.
    pub fn service_region(&self) -> Option<&Region> {
        match self {
            Self::Service { region, .. } => region.as_ref(),
            Self::ResourceConfiguration { .. } | Self::ServiceNetwork { .. } => None,
        }
    }

    /// Reads what a status names, which is a name or an ARN, and the service's region.
    pub fn of_status(text: &str, service_region: Option<&str>) -> Self {
        let kind = text.strip_prefix("arn:").and_then(|rest| rest.splitn(5, ':').nth(4));
        let arn = || text.to_owned();
        match kind {
            Some(resource) if resource.starts_with("resourceconfiguration/") => {
                Self::ResourceConfiguration { arn: arn() }
            }
            Some(resource) if resource.starts_with("servicenetwork/") => Self::ServiceNetwork { arn: arn() },
            _ => Self::Service {
                name: arn(),
                region: service_region.map(Into::into),
            },
        }
    }

    /// The field of the spec that names it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Service { .. } => SERVICE,
            Self::ResourceConfiguration { .. } => RESOURCE_CONFIGURATION,
            Self::ServiceNetwork { .. } => SERVICE_NETWORK,
        }
    }

    /// Whether AWS itself offers it, and not an AWS account.
    pub(crate) fn is_of_aws(&self) -> bool {
        match self {
            Self::Service { name, .. } => !name.contains(".vpce."),
            Self::ResourceConfiguration { .. } | Self::ServiceNetwork { .. } => false,
        }
    }

    /// What EC2 puts before the DNS names of such an endpoint, where it names it with a wildcard
    /// only.
    pub(crate) fn wildcard_label(&self) -> Option<&'static str> {
        match self {
            Self::Service { name, .. } => name.ends_with(".s3").then_some("bucket"),
            Self::ResourceConfiguration { .. } | Self::ServiceNetwork { .. } => None,
        }
    }

    /// Whether AWS fixes at creation whether private DNS is on.
    pub(crate) fn fixes_private_dns(&self) -> bool {
        match self {
            Self::Service { .. } => false,
            Self::ResourceConfiguration { .. } | Self::ServiceNetwork { .. } => true,
        }
    }

    /// Whether it is S3, whose interface endpoints serve inbound Resolver endpoints only unless
    /// they are told otherwise.
    pub(crate) fn is_s3(&self) -> bool {
        matches!(self, Self::Service { name, .. } if name.ends_with(".s3"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, .. } => f.write_str(name),
            Self::ResourceConfiguration { arn } | Self::ServiceNetwork { arn } => f.write_str(arn),
        }
    }
}

/// Completes a bare `vpce-svc-...`, or the short name of a service of AWS, with its partition and
/// region; other names are whole.
///
/// # Errors
/// In China, where AWS puts one prefix before some services and another before the rest.
pub fn full_service_name(given: &str, partition: Partition, region: &str) -> Result<String, String> {
    /// What full names start with: the DNS suffix of each partition, from behind; and `aws`, under
    /// which AWS names some services of its own.
    const DOMAINS: [&str; 6] = ["com", "cn", "eu", "aws", "gov", "uk"];
    if given.starts_with("vpce-svc-") {
        return Ok(format!("{}.vpce.{region}.{given}", partition.service_prefix()));
    }
    let first = given.split('.').next();
    if first.is_some_and(|first| DOMAINS.contains(&first)) {
        return Ok(given.to_owned());
    }
    match partition {
        Partition::AwsCn => Err(format!(
            "{SERVICE}: in China the full names of services start differently: set com.amazonaws.{region}.{given} or \
             cn.com.amazonaws.{region}.{given}, whichever AWS lists"
        )),
        _ => Ok(format!("{}.{region}.{given}", partition.service_prefix())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_short_names_are_completed_and_full_names_are_whole() {
        let full = |given, partition, region| full_service_name(given, partition, region);
        for (given, partition, region, name) in [
            (
                "com.amazonaws.eu-west-1.s3",
                Partition::Aws,
                "x",
                "com.amazonaws.eu-west-1.s3",
            ),
            (
                "aws.sagemaker.eu-west-1.notebook",
                Partition::Aws,
                "eu-west-1",
                "aws.sagemaker.eu-west-1.notebook",
            ),
            (
                "ecr.api",
                Partition::Aws,
                "eu-west-1",
                "com.amazonaws.eu-west-1.ecr.api",
            ),
            (
                "s3",
                Partition::AwsUsGov,
                "us-gov-west-1",
                "com.amazonaws.us-gov-west-1.s3",
            ),
            (
                "vpce-svc-1",
                Partition::AwsCn,
                "cn-north-1",
                "cn.com.amazonaws.vpce.cn-north-1.vpce-svc-1",
            ),
        ] {
            assert_eq!(full(given, partition, region).as_deref(), Ok(name));
        }
        let why = full("ecr.api", Partition::AwsCn, "cn-north-1").expect_err("it is one of two");
        assert!(why.contains("set com.amazonaws.cn-north-1.ecr.api or cn."), "{why}");
    }
}
