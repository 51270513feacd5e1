//! Crashes and lost answers: whatever is cut off where, nothing is made twice and nothing is left.
//!
//! A crash between two writes is met at each of them: before a call to AWS is carried out, after it
//! was carried out but before its answer, and before each write to the API server, which is held
//! off by taking away the right to it. What a crash leaves right after one write is what it leaves
//! before the next.

mod adopted;
mod edited;

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use vpce_testbed::aws::{Config, Fault, FaultKind, Gate, PausePoint, ServiceSpec};

use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, WhileUsed, World, merged};

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/vpce-operator";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const OPERATOR: &str = "system:serviceaccount:vpce-system:vpce-operator";
const CREATING: [&str; 3] = [
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "CreateVpcEndpoint",
];
const DELETING: [&str; 2] = ["DeleteVpcEndpoints", "DeleteSecurityGroup"];
pub(crate) const POINTS: [PausePoint; 2] = [PausePoint::Before, PausePoint::After];

/// A right that is taken from the operator until this is dropped.
pub(crate) struct Withheld<'w> {
    world: &'w World,
    rules: Value,
    verb: &'static str,
    resource: &'static str,
    refused_before: usize,
}

impl<'w> Withheld<'w> {
    pub(crate) fn new(world: &'w World, verb: &'static str, resource: &'static str) -> Self {
        let rules = world.cluster.get(ROLE).expect("the chart installs it")["rules"].take();
        let mut fewer = rules.clone();
        let list = fewer.as_array_mut().expect("rules");
        for rule in list.iter_mut() {
            let named = rule["resources"]
                .as_array()
                .expect("resources")
                .contains(&json!(resource));
            if named {
                let verbs = rule["verbs"].as_array_mut().expect("verbs");
                verbs.retain(|allowed| allowed != verb);
            }
        }
        list.retain(|rule| rule["verbs"] != json!([]));
        let withheld = Self {
            world,
            rules,
            verb,
            resource,
            refused_before: refusals(world, verb, resource),
        };
        withheld.set(fewer, false);
        withheld
    }

    /// Waits until the operator has tried and was refused.
    pub(crate) fn wait_reached(&self) {
        self.world
            .eventually(&format!("it tries to {} {}", self.verb, self.resource), || {
                (refusals(self.world, self.verb, self.resource) > self.refused_before).then_some(())
            });
    }

    fn set(&self, rules: Value, allowed: bool) {
        let changed = self.world.cluster.merge(ROLE, &json!({"rules": rules}));
        changed.unwrap_or_else(|refusal| panic!("{ROLE}: {}", refusal.message));
        // The API server itself learns of it a moment later.
        self.world.eventually("the operator's rights are changed", || {
            (self.is_allowed() == allowed).then_some(())
        });
    }

    fn is_allowed(&self) -> bool {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let group = if resource == "services" { "" } else { "silvermullet.com" };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": OPERATOR, "groups": ["system:serviceaccounts"],
                "resourceAttributes": {
                    "verb": self.verb, "group": group, "resource": resource, "subresource": subresource, "namespace": "default",
                },
            },
        });
        let answer = self.world.cluster.create(REVIEWS, &review, crate::cluster::Run::Real);
        answer.expect("an answer")["status"]["allowed"] == true
    }
}

impl Drop for Withheld<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.set(self.rules.clone(), true);
        }
    }
}

/// How often the operator that runs was refused this request.
fn refusals(world: &World, verb: &str, resource: &str) -> usize {
    let metrics = world.operator.metrics().expect("it runs");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("vpce_kubernetes_requests_total{"));
    let these = counted.filter(|line| {
        let labels = [("code", "403"), ("verb", verb), ("resource", resource)];
        labels
            .iter()
            .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    });
    let counts = these.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum::<f64>() as usize
}

pub(crate) fn kill(world: &World) {
    world.operator.kill().expect("it was running");
}

pub(crate) fn start(world: &World) {
    world.operator.start().expect("it starts again");
}

/// Kills the operator while a right is withheld, and starts it again with that right.
pub(crate) fn crash_without(world: &World, withheld: Withheld<'_>) {
    kill(world);
    drop(withheld);
    start(world);
}

/// Kills the operator while a call stands at the gate, and starts it again.
pub(crate) fn crash_at(world: &World, gate: Gate, what: &str) {
    assert!(gate.wait_reached(WITHIN), "it never comes to {what}");
    kill(world);
    gate.abandon();
    start(world);
}

#[track_caller]
fn exactly_one(tenant: &Tenant<'_>, name: &str, what: &str) {
    tenant.ready(name);
    assert_eq!(tenant.endpoints().len(), 1, "endpoints after a crash {what}");
    assert_eq!(tenant.groups().len(), 1, "groups after a crash {what}");
    let group = &tenant.groups()[0];
    assert_eq!(
        tenant.endpoints()[0].group_ids,
        std::slice::from_ref(&group.id),
        "after a crash {what}"
    );
    assert_eq!(
        (group.ingress.len(), group.egress.len()),
        (3, 1),
        "after a crash {what}"
    );
}

#[track_caller]
fn nothing_left(tenant: &Tenant<'_>, name: &str, what: &str) {
    tenant.gone(name);
    assert_eq!(tenant.endpoints(), [], "after a crash {what}");
    assert_eq!(tenant.groups(), [], "after a crash {what}");
    assert!(tenant.kubernetes_service(name).is_none(), "after a crash {what}");
}

/// Crashes before and after each call to AWS, while an endpoint is created and deleted.
fn crash_at_calls(world: &World, tenant: &Tenant<'_>) {
    for action in CREATING {
        for point in POINTS {
            let what = format!("{point:?} {action}");
            let gate = world.aws.pause_on(action, point);
            tenant.apply("api", tenant.spec(json!({})));
            crash_at(world, gate, &what);
            exactly_one(tenant, "api", &what);
            tenant.delete("api");
            nothing_left(tenant, "api", &what);
        }
    }
    for action in DELETING {
        for point in POINTS {
            let what = format!("{point:?} {action}");
            tenant.apply("api", tenant.spec(json!({})));
            tenant.ready("api");
            let gate = world.aws.pause_on(action, point);
            tenant.delete("api");
            crash_at(world, gate, &what);
            nothing_left(tenant, "api", &what);
        }
    }
}

/// Crashes before the writes to the API server while an endpoint is created: the finalizer; then
/// account, region and incarnation; then the Service.
fn crash_before_writes(world: &World, tenant: &Tenant<'_>) {
    for (verb, resource) in [
        ("patch", "vpcendpoints"),
        ("patch", "vpcendpoints/status"),
        ("create", "services"),
    ] {
        let what = format!("before it can {verb} {resource}");
        let withheld = Withheld::new(world, verb, resource);
        tenant.apply("api", tenant.spec(json!({})));
        withheld.wait_reached();
        let bound = resource == "services";
        assert_eq!(
            tenant.endpoints().len(),
            usize::from(bound),
            "nothing is made before it is bound"
        );
        crash_without(world, withheld);
        exactly_one(tenant, "api", &what);
        tenant.delete("api");
        nothing_left(tenant, "api", &what);
    }
}

/// Crashes before the status that first names the endpoint, and before the one that says Ready,
/// which leaves the object.
fn crash_before_statuses(world: &World, tenant: &Tenant<'_>) {
    let what = "before a status names the endpoint";
    let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
    tenant.apply("api", tenant.spec(json!({})));
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    let withheld = Withheld::new(world, "patch", "vpcendpoints/status");
    gate.release();
    withheld.wait_reached();
    assert!(tenant.get("api").expect("it is there")["status"]["vpc_endpoint_id"].is_null());
    crash_without(world, withheld);
    exactly_one(tenant, "api", what);
    tenant.delete("api");
    nothing_left(tenant, "api", what);

    let what = "before a status says Ready";
    let service = tenant.add_service(ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    });
    tenant.apply("api", tenant.spec(json!({"vpc_endpoint_service_id": service})));
    tenant.not_ready("api", "PendingAcceptance");
    let withheld = Withheld::new(world, "patch", "vpcendpoints/status");
    tenant.accept();
    withheld.wait_reached();
    tenant.eventually("api", "the Service comes before the status", || {
        tenant.kubernetes_service("api").map(drop)
    });
    crash_without(world, withheld);
    exactly_one(tenant, "api", what);
}

/// Crashes before the writes to the API server while an endpoint is deleted: the deletion of the
/// Service, and the finalizer.
fn crash_before_writes_of_a_deletion(world: &World, tenant: &Tenant<'_>) {
    let withheld = Withheld::new(world, "delete", "services");
    tenant.delete("api");
    withheld.wait_reached();
    assert_eq!(tenant.endpoints().len(), 1, "no client is led to an endpoint that goes");
    crash_without(world, withheld);
    nothing_left(tenant, "api", "before the Service is deleted");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let withheld = Withheld::new(world, "patch", "vpcendpoints");
    tenant.delete("api");
    withheld.wait_reached();
    assert_eq!(
        (tenant.endpoints().len(), tenant.groups().len()),
        (0, 0),
        "the finalizer goes last"
    );
    assert!(tenant.get("api").is_some());
    crash_without(world, withheld);
    nothing_left(tenant, "api", "before the finalizer goes");
}

#[test]
fn a_crash_at_any_write_makes_nothing_twice_and_leaves_nothing() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("crash");
    crash_at_calls(&world, &tenant);
    crash_before_writes(&world, &tenant);
    crash_before_statuses(&world, &tenant);
    crash_before_writes_of_a_deletion(&world, &tenant);
}

#[test]
fn an_endpoint_with_provided_groups_that_no_status_names_is_deleted_after_an_edit_to_generated() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("unacknowledged");
    let edit_after_lost_create = || {
        let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
        let provided = json!({"security_group_type": "provided", "security_group_ids": [tenant.group]});
        tenant.apply("api", tenant.spec(provided));
        assert!(gate.wait_reached(WITHIN), "no endpoint is made");
        kill(&world);
        gate.abandon();
        assert_eq!(tenant.endpoints().len(), 1);
        tenant.apply("api", tenant.spec(json!({})));
    };
    edit_after_lost_create();
    tenant.delete("api");
    start(&world);
    nothing_left(&tenant, "api", "after CreateVpcEndpoint, an edit and a deletion");

    // Without the deletion it gets a group of its own.
    edit_after_lost_create();
    start(&world);
    exactly_one(&tenant, "api", "after CreateVpcEndpoint and an edit");
}

/// A world, for one test at a time, in which AWS shows late what was created: an operator that
/// reads and then tries again finds nothing, and asks for another.
pub(crate) fn late() -> Arc<Mutex<World>> {
    static WORLD: WhileUsed<Mutex<World>> = WhileUsed::new();
    WORLD.get(|| {
        let setup = Setup::fast().value("settings.settleSeconds", "4");
        Mutex::new(World::own(Setup {
            aws: Config {
                consistency_seconds: 3.0,
                ..setup.aws.clone()
            },
            ..setup
        }))
    })
}

#[test]
fn what_no_status_names_is_found_when_it_is_only_to_be_deleted() {
    let world = late();
    let world = world.lock();
    let tenant = world.tenant("unseen");
    for action in ["CreateSecurityGroup", "CreateVpcEndpoint"] {
        let gate = world.aws.pause_on(action, PausePoint::After);
        tenant.apply("api", tenant.spec(json!({})));
        assert!(gate.wait_reached(WITHIN), "it never comes to {action}");
        kill(&world);
        gate.abandon();
        tenant.delete("api");
        assert_eq!(tenant.groups().len(), 1);
        start(&world);
        nothing_left(&tenant, "api", &format!("After {action} and a deletion"));
    }
}

/// A custom group with the same rules for ingress and egress.
#[test]
fn a_group_that_no_status_names_is_found_after_an_edit_to_generated_and_a_deletion() {
    let world = late();
    let world = world.lock();
    let tenant = world.tenant("regrouped");
    tenant.edit_account(json!({"allow_retain": true}));
    for policy in ["Delete", "Retain"] {
        let spec = |change: Value| tenant.spec(merged(json!({"deletion_policy": policy}), change));
        let provided = json!({"security_group_type": "provided", "security_group_ids": [tenant.group]});
        tenant.apply("api", spec(provided));
        tenant.ready("api");
        let gate = world.aws.pause_on("CreateSecurityGroup", PausePoint::After);
        tenant.apply("api", spec(json!({})));
        assert!(gate.wait_reached(WITHIN), "no group is made");
        kill(&world);
        gate.abandon();
        assert_eq!(tenant.groups().len(), 1);
        tenant.delete("api");
        start(&world);
        if policy == "Delete" {
            nothing_left(&tenant, "api", "after CreateSecurityGroup, an edit and a deletion");
        } else {
            tenant.gone("api");
            let [group] = &tenant.groups()[..] else {
                panic!("one group is retained")
            };
            assert!(group.tags.contains_key("silvermullet.com/retained"), "{group:?}");
        }
    }
}

fn custom(ports: &[u16]) -> Value {
    let rules: Vec<Value> = ports
        .iter()
        .map(|port| json!({"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]}))
        .collect();
    json!({"security_group_type": "custom", "security_group_ingress": rules, "security_group_egress": rules})
}

/// AWS carries out the tenant's next call of an action, and its answer is lost.
pub(crate) fn lose_answer(tenant: &Tenant<'_>, action: &str) {
    tenant.world.aws.fault(Fault {
        account: Some(tenant.account_id.clone()),
        ..Fault::once(action, FaultKind::LoseAnswer)
    });
}

#[track_caller]
pub(crate) fn answer_was_lost(tenant: &Tenant<'_>, action: &str) {
    let calls = tenant.calls();
    assert!(
        calls.iter().any(|call| call.action == action && !call.answered),
        "{action} was answered"
    );
}

/// An endpoint that is edited so that the operator calls an action.
struct Edited<'w> {
    action: &'static str,
    tenant: Tenant<'w>,
    /// The spec of the edit.
    spec: Value,
}

impl<'w> Edited<'w> {
    /// Applies the spec as it is before the edit.
    fn create(world: &'w World, action: &'static str, change: Value) -> Self {
        let tenant = world.tenant("edited");
        let change = if action == "ModifyVpcEndpoint" {
            json!({"subnet_ids": tenant.subnets})
        } else {
            change
        };
        let before = tenant.spec(merged(custom(&[443]), json!({"tags": {"team": "a"}})));
        let spec = merged(before.clone(), change);
        tenant.apply("api", before);
        Self { action, tenant, spec }
    }

    /// The endpoint and its group are as the edited spec says, and there is no other.
    #[track_caller]
    fn is_carried_out(&self) {
        let Self { action, tenant, spec } = self;
        let (endpoints, groups) = (tenant.endpoints(), tenant.groups());
        assert_eq!((endpoints.len(), groups.len()), (1, 1), "{action}");
        assert_eq!(
            endpoints[0].subnet_ids.len(),
            spec["subnet_ids"].as_array().expect("ids").len(),
            "{action}"
        );
        let rules = spec["security_group_ingress"].as_array().expect("rules").len();
        assert_eq!(
            (groups[0].ingress.len(), groups[0].egress.len()),
            (rules, rules),
            "{action}"
        );
        for tags in [&endpoints[0].tags, &groups[0].tags] {
            let users = tags
                .iter()
                .filter(|(key, _)| !key.starts_with("silvermullet.com/") && *key != "Name");
            let users: Value = users
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into();
            assert_eq!(users, spec["tags"], "{action}");
        }
    }
}

#[test]
fn a_lost_answer_makes_nothing_twice_and_leaves_nothing() {
    let world = late();
    let world = world.lock();
    // All at once, each in an account of its own.
    let created: Vec<(&str, Tenant<'_>)> = CREATING.map(|action| (action, world.tenant("lost"))).into();
    for (action, tenant) in &created {
        lose_answer(tenant, action);
        tenant.apply("api", tenant.spec(json!({})));
    }
    let edited = [
        ("AuthorizeSecurityGroupIngress", custom(&[443, 8443])),
        ("AuthorizeSecurityGroupEgress", custom(&[443, 8443])),
        ("RevokeSecurityGroupIngress", custom(&[8443])),
        ("RevokeSecurityGroupEgress", custom(&[8443])),
        ("ModifyVpcEndpoint", json!({"subnet_ids": null})),
        ("CreateTags", json!({"tags": {"team": "b", "cost": "c"}})),
        ("DeleteTags", json!({"tags": {}})),
    ]
    .map(|(action, change)| Edited::create(&world, action, change));

    for (action, tenant) in &created {
        exactly_one(tenant, "api", action);
        answer_was_lost(tenant, action);
    }
    for Edited { action, tenant, spec } in &edited {
        tenant.ready("api");
        lose_answer(tenant, action);
        tenant.apply("api", spec.clone());
    }
    for edited in &edited {
        edited.tenant.ready("api");
        answer_was_lost(&edited.tenant, edited.action);
        edited.is_carried_out();
    }

    // Each of the deletes loses an answer in one of these accounts.
    for (action, (_, tenant)) in DELETING.iter().zip(&created) {
        lose_answer(tenant, action);
    }
    let created_in = created.iter().map(|(_, tenant)| tenant);
    let tenants: Vec<&Tenant<'_>> = created_in.chain(edited.iter().map(|edited| &edited.tenant)).collect();
    for tenant in &tenants {
        tenant.delete("api");
    }
    for tenant in &tenants {
        nothing_left(tenant, "api", "that was none");
    }
    for (action, (_, tenant)) in DELETING.iter().zip(&created) {
        answer_was_lost(tenant, action);
    }
}

#[test]
fn what_was_created_and_deleted_unseen_blocks_nothing() {
    let mut setup = Setup::fast();
    // AWS says of the next create that it was carried out before: it is looked for during 30 times
    // as long.
    setup.env.push(("VPCE_SETTLE_SECONDS".to_owned(), "0.2".to_owned()));
    let world = World::own(setup);
    let tenant = world.tenant("unseen");
    let gate = world.aws.pause_on("CreateVpcEndpoint", PausePoint::After);
    tenant.apply("api", tenant.spec(json!({})));
    assert!(gate.wait_reached(WITHIN), "no endpoint is made");
    kill(&world);
    gate.abandon();
    let (account, region) = (&tenant.account_id, &tenant.region);
    let unseen = tenant.endpoints()[0].id.clone();
    world
        .aws
        .delete_endpoint_behind(account, region, &unseen)
        .expect("it is there");
    world.aws.advance(1_000.0);
    // The ClientToken is that of before, and what is asked for is not.
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [tenant.subnets[2]]})));
    start(&world);
    let object = tenant.ready("api");
    assert_ne!(object["status"]["vpc_endpoint_id"], unseen.as_str());
    assert_eq!(object["status"]["incarnation"], 1);
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (1, 1));
    let refused = tenant.calls();
    let mut refused = refused.iter().filter(|call| call.action == "CreateVpcEndpoint");
    assert!(refused.any(|call| call.result == "IdempotentParameterMismatch"));
}

#[test]
fn a_service_that_no_status_names_goes_when_another_name_is_wanted() {
    let world = late();
    let world = world.lock();
    let tenant = world.tenant("renamed");
    let service = tenant.add_service(ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    });
    let named = |name: &str| tenant.spec(json!({"vpc_endpoint_service_id": service, "service": {"name": name}}));
    tenant.apply("api", named("former"));
    tenant.not_ready("api", "PendingAcceptance");
    let withheld = Withheld::new(&world, "patch", "vpcendpoints/status");
    tenant.accept();
    tenant.eventually("api", "the Service comes before the status", || {
        tenant.kubernetes_service("former").map(drop)
    });
    withheld.wait_reached();
    kill(&world);
    tenant.apply("api", named("latter"));
    drop(withheld);
    start(&world);
    tenant.ready("api");
    assert!(tenant.kubernetes_service("latter").is_some());
    tenant.eventually("api", "the Service of the former name goes", || {
        tenant.kubernetes_service("former").is_none().then_some(())
    });
}
