//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The wait after the last of so many failures.
pub(crate) fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1_u32 << failures.saturating_sub(1).min(16))
}

/// Between three quarters and the whole, so that what failed together does not come back together.
pub(crate) fn jitter(time: Duration) -> Duration {
    time.mul_f64(0.75 + 0.25 * fastrand::f64())
}
