//! Prints what /metrics tells, for `docs/metrics.md`: from the metrics as they are registered.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

use anyhow::Context;

use super::labels::label;
use super::{Described, Metrics, MetricsOptions};

const HEAD: &str = "\
<!-- Printed by `vpce-operator metrics`; `make generate` updates it. -->

# Metrics

`/metrics` serves these in Prometheus' text format over HTTPS, at `--metrics-address`, to clients that the API server allows to get `/metrics`:
[Monitoring](operating.md#metrics). Series of objects, accounts and regions are computed from the caches at each scrape, by the leader only, and
disappear with the object; counters of an AWSAccount disappear with it too. Scrapes within a second share one response.

`*` marks metrics of single VPCEndpoints and VPCEndpointServices: one series for each, and some more for each that needs attention.
`--metrics-per-object=false` turns them off.

| metric | type | labels | help |
|---|---|---|---|
";

const LABELS: &str = "
## Labels

The values of each label, and how many there can be. Users who may only write VPCEndpoints and VPCEndpointServices cannot choose label values, except
the names of their namespaces and objects, in the series marked `*` and in `vpce_endpoint_network_interfaces`, and regions, whose number
is limited.

| label | of | meaning | values |
|---|---|---|---|
";

const JOIN: &str = "
Metrics of an AWS account, which several AWSAccounts may share, have the label `account_id`. Join them through `vpce_account_info`:

```promql
sum by (account_id) (rate(vpce_aws_request_errors_total{class=\"throttled\"}[5m]))
  * on (account_id) group_right vpce_account_info
```
";

/// Writes the page.
///
/// # Errors
/// It cannot be written, or a label has no description.
pub(crate) fn print(mut out: impl Write) -> anyhow::Result<()> {
    let (all, totals) = (described(true), described(false));
    let kept: BTreeSet<&str> = totals.iter().map(|metric| metric.name.as_str()).collect();
    let mut page = HEAD.to_owned();
    for metric in &all {
        let mark = if kept.contains(metric.name.as_str()) { "" } else { " *" };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let help = metric.help.replace('|', "\\|");
        let edges: Vec<String> = metric.buckets.iter().map(ToString::to_string).collect();
        let edges = match edges.as_slice() {
            [] => String::new(),
            edges => format!(" Buckets: {}.", edges.join(", ")),
        };
        writeln!(
            page,
            "| `{}`{mark} | {} | {} | {help}{edges} |",
            metric.name,
            metric.type_,
            labels.join(", ")
        )?;
    }
    page.push_str(LABELS);
    let rows = labels(&all)?;
    for (name, of, meaning, values) in &rows {
        let is_the_same_everywhere = rows.iter().filter(|row| row.0 == *name).count() == 1;
        let of = match is_the_same_everywhere {
            true => "all that have it".to_owned(),
            false => of
                .iter()
                .map(|metric| format!("`{metric}`"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        writeln!(page, "| `{name}` | {of} | {meaning} | {values} |")?;
    }
    page.push_str(JOIN);
    out.write_all(page.as_bytes()).context("cannot print the metrics")
}

fn described(per_object: bool) -> Vec<Described> {
    let options = MetricsOptions {
        per_object,
        version: "",
        revision: "",
    };
    Metrics::new(options).described()
}

/// A label, the metrics in which it means the same, its meaning and its values.
type Row = (String, Vec<String>, &'static str, String);

fn labels(metrics: &[Described]) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for metric in metrics {
        for name in &metric.labels {
            let label = label(&metric.name, name)
                .with_context(|| format!("the label {name} of {} has no description", metric.name))?;
            let values = label.values.words();
            match rows
                .iter_mut()
                .find(|row| row.0 == *name && row.2 == label.meaning && row.3 == values)
            {
                Some(row) => row.1.push(metric.name.clone()),
                None => rows.push((name.clone(), vec![metric.name.clone()], label.meaning, values)),
            }
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(rows)
}
