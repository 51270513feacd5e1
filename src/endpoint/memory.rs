//! What is remembered of a VPCEndpoint beside what is of all kinds.

use std::collections::HashMap;
use std::time::Instant;

use kube::ResourceExt;
use vpce_core::config_map::ObservedConfigMap;
use vpce_core::names::ObservedDnsEndpoint;
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::ObservedService;
use vpce_core::plan::Fallbacks;
use vpce_core::slices::ObservedSlice;

use crate::bound::memories::{Memories, Remembered};
use crate::endpoint::corrections::Corrections;
use crate::endpoint::written::Written;
use crate::k8s::caches::{Caches, Endpoint};
use crate::k8s::patch::version_of;

/// What is remembered of a VPCEndpoint beside what is of all kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    /// Our own writes, which the cache may not have yet.
    pub writes: OwnWrites,
    /// Whether the groups of others that the spec names may be used.
    pub groups: GroupsCheck,
    /// What AWS refused in the usual way.
    pub fallbacks: Fallbacks,
    /// Whether its group was found since the last create of one was tried: no other can have been
    /// made unseen.
    pub group_found: bool,
    /// Since when a group that is to be deleted has been in use.
    pub in_use_since: Option<Instant>,
    /// Whether the finalizer of the Python operator was removed.
    pub kopf_finalizer_removed: bool,
    /// Whether it came back, and that was told.
    pub kopf_is_alive: bool,
    /// How often in a row AWS has accepted to turn private DNS on, and when it last did.
    pub private_dns_accepted: Option<(u32, Instant)>,
    /// Since when AWS has been at work on the endpoint.
    pub pending_since: Option<Instant>,
    /// The object whose endpoint it shares; boxed, since most share none.
    pub refers_to: Option<Box<ObjectKey>>,
}

impl Remembered for Own {
    fn requeued(&mut self) {
        self.writes.services = HashMap::new();
    }

    fn retried(&mut self) {
        self.requeued();
        self.writes.slices.believe_cache();
        if let Some(written) = &mut self.writes.dns_endpoints {
            written.believe_cache();
        }
    }

    fn unlearn(&mut self) {
        self.fallbacks = Fallbacks::default();
    }
}

/// Our own writes, which the cache may not have yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnWrites {
    /// Of Services: the resource version, and what was written, or none for a deletion.
    pub services: HashMap<String, (u64, Option<ObservedService>)>,
    /// How the corrections of its Service went.
    pub corrections: Corrections<ObservedService>,
    /// Of EndpointSlices.
    pub slices: Written<ObservedSlice>,
    /// Of DNSEndpoints; boxed, since most objects have none.
    pub dns_endpoints: Option<Box<Written<ObservedDnsEndpoint>>>,
    /// Of ConfigMaps, likewise.
    pub config_maps: Option<Box<Written<ObservedConfigMap>>>,
}

impl OwnWrites {
    /// What the cache has by now is not remembered.
    pub(crate) fn forget_cached_services(&mut self, caches: &Caches, object: &Endpoint) {
        if self.services.is_empty() {
            return;
        }
        let namespace = object.namespace().unwrap_or_default();
        self.services.retain(|name, (version, _)| {
            let cached = caches.service(&namespace, name);
            cached.is_none_or(|cached| version_of(&*cached) < *version)
        });
        self.services.shrink_to_fit();
    }
}

/// Whether the groups of others that the spec names may be used: asked once for a generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupsCheck {
    /// When AWS was last asked.
    pub asked: Option<Instant>,
    /// The generation whose groups were found to be usable.
    pub checked: Option<i64>,
}

impl Memories<Endpoint> {
    /// A Service that an object may have is gone.
    pub(crate) fn service_gone(&self, key: &ObjectKey, service: &str) {
        self.known(key, |memory| memory.own.writes.corrections.deleted(service));
    }

    /// The cache has an EndpointSlice of an object in this version, or knows that it is gone.
    pub(crate) fn slice_cached(&self, key: &ObjectKey, name: &str, version: u64) {
        self.known(key, |memory| memory.own.writes.slices.cached(name, version));
    }

    /// The cache has a DNSEndpoint of an object in this version, or knows that it is gone.
    pub(crate) fn dns_endpoint_cached(&self, key: &ObjectKey, name: &str, version: u64) {
        self.known(key, |memory| {
            if let Some(written) = &mut memory.own.writes.dns_endpoints {
                written.cached(name, version);
            }
        });
    }
}
