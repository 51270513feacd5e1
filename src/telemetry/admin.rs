//! The HTTP server for whoever looks after the process, on loopback unless told otherwise: `GET`
//! and `PUT /log-level`.
//!
//! It has no authentication. `kubectl port-forward` leads to it, so that whoever may forward ports
//! of the pod may use it.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::logging::LogLevel;
use super::server;

/// Where the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "off" => Ok(Self::Off),
            address => address
                .parse()
                .map(Self::At)
                .map_err(|_| "an address and a port such as 127.0.0.1:8081, or off".to_owned()),
        }
    }
}

/// Serves until `stop` is done, and then until the requests that have arrived are answered.
///
/// # Errors
/// The listener failed.
pub(crate) async fn serve(
    listener: TcpListener,
    level: LogLevel,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/log-level", get(show).put(change))
        .with_state(level);
    server::serve(listener, None, routes, stop).await
}

async fn show(State(level): State<LogLevel>) -> String {
    level.get() + "\n"
}

async fn change(State(level): State<LogLevel>, body: String) -> (StatusCode, String) {
    let to = body.trim();
    match level.set(to) {
        Ok(from) => {
            tracing::info!(from, to, "the log level was changed");
            (StatusCode::OK, format!("{to}\n"))
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_switched_off() {
        assert_eq!("".parse(), Ok(AdminAddress::Off));
        assert_eq!("off".parse(), Ok(AdminAddress::Off));
        assert_eq!(
            "[::1]:9".parse(),
            Ok(AdminAddress::At(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9))))
        );
        assert!("localhost".parse::<AdminAddress>().is_err());
    }
}
