//! The report on one host: its state, its steps, and the reason for a state that is unknown or unwanted.

use std::fmt;
use std::time::Duration;

use crate::values::action::Action;
use crate::values::answer_problem::AnswerProblem;
use crate::values::cause::RequestError;
use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::host::Host;

/// The verified state of the group on one host. Unknown is never counted as absent.
///
/// ```
/// use cluster_client::State;
///
/// assert_eq!(State::Unknown.to_string(), "unknown");
/// ```
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

impl State {
    /// The word in JSON and in text: `present`, `absent` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Present => "present",
            State::Absent => "absent",
            State::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
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

    /// Whether `Display` begins with a verb of the host, as in `answered 503 to create`.
    fn begins_with_a_verb(&self) -> bool {
        !self.ended_well && (self.status.is_some() || self.error.is_none())
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
///
/// ```
/// use cluster_client::{Host, HostReport, State};
///
/// let report = HostReport::new(Host::parse("http://node1:8000")?, State::Present);
/// assert!(!report.changed() && !report.may_have_changed());
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
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

    /// One sentence about a host, or about several that share this reason. A reason that begins with no verb follows a
    /// colon.
    ///
    /// ```
    /// use cluster_client::{Action, HostStep, Reason, RequestError, RequestErrorKind};
    ///
    /// let answered = Reason::new(Some(HostStep::answered(Action::Create, 503)), None);
    /// assert_eq!(answered.sentence("node1:8000"), "node1:8000 answered 503 to create");
    /// let error = RequestError::new(RequestErrorKind::Connect, "connection refused");
    /// let refused = Reason::new(Some(HostStep::failed(Action::Create, error)), None);
    /// assert_eq!(refused.sentence("node1:8000"), "node1:8000: connection refused");
    /// ```
    pub fn sentence(&self, hosts: impl fmt::Display) -> String {
        let verb_first = self.step.as_ref().is_some_and(HostStep::begins_with_a_verb);
        if verb_first { format!("{hosts} {self}") } else { format!("{hosts}: {self}") }
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
///
/// ```
/// use cluster_client::Interruption;
///
/// assert_eq!(Interruption::TimedOut.as_str(), "timed_out");
/// assert_eq!(Interruption::TimedOut.to_string(), "the operation's time was over");
/// ```
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
    /// The claim on the group was lost, so another coordinator may work on it.
    ClaimLost,
}

impl Interruption {
    /// The word in JSON: `cancelled`, `timed_out`, `rollback_timed_out`, `failed_elsewhere` or `claim_lost`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Interruption::Cancelled => "cancelled",
            Interruption::TimedOut => "timed_out",
            Interruption::RollbackTimedOut => "rollback_timed_out",
            Interruption::FailedElsewhere => "failed_elsewhere",
            Interruption::ClaimLost => "claim_lost",
        }
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Interruption::Cancelled => "the operation was cancelled",
            Interruption::TimedOut => "the operation's time was over",
            Interruption::RollbackTimedOut => "the rollback's time was over",
            Interruption::FailedElsewhere => "the create had failed on another host",
            Interruption::ClaimLost => "the claim on the group was lost",
        })
    }
}
