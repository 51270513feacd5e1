//! The allowed principals of an endpoint service.

use std::collections::BTreeMap;

use super::EndpointService;
use crate::aws::ec2::change::attributes;
use crate::aws::ec2::region::new_id;
use crate::aws::ec2::tags::Tags;
use crate::aws::ec2::{Context, tags};
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::partition;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const FILTERS: [&str; 3] = ["permission-type", "principal", "principal-type"];
/// The only simulated permission type.
const PERMISSION_TYPE: &str = "vpc-endpoint";

/// `PrincipalType`. ARNs with a path are not supported (API reference,
/// "ModifyVpcEndpointServicePermissions"); organizations and services are not simulated.
fn principal_type(principal: &str, partition: &str) -> Option<&'static str> {
    if principal == "*" {
        return Some("All");
    }
    let parts: Vec<&str> = principal.splitn(6, ':').collect();
    let ["arn", of, "iam", "", account, who] = parts[..] else {
        return None;
    };
    let digits = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
    let (kind, name) = who.split_once('/').unwrap_or((who, ""));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let named = !name.is_empty() && name.chars().all(allowed);
    match kind {
        "root" if name.is_empty() => Some("Account"),
        "role" if named => Some("Role"),
        "user" if named => Some("User"),
        _ => None,
    }
    .filter(|_| digits && of == partition)
}

pub(in crate::aws::ec2) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    const ACTION: &str = "ec2:DescribeVpcEndpointServicePermissions";
    let id = form.require("ServiceId")?;
    let filters = Filters::take_untagged(form, &FILTERS)?;
    let paging = Paging::take(form, 5, context.config.page_size_cap)?;
    context.permit(form, &[context.need(ACTION, &id)])?;
    let service = context.region.endpoint_service(&id)?;

    let partition = partition::of_region(&context.region.name);
    let mut all: Vec<(&String, &String)> = service.principals.iter().collect();
    all.retain(|(principal, _)| {
        filters.pass(&Tags::new(), |filter| {
            vec![match filter {
                "permission-type" => PERMISSION_TYPE.to_owned(),
                "principal" => (*principal).clone(),
                _ => principal_type(principal, partition).unwrap_or_default().to_owned(),
            }]
        })
    });
    let (page, token) = paging.cut(&all, |(principal, _)| principal);
    let mut xml = Xml::new();
    xml.items("allowedPrincipals", page, |xml, (principal, permission)| {
        write(xml, service, principal, permission, partition);
        tags::write(xml, &BTreeMap::new());
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

fn write(xml: &mut Xml, service: &EndpointService, principal: &str, permission_id: &str, partition: &str) {
    xml.optional("principalType", principal_type(principal, partition));
    xml.text("principal", principal);
    xml.text("servicePermissionId", permission_id);
    xml.text("serviceId", &service.id);
}

/// Adding a present principal or removing an absent one changes nothing. Existing connections are
/// not affected ("Configure an endpoint service").
pub(in crate::aws::ec2) fn modify(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    const ACTION: &str = "ec2:ModifyVpcEndpointServicePermissions";
    let id = form.require("ServiceId")?;
    let attributes = attributes(form);
    let add = form.list("AddAllowedPrincipals");
    let remove = form.list("RemoveAllowedPrincipals");
    let kind = form.take("PermissionType");
    let mut need = context.need(ACTION, &id).with_all("ec2:Attribute", attributes.keys());
    for (name, values) in &attributes {
        need = need.with_all(&format!("ec2:Attribute/{name}"), values);
    }
    context.permit(form, &[need])?;
    if kind.as_deref().is_some_and(|kind| kind != PERMISSION_TYPE) {
        return Err(ApiError::invalid_value(
            "Permissions for attachments of transit gateways are not simulated.",
        ));
    }
    if add.is_empty() && remove.is_empty() {
        return Err(form.missing("AddAllowedPrincipals"));
    }
    context.region.endpoint_service(&id)?;
    let partition = partition::of_region(&context.region.name);
    if let Some(stranger) = add.iter().find(|one| principal_type(one, partition).is_none()) {
        return Err(ApiError::new(
            "InvalidPrincipal",
            format!("Invalid Principal: '{stranger}'"),
        ));
    }

    let mut xml = Xml::new();
    if let Some(service) = context.region.endpoint_services.get_mut(&id) {
        for principal in &remove {
            service.principals.remove(principal);
        }
        let mut added = Vec::new();
        for principal in add {
            if !service.principals.contains_key(&principal) {
                let permission_id = new_id("vpce-svc-perm");
                service.principals.insert(principal.clone(), permission_id.clone());
                added.push((principal, permission_id));
            }
        }
        xml.items("addedPrincipalSet", added, |xml, (principal, permission)| {
            write(xml, service, &principal, &permission, partition);
        });
    }
    xml.text("return", true);
    Ok(xml)
}
