//! Floor 1: the time and the bytes of an exchange.

use std::ops::AddAssign;
use std::time::Duration;

/// Bytes of requests and of their answers on the connection, so encrypted ones if the host is https. The bytes that
/// open a connection do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    /// Bytes that the system accepted.
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Traffic {
    pub(crate) fn add_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    pub(crate) fn add_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// The time that an exchange took, and its bytes over all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) elapsed: Duration,
    pub(crate) traffic: Traffic,
}

impl Usage {
    /// The usage of an exchange that was not sent.
    pub(crate) fn unsent(elapsed: Duration) -> Self {
        Usage { elapsed, ..Usage::default() }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.elapsed += other.elapsed;
        self.traffic += other.traffic;
    }
}
