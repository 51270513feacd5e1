//! How long there is no leader when the leader is killed, and when it is stopped.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::bed::{Bed, REGION, role, service};
use super::report::Report;
use crate::aws::{Config, RoleSpec, ServiceSpec};
use crate::operator::Operator;

const ACCOUNT: &str = "111111111111";
const TEAM: &str = "team";
const TIMES: usize = 5;
const DONE_WITHIN: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);
/// The Lease's 15 s, two looks at it of 2 s, and what it takes to read all objects and open a
/// session.
const KILLED_BOUND: f64 = 21.0;
/// A look at the Lease, and the same.
const STOPPED_BOUND: f64 = 6.0;

pub(super) fn run(binary: &Path) -> Result<Report> {
    let bed = Bed::start(binary, Config::default(), Vec::new())?;
    bed.aws.add_role(&role(ACCOUNT), RoleSpec::default())?;
    bed.aws.add_service(REGION, &service(), ServiceSpec::default());
    bed.objects.create_namespaces(&[TEAM])?;
    let spec = json!({"role_arn": role(ACCOUNT), "namespaces": [TEAM], "default_region": REGION});
    bed.objects.create_accounts([("team".to_owned(), spec)])?;
    let network = bed.add_network(ACCOUNT, 1)?;

    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    let mut next = bed.operator.replica("replica-0", &[])?;
    let mut former: Option<Operator> = None;
    for number in 0..2 * TIMES {
        let leader = former.as_ref().unwrap_or(&bed.operator);
        bed.wait("the leader works", DONE_WITHIN, PAUSE, || Ok(leads(leader)))?;
        let is_kill = number.is_multiple_of(2);
        let begun = Instant::now();
        if is_kill {
            leader.kill()?;
        } else {
            leader.terminate()?;
        }
        let name = format!("endpoint-{number}");
        bed.objects
            .create_endpoints([(TEAM.to_owned(), name, network.spec())])?;
        let created = |bed: &Bed| {
            let calls = bed.aws.calls();
            calls
                .iter()
                .filter(|call| call.ok() && call.action == "CreateVpcEndpoint")
                .count()
        };
        bed.wait("the next makes the endpoint", DONE_WITHIN, PAUSE, || {
            Ok(created(&bed) > number)
        })?;
        let taken = begun.elapsed().as_secs_f64();
        if is_kill {
            killed.push(taken)
        } else {
            stopped.push(taken)
        }
        former = Some(next);
        next = bed.operator.replica(&format!("replica-{}", number + 1), &[])?;
    }
    let mut report = Report::default();
    for (what, taken, bound) in [("killed", killed, KILLED_BOUND), ("stopped", stopped, STOPPED_BOUND)] {
        let mean = taken.iter().sum::<f64>() / taken.len() as f64;
        let most = taken.iter().copied().fold(0.0, f64::max);
        report.told(
            &format!("leader {what}: the next makes an endpoint after, mean"),
            mean,
            "s",
        );
        report.most(
            &format!("leader {what}: the next makes an endpoint after, most"),
            most,
            bound,
            "s",
        );
    }
    Ok(report)
}

fn leads(operator: &Operator) -> bool {
    operator
        .metrics()
        .is_ok_and(|metrics| metrics.contains("\nvpce_leader 1\n"))
}
