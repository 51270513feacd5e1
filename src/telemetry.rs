//! What people watch the operator by: metrics, logs, traces, and the HTTP servers: for the kubelet's probes, for Prometheus, and the one on
//! loopback by which the log level is changed.

mod access;
pub mod admin;
pub mod health;
pub mod kubernetes;
mod labels;
pub mod logging;
pub mod metrics;
mod objects;
pub mod reference;
pub mod scrape;
mod server;
pub mod tls;
pub mod traces;

pub use access::Access;
pub use admin::AdminAddress;
pub use health::Heartbeat;
pub use logging::LogFormat;
pub use metrics::{Described, Metrics, MetricsOptions, Outcome};
pub use objects::{RateLimiterGauges, RegionGauges, Sources};

#[cfg(test)]
mod tests;
