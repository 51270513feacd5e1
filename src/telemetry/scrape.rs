//! Serves `/metrics` for Prometheus.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio_rustls::TlsAcceptor;

use super::Metrics;
use super::access::Access;
use super::server;

/// Scrapes within this time of another get the same text.
const SHARED_FOR: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Served {
    page: Arc<Page>,
    access: Option<Arc<Access>>,
}

/// Serves until `stop` is done, and then until the requests that have arrived are answered. Without
/// `access` to whoever asks, without `tls` in the clear.
///
/// # Errors
/// The listener failed.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    metrics: Metrics,
    access: Option<Access>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let served = Served {
        page: Arc::new(Page {
            metrics,
            last: Arc::default(),
        }),
        access: access.map(Arc::new),
    };
    let routes = Router::new().route("/metrics", get(scrape)).with_state(served);
    server::serve(listener, tls, routes, stop).await
}

async fn scrape(State(served): State<Served>, headers: HeaderMap) -> Response {
    if let Some(access) = &served.access
        && let Err(refusal) = access.check(&headers).await
    {
        return refusal.into_response();
    }
    match served.page.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(panicked) => (StatusCode::INTERNAL_SERVER_ERROR, panicked.to_string()).into_response(),
    }
}

/// The metrics as text, made once at a time however many ask: with thousands of objects it takes
/// megabytes.
struct Page {
    metrics: Metrics,
    /// When making it began, and what came of it; kept no longer than it is shared.
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Page {
    async fn text(&self) -> Result<Bytes, JoinError> {
        let mut last = self.last.clone().lock_owned().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < SHARED_FOR) {
            return Ok(text.clone());
        }
        let (metrics, kept) = (self.metrics.clone(), self.last.clone());
        // A task of its own: should whoever asked go away, the next still waits until this one is
        // done.
        let made = tokio::spawn(async move {
            let at = Instant::now();
            // It takes a while: not on a thread that reconciles need.
            let text = tokio::task::spawn_blocking(move || Bytes::from(metrics.render())).await?;
            *last = Some((at, text.clone()));
            drop(last);
            tokio::spawn(async move {
                tokio::time::sleep_until((at + SHARED_FOR).into()).await;
                let mut last = kept.lock().await;
                if last.as_ref().is_some_and(|(made, _)| *made == at) {
                    *last = None;
                }
            });
            Ok(text)
        });
        made.await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::tests::sources;
    use super::super::{MetricsOptions, Sources};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn scrapes_that_come_together_share_one_text() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new(MetricsOptions {
            per_object: true,
            version: "1.2.3",
            revision: "abc",
        });
        let made = Arc::new(AtomicUsize::new(0));
        let counts = made.clone();
        metrics.attach(Sources {
            planned_changes: Arc::new(move || {
                counts.fetch_add(1, Ordering::SeqCst);
                Vec::new()
            }),
            ..sources()
        });
        metrics.leader(true);
        tokio::spawn(serve(listener, None, metrics, None, std::future::pending()));

        const TOGETHER: usize = 60;
        let at_once = Arc::new(Barrier::new(TOGETHER));
        let scrapes = (0..TOGETHER).map(|_| {
            let at_once = at_once.clone();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                at_once.wait();
                write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
        });
        let begun = Instant::now();
        for scrape in scrapes.collect::<Vec<_>>() {
            let answer = tokio::task::spawn_blocking(|| scrape.join().unwrap()).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
            assert!(
                answer.contains("vpce_build_info{revision=\"abc\",version=\"1.2.3\"} 1"),
                "{answer}"
            );
        }
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        let made = made.load(Ordering::SeqCst);
        assert!((1..=seconds + 1).contains(&made), "{made} texts in {seconds} s");
    }
}
