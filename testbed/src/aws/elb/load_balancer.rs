//! The load balancer resource and its XML.

use std::collections::BTreeMap;

use crate::aws::clock::{Clock, Seconds};
use crate::aws::ec2::region::{Region, Subnet};
use crate::aws::ec2::tags::Tags;
use crate::aws::partition;
use crate::aws::xml::Xml;

/// `Type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadBalancerType {
    /// Network Load Balancer: backs services for Interface endpoints.
    #[default]
    Network,
    /// Gateway Load Balancer: backs services for Gateway Load Balancer endpoints.
    Gateway,
    /// Application Load Balancer: cannot back an endpoint service.
    Application,
}

impl LoadBalancerType {
    /// As it stands on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Gateway => "gateway",
            Self::Application => "application",
        }
    }

    /// As it stands in ARNs.
    fn short(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Gateway => "gwy",
            Self::Application => "app",
        }
    }
}

/// `State.Code`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadBalancerState {
    /// Being created.
    Provisioning,
    /// Ready to route traffic.
    Active,
    /// Routes traffic, but lacks resources to scale.
    ActiveImpaired,
    /// Creation failed.
    Failed,
}

impl LoadBalancerState {
    /// As it stands on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::ActiveImpaired => "active_impaired",
            Self::Failed => "failed",
        }
    }
}

/// The load balancer to add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadBalancerSpec {
    /// Its type.
    pub kind: LoadBalancerType,
    /// Its subnets, one in each of its zones.
    pub subnet_ids: Vec<String>,
    /// `internet-facing` if true, `internal` otherwise.
    pub internet_facing: bool,
    /// `dualstack` if true, `ipv4` otherwise.
    pub dualstack: bool,
    /// Its security groups.
    pub security_group_ids: Vec<String>,
    /// Whether PrivateLink traffic skips the inbound rules of the security groups
    /// (`EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic: off`).
    pub private_link_skips_security_groups: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct LoadBalancer {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) kind: LoadBalancerType,
    /// Absent for a Gateway Load Balancer.
    pub(crate) dns_name: Option<String>,
    pub(crate) internet_facing: bool,
    pub(crate) vpc_id: String,
    /// Its subnets, and when their zones are ready.
    pub(crate) subnets: BTreeMap<String, Seconds>,
    pub(crate) dualstack: bool,
    pub(crate) group_ids: Vec<String>,
    pub(crate) private_link_skips_groups: bool,
    pub(crate) tags: Tags,
    pub(crate) created: Seconds,
    pub(crate) state: LoadBalancerState,
    /// When provisioning ends.
    pub(crate) due: Option<Seconds>,
}

impl LoadBalancer {
    /// A new load balancer, provisioning until `due`.
    pub(crate) fn new(
        region: &Region,
        name: &str,
        vpc_id: &str,
        spec: LoadBalancerSpec,
        now: Seconds,
        due: Seconds,
    ) -> Self {
        let hex = format!("{:016x}", fastrand::u64(..));
        let (account, region) = (&region.account, &region.name);
        let (partition, domain) = (partition::of_region(region), partition::domain(region));
        let dns_name = match spec.kind {
            LoadBalancerType::Network => Some(format!("{name}-{hex}.elb.{region}.{domain}")),
            LoadBalancerType::Application => {
                let internal = if spec.internet_facing { "" } else { "internal-" };
                let number = fastrand::u32(..);
                Some(format!("{internal}{name}-{number}.{region}.elb.{domain}"))
            }
            LoadBalancerType::Gateway => None,
        };
        let path = format!("loadbalancer/{}/{name}/{hex}", spec.kind.short());
        Self {
            arn: format!("arn:{partition}:elasticloadbalancing:{region}:{account}:{path}"),
            name: name.to_owned(),
            kind: spec.kind,
            dns_name,
            internet_facing: spec.internet_facing,
            vpc_id: vpc_id.to_owned(),
            subnets: spec.subnet_ids.into_iter().map(|id| (id, due)).collect(),
            dualstack: spec.dualstack,
            group_ids: spec.security_group_ids,
            private_link_skips_groups: spec.private_link_skips_security_groups,
            tags: spec.tags,
            created: now,
            state: LoadBalancerState::Provisioning,
            due: Some(due),
        }
    }

    /// Whether it is ready to route traffic.
    pub(crate) fn is_active(&self) -> bool {
        use LoadBalancerState::{Active, ActiveImpaired};
        matches!(self.state, Active | ActiveImpaired)
    }

    /// Its subnets whose zones are ready at `at`, or all subnets without a time.
    pub(crate) fn subnets<'a>(&'a self, region: &'a Region, at: Option<Seconds>) -> impl Iterator<Item = &'a Subnet> {
        let ready = self
            .subnets
            .iter()
            .filter(move |(_, ready)| at.is_none_or(|at| **ready <= at));
        ready.filter_map(|(id, _)| region.subnets.get(id))
    }

    /// `<LoadBalancer>`, without its own element.
    pub(super) fn write(&self, xml: &mut Xml, region: &Region, clock: &Clock) {
        xml.text("LoadBalancerArn", &self.arn);
        xml.optional("DNSName", self.dns_name.as_ref());
        xml.text("CreatedTime", clock.timestamp(self.created));
        xml.text("LoadBalancerName", &self.name);
        if self.kind != LoadBalancerType::Gateway {
            let facing = self.internet_facing;
            xml.text("Scheme", if facing { "internet-facing" } else { "internal" });
        }
        xml.text("VpcId", &self.vpc_id);
        xml.element("State", |xml| xml.text("Code", self.state.wire()));
        xml.text("Type", self.kind.wire());
        xml.members("AvailabilityZones", self.subnets(region, None), |xml, subnet| {
            xml.text("ZoneName", &subnet.zone);
            xml.text("SubnetId", &subnet.id);
        });
        xml.members("SecurityGroups", &self.group_ids, |xml, id| xml.escaped(id));
        xml.text("IpAddressType", if self.dualstack { "dualstack" } else { "ipv4" });
        if self.kind == LoadBalancerType::Network && !self.group_ids.is_empty() {
            let enforced = if self.private_link_skips_groups { "off" } else { "on" };
            xml.text("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", enforced);
        }
    }
}
