//! Floor 1: what an operation tells while it runs. Log lines and progress are made of these.

use std::fmt;
use std::time::Duration;

use crate::values::action::Action;
use crate::values::host::Host;
use crate::values::report::{Operation, Outcome, State};

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
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The operation began.
    #[non_exhaustive]
    Started {
        /// What was asked for.
        operation: Operation,
        /// On how many hosts.
        hosts: usize,
    },
    /// A phase began.
    Entered(Phase),
    /// The hosts that take part in the phase that was entered. Each gets a [`Event::Reached`] before the phase ends.
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
        /// The answer in a few words.
        answer: String,
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
        /// How long it waits before.
        delay: Duration,
    },
    /// A host is through with the current phase.
    #[non_exhaustive]
    Reached {
        /// The host.
        host: Host,
        /// What is known of the group there.
        state: State,
        /// Why it is not the wanted state.
        reason: Option<String>,
    },
    /// The operation ended. It is the last event.
    #[non_exhaustive]
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// The report's summary.
        summary: String,
        /// From the call to its end.
        elapsed: Duration,
    },
}
