//! The subcommand `orphans`: shows what carries this cluster's tag in AWS and belongs to no object, and deletes it when told to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use vpce_core::ids::{EndpointId, RoleArn};
use vpce_core::orphans::{Kind, Objects, Orphan, orphans};

use crate::aws::ec2::{Ec2, Which};
use crate::aws::error::CallError;
use crate::aws::http;
use crate::aws::sessions::{self, Sessions};
use crate::cli::cluster_id;
use crate::context::{Account, Endpoint, role};
use crate::operator;

/// How long AWS may take to delete an endpoint, and then to let go of its group.
const GONE_WITHIN: Duration = Duration::from_secs(900);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What to look for, and what to do with it.
#[derive(Debug, Args)]
pub struct Orphans {
    /// Names this cluster in tags. Default: the UID of the namespace kube-system.
    #[arg(long, env = "VPCE_CLUSTER_ID", value_parser = cluster_id)]
    cluster_id: Option<String>,

    /// Only in the AWS accounts of these AWSAccounts.
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,

    /// In these regions too, beside those that AWSAccounts name and that endpoints are in.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,

    /// Whether a source identity is sent with AssumeRole, as the operator does.
    #[arg(long, env = "VPCE_SOURCE_IDENTITY", default_value = "false", action = clap::ArgAction::Set)]
    source_identity: bool,

    /// Delete what is found, after asking.
    #[arg(long)]
    delete: bool,

    /// Do not ask.
    #[arg(long, requires = "delete")]
    yes: bool,
}

/// The objects that there are.
struct There {
    names: HashSet<(String, String)>,
    ids: HashSet<String>,
}

impl Objects for There {
    fn is_there(&self, namespace: &str, name: &str) -> bool {
        self.names.contains(&(namespace.to_owned(), name.to_owned()))
    }

    fn is_known(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

/// What was found in one region.
struct Place {
    account: String,
    ec2: Ec2,
    suspended: bool,
    found: Vec<Orphan>,
}

/// Shows, asks, deletes.
///
/// # Errors
/// When Kubernetes or AWS does not answer, somebody says no, or something could not be deleted.
pub fn run(asked: &Orphans, answers: impl BufRead, mut out: impl Write) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(show(asked, answers, &mut out))
}

async fn show(asked: &Orphans, answers: impl BufRead, out: &mut impl Write) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("no Kubernetes: neither KUBECONFIG nor a ServiceAccount")?;
    let cluster = match &asked.cluster_id {
        Some(id) => id.clone(),
        None => operator::cluster_id(&client).await?,
    };
    let (places, unread) = find(asked, &client, &cluster).await?;
    writeln!(out, "cluster {cluster}")?;
    for place in &places {
        let of = format!("{} ({}) in {}", place.account, place.ec2.account_id, place.ec2.region);
        match place.found.as_slice() {
            [] => writeln!(out, "{of}: none")?,
            _ => writeln!(out, "{of}:")?,
        }
        for orphan in &place.found {
            writeln!(out, "  {:<15} {orphan}", orphan.kind.as_str())?;
        }
    }
    for problem in &unread {
        writeln!(out, "{problem}")?;
    }
    if asked.delete {
        delete(asked, &client, &cluster, places, answers, out).await?;
    }
    ensure!(unread.is_empty(), "not everything could be read");
    Ok(())
}

async fn there(client: &Client) -> anyhow::Result<(There, Vec<Endpoint>)> {
    let api: Api<Endpoint> = Api::all(client.clone());
    let objects = api
        .list(&ListParams::default())
        .await
        .context("cannot list VPCEndpoints")?
        .items;
    let names = objects
        .iter()
        .map(|object| (object.namespace().unwrap_or_default(), object.name_any()));
    let ids = objects.iter().flat_map(|object| {
        let status = &object.status;
        [status.vpc_endpoint_id.clone(), status.security_group_id.clone()]
    });
    let there = There {
        names: names.collect(),
        ids: ids.flatten().collect(),
    };
    Ok((there, objects))
}

/// All that is left over, by AWS account and region; and what could not be read.
async fn find(asked: &Orphans, client: &Client, cluster: &str) -> anyhow::Result<(Vec<Place>, Vec<String>)> {
    let (there, objects) = there(client).await?;
    let accounts: Api<Account> = Api::all(client.clone());
    let accounts = accounts
        .list(&ListParams::default())
        .await
        .context("cannot list AWSAccounts")?
        .items;
    for name in &asked.accounts {
        ensure!(
            accounts.iter().any(|account| account.name_any() == *name),
            "there is no AWSAccount {name}"
        );
    }
    let base = http::sdk_config().await;
    let sessions = Sessions::new(&base, sessions::Settings::default(), Arc::new(|_| {}));
    let (mut places, mut unread) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for account in accounts {
        let name = account.name_any();
        if !asked.accounts.is_empty() && !asked.accounts.contains(&name) {
            continue;
        }
        let Ok(spec) = &account.spec else {
            unread.push(format!("{name}: its spec does not parse"));
            continue;
        };
        if spec.decommissioned {
            continue;
        }
        let arn: RoleArn = spec.role_arn.parse().with_context(|| format!("AWSAccount {name}"))?;
        let role = role(cluster, &name, &arn, spec, asked.source_identity);
        let session = match sessions.get(&role).await {
            Ok(session) => session,
            Err(refusal) => {
                unread.push(format!("{name}: {refusal}"));
                continue;
            }
        };
        let used = objects.iter().filter_map(|object| {
            let is_user = object.status.account.as_ref()?.name == name;
            is_user.then(|| object.status.region.clone())?
        });
        let named = spec.default_region.iter().chain(spec.allowed_regions.iter().flatten());
        let regions: BTreeSet<String> = used.chain(named.chain(&asked.regions).cloned()).collect();
        for region in regions {
            if !seen.insert((role.account_id.clone(), region.clone())) {
                continue;
            }
            let ec2 = Ec2 {
                client: session.ec2(&region),
                account_id: role.account_id.clone(),
                region: region.clone(),
                observer: Arc::new(|_| {}),
            };
            match read(&ec2, cluster, &there).await {
                Ok(found) => places.push(Place {
                    account: name.clone(),
                    ec2,
                    suspended: spec.suspended,
                    found,
                }),
                Err(error) => unread.push(format!("{name} in {region}: {error}")),
            }
        }
    }
    Ok((places, unread))
}

async fn read(ec2: &Ec2, cluster: &str, there: &There) -> Result<Vec<Orphan>, CallError> {
    let (mut endpoints, mut groups) = (Vec::new(), Vec::new());
    let mut page = None;
    loop {
        let (facts, next) = ec2.describe_endpoints(&Which::Clusters(&[cluster]), page).await?;
        endpoints.extend(facts);
        page = next;
        if page.is_none() {
            break;
        }
    }
    loop {
        let (facts, next) = ec2.describe_groups(&Which::Clusters(&[cluster]), page).await?;
        groups.extend(facts);
        page = next;
        if page.is_none() {
            break;
        }
    }
    Ok(orphans(cluster, there, endpoints.iter(), groups.iter()))
}

async fn delete(
    asked: &Orphans,
    client: &Client,
    cluster: &str,
    places: Vec<Place>,
    mut answers: impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (suspended, places): (Vec<Place>, Vec<Place>) = places
        .into_iter()
        .filter(|place| !place.found.is_empty())
        .partition(|place| place.suspended);
    for place in suspended {
        writeln!(
            out,
            "AWSAccount {} is suspended: nothing is deleted there",
            place.account
        )?;
    }
    let count = |kind: Kind| {
        places
            .iter()
            .flat_map(|place| &place.found)
            .filter(|orphan| orphan.kind == kind)
            .count()
    };
    let (endpoints, groups) = (count(Kind::Endpoint), count(Kind::Group));
    if endpoints + groups == 0 {
        writeln!(out, "nothing to delete")?;
        return Ok(());
    }
    if !asked.yes {
        write!(
            out,
            "Delete these {endpoints} endpoints and {groups} security groups for good? Whoever still connects through them is cut \
             off. Type \"delete\" to go on: "
        )?;
        out.flush()?;
        let mut answer = String::new();
        answers.read_line(&mut answer).context("cannot read the answer")?;
        if answer.trim() != "delete" {
            bail!("nothing was deleted");
        }
    }
    let mut left = 0;
    for place in places {
        // What was applied meanwhile has taken over its own.
        let (there, _) = self::there(client).await?;
        let still: BTreeSet<Orphan> = read(&place.ec2, cluster, &there).await?.into_iter().collect();
        let found: Vec<Orphan> = place
            .found
            .iter()
            .filter(|orphan| still.contains(orphan))
            .cloned()
            .collect();
        left += delete_in(&place, &found, out).await?;
    }
    ensure!(left == 0, "{left} could not be deleted");
    Ok(())
}

/// Deletes endpoints, waits until they are gone, then groups; gives how many are left.
async fn delete_in(place: &Place, found: &[Orphan], out: &mut impl Write) -> anyhow::Result<usize> {
    let of = |kind: Kind| found.iter().filter(move |orphan| orphan.kind == kind);
    let ids: Vec<EndpointId> = of(Kind::Endpoint).map(|orphan| orphan.id.as_str().into()).collect();
    let mut refused = BTreeMap::new();
    for ids in ids.chunks(25) {
        match place.ec2.delete_endpoints(ids).await {
            Ok(done) => refused.extend(done.value),
            Err(error) => refused.extend(ids.iter().map(|id| (id.clone(), error.clone()))),
        }
    }
    for (id, error) in &refused {
        writeln!(out, "{id}: {error}")?;
    }
    let mut left = refused.len();
    let leaving: Vec<EndpointId> = ids.into_iter().filter(|id| !refused.contains_key(id)).collect();
    let deadline = Instant::now() + GONE_WITHIN;
    let mut waiting = leaving.clone();
    while !waiting.is_empty() && Instant::now() < deadline {
        let (there, _) = place.ec2.describe_endpoints(&Which::Ids(&waiting), None).await?;
        waiting.retain(|id| {
            let fact = there.iter().find(|fact| fact.id == *id);
            fact.is_some_and(|fact| fact.state != vpce_core::observed::State::Deleted)
        });
        if !waiting.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    for id in leaving {
        if waiting.contains(&id) {
            writeln!(out, "{id}: AWS is still deleting it")?;
            left += 1;
        } else {
            writeln!(out, "{id}: deleted")?;
        }
    }
    for orphan in of(Kind::Group) {
        let id = orphan.id.as_str().into();
        let result = loop {
            match place.ec2.delete_group(&id).await {
                // Network interfaces outlive their endpoint for a while.
                Err(error)
                    if error.code == "DependencyViolation" && !ids_are_none(found) && Instant::now() < deadline =>
                {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                other => break other,
            }
        };
        match result {
            Ok(_) => writeln!(out, "{id}: deleted")?,
            Err(error) => {
                writeln!(out, "{id}: {error}")?;
                left += 1;
            }
        }
    }
    Ok(left)
}

/// Whether no endpoint was deleted, so that nothing will let go of a group by itself.
fn ids_are_none(found: &[Orphan]) -> bool {
    found.iter().all(|orphan| orphan.kind != Kind::Endpoint)
}
