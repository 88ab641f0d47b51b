//! Text with placeholders for the group id, and the check of paths.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::values::config::ConfigError;

/// Text with any number of placeholders for the group id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Id(Encoding),
}

/// The encoding of the group id in a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `{id}`: percent-encoded.
    Percent,
    /// `{id|json}`: a JSON string with its quotes.
    Json,
    /// `{id|base64}`: base64 of RFC 4648 with padding, without quotes.
    Base64,
    /// `{id|pointer}`: escaped for a JSON Pointer (RFC 6901).
    Pointer,
}

/// An id for trying a template when it is built. It needs no escape in any encoding.
pub(crate) const SAMPLE: &str = "id";

const OPENING: &str = "{id";

/// All characters but the unreserved ones of RFC 3986.
const UNRESERVED_KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Encoding {
    const ALL: [Encoding; 4] = [Encoding::Percent, Encoding::Json, Encoding::Base64, Encoding::Pointer];

    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Encoding::Percent => "{id}",
            Encoding::Json => "{id|json}",
            Encoding::Base64 => "{id|base64}",
            Encoding::Pointer => "{id|pointer}",
        }
    }

    fn append(self, id: &str, text: &mut String) {
        match self {
            Encoding::Percent => text.extend(utf8_percent_encode(id, UNRESERVED_KEPT)),
            Encoding::Json => append_json(id, text),
            Encoding::Base64 => BASE64_STANDARD.encode_string(id, text),
            Encoding::Pointer => text.push_str(&id.replace('~', "~0").replace('/', "~1")),
        }
    }
}

/// Appends a JSON string. An id has no control characters, so JSON needs only two escapes.
fn append_json(id: &str, text: &mut String) {
    text.push('"');
    for c in id.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

impl Template {
    /// Parses text with placeholders. A brace that does not begin `{id}` or `{id|` is text.
    ///
    /// # Errors
    /// The problem and its remedy, for an unknown placeholder.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let mut parts = Vec::new();
        let (mut rest, mut from) = (text, 0);
        while let Some(found) = rest[from..].find(OPENING) {
            let start = from + found;
            let after = &rest[start + OPENING.len()..];
            if !after.starts_with(['}', '|']) {
                from = start + OPENING.len();
                continue;
            }
            let encoding = Encoding::ALL.into_iter().find(|encoding| rest[start..].starts_with(encoding.placeholder()));
            let Some(encoding) = encoding else {
                let end = after.find('}').map_or(rest.len(), |end| start + OPENING.len() + end + 1);
                let problem = format!("has the unknown placeholder {}", &rest[start..end]);
                return Err((problem, "use {id} in a path, and {id|json}, {id|base64} or {id|pointer} elsewhere"));
            };
            if start > 0 {
                parts.push(Part::Text(rest[..start].into()));
            }
            parts.push(Part::Id(encoding));
            (rest, from) = (&rest[start + encoding.placeholder().len()..], 0);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Template(parts))
    }

    /// Text without a placeholder.
    pub(super) fn literal(text: String) -> Self {
        Template(vec![Part::Text(text.into())])
    }

    /// Returns the text for a group id.
    pub(crate) fn render(&self, id: &str) -> String {
        let mut text = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Id(encoding) => encoding.append(id, &mut text),
            }
        }
        text
    }

    /// The encodings of its placeholders, in order.
    pub(crate) fn encodings(&self) -> impl Iterator<Item = Encoding> {
        self.0.iter().filter_map(|part| match part {
            Part::Id(encoding) => Some(*encoding),
            Part::Text(_) => None,
        })
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Id(_) => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Id(encoding) => f.write_str(encoding.placeholder()),
        })
    }
}

/// Maximum length of a path, in bytes, with its placeholders.
const MAX_PATH: usize = 2048;

/// Parses a path with `{id}` as its only placeholder, and with a query where that is allowed.
pub(super) fn path(what: &'static str, given: &str, may_have_query: bool) -> Result<Template, ConfigError> {
    let refused = |problem: &str, remedy: &str| Err(ConfigError::new(what, given, problem, remedy));
    if given.len() > MAX_PATH {
        return refused(&format!("has more than {MAX_PATH} bytes"), "shorten it");
    }
    let template =
        Template::parse(given).map_err(|(problem, remedy)| ConfigError::new(what, given, problem, remedy))?;
    if let Some(other) = template.encodings().find(|encoding| *encoding != Encoding::Percent) {
        let problem = format!("has {}, which belongs into bodies and answers", other.placeholder());
        return refused(&problem, "write {id}, which is percent-encoded in a path");
    }
    let whole = template.render(SAMPLE);
    if !whole.starts_with('/') {
        return refused("does not start with a slash", "write it as /v1/group/");
    }
    let (path, query) = whole.split_once('?').map_or((&*whole, None), |(path, query)| (path, Some(query)));
    match query {
        Some(_) if !may_have_query => return refused("has a character that a path does not have", "percent-encode it"),
        Some(query) if query.contains('?') => return refused("has two question marks", "write the second as %3F"),
        _ => {}
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&b);
    if !whole.bytes().all(allowed) {
        let remedy = if given.contains('{') {
            "write {id} for the id, and percent-encode the rest"
        } else {
            "percent-encode it"
        };
        return refused("has a character that a path does not have", remedy);
    }
    let is_code = |text: &str| text.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    if !template.texts().all(|text| text.split('%').skip(1).all(is_code)) {
        return refused("has a % without its two hexadecimal digits", "write a % itself as %25");
    }
    // Proxies and servers resolve dotted segments to another path, as browsers do.
    let is_dotted = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(is_dotted) {
        return refused("has a dotted segment", "write the path it stands for");
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_placeholder_encodes_the_id_its_own_way() {
        let id = r#"a/b~"ü\"#;
        for (template, rendered) in [
            ("/x/{id}/y", "/x/a%2Fb~%22%C3%BC%5C/y"),
            (r#"{"a":{id|json}}"#, r#"{"a":"a/b~\"ü\\"}"#),
            ("{id|base64}", "YS9ifiLDvFw="),
            ("/{id|pointer}/y", "/a~1b~0\"ü\\/y"),
            ("{id|json}{id|json}", r#""a/b~\"ü\\""a/b~\"ü\\""#),
            ("{identity} {i {id", "{identity} {i {id"),
            ("", ""),
        ] {
            let parsed = Template::parse(template).unwrap();
            assert_eq!((parsed.render(id), parsed.to_string()), (rendered.to_owned(), template.to_owned()));
        }
    }

    #[test]
    fn json_placeholder_agrees_with_serde_json() {
        for id in ["a", r#"a"b\c"#, "ü\u{2028}/x", "\\\"\\"] {
            let rendered = Template::parse("{id|json}").unwrap().render(id);
            assert_eq!(rendered, serde_json::Value::from(id).to_string());
        }
    }

    #[test]
    fn unknown_placeholders_are_refused() {
        for text in ["{id|xml}", "{id|", "{id|json", "{id|}", "{id|JSON}", "x{id}{id|url}"] {
            let (problem, remedy) = Template::parse(text).unwrap_err();
            assert!(problem.contains("unknown placeholder {id|") && remedy.contains("{id|json}"), "{text}: {problem}");
        }
    }
}
