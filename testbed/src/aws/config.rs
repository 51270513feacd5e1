//! How the simulated AWS behaves: its speed, its limits, its regions.

use super::partition;

/// How the simulator behaves; times in seconds of simulated time.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many times as fast as ours its time runs.
    pub time_scale: f64,
    /// From an endpoint's creation (or acceptance) until it is available.
    pub pending_seconds: f64,
    /// From then on until it has DNS names.
    pub dns_seconds: f64,
    /// How long an endpoint is pending after its subnets were modified.
    pub modify_seconds: f64,
    /// From an endpoint's deletion until it is deleted.
    pub deleting_seconds: f64,
    /// How long a deleted endpoint is still described.
    pub deleted_linger_seconds: f64,
    /// How long interfaces outlive their endpoint or subnet.
    pub eni_release_seconds: f64,
    /// From the creation of an endpoint service until it is available; also from adding a
    /// supported region until it is available there.
    pub service_pending_seconds: f64,
    /// How long creating an endpoint is answered with a 503 after the service became available.
    pub service_unavailable_seconds: f64,
    /// From StartVpcEndpointServicePrivateDnsVerification until the TXT record is checked.
    pub verification_seconds: f64,
    /// Whether load balancers can be removed from an endpoint service with connected endpoints.
    /// AWS's pages disagree; the list of error codes says no.
    pub connected_load_balancers_removable: bool,
    /// From the creation of a load balancer until it is active; also from adding a subnet until its
    /// zone is ready.
    pub load_balancer_seconds: f64,
    /// How long describes do not see what a call has changed; with `consistency_seed`: how long at
    /// most.
    pub consistency_seconds: f64,
    /// Makes that time random, by this seed: each object has its own, and until it is over a
    /// describe may or may not see the change, so that the next one may go back in time. A call
    /// that names something new may be answered that it does not exist.
    pub consistency_seed: Option<u64>,
    /// How much there may be, in every account alike.
    pub quotas: Quotas,
    /// Whether the documented token buckets apply.
    pub throttle: bool,
    /// How much of every bucket's refill other clients of the account use up, from 0 to 1.
    pub others_share: f64,
    /// The most items on a page of a describe, whatever the caller asks for.
    pub page_size_cap: Option<usize>,
    /// The partition of the base identity, the only one whose roles it can assume.
    pub partition: String,
    /// The regions that are there; the default: those that AWS enables in every account.
    pub regions: Vec<String>,
    /// Whether the base identity is a role's session, as with IRSA, and not an IAM user.
    pub base_is_session: bool,
}

/// What an account may have, as AWS grants it unasked; AWS raises most of these on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// Interface and Gateway Load Balancer endpoints of a VPC, together.
    pub interface_endpoints: usize,
    /// Gateway endpoints of a region.
    pub gateway_endpoints: usize,
    /// Gateway endpoints of a VPC, where more are granted in the region.
    pub gateway_endpoints_per_vpc: usize,
    /// Resource endpoints of a VPC.
    pub resource_endpoints: usize,
    /// ServiceNetwork endpoints of a VPC.
    pub service_network_endpoints: usize,
    /// Security groups of a region.
    pub groups: usize,
    /// Rules of a group in one direction, for IPv4 and IPv6 each.
    pub rules: usize,
    /// Security groups of an interface.
    pub groups_per_interface: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            interface_endpoints: 50,
            gateway_endpoints: 20,
            gateway_endpoints_per_vpc: 255,
            resource_endpoints: 200,
            service_network_endpoints: 50,
            groups: 2500,
            rules: 60,
            groups_per_interface: 5,
        }
    }
}

impl Config {
    /// The default in a partition: `aws`, `aws-cn` or `aws-us-gov`, whose regions then are there.
    pub fn of_partition(partition: &str) -> Self {
        Self {
            time_scale: 1.0,
            pending_seconds: 2.0,
            dns_seconds: 0.0,
            modify_seconds: 1.0,
            deleting_seconds: 1.0,
            deleted_linger_seconds: 60.0,
            eni_release_seconds: 1.0,
            service_pending_seconds: 1.0,
            service_unavailable_seconds: 0.0,
            verification_seconds: 2.0,
            connected_load_balancers_removable: false,
            load_balancer_seconds: 2.0,
            consistency_seconds: 0.0,
            consistency_seed: None,
            quotas: Quotas::default(),
            throttle: true,
            others_share: 0.0,
            page_size_cap: None,
            partition: partition.to_owned(),
            regions: partition::regions(partition).iter().map(|r| (*r).to_owned()).collect(),
            base_is_session: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::of_partition("aws")
    }
}
