//! Asks EC2 whether a call would be allowed, by its `DryRun` parameter: it is authorized and not
//! carried out.

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_ec2::types::{IpPermission, IpRange, ResourceType, Tag, VpcEndpointType};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use vpce_core::api::EndpointType;
use vpce_core::error::Class;
use vpce_core::ids::{EndpointId, GroupId, SubnetId, VpcId};
use vpce_core::rules::Direction;
use vpce_core::tags;

use super::ec2::{Ec2, tag_specification};
use super::error::CallError;
use super::observer::{DRY_RUN_PASSED, observed};

/// What stands for a rule, a tag and a name where none of ours is meant; nothing is made of it.
const EXAMPLE: &str = "vpce-operator-dry-run";
const EXAMPLE_CIDR: &str = "10.0.0.0/8";

/// What the calls are asked about: IAM decides by these.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    /// A VPC that endpoints may be in.
    pub(crate) vpc: Option<VpcId>,
    /// A subnet of it.
    pub(crate) subnet: Option<SubnetId>,
    /// Whether endpoints may turn on private DNS.
    pub(crate) private_dns: bool,
    /// Whether networks are read.
    pub(crate) networks: bool,
    /// The types of endpoints that are allowed by name.
    pub(crate) types: Vec<EndpointType>,
    /// What endpoints may connect to, one of each kind.
    pub(crate) targets: Vec<Target>,
    /// A route table that gateways may add routes to.
    pub(crate) route_table: Option<String>,
    /// The tags of what is made.
    pub(crate) tags: BTreeMap<String, String>,
    /// An endpoint of ours.
    pub(crate) endpoint: Option<EndpointId>,
    /// A security group of ours.
    pub(crate) group: Option<GroupId>,
}

/// What an endpoint connects to, where the role needs something else for each.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A service of the region, by its full name.
    Service(String),
    /// The service of a gateway.
    Gateway(String),
    /// A service of another region, and the region.
    Across(String, String),
    /// The ARN of a resource configuration.
    Resource(String),
    /// The ARN of a service network.
    ServiceNetwork(String),
}

impl Target {
    fn name(&self) -> &'static str {
        match self {
            Self::Service(_) => "CreateVpcEndpoint",
            Self::Gateway(_) => "CreateVpcEndpoint (Gateway)",
            Self::Across(..) => "CreateVpcEndpoint (service_region)",
            Self::Resource(_) => "CreateVpcEndpoint (Resource)",
            Self::ServiceNetwork(_) => "CreateVpcEndpoint (ServiceNetwork)",
        }
    }
}

/// How a dry run ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The call would have been allowed.
    Allowed,
    /// It would not.
    Denied(CallError),
    /// EC2 minded something else in the example.
    Unclear(CallError),
    /// EC2 carried it out, so that it knows no dry runs: some simulators do not.
    NotDry,
    /// No answer now; asking again may give one.
    Failed(CallError),
}

/// A call that may be asked about, on what there is to ask with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe<'a> {
    /// Changes nothing whatever comes of it, and so shows whether dry runs are dry; asked first.
    DescribeEndpoints,
    /// DescribeSecurityGroups.
    DescribeGroups,
    /// DescribeNetworkInterfaces.
    DescribeInterfaces,
    /// DescribePrefixLists.
    DescribePrefixLists,
    /// DescribeVpcEndpointAssociations.
    DescribeAssociations,
    /// DescribeVpcs.
    DescribeVpcs,
    /// DescribeSubnets.
    DescribeSubnets,
    /// DescribeVpcEndpointServices.
    DescribeServices,
    /// CreateVpcEndpoint in this VPC for this target.
    CreateEndpoint(&'a VpcId, &'a Target),
    /// CreateSecurityGroup in this VPC.
    CreateGroup(&'a VpcId),
    /// ModifyVpcEndpoint.
    ModifyEndpoint(&'a EndpointId),
    /// DeleteVpcEndpoints.
    DeleteEndpoint(&'a EndpointId),
    /// CreateTags on both.
    Tag(&'a EndpointId, &'a GroupId),
    /// DeleteTags on both.
    Untag(&'a EndpointId, &'a GroupId),
    /// DeleteSecurityGroup.
    DeleteGroup(&'a GroupId),
    /// AuthorizeSecurityGroupIngress or Egress.
    Authorize(&'a GroupId, Direction),
    /// RevokeSecurityGroupIngress or Egress.
    Revoke(&'a GroupId, Direction),
    /// UpdateSecurityGroupRuleDescriptionsIngress or Egress.
    DescribeRules(&'a GroupId, Direction),
}

/// All actions that the operator calls for endpoints of any type.
const ACTIONS: [&str; 16] = [
    "DescribeVpcEndpoints",
    "DescribeSecurityGroups",
    "DescribeNetworkInterfaces",
    "CreateVpcEndpoint",
    "CreateSecurityGroup",
    "ModifyVpcEndpoint",
    "DeleteVpcEndpoints",
    "CreateTags",
    "DeleteTags",
    "DeleteSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "RevokeSecurityGroupEgress",
    "UpdateSecurityGroupRuleDescriptionsIngress",
    "UpdateSecurityGroupRuleDescriptionsEgress",
];

impl Example {
    /// All that the operator calls where these types are allowed by name, and what else there is an
    /// example of.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let targets = self
            .targets
            .iter()
            .filter(|target| !matches!(target, Target::Service(_)));
        ACTIONS
            .into_iter()
            .chain(further_reads(&self.types, self.networks))
            .chain(targets.map(Target::name))
            .collect()
    }
}

/// Those of them that types and networks turn on. They can be asked about before there is an
/// endpoint.
pub(crate) fn further_reads(types: &[EndpointType], networks: bool) -> impl Iterator<Item = &'static str> {
    probes_of_further_reads(types, networks).map(|probe| probe.action())
}

fn probes_of_further_reads<'p>(types: &[EndpointType], networks: bool) -> impl Iterator<Item = Probe<'p>> {
    let of = |type_| types.contains(&type_);
    let all = [
        (of(EndpointType::Gateway), Probe::DescribePrefixLists),
        (of(EndpointType::ServiceNetwork), Probe::DescribeAssociations),
        (networks, Probe::DescribeVpcs),
        (networks, Probe::DescribeSubnets),
        (networks, Probe::DescribeServices),
    ];
    all.into_iter().filter_map(|(is_on, probe)| is_on.then_some(probe))
}

impl Probe<'_> {
    /// What is asked about, in a word: the action, and what it is for where there are several.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CreateEndpoint(_, target) => target.name(),
            one => one.action(),
        }
    }

    /// The action of EC2.
    pub(crate) fn action(&self) -> &'static str {
        use Direction::{Egress, Ingress};
        match self {
            Self::DescribeEndpoints => "DescribeVpcEndpoints",
            Self::DescribeGroups => "DescribeSecurityGroups",
            Self::DescribeInterfaces => "DescribeNetworkInterfaces",
            Self::DescribePrefixLists => "DescribePrefixLists",
            Self::DescribeAssociations => "DescribeVpcEndpointAssociations",
            Self::DescribeVpcs => "DescribeVpcs",
            Self::DescribeSubnets => "DescribeSubnets",
            Self::DescribeServices => "DescribeVpcEndpointServices",
            Self::CreateEndpoint(..) => "CreateVpcEndpoint",
            Self::CreateGroup(_) => "CreateSecurityGroup",
            Self::ModifyEndpoint(_) => "ModifyVpcEndpoint",
            Self::DeleteEndpoint(_) => "DeleteVpcEndpoints",
            Self::Tag(..) => "CreateTags",
            Self::Untag(..) => "DeleteTags",
            Self::DeleteGroup(_) => "DeleteSecurityGroup",
            Self::Authorize(_, Ingress) => "AuthorizeSecurityGroupIngress",
            Self::Authorize(_, Egress) => "AuthorizeSecurityGroupEgress",
            Self::Revoke(_, Ingress) => "RevokeSecurityGroupIngress",
            Self::Revoke(_, Egress) => "RevokeSecurityGroupEgress",
            Self::DescribeRules(_, Ingress) => "UpdateSecurityGroupRuleDescriptionsIngress",
            Self::DescribeRules(_, Egress) => "UpdateSecurityGroupRuleDescriptionsEgress",
        }
    }
}

impl Example {
    /// What can be asked about, in this order.
    pub(crate) fn probes(&self) -> Vec<Probe<'_>> {
        let mut probes = vec![
            Probe::DescribeEndpoints,
            Probe::DescribeGroups,
            Probe::DescribeInterfaces,
        ];
        probes.extend(probes_of_further_reads(&self.types, self.networks));
        if let Some(vpc) = &self.vpc {
            probes.extend(self.targets.iter().map(|target| Probe::CreateEndpoint(vpc, target)));
            probes.push(Probe::CreateGroup(vpc));
        }
        if let Some(id) = &self.endpoint {
            probes.extend([Probe::ModifyEndpoint(id), Probe::DeleteEndpoint(id)]);
        }
        if let (Some(endpoint), Some(group)) = (&self.endpoint, &self.group) {
            probes.extend([Probe::Tag(endpoint, group), Probe::Untag(endpoint, group)]);
        }
        if let Some(id) = &self.group {
            probes.push(Probe::DeleteGroup(id));
            for direction in [Direction::Ingress, Direction::Egress] {
                probes.extend([
                    Probe::Authorize(id, direction),
                    Probe::Revoke(id, direction),
                    Probe::DescribeRules(id, direction),
                ]);
            }
        }
        probes
    }
}

impl Ec2 {
    /// Asks whether a call would be allowed.
    pub(crate) async fn dry_run(&self, probe: Probe<'_>, example: &Example) -> Answer {
        let answer = match probe {
            Probe::DescribeEndpoints
            | Probe::DescribeGroups
            | Probe::DescribeInterfaces
            | Probe::DescribePrefixLists
            | Probe::DescribeAssociations
            | Probe::DescribeVpcs
            | Probe::DescribeSubnets
            | Probe::DescribeServices => self.dry_describe(probe).await,
            Probe::CreateEndpoint(vpc, target) => self.dry_create(vpc, target, example).await,
            Probe::ModifyEndpoint(id) => {
                let request = self.client.modify_vpc_endpoint().vpc_endpoint_id(id.as_str());
                let subnet = example.subnet.as_ref().map(|id| vec![id.to_string()]);
                let request = request.set_add_subnet_ids(subnet).dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DeleteEndpoint(id) => {
                let request = self.client.delete_vpc_endpoints().vpc_endpoint_ids(id.as_str());
                self.sent_dry(probe, request.dry_run(true).send()).await
            }
            Probe::Tag(endpoint, group) => {
                let request = self.client.create_tags().resources(endpoint.as_str());
                let request = request.resources(group.as_str()).tags(tag()).dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::Untag(endpoint, group) => {
                let request = self.client.delete_tags().resources(endpoint.as_str());
                let request = request.resources(group.as_str()).tags(tag()).dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::CreateGroup(vpc) => {
                let request = self.client.create_security_group();
                let request = request
                    .group_name(EXAMPLE)
                    .description(EXAMPLE)
                    .vpc_id(vpc.as_str())
                    .tag_specifications(tag_specification(ResourceType::SecurityGroup, &example.tags))
                    .dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DeleteGroup(id) => {
                let request = self.client.delete_security_group().group_id(id.as_str());
                self.sent_dry(probe, request.dry_run(true).send()).await
            }
            Probe::Authorize(id, direction) | Probe::Revoke(id, direction) | Probe::DescribeRules(id, direction) => {
                self.dry_rule(probe, id, direction).await
            }
        };
        match answer {
            Ok(()) => Answer::NotDry,
            Err(error) if error.code == DRY_RUN_PASSED => Answer::Allowed,
            Err(error) => match error.class {
                // In a region that is not enabled EC2 calls good credentials invalid: no word on
                // the action.
                Class::Denied if error.code != "AuthFailure" => Answer::Denied(error),
                Class::Throttled | Class::Transient => Answer::Failed(error),
                _ => Answer::Unclear(error),
            },
        }
    }

    async fn sent_dry<T, E>(
        &self,
        probe: Probe<'_>,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<(), CallError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + Error + 'static,
    {
        observed(&self.observer, self.call(probe.action()), answer)
            .await
            .map(drop)
    }

    async fn dry_describe(&self, probe: Probe<'_>) -> Result<(), CallError> {
        match probe {
            Probe::DescribeGroups => {
                let request = self.client.describe_security_groups().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DescribeInterfaces => {
                let request = self.client.describe_network_interfaces().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DescribePrefixLists => {
                let request = self.client.describe_prefix_lists().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DescribeAssociations => {
                let request = self.client.describe_vpc_endpoint_associations().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DescribeVpcs => {
                let request = self.client.describe_vpcs().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DescribeSubnets => {
                let request = self.client.describe_subnets().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            Probe::DescribeServices => {
                let request = self.client.describe_vpc_endpoint_services().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            _ => {
                let request = self.client.describe_vpc_endpoints().dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
        }
    }

    async fn dry_create(&self, vpc: &VpcId, target: &Target, example: &Example) -> Result<(), CallError> {
        let subnet = || example.subnet.as_ref().map(|id| vec![id.to_string()]);
        let request = self
            .client
            .create_vpc_endpoint()
            .vpc_id(vpc.as_str())
            .tag_specifications(tag_specification(ResourceType::VpcEndpoint, &example.tags))
            .dry_run(true);
        let request = match target {
            Target::Service(service) => request
                .vpc_endpoint_type(VpcEndpointType::Interface)
                .service_name(service)
                .private_dns_enabled(example.private_dns)
                .set_subnet_ids(subnet()),
            Target::Gateway(service) => request
                .vpc_endpoint_type(VpcEndpointType::Gateway)
                .service_name(service)
                .set_route_table_ids(example.route_table.clone().map(|id| vec![id])),
            Target::Across(service, region) => request
                .vpc_endpoint_type(VpcEndpointType::Interface)
                .service_name(service)
                .service_region(region)
                .private_dns_enabled(false)
                .set_subnet_ids(subnet()),
            Target::Resource(arn) => request
                .vpc_endpoint_type(VpcEndpointType::Resource)
                .resource_configuration_arn(arn)
                .set_subnet_ids(subnet()),
            Target::ServiceNetwork(arn) => request
                .vpc_endpoint_type(VpcEndpointType::ServiceNetwork)
                .service_network_arn(arn)
                .set_subnet_ids(subnet()),
        };
        self.sent_dry(Probe::CreateEndpoint(vpc, target), request.send()).await
    }

    async fn dry_rule(&self, probe: Probe<'_>, id: &GroupId, direction: Direction) -> Result<(), CallError> {
        use Direction::{Egress, Ingress};
        let client = &self.client;
        let id = id.as_str();
        let range = IpRange::builder().cidr_ip(EXAMPLE_CIDR).description(EXAMPLE).build();
        let rule = IpPermission::builder().ip_protocol("-1").ip_ranges(range).build();
        match (probe, direction) {
            (Probe::Authorize(..), Ingress) => {
                let request = client
                    .authorize_security_group_ingress()
                    .group_id(id)
                    .ip_permissions(rule);
                self.sent_dry(probe, request.dry_run(true).send()).await
            }
            (Probe::Authorize(..), Egress) => {
                let request = client
                    .authorize_security_group_egress()
                    .group_id(id)
                    .ip_permissions(rule);
                self.sent_dry(probe, request.dry_run(true).send()).await
            }
            (Probe::Revoke(..), Ingress) => {
                let request = client.revoke_security_group_ingress().group_id(id).ip_permissions(rule);
                self.sent_dry(probe, request.dry_run(true).send()).await
            }
            (Probe::Revoke(..), Egress) => {
                let request = client.revoke_security_group_egress().group_id(id).ip_permissions(rule);
                self.sent_dry(probe, request.dry_run(true).send()).await
            }
            (_, Ingress) => {
                let request = client.update_security_group_rule_descriptions_ingress();
                let request = request.group_id(id).ip_permissions(rule).dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
            (_, Egress) => {
                let request = client.update_security_group_rule_descriptions_egress();
                let request = request.group_id(id).ip_permissions(rule).dry_run(true);
                self.sent_dry(probe, request.send()).await
            }
        }
    }
}

/// A tag that all of ours carry; no value is set, since nothing is.
fn tag() -> Tag {
    Tag::builder().key(tags::DISPLAY_NAME).build()
}
