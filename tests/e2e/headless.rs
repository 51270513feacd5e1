//! Headless Services: EndpointSlices with the private addresses of an endpoint's network
//! interfaces, kept as these change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use vpce_testbed::aws::{Call, EndpointView, RoleSpec, ServiceSpec};

use crate::cluster::{self, Run};
use crate::figures::api_writes;
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, id, merged, text};

const LABEL: &str = "app.kubernetes.io/managed-by";
const READ: &str = "DescribeNetworkInterfaces";
const MANY: usize = 20;

impl Tenant<'_> {
    /// A spec with a headless Service, with more fields or others.
    fn headless(&self, changes: Value) -> Value {
        let service = json!({"type": "Headless", "ports": [{"name": "tls", "port": 443}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
        merged(self.spec(json!({"service": service})), changes)
    }

    /// The EndpointSlices of a Service.
    fn slices(&self, service: &str) -> Vec<Value> {
        let mut slices = self.world.cluster.list(&cluster::slices(&self.namespace));
        slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
        slices
    }

    fn slice_path(&self, name: &str) -> String {
        format!("{}/{name}", cluster::slices(&self.namespace))
    }

    fn service_path(&self, name: &str) -> String {
        format!("{}/{name}", cluster::services(&self.namespace))
    }

    #[track_caller]
    fn merge_at(&self, path: &str, change: Value) {
        let merged = self.world.cluster.merge(path, &change);
        merged.unwrap_or_else(|refusal| panic!("{path}: {}", refusal.message));
    }

    /// The only endpoint.
    fn sole_endpoint(&self) -> EndpointView {
        let [endpoint] = &self.endpoints()[..] else {
            panic!("one endpoint: {:#?}", self.endpoints());
        };
        endpoint.clone()
    }

    /// Waits until the EndpointSlices of a Service have exactly the addresses of the only endpoint,
    /// and returns these.
    #[track_caller]
    fn follows(&self, name: &str, what: &str) -> BTreeSet<IpAddr> {
        self.eventually(name, what, || {
            let there = addresses_of(&self.sole_endpoint());
            let is_whole = self.kubernetes_service(name)?["spec"]["clusterIP"] == "None";
            (is_whole && addresses_in(&self.slices(name)) == there).then_some(there)
        })
    }

    fn reads(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.action == READ);
        calls
    }
}

fn addresses_of(endpoint: &EndpointView) -> BTreeSet<IpAddr> {
    endpoint.addresses.values().flatten().copied().collect()
}

fn endpoints_in(slice: &Value) -> &[Value] {
    // An empty list is stored as null.
    slice["endpoints"].as_array().map_or(&[], Vec::as_slice)
}

/// The addresses that clients use of EndpointSlices.
fn addresses_in(slices: &[Value]) -> BTreeSet<IpAddr> {
    let endpoints = slices.iter().flat_map(endpoints_in);
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let addresses = ready.flat_map(|endpoint| endpoint["addresses"].as_array().expect("addresses"));
    addresses
        .map(|address| text(address).parse().expect("an address"))
        .collect()
}

#[test]
fn the_addresses_of_the_interfaces_are_published_with_the_ports_and_go_with_the_object() {
    let tenant = World::shared().tenant("headless");
    tenant.apply("db", tenant.headless(json!({})));
    let object = tenant.ready("db");
    let endpoint = tenant.sole_endpoint();

    let service = tenant.kubernetes_service("db").expect("it is published");
    let spec = &service["spec"];
    assert_eq!(
        (&spec["type"], &spec["clusterIP"]),
        (&json!("ClusterIP"), &json!("None"))
    );
    assert!(spec["selector"].is_null() && spec["externalName"].is_null(), "{spec}");

    let [slice] = &tenant.slices("db")[..] else {
        panic!("one slice: {:#?}", tenant.slices("db"));
    };
    let metadata = &slice["metadata"];
    assert_eq!(
        (&metadata["name"], &slice["addressType"]),
        (&json!("db-ipv4"), &json!("IPv4"))
    );
    let labels = &metadata["labels"];
    for label in [LABEL, "endpointslice.kubernetes.io/managed-by"] {
        assert_eq!(labels[label], "vpce-operator", "{labels}");
    }
    let owner = &metadata["ownerReferences"][0];
    assert_eq!(
        (&owner["uid"], &owner["controller"]),
        (&object["metadata"]["uid"], &json!(true))
    );
    assert_eq!(endpoints_in(slice).len(), 2);
    for found in endpoints_in(slice) {
        let address: IpAddr = text(&found["addresses"][0]).parse().expect("an address");
        let (subnet, _) = endpoint
            .addresses
            .iter()
            .find(|(_, all)| all.contains(&address))
            .expect("its own");
        let number = tenant
            .subnets
            .iter()
            .position(|known| known == subnet)
            .expect("a subnet");
        let zone = format!("{}{}", tenant.region, ["a", "b", "c"][number]);
        assert_eq!(
            (&found["zone"], &found["conditions"]["ready"]),
            (&json!(zone), &json!(true))
        );
    }
    for ports in [&slice["ports"], &spec["ports"]] {
        let ports = ports.as_array().expect("ports").iter();
        let ports: Vec<Value> = ports
            .map(|port| json!([port["name"], port["port"], port["protocol"]]))
            .collect();
        assert_eq!(json!(ports), json!([["tls", 443, "TCP"], ["dns", 53, "UDP"]]));
    }

    let published = condition(&object, "ServicePublished").expect("a condition");
    assert_eq!((published.status, published.reason.as_str()), (true, "Published"));
    let host = format!("db.{}.svc", tenant.namespace);
    assert_eq!(object["status"]["service"]["host"], json!(host));
    for address in addresses_of(&endpoint) {
        assert!(
            published.message.contains(&address.to_string()),
            "{}",
            published.message
        );
    }

    tenant.delete("db");
    tenant.gone("db");
    assert!(tenant.kubernetes_service("db").is_none() && tenant.slices("db").is_empty());
}

#[test]
fn slices_follow_the_interfaces() {
    let tenant = World::shared().tenant("follows");
    tenant.apply("db", tenant.headless(json!({})));
    tenant.ready("db");
    let before = tenant.follows("db", "the first addresses");

    tenant.apply("db", tenant.headless(json!({"subnet_ids": tenant.subnets[1..]})));
    tenant.ready("db");
    let moved = tenant.follows("db", "another subnet's address in place of one");
    assert_eq!((before.intersection(&moved).count(), moved.len()), (1, 2));

    let endpoint = tenant.sole_endpoint().id;
    let aws = &tenant.world.aws;
    let replaced = aws.replace_interface(&tenant.account_id, &tenant.region, &endpoint, &tenant.subnets[2]);
    replaced.expect("it has one there");
    let replaced = tenant.follows("db", "another interface in place of one");
    assert_eq!((moved.intersection(&replaced).count(), replaced.len()), (1, 2));
    tenant.ready("db");
}

#[test]
fn what_is_edited_or_deleted_is_restored() {
    let tenant = World::shared().tenant("restores");
    tenant.apply("db", tenant.headless(json!({})));
    tenant.ready("db");
    let (slice, service) = (tenant.slice_path("db-ipv4"), tenant.service_path("db"));
    let cluster = &tenant.world.cluster;
    let as_written = |what: &str| {
        tenant.follows("db", what);
        tenant.eventually("db", what, || {
            let (slice, service) = (cluster.get(&slice)?, cluster.get(&service)?);
            let is_labelled = [&slice, &service]
                .iter()
                .all(|found| found["metadata"]["labels"][LABEL] == "vpce-operator");
            let has_ports = slice["ports"].as_array().is_some_and(|ports| ports.len() == 2);
            (is_labelled && has_ports && service["spec"]["selector"].is_null()).then_some(())
        });
    };
    for change in [
        json!({"endpoints": [{"addresses": ["10.9.9.9"], "conditions": {"ready": true}}]}),
        json!({"endpoints": []}),
        json!({"ports": []}),
        json!({"metadata": {"labels": {LABEL: null}}}),
        json!({"metadata": {"labels": {"kubernetes.io/service-name": "another"}}}),
    ] {
        tenant.merge_at(&slice, change.clone());
        as_written(&format!("the EndpointSlice is as before: {change}"));
    }
    for change in [
        json!({"spec": {"selector": {"app": "another"}, "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}}),
        json!({"spec": {"type": "ExternalName", "externalName": "elsewhere.example.com", "clusterIP": null, "clusterIPs": null}}),
        json!({"metadata": {"labels": {LABEL: null}}}),
    ] {
        tenant.merge_at(&service, change.clone());
        as_written(&format!("the Service is as before: {change}"));
    }
    cluster.delete(&slice);
    as_written("the EndpointSlice is created again");
    cluster.delete(&service);
    as_written("the Service is created again");
    tenant.ready("db");
}

#[test]
fn the_type_of_the_service_changes_in_place_and_no_slice_stays() {
    let tenant = World::shared().tenant("changes-type");
    let of_type = |type_: &str| {
        let service = json!({"type": type_, "ports": [{"port": 443}]});
        tenant.apply("db", tenant.spec(json!({"service": service})));
        tenant.ready("db");
    };
    let uid = || {
        tenant
            .kubernetes_service("db")
            .map(|service| text(&service["metadata"]["uid"]))
    };
    of_type("ExternalName");
    let first = uid().expect("it is published");
    of_type("Headless");
    tenant.follows("db", "the addresses are published");
    assert_eq!(uid().as_ref(), Some(&first));
    of_type("ExternalName");
    let service = tenant.kubernetes_service("db").expect("it is published");
    assert_eq!(service["spec"]["type"], "ExternalName");
    assert_eq!((uid().as_ref(), tenant.slices("db").len()), (Some(&first), 0));
    of_type("Headless");
    tenant.follows("db", "the addresses are published again");
    of_type("None");
    assert_eq!((uid(), tenant.slices("db").len()), (None, 0));
}

/// A VPC with IPv6 and two subnets of these families in it.
fn network(tenant: &Tenant<'_>, dualstack: bool) -> Value {
    let aws = &tenant.world.aws;
    let (account, region) = (&tenant.account_id, &tenant.region);
    let vpc = id("vpc");
    let block = if dualstack {
        "2600:1f14:100::/56"
    } else {
        "2600:1f14:200::/56"
    };
    aws.add_vpc_with_ipv6(account, region, &vpc, "10.1.0.0/16", block)
        .expect("a VPC");
    let subnet = |zone: &str| {
        let (subnet, zone) = (id("subnet"), format!("{region}{zone}"));
        match dualstack {
            true => aws.add_dualstack_subnet(account, region, &subnet, &vpc, &zone),
            false => aws.add_ipv6_subnet(account, region, &subnet, &vpc, &zone),
        }
        .expect("a subnet");
        subnet
    };
    let subnets = ["a", "b"].map(subnet);
    json!({"vpc_id": vpc, "subnet_ids": subnets})
}

#[test]
fn each_address_family_has_a_slice_of_its_own() {
    let tenant = World::shared().tenant("families");
    let service = tenant.add_service(ServiceSpec {
        ip_address_types: vec!["ipv4".to_owned(), "ipv6".to_owned()],
        ..ServiceSpec::default()
    });
    let families = |name: &str| -> Vec<(String, String, usize)> {
        let slices = tenant.slices(name);
        let of = |slice: &Value| {
            let name = text(&slice["metadata"]["name"]);
            (name, text(&slice["addressType"]), endpoints_in(slice).len())
        };
        slices.iter().map(of).collect()
    };
    let slice = |name: &str, family: &str| (format!("db-{name}"), family.to_owned(), 2);
    let spec = |network: &Value, type_: &str| {
        let changes = json!({"vpc_endpoint_service_id": service, "ip_address_type": type_});
        tenant.headless(merged(network.clone(), changes))
    };
    let both = network(&tenant, true);
    tenant.apply("db", spec(&both, "dualstack"));
    tenant.ready("db");
    assert_eq!(tenant.follows("db", "both families").len(), 4);
    assert_eq!(families("db"), [slice("ipv4", "IPv4"), slice("ipv6", "IPv6")]);
    // The interfaces stay, and lose their addresses of one family.
    tenant.apply("db", spec(&both, "ipv4"));
    tenant.ready("db");
    tenant.follows("db", "IPv4 alone");
    assert_eq!(families("db"), [slice("ipv4", "IPv4")]);
    tenant.delete("db");
    tenant.gone("db");

    tenant.apply("db", spec(&network(&tenant, false), "ipv6"));
    tenant.ready("db");
    tenant.follows("db", "IPv6 alone");
    assert_eq!(families("db"), [slice("ipv6", "IPv6")]);
}

#[test]
fn a_service_and_a_slice_of_another_owner_are_not_taken() {
    let tenant = World::shared().tenant("foreign");
    let cluster = &tenant.world.cluster;
    let create = |collection: String, object: Value| {
        let created = cluster.create(&collection, &object, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{}", refusal.message))
    };
    let services = cluster::services(&tenant.namespace);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "theirs"},
        "spec": {"clusterIP": "None", "ports": [{"port": 443}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "mine-ipv4", "labels": {"kubernetes.io/service-name": "else"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.9.9.9"]}],
    });
    let service = create(services, service);
    let slice = create(cluster::slices(&tenant.namespace), slice);
    tenant.apply("theirs", tenant.headless(json!({})));
    tenant.apply("mine", tenant.headless(json!({})));

    let message = tenant.not_ready("theirs", "ServiceConflict");
    assert!(
        message.contains(&format!("Service {}/theirs", tenant.namespace)),
        "{message}"
    );
    assert_eq!(tenant.slices("theirs"), [] as [Value; 0], "it would get the addresses");
    let message = tenant.not_ready("mine", "ServiceConflict");
    let named = format!("EndpointSlice {}/mine-ipv4", tenant.namespace);
    assert!(message.contains(&named), "{message}");
    let unchanged = |path: &str, before: &Value| {
        let there = cluster.get(path).expect("it stays");
        assert_eq!(
            there["metadata"]["resourceVersion"],
            before["metadata"]["resourceVersion"]
        );
    };
    unchanged(&tenant.service_path("theirs"), &service);
    unchanged(&tenant.slice_path("mine-ipv4"), &slice);

    cluster.delete(&tenant.service_path("theirs"));
    cluster.delete(&tenant.slice_path("mine-ipv4"));
    for name in ["theirs", "mine"] {
        tenant.ready(name);
        assert_eq!(addresses_in(&tenant.slices(name)).len(), 2, "{name}");
    }
}

#[test]
fn a_role_that_may_not_read_the_addresses_is_told_with_the_action() {
    let world = World::shared();
    let tenant = world.tenant("denied");
    let whole = world.role(&tenant.role_arn, None);
    let policy = whole.policy.as_deref().expect("a policy");
    let blind = RoleSpec {
        policy: Some(policy.replace("ec2:DescribeNetworkInterfaces", "ec2:DescribeTags")),
        ..whole.clone()
    };
    world.aws.set_role(&tenant.role_arn, blind).expect("a role");
    tenant.apply("db", tenant.headless(json!({})));
    let message = tenant.not_ready("db", "Denied");
    for part in ["ec2:DescribeNetworkInterfaces", tenant.role_arn.as_str()] {
        assert!(message.contains(part), "{message}");
    }
    let of = |kind: &str| tenant.condition("db", kind).expect("a condition");
    assert!(of("EndpointAvailable").status && !of("ServicePublished").status);
    assert!(tenant.kubernetes_service("db").is_none());

    // Until they are known, what was published before goes on serving.
    tenant.apply("db", tenant.spec(json!({})));
    tenant.ready("db");
    tenant.apply("db", tenant.headless(json!({})));
    tenant.not_ready("db", "Denied");
    let service = tenant.kubernetes_service("db").expect("it stays");
    assert_eq!(service["spec"]["type"], "ExternalName");

    world.aws.set_role(&tenant.role_arn, whole).expect("a role");
    tenant.ready("db");
    tenant.follows("db", "the addresses are published");
}

#[test]
fn the_schema_refuses_a_headless_service_without_ports_and_of_types_that_have_no_addresses() {
    let tenant = World::shared().tenant("refused");
    let headless = json!({"type": "Headless", "ports": [{"port": 443}]});
    let network = json!({"vpc_id": tenant.vpc});
    let of_type = |type_: &str, fields: Value| {
        let base = merged(
            network.clone(),
            json!({"vpc_endpoint_type": type_, "service": headless}),
        );
        merged(base, fields)
    };
    let network_arn = format!(
        "arn:aws:vpc-lattice:{}:900000000001:servicenetwork/{}",
        tenant.region,
        id("sn")
    );
    let s3 = format!("com.amazonaws.{}.s3", tenant.region);
    let subnet = &tenant.subnets[..1];
    for (spec, field, says) in [
        (
            tenant.spec(json!({"service": {"type": "Headless"}})),
            "spec.service.ports",
            "at least one port",
        ),
        (
            tenant.spec(json!({"service": {"type": "Headless", "ports": []}})),
            "spec.service.ports",
            "at least one port",
        ),
        (
            of_type("Gateway", json!({"vpc_endpoint_service_id": s3})),
            "spec.service.type",
            "endpoints of type Gateway",
        ),
        (
            of_type(
                "GatewayLoadBalancer",
                json!({"vpc_endpoint_service_id": tenant.service, "subnet_ids": subnet}),
            ),
            "spec.service.type",
            "GatewayLoadBalancer",
        ),
        (
            of_type(
                "ServiceNetwork",
                json!({"service_network_arn": network_arn, "subnet_ids": subnet}),
            ),
            "spec.service.type",
            "ServiceNetwork",
        ),
    ] {
        let refusal = tenant.try_apply("refused", spec).expect_err(says);
        let message = refusal.message;
        assert!(message.contains(field) && message.contains(says), "{message}");
    }
}

#[test]
fn many_cost_no_more_reads_than_one_and_a_restart_writes_nothing() {
    // Nothing but the restart has anything read again.
    let world = World::own(Setup::fast().value("settings.resyncIntervalSeconds", "3600"));
    let tenants = [("one", 1), ("many", MANY)].map(|(name, count)| (world.tenant(name), count));
    for (tenant, count) in &tenants {
        for number in 0..*count {
            tenant.apply(&format!("db-{number}"), tenant.headless(json!({})));
        }
    }
    for (tenant, count) in &tenants {
        for number in 0..*count {
            tenant.ready(&format!("db-{number}"));
        }
        let published: Vec<Value> = world.cluster.list(&cluster::slices(&tenant.namespace));
        let there: BTreeSet<IpAddr> = tenant.endpoints().iter().flat_map(addresses_of).collect();
        assert_eq!((addresses_in(&published), there.len()), (there.clone(), 2 * count));
        // All that became available by the same poll are read together.
        let last = tenant.reads().last().expect("a read").time;
        let mut polls = tenant.calls();
        polls.retain(|call| call.action == "DescribeVpcEndpoints" && call.time < last);
        let (reads, polls) = (tenant.reads().len(), polls.len());
        assert!(reads <= polls, "{reads} reads in {polls} polls");
    }

    for (tenant, count) in &tenants {
        world.eventually("all is said of its AWSAccount", || {
            let account = world.aws_account(&tenant.account)?;
            let verified = condition(&account, "PermissionsVerified")?;
            let counts_all = account["status"]["endpoints"] == *count;
            (counts_all && verified.status && account["status"]["orphans"]["count"] == 0).then_some(())
        });
    }
    assert!(world.operator.terminate().expect("it was running").success());
    let mark = world.aws.now();
    world.operator.start().expect("it starts again");
    let since = |tenant: &Tenant<'_>| {
        let mut calls = tenant.calls();
        calls.retain(|call| call.time > mark);
        calls
    };
    for (tenant, count) in &tenants {
        let last = format!("db-{}", count - 1);
        tenant.eventually(&last, "it reads addresses", || {
            let mut calls = since(tenant).into_iter();
            calls.any(|call| call.action == READ).then_some(())
        });
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
    for (tenant, count) in &tenants {
        let calls = since(tenant);
        let reads = calls.iter().filter(|call| call.action == READ).count();
        assert_eq!(reads, 1, "of {count} endpoints");
        assert!(!calls.iter().any(Call::mutating), "{calls:#?}");
    }
    let mut writes = api_writes(&world);
    writes.retain(|_, count| *count > 0);
    assert!(writes.is_empty(), "{writes:?}");
}
