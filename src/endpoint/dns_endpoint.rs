//! The DNSEndpoint that publishes the names of an endpoint for external-dns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::runtime::watcher::{Error as WatchError, Event};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use vpce_core::api::{APPLIED_METADATA, DnsName};
use vpce_core::conditions::{Finding, Reason};
use vpce_core::metadata::{Applied, Metadata};
use vpce_core::names::{self, Claim, DnsEndpointContent, ObservedDnsEndpoint, ObservedNames, ZonalNames};
use vpce_core::object_key::ObjectKey;

use super::context::Context;
use super::service::{MANAGED_BY, own_metadata, without_nulls};
use crate::k8s::caches::{CacheWriter, Caches, Endpoint};
use crate::k8s::dns_endpoint::{DNSEndpoint, spec};
use crate::k8s::error::message;
use crate::k8s::owned::{self, Published};
use crate::k8s::pages;
use crate::k8s::patch::version_of;
use crate::k8s::watch::watch_kind;

/// How many poll intervals pass before it is asked again whether there is such a kind.
const ASK_AGAIN: u32 = 6;

/// Whether DNSEndpoints can be read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Availability {
    /// The operator's settings turn them off.
    Off,
    /// It was not asked yet.
    Unknown,
    /// They are in the cache.
    Listed,
    /// The API server has no such kind.
    Missing,
    /// It does not let the operator read them, as this says.
    Unreadable(String),
}

/// Whether DNSEndpoints can be read and written, which changes while the operator runs.
#[derive(Clone)]
pub(crate) struct DnsEndpoints(Arc<watch::Sender<Availability>>);

impl DnsEndpoints {
    /// As the settings say; not asked yet.
    pub(crate) fn new(enabled: bool) -> Self {
        let begin = if enabled {
            Availability::Unknown
        } else {
            Availability::Off
        };
        Self(Arc::new(watch::Sender::new(begin)))
    }

    /// Waits until it is known.
    pub(crate) async fn known(&self) {
        let mut receiver = self.0.subscribe();
        // The sender is there as long as we are.
        let _ = receiver.wait_for(|known| *known != Availability::Unknown).await;
    }

    /// What the condition says where none can be published.
    pub(crate) fn unavailable(&self) -> Option<Finding> {
        let message = match &*self.0.borrow() {
            Availability::Listed => return None,
            Availability::Off => "the operator is installed without DNSEndpoints: ask your platform team to set \
                                  dnsEndpoints.enabled of its chart"
                .to_owned(),
            Availability::Unknown => "it is not known yet whether there are DNSEndpoints".to_owned(),
            Availability::Missing => "the cluster has no kind DNSEndpoint (externaldns.k8s.io/v1alpha1): ask your \
                                      platform team to install external-dns with its CRD; the names are published \
                                      once it is there"
                .to_owned(),
            Availability::Unreadable(why) => format!("DNSEndpoints cannot be read: {why}: ask your platform team"),
        };
        let message = format!("dns_names are not published: {message}");
        Some(Finding::bad(Reason::DNSEndpointsUnavailable, message))
    }

    /// Whether this is news.
    fn set(&self, now: Availability) -> bool {
        self.0.send_if_modified(|known| {
            let is_news = *known != now;
            *known = now;
            is_news
        })
    }

    /// They are as they were given: for a process that only looks once.
    pub(crate) fn listed(&self) {
        self.set(Availability::Listed);
    }

    /// They cannot be read, for this reason.
    pub(crate) fn unreadable(&self, error: &kube::Error) {
        self.set(why(error));
    }
}

fn why(error: &kube::Error) -> Availability {
    match error {
        kube::Error::Api(status) if status.code == 404 => Availability::Missing,
        error => Availability::Unreadable(message(error)),
    }
}

/// Which of them are ours to look at.
fn label() -> String {
    format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)
}

/// A DNSEndpoint of ours that changed has its VPCEndpoint reconciled. Where there is no such kind,
/// it is waited for.
pub(crate) async fn follow(ctx: Arc<Context>, mut writer: CacheWriter<DNSEndpoint>) {
    if *ctx.dns_endpoints.0.borrow() == Availability::Off {
        return;
    }
    let api: Api<DNSEndpoint> = Api::all(ctx.shared.client.clone());
    loop {
        let now = match api.list(&ListParams::default().labels(&label()).limit(1)).await {
            Ok(_) => watch_until_gone(&ctx, &api, &mut writer).await,
            Err(error) => why(&error),
        };
        changed(&ctx, now);
        tokio::time::sleep(ctx.shared.settings.poll_interval * ASK_AGAIN).await;
    }
}

fn changed(ctx: &Context, now: Availability) {
    if ctx.dns_endpoints.set(now) {
        for object in ctx.shared.caches.with_dns_names() {
            ctx.shared.requeuer.enqueue(ObjectKey::of(&*object));
        }
    }
}

/// Ends when the kind is gone, or may not be read any more.
async fn watch_until_gone(
    ctx: &Context,
    api: &Api<DNSEndpoint>,
    writer: &mut CacheWriter<DNSEndpoint>,
) -> Availability {
    let events = watch_kind(&ctx.shared.metrics, api.clone(), pages::of_watches().labels(&label()));
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let mut event = match event {
            Ok(event) => event,
            Err(WatchError::InitialListFailed(error) | WatchError::WatchStartFailed(error)) if is_for_good(&error) => {
                return why(&error);
            }
            Err(_) => continue,
        };
        if let Event::Apply(found) | Event::InitApply(found) | Event::Delete(found) = &mut event {
            prune(found);
        }
        writer.apply(&event);
        match &event {
            Event::Apply(found) | Event::InitApply(found) | Event::Delete(found) => {
                for key in owned::controllers(found) {
                    ctx.memories
                        .dns_endpoint_cached(&key, &found.name_any(), version_of(found));
                    ctx.shared.requeuer.requeue(key);
                }
            }
            Event::Init => {}
            Event::InitDone => changed(ctx, Availability::Listed),
        }
    }
    Availability::Unknown
}

fn is_for_good(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if [403, 404].contains(&status.code))
}

/// Removes what is not read.
fn prune(found: &mut DNSEndpoint) {
    let meta = std::mem::take(&mut found.metadata);
    let applied = meta
        .annotations
        .iter()
        .flatten()
        .find(|(key, _)| *key == APPLIED_METADATA);
    let applied = Applied::parse(applied.map(|(_, value)| value.as_str()));
    let mut labels = meta.labels.unwrap_or_default();
    labels.retain(|key, _| key == MANAGED_BY.0 || applied.labels.contains(key));
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.retain(|key, _| key == APPLIED_METADATA || applied.annotations.contains(key));
    // What the settings may say is far below this: more was written by others.
    let length = |all: &BTreeMap<String, String>| all.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if length(&labels) + length(&annotations) > LONGEST_METADATA {
        (labels, annotations) = Default::default();
    }
    let owners = meta.owner_references.unwrap_or_default();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    found.metadata = ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        deletion_timestamp: meta.deletion_timestamp,
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    found.prune_spec();
}

/// More labels and annotations than this are not kept.
const LONGEST_METADATA: usize = 16 * 1024;

/// A DNSEndpoint as it concerns an object with this UID.
pub(crate) fn observed(found: &DNSEndpoint, uid: &str) -> ObservedDnsEndpoint {
    let labels = found.labels();
    ObservedDnsEndpoint {
        name: found.name_any(),
        ours: owned::is_controlled_by(found, uid),
        labelled: labels.get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1),
        records: found.records(),
        metadata: applied(found).found(labels, found.annotations()),
        written_as: None,
    }
}

fn applied(found: &DNSEndpoint) -> Applied {
    Applied::parse(found.annotations().get(APPLIED_METADATA).map(String::as_str))
}

/// What there is for the names that an object wants.
pub(crate) fn observe(ctx: &Context, object: &Endpoint, wanted: &[DnsName]) -> ObservedNames {
    let caches = &ctx.shared.caches;
    let namespace = object.namespace().unwrap_or_default();
    let uid = object.uid().unwrap_or_default();
    let own = caches.dns_endpoints_owned_by(&uid);
    let own = own
        .iter()
        .filter(|found| found.metadata.namespace.as_ref() == Some(&namespace));
    let mut names: BTreeSet<String> = own.map(|found| found.name_any()).collect();
    if !wanted.is_empty() {
        names.insert(object.name_any());
    }
    let endpoints = ctx.memories.with(object, |memory| {
        let written = memory.own.writes.dns_endpoints.get_or_insert_default();
        names.extend(written.names());
        let look_up = |name: &String| {
            let cached = caches.dns_endpoint(&namespace, name);
            let version = cached.as_ref().map(|cached| version_of(&**cached));
            let found = cached
                .filter(|found| found.metadata.deletion_timestamp.is_none())
                .map(|found| observed(&found, &uid));
            written.look_up(name, version, found)
        };
        let found = names.iter().filter_map(look_up).collect();
        if written.is_empty() {
            memory.own.writes.dns_endpoints = None;
        }
        found
    });
    ObservedNames {
        endpoints,
        unavailable: ctx.dns_endpoints.unavailable(),
        taken: taken(caches, object, wanted),
        zonal: ZonalNames::Unknown,
    }
}

/// The names that others publish.
fn taken(caches: &Caches, object: &Endpoint, wanted: &[DnsName]) -> BTreeMap<String, String> {
    let of_name = |name: &DnsName| {
        let others = caches.naming(&name.name);
        let others = others.iter().filter(|other| other.metadata.uid != object.metadata.uid);
        let others = others.map(|other| claim(other, &name.name));
        let by = names::taken_by(&claim(object, &name.name), others)?;
        Some((name.name.clone(), by))
    };
    wanted.iter().filter_map(of_name).collect()
}

fn claim<'a>(object: &'a Endpoint, name: &str) -> Claim<'a> {
    Claim {
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
        name: object.metadata.name.as_deref().unwrap_or_default(),
        created: object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.as_second()),
        publishes: object.status.dns_names.iter().any(|published| published == name),
    }
}

/// The others that want a DNS name which an object publishes, or has given up, are reconciled.
pub(crate) fn enqueue_others(ctx: &Context, object: &Endpoint, name: &str) {
    for other in ctx.shared.caches.naming(name) {
        if other.metadata.uid != object.metadata.uid {
            ctx.shared.requeuer.requeue(ObjectKey::of(&*other));
        }
    }
}

/// Creates the DNSEndpoint by POST unless it `exists`; one that exists is corrected if the object
/// controls it, and else not changed.
pub(crate) async fn publish(
    client: &Client,
    object: &Endpoint,
    name: &str,
    content: &DnsEndpointContent,
    exists: bool,
) -> Result<Published<DNSEndpoint>, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DNSEndpoint> = Api::namespaced(client.clone(), &namespace);
    let new = if exists {
        None
    } else {
        Some(new(object, name, content)?)
    };
    let uid = object.uid().unwrap_or_default();
    let is_ours = |there: &DNSEndpoint| owned::is_controlled_by(there, &uid);
    let patch = |there: &DNSEndpoint| {
        let (labels, annotations) = own_metadata(&content.metadata, &applied(there));
        // What others added to the spec goes.
        let mut wanted = spec(&content.records);
        for key in there.spec.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if wanted.get(key).is_none() {
                wanted[key] = Value::Null;
            }
        }
        json!({
            "metadata": {
                "resourceVersion": there.resource_version(),
                "labels": labels,
                "annotations": annotations,
            },
            "spec": wanted,
        })
    };
    owned::publish(&api, new.as_ref(), name, is_ours, patch).await
}

fn new(object: &Endpoint, name: &str, content: &DnsEndpointContent) -> Result<DNSEndpoint, kube::Error> {
    let (labels, annotations) = own_metadata(&content.metadata, &Applied::default());
    let metadata = json!({
        "name": name,
        "namespace": object.namespace(),
        "labels": labels,
        "annotations": Some(without_nulls(annotations)).filter(|annotations| !annotations.is_empty()),
        "ownerReferences": object.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
    });
    let metadata = serde_json::from_value(metadata).map_err(kube::Error::SerdeError)?;
    Ok(DNSEndpoint::new(metadata, &content.records))
}

/// Deletes a DNSEndpoint, if it is still the one that the cache knows; gives the version that was
/// deleted.
pub(crate) async fn delete(
    client: &Client,
    caches: &Caches,
    object: &Endpoint,
    name: &str,
) -> Result<u64, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DNSEndpoint> = Api::namespaced(client.clone(), &namespace);
    let known = caches.dns_endpoint(&namespace, name);
    owned::delete(&api, name, known.as_deref()).await
}

/// Labels and annotations of DNSEndpoints, by the settings.
pub(crate) fn metadata(ctx: &Context) -> Metadata {
    let pairs = |pairs: &[(String, String)]| pairs.iter().cloned().collect();
    Metadata {
        labels: pairs(&ctx.shared.settings.dns_endpoint_labels),
        annotations: pairs(&ctx.shared.settings.dns_endpoint_annotations),
    }
}
