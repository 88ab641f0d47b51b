//! Floor 1: text from outside, escaped for people to read.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;

use crate::values::mask;

/// Text from outside, for a terminal or a log. Its `Display` escapes characters that control a terminal or deceive a
/// reader.
///
/// The control characters of ASCII and Latin-1, the controls of text direction, characters without a width, the
/// separators of lines and paragraphs, and the byte order mark are escaped as `\u{..}`, `\n`, `\r` or `\t`. Letters,
/// marks and signs of any script stay unchanged, and so does a backslash. Escaping escaped text changes nothing.
///
/// A refused text may contain a password, if it is a URL with user info. [`Printable::masked`] and
/// [`Printable::masked_sentence`] mask it. A [`ConfigError`](crate::ConfigError) masks and escapes its texts itself.
///
/// ```
/// use cluster_client::Printable;
///
/// assert_eq!(Printable::new("größe\u{202e}\u{1b}[2J").to_string(), r"größe\u{202e}\u{1b}[2J");
/// assert_eq!(Printable::masked("http://user:password@node1").to_string(), "http://***@node1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printable<'a>(Cow<'a, str>);

impl<'a> Printable<'a> {
    /// Accepted text, or text of a server or a file.
    pub fn new(text: &'a str) -> Self {
        Printable(text.into())
    }

    /// A path. Bytes that are not UTF-8 are shown as U+FFFD.
    pub fn path(path: &'a Path) -> Self {
        Printable(path.to_string_lossy())
    }

    /// A whole refused value. Masks possible user info: the text before the last at sign except a leading `http://` or
    /// `https://`, and in a URL the text after a colon without a port.
    ///
    /// ```
    /// use cluster_client::Printable;
    ///
    /// assert_eq!(Printable::masked("user:pass,word@http://n").to_string(), "***@http://n");
    /// assert_eq!(Printable::masked("http://user:pass").to_string(), "http://user:***");
    /// ```
    pub fn masked(value: &'a str) -> Self {
        Printable(mask::value(value))
    }

    /// A sentence that may quote a refused value. Masks from the first quotation mark, or the start of the word, to the
    /// last at sign. If possible mask the value itself, whose start is known.
    ///
    /// ```
    /// use cluster_client::Printable;
    ///
    /// let sentence = "cannot bind \"user:pass word@n\": invalid address";
    /// assert_eq!(Printable::masked_sentence(sentence).to_string(), "cannot bind \"***@n\": invalid address");
    /// ```
    pub fn masked_sentence(sentence: &'a str) -> Self {
        Printable(mask::sentence(sentence))
    }

    /// Whether a character is shown as an escape.
    ///
    /// ```
    /// use cluster_client::Printable;
    ///
    /// assert!(Printable::escapes('\u{2028}') && !Printable::escapes('é'));
    /// ```
    pub fn escapes(c: char) -> bool {
        c.is_control()
            || matches!(c,
                '\u{ad}' // soft hyphen
                | '\u{34f}' // combining grapheme joiner
                | '\u{61c}' // Arabic letter mark
                | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
                | '\u{17b4}' | '\u{17b5}' // Khmer inherent vowels
                | '\u{180e}' // Mongolian vowel separator
                | '\u{200b}'..='\u{200f}' // zero width, direction marks
                | '\u{2028}'..='\u{202e}' // line and paragraph separators, direction embeddings and overrides
                | '\u{2060}'..='\u{206f}' // word joiner, invisible operators, direction isolates
                | '\u{feff}' // byte order mark
                | '\u{fff9}'..='\u{fffb}' // interlinear annotations
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' // format controls
                | '\u{e0000}'..='\u{e0fff}' // tags, further variation selectors
            )
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(Printable::escapes) {
            return f.pad(&self.0);
        }
        let mut shown = String::with_capacity(self.0.len() + 16);
        for c in self.0.chars() {
            match c {
                '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
                c if Printable::escapes(c) => write!(shown, "\\u{{{:x}}}", u32::from(c))?,
                c => shown.push(c),
            }
        }
        f.pad(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_escaped() {
        for (text, shown) in [
            ("a\u{1b}]0;x\u{7}", r"a\u{1b}]0;x\u{7}"),
            ("a\nb\rc\td\0", r"a\nb\rc\td\u{0}"),
            ("\u{7f}\u{80}\u{9b}31m\u{85}", r"\u{7f}\u{80}\u{9b}31m\u{85}"),
            (
                "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}",
                r"\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}",
            ),
            ("\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}", r"\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}"),
            ("\u{2028}\u{2029}\u{e0041}", r"\u{2028}\u{2029}\u{e0041}"),
        ] {
            assert_eq!(Printable::new(text).to_string(), shown);
            assert_eq!(Printable::new(shown).to_string(), shown, "escaping again changes nothing");
        }
    }

    #[test]
    fn letters_of_every_script_are_kept() {
        for text in [
            "größe",
            "e\u{301}tude",
            "Ελληνικά",
            "русский",
            "עברית",
            "العربية",
            "हिन्दी",
            "ไทย",
            "한국어",
            "日本語　の",
            "👍🏽❤️",
            r"C:\x",
        ] {
            assert_eq!(Printable::new(text).to_string(), text);
        }
    }

    /// The escaped characters are those that Unicode calls default-ignorable or format controls. `Debug` of the
    /// standard library escapes them too, except the fillers.
    #[test]
    fn only_characters_that_debug_escapes_are_escaped() {
        for c in ('\0'..=char::MAX).filter(|c| Printable::escapes(*c)) {
            let debug = format!("{:?}", c.to_string());
            let fillers = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{17b4}', '\u{17b5}'];
            assert!(debug.starts_with("\"\\") || fillers.contains(&c), "{:x}: {debug}", u32::from(c));
        }
    }

    #[test]
    fn escaped_text_is_padded() {
        assert_eq!(format!("{:6}|", Printable::new("a\n")), "a\\n   |");
    }
}
