//! Addresses that the user chooses for network interfaces: `subnet_configurations`.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::tenant::Tenant;
use crate::world::{World, id};

fn one(subnet: &str, ipv4: &str) -> Value {
    json!({"subnet_id": subnet, "ipv4": ipv4})
}

fn with(tenant: &Tenant<'_>, configurations: &[Value]) -> Value {
    tenant.spec(json!({"subnet_configurations": configurations}))
}

fn address(tenant: &Tenant<'_>, subnet: &str) -> Vec<IpAddr> {
    tenant.endpoints()[0].addresses.get(subnet).cloned().unwrap_or_default()
}

/// An address of the tenant's subnet, by its last part.
fn free(tenant: &Tenant<'_>, subnet: &str, last: u8) -> String {
    let IpAddr::V4(there) = address(tenant, subnet)[0] else {
        panic!("an IPv4 address");
    };
    let [a, b, c, _] = there.octets();
    format!("{a}.{b}.{c}.{last}")
}

/// The tenant's first two subnets, and an address for each.
fn addressed(tenant: &Tenant<'_>) -> [(String, String); 2] {
    tenant.apply("probe", tenant.spec(json!({})));
    tenant.ready("probe");
    let of = |subnet: &String| (subnet.clone(), free(tenant, subnet, 77));
    let both = [of(&tenant.subnets[0]), of(&tenant.subnets[1])];
    tenant.delete("probe");
    tenant.gone("probe");
    both
}

#[test]
fn addresses_are_in_the_create_call_and_only_those_that_differ_are_sent_again() {
    let tenant = World::shared().tenant("addresses");
    let [(one_id, one_ip), (two_id, two_ip)] = addressed(&tenant);
    let before = tenant.writes().len();
    tenant.apply("api", with(&tenant, &[one(&one_id, &one_ip)]));
    let object = tenant.ready("api");
    assert_eq!(
        tenant.writes()[before..],
        [
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "CreateVpcEndpoint"
        ]
    );
    assert_eq!(
        address(&tenant, &one_id),
        [one_ip.parse::<IpAddr>().expect("an address")]
    );
    assert_eq!(
        object["status"]["subnet_configurations"],
        json!([one(&one_id, &one_ip)])
    );

    // The one that is there already is not sent again: AWS would replace its network interface.
    let interface = |subnet: &str| address(&tenant, subnet);
    let before = tenant.writes().len();
    tenant.apply("api", with(&tenant, &[one(&one_id, &one_ip), one(&two_id, &two_ip)]));
    tenant.ready("api");
    assert_eq!(tenant.writes()[before..], ["ModifyVpcEndpoint"]);
    let mut calls = tenant.calls();
    calls.retain(|call| call.action == "ModifyVpcEndpoint");
    let sent = calls.pop().expect("a call").params;
    assert_eq!(sent["SubnetConfiguration.1.SubnetId"], two_id);
    assert!(!sent.contains_key("SubnetConfiguration.2.SubnetId"), "{sent:?}");
    assert_eq!(interface(&two_id), [two_ip.parse::<IpAddr>().expect("an address")]);

    // Nothing is sent at the next resync, nor when the operator starts again, nor when entries are
    // taken away.
    let before = tenant.writes().len();
    tenant.merge(
        "api",
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
    );
    tenant.apply("api", tenant.spec(json!({"tags": {"a": "b"}})));
    tenant.ready("api");
    assert_eq!(tenant.writes()[before..], ["CreateTags", "CreateTags"]);
    assert_eq!(interface(&one_id), [one_ip.parse::<IpAddr>().expect("an address")]);
    tenant.eventually("api", "nothing is known to be chosen", || {
        tenant.get("api")?["status"]["subnet_configurations"]
            .is_null()
            .then_some(())
    });
    tenant.delete("api");
    tenant.gone("api");
}

#[test]
fn a_subnet_is_added_with_its_address() {
    let tenant = World::shared().tenant("addresses-added");
    let [(one_id, _), (two_id, two_ip)] = addressed(&tenant);
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [one_id]})));
    tenant.ready("api");
    let before = tenant.writes().len();
    tenant.apply("api", with(&tenant, &[one(&two_id, &two_ip)]));
    tenant.ready("api");
    assert_eq!(tenant.writes()[before..], ["ModifyVpcEndpoint"]);
    assert_eq!(
        address(&tenant, &two_id),
        [two_ip.parse::<IpAddr>().expect("an address")]
    );
}

#[test]
fn addresses_that_aws_cannot_give_are_told_in_its_words() {
    let tenant = World::shared().tenant("addresses-refused");
    let [(one_id, one_ip), _] = addressed(&tenant);
    tenant.apply("holder", with(&tenant, &[one(&one_id, &one_ip)]));
    tenant.ready("holder");
    let reserved = one_ip.replace(".77", ".1");
    for (name, ip, says) in [
        (
            "outside",
            "192.0.2.9",
            "does not fall within the subnet's address range",
        ),
        ("reserved", reserved.as_str(), "reserved address range"),
        ("taken", one_ip.as_str(), "is in use"),
    ] {
        tenant.apply(name, with(&tenant, &[one(&one_id, ip)]));
        tenant.eventually(name, "it says why", || {
            let ready = crate::world::condition(&tenant.get(name)?, "Ready")?;
            (!ready.status && ready.message.contains(says)).then_some(())
        });
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!(tenant.endpoints().len(), 1);
}

#[test]
fn what_can_be_told_before_any_call_is() {
    let tenant = World::shared().tenant("addresses-invalid");
    let subnet = &tenant.subnets[0];
    let dualstack = json!({"ip_address_type": "dualstack", "subnet_configurations": [one(subnet, "10.0.0.9")]});
    for (name, spec, says) in [
        (
            "another-subnet",
            with(&tenant, &[one(&id("subnet"), "10.0.0.9")]),
            "is not among subnet_ids",
        ),
        ("one-family", tenant.spec(dualstack), "needs ipv4 and ipv6"),
        (
            "numbers",
            with(&tenant, &[one(subnet, "10.0.0.900")]),
            "not an IPv4 address",
        ),
    ] {
        tenant.apply(name, spec);
        let message = tenant.not_ready(name, "InvalidSpec");
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(tenant.writes(), [""; 0]);
    for (changes, says) in [
        (
            json!({"subnet_configurations": [{"subnet_id": subnet}]}),
            "ipv4, ipv6 or both",
        ),
        (
            json!({"subnet_configurations": [one(subnet, "here")]}),
            "must be an IPv4 address such as",
        ),
        (
            json!({"subnet_configurations": [one(subnet, "10.0.0.9"), one(subnet, "10.0.0.8")]}),
            "each subnet has one entry",
        ),
        (
            json!({"subnet_configurations": [one(subnet, "10.0.0.9")], "vpc_endpoint_type": "GatewayLoadBalancer",
                   "subnet_ids": [subnet], "security_group_type": null}),
            "vpc_endpoint_type Interface only",
        ),
    ] {
        let refusal = tenant.try_apply("refused", tenant.spec(changes)).expect_err("refused");
        assert!(refusal.message.contains(says), "{}", refusal.message);
    }
}
