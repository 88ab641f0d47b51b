//! Floor 2: sends requests to the hosts of a cluster, many at a time, for one driver.
//!
//! An engine reports how each exchange ended. It decides nothing, and does not retry after an answer or a timeout.
//! Deliberately absent: groups, operations and their order.

pub(crate) mod engines;
#[cfg(feature = "multiplex")]
pub(crate) mod multiplexed;
#[cfg(test)]
mod suite;
pub(crate) mod threads;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::api::{Reply, Request};
use crate::http::credentials::HeaderLines;
use crate::sync::Wake;
use crate::values::config::ConfigError;
use crate::values::host::Host;
use crate::values::usage::Usage;

/// Runs exchanges for the driver that owns it.
///
/// No method panics, and only `wait` blocks.
pub(crate) trait Engine: Send {
    /// Returns the number of `host`, and adds the host if the engine does not have it. The hosts that an engine was
    /// created for are numbered in their order, from 0.
    ///
    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in.
    fn add_host(&mut self, host: &Host) -> Result<usize, ConfigError>;

    /// Accepts an exchange. Each one completes exactly once. Its timeout runs from when it begins, not from here: all
    /// threads or descriptors may be in use, or an observer may hold up the driver.
    fn submit(&mut self, exchange: Exchange);

    /// Withdraws the exchanges with these ids that have not begun. They complete as not sent, in the next `wait`.
    fn withdraw(&mut self, is_withdrawn: &dyn Fn(u64) -> bool);

    /// Blocks until an exchange completes, another thread wakes the engine, or `until`. Appends the completions.
    /// Progress is made only in this call, unless [`Engine::attach`] returned true.
    fn wait(&mut self, until: Option<Instant>, completed: &mut Vec<Completion>);

    /// Returns a waker that interrupts `wait` from another thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Closes the idle connections of all engines of the client, to free their descriptors.
    fn shed_idle_connections(&mut self);

    /// Returns whether another exchange may be submitted. If not, ask again after a completion.
    fn has_room(&self) -> bool {
        true
    }

    /// Sets the driver to call. Returns whether exchanges complete on threads of the engine, even outside `wait`. Each
    /// such thread then calls [`Lead::lead`]. The methods below are for such engines.
    fn attach(&mut self, _: Weak<dyn Lead>) -> bool {
        false
    }

    /// Returns whether `wait` would return at once.
    fn is_ready(&self) -> bool {
        false
    }

    /// Gets threads for the queued exchanges. Returns false if there are no more threads.
    fn recruit(&mut self) -> bool {
        true
    }

    /// Returns the number of queued exchanges for which no thread is on its way.
    fn queued(&self) -> usize {
        0
    }

    /// Takes an exchange from the queue. The calling thread runs it after it has left the driver's seat.
    fn share(&mut self, _: Share) -> Option<Box<dyn FnOnce() + Send>> {
        None
    }
}

/// A driver, for the threads that complete its exchanges.
pub(crate) trait Lead: Send + Sync {
    /// Handles the completions, unless another thread does. The calling thread then returns to the queue.
    fn lead(self: Arc<Self>);
}

/// The condition under which the calling thread runs an exchange itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Always,
    /// Only if no other thread runs one, so that nothing else would complete.
    IfNoneRuns,
}

/// One request to one host, and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Id chosen by the driver. The completion returns it.
    pub(crate) id: u64,
    /// The number of the host.
    pub(crate) host: usize,
    pub(crate) request: Arc<Request>,
    /// Whether the request only reads, as a check does, so that it may be repeated on another connection. The method
    /// proves nothing: an API may check by a POST, and may create or delete by a GET.
    pub(crate) only_reads: bool,
    /// Header lines with secrets, which no crate may log.
    pub(crate) credentials: HeaderLines,
    /// Timeout from the look-up of the name to the end of the answer. An answer that arrived in time counts, even if
    /// the driver called `wait` late.
    pub(crate) timeout: Duration,
    /// The exchange does not begin if its timeout would end after this time. It then completes as not sent.
    pub(crate) not_after: Option<Instant>,
}

impl Exchange {
    /// Whether the exchange may begin now. No byte of a request is sent after its timeout.
    pub(crate) fn may_begin(&self, now: Instant) -> bool {
        self.not_after.is_none_or(|end| now.checked_add(self.timeout).is_some_and(|over| over <= end))
    }
}

/// The end of an exchange.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    pub(crate) id: u64,
    pub(crate) reply: Reply,
    /// The time since `submit`, and the bytes.
    pub(crate) usage: Usage,
}
