//! The meaning of an answer by a mapping: its status, and the tests on its JSON body.

use serde_json::Value;

use super::{Body, duplicates};
use crate::values::answer_problem::AnswerProblem;
use crate::values::api::Mapped;
use crate::values::api::pattern::{Expected, Meaning, Pattern, Test};
use crate::values::group::GroupId;

/// Returns the meaning of an answer, or the problem of an answer without a clear one.
///
/// If a test is listed for the status, a body that cannot be read decides nothing, even if the bare status is listed
/// too. Answers with tests come before bare statuses.
#[inline]
pub(super) fn meaning(mapped: &Mapped, group: &GroupId, status: u16, body: &Body) -> Result<Meaning, AnswerProblem> {
    let first = mapped.answers.iter().position(|(_, pattern)| pattern.status == status);
    let listed = &mapped.answers[first.ok_or(AnswerProblem::Unlisted)?..];
    match &listed[0] {
        (meaning, pattern) if pattern.tests.is_empty() => Ok(*meaning),
        _ => tested(listed.iter().filter(|(_, pattern)| pattern.status == status), group, body),
    }
}

/// Returns the meaning of the first of these answers of one status whose tests hold. Not inlined: most answers have no
/// tests, and are classified faster without it.
#[inline(never)]
fn tested<'a>(
    listed: impl Iterator<Item = &'a (Meaning, Pattern)>,
    group: &GroupId,
    body: &Body,
) -> Result<Meaning, AnswerProblem> {
    let mut listed = listed.peekable();
    let document = document(body)?;
    let holds = |pattern: &Pattern| pattern.tests.iter().all(|test| holds(test, &document, group));
    let mut held = None;
    while let Some((meaning, pattern)) = listed.next_if(|(_, pattern)| !pattern.tests.is_empty()) {
        if holds(pattern) && held.replace(*meaning).is_some_and(|other| other != *meaning) {
            return Err(AnswerProblem::TwoMeanings);
        }
    }
    held.or_else(|| listed.next().map(|(meaning, _)| *meaning)).ok_or(AnswerProblem::Unlisted)
}

/// Parses a body. serde_json refuses a document that is nested more than 128 times. A document with a name twice in one
/// object has two meanings.
fn document(body: &Body) -> Result<Value, AnswerProblem> {
    match body {
        Body::Whole(bytes) => match serde_json::from_slice(bytes) {
            Ok(_) if duplicates::are_in(bytes) => Err(AnswerProblem::TwoMeanings),
            parsed => parsed.map_err(|_| AnswerProblem::NotJson),
        },
        Body::Cut(_) | Body::Unread => Err(AnswerProblem::BodyCut),
    }
}

fn holds(test: &Test, document: &Value, group: &GroupId) -> bool {
    let id = group.as_str();
    let found = document.pointer(&test.pointer.render(id));
    let is_there = match (&test.expected, found) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(Expected::Word(word)), Some(found)) => found.as_str() == Some(&word.render(id)),
        (Some(Expected::Json(json)), Some(found)) => {
            serde_json::from_str(&json.render(id)).is_ok_and(|expected: Value| is_equal(&expected, found))
        }
    };
    is_there != test.negative
}

/// Compares two values. Numbers are compared by value, so that 1 and 1.0 are equal.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_equal(a, b)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::action::Action;
    use crate::values::api::{Api, Call};

    fn api(check: Call) -> Api {
        let create = Call::new("PUT", "/{id}").created([201]);
        let delete = Call::new("DELETE", "/{id}").deleted([204]);
        let api = Api::builder().name("x").ids(" -~", 64).create(create).check(check).delete(delete);
        api.build().unwrap_or_else(|refused| panic!("{refused}"))
    }

    fn call() -> Call {
        Call::new("GET", "/{id}").present([299]).absent([499])
    }

    fn check(call: Call, id: &str, status: u16, body: &Body) -> Result<Meaning, AnswerProblem> {
        meaning(api(call).mapped(Action::Check), &GroupId::parse(id).unwrap(), status, body)
    }

    fn whole(body: &str) -> Body {
        Body::Whole(body.into())
    }

    /// The document and the pointers of RFC 6901, section 5. Pointers with a blank cannot be written in an answer.
    #[test]
    fn pointers_are_those_of_rfc_6901() {
        let document =
            r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, "m~n": 8}"#;
        for (pointer, value) in [
            ("", document),
            ("/foo", r#"["bar", "baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/m~0n", "8"),
        ] {
            let answer = format!("200 {pointer}={value}");
            assert_eq!(
                check(call().present([answer.clone()]), "g", 200, &whole(document)),
                Ok(Meaning::Present),
                "{answer}"
            );
        }
        for pointer in ["/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/nothing", "/foo/0/x", "//", "/a/b"] {
            let answer = format!("200 {pointer}");
            let unlisted = Err(AnswerProblem::Unlisted);
            assert_eq!(check(call().present([answer]), "g", 200, &whole(document)), unlisted, "{pointer}");
        }
    }

    #[test]
    fn tests_hold_for_these_documents_only() {
        for (answer, body, holds) in [
            ("200 /a", r#"{"a": null}"#, true),
            ("200 /a", r#"{"a": false}"#, true),
            ("200 /a", r#"{"b": 1}"#, false),
            ("200 =true", "true", true),
            ("200 =true", " true\n", true),
            ("200 =true", "\"true\"", false),
            ("200 /a=true", r#"{"a": "true"}"#, false),
            ("200 /a=yes", r#"{"a": "yes"}"#, true),
            ("200 /a=\"1\"", r#"{"a": "1"}"#, true),
            ("200 /a=\"1\"", r#"{"a": 1}"#, false),
            ("200 /a=1", r#"{"a": 1.0}"#, true),
            ("200 /a=1", r#"{"a": 10e-1}"#, true),
            ("200 /a=1", r#"{"a": 2}"#, false),
            ("200 /a=18446744073709551615", r#"{"a": 18446744073709551614}"#, false),
            ("200 /a={\"x\": 1, \"y\": [2]}", r#"{"a": {"y": [2.0], "x": 1}}"#, true),
            ("200 /a={\"x\": 1}", r#"{"a": {"x": 1, "y": 2}}"#, false),
            ("200 /a !/b", r#"{"a": 1}"#, true),
            ("200 /a !/b", r#"{"a": 1, "b": null}"#, false),
            ("200 /a !/b=1", r#"{"a": 1, "b": 2}"#, true),
            ("200 /a !/b=1", r#"{"a": 1, "b": 1}"#, false),
            ("200 /a /b", r#"{"a": 1}"#, false),
            ("200 /id={id|json}", r#"{"id": "12"}"#, true),
            ("200 /id={id|json}", r#"{"id": 12}"#, false),
            ("200 /id={id|base64}", r#"{"id": "MTI="}"#, true),
            ("200 /{id|pointer}", r#"{"12": 0}"#, true),
        ] {
            let expected = if holds { Ok(Meaning::Present) } else { Err(AnswerProblem::Unlisted) };
            assert_eq!(check(call().present([answer]), "12", 200, &whole(body)), expected, "{answer} on {body}");
        }
    }

    #[test]
    fn placeholders_are_escaped_for_every_id() {
        for id in ["a/b~c", "a\"b\\c", "{id}", "~1", "x=y z", "true", "%"] {
            let document = serde_json::json!({ "id": id, "names": { id: 1 } }).to_string();
            let answer = "200 /id={id|json} /names/{id|pointer}=1";
            assert_eq!(check(call().present([answer]), id, 200, &whole(&document)), Ok(Meaning::Present), "{id}");
            let other = document.replacen("\"id\":", "\"no\":", 1);
            assert_eq!(check(call().present([answer]), id, 200, &whole(&other)), Err(AnswerProblem::Unlisted), "{id}");
        }
    }

    #[test]
    fn answers_with_tests_come_before_the_bare_status() {
        let call = || call().present([200]).absent(["200 /gone=true"]).wait(["200 /gone=soon", "200 /state=ending"]);
        for (body, expected) in [
            (r#"{"gone": true}"#, Ok(Meaning::Absent)),
            (r#"{"gone": "soon"}"#, Ok(Meaning::Wait)),
            (r#"{"gone": "soon", "state": "ending"}"#, Ok(Meaning::Wait)),
            (r#"{"gone": true, "state": "ending"}"#, Err(AnswerProblem::TwoMeanings)),
            ("{}", Ok(Meaning::Present)),
            ("", Err(AnswerProblem::NotJson)),
            ("<html>", Err(AnswerProblem::NotJson)),
            ("{} {}", Err(AnswerProblem::NotJson)),
            (r#"{"gone": false, "gone": true}"#, Err(AnswerProblem::TwoMeanings)),
            (r#"{"gone": true, "a": [{"b": 1, "\u0062": 1}]}"#, Err(AnswerProblem::TwoMeanings)),
            (r#"{"gone": true, "a": {"gone": [-1, 1.5, "x", null, false]}}"#, Ok(Meaning::Absent)),
        ] {
            assert_eq!(check(call(), "g", 200, &whole(body)), expected, "{body}");
        }
        let cut = Body::Cut(b"{}".to_vec());
        assert_eq!(check(call(), "g", 200, &cut), Err(AnswerProblem::BodyCut));
        // No test is listed for this status, so its body does not count.
        assert_eq!(check(call(), "g", 499, &cut), Ok(Meaning::Absent));
        assert_eq!(check(call(), "g", 404, &cut), Err(AnswerProblem::Unlisted));
    }

    #[test]
    fn deep_document_is_not_json() {
        let deep = |depth: usize| whole(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let call = || call().present(["200 /0"]);
        assert_eq!(check(call(), "g", 200, &deep(100)), Ok(Meaning::Present));
        assert_eq!(check(call(), "g", 200, &deep(200_000)), Err(AnswerProblem::NotJson));
    }
}
