//! The subcommand `plan`: shows what the operator would do for VPCEndpoints and VPCEndpointServices
//! as they are now, and does nothing.

mod shown;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::Api;
use serde_json::Value;
use vpce_core::conditions::Finding;
use vpce_core::object_key::ObjectKey;

use self::shown::Shown;
use super::connection::{Connection, block_on, caches, listed, of_dry_run};
use super::kind::Kind;
use crate::endpoint::context::Context;
use crate::endpoint::preview;
use crate::endpoint_service;
use crate::k8s::caches::{CacheWriters, Caches, Endpoint, EndpointService};
use crate::k8s::dns_endpoint::DNSEndpoint;
use crate::k8s::pages;
use crate::settings::Settings;

/// How the process ends where something would be changed.
const WOULD_CHANGE: u8 = 2;

/// Which objects, and how the operator runs.
#[derive(Debug, Args)]
pub struct Preview {
    /// An object of the kind that --kind says, by default a VPCEndpoint.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = name, required_unless_present_any = ["in_namespace", "of_account"])]
    objects: Vec<(String, String)>,

    /// All objects in this namespace.
    #[arg(long, value_name = "NAMESPACE")]
    in_namespace: Option<String>,

    /// All objects that are bound to this AWSAccount.
    #[arg(long, value_name = "AWSACCOUNT")]
    of_account: Option<String>,

    /// Only objects of this kind. By default of both kinds, where they are not named.
    #[arg(long, value_enum)]
    kind: Option<Kind>,

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
    /// A list with an object for each of the objects.
    Json,
}

fn name(text: &str) -> Result<(String, String), String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok((namespace.to_owned(), name.to_owned())),
        _ => Err("NAMESPACE/NAME, such as payments/card-processor".to_owned()),
    }
}

/// An object of either kind.
enum Object {
    Endpoint(Arc<Endpoint>),
    Service(Arc<EndpointService>),
}

impl Object {
    fn key(&self) -> ObjectKey {
        match self {
            Self::Endpoint(object) => ObjectKey::of(&**object),
            Self::Service(object) => ObjectKey::of(&**object),
        }
    }
}

/// What plans the objects of each kind.
struct Planner {
    endpoints: Context,
    services: endpoint_service::context::Context,
}

impl Planner {
    async fn plan(&self, object: Object, age: Duration) -> Result<Shown, Finding> {
        // Boxed, or their types grow too deep for the compiler.
        match object {
            Object::Endpoint(object) => {
                let planned = Box::pin(preview::preview(&self.endpoints, object, age)).await;
                planned.map(Shown::of_endpoint)
            }
            Object::Service(object) => {
                let planned = Box::pin(endpoint_service::preview::preview(&self.services, object, age)).await;
                planned.map(Shown::of_service)
            }
        }
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
    let Preview { settings, output, .. } = asked;
    let (objects, named) = ((asked.objects, asked.kind), (asked.in_namespace, asked.of_account));
    let connection = Connection::open(of_dry_run(settings)).await?;
    let (caches, mut writers) = caches(&connection.client).await?;
    let objects = selected(&caches, &objects.0, objects.1, (named.0.as_deref(), named.1.as_deref()))?;
    let planner = planner(connection, caches, &mut writers, &objects).await?;

    let begun = Instant::now();
    let (mut would_change, mut unplanned, mut list) = (false, Vec::new(), Vec::new());
    for (number, object) in objects.into_iter().enumerate() {
        let key = object.key();
        let planned = planner.plan(object, begun.elapsed()).await;
        would_change |= planned.as_ref().is_ok_and(|found| !found.steps.is_empty());
        if let Err(Finding { reason, message, .. }) = &planned {
            let ObjectKey { kind, namespace, name } = &key;
            unplanned.push(format!(
                "{kind} {namespace}/{name}: nothing can be planned: {reason}: {message}"
            ));
        }
        match (output, planned) {
            (Format::Json, planned) => list.push(shown::as_json(&key, &planned)),
            (Format::Text, Ok(found)) => {
                if number > 0 {
                    writeln!(out)?;
                }
                found.write(&key, out)?;
            }
            (Format::Text, Err(_)) => {}
        }
    }
    if output == Format::Json {
        writeln!(out, "{:#}", Value::Array(list))?;
    }
    if !unplanned.is_empty() {
        bail!(unplanned.join("\n"));
    }
    Ok(would_change)
}

/// The operator's own parts, over what these objects need of the cluster.
async fn planner(
    connection: Connection,
    caches: Caches,
    writers: &mut CacheWriters,
    objects: &[Object],
) -> anyhow::Result<Planner> {
    let (mut namespaces, mut services, mut slices) = (Vec::new(), Vec::new(), Vec::new());
    let of: BTreeSet<String> = objects.iter().map(|object| object.key().namespace).collect();
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
    let shared = Arc::new(connection.shared(caches).await);
    let services = endpoint_service::context::Context::new(shared.clone());
    let endpoints = Context::new(shared);
    if endpoints.shared.settings.dns_endpoints {
        match dns_endpoints(&client, &of).await {
            Ok(found) => {
                writers.dns_endpoints.fill(found);
                endpoints.dns_endpoints.listed();
            }
            Err(error) => endpoints.dns_endpoints.unreadable(&error),
        }
    }
    Ok(Planner { endpoints, services })
}

/// The DNSEndpoints in these namespaces, where the cluster has such a kind.
async fn dns_endpoints(client: &Client, namespaces: &BTreeSet<String>) -> Result<Vec<DNSEndpoint>, kube::Error> {
    let mut found = Vec::new();
    for namespace in namespaces {
        found.extend(pages::all(&Api::namespaced(client.clone(), namespace)).await?);
    }
    Ok(found)
}

/// The objects that are asked for, each once, in order of kind, namespace and name.
fn selected(
    caches: &Caches,
    names: &[(String, String)],
    kind: Option<Kind>,
    (namespace, account): (Option<&str>, Option<&str>),
) -> anyhow::Result<Vec<Object>> {
    let mut objects = Vec::new();
    for (namespace, name) in names {
        let kind = kind.unwrap_or(Kind::VPCEndpoint);
        let found = match kind {
            Kind::VPCEndpoint => caches.endpoint(namespace, name).map(Object::Endpoint),
            Kind::VPCEndpointService => caches.endpoint_service(namespace, name).map(Object::Service),
        };
        objects.push(found.with_context(|| format!("there is no {} {namespace}/{name}", kind.as_str()))?);
    }
    let (mut endpoints, mut services) = (Vec::new(), Vec::new());
    if let Some(namespace) = namespace {
        endpoints.extend(caches.in_namespace(namespace));
        services.extend(caches.endpoint_services_in_namespace(namespace));
    }
    if let Some(account) = account {
        caches
            .account(account)
            .with_context(|| format!("there is no AWSAccount {account}"))?;
        endpoints.extend(caches.bound_to(account));
        services.extend(caches.endpoint_services_bound_to(account));
    }
    if kind != Some(Kind::VPCEndpointService) {
        objects.extend(endpoints.into_iter().map(Object::Endpoint));
    }
    if kind != Some(Kind::VPCEndpoint) {
        objects.extend(services.into_iter().map(Object::Service));
    }
    objects.sort_by_key(Object::key);
    objects.dedup_by_key(|object| object.key());
    Ok(objects)
}
