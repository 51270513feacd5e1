//! AWS: sessions of roles, and regions that answer from one snapshot.

pub mod deletes;
pub mod dry_run;
pub mod ec2;
pub mod error;
pub mod http;
pub mod leftovers;
pub mod lines;
pub mod observer;
pub mod region;
pub mod sessions;
pub mod snapshot;
mod users;
