//! Endpoints of each type, from nothing to Ready and to nothing again, and what is set on them.

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointType, PausePoint, ResourceConfigurationSpec, ServiceSpec};

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, World, condition, id, merged};

/// A tenant that may have all types, with a role that may do what the guardrails print.
fn tenant<'w>(world: &'w World, name: &str) -> Tenant<'w> {
    tenant_with(world, name, json!({}))
}

fn tenant_with<'w>(world: &'w World, name: &str, guardrails: Value) -> Tenant<'w> {
    let tenant = world.unregistered_tenant(name);
    let all = json!({"allowed_services": ["*"], "allow_private_dns": true});
    tenant.register_for_all_types(merged(all, guardrails));
    tenant
}

impl Tenant<'_> {
    fn s3(&self) -> String {
        format!("com.amazonaws.{}.s3", self.region)
    }

    fn add_route_table(&self) -> String {
        let table = id("rtb");
        let aws = &self.world.aws;
        aws.add_route_table(&self.account_id, &self.region, &table, &self.vpc)
            .expect("a route table");
        table
    }

    /// A spec of a gateway endpoint for S3.
    fn gateway(&self, changes: Value) -> Value {
        let spec = json!({"vpc_id": self.vpc, "vpc_endpoint_type": "Gateway", "vpc_endpoint_service_id": self.s3()});
        merged(spec, changes)
    }

    /// Applies an edit, waits until it is carried out, and returns the writes that it took.
    #[track_caller]
    fn edited(&self, name: &str, spec: Value) -> Vec<String> {
        let before = self.writes().len();
        self.apply(name, spec);
        self.ready(name);
        self.writes().split_off(before)
    }

    #[track_caller]
    fn leaves_nothing(&self, name: &str) {
        self.delete(name);
        self.gone(name);
        assert_eq!((self.endpoints(), self.groups()), (Vec::new(), Vec::new()));
    }
}

fn sorted(ids: &[&String]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

#[test]
fn a_gateway_endpoint_takes_one_call_and_has_no_group_and_no_service() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "gateway");
    let tables = [tenant.add_route_table(), tenant.add_route_table()];
    tenant.apply("s3", tenant.gateway(json!({"route_table_ids": tables})));
    let object = tenant.ready("s3");
    assert_eq!(tenant.writes(), ["CreateVpcEndpoint"]);
    let endpoint = tenant.only();
    assert_eq!(endpoint.vpc_endpoint_type, "Gateway");
    assert_eq!(endpoint.route_table_ids, sorted(&[&tables[0], &tables[1]]));
    assert_eq!(tenant.groups(), []);
    assert!(tenant.kubernetes_service("s3").is_none());
    let status = &object["status"];
    assert_eq!(status["vpc_endpoint_type"], "Gateway");
    assert_eq!(status["vpc_endpoint_id"], json!(endpoint.id));
    let prefix_list = status["prefix_list_id"].as_str().expect("the role may read it");
    assert!(prefix_list.starts_with("pl-"), "{prefix_list}");
    let ready = condition(&object, "Ready").expect("a condition");
    assert_eq!((ready.reason.as_str(), ready.status), ("Available", true), "{ready:?}");
    tenant.leaves_nothing("s3");
    assert_eq!(tenant.writes(), ["CreateVpcEndpoint", "DeleteVpcEndpoints"]);
}

#[test]
fn route_tables_are_added_and_removed_and_those_of_others_stay() {
    let tenant = tenant(World::shared(), "gateway-tables");
    let [one, two, theirs] = [0; 3].map(|_| tenant.add_route_table());
    let with = |tables: &[&String]| tenant.gateway(json!({"route_table_ids": tables}));
    tenant.apply("s3", with(&[&one]));
    tenant.ready("s3");
    let id = tenant.only().id;

    assert_eq!(tenant.edited("s3", with(&[&one, &two])), ["ModifyVpcEndpoint"]);
    assert_eq!(tenant.only().route_table_ids, sorted(&[&one, &two]));

    // Another tool adds one of its own.
    let aws = &tenant.world.aws;
    aws.attach_route_table(&tenant.account_id, &tenant.region, &id, &theirs)
        .expect("it is there");
    assert_eq!(tenant.edited("s3", with(&[&two])), ["ModifyVpcEndpoint"]);
    assert_eq!(tenant.only().route_table_ids, sorted(&[&two, &theirs]));

    // A table that is deleted out of band is gone from the endpoint, too, and taking it out of the
    // spec is no call.
    aws.delete_route_table_behind(&tenant.account_id, &tenant.region, &two)
        .expect("it is there");
    tenant.apply("s3", with(&[]));
    tenant.ready("s3");
    assert_eq!(tenant.only().route_table_ids, sorted(&[&theirs]));
    assert_eq!(tenant.only().id, id, "it is the same endpoint");
    tenant.leaves_nothing("s3");
}

#[test]
fn a_second_gateway_for_a_route_table_says_what_aws_says() {
    let tenant = tenant(World::shared(), "gateway-second");
    let table = tenant.add_route_table();
    let spec = tenant.gateway(json!({"route_table_ids": [table]}));
    tenant.apply("s3", spec.clone());
    tenant.ready("s3");
    tenant.apply("again", spec);
    let message = tenant.eventually("again", "it is refused", || {
        let ready = tenant.condition("again", "Ready")?;
        (!ready.status && ready.message.contains("RouteAlreadyExists")).then_some(ready.message)
    });
    assert!(message.contains("CreateVpcEndpoint"), "{message}");
    tenant.delete("again");
    tenant.gone("again");
    tenant.leaves_nothing("s3");
}

fn policy(action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": action, "Resource": "*"}]})
}

#[test]
fn a_policy_is_compared_by_what_it_means_and_reset_when_it_is_taken_away() {
    let tenant = tenant(World::shared(), "gateway-policy");
    let with = |policy: Value| tenant.gateway(json!({"policy_document": policy}));
    tenant.apply("s3", with(policy("s3:GetObject")));
    let object = tenant.ready("s3");
    assert_eq!(object["status"]["applied_fields"], json!(["policy_document"]));
    assert!(tenant.only().policy_document.contains("s3:GetObject"));
    assert_eq!(tenant.writes(), ["CreateVpcEndpoint"]);

    // The same in other words, as a string.
    let same = json!({"Statement": {"Action": ["S3:getobject"], "Effect": "Allow", "Resource": ["*"],
                                    "Principal": {"AWS": ["arn:aws:iam::111122223333:root"]}}});
    assert_eq!(tenant.edited("s3", with(json!(same.to_string()))), [""; 0]);
    assert_eq!(tenant.edited("s3", with(policy("s3:PutObject"))), ["ModifyVpcEndpoint"]);
    assert!(tenant.only().policy_document.contains("s3:PutObject"));

    assert_eq!(tenant.edited("s3", tenant.gateway(json!({}))), ["ModifyVpcEndpoint"]);
    let mut calls = tenant.calls();
    calls.retain(|call| call.action == "ModifyVpcEndpoint");
    assert_eq!(calls.pop().expect("a call").params["ResetPolicy"], "true");
    tenant.eventually("s3", "nothing is known to be applied", || {
        tenant.get("s3")?["status"]["applied_fields"].is_null().then_some(())
    });
    // What was never given is left as another has set it.
    assert_eq!(
        tenant.edited("s3", tenant.gateway(json!({"tags": {"a": "b"}}))),
        ["CreateTags"]
    );
    tenant.leaves_nothing("s3");
}

#[test]
fn a_policy_that_is_none_or_that_the_type_has_not_is_told_by_its_field() {
    let tenant = tenant(World::shared(), "bad-policy");
    let subnet = json!({"subnet_ids": [tenant.subnets[0]], "vpc_endpoint_type": "GatewayLoadBalancer",
                        "security_group_type": null, "policy_document": policy("*")});
    for (name, spec, says) in [
        ("no-json", tenant.gateway(json!({"policy_document": "{"})), "is no JSON"),
        (
            "no-statement",
            tenant.gateway(json!({"policy_document": {"Version": "2012-10-17"}})),
            "no Statement",
        ),
        (
            "too-long",
            tenant.gateway(json!({"policy_document": {"Statement": ["x".repeat(20_480)]}})),
            "20480",
        ),
        (
            "of-type",
            tenant.spec(subnet),
            "only endpoints of type Interface and Gateway",
        ),
    ] {
        tenant.apply(name, spec);
        let message = tenant.not_ready(name, "InvalidSpec");
        assert!(
            message.contains("policy_document") && message.contains(says),
            "{message}"
        );
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!(tenant.writes(), [""; 0]);
}

#[test]
fn the_accounts_policy_is_that_of_endpoints_that_give_none() {
    let account = json!({"policy_document": policy("s3:GetObject")});
    let tenant = tenant_with(World::shared(), "account-policy", account);
    let own = tenant.gateway(json!({"policy_document": policy("s3:PutObject")}));
    for (name, spec, has) in [
        ("default", tenant.gateway(json!({})), "s3:GetObject"),
        ("own", own, "s3:PutObject"),
    ] {
        tenant.apply(name, spec);
        tenant.ready(name);
        assert!(tenant.only().policy_document.contains(has));
        if name == "own" {
            tenant.leaves_nothing(name);
            continue;
        }
        // An edit of the AWSAccount is carried out, and so is taking it away.
        for (policy, has) in [(policy("s3:List*"), "s3:List*"), (json!(null), r#""Action":"*""#)] {
            tenant.edit_account(json!({"policy_document": policy}));
            tenant.eventually(name, "its policy follows", || {
                tenant
                    .only()
                    .policy_document
                    .replace(' ', "")
                    .contains(has)
                    .then_some(())
            });
        }
        tenant.leaves_nothing(name);
        tenant.edit_account(account_policy());
    }

    // Services that AWS accounts offer take none.
    tenant.apply("partner", tenant.spec(json!({})));
    tenant.ready("partner");
    assert!(!tenant.only().policy_document.contains("s3:"));
    tenant.leaves_nothing("partner");

    // One that is no policy is told with the AWSAccount's name.
    tenant.edit_account(json!({"policy_document": "{"}));
    tenant.apply("bad", tenant.gateway(json!({})));
    let message = tenant.not_ready("bad", "InvalidSpec");
    assert!(
        message.contains(&format!("policy_document of AWSAccount {} is no JSON", tenant.account)),
        "{message}"
    );
}

fn account_policy() -> Value {
    json!({"policy_document": policy("s3:GetObject")})
}

#[test]
fn an_account_may_require_a_policy() {
    let tenant = tenant_with(World::shared(), "policy-required", json!({"require_policy": true}));
    tenant.apply("s3", tenant.gateway(json!({})));
    let message = tenant.not_ready("s3", "NotAllowed");
    assert!(
        message.contains("require_policy") && message.contains("set policy_document"),
        "{message}"
    );
    assert_eq!(tenant.writes(), [""; 0]);
    tenant.edit_account(account_policy());
    tenant.ready("s3");
    assert!(tenant.only().policy_document.contains("s3:GetObject"));
    tenant.leaves_nothing("s3");
    // What can have none needs none.
    tenant.apply("partner", tenant.spec(json!({})));
    tenant.ready("partner");
}

#[test]
fn a_gateway_load_balancer_endpoint_has_one_subnet_and_no_group() {
    let tenant = tenant(World::shared(), "gwlb");
    let service = tenant.add_service(ServiceSpec {
        types: vec![EndpointType::GatewayLoadBalancer],
        ..ServiceSpec::default()
    });
    let spec = |subnet: &str| {
        json!({"vpc_id": tenant.vpc, "vpc_endpoint_type": "GatewayLoadBalancer", "subnet_ids": [subnet],
               "vpc_endpoint_service_id": service})
    };
    tenant.apply("inspection", spec(&tenant.subnets[0]));
    let object = tenant.ready("inspection");
    assert_eq!(tenant.writes(), ["CreateVpcEndpoint"]);
    let endpoint = tenant.only();
    assert_eq!(endpoint.vpc_endpoint_type, "GatewayLoadBalancer");
    assert_eq!(endpoint.subnet_ids, tenant.subnets[..1]);
    assert_eq!(
        object["status"]["network_interface_ids"],
        json!(endpoint.network_interface_ids)
    );
    assert!(tenant.groups().is_empty() && tenant.kubernetes_service("inspection").is_none());
    let refused = tenant.try_apply("inspection", spec(&tenant.subnets[1]));
    let message = refused.expect_err("AWS fixes the subnet").message;
    assert!(
        message.contains("spec.subnet_ids") && message.contains("GatewayLoadBalancer"),
        "{message}"
    );
    tenant.leaves_nothing("inspection");
}

#[test]
fn resource_and_service_network_endpoints_have_groups_and_are_created_with_their_private_dns() {
    let tenant = tenant(World::shared(), "lattice");
    let owner = "900000000001";
    let aws = &tenant.world.aws;
    let spec = ResourceConfigurationSpec {
        domain_name: Some("db.example.com".to_owned()),
        domain_verified: true,
        ..ResourceConfigurationSpec::default()
    };
    let resource = aws.add_resource_configuration(owner, &tenant.region, &id("rcfg"), spec);
    let network = aws.add_service_network(owner, &tenant.region, &id("sn"));
    aws.set_service_network_resources(&network, &[&resource])
        .expect("both are there");
    for arn in [&resource, &network] {
        aws.share(arn, &tenant.account_id).expect("it is there");
    }
    let base = json!({"vpc_id": tenant.vpc, "subnet_ids": tenant.subnets[..2], "private_dns_enabled": true});
    for (name, type_, field, arn) in [
        ("db", "Resource", "resource_configuration_arn", &resource),
        ("network", "ServiceNetwork", "service_network_arn", &network),
    ] {
        let before = tenant.writes().len();
        let spec = merged(base.clone(), json!({"vpc_endpoint_type": type_, field: arn}));
        tenant.apply(name, spec.clone());
        let object = tenant.ready(name);
        let writes = [
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "CreateVpcEndpoint",
        ];
        assert_eq!(tenant.writes()[before..], writes, "private DNS is in the create call");
        let endpoint = tenant.only();
        assert_eq!(
            (endpoint.vpc_endpoint_type.as_str(), endpoint.lattice_arn.as_ref()),
            (type_, Some(arn))
        );
        assert!(endpoint.private_dns_enabled);
        assert_eq!(object["status"]["vpc_endpoint_service_id"], json!(arn));
        assert_eq!(tenant.kubernetes_service(name).is_some(), type_ == "Resource");
        let names = object["status"]["dns_entries"].to_string();
        assert!(names.contains(&endpoint.id), "{names}");
        // Groups and subnets are changed in place.
        let edit = json!({"subnet_ids": tenant.subnets, "security_group_type": "provided",
                          "security_group_ids": [tenant.group]});
        let writes = tenant.edited(name, merged(spec.clone(), edit));
        assert_eq!(writes, ["ModifyVpcEndpoint", "DeleteSecurityGroup"]);
        assert_eq!(tenant.only().subnet_ids.len(), 3);
        for (change, says) in [
            (json!({"private_dns_enabled": null}), "spec.private_dns_enabled"),
            (
                json!({"dns_options": {"private_dns_preference": "ALL_DOMAINS"}}),
                "spec.dns_options",
            ),
            (
                json!({"vpc_endpoint_type": null, field: null, "vpc_endpoint_service_id": tenant.service}),
                "spec.vpc_endpoint_type",
            ),
        ] {
            let refused = tenant.try_apply(name, merged(spec.clone(), change));
            let message = refused.expect_err("AWS fixes it").message;
            assert!(message.contains(says), "{says}: {message}");
        }
        tenant.leaves_nothing(name);
    }
}

#[test]
fn address_types_change_in_place_and_return_to_ipv4() {
    let tenant = tenant(World::shared(), "addresses");
    let with = |changes: Value| tenant.gateway(changes);
    tenant.apply("s3", with(json!({"ip_address_type": "dualstack"})));
    tenant.ready("s3");
    let seen = |tenant: &Tenant<'_>| {
        let endpoint = tenant.only();
        (endpoint.ip_address_type, endpoint.dns_record_ip_type)
    };
    assert_eq!(seen(&tenant), ("dualstack".to_owned(), "service-defined".to_owned()));
    let records = json!({"ip_address_type": "dualstack", "dns_options": {"dns_record_ip_type": "ipv4"}});
    assert_eq!(tenant.edited("s3", with(records)), ["ModifyVpcEndpoint"]);
    assert_eq!(seen(&tenant), ("dualstack".to_owned(), "ipv4".to_owned()));
    assert_eq!(tenant.edited("s3", with(json!({}))), ["ModifyVpcEndpoint"]);
    assert_eq!(seen(&tenant), ("ipv4".to_owned(), "ipv4".to_owned()));
    let refused = tenant.try_apply("s3", with(json!({"ip_address_type": "ipv6"})));
    let message = refused.expect_err("AWS takes another endpoint for that").message;
    assert!(message.contains("spec.ip_address_type"), "{message}");
    tenant.leaves_nothing("s3");
}

#[test]
fn guardrails_of_types_route_tables_and_resources_hold() {
    let world = World::shared();
    let arn = "arn:aws:vpc-lattice:us-west-2:900000000002:servicenetwork/sn-0123456789abcdef0";
    let network = json!({"vpc_endpoint_type": "ServiceNetwork", "service_network_arn": arn,
                         "vpc_endpoint_service_id": null});
    for (guardrail, value) in [
        ("allowed_vpc_endpoint_types", json!(["Interface"])),
        ("allowed_route_table_ids", json!(["rtb-0123456789abcdef0"])),
        ("allowed_resource_arns", json!([])),
    ] {
        let tenant = tenant_with(world, "type-guardrails", json!({guardrail: value}));
        let spec = match guardrail {
            "allowed_resource_arns" => tenant.spec(network.clone()),
            _ => tenant.gateway(json!({"route_table_ids": [tenant.add_route_table()]})),
        };
        tenant.apply("refused", spec);
        let message = tenant.not_ready("refused", "NotAllowed");
        assert!(message.contains(guardrail), "{message}");
        assert_eq!(tenant.writes(), [""; 0], "{guardrail}");
    }
}

#[test]
fn a_gateway_that_only_carries_its_tags_is_not_taken_over() {
    let tenant = tenant(World::shared(), "gateway-planted");
    let aws = &tenant.world.aws;
    let (account, region) = (&tenant.account_id, &tenant.region);
    let planted = aws
        .add_gateway_endpoint_behind(account, region, &tenant.vpc, &tenant.s3())
        .expect("an endpoint");
    let tags = [
        ("silvermullet.com/cluster", tenant.world.cluster_id()),
        ("silvermullet.com/namespace", &tenant.namespace),
        ("silvermullet.com/name", "s3"),
        // An object of this name that was there before; but the endpoint is younger than the
        // cluster.
        ("silvermullet.com/uid", "7d3c9a52-0b1e-4f68-9a35-c2d4e6f80b17"),
    ];
    for (key, value) in tags {
        aws.set_tag(account, region, &planted, key, value).expect("it is there");
    }
    tenant.apply("s3", tenant.gateway(json!({})));
    let message = tenant.not_ready("s3", "OwnershipLost");
    assert!(message.contains(&planted) && message.contains("age"), "{message}");
    tenant.delete("s3");
    tenant.gone("s3");
    assert_eq!(tenant.only().id, planted);
    assert_eq!(tenant.writes(), [""; 0]);
}

#[test]
fn a_crash_after_a_gateway_was_created_makes_no_second_and_leaves_nothing() {
    let world = World::own(Setup::fast());
    let tenant = tenant(&world, "gateway-crash");
    let table = tenant.add_route_table();
    let spec = tenant.gateway(json!({"route_table_ids": [table]}));
    let crash = |name: &str| {
        let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
        tenant.apply(name, spec.clone());
        assert!(gate.wait_reached(WITHIN), "no endpoint is made");
        world.operator.kill().expect("it was running");
        gate.abandon();
    };
    // It is found again.
    crash("again");
    world.operator.start().expect("it starts again");
    tenant.ready("again");
    tenant.only();
    tenant.leaves_nothing("again");

    // It goes where the object is edited to another type meanwhile.
    crash("edited");
    tenant.apply("edited", tenant.spec(json!({})));
    world.operator.start().expect("it starts again");
    tenant.ready("edited");
    assert_eq!(tenant.only().vpc_endpoint_type, "Interface");
    tenant.leaves_nothing("edited");

    // It goes where the object is deleted meanwhile.
    crash("deleted");
    tenant.delete("deleted");
    world.operator.start().expect("it starts again");
    tenant.gone("deleted");
    assert_eq!(tenant.endpoints(), []);
}

/// What the schema says of a spec.
#[track_caller]
fn refused(tenant: &Tenant<'_>, spec: &Value, says: &[&str]) {
    let collection = cluster::endpoints(&tenant.namespace);
    let object = crate::world::endpoint(&tenant.namespace, "refused", spec);
    let created = tenant.world.cluster.create(&collection, &object, cluster::Run::Dry);
    let message = created.expect_err(&format!("{spec} is accepted")).message;
    for says in says {
        assert!(message.contains(says), "{spec}: {says:?} is not in {message}");
    }
}

const NETWORK: &str = "arn:aws:vpc-lattice:us-west-2:111122223333:servicenetwork/sn-0123456789abcdef0";
const RESOURCE: &str = "arn:aws:vpc-lattice:us-west-2:111122223333:resourceconfiguration/rcfg-0123456789abcdef0";

#[test]
fn what_does_not_go_with_a_gateway_is_refused_by_its_field() {
    let tenant = World::shared().unregistered_tenant("combinations");
    let inbound = json!({"private_dns_only_for_inbound_resolver_endpoint": false});
    for (changes, says) in [
        (
            json!({"subnet_ids": [tenant.subnets[0]]}),
            ["spec.subnet_ids", "set route_table_ids"],
        ),
        (
            json!({"security_group_type": "generated"}),
            ["spec.security_group_type", "no security groups"],
        ),
        (
            json!({"private_dns_enabled": true}),
            ["spec.private_dns_enabled", "no private DNS"],
        ),
        (
            json!({"service": {"name": "s3"}}),
            ["spec.service", "leave out service"],
        ),
        (
            json!({"dns_options": inbound}),
            ["private_dns_only_for_inbound_resolver_endpoint", "Interface"],
        ),
        (
            json!({"vpc_endpoint_service_id": null}),
            ["spec.vpc_endpoint_service_id", "Required value"],
        ),
    ] {
        refused(&tenant, &tenant.gateway(changes), &says);
    }
    for (changes, says) in [
        (
            json!({"subnet_ids": tenant.subnets}),
            ["spec.subnet_ids", "exactly one subnet"],
        ),
        (json!({"subnet_ids": null}), ["spec.subnet_ids", "Required value"]),
        (json!({"dns_options": {}}), ["spec.dns_options", "no DNS names"]),
        (
            json!({"security_group_type": "generated"}),
            ["spec.security_group_type", "no security groups"],
        ),
    ] {
        let spec = json!({"vpc_endpoint_type": "GatewayLoadBalancer", "security_group_type": null,
                          "subnet_ids": [tenant.subnets[0]]});
        refused(&tenant, &merged(tenant.spec(spec), changes), &says);
    }
}

#[test]
fn what_does_not_go_with_network_interfaces_is_refused_by_its_field() {
    let tenant = World::shared().unregistered_tenant("combinations");
    let inbound = json!({"private_dns_only_for_inbound_resolver_endpoint": false});
    let preference = |preference: &str| json!({"private_dns_preference": preference});
    for (changes, says) in [
        (json!({"route_table_ids": []}), ["spec.route_table_ids", "Gateway only"]),
        (
            json!({"service_network_arn": NETWORK}),
            ["spec.service_network_arn", "ServiceNetwork only"],
        ),
        (
            json!({"dns_options": inbound}),
            ["private_dns_only_for_inbound_resolver_endpoint", "private_dns_enabled"],
        ),
        (
            json!({"dns_options": preference("ALL_DOMAINS")}),
            ["private_dns_preference", "Resource or ServiceNetwork"],
        ),
        (
            json!({"dns_options": {"dns_record_ip_type": "dualstack"}}),
            ["dns_record_ip_type", "must fit ip_address_type"],
        ),
        (
            json!({"vpc_endpoint_type": "Tunnel"}),
            ["spec.vpc_endpoint_type", "\"ServiceNetwork\""],
        ),
    ] {
        refused(&tenant, &tenant.spec(changes), &says);
    }
    for (changes, says) in [
        (
            json!({"resource_configuration_arn": null}),
            ["spec.resource_configuration_arn", "Required value"],
        ),
        (
            json!({"vpc_endpoint_service_id": tenant.service}),
            ["spec.vpc_endpoint_service_id", "resource_configuration_arn"],
        ),
        (json!({"subnet_ids": null}), ["spec.subnet_ids", "Required value"]),
        (
            json!({"private_dns_enabled": true, "dns_options": preference("SPECIFIED_DOMAINS_ONLY")}),
            ["private_dns_specified_domains", "which need it"],
        ),
        (
            json!({"resource_configuration_arn": NETWORK}),
            ["spec.resource_configuration_arn", "rcfg-"],
        ),
    ] {
        let spec = json!({"vpc_endpoint_type": "Resource", "resource_configuration_arn": RESOURCE,
                          "vpc_endpoint_service_id": null});
        refused(&tenant, &merged(tenant.spec(spec), changes), &says);
    }
}

#[test]
fn the_type_and_what_it_connects_to_are_bound_once_there_is_an_endpoint() {
    let tenant = tenant(World::shared(), "type-bound");
    tenant.apply("s3", tenant.gateway(json!({})));
    tenant.ready("s3");
    for (spec, says) in [
        (
            tenant.spec(json!({"vpc_endpoint_service_id": tenant.s3()})),
            "spec.vpc_endpoint_type",
        ),
        (
            tenant.gateway(json!({"vpc_endpoint_service_id": format!("com.amazonaws.{}.dynamodb", tenant.region)})),
            "spec.vpc_endpoint_service_id",
        ),
    ] {
        let message = tenant.try_apply("s3", spec).expect_err("AWS fixes it").message;
        assert!(message.contains(says), "{says}: {message}");
    }
    tenant.leaves_nothing("s3");
}
