//! One request of a mapping and its answers: as written, and checked.

use super::ids::IdRule;
use super::pattern::{Meaning, Pattern, check_embedded};
use super::template::{SAMPLE, Template};
use super::{Mapped, default_retry, headers, template};
use crate::values::action::Action;
use crate::values::config::ConfigError;

/// One request of an [`Api`](crate::Api), and the meanings of its answers.
/// [`ApiBuilder::build`](crate::ApiBuilder::build) checks it.
///
/// `{id}` in the path is the percent-encoded id. In a body, `{id|json}` is the id as a quoted JSON string,
/// `{id|base64}` its base64, and `{id|pointer}` the id escaped for a JSON Pointer. A body is sent as
/// `application/json`, unless there is another header `Content-Type`.
///
/// An answer is a status, or a status with tests on the JSON body: `"200 /succeeded=true"`, `"200 /header !/kvs"`. All
/// tests must hold. A test is a JSON Pointer (RFC 6901), `!` before it for its absence, and `=` with a value after it.
/// The empty pointer is the whole document. A value that is no JSON is a string. Answers with tests come before those
/// without. An answer that is not listed is never a success.
///
/// ```
/// use cluster_client::Call;
///
/// let check = Call::new("POST", "/v3/kv/range")
///     .body(r#"{"key": "{id|base64}"}"#)
///     .present(["200 /kvs/0/key={id|base64}"])
///     .absent(["200 /header !/kvs"]);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a call does nothing until it is passed to an `ApiBuilder`"]
pub struct Call {
    method: String,
    path: String,
    body: Option<String>,
    headers: Vec<(String, String)>,
    answers: Vec<(Meaning, String)>,
}

/// An answer of a [`Call`] as it is written: a status, or a status with tests.
///
/// ```
/// use cluster_client::Call;
///
/// let call = Call::new("GET", "/x/{id}").present([200, 207]).absent(["200 /header !/kvs", "404"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(String);

impl Answer {
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Answer(text.to_owned())
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Answer(text)
    }
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Answer(status.to_string())
    }
}

/// The type of a number whose type is not written. A number that is no status is refused later.
impl From<i32> for Answer {
    fn from(status: i32) -> Self {
        Answer(status.to_string())
    }
}

impl Call {
    /// A request with this method and path. The path is appended to each host's base URL, starts with a slash, and may
    /// have one query.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Call { method: method.into(), path: path.into(), body: None, headers: Vec::new(), answers: Vec::new() }
    }

    /// Sets the body, of at most 64 KiB.
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Adds a header. It replaces a header of the API with its name. Secrets are refused: they are credentials.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds answers to a create that made it.
    pub fn created<T: Into<Answer>>(self, answers: impl IntoIterator<Item = T>) -> Self {
        self.means(Meaning::Created, answers)
    }

    /// Adds answers to a create that found it and changed nothing. A create without them proves no ownership, so
    /// [`OperationOptions::preflight(false)`](crate::OperationOptions::preflight) is refused for it.
    pub fn exists<T: Into<Answer>>(self, answers: impl IntoIterator<Item = T>) -> Self {
        self.means(Meaning::Exists, answers)
    }

    /// Adds answers to a check that it is there.
    pub fn present<T: Into<Answer>>(self, answers: impl IntoIterator<Item = T>) -> Self {
        self.means(Meaning::Present, answers)
    }

    /// Adds answers to a check or a delete that it is not there.
    pub fn absent<T: Into<Answer>>(self, answers: impl IntoIterator<Item = T>) -> Self {
        self.means(Meaning::Absent, answers)
    }

    /// Adds answers to a check that it is still changing. The check is repeated until the deadline.
    pub fn wait<T: Into<Answer>>(self, answers: impl IntoIterator<Item = T>) -> Self {
        self.means(Meaning::Wait, answers)
    }

    /// Adds answers to a delete that removed it.
    pub fn deleted<T: Into<Answer>>(self, answers: impl IntoIterator<Item = T>) -> Self {
        self.means(Meaning::Deleted, answers)
    }

    fn means<T: Into<Answer>>(mut self, meaning: Meaning, answers: impl IntoIterator<Item = T>) -> Self {
        self.answers.extend(answers.into_iter().map(|answer| (meaning, answer.into().0)));
        self
    }
}

/// The parts of the API that all its requests need.
pub(super) struct CallContext<'a> {
    headers: &'a [(String, String)],
    ids: &'a IdRule,
    retry: Retry,
}

/// The answers after which a retry may succeed.
struct Retry {
    patterns: Vec<Pattern>,
    is_default: bool,
}

/// Maximum number of answers with one meaning.
pub(super) const MAX_ANSWERS: usize = 32;
/// Maximum length of a body, in bytes, with its placeholders.
pub(super) const MAX_BODY: usize = 64 << 10;

impl Retry {
    fn parse(texts: Option<Vec<String>>, ids: &IdRule) -> Result<Self, ConfigError> {
        let Some(texts) = texts else {
            return Ok(Retry { patterns: default_retry().collect(), is_default: true });
        };
        check_number("retry", texts.len())?;
        let parse = |text: &String| Pattern::parse("retry", text, has_quotes(ids));
        Ok(Retry { patterns: texts.iter().map(parse).collect::<Result<_, _>>()?, is_default: false })
    }
}

fn check_number(what: &'static str, number: usize) -> Result<(), ConfigError> {
    if number <= MAX_ANSWERS {
        return Ok(());
    }
    let problem = format!("are more than {MAX_ANSWERS} answers");
    Err(ConfigError::new(what, number.to_string(), problem, "list fewer"))
}

/// Whether an id may contain a character that JSON escapes.
fn has_quotes(ids: &IdRule) -> bool {
    ids.allows('"') || ids.allows('\\')
}

impl<'a> CallContext<'a> {
    pub(super) fn new(
        headers: &'a [(String, String)],
        ids: &'a IdRule,
        retry: Option<Vec<String>>,
    ) -> Result<Self, ConfigError> {
        Ok(CallContext { headers, ids, retry: Retry::parse(retry, ids)? })
    }

    /// Checks the request of an action.
    pub(super) fn mapped(&self, action: Action, call: Option<Call>) -> Result<Mapped, ConfigError> {
        let keys = Keys::of(action);
        let Some(call) = call else {
            return Err(ConfigError::new(keys.action, "", "is missing", format!("add it, as in {}", keys.example)));
        };
        check_method(keys.method, &call.method)?;
        let path = template::path(keys.path, &call.path, true)?;
        headers::check(keys.headers, &call.headers)?;
        let headers = headers::merged(self.headers, &call.headers);
        let body = call.body.as_deref().map(|body| self.body(&keys, body, &headers)).transpose()?;
        if path.encodings().chain(body.iter().flat_map(Template::encodings)).next().is_none() {
            let problem = "does not contain the id, and neither does a body";
            return Err(ConfigError::new(keys.path, call.path, problem, "write {id} in it, as in /things/{id}"));
        }
        let answers = self.answers(&keys, &call.answers)?;
        let mapped = Mapped::new(call.method, path, body, headers, answers);
        if mapped.reads_body && mapped.method == "HEAD" {
            let remedy = "use GET, or list statuses without tests";
            return Err(ConfigError::new(
                keys.method,
                "HEAD",
                "has answers without a body, which the tests need",
                remedy,
            ));
        }
        Ok(mapped)
    }

    fn body(&self, keys: &Keys, given: &str, headers: &[(String, String)]) -> Result<Template, ConfigError> {
        let refused = |problem: &str, remedy: &str| Err(ConfigError::new(keys.body, given, problem, remedy));
        if given.len() > MAX_BODY {
            return refused("has more than 64 KiB", "shorten it");
        }
        if given.chars().any(char::is_control) {
            return refused("has a control character, such as a line break", "write it on one line");
        }
        let parsed = Template::parse(given).and_then(|body| {
            check_embedded(&body, has_quotes(self.ids))?;
            Ok(body)
        });
        let body = match parsed {
            Ok(body) => body,
            Err((problem, remedy)) => return refused(&problem, remedy),
        };
        let is_other = |(name, value): &(String, String)| name.eq_ignore_ascii_case("content-type") && !is_json(value);
        if !headers.iter().any(is_other) && serde_json::from_str::<serde_json::Value>(&body.render(SAMPLE)).is_err() {
            let remedy = "correct it ({id|json} brings its own quotes), or add a header Content-Type";
            return refused("is no JSON, and would be sent as application/json", remedy);
        }
        Ok(body)
    }

    /// Parses the answers of an action, with the retries that are not replaced.
    fn answers(&self, keys: &Keys, given: &[(Meaning, String)]) -> Result<Vec<(Meaning, Pattern)>, ConfigError> {
        let mut answers: Vec<(Meaning, Pattern)> = Vec::new();
        for (meaning, text) in given {
            let Some(what) = keys.answers_of(*meaning) else {
                let problem = format!("has answers that mean {}", meaning.key());
                return Err(ConfigError::new(keys.action, text, problem, keys.meanings));
            };
            let pattern = Pattern::parse(what, text, has_quotes(self.ids))?;
            if let Some((other, _)) = conflicting(&answers, *meaning, &pattern) {
                let problem = format!("is listed as {} too", other.key());
                return Err(ConfigError::new(what, text, problem, "list it once, or tell the two apart by a test"));
            }
            if !answers.contains(&(*meaning, pattern.clone())) {
                answers.push((*meaning, pattern));
            }
        }
        for (meaning, what, example) in keys.needed {
            if !given.iter().any(|(listed, _)| listed == meaning) {
                return Err(ConfigError::new(*what, "", "is missing", format!("list its answers, as in [{example}]")));
            }
        }
        for (meaning, what, _) in keys.answers {
            check_number(what, answers.iter().filter(|(listed, _)| listed == meaning).count())?;
        }
        for pattern in &self.retry.patterns {
            match conflicting(&answers, Meaning::Retry, pattern) {
                None => answers.push((Meaning::Retry, pattern.clone())),
                Some(_) if self.retry.is_default => {}
                Some((other, _)) => {
                    let problem = format!("is listed as {}.{} too", keys.action, other.key());
                    return Err(ConfigError::new("retry", pattern.to_string(), problem, "list it once"));
                }
            }
        }
        Ok(answers)
    }
}

/// Whether a content type is that of JSON, with or without parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Returns an answer with another meaning that can never be told apart.
fn conflicting<'a>(
    answers: &'a [(Meaning, Pattern)],
    meaning: Meaning,
    pattern: &Pattern,
) -> Option<&'a (Meaning, Pattern)> {
    answers.iter().find(|(other, listed)| *other != meaning && listed == pattern)
}

fn check_method(what: &'static str, method: &str) -> Result<(), ConfigError> {
    let refused = |problem: &str, remedy: &str| Err(ConfigError::new(what, method, problem, remedy));
    if !headers::is_token(method) {
        return refused("is no method of HTTP", "use a word such as GET, PUT or MKCOL");
    }
    let upper = method.to_ascii_uppercase();
    if upper == "CONNECT" {
        return refused("opens a tunnel", "use the method of the service");
    }
    let known = ["DELETE", "GET", "HEAD", "MKCOL", "PATCH", "POST", "PROPFIND", "PUT"].contains(&upper.as_str());
    if known && upper != method {
        return refused("has small letters, and methods are case-sensitive", &format!("write {upper}"));
    }
    Ok(())
}

/// A meaning of an answer, its key in a mapping file, and an example.
type Key = (Meaning, &'static str, &'static str);

/// The keys of an action in a mapping file.
struct Keys {
    action: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    headers: &'static str,
    answers: &'static [Key],
    needed: &'static [Key],
    meanings: &'static str,
    example: &'static str,
}

const CREATED: Key = (Meaning::Created, "create.created", "201");
const EXISTS: Key = (Meaning::Exists, "create.exists", "409");
const PRESENT: Key = (Meaning::Present, "check.present", "200");
const GONE: Key = (Meaning::Absent, "check.absent", "404");
const WAIT: Key = (Meaning::Wait, "check.wait", "202");
const DELETED: Key = (Meaning::Deleted, "delete.deleted", "204");
const NOTHING: Key = (Meaning::Absent, "delete.absent", "404");

impl Keys {
    fn of(action: Action) -> Self {
        match action {
            Action::Create => Keys {
                action: "create",
                method: "create.method",
                path: "create.path",
                body: "create.body",
                headers: "create.headers",
                answers: &[CREATED, EXISTS],
                needed: &[CREATED],
                meanings: "list answers to a create as created or exists",
                example: r#"create = { method = "PUT", path = "/things/{id}", created = [201], exists = [409] }"#,
            },
            Action::Check => Keys {
                action: "check",
                method: "check.method",
                path: "check.path",
                body: "check.body",
                headers: "check.headers",
                answers: &[PRESENT, GONE, WAIT],
                needed: &[PRESENT, GONE],
                meanings: "list answers to a check as present, absent or wait",
                example: r#"check = { method = "GET", path = "/things/{id}", present = [200], absent = [404] }"#,
            },
            Action::Delete => Keys {
                action: "delete",
                method: "delete.method",
                path: "delete.path",
                body: "delete.body",
                headers: "delete.headers",
                answers: &[DELETED, NOTHING],
                needed: &[DELETED],
                meanings: "list answers to a delete as deleted or absent",
                example: r#"delete = { method = "DELETE", path = "/things/{id}", deleted = [204], absent = [404] }"#,
            },
        }
    }

    fn answers_of(&self, meaning: Meaning) -> Option<&'static str> {
        self.answers.iter().find(|(listed, ..)| *listed == meaning).map(|(_, key, _)| *key)
    }
}
