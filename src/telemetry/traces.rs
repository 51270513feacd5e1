//! Traces: a span for each reconcile and for each call that it makes, sent over OTLP where the
//! environment names a collector.
//!
//! The variables are OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` switches traces on, `OTEL_TRACES_SAMPLER` chooses which are
//! sent, `OTEL_BSP_*` how they are batched. Spans wait in a queue of bounded length for a thread of
//! their own: a collector that is slow or gone costs spans, and delays nothing.

use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use futures::future::BoxFuture;
use opentelemetry::trace::{SpanContext, Status, TraceContextExt, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::Outcome;

/// What names this program in traces, and the scope of its spans.
const SERVICE: &str = "vpce-operator";

/// What may be spoken with a collector.
const PROTOCOL: &str = "http/protobuf";

/// OpenTelemetry's default for how long a collector may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is left of the time that Kubernetes gives a pod to stop.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// The modules that make spans of single calls, which the log shows at the level debug only.
const CALLS: [&str; 2] = ["vpce_operator::aws::observer", "vpce_operator::telemetry::kubernetes"];

/// Why there can be no traces.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The environment asks for a protocol that is not spoken.
    #[error("{variable} is {value:?}: traces are sent as {PROTOCOL} only, which collectors accept on port 4318")]
    Protocol {
        /// The variable that asks.
        variable: &'static str,
        /// For what.
        value: String,
    },
    /// Something else in the environment is wrong.
    #[error("the OTEL_ variables of the environment: {0}")]
    Environment(#[from] ExporterBuildError),
}

/// Sends spans until it is stopped.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins, if the environment names a collector. `runtime` makes the calls to it, over a
    /// `connector`.
    ///
    /// # Errors
    /// The environment is wrong.
    pub(crate) fn from_environment(
        pod: Option<&str>,
        runtime: &Handle,
        connector: impl FnOnce() -> SharedHttpConnector,
    ) -> Result<Option<Self>, Error> {
        if !is_on(env::var) {
            return Ok(None);
        }
        if let Some((variable, value)) = protocol(env::var) {
            return Err(Error::Protocol { variable, value });
        }
        let client = Collector {
            connector: connector(),
            runtime: runtime.clone(),
            answer_within: answer_within(env::var),
            failing: Arc::default(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(client)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(pod))
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self { provider }))
    }

    /// The layer that turns the operator's spans into OpenTelemetry's. What libraries say stays
    /// out: some of them write down what they send.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let ours = Targets::new()
            .with_target("vpce_operator", LevelFilter::INFO)
            .with_targets(CALLS.map(|module| (module, LevelFilter::DEBUG)));
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
    }

    /// Sends what is still waiting, for a moment.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_WITHIN) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Whose spans they are. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` come first.
fn resource(pod: Option<&str>) -> Resource {
    let own = [
        KeyValue::new("service.name", SERVICE),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let pod = pod.map(|pod| KeyValue::new("k8s.pod.name", pod.to_owned()));
    let own: Vec<KeyValue> = own.into_iter().chain(pod).collect();
    let detected = Resource::builder().build();
    let is_named = detected
        .get(&"service.name".into())
        .is_some_and(|name| !matches!(&name, Value::String(name) if name.as_str().starts_with("unknown_service")));
    let given = detected
        .iter()
        .filter(|(key, _)| is_named || key.as_str() != "service.name")
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    // Of two attributes of one name the later counts.
    Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(given.collect::<Vec<_>>())
        .build()
}

/// Whether the environment names a collector and nothing there switches traces off.
fn is_on(variable: impl Fn(&'static str) -> Result<String, VarError>) -> bool {
    let says = |name, word: &str| variable(name).is_ok_and(|value| value.eq_ignore_ascii_case(word));
    let names = |name| variable(name).is_ok_and(|value| !value.trim().is_empty());
    let named = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .into_iter()
        .any(names);
    named && !says("OTEL_SDK_DISABLED", "true") && !says("OTEL_TRACES_EXPORTER", "none")
}

/// The variable that asks for another protocol, and for which.
fn protocol(variable: impl Fn(&'static str) -> Result<String, VarError>) -> Option<(&'static str, String)> {
    // The variable for traces alone counts, where there is one.
    let given = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]
        .into_iter()
        .find_map(|name| {
            variable(name)
                .ok()
                .filter(|value| !value.is_empty())
                .map(|value| (name, value))
        });
    given.filter(|(_, value)| value != PROTOCOL)
}

fn answer_within(variable: impl Fn(&'static str) -> Result<String, VarError>) -> Duration {
    ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
        .into_iter()
        .find_map(|name| variable(name).ok()?.parse().ok())
        .map_or(ANSWER_WITHIN, Duration::from_millis)
}

/// The collector, reached like AWS is: with the same TLS, through the same proxy.
struct Collector {
    connector: SharedHttpConnector,
    runtime: Handle,
    answer_within: Duration,
    /// Whether the last call failed, which was logged then.
    failing: Arc<AtomicBool>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl HttpClient for Collector {
    /// The thread that asks has no runtime: the call is made on ours.
    fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        let (connector, answer_within) = (self.connector.clone(), self.answer_within);
        let (authority, failing) = (
            request.uri().authority().map(ToString::to_string).unwrap_or_default(),
            self.failing.clone(),
        );
        let sent = self.runtime.spawn(async move {
            let answer = tokio::time::timeout(answer_within, send(&connector, request)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
            tell(&authority, &failing, &answer);
            answer
        });
        Box::pin(async move { sent.await? })
    }
}

async fn send(connector: &SharedHttpConnector, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let mut asked = HttpRequest::new(SdkBody::from(body));
    asked.set_method(parts.method.as_str())?;
    asked.set_uri(parts.uri.to_string())?;
    for (name, value) in &parts.headers {
        asked
            .headers_mut()
            .try_insert(name.as_str().to_owned(), value.to_str()?.to_owned())?;
    }
    let answer = connector.call(asked).await?;
    let mut response = Response::builder().status(answer.status().as_u16());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let body = ByteStream::new(answer.into_body()).collect().await?;
    Ok(response.body(body.into_bytes())?)
}

/// One line when a collector begins to fail, and one when it no longer does.
fn tell(collector: &str, failing: &AtomicBool, answer: &Result<Response<Bytes>, HttpError>) {
    let failure = match answer {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => Some(format!("it answers {}", answer.status())),
        Err(error) => Some(error.to_string()),
    };
    match failure {
        Some(error) if !failing.swap(true, Ordering::Relaxed) => {
            tracing::warn!(
                collector,
                error,
                "traces cannot be sent; they are dropped until they can be sent again"
            );
        }
        None if failing.swap(false, Ordering::Relaxed) => tracing::info!(collector, "traces are sent again"),
        _ => {}
    }
}

/// Notes in a reconcile's span whose it was and how it ended; neither is in the log's lines.
pub(crate) fn ended(span: &Span, controller: &'static str, outcome: Outcome) {
    span.set_attribute("controller", controller);
    span.set_attribute("result", outcome.as_str());
    if !matches!(outcome, Outcome::Ok | Outcome::Conflict) {
        span.set_attribute("error.type", outcome.as_str());
        span.set_status(Status::error(outcome.as_str()));
    }
}

/// What asked for work that is done later, in another trace.
#[derive(Debug, Clone)]
pub(crate) struct Cause(SpanContext);

impl Cause {
    /// The span that is being worked in.
    pub(crate) fn current() -> Self {
        Self(Span::current().context().span().span_context().clone())
    }

    /// Has a span point to what asked for it.
    pub(crate) fn link(&self, span: &Span) {
        if self.0.is_valid() {
            span.add_link(self.0.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment of these variables.
    fn of<'e>(variables: &'e [(&'e str, &'e str)]) -> impl Fn(&'static str) -> Result<String, VarError> + 'e {
        |asked| {
            let found = variables.iter().find(|(name, _)| *name == asked);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        }
    }

    #[test]
    fn traces_are_off_unless_a_collector_is_named_and_nothing_switches_them_off() {
        const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces");
        assert!(is_on(of(&[HERE])));
        assert!(is_on(of(&[TRACES])));
        assert!(is_on(of(&[HERE, ("OTEL_SDK_DISABLED", "false")])));
        assert!(!is_on(of(&[])));
        assert!(!is_on(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])));
        assert!(!is_on(of(&[HERE, ("OTEL_SDK_DISABLED", "true")])));
        assert!(!is_on(of(&[HERE, ("OTEL_TRACES_EXPORTER", "none")])));
    }

    #[test]
    fn a_protocol_that_is_not_spoken_is_named_with_its_variable() {
        const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(protocol(of(&[])), None);
        assert_eq!(protocol(of(&[("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL)])), None);
        assert_eq!(protocol(of(&[GRPC])), Some((GRPC.0, "grpc".to_owned())));
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", PROTOCOL);
        assert_eq!(protocol(of(&[GRPC, of_traces])), None, "the one for traces counts");
    }

    #[test]
    fn a_collector_may_take_as_long_as_the_environment_says() {
        assert_eq!(answer_within(of(&[])), ANSWER_WITHIN);
        let given = [("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")];
        assert_eq!(answer_within(of(&given)), Duration::from_millis(2500));
    }
}
