//! The Kubernetes Service that leads to an endpoint.

pub(crate) mod names;
mod prune;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use serde_json::{Map, Value, json};
use vpce_core::api::{APPLIED_METADATA, ServicePort, ServiceProtocol};
use vpce_core::metadata::{Applied, Metadata};
use vpce_core::observed::{ObservedService, ServiceContent, ServiceTarget};

use super::corrections::Changed;
use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::owned::{self, Published};
use crate::k8s::patch::version_of;

pub(crate) use self::prune::prune;

/// Which Services are ours to look at.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "vpce-operator");

/// The cluster IP of a Service that has none.
const HEADLESS: &str = "None";

/// A Service as it concerns an object with this UID.
pub(crate) fn observed(service: &Service, uid: &str) -> ObservedService {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let is_external_name = spec.type_.as_deref() == Some("ExternalName");
    let is_cluster_ip = spec.type_.as_deref() == Some("ClusterIP");
    let selects = spec.selector.is_some_and(|selector| !selector.is_empty());
    ObservedService {
        name: service.name_any(),
        ours: owned::is_controlled_by(service, uid),
        unowned: service
            .owner_references()
            .iter()
            .all(|owner| owner.controller != Some(true)),
        external_name: spec.external_name.filter(|_| is_external_name),
        headless: is_cluster_ip && spec.cluster_ip.as_deref() == Some(HEADLESS) && !selects,
        ports: ports
            .into_iter()
            .map(|port| ServicePort {
                name: port.name,
                port: port.port,
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => ServiceProtocol::Udp,
                    _ => ServiceProtocol::Tcp,
                },
            })
            .collect(),
        labelled: service
            .labels()
            .get(MANAGED_BY.0)
            .is_some_and(|value| value == MANAGED_BY.1),
        metadata: applied(service).found(service.labels(), service.annotations()),
        written_as: None,
    }
}

/// The keys of the labels and annotations that we set for the user.
fn applied(service: &Service) -> Applied {
    Applied::parse(service.annotations().get(APPLIED_METADATA).map(String::as_str))
}

/// Observes the Services of these names and those that the object controls: what the cache has,
/// unless we wrote later than it knows. Those that are being deleted count as deleted.
pub(crate) fn observe<'a>(
    caches: &Caches,
    object: &Endpoint,
    written: &HashMap<String, (u64, Option<ObservedService>)>,
    changed: Option<&Changed<ObservedService>>,
    names: impl Iterator<Item = &'a str>,
) -> Vec<ObservedService> {
    let namespace = object.namespace().unwrap_or_default();
    let uid = object.uid().unwrap_or_default();
    let own = caches.services_owned_by(&uid);
    // No status may name a Service that is there: an edit, or our end, can come between making it
    // and saying so.
    let own = own
        .iter()
        .filter(|service| service.metadata.namespace.as_ref() == Some(&namespace));
    let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
    names.extend(own.map(|service| service.name_any()));
    names.extend(written.keys().cloned());
    let look_up = |name: &str| {
        let cached = caches.service(&namespace, name);
        match written.get(name) {
            Some((version, service)) if cached.as_ref().is_none_or(|cached| version_of(&**cached) <= *version) => {
                service.clone()
            }
            _ => cached
                .filter(|service| service.metadata.deletion_timestamp.is_none())
                .map(|service| observed(&service, &uid)),
        }
    };
    names
        .iter()
        .filter_map(|name| match changed.filter(|changed| changed.found.name == *name) {
            Some(changed) => changed.observed(look_up(name)),
            None => look_up(name),
        })
        .collect()
}

/// A Service that should exist.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it leads.
    pub target: &'a ServiceTarget,
    /// Ports that it names.
    pub ports: &'a [ServicePort],
    /// Its labels and annotations, beside our own.
    pub metadata: &'a Metadata,
}

impl Publication<'_> {
    /// What it is to hold.
    pub(crate) fn content(&self) -> ServiceContent {
        ServiceContent {
            target: self.target.clone(),
            ports: self.ports.to_vec(),
            metadata: self.metadata.clone(),
        }
    }

    /// What its spec says. Null removes what a Service of another type has.
    fn spec(&self) -> Value {
        let ports: Vec<_> = self
            .ports
            .iter()
            .map(|port| json!({"name": port.name, "port": port.port, "protocol": port.protocol}))
            .collect();
        let ports = (!ports.is_empty()).then_some(ports);
        match self.target {
            ServiceTarget::Name(name) => json!({
                "type": "ExternalName",
                "externalName": name,
                "ports": ports,
                "clusterIP": null,
                "clusterIPs": null,
                "selector": null,
                "ipFamilies": null,
                "ipFamilyPolicy": null,
                "internalTrafficPolicy": null,
            }),
            ServiceTarget::Addresses => json!({
                "type": "ClusterIP",
                "clusterIP": HEADLESS,
                "externalName": null,
                "ports": ports,
                "selector": null,
            }),
        }
    }

    /// Whether the object may take over a Service without an owner.
    fn may_take_over(&self, object: &Endpoint, found: &ObservedService) -> bool {
        let ServiceTarget::Name(name) = self.target else {
            return false;
        };
        let leads_here = found.external_name.as_ref() == Some(name);
        // The Python operator gives its Services neither a label nor an owner.
        let adopted = object.status.vpc_endpoint_id.as_deref();
        let adopted = adopted.filter(|_| object.status.adopted);
        let is_without_owner = found.unowned && adopted.is_some_and(|id| found.leads_to(&id.into()));
        (found.may_be_restored() && leads_here) || is_without_owner
    }
}

/// Labels and annotations of what the operator publishes, its own among them. Null removes what was
/// set before and is no longer wanted.
pub(crate) fn own_metadata(metadata: &Metadata, before: &Applied) -> (Value, Value) {
    let Metadata { labels, annotations } = metadata;
    let applied = Applied::from(metadata);
    let with = |before: &BTreeSet<String>, wanted: &BTreeMap<String, String>, key: &str, own: Value| {
        let gone = before.iter().map(|key| (key.clone(), Value::Null));
        let wanted = wanted.iter().map(|(key, value)| (key.clone(), json!(value)));
        let mut all: Map<String, Value> = gone.chain(wanted).collect();
        all.insert(key.to_owned(), own);
        Value::Object(all)
    };
    (
        with(&before.labels, labels, MANAGED_BY.0, json!(MANAGED_BY.1)),
        with(
            &before.annotations,
            annotations,
            APPLIED_METADATA,
            json!(applied.annotation()),
        ),
    )
}

/// Creates the Service by POST unless it `exists`; one that exists is corrected if the object
/// controls it or may take it over, and else not changed.
pub(crate) async fn publish(
    client: &Client,
    object: &Endpoint,
    wanted: &Publication<'_>,
    exists: bool,
) -> Result<Published<Service>, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let uid = object.uid().unwrap_or_default();
    let new = if exists { None } else { Some(new(object, wanted)?) };
    let may_correct = |there: &Service| {
        let found = observed(there, &uid);
        found.ours || wanted.may_take_over(object, &found)
    };
    let patch = |there: &Service| {
        let mut owners = there.owner_references().to_vec();
        if !owned::is_controlled_by(there, &uid) {
            owners.extend(object.controller_owner_ref(&()));
        }
        let (labels, annotations) = own_metadata(wanted.metadata, &applied(there));
        json!({
            "metadata": {
                "resourceVersion": there.resource_version(),
                "ownerReferences": owners,
                "labels": labels,
                "annotations": annotations,
            },
            "spec": wanted.spec(),
        })
    };
    owned::publish(&api, new.as_ref(), wanted.name, may_correct, patch).await
}

fn new(object: &Endpoint, wanted: &Publication<'_>) -> Result<Service, kube::Error> {
    let (labels, annotations) = own_metadata(wanted.metadata, &Applied::default());
    let service = json!({
        "metadata": {
            "name": wanted.name,
            "namespace": object.namespace(),
            "labels": labels,
            "annotations": Some(without_nulls(annotations)).filter(|annotations| !annotations.is_empty()),
            "ownerReferences": object.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "spec": wanted.spec(),
    });
    serde_json::from_value(service).map_err(kube::Error::SerdeError)
}

/// Without what is null.
pub(crate) fn without_nulls(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

/// Deletes a Service, if it is still the one that the cache knows; gives the version that was
/// deleted.
pub(crate) async fn delete(
    client: &Client,
    caches: &Caches,
    object: &Endpoint,
    name: &str,
) -> Result<u64, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let known = caches.service(&namespace, name);
    owned::delete(&api, name, known.as_deref()).await
}
