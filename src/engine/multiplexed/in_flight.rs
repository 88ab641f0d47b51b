//! An exchange and its progress over all its attempts.

use std::time::{Duration, Instant};

use crate::engine::Exchange;
use crate::values::usage::Traffic;

/// Upper bound of timeouts, because the clock cannot express longer ones.
const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An exchange and its progress.
pub(super) struct InFlight {
    pub(super) exchange: Exchange,
    /// The whole path after a redirect. Absent before one.
    pub(super) redirected: Option<String>,
    pub(super) begun: Instant,
    /// End of the timeout, which runs from when the exchange begins.
    pub(super) deadline: Instant,
    /// The latest time at which the exchange begins. Set by the first `wait` after `submit`.
    latest_begin: Instant,
    /// Requires a new connection.
    pub(super) needs_fresh: bool,
    pub(super) has_shed: bool,
    /// At least one byte of the request was sent on an earlier connection.
    pub(super) has_left: bool,
    /// Bytes of the attempts that have ended.
    pub(super) traffic: Traffic,
}

impl InFlight {
    pub(super) fn new(exchange: Exchange, begun: Instant) -> Self {
        InFlight {
            exchange,
            redirected: None,
            begun,
            deadline: begun,
            latest_begin: begun,
            needs_fresh: false,
            has_shed: false,
            has_left: false,
            traffic: Traffic::default(),
        }
    }

    /// Begins the timeout. An exchange may also wait that long for a connection.
    pub(super) fn set_deadline(&mut self, now: Instant) {
        self.deadline = now + self.exchange.timeout.min(AGES);
        self.latest_begin = self.deadline;
    }

    /// Returns the time until which the exchange may wait for a connection.
    pub(super) fn parked_until(&self) -> Instant {
        if self.has_left { self.deadline } else { self.latest_begin }
    }

    /// Ends the wait for a connection. The timeout begins again, unless a part of the request was sent before: that one
    /// has one timeout for all its attempts. After the latest time to begin, the timeout has passed.
    pub(super) fn unpark(&mut self, now: Instant) {
        if self.has_left {
            return;
        }
        let is_late = self.latest_begin <= now;
        self.deadline = if is_late { self.latest_begin } else { now + self.exchange.timeout.min(AGES) };
    }
}
