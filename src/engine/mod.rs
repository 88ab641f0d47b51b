//! Floor 2: sends requests to the hosts of a cluster, many at a time, for one driver.
//!
//! An engine decides nothing and retries nothing for the sake of an outcome: it reports how each exchange ended.
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
use crate::sync::Wake;
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// Runs exchanges for the one driver that owns it.
///
/// No method panics, and only `wait` blocks.
pub(crate) trait Engine: Send {
    /// The number of `host`, which is new to the engine or not. The hosts that an engine was made for are
    /// numbered in their order, from 0.
    ///
    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in.
    fn add_host(&mut self, host: &Host) -> Result<usize, ConfigError>;

    /// Accepts an exchange. Each one completes exactly once. Its timeout runs from when a thread begins with it, not from
    /// here: all threads may be busy, or an observer may hold up the driver.
    fn submit(&mut self, exchange: Exchange);

    /// Blocks until an exchange completes, another thread wakes the engine, or `until`, and appends what has
    /// completed. Progress is made only in here.
    fn wait(&mut self, until: Option<Instant>, completed: &mut Vec<Completion>);

    /// Interrupts `wait` from another thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Closes idle connections, here or in all engines of the client, to free their descriptors.
    fn shed_idle_connections(&mut self);

    /// Whether another exchange may be submitted. If not, ask again after a completion.
    fn has_room(&self) -> bool {
        true
    }

    /// Names the driver to call. Returns whether exchanges complete on threads of the engine, also while nobody waits.
    /// Each such thread then calls [`Lead::lead`]. The methods below are for such engines.
    fn attach(&mut self, _: Weak<dyn Lead>) -> bool {
        false
    }

    /// Whether `wait` would return at once.
    fn is_ready(&self) -> bool {
        false
    }

    /// Gets threads for the exchanges that none has begun. Returns false if there are no more threads.
    fn recruit(&mut self) -> bool {
        true
    }

    /// Number of exchanges that no thread has begun, or is about to begin.
    fn queued(&self) -> usize {
        0
    }

    /// Takes an exchange from the queue, for the calling thread to run after it has left the driver's seat.
    fn share(&mut self, _: Share) -> Option<Box<dyn FnOnce() + Send>> {
        None
    }
}

/// A driver, for the threads that complete its exchanges.
pub(crate) trait Lead: Send + Sync {
    /// Handles what has completed, unless another thread does. The calling thread then goes on with the queue.
    fn lead(self: Arc<Self>);
}

/// When the calling thread runs an exchange itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Always,
    /// Only if no thread runs one, so that without it nothing would complete.
    IfNoneRuns,
}

/// Whether an engine can be made for these hosts.
///
/// # Errors
/// A [`ConfigError`] for an https host if TLS is not built in.
pub(crate) fn check_hosts(hosts: &[Host]) -> Result<(), ConfigError> {
    match hosts.iter().find(|host| host.is_https() && !cfg!(feature = "rustls")) {
        Some(host) => Err(crate::http::no_tls(host)),
        None => Ok(()),
    }
}

/// One request to one host, and its answer.
#[cfg_attr(all(test, loom), expect(dead_code, reason = "the model of the hosts looks at the host only"))]
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Chosen by the driver, and returned with the completion.
    pub(crate) id: u64,
    /// The number of the host.
    pub(crate) host: usize,
    pub(crate) request: Arc<Request>,
    /// Sent beside the headers that every request has. Name and value are valid in HTTP.
    #[cfg_attr(
        not(feature = "multiplex"),
        expect(dead_code, reason = "the thread engine gets it with the API as data")
    )]
    pub(crate) headers: Arc<[(String, String)]>,
    /// For everything, from the look-up of the name to the end of the answer. An answer that arrived in time counts, even
    /// if the driver called `wait` late.
    pub(crate) timeout: Duration,
    /// Whether the completion carries the body of the answer.
    #[cfg_attr(
        not(feature = "multiplex"),
        expect(dead_code, reason = "the thread engine gets it with the API as data")
    )]
    pub(crate) wants_body: bool,
}

/// The end of an exchange.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    pub(crate) id: u64,
    pub(crate) reply: Reply,
    /// The whole body, if it was wanted, was not cut, and is not larger than [`crate::http::MAX_BODY`].
    #[allow(dead_code, reason = "the API as data, whose answers may be told by their body, comes next")]
    pub(crate) body: Option<Vec<u8>>,
    /// From `submit` to here.
    pub(crate) elapsed: Duration,
}
