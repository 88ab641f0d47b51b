//! Floor 1: masks user info in refused text, before an error quotes it.
//!
//! The limits of a password in refused text are unknown: a password may contain commas, slashes, blanks, quotes, at
//! signs and whole URLs. So the rule is coarse:
//!
//! * Everything before the last at sign is masked, except a leading `http://` or `https://`.
//! * Text after a colon is masked, from the first colon that no port follows. A text may be cut before its at sign, by
//!   a shell at an `&` or by a list at a comma.
//!
//! Masking masked text changes nothing.
//!
//! Deliberately absent: a distinction between user info and another use of the at sign. A group id or a path with an at
//! sign loses its beginning in an error, which still names the origin of the text.

use std::borrow::Cow;

const MASK: &str = "***";

/// The spellings of an at sign: plain, percent-encoded once or twice, escaped in TOML, JSON or Rust, and the two wide
/// forms of Unicode.
const AT_SIGNS: [&str; 9] = ["@", "%40", "%2540", r"\u0040", r"\U00000040", r"\u{40}", r"\x40", "\u{ff20}", "\u{fe6b}"];

/// Maximum length of a port, in digits.
const PORT_DIGITS: usize = 5;

/// Whether the text may contain user info.
pub(crate) fn has_user_info(text: &str) -> bool {
    last_at_sign(text).is_some()
}

/// Masks a possible password in a refused value.
pub(crate) fn value(text: &str) -> Cow<'_, str> {
    masked(text, text.contains("://"))
}

/// Masks a possible password in a refused host or list of hosts, also after the first colon of `user:password`.
pub(crate) fn hosts(text: &str) -> Cow<'_, str> {
    masked(text, true)
}

/// Masks a possible password in a sentence that may quote a refused value. Words before the quoted value are kept.
///
/// The mask begins after the first quotation mark before an at sign, or else at the start of the word with the first at
/// sign. This is a second line of defence: a value is masked before it is put into a sentence.
pub(crate) fn sentence(text: &str) -> Cow<'_, str> {
    let (Some(first), Some(last)) = (first_at_sign(text), last_at_sign(text)) else { return text.into() };
    let quoted = text[..first].find(['"', '\'', '`']).map(|quote| quote + 1);
    let start = quoted.unwrap_or_else(|| text[..first].rfind([' ', '(']).map_or(0, |blank| blank + 1));
    format!("{}{}{MASK}{}", &text[..start], scheme_of(&text[start..last]), &text[last..]).into()
}

fn masked(text: &str, after_colons: bool) -> Cow<'_, str> {
    let Some(at) = last_at_sign(text) else {
        return if after_colons { without_passwords(text) } else { text.into() };
    };
    let rest = if after_colons { without_passwords(&text[at..]) } else { text[at..].into() };
    format!("{}{MASK}{rest}", scheme_of(&text[..at])).into()
}

fn first_at_sign(text: &str) -> Option<usize> {
    AT_SIGNS.iter().filter_map(|sign| text.find(sign)).min()
}

fn last_at_sign(text: &str) -> Option<usize> {
    AT_SIGNS.iter().filter_map(|sign| text.rfind(sign)).max()
}

/// The scheme at the start of the text, if a base URL may have it. Any other word may be a secret.
fn scheme_of(text: &str) -> &str {
    let schemes = ["http://", "https://"];
    let found =
        schemes.iter().find_map(|scheme| text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)));
    found.unwrap_or_default()
}

/// Masks the text after the first suspect colon. Colons of a scheme, of an IPv6 address in brackets and before a port
/// are not suspect.
fn without_passwords(text: &str) -> Cow<'_, str> {
    let is_suspect = |colon: &usize| {
        let rest = &text[colon + 1..];
        !(rest.starts_with("//") || has_port(rest) || is_in_address(&text[..*colon]))
    };
    match text.match_indices(':').map(|(colon, _)| colon).find(is_suspect) {
        Some(colon) => format!("{}{MASK}", &text[..=colon]).into(),
        None => text.into(),
    }
}

/// Whether the text is empty, or starts with a port that a separator or the end of the text follows.
fn has_port(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let next = text[end..].chars().next();
    let separates = |c: char| c.is_whitespace() || "/?#,;:\"'`)]}".contains(c);
    text.is_empty() || ((1..=PORT_DIGITS).contains(&end) && next.is_none_or(separates))
}

/// Whether the text ends within an address in brackets.
fn is_in_address(text: &str) -> bool {
    let address = text.rfind('[').map(|open| &text[open + 1..]);
    address.is_some_and(|address| address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_before_the_last_at_sign_is_masked() {
        for (text, shown) in [
            ("http://user:pw@node1:8000/x", "http://***@node1:8000/x"),
            ("HTTPS://pw@node1", "HTTPS://***@node1"),
            ("user:pw@node1", "***@node1"),
            ("ftp://user:pw@node1", "***@node1"),
            ("user:pw@http://node1", "***@http://node1"),
            ("https//user:pw@n", "***@n"),
            ("http:/user:pw@n", "***@n"),
            ("http://a,http://u:p,w@b,http://c", "http://***@b,http://c"),
            ("http://u:p@w@n", "http://***@n"),
            ("http://u:p%40n", "http://***%40n"),
            ("u:p\\u0040n", "***\\u0040n"),
            ("@", "***@"),
            ("", ""),
            ("node1:8000", "node1:8000"),
        ] {
            assert_eq!(value(text), shown);
            assert_eq!(hosts(text), shown);
        }
    }

    #[test]
    fn text_after_a_colon_without_a_port_is_masked_in_hosts() {
        for (text, shown) in [
            ("http://user:pw", "http://user:***"),
            ("http://a:80,http://user:pw,http://b", "http://a:80,http://user:***"),
            ("http://a@user:pw", "http://***@user:***"),
            ("http://user:1234567", "http://user:***"),
            ("http://user:12x", "http://user:***"),
            ("http://user:/pw", "http://user:***"),
            ("http://node1:", "http://node1:"),
            ("http://node1:65536/x?y", "http://node1:65536/x?y"),
            ("http://[fe80::1]:8000", "http://[fe80::1]:8000"),
            ("http://[user:pw", "http://[user:***"),
        ] {
            assert_eq!(value(text), shown);
            assert_eq!(hosts(text), shown);
        }
        for (text, shown) in [("user:pw", "user:***"), ("http:/user:pw", "http:***"), ("node1:80", "node1:80")] {
            assert_eq!((value(text), hosts(text)), (text.into(), shown.into()));
        }
    }

    #[test]
    fn sentence_keeps_words_before_the_quoted_value() {
        for (text, shown) in [
            ("cannot open /x/user:pw@n: no such file", "cannot open ***@n: no such file"),
            ("it has \"http://user:p w@n\" twice", "it has \"http://***@n\" twice"),
            ("it has \"a\" and user:pw@n", "it has \"***@n"),
            ("nothing to mask", "nothing to mask"),
        ] {
            assert_eq!(sentence(text), shown);
        }
    }

    #[test]
    fn masked_text_is_not_masked_again() {
        for text in ["http://u:p@n:80/x", "u:p@http://n", "http://user:pw", "x y:z@w v"] {
            for mask in [value, hosts, sentence] {
                let once = mask(text).into_owned();
                assert_eq!(mask(&once), once, "{text}");
            }
        }
    }
}
