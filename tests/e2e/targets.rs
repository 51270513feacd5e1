//! What endpoints of every type connect to, and are attached by.

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointType, ResourceConfigurationSpec, ServiceSpec};

use crate::tenant::Tenant;
use crate::world::{id, merged};

/// All types.
pub(crate) const TYPES: [&str; 5] = [
    "Interface",
    "Gateway",
    "GatewayLoadBalancer",
    "Resource",
    "ServiceNetwork",
];
/// The AWS account that owns what is shared.
const OWNER: &str = "900000000003";

/// Whether endpoints of a type have security groups.
pub(crate) fn has_groups(type_: &str) -> bool {
    !type_.starts_with("Gateway")
}

/// Whether endpoints of a type have a name that a Service can lead to.
pub(crate) fn has_name(type_: &str) -> bool {
    matches!(type_, "Interface" | "Resource")
}

/// In a tenant's AWS account, or shared with it.
pub(crate) struct Targets {
    /// Route tables of the tenant's VPC.
    pub(crate) tables: [String; 2],
    /// A service with endpoints of type GatewayLoadBalancer.
    inspection: String,
    resource: String,
    network: String,
}

impl Targets {
    /// Adds them.
    pub(crate) fn new(tenant: &Tenant<'_>) -> Self {
        let aws = &tenant.world.aws;
        let (account, region) = (&tenant.account_id, &tenant.region);
        let tables = [id("rtb"), id("rtb")];
        for table in &tables {
            aws.add_route_table(account, region, table, &tenant.vpc)
                .expect("a route table");
        }
        let resource = ResourceConfigurationSpec::default();
        let resource = aws.add_resource_configuration(OWNER, region, &id("rcfg"), resource);
        let network = aws.add_service_network(OWNER, region, &id("sn"));
        aws.set_service_network_resources(&network, &[&resource])
            .expect("both are there");
        for arn in [&resource, &network] {
            aws.share(arn, account).expect("it is there");
        }
        Self {
            tables,
            inspection: tenant.add_service(ServiceSpec {
                types: vec![EndpointType::GatewayLoadBalancer],
                ..ServiceSpec::default()
            }),
            resource,
            network,
        }
    }

    /// The spec of an endpoint of a type, with more fields or others.
    pub(crate) fn spec(&self, tenant: &Tenant<'_>, type_: &str, changes: Value) -> Value {
        let of_service = |service: &str, attached: Value| {
            let spec = json!({"vpc_id": tenant.vpc, "vpc_endpoint_type": type_, "vpc_endpoint_service_id": service});
            merged(spec, attached)
        };
        let of_lattice = |field: &str, arn: &str| {
            tenant.spec(json!({"vpc_endpoint_type": type_, "vpc_endpoint_service_id": null, field: arn}))
        };
        let spec = match type_ {
            "Gateway" => of_service(&format!("com.amazonaws.{}.s3", tenant.region), json!({})),
            "GatewayLoadBalancer" => of_service(&self.inspection, json!({"subnet_ids": tenant.subnets[..1]})),
            "Resource" => of_lattice("resource_configuration_arn", &self.resource),
            "ServiceNetwork" => of_lattice("service_network_arn", &self.network),
            _ => tenant.spec(json!({})),
        };
        merged(spec, changes)
    }
}

impl Tenant<'_> {
    /// Creates the AWSAccount for endpoints of all types, with more fields or others in its spec;
    /// the role may do what is printed for it.
    pub(crate) fn register_for_all_types(&self, changes: Value) {
        let all = json!({"allowed_vpc_endpoint_types": TYPES, "allowed_resource_arns": ["*"]});
        self.register_with_its_role(merged(all, changes));
    }

    /// Creates the AWSAccount with more fields in its spec; the role may do what is printed for it.
    pub(crate) fn register_with_its_role(&self, guardrails: Value) {
        let spec = merged(json!({"role_arn": self.role_arn}), guardrails.clone());
        let spec = serde_json::from_value(spec).expect("a spec");
        self.world.set_role(&self.role_arn, &vpce_core::iam::Scope::of(&spec));
        self.register(guardrails);
    }
}
