//! Retry-After and Location, as pure functions.

use std::time::{Duration, SystemTime};

use crate::values::host::Host;

/// Returns the delay of `Retry-After` (RFC 9110, 10.2.3), given as seconds or as a date. A number too large becomes the
/// largest duration, a past date becomes zero. Other values return `None`.
///
/// The caller caps the delay.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the URL of `location` if its origin (scheme, host and port) equals that of `asked`.
///
/// Accepts an absolute URL, a URL without its scheme, and an absolute path. Servers send these to correct a trailing
/// slash. Other forms return `None`.
pub(crate) fn same_origin(asked: &Host, location: &str) -> Option<String> {
    let location = location.split('#').next()?;
    let origin = asked.origin();
    // The characters that RFC 3986 allows in URLs. It excludes the backslash, which browsers read as a slash: `/\evil`
    // would be another server.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b);
    if !location.bytes().all(allowed) {
        return None;
    }
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{origin}{location}"));
    }
    let absolute =
        if location.starts_with("//") { format!("{}:{location}", asked.scheme()) } else { location.to_owned() };
    let authority = absolute.find("://")? + 3;
    let path = absolute[authority..].find(['/', '?']).map_or(absolute.len(), |at| authority + at);
    let same = Host::parse(&absolute[..path]).ok()?.as_str() == origin;
    same.then(|| format!("{origin}{}", &absolute[path..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_2000: Duration = Duration::from_secs(946_684_800);

    #[test]
    fn retry_after_accepts_seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + YEAR_2000;
        for (value, expected) in [
            ("0", Some(Duration::ZERO)),
            (" 120 ", Some(Duration::from_secs(120))),
            ("99999999999999999999999999", Some(Duration::from_secs(u64::MAX))),
            ("Sat, 01 Jan 2000 00:00:07 GMT", Some(Duration::from_secs(7))),
            ("Saturday, 01-Jan-00 00:00:07 GMT", Some(Duration::from_secs(7))),
            ("Sat Jan  1 00:00:07 2000", Some(Duration::from_secs(7))),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(Duration::ZERO)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("+3", None),
            ("soon", None),
            ("Sat, 32 Jan 2000 00:00:07 GMT", None),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }

    #[test]
    fn location_is_accepted_on_the_origin_of_the_request_only() {
        let host = Host::parse("http://node1:8000/base").unwrap();
        for (location, expected) in [
            ("/v1/group", Some("http://node1:8000/v1/group")),
            ("/v1/group?a=b#c", Some("http://node1:8000/v1/group?a=b")),
            ("http://node1:8000/x/", Some("http://node1:8000/x/")),
            ("HTTP://NODE1:8000/X", Some("http://node1:8000/X")),
            ("//node1:8000/x", Some("http://node1:8000/x")),
            ("http://node1:8000?x", Some("http://node1:8000?x")),
            ("https://node1:8000/x", None),
            ("http://node1/x", None),
            ("http://node2:8000/x", None),
            ("http://user:pw@node1:8000/x", None),
            ("http://node1:8000@evil/x", None),
            ("http://node1:8000\\@evil/x", None),
            ("//evil/x", None),
            ("/\\evil/x", None),
            ("/a`b", None),
            ("group/", None),
            ("", None),
            ("/a b", None),
            ("/ä", None),
        ] {
            assert_eq!(same_origin(&host, location).as_deref(), expected, "{location}");
        }
        let standard = Host::parse("http://node1").unwrap();
        assert_eq!(same_origin(&standard, "http://node1:80/x").as_deref(), Some("http://node1/x"));
    }
}
