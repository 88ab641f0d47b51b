//! An exchange and its progress over all its attempts.

use std::time::Instant;

use crate::engine::Exchange;

/// An exchange and its progress.
pub(super) struct InFlight {
    pub(super) exchange: Exchange,
    /// The path of the request, with the base path of the host.
    pub(super) path: String,
    pub(super) begun: Instant,
    /// Set by the first `wait` after `submit`.
    pub(super) deadline: Instant,
    /// Requires a new connection.
    pub(super) needs_fresh: bool,
    pub(super) has_shed: bool,
    pub(super) redirected: bool,
    /// At least one byte of the request was sent on an earlier connection.
    pub(super) has_left: bool,
}

impl InFlight {
    pub(super) fn new(exchange: Exchange, begun: Instant) -> Self {
        InFlight {
            exchange,
            path: String::new(),
            begun,
            deadline: begun,
            needs_fresh: false,
            has_shed: false,
            redirected: false,
            has_left: false,
        }
    }
}
