//! What was measured, beside what is allowed.

/// Figures in the order in which they were added.
#[derive(Default)]
pub(super) struct Report {
    figures: Vec<Figure>,
}

struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    bound: Option<f64>,
}

impl Figure {
    fn is_missed(&self) -> bool {
        self.bound.is_some_and(|bound| self.value > bound)
    }
}

impl Report {
    /// A figure that has no bound.
    pub(super) fn told(&mut self, what: &str, value: f64, unit: &'static str) {
        self.add(what, value, unit, None);
    }

    /// A figure that may be `bound` at the most.
    pub(super) fn most(&mut self, what: &str, value: f64, bound: f64, unit: &'static str) {
        self.add(what, value, unit, Some(bound));
    }

    fn add(&mut self, what: &str, value: f64, unit: &'static str, bound: Option<f64>) {
        self.figures.push(Figure {
            what: what.to_owned(),
            value,
            unit,
            bound,
        });
    }

    /// The figures whose bound is missed.
    pub(super) fn missed(&self) -> impl Iterator<Item = &str> {
        let missed = self.figures.iter().filter(|figure| figure.is_missed());
        missed.map(|figure| figure.what.as_str())
    }

    pub(super) fn print(&self) {
        println!("\n{:64} {:>9}        bound", "figure", "measured");
        for figure in &self.figures {
            let bound = figure.bound.map(|bound| format!("{bound:.1}")).unwrap_or_default();
            let missed = if figure.is_missed() { "  MISSED" } else { "" };
            println!(
                "{:64} {:9.1} {:6} {bound}{missed}",
                figure.what, figure.value, figure.unit
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_its_bound_is_missed() {
        let mut report = Report::default();
        report.told("told", 9.0, "s");
        report.most("at its bound", 2.0, 2.0, "calls");
        report.most("above", 2.5, 2.0, "calls");
        assert_eq!(report.missed().collect::<Vec<_>>(), ["above"]);
    }
}
