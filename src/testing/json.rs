//! Strict reading of the one JSON document that clients send, `{"groupId": "..."}`, and writing of JSON strings. No
//! JSON crate is needed, so users of the feature do not compile one.

/// Reads the `groupId` of a request body.
///
/// The body is one object with that key exactly once and a string as its value. The values of other keys may be
/// strings, numbers, `true`, `false` or `null`, but not arrays or objects.
pub(super) fn group_id(body: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    let mut reader = Reader { text, at: 0 };
    reader.expect('{', "the body is not a JSON object")?;
    let mut found = None;
    if !reader.accept('}') {
        loop {
            let key = reader.string()?;
            reader.expect(':', "a colon is missing")?;
            if key == "groupId" {
                let value = reader.string().map_err(|_| "groupId is not a string")?;
                if found.replace(value).is_some() {
                    return Err("groupId is given twice");
                }
            } else {
                reader.simple_value()?;
            }
            if reader.accept('}') {
                break;
            }
            reader.expect(',', "a comma is missing")?;
        }
    }
    reader.skip_space();
    if reader.at != text.len() {
        return Err("something follows the JSON object");
    }
    match found {
        None => Err("groupId is missing"),
        Some(id) if id.is_empty() => Err("groupId is empty"),
        Some(id) => Ok(id),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let space = |c| matches!(c, ' ' | '\t' | '\r' | '\n');
        self.at = self.text.len() - self.rest().trim_start_matches(space).len();
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        let there = self.rest().starts_with(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    fn expect(&mut self, wanted: char, otherwise: &'static str) -> Result<(), &'static str> {
        if self.accept(wanted) { Ok(()) } else { Err(otherwise) }
    }

    fn next(&mut self) -> Result<char, &'static str> {
        let c = self.rest().chars().next().ok_or("the body ends too early")?;
        self.at += c.len_utf8();
        Ok(c)
    }

    fn string(&mut self) -> Result<String, &'static str> {
        self.expect('"', "a string is missing")?;
        let mut value = String::new();
        loop {
            let plain = self.rest().find(|c| matches!(c, '"' | '\\') || c < ' ');
            let plain = plain.ok_or("a string does not end")?;
            value.push_str(&self.rest()[..plain]);
            self.at += plain;
            match self.next()? {
                '"' => return Ok(value),
                '\\' => value.push(self.escape()?),
                _ => return Err("a string contains a control character"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        Ok(match self.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return Err("an unknown escape"),
        })
    }

    /// Reads a `\uXXXX`, or two that form a surrogate pair.
    fn unicode(&mut self) -> Result<char, &'static str> {
        const LONE: &str = "half of a surrogate pair";
        let mut units = vec![self.hex()?];
        if (0xD800..0xDC00).contains(&units[0]) {
            if self.next()? != '\\' || self.next()? != 'u' {
                return Err(LONE);
            }
            units.push(self.hex()?);
        }
        char::decode_utf16(units).next().and_then(Result::ok).ok_or(LONE)
    }

    fn hex(&mut self) -> Result<u16, &'static str> {
        const BAD: &str = "a bad \\u escape";
        let digits = self.rest().get(..4).ok_or(BAD)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BAD);
        }
        let unit = u16::from_str_radix(digits, 16).map_err(|_| BAD)?;
        self.at += 4;
        Ok(unit)
    }

    fn simple_value(&mut self) -> Result<(), &'static str> {
        self.skip_space();
        if self.rest().starts_with('"') {
            return self.string().map(drop);
        }
        let end = self.rest().find([',', '}', ' ', '\t', '\r', '\n']).unwrap_or(0);
        let word = &self.rest()[..end];
        let number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && word.parse::<f64>().is_ok();
        if !number && !matches!(word, "true" | "false" | "null") {
            return Err("a value is not simple");
        }
        self.at += end;
        Ok(())
    }
}

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                // Infallible: writing to a String.
                let _ = std::fmt::Write::write_fmt(out, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{group_id, push_string};

    fn read(body: &str) -> Result<String, &'static str> {
        group_id(body.as_bytes())
    }

    #[test]
    fn ids_with_escapes_are_read() {
        assert_eq!(read(r#"{"groupId":"g"}"#).as_deref(), Ok("g"));
        assert_eq!(read(" {\r\n\t\"groupId\" : \"g h\" } \n").as_deref(), Ok("g h"));
        assert_eq!(read(r#"{"groupId":"\"\\\/\n\u0041\u00e9"}"#).as_deref(), Ok("\"\\/\nA\u{e9}"));
        assert_eq!(read(r#"{"groupId":"\ud83d\ude00"}"#).as_deref(), Ok("\u{1f600}"));
        assert_eq!(read(r#"{"a":1.5e3,"groupId":"g","b":null,"c":"x"}"#).as_deref(), Ok("g"));
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for body in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            r#""g""#,
            r#"{"groupId":1}"#,
            r#"{"groupId":""}"#,
            r#"{"groupId":"g""#,
            r#"{"groupId":"g"}x"#,
            r#"{"groupId":"g",}"#,
            r#"{groupId:"g"}"#,
            r#"{"groupId" "g"}"#,
            r#"{"groupId":"g","groupId":"h"}"#,
            r#"{"groupId":"\x"}"#,
            r#"{"groupId":"\ud83d"}"#,
            r#"{"groupId":"\ud83dx"}"#,
            r#"{"groupId":"\u+041"}"#,
            r#"{"groupId":"\u00"}"#,
            "{\"groupId\":\"a\nb\"}",
            r#"{"groupId":"g","a":[]}"#,
            r#"{"groupId":"g","a":nan}"#,
            r#"{"groupId":"g","a":}"#,
            r#"{"groupId":"\ude00"}"#,
        ] {
            assert!(read(body).is_err(), "{body:?} was taken");
        }
        assert!(group_id(b"{\"groupId\":\"\xff\"}").is_err());
    }

    #[test]
    fn written_string_is_read_back() {
        let id = "a\"b\\c\nd\u{e9}\u{1f600}";
        let mut body = String::from("{\"groupId\":");
        push_string(&mut body, id);
        body.push('}');
        assert_eq!(read(&body).as_deref(), Ok(id));
    }
}
