//! What happens to resources behind the operator's back.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};

use super::Simulator;
use super::ec2::endpoint::{Endpoint, EndpointState, EndpointType, LastError};
use super::ec2::endpoints::new_endpoint;
use super::ec2::region::Addresses;
use super::ec2::rules::{Direction, Peer, Rule, Traffic};
use super::ec2::tags;
use super::view::RuleView;

fn traffic(rule: &RuleView) -> anyhow::Result<Traffic> {
    let peer = Peer::parse(&rule.peer).with_context(|| format!("{} is no peer of a rule", rule.peer))?;
    Traffic::normal(&rule.protocol, rule.from_port, rule.to_port, peer)
        .map_err(|error| anyhow::anyhow!("{}: {}", error.code, error.message))
}

/// Each fails where there is no such resource.
impl Simulator {
    /// Creates an endpoint with this subnet and this group, as another client's CreateVpcEndpoint
    /// would have a while ago, without a call: available. Gives its id.
    pub fn add_endpoint_behind(
        &self,
        account: &str,
        region: &str,
        subnet_id: &str,
        service_name: &str,
        group_id: &str,
    ) -> anyhow::Result<String> {
        let mut world = self.world();
        let now = world.clock.now();
        let state = world.region(account, region);
        let subnet = state.subnets.get(subnet_id);
        let vpc_id = subnet.with_context(|| format!("no subnet {subnet_id}"))?.vpc_id.clone();
        let endpoint = Endpoint {
            named_at: Some(now),
            subnet_ids: BTreeSet::from([subnet_id.to_owned()]),
            group_ids: BTreeSet::from([group_id.to_owned()]),
            ..new_endpoint(EndpointType::Interface, region, &vpc_id, service_name, now)
        };
        let id = endpoint.id.clone();
        state.endpoints.insert(id.clone(), endpoint);
        state.attach_interface(&id, subnet_id, Addresses::default());
        Ok(id)
    }

    /// Creates a gateway endpoint, as another client's CreateVpcEndpoint would, without a call.
    /// Gives its id.
    pub fn add_gateway_endpoint_behind(
        &self,
        account: &str,
        region: &str,
        vpc_id: &str,
        service_name: &str,
    ) -> anyhow::Result<String> {
        let mut world = self.world();
        let now = world.clock.now();
        let state = world.region(account, region);
        state.vpcs.get(vpc_id).with_context(|| format!("no VPC {vpc_id}"))?;
        let endpoint = new_endpoint(EndpointType::Gateway, region, vpc_id, service_name, now);
        let id = endpoint.id.clone();
        state.endpoints.insert(id.clone(), endpoint);
        Ok(id)
    }

    /// Takes a group off an endpoint.
    pub fn detach_group(&self, account: &str, region: &str, endpoint_id: &str, group_id: &str) -> anyhow::Result<()> {
        self.change_groups(account, region, endpoint_id, |groups| groups.remove(group_id))
    }

    /// Puts a group onto an endpoint.
    pub fn attach_group(&self, account: &str, region: &str, endpoint_id: &str, group_id: &str) -> anyhow::Result<()> {
        self.change_groups(account, region, endpoint_id, |groups| {
            groups.insert(group_id.to_owned())
        })
    }

    fn change_groups(
        &self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        change: impl FnOnce(&mut BTreeSet<String>) -> bool,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let state = world.region(account, region);
        let endpoint = state.endpoints.get(endpoint_id);
        let mut groups = endpoint
            .with_context(|| format!("no endpoint {endpoint_id}"))?
            .group_ids
            .clone();
        if !change(&mut groups) {
            bail!("that changes nothing for {endpoint_id}");
        }
        state.set_groups(endpoint_id, groups);
        Ok(())
    }

    /// Puts another interface of an endpoint, with another address, in place of that in a subnet.
    pub fn replace_interface(
        &self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        subnet_id: &str,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let now = world.clock.now();
        let state = world.region(account, region);
        if !state
            .interfaces_of(endpoint_id)
            .any(|interface| interface.subnet_id == subnet_id)
        {
            bail!("{endpoint_id} has no interface in {subnet_id}");
        }
        state.detach_interface(endpoint_id, subnet_id, now);
        state.attach_interface(endpoint_id, subnet_id, Addresses::default());
        Ok(())
    }

    /// Adds a rule to a group.
    pub fn add_rule(
        &self,
        account: &str,
        region: &str,
        group_id: &str,
        direction: Direction,
        rule: &RuleView,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let group = world.region(account, region).groups.get_mut(group_id);
        let rules = &mut group.with_context(|| format!("no group {group_id}"))?.rules;
        rules.push(Rule::new(direction, traffic(rule)?, rule.description.clone()));
        Ok(())
    }

    /// Removes a rule from a group; descriptions are not compared.
    pub fn remove_rule(
        &self,
        account: &str,
        region: &str,
        group_id: &str,
        direction: Direction,
        rule: &RuleView,
    ) -> anyhow::Result<()> {
        let unwanted = traffic(rule)?;
        let mut world = self.world();
        let group = world.region(account, region).groups.get_mut(group_id);
        let rules = &mut group.with_context(|| format!("no group {group_id}"))?.rules;
        let before = rules.len();
        rules.retain(|rule| rule.direction != direction || rule.traffic != unwanted);
        if rules.len() == before {
            bail!("{group_id} has no such rule");
        }
        Ok(())
    }

    /// Sets a tag of any resource.
    pub fn set_tag(&self, account: &str, region: &str, id: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let tags = tags::find(world.region(account, region), id);
        let tags = tags.map_err(|error| anyhow::anyhow!(error.message))?;
        tags.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes a tag of any resource.
    pub fn delete_tag(&self, account: &str, region: &str, id: &str, key: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let tags = tags::find(world.region(account, region), id);
        let tags = tags.map_err(|error| anyhow::anyhow!(error.message))?;
        tags.remove(key).with_context(|| format!("{id} has no tag {key}"))?;
        Ok(())
    }

    /// Deletes an endpoint as another client's DeleteVpcEndpoints would, without a call.
    pub fn delete_endpoint_behind(&self, account: &str, region: &str, endpoint_id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let (now, config) = (world.clock.now(), world.config.clone());
        let state = world.region(account, region);
        if !state.endpoints.contains_key(endpoint_id) {
            bail!("no endpoint {endpoint_id}");
        }
        state.start_deleting(endpoint_id, now, &config);
        Ok(())
    }

    /// Removes a group without asking who uses it.
    pub fn delete_group_behind(&self, account: &str, region: &str, group_id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let state = world.region(account, region);
        state
            .groups
            .remove(group_id)
            .with_context(|| format!("no group {group_id}"))?;
        for endpoint_id in state.endpoints.keys().cloned().collect::<Vec<_>>() {
            let mut groups = state.endpoints[&endpoint_id].group_ids.clone();
            if groups.remove(group_id) {
                state.set_groups(&endpoint_id, groups);
            }
        }
        Ok(())
    }

    /// Puts a route of a gateway endpoint into a route table.
    pub fn attach_route_table(
        &self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        route_table_id: &str,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let endpoint = world.region(account, region).endpoints.get_mut(endpoint_id);
        let endpoint = endpoint.with_context(|| format!("no endpoint {endpoint_id}"))?;
        endpoint.route_table_ids.insert(route_table_id.to_owned());
        Ok(())
    }

    /// Deletes a route table, which takes it off the gateway endpoints that had it.
    pub fn delete_route_table_behind(&self, account: &str, region: &str, route_table_id: &str) -> anyhow::Result<()> {
        let mut world = self.world();
        let removed = world.region(account, region).remove_route_table(route_table_id);
        removed.with_context(|| format!("no route table {route_table_id}"))?;
        Ok(())
    }

    /// Puts an endpoint into a state, in which it stays until something else happens to it. What
    /// the owner of its service does has methods of its own.
    pub fn set_endpoint_state(
        &self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        state: EndpointState,
        last_error: Option<LastError>,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let now = world.clock.now();
        let endpoint = world.region(account, region).endpoints.get_mut(endpoint_id);
        let endpoint = endpoint.with_context(|| format!("no endpoint {endpoint_id}"))?;
        endpoint.state = state;
        endpoint.due = None;
        if state == EndpointState::Available {
            endpoint.named_at.get_or_insert(now);
        }
        endpoint.last_error = last_error;
        Ok(())
    }
}
