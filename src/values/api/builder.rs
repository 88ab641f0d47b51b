//! The one builder of an [`Api`]. `call` checks the three requests.

use super::Api;
use super::call::{Answer, Call, CallContext};
use super::headers;
use super::ids::IdRule;
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

    /// Sets the characters that an id may have, as in `A-Za-z0-9._-`, and its maximum length, 1 to 255 bytes. A dash
    /// that is allowed is first or last. Other ids are refused before anything is sent.
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
        self.retry = Some(answers.into_iter().map(|answer| answer.into().into_text()).collect());
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
        let context = CallContext::new(&self.headers, &ids, self.retry)?;
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

#[cfg(test)]
mod tests {
    use super::super::call::{MAX_ANSWERS, MAX_BODY};
    use super::super::pattern::Meaning;
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
        let json = create().header("content-type", "application/json; charset=utf-8").body(r#"{"a":"{id|json}"}"#);
        assert!(refusal(hub().create(json)).contains("is no JSON"));
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
        // With this retry, a 404 of a proxy does not mean absent.
        assert_ne!(digest(hub().retry(["404 /proxy=true"])), same);
        let (one, other) = (check().present(["200 /a=b"]), check().present(["200 /a=\"b\""]));
        assert_eq!(digest(hub().check(one)), digest(hub().check(other)));
        let one = hub().header("A", "1").header("b", "2");
        let other = hub().header("B", "2").header("a", "1");
        assert_eq!(digest(one), digest(other));
    }
}
