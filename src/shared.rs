//! What all controllers share: clients, caches, sessions, regions, and the queues.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use vpce_core::api::{AWSAccountSpec, RESUME_CREATION};
use vpce_core::ids::{self, AccountId, RoleArn};
use vpce_core::tags::Clusters;

use crate::aws::ec2::Ec2;
use crate::aws::observer::Observer;
use crate::aws::region::{AccountRegion, AccountRegionKey, AccountRegions};
use crate::aws::semaphore::AccountSemaphore;
use crate::aws::sessions::{Session, SessionKey, Sessions};
use crate::k8s::caches::Caches;
use crate::k8s::events::Events;
use crate::k8s::in_use::Protection;
use crate::k8s::requeue::Requeuer;
use crate::k8s::writes::Writes;
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// What all controllers share.
pub(crate) struct Shared {
    /// The API server.
    pub(crate) client: Client,
    /// As the user set them.
    pub(crate) settings: Settings,
    /// The cluster, and those that it takes over from.
    pub(crate) clusters: Clusters,
    /// When the cluster was made, in seconds since 1970.
    pub(crate) cluster_since: Option<i64>,
    /// What is watched.
    pub(crate) caches: Caches,
    /// Sessions of roles.
    pub(crate) sessions: Sessions,
    /// Accounts in regions.
    pub(crate) regions: AccountRegions,
    /// How many work in each AWS account.
    pub(crate) semaphore: AccountSemaphore,
    /// Told about every call to AWS.
    pub(crate) observer: Observer,
    /// Counts.
    pub(crate) metrics: Metrics,
    /// Publishes events.
    pub(crate) events: Events,
    /// Writes to the API server that are in trouble.
    pub(crate) writes: Writes,
    /// Keeps AWSAccounts that are used from going.
    pub(crate) protection: Protection,
    /// Puts objects into their queues.
    pub(crate) requeuer: Requeuer,
}

impl Shared {
    /// The key of the session that an account's spec asks for.
    pub(crate) fn session_key(&self, account: &str, role: &RoleArn, spec: &AWSAccountSpec) -> SessionKey {
        let session_name = session_name(&self.clusters.own, account);
        SessionKey {
            role_arn: role.clone(),
            external_id: spec.external_id.clone(),
            duration_seconds: u32::try_from(spec.session_duration_seconds).unwrap_or(3600),
            tags: spec.session_tags.clone(),
            source_identity: self.settings.source_identity.then(|| session_name.clone()),
            session_name,
        }
    }

    /// What is shared in a region of the account that a session is in, and a client that acts there
    /// by the session.
    pub(crate) fn in_region(&self, session: &Session, region: &ids::Region) -> (Arc<AccountRegion>, Ec2) {
        let role = &session.role().role_arn;
        let key = AccountRegionKey::of(role, region);
        let ec2 = Ec2 {
            client: session.ec2(region.as_str()),
            account_id: role.account().clone(),
            region: region.clone(),
            observer: self.observer.clone(),
        };
        (self.regions.get(key), ec2)
    }

    /// How often everything is compared with AWS: the interval that is set, or longer where there
    /// are very many accounts.
    pub(crate) fn resync_interval(&self) -> Duration {
        self.regions.resync_interval()
    }

    /// Whether a person has resumed creation by this id, on any AWSAccount of the AWS account.
    pub(crate) fn is_resumed(&self, account_id: &AccountId, resume_id: &str) -> bool {
        self.caches.accounts_of(account_id.as_str()).iter().any(|account| {
            let annotations = account.metadata.annotations.as_ref();
            annotations
                .and_then(|all| all.get(RESUME_CREATION))
                .is_some_and(|id| id == resume_id)
        })
    }
}

/// What CloudTrail shows, as the session's name and as its source identity: which cluster, which
/// AWSAccount. STS allows 2 to 64 of `[\w+=,.@-]`.
fn session_name(cluster: &str, account: &str) -> String {
    let name = format!("vpce-operator@{account}@{cluster}");
    vpce_core::tags::shorten(&name, 64)
}
