//! HTTP: the way of one request to the API server and back.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use kube::client::{self, Client};
use tokio::sync::mpsc;

use super::Shared;
use super::fault::{FaultKind, refusal};
use super::request::{Asked, Seen};
use super::watches::{Piece, Watching};
use crate::server::{Hangup, Server, accept, answer_all};

/// Listens for clients of the API server.
pub(super) fn start(config: kube::Config, shared: Shared) -> anyhow::Result<Server> {
    Server::start("api-proxy", |listener| {
        let client = Client::try_from(config)?;
        Ok(accept(listener, move |stream| {
            let (client, shared) = (client.clone(), shared.clone());
            answer_all(stream, move |request| answer(client.clone(), shared.clone(), request))
        }))
    })
}

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
    let (mut head, body) = match forwarded {
        Ok(answer) => answer.into_parts(),
        Err(_) => {
            note(None);
            return Err(Hangup);
        }
    };
    strip(&mut head.headers);
    if let Some(watching) = watching.filter(|_| head.status.is_success()) {
        note(Some(head.status));
        return Ok(Response::from_parts(head, stream(watching, body)));
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

/// Passes the events of a watch on as they come.
fn stream(watching: Watching, mut body: client::Body) -> Reply {
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
    Reply::Stream(reply)
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
