//! The subcommand `orphans`: shows what carries this cluster's tag in AWS and belongs to no object,
//! and deletes what is proven to be of the operator's making when told to. It talks to AWS as the
//! operator does: through regions, with their rate limits and batches.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use kube::ResourceExt;
use vpce_core::error::Class;
use vpce_core::ids::{EndpointId, GroupId, RoleArn};
use vpce_core::orphans::{Orphan, ResourceKind};
use vpce_core::rate::Decision;

use super::connection::{Connection, block_on, caches};
use crate::aws::ec2::Ec2;
use crate::aws::region::delete_batch::Requester;
use crate::aws::region::limiter::Caller;
use crate::aws::region::orphans::Present;
use crate::aws::region::{AccountRegion, AccountRegionKey, RefreshError};
use crate::k8s::caches::Account;
use crate::settings::Settings;
use crate::shared::Shared;

/// How long AWS may take to delete an endpoint, and then to allow the deletion of its group.
const GONE_WITHIN: Duration = Duration::from_secs(900);
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Who asks, in the rate limiter.
const ASKER: &str = "orphans";
const DELETE_GROUP: &str = "DeleteSecurityGroup";

/// What to look for, and what to do with it.
#[derive(Debug, Args)]
pub struct Orphans {
    /// Only in the AWS accounts of these AWSAccounts.
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,

    /// Additional regions, besides those that AWSAccounts name and that endpoints are in.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,

    /// Delete the orphans that are proven to be created by the operator, after confirmation.
    #[arg(long)]
    delete: bool,

    /// Skip the confirmation.
    #[arg(long, requires = "delete")]
    yes: bool,

    #[command(flatten)]
    settings: Settings,
}

/// What was found in one region.
struct OrphansInRegion {
    account: String,
    role: String,
    region: Arc<AccountRegion>,
    ec2: Ec2,
    suspended: bool,
    found: Vec<Orphan>,
    /// How many more there are, which are only counted.
    beyond: usize,
}

/// Shows, asks, deletes.
///
/// # Errors
/// When Kubernetes or AWS does not answer, somebody says no, or something could not be deleted.
pub(super) fn run(asked: &Orphans, answers: impl BufRead, mut out: impl Write) -> anyhow::Result<()> {
    block_on(show(asked, answers, &mut out))
}

async fn show(asked: &Orphans, answers: impl BufRead, out: &mut impl Write) -> anyhow::Result<()> {
    let connection = Connection::open(asked.settings.clone()).await?;
    writeln!(out, "cluster {}", connection.clusters.0.own)?;
    let (caches, _) = caches(&connection.client).await?;
    let shared = connection.shared(caches).await;
    let (listed, unread) = find(asked, &shared).await?;
    for of_region in &listed {
        let of = format!(
            "{} ({}) in {}",
            of_region.account, of_region.ec2.account_id, of_region.ec2.region
        );
        match of_region.found.as_slice() {
            [] => writeln!(out, "{of}: none")?,
            _ => writeln!(out, "{of}:")?,
        }
        for orphan in &of_region.found {
            writeln!(out, "  {:<15} {orphan}", orphan.kind.as_str())?;
        }
        if of_region.beyond > 0 {
            writeln!(out, "  and {} more, which are only counted", of_region.beyond)?;
        }
    }
    for problem in &unread {
        writeln!(out, "{problem}")?;
    }
    if asked.delete {
        delete(asked, &shared, listed, answers, out).await?;
    }
    ensure!(unread.is_empty(), "not everything could be read");
    Ok(())
}

/// All orphans, by AWS account and region; and what could not be read.
async fn find(asked: &Orphans, shared: &Shared) -> anyhow::Result<(Vec<OrphansInRegion>, Vec<String>)> {
    let mut accounts = shared.caches.accounts();
    accounts.sort_by_key(|account| account.name_any());
    for name in &asked.accounts {
        ensure!(
            accounts.iter().any(|account| account.name_any() == *name),
            "there is no AWSAccount {name}"
        );
    }
    let (mut listed, mut unread) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for account in accounts {
        let name = account.name_any();
        if !asked.accounts.is_empty() && !asked.accounts.contains(&name) {
            continue;
        }
        if account.spec.is_err() {
            unread.push(format!("{name}: its spec does not parse"));
            continue;
        }
        if let Err(problem) = find_of(asked, shared, &account, &mut seen, &mut listed, &mut unread).await {
            unread.push(format!("{name}: {problem:#}"));
        }
    }
    Ok((listed, unread))
}

/// Those of one AWSAccount.
async fn find_of(
    asked: &Orphans,
    shared: &Shared,
    account: &Account,
    seen: &mut BTreeSet<AccountRegionKey>,
    listed: &mut Vec<OrphansInRegion>,
    unread: &mut Vec<String>,
) -> anyhow::Result<()> {
    let name = account.name_any();
    let Some(spec) = account.spec.as_ref().ok().filter(|spec| !spec.decommissioned) else {
        return Ok(());
    };
    let arn: RoleArn = spec.role_arn.parse()?;
    let role = shared.session_key(&name, &arn, spec);
    let session = shared
        .sessions
        .get(&role)
        .await
        .map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    let mut regions = crate::account::orphans::regions_of(shared, &name, spec);
    regions.extend(asked.regions.iter().cloned());
    let present = Present::of(&shared.caches, role.role_arn.account());
    for name_of_region in regions {
        let (region, ec2) = shared.in_region(&session, &name_of_region.as_str().into());
        if !seen.insert(region.key.clone()) {
            continue;
        }
        if let Err(error) = look(&region, &ec2, spec.allow_endpoint_services).await {
            unread.push(format!("{name} in {name_of_region}: {error}"));
            continue;
        }
        let (found, count) = region.orphans(&present);
        listed.push(OrphansInRegion {
            account: name.clone(),
            role: role.role_arn.to_string(),
            ec2,
            region,
            suspended: spec.suspended,
            beyond: count - found.len(),
            found,
        });
    }
    Ok(())
}

/// Reads everything now, and waits for tokens; endpoint services only where the role may.
async fn look(region: &AccountRegion, ec2: &Ec2, services: bool) -> Result<(), crate::aws::error::CallError> {
    loop {
        let read = async {
            region.refresh_all(ec2, Duration::ZERO).await?;
            match services {
                true => region.refresh_all_endpoint_services(ec2, Duration::ZERO).await,
                false => Ok(()),
            }
        };
        match read.await {
            Ok(()) => return Ok(()),
            Err(RefreshError::Busy(time)) => tokio::time::sleep(time).await,
            Err(RefreshError::Failed(error)) => return Err(error),
        }
    }
}

async fn delete(
    asked: &Orphans,
    shared: &Shared,
    listed: Vec<OrphansInRegion>,
    mut answers: impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (suspended, mut listed): (Vec<OrphansInRegion>, Vec<OrphansInRegion>) = listed
        .into_iter()
        .filter(|of_region| !of_region.found.is_empty())
        .partition(|of_region| of_region.suspended);
    for of_region in suspended {
        writeln!(
            out,
            "AWSAccount {} is suspended: nothing is deleted there",
            of_region.account
        )?;
    }
    let mut unproven = 0;
    for of_region in &mut listed {
        let found = of_region.found.len();
        of_region.found.retain(|orphan| orphan.proof.is_some());
        unproven += found - of_region.found.len() + of_region.beyond;
    }
    if unproven > 0 {
        writeln!(
            out,
            "{unproven} are not proven to be created by the operator, and are kept: delete them yourself if they are \
             yours"
        )?;
    }
    let count = |kind: ResourceKind| {
        let all = listed.iter().flat_map(|of_region| &of_region.found);
        all.filter(|orphan| orphan.kind == kind).count()
    };
    let (endpoints, groups) = (count(ResourceKind::Endpoint), count(ResourceKind::Group));
    if endpoints + groups == 0 {
        writeln!(out, "nothing to delete")?;
        return Ok(());
    }
    if !asked.yes {
        write!(
            out,
            "Delete these {endpoints} endpoints and {groups} security groups permanently? Clients that still connect \
             through them are cut off. Type \"delete\" to continue: "
        )?;
        out.flush()?;
        let mut answer = String::new();
        answers.read_line(&mut answer).context("cannot read the answer")?;
        if answer.trim() != "delete" {
            bail!("nothing was deleted");
        }
    }
    let mut left = 0;
    for of_region in listed {
        // What was applied meanwhile has taken over its own.
        let (now, _) = caches(&shared.client).await?;
        let present = Present::of(&now, &of_region.ec2.account_id);
        look(&of_region.region, &of_region.ec2, false).await?;
        let (still, _) = of_region.region.orphans(&present);
        let found: Vec<Orphan> = still
            .into_iter()
            .filter(|orphan| of_region.found.contains(orphan))
            .collect();
        left += delete_in(&of_region, &found, out).await?;
    }
    ensure!(left == 0, "{left} could not be deleted");
    Ok(())
}

/// DeleteBatcher endpoints, waits until they are gone, then groups; gives how many are left.
async fn delete_in(of_region: &OrphansInRegion, found: &[Orphan], out: &mut impl Write) -> anyhow::Result<usize> {
    let of = |kind: ResourceKind| found.iter().filter(move |orphan| orphan.kind == kind);
    let deadline = Instant::now() + GONE_WITHIN;
    let mut waiting: BTreeMap<EndpointId, &Orphan> = of(ResourceKind::Endpoint)
        .map(|orphan| (orphan.id.as_str().into(), orphan))
        .collect();
    let may_free_groups = !waiting.is_empty();
    for (id, orphan) in &waiting {
        let requester = Requester {
            object: orphan.object.clone().expect("what is proven names its object"),
            account: of_region.account.clone(),
        };
        // A person has said so just now.
        let permitted = Arc::new(|| true);
        of_region
            .region
            .delete_endpoint(&of_region.ec2, &of_region.role, id, requester, permitted);
    }
    let mut left = 0;
    while !waiting.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        let ids: Vec<EndpointId> = waiting.keys().cloned().collect();
        match of_region.region.read_now(&of_region.ec2, &ids).await {
            Ok(()) => {}
            Err(RefreshError::Busy(_)) => continue,
            Err(RefreshError::Failed(error)) if error.class == Class::Transient => continue,
            Err(RefreshError::Failed(error)) => return Err(error.into()),
        }
        for id in ids {
            if let Some(error) = of_region.region.take_refusal(&id) {
                writeln!(out, "{id}: {error}")?;
                left += 1;
                waiting.remove(&id);
            } else if of_region.region.is_gone(&id) {
                writeln!(out, "{id}: deleted")?;
                waiting.remove(&id);
            }
        }
    }
    for id in waiting.keys() {
        writeln!(out, "{id}: AWS is still deleting it")?;
        left += 1;
    }
    for orphan in of(ResourceKind::Group) {
        let id = GroupId::from(orphan.id.as_str());
        // Network interfaces outlive their endpoint for a while.
        match delete_group(of_region, &id, may_free_groups.then_some(deadline)).await {
            Ok(()) => writeln!(out, "{id}: deleted")?,
            Err(error) => {
                writeln!(out, "{id}: {error}")?;
                left += 1;
            }
        }
    }
    Ok(left)
}

/// Deletes a group; while it is in use, until this deadline.
async fn delete_group(
    of_region: &OrphansInRegion,
    id: &GroupId,
    deadline: Option<Instant>,
) -> Result<(), crate::aws::error::CallError> {
    loop {
        while let Decision::Wait(time) = of_region.region.acquire(DELETE_GROUP, &Caller::of_the_operator(ASKER)) {
            tokio::time::sleep(time).await;
        }
        let error = match of_region.ec2.delete_group(id).await {
            Ok(_) => return Ok(()),
            Err(error) if error.class == Class::NotFound => return Ok(()),
            Err(error) => error,
        };
        let in_time = deadline.is_some_and(|deadline| Instant::now() < deadline);
        match error.class {
            Class::Throttled => of_region.region.throttled(DELETE_GROUP),
            _ if error.code == "DependencyViolation" && in_time => tokio::time::sleep(LOOK_EVERY).await,
            _ => return Err(error),
        }
    }
}
