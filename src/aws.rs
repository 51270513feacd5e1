//! AWS: sessions of roles, and regions that answer from one snapshot.

pub(crate) mod dry_run;
pub(crate) mod ec2;
pub(crate) mod elb;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod observer;
pub(crate) mod region;
pub(crate) mod semaphore;
pub(crate) mod sessions;

use std::sync::Arc;

/// Whether AWS may be written for an object, now.
pub(crate) type Permitted = Arc<dyn Fn() -> bool + Send + Sync>;
