//! Floor 1: errors, named by what the caller does next.

use crate::values::cause::JournalError;
use crate::values::config::ConfigError;
use crate::values::report::Report;

/// Why an operation did not do what was asked. Each variant answers one question: what now?
///
/// | variant | the cluster | what now |
/// | --- | --- | --- |
/// | [`Config`](Error::Config) | untouched | correct the value it names |
/// | [`AlreadyExists`](Error::AlreadyExists) | as it was before | use the group, or another id |
/// | [`Unavailable`](Error::Unavailable) | untouched | try again when the named hosts answer |
/// | [`RolledBack`](Error::RolledBack) | verified without the group | try again |
/// | [`Cancelled`](Error::Cancelled) | as it was before, verified | nothing, unless you want it after all |
/// | [`TimedOut`](Error::TimedOut) | as it was before, verified | give it a longer timeout |
/// | [`Incomplete`](Error::Incomplete) | known on every host, and wrong on the named ones | recover or repair |
/// | [`InDoubt`](Error::InDoubt) | unknown on the named hosts | recover when they answer |
/// | [`Unrecorded`](Error::Unrecorded) | verified with the group | repair to present |
/// | [`Busy`](Error::Busy) | untouched by us | wait for the other operation |
/// | [`Conflict`](Error::Conflict) | untouched | recover the operation that it names |
/// | [`Journal`](Error::Journal) | untouched | make the journal writable |
///
/// Each error of an operation carries its whole [`Report`]; [`Report::cause`] says as data why it ended so. [`Outcome`]
/// maps errors to exit codes and to JSON. In a test, make one with [`Report::into_result`].
///
/// [`Outcome`]: crate::Outcome
///
/// ```
/// use cluster_client::{ClusterClient, Error};
///
/// let error = ClusterClient::new(["node1:8000"]).unwrap_err();
/// assert!(matches!(error, Error::Config { .. }));
/// assert!(error.is_unchanged());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value was refused; nothing was sent.
    #[error(transparent)]
    #[non_exhaustive]
    Config {
        /// The value, where it came from, what is wrong with it and what to write instead.
        #[from]
        source: ConfigError,
    },
    /// A host already had the group. What was made beside it is undone.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    AlreadyExists {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// A host could not be asked, so nothing was changed on any.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Unavailable {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The create failed and was undone: every host is verified without the group.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    RolledBack {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The operation was cancelled before it had changed anything, or its create was undone and every host is
    /// verified without the group: [`Report::was_rolled_back`] tells which.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Cancelled {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The operation's time was over before it had changed anything, or its create was undone and every host
    /// is verified without the group: [`Report::was_rolled_back`] tells which.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    TimedOut {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// Hosts are known to have the group, or to lack it, against what was asked: a repair, a rollback or a recovery
    /// that did not get through. The state of no host is unknown.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Incomplete {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The state of a host is unknown, and the operation could not be settled.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    InDoubt {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The group is on every host, verified, but the journal could not record it: a later recovery would
    /// roll it back.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Unrecorded {
        /// The report of the operation.
        report: Box<Report>,
        /// What failed in the journal.
        source: JournalError,
    },
    /// Another operation holds the group; this one sent nothing. [`Cause::Busy`](crate::Cause::Busy) names the holder.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Busy {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// An unfinished operation on the group names hosts that a repair was not told of, or was spoken to them
    /// in other paths: it may be of another cluster that uses the same journal. Nothing was sent.
    /// [`Cause::Conflict`](crate::Cause::Conflict) has that operation and its hosts.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Conflict {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The journal could not be used; nothing was sent for this operation.
    #[error("{}", .report.as_ref().map_or_else(|| "the journal could not be used".into(), |report| report.summary()))]
    #[non_exhaustive]
    Journal {
        /// The report of the operation. `None` where the journal as a whole failed, as for a recovery.
        report: Option<Box<Report>>,
        /// What failed in the journal.
        source: JournalError,
    },
}

impl Error {
    /// The report of the operation. `None` for a refused value, and where the journal as a whole failed.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Error::AlreadyExists { report }
            | Error::Unavailable { report }
            | Error::RolledBack { report }
            | Error::Cancelled { report }
            | Error::TimedOut { report }
            | Error::Incomplete { report }
            | Error::InDoubt { report }
            | Error::Unrecorded { report, .. }
            | Error::Busy { report }
            | Error::Conflict { report } => Some(report),
            Error::Journal { report, .. } => report.as_deref(),
            Error::Config { .. } => None,
        }
    }

    /// Whether the cluster is certainly as it was before the call. It is not where an older operation on the
    /// group was found unfinished, and settling it may have changed a host.
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let group = GroupId::parse("g")?;
    /// let error = |outcome| Report::new(group.clone(), Operation::Create, outcome).into_result().unwrap_err();
    /// assert!(error(Outcome::RolledBack).is_unchanged());
    /// assert!(!error(Outcome::InDoubt).is_unchanged());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn is_unchanged(&self) -> bool {
        let settled_older = self.report().is_some_and(Report::earlier_changed);
        !settled_older && !matches!(self, Error::Incomplete { .. } | Error::InDoubt { .. } | Error::Unrecorded { .. })
    }

    /// Whether the same call may succeed later without help. A call that was cancelled, or whose own
    /// time was too short, does not.
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let group = GroupId::parse("g")?;
    /// let error = |outcome| Report::new(group.clone(), Operation::Create, outcome).into_result().unwrap_err();
    /// assert!(error(Outcome::Busy).is_retryable());
    /// assert!(!error(Outcome::Cancelled).is_retryable());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::RolledBack { .. } | Error::Busy { .. })
    }

    /// Whether the state of a host is unknown.
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let group = GroupId::parse("g")?;
    /// let error = |outcome| Report::new(group.clone(), Operation::Create, outcome).into_result().unwrap_err();
    /// assert!(error(Outcome::InDoubt).is_in_doubt());
    /// assert!(!error(Outcome::Incomplete).is_in_doubt());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Error::InDoubt { .. })
    }

    /// Whether [`ClusterClient::recover`](crate::ClusterClient::recover) has something to settle after it: a journal
    /// still holds an entry of the operation.
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let mut report = Report::new(GroupId::parse("g")?, Operation::Create, Outcome::InDoubt);
    /// report.recoverable = true;
    /// assert!(report.into_result().unwrap_err().is_recoverable());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn is_recoverable(&self) -> bool {
        self.report().is_some_and(|report| report.recoverable)
    }
}
