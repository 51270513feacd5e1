//! Reads single figures from the operator's metrics.

use anyhow::Result;

use crate::operator::Operator;

/// One scrape of `/metrics`.
pub(super) struct Scrape(String);

impl Scrape {
    pub(super) fn of(operator: &Operator) -> Result<Self> {
        Ok(Self(operator.metrics()?))
    }

    /// The sum of all series of this name that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let series = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let has = |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
            let whole_name = rest.starts_with(['{', ' ']);
            (whole_name && labels.iter().all(has)).then_some(rest)
        });
        series
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let scrape = Scrape(
            "a_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\na_total{x=\"2\"} 5\na_total_more 6\n# a\n"
                .to_owned(),
        );
        assert_eq!(scrape.sum("a_total", &[("x", "1")]), 7.0);
        assert_eq!(scrape.sum("a_total", &[]), 12.0);
    }
}
