//! Floor 1: the table of results. It maps each outcome to its word in JSON and to its exit code. `error.rs` maps it to
//! the error of that name. No other file decides these.

use std::fmt;

/// How an operation ended.
///
/// | outcome | in JSON | exit code | what a call returns |
/// | --- | --- | --- | --- |
/// | `Created`, `Deleted`, `Repaired`, `Recovered`, `Forgotten` | `created`, ... | 0 | `Ok` |
/// | `Observed` | `observed` | 0 on every host, 1 on none, 3 on some, 4 unknown | `Ok` |
/// | `AlreadyExists` | `already_exists` | 5 | [`Error::AlreadyExists`](crate::Error::AlreadyExists) |
/// | `Unavailable` | `unavailable` | 1 | [`Error::Unavailable`](crate::Error::Unavailable) |
/// | `RolledBack` | `rolled_back` | 1 | [`Error::RolledBack`](crate::Error::RolledBack) |
/// | `Cancelled` | `cancelled` | 1 | [`Error::Cancelled`](crate::Error::Cancelled) |
/// | `TimedOut` | `timed_out` | 1 | [`Error::TimedOut`](crate::Error::TimedOut) |
/// | `Incomplete` | `incomplete` | 3 | [`Error::Incomplete`](crate::Error::Incomplete); of a delete: `Ok`, see [`Deletion`](crate::Deletion) |
/// | `InDoubt` | `in_doubt` | 4 | [`Error::InDoubt`](crate::Error::InDoubt); of a delete: `Ok`, see [`Deletion`](crate::Deletion) |
/// | `Unrecorded` | `unrecorded` | 4 | [`Error::Unrecorded`](crate::Error::Unrecorded) |
/// | `Busy` | `busy` | 1; of a recovery 4 | [`Error::Busy`](crate::Error::Busy) |
/// | `Conflict` | `conflict` | 1; of a recovery 4 | [`Error::Conflict`](crate::Error::Conflict) |
/// | `JournalFailed` | `journal_failed` | 1 | [`Error::Journal`](crate::Error::Journal) |
/// | `Refused` | `refused` | 2 | [`Error::Config`](crate::Error::Config) |
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
    /// A status: every host was checked.
    Observed,
    /// A recovery: the older operation is settled.
    Recovered,
    /// A host was removed from an unfinished operation.
    Forgotten,
    /// A host already had the group. Nothing was changed, or the create was undone on the other hosts.
    AlreadyExists,
    /// The state of a host could not be checked; nothing was changed.
    Unavailable,
    /// A create failed and was undone: every host is verified without the group.
    RolledBack,
    /// The operation was cancelled. Nothing was changed, or the create was undone.
    Cancelled,
    /// The time of the operation was over. Nothing was changed, or the create was undone.
    TimedOut,
    /// The state of every host is known, and some are not in the wanted state.
    Incomplete,
    /// The state of a host is unknown.
    InDoubt,
    /// Created and verified on every host, but the journal could not record it.
    Unrecorded,
    /// Another operation holds the group; nothing was sent.
    Busy,
    /// An unfinished operation on the group names other hosts or another API; nothing was sent.
    Conflict,
    /// The journal could not be used; nothing was sent.
    JournalFailed,
    /// A value was refused; nothing was sent.
    Refused,
}

impl Outcome {
    /// The row of the table: the word in JSON, and the exit code.
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

    /// The word in JSON and in logs.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Whether the requested state is verified. A status requests no state and always succeeds.
    pub const fn is_success(self) -> bool {
        self.row().1 == 0
    }

    /// The exit code. For a status it depends on the states of the hosts, for a busy group and a conflict on the operation.
    pub(crate) const fn exit_code(self, is_recovery: bool, hosts: HostCounts) -> u8 {
        match self {
            Outcome::Observed if hosts.unknown > 0 => Outcome::InDoubt.row().1,
            Outcome::Observed if hosts.present == 0 => Outcome::Unavailable.row().1,
            Outcome::Observed if hosts.absent > 0 => Outcome::Incomplete.row().1,
            // Hosts of the recovery may still have the group.
            Outcome::Busy | Outcome::Conflict if is_recovery => Outcome::InDoubt.row().1,
            outcome => outcome.row().1,
        }
    }
}

/// Number of hosts in each state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HostCounts {
    pub(crate) present: usize,
    pub(crate) absent: usize,
    pub(crate) unknown: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
