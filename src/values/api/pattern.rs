//! The answers of a mapping: a status, and tests on the JSON body.
//!
//! ```text
//! answer := STATUS [ " " test ]...
//! test   := ["!"] POINTER [ "=" JSON ]
//! ```

use std::fmt;

use super::template::{Encoding, SAMPLE, Template};
use crate::values::config::ConfigError;

/// The meaning of an answer in a mapping.
///
/// ```
/// assert_eq!(cluster_client::Meaning::Exists.key(), "exists");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Meaning {
    /// The create made the thing.
    Created,
    /// The create made nothing, because the thing was there.
    Exists,
    /// The check found the thing.
    Present,
    /// The thing is not there.
    Absent,
    /// The thing is still changing.
    Wait,
    /// The delete removed the thing.
    Deleted,
    /// A retry may succeed.
    Retry,
}

/// An answer, checked: all tests must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) status: u16,
    pub(crate) tests: Vec<Test>,
}

/// One test on a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) negative: bool,
    /// A JSON Pointer (RFC 6901). It is empty for the whole document.
    pub(crate) pointer: Template,
    pub(crate) expected: Option<Expected>,
}

/// The value that a test expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    Json(Template),
    /// A word with a placeholder that is no JSON, and so a string.
    Word(Template),
}

/// Maximum length of an answer, in bytes.
const MAX_TEXT: usize = 1024;
const EXAMPLE: &str = "write a status, and tests as in \"200 /succeeded=true\"";

impl Meaning {
    /// Its key in a mapping file.
    pub fn key(self) -> &'static str {
        match self {
            Meaning::Created => "created",
            Meaning::Exists => "exists",
            Meaning::Present => "present",
            Meaning::Absent => "absent",
            Meaning::Wait => "wait",
            Meaning::Deleted => "deleted",
            Meaning::Retry => "retry",
        }
    }
}

impl Pattern {
    /// Parses an answer. `quotes` says whether an id may contain a quote or a backslash.
    pub(super) fn parse(what: &'static str, given: &str, quotes: bool) -> Result<Self, ConfigError> {
        let refused = |(problem, remedy): PatternProblem| ConfigError::new(what, given, problem, remedy);
        Self::try_parse(given, quotes).map_err(refused)
    }

    fn try_parse(given: &str, quotes: bool) -> Result<Self, PatternProblem> {
        if given.len() > MAX_TEXT {
            return Err(problem(format!("has more than {MAX_TEXT} bytes"), "test fewer values"));
        }
        if given.chars().any(char::is_control) {
            return Err(problem("has a control character", "remove it, or escape it in a JSON string"));
        }
        let (status, mut rest) = given.split_once(' ').unwrap_or((given, ""));
        let is_status = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
        let status = status.parse().ok().filter(|status| is_status && (200..=599).contains(status));
        let status = status.ok_or_else(|| problem("does not begin with a status of 200 to 599", EXAMPLE))?;
        let mut tests = Vec::new();
        loop {
            rest = rest.trim_start_matches(' ');
            if rest.is_empty() {
                break;
            }
            let test;
            (test, rest) = Test::parse(rest, quotes)?;
            tests.push(test);
        }
        if !tests.is_empty() && tests.iter().all(|test| test.negative) {
            let problem = "has negative tests only, which an unexpected answer passes too";
            return Err((problem.into(), "add a test of a value that is there, as in \"200 /header !/kvs\""));
        }
        Ok(Pattern { status, tests })
    }
}

type PatternProblem = (String, &'static str);

fn problem(problem: impl Into<String>, remedy: &'static str) -> PatternProblem {
    (problem.into(), remedy)
}

impl Test {
    /// Parses the first test of `text`. Returns the text after it too.
    fn parse(text: &str, quotes: bool) -> Result<(Self, &str), PatternProblem> {
        let (negative, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text));
        let end = text.find([' ', '=']).unwrap_or(text.len());
        let (pointer, rest) = text.split_at(end);
        let pointer = parse_pointer(pointer)?;
        let Some(rest) = rest.strip_prefix('=') else {
            if negative && end == 0 {
                return Err(problem(
                    "has a ! without a pointer, which never holds",
                    "write it as in !/kvs, without a blank",
                ));
            }
            return Ok((Test { negative, pointer, expected: None }, rest));
        };
        let (value, rest) = rest.split_at(end_of_value(rest)?);
        let expected = Some(Expected::parse(value, quotes)?);
        Ok((Test { negative, pointer, expected }, rest))
    }
}

fn parse_pointer(text: &str) -> Result<Template, PatternProblem> {
    if !(text.is_empty() || text.starts_with('/')) {
        let found = format!("has the test {text:?}, which is no JSON Pointer");
        return Err((found, "begin it with a slash, as in /items/0/name"));
    }
    if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return Err(problem("has a ~ without 0 or 1 after it", "write ~ as ~0, and a slash within a name as ~1"));
    }
    let template = Template::parse(text)?;
    if template.encodings().any(|encoding| encoding != Encoding::Pointer) {
        return Err(problem("has a placeholder for other text in a JSON Pointer", "write {id|pointer} there"));
    }
    Ok(template)
}

/// Returns the length of the value at the start of `text`: up to a blank outside of quotes and brackets.
fn end_of_value(text: &str) -> Result<usize, PatternProblem> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return Ok(at),
            _ => {}
        }
    }
    if depth > 0 || quoted {
        return Err(problem("has a quote or a bracket that is not closed", "write a word with one as a JSON string"));
    }
    Ok(text.len())
}

impl Expected {
    fn parse(text: &str, quotes: bool) -> Result<Self, PatternProblem> {
        if text.is_empty() {
            return Err(problem("has no value after an equals sign", "write \"\" for an empty string"));
        }
        let template = Template::parse(text)?;
        check_embedded(&template, quotes)?;
        // Decided here once, because some ids make a word look like JSON.
        let is_json = serde_json::from_str::<serde_json::Value>(&template.render(SAMPLE)).is_ok();
        if !is_json && text.starts_with(['{', '[', '"']) && !text.starts_with("{id") {
            return Err(problem("has a value that is no JSON", "correct it, or write it as a JSON string"));
        }
        Ok(match is_json {
            true => Expected::Json(template),
            false if template.encodings().next().is_some() => Expected::Word(template),
            // Equal values have one spelling.
            false => Expected::Json(Template::literal(serde_json::Value::from(text).to_string())),
        })
    }
}

/// Refuses placeholders that would not be escaped in a body or a value.
pub(super) fn check_embedded(template: &Template, quotes: bool) -> Result<(), (String, &'static str)> {
    for encoding in template.encodings() {
        match encoding {
            Encoding::Percent => {
                let remedy = "write {id|json} for a quoted string, or {id|base64}";
                return Err(problem("has {id}, which is percent-encoded and for paths only", remedy));
            }
            Encoding::Pointer if quotes => {
                let found = "has {id|pointer}, and an id may have a quote or a backslash";
                return Err(problem(found, "leave both out of ids.chars, or write {id|json}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The canonical text: equal answers have equal texts.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for test in &self.tests {
            write!(f, " {}{}", if test.negative { "!" } else { "" }, test.pointer)?;
            match &test.expected {
                None => {}
                Some(Expected::Json(value) | Expected::Word(value)) => write!(f, "={value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pattern, ConfigError> {
        Pattern::parse("check.present", text, true)
    }

    #[test]
    fn answers_are_parsed_into_status_and_tests() {
        for (text, canonical) in [
            ("201", "201"),
            ("200 /succeeded=true", "200 /succeeded=true"),
            ("409 /reason=AlreadyExists", "409 /reason=\"AlreadyExists\""),
            ("409 /reason=\"AlreadyExists\"", "409 /reason=\"AlreadyExists\""),
            ("200 =true", "200 =true"),
            ("200 /header !/kvs", "200 /header !/kvs"),
            ("200  /a   !/b=1 ", "200 /a !/b=1"),
            ("200 /a={\"x\": [1, \"] }\"]} /b", "200 /a={\"x\": [1, \"] }\"]} /b"),
            ("200 /a=\"x \\\" y\" /b", "200 /a=\"x \\\" y\" /b"),
            ("200 /a=b=c", "200 /a=\"b=c\""),
            ("200 /a=\"\"", "200 /a=\"\""),
            ("200 /groupId={id|json}", "200 /groupId={id|json}"),
            ("200 /kvs/0/key={id|base64}", "200 /kvs/0/key={id|base64}"),
            ("200 /kvs/0/key=\"{id|base64}\"", "200 /kvs/0/key=\"{id|base64}\""),
            ("200 /names/{id|pointer}/x~1y~0z", "200 /names/{id|pointer}/x~1y~0z"),
            ("200 /a/=-1.5e3", "200 /a/=-1.5e3"),
            ("200 /", "200 /"),
            ("200 /a=nul", "200 /a=\"nul\""),
        ] {
            let parsed = parse(text).unwrap_or_else(|refused| panic!("{refused}"));
            assert_eq!(parsed.to_string(), canonical);
            assert_eq!(parse(canonical).unwrap().to_string(), canonical, "canonical text is stable");
        }
    }

    #[test]
    fn word_with_a_placeholder_stays_a_word_for_every_id() {
        let pattern = parse("200 /key={id|base64}").unwrap();
        assert!(matches!(pattern.tests[0].expected, Some(Expected::Word(_))));
        let pattern = parse("200 /key={id|json}").unwrap();
        assert!(matches!(pattern.tests[0].expected, Some(Expected::Json(_))));
    }

    #[test]
    fn malformed_answers_are_refused_with_the_reason() {
        let long = format!("200 /{}", "x".repeat(MAX_TEXT));
        for (text, reason) in [
            ("", "begin with a status"),
            ("20", "begin with a status"),
            ("0200", "begin with a status"),
            ("+20", "begin with a status"),
            ("199", "begin with a status"),
            ("600", "begin with a status"),
            ("2xx", "begin with a status"),
            ("200/a", "begin with a status"),
            (" 200", "begin with a status"),
            ("200 a", "no JSON Pointer"),
            ("200 !a", "no JSON Pointer"),
            ("200 a=1", "no JSON Pointer"),
            ("200 /a~", "~ without 0 or 1"),
            ("200 /a~2b", "~ without 0 or 1"),
            ("200 !/kvs", "negative tests only"),
            ("200 !/kvs !/a=1", "negative tests only"),
            ("200 !", "a ! without a pointer"),
            ("200 /header ! /kvs", "a ! without a pointer"),
            ("200 /a=", "no value"),
            ("200 /a= /b", "no value"),
            ("200 /a=\"x", "not closed"),
            ("200 /a={\"x\":1", "not closed"),
            ("200 /a=it\"s", "not closed"),
            ("200 /a={x}", "no JSON"),
            ("200 /a={id}", "for paths only"),
            ("200 /{id}", "{id|pointer} there"),
            ("200 /{id|json}", "{id|pointer} there"),
            ("200 /a={id|xml}", "unknown placeholder"),
            ("200 /a=\"{id|pointer}\"", "a quote or a backslash"),
            ("200 /a\n", "control character"),
            (&long, "1024 bytes"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("check.present"), "{text}: {message}");
        }
        assert!(Pattern::parse("check.present", "200 /a=\"{id|pointer}\"", false).is_ok());
    }
}
