//! DescribeVpcEndpointAssociations: what Resource and ServiceNetwork endpoints lead to.

use super::Context;
use super::endpoints::MISSING;
use super::lattice::{Accessibility, Association};
use super::permission::Need;
use super::tags::Tags;
use crate::aws::error::ApiError;
use crate::aws::filter::{Filters, Paging};
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const FILTERS: [&str; 6] = [
    "associated-resource-accessibility",
    "associated-resource-id",
    "association-id",
    "resource-configuration-group-arn",
    "service-network-arn",
    "vpc-endpoint-id",
];
const MOST: i64 = 100;

pub(super) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let ids = form.list("VpcEndpointId");
    let filters = Filters::take(form, &FILTERS)?;
    let size = form
        .fields()
        .get("MaxResults")
        .and_then(|text| text.parse::<i64>().ok());
    if let Some(size) = size.filter(|size| *size > MOST) {
        return Err(ApiError::invalid_value(format!(
            "Value ( {size} ) for parameter maxResults is invalid. Expecting a value less than or equal to {MOST}."
        )));
    }
    let paging = Paging::take(form, 1, context.config.page_size_cap)?;
    context.permit(form, &[Need::anywhere("ec2:DescribeVpcEndpointAssociations")])?;

    let region = &*context.region;
    let endpoints: Vec<_> = region.described(context.now).filter(|e| !e.is_deleted()).collect();
    if let Some(missing) = ids.iter().find(|id| endpoints.iter().all(|e| e.id != **id)) {
        return Err(ApiError::new(MISSING, format!("The ID '{missing}' does not exist")));
    }
    let wanted = endpoints.iter().filter(|e| ids.is_empty() || ids.contains(&e.id));
    let all = wanted.flat_map(|endpoint| context.lattice.associations(endpoint, &region.account));
    let mut all: Vec<Association> = all.collect();
    all.retain(|association| filters.pass(&Tags::new(), |filter| values(association, filter)));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let (page, token) = paging.cut(&all, |association| &association.id);
    let mut xml = Xml::new();
    xml.items("vpcEndpointAssociationSet", page, write);
    xml.optional("nextToken", token);
    Ok(xml)
}

fn values(association: &Association, filter: &str) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    match filter {
        "associated-resource-accessibility" => one(association.accessibility.wire()),
        "associated-resource-id" => one(Association::last_part(&association.resource_arn)),
        "association-id" => one(&association.id),
        "resource-configuration-group-arn" => association.group_arn.iter().cloned().collect(),
        "service-network-arn" => association.network_arn.iter().cloned().collect(),
        _ => one(&association.endpoint_id),
    }
}

fn write(xml: &mut Xml, association: &Association) {
    xml.text("id", &association.id);
    xml.text("vpcEndpointId", &association.endpoint_id);
    if let Some(arn) = &association.network_arn {
        xml.text("serviceNetworkArn", arn);
        xml.text("serviceNetworkName", Association::last_part(arn));
    }
    xml.text("associatedResourceAccessibility", association.accessibility.wire());
    if let Accessibility::Failed(code, reason) = &association.accessibility {
        xml.text("failureReason", reason);
        xml.text("failureCode", code);
    }
    xml.element("dnsEntry", |xml| xml.text("dnsName", &association.dns_name));
    if let Some(name) = &association.private_dns_name {
        xml.element("privateDnsEntry", |xml| xml.text("dnsName", name));
    }
    xml.text("associatedResourceArn", &association.resource_arn);
    xml.optional("resourceConfigurationGroupArn", association.group_arn.as_ref());
}
