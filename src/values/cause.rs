//! Floor 1: the errors of one request and of one journal call. Reports and errors contain them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::values::printable::Printable;

/// The error of one request that was answered with no status. The report of its host contains it.
///
/// It is the counterpart of `RequestErrorException` in the Python original.
///
/// ```
/// use cluster_client::{RequestError, RequestErrorKind};
///
/// let error = RequestError::new(RequestErrorKind::Timeout, "no answer within 10s");
/// assert_eq!(error.to_string(), "no answer within 10s");
/// assert_eq!(error.kind(), RequestErrorKind::Timeout);
/// ```
#[derive(Debug, Clone)]
pub struct RequestError {
    kind: RequestErrorKind,
    message: Arc<str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of a [`RequestError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestErrorKind {
    /// The host's name has no address, or its lookup took too long.
    Resolve,
    /// No connection: refused, unreachable, or timed out.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The request was sent, and no complete answer came in time.
    Timeout,
    /// The connection ended before the answer was complete.
    Closed,
    /// The answer is not HTTP, or is larger than the limit.
    Garbage,
    /// This process is out of file descriptors, threads or memory.
    Exhausted,
    /// The request was not sent, or not retried: the operation was cancelled, its time was over, or it had failed on
    /// another host.
    GivenUp,
    /// A panic in this crate or in a hook was caught.
    Internal,
}

impl RequestErrorKind {
    /// The word in JSON, in logs and as a label of metrics.
    ///
    /// ```
    /// use cluster_client::RequestErrorKind;
    ///
    /// assert_eq!(RequestErrorKind::GivenUp.as_str(), "given_up");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            RequestErrorKind::Resolve => "resolve",
            RequestErrorKind::Connect => "connect",
            RequestErrorKind::Tls => "tls",
            RequestErrorKind::Timeout => "timeout",
            RequestErrorKind::Closed => "closed",
            RequestErrorKind::Garbage => "garbage",
            RequestErrorKind::Exhausted => "exhausted",
            RequestErrorKind::GivenUp => "given_up",
            RequestErrorKind::Internal => "internal",
        }
    }
}

impl RequestError {
    /// An error of this kind.
    pub fn new(kind: RequestErrorKind, message: impl Into<Arc<str>>) -> Self {
        RequestError { kind, message: message.into(), source: None }
    }

    /// Adds the source of the error.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> RequestErrorKind {
        self.kind
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable::new(&self.message).fmt(f)
    }
}

impl StdError for RequestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl PartialEq for RequestError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.message == other.message
    }
}

/// The error of a journal call: the action that failed, the path if there is one, and the cause as its source.
///
/// `Display` escapes control characters and bidirectional formatting characters.
///
/// ```
/// use cluster_client::JournalError;
///
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// let error = JournalError::new("write", full).with_path("/var/lib/x/payments.intent");
/// assert_eq!(error.to_string(), "cannot write /var/lib/x/payments.intent");
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// assert_eq!(JournalError::new("put the key g", refused).to_string(), "cannot put the key g");
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {}{}", Printable::new(action), PathAfter(path.as_deref()))]
pub struct JournalError {
    action: Cow<'static, str>,
    path: Option<PathBuf>,
    #[source]
    source: Arc<std::io::Error>,
}

impl JournalError {
    /// The failure of `action`: a verb, with its object if there is no path, as in `put the key g`.
    pub fn new(action: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        JournalError { action: action.into(), path: None, source: Arc::new(source) }
    }

    /// Adds the file or directory that was touched. `action` is then the verb alone.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The failure of `action`, a verb, on `path`.
    pub(crate) fn on(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        JournalError::new(action, source).with_path(path)
    }

    /// The journal panicked; its state is unknown.
    pub(crate) fn panicked() -> Self {
        JournalError::new("use the journal", std::io::Error::other("it panicked"))
    }

    /// The error of a report without a cause, which only a user's test can make.
    pub(crate) fn unknown() -> Self {
        JournalError::new("use the journal", std::io::Error::other("no reason was given"))
    }

    /// The claim of the group was lost before the call.
    pub(crate) fn claim_lost() -> Self {
        JournalError::new("change the journal entry", std::io::Error::other("the claim on the group was lost"))
    }

    /// The cause, which is also the source of this error.
    pub fn io_error(&self) -> &std::io::Error {
        &self.source
    }

    /// Whether the cause is a lack of descriptors or memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        is_exhausted(&self.source)
    }

    /// The verb that failed, with its object if there is no path.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The file or directory that was touched. `None` for a journal without files.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl PartialEq for JournalError {
    fn eq(&self, other: &Self) -> bool {
        let source = |error: &Self| (error.source.kind(), error.source.to_string());
        self.action == other.action && self.path == other.path && source(self) == source(other)
    }
}

struct PathAfter<'a>(Option<&'a Path>);

impl fmt::Display for PathAfter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |path| write!(f, " {}", Printable::path(path)))
    }
}

/// Whether the error means a lack of descriptors or memory. `EMFILE` and `ENFILE` have no `ErrorKind`.
pub(crate) fn is_exhausted(e: &std::io::Error) -> bool {
    // Windows: WSAEMFILE, WSAENOBUFS, ERROR_TOO_MANY_OPEN_FILES.
    const FILES: &[i32] = if cfg!(windows) { &[10_024, 10_055, 4] } else { &[24, 23] };
    e.kind() == std::io::ErrorKind::OutOfMemory || e.raw_os_error().is_some_and(|code| FILES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_text_and_paths_are_escaped() {
        let error = RequestError::new(RequestErrorKind::Tls, "not valid for \u{202e}evil\u{1b}[31m");
        assert_eq!(error.to_string(), r"not valid for \u{202e}evil\u{1b}[31m");
        let error = JournalError::on("read", "/journal/\u{1b}[2J\u{2028}x.intent", std::io::Error::other("no"));
        assert_eq!(error.to_string(), r"cannot read /journal/\u{1b}[2J\u{2028}x.intent");
    }
}
