//! The VPCEndpoint controller: one file for each stage of the data path.

mod access;
mod acknowledged;
mod addresses;
pub(crate) mod apply;
mod bind;
pub(crate) mod capacity;
pub(crate) mod context;
pub(crate) mod controller;
mod converge;
mod corrections;
mod deletion_event;
mod explain;
pub(crate) mod legacy;
pub(crate) mod memory;
pub(crate) mod observe;
mod permission;
mod prepare;
pub(crate) mod preview;
pub(crate) mod queues;
pub(crate) mod reconcile;
mod refused;
mod report;
pub(crate) mod service;
pub(crate) mod slices;
pub(crate) mod status;
mod stop;
pub(crate) mod watches;
