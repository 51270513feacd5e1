//! ModifyVpcEndpoint: subnets, groups, route tables, private DNS and policy of an endpoint that is
//! there.

use std::collections::BTreeSet;

use super::Context;
use super::checks::{
    check_address_options, check_group_count, check_groups, check_private_dns, check_route_tables, check_subnets,
    not_found, take_policy,
};
use super::endpoints::{FULL_ACCESS, MISSING, requester_managed};
use super::permission::Need;
use super::region::{Endpoint, EndpointKind, EndpointState, Region};
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

/// The parameters of a ModifyVpcEndpoint.
struct Modification {
    id: String,
    subnets: Change,
    groups: Change,
    route_tables: Change,
    private_dns: Option<bool>,
    reset_policy: bool,
    policy: Option<String>,
}

/// What an endpoint is attached to after a modification.
struct Attached {
    subnets: BTreeSet<String>,
    groups: BTreeSet<String>,
    route_tables: BTreeSet<String>,
}

impl Modification {
    fn take(form: &mut Form) -> Result<Self, ApiError> {
        let modification = Self {
            id: form.require("VpcEndpointId")?,
            subnets: Change::take(form, "SubnetId")?,
            groups: Change::take(form, "SecurityGroupId")?,
            route_tables: Change::take(form, "RouteTableId")?,
            private_dns: form.flag("PrivateDnsEnabled")?,
            reset_policy: form.flag("ResetPolicy")?.unwrap_or(false),
            policy: take_policy(form)?,
        };
        check_address_options(form)?;
        Ok(modification)
    }

    /// The permissions that IAM asks of the caller.
    fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        let mut needs = vec![context.need(ACTION, &self.id)];
        for change in [&self.subnets, &self.groups, &self.route_tables] {
            needs.extend(context.needs(ACTION, change.add.union(&change.remove)));
        }
        if self.private_dns == Some(true) {
            let endpoint = context.region.endpoints.get(&self.id);
            needs.push(context.need_hosted_zone(endpoint.map(|endpoint| endpoint.vpc_id.as_str())));
        }
        needs
    }

    /// The endpoint, if it is in a state to be modified.
    fn endpoint<'e>(&self, region: &'e Region) -> Result<&'e Endpoint, ApiError> {
        let id = &self.id;
        let endpoint = region
            .endpoints
            .get(id)
            .filter(|endpoint| !endpoint.is_deleted())
            .ok_or_else(|| not_found(MISSING, "Vpc Endpoint Id", id))?;
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
        Ok(endpoint)
    }

    /// Checks that endpoints of this type have what is to be changed.
    fn check_kind(&self, kind: EndpointKind) -> Result<(), ApiError> {
        let interface = kind == EndpointKind::Interface;
        if interface && !self.route_tables.is_empty() {
            return Err(ApiError::invalid(
                "Route table IDs are only supported for Gateway type VPC Endpoint.",
            ));
        }
        if !interface && (!self.subnets.is_empty() || !self.groups.is_empty() || self.private_dns == Some(true)) {
            return Err(ApiError::invalid(
                "Subnets, security groups and private DNS are only supported for Interface type VPC Endpoint.",
            ));
        }
        Ok(())
    }

    /// Checks the whole modification, and changes nothing.
    fn check(&self, context: &Context<'_>) -> Result<Attached, ApiError> {
        let region = &*context.region;
        let endpoint = self.endpoint(region)?;
        self.check_kind(endpoint.kind)?;
        let attached = Attached {
            subnets: self.subnets.apply(&endpoint.subnet_ids)?,
            groups: self.groups.apply(&endpoint.group_ids)?,
            route_tables: self.route_tables.apply(&endpoint.route_table_ids)?,
        };
        if let Some(service) = context.services.get(&endpoint.service_name) {
            let name = &endpoint.service_name;
            // A zone is free again only when an earlier call has removed its subnet.
            let added = &self.subnets.add - &endpoint.subnet_ids;
            check_subnets(region, service, name, &endpoint.vpc_id, &endpoint.subnet_ids, &added)?;
            if self.private_dns == Some(true) && !endpoint.private_dns {
                check_private_dns(region, context.services, name, &endpoint.vpc_id, Some(&self.id))?;
            }
        }
        check_groups(context, &endpoint.vpc_id, &self.groups.add)?;
        check_group_count(context, attached.groups.len())?;
        if endpoint.kind == EndpointKind::Interface && attached.groups.is_empty() {
            return Err(ApiError::invalid(
                "An Interface type VPC Endpoint must have at least one security group.",
            ));
        }
        check_route_tables(region, &endpoint.vpc_id, &self.route_tables.add)?;
        Ok(attached)
    }
}

pub(super) fn modify(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let modification = Modification::take(form)?;
    context.permit(form, &modification.needs(context))?;
    let attached = modification.check(context)?;

    let id = &modification.id;
    let (now, config) = (context.now, context.config);
    let region = &mut *context.region;
    let endpoint = region.endpoints.get_mut(id).expect("Modification::check has found it");
    let removed: Vec<String> = endpoint.subnet_ids.difference(&attached.subnets).cloned().collect();
    let added: Vec<String> = attached.subnets.difference(&endpoint.subnet_ids).cloned().collect();
    if !removed.is_empty() || !added.is_empty() {
        endpoint.state = EndpointState::Pending;
        endpoint.modifying = true;
        endpoint.due = Some(now + config.modify_seconds);
    }
    endpoint.subnet_ids = attached.subnets;
    endpoint.route_table_ids = attached.route_tables;
    endpoint.private_dns = modification.private_dns.unwrap_or(endpoint.private_dns);
    if modification.reset_policy {
        endpoint.policy = FULL_ACCESS.to_owned();
    } else if let Some(policy) = modification.policy {
        endpoint.policy = policy;
    }
    region.set_groups(id, attached.groups);
    for subnet_id in removed {
        region.detach_interface(id, &subnet_id, now + config.eni_release_seconds);
    }
    for subnet_id in added {
        region.attach_interface(id, &subnet_id);
    }
    region.settle(now, config);
    Ok(super::returned())
}
