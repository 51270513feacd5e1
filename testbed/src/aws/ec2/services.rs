//! Endpoint services: what endpoints can be made for.

mod amazon;
mod offers;

use std::collections::{BTreeMap, BTreeSet};

use super::endpoint::{Endpoint, EndpointType};
use super::endpoint_services::NameState;
use super::options::IpAddressType;
use super::region::zone_id;
use super::tags::Tags;
use crate::aws::error::ApiError;
use crate::aws::identity::Principal;
use crate::aws::partition;

pub(super) use amazon::is_amazons_prefix_list;
pub(crate) use amazon::prefix_list_id;
pub(super) use offers::describe;

/// An endpoint service without a simulated provider, by its full name in a region.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceSpec {
    /// Whether its owner must accept endpoints.
    pub acceptance_required: bool,
    /// The zones that it is in (`us-west-2a`), as its owner names them; empty: all.
    pub azs: Vec<String>,
    /// The types of its endpoints; empty: Interface.
    pub types: Vec<EndpointType>,
    /// The name that private DNS leads to an endpoint, if the service has one; that it is verified
    /// is taken for granted.
    pub private_dns_name: Option<String>,
    /// What it accepts, `ipv4` and `ipv6`; empty: IPv4.
    pub ip_address_types: Vec<String>,
    /// The accounts that may use it; empty: all. For others it is not there.
    pub allowed_accounts: Vec<String>,
    /// The regions that it is offered in besides its own.
    pub regions: Vec<String>,
    /// Until then, in simulated time, no endpoint can be created for it, as for one that its owner
    /// has just created: the answer is a 503.
    pub unavailable_until: f64,
}

/// A service as consumers see it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(super) spec: ServiceSpec,
    /// Its provider, if a simulated account hosts it.
    pub(super) provider: Option<Provider>,
}

/// The provider of a service.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(super) account: String,
    pub(super) zone_ids: BTreeSet<String>,
    /// Allowed principals: ARNs or `*`.
    pub(super) principals: BTreeSet<String>,
    /// The verification state of the private DNS name, if there is one.
    pub(super) name_state: Option<NameState>,
    /// Whether the private DNS name is no longer verified.
    pub(super) lost_name: bool,
    pub(super) tags: Tags,
}

impl Provider {
    /// Whether the caller is an allowed principal. Role ARNs of allowed principals have no path
    /// (API reference, "ModifyVpcEndpointServicePermissions").
    fn admits(&self, caller: &Principal) -> bool {
        let account = &caller.account;
        let root = format!("arn:{}:iam::{account}:root", partition::of_arn(&caller.role));
        let mut parts = caller.role.splitn(2, '/');
        let kind = parts.next().unwrap_or_default();
        let name = caller.role.rsplit('/').next().unwrap_or_default();
        let pathless = format!("{kind}/{name}");
        ["*", &root, &caller.role, &pathless]
            .iter()
            .any(|principal| self.principals.contains(*principal))
    }
}

impl From<ServiceSpec> for Service {
    fn from(spec: ServiceSpec) -> Self {
        Self { spec, provider: None }
    }
}

impl Service {
    pub(super) fn types(&self) -> &[EndpointType] {
        match self.spec.types.as_slice() {
            [] => &[EndpointType::Interface],
            types => types,
        }
    }

    /// Whether it has both gateway and interface endpoints.
    pub(super) fn has_gateway_and_interface(&self) -> bool {
        let has = |kind| self.types().contains(&kind);
        has(EndpointType::Gateway) && has(EndpointType::Interface)
    }

    /// The ids of its zones.
    pub(super) fn zone_ids(&self, region: &str) -> BTreeSet<String> {
        if let Some(provider) = &self.provider {
            return provider.zone_ids.clone();
        }
        let zones = ["a", "b", "c"].map(|letter| format!("{region}{letter}"));
        let own = self.spec.azs.as_slice();
        let azs = if own.is_empty() { &zones[..] } else { own };
        azs.iter().map(|az| zone_id(az)).collect()
    }

    /// Whether it is in a zone, by the zone's id.
    pub(super) fn supports_zone(&self, id: &str) -> bool {
        match &self.provider {
            Some(provider) => provider.zone_ids.contains(id),
            None => self.spec.azs.is_empty() || self.spec.azs.iter().any(|az| zone_id(az) == id),
        }
    }

    pub(super) fn ip_address_types(&self) -> Vec<&str> {
        match self.spec.ip_address_types.as_slice() {
            [] => vec!["ipv4"],
            types => types.iter().map(String::as_str).collect(),
        }
    }

    pub(super) fn supports(&self, ip: IpAddressType) -> bool {
        let accepted = self.ip_address_types();
        (!ip.has_ipv4() || accepted.contains(&"ipv4")) && (!ip.has_ipv6() || accepted.contains(&"ipv6"))
    }

    /// The verification state of its private DNS name, if it has one.
    pub(super) fn name_state(&self) -> Option<NameState> {
        match &self.provider {
            Some(provider) => provider.name_state,
            None => self.spec.private_dns_name.as_ref().map(|_| NameState::Verified),
        }
    }

    /// Whether it is offered to a caller in a region, which may be another than its own.
    fn is_offered(&self, service_region: &str, caller: &Principal, region: &str) -> bool {
        let lists = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted);
        let spec = &self.spec;
        let admitted = match &self.provider {
            Some(provider) => provider.admits(caller),
            None => spec.allowed_accounts.is_empty() || lists(&spec.allowed_accounts, &caller.account),
        };
        admitted && (service_region == region || lists(&spec.regions, region))
    }
}

/// The services of all regions, by region and full name.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    given: BTreeMap<String, BTreeMap<String, Service>>,
    /// Services hosted by accounts.
    hosted: BTreeMap<String, BTreeMap<String, Service>>,
}

impl Services {
    /// AWS's own in these regions.
    pub(crate) fn new(regions: &[String]) -> Self {
        let of = |region: &String| (region.clone(), amazon::services(region));
        Self {
            given: regions.iter().map(of).collect(),
            hosted: BTreeMap::new(),
        }
    }

    /// Adds one, and its region if that is new.
    pub(crate) fn add(&mut self, region: &str, name: &str, spec: ServiceSpec) {
        let services = self.given.entry(region.to_owned());
        let services = services.or_insert_with(|| amazon::services(region));
        services.insert(name.to_owned(), Service::from(spec));
    }

    /// Whether any account hosts a service.
    pub(crate) fn has_hosted(&self) -> bool {
        !self.hosted.is_empty()
    }

    /// Replaces the services hosted by accounts.
    pub(crate) fn set_hosted(&mut self, hosted: BTreeMap<String, BTreeMap<String, Service>>) {
        self.hosted = hosted;
    }

    pub(crate) fn has_region(&self, region: &str) -> bool {
        self.given.contains_key(region)
    }

    pub(super) fn get(&self, region: &str, name: &str) -> Option<&Service> {
        let all = [&self.hosted, &self.given];
        all.into_iter().find_map(|services| services.get(region)?.get(name))
    }

    /// An endpoint's service.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<&Service> {
        self.get(&endpoint.service_region, &endpoint.service_name)
    }

    /// A service as it is offered to a caller in a region, which may be another than its own.
    pub(super) fn offered(
        &self,
        service_region: &str,
        name: &str,
        caller: &Principal,
        region: &str,
    ) -> Option<&Service> {
        let service = self.get(service_region, name);
        service.filter(|service| service.is_offered(service_region, caller, region))
    }

    pub(super) fn in_region(&self, region: &str) -> impl Iterator<Item = (&String, &Service)> {
        let of = |services| BTreeMap::get(services, region).into_iter().flatten();
        of(&self.given).chain(of(&self.hosted))
    }

    /// Who offers a service: an account, or `amazon`.
    pub(super) fn owner(&self, region: &str, name: &str) -> &str {
        let provider = self.get(region, name).and_then(|service| service.provider.as_ref());
        match provider {
            Some(provider) => &provider.account,
            None if is_customers(name) => "888888888888",
            None => "amazon",
        }
    }
}

/// The full name of a service hosted by an account.
pub(crate) fn service_name(region: &str, id: &str) -> String {
    let china = if partition::of_region(region) == "aws-cn" {
        amazon::CHINA
    } else {
        ""
    };
    format!("{china}com.amazonaws.vpce.{region}.{id}")
}

/// The domain of an interface endpoint's DNS names, without the endpoint's own label.
pub(super) fn dns_suffix(service_name: &str, region: &str) -> String {
    let domain = partition::domain(region);
    let last = service_name.rsplit('.').next().unwrap_or_default();
    if last.starts_with("vpce-svc-") {
        return format!("{last}.{region}.vpce.{domain}");
    }
    let name = service_name.strip_prefix(amazon::CHINA).unwrap_or(service_name);
    let service = name.splitn(4, '.').last().unwrap_or_default();
    format!("{}.{region}.vpce.{domain}", amazon::reversed(service))
}

/// Whether the service's endpoints take policies: AWS's own do here, customers' do not.
pub(super) fn takes_policies(service_name: &str) -> bool {
    !is_customers(service_name)
}

fn is_customers(service_name: &str) -> bool {
    let last = service_name.rsplit('.').next();
    last.is_some_and(|last| last.starts_with("vpce-svc-"))
}

pub(super) fn not_found(name: &str) -> ApiError {
    ApiError::new(
        "InvalidServiceName",
        format!("The Vpc Endpoint Service '{name}' does not exist"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_private_and_of_amazons_services() {
        assert_eq!(
            dns_suffix("com.amazonaws.vpce.us-west-2.vpce-svc-01a9", "us-west-2"),
            "vpce-svc-01a9.us-west-2.vpce.amazonaws.com"
        );
        assert_eq!(
            dns_suffix("com.amazonaws.us-west-2.ecr.api", "us-west-2"),
            "api.ecr.us-west-2.vpce.amazonaws.com"
        );
        assert_eq!(
            dns_suffix("cn.com.amazonaws.cn-north-1.ecr.api", "cn-north-1"),
            "api.ecr.cn-north-1.vpce.amazonaws.com.cn"
        );
    }
}
