//! What the parts below ureq need to know of the request that they carry, and tell of it.
//!
//! ureq hands its transports neither a deadline for the whole call nor a place to note things. But it
//! runs a call from the look-up to the last byte of the body on the thread that makes it (as long as it
//! is given no timeout of its own), so the call lives in a variable of that thread.
//!
//! A logger that is called during a request may send another request on the same thread. Therefore the variables
//! act as a stack: each request restores what it found ([`enter`]).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::http::errors;
use crate::values::cause::RequestError;

#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "five facts, each noted at another place")]
pub(super) struct Call {
    deadline: Instant,
    /// What the caller gave, for the error texts.
    pub(super) timeout: Duration,
    /// No idle connection will do.
    pub(super) fresh: bool,
    /// This call opened its connection, rather than found an idle one.
    pub(super) connected: bool,
    /// The TLS handshake is not over: what is sent is not the request.
    pub(super) securing: bool,
    /// The system took at least one byte of the request.
    pub(super) sent: bool,
    /// At least one byte came back after that.
    pub(super) received: bool,
}

/// Stands for timeouts that the clock cannot express.
const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Call {
    /// A call whose time begins now.
    pub(super) fn new(timeout: Duration) -> Self {
        Call::begun(Instant::now(), timeout)
    }

    /// A call whose time runs since `begun`.
    pub(super) fn begun(begun: Instant, timeout: Duration) -> Self {
        let deadline = begun + timeout.min(AGES);
        Call { deadline, timeout, fresh: false, connected: false, securing: false, sent: false, received: false }
    }

    pub(super) fn on_a_fresh_connection(self) -> Self {
        Call { fresh: true, ..self }
    }

    /// The time left; none at all is `None`.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    pub(super) fn shorten(&mut self, left: Duration) {
        self.deadline = self.deadline.min(Instant::now() + left);
    }

    pub(super) fn out_of_time(&self) -> RequestError {
        errors::out_of_time(self.sent, self.timeout)
    }
}

thread_local! {
    static CALL: Cell<Option<Call>> = const { Cell::new(None) };
}

/// State of the outer request of this thread, if there is one. Dropping it restores that state.
#[must_use]
pub(super) struct Outer(Option<Call>);

/// Begins a request.
pub(super) fn enter() -> Outer {
    Outer(CALL.take())
}

impl Drop for Outer {
    fn drop(&mut self) {
        CALL.set(self.0);
    }
}

pub(super) fn begin(call: Call) {
    CALL.set(Some(call));
}

/// The call that runs on this thread. Without one there is no time for anything.
pub(super) fn current() -> Call {
    CALL.get().unwrap_or_else(|| Call::new(Duration::ZERO))
}

pub(super) fn update(change: impl FnOnce(&mut Call)) {
    let mut call = current();
    change(&mut call);
    CALL.set(Some(call));
}
