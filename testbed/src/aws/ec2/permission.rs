//! What a call has to be allowed: actions on resources with their condition keys, as the Service
//! Authorization Reference lists them for EC2, and the words in which EC2 refuses.

use std::collections::BTreeMap;

use super::Context;
use super::ids::prefix;
use super::region::Region;
use super::tags::Tags;
use crate::aws::error::ApiError;
use crate::aws::iam::{Keys, Request, authorize};
use crate::aws::partition;
use crate::aws::query::Form;

/// The hosted zone of private DNS names, which is AWS's own.
pub(super) const PRIVATE_DNS_ZONE: &str = "Z04223561RKEGUQNHFYYS";

/// One action on one resource.
#[derive(Debug)]
pub(super) struct Need {
    action: String,
    /// An ARN; `*` where the action knows no resources.
    resource: String,
    keys: Keys,
}

impl Need {
    /// An action that knows no resources, as the describes.
    pub(super) fn anywhere(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            resource: "*".to_owned(),
            keys: Keys::default(),
        }
    }

    /// An action of another service, on something by its ARN.
    pub(super) fn on(action: &str, arn: &str) -> Self {
        Self {
            resource: arn.to_owned(),
            ..Self::anywhere(action)
        }
    }

    /// A key with any number of values.
    pub(super) fn with_all<'a>(mut self, key: &str, values: impl IntoIterator<Item = &'a String>) -> Self {
        self.keys = self.keys.with_all(key, values);
        self
    }

    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.keys = self.keys.with(key, value);
        self
    }

    /// The tags that the request is about.
    pub(super) fn requesting(mut self, tags: &Tags) -> Self {
        self.keys = self.keys.requesting(tags);
        self
    }

    /// The tags that the request is about where it may leave their values open.
    pub(super) fn naming<'a>(mut self, tag_keys: impl Iterator<Item = &'a String>) -> Self {
        self.keys = self.keys.with_all("aws:TagKeys", tag_keys);
        self
    }
}

impl Context<'_> {
    /// An action on something by its id. What is not there has no tags either, so that a policy
    /// which requires one refuses before the call fails because it is missing.
    pub(super) fn need(&self, action: &str, id: &str) -> Need {
        let mut keys = Keys::default();
        if let Some((tags, vpc_id)) = attributes(self.region, id, self.now) {
            keys = keys.tagged(tags);
            if let Some(vpc_id) = vpc_id {
                keys = keys.with("ec2:Vpc", self.arn("vpc", vpc_id));
            }
        }
        let kind = resource_type(id);
        let own_id = match kind {
            "security-group" => Some("ec2:SecurityGroupID"),
            "subnet" => Some("ec2:SubnetID"),
            "vpc" => Some("ec2:VpcID"),
            "route-table" => Some("ec2:RouteTableID"),
            _ => None,
        };
        if let Some(key) = own_id {
            keys = keys.with(key, id);
        }
        let endpoint = self.region.endpoints.get(id).filter(|e| !e.kind.is_lattice());
        if let Some(endpoint) = endpoint.filter(|_| action == "ec2:DeleteVpcEndpoints") {
            keys = keys.with("ec2:VpceServiceName", &endpoint.service_name);
        }
        if let Some(service) = self.region.endpoint_services.get(id) {
            let multi_region = service.is_multi_region();
            keys = keys
                .with("ec2:VpceMultiRegion", if multi_region { "true" } else { "false" })
                .with_all("ec2:VpceSupportedRegion", service.regions.keys());
        }
        Need {
            action: action.to_owned(),
            resource: self.arn(kind, id),
            keys,
        }
    }

    /// The same action on several.
    pub(super) fn needs<'a>(&self, action: &str, ids: impl IntoIterator<Item = &'a String>) -> Vec<Need> {
        ids.into_iter().map(|id| self.need(action, id)).collect()
    }

    /// An action that makes something of a kind, with tags.
    pub(super) fn need_new(&self, action: &str, kind: &str, tags: &Tags) -> Need {
        Need {
            action: action.to_owned(),
            resource: self.arn(kind, "*"),
            keys: Keys::default().requesting(tags),
        }
    }

    /// What tags in a request that makes something need besides: CreateTags, with the action that
    /// makes it.
    pub(super) fn need_tagging(&self, action: &str, kind: &str, tags: &Tags) -> Option<Need> {
        let name = action.strip_prefix("ec2:").unwrap_or(action);
        let need = || {
            self.need_new("ec2:CreateTags", kind, tags)
                .with("ec2:CreateAction", name)
        };
        (!tags.is_empty()).then(need)
    }

    /// What private DNS needs besides: the Service Authorization Reference lists
    /// `route53:AssociateVPCWithHostedZone` as CreateVpcEndpoint's dependent action, and
    /// ModifyVpcEndpoint associates the VPC just the same. EC2 asks Route 53 in the caller's name,
    /// so that it is Route 53's region that counts, and its keys.
    pub(super) fn need_hosted_zone(&self, vpc_id: Option<&str>) -> Need {
        let region = &self.region.name;
        let partition = partition::of_region(region);
        let home = match partition {
            "aws-cn" => "cn-northwest-1",
            "aws-us-gov" => "us-gov-west-1",
            _ => "us-east-1",
        };
        let vpc = vpc_id.map(|id| format!("VPCId={id},VPCRegion={region}"));
        Need {
            action: "route53:AssociateVPCWithHostedZone".to_owned(),
            resource: format!("arn:{partition}:route53:::hostedzone/{PRIVATE_DNS_ZONE}"),
            keys: Keys::default()
                .with_all("route53:VPCs", &vpc)
                .with("aws:RequestedRegion", home),
        }
    }

    /// The line between reading a request and looking at the region: nothing of the form may be
    /// left, the caller must be allowed, and a dry run ends here.
    pub(super) fn permit(&self, form: &mut Form, needs: &[Need]) -> Result<(), ApiError> {
        let dry_run = finish(form)?;
        for need in needs {
            self.check(need)?;
        }
        if dry_run { Err(dry_run_passed()) } else { Ok(()) }
    }

    /// The same for an action that is refused for each resource by itself: those that are, with the
    /// reason. A dry run has to be allowed for all.
    pub(super) fn permit_each(
        &self,
        form: &mut Form,
        action: &str,
        ids: &[String],
    ) -> Result<BTreeMap<String, ApiError>, ApiError> {
        let dry_run = finish(form)?;
        let mut refused = BTreeMap::new();
        for (id, need) in ids.iter().zip(self.needs(action, ids)) {
            if let Err(error) = self.check(&need) {
                if self.identities.is_denied(&self.caller.role, action) {
                    return Err(error);
                }
                refused.insert(id.clone(), error);
            }
        }
        match refused.pop_first() {
            Some((_, error)) if dry_run => Err(error),
            None if dry_run => Err(dry_run_passed()),
            first => {
                refused.extend(first);
                Ok(refused)
            }
        }
    }

    fn check(&self, need: &Need) -> Result<(), ApiError> {
        let region = &self.region.name;
        let mut keys = Keys::of(self.caller, region);
        if need.action.starts_with("ec2:") {
            keys = keys.with("ec2:Region", region);
        }
        let keys = keys.and(&need.keys);
        let request = Request {
            action: &need.action,
            resource: &need.resource,
            keys: &keys,
        };
        authorize(self.identities, self.caller, request).map_err(|why| self.refused(need, &why))
    }

    fn refused(&self, need: &Need, why: &str) -> ApiError {
        let Need { action, resource, .. } = need;
        let user = &self.caller.arn;
        let text =
            format!("You are not authorized to perform this operation. User: {user} is not authorized to perform: ");
        let message = if resource == "*" {
            format!("{text}{action} {why}")
        } else {
            // What only DecodeAuthorizationMessage can read differs from call to call, even of the
            // same refusal.
            let encoded: String = (0..120).map(|_| fastrand::alphanumeric()).collect();
            format!("{text}{action} on resource: {resource} {why}. Encoded authorization failure message: {encoded}")
        };
        ApiError::new("UnauthorizedOperation", message).with_status(403)
    }

    fn arn(&self, kind: &str, id: &str) -> String {
        let partition = partition::of_region(&self.region.name);
        let Region { name, account, .. } = &*self.region;
        format!("arn:{partition}:ec2:{name}:{account}:{kind}/{id}")
    }
}

/// Reads whether it is a dry run, after which nothing may be left in the form.
fn finish(form: &mut Form) -> Result<bool, ApiError> {
    let dry_run = form.flag("DryRun")?.unwrap_or(false);
    form.finish()?;
    Ok(dry_run)
}

fn dry_run_passed() -> ApiError {
    ApiError::new(
        "DryRunOperation",
        "Request would have succeeded, but DryRun flag is set.",
    )
    .with_status(412)
}

/// The resource type in the ARN of what has this id.
fn resource_type(id: &str) -> &str {
    match prefix(id) {
        "vpce" => "vpc-endpoint",
        "vpce-svc" => "vpc-endpoint-service",
        "sg" => "security-group",
        "sgr" => "security-group-rule",
        "rtb" => "route-table",
        "eni" => "network-interface",
        other => other,
    }
}

/// A resource's tags, and its VPC where `ec2:Vpc` is a key of its type (which it is not for an
/// endpoint).
fn attributes<'a>(region: &'a Region, id: &str, now: f64) -> Option<(&'a Tags, Option<&'a str>)> {
    match resource_type(id) {
        "vpc-endpoint" => {
            let endpoint = region.described(now).find(|endpoint| endpoint.id == id)?;
            Some((&endpoint.tags, None))
        }
        "vpc-endpoint-service" => {
            let service = region.described_services(now).find(|service| service.id == id)?;
            Some((&service.tags, None))
        }
        "vpc" => Some((&region.vpcs.get(id)?.tags, None)),
        "subnet" => region
            .subnets
            .get(id)
            .map(|subnet| (&subnet.tags, Some(&*subnet.vpc_id))),
        "route-table" => region
            .route_tables
            .get(id)
            .map(|table| (&table.tags, Some(&*table.vpc_id))),
        "security-group" => region.groups.get(id).map(|group| (&group.tags, Some(&*group.vpc_id))),
        "network-interface" => {
            let interface = region.interfaces.get(id)?;
            Some((&interface.tags, Some(&*interface.vpc_id)))
        }
        "security-group-rule" => {
            let mut rules = region.groups.values().flat_map(|group| &group.rules);
            Some((&rules.find(|rule| rule.id == id)?.tags, None))
        }
        _ => None,
    }
}
