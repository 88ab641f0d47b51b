//! Requests and answers of an [`Api`]: an [`Action`] becomes a [`Request`], and a [`Reply`] is classified.
//!
//! The mapping, the actions and the classified replies are values, which reports and intents contain. Deliberately
//! absent: IO.

mod answer;
mod contradiction;
mod duplicates;
#[cfg(feature = "mapping-files")]
mod mapping_file;
#[cfg(feature = "mapping-files")]
mod presets;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(crate) use crate::values::action::Action;
use crate::values::answer_problem::AnswerProblem;
use crate::values::api::pattern::Meaning;
pub(crate) use crate::values::api::{Api, ApiRef};
use crate::values::cause::RequestError;
pub(crate) use crate::values::classification::{Classification, ClassifiedReply};
use crate::values::group::GroupId;
use crate::values::report::HostStep;

/// One request, ready to be sent to any host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Cow<'static, str>,
    /// Appended to the host's base URL; starts with a slash.
    pub(crate) path: String,
    /// Headers beside those of every request. Names and values are valid in HTTP.
    pub(crate) headers: Arc<[(String, String)]>,
    pub(crate) body: Option<String>,
    pub(crate) body_use: BodyUse,
}

/// The use of the answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyUse {
    /// It is read, so that the connection can be kept, and not returned.
    Unused,
    /// It is returned as far as it arrived with little delay. The status counts without it too.
    Hint,
    /// A test of the mapping needs it. It may take the whole timeout of the request.
    Needed,
}

/// The result of one request: not sent, so not applied; answered; or ambiguous, so perhaps applied.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    NotSent(RequestError),
    Answered { status: u16, retry_after: Option<Duration>, body: Body },
    Ambiguous(RequestError),
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// The request did not ask for it.
    Unread,
    Whole(Vec<u8>),
    /// The connection ended before its end, it was too slow, or it is larger than allowed: the bytes before that.
    Cut(Vec<u8>),
}

impl Api {
    /// Returns the request of an action on a group.
    pub(crate) fn request(&self, action: Action, group: &GroupId) -> Request {
        let mapped = self.mapped(action);
        let body_use = match action {
            _ if mapped.reads_body => BodyUse::Needed,
            Action::Check if self.paths().is_some() => BodyUse::Hint,
            _ => BodyUse::Unused,
        };
        Request {
            method: mapped.method.clone(),
            path: mapped.path.render(group.as_str()),
            headers: Arc::clone(&mapped.headers),
            body: mapped.body.as_ref().map(|body| body.render(group.as_str())),
            body_use,
        }
    }
}

/// Returns the API of an intent: one of `known`, a preset, or the node API in the paths of the intent.
pub(crate) fn find(recorded: &ApiRef, known: &[Api]) -> Option<Api> {
    let name = match recorded {
        ApiRef::Paths(api) => return Some(api.clone()),
        ApiRef::Named { name, .. } => name,
    };
    let found = known.iter().find(|api| api.is(recorded)).cloned();
    #[cfg(feature = "mapping-files")]
    let found = found.or_else(|| Api::preset(name).ok().filter(|api| api.is(recorded)));
    #[cfg(not(feature = "mapping-files"))]
    let _ = name;
    found
}

/// Classifies a reply by the API, as `docs/protocol.md`, "The node API", does.
pub(crate) fn classify(api: &Api, action: Action, group: &GroupId, reply: Reply) -> ClassifiedReply {
    match reply {
        Reply::NotSent(error) => ClassifiedReply::failed(Classification::NotSent, error),
        Reply::Ambiguous(error) => ClassifiedReply::failed(Classification::Ambiguous, error),
        Reply::Answered { status, retry_after, body } => {
            let meaning = meaning(api, action, group, status, &body);
            let (classification, transient) = classification(action, status, meaning);
            let problem = match meaning {
                Ok(Meaning::Wait) => Some(AnswerProblem::Changing),
                // The statuses of the node API are known, and a refused create needs no list.
                Err(AnswerProblem::Unlisted) if api.paths().is_some() || classification == Classification::Denied => {
                    None
                }
                Err(problem) => Some(problem),
                Ok(_) => None,
            };
            let status = Some(status);
            ClassifiedReply { classification, transient, status, problem, retry_after, error: None }
        }
    }
}

/// Classifies a reply of the node API without its body, and so without the group.
pub(crate) fn classify_by_status(action: Action, reply: Reply) -> ClassifiedReply {
    static NODE: LazyLock<(Api, GroupId)> =
        LazyLock::new(|| (Api::default(), GroupId::parse("g").expect("a letter is an id")));
    classify(&NODE.0, action, &NODE.1, reply)
}

/// Returns the meaning of an answer, or the problem of an answer without a clear one.
pub(crate) fn meaning(
    api: &Api,
    action: Action,
    group: &GroupId,
    status: u16,
    body: &Body,
) -> Result<Meaning, AnswerProblem> {
    let meaning = answer::meaning(api.mapped(action), group, status, body)?;
    if meaning == Meaning::Present && api.paths().is_some() {
        return contradiction::of(body, group).map_or(Ok(meaning), Err);
    }
    Ok(meaning)
}

/// Returns the classification, and whether a retry may succeed.
fn classification(action: Action, status: u16, meaning: Result<Meaning, AnswerProblem>) -> (Classification, bool) {
    match meaning {
        Ok(Meaning::Created | Meaning::Present | Meaning::Deleted) => (Classification::Confirmed, false),
        Ok(Meaning::Exists | Meaning::Absent) => (Classification::Denied, false),
        Ok(Meaning::Wait) => (Classification::Changing, true),
        // A server may have handled a request that it answers with 408 or 429.
        Ok(Meaning::Retry) | Err(AnswerProblem::BodyCut) => (Classification::Ambiguous, true),
        Err(AnswerProblem::Unlisted) if action == Action::Create && (400..=499).contains(&status) => {
            (Classification::Denied, false)
        }
        Err(_) => (Classification::Ambiguous, false),
    }
}

/// Constructors for tests of users, classified as by the node API.
impl HostStep {
    /// A step of one request that was answered with this status.
    ///
    /// ```
    /// use cluster_client::{Action, HostStep};
    ///
    /// assert!(HostStep::answered(Action::Create, 201).succeeded);
    /// assert_eq!(HostStep::answered(Action::Create, 503).to_string(), "answered 503 to create");
    /// ```
    pub fn answered(action: Action, status: u16) -> Self {
        HostStep::of(action, Reply::Answered { status, retry_after: None, body: Body::Unread })
    }

    /// A step of one request without an answer, which may have been applied.
    pub fn failed(action: Action, error: RequestError) -> Self {
        HostStep::of(action, Reply::Ambiguous(error))
    }

    fn of(action: Action, reply: Reply) -> Self {
        let mut step = HostStep::begun(action);
        step.note(1, &classify_by_status(action, reply), Duration::ZERO);
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::cause::RequestErrorKind;

    #[test]
    fn requests_have_method_path_and_body_of_the_contract() {
        let api = Api::default();
        let group = GroupId::parse(r#"a"b\c"#).unwrap();
        let create = api.request(Action::Create, &group);
        assert_eq!((&*create.method, create.path.as_str()), ("POST", "/v1/group/"));
        assert_eq!(create.body.as_deref(), Some(r#"{"groupId": "a\"b\\c"}"#));
        let check = api.request(Action::Check, &group);
        assert_eq!((&*check.method, check.path.as_str(), check.body), ("GET", "/v1/group/a%22b%5Cc/", None));
        let delete = api.request(Action::Delete, &group);
        assert_eq!((&*delete.method, delete.path, delete.body), ("DELETE", create.path, create.body));
    }

    #[test]
    fn every_status_has_one_classification() {
        use Action::{Check, Create, Delete};
        use Classification::{Ambiguous, Confirmed, Denied};
        for (action, status, classification, transient) in [
            (Create, 201, Confirmed, false),
            (Create, 200, Ambiguous, false),
            (Create, 204, Ambiguous, false),
            (Create, 302, Ambiguous, false),
            (Create, 400, Denied, false),
            (Create, 409, Denied, false),
            (Create, 408, Ambiguous, true),
            (Create, 429, Ambiguous, true),
            (Create, 500, Ambiguous, true),
            (Create, 501, Ambiguous, false),
            (Create, 999, Ambiguous, false),
            (Check, 200, Confirmed, false),
            (Check, 404, Denied, false),
            (Check, 204, Ambiguous, false),
            (Check, 400, Ambiguous, false),
            (Check, 403, Ambiguous, false),
            (Check, 503, Ambiguous, true),
            (Delete, 200, Confirmed, false),
            (Delete, 204, Confirmed, false),
            (Delete, 202, Ambiguous, false),
            (Delete, 400, Denied, false),
            (Delete, 404, Denied, false),
            (Delete, 403, Ambiguous, false),
            (Delete, 308, Ambiguous, false),
            (Delete, 504, Ambiguous, true),
        ] {
            let reply = classify_by_status(action, Reply::Answered { status, retry_after: None, body: Body::Unread });
            assert_eq!((reply.classification, reply.transient), (classification, transient), "{action} {status}");
        }
    }

    #[test]
    fn request_may_land_late_after_the_answer_of_a_gateway_only() {
        for (status, may_land_late) in [
            (201, false),
            (404, false),
            (429, false),
            (500, false),
            (502, true),
            (503, false),
            (504, true),
            (511, false),
            (520, true),
            (524, true),
            (599, true),
        ] {
            let reply = Reply::Answered { status, retry_after: None, body: Body::Unread };
            assert_eq!(classify_by_status(Action::Create, reply).may_land_late(), may_land_late, "{status}");
        }
    }

    #[test]
    fn unsent_request_is_not_ambiguous() {
        let error = RequestError::new(RequestErrorKind::Connect, "refused");
        let classified = |reply| classify_by_status(Action::Create, reply).classification;
        assert_eq!(classified(Reply::NotSent(error.clone())), Classification::NotSent);
        assert_eq!(classified(Reply::Ambiguous(error)), Classification::Ambiguous);
    }
}
