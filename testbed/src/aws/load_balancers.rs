//! Creates and changes load balancers without API calls, as the AWS Load Balancer Controller would.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::Simulator;
use super::ec2::region::Region;
use super::elb::load_balancer::{LoadBalancer, LoadBalancerSpec, LoadBalancerState};
use super::world::World;

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadBalancerView {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Its DNS name; a Gateway Load Balancer has none.
    pub dns_name: Option<String>,
    /// As on the wire: `network`.
    pub load_balancer_type: String,
    /// As on the wire: `active`.
    pub state: String,
    /// Its subnets, sorted.
    pub subnet_ids: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Methods that take an ARN fail if there is no such load balancer.
impl Simulator {
    /// Adds a load balancer and returns its ARN. It is provisioning for
    /// [`Config::load_balancer_seconds`], then active.
    ///
    /// [`Config::load_balancer_seconds`]: super::Config::load_balancer_seconds
    pub fn add_load_balancer(
        &self,
        account: &str,
        region: &str,
        name: &str,
        spec: LoadBalancerSpec,
    ) -> anyhow::Result<String> {
        let mut world = self.world();
        let now = world.clock.now();
        let due = now + world.config.load_balancer_seconds;
        let state = world.region(account, region);
        let vpc_id = check(state, name, &spec)?;
        let made = LoadBalancer::new(state, name, &vpc_id, spec, now, due);
        let arn = made.arn.clone();
        state.load_balancers.insert(arn.clone(), made);
        state.settle_load_balancers(now);
        Ok(arn)
    }

    /// Sets the state of a load balancer; it stays in this state.
    pub fn set_load_balancer_state(&self, arn: &str, state: LoadBalancerState) -> anyhow::Result<()> {
        self.change_load_balancer(arn, |load_balancer| {
            load_balancer.state = state;
            load_balancer.due = None;
        })
    }

    /// Replaces a load balancer's tags.
    pub fn set_load_balancer_tags(&self, arn: &str, tags: BTreeMap<String, String>) -> anyhow::Result<()> {
        self.change_load_balancer(arn, |load_balancer| load_balancer.tags = tags)
    }

    /// Sets the IP address type of a load balancer to `dualstack` or `ipv4`.
    pub fn set_load_balancer_dualstack(&self, arn: &str, dualstack: bool) -> anyhow::Result<()> {
        self.change_load_balancer(arn, |load_balancer| load_balancer.dualstack = dualstack)
    }

    /// Adds a subnet to a load balancer. Its zone is ready after
    /// [`Config::load_balancer_seconds`].
    ///
    /// [`Config::load_balancer_seconds`]: super::Config::load_balancer_seconds
    pub fn add_load_balancer_subnet(&self, arn: &str, subnet_id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let ready = world.clock.now() + world.config.load_balancer_seconds;
        let state = home(&mut world, arn)?;
        let subnet = state.subnets.get(subnet_id);
        let zone = &subnet.with_context(|| format!("no subnet {subnet_id}"))?.zone;
        let load_balancer = state.load_balancers.get(arn);
        let load_balancer = load_balancer.with_context(|| format!("no {arn}"))?;
        if load_balancer.subnets(state, None).any(|other| other.zone == *zone) {
            bail!("{arn} has a subnet in {zone}");
        }
        if let Some(load_balancer) = state.load_balancers.get_mut(arn) {
            load_balancer.subnets.insert(subnet_id.to_owned(), ready);
        }
        Ok(())
    }

    /// Deletes a load balancer. Fails while an endpoint service uses it.
    pub fn delete_load_balancer(&self, arn: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let region = home(&mut world, arn)?;
        ensure!(!region.uses_load_balancer(arn), "{arn} is in use");
        region.load_balancers.remove(arn).with_context(|| format!("no {arn}"))?;
        Ok(())
    }

    /// The account's load balancers in the region, sorted by ARN.
    pub fn load_balancers(&self, account: &str, region: &str) -> Vec<LoadBalancerView> {
        let mut world = self.world();
        let load_balancers = world.region(account, region).load_balancers.values();
        let view = |load_balancer: &LoadBalancer| LoadBalancerView {
            arn: load_balancer.arn.clone(),
            name: load_balancer.name.clone(),
            dns_name: load_balancer.dns_name.clone(),
            load_balancer_type: load_balancer.kind.wire().to_owned(),
            state: load_balancer.state.wire().to_owned(),
            subnet_ids: load_balancer.subnets.keys().cloned().collect(),
            tags: load_balancer.tags.clone(),
        };
        load_balancers.map(view).collect()
    }

    fn change_load_balancer(&self, arn: &str, change: impl FnOnce(&mut LoadBalancer)) -> anyhow::Result<()> {
        let mut world = self.world();
        let load_balancer = home(&mut world, arn)?.load_balancers.get_mut(arn);
        change(load_balancer.with_context(|| format!("no {arn}"))?);
        Ok(())
    }
}

/// The account and region that an ARN names.
fn home<'a>(world: &'a mut World, arn: &str) -> anyhow::Result<&'a mut Region> {
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, _, _, region, account, ..] = parts[..] else {
        bail!("{arn} is no ARN");
    };
    Ok(world.region(account, region))
}

/// Validates the spec and returns the VPC id.
fn check(region: &Region, name: &str, spec: &LoadBalancerSpec) -> anyhow::Result<String> {
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(good && (1..=32).contains(&name.len()), "{name:?} is no name");
    let taken = region.load_balancers.values().any(|other| other.name == name);
    ensure!(!taken, "{name} is taken");
    let mut zones = BTreeSet::new();
    let mut vpc_ids = BTreeSet::new();
    for id in &spec.subnet_ids {
        let subnet = region.subnets.get(id).with_context(|| format!("no subnet {id}"))?;
        ensure!(zones.insert(&subnet.zone), "two subnets in {}", subnet.zone);
        vpc_ids.insert(&subnet.vpc_id);
    }
    ensure!(vpc_ids.len() == 1, "the subnets are not of one VPC");
    Ok(vpc_ids.into_iter().next().cloned().unwrap_or_default())
}
