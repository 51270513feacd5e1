//! Dashboards ask only for what the operator exports: every metric and label that a query in
//! `grafana/` names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use vpce_testbed::promql::{Names, Selector};

/// Labels that every series has: Prometheus adds those of the target, and a setup that gathers
/// several clusters that of the cluster.
const OF_THE_TARGET: &[&str] = &["cluster", "instance", "job"];

/// What Prometheus itself exports of alerts, with labels that the rules keep.
const ALERTS: &str =
    r#"ALERTS{alertname="a",alertstate="firing",severity="critical",account="a",account_id="1",namespace="a"} 1"#;

/// Sample name (`..._bucket` and the like each for itself) to the names of its labels.
type Exported = BTreeMap<String, BTreeSet<String>>;

/// Checks all dashboards against one scrape of an operator that exports something for
/// everything.
///
/// # Panics
/// A query names a metric or a label that is not in the scrape, or cannot be read.
pub(crate) fn queries_name_only_exported_series(exposition: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let exported = exported(&[exposition, ALERTS].join("\n"));
    let (mut queries, mut complaints) = (0, Vec::new());
    for entry in std::fs::read_dir(&folder).expect("the folder of the dashboards") {
        let path = entry.expect("a file in the folder of the dashboards").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).expect("a readable dashboard");
            let dashboard: Value =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{} is not JSON: {e}", path.display()));
            let (checked, found) = check(&dashboard, &exported);
            queries += checked;
            complaints.extend(found.into_iter().map(|what| format!("{}: {what}", path.display())));
        }
    }
    assert!(queries > 0, "no query found in {}", folder.display());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What one scrape exports.
fn exported(exposition: &str) -> Exported {
    let mut exported = Exported::new();
    for line in exposition
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let names = Names::of(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let Some(Selector { metric, matchers, .. }) = names.selectors.into_iter().next() else {
            panic!("{line} is no sample");
        };
        let labels = exported.entry(metric).or_default();
        labels.extend(OF_THE_TARGET.iter().map(|label| (*label).to_owned()));
        labels.extend(matchers.into_iter().map(|(label, ..)| label));
    }
    exported
}

/// How many queries a dashboard has, and what is wrong with them.
fn check(dashboard: &Value, exported: &Exported) -> (usize, Vec<String>) {
    let (mut queries, mut complaints) = (0, Vec::new());
    walk(dashboard, &mut |object| {
        let asked = if let Some(expr) = object.get("expr").and_then(Value::as_str) {
            let legend = object.get("legendFormat").and_then(Value::as_str).unwrap_or_default();
            Some((expr, check_query(expr, legend, exported)))
        } else if object.get("type").and_then(Value::as_str) == Some("query") {
            let query = object.get("query").map(|query| query.get("query").unwrap_or(query));
            query
                .and_then(Value::as_str)
                .map(|query| (query, check_variable(query, exported)))
        } else {
            None
        };
        if let Some((query, found)) = asked {
            queries += 1;
            complaints.extend(found.into_iter().map(|what| format!("{what}, in {query}")));
        }
    });
    (queries, complaints)
}

/// Visits every object in a JSON document.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|value| walk(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

/// What is wrong with a panel's query and its legend.
fn check_query(expr: &str, legend: &str, exported: &Exported) -> Vec<String> {
    let names = match Names::of(expr) {
        Ok(names) if names.selectors.is_empty() => return vec!["it names no metric".to_owned()],
        Ok(names) => names,
        Err(e) => return vec![e.to_string()],
    };
    let mut complaints = unknown(&names, exported);
    // An aggregation leaves only the labels that it groups by.
    let left = if names.kept.is_empty() {
        labels(&names, exported)
    } else {
        names.kept
    };
    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")) {
        if !left.contains(label.0.trim()) {
            complaints.push(format!(
                "the legend's {{{{{}}}}} is not a label of the result",
                label.0.trim()
            ));
        }
    }
    complaints
}

/// What is wrong with a variable's query: `label_values(label)` or `label_values(selector, label)`.
fn check_variable(query: &str, exported: &Exported) -> Vec<String> {
    let inside = query
        .trim()
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    let Some(inside) = inside else {
        return vec!["a variable is filled by label_values(...)".to_owned()];
    };
    let Some((selector, label)) = inside.rsplit_once(',') else {
        let known = exported.values().any(|labels| labels.contains(inside.trim()));
        return if known {
            vec![]
        } else {
            vec![format!("no metric has the label {inside}")]
        };
    };
    check_query(selector, &format!("{{{{{}}}}}", label.trim()), exported)
}

/// All labels that the metrics of a query have, and those that it makes.
fn labels(names: &Names, exported: &Exported) -> BTreeSet<String> {
    let of_metric = |selector: &Selector| exported.get(&selector.metric).cloned().unwrap_or_default();
    let of_metrics = names.selectors.iter().flat_map(of_metric);
    of_metrics.chain(names.made.iter().cloned()).collect()
}

/// What a query names and the scrape does not have.
fn unknown(names: &Names, exported: &Exported) -> Vec<String> {
    let mut complaints = Vec::new();
    for Selector { metric, matchers, .. } in &names.selectors {
        let Some(known) = exported.get(metric) else {
            complaints.push(format!("{metric} is not exported"));
            continue;
        };
        let unknown = matchers.iter().filter(|(label, ..)| !known.contains(label));
        complaints.extend(unknown.map(|(label, ..)| format!("{metric} has no label {label}")));
    }
    let known = labels(names, exported);
    let unknown = names.grouping.difference(&known);
    complaints.extend(unknown.map(|label| format!("it groups by {label}, which none of its metrics has")));
    complaints
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCRAPE: &str = r#"
# TYPE vpce_calls_total counter
vpce_calls_total{account_id="1",action="Create, {x}",result="a \" b"} 1
vpce_info{account="a",account_id="1"} 1
vpce_wait_seconds_bucket{action="Create",le="+Inf"} 1
vpce_wait_seconds_sum{action="Create"} 1
vpce_wait_seconds_count{action="Create"} 1
vpce_leader 1
"#;

    fn complaints(expr: &str, legend: &str) -> Vec<String> {
        let dashboard = json!({"panels": [{"targets": [{"expr": expr, "legendFormat": legend}]}]});
        let (queries, complaints) = check(&dashboard, &exported(SCRAPE));
        assert_eq!(queries, 1);
        complaints
    }

    #[test]
    fn queries_of_what_is_exported_pass() {
        for (expr, legend) in [
            ("vpce_leader", ""),
            (
                r#"sum by (action) (rate(vpce_calls_total{result!="ok"}[$__rate_interval]))"#,
                "{{action}}",
            ),
            (
                "sum(vpce_calls_total) by (action, result) > 5",
                "{{ action }} {{result}}",
            ),
            (
                r#"rate(vpce_calls_total[5m]) * on (account_id) group_left (account) vpce_info{account=~"$account"}"#,
                "{{account}}",
            ),
            (
                "histogram_quantile(0.95, sum by (le, action) (rate(vpce_wait_seconds_bucket[5m])))",
                "{{action}}",
            ),
            (
                "vpce_wait_seconds_sum / ignoring(action) vpce_wait_seconds_count offset 1h",
                "",
            ),
            (
                "(time() - vpce_leader) * ${price:raw} and on () vpce_leader == bool 1e3",
                "",
            ),
            (
                "topk(5, count by (action) (vpce_calls_total)) or vector(0)",
                "{{action}}",
            ),
        ] {
            assert_eq!(complaints(expr, legend), Vec::<String>::new(), "{expr}");
        }
    }

    #[test]
    fn each_name_that_is_not_exported_is_found() {
        for (expr, legend, what) in [
            ("vpce_call_total", "", "vpce_call_total is not exported"),
            ("vpce_wait_seconds", "", "vpce_wait_seconds is not exported"),
            ("vpce_leader + vpce_gone", "", "vpce_gone is not exported"),
            (r#"vpce_info{region="x"}"#, "", "vpce_info has no label region"),
            ("sum by (region) (vpce_info)", "", "groups by region"),
            ("sum(vpce_info) by (region)", "", "groups by region"),
            ("sum without (region) (vpce_info)", "", "groups by region"),
            ("vpce_info * on (region) vpce_leader", "", "groups by region"),
            (
                "vpce_info * on () group_left (region) vpce_leader",
                "",
                "groups by region",
            ),
            ("vpce_info", "{{region}}", "{{region}} is not a label"),
            (
                "sum by (account) (vpce_info)",
                "{{account_id}}",
                "{{account_id}} is not a label",
            ),
            (r#"{account="x"}"#, "", "names no metric"),
            ("vector(1)", "", "names no metric"),
        ] {
            let found = complaints(expr, legend);
            assert!(found.iter().any(|found| found.contains(what)), "{expr}: {found:?}");
        }
    }

    #[test]
    fn variables_are_checked_as_well() {
        let found = |query: Value| {
            let dashboard = json!({"templating": {"list": [{"type": "query", "query": query}]}});
            check(&dashboard, &exported(SCRAPE)).1
        };
        assert!(found(json!("label_values(vpce_info, account)")).is_empty());
        assert!(
            found(json!({"query": r#"label_values(vpce_info{account_id="1"}, account)"#, "refId": "x"})).is_empty()
        );
        assert!(found(json!("label_values(account)")).is_empty());
        assert_eq!(found(json!("label_values(vpce_info, region)")).len(), 1);
        assert_eq!(found(json!("label_values(vpce_gone, account)")).len(), 2);
        assert_eq!(found(json!("label_values(region)")).len(), 1);
        assert_eq!(found(json!("metrics(vpce)")).len(), 1);
    }

    #[test]
    fn labels_are_read_past_commas_braces_and_quotes_in_values() {
        let exported = exported(SCRAPE);
        let labels: Vec<&str> = exported["vpce_calls_total"].iter().map(String::as_str).collect();
        assert_eq!(labels, ["account_id", "action", "cluster", "instance", "job", "result"]);
        assert_eq!(exported["vpce_leader"].len(), OF_THE_TARGET.len());
    }

    #[test]
    #[should_panic(expected = "vpce_")]
    fn the_dashboards_fail_against_an_operator_that_exports_nothing() {
        queries_name_only_exported_series("up 1\n");
    }
}
