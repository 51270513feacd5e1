//! Kubernetes, as all controllers use it: caches of what is watched, writes and who refuses them,
//! finalizers, conditions, events, the lease.

pub(crate) mod caches;
pub(crate) mod conditions;
pub(crate) mod controller;
pub(crate) mod dns_endpoint;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod finalizer;
pub(crate) mod in_use;
pub(crate) mod lease;
pub(crate) mod owned;
pub(crate) mod pages;
pub(crate) mod patch;
mod queue;
pub(crate) mod requeue;
pub(crate) mod watch;
pub(crate) mod writes;
