//! What the networks of AWSAccounts consist of: the VPCs and subnets of the region, and the zones
//! of services. They are read for a region, never for an endpoint.
//!
//! Where EC2 does not tell, it is asked again after a while; what was read before stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{Filter, Subnet as SdkSubnet, Vpc as SdkVpc};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use vpce_core::api::Network;
use vpce_core::ids::VpcId;
use vpce_core::network::{ServiceZones, Subnet, Vpc, vpc_of};

use super::refresh::FILTER_VALUES;
use super::{AccountRegion, RefreshError, turn_to_read};
use crate::aws::ec2::{Ec2, tag_map};
use crate::aws::error::CallError;
use crate::aws::observer::observed;

const VPCS: &str = "DescribeVpcs";
const SUBNETS: &str = "DescribeSubnets";
const SERVICES: &str = "DescribeVpcEndpointServices";
/// EC2 gives no more VPCs or subnets in a page.
const PAGE: i32 = 1000;
/// The zones of a service are read this often.
const ZONES_FOR: Duration = Duration::from_hours(1);
/// What EC2 did not tell, or what was found wrong, is asked again after this time.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// What no reconcile has asked for in this time is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(3);

/// What is known in a region.
#[derive(Default)]
pub(super) struct Networks {
    vpcs: Mutex<Known<Vpc>>,
    subnets: Mutex<Subnets>,
    /// By the service.
    zones: Mutex<HashMap<String, Zones>>,
    reading: AsyncMutex<()>,
}

/// What was read of one kind, and how the last read ended.
struct Known<T> {
    found: Option<Arc<Vec<T>>>,
    /// When it was read.
    read: Option<Instant>,
    /// When EC2 last did not tell, and why.
    failed: Option<(Instant, CallError)>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            found: None,
            read: None,
            failed: None,
        }
    }
}

impl<T> Known<T> {
    fn is_due(&self, max_age: Duration) -> bool {
        let has_failed = self.failed.as_ref().is_some_and(|(at, _)| at.elapsed() < LOOK_AGAIN);
        !has_failed && self.read.is_none_or(|at| at.elapsed() >= max_age)
    }

    fn take(&mut self, found: Result<Vec<T>, CallError>) {
        let now = Instant::now();
        match found {
            Ok(found) => {
                *self = Self {
                    found: Some(Arc::new(found)),
                    read: Some(now),
                    failed: None,
                };
            }
            Err(error) => self.failed = Some((now, error)),
        }
    }
}

#[derive(Default)]
struct Subnets {
    known: Known<Subnet>,
    /// The VPCs whose subnets are asked for.
    asked: BTreeMap<VpcId, Asked>,
}

struct Asked {
    /// When a reconcile last asked.
    at: Instant,
    /// Whether what is known has its subnets.
    is_read: bool,
}

impl Subnets {
    fn are_due(&mut self, vpc: &VpcId, max_age: Duration) -> bool {
        let now = Instant::now();
        let asked = self.asked.entry(vpc.clone()).or_insert(Asked {
            at: now,
            is_read: false,
        });
        asked.at = now;
        let max_age = if asked.is_read { max_age } else { Duration::ZERO };
        self.known.is_due(max_age)
    }

    /// The VPCs whose subnets are to be read.
    fn unforgotten(&mut self) -> Vec<VpcId> {
        self.asked.retain(|_, asked| asked.at.elapsed() < FORGOTTEN_AFTER);
        self.asked.keys().cloned().collect()
    }

    /// Takes in the subnets of these VPCs; others may have been asked for meanwhile.
    fn take(&mut self, of: &[VpcId], found: Result<Vec<Subnet>, CallError>) {
        if found.is_ok() {
            for (vpc, asked) in &mut self.asked {
                asked.is_read = of.contains(vpc);
            }
        }
        self.known.take(found);
    }
}

impl Networks {
    fn zones_are_due(&self, service: &str) -> bool {
        let zones = self.zones.lock();
        zones.get(service).is_none_or(|known| {
            let age = if known.found.is_some() { ZONES_FOR } else { LOOK_AGAIN };
            known.read.elapsed() >= age
        })
    }
}

/// What is wanted to be known.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Whose subnets; none: VPCs only.
    pub(crate) network: Option<&'a Network>,
    /// The VPC of the network, where it is fixed already.
    pub(crate) vpc: Option<&'a VpcId>,
    /// Whose zones.
    pub(crate) service: Option<&'a str>,
    /// How old VPCs and subnets may be.
    pub(crate) max_age: Duration,
}

/// The zones of a service; none where EC2 does not tell.
struct Zones {
    found: Option<Arc<ServiceZones>>,
    read: Instant,
}

/// The VPCs and subnets of a region, as they were last read.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) vpcs: Option<Arc<Vec<Vpc>>>,
    pub(crate) subnets: Option<Arc<Vec<Subnet>>>,
    /// Why EC2 did not tell, when it was last asked.
    pub(crate) failed: Option<CallError>,
}

impl AccountRegion {
    /// The VPCs and subnets, as they were last read.
    pub(crate) fn networks(&self) -> Seen {
        let (vpcs, vpcs_failed) = {
            let vpcs = self.networks.vpcs.lock();
            (vpcs.found.clone(), vpcs.failed.clone())
        };
        let subnets = self.networks.subnets.lock();
        let failed = vpcs_failed.or_else(|| subnets.known.failed.clone());
        Seen {
            vpcs,
            subnets: subnets.known.found.clone(),
            failed: failed.map(|(_, error)| error),
        }
    }

    /// The zones that a service is in, as they were last read.
    pub(crate) fn service_zones(&self, service: &str) -> Option<Arc<ServiceZones>> {
        self.networks.zones.lock().get(service)?.found.clone()
    }

    /// Makes sure that the subnets of a VPC were read, as far as EC2 tells: else why it does not.
    ///
    /// # Errors
    /// Until when AWS allows no more reads, or that the session has expired.
    pub(crate) async fn refresh_zones(
        &self,
        ec2: &Ec2,
        vpc: &VpcId,
        max_age: Duration,
    ) -> Result<Option<CallError>, RefreshError> {
        self.refresh_subnets(ec2, vpc, max_age).await?;
        let subnets = self.networks.subnets.lock();
        let failed = subnets.known.failed.as_ref().map(|(_, error)| error.clone());
        // What was read before stays.
        let is_read = subnets.asked.get(vpc).is_some_and(|asked| asked.is_read);
        Ok(failed.filter(|_| !is_read))
    }

    /// The names of the zones that a VPC has subnets in, by their ids, as they were last read.
    pub(crate) fn zone_names(&self, vpc: &VpcId) -> BTreeMap<String, String> {
        let subnets = self.networks.subnets.lock();
        let found = subnets.known.found.iter().flat_map(|found| found.iter());
        let of_vpc = found.filter(|subnet| subnet.vpc == *vpc);
        of_vpc
            .map(|subnet| (subnet.zone_id.clone(), subnet.zone_name.clone()))
            .collect()
    }

    /// Whether something that is wanted has to be read.
    pub(crate) fn networks_are_due(&self, wanted: &Wanted<'_>) -> bool {
        let Wanted {
            network,
            vpc,
            service,
            max_age,
        } = wanted;
        let vpcs_are_due = self.networks.vpcs.lock().is_due(*max_age);
        let subnets_are_due = || {
            let vpc = network.and_then(|network| self.vpc(network, *vpc));
            vpc.is_some_and(|vpc| self.networks.subnets.lock().are_due(&vpc, *max_age))
        };
        let zones_are_due = || service.is_some_and(|service| self.networks.zones_are_due(service));
        vpcs_are_due || subnets_are_due() || zones_are_due()
    }

    /// Makes sure that what is wanted was read, as far as EC2 tells.
    ///
    /// # Errors
    /// Until when AWS allows no more reads, or that the session has expired.
    pub(crate) async fn refresh_networks(&self, ec2: &Ec2, wanted: &Wanted<'_>) -> Result<(), RefreshError> {
        let Wanted {
            network,
            vpc,
            service,
            max_age,
        } = wanted;
        self.refresh_vpcs(ec2, *max_age).await?;
        if let Some(vpc) = network.and_then(|network| self.vpc(network, *vpc)) {
            self.refresh_subnets(ec2, &vpc, *max_age).await?;
        }
        if let Some(service) = service {
            self.refresh_service_zones(ec2, service).await?;
        }
        Ok(())
    }

    /// The VPC of a network, by what was last read; where it is fixed, that one.
    fn vpc(&self, network: &Network, fixed: Option<&VpcId>) -> Option<VpcId> {
        fixed.cloned().or_else(|| {
            let vpcs = self.networks.vpcs.lock().found.clone()?;
            vpc_of(network, &vpcs).ok().map(|vpc| vpc.id.clone())
        })
    }

    async fn refresh_vpcs(&self, ec2: &Ec2, max_age: Duration) -> Result<(), RefreshError> {
        let is_due = || self.networks.vpcs.lock().is_due(max_age);
        let Some(_reading) = turn_to_read(&self.networks.reading, is_due).await else {
            return Ok(());
        };
        let found = told(self.pages(VPCS, |page| vpcs(ec2, page)).await)?;
        self.log_failure(&found);
        self.networks.vpcs.lock().take(found);
        Ok(())
    }

    /// Reads the subnets of a VPC together with those of the other VPCs that were asked for.
    async fn refresh_subnets(&self, ec2: &Ec2, vpc: &VpcId, max_age: Duration) -> Result<(), RefreshError> {
        let is_due = || self.networks.subnets.lock().are_due(vpc, max_age);
        let Some(_reading) = turn_to_read(&self.networks.reading, is_due).await else {
            return Ok(());
        };
        let of = self.networks.subnets.lock().unforgotten();
        let read = async {
            let mut all = Vec::new();
            for of in of.chunks(FILTER_VALUES) {
                all.extend(self.pages(SUBNETS, |page| subnets(ec2, of, page)).await?);
            }
            Ok(all)
        };
        let found = told(read.await)?;
        self.log_failure(&found);
        self.networks.subnets.lock().take(&of, found);
        Ok(())
    }

    async fn refresh_service_zones(&self, ec2: &Ec2, service: &str) -> Result<(), RefreshError> {
        let is_due = || self.networks.zones_are_due(service);
        let Some(_reading) = turn_to_read(&self.networks.reading, is_due).await else {
            return Ok(());
        };
        let found = told(self.pages(SERVICES, |_| service_zones(ec2, service)).await)?;
        self.log_failure(&found);
        let found = found.unwrap_or_default().into_iter().next();
        let mut zones = self.networks.zones.lock();
        zones.retain(|_, known| known.read.elapsed() < FORGOTTEN_AFTER);
        let read = Instant::now();
        zones.insert(
            service.to_owned(),
            Zones {
                found: found.map(Arc::new),
                read,
            },
        );
        Ok(())
    }

    fn log_failure<T>(&self, found: &Result<Vec<T>, CallError>) {
        if let Err(error) = found {
            tracing::warn!(
                account_id = self.key.account_id.as_str(),
                region = self.key.region.as_str(),
                %error,
                "the networks of the AWSAccount are not known"
            );
        }
    }
}

/// What EC2 answered, where it was asked. With another session it may answer otherwise.
fn told<T>(found: Result<Vec<T>, RefreshError>) -> Result<Result<Vec<T>, CallError>, RefreshError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(RefreshError::Failed(error)) if !error.is_expired_session() => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// EC2 DescribeVpcs, one page.
async fn vpcs(ec2: &Ec2, page: Option<String>) -> Result<(Vec<Vpc>, Option<String>), CallError> {
    let request = ec2.client.describe_vpcs().max_results(PAGE).set_next_token(page);
    let answer = observed(&ec2.observer, ec2.call(VPCS), request.send()).await?;
    let next = answer.next_token.filter(|token| !token.is_empty());
    let found = answer.vpcs.unwrap_or_default();
    Ok((found.into_iter().filter_map(vpc).collect(), next))
}

fn vpc(vpc: SdkVpc) -> Option<Vpc> {
    let first = vpc.cidr_block.into_iter();
    let more = vpc.cidr_block_association_set.unwrap_or_default().into_iter();
    let more = more.filter(|block| {
        let state = block.cidr_block_state.as_ref().and_then(|state| state.state.as_ref());
        state.is_none_or(|state| state.as_str() == ASSOCIATED)
    });
    let ipv6 = vpc.ipv6_cidr_block_association_set.unwrap_or_default().into_iter();
    let ipv6 = ipv6.filter(|block| {
        let state = block.ipv6_cidr_block_state.as_ref();
        let state = state.and_then(|state| state.state.as_ref());
        state.is_none_or(|state| state.as_str() == ASSOCIATED)
    });
    let blocks = first
        .chain(more.filter_map(|block| block.cidr_block))
        .chain(ipv6.filter_map(|block| block.ipv6_cidr_block));
    Some(Vpc::new(vpc.vpc_id?.into(), blocks, tag_map(vpc.tags)))
}

/// The state of an address block that can be used.
const ASSOCIATED: &str = "associated";

/// EC2 DescribeSubnets, one page.
async fn subnets(ec2: &Ec2, of: &[VpcId], page: Option<String>) -> Result<(Vec<Subnet>, Option<String>), CallError> {
    let values = of.iter().map(ToString::to_string).collect();
    let filter = Filter::builder().name("vpc-id").set_values(Some(values)).build();
    let request = ec2.client.describe_subnets().filters(filter);
    let request = request.max_results(PAGE).set_next_token(page);
    let answer = observed(&ec2.observer, ec2.call(SUBNETS), request.send()).await?;
    let next = answer.next_token.filter(|token| !token.is_empty());
    let found = answer.subnets.unwrap_or_default();
    Ok((found.into_iter().filter_map(subnet).collect(), next))
}

fn subnet(subnet: SdkSubnet) -> Option<Subnet> {
    let ipv6 = subnet.ipv6_cidr_block_association_set.unwrap_or_default();
    Some(Subnet {
        id: subnet.subnet_id?.into(),
        vpc: subnet.vpc_id?.into(),
        zone_name: subnet.availability_zone.clone().unwrap_or_default(),
        zone_id: subnet.availability_zone_id.or(subnet.availability_zone)?,
        available_ip_address_count: subnet.available_ip_address_count.unwrap_or_default(),
        has_ipv4: subnet.cidr_block.is_some_and(|block| !block.is_empty()),
        has_ipv6: ipv6.iter().any(|block| block.ipv6_cidr_block.is_some()),
        tags: tag_map(subnet.tags),
    })
}

/// EC2 DescribeVpcEndpointServices for one service, which has one page; one that is not there, or
/// that the account may not see, is an error to EC2 where it is named, and is filtered for here.
async fn service_zones(ec2: &Ec2, service: &str) -> Result<(Vec<ServiceZones>, Option<String>), CallError> {
    let filter = Filter::builder().name("service-name").values(service).build();
    let request = ec2.client.describe_vpc_endpoint_services().filters(filter);
    let answer = observed(&ec2.observer, ec2.call(SERVICES), request.send()).await?;
    let found = answer.service_details.unwrap_or_default().into_iter();
    let found = found.map(|service| ServiceZones {
        ids: service.availability_zone_ids.unwrap_or_default().into_iter().collect(),
        names: service.availability_zones.unwrap_or_default().into_iter().collect(),
    });
    Ok((found.collect(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vpc_that_is_asked_for_while_others_are_read_is_read_next() {
        let minute = Duration::from_mins(1);
        let (one, two): (VpcId, VpcId) = ("vpc-1".into(), "vpc-2".into());
        let mut subnets = Subnets::default();
        assert!(subnets.are_due(&one, minute));
        let of = subnets.unforgotten();
        assert!(subnets.are_due(&two, minute));
        subnets.take(&of, Ok(Vec::new()));
        assert!(!subnets.are_due(&one, minute));
        assert!(subnets.are_due(&two, minute));
        let of = subnets.unforgotten();
        subnets.take(&of, Ok(Vec::new()));
        assert!(!subnets.are_due(&one, minute) && !subnets.are_due(&two, minute));

        // What EC2 does not tell is not asked at once again, and what was read stays.
        let denied = CallError::of_item(SUBNETS, "UnauthorizedOperation", "no");
        let three: VpcId = "vpc-3".into();
        assert!(subnets.are_due(&three, minute));
        let of = subnets.unforgotten();
        subnets.take(&of, Err(denied));
        assert!(!subnets.are_due(&three, minute));
        assert!(subnets.known.found.is_some() && !subnets.asked[&three].is_read);
    }
}
