//! Floor 3: what a stage expects, and which line of the mapping to change if the answer is another.

use crate::api::{Action, Api};
use crate::client::probe::report::ProbeStage;
use crate::values::answer_problem::AnswerProblem;
use crate::values::api::pattern::Meaning;
use crate::values::cause::RequestError;

/// The end of a stage on one host.
pub(super) struct Observed<'a> {
    pub(super) status: Option<u16>,
    pub(super) meaning: Option<Result<Meaning, AnswerProblem>>,
    pub(super) error: Option<&'a RequestError>,
    pub(super) tries: u32,
    /// An earlier try may have taken effect.
    pub(super) was_unclear: bool,
}

/// The earlier stages of one host, as far as a later one depends on them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Earlier {
    pub(super) create_failed: bool,
    pub(super) delete_failed: bool,
}

/// Whether an answer of this meaning is the expected one.
fn is_expected(api: &Api, stage: ProbeStage, meaning: Meaning) -> bool {
    match stage {
        ProbeStage::AbsentBefore | ProbeStage::AbsentAfter => meaning == Meaning::Absent,
        ProbeStage::Present | ProbeStage::PresentStill => meaning == Meaning::Present,
        ProbeStage::CreateAgain if api.proves_ownership() => meaning == Meaning::Exists,
        ProbeStage::Create | ProbeStage::CreateAgain => meaning == Meaning::Created,
        ProbeStage::Delete => meaning == Meaning::Deleted,
        ProbeStage::DeleteAgain => matches!(meaning, Meaning::Deleted | Meaning::Absent),
    }
}

/// The meaning of a check that shows the state before the last change. A host that lags answers so for a while.
pub(super) fn old_state(stage: ProbeStage) -> Option<Meaning> {
    match stage {
        ProbeStage::Present | ProbeStage::PresentStill => Some(Meaning::Absent),
        ProbeStage::AbsentAfter => Some(Meaning::Present),
        _ => None,
    }
}

/// Returns the problem of an answer, with its remedy, or `None` if it is as expected. A state that follows from an
/// earlier failure of the host is no problem of its own.
pub(super) fn problem(api: &Api, stage: ProbeStage, observed: &Observed<'_>, earlier: Earlier) -> Option<String> {
    let action = stage.action();
    let Some(status) = observed.status else { return Some(no_answer(action, observed)) };
    let asked = Asked { api, stage, action, status };
    match observed.meaning? {
        Ok(meaning) if is_expected(api, stage, meaning) => None,
        // The try before has deleted it.
        Ok(Meaning::Absent) if stage == ProbeStage::Delete && observed.was_unclear => None,
        Ok(Meaning::Absent) if earlier.create_failed && action == Action::Check => None,
        Ok(Meaning::Present) if earlier.delete_failed && stage == ProbeStage::AbsentAfter => None,
        Ok(Meaning::Wait) => Some(format!(
            "{action} answered {status} until the time was over: {action}.wait lists it: does it ever end?"
        )),
        Ok(Meaning::Retry) => Some(format!(
            "{action} answered {status} to each of {} tries, and retry lists it: probe again later, or take it out of \
             retry if it is no temporary failure",
            observed.tries
        )),
        Ok(Meaning::Exists) if observed.was_unclear => Some(format!(
            "create answered {status} after a try without a clear answer, which may have made the thing: probe again"
        )),
        Ok(meaning) => Some(asked.unexpected(meaning)),
        Err(AnswerProblem::Unlisted) => Some(asked.unlisted()),
        Err(problem) => Some(asked.unreadable(problem)),
    }
}

fn no_answer(action: Action, observed: &Observed<'_>) -> String {
    match (observed.error, observed.tries) {
        (_, 0) | (None, _) => format!("{action} was not sent, because the probe ended"),
        (Some(error), _) => format!("{action} got no answer: {error}: see that the host is up, then probe again"),
    }
}

/// A stage that was answered with this status.
struct Asked<'a> {
    api: &'a Api,
    stage: ProbeStage,
    action: Action,
    status: u16,
}

impl Asked<'_> {
    fn unlisted(&self) -> String {
        let Asked { api, stage, action, status } = self;
        if let Some((collection, member)) = api.paths() {
            let (key, path) = if *action == Action::Check { ("member", member) } else { ("collection", collection) };
            return format!(
                "{action} answered {status}, which the node API does not list: is the path {path} (paths.{key}) right? \
                 Another API needs a mapping"
            );
        }
        let line = match stage {
            ProbeStage::Create => "create.created if it means that the thing was made",
            ProbeStage::CreateAgain if api.proves_ownership() => "create.exists if it means that the thing was there",
            ProbeStage::CreateAgain => {
                "create.exists if it means that the thing was there, or to create.created if it was overwritten"
            }
            ProbeStage::Present | ProbeStage::PresentStill => "check.present if it means that the thing is there",
            ProbeStage::AbsentBefore | ProbeStage::AbsentAfter => {
                "check.absent if it means that the thing is not there"
            }
            ProbeStage::Delete => "delete.deleted if it means that the thing is gone",
            ProbeStage::DeleteAgain => "delete.absent if it means that there was nothing to delete",
        };
        let other = match status {
            300..=399 => ", or name the place that the answer leads to",
            401 | 403 => ". Or do the credentials not allow it?",
            400..=499 => ". Or are method, path, headers and body not right?",
            500..=599 => ", or to retry if the failure is temporary",
            _ => "",
        };
        format!("{action} answered {status}, which no line of {action} lists: add it to {line}{other}")
    }

    fn unreadable(&self, problem: AnswerProblem) -> String {
        let Asked { action, status, .. } = self;
        let remedy = match problem {
            AnswerProblem::NotJson => {
                format!(
                    "a test of {action} on a {status} needs JSON: is {action}.path right, or does a header ask for it?"
                )
            }
            AnswerProblem::BodyCut => {
                format!("a test of {action} on a {status} needs the whole body: ask for a shorter one")
            }
            AnswerProblem::TwoMeanings => {
                format!(
                    "tests of two keys of {action} hold for it, or its body has a name twice: add tests that tell them apart"
                )
            }
            _ => format!("is {action}.path right, and is a login or a proxy in between?"),
        };
        format!("{action} answered {status}, {problem}: {remedy}")
    }

    /// The answer is listed with a meaning that it cannot have in this stage.
    fn unexpected(&self, meaning: Meaning) -> String {
        let Asked { stage, action, status, .. } = self;
        let listed = format!("{action}.{} lists {status}", meaning.key());
        match stage {
            ProbeStage::AbsentBefore => format!(
                "{listed}, but nothing was created yet: take another id if this one is taken, else correct check.{}",
                meaning.key()
            ),
            ProbeStage::Create => format!(
                "{listed}, but the thing was absent before: move it to create.created if it means that the thing was made"
            ),
            ProbeStage::Present => format!(
                "the check does not find it after the create: does check.path address the thing that create.path and \
                 its body make? {listed}"
            ),
            ProbeStage::PresentStill => {
                format!("the second create removed it, or the check is wrong: {listed}, but the thing was there before")
            }
            ProbeStage::CreateAgain => format!(
                "{listed}, but the thing was there: the create overwrites, or does not tell. Move it to create.exists if \
                 it means that the thing was there, or leave out create.exists"
            ),
            ProbeStage::Delete => format!(
                "{listed}, but the thing was there: does delete.path address the same thing? Move it to delete.deleted \
                 if it means that the thing is gone"
            ),
            ProbeStage::AbsentAfter => {
                format!("the check still finds it after the delete: does delete.path address the same thing? {listed}")
            }
            ProbeStage::DeleteAgain => format!("{listed}, but the thing was gone: correct delete.{}", meaning.key()),
        }
    }
}
