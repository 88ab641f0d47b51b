//! Floor 3: text of a mapping or of a host, for people: without secrets and control characters, and short.
//!
//! Masked are the secrets of the client, each value whose name looks like that of a secret (in JSON, and in any other
//! text after `name:`, `name=` or `<name>`), credentials after `Bearer` or `Basic`, and the user info of URLs.
//! Deliberately absent: other secrets under harmless names.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::values::printable::Printable;

const MASK: &str = "***";
/// Maximum length of a text, in characters.
const MAX_CHARS: usize = 200;
/// Minimum length of the beginning of a secret that is masked at the end of a text, which may be cut there.
const MIN_BEGINNING: usize = 4;
/// Minimum length of credentials after the name of their scheme. A shorter word may be one of a sentence.
const MIN_CREDENTIALS: usize = 8;
/// Minimum length of the beginning of a secret that is masked anywhere: a server may shorten a token that it refuses.
const MIN_ANYWHERE: usize = 8;
/// Maximum length of one escaped character, such as `&quot;`.
const MAX_ESCAPE: usize = 6;
/// Names of characters in HTML.
const HTML: [(&str, char); 5] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];

/// The texts that are masked, and those that are not.
pub(super) struct Mask {
    /// The secrets of the client.
    secrets: Vec<String>,
    /// The id of the thing, plain and in base64: some services call it a key.
    id: [String; 2],
}

impl Mask {
    pub(super) fn new(secrets: impl IntoIterator<Item = String>, id: &str) -> Self {
        Mask { secrets: secrets.into_iter().collect(), id: [id.to_owned(), BASE64_STANDARD.encode(id)] }
    }

    /// Returns a body. It is masked as a whole before it is cut, so that no part of a secret is left.
    pub(super) fn body(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let masked = match serde_json::from_slice::<Value>(bytes) {
            Ok(document) => {
                let mut masked = document.clone();
                self.mask_values(&mut masked);
                if masked == document { text.into_owned() } else { masked.to_string() }
            }
            Err(_) => without_named_secrets(&text),
        };
        let shown = Printable::new(&without(&masked, &self.secrets)).to_string();
        match shown.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}...", &shown[..end]),
            None => shown,
        }
    }

    /// Returns a request line.
    pub(super) fn request_line(&self, method: &str, path: &str) -> String {
        let path = without(&without_named_secrets(path), &self.secrets);
        Printable::new(&format!("{method} {path} HTTP/1.1")).to_string()
    }

    fn mask_values(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = without(&without_named_secrets(text), &self.secrets),
            Value::Array(values) => values.iter_mut().for_each(|value| self.mask_values(value)),
            Value::Object(members) => {
                for (key, value) in members.iter_mut() {
                    let is_id = value.as_str().is_some_and(|text| self.id.iter().any(|id| id == text));
                    if names_a_secret(key) && !is_id { *value = MASK.into() } else { self.mask_values(value) }
                }
            }
            _ => {}
        }
    }
}

/// Whether a value of this name may be a secret.
fn names_a_secret(name: &str) -> bool {
    const WORDS: [&str; 6] = ["token", "secret", "passw", "credential", "authorization", "cookie"];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word)) || name.ends_with("key") || name.ends_with("auth")
}

/// Masks the values after names of secrets, in text that is no JSON, or is cut.
fn without_named_secrets(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_a_name) {
        let end = rest[start..].find(|c| !is_of_a_name(c)).map_or(rest.len(), |length| start + length);
        let (before, after) = rest.split_at(end);
        masked.push_str(before);
        rest = after;
        let is_closing_tag = before[..start].ends_with("</");
        let is_secret = names_a_secret(&before[start..]) && !is_closing_tag;
        if let Some((separator, value)) = value_after(rest).filter(|_| is_secret) {
            masked.push_str(separator);
            masked.push_str(MASK);
            rest = &rest[separator.len() + value.len()..];
        }
    }
    without_user_info(&without_credentials(&(masked + rest)))
}

/// Masks a long word after the name of a scheme of HTTP authentication.
fn without_credentials(text: &str) -> String {
    const SCHEMES: [&str; 2] = ["bearer", "basic"];
    let is_of_credentials = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let mut masked = String::with_capacity(text.len());
    let mut previous = "";
    for word in text.split_inclusive(' ') {
        let scheme =
            previous.trim_end_matches(' ').rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let end = word.find(|c| !is_of_credentials(c)).unwrap_or(word.len());
        if end >= MIN_CREDENTIALS && SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            masked.push_str(MASK);
            masked.push_str(&word[end..]);
        } else {
            masked.push_str(word);
        }
        previous = word;
    }
    masked
}

/// Masks what is between `://` and the last at sign before the end of the host.
fn without_user_info(text: &str) -> String {
    const START: &str = "://";
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(START) {
        let (before, after) = rest.split_at(start + START.len());
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>\\".contains(c)).unwrap_or(after.len());
        let at = after[..end].rfind('@').unwrap_or(0);
        masked.push_str(before);
        masked.push_str(if at > 0 { MASK } else { "" });
        rest = &after[at..];
    }
    masked + rest
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Returns the separator after a name, with the opening quote of the value, and the value.
fn value_after(rest: &str) -> Option<(&str, &str)> {
    let value = rest.trim_start_matches(['"', '\'', '\\', ' ']).strip_prefix([':', '=', '>'])?;
    let value = value.trim_start_matches([' ', '\\']);
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let value = &value[usize::from(quote.is_some())..];
    // The end of an object or an array that is cut is not known.
    let is_nested = value.starts_with(['{', '[']);
    let ends = |c: char| match quote {
        _ if is_nested => false,
        Some(quote) => c == quote,
        None => matches!(c, '\r' | '\n' | '&' | ',' | ';' | '<' | '"' | '\'' | '}'),
    };
    let separator = &rest[..rest.len() - value.len()];
    let value = &value[..end_of(value, ends)];
    (!value.is_empty()).then_some((separator, value))
}

/// Returns the place of the first character that ends a value. A backslash escapes the next character.
fn end_of(value: &str, ends: impl Fn(char) -> bool) -> usize {
    let mut is_escaped = false;
    for (place, c) in value.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if ends(c) => return place,
            _ => {}
        }
    }
    value.len()
}

/// Masks the secrets of the client, and the beginning of one, each plain or escaped.
fn without(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| without_one(&text.replace(secret.as_str(), MASK), secret))
}

fn without_one(text: &str, secret: &str) -> String {
    let all = secret.chars().count();
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (number, length) = beginning_of(secret, rest);
        let after = &rest[length..];
        let ends = after.is_empty() || (after.len() <= MAX_ESCAPE && after.starts_with(['\\', '%', '&']));
        if number == all || number >= MIN_ANYWHERE || (ends && number >= MIN_BEGINNING) {
            masked.push_str(MASK);
            rest = after;
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}

/// Returns how many characters of the secret the text begins with, and their length in the text.
fn beginning_of(secret: &str, text: &str) -> (usize, usize) {
    let mut length = 0;
    for (number, c) in secret.chars().enumerate() {
        match length_of(c, &text[length..]) {
            Some(more) => length += more,
            None => return (number, length),
        }
    }
    (secret.chars().count(), length)
}

/// Returns the length of a character at the start of the text: escaped as in JSON, a URL or HTML, or plain.
fn length_of(c: char, text: &str) -> Option<usize> {
    let code = |digits: &str, radix| u32::from_str_radix(digits, radix).is_ok_and(|code| code == u32::from(c));
    let of_html = |name: &str| match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => code(digits, 16),
            None => code(number, 10),
        },
        None => HTML.contains(&(name, c)),
    };
    let escaped = match text.as_bytes().first()? {
        b'\\' if text.get(1..2) == Some("u") && text.get(2..6).is_some_and(|digits| code(digits, 16)) => Some(6),
        b'\\' if matches!(c, '"' | '\\' | '/') && text[1..].starts_with(c) => Some(2),
        b'%' if text.get(1..3).is_some_and(|digits| code(digits, 16)) => Some(3),
        b'+' if c == ' ' => Some(1),
        b'&' => text.find(';').filter(|end| *end <= MAX_ESCAPE && of_html(&text[1..*end])).map(|end| end + 1),
        _ => None,
    };
    escaped.or_else(|| text.starts_with(c).then(|| c.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(secrets.iter().map(|secret| (*secret).to_owned()), "probe-1")
    }

    fn shown(text: &str) -> String {
        mask(&["s3cr\"et", "hunter22"]).body(text.as_bytes())
    }

    #[test]
    fn values_with_the_name_of_a_secret_are_masked() {
        for (text, expected) in [
            (r#"{"a": 1, "token": "x"}"#, r#"{"a":1,"token":"***"}"#),
            (r#"[{"ApiKey": ["x"], "b": {"client_secret": 1}}]"#, r#"[{"ApiKey":"***","b":{"client_secret":"***"}}]"#),
            (r#"{"a": "Authorization: Bearer x"}"#, r#"{"a":"Authorization: ***"}"#),
            (r#"{"password": "x\"y", "b"#, r#"{"password": "***", "b"#),
            (r#"{"a": 1, "tokens": ["x", "y"], "b"#, r#"{"a": 1, "tokens": ***"#),
            (r#"{"password": "x y"#, r#"{"password": "***"#),
            ("<password>x</password> ok", "<password>***</password> ok"),
            ("user=a&api_key=b c&d=e", "user=a&api_key=***&d=e"),
            ("Set-Cookie: a=b\nok", r"Set-Cookie: ***\nok"),
            (r#"{"key": "probe-1", "Key": "cHJvYmUtMQ=="}"#, r#"{"key": "probe-1", "Key": "cHJvYmUtMQ=="}"#),
            (r#"{"key": "probe-2"}"#, r#"{"key":"***"}"#),
            (r#"{"id": "tokens", "name": 1}"#, r#"{"id": "tokens", "name": 1}"#),
            ("no token was given", "no token was given"),
            (r#"{"note": "Bearer abcdefgh.ijk=", "b": 1}"#, r#"{"b":1,"note":"Bearer ***"}"#),
            ("sent basic dTpwYXNzd29yZA== there", "sent basic *** there"),
            ("a basic plan", "a basic plan"),
            (r#"{"next": "https://u:p@h/x"}"#, r#"{"next":"https://***@h/x"}"#),
            ("see http://u:p@h, ftp://h/a@b", "see http://***@h, ftp://h/a@b"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn secrets_of_the_client_are_masked_in_every_form() {
        for text in [
            "hunter22",
            "a hunter22 b",
            r#"{"a": "hunter22"}"#,
            r#"{"a": "hunter\u00322"}"#,
            r#"{"hunter22": 1}"#,
            "s3cr\"et",
            r#"{"a": "s3cr\"et"}"#,
            r#"{"a": "s3cr\"et""#,
            "cut within hunt",
            "cut within s3cr\\\"",
        ] {
            let shown = shown(text);
            assert!(shown.contains(MASK) && !shown.contains("hunt") && !shown.contains("s3cr"), "{text}: {shown}");
        }
        let long = format!("{}hunter22", "x".repeat(196));
        assert_eq!(shown(&long), format!("{}***", "x".repeat(196)));
        let line = mask(&["hunter22"]).request_line("GET", "/hub/hunter22?token=abc");
        assert_eq!(line, "GET /hub/***?token=*** HTTP/1.1");
    }

    #[test]
    fn secrets_are_masked_however_a_server_repeats_them() {
        let mask = mask(&["Zq&T\"ok/x+y=", "Bearer Zq&T\"ok/x+y=", "open sesame"]);
        for (text, expected) in [
            ("<p>Zq&amp;T&quot;ok/x+y=</p>", "<p>***</p>"),
            ("Zq&#38;T&#34;ok/x&#43;y&#x3D; ok", "*** ok"),
            ("/login?t=Zq%26T%22ok%2fx%2By%3D&a=1", "/login?t=***&a=1"),
            ("user=open+sesame&a=1", "user=***&a=1"),
            ("refused Zq&T\"ok/... here", "refused ***... here"),
            ("cut within Zq&amp;T&qu", "cut within ***&qu"),
            ("cut within Zq%26T%2", "cut within ***%2"),
            (r"Zq\u0026T\u0022ok\/x+y= ok", "*** ok"),
            ("Zq&T is no beginning here", "Zq&T is no beginning here"),
            ("ä % \\ & Zq", r"ä % \ & Zq"),
        ] {
            assert_eq!(mask.body(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped_and_long_texts_are_cut() {
        assert_eq!(shown("\u{1b}[2J\u{202e}a"), r"\u{1b}[2J\u{202e}a");
        assert_eq!(mask(&[]).body(b"\xff\x00"), "\u{fffd}\\u{0}");
        let cut = shown(&"ä".repeat(1000));
        assert_eq!(cut, "ä".repeat(200) + "...");
    }
}
