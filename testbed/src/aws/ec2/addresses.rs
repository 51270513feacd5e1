//! Addresses of endpoints' interfaces: those that are free, and those that a request asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::options::IpAddressType;
use super::region::{Addresses, Interface, Region, Subnet};
use crate::aws::error::ApiError;
use crate::aws::query::Form;

/// AWS keeps the first four addresses of a subnet for itself, and the last one.
const RESERVED: u32 = 4;
/// And the last.
pub(super) const RESERVED_IN_ALL: u32 = RESERVED + 1;

/// Gives the interface the addresses of the type that it lacks, and takes away those of the other.
pub(super) fn fill(region: &Region, subnet: &Subnet, ip: IpAddressType, interface: &mut Interface) {
    interface.ipv4 = match (ip.has_ipv4(), interface.ipv4) {
        (true, None) => subnet.cidr.map(|block| free_ipv4(region, block)),
        (true, present) => present,
        (false, _) => None,
    };
    interface.ipv6 = match (ip.has_ipv6(), interface.ipv6) {
        (true, None) => subnet.ipv6.and_then(|block| free_ipv6(region, block)),
        (true, present) => present,
        (false, _) => None,
    };
}

fn free_ipv4(region: &Region, block: Ipv4Net) -> Ipv4Addr {
    let taken: BTreeSet<Ipv4Addr> = region.interfaces.values().filter_map(|i| i.ipv4).collect();
    let held: Vec<Ipv4Net> = region.interfaces.values().filter_map(|i| i.prefix).collect();
    let mut hosts = block.hosts().skip(RESERVED as usize - 1);
    hosts
        .find(|address| !taken.contains(address) && !held.iter().any(|prefix| prefix.contains(address)))
        .unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// A /28 of the subnet in which no address is taken or reserved.
pub(super) fn free_prefix(region: &Region, subnet: &Subnet) -> Option<Ipv4Net> {
    let whole = subnet.cidr?;
    let interfaces = || region.interfaces.values().filter(|i| i.subnet_id == subnet.id);
    let reserved = [whole.network(), whole.broadcast()];
    whole.subnets(28).ok()?.find(|block| {
        let mut taken = interfaces().filter_map(|i| i.ipv4).chain(reserved);
        !taken.any(|address| block.contains(&address)) && interfaces().all(|i| i.prefix != Some(*block))
    })
}

fn free_ipv6(region: &Region, block: Ipv6Net) -> Option<Ipv6Addr> {
    let taken: BTreeSet<Ipv6Addr> = region.interfaces.values().filter_map(|i| i.ipv6).collect();
    let first = u128::from(block.network()) + u128::from(RESERVED);
    let mut addresses = (first..u128::from(block.broadcast())).map(Ipv6Addr::from);
    addresses.find(|address| !taken.contains(address))
}

/// Takes `SubnetConfiguration.N`: subnets with the addresses of their interfaces.
pub(super) fn take(form: &mut Form) -> Result<BTreeMap<String, Addresses>, ApiError> {
    let mut configurations = BTreeMap::new();
    for mut configuration in form.structures("SubnetConfiguration") {
        let subnet_id = configuration.require("SubnetId")?;
        let wanted = Addresses {
            ipv4: take_address(&mut configuration, "Ipv4")?,
            ipv6: take_address(&mut configuration, "Ipv6")?,
        };
        configuration.finish()?;
        if configurations.insert(subnet_id.clone(), wanted).is_some() {
            return Err(ApiError::invalid(format!(
                "The subnet {subnet_id} has more than one subnet configuration."
            )));
        }
    }
    Ok(configurations)
}

fn take_address<T: std::str::FromStr>(form: &mut Form, name: &str) -> Result<Option<T>, ApiError> {
    let Some(text) = form.take(name) else {
        return Ok(None);
    };
    let invalid = |_| ApiError::invalid_value(format!("Value ({text}) for parameter {name} is invalid."));
    text.parse().map(Some).map_err(invalid)
}

/// Checks what subnet configurations ask for, for an endpoint in these subnets.
pub(super) fn check(
    region: &Region,
    endpoint_id: Option<&str>,
    subnet_ids: &BTreeSet<String>,
    ip: IpAddressType,
    configurations: &BTreeMap<String, Addresses>,
) -> Result<(), ApiError> {
    for (subnet_id, wanted) in configurations {
        let subnet = region.subnets.get(subnet_id).filter(|_| subnet_ids.contains(subnet_id));
        let subnet = subnet.ok_or_else(|| {
            ApiError::invalid(format!(
                "The subnet {subnet_id} of the subnet configuration is not among the subnets of the VPC endpoint."
            ))
        })?;
        if wanted.ipv4.is_some() != ip.has_ipv4() || wanted.ipv6.is_some() != ip.has_ipv6() {
            return Err(ApiError::invalid(format!(
                "The subnet configuration of {subnet_id} must have an address of each family of the IP address type {}, \
                 and no other.",
                ip.wire()
            )));
        }
        let others = || {
            let interfaces = region.interfaces.values();
            interfaces.filter(|i| i.subnet_id == *subnet_id && Some(i.endpoint_id.as_str()) != endpoint_id)
        };
        if let Some(address) = wanted.ipv4 {
            let block = subnet.cidr.filter(|block| block.contains(&address));
            let reserved = block.map(|block| {
                u32::from(address) - u32::from(block.network()) < RESERVED || address == block.broadcast()
            });
            check_one(&address, reserved, others().any(|i| i.ipv4 == Some(address)))?;
        }
        if let Some(address) = wanted.ipv6 {
            let block = subnet.ipv6.filter(|block| block.contains(&address));
            let reserved = block.map(|block| {
                u128::from(address) - u128::from(block.network()) < u128::from(RESERVED) || address == block.broadcast()
            });
            check_one(&address, reserved, others().any(|i| i.ipv6 == Some(address)))?;
        }
    }
    Ok(())
}

/// `reserved` says whether AWS keeps the address for itself, if it is one of the subnet's.
fn check_one(address: &dyn Display, reserved: Option<bool>, taken: bool) -> Result<(), ApiError> {
    let Some(reserved) = reserved else {
        return Err(ApiError::invalid_value(format!(
            "Address {address} does not fall within the subnet's address range"
        )));
    };
    if reserved {
        return Err(ApiError::invalid_value(format!(
            "Address {address} is in subnet's reserved address range"
        )));
    }
    if taken {
        return Err(ApiError::new(
            "InvalidIPAddress.InUse",
            format!("Address {address} is in use."),
        ));
    }
    Ok(())
}
