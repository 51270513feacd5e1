//! Serves `/healthz` and `/readyz` for the kubelet: on a port of their own, so that no scrape keeps
//! a probe waiting, and without authentication.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::server;

/// How the main loop shows that it is alive: it beats, and `/healthz` fails once no beat came for
/// too long.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    last: Arc<AtomicU64>,
    limit: Duration,
}

impl Heartbeat {
    /// A heart that has just beaten, and may stay silent for `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            last: Arc::new(AtomicU64::new(0)),
            limit,
        }
    }

    /// Says that the main loop is alive.
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How long there was no beat.
    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}

#[derive(Clone)]
struct Served {
    heartbeat: Heartbeat,
    ready: watch::Receiver<bool>,
}

/// Serves until `stop` is done, and then until the requests that have arrived are answered. `ready`
/// holds true while the caches are filled and the process is not about to end.
///
/// # Errors
/// The listener failed.
pub(crate) async fn serve(
    listener: TcpListener,
    heartbeat: Heartbeat,
    ready: watch::Receiver<bool>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Served { heartbeat, ready });
    server::serve(listener, None, routes, stop).await
}

async fn healthz(State(served): State<Served>) -> (StatusCode, String) {
    let silence = served.heartbeat.silence();
    if silence <= served.heartbeat.limit {
        (StatusCode::OK, "alive\n".to_owned())
    } else {
        let message = format!("the main loop has been silent for {} s\n", silence.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    if *served.ready.borrow() {
        (StatusCode::OK, "ready\n")
    } else {
        let message =
            "not ready: the caches of the objects in Kubernetes are not filled yet, or the process is ending\n";
        (StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use tokio::sync::oneshot;

    use super::*;

    /// The whole answer to a GET.
    async fn get(address: SocketAddr, path: &'static str) -> String {
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn probes_tell_alive_from_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say_ready, ready) = watch::channel(false);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(
            listener,
            Heartbeat::new(Duration::from_secs(60)),
            ready,
            async move {
                let _ = stopped.await;
            },
        ));

        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let unready = get(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(unready.contains("not filled"), "{unready}");
        say_ready.send(true).unwrap();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[tokio::test]
    async fn a_silent_main_loop_is_not_alive_until_it_beats_again() {
        let (_, ready) = watch::channel(true);
        let heartbeat = Heartbeat::new(Duration::from_millis(50));
        let served = Served {
            heartbeat: heartbeat.clone(),
            ready,
        };
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(healthz(State(served.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
        heartbeat.beat();
        assert_eq!(healthz(State(served)).await.0, StatusCode::OK);
    }
}
