//! Floor 1: the events of a running operation. Log lines and progress are made from them.

use std::fmt;
use std::time::Duration;

use crate::values::action::Action;
use crate::values::answer_problem::AnswerProblem;
use crate::values::cause::RequestError;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::report::{HostStep, Operation, OperationId, Reason, Report, State};

/// The phases of an operation, named as in the protocol.
///
/// ```
/// use cluster_client::Phase;
///
/// assert_eq!(Phase::RollBack.as_str(), "roll_back");
/// assert_eq!(Phase::RollBack.to_string(), "roll back");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Locking the group and reading its unfinished intent.
    Claim,
    /// Checking every host before anything is changed.
    Probe,
    /// Recording the intent.
    Intend,
    /// Creating on every host and verifying it.
    Create,
    /// Erasing the intent of a create that is complete.
    Commit,
    /// Undoing a create that failed or did not finish.
    RollBack,
    /// Deleting from every host and verifying it.
    Delete,
    /// Waiting until no request can take effect late.
    Settle,
    /// Erasing the intent, or recording the hosts that are left.
    Finish,
}

impl Phase {
    /// The word in JSON and as a label of metrics, without a blank: `roll_back`. `Display` writes `roll back`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Claim => "claim",
            Phase::Probe => "probe",
            Phase::Intend => "intend",
            Phase::Create => "create",
            Phase::Commit => "commit",
            Phase::RollBack => "roll_back",
            Phase::Delete => "delete",
            Phase::Settle => "settle",
            Phase::Finish => "finish",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Phase::RollBack { "roll back" } else { self.as_str() })
    }
}

/// One event of an operation. See [`Observer`](crate::Observer).
///
/// It contains data only. A test of an observer can make an event:
///
/// ```
/// use std::time::Duration;
/// use cluster_client::{Action, Event, EventKind, GroupId, Host, Operation, OperationId};
///
/// let kind = EventKind::retrying(Host::parse("http://node1:8000")?, Action::Create, 2, Duration::from_secs(1));
/// let event = Event::new(OperationId::new(7), Operation::Create, GroupId::parse("payments")?, kind);
/// assert!(matches!(event.kind, EventKind::Retrying { attempt: 2, .. }));
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// The id of the operation, in all its events and in its report.
    pub id: OperationId,
    /// The kind of operation.
    pub operation: Operation,
    /// The group of the operation.
    pub group: GroupId,
    /// The kind of event, with its data.
    pub kind: EventKind,
}

impl Event {
    /// An event of this operation.
    pub fn new(id: OperationId, operation: Operation, group: GroupId, kind: EventKind) -> Self {
        Event { id, operation, group, kind }
    }
}

/// The kind of an [`Event`], with its data.
///
/// ```
/// use cluster_client::{EventKind, Phase};
///
/// let text = |kind: &EventKind| match kind {
///     EventKind::Started { hosts, .. } => format!("began on {hosts} hosts"),
///     EventKind::Retrying { host, attempt, delay, .. } => format!("{host}: try {attempt} in {delay:?}"),
///     EventKind::Finished { report, .. } => report.summary(),
///     _ => String::new(),
/// };
/// assert_eq!(text(&EventKind::started(3)), "began on 3 hosts");
/// assert_eq!(text(&EventKind::entered(Phase::Create)), "");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The operation began.
    #[non_exhaustive]
    Started {
        /// The number of hosts.
        hosts: usize,
    },
    /// A phase began.
    #[non_exhaustive]
    Entered {
        /// The phase.
        phase: Phase,
    },
    /// Another operation holds the group. The claim is tried again.
    #[non_exhaustive]
    Waiting {
        /// The holder in words, as the journal names it: `process 7 on db1 holds it`. Its characters are unchecked.
        holder: String,
        /// The delay before the next try.
        delay: Duration,
    },
    /// The hosts of the phase that was entered. Each gets an [`EventKind::Reached`] before the phase ends.
    #[non_exhaustive]
    Participants {
        /// The hosts, in the order of the operation.
        hosts: Vec<Host>,
    },
    /// A request was answered, or failed.
    #[non_exhaustive]
    Answered {
        /// The host.
        host: Host,
        /// The request.
        action: Action,
        /// Number of the try, from 1.
        attempt: u32,
        /// Whether the action succeeded: created, present, or deleted.
        succeeded: bool,
        /// Whether the answer proves that nothing was done: refused, absent, or nothing to delete.
        denied: bool,
        /// The status, if the host answered.
        status: Option<u16>,
        /// The problem of the answer, if its status alone does not explain why it was not counted.
        problem: Option<AnswerProblem>,
        /// The error, if there was no answer.
        error: Option<RequestError>,
        /// Duration of the request.
        elapsed: Duration,
        /// Bytes of the request that the system accepted: head and body, encrypted if the host is https. Zero if
        /// nothing was sent. The bytes that open a connection do not count.
        bytes_sent: u64,
        /// Bytes of the answer that were read, counted alike.
        bytes_received: u64,
    },
    /// A request will be retried.
    #[non_exhaustive]
    Retrying {
        /// The host.
        host: Host,
        /// The request.
        action: Action,
        /// Number of the next try.
        attempt: u32,
        /// The delay before it.
        delay: Duration,
    },
    /// A host has finished the current phase.
    #[non_exhaustive]
    Reached {
        /// The host.
        host: Host,
        /// The state of the host.
        state: State,
        /// The reason for an unknown or unwanted state.
        reason: Option<Reason>,
    },
    /// The operation ended. This is the last event.
    #[non_exhaustive]
    Finished {
        /// The report, as the call returns it or its error contains it.
        report: Box<Report>,
    },
}

impl EventKind {
    /// An [`EventKind::Started`] with this number of hosts.
    pub fn started(hosts: usize) -> Self {
        EventKind::Started { hosts }
    }

    /// An [`EventKind::Entered`].
    pub fn entered(phase: Phase) -> Self {
        EventKind::Entered { phase }
    }

    /// An [`EventKind::Waiting`].
    pub fn waiting(holder: impl Into<String>, delay: Duration) -> Self {
        EventKind::Waiting { holder: holder.into(), delay }
    }

    /// An [`EventKind::Participants`].
    pub fn participants(hosts: Vec<Host>) -> Self {
        EventKind::Participants { hosts }
    }

    /// An [`EventKind::Answered`] of a host that answered with this status.
    pub fn answered(host: Host, action: Action, attempt: u32, status: u16, elapsed: Duration) -> Self {
        let step = HostStep::answered(action, status);
        let (succeeded, denied) = (step.succeeded, step.is_denied());
        let (status, problem) = (step.status, step.problem);
        EventKind::Answered {
            host,
            action,
            attempt,
            succeeded,
            denied,
            status,
            problem,
            error: None,
            elapsed,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// An [`EventKind::Answered`] of a request without an answer.
    pub fn failed(host: Host, action: Action, attempt: u32, error: RequestError, elapsed: Duration) -> Self {
        EventKind::Answered {
            host,
            action,
            attempt,
            succeeded: false,
            denied: false,
            status: None,
            problem: None,
            error: Some(error),
            elapsed,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// This event with these numbers of bytes, if it is an [`EventKind::Answered`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::{Action, EventKind, Host};
    ///
    /// let host = Host::parse("http://node1:8000")?;
    /// let answered = EventKind::answered(host, Action::Check, 1, 200, Duration::from_millis(3)).with_bytes(158, 97);
    /// assert!(matches!(answered, EventKind::Answered { bytes_sent: 158, bytes_received: 97, .. }));
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_bytes(mut self, sent: u64, received: u64) -> Self {
        if let EventKind::Answered { bytes_sent, bytes_received, .. } = &mut self {
            (*bytes_sent, *bytes_received) = (sent, received);
        }
        self
    }

    /// An [`EventKind::Retrying`].
    pub fn retrying(host: Host, action: Action, attempt: u32, delay: Duration) -> Self {
        EventKind::Retrying { host, action, attempt, delay }
    }

    /// An [`EventKind::Reached`].
    pub fn reached(host: Host, state: State, reason: Option<Reason>) -> Self {
        EventKind::Reached { host, state, reason }
    }

    /// An [`EventKind::Finished`].
    pub fn finished(report: Report) -> Self {
        EventKind::Finished { report: Box::new(report) }
    }
}
