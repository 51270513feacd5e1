//! A tenant's role: what endpoints and their security groups need, within the guardrails, for one
//! cluster, by one base identity.

use std::collections::BTreeMap;

use super::policy::{Policy, Statement};
use super::{Error, IdentityArn, Policies, check, within_permissions, within_trust};
use crate::allow_list::matches;
use crate::api::{AWSAccountSpec, EndpointType};
use crate::ids::RoleArn;
use crate::network::reads_networks;
use crate::tags::{self, Clusters};
use crate::user_tags;

/// The source identities that the operator sends: `vpce-operator@<AWSAccount>@<cluster id>`, of
/// which what is too long for STS is cut off at the end.
const SOURCE_IDENTITIES: &str = "vpce-operator@*";

/// A tenant's role.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The role. Its account and partition are those of everything that it may touch.
    pub role: RoleArn,
    /// The operator's cluster, and those that it takes over from: the role changes only what
    /// carries one of their ids as the tag `silvermullet.com/cluster`, and makes only what carries
    /// the first.
    pub cluster: Clusters,
    /// Where, and with what, endpoints may be made.
    pub scope: Scope,
    /// Who may assume it.
    pub trust: Trust,
}

/// Where, and with what, endpoints may be made: the guardrails of an AWSAccount. `None`: all, as
/// far as IAM is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Regions.
    pub regions: Option<Vec<String>>,
    /// VPCs, by id.
    pub vpcs: Option<Vec<String>>,
    /// Subnets, by id.
    pub subnets: Option<Vec<String>>,
    /// Security groups of others, by id; those of the cluster may be used besides them.
    pub groups: Option<Vec<String>>,
    /// Other regions, whose services endpoints may connect to.
    pub service_regions: Vec<String>,
    /// Patterns over the full names of endpoint services; `*` and `?` mean the same to IAM as in an
    /// AWSAccount.
    pub services: Option<Vec<String>>,
    /// Types of endpoints that need more than those of type Interface.
    pub types: Vec<EndpointType>,
    /// Route tables, by id.
    pub route_tables: Option<Vec<String>>,
    /// Whether networks are read: VPCs, subnets, and the zones of services.
    pub networks: bool,
    /// Whether endpoints may turn on private DNS.
    pub private_dns: bool,
    /// Whether endpoints that exist already may be adopted.
    pub adoption: bool,
    /// Whether what the Python operator created may be claimed: `adopt_legacy`.
    pub legacy: bool,
    /// Whether load balancers may be offered as endpoint services: `allow_endpoint_services`.
    pub endpoint_services: bool,
    /// Keys of tags.
    pub tag_keys: TagKeys,
}

/// Which keys tags may have beside the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagKeys {
    /// All but these patterns.
    AllBut(Vec<String>),
    /// These patterns.
    Only(Vec<String>),
}

impl Default for TagKeys {
    fn default() -> Self {
        Self::AllBut(user_tags::OTHERS.map(str::to_owned).into())
    }
}

impl TagKeys {
    /// As an AWSAccount says; the keys that it sets itself are among them.
    fn of(spec: &AWSAccountSpec) -> Self {
        let own = spec.default_tags.keys().chain(spec.required_tags.keys());
        let own: Vec<&String> = own.chain(&spec.tags_from_namespace_labels).collect();
        match &spec.allowed_tag_keys {
            None => {
                let is_used = |pattern: &&str| own.iter().any(|key| matches(pattern, key));
                let denied = user_tags::OTHERS.iter().copied().filter(|pattern| !is_used(pattern));
                Self::AllBut(denied.map(str::to_owned).collect())
            }
            Some(allowed) => Self::Only(allowed.iter().chain(own).cloned().collect()),
        }
    }

    /// Denies tags with other keys: said once, for all that is tagged.
    fn deny_others(&self) -> Option<Statement> {
        let deny = || Statement::deny("NoOtherTagKeys", &["ec2:CreateTags"], ["*"]);
        match self {
            Self::AllBut(patterns) if patterns.is_empty() => None,
            Self::AllBut(patterns) => Some(deny().when("ForAnyValue:StringLike", "aws:TagKeys", patterns)),
            Self::Only(patterns) => {
                let own = [format!("{}*", tags::RESERVED_PREFIX), tags::DISPLAY_NAME.to_owned()];
                let patterns = patterns.iter().cloned().chain(own);
                Some(deny().when("ForAnyValue:StringNotLike", "aws:TagKeys", patterns))
            }
        }
    }
}

impl Scope {
    /// The guardrails of an AWSAccount, as far as IAM can hold to them.
    pub fn of(spec: &AWSAccountSpec) -> Self {
        Self {
            regions: spec.allowed_regions.clone(),
            vpcs: spec.allowed_vpc_ids.clone(),
            subnets: spec.allowed_subnet_ids.clone(),
            groups: spec.allowed_security_group_ids.clone(),
            service_regions: spec.allowed_service_regions.clone(),
            services: spec.allowed_services.clone(),
            // What needs more is printed where it is asked for by name.
            types: spec.allowed_vpc_endpoint_types.clone().unwrap_or_default(),
            route_tables: spec.allowed_route_table_ids.clone(),
            networks: reads_networks(spec),
            private_dns: spec.allow_private_dns,
            // No guardrail asks for it: a tag on each endpoint does.
            adoption: false,
            legacy: spec.adopt_legacy,
            endpoint_services: spec.allow_endpoint_services,
            tag_keys: TagKeys::of(spec),
        }
    }
}

/// Who may assume a tenant's role.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The operator's base identity.
    pub base: IdentityArn,
    /// What it has to know. Without it, whoever can write AWSAccounts can point one at the role.
    pub external_id: Option<String>,
    /// The session tags of the AWSAccount: these values, and no others, may be passed.
    pub session_tags: BTreeMap<String, String>,
    /// Whether the base identity's own session has tags that come along, as EKS Pod Identity's do.
    pub base_is_tagged: bool,
    /// Whether the operator sends a source identity. Without one it is allowed, too.
    pub source_identity: bool,
}

/// Both policies of a tenant's role.
///
/// # Errors
/// When a value is not what it should be, or a policy would be longer than AWS takes.
pub fn tenant(tenant: &Tenant) -> Result<Policies, Error> {
    let Tenant {
        role,
        cluster,
        scope,
        trust,
    } = tenant;
    Ok(Policies {
        permissions: tenant_permissions(role, cluster, scope)?,
        trust: tenant_trust(role, trust)?,
    })
}

/// What a tenant's role may do.
///
/// # Errors
/// When a value is not what it should be, or the policy would be longer than AWS takes.
#[expect(clippy::too_many_lines, reason = "it is read from top to bottom, as the policy is")]
pub fn tenant_permissions(role: &RoleArn, clusters: &Clusters, scope: &Scope) -> Result<Policy, Error> {
    check_role(role)?;
    for id in clusters.ids() {
        check::cluster(id)?;
    }
    check_scope(role, scope)?;
    let Scope {
        regions,
        vpcs,
        subnets,
        groups,
        service_regions,
        services,
        types,
        route_tables,
        networks,
        private_dns,
        adoption,
        legacy,
        endpoint_services,
        tag_keys,
    } = scope;
    // The region stays open in ARNs: the condition below holds for Describe actions too, which have
    // no ARN, and names each region once instead of once for every id.
    let arn = |kind: &str, id: &str| format!("arn:{}:ec2:*:{}:{kind}/{id}", role.partition(), role.account());
    let all = |kind: &str| arn(kind, "*");
    let listed = |kind: &str, ids: &Option<Vec<String>>| match ids {
        Some(ids) => ids.iter().map(|id| arn(kind, id)).collect(),
        None => vec![all(kind)],
    };
    let requested = format!("aws:RequestTag/{}", tags::CLUSTER);
    let owned = format!("aws:ResourceTag/{}", tags::CLUSTER);

    let mut create = Statement::on(
        "CreateVpcEndpointWithClusterTag",
        &["ec2:CreateVpcEndpoint"],
        [all("vpc-endpoint")],
    )
    .when("StringEquals", &requested, [clusters.own.as_str()]);
    if let Some(services) = services {
        create = create.when("StringLike", "ec2:VpceServiceName", services);
    }
    let mut attached_to = [listed("subnet", subnets), listed("security-group", groups)].concat();
    if types.contains(&EndpointType::Gateway) {
        attached_to.extend(listed("route-table", route_tables));
    }
    let mut statements = vec![
        Statement::on("Read", &read_actions(types, *networks), ["*"]),
        create,
        Statement::on(
            "CreateSecurityGroupWithClusterTag",
            &["ec2:CreateSecurityGroup"],
            [all("security-group")],
        )
        .when("StringEquals", &requested, [clusters.own.as_str()]),
        // The VPC alone says where: AWS takes only subnets and groups of the endpoint's own VPC,
        // and the condition key ec2:Vpc is not there for them in CreateVpcEndpoint.
        Statement::on(
            "CreateInVpc",
            &["ec2:CreateSecurityGroup", "ec2:CreateVpcEndpoint"],
            listed("vpc", vpcs),
        ),
        Statement::on(
            "UseSubnetsAndGroups",
            &["ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"],
            attached_to,
        ),
    ];
    statements.extend(connect_to_lattice(role, scope, &clusters.own));
    if !service_regions.is_empty() {
        statements.push(Statement::on("ConnectAcrossRegions", &["vpce:AllowMultiRegion"], ["*"]));
    }
    if groups.is_some() {
        statements.push(
            Statement::on(
                "UseOwnGroups",
                &["ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"],
                [all("security-group")],
            )
            .when("StringEquals", &owned, clusters.ids()),
        );
    }
    statements.extend([
        Statement::on(
            "TagWhatIsCreated",
            &["ec2:CreateTags"],
            [all("security-group"), all("vpc-endpoint")],
        )
        .when(
            "StringEquals",
            "ec2:CreateAction",
            ["CreateSecurityGroup", "CreateVpcEndpoint"],
        ),
        Statement::on(
            "ChangeOwnEndpoints",
            &[
                "ec2:CreateTags",
                "ec2:DeleteTags",
                "ec2:DeleteVpcEndpoints",
                "ec2:ModifyVpcEndpoint",
            ],
            [all("vpc-endpoint")],
        )
        .when("StringEquals", &owned, clusters.ids()),
        Statement::on(
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
            [all("security-group")],
        )
        .when("StringEquals", &owned, clusters.ids()),
    ]);
    statements.extend(adoption.then(|| {
        let consent = format!("aws:ResourceTag/{}", tags::ADOPT);
        Statement::on("AdoptEndpointsThatConsent", &["ec2:CreateTags"], [all("vpc-endpoint")])
            .when("StringEquals", &requested, [clusters.own.as_str()])
            .when("StringLike", consent, [format!("{}/*", clusters.own)])
    }));
    statements.extend(legacy.then(|| {
        let both = [all("security-group"), all("vpc-endpoint")];
        Statement::on("ClaimWhatNoClusterOwns", &["ec2:CreateTags"], both)
            .when("StringEquals", &requested, [clusters.own.as_str()])
            .when("Null", &owned, ["true"])
    }));
    if *endpoint_services {
        statements.extend(host_endpoint_services(&all("vpc-endpoint-service"), clusters));
    }
    if let Some(regions) = regions {
        statements = statements
            .into_iter()
            .map(|statement| statement.when("StringEquals", "aws:RequestedRegion", regions))
            .collect();
    }
    statements.extend(tag_keys.deny_others());
    if !service_regions.is_empty() {
        // The action that allows other regions has no condition key; what is created has.
        statements.push(
            Statement::deny(
                "NoOtherServiceRegions",
                &["ec2:CreateVpcEndpoint"],
                [all("vpc-endpoint")],
            )
            .when("Bool", "ec2:VpceMultiRegion", ["true"])
            .when("StringNotEquals", "ec2:VpceServiceRegion", service_regions),
        );
    }
    if *private_dns {
        statements.push(associate(role, regions.as_deref(), vpcs.as_deref()));
    }
    within_permissions(Policy::new(statements), || narrow(scope))
}

/// What endpoint services need. No condition key has their load balancers, and no right to these is
/// asked for: which of them may be offered, only the operator enforces.
fn host_endpoint_services(services: &str, clusters: &Clusters) -> [Statement; 4] {
    const CREATE: &str = "CreateVpcEndpointServiceConfiguration";
    let create = format!("ec2:{CREATE}");
    [
        Statement::on(
            "ReadEndpointServices",
            &[
                "ec2:DescribeVpcEndpointConnections",
                "ec2:DescribeVpcEndpointServiceConfigurations",
                "ec2:DescribeVpcEndpointServicePermissions",
            ],
            ["*"],
        ),
        Statement::on("CreateEndpointServiceWithClusterTag", &[create.as_str()], [services]).when(
            "StringEquals",
            format!("aws:RequestTag/{}", tags::CLUSTER),
            [clusters.own.as_str()],
        ),
        Statement::on("TagCreatedEndpointServices", &["ec2:CreateTags"], [services]).when(
            "StringEquals",
            "ec2:CreateAction",
            [CREATE],
        ),
        Statement::on(
            "ChangeOwnEndpointServices",
            &[
                "ec2:AcceptVpcEndpointConnections",
                "ec2:CreateTags",
                "ec2:DeleteTags",
                "ec2:DeleteVpcEndpointServiceConfigurations",
                "ec2:ModifyVpcEndpointServiceConfiguration",
                "ec2:ModifyVpcEndpointServicePermissions",
                "ec2:RejectVpcEndpointConnections",
            ],
            [services],
        )
        .when(
            "StringEquals",
            format!("aws:ResourceTag/{}", tags::CLUSTER),
            clusters.ids(),
        ),
    ]
}

/// What is read: for any endpoint, for those of these types, and for networks.
fn read_actions(types: &[EndpointType], networks: bool) -> Vec<&'static str> {
    let mut actions = vec![
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeVpcEndpoints",
    ];
    if types.contains(&EndpointType::ServiceNetwork) {
        actions.push("ec2:DescribeVpcEndpointAssociations");
    }
    if types.contains(&EndpointType::Gateway) {
        actions.push("ec2:DescribePrefixLists");
    }
    if networks {
        actions.extend([
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcEndpointServices",
            "ec2:DescribeVpcs",
        ]);
    }
    actions
}

/// What endpoints of VPC Lattice need besides. No condition key has what they connect to: that, the
/// operator enforces, and whoever shares it. Where services are named, an endpoint that connects to
/// none needs a statement of its own.
fn connect_to_lattice(role: &RoleArn, scope: &Scope, cluster: &str) -> Vec<Statement> {
    let partition = role.partition();
    let has_network = scope.types.contains(&EndpointType::ServiceNetwork);
    let is_needed = scope.services.is_some() && (has_network || scope.types.contains(&EndpointType::Resource));
    let create = is_needed.then(|| {
        let endpoints = format!("arn:{partition}:ec2:*:{}:vpc-endpoint/*", role.account());
        Statement::on("CreateVpcEndpointForNoService", &["ec2:CreateVpcEndpoint"], [endpoints])
            .when("StringEquals", format!("aws:RequestTag/{}", tags::CLUSTER), [cluster])
            .when("Null", "ec2:VpceServiceName", ["true"])
    });
    let associate = has_network.then(|| {
        Statement::on(
            "AssociateServiceNetwork",
            &["vpc-lattice:CreateServiceNetworkVpcEndpointAssociation"],
            [format!("arn:{partition}:vpc-lattice:*:*:servicenetwork/*")],
        )
    });
    create.into_iter().chain(associate).collect()
}

/// What the Service Authorization Reference lists as CreateVpcEndpoint's dependent action, which
/// EC2 calls in the role's name where private DNS is on. The zone is AWS's own, and its id is not
/// known before. No `aws:RequestedRegion` holds for it: Route 53 is called in one region of a
/// partition, wherever the VPC is.
fn associate(role: &RoleArn, regions: Option<&[String]>, vpcs: Option<&[String]>) -> Statement {
    let statement = Statement::on(
        "AssociateVpcForPrivateDns",
        &["route53:AssociateVPCWithHostedZone"],
        [format!("arn:{}:route53:::hostedzone/*", role.partition())],
    );
    // A VPC's id says which region it is in: naming each VPC in each region would only be longer.
    let values: Vec<String> = match (vpcs, regions) {
        (Some(vpcs), _) => vpcs.iter().map(|vpc| format!("VPCId={vpc},VPCRegion=*")).collect(),
        (None, Some(regions)) => regions
            .iter()
            .map(|region| format!("VPCId=*,VPCRegion={region}"))
            .collect(),
        (None, None) => return statement,
    };
    statement.when("ForAllValues:StringLike", "route53:VPCs", values)
}

/// Who may assume a tenant's role.
///
/// # Errors
/// When a value is not what it should be, or the policy would be longer than AWS takes.
pub fn tenant_trust(role: &RoleArn, trust: &Trust) -> Result<Policy, Error> {
    let Trust {
        base,
        external_id,
        session_tags,
        base_is_tagged,
        source_identity,
    } = trust;
    check_role(role)?;
    if base.partition() != role.partition() {
        return Err(Error::Partitions {
            one: role.to_string(),
            one_partition: role.partition(),
            other: base.to_string(),
            other_partition: base.partition(),
        });
    }
    let mut assume = Statement::by("VpceOperator", &["sts:AssumeRole"], "AWS", base.to_string());
    if let Some(id) = external_id {
        check::external_id(id)?;
        assume = assume.when("StringEquals", "sts:ExternalId", [id]);
    }
    check::session_tags(session_tags)?;
    let mut statements = vec![assume];
    if *base_is_tagged || !session_tags.is_empty() {
        let mut tag = Statement::by("VpceOperatorSessionTags", &["sts:TagSession"], "AWS", base.to_string());
        for (key, value) in session_tags {
            tag = tag.when("StringEquals", format!("aws:RequestTag/{key}"), [value]);
        }
        statements.push(tag);
    }
    if *source_identity {
        statements.push(
            Statement::by(
                "VpceOperatorSourceIdentity",
                &["sts:SetSourceIdentity"],
                "AWS",
                base.to_string(),
            )
            .when("StringLike", "sts:SourceIdentity", [SOURCE_IDENTITIES]),
        );
    }
    within_trust(Policy::new(statements), || {
        format!("pass fewer session tags than {}, or shorter ones", session_tags.len())
    })
}

/// A `RoleArn` may still hold what IAM would read as a pattern.
fn check_role(role: &RoleArn) -> Result<(), Error> {
    role.as_str().parse::<IdentityArn>().map(drop)
}

fn check_scope(role: &RoleArn, scope: &Scope) -> Result<(), Error> {
    let Scope {
        regions,
        vpcs,
        subnets,
        groups,
        service_regions,
        services,
        types: _,
        route_tables,
        networks: _,
        private_dns: _,
        adoption: _,
        legacy: _,
        endpoint_services: _,
        tag_keys,
    } = scope;
    let nothing = |name, list: &Option<Vec<String>>| match list {
        Some(entries) if entries.is_empty() => Err(Error::NothingAllowed(name)),
        _ => Ok(()),
    };
    nothing("regions", regions)?;
    nothing("VPCs", vpcs)?;
    nothing("subnets", subnets)?;
    nothing("services", services)?;
    for region in regions.iter().flatten().chain(service_regions) {
        check::region(region, role.partition())?;
    }
    for id in vpcs.iter().flatten() {
        check::ec2_id("VPC", "vpc-", "the id of a VPC (vpc-...)", id)?;
    }
    for id in subnets.iter().flatten() {
        check::ec2_id("subnet", "subnet-", "the id of a subnet (subnet-...)", id)?;
    }
    for id in groups.iter().flatten() {
        check::ec2_id("security group", "sg-", "the id of a security group (sg-...)", id)?;
    }
    for id in route_tables.iter().flatten() {
        check::ec2_id("route table", "rtb-", "the id of a route table (rtb-...)", id)?;
    }
    for pattern in services.iter().flatten() {
        check::service(pattern)?;
    }
    let (TagKeys::AllBut(patterns) | TagKeys::Only(patterns)) = tag_keys;
    for pattern in patterns {
        check::tag_key(pattern)?;
    }
    Ok(())
}

/// What makes the policy shorter: the longest lists first, each with its own way out.
fn narrow(scope: &Scope) -> String {
    let Scope {
        regions,
        vpcs,
        subnets,
        groups,
        service_regions: _,
        services,
        types: _,
        route_tables,
        networks: _,
        private_dns: _,
        adoption: _,
        legacy: _,
        endpoint_services: _,
        tag_keys: _,
    } = scope;
    let mut lists = [
        (regions, "regions"),
        (vpcs, "VPCs"),
        (subnets, "subnets"),
        (groups, "security groups"),
        (services, "services"),
        (route_tables, "route tables"),
    ]
    .map(|(list, name)| (list.iter().flatten().map(String::len).sum::<usize>(), list, name));
    lists.sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
    let counts: Vec<String> = lists
        .iter()
        .filter_map(|(_, list, name)| Some(format!("{} {name}", list.as_ref()?.len())))
        .collect();
    format!(
        "it names {}; name fewer, split the account into several AWSAccounts with a role each, or leave out the list of \
         subnets, security groups, route tables or services, which the operator itself enforces anyway",
        counts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn role() -> RoleArn {
        "arn:aws:iam::111122223333:role/vpce-operator".parse().expect("a role")
    }

    fn trust() -> Trust {
        Trust {
            base: "arn:aws:iam::999999999999:role/base".parse().expect("an identity"),
            external_id: Some("an-id".to_owned()),
            session_tags: BTreeMap::new(),
            base_is_tagged: false,
            source_identity: false,
        }
    }

    fn statements(policy: &Policy) -> Vec<Value> {
        policy.to_json()["Statement"].as_array().expect("statements").clone()
    }

    fn of(scope: Scope) -> Vec<Value> {
        statements(&tenant_permissions(&role(), &"c".into(), &scope).expect("a policy"))
    }

    #[test]
    fn nothing_is_made_or_changed_without_the_clusters_tag() {
        let tagged = |statement: &Value| {
            let equals = &statement["Condition"]["StringEquals"];
            equals["aws:RequestTag/silvermullet.com/cluster"] == "c"
                || equals["aws:ResourceTag/silvermullet.com/cluster"] == "c"
        };
        for statement in of(Scope::default()) {
            let sid = statement["Sid"].as_str().expect("a Sid");
            let named_only = [
                "Read",
                "CreateInVpc",
                "UseSubnetsAndGroups",
                "TagWhatIsCreated",
                "NoOtherTagKeys",
            ];
            let named_only = named_only.contains(&sid);
            assert_eq!(tagged(&statement), !named_only, "{statement}");
        }
    }

    #[test]
    fn what_exists_already_is_tagged_as_the_clusters_only_where_that_is_asked_for() {
        let sids = |scope| -> Vec<String> {
            let added = of(scope)
                .into_iter()
                .filter(|statement| !of(Scope::default()).contains(statement));
            added
                .map(|statement| statement["Sid"].as_str().expect("a Sid").to_owned())
                .collect()
        };
        let adoption = || Scope {
            adoption: true,
            ..Scope::default()
        };
        let legacy = || Scope {
            legacy: true,
            ..Scope::default()
        };
        assert_eq!(sids(adoption()), ["AdoptEndpointsThatConsent"]);
        assert_eq!(sids(legacy()), ["ClaimWhatNoClusterOwns"]);
        for scope in [adoption(), legacy()] {
            for statement in of(scope)
                .iter()
                .filter(|statement| !of(Scope::default()).contains(statement))
            {
                assert_eq!(statement["Action"], "ec2:CreateTags");
                let condition = &statement["Condition"];
                assert_eq!(
                    condition["StringEquals"]["aws:RequestTag/silvermullet.com/cluster"],
                    "c"
                );
                // What another cluster owns has the tag, and consents to nothing.
                let consents = condition["StringLike"]["aws:ResourceTag/silvermullet.com/adopt"] == "c/*";
                let is_unowned = condition["Null"]["aws:ResourceTag/silvermullet.com/cluster"] == "true";
                assert!(consents != is_unowned, "{statement}");
            }
        }
    }

    #[test]
    fn endpoint_services_are_a_block_of_their_own_that_is_there_only_where_they_are_allowed() {
        let spec = |allowed| {
            let spec = serde_json::json!({
                "role_arn": "arn:aws:iam::111122223333:role/x", "allow_endpoint_services": allowed,
            });
            serde_json::from_value::<AWSAccountSpec>(spec).expect("an account")
        };
        let (without, with) = (of(Scope::of(&spec(false))), of(Scope::of(&spec(true))));
        assert_eq!(without, of(Scope::default()));
        let added: Vec<&Value> = with.iter().filter(|statement| !without.contains(statement)).collect();
        assert_eq!(added.len(), 4);
        assert_eq!(with.len(), without.len() + added.len());
        for statement in added {
            let equals = &statement["Condition"]["StringEquals"];
            let is_tagged = equals["aws:RequestTag/silvermullet.com/cluster"] == "c"
                || equals["aws:ResourceTag/silvermullet.com/cluster"] == "c"
                || equals["ec2:CreateAction"] == "CreateVpcEndpointServiceConfiguration";
            let is_read = statement["Sid"] == "ReadEndpointServices";
            assert_eq!(is_tagged, !is_read, "{statement}");
            let of_account = "arn:aws:ec2:*:111122223333:vpc-endpoint-service/*";
            assert_eq!(statement["Resource"], if is_read { "*" } else { of_account });
        }
    }

    #[test]
    fn a_role_touches_its_own_account_only() {
        let scope = Scope {
            private_dns: true,
            ..Scope::default()
        };
        for statement in of(scope) {
            let resources = match &statement["Resource"] {
                Value::Array(resources) => resources.clone(),
                resource => vec![resource.clone()],
            };
            for resource in resources {
                let resource = resource.as_str().expect("an ARN");
                let is_open = statement["Sid"] == "Read" || statement["Effect"] == "Deny";
                let is_read = is_open && resource == "*";
                // Hosted zones have no account in their ARN; the VPC that is associated is the
                // account's own.
                let is_zone = resource == "arn:aws:route53:::hostedzone/*";
                assert!(
                    is_read || is_zone || resource.starts_with("arn:aws:ec2:*:111122223333:"),
                    "{resource}"
                );
            }
        }
    }

    #[test]
    fn lists_that_allow_nothing_are_refused_but_for_groups_of_others() {
        let none = Some(Vec::new());
        for scope in [
            Scope {
                regions: none.clone(),
                ..Scope::default()
            },
            Scope {
                vpcs: none.clone(),
                ..Scope::default()
            },
            Scope {
                subnets: none.clone(),
                ..Scope::default()
            },
            Scope {
                services: none.clone(),
                ..Scope::default()
            },
        ] {
            let refused = tenant_permissions(&role(), &"c".into(), &scope);
            assert!(matches!(refused, Err(Error::NothingAllowed(_))), "{scope:?}");
        }
        let own_groups = of(Scope {
            groups: none,
            ..Scope::default()
        });
        let used = own_groups.iter().find(|one| one["Sid"] == "UseSubnetsAndGroups");
        assert_eq!(used.expect("there")["Resource"], "arn:aws:ec2:*:111122223333:subnet/*");
        assert!(own_groups.iter().any(|one| one["Sid"] == "UseOwnGroups"));
    }

    #[test]
    fn a_dozen_regions_and_vpcs_fit() {
        let scope = Scope {
            regions: Some((1..=12).map(|n| format!("ap-southeast-{n}")).collect()),
            vpcs: Some((0..12).map(|n| format!("vpc-{n:017x}")).collect()),
            private_dns: true,
            ..Scope::default()
        };
        assert!(tenant_permissions(&role(), &"c".repeat(64).as_str().into(), &scope).is_ok());
    }

    #[test]
    fn session_tags_are_let_in_where_there_are_some_and_with_their_values() {
        assert_eq!(statements(&tenant_trust(&role(), &trust()).expect("a policy")).len(), 1);
        let base_is_tagged = Trust {
            base_is_tagged: true,
            ..trust()
        };
        let tagging = statements(&tenant_trust(&role(), &base_is_tagged).expect("a policy")).remove(1);
        assert_eq!(tagging["Action"], "sts:TagSession");
        assert_eq!(tagging["Condition"], Value::Null);
        let own = Trust {
            session_tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
            ..trust()
        };
        let tagging = statements(&tenant_trust(&role(), &own).expect("a policy")).remove(1);
        assert_eq!(
            tagging["Condition"],
            json!({"StringEquals": {"aws:RequestTag/team": "payments"}})
        );
    }

    #[test]
    fn a_source_identity_is_allowed_where_it_is_sent_and_no_others() {
        let sending = Trust {
            source_identity: true,
            ..trust()
        };
        let both = statements(&tenant_trust(&role(), &sending).expect("a policy"));
        // It can be turned on and off again without locking a user out.
        assert_eq!(
            both[..1],
            statements(&tenant_trust(&role(), &trust()).expect("a policy"))[..]
        );
        assert_eq!(both[1]["Action"], "sts:SetSourceIdentity");
        assert_eq!(
            both[1]["Condition"],
            json!({"StringLike": {"sts:SourceIdentity": "vpce-operator@*"}})
        );
    }

    #[test]
    fn private_dns_takes_leave_of_route_53_for_the_vpcs_that_are_allowed_and_only_where_it_is() {
        let last = |scope: Scope| of(scope).pop().expect("statements");
        let guardrails = || Scope {
            regions: Some(vec!["eu-west-1".to_owned()]),
            private_dns: true,
            ..Scope::default()
        };
        assert!(
            !of(Scope::default())
                .iter()
                .any(|one| one.to_string().contains("route53"))
        );
        for (scope, condition) in [
            (
                Scope {
                    private_dns: true,
                    ..Scope::default()
                },
                Value::Null,
            ),
            (
                guardrails(),
                json!({"ForAllValues:StringLike": {"route53:VPCs": "VPCId=*,VPCRegion=eu-west-1"}}),
            ),
            (
                Scope {
                    vpcs: Some(vec!["vpc-0c4a7d9e2b6f81035".to_owned()]),
                    ..guardrails()
                },
                json!({"ForAllValues:StringLike": {"route53:VPCs": "VPCId=vpc-0c4a7d9e2b6f81035,VPCRegion=*"}}),
            ),
        ] {
            let statement = last(scope);
            assert_eq!(statement["Action"], "route53:AssociateVPCWithHostedZone");
            assert_eq!(statement["Condition"], condition);
        }
    }

    #[test]
    fn each_type_that_a_guardrail_names_gets_what_it_needs_and_no_more() {
        let policy = |types: &[EndpointType], services: Option<&str>| {
            of(Scope {
                types: types.to_vec(),
                services: services.map(|service| vec![service.to_owned()]),
                route_tables: Some(vec!["rtb-0c4a7d9e2b6f81035".to_owned()]),
                ..Scope::default()
            })
        };
        let sids = |statements: &[Value], said: &str| {
            let with = statements.iter().filter(|one| one.to_string().contains(said));
            with.map(|one| one["Sid"].as_str().expect("a Sid").to_owned())
                .collect::<Vec<_>>()
        };
        let plain = [EndpointType::Interface, EndpointType::GatewayLoadBalancer];
        assert_eq!(policy(&plain, Some("*")), policy(&[], Some("*")));
        for said in ["route-table", "lattice", "Null"] {
            assert_eq!(sids(&policy(&plain, Some("*")), said), [""; 0], "{said}");
        }
        let gateway = policy(&[EndpointType::Gateway], Some("*"));
        assert_eq!(
            sids(&gateway, "route-table/rtb-0c4a7d9e2b6f81035"),
            ["UseSubnetsAndGroups"]
        );
        let resource = policy(&[EndpointType::Resource], Some("*"));
        assert_eq!(
            sids(&resource, "\"Null\":{\"ec2:VpceServiceName\":\"true\"}"),
            ["CreateVpcEndpointForNoService"]
        );
        assert_eq!(sids(&resource, "vpc-lattice:"), [""; 0]);
        let network = policy(&[EndpointType::ServiceNetwork], Some("*"));
        assert_eq!(sids(&network, "vpc-lattice:"), ["AssociateServiceNetwork"]);
        assert_eq!(sids(&network, "Null"), ["CreateVpcEndpointForNoService"]);
        // Where no service is named, no statement asks for one.
        assert_eq!(sids(&policy(&[EndpointType::Resource], None), "Null"), [""; 0]);
    }

    #[test]
    fn a_role_that_iam_would_read_as_a_pattern_is_refused() {
        let role: RoleArn = "arn:aws:iam::111122223333:role/*".parse().expect("the type allows it");
        assert!(tenant_permissions(&role, &"c".into(), &Scope::default()).is_err());
        assert!(tenant_trust(&role, &trust()).is_err());
    }

    #[test]
    fn what_a_former_cluster_owns_is_changed_and_nothing_made_in_its_name() {
        let clusters = Clusters {
            own: "new".to_owned(),
            former: vec!["old".to_owned()],
        };
        let policy = tenant_permissions(&role(), &clusters, &Scope::default()).expect("a policy");
        for statement in statements(&policy) {
            let equals = &statement["Condition"]["StringEquals"];
            let (requested, owned) = (
                &equals["aws:RequestTag/silvermullet.com/cluster"],
                &equals["aws:ResourceTag/silvermullet.com/cluster"],
            );
            assert!(requested.is_null() || requested == "new", "{statement}");
            assert!(
                owned.is_null() || *owned == serde_json::json!(["new", "old"]),
                "{statement}"
            );
        }
        let strange = Clusters {
            own: "new".to_owned(),
            former: vec!["*".to_owned()],
        };
        assert!(tenant_permissions(&role(), &strange, &Scope::default()).is_err());
    }
}
