//! The two headers that the client reads: `Retry-After` and `Location`. An input is the time in seconds since 1970, a
//! line end, and the value of the header.
#![no_main]

use std::time::{Duration, SystemTime};

use cluster_client::{Host, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (now, text) = input.split_once('\n').unwrap_or_default();
    let now = now.parse::<u64>().unwrap_or(0) % (1 << 38);
    retry_after(SystemTime::UNIX_EPOCH + Duration::from_secs(now), text);
    for asked in ["http://node1:8000/base", "https://node1:8443/base", "https://[::1]", "http://10.0.0.7"] {
        location(asked, text);
    }
});

fn retry_after(now: SystemTime, text: &str) {
    let trimmed = text.trim();
    let is_number = !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit());
    let expected = if is_number {
        // A number that is too long for `u128` is too long for `u64`.
        let seconds = trimmed.parse::<u128>().unwrap_or(u128::MAX);
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
    } else {
        let date = httpdate::parse_http_date(trimmed).ok();
        date.map(|date| date.duration_since(now).unwrap_or_default())
    };
    assert_eq!(fuzzing::retry_after(text, now), expected);
}

/// Checks that a followed redirect keeps the origin, as the URL standard defines it.
fn location(asked: &str, text: &str) {
    let host = Host::parse(asked).expect("a host");
    let Some(followed) = fuzzing::same_origin(&host, text) else { return };
    let base = url::Url::parse(asked).expect("a URL");
    let meant = base.join(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert_eq!(meant.origin(), base.origin(), "{text:?}");
    let sent: http::Uri = followed.parse().unwrap_or_else(|e| panic!("{followed:?}: {e}"));
    assert_eq!(sent.authority().map(http::uri::Authority::as_str), Some(host.authority()), "{text:?}");
    assert_eq!(sent.scheme_str(), Some(base.scheme()));
}
