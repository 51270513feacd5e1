//! Servers on the loopback interface: a listener with a thread and a runtime of its own, and the
//! loop that accepts connections.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
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
    /// Listens on a free port. What `serve` makes is called in the runtime that drives it then, on
    /// a thread of this name.
    pub(crate) fn start<F>(name: &str, serve: impl FnOnce(TcpListener) -> Result<F>) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime
            .block_on(listening)
            .with_context(|| format!("cannot listen for {name}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let serving = {
            let _inside = runtime.enter();
            serve(listener)?
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
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

/// Accepts connections, and has each served beside the others.
pub(crate) async fn accept<F>(listener: TcpListener, mut serve: impl FnMut(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    }
}

/// Answers the requests of one connection; where there is an error instead of an answer, the
/// connection is closed.
pub(crate) async fn answer_all<F, B, E>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: impl Fn(Request<Incoming>) -> F + Send,
) where
    F: Future<Output = Result<Response<B>, E>> + Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // An error here is a connection that either side gave up.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

/// The connection shall be closed without an answer.
#[derive(Debug)]
pub(crate) struct Hangup;

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is withheld on purpose, or there is none to pass on")
    }
}

impl Error for Hangup {}
