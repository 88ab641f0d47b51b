//! The contradictions of the node API: a check that is answered with 200, and a body that says otherwise.

use std::fmt;

use serde_core::Deserializer as _;
use serde_core::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Body;
use crate::values::answer_problem::AnswerProblem;
use crate::values::group::GroupId;

/// Returns why a check that was answered with 200 proves nothing, if its body contradicts. A body that is empty, cut or
/// in another format does not contradict. The content type does not count: frameworks declare plain bodies as HTML.
pub(super) fn of(body: &Body, group: &GroupId) -> Option<AnswerProblem> {
    let (Body::Whole(bytes) | Body::Cut(bytes)) = body else { return None };
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    match text.first()? {
        b'<' if is_html(text) => Some(AnswerProblem::HtmlPage),
        b'{' if names_other(text, group) => Some(AnswerProblem::OtherGroup),
        _ => None,
    }
}

/// Whether the text begins as an HTML page, after comments and processing instructions.
fn is_html(mut text: &[u8]) -> bool {
    const SKIPPED: [(&[u8], &[u8]); 2] = [(b"<!--", b"-->"), (b"<?", b"?>")];
    const BEGINNINGS: [&[u8]; 7] = [b"<!doctype", b"<html", b"<head", b"<title", b"<meta", b"<script", b"<body"];
    while let Some((start, end)) = SKIPPED.into_iter().find(|(start, _)| text.starts_with(start)) {
        text = &text[start.len()..];
        let Some(at) = text.windows(end.len()).position(|window| window == end) else { return false };
        text = text[at + end.len()..].trim_ascii_start();
    }
    BEGINNINGS.iter().any(|start| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start)))
}

/// Whether the text is a JSON object whose `groupId` is not this group. A number counts as its text. What a body that is
/// cut says before its end counts, as it does in a page.
fn names_other(text: &[u8], group: &GroupId) -> bool {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut object = Object { group: group.as_str(), is_other: false };
    let read = json.deserialize_map(&mut object).and_then(|()| json.end());
    object.is_other && read.err().is_none_or(|error| error.is_eof())
}

/// Reads an object, and notes whether its `groupId` is another than this.
struct Object<'a> {
    group: &'a str,
    is_other: bool,
}

impl Object<'_> {
    fn is_ours(&self, id: &Value) -> bool {
        match id {
            Value::String(id) => id == self.group,
            Value::Number(id) => id.to_string() == self.group,
            _ => false,
        }
    }
}

impl<'de> Visitor<'de> for &mut Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "groupId" {
                let id = map.next_value::<Value>()?;
                self.is_other |= !self.is_ours(&id);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_and_other_groups_contradict() {
        use AnswerProblem::{HtmlPage, OtherGroup};
        let group = GroupId::parse("g\"1").unwrap();
        for (body, expected) in [
            ("", None),
            ("  \r\n", None),
            ("ok", None),
            ("present", None),
            ("<group id='g'/>", None),
            ("<h1>g</h1>", None),
            ("<!doctype html><p>", Some(HtmlPage)),
            ("\u{feff} \n<!DOCTYPE html>", Some(HtmlPage)),
            ("<HTML lang=en>", Some(HtmlPage)),
            ("<head><title>", Some(HtmlPage)),
            ("<Body>", Some(HtmlPage)),
            ("<meta charset=utf-8><title>Log in", Some(HtmlPage)),
            ("<title>Log in", Some(HtmlPage)),
            ("<!-- a --> <!-- <b> --><html>", Some(HtmlPage)),
            ("<?xml version='1.0'?>\n<!DOCTYPE html>", Some(HtmlPage)),
            ("<?xml version='1.0'?><d:multistatus>", None),
            ("<!-- cut <html>", None),
            ("<htm", None),
            (r#"{"groupId": "g\"1"}"#, None),
            (r#"{"groupId": "other"}"#, Some(OtherGroup)),
            (r#" {"a": [1, {"groupId": "x"}], "groupId": "other", "b": null} "#, Some(OtherGroup)),
            (r#"{"a": {"groupId": "other"}}"#, None),
            (r#"{"group\u0049d": "other"}"#, Some(OtherGroup)),
            (r#"{"groupId": 7}"#, Some(OtherGroup)),
            (r#"{"groupId": null}"#, Some(OtherGroup)),
            (r#"{"groupId": ["other"]}"#, Some(OtherGroup)),
            (r#"{"groupId": "g\"1", "groupId": "other"}"#, Some(OtherGroup)),
            (r#"{"groupId": "other""#, Some(OtherGroup)),
            (r#"{"groupId": "other", "members": ["a", "b"#, Some(OtherGroup)),
            (r#"{"groupId": "oth"#, None),
            (r#"{"groupId": "g\"1", "members": ["a", "b"#, None),
            (r#"{"groupId": "other", x"#, None),
            (r#"{"groupId": "other"} x"#, None),
            (r#"["other"]"#, None),
            (r#""other""#, None),
        ] {
            for body in [Body::Whole(body.into()), Body::Cut(body.into())] {
                assert_eq!(of(&body, &group), expected, "{body:?}");
            }
        }
        assert_eq!(of(&Body::Unread, &group), None);
    }

    #[test]
    fn number_counts_as_its_text() {
        let of = |body: &str, group: &str| of(&Body::Whole(body.into()), &GroupId::parse(group).unwrap());
        assert_eq!(of(r#"{"groupId": 7}"#, "7"), None);
        assert_eq!(of(r#"{"groupId": 8}"#, "7"), Some(AnswerProblem::OtherGroup));
    }

    #[test]
    fn deep_document_ends_in_no_contradiction() {
        let deep = format!("{{\"groupId\": {}", "[".repeat(100_000));
        assert_eq!(of(&Body::Whole(deep.into()), &GroupId::parse("g").unwrap()), None);
    }
}
