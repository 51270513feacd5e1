//! HTTP: the way of one request through faults and gates.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap};
use hyper::{Method, Response};
use parking_lot::{Mutex, MutexGuard};

use super::body::Text;
use super::clock;
use super::fault::Delivery;
use super::query::Form;
use super::world::{Answer, Request, Service, World};
use crate::server::{Hangup, Server, accept, answer_all};

/// The world, shared between the server and the handles.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock()
    }
}

/// Listens for AWS clients.
pub(crate) fn start(shared: Shared) -> anyhow::Result<Server> {
    Server::start("aws-simulator", |listener| {
        Ok(accept(listener, move |stream| {
            let shared = shared.clone();
            answer_all(stream, move |request| answer(shared.clone(), request))
        }))
    })
}

async fn answer(shared: Shared, request: hyper::Request<Incoming>) -> Result<Response<Text>, Hangup> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
    if head.method != Method::POST || head.uri.path() != "/" {
        return Ok(plain(
            400,
            "The simulator speaks the query protocol: POST / with a form.",
        ));
    }
    let request = match read(&head.headers, &body) {
        Ok(request) => request,
        Err(problem) => return Ok(plain(400, problem)),
    };

    let obstacles = {
        let mut world = shared.lock();
        let account = world.account_of(&request);
        world.faults.strike(&request, &account)
    };
    if let Some(bar) = obstacles.before
        && !bar.pass().await
    {
        return Err(Hangup);
    }
    if let Some(delay) = obstacles.delay {
        tokio::time::sleep(delay).await;
    }
    if obstacles.unreachable {
        return Err(Hangup);
    }
    let id = request.id.clone();
    let delivery = obstacles.trouble.delivery;
    let answer = shared.lock().carry_out(request, obstacles.trouble);
    if let Some(bar) = obstacles.after
        && !bar.pass().await
    {
        return Err(Hangup);
    }
    match delivery {
        Delivery::Whole => Ok(respond(&answer, &id, Text::whole(answer.body.clone()))),
        Delivery::Cut => Ok(respond(&answer, &id, Text::half(&answer.body))),
        Delivery::Lost => Err(Hangup),
    }
}

/// Reads what says whose request it is, and for what.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Request, &'static str> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header(AUTHORIZATION.as_str()).ok_or("The request is not signed.")?;
    let scope = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .and_then(|rest| rest.split(',').find_map(|part| part.trim().strip_prefix("Credential=")))
        .ok_or("The Authorization header is not of Signature Version 4.")?;
    let mut parts = scope.split('/');
    let mut part = || parts.next().ok_or("The credential scope is incomplete.");
    let (key_id, _date, region, service) = (part()?, part()?, part()?, part()?);
    let service = match service {
        "ec2" => Service::Ec2,
        "elasticloadbalancing" => Service::Elb,
        "sts" => Service::Sts,
        _ => return Err("The simulator knows the services ec2, elasticloadbalancing and sts."),
    };
    let mut form = Form::parse(body);
    let action = form.take("Action").ok_or("The form has no Action.")?;
    let version = form.take("Version").unwrap_or_default();
    Ok(Request {
        id: request_id(),
        service,
        region: region.to_owned(),
        key_id: key_id.to_owned(),
        token: header("x-amz-security-token").map(str::to_owned),
        signed_at: header("x-amz-date").and_then(clock::read_date),
        action,
        version,
        params: form.fields().clone(),
    })
}

fn respond(answer: &Answer, request_id: &str, body: Text) -> Response<Text> {
    let mut response = Response::new(body);
    *response.status_mut() = answer.status.try_into().unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "text/xml;charset=UTF-8".parse().expect("a valid header"));
    headers.insert(
        "x-amzn-requestid",
        request_id.parse().expect("hexadecimal digits and dashes"),
    );
    headers.insert(CONTENT_LENGTH, answer.body.len().into());
    if let Ok(date) = answer.date.parse() {
        headers.insert(DATE, date);
    }
    response
}

/// For those who are no AWS client.
fn plain(status: u16, text: &'static str) -> Response<Text> {
    let mut response = Response::new(Text::whole(text));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response
}

/// A random UUID, as AWS's request ids look.
fn request_id() -> String {
    let bits = fastrand::u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 68) & 0xfff,
        (bits >> 56) & 0xfff,
        bits & 0xffff_ffff_ffff
    )
}
