//! Traces: what a collector gets of reconciles and their calls, and what a collector that is not
//! there costs.

use serde_json::json;
use vpce_testbed::aws::Call;
use vpce_testbed::collector::{Collector, Mood, Span};

use crate::tenant::Tenant;
use crate::world::{Setup, World};

const CLIENT: i32 = 3;

/// A world whose operator exports to a collector, and often.
fn traced(collector: &Collector, more: &[(&str, &str)]) -> World {
    let mut setup = Setup::fast().value("settings.logFormat", "json");
    let own = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
    ];
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let all = own.into_iter().chain(more);
    setup.env.extend(all.map(|(name, value)| (name.to_owned(), value)));
    World::own(setup)
}

/// The spans of a tenant's calls to AWS.
fn calls_of<'s>(tenant: &Tenant<'_>, spans: &'s [Span]) -> Vec<&'s Span> {
    let of_tenant = |span: &&Span| span.attribute("cloud.account.id") == tenant.account_id;
    spans.iter().filter(of_tenant).collect()
}

/// The spans of the reconciles of a tenant's objects.
fn reconciles_of<'s>(tenant: &Tenant<'_>, spans: &'s [Span]) -> Vec<&'s Span> {
    let of_tenant = |span: &&Span| span.name == "reconcile" && span.attribute("namespace") == tenant.namespace;
    spans.iter().filter(of_tenant).collect()
}

#[track_caller]
fn check_reconcile(span: &Span) {
    assert_eq!(span.attribute("name"), "api");
    assert_eq!(span.attribute("controller"), "vpcendpoint");
    assert!(span.parent_span_id.is_empty(), "{span:?}");
    for (name, value) in [
        ("service.name", "vpce-operator"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.pod.name", "vpce-operator-0"),
        ("deployment.environment.name", "test"),
    ] {
        assert_eq!(span.resource.get(name).map(String::as_str), Some(value), "{name}");
    }
}

/// The span of a call, by its request id, which no other span has.
#[track_caller]
fn span_of<'s>(call: &Call, spans: &[&'s Span]) -> &'s Span {
    let of_call = |span: &&&Span| span.attribute("aws.request_id") == call.request_id;
    let found: Vec<&&Span> = spans.iter().filter(of_call).collect();
    assert_eq!(found.len(), 1, "{} {}", call.action, call.request_id);
    found[0]
}

#[track_caller]
fn check_call(call: &Call, span: &Span) {
    let service = call.service.to_uppercase();
    assert_eq!(span.name, format!("{service}/{}", call.action));
    assert_eq!(span.kind, CLIENT);
    for (name, value) in [
        ("rpc.system", "aws-api"),
        ("rpc.service", &service),
        ("rpc.method", &call.action),
        ("cloud.region", &call.region),
    ] {
        assert_eq!(span.attribute(name), value, "{name} of {span:?}");
    }
    if call.is_dry_run() {
        assert!(!span.is_error, "{span:?}");
    } else {
        assert_eq!(span.is_error, !call.ok(), "{span:?}");
        let code = if call.ok() { "" } else { &call.result };
        assert_eq!(span.attribute("error.type"), code, "{span:?}");
    }
}

/// A write to the API server is a span, too.
#[track_caller]
fn check_status_write(spans: &[Span], reconciles: &[&[u8]]) {
    let status = spans
        .iter()
        .find(|span| span.name == "PATCH vpcendpoints/status" && reconciles.contains(&span.parent_span_id.as_slice()));
    let status = status.expect("the write of a status");
    assert_eq!(status.kind, CLIENT);
    assert_eq!(status.attribute("http.response.status_code"), "200");
    assert!(
        status.attribute("url.path").ends_with("/vpcendpoints/api/status"),
        "{status:?}"
    );
}

#[test]
fn a_reconcile_is_a_span_with_its_calls_in_it() {
    let collector = Collector::start().expect("a collector");
    let world = traced(
        &collector,
        &[("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")],
    );
    let tenant = world.tenant("traced");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    world.aws.deny(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.delete("api");
    tenant.not_ready("api", "Denied");
    world.aws.allow(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.merge(
        "api",
        json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": "now"}}}),
    );
    tenant.gone("api");
    assert!(world.operator.terminate().expect("it was running").success());

    // All is there once the process has ended: what was waiting was sent before.
    let spans = collector.spans();
    let reconciles = reconciles_of(&tenant, &spans);
    assert!(!reconciles.is_empty());
    reconciles.iter().for_each(|span| check_reconcile(span));
    let ids: Vec<&[u8]> = reconciles.iter().map(|span| span.span_id.as_slice()).collect();

    // Each call that AWS has of the account is a span.
    let calls_spans = calls_of(&tenant, &spans);
    let calls = tenant.calls();
    for call in &calls {
        check_call(call, span_of(call, &calls_spans));
    }
    let of = |action: &str| {
        let call = calls.iter().find(|call| call.action == action && call.ok());
        span_of(call.unwrap_or_else(|| panic!("no {action} in {calls:?}")), &calls_spans)
    };
    for action in ["CreateVpcEndpoint", "CreateSecurityGroup", "DeleteSecurityGroup"] {
        let parent = of(action).parent_span_id.as_slice();
        assert!(ids.contains(&parent), "{action} is in no reconcile");
    }
    // Deletes leave together, and link to the reconciles that asked for them.
    let together = of("DeleteVpcEndpoints").parent_span_id.clone();
    let together = spans
        .iter()
        .find(|span| span.span_id == together)
        .expect("a span around it");
    assert_eq!(together.name, "delete together");
    assert!(
        together.links.iter().any(|link| ids.contains(&link.as_slice())),
        "{together:?}"
    );
    check_status_write(&spans, &ids);

    let text = collector.text();
    let secrets = world.aws.secrets();
    assert!(secrets.len() >= 3, "its own, and a session's key and token");
    assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())));
}

#[test]
fn the_sampler_of_the_environment_decides_what_is_sent() {
    let collector = Collector::start().expect("a collector");
    let world = traced(&collector, &[("OTEL_TRACES_SAMPLER", "always_off")]);
    let tenant = world.tenant("unsampled");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    assert!(world.operator.terminate().expect("it was running").success());
    assert_eq!(collector.spans(), []);
}

#[test]
fn without_a_collector_nothing_is_sent_and_a_wrong_protocol_is_refused() {
    let collector = Collector::start().expect("a collector");
    let world = traced(&collector, &[("OTEL_SDK_DISABLED", "true")]);
    let tenant = world.tenant("disabled");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    assert!(world.operator.terminate().expect("it was running").success());
    assert_eq!(collector.requests(), 0);
    let refused = world.operator.replica(
        "vpce-operator-1",
        &[("OTEL_SDK_DISABLED", ""), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    );
    let refused = format!("{:#}", refused.expect_err("it does not start"));
    assert!(refused.contains("OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\""), "{refused}");
}

/// How often the log says so.
fn said(world: &World, message: &str) -> usize {
    world
        .operator
        .logs()
        .lines()
        .filter(|line| line.contains(message))
        .count()
}

#[test]
fn a_collector_that_refuses_or_does_not_answer_blocks_nothing_and_costs_one_log_line() {
    for mood in [Mood::Refuses, Mood::Silent] {
        let collector = Collector::start().expect("a collector");
        collector.set_mood(mood);
        let world = traced(&collector, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]);
        let tenant = world.tenant("alone");
        for number in 0..5 {
            let name = format!("api-{number}");
            tenant.apply(&name, tenant.spec(json!({})));
            tenant.ready(&name);
            tenant.delete(&name);
            tenant.gone(&name);
        }
        world.eventually("several batches are lost", || (collector.requests() >= 3).then_some(()));
        assert_eq!(said(&world, "traces cannot be sent"), 1, "{mood:?}");
        assert!(collector.spans().is_empty());
        collector.set_mood(Mood::Takes);
        tenant.apply("later", tenant.spec(json!({})));
        tenant.ready("later");
        world.eventually("the collector's return is told", || {
            (said(&world, "traces are sent again") == 1).then_some(())
        });
        world.eventually("what happens now is sent", || {
            let spans = collector.spans();
            let later = |span: &Span| span.attribute("name") == "later";
            spans.iter().any(later).then_some(())
        });
        assert_eq!(said(&world, "traces cannot be sent"), 1, "{mood:?}");
        // A process that ends does not wait for one that does not answer.
        collector.set_mood(mood);
        tenant.delete("later");
        tenant.gone("later");
        assert!(world.operator.terminate().expect("it was running").success());
    }
}
