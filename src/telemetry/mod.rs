//! What people watch the operator by: metrics, logs, traces, the HTTP server that probes and Prometheus ask, and the one on loopback by
//! which the log level is changed.

pub mod admin;
pub mod http;
pub mod kubernetes;
mod labels;
pub mod logging;
pub mod metrics;
mod objects;
pub mod reference;
pub mod traces;

pub use admin::AdminAddress;
pub use http::{Heartbeat, serve};
pub use logging::LogFormat;
pub use metrics::{Described, InFlight, Metrics, MetricsOptions, Outcome};
pub use objects::{LineGauges, RegionGauges, Sources};

#[cfg(test)]
mod tests;
