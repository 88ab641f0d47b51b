//! A group id to its path and its body, and back.
#![no_main]

use cluster_client::{Action, Api, GroupId, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let group = match GroupId::parse(text) {
        Ok(group) => group,
        Err(refused) => {
            assert!(!refused.to_string().chars().any(char::is_control), "{refused:?}");
            return;
        }
    };
    assert_eq!(group.as_str(), text);

    let api = Api::default();
    let (path, none) = fuzzing::request(&api, Action::Check, &group);
    assert_eq!(none, None);
    let segment = path.strip_prefix("/v1/group/").and_then(|rest| rest.strip_suffix('/')).expect("the default path");
    assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{segment}");
    assert!(!matches!(segment, "" | "." | ".."));
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().expect("UTF-8");
    assert_eq!(decoded, text);

    // Other parsers on the way.
    let url = format!("http://node1:8000{path}");
    let uri: http::Uri = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
    assert_eq!(uri.path(), path);
    assert_eq!(url::Url::parse(&url).expect("a URL").path(), path);

    let (collection, body) = fuzzing::request(&api, Action::Create, &group);
    assert_eq!(collection, "/v1/group/");
    let body: serde_json::Value = serde_json::from_str(&body.expect("a body")).expect("JSON");
    assert_eq!(body, serde_json::json!({ "groupId": text }));
});
