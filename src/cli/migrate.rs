//! The subcommand `migrate`: what would become of each object that the Python operator created, and
//! why not. It changes nothing: the operator migrates where an AWSAccount has `adopt_legacy`.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use futures::FutureExt as _;
use kube::ResourceExt;
use vpce_core::conditions::Finding;

use super::connection::{Connection, block_on, caches, of_dry_run};
use crate::endpoint::context::Context;
use crate::endpoint::legacy::{self, Migration};
use crate::k8s::caches::{Account, CacheWriters, Caches};
use crate::settings::Settings;

/// What to show, and how the operator runs.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the commands by which an administrator of the AWS account sets the tags, where the
    /// role may not.
    #[arg(long)]
    commands: bool,

    #[command(flatten)]
    settings: Settings,
}

/// Looks and shows.
///
/// # Errors
/// When Kubernetes does not answer, or an object cannot be migrated as it is.
pub(super) fn run(asked: Migrate, mut out: impl Write) -> anyhow::Result<()> {
    block_on(show(asked, &mut out))
}

async fn show(asked: Migrate, out: &mut impl Write) -> anyhow::Result<()> {
    let connection = Connection::open(of_dry_run(asked.settings)).await?;
    let (caches, mut writers) = caches(&connection.client).await?;
    let mut objects = caches.endpoints();
    objects.retain(|object| legacy::is_marked(object));
    objects.sort_by_key(|object| (object.namespace(), object.name_any()));
    let namespaces: BTreeSet<String> = objects.iter().filter_map(|object| object.namespace()).collect();
    let mut known = Vec::new();
    for namespace in &namespaces {
        known.extend(connection.namespace(namespace).await?);
    }
    writers.namespaces.fill(known);
    let adopting = adopt_all(&caches, &mut writers);
    let ctx = Context::new(Arc::new(connection.shared(caches).await));
    let (mut refused, total) = (0, objects.len());
    for object in objects {
        let of = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        // Boxed, or its type grows too deep for the compiler.
        match legacy::preview(&ctx, object).boxed_local().await {
            Ok(migration) => {
                let is_allowed = adopting.contains(&migration.binding.account);
                write_migration(&of, &migration, is_allowed, asked.commands, out)?;
            }
            Err((Finding { reason, message, .. }, candidates)) => {
                refused += 1;
                writeln!(out, "{of}: cannot be migrated: {reason}: {message}")?;
                for candidate in candidates {
                    writeln!(out, "  candidate: {candidate}")?;
                }
            }
        }
    }
    writeln!(
        out,
        "{total} objects of the Python operator, {refused} of which cannot be migrated as they are"
    )?;
    ensure!(refused == 0, "not all can be migrated");
    Ok(())
}

/// Asks as if all AWSAccounts had `adopt_legacy`; gives those that have it.
fn adopt_all(caches: &Caches, writers: &mut CacheWriters) -> BTreeSet<String> {
    let accounts = caches.accounts();
    let has_it = |account: &&Arc<Account>| account.spec.as_ref().is_ok_and(|spec| spec.adopt_legacy);
    let adopting = accounts
        .iter()
        .filter(has_it)
        .map(|account| account.name_any())
        .collect();
    writers.accounts.fill(accounts.iter().map(|account| {
        let mut account = Account::clone(account);
        if let Ok(spec) = &mut account.spec {
            spec.adopt_legacy = true;
        }
        account
    }));
    adopting
}

fn write_migration(
    of: &str,
    migration: &Migration,
    is_allowed: bool,
    commands: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let Migration {
        binding,
        resources,
        tags,
        is_settled,
    } = migration;
    let ids = resources.join(" and ");
    if *is_settled {
        writeln!(out, "{of}: is migrated: {ids}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{of}: would be migrated: {ids} of AWS account {} in {} get the tags of this object, by AWSAccount {}{}",
        binding.account_id,
        binding.region,
        binding.account,
        if is_allowed { "" } else { ", once that has adopt_legacy" }
    )?;
    if commands {
        writeln!(
            out,
            "  aws ec2 create-tags --region {} --resources {} --tags {tags}",
            binding.region,
            resources.join(" ")
        )?;
    }
    Ok(())
}
