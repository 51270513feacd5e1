//! What an object's spec says of what it owns.

use std::collections::BTreeSet;

use crate::api::{SecurityGroupType, VPCEndpointSpec, VPCEndpointStatus};
use crate::ids::{GroupId, Partition, VpcId};
use crate::target::Target;

/// What a spec says of what AWS fixes, or changes only by a call that the right to tag does not
/// allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The VPC.
    pub vpc: VpcId,
    /// What it connects to.
    pub target: Target,
    /// The groups that are `provided`; none where the operator makes one.
    pub provided: Option<BTreeSet<GroupId>>,
}

impl Expected {
    /// Of an object that is bound in this region: what its status acknowledged before anything was
    /// made, else what its spec says.
    pub fn of(spec: &VPCEndpointSpec, status: &VPCEndpointStatus, partition: Partition, region: &str) -> Self {
        let provided = spec.security_group_type == SecurityGroupType::Provided || status.provided_security_groups;
        let ids = || spec.security_group_ids.iter().map(|id| id.as_str().into());
        let vpc = status.network.as_ref().map_or(&spec.vpc_id, |network| &network.vpc_id);
        let service = status.vpc_endpoint_service_id.clone();
        Self {
            vpc: vpc.as_str().into(),
            target: match service {
                Some(name) => Target::Service { name },
                None => Target::service(&spec.vpc_endpoint_service_id, partition, region),
            },
            provided: provided.then(|| ids().collect()),
        }
    }
}
