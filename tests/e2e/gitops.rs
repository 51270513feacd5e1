//! What tools that apply and watch objects make of them: kubectl, kstatus, Argo CD and Flux, each
//! by its own code.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vpce_core::conditions::{EventKind, Reason};
use vpce_testbed::aws::{EndpointState, ServiceSpec};
use vpce_testbed::tools::Tool;

use crate::cluster::{ACCOUNTS, Run, endpoint_services};
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// Within which kubectl finds a condition that is there, or will come.
const SOON: &str = "--timeout=120s";

/// What kstatus, Argo CD and Flux say of an object.
#[derive(Debug, Clone, PartialEq)]
struct Verdicts {
    kstatus: String,
    argocd: String,
    flux: String,
}

impl Verdicts {
    fn new(kstatus: &str, argocd: &str, flux: &str) -> Self {
        let [kstatus, argocd, flux] = [kstatus, argocd, flux].map(str::to_owned);
        Self { kstatus, argocd, flux }
    }
}

/// Asks the three about objects, with the scripts and expressions of the examples.
fn judge(objects: &[&Value]) -> Vec<Verdicts> {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut process = Command::new(Tool::GitopsHealth.path().expect("built"))
        .args(["-argocd", &format!("{examples}/argocd/argocd-cm.yaml")])
        .args(["-flux", &format!("{examples}/flux/kustomization.yaml")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let mut input = process.stdin.take().expect("a pipe");
    let feeding = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = process.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    feeding.join().expect("no panic").expect("it reads all");
    let verdicts: Vec<Verdicts> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let said: Value = serde_json::from_str(line).expect("JSON");
            let of = |tool: &str| text(&said[tool]["status"]);
            Verdicts::new(&of("kstatus"), &of("argocd"), &of("flux"))
        })
        .collect();
    assert_eq!(verdicts.len(), objects.len());
    verdicts
}

/// Objects as a real run left them, and what the three shall say of them.
#[derive(Default)]
struct Record(Vec<(String, Value, Verdicts)>);

impl Record {
    fn add(&mut self, state: &str, object: Option<Value>, verdicts: (&str, &str, &str)) {
        let object = object.unwrap_or_else(|| panic!("{state}: it is there"));
        let (kstatus, argocd, flux) = verdicts;
        self.0
            .push((state.to_owned(), object, Verdicts::new(kstatus, argocd, flux)));
    }

    fn check(&self) {
        let objects: Vec<&Value> = self.0.iter().map(|(_, object, _)| object).collect();
        let wrong: Vec<String> = self
            .0
            .iter()
            .zip(judge(&objects))
            .filter(|((_, _, expected), found)| expected != found)
            .map(|((state, object, expected), found)| {
                format!("{state}: {found:?}, not {expected:?}: {}", object["status"])
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

const CURRENT: (&str, &str, &str) = ("Current", "Healthy", "Current");
const IN_PROGRESS: (&str, &str, &str) = ("InProgress", "Progressing", "InProgress");
/// Tried again, and yet a person has to do something: kstatus knows only what is there in general.
const NEEDS_A_PERSON: (&str, &str, &str) = ("InProgress", "Degraded", "Failed");
const STALLED: (&str, &str, &str) = ("Failed", "Degraded", "Failed");
const WAITS_FOR_OTHERS: (&str, &str, &str) = ("InProgress", "Suspended", "InProgress");
const TERMINATING: (&str, &str, &str) = ("Terminating", "Progressing", "InProgress");

fn account_says(tenant: &Tenant<'_>, reason: &str) -> Value {
    tenant.world.eventually(&format!("the AWSAccount says {reason}"), || {
        let account = tenant.world.aws_account(&tenant.account)?;
        condition(&account, "Ready").filter(|ready| ready.reason == reason)?;
        Some(account)
    })
}

fn set_state(tenant: &Tenant<'_>, name: &str, state: EndpointState) {
    let id = text(&tenant.ready(name)["status"]["vpc_endpoint_id"]);
    let aws = &tenant.world.aws;
    aws.set_endpoint_state(&tenant.account_id, &tenant.region, &id, state, None)
        .expect("it is there");
}

/// States of endpoints, as AWS and the endpoint service decide them. The tenant keeps the objects.
fn record_endpoints<'w>(world: &'w World, record: &mut Record) -> Tenant<'w> {
    let tenant = world.tenant("states");
    for name in ["ready", "pending", "failed", "edited"] {
        tenant.apply(name, tenant.spec(json!({})));
    }
    let subnet_of_a = tenant.add_subnet("a");
    let invalid = json!({"subnet_ids": [tenant.subnets[0], subnet_of_a]});
    tenant.apply("invalid", tenant.spec(invalid));
    let service = tenant.add_service(ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    });
    for name in ["waiting", "rejected"] {
        tenant.apply(name, tenant.spec(json!({"vpc_endpoint_service_id": service})));
    }
    tenant.not_ready("rejected", "PendingAcceptance");
    let rejected = tenant.get("rejected").expect("there");
    let id = text(&rejected["status"]["vpc_endpoint_id"]);
    world
        .aws
        .reject(&tenant.account_id, &tenant.region, &id)
        .expect("it waits");
    set_state(&tenant, "pending", EndpointState::Pending);
    set_state(&tenant, "failed", EndpointState::Failed);
    record.add("Ready", Some(tenant.ready("ready")), CURRENT);
    for (name, reason, verdicts) in [
        ("pending", "Pending", IN_PROGRESS),
        ("failed", "Failed", STALLED),
        ("invalid", "Invalid", STALLED),
        ("waiting", "PendingAcceptance", WAITS_FOR_OTHERS),
        ("rejected", "Rejected", STALLED),
    ] {
        tenant.not_ready(name, reason);
        record.add(reason, tenant.get(name), verdicts);
    }
    record.add(
        "an AWSAccount is Ready",
        Some(account_says(&tenant, "Verified")),
        CURRENT,
    );
    tenant.ready("edited");
    tenant
}

/// What AWS does not allow the role: to create an endpoint, and to delete another.
fn record_denied(world: &World, record: &mut Record) {
    let denied = world.tenant("no-delete");
    denied.apply("old", denied.spec(json!({})));
    denied.ready("old");
    for action in ["ec2:CreateVpcEndpoint", "ec2:DeleteVpcEndpoints"] {
        world.aws.deny(&denied.role_arn, action);
    }
    denied.apply("new", denied.spec(json!({})));
    denied.delete("old");
    for name in ["new", "old"] {
        denied.not_ready(name, "Denied");
    }
    record.add("Denied", denied.get("new"), NEEDS_A_PERSON);
    record.add("Denied while deleting", denied.get("old"), TERMINATING);
    world.cluster.delete(&format!("{ACCOUNTS}/{}", denied.account));
    let in_use = account_says(&denied, "InUse");
    record.add("an AWSAccount in use is being deleted", Some(in_use), TERMINATING);
}

/// AWSAccounts that are suspended, decommissioned or refused, and their endpoints.
fn record_accounts(world: &World, record: &mut Record) {
    let suspended = world.tenant("suspended");
    suspended.apply("api", suspended.spec(json!({})));
    suspended.ready("api");
    suspended.edit_account(json!({"suspended": true}));
    suspended.paused("api", "AccountSuspended");
    record.add("paused", suspended.get("api"), CURRENT);
    suspended.apply("api", suspended.spec(json!({"tags": {"edited": "yes"}})));
    suspended.serves_without_the_edit("api", "AccountSuspended");
    record.add("AccountSuspended", suspended.get("api"), WAITS_FOR_OTHERS);
    let account = account_says(&suspended, "Suspended");
    record.add(
        "an AWSAccount is suspended",
        Some(account),
        ("Current", "Suspended", "Current"),
    );

    let closed = world.tenant("closed");
    closed.edit_account(json!({"decommissioned": true}));
    let account = account_says(&closed, "Decommissioned");
    record.add(
        "an AWSAccount is decommissioned",
        Some(account),
        ("InProgress", "Suspended", "Current"),
    );

    let refused = world.unregistered_tenant("refused");
    world.set_trust(&refused.role_arn, false);
    refused.register(json!({}));
    refused.apply("api", refused.spec(json!({})));
    refused.not_ready("api", "AccountNotReady");
    record.add("AccountNotReady", refused.get("api"), NEEDS_A_PERSON);
    let account = account_says(&refused, "AssumeRoleDenied");
    record.add("an AWSAccount is refused", Some(account), NEEDS_A_PERSON);
}

/// A mass deletion, after which creation is paused.
fn record_creation_paused(world: &World, record: &mut Record) {
    let vanished = world.tenant("vanished");
    for name in ["one", "two", "three"] {
        vanished.apply(name, vanished.spec(json!({})));
    }
    for name in ["one", "two", "three"] {
        vanished.ready(name);
    }
    for endpoint in vanished.endpoints() {
        world
            .aws
            .delete_endpoint_behind(&vanished.account_id, &vanished.region, &endpoint.id)
            .expect("it is there");
    }
    vanished.not_ready("one", "CreationPaused");
    record.add("CreationPaused", vanished.get("one"), NEEDS_A_PERSON);
    let paused = world.eventually("the AWSAccount says that creation is paused", || {
        let account = world.aws_account(&vanished.account)?;
        condition(&account, "CreationPaused").filter(|paused| paused.status)?;
        Some(account)
    });
    record.add(
        "creation is paused for an AWSAccount",
        Some(paused),
        ("Current", "Degraded", "Failed"),
    );
}

/// Objects that the operator has not reconciled since they were written: it is stopped.
fn record_unreconciled(tenant: &Tenant<'_>, unmapped: &Tenant<'_>, record: &mut Record) {
    let world = tenant.world;
    world.operator.kill().expect("it was running");
    let applied = tenant.apply("applied", tenant.spec(json!({})));
    record.add("applied, as the API server answers", Some(applied), IN_PROGRESS);
    record.add("applied, as it is read", tenant.get("applied"), IN_PROGRESS);
    tenant.apply("edited", tenant.spec(json!({"tags": {"edited": "yes"}})));
    let edited = tenant.get("edited").expect("there");
    let ready = edited["status"]["conditions"].as_array().expect("conditions");
    assert!(
        ready
            .iter()
            .any(|found| found["type"] == "Ready" && found["status"] == "True")
    );
    record.add("edited", Some(edited), IN_PROGRESS);
    tenant.delete("pending");
    record.add("deleted", tenant.get("pending"), TERMINATING);
    record_unreconciled_service(tenant, record);
    unmapped.register(json!({}));
    let account = world.aws_account(&unmapped.account);
    record.add("an AWSAccount is applied", account, IN_PROGRESS);
    tenant.edit_account(json!({"default_tags": {"edited": "yes"}}));
    let account = world.aws_account(&tenant.account);
    record.add("an AWSAccount is edited", account, IN_PROGRESS);
}

/// Applies a VPCEndpointService that is held by its finalizer: as the API server answers.
fn create_service(tenant: &Tenant<'_>) -> Value {
    let arn = format!(
        "arn:aws:elasticloadbalancing:{}:{}:loadbalancer/net/web/50dc6c495c0c9188",
        tenant.region, tenant.account_id
    );
    let service = json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpointService",
        "metadata": {"name": "web", "finalizers": ["silvermullet.com/vpcesvc"]},
        "spec": {"load_balancer": {"network_load_balancer_arns": [arn]}},
    });
    let collection = endpoint_services(&tenant.namespace);
    let applied = tenant.world.cluster.create(&collection, &service, Run::Real);
    applied.unwrap_or_else(|refusal| panic!("{collection}: {}", refusal.message))
}

/// A VPCEndpointService that the operator has not reconciled either.
fn record_unreconciled_service(tenant: &Tenant<'_>, record: &mut Record) {
    let applied = create_service(tenant);
    record.add("a VPCEndpointService is applied", Some(applied), IN_PROGRESS);
    let cluster = &tenant.world.cluster;
    let path = format!("{}/web", endpoint_services(&tenant.namespace));
    cluster.delete(&path);
    record.add("a VPCEndpointService is deleted", cluster.get(&path), TERMINATING);
}

#[test]
fn kstatus_argo_cd_and_flux_see_in_each_state_what_a_person_would() {
    let world = World::own(Setup::fast());
    let mut record = Record::default();
    let tenant = record_endpoints(&world, &mut record);
    let unmapped = world.unregistered_tenant("unmapped");
    unmapped.apply("api", unmapped.spec(json!({})));
    unmapped.not_ready("api", "NoAccount");
    record.add("NoAccount", unmapped.get("api"), NEEDS_A_PERSON);
    record_denied(&world, &mut record);
    record_accounts(&world, &mut record);
    record_creation_paused(&world, &mut record);
    record_unreconciled(&tenant, &unmapped, &mut record);
    record.check();
}

/// An object that says this in its `Ready`.
fn says(kind: &str, reason: Reason, ready: bool) -> Value {
    let condition = |type_: &str, truth: bool| {
        let status = if truth { "True" } else { "False" };
        json!({"type": type_, "status": status, "reason": reason.as_str(), "message": "words", "observedGeneration": 2})
    };
    let mut conditions = vec![condition("Ready", ready)];
    if reason.policy().stalled {
        conditions.push(condition("Stalled", true));
    }
    json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": kind,
        "metadata": {"name": "api", "namespace": "payments", "generation": 2},
        "spec": {}, "status": {"observedGeneration": 2, "conditions": conditions},
    })
}

#[test]
fn every_reason_is_either_on_the_way_or_waits_for_others_or_needs_a_person() {
    // Warnings after which the operator goes on by itself, or waits for a decision.
    let exceptions = BTreeMap::from([
        (Reason::AWSUnavailable, IN_PROGRESS),
        (Reason::DeletedInAWS, IN_PROGRESS),
        (Reason::AccountSuspended, WAITS_FOR_OTHERS),
        (Reason::ReadOnly, WAITS_FOR_OTHERS),
    ]);
    let good = [
        Reason::Available,
        Reason::Resolved,
        Reason::Published,
        Reason::NotRequested,
    ];
    let bad = Reason::ALL.iter().copied().filter(|reason| !good.contains(reason));
    let cases: Vec<(Reason, bool, (&str, &str, &str))> = bad
        .map(|reason| {
            let policy = reason.policy();
            let verdicts = match policy.event {
                _ if policy.stalled => STALLED,
                _ if exceptions.contains_key(&reason) => exceptions[&reason],
                EventKind::None => IN_PROGRESS,
                EventKind::Normal => WAITS_FOR_OTHERS,
                EventKind::Warning => NEEDS_A_PERSON,
            };
            (reason, false, verdicts)
        })
        .chain([(Reason::Available, true, CURRENT)])
        .chain(
            Reason::ALL
                .iter()
                .filter(|reason| reason.only_pauses())
                .map(|reason| (*reason, true, CURRENT)),
        )
        .collect();
    let mut record = Record::default();
    for kind in ["VPCEndpoint", "VPCEndpointService"] {
        for (reason, ready, verdicts) in &cases {
            record.add(
                &format!("{kind}: {reason:?}"),
                Some(says(kind, *reason, *ready)),
                *verdicts,
            );
        }
    }
    assert!(record.0.len() > 80);
    record.check();
}

/// A table that kubectl prints, as cells: what is in it stands below its column.
fn table(world: &World, arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let printed = world.kubectl(&[&["get"], arguments].concat());
    let mut rows = printed
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let (head, row) = (rows.next().expect("a head"), rows.next().expect("a row"));
    assert_eq!(rows.next(), None, "{printed}");
    (head, row)
}

#[test]
fn kubectl_prints_the_columns() {
    let world = World::shared();
    let tenant = world.tenant("columns");
    tenant.apply("api", tenant.spec(json!({})));
    let status = tenant.ready("api")["status"].take();
    let namespace = ["--namespace", &tenant.namespace];
    let columns = "NAME STATE READY REASON SERVICE ACCOUNT AGE";
    let (head, row) = table(world, &[&["vpce", "api"], &namespace[..]].concat());
    assert_eq!(head.join(" "), columns);
    let expected = ["api", "available", "True", "Available", "api", &tenant.account];
    assert_eq!(row[..6], expected);
    let (head, row) = table(world, &[&["vpces", "api", "--output", "wide"], &namespace[..]].concat());
    assert_eq!(head.join(" "), format!("{columns} TYPE ENDPOINT REGION MESSAGE"));
    assert_eq!(row[..6], expected);
    // What is as it should be has no event.
    let wide = [
        "Interface".to_owned(),
        text(&status["vpc_endpoint_id"]),
        text(&status["region"]),
    ];
    assert_eq!(row[7..], wide);
    tenant.apply("away", tenant.spec(json!({"account": "nobody"})));
    tenant.not_ready("away", "AccountNotMapped");
    let printed = world.kubectl(&[&["get", "vpce", "away", "--output", "wide"], &namespace[..]].concat());
    assert!(
        printed.contains("AWSAccount \"nobody\" of spec.account does not map"),
        "{printed}"
    );

    // The API server selects by account and by state.
    let selected = |selector: &str| {
        let arguments = [
            "get",
            "vpce",
            "--all-namespaces",
            "--output",
            "name",
            "--field-selector",
        ];
        world.kubectl(&[&arguments[..], &[selector]].concat())
    };
    let of_account = format!("status.account.name={}", tenant.account);
    let api = "vpcendpoint.silvermullet.com/api\n";
    assert_eq!(selected(&of_account), api);
    assert_eq!(selected(&format!("{of_account},status.state=available")), api);
    assert_eq!(selected(&format!("{of_account},status.state!=available")), "");

    world.eventually("the AWSAccount counts its endpoint", || {
        let account = world.aws_account(&tenant.account)?;
        condition(&account, "Ready").filter(|ready| ready.status)?;
        (account["status"]["endpoints"] == 1).then_some(())
    });
    let columns = "NAME ACCOUNT ENDPOINTS READY REASON AGE";
    let (head, row) = table(world, &["awsacct", &tenant.account]);
    assert_eq!(head.join(" "), columns);
    let expected = [&tenant.account, &tenant.account_id, "1", "True", "Verified"];
    assert_eq!(row[..5], expected);
    let (head, row) = table(world, &["awsacct", &tenant.account, "--output", "wide"]);
    assert_eq!(head.join(" "), format!("{columns} ROLE MESSAGE"));
    assert_eq!(
        (&row[..5], &row[6]),
        (&expected.map(str::to_owned)[..], &tenant.role_arn)
    );
}

#[test]
fn kubectl_prints_the_columns_of_endpoint_services() {
    let world = World::shared();
    let tenant = world.tenant("offers");
    create_service(&tenant);
    let of = |output: &[&str]| {
        let arguments = ["vpcesvc", "web", "--namespace", &tenant.namespace];
        table(world, &[&arguments, output].concat()).0.join(" ")
    };
    let columns = "NAME STATE READY REASON SERVICE WAITING ACCOUNT AGE";
    assert_eq!(of(&[]), columns);
    assert_eq!(of(&["--output", "wide"]), format!("{columns} REGION MESSAGE"));
}

#[test]
fn a_wide_table_of_what_is_well_fits_into_160_columns() {
    let world = World::shared();
    let tenant = world.tenant("payments");
    tenant.apply("card-processor", tenant.spec(json!({})));
    tenant.ready("card-processor");
    for arguments in [
        &["get", "vpce", "--output", "wide", "--namespace", &tenant.namespace][..],
        &["get", "awsacct", &tenant.account, "--output", "wide"],
    ] {
        let printed = world.kubectl(arguments);
        let widest = printed.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(widest.is_some_and(|widest| (80..=160).contains(&widest)), "{printed}");
    }
}

#[test]
fn an_account_that_is_suspended_or_maps_no_namespace_says_so_in_its_columns() {
    let world = World::shared();
    let tenant = world.tenant("quiet");
    let shows = |reason: &str| {
        world.eventually(&format!("the table says {reason}"), || {
            let (_, row) = table(world, &["awsacct", &tenant.account]);
            (row.get(3..5)? == ["True", reason]).then_some(())
        });
    };
    shows("Verified");
    tenant.edit_account(json!({"suspended": true}));
    shows("Suspended");
    // What is suspended says so first.
    tenant.edit_account(json!({"namespaces": [], "namespace_selector": {}}));
    shows("Suspended");
    tenant.edit_account(json!({"suspended": null}));
    shows("NoNamespaces");
    tenant.edit_account(json!({"namespaces": null, "namespace_selector": {"matchLabels": {"tenant": "x"}}}));
    shows("Verified");
}

#[test]
fn kubectl_waits_for_the_generation_that_is_there_now() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("wait");
    tenant.apply("api", tenant.spec(json!({})));
    let account = format!("awsaccount/{}", tenant.account);
    let objects = [
        vec!["vpce/api", "--namespace", &tenant.namespace],
        vec![account.as_str()],
    ];
    let wait = |object: &[&str], timeout: &str| {
        let arguments = [&["wait", "--for=condition=Ready", timeout], object].concat();
        world.cluster.plane.kubectl(&arguments).expect("kubectl runs").success()
    };
    for object in &objects {
        wait(object, SOON).unwrap_or_else(|error| panic!("{object:?}: {error:#}"));
    }
    account_says(&tenant, "Verified");
    tenant.ready("api");

    // Ready stands there, of the generation before.
    world.operator.kill().expect("it was running");
    tenant.apply("api", tenant.spec(json!({"tags": {"edited": "yes"}})));
    tenant.edit_account(json!({"default_tags": {"edited": "too"}}));
    for object in &objects {
        let error = wait(object, "--timeout=1s").expect_err("nobody has looked at the edit");
        assert!(format!("{error:#}").contains("timed out"), "{error:#}");
    }
    world.operator.start().expect("it starts");
    for object in &objects {
        wait(object, SOON).unwrap_or_else(|error| panic!("{object:?}: {error:#}"));
    }
    // It waited for what was edited: it is in AWS.
    let object = tenant.get("api").expect("there");
    assert!(
        condition(&object, "Ready").is_some_and(|ready| ready.status),
        "{object}"
    );
    assert_eq!(tenant.endpoints()[0].tags["edited"], "yes");
}

#[test]
fn kubectl_explains_each_kind_down_to_its_last_field() {
    let world = World::shared();
    for (kind, fields) in [
        ("vpcendpoint", ["security_group_ingress", "from_port", "dns_name"]),
        (
            "vpcesvc",
            ["network_load_balancer_arns", "account_ids", "pending_acceptance"],
        ),
        ("awsaccount", ["allowed_services", "matchLabels", "orphans"]),
    ] {
        let all = world.kubectl(&["explain", kind, "--recursive"]);
        for field in fields {
            assert!(all.contains(field), "{field} is not in: {all}");
        }
    }
    let explained = world.kubectl(&["explain", "vpce.spec.service.type"]);
    for part in [
        "ENUM:\n    ExternalName\n    Headless\n    None\n",
        "a DNS alias",
        "the default",
    ] {
        assert!(explained.contains(part), "{part:?} is not in: {explained}");
    }
}
