//! One leader at a time: a Lease that is renewed well before others may take it, or the process
//! ends.
//!
//! The rules are those of client-go's leader election. Every write carries the resourceVersion of
//! what was read, so that of two that try to acquire the Lease one gets a conflict. How old a Lease
//! is is measured by the replica's own clock, from when it saw the last renewal, so that clocks
//! need not agree. The leader gives up when it could not renew for two thirds of the Lease's
//! duration, before another replica may acquire it. (kube-lease-manager goes on leading after a
//! renewal failed, and kube-leader-election compares the clocks of two machines.)

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::k8s::error::{is_already_exists, is_conflict, is_not_found, message};

/// Which Lease, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct LeaseConfig {
    /// The Lease's namespace.
    pub(crate) namespace: String,
    /// The Lease's name.
    pub(crate) name: String,
    /// The pod's name. Should its container start again, the new one goes on at once: the old one
    /// is gone.
    pub(crate) pod: String,
    /// A leader that has not renewed for so long may be replaced.
    pub(crate) duration: Duration,
}

impl LeaseConfig {
    /// The leader gives up after so long without a renewal.
    fn deadline(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// The leader renews, and others read, this often.
    fn retry(&self) -> Duration {
        self.duration * 2 / 15
    }
}

/// Why this replica is no longer the leader.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// Another holds the Lease.
    #[error("the Lease is held by {0:?} now")]
    Taken(String),
    /// It is gone.
    #[error("the Lease was deleted")]
    Deleted,
    /// The API server did not take a renewal in time.
    #[error("the Lease could not be renewed within {0:?}: {1}")]
    NotRenewed(Duration, String),
}

/// Of the leader.
pub(crate) struct Leadership {
    api: Api<Lease>,
    config: LeaseConfig,
    /// The pod, and which of its processes: no other, whatever its pod is called, takes this one's
    /// renewals for its own.
    identity: String,
    lease: Lease,
    /// When the last renewal that was taken was sent.
    renewed: Instant,
}

/// Waits until the Lease can be had, and takes it. While another holds it, `waiting` is called.
pub(crate) async fn acquire(client: Client, config: LeaseConfig, waiting: impl Fn()) -> Leadership {
    let api: Api<Lease> = Api::namespaced(client, &config.namespace);
    let identity = format!("{}_{:016x}", config.pod, fastrand::u64(..));
    let mut seen: Option<(Option<String>, Instant)> = None;
    let mut logged = None;
    loop {
        match take(&api, &config, &identity, &mut seen).await {
            Ok(Taking::Taken(lease, renewed)) => {
                tracing::info!(lease = config.name, holder = identity, "leading");
                return Leadership {
                    api,
                    config,
                    identity,
                    lease: *lease,
                    renewed,
                };
            }
            Ok(Taking::Held(holder)) => {
                waiting();
                if logged.as_ref() != Some(&holder) {
                    tracing::info!(lease = config.name, holder, "waiting: another replica is the leader");
                    logged = Some(holder);
                }
            }
            Err(error) => {
                let error = message(&error);
                tracing::warn!(
                    lease = config.name,
                    error,
                    "the Lease cannot be read or taken; trying again"
                );
            }
        }
        tokio::time::sleep(config.retry()).await;
    }
}

enum Taking {
    Taken(Box<Lease>, Instant),
    Held(String),
}

async fn take(
    api: &Api<Lease>,
    config: &LeaseConfig,
    identity: &str,
    seen: &mut Option<(Option<String>, Instant)>,
) -> Result<Taking, kube::Error> {
    let sent = Instant::now();
    let Some(there) = api.get_opt(&config.name).await? else {
        let new = Lease {
            metadata: ObjectMeta {
                name: Some(config.name.clone()),
                namespace: Some(config.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(held_by(config, identity, None)),
        };
        return match api.create(&PostParams::default(), &new).await {
            Ok(lease) => Ok(Taking::Taken(Box::new(held(lease, identity)?), sent)),
            Err(error) if is_already_exists(&error) => Ok(Taking::Held("another replica".to_owned())),
            Err(error) => Err(error),
        };
    };
    let version = there.metadata.resource_version.clone();
    if seen.as_ref().is_none_or(|(last, _)| *last != version) {
        *seen = Some((version, Instant::now()));
    }
    let unchanged = seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
    let spec = there.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.clone().unwrap_or_default();
    let promised = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    let is_former_self = holder.rsplit_once('_').is_some_and(|(pod, _)| pod == config.pod);
    if !holder.is_empty() && !is_former_self && unchanged < config.duration.max(Duration::from_secs(promised)) {
        return Ok(Taking::Held(holder));
    }
    let lease = Lease {
        spec: Some(held_by(config, identity, Some(&spec))),
        ..there
    };
    match api.replace(&config.name, &PostParams::default(), &lease).await {
        Ok(lease) => Ok(Taking::Taken(Box::new(held(lease, identity)?), sent)),
        Err(error) if is_conflict(&error) => Ok(Taking::Held("another replica".to_owned())),
        Err(error) => Err(error),
    }
}

/// A Lease as it was stored, if this replica holds it: an admission controller may have changed it.
fn held(stored: Lease, identity: &str) -> Result<Lease, kube::Error> {
    let holder = holder(&stored);
    if holder == Some(identity) {
        return Ok(stored);
    }
    let message =
        format!("it was stored with {holder:?} as its holder, not {identity:?}: an admission controller changes it");
    Err(kube::Error::Service(message.into()))
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// A spec with this replica as the holder from now on.
fn held_by(config: &LeaseConfig, identity: &str, before: Option<&LeaseSpec>) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        // Rounded up: other replicas wait no less than we do.
        lease_duration_seconds: i32::try_from(config.duration.as_millis().div_ceil(1000)).ok(),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(before.map_or(0, |before| before.lease_transitions.unwrap_or(0).saturating_add(1))),
        ..LeaseSpec::default()
    }
}

impl Leadership {
    /// Renews for as long as it can, and says why it cannot any more. May be dropped at any time.
    pub(crate) async fn keep(&mut self) -> Lost {
        let mut problem = "no answer".to_owned();
        loop {
            tokio::time::sleep(self.config.retry()).await;
            let left = self.config.deadline().saturating_sub(self.renewed.elapsed());
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(lost))) => return lost,
                Ok(Err(error)) => {
                    problem = message(&error);
                    let left = self.config.deadline().saturating_sub(self.renewed.elapsed());
                    tracing::warn!(
                        lease = self.config.name,
                        error = problem,
                        "the Lease was not renewed; trying again, for {left:.1?} at the most"
                    );
                }
                Err(_) => return Lost::NotRenewed(self.config.deadline(), problem),
            }
        }
    }

    async fn renew(&mut self) -> Result<Result<(), Lost>, kube::Error> {
        let sent = Instant::now();
        let mut lease = self.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.identity.clone());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match self
            .api
            .replace(&self.config.name, &PostParams::default(), &lease)
            .await
        {
            Ok(lease) => {
                self.lease = lease.clone();
                held(lease, &self.identity)?;
                self.renewed = sent;
                Ok(Ok(()))
            }
            // It was written meanwhile: by this replica, where a response was lost, by a person, or
            // by the next leader.
            Err(error) if is_conflict(&error) || is_not_found(&error) => {
                let Some(there) = self.api.get_opt(&self.config.name).await? else {
                    return Ok(Err(Lost::Deleted));
                };
                let spec = there.spec.clone().unwrap_or_default();
                let holder = spec.holder_identity.unwrap_or_default();
                if holder != self.identity {
                    return Ok(Err(Lost::Taken(holder)));
                }
                self.lease = there;
                Ok(Ok(()))
            }
            Err(error) => Err(error),
        }
    }

    /// Lets another lead at once, when the work has ended.
    pub(crate) async fn release(self) {
        let released = tokio::time::timeout(self.config.retry() * 2, self.give_back()).await;
        match released {
            Ok(Ok(())) => tracing::info!(lease = self.config.name, "no longer leading"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.config.name, %error, "the Lease was not released; it expires")
            }
            Err(_) => tracing::warn!(
                lease = self.config.name,
                "the Lease was not released in time; it expires"
            ),
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        // A renewal may have been cancelled after it was accepted.
        let Some(mut lease) = self.api.get_opt(&self.config.name).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(());
        }
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.api
            .replace(&self.config.name, &PostParams::default(), &lease)
            .await
            .map(drop)
    }
}
