//! What both controllers share: clients, caches, sessions, regions, and the ways to wake an object.

use std::collections::HashMap;
use std::sync::Arc;

use kube::Client;
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use vpce_core::api::{AWSAccountSpec, RESUME_CREATION};
use vpce_core::ids::{AccountId, RoleArn};
use vpce_core::tags::Clusters;

use crate::account::permissions::Verifications;
use crate::account::protection::Protection;
use crate::aws::observer::Observer;
use crate::aws::region::Regions;
use crate::aws::sessions::{SessionKey, Sessions};
use crate::endpoint::capacity::CapacityReservations;
use crate::endpoint::memory::Memories;
use crate::endpoint::semaphore::AccountSemaphore;
use crate::endpoint::service::names::NameWaiters;
use crate::k8s::caches::{Account, CacheSync, Caches, Endpoint};
use crate::k8s::events::Events;
use crate::k8s::writes::Writes;
use crate::settings::Settings;
use crate::telemetry::Metrics;

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
