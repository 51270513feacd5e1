//! Reads and changes endpoint services without API calls.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::Simulator;
use super::ec2::endpoint_services::{EndpointService, ServiceState};
use super::ec2::region::new_id;
use super::ec2::services::service_name;
use super::world::World;

/// An endpoint service hosted by an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointServiceView {
    /// `vpce-svc-...`
    pub id: String,
    /// Its full name.
    pub name: String,
    /// As on the wire: `Available`.
    pub state: String,
    /// Whether connection requests must be accepted.
    pub acceptance_required: bool,
    /// The ARNs of its load balancers, sorted.
    pub load_balancer_arns: Vec<String>,
    /// Its Availability Zones, sorted.
    pub zones: Vec<String>,
    /// Supported IP address types, sorted.
    pub ip_address_types: Vec<String>,
    /// Supported regions other than its own, sorted.
    pub regions: Vec<String>,
    /// Allowed principals, sorted.
    pub principals: Vec<String>,
    /// Its private DNS name and verification state, as on the wire.
    pub private_dns_name: Option<(String, String)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Methods that take a service id fail if there is no such service.
impl Simulator {
    /// The endpoint services of the account in the region, deleted ones left out, sorted by id.
    pub fn endpoint_services(&self, account: &str, region: &str) -> Vec<EndpointServiceView> {
        let mut world = self.world();
        world.settle_services();
        let region = world.region(account, region);
        let services = region.endpoint_services.values();
        let view = |service: &EndpointService| EndpointServiceView {
            id: service.id.clone(),
            name: service_name(&region.name, &service.id),
            state: service.state.wire().to_owned(),
            acceptance_required: service.acceptance_required,
            load_balancer_arns: service.load_balancers.iter().cloned().collect(),
            zones: service.zones.iter().cloned().collect(),
            ip_address_types: service.ip_address_types.iter().cloned().collect(),
            regions: service.regions.keys().cloned().collect(),
            principals: service.principals.keys().cloned().collect(),
            private_dns_name: service
                .private_name
                .as_ref()
                .map(|private| (private.name.clone(), private.state.wire().to_owned())),
            tags: service.tags.clone(),
        };
        services.filter(|service| !service.is_deleted()).map(view).collect()
    }

    /// Publishes a TXT record in the public DNS.
    pub fn publish_txt_record(&self, name: &str, value: &str) {
        let record = (name.to_lowercase(), value.to_owned());
        self.world().txt_records.insert(record);
    }

    /// Takes back a [`publish_txt_record`](Self::publish_txt_record).
    pub fn remove_txt_record(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let record = (name.to_lowercase(), value.to_owned());
        ensure!(self.world().txt_records.remove(&record), "no TXT record {name}");
        Ok(())
    }

    /// Checks the TXT record of a private DNS name again, as AWS does periodically.
    pub fn recheck_private_dns_name(&self, account: &str, region: &str, id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let records = world.txt_records.clone();
        let name = service(&mut world, account, region, id)?.private_name.as_mut();
        name.with_context(|| format!("{id} has no private DNS name"))?
            .look(&records);
        Ok(())
    }

    /// Sets the state of a service; it stays in this state.
    pub fn set_endpoint_service_state(
        &self,
        account: &str,
        region: &str,
        id: &str,
        state: ServiceState,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let service = service(&mut world, account, region, id)?;
        service.state = state;
        service.due = None;
        Ok(())
    }

    /// Replaces the allowed principals, as another client would.
    pub fn set_allowed_principals(
        &self,
        account: &str,
        region: &str,
        id: &str,
        principals: &[&str],
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let service = service(&mut world, account, region, id)?;
        let permission = |principal: &&str| ((*principal).to_owned(), new_id("vpce-svc-perm"));
        service.principals = principals.iter().map(permission).collect();
        Ok(())
    }

    /// Sets `AcceptanceRequired`, as another client would.
    pub fn set_acceptance_required(&self, account: &str, region: &str, id: &str, required: bool) -> anyhow::Result<()> {
        service(&mut self.world(), account, region, id)?.acceptance_required = required;
        Ok(())
    }

    /// Rejects all connections of a service and deletes it, as another client would.
    pub fn delete_endpoint_service_behind(&self, account: &str, region: &str, id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let (now, config) = (world.clock.now(), world.config.clone());
        let name = service_name(region, id);
        service(&mut world, account, region, id)?.start_deleting(now, &config);
        world.each_endpoint(|endpoint| {
            if endpoint.service_region == region && endpoint.service_name == name {
                endpoint.reject();
            }
        });
        Ok(())
    }
}

fn service<'a>(world: &'a mut World, account: &str, region: &str, id: &str) -> anyhow::Result<&'a mut EndpointService> {
    let service = world.region(account, region).endpoint_services.get_mut(id);
    service
        .filter(|service| !service.is_deleted())
        .with_context(|| format!("no endpoint service {id}"))
}
