//! The one builder of an [`Api`], and every refusal of it.

use super::ids::IdRule;
use super::pattern::{Meaning, Pattern, check_embedded};
use super::template::{SAMPLE, Template};
use super::{Api, Mapped, headers, template};
use crate::values::action::Action;
use crate::values::config::ConfigError;

/// Builds an [`Api`] from its parts. [`ApiBuilder::build`] checks all of them.
///
/// | part | bounds | without it |
/// | --- | --- | --- |
/// | `name` | 1 to 64 letters, digits, dots, dashes and underscores | refused |
/// | `noun` | 1 to 32 letters, digits, blanks and dashes | `group` |
/// | `ids` | a class of characters, 1 to 255 bytes | refused |
/// | `header` | 32 | none |
/// | `retry` | 32 answers | 408, 429, 500, 502, 503, 504 |
/// | `create`, `check`, `delete` | see [`Call`] | refused |
///
/// ```
/// use cluster_client::{Api, Call, ClusterClient};
///
/// let hub = Api::builder()
///     .name("jupyterhub")
///     .ids("A-Za-z0-9._-", 64)
///     .create(Call::new("POST", "/hub/api/groups/{id}").created([201]).exists([409]))
///     .check(Call::new("GET", "/hub/api/groups/{id}").present([200]).absent([404]))
///     .delete(Call::new("DELETE", "/hub/api/groups/{id}").deleted([204]).absent([404]))
///     .build()?;
/// let client = ClusterClient::builder().hosts(["http://hub1:8081"]).api(hub).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct ApiBuilder {
    name: Option<String>,
    noun: Option<String>,
    ids: Option<(String, usize)>,
    headers: Vec<(String, String)>,
    retry: Option<Vec<String>>,
    create: Option<Call>,
    check: Option<Call>,
    delete: Option<Call>,
}

/// One request of an [`Api`], and the meanings of its answers. [`ApiBuilder::build`] checks it.
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

impl ApiBuilder {
    /// Sets the name. An intent contains it, so that a recovery can find the API.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the word for the thing in output, such as `vhost`.
    pub fn noun(mut self, noun: impl Into<String>) -> Self {
        self.noun = Some(noun.into());
        self
    }

    /// Sets the characters that an id may have, as in `A-Za-z0-9._-`, and its maximum length in bytes. A dash that is
    /// allowed is first or last. Other ids are refused before anything is sent.
    pub fn ids(mut self, chars: impl Into<String>, max: usize) -> Self {
        self.ids = Some((chars.into(), max));
        self
    }

    /// Adds a header to all requests.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the answers after which a retry may succeed. They replace the default.
    pub fn retry<T: Into<Answer>>(mut self, answers: impl IntoIterator<Item = T>) -> Self {
        self.retry = Some(answers.into_iter().map(|answer| answer.into().0).collect());
        self
    }

    /// Sets the request that creates.
    pub fn create(mut self, call: Call) -> Self {
        self.create = Some(call);
        self
    }

    /// Sets the request that checks.
    pub fn check(mut self, call: Call) -> Self {
        self.check = Some(call);
        self
    }

    /// Sets the request that deletes.
    pub fn delete(mut self, call: Call) -> Self {
        self.delete = Some(call);
        self
    }

    /// Checks every part and builds the API.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first part that is missing or malformed. It names the part as a key of a mapping file,
    /// such as `create.path`.
    pub fn build(self) -> Result<Api, ConfigError> {
        let name = checked_name(self.name)?;
        let noun = checked_noun(self.noun)?;
        let ids = checked_ids(self.ids)?;
        headers::check("headers", &self.headers)?;
        let context = Context { headers: &self.headers, ids: &ids, retry: Retry::parse(self.retry, &ids)? };
        let create = context.mapped(Action::Create, self.create)?;
        let check = context.mapped(Action::Check, self.check)?;
        let delete = context.mapped(Action::Delete, self.delete)?;
        Ok(Api::of(name, noun, Some(ids), None, [create, check, delete]))
    }
}

fn checked_name(name: Option<String>) -> Result<Box<str>, ConfigError> {
    let remedy = "name it with letters, digits, dots, dashes and underscores, at most 64";
    let name = name.ok_or_else(|| ConfigError::new("name", "", "is missing", remedy))?;
    if Api::is_name(&name) {
        return Ok(name.into());
    }
    Err(ConfigError::new("name", name, "is no name of an API", remedy))
}

fn checked_noun(noun: Option<String>) -> Result<Box<str>, ConfigError> {
    let noun = noun.unwrap_or_else(|| Api::NOUN.into());
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"- ".contains(&b);
    if (1..=32).contains(&noun.len()) && noun.trim() == noun && noun.bytes().all(allowed) {
        return Ok(noun.into());
    }
    Err(ConfigError::new("noun", noun, "is no noun", "write one or two words, such as vhost, at most 32 characters"))
}

fn checked_ids(ids: Option<(String, usize)>) -> Result<IdRule, ConfigError> {
    let Some((chars, max)) = ids else {
        let problem = "is missing, and in many services an id such as * means more than one thing";
        let remedy = "list the characters that an id may have, as in ids = { chars = \"A-Za-z0-9._-\", max = 64 }";
        return Err(ConfigError::new("ids", "", problem, remedy));
    };
    IdRule::parse(&chars, max)
}

/// The parts of the API that all its requests need.
struct Context<'a> {
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
const MAX_ANSWERS: usize = 32;
/// Maximum length of a body, in bytes, with its placeholders.
const MAX_BODY: usize = 64 << 10;

impl Retry {
    fn parse(texts: Option<Vec<String>>, ids: &IdRule) -> Result<Self, ConfigError> {
        let Some(texts) = texts else {
            return Ok(Retry { patterns: super::default_retry().collect(), is_default: true });
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

impl Context<'_> {
    fn mapped(&self, action: Action, call: Option<Call>) -> Result<Mapped, ConfigError> {
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
        let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !has_type && serde_json::from_str::<serde_json::Value>(&body.render(SAMPLE)).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> Call {
        Call::new("POST", "/groups/{id}").created([201]).exists([409])
    }

    fn check() -> Call {
        Call::new("GET", "/groups/{id}").present([200]).absent([404])
    }

    fn delete() -> Call {
        Call::new("DELETE", "/groups/{id}").deleted([204]).absent([404])
    }

    fn hub() -> ApiBuilder {
        let hub = Api::builder().name("hub").ids("A-Za-z0-9._-", 64);
        hub.create(create()).check(check()).delete(delete())
    }

    fn refusal(builder: ApiBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn whole_mapping_is_built() {
        let api = hub().noun("vhost").header("Accept", "application/json").build().unwrap();
        assert_eq!((api.name(), api.noun(), api.ids()), ("hub", "vhost", Some(("A-Za-z0-9._-", 64))));
        assert!(api.paths().is_none() && api.proves_ownership());
        let blind = hub().create(Call::new("PUT", "/groups/{id}").created([200])).build().unwrap();
        assert!(!blind.proves_ownership());
    }

    #[test]
    fn every_malformed_part_is_refused_with_its_key_and_reason() {
        let many = vec!["200 /a=1"; MAX_ANSWERS + 1];
        let named = |n: usize| format!("200 /a={n}");
        let many_answers = check().present((0..=MAX_ANSWERS).map(named)).absent([404]);
        for (builder, key, reason) in vec![
            (Api::builder(), "name ", "is missing"),
            (hub().name("a b"), "name ", "no name of an API"),
            (hub().name("x".repeat(65)), "name ", "no name of an API"),
            (hub().noun(""), "noun ", "no noun"),
            (hub().noun("a\u{1b}"), "noun ", "no noun"),
            (Api::builder().name("hub").create(create()).check(check()).delete(delete()), "ids ", "is missing"),
            (hub().ids("", 64), "ids.chars ", "is empty"),
            (hub().ids("a-z", 256), "ids.max ", "out of bounds"),
            (hub().header("Cookie", "x"), "headers ", "looks like a secret"),
            (hub().create(create().header("Host", "x")), "create.headers ", "client itself"),
            (hub().retry(["5xx"]), "retry ", "does not begin with a status"),
            (hub().retry(many), "retry ", "more than 32 answers"),
            (hub().retry([201]), "retry ", "is listed as create.created too"),
            (hub().retry([404]), "retry ", "is listed as check.absent too"),
            (hub().check(Call::new("GE T", "/{id}")), "check.method ", "no method"),
            (hub().check(Call::new("", "/{id}")), "check.method ", "no method"),
            (hub().check(Call::new("get", "/{id}")), "check.method ", "case-sensitive"),
            (hub().check(Call::new("CONNECT", "/{id}")), "check.method ", "tunnel"),
            (
                hub().check(Call::new("HEAD", "/{id}").present(["200 /a"]).absent([404])),
                "check.method ",
                "without a body",
            ),
            (hub().check(Call::new("GET", "groups/{id}")), "check.path ", "start with a slash"),
            (hub().check(Call::new("GET", "/groups")), "check.path ", "does not contain the id"),
            (hub().check(Call::new("GET", "/groups/{ID}")), "check.path ", "character that a path"),
            (hub().check(Call::new("GET", "/groups/{id|json}")), "check.path ", "bodies and answers"),
            (hub().check(Call::new("GET", "/groups/{id|url}")), "check.path ", "unknown placeholder"),
            (hub().check(Call::new("GET", "/groups/../{id}")), "check.path ", "dotted segment"),
            (hub().check(Call::new("GET", "/groups/%2/{id}")), "check.path ", "hexadecimal"),
            (hub().check(Call::new("GET", "/groups?a={id}?b")), "check.path ", "two question marks"),
            (hub().check(Call::new("GET", "/groups/{id}#x")), "check.path ", "character that a path"),
            (hub().check(Call::new("GET", format!("/{{id}}{}", "x".repeat(2048)))), "check.path ", "2048 bytes"),
            (hub().create(create().body("{id}")), "create.body ", "for paths only"),
            (hub().create(create().body(r#"{"a": "{id|json}"}"#)), "create.body ", "is no JSON"),
            (hub().create(create().body(r#"{"a": {ID}}"#)), "create.body ", "is no JSON"),
            (hub().create(create().body("{\n}")), "create.body ", "control character"),
            (hub().create(create().body("x".repeat(MAX_BODY + 1))), "create.body ", "64 KiB"),
            (hub().create(create().body("{id|hex}")), "create.body ", "unknown placeholder"),
            (hub().create(create().present([200])), "create ", "mean present"),
            (hub().check(check().created([201])), "check ", "mean created"),
            (hub().delete(delete().wait([202])), "delete ", "mean wait"),
            (hub().create(Call::new("POST", "/{id}").exists([409])), "create.created ", "is missing"),
            (hub().check(Call::new("GET", "/{id}").absent([404])), "check.present ", "is missing"),
            (hub().check(Call::new("GET", "/{id}").present([200])), "check.absent ", "is missing"),
            (hub().delete(Call::new("DELETE", "/{id}").absent([404])), "delete.deleted ", "is missing"),
            (hub().create(create().exists([201])), "create.exists ", "is listed as created too"),
            (hub().check(check().wait(["404"])), "check.wait ", "is listed as absent too"),
            (hub().check(check().present(["200 /a=b"]).absent(["200 /a=\"b\""])), "check.absent ", "as present too"),
            (hub().check(check().absent(["200 !/kvs"])), "check.absent ", "negative tests only"),
            (hub().check(check().absent([20])), "check.absent ", "does not begin with a status"),
            (hub().check(check().absent([-404])), "check.absent ", "does not begin with a status"),
            (hub().check(many_answers), "check.present ", "more than 32 answers"),
        ] {
            let message = refusal(builder);
            let (problem, remedy) = message.rsplit_once(": ").unwrap_or_default();
            assert!(message.starts_with(key) && problem.contains(reason), "{key}{reason}: {message}");
            assert!(!remedy.is_empty() && !message.contains('\n'), "{message}");
        }
        for missing in 0..3 {
            let hub = Api::builder().name("hub").ids("a-z", 8);
            let hub = if missing == 0 { hub } else { hub.create(create()) };
            let hub = if missing == 2 { hub.check(check()) } else { hub };
            let message = refusal(hub);
            assert!(message.starts_with(["create", "check", "delete"][missing]), "{message}");
        }
    }

    #[test]
    fn answer_with_a_test_may_stand_beside_the_bare_status_of_another_meaning() {
        let check =
            Call::new("GET", "/groups/{id}").present([200]).absent(["200 /gone=true", "404"]).wait(["200 /gone=soon"]);
        assert!(hub().check(check).build().is_ok());
    }

    #[test]
    fn listed_status_replaces_the_default_retry_of_its_action_only() {
        let api = hub().check(check().wait([503])).build().unwrap();
        let meaning = |action| {
            let listed = api.mapped(action).answers.iter().find(|(_, pattern)| pattern.status == 503);
            listed.map(|(meaning, _)| *meaning)
        };
        assert_eq!((meaning(Action::Check), meaning(Action::Delete)), (Some(Meaning::Wait), Some(Meaning::Retry)));
    }

    #[test]
    fn body_with_another_content_type_need_not_be_json() {
        let xml = create().body("<group/>").header("content-type", "application/xml");
        assert!(hub().create(xml).build().is_ok());
        assert!(hub().header("Content-Type", "text/plain").create(create().body("{id|base64}")).build().is_ok());
    }

    #[test]
    fn digest_changes_with_requests_and_meanings_only() {
        let digest = |builder: ApiBuilder| builder.build().unwrap().digest().to_owned();
        let same = digest(hub());
        // Written down: intents contain it, so it must not change with a release.
        assert_eq!(same, "0c521a3e0af919d0");
        for builder in [
            hub().name("other"),
            hub().noun("vhost"),
            hub().ids("a-z", 8),
            hub().retry([503]),
            hub().check(Call::new("GET", "/groups/{id}").absent(["404"]).present(["200", "200"])),
        ] {
            assert_eq!(digest(builder), same);
        }
        for builder in [
            hub().header("Accept", "text/plain"),
            hub().check(check().header("X", "1")),
            hub().check(check().body("{}")),
            hub().check(check().absent([410])),
            hub().check(check().wait([202])),
            hub().check(Call::new("GET", "/groups/{id}/").present([200]).absent([404])),
            hub().check(Call::new("PROPFIND", "/groups/{id}").present([200]).absent([404])),
        ] {
            assert_ne!(digest(builder), same);
        }
        let (one, other) = (check().present(["200 /a=b"]), check().present(["200 /a=\"b\""]));
        assert_eq!(digest(hub().check(one)), digest(hub().check(other)));
        let one = hub().header("A", "1").header("b", "2");
        let other = hub().header("B", "2").header("a", "1");
        assert_eq!(digest(one), digest(other));
    }
}
