//! A real Prometheus that scrapes the operator, evaluates rules and answers queries.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use form_urlencoded::Serializer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::child::{Child, Scratch, wait_until};
use crate::operator::{NAMESPACE, RELEASE};
use crate::tools::Tool;
use crate::{http, ports};

const READY_WITHIN: Duration = Duration::from_secs(60);
const TARGETS: &str = "targets.json";

/// How a Prometheus is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often it scrapes, and evaluates its rules.
    pub interval: Duration,
    /// For how long a series without a new sample is still taken as it was last: Prometheus'
    /// `--query.lookback-delta`.
    pub lookback: Duration,
    /// Files of rules.
    pub rules: Vec<PathBuf>,
    /// Labels that it adds to alerts, such as the cluster's name.
    pub external_labels: Vec<(String, String)>,
    /// The bearer token that it scrapes with, over HTTPS; without one it scrapes in the clear.
    pub token: Option<String>,
    /// Whether labels of the series win over those of the target, of the same names.
    pub honor_labels: bool,
    /// What it does to the labels of each series, as in its `metric_relabel_configs`.
    pub metric_relabelings: Vec<Value>,
}

impl Default for Settings {
    /// No rules; samples every second; the lookback is Prometheus' own; labels as the chart's
    /// monitors ask for.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            lookback: Duration::from_secs(5 * 60),
            rules: Vec::new(),
            external_labels: Vec::new(),
            token: None,
            honor_labels: true,
            metric_relabelings: Vec::new(),
        }
    }
}

/// A running Prometheus. It ends with this value, or with this process however that ends.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    url: String,
    // Dropped in this order: what writes in the folder first.
    _server: Child,
    scratch: Scratch,
}

/// The labels of a series or of an alert.
pub type Labels = BTreeMap<String, String>;

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' labels; its name is `__name__`.
    pub labels: Labels,
    /// The value, which may be infinite or not a number.
    pub value: f64,
}

/// The values of one series over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The series' labels; its name is `__name__`.
    pub labels: Labels,
    /// Seconds since the epoch, and the value then.
    pub points: Vec<(f64, f64)>,
}

/// An alert whose condition holds right now.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// `pending` until its `for` is over, then `firing`.
    pub state: String,
    /// Those of the series, of the rule, and `alertname`.
    pub labels: Labels,
    /// With all their templates filled in.
    pub annotations: Labels,
}

impl Alert {
    /// The name of its rule.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }
}

impl Prometheus {
    /// Starts one that scrapes `targets`, which are `/metrics` of operators, and waits until it
    /// answers queries.
    ///
    /// # Errors
    /// When it cannot be built, finds its settings or rules wrong, or does not answer.
    pub fn start(settings: &Settings, targets: &[SocketAddr]) -> Result<Self> {
        let program = Tool::Prometheus.path()?;
        ports::start(|| Self::start_once(&program, settings, targets)).context("Prometheus did not start")
    }

    fn start_once(program: &Path, settings: &Settings, targets: &[SocketAddr]) -> Result<Self> {
        let scratch = Scratch::new("prometheus")?;
        let [port] = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        write_targets(&scratch, targets)?;
        let config = scratch.write("prometheus.json", config(settings, scratch.path()).to_string())?;
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", scratch.path().join("data").display()),
            format!("--web.listen-address={address}"),
            format!("--query.lookback-delta={}", milliseconds(settings.lookback)),
            "--scrape.discovery-reload-interval=1s".to_owned(), // new targets count soon
        ];
        let mut server = Child::spawn(program, &arguments, &[], &scratch.path().join("prometheus.log"))?;
        wait_until("Prometheus is ready", READY_WITHIN, &mut [&mut server], || {
            Ok(http::get(address, "/-/ready").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(Self {
            address,
            url: format!("http://{address}"),
            _server: server,
            scratch,
        })
    }

    /// Where it serves its API.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Scrapes these from now on, and no others: an operator that starts again does so on another
    /// port.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn scrape(&self, targets: &[SocketAddr]) -> Result<()> {
        write_targets(&self.scratch, targets)
    }

    /// What a query gives now. A scalar is a sample without labels.
    ///
    /// # Errors
    /// When Prometheus finds the query wrong or does not answer.
    pub fn query(&self, query: &str) -> Result<Vec<Sample>> {
        let answer: Answer = self.get("query", &[("query", query)])?;
        let one = |labels: Labels, (_, value): Point| {
            Ok(Sample {
                labels,
                value: number(&value)?,
            })
        };
        match answer {
            Answer::Vector(series) => series.into_iter().map(|found| one(found.metric, found.value)).collect(),
            Answer::Scalar(point) => Ok(vec![one(Labels::new(), point)?]),
            Answer::Matrix(_) => anyhow::bail!("{query} gives ranges, not values"),
        }
    }

    /// What a query gives from `start` to `end`, at every `step`.
    ///
    /// # Errors
    /// When Prometheus finds the query wrong or does not answer.
    pub fn query_range(&self, query: &str, start: SystemTime, end: SystemTime, step: Duration) -> Result<Vec<Series>> {
        let parameters = [
            ("query", query),
            ("start", &seconds(start)?),
            ("end", &seconds(end)?),
            ("step", &step.as_secs_f64().to_string()),
        ];
        let Answer::Matrix(series) = self.get("query_range", &parameters)? else {
            anyhow::bail!("{query} does not give ranges");
        };
        series
            .into_iter()
            .map(|found| {
                Ok(Series {
                    labels: found.metric,
                    points: points(&found.values)?,
                })
            })
            .collect()
    }

    /// The alerts that are pending or firing.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub fn alerts(&self) -> Result<Vec<Alert>> {
        #[derive(Deserialize)]
        struct Alerts {
            alerts: Vec<Alert>,
        }
        Ok(self.get::<Alerts>("alerts", &[])?.alerts)
    }

    fn get<T: DeserializeOwned>(&self, what: &str, parameters: &[(&str, &str)]) -> Result<T> {
        let parameters = Serializer::new(String::new()).extend_pairs(parameters).finish();
        let (status, body) = http::get(self.address, &format!("/api/v1/{what}?{parameters}"))?;
        let mut body: Value =
            serde_json::from_str(&body).with_context(|| format!("Prometheus answers {status}: {body}"))?;
        ensure!(
            body["status"] == "success",
            "Prometheus answers {status}: {}",
            body["error"]
        );
        serde_json::from_value(body["data"].take()).with_context(|| format!("an answer to {what} of another form"))
    }
}

/// A time and a value, as the API writes them.
type Point = (f64, String);

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Answer {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
    Scalar(Point),
}

#[derive(Deserialize)]
struct Instant {
    metric: Labels,
    value: Point,
}

#[derive(Deserialize)]
struct Range {
    metric: Labels,
    values: Vec<Point>,
}

/// The targets have the labels that the chart's monitors add.
fn config(settings: &Settings, folder: &Path) -> Value {
    let interval = milliseconds(settings.interval);
    let external: BTreeMap<&str, &str> = settings
        .external_labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut job = json!({
        "job_name": RELEASE,
        "honor_labels": settings.honor_labels,
        "metric_relabel_configs": settings.metric_relabelings,
        "file_sd_configs": [{"files": [folder.join(TARGETS)], "refresh_interval": "1s"}],
    });
    if let Some(token) = &settings.token {
        job["scheme"] = json!("https");
        job["tls_config"] = json!({"insecure_skip_verify": true});
        job["authorization"] = json!({"credentials": token});
    }
    json!({
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
            "external_labels": external,
        },
        "rule_files": settings.rules,
        "scrape_configs": [job],
    })
}

/// Renamed into place, since Prometheus may read it at any moment.
fn write_targets(scratch: &Scratch, targets: &[SocketAddr]) -> Result<()> {
    let targets: Vec<Value> = targets
        .iter()
        .enumerate()
        .map(|(place, target)| {
            let labels = json!({"namespace": NAMESPACE, "pod": format!("{RELEASE}-{place}")});
            json!({"targets": [target.to_string()], "labels": labels})
        })
        .collect();
    let written = scratch.write("targets.new", Value::from(targets).to_string())?;
    fs::rename(written, scratch.path().join(TARGETS)).context("cannot name the targets")
}

/// As Prometheus writes durations.
fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

fn seconds(time: SystemTime) -> Result<String> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs_f64().to_string())
}

fn points(points: &[Point]) -> Result<Vec<(f64, f64)>> {
    points.iter().map(|(at, value)| Ok((*at, number(value)?))).collect()
}

/// Rust reads what Prometheus writes for what is no finite number: `NaN`, `+Inf`, `-Inf`.
fn number(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("{text} is no number"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers every scrape with the same metrics, for as long as the test runs.
    fn serve(metrics: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n{metrics}"
                );
            }
        });
        address
    }

    fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..600 {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("waited a minute in vain until {what}");
    }

    #[test]
    fn it_scrapes_evaluates_and_answers() {
        let first = serve("vpce_leader{namespace=\"of-the-metric\"} 1\n");
        let second = serve("vpce_leader 2\n");
        let scratch = Scratch::new("rules").expect("a folder");
        let rules = json!({"groups": [{"name": "test", "rules": [{
            "alert": "Leads",
            "expr": "vpce_leader == 1",
            "annotations": {"summary": "{{ $labels.pod }} of {{ $externalLabels.cluster }} leads"},
        }]}]});
        let settings = Settings {
            interval: Duration::from_millis(200),
            rules: vec![scratch.write("rules.yaml", rules.to_string()).expect("written")],
            external_labels: vec![("cluster".to_owned(), "blue".to_owned())],
            ..Settings::default()
        };
        let begun = SystemTime::now();
        let prometheus = Prometheus::start(&settings, &[first]).expect("started");

        let sample = eventually("it has scraped", || {
            prometheus.query("vpce_leader").expect("an answer").pop()
        });
        assert_eq!(sample.value, 1.0);
        assert_eq!(sample.labels["namespace"], "of-the-metric");
        assert_eq!(sample.labels["job"], RELEASE);

        let alert = eventually("the alert fires", || prometheus.alerts().expect("an answer").pop());
        assert_eq!((alert.name(), alert.state.as_str()), ("Leads", "firing"));
        assert_eq!(alert.annotations["summary"], "vpce-operator-0 of blue leads");

        prometheus.scrape(&[second]).expect("told");
        eventually("it scrapes the other target and no longer the first", || {
            let leaders = prometheus.query("vpce_leader").expect("an answer");
            (leaders.len() == 1 && leaders[0].value == 2.0).then_some(())
        });
        assert_eq!(sample.labels.get("pod"), Some(&format!("{RELEASE}-0")));
        let step = Duration::from_millis(200);
        // The last step may be from before the other target was scraped.
        let series = eventually("the range has both", || {
            let range = prometheus.query_range("vpce_leader", begun, SystemTime::now(), step);
            Some(range.expect("an answer")).filter(|series| series.len() > 1)
        });
        let mut seen: Vec<f64> = series.iter().map(|series| series.points[0].1).collect();
        seen.sort_by(f64::total_cmp);
        assert_eq!(seen, [1.0, 2.0]);
        assert_eq!(prometheus.query("1 / 0").expect("an answer")[0].value, f64::INFINITY);

        let error = prometheus.query("vpce_leader +").expect_err("no query").to_string();
        assert!(error.contains("parse error"), "{error}");
    }

    #[test]
    fn wrong_rules_are_an_error_that_names_them() {
        let scratch = Scratch::new("rules").expect("a folder");
        let rules = scratch.write("rules.yaml", "groups: [{name: a, rules: [{alert: A, expr: '1 +'}]}]");
        let settings = Settings {
            rules: vec![rules.expect("written")],
            ..Settings::default()
        };
        let error = format!("{:#}", Prometheus::start(&settings, &[]).expect_err("wrong rules"));
        assert!(error.contains("rules.yaml"), "{error}");
    }
}
