//! Words for a POSIX shell, readable on a terminal.

use std::ffi::OsStr;
use std::fmt::Write as _;

/// Returns one word for a POSIX shell. Each word of a printed command passes through this function.
pub(crate) fn shell_word(word: &OsStr) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@%+,".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.into(),
        Some(text) if !text.chars().any(is_not_shown) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => printed(word.as_encoded_bytes()),
    }
}

/// Returns whether a terminal interprets or hides the character: controls, directions, joiners.
fn is_not_shown(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Returns bytes as octal numbers for `printf`, which is the only visible form in POSIX.
fn printed(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
    let mut format = String::new();
    for byte in &bytes[..end] {
        match byte {
            b'%' => format.push_str("%%"),
            b' ' | b'.' | b'/' => format.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => format.push(char::from(*byte)),
            byte => {
                let _ = write!(format, "\\{byte:03o}");
            }
        }
    }
    // Command substitution removes trailing newlines, so append them outside of it.
    let newlines = if end < bytes.len() { format!("'{}'", "\n".repeat(bytes.len() - end)) } else { String::new() };
    format!("\"$(printf '{format}')\"{newlines}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn word_is_quoted_only_if_a_shell_needs_it() {
        let word = |text: &str| shell_word(OsStr::new(text));
        assert_eq!(word("users-42"), "users-42");
        assert_eq!(word("http://node1:8000,http://node2:8000"), "http://node1:8000,http://node2:8000");
        assert_eq!(word("two words"), "'two words'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("http://[::1]:8000"), "'http://[::1]:8000'");
        assert_eq!(word("ü"), "'ü'");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn shell_reads_each_quoted_word_back_unchanged() {
        use std::os::unix::ffi::OsStrExt as _;
        let words: [&[u8]; 14] = [
            b"plain",
            b"a b",
            b"it's",
            b"-dash",
            b"$HOME `id` \"x\" \\n !h ~ * ? [a] {a,b} # ; & | < > ( )",
            b"100%",
            b"bytes \xff\xfe %s %% -n '",
            b"-\xff",
            b"line\nbreak",
            b"ends with newlines\n\n",
            b"tab\tand escape\x1b[2J",
            "right\u{202e}to left".as_bytes(),
            b"=ls",
            b"\n",
        ];
        for bytes in words {
            let line = format!("printf '%s|' {}", shell_word(OsStr::from_bytes(bytes)));
            for shell in ["sh", "bash"] {
                let Ok(output) = Command::new(shell).args(["-c", &line]).output() else { continue };
                assert_eq!(output.stdout, [bytes, b"|"].concat(), "{shell}: {line}");
            }
        }
    }
}
