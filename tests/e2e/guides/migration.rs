//! From the Python operator: objects that a real kopf operator wrote, migrated without a change to
//! their traffic.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vpce_testbed::aws::{Call, Direction, EndpointView, GroupView, RoleSpec, RuleView, ServiceSpec, Simulator};
use vpce_testbed::operator::Aws;
use vpce_testbed::python::PythonOperator;
use vpce_testbed::tools::Tool;

use super::Guide;
use crate::cluster::{self, Cluster};
use crate::legacy;
use crate::subcommand::words;
use crate::tenant::Tenant;
use crate::world::{Setup, World, eventually, id, merged, text};

const NAMESPACE: &str = "external";
const ACCOUNT: &str = "100000000001";
const REGION: &str = "us-west-2";
const ROLE: &str = "arn:aws:iam::100000000001:role/vpce-operator";
const KOPF: &str = "kopf.zalando.org/";
/// How often what is at work is read, by `Setup::fast`.
const POLL_SECONDS: f64 = 0.5;

/// A cluster and an AWS account in which a Python operator works.
struct Before {
    cluster: Cluster,
    aws: Simulator,
    setup: Setup,
    vpc: String,
    subnets: Vec<String>,
    group: String,
    service: String,
}

impl Before {
    fn new() -> Self {
        let setup = Setup::fast()
            .value("crds.enabled", "false")
            .value("admissionPolicy.migration", "true");
        let aws = Simulator::start(setup.aws.clone()).expect("it starts");
        let (vpc, group) = (id("vpc"), id("sg"));
        let service = format!("com.amazonaws.vpce.{REGION}.vpce-svc-0abc437c186123456");
        aws.add_service(REGION, &service, ServiceSpec::default());
        aws.add_vpc(ACCOUNT, REGION, &vpc, "10.0.0.0/16").expect("a VPC");
        let subnets = ["a", "b"].map(|zone| {
            let subnet = id("subnet");
            aws.add_subnet(ACCOUNT, REGION, &subnet, &vpc, &format!("{REGION}{zone}"))
                .expect("a subnet");
            subnet
        });
        aws.add_security_group(ACCOUNT, REGION, &group, &vpc, "clients")
            .expect("a group");
        aws.add_role(ROLE, RoleSpec::default()).expect("a role");
        let cluster = legacy::defined();
        cluster.create_namespace(NAMESPACE, json!({}));
        Self {
            cluster,
            aws,
            setup,
            vpc,
            subnets: subnets.into(),
            group,
            service,
        }
    }

    fn python(&self) -> PythonOperator {
        python(&self.cluster, &self.aws)
    }
    /// What the seed's README applies.
    fn apply(&self, name: &str, changes: Value) {
        let spec = json!({
            "region": REGION, "vpc_id": self.vpc, "subnet_ids": self.subnets,
            "vpc_endpoint_service_id": self.service, "security_group_type": "generated",
        });
        let object = crate::world::endpoint(NAMESPACE, name, &merged(spec, changes));
        let applied = self.cluster.plane.apply(&object.to_string()).expect("kubectl runs");
        applied.success().expect("applied");
    }

    /// Waits until the Python operator has made these.
    fn made(&self, names: &[&str]) {
        for name in names {
            let path = format!("{}/{name}", cluster::endpoints(NAMESPACE));
            let made = || {
                text(&self.cluster.get(&path)?["status"]["create_fn"]["vpce_aws_resource_id"])
                    .strip_prefix("vpce-")
                    .map(drop)
            };
            eventually(made).unwrap_or_else(|| panic!("the Python operator makes {name}"));
        }
    }

    /// Our operator instead, in an account whose role may do what is printed for it.
    fn install(self, account: Value) -> World {
        legacy::replace_definition(&self.cluster);
        let world = World::install(self.cluster, self.aws, self.setup).expect("the world starts");
        let spec = merged(json!({"role_arn": ROLE, "namespaces": [NAMESPACE]}), account);
        let adopting = merged(spec.clone(), json!({"adopt_legacy": true}));
        let scope = vpce_core::iam::Scope::of(&serde_json::from_value(adopting).expect("a spec"));
        world.set_role(ROLE, &scope);
        let account = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": NAMESPACE}, "spec": spec,
        });
        world
            .cluster
            .create(cluster::ACCOUNTS, &account, cluster::Run::Real)
            .unwrap_or_else(|refusal| panic!("{}", refusal.message));
        world
    }
}

/// A Python operator that works in a cluster.
fn python(cluster: &Cluster, aws: &Simulator) -> PythonOperator {
    let aws = Aws::from(aws);
    let environment = [
        ("AWS_ENDPOINT_URL", aws.url),
        ("AWS_REGION", aws.region),
        ("AWS_ACCESS_KEY_ID", aws.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key),
        ("ROLE_ARN", ROLE.to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    let kubectl = Tool::Kubectl.path().expect("kubectl");
    PythonOperator::start(cluster.plane.kubeconfig(), &kubectl, &environment).expect("kopf starts")
}

fn tenant(world: &World) -> Tenant<'_> {
    Tenant {
        world,
        namespace: NAMESPACE.to_owned(),
        account: NAMESPACE.to_owned(),
        account_id: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        role_arn: ROLE.to_owned(),
        vpc: String::new(),
        subnets: Vec::new(),
        group: String::new(),
        service: String::new(),
        over: None,
    }
}

/// What traffic depends on: endpoints, rules of groups, and where Services lead.
fn traffic(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let without_tags = |mut endpoint: EndpointView| {
        endpoint.tags.clear();
        endpoint
    };
    let endpoints = world.aws.endpoints(ACCOUNT, REGION).into_iter().map(without_tags);
    let groups = world
        .aws
        .security_groups(ACCOUNT, REGION)
        .into_iter()
        .map(|mut group: GroupView| {
            group.tags.clear();
            group
        });
    let services = world.cluster.list(&cluster::services(NAMESPACE));
    let leads = |service: &Value| {
        (
            text(&service["metadata"]["name"]),
            text(&service["spec"]["externalName"]),
        )
    };
    let services: Vec<(String, String)> = services.iter().map(leads).collect();
    (endpoints.collect::<Vec<_>>(), groups.collect::<Vec<_>>(), services)
}

fn mutating(world: &World, since: usize) -> Vec<String> {
    let calls: Vec<Call> = world.aws.calls().split_off(since);
    calls
        .into_iter()
        .filter(Call::mutating)
        .map(|call| call.action)
        .collect()
}

#[test]
fn what_kopf_wrote_is_migrated_by_tags_alone_and_finished_and_deleted() {
    let before = Before::new();
    let kopf = before.python();
    before.apply("one", json!({}));
    before.apply("two", json!({}));
    let provided = json!({"security_group_type": "provided", "security_group_ids": [before.group]});
    before.apply("three", provided);
    before.made(&["one", "two", "three"]);
    drop(kopf);
    let made = before.aws.calls().len();
    let world = before.install(json!({}));
    let tenant = tenant(&world);
    let names = ["one", "two", "three"];
    for name in names {
        let message = tenant.not_ready(name, "LegacyUnsettled");
        assert!(message.contains("adopt_legacy"), "{message}");
    }
    assert_eq!(mutating(&world, made), [] as [&str; 0]);
    let then = traffic(&world);

    let mut guide = Guide::open(&world, "migrate-from-the-python-operator");
    // The operator's settings.
    guide.replace(
        "vpce-operator migrate",
        "VPCE_RESYNC_INTERVAL_SECONDS=5 vpce-operator migrate",
    );
    // A machine may be so fast that the Python operator, which is gone, was there just now.
    world.eventually("its last write is a resync interval ago", || {
        let mut migrate = world.subcommand();
        migrate.arg("migrate").env("VPCE_RESYNC_INTERVAL_SECONDS", "5");
        let printed = words(&migrate.output().expect("it runs"));
        (!printed.contains("scale it to zero")).then_some(())
    });
    let printed = guide.follow("Dry run");
    for name in names {
        assert!(
            printed.contains(&format!("{NAMESPACE}/{name}: would be migrated: vpce-")),
            "{printed}"
        );
    }
    assert!(printed.contains("once that has adopt_legacy"), "{printed}");
    assert_eq!(mutating(&world, made), [] as [&str; 0]);

    let printed = guide.follow("Migrate");
    for name in names {
        assert!(
            printed.contains(&format!("{NAMESPACE}/{name}: is migrated: vpce-")),
            "{printed}"
        );
        let object = tenant.ready(name);
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["silvermullet.com/vpce"]),
            "{name}"
        );
        assert!(object["metadata"]["annotations"].to_string().contains(KOPF), "{name}");
        assert_eq!(
            object["status"]["vpc_endpoint_id"],
            object["status"]["create_fn"]["vpce_aws_resource_id"]
        );
        let service = tenant.kubernetes_service(name).expect("a Service");
        assert_eq!(service["metadata"]["ownerReferences"][0]["name"], *name, "{service}");
    }
    assert_eq!(traffic(&world), then);
    // Each endpoint, and each group that was generated.
    assert_eq!(mutating(&world, made), ["CreateTags"; 5]);

    assert!(guide.follow("Finish").contains("v1beta1"));
    guide.end();
    for name in names {
        tenant.eventually(name, "kopf has left nothing", || {
            (!tenant.get(name)?["metadata"]["annotations"].to_string().contains(KOPF)).then_some(())
        });
    }

    // What the spec says from now on is carried out, and all goes with the object.
    tenant.merge("one", json!({"spec": {"tags": {"a": "b"}}}));
    tenant.ready("one");
    for name in names {
        tenant.delete(name);
        tenant.gone(name);
    }
    assert!(world.aws.endpoints(ACCOUNT, REGION).is_empty());
    let left = world.aws.security_groups(ACCOUNT, REGION);
    assert!(left.iter().all(|group| !group.name.ends_with("-generic")), "{left:#?}");
}

#[test]
fn what_does_not_fit_is_not_claimed_and_says_why() {
    let before = Before::new();
    let kopf = before.python();
    let names = ["gone", "shared-group", "other-service", "renamed", "twice", "lost"];
    for name in names {
        before.apply(name, json!({}));
    }
    before.made(&names);
    drop(kopf);
    let of = |name: &str, field: &str| {
        let path = format!("{}/{name}", cluster::endpoints(NAMESPACE));
        let object = before.cluster.get(&path).expect("it is there");
        text(&object["status"]["create_fn"][field])
    };
    let endpoint = |name: &str| of(name, "vpce_aws_resource_id");
    let (aws, cluster) = (before.aws.clone(), &before.cluster);
    aws.delete_endpoint_behind(ACCOUNT, REGION, &endpoint("gone"))
        .expect("it is there");
    let group = of("shared-group", "vpce_security_group");
    aws.add_endpoint_behind(ACCOUNT, REGION, &before.subnets[0], &before.service, &group)
        .expect("an endpoint");
    let elsewhere = json!({"spec": {"externalName": "elsewhere.example.com"}});
    let service = format!("{}/other-service", cluster::services(NAMESPACE));
    cluster.merge(&service, &elsewhere).expect("merged");
    aws.set_tag(ACCOUNT, REGION, &endpoint("renamed"), "Name", "another")
        .expect("it is there");
    let status = |name: &str, create_fn: Value| {
        let path = format!("{}/{name}", cluster::endpoints(NAMESPACE));
        cluster
            .merge(&path, &json!({"status": {"create_fn": create_fn}}))
            .expect("merged");
    };
    status(
        "twice",
        json!({"vpce_aws_resource_id": endpoint("lost"), "vpce_security_group": of("lost", "vpce_security_group")}),
    );
    let lost = endpoint("lost");
    let made = aws.calls().len();
    let world = before.install(json!({"adopt_legacy": true}));
    let tenant = tenant(&world);
    for (name, reason, words) in [
        ("gone", "NotFound", "does not exist"),
        ("shared-group", "NotAdoptable", "is used by others: network interface"),
        ("other-service", "NotAdoptable", "leads to elsewhere.example.com"),
        ("renamed", "NotAdoptable", "its tag Name is not renamed-external"),
        ("twice", "NotAdoptable", "Name is not twice-external"),
        ("lost", "NotAdoptable", "it is named by external/twice as well"),
    ] {
        tenant.eventually(name, "it says why", || {
            let ready = tenant.condition(name, "Ready")?;
            (!ready.status && ready.reason == reason && ready.message.contains(words)).then_some(())
        });
        let object = tenant.get(name).expect("it is there");
        assert!(
            object["metadata"]["finalizers"].to_string().contains(KOPF),
            "{name}: {object}"
        );
        assert_eq!(object["status"].get("account"), None, "{name} is not bound");
    }
    let mut migrate = world.subcommand();
    // It waits for a token after each call, and does not spend that on what it has read before.
    migrate.args(["migrate", "--aws-limit", "DescribeVpcEndpoints=1/20"]);
    let output = migrate.output().expect("it runs");
    let printed = words(&output);
    assert!(
        !output.status.success() && printed.contains("6 of which cannot be migrated"),
        "{printed}"
    );
    assert_eq!(mutating(&world, made), [] as [&str; 0]);

    // A person says which it is, where the status has lost it.
    tenant.merge_status("lost", json!({"create_fn": null}));
    let message = tenant.eventually("lost", "it asks for the endpoint", || {
        let ready = tenant.condition("lost", "Ready")?;
        (ready.reason == "LegacyUnsettled").then_some(ready.message)
    });
    assert!(message.contains("set vpc_endpoint_id"), "{message}");
    let output = world.subcommand().arg("migrate").output().expect("it runs");
    let printed = words(&output);
    assert!(printed.contains(&format!("candidate: {lost}")), "{printed}");
}

#[test]
fn a_python_operator_that_is_alive_is_waited_for_and_one_that_comes_back_is_told_of() {
    let before = Before::new();
    let kopf = before.python();
    before.apply("one", json!({}));
    before.made(&["one"]);
    let before_install = before.aws.calls().len();
    drop(kopf);
    let world = before.install(json!({"adopt_legacy": true}));
    let tenant = tenant(&world);
    tenant.ready("one");
    let kopf = python(&world.cluster, &world.aws);
    let finalizers = || {
        tenant
            .get("one")
            .map(|object| object["metadata"]["finalizers"].to_string())
    };
    tenant.eventually("one", "kopf adds its finalizer", || {
        finalizers()?.contains(KOPF).then_some(())
    });
    tenant.event("one", "PythonOperatorRunning");
    // It has created nothing a second time, and the operator does not fight for the finalizer.
    assert_eq!(world.aws.endpoints(ACCOUNT, REGION).len(), 1);
    assert!(finalizers().is_some_and(|names| names.contains(KOPF)));
    assert_eq!(mutating(&world, before_install), ["CreateTags"; 2]);
    drop(kopf);
    // Both finalizers go with the object.
    tenant.delete("one");
    tenant.gone("one");
    assert!(world.aws.endpoints(ACCOUNT, REGION).is_empty());
}

#[test]
fn fifty_objects_take_two_tags_and_one_question_each_and_reads_that_they_share() {
    const COUNT: usize = 50;
    let before = Before::new();
    let (aws, cluster) = (before.aws.clone(), &before.cluster);
    let mut objects = Vec::new();
    for number in 0..COUNT {
        let (name, group) = (format!("ep-{number}"), id("sg"));
        aws.add_security_group(ACCOUNT, REGION, &group, &before.vpc, &format!("{name}-generic"))
            .expect("a group");
        for block in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"] {
            let rule = RuleView::new("-1", None, block);
            aws.add_rule(ACCOUNT, REGION, &group, Direction::Ingress, &rule)
                .expect("a rule");
        }
        let endpoint = aws.add_endpoint_behind(ACCOUNT, REGION, &before.subnets[0], &before.service, &group);
        let endpoint = endpoint.expect("an endpoint");
        let display_name = format!("{name}-{NAMESPACE}");
        aws.set_tag(ACCOUNT, REGION, &endpoint, "Name", &display_name)
            .expect("it is there");
        let spec = json!({
            "region": REGION, "vpc_id": before.vpc, "subnet_ids": before.subnets[..1],
            "vpc_endpoint_service_id": before.service, "security_group_type": "generated",
        });
        let mut object = crate::world::endpoint(NAMESPACE, &name, &spec);
        object["metadata"]["finalizers"] = json!(["kopf.zalando.org/KopfFinalizerMarker"]);
        object["status"] = json!({"create_fn": {"vpce_aws_resource_id": endpoint, "vpce_security_group": group}});
        objects.push(object);
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let applied = cluster.plane.apply(&list.to_string()).expect("kubectl runs");
    applied.success().expect("applied");
    let world = before.install(json!({"adopt_legacy": true}));
    let tenant = tenant(&world);
    for number in 0..COUNT {
        tenant.ready(&format!("ep-{number}"));
    }
    let calls = tenant.calls();
    let took = calls[calls.len() - 1].time - calls[0].time;
    let mut counts = BTreeMap::<String, usize>::new();
    for call in calls {
        *counts.entry(call.action).or_default() += 1;
    }
    let of = |action: &str| counts.get(action).copied().unwrap_or_default();
    assert_eq!(mutating(&world, 0), vec!["CreateTags"; 2 * COUNT]);
    // Who uses the group is asked once for each.
    assert_eq!(of("DescribeNetworkInterfaces"), COUNT, "{counts:?}");
    // Each is looked at once before it is claimed, and what settles is read for all of them
    // together, at each poll.
    let polls = took / POLL_SECONDS + 1.0;
    for action in ["DescribeVpcEndpoints", "DescribeSecurityGroups"] {
        let reads = of(action) as f64;
        assert!(reads <= COUNT as f64 + polls, "{counts:?} in {polls:.0} polls");
    }
}
