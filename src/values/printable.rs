//! Floor 0: text from outside, as a person may read it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;

use crate::values::mask;

/// Text from outside, made safe to be read on a terminal or in a log: its `Display` escapes what would steer
/// a terminal or deceive a reader.
///
/// Escaped as `\u{..}` (or `\n`, `\r`, `\t`) are the control characters of ASCII and Latin-1, the controls of
/// text direction, characters without a width, the separators of lines and paragraphs, and the byte order mark.
/// All letters, marks and signs of any script stay as they are, and so does a backslash. Escaping escaped text
/// changes nothing.
///
/// Texts that are refused may have a password in them, because somebody typed a URL with user info. For
/// those there are [`Printable::masked`] and [`Printable::masked_sentence`]. A [`ConfigError`](crate::ConfigError)
/// masks and escapes by itself.
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
    /// Text that was accepted, or that a server or a file has sent.
    pub fn new(text: &'a str) -> Self {
        Printable(text.into())
    }

    /// A path. Bytes that are not UTF-8 are shown as U+FFFD.
    pub fn path(path: &'a Path) -> Self {
        Printable(path.to_string_lossy())
    }

    /// A whole value that is refused. Masks what may be user info: everything before the last at sign but a
    /// leading `http://` or `https://`, and in a URL all that follows a colon without a port.
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

    /// A sentence that may quote a refused value. Masks from the first quotation mark, or the start of the
    /// word, to the last at sign. Where the value is at hand, mask the value instead: that knows its start.
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
    fn what_steers_a_terminal_or_hides_is_escaped() {
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
    fn letters_of_every_script_stay_readable() {
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

    /// The escapes are the characters that Unicode calls default-ignorable or format controls, as far as the
    /// standard library tells them: its `Debug` escapes every one of them too.
    #[test]
    fn nothing_is_escaped_that_the_standard_library_prints() {
        for c in ('\0'..=char::MAX).filter(|c| Printable::escapes(*c)) {
            let debug = format!("{:?}", c.to_string());
            let fillers = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{17b4}', '\u{17b5}'];
            assert!(debug.starts_with("\"\\") || fillers.contains(&c), "{:x}: {debug}", u32::from(c));
        }
    }

    #[test]
    fn it_is_padded_like_text() {
        assert_eq!(format!("{:6}|", Printable::new("a\n")), "a\\n   |");
    }
}
