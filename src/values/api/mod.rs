//! Floor 1: a REST API as data: the three requests, and the meanings of their answers.
//!
//! `crate::api` builds requests from it and classifies answers by it. An intent records it.

mod builder;
mod call;
mod headers;
mod ids;
pub(crate) mod pattern;
mod reference;
pub(crate) mod template;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

pub use self::builder::ApiBuilder;
pub use self::call::{Answer, Call};
use self::ids::IdRule;
use self::pattern::{Meaning, Pattern};
pub use self::reference::ApiRef;
use self::template::Template;
use crate::values::action::Action;
use crate::values::checksum::fnv1a;
use crate::values::config::ConfigError;
use crate::values::group::{GroupId, IntoGroupId};

/// A REST API: the requests that create, check and delete a thing with a given id, and the meanings of their answers.
/// Cloning is cheap.
///
/// The default is the node API: `/v1/group/` to create and delete, `/v1/group/{id}/` to check. Real nodes vary in the
/// slash at the end, so [`Api::new`] takes both paths. [`Api::builder`] describes any other API.
///
/// ```
/// use cluster_client::{Api, ClusterClient};
///
/// let api = Api::new("/v1/group", "/v1/group/{id}")?;
/// let client = ClusterClient::builder().hosts(["http://node1:8000"]).api(api).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api(Arc<Data>);

#[derive(Debug, PartialEq, Eq)]
struct Data {
    name: Box<str>,
    noun: Box<str>,
    ids: Option<IdRule>,
    /// The two paths of the node API; `None` for any other API.
    paths: Option<Paths>,
    /// In the order of [`Action`].
    calls: [Mapped; 3],
    digest: Box<str>,
}

#[derive(Debug, PartialEq, Eq)]
struct Paths {
    collection: Box<str>,
    member: Box<str>,
}

/// The request of one action, and the meanings of its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) method: Cow<'static, str>,
    pub(crate) path: Template,
    pub(crate) body: Option<Template>,
    pub(crate) headers: Arc<[(String, String)]>,
    /// Answers with tests come first.
    pub(crate) answers: Box<[(Meaning, Pattern)]>,
    /// Whether a test needs the body of an answer.
    pub(crate) reads_body: bool,
}

impl Mapped {
    fn new(
        method: impl Into<Cow<'static, str>>,
        path: Template,
        body: Option<Template>,
        headers: Arc<[(String, String)]>,
        mut answers: Vec<(Meaning, Pattern)>,
    ) -> Self {
        answers.sort_by_cached_key(|(meaning, pattern)| (pattern.tests.is_empty(), *meaning, pattern.to_string()));
        let reads_body = answers.iter().any(|(_, pattern)| !pattern.tests.is_empty());
        Mapped { method: method.into(), path, body, headers, answers: answers.into(), reads_body }
    }

    /// Appends the lines of its canonical text. They contain all that decides the request and the meaning of its
    /// answer. Bare retries are left out: they change when a request is sent, not its meaning. One with tests comes
    /// before a bare status, so without it a `404` of a proxy could mean absent.
    fn append_canonical(&self, action: Action, text: &mut String) {
        let _ = writeln!(text, "{action} {} {}", self.method, self.path);
        let mut lines: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())).collect();
        lines.sort();
        let counts = |meaning: Meaning, pattern: &Pattern| meaning != Meaning::Retry || !pattern.tests.is_empty();
        let listed = self.answers.iter().filter(|(meaning, pattern)| counts(*meaning, pattern));
        let mut answers: Vec<String> =
            listed.map(|(meaning, pattern)| format!("{} {pattern}", meaning.key())).collect();
        answers.sort();
        lines.extend(self.body.iter().map(|body| format!("body {body}")));
        lines.extend(answers);
        for line in lines {
            let _ = writeln!(text, "{action} {line}");
        }
    }
}

/// The statuses after which a retry may succeed, unless an API lists others: request timeout, too many requests, and
/// temporary server errors. 501 is permanent.
const RETRY: [u16; 6] = [408, 429, 500, 502, 503, 504];

fn bare(status: u16) -> Pattern {
    Pattern { status, tests: Vec::new() }
}

fn default_retry() -> impl Iterator<Item = Pattern> {
    RETRY.into_iter().map(bare)
}

impl Default for Api {
    fn default() -> Self {
        Api::new("/v1/group/", "/v1/group/{id}/").expect("both paths are valid")
    }
}

impl Api {
    const NOUN: &str = "group";
    /// The name of the node API.
    const NODE: &str = "node";

    /// The node API with these two paths, which are appended to each host's base URL. `member` contains `{id}` once, as
    /// the place of the percent-encoded group id.
    ///
    /// # Errors
    /// A [`ConfigError`] if a path does not start with a slash, has a character that a path cannot have, or has a
    /// segment `.` or `..`; or if `member` does not contain `{id}` exactly once.
    pub fn new(collection: &str, member: &str) -> Result<Self, ConfigError> {
        if collection.contains("{id}") {
            let remedy = "write it without, as /v1/group/";
            return Err(ConfigError::new("collection path", collection, "holds {id}", remedy));
        }
        if member.matches("{id}").count() != 1 {
            let remedy = "write {id} once, as in /v1/group/{id}/";
            return Err(ConfigError::new("member path", member, "does not hold {id} exactly once", remedy));
        }
        let all = template::path("collection path", collection, false)?;
        let one = template::path("member path", member, false)?;
        let paths = Paths { collection: collection.into(), member: member.into() };
        Ok(Api::of(Api::NODE.into(), Api::NOUN.into(), None, Some(paths), node_calls(all, one)))
    }

    fn of(name: Box<str>, noun: Box<str>, ids: Option<IdRule>, paths: Option<Paths>, calls: [Mapped; 3]) -> Self {
        let digest = format!("{:016x}", fnv1a(canonical_text(&calls).as_bytes())).into();
        Api(Arc::new(Data { name, noun, ids, paths, calls, digest }))
    }

    /// Returns a builder for the API of another service.
    pub fn builder() -> ApiBuilder {
        ApiBuilder::default()
    }

    /// The name. That of the node API is `node`.
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().name(), "node");
    /// ```
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The word for the thing in output, such as `group`.
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().noun(), "group");
    /// ```
    pub fn noun(&self) -> &str {
        &self.0.noun
    }

    /// The collection path and the member path, as for [`Api::new`]. `None` for an API of [`Api::builder`].
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().paths(), Some(("/v1/group/", "/v1/group/{id}/")));
    /// ```
    pub fn paths(&self) -> Option<(&str, &str)> {
        self.0.paths.as_ref().map(|paths| (&*paths.collection, &*paths.member))
    }

    /// The characters that an id may have, and its maximum length in bytes. `None` for the node API, which allows every
    /// [`GroupId`].
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().ids(), None);
    /// ```
    pub fn ids(&self) -> Option<(&str, usize)> {
        self.0.ids.as_ref().map(IdRule::parts)
    }

    /// Checks an id by the rule of [`ApiBuilder::ids`].
    ///
    /// # Errors
    /// A [`ConfigError`] for an id that this API does not allow.
    ///
    /// ```
    /// use cluster_client::{Api, GroupId};
    ///
    /// assert!(Api::default().check_id(&GroupId::parse("*")?).is_ok());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn check_id(&self, group: &GroupId) -> Result<(), ConfigError> {
        self.0.ids.as_ref().map_or(Ok(()), |ids| ids.check(self.noun(), group))
    }

    /// Checks an id as [`GroupId::parse`] does, and by the rule of [`ApiBuilder::ids`].
    ///
    /// # Errors
    /// A [`ConfigError`] for an id that is invalid, or that this API does not allow. It begins with [`Api::noun`].
    ///
    /// ```
    /// use cluster_client::Api;
    ///
    /// let refused = Api::default().parse_id("..").unwrap_err();
    /// assert!(refused.to_string().starts_with("group \"..\" (passed by the program) means another path"));
    /// # #[cfg(feature = "mapping-files")]
    /// assert!(Api::preset("jupyterhub")?.parse_id("a*").unwrap_err().to_string().starts_with("group \"a*\""));
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn parse_id(&self, id: impl IntoGroupId) -> Result<GroupId, ConfigError> {
        let group = self.named(id)?;
        self.check_id(&group)?;
        Ok(group)
    }

    /// Checks an id without the rule of this API. An error begins with the noun.
    pub(crate) fn named(&self, id: impl IntoGroupId) -> Result<GroupId, ConfigError> {
        id.into_group_id().map_err(|error| match error.what() {
            GroupId::WHAT => error.about(self.noun().to_owned()),
            _ => error,
        })
    }

    /// Draws an id that this API allows and that is most probably not taken.
    ///
    /// # Errors
    /// A [`ConfigError`] if the API allows neither letters nor digits in an id.
    pub(crate) fn random_id(&self, random: &mut fastrand::Rng) -> Result<GroupId, ConfigError> {
        const PREFIX: &str = "probe-";
        let usual = || IdRule::parse("a-z0-9-", GroupId::MAX_BYTES).ok();
        let rule = self.0.ids.clone().or_else(usual);
        let id = rule.as_ref().and_then(|rule| rule.random(PREFIX, random));
        let Some(id) = id else {
            let (chars, _) = self.ids().unwrap_or_default();
            let remedy = "name the id of the probe";
            return Err(ConfigError::new("ids.chars", chars, "has no letters and digits for a random id", remedy));
        };
        GroupId::parse(id)
    }

    /// Whether a create tells that the thing existed before. If not, a created thing may be another client's.
    ///
    /// ```
    /// assert!(cluster_client::Api::default().proves_ownership());
    /// ```
    pub fn proves_ownership(&self) -> bool {
        self.mapped(Action::Create).answers.iter().any(|(meaning, _)| *meaning == Meaning::Exists)
    }

    /// The digest of its requests and the meanings of their answers: 16 hexadecimal digits. Name, noun, ids and retries
    /// without tests do not count.
    ///
    /// ```
    /// assert_eq!(cluster_client::Api::default().digest(), "39bb73d8b4a7053d");
    /// ```
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    fn is_name(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        (1..=64).contains(&text.len()) && text.bytes().all(allowed)
    }

    /// The names of the headers of its requests.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &str> {
        self.0.calls.iter().flat_map(|mapped| mapped.headers.iter().map(|(name, _)| name.as_str()))
    }

    pub(crate) fn mapped(&self, action: Action) -> &Mapped {
        &self.0.calls[action as usize]
    }
}

/// Returns the text behind the digest. Equal texts mean equal requests and equal meanings of answers.
fn canonical_text(calls: &[Mapped; 3]) -> String {
    let mut text = String::new();
    for (action, mapped) in [Action::Create, Action::Check, Action::Delete].into_iter().zip(calls) {
        mapped.append_canonical(action, &mut text);
    }
    text
}

/// The three requests of the node API. A create that is answered with another 4xx is refused too, as in every API.
fn node_calls(all: Template, one: Template) -> [Mapped; 3] {
    let body = Template::parse(r#"{"groupId": {id|json}}"#).expect("the placeholder is known");
    let call = |method: &'static str, path, body, answers: &[(Meaning, u16)]| {
        let answers = answers.iter().map(|(meaning, status)| (*meaning, bare(*status)));
        let retry = default_retry().map(|pattern| (Meaning::Retry, pattern));
        Mapped::new(method, path, body, Arc::from([]), answers.chain(retry).collect())
    };
    let created = [(Meaning::Created, 201), (Meaning::Exists, 400), (Meaning::Exists, 409)];
    let found = [(Meaning::Present, 200), (Meaning::Absent, 404)];
    let deleted = [(Meaning::Deleted, 200), (Meaning::Deleted, 204), (Meaning::Absent, 400), (Meaning::Absent, 404)];
    [
        call("POST", all.clone(), Some(body.clone()), &created),
        call("GET", one, None, &found),
        call("DELETE", all, Some(body), &deleted),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_dots_and_percent_codes_are_accepted() {
        for member in ["/v1/group/{id}.json", "/v1/.{id}", "/v1/%2e%2E%2e/{id}", "/a..b/{id}", "/x%25/{id}"] {
            assert!(Api::new("/v1/group//", member).is_ok(), "{member}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
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
