//! The EndpointSlices of a headless Service, which hold the private addresses of an endpoint's
//! network interfaces: one for each address family.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::api::ServicePort;
use crate::conditions::Finding;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    /// Reads what Kubernetes says.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private address of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// Its family.
    pub family: AddressFamily,
    /// In the usual form.
    pub address: String,
    /// The availability zone of the interface, by its name in the endpoint's AWS account.
    pub zone: Option<String>,
}

impl InterfaceAddress {
    /// Reads an address.
    pub fn parse(text: &str, zone: Option<&str>) -> Option<Self> {
        let address: IpAddr = text.parse().ok()?;
        Some(Self {
            family: match address {
                IpAddr::V4(_) => AddressFamily::Ipv4,
                IpAddr::V6(_) => AddressFamily::Ipv6,
            },
            address: address.to_string(),
            zone: zone.map(str::to_owned),
        })
    }
}

/// What is known of the addresses of an endpoint's network interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownAddresses {
    /// Nothing: no Service asks for them, or AWS has not reported any yet.
    Unknown,
    /// Those of some of the interfaces.
    Some(BTreeSet<InterfaceAddress>),
    /// Those of all interfaces.
    All(BTreeSet<InterfaceAddress>),
    /// They could not be read, as this says.
    Unreadable(Finding),
}

/// What an EndpointSlice is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceContent {
    /// The Service whose addresses it has.
    pub service: String,
    /// The family of all its addresses, which cannot change.
    pub family: AddressFamily,
    /// The addresses, all of which are ready.
    pub addresses: BTreeSet<InterfaceAddress>,
    /// The ports of the Service.
    pub ports: Vec<ServicePort>,
}

impl SliceContent {
    /// The slice's name.
    pub fn name(&self) -> String {
        Self::name_of(&self.service, self.family)
    }

    /// The name of the slice of a Service.
    pub fn name_of(service: &str, family: AddressFamily) -> String {
        format!("{service}-{}", family.as_str().to_ascii_lowercase())
    }
}

/// An EndpointSlice in the object's namespace that matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedSlice {
    /// Its name.
    pub name: String,
    /// Whether our object is its controller.
    pub ours: bool,
    /// Whether it carries both labels that say who manages it.
    pub labelled: bool,
    /// The Service that its label names.
    pub service: Option<String>,
    /// The family of its addresses; none where they are host names.
    pub family: Option<AddressFamily>,
    /// Its addresses; none where the operator would not write them so: not ready, or with fields
    /// that it does not set.
    pub addresses: Option<BTreeSet<InterfaceAddress>>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// What the API server stores as this, also when it is corrected.
    pub written_as: Option<SliceContent>,
}

impl ObservedSlice {
    /// What the API server stores where nothing changes it.
    pub fn published(content: SliceContent) -> Self {
        let name = content.name();
        let SliceContent {
            service,
            family,
            addresses,
            ports,
        } = content;
        Self {
            name,
            ours: true,
            labelled: true,
            service: Some(service),
            family: Some(family),
            addresses: Some(addresses),
            ports,
            written_as: None,
        }
    }

    /// What differs from what it is to hold, in the words of its manifest.
    pub fn differences(&self, wanted: &SliceContent) -> Vec<&'static str> {
        [
            (self.family != Some(wanted.family), "addressType"),
            (self.addresses.as_ref() != Some(&wanted.addresses), "endpoints"),
            (self.ports != wanted.ports, "ports"),
            (
                self.service.as_deref() != Some(&wanted.service),
                "the label kubernetes.io/service-name",
            ),
            (!self.labelled, "the labels that say who manages it"),
            (!self.ours, "metadata.ownerReferences"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_by_its_family_and_in_one_form() {
        let parse = |text| InterfaceAddress::parse(text, None).map(|found| (found.family, found.address));
        assert_eq!(parse("10.0.0.4"), Some((AddressFamily::Ipv4, "10.0.0.4".to_owned())));
        for same in ["2001:db8::4", "2001:DB8:0:0::4"] {
            assert_eq!(parse(same), Some((AddressFamily::Ipv6, "2001:db8::4".to_owned())));
        }
        assert_eq!(parse("db.example.com"), None);
    }
}
