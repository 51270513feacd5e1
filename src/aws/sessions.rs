//! The pool of STS sessions: one for each role, opened once however many ask, renewed in time.
//!
//! A role that STS refuses is remembered as refused for a while, so that no number of endpoints
//! can flood STS with it.

mod refusal;
mod session;
mod sts;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aws_types::SdkConfig;
use moka::{
    Expiry,
    future::Cache,
    ops::compute::{CompResult, Op},
};
use tokio::sync::Semaphore;
use vpce_core::ids::RoleArn;

pub(crate) use self::{
    refusal::{Cause, Refusal},
    session::Session,
};
use self::{session::Renewal, sts::Sts};
use super::observer::Observer;

/// A session that was not asked for in this long is dropped. Accounts are probed every hour, so it
/// is one whose AWSAccount is gone or says something else by now.
const UNUSED: Duration = Duration::from_secs(3 * 3600);

/// How long a refusal is kept after it could have been tried again, for the next one to know that
/// it is not the first.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How many sessions are renewed at once: a thousand accounts that were registered together should
/// not come to STS together every hour.
const RENEWALS_AT_ONCE: usize = 4;

/// Everything that makes one session different from another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    /// The role, in whose account the session has to turn out to be.
    pub(crate) role_arn: RoleArn,
    /// Sent with AssumeRole.
    pub(crate) external_id: Option<String>,
    /// How long a session is asked for. STS gives chained sessions an hour at most.
    pub(crate) duration_seconds: u32,
    /// What CloudTrail shows as the session's name.
    pub(crate) session_name: String,
    /// Tags of the session, for the policies of the other account.
    pub(crate) tags: BTreeMap<String, String>,
    /// What CloudTrail shows as the source identity, where the role's trust policy lets us set it.
    pub(crate) source_identity: Option<String>,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the external id: AWS calls it no secret, but those who agree on one may.
        f.debug_struct("SessionKey")
            .field("arn", &self.role_arn.as_str())
            .field("session_name", &self.session_name)
            .field("duration_seconds", &self.duration_seconds)
            .finish_non_exhaustive()
    }
}

/// What a person may set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How long a first refusal of a role is remembered; repeated ones twice as long each, up to a
    /// minute.
    pub(crate) refused_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            refused_retry: Duration::from_secs(30),
        }
    }
}

/// The pool. Clones share it; when the last goes, its sessions are no longer renewed.
#[derive(Clone)]
pub(crate) struct Sessions {
    entries: Cache<SessionKey, Entry>,
    sts: Arc<Sts>,
    renewals: Arc<Semaphore>,
    settings: Settings,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("entries", &self.entries.entry_count())
            .finish_non_exhaustive()
    }
}

/// What the pool knows of a role.
#[derive(Clone)]
enum Entry {
    Open(Arc<Renewal>),
    Refused { refusal: Refusal, failures: u32 },
}

impl Entry {
    /// Whether this is still valid.
    fn is_fresh(&self) -> bool {
        match self {
            Entry::Open(renewal) => renewal.session().is_usable(),
            Entry::Refused { refusal, .. } => !refusal.retry_after().is_zero(),
        }
    }

    fn answer(self) -> Result<Arc<Session>, Refusal> {
        match self {
            Entry::Open(renewal) => Ok(renewal.session().clone()),
            Entry::Refused { refusal, .. } => Err(refusal),
        }
    }
}

/// When the pool forgets an entry by itself.
struct Lifetime;

impl Lifetime {
    fn of(entry: &Entry) -> Duration {
        match entry {
            Entry::Open(_) => UNUSED,
            Entry::Refused { refusal, .. } => refusal.retry_after() + REMEMBERED,
        }
    }
}

impl Expiry<SessionKey, Entry> for Lifetime {
    fn expire_after_create(&self, _: &SessionKey, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(Self::of(entry))
    }

    fn expire_after_update(&self, _: &SessionKey, entry: &Entry, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(Self::of(entry))
    }

    fn expire_after_read(
        &self,
        _: &SessionKey,
        entry: &Entry,
        _: Instant,
        left: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        match entry {
            Entry::Open(_) => Some(UNUSED),
            Entry::Refused { .. } => left,
        }
    }
}

impl Sessions {
    /// A pool that assumes roles as the identity of `base`, in its region. Every call to STS is
    /// passed to `observer`.
    pub(crate) fn new(base: &SdkConfig, settings: Settings, observer: Observer) -> Self {
        Sessions {
            entries: Cache::builder().expire_after(Lifetime).build(),
            sts: Arc::new(Sts::new(base, observer)),
            renewals: Arc::new(Semaphore::new(RENEWALS_AT_ONCE)),
            settings,
        }
    }

    /// The session of this role, opened if need be; or why there is none, which may be remembered
    /// from an earlier try.
    ///
    /// # Errors
    /// What STS said, with the time after which asking makes another try.
    pub(crate) async fn get(&self, role: &SessionKey) -> Result<Arc<Session>, Refusal> {
        if let Some(entry) = self.entries.get(role).await
            && entry.is_fresh()
        {
            return entry.answer();
        }
        let result = self
            .entries
            .entry_by_ref(role)
            .and_compute_with(|known| async {
                // Callers that waited for another's try find its result here.
                let known = known.map(moka::Entry::into_value);
                match known {
                    Some(entry) if entry.is_fresh() => Op::Nop,
                    known => Op::Put(self.open(role, known).await),
                }
            })
            .await;
        match result {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry)
            | CompResult::Removed(entry) => entry.into_value().answer(),
            CompResult::StillNone(_) => unreachable!("an entry is put, or was found fresh"),
        }
    }

    /// Why the role was refused, if it was and STS is not to be asked again yet.
    pub(crate) async fn refusal(&self, role: &SessionKey) -> Option<Refusal> {
        let entry = self.entries.get(role).await.filter(Entry::is_fresh)?;
        entry.answer().err()
    }

    /// The ARN of the operator's own identity, unless STS does not return it. STS is asked until it
    /// has answered once; the call counts for the account of this role.
    pub(crate) async fn own_arn(&self, role: &SessionKey) -> Option<&str> {
        self.sts.own_arn(role).await
    }

    /// When the session of each role expires that has one.
    pub(crate) fn expirations(&self) -> HashMap<Arc<SessionKey>, SystemTime> {
        let expiration = |(role, entry)| match entry {
            Entry::Open(renewal) => Some((role, renewal.session().expires_at())),
            Entry::Refused { .. } => None,
        };
        self.entries.iter().filter_map(expiration).collect()
    }

    /// Forgets what is known of this role: the next to ask opens a new session.
    pub(crate) async fn forget(&self, role: &SessionKey) {
        if let Some(Entry::Open(renewal)) = self.entries.remove(role).await {
            renewal.stop();
        }
    }

    async fn open(&self, role: &SessionKey, known: Option<Entry>) -> Entry {
        let failures = match known {
            Some(Entry::Refused { failures, .. }) => failures,
            Some(Entry::Open(renewal)) => {
                renewal.stop();
                0
            }
            None => 0,
        };
        match self.sts.open(role).await {
            Ok(opened) => {
                tracing::info!(
                    role = role.role_arn.as_str(),
                    account_id = role.role_arn.account().as_str(),
                    "opened a session"
                );
                let session = Arc::new(Session::new(role.clone(), opened, &self.sts));
                Entry::Open(Arc::new(Renewal::start(
                    session,
                    self.sts.clone(),
                    self.renewals.clone(),
                    self.settings.refused_retry,
                )))
            }
            Err(failure) => {
                let failures = failures.saturating_add(1);
                let refusal = failure.into_refusal(role, failures, self.settings.refused_retry);
                tracing::warn!(
                    role = role.role_arn.as_str(),
                    account_id = role.role_arn.account().as_str(),
                    error = %refusal,
                    "could not open a session"
                );
                Entry::Refused { refusal, failures }
            }
        }
    }
}

#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod fake_sts;
#[cfg(test)]
mod tests;
