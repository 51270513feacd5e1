//! Elastic Load Balancing, as far as endpoint services need it: API version 2015-12-01.

pub(crate) mod load_balancer;

use super::Config;
use super::clock::Clock;
use super::ec2::region::Region;
use super::ec2::tags::Tags;
use super::error::ApiError;
use super::filter::Paging;
use super::iam::{Keys, Request, authorize};
use super::identity::{Identities, Principal};
use super::query::Form;
use super::xml::Xml;
use load_balancer::LoadBalancer;

pub(crate) const VERSION: &str = "2015-12-01";
pub(crate) const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// The actions that the simulator knows.
pub(crate) const ACTIONS: [&str; 3] = ["DeleteLoadBalancer", "DescribeLoadBalancers", "DescribeTags"];

/// The maximum number of resources in one describe call (API reference, "DescribeLoadBalancers" and
/// "DescribeTags").
const MOST_NAMED: usize = 20;
const MAX_PAGE: i64 = 400;

/// What an action works on.
pub(crate) struct Context<'a> {
    pub(crate) region: &'a mut Region,
    pub(crate) identities: &'a Identities,
    pub(crate) config: &'a Config,
    pub(crate) clock: &'a Clock,
    pub(crate) caller: &'a Principal,
}

/// Carries the action out; the answer is what belongs inside `<ActionResult>`.
pub(crate) fn handle(action: &str, form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    match action {
        "DeleteLoadBalancer" => delete(form, context),
        "DescribeLoadBalancers" => describe(form, context),
        "DescribeTags" => describe_tags(form, context),
        _ => Err(unknown_action(action)),
    }
}

/// The answer to an action that the simulator does not know.
pub(crate) fn unknown_action(action: &str) -> ApiError {
    let message = format!("Could not find operation {action} for version {VERSION}");
    ApiError::new("InvalidAction", message)
}

impl Context<'_> {
    /// Refuses unknown parameters, then checks IAM.
    fn permit(&self, form: &Form, action: &str, resource: Option<(&str, Option<&Tags>)>) -> Result<(), ApiError> {
        form.finish()?;
        let mut keys = Keys::of(self.caller, &self.region.name);
        if let Some((_, Some(tags))) = resource {
            keys = keys
                .with_tags("aws:ResourceTag", tags)
                .with_tags("elasticloadbalancing:ResourceTag", tags);
        }
        let resource = resource.map_or("*", |(arn, _)| arn);
        let request = Request {
            action,
            resource,
            keys: &keys,
        };
        authorize(self.identities, self.caller, request).map_err(|why| {
            let user = &self.caller.arn;
            let on = if resource == "*" {
                String::new()
            } else {
                format!(" on resource: {resource}")
            };
            let message = format!("User: {user} is not authorized to perform: {action}{on} {why}");
            ApiError::new("AccessDenied", message).with_status(403)
        })
    }
}

fn describe(form: &mut Form, context: &Context<'_>) -> Result<Xml, ApiError> {
    let arns = form.list("LoadBalancerArns.member");
    let names = form.list("Names.member");
    let size = form.take("PageSize").map(|size| page_size(&size)).transpose()?;
    let marker = form.take("Marker");
    context.permit(form, "elasticloadbalancing:DescribeLoadBalancers", None)?;
    if !arns.is_empty() && !names.is_empty() {
        return Err(validation(
            "Load balancer names and ARNs cannot be given in one request",
        ));
    }
    if arns.len() > MOST_NAMED || names.len() > MOST_NAMED {
        return Err(validation(format!(
            "Up to {MOST_NAMED} load balancers can be described in one request"
        )));
    }
    let size = size.into_iter().chain(context.config.page_size_cap).min();
    let paging = Paging::after(size, marker).ok_or_else(|| validation("The marker is not valid"))?;

    let all = context.region.load_balancers.values();
    let mut chosen: Vec<&LoadBalancer> = Vec::new();
    if arns.is_empty() && names.is_empty() {
        chosen.extend(all);
    } else {
        for arn in &arns {
            let found = find(context.region, arn)?;
            chosen.push(found.ok_or_else(|| not_found("One or more load balancers not found"))?);
        }
        for name in &names {
            let found = all.clone().find(|load_balancer| load_balancer.name == *name);
            chosen.push(found.ok_or_else(|| not_found(format!("Load balancers '[{name}]' not found")))?);
        }
        chosen.sort_by(|a, b| a.arn.cmp(&b.arn));
        chosen.dedup_by(|a, b| a.arn == b.arn);
    }
    let (page, marker) = paging.cut(chosen, |load_balancer| &load_balancer.arn);
    let mut xml = Xml::new();
    xml.members("LoadBalancers", page, |xml, load_balancer| {
        load_balancer.write(xml, context.region, context.clock);
    });
    xml.optional("NextMarker", marker);
    Ok(xml)
}

/// Only load balancers have tags here: listeners, rules and target groups are not simulated.
fn describe_tags(form: &mut Form, context: &Context<'_>) -> Result<Xml, ApiError> {
    let arns = form.list("ResourceArns.member");
    context.permit(form, "elasticloadbalancing:DescribeTags", None)?;
    if arns.is_empty() {
        return Err(validation("A resource ARN must be specified"));
    }
    if arns.len() > MOST_NAMED {
        return Err(validation(format!(
            "The tags of up to {MOST_NAMED} resources can be described in one request"
        )));
    }
    let mut found = Vec::new();
    for arn in &arns {
        let load_balancer = find(context.region, arn)?;
        found.push(load_balancer.ok_or_else(|| not_found("One or more load balancers not found"))?);
    }
    let mut xml = Xml::new();
    xml.members("TagDescriptions", found, |xml, load_balancer| {
        xml.text("ResourceArn", &load_balancer.arn);
        xml.members("Tags", &load_balancer.tags, |xml, (key, value)| {
            xml.text("Key", key);
            xml.text("Value", value);
        });
    });
    Ok(xml)
}

/// Succeeds if there is no such load balancer (API reference, "DeleteLoadBalancer").
fn delete(form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    let arn = form
        .take("LoadBalancerArn")
        .ok_or_else(|| validation("LoadBalancerArn is missing"))?;
    let tags = find(context.region, &arn)?.map(|load_balancer| &load_balancer.tags);
    context.permit(form, "elasticloadbalancing:DeleteLoadBalancer", Some((&arn, tags)))?;
    if context.region.uses_load_balancer(&arn) {
        let message =
            format!("Load balancer '{arn}' cannot be deleted because it is currently associated with another service");
        return Err(ApiError::new("ResourceInUse", message));
    }
    context.region.load_balancers.remove(&arn);
    Ok(Xml::new())
}

/// The account's load balancer of this ARN, if there is one.
fn find<'a>(region: &'a Region, arn: &str) -> Result<Option<&'a LoadBalancer>, ApiError> {
    let is_load_balancer = arn.starts_with("arn:") && arn.contains(":elasticloadbalancing:");
    if !is_load_balancer || !arn.contains(":loadbalancer/") {
        return Err(validation(format!("'{arn}' is not a valid load balancer ARN")));
    }
    Ok(region.load_balancers.get(arn))
}

fn page_size(text: &str) -> Result<usize, ApiError> {
    let size = text.parse::<i64>().ok().filter(|size| (1..=MAX_PAGE).contains(size));
    let size = size.and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| {
        validation(format!(
            "1 validation error detected: Value '{text}' at 'pageSize' failed to satisfy constraint: Member must have \
             value between 1 and {MAX_PAGE}"
        ))
    })
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("LoadBalancerNotFound", message)
}
