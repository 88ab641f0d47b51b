//! The bytes of a request. No IO.
//!
//! The engine of threads has the head written by ureq-proto. That takes as many instructions as all else that this engine
//! does for an exchange, so here it is written directly.

use std::io::Write as _;

use crate::api::Request;
use crate::http::additions::HeadAdditions;
use crate::http::{JSON, USER_AGENT, head};

/// The place that a request is sent to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'a> {
    /// Name or address, with a port if it is not the default.
    pub(super) authority: &'a str,
    /// The path in two parts: the base path of the host, and what follows.
    pub(super) path: [&'a str; 2],
}

/// Appends head and body to `output`. Returns `None` if the request is not valid HTTP, with a part of it in `output`.
/// Requests are checked when they are created.
pub(super) fn append(
    to: Destination<'_>,
    request: &Request,
    additions: &HeadAdditions,
    output: &mut Vec<u8>,
) -> Option<()> {
    let method = head::method(request)?;
    let [base, path] = to.path;
    let is_path = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path(base) || !is_path(path) {
        return None;
    }
    let origin = additions.origin.as_deref().unwrap_or_default();
    for part in [method.as_str(), " ", origin, base, path, " HTTP/1.1\r\n"] {
        output.extend_from_slice(part.as_bytes());
    }
    output.extend_from_slice(additions.credentials.as_bytes());
    output.extend_from_slice(additions.proxy.as_bytes());
    let json = request.body.as_ref().map(|_| ("content-type", JSON));
    let defaults = [("host", to.authority), ("user-agent", USER_AGENT), ("accept", JSON)];
    for (name, value) in defaults.into_iter().chain(json) {
        if !head::names(request, name) {
            append_header(name, value.as_bytes(), output);
        }
    }
    if let Some(body) = head::body(request) {
        write!(output, "content-length: {}\r\n", body.len()).ok()?;
    }
    for named in head::headers(request) {
        let (name, value) = named?;
        append_header(name.as_str(), value.as_bytes(), output);
    }
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(request.body.as_deref().unwrap_or_default().as_bytes());
    Some(())
}

fn append_header(name: &str, value: &[u8], output: &mut Vec<u8>) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        output.extend_from_slice(part);
    }
}
