//! Bad input is refused by the API server itself, with a message that names the field and says what
//! is right.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{self, ACCOUNTS, Cluster, Refusal, Run};
use crate::world::{World, endpoint, id, merged};

/// A spec that is accepted, with more fields or others; null takes one away.
fn spec(changes: Value) -> Value {
    let spec = json!({
        "region": "us-west-2",
        "vpc_id": "vpc-01393d9ccb6d12345",
        "subnet_ids": ["subnet-07e56cb8d19c12345"],
        "vpc_endpoint_service_id": "com.amazonaws.vpce.us-west-2.vpce-svc-0abc437c186123456",
        "security_group_type": "generated",
    });
    merged(spec, changes)
}

/// The same with a custom group that has one ingress rule, which is accepted but for what changes.
fn with_rule(changes: Value) -> Value {
    let rule = json!({"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.0.0.0/16"]});
    let rules = [merged(rule, changes)];
    spec(json!({"security_group_type": "custom", "security_group_ingress": rules}))
}

/// A namespace that no AWSAccount maps.
fn namespace() -> (&'static Cluster, &'static str) {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    let cluster = &World::shared().cluster;
    let namespace = NAMESPACE.get_or_init(|| {
        let name = id("schema");
        cluster.create_namespace(&name, json!({}));
        name
    });
    (cluster, namespace)
}

fn check(name: &str, spec: &Value) -> Result<Value, Refusal> {
    let (cluster, namespace) = namespace();
    cluster.create(
        &cluster::endpoints(namespace),
        &endpoint(namespace, name, spec),
        Run::Dry,
    )
}

#[track_caller]
fn accepted(spec: &Value) -> Value {
    check("endpoint", spec).unwrap_or_else(|refusal| panic!("{spec} is refused: {}", refusal.message))
}

/// Each of `says` has to be in the message.
#[track_caller]
fn refused(spec: &Value, says: &[&str]) {
    expect_refusal(check("endpoint", spec), spec, says);
}

#[track_caller]
fn expect_refusal(result: Result<Value, Refusal>, of: &Value, says: &[&str]) {
    let of: String = of.to_string().chars().take(500).collect();
    let refusal = result.err().unwrap_or_else(|| panic!("{of} is accepted"));
    for says in says {
        assert!(
            refusal.message.contains(says),
            "{of}: {says:?} is not in {}",
            refusal.message
        );
    }
}

#[test]
fn a_value_of_the_wrong_type_or_form_is_refused_by_its_field() {
    for (changes, says) in [
        (
            json!({"subnet_ids": "subnet-07e56cb8d19c12345"}),
            ["spec.subnet_ids", "must be of type array"],
        ),
        (json!({"vpc_id": 7}), ["spec.vpc_id", "must be of type string"]),
        (
            json!({"region": ["us-west-2"]}),
            ["spec.region", "must be of type string"],
        ),
        (
            json!({"tags": {"level": 1}}),
            ["spec.tags.level", "must be of type string"],
        ),
        (json!({"service": "none"}), ["spec.service", "must be of type object"]),
        (
            json!({"service": {"ports": [{"port": "https"}]}}),
            ["spec.service.ports[0].port", "must be of type integer"],
        ),
        (
            json!({"service": {"ports": [{"port": 0}]}}),
            ["spec.service.ports[0].port", "greater than or equal to 1"],
        ),
        (
            json!({"service": {"name": "My_Service"}}),
            ["spec.service.name", "must be a name that a Service can have"],
        ),
        (
            json!({"service": {"ports": [{"port": 443, "name": "HTTPS"}]}}),
            ["spec.service.ports[0].name", "must be a name that a port can have"],
        ),
    ] {
        refused(&spec(changes), &says);
    }
}

#[test]
fn an_id_of_the_wrong_form_is_refused_in_words() {
    let (subnet, vpc, group, region) = (
        "must be a subnet id such as subnet-0d1e2f3a4b5c60718",
        "must be a VPC id such as vpc-0d1e2f3a4b5c60718",
        "must be a security group id such as sg-0d1e2f3a4b5c60718",
        "must be a region such as eu-central-1",
    );
    let service = "must be the short name of a service of AWS, such as ecr.api, the full name of an endpoint service";
    for (changes, field, says) in [
        (json!({"vpc_id": "vpc-main"}), "spec.vpc_id", vec![vpc]),
        (
            json!({"vpc_id": "subnet-07e56cb8d19c12345"}),
            "spec.vpc_id",
            vec![vpc, "; subnet-07e56cb8d19c12345 is the id of a subnet"],
        ),
        (
            json!({"subnet_ids": ["subnet-07e56cb8d19c12345", "eu-central-1a"]}),
            "spec.subnet_ids[1]",
            vec![subnet, "; eu-central-1a is a zone"],
        ),
        (
            json!({"subnet_ids": ["vpc-01393d9ccb6d12345"]}),
            "spec.subnet_ids[0]",
            vec![subnet, "; vpc-01393d9ccb6d12345 is the id of a VPC"],
        ),
        (
            json!({"security_group_type": "provided", "security_group_ids": ["default"]}),
            "spec.security_group_ids[0]",
            vec![group],
        ),
        (json!({"region": "Oregon"}), "spec.region", vec![region]),
        (
            json!({"region": "us-west-2b"}),
            "spec.region",
            vec![region, "; us-west-2b is a zone"],
        ),
        (
            json!({"vpc_endpoint_service_id": "S3"}),
            "spec.vpc_endpoint_service_id",
            vec![service],
        ),
        (
            json!({"vpc_endpoint_service_id": "api.example.com"}),
            "spec.vpc_endpoint_service_id",
            vec![
                service,
                "; api.example.com is a host name: ask who offers the service for its service name",
            ],
        ),
        (
            json!({"vpc_endpoint_service_id": "vpce-0d1e2f3a4b5c60718"}),
            "spec.vpc_endpoint_service_id",
            vec![service],
        ),
    ] {
        refused(&spec(changes), &[&[field], &says[..]].concat());
    }
    // The services of other partitions, and those that AWS names in its own way.
    for name in [
        "com.amazonaws.us-west-2.s3",
        "com.amazonaws.s3-global.accesspoint",
        "aws.sagemaker.us-west-2.notebook",
        "cn.com.amazonaws.vpce.cn-north-1.vpce-svc-0abc437c186123456",
        "vpce-svc-0abc437c186123456",
    ] {
        accepted(&spec(json!({"vpc_endpoint_service_id": name})));
    }
}

#[test]
fn an_endpoint_needs_a_subnet() {
    for (none, says) in [
        (Value::Null, "Required value"),
        (json!([]), "should have at least 1 items"),
    ] {
        let says = ["spec.subnet_ids", says];
        let without = spec(json!({"subnet_ids": none}));
        refused(&without, &says);
        let (cluster, namespace) = namespace();
        let collection = cluster::endpoints(namespace);
        let name = id("has-one");
        let there = cluster.create(&collection, &endpoint(namespace, &name, &spec(json!({}))), Run::Real);
        there.expect("accepted");
        let edited = cluster.set_spec(&format!("{collection}/{name}"), &without, Run::Dry);
        expect_refusal(edited, &without, &says);
    }
}

#[test]
fn an_unknown_enum_value_is_refused_with_those_that_are_known() {
    for (changes, says) in [
        (
            json!({"security_group_type": "open"}),
            ["spec.security_group_type", r#""generated", "provided", "custom""#],
        ),
        (
            json!({"deletion_policy": "Keep"}),
            ["spec.deletion_policy", r#""Delete", "Retain""#],
        ),
        (
            json!({"service": {"type": "LoadBalancer"}}),
            ["spec.service.type", r#""ExternalName", "Headless", "None""#],
        ),
        (
            json!({"service": {"ports": [{"port": 53, "protocol": "SCTP"}]}}),
            ["spec.service.ports[0].protocol", r#""TCP", "UDP""#],
        ),
    ] {
        refused(&spec(changes), &says);
    }
}

#[test]
fn a_service_is_named_by_its_id_or_by_its_object() {
    let reference = json!({"vpc_endpoint_service_ref": {"name": "db"}});
    refused(
        &spec(reference.clone()),
        &["takes the place of vpc_endpoint_service_id"],
    );
    let by_object = |changes: Value| {
        let both = spec(merged(reference.clone(), changes));
        merged(both, json!({"vpc_endpoint_service_id": null}))
    };
    accepted(&by_object(json!({})));
    let gateway = merged(
        by_object(json!({"vpc_endpoint_type": "Gateway"})),
        json!({"security_group_type": null}),
    );
    let gateway = merged(gateway, json!({"subnet_ids": null}));
    refused(&gateway, &["for endpoints of type Interface and GatewayLoadBalancer"]);
}

#[test]
fn an_unknown_field_is_refused_under_strict_validation() {
    for (changes, field) in [
        (json!({"subnets": []}), "spec.subnets"),
        (json!({"service": {"headless": true}}), "spec.service.headless"),
    ] {
        refused(&spec(changes), &[&format!(r#"unknown field "{field}""#)]);
    }
    refused(
        &with_rule(json!({"cidr_block": "10.0.0.0/8"})),
        &[r#"unknown field "spec.security_group_ingress[0].cidr_block""#],
    );
}

#[test]
fn what_an_endpoint_cannot_be_made_without_is_required() {
    for field in ["vpc_endpoint_service_id", "subnet_ids"] {
        refused(
            &spec(json!({field: null})),
            &[&format!("spec.{field}"), "Required value"],
        );
    }
    refused(&json!({}), &["spec.vpc_endpoint_service_id"]);
    // The AWSAccount may have a network.
    accepted(&json!({"vpc_endpoint_service_id": "ecr.api"}));
    accepted(&spec(json!({"security_group_type": null})));
    let rule =
        spec(json!({"security_group_type": "custom", "security_group_ingress": [{"cidr_blocks": ["10.0.0.0/8"]}]}));
    refused(&rule, &["spec.security_group_ingress[0].protocol", "Required value"]);
    refused(
        &spec(json!({"vpc_endpoint_service_id": ""})),
        &["spec.vpc_endpoint_service_id"],
    );
}

#[test]
fn groups_and_rules_go_with_the_type_that_uses_them() {
    let (group, rule) = (
        "sg-0142d2a79ee273c19",
        json!({"protocol": "-1", "cidr_blocks": ["10.0.0.0/8"]}),
    );
    // As the original does; they are ignored.
    accepted(&spec(json!({"security_group_ids": [group]})));
    accepted(&spec(
        json!({"security_group_type": "provided", "security_group_ids": [group]}),
    ));
    accepted(&spec(
        json!({"security_group_type": "custom", "security_group_ingress": [rule], "security_group_egress": []}),
    ));
    accepted(&spec(json!({"security_group_type": "custom"})));

    let needs = "security_group_type provided needs security_group_ids";
    refused(
        &spec(json!({"security_group_type": "provided"})),
        &["spec.security_group_ids", needs],
    );
    refused(
        &spec(json!({"security_group_type": "provided", "security_group_ids": []})),
        &[needs],
    );
    refused(
        &spec(json!({"security_group_type": "custom", "security_group_ids": [group]})),
        &[
            "spec.security_group_ids",
            "go with security_group_type provided, not with custom",
        ],
    );
    for kind in ["generated", "provided"] {
        for rules in ["security_group_ingress", "security_group_egress"] {
            for value in [json!([rule]), json!([])] {
                let changes = json!({"security_group_type": kind, "security_group_ids": [group], rules: value});
                refused(
                    &spec(changes),
                    &["security_group_ingress and security_group_egress go with security_group_type custom only"],
                );
            }
        }
    }
}

#[test]
fn rules_in_every_form_that_ec2_knows_are_accepted() {
    for changes in [
        json!({"protocol": "udp"}),
        json!({"protocol": 6}),
        json!({"protocol": "6"}),
        json!({"protocol": "50", "from_port": null, "to_port": null}),
        json!({"protocol": -1, "from_port": 0, "to_port": 0}),
        json!({"protocol": "-1", "from_port": null, "to_port": null}),
        json!({"protocol": "icmp", "from_port": 8, "to_port": 0}),
        json!({"protocol": 1, "from_port": 8, "to_port": -1}),
        json!({"protocol": "icmpv6", "from_port": -1, "to_port": -1, "cidr_blocks": null, "ipv6_cidr_blocks": ["2001:db8::/32", "::/0"]}),
        json!({"from_port": 0, "to_port": 65535, "cidr_blocks": ["0.0.0.0/0", "10.1.2.3/32"]}),
        json!({"cidr_blocks": null, "prefix_list_ids": ["pl-63a5400a"]}),
        json!({"cidr_blocks": null, "security_group_ids": ["sg-0142d2a79ee273c19"], "description": "clients (blue)"}),
    ] {
        accepted(&with_rule(changes));
    }
}

#[test]
fn a_rule_that_ec2_would_not_take_is_refused() {
    let ingress = "spec.security_group_ingress[0]";
    for (changes, says) in [
        (
            json!({"cidr_blocks": ["10.0.0.0"]}),
            "cidr_blocks is an IPv4 CIDR block such as 10.0.0.0/16",
        ),
        (
            json!({"cidr_blocks": ["10.0.0.0/33"]}),
            "cidr_blocks is an IPv4 CIDR block",
        ),
        (
            json!({"cidr_blocks": ["10.0.0.256/16"]}),
            "cidr_blocks is an IPv4 CIDR block",
        ),
        (
            json!({"cidr_blocks": ["10.0.0.0/8", "everywhere"]}),
            "cidr_blocks is an IPv4 CIDR block",
        ),
        (
            json!({"cidr_blocks": ["2001:db8::/32"]}),
            "cidr_blocks is an IPv4 CIDR block",
        ),
        (json!({"cidr_blocks": [""]}), "cidr_blocks is an IPv4 CIDR block"),
        (
            json!({"ipv6_cidr_blocks": ["10.0.0.0/8"]}),
            "ipv6_cidr_blocks is an IPv6 CIDR block such as 2001:db8::/32",
        ),
        (json!({"from_port": 444}), "from_port must not be greater than to_port"),
        (json!({"from_port": null}), "from_port and to_port go together"),
        (json!({"to_port": null}), "from_port and to_port go together"),
        (json!({"to_port": 65536}), "to_port"),
        (
            json!({"protocol": "gre"}),
            "protocol is tcp, udp, icmp, icmpv6, a protocol number from 0 to 255, or -1 for all",
        ),
        (json!({"protocol": "TCP "}), "protocol is tcp, udp"),
        (json!({"protocol": "256"}), "protocol is tcp, udp"),
        (json!({"protocol": 256}), "protocol is tcp, udp"),
        (json!({"protocol": -2}), "protocol is tcp, udp"),
        (json!({"protocol": true}), "protocol"),
        (
            json!({"cidr_blocks": null}),
            "a rule names at least one of cidr_blocks, ipv6_cidr_blocks, prefix_list_ids, security_group_ids",
        ),
        (json!({"cidr_blocks": []}), "a rule names at least one of cidr_blocks"),
        (json!({"security_group_ids": ["default"]}), "security_group_ids[0]"),
        (json!({"prefix_list_ids": ["s3"]}), "prefix_list_ids[0]"),
        (json!({"description": "line\nbreak"}), "description"),
        (json!({"description": "x".repeat(256)}), "description"),
    ] {
        refused(&with_rule(changes), &[ingress, says]);
    }
    let egress =
        json!({"security_group_type": "custom", "security_group_egress": [{"protocol": "-1", "cidr_blocks": ["all"]}]});
    refused(
        &spec(egress),
        &["spec.security_group_egress[0]", "cidr_blocks is an IPv4 CIDR block"],
    );
}

#[test]
fn a_name_that_cannot_name_a_service_needs_a_service_that_has_one_or_none() {
    let long = "a".repeat(64);
    for name in ["orders.api", "1st", &long] {
        for service in [Value::Null, json!({}), json!({"type": "ExternalName"})] {
            let spec = spec(json!({"service": service}));
            expect_refusal(
                check(name, &spec),
                &json!(name),
                &[
                    "metadata.name cannot name a Service",
                    "set spec.service.name, or spec.service.type None",
                ],
            );
        }
        for service in [json!({"name": "orders"}), json!({"type": "None"})] {
            let spec = spec(json!({"service": service}));
            check(name, &spec).unwrap_or_else(|refusal| panic!("{name} {service}: {}", refusal.message));
        }
    }
    check(&long[..63], &spec(json!({}))).expect("63 characters name a Service");
}

#[test]
fn ports_of_the_service_stand_there_once_and_have_names() {
    let ports = |ports: Value| spec(json!({"service": {"ports": ports}}));
    accepted(&ports(json!([{"port": 443}])));
    accepted(&ports(
        json!([{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]),
    ));
    refused(
        &ports(json!([{"port": 1}, {"port": 2}])),
        &["spec.service.ports", "each needs a name"],
    );
    refused(
        &ports(json!([{"name": "a", "port": 1}, {"name": "b", "port": 1}])),
        &[
            "spec.service.ports",
            "each combination of port and protocol must be unique",
        ],
    );
}

#[test]
fn tags_keep_to_what_is_theirs() {
    let many = |count: usize| {
        (0..count)
            .map(|i| (format!("tag-{i}"), json!("x")))
            .collect::<serde_json::Map<_, _>>()
    };
    accepted(&spec(
        json!({"tags": {"Name": "mine", "team/owner": "blue team", "empty": "", "awsome": "x"}}),
    ));
    accepted(&spec(json!({"tags": {"k".repeat(128): "v".repeat(256)}})));
    accepted(&spec(json!({"tags": many(40)})));

    let reserved = r#"start neither with "aws:" nor with "silvermullet.com/", which are reserved"#;
    for key in [
        "silvermullet.com/cluster",
        "silvermullet.com/name",
        "aws:cloudformation:stack-name",
    ] {
        refused(&spec(json!({"tags": {key: "x"}})), &["spec.tags", reserved]);
    }
    refused(&spec(json!({"tags": {"": "x"}})), &["spec.tags", "1 to 128 characters"]);
    refused(
        &spec(json!({"tags": {"k".repeat(129): "x"}})),
        &["spec.tags", "1 to 128 characters"],
    );
    refused(
        &spec(json!({"tags": {"key": "v".repeat(257)}})),
        &["spec.tags", "at most 256 characters"],
    );
    refused(&spec(json!({"tags": many(41)})), &["spec.tags", "must have at most 40"]);
}

#[test]
fn huge_and_hostile_input_is_refused_as_any_other() {
    let subnets: Vec<String> = (0..10_000).map(|i| format!("subnet-{i:017x}")).collect();
    refused(
        &spec(json!({"subnet_ids": subnets})),
        &["spec.subnet_ids", "must have at most 16 items"],
    );
    let rule = json!({"protocol": "-1", "cidr_blocks": ["10.0.0.0/8"]});
    let rules = vec![rule; 10_000];
    refused(
        &spec(json!({"security_group_type": "custom", "security_group_ingress": rules})),
        &["spec.security_group_ingress", "must have at most 60 items"],
    );
    refused(
        &with_rule(json!({"cidr_blocks": vec!["10.0.0.0/8"; 10_000]})),
        &["cidr_blocks", "must have at most 60 items"],
    );
    for hostile in [
        "vpc-01393d9ccb6d12345\n",
        "vpc-01393d9ccb6d12345\u{0}",
        "vpc-0139３d9ccb6d12345",
        "vpc-01393d9ccb6d12345&Action=DeleteVpcEndpoints",
        "${jndi:ldap://x}",
        "'; DROP TABLE endpoints; --",
    ] {
        for field in ["vpc_id", "vpc_endpoint_service_id", "region"] {
            refused(&spec(json!({field: hostile})), &[&format!("spec.{field}")]);
        }
        refused(&spec(json!({"subnet_ids": [hostile]})), &["spec.subnet_ids[0]"]);
    }
    let megabyte = "é".repeat(500_000);
    for field in ["vpc_id", "region", "vpc_endpoint_service_id", "account"] {
        refused(&spec(json!({field: megabyte})), &[&format!("spec.{field}"), "Too long"]);
    }
    refused(&spec(json!({"tags": {"key": megabyte}})), &["spec.tags"]);
    refused(
        &with_rule(json!({"description": megabyte})),
        &["description", "Too long"],
    );
}

/// Edits of what AWS fixes at creation, and how each is refused once there is an endpoint.
fn fixed_edits() -> [(Value, [&'static str; 2]); 4] {
    [
        (
            json!({"vpc_id": "vpc-0aaaaaaaaaaaaaaaa"}),
            [
                "vpc_id stays vpc-01393d9ccb6d12345: endpoint vpce-1 is there",
                "apply another object",
            ],
        ),
        (
            json!({"vpc_endpoint_service_id": "vpce-svc-0aaaaaaaaaaaaaaaa"}),
            [
                "vpc_endpoint_service_id stays com.amazonaws.vpce.us-west-2.vpce-svc-0abc437c186123456",
                "apply another object",
            ],
        ),
        (
            json!({"region": "us-east-1"}),
            ["region stays us-west-2", "or leave it out"],
        ),
        (
            json!({"account": "analytics"}),
            ["account stays payments", "or leave it out"],
        ),
    ]
}

/// Edits that leave what AWS fixes as it is, some in other words.
fn free_edits() -> [Value; 6] {
    [
        json!({"vpc_endpoint_service_id": "vpce-svc-0abc437c186123456"}),
        json!({"region": null}),
        json!({"account": null}),
        json!({"subnet_ids": ["subnet-0aaaaaaaaaaaaaaaa"], "tags": {"a": "b"}, "deletion_policy": "Retain"}),
        json!({"security_group_type": "provided", "security_group_ids": ["sg-0142d2a79ee273c19"]}),
        json!({"service": {"type": "None"}}),
    ]
}

/// The status of an object whose endpoint exists.
fn bound_status() -> Value {
    json!({
        "vpc_endpoint_id": "vpce-1", "account": {"name": "payments", "account_id": "111122223333"}, "region": "us-west-2",
        "network": {"vpc_id": "vpc-01393d9ccb6d12345", "subnet_ids": []},
        "vpc_endpoint_service_id": "com.amazonaws.vpce.us-west-2.vpce-svc-0abc437c186123456",
    })
}

/// A VPCEndpoint whose status a test writes, as the operator would.
struct Edited {
    cluster: &'static Cluster,
    path: String,
    /// The spec that it was created with.
    created: Value,
}

impl Edited {
    fn create(name: &str, spec: Value) -> Self {
        let (cluster, namespace) = namespace();
        let collection = cluster::endpoints(namespace);
        let created = cluster.create(&collection, &endpoint(namespace, name, &spec), Run::Real);
        created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        Self {
            cluster,
            path: format!("{collection}/{name}"),
            created: spec,
        }
    }

    #[track_caller]
    fn write_status(&self, status: &Value) {
        let path = format!("{}/status", self.path);
        let written = self.cluster.merge(&path, &json!({"status": status}));
        written.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }

    #[track_caller]
    fn is_accepted(&self, changes: &Value, run: Run) {
        let spec = merged(self.created.clone(), changes.clone());
        let edited = self.cluster.set_spec(&self.path, &spec, run);
        edited.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }

    #[track_caller]
    fn is_refused(&self, changes: &Value, says: &[&str]) {
        let spec = merged(self.created.clone(), changes.clone());
        expect_refusal(self.cluster.set_spec(&self.path, &spec, Run::Dry), &spec, says);
    }
}

#[test]
fn what_aws_fixes_can_be_edited_until_there_is_an_endpoint_and_is_bound_from_then_on() {
    let (edits, same, bound) = (fixed_edits(), free_edits(), bound_status());
    let named = spec(json!({"account": "payments"}));
    // Before each edit the spec is as it was created; or it was edited to something else before
    // there was an endpoint.
    let before = [json!({})];
    let before = before.iter().chain(edits.iter().map(|(changes, _)| changes));
    for (number, elsewhere) in before.enumerate() {
        let object = Edited::create(&format!("fixed-{number}"), named.clone());
        for status in [json!({}), merged(bound.clone(), json!({"vpc_endpoint_id": null}))] {
            object.write_status(&status);
            for changes in edits.iter().map(|(changes, _)| changes).chain(&same) {
                object.is_accepted(changes, Run::Dry);
            }
        }
        object.is_accepted(elsewhere, Run::Real); // there is no endpoint yet
        object.write_status(&bound);
        for (changes, says) in edits.iter().filter(|(changes, _)| changes != elsewhere) {
            object.is_refused(changes, says);
        }
        // What the endpoint has is always accepted, and what is not changed keeps nothing else
        // from being written.
        for changes in [json!({})].iter().chain(&same) {
            object.is_accepted(changes, Run::Dry);
        }
        object.is_accepted(&merged(elsewhere.clone(), json!({"tags": {"a": "b"}})), Run::Real);
        let annotated = json!({"metadata": {"annotations": {"a": "b"}, "finalizers": ["example.com/test"]}});
        let written = object.cluster.merge(&object.path, &annotated);
        written.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        object.write_status(&json!({"state": "available"}));
        object.is_accepted(&json!({}), Run::Real);
        let removed = json!({"metadata": {"finalizers": null}});
        object.cluster.merge(&object.path, &removed).expect("it may go");
        // An explicit null is the same as leaving a field out.
        for field in ["region", "account"] {
            let mut null = named.clone();
            null[field] = Value::Null;
            let set = object.cluster.set_spec(&object.path, &null, Run::Dry);
            set.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        }
    }
}

#[test]
fn what_aws_fixes_is_bound_where_the_status_has_nothing_but_the_endpoints_id() {
    let object = Edited::create("fixed-unknown", spec(json!({"account": "payments"})));
    object.write_status(&json!({"vpc_endpoint_id": "vpce-1"}));
    for (changes, _) in &fixed_edits() {
        object.is_refused(changes, &["cannot change once status.vpc_endpoint_id is there"]);
    }
}

/// Tries to create an AWSAccount with these changes of its spec; returns it, too.
fn create_account(changes: Value) -> (Result<Value, Refusal>, Value) {
    let spec = merged(json!({"role_arn": "arn:aws:iam::111122223333:role/vpce"}), changes);
    let account = json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": id("account")}, "spec": spec,
    });
    (World::shared().cluster.create(ACCOUNTS, &account, Run::Dry), account)
}

/// Expects of each change that it is refused with these words.
#[track_caller]
fn accounts_are_refused<const N: usize>(cases: [(Value, [&str; 2]); N]) {
    for (changes, says) in cases {
        let (result, account) = create_account(changes);
        expect_refusal(result, &account, &says);
    }
}

#[test]
fn an_account_may_have_all_that_iam_and_sts_allow() {
    for changes in [
        json!({"role_arn": "arn:aws-us-gov:iam::111122223333:role/a/b/c+d=e,f.g@h_i-j"}),
        json!({"external_id": "a:b/c-d=e,f@g.h+i_j", "session_duration_seconds": 900}),
        json!({"session_duration_seconds": 43200, "namespaces": ["a", "b"], "namespace_selector": {"matchLabels": {"team": "blue"}}}),
        json!({"default_region": "us-gov-west-1", "default_tags": {"team": "blue"}, "namespace_selector": {}}),
        json!({
            "allow_endpoint_services": true, "allow_any_principal": true,
            "allowed_load_balancer_arns": ["arn:aws:elasticloadbalancing:*:111122223333:loadbalancer/net/*"],
        }),
    ] {
        let (result, _) = create_account(changes);
        result.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }
}

#[test]
fn an_account_with_an_invalid_role_is_refused() {
    let role = "must be the ARN of an IAM role such as arn:aws:iam::111122223333:role/vpce-operator";
    accounts_are_refused([
        (json!({"role_arn": null}), ["spec.role_arn", "Required value"]),
        (json!({"role_arn": "vpce"}), ["spec.role_arn", role]),
        (
            json!({"role_arn": "111122223333"}),
            ["spec.role_arn", "; 111122223333 is an AWS account id"],
        ),
        (
            json!({"role_arn": "arn:aws:iam::1111:role/vpce"}),
            ["spec.role_arn", "; an AWS account id has 12 digits"],
        ),
        (
            json!({"role_arn": "arn:aws:iam::111122223333:user/vpce"}),
            ["spec.role_arn", "; what it names is no role"],
        ),
        (
            json!({"role_arn": "arn:aws:sts::111122223333:assumed-role/vpce/session"}),
            ["spec.role_arn", "names is a session of a role"],
        ),
        (
            json!({"role_arn": "arn:aws:iam::111122223333:role/"}),
            ["spec.role_arn", role],
        ),
        (
            json!({"role_arn": "arn:aws:iam::111122223333:role/x\n"}),
            ["spec.role_arn", role],
        ),
    ]);
}

#[test]
fn an_account_with_an_invalid_session_is_refused() {
    accounts_are_refused([
        (json!({"external_id": "x"}), ["spec.external_id", "at least 2 chars"]),
        (
            json!({"external_id": "with space"}),
            ["spec.external_id", "must be an external id as STS takes it"],
        ),
        (
            json!({"external_id": "x".repeat(1225)}),
            ["spec.external_id", "Too long"],
        ),
        (
            json!({"session_duration_seconds": 899}),
            ["spec.session_duration_seconds", "greater than or equal to 900"],
        ),
        (
            json!({"session_duration_seconds": 43201}),
            ["spec.session_duration_seconds", "less than or equal to 43200"],
        ),
        (
            json!({"session_duration_seconds": "1h"}),
            ["spec.session_duration_seconds", "must be of type integer"],
        ),
    ]);
}

#[test]
fn an_account_with_invalid_namespaces_guardrails_or_tags_is_refused() {
    accounts_are_refused([
        (
            json!({"namespaces": ["Team Blue"]}),
            ["spec.namespaces[0]", "must be the name of a namespace"],
        ),
        (
            json!({"namespace_selector": {"matchLabels": "team"}}),
            ["spec.namespace_selector.matchLabels", "must be of type object"],
        ),
        (
            json!({"default_region": "oregon"}),
            ["spec.default_region", "must be a region such as eu-central-1"],
        ),
        (
            json!({"allowed_regions": ["eu-west-1", "eu-west-1a"]}),
            ["spec.allowed_regions[1]", "; eu-west-1a is a zone"],
        ),
        (
            json!({"allowed_vpc_ids": ["main"]}),
            [
                "spec.allowed_vpc_ids[0]",
                "must be a VPC id such as vpc-0d1e2f3a4b5c60718",
            ],
        ),
        (
            json!({"allowed_subnet_ids": ["eu-west-1a"]}),
            ["spec.allowed_subnet_ids[0]", "; eu-west-1a is a zone"],
        ),
        (
            json!({"allowed_security_group_ids": ["default"]}),
            [
                "spec.allowed_security_group_ids[0]",
                "must be a security group id such as sg-0d1e2f3a4b5c60718",
            ],
        ),
        (
            json!({"allowed_services": ["https://x"]}),
            ["spec.allowed_services[0]", "must be a pattern over full service names"],
        ),
        (
            json!({"allowed_load_balancer_arns": [""]}),
            ["spec.allowed_load_balancer_arns[0]", "at least 1 chars long"],
        ),
        (
            json!({"allow_endpoint_services": "yes"}),
            ["spec.allow_endpoint_services", "must be of type boolean"],
        ),
        (
            json!({"default_tags": {"silvermullet.com/uid": "x"}}),
            ["spec.default_tags", "which are reserved"],
        ),
        (
            json!({"default_tags": {"aws:x": "x"}}),
            ["spec.default_tags", "which are reserved"],
        ),
        (json!({"suspend": true}), ["unknown field", "spec.suspend"]),
    ]);
}

#[test]
fn an_account_keeps_partition_and_number_and_may_take_another_role() {
    let cluster = &World::shared().cluster;
    let name = id("account");
    let account = json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": name},
        "spec": {"role_arn": "arn:aws:iam::111122223333:role/vpce", "external_id": "secret"},
    });
    cluster.create(ACCOUNTS, &account, Run::Real).expect("accepted");
    let edit = |role: &str| cluster.set_spec(&format!("{ACCOUNTS}/{name}"), &json!({"role_arn": role}), Run::Dry);
    edit("arn:aws:iam::111122223333:role/path/other").expect("another role of the same account");
    for role in [
        "arn:aws:iam::444455556666:role/vpce",
        "arn:aws-cn:iam::111122223333:role/vpce",
    ] {
        expect_refusal(
            edit(role),
            &json!(role),
            &[
                "role_arn",
                "the partition and the account of role_arn cannot change",
                "register the other account as an AWSAccount of its own",
            ],
        );
    }
}

#[test]
fn kubectl_applies_every_example_and_prints_what_is_wrong_with_a_manifest() {
    let plane = &World::shared().cluster.plane;
    let root = env!("CARGO_MANIFEST_DIR");
    // Those of the examples, and `default` is there.
    for namespace in ["external", "blue", "green", "payments", "checkout", "analytics"] {
        namespace_for_examples(namespace);
    }
    for folder in ["examples", "examples/seed", "examples/demo"] {
        let folder = format!("{root}/{folder}");
        let output = plane.kubectl(&["apply", "--dry-run=server", "--validate=strict", "--filename", &folder]);
        output
            .expect("kubectl runs")
            .success()
            .expect("every example is accepted");
    }

    let seed = std::fs::read_to_string(format!(
        "{root}/examples/seed/vpce-generic-generated-security-group.yaml"
    ));
    let typo = seed.expect("a seed manifest").replace("subnet_ids:", "subnet_id:");
    let output = plane.apply(&typo).expect("kubectl runs");
    assert!(!output.status.success());
    assert!(
        output.stderr.contains(r#"unknown field "spec.subnet_id""#),
        "{}",
        output.stderr
    );

    let explained = plane
        .kubectl(&["explain", "vpce.spec.security_group_type"])
        .expect("kubectl runs");
    let explained = explained.success().expect("explained");
    assert!(
        explained.contains("ENUM:") && explained.contains("Who may connect"),
        "{explained}"
    );
}

/// The examples are only checked, but kubectl asks for their namespaces.
fn namespace_for_examples(name: &str) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    match World::shared()
        .cluster
        .create(cluster::NAMESPACES, &namespace, Run::Real)
    {
        Err(refusal) if refusal.code != 409 => panic!("{}", refusal.message),
        _ => {}
    }
}

#[test]
fn the_crds_are_established_and_structural() {
    let cluster = &World::shared().cluster;
    for plural in ["vpcendpoints", "vpcendpointservices", "awsaccounts"] {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.silvermullet.com");
        let crd = cluster.get(&path).expect("installed");
        let conditions = crd["status"]["conditions"].as_array().expect("conditions");
        let holds = |kind: &str| {
            conditions
                .iter()
                .any(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        assert!(holds("Established") && holds("NamesAccepted"), "{conditions:?}");
        assert!(!holds("NonStructuralSchema"), "{conditions:?}");
    }
}
