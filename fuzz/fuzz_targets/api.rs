//! Paths of a node API with a group: a request has the configured path, for other parsers too. An input is three lines:
//! collection, member, id.
#![no_main]

use cluster_client::{Action, Api, GroupId, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (collection, member, id) = (lines.next(), lines.next(), lines.next());
    let [collection, member, id] = [collection, member, id].map(Option::unwrap_or_default);
    let api = match Api::new(collection, member) {
        Ok(api) => api,
        Err(refused) => {
            assert!(!refused.to_string().chars().any(char::is_control), "{refused:?}");
            return;
        }
    };
    assert_eq!(api.paths(), Some((collection, member)));
    stays_in_its_place(collection);
    let Ok(group) = GroupId::parse(id) else { return };
    let path = fuzzing::request(&api, Action::Check, &group).0;
    let (before, after) = member.split_once("{id}").expect("checked");
    let segment = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).expect("as configured");
    assert_eq!(percent_encoding::percent_decode_str(segment).decode_utf8().expect("UTF-8"), id);
    stays_in_its_place(&path);
    assert_eq!(fuzzing::request(&api, Action::Delete, &group).0, collection);
});

/// Checks that other parsers read this path, no query and no other host.
fn stays_in_its_place(path: &str) {
    let url = format!("http://node1:8000{path}");
    let uri: http::Uri = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
    assert_eq!((uri.path(), uri.query()), (path, None));
    assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some("node1:8000"));
    assert_eq!(url::Url::parse(&url).expect("a URL").path(), path, "dots");
}
