//! Very many endpoints change at once, beside a neighbour in an AWS account of its own who applies
//! one right behind them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{DONE_WITHIN, PAUSE, Size};
use crate::aws::RoleSpec;
use crate::bench::bed::{Bed, Network, REGION, Registered, role};
use crate::bench::objects::{count_ready, ready};
use crate::bench::report::Report;

const NEIGHBOUR: &str = "neighbour";
const NEIGHBOUR_ID: &str = "222222222222";
/// An AWSAccount with two namespaces, and half of its endpoints in each.
const CROWD: &str = "crowd";
const CROWD_ID: &str = "333333333333";
const NAMESPACES: [&str; 2] = ["crowd-a", "crowd-b"];
const REVOKED: &str = "MappingRevoked";
/// Of as many accounts endpoints are deleted at once.
const ACCOUNTS: usize = 100;
/// The crowd, where there is enough of others.
const CROWD_SIZE: usize = 1000;
/// Ready is seen at a poll: with bad luck one later than when nothing else goes on.
const POLL_SECONDS: f64 = 5.0;

pub(super) fn measure(bed: &Bed, size: Size, registered: &Registered, report: &mut Report) -> Result<()> {
    let neighbour = Neighbour::register(bed)?;
    let crowd = Crowd::register(bed, CROWD_SIZE.min(size.all() / 10).next_multiple_of(2))?;
    let alone = neighbour.until_ready(bed, "alone")?;
    report.told("a neighbour alone: Ready after", alone, "s");
    let mut mass = Mass {
        bed,
        neighbour,
        alone,
        report,
    };

    // The first four have had their changes.
    let teams = &registered.teams[4..];
    let teams = &teams[..ACCOUNTS.min(teams.len())];
    let deleted: Vec<(String, String)> = teams
        .iter()
        .flat_map(|team| (0..size.each).map(|at| (team.clone(), format!("endpoint-{at}"))))
        .collect();
    let what = format!("deletion of {} endpoints of {} accounts", deleted.len(), teams.len());
    mass.case(
        &what,
        deleted.len(),
        || bed.objects.delete_endpoints(deleted),
        || {
            teams
                .iter()
                .try_fold(true, |empty, team| Ok(empty && bed.objects.is_empty(team)?))
        },
    )?;

    let many = crowd.size;
    mass.case(
        &format!("creation of {many} endpoints of one account"),
        many,
        || crowd.create(bed),
        || crowd.all(bed, |endpoints| count_ready(endpoints) == endpoints.len()),
    )?;
    mass.case(
        &format!("mapping of {many} endpoints revoked"),
        many,
        || crowd.map(bed, &["nobody"]),
        || crowd.all(bed, |endpoints| endpoints.iter().all(is_revoked)),
    )?;
    mass.case(
        &format!("mapping of {many} endpoints restored"),
        many,
        || crowd.map(bed, &NAMESPACES),
        || crowd.all(bed, |endpoints| !endpoints.iter().any(is_revoked)),
    )?;
    mass.case(
        &format!("deletion of a Namespace with {} endpoints", many / 2),
        many / 2,
        || {
            let delete = ["delete", "namespace", NAMESPACES[0], "--wait=false"];
            bed.plane.kubectl(&delete)?.success().map(drop)
        },
        || {
            let get = ["get", "namespace", NAMESPACES[0], "--ignore-not-found", "--output=name"];
            Ok(bed.plane.kubectl(&get)?.success()?.is_empty())
        },
    )?;
    let left = bed.aws.endpoints(CROWD_ID, REGION).len() as f64 - (many / 2) as f64;
    report.most("endpoints of the Namespace that are left in AWS", left, 0.0, "");
    Ok(())
}

struct Mass<'a> {
    bed: &'a Bed,
    neighbour: Neighbour,
    /// How long the neighbour waits when nothing else goes on.
    alone: f64,
    report: &'a mut Report,
}

impl Mass<'_> {
    /// Begins something with so many objects, and follows it to its end.
    fn case(
        &mut self,
        what: &str,
        objects: usize,
        begin: impl FnOnce() -> Result<()>,
        mut is_done: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        println!("{what}");
        let bed = self.bed;
        let (cpu, begun) = (bed.operator.cpu_seconds()?, Instant::now());
        begin()?;
        let name = what.replace(' ', "-").to_lowercase();
        let (seconds, beside) = thread::scope(|scope| {
            let beside = scope.spawn(|| self.neighbour.until_ready(bed, &name));
            let done = bed.wait("it is done", DONE_WITHIN, PAUSE, &mut is_done);
            let seconds = done.map(|()| begun.elapsed().as_secs_f64());
            (seconds, beside.join())
        });
        let (seconds, beside) = (seconds?, beside.map_err(|_| anyhow!("the neighbour panicked"))??);
        let each = 1000.0 * (bed.operator.cpu_seconds()? - cpu) / objects as f64;
        self.report.told(&format!("{what}: done after"), seconds, "s");
        self.report.told(&format!("{what}: CPU an object"), each, "ms");
        let bound = self.alone + POLL_SECONDS;
        let what = format!("{what}: a neighbour Ready after");
        self.report.most(&what, beside, bound, "s");
        Ok(())
    }
}

struct Neighbour {
    network: Network,
}

impl Neighbour {
    fn register(bed: &Bed) -> Result<Self> {
        register(bed, NEIGHBOUR, NEIGHBOUR_ID, &[NEIGHBOUR]).map(|network| Self { network })
    }

    /// Applies an endpoint; how many seconds it takes to be Ready.
    fn until_ready(&self, bed: &Bed, name: &str) -> Result<f64> {
        let begun = Instant::now();
        let endpoint = (NEIGHBOUR.to_owned(), name.to_owned(), self.network.generated());
        bed.objects.create_endpoints([endpoint])?;
        bed.wait("the neighbour is Ready", DONE_WITHIN, Duration::from_millis(50), || {
            Ok(ready(&bed.objects.endpoint(NEIGHBOUR, name)?).is_some_and(|(ready, _)| ready))
        })?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

struct Crowd {
    network: Network,
    size: usize,
}

impl Crowd {
    fn register(bed: &Bed, size: usize) -> Result<Self> {
        register(bed, CROWD, CROWD_ID, &NAMESPACES).map(|network| Self { network, size })
    }

    fn create(&self, bed: &Bed) -> Result<()> {
        let endpoint = |at: usize| {
            let namespace = NAMESPACES[at % 2].to_owned();
            (namespace, format!("endpoint-{at}"), self.network.generated())
        };
        bed.objects.create_endpoints((0..self.size).map(endpoint))
    }

    fn map(&self, bed: &Bed, namespaces: &[&str]) -> Result<()> {
        let patch = json!({"spec": {"namespaces": namespaces}}).to_string();
        let account = format!("awsaccount/{CROWD}");
        let patch = ["patch", &account, "--type", "merge", "--patch", &patch];
        bed.plane.kubectl(&patch)?.success().map(drop)
    }

    fn all(&self, bed: &Bed, holds: impl Fn(&[Value]) -> bool) -> Result<bool> {
        let mut all = Vec::new();
        for namespace in NAMESPACES {
            all.extend(bed.objects.endpoints(namespace)?);
        }
        Ok(all.len() == self.size && holds(&all))
    }
}

/// It serves on, and so may well be Ready.
fn is_revoked(endpoint: &Value) -> bool {
    ready(endpoint).is_some_and(|(_, reason)| reason == REVOKED)
}

/// An AWSAccount that maps these namespaces, which are created too.
fn register(bed: &Bed, name: &str, id: &str, namespaces: &[&str]) -> Result<Network> {
    bed.aws.add_role(&role(id), RoleSpec::default())?;
    bed.objects.create_namespaces(namespaces)?;
    let spec = json!({"role_arn": role(id), "namespaces": namespaces});
    bed.objects.create_accounts([(name.to_owned(), spec)])?;
    bed.add_network(id, 1)
}
