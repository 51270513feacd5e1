//! What the owners of resource configurations and service networks do in VPC Lattice.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{bail, ensure};

use super::ec2::lattice::{Accessibility, ResourceConfigurationSpec};
use super::{Simulator, partition};

/// Those that name an ARN fail where there is nothing of this ARN.
impl Simulator {
    /// Adds a resource configuration (`rcfg-...`) of an account, available, or replaces it. Gives
    /// its ARN.
    pub fn add_resource_configuration(
        &self,
        account: &str,
        region: &str,
        id: &str,
        spec: ResourceConfigurationSpec,
    ) -> String {
        let arn = arn(account, region, "resourceconfiguration", id);
        Arc::make_mut(&mut self.world().lattice).add_configuration(&arn, spec);
        arn
    }

    /// Adds a service network (`sn-...`) of an account, without resource configurations. Gives its
    /// ARN.
    pub fn add_service_network(&self, account: &str, region: &str, id: &str) -> String {
        let arn = arn(account, region, "servicenetwork", id);
        Arc::make_mut(&mut self.world().lattice).set_members(&arn, BTreeSet::new());
        arn
    }

    /// Associates a service network with these resource configurations, and with no others.
    pub fn set_service_network_resources(&self, network_arn: &str, configurations: &[&str]) -> anyhow::Result<()> {
        let mut world = self.world();
        let lattice = Arc::make_mut(&mut world.lattice);
        for arn in configurations.iter().copied().chain([network_arn]) {
            ensure!(lattice.knows(arn), "no {arn}");
        }
        let members = configurations.iter().map(|arn| (*arn).to_owned()).collect();
        lattice.set_members(network_arn, members);
        Ok(())
    }

    /// Shares a resource configuration or a service network with another account, which accepts.
    pub fn share(&self, arn: &str, account: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let lattice = Arc::make_mut(&mut world.lattice);
        ensure!(lattice.knows(arn), "no {arn}");
        lattice.share(arn, account);
        Ok(())
    }

    /// Takes back a [`share`](Self::share): endpoints stay, and lead nowhere.
    pub fn unshare(&self, arn: &str, account: &str) -> anyhow::Result<()> {
        if !Arc::make_mut(&mut self.world().lattice).unshare(arn, account) {
            bail!("{arn} is not shared with {account}");
        }
        Ok(())
    }

    /// Sets whether the resource of a resource configuration answers.
    pub fn set_accessibility(&self, arn: &str, accessibility: Accessibility) -> anyhow::Result<()> {
        let known = Arc::make_mut(&mut self.world().lattice).set_accessibility(arn, accessibility);
        ensure!(known, "no {arn}");
        Ok(())
    }
}

fn arn(account: &str, region: &str, kind: &str, id: &str) -> String {
    let partition = partition::of_region(region);
    format!("arn:{partition}:vpc-lattice:{region}:{account}:{kind}/{id}")
}
