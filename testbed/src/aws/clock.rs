//! Simulated time: seconds since the start, which may run faster than ours or be pushed forward.

use std::time::{Duration, Instant, SystemTime};

use jiff::{Timestamp, Unit};

/// Seconds of simulated time since the simulator started.
pub(crate) type Seconds = f64;

pub(crate) struct Clock {
    started: Instant,
    started_wall: SystemTime,
    scale: f64,
    advanced: Seconds,
    /// How far AWS's clock is ahead of ours, in seconds of ours.
    skew: f64,
}

impl Clock {
    pub(crate) fn start(scale: f64) -> Self {
        Self {
            started: Instant::now(),
            started_wall: SystemTime::now(),
            scale,
            advanced: 0.0,
            skew: 0.0,
        }
    }

    pub(crate) fn now(&self) -> Seconds {
        self.started.elapsed().as_secs_f64() * self.scale + self.advanced
    }

    /// Jumps forward.
    pub(crate) fn advance(&mut self, seconds: Seconds) {
        self.advanced += seconds;
    }

    pub(crate) fn set_skew(&mut self, seconds: f64) {
        self.skew = seconds;
    }

    /// What AWS's own clock says: ours, and what sets them apart.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::try_from(shifted(SystemTime::now(), self.skew)).unwrap_or_default()
    }

    /// The same as the `Date` of an answer.
    pub(crate) fn http_date(&self) -> String {
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        printer.timestamp_to_rfc9110_string(&self.wall()).unwrap_or_default()
    }

    /// The moment of the caller's own clock at which simulated time is (or was) `at`, since that is
    /// the clock it will compare with: a session of an hour at five times the speed expires in
    /// twelve minutes. Where AWS's clock is ahead, so is what it says.
    pub(crate) fn timestamp(&self, at: Seconds) -> String {
        let real = (at - self.advanced) / self.scale;
        let moment = shifted(self.started_wall, real + self.skew);
        Timestamp::try_from(moment)
            .and_then(|t| t.round(Unit::Millisecond))
            .map(|t| t.to_string())
            .unwrap_or_default()
    }
}

fn shifted(moment: SystemTime, seconds: f64) -> SystemTime {
    let by = Duration::from_secs_f64(seconds.abs());
    if seconds >= 0.0 { moment + by } else { moment - by }
}

/// Reads an `X-Amz-Date`: `20260102T030405Z`.
pub(crate) fn read_date(text: &str) -> Option<Timestamp> {
    Timestamp::strptime("%Y%m%dT%H%M%S%z", text.replace('Z', "+0000")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_faster_and_jumps() {
        let mut clock = Clock::start(1000.0);
        std::thread::sleep(Duration::from_millis(5));
        assert!(clock.now() >= 5.0);
        clock.advance(10_000.0);
        assert!(clock.now() >= 10_005.0);
    }

    #[test]
    fn a_timestamp_is_on_the_callers_clock() {
        let clock = Clock::start(60.0);
        let in_an_hour: Timestamp = clock.timestamp(3600.0).parse().expect("a timestamp");
        let ahead = in_an_hour.as_second() - Timestamp::now().as_second();
        assert!((59..=61).contains(&ahead), "{ahead}");
    }
}
