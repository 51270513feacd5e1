//! Admission webhooks: a TLS server that the API server asks before it stores what is written, and
//! that refuses or changes it on demand.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::control_plane::ControlPlane;
use crate::server::{Server, accept, answer_all};

/// No server listens there: the API server answers 500 where it cannot call a webhook.
const NOWHERE: &str = "https://127.0.0.1:1/";

/// What a webhook does with what it is asked about.
pub enum Verdict {
    /// Refuses it.
    Deny {
        /// The HTTP status to answer with; without one, the API server answers 400.
        code: Option<u16>,
        /// What to say.
        message: String,
    },
    /// Changes the object in place.
    Change(Box<dyn Fn(&mut Value) + Send + Sync>),
}

type Verdicts = Arc<Mutex<HashMap<String, Arc<Verdict>>>>;

/// A running server of webhooks. It ends with this value.
pub struct Webhooks {
    verdicts: Verdicts,
    server: Server,
    /// In base64, as `caBundle` has it.
    certificate: String,
}

impl Webhooks {
    /// Listens on a free port of the loopback interface, with the certificate of a control plane's
    /// API server, which is for that address.
    ///
    /// # Errors
    /// When it cannot listen, or the certificate cannot be read.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let certificate = fs::read(plane.certificate()).context("the API server has no certificate")?;
        let key = fs::read(plane.certificate().with_extension("key")).context("the API server has no key")?;
        let tls = tls(&certificate, &key).context("the API server's certificate is not for us")?;
        let verdicts = Verdicts::default();
        let server = Server::start("webhooks", |listener| {
            let verdicts = verdicts.clone();
            Ok(accept(listener, move |stream| {
                serve(stream, tls.clone(), verdicts.clone())
            }))
        })?;
        Ok(Self {
            verdicts,
            server,
            certificate: BASE64.encode(certificate),
        })
    }

    /// An entry for the `webhooks` of a ValidatingWebhookConfiguration or a
    /// MutatingWebhookConfiguration: whatever its rules match meets the verdict.
    pub fn entry(&self, name: &str, rules: &Value, verdict: Verdict) -> Value {
        self.verdicts.lock().insert(name.to_owned(), Arc::new(verdict));
        let url = format!("https://{}/{name}", self.server.address);
        entry(name, rules, json!({"url": url, "caBundle": self.certificate}))
    }

    /// The same for a webhook that is down.
    #[must_use]
    pub fn entry_nobody_serves(name: &str, rules: &Value) -> Value {
        entry(name, rules, json!({"url": NOWHERE}))
    }
}

fn entry(name: &str, rules: &Value, client: Value) -> Value {
    json!({
        "name": format!("{name}.webhooks.test"),
        "clientConfig": client,
        "rules": rules,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    })
}

fn tls(certificate: &[u8], key: &[u8]) -> Result<TlsAcceptor> {
    let chain = pem::parse_many(certificate)?;
    let chain = chain
        .into_iter()
        .map(|certificate| CertificateDer::from(certificate.into_contents()));
    let key = PrivateKeyDer::try_from(pem::parse(key)?.into_contents()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, verdicts: Verdicts) {
    if let Ok(stream) = tls.accept(stream).await {
        answer_all(stream, move |request| answer(verdicts.clone(), request)).await;
    }
}

async fn answer(verdicts: Verdicts, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let verdict = verdicts.lock().get(&name).cloned();
    let mut response = match verdict.as_deref() {
        Some(verdict) => judge(verdict, &review["request"]["object"]),
        None => json!({"allowed": false, "status": {"message": "there is no such webhook"}}),
    };
    response["uid"] = review["request"]["uid"].clone();
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    let mut answer = Response::new(Full::from(review.to_string()));
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(answer)
}

fn judge(verdict: &Verdict, object: &Value) -> Value {
    match verdict {
        Verdict::Deny { code, message } => {
            let mut status = json!({"message": message});
            if let Some(code) = code {
                status["code"] = json!(code);
            }
            json!({"allowed": false, "status": status})
        }
        Verdict::Change(change) => {
            let mut changed = object.clone();
            change(&mut changed);
            let patch = patch(object, &changed).to_string();
            json!({"allowed": true, "patchType": "JSONPatch", "patch": BASE64.encode(patch)})
        }
    }
}

/// A JSON patch that replaces what differs at the top: metadata, spec, status.
fn patch(before: &Value, after: &Value) -> Value {
    let fields = after.as_object().into_iter().flatten();
    let differs = fields.filter(|(name, value)| before.get(name) != Some(value));
    let operations = differs.map(|(name, value)| json!({"op": "add", "path": format!("/{name}"), "value": value}));
    operations.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_patch_of_what_differs_and_of_nothing_else() {
        let object = json!({"kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "ExternalName"}});
        let change = |change: fn(&mut Value)| {
            let response = judge(&Verdict::Change(Box::new(change)), &object);
            let patch = BASE64.decode(response["patch"].as_str().expect("a patch"));
            serde_json::from_slice::<Value>(&patch.expect("base64")).expect("JSON")
        };
        assert_eq!(change(|_| ()), json!([]));
        assert_eq!(
            change(|object| object["spec"]["ports"] = json!([{"port": 1}])),
            json!([{"op": "add", "path": "/spec", "value": {"type": "ExternalName", "ports": [{"port": 1}]}}])
        );
        assert_eq!(
            change(|object| object["metadata"]["labels"]["a"] = json!("b")),
            json!([{"op": "add", "path": "/metadata", "value": {"name": "a", "labels": {"a": "b"}}}])
        );
    }
}
