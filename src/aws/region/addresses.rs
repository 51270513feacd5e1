//! The private addresses of endpoints' network interfaces, which headless Services publish: read
//! for all endpoints of the region that have one at once, where the interfaces of any have changed
//! or the resync interval has passed.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{Filter, NetworkInterface};
use vpce_core::api::IpAddressType;
use vpce_core::ids::EndpointId;
use vpce_core::observed::{ObservedEndpoint, State};
use vpce_core::slices::{InterfaceAddress, KnownAddresses};

use super::refresh::FILTER_VALUES;
use super::{AccountRegion, RefreshError, turn_to_read};
use crate::aws::ec2::Ec2;
use crate::aws::error::CallError;
use crate::aws::observer::observed;

const ACTION: &str = "DescribeNetworkInterfaces";
const PAGE: i32 = 1000;

/// A network interface as EC2 describes it.
struct Interface {
    id: String,
    addresses: Vec<InterfaceAddress>,
}

/// What was read of a network interface.
#[derive(Debug, Clone)]
struct Known {
    /// Empty where EC2 did not describe it yet.
    addresses: Vec<InterfaceAddress>,
    /// The families that its endpoint had: it keeps its interfaces when they change.
    families: Option<IpAddressType>,
    /// When the read began.
    read: Instant,
}

/// The addresses of a region's network interfaces, by their ids; no clock, no calls.
#[derive(Debug, Default)]
pub(super) struct AddressCache {
    interfaces: HashMap<String, Known>,
    /// When the last read failed, and why.
    failed: Option<(Instant, CallError)>,
}

/// What is older is to be read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Oldest {
    /// Of what AWS has described.
    pub(super) resync: Option<Instant>,
    /// Of what it has not.
    pub(super) poll: Instant,
}

impl AddressCache {
    /// What is known for an endpoint.
    fn of(&self, endpoint: &ObservedEndpoint) -> KnownAddresses {
        let known = |id: &String| self.known(endpoint, id).map(|known| &known.addresses);
        let found: Vec<_> = endpoint.interfaces.iter().filter_map(known).collect();
        if found.is_empty() {
            return KnownAddresses::Unknown;
        }
        let is_complete = found.len() == endpoint.interfaces.len() && found.iter().all(|found| !found.is_empty());
        let addresses: BTreeSet<InterfaceAddress> = found.into_iter().flatten().cloned().collect();
        match is_complete {
            true => KnownAddresses::All(addresses),
            false => KnownAddresses::Some(addresses),
        }
    }

    fn known(&self, endpoint: &ObservedEndpoint, id: &str) -> Option<&Known> {
        let known = self.interfaces.get(id)?;
        (known.families == endpoint.options.ip_address_type).then_some(known)
    }

    /// The interfaces of an endpoint that are to be read. While AWS is at work on it they change.
    fn due<'e>(&self, endpoint: &'e ObservedEndpoint, oldest: Oldest) -> impl Iterator<Item = &'e String> {
        let is_due = move |id: &&String| match self.known(endpoint, id) {
            None => true,
            Some(known) if known.addresses.is_empty() => known.read < oldest.poll,
            Some(known) => oldest.resync.is_some_and(|resync| known.read <= resync),
        };
        let interfaces = endpoint
            .interfaces
            .iter()
            .filter(|_| endpoint.state == State::Available);
        interfaces.filter(is_due)
    }

    /// Whether an interface of an endpoint is due since the resync interval has passed: then all of
    /// the region are read, so that they are due together from then on.
    fn is_old(&self, endpoint: &ObservedEndpoint, oldest: Oldest) -> bool {
        let is_old = |id: &String| {
            let known = self.known(endpoint, id);
            known.is_some_and(|known| oldest.resync.is_some_and(|resync| known.read <= resync))
        };
        self.due(endpoint, oldest).any(is_old)
    }

    /// Takes in a read of these interfaces, with the families of their endpoints.
    fn add(&mut self, asked: &[(String, Option<IpAddressType>)], found: Vec<Interface>, read: Instant) {
        let mut found: HashMap<String, Vec<InterfaceAddress>> = found
            .into_iter()
            .map(|interface| (interface.id, interface.addresses))
            .collect();
        for (id, families) in asked {
            let known = Known {
                addresses: found.remove(id).unwrap_or_default(),
                families: *families,
                read,
            };
            self.interfaces.insert(id.clone(), known);
        }
    }

    /// Forgets the interfaces that none of these endpoints has, but for those that were read
    /// lately: the status of a new endpoint may not be known yet.
    fn retain(&mut self, endpoints: &[ObservedEndpoint], oldest: Oldest) {
        let there: BTreeSet<&String> = endpoints.iter().flat_map(|endpoint| &endpoint.interfaces).collect();
        let is_old = |known: &Known| oldest.resync.is_some_and(|resync| known.read <= resync);
        self.interfaces.retain(|id, known| there.contains(id) || !is_old(known));
    }
}

impl AccountRegion {
    /// What is known of the addresses of an endpoint's network interfaces.
    pub(crate) fn addresses(&self, endpoint: &ObservedEndpoint) -> KnownAddresses {
        self.with(|snapshot| snapshot.addresses.of(endpoint))
    }

    /// Makes sure that the addresses of an endpoint are known, and were read no longer ago than
    /// `max_age`.
    pub(crate) async fn refresh_addresses(
        &self,
        ec2: &Ec2,
        endpoint: &ObservedEndpoint,
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        let are_due = || !self.addresses_are_fresh(endpoint, max_age);
        let Some(_reading) = turn_to_read(&self.reading, are_due).await else {
            return Ok(());
        };
        let failed = self.with(|snapshot| snapshot.addresses.failed.clone());
        if let Some((at, error)) = failed
            && at.elapsed() < self.settings.poll
        {
            return Err(RefreshError::Failed(error));
        }
        let result = self.read_addresses(ec2, endpoint, max_age).await;
        self.with(|snapshot| {
            snapshot.addresses.failed = match &result {
                Err(RefreshError::Failed(error)) => Some((Instant::now(), error.clone())),
                Ok(()) | Err(RefreshError::Busy(_)) => None,
            }
        });
        result
    }

    pub(super) fn oldest(&self, max_age: Duration) -> Oldest {
        let now = Instant::now();
        Oldest {
            resync: now.checked_sub(max_age),
            poll: self.last_poll(now),
        }
    }

    fn addresses_are_fresh(&self, endpoint: &ObservedEndpoint, max_age: Duration) -> bool {
        let oldest = self.oldest(max_age);
        self.with(|snapshot| snapshot.addresses.due(endpoint, oldest).next().is_none())
    }

    /// Reads those that are due of all endpoints that have a headless Service.
    async fn read_addresses(
        &self,
        ec2: &Ec2,
        endpoint: &ObservedEndpoint,
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        let headless: BTreeSet<EndpointId> = (self.settings.headless)(&self.key).into_iter().collect();
        let oldest = self.oldest(max_age);
        let asked = self.with(|snapshot| {
            let others = headless.iter().filter(|id| **id != endpoint.id);
            let mut endpoints: Vec<ObservedEndpoint> = others.filter_map(|id| snapshot.endpoints.get(id)).collect();
            endpoints.push(endpoint.clone());
            let mut oldest = oldest;
            snapshot.addresses.retain(&endpoints, oldest);
            let is_old = snapshot.addresses.is_old(endpoint, oldest);
            oldest.resync = is_old.then(Instant::now);
            let due = |endpoint: &ObservedEndpoint| -> Vec<(String, Option<IpAddressType>)> {
                let families = endpoint.options.ip_address_type;
                let due = snapshot.addresses.due(endpoint, oldest);
                due.map(|id| (id.clone(), families)).collect()
            };
            endpoints.iter().flat_map(due).collect::<Vec<_>>()
        });
        for asked in asked.chunks(FILTER_VALUES) {
            let started = Instant::now();
            let found = self.pages(ACTION, |page| interfaces(ec2, asked, page)).await?;
            self.with(|snapshot| snapshot.addresses.add(asked, found, started));
        }
        Ok(())
    }
}

/// EC2 DescribeNetworkInterfaces by the `network-interface-id` filter, one page. By their ids the
/// whole call would fail for one that is gone.
async fn interfaces(
    ec2: &Ec2,
    asked: &[(String, Option<IpAddressType>)],
    page: Option<String>,
) -> Result<(Vec<Interface>, Option<String>), CallError> {
    let ids = asked.iter().map(|(id, _)| id.clone()).collect();
    let only = Filter::builder()
        .name("network-interface-id")
        .set_values(Some(ids))
        .build();
    let request = ec2.client.describe_network_interfaces();
    let request = request.filters(only).max_results(PAGE).set_next_token(page);
    let answer = observed(&ec2.observer, ec2.call(ACTION), request.send()).await?;
    let next = answer.next_token.filter(|token| !token.is_empty());
    let found = answer.network_interfaces.unwrap_or_default();
    Ok((found.into_iter().map(interface).collect(), next))
}

/// Its primary private IPv4 address and its IPv6 addresses.
fn interface(interface: NetworkInterface) -> Interface {
    let zone = interface.availability_zone.as_deref();
    let ipv4 = interface.private_ip_address.as_deref().into_iter();
    let ipv6 = interface
        .ipv6_addresses()
        .iter()
        .filter_map(|address| address.ipv6_address());
    let addresses = ipv4.chain(ipv6).filter_map(|text| InterfaceAddress::parse(text, zone));
    Interface {
        addresses: addresses.collect(),
        id: interface.network_interface_id.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vpce_core::attachment::ObservedAttachment;
    use vpce_core::options::ObservedOptions;

    use super::*;

    fn endpoint(interfaces: &[&str]) -> ObservedEndpoint {
        ObservedEndpoint {
            id: "vpce-1".into(),
            requester_managed: false,
            created: None,
            state: State::Available,
            vpc: "vpc-1".into(),
            target: None,
            attachment: ObservedAttachment::Other("Interface".into()),
            options: ObservedOptions::default(),
            tags: BTreeMap::new(),
            dns_names: Vec::new(),
            interfaces: interfaces.iter().map(ToString::to_string).collect(),
            last_error: None,
        }
    }

    fn described(id: &str, address: &str) -> Interface {
        Interface {
            id: id.to_owned(),
            addresses: InterfaceAddress::parse(address, None).into_iter().collect(),
        }
    }

    fn asked(ids: &[&str]) -> Vec<(String, Option<IpAddressType>)> {
        ids.iter().map(|id| ((*id).to_owned(), None)).collect()
    }

    #[test]
    fn only_what_changed_or_is_old_is_read_and_never_while_aws_is_at_work() {
        let mut cache = AddressCache::default();
        let start = Instant::now();
        let oldest = Oldest {
            resync: start.checked_sub(Duration::from_secs(1)),
            poll: start,
        };
        let two = endpoint(&["eni-1", "eni-2"]);
        let due = |cache: &AddressCache, endpoint: &ObservedEndpoint, oldest| {
            cache.due(endpoint, oldest).cloned().collect::<Vec<_>>()
        };
        assert_eq!(due(&cache, &two, oldest), ["eni-1", "eni-2"]);
        assert_eq!(cache.of(&two), KnownAddresses::Unknown);
        let pending = ObservedEndpoint {
            state: State::Pending,
            ..two.clone()
        };
        assert_eq!(due(&cache, &pending, oldest), [""; 0]);

        cache.add(&asked(&["eni-1", "eni-2"]), vec![described("eni-1", "10.0.0.4")], start);
        assert!(matches!(cache.of(&two), KnownAddresses::Some(found) if found.len() == 1));
        assert_eq!(due(&cache, &two, oldest), [""; 0], "until the next poll");
        let later = Oldest {
            poll: start + Duration::from_secs(1),
            ..oldest
        };
        assert_eq!(due(&cache, &two, later), ["eni-2"]);
        assert!(!cache.is_old(&two, later));

        cache.add(&asked(&["eni-2"]), vec![described("eni-2", "10.0.1.4")], start);
        assert!(matches!(cache.of(&two), KnownAddresses::All(found) if found.len() == 2));
        assert_eq!(due(&cache, &two, later), [""; 0]);
        assert_eq!(due(&cache, &endpoint(&["eni-2", "eni-3"]), later), ["eni-3"]);
        let other_families = ObservedEndpoint {
            options: ObservedOptions {
                ip_address_type: Some(IpAddressType::Dualstack),
                ..ObservedOptions::default()
            },
            ..two.clone()
        };
        assert_eq!(due(&cache, &other_families, later), ["eni-1", "eni-2"]);
        let resync = Oldest {
            resync: Some(start),
            ..later
        };
        assert_eq!(due(&cache, &two, resync), ["eni-1", "eni-2"]);
        assert!(cache.is_old(&two, resync));
        cache.retain(&[endpoint(&["eni-2"])], later);
        assert!(matches!(cache.of(&two), KnownAddresses::All(_)));
        cache.retain(&[endpoint(&["eni-2"])], resync);
        assert!(matches!(cache.of(&two), KnownAddresses::Some(found) if found.len() == 1));
    }
}
