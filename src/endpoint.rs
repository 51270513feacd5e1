//! The VPCEndpoint controller: one file for each stage of the data path.

mod access;
mod acknowledged;
pub mod apply;
mod bind;
pub mod capacity;
pub mod context;
pub mod controller;
mod converge;
mod deletion_event;
mod explain;
pub mod memory;
pub mod observe;
mod permission;
mod prepare;
pub mod preview;
pub mod queues;
pub mod reconcile;
mod refused;
mod report;
pub mod service;
pub mod status;
mod stop;
pub mod watches;
