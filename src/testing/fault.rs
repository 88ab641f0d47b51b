//! The faults of a node: one at a time, for chosen requests.

use std::{fmt, sync::Arc, time::Duration};

use super::route::Method;

/// A fault of a node, with the requests that it affects and their number.
///
/// A constructor sets the answer. Modifiers set the rest:
///
/// * the effect: [`after_applying`](Self::after_applying), [`applying_late`](Self::applying_late);
/// * delays: [`delayed`](Self::delayed), [`answering_late`](Self::answering_late);
/// * the requests: [`on`](Self::on), [`group`](Self::group);
/// * their number: [`times`](Self::times), [`always`](Self::always).
///
/// Without modifiers a fault affects the next request, once. To apply a POST or DELETE is to change the node's groups;
/// a GET changes nothing.
///
/// ```
/// use cluster_client::testing::{Fault, Method, Node};
/// # fn main() -> std::io::Result<()> {
/// let node = Node::start()?;
/// // The create is applied, but its 201 is lost; then the node is overloaded for two checks.
/// node.inject(Fault::drop_connection().after_applying().on(Method::Post).group("g"));
/// node.inject(Fault::answer(503).header("Retry-After", "1").on(Method::Get).times(2));
/// assert_eq!(node.pending_faults(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a fault does nothing until it is injected into a node"]
pub struct Fault {
    pub(super) before: Duration,
    pub(super) apply: Apply,
    pub(super) after: Duration,
    pub(super) answer: AnswerKind,
    pub(super) headers: Vec<(String, String)>,
    method: Option<Method>,
    group: Option<String>,
    times: Option<u64>,
}

/// When a request takes effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Apply {
    Now,
    Never,
    Late(Duration),
}

/// The answer to the client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnswerKind {
    Truth,
    Stale,
    Status(u16),
    Redirect(u16, String),
    Drop,
    Reset,
    Mute,
    Raw(Arc<[u8]>),
    Trickle(Duration),
    Endless,
    Huge(u64),
    Truncated,
}

/// Bytes that are neither HTTP nor text. They are long enough that no client waits for more.
const GARBAGE: &[u8] = b"\x16\x03\x01\xff\xfe this is not the protocol you are looking for \x00\x00\r\n\r\n";

/// No fault, to borrow.
pub(super) static NO_FAULT: Fault = Fault::NONE;

impl Fault {
    /// No fault: the request is applied at once, and answered truthfully.
    pub(super) const NONE: Self = Self::new(Apply::Now, AnswerKind::Truth);

    const fn new(apply: Apply, answer: AnswerKind) -> Self {
        Self {
            before: Duration::ZERO,
            apply,
            after: Duration::ZERO,
            answer,
            headers: Vec::new(),
            method: None,
            group: None,
            times: Some(1),
        }
    }

    /// Answers `status` and does not apply the request.
    ///
    /// Any number is written, also if it is no HTTP status.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::answer(503).to_string(), "not applied, answers 503");
    /// ```
    pub fn answer(status: u16) -> Self {
        Self::new(Apply::Never, AnswerKind::Status(status))
    }

    /// Waits `delay`, then applies the request and answers truthfully.
    ///
    /// A client with a shorter timeout sees a timeout, and the request takes effect afterwards.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::delay(Duration::from_millis(20));
    /// assert_eq!(fault.to_string(), "waits 20ms, applied, answers truthfully");
    /// ```
    pub fn delay(delay: Duration) -> Self {
        Self::NONE.delayed(delay)
    }

    /// Applies the request at once, then waits `delay` before the truthful answer.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::delay_answer(Duration::from_millis(20));
    /// assert_eq!(fault.to_string(), "applied, waits 20ms, answers truthfully");
    /// ```
    pub fn delay_answer(delay: Duration) -> Self {
        Self::NONE.answering_late(delay)
    }

    /// Closes the connection instead of answering, without applying the request.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// let lost_answer = Fault::drop_connection().after_applying();
    /// assert_eq!(lost_answer.to_string(), "applied, drops the connection");
    /// ```
    pub fn drop_connection() -> Self {
        Self::new(Apply::Never, AnswerKind::Drop)
    }

    /// Resets the connection (TCP RST) instead of answering, without applying the request.
    ///
    /// Linux, the BSDs and Windows send a reset if a socket is closed with unread bytes. A pipelined request that was
    /// read together with an earlier one leaves no unread bytes, so its connection is closed without a reset.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::reset().to_string(), "not applied, resets the connection");
    /// ```
    pub fn reset() -> Self {
        Self::new(Apply::Never, AnswerKind::Reset)
    }

    /// Never answers and keeps the connection open until the client closes it or the node stops.
    /// The request is not applied.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::mute().to_string(), "not applied, never answers");
    /// ```
    pub fn mute() -> Self {
        Self::new(Apply::Never, AnswerKind::Mute)
    }

    /// Closes the connection now, and applies the request after `delay`. [`Node::stop`](super::Node::stop) discards it.
    ///
    /// To answer instead of closing: `Fault::answer(504).applying_late(delay)`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::apply_late(Duration::from_secs(1));
    /// assert_eq!(fault.to_string(), "applied 1s later, drops the connection");
    /// ```
    pub fn apply_late(delay: Duration) -> Self {
        Self::new(Apply::Late(delay), AnswerKind::Drop)
    }

    /// Sends bytes that are not HTTP and closes the connection. The request is not applied.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::garbage(), Fault::garbage().before_applying());
    /// ```
    pub fn garbage() -> Self {
        Self::raw(GARBAGE)
    }

    /// Sends exactly `bytes` and closes the connection. The request is not applied.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::raw("HTTP/1.1 201 Created\r\nContent-Length: x\r\n\r\n");
    /// assert_eq!(fault.to_string(), "not applied, sends 43 raw bytes");
    /// ```
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::new(Apply::Never, AnswerKind::Raw(bytes.as_ref().into()))
    }

    /// Applies the request, then sends the truthful answer's head one byte per `interval`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::trickle(Duration::from_millis(5));
    /// assert_eq!(fault.to_string(), "applied, sends its head one byte per 5ms");
    /// ```
    pub fn trickle(interval: Duration) -> Self {
        Self::new(Apply::Now, AnswerKind::Trickle(interval))
    }

    /// Applies the request, then answers with the true status and a chunked body. The body continues until the client
    /// closes the connection or the node stops.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::endless_body().to_string(), "applied, sends an endless body");
    /// ```
    pub fn endless_body() -> Self {
        Self::new(Apply::Now, AnswerKind::Endless)
    }

    /// Applies the request, then answers with the true status and a body of `bytes` bytes.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::huge_body(1 << 20).to_string(), "applied, sends a body of 1048576 bytes");
    /// ```
    pub fn huge_body(bytes: u64) -> Self {
        Self::new(Apply::Now, AnswerKind::Huge(bytes))
    }

    /// Answers `status` with a `Location` header. The request is not applied.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::redirect(307, "http://elsewhere.example/");
    /// assert_eq!(fault.to_string(), "not applied, redirects (307) to http://elsewhere.example/");
    /// ```
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(Apply::Never, AnswerKind::Redirect(status, location.into()))
    }

    /// Applies the request, sends less of the body than `Content-Length` says, and closes the connection.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::truncated_body().to_string(), "applied, sends a truncated body");
    /// ```
    pub fn truncated_body() -> Self {
        Self::new(Apply::Now, AnswerKind::Truncated)
    }

    /// Answers a GET of a group as before the last change of that group: 404 for an existing group, 200 for a deleted
    /// one. The node remembers the last 1,024 deleted groups. Other groups and other requests are answered truthfully.
    ///
    /// The fault affects a GET, unless [`on`](Self::on) sets another method.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::stale().to_string(), "on GET: applied, answers from a stale state");
    /// ```
    pub fn stale() -> Self {
        Self::new(Apply::Now, AnswerKind::Stale).on(Method::Get)
    }

    /// Applies the request at once, whatever the answer is.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::answer(500).after_applying().to_string(), "applied, answers 500");
    /// ```
    pub fn after_applying(mut self) -> Self {
        self.apply = Apply::Now;
        self
    }

    /// Does not apply the request, whatever the answer is. `Fault::trickle(..)`, `Fault::endless_body()` and others
    /// then answer as if it had been applied.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// let lie = Fault::truncated_body().before_applying();
    /// assert_eq!(lie.to_string(), "not applied, sends a truncated body");
    /// ```
    pub fn before_applying(mut self) -> Self {
        self.apply = Apply::Never;
        self
    }

    /// Applies the request `delay` after it was handled, whatever the answer is. A node that stops before discards it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::answer(504).applying_late(Duration::from_millis(50));
    /// assert_eq!(fault.to_string(), "applied 50ms later, answers 504");
    /// ```
    pub fn applying_late(mut self, delay: Duration) -> Self {
        self.apply = Apply::Late(delay);
        self
    }

    /// Waits `delay` before it handles the request, on top of the node's own latency.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::answer(503).delayed(Duration::from_millis(50));
    /// assert_eq!(fault.to_string(), "waits 50ms, not applied, answers 503");
    /// ```
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.before = delay;
        self
    }

    /// Waits `delay` between handling the request and answering it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::answer(503).answering_late(Duration::from_millis(50));
    /// assert_eq!(fault.to_string(), "not applied, waits 50ms, answers 503");
    /// ```
    pub fn answering_late(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    /// Adds a header to the answer. Name and value are written unchecked.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// let fault = Fault::answer(429).header("Retry-After", "2");
    /// assert_eq!(fault.to_string(), "not applied, answers 429 (Retry-After: 2)");
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Affects only requests of this method.
    ///
    /// ```
    /// # use cluster_client::testing::{Fault, Method};
    /// let fault = Fault::mute().on(Method::Delete);
    /// assert_eq!(fault.to_string(), "on DELETE: not applied, never answers");
    /// ```
    pub fn on(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Affects only requests of this group.
    ///
    /// ```
    /// # use cluster_client::testing::{Fault, Method};
    /// let fault = Fault::mute().on(Method::Post).group("g");
    /// assert_eq!(fault.to_string(), "on POST of g: not applied, never answers");
    /// ```
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Affects this many requests instead of one; 0 means none.
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::answer(500).times(3).to_string(), "3 times: not applied, answers 500");
    /// ```
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Affects every request, until [`Node::clear_faults`](super::Node::clear_faults).
    ///
    /// ```
    /// # use cluster_client::testing::Fault;
    /// assert_eq!(Fault::answer(500).always().to_string(), "always: not applied, answers 500");
    /// ```
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    fn matches(&self, method: Method, group: Option<&str>) -> bool {
        self.method.is_none_or(|wanted| wanted == method) && (self.group.is_none() || self.group.as_deref() == group)
    }
}

/// Describes the requests and their fault in one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe_requests(f)?;
        if !self.before.is_zero() {
            write!(f, "waits {:?}, ", self.before)?;
        }
        match self.apply {
            Apply::Now => f.write_str("applied, ")?,
            Apply::Never => f.write_str("not applied, ")?,
            Apply::Late(delay) => write!(f, "applied {delay:?} later, ")?,
        }
        if !self.after.is_zero() {
            write!(f, "waits {:?}, ", self.after)?;
        }
        self.answer.fmt(f)?;
        for (name, value) in &self.headers {
            write!(f, " ({name}: {value})")?;
        }
        Ok(())
    }
}

impl Fault {
    fn describe_requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(method) = self.method {
            words.push(format!("on {method}"));
        }
        if let Some(group) = &self.group {
            words.push(format!("of {group}"));
        }
        match self.times {
            None => words.push("always".to_owned()),
            Some(1) => {}
            Some(times) => words.push(format!("{times} times")),
        }
        if words.is_empty() {
            return Ok(());
        }
        write!(f, "{}: ", words.join(" "))
    }
}

impl fmt::Display for AnswerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth => f.write_str("answers truthfully"),
            Self::Stale => f.write_str("answers from a stale state"),
            Self::Status(status) => write!(f, "answers {status}"),
            Self::Redirect(status, location) => write!(f, "redirects ({status}) to {location}"),
            Self::Drop => f.write_str("drops the connection"),
            Self::Reset => f.write_str("resets the connection"),
            Self::Mute => f.write_str("never answers"),
            Self::Raw(bytes) => write!(f, "sends {} raw bytes", bytes.len()),
            Self::Trickle(interval) => write!(f, "sends its head one byte per {interval:?}"),
            Self::Endless => f.write_str("sends an endless body"),
            Self::Huge(bytes) => write!(f, "sends a body of {bytes} bytes"),
            Self::Truncated => f.write_str("sends a truncated body"),
        }
    }
}

/// The pending faults, in the order of injection.
#[derive(Debug, Default)]
pub(super) struct Script {
    waiting: Vec<(Fault, Option<u64>)>,
}

impl Script {
    pub(super) fn push(&mut self, fault: Fault) {
        if fault.times != Some(0) {
            let left = fault.times;
            self.waiting.push((fault, left));
        }
    }

    /// Takes the first pending fault that matches this request, and counts it down by one.
    pub(super) fn take(&mut self, method: Method, group: Option<&str>) -> Option<Fault> {
        let at = self.waiting.iter().position(|(fault, _)| fault.matches(method, group))?;
        match &mut self.waiting[at].1 {
            Some(1) => Some(self.waiting.remove(at).0),
            left => {
                *left = left.map(|left| left - 1);
                Some(self.waiting[at].0.clone())
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
