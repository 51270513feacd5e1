//! The little HTTP that probing and scraping take.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The status and the body of what is at `path`.
///
/// # Errors
/// When there is no answer, or none in HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(connect(address)?, address, ("GET", path), None, "")
}

/// The same over HTTPS, without verifying the certificate, with a bearer token if there is one.
///
/// # Errors
/// When there is no answer, or none in HTTPS.
pub fn get_secure(address: SocketAddr, path: &str, token: Option<&str>) -> Result<(u16, String)> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::from(address.ip()))?;
    let stream = StreamOwned::new(connection, connect(address)?);
    ask(stream, address, ("GET", path), token, "")
}

/// The status and the body of the answer to this JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Result<(u16, String)> {
    ask(connect(address)?, address, ("POST", path), None, body)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn ask(
    mut stream: impl Read + Write,
    address: SocketAddr,
    (method, path): (&str, &str),
    token: Option<&str>,
    body: &str,
) -> Result<(u16, String)> {
    // 1.0: the answer is neither chunked nor does the connection stay open.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    if let Some(token) = token {
        request += &format!("Authorization: Bearer {token}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    write!(stream, "{request}\r\n{body}")?;
    stream.flush()?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        // A server that closes without TLS's close_notify has still answered.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => _ = read?,
    }
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no HTTP status")?;
    Ok((status, body.to_owned()))
}

/// What Prometheus calls `insecure_skip_verify`.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
