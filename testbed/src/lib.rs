//! The testbed: a real Kubernetes control plane, an AWS that is simulated at the wire, and the
//! operator as its chart deploys it.

pub mod api_proxy;
pub mod aws;
pub mod bench;
mod cache;
mod child;
pub mod collector;
pub mod control_plane;
pub mod dashboards;
pub mod demo;
pub mod forward_proxy;
pub mod generate;
pub mod http;
pub mod operator;
pub mod pictures;
mod ports;
pub mod prometheus;
pub mod promql;
pub mod python;
pub mod scenario;
pub mod schemas;
mod server;
pub mod tools;
pub mod webhook;
