//! State of a request, for the transport below ureq.
//!
//! ureq passes its transports neither a deadline of the whole request nor other state. Without its own timeouts, ureq
//! runs a request on one thread, from the look-up to the last byte of the body. Therefore the state is thread-local.
//!
//! A logger that is called during a request may send another request on that thread. Therefore the states act as a
//! stack: each request restores the state of the outer one ([`enter`]).

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use crate::http::credentials::HeaderLines;
use crate::http::errors;
use crate::values::cause::RequestError;
use crate::values::usage::Traffic;

#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts")]
pub(super) struct RequestContext {
    deadline: Instant,
    /// Timeout of the request, for the error texts.
    pub(super) timeout: Duration,
    /// Requires a new connection.
    pub(super) fresh: bool,
    /// The request opened its connection, instead of using an idle one.
    pub(super) connected: bool,
    /// The TLS handshake is not complete, so bytes that are sent are not part of the request.
    pub(super) securing: bool,
    /// Bytes that end the handshake and are sent with the request.
    unsent_handshake: usize,
    /// The system accepted at least one byte of the request.
    pub(super) sent: bool,
    /// At least one byte was received after that.
    pub(super) received: bool,
}

/// Upper bound of timeouts, because the clock cannot express longer ones.
const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl RequestContext {
    /// Creates the state of a request whose timeout starts now.
    pub(super) fn new(timeout: Duration) -> Self {
        RequestContext::begun(Instant::now(), timeout)
    }

    /// Creates the state of a request whose timeout started at `begun`.
    pub(super) fn begun(begun: Instant, timeout: Duration) -> Self {
        let deadline = begun + timeout.min(AGES);
        RequestContext {
            deadline,
            timeout,
            fresh: false,
            connected: false,
            securing: false,
            unsent_handshake: 0,
            sent: false,
            received: false,
        }
    }

    pub(super) fn on_a_fresh_connection(self) -> Self {
        RequestContext { fresh: true, ..self }
    }

    /// Returns the time left, or `None` after the deadline.
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

/// Returns whether only the timeout of the socket has passed. The caller checks the deadline of the request.
pub(super) fn is_only_time(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

thread_local! {
    static CONTEXT: Cell<Option<RequestContext>> = const { Cell::new(None) };
    static CREDENTIALS: RefCell<HeaderLines> = RefCell::default();
    /// Bytes of all attempts of the request.
    static TRAFFIC: Cell<Traffic> = const { Cell::new(Traffic { sent: 0, received: 0 }) };
}

/// State of the outer request of this thread, if there is one. Dropping it restores that state.
#[must_use]
pub(super) struct Outer(Option<RequestContext>, HeaderLines, Traffic);

/// Begins a request with these credentials.
pub(super) fn enter(credentials: &HeaderLines) -> Outer {
    Outer(CONTEXT.take(), CREDENTIALS.replace(credentials.clone()), TRAFFIC.take())
}

impl Drop for Outer {
    fn drop(&mut self) {
        CONTEXT.set(self.0);
        CREDENTIALS.set(std::mem::take(&mut self.1));
        TRAFFIC.set(self.2);
    }
}

/// Whether this thread can run a request. It cannot after its thread-local values were destroyed.
pub(super) fn is_there() -> bool {
    CREDENTIALS.try_with(|_| ()).is_ok()
}

/// Returns the credentials of this thread's request.
pub(super) fn credentials() -> HeaderLines {
    CREDENTIALS.with_borrow(HeaderLines::clone)
}

/// Returns the bytes of this thread's request.
pub(super) fn traffic() -> Traffic {
    TRAFFIC.get()
}

/// Notes that the TLS handshake is complete, except for bytes that are not sent yet.
#[cfg(feature = "rustls")]
pub(super) fn note_secured(unsent: usize) {
    update(|context| (context.securing, context.unsent_handshake) = (false, unsent));
}

/// Notes bytes that the system accepted. Those of a TLS handshake are not part of the request.
pub(super) fn note_sent(bytes: usize) {
    let mut context = current();
    if context.securing {
        return;
    }
    let of_request = bytes.saturating_sub(context.unsent_handshake);
    context.unsent_handshake = context.unsent_handshake.saturating_sub(bytes);
    context.sent |= of_request > 0;
    CONTEXT.set(Some(context));
    count(|traffic| traffic.add_sent(of_request));
}

/// Notes bytes that were received. Those before a request are not part of its answer.
pub(super) fn note_received(bytes: usize) {
    let sent = current().sent;
    if bytes > 0 {
        update(|context| context.received = sent);
    }
    if sent {
        count(|traffic| traffic.add_received(bytes));
    }
}

fn count(add: impl FnOnce(&mut Traffic)) {
    let mut traffic = TRAFFIC.get();
    add(&mut traffic);
    TRAFFIC.set(traffic);
}

pub(super) fn begin(context: RequestContext) {
    CONTEXT.set(Some(context));
}

/// Returns the state of this thread's request. Without a request, the returned deadline has passed.
pub(super) fn current() -> RequestContext {
    CONTEXT.get().unwrap_or_else(|| RequestContext::new(Duration::ZERO))
}

pub(super) fn update(change: impl FnOnce(&mut RequestContext)) {
    let mut context = current();
    change(&mut context);
    CONTEXT.set(Some(context));
}
