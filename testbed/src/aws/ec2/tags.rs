//! Tags: in create calls, by CreateTags and DeleteTags, and their limits.

use std::collections::BTreeMap;

use super::Context;
use super::ids::prefix;
use super::permission::Need;
use super::region::Region;
use crate::aws::error::ApiError;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

pub(crate) type Tags = BTreeMap<String, String>;

const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;
const MAX_RESOURCES: usize = 1000;

/// Takes `name.N.Key` and `name.N.Value`, and checks what AWS checks of tags that are to be set.
pub(crate) fn take_all(form: &mut Form, name: &str) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for mut tag in form.structures(name) {
        let key = tag.require("Key")?;
        let value = tag.take("Value").unwrap_or_default();
        tag.finish()?;
        check(&key, &value)?;
        if tags.insert(key.clone(), value).is_some() {
            return Err(ApiError::invalid_value(format!("Duplicate tag key '{key}' specified.")));
        }
    }
    if tags.len() > MAX_TAGS {
        return Err(too_many());
    }
    Ok(tags)
}

/// Takes the `TagSpecification` of a create call, which may only be about `resource_type`.
pub(crate) fn take_specification(form: &mut Form, resource_type: &str) -> Result<Tags, ApiError> {
    let mut specifications = form.structures("TagSpecification");
    if specifications.len() > 1 {
        return Err(ApiError::invalid_value(format!(
            "Duplicate resource type '{resource_type}' in tag specifications"
        )));
    }
    let Some(specification) = specifications.first_mut() else {
        return Ok(Tags::new());
    };
    let given = specification.require("ResourceType")?;
    if given != resource_type {
        return Err(ApiError::invalid_value(format!(
            "'{given}' is not a valid taggable resource type for this operation."
        )));
    }
    let tags = take_all(specification, "Tag")?;
    specification.finish()?;
    if tags.is_empty() {
        return Err(ApiError::invalid_value("Tag specification must have at least one tag"));
    }
    Ok(tags)
}

pub(super) fn create(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let ids = form.require_list("ResourceId")?;
    let tags = take_all(form, "Tag")?;
    if tags.is_empty() {
        return Err(form.missing("Tag"));
    }
    check_resources(&ids)?;
    let needs = context.needs("ec2:CreateTags", &ids).into_iter();
    let needs: Vec<Need> = needs.map(|need| need.requesting(&tags)).collect();
    context.permit(form, &needs)?;

    for id in &ids {
        let present = find(context.region, id)?;
        let new = tags.keys().filter(|key| !present.contains_key(*key)).count();
        if present.len() + new > MAX_TAGS {
            return Err(too_many());
        }
    }
    for id in &ids {
        find(context.region, id)?.extend(tags.clone());
    }
    Ok(super::returned())
}

pub(super) fn delete(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let ids = form.require_list("ResourceId")?;
    let mut unwanted: Vec<(String, Option<String>)> = Vec::new();
    for mut tag in form.structures("Tag") {
        unwanted.push((tag.require("Key")?, tag.take("Value")));
        tag.finish()?;
    }
    check_resources(&ids)?;
    if unwanted.is_empty() {
        // EC2 would remove all of the user's tags, which cannot be the intention here.
        return Err(form.missing("Tag"));
    }
    if unwanted.iter().any(|(key, _)| key.starts_with("aws:")) {
        return Err(reserved());
    }
    let valued = unwanted.iter().cloned().filter_map(|(key, value)| Some((key, value?)));
    let valued: Tags = valued.collect();
    let needs = context.needs("ec2:DeleteTags", &ids).into_iter();
    let needs: Vec<Need> = needs
        .map(|need| need.requesting(&valued).naming(unwanted.iter().map(|(key, _)| key)))
        .collect();
    context.permit(form, &needs)?;

    for id in &ids {
        find(context.region, id)?;
    }
    for id in &ids {
        let tags = find(context.region, id)?;
        for (key, value) in &unwanted {
            // With a value given, only the tag that has it goes.
            if value.is_none() || tags.get(key) == value.as_ref() {
                tags.remove(key);
            }
        }
    }
    Ok(super::returned())
}

/// EC2's `<tagSet>`.
pub(super) fn write(xml: &mut Xml, tags: &Tags) {
    xml.items("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key);
        xml.text("value", value);
    });
}

/// What EC2 says of an id that is not there.
pub(super) fn missing(id: &str) -> ApiError {
    let (code, what) = match prefix(id) {
        "vpce" => ("InvalidVpcEndpointId.NotFound", "Vpc Endpoint Id"),
        "vpce-svc" => ("InvalidVpcEndpointServiceId.NotFound", "VpcEndpointService Id"),
        "vpc" => ("InvalidVpcID.NotFound", "vpc ID"),
        "subnet" => ("InvalidSubnetID.NotFound", "subnet ID"),
        "rtb" => ("InvalidRouteTableID.NotFound", "routeTable ID"),
        "sg" => ("InvalidGroup.NotFound", "security group"),
        "sgr" => ("InvalidSecurityGroupRuleId.NotFound", "security group rule ID"),
        "eni" => ("InvalidNetworkInterfaceID.NotFound", "networkInterface ID"),
        _ => ("InvalidID", "ID"),
    };
    ApiError::new(code, format!("The {what} '{id}' does not exist"))
}

/// The tags of whatever has this id.
pub(crate) fn find<'a>(region: &'a mut Region, id: &str) -> Result<&'a mut Tags, ApiError> {
    let tags = match prefix(id) {
        "vpce" => region
            .endpoints
            .get_mut(id)
            .filter(|endpoint| !endpoint.is_deleted())
            .map(|endpoint| &mut endpoint.tags),
        "vpce-svc" => region
            .endpoint_services
            .get_mut(id)
            .filter(|service| !service.is_deleted())
            .map(|service| &mut service.tags),
        "vpc" => region.vpcs.get_mut(id).map(|vpc| &mut vpc.tags),
        "subnet" => region.subnets.get_mut(id).map(|subnet| &mut subnet.tags),
        "rtb" => region.route_tables.get_mut(id).map(|table| &mut table.tags),
        "sg" => region.groups.get_mut(id).map(|group| &mut group.tags),
        "eni" => region.interfaces.get_mut(id).map(|interface| &mut interface.tags),
        "sgr" => region
            .groups
            .values_mut()
            .flat_map(|group| &mut group.rules)
            .find(|rule| rule.id == id)
            .map(|rule| &mut rule.tags),
        _ => None,
    };
    tags.ok_or_else(|| missing(id))
}

fn check(key: &str, value: &str) -> Result<(), ApiError> {
    if key.starts_with("aws:") {
        return Err(reserved());
    }
    if key.chars().count() > MAX_KEY {
        return Err(ApiError::invalid_value(format!(
            "Tag key exceeds the maximum length of {MAX_KEY} characters"
        )));
    }
    if value.chars().count() > MAX_VALUE {
        return Err(ApiError::invalid_value(format!(
            "Tag value exceeds the maximum length of {MAX_VALUE} characters"
        )));
    }
    Ok(())
}

fn check_resources(ids: &[String]) -> Result<(), ApiError> {
    if ids.len() > MAX_RESOURCES {
        return Err(ApiError::invalid_value(format!(
            "At most {MAX_RESOURCES} resources may be tagged in one call"
        )));
    }
    Ok(())
}

fn reserved() -> ApiError {
    ApiError::invalid_value("Tag keys starting with 'aws:' are reserved for internal use")
}

fn too_many() -> ApiError {
    ApiError::new(
        "TagLimitExceeded",
        format!("The maximum number of {MAX_TAGS} tags for this resource has been reached."),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn code_of(query: &str) -> String {
        let mut form = Form::parse(query.as_bytes());
        take_specification(&mut form, "vpc-endpoint").unwrap_err().code
    }

    #[test]
    fn a_specification_is_about_what_the_call_makes() {
        let mut form = Form::parse(
            b"TagSpecification.1.ResourceType=vpc-endpoint&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b",
        );
        let tags = take_specification(&mut form, "vpc-endpoint").unwrap();
        assert_eq!(tags, Tags::from([("a".to_owned(), "b".to_owned())]));
        let wrong = "TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=a";
        assert_eq!(code_of(wrong), "InvalidParameterValue");
    }

    #[test]
    fn limits_hold() {
        let tag = |key: &str, value: &str| {
            format!(
                "TagSpecification.1.ResourceType=vpc-endpoint&TagSpecification.1.Tag.1.Key={key}\
                 &TagSpecification.1.Tag.1.Value={value}"
            )
        };
        assert_eq!(code_of(&tag("aws:x", "")), "InvalidParameterValue");
        assert_eq!(code_of(&tag("k", &"v".repeat(257))), "InvalidParameterValue");
        assert_eq!(code_of(&tag(&"k".repeat(129), "")), "InvalidParameterValue");
        let many: String = (1..=51)
            .map(|n| format!("&TagSpecification.1.Tag.{n}.Key=k{n}"))
            .collect();
        let many = format!("TagSpecification.1.ResourceType=vpc-endpoint{many}");
        assert_eq!(code_of(&many), "TagLimitExceeded");
    }
}
