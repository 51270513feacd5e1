//! What a tenant's role may do.

use super::super::policy::{Policy, Statement};
use super::super::{Error, check, within_permissions};
use super::{Scope, check_role};
use crate::api::EndpointType;
use crate::ids::RoleArn;
use crate::tags::{self, Clusters};

/// What a tenant's role may do.
///
/// # Errors
/// When a value is not what it should be, or the policy would be longer than AWS takes.
pub fn tenant_permissions(role: &RoleArn, clusters: &Clusters, scope: &Scope) -> Result<Policy, Error> {
    check_role(role)?;
    for id in clusters.ids() {
        check::cluster(id)?;
    }
    scope.check(role)?;
    let role = Role { role, clusters, scope };
    let allowed = [
        vec![role.read()],
        role.create(),
        role.connect_to_lattice(),
        role.connect_across_regions().into_iter().collect(),
        role.use_own_groups().into_iter().collect(),
        role.change_own(),
        role.adopt().into_iter().collect(),
        role.claim_legacy().into_iter().collect(),
        role.host_endpoint_services(),
    ];
    let denied = [scope.tag_keys.deny_others(), role.deny_other_service_regions()];
    let statements = allowed
        .into_iter()
        .flatten()
        .map(|statement| role.in_its_regions(statement))
        .chain(denied.into_iter().flatten())
        .chain(role.associate_for_private_dns())
        .collect();
    within_permissions(Policy::new(statements), || scope.narrow())
}

/// The groups of statements, each of which is there as far as the scope asks for it.
struct Role<'a> {
    role: &'a RoleArn,
    clusters: &'a Clusters,
    scope: &'a Scope,
}

impl Role<'_> {
    /// The region stays open in ARNs: the condition of [`Self::in_its_regions`] holds for Describe
    /// actions too, which have no ARN, and names each region once instead of once for every id.
    fn arn(&self, kind: &str, id: &str) -> String {
        let (partition, account) = (self.role.partition(), self.role.account());
        format!("arn:{partition}:ec2:*:{account}:{kind}/{id}")
    }

    fn all(&self, kind: &str) -> String {
        self.arn(kind, "*")
    }

    fn listed(&self, kind: &str, ids: Option<&[String]>) -> Vec<String> {
        match ids {
            Some(ids) => ids.iter().map(|id| self.arn(kind, id)).collect(),
            None => vec![self.all(kind)],
        }
    }

    /// Where what is created carries the cluster's tag.
    fn if_requested(&self, statement: Statement) -> Statement {
        let key = format!("aws:RequestTag/{}", tags::CLUSTER);
        statement.when("StringEquals", key, [self.clusters.own.as_str()])
    }

    /// Where what is there carries the tag of the cluster, or of one that it takes over from.
    fn if_owned(&self, statement: Statement) -> Statement {
        let key = format!("aws:ResourceTag/{}", tags::CLUSTER);
        statement.when("StringEquals", key, self.clusters.ids())
    }

    fn in_its_regions(&self, statement: Statement) -> Statement {
        match &self.scope.regions {
            Some(regions) => statement.when("StringEquals", "aws:RequestedRegion", regions),
            None => statement,
        }
    }

    /// What is read: for any endpoint, for those of the scope's types, and for networks.
    fn read(&self) -> Statement {
        let mut actions = vec![
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeVpcEndpoints",
        ];
        if self.scope.types.contains(&EndpointType::ServiceNetwork) {
            actions.push("ec2:DescribeVpcEndpointAssociations");
        }
        if self.scope.types.contains(&EndpointType::Gateway) {
            actions.push("ec2:DescribePrefixLists");
        }
        if self.scope.networks {
            actions.extend([
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcEndpointServices",
                "ec2:DescribeVpcs",
            ]);
        }
        Statement::on("Read", &actions, ["*"])
    }

    fn create(&self) -> Vec<Statement> {
        let scope = self.scope;
        let mut endpoint = self.if_requested(Statement::on(
            "CreateVpcEndpointWithClusterTag",
            &["ec2:CreateVpcEndpoint"],
            [self.all("vpc-endpoint")],
        ));
        if let Some(services) = &scope.services {
            endpoint = endpoint.when("StringLike", "ec2:VpceServiceName", services);
        }
        let group = self.if_requested(Statement::on(
            "CreateSecurityGroupWithClusterTag",
            &["ec2:CreateSecurityGroup"],
            [self.all("security-group")],
        ));
        let mut attached_to = [
            self.listed("subnet", scope.subnets.as_deref()),
            self.listed("security-group", scope.groups.as_deref()),
        ]
        .concat();
        if scope.types.contains(&EndpointType::Gateway) {
            attached_to.extend(self.listed("route-table", scope.route_tables.as_deref()));
        }
        vec![
            endpoint,
            group,
            // The VPC alone says where: AWS takes only subnets and groups of the endpoint's own
            // VPC, and the condition key ec2:Vpc is not there for them in CreateVpcEndpoint.
            Statement::on(
                "CreateInVpc",
                &["ec2:CreateSecurityGroup", "ec2:CreateVpcEndpoint"],
                self.listed("vpc", scope.vpcs.as_deref()),
            ),
            Statement::on(
                "UseSubnetsAndGroups",
                &["ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"],
                attached_to,
            ),
        ]
    }

    /// What endpoints of VPC Lattice need besides. No condition key has what they connect to: that,
    /// the operator enforces, and whoever shares it. Where services are named, an endpoint that
    /// connects to none needs a statement of its own.
    fn connect_to_lattice(&self) -> Vec<Statement> {
        let types = &self.scope.types;
        let has_network = types.contains(&EndpointType::ServiceNetwork);
        let is_needed = self.scope.services.is_some() && (has_network || types.contains(&EndpointType::Resource));
        let create = is_needed.then(|| {
            self.if_requested(Statement::on(
                "CreateVpcEndpointForNoService",
                &["ec2:CreateVpcEndpoint"],
                [self.all("vpc-endpoint")],
            ))
            .when("Null", "ec2:VpceServiceName", ["true"])
        });
        let associate = has_network.then(|| {
            Statement::on(
                "AssociateServiceNetwork",
                &["vpc-lattice:CreateServiceNetworkVpcEndpointAssociation"],
                [format!(
                    "arn:{}:vpc-lattice:*:*:servicenetwork/*",
                    self.role.partition()
                )],
            )
        });
        create.into_iter().chain(associate).collect()
    }

    fn connect_across_regions(&self) -> Option<Statement> {
        let is_needed = !self.scope.service_regions.is_empty();
        is_needed.then(|| Statement::on("ConnectAcrossRegions", &["vpce:AllowMultiRegion"], ["*"]))
    }

    /// The action that allows other regions has no condition key; what is created has.
    fn deny_other_service_regions(&self) -> Option<Statement> {
        let regions = &self.scope.service_regions;
        (!regions.is_empty()).then(|| {
            Statement::deny(
                "NoOtherServiceRegions",
                &["ec2:CreateVpcEndpoint"],
                [self.all("vpc-endpoint")],
            )
            .when("Bool", "ec2:VpceMultiRegion", ["true"])
            .when("StringNotEquals", "ec2:VpceServiceRegion", regions)
        })
    }

    /// Where the groups of others are listed, those of the cluster are besides.
    fn use_own_groups(&self) -> Option<Statement> {
        self.scope.groups.is_some().then(|| {
            self.if_owned(Statement::on(
                "UseOwnGroups",
                &["ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"],
                [self.all("security-group")],
            ))
        })
    }

    fn change_own(&self) -> Vec<Statement> {
        vec![
            Statement::on(
                "TagWhatIsCreated",
                &["ec2:CreateTags"],
                [self.all("security-group"), self.all("vpc-endpoint")],
            )
            .when(
                "StringEquals",
                "ec2:CreateAction",
                ["CreateSecurityGroup", "CreateVpcEndpoint"],
            ),
            self.if_owned(Statement::on(
                "ChangeOwnEndpoints",
                &[
                    "ec2:CreateTags",
                    "ec2:DeleteTags",
                    "ec2:DeleteVpcEndpoints",
                    "ec2:ModifyVpcEndpoint",
                ],
                [self.all("vpc-endpoint")],
            )),
            self.if_owned(Statement::on(
                "ChangeOwnSecurityGroups",
                &[
                    "ec2:AuthorizeSecurityGroupEgress",
                    "ec2:AuthorizeSecurityGroupIngress",
                    "ec2:CreateTags",
                    "ec2:DeleteSecurityGroup",
                    "ec2:DeleteTags",
                    "ec2:RevokeSecurityGroupEgress",
                    "ec2:RevokeSecurityGroupIngress",
                    "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
                    "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
                ],
                [self.all("security-group")],
            )),
        ]
    }

    /// Tags endpoints that exist already, and whose tag consents.
    fn adopt(&self) -> Option<Statement> {
        self.scope.adoption.then(|| {
            self.if_requested(Statement::on(
                "AdoptEndpointsThatConsent",
                &["ec2:CreateTags"],
                [self.all("vpc-endpoint")],
            ))
            .when(
                "StringLike",
                format!("aws:ResourceTag/{}", tags::ADOPT),
                [format!("{}/*", self.clusters.own)],
            )
        })
    }

    /// Tags what the Python operator created.
    fn claim_legacy(&self) -> Option<Statement> {
        self.scope.legacy.then(|| {
            self.if_requested(Statement::on(
                "ClaimWhatNoClusterOwns",
                &["ec2:CreateTags"],
                [self.all("security-group"), self.all("vpc-endpoint")],
            ))
            .when("Null", format!("aws:ResourceTag/{}", tags::CLUSTER), ["true"])
        })
    }

    /// What endpoint services need. No condition key has their load balancers, and AWS asks for no
    /// right to these: which of them may be offered, only the operator enforces, for which it reads
    /// those of Services.
    fn host_endpoint_services(&self) -> Vec<Statement> {
        const CREATE: &str = "CreateVpcEndpointServiceConfiguration";
        if !self.scope.endpoint_services {
            return Vec::new();
        }
        let services = [self.all("vpc-endpoint-service")];
        vec![
            Statement::on(
                "ReadEndpointServices",
                &[
                    "ec2:DescribeVpcEndpointConnections",
                    "ec2:DescribeVpcEndpointServiceConfigurations",
                    "ec2:DescribeVpcEndpointServicePermissions",
                    "elasticloadbalancing:DescribeLoadBalancers",
                    "elasticloadbalancing:DescribeTags",
                ],
                ["*"],
            ),
            self.if_requested(Statement::on(
                "CreateEndpointServiceWithClusterTag",
                &[format!("ec2:{CREATE}").as_str()],
                services.clone(),
            )),
            Statement::on("TagCreatedEndpointServices", &["ec2:CreateTags"], services.clone()).when(
                "StringEquals",
                "ec2:CreateAction",
                [CREATE],
            ),
            self.if_owned(Statement::on(
                "ChangeOwnEndpointServices",
                &[
                    "ec2:AcceptVpcEndpointConnections",
                    "ec2:CreateTags",
                    "ec2:DeleteTags",
                    "ec2:DeleteVpcEndpointServiceConfigurations",
                    "ec2:ModifyVpcEndpointServiceConfiguration",
                    "ec2:ModifyVpcEndpointServicePermissions",
                    "ec2:RejectVpcEndpointConnections",
                    "ec2:StartVpcEndpointServicePrivateDnsVerification",
                ],
                services,
            )),
        ]
    }

    /// What the Service Authorization Reference lists as CreateVpcEndpoint's dependent action,
    /// which EC2 calls in the role's name where private DNS is on. The zone is AWS's own, and its
    /// id is not known before. No `aws:RequestedRegion` holds for it: Route 53 is called in one
    /// region of a partition, wherever the VPC is.
    fn associate_for_private_dns(&self) -> Option<Statement> {
        if !self.scope.private_dns {
            return None;
        }
        let statement = Statement::on(
            "AssociateVpcForPrivateDns",
            &["route53:AssociateVPCWithHostedZone"],
            [format!("arn:{}:route53:::hostedzone/*", self.role.partition())],
        );
        // A VPC's id says which region it is in: naming each VPC in each region would only be
        // longer.
        let values: Vec<String> = match (&self.scope.vpcs, &self.scope.regions) {
            (Some(vpcs), _) => vpcs.iter().map(|vpc| format!("VPCId={vpc},VPCRegion=*")).collect(),
            (None, Some(regions)) => regions
                .iter()
                .map(|region| format!("VPCId=*,VPCRegion={region}"))
                .collect(),
            (None, None) => return Some(statement),
        };
        Some(statement.when("ForAllValues:StringLike", "route53:VPCs", values))
    }
}
