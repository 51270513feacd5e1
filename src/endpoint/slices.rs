//! The EndpointSlices of a headless Service.

mod prune;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointPort, EndpointSlice};
use kube::api::{Api, Patch};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use vpce_core::api::{ServicePort, ServiceProtocol};
use vpce_core::slices::{AddressFamily, InterfaceAddress, ObservedSlice, SliceContent};

use super::corrections::Corrections;
use super::service::MANAGED_BY;
use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::error::is_already_exists;
use crate::k8s::owned;
use crate::k8s::patch::{params, version_of};

pub(crate) use self::prune::prune;

/// Says whose an EndpointSlice is, so that no other controller changes it.
const SLICE_MANAGED_BY: (&str, &str) = ("endpointslice.kubernetes.io/managed-by", "vpce-operator");
/// Names the Service whose addresses it has.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The cache has what we wrote by then; what it does not show any more was deleted since.
const CACHED_WITHIN: Duration = Duration::from_secs(10);

/// A write of ours.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    version: u64,
    /// What was written; none for a deletion.
    slice: Option<ObservedSlice>,
    at: Instant,
}

/// What is remembered of the EndpointSlices of an object, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct SliceWrites {
    /// Writes that the cache may not have yet.
    writes: HashMap<String, Write>,
    /// How their corrections went.
    corrections: HashMap<String, Corrections<ObservedSlice>>,
}

impl SliceWrites {
    /// The cache has an EndpointSlice of this name in this version, or knows that it is gone.
    pub(crate) fn cached(&mut self, name: &str, version: u64) {
        if self.writes.get(name).is_some_and(|write| write.version <= version) {
            self.writes.remove(name);
        }
    }

    /// Believes the cache again.
    pub(crate) fn believe_cache(&mut self) {
        self.writes.clear();
    }

    /// Takes note of what was stored.
    pub(crate) fn published(&mut self, content: &SliceContent, slice: &EndpointSlice, uid: &str, most: Duration) {
        let found = observed(slice, uid);
        let corrections = self.corrections.entry(found.name.clone()).or_default();
        corrections.stored(content, found.clone(), most);
        self.wrote(version_of(slice), &found.name.clone(), Some(found));
    }

    /// Takes note of a deletion.
    pub(crate) fn deleted(&mut self, name: &str, version: u64) {
        self.corrections.remove(name);
        self.wrote(version, name, None);
    }

    fn wrote(&mut self, version: u64, name: &str, slice: Option<ObservedSlice>) {
        let at = Instant::now();
        self.writes.insert(name.to_owned(), Write { version, slice, at });
    }

    /// Whether one that exists may be corrected: not where another controller changes it back each
    /// time.
    pub(crate) fn may_correct(&mut self, content: &SliceContent, found: Option<ObservedSlice>) -> bool {
        let corrections = self.corrections.entry(content.name()).or_default();
        corrections.may_correct(content, found)
    }

    /// Whether one of this name was left as it is found, though the cache may not have it.
    pub(crate) fn is_left(&self, name: &str) -> bool {
        self.corrections
            .get(name)
            .is_some_and(|corrections| corrections.is_left(name))
    }

    fn look_up(&self, caches: &Caches, namespace: &str, name: &str, uid: &str) -> Option<ObservedSlice> {
        let cached = caches.slice(namespace, name);
        let is_older = |write: &&Write| {
            cached
                .as_ref()
                .is_none_or(|cached| version_of(&**cached) <= write.version)
        };
        let write = self.writes.get(name).filter(is_older);
        let found = match write.filter(|write| write.at.elapsed() < CACHED_WITHIN) {
            Some(write) => write.slice.clone(),
            None => cached
                .filter(|slice| slice.metadata.deletion_timestamp.is_none())
                .map(|slice| observed(&slice, uid)),
        };
        let changed = self
            .corrections
            .get(name)
            .and_then(|corrections| corrections.changed.as_deref());
        match changed {
            Some(changed) => changed.observed(found),
            None => found,
        }
    }
}

/// Observes the EndpointSlices that the object controls, and those that have the names that it
/// wants for its Service: what the cache has, unless we wrote later than it knows.
pub(crate) fn observe(
    caches: &Caches,
    object: &Endpoint,
    written: &SliceWrites,
    service: Option<&str>,
) -> Vec<ObservedSlice> {
    let namespace = object.namespace().unwrap_or_default();
    let uid = object.uid().unwrap_or_default();
    let own = caches.slices_owned_by(&uid);
    let own = own
        .iter()
        .filter(|slice| slice.metadata.namespace.as_ref() == Some(&namespace));
    let mut names: BTreeSet<String> = own.map(|slice| slice.name_any()).collect();
    names.extend(written.writes.keys().cloned());
    let wanted = |service: &str| AddressFamily::ALL.map(|family| SliceContent::name_of(service, family));
    names.extend(service.into_iter().flat_map(wanted));
    let look_up = |name: &String| written.look_up(caches, &namespace, name, &uid);
    names.iter().filter_map(look_up).collect()
}

/// An EndpointSlice as it concerns an object with this UID.
fn observed(slice: &EndpointSlice, uid: &str) -> ObservedSlice {
    let label = |key: &str| slice.labels().get(key);
    let is_labelled = |(key, value): (&str, &str)| label(key).is_some_and(|found| found == value);
    let addresses: Option<BTreeSet<InterfaceAddress>> = slice.endpoints.iter().map(address).collect();
    ObservedSlice {
        name: slice.name_any(),
        ours: slice
            .owner_references()
            .iter()
            .any(|owner| owner.controller == Some(true) && owner.uid == uid),
        labelled: is_labelled(MANAGED_BY) && is_labelled(SLICE_MANAGED_BY),
        service: label(SERVICE_NAME).cloned(),
        family: AddressFamily::parse(&slice.address_type),
        // The same address twice is not what we write.
        addresses: addresses.filter(|addresses| addresses.len() == slice.endpoints.len()),
        ports: slice.ports.iter().flatten().map(port).collect(),
        written_as: None,
    }
}

/// The address of an endpoint of a slice; none where it is not as we write it.
fn address(endpoint: &SliceEndpoint) -> Option<InterfaceAddress> {
    let [address] = &endpoint.addresses[..] else {
        return None;
    };
    let as_written = self::endpoint(address, endpoint.zone.as_deref());
    (*endpoint == as_written).then_some(())?;
    InterfaceAddress::parse(address, endpoint.zone.as_deref())
}

/// An endpoint of a slice as we write it.
fn endpoint(address: &str, zone: Option<&str>) -> SliceEndpoint {
    let mut endpoint = SliceEndpoint {
        addresses: vec![address.to_owned()],
        zone: zone.map(str::to_owned),
        ..SliceEndpoint::default()
    };
    endpoint.conditions.get_or_insert_default().ready = Some(true);
    endpoint
}

fn port(port: &EndpointPort) -> ServicePort {
    ServicePort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or(0),
        protocol: match port.protocol.as_deref() {
            Some("UDP") => ServiceProtocol::Udp,
            _ => ServiceProtocol::Tcp,
        },
    }
}

/// What an EndpointSlice holds beside its metadata.
fn body(content: &SliceContent) -> (Value, Value) {
    let endpoint = |address: &InterfaceAddress| json!(endpoint(&address.address, address.zone.as_deref()));
    let endpoints: Vec<Value> = content.addresses.iter().map(endpoint).collect();
    let port = |port: &ServicePort| {
        let name = port.name.clone().unwrap_or_default();
        json!({"name": name, "port": port.port, "protocol": port.protocol})
    };
    let ports: Vec<Value> = content.ports.iter().map(port).collect();
    (json!(endpoints), json!(ports))
}

fn labels(content: &SliceContent) -> BTreeMap<String, String> {
    let labels = [MANAGED_BY, SLICE_MANAGED_BY, (SERVICE_NAME, content.service.as_str())];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The result of publishing an EndpointSlice.
#[derive(Debug)]
pub(crate) enum Published {
    /// It is there now, as this.
    Done(Box<EndpointSlice>),
    /// It was deleted while it was being corrected; it is created again after the next observation.
    Vanished,
    /// One of that name exists that the object does not own; it was not changed.
    NotOwned,
}

/// Creates the EndpointSlice by POST unless it `exists`; one that exists is corrected if the object
/// controls it, and else not changed.
pub(crate) async fn publish(
    client: &Client,
    object: &Endpoint,
    content: &SliceContent,
    exists: bool,
) -> Result<Published, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    if !exists {
        match api.create(&owned::post(), &new(object, content)?).await {
            Ok(made) => return Ok(Published::Done(Box::new(made))),
            Err(error) if is_already_exists(&error) => {}
            Err(error) => return Err(error),
        }
    }
    correct(&api, object, content).await
}

fn new(object: &Endpoint, content: &SliceContent) -> Result<EndpointSlice, kube::Error> {
    let (endpoints, ports) = body(content);
    let slice = json!({
        "metadata": {
            "name": content.name(),
            "namespace": object.namespace(),
            "labels": labels(content),
            "ownerReferences": object.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "addressType": content.family.as_str(),
        "endpoints": endpoints,
        "ports": ports,
    });
    serde_json::from_value(slice).map_err(kube::Error::SerdeError)
}

/// Corrects the EndpointSlice of this name, if it is the object's.
async fn correct(
    api: &Api<EndpointSlice>,
    object: &Endpoint,
    content: &SliceContent,
) -> Result<Published, kube::Error> {
    let name = content.name();
    let Some(there) = api.get_opt(&name).await? else {
        return Ok(Published::Vanished);
    };
    if !observed(&there, &object.uid().unwrap_or_default()).ours {
        return Ok(Published::NotOwned);
    }
    let (endpoints, ports) = body(content);
    let patch = json!({
        "metadata": {"resourceVersion": there.resource_version(), "labels": labels(content)},
        "endpoints": endpoints,
        "ports": ports,
    });
    let corrected = api.patch(&name, &params(), &Patch::Merge(patch)).await?;
    Ok(Published::Done(Box::new(corrected)))
}

/// Deletes an EndpointSlice, if it is still the one that the cache knows; gives the version that
/// was deleted.
pub(crate) async fn delete(
    client: &Client,
    caches: &Caches,
    object: &Endpoint,
    name: &str,
) -> Result<u64, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    let known = caches.slice(&namespace, name);
    owned::delete(&api, name, known.as_deref()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> SliceContent {
        SliceContent {
            service: "db".to_owned(),
            family: AddressFamily::Ipv4,
            addresses: ["10.0.0.4", "10.0.1.4"]
                .iter()
                .filter_map(|text| InterfaceAddress::parse(text, Some("eu-west-1a")))
                .collect(),
            ports: serde_json::from_value(
                json!([{"name": "tls", "port": 443}, {"name": "dns", "port": 53, "protocol": "UDP"}]),
            )
            .expect("ports"),
        }
    }

    fn object() -> Endpoint {
        serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "blue", "uid": "u"}}))
            .expect("watched objects always parse")
    }

    #[test]
    fn what_is_written_is_what_is_then_observed() {
        let slice = new(&object(), &content()).expect("a slice");
        assert_eq!(observed(&slice, "u"), ObservedSlice::published(content()));
        assert!(!observed(&slice, "another").ours);
    }

    #[test]
    fn whatever_is_edited_of_a_slice_differs() {
        let edits: [fn(&mut EndpointSlice); 9] = [
            |slice| slice.endpoints[0].addresses[0] = "10.0.0.5".to_owned(),
            |slice| slice.endpoints[0].addresses.push("10.0.0.5".to_owned()),
            |slice| slice.endpoints[0].conditions.get_or_insert_default().ready = Some(false),
            |slice| slice.endpoints[0].hostname = Some("a".to_owned()),
            |slice| slice.endpoints[0].zone = None,
            |slice| slice.endpoints.push(slice.endpoints[0].clone()),
            |slice| slice.ports = None,
            |slice| slice.metadata.labels.get_or_insert_default().clear(),
            |slice| slice.address_type = "FQDN".to_owned(),
        ];
        for (number, edit) in edits.iter().enumerate() {
            let mut slice = new(&object(), &content()).expect("a slice");
            edit(&mut slice);
            let mut pruned = slice.clone();
            prune(&mut pruned);
            for slice in [slice, pruned] {
                assert_ne!(observed(&slice, "u").differences(&content()), [""; 0], "edit {number}");
            }
        }
    }
}
