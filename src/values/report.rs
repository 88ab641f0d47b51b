//! Floor 1: what an operation found and did, host by host.

use std::fmt;
use std::time::Duration;

use crate::values::action::Action;
use crate::values::cause::RequestError;
use crate::values::classification::{Classification, ClassifiedReply, describe};
use crate::values::group::GroupId;
use crate::values::host::Host;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Create the group on every host, or on none.
    Create,
    /// Delete the group from every host.
    Delete,
    /// Ask every host.
    Status,
    /// Drive every host to the wanted state, forward only.
    Repair(Target),
    /// Settle what an operation that did not finish has left.
    Recover,
}

/// The state that a repair drives every host to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a host has the group or it does not")]
pub enum Target {
    /// Every host has the group.
    Present,
    /// No host has the group.
    Absent,
}

/// What is known of the group on one host. Unknown is never counted as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "PROTOCOL.md, invariant I8: exactly one of three")]
pub enum State {
    /// A GET answered 200.
    Present,
    /// A GET answered 404.
    Absent,
    /// No GET has settled it.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Present => "present",
            State::Absent => "absent",
            State::Unknown => "unknown",
        })
    }
}

/// One action on one host in one phase of the operation, with all its tries.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HostStep {
    /// What was asked.
    pub action: Action,
    /// Whether an answer was that action's success: created, present, or deleted.
    pub succeeded: bool,
    /// How often it was sent or tried in this phase, over all retries and later looks together.
    pub attempts: u32,
    /// The status of the last answer, where there was one.
    pub status: Option<u16>,
    /// Why the last try had no answer, where it had none.
    pub error: Option<RequestError>,
    /// From its first try to its last answer, waits between included.
    pub elapsed: Duration,
    /// Whether the last answer was a success, or said that there was nothing to do any more.
    pub(crate) ended_well: bool,
    /// Whether each answer said that nothing was done.
    denied: bool,
}

impl HostStep {
    pub(crate) fn begun(action: Action) -> Self {
        HostStep {
            action,
            succeeded: false,
            attempts: 0,
            status: None,
            error: None,
            elapsed: Duration::ZERO,
            ended_well: false,
            denied: true,
        }
    }

    /// Takes the answer to the latest of `attempts` tries in.
    pub(crate) fn note(&mut self, attempts: u32, reply: &ClassifiedReply, elapsed: Duration) {
        (self.attempts, self.elapsed) = (attempts, elapsed);
        self.denied &= matches!(reply.classification, Classification::Denied | Classification::NotSent);
        // Deleted, and found to be gone when deleted again: the first answer says more.
        let repeated =
            self.succeeded && self.action == Action::Delete && reply.classification == Classification::Denied;
        self.ended_well = reply.classification == Classification::Confirmed || repeated;
        if repeated {
            return;
        }
        self.succeeded = match self.action {
            Action::Check => reply.classification == Classification::Confirmed,
            Action::Create | Action::Delete => self.succeeded || reply.classification == Classification::Confirmed,
        };
        self.status = reply.status;
        self.error.clone_from(&reply.error);
    }

    /// Whether it may have made or removed the group.
    fn may_have_changed(&self) -> bool {
        self.action != Action::Check && !self.denied
    }

    /// The last answer in a few words: `answered 503`, or the error.
    pub fn reason(&self) -> String {
        describe(self.status, self.error.as_ref())
    }
}

/// What an operation found and did on one host.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HostReport {
    /// The host.
    pub host: Host,
    /// What is known of the group there.
    pub state: State,
    /// What was done there, in order.
    pub steps: Vec<HostStep>,
    /// Why the state is unknown, or not the wanted one.
    pub reason: Option<String>,
}

impl HostReport {
    /// Whether the operation itself made or removed the group here, as far as the answers say.
    pub fn changed(&self) -> bool {
        self.steps.iter().any(|step| step.succeeded && step.action != Action::Check)
    }

    /// Whether the operation may have made or removed the group here: a request to do so was answered with
    /// success, or with something that does not exclude it.
    pub fn may_have_changed(&self) -> bool {
        self.steps.iter().any(HostStep::may_have_changed)
    }
}

/// What made an operation turn back or give up.
///
/// ```
/// use cluster_client::Cause;
///
/// assert_eq!(Cause::Cancelled.to_string(), "the operation was cancelled");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its [`CancelToken`](crate::CancelToken) was cancelled.
    Cancelled,
    /// The time for the whole operation was over, or too short for another try.
    #[non_exhaustive]
    TimedOut {
        /// The host that was waited for, and its last answer or error, where there is one.
        host: Option<(Host, String)>,
    },
    /// The time for its rollback, or for the recovery of an older operation, was over.
    RollbackTimedOut,
    /// A host did not do what was asked, or did not answer.
    #[non_exhaustive]
    Host {
        /// The host.
        host: Host,
        /// Its answer or error, in words that continue its name: `answered 503 to create, 3 tries`.
        reason: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Cancelled => f.pad("the operation was cancelled"),
            Cause::TimedOut { host: None } => f.pad("the operation's time was over"),
            Cause::TimedOut { host: Some((host, reason)) } => {
                write!(f, "the operation's time was over; {} {reason}", host.authority())
            }
            Cause::RollbackTimedOut => f.pad("the rollback's time was over"),
            Cause::Host { host, reason } => write!(f, "{} {reason}", host.authority()),
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Created and verified on every host.
    Created,
    /// A host already had the group; nothing was changed, or what we made is undone.
    AlreadyExists,
    /// A host could not be asked; nothing was changed.
    Unavailable,
    /// Undone; every host is verified without the group.
    RolledBack,
    /// Not settled on every host.
    InDoubt,
    /// Created and verified on every host, but the journal could not note it.
    Unrecorded,
    /// A delete or repair went over every host; the report says how far it came.
    Finished,
    /// Every host was asked.
    Observed,
    /// What an earlier operation left is settled.
    Recovered,
}

/// The whole of one operation on one group: a [`HostReport`] for every host, in the order of the hosts.
///
/// ```no_run
/// # use cluster_client::ClusterClient;
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// let report = client.status("payments")?;
/// for host in report.unknown() {
///     eprintln!("{}: {}", host.host, host.reason.as_deref().unwrap_or_default());
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The group.
    pub group: GroupId,
    /// What was asked for.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// Every host, in the order of the client's hosts.
    pub hosts: Vec<HostReport>,
    /// What made the operation turn back or give up, where something did.
    pub cause: Option<Cause>,
    /// The recovery of an older operation on the group that was found unfinished, and settled first. What it
    /// changed is not part of `hosts`.
    pub earlier: Option<Box<Report>>,
    /// Whether a journal still holds an entry, so that a recovery will take it up. Never without one.
    pub recoverable: bool,
    /// The recovery of a repair to present: every host was to have the group.
    pub(crate) finishes_repair: bool,
    /// What went wrong beside the hosts, such as a journal entry that could not be removed.
    pub(crate) notes: Vec<String>,
    /// From the call to its end.
    pub elapsed: Duration,
}

impl Report {
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

    /// Whether the settling of an older operation, which came first, may have changed something.
    pub fn earlier_changed(&self) -> bool {
        self.earlier.iter().flat_map(|earlier| &earlier.hosts).any(HostReport::may_have_changed)
    }

    /// Whether every host is verified in `state`. A report without hosts verifies nothing.
    pub fn all(&self, state: State) -> bool {
        !self.hosts.is_empty() && self.hosts.iter().all(|host| host.state == state)
    }

    /// The one line for an operator: what is the case, and what to do about it.
    pub fn summary(&self) -> String {
        match &self.earlier {
            Some(earlier) => format!("{}; an older operation was settled first: {}", self.own(), earlier.count()),
            None => self.own(),
        }
    }

    /// What this operation itself came to, whatever was settled first.
    fn own(&self) -> String {
        let group = &self.group;
        let total = self.hosts.len();
        let cause = self.cause.as_ref().map_or_else(|| "no reason was given".into(), Cause::to_string);
        match self.outcome {
            Outcome::Created => format!("{group} is on {total} of {total} hosts"),
            Outcome::AlreadyExists => {
                let undone = self.hosts.iter().any(HostReport::may_have_changed);
                let change = if undone { "what was made beside it is undone" } else { "it was left as it is" };
                format!("{group} already exists on {}, {change}", names(self.present()))
            }
            Outcome::Unavailable if self.earlier_changed() => format!("nothing more was sent for {group}: {cause}"),
            Outcome::Unavailable => format!("nothing was changed for {group}: {cause}"),
            Outcome::RolledBack => {
                format!("{group} was not created: {cause}; rolled back, absent on {total} of {total} hosts")
            }
            Outcome::Unrecorded => {
                format!(
                    "{group} is on {total} of {total} hosts, but its commit could not be recorded; repair to present"
                )
            }
            Outcome::InDoubt => self.doubt(),
            Outcome::Recovered if self.hosts.is_empty() => format!("nothing is unfinished for {group}"),
            Outcome::Finished | Outcome::Observed | Outcome::Recovered => self.count(),
        }
    }

    /// One line for each thing that somebody should look at: unknown hosts, hosts that kept the group,
    /// journal entries that could not be removed. Empty when all went well.
    ///
    /// A build script prints each as `cargo::warning=`.
    pub fn warnings(&self) -> Vec<String> {
        let wanted = match (self.operation, self.outcome) {
            (Operation::Create, Outcome::Created | Outcome::Unrecorded) | (Operation::Repair(Target::Present), _) => {
                Some(State::Present)
            }
            (Operation::Recover, _) if self.finishes_repair => Some(State::Present),
            (Operation::Status, _) | (Operation::Create, Outcome::AlreadyExists | Outcome::Unavailable) => None,
            _ => Some(State::Absent),
        };
        let off = |host: &&HostReport| wanted.map_or(host.state == State::Unknown, |wanted| host.state != wanted);
        let hosts = self.hosts.iter().filter(off).map(|host| match &host.reason {
            Some(reason) => format!("{}: {} is {} ({reason})", host.host, self.group, host.state),
            None => format!("{}: {} is {}", host.host, self.group, host.state),
        });
        hosts.chain(self.notes.iter().cloned()).collect()
    }

    /// What went wrong beside the hosts, such as a journal entry that could not be removed. It is part of
    /// [`Report::warnings`]; here it is for those who show the hosts in another way.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn in_state(&self, state: State) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(move |host| host.state == state)
    }

    fn doubt(&self) -> String {
        let group = &self.group;
        let mut parts = Vec::new();
        if self.unknown().next().is_some() {
            let may = if self.finishes_repair { "may not have" } else { "may have" };
            parts.push(format!("{} {may} {group}", names(self.unknown())));
        }
        if self.finishes_repair && self.absent().next().is_some() {
            parts.push(format!("{} does not have {group}", names(self.absent())));
        }
        if !self.finishes_repair && self.present().next().is_some() {
            parts.push(format!("{} has {group}", names(self.present())));
        }
        let cause = self.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let next = if self.recoverable { "recover" } else { "ask for the status, then repair" };
        format!("in doubt: {}{cause}; {next} when it answers", parts.join(", "))
    }

    fn count(&self) -> String {
        let total = self.hosts.len();
        let (present, unknown) = (self.present().count(), self.unknown().count());
        let group = &self.group;
        match (present, unknown) {
            (0, 0) => format!("{group} is absent on {total} of {total} hosts"),
            (_, 0) => format!("{group} is on {present} of {total} hosts"),
            _ => format!("{group} is on {present} of {total} hosts, unknown on {}", names(self.unknown())),
        }
    }
}

/// The report of a delete, which may have been kept by some hosts: look at [`Deletion::undeleted`].
///
/// ```no_run
/// # use cluster_client::ClusterClient;
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// let deletion = client.delete_group("payments")?;
/// for host in deletion.undeleted() {
///     eprintln!("{} still has it, or may: {}", host.host, host.reason.as_deref().unwrap_or_default());
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "some hosts may have kept the group: see `undeleted`"]
pub struct Deletion(Report);

impl Deletion {
    /// The hosts that still have the group, or may have it. None means that it is verified gone from all.
    pub fn undeleted(&self) -> impl Iterator<Item = &HostReport> {
        self.0.hosts.iter().filter(|host| host.state != State::Absent)
    }

    /// The whole report.
    pub fn into_report(self) -> Report {
        self.0
    }
}

impl From<Report> for Deletion {
    fn from(report: Report) -> Self {
        Deletion(report)
    }
}

impl std::ops::Deref for Deletion {
    type Target = Report;
    fn deref(&self) -> &Report {
        &self.0
    }
}

/// Some hosts in words: all of a few, the first of many.
fn names<'a>(hosts: impl Iterator<Item = &'a HostReport>) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = hosts.map(|host| host.host.authority()).collect();
    match all.len() {
        0 => "no host".into(),
        1..=SHOWN => all.join(", "),
        more => format!("{} and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}
