//! The critical alerts, and one of a load balancer, for real: a fault in the simulated AWS makes
//! them fire in a real Prometheus that scrapes the real operator, and mending it clears them.
//!
//! Prometheus gets a copy of `prometheus/alerts.yaml` in which every duration (`for`, the ranges of
//! the queries, and Prometheus' own lookback of five minutes) is divided by [`FASTER`], and scrapes
//! and evaluates every [`INTERVAL`], which stands for a minute.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointState, LastError};
use vpce_testbed::prometheus::{Alert, Prometheus, Settings};

use crate::endpoint_services::{Offers, offering};
use crate::tenant::Tenant;
use crate::world::{Setup, World, condition, text};

/// How many times as fast as in `prometheus/alerts.yaml` time runs here.
const FASTER: u32 = 30;
/// How often Prometheus scrapes and evaluates: a minute, so much faster.
const INTERVAL: Duration = Duration::from_secs(60 / FASTER as u64);
/// For how long Prometheus takes a series without a new sample as it was, if the target does not
/// otherwise.
const LOOKBACK: Duration = Duration::from_secs(5 * 60);

/// A Prometheus that watches a world's operator.
struct Watch<'w> {
    world: &'w World,
    prometheus: Prometheus,
}

impl<'w> Watch<'w> {
    fn of(world: &'w World, name: &str) -> Self {
        let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus/alerts.yaml");
        let rules = fs::read_to_string(alerts).expect("the alerts");
        let mut rules: Value = serde_saphyr::from_str(&rules).expect("YAML");
        let mut changed = 0;
        for rule in rules["groups"][0]["rules"].as_array_mut().expect("rules") {
            if let Some(lasting) = rule["for"].as_str() {
                rule["for"] = json!(faster(lasting));
                changed += 1;
            }
            rule["expr"] = json!(faster_ranges(rule["expr"].as_str().expect("a query")));
        }
        assert!(changed > 0, "some alerts wait");
        let file = world.cluster.plane.folder().join(format!("{name}.yaml"));
        fs::write(&file, rules.to_string()).expect("written");
        let settings = Settings {
            interval: INTERVAL,
            lookback: LOOKBACK / FASTER,
            rules: vec![file],
            token: Some(world.operator.metrics_token().to_owned()),
            ..Settings::default()
        };
        let target = world.operator.metrics_address().expect("it runs");
        let prometheus = Prometheus::start(&settings, &[target]).expect("started");
        Self { world, prometheus }
    }

    /// The alerts with these labels, whether they fire or wait for their time.
    fn alerts(&self, name: &str, labels: &[(&str, &str)]) -> Vec<Alert> {
        let mut alerts = self.prometheus.alerts().expect("an answer");
        let has = |alert: &Alert, name: &str, value: &str| alert.labels.get(name).is_some_and(|found| found == value);
        alerts.retain(|alert| {
            (name.is_empty() || alert.name() == name) && labels.iter().all(|(label, value)| has(alert, label, value))
        });
        alerts
    }

    /// Waits until such an alert fires, and returns it.
    #[track_caller]
    fn fires(&self, name: &str, labels: &[(&str, &str)]) -> Alert {
        self.world.eventually(&format!("{name} fires for {labels:?}"), || {
            self.alerts(name, labels)
                .into_iter()
                .find(|alert| alert.state == "firing")
        })
    }

    /// Likewise, one that is critical.
    #[track_caller]
    fn fires_critical(&self, name: &str, labels: &[(&str, &str)]) -> Alert {
        let alert = self.fires(name, labels);
        assert_eq!(alert.labels["severity"], "critical");
        alert
    }

    /// Waits until there is no such alert.
    #[track_caller]
    fn is_cleared(&self, name: &str, labels: &[(&str, &str)]) {
        self.world.eventually(&format!("{name} is cleared for {labels:?}"), || {
            self.alerts(name, labels).is_empty().then_some(())
        });
    }
}

/// The ranges in brackets and after `offset`, made shorter.
fn faster_ranges(query: &str) -> String {
    let mut parts = query.split_inclusive(['[', ']']);
    let mut fast = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.strip_suffix(']') {
            Some(range) => fast += &format!("{}]", faster(range)),
            None => fast += part,
        }
    }
    let mut parts = fast.split("offset ");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        all += &format!("offset {}{}", faster(&part[..end]), &part[end..]);
    }
    all
}

/// A duration such as `10m`, made shorter.
fn faster(duration: &str) -> String {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let number: u32 = number.parse().expect("a whole number and a unit");
    let unit = match unit {
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        unit => panic!("{unit} is no unit"),
    };
    format!("{}ms", number * (unit * 1000 / FASTER))
}

#[test]
fn only_durations_are_divided() {
    let query = r#"max_over_time(a{b="c"}[10m]) > 3 * 300 unless rate(d[15m]) offset 15m > 0"#;
    let fast = r#"max_over_time(a{b="c"}[20000ms]) > 3 * 300 unless rate(d[30000ms]) offset 30000ms > 0"#;
    assert_eq!(faster_ranges(query), fast);
    assert_eq!((faster("24h"), faster("7d")), ("2880000ms".into(), "20160000ms".into()));
}

#[test]
fn a_missing_operator_alerts_until_one_runs_again() {
    let world = World::own(Setup::fast());
    let watch = Watch::of(&world, "operator-down");
    world.eventually("the leader is scraped", || {
        let leaders = watch.prometheus.query("vpce_leader == 1").expect("an answer");
        (!leaders.is_empty()).then_some(())
    });
    watch.is_cleared("VPCEOperatorDown", &[]);
    world.operator.kill().expect("it ran");
    let alert = watch.fires_critical("VPCEOperatorDown", &[]);
    assert_eq!(alert.labels.len(), 2, "alertname and severity: {:?}", alert.labels);
    world.operator.start().expect("started");
    let target = world.operator.metrics_address().expect("it runs");
    watch.prometheus.scrape(&[target]).expect("told");
    watch.is_cleared("VPCEOperatorDown", &[]);
}

#[test]
fn a_refused_role_is_one_alert_of_its_account_until_it_is_corrected() {
    let world = World::shared();
    let watch = Watch::of(world, "account-not-ready");
    let tenant = world.unregistered_tenant("refused");
    world.set_trust(&tenant.role_arn, false);
    tenant.register(json!({}));
    for name in ["one", "two", "three"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.not_ready(name, "AccountNotReady");
    }
    let labels = [("account", tenant.account.as_str())];
    let alert = watch.fires_critical("VPCEAccountNotReady", &labels);
    assert!(
        alert.annotations["description"].contains("(AssumeRoleDenied)"),
        "{alert:?}"
    );
    let of_endpoints = watch.alerts("", &[("namespace", &tenant.namespace)]);
    assert!(of_endpoints.is_empty(), "{of_endpoints:?}");
    world.set_trust(&tenant.role_arn, true);
    watch.is_cleared("VPCEAccountNotReady", &labels);
    tenant.ready("three");
}

#[test]
fn a_failed_endpoint_alerts_its_namespace_until_it_is_recreated() {
    let world = World::shared();
    let watch = Watch::of(world, "endpoint-lost");
    let tenant = world.tenant("lost");
    tenant.apply("db", tenant.spec(json!({})));
    let id = text(&tenant.ready("db")["status"]["vpc_endpoint_id"]);
    let error = LastError {
        code: "InternalError".to_owned(),
        message: "the service is gone".to_owned(),
    };
    let failed = world.aws.set_endpoint_state(
        &tenant.account_id,
        &tenant.region,
        &id,
        EndpointState::Failed,
        Some(error),
    );
    failed.expect("it is there");
    let labels = [("namespace", tenant.namespace.as_str()), ("name", "db")];
    let alert = watch.fires_critical("VPCEEndpointLost", &labels);
    assert_eq!(alert.labels["account"], tenant.account);
    assert_eq!(alert.labels["reason"], "Failed");
    let others = watch.alerts("", &labels);
    assert_eq!(others.len(), 1, "it is the only one: {others:?}");
    // As the condition says.
    tenant.delete("db");
    tenant.gone("db");
    tenant.apply("db", tenant.spec(json!({})));
    watch.is_cleared("VPCEEndpointLost", &labels);
    tenant.ready("db");
}

#[test]
fn a_load_balancer_that_is_gone_is_one_alert_of_its_namespace_until_another_is_named() {
    let world = World::shared();
    let watch = Watch::of(world, "load-balancer-gone");
    let tenant = world.tenant("gone-nlb");
    let offers = Offers::of(&tenant);
    let there = offers.load_balancer();
    let (kept, _) = there.rsplit_once('/').expect("an ARN");
    let gone = format!("{kept}/0123456789abcdef");
    offers.apply("web", &offering(&[&gone], json!({})));
    offers.not_ready("web", "NotFound");
    let labels = [("namespace", tenant.namespace.as_str()), ("name", "web")];
    let alert = watch.fires("VPCEEndpointServiceLoadBalancerNotReady", &labels);
    assert_eq!(alert.labels["severity"], "warning");
    assert_eq!(alert.labels["account"], tenant.account);
    assert_eq!(alert.labels["reason"], "NotFound");
    let others = watch.alerts("", &labels);
    assert_eq!(others.len(), 1, "it is the only one: {others:?}");
    offers.apply("web", &offering(&[&there], json!({})));
    watch.is_cleared("VPCEEndpointServiceLoadBalancerNotReady", &labels);
    offers.ready("web");
    offers.delete("web");
    offers.gone("web");
}

#[test]
fn a_paused_creation_alerts_until_it_is_resumed() {
    let world = World::shared();
    let watch = Watch::of(world, "mutations-held");
    let tenant = world.tenant("held");
    let names = ["one", "two", "three", "four"];
    let make = |name: &&str| {
        tenant.apply(name, tenant.spec(json!({})));
        text(&tenant.ready(name)["status"]["vpc_endpoint_id"])
    };
    let ids: Vec<String> = names.iter().map(make).collect();
    let labels = [
        ("account_id", tenant.account_id.as_str()),
        ("region", tenant.region.as_str()),
    ];
    watch.is_cleared("VPCECreationPaused", &labels);
    vanish(&tenant, &ids);
    let alert = watch.fires_critical("VPCECreationPaused", &labels);
    assert!(
        alert.annotations["description"].contains(&format!("(AWSAccount {})", tenant.account)),
        "{alert:?}"
    );
    let hold = world.eventually("the AWSAccount names the hold", || {
        let held = condition(&world.aws_account(&tenant.account)?, "CreationPaused")?;
        Some(held.message.split("resume id ").nth(1)?.split(' ').next()?.to_owned())
    });
    tenant.merge_account(json!({"metadata": {"annotations": {"silvermullet.com/resume-creation": hold}}}));
    watch.is_cleared("VPCECreationPaused", &labels);
    for name in names {
        tenant.ready(name);
    }
}

/// Lets endpoints vanish in AWS behind the operator's back, and waits until it holds what it would
/// make in their place.
fn vanish(tenant: &Tenant<'_>, ids: &[String]) {
    const CREATE: &str = "ec2:CreateVpcEndpoint";
    let aws = &tenant.world.aws;
    // One that the operator happens to look at alone would be made again before the others are
    // missed.
    aws.deny(&tenant.role_arn, CREATE);
    for id in ids {
        let deleted = aws.delete_endpoint_behind(&tenant.account_id, &tenant.region, id);
        deleted.expect("it was there");
    }
    tenant.not_ready("one", "CreationPaused");
    aws.allow(&tenant.role_arn, CREATE);
}
