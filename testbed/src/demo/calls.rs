//! The demo's table of calls: what was asked of AWS, in which account, and what came of it.

use std::collections::BTreeMap;

use crate::aws::Call;

/// What a dry run is answered with that would have been allowed.
const DRY_RUN_PASSED: &str = "DryRunOperation";

#[derive(Default)]
struct Counts {
    calls: usize,
    errors: usize,
    dry_runs: usize,
}

/// One line an account, region and action. A dry run that would have been allowed is neither a call
/// nor an error.
pub(super) fn table(calls: &[Call]) -> String {
    let mut counts: BTreeMap<(&str, &str, &str), Counts> = BTreeMap::new();
    for call in calls {
        let counts = counts.entry((&call.account, &call.region, &call.action)).or_default();
        if call.is_dry_run() && call.result == DRY_RUN_PASSED {
            counts.dry_runs += 1;
        } else {
            counts.calls += 1;
            counts.errors += usize::from(!call.ok());
        }
    }
    let rows = counts.iter().map(|((account, region, action), counts)| {
        [
            (*account).to_owned(),
            (*region).to_owned(),
            (*action).to_owned(),
            counts.calls.to_string(),
            counts.errors.to_string(),
            counts.dry_runs.to_string(),
        ]
    });
    let heading = ["ACCOUNT", "REGION", "ACTION", "CALLS", "ERRORS", "DRY RUNS"].map(str::to_owned);
    aligned(&[heading].into_iter().chain(rows).collect::<Vec<_>>())
}

/// Rows as a table: each column as wide as its widest cell, and numbers to the right.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let is_number = |column: usize| {
        let mut cells = rows.iter().skip(1).map(|row| &row[column]).peekable();
        // Ids of accounts are names that happen to be digits.
        cells.peek().is_some() && cells.all(|cell| cell.len() < 12 && cell.parse::<usize>().is_ok())
    };
    let to_the_right: [bool; COLUMNS] = std::array::from_fn(is_number);
    let mut table = String::new();
    for row in rows {
        let cells: Vec<String> = (0..COLUMNS)
            .map(|column| match to_the_right[column] {
                true => format!("{:>1$}", row[column], widths[column]),
                false => format!("{:1$}", row[column], widths[column]),
            })
            .collect();
        table += cells.join("  ").trim_end();
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: &str, dry: bool, result: &str) -> Call {
        let params = dry.then(|| ("DryRun".to_owned(), "true".to_owned()));
        Call {
            seq: 1,
            time: 0.0,
            account: "111111111111".to_owned(),
            region: "us-west-2".to_owned(),
            service: "ec2".to_owned(),
            action: action.to_owned(),
            role: String::new(),
            session_name: String::new(),
            source_identity: None,
            params: params.into_iter().collect(),
            result: result.to_owned(),
            request_id: String::new(),
            produced: Vec::new(),
            answered: true,
            fault: None,
        }
    }

    #[test]
    fn dry_runs_are_no_errors_and_long_names_move_no_column() {
        let long = "UpdateSecurityGroupRuleDescriptionsIngress";
        let calls = [
            call("CreateTags", true, DRY_RUN_PASSED),
            call("CreateTags", false, "ok"),
            call("CreateTags", true, "UnauthorizedOperation"),
            call(long, true, DRY_RUN_PASSED),
            call(long, true, DRY_RUN_PASSED),
        ];
        let table = table(&calls);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "ACCOUNT       REGION     ACTION                                      CALLS  ERRORS  DRY RUNS",
                "111111111111  us-west-2  CreateTags                                      2       1         1",
                "111111111111  us-west-2  UpdateSecurityGroupRuleDescriptionsIngress      0       0         2",
            ]
        );
    }
}
