//! Floor 1: the report of an operation, host by host.

mod cause;
mod host;
mod note;
mod operation;
mod summary;

use std::time::Duration;

pub use self::cause::Cause;
pub use self::host::{HostReport, HostStep, Interruption, Reason, State};
pub use self::note::Note;
pub use self::operation::{Operation, OperationId, Target};
use crate::values::action::Action;
use crate::values::group::GroupId;
use crate::values::outcome::{HostCounts, Outcome};

/// The report of one operation on one group, with a [`HostReport`] for each host.
///
/// ```no_run
/// # use cluster_client::ClusterClient;
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// let report = client.group_status("payments")?;
/// for host in report.unknown() {
///     if let Some(reason) = &host.reason {
///         eprintln!("{}: {reason}", host.host);
///     }
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The id of the operation, also in its events.
    pub id: OperationId,
    /// The group.
    pub group: GroupId,
    /// The kind of operation.
    pub operation: Operation,
    /// The outcome of the operation.
    pub outcome: Outcome,
    /// The hosts, in the order of the client.
    pub hosts: Vec<HostReport>,
    /// The cause of a failure.
    pub cause: Option<Cause>,
    /// The recovery of an older, unfinished operation on the group, which came first. Its changes are not part of
    /// `hosts`.
    pub earlier: Option<Box<Report>>,
    /// Whether a journal still holds an intent, which a recovery can settle. False without a journal.
    pub recoverable: bool,
    /// Whether this is the recovery of a repair to present, so that every host should have the group.
    pub(crate) finishes_repair: bool,
    /// Failures of the journal that did not change the outcome. They are part of [`Report::warnings`] too.
    pub notes: Vec<Note>,
    /// The time from the call to its end.
    pub elapsed: Duration,
}

impl Report {
    /// A report without hosts, for your own tests. Its fields are public; [`Report::into_result`] turns it into the
    /// result of a call.
    ///
    /// ```
    /// use cluster_client::{GroupId, Host, HostReport, Operation, Outcome, Report, State};
    ///
    /// let mut report = Report::new(GroupId::parse("payments")?, Operation::Status, Outcome::Observed);
    /// report.hosts.push(HostReport::new(Host::parse("http://node1:8000")?, State::Present));
    /// assert_eq!(report.summary(), "payments is on 1 of 1 host");
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn new(group: GroupId, operation: Operation, outcome: Outcome) -> Self {
        Report {
            id: OperationId::default(),
            group,
            operation,
            outcome,
            hosts: Vec::new(),
            cause: None,
            earlier: None,
            recoverable: false,
            finishes_repair: false,
            notes: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// The exit code of the command `cluster-client` for this operation alone. See the table at [`Outcome`].
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let report = Report::new(GroupId::parse("payments")?, Operation::Create, Outcome::RolledBack);
    /// assert_eq!(report.exit_code(), 1);
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn exit_code(&self) -> u8 {
        let hosts = HostCounts {
            present: self.present().count(),
            absent: self.absent().count(),
            unknown: self.unknown().count(),
        };
        self.outcome.exit_code(self.operation == Operation::Recover, hosts)
    }

    /// Whether a create sent a POST and is undone: every host is verified without the group.
    pub fn was_rolled_back(&self) -> bool {
        let sent = |host: &HostReport| host.steps.iter().any(|step| step.action == Action::Create);
        self.operation == Operation::Create && self.all(State::Absent) && self.hosts.iter().any(sent)
    }

    /// Whether a person has to decide by a repair, because no recovery can: an unfinished create without preflight does not
    /// know whose group its hosts have, so its recovery only checks them.
    ///
    /// ```
    /// use cluster_client::{GroupId, Operation, Outcome, Report};
    ///
    /// let report = Report::new(GroupId::parse("payments")?, Operation::Create, Outcome::RolledBack);
    /// assert!(!report.needs_repair());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn needs_repair(&self) -> bool {
        let undoes = matches!(self.operation, Operation::Create | Operation::Recover) && !self.finishes_repair;
        let was_tried = |host: &HostReport| host.steps.iter().any(|step| step.action == Action::Delete);
        let mut present = self.present().peekable();
        undoes && self.outcome == Outcome::Incomplete && present.peek().is_some() && !present.any(was_tried)
    }

    /// The hosts verified with the group.
    pub fn present(&self) -> impl Iterator<Item = &HostReport> {
        self.in_state(State::Present)
    }

    /// The hosts verified without the group.
    pub fn absent(&self) -> impl Iterator<Item = &HostReport> {
        self.in_state(State::Absent)
    }

    /// The hosts whose state could not be established.
    pub fn unknown(&self) -> impl Iterator<Item = &HostReport> {
        self.in_state(State::Unknown)
    }

    /// Whether the recovery of an older operation, which came first, may have changed a host.
    pub fn earlier_changed(&self) -> bool {
        self.earlier.iter().flat_map(|earlier| &earlier.hosts).any(HostReport::may_have_changed)
    }

    /// Whether every host is verified in `state`. A report without hosts verifies nothing.
    pub fn all(&self, state: State) -> bool {
        !self.hosts.is_empty() && self.hosts.iter().all(|host| host.state == state)
    }

    fn in_state(&self, state: State) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(move |host| host.state == state)
    }
}
