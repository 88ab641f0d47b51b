//! Floor 1: what went wrong with one request or one file. Reports and errors are made of these.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::values::printable::Printable;

/// What went wrong with one request, beside a status: it stands in the report of its host.
///
/// It is the counterpart of the original's `RequestErrorException`.
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
    /// The host's name has no address, or its look-up took too long.
    Resolve,
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The request was sent; no whole answer came in time.
    Timeout,
    /// The connection ended before the whole answer was there.
    Closed,
    /// The answer is not HTTP, or larger than we read.
    Garbage,
    /// This process is out of file descriptors, threads or memory.
    Exhausted,
    /// It was not tried, or not again: the operation was cancelled, its time was over, or it had
    /// already failed elsewhere.
    GivenUp,
    /// A panic in our own code or in a hook, caught.
    Internal,
}

impl RequestError {
    /// An error of that kind.
    pub fn new(kind: RequestErrorKind, message: impl Into<Arc<str>>) -> Self {
        RequestError { kind, message: message.into(), source: None }
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What kind of error it is.
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

/// What went wrong with the journal: what was done, on which path where there is one, and why it failed.
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
    /// The failure of `action`, a verb with its object where there is no path: `put the key g`.
    pub fn new(action: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        JournalError { action: action.into(), path: None, source: Arc::new(source) }
    }

    /// The same error with the file or directory that was touched; `action` is then the verb alone.
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

    /// For a report that a test made without a cause.
    pub(crate) fn unknown() -> Self {
        JournalError::new("use the journal", std::io::Error::other("no reason was given"))
    }

    /// The cause, which is also the source of this error.
    pub fn io_error(&self) -> &std::io::Error {
        &self.source
    }

    /// Whether it failed for lack of descriptors or memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        is_exhausted(&self.source)
    }

    /// The verb that failed, with its object where there is no path.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The file or directory that was touched. A journal that keeps no files has none.
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

/// Whether the process or the system is out of descriptors or memory. `EMFILE` and `ENFILE` have no kind in std.
pub(crate) fn is_exhausted(e: &std::io::Error) -> bool {
    // Windows: WSAEMFILE, WSAENOBUFS, ERROR_TOO_MANY_OPEN_FILES.
    const FILES: &[i32] = if cfg!(windows) { &[10_024, 10_055, 4] } else { &[24, 23] };
    e.kind() == std::io::ErrorKind::OutOfMemory || e.raw_os_error().is_some_and(|code| FILES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_and_paths_are_escaped() {
        let error = RequestError::new(RequestErrorKind::Tls, "not valid for \u{202e}evil\u{1b}[31m");
        assert_eq!(error.to_string(), r"not valid for \u{202e}evil\u{1b}[31m");
        let error = JournalError::on("read", "/journal/\u{1b}[2J\u{2028}x.intent", std::io::Error::other("no"));
        assert_eq!(error.to_string(), r"cannot read /journal/\u{1b}[2J\u{2028}x.intent");
    }
}
