//! The little HTTP that probing and scraping take.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The status and the body of what is at `path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(address, "GET", path, "")
}

/// The status and the body of the answer to this JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Result<(u16, String)> {
    ask(address, "POST", path, body)
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // 1.0: the answer is neither chunked nor does the connection stay open.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\n")?;
    if !body.is_empty() {
        write!(
            stream,
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        )?;
    }
    write!(stream, "\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no HTTP status")?;
    Ok((status, body.to_owned()))
}
