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
    const BEGINNINGS: [&[u8]; 4] = [b"<!doctype", b"<html", b"<head", b"<body"];
    while let Some((start, end)) = SKIPPED.into_iter().find(|(start, _)| text.starts_with(start)) {
        text = &text[start.len()..];
        let Some(at) = text.windows(end.len()).position(|window| window == end) else { return false };
        text = text[at + end.len()..].trim_ascii_start();
    }
    BEGINNINGS.iter().any(|start| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start)))
}

/// Whether the text is a JSON object whose `groupId` is the text of another group.
fn names_other(text: &[u8], group: &GroupId) -> bool {
    let mut json = serde_json::Deserializer::from_slice(text);
    let other = json.deserialize_map(Object(group.as_str()));
    other.unwrap_or(false) && json.end().is_ok()
}

/// Reads an object. The value is whether its `groupId` is another text than this.
struct Object<'a>(&'a str);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut is_other = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "groupId" {
                is_other |= map.next_value::<Value>()?.as_str().is_some_and(|id| id != self.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(is_other)
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
            (r#"{"groupId": 7}"#, None),
            (r#"{"groupId": null}"#, None),
            (r#"{"groupId": ["other"]}"#, None),
            (r#"{"groupId": "g\"1", "groupId": "other"}"#, Some(OtherGroup)),
            (r#"{"groupId": "other""#, None),
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
    fn deep_document_ends_in_no_contradiction() {
        let deep = format!("{{\"groupId\": {}", "[".repeat(100_000));
        assert_eq!(of(&Body::Whole(deep.into()), &GroupId::parse("g").unwrap()), None);
    }
}
