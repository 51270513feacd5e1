//! Counts and traces the requests that the Kubernetes client makes, as a layer around its HTTP
//! service.

use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use futures::future::{BoxFuture, FutureExt};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::Metrics;

/// Put around a client's service (`kube::client::ClientBuilder::with_layer`), counts every request
/// to the API server.
#[derive(Clone)]
pub(crate) struct CountRequests {
    metrics: Metrics,
}

impl CountRequests {
    /// Counts into these metrics.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub(crate) struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    A: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = Asked::of(request.method(), request.uri().path(), request.uri().query());
        let metrics = self.metrics.clone();
        let span = asked.span(request.method(), request.uri().path());
        let noted = span.clone();
        self.inner
            .call(request)
            .instrument(span)
            .inspect(move |answer| {
                let code = match answer {
                    Ok(answer) => answer.status().as_str().to_owned(),
                    Err(_) => "error".to_owned(),
                };
                if let Ok(answer) = answer {
                    noted.record("http.response.status_code", answer.status().as_u16());
                }
                if answer.as_ref().map_or(true, |answer| answer.status().as_u16() >= 400) {
                    noted.record("error.type", code.as_str());
                    noted.record("otel.status_code", "ERROR");
                }
                metrics.kubernetes_request(asked.verb, &asked.resource, &code);
            })
            .boxed()
    }
}

/// What a request asks of the API server, in the words of RBAC.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    verb: &'static str,
    /// The plural, `/status` or another subresource included; empty where the path is none of a
    /// resource.
    resource: String,
}

impl Asked {
    /// Reads `/api/v1/...` and `/apis/<group>/<version>/...`, each with or without
    /// `namespaces/<namespace>/`.
    fn of(method: &Method, path: &str, query: Option<&str>) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let rest = match rest {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let (resource, named) = match rest {
            [] => (String::new(), false),
            [plural] => ((*plural).to_owned(), false),
            [plural, _] => ((*plural).to_owned(), true),
            [plural, _, subresource, ..] => (format!("{plural}/{subresource}"), true),
        };
        let watches = query.is_some_and(|query| {
            let asks = |pair: &str| matches!(pair, "watch=true" | "watch=1");
            query.split('&').any(asks)
        });
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if named || resource.is_empty() => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, resource }
    }

    /// The request in traces, in the words of OpenTelemetry's semantic conventions for HTTP
    /// clients. What no reconcile asks for, watches above all, would be a trace of its own that
    /// says nothing, and is none.
    fn span(&self, method: &Method, path: &str) -> Span {
        if Span::current().is_none() {
            return Span::none();
        }
        tracing::debug_span!(
            "kubernetes",
            otel.name = format_args!("{method} {}", self.resource),
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = method.as_str(),
            url.path = path,
            http.response.status_code = Empty,
            "error.type" = Empty,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::telemetry::MetricsOptions;

    #[test]
    fn requests_are_told_apart_as_rbac_does() {
        for (method, path, query, verb, resource) in [
            (
                Method::GET,
                "/apis/silvermullet.com/v1beta1/vpcendpoints",
                None,
                "list",
                "vpcendpoints",
            ),
            (
                Method::GET,
                "/apis/silvermullet.com/v1beta1/vpcendpoints",
                Some("&watch=true&timeoutSeconds=290"),
                "watch",
                "vpcendpoints",
            ),
            (
                Method::PATCH,
                "/apis/silvermullet.com/v1beta1/namespaces/a/vpcendpoints/b/status",
                Some("fieldManager=x"),
                "patch",
                "vpcendpoints/status",
            ),
            (
                Method::POST,
                "/api/v1/namespaces/a/services",
                None,
                "create",
                "services",
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/a/services/b",
                None,
                "delete",
                "services",
            ),
            (
                Method::PUT,
                "/api/v1/namespaces/a/services/b",
                None,
                "update",
                "services",
            ),
            (Method::GET, "/api/v1/namespaces/kube-system", None, "get", "namespaces"),
            (
                Method::GET,
                "/api/v1/namespaces",
                Some("limit=500"),
                "list",
                "namespaces",
            ),
            (
                Method::POST,
                "/apis/events.k8s.io/v1/namespaces/a/events",
                None,
                "create",
                "events",
            ),
            (Method::GET, "/version", None, "get", ""),
        ] {
            let expected = Asked {
                verb,
                resource: resource.to_owned(),
            };
            assert_eq!(Asked::of(&method, path, query), expected, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn every_request_is_counted_with_its_code_or_as_an_error() {
        let metrics = Metrics::new(MetricsOptions {
            per_object: true,
            version: "",
            revision: "",
        });
        let inner = tower::service_fn(|request: Request<()>| async move {
            if request.uri().path().ends_with("/lost") {
                return Err("connection reset");
            }
            let mut answer = Response::new(());
            *answer.status_mut() = axum::http::StatusCode::CONFLICT;
            Ok(answer)
        });
        let mut counted = CountRequests::new(metrics.clone()).layer(inner);
        for path in ["/api/v1/namespaces/a/services/b", "/api/v1/namespaces/a/services/lost"] {
            let request = Request::get(path).body(()).unwrap();
            let _ = counted.call(request).await;
        }
        let text = metrics.render();
        for series in [
            r#"vpce_kubernetes_requests_total{code="409",resource="services",verb="get"} 1"#,
            r#"vpce_kubernetes_requests_total{code="error",resource="services",verb="get"} 1"#,
        ] {
            assert!(text.contains(series), "{series} in {text}");
        }
    }
}
