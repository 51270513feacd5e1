//! AWS: sessions of roles, and regions that answer from one snapshot.

pub mod delete_batch;
pub mod dry_run;
pub mod ec2;
pub mod error;
mod group_users;
pub mod http;
pub mod leftovers;
pub mod limiters;
pub mod observer;
pub mod region;
pub mod sessions;
pub mod snapshot;
