//! What AWS refuses of endpoints of each type: the condition says it in AWS's words, and nothing
//! stays behind.

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointType, ResourceConfigurationSpec, ResourceConfigurationType, ServiceSpec};

use crate::tenant::Tenant;
use crate::world::{World, condition, id, merged};

const OWNER: &str = "900000000002";

/// A tenant that may have all types, with a role that may do what the guardrails print.
fn tenant<'w>(world: &'w World, name: &str) -> Tenant<'w> {
    let tenant = world.unregistered_tenant(name);
    tenant.register_for_all_types(json!({}));
    tenant
}

/// Applies it, waits until its condition says this, and deletes it: nothing is left.
#[track_caller]
fn is_told(tenant: &Tenant<'_>, name: &str, spec: Value, reason: &str, says: &str) {
    tenant.apply(name, spec);
    tenant.eventually(name, says, || {
        let ready = condition(&tenant.get(name)?, "Ready")?;
        (!ready.status && ready.reason == reason && ready.message.contains(says)).then_some(())
    });
    tenant.delete(name);
    tenant.gone(name);
    assert_eq!(
        (tenant.endpoints(), tenant.groups()),
        (Vec::new(), Vec::new()),
        "{name}"
    );
}

/// A service of AWS's own in the tenant's region.
fn of_aws(tenant: &Tenant<'_>, name: &str, spec: ServiceSpec) -> String {
    let name = format!("com.amazonaws.{}.{name}", tenant.region);
    tenant.world.aws.add_service(&tenant.region, &name, spec);
    name
}

fn gateway(tenant: &Tenant<'_>, service: &str, tables: &[String]) -> Value {
    json!({"vpc_id": tenant.vpc, "vpc_endpoint_type": "Gateway", "vpc_endpoint_service_id": service,
           "route_table_ids": tables})
}

#[test]
fn a_service_has_endpoints_of_its_own_types_only() {
    let tenant = tenant(World::shared(), "refused-types");
    let only_gateway = ServiceSpec {
        types: vec![EndpointType::Gateway],
        ..ServiceSpec::default()
    };
    let service = of_aws(&tenant, "only-gateway", only_gateway);
    let as_interface = tenant.spec(json!({"vpc_endpoint_service_id": service}));
    let says = "Endpoint type (Interface) does not match";
    is_told(&tenant, "interface", as_interface, "Invalid", says);
    let as_gateway = gateway(&tenant, &tenant.service, &[]);
    let says = "Endpoint type (Gateway) does not match";
    is_told(&tenant, "gateway", as_gateway, "Invalid", says);
}

#[test]
fn route_tables_are_those_of_the_vpc() {
    let tenant = tenant(World::shared(), "refused-tables");
    let (other, table) = (id("vpc"), id("rtb"));
    let aws = &tenant.world.aws;
    aws.add_vpc(&tenant.account_id, &tenant.region, &other, "10.9.0.0/16")
        .expect("a VPC");
    aws.add_route_table(&tenant.account_id, &tenant.region, &table, &other)
        .expect("a route table");
    let s3 = format!("com.amazonaws.{}.s3", tenant.region);
    is_told(
        &tenant,
        "another-vpc",
        gateway(&tenant, &s3, std::slice::from_ref(&table)),
        "Invalid",
        &table,
    );
    let missing = id("rtb");
    is_told(
        &tenant,
        "missing",
        gateway(&tenant, &s3, std::slice::from_ref(&missing)),
        "NotFound",
        &missing,
    );
}

#[test]
fn zones_are_those_of_the_service_and_each_has_one_subnet() {
    let tenant = tenant(World::shared(), "refused-zones");
    let twice = tenant.add_subnet("a");
    let spec = tenant.spec(json!({"subnet_ids": [tenant.subnets[0], twice]}));
    is_told(&tenant, "twice", spec, "Invalid", "DuplicateSubnetsInSameZone");
    let service = tenant.add_service(ServiceSpec {
        azs: vec![format!("{}c", tenant.region)],
        ..ServiceSpec::default()
    });
    let spec = tenant.spec(json!({"vpc_endpoint_service_id": service}));
    is_told(
        &tenant,
        "elsewhere",
        spec,
        "Invalid",
        "does not support the availability zone",
    );
}

#[test]
fn address_types_are_those_of_the_subnets_and_of_the_service() {
    let tenant = tenant(World::shared(), "refused-addresses");
    let dualstack = json!({"ip_address_type": "dualstack"});
    is_told(
        &tenant,
        "service",
        tenant.spec(dualstack.clone()),
        "Invalid",
        "IpAddressType dualstack",
    );
    let service = tenant.add_service(ServiceSpec {
        ip_address_types: vec!["ipv4".to_owned(), "ipv6".to_owned()],
        ..ServiceSpec::default()
    });
    let spec = tenant.spec(merged(dualstack, json!({"vpc_endpoint_service_id": service})));
    is_told(&tenant, "subnets", spec, "Invalid", &tenant.subnets[0]);
}

#[test]
fn resources_are_shared_whole_and_of_another_vpc() {
    let tenant = tenant(World::shared(), "refused-lattice");
    let aws = &tenant.world.aws;
    let add = |spec| aws.add_resource_configuration(OWNER, &tenant.region, &id("rcfg"), spec);
    let not_shared = add(ResourceConfigurationSpec::default());
    let child = add(ResourceConfigurationSpec {
        kind: ResourceConfigurationType::Child,
        ..ResourceConfigurationSpec::default()
    });
    let own_vpc = add(ResourceConfigurationSpec {
        gateway_vpc_id: Some(tenant.vpc.clone()),
        ..ResourceConfigurationSpec::default()
    });
    for arn in [&child, &own_vpc] {
        aws.share(arn, &tenant.account_id).expect("it is there");
    }
    let resource = |field: &str, arn: &str, type_: &str| {
        let target = json!({"vpc_endpoint_service_id": null, "vpc_endpoint_type": type_, field: arn});
        tenant.spec(target)
    };
    for (name, arn, reason, says) in [
        (
            "not-shared",
            &not_shared,
            "Invalid",
            "has not shared it with AWS account",
        ),
        ("child", &child, "Invalid", "type CHILD"),
        ("own-vpc", &own_vpc, "Invalid", "resource gateway"),
    ] {
        let spec = resource("resource_configuration_arn", arn, "Resource");
        is_told(&tenant, name, spec, reason, says);
    }
    let network = aws.add_service_network(OWNER, &tenant.region, &id("sn"));
    let spec = resource("service_network_arn", &network, "ServiceNetwork");
    is_told(
        &tenant,
        "network",
        spec.clone(),
        "Invalid",
        "has not shared it with AWS account",
    );
    // Once it is shared, the operator finds out by itself.
    tenant.apply("network", spec);
    tenant.not_ready("network", "Invalid");
    aws.share(&network, &tenant.account_id).expect("it is there");
    tenant.ready("network");
}

/// Each network interface of a service network's endpoint takes 16 addresses in a row.
#[test]
fn a_service_network_needs_sixteen_free_addresses() {
    let tenant = tenant(World::shared(), "refused-full");
    let aws = &tenant.world.aws;
    let (account, region) = (&tenant.account_id, &tenant.region);
    let (vpc, subnet) = (id("vpc"), id("subnet"));
    aws.add_vpc(account, region, &vpc, "10.3.0.0/28").expect("a VPC");
    aws.add_subnet(account, region, &subnet, &vpc, &format!("{region}a"))
        .expect("a subnet");
    let network = aws.add_service_network(OWNER, region, &id("sn"));
    aws.share(&network, account).expect("it is there");
    let spec = tenant.spec(json!({
        "vpc_id": vpc, "subnet_ids": [subnet], "vpc_endpoint_service_id": null,
        "vpc_endpoint_type": "ServiceNetwork", "service_network_arn": network,
    }));
    is_told(&tenant, "full", spec, "Failed", "InsufficientFreeAddressesInSubnet");
}

/// EC2 answers so while a service is new (aws-sdk-go-v2#2870).
#[test]
fn a_service_that_is_not_ready_yet_is_tried_again() {
    let tenant = tenant(World::shared(), "refused-new");
    let now = tenant.world.aws.now();
    let service = tenant.add_service(ServiceSpec {
        unavailable_until: now + 30.0,
        ..ServiceSpec::default()
    });
    tenant.apply("api", tenant.spec(json!({"vpc_endpoint_service_id": service})));
    tenant.ready("api");
    let mut creates = tenant.calls();
    creates.retain(|call| call.action == "CreateVpcEndpoint");
    assert!(creates.len() > 1, "{creates:?}");
    assert_eq!(tenant.endpoints().len(), 1);
}

/// EC2 deletes no gateway endpoint of S3 while the VPC has an interface endpoint whose private DNS
/// is for inbound Resolver endpoints only.
#[test]
fn a_gateway_waits_for_the_interface_endpoint_that_needs_it() {
    let tenant = tenant(World::shared(), "refused-delete");
    tenant.edit_account(json!({"allow_private_dns": true}));
    tenant.world.add_role_with_private_dns(&tenant.role_arn);
    let s3 = format!("com.amazonaws.{}.s3", tenant.region);
    let table = id("rtb");
    let aws = &tenant.world.aws;
    aws.add_route_table(&tenant.account_id, &tenant.region, &table, &tenant.vpc)
        .expect("a route table");
    let scope = vpce_core::iam::Scope {
        types: vec![vpce_core::api::EndpointType::Gateway],
        private_dns: true,
        ..vpce_core::iam::Scope::default()
    };
    tenant.world.set_role(&tenant.role_arn, &scope);
    tenant.apply("gateway", gateway(&tenant, &s3, &[table]));
    tenant.ready("gateway");
    let inbound = json!({"private_dns_only_for_inbound_resolver_endpoint": true});
    let spec = json!({"vpc_endpoint_service_id": s3, "private_dns_enabled": true, "dns_options": inbound});
    tenant.apply("interface", tenant.spec(spec));
    tenant.eventually("interface", "its private DNS is on", || {
        let mut endpoints = tenant.endpoints().into_iter();
        endpoints.any(|endpoint| endpoint.private_dns_enabled).then_some(())
    });
    tenant.ready("interface");
    tenant.delete("gateway");
    tenant.eventually("gateway", "it says what AWS says", || {
        let ready = condition(&tenant.get("gateway")?, "Ready")?;
        (ready.reason == "InUse" && ready.message.contains("inbound Resolver endpoints depends on it")).then_some(())
    });
    assert_eq!(tenant.endpoints().len(), 2);
    tenant.delete("interface");
    tenant.gone("interface");
    tenant.gone("gateway");
    assert_eq!((tenant.endpoints(), tenant.groups()), (Vec::new(), Vec::new()));
}
