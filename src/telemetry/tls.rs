//! The certificate that /metrics is served with: one that is mounted, read again when it changes;
//! or one that is made at each start and that no CA signed, which keeps tokens from those who
//! listen on the network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// A kubelet takes about a minute to bring a Secret that has changed; cert-manager renews days
/// before the old certificate expires.
const READ_EVERY: Duration = Duration::from_secs(30);
/// The files of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The subject of a self-signed certificate; it is not verified.
const NAME: &str = "vpce-operator";

/// Accepts TLS with the certificate of this folder, or with one of our own making. The folder is
/// read again for as long as the process runs.
///
/// # Errors
/// The folder has no certificate and key that fit each other.
pub(crate) fn acceptor(folder: Option<PathBuf>) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let current = match &folder {
        Some(folder) => read(folder, &provider).with_context(|| format!("no certificate in {}", folder.display()))?,
        None => self_signed(&provider).context("cannot generate a certificate")?,
    };
    let current = Arc::new(Current(RwLock::new(Arc::new(current))));
    if let Some(folder) = folder {
        tokio::spawn(follow(folder, provider.clone(), current.clone()));
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no version of TLS")?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each connection carries one request, from a client that connects again in half a minute:
    // nothing is kept for them.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

fn self_signed(provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    Ok(CertifiedKey::from_der(vec![certificate], key.into(), provider)?)
}

fn read(folder: &Path, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(folder.join(CERTIFICATE))
        .and_then(Iterator::collect)
        .with_context(|| format!("{CERTIFICATE} cannot be read"))?;
    anyhow::ensure!(!certificates.is_empty(), "{CERTIFICATE} has no certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).with_context(|| format!("{KEY} cannot be read"))?;
    CertifiedKey::from_der(certificates, key, provider).context("certificate and key do not match")
}

/// Takes over what the folder has, again and again.
async fn follow(folder: PathBuf, provider: Arc<CryptoProvider>, current: Arc<Current>) {
    let mut failed = false;
    loop {
        tokio::time::sleep(READ_EVERY).await;
        let (folder, provider, current) = (folder.clone(), provider.clone(), current.clone());
        let taken = tokio::task::spawn_blocking(move || take_over(&folder, &provider, &current)).await;
        let taken = taken.map_err(anyhow::Error::from).and_then(|taken| taken);
        if let (false, Err(error)) = (failed, &taken) {
            let error = format!("{error:#}");
            tracing::warn!(
                error,
                "the certificate of /metrics cannot be reloaded; the previous one stays in use"
            );
        }
        failed = taken.is_err();
    }
}

/// Takes over what the folder has now, if that is another certificate.
fn take_over(folder: &Path, provider: &CryptoProvider, current: &Current) -> anyhow::Result<()> {
    let found = read(folder, provider)?;
    let mut current = current.0.write();
    if current.cert != found.cert {
        tracing::info!("the certificate of /metrics was renewed");
        *current = Arc::new(found);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    /// Writes a certificate and its key as a Secret of type `kubernetes.io/tls` has them, and
    /// returns the certificate.
    fn renew(folder: &Path) -> CertificateDer<'static> {
        let pem = |label: &str, der: &[u8]| {
            let body = base64(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let made = rcgen::generate_simple_self_signed(["vpce-operator-metrics.vpce-system.svc".to_owned()]).unwrap();
        fs::write(folder.join(CERTIFICATE), pem("CERTIFICATE", made.cert.der())).unwrap();
        fs::write(folder.join(KEY), pem("PRIVATE KEY", made.signing_key.serialized_der())).unwrap();
        made.cert.der().clone()
    }

    fn base64(der: &[u8]) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let of = |group: &[u8]| {
            let bits = (0..3).fold(0_usize, |bits, place| {
                bits << 8 | usize::from(*group.get(place).unwrap_or(&0))
            });
            let letter = |place: usize| match place <= group.len() {
                true => char::from(LETTERS[bits >> (18 - 6 * place) & 63]),
                false => '=',
            };
            (0..4).map(letter).collect::<String>()
        };
        der.chunks(3).map(of).collect()
    }

    #[test]
    fn a_certificate_of_our_own_is_made_and_one_that_is_not_there_is_an_error() {
        let provider = aws_lc_rs::default_provider();
        assert_eq!(self_signed(&provider).unwrap().cert.len(), 1);
        let error = read(Path::new("/nowhere"), &provider).unwrap_err();
        assert!(format!("{error:#}").contains("tls.crt"), "{error:#}");
    }

    #[test]
    fn a_certificate_that_is_mounted_is_taken_over_when_it_is_renewed_and_kept_when_it_is_spoilt() {
        let folder = std::env::temp_dir().join(format!("vpce-certificate-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let provider = aws_lc_rs::default_provider();
        let first = renew(&folder);
        let current = Current(RwLock::new(Arc::new(read(&folder, &provider).unwrap())));
        let served = || current.0.read().cert[0].clone();
        assert_eq!(served(), first);
        let second = renew(&folder);
        take_over(&folder, &provider, &current).unwrap();
        assert_eq!(served(), second);
        // A key that does not fit.
        let key = fs::read(folder.join(KEY)).unwrap();
        renew(&folder);
        fs::write(folder.join(KEY), key).unwrap();
        let error = take_over(&folder, &provider, &current).unwrap_err();
        assert!(format!("{error:#}").contains("do not match"), "{error:#}");
        assert_eq!(served(), second);
        fs::remove_dir_all(&folder).unwrap();
    }
}
