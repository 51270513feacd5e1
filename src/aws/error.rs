//! An AWS call that failed: the SDK's error, as the rest of the operator wants to know it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use vpce_core::error::{Class, classify};

/// No answer within the time allowed.
const TIMEOUT: &str = "Timeout";
/// AWS's address was not found, or did not answer: nothing was sent.
const UNREACHABLE: &str = "Unreachable";
/// The connection broke before the answer came.
const CONNECTION_LOST: &str = "ConnectionLost";
/// There were no credentials to sign the call with.
const CREDENTIALS: &str = "Credentials";
/// The SDK refused to send the call.
const UNSENDABLE: &str = "Unsendable";
/// The answer could not be read.
const UNREADABLE: &str = "UnreadableAnswer";

/// Longer messages are cut: they go into conditions, which people read in a terminal.
const LONGEST_MESSAGE: usize = 800;

/// An AWS call that failed.
///
/// Its text is for people and goes into conditions: it stays the same for as long as the reason
/// does, so it has no request id and no time in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {code}{}{message}", if message.is_empty() { "" } else { ": " })]
pub(crate) struct CallError {
    /// The API action, as in `CreateVpcEndpoint`.
    pub(crate) action: &'static str,
    /// What to do about it.
    pub(crate) class: Class,
    /// AWS's code, or a word of ours where no answer came: `Timeout`, `Unreachable`,
    /// `ConnectionLost`, `Credentials`, `Unsendable`, `UnreadableAnswer`.
    pub(crate) code: String,
    /// What AWS said, without what changes from call to call.
    pub(crate) message: String,
    /// For the log and for AWS's support.
    pub(crate) request_id: Option<String>,
    outcome_unknown: bool,
    from_between: bool,
}

impl CallError {
    /// One item of a batch that AWS refused, in a call that itself went well.
    pub(crate) fn of_item(action: &'static str, code: &str, message: &str) -> Self {
        CallError {
            action,
            // In a call of its own it would have been a 400.
            class: classify(code, Some(400)),
            code: code.to_owned(),
            message: steady(code, message),
            request_id: None,
            outcome_unknown: false,
            from_between: false,
        }
    }

    /// Whether something between the operator and AWS answered in AWS's place, such as a proxy.
    pub(crate) fn is_from_between(&self) -> bool {
        self.from_between
    }

    /// Whether AWS may have carried the call out all the same: the answer was lost, or AWS failed
    /// half-way. What a mutating call was to change has to be read before anything else is done.
    pub(crate) fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// Whether no answer came from AWS, or none will before there is another session: the next call
    /// would fare no better.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self.code.as_str(), TIMEOUT | UNREACHABLE | CONNECTION_LOST) || self.is_expired_session()
    }

    /// Whether AWS said that the credentials of the call are no longer any good, so that a new
    /// session is worth a try.
    pub(crate) fn is_expired_session(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | CREDENTIALS
        )
    }
}

/// What the SDK's error of this action means.
pub(crate) fn from_sdk<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let failed = |class, code: &str, message: String, outcome_unknown| CallError {
        action,
        class,
        code: code.to_owned(),
        message: steady(code, &message),
        request_id: error.request_id().map(str::to_owned),
        outcome_unknown,
        from_between: false,
    };
    if let Some(credentials) = find::<CredentialsError>(&error) {
        // Whatever the SDK wraps it in, the call was never signed and so never sent. The reason is
        // often a call to STS of its own.
        let (class, code) = sts_code(credentials).map_or_else(
            || (Class::Transient, CREDENTIALS.to_owned()),
            |code| (classify(&code, None), code),
        );
        return failed(class, &code, root(credentials), false);
    }
    match &error {
        SdkError::ServiceError(refusal) => {
            let status = refusal.raw().status().as_u16();
            let message = refusal.err().message().unwrap_or_default().to_owned();
            match refusal.err().code() {
                // AWS gives each answer a code or a request id. A page with neither comes from a
                // proxy or a firewall on the way.
                None if error.request_id().is_none() => between(failed, status),
                code => {
                    let code = code.map_or_else(|| format!("HTTP{status}"), str::to_owned);
                    let class = classify(&code, Some(status));
                    failed(class, &code, message, class == Class::Transient && status >= 500)
                }
            }
        }
        SdkError::TimeoutError(_) => failed(Class::Transient, TIMEOUT, root(&error), true),
        SdkError::DispatchFailure(failure) => {
            let code = if never_connected(&error) {
                UNREACHABLE
            } else if failure.is_timeout() {
                TIMEOUT
            } else {
                CONNECTION_LOST
            };
            failed(Class::Transient, code, root(&error), code != UNREACHABLE)
        }
        SdkError::ConstructionFailure(_) => failed(Class::Invalid, UNSENDABLE, root(&error), false),
        _ => failed(Class::Transient, UNREADABLE, root(&error), true),
    }
}

/// An answer that AWS did not give: nothing was refused, and whether AWS got the call is not known.
fn between(failed: impl Fn(Class, &str, String, bool) -> CallError, status: u16) -> CallError {
    let message = format!(
        "something between the operator and AWS answered {status} in place of AWS, such as a proxy or a firewall"
    );
    CallError {
        from_between: true,
        ..failed(Class::Transient, &format!("HTTP{status}"), message, true)
    }
}

/// The errors below this one, from the outermost to the first cause.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The words of the first cause.
fn root(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map_or_else(String::new, |cause| cause.to_string())
}

/// The code of the STS call by which the credentials were to be had.
fn sts_code(error: &(dyn Error + 'static)) -> Option<String> {
    chain(error).find_map(|error| {
        let assumed = error.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::meta);
        let by_token = error
            .downcast_ref::<AssumeRoleWithWebIdentityError>()
            .map(ProvideErrorMetadata::meta);
        Some(assumed.or(by_token)?.code()?.to_owned())
    })
}

/// Whether the call failed before it could be sent.
///
/// The SDK keeps this to itself, but for the words of the HTTP client's error. Should those change,
/// the outcome counts as unknown, which costs a read.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.to_string() == "client error (Connect)")
}

/// The message without what differs from call to call, so that a condition made of it is written
/// once and not at every attempt, and without what is secret.
fn steady(code: &str, message: &str) -> String {
    match code {
        // "Signature expired: ... is now earlier than ..." of a clock that is behind, "Signature
        // not yet current: ... is still later than ..." of one that is ahead; both have times in
        // them.
        "RequestExpired" | "SignatureDoesNotMatch"
            if message.contains("expired") || message.contains("not yet current") =>
        {
            return "the operator's clock and that of AWS differ by minutes; set the node's clock".to_owned();
        }
        // AWS shows the request that it would have signed, in which there is the session's token.
        "SignatureDoesNotMatch" => {
            return "AWS calculates another signature: the secret key is wrong, or something between the operator and \
                AWS changes requests"
                .to_owned();
        }
        _ => {}
    }
    let message = message
        .split("Encoded authorization failure message")
        .next()
        .unwrap_or_default()
        .trim();
    let message = message.strip_suffix('.').unwrap_or(message);
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_ec2::operation::create_vpc_endpoint::CreateVpcEndpointError;
    use aws_smithy_runtime_api::{client::result::ConnectorError, http::StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    const ACTION: &str = "CreateVpcEndpoint";

    fn answer(status: u16) -> HttpResponse {
        let status = StatusCode::try_from(status).expect("a status");
        let mut answer = HttpResponse::new(status, SdkBody::empty());
        answer.headers_mut().insert("x-amzn-requestid", "req-1");
        answer
    }

    fn refused(status: u16, code: Option<&str>, message: &str) -> CallError {
        let mut meta = ErrorMetadata::builder().message(message);
        if let Some(code) = code {
            meta = meta.code(code);
        }
        let error = CreateVpcEndpointError::generic(meta.build());
        from_sdk(ACTION, SdkError::service_error(error, answer(status)))
    }

    fn client(url: &str) -> aws_sdk_ec2::Client {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(aws_sdk_ec2::config::BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::new("eu-west-1"))
            .endpoint_url(url)
            .credentials_provider(aws_credential_types::Credentials::new(
                "id", "secret", None, None, "test",
            ))
            .http_client(crate::aws::http::client())
            .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
            .build();
        aws_sdk_ec2::Client::from_conf(config)
    }

    fn undelivered(error: SdkError<CreateVpcEndpointError, HttpResponse>) -> CallError {
        from_sdk(ACTION, error)
    }

    #[test]
    fn a_refusal_names_action_code_and_what_aws_said_but_no_request_id() {
        let error = refused(400, Some("InvalidSubnetID.NotFound"), "no subnet-1");
        assert_eq!(error.class, Class::NotFound);
        assert_eq!(error.request_id.as_deref(), Some("req-1"));
        assert_eq!(
            error.to_string(),
            "CreateVpcEndpoint: InvalidSubnetID.NotFound: no subnet-1"
        );
        assert!(!error.outcome_unknown());
    }

    #[test]
    fn a_denial_reads_the_same_at_every_attempt() {
        let first = refused(
            403,
            Some("UnauthorizedOperation"),
            "You are not authorized to perform this operation. User: a is not authorized to \
             perform: ec2:CreateVpcEndpoint. Encoded authorization failure message: Zm9v",
        );
        let second = refused(
            403,
            Some("UnauthorizedOperation"),
            "You are not authorized to perform this operation. User: a is not authorized to \
             perform: ec2:CreateVpcEndpoint. Encoded authorization failure message: YmFy",
        );
        assert_eq!(first.class, Class::Denied);
        assert_eq!(first.to_string(), second.to_string());
        assert!(first.to_string().ends_with("ec2:CreateVpcEndpoint"));
    }

    #[test]
    fn of_a_wrong_signature_the_request_is_not_passed_on() {
        let error = refused(
            403,
            Some("SignatureDoesNotMatch"),
            "The request signature we calculated does not match the signature you provided. The Canonical String for this \
             request should have been 'POST / x-amz-security-token:the-token'",
        );
        let text = error.to_string();
        assert!(
            text.contains("SignatureDoesNotMatch") && !text.contains("the-token"),
            "{text}"
        );
    }

    #[test]
    fn a_clock_that_is_off_is_named_whichever_way_it_is_off() {
        for said in [
            "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)",
            "Signature not yet current: 20260101T002000Z is still later than 20260101T001500Z (20260101T001000Z + 5 min.)",
        ] {
            let error = refused(403, Some("SignatureDoesNotMatch"), said);
            let text = error.to_string();
            assert!(text.contains("clock") && !text.contains("20260101"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_page_that_aws_did_not_write_is_no_denial() {
        let page = || async {
            let page = "<!DOCTYPE html><html><body><h1>Access Denied</h1>by the corporate proxy</body></html>";
            (axum::http::StatusCode::FORBIDDEN, page)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(page)).await });
        let error = client(&url).create_vpc_endpoint().send().await.expect_err("refused");
        let error = from_sdk(ACTION, error);
        assert_eq!(
            (error.class, error.code.as_str()),
            (Class::Transient, "HTTP403"),
            "{error}"
        );
        assert!(error.is_from_between() && error.outcome_unknown(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("between the operator and AWS answered 403"), "{text}");
    }

    #[test]
    fn an_answer_without_a_code_goes_by_its_status() {
        let error = refused(503, None, "");
        assert_eq!((error.class, error.code.as_str()), (Class::Transient, "HTTP503"));
        assert_eq!(error.to_string(), "CreateVpcEndpoint: HTTP503");
        assert!(error.outcome_unknown());
    }

    #[test]
    fn a_failure_inside_aws_leaves_the_outcome_unknown_and_throttling_does_not() {
        assert!(refused(500, Some("InternalError"), "").outcome_unknown());
        assert!(!refused(503, Some("RequestLimitExceeded"), "").outcome_unknown());
        assert!(!refused(403, Some("ExpiredToken"), "").outcome_unknown());
    }

    #[test]
    fn a_timeout_leaves_the_outcome_unknown() {
        for error in [
            undelivered(SdkError::timeout_error("too slow")),
            undelivered(SdkError::dispatch_failure(ConnectorError::timeout("too slow".into()))),
        ] {
            assert_eq!((error.class, error.code.as_str()), (Class::Transient, "Timeout"));
            assert!(error.outcome_unknown());
        }
    }

    #[test]
    fn a_broken_connection_leaves_the_outcome_unknown() {
        let error = undelivered(SdkError::dispatch_failure(ConnectorError::io("reset by peer".into())));
        assert_eq!(error.code, "ConnectionLost");
        assert!(error.outcome_unknown());
    }

    #[test]
    fn an_answer_that_cannot_be_read_leaves_the_outcome_unknown() {
        let error = undelivered(SdkError::response_error("no XML", answer(200)));
        assert_eq!(error.code, "UnreadableAnswer");
        assert!(error.outcome_unknown());
    }

    #[test]
    fn a_failed_credential_is_found_below_the_dispatch_failure() {
        let sts = AssumeRoleWithWebIdentityError::generic(
            ErrorMetadata::builder()
                .code("AccessDenied")
                .message("Not authorized to perform sts:AssumeRoleWithWebIdentity")
                .build(),
        );
        let sts = SdkError::service_error(sts, answer(403));
        let credentials = CredentialsError::provider_error(sts);
        let error = undelivered(SdkError::dispatch_failure(ConnectorError::other(
            credentials.into(),
            None,
        )));
        assert_eq!((error.class, error.code.as_str()), (Class::Denied, "AccessDenied"));
        assert!(error.to_string().contains("AssumeRoleWithWebIdentity"), "{error}");
        assert!(!error.outcome_unknown());
    }

    #[test]
    fn missing_credentials_are_no_lost_answer() {
        let credentials = CredentialsError::provider_timed_out(Duration::from_secs(5));
        let error = undelivered(SdkError::dispatch_failure(ConnectorError::other(
            credentials.into(),
            None,
        )));
        assert_eq!((error.class, error.code.as_str()), (Class::Transient, "Credentials"));
        assert!(!error.outcome_unknown());
    }

    #[test]
    fn an_item_of_a_batch_is_classified_by_its_code() {
        let error = CallError::of_item(
            "DeleteVpcEndpoints",
            "InvalidVpcEndpoint.NotFound",
            "The Vpc Endpoint Id 'vpce-1' does not exist",
        );
        assert_eq!(error.class, Class::NotFound);
        assert!(!error.outcome_unknown());
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable_and_nothing_was_sent() {
        // Bound and dropped: nothing listens there now.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let error = client(&format!("http://127.0.0.1:{port}"))
            .create_vpc_endpoint()
            .send()
            .await
            .expect_err("nothing listens");
        let error = from_sdk(ACTION, error);
        assert_eq!(error.code, "Unreachable", "{error}");
        assert!(!error.outcome_unknown());
    }
}
