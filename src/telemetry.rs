//! What people watch the operator by: metrics, logs, traces, and the HTTP servers: for the
//! kubelet's probes, for Prometheus, and the one on loopback by which the log level is changed.

mod access;
pub(crate) mod admin;
pub(crate) mod health;
pub(crate) mod kubernetes;
mod labels;
pub(crate) mod logging;
pub(crate) mod metrics;
mod objects;
pub(crate) mod reference;
pub(crate) mod scrape;
mod server;
pub(crate) mod tls;
pub(crate) mod traces;

pub(crate) use access::Access;
pub(crate) use admin::AdminAddress;
pub(crate) use health::Heartbeat;
pub(crate) use logging::LogFormat;
pub(crate) use metrics::{Described, Metrics, MetricsOptions, Outcome};
pub(crate) use objects::{RateLimiterGauges, RegionGauges, Sources};

#[cfg(test)]
mod tests;
