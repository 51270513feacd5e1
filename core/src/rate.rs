//! How often AWS may be called: the documented limits, and a fair limiter in front of each action.

mod adaptive;
mod bucket;
mod limiter;
mod limits;
mod queue;

pub use limiter::{Decision, FairRateLimiter};
pub use limits::{LOAD_BALANCING_READS, Limit, Limits, NotALimit, Override, documented};
