//! One open session: its credentials, and the task that renews it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_types::SdkConfig;
use parking_lot::RwLock;
use tokio::{sync::Semaphore, task::AbortHandle};
use vpce_core::ids::AccountId;

use super::{
    Refusal, SessionKey,
    refusal::retry_wait,
    sts::{Opened, Sts},
};

/// A session is renewed at the latest this long before it expires ...
const RENEWED_BEFORE: Duration = Duration::from_secs(600);

/// ... or, if it is short, when this share of it is left.
const RENEWED_AT_SHARE: f64 = 0.5;

/// Up to this share of that time is added or not, at random, so that sessions that were opened
/// together are not renewed together. What is left is always more than the five minutes at which
/// an alert is raised, for the shortest session too.
const JITTER: f64 = 0.2;

/// A session with less left than this is of no use: the call it signs has to arrive before it ends.
const LEAST_LEFT: Duration = Duration::from_secs(2);

/// The longest single sleep of a renewal: timers stand still while a machine is suspended, and the
/// expiry of a session does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A session in one AWS account, for as long as it can be renewed.
pub(crate) struct Session {
    role: SessionKey,
    credentials: Arc<CurrentCredentials>,
    sts: Arc<Sts>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(role: SessionKey, opened: Opened, sts: &Arc<Sts>) -> Self {
        let credentials = Arc::new(CurrentCredentials {
            role: role.role_arn.to_string(),
            current: RwLock::new(Current {
                opened,
                since: SystemTime::now(),
                renewal_error: None,
            }),
        });
        Session {
            role,
            credentials,
            sts: sts.clone(),
        }
    }

    /// The account that GetCallerIdentity confirmed.
    pub(crate) fn account_id(&self) -> &AccountId {
        self.role.role_arn.account()
    }

    /// The role that was assumed.
    pub(crate) fn role(&self) -> &SessionKey {
        &self.role
    }

    /// A client for this region, which always signs with the session's current credentials. Clones
    /// are cheap and share everything.
    pub(crate) fn ec2(&self, region: &str) -> aws_sdk_ec2::Client {
        let client = || aws_sdk_ec2::Client::new(&self.config(region));
        self.sts.ec2.get_with(self.key(region), client)
    }

    /// Likewise a client of Elastic Load Balancing.
    pub(crate) fn elb(&self, region: &str) -> aws_sdk_elasticloadbalancingv2::Client {
        let client = || aws_sdk_elasticloadbalancingv2::Client::new(&self.config(region));
        self.sts.elb.get_with(self.key(region), client)
    }

    fn config(&self, region: &str) -> SdkConfig {
        let signer = SharedCredentialsProvider::new(Signer(self.credentials.clone()));
        self.sts.regional_config(signer, region)
    }

    /// A client keeps the credentials: no others come to be at their address meanwhile.
    fn key(&self, region: &str) -> (usize, String) {
        (Arc::as_ptr(&self.credentials) as usize, region.to_owned())
    }

    /// When the current credentials expire.
    pub(crate) fn expires_at(&self) -> SystemTime {
        self.credentials.read(|current| current.opened.expires)
    }

    /// Whether STS gave a shorter session than was asked for, since the operator's own identity is
    /// an assumed role.
    pub(crate) fn is_clamped(&self) -> bool {
        self.credentials.read(|current| current.opened.clamped)
    }

    /// Why the last try to renew the session failed, while it still lives.
    #[cfg(test)]
    pub(super) fn renewal_error(&self) -> Option<Refusal> {
        self.credentials.read(|current| current.renewal_error.clone())
    }

    pub(super) fn is_usable(&self) -> bool {
        self.credentials.is_usable()
    }
}

/// The credentials of a session, replaced when it is renewed.
struct CurrentCredentials {
    role: String,
    current: RwLock<Current>,
}

struct Current {
    opened: Opened,
    since: SystemTime,
    renewal_error: Option<Refusal>,
}

impl CurrentCredentials {
    fn read<T>(&self, read: impl FnOnce(&Current) -> T) -> T {
        read(&self.current.read())
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        change(&mut self.current.write());
    }

    fn is_usable(&self) -> bool {
        self.read(|current| SystemTime::now() + LEAST_LEFT < current.opened.expires)
    }

    /// When to renew: well before the end, at random within a span.
    fn renewal_time(&self) -> SystemTime {
        self.read(|current| {
            let expires = current.opened.expires;
            let lifetime = expires.duration_since(current.since).unwrap_or_default();
            let before = RENEWED_BEFORE.min(lifetime.mul_f64(RENEWED_AT_SHARE));
            expires - before.mul_f64(1.0 - JITTER * fastrand::f64())
        })
    }
}

/// Signs with the credentials that a session has at the moment. The SDK's cache of identities is
/// off over this: it holds 64 and then throws out any.
struct Signer(Arc<CurrentCredentials>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.0.role).finish()
    }
}

impl ProvideCredentials for Signer {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.0.read(credentials_of))
    }
}

fn credentials_of(current: &Current) -> Result<Credentials, CredentialsError> {
    if SystemTime::now() < current.opened.expires {
        return Ok(current.opened.credentials.clone());
    }
    let why = match &current.renewal_error {
        Some(refusal) => format!("the session expired and could not be renewed: {refusal}"),
        None => "the session expired before it was renewed".to_owned(),
    };
    Err(CredentialsError::provider_error(why))
}

/// A session and the task that renews it, which ends when this is dropped.
pub(super) struct Renewal {
    session: Arc<Session>,
    task: AbortHandle,
}

impl Renewal {
    pub(super) fn start(
        session: Arc<Session>,
        sts: Arc<Sts>,
        renewals: Arc<Semaphore>,
        refused_retry: Duration,
    ) -> Self {
        let role = session.role.clone();
        let credentials = session.credentials.clone();
        let task = tokio::spawn(renew(role, credentials, sts, renewals, refused_retry)).abort_handle();
        Renewal { session, task }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Ends the task now: the cache may hold on to what was taken out of it for a while.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Renews until the session has expired, which only happens where STS refuses to renew it; then it
/// is for the pool to open another.
async fn renew(
    role: SessionKey,
    credentials: Arc<CurrentCredentials>,
    sts: Arc<Sts>,
    renewals: Arc<Semaphore>,
    refused_retry: Duration,
) {
    let mut failures = 0;
    sleep_until(credentials.renewal_time()).await;
    while credentials.is_usable() {
        let answer = {
            let Ok(_permit) = renewals.acquire().await else {
                return;
            };
            // Boxed, or each session would keep room for the calls while it waits.
            Box::pin(sts.open(&role)).await
        };
        match answer {
            Ok(opened) => {
                failures = 0;
                credentials.change(|current| {
                    *current = Current {
                        opened,
                        since: SystemTime::now(),
                        renewal_error: None,
                    };
                });
                tracing::info!(
                    role = role.role_arn.as_str(),
                    account_id = role.role_arn.account().as_str(),
                    "renewed a session"
                );
                sleep_until(credentials.renewal_time()).await;
            }
            Err(failure) => {
                failures += 1;
                let refusal = failure.into_refusal(&role, failures, refused_retry);
                tracing::warn!(
                    role = role.role_arn.as_str(),
                    account_id = role.role_arn.account().as_str(),
                    error = %refusal,
                    "could not renew a session"
                );
                credentials.change(|current| current.renewal_error = Some(refusal));
                tokio::time::sleep(retry_wait(refused_retry, failures)).await;
            }
        }
    }
}

async fn sleep_until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}
