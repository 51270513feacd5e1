//! A user who may tag in an AWS account plants the operator's tags on another owner's resources: it
//! is neither changed nor deleted, whatever its type and VPC, before the object is Ready, after,
//! and when the object is deleted.
//!
//! The roles here may do everything in their AWS account: it is the operator that is tested, and
//! not IAM.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vpce_testbed::aws::{Direction, EndpointView, GroupView, RoleSpec, RuleView};

use crate::escapes::rest;
use crate::memory::{limited, serves};
use crate::orphans::orphans;
use crate::subcommand::words;
use crate::tenant::Tenant;
use crate::world::{World, id, text};

const STS: &str = "com.amazonaws.us-west-2.sts";
const S3: &str = "com.amazonaws.us-west-2.s3";

/// A tenant whose role may do everything.
fn unbound_tenant(name: &str) -> Tenant<'static> {
    let tenant = World::shared().unregistered_tenant(name);
    let open = RoleSpec {
        policy: None,
        ..tenant.world.role(&tenant.role_arn, None)
    };
    tenant.world.aws.set_role(&tenant.role_arn, open).expect("a role");
    // No other VPC than its own.
    tenant.register(json!({"allowed_vpc_ids": [tenant.vpc]}));
    tenant
}

/// What another owner has in the tenant's AWS account.
struct Strangers {
    /// In the tenant's VPC, and in another one.
    groups: Vec<String>,
    /// Interface endpoints in both VPCs, gateway endpoints in both, one that a service of AWS made
    /// for itself.
    endpoints: Vec<String>,
}

impl Strangers {
    fn of(tenant: &Tenant<'_>) -> Self {
        let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
        let (vpc, subnet) = (id("vpc"), id("subnet"));
        aws.add_vpc(account, region, &vpc, "10.1.0.0/16").expect("a VPC");
        let zone = format!("{region}a");
        aws.add_subnet(account, region, &subnet, &vpc, &zone).expect("a subnet");
        let group = id("sg");
        aws.add_security_group(account, region, &group, &vpc, "database")
            .expect("a group");
        let groups = vec![tenant.add_group("database"), group];
        for group in &groups {
            let rule = RuleView::new("tcp", Some((5432, 5432)), "10.0.7.0/24");
            aws.add_rule(account, region, group, Direction::Ingress, &rule)
                .expect("a rule");
        }
        let interface = |subnet: &str, service: &str, group: &str| {
            aws.add_endpoint_behind(account, region, subnet, service, group)
                .expect("an endpoint")
        };
        let gateway = |vpc: &str| {
            aws.add_gateway_endpoint_behind(account, region, vpc, S3)
                .expect("an endpoint")
        };
        let managed = aws.add_requester_managed_endpoint(account, region, &tenant.vpc, STS, BTreeMap::new());
        Self {
            endpoints: vec![
                interface(&tenant.subnets[0], STS, &tenant.group),
                // In everything but its making the one that is asked for.
                interface(&tenant.subnets[0], &tenant.service, &tenant.group),
                interface(&subnet, STS, &groups[1]),
                gateway(&tenant.vpc),
                gateway(&vpc),
                managed.expect("an endpoint"),
            ],
            groups,
        }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().chain(&self.endpoints)
    }

    /// As they are in AWS.
    fn seen(&self, tenant: &Tenant<'_>) -> (Vec<GroupView>, Vec<EndpointView>) {
        let mut groups = tenant.groups();
        groups.retain(|group| self.groups.contains(&group.id));
        let mut endpoints = tenant.endpoints();
        endpoints.retain(|endpoint| self.endpoints.contains(&endpoint.id));
        assert_eq!(
            (groups.len(), endpoints.len()),
            (self.groups.len(), self.endpoints.len())
        );
        (groups, endpoints)
    }
}

/// The tags that make a thing an object's.
fn owner_tags(tenant: &Tenant<'_>, name: &str, uid: &str) -> [(&'static str, String); 5] {
    [
        ("silvermullet.com/cluster", tenant.world.cluster_id().to_owned()),
        ("silvermullet.com/namespace", tenant.namespace.clone()),
        ("silvermullet.com/name", name.to_owned()),
        ("silvermullet.com/uid", uid.to_owned()),
        ("Name", format!("{name}-{}", tenant.namespace)),
    ]
}

fn plant(tenant: &Tenant<'_>, id: &str, name: &str, uid: &str) {
    for (key, value) in owner_tags(tenant, name, uid) {
        let aws = &tenant.world.aws;
        aws.set_tag(&tenant.account_id, &tenant.region, id, key, &value)
            .expect("it is there");
    }
}

fn unplant(tenant: &Tenant<'_>, id: &str) {
    for (key, _) in owner_tags(tenant, "", "") {
        let aws = &tenant.world.aws;
        aws.delete_tag(&tenant.account_id, &tenant.region, id, key)
            .expect("it was planted");
    }
}

/// No call of the operator's that changes anything names one of these.
#[track_caller]
fn untouched<'a>(tenant: &Tenant<'_>, ids: impl Iterator<Item = &'a String>) {
    let ids: Vec<&String> = ids.collect();
    let calls = tenant.calls().into_iter().filter(|call| call.mutating());
    let touched: Vec<_> = calls
        .filter(|call| call.params.values().any(|value| ids.contains(&value)) && call.action != "CreateVpcEndpoint")
        .collect();
    assert!(touched.is_empty(), "{touched:?}");
}

fn uid_of(object: &Value) -> String {
    text(&object["metadata"]["uid"])
}

#[test]
fn tags_planted_before_it_is_ready_make_nothing_its_own() {
    let tenant = unbound_tenant("planted-before");
    let strangers = Strangers::of(&tenant);
    // Whose looks show what is planted.
    tenant.apply("witness", tenant.spec(json!({})));
    tenant.ready("witness");
    // A group by its tags alone has no owner: the object creates its own, and takes that along when
    // it is deleted.
    for (number, group) in strangers.groups.iter().enumerate() {
        let name = format!("group-{number}");
        plant(&tenant, group, &name, "0");
        rest(&tenant);
        let before = strangers.seen(&tenant);
        tenant.apply(&name, tenant.spec(json!({})));
        let object = tenant.ready(&name);
        assert_ne!(object["status"]["security_group_id"], group.as_str());
        tenant.delete(&name);
        tenant.gone(&name);
        assert_eq!(strangers.seen(&tenant), before);
    }
    // An endpoint by its tags alone might be one whose group was detached: nothing is made in its
    // place.
    let planted: Vec<(String, &String)> = strangers
        .endpoints
        .iter()
        .enumerate()
        .map(|(number, id)| (format!("endpoint-{number}"), id))
        .collect();
    for (name, id) in &planted {
        plant(&tenant, id, name, "0");
    }
    rest(&tenant);
    let before = strangers.seen(&tenant);
    for (name, _) in &planted {
        // With an edit of everything that is done to a group and an endpoint.
        let rule = json!([{"protocol": "-1", "cidr_blocks": ["0.0.0.0/0"]}]);
        let wish = json!({"security_group_type": "custom", "security_group_ingress": rule, "tags": {"mine": "yes"}});
        tenant.apply(name, tenant.spec(wish));
    }
    for (name, id) in &planted {
        if strangers.endpoints[3..].contains(id) {
            // The operator makes no gateway endpoints, and none for a service of AWS: these keep
            // nothing waiting.
            tenant.ready(name);
            continue;
        }
        let message = tenant.not_ready(name, "OwnershipLost");
        assert!(message.contains(id.as_str()), "{message}");
    }
    assert_eq!(strangers.seen(&tenant), before);
    // Without the tags it is created; with them, the finalizer is removed all the same.
    let (name, id) = &planted[0];
    unplant(&tenant, id);
    tenant.ready(name);
    plant(&tenant, id, name, "0");
    for (name, _) in &planted {
        tenant.delete(name);
    }
    for (name, _) in &planted {
        tenant.gone(name);
    }
    assert_eq!(strangers.seen(&tenant), before);
    untouched(&tenant, strangers.all());
}

#[test]
fn tags_planted_once_it_is_ready_add_nothing_to_what_is_its_own() {
    let tenant = unbound_tenant("planted-after");
    tenant.apply("api", tenant.spec(json!({})));
    let object = tenant.ready("api");
    let own = &object["status"];
    let strangers = Strangers::of(&tenant);
    for id in strangers.all() {
        plant(&tenant, id, "api", &uid_of(&object));
    }
    let before = strangers.seen(&tenant);
    let rule = json!([{"protocol": "-1", "cidr_blocks": ["0.0.0.0/0"]}]);
    let edits = [
        json!({"security_group_type": "custom", "security_group_ingress": rule, "subnet_ids": [tenant.subnets[2]]}),
        json!({"security_group_type": "provided", "security_group_ids": [tenant.group], "tags": {"mine": "yes"}}),
        json!({}),
    ];
    for edit in edits {
        tenant.apply("api", tenant.spec(edit));
        let status = tenant.ready("api")["status"].take();
        assert_eq!(status["vpc_endpoint_id"], own["vpc_endpoint_id"]);
        assert!(!strangers.groups.contains(&text(&status["security_group_id"])));
    }
    // Its own endpoint is lost in AWS: another is created, and no other owner's is taken for it.
    let lost = text(&own["vpc_endpoint_id"]);
    let aws = &tenant.world.aws;
    aws.delete_endpoint_behind(&tenant.account_id, &tenant.region, &lost)
        .expect("it was there");
    tenant.eventually("api", "no stranger's endpoint is taken", || {
        let object = tenant.get("api")?;
        let says = tenant.condition("api", "Ready")?;
        let found = text(&object["status"]["vpc_endpoint_id"]);
        assert!(!strangers.endpoints.contains(&found), "{found}");
        (found != lost && (says.status || says.reason == "OwnershipLost")).then_some(())
    });
    tenant.delete("api");
    tenant.gone("api");
    assert_eq!(strangers.seen(&tenant), before);
    untouched(&tenant, strangers.all());
    let left: Vec<String> = tenant.endpoints().into_iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(left.len(), strangers.endpoints.len(), "{left:?}");
}

#[test]
fn a_spec_that_matches_another_owners_endpoint_does_not_claim_it() {
    let tenant = unbound_tenant("planted-provided");
    let strangers = Strangers::of(&tenant);
    let (name, victim) = ("api", &strangers.endpoints[1]);
    let spec = json!({
        "security_group_type": "provided", "security_group_ids": [tenant.group], "subnet_ids": [tenant.subnets[0]],
    });
    tenant.apply("witness", tenant.spec(json!({})));
    tenant.ready("witness");
    plant(&tenant, victim, name, "0");
    rest(&tenant);
    let before = strangers.seen(&tenant);
    tenant.apply(name, tenant.spec(spec));
    let message = tenant.not_ready(name, "OwnershipLost");
    assert!(message.contains(victim.as_str()), "{message}");
    tenant.delete(name);
    tenant.gone(name);
    assert_eq!(strangers.seen(&tenant), before);
    untouched(&tenant, strangers.all());
}

#[test]
fn tags_planted_while_it_is_being_deleted_take_nothing_along() {
    let tenant = unbound_tenant("planted-deleted");
    tenant.apply("api", tenant.spec(json!({})));
    let object = tenant.ready("api");
    let strangers = Strangers::of(&tenant);
    tenant.world.aws.deny(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.delete("api");
    tenant.not_ready("api", "Denied");
    for id in strangers.all() {
        plant(&tenant, id, "api", &uid_of(&object));
    }
    let before = strangers.seen(&tenant);
    tenant.world.aws.allow(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.gone("api");
    assert_eq!(strangers.seen(&tenant), before);
    untouched(&tenant, strangers.all());
}

#[test]
fn planted_orphans_are_listed_and_not_deleted() {
    let tenant = unbound_tenant("planted-orphans");
    tenant.apply("lost", tenant.spec(json!({})));
    tenant.apply("kept", tenant.spec(json!({})));
    let status = tenant.ready("lost")["status"].take();
    tenant.ready("kept");
    tenant.take_away("lost");
    tenant.edit_account(json!({"suspended": null}));
    let strangers = Strangers::of(&tenant);
    for id in strangers.all() {
        plant(&tenant, id, "lost", "0");
    }
    // What a tag says may drive a terminal.
    let (account, region) = (&tenant.account_id, &tenant.region);
    let aws = &tenant.world.aws;
    aws.set_tag(
        account,
        region,
        &strangers.groups[0],
        "silvermullet.com/name",
        "x\u{1b}[2J\nsg-1 \u{202e}y",
    )
    .expect("it is there");
    let before = strangers.seen(&tenant);
    let shown = orphans(&tenant, &[], "");
    assert!(shown.status.success(), "{}", words(&shown));
    let shown = words(&shown);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    let line = |id: &str| {
        let mut lines = shown.lines().filter(|line| line.split_whitespace().nth(1) == Some(id));
        lines.next().unwrap_or_else(|| panic!("{id}: {shown}")).to_owned()
    };
    let (endpoint, group) = (text(&status["vpc_endpoint_id"]), text(&status["security_group_id"]));
    assert!(line(&group).contains("AWS fixes"), "{shown}");
    assert!(line(&endpoint).contains(&group), "{shown}");
    for id in strangers.groups[1..].iter().chain(&strangers.endpoints) {
        assert!(line(id).contains("not proven"), "{id}: {shown}");
    }
    let deleted = orphans(&tenant, &["--delete", "--yes"], "");
    assert!(deleted.status.success(), "{}", words(&deleted));
    assert_eq!(strangers.seen(&tenant), before);
    untouched(&tenant, strangers.all());
    let own = |all: Vec<String>| all.iter().filter(|id| ![&endpoint, &group].contains(id)).count() == all.len();
    assert!(own(tenant.endpoints().into_iter().map(|found| found.id).collect()));
    assert!(own(tenant.groups().into_iter().map(|found| found.id).collect()));
    tenant.ready("kept");
}

#[test]
fn with_the_service_control_policy_that_is_printed_the_operator_does_all_its_work() {
    let tenant = World::shared().unregistered_tenant("reserved-tags");
    tenant.register(json!({"allow_retain": true}));
    let role = "arn:aws:iam::*:role/vpce-operator".parse().expect("a pattern");
    let policy = vpce_core::iam::scp(&[role]).expect("a policy").to_string();
    let aws = &tenant.world.aws;
    aws.set_scp(&tenant.account_id, Some(policy)).expect("it is taken");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    tenant.apply(
        "api",
        tenant.spec(json!({"tags": {"team": "a"}, "deletion_policy": "Retain"})),
    );
    tenant.ready("api");
    assert!(tenant.endpoints()[0].tags.contains_key("team"));
    tenant.delete("api");
    tenant.gone("api");
    let tags = &tenant.endpoints()[0].tags;
    assert!(tags.contains_key("silvermullet.com/retained") && !tags.contains_key("silvermullet.com/uid"));
}

/// One kilobyte of a process's memory, by the name of the line in `/proc/PID/status`.
fn memory_kib(world: &World, line: &str) -> u64 {
    let pid = world.operator.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process has one");
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let number = found.and_then(|text| text.split_whitespace().next()?.parse().ok());
    number.expect("a number of KiB")
}

/// What planted groups may add to the operator's memory: less than half of what is left under the
/// chart's limit of 256 MiB, of which an operator that has just started takes some 50.
const MAY_ADD_KIB: u64 = 80 * 1024;

#[test]
fn thousands_of_planted_groups_take_little_memory() {
    let world = limited();
    let neighbour = world.tenant("neighbour");
    let tenant = world.tenant("planted-many");
    tenant.apply("api", tenant.spec(json!({})));
    let object = tenant.ready("api");
    rest(&tenant);
    let before = memory_kib(&world, "VmRSS");
    let (aws, account, region) = (&world.aws, &tenant.account_id, &tenant.region);
    for number in 0..480 {
        let group = tenant.add_group(&format!("planted-{number}"));
        for rule in 0..119 {
            let mut rule = RuleView::new("tcp", Some((rule, rule)), "10.0.0.0/8");
            rule.description = Some("x".repeat(200));
            let direction = if rule.from_port < Some(60) {
                Direction::Ingress
            } else {
                Direction::Egress
            };
            aws.add_rule(account, region, &group, direction, &rule).expect("a rule");
        }
        for tag in 0..44 {
            let key = format!("planted-{tag}-{}", "k".repeat(100));
            aws.set_tag(account, region, &group, &key, &"v".repeat(256))
                .expect("it is there");
        }
        // Half of them on what is there, half on what is not.
        let name = if number % 2 == 0 { "api" } else { "gone" };
        plant(&tenant, &group, name, &uid_of(&object));
    }
    tenant.edit_account(json!({"default_tags": {"look": "now"}}));
    world.eventually("the planted groups are counted", || {
        let counted = world.aws_account(&tenant.account)?["status"]["orphans"]["count"].as_i64();
        (counted == Some(480)).then_some(())
    });
    tenant.ready("api");
    for _ in 0..3 {
        rest(&tenant);
        world.operator.metrics().expect("it answers");
    }
    let (after, peak) = (memory_kib(&world, "VmRSS"), memory_kib(&world, "VmHWM"));
    eprintln!("KiB before {before}, after {after}, at most {peak}");
    assert!(peak < before + MAY_ADD_KIB, "{before} KiB before, {peak} at most");
    serves(&neighbour, "beside");
    tenant.delete("api");
    tenant.gone("api");
    assert_eq!(tenant.groups().len(), 480);
}
