//! Floor 1: the errors of operations, and the conversion of an outcome into one. The caller's next step tells the
//! variants apart.

use crate::values::cause::JournalError;
use crate::values::config::ConfigError;
use crate::values::group::GroupId;
use crate::values::outcome::{HostCounts, Outcome};
use crate::values::report::{Cause, HostReport, Operation, Report, State};

/// The error of an operation. Each variant stands for one next step of the caller.
///
/// | variant | the cluster | next step |
/// | --- | --- | --- |
/// | [`Config`](Error::Config) | untouched | correct the value it names |
/// | [`AlreadyExists`](Error::AlreadyExists) | unchanged, verified | use the group, or another id; repair if not all hosts have it |
/// | [`Unavailable`](Error::Unavailable) | untouched | retry when the named hosts answer |
/// | [`RolledBack`](Error::RolledBack) | verified without the group | retry |
/// | [`Cancelled`](Error::Cancelled) | unchanged, verified | none |
/// | [`TimedOut`](Error::TimedOut) | unchanged, verified | retry with a longer timeout |
/// | [`Incomplete`](Error::Incomplete) | known on every host, and wrong on the named ones | recover or repair |
/// | [`InDoubt`](Error::InDoubt) | unknown on the named hosts | recover when they answer |
/// | [`Unrecorded`](Error::Unrecorded) | verified with the group | repair to present |
/// | [`Busy`](Error::Busy) | untouched by this operation | wait for the other operation |
/// | [`Conflict`](Error::Conflict) | untouched | recover the operation that it names |
/// | [`Journal`](Error::Journal) | untouched | make the journal writable |
///
/// Each error of an operation contains its whole [`Report`]; [`Report::cause`] is the cause as data. [`Outcome`] maps
/// errors to exit codes and to JSON. In a test, make an error with [`Report::into_result`].
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
        /// The value, its origin, the problem and the remedy.
        #[from]
        source: ConfigError,
    },
    /// A host already had the group. Groups that were made on other hosts are deleted again.
    ///
    /// If [`Report::all`] says that not every host has it, the cluster is mixed: another create fails as well, until
    /// [`ClusterClient::repair_group`](crate::ClusterClient::repair_group) has driven it to one state.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    AlreadyExists {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The state of a host could not be checked, so no host was changed.
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
    /// The operation was cancelled. Either nothing was changed, or its create was undone and every host is verified
    /// without the group: see [`Report::was_rolled_back`].
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Cancelled {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The operation's time was over. Either nothing was changed, or its create was undone and every host is verified
    /// without the group: see [`Report::was_rolled_back`].
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    TimedOut {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The state of every host is known, and some are not in the wanted state. A repair, a rollback or a recovery could
    /// not change them.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Incomplete {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The state of a host is unknown, so the operation is not settled.
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
        /// The failure of the journal.
        source: JournalError,
    },
    /// Another operation holds the group, and nothing was sent. [`Cause::Busy`] names the holder.
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Busy {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// An unfinished operation on the group has another API, had credentials that this client lacks, or names hosts that
    /// the caller of a repair has not named. It may belong to another cluster that uses the same journal. Nothing was
    /// sent. The cause says which: [`Cause::Conflict`], [`Cause::UnknownApi`] or [`Cause::NoCredentials`].
    #[error("{}", .report.summary())]
    #[non_exhaustive]
    Conflict {
        /// The report of the operation.
        report: Box<Report>,
    },
    /// The journal failed, and nothing was sent for this operation.
    #[error("{}", .report.as_ref().map_or_else(|| "the journal could not be used".into(), |report| report.summary()))]
    #[non_exhaustive]
    Journal {
        /// The report of the operation. `None` if the journal as a whole failed, as for a recovery.
        report: Option<Box<Report>>,
        /// The failure of the journal.
        source: JournalError,
    },
}

impl Error {
    /// The report of the operation. `None` for a refused value, or if the journal as a whole failed.
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

    /// Whether the cluster is certainly unchanged. It may be changed by the recovery of an older, unfinished operation
    /// on the group too.
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

    /// Whether a retry of the call may succeed later. A cancelled call, or a call with too short a timeout, is not
    /// retryable.
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

    /// Whether [`ClusterClient::recover`](crate::ClusterClient::recover) can settle the operation: a journal still
    /// holds its intent.
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

impl Report {
    /// Returns the report of a success, or the error of its outcome, as a call of the client does.
    ///
    /// # Errors
    /// The error beside the outcome in the table at [`Outcome`].
    ///
    /// ```
    /// use cluster_client::{Error, GroupId, Operation, Outcome, Report};
    ///
    /// let report = Report::new(GroupId::parse("payments")?, Operation::Create, Outcome::RolledBack);
    /// assert!(matches!(report.into_result(), Err(Error::RolledBack { .. })));
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn into_result(self) -> Result<Report, Error> {
        let report = Box::new(self);
        Err(match report.outcome {
            outcome if outcome.is_success() => return Ok(*report),
            Outcome::AlreadyExists => Error::AlreadyExists { report },
            Outcome::Unavailable => Error::Unavailable { report },
            Outcome::RolledBack => Error::RolledBack { report },
            Outcome::Cancelled => Error::Cancelled { report },
            Outcome::TimedOut => Error::TimedOut { report },
            Outcome::Incomplete => Error::Incomplete { report },
            Outcome::Unrecorded => Error::Unrecorded { source: journal_error(&report), report },
            Outcome::JournalFailed => Error::Journal { source: journal_error(&report), report: Some(report) },
            Outcome::Busy => Error::Busy { report },
            Outcome::Conflict => Error::Conflict { report },
            _ => Error::InDoubt { report },
        })
    }
}

/// Errors of calls that work on a group without a machine.
impl Error {
    pub(crate) fn busy(group: &GroupId, operation: Operation, holder: String) -> Self {
        let mut report = Report::new(group.clone(), operation, Outcome::Busy);
        report.cause = Some(Cause::busy(holder));
        Error::Busy { report: Box::new(report) }
    }

    pub(crate) fn journal(group: &GroupId, operation: Operation, source: JournalError) -> Self {
        let mut report = Report::new(group.clone(), operation, Outcome::JournalFailed);
        report.cause = Some(Cause::journal(source.clone()));
        Error::Journal { report: Some(Box::new(report)), source }
    }
}

fn journal_error(report: &Report) -> JournalError {
    match &report.cause {
        Some(Cause::Journal { source }) => source.clone(),
        _ => JournalError::unknown(),
    }
}

impl Error {
    /// The outcome that this error stands for.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, Outcome};
    ///
    /// let error = ClusterClient::new(["node1:8000"]).unwrap_err();
    /// assert_eq!(error.outcome(), Outcome::Refused);
    /// ```
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Config { .. } => Outcome::Refused,
            Error::AlreadyExists { .. } => Outcome::AlreadyExists,
            Error::Unavailable { .. } => Outcome::Unavailable,
            Error::RolledBack { .. } => Outcome::RolledBack,
            Error::Cancelled { .. } => Outcome::Cancelled,
            Error::TimedOut { .. } => Outcome::TimedOut,
            Error::Incomplete { .. } => Outcome::Incomplete,
            Error::InDoubt { .. } => Outcome::InDoubt,
            Error::Unrecorded { .. } => Outcome::Unrecorded,
            Error::Busy { .. } => Outcome::Busy,
            Error::Conflict { .. } => Outcome::Conflict,
            Error::Journal { .. } => Outcome::JournalFailed,
        }
    }

    /// The exit code of a process that ends with this error: see the table at [`Outcome`].
    pub fn exit_code(&self) -> u8 {
        self.report().map_or_else(|| self.outcome().exit_code(false, HostCounts::default()), Report::exit_code)
    }
}

/// The report of a delete. Hosts may have kept the group: see [`Deletion::undeleted`], or turn them into an error with
/// [`Deletion::complete`].
///
/// A delete goes on after the failure of a host. A group that some hosts kept is therefore a result and no error.
///
/// ```no_run
/// # use cluster_client::ClusterClient;
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// let deletion = client.delete_group("payments")?;
/// for host in deletion.undeleted() {
///     eprintln!("{} still has it, or may", host.host);
/// }
/// let report = deletion.complete()?; // an error if a host kept it
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "some hosts may have kept the group: see `undeleted`"]
pub struct Deletion {
    report: Report,
}

impl Deletion {
    /// The hosts that have the group, or may have it. Without any, every host is verified without the group.
    pub fn undeleted(&self) -> impl Iterator<Item = &HostReport> {
        self.report.hosts.iter().filter(|host| host.state != State::Absent)
    }

    /// The report, if every host is verified without the group.
    ///
    /// # Errors
    /// [`Error::Incomplete`] if hosts are known to have the group, [`Error::InDoubt`] if the state of a host is
    /// unknown.
    ///
    /// ```
    /// use cluster_client::{Deletion, Error, GroupId, Operation, Outcome, Report};
    ///
    /// let report = Report::new(GroupId::parse("payments")?, Operation::Delete, Outcome::Incomplete);
    /// assert!(matches!(Deletion::from(report).complete(), Err(Error::Incomplete { .. })));
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn complete(self) -> Result<Report, Error> {
        self.report.into_result()
    }

    /// The report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The report, also if hosts kept the group.
    pub fn into_report(self) -> Report {
        self.report
    }
}

impl From<Report> for Deletion {
    fn from(report: Report) -> Self {
        Deletion { report }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::group::GroupId;
    use crate::values::host::Host;
    use crate::values::report::Operation;

    const ALL: [Outcome; 18] = [
        Outcome::Created,
        Outcome::Deleted,
        Outcome::Repaired,
        Outcome::Observed,
        Outcome::Recovered,
        Outcome::Forgotten,
        Outcome::AlreadyExists,
        Outcome::Unavailable,
        Outcome::RolledBack,
        Outcome::Cancelled,
        Outcome::TimedOut,
        Outcome::Incomplete,
        Outcome::InDoubt,
        Outcome::Unrecorded,
        Outcome::Busy,
        Outcome::Conflict,
        Outcome::JournalFailed,
        Outcome::Refused,
    ];

    fn report(operation: Operation, outcome: Outcome, states: &[State]) -> Report {
        let mut report = Report::new(GroupId::parse("g").unwrap(), operation, outcome);
        let host = |at| Host::parse(format!("http://n{at}")).unwrap();
        report.hosts = states.iter().enumerate().map(|(at, state)| HostReport::new(host(at), *state)).collect();
        report
    }

    #[test]
    fn outcome_and_its_error_have_one_word_and_one_exit_code() {
        let mut words: Vec<&str> = ALL.iter().map(|outcome| outcome.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ALL.len(), "no word stands for two outcomes");
        for outcome in ALL.into_iter().filter(|outcome| *outcome != Outcome::Refused) {
            let report = report(Operation::Create, outcome, &[State::Present]);
            let exit = report.exit_code();
            match report.into_result() {
                Ok(report) => assert!(report.outcome.is_success() && exit == 0, "{outcome}"),
                Err(error) => assert_eq!((error.outcome(), error.exit_code()), (outcome, exit)),
            }
        }
    }

    #[test]
    fn exit_code_of_a_status_depends_on_the_states_of_the_hosts() {
        use State::{Absent, Present, Unknown};
        for (states, exit) in
            [([Present, Present], 0), ([Absent, Absent], 1), ([Present, Absent], 3), ([Present, Unknown], 4)]
        {
            assert_eq!(report(Operation::Status, Outcome::Observed, &states).exit_code(), exit, "{states:?}");
        }
    }
}
