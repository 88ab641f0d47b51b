//! The head of a request, which both engines write alike: its method, and the headers that replace the defaults. No IO.
//!
//! A header of the request replaces a default. All of them are sensitive: a person may have put a secret into any.
//! Credentials are added later, see [`additions`](crate::http::additions).

use ureq::http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use ureq::http::{HeaderName, HeaderValue, Method};

use crate::api::Request;

/// Headers about the framing of a request, which an engine writes itself. Another value would make a server read the
/// end of the request at another place, or wait for a body that comes later.
const FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];
/// Methods whose requests state a length even without a body (RFC 9110, 8.6).
const WITH_LENGTH: [&str; 3] = ["POST", "PUT", "PATCH"];

/// Returns the method of a request. `None` if it is no token, or asks for a tunnel.
pub(crate) fn method(request: &Request) -> Option<Method> {
    let method = Method::from_bytes(request.method.as_bytes()).ok()?;
    (method != Method::CONNECT).then_some(method)
}

/// Returns the body of a request. An empty one counts if the method has to state a length.
pub(crate) fn body(request: &Request) -> Option<&str> {
    let empty = WITH_LENGTH.contains(&&*request.method).then_some("");
    request.body.as_deref().or(empty)
}

/// Returns the headers that replace the defaults, in the order in which they are sent. An item is `None` if it is not
/// valid in HTTP, or is about the framing.
pub(crate) fn headers(request: &Request) -> impl Iterator<Item = Option<(HeaderName, HeaderValue)>> {
    request.headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !FRAMING.contains(name))?;
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    })
}

/// Returns whether the request names this header, so that there is no default.
pub(crate) fn names(request: &Request, name: &str) -> bool {
    request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
}
