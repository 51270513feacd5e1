//! The log: quiet at rest, a line for each write, and a level that can be changed while it runs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use vpce_testbed::aws::{Fault, FaultKind, ServiceSpec};

use crate::tenant::Tenant;
use crate::world::{Setup, World};

/// With the log as it is by default.
fn by_default(level: &str) -> World {
    World::own(
        Setup::fast()
            .value("settings.logFormat", "json")
            .value("settings.logLevel", level)
            .value("settings.resyncIntervalSeconds", "2"),
    )
}

fn lines(world: &World) -> Vec<Value> {
    let logs = world.operator.logs();
    logs.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn looks(tenant: &Tenant<'_>) -> usize {
    tenant
        .calls()
        .iter()
        .filter(|call| call.action == "DescribeVpcEndpoints")
        .count()
}

#[test]
fn at_rest_the_log_is_silent_over_many_resyncs() {
    let world = by_default("info");
    let tenant = world.tenant("silent");
    // One exists, one waits for acceptance, which is polled, and one is refused by AWS time and
    // again.
    tenant.apply("api", tenant.spec(json!({})));
    let waiting = tenant.add_service(ServiceSpec {
        acceptance_required: true,
        ..ServiceSpec::default()
    });
    tenant.apply("waiting", tenant.spec(json!({"vpc_endpoint_service_id": waiting})));
    tenant.ready("api");
    tenant.not_ready("waiting", "PendingAcceptance");
    let (mut before, mut polled) = (usize::MAX, 0);
    world.eventually("nothing more is said while there are ten looks", || {
        let now = lines(&world).len();
        if now != before {
            (before, polled) = (now, looks(&tenant));
        }
        (looks(&tenant) >= polled + 10).then_some(())
    });
    let told = lines(&world);
    assert_eq!(told.len(), before);
    // And a change is one line of what is now, beside those of the writes.
    let of = |text: &str| {
        let of_api =
            |line: &&Value| line["name"] == "api" && line["namespace"] == tenant.namespace && line["message"] == text;
        lines(&world).iter().filter(of_api).count()
    };
    let (now, changed) = (of("now"), of("changed AWS"));
    assert!(now >= 1, "it was not Ready, and then it was");
    tenant.apply("api", tenant.spec(json!({"tags": {"team": "a"}})));
    tenant.ready("api");
    world.eventually("the tag is written", || (of("changed AWS") > changed).then_some(()));
    assert!(of("now") <= now + 2, "Updating, and Available again");
}

#[test]
fn a_write_that_aws_refuses_is_one_line_too_with_its_request_id() {
    let world = by_default("info");
    let tenant = world.tenant("refused");
    for (action, code) in [
        ("CreateSecurityGroup", "InternalError"),
        ("CreateVpcEndpoint", "InternalError"),
    ] {
        world
            .aws
            .fault(Fault::once(action, FaultKind::refuse(500, code, "later")));
    }
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    world.aws.fault(Fault::once(
        "DeleteVpcEndpoints",
        FaultKind::refuse(500, "InternalError", "later"),
    ));
    tenant.delete("api");
    tenant.gone("api");
    let calls = tenant.calls();
    // That a group is in use while interfaces linger is not logged.
    let refused: Vec<_> = calls.iter().filter(|call| call.result == "InternalError").collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    let all = lines(&world);
    for call in refused {
        let of_call = |line: &&Value| line["request_id"] == json!(call.request_id);
        let told: Vec<&Value> = all.iter().filter(of_call).collect();
        assert_eq!(told.len(), 1, "{} {}: {told:?}", call.action, call.request_id);
        for (key, value) in [
            ("message", "a call to AWS failed"),
            ("namespace", &tenant.namespace),
            ("name", "api"),
            ("account", &tenant.account),
            ("account_id", &tenant.account_id),
            ("action", &call.action),
        ] {
            assert_eq!(told[0][key], json!(value), "{key} in {}", told[0]);
        }
    }
}

/// The status and the body of the answer.
fn ask(address: SocketAddr, method: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let length = body.len();
    write!(
        stream,
        "{method} /log-level HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[test]
fn the_level_is_changed_while_it_runs_and_what_aws_answers_stays_out() {
    let world = by_default("warn");
    let tenant = world.tenant("loud");
    let address = world.operator.admin_address().expect("it runs");
    assert!(address.ip().is_loopback());
    tenant.apply("quiet", tenant.spec(json!({})));
    tenant.ready("quiet");
    assert!(!world.operator.logs().contains("changed AWS"));
    assert_eq!(ask(address, "GET", ""), (200, "warn\n".to_owned()));

    let loudest = "trace,aws_smithy_runtime=trace,aws_sdk_sts=trace,aws_sdk_ec2=trace,hyper_util=trace";
    assert_eq!(ask(address, "PUT", loudest), (200, format!("{loudest}\n")));
    assert_eq!(ask(address, "GET", "").1, format!("{loudest}\n"));
    tenant.apply("loud", tenant.spec(json!({})));
    tenant.ready("loud");
    let logs = world.operator.logs();
    assert!(logs.contains("changed AWS"));
    assert!(lines(&world).iter().any(|line| {
        line["target"]
            .as_str()
            .is_some_and(|target| target.starts_with("hyper_util"))
    }));
    let discreet = lines(&world).iter().all(|line| {
        let is_sdk = line["target"].as_str().is_some_and(|target| target.starts_with("aws_"));
        !is_sdk || line["level"] == "WARN" || line["level"] == "ERROR"
    });
    assert!(discreet, "the SDK's own words are in the log");
    assert!(world.aws.secrets().iter().all(|secret| !logs.contains(secret.as_str())));

    for (wrong, word) in [
        ("loud", "loud=debug"),
        ("info,vpce=noisy", "vpce_operator=debug"),
        ("", "error, warn, info"),
    ] {
        let (status, message) = ask(address, "PUT", wrong);
        assert_eq!(status, 400, "{wrong}");
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(ask(address, "GET", "").1, format!("{loudest}\n"), "as it was");
    assert_eq!(ask(address, "PUT", "error").0, 200);
    let changes: Vec<Value> = lines(&world)
        .into_iter()
        .filter(|line| line["message"] == "the log level was changed")
        .collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[0]["from"], "warn");
    assert_eq!(changes[1]["to"], "error");
    let before = lines(&world).len();
    tenant.delete("loud");
    tenant.gone("loud");
    assert_eq!(lines(&world).len(), before, "nothing is said at error");
}
