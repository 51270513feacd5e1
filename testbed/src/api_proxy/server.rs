//! HTTP: a listener of its own thread, and the way of one request to the API server and back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::client::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::fault::{FaultKind, refusal};
use super::request::{Asked, Seen};
use super::watches::Piece;

/// The running server; it ends when this is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has panicked at worst, and then it has ended too.
            let _ = thread.join();
        }
    }
}

impl Server {
    /// Listens on a free port of the loopback interface, on a thread and a runtime of its own.
    pub(super) fn start(config: kube::Config, shared: Shared) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("cannot listen for the API server")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config)?
        };
        let thread = thread::Builder::new().name("api-proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, client, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

async fn serve(listener: std::net::TcpListener, client: Client, shared: Shared) {
    let listener = TcpListener::from_std(listener).expect("the runtime has IO enabled");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (client, shared) = (client.clone(), shared.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(client.clone(), shared.clone(), request));
            // An error here is a connection that either side gave up.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The connection shall be closed.
#[derive(Debug)]
pub(super) struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is broken on purpose, or the API server is gone")
    }
}

impl std::error::Error for Hangup {}

async fn answer(client: Client, shared: Shared, request: Request<Incoming>) -> Result<Response<Reply>, Hangup> {
    let asked = Asked::of(request.method(), request.uri().path(), request.uri().query());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let note = |code: Option<StatusCode>| {
        shared.lock().requests.push(Seen {
            verb: asked.verb,
            resource: asked.resource.clone(),
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            query: query.clone(),
            code: code.map(|code| code.as_u16()),
            at: Instant::now(),
        });
    };
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
    let fault = shared.lock().faults.strike(&asked);
    match fault {
        Some(FaultKind::Refuse { code, retry_after }) => {
            let reply = refuse(code, retry_after);
            note(Some(reply.status()));
            return Ok(reply);
        }
        Some(FaultKind::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(FaultKind::LoseAnswer) | None => {}
    }
    let watching = match asked.verb {
        "watch" => {
            let begun = shared.lock().watches.begin(&asked.resource);
            if begun.is_none() {
                note(Some(StatusCode::GONE));
                return Ok(refuse(410, None));
            }
            begun
        }
        _ => None,
    };
    strip(&mut head.headers);
    let forwarded = client.send(Request::from_parts(head, body.into())).await;
    let (mut head, mut body) = match forwarded {
        Ok(answer) => answer.into_parts(),
        Err(_) => {
            note(None);
            return Err(Hangup);
        }
    };
    strip(&mut head.headers);
    if let Some(watching) = watching.filter(|_| head.status.is_success()) {
        note(Some(head.status));
        let (events, received) = mpsc::channel::<Piece>(1);
        let (to, reply) = mpsc::channel::<Piece>(1);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let piece = frame
                    .map_err(|_| Hangup)
                    .map(|frame| frame.into_data().unwrap_or_default());
                if events.send(piece).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(watching.pass_on(received, to));
        return Ok(Response::from_parts(head, Reply::Stream(reply)));
    }
    let Ok(body) = body.collect().await else {
        note(None);
        return Err(Hangup);
    };
    let mut body = body.to_bytes();
    if fault == Some(FaultKind::LoseAnswer) {
        note(None);
        return Err(Hangup);
    }
    note(Some(head.status));
    if asked.verb == "list" && head.status.is_success() {
        let mut state = shared.lock();
        state.watches.listed(&asked.resource);
        if let Some(old) = state.replayed.get(&asked.resource) {
            body = old.clone();
        }
        state.lists.insert(asked.resource.clone(), body.clone());
    }
    Ok(Response::from_parts(head, Reply::Whole(Some(body))))
}

/// Takes away what is said of one connection and not of the request or its answer.
fn strip(headers: &mut HeaderMap) {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

fn refuse(code: u16, retry_after: Option<u32>) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(refusal(code).to_string().into())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "application/json".parse().expect("a valid header"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The body of an answer.
pub(super) enum Reply {
    /// All of it.
    Whole(Option<Bytes>),
    /// A watch's events as they come.
    Stream(mpsc::Receiver<Piece>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Hangup;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Hangup>>> {
        match &mut *self {
            Self::Whole(left) => Poll::Ready(left.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => pieces
                .poll_recv(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }
}
