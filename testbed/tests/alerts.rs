//! The alerts of `prometheus/`: promtool finds them right, they are those that were agreed upon,
//! and each has its tests and its runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use vpce_testbed::promql::{Names, Selector};
use vpce_testbed::tools::Tool;

/// Every alert: how long its condition has to hold, and its severity.
const ALERTS: [(&str, &str, &str); 22] = [
    ("VPCEOperatorDown", "5m", "critical"),
    ("VPCECreationPaused", "", "critical"),
    ("VPCEEndpointLost", "5m", "critical"),
    ("VPCEAccountNotReady", "10m", "critical"),
    ("VPCEEndpointNotReady", "30m", "warning"),
    ("VPCEEndpointStalled", "15m", "warning"),
    ("VPCEPendingAcceptance", "24h", "info"),
    ("VPCEDeletionStuck", "", "warning"),
    ("VPCEEndpointServiceNotReady", "30m", "warning"),
    ("VPCEEndpointServiceLoadBalancerNotReady", "15m", "warning"),
    ("VPCEEndpointServiceConnectionPending", "1h", "info"),
    ("VPCEEndpointServiceDeletionStuck", "", "warning"),
    ("VPCEAccessDenied", "", "warning"),
    ("VPCEThrottled", "15m", "warning"),
    ("VPCEQueueWaitHigh", "15m", "warning"),
    ("VPCESessionNotRenewed", "", "warning"),
    ("VPCESnapshotStale", "", "warning"),
    ("VPCEAccountNearLimit", "", "info"),
    ("VPCEOrphans", "24h", "warning"),
    ("VPCERetained", "30d", "info"),
    ("VPCEUnparseableObjects", "15m", "warning"),
    ("VPCESuspendedTooLong", "7d", "info"),
];

/// Those of single endpoints and endpoint services, which are routed by namespace and give way to
/// the account's.
const OF_OBJECTS: [&str; 9] = [
    "VPCEEndpointLost",
    "VPCEEndpointNotReady",
    "VPCEEndpointStalled",
    "VPCEPendingAcceptance",
    "VPCEDeletionStuck",
    "VPCEEndpointServiceNotReady",
    "VPCEEndpointServiceLoadBalancerNotReady",
    "VPCEEndpointServiceConnectionPending",
    "VPCEEndpointServiceDeletionStuck",
];

/// What every runbook answers, in this order.
const HEADINGS: [&str; 6] = [
    "## Meaning",
    "## Impact",
    "## Diagnosis",
    "## Mitigation",
    "## Verify the fix",
    "## Escalation",
];

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for", default)]
    lasting: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct UnitTests {
    tests: Vec<UnitTest>,
}

#[derive(Deserialize)]
struct UnitTest {
    name: String,
    alert_rule_test: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    alertname: String,
    exp_alerts: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    exp_labels: BTreeMap<String, String>,
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rules() -> Vec<Rule> {
    let rules: Rules = read(&project("prometheus/alerts.yaml"));
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The files of a folder that end so.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(project(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("a file").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

/// Runs promtool on files of `prometheus/`.
#[track_caller]
fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let mut command = Command::new(Tool::Promtool.path().expect("promtool"));
    let output = command.args(arguments).args(files).output().expect("promtool runs");
    assert!(
        output.status.success(),
        "promtool {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn promtool_accepts_the_rules() {
    let lint = ["check", "rules", "--lint=all", "--lint-fatal"];
    promtool(&lint, &[project("prometheus/alerts.yaml")]);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool(&["test", "rules"], &files("prometheus/tests", "yaml"));
}

#[test]
fn the_alerts_are_those_of_the_list() {
    let rules = rules();
    let found: Vec<(&str, &str, &str)> = rules
        .iter()
        .map(|rule| {
            (
                rule.alert.as_str(),
                rule.lasting.as_str(),
                rule.labels["severity"].as_str(),
            )
        })
        .collect();
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), ALERTS.iter().collect());
    assert_eq!(found.len(), ALERTS.len(), "none is there twice");
}

#[test]
fn alerts_have_a_description_and_a_runbook() {
    for rule in rules() {
        let texts: Vec<&str> = rule.annotations.keys().map(String::as_str).collect();
        assert_eq!(texts, ["description", "runbook", "summary"], "{}", rule.alert);
        let page = &rule.annotations["runbook"];
        assert_eq!(*page, format!("docs/runbooks/{}.md", rule.alert));
        let summary = &rule.annotations["summary"];
        assert!(summary.ends_with('.') && summary.len() < 120, "{summary}");
    }
}

/// The labels of each series, by docs/metrics.md, which is made from what the operator exports.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(project("docs/metrics.md")).expect("the metrics");
    let mut labels = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `vpce_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].split('`').nth(1).expect("a name").to_owned();
        let names = cells[3].split(", ").map(|label| label.trim_matches('`').to_owned());
        let mut names: BTreeSet<String> = names.collect();
        names.insert("cluster".to_owned());
        match cells[2] {
            "histogram" => {
                names.insert("le".to_owned());
                labels.insert(format!("{name}_bucket"), names)
            }
            _ => labels.insert(name, names),
        };
    }
    labels
}

#[test]
fn alerts_name_only_series_and_labels_that_the_operator_exports() {
    let documented = documented();
    for rule in rules() {
        let names = Names::of(&rule.expr).expect("a query");
        assert!(!names.selectors.is_empty(), "{}", rule.alert);
        let mut known = BTreeSet::new();
        for Selector { metric, matchers, .. } in &names.selectors {
            let labels = documented.get(metric);
            let labels = labels.unwrap_or_else(|| panic!("{}: {metric} is not exported", rule.alert));
            for (label, ..) in matchers {
                assert!(labels.contains(label), "{}: {metric} has no label {label}", rule.alert);
            }
            known.extend(labels);
        }
        for label in &names.grouping {
            assert!(known.contains(label), "{}: none has the label {label}", rule.alert);
        }
    }
}

#[test]
fn alerts_on_objects_carry_the_namespace_and_give_way_to_the_accounts() {
    for rule in rules() {
        let of_an_object = OF_OBJECTS.contains(&rule.alert.as_str());
        assert_eq!(
            rule.expr.contains("namespace, name, account"),
            of_an_object,
            "{}",
            rule.alert
        );
        let words: Vec<&str> = rule.expr.split_whitespace().collect();
        let gives_way = words.join(" ").contains(
            r#"unless on (cluster, account) vpce_account_status_condition{condition="Ready",status!="True"}"#,
        );
        assert_eq!(gives_way, of_an_object, "{}", rule.alert);
    }
}

#[test]
fn each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let (mut fires, mut rests, mut gives_way) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for path in files("prometheus/tests", "yaml") {
        let file: UnitTests = read(&path);
        for test in file.tests {
            for check in test.alert_rule_test {
                let named = ALERTS.iter().any(|(name, ..)| *name == check.alertname);
                assert!(named, "{}: there is no {}", test.name, check.alertname);
                if OF_OBJECTS.contains(&check.alertname.as_str()) {
                    let routed = check
                        .exp_alerts
                        .iter()
                        .all(|alert| alert.exp_labels.contains_key("namespace"));
                    assert!(routed, "{}", test.name);
                    if check.exp_alerts.is_empty() && test.name.contains("gives way to its AWSAccount") {
                        gives_way.insert(check.alertname.clone());
                    }
                }
                let found = if check.exp_alerts.is_empty() {
                    &mut rests
                } else {
                    &mut fires
                };
                found.insert(check.alertname);
            }
        }
    }
    let all: BTreeSet<String> = ALERTS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!((&fires, &rests), (&all, &all));
    assert_eq!(gives_way, OF_OBJECTS.map(str::to_owned).into());
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let index = fs::read_to_string(project("docs/runbooks/README.md")).expect("the index");
    let mut named: BTreeSet<String> = ALERTS.iter().map(|(name, ..)| format!("{name}.md")).collect();
    for (name, _, severity) in ALERTS {
        let page = fs::read_to_string(project(&format!("docs/runbooks/{name}.md")));
        let page = page.unwrap_or_else(|error| panic!("{name}: {error}"));
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, HEADINGS, "{name}");
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        let row = format!("| [{name}]({name}.md) | {severity} |");
        assert!(index.contains(&row), "the index has no row {row}");
    }
    named.insert("README.md".to_owned());
    let found = files("docs/runbooks", "md");
    let found: BTreeSet<String> = found
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    assert_eq!(found, named);
}
