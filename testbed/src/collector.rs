//! A collector of OpenTelemetry traces: takes OTLP over HTTP and keeps the spans, or refuses, or
//! says nothing.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Ended;
use parking_lot::Mutex;
use prost::Message as _;

use crate::server::Server;

/// What the collector does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// Takes it.
    #[default]
    Takes,
    /// Answers 503.
    Refuses,
    /// Never answers.
    Silent,
}

/// A span as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// The trace that it belongs to.
    pub trace_id: Vec<u8>,
    /// Its id.
    pub span_id: Vec<u8>,
    /// The span around it; empty where there is none.
    pub parent_span_id: Vec<u8>,
    /// Its kind as OTLP numbers it: 1 is internal, 3 a client's.
    pub kind: i32,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of whom it came from.
    pub resource: BTreeMap<String, String>,
    /// The ids of spans that it points to.
    pub links: Vec<Vec<u8>>,
    /// Whether it says that it failed.
    pub is_error: bool,
}

impl Span {
    /// An attribute, empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }
}

#[derive(Default)]
struct State {
    mood: Mood,
    requests: usize,
    spans: Vec<Span>,
    text: String,
}

/// A running collector. It ends with this value.
pub struct Collector {
    state: Arc<Mutex<State>>,
    server: Server,
}

impl Collector {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(state.clone());
        let server = Server::start("collector", |listener| {
            Ok(async {
                let _ = axum::serve(listener, routes).await;
            })
        })?;
        Ok(Self { state, server })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Behaves so from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    /// How often something was sent to it.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.state.lock().requests
    }

    /// All spans that it took.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.state.lock().spans.clone()
    }

    /// All that was sent to it, readable: events, links and headers too.
    #[must_use]
    pub fn text(&self) -> String {
        self.state.lock().text.clone()
    }
}

async fn take(
    Shared(state): Shared<Arc<Mutex<State>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, (StatusCode, String)> {
    let mood = {
        let mut state = state.lock();
        state.requests += 1;
        state.mood
    };
    match mood {
        Mood::Takes => {}
        Mood::Refuses => return Err((StatusCode::SERVICE_UNAVAILABLE, "too busy".to_owned())),
        Mood::Silent => pending::<()>().await,
    }
    if headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|type_| type_ != "application/x-protobuf")
    {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "only protobuf".to_owned()));
    }
    let request =
        ExportTraceServiceRequest::decode(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut state = state.lock();
    state.text += &format!("{headers:?}\n{request:#?}\n");
    state.spans.extend(spans(request));
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource
            .resource
            .map(|resource| texts(resource.attributes))
            .unwrap_or_default();
        let all = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        found.extend(all.map(|span| Span {
            name: span.name,
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            kind: span.kind,
            attributes: texts(span.attributes),
            resource: resource.clone(),
            links: span.links.into_iter().map(|link| link.span_id).collect(),
            is_error: span.status.is_some_and(|status| status.code == Ended::Error as i32),
        }));
    }
    found
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: KeyValue| {
        (
            pair.key,
            pair.value.and_then(|value| value.value).map(text).unwrap_or_default(),
        )
    };
    attributes.into_iter().map(pair).collect()
}
