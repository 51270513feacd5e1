//! What an endpoint connects to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Partition;

/// What an endpoint connects to, of which EC2's CreateVpcEndpoint takes exactly one. AWS fixes it
/// at creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A service of AWS's, or an endpoint service of an AWS account's: EC2's `ServiceName`.
    Service {
        /// The full name.
        name: String,
    },
}

impl Target {
    /// The service of this name, or of this id, in a region.
    pub fn service(given: &str, partition: Partition, region: &str) -> Self {
        Self::Service {
            name: full_service_name(given, partition, region),
        }
    }

    /// What stands for it in the ClientToken of CreateVpcEndpoint. For a service it is the name and
    /// nothing else, as it has been from the first; what stands for another kind must not be able
    /// to be a service's name.
    pub(crate) fn token_part(&self) -> &str {
        match self {
            Self::Service { name } => name,
        }
    }

    /// Whether AWS itself offers it, and not an AWS account.
    pub(crate) fn is_of_aws(&self) -> bool {
        match self {
            Self::Service { name } => !name.contains(".vpce."),
        }
    }

    /// What EC2 puts before the DNS names of such an endpoint, where it names it with a wildcard
    /// only.
    pub(crate) fn wildcard_label(&self) -> Option<&'static str> {
        match self {
            Self::Service { name } => name.ends_with(".s3").then_some("bucket"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name } => f.write_str(name),
        }
    }
}

/// Completes a bare `vpce-svc-...` with its partition and region; other names are whole.
pub fn full_service_name(given: &str, partition: Partition, region: &str) -> String {
    if given.starts_with("vpce-svc-") {
        format!("{}.vpce.{region}.{given}", partition.service_prefix())
    } else {
        given.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_service_id_is_completed_and_a_name_is_whole() {
        assert_eq!(
            full_service_name("com.amazonaws.eu-west-1.s3", Partition::Aws, "x"),
            "com.amazonaws.eu-west-1.s3"
        );
        assert_eq!(
            full_service_name("vpce-svc-1", Partition::AwsCn, "cn-north-1"),
            "cn.com.amazonaws.vpce.cn-north-1.vpce-svc-1"
        );
    }
}
