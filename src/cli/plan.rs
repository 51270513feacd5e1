//! The subcommand `plan`: shows what the operator would do for VPCEndpoints as they are now, and
//! does nothing.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use vpce_core::conditions::{Finding, Reason};
use vpce_core::object_key::ObjectKey;

use super::connection::{Connection, block_on, caches, listed, of_dry_run};
use crate::endpoint::context::Context;
use crate::endpoint::preview;
use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::dns_endpoint::DNSEndpoint;
use crate::k8s::pages;
use crate::settings::Settings;

/// How the process ends where something would be changed.
const WOULD_CHANGE: u8 = 2;

/// Which objects, and how the operator runs.
#[derive(Debug, Args)]
pub struct Preview {
    /// A VPCEndpoint.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = key, required_unless_present_any = ["in_namespace", "of_account"])]
    objects: Vec<ObjectKey>,

    /// All VPCEndpoints in this namespace.
    #[arg(long, value_name = "NAMESPACE")]
    in_namespace: Option<String>,

    /// All VPCEndpoints that are bound to this AWSAccount.
    #[arg(long, value_name = "AWSACCOUNT")]
    of_account: Option<String>,

    /// Output format.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,

    #[command(flatten)]
    settings: Settings,
}

/// The output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A list with an object for each VPCEndpoint.
    Json,
}

fn key(text: &str) -> Result<ObjectKey, String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectKey::new::<Endpoint>(namespace, name))
        }
        _ => Err("NAMESPACE/NAME, such as payments/card-processor".to_owned()),
    }
}

/// Reads and shows. The exit code is 0 where nothing would be changed, and 2 where something would.
///
/// # Errors
/// When Kubernetes or AWS does not answer, when there is no such object, or when nothing can be
/// planned for one.
pub(super) fn run(asked: Preview, mut out: impl Write) -> anyhow::Result<ExitCode> {
    let mut would_change = false;
    block_on(async {
        would_change = show(asked, &mut out).await?;
        Ok(())
    })?;
    Ok(match would_change {
        true => ExitCode::from(WOULD_CHANGE),
        false => ExitCode::SUCCESS,
    })
}

/// Whether something would be changed.
async fn show(asked: Preview, out: &mut impl Write) -> anyhow::Result<bool> {
    let connection = Connection::open(of_dry_run(asked.settings)).await?;
    let (caches, mut writers) = caches(&connection.client).await?;
    let objects = selected(
        &caches,
        &asked.objects,
        asked.in_namespace.as_deref(),
        asked.of_account.as_deref(),
    )?;
    let (mut namespaces, mut services, mut slices) = (Vec::new(), Vec::new(), Vec::new());
    let of: BTreeSet<String> = objects.iter().filter_map(|object| object.namespace()).collect();
    for namespace in &of {
        namespaces.extend(connection.namespace(namespace).await?);
        let api: Api<Service> = Api::namespaced(connection.client.clone(), namespace);
        services.extend(listed(api, "Services").await?);
        let api: Api<EndpointSlice> = Api::namespaced(connection.client.clone(), namespace);
        slices.extend(listed(api, "EndpointSlices").await?);
    }
    writers.namespaces.fill(namespaces);
    writers.services.fill(services);
    writers.slices.fill(slices);
    let client = connection.client.clone();
    let ctx = Context::new(Arc::new(connection.shared(caches).await));
    if ctx.shared.settings.dns_endpoints {
        match dns_endpoints(&client, &of).await {
            Ok(found) => {
                writers.dns_endpoints.fill(found);
                ctx.dns_endpoints.listed();
            }
            Err(error) => ctx.dns_endpoints.unreadable(&error),
        }
    }

    let begun = Instant::now();
    let (mut would_change, mut unplanned, mut shown) = (false, Vec::new(), Vec::new());
    for (number, object) in objects.into_iter().enumerate() {
        let key = ObjectKey::of(&*object);
        let of = format!("{}/{}", key.namespace, key.name);
        // Boxed, or its type grows too deep for the compiler.
        let planned = Box::pin(preview::preview(&ctx, object, begun.elapsed())).await;
        would_change |= planned.as_ref().is_ok_and(|found| !found.steps.is_empty());
        if let Err(Finding { reason, message, .. }) = &planned {
            unplanned.push(format!("{of}: nothing can be planned: {reason}: {message}"));
        }
        match (asked.output, planned) {
            (Format::Json, planned) => shown.push(as_json(&key, &planned)),
            (Format::Text, Ok(found)) => {
                if number > 0 {
                    writeln!(out)?;
                }
                write_text(&of, &found, out)?;
            }
            (Format::Text, Err(_)) => {}
        }
    }
    if asked.output == Format::Json {
        writeln!(out, "{:#}", Value::Array(shown))?;
    }
    if !unplanned.is_empty() {
        bail!(unplanned.join("\n"));
    }
    Ok(would_change)
}

/// The DNSEndpoints in these namespaces, where the cluster has such a kind.
async fn dns_endpoints(client: &Client, namespaces: &BTreeSet<String>) -> Result<Vec<DNSEndpoint>, kube::Error> {
    let mut found = Vec::new();
    for namespace in namespaces {
        found.extend(pages::all(&Api::namespaced(client.clone(), namespace)).await?);
    }
    Ok(found)
}

/// The objects that are asked for, each once, in order of namespace and name.
fn selected(
    caches: &Caches,
    keys: &[ObjectKey],
    namespace: Option<&str>,
    account: Option<&str>,
) -> anyhow::Result<Vec<Arc<Endpoint>>> {
    let mut objects = Vec::new();
    for key in keys {
        let found = caches.endpoint(&key.namespace, &key.name);
        objects.push(found.with_context(|| format!("there is no VPCEndpoint {}/{}", key.namespace, key.name))?);
    }
    objects.extend(
        namespace
            .into_iter()
            .flat_map(|namespace| caches.in_namespace(namespace)),
    );
    if let Some(account) = account {
        caches
            .account(account)
            .with_context(|| format!("there is no AWSAccount {account}"))?;
        objects.extend(caches.bound_to(account));
    }
    objects.sort_by_key(|object| ObjectKey::of(&**object));
    objects.dedup_by_key(|object| ObjectKey::of(&**object));
    Ok(objects)
}

fn as_json(key: &ObjectKey, planned: &Result<preview::Preview, Finding>) -> Value {
    let said = |finding: &Finding| json!({"reason": finding.reason.to_string(), "message": finding.message});
    let mut shown = json!({"namespace": key.namespace, "name": key.name});
    match planned {
        Err(finding) => shown["error"] = said(finding),
        Ok(found) => {
            let steps = found.steps.iter();
            let steps = steps.map(|step| json!({"action": step.action(), "description": step.to_string()}));
            if let Some(binding) = &found.binding {
                shown["account"] = json!(binding.account);
                shown["account_id"] = json!(binding.account_id.as_str());
                shown["region"] = json!(binding.region.to_string());
            }
            shown["endpoint"] = said(&found.endpoint);
            shown["service"] = said(&found.service);
            shown["names"] = said(&found.names);
            shown["config_map"] = said(&found.config_map);
            shown["unconfirmed"] = json!(found.unconfirmed);
            shown["not_carried_out"] = found.frozen.as_ref().map_or(Value::Null, said);
            shown["steps"] = steps.collect();
        }
    }
    shown
}

fn write_text(of: &str, found: &preview::Preview, out: &mut impl Write) -> anyhow::Result<()> {
    match &found.binding {
        Some(binding) => writeln!(
            out,
            "{of}: AWSAccount {}, AWS account {} in {}",
            binding.account, binding.account_id, binding.region
        )?,
        None => writeln!(out, "{of}")?,
    }
    for (what, finding) in [("endpoint", &found.endpoint), ("Service", &found.service)] {
        writeln!(out, "{what}: {}: {}", finding.reason, finding.message)?;
    }
    for (what, finding) in [("DNS names", &found.names), ("ConfigMap", &found.config_map)] {
        if finding.reason != Reason::NotRequested {
            writeln!(out, "{what}: {}: {}", finding.reason, finding.message)?;
        }
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
    if found.steps.is_empty() {
        writeln!(out, "no steps")?;
    }
    for (number, step) in (1..).zip(&found.steps) {
        writeln!(out, "{number}. {step} ({})", step.action())?;
    }
    Ok(())
}
