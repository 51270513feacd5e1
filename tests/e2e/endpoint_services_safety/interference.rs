//! What others refuse or change: admission webhooks the operator's writes, AWS its calls, a former
//! schema the objects. It is reported, and stops nothing else.

use std::time::Instant;

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointState, Fault, FaultKind};

use super::{CREATE, Consumer, created};
use crate::admission_webhooks::{
    Bed, Case, MINUTE, MOST_A_MINUTE, a_minute_after, bed, changes, is_plain, most_a_minute, namespaces, put_in_force,
    refusals, rule, with_tenants, writes,
};
use crate::cluster::{self, Run};
use crate::endpoint_services::{Offers, offering, root};
use crate::tenant::Tenant;
use crate::unparseable::without_schema;
use crate::world::{Setup, World, condition, text};

const OBJECTS: &str = "vpcendpointservices";
const STATUS: &str = "vpcendpointservices/status";

/// What webhooks do to a status; and to what an object is bound to.
fn changed_statuses() -> (Vec<Case>, Vec<Case>) {
    let changed = vec![
        changes("no-conditions", "conditions", |object| {
            object["status"]["conditions"] = json!([]);
        }),
        changes("no-id", "service_id", |object| {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("service_id");
            }
        }),
        changes("state", "state", |object| {
            object["status"]["state"] = json!("Melting");
        }),
    ];
    let rebound = vec![
        changes("account", "account", |object| {
            if !object["status"]["account"].is_null() {
                object["status"]["account"] = json!({"name": "another", "account_id": "999999999999"});
            }
        }),
        changes("region", "region", |object| {
            if !object["status"]["region"].is_null() {
                object["status"]["region"] = json!("eu-west-1");
            }
        }),
        changes("no-arns", "load_balancer_arns", |object| {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("load_balancer_arns");
            }
        }),
        changes("no-type", "load_balancer_type", |object| {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("load_balancer_type");
            }
        }),
        changes("no-consumers", "consumer_account_ids", |object| {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("consumer_account_ids");
            }
        }),
    ];
    (changed, rebound)
}

/// What a case's tenant offers, with a tag and a consumer.
struct Webhooked<'c, 't> {
    case: &'c Case,
    offers: Offers<'t, 'c>,
    arn: String,
}

fn offers_of<'c, 't>(cases: &'t [(&'c Case, Tenant<'c>)]) -> Vec<Webhooked<'c, 't>> {
    let of = |(case, tenant): &'t (&'c Case, Tenant<'c>)| {
        let offers = Offers::of(tenant);
        let arn = offers.active();
        Webhooked { case, offers, arn }
    };
    cases.iter().map(of).collect()
}

impl Webhooked<'_, '_> {
    fn apply(&self, name: &str, tag: &str) {
        let changes = json!({"tags": {"Stage": tag}, "consumers": {"account_ids": ["222222222222"]}});
        self.offers.apply(name, &offering(&[&self.arn], changes));
    }

    /// The operator's writes of a resource, of this object and within the last minute, are few.
    #[track_caller]
    fn costs_little(&self, bed: &Bed, resource: &str) {
        let mut seen = writes(bed, self.offers.tenant, resource);
        seen.retain(|seen| seen.name == "web" && seen.at.elapsed() < MINUTE);
        let most = most_a_minute(&seen, 0);
        println!("FIGURE {}: {most} writes of {resource} a minute", self.case.name);
        assert!(most <= MOST_A_MINUTE, "{} {resource}: {seen:#?}", self.case.name);
    }
}

#[test]
fn a_status_that_is_refused_or_changed_is_reported_and_nothing_is_created_twice() {
    let bed = &*bed();
    let (changed, rebound) = changed_statuses();
    let refused = refusals();
    let all = [
        with_tenants(bed, "svc-status", &refused),
        with_tenants(bed, "svc-status", &changed),
        with_tenants(bed, "svc-status", &rebound),
    ];
    let [refused, changed, rebound] = [&all[0], &all[1], &all[2]].map(|cases| offers_of(cases));
    let rules = rule("silvermullet.com", &["UPDATE"], STATUS);
    let in_force = put_in_force(bed, "svc-statuses", &rules, &namespaces(all.iter().flatten()));
    for one in refused.iter().chain(&changed).chain(&rebound) {
        one.apply("web", "one");
    }
    let told = |one: &Webhooked<'_, '_>, reason: &str| {
        let event = one.offers.event("web", reason);
        assert!(event.starts_with("Warning") && event.contains(one.case.told), "{event}");
        is_plain(&event);
    };
    for one in refused.iter().chain(&rebound) {
        told(one, "StatusRefused");
    }
    for one in &changed {
        told(one, "StatusChanged");
        one.offers.eventually("web", "it is offered all the same", || {
            (one.offers.all().first()?.state == "Available").then_some(())
        });
    }
    a_minute_after(bed, Instant::now());
    for one in refused.iter().chain(&rebound) {
        one.costs_little(bed, STATUS);
        assert_eq!(
            one.offers.all(),
            [],
            "{}: nothing is created that is not bound",
            one.case.name
        );
    }
    for one in &changed {
        one.costs_little(bed, STATUS);
        assert_eq!(one.offers.all().len(), 1, "{}", one.case.name);
    }
    drop(in_force);
    // What was bound elsewhere stays there.
    let stays = |one: &&Webhooked<'_, '_>| matches!(one.case.name, "account" | "region");
    for one in refused.iter().chain(&changed).chain(&rebound).filter(|one| !stays(one)) {
        one.offers.eventually("web", "its status says what it has", || {
            let object = one.offers.get("web")?;
            let id = text(&object["status"]["service_id"]);
            let is_ready = condition(&object, "Ready")?.status;
            (is_ready && one.offers.by_id(&id).is_some()).then_some(())
        });
        one.offers.exactly_one("web", one.case.name);
        one.offers.delete("web");
        one.offers.nothing_left("web", one.case.name);
    }
}

#[test]
fn a_finalizer_that_is_refused_or_removed_is_reported_and_nothing_is_created_without_it() {
    let bed = &*bed();
    let stripped = changes("stripped", "stored without it", |object| {
        object["metadata"]["finalizers"] = json!([]);
    });
    let cases: Vec<Case> = refusals().into_iter().chain([stripped]).collect();
    let tenants = with_tenants(bed, "svc-finalizer", &cases);
    let all = offers_of(&tenants);
    for one in &all {
        one.apply("leaving", "one");
        one.offers.ready("leaving");
    }
    let rules = rule("silvermullet.com", &["UPDATE"], OBJECTS);
    let in_force = put_in_force(bed, "svc-finalizers", &rules, &namespaces(&tenants));
    for one in &all {
        let arn = one.offers.active();
        one.offers.apply("web", &offering(&[&arn], json!({})));
        // Where it is only stripped, it goes.
        if one.case.name != "stripped" {
            one.offers.delete("leaving");
        }
    }
    for one in &all {
        let message = one.offers.not_ready("web", "FinalizerRefused");
        assert!(message.contains(one.case.told), "{}: {message}", one.case.name);
        is_plain(&message);
        assert_eq!(
            one.offers.get("web").expect("it is there")["status"]["account"],
            Value::Null
        );
        if one.case.name != "stripped" {
            one.offers.not_ready("leaving", "FinalizerRefused");
            assert_eq!(
                one.offers.all(),
                [],
                "what it had is gone, and nothing is created without a finalizer"
            );
        }
    }
    a_minute_after(bed, Instant::now());
    for one in &all {
        one.costs_little(bed, OBJECTS);
        one.costs_little(bed, STATUS);
    }
    drop(in_force);
    for one in &all {
        one.offers.ready("web");
        if one.case.name != "stripped" {
            one.offers.gone("leaving");
        }
    }
}

#[test]
fn an_object_that_does_not_parse_harms_no_other_and_can_be_deleted() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("old");
    let offers = Offers::of(&tenant);
    let names = ["good", "bound", "doomed"];
    let arns = names.map(|_| offers.active());
    for (name, arn) in names.iter().zip(&arns) {
        offers.apply(name, &offering(&[arn], json!({})));
    }
    let ids = names.map(|name| text(&offers.ready(name)["status"]["service_id"]));
    let invalid = [
        ("bound", offering(&[&arns[1]], json!({"acceptance_required": "maybe"}))),
        ("doomed", offering(&[&arns[2]], json!({"on_delete": "Maybe"}))),
        ("new", offering(&[&arns[0]], json!({"deletion_policy": 7}))),
    ];
    let collection = cluster::endpoint_services(&tenant.namespace);
    let object = |name: &str, spec: &Value| {
        json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpointService", "metadata": {"name": name}, "spec": spec,
        })
    };
    let probe = object("probe", &json!({"load_balancer": 7}));
    without_schema(&world, OBJECTS, (&collection, &probe), || {
        for (name, spec) in &invalid {
            let created = world.cluster.create(&collection, &object(name, spec), Run::Real);
            match created {
                Err(refusal) if refusal.code == 409 => {
                    let changed = world.cluster.set_spec(&offers.path(name), spec, Run::Real);
                    changed.map_err(|refusal| refusal.message)?;
                }
                created => drop(created.map_err(|refusal| refusal.message)?),
            }
        }
        Ok(())
    });
    for (name, _) in &invalid {
        let message = offers.not_ready(name, "InvalidSpec");
        assert!(
            message.contains("does not parse") && message.contains("delete the object"),
            "{message}"
        );
        let object = offers.get(name).expect("it is there");
        assert!(
            condition(&object, "Stalled").expect("only an edit can help").status,
            "{name}"
        );
    }
    world.eventually("the metric counts them", || {
        let metrics = world.operator.metrics().ok()?;
        metrics
            .contains("vpce_unparseable_objects{kind=\"VPCEndpointService\"} 3")
            .then_some(())
    });
    assert_eq!(offers.all().len(), 3, "nothing is taken away from what does not parse");
    offers.apply("good", &offering(&[&arns[0]], json!({"tags": {"edited": "yes"}})));
    offers.ready("good");
    assert!(offers.by_id(&ids[0]).expect("it is there").tags.contains_key("edited"));
    // Corrected, it keeps its endpoint service.
    offers.apply("bound", &offering(&[&arns[1]], json!({})));
    assert_eq!(text(&offers.ready("bound")["status"]["service_id"]), ids[1]);
    for name in ["doomed", "new"] {
        offers.delete(name);
        offers.gone(name);
    }
    assert_eq!(offers.all().len(), 2);
}

#[test]
fn a_denied_change_is_told_with_its_action_and_the_others_are_made() {
    let tenant = World::shared().tenant("denied");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(tenant.world);
    let (one, two) = (offers.active(), offers.active());
    offers.apply("web", &offering(&[&one], json!({})));
    let service = offers.service_name("web");
    for (action, permission) in [
        (
            "ModifyVpcEndpointServiceConfiguration",
            "ec2:ModifyVpcEndpointServiceConfiguration",
        ),
        (
            "ModifyVpcEndpointServicePermissions",
            "ec2:ModifyVpcEndpointServicePermissions",
        ),
        ("CreateTags", "ec2:CreateTags"),
        ("AcceptVpcEndpointConnections", "ec2:AcceptVpcEndpointConnections"),
    ] {
        tenant.world.aws.deny(&tenant.role_arn, permission);
        let id = consumer.connect(&service, EndpointState::PendingAcceptance);
        let changes = json!({
            "acceptance_required": true, "consumers": {"account_ids": [consumer.id()]}, "tags": {"team": action},
            "allowed_principals": [root("555555555555")],
        });
        // AWS removes none while endpoints are connected.
        offers.apply("web", &offering(&[&one, &two], changes));
        offers.eventually("web", "it names the action", || {
            let (ready, _, message) = offers.says("web")?;
            (!ready && message.contains(permission) && message.contains(&tenant.role_arn)).then_some(())
        });
        offers.eventually("web", "what is not denied is done", || {
            let now = offers.only();
            let done = [
                (
                    "ModifyVpcEndpointServiceConfiguration",
                    now.load_balancer_arns.len() == 2,
                ),
                ("ModifyVpcEndpointServicePermissions", now.principals.len() == 2),
                ("CreateTags", now.tags.get("team").is_some_and(|team| team == action)),
                ("AcceptVpcEndpointConnections", consumer.state(&id) == "available"),
            ];
            done.iter().all(|(of, done)| *done == (*of != action)).then_some(())
        });
        tenant.world.aws.allow(&tenant.role_arn, permission);
        consumer.becomes(&id, "available");
        offers.ready("web");
        // Back to where it began, with no connection.
        consumer.delete(&id);
        offers.apply("web", &offering(&[&one], json!({})));
        offers.ready("web");
    }
}

#[test]
fn throttled_calls_are_tried_again_and_hold_up_no_other_account() {
    // Slow enough that its queue is told of.
    let limit = format!("settings.awsLimits.{CREATE}");
    let world = World::own(Setup::fast().value(&limit, "1/0.1"));
    let (throttled, other) = (world.tenant("throttled"), world.tenant("other"));
    let (offers, others) = (Offers::of(&throttled), Offers::of(&other));
    world.aws.fault(Fault {
        account: Some(throttled.account_id.clone()),
        times: usize::MAX,
        ..Fault::once(
            CREATE,
            FaultKind::refuse(503, "RequestLimitExceeded", "Request limit exceeded."),
        )
    });
    offers.apply("web", &offering(&[&offers.active()], json!({})));
    offers.reason("web", "RateLimited");
    others.apply("web", &offering(&[&others.active()], json!({})));
    others.ready("web");
    world.aws.clear_faults();
    offers.exactly_one("web", "after it was throttled");
    assert_eq!(created(&throttled), 1);
}
