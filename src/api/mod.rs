//! The node API: an [`Action`] becomes a [`Request`], and a [`Reply`] is classified by the table of the protocol.
//!
//! The paths, the actions and the classified replies are values, which reports and intents contain. Deliberately
//! absent: IO.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::values::action::Action;
pub(crate) use crate::values::api::Api;
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
    #[cfg_attr(not(test), expect(dead_code, reason = "the mapping as data comes next"))]
    Hint,
    /// A test of the mapping needs it. It may take the whole timeout of the request.
    Needed,
}

/// The result of one request: not sent, so not applied; answered; or ambiguous, so perhaps applied.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    NotSent(RequestError),
    Answered {
        status: u16,
        retry_after: Option<Duration>,
        #[cfg_attr(not(test), expect(dead_code, reason = "the mapping as data comes next"))]
        body: Body,
    },
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
    pub(crate) fn request(&self, action: Action, group: &GroupId) -> Request {
        let (path, body) = match action {
            Action::Check => (self.member_path(group), None),
            Action::Create | Action::Delete => (self.collection_path().to_owned(), Some(body(group))),
        };
        Request { method: action.method().into(), path, headers: Arc::from([]), body, body_use: BodyUse::Unused }
    }
}

/// Writes `{"groupId": "<id>"}`. An id has no control characters, so JSON needs only two escapes.
fn body(group: &GroupId) -> String {
    let mut json = String::with_capacity(group.as_str().len() + 16);
    json.push_str("{\"groupId\": \"");
    for c in group.as_str().chars() {
        if matches!(c, '"' | '\\') {
            json.push('\\');
        }
        json.push(c);
    }
    json.push_str("\"}");
    json
}

/// Classifies a reply by the table of `docs/protocol.md`, "The node API".
pub(crate) fn classify(action: Action, reply: Reply) -> ClassifiedReply {
    match reply {
        Reply::NotSent(error) => ClassifiedReply::failed(Classification::NotSent, error),
        Reply::Ambiguous(error) => ClassifiedReply::failed(Classification::Ambiguous, error),
        Reply::Answered { status, retry_after, .. } => {
            let classification = match (action, status) {
                (Action::Create, 201) | (Action::Check, 200) | (Action::Delete, 200 | 204) => Classification::Confirmed,
                (Action::Check, 404) | (Action::Delete, 400 | 404) => Classification::Denied,
                // A server may have handled a request that it answers with 408 or 429.
                (Action::Create, 400..=499) if !is_transient(status) => Classification::Denied,
                _ => Classification::Ambiguous,
            };
            ClassifiedReply {
                classification,
                transient: is_transient(status),
                status: Some(status),
                retry_after,
                error: None,
            }
        }
    }
}

/// Whether a retry may succeed: request timeout, too many requests, and temporary server errors. 501 is permanent.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
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
        step.note(1, &classify(action, reply), Duration::ZERO);
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
            let reply = classify(action, Reply::Answered { status, retry_after: None, body: Body::Unread });
            assert_eq!((reply.classification, reply.transient), (classification, transient), "{action} {status}");
        }
    }

    #[test]
    fn unsent_request_is_not_ambiguous() {
        let error = RequestError::new(RequestErrorKind::Connect, "refused");
        assert_eq!(classify(Action::Create, Reply::NotSent(error.clone())).classification, Classification::NotSent);
        assert_eq!(classify(Action::Create, Reply::Ambiguous(error)).classification, Classification::Ambiguous);
    }
}
