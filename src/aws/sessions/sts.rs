//! Opening a session: AssumeRole, then GetCallerIdentity to know where it leads.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sts::{
    Client,
    config::{BehaviorVersion, IdentityCache},
    types::Tag,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{SdkConfig, region::Region};
use moka::sync::Cache;
use tokio::sync::OnceCell;

use super::{
    super::{
        error::CallError,
        http,
        observer::{Call, Observer, observed},
    },
    SessionKey,
    refusal::Failure,
};

pub(super) const ASSUME_ROLE: &str = "AssumeRole";
const GET_CALLER_IDENTITY: &str = "GetCallerIdentity";

/// The longest session that STS gives to an identity that is itself an assumed role, as the
/// operator's always is with IRSA and Pod Identity.
const LONGEST_CHAINED_SECONDS: u32 = 3600;

/// STS answers in a fraction of a second; its calls have to end well before a reconcile does.
const STS_TIMEOUT: Duration = Duration::from_secs(8);

/// EC2's slower calls, like CreateVpcEndpoint, take seconds; those of other services do not.
const REGIONAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What an operation may take besides its one attempt: signing, and fetching what to sign with.
const BESIDES: Duration = Duration::from_secs(4);

/// So many clients of a service are kept: users can name any number of regions that do not exist.
const MOST_CLIENTS: u64 = 1000;

/// One that was not used for this long is dropped: after a few polls in which nothing was pending.
const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A session as STS gave it, known to be in the right account.
pub(super) struct Opened {
    pub(super) credentials: Credentials,
    pub(super) expires: SystemTime,
    pub(super) clamped: bool,
}

/// STS, called as the operator's own identity.
pub(super) struct Sts {
    client: Client,
    config: SdkConfig,
    region: String,
    observer: Observer,
    /// Whether STS has said that our own identity is an assumed role.
    chained: AtomicBool,
    /// Our own identity's ARN, once STS has said it.
    own_arn: OnceCell<String>,
    /// EC2 clients by their credentials' address and region. Each takes tens of kilobytes, and one
    /// of an account at rest is used twice in a resync interval.
    pub(super) ec2: Cache<(usize, String), aws_sdk_ec2::Client>,
    /// Likewise of Elastic Load Balancing.
    pub(super) elb: Cache<(usize, String), aws_sdk_elasticloadbalancingv2::Client>,
}

impl Sts {
    pub(super) fn new(base: &SdkConfig, observer: Observer) -> Self {
        let config = base
            .to_builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(base.http_client().unwrap_or_else(http::client))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(STS_TIMEOUT))
            .build();
        Sts {
            client: Client::new(&config),
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            config,
            observer,
            chained: AtomicBool::new(false),
            own_arn: OnceCell::new(),
            ec2: clients(),
            elb: clients(),
        }
    }

    /// The ARN of the operator's own identity, unless STS does not return it; asked on behalf of a
    /// role.
    pub(super) async fn own_arn(&self, role: &SessionKey) -> Option<&str> {
        let ask = || async {
            let request = self.client.get_caller_identity().send();
            let answer = observed(&self.observer, self.call(role, GET_CALLER_IDENTITY), request).await;
            answer.ok().and_then(|answer| answer.arn).ok_or(())
        };
        self.own_arn.get_or_try_init(ask).await.ok().map(String::as_str)
    }

    /// What a client with these credentials is made with, in a region.
    pub(super) fn regional_config(&self, credentials: SharedCredentialsProvider, region: &str) -> SdkConfig {
        self.config
            .to_builder()
            .timeout_config(timeouts(REGIONAL_TIMEOUT))
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            .region(Region::new(region.to_owned()))
            .build()
    }

    /// Assumes the role and checks where that leads.
    pub(super) async fn open(&self, role: &SessionKey) -> Result<Opened, Failure> {
        // The SDK would say that it is missing a "signing region".
        if self.region.is_empty() {
            return Err(Failure::NoRegion);
        }
        let opened = self.assume(role).await?;
        if opened.expires <= SystemTime::now() {
            return Err(Failure::Unusable {
                message: "STS gave a session that has expired already; the operator's clock is ahead of that of AWS",
            });
        }
        let actual = self.caller(role, opened.credentials.clone()).await?;
        if actual != role.role_arn.account().as_str() {
            return Err(Failure::WrongAccount { actual });
        }
        Ok(opened)
    }

    /// Assumes the role for as long as it says, or as long as STS lets a chained role have it.
    async fn assume(&self, role: &SessionKey) -> Result<Opened, Failure> {
        let is_long = role.duration_seconds > LONGEST_CHAINED_SECONDS;
        if is_long && !self.chained.load(Ordering::Relaxed) {
            match self.assume_for(role, role.duration_seconds).await {
                Err(Failure::Call(error)) if is_chaining_limit(&error) => {
                    tracing::warn!("the operator's identity is an assumed role: its sessions last an hour at most");
                    self.chained.store(true, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
        let opened = self
            .assume_for(role, role.duration_seconds.min(LONGEST_CHAINED_SECONDS))
            .await?;
        Ok(Opened {
            clamped: is_long,
            ..opened
        })
    }

    async fn assume_for(&self, role: &SessionKey, seconds: u32) -> Result<Opened, Failure> {
        let request = self
            .client
            .assume_role()
            .role_arn(role.role_arn.as_str())
            .role_session_name(&role.session_name)
            .set_external_id(role.external_id.clone())
            .set_tags(session_tags(role))
            .set_source_identity(role.source_identity.clone())
            .duration_seconds(i32::try_from(seconds).unwrap_or(i32::MAX));
        let answer = observed(&self.observer, self.call(role, ASSUME_ROLE), request.send())
            .await
            .map_err(Failure::Call)?;
        let unusable = Failure::Unusable {
            message: "STS answered without credentials",
        };
        let Some(given) = answer.credentials() else {
            return Err(unusable);
        };
        let Ok(expires) = SystemTime::try_from(*given.expiration()) else {
            return Err(unusable);
        };
        let credentials = Credentials::new(
            given.access_key_id(),
            given.secret_access_key(),
            Some(given.session_token().to_owned()),
            Some(expires),
            "AssumeRole",
        );
        Ok(Opened {
            credentials,
            expires,
            clamped: false,
        })
    }

    /// The account that these credentials are in.
    async fn caller(&self, role: &SessionKey, credentials: Credentials) -> Result<String, Failure> {
        let config = self
            .config
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .identity_cache(IdentityCache::no_cache())
            .build();
        let answer = observed(
            &self.observer,
            self.call(role, GET_CALLER_IDENTITY),
            Client::new(&config).get_caller_identity().send(),
        )
        .await
        .map_err(Failure::Call)?;
        Ok(answer.account().unwrap_or("unknown").to_owned())
    }

    fn call<'a>(&'a self, role: &'a SessionKey, action: &'static str) -> Call<'a> {
        Call {
            account_id: role.role_arn.account().as_str(),
            region: &self.region,
            service: "sts",
            action,
        }
    }
}

/// "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role
/// chaining": the same code as for any other wrong value.
fn is_chaining_limit(error: &CallError) -> bool {
    error.code == "ValidationError" && error.message.contains("role chaining")
}

/// The clients of a service, none yet.
fn clients<T: Clone + Send + Sync + 'static>() -> Cache<(usize, String), T> {
    let clients = Cache::builder().max_capacity(MOST_CLIENTS);
    clients.time_to_idle(CLIENT_IDLE_TIMEOUT).build()
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt + BESIDES)
        .build()
}

/// None where there are none: STS asks for `sts:TagSession` only where tags are sent.
fn session_tags(role: &SessionKey) -> Option<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build().ok();
    Some(role.tags.iter().filter_map(tag).collect()).filter(|tags: &Vec<Tag>| !tags.is_empty())
}
