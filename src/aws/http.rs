//! The HTTP connector, with its TLS and its connections, that all AWS clients share.
//!
//! It goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` names, unless
//! `NO_PROXY` names the host.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

/// AWS accepts connections within milliseconds; seconds mean that it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that were not used for this long are closed, so that an idle operator holds none.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The base identity and its region, as the SDK finds them in the environment, with the HTTP client
/// that all share.
pub(crate) async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(client())
        .load()
        .await
}

/// An HTTP client to give to every AWS configuration; clones share its connections.
///
/// The SDK's own default makes a TLS configuration for each client it builds, and we build one for
/// each account and region. This one makes a single connector and hands it to all, which is why
/// connect timeouts in a client's own settings mean nothing here.
pub(crate) fn client() -> SharedHttpClient {
    let connector = connector();
    http_client_fn(move |_, _| connector.clone())
}

/// A connector with connections of its own; clones share them.
pub(crate) fn connector() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    let connector = Connector::builder()
        .connector_settings(settings)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build();
    SharedHttpConnector::new(connector)
}
