//! An operator that is read-only looks and says what it would do, and `plan` shows the same; it
//! changes nothing in AWS, nor any Service.

use serde_json::{Value, json};
use vpce_testbed::operator::Operator;

use crate::subcommand::{type_into, words};
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// What the subcommand says of an object, and whether it could plan.
fn plan(tenant: &Tenant<'_>, object: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut plan = tenant.world.subcommand();
    plan.args(["plan", object]).envs(environment.iter().copied());
    let output = type_into(&mut plan, "");
    let shown = words(&output);
    match (output.status.code(), steps(&shown).len()) {
        (Some(1), _) => (false, shown),
        (Some(0), 0) | (Some(2), 1..) => (true, shown),
        (code, _) => panic!("{code:?}: {shown}"),
    }
}

/// The numbered lines.
pub(crate) fn steps(shown: &str) -> Vec<&str> {
    let numbered = |line: &&str| {
        line.split_once(". ")
            .is_some_and(|(number, _)| number.parse::<u8>().is_ok())
    };
    shown.lines().filter(numbered).collect()
}

/// How many steps of a kind are held back in the tenant's account.
pub(crate) fn planned_changes(operator: &Operator, tenant: &Tenant<'_>, step: &str) -> u32 {
    let metrics = operator.metrics().expect("it runs");
    let series = format!(
        "vpce_planned_changes{{account=\"{}\",action=\"{step}\"}} ",
        tenant.account
    );
    let found = metrics.lines().find_map(|line| line.strip_prefix(&series));
    found.map_or(0, |value| value.parse().expect("a number"))
}

#[test]
fn a_read_only_operator_says_what_it_would_do_and_does_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("reader");
    for name in ["kept", "drifted", "leaving"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.ready(name);
    }
    world.operator.terminate().expect("it ends");
    let reader = world
        .operator
        .replica("reader", &[("VPCE_MODE", "ReadOnly")])
        .expect("it starts");
    let writes = tenant.writes();

    // One that is new.
    tenant.apply("new", tenant.spec(json!({})));
    let message = tenant.not_ready("new", "ReadOnly");
    for part in ["--mode ReadOnly", "create security group", "create an endpoint for"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let new = tenant.get("new").expect("it is there");
    assert!(
        new["metadata"]["finalizers"].is_null(),
        "nothing is made that it stands for"
    );
    assert!(new["status"]["account"].is_null(), "it is not bound");
    let service = condition(&new, "ServicePublished").expect("it is said of the Service too");
    assert_eq!((service.status, service.reason.as_str()), (false, "ReadOnly"));

    // One that differs, one that is deleted, one that is as it should be.
    tenant.merge("drifted", json!({"spec": {"tags": {"team": "blue"}}}));
    let message = tenant.not_ready("drifted", "ReadOnly");
    assert!(message.contains("set tags of"), "{message}");
    tenant.delete("leaving");
    let message = tenant.not_ready("leaving", "ReadOnly");
    assert!(message.contains("delete endpoint"), "{message}");
    tenant.merge(
        "kept",
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
    );
    tenant.ready("kept");

    // Metrics and the subcommand agree.
    world.eventually("the metrics tell of the steps", || {
        let expected = [("CreateVpcEndpoint", 1), ("CreateTags", 2), ("DeleteVpcEndpoints", 1)];
        let found = expected.map(|(step, _)| (step, planned_changes(&reader, &tenant, step)));
        (found == expected).then_some(())
    });
    let of = |name: &str| format!("{}/{name}", tenant.namespace);
    let (planned, shown) = plan(&tenant, &of("new"), &[]);
    assert!(planned, "{shown}");
    let actions = [
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "CreateVpcEndpoint",
        "PublishService",
    ];
    let listed = steps(&shown);
    assert_eq!(listed.len(), actions.len(), "{shown}");
    for (line, action) in listed.iter().zip(actions) {
        assert!(line.ends_with(&format!("({action})")), "{line} is not {action}");
    }
    let (planned, shown) = plan(&tenant, &of("kept"), &[]);
    assert!(planned && shown.contains("no steps"), "{shown}");
    let (planned, shown) = plan(&tenant, &of("leaving"), &[]);
    assert!(planned && steps(&shown).len() == 3, "Service, endpoint, group: {shown}");

    // Nothing was done by either.
    assert_eq!(tenant.writes(), writes);
    assert!(tenant.kubernetes_service("new").is_none());
    assert!(tenant.kubernetes_service("leaving").is_some());

    // It is all done by one that may.
    reader.terminate().expect("it ends");
    world.operator.start().expect("it starts");
    tenant.ready("new");
    tenant.ready("drifted");
    tenant.gone("leaving");
    assert_eq!(planned_changes(&world.operator, &tenant, "CreateVpcEndpoint"), 0);
    let (planned, shown) = plan(&tenant, &of("new"), &[]);
    assert!(planned && shown.contains("no steps"), "{shown}");
}

#[test]
fn the_subcommand_says_why_nothing_can_be_planned() {
    let world = World::shared();
    let tenant = world.tenant("planner");
    let of = |name: &str| format!("{}/{name}", tenant.namespace);
    let (planned, shown) = plan(&tenant, &of("absent"), &[]);
    assert!(!planned && shown.contains("there is no VPCEndpoint"), "{shown}");
    let (planned, shown) = plan(&tenant, "no-slash", &[]);
    assert!(!planned && shown.contains("NAMESPACE/NAME"), "{shown}");

    tenant.apply("there", tenant.spec(json!({})));
    tenant.ready("there");
    tenant.suspend("there");
    let writes = tenant.writes();
    tenant.apply("waits", tenant.spec(json!({})));
    let message = tenant.not_ready("waits", "AccountSuspended");
    assert!(message.contains("is suspended"), "{message}");
    world.eventually("what is held back is measured", || {
        (planned_changes(&world.operator, &tenant, "CreateVpcEndpoint") == 1).then_some(())
    });
    let (planned, shown) = plan(&tenant, &of("waits"), &[]);
    assert!(
        planned && shown.contains("not carried out: AccountSuspended"),
        "{shown}"
    );
    assert_eq!(steps(&shown).len(), 4, "{shown}");

    tenant.edit_account(json!({"suspended": null, "allowed_vpc_ids": []}));
    tenant.not_ready("waits", "NotAllowed");
    let (planned, shown) = plan(&tenant, &of("waits"), &[]);
    assert!(!planned && shown.contains("NotAllowed"), "{shown}");
    assert_eq!(tenant.writes(), writes);
    let id = text(&tenant.get("waits").expect("there")["status"]["vpc_endpoint_id"]);
    assert!(id.is_empty(), "{id}");
}

#[test]
fn a_namespace_and_an_account_are_planned_at_once() {
    let world = World::shared();
    let tenant = world.tenant("planned");
    for name in ["one", "two"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.ready(name);
    }
    tenant.suspend("one");
    tenant.merge("two", json!({"spec": {"tags": {"team": "blue"}}}));
    tenant.serves_without_the_edit("two", "AccountSuspended");
    let json_of = |arguments: &[&str]| {
        let mut plan = world.subcommand();
        let output = type_into(plan.arg("plan").args(arguments).args(["--output", "json"]), "");
        let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        (output.status.code(), shown)
    };
    for selection in [["--in-namespace", &tenant.namespace], ["--of-account", &tenant.account]] {
        let (code, shown) = json_of(&selection);
        assert_eq!((code, shown.len()), (Some(2), 2), "{shown:?}");
        let of = |number: usize, field: &str| shown[number][field].clone();
        assert_eq!((of(0, "name"), of(1, "name")), (json!("one"), json!("two")));
        assert_eq!(of(0, "account_id"), tenant.account_id);
        assert_eq!(of(0, "steps"), json!([]));
        let steps = of(1, "steps");
        let actions: Vec<&Value> = steps
            .as_array()
            .expect("steps")
            .iter()
            .map(|step| &step["action"])
            .collect();
        assert!(
            !actions.is_empty() && actions.iter().all(|action| *action == "CreateTags"),
            "{shown:?}"
        );
        assert_eq!(of(1, "not_carried_out")["reason"], "AccountSuspended");
    }
    let one = format!("{}/one", tenant.namespace);
    let (code, shown) = json_of(&[&one, &one]);
    assert_eq!(
        (code, shown.len()),
        (Some(0), 1),
        "each once, and nothing would change: {shown:?}"
    );
    let mut plan = world.subcommand();
    let output = type_into(plan.args(["plan", "--of-account", "none"]), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("there is no AWSAccount none"));
}
