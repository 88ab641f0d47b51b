//! Floor 1: the node API as data. An [`Action`] becomes a [`Request`]; a [`Reply`] becomes a
//! [`Reading`], which is all that the protocol ever sees of HTTP.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::values::cause::RequestError;
use crate::values::config::ConfigError;
use crate::values::group::GroupId;

/// What is asked of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Action {
    /// `POST`: create the group.
    Create,
    /// `GET`: is the group there?
    Check,
    /// `DELETE`: delete the group.
    Delete,
}

impl Action {
    /// The HTTP method: `POST`, `GET` or `DELETE`.
    pub fn method(self) -> &'static str {
        match self {
            Action::Create => "POST",
            Action::Check => "GET",
            Action::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Action::Create => "create",
            Action::Check => "check",
            Action::Delete => "delete",
        })
    }
}

/// One request, ready to be sent to any host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// Comes after the host's base URL; starts with a slash.
    pub(crate) path: String,
    /// JSON.
    pub(crate) body: Option<String>,
}

/// What one request did: it was certainly not applied, it was answered, or perhaps it was applied.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    NotSent(RequestError),
    Answered { status: u16, retry_after: Option<Duration> },
    Ambiguous(RequestError),
}

/// What a reply says to the question that its action asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// Created, present, or deleted.
    Yes,
    /// Refused, absent, or nothing to delete. Certainly nothing was applied.
    No,
    /// Certainly nothing was applied, because the request did not leave.
    Unsent,
    /// Perhaps it was applied, or the question is still open.
    Unclear,
}

/// A reply as the protocol reads it.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) verdict: Verdict,
    /// Whether the fault is of the kind that passes.
    pub(crate) transient: bool,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) error: Option<RequestError>,
}

/// The paths of the node API: `/v1/group/` to create and delete, `/v1/group/{id}/` to check.
///
/// Real nodes vary in the slash at the end, so both are configuration.
///
/// ```
/// use cluster_client::{Api, ClusterClient};
///
/// let api = Api::new("/v1/group", "/v1/group/{id}")?;
/// let client = ClusterClient::builder().hosts(["http://node1:8000"]).api(api).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    collection: String,
    before_id: String,
    after_id: String,
}

impl Default for Api {
    fn default() -> Self {
        Api { collection: "/v1/group/".into(), before_id: "/v1/group/".into(), after_id: "/".into() }
    }
}

/// RFC 3986 leaves these to be written as they are.
const UNRESERVED_KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Api {
    /// An API with these two paths, which come after each host's base URL. `member` holds `{id}` once,
    /// where the percent-encoded group id goes.
    ///
    /// # Errors
    /// A [`ConfigError`] where a path does not start with a slash, holds something that a path cannot
    /// hold, has a segment `.` or `..`, or `{id}` is not there exactly once.
    pub fn new(collection: &str, member: &str) -> Result<Self, ConfigError> {
        check_path("collection path", collection, &[collection])?;
        let parts: Vec<&str> = member.split("{id}").collect();
        let [before_id, after_id] = parts[..] else {
            let remedy = "write {id} once, as in /v1/group/{id}/";
            return Err(ConfigError::new("member path", member, "does not hold {id} exactly once", remedy));
        };
        check_path("member path", member, &[before_id, after_id])?;
        Ok(Api { collection: collection.into(), before_id: before_id.into(), after_id: after_id.into() })
    }

    /// The path to create and delete at.
    pub fn collection_path(&self) -> &str {
        &self.collection
    }

    /// The path to check at, with `{id}` in the place of the group id: what [`Api::new`] takes.
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().member_template(), "/v1/group/{id}/");
    /// ```
    pub fn member_template(&self) -> String {
        format!("{}{{id}}{}", self.before_id, self.after_id)
    }

    /// The path to check at, for a group.
    ///
    /// ```
    /// use cluster_client::{Api, GroupId};
    ///
    /// let group = GroupId::parse("a/b ü")?;
    /// assert_eq!(Api::default().member_path(&group), "/v1/group/a%2Fb%20%C3%BC/");
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn member_path(&self, group: &GroupId) -> String {
        let id = utf8_percent_encode(group.as_str(), UNRESERVED_KEPT);
        format!("{}{id}{}", self.before_id, self.after_id)
    }

    pub(crate) fn request(&self, action: Action, group: &GroupId) -> Request {
        let (path, body) = match action {
            Action::Check => (self.member_path(group), None),
            Action::Create | Action::Delete => (self.collection.clone(), Some(body(group))),
        };
        Request { method: action.method(), path, body }
    }
}

/// The parts are what stands before and after the id.
fn check_path(what: &'static str, given: &str, parts: &[&str]) -> Result<(), ConfigError> {
    let refused = |problem: &str, remedy: &str| Err(ConfigError::new(what, given, problem, remedy));
    let path = parts.join("id");
    if !path.starts_with('/') {
        return refused("does not start with a slash", "write it as /v1/group/");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b);
    if !path.bytes().all(allowed) {
        return refused("has a character that a path does not have", "percent-encode it");
    }
    let is_code = |text: &str| text.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    if !parts.iter().all(|part| part.split('%').skip(1).all(is_code)) {
        return refused("has a % without its two hexadecimal digits", "write a % itself as %25");
    }
    // Proxies and servers read another path in it, as browsers do.
    let is_dotted = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(is_dotted) {
        return refused("has a dotted segment", "write the path it stands for");
    }
    Ok(())
}

/// `{"groupId": "<id>"}`. An id has no control characters, so two escapes are all that JSON asks for.
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

/// What `reply` says about `action`. The table of PROTOCOL.md, "the node API".
pub(crate) fn read(action: Action, reply: Reply) -> Reading {
    match reply {
        Reply::NotSent(error) => Reading::failed(Verdict::Unsent, error),
        Reply::Ambiguous(error) => Reading::failed(Verdict::Unclear, error),
        Reply::Answered { status, retry_after } => {
            let verdict = match (action, status) {
                (Action::Create, 201) | (Action::Check, 200) | (Action::Delete, 200 | 204) => Verdict::Yes,
                (Action::Check, 404) | (Action::Delete, 400 | 404) => Verdict::No,
                // A server says 408 and 429 of a request that it may have handled all the same.
                (Action::Create, 400..=499) if !is_transient(status) => Verdict::No,
                _ => Verdict::Unclear,
            };
            Reading { verdict, transient: is_transient(status), status: Some(status), retry_after, error: None }
        }
    }
}

/// The statuses that are worth another try: request timeout, too many requests, and the server errors
/// that pass. 501 says that the server will never do it.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

impl Reading {
    /// Whether the request may have been applied, or may yet be.
    pub(crate) fn is_ambiguous(&self) -> bool {
        let answered_for_good = matches!(self.status, Some(400..=499)) && !self.transient;
        self.verdict == Verdict::Unclear && !answered_for_good
    }

    /// Whether the request may take effect after this moment. A node that answered has ended its work; a
    /// connection without an answer and a gateway that gave up (502, 504) say nothing of the node's.
    pub(crate) fn may_land_late(&self) -> bool {
        self.is_ambiguous() && matches!(self.status, None | Some(502 | 504))
    }

    /// Whether the host answered, with a status that does not settle the question.
    pub(crate) fn is_refused(&self) -> bool {
        self.verdict == Verdict::Unclear && self.status.is_some()
    }

    fn failed(verdict: Verdict, error: RequestError) -> Self {
        Reading { verdict, transient: true, status: None, retry_after: None, error: Some(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::cause::RequestErrorKind;

    #[test]
    fn requests_are_those_of_the_contract() {
        let api = Api::default();
        let group = GroupId::parse(r#"a"b\c"#).unwrap();
        let create = api.request(Action::Create, &group);
        assert_eq!((create.method, create.path.as_str()), ("POST", "/v1/group/"));
        assert_eq!(create.body.as_deref(), Some(r#"{"groupId": "a\"b\\c"}"#));
        let check = api.request(Action::Check, &group);
        assert_eq!((check.method, check.path.as_str(), check.body), ("GET", "/v1/group/a%22b%5Cc/", None));
        let delete = api.request(Action::Delete, &group);
        assert_eq!((delete.method, delete.path, delete.body), ("DELETE", create.path, create.body));
    }

    #[test]
    fn every_status_has_one_reading() {
        use Action::{Check, Create, Delete};
        use Verdict::{No, Unclear, Yes};
        for (action, status, verdict, transient) in [
            (Create, 201, Yes, false),
            (Create, 200, Unclear, false),
            (Create, 204, Unclear, false),
            (Create, 302, Unclear, false),
            (Create, 400, No, false),
            (Create, 409, No, false),
            (Create, 408, Unclear, true),
            (Create, 429, Unclear, true),
            (Create, 500, Unclear, true),
            (Create, 501, Unclear, false),
            (Create, 999, Unclear, false),
            (Check, 200, Yes, false),
            (Check, 404, No, false),
            (Check, 204, Unclear, false),
            (Check, 400, Unclear, false),
            (Check, 403, Unclear, false),
            (Check, 503, Unclear, true),
            (Delete, 200, Yes, false),
            (Delete, 204, Yes, false),
            (Delete, 202, Unclear, false),
            (Delete, 400, No, false),
            (Delete, 404, No, false),
            (Delete, 403, Unclear, false),
            (Delete, 308, Unclear, false),
            (Delete, 504, Unclear, true),
        ] {
            let reading = read(action, Reply::Answered { status, retry_after: None });
            assert_eq!((reading.verdict, reading.transient), (verdict, transient), "{action} {status}");
        }
    }

    #[test]
    fn what_was_not_sent_is_not_unclear() {
        let error = RequestError::new(RequestErrorKind::Connect, "refused");
        assert_eq!(read(Action::Create, Reply::NotSent(error.clone())).verdict, Verdict::Unsent);
        assert_eq!(read(Action::Create, Reply::Ambiguous(error)).verdict, Verdict::Unclear);
    }

    #[test]
    fn dots_and_codes_are_kept_where_they_mean_nothing_else() {
        for member in ["/v1/group/{id}.json", "/v1/.{id}", "/v1/%2e%2E%2e/{id}", "/a..b/{id}", "/x%25/{id}"] {
            assert!(Api::new("/v1/group//", member).is_ok(), "{member}");
        }
    }

    #[test]
    fn odd_paths_are_refused() {
        for (collection, member) in [
            ("v1/group", "/v1/group/{id}"),
            ("/v1/group", "/v1/group/"),
            ("/v1/group", "/{id}/{id}"),
            ("/v1/group", "{id}"),
            ("/v1 group", "/v1/group/{id}"),
            ("/v1/group?x", "/v1/group/{id}"),
            ("/v1/../group", "/v1/group/{id}"),
            ("/v1/group", "/v1/%2E./{id}"),
            ("/v1/group", "/v1/{id}/."),
            ("/v1/%/group", "/v1/group/{id}"),
            ("/v1/group", "/v1/%2{id}"),
            ("/v1/group", "/v1/%{id}2e"),
        ] {
            assert!(Api::new(collection, member).is_err(), "{collection} {member}");
        }
    }
}
