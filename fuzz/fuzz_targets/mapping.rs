//! A mapping file, its requests, and an answer to them. An input is the file, a zero byte, and the body of the answer.
#![no_main]

use cluster_client::{Action, Api, GroupId, Origin, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (mapping, body) = text.split_once('\0').unwrap_or((text, ""));
    let api = match Api::from_toml(mapping, Origin::Code) {
        Ok(api) => api,
        Err(refused) => {
            assert!(!refused.to_string().chars().any(char::is_control), "{refused:?}");
            return;
        }
    };
    assert_eq!(Api::from_toml(mapping, Origin::Code).map(|again| again.digest() == api.digest()), Ok(true));
    for id in ["a", "a/b~c\"d\\", "ü {id}", "*"] {
        let group = GroupId::parse(id).expect("a good id");
        for action in [Action::Create, Action::Check, Action::Delete] {
            let (path, _) = fuzzing::request(&api, action, &group);
            let uri: http::Uri = format!("http://node1:8000{path}").parse().unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some("node1:8000"));
            // Neither this status nor 418 can be told from a success by a body, unless it is listed.
            let _ = fuzzing::confirms(&api, action, &group, 200, body.as_bytes());
            let listed = mapping.contains("418") || mapping.contains("\\");
            assert!(listed || !fuzzing::confirms(&api, action, &group, 418, body.as_bytes()), "{mapping}");
        }
    }
});
