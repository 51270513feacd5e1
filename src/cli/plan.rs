//! The subcommand `plan`: shows what the operator would do for a VPCEndpoint as it is now, and does
//! nothing.

use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Client;
use kube::api::Api;
use serde::de::DeserializeOwned;
use vpce_core::conditions::Finding;
use vpce_core::plan::Step;

use crate::endpoint::context::Context;
use crate::endpoint::preview;
use crate::k8s::caches::{CacheWriters, Caches, NamespaceMeta};
use crate::k8s::pages;
use crate::operator;
use crate::settings::{Mode, Settings};
use crate::telemetry::{Metrics, MetricsOptions};

/// Which object, and how the operator runs.
#[derive(Debug, Args)]
pub struct Preview {
    /// The VPCEndpoint.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = key)]
    object: Key,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Key {
    namespace: String,
    name: String,
}

fn key(text: &str) -> Result<Key, String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(Key {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        _ => Err("NAMESPACE/NAME, such as payments/card-processor".to_owned()),
    }
}

/// Looks and shows.
///
/// # Errors
/// When Kubernetes or AWS does not answer, when there is no such object, or when nothing can be
/// planned for it.
pub(super) fn run(asked: Preview, mut out: impl Write) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(show(asked, &mut out))
}

async fn show(asked: Preview, out: &mut impl Write) -> anyhow::Result<()> {
    let Key { namespace, name } = asked.object;
    // What would be done is asked, whatever the operator itself may do.
    let settings = Settings {
        mode: Mode::ReadWrite,
        ..asked.settings
    };
    let metrics = Metrics::new(MetricsOptions {
        per_object: false,
        version: "",
        revision: "",
    });
    let client = operator::kubernetes(&metrics).await?;
    let clusters = operator::clusters(&settings, &client).await?;
    let (caches, mut writers) = caches(&client).await?;
    writers.namespaces.fill(namespace_alone(&client, &namespace).await?);
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    writers.services.fill(listed(services, "Services").await?);
    let found = caches.endpoint(&namespace, &name);
    let object = found.with_context(|| format!("there is no VPCEndpoint {namespace}/{name}"))?;
    let shared = operator::shared(settings, client, clusters, caches, &metrics).await;
    let ctx = Context::new(Arc::new(shared));
    // Boxed, or its type grows too deep for the compiler.
    let found = match Box::pin(preview::preview(&ctx, object)).await {
        Ok(found) => found,
        Err(Finding { reason, message, .. }) => bail!("nothing can be planned: {reason}: {message}"),
    };
    let binding = &found.binding;
    writeln!(
        out,
        "{namespace}/{name}: AWSAccount {}, AWS account {} in {}",
        binding.account, binding.account_id, binding.region
    )?;
    for (what, finding) in [("endpoint", &found.endpoint), ("Service", &found.service)] {
        writeln!(out, "{what}: {}: {}", finding.reason, finding.message)?;
    }
    for id in &found.unconfirmed {
        writeln!(
            out,
            "AWS does not return {id}, which the status names: the operator reads again to confirm that it is gone"
        )?;
    }
    if let Some(Finding { reason, message, .. }) = &found.frozen {
        writeln!(out, "not carried out: {reason}: {message}")?;
    }
    list(&found.steps, out)
}

fn list(steps: &[Step], out: &mut impl Write) -> anyhow::Result<()> {
    if steps.is_empty() {
        writeln!(out, "no steps")?;
    }
    for (number, step) in (1..).zip(steps) {
        writeln!(out, "{number}. {step} ({})", step.action())?;
    }
    Ok(())
}

/// Caches that hold the objects of our kinds, as they are now.
pub(super) async fn caches(client: &Client) -> anyhow::Result<(Caches, CacheWriters)> {
    let (caches, mut writers) = Caches::new();
    writers
        .endpoints
        .fill(listed(Api::all(client.clone()), "VPCEndpoints").await?);
    writers
        .accounts
        .fill(listed(Api::all(client.clone()), "AWSAccounts").await?);
    Ok((caches, writers))
}

/// All objects of a kind.
async fn listed<K>(api: Api<K>, kinds: &str) -> anyhow::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let listed = pages::all(&api).await;
    listed.with_context(|| format!("cannot list {kinds}"))
}

/// The one namespace that the object is in, with its labels.
pub(super) async fn namespace_alone(client: &Client, name: &str) -> anyhow::Result<Option<NamespaceMeta>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_metadata_opt(name).await;
    found.with_context(|| format!("cannot read the namespace {name}"))
}
