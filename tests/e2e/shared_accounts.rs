//! AWS accounts that several share: two AWSAccounts of one cluster, two clusters, and many
//! endpoints that change the role together.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vpce_testbed::aws::{Call, EndpointView, GroupView, RoleSpec};

use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, id, merged, text};

/// Another tenant in the same VPC and AWS account, maybe in another cluster, with a role of its own
/// that is there already.
fn sharing<'w>(tenant: &Tenant<'_>, world: &'w World, namespace: &str, role: &str) -> Tenant<'w> {
    Tenant {
        world,
        namespace: namespace.to_owned(),
        account: namespace.to_owned(),
        account_id: tenant.account_id.clone(),
        region: tenant.region.clone(),
        role_arn: format!("arn:aws:iam::{}:role/{role}", tenant.account_id),
        vpc: tenant.vpc.clone(),
        subnets: tenant.subnets.clone(),
        group: tenant.group.clone(),
        service: tenant.service.clone(),
        over: None,
    }
}

/// Two namespaces, each with an AWSAccount and a role, in one AWS account.
fn two_accounts(world: &World) -> (Tenant<'_>, Tenant<'_>) {
    let one = world.tenant("shared-one");
    let two = sharing(&one, world, &format!("{}-two", one.namespace), "vpce-operator-two");
    world.cluster.create_namespace(&two.namespace, json!({}));
    world.add_role(&two.role_arn);
    two.register(json!({}));
    (one, two)
}

#[test]
fn two_accounts_for_one_aws_account_share_one_snapshot() {
    // A bucket that takes minutes to fill: a full one has no series.
    let setup = Setup::fast()
        .value("settings.resyncIntervalSeconds", "10")
        .value("settings.awsLimits.CreateVpcEndpoint", "1000/2");
    let world = World::own(setup);
    let (one, two) = two_accounts(&world);
    let both = [&one, &two];
    for tenant in both {
        for number in 0..3 {
            tenant.apply(&format!("api-{number}"), tenant.spec(json!({})));
        }
    }
    for tenant in both {
        for number in 0..3 {
            tenant.ready(&format!("api-{number}"));
        }
    }
    // One read of the whole region serves all six.
    let filter = |call: &&Call| {
        let cluster = call.params.values().any(|value| value == world.cluster_id());
        call.action == "DescribeVpcEndpoints" && cluster
    };
    let mark = world.aws.now();
    let times = world.eventually("four reads in whole", || {
        let calls = one.calls();
        let reads = calls.iter().filter(filter).filter(|call| call.time > mark);
        let times: Vec<f64> = reads.map(|call| call.time).collect();
        (times.len() >= 4).then_some(times)
    });
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > 9.5, "one an interval of 10 seconds: {times:?}");
    }
    // So the metrics know one bucket for each action.
    let metrics = world.operator.metrics().expect("it runs");
    for series in ["vpce_aws_rate_limiter_tokens", "vpce_aws_rate_limiter_queue_length"] {
        let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
        for line in metrics.lines().filter(|line| line.starts_with(&format!("{series}{{"))) {
            assert!(line.contains(&one.account_id) && line.contains(&one.region), "{line}");
            let (_, action) = line.split_once("action=\"").expect("the label");
            *actions.entry(action.split('"').next().expect("a value")).or_default() += 1;
        }
        assert!(actions.contains_key("CreateVpcEndpoint"), "{actions:?}");
        assert!(actions.values().all(|count| *count == 1), "{actions:?}");
    }
}

#[test]
fn two_accounts_for_one_aws_account_share_one_rate_limiter() {
    let (burst, refill) = (2, 1);
    let limit = format!("{burst}/{refill}");
    let setup = Setup::fast().value("settings.awsLimits.CreateVpcEndpoint", &limit);
    let world = World::own(setup);
    let (one, two) = two_accounts(&world);
    let both = [&one, &two];
    for number in 0..6 {
        for tenant in both {
            tenant.apply(&format!("api-{number}"), tenant.spec(json!({})));
        }
    }
    for number in 0..6 {
        for tenant in both {
            tenant.ready(&format!("api-{number}"));
        }
    }
    let mut creates = one.calls();
    creates.retain(|call| call.action == "CreateVpcEndpoint" && call.mutating());
    assert_eq!(creates.len(), 12);
    // However long a call is on its way: from any to any other, one bucket gave the tokens.
    let late = 1.0;
    for (first, from) in creates.iter().enumerate() {
        for (last, to) in creates.iter().enumerate().skip(first) {
            let calls = (last - first + 1) as f64;
            let most = f64::from(burst) + f64::from(refill) * (to.time - from.time + late);
            assert!(calls <= most, "{calls} calls in {} s", to.time - from.time);
        }
    }
    // The rate limiter is fair by namespace.
    let roles: Vec<&str> = creates.iter().map(|call| call.role.as_str()).collect();
    let longest = roles.chunk_by(|a, b| a == b).map(<[_]>::len).max().expect("some");
    assert!(longest <= 4, "{roles:?}");
}

/// What is in the AWS account and carries a cluster's tag.
fn of_cluster(tenant: &Tenant<'_>) -> (Vec<EndpointView>, Vec<GroupView>) {
    let cluster = Some(tenant.world.cluster_id().to_owned());
    let is_its = |tags: &BTreeMap<String, String>| tags.get("silvermullet.com/cluster") == cluster.as_ref();
    let (mut endpoints, mut groups) = (tenant.endpoints(), tenant.groups());
    endpoints.retain(|endpoint| is_its(&endpoint.tags));
    groups.retain(|group| is_its(&group.tags));
    (endpoints, groups)
}

/// Waits until a tenant's operator has read the account in whole twice more.
fn rest(tenant: &Tenant<'_>) {
    let mark = tenant.world.aws.now();
    tenant.world.eventually("two more looks", || {
        let calls = tenant.calls();
        let looks = calls
            .iter()
            .filter(|call| call.time > mark && call.action == "DescribeVpcEndpoints" && call.role == tenant.role_arn);
        (looks.count() >= 2).then_some(())
    });
}

/// Two clusters that share an AWS account, and in both an object of the same namespace and name.
fn two_clusters_live_apart(open: bool) {
    let first = World::own(Setup::fast());
    let second = World::beside(&first, Setup::fast());
    assert_ne!(first.cluster_id(), second.cluster_id());
    let one = first.tenant("twin");
    let two = sharing(&one, &second, &one.namespace, "vpce-operator-two");
    second.cluster.create_namespace(&two.namespace, json!({}));
    second.add_role(&two.role_arn);
    if open {
        for tenant in [&one, &two] {
            let role = tenant.world.role(&tenant.role_arn, None);
            let role = RoleSpec { policy: None, ..role };
            tenant.world.aws.set_role(&tenant.role_arn, role).expect("a role");
        }
    }
    two.register(json!({}));
    for tenant in [&one, &two] {
        tenant.apply("api", tenant.spec(json!({"tags": {"team": "a"}})));
    }
    let ids = [&one, &two].map(|tenant| text(&tenant.ready("api")["status"]["vpc_endpoint_id"]));
    assert_ne!(ids[0], ids[1]);
    for tenant in [&one, &two] {
        let (endpoints, groups) = of_cluster(tenant);
        assert_eq!((endpoints.len(), groups.len()), (1, 1));
    }

    // Drift of the one's is repaired by its own operator alone.
    let theirs = of_cluster(&two);
    let (endpoints, groups) = of_cluster(&one);
    let mark = first.aws.now();
    let (account, region) = (&one.account_id, &one.region);
    first
        .aws
        .set_tag(account, region, &ids[0], "team", "drifted")
        .expect("it is there");
    first
        .aws
        .delete_tag(account, region, &groups[0].id, "Name")
        .expect("it is there");
    one.eventually("api", "drift is repaired", || {
        (of_cluster(&one) == (endpoints.clone(), groups.clone())).then_some(())
    });
    rest(&two);
    let writes = || -> Vec<Call> {
        let mut calls = one.calls();
        calls.retain(|call| call.mutating() && call.time > mark);
        calls
    };
    assert!(!writes().is_empty());
    assert!(writes().iter().all(|call| call.role == one.role_arn), "{:?}", writes());
    assert_eq!(of_cluster(&two), theirs);

    // A group of the other cluster's is not used, though it is that of an object of the same
    // namespace and name.
    one.apply("same", one.spec(json!({})));
    let group = one.ready("same")["status"]["security_group_id"].take();
    let provided = json!({"security_group_type": "provided", "security_group_ids": [group]});
    two.apply("same", two.spec(provided));
    two.not_ready("same", "NotAllowed");
    for tenant in [&two, &one] {
        tenant.delete("same");
        tenant.gone("same");
    }

    // What the one deletes is gone from its own alone, and is created again where another client
    // deleted it.
    one.delete("api");
    one.gone("api");
    let (endpoints, groups) = of_cluster(&one);
    assert!(endpoints.is_empty() && groups.is_empty());
    rest(&two);
    assert_eq!(of_cluster(&two), theirs);
    second
        .aws
        .delete_endpoint_behind(account, region, &ids[1])
        .expect("it is there");
    two.eventually("api", "it is made again", || {
        let (endpoints, _) = of_cluster(&two);
        (endpoints.len() == 1 && endpoints[0].id != ids[1]).then_some(())
    });
    two.ready("api");
    let (endpoints, groups) = of_cluster(&one);
    assert!(endpoints.is_empty() && groups.is_empty());
    two.delete("api");
    two.gone("api");
    assert!(one.endpoints().is_empty() && one.groups().is_empty());
}

#[test]
fn two_clusters_in_one_aws_account_never_touch_each_others_even_if_their_roles_let_them() {
    two_clusters_live_apart(true);
}

#[test]
fn two_clusters_in_one_aws_account_get_along_with_the_policies_that_are_printed() {
    two_clusters_live_apart(false);
}

/// How many endpoints change the role together; more by the environment, for a figure.
fn many() -> usize {
    let given = std::env::var("VPCE_E2E_ENDPOINTS").ok();
    given.map_or(60, |given| given.parse().expect("a number"))
}

/// Applies so many endpoints, 50 in each VPC, which is the quota, and waits until all are Ready and
/// at rest. Returns their names, and the spec of the first.
fn apply_many(tenant: &Tenant<'_>, count: usize) -> (Vec<String>, Value) {
    let world = tenant.world;
    let names: Vec<String> = (0..count).map(|number| format!("api-{number}")).collect();
    let specs: Vec<Value> = (0..count.div_ceil(50))
        .map(|_| {
            let (vpc, subnet) = (id("vpc"), id("subnet"));
            let (account, region) = (&tenant.account_id, &tenant.region);
            world.aws.add_vpc(account, region, &vpc, "10.0.0.0/16").expect("a VPC");
            let zone = format!("{region}a");
            let added = world.aws.add_subnet(account, region, &subnet, &vpc, &zone);
            added.expect("a subnet");
            tenant.spec(json!({"vpc_id": vpc, "subnet_ids": [subnet]}))
        })
        .collect();
    for (number, name) in names.iter().enumerate() {
        tenant.apply(name, specs[number / 50].clone());
    }
    world.eventually("all are Ready", || {
        let objects = world.cluster.list(&crate::cluster::endpoints(&tenant.namespace));
        let is_ready = |object: &Value| condition(object, "Ready").is_some_and(|ready| ready.status);
        objects.iter().all(is_ready).then_some(())
    });
    rest(tenant);
    (names, specs[0].clone())
}

/// The statuses of a tenant's endpoints, by name.
fn statuses(tenant: &Tenant<'_>) -> BTreeMap<String, Value> {
    let objects = tenant.world.cluster.list(&crate::cluster::endpoints(&tenant.namespace));
    let status = |object: Value| (text(&object["metadata"]["name"]), object["status"].clone());
    objects.into_iter().map(status).collect()
}

/// How often a role was assumed.
fn assumed(world: &World) -> usize {
    let calls = world.aws.calls();
    calls.iter().filter(|call| call.action == "AssumeRole").count()
}

#[test]
fn a_change_of_role_moves_many_endpoints_with_two_sessions_at_most_and_no_change_of_status() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("rotated");
    let (names, spec) = apply_many(&tenant, many());
    let (before, writes) = (statuses(&tenant), tenant.writes());
    assert_eq!(before.len(), names.len());
    let sessions = assumed(&world);
    // Another role; then the same with an external id, other tags on its session, and another
    // length of it.
    let role_arn = format!("arn:aws:iam::{}:role/vpce-operator-next", tenant.account_id);
    let session_tags = BTreeMap::from([("team".to_owned(), "rotated".to_owned())]);
    world
        .aws
        .add_role(&role_arn, world.role(&role_arn, None))
        .expect("a role");
    // The operator's own identity may pass tags too.
    world.aws.set_base_policy(None).expect("no policy");
    let tagged = world.role_for(&role_arn, Some("secret-1"), &session_tags);
    let edits = [
        (json!({"role_arn": role_arn}), None),
        (
            json!({"external_id": "secret-1", "session_tags": session_tags}),
            Some(tagged),
        ),
        (json!({"session_duration_seconds": 1800}), None),
    ];
    let changes = edits.len();
    for (number, (edit, role)) in edits.into_iter().enumerate() {
        if let Some(role) = role {
            world.aws.set_role(&role_arn, role).expect("a role");
        }
        let mark = world.aws.now();
        tenant.edit_account(edit.clone());
        world.eventually("all are read with the new session", || {
            let calls = tenant.calls();
            let looks = calls
                .iter()
                .filter(|call| call.time > mark && call.action == "DescribeVpcEndpoints" && call.role == role_arn);
            (looks.count() >= 2).then_some(())
        });
        // The session can write, too.
        let name = &names[number];
        tenant.apply(name, merged(spec.clone(), json!({"tags": {"step": id("step")}})));
        tenant.ready(name);
        let opened = assumed(&world) - sessions;
        assert!(
            opened <= 2 * (number + 1),
            "{opened} sessions after {} changes: {edit}",
            number + 1
        );
    }
    println!(
        "{} endpoints, {changes} changes of the session: {} AssumeRole",
        names.len(),
        assumed(&world) - sessions
    );
    let after = statuses(&tenant);
    for (name, status) in &before {
        if !names[..changes].contains(name) {
            assert_eq!(&after[name], status, "{name}: no condition flips");
        }
        assert_eq!(after[name]["vpc_endpoint_id"], status["vpc_endpoint_id"], "{name}");
    }
    let written = tenant.writes().split_off(writes.len());
    assert!(
        written.iter().all(|action| action == "CreateTags"),
        "only the edits: {written:?}"
    );
}
