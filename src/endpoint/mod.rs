//! The VPCEndpoint controller: one file for each stage of the way of the data.

pub mod apply;
pub mod controller;
pub mod gate;
pub mod memory;
pub mod observe;
pub mod reconcile;
pub mod status;
