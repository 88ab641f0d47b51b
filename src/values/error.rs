//! Floor 1: errors, named by what the caller does next.

use crate::values::cause::JournalError;
use crate::values::config::ConfigError;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose};
use crate::values::printable::Printable;
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
/// | [`InDoubt`](Error::InDoubt) | unknown on the named hosts | recover when they answer |
/// | [`Unrecorded`](Error::Unrecorded) | verified with the group | repair to present |
/// | [`Busy`](Error::Busy) | untouched by us | wait for the other operation |
/// | [`Conflict`](Error::Conflict) | untouched | recover the operation that it names |
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
    /// The operation was cancelled before it had changed anything, or its create was undone and every host is
    /// verified without the group: [`Report::outcome`] tells which.
    #[error("{}", .0.summary())]
    Cancelled(Box<Report>),
    /// The operation's time was over before it had changed anything, or its create was undone and every host
    /// is verified without the group: [`Report::outcome`] tells which.
    #[error("{}", .0.summary())]
    TimedOut(Box<Report>),
    /// The state of the hosts that the report calls unknown, or that still have the group, is not what
    /// was asked for, and could not be settled.
    #[error("{}", .0.summary())]
    InDoubt(Box<Report>),
    /// The group is on every host, verified, but the journal could not note it: a later recovery would
    /// roll it back.
    #[error("{}", .0.summary())]
    Unrecorded(Box<Report>, #[source] JournalError),
    /// Another operation holds the group; this one sent nothing.
    #[error("group {group} is busy: {}", Printable::new(holder))]
    Busy {
        /// The group that both want.
        group: GroupId,
        /// Who holds it, as far as it is known.
        holder: String,
    },
    /// An unfinished operation on the group names hosts that a repair was not told of, or was spoken to them
    /// in other paths: it may be of another cluster that uses the same journal. Nothing was sent.
    #[error("{}", conflict(.unfinished, .unnamed))]
    #[non_exhaustive]
    Conflict {
        /// What is unfinished, with all its hosts.
        unfinished: Box<Intent>,
        /// Those of its hosts that the client does not have. None where only the paths differ.
        unnamed: Vec<Host>,
    },
    /// The journal could not be used; nothing was sent for this operation.
    #[error("{} sent for group {group}, because its journal entry failed", nothing(.report.as_deref()))]
    #[non_exhaustive]
    Journal {
        /// The group that was asked for.
        group: GroupId,
        /// What had happened by then, in an operation on hosts: none was asked to change, unless an older
        /// operation was settled first.
        report: Option<Box<Report>>,
        /// What failed, with the path.
        #[source]
        source: JournalError,
    },
}

impl Error {
    /// The report of the operation, where it got as far as having one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Error::AlreadyExists(report)
            | Error::Unavailable(report)
            | Error::RolledBack(report)
            | Error::Cancelled(report)
            | Error::TimedOut(report)
            | Error::InDoubt(report)
            | Error::Unrecorded(report, _) => Some(report),
            Error::Journal { report, .. } => report.as_deref(),
            Error::Config(_) | Error::Busy { .. } | Error::Conflict { .. } => None,
        }
    }

    /// Whether the cluster is certainly as it was before the call. It is not where an older operation on the
    /// group was found unfinished, and settling it may have changed a host.
    ///
    /// ```
    /// use cluster_client::{Error, GroupId};
    ///
    /// let busy = Error::Busy { group: GroupId::parse("g")?, holder: "process 7".into() };
    /// assert!(busy.is_unchanged() && busy.is_retryable() && !busy.is_in_doubt());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn is_unchanged(&self) -> bool {
        let settled_older = self.report().is_some_and(Report::earlier_changed);
        !settled_older && !matches!(self, Error::InDoubt(_) | Error::Unrecorded(..))
    }

    /// Whether the same call may succeed later without anybody's help. A call that was cancelled, or whose own
    /// time was too short, does not.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::RolledBack(_) | Error::Busy { .. })
    }

    /// Whether some host's state is unknown or not as asked for.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Error::InDoubt(_))
    }
}

fn nothing(report: Option<&Report>) -> &'static str {
    if report.is_some_and(|report| report.earlier.is_some()) {
        "an older operation was settled, then nothing more was"
    } else {
        "nothing was"
    }
}

fn conflict(unfinished: &Intent, unnamed: &[Host]) -> String {
    let what = match unfinished.purpose() {
        Purpose::Create { .. } => "create",
        Purpose::Delete => "delete",
        Purpose::Present => "repair to present",
    };
    let group = unfinished.group();
    if unnamed.is_empty() {
        let (collection, member) = (unfinished.api().collection_path(), unfinished.api().member_template());
        return format!(
            "group {group} has an unfinished {what} in other paths ({collection}, {member}): recover it first"
        );
    }
    let names: Vec<&str> = unnamed.iter().map(Host::as_str).collect();
    format!(
        "group {group} has an unfinished {what} on hosts that were not named ({}): recover it first",
        names.join(", ")
    )
}
