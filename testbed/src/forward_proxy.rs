//! An HTTP proxy as companies have them on the way to the internet: passes on what it is asked for
//! and keeps a list.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

/// A running proxy. It listens until the process ends.
pub struct ForwardProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Listens on a free port of the loopback interface. It leads nowhere but there: what is
    /// elsewhere it calls unreachable.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen for a proxy")?;
        let address = listener.local_addr()?;
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let list = asked.clone();
        thread::Builder::new().name("forward-proxy".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let list = list.clone();
                // A connection that fails is one that either side gave up.
                thread::spawn(move || drop(serve(stream, &list)));
            }
        })?;
        Ok(Self { address, asked })
    }

    /// For `HTTPS_PROXY` and `HTTP_PROXY`: by a name that a `NO_PROXY` of addresses does not spare.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// The first lines of all requests: `CONNECT host:port`, or `POST http://host:port/`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

fn serve(stream: TcpStream, list: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    let mut head = String::new();
    let mut length = 0;
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        head += &line;
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let asked = format!("{method} {target}");
    list.lock().push(asked);
    let place = target.strip_prefix("http://").unwrap_or(target);
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let Some(mut upstream) = reach(authority) else {
        return to.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    if method == "CONNECT" {
        to.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        return both_ways(from, to, upstream);
    }
    // One request a connection: where the server closes, the answer ends.
    let head = head.replacen(target, &format!("/{path}"), 1);
    upstream.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
    io::copy(&mut from.by_ref().take(length), &mut upstream)?;
    io::copy(&mut upstream, &mut to)?;
    to.shutdown(Shutdown::Both)
}

fn reach(authority: &str) -> Option<TcpStream> {
    let address: SocketAddr = authority.parse().ok()?;
    address.ip().is_loopback().then(|| TcpStream::connect(address).ok())?
}

fn both_ways(mut from: BufReader<TcpStream>, mut to: TcpStream, upstream: TcpStream) -> io::Result<()> {
    let (mut answers, mut requests) = (upstream.try_clone()?, upstream);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut answers, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        copied
    });
    let copied = io::copy(&mut from, &mut requests);
    let _ = requests.shutdown(Shutdown::Write);
    let _ = back.join();
    copied.map(drop)
}
