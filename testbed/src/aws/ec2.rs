//! EC2: the actions that the simulator knows, API version 2016-11-15.

mod addresses;
mod associations;
mod change;
mod checks;
mod create;
pub(crate) mod describe;
pub(crate) mod elsewhere;
pub(crate) mod endpoint;
pub(crate) mod endpoint_services;
pub(crate) mod endpoints;
mod fields;
pub(crate) mod groups;
mod ids;
pub(crate) mod lattice;
mod modify;
pub(crate) mod network;
mod options;
mod permission;
mod policy;
pub(crate) mod region;
pub(crate) mod replica;
pub(crate) mod rules;
pub(crate) mod services;
pub(crate) mod tags;

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use super::clock::{Clock, Seconds};
use super::error::ApiError;
use super::identity::{Identities, Principal};
use super::query::Form;
use super::xml::Xml;
use elsewhere::Elsewhere;
use endpoint_services::{connections, permissions};
use lattice::Lattice;
use region::Region;
use rules::Direction;
use services::Services;

pub(crate) const VERSION: &str = "2016-11-15";
const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// The actions that the simulator knows.
pub(crate) const ACTIONS: &[&str] = &[
    "AcceptVpcEndpointConnections",
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateRouteTable",
    "CreateSecurityGroup",
    "CreateSubnet",
    "CreateTags",
    "CreateVpc",
    "CreateVpcEndpoint",
    "CreateVpcEndpointServiceConfiguration",
    "DeleteRouteTable",
    "DeleteSecurityGroup",
    "DeleteTags",
    "DeleteVpcEndpointServiceConfigurations",
    "DeleteVpcEndpoints",
    "DescribeNetworkInterfaces",
    "DescribePrefixLists",
    "DescribeRouteTables",
    "DescribeSecurityGroupRules",
    "DescribeSecurityGroups",
    "DescribeSubnets",
    "DescribeVpcEndpointAssociations",
    "DescribeVpcEndpointConnections",
    "DescribeVpcEndpointServiceConfigurations",
    "DescribeVpcEndpointServicePermissions",
    "DescribeVpcEndpointServices",
    "DescribeVpcEndpoints",
    "DescribeVpcs",
    "ModifyVpcAttribute",
    "ModifyVpcEndpoint",
    "ModifyVpcEndpointServiceConfiguration",
    "ModifyVpcEndpointServicePermissions",
    "RejectVpcEndpointConnections",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "StartVpcEndpointServicePrivateDnsVerification",
    "UpdateSecurityGroupRuleDescriptionsEgress",
    "UpdateSecurityGroupRuleDescriptionsIngress",
];

/// What an action works on.
pub(crate) struct Context<'a> {
    pub(crate) region: &'a mut Region,
    pub(crate) elsewhere: Elsewhere<'a>,
    pub(crate) services: &'a Services,
    pub(crate) lattice: &'a Lattice,
    /// Accounts and the regions that are not enabled in them.
    pub(crate) disabled: &'a BTreeSet<(String, String)>,
    pub(crate) identities: &'a Identities,
    pub(crate) config: &'a Config,
    pub(crate) clock: &'a Clock,
    pub(crate) now: Seconds,
    pub(crate) caller: &'a Principal,
    /// Ids of what the action made.
    pub(crate) produced: Vec<String>,
    /// Ids that a batch cannot do, whatever it finds.
    pub(crate) unsuccessful: BTreeMap<String, ApiError>,
}

/// Carries the action out; the answer is what belongs inside `<ActionResponse>`.
pub(crate) fn handle(action: &str, form: &mut Form, context: &mut Context<'_>) -> Result<Xml, ApiError> {
    ids::check(form.fields())?;
    match action {
        "AcceptVpcEndpointConnections" => connections::accept(form, context),
        "AuthorizeSecurityGroupEgress" => rules::authorize(Direction::Egress, form, context),
        "AuthorizeSecurityGroupIngress" => rules::authorize(Direction::Ingress, form, context),
        "CreateRouteTable" => network::create_route_table(form, context),
        "CreateSecurityGroup" => groups::create(form, context),
        "CreateSubnet" => network::create_subnet(form, context),
        "CreateTags" => tags::create(form, context),
        "CreateVpc" => network::create_vpc(form, context),
        "CreateVpcEndpoint" => create::create(form, context),
        "CreateVpcEndpointServiceConfiguration" => endpoint_services::create::create(form, context),
        "DeleteRouteTable" => network::delete_route_table(form, context),
        "DeleteSecurityGroup" => groups::delete(form, context),
        "DeleteTags" => tags::delete(form, context),
        "DeleteVpcEndpointServiceConfigurations" => endpoint_services::delete::delete(form, context),
        "DeleteVpcEndpoints" => endpoints::delete(form, context),
        "DescribeNetworkInterfaces" => network::describe_interfaces(form, context),
        "DescribePrefixLists" => network::describe_prefix_lists(form, context),
        "DescribeRouteTables" => network::describe_route_tables(form, context),
        "DescribeSecurityGroupRules" => rules::describe(form, context),
        "DescribeSecurityGroups" => groups::describe(form, context),
        "DescribeSubnets" => network::describe_subnets(form, context),
        "DescribeVpcEndpointAssociations" => associations::describe(form, context),
        "DescribeVpcEndpointConnections" => connections::describe(form, context),
        "DescribeVpcEndpointServiceConfigurations" => endpoint_services::describe::describe(form, context),
        "DescribeVpcEndpointServicePermissions" => permissions::describe(form, context),
        "DescribeVpcEndpointServices" => services::describe(form, context),
        "DescribeVpcEndpoints" => endpoints::describe(form, context),
        "DescribeVpcs" => network::describe_vpcs(form, context),
        "ModifyVpcAttribute" => network::modify_vpc(form, context),
        "ModifyVpcEndpoint" => modify::modify(form, context),
        "ModifyVpcEndpointServiceConfiguration" => endpoint_services::modify::modify(form, context),
        "ModifyVpcEndpointServicePermissions" => permissions::modify(form, context),
        "RejectVpcEndpointConnections" => connections::reject(form, context),
        "RevokeSecurityGroupEgress" => rules::revoke(Direction::Egress, form, context),
        "RevokeSecurityGroupIngress" => rules::revoke(Direction::Ingress, form, context),
        "StartVpcEndpointServicePrivateDnsVerification" => endpoint_services::start_verification(form, context),
        "UpdateSecurityGroupRuleDescriptionsEgress" => rules::update_descriptions(Direction::Egress, form, context),
        "UpdateSecurityGroupRuleDescriptionsIngress" => rules::update_descriptions(Direction::Ingress, form, context),
        _ => Err(unknown_action(action)),
    }
}

/// The answer to an action that the simulator does not know.
pub(crate) fn unknown_action(action: &str) -> ApiError {
    ApiError::new(
        "InvalidAction",
        format!("The action {action} is not valid for this web service."),
    )
}

impl Context<'_> {
    /// Those of these ids that a fault keeps the batch from.
    fn take_unsuccessful(&mut self, ids: &[String]) -> BTreeMap<String, ApiError> {
        let failed = std::mem::take(&mut self.unsuccessful).into_iter();
        failed.filter(|(id, _)| ids.contains(id)).collect()
    }
}

/// What a batch answers: the ids that it could not do, with the reason.
fn unsuccessful(items: BTreeMap<String, ApiError>) -> Xml {
    let mut xml = Xml::new();
    xml.items("unsuccessful", items, |xml, (id, error)| {
        xml.element("error", |xml| {
            xml.text("code", error.code);
            xml.text("message", error.message);
        });
        xml.text("resourceId", id);
    });
    xml
}

/// `<return>true</return>`
fn returned() -> Xml {
    let mut xml = Xml::new();
    xml.text("return", true);
    xml
}

/// EC2's error envelope.
pub(crate) fn error_document(error: &ApiError, request_id: &str) -> String {
    let mut xml = Xml::new();
    xml.element("Response", |xml| {
        xml.element("Errors", |xml| {
            xml.element("Error", |xml| {
                xml.text("Code", &error.code);
                xml.text("Message", &error.message);
            });
        });
        xml.text("RequestID", request_id);
    });
    xml.document()
}

/// EC2's envelope of a result.
pub(crate) fn result_document(action: &str, result: &Xml, request_id: &str) -> String {
    let mut xml = Xml::new();
    let namespace = format!("xmlns=\"{NAMESPACE}\"");
    xml.element_with(&format!("{action}Response"), &namespace, |xml| {
        xml.text("requestId", request_id);
        xml.append(result);
    });
    xml.document()
}
