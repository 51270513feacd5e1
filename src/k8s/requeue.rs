//! Puts objects into the queues of their controllers.

use std::sync::Arc;

/// Wakes a VPCEndpoint, by namespace and name.
pub type Enqueue = Arc<dyn Fn(&str, &str) + Send + Sync>;
