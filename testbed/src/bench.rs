//! The benchmark: scenarios that put the operator's real binary between a real API server and a
//! simulated AWS, measure, and fail where a bound is missed.

mod bed;
mod churn;
mod crowd;
mod deletions;
mod failover;
pub mod hour;
mod limits;
mod metrics;
mod objects;
mod one_account;
mod repair;
mod report;
mod scale;
mod sessions;
mod shared;
mod sharing;
mod weather;

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::operator;
use report::Report;

/// A scenario: what it is called, what it is about, and how it is run.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> Result<Report>,
    /// It takes so long that it is run only when it is named.
    is_long: bool,
}

const SCENARIOS: [Scenario; 12] = [
    Scenario {
        name: "limits",
        about: "100 endpoints of one AWS account and region, made and deleted together; times in simulated seconds",
        run: limits::run,
        is_long: false,
    },
    Scenario {
        name: "sessions",
        about: "1,000 endpoints in 50 AWS accounts over two lifetimes of their sessions; times in simulated seconds",
        run: sessions::run,
        is_long: false,
    },
    Scenario {
        name: "repair",
        about: "10 AWS accounts whose roles are refused, with endpoints that wait, and then let the operator in",
        run: repair::run,
        is_long: false,
    },
    Scenario {
        name: "crowd",
        about: "5,000 objects of a tenant whose role is refused, 1,000 creates of another in line, and a third with one",
        run: crowd::run,
        is_long: false,
    },
    Scenario {
        name: "deletions",
        about: "300 and then 5,000 objects created and deleted at once, beside a neighbour namespace of the same AWS account",
        run: deletions::run,
        is_long: false,
    },
    Scenario {
        name: "failover",
        about: "the replica that works is killed, or stopped, and another takes over",
        run: failover::run,
        is_long: false,
    },
    Scenario {
        name: "hour",
        about: "an hour of one trouble after another in six AWS accounts, ten times as fast: what it costs, and what rest does",
        run: hour::run,
        is_long: false,
    },
    Scenario {
        name: "churn",
        about: "endpoints come, change and go for half an hour",
        run: churn::run,
        is_long: true,
    },
    Scenario {
        name: "shared",
        about: "200 endpoints, while others use half of what AWS allows the account: twenty minutes and more",
        run: shared::run,
        is_long: true,
    },
    Scenario {
        name: "sharing",
        about: "one endpoint that 100 namespaces share: when the last of them is Ready after its owner",
        run: sharing::run,
        is_long: false,
    },
    Scenario {
        name: "weather",
        about: "100 endpoints made and deleted while AWS refuses 20 % of changes and loses 10 % of answers; in simulated seconds",
        run: weather::run,
        is_long: false,
    },
    Scenario {
        name: "scale",
        about: "10,000 endpoints in 1,000 AWS accounts: CPU, memory, scrapes and calls, from apply to Ready, at rest, over a restart, and for changes",
        run: scale::run,
        is_long: true,
    },
];

/// Runs the scenarios of these names, or all of them but the long ones; each prints what was
/// measured beside what is allowed.
///
/// # Errors
/// When there is no such scenario, something does not start or come to an end, or a bound is
/// missed.
pub fn bench(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| SCENARIOS.iter().all(|known| known.name != **name))
    {
        bail!(
            "there is no scenario {unknown}; there are: {}",
            SCENARIOS.map(|known| known.name).join(", ")
        );
    }
    let binary = operator::binary()?;
    println!("operator: {}", binary.display());
    let mut missed = Vec::new();
    for scenario in SCENARIOS {
        let is_wanted = match names {
            [] => !scenario.is_long,
            names => names.contains(&scenario.name),
        };
        if !is_wanted {
            continue;
        }
        println!("\n{}: {}", scenario.name, scenario.about);
        let report = (scenario.run)(&binary)?;
        report.print();
        missed.extend(report.missed().map(|what| format!("{}: {what}", scenario.name)));
    }
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}
