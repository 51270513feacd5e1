//! The objects that are watched, as the API server last told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;
use vpce_core::api::{AWSAccount, VPCEndpoint, Watched};
use vpce_core::tenancy;

/// A VPCEndpoint as it is watched.
pub type Endpoint = Watched<VPCEndpoint>;
/// An AWSAccount as it is watched.
pub type Account = Watched<AWSAccount>;

/// The objects that are watched, as the API server last told of them.
#[derive(Clone)]
pub struct Caches {
    /// VPCEndpoints.
    pub endpoints: Store<Endpoint>,
    /// AWSAccounts.
    pub accounts: Store<Account>,
    /// Namespaces, as metadata.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Services with our label.
    pub services: Store<Service>,
}

impl Caches {
    /// The labels of a Namespace; none where it is not known.
    pub fn labels_of(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let namespace = self.namespaces.get(&ObjectRef::new(namespace))?;
        Some(namespace.metadata.labels.clone().unwrap_or_default())
    }

    /// Whether an AWSAccount maps a namespace.
    pub fn maps(&self, account: &str, namespace: &str) -> bool {
        let labels = self.labels_of(namespace);
        let account = self.accounts.get(&ObjectRef::new(account));
        let spec = account.as_ref().and_then(|account| account.spec.as_ref().ok());
        spec.is_some_and(|spec| tenancy::maps(spec, namespace, labels.as_ref()))
    }
}

/// The kinds whose caches have been filled once. (A store's own `wait_until_ready` wakes only one of those who wait.)
#[derive(Clone)]
pub struct CacheSync(Arc<watch::Sender<BTreeSet<&'static str>>>);

impl Default for CacheSync {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeSet::new())))
    }
}

impl CacheSync {
    /// All kinds that are watched.
    pub const ALL: &'static [&'static str] = &["VPCEndpoint", "AWSAccount", "Namespace", "Service"];

    /// Says that the first list of a kind is complete.
    pub fn mark(&self, kind: &'static str) {
        self.0.send_if_modified(|kinds| kinds.insert(kind));
    }

    /// Waits for these kinds.
    pub async fn with(&self, wanted: &[&'static str]) {
        let mut kinds = self.0.subscribe();
        // The sender is there as long as we are.
        let _ = kinds
            .wait_for(|kinds| wanted.iter().all(|kind| kinds.contains(kind)))
            .await;
    }
}

/// Whether an endpoint is bound to an AWSAccount.
pub fn is_bound_to(endpoint: &Endpoint, account: &str) -> bool {
    let binding = endpoint.status.account.as_ref();
    binding.is_some_and(|binding| binding.name == account)
}
