//! Who gets /metrics, and what those cost who do not, or who connect and send nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use vpce_testbed::http::get_secure;
use vpce_testbed::prometheus::{Prometheus, Settings};
use vpce_testbed::tools::Tool;

use crate::cluster;
use crate::memory::{limited, serves};
use crate::world::{Setup, World, endpoint};

/// What a scrape with this token is answered.
fn scrape(world: &World, token: Option<&str>) -> (u16, String) {
    let address = world.operator.metrics_address().expect("it runs");
    get_secure(address, "/metrics", token).expect("an answer")
}

#[test]
fn metrics_need_authorization_by_the_api_server_and_probes_do_not() {
    let world = World::shared();
    let tenant = world.tenant("scraper");
    let refused = |token: Option<&str>, status: u16, says: &str| {
        let (code, body) = scrape(world, token);
        assert_eq!(code, status, "{body}");
        assert!(body.contains(says), "{body}");
        assert!(!body.contains("vpce_leader"), "{body}");
    };
    refused(None, 401, "no bearer token");
    refused(Some("made.up.token"), 401, "does not accept this token");
    // The same again, from what is remembered.
    refused(Some("made.up.token"), 401, "does not accept this token");
    let create = ["create", "serviceaccount", "scraper", "--namespace", &tenant.namespace];
    world.kubectl(&create);
    let token = world
        .cluster
        .plane
        .token_of(&tenant.namespace, "scraper")
        .expect("a token");
    let who = format!(
        "system:serviceaccount:{}:scraper may not get /metrics",
        tenant.namespace
    );
    refused(Some(&token), 403, &who);

    let (code, body) = scrape(world, Some(world.operator.metrics_token()));
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("vpce_leader 1"), "{body}");
    assert!(world.operator.is_live().expect("it answers") && world.operator.is_ready().expect("it answers"));

    // A subject that gets the ClusterRole may scrape, as soon as the refusal is no longer cached.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": tenant.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vpce-operator-metrics-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "scraper", "namespace": tenant.namespace}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let created = world.cluster.create(bindings, &binding, cluster::Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    world.eventually("it may scrape", || (scrape(world, Some(&token)).0 == 200).then_some(()));
}

/// What the chart's ServiceMonitor has Prometheus do to the labels of series, in Prometheus' own
/// words.
fn metric_relabelings() -> Vec<Value> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/vpce-operator");
    let mut helm = Command::new(Tool::Helm.path().expect("helm"));
    helm.args(["template", "vpce-operator"]).arg(chart);
    helm.args(["--show-only", "templates/servicemonitor.yaml"]);
    helm.args(["--set", "serviceMonitor.enabled=true,serviceMonitor.honorLabels=false"]);
    let output = helm.output().expect("started");
    assert!(output.status.success(), "{output:?}");
    let monitor: Value = serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout)).expect("YAML");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["honorLabels"], false);
    let relabelings = endpoint["metricRelabelings"].as_array().expect("a list");
    let relabelings = relabelings.iter().map(|relabeling| {
        json!({
            "source_labels": relabeling["sourceLabels"],
            "regex": relabeling["regex"],
            "target_label": relabeling["targetLabel"],
        })
    });
    relabelings.collect()
}

#[test]
fn the_namespace_of_a_series_is_its_objects_where_prometheus_does_not_honor_labels() {
    let world = World::shared();
    let tenant = world.tenant("exported");
    tenant.apply("api", tenant.spec(json!({})));
    let settings = Settings {
        token: Some(world.operator.metrics_token().to_owned()),
        honor_labels: false,
        metric_relabelings: metric_relabelings(),
        ..Settings::default()
    };
    let target = world.operator.metrics_address().expect("it runs");
    let prometheus = Prometheus::start(&settings, &[target]).expect("started");
    let query = format!("vpce_endpoint_info{{namespace=\"{}\"}}", tenant.namespace);
    let series = world.eventually("its series is scraped", || {
        prometheus.query(&query).expect("an answer").into_iter().next()
    });
    assert_eq!(series.labels["exported_namespace"], tenant.namespace);
    // What is of no object keeps the namespace of the pod.
    let leader = world.eventually("the leader is scraped", || {
        prometheus.query("vpce_leader").expect("an answer").into_iter().next()
    });
    assert_eq!(leader.labels["namespace"], "vpce-system");
}

#[test]
fn without_the_api_server_metrics_need_a_cached_authorization_and_probes_go_on() {
    // Long enough for the API server to come back before the leader gives up.
    let world = World::own(Setup::fast().value("settings.leaseDurationSeconds", "120"));
    let plane = &world.cluster.plane;
    let known = world.operator.metrics_token();
    assert_eq!(scrape(&world, Some(known)).0, 200);
    let unknown = plane.token_of("vpce-system", "prometheus").expect("a token");
    plane.kill_api_server().expect("it was running");
    let (code, body) = scrape(&world, Some(&unknown));
    assert_eq!(code, 503, "{body}");
    assert!(
        body.contains("could not authorize") && !body.contains("vpce_leader"),
        "{body}"
    );
    assert_eq!(scrape(&world, None).0, 401);
    assert_eq!(
        scrape(&world, Some(known)).0,
        200,
        "the answer is remembered for a while"
    );
    assert!(world.operator.is_live().expect("it answers") && world.operator.is_ready().expect("it answers"));
    plane.start_api_server().expect("it starts again");
    world.eventually("it may scrape", || {
        (scrape(&world, Some(&unknown)).0 == 200).then_some(())
    });
}

#[test]
fn metrics_are_served_without_tls_and_authorization_where_the_values_say_so() {
    let world = World::own(
        Setup::fast()
            .value("metrics.auth", "false")
            .value("metrics.tls.enabled", "false"),
    );
    let address = world.operator.metrics_address().expect("it runs");
    let (code, body) = vpce_testbed::http::get(address, "/metrics").expect("an answer");
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("vpce_leader 1"), "{body}");
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/vpce-operator";
    let rules = world.cluster.get(role).expect("it is there")["rules"].to_string();
    assert!(!rules.contains("reviews"), "{rules}");
}

/// Another pod: loopback has many addresses.
const ATTACKER: [u8; 4] = [127, 0, 0, 2];
const HALF_SENT: usize = 8000;
/// The peak of memory while it is attacked, beyond what it took before. Without bounds it took 140
/// MiB.
const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// The operator closes what sends nothing after ten seconds.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

async fn half_sent(to: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((ATTACKER, 0).into()).expect("loopback");
    let connect = tokio::time::timeout(Duration::from_secs(5), socket.connect(to));
    let mut stream = connect.await.ok()?.ok()?;
    // It may have been closed by now, to make room for another.
    stream.write_all(bytes).await.ok()?;
    Some(stream)
}

#[test]
fn thousands_of_half_sent_requests_cost_little_and_lock_no_client_out() {
    let world = limited();
    let neighbour = world.tenant("neighbour");
    world.cluster.create_namespace("crowd", json!({}));
    for number in 0..300 {
        let spec = json!({"vpc_id": "vpc-0a1b2c3d", "subnet_ids": ["subnet-0a1b2c3d"], "region": "eu-central-1",
            "vpc_endpoint_service_id": "com.amazonaws.eu-central-1.ecr.api", "security_group_type": "generated"});
        let object = endpoint("crowd", &format!("a-{number}"), &spec);
        let made = world
            .cluster
            .create(&cluster::endpoints("crowd"), &object, cluster::Run::Real);
        made.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }
    world.eventually("all are counted", || {
        let metrics = world.operator.metrics().expect("it answers");
        metrics.contains("state=\"none\"} 300").then_some(())
    });
    let before = world.operator.rss_bytes().expect("it runs");
    let health = world.operator.health_address().expect("it runs");
    let metrics = world.operator.metrics_address().expect("it runs");
    let mut peak = before;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let targets: [(SocketAddr, &[u8]); 2] = [
        (health, b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        // The head of a ClientHello.
        (metrics, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
    ];
    for (target, bytes) in targets {
        let mut open = Vec::new();
        for batch in 0..HALF_SENT / 500 {
            let sent = runtime.block_on(futures::future::join_all((0..500).map(|_| half_sent(target, bytes))));
            open.extend(sent.into_iter().flatten());
            peak = peak.max(world.operator.rss_bytes().expect("it runs"));
            assert!(world.operator.is_live().expect("it answers"), "after {batch} batches");
            assert!(world.operator.is_ready().expect("it answers"), "after {batch} batches");
            assert!(world.operator.metrics().expect("it answers").contains("vpce_leader 1"));
        }
        let closed = async |mut stream: TcpStream| {
            let read = tokio::time::timeout(CLOSED_WITHIN, stream.read(&mut [0; 512])).await;
            matches!(read, Ok(Ok(0) | Err(_)))
        };
        let closed = runtime.block_on(futures::future::join_all(open.into_iter().map(closed)));
        let left = closed.iter().filter(|closed| !**closed).count();
        assert_eq!(
            left,
            0,
            "of {} connections that sent half a request to {target}",
            closed.len()
        );
    }
    // Scrapes that come together share one text.
    std::thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| assert_eq!(scrape(&world, Some(world.operator.metrics_token())).0, 200));
        }
    });
    peak = peak.max(world.operator.rss_bytes().expect("it runs"));
    println!("resident: {} MiB, at most {} MiB", before >> 20, peak >> 20);
    assert!(peak - before < MOST_BYTES, "{before} bytes became {peak}");
    serves(&neighbour, "beside");
}
