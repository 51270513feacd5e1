//! The subcommand `plan`: shows what the operator would do for a VPCEndpoint as it is now, and does
//! nothing.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use vpce_core::conditions::Finding;
use vpce_core::plan::Step;

use super::connection::{Connection, block_on, caches, listed, of_dry_run};
use crate::endpoint::context::Context;
use crate::endpoint::preview;
use crate::settings::Settings;

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
    block_on(show(asked, &mut out))
}

async fn show(asked: Preview, out: &mut impl Write) -> anyhow::Result<()> {
    let Key { namespace, name } = asked.object;
    let connection = Connection::open(of_dry_run(asked.settings)).await?;
    let (caches, mut writers) = caches(&connection.client).await?;
    writers.namespaces.fill(connection.namespace(&namespace).await?);
    let services: Api<Service> = Api::namespaced(connection.client.clone(), &namespace);
    writers.services.fill(listed(services, "Services").await?);
    let slices: Api<EndpointSlice> = Api::namespaced(connection.client.clone(), &namespace);
    writers.slices.fill(listed(slices, "EndpointSlices").await?);
    let found = caches.endpoint(&namespace, &name);
    let object = found.with_context(|| format!("there is no VPCEndpoint {namespace}/{name}"))?;
    let ctx = Context::new(Arc::new(connection.shared(caches).await));
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
