//! A mapping as TOML. Only the builder checks it; here its refusals get their line.

use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Api;
use crate::values::api::{Answer, ApiBuilder, Call};
use crate::values::config::{ConfigError, Origin};

/// Maximum size of a mapping file, in bytes.
const MAX_FILE: usize = 64 << 10;
/// Maximum size of a larger file with a mapping in it, in bytes.
const MAX_TEXT: usize = 1 << 20;

const KEYS: [&str; 8] = ["name", "noun", "ids", "headers", "retry", "create", "check", "delete"];
const ID_KEYS: [&str; 2] = ["chars", "max"];
const CREATE_KEYS: [&str; 6] = ["method", "path", "body", "headers", "created", "exists"];
const CHECK_KEYS: [&str; 7] = ["method", "path", "body", "headers", "present", "absent", "wait"];
const DELETE_KEYS: [&str; 6] = ["method", "path", "body", "headers", "deleted", "absent"];

impl Api {
    /// Reads a mapping file of at most 64 KiB. Its keys are the parts of [`ApiBuilder`]. Without the key `name`, the
    /// name is that of the file, if `origin` is one.
    ///
    /// Needs the feature `mapping-files`.
    ///
    /// # Errors
    /// A [`ConfigError`] that names key, value, origin and line, for text that is not TOML, an unknown key, and every
    /// refusal of [`ApiBuilder::build`].
    ///
    /// ```
    /// use cluster_client::{Api, Origin};
    ///
    /// let text = r#"
    /// noun   = "vhost"
    /// ids    = { chars = "A-Za-z0-9._-", max = 64 }
    /// create = { method = "PUT",    path = "/api/vhosts/{id}", created = [201] }
    /// check  = { method = "GET",    path = "/api/vhosts/{id}", present = ["200 /name={id|json}"], absent = [404] }
    /// delete = { method = "DELETE", path = "/api/vhosts/{id}", deleted = [204], absent = [404] }
    /// "#;
    /// let api = Api::from_toml(text, Origin::File("vhosts.toml".into()))?;
    /// assert_eq!((api.name(), api.noun()), ("vhosts", "vhost"));
    ///
    /// let refused = Api::from_toml(&text.replace("201", "20"), Origin::File("vhosts.toml".into())).unwrap_err();
    /// assert_eq!(refused.line(), Some(4));
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn from_toml(text: &str, origin: Origin) -> Result<Self, ConfigError> {
        let document = Document { text, origin };
        document.check_size(MAX_FILE)?;
        document.api(&document.table()?, 0)
    }

    /// Reads the mapping in the table `key` of a larger TOML text, of at most 1 MiB.
    ///
    /// Needs the feature `mapping-files`.
    ///
    /// # Errors
    /// Those of [`Api::from_toml`], and one for a text without that table.
    pub fn from_toml_table(text: &str, key: &str, origin: Origin) -> Result<Self, ConfigError> {
        let document = Document { text, origin };
        document.check_size(MAX_TEXT)?;
        let table = document.table()?;
        match table.get(key).map(Spanned::get_ref) {
            Some(DeValue::Table(mapping)) => document.api(mapping, table[key].span().start),
            _ => Err(document.refusal(key.to_owned(), "", "is no table", format!("write [{key}]"), 0)),
        }
    }
}

/// A TOML text and its origin.
struct Document<'a> {
    text: &'a str,
    origin: Origin,
}

/// A value that was passed to the builder: its key, its text, and its offset in the document.
struct Place {
    key: String,
    value: String,
    at: usize,
}

impl<'a> Document<'a> {
    fn check_size(&self, limit: usize) -> Result<(), ConfigError> {
        if self.text.len() <= limit {
            return Ok(());
        }
        let problem = format!("has more than {} KiB", limit >> 10);
        Err(ConfigError::new("mapping", "", problem, "name the right file").from_origin(self.origin.clone()))
    }

    /// Parses the text. The parser bounds how deep it may be nested.
    fn table(&self) -> Result<DeTable<'a>, ConfigError> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| {
            let problem = format!("is not TOML: {}", error.message().replace('\n', ", "));
            let at = error.span().map_or(0, |span| span.start);
            self.refusal("mapping".into(), "", problem, "correct that line", at)
        })
    }

    /// Reads the mapping in a table that begins at this offset.
    fn api(&self, table: &DeTable<'_>, at: usize) -> Result<Api, ConfigError> {
        let mut reader = MappingReader { document: self, at, places: Vec::new() };
        let builder = reader.mapping(table)?;
        builder.build().map_err(|refused| reader.located(refused).from_origin(self.origin.clone()))
    }

    fn refusal(
        &self,
        key: String,
        value: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
        at: usize,
    ) -> ConfigError {
        ConfigError::new(key, value, problem, remedy).from_origin(self.origin.clone()).at_line(self.line(at))
    }

    /// The line of an offset, from 1.
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].split(|byte| *byte == b'\n').count()
    }

    /// The name of the file without its extension, if there is one that can name an API.
    fn name(&self) -> String {
        let Origin::File(path) = &self.origin else { return "custom".into() };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = stem.chars().take(64).map(allowed).collect();
        if name.is_empty() { "custom".into() } else { name }
    }
}

/// Passes the values of a mapping to the builder, and remembers their places.
struct MappingReader<'a> {
    document: &'a Document<'a>,
    /// The offset of the mapping, which a refusal of a missing key names.
    at: usize,
    places: Vec<Place>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl MappingReader<'_> {
    fn mapping(&mut self, table: &DeTable<'_>) -> Result<ApiBuilder, ConfigError> {
        let mut builder = Api::builder().name(self.document.name());
        for (key, value) in table {
            builder = match &**key.get_ref() {
                "name" => builder.name(self.text("name", value)?),
                "noun" => builder.noun(self.text("noun", value)?),
                "ids" => self.ids(builder, value)?,
                "headers" => {
                    let headers = self.headers("headers", value)?;
                    headers.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value))
                }
                "retry" => builder.retry(self.answers("retry", value)?),
                "create" => builder.create(self.call("create", &CREATE_KEYS, value)?),
                "check" => builder.check(self.call("check", &CHECK_KEYS, value)?),
                "delete" => builder.delete(self.call("delete", &DELETE_KEYS, value)?),
                "api" => {
                    let remedy = "write the mapping itself, with create, check and delete";
                    let problem = "refers to another mapping, which a mapping cannot do";
                    return Err(self.refused("api", value, problem, remedy));
                }
                other => return Err(self.unknown("", other, &KEYS, key.span())),
            };
        }
        Ok(builder)
    }

    fn ids(&mut self, builder: ApiBuilder, value: &Value<'_>) -> Result<ApiBuilder, ConfigError> {
        const EXAMPLE: &str = "write { chars = \"A-Za-z0-9._-\", max = 64 }";
        let (mut chars, mut max) = (None, None);
        for (key, value) in self.table("ids", value, EXAMPLE)? {
            match &**key.get_ref() {
                "chars" => chars = Some(self.text("ids.chars", value)?),
                "max" => max = Some(self.number("ids.max", value)?),
                other => return Err(self.unknown("ids.", other, &ID_KEYS, key.span())),
            }
        }
        match (chars, max) {
            (Some(chars), Some(max)) => Ok(builder.ids(chars, max)),
            (None, _) => Err(self.missing("ids.chars", EXAMPLE, value)),
            (_, None) => Err(self.missing("ids.max", EXAMPLE, value)),
        }
    }

    fn call(&mut self, action: &str, known: &[&str], value: &Value<'_>) -> Result<Call, ConfigError> {
        let example = "write { method = \"GET\", path = \"/things/{id}\", and its answers }";
        self.place(action, "", value);
        let table = self.table(action, value, example)?;
        let mut part = |key: &str| match table.get(key) {
            Some(value) => self.text(&format!("{action}.{key}"), value),
            None => Err(self.missing(&format!("{action}.{key}"), example, value)),
        };
        let mut call = Call::new(part("method")?, part("path")?);
        for (key, value) in table {
            let name = &**key.get_ref();
            let full = format!("{action}.{name}");
            call = match name {
                _ if !known.contains(&name) => {
                    return Err(self.unknown(&format!("{action}."), name, known, key.span()));
                }
                "body" => call.body(self.text(&full, value)?),
                "headers" => {
                    let headers = self.headers(&full, value)?;
                    headers.into_iter().fold(call, |call, (name, value)| call.header(name, value))
                }
                "created" => call.created(self.answers(&full, value)?),
                "exists" => call.exists(self.answers(&full, value)?),
                "present" => call.present(self.answers(&full, value)?),
                "absent" => call.absent(self.answers(&full, value)?),
                "wait" => call.wait(self.answers(&full, value)?),
                "deleted" => call.deleted(self.answers(&full, value)?),
                _ => call,
            };
        }
        Ok(call)
    }

    fn headers(&mut self, key: &str, value: &Value<'_>) -> Result<Vec<(String, String)>, ConfigError> {
        const EXAMPLE: &str = "write { Accept = \"application/json\" }";
        let Some(table) = value.get_ref().as_table() else {
            // The value may be a secret.
            return Err(self.document.refusal(key.into(), "", "is no table", EXAMPLE, value.span().start));
        };
        let mut headers = Vec::new();
        for (name, value) in table {
            let DeValue::String(text) = value.get_ref() else {
                // The value may be a secret.
                let shown = name.get_ref().to_string();
                let remedy = "write its value in quotes";
                return Err(self.document.refusal(key.into(), shown, "is not text", remedy, value.span().start));
            };
            self.place(key, name.get_ref(), value);
            headers.push((name.get_ref().to_string(), text.to_string()));
        }
        Ok(headers)
    }

    fn answers(&mut self, key: &str, value: &Value<'_>) -> Result<Vec<Answer>, ConfigError> {
        const EXAMPLE: &str = "write [200, \"404 /error=not_found\"]";
        self.place(key, "", value);
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.refused(key, value, "is no list of answers", EXAMPLE));
        };
        let mut answers = Vec::new();
        for value in array {
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                _ => return Err(self.refused(key, value, "is no answer", EXAMPLE)),
            };
            self.place(key, &text, value);
            answers.push(text.into());
        }
        Ok(answers)
    }

    fn text(&mut self, key: &str, value: &Value<'_>) -> Result<String, ConfigError> {
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.refused(key, value, "is not text", "write it in quotes"));
        };
        self.place(key, text, value);
        Ok(text.to_string())
    }

    fn number(&mut self, key: &str, value: &Value<'_>) -> Result<usize, ConfigError> {
        self.place(key, "", value);
        let number = value.get_ref().as_integer().filter(|number| number.radix() == 10);
        let number = number.and_then(|number| number.as_str().parse().ok());
        number.ok_or_else(|| self.refused(key, value, "is no whole number", "write it without quotes, such as 64"))
    }

    fn table<'v>(&self, key: &str, value: &'v Value<'_>, example: &str) -> Result<&'v DeTable<'v>, ConfigError> {
        value.get_ref().as_table().ok_or_else(|| self.refused(key, value, "is no table", example))
    }

    fn place(&mut self, key: &str, value: &str, found: &Value<'_>) {
        self.places.push(Place { key: key.to_owned(), value: value.to_owned(), at: found.span().start });
    }

    /// Adds the line of the value that a refusal of the builder names, or that of its table. A table that is missing has
    /// the line of the mapping.
    fn located(&self, refused: ConfigError) -> ConfigError {
        let table = refused.what().split('.').next().unwrap_or_default();
        let value = self.places.iter().find(|place| refused.is_about(&place.key, &place.value));
        let key = || self.places.iter().find(|place| place.key == refused.what());
        let place = value.or_else(key).or_else(|| self.places.iter().find(|place| place.key == table));
        refused.at_line(self.document.line(place.map_or(self.at, |place| place.at)))
    }

    fn refused(&self, key: &str, value: &Value<'_>, problem: &str, remedy: &str) -> ConfigError {
        self.document.refusal(key.into(), shown(value.get_ref()), problem, remedy, value.span().start)
    }

    fn missing(&self, key: &str, example: &str, table: &Value<'_>) -> ConfigError {
        self.document.refusal(key.into(), "", "is missing", example, table.span().start)
    }

    fn unknown(&self, prefix: &str, key: &str, known: &[&str], span: Range<usize>) -> ConfigError {
        let remedy = match similar(key, known) {
            Some(similar) => format!("did you mean {similar}? There is {}", known.join(", ")),
            None => format!("use one of {}", known.join(", ")),
        };
        self.document.refusal("key".into(), format!("{prefix}{key}"), "is unknown", remedy, span.start)
    }
}

fn shown(value: &DeValue<'_>) -> String {
    let display = |value: &dyn Display| value.to_string();
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => display(number),
        DeValue::Float(number) => display(number),
        DeValue::Boolean(truth) => display(truth),
        DeValue::Datetime(time) => display(time),
        DeValue::Array(_) => "[..]".into(),
        DeValue::Table(_) => "{..}".into(),
    }
}

/// Returns the known key that differs by at most two letters.
fn similar<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if key.len() > 32 {
        return None;
    }
    let near = |known: &&&str| distance(&key.to_ascii_lowercase(), known) <= (known.len() / 2).min(2);
    known.iter().filter(near).min_by_key(|known| distance(key, known)).copied()
}

/// The Levenshtein distance of two texts.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Action;

    const HUB: &str = r#"# a group of users
noun = "group"
ids = { chars = "a-z", max = 64 }
headers = { Accept = "application/json" }
retry = [503, "409 /reason=Conflict"]

[create]
method = "POST"
path = "/groups/{id}"
body = '{"name": {id|json}}'
headers = { X-One = "1" }
created = [201]
exists = ["409 /reason=AlreadyExists"]

[check]
method = "GET"
path = "/groups/{id}"
present = [
    200,
]
absent = [404]
wait = [202]

[delete]
method = "DELETE"
path = "/groups/{id}"
deleted = [204]
absent = [404]
"#;

    fn origin() -> Origin {
        Origin::File("dir/hub.toml".into())
    }

    #[test]
    fn file_and_builder_describe_the_same_api() {
        let built = Api::builder()
            .name("hub")
            .noun("group")
            .ids("a-z", 64)
            .header("Accept", "application/json")
            .retry(["503", "409 /reason=Conflict"])
            .create(
                Call::new("POST", "/groups/{id}")
                    .body(r#"{"name": {id|json}}"#)
                    .header("X-One", "1")
                    .created([201])
                    .exists(["409 /reason=AlreadyExists"]),
            )
            .check(Call::new("GET", "/groups/{id}").present([200]).absent([404]).wait([202]))
            .delete(Call::new("DELETE", "/groups/{id}").deleted([204]).absent([404]))
            .build();
        assert_eq!(Api::from_toml(HUB, origin()), built);
    }

    #[test]
    fn name_is_that_of_the_file_unless_it_has_one() {
        let name = |text: &str, origin| Api::from_toml(text, origin).unwrap().name().to_owned();
        assert_eq!(name(HUB, Origin::File("/x/my api (1).toml".into())), "my-api--1-");
        assert_eq!(name(HUB, Origin::Code), "custom");
        assert_eq!(name(&format!("name = \"own\"\n{HUB}"), origin()), "own");
    }

    /// Each refusal names key, value, file, line and remedy.
    #[test]
    fn every_refusal_names_key_file_line_and_reason() {
        for (from, to, line, key, reason) in [
            ("noun = \"group\"", "noun = 7", 2, "noun", "is not text"),
            ("noun = \"group\"", "noun = \"\"", 2, "noun", "is no noun"),
            ("noun = ", "nuon = ", 2, "nuon", "did you mean noun?"),
            ("noun = ", "Noun = ", 2, "Noun", "did you mean noun?"),
            ("noun = ", "hosts = ", 2, "hosts", "use one of name, noun"),
            ("noun = ", "api = ", 2, "api", "refers to another mapping"),
            ("noun = \"group\"", "api = { api = \"x.toml\" }", 2, "api", "refers to another mapping"),
            ("ids = { chars = \"a-z\", max = 64 }", "", 1, "ids", "is missing"),
            ("ids = { chars = \"a-z\", max = 64 }", "ids = \"a-z\"", 3, "ids", "is no table"),
            ("chars = \"a-z\"", "chars = \"z-a\"", 3, "ids.chars", "backwards"),
            ("chars = \"a-z\"", "char = \"a-z\"", 3, "ids.char", "did you mean chars?"),
            ("chars = \"a-z\", ", "", 3, "ids.chars", "is missing"),
            (", max = 64", "", 3, "ids.max", "is missing"),
            ("max = 64", "max = 1000", 3, "ids.max", "out of bounds"),
            ("max = 64", "max = \"64\"", 3, "ids.max", "no whole number"),
            ("max = 64", "max = -1", 3, "ids.max", "no whole number"),
            ("max = 64", "max = 0x40", 3, "ids.max", "no whole number"),
            ("Accept =", "Cookie =", 4, "headers", "looks like a secret"),
            ("headers = { Accept = \"application/json\" }", "headers = []", 4, "headers", "is no table"),
            ("headers = { Accept = \"application/json\" }", "headers = \"A: S3CR3T\"", 4, "headers", "is no table"),
            ("{ Accept = \"application/json\" }", "{ Accept = 1 }", 4, "headers", "is not text"),
            ("[503,", "[5.5,", 5, "retry", "is no answer"),
            ("[503,", "[201,", 5, "retry", "is listed as create.created too"),
            ("[503,", "[0x1f7,", 5, "retry", "is no answer"),
            ("method = \"POST\"\n", "", 7, "create.method", "is missing"),
            ("path = \"/groups/{id}\"\nbody", "body", 7, "create.path", "is missing"),
            ("method = \"POST\"", "method = \"post\"", 8, "create.method", "case-sensitive"),
            ("path = \"/groups/{id}\"\nbody", "path = \"groups\"\nbody", 9, "create.path", "start with a slash"),
            ("'{\"name\": {id|json}}'", "'{\"name\": {id}}'", 10, "create.body", "for paths only"),
            ("X-One", "Host", 11, "create.headers", "client itself"),
            ("created = [201]", "created = 201", 12, "create.created", "is no list"),
            ("created = [201]", "creatd = [201]", 12, "create.creatd", "did you mean created?"),
            ("created = [201]", "present = [201]", 12, "create.present", "is unknown"),
            ("created = [201]\n", "", 7, "create.created", "is missing"),
            ("exists = [\"409", "exists = [\"9", 13, "create.exists", "begin with a status"),
            ("    200,", "    200, \"200 !/a\"", 19, "check.present", "negative tests only"),
            ("wait = [202]", "wait = [200]", 22, "check.wait", "is listed as present too"),
            ("[delete]", "[delte]", 24, "delte", "did you mean delete?"),
            ("[delete]", "[[delete]]", 24, "delete", "is no table"),
            ("[delete]", "[delete", 24, "mapping", "is not TOML"),
            ("noun = \"group\"", "noun = \"group", 2, "mapping", "is not TOML"),
        ] {
            assert!(HUB.contains(from), "{from}");
            let refused = Api::from_toml(&HUB.replacen(from, to, 1), origin()).unwrap_err();
            let message = refused.to_string();
            assert_eq!(refused.line().unwrap_or(0), line, "{to}: {message}");
            assert!(message.contains(key) && message.contains(reason), "{to}: {message}");
            assert!(message.contains("dir/hub.toml") && !message.contains('\n'), "{to}: {message}");
            assert!(!message.contains("S3CR3T"), "{to}: {message}");
        }
    }

    #[test]
    fn table_in_a_configuration_has_the_lines_of_its_file() {
        let text = format!("hosts = [\"http://a\"]\n\n[api]\n{}", HUB.replace("\n[", "\n[api."));
        let origin = || Origin::File("cluster-client.toml".into());
        assert_eq!(Api::from_toml_table(&text, "api", origin()).unwrap().name(), "cluster-client");
        let refused = Api::from_toml_table(&text.replace("\"POST\"", "\"post\""), "api", origin()).unwrap_err();
        assert_eq!(refused.line(), Some(11), "{refused}");
        let without_ids = text.replace("ids = { chars = \"a-z\", max = 64 }", "");
        let refused = Api::from_toml_table(&without_ids, "api", origin()).unwrap_err();
        assert_eq!(refused.line(), Some(3), "{refused}");
        assert!(Api::from_toml_table("api = \"x\"", "api", origin()).is_err());
    }

    #[test]
    fn hostile_files_get_an_error() {
        let deep = |open: &str, depth: usize| format!("noun = {}", open.repeat(depth));
        for text in [
            "x".repeat(MAX_FILE + 1),
            deep("[", 60_000),
            deep("{a=", 20_000),
            format!("{}=1", "a.".repeat(30_000) + "a"),
            format!("[{}a]", "a.".repeat(30_000)),
            "ids = [".to_owned() + &"1,".repeat(30_000),
            "\u{0}".into(),
            String::new(),
        ] {
            let message = Api::from_toml(&text, origin()).unwrap_err().to_string();
            assert!(message.len() < 1_000 && !message.contains(char::is_control), "{message}");
        }
    }

    /// Changes a valid file at random places, with a fixed seed.
    #[test]
    fn no_text_panics_and_no_error_shows_a_control_character() {
        const PIECES: [&str; 24] = [
            "\"",
            "'",
            "{",
            "}",
            "[",
            "]",
            "=",
            ".",
            ",",
            "\n",
            " ",
            "#",
            "{id}",
            "{id|json}",
            "{id|",
            "/",
            "~",
            "!",
            "200",
            "-",
            "\u{1b}",
            "ü",
            "\\",
            "404 /a=",
        ];
        let mut random = fastrand::Rng::with_seed(11);
        let (mut built, mut refused) = (0, 0);
        for round in 0..20_000 {
            let presets: Vec<&str> = Api::presets().collect();
            let text = if round % 2 == 0 { HUB } else { super::super::presets::text(presets[random.usize(..7)]) };
            let mut text = text.to_owned();
            for _ in 0..random.usize(1..4) {
                let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                let start = random.usize(..bounds.len());
                let end = (start + random.usize(..4)).min(bounds.len() - 1);
                text.replace_range(bounds[start]..bounds[end], PIECES[random.usize(..PIECES.len())]);
            }
            match Api::from_toml(&text, origin()) {
                Ok(api) => {
                    built += 1;
                    let group = crate::GroupId::parse("a").unwrap();
                    for action in [Action::Create, Action::Check, Action::Delete] {
                        let request = api.request(action, &group);
                        assert!(request.path.starts_with('/') && !request.path.contains(char::is_whitespace), "{text}");
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains(char::is_control), "{error:?}");
                }
            }
        }
        assert!(built > 1_000 && refused > 1_000, "{built} {refused}");
    }

    #[test]
    fn every_preset_is_valid_and_bears_its_name() {
        for name in Api::presets() {
            let api = Api::preset(name).unwrap_or_else(|refused| panic!("{refused}"));
            assert_eq!(api.name(), name);
            assert!(api.ids().is_some() && api.proves_ownership(), "{name}");
        }
    }
}
