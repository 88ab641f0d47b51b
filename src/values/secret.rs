//! Floor 1: a secret, and the checks of its text.
//!
//! A secret has no `Display`, and its `Debug` is `***`. Deliberately absent: reading of files and variables.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::values::config::Origin;

/// Maximum size of a secret, in bytes. Common servers refuse a header line that is longer.
pub(crate) const MAX_SECRET: usize = 8 * 1024;

/// A secret: its text, or the file or environment variable that has the text.
///
/// It has no `Display`, and its `Debug` is `***`. [`ClientBuilder::build`](crate::ClientBuilder::build) reads files and
/// variables, and checks the text: one line of at most 8 KiB of printable ASCII characters, and not empty. A newline at
/// its end is left out.
///
/// A file must be a regular file of at most 64 KiB. It is read again when its content is 60 s old, and after an answer
/// 401. If that fails, the last good content is kept, and a warning is logged.
///
/// ```
/// use cluster_client::Secret;
///
/// assert_eq!(format!("{:?}", Secret::from("xyzzy")), "***");
/// let token = Secret::file("/run/secrets/token");
/// let password = Secret::variable("NODE_PASSWORD");
/// ```
#[derive(Clone)]
pub struct Secret {
    pub(crate) source: Source,
    pub(crate) origin: Origin,
}

/// The place of a secret's text.
#[derive(Clone)]
pub(crate) enum Source {
    Text(Arc<str>),
    File {
        path: PathBuf,
        /// The mode of the file that was warned about, 0 before. Clones share it, so that the log has one warning.
        warned_of: Arc<AtomicU32>,
    },
    Variable(String),
}

impl Secret {
    /// A secret that the program has as text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Secret { source: Source::Text(text.into()), origin: Origin::Code }
    }

    /// The content of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Secret { source: Source::File { path: path.into(), warned_of: Arc::default() }, origin: Origin::Code }
    }

    /// The value of an environment variable, read once, in [`ClientBuilder::build`](crate::ClientBuilder::build).
    pub fn variable(name: impl Into<String>) -> Self {
        Secret { source: Source::Variable(name.into()), origin: Origin::Code }
    }

    /// Sets the origin of the setting, which errors name: for a program that takes it from a file of its own.
    #[must_use]
    pub fn from_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The problem of a text, and the remedy. Neither quotes the text.
pub(crate) type Problem = (String, &'static str);

/// Returns the text of a secret, without the newline at its end.
///
/// # Errors
/// If it is empty or too long, or has a character that a header cannot have.
pub(crate) fn checked(bytes: &[u8]) -> Result<&str, Problem> {
    let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if bytes.is_empty() {
        return Err(("is empty".into(), "write the secret into it"));
    }
    if bytes.contains(&b'\n') {
        return Err(("has more than one line".into(), "write the secret alone, in one line"));
    }
    if let Some(control) = bytes.iter().find(|byte| byte.is_ascii_control()) {
        return Err((format!("has the control character U+{control:04X}"), "remove it"));
    }
    if bytes.len() > MAX_SECRET {
        return Err((format!("has more than {} KiB", MAX_SECRET >> 10), "write the secret alone"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(("has a character that is not ASCII".into(), "use letters, digits and signs of ASCII")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_one_line_of_printable_ascii() {
        let long = "x".repeat(MAX_SECRET);
        for good in ["a", "a b", "a\n", "a\r\n", "a:~=", &long] {
            assert_eq!(checked(good.as_bytes()), Ok(good.trim_end()));
        }
        let longer = [long.as_bytes(), b"x"].concat();
        for (bad, problem) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\r\n", "is empty"),
            (b"a\n\n", "more than one line"),
            (b"a\nb\n", "more than one line"),
            (b"a\r", "U+000D"),
            (b"a\0b", "U+0000"),
            (b"\x1b[2J", "U+001B"),
            (b"a\x7f", "U+007F"),
            ("größe".as_bytes(), "not ASCII"),
            (b"\xff", "not ASCII"),
            (b"\xef\xbb\xbfa", "not ASCII"),
            (&longer, "more than 8 KiB"),
        ] {
            let (found, _) = checked(bad).unwrap_err();
            assert!(found.contains(problem), "{bad:?}: {found}");
        }
    }
}
