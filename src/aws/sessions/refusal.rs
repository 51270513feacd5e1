//! Why there is no session, and when to try again.

use std::{
    fmt,
    time::{Duration, Instant},
};

use vpce_core::error::Class;

use super::{super::error::CallError, SessionKey};
use crate::backoff::{doubled, jitter};

/// Repeated tries are never further apart than this: a role that was corrected is in use within a
/// minute.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// STS not answering says nothing of the role, and passes: the first tries come sooner.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// Why a role has no session.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    /// STS refuses the role to us.
    #[error("AssumeRole of {role} was refused: {code}: {message}; {cause}")]
    Denied {
        /// The role's ARN.
        role: String,
        /// STS's code.
        code: String,
        /// What STS said.
        message: String,
        /// What that is about.
        cause: Cause,
        /// When it is worth to try again.
        retry_at: Instant,
    },
    /// The session is in another account than the role's ARN says: it is not used.
    #[error(
        "the session of {role} is in AWS account {actual} and not in {expected}: it is not used; \
         check what answers as STS"
    )]
    WrongAccount {
        /// The role's ARN.
        role: String,
        /// The account in the ARN.
        expected: String,
        /// The account that GetCallerIdentity named.
        actual: String,
        /// When it is worth to try again.
        retry_at: Instant,
    },
    /// STS was not reached, did not answer, or does not know the operator itself.
    #[error(
        "no session of {role}: {action} failed: {code}: {message}; this is about STS or the \
         operator's own AWS identity, not about the role, and is retried"
    )]
    Unavailable {
        /// The role's ARN.
        role: String,
        /// The API action that failed.
        action: &'static str,
        /// STS's code, or ours for what did not reach it.
        code: String,
        /// What is known of it.
        message: String,
        /// When it is worth to try again.
        retry_at: Instant,
    },
    /// The operator has no region, and so no STS to call.
    #[error(
        "no session of {role}: no AWS region is configured for STS; set settings.awsRegion of \
         its Helm chart, or AWS_REGION in its environment"
    )]
    NoRegion {
        /// The role's ARN.
        role: String,
        /// When it is worth to try again.
        retry_at: Instant,
    },
}

/// What a refusal of AssumeRole is about, as far as STS's code tells; its text says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The role, or its trust policy.
    Trust,
    /// Session tags: AWS counts those that the operator's own session passes on, too.
    SessionTags,
    /// What the AWSAccount asks for; its session tags may be part of that.
    Request {
        /// Whether session tags were sent.
        tagged: bool,
    },
}

impl Cause {
    fn of(error: &CallError, role: &SessionKey) -> Self {
        let tagged = !role.tags.is_empty();
        match error.code.as_str() {
            "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => Cause::SessionTags,
            // A key that is, as a transitive one, among the tags of the operator's own session.
            "InvalidParameterValue" if tagged => Cause::SessionTags,
            _ if error.class == Class::Invalid => Cause::Request { tagged },
            _ => Cause::Trust,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TAGS: &str = "spec.session_tags of the AWSAccount, which EKS Pod Identity adds six tags of its own to \
                            (eks-cluster-arn, eks-cluster-name, kubernetes-namespace, kubernetes-service-account, \
                            kubernetes-pod-name, kubernetes-pod-uid): use other keys, fewer or shorter ones, or make the Pod \
                            Identity association with --disable-session-tags";
        match self {
            Cause::Trust => f.write_str(
                "check that the role exists, and that its trust policy allows the operator's identity (with the \
                 external_id, if it requires one)",
            ),
            Cause::SessionTags => write!(f, "correct {TAGS}"),
            Cause::Request { tagged } => {
                f.write_str(
                    "correct the AWSAccount: role_arn, external_id, or session_duration_seconds, which may be \
                     no longer than the role allows",
                )?;
                if *tagged {
                    write!(f, "; or {TAGS}")?;
                }
                Ok(())
            }
        }
    }
}

impl Refusal {
    /// How long until asking again makes another try; zero if it does now.
    pub(crate) fn retry_after(&self) -> Duration {
        let (Refusal::Denied { retry_at, .. }
        | Refusal::WrongAccount { retry_at, .. }
        | Refusal::Unavailable { retry_at, .. }
        | Refusal::NoRegion { retry_at, .. }) = self;
        retry_at.saturating_duration_since(Instant::now())
    }
}

/// What went wrong in one try to open a session.
#[derive(Debug)]
pub(super) enum Failure {
    Call(CallError),
    WrongAccount { actual: String },
    Unusable { message: &'static str },
    NoRegion,
}

impl Failure {
    /// The refusal to remember, after this many failures in a row.
    pub(super) fn into_refusal(self, role: &SessionKey, failures: u32, refused_retry: Duration) -> Refusal {
        let arn = role.role_arn.to_string();
        let refused = || Instant::now() + retry_wait(refused_retry, failures);
        let unavailable = || Instant::now() + retry_wait(refused_retry.min(UNAVAILABLE_RETRY), failures);
        match self {
            Failure::Call(error) if is_about_the_role(&error) => Refusal::Denied {
                role: arn,
                cause: Cause::of(&error, role),
                code: error.code,
                message: error.message,
                retry_at: refused(),
            },
            Failure::Call(error) => Refusal::Unavailable {
                role: arn,
                action: error.action,
                code: error.code,
                message: error.message,
                retry_at: unavailable(),
            },
            Failure::WrongAccount { actual } => Refusal::WrongAccount {
                role: arn,
                expected: role.role_arn.account().to_string(),
                actual,
                retry_at: refused(),
            },
            Failure::Unusable { message } => Refusal::Unavailable {
                role: arn,
                action: super::sts::ASSUME_ROLE,
                code: "UnusableSession".to_owned(),
                message: message.to_owned(),
                retry_at: unavailable(),
            },
            Failure::NoRegion => Refusal::NoRegion {
                role: arn,
                retry_at: refused(),
            },
        }
    }
}

/// Whether STS refused this role, rather than the operator itself or everyone.
fn is_about_the_role(error: &CallError) -> bool {
    match error.class {
        Class::Transient | Class::Throttled => false,
        // `AccessDenied` is what a trust policy says; the other denials are about the keys that the
        // call was signed with.
        Class::Denied => error.code.starts_with("AccessDenied"),
        Class::Invalid => error.code != "Unsendable",
        Class::NotFound | Class::Conflict | Class::Quota | Class::Unknown => true,
    }
}

/// How long to wait after so many failures in a row.
pub(super) fn retry_wait(first: Duration, failures: u32) -> Duration {
    jitter(doubled(first, failures).min(LONGEST_RETRY.max(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_role_is_tried_at_most_four_times_in_any_minute_and_at_least_once() {
        let first = super::super::Settings::default().refused_retry;
        for _ in 0..100 {
            let mut tries = vec![Duration::ZERO];
            for failures in 1..10 {
                let last = tries[tries.len() - 1];
                let wait = retry_wait(first, failures);
                assert!(wait <= Duration::from_secs(60), "{wait:?}");
                tries.push(last + wait);
            }
            for start in &tries {
                let minute = *start..*start + Duration::from_secs(60);
                let calls = tries.iter().filter(|time| minute.contains(*time)).count();
                assert!(calls <= 4, "{calls}: {tries:?}");
            }
        }
    }
}
