//! What is shown of VPCEndpointServices without changing anything: an operator that is read-only,
//! `plan`, and `status`.

use serde_json::{Value, json};
use vpce_testbed::aws::EndpointState;

use crate::cluster::{self, ACCOUNTS, Run};
use crate::endpoint_services::{Offers, offering};
use crate::read_only::{planned_changes, steps};
use crate::status::{developer, status};
use crate::subcommand::{type_into, words};
use crate::world::{Setup, World, condition, text};

const KIND: [&str; 2] = ["--kind", "vpcendpointservice"];

/// What `plan` says in an exit code and in words.
fn plan(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let mut plan = world.subcommand();
    let output = type_into(plan.arg("plan").args(arguments), "");
    (output.status.code(), words(&output))
}

fn plan_json(world: &World, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut plan = world.subcommand();
    let output = type_into(plan.arg("plan").args(arguments).args(["--output", "json"]), "");
    let shown = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    (output.status.code(), shown)
}

#[test]
fn a_read_only_operator_says_what_it_would_do_and_does_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("reader");
    let offers = Offers::of(&tenant);
    let arns = [(); 4].map(|()| offers.load_balancer());
    for (name, arn) in ["kept", "drifted", "leaving"].iter().zip(&arns) {
        offers.apply(name, &offering(&[arn], json!({})));
        offers.ready(name);
    }
    world.operator.terminate().expect("it ends");
    let reader = world.operator.replica("reader", &[("VPCE_MODE", "ReadOnly")]);
    let reader = reader.expect("it starts");
    let (writes, before) = (tenant.writes(), offers.all());

    let consumers = json!({"account_ids": ["222222222222"]});
    offers.apply("new", &offering(&[&arns[3]], json!({"consumers": consumers})));
    let message = offers.not_ready("new", "ReadOnly");
    for part in [
        "--mode ReadOnly",
        "create an endpoint service for",
        "allowed principals",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let new = offers.get("new").expect("it is there");
    assert!(
        new["metadata"]["finalizers"].is_null() && new["status"]["account"].is_null(),
        "{new:#}"
    );
    offers.apply("drifted", &offering(&[&arns[1]], json!({"tags": {"team": "blue"}})));
    let message = offers.not_ready("drifted", "ReadOnly");
    assert!(message.contains("set tags of"), "{message}");
    offers.delete("leaving");
    let message = offers.not_ready("leaving", "ReadOnly");
    assert!(message.contains("delete endpoint service"), "{message}");
    offers.ready("kept");

    // Metrics and the subcommand agree.
    world.eventually("the metrics tell of the steps", || {
        let expected = [
            ("CreateVpcEndpointServiceConfiguration", 1),
            ("CreateTags", 1),
            ("DeleteVpcEndpointServiceConfigurations", 1),
        ];
        let found = expected.map(|(step, _)| (step, planned_changes(&reader, &tenant, step)));
        (found == expected).then_some(())
    });
    for (name, actions) in [
        (
            "new",
            &[
                "CreateVpcEndpointServiceConfiguration",
                "ModifyVpcEndpointServicePermissions",
            ][..],
        ),
        ("drifted", &["CreateTags"]),
        ("leaving", &["DeleteVpcEndpointServiceConfigurations"]),
        ("kept", &[]),
    ] {
        let of = format!("{}/{name}", tenant.namespace);
        let (code, shown) = plan(&world, &[&of, KIND[0], KIND[1]]);
        assert_eq!(code, Some(if actions.is_empty() { 0 } else { 2 }), "{shown}");
        assert!(
            shown.contains(&format!("VPCEndpointService {of}: AWSAccount {}", tenant.account)),
            "{shown}"
        );
        let listed = steps(&shown);
        assert_eq!(listed.len(), actions.len(), "{shown}");
        for (line, action) in listed.iter().zip(actions) {
            assert!(line.ends_with(&format!("({action})")), "{line} is not {action}");
        }
    }
    assert_eq!(
        (tenant.writes(), offers.all()),
        (writes, before),
        "nothing was done by either"
    );

    reader.terminate().expect("it ends");
    world.operator.start().expect("it starts");
    offers.ready("new");
    offers.ready("drifted");
    offers.gone("leaving");
    assert_eq!(offers.all().len(), 3);
}

#[test]
fn before_a_rebuilt_cluster_takes_over_it_says_so() {
    let setup = Setup::fast().value("settings.clusterId", "blue");
    let old = World::own(setup.clone());
    let tenant = old.tenant("rebuilt");
    let offers = Offers::of(&tenant);
    offers.apply("web", &offering(&[&offers.load_balancer()], json!({})));
    let object = offers.ready("web");
    let before = offers.all();
    old.operator.kill().expect("it was running");

    let new = World::beside(&old, setup.value("mode", "ReadOnly"));
    let namespace = &tenant.namespace;
    new.cluster.create_namespace(namespace, json!({"tenant": namespace}));
    let account = old.aws_account(&tenant.account).expect("it is there");
    let collection = cluster::endpoint_services(namespace);
    for (collection, object) in [(ACCOUNTS, account), (&collection, object)] {
        let manifest = json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": {"name": object["metadata"]["name"]}, "spec": object["spec"],
        });
        let created = new.cluster.create(collection, &manifest, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message));
    }
    let message = new.eventually("it says what it would do", || {
        let object = new.cluster.get(&offers.path("web"))?;
        condition(&object, "Ready").filter(|ready| ready.reason == "ReadOnly")
    });
    let message = message.message;
    assert!(
        message.contains("set tags of") && !message.contains("create"),
        "{message}"
    );
    let object = new.cluster.get(&offers.path("web")).expect("it is there");
    assert!(
        object["status"]["service_id"].is_null(),
        "what is not bound has nothing: {object:#}"
    );
    let (code, shown) = plan(&new, &["--in-namespace", namespace, "--cluster-id", "blue"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        steps(&shown).iter().all(|line| line.ends_with("(CreateTags)")),
        "{shown}"
    );
    assert_eq!(offers.all(), before);
}

#[test]
fn a_namespace_and_an_account_are_planned_with_objects_of_both_kinds() {
    let world = World::shared();
    let tenant = world.tenant("planned");
    let offers = Offers::of(&tenant);
    offers.apply("one", &offering(&[&offers.load_balancer()], json!({})));
    tenant.apply("one", tenant.spec(json!({})));
    offers.ready("one");
    tenant.ready("one");
    tenant.suspend("one");
    offers.merge("one", &json!({"spec": {"acceptance_required": false}}));
    offers.not_ready("one", "AccountSuspended");
    for selection in [["--in-namespace", &tenant.namespace], ["--of-account", &tenant.account]] {
        let (code, shown) = plan_json(world, &selection);
        let kinds: Vec<String> = shown.iter().map(|one| text(&one["kind"])).collect();
        assert_eq!(
            (code, kinds),
            (Some(2), vec!["VPCEndpoint".to_owned(), "VPCEndpointService".to_owned()])
        );
        let service = &shown[1];
        assert_eq!(
            (text(&service["name"]), text(&service["account_id"])),
            ("one".to_owned(), tenant.account_id.clone())
        );
        assert_eq!(service["steps"][0]["action"], "ModifyVpcEndpointServiceConfiguration");
        assert_eq!(service["not_carried_out"]["reason"], "AccountSuspended");
        for part in ["endpoint_service", "load_balancers"] {
            assert!(service[part]["reason"].is_string(), "{service:#}");
        }
        for (kind, code) in [("vpce", 0), ("vpcesvc", 2)] {
            let arguments = [selection[0], selection[1], "--kind", kind];
            let (found, shown) = plan_json(world, &arguments);
            assert_eq!((found, shown.len()), (Some(code), 1), "{kind}: {shown:?}");
        }
    }
    let of = format!("{}/two", tenant.namespace);
    let (code, shown) = plan(world, &[&of, KIND[0], KIND[1]]);
    assert!(
        code == Some(1) && shown.contains("there is no VPCEndpointService"),
        "{shown}"
    );
    offers.apply(
        "two",
        &json!({"load_balancer": {"network_load_balancer_arns": [offers.load_balancer()]}}),
    );
    tenant.edit_account(json!({"suspended": null, "allow_endpoint_services": null}));
    offers.reason("two", "NotAllowed");
    let (code, shown) = plan(world, &[&of, KIND[0], KIND[1]]);
    assert!(
        code == Some(1) && shown.contains("nothing can be planned: NotAllowed"),
        "{shown}"
    );
}

#[test]
fn a_developer_reads_the_whole_story_of_an_endpoint_service() {
    let world = World::shared();
    let (tenant, consumer) = (world.tenant("story"), world.tenant("consumer"));
    let offers = Offers::of(&tenant);
    let kubeconfig = developer(&tenant);
    let arn = offers.load_balancer();
    let consumers = json!({"account_ids": [consumer.account_id]});
    offers.apply("web", &offering(&[&arn], json!({"consumers": consumers})));
    let service = text(&offers.ready("web")["status"]["service_name"]);
    let (aws, account, region) = (&world.aws, &consumer.account_id, &consumer.region);
    let id = aws.add_endpoint_behind(account, region, &consumer.subnets[0], &service, &consumer.group);
    let id = id.expect("an endpoint");
    aws.set_endpoint_state(account, region, &id, EndpointState::PendingAcceptance, None)
        .expect("it is there");
    offers.eventually("web", "it counts the connection", || {
        (offers.get("web")?["status"]["connections"]["available"] == 1).then_some(())
    });
    let object = offers.ready("web");
    let of = format!("{}/web", tenant.namespace);
    let said = offers.eventually("web", "the event is shown", || {
        let (success, said) = status(&tenant, &kubeconfig, &[&of, KIND[0], KIND[1]]);
        assert!(success, "{said}");
        said.contains("Normal Available").then_some(said)
    });
    for expected in [
        &format!("VPCEndpointService  {of}"),
        "True: Available",
        &format!("{} ({}), {}", tenant.account, tenant.account_id, tenant.region),
        &arn,
        &format!("{} (Available)", text(&object["status"]["service_id"])),
        &service,
        "1 available",
        &format!("{id} of account {account}: available"),
        "ServiceAvailable=True Available, ",
        "s ago",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(said.lines().count() <= 40, "more than a screen: {said}");

    offers.apply("away", &offering(&[&arn], json!({"account": "another"})));
    let message = offers.not_ready("away", "AccountNotMapped");
    let of = ["away", "--namespace", &tenant.namespace, "--kind", "vpcesvc"];
    let (success, said) = status(&tenant, &kubeconfig, &of);
    assert!(success, "{said}");
    for expected in ["False: AccountNotMapped", &message, "none (not created yet)"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (success, said) = status(&tenant, &kubeconfig, &[&format!("{}/away", tenant.namespace)]);
    assert!(!success && said.contains("there is no VPCEndpoint"), "{said}");
}
