//! One endpoint for many namespaces: `share` and `vpc_endpoint_ref`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{self, Run};
use crate::figures::api_writes;
use crate::tenant::Tenant;
use crate::world::{Setup, World, endpoint, eventually, number, text};

/// A namespace of a team that has no AWSAccount.
struct Team<'w> {
    world: &'w World,
    namespace: String,
}

impl<'w> Team<'w> {
    fn new(world: &'w World, labels: Value) -> Self {
        let namespace = format!("sharing-team-{}", number());
        world.cluster.create_namespace(&namespace, labels);
        Self { world, namespace }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", cluster::endpoints(&self.namespace))
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.world.cluster.get(&self.path(name))
    }

    /// Creates an object that refers to another, or replaces the spec of the one that is there.
    fn try_apply(&self, name: &str, spec: &Value) -> Result<Value, String> {
        let collection = cluster::endpoints(&self.namespace);
        let object = endpoint(&self.namespace, name, spec);
        let applied = match self.world.cluster.create(&collection, &object, Run::Real) {
            Err(refusal) if refusal.code == 409 => self.world.cluster.set_spec(&self.path(name), spec, Run::Real),
            applied => applied,
        };
        applied.map_err(|refusal| refusal.message)
    }

    #[track_caller]
    fn refer(&self, name: &str, to: (&str, &str), service: Value) {
        let spec = json!({"vpc_endpoint_ref": {"namespace": to.0, "name": to.1}, "service": service});
        self.try_apply(name, &spec).expect("it is accepted");
    }

    fn service(&self, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", cluster::services(&self.namespace));
        self.world.cluster.get(&path)
    }

    /// Waits until Ready is so for this reason, and returns the object and the message.
    #[track_caller]
    fn is(&self, name: &str, status: &str, reason: &str) -> (Value, String) {
        self.world
            .eventually(&format!("{}/{name} is {status}: {reason}", self.namespace), || {
                let object = self.get(name)?;
                let conditions = object["status"]["conditions"].as_array()?;
                let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
                let is_so = ready["status"] == status
                    && ready["reason"] == reason
                    && ready["observedGeneration"] == object["metadata"]["generation"];
                let message = text(&ready["message"]);
                is_so.then_some((object, message))
            })
    }

    #[track_caller]
    fn ready(&self, name: &str) -> Value {
        self.is(name, "True", "Available").0
    }

    fn delete(&self, name: &str) {
        self.world.cluster.delete(&self.path(name));
    }
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        let _ = self.world.cluster.try_delete(&cluster::endpoints(&self.namespace));
    }
}

/// A tenant with the endpoint `db`, which it shares so.
fn owner<'w>(world: &'w World, share: Value) -> Tenant<'w> {
    let tenant = world.tenant("sharing");
    tenant.apply("db", tenant.spec(json!({"share": share})));
    tenant.ready("db");
    tenant
}

#[test]
fn another_namespace_publishes_the_endpoint_without_an_account_or_a_call() {
    let world = World::shared();
    let team = Team::new(world, json!({}));
    let tenant = owner(world, json!({"namespaces": [team.namespace]}));
    let calls = tenant.writes().len();
    team.refer(
        "database",
        (&tenant.namespace, "db"),
        json!({"ports": [{"port": 5432}]}),
    );
    let object = team.ready("database");
    let (status, shared) = (&object["status"], tenant.ready("db")["status"].take());
    for field in ["vpc_endpoint_id", "state", "dns_name", "dns_entries", "region"] {
        assert_eq!(status[field], shared[field], "{field}");
    }
    assert_eq!(status["account"], Value::Null, "it is bound to no account");
    assert_eq!(object["metadata"]["finalizers"], Value::Null, "nothing holds it");
    assert_eq!(status["service"]["host"], format!("database.{}.svc", team.namespace));
    let service = team.service("database").expect("a Service");
    assert_eq!(service["spec"]["externalName"], shared["dns_name"]);
    assert_eq!(service["spec"]["ports"][0]["port"], 5432);
    assert_eq!(tenant.writes().len(), calls, "no write to AWS");
    let account = world.aws_account(&tenant.account).expect("it is there");
    assert_eq!(account["status"]["endpoints"], 1, "an endpoint is counted once");

    let to = json!({"namespace": tenant.namespace, "name": "db"});
    let with_policy = json!({"vpc_endpoint_ref": to, "policy_document": {}});
    team.try_apply("policy", &with_policy)
        .expect("no rule of the schema sees it");
    let (_, message) = team.is("policy", "False", "InvalidSpec");
    assert!(message.starts_with("policy_document"), "{message}");

    // An edit of its Service is corrected.
    let path = format!("{}/database", cluster::services(&team.namespace));
    let edit = json!({"spec": {"externalName": "elsewhere.example.com"}});
    world.cluster.merge(&path, &edit).expect("an edit");
    world.eventually("the Service points to the endpoint again", || {
        (team.service("database")?["spec"]["externalName"] == shared["dns_name"]).then_some(())
    });
    team.delete("database");
    world.eventually("the Service goes with its object", || {
        team.service("database").is_none().then_some(())
    });
    assert_eq!(tenant.endpoints().len(), 1, "the endpoint stays");
}

#[test]
fn who_may_share_it_is_live_both_ways_and_nothing_that_serves_is_taken_away() {
    let world = World::shared();
    let tenant = owner(world, json!({"namespaces": ["another"]}));
    let label = tenant.namespace.as_str();
    let team = Team::new(world, json!({}));
    team.refer("db", (&tenant.namespace, "db"), json!({}));
    let (_, message) = team.is("db", "False", "NotShared");
    assert!(
        message.contains("does not exist, or does not share its endpoint with"),
        "{message}"
    );
    assert_eq!(team.service("db"), None);

    // By the owner's edit, then by a label.
    let share = json!({"namespace_selector": {"matchLabels": {"uses-db-of": label}}});
    tenant.merge("db", json!({"spec": {"share": share}}));
    team.is("db", "False", "NotShared");
    let namespace = format!("{}/{}", cluster::NAMESPACES, team.namespace);
    let labels = |value: Value| json!({"metadata": {"labels": {"uses-db-of": value}}});
    world.cluster.merge(&namespace, &labels(json!(label))).expect("a label");
    team.ready("db");
    let target = team.service("db").expect("a Service")["spec"]["externalName"].clone();

    world.cluster.merge(&namespace, &labels(Value::Null)).expect("no label");
    let (_, message) = team.is("db", "False", "NotShared");
    assert!(message.starts_with("the endpoint keeps serving"), "{message}");
    assert_eq!(team.service("db").expect("it stays")["spec"]["externalName"], target);

    // Nobody waits for one who may not share it.
    tenant.delete("db");
    tenant.gone("db");
    world.eventually("what leads nowhere is withdrawn", || {
        team.service("db").is_none().then_some(())
    });
    world.eventually("its status names no endpoint", || {
        team.get("db")?["status"]["vpc_endpoint_id"].is_null().then_some(())
    });
    team.is("db", "False", "NotShared");
}

#[test]
fn a_shared_endpoint_stays_until_nothing_refers_to_it() {
    let world = World::shared();
    let (one, two) = (Team::new(world, json!({})), Team::new(world, json!({})));
    let tenant = owner(world, json!({"namespaces": [one.namespace, two.namespace]}));
    // One of its own namespace needs no leave.
    tenant.apply("alias", json!({"vpc_endpoint_ref": {"name": "db"}}));
    for team in [&one, &two] {
        team.refer("db", (&tenant.namespace, "db"), json!({}));
        team.ready("db");
    }
    tenant.ready("alias");

    tenant.delete("db");
    let message = tenant.not_ready("db", "InUse");
    for name in [
        format!("{}/alias", tenant.namespace),
        format!("{}/db", one.namespace),
        format!("{}/db", two.namespace),
    ] {
        assert!(message.contains(&name), "{name}: {message}");
    }
    tenant.event("db", "InUse");
    let (_, message) = one.is("db", "True", "SharedEndpointDeleting");
    assert!(message.contains("still serves"), "{message}");
    one.refer("late", (&tenant.namespace, "db"), json!({}));
    one.is("late", "False", "SharedEndpointDeleting");
    assert_eq!(one.service("late"), None);

    one.delete("db");
    tenant.apply("other", tenant.spec(json!({"share": {"namespaces": [two.namespace]}})));
    tenant.ready("other");
    two.refer("db", (&tenant.namespace, "other"), json!({}));
    let moved = two.ready("db");
    assert_eq!(tenant.endpoints().len(), 2, "one still refers to it");
    tenant.delete("alias");
    tenant.gone("db");
    let left = tenant.only();
    assert_eq!(moved["status"]["vpc_endpoint_id"], json!(left.id));
    let service = two.service("db").expect("a Service");
    assert!(text(&service["spec"]["externalName"]).starts_with(&left.id));
}

#[test]
fn an_owner_may_have_it_deleted_all_the_same() {
    let world = World::shared();
    let team = Team::new(world, json!({}));
    let tenant = owner(world, json!({"namespaces": [team.namespace]}));
    team.refer("db", (&tenant.namespace, "db"), json!({}));
    team.ready("db");
    tenant.delete("db");
    tenant.not_ready("db", "InUse");
    tenant.merge("db", json!({"spec": {"share": {"on_delete": "Delete"}}}));
    tenant.gone("db");
    assert_eq!(tenant.endpoints(), Vec::new());
    team.is("db", "False", "NotShared");
    world.eventually("what leads nowhere is withdrawn", || {
        team.service("db").is_none().then_some(())
    });
    // One of the same name is another.
    tenant.apply("db", tenant.spec(json!({"share": {"namespaces": [team.namespace]}})));
    tenant.ready("db");
    team.ready("db");
}

#[test]
fn what_refers_to_nothing_that_can_be_shared_says_so() {
    let world = World::shared();
    let team = Team::new(world, json!({}));
    team.refer("self", (&team.namespace, "self"), json!({}));
    let (_, message) = team.is("self", "False", "InvalidSpec");
    assert!(message.contains("the object itself"), "{message}");
    team.refer("chain", (&team.namespace, "self"), json!({}));
    let (_, message) = team.is("chain", "False", "InvalidSpec");
    assert!(
        message.contains(&format!("shares that of {}/self", team.namespace)),
        "{message}"
    );
    team.refer("typo", (&team.namespace, "nothing"), json!({}));
    let (_, message) = team.is("typo", "False", "NotShared");
    assert!(
        message.contains("there is no VPCEndpoint nothing in this namespace"),
        "{message}"
    );
    assert_eq!(
        world.cluster.list(&cluster::services(&team.namespace)),
        Vec::<Value>::new()
    );

    let reference = json!({"name": "db"});
    for (spec, words) in [
        (
            json!({"vpc_endpoint_ref": reference, "vpc_endpoint_service_id": "ecr.api"}),
            "give service, dns_names and publish_config_map only",
        ),
        (
            json!({"vpc_endpoint_ref": reference, "tags": {"a": "b"}}),
            "give service, dns_names and publish_config_map only",
        ),
        (
            json!({"vpc_endpoint_ref": reference, "share": {"namespaces": ["blue"]}}),
            "give service, dns_names and publish_config_map only",
        ),
        (
            json!({"vpc_endpoint_ref": reference, "security_group_ids": ["sg-0d1e2f3a4b5c60718"]}),
            "give service, dns_names and publish_config_map only",
        ),
        (json!({"vpc_endpoint_ref": {}}), "Required value"),
        (json!({"vpc_endpoint_ref": {"name": ""}}), "at least 1 chars long"),
    ] {
        let message = team.try_apply("bad", &spec).expect_err("it is refused");
        assert!(message.contains(words), "{spec}: {message}");
    }
    let message = team.try_apply("typo", &json!({"vpc_endpoint_service_id": "ecr.api"}));
    assert!(message.expect_err("it is refused").contains("which cannot change"));
}

#[test]
fn what_shares_an_endpoint_follows_it_when_it_is_recreated() {
    let world = World::shared();
    let team = Team::new(world, json!({}));
    let tenant = owner(world, json!({"namespaces": [team.namespace]}));
    team.refer("db", (&tenant.namespace, "db"), json!({}));
    let before = team.ready("db")["status"]["vpc_endpoint_id"].take();
    let deleted = world
        .aws
        .delete_endpoint_behind(&tenant.account_id, &tenant.region, &tenant.only().id);
    deleted.expect("it is there");
    let after = world.eventually("it shares the new endpoint", || {
        let object = team.get("db")?;
        let id = &object["status"]["vpc_endpoint_id"];
        (object["status"]["state"] == "available" && *id != before && id.is_string()).then(|| text(id))
    });
    world.eventually("its Service leads to the new endpoint", || {
        let service = team.service("db")?;
        text(&service["spec"]["externalName"]).starts_with(&after).then_some(())
    });
}

#[test]
fn a_headless_service_has_the_addresses_of_an_endpoint_that_is_shared() {
    let world = World::shared();
    let team = Team::new(world, json!({}));
    let tenant = owner(world, json!({"namespaces": [team.namespace]}));
    let headless = json!({"type": "Headless", "ports": [{"port": 443}]});
    team.refer("db", (&tenant.namespace, "db"), headless);
    let addresses = |team: &Team<'_>| -> BTreeSet<String> {
        let slices = world.cluster.list(&cluster::slices(&team.namespace));
        let endpoints = slices
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        endpoints.map(|endpoint| text(&endpoint["addresses"][0])).collect()
    };
    let there = || -> BTreeSet<String> {
        let endpoint = tenant.only();
        endpoint.addresses.values().flatten().map(ToString::to_string).collect()
    };
    team.ready("db");
    assert_eq!(addresses(&team), there());
    assert_eq!(there().len(), 2);
    let subnets = json!(tenant.subnets);
    tenant.merge("db", json!({"spec": {"subnet_ids": subnets}}));
    world.eventually("it follows the endpoint into another subnet", || {
        let there = there();
        (there.len() == 3 && addresses(&team) == there).then_some(())
    });
    team.delete("db");
    tenant.eventually("db", "addresses are not published any more", || {
        tenant.get("db")?["status"]["addresses"].is_null().then_some(())
    });
}

#[test]
fn at_rest_nothing_is_written_and_an_endpoint_is_counted_once() {
    let world = World::own(Setup::fast());
    let teams: Vec<Team<'_>> = (0..5).map(|_| Team::new(&world, json!({"shares": "db"}))).collect();
    let tenant = owner(&world, json!({"namespace_selector": {"matchLabels": {"shares": "db"}}}));
    for team in &teams {
        team.refer("db", (&tenant.namespace, "db"), json!({}));
    }
    for team in &teams {
        team.ready("db");
    }
    let metrics = || world.operator.metrics().expect("metrics");
    let count = |name: &str| -> f64 {
        let metrics = metrics();
        let series = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        series.filter_map(value).sum()
    };
    eventually(|| (count("vpce_endpoints") - 1.0).abs().lt(&0.1).then_some(())).expect("it is counted once");
    assert!(
        (count("vpce_endpoint_network_interfaces") - 2.0).abs() < 0.1,
        "{}",
        metrics()
    );
    let versions = || -> Vec<Value> {
        let objects = teams.iter().filter_map(|team| team.get("db"));
        objects
            .map(|object| object["metadata"]["resourceVersion"].clone())
            .collect()
    };
    let resyncs = || {
        let calls = tenant.calls();
        calls
            .iter()
            .filter(|call| call.action == "DescribeVpcEndpoints")
            .count()
    };
    let pass = |count: usize| {
        let begun = resyncs();
        world.eventually("resyncs have passed", || (resyncs() >= begun + count).then_some(()));
    };
    // Events are written a moment later.
    pass(2);
    let (before, writes) = (versions(), api_writes(&world));
    pass(3);
    assert_eq!(versions(), before);
    assert_eq!(api_writes(&world), writes);
}

#[test]
fn a_second_endpoint_in_one_vpc_draws_an_event_with_what_it_costs() {
    let world = World::shared();
    let other = world.unregistered_tenant("sharing-second");
    let tenant = world.unregistered_tenant("sharing-first");
    tenant.register(json!({"namespaces": [tenant.namespace, other.namespace]}));
    tenant.apply("db", tenant.spec(json!({})));
    tenant.ready("db");
    let ask = |name: &str| {
        other.apply(name, tenant.spec(json!({})));
        let event = other.event(name, "DuplicateEndpoint");
        assert!(
            event.starts_with("Normal") && event.contains("each of its 2 network interfaces"),
            "{event}"
        );
        event
    };
    let event = ask("one");
    assert!(
        event.contains("there is another endpoint for") && event.contains(&tenant.vpc),
        "{event}"
    );
    // One that is not shared with this namespace is not named.
    assert!(
        event.contains("platform team") && !event.contains(&tenant.namespace),
        "{event}"
    );
    tenant.merge("db", json!({"spec": {"share": {"namespaces": [other.namespace]}}}));
    other.ready("one");
    let event = ask("two");
    assert!(event.contains("there are 2 other endpoints"), "{event}");
    assert!(
        event.contains(&format!("VPCEndpoint {}/db shares its endpoint", tenant.namespace)),
        "{event}"
    );
    // To the same service, from another VPC or for another service, there is none.
    let service = tenant.add_service(vpce_testbed::aws::ServiceSpec::default());
    tenant.apply("first", tenant.spec(json!({"vpc_endpoint_service_id": service})));
    tenant.ready("first");
    assert!(
        !tenant
            .events("first")
            .iter()
            .any(|event| event.contains("DuplicateEndpoint"))
    );
}
