//! What tests see of the endpoint services that accounts host, and what happens to them without a
//! call of the operator's.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::Simulator;
use super::ec2::endpoint_services::{EndpointService, ServiceState};
use super::ec2::region::new_id;
use super::ec2::services::service_name;
use super::world::World;

/// An endpoint service that an account hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointServiceView {
    /// `vpce-svc-...`
    pub id: String,
    /// Its full name.
    pub name: String,
    /// As on the wire: `Available`.
    pub state: String,
    /// Whether its owner must accept endpoints.
    pub acceptance_required: bool,
    /// The ARNs of its load balancers, sorted.
    pub load_balancer_arns: Vec<String>,
    /// The zones that it is in, sorted.
    pub zones: Vec<String>,
    /// The address types that it supports, sorted.
    pub ip_address_types: Vec<String>,
    /// The regions besides its own in which it is offered, sorted.
    pub regions: Vec<String>,
    /// Whom it lets in, sorted.
    pub principals: Vec<String>,
    /// Its private DNS name, and the state of its verification as on the wire.
    pub private_dns_name: Option<(String, String)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Those that name a service fail where there is none of this id.
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

    /// AWS looks again for the TXT record of a service's private DNS name, as it does now and then.
    pub fn recheck_private_dns_name(&self, account: &str, region: &str, id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let records = world.txt_records.clone();
        let name = service(&mut world, account, region, id)?.private_name.as_mut();
        name.with_context(|| format!("{id} has no private DNS name"))?
            .look(&records);
        Ok(())
    }

    /// Puts a service into a state, in which it stays.
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

    /// Lets exactly these principals in, as another client would.
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

    /// Sets whether the service's owner must accept endpoints, as another client would.
    pub fn set_acceptance_required(&self, account: &str, region: &str, id: &str, required: bool) -> anyhow::Result<()> {
        service(&mut self.world(), account, region, id)?.acceptance_required = required;
        Ok(())
    }

    /// Deletes a service, as another client does who rejects its connections first.
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
