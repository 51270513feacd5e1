//! The networks of the simulated accounts: VPCs, subnets, groups, route tables.

use anyhow::{Context as _, bail};

use super::Simulator;
use super::ec2::groups::new_group;
use super::ec2::network;
use super::ec2::region::Subnet;
use super::ec2::tags::Tags;

impl Simulator {
    /// Adds a VPC with its default group and main route table.
    pub fn add_vpc(&self, account: &str, region: &str, vpc_id: &str, cidr: &str) -> anyhow::Result<()> {
        self.add_network(account, region, vpc_id, cidr, None)
    }

    /// Adds such a VPC with an IPv6 block as well: its groups begin with `::/0` among their egress
    /// rules.
    pub fn add_vpc_with_ipv6(
        &self,
        account: &str,
        region: &str,
        vpc_id: &str,
        cidr: &str,
        ipv6: &str,
    ) -> anyhow::Result<()> {
        self.add_network(account, region, vpc_id, cidr, Some(ipv6))
    }

    fn add_network(
        &self,
        account: &str,
        region: &str,
        vpc_id: &str,
        cidr: &str,
        ipv6: Option<&str>,
    ) -> anyhow::Result<()> {
        let cidr = cidr.parse().with_context(|| format!("{cidr} is no CIDR block"))?;
        let ipv6 = ipv6
            .map(|block| block.parse().with_context(|| format!("{block} is no IPv6 CIDR block")))
            .transpose()?;
        let mut world = self.world();
        if !world.services.has_region(region) {
            bail!("no region {region}");
        }
        let region = world.region(account, region);
        network::add_vpc(region, vpc_id, cidr, ipv6, Tags::new());
        Ok(())
    }

    /// Sets a VPC's attributes `enableDnsSupport` and `enableDnsHostnames`, which are both on in a
    /// new one here. Turning on an endpoint's private DNS takes both.
    pub fn set_vpc_dns(
        &self,
        account: &str,
        region: &str,
        vpc_id: &str,
        support: bool,
        hostnames: bool,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let vpc = world.region(account, region).vpcs.get_mut(vpc_id);
        let vpc = vpc.with_context(|| format!("no VPC {vpc_id}"))?;
        vpc.dns_support = support;
        vpc.dns_hostnames = hostnames;
        Ok(())
    }

    /// Adds a subnet with a free block of its VPC.
    pub fn add_subnet(
        &self,
        account: &str,
        region: &str,
        subnet_id: &str,
        vpc_id: &str,
        az: &str,
    ) -> anyhow::Result<()> {
        self.add_subnet_with(account, region, subnet_id, vpc_id, az, (true, false))
    }

    /// Adds a subnet with a free block of its VPC for IPv4, and one for IPv6.
    pub fn add_dualstack_subnet(
        &self,
        account: &str,
        region: &str,
        subnet_id: &str,
        vpc_id: &str,
        az: &str,
    ) -> anyhow::Result<()> {
        self.add_subnet_with(account, region, subnet_id, vpc_id, az, (true, true))
    }

    /// Adds an IPv6-only subnet.
    pub fn add_ipv6_subnet(
        &self,
        account: &str,
        region: &str,
        subnet_id: &str,
        vpc_id: &str,
        az: &str,
    ) -> anyhow::Result<()> {
        self.add_subnet_with(account, region, subnet_id, vpc_id, az, (false, true))
    }

    fn add_subnet_with(
        &self,
        account: &str,
        region: &str,
        subnet_id: &str,
        vpc_id: &str,
        az: &str,
        (ipv4, ipv6): (bool, bool),
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let state = world.region(account, region);
        let vpc = state.vpcs.get(vpc_id).with_context(|| format!("no VPC {vpc_id}"))?;
        let full = || format!("{vpc_id} is full");
        let cidr = ipv4.then(|| network::free_block(state, vpc).with_context(full));
        let ipv6 = ipv6.then(|| network::free_ipv6_block(state, vpc).with_context(full));
        let subnet = Subnet {
            id: subnet_id.to_owned(),
            vpc_id: vpc_id.to_owned(),
            cidr: cidr.transpose()?,
            ipv6: ipv6.transpose()?,
            zone: az.to_owned(),
            full: false,
            tags: Tags::new(),
        };
        state.subnets.insert(subnet.id.clone(), subnet);
        Ok(())
    }

    /// Gives zones other ids than their letters suggest: each account has names of its own for
    /// them.
    pub fn set_zone_ids(&self, account: &str, region: &str, ids: &[(&str, &str)]) {
        let mut world = self.world();
        let ids = ids.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned()));
        world.region(account, region).zone_ids = ids.collect();
    }

    /// Adds an IPv4 block to a VPC.
    pub fn add_cidr_block(&self, account: &str, region: &str, vpc_id: &str, cidr: &str) -> anyhow::Result<()> {
        let block = cidr.parse().with_context(|| format!("{cidr} is no CIDR block"))?;
        let mut world = self.world();
        let vpc = world.region(account, region).vpcs.get_mut(vpc_id);
        vpc.with_context(|| format!("no VPC {vpc_id}"))?.more.push(block);
        Ok(())
    }

    /// Has others take all addresses of a subnet, or give them back.
    pub fn set_full(&self, account: &str, region: &str, subnet_id: &str, full: bool) -> anyhow::Result<()> {
        let mut world = self.world();
        let subnet = world.region(account, region).subnets.get_mut(subnet_id);
        subnet.with_context(|| format!("no subnet {subnet_id}"))?.full = full;
        Ok(())
    }

    /// Deletes a subnet, as somebody does who takes endpoints out of it first.
    pub fn delete_subnet(&self, account: &str, region: &str, subnet_id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let state = world.region(account, region);
        let subnet = state.subnets.remove(subnet_id);
        subnet.with_context(|| format!("no subnet {subnet_id}"))?;
        state.interfaces.retain(|_, interface| interface.subnet_id != subnet_id);
        for endpoint in state.endpoints.values_mut() {
            endpoint.subnet_ids.remove(subnet_id);
        }
        Ok(())
    }

    /// Adds a security group with the open egress rule of a new one.
    pub fn add_security_group(
        &self,
        account: &str,
        region: &str,
        group_id: &str,
        vpc_id: &str,
        name: &str,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let state = world.region(account, region);
        let vpc = state.vpcs.get(vpc_id).with_context(|| format!("no VPC {vpc_id}"))?;
        let group = new_group(group_id.to_owned(), vpc, name, name, Tags::new());
        state.groups.insert(group_id.to_owned(), group);
        Ok(())
    }

    /// Adds a route table, not the main one.
    pub fn add_route_table(
        &self,
        account: &str,
        region: &str,
        route_table_id: &str,
        vpc_id: &str,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let state = world.region(account, region);
        state.vpcs.get(vpc_id).with_context(|| format!("no VPC {vpc_id}"))?;
        network::add_route_table(state, route_table_id, vpc_id, false, Tags::new());
        Ok(())
    }

    /// Adds a prefix list that rules may name.
    pub fn add_prefix_list(&self, account: &str, region: &str, prefix_list_id: &str) {
        let mut world = self.world();
        let state = world.region(account, region);
        state.prefix_lists.insert(prefix_list_id.to_owned());
    }
}
