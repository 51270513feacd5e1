//! Egress in a VPC with IPv6: EC2 opens a new group's for both families, and what the spec says
//! holds for both.

use serde_json::{Value, json};
use vpce_testbed::aws::RuleView;

use crate::tenant::Tenant;
use crate::world::World;

const IPV4: &str = "0.0.0.0/0";
const IPV6: &str = "::/0";

/// A tenant whose VPC has an IPv6 block.
fn with_ipv6(name: &str) -> Tenant<'static> {
    let mut tenant = World::shared().tenant(name);
    tenant.vpc = crate::world::id("vpc");
    let (account, region) = (&tenant.account_id, &tenant.region);
    let aws = &tenant.world.aws;
    aws.add_vpc_with_ipv6(account, region, &tenant.vpc, "10.1.0.0/16", "2001:db8:1::/56")
        .expect("a VPC");
    tenant.subnets = ["a", "b", "c"].map(|zone| tenant.add_subnet(zone)).into();
    tenant
}

fn custom(tenant: &Tenant<'_>, egress: Value) -> Value {
    let ingress = json!([{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.0.0.0/8"]}]);
    tenant.spec(json!({
        "security_group_type": "custom", "security_group_ingress": ingress, "security_group_egress": egress,
    }))
}

/// Where everything may leave to.
fn open_to(tenant: &Tenant<'_>) -> Vec<String> {
    let groups = tenant.groups();
    let [group] = &groups[..] else {
        panic!("one group: {groups:?}");
    };
    let mut open: Vec<String> = group
        .egress
        .iter()
        .map(|rule| {
            assert_eq!(*rule, RuleView::new("-1", None, &rule.peer));
            rule.peer.clone()
        })
        .collect();
    open.sort();
    open
}

/// Waits until the operator has read the group at least twice from now on, so that what it made has
/// settled.
fn read_again(tenant: &Tenant<'_>) {
    let reads = || {
        let calls = tenant.calls();
        calls
            .iter()
            .filter(|call| call.action == "DescribeSecurityGroups")
            .count()
    };
    let before = reads();
    tenant.eventually("api", "its group is read again", || {
        (reads() >= before + 2).then_some(())
    });
}

/// It stays Ready with this egress, and no event reports drift.
#[track_caller]
fn stays(tenant: &Tenant<'_>, egress: &[&str]) {
    let writes = tenant.writes();
    read_again(tenant);
    tenant.ready("api");
    assert_eq!(open_to(tenant), egress);
    assert_eq!(tenant.writes(), writes);
    let events = tenant.events("api");
    assert!(
        !events.iter().any(|event| event.contains("DriftRepaired")),
        "{events:?}"
    );
}

#[test]
fn closed_egress_is_closed_for_both_families_before_the_endpoint_is_ready() {
    let tenant = with_ipv6("egress-closed");
    tenant.apply("api", custom(&tenant, json!([])));
    tenant.ready("api");
    assert_eq!(open_to(&tenant), [""; 0]);
    stays(&tenant, &[]);
}

#[test]
fn egress_that_names_one_family_is_closed_for_the_other() {
    let tenant = with_ipv6("egress-one");
    let rules = |block: &str, cidr: &str| json!([{"protocol": "-1", block: [cidr]}]);
    tenant.apply("api", custom(&tenant, rules("cidr_blocks", IPV4)));
    tenant.ready("api");
    assert_eq!(open_to(&tenant), [IPV4]);
    tenant.apply("api", custom(&tenant, rules("ipv6_cidr_blocks", IPV6)));
    tenant.ready("api");
    assert_eq!(open_to(&tenant), [IPV6]);
    stays(&tenant, &[IPV6]);
}

#[test]
fn open_egress_is_left_open_for_both_families() {
    for kind in ["generated", "custom"] {
        let tenant = with_ipv6("egress-open");
        tenant.apply("api", tenant.spec(json!({"security_group_type": kind})));
        tenant.ready("api");
        stays(&tenant, &[IPV4, IPV6]);
        assert!(
            !tenant.writes().iter().any(|action| action.ends_with("Egress")),
            "{kind}"
        );
    }
}

#[test]
fn what_is_given_for_ipv6_is_there_whether_ec2_gave_it_or_not() {
    let both = json!([{"protocol": "-1", "cidr_blocks": [IPV4], "ipv6_cidr_blocks": [IPV6]}]);
    for tenant in [with_ipv6("egress-both"), World::shared().tenant("egress-added")] {
        tenant.apply("api", custom(&tenant, both.clone()));
        tenant.ready("api");
        assert_eq!(open_to(&tenant), [IPV4, IPV6]);
        stays(&tenant, &[IPV4, IPV6]);
    }
}

#[test]
fn where_there_is_no_ipv6_closing_egress_is_done_when_ec2_says_that_there_is_no_such_rule() {
    let tenant = World::shared().tenant("egress-ipv4");
    tenant.apply("api", custom(&tenant, json!([])));
    tenant.ready("api");
    assert_eq!(open_to(&tenant), [""; 0]);
    let calls = tenant.calls();
    let revocations = calls.iter().filter(|call| call.action == "RevokeSecurityGroupEgress");
    let mut results: Vec<&str> = revocations.map(|call| call.result.as_str()).collect();
    results.sort_unstable();
    assert_eq!(results, ["InvalidPermission.NotFound", "ok"]);
    stays(&tenant, &[]);
}
