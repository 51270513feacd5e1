//! Where an endpoint is that names no VPC: reads what the AWSAccount's network consists of, and
//! chooses from it.

use vpce_core::api::{CustomRule, SecurityGroupType, VPCEndpointSpec};
use vpce_core::conditions::{Finding, READY, Reason};
use vpce_core::error::Class;
use vpce_core::ids::VpcId;
use vpce_core::network::{self, Choice, Chosen, Place, Placement, SubnetCount};
use vpce_core::resolve::Resolved;
use vpce_core::target::Target;

use super::reconcile::Reconciliation;
use super::status;
use super::stop::Stop;
use crate::aws::region::{AccountRegionKey, LOOK_AGAIN, Seen, Wanted};
use crate::k8s::conditions;

/// Where an object is; and why an endpoint that is there is left as it is, where it is.
pub(super) type Placed = Result<(Placement, Option<Finding>), Finding>;

impl Reconciliation<'_> {
    /// Makes sure that what the object's place is chosen from was read, where the spec leaves it
    /// open: the stages after this one ask AWS nothing before the object is authorized.
    pub(super) async fn discover(&self) -> Result<(), Stop> {
        let Some(spec) = self.object.spec.as_ref().ok().filter(|_| !self.deleting) else {
            return Ok(());
        };
        if !self.may_need_networks(spec) {
            return Ok(());
        }
        // What is wrong with it, the next stage says.
        let Ok(spec) = &self.completed(spec) else {
            return Ok(());
        };
        let Ok(resolved) = self.resolve_as(Some(spec), self.as_of(spec)) else {
            return Ok(());
        };
        let status = &self.object.status;
        let bound = status.network.as_ref();
        let account = &resolved.account;
        let network = network::asked(Place::of(spec), account, &resolved.binding.account, bound);
        let Ok(network) = network else {
            return Ok(());
        };
        let is_adopted = spec.vpc_endpoint_id.is_some();
        let is_kept = network.is_some_and(|network| {
            let exists = status.vpc_endpoint_id.is_some();
            exists && network::is_kept(network, bound)
        });
        if network.is_none() && !needs_cidr_blocks(spec, account.generated_ingress.as_deref()) {
            return Ok(());
        }
        let fixed: Option<VpcId> = bound.filter(|_| is_kept).map(|network| network.vpc_id.as_str().into());
        let target = Target::of_spec(spec, resolved.role.partition(), resolved.binding.region.as_str());
        let service = target.as_ref().ok().and_then(Target::service_here);
        let has_subnets = SubnetCount::of(spec.vpc_endpoint_type) != SubnetCount::None && !is_adopted;
        let network = network.filter(|_| has_subnets);
        let was_wrong = conditions::find(&status.conditions, READY)
            .is_some_and(|ready| ready.reason == Reason::NetworkNotReady.as_str());
        let resync = self.ctx.shared.resync_interval();
        let wanted = Wanted {
            network,
            vpc: fixed.as_ref(),
            service: service.filter(|_| network.is_some() && !is_kept),
            max_age: if was_wrong { LOOK_AGAIN.min(resync) } else { resync },
        };
        let known = self.ctx.shared.regions.find(&key(&resolved));
        if known.is_some_and(|region| !region.networks_are_due(&wanted)) {
            return Ok(());
        }
        let _permit = self.enter(&resolved).await?;
        let access = self.open(&resolved).await?;
        let read = access.region.refresh_networks(&access.ec2, &wanted).await;
        read.map_err(|error| access.unread(error).into())
    }

    /// Whether the VPC, or its address blocks, are left to the AWSAccount. An object that is not
    /// bound yet may be.
    fn may_need_networks(&self, spec: &VPCEndpointSpec) -> bool {
        let Some(binding) = self.object.status.account.as_ref().filter(|_| spec.vpc_id.is_some()) else {
            return true;
        };
        let account = self.ctx.shared.caches.account(&binding.name);
        let account = account.as_ref().and_then(|account| account.spec.as_ref().ok());
        needs_cidr_blocks(spec, account.and_then(|account| account.generated_ingress.as_deref()))
    }

    /// Chooses, from what was read.
    pub(super) fn placement(&self, spec: &VPCEndpointSpec, resolved: &Resolved, is_adopted: bool) -> Placed {
        let (status, binding) = (&self.object.status, &resolved.binding);
        let is_here = status::binding(status).is_some_and(|bound| bound == *binding);
        let bound = status.network.as_ref().filter(|_| is_here);
        let exists = status.vpc_endpoint_id.is_some() && bound.is_some();
        let region = self.ctx.shared.regions.find(&key(resolved));
        let seen = region.as_ref().map(|region| region.networks()).unwrap_or_default();
        let subnets = match is_adopted {
            true => SubnetCount::None,
            false => SubnetCount::of(spec.vpc_endpoint_type),
        };
        let account = &resolved.account;
        let (chosen, left) = match network::asked(Place::of(spec), account, &binding.account, bound) {
            Ok(None) => (None, None),
            Ok(Some(network)) => {
                let target = Target::of_spec(spec, resolved.role.partition(), binding.region.as_str());
                let service = target.as_ref().ok().and_then(Target::service_here);
                let zones = region.as_ref().zip(service);
                let zones = zones.and_then(|(region, service)| region.service_zones(service));
                let known = known(&seen, subnets, exists);
                let choice = Choice {
                    account: &binding.account,
                    network,
                    region: &binding.region,
                    seen: known
                        .as_ref()
                        .map(|(vpcs, subnets)| (&vpcs[..], &subnets[..]))
                        .map_err(String::as_str),
                    target: &target.map(|target| target.to_string()).unwrap_or_default(),
                    zones: zones.as_deref(),
                    allowed_subnet_ids: account.allowed_subnet_ids.as_deref(),
                    subnets,
                    ip_address_type: spec.ip_address_type,
                    bound,
                    exists,
                };
                let (chosen, left) = choice.choose()?;
                (Some(chosen), left)
            }
            Err(finding) => match bound.filter(|_| exists) {
                Some(bound) => (Some(Chosen::of_status(bound)), Some(finding)),
                None => return Err(finding),
            },
        };
        let vpc = match &chosen {
            Some(chosen) => Some(chosen.vpc.as_str()),
            None => spec.vpc_id.as_deref(),
        };
        let vpcs = seen.vpcs.as_deref();
        let found = vpcs.and_then(|vpcs| vpcs.iter().find(|found| Some(found.id.as_str()) == vpc));
        let placement = Placement {
            vpc_cidr_blocks: found.map(|found| found.cidr_blocks.clone()),
            chosen,
        };
        Ok((placement, left))
    }
}

type Known<'a> = (&'a [network::Vpc], &'a [network::Subnet]);

/// What was read; subnets only where some are needed. For a new endpoint nothing is chosen from
/// what may be out of date.
fn known(seen: &Seen, subnets: SubnetCount, exists: bool) -> Result<Known<'_>, String> {
    let found = match (&seen.vpcs, &seen.subnets) {
        _ if seen.failed.is_some() && !exists => None,
        (Some(vpcs), Some(subnets)) => Some((&vpcs[..], &subnets[..])),
        (Some(vpcs), None) if subnets == SubnetCount::None || seen.failed.is_none() => Some((&vpcs[..], &[][..])),
        _ => None,
    };
    found.ok_or_else(|| match &seen.failed {
        Some(error) => {
            let advice = match error.class {
                Class::Denied => {
                    "; the role needs ec2:DescribeVpcs, ec2:DescribeSubnets and ec2:DescribeVpcEndpointServices, which \
                     `vpce-operator iam-policy tenant` prints for an AWSAccount with networks"
                }
                _ => "",
            };
            format!("its networks cannot be read: {error}{advice}")
        }
        None => "its networks have not been read yet".to_owned(),
    })
}

fn key(resolved: &Resolved) -> AccountRegionKey {
    AccountRegionKey::of(&resolved.role, &resolved.binding.region)
}

/// Whether a rule names the VPC's own address blocks.
fn needs_cidr_blocks(spec: &VPCEndpointSpec, generated: Option<&[CustomRule]>) -> bool {
    let rules = match spec.security_group_type.unwrap_or_default() {
        _ if !spec.vpc_endpoint_type.has_groups() => return false,
        SecurityGroupType::Provided => return false,
        SecurityGroupType::Generated => [generated, None],
        SecurityGroupType::Custom => [
            spec.security_group_ingress.as_deref(),
            spec.security_group_egress.as_deref(),
        ],
    };
    let rules = rules.into_iter().flatten().flatten();
    rules.into_iter().any(|rule| rule.vpc_cidr_blocks)
}
