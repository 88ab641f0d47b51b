//! Floor 3: the report of a probe, as data.

use std::fmt;
use std::time::Duration;

use crate::api::{Action, Api};
use crate::values::answer_problem::AnswerProblem;
use crate::values::api::pattern::Meaning;
use crate::values::cause::{JournalError, RequestError};
use crate::values::error::Error;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::report::{Interruption, Report};

/// A stage of [`ClusterClient::probe`](crate::ClusterClient::probe). Each is one request to every host.
///
/// ```
/// use cluster_client::{Action, ProbeStage};
///
/// assert_eq!(ProbeStage::ALL[1], ProbeStage::Create);
/// assert_eq!(ProbeStage::AbsentAfter.to_string(), "absent after");
/// assert_eq!(ProbeStage::AbsentAfter.action(), Action::Check);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProbeStage {
    /// The check must show that the id is free. Otherwise nothing is created.
    AbsentBefore,
    /// The create must make the thing.
    Create,
    /// The check must find it.
    Present,
    /// A second create must say that it exists, if the API has such answers.
    CreateAgain,
    /// The check must still find it.
    PresentStill,
    /// The delete must remove it.
    Delete,
    /// The check must show that it is gone.
    AbsentAfter,
    /// A second delete must be harmless.
    DeleteAgain,
}

impl ProbeStage {
    /// All stages, in their order.
    pub const ALL: [ProbeStage; 8] = [
        ProbeStage::AbsentBefore,
        ProbeStage::Create,
        ProbeStage::Present,
        ProbeStage::CreateAgain,
        ProbeStage::PresentStill,
        ProbeStage::Delete,
        ProbeStage::AbsentAfter,
        ProbeStage::DeleteAgain,
    ];

    /// The action of its requests.
    pub fn action(self) -> Action {
        match self {
            ProbeStage::Create | ProbeStage::CreateAgain => Action::Create,
            ProbeStage::Delete | ProbeStage::DeleteAgain => Action::Delete,
            _ => Action::Check,
        }
    }

    /// Its name for programs: `absent_before`, `create`, `present`, `create_again`, `present_still`, `delete`,
    /// `absent_after` or `delete_again`.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeStage::AbsentBefore => "absent_before",
            ProbeStage::Create => "create",
            ProbeStage::Present => "present",
            ProbeStage::CreateAgain => "create_again",
            ProbeStage::PresentStill => "present_still",
            ProbeStage::Delete => "delete",
            ProbeStage::AbsentAfter => "absent_after",
            ProbeStage::DeleteAgain => "delete_again",
        }
    }
}

impl fmt::Display for ProbeStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_str().replace('_', " "))
    }
}

/// The request of a stage to one host, and its answer. All texts are escaped for a terminal, and free of secrets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeAnswer {
    /// The host.
    pub host: Host,
    /// The request line, with the base path of the host, such as `GET /v1/group/probe-x/ HTTP/1.1`.
    pub request: String,
    /// The body of the request, cut to 200 characters.
    pub request_body: Option<String>,
    /// The status of the last answer. `None` without an answer.
    pub status: Option<u16>,
    /// The body of the last answer, cut to 200 characters. `None` if it has none.
    pub body: Option<String>,
    /// The meaning of the last answer by the API. `None` without an answer.
    pub meaning: Option<Result<Meaning, AnswerProblem>>,
    /// The reason why there is no answer.
    pub error: Option<RequestError>,
    /// Number of requests that were sent. Zero if the probe ended before.
    pub tries: u32,
    /// Time from the first request to the last answer, with the delays between them.
    pub elapsed: Duration,
    /// The problem, and which line of the mapping to change. `None` if the stage is as expected on this host, or if
    /// an earlier problem of the host explains it.
    pub problem: Option<String>,
}

impl ProbeAnswer {
    /// The meaning of the answer by the API, as one word for programs: the key of the [`Meaning`], or `unlisted`,
    /// `not_json`, `cut`, `two_meanings`, `contradiction` or `no_answer`.
    ///
    /// ```no_run
    /// # let client = cluster_client::ClusterClient::new(["http://node1:8000"])?;
    /// let report = client.probe(None)?;
    /// for stage in &report.stages {
    ///     for answer in &stage.hosts {
    ///         println!("{}: {} {}", stage.stage, answer.host, answer.word());
    ///     }
    /// }
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn word(&self) -> &'static str {
        match self.meaning {
            None => "no_answer",
            Some(Ok(meaning)) => meaning.key(),
            Some(Err(AnswerProblem::Unlisted)) => "unlisted",
            Some(Err(AnswerProblem::NotJson)) => "not_json",
            Some(Err(AnswerProblem::BodyCut)) => "cut",
            Some(Err(AnswerProblem::TwoMeanings)) => "two_meanings",
            Some(Err(_)) => "contradiction",
        }
    }
}

/// A stage that was begun, with the answer of each host in the order of the client.
///
/// ```no_run
/// # let client = cluster_client::ClusterClient::new(["http://node1:8000"])?;
/// let report = client.probe(None)?;
/// for stage in &report.stages {
///     let answered = stage.hosts.iter().filter(|answer| answer.status.is_some()).count();
///     println!("{}: {answered} of {} hosts answered", stage.stage, stage.hosts.len());
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StageReport {
    /// The stage.
    pub stage: ProbeStage,
    /// The answers.
    pub hosts: Vec<ProbeAnswer>,
}

/// Result of [`ClusterClient::probe`](crate::ClusterClient::probe).
///
/// ```no_run
/// # let client = cluster_client::ClusterClient::new(["http://node1:8000"])?;
/// let report = client.probe(None)?;
/// if !report.is_certified() {
///     for (stage, answer) in report.problems() {
///         eprintln!("{stage}: {}: {}", answer.host, answer.problem.as_deref().unwrap_or_default());
///     }
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "the report says whether the mapping is certified, and where the thing may be left"]
#[non_exhaustive]
pub struct ProbeReport {
    /// The API that was probed.
    pub api: Api,
    /// The id of the throw-away thing.
    pub group: GroupId,
    /// The stages that were begun, in their order.
    pub stages: Vec<StageReport>,
    /// Why the probe ended early, if it was cancelled or its time was over.
    pub interruption: Option<Interruption>,
    /// The delete that cleaned up, if the stages did not leave every host verified without the thing.
    pub cleanup: Option<Result<Report, Error>>,
    /// The hosts on which the thing may be left.
    pub left: Vec<Host>,
    /// Whether the journal still holds the probe, so that a recovery removes what is left.
    pub recoverable: bool,
    /// The failure of the journal to forget the probe. The thing is verified on no host.
    pub journal_error: Option<JournalError>,
    /// Time of the whole probe.
    pub elapsed: Duration,
}

impl ProbeReport {
    /// Whether every stage ended on every host as expected, and nothing is left.
    pub fn is_certified(&self) -> bool {
        self.stages.len() == ProbeStage::ALL.len()
            && self.interruption.is_none()
            && self.left.is_empty()
            && self.problems().next().is_none()
    }

    /// The answers that were not as expected, each with its stage.
    pub fn problems(&self) -> impl Iterator<Item = (ProbeStage, &ProbeAnswer)> {
        let answers = self.stages.iter().flat_map(|stage| stage.hosts.iter().map(|answer| (stage.stage, answer)));
        answers.filter(|(_, answer)| answer.problem.is_some())
    }

    /// Whether a create was sent.
    pub fn has_created(&self) -> bool {
        let creates = self.stages.iter().filter(|stage| stage.stage == ProbeStage::Create);
        creates.flat_map(|stage| &stage.hosts).any(|answer| answer.tries > 0)
    }

    /// The limits of the API's promise, even if it is certified.
    pub fn limits(&self) -> Option<&'static str> {
        (!self.api.proves_ownership()).then_some(
            "its create overwrites what exists, so a created thing may be another client's: \
             list the answers of create.exists if the service has any",
        )
    }
}
