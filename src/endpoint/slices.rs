//! The EndpointSlices of a headless Service.

mod prune;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointPort, EndpointSlice};
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use vpce_core::api::{ServicePort, ServiceProtocol};
use vpce_core::slices::{AddressFamily, InterfaceAddress, ObservedSlice, SliceContent};

use super::service::MANAGED_BY;
use super::written::Written;
use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::owned::{self, Published};
use crate::k8s::patch::version_of;

pub(crate) use self::prune::prune;

/// Says whose an EndpointSlice is, so that no other controller changes it.
const SLICE_MANAGED_BY: (&str, &str) = ("endpointslice.kubernetes.io/managed-by", "vpce-operator");
/// Names the Service whose addresses it has.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Observes the EndpointSlices that the object controls, and those that have the names that it
/// wants for its Service: what the cache has, unless we wrote later than it knows.
pub(crate) fn observe(
    caches: &Caches,
    object: &Endpoint,
    written: &Written<ObservedSlice>,
    service: Option<&str>,
) -> Vec<ObservedSlice> {
    let namespace = object.namespace().unwrap_or_default();
    let uid = object.uid().unwrap_or_default();
    let own = caches.slices_owned_by(&uid);
    let own = own
        .iter()
        .filter(|slice| slice.metadata.namespace.as_ref() == Some(&namespace));
    let mut names: BTreeSet<String> = own.map(|slice| slice.name_any()).collect();
    names.extend(written.names());
    let wanted = |service: &str| AddressFamily::ALL.map(|family| SliceContent::name_of(service, family));
    names.extend(service.into_iter().flat_map(wanted));
    let look_up = |name: &String| {
        let cached = caches.slice(&namespace, name);
        let version = cached.as_ref().map(|cached| version_of(&**cached));
        let found = cached
            .filter(|slice| slice.metadata.deletion_timestamp.is_none())
            .map(|slice| observed(&slice, &uid));
        written.look_up(name, version, found)
    };
    names.iter().filter_map(look_up).collect()
}

/// An EndpointSlice as it concerns an object with this UID.
pub(crate) fn observed(slice: &EndpointSlice, uid: &str) -> ObservedSlice {
    let label = |key: &str| slice.labels().get(key);
    let is_labelled = |(key, value): (&str, &str)| label(key).is_some_and(|found| found == value);
    let addresses: Option<BTreeSet<InterfaceAddress>> = slice.endpoints.iter().map(address).collect();
    ObservedSlice {
        name: slice.name_any(),
        ours: owned::is_controlled_by(slice, uid),
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

/// Creates the EndpointSlice by POST unless it `exists`; one that exists is corrected if the object
/// controls it, and else not changed.
pub(crate) async fn publish(
    client: &Client,
    object: &Endpoint,
    content: &SliceContent,
    exists: bool,
) -> Result<Published<EndpointSlice>, kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    let new = if exists { None } else { Some(new(object, content)?) };
    let uid = object.uid().unwrap_or_default();
    let is_ours = |there: &EndpointSlice| owned::is_controlled_by(there, &uid);
    let patch = |there: &EndpointSlice| {
        let (endpoints, ports) = body(content);
        json!({
            "metadata": {"resourceVersion": there.resource_version(), "labels": labels(content)},
            "endpoints": endpoints,
            "ports": ports,
        })
    };
    owned::publish(&api, new.as_ref(), &content.name(), is_ours, patch).await
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
