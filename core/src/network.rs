//! Networks of an AWSAccount: which VPC and which subnets an endpoint is put into, so that its spec
//! needs to name neither.
//!
//! What was chosen stays: a tag that changes in AWS moves nothing. Only an edit of the network, or
//! a subnet that is gone, chooses again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::api::{
    AWSAccountSpec, AccountNetworkStatus, EndpointType, IpAddressType, Network, NetworkStatus, NetworkSubnet,
    VPCEndpointSpec,
};
use crate::conditions::{Finding, Reason};
use crate::ids::{Region, SubnetId, VpcId};
use crate::tags::hex;

/// Messages list so many of what may be many.
const LISTED: usize = 8;
/// A status lists so many subnets of a network.
const MOST_SUBNETS: usize = 50;
/// Fewer free addresses than these are counted exactly.
const FEW_ADDRESSES: i32 = 32;
/// So much of a hash tells one network from another.
const HASH_BYTES: usize = 8;

/// A VPC, as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// Its IPv4 and IPv6 address blocks.
    pub cidr_blocks: Vec<IpNet>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Vpc {
    /// One with these address blocks, of which those that are none are left out.
    pub fn new(
        id: VpcId,
        cidr_blocks: impl IntoIterator<Item = String>,
        tags: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let blocks = cidr_blocks.into_iter();
        let blocks: BTreeSet<IpNet> = blocks.filter_map(|block| block.parse().ok()).collect();
        Self {
            id,
            cidr_blocks: blocks.into_iter().collect(),
            tags: tags.into_iter().collect(),
        }
    }
}

/// A subnet, as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// The VPC that it is in.
    pub vpc: VpcId,
    /// The id of its availability zone, which is the same in every AWS account.
    pub zone_id: String,
    /// The name of the zone in this AWS account.
    pub zone_name: String,
    /// How many IPv4 addresses are free.
    pub available_ip_address_count: i32,
    /// Whether it has IPv4 addresses.
    pub has_ipv4: bool,
    /// Whether it has IPv6 addresses.
    pub has_ipv6: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Subnet {
    fn in_zone(&self) -> (SubnetId, Option<String>) {
        (self.id.clone(), Some(self.zone_id.clone()))
    }
}

/// The availability zones that a service is in, as the AWS account of the endpoint sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceZones {
    /// By id. Empty where EC2 gives names only.
    pub ids: BTreeSet<String>,
    /// By name.
    pub names: BTreeSet<String>,
}

impl ServiceZones {
    fn has(&self, subnet: &Subnet) -> bool {
        match self.ids.is_empty() {
            true => self.names.contains(&subnet.zone_name),
            false => self.ids.contains(&subnet.zone_id),
        }
    }
}

/// What was chosen for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The network's name; none of what was not chosen from one.
    pub name: Option<String>,
    /// The VPC.
    pub vpc: VpcId,
    /// The subnets, and the ids of their zones, as far as they are known. None for types without,
    /// and for an endpoint that is adopted, which keeps those that it has.
    pub subnets: BTreeMap<SubnetId, Option<String>>,
    /// The hash of the network that was chosen from.
    pub hash: Option<String>,
}

impl Chosen {
    /// What an object is bound to.
    pub fn of_status(bound: &NetworkStatus) -> Self {
        let zone = |id: &String| bound.zone_ids.get(id).cloned();
        let subnets = bound.subnet_ids.iter();
        Self {
            name: bound.name.clone(),
            vpc: bound.vpc_id.as_str().into(),
            subnets: subnets.map(|id| (id.as_str().into(), zone(id))).collect(),
            hash: bound.network_hash.clone(),
        }
    }

    /// As a status has it.
    pub fn to_status(&self) -> NetworkStatus {
        let zones = self.subnets.iter();
        let zones = zones.filter_map(|(id, zone)| Some((id.to_string(), zone.clone()?)));
        NetworkStatus {
            name: self.name.clone(),
            vpc_id: self.vpc.to_string(),
            subnet_ids: self.subnets.keys().map(ToString::to_string).collect(),
            zone_ids: zones.collect(),
            network_hash: self.hash.clone(),
        }
    }
}

/// Where an object is, as far as its spec does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// What was chosen from a network; none where the spec names VPC and subnets.
    pub chosen: Option<Chosen>,
    /// The VPC's own address blocks, where they are known.
    pub vpc_cidr_blocks: Option<Vec<IpNet>>,
}

impl Placement {
    /// The spec with the VPC and the subnets that were chosen.
    pub fn complete<'s>(&self, spec: &'s VPCEndpointSpec) -> Cow<'s, VPCEndpointSpec> {
        match &self.chosen {
            None => Cow::Borrowed(spec),
            Some(chosen) => Cow::Owned(VPCEndpointSpec {
                vpc_id: Some(chosen.vpc.to_string()),
                subnet_ids: chosen.subnets.keys().map(ToString::to_string).collect(),
                ..spec.clone()
            }),
        }
    }
}

/// Where a spec says that the endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the VPC that it names.
    Vpc,
    /// In this network of the AWSAccount.
    Network(&'a str),
    /// In the AWSAccount's default network.
    DefaultNetwork,
}

impl<'a> Place<'a> {
    /// Of a spec.
    pub fn of(spec: &'a VPCEndpointSpec) -> Self {
        match (&spec.vpc_id, &spec.network) {
            (Some(_), _) => Self::Vpc,
            (None, Some(name)) => Self::Network(name),
            (None, None) => Self::DefaultNetwork,
        }
    }
}

/// The network that is asked for; none where a VPC is. One that is bound to a network and names
/// none stays in that one, for as long as it is there.
///
/// # Errors
/// When there is no such network, or nothing says which.
pub fn asked<'a>(
    place: Place<'_>,
    account: &'a AWSAccountSpec,
    account_name: &str,
    bound: Option<&NetworkStatus>,
) -> Result<Option<&'a Network>, Finding> {
    let named = match place {
        Place::Vpc => return Ok(None),
        Place::Network(name) => Some(name),
        Place::DefaultNetwork => None,
    };
    let networks = &account.networks;
    let only = || match &networks[..] {
        [only] => Some(only.name.as_str()),
        _ => None,
    };
    let bound = bound.and_then(|bound| bound.name.as_deref());
    let bound = bound.filter(|bound| networks.iter().any(|network| network.name == *bound));
    let default = account.default_network.as_deref();
    let Some(name) = named.or(bound).or(default).or_else(only) else {
        let names = networks.iter().map(|network| network.name.as_str());
        let advice = match networks.is_empty() {
            true => format!("AWSAccount {account_name} has no networks: set spec.vpc_id and spec.subnet_ids"),
            false => format!(
                "AWSAccount {account_name} has no default_network: set spec.network to one of {}, or spec.vpc_id and \
                 spec.subnet_ids",
                listed(names)
            ),
        };
        return Err(Finding::bad(Reason::NetworkNotFound, advice));
    };
    let found = networks.iter().find(|network| network.name == name);
    found.map(Some).ok_or_else(|| {
        let names = listed(networks.iter().map(|network| network.name.as_str()));
        let those = match names.is_empty() {
            true => "it has none".to_owned(),
            false => format!("it has {names}"),
        };
        Finding::bad(
            Reason::NetworkNotFound,
            format!(
                "AWSAccount {account_name} has no network {name} ({those}): set spec.network to one that it has, or ask your \
                 platform team"
            ),
        )
    })
}

/// Whether VPCs and subnets are read for an AWSAccount.
pub fn reads_networks(account: &AWSAccountSpec) -> bool {
    let mut generated = account.generated_ingress.iter().flatten();
    !account.networks.is_empty() || generated.any(|rule| rule.vpc_cidr_blocks)
}

/// What tells a network from what it was before an edit: all that chooses, which the name does not.
pub fn hash(network: &Network) -> String {
    let Network {
        name: _,
        region,
        vpc_id,
        vpc_tags,
        subnet_ids,
        subnet_tags,
        zone_ids,
    } = network;
    let chooses = (
        region,
        vpc_id,
        vpc_tags,
        sorted(subnet_ids),
        subnet_tags,
        sorted(zone_ids),
    );
    let text = serde_json::to_vec(&chooses).unwrap_or_default();
    hex(&Sha256::digest(text)[..HASH_BYTES])
}

fn sorted(values: &[String]) -> BTreeSet<&String> {
    values.iter().collect()
}

/// The VPC that a network is in.
///
/// # Errors
/// When none is, or several are.
pub fn vpc_of<'a>(network: &Network, vpcs: &'a [Vpc]) -> Result<&'a Vpc, String> {
    let (name, region) = (&network.name, &network.region);
    if let Some(id) = &network.vpc_id {
        let found = vpcs.iter().find(|vpc| vpc.id.as_str() == id);
        return found.ok_or_else(|| format!("network {name}: there is no VPC {id} in {region}"));
    }
    let matching: Vec<&Vpc> = vpcs
        .iter()
        .filter(|vpc| has_all(&vpc.tags, &network.vpc_tags))
        .collect();
    match matching[..] {
        [only] => Ok(only),
        [] => Err(format!(
            "network {name}: no VPC in {region} has the tags {}",
            tags(&network.vpc_tags)
        )),
        _ => Err(format!(
            "network {name}: several VPCs in {region} have the tags {}: {}",
            tags(&network.vpc_tags),
            listed(matching.iter().map(|vpc| vpc.id.as_str()))
        )),
    }
}

/// The subnets of a network, in its VPC.
///
/// # Errors
/// When one that it names is not there, or there are none.
pub fn subnets_of<'a>(network: &Network, vpc: &VpcId, subnets: &'a [Subnet]) -> Result<Vec<&'a Subnet>, String> {
    let name = &network.name;
    let here = || subnets.iter().filter(|subnet| subnet.vpc == *vpc);
    let missing = network
        .subnet_ids
        .iter()
        .filter(|id| !here().any(|subnet| subnet.id.as_str() == **id));
    let missing = listed(missing.map(String::as_str));
    if !missing.is_empty() {
        return Err(format!("network {name}: {missing} not in {vpc}"));
    }
    let is_selected = |subnet: &&Subnet| {
        let by_id = network.subnet_ids.is_empty() || network.subnet_ids.iter().any(|id| id == subnet.id.as_str());
        let in_zone = network.zone_ids.is_empty() || network.zone_ids.contains(&subnet.zone_id);
        by_id && in_zone && has_all(&subnet.tags, &network.subnet_tags)
    };
    let selected: Vec<&Subnet> = here().filter(is_selected).collect();
    if selected.is_empty() {
        let with_tags = match network.subnet_tags.is_empty() {
            true => String::new(),
            false => format!(" with the tags {}", tags(&network.subnet_tags)),
        };
        let in_zones = match network.zone_ids.is_empty() {
            true => String::new(),
            false => format!(" in the zones {}", listed(network.zone_ids.iter().map(String::as_str))),
        };
        return Err(format!("network {name}: {vpc} has no subnet{with_tags}{in_zones}"));
    }
    Ok(selected)
}

/// What a network consists of, for its AWSAccount's status.
pub fn describe(network: &Network, vpcs: &[Vpc], subnets: &[Subnet]) -> AccountNetworkStatus {
    let mut status = AccountNetworkStatus {
        name: network.name.clone(),
        ..AccountNetworkStatus::default()
    };
    let found = vpc_of(network, vpcs).and_then(|vpc| {
        status.vpc_id = Some(vpc.id.to_string());
        subnets_of(network, &vpc.id, subnets)
    });
    match found {
        Ok(found) => {
            let subnet = |subnet: &Subnet| NetworkSubnet {
                subnet_id: subnet.id.to_string(),
                zone_id: subnet.zone_id.clone(),
                available_ip_address_count: subnet.available_ip_address_count,
            };
            status.subnets = found.into_iter().map(subnet).collect();
            status.subnets.sort_by(|a, b| a.subnet_id.cmp(&b.subnet_id));
            status.subnets.truncate(MOST_SUBNETS);
        }
        Err(message) => status.message = Some(message),
    }
    status
}

/// What a status says next: the number of free addresses changes with every pod and instance, and
/// is written down only where it has changed by a quarter, or is small.
pub fn steadied(before: &[AccountNetworkStatus], mut now: AccountNetworkStatus) -> AccountNetworkStatus {
    let Some(before) = before.iter().find(|before| before.name == now.name) else {
        return now;
    };
    for subnet in &mut now.subnets {
        let is_it = |before: &&NetworkSubnet| before.subnet_id == subnet.subnet_id;
        let said = before.subnets.iter().find(is_it);
        let said = said.map_or(0, |before| before.available_ip_address_count);
        let free = &mut subnet.available_ip_address_count;
        if said.min(*free) >= FEW_ADDRESSES && free.abs_diff(said) < said.unsigned_abs() / 4 {
            *free = said;
        }
    }
    now
}

/// How many subnets are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubnetCount {
    /// None: routes lead to the endpoint, or it is adopted and keeps those that it has.
    None,
    /// One, in the network's only zone.
    One,
    /// One in each zone.
    OneInEachZone,
}

impl SubnetCount {
    /// Of an endpoint of a type.
    pub fn of(endpoint_type: EndpointType) -> Self {
        match endpoint_type {
            EndpointType::Gateway => Self::None,
            EndpointType::GatewayLoadBalancer => Self::One,
            EndpointType::Interface | EndpointType::Resource | EndpointType::ServiceNetwork => Self::OneInEachZone,
        }
    }
}

/// What VPC and subnets are chosen from.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The AWSAccount's name.
    pub account: &'a str,
    /// The network.
    pub network: &'a Network,
    /// Where the object is, or is about to be, bound to.
    pub region: &'a Region,
    /// The VPCs and subnets of the region, or why they are not known.
    pub seen: Result<(&'a [Vpc], &'a [Subnet]), &'a str>,
    /// What the endpoint connects to, for messages.
    pub target: &'a str,
    /// The zones that it is in; none where that is not known, or does not matter.
    pub zones: Option<&'a ServiceZones>,
    /// The guardrail on subnets.
    pub allowed_subnet_ids: Option<&'a [String]>,
    /// How many subnets the endpoint needs.
    pub subnets: SubnetCount,
    /// The address families that each subnet must have.
    pub ip_address_type: Option<IpAddressType>,
    /// What the object is bound to, if it is.
    pub bound: Option<&'a NetworkStatus>,
    /// Whether there is an endpoint, which its VPC is fixed for.
    pub exists: bool,
}

/// VPC and subnets, and why the endpoint that is there is only left as it is.
pub type Choosing = Result<(Chosen, Option<Finding>), Finding>;

/// Whether an object that is bound keeps what it is bound to whatever is in AWS, but for subnets
/// that are gone.
pub fn is_kept(network: &Network, bound: Option<&NetworkStatus>) -> bool {
    bound.is_some_and(|bound| {
        bound.name.as_ref() == Some(&network.name) && bound.network_hash.as_deref() == Some(&hash(network))
    })
}

impl Choice<'_> {
    /// Chooses. An endpoint that is there stays where it is, and is left as it is where nothing can
    /// be chosen.
    ///
    /// # Errors
    /// What has to change before there can be an endpoint.
    pub fn choose(&self) -> Choosing {
        let unedited = self.bound.filter(|_| is_kept(self.network, self.bound));
        let chosen = match unedited {
            Some(bound) => match self.kept(bound) {
                Some(kept) => Ok(kept),
                None if self.exists => self.replaced(bound),
                None => self.anew(),
            },
            None => self.anew(),
        };
        match (chosen, self.bound) {
            (Ok(chosen), _) => Ok((chosen, None)),
            (Err(finding), Some(bound)) if self.exists => Ok((self.of_status(bound), Some(finding))),
            (Err(finding), _) => Err(finding),
        }
    }

    fn of_status(&self, bound: &NetworkStatus) -> Chosen {
        let mut chosen = Chosen::of_status(bound);
        if self.subnets == SubnetCount::None {
            chosen.subnets.clear();
        }
        chosen
    }

    /// What the object is bound to, where nothing of it is gone.
    fn kept(&self, bound: &NetworkStatus) -> Option<Chosen> {
        let chosen = self.of_status(bound);
        if self.subnets == SubnetCount::None {
            return Some(chosen);
        }
        let Some(subnets) = self.subnets_in(&chosen.vpc) else {
            // That they were not read does not say that they are gone.
            return Some(chosen).filter(|_| self.exists);
        };
        let is_there = |id: &SubnetId| {
            let found = subnets
                .iter()
                .find(|subnet| subnet.id == *id && subnet.vpc == chosen.vpc);
            found.is_some_and(|subnet| self.exists || (self.is_usable(subnet) && self.is_in_zone(subnet)))
        };
        let is_whole = !chosen.subnets.is_empty() && chosen.subnets.keys().all(is_there);
        is_whole.then_some(chosen)
    }

    /// The subnets that were read, if some of the VPC were.
    fn subnets_in(&self, vpc: &VpcId) -> Option<&[Subnet]> {
        let (_, subnets) = self.seen.ok()?;
        subnets.iter().any(|subnet| subnet.vpc == *vpc).then_some(subnets)
    }

    /// What an endpoint has, with others in place of the subnets that are gone.
    fn replaced(&self, bound: &NetworkStatus) -> Result<Chosen, Finding> {
        let mut chosen = self.of_status(bound);
        let (_, subnets) = self.seen.map_err(|why| self.not_ready(why))?;
        let candidates = subnets_of(self.network, &chosen.vpc, subnets).unwrap_or_default();
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut chosen.subnets)
            .into_iter()
            .partition(|(id, _)| subnets.iter().any(|subnet| subnet.id == *id));
        let zones: BTreeSet<&String> = gone.values().flatten().collect();
        let others = zones.iter().filter_map(|zone| self.best(&candidates, zone));
        chosen.subnets = others.map(Subnet::in_zone).collect();
        chosen.subnets.extend(kept);
        if chosen.subnets.is_empty() {
            let gone = listed(gone.keys().map(SubnetId::as_str));
            return Err(self.not_ready(&format!("{gone} is gone, and no other subnet is in its zone")));
        }
        Ok(chosen)
    }

    /// As the network says now; of each zone the subnet that the object is bound to, where it
    /// still may be used.
    fn anew(&self) -> Result<Chosen, Finding> {
        let Self {
            account,
            network,
            region,
            ..
        } = self;
        if network.region != region.as_str() {
            return Err(Finding::bad(
                Reason::NetworkNotFound,
                format!(
                    "network {} of AWSAccount {account} is in {}, and the endpoint in {region}: set spec.network to one in \
                     {region}, or spec.vpc_id and spec.subnet_ids",
                    network.name, network.region
                ),
            ));
        }
        let (vpcs, subnets) = self.seen.map_err(|why| self.not_ready(why))?;
        let vpc = vpc_of(network, vpcs).map_err(|why| self.not_ready(&why))?;
        if let Some(bound) = self
            .bound
            .filter(|bound| self.exists && bound.vpc_id != vpc.id.as_str())
        {
            return Err(Finding::bad(
                Reason::BindingConflict,
                format!(
                    "network {} of AWSAccount {account} is in {}, but the endpoint is in {}, which AWS fixed when it was \
                     created: ask your platform team, or apply another object and delete this one",
                    network.name, vpc.id, bound.vpc_id
                ),
            ));
        }
        let mut chosen = Chosen {
            name: Some(network.name.clone()),
            vpc: vpc.id.clone(),
            subnets: BTreeMap::new(),
            hash: Some(hash(network)),
        };
        if self.subnets == SubnetCount::None {
            return Ok(chosen);
        }
        let candidates = subnets_of(network, &vpc.id, subnets).map_err(|why| self.not_ready(&why))?;
        let in_zones: Vec<&Subnet> = candidates
            .iter()
            .copied()
            .filter(|subnet| self.is_in_zone(subnet))
            .collect();
        let zones: BTreeSet<&String> = in_zones.iter().map(|subnet| &subnet.zone_id).collect();
        if zones.is_empty() {
            let of_network: BTreeSet<&str> = candidates.iter().map(|subnet| subnet.zone_id.as_str()).collect();
            let of_service = self.zones.iter().flat_map(|zones| match zones.ids.is_empty() {
                true => &zones.names,
                false => &zones.ids,
            });
            return Err(self.not_ready(&format!(
                "network {}: it has subnets in {}, and {} is in {} only",
                network.name,
                listed(of_network),
                self.target,
                listed(of_service.map(String::as_str)),
            )));
        }
        for zone in &zones {
            let best = self
                .best(&in_zones, zone)
                .ok_or_else(|| self.unusable(&in_zones, zone))?;
            chosen.subnets.extend([best.in_zone()]);
        }
        if self.subnets == SubnetCount::One && chosen.subnets.len() != 1 {
            let zones = listed(zones.into_iter().map(String::as_str));
            return Err(Finding::bad(
                Reason::InvalidSpec,
                format!(
                    "an endpoint of type GatewayLoadBalancer is in exactly one subnet, and network {} has some in {zones}: set \
                     spec.network to one with a single zone, or spec.vpc_id and spec.subnet_ids",
                    network.name
                ),
            ));
        }
        Ok(chosen)
    }

    /// Whether the endpoint may have a network interface in it.
    fn is_usable(&self, subnet: &Subnet) -> bool {
        self.is_allowed(subnet) && self.has_families(subnet)
    }

    fn is_allowed(&self, subnet: &Subnet) -> bool {
        let allowed = self.allowed_subnet_ids;
        allowed.is_none_or(|allowed| allowed.iter().any(|id| id == subnet.id.as_str()))
    }

    fn has_families(&self, subnet: &Subnet) -> bool {
        match self.ip_address_type {
            None | Some(IpAddressType::Ipv4) => subnet.has_ipv4,
            Some(IpAddressType::Ipv6) => subnet.has_ipv6,
            Some(IpAddressType::Dualstack) => subnet.has_ipv4 && subnet.has_ipv6,
        }
    }

    fn is_in_zone(&self, subnet: &Subnet) -> bool {
        self.zones.is_none_or(|zones| zones.has(subnet))
    }

    /// The subnet of a zone that the object is bound to; else the one with the most free addresses.
    fn best<'s>(&self, candidates: &[&'s Subnet], zone: &str) -> Option<&'s Subnet> {
        let in_zone = candidates.iter().copied().filter(|subnet| subnet.zone_id == zone);
        let is_bound = |subnet: &Subnet| {
            let bound = self.bound.iter().flat_map(|bound| &bound.subnet_ids);
            bound.into_iter().any(|id| id == subnet.id.as_str())
        };
        let has_room = |subnet: &Subnet| subnet.available_ip_address_count > 0 || !subnet.has_ipv4;
        in_zone
            .filter(|subnet| self.is_usable(subnet) && (is_bound(subnet) || has_room(subnet)))
            .max_by(|a, b| {
                let rank = |subnet: &Subnet| (is_bound(subnet), subnet.available_ip_address_count);
                rank(a).cmp(&rank(b)).then_with(|| b.id.cmp(&a.id))
            })
    }

    /// Why a zone has no subnet for the endpoint.
    fn unusable(&self, candidates: &[&Subnet], zone: &str) -> Finding {
        let in_zone = || candidates.iter().copied().filter(|subnet| subnet.zone_id == zone);
        let ids = listed(in_zone().map(|subnet| subnet.id.as_str()));
        let network = &self.network.name;
        if in_zone().all(|subnet| !self.is_allowed(subnet)) {
            return Finding::bad(
                Reason::NotAllowed,
                format!(
                    "network {network}: its subnets in {zone} ({ids}) are not allowed by the guardrails of AWSAccount {} \
                     (allowed_subnet_ids): ask your platform team",
                    self.account
                ),
            );
        }
        let why = match in_zone().any(|subnet| self.is_usable(subnet)) {
            true => "have no free address",
            false => "do not have the addresses that ip_address_type asks for",
        };
        self.not_ready(&format!("network {network}: its subnets in {zone} ({ids}) {why}"))
    }

    fn not_ready(&self, why: &str) -> Finding {
        Finding::bad(
            Reason::NetworkNotReady,
            format!("ask your platform team: AWSAccount {}: {why}", self.account),
        )
    }
}

fn has_all(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key) == Some(value))
}

fn tags(wanted: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

fn listed<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<&str> = values.into_iter().collect();
    let more = values.len().saturating_sub(LISTED);
    let named = values[..values.len() - more].join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
