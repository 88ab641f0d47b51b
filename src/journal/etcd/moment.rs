//! A moment, by two clocks: the monotonic one stops while the machine is suspended, and the lease in etcd goes on. The
//! clock of the day goes on too, but it may be set.
//!
//! The time by which it has run ahead of the monotonic clock counts as a suspend. So a clock that is set forward only
//! shortens a lease until its next renewal.

use std::time::{Duration, Instant, SystemTime};

/// A smaller difference of the two clocks is a correction of the clock of the day.
const CORRECTION: Duration = Duration::from_millis(100);

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    day: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Moment { monotonic: Instant::now(), day: SystemTime::now() }
    }

    /// Returns the end of a time that began at this moment. It comes earlier by each suspend until `now`.
    pub(super) fn end_of(self, length: Duration, now: Moment) -> Instant {
        let end = self.monotonic + length;
        end.checked_sub(self.suspended(now)).unwrap_or(self.monotonic)
    }

    /// The time between two moments for which the machine was suspended.
    fn suspended(self, now: Moment) -> Duration {
        let passed = now.day.duration_since(self.day).unwrap_or_default();
        let ahead = passed.saturating_sub(now.monotonic.saturating_duration_since(self.monotonic));
        if ahead < CORRECTION { Duration::ZERO } else { ahead }
    }

    /// This moment as it looks after a suspend.
    #[cfg(test)]
    pub(super) fn before_suspend(self, length: Duration) -> Self {
        Moment { day: self.day - length, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_comes_earlier_by_a_suspend_and_not_by_a_correction() {
        let start = Moment::now();
        let length = Duration::from_secs(30);
        let later = |monotonic: f64, day: f64| Moment {
            monotonic: start.monotonic + Duration::from_secs_f64(monotonic),
            day: start.day + Duration::from_secs_f64(day),
        };
        for (now, earlier) in [
            (later(0.0, 0.0), 0),
            (later(10.0, 10.0), 0),
            (later(10.0, 10.05), 0),
            (later(10.0, 15.0), 5),
            (later(1.0, 3_601.0), 3_600),
            // The clock of the day was set back.
            (later(10.0, 4.0), 0),
            (Moment { day: start.day - length, ..later(10.0, 0.0) }, 0),
        ] {
            let end = start.monotonic + length - Duration::from_secs(earlier);
            assert_eq!(start.end_of(length, now), end, "{now:?}");
        }
    }
}
