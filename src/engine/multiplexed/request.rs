//! The bytes of a request. No IO.

use ureq_proto::client::state::{Prepare, RecvResponse};
use ureq_proto::client::{Call, SendRequestResult};
use ureq_proto::http::uri::{Authority, PathAndQuery, Scheme};
use ureq_proto::http::{HeaderName, HeaderValue, Method, Request as Head, Uri, header};

use super::host::HttpHost;
use crate::api::Request;
use crate::http::additions::HeadAdditions;
use crate::http::{JSON, USER_AGENT};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};

/// The constant parts of every request to one host.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl Origin {
    /// Takes an `authority` that was checked: a name or an address, with a port if it is not the default.
    pub(super) fn new(authority: &str, https: bool) -> Option<Self> {
        let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
        let host = HeaderValue::from_str(authority).ok()?;
        Some(Origin { scheme, authority: authority.parse().ok()?, host })
    }
}

/// Appends head and body to `output`, and returns the parser of the answer.
///
/// # Errors
/// If the request is not valid HTTP. Requests are checked when they are created.
pub(super) fn write(
    host: &HttpHost,
    path: &str,
    request: &Request,
    headers: &[(String, String)],
    additions: &HeadAdditions,
    output: &mut Vec<u8>,
) -> Result<Call<RecvResponse>, RequestError> {
    let start = output.len();
    let call = try_write(host, path, request, headers, output);
    let written = call.filter(|_| add(additions, start, output));
    written.ok_or_else(|| {
        output.truncate(start);
        RequestError::new(Kind::Internal, "the request could not be written")
    })
}

/// Adds to the request that begins at `start`. Returns false if it has no request line.
fn add(additions: &HeadAdditions, start: usize, output: &mut Vec<u8>) -> bool {
    if additions.is_empty() {
        return true;
    }
    let Some(request) = additions.added_to(&output[start..]) else { return false };
    output.truncate(start);
    output.extend_from_slice(&request);
    true
}

fn try_write(
    host: &HttpHost,
    path: &str,
    request: &Request,
    headers: &[(String, String)],
    output: &mut Vec<u8>,
) -> Option<Call<RecvResponse>> {
    let origin = host.origin.as_ref()?;
    let mut call = prepare(origin, path, request)?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        call.header(name, value).ok()?;
    }
    let mut call = call.proceed();
    let start = output.len();
    // The constant lines fit in 512 bytes. If the space is too small, writing fails.
    let space = 512
        + origin.host.len()
        + path.len()
        + headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    output.resize(start + space, 0);
    let mut end = start;
    while !call.can_proceed() {
        end += call.write(&mut output[end..]).ok()?;
    }
    output.truncate(end);
    match call.proceed().ok()?? {
        SendRequestResult::RecvResponse(call) => Some(call),
        SendRequestResult::SendBody(mut call) => {
            let body = request.body.as_deref().unwrap_or_default().as_bytes();
            output.extend_from_slice(body);
            call.consume_direct_write(body.len()).ok()?;
            call.proceed()
        }
        SendRequestResult::Await100(_) => None,
    }
}

fn prepare(origin: &Origin, path: &str, request: &Request) -> Option<Call<Prepare>> {
    let mut parts = ureq_proto::http::uri::Parts::default();
    parts.scheme = Some(origin.scheme.clone());
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    let mut head = Head::new(());
    *head.uri_mut() = Uri::from_parts(parts).ok()?;
    *head.method_mut() = Method::from_bytes(request.method.as_bytes()).ok()?;
    let mut call = Call::new(head).ok()?;
    call.allow_non_standard_methods(true);
    call.header(header::HOST, origin.host.clone()).ok()?;
    call.header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT)).ok()?;
    call.header(header::ACCEPT, HeaderValue::from_static(JSON)).ok()?;
    if let Some(body) = &request.body {
        call.force_send_body();
        call.header(header::CONTENT_TYPE, HeaderValue::from_static(JSON)).ok()?;
        call.header(header::CONTENT_LENGTH, HeaderValue::from(body.len() as u64)).ok()?;
    } else if request.method == "POST" {
        call.header(header::CONTENT_LENGTH, HeaderValue::from(0_u64)).ok()?;
    }
    Some(call)
}
