//! What an object's spec says of what it owns.

use std::collections::BTreeSet;

use crate::api::{EndpointType, SecurityGroupType, VPCEndpointSpec, VPCEndpointStatus};
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
    /// Its type.
    pub endpoint_type: EndpointType,
    /// The groups that are `provided`, which are no groups for a type that has none; none where the
    /// operator makes one.
    pub provided: Option<BTreeSet<GroupId>>,
}

impl Expected {
    /// Of an object that is bound in this region: what its status acknowledged before anything was
    /// made, else what its spec says.
    /// None where neither says what the endpoint connects to, or where it is.
    pub fn of(spec: &VPCEndpointSpec, status: &VPCEndpointStatus, partition: Partition, region: &str) -> Option<Self> {
        let endpoint_type = status.vpc_endpoint_type.unwrap_or(spec.vpc_endpoint_type);
        let provided = spec.security_group_type == Some(SecurityGroupType::Provided)
            || status.provided_security_groups
            || !endpoint_type.has_groups();
        let ids = || spec.security_group_ids.iter().map(|id| id.as_str().into());
        let bound = status.network.as_ref().map(|network| &network.vpc_id);
        let vpc = bound.or(spec.vpc_id.as_ref())?;
        let service = status.vpc_endpoint_service_id.clone();
        let target = service.map(|service| Target::of_status(&service, status.service_region.as_deref()));
        let target = target.or_else(|| Target::of_spec(spec, partition, region).ok())?;
        Some(Self {
            vpc: vpc.as_str().into(),
            target,
            endpoint_type,
            provided: provided.then(|| ids().collect()),
        })
    }
}
