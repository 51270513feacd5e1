//! The addresses that a user chooses for the network interfaces of an endpoint: EC2's
//! `SubnetConfigurations`.
//!
//! EC2 does not describe them, and to send one replaces the network interface, which cuts its
//! connections. So the status has what EC2 last accepted, and only what differs from it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::api::{AcceptedAddresses, IpAddressType, SubnetConfiguration};
use crate::ids::SubnetId;

/// The addresses of the network interface in a subnet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Addresses {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ipv4, self.ipv6) {
            (Some(ipv4), Some(ipv6)) => write!(f, "{ipv4} and {ipv6}"),
            (Some(ipv4), None) => ipv4.fmt(f),
            (None, Some(ipv6)) => ipv6.fmt(f),
            (None, None) => f.write_str("any address"),
        }
    }
}

/// By subnet.
pub type SubnetAddresses = BTreeMap<SubnetId, Addresses>;

/// What a spec asks for in these subnets, for an endpoint with this address type.
///
/// # Errors
/// What EC2 would refuse.
pub fn of_spec(
    configurations: &[SubnetConfiguration],
    subnets: &BTreeSet<&SubnetId>,
    type_: Option<IpAddressType>,
) -> Result<SubnetAddresses, String> {
    let mut all = SubnetAddresses::new();
    for configuration in configurations {
        let SubnetConfiguration { subnet_id, .. } = configuration;
        let addresses = read(configuration)?;
        let id = SubnetId::from(subnet_id.as_str());
        if !subnets.contains(&id) {
            return Err(format!("subnet_configurations: {subnet_id} is not among subnet_ids"));
        }
        let families = (addresses.ipv4.is_some(), addresses.ipv6.is_some());
        let (wanted, needs) = match type_ {
            Some(IpAddressType::Ipv4) => ((true, false), "ipv4, and no ipv6"),
            Some(IpAddressType::Ipv6) => ((false, true), "ipv6, and no ipv4"),
            Some(IpAddressType::Dualstack) => ((true, true), "ipv4 and ipv6"),
            None => (families, ""),
        };
        if families != wanted {
            let type_ = type_.unwrap_or_default();
            return Err(format!(
                "subnet_configurations: {subnet_id} needs {needs} for ip_address_type {type_}"
            ));
        }
        if all.insert(id, addresses).is_some() {
            return Err(format!("subnet_configurations names {subnet_id} more than once"));
        }
    }
    Ok(all)
}

/// What a status says that EC2 has accepted.
pub fn of_status(accepted: &[AcceptedAddresses]) -> SubnetAddresses {
    let read = |accepted: &AcceptedAddresses| {
        let addresses = Addresses {
            ipv4: accepted.ipv4.as_deref().and_then(|text| text.parse().ok()),
            ipv6: accepted.ipv6.as_deref().and_then(|text| text.parse().ok()),
        };
        (accepted.subnet_id.as_str().into(), addresses)
    };
    accepted.iter().map(read).collect()
}

/// As a status has it.
pub fn to_status(addresses: &SubnetAddresses) -> Vec<AcceptedAddresses> {
    let written = |(subnet, addresses): (&SubnetId, &Addresses)| AcceptedAddresses {
        subnet_id: subnet.to_string(),
        ipv4: addresses.ipv4.map(|address| address.to_string()),
        ipv6: addresses.ipv6.map(|address| address.to_string()),
    };
    addresses.iter().map(written).collect()
}

fn read(configuration: &SubnetConfiguration) -> Result<Addresses, String> {
    let SubnetConfiguration { subnet_id, ipv4, ipv6 } = configuration;
    let of =
        |text: &str, family: &str| format!("subnet_configurations: {text} of {subnet_id} is not an {family} address");
    let v4 = ipv4.as_deref().map(|text| text.parse().map_err(|_| of(text, "IPv4")));
    let v6 = ipv6.as_deref().map(|text| text.parse().map_err(|_| of(text, "IPv6")));
    let addresses = Addresses {
        ipv4: v4.transpose()?,
        ipv6: v6.transpose()?,
    };
    if addresses == Addresses::default() {
        return Err(format!("subnet_configurations: {subnet_id} needs ipv4, ipv6 or both"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(subnet: &str, ipv4: Option<&str>, ipv6: Option<&str>) -> SubnetConfiguration {
        SubnetConfiguration {
            subnet_id: subnet.to_owned(),
            ipv4: ipv4.map(str::to_owned),
            ipv6: ipv6.map(str::to_owned),
        }
    }

    fn read(of: &[SubnetConfiguration], type_: Option<IpAddressType>) -> Result<SubnetAddresses, String> {
        let subnets = ["subnet-1".into(), "subnet-2".into()];
        of_spec(of, &subnets.iter().collect(), type_)
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        let given = [
            one("subnet-1", Some("10.0.0.9"), Some("2001:db8::9")),
            one("subnet-2", Some("10.0.1.9"), Some("2001:db8:1::9")),
        ];
        let read = read(&given, Some(IpAddressType::Dualstack)).expect("valid");
        assert_eq!(read.len(), 2);
        assert_eq!(of_status(&to_status(&read)), read);
    }

    #[test]
    fn what_ec2_would_refuse_is_named() {
        let ipv4 = Some(IpAddressType::Ipv4);
        let of = |configuration, type_| read(&[configuration], type_).expect_err("refused");
        for (error, names) in [
            (
                of(one("subnet-3", Some("10.0.0.9"), None), None),
                "not among subnet_ids",
            ),
            (
                of(one("subnet-1", Some("10.0.0.900"), None), None),
                "not an IPv4 address",
            ),
            (of(one("subnet-1", None, Some("10.0.0.9")), None), "not an IPv6 address"),
            (of(one("subnet-1", None, None), None), "needs ipv4, ipv6 or both"),
            (
                of(one("subnet-1", None, Some("2001:db8::9")), ipv4),
                "needs ipv4, and no ipv6",
            ),
        ] {
            assert!(error.contains(names), "{error}");
        }
        let twice = [
            one("subnet-1", Some("10.0.0.9"), None),
            one("subnet-1", Some("10.0.0.8"), None),
        ];
        assert!(read(&twice, ipv4).expect_err("twice").contains("more than once"));
    }
}
