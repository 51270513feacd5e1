//! Security groups: create, describe, delete.

use ipnet::{Ipv4Net, Ipv6Net};

use super::Context;
use super::describe::{Question, Shape};
use super::region::{Group, Region, Vpc, new_id};
use super::rules::{self, Direction, Peer, Rule};
use super::tags::{self, Tags};
use crate::aws::error::ApiError;
use crate::aws::partition;
use crate::aws::query::Form;
use crate::aws::xml::Xml;

const MAX_TEXT: usize = 255;

const SHAPE: Shape = Shape {
    action: "ec2:DescribeSecurityGroups",
    ids: "GroupId",
    filters: &[
        "description",
        "egress.ip-permission.group-id",
        "group-id",
        "group-name",
        "ip-permission.group-id",
        "vpc-id",
    ],
    least: 5,
    ids_or_pages: true,
    missing: "InvalidGroup.NotFound",
};

const CREATE: &str = "ec2:CreateSecurityGroup";

pub(super) fn create(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let name = form.require("GroupName")?;
    let description = form.require("GroupDescription")?;
    let vpc_id = form.require("VpcId")?;
    let tags = tags::take_specification(form, "security-group")?;
    let mut needs = vec![
        context.need_new(CREATE, "security-group", &tags),
        context.need(CREATE, &vpc_id),
    ];
    needs.extend(context.need_tagging(CREATE, "security-group", &tags));
    context.permit(form, &needs)?;

    check_text("group name", &name)?;
    check_text("group description", &description)?;
    if name.starts_with("sg-") {
        return Err(ApiError::invalid_value(format!(
            "Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*."
        )));
    }
    if name == "default" {
        return Err(ApiError::new(
            "InvalidGroup.Reserved",
            "The security group 'default' is reserved",
        ));
    }
    let region = &mut *context.region;
    let vpc = region
        .vpcs
        .get(&vpc_id)
        .ok_or_else(|| ApiError::new("InvalidVpcID.NotFound", format!("The vpc ID '{vpc_id}' does not exist")))?;
    // "CreateSecurityGroup": names are compared without case.
    let taken = |group: &Group| group.vpc_id == vpc_id && group.name.eq_ignore_ascii_case(&name);
    if region.groups.values().any(taken) {
        return Err(ApiError::new(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{vpc_id}'"),
        ));
    }
    if region.groups.len() >= context.config.quotas.groups {
        return Err(ApiError::new(
            "SecurityGroupLimitExceeded",
            "The maximum number of security groups has been reached.",
        ));
    }
    let group = new_group(new_id("sg"), vpc, &name, &description, tags);
    let id = group.id.clone();
    context.produced.push(id.clone());
    let mut xml = Xml::new();
    xml.text("return", true);
    xml.text("groupId", &id);
    tags::write(&mut xml, &group.tags);
    xml.text("securityGroupArn", arn(region, &id));
    region.groups.insert(id, group);
    Ok(xml)
}

/// A group as EC2 makes it: closed towards the inside, and open towards the outside, for IPv6 too
/// where the VPC has a block of it ("Default security groups for your VPCs"; new ones begin with
/// the same egress).
pub(crate) fn new_group(id: String, vpc: &Vpc, name: &str, description: &str, tags: Tags) -> Group {
    let everywhere = [
        Some(Peer::Ipv4(Ipv4Net::default())),
        vpc.ipv6.map(|_| Peer::Ipv6(Ipv6Net::default())),
    ];
    Group {
        id,
        vpc_id: vpc.id.clone(),
        name: name.to_owned(),
        description: description.to_owned(),
        tags,
        rules: everywhere.into_iter().flatten().map(Rule::open_egress).collect(),
    }
}

pub(super) fn delete(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let id = form.require("GroupId")?;
    context.permit(form, &[context.need("ec2:DeleteSecurityGroup", &id)])?;

    let region = &mut *context.region;
    let group = region.groups.get(&id).ok_or_else(|| not_found(&id))?;
    if group.name == "default" {
        return Err(ApiError::new(
            "CannotDelete",
            format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user"),
        ));
    }
    if region.uses_group(&id) {
        return Err(ApiError::new(
            "DependencyViolation",
            format!("resource {id} has a dependent object"),
        ));
    }
    region.groups.remove(&id);
    let mut xml = Xml::new();
    xml.text("return", true);
    xml.text("groupId", &id);
    Ok(xml)
}

pub(super) fn describe(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let question = Question::take(form, context, &SHAPE)?;
    let region = &*context.region;
    let (page, token) = question.answer(
        &SHAPE,
        region.groups.values(),
        |group| &group.id,
        |group| &group.tags,
        |group, filter| match filter {
            "description" => vec![group.description.clone()],
            "egress.ip-permission.group-id" => named(group, Direction::Egress),
            "group-id" => vec![group.id.clone()],
            "group-name" => vec![group.name.clone()],
            "ip-permission.group-id" => named(group, Direction::Ingress),
            _ => vec![group.vpc_id.clone()],
        },
    )?;
    let mut xml = Xml::new();
    xml.items("securityGroupInfo", page, |xml, group| {
        xml.text("groupId", &group.id);
        xml.text("groupName", &group.name);
        xml.text("groupDescription", &group.description);
        xml.text("vpcId", &group.vpc_id);
        xml.text("ownerId", &region.account);
        xml.text("securityGroupArn", arn(region, &group.id));
        rules::write_permissions(xml, "ipPermissions", group, Direction::Ingress, &region.account);
        rules::write_permissions(xml, "ipPermissionsEgress", group, Direction::Egress, &region.account);
        tags::write(xml, &group.tags);
    });
    xml.optional("nextToken", token);
    Ok(xml)
}

/// The groups that a group's rules name.
fn named(group: &Group, direction: Direction) -> Vec<String> {
    let rules = group.rules.iter().filter(|rule| rule.direction == direction);
    let peers = rules.filter_map(|rule| match &rule.traffic.peer {
        Peer::Group(id) => Some(id.clone()),
        _ => None,
    });
    peers.collect()
}

pub(super) fn not_found(id: &str) -> ApiError {
    ApiError::new(
        "InvalidGroup.NotFound",
        format!("The security group '{id}' does not exist"),
    )
}

fn arn(region: &Region, id: &str) -> String {
    let (partition, name) = (partition::of_region(&region.name), &region.name);
    format!("arn:{partition}:ec2:{name}:{}:security-group/{id}", region.account)
}

/// EC2's rule for names and descriptions of groups and rules.
pub(super) fn check_text(what: &str, text: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.len() <= MAX_TEXT && text.chars().all(allowed) {
        return Ok(());
    }
    Err(ApiError::invalid_value(format!(
        "Invalid {what}. Valid values are strings less than 256 characters from the following set: \
         a-zA-Z0-9. _-:/()#,@[]+=&;{{}}!$*"
    )))
}
