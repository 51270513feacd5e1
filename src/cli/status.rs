//! The subcommand `status`: all that there is to say of a VPCEndpoint or a VPCEndpointService, on
//! one screen. It reads with the rights of who asks, and makes no calls to AWS.

mod endpoint_service;

use std::fmt::Debug;
use std::io::Write;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use vpce_core::api::{AccountBinding, CustomRule, SecurityGroupType, VPCEndpointSpec, VPCEndpointStatus};
use vpce_core::conditions::READY;

use super::connection::{block_on, kubernetes};
use super::kind::Kind;
use crate::k8s::caches::{Endpoint, EndpointService};
use crate::k8s::conditions;

/// So many events are shown, the last ones.
const EVENTS: usize = 10;
/// The width of the first column.
const WIDTH: usize = 20;

/// Of which object.
#[derive(Debug, Args)]
pub struct Status {
    /// The object.
    #[arg(value_name = "[NAMESPACE/]NAME")]
    object: String,

    /// Its kind.
    #[arg(long, value_enum, default_value = "vpcendpoint")]
    kind: Kind,

    /// Its namespace; by default that of the kubeconfig's context.
    #[arg(short, long)]
    namespace: Option<String>,
}

/// Reads and shows.
///
/// # Errors
/// When Kubernetes does not answer, or when there is no such object.
pub(super) fn run(asked: Status, mut out: impl Write) -> anyhow::Result<()> {
    block_on(show(asked, &mut out))
}

async fn show(asked: Status, out: &mut impl Write) -> anyhow::Result<()> {
    let (client, _) = kubernetes().await?;
    let (namespace, name) = match (asked.object.split_once('/'), asked.namespace.clone()) {
        (Some((namespace, _)), Some(other)) if namespace != other => {
            bail!(
                "{} is in the namespace {namespace}, and --namespace says {other}",
                asked.object
            )
        }
        (Some((namespace, name)), _) => (namespace.to_owned(), name.to_owned()),
        (None, Some(namespace)) => (namespace, asked.object),
        (None, None) => (client.default_namespace().to_owned(), asked.object),
    };
    let mut lines = Lines::default();
    let named = (namespace.as_str(), name.as_str());
    match asked.kind {
        Kind::VPCEndpoint => {
            let object: Endpoint = read(&client, named).await?;
            let unparsed = object.spec.as_ref().err().map(|unparsed| unparsed.error.as_str());
            summary(&object, &object.status.conditions, unparsed, &mut lines);
            if let Ok(spec) = &object.spec {
                configuration(spec, &object.status, &mut lines);
            }
            service(&client, &object, &mut lines).await;
            lines.conditions(&object.status.conditions);
            events(&client, &object, &mut lines).await;
        }
        Kind::VPCEndpointService => {
            let object: EndpointService = read(&client, named).await?;
            let unparsed = object.spec.as_ref().err().map(|unparsed| unparsed.error.as_str());
            summary(&object, &object.status.conditions, unparsed, &mut lines);
            if let Ok(spec) = &object.spec {
                endpoint_service::configuration(spec, &object.status, &mut lines);
            }
            lines.conditions(&object.status.conditions);
            events(&client, &object, &mut lines).await;
        }
    }
    write!(out, "{}", lines.0)?;
    Ok(())
}

async fn read<K>(client: &Client, (namespace, name): (&str, &str)) -> anyhow::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let kind = K::kind(&());
    let found = Api::<K>::namespaced(client.clone(), namespace).get_opt(name).await;
    let found = found.with_context(|| format!("cannot read the {kind} {namespace}/{name}"))?;
    found.with_context(|| format!("there is no {kind} {namespace}/{name}"))
}

/// Two columns, of which the first says what it is once.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, what: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        // What others wrote may hold what a terminal takes for a command.
        let printable: String = value
            .chars()
            .flat_map(|c| match c.is_control() {
                true => c.escape_default().collect::<Vec<_>>(),
                false => vec![c],
            })
            .collect();
        self.0 += &format!("{what:<WIDTH$}{printable}\n");
    }

    fn all(&mut self, what: &str, values: impl IntoIterator<Item = String>) {
        for (number, value) in values.into_iter().enumerate() {
            self.add(if number == 0 { what } else { "" }, &value);
        }
    }

    /// Where it is bound.
    fn account(&mut self, account: Option<&AccountBinding>, region: Option<&str>) {
        if let Some(account) = account {
            let region = region.unwrap_or("no region yet");
            self.add(
                "Account",
                &format!("{} ({}), {region}", account.name, account.account_id),
            );
        }
    }

    fn conditions(&mut self, conditions: &[Condition]) {
        for condition in conditions {
            let since = age(condition.last_transition_time.0);
            self.add(
                "Condition",
                &format!("{}={} {}, {since}", condition.type_, condition.status, condition.reason),
            );
            self.add("", &condition.message);
        }
    }
}

/// What it is, and how it stands.
fn summary<K>(object: &K, conditions: &[Condition], unparsed: Option<&str>, lines: &mut Lines)
where
    K: Resource<DynamicType = ()>,
{
    let of = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    lines.add(&K::kind(&()), &of);
    let leaving = object.meta().deletion_timestamp.as_ref();
    if let Some(since) = leaving {
        lines.add("", &format!("being deleted, {}", age(since.0)));
    }
    let generation = object.meta().generation;
    match conditions::find(conditions, READY) {
        Some(ready) if ready.observed_generation == generation => {
            lines.add("Ready", &format!("{}: {}", ready.status, ready.reason));
            lines.add("", &ready.message);
        }
        Some(_) => lines.add("Ready", "the operator has not reconciled the last edit yet"),
        None => lines.add("Ready", "the operator has not reconciled it yet"),
    }
    if let Some(error) = unparsed {
        lines.add("Spec", &format!("does not parse: {error}"));
    }
}

/// What it is in AWS.
fn configuration(spec: &VPCEndpointSpec, status: &VPCEndpointStatus, lines: &mut Lines) {
    lines.account(status.account.as_ref(), status.region.as_deref());
    if let Some(reference) = &spec.vpc_endpoint_ref {
        let name = &reference.name;
        let namespace = reference.namespace.as_ref().map(|namespace| format!("{namespace}/"));
        lines.add("Shares", &format!("{}{name}", namespace.unwrap_or_default()));
        in_aws(spec, status, lines);
        return;
    }
    let network = status.network.as_ref();
    let name = network
        .and_then(|network| network.name.as_ref())
        .or(spec.network.as_ref());
    if let Some(name) = name {
        lines.add("Network", name);
    }
    let vpc = network.map(|network| &network.vpc_id).or(spec.vpc_id.as_ref());
    lines.add("VPC", vpc.map_or("not chosen yet", String::as_str));
    let subnets = network.map_or(&spec.subnet_ids, |network| &network.subnet_ids);
    lines.all("Subnets", subnets.iter().map(ToString::to_string));
    lines.all(
        "Route tables",
        spec.route_table_ids.iter().flatten().map(ToString::to_string),
    );
    in_aws(spec, status, lines);
    groups(spec, status, lines);
}

/// The endpoint and its names.
fn in_aws(spec: &VPCEndpointSpec, status: &VPCEndpointStatus, lines: &mut Lines) {
    let type_ = status.vpc_endpoint_type.unwrap_or(spec.vpc_endpoint_type);
    let state = status.state.as_deref().unwrap_or("not created yet");
    let id = status.vpc_endpoint_id.as_deref().unwrap_or("none");
    lines.add("Endpoint", &format!("{id} ({}, {state})", type_.as_str()));
    let asked = [
        &spec.vpc_endpoint_service_id,
        &spec.resource_configuration_arn,
        &spec.service_network_arn,
    ];
    let to = status.vpc_endpoint_service_id.as_ref();
    lines.add(
        "Connects to",
        to.or(asked.into_iter().flatten().next()).map_or("", String::as_str),
    );
    lines.all("DNS names", status.dns_entries.iter().cloned());
    lines.all("Published", status.dns_names.iter().cloned());
}

fn groups(spec: &VPCEndpointSpec, status: &VPCEndpointStatus, lines: &mut Lines) {
    if let Some(own) = &status.security_group_id {
        lines.add("Security group", &format!("{own}, the operator's own"));
    }
    let type_ = spec.security_group_type.unwrap_or_default();
    if type_ == SecurityGroupType::Provided {
        lines.all(
            "Security groups",
            spec.security_group_ids.iter().map(ToString::to_string),
        );
    }
    if type_ == SecurityGroupType::Custom {
        let ingress = spec.security_group_ingress.iter().flatten();
        lines.all("Ingress", ingress.map(rule));
        let egress = spec.security_group_egress.iter().flatten();
        lines.all("Egress", egress.map(rule));
    }
}

/// A rule as it is given.
fn rule(rule: &CustomRule) -> String {
    serde_json::to_string(rule).unwrap_or_default()
}

/// The Service as it is, which may not be as the status says.
async fn service(client: &Client, object: &Endpoint, lines: &mut Lines) {
    let Some(published) = &object.status.service else {
        return;
    };
    let services: Api<Service> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let what = match services.get_opt(&published.name).await {
        Err(error) => format!("cannot be read: {error}"),
        Ok(None) => "is not there".to_owned(),
        Ok(Some(service)) => {
            let spec = service.spec.unwrap_or_default();
            match (spec.external_name, spec.cluster_ip.as_deref()) {
                (Some(target), _) => format!("leads to {target}"),
                (None, Some("None")) => "headless".to_owned(),
                (None, _) => "is not the operator's".to_owned(),
            }
        }
    };
    lines.add("Service", &format!("{}: {what}", published.host));
}

/// The last events, of core/v1, which the ClusterRole `view` may read.
async fn events<K>(client: &Client, object: &K, lines: &mut Lines)
where
    K: Resource<DynamicType = ()>,
{
    let api: Api<Event> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let of = format!(
        "involvedObject.kind={},involvedObject.name={}",
        K::kind(&()),
        object.name_any()
    );
    let mut events = match api.list(&ListParams::default().fields(&of)).await {
        Ok(list) => list.items,
        Err(error) => return lines.add("Events", &format!("cannot be read: {error}")),
    };
    events.retain(|event| event.involved_object.uid == object.meta().uid);
    events.sort_by_key(last_seen);
    let last = events.split_off(events.len().saturating_sub(EVENTS));
    lines.all(
        "Events",
        last.iter().map(|event| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let when = last_seen(event).map(age).unwrap_or_default();
            format!(
                "{when}: {} {}: {}",
                text(&event.type_),
                text(&event.reason),
                text(&event.message)
            )
        }),
    );
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let once = event.event_time.as_ref();
    let old = event.last_timestamp.as_ref().map(|time| time.0);
    series.or(once).map(|time| time.0).or(old)
}

/// How long ago, in the largest unit of which there are two.
fn age(then: Timestamp) -> String {
    let seconds = Timestamp::now().as_second().saturating_sub(then.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s ago"),
        120..7200 => format!("{minutes}m ago"),
        7200..172_800 => format!("{hours}h ago"),
        _ => format!("{days}d ago"),
    }
}
