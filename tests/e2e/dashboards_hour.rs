//! Every panel of the dashboards shows something of a scripted hour: a real Prometheus scrapes the
//! real operator, and is asked as Grafana would ask.

use std::path::Path;

use vpce_testbed::bench::hour::Watched;
use vpce_testbed::dashboards::{Dashboard, Query};
use vpce_testbed::prometheus::Series;

use crate::dashboards;
use crate::subcommand::BINARY;

/// The hour takes a minute and a half of ours, where the machine is not busy.
const TIME_SCALE: f64 = 40.0;

/// Queries that give nothing in the hour, with the reason. Each as in [`Query::of`].
const EMPTY: &[(&str, &str)] = &[
    (
        "account / $cluster",
        "the label of who gathers several clusters: here is one",
    ),
    (
        "operator / $cluster",
        "the label of who gathers several clusters: here is one",
    ),
    (
        "platform / $cluster",
        "the label of who gathers several clusters: here is one",
    ),
];

/// Queries whose values are all zero in the hour, with the reason.
const ZERO: &[(&str, &str)] = &[
    ("operator / Unparseable objects / A", PARSES),
    ("platform / Unparseable objects / A", PARSES),
    ("platform / Deletions in progress by age / B", YOUNG),
    ("platform / Deletions in progress by age / C", YOUNG),
];

const PARSES: &str =
    "what does not parse takes a schema that was changed: unparseable.rs does that, and looks at the same series";
const YOUNG: &str = "objects are as old as they are in our time, of which the hour takes some minutes";

/// What a query gave.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Shown {
    Nothing,
    Zeros,
    Something,
}

fn judge(series: &[Series]) -> Shown {
    let mut values = series.iter().flat_map(|series| &series.points).map(|(_, value)| *value);
    let finite = values.clone().any(f64::is_finite);
    match (finite, values.any(|value| value.is_finite() && value != 0.0)) {
        (_, true) => Shown::Something,
        (true, false) => Shown::Zeros,
        (false, false) => Shown::Nothing,
    }
}

fn expected(of: &str) -> Shown {
    let has = |list: &[(&str, &str)]| list.iter().any(|(listed, _)| *listed == of);
    match (has(EMPTY), has(ZERO)) {
        (true, _) => Shown::Nothing,
        (false, true) => Shown::Zeros,
        (false, false) => Shown::Something,
    }
}

#[test]
fn every_panel_has_data_after_an_hour_of_problems() {
    let binary = Path::new(BINARY);
    let watched = Watched::play(binary, TIME_SCALE).expect("the hour");
    let (mut asked, mut listed, mut complaints) = (0, 0, Vec::new());
    let mut check = |query: &Query, shown: Shown| {
        asked += 1;
        let expected = expected(&query.of);
        listed += usize::from(expected != Shown::Something);
        if shown != expected {
            complaints.push(format!(
                "{} shows {shown:?}, and not {expected:?}: {}",
                query.of, query.expr
            ));
        }
    };
    for dashboard in Dashboard::all().expect("dashboards") {
        for panel in dashboard.panels() {
            for query in dashboard.queries(panel) {
                let ask = |throughout: bool| {
                    let (prometheus, span) = (&watched.prometheus, &watched.span);
                    let series = if throughout {
                        dashboard.ask_throughout(&query, prometheus, span)
                    } else {
                        dashboard.ask(&query, prometheus, span)
                    };
                    judge(&series.expect("a query that Prometheus understands"))
                };
                // At the end of the hour there is something, if only zero; and at some time more
                // than that.
                let shown = match ask(false) {
                    Shown::Nothing => Shown::Nothing,
                    _ => ask(true),
                };
                check(&query, shown);
            }
        }
        let others = dashboard.variable_queries().expect("queries of variables");
        for query in others.into_iter().chain(dashboard.annotation_queries()) {
            let series = dashboard.ask(&query, &watched.prometheus, &watched.span);
            check(&query, judge(&series.expect("a query that Prometheus understands")));
        }
    }
    println!("{asked} queries, {listed} of them listed as empty or zero");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(asked > 100, "only {asked} queries");
    dashboards::queries_name_only_exported_series(&exported(&watched));
}

/// What the operator exported in the hour, as one scrape: at no time has it all series.
fn exported(watched: &Watched) -> String {
    let Watched { prometheus, span, .. } = watched;
    let all = prometheus.query_range(r#"{__name__=~".+"}"#, span.start, span.end, span.step());
    let samples = all.expect("Prometheus answers").into_iter().map(|mut series| {
        let name = series.labels.remove("__name__").expect("every series has a name");
        let labels: Vec<String> = series
            .labels
            .iter()
            .map(|(label, value)| format!("{label}={value:?}"))
            .collect();
        format!("{name}{{{}}} 1", labels.join(","))
    });
    samples.collect::<Vec<_>>().join("\n")
}
