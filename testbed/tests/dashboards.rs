//! The dashboards by the rules of Grafana's dashboard-linter in strict mode, and by our own for
//! colours and layout.
//!
//! The linter itself cannot be pinned here: no Go module proxy serves it. Its rules are public;
//! each is a function below under the linter's name for it, and `grafana/.lint` has the exceptions
//! in the linter's own form (its YAML is JSON here), so that who has the linter gets the same
//! result. That a query is valid PromQL, which the linter asks too, is what a real Prometheus says
//! in `tests/e2e/dashboards_hour.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use vpce_testbed::dashboards::Dashboard;
use vpce_testbed::promql::Names;

/// Units that Grafana knows and these dashboards use: a typing error in one is shown as text, and
/// nobody is told.
const UNITS: &[&str] = &[
    "none",
    "short",
    "percentunit",
    "s",
    "dtdurations",
    "bytes",
    "currencyUSD",
    "cpm",
    "ops",
    "reqps",
    "dateTimeFromNow",
    "bool_yes_no",
];
const WITH_QUERIES: &[&str] = &["stat", "timeseries", "table", "state-timeline"];
/// Colours of Okabe and Ito, black and yellow aside, and grey.
const PALETTE: &[&str] = &[
    "#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#D55E00", "#E69F00", "#7F7F7F",
];
/// Behind a panel of Grafana, light and dark.
const BACKGROUNDS: [&str; 2] = ["#FFFFFF", "#181B1F"];
/// WCAG 2's least contrast for large text.
const CONTRAST: f64 = 3.0;
const COLUMNS: u64 = 24;

/// One thing that a rule finds wrong.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    rule: &'static str,
    dashboard: String,
    /// Empty where it is the whole dashboard.
    panel: String,
    what: String,
}

#[derive(Deserialize)]
struct Config {
    exclusions: BTreeMap<String, Exclusion>,
}

#[derive(Deserialize)]
struct Exclusion {
    reason: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    dashboard: Option<String>,
    panel: Option<String>,
}

impl Entry {
    fn excuses(&self, finding: &Finding) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.dashboard, &finding.dashboard) && is(&self.panel, &finding.panel)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn dashboards() -> Vec<Dashboard> {
    Dashboard::all().expect("dashboards")
}

fn is_templated(source: &Value) -> bool {
    ["$datasource", "${datasource}"].contains(&text(&source["uid"]))
}

/// All that the linter's rules find, before exceptions.
fn lint(dashboard: &Dashboard) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |rule: &'static str, panel: &str, what: String| {
        found.push(Finding {
            rule,
            dashboard: text(&dashboard.content["title"]).to_owned(),
            panel: panel.to_owned(),
            what,
        });
    };
    lint_variables(dashboard, &mut find);
    if dashboard.content["editable"] != false {
        find("uneditable-dashboard", "", "it can be edited in place".to_owned());
    }
    for panel in dashboard.panels() {
        lint_panel(panel, &mut find);
        for target in list(&panel["targets"]) {
            lint_target(text(&target["expr"]), text(&panel["title"]), &mut find);
        }
    }
    found
}

fn lint_variables(dashboard: &Dashboard, find: &mut impl FnMut(&'static str, &str, String)) {
    let mut sources = dashboard
        .variables()
        .filter(|variable| variable["type"] == "datasource");
    match (sources.next(), sources.next()) {
        (Some(source), None) if source["name"] == "datasource" && source["label"] == "Data source" => {}
        _ => find(
            "template-datasource-rule",
            "",
            "one data source, named datasource, labelled Data source".to_owned(),
        ),
    }
    for (rule, name, label) in [
        ("template-job-rule", "job", "Job"),
        ("template-instance-rule", "instance", "Instance"),
    ] {
        let variable = dashboard.variables().find(|variable| variable["name"] == name);
        let fits = variable.is_some_and(|variable| {
            is_templated(&variable["datasource"])
                && variable["type"] == "query"
                && variable["label"] == label
                && variable["multi"] == true
                && variable["allValue"] == ".+"
        });
        if !fits {
            find(
                rule,
                "",
                format!("a query variable {name}, labelled {label}, multi, All as .+"),
            );
        }
    }
    for variable in dashboard.variables().filter(|variable| variable["type"] == "query") {
        let name = text(&variable["name"]);
        let query = text(&variable["query"]["query"]);
        let inside = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        if inside.is_none_or(|inside| Names::of(inside).is_err()) {
            find("template-label-promql-rule", "", format!("${name} asks {query}"));
        }
        if variable["refresh"] != 2 {
            find(
                "template-on-time-change-reload-rule",
                "",
                format!("${name} stays as it is when the time range changes"),
            );
        }
    }
}

fn lint_panel(panel: &Value, find: &mut impl FnMut(&'static str, &str, String)) {
    let (title, kind) = (text(&panel["title"]), text(&panel["type"]));
    if title.is_empty() || text(&panel["description"]).is_empty() {
        let what = format!("panel {} has no title or no description", panel["id"]);
        find("panel-title-description-rule", title, what);
    }
    if kind == "text" {
        return;
    }
    if !WITH_QUERIES.contains(&kind) {
        find(
            "panel-type",
            title,
            format!("{kind} is none of those that the rules know"),
        );
    }
    if list(&panel["targets"]).next().is_none() {
        find("panel-no-targets-rule", title, "it asks nothing".to_owned());
    }
    let templated =
        is_templated(&panel["datasource"]) && list(&panel["targets"]).all(|target| is_templated(&target["datasource"]));
    if !templated {
        find("panel-datasource-rule", title, "its data source is fixed".to_owned());
    }
    let config = &panel["fieldConfig"];
    let overridden = list(&config["overrides"]).flat_map(|one| list(&one["properties"]));
    let units = overridden
        .filter(|property| property["id"] == "unit")
        .map(|property| &property["value"]);
    for unit in units.chain([&config["defaults"]["unit"]]) {
        if !UNITS.contains(&text(unit)) {
            find("panel-units-rule", title, format!("the unit {unit}"));
        }
    }
}

fn lint_target(expr: &str, title: &str, find: &mut impl FnMut(&'static str, &str, String)) {
    let names = match Names::of(expr) {
        Ok(names) if !names.selectors.is_empty() => names,
        Ok(_) => return find("target-promql-rule", title, format!("{expr} names no metric")),
        Err(error) => return find("target-promql-rule", title, error.to_string()),
    };
    for selector in names.selectors {
        let metric = &selector.metric;
        for (rule, label) in [("target-job-rule", "job"), ("target-instance-rule", "instance")] {
            let wanted = (label.to_owned(), "=~".to_owned(), format!("${label}"));
            if !selector.matchers.contains(&wanted) {
                find(rule, title, format!("{metric} lacks {label}=~\"${label}\""));
            }
        }
        let function = selector.function.as_deref().unwrap_or_default();
        if metric.ends_with("_total")
            && !(selector.range.is_some() && ["rate", "irate", "increase"].contains(&function))
        {
            let what = format!("{metric} is a counter that no rate is taken of");
            find("target-counter-agg-rule", title, what);
        }
        let range = selector.range.as_deref();
        if ["rate", "irate"].contains(&function) && range != Some("$__rate_interval") {
            find(
                "target-rate-interval-rule",
                title,
                format!("{function}({metric}{range:?})"),
            );
        }
    }
}

#[test]
fn the_rules_of_the_dashboard_linter_hold_in_strict_mode() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/.lint");
    let config = fs::read_to_string(config).expect("the linter's settings");
    let config: Config = serde_json::from_str(&config).expect("the linter's settings");
    let mut findings: Vec<Finding> = dashboards().iter().flat_map(lint).collect();
    for (rule, exclusion) in &config.exclusions {
        assert!(!exclusion.reason.is_empty(), "{rule} is excluded without a reason");
        for entry in &exclusion.entries {
            let before = findings.len();
            findings.retain(|finding| finding.rule != rule || !entry.excuses(finding));
            assert!(findings.len() < before, "an exception to {rule} that nothing needs");
        }
    }
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn each_rule_finds_what_it_is_about() {
    let mut all: Vec<&str> = Vec::new();
    for (rule, pointer, wrong) in [
        ("template-datasource-rule", "/templating/list/0/name", "prometheus"),
        ("template-job-rule", "/templating/list/2/allValue", ".*"),
        ("template-instance-rule", "/templating/list/3/label", "Pod"),
        (
            "template-label-promql-rule",
            "/templating/list/1/query/query",
            "metrics(.*)",
        ),
        ("template-on-time-change-reload-rule", "/templating/list/1/refresh", "1"),
        ("uneditable-dashboard", "/editable", "true"),
        ("panel-title-description-rule", "/panels/1/description", ""),
        ("panel-type", "/panels/1/type", "graph"),
        ("panel-no-targets-rule", "/panels/1/targets", "[]"),
        (
            "panel-datasource-rule",
            "/panels/1/targets/0/datasource/uid",
            "prometheus",
        ),
        ("panel-units-rule", "/panels/1/fieldConfig/defaults/unit", "seconds"),
        ("target-promql-rule", "/panels/1/targets/0/expr", "vector(1)"),
        (
            "target-job-rule",
            "/panels/1/targets/0/expr",
            r#"a{instance=~"$instance"}"#,
        ),
        ("target-instance-rule", "/panels/1/targets/0/expr", r#"a{job=~"$job"}"#),
        (
            "target-counter-agg-rule",
            "/panels/1/targets/0/expr",
            r#"a_total{job=~"$job", instance=~"$instance"}"#,
        ),
        (
            "target-rate-interval-rule",
            "/panels/1/targets/0/expr",
            r#"rate(a_total{job=~"$job", instance=~"$instance"}[5m])"#,
        ),
    ] {
        let mut dashboard = dashboards().remove(0);
        let rules = |dashboard: &Dashboard| -> BTreeSet<&str> {
            let found = lint(dashboard).into_iter();
            found
                .filter(|finding| finding.panel != "Alerts")
                .map(|finding| finding.rule)
                .collect()
        };
        assert!(rules(&dashboard).is_empty());
        *dashboard.content.pointer_mut(pointer).expect("it is there") =
            serde_json::from_str(wrong).unwrap_or_else(|_| wrong.into());
        assert_eq!(rules(&dashboard), [rule].into(), "{pointer} is {wrong}");
        all.push(rule);
    }
    assert_eq!(all.len(), 16);
}

/// Visits every colour that a dashboard names.
fn colors(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(color) if ["color", "fixedColor", "iconColor"].contains(&name.as_str()) => {
                        visit(color)
                    }
                    _ => colors(value, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| colors(item, visit)),
        _ => {}
    }
}

/// WCAG 2's contrast of two colours, from 1 to 21.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |color: &str| {
        let channel = |at: usize| {
            let value = u8::from_str_radix(&color[at..at + 2], 16).expect("a colour");
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn colours_are_distinct_for_the_colour_blind_and_readable_on_light_and_dark() {
    assert!((contrast("#FFFFFF", "#000000") - 21.0).abs() < 1e-9);
    for dashboard in dashboards() {
        colors(&dashboard.content, &mut |color| {
            assert!(PALETTE.contains(&color), "{}: {color}", dashboard.name);
        });
        for panel in dashboard.panels() {
            // What colours text: thresholds and what values are mapped to.
            let config = &panel["fieldConfig"];
            let overridden = list(&config["overrides"]).flat_map(|one| list(&one["properties"]));
            let values = overridden.map(|property| &property["value"]);
            let mut of_text = vec![&config["defaults"]["thresholds"], &config["defaults"]["mappings"]];
            of_text.extend(values.filter(|value| value["steps"].is_array() || value.is_array()));
            for value in of_text {
                colors(value, &mut |color| {
                    for background in BACKGROUNDS {
                        let found = contrast(color, background);
                        assert!(
                            found >= CONTRAST,
                            "{}: {color} on {background}: {found:.2}",
                            panel["title"]
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn panels_fill_the_grid_without_touching_each_other() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        let content = &dashboard.content;
        assert_eq!(text(&content["uid"]), format!("vpce-{}", dashboard.name));
        assert!(uids.insert(text(&content["uid"]).to_owned()));
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in list(&content["panels"]) {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{}", panel["title"]);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a place"));
            assert!(x + w <= COLUMNS, "{} is too wide", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{} lies upon another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn dashboards_lead_to_each_other_and_to_the_alerts() {
    let all = dashboards();
    let names: Vec<&str> = all.iter().map(|dashboard| dashboard.name.as_str()).collect();
    assert_eq!(names, ["account", "operator", "platform"]);
    for dashboard in &all {
        let links: Vec<&Value> = list(&dashboard.content["links"]).collect();
        let siblings = links
            .iter()
            .find(|link| link["type"] == "dashboards")
            .expect("siblings");
        assert_eq!(
            (&siblings["keepTime"], &siblings["includeVars"]),
            (&true.into(), &true.into())
        );
        let tag = list(&siblings["tags"]).next().expect("a tag");
        assert!(list(&dashboard.content["tags"]).any(|own| own == tag));
        assert!(links.iter().any(|link| text(&link["url"]).starts_with("/alerting/")));
        assert_eq!(dashboard.annotation_queries().count(), 2);
    }
    let uids: Vec<String> = all
        .iter()
        .map(|dashboard| format!("/d/{}?", text(&dashboard.content["uid"])))
        .collect();
    let platform = all[2].content.to_string();
    let targets: Vec<&str> = platform
        .match_indices("\"/d/")
        .map(|(at, _)| &platform[at + 1..])
        .collect();
    assert!(!targets.is_empty());
    for target in targets {
        assert!(
            uids.iter().any(|uid| target.starts_with(uid.as_str())),
            "{}",
            &target[..40]
        );
    }
}
