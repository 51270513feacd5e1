//! ModifyVpcEndpoint: subnets, groups, route tables, private DNS and policy of an endpoint that is
//! there.

use std::collections::BTreeSet;

use super::Context;
use super::checks::{
    check_address_options, check_group_count, check_groups, check_private_dns, check_route_tables, check_subnets,
    not_found, take_policy,
};
use super::endpoints::{FULL_ACCESS, MISSING, requester_managed};
use super::region::{EndpointKind, EndpointState};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const ACTION: &str = "ec2:ModifyVpcEndpoint";

/// What a ModifyVpcEndpoint adds to and takes from one of an endpoint's sets.
struct Change {
    add: BTreeSet<String>,
    remove: BTreeSet<String>,
}

impl Change {
    fn take(form: &mut Form, what: &str) -> Result<Self, ApiError> {
        let add: BTreeSet<String> = form.list(&format!("Add{what}")).into_iter().collect();
        let remove: BTreeSet<String> = form.list(&format!("Remove{what}")).into_iter().collect();
        if let Some(both) = add.intersection(&remove).next() {
            return Err(ApiError::invalid(format!(
                "{both} cannot be added and removed in one request"
            )));
        }
        Ok(Self { add, remove })
    }

    fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// The set afterwards. Only what is there can be removed; adding what is there changes nothing.
    fn apply(&self, present: &BTreeSet<String>) -> Result<BTreeSet<String>, ApiError> {
        if let Some(stranger) = self.remove.difference(present).next() {
            return Err(ApiError::invalid(format!(
                "{stranger} is not associated with the VPC endpoint"
            )));
        }
        let kept = present.difference(&self.remove);
        Ok(kept.chain(&self.add).cloned().collect())
    }
}

pub(super) fn modify(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let id = form.require("VpcEndpointId")?;
    let subnets = Change::take(form, "SubnetId")?;
    let groups = Change::take(form, "SecurityGroupId")?;
    let route_tables = Change::take(form, "RouteTableId")?;
    let private_dns = form.flag("PrivateDnsEnabled")?;
    let reset_policy = form.flag("ResetPolicy")?.unwrap_or(false);
    let policy = take_policy(form)?;
    check_address_options(form)?;
    let mut needs = vec![context.need(ACTION, &id)];
    for change in [&subnets, &groups, &route_tables] {
        needs.extend(context.needs(ACTION, change.add.union(&change.remove)));
    }
    if private_dns == Some(true) {
        let vpc_id = context
            .region
            .endpoints
            .get(&id)
            .map(|endpoint| endpoint.vpc_id.as_str());
        needs.push(context.need_hosted_zone(vpc_id));
    }
    context.permit(form, &needs)?;

    let region = &*context.region;
    let endpoint = region
        .endpoints
        .get(&id)
        .filter(|endpoint| !endpoint.is_deleted())
        .ok_or_else(|| not_found(MISSING, "Vpc Endpoint Id", &id))?;
    if endpoint.requester_managed {
        return Err(requester_managed(&endpoint.service_name));
    }
    if endpoint.modifying {
        return Err(ApiError::new(
            "OperationInProgress",
            "VpcEndpoint modify operation in progress",
        ));
    }
    if endpoint.state != EndpointState::Available {
        return Err(ApiError::new(
            "IncorrectState",
            format!(
                "The VPC endpoint {id} is in the {} state and cannot be modified",
                endpoint.state.wire()
            ),
        ));
    }
    let interface = endpoint.kind == EndpointKind::Interface;
    if interface && !route_tables.is_empty() {
        return Err(ApiError::invalid(
            "Route table IDs are only supported for Gateway type VPC Endpoint.",
        ));
    }
    if !interface && (!subnets.is_empty() || !groups.is_empty() || private_dns == Some(true)) {
        return Err(ApiError::invalid(
            "Subnets, security groups and private DNS are only supported for Interface type VPC Endpoint.",
        ));
    }
    let subnet_ids = subnets.apply(&endpoint.subnet_ids)?;
    let group_ids = groups.apply(&endpoint.group_ids)?;
    let route_table_ids = route_tables.apply(&endpoint.route_table_ids)?;
    if let Some(service) = context.services.get(&endpoint.service_name) {
        let name = &endpoint.service_name;
        // A zone is free again only when an earlier call has removed its subnet.
        let added = &subnets.add - &endpoint.subnet_ids;
        check_subnets(region, service, name, &endpoint.vpc_id, &endpoint.subnet_ids, &added)?;
        if private_dns == Some(true) && !endpoint.private_dns {
            check_private_dns(region, context.services, name, &endpoint.vpc_id, Some(&id))?;
        }
    }
    check_groups(context, &endpoint.vpc_id, &groups.add)?;
    check_group_count(context, group_ids.len())?;
    if interface && group_ids.is_empty() {
        return Err(ApiError::invalid(
            "An Interface type VPC Endpoint must have at least one security group.",
        ));
    }
    check_route_tables(region, &endpoint.vpc_id, &route_tables.add)?;

    let gone: Vec<String> = endpoint.subnet_ids.difference(&subnet_ids).cloned().collect();
    let new: Vec<String> = subnet_ids.difference(&endpoint.subnet_ids).cloned().collect();
    let (now, config) = (context.now, context.config);
    let region = &mut *context.region;
    if let Some(endpoint) = region.endpoints.get_mut(&id) {
        if endpoint.subnet_ids != subnet_ids {
            endpoint.state = EndpointState::Pending;
            endpoint.modifying = true;
            endpoint.due = Some(now + config.modify_seconds);
        }
        endpoint.subnet_ids = subnet_ids;
        endpoint.route_table_ids = route_table_ids;
        endpoint.private_dns = private_dns.unwrap_or(endpoint.private_dns);
        if reset_policy {
            endpoint.policy = FULL_ACCESS.to_owned();
        } else if let Some(policy) = policy {
            endpoint.policy = policy;
        }
    }
    region.set_groups(&id, group_ids);
    for subnet_id in gone {
        region.detach_interface(&id, &subnet_id, now + config.eni_release_seconds);
    }
    for subnet_id in new {
        region.attach_interface(&id, &subnet_id);
    }
    region.settle(now, config);
    Ok(super::returned())
}
