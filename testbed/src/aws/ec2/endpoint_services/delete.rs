//! DeleteVpcEndpointServiceConfigurations.

use std::collections::BTreeSet;

use super::connections::{connections, has_existing};
use crate::aws::ec2::endpoint::{EndpointState, LastError};
use crate::aws::ec2::services::{self, service_name};
use crate::aws::ec2::{Context, unsuccessful};
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

pub(in crate::aws::ec2) fn delete(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let ids: BTreeSet<String> = form.require_list("ServiceId")?.into_iter().collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let mut failed = context.permit_each(form, "ec2:DeleteVpcEndpointServiceConfigurations", &ids)?;
    failed.extend(context.take_unsuccessful(&ids));

    let connections = connections(context);
    let (now, config) = (context.now, context.config);
    for id in ids {
        if failed.contains_key(&id) {
            continue;
        }
        let service = context.region.endpoint_services.get_mut(&id);
        let Some(service) = service.filter(|service| !service.is_deleted()) else {
            let message = format!("The VpcEndpointService Id '{id}' does not exist");
            failed.insert(id, ApiError::new("InvalidVpcEndpointService.NotFound", message));
            continue;
        };
        if has_existing(&connections, &id) {
            let message = "Service has existing active VPC Endpoint connections!";
            failed.insert(id, ApiError::new("ExistingVpcEndpointConnections", message));
            continue;
        }
        service.start_deleting(now, config);
        // An endpoint that cannot become available fails ("AWS PrivateLink concepts").
        let gone = services::not_found(&service_name(&context.region.name, &id));
        for pending in connections
            .iter()
            .filter(|connection| connection.service_id == id && connection.endpoint.state == EndpointState::Pending)
        {
            let error = LastError {
                code: gone.code.clone(),
                message: gone.message.clone(),
            };
            context.change_endpoint(pending, |endpoint| endpoint.fails_with = Some(error));
        }
    }
    context.region.settle(now, config);
    Ok(unsuccessful(failed))
}
