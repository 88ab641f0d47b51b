//! Floor 1: what went wrong with one request or one file. Reports and errors are made of these.

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

/// What went wrong with the journal: what was done, to which path, and why it failed.
///
/// `Display` escapes control characters and bidirectional formatting characters of the path.
///
/// ```
/// use cluster_client::JournalError;
///
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// let error = JournalError::new("write", "/var/lib/x/payments.intent", full);
/// assert_eq!(error.to_string(), "cannot write /var/lib/x/payments.intent");
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {action} {}", Printable::path(path))]
pub struct JournalError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: Arc<std::io::Error>,
}

impl JournalError {
    /// `action` is the verb that failed on `path`.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        JournalError { action, path: path.into(), source: Arc::new(source) }
    }

    /// What was done and what was not, nobody knows.
    pub(crate) fn panicked() -> Self {
        JournalError::new("use", "the intent store", std::io::Error::other("it panicked"))
    }

    /// The cause, which is also the source of this error.
    pub(crate) fn cause(&self) -> &std::io::Error {
        &self.source
    }

    /// Whether it failed for lack of descriptors or memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        is_exhausted(&self.source)
    }

    /// The file or directory that was touched.
    pub fn path(&self) -> &Path {
        &self.path
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
        let error = JournalError::new("read", "/journal/\u{1b}[2J\u{2028}x.intent", std::io::Error::other("no"));
        assert_eq!(error.to_string(), r"cannot read /journal/\u{1b}[2J\u{2028}x.intent");
    }
}
