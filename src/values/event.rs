//! Floor 1: what an operation tells while it runs. Log lines and progress are made of these.

use std::fmt;
use std::time::Duration;

use crate::values::action::Action;
use crate::values::cause::RequestError;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::report::{HostStep, Operation, OperationId, Reason, Report, State};

/// The phases of an operation, named as in the protocol.
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

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Claim => "claim",
            Phase::Probe => "probe",
            Phase::Intend => "intend",
            Phase::Create => "create",
            Phase::Commit => "commit",
            Phase::RollBack => "roll back",
            Phase::Delete => "delete",
            Phase::Settle => "settle",
            Phase::Finish => "finish",
        })
    }
}

/// One thing that happened during an operation. See [`Observer`](crate::Observer).
///
/// Everything in it is data. An event can be made in a test of an observer:
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
    /// The id of the operation, which is in all its events and in its report.
    pub id: OperationId,
    /// What was asked for.
    pub operation: Operation,
    /// The group that it works on.
    pub group: GroupId,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// An event of that operation.
    pub fn new(id: OperationId, operation: Operation, group: GroupId, kind: EventKind) -> Self {
        Event { id, operation, group, kind }
    }
}

/// What happened, with its data. See [`Event`].
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
    /// The hosts that take part in the phase that was entered. Each gets an [`EventKind::Reached`] before the phase
    /// ends.
    #[non_exhaustive]
    Participants {
        /// In the order of the operation's hosts.
        hosts: Vec<Host>,
    },
    /// A request was answered, or failed.
    #[non_exhaustive]
    Answered {
        /// The host.
        host: Host,
        /// What was asked.
        action: Action,
        /// The number of this try, from 1.
        attempt: u32,
        /// Whether it was that action's success: created, present, or deleted.
        succeeded: bool,
        /// Whether the answer proves that nothing was done: refused, absent, or nothing to delete.
        denied: bool,
        /// The status, if the host answered.
        status: Option<u16>,
        /// Why there was no answer, if there was none.
        error: Option<RequestError>,
        /// How long the request took.
        elapsed: Duration,
    },
    /// A request will be tried again.
    #[non_exhaustive]
    Retrying {
        /// The host.
        host: Host,
        /// What will be asked again.
        action: Action,
        /// The number of the coming try.
        attempt: u32,
        /// The wait before it.
        delay: Duration,
    },
    /// A host is through with the current phase.
    #[non_exhaustive]
    Reached {
        /// The host.
        host: Host,
        /// What is known of the group there.
        state: State,
        /// Why the state is unknown, or not the wanted one.
        reason: Option<Reason>,
    },
    /// The operation ended. It is the last event.
    #[non_exhaustive]
    Finished {
        /// The report that the call returns, alone or in its error.
        report: Box<Report>,
    },
}

impl EventKind {
    /// An [`EventKind::Started`] on that number of hosts.
    pub fn started(hosts: usize) -> Self {
        EventKind::Started { hosts }
    }

    /// An [`EventKind::Entered`].
    pub fn entered(phase: Phase) -> Self {
        EventKind::Entered { phase }
    }

    /// An [`EventKind::Participants`].
    pub fn participants(hosts: Vec<Host>) -> Self {
        EventKind::Participants { hosts }
    }

    /// An [`EventKind::Answered`] for a host that answered with that status.
    pub fn answered(host: Host, action: Action, attempt: u32, status: u16, elapsed: Duration) -> Self {
        let step = HostStep::answered(action, status);
        let (succeeded, denied) = (step.succeeded, step.is_denied());
        EventKind::Answered { host, action, attempt, succeeded, denied, status: Some(status), error: None, elapsed }
    }

    /// An [`EventKind::Answered`] for a request without an answer.
    pub fn failed(host: Host, action: Action, attempt: u32, error: RequestError, elapsed: Duration) -> Self {
        let error = Some(error);
        EventKind::Answered { host, action, attempt, succeeded: false, denied: false, status: None, error, elapsed }
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
