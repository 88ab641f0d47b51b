//! The cause of an operation's failure.

use std::fmt;

use super::host::{Interruption, Reason};
use crate::values::api::ApiRef;
use crate::values::cause::JournalError;
use crate::values::host::Host;
use crate::values::intent::Intent;
use crate::values::printable::Printable;

/// The cause of an operation's failure.
///
/// ```
/// use cluster_client::Cause;
///
/// assert_eq!(Cause::Cancelled.to_string(), "the operation was cancelled");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The [`CancelToken`](crate::CancelToken) of the operation was cancelled.
    Cancelled,
    /// The operation's time was over, or too short for another try.
    #[non_exhaustive]
    TimedOut {
        /// The host that did not finish in time, if there is one, and its last answer or error.
        host: Option<(Host, Reason)>,
    },
    /// The time of the rollback, or of the recovery of an older operation, was over.
    RollbackTimedOut,
    /// The claim on the group was lost: its lease ended, so another coordinator may work on the group. Nothing is changed
    /// afterwards. See [`Claim::holds_until`](crate::Claim::holds_until).
    ClaimLost,
    /// A host refused a request or did not answer.
    #[non_exhaustive]
    Host {
        /// The host.
        host: Host,
        /// The last answer or error of the host.
        reason: Reason,
    },
    /// Another operation holds the group.
    #[non_exhaustive]
    Busy {
        /// The process of that operation, as far as known.
        holder: String,
    },
    /// An unfinished operation on the group has other hosts or other paths than the client.
    #[non_exhaustive]
    Conflict {
        /// The intent of that operation, with all its hosts.
        unfinished: Box<Intent>,
        /// Its hosts that the client does not have. Empty if only the paths differ.
        unnamed: Vec<Host>,
    },
    /// An unfinished operation on the group was made with an API that this client does not know. Nothing was sent. Pass
    /// that API to [`ClientBuilder::known_apis`](crate::ClientBuilder::known_apis).
    #[non_exhaustive]
    UnknownApi {
        /// The name and the digest of that API. An API that was changed has another digest.
        api: ApiRef,
    },
    /// An unfinished operation on the group had credentials (a secret in a header, or a client certificate) for these
    /// hosts, and this client has none for them. Nothing was sent: a host may answer 404 to a request without credentials,
    /// whether it has the group or not. Recover with a client that has these hosts and their credentials.
    #[non_exhaustive]
    NoCredentials {
        /// Those hosts, sorted.
        hosts: Vec<Host>,
    },
    /// The journal could not be used.
    #[non_exhaustive]
    Journal {
        /// The failed call.
        source: JournalError,
    },
}

impl Cause {
    /// A [`Cause::TimedOut`], with the host that did not finish in time.
    pub fn timed_out(host: Option<(Host, Reason)>) -> Self {
        Cause::TimedOut { host }
    }

    /// A [`Cause::Host`].
    pub fn host(host: Host, reason: Reason) -> Self {
        Cause::Host { host, reason }
    }

    /// A [`Cause::Busy`].
    ///
    /// ```
    /// use cluster_client::{Cause, GroupId, Operation, Outcome, Report};
    ///
    /// let mut report = Report::new(GroupId::parse("payments")?, Operation::Create, Outcome::Busy);
    /// report.cause = Some(Cause::busy("process 7"));
    /// let error = report.into_result().unwrap_err();
    /// assert_eq!(error.to_string(), "group payments is busy: process 7");
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn busy(holder: impl Into<String>) -> Self {
        Cause::Busy { holder: holder.into() }
    }

    /// A [`Cause::Conflict`].
    pub fn conflict(unfinished: Intent, unnamed: Vec<Host>) -> Self {
        Cause::Conflict { unfinished: Box::new(unfinished), unnamed }
    }

    /// A [`Cause::UnknownApi`].
    pub fn unknown_api(api: ApiRef) -> Self {
        Cause::UnknownApi { api }
    }

    /// A [`Cause::NoCredentials`].
    pub fn no_credentials(hosts: Vec<Host>) -> Self {
        Cause::NoCredentials { hosts }
    }

    /// A [`Cause::Journal`], which becomes the source of the error.
    pub fn journal(source: JournalError) -> Self {
        Cause::Journal { source }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Cancelled => Interruption::Cancelled.fmt(f),
            Cause::TimedOut { host: None } => Interruption::TimedOut.fmt(f),
            Cause::TimedOut { host: Some((host, reason)) } => {
                write!(f, "{}; {}", Interruption::TimedOut, reason.sentence(host.label()))
            }
            Cause::RollbackTimedOut => Interruption::RollbackTimedOut.fmt(f),
            Cause::ClaimLost => Interruption::ClaimLost.fmt(f),
            Cause::Host { host, reason } => f.write_str(&reason.sentence(host.label())),
            Cause::Busy { holder } => Printable::new(holder).fmt(f),
            Cause::Conflict { unfinished, unnamed } => write_conflict(f, unfinished, unnamed),
            Cause::UnknownApi { api } => {
                write!(f, "an unfinished operation was made with an API that is not known here ({api})")
            }
            Cause::NoCredentials { hosts } => {
                const SHOWN: usize = 3;
                let names: Vec<&str> = hosts.iter().take(SHOWN).map(Host::as_str).collect();
                let more = hosts.len().saturating_sub(SHOWN);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                write!(
                    f,
                    "an unfinished operation had credentials for {}{more}, and there are none here",
                    names.join(", ")
                )
            }
            Cause::Journal { source } => write!(f, "{source}: {}", Printable::new(&source.io_error().to_string())),
        }
    }
}

fn write_conflict(f: &mut fmt::Formatter<'_>, unfinished: &Intent, unnamed: &[Host]) -> fmt::Result {
    let (group, purpose, api) = (unfinished.group(), unfinished.purpose(), unfinished.api());
    if unnamed.is_empty() {
        return match api {
            ApiRef::Paths(_) => write!(f, "group {group} has an unfinished {purpose} in other paths ({api})"),
            ApiRef::Named { .. } => write!(f, "group {group} has an unfinished {purpose} in another API ({api})"),
        };
    }
    let names: Vec<&str> = unnamed.iter().map(Host::as_str).collect();
    write!(f, "group {group} has an unfinished {purpose} on hosts that were not named ({})", names.join(", "))
}
