//! Serves a router over HTTP or HTTPS at a bounded cost, whoever connects and whatever is sent or
//! not sent.
//!
//! axum's own server keeps every connection for as long as the other side likes. Here a connection
//! carries one request, whose headers have to arrive in time and to fit a buffer; and there are
//! only so many of them. When one more comes, the peer that has the most gives one up, so that no
//! pod keeps out the kubelet or Prometheus.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Connections at a time. A kubelet and a few Prometheus servers have one each, for milliseconds.
const MOST_CONNECTIONS: usize = 64;
/// The TLS handshake, and then the headers of the request, have to be complete after so long.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// An answer that is read more slowly is cut off: no scrape may take longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// The buffer of a connection, which has to hold the headers. A ServiceAccount's token has about 1
/// kB.
const LARGEST_HEADERS: usize = 16 * 1024;
/// When the process has no file descriptor left, it tries again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// Serves until `stop` is done, and then until the requests that have arrived are answered.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let connections = Connections::default();
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // Without room, the stream is dropped, which closes it.
        if let Some(open) = connections.open(peer.ip()) {
            let id = open.id;
            let task = tasks.spawn(converse(stream, tls.clone(), routes.clone(), open));
            connections.started(id, task);
        }
    }
    drop(listener);
    connections.close_idle();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// One request and its answer.
async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, routes: Router, open: Open) {
    let conversation = async {
        match tls {
            None => answer(stream, routes, &open).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) = timeout(HEADERS_WITHIN, acceptor.accept(stream)).await {
                    answer(stream, routes, &open).await;
                }
            }
        }
    };
    // What fails on a connection concerns only its other end, which notices.
    let _ = timeout(HEADERS_WITHIN * 2 + ANSWERED_WITHIN, conversation).await;
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send, routes: Router, open: &Open) {
    let service = service_fn(|request| {
        open.answering.store(true, Ordering::Relaxed);
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(LARGEST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The connections that are open, in the order in which they came.
#[derive(Clone, Default)]
struct Connections(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Connection>,
}

struct Connection {
    peer: IpAddr,
    /// Whether its request has arrived.
    answering: Arc<AtomicBool>,
    task: Option<AbortHandle>,
}

/// One of the connections, until it is dropped.
struct Open {
    id: u64,
    answering: Arc<AtomicBool>,
    connections: Connections,
}

impl Connections {
    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.0.lock())
    }

    /// Opens a connection from `peer`, if there are not too many or another is closed for it.
    fn open(&self, peer: IpAddr) -> Option<Open> {
        let answering = Arc::new(AtomicBool::new(false));
        self.with(|table| {
            if table.open.len() >= MOST_CONNECTIONS {
                let victim = table.gives_way(peer)?;
                if let Some(Connection { task: Some(task), .. }) = table.open.remove(&victim) {
                    task.abort();
                }
            }
            table.next += 1;
            let connection = Connection {
                peer,
                answering: answering.clone(),
                task: None,
            };
            table.open.insert(table.next, connection);
            Some(Open {
                id: table.next,
                answering,
                connections: self.clone(),
            })
        })
    }

    fn started(&self, id: u64, task: AbortHandle) {
        self.with(|table| {
            if let Some(connection) = table.open.get_mut(&id) {
                connection.task = Some(task);
            }
        });
    }

    /// Closes those whose request has not arrived.
    fn close_idle(&self) {
        self.with(|table| {
            for connection in table.open.values() {
                if let (false, Some(task)) = (connection.answering.load(Ordering::Relaxed), &connection.task) {
                    task.abort();
                }
            }
        });
    }
}

impl Table {
    /// Of the peer that has the most: its oldest whose request has not arrived, or else its oldest.
    /// A peer that has the most itself and waits for all of its answers gets no further one.
    fn gives_way(&self, newcomer: IpAddr) -> Option<u64> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for connection in self.open.values() {
            *counts.entry(connection.peer).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let is_greedy = |peer: &IpAddr| counts.get(peer) == Some(&most);
        let of_greedy = || self.open.iter().filter(|(_, connection)| is_greedy(&connection.peer));
        let waits = |(_, connection): &(&u64, &Connection)| !connection.answering.load(Ordering::Relaxed);
        match of_greedy().find(waits) {
            Some((id, _)) => Some(*id),
            None if is_greedy(&newcomer) => None,
            None => of_greedy().next().map(|(id, _)| *id),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.with(|table| table.open.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn full_of(connections: &Connections, peer: IpAddr, answering: bool) -> Vec<Open> {
        (0..MOST_CONNECTIONS)
            .map(|_| {
                let open = connections.open(peer).unwrap();
                open.answering.store(answering, Ordering::Relaxed);
                open
            })
            .collect()
    }

    fn ids(connections: &Connections) -> Vec<u64> {
        connections.with(|table| table.open.keys().copied().collect())
    }

    #[test]
    fn the_peer_with_the_most_connections_gives_one_up_and_the_one_that_sent_nothing_first() {
        let connections = Connections::default();
        let greedy = full_of(&connections, peer(1), true);
        greedy[5].answering.store(false, Ordering::Relaxed);
        let other = connections
            .open(peer(2))
            .expect("there is always room for another peer");
        assert!(!ids(&connections).contains(&greedy[5].id), "it had sent nothing");
        let third = connections
            .open(peer(3))
            .expect("there is always room for another peer");
        assert!(!ids(&connections).contains(&greedy[0].id), "it is the oldest");
        assert!(
            connections.open(peer(1)).is_none(),
            "it has the most, and all are being answered"
        );
        assert!(ids(&connections).contains(&other.id) && ids(&connections).contains(&third.id));
        assert_eq!(ids(&connections).len(), MOST_CONNECTIONS);
    }

    #[test]
    fn a_connection_that_has_ended_makes_room_for_another() {
        let connections = Connections::default();
        let mut opened = full_of(&connections, peer(1), true);
        assert!(connections.open(peer(1)).is_none());
        opened.pop();
        let _again = connections.open(peer(1)).expect("one has ended");
        drop(opened);
        assert_eq!(ids(&connections).len(), 1);
    }
}
