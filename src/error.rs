//! Floor 1: errors, named by what the caller does next.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::ConfigError;
use crate::group::GroupId;
use crate::report::Report;

/// Why an operation did not do what was asked. Each variant answers one question: what now?
///
/// | variant | the cluster | what now |
/// | --- | --- | --- |
/// | [`Config`](Error::Config) | untouched | correct the value it names |
/// | [`AlreadyExists`](Error::AlreadyExists) | as it was before | use the group, or another id |
/// | [`Unavailable`](Error::Unavailable) | untouched | try again when the named hosts answer |
/// | [`RolledBack`](Error::RolledBack) | verified without the group | try again |
/// | [`InDoubt`](Error::InDoubt) | unknown on the named hosts | recover when they answer |
/// | [`Unrecorded`](Error::Unrecorded) | verified with the group | repair to present |
/// | [`Busy`](Error::Busy) | untouched by us | wait for the other operation |
/// | [`Journal`](Error::Journal) | untouched | make the journal writable |
///
/// ```
/// use cluster_client::{ClusterClient, Error};
///
/// let error = ClusterClient::new(["node1:8000"]).unwrap_err();
/// assert!(matches!(error, Error::Config(_)));
/// assert!(error.is_unchanged());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value was refused; nothing was sent.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A host already had the group. What we may have made beside it is undone.
    #[error("{}", .0.summary())]
    AlreadyExists(Box<Report>),
    /// A host could not be asked, so nothing was changed on any.
    #[error("{}", .0.summary())]
    Unavailable(Box<Report>),
    /// The create failed and was undone: every host is verified without the group.
    #[error("{}", .0.summary())]
    RolledBack(Box<Report>),
    /// The state of the hosts that the report calls unknown, or that still have the group, is not what
    /// was asked for, and could not be settled.
    #[error("{}", .0.summary())]
    InDoubt(Box<Report>),
    /// The group is on every host, verified, but the journal could not note it: a later recovery would
    /// roll it back.
    #[error("{}", .0.summary())]
    Unrecorded(Box<Report>, #[source] StoreError),
    /// Another operation holds the group; this one sent nothing.
    #[error("group {group} is busy: {holder}")]
    Busy {
        /// The group that both want.
        group: GroupId,
        /// Who holds it, as far as it is known.
        holder: String,
    },
    /// The journal could not be used; nothing was sent.
    #[error("nothing was sent for group {group}, because its journal entry failed")]
    Journal {
        /// The group that was asked for.
        group: GroupId,
        /// What failed, with the path.
        #[source]
        source: StoreError,
    },
}

impl Error {
    /// The report of the operation, where it got as far as having one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Error::AlreadyExists(report)
            | Error::Unavailable(report)
            | Error::RolledBack(report)
            | Error::InDoubt(report)
            | Error::Unrecorded(report, _) => Some(report),
            Error::Config(_) | Error::Busy { .. } | Error::Journal { .. } => None,
        }
    }

    /// Whether the cluster is certainly as it was before the call.
    ///
    /// ```
    /// use cluster_client::{Error, GroupId};
    ///
    /// let busy = Error::Busy { group: GroupId::parse("g")?, holder: "process 7".into() };
    /// assert!(busy.is_unchanged() && busy.is_retryable() && !busy.is_in_doubt());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn is_unchanged(&self) -> bool {
        !matches!(self, Error::InDoubt(_) | Error::Unrecorded(..))
    }

    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::RolledBack(_) | Error::Busy { .. })
    }

    /// Whether some host's state is unknown or not as asked for.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Error::InDoubt(_))
    }
}

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
        f.write_str(&self.message)
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
/// ```
/// use cluster_client::StoreError;
///
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// let error = StoreError::new("write", "/var/lib/x/payments.intent", full);
/// assert_eq!(error.to_string(), "cannot write /var/lib/x/payments.intent");
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: Arc<std::io::Error>,
}

impl StoreError {
    /// `action` is the verb that failed on `path`.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        StoreError { action, path: path.into(), source: Arc::new(source) }
    }

    /// The file or directory that was touched.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}
