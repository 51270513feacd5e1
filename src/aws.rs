//! AWS: sessions of roles, and regions that answer from one snapshot.

pub mod dry_run;
pub mod ec2;
pub mod error;
pub mod http;
pub mod observer;
pub mod region;
pub mod semaphore;
pub mod sessions;

use std::sync::Arc;

/// Whether AWS may be written for an object, now.
pub type Permitted = Arc<dyn Fn() -> bool + Send + Sync>;
