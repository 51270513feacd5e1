//! Every call to AWS goes through here, so that all are counted and traced and fail the same way.

use std::{error::Error, future::Future, sync::Arc, time::Instant};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use tracing::{Instrument, Span, field::Empty};
use vpce_core::error::Class;

use super::error::{CallError, from_sdk};

/// How EC2 answers a dry run of a call that would have been allowed.
pub(crate) const DRY_RUN_PASSED: &str = "DryRunOperation";

/// One finished call to AWS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CallRecord<'a> {
    /// The AWS account that the call was about: for AssumeRole that of the role.
    pub(crate) account_id: &'a str,
    /// The region that was called.
    pub(crate) region: &'a str,
    /// `ec2`, `elasticloadbalancing` or `sts`.
    pub(crate) service: &'static str,
    /// The API action, as in `CreateVpcEndpoint`.
    pub(crate) action: &'static str,
    /// The class of the error, if it failed.
    pub(crate) error: Option<Class>,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Observes every call to AWS.
pub(crate) type Observer = Arc<dyn Fn(&CallRecord<'_>) + Send + Sync>;

/// Which call is about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// See [`CallRecord::account_id`].
    pub(crate) account_id: &'a str,
    /// See [`CallRecord::region`].
    pub(crate) region: &'a str,
    /// See [`CallRecord::service`].
    pub(crate) service: &'static str,
    /// See [`CallRecord::action`].
    pub(crate) action: &'static str,
}

impl Call<'_> {
    /// The call in traces, in the words of OpenTelemetry's semantic conventions for AWS SDKs.
    fn span(&self) -> Span {
        let service = match self.service {
            "ec2" => "EC2",
            "elasticloadbalancing" => "Elastic Load Balancing v2",
            "sts" => "STS",
            other => other,
        };
        tracing::debug_span!(
            "aws",
            otel.name = format_args!("{service}/{}", self.action),
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system = "aws-api",
            rpc.service = service,
            rpc.method = self.action,
            cloud.provider = "aws",
            cloud.region = self.region,
            cloud.account.id = self.account_id,
            aws.request_id = Empty,
            "error.type" = Empty,
        )
    }
}

/// Waits for the answer to a call, calls the observer, and says what a failure means.
///
/// A call whose future is dropped half-way is not observed: how it ended is unknown.
pub(crate) async fn observed<T, E>(
    observer: &Observer,
    call: Call<'_>,
    answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, CallError>
where
    T: RequestId,
    E: ProvideErrorMetadata + Error + 'static,
{
    let span = call.span();
    let started = Instant::now();
    let answer = answer.instrument(span.clone()).await;
    let seconds = started.elapsed().as_secs_f64();
    let answer = answer.map_err(|error| from_sdk(call.action, error));
    note(&span, &answer);
    observer(&CallRecord {
        account_id: call.account_id,
        region: call.region,
        service: call.service,
        action: call.action,
        error: match &answer {
            Err(error) if error.code != DRY_RUN_PASSED => Some(error.class),
            _ => None,
        },
        seconds,
    });
    answer
}

/// Notes in a span how its call ended: the code of an error, not AWS's words, which may show what
/// was sent.
fn note<T: RequestId>(span: &Span, answer: &Result<T, CallError>) {
    let request_id = match answer {
        Ok(answer) => answer.request_id(),
        Err(error) => error.request_id.as_deref(),
    };
    if let Some(request_id) = request_id {
        span.record("aws.request_id", request_id);
    }
    if let Err(error) = answer
        && error.code != DRY_RUN_PASSED
    {
        span.record("error.type", error.code.as_str());
        span.record("otel.status_code", "ERROR");
    }
}
