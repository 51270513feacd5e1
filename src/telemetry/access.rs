//! Who may read /metrics: whom the API server knows by their bearer token (TokenReview), and lets
//! get `/metrics` (SubjectAccessReview). It is what controller-runtime's
//! `WithAuthenticationAndAuthorization` does, so the same ClusterRoles serve.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use moka::future::Cache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// An allowed client is reviewed again after this: so long a permission that was removed stays.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
/// A refused client is reviewed again after this.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// So many answers are remembered, of each sort: made-up tokens push no good one out.
const REMEMBERED: u64 = 256;
/// So many tokens are asked about at once: made-up ones cost the API server no more than this.
const ASKED_AT_ONCE: usize = 2;
/// An answer that takes longer is none; waiting in the queue counts.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// That the API server cannot be asked is logged this often.
const LOGGED_EVERY: Duration = Duration::from_secs(60);
/// What is asked for.
const PATH: &str = "/metrics";

/// Why a client may not read the metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no bearer token.
    #[error(
        "no bearer token: send the token of a ServiceAccount that is bound to the operator's ClusterRole for reading metrics"
    )]
    NoToken,
    /// The API server does not know the token, or it has expired.
    #[error("the API server does not accept this token")]
    Unauthenticated,
    /// The API server authenticates it, and does not authorize it.
    #[error("{0} may not get {PATH}: bind it to the operator's ClusterRole for reading metrics")]
    Forbidden(String),
    /// The API server was not asked, or did not answer.
    #[error("the API server could not authorize this token to get {PATH}; see the operator's log")]
    Unavailable,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoToken | Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, [(header::WWW_AUTHENTICATE, "Bearer")], format!("{self}\n")).into_response()
    }
}

/// A token as the caches know it: the token itself is not kept in memory.
type Fingerprint = [u8; 32];

/// Asks the API server, and remembers its answers for a while.
pub(crate) struct Access {
    client: Client,
    allowed: Cache<Fingerprint, ()>,
    refused: Cache<Fingerprint, Refusal>,
    asking: Semaphore,
    logged: Mutex<Option<Instant>>,
}

impl Access {
    /// Asks through this client, whose own identity has to be allowed to create both reviews.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            allowed: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(ALLOWED_FOR)
                .build(),
            refused: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(REFUSED_FOR)
                .build(),
            asking: Semaphore::new(ASKED_AT_ONCE),
            logged: Mutex::default(),
        }
    }

    /// Whether a request with these headers may have the metrics.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = bearer_token(headers).ok_or(Refusal::NoToken)?;
        let fingerprint: Fingerprint = Sha256::digest(token).into();
        if let Some(known) = self.known(&fingerprint).await {
            return known;
        }
        let asked = async {
            let _turn = self.asking.acquire().await;
            // The same may have been asked while this waited.
            match self.known(&fingerprint).await {
                Some(known) => Ok(known),
                None => self.ask(token).await,
            }
        };
        let answer = match tokio::time::timeout(ANSWERED_WITHIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.unavailable(&error.to_string())),
            Err(_) => return Err(self.unavailable("no answer in time")),
        };
        match &answer {
            Ok(()) => self.allowed.insert(fingerprint, ()).await,
            Err(refusal) => self.refused.insert(fingerprint, refusal.clone()).await,
        }
        answer
    }

    async fn known(&self, fingerprint: &Fingerprint) -> Option<Result<(), Refusal>> {
        if self.allowed.get(fingerprint).await.is_some() {
            return Some(Ok(()));
        }
        self.refused.get(fingerprint).await.map(Err)
    }

    async fn ask(&self, token: &str) -> Result<Result<(), Refusal>, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await?;
        let status = reviewed.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Err(Refusal::Unauthenticated));
        };
        let UserInfo {
            username,
            groups,
            uid,
            extra,
        } = user;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username.clone(),
                groups,
                uid,
                extra,
                non_resource_attributes: Some(NonResourceAttributes {
                    path: Some(PATH.to_owned()),
                    verb: Some("get".to_owned()),
                }),
                resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await?;
        if reviewed.status.is_some_and(|status| status.allowed) {
            Ok(Ok(()))
        } else {
            Ok(Err(Refusal::Forbidden(username.unwrap_or_default())))
        }
    }

    fn unavailable(&self, why: &str) -> Refusal {
        let mut logged = self.logged.lock();
        if logged.is_none_or(|at| at.elapsed() > LOGGED_EVERY) {
            *logged = Some(Instant::now());
            tracing::warn!(
                error = why,
                "the API server could not authorize a request for the metrics (tokenreviews, subjectaccessreviews)"
            );
        }
        Refusal::Unavailable
    }
}

/// The token of `Authorization: Bearer`.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_bearer_token_is_one() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("abc", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer_token(&headers), expected, "{value:?}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }
}
