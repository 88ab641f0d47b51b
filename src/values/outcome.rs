//! Floor 1: the one table of results. It maps each outcome to its word in JSON, to an exit code, and to the error
//! that a call returns. No other place decides any of these.

use std::fmt;

use crate::values::cause::JournalError;
use crate::values::error::Error;
use crate::values::report::{Cause, HostReport, Operation, Report, State, Target};

/// How an operation ended.
///
/// | outcome | in JSON | exit code | what a call returns |
/// | --- | --- | --- | --- |
/// | `Created`, `Deleted`, `Repaired`, `Recovered`, `Forgotten` | `created`, ... | 0 | `Ok` |
/// | `Observed` | `observed` | 0 on every host, 1 on none, 3 on some, 4 unknown | `Ok` |
/// | `AlreadyExists` | `already_exists` | 5 | [`Error::AlreadyExists`] |
/// | `Unavailable` | `unavailable` | 1 | [`Error::Unavailable`] |
/// | `RolledBack` | `rolled_back` | 1 | [`Error::RolledBack`] |
/// | `Cancelled` | `cancelled` | 1 | [`Error::Cancelled`] |
/// | `TimedOut` | `timed_out` | 1 | [`Error::TimedOut`] |
/// | `Incomplete` | `incomplete` | 3 | [`Error::Incomplete`]; of a delete: `Ok`, see [`Deletion`](crate::Deletion) |
/// | `InDoubt` | `in_doubt` | 4 | [`Error::InDoubt`]; of a delete: `Ok`, see [`Deletion`](crate::Deletion) |
/// | `Unrecorded` | `unrecorded` | 4 | [`Error::Unrecorded`] |
/// | `Busy` | `busy` | 1; of a recovery 4 | [`Error::Busy`] |
/// | `Conflict` | `conflict` | 1 | [`Error::Conflict`] |
/// | `JournalFailed` | `journal_failed` | 1 | [`Error::Journal`] |
/// | `Refused` | `refused` | 2 | [`Error::Config`] |
///
/// ```
/// use cluster_client::Outcome;
///
/// assert_eq!(Outcome::RolledBack.as_str(), "rolled_back");
/// assert!(!Outcome::RolledBack.is_success());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Outcome {
    /// A create: verified on every host.
    Created,
    /// A delete: verified absent on every host.
    Deleted,
    /// A repair: every host is verified in the wanted state.
    Repaired,
    /// A status: every host was asked.
    Observed,
    /// A recovery: what an earlier operation left is settled.
    Recovered,
    /// A host was dropped from an unfinished operation.
    Forgotten,
    /// A host already had the group. Nothing was changed, or what was made is undone.
    AlreadyExists,
    /// A host could not be asked; nothing was changed.
    Unavailable,
    /// A create failed and was undone: every host is verified without the group.
    RolledBack,
    /// The operation was cancelled. Nothing was changed, or what was made is undone.
    Cancelled,
    /// The time of the operation was over. Nothing was changed, or what was made is undone.
    TimedOut,
    /// The state of every host is known, and of some it is not the wanted one.
    Incomplete,
    /// The state of a host is unknown.
    InDoubt,
    /// Created and verified on every host, but the journal could not record it.
    Unrecorded,
    /// Another operation holds the group; nothing was sent.
    Busy,
    /// An unfinished operation on the group names other hosts or paths; nothing was sent.
    Conflict,
    /// The journal could not be used; nothing was sent.
    JournalFailed,
    /// A value was refused; nothing was sent.
    Refused,
}

impl Outcome {
    /// The table: the word in JSON, and the exit code.
    const fn row(self) -> (&'static str, u8) {
        match self {
            Outcome::Created => ("created", 0),
            Outcome::Deleted => ("deleted", 0),
            Outcome::Repaired => ("repaired", 0),
            Outcome::Observed => ("observed", 0),
            Outcome::Recovered => ("recovered", 0),
            Outcome::Forgotten => ("forgotten", 0),
            Outcome::AlreadyExists => ("already_exists", 5),
            Outcome::Unavailable => ("unavailable", 1),
            Outcome::RolledBack => ("rolled_back", 1),
            Outcome::Cancelled => ("cancelled", 1),
            Outcome::TimedOut => ("timed_out", 1),
            Outcome::Incomplete => ("incomplete", 3),
            Outcome::InDoubt => ("in_doubt", 4),
            Outcome::Unrecorded => ("unrecorded", 4),
            Outcome::Busy => ("busy", 1),
            Outcome::Conflict => ("conflict", 1),
            Outcome::JournalFailed => ("journal_failed", 1),
            Outcome::Refused => ("refused", 2),
        }
    }

    /// The word for it, in JSON and in logs.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Whether the requested state is verified. A status has no requested state, and always is.
    pub const fn is_success(self) -> bool {
        self.row().1 == 0
    }

    /// What the protocol decided, as a report says it: with the reason why it stopped, and with what is known of the
    /// hosts.
    pub(crate) fn refined(self, cause: Option<&Cause>, hosts: &[HostReport]) -> Self {
        match (self, cause) {
            (Outcome::Unavailable | Outcome::RolledBack, Some(Cause::Cancelled)) => Outcome::Cancelled,
            (Outcome::Unavailable | Outcome::RolledBack, Some(Cause::TimedOut { .. })) => Outcome::TimedOut,
            (Outcome::InDoubt, _) if !hosts.is_empty() => Outcome::unreached(hosts),
            (outcome, _) => outcome,
        }
    }

    /// The outcome of a delete or a repair that went over every host.
    pub(crate) fn of_removal_or_repair(operation: Operation, hosts: &[HostReport]) -> Self {
        let all = |state| hosts.iter().all(|host| host.state == state);
        match operation {
            Operation::Repair(Target::Present) if all(State::Present) => Outcome::Repaired,
            Operation::Repair(Target::Absent) if all(State::Absent) => Outcome::Repaired,
            Operation::Delete if all(State::Absent) => Outcome::Deleted,
            _ => Outcome::unreached(hosts),
        }
    }

    fn unreached(hosts: &[HostReport]) -> Self {
        let is_unknown = hosts.iter().any(|host| host.state == State::Unknown);
        if is_unknown { Outcome::InDoubt } else { Outcome::Incomplete }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Report {
    /// The exit code of a process that ran this operation and nothing else: that of the command `cluster-client`.
    /// See the table at [`Outcome`].
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let report = Report::new(GroupId::parse("payments")?, Operation::Create, Outcome::RolledBack);
    /// assert_eq!(report.exit_code(), 1);
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn exit_code(&self) -> u8 {
        match (self.outcome, self.operation) {
            (Outcome::Observed, _) if self.unknown().next().is_some() => Outcome::InDoubt.row().1,
            (Outcome::Observed, _) if self.present().next().is_none() => Outcome::Unavailable.row().1,
            (Outcome::Observed, _) if self.absent().next().is_some() => Outcome::Incomplete.row().1,
            // Its hosts may still have the group.
            (Outcome::Busy, Operation::Recover) => Outcome::InDoubt.row().1,
            (outcome, _) => outcome.row().1,
        }
    }

    /// What a call returns whose report this is: the report itself, or the error of its outcome.
    ///
    /// # Errors
    /// The one that stands beside the outcome in the table at [`Outcome`].
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

    /// The exit code of a process that ends for this error: see the table at [`Outcome`].
    pub fn exit_code(&self) -> u8 {
        self.report().map_or(self.outcome().row().1, Report::exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::group::GroupId;
    use crate::values::host::Host;

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
    fn every_outcome_and_its_error_agree_in_word_and_exit_code() {
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
    fn exit_code_of_a_status_is_that_of_where_the_group_is() {
        use State::{Absent, Present, Unknown};
        for (states, exit) in
            [([Present, Present], 0), ([Absent, Absent], 1), ([Present, Absent], 3), ([Present, Unknown], 4)]
        {
            assert_eq!(report(Operation::Status, Outcome::Observed, &states).exit_code(), exit, "{states:?}");
        }
    }

    #[test]
    fn unreached_delete_and_repair_are_incomplete_or_in_doubt() {
        use State::{Absent, Present, Unknown};
        let (absent, present) = (Operation::Repair(Target::Absent), Operation::Repair(Target::Present));
        for (operation, states, outcome) in [
            (Operation::Delete, [Absent, Absent], Outcome::Deleted),
            (Operation::Delete, [Absent, Present], Outcome::Incomplete),
            (Operation::Delete, [Unknown, Present], Outcome::InDoubt),
            (absent, [Absent, Absent], Outcome::Repaired),
            (absent, [Present, Absent], Outcome::Incomplete),
            (present, [Present, Present], Outcome::Repaired),
            (present, [Present, Unknown], Outcome::InDoubt),
        ] {
            let report = report(operation, outcome, &states);
            assert_eq!(Outcome::of_removal_or_repair(operation, &report.hosts), outcome, "{operation:?} {states:?}");
        }
    }

    #[test]
    fn cause_tells_a_cancelled_operation_from_one_that_failed() {
        let timed_out = Cause::TimedOut { host: None };
        for (outcome, cause, refined) in [
            (Outcome::RolledBack, Some(Cause::Cancelled), Outcome::Cancelled),
            (Outcome::Unavailable, Some(Cause::Cancelled), Outcome::Cancelled),
            (Outcome::RolledBack, Some(timed_out), Outcome::TimedOut),
            (Outcome::RolledBack, None, Outcome::RolledBack),
            (Outcome::InDoubt, Some(Cause::Cancelled), Outcome::InDoubt),
        ] {
            assert_eq!(outcome.refined(cause.as_ref(), &[]), refined, "{outcome} {cause:?}");
        }
    }
}
