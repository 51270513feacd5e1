//! What both controllers share: clients, caches, sessions, regions, and the ways to wake an object.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use vpce_core::api::{AWSAccount, AWSAccountSpec, RESUME_CREATION, VPCEndpoint, Watched};
use vpce_core::ids::{AccountId, RoleArn};
use vpce_core::tags::Clusters;
use vpce_core::tenancy;

use crate::account::permissions::Verifications;
use crate::account::protection::Protection;
use crate::aws::observer::Observer;
use crate::aws::region::Regions;
use crate::aws::sessions::{SessionKey, Sessions};
use crate::cli::Settings;
use crate::endpoint::capacity::CapacityReservations;
use crate::endpoint::memory::Memories;
use crate::endpoint::semaphore::AccountSemaphore;
use crate::events::Events;
use crate::service::names::NameWaiters;
use crate::telemetry::Metrics;
use crate::writes::Writes;

/// A VPCEndpoint as it is watched.
pub type Endpoint = Watched<VPCEndpoint>;
/// An AWSAccount as it is watched.
pub type Account = Watched<AWSAccount>;

/// Wakes a VPCEndpoint, by namespace and name.
pub type Enqueue = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Whether AWS may be written for an object, now.
pub type Permitted = Arc<dyn Fn() -> bool + Send + Sync>;

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

/// Asks for objects to be looked at.
#[derive(Clone)]
pub struct Requeuer {
    endpoints: UnboundedSender<ObjectRef<Endpoint>>,
    accounts: UnboundedSender<ObjectRef<Account>>,
    memories: Memories,
}

impl Requeuer {
    /// Into these queues.
    pub fn new(
        endpoints: UnboundedSender<ObjectRef<Endpoint>>,
        accounts: UnboundedSender<ObjectRef<Account>>,
        memories: Memories,
    ) -> Self {
        Self {
            endpoints,
            accounts,
            memories,
        }
    }

    /// Has a VPCEndpoint looked at now, whatever time it was to wait, and what was refused to it tried again.
    pub fn endpoint(&self, namespace: &str, name: &str) {
        self.memories.forget_waits(namespace, name);
        self.enqueue(namespace, name);
    }

    /// Has a VPCEndpoint looked at now. What was refused to it is tried again in its own time.
    pub fn requeue(&self, namespace: &str, name: &str) {
        self.memories.forget_wait(namespace, name);
        self.enqueue(namespace, name);
    }

    fn enqueue(&self, namespace: &str, name: &str) {
        // Nobody listens only while the process ends.
        let _ = self.endpoints.send(ObjectRef::new(name).within(namespace));
    }

    /// Has an AWSAccount looked at.
    pub fn account(&self, name: &str) {
        let _ = self.accounts.send(ObjectRef::new(name));
    }
}

/// What a reconcile works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// As the user set them.
    pub settings: Settings,
    /// The cluster, and those that it takes over from.
    pub clusters: Clusters,
    /// When the cluster was made, in seconds since 1970.
    pub cluster_since: Option<i64>,
    /// What is watched.
    pub caches: Caches,
    /// Which of it is known in full.
    pub filled: CacheSync,
    /// Sessions of roles.
    pub sessions: Sessions,
    /// Which session each AWSAccount asked for last: when it asks for another, the one before is let go.
    pub asked: Arc<Mutex<HashMap<String, SessionKey>>>,
    /// What dry runs have found of each AWSAccount's role.
    pub verifications: Verifications,
    /// Accounts in regions.
    pub regions: Regions,
    /// Told about every call to AWS.
    pub observer: Observer,
    /// Counts.
    pub metrics: Metrics,
    /// Publishes events.
    pub events: Events,
    /// What is remembered of each object between reconciles.
    pub memories: Memories,
    /// How many work in each account.
    pub semaphore: AccountSemaphore,
    /// Who may be bound to an account that allows only so many.
    pub capacity: CapacityReservations,
    /// Writes to the API server that are in trouble.
    pub writes: Writes,
    /// Who waits for the name of a Service.
    pub names: NameWaiters,
    /// Keeps AWSAccounts that are used from going.
    pub protection: Protection,
    /// Wakes objects.
    pub requeuer: Requeuer,
}

impl Context {
    /// The key of the session that an account's spec asks for.
    pub fn role(&self, account: &str, role: &RoleArn, spec: &AWSAccountSpec) -> SessionKey {
        self::role(&self.clusters.own, account, role, spec, self.settings.source_identity)
    }

    /// Whether a person has released this hold on any AWSAccount of the AWS account.
    pub fn is_released(&self, account_id: &AccountId, hold: &str) -> bool {
        self.caches.accounts.state().iter().any(|account| {
            let annotations = account.metadata.annotations.as_ref();
            let leads_there = |spec: &AWSAccountSpec| {
                spec.role_arn
                    .parse::<RoleArn>()
                    .is_ok_and(|role| role.account() == account_id)
            };
            annotations
                .and_then(|all| all.get(RESUME_CREATION))
                .is_some_and(|id| id == hold)
                && account.spec.as_ref().is_ok_and(leads_there)
        })
    }
}

/// The session that an account's spec asks for.
pub fn role(cluster: &str, account: &str, role: &RoleArn, spec: &AWSAccountSpec, source_identity: bool) -> SessionKey {
    let session_name = session_name(cluster, account);
    SessionKey {
        arn: role.as_str().to_owned(),
        account_id: role.account().to_string(),
        partition: role.partition().to_owned(),
        external_id: spec.external_id.clone(),
        duration_seconds: u32::try_from(spec.session_duration_seconds).unwrap_or(3600),
        tags: spec.session_tags.clone(),
        source_identity: source_identity.then(|| session_name.clone()),
        session_name,
    }
}

/// What CloudTrail shows, as the session's name and as its source identity: which cluster, which AWSAccount. STS allows 2 to 64 of `[\w+=,.@-]`.
fn session_name(cluster: &str, account: &str) -> String {
    let name = format!("vpce-operator@{account}@{cluster}");
    vpce_core::tags::shorten(&name, 64)
}

/// A reference counted context, as kube's controllers want it.
pub type Shared = Arc<Context>;
