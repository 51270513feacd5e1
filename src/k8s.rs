//! Kubernetes, as all controllers use it: caches of what is watched, writes and who refuses them, finalizers, conditions, events, the lease.

pub mod caches;
pub mod conditions;
pub mod controller;
pub mod error;
pub mod events;
pub mod finalizer;
pub mod in_use;
pub mod lease;
pub mod object_key;
pub mod pages;
pub mod patch;
pub mod requeue;
pub mod watch;
pub mod writes;
