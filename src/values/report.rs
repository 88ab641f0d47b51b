//! Floor 1: the report of an operation, host by host.

use std::fmt;
use std::time::Duration;

use crate::values::action::Action;
use crate::values::answer_problem::AnswerProblem;
use crate::values::api::ApiRef;
use crate::values::cause::{JournalError, RequestError};
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::Intent;
use crate::values::outcome::{Found, Outcome};
use crate::values::printable::Printable;

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Create the group on every host, or on none.
    Create,
    /// Delete the group from every host.
    Delete,
    /// Check every host.
    Status,
    /// Drive every host to the wanted state, forward only.
    Repair(Target),
    /// Settle an unfinished operation.
    Recover,
    /// Remove a host from an unfinished operation. Nothing is sent.
    Forget,
}

impl Operation {
    /// The word in JSON and in logs: `create`, `delete`, `status`, `repair`, `recover` or `forget`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Delete => "delete",
            Operation::Status => "status",
            Operation::Repair(_) => "repair",
            Operation::Recover => "recover",
            Operation::Forget => "forget",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The id of an operation, in all its events and in its report. It is random, so that ids in the logs of many processes
/// are unlikely to be equal.
///
/// `Display` is 16 hexadecimal digits.
///
/// ```
/// use cluster_client::OperationId;
///
/// assert_eq!(OperationId::new(255).to_string(), "00000000000000ff");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OperationId(u64);

impl OperationId {
    /// The id with this number.
    pub const fn new(number: u64) -> Self {
        OperationId(number)
    }

    /// The id as a number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
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

/// The verified state of the group on one host. Unknown is never counted as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "docs/protocol.md, invariant I8: exactly one of three")]
pub enum State {
    /// A GET answered 200.
    Present,
    /// A GET answered 404.
    Absent,
    /// No GET has proved either.
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

/// One action on one host in one phase of the operation, with all its tries. `Display` writes it as in
/// `answered 503 to create, 3 tries`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HostStep {
    /// The request.
    pub action: Action,
    /// Whether the action succeeded: created, present, or deleted.
    pub succeeded: bool,
    /// Number of tries in this phase, sent or not, over all retries and later checks together.
    pub attempts: u32,
    /// The status of the last answer, if there was one.
    pub status: Option<u16>,
    /// The problem of the last answer, if its status alone does not explain why it was not counted.
    pub problem: Option<AnswerProblem>,
    /// The error of the last try, if it had no answer.
    pub error: Option<RequestError>,
    /// The time from the first try to the last answer, with the delays between.
    pub elapsed: Duration,
    /// Whether the last answer was a success, or meant that nothing was left to do.
    pub(crate) ended_well: bool,
    /// Whether each answer proves that nothing was done.
    denied: bool,
}

impl HostStep {
    pub(crate) fn begun(action: Action) -> Self {
        HostStep {
            action,
            succeeded: false,
            attempts: 0,
            status: None,
            problem: None,
            error: None,
            elapsed: Duration::ZERO,
            ended_well: false,
            denied: true,
        }
    }

    /// Records the reply to the latest of `attempts` tries.
    pub(crate) fn note(&mut self, attempts: u32, reply: &ClassifiedReply, elapsed: Duration) {
        (self.attempts, self.elapsed) = (attempts, elapsed);
        self.denied &= matches!(reply.classification, Classification::Denied | Classification::NotSent);
        // A retried DELETE found nothing to delete, so the first reply is kept.
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
        (self.status, self.problem) = (reply.status, reply.problem);
        self.error.clone_from(&reply.error);
    }

    /// Whether the step may have made or removed the group.
    fn may_have_changed(&self) -> bool {
        self.action != Action::Check && !self.denied
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.denied
    }
}

impl fmt::Display for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.error, self.ended_well) {
            (_, _, true) => write!(f, "{} succeeded", self.action)?,
            (Some(status), _, _) => write!(f, "answered {status} to {}", self.action)?,
            (None, Some(error), _) => write!(f, "{error}")?,
            (None, None, _) => write!(f, "did not answer to {}", self.action)?,
        }
        if let Some(problem) = self.problem.filter(|_| !self.ended_well) {
            write!(f, ", {problem}")?;
        }
        if self.attempts > 1 { write!(f, ", {} tries", self.attempts) } else { Ok(()) }
    }
}

/// The report of an operation on one host.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HostReport {
    /// The host.
    pub host: Host,
    /// The state of the group there.
    pub state: State,
    /// The actions there, in order.
    pub steps: Vec<HostStep>,
    /// The reason for an unknown or unwanted state.
    pub reason: Option<Reason>,
}

impl HostReport {
    /// The report of a host in this state, without steps.
    pub fn new(host: Host, state: State) -> Self {
        HostReport { host, state, steps: Vec::new(), reason: None }
    }

    /// Whether the operation made or removed the group here, as its answers say.
    pub fn changed(&self) -> bool {
        self.steps.iter().any(|step| step.succeeded && step.action != Action::Check)
    }

    /// Whether the operation may have made or removed the group here: no answer to one of its requests excludes that.
    pub fn may_have_changed(&self) -> bool {
        self.steps.iter().any(HostStep::may_have_changed)
    }
}

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

    /// A [`Cause::Journal`], which becomes the source of the error.
    pub fn journal(source: JournalError) -> Self {
        Cause::Journal { source }
    }
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
            Cause::Busy { holder } => Printable::new(holder).fmt(f),
            Cause::Conflict { unfinished, unnamed } => write_conflict(f, unfinished, unnamed),
            Cause::UnknownApi { api } => {
                write!(f, "an unfinished operation was made with an API that is not known here ({api})")
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

/// The reason for an unknown or unwanted state of a host: the decisive step, and the interruption of the host.
/// `Display` writes both, as in `answered 503 to create, 3 tries`.
///
/// ```
/// use cluster_client::{Action, HostStep, Reason};
///
/// let mut step = HostStep::answered(Action::Create, 503);
/// step.attempts = 3;
/// assert_eq!(Reason::new(Some(step), None).to_string(), "answered 503 to create, 3 tries");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reason {
    /// The decisive step: the last, or a refusal before it. `None` if no request was sent to the host.
    pub step: Option<HostStep>,
    /// The reason why no further requests were sent to the host.
    pub interruption: Option<Interruption>,
}

impl Reason {
    /// A reason with these two parts.
    pub fn new(step: Option<HostStep>, interruption: Option<Interruption>) -> Self {
        Reason { step, interruption }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.step, self.interruption) {
            (Some(step), Some(interruption)) => write!(f, "{step}; {interruption}"),
            (Some(step), None) => write!(f, "{step}"),
            (None, Some(interruption)) => write!(f, "{interruption}"),
            (None, None) => f.write_str("it was not asked"),
        }
    }
}

/// The reason why no further requests were sent to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interruption {
    /// The operation was cancelled.
    Cancelled,
    /// The time of the operation was over.
    TimedOut,
    /// The time of the rollback was over.
    RollbackTimedOut,
    /// The create had failed on another host.
    FailedElsewhere,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interruption::Cancelled => Cause::Cancelled.fmt(f),
            Interruption::TimedOut => Cause::TimedOut { host: None }.fmt(f),
            Interruption::RollbackTimedOut => Cause::RollbackTimedOut.fmt(f),
            Interruption::FailedElsewhere => f.pad("the create had failed on another host"),
        }
    }
}

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
    /// Problems beside the hosts, such as a journal entry that could not be removed. They are part of
    /// [`Report::warnings`] too.
    pub notes: Vec<String>,
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
    /// assert_eq!(report.summary(), "payments is on 1 of 1 hosts");
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
        let found =
            Found { present: self.present().count(), absent: self.absent().count(), unknown: self.unknown().count() };
        self.outcome.exit_code(self.operation == Operation::Recover, found)
    }

    /// Whether a create sent a POST and is undone: every host is verified without the group.
    pub fn was_rolled_back(&self) -> bool {
        let sent = |host: &HostReport| host.steps.iter().any(|step| step.action == Action::Create);
        self.operation == Operation::Create && self.all(State::Absent) && self.hosts.iter().any(sent)
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

    /// One line for an operator: the result, and the next step.
    pub fn summary(&self) -> String {
        match &self.earlier {
            Some(earlier) => format!("{}; an older operation was settled first: {}", self.own(), earlier.count()),
            None => self.own(),
        }
    }

    /// The summary of this operation, without the recovery of an older one.
    fn own(&self) -> String {
        let group = &self.group;
        let total = self.hosts.len();
        match self.outcome {
            Outcome::Created => format!("{group} is on {total} of {total} hosts"),
            Outcome::AlreadyExists => {
                let undone = self.hosts.iter().any(HostReport::may_have_changed);
                let change = if undone { "what was made beside it is undone" } else { "it was left as it is" };
                format!("{group} already exists on {}, {change}", names(self.present()))
            }
            Outcome::RolledBack => self.undone(),
            Outcome::Cancelled | Outcome::TimedOut if self.was_rolled_back() => self.undone(),
            Outcome::Unavailable | Outcome::Cancelled | Outcome::TimedOut => {
                let done = if self.earlier_changed() { "nothing more was sent" } else { "nothing was changed" };
                format!("{done} for {group}: {}", self.why())
            }
            Outcome::Unrecorded => {
                format!(
                    "{group} is on {total} of {total} hosts, but its commit could not be recorded; repair to present"
                )
            }
            Outcome::Incomplete | Outcome::InDoubt => self.doubt(),
            Outcome::Recovered if self.hosts.is_empty() => format!("nothing is unfinished for {group}"),
            Outcome::Busy => format!("group {group} is busy: {}", self.why()),
            Outcome::Conflict if matches!(self.cause, Some(Cause::UnknownApi { .. })) => {
                format!("group {group}: {}: recover it with that API", self.why())
            }
            Outcome::Conflict => format!("{}: recover it first", self.why()),
            Outcome::JournalFailed => {
                let first = if self.earlier.is_some() {
                    "an older operation was settled, then nothing more"
                } else {
                    "nothing"
                };
                format!("{first} was sent for group {group}, because its journal entry failed")
            }
            Outcome::Refused => format!("nothing was sent for group {group}: a value was refused"),
            Outcome::Forgotten => format!("a host was dropped from the unfinished operation on {group}"),
            Outcome::Deleted | Outcome::Repaired | Outcome::Observed | Outcome::Recovered => self.count(),
        }
    }

    fn undone(&self) -> String {
        let (group, total) = (&self.group, self.hosts.len());
        format!("{group} was not created: {}; rolled back, absent on {total} of {total} hosts", self.why())
    }

    fn why(&self) -> String {
        self.cause.as_ref().map_or_else(|| "no reason was given".into(), Cause::to_string)
    }

    /// One line for each problem: a host in an unknown or unwanted state, or a journal entry that could not be removed.
    /// Empty if there is none.
    ///
    /// A build script can print each as `cargo::warning=`.
    pub fn warnings(&self) -> Vec<String> {
        let wanted = match (self.operation, self.outcome) {
            (Operation::Create, Outcome::Created | Outcome::Unrecorded) | (Operation::Repair(Target::Present), _) => {
                Some(State::Present)
            }
            (Operation::Recover, _) if self.finishes_repair => Some(State::Present),
            (Operation::Status, _) | (Operation::Create, Outcome::AlreadyExists | Outcome::Unavailable) => None,
            (Operation::Create, Outcome::Cancelled | Outcome::TimedOut) if !self.was_rolled_back() => None,
            _ => Some(State::Absent),
        };
        let off = |host: &&HostReport| wanted.map_or(host.state == State::Unknown, |wanted| host.state != wanted);
        let hosts = self.hosts.iter().filter(off).map(|host| match &host.reason {
            Some(reason) => format!("{}: {} is {} ({reason})", host.host, self.group, host.state),
            None => format!("{}: {} is {}", host.host, self.group, host.state),
        });
        hosts.chain(self.notes.iter().cloned()).collect()
    }

    fn in_state(&self, state: State) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(move |host| host.state == state)
    }

    fn doubt(&self) -> String {
        let group = &self.group;
        let wants_present = self.finishes_repair || self.operation == Operation::Repair(Target::Present);
        let mut parts = Vec::new();
        if self.unknown().next().is_some() {
            let may = if wants_present { "may not have" } else { "may have" };
            parts.push(format!("{} {may} {group}", names(self.unknown())));
        }
        if wants_present && self.absent().next().is_some() {
            parts.push(format!("{} does not have {group}", names(self.absent())));
        }
        if !wants_present && self.present().next().is_some() {
            parts.push(format!("{} has {group}", names(self.present())));
        }
        let cause = self.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let next = if self.recoverable { "recover" } else { "ask for the status, then repair" };
        match self.outcome {
            Outcome::InDoubt => format!("in doubt: {}{cause}; {next} when it answers", parts.join(", ")),
            _ => format!("incomplete: {}{cause}; {next}", parts.join(", ")),
        }
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

/// Refines the outcome of the protocol by the cause of the failure, and by the states of the hosts.
pub(crate) fn refined_outcome(outcome: Outcome, cause: Option<&Cause>, hosts: &[HostReport]) -> Outcome {
    match (outcome, cause) {
        (Outcome::Unavailable | Outcome::RolledBack, Some(Cause::Cancelled)) => Outcome::Cancelled,
        (Outcome::Unavailable | Outcome::RolledBack, Some(Cause::TimedOut { .. })) => Outcome::TimedOut,
        (Outcome::InDoubt, _) if !hosts.is_empty() => unreached(hosts),
        (outcome, _) => outcome,
    }
}

/// The outcome of a delete or a repair that has finished every host.
pub(crate) fn outcome_of_removal_or_repair(operation: Operation, hosts: &[HostReport]) -> Outcome {
    let all = |state| hosts.iter().all(|host| host.state == state);
    match operation {
        Operation::Repair(Target::Present) if all(State::Present) => Outcome::Repaired,
        Operation::Repair(Target::Absent) if all(State::Absent) => Outcome::Repaired,
        Operation::Delete if all(State::Absent) => Outcome::Deleted,
        _ => unreached(hosts),
    }
}

fn unreached(hosts: &[HostReport]) -> Outcome {
    let is_unknown = hosts.iter().any(|host| host.state == State::Unknown);
    if is_unknown { Outcome::InDoubt } else { Outcome::Incomplete }
}

/// The names of all hosts, or of the first ones and the number of the others.
fn names<'a>(hosts: impl Iterator<Item = &'a HostReport>) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = hosts.map(|host| host.host.authority()).collect();
    match all.len() {
        0 => "no host".into(),
        1..=SHOWN => all.join(", "),
        more => format!("{} and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}
