//! The pure part of vpce-operator: no client, no clock, no async.

pub mod api;
pub mod ids;
