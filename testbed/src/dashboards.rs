//! The dashboards of `grafana/`, asked of a Prometheus as Grafana would ask.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::operator::project;
use crate::prometheus::{Prometheus, Series};

/// A panel of the usual width has about so many points.
const POINTS: u32 = 300;

/// A dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Its file's name, without the ending.
    pub name: String,
    /// What is in the file.
    pub content: Value,
}

/// A query of a panel or of a variable.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose it is: `platform / Accounts / A`, `platform / $account`.
    pub of: String,
    /// PromQL, with Grafana's variables in it.
    pub expr: String,
    /// Whether only what is now is asked for.
    pub instant: bool,
}

/// The time that a dashboard shows.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its begin.
    pub start: SystemTime,
    /// Its end.
    pub end: SystemTime,
    /// How often Prometheus scrapes, which Grafana knows from the data source's settings.
    pub scrape: Duration,
}

impl Dashboard {
    /// All that there are, by name.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(project("grafana"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let content = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.push(Self { name, content });
        }
        ensure!(!all.is_empty(), "there are no dashboards");
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Its panels, rows aside.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        let panels = self.content["panels"].as_array().into_iter().flatten();
        panels.filter(|panel| panel["type"] != "row")
    }

    /// Its variables.
    pub fn variables(&self) -> impl Iterator<Item = &Value> {
        self.content["templating"]["list"].as_array().into_iter().flatten()
    }

    /// The queries of a panel; none where it has words only.
    pub fn queries<'a>(&'a self, panel: &'a Value) -> impl Iterator<Item = Query> + 'a {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| Query {
            of: format!("{} / {} / {}", self.name, text(&panel["title"]), text(&target["refId"])),
            expr: text(&target["expr"]).to_owned(),
            instant: target["instant"] == true,
        })
    }

    /// The queries that fill its variables: `label_values(selector, label)` as a query that gives a
    /// series for each value.
    ///
    /// # Errors
    /// When a variable is filled in another way.
    pub fn variable_queries(&self) -> Result<Vec<Query>> {
        let queried = self.variables().filter(|variable| variable["type"] == "query");
        let queries = queried.map(|variable| {
            let of = format!("{} / ${}", self.name, text(&variable["name"]));
            let query = text(&variable["query"]["query"]);
            let inside = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'));
            let parts = inside.and_then(|inside| inside.rsplit_once(','));
            let (selector, label) = parts.with_context(|| format!("{of} asks {query}"))?;
            let label = label.trim();
            Ok(Query {
                of,
                // What lacks the label gives no value of it.
                expr: format!("count by ({label}) ({} {label}!=\"\"}})", and_more(selector)),
                instant: false,
            })
        });
        queries.collect()
    }

    /// The queries that mark times in its panels.
    pub fn annotation_queries(&self) -> impl Iterator<Item = Query> {
        let annotations = self.content["annotations"]["list"].as_array().into_iter().flatten();
        annotations
            .filter(|annotation| annotation["expr"].is_string())
            .map(|annotation| Query {
                of: format!("{} / marks / {}", self.name, text(&annotation["name"])),
                expr: text(&annotation["expr"]).to_owned(),
                instant: false,
            })
    }

    /// What Grafana substitutes for the variables by default.
    fn choices(&self) -> BTreeMap<&str, &str> {
        let choice = |variable| {
            let variable: &Value = variable;
            let value = match text(&variable["type"]) {
                "query" => &variable["allValue"],
                "textbox" => &variable["query"],
                _ => return None,
            };
            Some((variable["name"].as_str()?, value.as_str()?))
        };
        self.variables().filter_map(choice).collect()
    }

    /// A query with everything filled in.
    ///
    /// # Errors
    /// When it names a variable that the dashboard does not have.
    pub fn fill(&self, query: &Query, span: &Span) -> Result<String> {
        let milliseconds = |duration: Duration| format!("{}ms", duration.as_millis());
        let (range, interval, rate) = (span.length(), span.step(), span.rate_interval());
        let times = [
            ("__range", milliseconds(range)),
            ("__interval", milliseconds(interval)),
            ("__rate_interval", milliseconds(rate)),
        ];
        let choices = self.choices().into_iter().map(|(name, value)| (name, value.to_owned()));
        let values: BTreeMap<&str, String> = choices.chain(times).collect();
        let mut filled = String::new();
        let mut rest = query.expr.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = after.find(|c| !in_name(c)).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            filled += before;
            match values.get(name) {
                Some(value) => filled += value,
                // What a regular expression caught.
                None if name.chars().all(|c| c.is_ascii_digit()) && !name.is_empty() => filled += &format!("${name}"),
                None => anyhow::bail!("{} names the variable ${name}, which there is not", query.of),
            }
            rest = after;
        }
        Ok(filled + rest)
    }

    /// What the panel of a query shows.
    ///
    /// # Errors
    /// When Prometheus finds the query wrong.
    pub fn ask(&self, query: &Query, prometheus: &Prometheus, span: &Span) -> Result<Vec<Series>> {
        let start = if query.instant { span.end } else { span.start };
        self.ask_from(query, prometheus, span, start)
    }

    /// What it would have shown at any time of the span.
    ///
    /// # Errors
    /// When Prometheus finds the query wrong.
    pub fn ask_throughout(&self, query: &Query, prometheus: &Prometheus, span: &Span) -> Result<Vec<Series>> {
        self.ask_from(query, prometheus, span, span.start)
    }

    fn ask_from(&self, query: &Query, prometheus: &Prometheus, span: &Span, start: SystemTime) -> Result<Vec<Series>> {
        let expr = self.fill(query, span)?;
        let answer = prometheus.query_range(&expr, start, span.end, span.step());
        answer.with_context(|| format!("{}: {expr}", query.of))
    }

    /// The dashboard with what its queries give, for drawing.
    ///
    /// # Errors
    /// When Prometheus finds a query wrong.
    pub fn with_results(&self, prometheus: &Prometheus, span: &Span) -> Result<Value> {
        let mut results = Vec::new();
        for panel in self.panels() {
            let mut of_panel = Vec::new();
            for query in self.queries(panel) {
                let series = self.ask(&query, prometheus, span)?;
                let series = series.iter().map(|series| {
                    // JSON has no number for what is none.
                    let points = series.points.iter().filter(|(_, value)| value.is_finite());
                    json!({"labels": series.labels, "points": points.collect::<Vec<_>>()})
                });
                of_panel.push(Value::from(series.collect::<Vec<_>>()));
            }
            results.push(json!({"panel": panel["id"], "targets": of_panel}));
        }
        Ok(json!({
            "name": self.name, "dashboard": self.content, "results": results,
            "start": seconds(span.start), "end": seconds(span.end), "step": span.step().as_secs_f64(),
        }))
    }
}

impl Span {
    fn length(&self) -> Duration {
        self.end.duration_since(self.start).unwrap_or_default()
    }

    /// Grafana's `$__interval`: no finer than a point of the panel, nor than a scrape.
    #[must_use]
    pub fn step(&self) -> Duration {
        (self.length() / POINTS).max(self.scrape)
    }

    /// Grafana's `$__rate_interval`: so long that there are samples enough for a rate.
    fn rate_interval(&self) -> Duration {
        (self.step() + self.scrape).max(4 * self.scrape)
    }
}

/// A selector, open for one more matcher.
fn and_more(selector: &str) -> String {
    match selector.trim().strip_suffix('}') {
        Some(open) => format!("{open},"),
        None => format!("{selector}{{"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dashboard() -> Dashboard {
        let content = json!({"templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus"},
            {"name": "account", "type": "query", "allValue": ".*", "query": {"query": "label_values(a{b=~\"$price\"}, account)"}},
            {"name": "price", "type": "textbox", "query": "0.01"},
        ]}});
        let name = "test".to_owned();
        Dashboard { name, content }
    }

    fn span(seconds: u64) -> Span {
        let start = UNIX_EPOCH;
        Span {
            start,
            end: start + Duration::from_secs(seconds),
            scrape: Duration::from_secs(1),
        }
    }

    fn filled(expr: &str, seconds: u64) -> Result<String> {
        let query = Query {
            of: "test".to_owned(),
            expr: expr.to_owned(),
            instant: false,
        };
        dashboard().fill(&query, &span(seconds))
    }

    #[test]
    fn variables_are_filled_in_as_grafana_does() {
        let expr = r#"rate(a{account=~"$account"}[$__rate_interval]) * $price + increase(a[$__range])"#;
        assert_eq!(
            filled(expr, 60).expect("filled"),
            r#"rate(a{account=~".*"}[4000ms]) * 0.01 + increase(a[60000ms])"#
        );
        assert_eq!(filled("a[$__rate_interval]", 3000).expect("filled"), "a[11000ms]");
        assert_eq!(
            filled(r#"label_replace(a, "b", "$1")"#, 60).expect("filled"),
            r#"label_replace(a, "b", "$1")"#
        );
        let error = filled("a * $prices", 60).expect_err("no such variable").to_string();
        assert!(error.contains("$prices"), "{error}");
    }

    #[test]
    fn a_variable_asks_for_the_values_of_its_label() {
        let queries = dashboard().variable_queries().expect("queries");
        let exprs: Vec<&str> = queries.iter().map(|query| query.expr.as_str()).collect();
        assert_eq!(exprs, [r#"count by (account) (a{b=~"$price", account!=""})"#]);
        assert_eq!(and_more("a"), "a{");
    }
}
