//! Others use half of what AWS allows the account in the region, all the time: how many calls are
//! refused, and until when. In real time.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::bed::{Bed, scaled_settings};
use super::one_account::{create, one_account};
use super::report::Report;
use crate::aws::Config;

/// Two others, together.
const OTHERS_SHARE: f64 = 0.5;
/// Fifty in each VPC, which is the quota.
const VPCS: usize = 4;
const ENDPOINTS: usize = 50 * VPCS;
/// Until then it has to be found out how much is left.
const LEARNT_AFTER: f64 = 600.0;
/// More is tried now and then: once after ten minutes, once after twenty further ones.
const TRIES: f64 = 2.0;
const DONE_WITHIN: Duration = Duration::from_secs(3600);

pub(super) fn run(binary: &Path) -> Result<Report> {
    let config = Config {
        pending_seconds: 60.0,
        others_share: OTHERS_SHARE,
        ..Config::default()
    };
    let bed = Bed::start(binary, config, scaled_settings(1.0))?;
    let specs = one_account(&bed, VPCS)?;
    println!("applying {ENDPOINTS} endpoints");
    let begin = bed.aws.now();
    let after = create(&bed, &specs, ENDPOINTS, DONE_WITHIN, || ())?;
    let calls = bed.aws.calls();
    let refused: Vec<f64> = calls
        .iter()
        .filter(|call| call.result == "RequestLimitExceeded")
        .map(|call| call.time - begin)
        .collect();
    let early = refused.iter().filter(|time| **time < LEARNT_AFTER).count();
    let mut report = Report::default();
    report.told("all Ready after", after, "s");
    let fewest = ENDPOINTS as f64 / (0.3 * (1.0 - OTHERS_SHARE));
    report.told("what is left of the rate allows them after", fewest, "s");
    report.told("calls", calls.len() as f64, "calls");
    report.told(
        "refused for their rate: in the first ten minutes",
        early as f64,
        "calls",
    );
    report.most(
        "refused for their rate: later, by trying for more",
        (refused.len() - early) as f64,
        TRIES,
        "calls",
    );
    bed.operator.terminate()?;
    Ok(report)
}
