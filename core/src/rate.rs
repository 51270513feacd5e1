//! How often AWS may be called: the documented limits, and a fair limiter in front of each action.

mod adaptive;
mod limiter;
mod limits;

pub use limiter::{Decision, FairRateLimiter};
pub use limits::{Limit, Limits, NotALimit, Override, documented};
