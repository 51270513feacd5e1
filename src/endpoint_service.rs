//! The VPCEndpointService controller: the same data path as for VPCEndpoints.

mod access;
mod apply;
mod bind;
mod consumers;
pub(crate) mod context;
pub(crate) mod controller;
mod converge;
mod findings;
mod load_balancers;
mod prepare;
pub(crate) mod preview;
mod queues;
mod reconcile;
mod report;
mod status;
