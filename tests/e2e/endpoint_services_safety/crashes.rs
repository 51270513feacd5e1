//! Crashes and lost answers, at each write to AWS and to the API server; and two leaders at once.

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointState, Fault, FaultKind, PausePoint};

use super::{CREATE, Consumer, created};
use crate::crashes::{POINTS, Withheld, answer_was_lost, crash_at, crash_without, kill, lose_answer, start};
use crate::endpoint_services::{Offers, offering, root};
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, World};

const MODIFY: &str = "ModifyVpcEndpointServiceConfiguration";
const PERMISSIONS: &str = "ModifyVpcEndpointServicePermissions";
const ACCEPT: &str = "AcceptVpcEndpointConnections";
const REJECT: &str = "RejectVpcEndpointConnections";
const DELETE: &str = "DeleteVpcEndpointServiceConfigurations";
const DESCRIBE: &str = "DescribeVpcEndpointServiceConfigurations";
const OBJECTS: &str = "vpcendpointservices";
const STATUS: &str = "vpcendpointservices/status";

/// Calls of this action that AWS has carried out in the tenant's account.
fn carried_out(tenant: &Tenant<'_>, action: &str) -> usize {
    let calls = tenant.calls();
    calls.iter().filter(|call| call.action == action && call.ok()).count()
}

#[test]
fn a_lost_answer_creates_nothing_twice_and_leaves_nothing() {
    let world = World::shared();
    let consumer = Consumer::new(world);
    // All at once, each in an account of its own.
    let cases = [
        CREATE,
        PERMISSIONS,
        MODIFY,
        ACCEPT,
        REJECT,
        "CreateTags",
        "DeleteTags",
        DELETE,
    ];
    let tenants: Vec<_> = cases.map(|action| (action, world.tenant("lost"))).into();
    let tenants: Vec<_> = tenants
        .iter()
        .map(|(action, tenant)| {
            let offers = Offers::of(tenant);
            let arn = offers.active();
            (*action, offers, arn)
        })
        .collect();
    let before = |arn: &String| {
        let consumers = json!({"account_ids": [consumer.id()]});
        offering(&[arn], json!({"consumers": consumers, "tags": {"team": "a"}}))
    };
    for (action, offers, arn) in &tenants {
        if [CREATE, PERMISSIONS, ACCEPT].contains(action) {
            lose_answer(offers.tenant, action);
        }
        offers.apply("web", &before(arn));
    }
    let mut endpoints = Vec::new();
    for (action, offers, arn) in &tenants {
        let service = offers.exactly_one("web", action).name;
        let id = consumer.connect(&service, EndpointState::PendingAcceptance);
        endpoints.push(id.clone());
        consumer.becomes(&id, "available");
        if ![CREATE, PERMISSIONS, ACCEPT, DELETE].contains(action) {
            lose_answer(offers.tenant, action);
        }
        offers.apply(
            "web",
            &offering(&[arn], json!({"acceptance_required": false, "tags": {"cost": "b"}})),
        );
    }
    for ((action, offers, _), id) in tenants.iter().zip(&endpoints) {
        consumer.becomes(id, "rejected");
        let service = offers.exactly_one("web", action);
        assert!(
            !service.acceptance_required && service.principals.is_empty(),
            "{action}"
        );
        assert!(
            service.tags.contains_key("cost") && !service.tags.contains_key("team"),
            "{action}"
        );
        assert_eq!(created(offers.tenant), 1, "{action}");
        if *action == DELETE {
            lose_answer(offers.tenant, action);
        }
        offers.delete("web");
    }
    for (action, offers, _) in &tenants {
        offers.nothing_left("web", action);
        answer_was_lost(offers.tenant, action);
    }
}

/// An endpoint service is created, which no status names, and the operator is not running.
fn create_unseen(world: &World, offers: &Offers<'_, '_>, spec: &Value) {
    let gate = world.aws.pause_on(CREATE, PausePoint::After);
    offers.apply("web", spec);
    assert!(gate.wait_reached(WITHIN), "no endpoint service is created");
    kill(world);
    gate.abandon();
    assert_eq!(offers.all().len(), 1);
    let object = offers.get("web").expect("it is there");
    assert!(object["status"]["service_id"].is_null(), "{object:#}");
}

#[test]
fn an_edit_while_the_answer_to_the_create_is_lost_leaves_exactly_one() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("edited");
    let offers = Offers::of(&tenant);
    let (one, two) = (offers.active(), offers.active());
    let before = offering(&[&one], json!({}));
    // The first reads after the crash find nothing, as EC2 is eventually consistent: AWS is asked
    // to create another, with the ClientToken of before and other parameters.
    let find_nothing = || {
        let unseen = Fault {
            times: 2,
            account: Some(tenant.account_id.clone()),
            ..Fault::once(DESCRIBE, FaultKind::Empty)
        };
        world.aws.fault(unseen);
    };
    create_unseen(&world, &offers, &before);
    let first = offers.only().id;
    find_nothing();
    offers.apply(
        "web",
        &offering(&[&one], json!({"acceptance_required": false, "tags": {"team": "b"}})),
    );
    start(&world);
    let service = offers.exactly_one("web", "after an edit of what can be changed");
    assert_eq!(service.id, first);
    assert!(!service.acceptance_required && service.tags["team"] == "b");
    let calls = tenant.calls();
    let mut creates = calls.iter().filter(|call| call.action == CREATE);
    assert!(
        creates.any(|call| call.result == "IdempotentParameterMismatch"),
        "{calls:#?}"
    );
    offers.delete("web");
    offers.nothing_left("web", "after an edit of what can be changed");

    // Other load balancers: what was created for the former ones goes, and is not left.
    create_unseen(&world, &offers, &before);
    let first = offers.only().id;
    find_nothing();
    offers.apply("web", &offering(&[&two], json!({})));
    start(&world);
    let service = offers.exactly_one("web", "after an edit of the load balancers");
    assert_ne!(service.id, first);
    assert_eq!(service.load_balancer_arns, [two]);
    offers.delete("web");
    offers.nothing_left("web", "after an edit of the load balancers");

    // Only to be deleted.
    create_unseen(&world, &offers, &before);
    find_nothing();
    offers.delete("web");
    start(&world);
    offers.nothing_left("web", "after a deletion");
}

/// An object that is created, changed or deleted, in an account of its own.
struct Crashing<'t, 'w> {
    offers: Offers<'t, 'w>,
    consumers: [Consumer<'w>; 2],
    arns: [String; 2],
}

impl<'t, 'w> Crashing<'t, 'w> {
    fn new(world: &'w World, tenant: &'t Tenant<'w>) -> Self {
        let offers = Offers::of(tenant);
        Self {
            consumers: [Consumer::new(world), Consumer::new(world)],
            arns: [offers.active(), offers.active()],
            offers,
        }
    }

    /// Before it is changed the first account is a consumer, then the second.
    fn spec(&self, version: usize) -> Value {
        let consumers = json!({"account_ids": [self.consumers[version].id()]});
        let tags = [json!({"team": "a"}), json!({"cost": "b"})];
        let principals = [json!([]), json!([root("444444444444")])];
        let changes = json!({
            "consumers": consumers, "tags": tags[version], "allowed_principals": principals[version], "on_delete": "Reject",
        });
        // AWS removes none while endpoints are connected.
        let arns: Vec<&String> = self.arns[..=version].iter().collect();
        offering(&arns, changes)
    }

    /// With both accounts' endpoints wanting to connect.
    fn create(&self) -> [String; 2] {
        self.offers.apply("web", &self.spec(0));
        let service = self.offers.service_name("web");
        let ids = [0, 1].map(|number| self.consumers[number].connect(&service, EndpointState::PendingAcceptance));
        self.consumers[0].becomes(&ids[0], "available");
        ids
    }

    /// It is as the version says, and so are the connections.
    #[track_caller]
    fn is(&self, version: usize, ids: Option<&[String; 2]>, what: &str) {
        let service = self.offers.exactly_one("web", what);
        let consumer = root(self.consumers[version].id());
        assert!(service.principals.contains(&consumer), "{what}: {service:#?}");
        assert_eq!(service.principals.len(), 1 + version, "{what}: {service:#?}");
        assert!(service.tags.contains_key(["team", "cost"][version]), "{what}");
        assert!(!service.tags.contains_key(["cost", "team"][version]), "{what}");
        let Some(ids) = ids else { return };
        if version == 1 {
            self.consumers[0].becomes(&ids[0], "rejected");
            self.consumers[1].becomes(&ids[1], "available");
        }
    }

    #[track_caller]
    fn goes(&self, ids: Option<[String; 2]>, what: &str) {
        self.offers.delete("web");
        self.gone(ids, what);
    }

    #[track_caller]
    fn gone(&self, ids: Option<[String; 2]>, what: &str) {
        self.offers.nothing_left("web", what);
        for (consumer, id) in self.consumers.iter().zip(ids.into_iter().flatten()) {
            consumer.delete(&id);
        }
    }
}

#[test]
fn a_crash_at_any_call_to_aws_creates_nothing_twice_and_leaves_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("crash");
    let crashing = Crashing::new(&world, &tenant);
    for point in POINTS {
        for action in [CREATE, PERMISSIONS] {
            let what = format!("{point:?} {action}");
            let gate = world.aws.pause_on(action, point);
            crashing.offers.apply("web", &crashing.spec(0));
            crash_at(&world, gate, &what);
            crashing.is(0, None, &what);
            crashing.goes(None, &what);
        }
        for action in [MODIFY, PERMISSIONS, ACCEPT, REJECT, "CreateTags", "DeleteTags"] {
            let what = format!("{point:?} {action}, changed");
            let ids = crashing.create();
            let gate = world.aws.pause_on(action, point);
            crashing.offers.apply("web", &crashing.spec(1));
            crash_at(&world, gate, &what);
            crashing.is(1, Some(&ids), &what);
            crashing.goes(Some(ids), &what);
        }
        for action in [REJECT, DELETE] {
            let what = format!("{point:?} {action}, deleted");
            let ids = crashing.create();
            let gate = world.aws.pause_on(action, point);
            crashing.offers.delete("web");
            crash_at(&world, gate, &what);
            crashing.gone(Some(ids), &what);
        }
    }
    assert_eq!(created(&tenant), POINTS.len() * 10);
}

#[test]
fn a_crash_before_any_write_to_the_api_server_creates_nothing_twice_and_leaves_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("crash-writes");
    let crashing = Crashing::new(&world, &tenant);
    let offers = &crashing.offers;
    for resource in [OBJECTS, STATUS] {
        let what = format!("before it can patch {resource}");
        let withheld = Withheld::new(&world, "patch", resource);
        offers.apply("web", &crashing.spec(0));
        withheld.wait_reached();
        assert_eq!(offers.all(), [], "nothing is created before it is bound");
        crash_without(&world, withheld);
        crashing.is(0, None, &what);
        crashing.goes(None, &what);
    }

    let what = "before a status names the endpoint service";
    let gate = world.aws.pause_on(CREATE, PausePoint::After);
    offers.apply("web", &crashing.spec(0));
    assert!(gate.wait_reached(WITHIN), "no endpoint service is created");
    let withheld = Withheld::new(&world, "patch", STATUS);
    gate.release();
    withheld.wait_reached();
    assert!(offers.get("web").expect("it is there")["status"]["service_id"].is_null());
    crash_without(&world, withheld);
    crashing.is(0, None, what);
    crashing.goes(None, what);

    // An account is remembered before its connections are accepted, so that they can be rejected.
    let what = "before a status names the consumers";
    let ids = crashing.create();
    let withheld = Withheld::new(&world, "patch", STATUS);
    let accepted = carried_out(&tenant, ACCEPT);
    offers.apply("web", &crashing.spec(1));
    withheld.wait_reached();
    assert_eq!(
        carried_out(&tenant, ACCEPT),
        accepted,
        "nothing is accepted that could not be rejected"
    );
    crash_without(&world, withheld);
    crashing.is(1, Some(&ids), what);

    let what = "before the finalizer is removed";
    let withheld = Withheld::new(&world, "patch", OBJECTS);
    offers.delete("web");
    withheld.wait_reached();
    assert_eq!(offers.all(), [], "the finalizer goes last");
    assert!(offers.get("web").is_some());
    crash_without(&world, withheld);
    crashing.gone(Some(ids), what);
}

#[test]
fn even_with_two_leaders_nothing_is_created_twice() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("two-leaders");
    let offers = Offers::of(&tenant);
    let second = world.operator.replica("second", &[("VPCE_LEASE_NAMESPACE", "")]);
    let _second = second.expect("without an election it works");
    let consumer = Consumer::new(&world);
    let names: Vec<String> = (0..8).map(|number| format!("web-{number}")).collect();
    let arns: Vec<[String; 2]> = names.iter().map(|_| [offers.active(), offers.active()]).collect();
    let consumers = json!({"account_ids": [consumer.id()]});
    for (name, [arn, _]) in names.iter().zip(&arns) {
        offers.apply(
            name,
            &offering(&[arn], json!({"consumers": consumers, "tags": {"team": "a"}})),
        );
    }
    let mut endpoints = Vec::new();
    for name in &names {
        let service = offers.service_name(name);
        endpoints.push(consumer.connect(&service, EndpointState::PendingAcceptance));
    }
    for id in &endpoints {
        consumer.becomes(id, "available");
    }
    assert_eq!(offers.all().len(), names.len());
    for (name, [arn, other]) in names.iter().zip(&arns) {
        offers.apply(
            name,
            &offering(&[arn, other], json!({"tags": {"cost": "b"}, "on_delete": "Reject"})),
        );
    }
    for (name, id) in names.iter().zip(&endpoints) {
        consumer.becomes(id, "rejected");
        offers.eventually(name, "both agree", || {
            let id = offers.ready(name)["status"]["service_id"].take();
            let service = offers.by_id(id.as_str()?)?;
            let keys = (service.tags.contains_key("cost"), service.tags.contains_key("team"));
            (keys == (true, false) && service.principals.is_empty()).then_some(())
        });
    }
    assert_eq!(offers.all().len(), names.len());
    assert_eq!(created(&tenant), names.len());
    for name in &names {
        offers.delete(name);
    }
    for name in &names {
        offers.gone(name);
    }
    assert_eq!(offers.all(), []);
}
